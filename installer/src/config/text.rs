//! Answers as text: reading YAML, and the form in which they are stored on the node.
//!
//! In: YAML from a named source. Out: [`Answers`], or an error with line and column that never
//! quotes the line itself, since it may hold a secret.

use anyhow::Context as _;
use sha_crypt::password_hash::PasswordHasher as _;

use super::answers::Answers;
use super::rules;
use crate::failure::{Failure, Kind};

impl Answers {
    /// Reads a config. `source` names it in errors.
    pub fn parse(text: &str, source: &str) -> anyhow::Result<Self> {
        if text.trim().is_empty() {
            return Err(Failure::error(
                Kind::ConfigInvalid,
                format!("{source} is empty"),
                "README.md shows a config to begin with",
            ));
        }
        serde_saphyr::from_str(text).map_err(|error| {
            let place = error
                .location()
                .map_or_else(String::new, |l| format!(":{}:{}", l.line(), l.column()));
            Failure::error(
                Kind::ConfigInvalid,
                format!(
                    "{source}{place}: {}",
                    first_line(&error.without_snippet().to_string())
                ),
                "correct the file; nothing was changed on any disk",
            )
        })
    }

    /// What is stored on the node: as given, with the password hashed.
    pub fn to_node_yaml(&self, salt: [u8; 12]) -> anyhow::Result<String> {
        let mut answers = self.clone();
        if let Some(password) = &mut answers.os.password {
            *password = hash_password(password, salt)?;
        }
        serde_saphyr::to_string(&answers).context("writing the config as YAML")
    }
}

/// A crypt(3) hash (SHA-512) of a password; one that is hashed already stays as it is.
fn hash_password(password: &str, salt: [u8; 12]) -> anyhow::Result<String> {
    if rules::is_hashed(password) {
        return Ok(password.to_owned());
    }
    sha_crypt::ShaCrypt::SHA512
        .hash_password_with_salt(password.as_bytes(), &salt)
        .map(|hash| hash.to_string())
        .map_err(|e| anyhow::anyhow!("hashing the password: {e}"))
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn what_is_stored_says_the_same_and_hides_the_password() {
        let answers = Answers::parse(GOOD, "x.yaml").unwrap();
        let stored = answers.to_node_yaml([7; 12]).unwrap();
        assert!(!stored.contains("password: pass"), "{stored}");
        let mut again = Answers::parse(&stored, "stored").unwrap();
        let hash = again.os.password.clone().unwrap();
        assert!(hash.starts_with("$6$"), "{hash}");
        assert_eq!(
            again.to_node_yaml([9; 12]).unwrap(),
            stored,
            "hashed only once"
        );
        again.os.password = answers.os.password.clone();
        assert_eq!(again, answers);
    }

    #[test]
    fn the_hash_is_what_crypt_makes() {
        let hash = hash_password("pass", [7; 12]).unwrap();
        let salt = hash.rsplit('$').nth(1).unwrap();
        let options = [
            "passwd",
            "-6",
            "-salt",
            &format!("rounds=5000${salt}"),
            "pass",
        ];
        let expected = crate::sys::cmd::Cmd::new("openssl")
            .args(options)
            .run()
            .unwrap();
        assert_eq!(hash, expected.text().trim());
    }

    #[test]
    fn errors_say_where_and_keep_secrets() {
        for (text, place, what) in [
            ("os:\n  hostnam: x\n", "c.yaml:2:3", "hostnam"),
            (
                "install:\n  poweroff: maybe-hunter2\n",
                "c.yaml:2:13",
                "bool",
            ),
            ("os: [\n", "c.yaml:", ""),
            ("token: {a: hunter2}\n", "c.yaml:1:", ""),
            ("", "c.yaml is empty", ""),
        ] {
            let error = Answers::parse(text, "c.yaml").unwrap_err();
            let message = error.to_string();
            assert_eq!(Failure::of(&error).unwrap().kind, Kind::ConfigInvalid);
            assert!(
                message.contains(place) && message.contains(what),
                "{text}: {message}"
            );
            assert!(!message.contains("hunter2"), "{message}");
        }
    }
}
