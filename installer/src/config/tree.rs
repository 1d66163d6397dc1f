//! A config before it has types: values with the place where each was said.
//!
//! In: what a reader of YAML or of assignments found. Out: a [`Node`] that checks walk over,
//! and that sources are merged in. `Debug` shows no value, since it may be a secret.

use std::borrow::Cow;
use std::fmt;

use super::problem::Mark;

/// A value and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it was said.
    pub at: Mark,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing was said after the key.
    Null,
    /// One value.
    Scalar(Scalar),
    /// A list.
    Seq(Vec<Node>),
    /// `key: value`, in the order of the source; no key twice.
    Map(Vec<Entry>),
}

/// One `key: value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key is.
    pub key_at: Mark,
    /// The value.
    pub node: Node,
}

/// A single value as it was written; the schema says how it is read.
#[derive(Clone, PartialEq, Eq)]
pub struct Scalar {
    /// The text, without quotes.
    pub text: String,
    /// How it was written.
    pub style: Style,
}

/// How a scalar was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Bare: can be a number, a boolean or text.
    Plain,
    /// In quotes, or as a block: text.
    Quoted,
    /// Tagged `!!binary`: base64.
    Binary,
}

impl fmt::Debug for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scalar({:?}, {} bytes)", self.style, self.text.len())
    }
}

impl Node {
    /// A bare scalar.
    pub fn plain(text: impl Into<String>, at: Mark) -> Self {
        Self {
            value: Value::Scalar(Scalar {
                text: text.into(),
                style: Style::Plain,
            }),
            at,
        }
    }

    /// An empty map.
    pub fn empty_map(at: Mark) -> Self {
        Self {
            value: Value::Map(Vec::new()),
            at,
        }
    }

    /// The entries of a map; none of anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The value of a key of a map.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let entry = self.entries().iter().find(|e| e.key == key)?;
        Some(&entry.node)
    }

    /// The scalar's text.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) => Some(&scalar.text),
            _ => None,
        }
    }

    /// What it is, in words.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Scalar(_) => "a single value",
            Value::Seq(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

/// A key that is not ours as a message may show it: up to the first letter that no key has. What
/// follows may be a value, even a secret, as in `{token:...}` without a blank.
pub fn shown_key(key: &str) -> Cow<'_, str> {
    shown(key, "_-.[]")
}

/// A path as a message may show it; the free keys of labels have slashes.
pub fn shown_path(path: &str) -> Cow<'_, str> {
    shown(path, "_-.[]/")
}

fn shown<'a>(text: &'a str, marks: &str) -> Cow<'a, str> {
    match text.find(|c: char| !c.is_ascii_alphanumeric() && !marks.contains(c)) {
        Some(end) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

/// A key below another in the notation of problems: `a.b`, `a[0]`, and `a.b.c/d` for the free
/// keys of labels.
pub fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}
