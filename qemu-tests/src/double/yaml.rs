//! YAML as RKE2 reads it: version 1.1, in which `yes`, `0777` and `1_000` are no texts.
//!
//! In: a text. Out: its documents as [`Yaml`], or what is wrong and where. The resolution of plain
//! scalars is that of Go's yaml.v2 (resolve.go), which both RKE2's reader of configs and
//! Kubernetes' own use. A key that is there twice is an error here, though Go takes the last.

use std::collections::HashMap;

use anyhow::{Context as _, bail};
use granit_parser::{Event, Parser, ScalarStyle};

/// The most values that aliases may bring about.
const VALUES: usize = 2_000_000;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Yaml {
    /// Nothing.
    Null,
    /// True or false, in any of their spellings.
    Bool(bool),
    /// A number, as it is written.
    Number(String),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Yaml>),
    /// Keys and values in their order.
    Map(Vec<(String, Yaml)>),
}

impl Yaml {
    /// What is under `key` of a map.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entries()
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value)
    }

    /// What is under `keys`, one inside the other.
    pub fn at(&self, keys: &[&str]) -> Option<&Self> {
        keys.iter().try_fold(self, |value, key| value.get(key))
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The items of a list, none of anything else.
    pub fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    /// The entries of a map, none of anything else.
    pub fn entries(&self) -> &[(String, Self)] {
        match self {
            Self::Map(entries) => entries,
            _ => &[],
        }
    }

    /// What it is, for a message.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "empty",
            Self::Bool(_) => "true or false",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }

    fn count(&self) -> usize {
        1 + match self {
            Self::List(items) => items.iter().map(Self::count).sum(),
            Self::Map(entries) => entries
                .iter()
                .map(|(_, value)| value.count())
                .sum::<usize>(),
            _ => 0,
        }
    }
}

/// A list or map whose end has not come.
struct Open {
    value: Yaml,
    anchor: usize,
    key: Option<String>,
}

/// The documents of a text; those that hold nothing are left out.
pub fn parse(text: &str) -> anyhow::Result<Vec<Yaml>> {
    let mut reading = Reading::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => bail!("line {}: {}", error.marker().line(), error.kind()),
        };
        reading
            .take(event)
            .with_context(|| format!("line {}", span.start.line()))?;
    }
    reading.documents.retain(|document| *document != Yaml::Null);
    Ok(reading.documents)
}

/// The one document of a text, [`Yaml::Null`] when there is none.
pub fn parse_one(text: &str) -> anyhow::Result<Yaml> {
    let mut documents = parse(text)?;
    if documents.len() > 1 {
        bail!("{} documents, and only the first is read", documents.len());
    }
    Ok(documents.pop().unwrap_or(Yaml::Null))
}

#[derive(Default)]
struct Reading {
    documents: Vec<Yaml>,
    open: Vec<Open>,
    anchors: HashMap<usize, Yaml>,
    values: usize,
}

impl Reading {
    fn take(&mut self, event: Event<'_>) -> anyhow::Result<()> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = tag.is_some_and(|tag| tag.core_suffix() == Some("str"));
                let value = match style {
                    ScalarStyle::Plain if !is_text => resolve(&text),
                    _ => Yaml::Text(text.into_owned()),
                };
                self.finish(value, anchor)
            }
            Event::Alias(anchor) => {
                let value = self.anchors.get(&anchor).cloned();
                let value = value.context("an alias for a value that contains it")?;
                self.values += value.count();
                if self.values > VALUES {
                    bail!("aliases stand for more than {VALUES} values");
                }
                self.finish(value, 0)
            }
            Event::SequenceStart(_, anchor, _) => {
                self.begin(Yaml::List(Vec::new()), anchor);
                Ok(())
            }
            Event::MappingStart(_, anchor, _) => {
                self.begin(Yaml::Map(Vec::new()), anchor);
                Ok(())
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(done) => self.finish(done.value, done.anchor),
                None => Ok(()),
            },
            Event::DocumentEnd => {
                self.anchors.clear();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, value: Yaml, anchor: usize) {
        self.open.push(Open {
            value,
            anchor,
            key: None,
        });
    }

