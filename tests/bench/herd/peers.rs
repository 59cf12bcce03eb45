//! The peers in the crowd: what their own code did on a clock of `peers.mjs`, which wrote it down. No wait is computed here.

use super::crowd::Member;

/// The waits of many instances of one peer: the first from the loss, each further one from a refusal.
pub struct Traces {
    pub title: String,
    lines: Vec<(Vec<u32>, bool)>,
}

/// So many of the last waits are repeated, where a crowd needs more than were written down.
const TAIL: usize = 8;

impl Traces {
    /// The title, then a line for each instance: its waits in milliseconds, and `end` where it gave up.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let title = lines.next()?.to_owned();
        let lines: Vec<_> = lines
            .map(|line| {
                let gave_up = line.ends_with("end");
                let waits = line.trim_end_matches("end").split_ascii_whitespace();
                Some((waits.map(|wait| wait.parse().ok()).collect::<Option<Vec<u32>>>()?, gave_up))
            })
            .collect::<Option<_>>()?;
        (!lines.is_empty()).then_some(Self { title, lines })
    }

    pub fn member(&self, seed: u64) -> Traced<'_> {
        let (waits, gave_up) = &self.lines[(seed % self.lines.len() as u64) as usize];
        Traced { waits, gave_up: *gave_up, next: 0 }
    }
}

pub struct Traced<'a> {
    waits: &'a [u32],
    gave_up: bool,
    next: usize,
}

impl Member for Traced<'_> {
    fn lost(&mut self, at: u64) -> Option<u64> {
        if self.next >= self.waits.len() {
            if self.gave_up || self.waits.len() < TAIL {
                return None;
            }
            self.next = self.waits.len() - TAIL;
        }
        self.next += 1;
        Some(at + u64::from(self.waits[self.next - 1]))
    }

    fn refused(&mut self, at: u64) -> Option<u64> {
        self.lost(at)
    }
}
