//! What of the bundle goes into an image: its list in every flavor, its payload in `full`.
//!
//! In: [`BundleOptions`], whose `with` names addons and network plugins. Out: overlay [`Entry`]s for
//! `/usr/share/harrow/bundle.json` and `/usr/lib/harrow/payload`. What has no pin is refused before
//! anything is fetched; the archives are links into the cache.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

use anyhow::Context as _;
use harrow::bundle::{ArtifactKind, LockedBundle, Payload, Wanted, lay_out};
use harrow::failure::{Failure, Kind};

use crate::bundle::{self, BundleOptions, Row};
use crate::overlay::{self, Archive, Content, Entry, Node};
use crate::room;

/// Where a node of every flavor finds what the bundle has.
const LIST: &str = "usr/share/harrow/bundle.json";
/// Where a node of flavor `full` has its payload.
const PLACE: &str = "usr/lib/harrow/payload";
/// Stands for all addons and network plugins.
const ALL: &str = "all";
/// RKE2's network plugins, in the words of the bundle; the first is the config's default.
const NETWORKS: [&str; 4] = ["canal", "calico", "cilium", "flannel"];

/// A payload that is decided on, and not fetched yet.
#[derive(Debug)]
pub struct Choice {
    options: BundleOptions,
    locked: LockedBundle,
    wanted: Wanted,
}

/// `bundle.json`, for every flavor.
pub fn list(locked: &LockedBundle) -> anyhow::Result<Vec<Entry>> {
    let mut entries = folders(LIST);
    entries.push(Entry::bytes(LIST, locked.render()?));
    Ok(entries)
}

impl Choice {
    /// Decides what a payload holds; an error when some of it has no pin. Without a network plugin
    /// no node becomes ready, so the config's default is in when none is named.
    pub fn new(options: &BundleOptions) -> anyhow::Result<Self> {
        let locked = options.locked()?;
        let names = names(&locked, &options.with)?;
        let options = BundleOptions {
            only: Vec::new(),
            with: names.into_iter().collect(),
            ..options.clone()
        };
        let wanted = options.wanted();
        locked.wanted(&wanted)?;
        Ok(Self {
            options,
            locked,
            wanted,
        })
    }

    /// What the bundle names and this payload does not hold, by the addon or CNI that needs it: the
    /// installer tells whose config does not fit the image.
    pub fn lacks(&self) -> BTreeMap<String, Vec<String>> {
        let pinned = self.locked.artifacts.iter();
        let pinned = pinned.filter(|a| !self.wanted.has(&a.name, a.only_with.as_deref()));
        let pinned = pinned.map(|a| (&a.name, &a.only_with));
        let unpinned = self.locked.unpinned.iter().map(|u| (&u.name, &u.only_with));
        let mut lacks: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, only_with) in pinned.chain(unpinned) {
            if let Some(with) = only_with {
                lacks.entry(with.clone()).or_default().push(name.clone());
            }
        }
        lacks
    }

    /// Fetches into the cache what is not there, after a look at the room for all that an image
    /// in `image` takes. Says on `out` what comes.
    pub fn fetch(&self, image: &Path, out: &mut (impl Write + Send)) -> anyhow::Result<()> {
        let rows = bundle::list(&self.options)?;
        let rows: Vec<&Row> = rows
            .iter()
            .filter(|row| self.wanted.has(&row.name, row.only_with.as_deref()))
            .collect();
        let bytes = |cached| {
            let all = rows.iter().filter(|row| !row.cached || cached);
            all.filter_map(|row| row.size).sum::<u64>()
        };
        // Once more in the slot image, then in the image set.
        let needs = [
            (self.options.cache.as_path(), bytes(false) + bytes(true)),
            (image, bytes(true)),
        ];
        room::check("an image with this payload", &needs)?;
        match rows.iter().all(|row| row.cached) {
            true => Ok(()),
            false => bundle::fetch(&self.options, out),
        }
    }

    /// Lays the payload out in the cache.
    pub fn lay_out(&self) -> anyhow::Result<Vec<Entry>> {
        let folder = self.options.cache.join("payload");
        let store = self.options.store()?;
        let payload = lay_out(&self.locked, &store, &folder, &self.wanted)?;
        entries(&payload, &folder)
    }
}

/// The addons and network plugins that are meant.
fn names(locked: &LockedBundle, with: &[String]) -> anyhow::Result<BTreeSet<String>> {
    let pinned = locked.artifacts.iter().map(|a| &a.only_with);
    let unpinned = locked.unpinned.iter().map(|a| &a.only_with);
    let known: BTreeSet<String> = pinned.chain(unpinned).flatten().cloned().collect();
    if with.iter().any(|name| name == ALL) {
        return Ok(known);
    }
    if let Some(name) = with.iter().find(|name| !known.contains(*name)) {
        let known: Vec<String> = known.into_iter().collect();
        return Err(Failure::error(
            Kind::BundleInvalid,
            format!("the bundle has nothing for --with {name}"),
            format!("it has something for {} and {ALL}", known.join(", ")),
        ));
    }
    let mut names: BTreeSet<String> = with.iter().cloned().collect();
    if !NETWORKS.iter().any(|network| names.contains(*network)) {
        names.insert(NETWORKS[0].to_owned());
    }
    Ok(names)
}

/// A payload folder at its place in the image.
fn entries(payload: &Payload, folder: &Path) -> anyhow::Result<Vec<Entry>> {
    let mut entries = folders(&format!("{PLACE}/"));
    let found = overlay::read_dir(folder).context("reading the payload")?;
    for mut entry in found {
        let item = payload.artifacts.iter().find(|i| i.path == entry.path);
        if let Some(item) = item.filter(|item| is_packed(item.kind)) {
            entry.node = Node::File {
                content: Content::Archive(Archive {
                    path: folder.join(&entry.path),
                    sha256: item.sha256,
                    size: item.size,
                }),
                executable: false,
            };
        }
        entry.path = format!("{PLACE}/{}", entry.path);
        entries.push(entry);
    }
    Ok(entries)
}

/// Whether an artifact is one file that is compressed already.
fn is_packed(kind: ArtifactKind) -> bool {
    match kind {
        ArtifactKind::Images | ArtifactKind::ImageSet | ArtifactKind::Chart => true,
        ArtifactKind::Rke2 | ArtifactKind::Manifest | ArtifactKind::Program => false,
    }
}

/// The folders that a path is in.
fn folders(path: &str) -> Vec<Entry> {
    let folder = |(end, _)| Entry {
        path: path[..end].to_owned(),
        node: Node::Dir,
    };
    path.match_indices('/').map(folder).collect()
}

#[cfg(test)]
#[path = "payload_tests.rs"]
mod tests;
