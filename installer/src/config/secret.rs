//! Values that nobody may see: tokens, passwords, headers of requests.
//!
//! In: text. Out: a [`Secret`], which shows itself as `***` wherever it is printed, and gives
//! its text only to who asks for it with [`Secret::expose`]. Passwords become crypt(3) hashes by
//! [`hash_password`] as soon as they are read.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use sha_crypt::password_hash::PasswordHasher as _;

use super::formats::{self, Wrong};

/// How every secret looks, however long it is.
pub const MASK: &str = "***";

/// Text that is never shown.
///
/// `Serialize` writes the text itself, since the node's own config must hold it: what is
/// serialised for people has to be masked first, with [`MASK`].
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// A secret with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text. Not for messages, logs and reports.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is no text at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl PartialEq for Secret {
    /// Takes as long whatever differs, so that its duration tells nothing but the length.
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (self.0.as_bytes(), other.0.as_bytes());
        a.len() == b.len() && a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b)) == 0
    }
}

impl Eq for Secret {}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // `writeOnly` tells forms and editors not to show it (JSON Schema validation, 9.4).
        schemars::json_schema!({ "type": "string", "writeOnly": true })
    }
}

/// Random bytes for the hash of a password; 16 characters in the hash.
pub type Salt = [u8; 12];

/// The hash of a password as crypt(3) makes it (SHA-512, `$6$`); one that is hashed already
/// stays as it is. What [`formats::password`] refuses is refused here, too.
pub fn hash_password(password: &Secret, salt: Salt) -> Result<Secret, Wrong> {
    let text = password.expose();
    formats::password(text)?;
    if formats::is_hashed(text) {
        return Ok(password.clone());
    }
    match sha_crypt::ShaCrypt::SHA512.hash_password_with_salt(text.as_bytes(), &salt) {
        Ok(hash) => Ok(Secret::new(hash.to_string())),
        Err(e) => formats::wrong(
            format!("can't be hashed: {e}"),
            "a hash such as `openssl passwd -6` prints",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_shown_to_nobody() {
        #[derive(Debug, Serialize, Deserialize)]
        struct Holder {
            token: Option<Secret>,
        }
        let holder: Holder = serde_json::from_str(r#"{"token": "hunter2"}"#).unwrap();
        let secret = holder.token.clone().unwrap();
        for shown in [
            format!("{holder:?}"),
            format!("{holder:#?}"),
            format!("{secret} {secret:?}"),
        ] {
            assert!(
                shown.contains(MASK) && !shown.contains("hunter2"),
                "{shown}"
            );
        }
        assert_eq!(
            format!("{:?}", Secret::new("")),
            format!("{:?}", Secret::new("longer"))
        );
        assert_eq!(secret.expose(), "hunter2");
        assert_eq!(
            serde_json::to_string(&holder).unwrap(),
            r#"{"token":"hunter2"}"#
        );
        // An error about the type must not quote what it found.
        let error = serde_json::from_str::<Holder>(r#"{"token": {"hunter2": 1}}"#).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn equal_is_what_has_the_same_text() {
        assert_eq!(Secret::new("abc"), Secret::from("abc"));
        for other in ["", "abd", "bbc", "ab", "abcd"] {
            assert_ne!(Secret::new("abc"), Secret::new(other));
        }
    }

    #[test]
    fn the_schema_is_that_of_text() {
        let schema = schemars::schema_for!(Secret);
        assert_eq!(schema.get("type").unwrap(), "string");
        assert_eq!(schema.get("writeOnly").unwrap(), true);
    }

    #[test]
    fn hashes_are_those_of_openssl() {
        let longest = "x".repeat(formats::PASSWORD_LIMIT);
        for password in ["pass", "pa$$ wörd:\\", &longest] {
            let hash = hash_password(&password.into(), [7; 12]).unwrap();
            let salt = hash.expose().rsplit('$').nth(1).unwrap();
            let salt = format!("rounds=5000${salt}");
            let expected = crate::sys::cmd::Cmd::new("openssl")
                .args(["passwd", "-6", "-salt", &salt, password])
                .run()
                .unwrap();
            assert_eq!(hash.expose(), expected.text().trim());
            assert!(formats::crypt_hash(hash.expose()).is_ok());
            assert_eq!(
                hash_password(&hash, [9; 12]).unwrap(),
                hash,
                "hashed only once"
            );
            let other = hash_password(&password.into(), [8; 12]).unwrap();
            assert_ne!(other, hash, "the salt counts");
        }
    }

    #[test]
    fn bad_passwords_are_not_hashed() {
        for bad in ["", "hunter2\n", "$6$hunter2", "!"] {
            let wrong = hash_password(&bad.into(), [7; 12]).unwrap_err();
            assert!(!format!("{wrong:?}").contains("hunter2"), "{wrong:?}");
        }
    }
}
