//! The slot image: squashfs of the composed system with its dm-verity hash tree.
//!
//! In: a [`Rootfs`], what is laid over it, and the recipe. Out: a [`Slot`] in the cache, found
//! again by a digest of everything that went in, so an unchanged system is not packed twice.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use harrow::image::manifest::Verity;
use harrow::image::verity::{self, Params};
use sha2::{Digest as _, Sha256};

use crate::compose::Composition;
use crate::overlay::{self, Entry};
use crate::recipe::Image;
use crate::room;
use crate::rootfs::Rootfs;
use crate::squashfs;

/// Increased when this module does something else with the same inputs.
const CACHE_VERSION: u32 = 1;

/// A finished slot image.
#[derive(Debug, Clone)]
pub struct Slot {
    /// The file.
    pub path: PathBuf,
    /// Its dm-verity parameters.
    pub verity: Verity,
}

/// Takes the slot image from the cache or makes it. The second value is whether it was made.
/// `epoch` becomes every timestamp inside, in seconds since 1970.
pub fn build(
    rootfs: &Rootfs,
    overlay: &[Entry],
    image: &Image,
    cache: &Path,
    epoch: u64,
) -> anyhow::Result<(Slot, bool)> {
    let key = cache_key(rootfs, overlay, image, epoch)?;
    let dir = cache.join(format!("slot-{}", hex::encode(&key[..8])));
    let parameters = dir.join("verity.json");
    if dir.is_dir() {
        let text = std::fs::read(&parameters)
            .with_context(|| format!("reading {}", parameters.display()))?;
        let verity = serde_json::from_slice(&text)
            .with_context(|| format!("reading {}", parameters.display()))?;
        return Ok((
            Slot {
                path: dir.join("slot.img"),
                verity,
            },
            false,
        ));
    }
    room::check(
        "packing the slot image",
        &[(cache, estimate(rootfs, overlay)?)],
    )?;
    let work = tempfile::Builder::new()
        .prefix(".slot-")
        .tempdir_in(cache)
        .with_context(|| format!("creating a folder in {}", cache.display()))?;
    let path = work.path().join("slot.img");
    let what = Composition {
        exclude: &image.exclude,
        overlay,
        mtime: epoch,
    };
    squashfs::write(&rootfs.tar, &path, &what, image.compression_level)?;
    let verity = seal(&path, &key)?;
    let text = serde_json::to_vec_pretty(&verity).context("writing the slot's parameters")?;
    std::fs::write(work.path().join("verity.json"), text)
        .context("writing the slot's parameters")?;
    // One slot image is kept: the next build needs this one or a new one.
    remove_others(cache)?;
    let work = work.keep();
    std::fs::rename(&work, &dir)
        .with_context(|| format!("renaming {} to {}", work.display(), dir.display()))?;
    Ok((
        Slot {
            path: dir.join("slot.img"),
            verity,
        },
        true,
    ))
}

/// What packing takes at most, in bytes: the base becomes half as large or less, archives stay as
/// they are, and with them the system is unpacked for a while.
fn estimate(rootfs: &Rootfs, overlay: &[Entry]) -> anyhow::Result<u64> {
    let base = std::fs::metadata(&rootfs.tar)
        .with_context(|| format!("looking at {}", rootfs.tar.display()))?
        .len();
    let archives: Vec<u64> = squashfs::archives(overlay).map(|(_, a)| a.size).collect();
    let unpacked = if archives.is_empty() { 0 } else { base };
    Ok(base / 2 + unpacked + archives.iter().sum::<u64>())
}

fn cache_key(
    rootfs: &Rootfs,
    overlay: &[Entry],
    image: &Image,
    epoch: u64,
) -> anyhow::Result<[u8; 32]> {
    let base = std::fs::metadata(&rootfs.tar)
        .with_context(|| format!("looking at {}", rootfs.tar.display()))?;
    // A refreshed base has the same key but another time.
    let made = base
        .modified()
        .with_context(|| format!("looking at {}", rootfs.tar.display()))?;
    let mut hash = Sha256::new();
    hash.update(format!(
        "{CACHE_VERSION} {} {made:?} {} {epoch}",
        rootfs.key, image.compression_level
    ));
    for pattern in &image.exclude {
        hash.update(format!(" {}:{pattern}", pattern.len()));
    }
    hash.update(overlay::digest(overlay)?);
    Ok(hash.finalize().into())
}

