//! A sha256, by which everything in a bundle is known.
//!
//! In: text, or bytes to hash. Out: [`Digest`], which is written as 64 lower-case hex digits in
//! files of ours, and with `sha256:` before them where OCI wants it. Both are read.

use std::fmt;
use std::io::{self, Read};
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// A sha256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest of what was hashed so far.
    pub fn finish(hasher: Sha256) -> Self {
        Self(hasher.finalize().into())
    }

    /// The digest and the number of all bytes of a stream.
    pub fn of_stream(mut stream: impl Read) -> io::Result<(Self, u64)> {
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 128 << 10];
        let mut size = 0;
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => return Ok((Self::finish(hasher), size)),
                Ok(count) => {
                    hasher.update(&buffer[..count]);
                    size += count as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// The digest and size of a file.
    pub fn of_file(path: &Path) -> anyhow::Result<(Self, u64)> {
        let file =
            std::fs::File::open(path).with_context(|| format!("opening {}", path.display()))?;
        Self::of_stream(file).with_context(|| format!("reading {}", path.display()))
    }

    /// As OCI writes it, with `sha256:` before it.
    pub fn oci(&self) -> String {
        format!("sha256:{self}")
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Digest {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        if digits.contains(':') {
            bail!("{text:?} is not a sha256, and nothing else is taken");
        }
        let mut bytes = [0; 32];
        if digits.chars().any(|c| c.is_ascii_uppercase())
            || hex::decode_to_slice(digits, &mut bytes).is_err()
        {
            bail!("{text:?} is not a sha256: 64 of 0-9 and a-f");
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn both_spellings_are_read() {
        let nothing = Digest::of(b"");
        assert_eq!(nothing.to_string(), OF_NOTHING);
        assert_eq!(OF_NOTHING.parse::<Digest>().unwrap(), nothing);
        assert_eq!(nothing.oci().parse::<Digest>().unwrap(), nothing);
        assert_eq!(Digest::of_stream(io::empty()).unwrap(), (nothing, 0));
    }

    #[test]
    fn what_is_no_sha256_is_refused() {
        for (text, why) in [
            ("", "is not a sha256"),
            (&OF_NOTHING[1..], "is not a sha256"),
            (&OF_NOTHING.to_uppercase(), "0-9 and a-f"),
            ("sha512:00", "nothing else is taken"),
        ] {
            let error = text.parse::<Digest>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
