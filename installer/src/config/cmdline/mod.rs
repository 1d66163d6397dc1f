//! Config keys on the kernel's command line, and in `--set KEY=VALUE`.
//!
//! In: words such as `harrow.os.hostname=node-1` (or `harvester.…`), and a function that says
//! what each path of the schema holds. Out: a [`Setting`] for each word, and from those JSON
//! values at their paths; what looks like ours but is malformed is a [`Malformed`].
//!
//! - A path is cut at dots. Where the schema has a map of free keys ([`Shape::FreeMap`], such as
//!   `os.sysctls`), all that follows is one key: `harrow.os.sysctls.net.ipv4.ip_forward=1`,
//!   `harrow.os.labels.topology.kubernetes.io/zone=a`.
//! - `key[0].inner=…` is an item of a list. A list of plain values is made by saying its key
//!   several times; any other key takes its last value, as the kernel does.
//! - A key without `=` means `true`.
//! - Text stays text: only where the schema has a number, a bool or a list is the value typed. What
//!   can't be typed stays text, for the check of types to complain about at this word.
//! - Double quotes keep blanks together, as for the kernel ([`crate::sys::cmdline`]).
//! - `harrow.boot.*` is the boot chain's own and no config.

mod gather;
mod interface;

pub use gather::{Gathered, gather};
pub use interface::interface;

use std::fmt;

use super::formats::Wrong;
use crate::sys::cmdline::Cmdline;

/// Beginnings of words that are config.
const PREFIXES: [&str; 2] = ["harrow.", "harvester."];
/// Keys of the boot contract (ARCHITECTURE.md).
const BOOT: &str = "harrow.boot.";
/// Parts of the longest path.
const DEPTH_LIMIT: usize = 16;
/// Items of the longest list that is given by index.
const INDEX_LIMIT: usize = 255;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Segment {
    /// A key of a map, as it was spelled.
    Key(String),
    /// An item of a list, from 0.
    Index(usize),
}

/// What the schema has at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A map with keys of its own.
    Map,
    /// A map whose keys are anybody's, and may have dots in them.
    FreeMap,
    /// A list; its items' shape is that of the path with an index.
    List,
    /// Text.
    Text,
    /// A number.
    Number,
    /// `true` or `false`.
    Bool,
    /// Nothing that is known.
    Unknown,
}

/// Where a setting was said, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Number of the word on the line, from 1.
    pub word: usize,
    /// The key as it was spelled, without the value.
    pub spelled: String,
}

/// One word that sets something.
#[derive(Clone, PartialEq, Eq)]
pub struct Setting {
    /// What it sets.
    pub path: Vec<Segment>,
    /// To what; may be a secret.
    pub value: String,
    /// Where it was said.
    pub place: Place,
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the value, which may be a token.
        write!(f, "{}@{}=***", show_path(&self.path), self.place.word)
    }
}

/// A word that looks like ours and can't be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// Where.
    pub place: Place,
    /// What is wrong with it; never quotes its value.
    pub wrong: Wrong,
}

