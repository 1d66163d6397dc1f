//! The name of an image, such as `docker.io/rancher/mirrored-pause:3.6`.
//!
//! In: text as people and manifests write it. Out: [`Reference`], complete: `busybox` is
//! `docker.io/library/busybox:latest`, as containerd understands it too (the grammar is that of
//! the module `reference` of the distribution project).

use std::fmt;
use std::str::FromStr;

use anyhow::bail;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The registry that is meant when none is named.
const DEFAULT_HOST: &str = "docker.io";

/// The complete name of an image, with its tag.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// Registry with its port, when it has one.
    pub host: String,
    /// Path of the repository.
    pub repository: String,
    /// Tag.
    pub tag: String,
}

impl Reference {
    /// The name without its tag.
    pub fn name(&self) -> String {
        format!("{}/{}", self.host, self.repository)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}", self.host, self.repository, self.tag)
    }
}

impl FromStr for Reference {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        if text.contains('@') {
            bail!("image {text:?}: without a digest here, that is the lock's matter");
        }
        let is_host = |part: &str| part.contains(['.', ':']) || part == "localhost";
        let (host, rest) = match text.split_once('/') {
            Some((first, rest)) if is_host(first) => (first, rest),
            _ => (DEFAULT_HOST, text),
        };
        let (path, tag) = rest.rsplit_once(':').unwrap_or((rest, "latest"));
        let repository = match host == DEFAULT_HOST && !path.contains('/') {
            true => format!("library/{path}"),
            false => path.to_owned(),
        };
        if !is_host_name(host) {
            bail!("image {text:?}: {host:?} is not the name of a registry");
        }
        if repository.len() > 255 || !repository.split('/').all(is_component) {
            bail!("image {text:?}: {path:?} is not a repository, which is lower-case");
        }
        if !is_tag(tag) {
            bail!("image {text:?}: {tag:?} is not a tag");
        }
        Ok(Self {
            host: host.to_owned(),
            repository,
            tag: tag.to_owned(),
        })
    }
}

fn is_host_name(host: &str) -> bool {
    let (name, port) = host.rsplit_once(':').unwrap_or((host, "1"));
    let good = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    !name.is_empty() && name.chars().all(good) && port.parse::<u16>().is_ok()
}

/// Words of lower-case letters and digits, joined by a dot, one or two underscores, or dashes.
fn is_component(part: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let good = |c: char| alphanumeric(c) || "._-".contains(c);
    part.starts_with(alphanumeric)
        && part.ends_with(alphanumeric)
        && part.chars().all(good)
        && !part.contains("..")
}

fn is_tag(tag: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    (1..=128).contains(&tag.len()) && tag.chars().all(good) && !tag.starts_with(['.', '-'])
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed() {
        for (text, whole) in [
            ("busybox", "docker.io/library/busybox:latest"),
            ("rancher/pause:3.6", "docker.io/rancher/pause:3.6"),
            ("quay.io/a/b/c:v1", "quay.io/a/b/c:v1"),
            ("localhost/a", "localhost/a:latest"),
            ("127.0.0.1:5000/a_b/c-d:1", "127.0.0.1:5000/a_b/c-d:1"),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), whole);
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for (text, why) in [
            ("", "is not a repository"),
            ("quay.io/A:1", "lower-case"),
            ("quay.io/../a:1", "is not a repository"),
            ("quay.io/a/:1", "is not a repository"),
            ("a:", "is not a tag"),
            ("a:-1", "is not a tag"),
            ("quay.io:x/a", "is not the name of a registry"),
            ("a@sha256:00", "the lock's matter"),
        ] {
            let error = text.parse::<Reference>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