    fn finish(&mut self, value: Yaml, anchor: usize) -> anyhow::Result<()> {
        if anchor != 0 {
            self.anchors.insert(anchor, value.clone());
        }
        let Some(parent) = self.open.last_mut() else {
            self.documents.push(value);
            return Ok(());
        };
        match &mut parent.value {
            Yaml::List(items) => items.push(value),
            Yaml::Map(entries) => match parent.key.take() {
                None => parent.key = Some(key_of(value)?),
                Some(key) if key == "<<" => {
                    let Yaml::Map(merged) = value else {
                        bail!("<< merges a map, and this is {}", value.kind());
                    };
                    for entry in merged {
                        if !entries.iter().any(|(name, _)| *name == entry.0) {
                            entries.push(entry);
                        }
                    }
                }
                Some(key) => {
                    if entries.iter().any(|(name, _)| *name == key) {
                        bail!("the key {key:?} is there twice");
                    }
                    entries.push((key, value));
                }
            },
            _ => {}
        }
        Ok(())
    }
}

fn key_of(value: Yaml) -> anyhow::Result<String> {
    match value {
        Yaml::Text(text) | Yaml::Number(text) => Ok(text),
        Yaml::Bool(_) => bail!("a key is a word for true or false; put it in quotes"),
        other => bail!("a key is {}", other.kind()),
    }
}

fn resolve(text: &str) -> Yaml {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Yaml::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Yaml::Bool(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Yaml::Bool(false)
        }
        _ if is_number(text) => Yaml::Number(text.to_owned()),
        _ => Yaml::Text(text.to_owned()),
    }
}

fn is_number(text: &str) -> bool {
    let plain = text.replace('_', "");
    let digits = plain.strip_prefix(['-', '+']).unwrap_or(&plain);
    if !digits.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return false;
    }
    let lower = digits.to_ascii_lowercase();
    if matches!(lower.as_str(), ".inf" | ".nan") {
        return true;
    }
    for (prefix, base) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(rest) = lower.strip_prefix(prefix) {
            return u64::from_str_radix(rest, base).is_ok();
        }
    }
    lower
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b".e+-".contains(&byte))
        && lower.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_are_what_go_takes_them_for() {
        let text = |text: &str| Yaml::Text(text.into());
        let number = |text: &str| Yaml::Number(text.into());
        for (written, expected) in [
            ("canal", text("canal")),
            ("yes", Yaml::Bool(true)),
            ("Off", Yaml::Bool(false)),
            ("'yes'", text("yes")),
            ("!!str yes", text("yes")),
            ("~", Yaml::Null),
            ("0644", number("0644")),
            ("1_000", number("1_000")),
            ("0x1F", number("0x1F")),
            ("-1.5e3", number("-1.5e3")),
            (".inf", number(".inf")),
            ("10.0.0.1", text("10.0.0.1")),
            ("10.52.0.0/16", text("10.52.0.0/16")),
            ("1.2.3", text("1.2.3")),
            ("12:30", text("12:30")),
            ("inf", text("inf")),
            ("e3", text("e3")),
            (".", text(".")),
        ] {
            assert_eq!(
                parse(written).unwrap(),
                match expected {
                    Yaml::Null => vec![],
                    other => vec![other],
                },
                "{written}"
            );
        }
    }

    #[test]
    fn documents_lists_maps_aliases_and_merges() {
        let documents =
            parse("# x\n---\na: &a [1, b]\nc: *a\n---\n---\nd: &d {e: f}\ng: {<<: *d, h: i}\n")
                .unwrap();
        assert_eq!(documents.len(), 2);
        assert_eq!(documents[0].get("a"), documents[0].get("c"));
        assert_eq!(documents[0].get("c").unwrap().items().len(), 2);
        assert_eq!(documents[1].at(&["g", "e"]).unwrap().text(), Some("f"));
        assert_eq!(parse_one("").unwrap(), Yaml::Null);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (written, expected) in [
            ("a: 1\na: 2\n", "\"a\" is there twice"),
            ("a: [\n", "line 1"),
            ("on: 1\n", "true or false"),
            ("[a]: 1\n", "a key is a list"),
            ("a: &x [*x]\n", "contains it"),
            ("b: 1\nc:\n\t- d\n", "line 3"),
        ] {
            let error = format!("{:#}", parse(written).unwrap_err());
            assert!(error.contains(expected), "{written:?}: {error}");
        }
        assert!(parse_one("a: 1\n---\nb: 1\n").is_err());
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for i in 1..12 {
            bomb += &format!("a{i}: &a{i} [{}]\n", format!("*a{}, ", i - 1).repeat(10));
        }
        assert!(parse(&bomb).is_err());
    }
}
