//! A payload folder out of a store.
//!
//! In: a [`LockedBundle`], a [`Store`] that has what is wanted, a folder's path. Out: the folder, whole
//! or as it was: it is made beside its place and takes it at the end. Archives, charts and manifests
//! are hard links to the store's files, or copies on another file system; nothing is unpacked but RKE2's tarball.

use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use flate2::read::GzDecoder;
use tar::EntryType;

use super::{
    ArtifactKind, Content, Digest, LockedArtifact, LockedBundle, LockedImage, PAYLOAD_NAME,
    Payload, PayloadItem, SCHEMA, Store, Wanted, archive,
};
use crate::failure::{Failure, Kind};

/// The most that RKE2's tarball may unpack to, in bytes; releases have a tenth of that.
const TARBALL_LIMIT: u64 = 4 << 30;
/// What the folders beside a payload's are called: the next one, and the one before.
const FRESH: &str = "new";
const OLD: &str = "old";
/// What makes the tarball RKE2's.
const RKE2_PROGRAM: &str = "bin/rke2";

/// Lays out what is wanted as the folder `dest`, in place of what is there.
pub fn lay_out(
    locked: &LockedBundle,
    store: &Store,
    dest: &Path,
    wanted: &Wanted,
) -> anyhow::Result<Payload> {
    let artifacts = locked.wanted(wanted)?;
    clear_beside(dest)?;
    let fresh = beside(dest, FRESH)?;
    let old = beside(dest, OLD)?;
    for sub in ["images", "charts", "manifests", "bin"] {
        let path = fresh.join(sub);
        fs::create_dir_all(&path).with_context(|| format!("creating {}", path.display()))?;
    }
    let mut payload = Payload {
        schema: SCHEMA,
        artifacts: Vec::new(),
    };
    for artifact in artifacts {
        let item = lay_down(artifact, store, &fresh)
            .with_context(|| format!("{} {}", artifact.name, artifact.version))?;
        payload.artifacts.push(item);
    }
    payload.artifacts.sort_by(|a, b| a.name.cmp(&b.name));
    // A power cut must not leave the list without what it lists.
    sync(&fresh)?;
    let list = fresh.join(PAYLOAD_NAME);
    fs::write(&list, payload.render()?).with_context(|| format!("writing {}", list.display()))?;
    sync(&fresh)?;
    let context = || format!("putting {} in its place", dest.display());
    if dest.symlink_metadata().is_ok() {
        fs::rename(dest, &old).with_context(context)?;
    }
    fs::rename(&fresh, dest).with_context(context)?;
    sync(dest)?;
    clear(&old)?;
    Ok(payload)
}

/// Takes away what a payload folder was made in, and the one before it, after a power cut.
pub fn clear_beside(dest: &Path) -> anyhow::Result<()> {
    for what in [FRESH, OLD] {
        clear(&beside(dest, what)?)?;
    }
    Ok(())
}

fn beside(dest: &Path, what: &str) -> anyhow::Result<PathBuf> {
    let name = dest.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| anyhow!("{} has no name", dest.display()))?;
    Ok(dest.with_file_name(format!(".{name}.{what}")))
}

/// Everything on the folder's file system.
fn sync(dir: &Path) -> anyhow::Result<()> {
    let synced = File::open(dir).and_then(|dir| Ok(rustix::fs::syncfs(&dir)?));
    synced.map_err(|e| Failure::of_write(e, format!("writing {}", dir.display())))
}

