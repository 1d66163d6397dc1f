//! The bundle of the cluster payload, as the build handles it: pins, cache, mirrors.
//!
//! In: [`BundleOptions`], the two files and a cache folder. Out: for each verb of `harrow-build
//! bundle` one function. Types, fetching and the store are the library's, because a `net` node
//! does the same at its first boot.

mod list;
mod lock;
mod mirror;
mod tell;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use anyhow::bail;
use harrow::bundle::archive::StoredImage;
use harrow::bundle::oci::Registries;
use harrow::bundle::{
    Bundle, Content, Digest, Fetching, Lock, LockedArtifact, LockedBundle, Origin, Store, Wanted,
    archive,
};
use harrow::sys::net::remote::Limits;

pub use list::{Row, list, no_cluster, render_table};
pub use lock::{HowToHash, lock};
pub use mirror::mirror;

/// Which bundle, and how its bytes are come by.
#[derive(Debug, Clone)]
pub struct BundleOptions {
    /// `bundle.toml`; the lock is `bundle.lock` beside it.
    pub bundle: PathBuf,
    /// The cache's folder.
    pub cache: PathBuf,
    /// Where bytes come from instead of upstream.
    pub from: Option<String>,
    /// RKE2's `registries.yaml`.
    pub registries: Option<PathBuf>,
    /// docker's `config.json`.
    pub docker_config: Option<PathBuf>,
    /// Certificates to trust for URLs and registries, in PEM.
    pub ca: Option<PathBuf>,
    /// Only artifacts of these names.
    pub only: Vec<String>,
    /// Only what a cluster with these addons and CNIs needs.
    pub with: Vec<String>,
    /// Blobs at a time.
    pub parallel: usize,
    /// How long a bad line is put up with.
    pub limits: Limits,
}

impl BundleOptions {
    /// Path of the lock.
    pub fn lock_path(&self) -> PathBuf {
        self.bundle.with_extension("lock")
    }

    /// The bundle with its pins.
    pub fn locked(&self) -> anyhow::Result<LockedBundle> {
        LockedBundle::new(
            &Bundle::read(&self.bundle)?,
            &Lock::read(&self.lock_path())?,
        )
    }

    /// The cache.
    pub fn store(&self) -> anyhow::Result<Store> {
        Store::open(&self.cache.join("bundle"))
    }

    /// Which artifacts are meant.
    pub fn wanted(&self) -> Wanted {
        let set = |names: &[String]| names.iter().cloned().collect::<BTreeSet<String>>();
        match (self.only.is_empty(), self.with.is_empty()) {
            (false, _) => Wanted::Named(set(&self.only)),
            (true, false) => Wanted::With(set(&self.with)),
            (true, true) => Wanted::Pinned,
        }
    }

    /// What is known about registries.
    pub fn read_registries(&self) -> anyhow::Result<Registries> {
        let mut registries = Registries::default();
        if let Some(path) = &self.registries {
            registries.read_file(path)?;
        }
        if let Some(path) = &self.docker_config {
            registries.read_docker_config(path)?;
        }
        registries.trust(self.read_ca()?.as_deref());
        Ok(registries)
    }

    fn read_ca(&self) -> anyhow::Result<Option<String>> {
        use anyhow::Context as _;
        let read = |path: &PathBuf| {
            let text = std::fs::read_to_string(path);
            text.with_context(|| format!("reading the CA {}", path.display()))
        };
        self.ca.as_ref().map(read).transpose()
    }
}

/// Fetches what is meant into the cache. Says on `out` what happens and what has no pin.
pub fn fetch(options: &BundleOptions, out: &mut (impl Write + Send)) -> anyhow::Result<()> {
    let locked = options.locked()?;
    fetch_locked(options, &locked, &options.read_registries()?, out)
}

fn fetch_locked(
    options: &BundleOptions,
    locked: &LockedBundle,
    registries: &Registries,
    out: &mut (impl Write + Send),
) -> anyhow::Result<()> {
    let origin = match &options.from {
        Some(text) => Origin::parse(text, registries)?,
        None => Origin::Upstream,
    };
    let (store, ca) = (options.store()?, options.read_ca()?);
    if options.wanted() == Wanted::Pinned {
        for unpinned in &locked.unpinned {
            let (name, version) = (&unpinned.name, &unpinned.version);
            writeln!(out, "left out: {name} {version}: {}", unpinned.why).ok();
        }
    }
    let teller = tell::Teller::new(out);
    Fetching {
        store: &store,
        origin: &origin,
        registries,
        limits: options.limits,
        parallel: options.parallel,
        ca: ca.as_deref(),
        tell: &|progress| teller.tell(progress),
        stop: &AtomicBool::new(false),
        // A mirror of the cache needs them, and `verify` looks for them.
        layers: true,
    }
    .run(locked, &options.wanted())
}

/// What is wrong with the cache.
#[derive(Debug, Default)]
struct Faults {
    missing: Vec<String>,
    damaged: Vec<String>,
}

/// Hashes again what the cache has of what is meant. What is damaged is taken out of the cache, so
/// that it is fetched again; an error when that or something missing was found.
pub fn verify(options: &BundleOptions, out: &mut impl Write) -> anyhow::Result<()> {
    let (locked, store) = (options.locked()?, options.store()?);
    let mut faults = Faults::default();
    for artifact in locked.wanted(&options.wanted())? {
        let before = faults.missing.len() + faults.damaged.len();
        let digests = match all_digests(&store, artifact) {
            Ok(digests) => digests,
            Err(error) => {
                faults.missing.push(format!("{}: {error:#}", artifact.name));
                continue;
            }
        };
        let mut size = 0;
        for digest in digests {
            match store.size_of(digest) {
                None => faults.missing.push(format!("{}: {digest}", artifact.name)),
                Some(_) => match store.verify(digest) {
                    Ok(bytes) => size += bytes,
                    Err(error) => {
                        store.remove(digest)?;
                        faults.damaged.push(format!("{}: {error:#}", artifact.name));
                    }
                },
            }
        }
        if faults.missing.len() + faults.damaged.len() == before {
            let size = crate::progress::size(size);
            writeln!(out, "good: {} {} ({size})", artifact.name, artifact.version).ok();
        }
    }
    for line in &faults.missing {
        writeln!(out, "not in the cache: {line}").ok();
    }
    for line in &faults.damaged {
        writeln!(out, "damaged, and taken out of the cache: {line}").ok();
    }
    match (faults.missing.len(), faults.damaged.len()) {
        (0, 0) => Ok(()),
        (missing, damaged) => {
            bail!(
                "{missing} missing and {damaged} damaged: `harrow-build bundle fetch` fetches them"
            )
        }
    }
}

/// The digests of all blobs of an artifact, with its archive when that was made. An error when
/// the cache lacks what would name them.
fn all_digests(store: &Store, artifact: &LockedArtifact) -> anyhow::Result<BTreeSet<Digest>> {
    let mut digests = BTreeSet::new();
    match &artifact.content {
        Content::File(file) => drop(digests.insert(file.sha256)),
        Content::Images(images) => {
            for image in images {
                let stored = StoredImage::find(store, image)?;
                digests.extend([image.digest, stored.digest]);
                digests.extend(stored.index);
                digests.extend(stored.blobs().map(|blob| blob.digest));
            }
            digests.extend(archive::find(store, images));
        }
    }
    Ok(digests)
}
