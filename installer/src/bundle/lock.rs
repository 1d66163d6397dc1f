//! `bundle.lock` and what comes of it: the pins of a bundle, and the bundle with its pins.
//!
//! In: the lock's text and a [`Bundle`]. Out: [`LockedBundle`], which is stored in an image as
//! `bundle.json` and is all that fetching and laying out know. An artifact without a pin is not
//! in it; it is listed in `unpinned`, so that whoever needs it can say so.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::oci::Reference;
use super::{Artifact, ArtifactKind, Bundle, Digest, SCHEMA};
use crate::failure::{Failure, Kind};

/// What to do about artifacts without a pin.
pub fn how_to_pin<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let only: Vec<String> = names.into_iter().map(|n| format!("--only {n}")).collect();
    let them = if only.len() == 1 { "it" } else { "them" };
    format!(
        "pin {them} with `harrow-build bundle lock {}`; what no list of checksums names takes --by-download too",
        only.join(" ")
    )
}

/// The pins of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// Version of this file's shape, see [`SCHEMA`].
    pub schema: u32,
    /// Pins by the artifact's name.
    #[serde(rename = "artifact", default)]
    pub pins: BTreeMap<String, Pin>,
}

/// The pin of one artifact.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// The version that it belongs to.
    pub version: String,
    /// Digest of the file.
    pub sha256: Option<Digest>,
    /// Its size in bytes, where known.
    pub size: Option<u64>,
    /// Digests of an image-set's images: of the index, or of the manifest when there is none.
    #[serde(default)]
    pub images: BTreeMap<Reference, Digest>,
}

impl Lock {
    /// Reads a file; an empty lock when there is none.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, &path.display().to_string()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Self {
                schema: SCHEMA,
                pins: BTreeMap::new(),
            }),
            Err(e) => Err(e).with_context(|| format!("reading the lock {}", path.display())),
        }
    }

    /// Reads a text; `name` is that of its file, for errors.
    pub fn parse(text: &str, name: &str) -> anyhow::Result<Self> {
        let wrong = |e: &dyn fmt::Display| {
            let hint = "`harrow-build bundle lock` writes it";
            Failure::error(
                Kind::BundleInvalid,
                format!("in the lock {name}: {e}"),
                hint,
            )
        };
        let lock: Self = toml::from_str(text).map_err(|e| wrong(&e))?;
        match lock.schema {
            SCHEMA => Ok(lock),
            other => Err(wrong(&format!(
                "schema is {other}: this program knows {SCHEMA}"
            ))),
        }
    }
}

/// The artifacts of a bundle that have a pin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedBundle {
    /// Version of this file's shape, see [`SCHEMA`].
    pub schema: u32,
    /// What can be fetched.
    pub artifacts: Vec<LockedArtifact>,
    /// What can't, because nobody vouches for its bytes.
    #[serde(default)]
    pub unpinned: Vec<Unpinned>,
}

/// An artifact with its pin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedArtifact {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: ArtifactKind,
    /// Its version.
    pub version: String,
    /// The addon or CNI without which it is not needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_with: Option<String>,
    /// Its bytes.
    pub content: Content,
}

/// What an artifact is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// One file.
    File(LockedFile),
    /// Images of registries.
    Images(Vec<LockedImage>),
}

/// A file with its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedFile {
    /// Where it is upstream.
    pub url: String,
    /// Its digest.
    pub sha256: Digest,
    /// Its size in bytes, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// An image with its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedImage {
    /// Its name.
    pub image: Reference,
    /// Digest of its index, or of its manifest when it has none.
    pub digest: Digest,
}

/// An artifact without a pin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unpinned {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: ArtifactKind,
    /// Its version.
    pub version: String,
    /// The addon or CNI without which it is not needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_with: Option<String>,
    /// What is missing.
    pub why: String,
}

/// Which artifacts of a bundle are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Every one that has a pin.
    Pinned,
    /// Those that every cluster needs, and those of these addons and CNIs.
    With(BTreeSet<String>),
    /// Those of these names, and nothing else.
    Named(BTreeSet<String>),
}

impl Wanted {
    /// Whether an artifact of this name and `only_with` is meant.
    pub fn has(&self, name: &str, only_with: Option<&str>) -> bool {
        match self {
            Self::Pinned => true,
            Self::With(on) => only_with.is_none_or(|with| on.contains(with)),
            Self::Named(names) => names.contains(name),
        }
    }
}

