//! The ledger of numbered frames: what arrived, what the page has heard of it, and which holes it was told of.
//!
//! The simulated gateway marks each frame of a feed with the session, the epoch and the number that it belongs to, so that
//! nothing here has to trust the numbers that the client goes by.

use serde_json::Value;
use std::collections::BTreeMap;

/// Whose feed, and in which epoch.
type Feed = (String, String);

#[derive(Debug, Default)]
pub struct FeedLedger {
    /// The epoch of the offer that was made on the current socket.
    offered: Option<String>,
    /// The cursor that was presented on the current socket.
    presented: Option<(String, u64)>,
    /// The cursor that an earlier page has left.
    first_presented: Option<u64>,
    /// The feed of the session that the page is in.
    current: Option<Feed>,
    /// Up to where all of a feed has been heard, or told to be missing.
    covered: BTreeMap<Feed, u64>,
    arrived: BTreeMap<Feed, u64>,
    /// The answer to a cursor has come, and the page has not heard of it.
    unannounced: bool,
}

impl FeedLedger {
    pub fn new_socket(&mut self) {
        self.offered = None;
        self.presented = None;
        self.unannounced = false;
    }

    /// What the client says first on a socket.
    pub fn presents(&mut self, at: u64, frame: &Value) {
        let (Some(epoch), Some(seen)) = (frame["epoch"].as_str(), frame["seen"].as_u64()) else {
            assert!(self.current.is_none(), "no cursor was presented at {at}, though there is one: {:?}", self.current);
            return;
        };
        let known = self.covered.iter().filter(|((_, known), _)| known == epoch).map(|(_, covered)| *covered);
        let mut known = known.chain(self.first_presented).peekable();
        if known.peek().is_some() {
            assert!(known.any(|known| known == seen), "the cursor {seen} was presented at {at}: {:?}", self.covered);
        }
        self.first_presented.get_or_insert(seen);
        self.presented = Some((epoch.into(), seen));
    }

    /// A frame of the protocol's arrives on the current socket.
    pub fn control(&mut self, frame: &Value) {
        let client = frame["clientId"].as_str().unwrap_or_default().to_string();
        match frame["type"].as_str() {
            Some("gateway-offer") => {
                self.offered = frame["delivery"]["epoch"].as_str().map(str::to_string);
            }
            Some("session-init") => {
                if let (Some(epoch), Some(seq)) = (&self.offered, frame["seq"].as_u64()) {
                    let feed = (client, epoch.clone());
                    self.covered.entry(feed.clone()).or_insert(seq);
                    self.current = Some(feed);
                }
            }
            Some("session-resumed") => {
                let delivery = &frame["delivery"];
                let Some(epoch) = delivery["epoch"].as_str().filter(|_| self.offered.is_some()) else {
                    return;
                };
                let feed = (client, epoch.to_string());
                let newest = delivery["to"].as_u64().expect("an answer says how far the feed is");
                match &self.presented {
                    Some((known, seen))
                        if known == epoch && delivery["gap"]["to"].is_null() == delivery["gap"].is_null() =>
                    {
                        self.covered.entry(feed.clone()).or_insert(*seen);
                    }
                    _ => {
                        self.covered.insert(feed.clone(), newest);
                    }
                }
                self.unannounced = self.presented.is_some();
                self.current = Some(feed);
            }
            _ => {}
        }
    }

    /// A marked frame arrives: whether the page has to hear of it, and whether it may.
    pub fn arrives(&mut self, frame: &Value) -> (bool, bool) {
        // Where the offer came too late, numbers are a field like any other.
        let Some((feed, number)) = mark_of(frame).filter(|_| self.offered.is_some()) else {
            return (true, true);
        };
        let newest = self.arrived.entry(feed.clone()).or_insert(0);
        let covered = self.covered.get(&feed).copied().unwrap_or(0);
        let is_new = number > (*newest).max(covered);
        *newest = number.max(*newest);
        (is_new && self.current.as_ref() == Some(&feed), is_new)
    }

    /// The page hears a frame.
    pub fn heard(&mut self, at: u64, frame: &Value) {
        let Some((feed, number)) = mark_of(frame) else {
            return;
        };
        if self.offered.is_none() {
            return;
        }
        let announced = !self.unannounced || self.current.as_ref() != Some(&feed);
        assert!(announced, "frame {number} was heard at {at} before the page knew that it is repeated");
        let covered = self.covered.get(&feed).copied();
        let covered = covered.unwrap_or_else(|| panic!("frame {number} of a feed that nobody began: {feed:?}"));
        assert!(number > covered, "frame {number} of {feed:?} was heard again at {at}, after {covered}");
        assert!(number == covered + 1, "after {covered} the page heard {number} of {feed:?} at {at}, and of no gap");
        self.covered.insert(feed, number);
    }

    /// The page hears of a resume or a gap.
    pub fn told(&mut self, at: u64, name: &str, detail: &Value) {
        self.unannounced = false;
        let Some(current) = self.current.clone() else {
            return;
        };
        let covered = self.covered.get(&current).copied().unwrap_or(0);
        let from = detail["from"].as_u64();
        match (name, detail["to"].as_u64()) {
            ("ws-resumed", _) => assert_eq!(from, Some(covered + 1), "resumed at {at}"),
            (_, Some(to)) => {
                assert_eq!(from, Some(covered + 1), "a gap at {at} begins behind what was heard");
                assert!(to > covered, "a gap of nothing at {at}: {detail}");
                self.covered.insert(current, to);
            }
            // Nobody knows how much is missing: what is in force by now says where it goes on.
            (_, None) if detail["reason"] == "unnumbered" => self.current = None,
            (_, None) => {}
        }
    }

    /// What is kept is never ahead of what was heard.
    pub fn saved(&self, client: Option<&String>, epoch: &str, seen: f64) {
        let Some(client) = client else {
            return;
        };
        if let Some(covered) = self.covered.get(&(client.clone(), epoch.to_string())) {
            assert!(seen <= *covered as f64, "the cursor {seen} is kept, the page has heard up to {covered}");
        }
    }

    /// How far the page is in the feed of its session, where it has one by number.
    pub fn position(&self) -> Option<(&str, u64)> {
        let current = self.current.as_ref().filter(|_| self.offered.is_some())?;
        Some((&current.0, self.covered.get(current).copied().unwrap_or(0)))
    }
}

fn mark_of(frame: &Value) -> Option<(Feed, u64)> {
    let number = frame["mark"].as_u64()?;
    let client = frame["of"].as_str().expect("a mark names its session");
    let epoch = frame["epoch"].as_str().expect("a mark names its epoch");
    Some(((client.into(), epoch.into()), number))
}
