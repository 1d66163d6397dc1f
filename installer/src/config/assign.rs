//! Assignments such as `install.mode=create` as a tree: the kernel command line and `--set`.
//!
//! In: [`Assignment`]s. Out: a [`Node`]. A key that is repeated makes a list where the schema
//! has one, and otherwise its last value counts. A value that begins with `[` or `{` is YAML.
//! A NIC is `ens3`, a MAC address, or `hwAddr:MAC,name:ens3`.

use std::sync::Arc;

use super::cmdline::OPEN_QUOTE;
use super::cmdline::interface;
use super::problem::{Code, Mark, Problem};
use super::schema::{self, Kind, Shape};
use super::source::Assignment;
use super::spelling::name_of;
use super::tree::{Entry, Node, Value, shown_key, shown_path};
use super::yaml;

/// Builds the tree.
pub fn tree(words: &[Assignment], source: &Arc<str>) -> (Node, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut root = Node::empty_map(Mark::whole(source));
    for word in words {
        let at = Mark {
            source: Arc::clone(source),
            line: 0,
            column: word.word,
        };
        let done = match word.fault {
            Some(fault) if fault == OPEN_QUOTE => Err(Problem::new(
                Code::BadKey,
                shown_key(&word.path),
                fault,
                "close it: KEY=\"a value with blanks\"",
            )),
            Some(fault) => bad_key(word, fault),
            None => put(&mut root, schema::shape(), &word.path, word, &at),
        };
        if let Err(problem) = done {
            problems.push(problem.at(&at));
        }
    }
    (root, problems)
}

fn bad_key<T>(word: &Assignment, message: impl Into<String>) -> Result<T, Problem> {
    const HINT: &str = "keys joined by dots, such as install.management_interface.method";
    // What is no key could be anything, even a part of a secret.
    let field = shown_key(&word.path);
    Err(Problem::new(Code::BadKey, field, message, HINT))
}

/// The first key of a path, and what follows it.
fn split_key<'a>(path: &'a str, word: &Assignment) -> Result<(&'a str, &'a str), Problem> {
    let end = path.find(['.', '[']).unwrap_or(path.len());
    let (key, rest) = path.split_at(end);
    let good = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
    if key.is_empty() || rest == "." {
        return bad_key(word, "has an empty key in it");
    }
    if !key.bytes().all(good) {
        return bad_key(word, "has a letter in it that no key has");
    }
    Ok((key, rest.strip_prefix('.').unwrap_or(rest)))
}

/// Puts the value of a word where `path` says, which may be empty for `node` itself.
fn put(
    node: &mut Node,
    shape: &Shape,
    path: &str,
    word: &Assignment,
    at: &Mark,
) -> Result<(), Problem> {
    if path.is_empty() {
        return match shape.kind.fields() {
            Some(_) if std::ptr::eq(shape, schema::shape()) => bad_key(word, "has no key"),
            _ => set(node, shape, word, at),
        };
    }
    let (key, rest, inner) = match &shape.kind {
        Kind::Struct(fields) | Kind::TextOr(fields) => {
            let (key, rest) = split_key(path, word)?;
            let name = name_of(key, fields).unwrap_or(key);
            (name, rest, fields.get(name))
        }
        Kind::Map(inner) if is_simple(inner) => {
            // The dots belong to the key: sysctls, labels.
            if path.chars().any(char::is_control) {
                return bad_key(word, "has a letter in it that no key has");
            }
            (path, "", Some(&**inner))
        }
        Kind::Map(inner) => {
            let (key, rest) = split_key(path, word)?;
            (key, rest, Some(&**inner))
        }
        Kind::List(inner) => return put_item(node, inner, path, word, at),
        _ => {
            let (key, rest) = split_key(path, word)?;
            (key, rest, None)
        }
    };
    if says_otherwise(node) {
        return contradiction(word, at);
    }
    if !matches!(node.value, Value::Map(_)) {
        node.value = Value::Map(Vec::new());
    }
    let Value::Map(entries) = &mut node.value else {
        return Ok(());
    };
    let found = entries.iter().position(|e| e.key == key);
    let index = found.unwrap_or_else(|| {
        entries.push(Entry {
            key: key.to_owned(),
            key_at: at.clone(),
            node: Node {
                value: Value::Null,
                at: at.clone(),
            },
        });
        entries.len() - 1
    });
    match (entries.get_mut(index), inner) {
        (Some(entry), Some(inner)) => put(&mut entry.node, inner, rest, word, at),
        // The check says that the key is unknown.
        (Some(entry), None) => {
            entry.node = Node::plain(word.value.clone(), at.clone());
            Ok(())
        }
        (None, _) => Ok(()),
    }
}

