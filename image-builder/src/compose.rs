//! The base system with everything laid over it, as one tar stream.
//!
//! In: the base's tar and overlay [`Entry`]s. Out: a tar in which the overlay replaces what it
//! names, excluded paths are gone and mount points exist. Entries of the base pass unchanged,
//! so their extended attributes (`security.capability`) stay. Archives of the overlay have their
//! place in it, but not in the tar: `squashfs` puts them there.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use tar::{EntryType, Header};

use crate::overlay::{Content, Entry, Node};
use crate::tarstream;

/// Folders that something is mounted on at boot, with their modes.
const MOUNT_POINTS: &[(&str, u32)] = &[
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("srv", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("usr/local", 0o755),
    ("var", 0o755),
];

/// What is taken out of the base and what is laid over it.
#[derive(Debug)]
pub struct Composition<'a> {
    /// Absolute path patterns that are left out; `*` matches any characters.
    pub exclude: &'a [String],
    /// What is laid over; of entries with the same path the last one wins.
    pub overlay: &'a [Entry],
    /// Modification time of the overlay's entries, in seconds since 1970.
    pub mtime: u64,
}

/// What the base has at a path, as far as laying something over it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Dir,
    Symlink,
    Other,
}

impl From<EntryType> for Kind {
    fn from(kind: EntryType) -> Self {
        match kind {
            EntryType::Directory => Self::Dir,
            EntryType::Symlink => Self::Symlink,
            _ => Self::Other,
        }
    }
}

/// Reads the base's tar from `base` and writes the composed one to `out`.
pub fn compose(base: impl Read, out: impl Write, what: &Composition<'_>) -> anyhow::Result<()> {
    let overlay: BTreeMap<&str, &Entry> =
        what.overlay.iter().map(|e| (e.path.as_str(), e)).collect();
    let mut out = tar::Builder::new(out);
    let seen = pass_base(base, &mut out, what.exclude, &overlay)?;
    for (path, mode) in MOUNT_POINTS {
        if !seen.contains_key(*path) && !overlay.contains_key(path) {
            append_folder(&mut out, path, *mode, what.mtime)?;
        }
    }
    for (path, entry) in &overlay {
        check_ancestors(path, &seen)?;
        match &entry.node {
            // A folder that the base has keeps its owner and mode.
            Node::Dir if seen.get(*path) == Some(&Kind::Dir) => {}
            Node::Dir => append_folder(&mut out, path, 0o755, what.mtime)?,
            Node::Symlink(target) => append_link(&mut out, path, target, what.mtime)?,
            Node::File {
                content: Content::Archive(_),
                ..
            } => {}
            Node::File { content, .. } => {
                append_file(&mut out, path, entry.mode() & 0o7777, what.mtime, content)?;
            }
        }
    }
    out.into_inner()
        .and_then(|mut out| out.flush())
        .context("writing the composed tar")
}

/// Copies what stays of the base; returns what the base has, by path.
fn pass_base<W: Write>(
    base: impl Read,
    out: &mut tar::Builder<W>,
    exclude: &[String],
    overlay: &BTreeMap<&str, &Entry>,
) -> anyhow::Result<BTreeMap<String, Kind>> {
    let mut seen = BTreeMap::new();
    tarstream::for_each(base, |item| {
        let kind = Kind::from(item.kind());
        let replaced = replaces(overlay, &item.path, kind)?;
        if replaced || is_excluded(exclude, &item.path) {
            return Ok(());
        }
        if let Some(target) = item.hard_link()?
            && (overlay.contains_key(target.as_str()) || is_excluded(exclude, &target))
        {
            bail!(
                "/{} of the base is a hard link to /{target}, which is replaced or left out",
                item.path
            );
        }
        seen.insert(item.path.clone(), kind);
        item.copy_to(out)
    })
    .context("composing the slot image from the base")?;
    if seen.is_empty() {
        bail!("the base's tar is empty: --refresh makes it anew");
    }
    Ok(seen)
}