fn remove_others(cache: &Path) -> anyhow::Result<()> {
    for item in std::fs::read_dir(cache).with_context(|| format!("reading {}", cache.display()))? {
        let item = item.with_context(|| format!("reading {}", cache.display()))?;
        if item.file_name().as_encoded_bytes().starts_with(b"slot-") {
            std::fs::remove_dir_all(item.path())
                .with_context(|| format!("removing {}", item.path().display()))?;
        }
    }
    Ok(())
}

/// Appends the hash tree. Salt and UUID follow from the inputs, so equal inputs make equal
/// images.
fn seal(path: &Path, key: &[u8; 32]) -> anyhow::Result<Verity> {
    let mut file = File::options()
        .read(true)
        .write(true)
        .open(path)
        .with_context(|| format!("opening {}", path.display()))?;
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&Sha256::digest(key)[..16]);
    let params = Params {
        salt: key.to_vec(),
        uuid: uuid::Builder::from_custom_bytes(uuid).into_uuid(),
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    verity::append_tree(&mut file, &params, threads)
        .context("making the hash tree of the slot image")
}

#[cfg(test)]
mod tests {
    use super::*;
    use harrow::sys::cmd::Cmd;

    fn sample(dir: &Path) -> (Rootfs, Image) {
        let mut tar = tar::Builder::new(File::create(dir.join("base.tar")).unwrap());
        let mut header = tar::Header::new_gnu();
        header.set_size(5);
        header.set_mode(0o644);
        tar.append_data(&mut header, "etc-file", &b"hello"[..])
            .unwrap();
        tar.into_inner().unwrap();
        let rootfs = Rootfs {
            key: "k".into(),
            tar: dir.join("base.tar"),
            boot: dir.join("boot"),
            kernel_release: "6".into(),
        };
        (
            rootfs,
            Image {
                compression_level: 3,
                exclude: vec![],
            },
        )
    }

    #[test]
    fn the_image_is_cached_reproducible_and_verifies() {
        if Cmd::new("mksquashfs").arg("-version").run_any().is_err() {
            eprintln!("skipped: mksquashfs (package squashfs-tools) is not installed");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (rootfs, image) = sample(dir.path());
        let overlay = [Entry::bytes("usr/x", "1")];
        let (first, made) = build(&rootfs, &overlay, &image, dir.path(), 1_700_000_000).unwrap();
        assert!(made);
        let bytes = std::fs::read(&first.path).unwrap();
        verity::verify(&mut bytes.as_slice(), &first.verity).unwrap();
        let (again, made) = build(&rootfs, &overlay, &image, dir.path(), 1_700_000_000).unwrap();
        assert!(!made);
        assert_eq!(again.verity, first.verity);
        let list = Cmd::new("unsquashfs")
            .arg("-lls")
            .arg(&first.path)
            .run()
            .unwrap()
            .text();
        let root = list
            .lines()
            .find(|l| l.ends_with(" squashfs-root"))
            .unwrap();
        assert!(root.starts_with("drwxr-xr-x root/root "), "{root}");
        // Made again from the same inputs, it is the same to the byte.
        remove_others(dir.path()).unwrap();
        let (anew, made) = build(&rootfs, &overlay, &image, dir.path(), 1_700_000_000).unwrap();
        assert!(made);
        assert_eq!(std::fs::read(&anew.path).unwrap(), bytes);
        // Another overlay makes another image, and the old one is not kept.
        let (other, made) = build(
            &rootfs,
            &[Entry::bytes("usr/x", "2")],
            &image,
            dir.path(),
            1_700_000_000,
        )
        .unwrap();
        assert!(made);
        assert_ne!(other.verity.root_hash, first.verity.root_hash);
        assert!(!first.path.exists());
    }

    #[test]
    fn a_failure_of_the_overlay_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let (rootfs, image) = sample(dir.path());
        let error = build(
            &rootfs,
            &[Entry::bytes("etc-file/x", "1")],
            &image,
            dir.path(),
            1,
        )
        .unwrap_err();
        assert!(
            format!("{error:#}").contains("below /etc-file"),
            "{error:#}"
        );
    }
}
