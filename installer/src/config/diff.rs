//! What differs between two configs, key by key.
//!
//! In: two checked configs. Out: [`Difference`]s with secrets masked; that a secret differs is
//! said all the same.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::formats::mask_urls;
use super::load::Checked;
use super::schema::{self, Kind, Shape};
use super::secret::MASK;
use super::tree::{Node, Value, join};

/// A key whose value differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The key, such as `os.hostname`.
    pub key: String,
    /// The value before; `None` when it was not said.
    pub before: Option<String>,
    /// The value after; `None` when it is not said any more.
    pub after: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => write!(f, "  {key}: {before} -> {after}"),
            (None, Some(after)) => write!(f, "+ {key}: {after}"),
            (Some(before), None) => write!(f, "- {key}: {before}"),
            (None, None) => write!(f, "  {key}"),
        }
    }
}

/// Every key that differs, in order.
pub fn differences(before: &Checked, after: &Checked) -> Vec<Difference> {
    let (before, after) = (values(before), values(after));
    let mut keys: Vec<&String> = before.keys().chain(after.keys()).collect();
    keys.sort();
    keys.dedup();
    let differs = keys.into_iter().filter(|key| {
        let text = |values: &BTreeMap<String, Said>| values.get(*key).map(|s| s.text.clone());
        text(&before) != text(&after)
    });
    let shown =
        |values: &BTreeMap<String, Said>, key: &String| values.get(key).map(|said| said.shown());
    differs
        .map(|key| Difference {
            key: key.clone(),
            before: shown(&before, key),
            after: shown(&after, key),
        })
        .collect()
}

/// One value; never printed but by [`Said::shown`].
struct Said {
    text: String,
    secret: bool,
}

impl Said {
    fn shown(&self) -> String {
        match self.secret {
            true => MASK.to_owned(),
            false => mask_urls(&self.text).to_string(),
        }
    }
}

fn values(checked: &Checked) -> BTreeMap<String, Said> {
    let mut found = BTreeMap::new();
    collect(&checked.tree, schema::shape(), false, "", &mut found);
    found
}

fn collect(
    node: &Node,
    shape: &Shape,
    hidden: bool,
    path: &str,
    found: &mut BTreeMap<String, Said>,
) {
    let secret = hidden || shape.secret;
    let inner = |key: &str| match &shape.kind {
        Kind::Map(inner) | Kind::List(inner) => &**inner,
        kind => kind.fields().and_then(|f| f.get(key)).unwrap_or(shape),
    };
    match &node.value {
        Value::Null => {}
        Value::Scalar(scalar) => {
            let text = scalar.text.clone();
            found.insert(path.to_owned(), Said { text, secret });
        }
        Value::Seq(items) => {
            for (i, item) in items.iter().enumerate() {
                collect(item, inner(""), secret, &format!("{path}[{i}]"), found);
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                let path = join(path, &entry.key);
                collect(&entry.node, inner(&entry.key), secret, &path, found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::check_sources;
    use super::super::source::{Source, SourceKind};
    use super::*;

    #[test]
    fn every_key_that_differs_and_no_secret() {
        let read = |text: &str| check_sources(&[Source::yaml(SourceKind::File, "f", text)]);
        let before = read(
            "token: hunter1\nos: {hostname: a, modules: [x, y], write_files: [{path: /a, content: hunter1}]}\n",
        );
        let after = read(
            "token: hunter2\nos: {hostname: b, modules: [x], sysctls: {k.a: 1}, write_files: [{path: /a, content: hunter2}]}\n",
        );
        let found = differences(&before, &after);
        let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert!(!lines.join("\n").contains("hunter"), "{lines:?}");
        let keys: Vec<&str> = found.iter().map(|d| d.key.as_str()).collect();
        assert_eq!(
            keys,
            [
                "os.hostname",
                "os.modules[1]",
                "os.sysctls.k.a",
                "os.write_files[0].content",
                "token"
            ]
        );
        assert_eq!(lines[0], "  os.hostname: a -> b");
        assert_eq!(lines[1], "- os.modules[1]: y");
        assert_eq!(lines[2], "+ os.sysctls.k.a: 1");
        assert!(differences(&before, &before).is_empty());
    }
}
