//! The frames that a server numbers, as one line hears them: how far it has come, what is said again, what is missing.
//!
//! Which frames are numbered, and what a gap means to a page, is not known here.

use crate::session::Cursor;

/// So many frames are owed an acknowledgement at the most.
const ACK_FRAMES: f64 = 64.0;
/// And for so long, in milliseconds.
pub const ACK_MS: u64 = 1000;

/// What a number says of its frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Heard {
    Next,
    /// It came before.
    Again,
    /// Those from the one to the other did not come.
    Skipped(f64, f64),
}

#[derive(Debug, Default)]
pub struct Feed {
    /// `None` until the server has said where it stands.
    cursor: Option<Cursor>,
    acknowledged: f64,
    /// There is a date for the next acknowledgement.
    dated: bool,
}

impl Feed {
    pub fn cursor(&self) -> Option<&Cursor> {
        self.cursor.as_ref()
    }

    /// From here on, or from nowhere.
    pub fn place(&mut self, cursor: Option<Cursor>) {
        self.acknowledged = cursor.as_ref().map_or(0.0, |cursor| cursor.seen);
        self.cursor = cursor;
    }

    /// Whether the next frame in order came, and nothing has to be said about it.
    pub fn admits(&mut self, number: f64) -> bool {
        let Some(cursor) = &mut self.cursor else {
            return false;
        };
        let plain = self.dated && number == cursor.seen + 1.0 && number - self.acknowledged < ACK_FRAMES;
        if plain {
            cursor.seen = number;
        }
        plain
    }

    /// A numbered frame came.
    pub fn hear(&mut self, number: f64) -> Heard {
        let Some(cursor) = &mut self.cursor else {
            return Heard::Next;
        };
        let next = cursor.seen + 1.0;
        if number < next {
            return Heard::Again;
        }
        cursor.seen = number;
        if number > next { Heard::Skipped(next, number - 1.0) } else { Heard::Next }
    }

    /// Whether an acknowledgement is due at once.
    pub fn is_owed(&self) -> bool {
        self.cursor.as_ref().is_some_and(|cursor| cursor.seen - self.acknowledged >= ACK_FRAMES)
    }

    /// Whether a date has to be set for the next acknowledgement.
    pub fn wants_date(&mut self) -> bool {
        !core::mem::replace(&mut self.dated, true)
    }

    /// What is acknowledged now, where something is.
    pub fn acknowledge(&mut self) -> Option<f64> {
        self.dated = false;
        let seen = self.cursor.as_ref()?.seen;
        (core::mem::replace(&mut self.acknowledged, seen) < seen).then_some(seen)
    }

    /// Another connection: what has been acknowledged stays so, when the next is due starts anew.
    pub fn restart(&mut self) {
        self.dated = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(seen: f64) -> Feed {
        let mut feed = Feed::default();
        feed.place(Some(Cursor { epoch: "e".into(), seen }));
        feed
    }

    #[test]
    fn the_cursor_goes_forward_alone() {
        let mut feed = feed(3.0);
        assert_eq!(feed.hear(3.0), Heard::Again);
        assert_eq!(feed.hear(4.0), Heard::Next);
        assert_eq!(feed.hear(7.0), Heard::Skipped(5.0, 6.0));
        assert_eq!(feed.hear(5.0), Heard::Again);
        assert_eq!(feed.cursor().map(|cursor| cursor.seen), Some(7.0));
    }

    #[test]
    fn a_frame_in_order_is_admitted_until_an_acknowledgement_is_due() {
        let mut feed = feed(0.0);
        assert!(!feed.admits(1.0), "no date is set");
        assert_eq!(feed.hear(1.0), Heard::Next);
        assert!(feed.wants_date() && !feed.wants_date());
        assert!((2..64).all(|number| feed.admits(f64::from(number))));
        assert!(!feed.admits(64.0) && !feed.admits(2.0) && !feed.admits(f64::NAN));
        assert_eq!(feed.hear(64.0), Heard::Next);
        assert!(feed.is_owed());
        assert_eq!((feed.acknowledge(), feed.acknowledge()), (Some(64.0), None));
    }

    #[test]
    fn nothing_is_admitted_before_the_server_has_said_where_it_stands() {
        let mut feed = Feed::default();
        assert!(!feed.admits(1.0));
        assert_eq!((feed.hear(9.0), feed.acknowledge()), (Heard::Next, None));
    }
}
