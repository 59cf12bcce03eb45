//! What is known of the server's methods by their names (which belong to the session, which open one, which change nothing),
//! and how calls and the URL are written.

use crate::protocol::calls::Call;
use crate::wire::{push_json_string, push_number};
use alloc::string::String;

/// An object with the session's id in it, and these members behind it.
pub fn about(session: &str, members: &str) -> String {
    let mut text = String::from("{\"session_id\":");
    push_json_string(&mut text, session);
    text.push_str(members);
    text.push('}');
    text
}

/// The same parameters with the session's id.
pub fn within(session: &str, params: &str) -> String {
    let inner = params.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default();
    let mut members = String::new();
    if !inner.is_empty() {
        members.push(',');
        members.push_str(inner);
    }
    about(session, &members)
}

/// The id that the parameters name. In JSON a quote inside a text has a backslash before it.
pub fn session_of(params: &str) -> Option<&str> {
    const NAME: &str = "\"session_id\":\"";
    let rest = params.get(find(params, NAME)? + NAME.len()..)?;
    rest.get(..find(rest, "\"")?)
}

/// Where a part stands in a text. The standard library's search is made for long texts, and weighs 7 kB.
pub fn find(text: &str, part: &str) -> Option<usize> {
    text.as_bytes().windows(part.len().max(1)).position(|window| window == part.as_bytes())
}

/// Whether a call is about the line's session, and leaves its id to us.
pub fn lives_in(call: &Call) -> bool {
    const FAMILIES: [&str; 9] =
        ["prompt.", "session.", "approval.", "slash.", "command.dispatch", "process.", "image.", "pdf.", "file."];
    const AT_LARGE: [&str; 6] = ["create", "resume", "list", "most_recent", "active_list", "delete"];
    let method = call.method.as_str();
    let inside = FAMILIES.iter().any(|family| method.starts_with(family));
    let at_large = method.strip_prefix("session.").is_some_and(|name| AT_LARGE.contains(&name));
    inside && !at_large && session_of(&call.params).is_none()
}

/// Whether its answer names the session that is the line's from then on.
pub fn opens(method: &str) -> bool {
    matches!(method, "session.create" | "session.resume" | "session.activate")
}

/// Whether it changes nothing, so that it can be asked again.
pub fn only_reads(method: &str) -> bool {
    const NAMES: [&str; 9] =
        [".list", "_list", ".history", ".status", ".usage", ".most_recent", ".catalog", ".resolve", ".options"];
    NAMES.iter().any(|name| method.ends_with(name)) || method.starts_with("complete.") || opens(method)
}

/// The id of a call that is the line's own, as JSON: those of the page's are numbers.
pub fn own_id(kind: char, number: u32) -> String {
    let mut id = String::from("\"");
    id.push(kind);
    push_number(&mut id, u64::from(number));
    id.push('"');
    id
}

/// A token in the query of a URL.
pub fn in_query(token: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut query = String::from("?token=");
    for byte in token.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            query.push(char::from(byte));
        } else {
            query.push('%');
            for half in [byte >> 4, byte & 15] {
                query.push(HEX.get(usize::from(half)).copied().map_or('0', char::from));
            }
        }
    }
    query
}
