//! Where a config comes from.
//!
//! In: nothing. Out: [`Source`], bytes or assignments with a name and a rank. `Debug` shows no
//! content.

use std::fmt;
use std::sync::Arc;

/// What kind of source it is, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceKind {
    /// What the image brings.
    ImageDefaults,
    /// A NoCloud or ConfigDrive disk.
    SeedDisk,
    /// Metadata of a cloud.
    Metadata,
    /// `install.config_url`.
    ConfigUrl,
    /// The OEM partition.
    Oem,
    /// `--config`.
    File,
    /// The kernel command line.
    CommandLine,
    /// `--set`.
    Set,
}

/// One assignment, such as `install.mode=create`.
#[derive(Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The key, with dots between its parts, in any spelling.
    pub path: String,
    /// The value.
    pub value: String,
    /// Number of the word it was, from 1.
    pub word: u32,
    /// Why it can't be used.
    pub fault: Option<&'static str>,
}

/// What a source says.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// A config, as bytes of YAML.
    Yaml(Vec<u8>),
    /// Assignments, in their order.
    Words(Vec<Assignment>),
}

/// A source.
#[derive(Clone, PartialEq, Eq)]
pub struct Source {
    /// What problems call it, such as the path of a file.
    pub name: Arc<str>,
    /// Its rank.
    pub kind: SourceKind,
    /// What it says.
    pub content: Content,
}

impl Source {
    /// A source of YAML.
    pub fn yaml(kind: SourceKind, name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.into(),
            kind,
            content: Content::Yaml(bytes.into()),
        }
    }

    /// A source of assignments.
    pub fn words(kind: SourceKind, name: &str, words: Vec<Assignment>) -> Self {
        Self {
            name: name.into(),
            kind,
            content: Content::Words(words),
        }
    }
}

impl fmt::Debug for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Assignment({}, word {})", self.path, self.word)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({:?}, {})", self.kind, self.name)
    }
}