fn clear(path: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn lay_down(artifact: &LockedArtifact, store: &Store, dest: &Path) -> anyhow::Result<PayloadItem> {
    let (sha256, images) = match &artifact.content {
        Content::File(file) => (file.sha256, Vec::new()),
        Content::Images(images) => (archive::make(store, images)?, sorted(images)),
    };
    let size = store.size_of(sha256).ok_or_else(|| {
        Failure::error(
            Kind::ArtifactUnreachable,
            format!("{sha256} was not fetched"),
            "`harrow-build bundle fetch` fetches it",
        )
    })?;
    let path = artifact.kind.path(&artifact.name);
    let target = dest.join(&path);
    match artifact.kind {
        ArtifactKind::Rke2 => unpack(store.reader(sha256)?, &target)?,
        // A link has the mode of the store's file, which nobody shall run.
        ArtifactKind::Program => {
            copy(&store.path_of(sha256), &target)?;
            let mode = Permissions::from_mode(0o755);
            let set = fs::set_permissions(&target, mode);
            set.with_context(|| format!("making {} a program", target.display()))?;
        }
        _ => link(&store.path_of(sha256), &target)?,
    }
    Ok(PayloadItem {
        name: artifact.name.clone(),
        kind: artifact.kind,
        version: artifact.version.clone(),
        only_with: artifact.only_with.clone(),
        path,
        sha256,
        size,
        images,
    })
}

fn sorted(images: &[LockedImage]) -> Vec<LockedImage> {
    let mut images = images.to_vec();
    images.sort_by(|a, b| a.image.cmp(&b.image));
    images
}

fn link(from: &Path, to: &Path) -> anyhow::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => Ok(()),
        Err(_) => copy(from, to),
    }
}

/// The kernel shares the blocks where the file system can.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let copied = fs::copy(from, to).map(drop);
    copied.map_err(|e| Failure::of_write(e, format!("writing {}", to.display())))
}

/// Unpacks RKE2's tarball: plain files and folders, all of them inside `dest`.
fn unpack(tarball: impl Read, dest: &Path) -> anyhow::Result<()> {
    let unpacked = unpack_all(tarball, dest);
    let program = dest.join(RKE2_PROGRAM);
    let checked = unpacked.and_then(|()| match program.is_file() {
        true => Ok(()),
        false => bail!("it holds no {RKE2_PROGRAM}"),
    });
    checked.map_err(|error| match Failure::of(&error) {
        Some(_) => error,
        None => Failure::error(
            Kind::ArtifactDamaged,
            format!("this is not RKE2's tarball: {error:#}"),
            "its digest is the pinned one, so the pin is of another file",
        ),
    })
}

fn unpack_all(tarball: impl Read, dest: &Path) -> anyhow::Result<()> {
    let mut left = TARBALL_LIMIT;
    let mut archive = tar::Archive::new(GzDecoder::new(tarball));
    for entry in archive.entries()? {
        let mut entry = entry.context("it is cut short")?;
        let path = entry.path()?.into_owned();
        let target = inside(dest, &path)?;
        let header = entry.header();
        let mode = match header.mode()? & 0o111 {
            0 => 0o644,
            _ => 0o755,
        };
        match header.entry_type() {
            EntryType::Directory => create_folder(&target)?,
            EntryType::Regular | EntryType::Continuous => {
                let size = entry.size();
                left = left
                    .checked_sub(size)
                    .ok_or_else(|| anyhow!("it unpacks to more than {TARBALL_LIMIT} bytes"))?;
                if let Some(folder) = target.parent() {
                    create_folder(folder)?;
                }
                let failed = |e| Failure::of_write(e, format!("writing {}", target.display()));
                let mut file = File::options()
                    .write(true)
                    .create_new(true)
                    .open(&target)
                    .map_err(failed)?;
                let copied = io::copy(&mut entry, &mut file)
                    .with_context(|| format!("unpacking {}", path.display()))?;
                if copied != size {
                    bail!("it is cut short in {}", path.display());
                }
                file.set_permissions(Permissions::from_mode(mode))
                    .map_err(failed)?;
            }
            EntryType::XGlobalHeader => {}
            other => bail!("{} is neither file nor folder ({other:?})", path.display()),
        }
    }
    // What follows the tar's end holds the checksum.
    io::copy(&mut archive.into_inner(), &mut io::sink()).context("it is cut short")?;
    Ok(())
}

