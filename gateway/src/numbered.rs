//! A frame and the number that it carries: read, taken off, put on. What a number means is delivery.rs.

use std::borrow::Cow;
use std::ops::Range;

use axum::extract::ws::Utf8Bytes;
use serde::de::IgnoredAny;

/// A client's frame, as it came over a connection that has a stream.
#[derive(Debug, PartialEq, Eq)]
pub struct Parcel<'a> {
    pub number: Number,
    /// The frame without its number; what was no object, as it was before it was wrapped.
    pub content: Cow<'a, str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    Absent,
    Is(u64),
    /// The field is there and holds no positive whole number.
    Bad,
}

/// The largest number that JavaScript can count to.
pub const MAX_NUMBER: u64 = (1 << 53) - 1;

const NUMBER: &str = "$seq";
const WRAPPED: &str = "$data";

impl<'a> Parcel<'a> {
    /// Where a field stands twice, the last one counts, as in JavaScript.
    pub fn read(text: &'a str) -> Self {
        let Some(object) = Object::read(text) else {
            return Self { number: Number::Absent, content: Cow::Borrowed(text) };
        };
        let Some(number) = object.last(NUMBER) else {
            return Self { number: Number::Absent, content: Cow::Borrowed(text) };
        };
        let number = match text[number.value.clone()].parse() {
            Ok(number) if (1..=MAX_NUMBER).contains(&number) => Number::Is(number),
            _ => Number::Bad,
        };
        let content = match object.last(WRAPPED) {
            Some(wrapped) if object.members.iter().all(|member| [NUMBER, WRAPPED].contains(&&*member.name)) => {
                Cow::Borrowed(&text[wrapped.value.clone()])
            }
            _ => object.without(NUMBER),
        };
        Self { number, content }
    }
}

/// The frame without a number, whoever put it on; otherwise to the letter.
pub fn unnumbered(text: &str) -> Cow<'_, str> {
    match Object::read(text) {
        Some(object) if object.last(NUMBER).is_some() => object.without(NUMBER),
        _ => Cow::Borrowed(text),
    }
}

/// The object with the feed's number as its last field. It must not have one.
pub fn numbered(object: &str, number: u64) -> Utf8Bytes {
    let open = object.trim_end();
    let open = open.strip_suffix('}').unwrap_or(open);
    let comma = if open.trim_end().ends_with('{') { "" } else { "," };
    format!("{open}{comma}\"{NUMBER}\":{number}}}").into()
}

/// Whether it is one JSON object.
pub fn is_object(text: &str) -> bool {
    Object::read(text).is_some()
}

/// A JSON object's text and where its members stand in it.
struct Object<'a> {
    text: &'a str,
    members: Vec<Member>,
}

struct Member {
    name: String,
    /// From the name's first quote to the end of the value.
    whole: Range<usize>,
    value: Range<usize>,
}

impl<'a> Object<'a> {
    fn read(text: &'a str) -> Option<Self> {
        // From here on the text is known to be well formed, so that the walk cannot go astray.
        serde_json::from_str::<IgnoredAny>(text).ok()?;
        let inside = text.trim_ascii().strip_prefix('{')?.strip_suffix('}')?;
        let start = inside.as_ptr() as usize - text.as_ptr() as usize;
        let members = commas(inside).filter_map(|part| member(inside, part, start)).collect();
        Some(Self { text, members })
    }

    fn last(&self, name: &str) -> Option<&Member> {
        self.members.iter().rev().find(|member| member.name == name)
    }

    fn without(&self, name: &str) -> Cow<'a, str> {
        if self.members.iter().all(|member| member.name != name) {
            return Cow::Borrowed(self.text);
        }
        let kept = self.members.iter().filter(|member| member.name != name);
        let kept: Vec<&str> = kept.map(|member| &self.text[member.whole.clone()]).collect();
        Cow::Owned(format!("{{{}}}", kept.join(",")))
    }
}

