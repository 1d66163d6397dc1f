//! Several sources as one tree, in which every value still knows where it was said.
//!
//! In: trees, weakest first. Out: one tree. Maps are merged key by key; a list, and a disk
//! rule, is replaced as a whole, so that a source can also take items away.

use std::collections::HashMap;

use super::schema::{Kind, Shape};
use super::tree::{Node, Value};

/// `weak` with what `strong` says over it.
pub fn merge(weak: Node, strong: Node, shape: &Shape) -> Node {
    let Node { value, at } = weak;
    match (value, strong.value, &shape.kind) {
        (Value::Map(mut entries), Value::Map(news), Kind::Struct(_) | Kind::Map(_)) => {
            let places = entries.iter().enumerate();
            let places: HashMap<String, usize> = places.map(|(i, e)| (e.key.clone(), i)).collect();
            for new in news {
                let inner = match &shape.kind {
                    Kind::Struct(fields) => fields.get(&new.key),
                    Kind::Map(inner) => Some(&**inner),
                    _ => None,
                };
                let old = places.get(&new.key).and_then(|i| entries.get_mut(*i));
                match (old, inner) {
                    (Some(old), Some(inner)) => {
                        let empty = Node::empty_map(old.node.at.clone());
                        let weak = std::mem::replace(&mut old.node, empty);
                        old.node = merge(weak, new.node, inner);
                        old.key_at = new.key_at;
                    }
                    (Some(old), None) => *old = new,
                    (None, _) => entries.push(new),
                }
            }
            Node {
                value: Value::Map(entries),
                at,
            }
        }
        (_, value, _) => Node {
            value,
            at: strong.at,
        },
    }
}

/// The value at a path in the notation of problems; free keys may hold dots.
pub fn find<'a>(node: &'a Node, path: &str) -> Option<&'a Node> {
    if path.is_empty() {
        return Some(node);
    }
    if let Some(rest) = path.strip_prefix('[') {
        let (index, rest) = rest.split_once(']')?;
        let Value::Seq(items) = &node.value else {
            return None;
        };
        let item = items.get(index.parse::<usize>().ok()?)?;
        return find(item, rest.strip_prefix('.').unwrap_or(rest));
    }
    node.entries().iter().find_map(|entry| {
        let rest = path.strip_prefix(entry.key.as_str())?;
        let rest = match rest.chars().next() {
            None | Some('[') => rest,
            Some('.') => rest.get(1..)?,
            Some(_) => return None,
        };
        find(&entry.node, rest)
    })
}

#[cfg(test)]
mod tests {
    use super::super::{schema, yaml};
    use super::*;

    fn tree(name: &str, text: &str) -> Node {
        yaml::parse(text.as_bytes(), &name.into()).0.unwrap()
    }

    #[test]
    fn the_stronger_wins_key_by_key_and_lists_as_a_whole() {
        let weak = tree(
            "weak",
            "os: {hostname: a, ntp_servers: [a, b], sysctls: {x.y: 1, z: 1}}\ninstall: {device: {min_size: 1G}}",
        );
        let strong = tree(
            "strong",
            "os: {hostname: b, ntp_servers: [c], sysctls: {x.y: 2}}\ninstall: {device: {rotational: no}}",
        );
        let merged = merge(weak, strong, schema::shape());
        for (path, value, source) in [
            ("os.hostname", Some("b"), "strong"),
            ("os.ntp_servers[0]", Some("c"), "strong"),
            ("os.sysctls.x.y", Some("2"), "strong"),
            ("os.sysctls.z", Some("1"), "weak"),
            ("install.device.rotational", Some("no"), "strong"),
        ] {
            let node = find(&merged, path).unwrap();
            assert_eq!(node.text(), value, "{path}");
            assert_eq!(&*node.at.source, source, "{path}");
        }
        assert!(find(&merged, "os.ntp_servers[1]").is_none());
        assert!(find(&merged, "install.device.min_size").is_none());
        assert!(find(&merged, "os.host").is_none());
    }
}
