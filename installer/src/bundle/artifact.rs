//! `bundle.toml`: what the cluster payload is made of, by name, version and origin.
//!
//! In: the file's text. Out: [`Bundle`], checked: names are once, each kind says what it needs.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use super::SCHEMA;
use super::oci::Reference;
use crate::config::formats::http_url;
use crate::failure::{Failure, Kind};

/// Everything that a payload can hold.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// Version of this file's shape, see [`SCHEMA`].
    pub schema: u32,
    /// The artifacts, in the file's order.
    #[serde(rename = "artifact", default)]
    pub artifacts: Vec<Artifact>,
}

/// One part of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// Its name: becomes that of its file in the payload.
    pub name: String,
    /// What it is.
    pub kind: ArtifactKind,
    /// Its version; a pin of another version is none.
    pub version: String,
    /// Where it is, for all kinds but `image-set`.
    pub url: Option<String>,
    /// The images of an `image-set`.
    #[serde(default)]
    pub images: Vec<Reference>,
    /// The addon or CNI without which it is not needed.
    pub only_with: Option<String>,
    /// URL of a list of checksums that names the file, as `sha256sum` writes it.
    pub checksums: Option<String>,
    /// URL of the `index.yaml` of a chart's repository.
    pub index: Option<String>,
    /// The chart's name in that index, when it is not the artifact's.
    pub chart: Option<String>,
}

/// What an artifact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ArtifactKind {
    /// RKE2's release tarball.
    Rke2,
    /// An archive of images, ready.
    Images,
    /// A helm chart.
    Chart,
    /// Kubernetes manifests.
    Manifest,
    /// A program for the node's shell.
    Program,
    /// Images of registries, which become one archive.
    ImageSet,
}

impl ArtifactKind {
    /// The most that an artifact of this kind may have in bytes when its pin does not say its size:
    /// several times what the largest known one has.
    pub fn limit(self) -> u64 {
        match self {
            Self::Manifest | Self::Chart => 64 << 20,
            Self::Program => 1 << 30,
            Self::Rke2 => 2 << 30,
            Self::Images | Self::ImageSet => 32 << 30,
        }
    }

    /// Where an artifact of this kind and name lies in a payload.
    pub fn path(self, name: &str) -> String {
        match self {
            Self::Rke2 => "rke2".to_owned(),
            Self::Images | Self::ImageSet => format!("images/{name}.tar.zst"),
            Self::Chart => format!("charts/{name}.tgz"),
            Self::Manifest => format!("manifests/{name}.yaml"),
            Self::Program => format!("bin/{name}"),
        }
    }
}

impl fmt::Display for ArtifactKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Rke2 => "rke2",
            Self::Images => "images",
            Self::Chart => "chart",
            Self::Manifest => "manifest",
            Self::Program => "program",
            Self::ImageSet => "image-set",
        })
    }
}

impl Bundle {
    /// Reads and checks a file.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("reading the bundle {}", path.display()))?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Reads and checks a text; `name` is that of its file, for errors.
    pub fn parse(text: &str, name: &str) -> anyhow::Result<Self> {
        let wrong = |e: &dyn fmt::Display| {
            let hint = "image-builder/bundle.toml shows what each kind of artifact needs";
            let message = format!("in the bundle {name}: {e}");
            Failure::error(Kind::BundleInvalid, message, hint)
        };
        let bundle: Self = toml::from_str(text).map_err(|e| wrong(&e))?;
        bundle.check().map_err(|e| wrong(&e))?;
        Ok(bundle)
    }

    /// The artifact of this name.
    pub fn get(&self, name: &str) -> Option<&Artifact> {
        self.artifacts.iter().find(|a| a.name == name)
    }

    fn check(&self) -> anyhow::Result<()> {
        if self.schema != SCHEMA {
            bail!("schema is {}: this program knows {SCHEMA}", self.schema);
        }
        let mut names = BTreeSet::new();
        let mut paths = BTreeSet::new();
        for artifact in &self.artifacts {
            let name = &artifact.name;
            artifact
                .check()
                .with_context(|| format!("artifact {name:?}"))
                .map_err(|e| anyhow::anyhow!("{e:#}"))?;
            if !names.insert(name) {
                bail!("artifact {name:?} is there twice: keep one");
            }
            let path = artifact.kind.path(name);
            if !paths.insert(path.clone()) {
                bail!("artifact {name:?}: another one is {path} of the payload too");
            }
        }
        Ok(())
    }
}

