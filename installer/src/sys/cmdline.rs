//! The kernel's command line.
//!
//! In: its text. Out: words as `key=value`, with double quotes taken off as the kernel does
//! (`lib/cmdline.c`: quotes keep white space together and may stand anywhere in a word).

/// The words of a command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cmdline {
    words: Vec<(String, Option<String>)>,
    open_quote: bool,
}

impl Cmdline {
    /// Splits a command line.
    pub fn parse(text: &str) -> Self {
        let mut words = Vec::new();
        let mut word = String::new();
        let mut quoted = false;
        for c in text.chars() {
            match c {
                '"' => quoted = !quoted,
                c if c.is_whitespace() && !quoted => {
                    if !word.is_empty() {
                        words.push(split(&std::mem::take(&mut word)));
                    }
                }
                c => word.push(c),
            }
        }
        if !word.is_empty() {
            words.push(split(&word));
        }
        Self {
            words,
            open_quote: quoted,
        }
    }

    /// The last value of a key, as the last one wins; `Some("")` for a key without a value.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.all(key).last()
    }

    /// All values of a key, in order.
    pub fn all<'a, 'k>(&'a self, key: &'k str) -> impl Iterator<Item = &'a str> + use<'a, 'k> {
        let found = self.words.iter().filter(move |(k, _)| k == key);
        found.map(|(_, value)| value.as_deref().unwrap_or_default())
    }

    /// Whether the last word's quote is not closed, so that it has swallowed the rest of the line.
    pub fn has_open_quote(&self) -> bool {
        self.open_quote
    }

    /// Every word as key and value, `None` for a key without `=`, in order.
    pub fn words(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let words = self.words.iter();
        words.map(|(key, value)| (key.as_str(), value.as_deref()))
    }
}

fn split(word: &str) -> (String, Option<String>) {
    match word.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (word.to_owned(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_quotes_and_repetition() {
        let line = Cmdline::parse(
            "ro root=/dev/sda1 console=tty0 x=\"a b\" \"y=c d\" console=ttyS0,115200 z=\n",
        );
        assert_eq!(line.get("ro"), Some(""));
        assert_eq!(line.get("root"), Some("/dev/sda1"));
        assert_eq!(line.get("x"), Some("a b"));
        assert_eq!(line.get("y"), Some("c d"));
        assert_eq!(line.get("z"), Some(""));
        assert_eq!(line.get("console"), Some("ttyS0,115200"));
        assert_eq!(line.all("console").count(), 2);
        assert_eq!(line.get("nothing"), None);
        assert!(!line.has_open_quote());
        let open = Cmdline::parse("a=\"open b");
        assert_eq!(open.get("a"), Some("open b"));
        assert!(open.has_open_quote());
    }
}
