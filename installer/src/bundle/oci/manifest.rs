//! Manifests and indexes of images, in OCI's and in Docker's spelling.
//!
//! In: the bytes of a blob. Out: [`Document`]. Only the fields that pulling needs are read; the
//! bytes themselves are what is kept, since a digest is over them. (The OCI image specification,
//! v1.1: `manifest.md`, `image-index.md`; Docker's "Image Manifest Version 2, Schema 2".) The types are
//! few: a crate of the whole specification would bring more code than they are.

use std::fmt;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use super::super::Digest;
use crate::failure::{Failure, Kind};

/// The largest manifest or index in bytes; registries refuse larger ones.
pub const LIMIT: u64 = 4 << 20;

/// What is asked for, in the order of preference.
pub const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// Media type of an OCI manifest, for documents that don't say their own.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Media type of an OCI index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What a blob is, how large, and by which digest it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type.
    pub media_type: String,
    /// Digest.
    pub digest: Digest,
    /// Size in bytes.
    pub size: u64,
    /// For what machines, in an index.
    #[serde(default)]
    pub platform: Option<Platform>,
}

/// For what machines an image is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// Architecture, in Go's spelling.
    pub architecture: String,
    /// System, in Go's spelling.
    pub os: String,
}

impl Platform {
    /// The platform of Harrow's nodes.
    pub fn ours() -> Self {
        Self {
            architecture: "amd64".to_owned(),
            os: "linux".to_owned(),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)
    }
}

/// An image for one platform.
#[derive(Debug, Clone, Deserialize)]
pub struct Manifest {
    /// The image's config.
    pub config: Descriptor,
    /// Its layers, the lowest first.
    pub layers: Vec<Descriptor>,
}

/// What a digest of an image can lead to.
#[derive(Debug, Clone)]
pub enum Document {
    /// The image for one platform, and the document's media type.
    Manifest(Manifest, String),
    /// Manifests for several platforms.
    Index(Vec<Descriptor>),
}

/// What tells one document from the other.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    schema_version: u32,
    media_type: Option<String>,
    manifests: Option<Vec<Descriptor>>,
}

/// The parts of an image's config that are looked at.
#[derive(Deserialize)]
struct Config {
    #[serde(flatten)]
    platform: Option<Platform>,
}

impl Document {
    /// Reads a document.
    pub fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let shape: Shape = serde_json::from_slice(bytes).context("this is no image manifest")?;
        if shape.schema_version != 2 {
            bail!(
                "an image manifest of schema {}, which is too old: push the image anew",
                shape.schema_version
            );
        }
        if let Some(manifests) = shape.manifests {
            return Ok(Self::Index(manifests));
        }
        let manifest = serde_json::from_slice(bytes).context("this is no image manifest")?;
        let media_type = shape.media_type.unwrap_or_else(|| OCI_MANIFEST.to_owned());
        Ok(Self::Manifest(manifest, media_type))
    }
}

/// The manifest of an index for our platform.
pub fn pick(manifests: &[Descriptor]) -> anyhow::Result<&Descriptor> {
    let ours = Platform::ours();
    let found = manifests
        .iter()
        .find(|m| m.platform.as_ref() == Some(&ours));
    found.ok_or_else(|| {
        let known = |m: &Descriptor| m.platform.as_ref().map(ToString::to_string);
        let there: Vec<String> = manifests.iter().filter_map(known).collect();
        missing(&match there.is_empty() {
            true => "nothing else".to_owned(),
            false => there.join(", "),
        })
    })
}

/// An error when an image's config is for other machines than ours.
pub fn check_config(bytes: &[u8]) -> anyhow::Result<()> {
    let config: Config = serde_json::from_slice(bytes).context("this is no image config")?;
    match config.platform {
        Some(platform) if platform == Platform::ours() => Ok(()),
        Some(platform) => Err(missing(&platform.to_string())),
        None => Err(missing("no platform that it says")),
    }
}

fn missing(there: &str) -> anyhow::Error {
    Failure::error(
        Kind::ArtifactDamaged,
        format!("the image is not for {}, but for {there}", Platform::ours()),
        "name an image that is, or pin the digest of its index",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(platform: &str) -> String {
        format!(
            r#"{{"mediaType":"m","digest":"sha256:{}","size":7,"platform":{platform}}}"#,
            "ab".repeat(32)
        )
    }

    #[test]
    fn our_platform_is_picked() {
        let index = |platforms: &[&str]| {
            let all: Vec<String> = platforms.iter().map(|p| descriptor(p)).collect();
            let text = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, all.join(","));
            match Document::parse(text.as_bytes()).unwrap() {
                Document::Index(manifests) => manifests,
                Document::Manifest(..) => panic!("an index"),
            }
        };
        let arm = r#"{"architecture":"arm64","os":"linux","variant":"v8"}"#;
        let ours = r#"{"architecture":"amd64","os":"linux"}"#;
        let both = index(&[arm, ours]);
        assert_eq!(pick(&both).unwrap().platform, Some(Platform::ours()));
        let error = pick(&index(&[arm])).unwrap_err().to_string();
        assert!(error.contains("not for linux/amd64, but for linux/arm64"));
        assert!(pick(&index(&["null"])).is_err());
    }

    #[test]
    fn what_is_no_image_is_said() {
        for (text, why) in [
            ("<html>", "no image manifest"),
            (r#"{"schemaVersion":1}"#, "too old"),
            (r#"{"schemaVersion":2}"#, "no image manifest"),
        ] {
            let error = format!("{:#}", Document::parse(text.as_bytes()).unwrap_err());
            assert!(error.contains(why), "{text}: {error}");
        }
        check_config(br#"{"architecture":"amd64","os":"linux","config":{}}"#).unwrap();
        check_config(br#"{"architecture":"s390x","os":"linux"}"#).unwrap_err();
        check_config(b"{}").unwrap_err();
    }
}
