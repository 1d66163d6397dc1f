//! Doubles of everything that a bundle names, to be served to an image build or a node.
//!
//! In: the text of a `bundle.toml`, the program `rke2-double` and the URL at which the doubles will be. Out:
//! [`Doubles`]: a file for each artifact, named as upstream names it, and the texts of a
//! `bundle.toml` and `bundle.lock` that pin them. What is made has the form of what it stands for
//! (a release's tarball, importable archives, installable charts, manifests), is small, the
//! same for the same input, and says inside that it is a double. An `image-set` becomes a ready archive, for
//! there is no registry.

mod images;
mod release;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::tools::tool;

pub use images::{Packing, pack_images};
pub use release::pack_release;

/// Said in everything that is made.
pub const DOUBLE: &str = "double of Harrow's tests";
/// Name of the folder that is a mirror of the bundle.
pub const MIRROR: &str = "mirror";
/// Where a mirror has its files, by their digests.
pub const BLOBS: &str = "blobs/sha256";
/// Upstream of the doubles: nobody is there (RFC 6761), they come from the mirror.
pub const NOWHERE: &str = "https://double.invalid";
/// The version of the shape of both files.
const SCHEMA: u32 = 1;

/// A `bundle.toml`, as far as it matters here.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Bundle {
    schema: u32,
    #[serde(default)]
    artifact: Vec<Artifact>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Artifact {
    name: String,
    kind: String,
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    images: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    only_with: Option<String>,
    #[serde(skip_serializing)]
    chart: Option<String>,
}

#[derive(Debug, Serialize)]
struct Lock<'a> {
    schema: u32,
    artifact: BTreeMap<&'a str, Pin>,
}

#[derive(Debug, Serialize)]
struct Pin {
    version: String,
    sha256: String,
    size: u64,
}

/// Doubles of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubles {
    /// Each file by its name, which is the last part of its URL.
    pub files: BTreeMap<String, Vec<u8>>,
    /// `bundle.toml`: the same artifacts, at their new URLs.
    pub bundle: String,
    /// `bundle.lock`: the pins of all.
    pub lock: String,
}

impl Doubles {
    /// Makes doubles of all artifacts of `bundle`, to be found at `url`/NAME.
    pub fn make(bundle: &str, program: &Path, url: &str) -> anyhow::Result<Self> {
        let mut bundle: Bundle = toml::from_str(bundle).context("reading the bundle")?;
        let sets = bundle.artifact.iter().flat_map(|artifact| &artifact.images);
        let sets: Vec<String> = sets.cloned().collect();
        let mut files = BTreeMap::new();
        let mut pins = Vec::new();
        for artifact in &mut bundle.artifact {
            let name = file_name(artifact);
            let bytes = double_of(artifact, program, &sets)
                .with_context(|| format!("making a double of {}", artifact.name))?;
            pins.push(Pin {
                version: artifact.version.clone(),
                sha256: hex::encode(Sha256::digest(&bytes)),
                size: bytes.len() as u64,
            });
            artifact.url = Some(format!("{url}/{name}"));
            if artifact.kind == "image-set" {
                artifact.kind = "images".to_owned();
                artifact.images.clear();
            }
            if files.insert(name.clone(), bytes).is_some() {
                bail!("two artifacts have the file name {name}");
            }
        }
        bundle.schema = SCHEMA;
        let names = bundle
            .artifact
            .iter()
            .map(|artifact| artifact.name.as_str());
        let lock = Lock {
            schema: SCHEMA,
            artifact: names.zip(pins).collect(),
        };
        let heading = format!("# Not upstream's artifacts: {DOUBLE}.\n");
        Ok(Self {
            bundle: heading.clone() + &toml::to_string(&bundle).context("writing bundle.toml")?,
            lock: heading + &toml::to_string(&lock).context("writing bundle.lock")?,
            files,
        })
    }