fn is_simple(shape: &Shape) -> bool {
    match &shape.kind {
        Kind::Struct(_) | Kind::TextOr(_) | Kind::Map(_) => false,
        Kind::List(inner) => is_simple(inner),
        _ => true,
    }
}

/// An item of a list: `[0]`, or the next one.
fn put_item(
    node: &mut Node,
    inner: &Shape,
    path: &str,
    word: &Assignment,
    at: &Mark,
) -> Result<(), Problem> {
    let number = path.strip_prefix('[').and_then(|p| p.split_once(']'));
    let parsed = number.and_then(|(digits, rest)| Some((digits.parse::<usize>().ok()?, rest)));
    let rest = |rest: &'_ str| rest.is_empty() || (rest.len() > 1 && rest.starts_with('.'));
    let Some((index, rest)) = parsed.filter(|(_, after)| rest(after)) else {
        return bad_key(
            word,
            "an item of a list needs its number, as in os.write_files[0].path",
        );
    };
    if !matches!(node.value, Value::Seq(_)) {
        node.value = Value::Seq(Vec::new());
    }
    let Value::Seq(items) = &mut node.value else {
        return Ok(());
    };
    // Without holes, a word makes one item at the most.
    if index > items.len() {
        return bad_key(
            word,
            format!(
                "item {index} comes after item {}, which is not there",
                index - 1
            ),
        );
    }
    if index == items.len() {
        items.push(Node {
            value: Value::Null,
            at: at.clone(),
        });
    }
    match items.get_mut(index) {
        Some(item) => put(item, inner, rest.trim_start_matches('.'), word, at),
        None => Ok(()),
    }
}

/// Whether there is a value that a map would replace.
fn says_otherwise(node: &Node) -> bool {
    match &node.value {
        Value::Scalar(scalar) => !scalar.text.is_empty(),
        Value::Seq(items) => !items.is_empty(),
        Value::Null | Value::Map(_) => false,
    }
}

/// A disk is chosen by its path or by a rule: neither may win unseen.
fn contradiction(word: &Assignment, at: &Mark) -> Result<(), Problem> {
    let message = "does not go with an earlier word, which gives it another kind of value";
    let hint = "keep one of the two";
    Err(Problem::new(Code::DuplicateKey, shown_path(&word.path), message, hint).at(at))
}

/// Sets the value of a key, or adds to its list.
fn set(node: &mut Node, shape: &Shape, word: &Assignment, at: &Mark) -> Result<(), Problem> {
    let text = word.value.as_str();
    let is_text = matches!(shape.kind, Kind::Text);
    if !is_text && text.starts_with(['[', '{']) {
        *node = from_yaml(word, at)?;
        return Ok(());
    }
    let is_rule = matches!(shape.kind, Kind::TextOr(_)) && !text.is_empty();
    if is_rule && !node.entries().is_empty() {
        return contradiction(word, at);
    }
    let Kind::List(inner) = &shape.kind else {
        *node = Node::plain(text, at.clone());
        return Ok(());
    };
    let item = match &inner.kind {
        Kind::Struct(fields) if fields.contains_key("hw_addr") => nic(text, at),
        _ => Node::plain(text, at.clone()),
    };
    match &mut node.value {
        Value::Seq(items) => items.push(item),
        _ => {
            node.value = Value::Seq(vec![item]);
            node.at = at.clone();
        }
    }
    Ok(())
}

/// A NIC, by name or MAC or both.
fn nic(text: &str, at: &Mark) -> Node {
    let entry = |key: &str, value: &str| Entry {
        key: key.to_owned(),
        key_at: at.clone(),
        node: Node::plain(value, at.clone()),
    };
    let keys = interface(text).into_iter();
    let entries = keys.map(|(key, value)| entry(key, value)).collect();
    Node {
        value: Value::Map(entries),
        at: at.clone(),
    }
}

fn from_yaml(word: &Assignment, at: &Mark) -> Result<Node, Problem> {
    let wrapped = format!("value: {}", word.value);
    let (tree, problems) = yaml::parse(wrapped.as_bytes(), &at.source);
    if let Some(problem) = problems.into_iter().next() {
        return Err(Problem {
            field: shown_path(&word.path).into_owned(),
            ..problem
        });
    }
    let value = tree.as_ref().and_then(|t| t.get("value")).cloned();
    let mut value = value.unwrap_or_else(|| Node::plain("", at.clone()));
    place(&mut value, at);
    Ok(value)
}