fn create_folder(path: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(path)
        .map_err(|e| Failure::of_write(e, format!("creating {}", path.display())))
}

/// A path of a tar below `dest`. Links are not unpacked, so none can lead out again.
fn inside(dest: &Path, path: &Path) -> anyhow::Result<PathBuf> {
    let mut target = dest.to_owned();
    for part in path.components() {
        match part {
            Component::Normal(part) => target.push(part),
            Component::CurDir => {}
            _ => bail!("{} leads out of the folder", path.display()),
        }
    }
    Ok(target)
}

/// The digests of the store that a bundle still needs, with the archives but without the images
/// that they were made of.
pub fn needed(locked: &LockedBundle, store: &Store) -> std::collections::BTreeSet<Digest> {
    let all = locked.artifacts.iter();
    let all = all.filter_map(|artifact| match &artifact.content {
        Content::File(file) => Some(file.sha256),
        Content::Images(images) => archive::find(store, images),
    });
    all.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tarball(entries: &[(&str, EntryType, u32)]) -> Vec<u8> {
        let gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut tar = tar::Builder::new(gz);
        for (path, kind, mode) in entries {
            let mut header = tar::Header::new_gnu();
            // Not by `set_path`, which refuses what shall be refused here.
            header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(*mode);
            let content = match kind {
                EntryType::Regular => path.repeat(100),
                _ => String::new(),
            };
            header.set_size(content.len() as u64);
            if *kind == EntryType::Symlink {
                header.set_link_name("/etc").unwrap();
            }
            header.set_cksum();
            tar.append(&header, content.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap()
    }

    fn unpacked(bytes: &[u8]) -> (tempfile::TempDir, anyhow::Result<()>) {
        let dir = tempfile::tempdir().unwrap();
        let result = unpack(bytes, &dir.path().join("rke2"));
        (dir, result)
    }

    const FILE: EntryType = EntryType::Regular;

    #[test]
    fn the_tarball_is_unpacked_with_its_programs() {
        let good = tarball(&[
            ("./", EntryType::Directory, 0o755),
            ("bin/rke2", FILE, 0o4755),
            ("share/rke2/LICENSE.txt", FILE, 0o600),
        ]);
        let (dir, result) = unpacked(&good);
        result.unwrap();
        let mode = |path: &str| {
            let found = fs::metadata(dir.path().join("rke2").join(path)).unwrap();
            found.permissions().mode() & 0o7777
        };
        assert_eq!(mode("bin/rke2"), 0o755, "no setuid");
        assert_eq!(mode("share/rke2/LICENSE.txt"), 0o644);
    }

    #[test]
    fn nothing_leaves_its_folder() {
        for (path, kind, why) in [
            ("../bin/rke2", FILE, "leads out"),
            ("bin/../../x", FILE, "leads out"),
            ("/etc/passwd", FILE, "leads out"),
            ("bin", EntryType::Symlink, "neither file nor folder"),
            ("bin/rke2", EntryType::Link, "neither file nor folder"),
            ("dev", EntryType::Char, "neither file nor folder"),
            ("bin/other", FILE, "holds no bin/rke2"),
        ] {
            let (dir, result) = unpacked(&tarball(&[(path, kind, 0o755)]));
            let error = result.unwrap_err();
            assert_eq!(Failure::of(&error).unwrap().kind, Kind::ArtifactDamaged);
            assert!(error.to_string().contains(why), "{path}: {error}");
            let there = fs::read_dir(dir.path()).unwrap();
            assert!(there.count() <= 1, "only the folder itself");
        }
    }

    #[test]
    fn a_tarball_cut_short_is_damaged() {
        let whole = tarball(&[("bin/rke2", FILE, 0o755), ("x", FILE, 0o644)]);
        for length in [0, 10, whole.len() / 2, whole.len() - 4] {
            let error = unpacked(&whole[..length]).1.unwrap_err();
            assert!(
                error.to_string().contains("not RKE2's"),
                "{length}: {error}"
            );
        }
    }
}
