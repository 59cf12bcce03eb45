//! What is known of the server's methods by their names: which belong to the session, which open one, which change nothing.

use crate::protocol::calls::Call;
use crate::wire::push_json_string;
use alloc::string::String;

/// An object with one text in it.
pub fn object(name: &str, value: &str) -> String {
    let mut text = String::from("{");
    push_json_string(&mut text, name);
    text.push(':');
    push_json_string(&mut text, value);
    text.push('}');
    text
}

/// The same parameters with the session's id.
pub fn within(session: &str, params: &str) -> String {
    let mut text = object("session_id", session);
    let rest = params.strip_prefix('{').unwrap_or("}");
    text.pop();
    if rest != "}" {
        text.push(',');
    }
    text.push_str(rest);
    text
}

/// The id that the parameters name. In JSON a quote inside a text has a backslash before it.
pub fn session_of(params: &str) -> Option<&str> {
    let (_, rest) = params.split_once("\"session_id\":\"")?;
    rest.split_once('"').map(|(session, _)| session)
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
