//! The form in which answers are stored on the node.
//!
//! In: [`Answers`]. Out: YAML that is read back as what was said.

use anyhow::{Context as _, ensure};
use serde_json::Value as Json;

use super::answers::Answers;
use super::formats;
use super::password::FORGOTTEN;

impl Answers {
    /// What is stored on the node. Only hashed passwords are: any other is a mistake of ours.
    pub fn to_node_yaml(&self) -> anyhow::Result<String> {
        if let Some(password) = &self.os.password {
            let text = password.expose();
            let stored = formats::is_hashed(text) && text != FORGOTTEN;
            ensure!(stored, "a password that was not hashed can't be stored");
        }
        let mut json = serde_json::to_value(self).context("writing the config")?;
        drop_empty(&mut json);
        serde_saphyr::to_string(&json).context("writing the config as YAML")
    }
}

/// Takes out what nobody said.
fn drop_empty(json: &mut Json) -> bool {
    match json {
        Json::Null => true,
        Json::Array(items) => {
            // Items keep their places.
            for item in items.iter_mut() {
                drop_empty(item);
            }
            items.is_empty()
        }
        Json::Object(map) => {
            map.retain(|_, value| !drop_empty(value));
            map.is_empty()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::{Checked, read_sources};
    use super::super::source::{Source, SourceKind};

    const GOOD: &str = "
scheme_version: 1
token: secret
os:
  hostname: node-1
  password: pass
  sysctls: { net.ipv4.ip_forward: 1, kernel.core_pattern: x }
  write_files:
    - { path: /etc/motd, content: hello, permissions: '0644' }
install:
  mode: create
  device: /dev/vda
  managementInterface: { interfaces: [{ hwAddr: '52:54:00:12:34:56' }], method: dhcp }
";

    fn read(text: &str) -> Checked {
        read_sources(&[Source::yaml(SourceKind::File, "c.yaml", text)], [7; 12])
    }

    #[test]
    fn what_is_stored_says_the_same_and_hides_the_password() {
        let mut answers = read(GOOD).answers;
        let stored = answers.to_node_yaml().unwrap();
        assert!(!stored.contains("password: pass"), "{stored}");
        let again = read(&stored).answers;
        let hash = again.os.password.clone().unwrap();
        assert!(hash.expose().starts_with("$6$"), "{hash:?}");
        assert_eq!(again.to_node_yaml().unwrap(), stored, "hashed only once");
        assert_eq!(again, answers);
        answers.os.password = Some("in clear".into());
        assert!(answers.to_node_yaml().is_err());
    }

    #[test]
    fn errors_say_where_and_keep_secrets() {
        for (text, place, what) in [
            ("os:\n  hostnam: x\n", "c.yaml:2:3", "hostname"),
            (
                "install:\n  poweroff: maybe-hunter2\n",
                "c.yaml:2:13",
                "true or false",
            ),
            ("os: [\n", "c.yaml:1:5", "syntax"),
            ("token: {a: hunter2}\n", "c.yaml:1:8", "a text"),
            ("", "c.yaml: ", "is empty"),
        ] {
            let message = read(text).problems.to_string();
            assert!(
                message.contains(place) && message.contains(what),
                "{text}: {message}"
            );
            assert!(!message.contains("hunter2"), "{message}");
        }
    }
}
