//! What a request must look like: its fields are a closed list. What a request means is not here.

use serde_json::{Map, Value};

/// A field: its name, what it may be, and whether it has to be there.
pub type Field = (&'static str, Kind, Need);

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A string of so many characters.
    Text(usize, usize),
    Whole(i64, i64),
    Flag,
    /// A list of at most so many strings.
    Texts(usize),
    /// A list of anything.
    List,
    OneOf(&'static [&'static str]),
    Object(&'static [Field]),
    Any,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Must,
    May,
}

const ANY_LENGTH: usize = usize::MAX;

/// A string that is not empty.
pub const FILLED: Kind = Kind::Text(1, ANY_LENGTH);
pub const TEXT: Kind = Kind::Text(0, ANY_LENGTH);

/// What is wrong with an object, in the words that OpenClaw has for it.
pub fn check(value: &Value, fields: &[Field]) -> Result<(), String> {
    object(value, fields, "")
}

fn object(value: &Value, fields: &[Field], path: &str) -> Result<(), String> {
    let Some(object) = value.as_object() else {
        return Err(at(path, "must be object"));
    };
    let missing = fields.iter().find(|(name, _, need)| *need == Need::Must && !object.contains_key(*name));
    if let Some((name, ..)) = missing {
        return Err(at(path, &format!("must have required property '{name}'")));
    }
    unexpected(object, fields, path)?;
    for (name, kind, _) in fields {
        if let Some(value) = object.get(*name) {
            one(value, *kind, &format!("{path}/{name}"))?;
        }
    }
    Ok(())
}

fn unexpected(object: &Map<String, Value>, fields: &[Field], path: &str) -> Result<(), String> {
    match object.keys().find(|key| !fields.iter().any(|(name, ..)| name == key)) {
        None => Ok(()),
        Some(key) => {
            let place = if path.is_empty() { "root" } else { path };
            Err(format!("at {place}: unexpected property '{key}'"))
        }
    }
}

fn one(value: &Value, kind: Kind, path: &str) -> Result<(), String> {
    let wrong = |what: String| Err(at(path, &what));
    match (kind, value) {
        (Kind::Text(least, most), Value::String(text)) => match text.chars().count() {
            length if length < least => wrong(format!("must not have fewer than {least} characters")),
            length if length > most => wrong(format!("must not have more than {most} characters")),
            _ => Ok(()),
        },
        (Kind::Text(..), _) => wrong("must be string".to_owned()),
        (Kind::Whole(least, most), value) => match value.as_i64() {
            None => wrong("must be integer".to_owned()),
            Some(number) if number < least => wrong(format!("must be >= {least}")),
            Some(number) if number > most => wrong(format!("must be <= {most}")),
            Some(_) => Ok(()),
        },
        (Kind::Flag, Value::Bool(_)) | (Kind::List, Value::Array(_)) | (Kind::Any, _) => Ok(()),
        (Kind::Flag, _) => wrong("must be boolean".to_owned()),
        (Kind::Texts(most), Value::Array(texts)) => {
            if texts.len() > most {
                return wrong(format!("must not have more than {most} items"));
            }
            match texts.iter().position(|text| !text.is_string()) {
                Some(place) => Err(at(&format!("{path}/{place}"), "must be string")),
                None => Ok(()),
            }
        }
        (Kind::Texts(_) | Kind::List, _) => wrong("must be array".to_owned()),
        (Kind::OneOf(words), value) => match value.as_str() {
            Some(word) if words.contains(&word) => Ok(()),
            _ => wrong("must be equal to one of the allowed values".to_owned()),
        },
        (Kind::Object(fields), value) => object(value, fields, path),
    }
}

fn at(path: &str, what: &str) -> String {
    if path.is_empty() { what.to_owned() } else { format!("at {path}: {what}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SHAPE: &[Field] = &[
        ("key", Kind::Text(1, 3), Need::Must),
        ("limit", Kind::Whole(1, 10), Need::May),
        ("inner", Kind::Object(&[("word", Kind::OneOf(&["a", "b"]), Need::Must)]), Need::May),
        ("list", Kind::Texts(2), Need::May),
    ];

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (value, said) in [
            (json!(7), "must be object"),
            (json!({}), "must have required property 'key'"),
            (json!({"key": "k", "x": 1}), "at root: unexpected property 'x'"),
            (json!({"key": ""}), "at /key: must not have fewer than 1 characters"),
            (json!({"key": "k", "limit": 11}), "at /limit: must be <= 10"),
            (json!({"key": "k", "limit": 1.5}), "at /limit: must be integer"),
            (json!({"key": "k", "inner": {"word": "c"}}), "at /inner/word: must be equal to one of the allowed values"),
            (json!({"key": "k", "inner": {"word": "a", "y": 0}}), "at /inner: unexpected property 'y'"),
            (json!({"key": "k", "list": ["a", 1]}), "at /list/1: must be string"),
        ] {
            assert_eq!(check(&value, SHAPE), Err(said.to_owned()));
        }
        assert_eq!(check(&json!({"key": "äöü", "limit": 1, "list": []}), SHAPE), Ok(()));
    }
}
