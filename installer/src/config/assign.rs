//! Assignments such as `install.mode=create` as a tree: the kernel command line and `--set`.
//!
//! In: [`Assignment`]s. Out: a [`Node`]. A key that is repeated makes a list where the schema
//! has one, and otherwise its last value counts. A value that begins with `[` or `{` is YAML.
//! A NIC is `ens3`, a MAC address, or `hwAddr:MAC,name:ens3`.

use std::sync::Arc;

use super::problem::{Code, Mark, Problem};
use super::schema::{self, Kind, Shape};
use super::source::Assignment;
use super::spelling::name_of;
use super::tree::{Entry, Node, Value};
use super::yaml;

/// The largest index that a key may have.
const LARGEST_INDEX: usize = 999;

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
        let normal = word.path.replace('[', ".").replace(']', "");
        let path: Vec<&str> = normal.split('.').filter(|p| !p.is_empty()).collect();
        if path.is_empty() {
            let hint = "such as install.mode=create";
            let problem = Problem::new(Code::BadKey, "", "an assignment without a key", hint);
            problems.push(problem.at(&at));
            continue;
        }
        if let Err(problem) = put(&mut root, schema::shape(), &path, word, &at) {
            problems.push(problem.at(&at));
        }
    }
    (root, problems)
}

fn put(
    node: &mut Node,
    shape: &Shape,
    path: &[&str],
    word: &Assignment,
    at: &Mark,
) -> Result<(), Problem> {
    let Some((key, rest)) = path.split_first() else {
        return set(node, shape, word, at);
    };
    let (key, rest, inner) = match &shape.kind {
        Kind::Struct(fields) | Kind::TextOr(fields) => {
            let name = name_of(key, fields).unwrap_or(key);
            (name.to_owned(), rest, fields.get(name))
        }
        Kind::Map(inner) if is_simple(inner) => {
            // The dots belong to the key: sysctls, labels.
            (path.join("."), &[][..], Some(&**inner))
        }
        Kind::Map(inner) => ((*key).to_owned(), rest, Some(&**inner)),
        Kind::List(inner) => return put_item(node, inner, path, word, at),
        _ => ((*key).to_owned(), rest, None),
    };
    if !matches!(node.value, Value::Map(_)) {
        node.value = Value::Map(Vec::new());
    }
    let Value::Map(entries) = &mut node.value else {
        return Ok(());
    };
    let found = entries.iter().position(|e| e.key == key);
    let index = found.unwrap_or_else(|| {
        entries.push(Entry {
            key,
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

fn put_item(
    node: &mut Node,
    inner: &Shape,
    path: &[&str],
    word: &Assignment,
    at: &Mark,
) -> Result<(), Problem> {
    let (index, rest) = path.split_first().map_or(("", &[][..]), |(i, r)| (*i, r));
    let index = index.parse::<usize>().ok().filter(|i| *i <= LARGEST_INDEX);
    let Some(index) = index else {
        let hint = "such as os.write_files[0].path=/etc/motd";
        let message = "an item of a list needs its number";
        return Err(Problem::new(Code::BadKey, &word.path, message, hint));
    };
    if !matches!(node.value, Value::Seq(_)) {
        node.value = Value::Seq(Vec::new());
    }
    let Value::Seq(items) = &mut node.value else {
        return Ok(());
    };
    while items.len() <= index {
        items.push(Node {
            value: Value::Null,
            at: at.clone(),
        });
    }
    match items.get_mut(index) {
        Some(item) => put(item, inner, rest, word, at),
        None => Ok(()),
    }
}

/// Sets the value of a key, or adds to its list.
fn set(node: &mut Node, shape: &Shape, word: &Assignment, at: &Mark) -> Result<(), Problem> {
    let text = word.value.as_str();
    let is_text = matches!(shape.kind, Kind::Text);
    if !is_text && text.starts_with(['[', '{']) {
        *node = from_yaml(word, at)?;
        return Ok(());
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
    let is_mac = |text: &str| super::formats::mac(text).is_ok();
    let entries = text
        .split(',')
        .map(|part| match part.split_once(':') {
            _ if is_mac(part) => entry("hw_addr", part),
            Some((key, value)) => entry(key, value),
            None => entry("name", part),
        })
        .collect();
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
            field: word.path.clone(),
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
                "install.management_interface.interfaces[0].hwAddr",
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
    fn nonsense_is_a_problem() {
        for (path, value) in [("", "x"), ("os.write_files.path", "x"), ("os.labels", "{a")] {
            assert_eq!(build(&[(path, value)]).1.len(), 1, "{path}");
        }
        assert_eq!(build(&[("os.write_files[99999999].path", "x")]).1.len(), 1);
    }
}