/// Whether the overlay takes this place; what it would break is an error.
fn replaces(overlay: &BTreeMap<&str, &Entry>, path: &str, base: Kind) -> anyhow::Result<bool> {
    let Some(entry) = overlay.get(path) else {
        return Ok(false);
    };
    match (&entry.node, base) {
        (Node::Dir, Kind::Dir) => Ok(false),
        (Node::Dir, Kind::Symlink) => bail!(
            "the overlay has a folder /{path}, which is a symlink in the base: put its files where the link leads"
        ),
        (_, Kind::Dir) => bail!("the overlay has no folder at /{path}, but the base has"),
        _ => Ok(true),
    }
}

fn check_ancestors(path: &str, seen: &BTreeMap<String, Kind>) -> anyhow::Result<()> {
    for (end, _) in path.match_indices('/') {
        let parent = &path[..end];
        if let Some(Kind::Symlink | Kind::Other) = seen.get(parent) {
            bail!("the overlay's /{path} is below /{parent}, which is no folder in the base");
        }
    }
    Ok(())
}

fn is_excluded(patterns: &[String], path: &str) -> bool {
    let absolute = format!("/{path}");
    patterns
        .iter()
        .any(|p| matches(p.as_bytes(), absolute.as_bytes()))
}

/// Whether the text matches the pattern, in which `*` stands for any characters, slashes too.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where the last star is, and how far it reaches.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            p += 1;
            t += 1;
        } else if let Some((at, reach)) = star {
            star = Some((at, reach + 1));
            p = at + 1;
            t = reach + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

/// Copies `full` to `base` without the folder `staging`, and the files in that to `boot`.
pub fn split(full: impl Read, base: impl Write, staging: &str, boot: &Path) -> anyhow::Result<()> {
    let mut base = tar::Builder::new(base);
    let below = format!("{staging}/");
    tarstream::for_each(full, |mut item| {
        if item.path == staging {
            return Ok(());
        }
        let Some(name) = item.path.strip_prefix(&below) else {
            return item.copy_to(&mut base);
        };
        if item.kind() != EntryType::Regular || name.contains('/') {
            bail!("/{} is not a plain file", item.path);
        }
        let path = boot.join(name);
        let mut file =
            File::create(&path).with_context(|| format!("creating {}", path.display()))?;
        std::io::copy(&mut item, &mut file)
            .map(drop)
            .with_context(|| format!("writing {}", path.display()))
    })?;
    base.into_inner()
        .and_then(|mut base| base.flush())
        .context("writing the base's tar")
}

fn append_folder<W: Write>(
    out: &mut tar::Builder<W>,
    path: &str,
    mode: u32,
    mtime: u64,
) -> anyhow::Result<()> {
    let mut header = new_header(EntryType::Directory, mode, mtime, 0);
    out.append_data(&mut header, path, std::io::empty())
        .with_context(|| format!("adding /{path} to the image"))
}

/// Passes a file on in pieces, however large it is.
fn append_file<W: Write>(
    out: &mut tar::Builder<W>,
    path: &str,
    mode: u32,
    mtime: u64,
    content: &Content,
) -> anyhow::Result<()> {
    let (reader, size) = content.open()?;
    let mut header = new_header(EntryType::Regular, mode, mtime, size);
    let mut reader = reader.take(size);
    out.append_data(&mut header, path, &mut reader)
        .with_context(|| format!("adding /{path} to the image"))?;
    let left = reader.limit();
    ensure!(
        left == 0,
        "/{path} of the overlay became smaller while it was read"
    );
    Ok(())
}

fn append_link<W: Write>(
    out: &mut tar::Builder<W>,
    path: &str,
    target: &str,
    mtime: u64,
) -> anyhow::Result<()> {
    let mut header = new_header(EntryType::Symlink, 0o777, mtime, 0);
    out.append_link(&mut header, path, target)
        .with_context(|| format!("adding the symlink /{path} to the image"))
}

fn new_header(kind: EntryType, mode: u32, mtime: u64, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(mtime);
    header.set_size(size);
    header
}

#[cfg(test)]
#[path = "compose_tests.rs"]
mod tests;
