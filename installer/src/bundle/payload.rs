//! `payload.json`: what lies in a payload folder.
//!
//! In: the file's bytes. Out: [`Payload`]. It is written last, so a folder that has it is whole.

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::{ArtifactKind, Digest, LockedImage, SCHEMA};

/// Name of the file in a payload folder.
pub const PAYLOAD_NAME: &str = "payload.json";

/// What is in a payload folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    /// Version of this file's shape, see [`SCHEMA`].
    pub schema: u32,
    /// The artifacts, by name.
    pub artifacts: Vec<PayloadItem>,
}

/// One artifact that was laid down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PayloadItem {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: ArtifactKind,
    /// Its version.
    pub version: String,
    /// The addon or CNI that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_with: Option<String>,
    /// Where it lies in the folder; a folder itself for `rke2`.
    pub path: String,
    /// Digest of the file; of the tarball for `rke2`.
    pub sha256: Digest,
    /// Size of that file in bytes.
    pub size: u64,
    /// The images in the archive of an `image-set`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<LockedImage>,
}

impl Payload {
    /// Reads `payload.json`.
    pub fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let payload: Self = serde_json::from_slice(bytes).context("reading payload.json")?;
        anyhow::ensure!(
            payload.schema == SCHEMA,
            "payload.json has schema {}: this program knows {SCHEMA}",
            payload.schema
        );
        Ok(payload)
    }

    /// `payload.json`.
    pub fn render(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string_pretty(self).context("writing payload.json")? + "\n")
    }

    /// The artifacts of a kind.
    pub fn of_kind(&self, kind: ArtifactKind) -> impl Iterator<Item = &PayloadItem> {
        self.artifacts.iter().filter(move |item| item.kind == kind)
    }
}
