//! Today's spelling of keys: camelCase, kebab-case, singular and older names become those of
//! the schema.
//!
//! In: a tree as it was written. Out: the same tree with the keys of the schema. Free keys
//! (sysctls, labels, environment, system_settings, bond_options, settings of Longhorn) stay.

use std::collections::{BTreeMap, HashMap};

use super::problem::{Code, Problem};
use super::schema::{Kind, Shape};
use super::tree::{Entry, Node, Style, Value, join};

/// Keys that once had another place or another name, in any spelling.
const MOVED: [(&str, &str); 4] = [
    // Until Harvester 1.0 all networks were in one map.
    (
        "install.networks.harvester-mgmt",
        "install.management_interface",
    ),
    // Until 1.4.
    ("install.wipedisks", "install.wipe_all_disks"),
    // A slip in Harvester's documentation that people copy.
    (
        "os.write_filespersistent_state_paths",
        "os.persistent_state_paths",
    ),
    ("install.cluster_cidr", "install.cluster_pod_cidr"),
];

/// Older names of a key that had the same place.
pub fn older_names(path: &str) -> impl Iterator<Item = &'static str> {
    let parent = |path: &str| path.rfind('.').map_or(0, |dot| dot + 1);
    let old = MOVED.iter().filter(move |(_, new)| *new == path);
    old.filter_map(move |(old, new)| {
        let (before, name) = old.split_at(parent(old));
        (before == &new[..parent(new)]).then_some(name)
    })
}

/// The tree with the schema's keys.
pub fn canonical(node: Node, shape: &Shape, problems: &mut Vec<Problem>) -> Node {
    let mut node = node;
    for (old, new) in MOVED {
        if let Some(entry) = take(&mut node, old) {
            put(&mut node, new, entry, problems);
        }
    }
    rename(node, shape, "", problems)
}

fn rename(node: Node, shape: &Shape, path: &str, problems: &mut Vec<Problem>) -> Node {
    let Node { value, at } = node;
    let value = match (value, &shape.kind) {
        (Value::Map(entries), Kind::Struct(fields) | Kind::TextOr(fields)) => {
            let mut done: Vec<Entry> = Vec::with_capacity(entries.len());
            let mut lines = HashMap::new();
            for mut entry in entries {
                if let Some(name) = name_of(&entry.key, fields) {
                    entry.key = name.to_owned();
                }
                let path = join(path, &entry.key);
                if let Some(line) = lines.insert(entry.key.clone(), entry.key_at.line) {
                    // Words have no lines; most often these are two NICs in one word.
                    let (message, hint) = match line {
                        0 => (
                            "said twice".to_owned(),
                            "one word for each NIC: KEY=ens3 KEY=ens4",
                        ),
                        line => (
                            format!("there already, on line {line}"),
                            "keep one of the two spellings",
                        ),
                    };
                    let problem = Problem::new(Code::DuplicateKey, path, message, hint);
                    problems.push(problem.at(&entry.key_at));
                    continue;
                }
                if let Some(inner) = fields.get(&entry.key) {
                    entry.node = rename(entry.node, inner, &path, problems);
                }
                done.push(entry);
            }
            binary_content(&mut done);
            Value::Map(done)
        }
        (Value::Map(entries), Kind::Map(inner)) => {
            let each = entries.into_iter().map(|mut entry| {
                let path = join(path, &entry.key);
                entry.node = rename(entry.node, inner, &path, problems);
                entry
            });
            Value::Map(each.collect())
        }
        (Value::Seq(items), Kind::List(inner)) => {
            let each = items.into_iter().enumerate();
            let each = each.map(|(i, item)| rename(item, inner, &format!("{path}[{i}]"), problems));
            Value::Seq(each.collect())
        }
        (value, _) => value,
    };
    Node { value, at }
}

/// The schema's name for a key: the same letters in any case, without `_` and `-`, singular or
/// plural.
pub fn name_of<'a>(key: &str, fields: &'a BTreeMap<String, Shape>) -> Option<&'a str> {
    // Nearly every key is spelt as today, and this is done for every key.
    if let Some((name, _)) = fields.get_key_value(key) {
        return Some(name);
    }
    let letters = letters_of(key);
    let mut plural = None;
    for name in fields.keys() {
        let wanted = letters_of(name);
        if wanted == letters {
            return Some(name);
        }
        if wanted.strip_suffix('s') == Some(&letters) {
            plural = Some(name.as_str());
        }
    }
    plural
}