impl LockedBundle {
    /// A bundle with its pins. A pin of what the bundle does not name is an error.
    pub fn new(bundle: &Bundle, lock: &Lock) -> anyhow::Result<Self> {
        if let Some(name) = lock.pins.keys().find(|name| bundle.get(name).is_none()) {
            return Err(Failure::error(
                Kind::BundleInvalid,
                format!("the lock pins {name:?}, which the bundle does not name"),
                "take it out of the lock, or correct its name",
            ));
        }
        let (mut artifacts, mut unpinned) = (Vec::new(), Vec::new());
        for artifact in &bundle.artifacts {
            match content_of(artifact, lock.pins.get(&artifact.name)) {
                Ok(content) => artifacts.push(LockedArtifact {
                    name: artifact.name.clone(),
                    kind: artifact.kind,
                    version: artifact.version.clone(),
                    only_with: artifact.only_with.clone(),
                    content,
                }),
                Err(why) => unpinned.push(Unpinned {
                    name: artifact.name.clone(),
                    kind: artifact.kind,
                    version: artifact.version.clone(),
                    only_with: artifact.only_with.clone(),
                    why,
                }),
            }
        }
        Ok(Self {
            schema: SCHEMA,
            artifacts,
            unpinned,
        })
    }

    /// Reads `bundle.json`.
    pub fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let bundle: Self = serde_json::from_slice(bytes).context("reading bundle.json")?;
        anyhow::ensure!(
            bundle.schema == SCHEMA,
            "bundle.json has schema {}: this program knows {SCHEMA}",
            bundle.schema
        );
        Ok(bundle)
    }

    /// `bundle.json`.
    pub fn render(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string_pretty(self).context("writing bundle.json")? + "\n")
    }

    /// What every cluster needs and has no pin. Unless this is empty, no cluster can be made.
    pub fn unpinned_for_all(&self) -> impl Iterator<Item = &Unpinned> {
        self.unpinned.iter().filter(|u| u.only_with.is_none())
    }

    /// The artifacts that are meant. An error when one of them has no pin or is not there: says
    /// which, and how to pin it.
    pub fn wanted(&self, wanted: &Wanted) -> anyhow::Result<Vec<&LockedArtifact>> {
        let meant = |name: &str, with: &Option<String>| wanted.has(name, with.as_deref());
        let missing: Vec<&Unpinned> = match wanted {
            Wanted::Pinned => Vec::new(),
            _ => {
                let all = self.unpinned.iter();
                all.filter(|u| meant(&u.name, &u.only_with)).collect()
            }
        };
        if !missing.is_empty() {
            let list: Vec<String> = missing
                .iter()
                .map(|u| format!("{} {} ({})", u.name, u.version, u.why))
                .collect();
            return Err(Failure::error(
                Kind::ArtifactUnpinned,
                format!("without a pin: {}", list.join("; ")),
                how_to_pin(missing.iter().map(|u| u.name.as_str())),
            ));
        }
        if let Wanted::Named(names) = wanted {
            let known = |name: &&String| self.artifacts.iter().all(|a| a.name != **name);
            if let Some(name) = names.iter().find(known) {
                return Err(Failure::error(
                    Kind::BundleInvalid,
                    format!("the bundle has no artifact {name:?}"),
                    "`harrow-build bundle list` shows what there is",
                ));
            }
        }
        let all = self.artifacts.iter();
        Ok(all.filter(|a| meant(&a.name, &a.only_with)).collect())
    }
}

