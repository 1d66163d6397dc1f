//! `harrow-build bundle mirror`: everything that is pinned, for sites without internet.
//!
//! In: the bundle and the cache, which is filled first. Out: a folder that any web server can serve, or the same in a
//! registry. A node of flavor `net` uses the first through `install.bundle_mirror`, and `harrow-build` both
//! with `--from`. The folder is an OCI image layout too, so other tools can read the images in it;
//! in a registry the images lie under their own names and tags, for containerd's mirrors.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use anyhow::{Context as _, bail};
use harrow::bundle::archive::StoredImage;
use harrow::bundle::oci::{Endpoint, Registries};
use harrow::bundle::{
    Content, Digest, LockedArtifact, LockedBundle, Origin, REPOSITORY, Store, archive,
};
use serde_json::json;

use super::{BundleOptions, fetch_locked};

/// Media type of the list of blobs in a registry.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// What that list is for.
const ARTIFACT: &str = "application/vnd.harrow.bundle.v1";
/// The config of what has none (OCI image specification, v1.1).
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// Mirrors what is meant to a folder or a registry; fetches first what the cache lacks.
pub fn mirror(
    options: &BundleOptions,
    to: &str,
    out: &mut (impl Write + Send),
) -> anyhow::Result<()> {
    let registries = options.read_registries()?;
    let destination = Origin::parse(to, &registries)?;
    if matches!(destination, Origin::Upstream | Origin::Web(_)) {
        bail!("{to} can't be written to: name a folder, or a registry as oci://HOST/PREFIX");
    }
    let locked = options.locked()?;
    fetch_locked(options, &locked, &registries, out)?;
    let store = options.store()?;
    let wanted = locked.wanted(&options.wanted())?;
    // What the mirror has, and what stays without a pin.
    let mirrored = LockedBundle {
        schema: locked.schema,
        artifacts: wanted.iter().map(|a| (*a).clone()).collect(),
        unpinned: locked.unpinned.clone(),
    };
    match &destination {
        Origin::Folder(dir) => to_folder(&mirrored, &store, dir)?,
        Origin::Registry(endpoint, prefix) => {
            Push {
                registries: &registries,
                store: &store,
                endpoint,
                prefix,
            }
            .all(&mirrored, out)?;
        }
        Origin::Upstream | Origin::Web(_) => {}
    }
    writeln!(out, "mirrored to {destination}").ok();
    Ok(())
}

fn images_of(store: &Store, artifact: &LockedArtifact) -> anyhow::Result<Vec<StoredImage>> {
    match &artifact.content {
        Content::File(_) => Ok(Vec::new()),
        Content::Images(images) => images.iter().map(|i| StoredImage::find(store, i)).collect(),
    }
}

fn to_folder(locked: &LockedBundle, store: &Store, dir: &Path) -> anyhow::Result<()> {
    let mirror = Store::open(dir)?;
    let mut manifests = Vec::new();
    for artifact in &locked.artifacts {
        if let Content::File(file) = &artifact.content {
            mirror.adopt(file.sha256, store)?;
        }
        for image in images_of(store, artifact)? {
            let own = [image.image.digest, image.digest];
            let blobs = image.blobs().map(|blob| blob.digest);
            for digest in own.into_iter().chain(image.index).chain(blobs) {
                mirror.adopt(digest, store)?;
            }
            manifests.push(archive::named(&image, &image.image.image.to_string()));
        }
    }
    let write = |name: &str, text: String| {
        let path = dir.join(name);
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    };
    write("bundle.json", locked.render()?)?;
    write(
        "oci-layout",
        json!({"imageLayoutVersion": "1.0.0"}).to_string(),
    )?;
    write(
        "index.json",
        json!({"schemaVersion": 2, "manifests": manifests}).to_string(),
    )?;
    for sub in ["partial", "made"] {
        // They stay when another process needs them.
        std::fs::remove_dir(dir.join(sub)).ok();
    }
    Ok(())
}

struct Push<'a> {
    registries: &'a Registries,
    store: &'a Store,
    endpoint: &'a Endpoint,
    prefix: &'a str,
}

impl Push<'_> {
    fn all(&self, locked: &LockedBundle, out: &mut impl Write) -> anyhow::Result<()> {
        let bundle = Origin::repository(self.prefix, REPOSITORY);
        // Titles by digest: what a registry has no list of, it may throw away.
        let mut blobs: BTreeMap<Digest, String> = BTreeMap::new();
        for artifact in &locked.artifacts {
            if let Content::File(file) = &artifact.content {
                self.blob(&bundle, file.sha256)?;
                blobs.insert(file.sha256, artifact.name.clone());
            }
            for image in images_of(self.store, artifact)? {
                let name = image.image.image.to_string();
                self.image(&image)
                    .with_context(|| format!("image {name}"))?;
                for digest in [image.digest].into_iter().chain(image.index) {
                    self.blob(&bundle, digest)?;
                    blobs.insert(digest, name.clone());
                }
            }
            writeln!(out, "{}: pushed", artifact.name).ok();
        }
        let list = self.store.insert(locked.render()?.as_bytes())?;
        self.blob(&bundle, list)?;
        blobs.insert(list, "bundle.json".to_owned());
        let config = self.store.insert(b"{}")?;
        self.blob(&bundle, config)?;
        let layers: Vec<_> = blobs
            .iter()
            .map(|(digest, title)| {
                json!({
                    "mediaType": "application/octet-stream",
                    "digest": digest.oci(),
                    "size": self.store.size_of(*digest).unwrap_or(0),
                    "annotations": {"org.opencontainers.image.title": title},
                })
            })
            .collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": ARTIFACT,
            "config": {"mediaType": EMPTY, "digest": config.oci(), "size": 2},
            "layers": layers,
        });
        let text = manifest.to_string();
        // Mirrors of other bundles in the same place keep theirs.
        let tag = &Digest::of(text.as_bytes()).to_string()[..16];
        let manifest = (MANIFEST, text.as_bytes());
        self.registries
            .push_manifest(self.endpoint, &bundle, tag, manifest)
    }

    /// An image under its own name, tag and digest.
    fn image(&self, image: &StoredImage) -> anyhow::Result<()> {
        let reference = &image.image.image;
        let repository = Origin::repository(self.prefix, &reference.repository);
        for blob in image.blobs() {
            self.blob(&repository, blob.digest)?;
        }
        let bytes = self.store.read(image.digest, image.size)?;
        let manifest = (image.media_type.as_str(), bytes.as_slice());
        self.registries
            .push_manifest(self.endpoint, &repository, &reference.tag, manifest)
    }

    fn blob(&self, repository: &str, digest: Digest) -> anyhow::Result<()> {
        let path = self.store.path_of(digest);
        self.registries
            .push_blob(self.endpoint, repository, digest, &path)
    }
}