/// Moves everything to one place.
fn place(node: &mut Node, at: &Mark) {
    node.at = at.clone();
    match &mut node.value {
        Value::Seq(items) => items.iter_mut().for_each(|item| place(item, at)),
        Value::Map(entries) => {
            for entry in entries {
                entry.key_at = at.clone();
                place(&mut entry.node, at);
            }
        }
        Value::Null | Value::Scalar(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::merge::find;
    use super::*;

    fn build(text: &[(&str, &str)]) -> (Node, Vec<Problem>) {
        let words: Vec<Assignment> = text
            .iter()
            .zip(1..)
            .map(|((path, value), word)| Assignment {
                path: (*path).into(),
                value: (*value).into(),
                word,
                fault: None,
            })
            .collect();
        tree(&words, &"--set".into())
    }

    #[test]
    fn keys_lists_and_free_keys() {
        let (tree, problems) = build(&[
            ("install.mode", "create"),
            ("os.dnsNameservers", "10.0.0.1"),
            ("os.dns_nameservers", "10.0.0.2"),
            ("os.sysctls.net.ipv4.ip_forward", "1"),
            ("os.write_files[0].path", "/etc/motd"),
            ("install.device", "{min_size: 400G}"),
            (
                "install.management_interface.interfaces",
                "hwAddr:52:54:00:12:34:56,name:ens3",
            ),
            ("install.management_interface.interfaces", "ens4"),
            (
                "install.management_interface.interfaces",
                "52:54:00:12:34:57",
            ),
        ]);
        assert_eq!(problems, []);
        for (path, value) in [
            ("install.mode", "create"),
            ("os.dns_nameservers[1]", "10.0.0.2"),
            ("os.sysctls.net.ipv4.ip_forward", "1"),
            ("os.write_files[0].path", "/etc/motd"),
            ("install.device.min_size", "400G"),
            (
                "install.management_interface.interfaces[0].hw_addr",
                "52:54:00:12:34:56",
            ),
            ("install.management_interface.interfaces[1].name", "ens4"),
            (
                "install.management_interface.interfaces[2].hw_addr",
                "52:54:00:12:34:57",
            ),
        ] {
            assert_eq!(
                find(&tree, path).and_then(Node::text),
                Some(value),
                "{path}"
            );
        }
        assert_eq!(find(&tree, "os.dns_nameservers[1]").unwrap().at.column, 3);
    }

    #[test]
    fn words_that_contradict_each_other_are_a_problem() {
        let path = ("install.device", "/dev/sda");
        let rule = ("install.device.model", "x");
        for words in [
            [path, rule],
            [rule, path],
            [("install", "5"), ("install.mode", "create")],
        ] {
            let (_, problems) = build(&words);
            assert_eq!(problems.len(), 1, "{words:?}");
            assert_eq!(problems[0].code, Code::DuplicateKey, "{words:?}");
        }
        for words in [
            [path, ("install.device", "/dev/sdb")],
            [("os", ""), ("os.hostname", "a")],
        ] {
            assert_eq!(build(&words).1, [], "{words:?}");
        }
    }

    #[test]
    fn nonsense_is_a_problem() {
        for (path, value) in [
            ("", "x"),
            ("os.write_files.path", "x"),
            ("os.write_files[1].path", "x"),
            ("os.write_files[0]path", "x"),
            ("os.write_files[x].path", "x"),
            ("os.write_files[0].", "x"),
            ("os.write_files[0][0]", "x"),
            ("os.", "x"),
            (".os", "x"),
            ("os..hostname", "x"),
            ("ä", "x"),
            ("os/x", "x"),
            ("os.sysctls.a\u{1}", "x"),
            ("os.labels", "{a"),
        ] {
            assert_eq!(build(&[(path, value)]).1.len(), 1, "{path}");
        }
    }

    #[test]
    fn faults_of_words_are_problems_without_their_values() {
        let line = crate::sys::cmdline::Cmdline::parse("harrow.token=\"hunter2 quiet");
        let words = super::super::cmdline::parse_words(&line);
        let (_, problems) = tree(&words, &"line".into());
        assert_eq!(problems.len(), 1);
        assert!(!format!("{problems:?}").contains("hunter2"));
        for word in [
            "token:hunter2",
            "os.password:hunter2=1",
            "token/hunter2=",
            "install.device.model:hunter2=1",
        ] {
            let line = format!("harrow.install.device=/dev/sda harrow.{word}");
            let line = crate::sys::cmdline::Cmdline::parse(&line);
            let words = super::super::cmdline::parse_words(&line);
            let (_, problems) = tree(&words, &"line".into());
            assert_eq!(problems.len(), 1, "{word}");
            assert!(!format!("{problems:?}").contains("hunter2"), "{problems:?}");
        }
    }
}
