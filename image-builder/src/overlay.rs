//! A folder of files that are laid over something else.
//!
//! In: a folder of the repository, such as `overlays/rootfs`. Out: its [`Entry`]s, sorted by
//! path, with the owner, modes and order that do not depend on the machine or the umask. The
//! README.md at the top describes the folder and is left out.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use harrow::bundle::Digest;
use sha2::{Digest as _, Sha256};

/// One file, folder or symlink; its owner is always 0:0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path relative to the top, without `./`.
    pub path: String,
    /// What it is.
    pub node: Node,
}

/// What an [`Entry`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A folder, mode 0755.
    Dir,
    /// A file: where its content is, and whether it is executable (0755) or not (0644).
    File {
        /// The content.
        content: Content,
        /// Whether its mode is 0755.
        executable: bool,
    },
    /// A symlink and its target.
    Symlink(String),
}

/// Where the bytes of a file come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A file of the build host.
    Path(PathBuf),
    /// These bytes.
    Bytes(Vec<u8>),
    /// A file of the build host that is packed already: it is stored as it is.
    Archive(Archive),
}

/// A file whose digest is known, so that it is not read to find out whether it changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// Where it is.
    pub path: PathBuf,
    /// Its digest.
    pub sha256: Digest,
    /// Its size in bytes.
    pub size: u64,
}

impl Content {
    /// A reader of all bytes, and how many they are.
    pub fn open(&self) -> anyhow::Result<(Box<dyn Read + '_>, u64)> {
        let path = match self {
            Self::Bytes(bytes) => return Ok((Box::new(bytes.as_slice()), bytes.len() as u64)),
            Self::Path(path) | Self::Archive(Archive { path, .. }) => path,
        };
        let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        let meta = file.metadata();
        let meta = meta.with_context(|| format!("looking at {}", path.display()))?;
        Ok((Box::new(file), meta.len()))
    }

    /// All bytes.
    pub fn read(&self) -> anyhow::Result<Vec<u8>> {
        match self {
            Self::Path(path) | Self::Archive(Archive { path, .. }) => {
                std::fs::read(path).with_context(|| format!("reading {}", path.display()))
            }
            Self::Bytes(bytes) => Ok(bytes.clone()),
        }
    }
}

impl Entry {
    /// A file made of bytes.
    pub fn bytes(path: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            path: path.to_owned(),
            node: Node::File {
                content: Content::Bytes(bytes.into()),
                executable: false,
            },
        }
    }

    /// An executable file of the build host.
    pub fn program(path: &str, source: &Path) -> Self {
        Self {
            path: path.to_owned(),
            node: Node::File {
                content: Content::Path(source.to_owned()),
                executable: true,
            },
        }
    }

    /// Type and permission bits, as in `st_mode`.
    pub fn mode(&self) -> u32 {
        match &self.node {
            Node::Dir => 0o040_755,
            Node::File {
                executable: true, ..
            } => 0o100_755,
            Node::File {
                executable: false, ..
            } => 0o100_644,
            Node::Symlink(_) => 0o120_777,
        }
    }
}

/// Everything below `top`, sorted by path, folders before what is in them. A folder that does
/// not exist is an error.
pub fn read_dir(top: &Path) -> anyhow::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    walk(top, "", &mut entries)?;
    entries.retain(|e| e.path != "README.md");
    Ok(entries)
}

fn walk(dir: &Path, prefix: &str, entries: &mut Vec<Entry>) -> anyhow::Result<()> {
    let mut names = Vec::new();
    for item in
        std::fs::read_dir(dir).with_context(|| format!("reading the folder {}", dir.display()))?
    {
        let item = item.with_context(|| format!("reading the folder {}", dir.display()))?;
        match item.file_name().into_string() {
            Ok(name) => names.push(name),
            Err(name) => bail!("{}: the name {name:?} is not UTF-8", dir.display()),
        }
    }
    names.sort_unstable();
    for name in names {
        let source = dir.join(&name);
        let path = if prefix.is_empty() {
            name
        } else {
            format!("{prefix}/{name}")
        };
        let meta = std::fs::symlink_metadata(&source)
            .with_context(|| format!("looking at {}", source.display()))?;
        if meta.is_dir() {
            entries.push(Entry {
                path: path.clone(),
                node: Node::Dir,
            });
            walk(&source, &path, entries)?;
        } else if meta.is_symlink() {
            let target = std::fs::read_link(&source)
                .with_context(|| format!("reading the symlink {}", source.display()))?;
            let Some(target) = target.to_str() else {
                bail!("{}: the symlink's target is not UTF-8", source.display());
            };
            entries.push(Entry {
                path,
                node: Node::Symlink(target.to_owned()),
            });
        } else if meta.is_file() {
            let executable = meta.permissions().mode() & 0o100 != 0;
            let node = Node::File {
                content: Content::Path(source),
                executable,
            };
            entries.push(Entry { path, node });
        } else {
            bail!(
                "{}: neither a file, a folder nor a symlink",
                source.display()
            );
        }
    }
    Ok(())
}

