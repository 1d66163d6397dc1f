//! The password at the door: in clear it comes no further than the file it stands in.
//!
//! In: the tree of one source, just checked. Out: the same tree with the password's hash in its
//! place. Pure: the salt comes from who reads.

use super::formats;
use super::problem::Mark;
use super::secret::{self, Salt, Secret};
use super::tree::{Node, Style, Value};

/// What becomes of a password in clear.
#[derive(Clone, Copy)]
pub enum InClear {
    /// It becomes its hash, with this salt.
    Hash(Salt),
    /// It becomes [`FORGOTTEN`]: for checks, since hashes take time and a fleet has many.
    Forget,
}

/// A whole hash that no password is known for; a config with it is never stored.
pub const FORGOTTEN: &str = "$6$forgotten$......................................................................................";

/// Takes `os.password` in clear out of a tree. One that breaks a rule goes away, and the check
/// has said so; one that begins like a hash stays as it is. Gives the place of what went away.
pub fn close(tree: &mut Node, in_clear: InClear) -> Option<Mark> {
    let Value::Map(top) = &mut tree.value else {
        return None;
    };
    let os = top.iter_mut().find(|entry| entry.key == "os")?;
    let Value::Map(entries) = &mut os.node.value else {
        return None;
    };
    let mut gone = None;
    entries.retain_mut(|entry| {
        let stays = entry.key != "password" || close_value(&mut entry.node, in_clear);
        if !stays {
            gone = Some(entry.node.at.clone());
        }
        stays
    });
    gone
}

/// Whether the value can stay.
fn close_value(node: &mut Node, in_clear: InClear) -> bool {
    let scalar = match &mut node.value {
        Value::Scalar(scalar) => scalar,
        Value::Null => return true,
        Value::Seq(_) | Value::Map(_) => return false,
    };
    if scalar.text.is_empty() || formats::is_hashed(&scalar.text) {
        return true;
    }
    let password = Secret::new(std::mem::take(&mut scalar.text));
    let hash = match in_clear {
        InClear::Hash(salt) => secret::hash_password(&password, salt),
        InClear::Forget => formats::password(password.expose()).map(|()| FORGOTTEN.into()),
    };
    let Ok(hash) = hash else {
        return false;
    };
    hash.expose().clone_into(&mut scalar.text);
    scalar.style = Style::Quoted;
    true
}

#[cfg(test)]
mod tests {
    use super::super::load::{check_sources, read_sources};
    use super::super::source::{Source, SourceKind};
    use super::*;

    #[test]
    fn no_password_in_clear_gets_past_the_door() {
        let source = |password: &str| {
            let text = format!("os: {{password: {password}}}\ninstall: {{mode: install}}\n");
            [Source::yaml(SourceKind::File, "f", text)]
        };
        let password_of = |password: &str, salt| {
            let checked = read_sources(&source(password), salt);
            let tree = super::super::merge::find(&checked.tree, "os.password");
            let in_tree = tree.and_then(Node::text).map(str::to_owned);
            let answer = checked.answers.os.password;
            assert_eq!(answer.as_ref().map(Secret::expose), in_tree.as_deref());
            in_tree
        };
        let hash = password_of("hunter2", [7; 12]).unwrap();
        assert!(
            hash.starts_with("$6$") && !hash.contains("hunter2"),
            "{hash}"
        );
        assert!(formats::crypt_hash(&hash).is_ok());
        assert_ne!(password_of("hunter2", [8; 12]).unwrap(), hash);
        assert_eq!(password_of(&hash, [9; 12]), Some(hash.clone()));
        // What is no password is nowhere, not even in the tree.
        assert_eq!(password_of("\"hunter2\\n\"", [7; 12]), None);
        assert_eq!(password_of("[hunter2]", [7; 12]), None);
        let word = super::super::cmdline::parse_set("os.password=hunter2").unwrap();
        let words = [Source::words(SourceKind::Set, "--set", vec![word])];
        let password = read_sources(&words, [7; 12]).answers.os.password;
        assert_eq!(password.unwrap().expose(), hash);
        let checked = check_sources(&source("hunter2"));
        assert!(!checked.problems.has_errors(), "{}", checked.problems);
        assert_eq!(checked.answers.os.password.unwrap().expose(), FORGOTTEN);
    }

    #[test]
    fn what_was_only_checked_is_never_stored() {
        assert!(formats::crypt_hash(FORGOTTEN).is_ok());
        let text = "os: {password: hunter2}\ninstall: {mode: install}\n";
        let source = [Source::yaml(SourceKind::File, "f", text)];
        assert!(check_sources(&source).answers.to_node_yaml().is_err());
        let stored = read_sources(&source, [7; 12]).answers.to_node_yaml();
        assert!(stored.unwrap().contains("$6$"));
    }
}