/// A path as people write it: `a.b[0].c`.
pub fn show_path(path: &[Segment]) -> String {
    let mut text = String::new();
    for segment in path {
        match segment {
            Segment::Key(key) if text.is_empty() => text.push_str(key),
            Segment::Key(key) => text.extend([".", key]),
            Segment::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

/// All settings on a kernel command line, and every word that is malformed. `shape` says what
/// the schema has at a path (keys come as they were spelled).
pub fn parse_settings(
    line: &Cmdline,
    shape: &dyn Fn(&[Segment]) -> Shape,
) -> (Vec<Setting>, Vec<Malformed>) {
    let (mut settings, mut malformed) = (Vec::new(), Vec::new());
    let count = line.words().count();
    for (number, (key, value)) in line.words().enumerate() {
        let place = Place {
            word: number + 1,
            spelled: key.to_owned(),
        };
        let open = line.has_open_quote() && place.word == count;
        match parse_word(key, value, &place, shape) {
            None => {}
            Some(Ok(_)) if open => malformed.push(Malformed {
                place,
                wrong: Wrong {
                    message: "has a quote that is not closed".to_owned(),
                    hint: "a second \" where the value ends".to_owned(),
                },
            }),
            Some(Ok(setting)) => settings.push(setting),
            Some(Err(wrong)) => malformed.push(Malformed { place, wrong }),
        }
    }
    (settings, malformed)
}

/// A word of the line; `None` when it is not ours.
fn parse_word(
    key: &str,
    value: Option<&str>,
    place: &Place,
    shape: &dyn Fn(&[Segment]) -> Shape,
) -> Option<Result<Setting, Wrong>> {
    if key.starts_with(BOOT) || key == "harrow.boot" {
        return None;
    }
    let lower = key.to_ascii_lowercase();
    let ours = |prefix: &str| lower.starts_with(prefix) || lower == prefix.trim_end_matches('.');
    let prefix = PREFIXES.into_iter().find(|prefix| ours(prefix))?;
    let Some(rest) = key.strip_prefix(prefix) else {
        return Some(wrong(
            "has no key, or not in lower case".to_owned(),
            format!("such as {prefix}os.hostname=node-1"),
        ));
    };
    Some(parse_path(rest, shape).map(|path| Setting {
        path,
        value: value.unwrap_or("true").to_owned(),
        place: place.clone(),
    }))
}

/// `KEY=VALUE` or `KEY` of `--set`; `number` is which `--set` it is, from 1. A leading `harrow.`
/// or `harvester.` is fine. Nothing is unquoted, the shell has done that.
pub fn parse_set(
    text: &str,
    number: usize,
    shape: &dyn Fn(&[Segment]) -> Shape,
) -> Result<Setting, Malformed> {
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (key, value),
        None => (text, "true"),
    };
    let place = Place {
        word: number,
        spelled: key.to_owned(),
    };
    let rest = PREFIXES
        .iter()
        .find_map(|prefix| key.strip_prefix(prefix))
        .unwrap_or(key);
    match parse_path(rest, shape) {
        Ok(path) => Ok(Setting {
            path,
            value: value.to_owned(),
            place,
        }),
        Err(wrong) => Err(Malformed { place, wrong }),
    }
}

/// Cuts a dotted key, with `[0]` for items of lists.
fn parse_path(text: &str, shape: &dyn Fn(&[Segment]) -> Shape) -> Result<Vec<Segment>, Wrong> {
    const HINT: &str = "keys joined by dots, such as install.management_interface.method";
    let mut path = Vec::new();
    let mut rest = text;
    loop {
        // The key of a free map may have anything in it.
        if shape(&path) == Shape::FreeMap {
            if rest.is_empty() || rest.chars().any(char::is_control) {
                return wrong("has an empty key in it", HINT);
            }
            path.push(Segment::Key(rest.to_owned()));
            return Ok(path);
        }
        let (part, after) = match rest.split_once('.') {
            Some((part, after)) => (part, Some(after)),
            None => (rest, None),
        };
        let (key, indexes) = part.split_at(part.find('[').unwrap_or(part.len()));
        if key.is_empty() {
            return wrong("has an empty key in it", HINT);
        }
        if !key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
        {
            return wrong("has a letter in it that no key has", HINT);
        }
        path.push(Segment::Key(key.to_owned()));
        path.extend(parse_indexes(indexes)?.map(Segment::Index));
        if path.len() > DEPTH_LIMIT {
            return wrong(format!("has more than {DEPTH_LIMIT} parts"), HINT);
        }
        match after {
            Some(after) => rest = after,
            None => return Ok(path),
        }
    }
}

/// `[0]`, or nothing.
fn parse_indexes(text: &str) -> Result<Option<usize>, Wrong> {
    if text.is_empty() {
        return Ok(None);
    }
    let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    let digits = inner.filter(|t| t.len() <= 3 && t.bytes().all(|b| b.is_ascii_digit()));
    match digits.map(str::parse::<usize>) {
        Some(Ok(index)) if index <= INDEX_LIMIT => Ok(Some(index)),
        _ => wrong(
            "has an index that is none",
            format!("[0] to [{INDEX_LIMIT}]"),
        ),
    }
}

fn wrong<T>(message: impl Into<String>, hint: impl Into<String>) -> Result<T, Wrong> {
    super::formats::wrong(message, hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small schema for tests.
    pub fn shape(path: &[Segment]) -> Shape {
        match show_path(path).as_str() {
            "os.sysctls" | "os.labels" => Shape::FreeMap,
            "os.modules" | "install.webhooks" => Shape::List,
            "install.management_interface.interfaces" => Shape::List,
            "install.management_interface.mtu" => Shape::Number,
            "install.automatic" => Shape::Bool,
            "" | "os" | "install" | "install.management_interface" => Shape::Map,
            "token" | "os.hostname" => Shape::Text,
            text if text.ends_with(']') && text.starts_with("install") => Shape::Map,
            _ => Shape::Unknown,
        }
    }

    fn keys(path: &str) -> Vec<Segment> {
        path.split('|')
            .map(|key| Segment::Key(key.into()))
            .collect()
    }

    #[test]
    fn words_that_are_config() {
        let line = Cmdline::parse(
            "ro quiet harrow.boot.slot=a harrow.os.hostname=node-1 harvester.install.automatic \
             harvester.token=\"a b=c\" harrow.os.sysctls.net.ipv4.ip_forward=1 \
             harrow.os.labels.topology.kubernetes.io/zone=a harrower.x=1 xharrow.y=2 \
             harrow.install.webhooks[1].url=http://x/?a=b",
        );
        let (settings, malformed) = parse_settings(&line, &shape);
        assert_eq!(malformed, []);
        let said: Vec<_> = settings
            .iter()
            .map(|s| (&s.path, &s.value[..], s.place.word))
            .collect();
        assert_eq!(
            said,
            [
                (&keys("os|hostname"), "node-1", 4),
                (&keys("install|automatic"), "true", 5),
                (&keys("token"), "a b=c", 6),
                (&keys("os|sysctls|net.ipv4.ip_forward"), "1", 7),
                (&keys("os|labels|topology.kubernetes.io/zone"), "a", 8),
                (
                    &vec![
                        Segment::Key("install".into()),
                        Segment::Key("webhooks".into()),
                        Segment::Index(1),
                        Segment::Key("url".into()),
                    ],
                    "http://x/?a=b",
                    11,
                ),
            ]
        );
        assert_eq!(settings[2].place.spelled, "harvester.token");
        assert!(!format!("{settings:?}").contains("a b"), "{settings:?}");
        assert_eq!(show_path(&settings[5].path), "install.webhooks[1].url");
    }

    #[test]
    fn malformed_words_are_told_by_number() {
        for bad in [
            "harrow",
            "harrow.",
            "harrow.=x",
            "harrow..os=x",
            "harrow.os.=x",
            "harrow.os..hostname=x",
            "Harrow.os.hostname=x",
            "harvester",
            "harrow.os.sysctls.=1",
            "harrow.a[x]=1",
            "harrow.a[256]=1",
            "harrow.a[0]b=1",
            "harrow.a[0=1",
            "harrow.[0]=1",
            "harrow.ä=1",
            "harrow.a/b=1",
            "harrow.a[0][0]=1",
            "harrow.token=\"hunter2 quiet",
            "harrow.a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q=hunter2",
        ] {
            let (settings, malformed) =
                parse_settings(&Cmdline::parse(&format!("ro {bad}")), &shape);
            assert_eq!(settings, [], "{bad}");
            assert_eq!(malformed.len(), 1, "{bad}");
            assert_eq!(malformed[0].place.word, 2);
            assert!(!format!("{malformed:?}").contains("hunter2"));
        }
    }

    #[test]
    fn set_takes_the_same_keys() {
        let set = |text: &str| parse_set(text, 3, &shape).map(|s| (s.path, s.value));
        assert_eq!(
            set("token=a \"b\"="),
            Ok((keys("token"), "a \"b\"=".into()))
        );
        assert_eq!(
            set("harrow.os.hostname=x"),
            Ok((keys("os|hostname"), "x".into()))
        );
        assert_eq!(
            set("install.automatic"),
            Ok((keys("install|automatic"), "true".into()))
        );
        assert_eq!(set("token="), Ok((keys("token"), String::new())));
        let error = set("=hunter2").unwrap_err();
        assert_eq!(error.place.word, 3);
        assert!(set("").is_err() && set("a b=c").is_err());
    }
}