/// A digest of the entries with their contents: equal digests make equal images.
pub fn digest(entries: &[Entry]) -> anyhow::Result<[u8; 32]> {
    let mut hash = Sha256::new();
    for entry in entries {
        hash.update(entry.path.as_bytes());
        hash.update([0]);
        hash.update(entry.mode().to_le_bytes());
        match &entry.node {
            Node::Dir => hash.update(0u64.to_le_bytes()),
            Node::File { content, .. } => update(&mut hash, content)
                .with_context(|| format!("hashing the overlay's /{}", entry.path))?,
            Node::Symlink(target) => {
                hash.update((target.len() as u64).to_le_bytes());
                hash.update(target);
            }
        }
    }
    Ok(hash.finalize().into())
}

/// Length and bytes, or the digest where that is known.
fn update(hash: &mut Sha256, content: &Content) -> anyhow::Result<()> {
    if let Content::Archive(archive) = content {
        hash.update(archive.size.to_le_bytes());
        hash.update(archive.sha256.to_string());
        return Ok(());
    }
    let (mut reader, size) = content.open()?;
    hash.update(size.to_le_bytes());
    let mut buffer = vec![0; 128 << 10];
    let mut left = size;
    loop {
        let count = reader.read(&mut buffer)?;
        if count == 0 {
            ensure!(left == 0, "it became smaller while it was read");
            return Ok(());
        }
        let fits = left.checked_sub(count as u64);
        left = fits.context("it grew while it was read")?;
        hash.update(&buffer[..count]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let at = |p: &str| dir.path().join(p);
        std::fs::create_dir_all(at("usr/lib/b")).unwrap();
        std::fs::write(at("README.md"), "about").unwrap();
        std::fs::write(at("usr/lib/b/README.md"), "stays").unwrap();
        std::fs::write(at("usr/lib/a.conf"), "a=1\n").unwrap();
        std::fs::write(at("usr/lib/run"), "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(at("usr/lib/run"), std::fs::Permissions::from_mode(0o700))
            .unwrap();
        std::fs::set_permissions(at("usr/lib/a.conf"), std::fs::Permissions::from_mode(0o600))
            .unwrap();
        std::os::unix::fs::symlink("../lib/a.conf", at("usr/link")).unwrap();
        dir
    }

    #[test]
    fn entries_are_sorted_and_modes_are_those_of_git() {
        let dir = sample();
        let seen: Vec<(String, u32)> = read_dir(dir.path())
            .unwrap()
            .iter()
            .map(|e| (e.path.clone(), e.mode()))
            .collect();
        let want = [
            ("usr", 0o040_755),
            ("usr/lib", 0o040_755),
            ("usr/lib/a.conf", 0o100_644),
            ("usr/lib/b", 0o040_755),
            ("usr/lib/b/README.md", 0o100_644),
            ("usr/lib/run", 0o100_755),
            ("usr/link", 0o120_777),
        ];
        assert_eq!(seen, want.map(|(p, m)| (p.to_owned(), m)));
    }

    #[test]
    fn the_digest_sees_names_modes_and_contents() {
        let dir = sample();
        let of = || digest(&read_dir(dir.path()).unwrap()).unwrap();
        let mut seen = vec![of()];
        assert_eq!(of(), seen[0]);
        std::fs::write(dir.path().join("usr/lib/a.conf"), "a=2\n").unwrap();
        seen.push(of());
        std::fs::set_permissions(
            dir.path().join("usr/lib/run"),
            std::fs::Permissions::from_mode(0o600),
        )
        .unwrap();
        seen.push(of());
        std::fs::rename(
            dir.path().join("usr/lib/run"),
            dir.path().join("usr/lib/ran"),
        )
        .unwrap();
        seen.push(of());
        let mut unique = seen.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), seen.len());
    }

    #[test]
    fn a_missing_folder_is_named() {
        let error = read_dir(Path::new("/no/such/overlay")).unwrap_err();
        assert!(format!("{error:#}").contains("/no/such/overlay"));
    }
}
