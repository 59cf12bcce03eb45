//! What survives a socket and a page: the token that resumes a session, the name it resumes, and how old it may be.
//!
//! Where it is kept is the driver's business, what it is good for the protocol's.

use alloc::string::String;

/// What is saved and resumed.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    pub token: String,
    pub client_id: Option<String>,
    pub cursor: Option<Cursor>,
}

/// How far the frames have been heard that a server numbers. Its numbers mean something within an epoch alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Cursor {
    pub epoch: String,
    pub seen: f64,
}

/// Longer tokens are not ours: a first frame has to stay small.
pub const MAX_TOKEN_BYTES: usize = 8192;

/// What lay in the storage, as far as it can be used.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stored {
    pub token: Option<String>,
    pub client_id: Option<String>,
    pub cursor: Option<Cursor>,
    /// Milliseconds since it was saved, by the wall clock.
    pub age_ms: Option<f64>,
}

/// What becomes of what lay in the storage.
#[derive(Clone, Debug, PartialEq)]
pub enum Restored {
    /// Nothing to resume.
    Nothing,
    Usable(Snapshot),
    /// Too old: to be removed.
    Expired,
    /// Not something that we have written.
    Foreign,
}

impl Stored {
    /// Judges what was found. A clock that was set back makes an age negative, which is no age.
    pub fn judge(self, max_age_ms: f64) -> Restored {
        let Some(token) = self.token else {
            return match self.age_ms {
                Some(_) => Restored::Nothing,
                None => Restored::Foreign,
            };
        };
        if token.is_empty() || token.len() > MAX_TOKEN_BYTES {
            return Restored::Foreign;
        }
        if self.age_ms.is_some_and(|age| age > max_age_ms) {
            return Restored::Expired;
        }
        let cursor = self.cursor.filter(|cursor| cursor.epoch.len() <= MAX_TOKEN_BYTES && is_number(cursor.seen));
        Restored::Usable(Snapshot { token, client_id: self.client_id, cursor })
    }
}

/// Whether a server may have counted to it: a whole number that a double tells from the next.
fn is_number(seen: f64) -> bool {
    seen <= 9_007_199_254_740_991.0 && seen as u64 as f64 == seen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(token: &str, age_ms: Option<f64>) -> Stored {
        Stored { token: Some(token.into()), age_ms, ..Stored::default() }
    }

    #[test]
    fn a_session_is_usable_until_its_age_is_above_the_limit() {
        assert!(matches!(stored("t", Some(1000.0)).judge(1000.0), Restored::Usable(_)));
        assert_eq!(stored("t", Some(1001.0)).judge(1000.0), Restored::Expired);
        assert!(matches!(stored("t", Some(-5e9)).judge(1000.0), Restored::Usable(_)));
        assert!(matches!(stored("t", None).judge(f64::INFINITY), Restored::Usable(_)));
    }

    #[test]
    fn a_cursor_that_no_server_counted_to_is_none() {
        for seen in [-1.0, 0.5, f64::NAN, f64::INFINITY, 1e17] {
            let cursor = Some(Cursor { epoch: "e".into(), seen });
            let found = Stored { cursor, ..stored("t", Some(0.0)) }.judge(f64::INFINITY);
            assert!(matches!(found, Restored::Usable(Snapshot { cursor: None, .. })), "{seen}");
        }
    }

    #[test]
    fn what_is_not_a_session_is_not_taken_for_one() {
        assert_eq!(Stored::default().judge(f64::INFINITY), Restored::Foreign);
        assert_eq!(stored("", Some(0.0)).judge(f64::INFINITY), Restored::Foreign);
        let huge = "x".repeat(MAX_TOKEN_BYTES + 1);
        assert_eq!(stored(&huge, Some(0.0)).judge(f64::INFINITY), Restored::Foreign);
    }

    #[test]
    fn data_that_the_page_saved_without_a_token_is_its_own_affair() {
        let page = Stored { age_ms: Some(5.0), ..Stored::default() };
        assert_eq!(page.judge(f64::INFINITY), Restored::Nothing);
    }
}