/// What an artifact's pin says, or why it has none.
fn content_of(artifact: &Artifact, pin: Option<&Pin>) -> Result<Content, String> {
    let Some(pin) = pin else {
        return Err("not in the lock".to_owned());
    };
    if pin.version != artifact.version {
        return Err(format!("the lock has {}", pin.version));
    }
    if artifact.kind != ArtifactKind::ImageSet {
        let (Some(url), Some(sha256)) = (&artifact.url, pin.sha256) else {
            return Err("its pin has no sha256".to_owned());
        };
        return Ok(Content::File(LockedFile {
            url: url.clone(),
            sha256,
            size: pin.size,
        }));
    }
    let without: Vec<String> = artifact
        .images
        .iter()
        .filter(|image| !pin.images.contains_key(image))
        .map(ToString::to_string)
        .collect();
    if !without.is_empty() {
        return Err(format!("no digest of {}", without.join(", ")));
    }
    let images = artifact.images.iter();
    let images = images.filter_map(|image| {
        Some(LockedImage {
            image: image.clone(),
            digest: *pin.images.get(image)?,
        })
    });
    Ok(Content::Images(images.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn bundle() -> Bundle {
        let text = "schema = 1\n\
            [[artifact]]\nname = 'rke2'\nkind = 'rke2'\nversion = 'v1'\nurl = 'https://h/a'\n\
            [[artifact]]\nname = 'c'\nkind = 'chart'\nversion = '1'\nurl = 'https://h/c'\n\
            only_with = 'addon'\n\
            [[artifact]]\nname = 'set'\nkind = 'image-set'\nversion = '1'\n\
            images = ['q.io/a:1', 'q.io/b:1']\n";
        Bundle::parse(text, "b").unwrap()
    }

    fn locked(lock: &str) -> anyhow::Result<LockedBundle> {
        LockedBundle::new(&bundle(), &Lock::parse(lock, "l")?)
    }

    #[test]
    fn what_has_no_pin_is_left_out_and_named() {
        let rke2 = format!("schema = 1\n[artifact.rke2]\nversion = 'v1'\nsha256 = '{A}'\n");
        let set = "[artifact.set]\nversion = '1'\n[artifact.set.images]\n";
        let one = format!("{rke2}{set}'q.io/a:1' = '{A}'\n");
        for (lock, why) in [
            ("schema = 1\n".to_owned(), "rke2 v1 (not in the lock)"),
            (rke2.clone(), "set 1 (not in the lock)"),
            (one.clone(), "set 1 (no digest of q.io/b:1)"),
            (rke2.replace("'v1'", "'v0'"), "rke2 v1 (the lock has v0)"),
        ] {
            let error = locked(&lock).unwrap();
            let error = error.wanted(&Wanted::With(BTreeSet::new())).unwrap_err();
            let failure = Failure::of(&error).unwrap();
            assert_eq!(failure.kind, Kind::ArtifactUnpinned);
            assert!(failure.message.contains(why), "{lock}: {}", failure.message);
            assert!(failure.hint.contains("bundle lock --only"));
        }
        // All of them are named, not only the first.
        let none = locked("schema = 1\n").unwrap();
        let all: Vec<&str> = none.unpinned_for_all().map(|u| u.name.as_str()).collect();
        assert_eq!(all, ["rke2", "set"]);
        let error = none.wanted(&Wanted::With(BTreeSet::new())).unwrap_err();
        let hint = &Failure::of(&error).unwrap().hint;
        assert!(hint.contains("--only rke2 --only set"), "{hint}");
        let whole = locked(&format!("{one}'q.io/b:1' = 'sha256:{A}'\n")).unwrap();
        let needed = whole.wanted(&Wanted::With(BTreeSet::new())).unwrap();
        assert_eq!(needed.len(), 2, "the addon's chart is not needed");
        let with = Wanted::With(["addon".to_owned()].into());
        assert!(whole.wanted(&with).is_err(), "the addon's chart has no pin");
        let named = |name: &str| Wanted::Named([name.to_owned()].into());
        assert_eq!(whole.wanted(&named("set")).unwrap()[0].name, "set");
        assert!(whole.wanted(&named("nothing")).is_err());
        let json = whole.render().unwrap();
        assert_eq!(LockedBundle::parse(json.as_bytes()).unwrap(), whole);
    }

    #[test]
    fn mistakes_are_named() {
        for (lock, message) in [
            ("schema = 3", "schema is 3"),
            ("schema = 1\n[artifact.x]\nversion = '1'", "\"x\""),
            ("schema = 1\n[artifact.c]\nvrsion = '1'", "vrsion"),
            (
                "schema = 1\n[artifact.c]\nversion='1'\n[artifact.c]\n",
                "duplicate key",
            ),
            (
                "schema = 1\n[artifact.c]\nversion='1'\nsha256='a'",
                "is not a sha256",
            ),
        ] {
            let error = format!("{:#}", locked(lock).unwrap_err());
            assert!(error.contains(message), "{lock}: {error}");
        }
    }
}
