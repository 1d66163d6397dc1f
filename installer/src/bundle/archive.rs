//! One archive for the images of a group, as containerd and RKE2 import it.
//!
//! In: images whose blobs are in the store. Out: a tar, packed by zstd, that is two things at once.
//! It is an OCI image layout: `oci-layout`, `index.json` with the names of the images in the annotations that
//! containerd reads, and each blob once under `blobs/sha256/`, as the registry gave it, so digests
//! stay what they were. And it has a `manifest.json` as `docker save` writes it, in which
//! go-containerregistry finds an image by its tag: RKE2 looks so for its runtime image in every archive, and
//! finds soon that ours has none, since the lists come first. The same images make the same bytes.
//!
//! Sources: containerd `core/images/archive/importer.go` (an `oci-layout` in the archive makes `index.json` count,
//! and names come from `io.containerd.image.name`); go-containerregistry `pkg/v1/tarball/image.go`; wharfie
//! `pkg/tarfile/tarfile.go` (unpacks with a window of at most 32 MiB).

use std::io::{Read, Write};

use anyhow::{Context as _, bail, ensure};
use serde::Serialize;
use serde_json::json;
use tar::{Builder, EntryType, Header};

use super::oci::manifest::{self, Descriptor, Document, Manifest, Platform};
use super::{Digest, LockedImage, Store, blob_path};

/// Level of zstd: layers are packed already, so more effort gains nothing.
const LEVEL: i32 = 1;
/// Changes when the bytes of an archive of the same images do.
const FORM: &str = "harrow image archive 1";

/// An image whose blobs are all in the store.
#[derive(Debug, Clone)]
pub struct StoredImage {
    /// Its name and the digest that is pinned.
    pub image: LockedImage,
    /// Its index, when the pin is of one.
    pub index: Option<Digest>,
    /// Its manifest for our platform.
    pub digest: Digest,
    /// Media type of the manifest.
    pub media_type: String,
    /// Size of the manifest in bytes.
    pub size: u64,
    /// What it is made of.
    pub manifest: Manifest,
}

impl StoredImage {
    /// Follows a pin through the store.
    pub fn find(store: &Store, image: &LockedImage) -> anyhow::Result<Self> {
        let context = || format!("image {}", image.image);
        let (mut digest, mut index) = (image.digest, None);
        loop {
            ensure!(
                store.size_of(digest).is_some(),
                "image {}: its manifest {digest} was not fetched",
                image.image
            );
            let bytes = store.read(digest, manifest::LIMIT)?;
            match Document::parse(&bytes).with_context(context)? {
                Document::Index(manifests) => {
                    index = index.or(Some(digest));
                    digest = manifest::pick(&manifests).with_context(context)?.digest;
                }
                Document::Manifest(manifest, media_type) => {
                    return Ok(Self {
                        image: image.clone(),
                        index,
                        digest,
                        media_type,
                        size: bytes.len() as u64,
                        manifest,
                    });
                }
            }
        }
    }

    /// Config and layers.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        std::iter::once(&self.manifest.config).chain(&self.manifest.layers)
    }
}

/// An image in docker's `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

/// The archive of these images: made, or found where it was made before.
pub fn make(store: &Store, images: &[LockedImage]) -> anyhow::Result<Digest> {
    let key = key_of(images);
    if let Some(digest) = store.made(key) {
        return Ok(digest);
    }
    let mut fresh = store.fresh()?;
    let mut packed = zstd::Encoder::new(&mut fresh, LEVEL).context("starting zstd")?;
    packed.include_checksum(true).context("starting zstd")?;
    write(store, images, &mut packed)?;
    packed.finish().context("packing the archive")?;
    let (digest, _) = fresh.finish()?;
    store.set_made(key, digest)?;
    Ok(digest)
}

/// The archive of these images when it was made before.
pub fn find(store: &Store, images: &[LockedImage]) -> Option<Digest> {
    store.made(key_of(images))
}

/// What the archive of these images is remembered by.
fn key_of(images: &[LockedImage]) -> Digest {
    let mut lines: Vec<String> = images
        .iter()
        .map(|i| format!("{} {}", i.image, i.digest))
        .collect();
    lines.sort_unstable();
    Digest::of(format!("{FORM}\n{}\n", lines.join("\n")).as_bytes())
}

/// Writes the tar.
fn write(store: &Store, images: &[LockedImage], out: impl Write) -> anyhow::Result<()> {
    let mut found = Vec::new();
    for image in images {
        found.push(StoredImage::find(store, image)?);
    }
    found.sort_by(|a, b| a.image.image.cmp(&b.image.image));
    let mut tar = Builder::new(out);
    let mut text = |name: &str, value: serde_json::Value| {
        let text = value.to_string();
        append(&mut tar, name, text.len() as u64, text.as_bytes())
    };
    text("oci-layout", json!({ "imageLayoutVersion": "1.0.0" }))?;
    text("index.json", index(&found))?;
    let saved: Vec<Saved> = found.iter().map(saved).collect();
    text("manifest.json", json!(saved))?;
    let mut written = std::collections::BTreeSet::new();
    for image in &found {
        let own = std::iter::once((image.digest, image.size));
        let blobs = own.chain(image.blobs().map(|b| (b.digest, b.size)));
        for (digest, size) in blobs {
            if !written.insert(digest) {
                continue;
            }
            let reader = store.reader(digest).with_context(|| {
                format!("image {}: {digest} was not fetched", image.image.image)
            })?;
            let there = store.size_of(digest).unwrap_or(0);
            if there != size {
                bail!(
                    "image {}: {digest} has {there} bytes, and its manifest says {size}",
                    image.image.image
                );
            }
            append(&mut tar, &blob_path(digest), size, reader)?;
        }
    }
    tar.into_inner().context("ending the archive")?.flush()?;
    Ok(())
}

/// `index.json`: each image by its tag. RKE2 says an error for each name without one (k3s,
/// pkg/agent/containerd, `retagImages`).
fn index(images: &[StoredImage]) -> serde_json::Value {
    let by_tag = |image: &StoredImage| named(image, &image.image.image.to_string());
    let manifests: Vec<_> = images.iter().map(by_tag).collect();
    json!({
        "schemaVersion": 2,
        "mediaType": manifest::OCI_INDEX,
        "manifests": manifests,
    })
}

/// An image under a name, as an entry of `index.json`.
pub fn named(image: &StoredImage, name: &str) -> serde_json::Value {
    json!({
        "mediaType": image.media_type,
        "digest": image.digest.oci(),
        "size": image.size,
        "platform": Platform::ours(),
        "annotations": {
            "io.containerd.image.name": name,
            "org.opencontainers.image.ref.name": name,
        },
    })
}

fn saved(image: &StoredImage) -> Saved {
    let layers = image.manifest.layers.iter();
    Saved {
        config: blob_path(image.manifest.config.digest),
        repo_tags: vec![image.image.image.to_string()],
        layers: layers.map(|l| blob_path(l.digest)).collect(),
    }
}

fn append(
    tar: &mut Builder<impl Write>,
    name: &str,
    size: u64,
    bytes: impl Read,
) -> anyhow::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_size(size);
    let appended = tar.append_data(&mut header, name, bytes);
    appended.with_context(|| format!("writing {name} into the archive"))
}
