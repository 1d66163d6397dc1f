//! Config keys on the kernel's command line, and in `--set KEY=VALUE`.
//!
//! In: words such as `harrow.os.hostname=node-1` (or `harvester.…`). Out: [`Assignment`]s with the
//! number of their word, of which `assign` makes a tree.
//!
//! - A key without `=` means `true`; the kernel's double quotes keep blanks together
//!   ([`crate::sys::cmdline`]).
//! - `harrow.boot.*` is the boot chain's own and no config.
//! - What looks like ours and can't be understood is a problem, never passed over.

use super::formats::{Wrong, wrong};
use super::source::{Assignment, Source, SourceKind};
use crate::sys::cmdline::Cmdline;

/// The fault of a word that goes on to the end of the line.
pub const OPEN_QUOTE: &str = "has a quote that is not closed";

/// Beginnings of words that are config.
const PREFIXES: [&str; 2] = ["harrow.", "harvester."];
/// Keys of the boot contract (ARCHITECTURE.md).
const BOOT: &str = "harrow.boot.";

/// The config on a kernel command line; `None` without any.
pub fn source(line: &Cmdline) -> Option<Source> {
    let words = parse_words(line);
    let name = "kernel command line";
    (!words.is_empty()).then(|| Source::words(SourceKind::CommandLine, name, words))
}

/// Every word of the line that is config.
pub fn parse_words(line: &Cmdline) -> Vec<Assignment> {
    let count = line.words().count();
    let words = line.words().zip(1_u32..);
    let mut found: Vec<Assignment> = words
        .filter_map(|((key, value), word)| parse_word(key, value, word))
        .collect();
    let last = u32::try_from(count).unwrap_or(u32::MAX);
    if let Some(last) = found.last_mut().filter(|a| a.word == last)
        && line.has_open_quote()
    {
        last.fault = Some(OPEN_QUOTE);
    }
    found
}

/// A word of the line; `None` when it is not ours.
fn parse_word(key: &str, value: Option<&str>, word: u32) -> Option<Assignment> {
    if key.starts_with(BOOT) || key == BOOT.trim_end_matches('.') {
        return None;
    }
    let lower = key.to_ascii_lowercase();
    let ours = |prefix: &&str| lower.starts_with(prefix) || lower == prefix.trim_end_matches('.');
    let prefix = PREFIXES.into_iter().find(ours)?;
    let path = key.strip_prefix(prefix).filter(|path| !path.is_empty());
    Some(Assignment {
        path: path.unwrap_or(key).to_owned(),
        value: value.unwrap_or("true").to_owned(),
        word,
        fault: match path {
            Some(_) => None,
            None => Some("has no key, or a prefix that is not in lower case"),
        },
    })
}

/// `KEY=VALUE` of `--set`; a leading `harrow.` or `harvester.` is fine. Nothing is unquoted, the
/// shell has done that.
pub fn parse_set(text: &str) -> Result<Assignment, Wrong> {
    let Some((key, value)) = text.split_once('=').filter(|(key, _)| !key.is_empty()) else {
        return wrong("an assignment is KEY=VALUE", "such as os.hostname=node-1");
    };
    let path = PREFIXES.iter().find_map(|prefix| key.strip_prefix(prefix));
    Ok(Assignment {
        path: path.unwrap_or(key).to_owned(),
        value: value.to_owned(),
        word: 0,
        fault: None,
    })
}

/// The keys of a NIC from its short form: `hwAddr:MAC,name:ens3`, `hwAddr:MAC`, `name:ens3`, a
/// MAC, a name. Nothing is refused here; the rules on names and MACs judge it.
pub fn interface(text: &str) -> Vec<(&'static str, &str)> {
    let key_of = |part| match str::split_once(part, ':') {
        Some(("hwAddr" | "hw_addr" | "hwaddr", mac)) => ("hw_addr", mac.trim()),
        Some(("name", name)) => ("name", name.trim()),
        _ if super::formats::mac(part).is_ok() => ("hw_addr", part),
        // What looks like a MAC but is none is judged as one: its message fits better.
        Some(_) if part.matches(':').count() > 1 => ("hw_addr", part),
        _ => ("name", part),
    };
    text.split(',').map(str::trim).map(key_of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_are_config() {
        let line = Cmdline::parse(
            "ro quiet harrow.boot.slot=a harrow.os.hostname=node-1 harvester.install.automatic \
             harvester.token=\"a b=c\" harrower.x=1 xharrow.y=2 harrow.boot",
        );
        let words = parse_words(&line);
        let said: Vec<_> = words
            .iter()
            .map(|w| (w.path.as_str(), w.value.as_str(), w.word, w.fault))
            .collect();
        assert_eq!(
            said,
            [
                ("os.hostname", "node-1", 4, None),
                ("install.automatic", "true", 5, None),
                ("token", "a b=c", 6, None),
            ]
        );
        assert!(!format!("{words:?}").contains("a b"), "{words:?}");
        assert!(source(&Cmdline::parse("harrow.boot.slot=a")).is_none());
    }

    #[test]
    fn words_that_can_not_be_understood_are_faulty() {
        for bad in [
            "harrow",
            "harrow.",
            "harvester.=x",
            "Harrow.os.hostname=x",
            "harrow.token=\"a quiet",
        ] {
            let words = parse_words(&Cmdline::parse(&format!("ro {bad}")));
            assert_eq!((words.len(), words[0].word), (1, 2), "{bad}");
            assert!(words[0].fault.is_some(), "{bad}");
        }
        assert!(
            parse_words(&Cmdline::parse("harrow.a=1 x=\"y"))[0]
                .fault
                .is_none()
        );
    }

    #[test]
    fn set_takes_the_same_keys() {
        let set = |text: &str| parse_set(text).map(|a| (a.path, a.value)).ok();
        let pair = |path: &str, value: &str| Some((path.to_owned(), value.to_owned()));
        assert_eq!(set("token=a \"b\"="), pair("token", "a \"b\"="));
        assert_eq!(set("harrow.os.hostname=x"), pair("os.hostname", "x"));
        assert_eq!(set("token="), pair("token", ""));
        assert_eq!((set("=x"), set("token")), (None, None));
    }

    #[test]
    fn nics_in_short() {
        let mac = "52:54:00:12:34:56";
        for (text, keys) in [
            (
                "hwAddr:52:54:00:12:34:56,name:ens3",
                &[("hw_addr", mac), ("name", "ens3")][..],
            ),
            (
                "name:ens3, hw_addr:52:54:00:12:34:56",
                &[("name", "ens3"), ("hw_addr", mac)],
            ),
            ("52:54:00:12:34:56", &[("hw_addr", mac)]),
            ("52:54:00:12:34", &[("hw_addr", "52:54:00:12:34")]),
            ("ens3", &[("name", "ens3")]),
            ("mac:x", &[("name", "mac:x")]),
            ("", &[("name", "")]),
        ] {
            assert_eq!(interface(text), keys, "{text}");
        }
    }
}