impl Artifact {
    fn check(&self) -> anyhow::Result<()> {
        check_name("name", &self.name)?;
        if let Some(with) = &self.only_with {
            check_name("only_with", with)?;
        }
        let plain = |c: char| c.is_ascii_graphic();
        if self.version.is_empty() || !self.version.chars().all(plain) {
            bail!("version {:?} is not one word", self.version);
        }
        for (key, url) in self.urls() {
            if let Some(Err(wrong)) = url.map(|url| http_url(url)) {
                bail!("{key}: {}", wrong.message);
            }
        }
        let set = self.kind == ArtifactKind::ImageSet;
        match (set, &self.url, self.images.is_empty()) {
            (true, Some(_), _) => bail!("an image-set has images, and no url"),
            (true, None, true) => bail!("images is empty: an image-set names at least one"),
            (false, None, _) => bail!("url is missing"),
            (false, _, false) => bail!("images is for the kind image-set only"),
            _ => {}
        }
        let chart = self.kind == ArtifactKind::Chart;
        if !chart && (self.index.is_some() || self.chart.is_some()) {
            bail!("index and chart are for the kind chart only");
        }
        if set && self.checksums.is_some() {
            bail!("checksums is not for an image-set: its registries know the digests");
        }
        let mut seen = BTreeSet::new();
        match self.images.iter().find(|image| !seen.insert(*image)) {
            Some(image) => bail!("image {image} is there twice: keep one"),
            None => Ok(()),
        }
    }

    fn urls(&self) -> [(&'static str, Option<&String>); 3] {
        [
            ("url", self.url.as_ref()),
            ("checksums", self.checksums.as_ref()),
            ("index", self.index.as_ref()),
        ]
    }

    /// Last part of its URL's path, with its escapes: what a list of checksums calls it.
    pub fn file_name(&self) -> Option<&str> {
        let url = self.url.as_deref()?;
        let path = url.split(['?', '#']).next().unwrap_or(url);
        path.rsplit('/').next()
    }
}

/// A name becomes a file's and an argument.
fn check_name(key: &str, name: &str) -> anyhow::Result<()> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    let first = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if name.len() > 63 || !name.starts_with(first) || !name.chars().all(good) {
        bail!("{key} {name:?} is not a name: up to 63 of a-z, 0-9, - _ .");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"
schema = 1
[[artifact]]
name = "longhorn"
kind = "chart"
version = "1.12.0"
url = "https://example.org/longhorn-1.12.0.tgz"
index = "https://example.org/index.yaml"
[[artifact]]
name = "vms"
kind = "image-set"
version = "v1"
images = ["quay.io/a/b:v1", "busybox:1"]
only_with = "rancher_monitoring"
"#;

    #[test]
    fn a_bundle_is_read() {
        let bundle = Bundle::parse(SMALL, "b").unwrap();
        let chart = bundle.get("longhorn").unwrap();
        assert_eq!(chart.file_name(), Some("longhorn-1.12.0.tgz"));
        assert_eq!(chart.kind.path(&chart.name), "charts/longhorn.tgz");
        let vms = bundle.get("vms").unwrap();
        assert_eq!(vms.images[1].to_string(), "docker.io/library/busybox:1");
        assert_eq!(vms.only_with.as_deref(), Some("rancher_monitoring"));
    }

    #[test]
    fn mistakes_are_named() {
        for (from, to, message) in [
            ("schema = 1", "schema = 2", "schema is 2"),
            ("name = \"vms\"", "nmae = \"vms\"", "unknown field `nmae`"),
            ("\"vms\"", "\"longhorn\"", "\"longhorn\" is there twice"),
            ("\"vms\"", "\"../vms\"", "is not a name"),
            ("\"rancher_monitoring\"", "\"\"", "only_with"),
            ("\"chart\"", "\"cart\"", "unknown variant `cart`"),
            ("\"1.12.0\"", "\"\"", "version"),
            ("\"https://example.org/index.yaml\"", "\"ftp://x\"", "index"),
            ("\"chart\"", "\"manifest\"", "for the kind chart only"),
            ("url =", "checksums =", "url is missing"),
            ("images = [\"quay.io/a/b:v1\", \"busybox:1\"]", "", "empty"),
            ("\"busybox:1\"", "\"quay.io/a/b:v1\"", "there twice"),
            ("\"busybox:1\"", "\"Busy\"", "lower-case"),
            ("\"image-set\"", "\"program\"", "url is missing"),
        ] {
            let text = SMALL.replacen(from, to, 1);
            assert_ne!(text, SMALL, "{from}");
            let error = Bundle::parse(&text, "b.toml").unwrap_err();
            let error = format!("{error:#}");
            assert!(error.contains(message), "{to}: {error}");
            assert!(error.contains("b.toml"), "{to}: {error}");
        }
    }
}
