//! Where a WebSocket frame ends in a server's bytes: the reply to the handshake first, frames after it.
//! What a frame says is not looked at.

/// Follows a byte stream and knows whether it stands between two frames.
#[derive(Debug, Default)]
pub struct Boundary {
    place: Place,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// In the HTTP reply; how much of the empty line that ends it was seen.
    Reply {
        matched: usize,
    },
    /// In a frame's header, of which `seen` bytes are in `header`.
    Header {
        header: [u8; HEADER],
        seen: usize,
    },
    Payload {
        left: u64,
    },
}

/// The longest header of an unmasked frame.
const HEADER: usize = 10;
const REPLY_END: &[u8] = b"\r\n\r\n";
const START: Place = Place::Header { header: [0; HEADER], seen: 0 };

impl Default for Place {
    fn default() -> Self {
        Self::Reply { matched: 0 }
    }
}

impl Boundary {
    /// Whether everything seen so far is whole: the reply is over and no frame has begun.
    pub fn is_here(&self) -> bool {
        matches!(self.place, Place::Header { seen: 0, .. })
    }

    pub fn advance(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = &rest[self.place.step(rest)..];
        }
    }

    /// After how many of these bytes a frame, or the reply, ends for the first time.
    pub fn next_in(&self, bytes: &[u8]) -> Option<usize> {
        let mut ahead = Self { place: self.place };
        let mut taken = 0;
        while taken < bytes.len() {
            taken += ahead.place.step(&bytes[taken..]);
            if ahead.is_here() {
                return Some(taken);
            }
        }
        None
    }
}

impl Place {
    /// Takes some of the bytes, at least one, never past the end of a part; tells how many.
    fn step(&mut self, bytes: &[u8]) -> usize {
        let Some(first) = bytes.first() else {
            return 0;
        };
        match self {
            Self::Reply { matched } => {
                let wanted = REPLY_END.get(*matched) == Some(first);
                *matched = if wanted { *matched + 1 } else { usize::from(*first == b'\r') };
                if *matched == REPLY_END.len() {
                    *self = START;
                }
                1
            }
            Self::Header { header, seen } => {
                header[*seen] = *first;
                *seen += 1;
                if let Some(left) = payload(&header[..*seen]) {
                    *self = if left == 0 { START } else { Self::Payload { left } };
                }
                1
            }
            Self::Payload { left } => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= taken as u64;
                if *left == 0 {
                    *self = START;
                }
                taken
            }
        }
    }
}

/// The length of the payload, once the header is whole. A server's frames have no mask.
fn payload(header: &[u8]) -> Option<u64> {
    match header {
        [_, short] if *short < 126 => Some(u64::from(*short)),
        [_, 126, high, low] => Some(u64::from(u16::from_be_bytes([*high, *low]))),
        [_, 127, length @ ..] => length.try_into().ok().map(u64::from_be_bytes),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: usize) -> Vec<u8> {
        let mut frame = match length {
            0..126 => vec![0x81, length as u8],
            126..0x1_0000 => [&[0x81, 126][..], &(length as u16).to_be_bytes()].concat(),
            _ => [&[0x81, 127][..], &(length as u64).to_be_bytes()].concat(),
        };
        frame.resize(frame.len() + length, b'x');
        frame
    }

    #[test]
    fn it_finds_the_same_ends_however_the_bytes_are_cut() {
        let mut bytes = b"HTTP/1.1 101 Switching Protocols\r\nA: b\r\n\r\n".to_vec();
        let mut ends = vec![bytes.len()];
        for length in [0, 1, 125, 126, 65_535, 65_536, 3] {
            bytes.extend(frame(length));
            ends.push(bytes.len());
        }
        for cut in [1, 2, 3, 7, 1_000, bytes.len()] {
            let mut boundary = Boundary::default();
            let mut found = Vec::new();
            let mut at = 0;
            for chunk in bytes.chunks(cut) {
                let mut rest = chunk;
                while let Some(next) = boundary.next_in(rest) {
                    boundary.advance(&rest[..next]);
                    assert!(boundary.is_here());
                    at += next;
                    found.push(at);
                    rest = &rest[next..];
                }
                boundary.advance(rest);
                at += rest.len();
            }
            assert_eq!(found, ends, "cut in {cut}");
        }
    }

    #[test]
    fn the_middle_of_a_frame_is_no_boundary() {
        let mut boundary = Boundary::default();
        boundary.advance(b"\r\n\r\n");
        assert!(boundary.is_here());
        boundary.advance(&frame(10)[..5]);
        assert!(!boundary.is_here());
    }
}
