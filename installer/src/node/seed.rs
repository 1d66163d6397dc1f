//! Copies what the image has in a folder that is writable on the node.
//!
//! In: two folders. Out: everything of the first in the second too, with owner and mode; what
//! was in the second alone stays.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::Context as _;

/// What happens to files that are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// They stay.
    Keep,
    /// The image's content replaces theirs.
    Replace,
}

/// Copies files, folders and symlinks; `skip` says which paths, relative to the top, are left
/// out with all that is in them.
pub fn copy(
    from: &Path,
    to: &Path,
    existing: Existing,
    skip: &dyn Fn(&Path) -> bool,
) -> anyhow::Result<()> {
    copy_dir(from, to, Path::new(""), existing, skip)
}

fn copy_dir(
    from: &Path,
    to: &Path,
    below: &Path,
    existing: Existing,
    skip: &dyn Fn(&Path) -> bool,
) -> anyhow::Result<()> {
    let source = from.join(below);
    let entries = fs::read_dir(&source)
        .with_context(|| format!("reading the folder {}", source.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("reading the folder {}", source.display()))?;
        let path = below.join(entry.file_name());
        if skip(&path) {
            continue;
        }
        copy_entry(from, to, &path, existing)
            .with_context(|| format!("copying {}", from.join(&path).display()))?;
        if entry.file_type()?.is_dir() && !to.join(&path).is_symlink() {
            copy_dir(from, to, &path, existing, skip)?;
        }
    }
    Ok(())
}

fn copy_entry(from: &Path, to: &Path, path: &Path, existing: Existing) -> anyhow::Result<()> {
    let (source, target) = (from.join(path), to.join(path));
    let meta = source.symlink_metadata()?;
    if let Ok(old) = target.symlink_metadata() {
        if existing == Existing::Keep || !old.is_file() || !meta.is_file() {
            return Ok(());
        }
        fs::remove_file(&target)?;
    }
    let kind = meta.file_type();
    if kind.is_dir() {
        fs::create_dir(&target)?;
    } else if kind.is_symlink() {
        std::os::unix::fs::symlink(fs::read_link(&source)?, &target)?;
    } else if kind.is_file() {
        fs::copy(&source, &target)?;
    } else if kind.is_fifo() || kind.is_socket() || kind.is_char_device() || kind.is_block_device()
    {
        return Ok(());
    }
    std::os::unix::fs::lchown(&target, Some(meta.uid()), Some(meta.gid()))?;
    if !kind.is_symlink() {
        fs::set_permissions(&target, fs::Permissions::from_mode(meta.mode() & 0o7777))?;
    }
    Ok(())
}

/// Gives `to` the owner and mode of `from`.
pub fn copy_attributes(from: &Path, to: &Path) -> anyhow::Result<()> {
    let doing = || {
        format!(
            "giving {} the owner and mode of {}",
            to.display(),
            from.display()
        )
    };
    let meta = from.metadata().with_context(doing)?;
    std::os::unix::fs::chown(to, Some(meta.uid()), Some(meta.gid())).with_context(doing)?;
    fs::set_permissions(to, fs::Permissions::from_mode(meta.mode() & 0o7777)).with_context(doing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_stays_and_what_is_missing_comes() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("image"), dir.path().join("node"));
        fs::create_dir_all(from.join("lib/a")).unwrap();
        fs::create_dir_all(from.join("cache/big")).unwrap();
        fs::create_dir_all(to.join("lib")).unwrap();
        fs::write(from.join("lib/kept"), "image").unwrap();
        fs::write(from.join("lib/a/new"), "image").unwrap();
        fs::set_permissions(from.join("lib/a/new"), fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink("/run/lock", from.join("lock")).unwrap();
        fs::write(to.join("lib/kept"), "node").unwrap();
        let skip = |path: &Path| path == Path::new("cache");
        copy(&from, &to, Existing::Keep, &skip).unwrap();
        assert_eq!(fs::read_to_string(to.join("lib/kept")).unwrap(), "node");
        assert_eq!(fs::read_to_string(to.join("lib/a/new")).unwrap(), "image");
        assert_eq!(
            to.join("lib/a/new").metadata().unwrap().mode() & 0o7777,
            0o600
        );
        assert_eq!(
            fs::read_link(to.join("lock")).unwrap(),
            Path::new("/run/lock")
        );
        assert!(!to.join("cache").exists());
        copy(&from, &to, Existing::Replace, &skip).unwrap();
        assert_eq!(fs::read_to_string(to.join("lib/kept")).unwrap(), "image");
    }
}