/// The stretches between the commas of the object itself.
fn commas(inside: &str) -> impl Iterator<Item = Range<usize>> {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    let mut ends: Vec<usize> = Vec::new();
    for (at, byte) in inside.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b',' if depth == 0 => ends.push(at),
            _ => {}
        }
    }
    ends.push(inside.len());
    let mut from = 0;
    ends.into_iter().map(move |end| std::mem::replace(&mut from, end + 1)..end)
}

fn member(inside: &str, part: Range<usize>, start: usize) -> Option<Member> {
    let text = inside[part.clone()].trim_ascii();
    // Empty when the object is.
    let colon = text.match_indices(':').map(|(at, _)| at).find(|at| is_name(&text[..*at]))?;
    let value = text[colon + 1..].trim_ascii();
    let begins = |piece: &str| start + (piece.as_ptr() as usize - inside.as_ptr() as usize);
    // A name that only JavaScript's strings can hold is none of ours.
    let name = serde_json::from_str(text[..colon].trim_ascii()).unwrap_or_default();
    let span = |piece: &str| begins(piece)..begins(piece) + piece.len();
    Some(Member { name, whole: span(text), value: span(value) })
}

/// Whether the text before a colon is a whole name: a colon may stand in it too.
fn is_name(text: &str) -> bool {
    let (mut quotes, mut escaped) = (0, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quotes += 1,
            _ => {}
        }
    }
    quotes == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Number, String) {
        let Parcel { number, content } = Parcel::read(text);
        (number, content.into_owned())
    }

    #[test]
    fn a_number_is_read_and_taken_off_wherever_it_stands() {
        for (text, content) in [
            (r#"{"type":"chat","text":"a","$seq":7}"#, r#"{"type":"chat","text":"a"}"#),
            (r#" { "$seq" : 7 , "type":"a:b,c\"}" } "#, r#"{"type":"a:b,c\"}"}"#),
            (r#"{"\u0024seq":7,"a":[{"$seq":1},{}]}"#, r#"{"a":[{"$seq":1},{}]}"#),
            (r#"{"$seq":3,"a\":b":1,"$seq":7}"#, r#"{"a\":b":1}"#),
            (r#"{"$seq":7}"#, "{}"),
            (r#"{"\ud800":"\ud800","$seq":7}"#, r#"{"\ud800":"\ud800"}"#),
        ] {
            assert_eq!(read(text), (Number::Is(7), content.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_was_no_object_comes_out_of_its_wrapping() {
        assert_eq!(read(r#"{"$data":[1,"a"],"$seq":7}"#), (Number::Is(7), r#"[1,"a"]"#.to_owned()));
        assert_eq!(read(r#"{"$data":{"$seq":1},"$seq":7}"#), (Number::Is(7), r#"{"$seq":1}"#.to_owned()));
        assert_eq!(read(r#"{"$data":1,"b":2,"$seq":7}"#), (Number::Is(7), r#"{"$data":1,"b":2}"#.to_owned()));
    }

    #[test]
    fn a_number_that_is_no_positive_whole_one_is_bad() {
        for number in ["0", "-1", "1.5", "1e3", "\"7\"", "null", "{}", "9007199254740992", "99999999999999999999"] {
            assert_eq!(Parcel::read(&format!(r#"{{"a":1,"$seq":{number}}}"#)).number, Number::Bad, "{number}");
        }
        assert_eq!(Parcel::read(r#"{"$seq":9007199254740991}"#).number, Number::Is(MAX_NUMBER));
    }

    #[test]
    fn without_a_number_a_frame_stays_to_the_letter() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        for text in ["", "null", "7", "[{\"$seq\":1}]", "{", "{} ", " {\"a\" : {\"$seq\":1}}", "{\"$data\":1}", &deep] {
            assert_eq!(read(text), (Number::Absent, text.to_owned()));
            assert_eq!(unnumbered(text), text);
        }
    }

    #[test]
    fn the_feeds_number_is_the_last_field() {
        assert_eq!(numbered("{\"type\":\"x\"} ", 3).as_str(), "{\"type\":\"x\",\"$seq\":3}");
        assert_eq!(numbered("{ }", 3).as_str(), "{ \"$seq\":3}");
    }
}
