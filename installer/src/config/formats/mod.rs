//! One function for each rule on a single value: pure, without I/O.
//!
//! In: the text of a value. Out: the value in its own type, or what is [`Wrong`] with it.
//! A message may quote the value, except where the value is a secret.

mod bond;
mod bond_options;
mod cron;
mod crypt;
mod files;
mod hostname;
mod http;
mod kube;
mod names;
mod net;
mod os;
mod proxy;
mod quantity;
mod ssh;
mod storage;
mod unpack;

pub use bond::*;
#[cfg(test)]
pub(crate) use bond_options::OPTIONS as BOND_OPTIONS;
pub use cron::*;
pub use crypt::*;
pub use files::*;
pub use hostname::*;
pub use http::*;
pub use kube::*;
pub use names::*;
pub use net::*;
pub use os::*;
pub use proxy::*;
pub use quantity::*;
pub use ssh::*;
pub use storage::*;
pub use unpack::*;

/// What is wrong with a value, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub hint: String,
}

/// An error with a message and a hint.
pub fn wrong<T>(message: impl Into<String>, hint: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong {
        message: message.into(),
        hint: hint.into(),
    })
}

/// A value as it is quoted in messages: escaped, and cut when it is long. A URL can stand where
/// none belongs, and its secrets are not shown there either.
pub fn quoted(text: &str) -> String {
    const LIMIT: usize = 80;
    let masked = text.contains("://").then(|| masked_url(text));
    let text = masked.as_deref().unwrap_or(text);
    match text.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// Whether `text` has 1 to `limit` characters, all of which are `good`.
fn made_of(text: &str, limit: usize, good: impl Fn(u8) -> bool) -> bool {
    !text.is_empty() && text.len() <= limit && text.bytes().all(good)
}

/// One of a few words, else an error that names them all.
fn one_of<'a>(text: &str, what: &str, words: &[&'a str]) -> Result<&'a str, Wrong> {
    match words.iter().find(|word| **word == text) {
        Some(word) => Ok(word),
        None => wrong(
            format!("{} is not {what}", quoted(text)),
            format!("one of {}", words.join(", ")),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_cut_between_characters() {
        assert_eq!(quoted("a\nb"), "\"a\\nb\"");
        let long = quoted(&"ä".repeat(1000));
        assert_eq!(long.chars().filter(|c| *c == 'ä').count(), 80);
        assert!(long.ends_with('…'));
    }

    #[test]
    fn secrets_of_urls_are_not_quoted() {
        assert_eq!(
            quoted("http://u:hunter2@h/x?hunter2"),
            "\"http://***@h/x?…\""
        );
        assert_eq!(quoted("me@here"), "\"me@here\"");
    }
}