/// A key without what its spellings differ in.
pub fn letters_of(key: &str) -> String {
    key.chars()
        .filter(|c| *c != '_' && *c != '-')
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

/// `content: !!binary ...` is base64, which `encoding` says for all others; what is packed stays so.
fn binary_content(entries: &mut Vec<Entry>) {
    let binary = entries.iter().find(|e| {
        e.key == "content" && matches!(&e.node.value, Value::Scalar(s) if s.style == Style::Binary)
    });
    let Some(content) = binary else {
        return;
    };
    let (key_at, at) = (content.key_at.clone(), content.node.at.clone());
    let Some(said) = entries.iter_mut().find(|e| e.key == "encoding") else {
        entries.push(Entry {
            key: "encoding".into(),
            key_at,
            node: Node::plain("b64", at),
        });
        return;
    };
    if let Some("gz" | "gzip") = said.node.text() {
        said.node = Node::plain("gz+b64", said.node.at.clone());
    }
}

/// Takes the entry at a path out of a tree, whatever the spelling of its keys.
fn take(node: &mut Node, path: &str) -> Option<Entry> {
    let Value::Map(entries) = &mut node.value else {
        return None;
    };
    let (key, rest) = path
        .split_once('.')
        .map_or((path, None), |(k, r)| (k, Some(r)));
    let at = entries
        .iter()
        .position(|e| letters_of(&e.key) == letters_of(key))?;
    match rest {
        None => Some(entries.remove(at)),
        Some(rest) => {
            let inside = &mut entries.get_mut(at)?.node;
            let taken = take(inside, rest)?;
            // A map that held nothing else was only the way to it.
            if matches!(&inside.value, Value::Map(rest) if rest.is_empty()) {
                entries.remove(at);
            }
            Some(taken)
        }
    }
}

/// Puts an entry where a path says, unless something is there.
fn put(node: &mut Node, path: &str, entry: Entry, problems: &mut Vec<Problem>) {
    let mut here = node;
    let mut keys = path.split('.').peekable();
    while let Some(key) = keys.next() {
        let Value::Map(entries) = &mut here.value else {
            return;
        };
        let found = entries
            .iter()
            .position(|e| letters_of(&e.key) == letters_of(key));
        let last = keys.peek().is_none();
        if let (Some(at), true) = (found, last) {
            let line = entries.get(at).map_or(0, |e| e.key_at.line);
            let message = format!("there already, on line {line}");
            let hint = "keep one; this is its older name";
            let problem = Problem::new(Code::DuplicateKey, path, message, hint);
            problems.push(problem.at(&entry.key_at));
            return;
        }
        if last {
            entries.push(Entry {
                key: key.to_owned(),
                ..entry
            });
            return;
        }
        let at = found.unwrap_or_else(|| {
            entries.push(Entry {
                key: key.to_owned(),
                key_at: entry.key_at.clone(),
                node: Node::empty_map(entry.node.at.clone()),
            });
            entries.len() - 1
        });
        let Some(next) = entries.get_mut(at) else {
            return;
        };
        here = &mut next.node;
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::check_sources;
    use super::super::source::{Source, SourceKind};
    use super::super::{formats, schema, yaml};
    use super::*;

    fn read(text: &str) -> (Node, Vec<Problem>) {
        let (tree, mut problems) = yaml::parse(text.as_bytes(), &"c".into());
        let tree = canonical(tree.unwrap(), schema::shape(), &mut problems);
        (tree, problems)
    }

    fn at<'a>(node: &'a Node, path: &str) -> Option<&'a Node> {
        path.split('.').try_fold(node, |node, key| node.get(key))
    }

    #[test]
    fn every_spelling_is_the_same_key() {
        for text in [
            "os: {sshAuthorizedKeys: [a]}",
            "os: {ssh_authorized_key: [a]}",
            "os: {ssh-authorized-keys: [a]}",
            "OS: {SSHAuthorizedKeys: [a]}",
        ] {
            let (tree, problems) = read(text);
            assert_eq!(problems, []);
            assert!(at(&tree, "os.ssh_authorized_keys").is_some(), "{text}");
        }
        let (tree, _) =
            read("install: {with-net-images: true, webhooks: [{basicAuth: {user: x}}]}");
        assert!(at(&tree, "install.with_net_images").is_some());
        let (tree, _) = read(
            "os: {sysctls: {fooBar: 1}, externalStorageConfig: {multiPathConfig: {blacklistWwids: [x]}}}",
        );
        assert!(
            tree.get("os")
                .unwrap()
                .get("sysctls")
                .unwrap()
                .get("fooBar")
                .is_some()
        );
        assert!(
            at(
                &tree,
                "os.external_storage_config.multi_path_config.blacklist_wwids"
            )
            .is_some()
        );
    }

    #[test]
    fn old_places_are_found() {
        let (tree, problems) =
            read("install: {networks: {harvester-mgmt: {interfaces: [{name: ens5}]}, other: {}}}");
        assert_eq!(problems, []);
        assert!(at(&tree, "install.management_interface.interfaces").is_some());
        assert!(at(&tree, "install.networks.other").is_some());
        let (tree, _) = read("install: {networks: {harvester-mgmt: {interfaces: [{name: ens5}]}}}");
        assert!(
            at(&tree, "install.networks").is_none(),
            "an empty map is left"
        );
        let (tree, _) = read("os: {writeFilespersistentStatePaths: [/var/lib/x]}");
        assert!(at(&tree, "os.persistent_state_paths").is_some());
    }

    #[test]
    fn binary_content_is_decoded_and_unpacked() {
        const GZIP: &str = "H4sIAAAAAAACA8tIzcnJ5wIAIDA6NgYAAAA=";
        for (encoding, content) in [
            ("", "aGVsbG8K"),
            ("encoding: gz, ", GZIP),
            ("encoding: gzip, ", GZIP),
            ("encoding: gz+b64, ", GZIP),
        ] {
            let text = format!(
                "os: {{write_files: [{{path: /x, {encoding}content: !!binary {content}}}]}}"
            );
            let source = Source::yaml(SourceKind::File, "c", text);
            let checked = check_sources(&[source]);
            let files = &checked.answers.os.write_files;
            let file = files.first().unwrap();
            let decoded = formats::decode(&file.encoding, file.content.expose());
            assert_eq!(decoded.unwrap(), b"hello\n", "{encoding}");
        }
    }

    #[test]
    fn two_spellings_of_one_key_are_one_too_many() {
        let (_, problems) = read("os:\n  dns_nameservers: []\n  dnsNameservers: []\n");
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].code, Code::DuplicateKey);
        assert_eq!(problems[0].at.as_ref().unwrap().line, 3);
    }
}