    /// All files as a mirror of the bundle has them: `blobs/sha256/DIGEST`.
    pub fn blobs(&self) -> impl Iterator<Item = (String, &[u8])> {
        self.files.values().map(|bytes| {
            let digest = hex::encode(Sha256::digest(bytes));
            (format!("{BLOBS}/{digest}"), bytes.as_slice())
        })
    }

    /// Writes both texts into `folder`, and a mirror into its folder [`MIRROR`].
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let texts = [("bundle.toml", &self.bundle), ("bundle.lock", &self.lock)];
        let texts = texts.map(|(name, text)| (name.to_owned(), text.as_bytes()));
        let blobs = self.blobs();
        let blobs = blobs.map(|(name, bytes)| (format!("{MIRROR}/{name}"), bytes));
        let mirror = folder.join(MIRROR);
        if mirror.exists() {
            std::fs::remove_dir_all(&mirror)
                .with_context(|| format!("emptying {}", mirror.display()))?;
        }
        std::fs::create_dir_all(mirror.join(BLOBS))
            .with_context(|| format!("creating {}", mirror.display()))?;
        for (name, bytes) in blobs.chain(texts) {
            let path = folder.join(name);
            std::fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    }
}

/// A copy of the program `rke2-double` without debug information, which would be most of it.
pub fn strip(program: &Path, copy: &Path) -> anyhow::Result<()> {
    tool("strip")
        .arg("-o")
        .arg(copy)
        .arg(program)
        .run()
        .with_context(|| format!("stripping {}", program.display()))?;
    Ok(())
}

/// As upstream calls the file; `%2B` is a plus in the name of a release.
fn file_name(artifact: &Artifact) -> String {
    let url = artifact.url.as_deref().unwrap_or_default();
    let path = url.split(['?', '#']).next().unwrap_or_default();
    match path.rsplit('/').next() {
        Some(name) if !name.is_empty() => name.replace("%2B", "-").replace('+', "-"),
        _ => format!("{}.tar.zst", artifact.name),
    }
}

fn double_of(artifact: &Artifact, program: &Path, sets: &[String]) -> anyhow::Result<Vec<u8>> {
    let Artifact { name, version, .. } = artifact;
    match artifact.kind.as_str() {
        "rke2" => {
            let bytes = std::fs::read(program)
                .with_context(|| format!("reading the program {}", program.display()))?;
            pack_release(&bytes)
        }
        "images" => {
            let images = images::names(name, version);
            pack_images(&images, packing_of(artifact))
        }
        "image-set" => pack_images(&artifact.images, Packing::Zstd),
        "chart" => release::pack_chart(artifact.chart.as_deref().unwrap_or(name), version),
        "manifest" => Ok(operator(name, version, sets).into_bytes()),
        "program" => Ok(format!("#!/bin/sh\necho \"{name} {version} ({DOUBLE})\"\n").into_bytes()),
        other => bail!("its kind {other:?} is not known"),
    }
}

fn packing_of(artifact: &Artifact) -> Packing {
    let name = file_name(artifact);
    if name.ends_with(".tar.gz") || name.ends_with(".tgz") {
        Packing::Gzip
    } else if name.ends_with(".tar") {
        Packing::None
    } else {
        Packing::Zstd
    }
}

/// The manifests of an operator: its namespace, role and deployment, whose image is one of `sets`
/// if there is one for it.
fn operator(name: &str, version: &str, sets: &[String]) -> String {
    let space = name.strip_suffix("-operator").unwrap_or(name);
    let is_its = |image: &&String| image.contains(space) && image.contains("operator");
    let image = match sets.iter().find(is_its) {
        Some(image) => image.clone(),
        None => format!("quay.io/{space}/{name}:{version}"),
    };
    format!(
        "# {DOUBLE}
apiVersion: v1
kind: Namespace
metadata:
  name: {space}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: {space}.io:operator
rules: []
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
  namespace: {space}
spec:
  replicas: 1
  selector:
    matchLabels: {{app: {name}}}
  template:
    metadata:
      labels: {{app: {name}}}
    spec:
      containers:
        - name: {name}
          image: {image}
"
    )
}

#[cfg(test)]
#[path = "pack_tests.rs"]
mod tests;
