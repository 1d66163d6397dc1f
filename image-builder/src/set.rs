//! The image set: the folder that an install reads and that lies on the media.
//!
//! In: slot image, boot files and the initrd's overlay. Out: a folder with `manifest.json`
//! (ARCHITECTURE.md, "The image set") in which every file is named with its digest.

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use harrow::image::manifest::{
    self, BootFiles, FileEntry, Flavor, ImageManifest, MANIFEST_NAME, SlotImage,
};
use sha2::{Digest as _, Sha256};

use crate::cpio;
use crate::overlay::{Entry, Node};
use crate::rootfs::Rootfs;
use crate::slot::Slot;

/// A finished image set.
#[derive(Debug, Clone)]
pub struct ImageSet {
    /// Its folder.
    pub dir: PathBuf,
    /// What is in it.
    pub manifest: ImageManifest,
}

/// What the manifest says about the image as a whole.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Version of Harrow.
    pub version: String,
    /// Flavor of the image.
    pub flavor: Flavor,
    /// When it was built, RFC 3339 in UTC.
    pub created: String,
    /// Distribution and suite.
    pub base: String,
    /// `created` in seconds since 1970.
    pub epoch: u64,
    /// Of flavor `full`: artifacts that are not inside, by the addon or CNI that needs them.
    pub lacks: BTreeMap<String, Vec<String>>,
}

/// Writes the image set into `dir`. What was there is removed first; the new one takes its place
/// when it is whole.
pub fn build(
    dir: &Path,
    rootfs: &Rootfs,
    slot: &Slot,
    initrd_overlay: &[Entry],
    identity: &Identity,
) -> anyhow::Result<ImageSet> {
    check_initrd_overlay(initrd_overlay)?;
    if dir.exists() {
        std::fs::remove_dir_all(dir).with_context(|| format!("removing {}", dir.display()))?;
    }
    let parent = dir.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
    let work = tempfile::Builder::new()
        .prefix(".image-")
        .permissions(Permissions::from_mode(0o755))
        .tempdir_in(parent)
        .with_context(|| format!("creating a folder in {}", parent.display()))?;
    let manifest = write(work.path(), rootfs, slot, initrd_overlay, identity)?;
    let work = work.keep();
    std::fs::rename(&work, dir)
        .with_context(|| format!("renaming {} to {}", work.display(), dir.display()))?;
    Ok(ImageSet {
        dir: dir.to_owned(),
        manifest,
    })
}

fn write(
    dir: &Path,
    rootfs: &Rootfs,
    slot: &Slot,
    initrd_overlay: &[Entry],
    identity: &Identity,
) -> anyhow::Result<ImageManifest> {
    let base = rootfs.boot.join("initrd.img");
    let base = std::fs::read(&base).with_context(|| format!("reading {}", base.display()))?;
    let initrd = extend_initrd(base, initrd_overlay, identity.epoch)?;
    let initrd_path = dir.join("initrd.img");
    std::fs::write(&initrd_path, initrd)
        .with_context(|| format!("writing {}", initrd_path.display()))?;

    let boot = |name: &str| place(&rootfs.boot.join(name), dir, name);
    let manifest = ImageManifest {
        schema: manifest::SCHEMA,
        version: identity.version.clone(),
        flavor: identity.flavor,
        created: identity.created.clone(),
        kernel_release: rootfs.kernel_release.clone(),
        base: identity.base.clone(),
        slot: SlotImage {
            file: place(&slot.path, dir, "slot.img")?,
            verity: slot.verity.clone(),
        },
        boot: BootFiles {
            kernel: boot("vmlinuz")?,
            initrd: describe(&initrd_path, "initrd.img")?,
            shim: boot("shimx64.efi")?,
            grub: boot("grubx64.efi")?,
            mok_manager: boot("mmx64.efi")?,
            bios_boot: boot("boot.img")?,
            bios_core: boot("core.img")?,
        },
        lacks: identity.lacks.clone(),
    };
    let text = manifest.render()?;
    let path = dir.join(MANIFEST_NAME);
    std::fs::write(&path, &text).with_context(|| format!("writing {}", path.display()))?;
    ImageManifest::parse(&text).context("the manifest that was just written")?;
    Ok(manifest)
}

/// The initrd that dracut made, followed by an archive of our own files.
fn extend_initrd(mut initrd: Vec<u8>, overlay: &[Entry], epoch: u64) -> anyhow::Result<Vec<u8>> {
    let mtime = u32::try_from(epoch).context("the build's date is too late for a cpio archive")?;
    cpio::pad(&mut initrd);
    if !overlay.is_empty() {
        initrd.extend_from_slice(&cpio::write(overlay, mtime)?);
    }
    Ok(initrd)
}

/// In the initrd these are symlinks into /usr; a folder in their place would remove them, and
/// with them the dynamic linker.
fn check_initrd_overlay(overlay: &[Entry]) -> anyhow::Result<()> {
    for entry in overlay {
        if entry.node == Node::Dir
            && ["bin", "lib", "lib64", "sbin", "var/run", "var/lock"].contains(&entry.path.as_str())
        {
            bail!(
                "the initrd's overlay has a folder /{0}, which is a symlink in the initrd: use /usr/{0}",
                entry.path
            );
        }
    }
    Ok(())
}

/// Copies a file of the cache into the set. It is no link: what a person or a test does to the
/// set must not get into the next build.
fn place(source: &Path, dir: &Path, name: &str) -> anyhow::Result<FileEntry> {
    let target = dir.join(name);
    std::fs::copy(source, &target)
        .with_context(|| format!("copying {} to {}", source.display(), target.display()))?;
    describe(&target, name)
}

/// Size and digest of a file.
pub fn describe(path: &Path, name: &str) -> anyhow::Result<FileEntry> {
    let mut file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let mut hash = Sha256::new();
    let mut size = 0;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file
            .read(&mut buffer)
            .with_context(|| format!("reading {}", path.display()))?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
        size += count as u64;
    }
    Ok(FileEntry {
        name: name.to_owned(),
        size,
        sha256: hex::encode(hash.finalize()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use harrow::image::manifest::Verity;

    #[test]
    fn the_set_has_every_file_of_its_manifest() {
        let dir = tempfile::tempdir().unwrap();
        let boot = dir.path().join("boot");
        std::fs::create_dir(&boot).unwrap();
        for name in [
            "vmlinuz",
            "initrd.img",
            "shimx64.efi",
            "grubx64.efi",
            "mmx64.efi",
            "boot.img",
            "core.img",
        ] {
            std::fs::write(boot.join(name), name).unwrap();
        }
        let slot = dir.path().join("slot.img");
        std::fs::write(&slot, vec![0; 3 * 4096]).unwrap();
        let verity = Verity {
            root_hash: "a".repeat(64),
            salt: "00".into(),
            uuid: uuid::Uuid::nil(),
            hash_offset: 4096,
        };
        let rootfs = Rootfs {
            key: "k".into(),
            tar: dir.path().join("base.tar"),
            boot,
            kernel_release: "6.12".into(),
        };
        let identity = Identity {
            version: "1".into(),
            flavor: Flavor::Net,
            created: "2026-01-01T00:00:00Z".into(),
            base: "debian trixie".into(),
            epoch: 1,
            lacks: BTreeMap::new(),
        };
        let out = dir.path().join("image");
        std::fs::create_dir(&out).unwrap();
        std::fs::write(out.join("stale"), "x").unwrap();
        let overlay = [Entry::bytes("etc/x", "y")];
        let set = build(
            &out,
            &rootfs,
            &Slot { path: slot, verity },
            &overlay,
            &identity,
        )
        .unwrap();
        let mut names: Vec<String> = set.manifest.files().map(|f| f.name.clone()).collect();
        names.push(MANIFEST_NAME.into());
        names.sort_unstable();
        let mut found: Vec<String> = std::fs::read_dir(&out)
            .unwrap()
            .map(|i| i.unwrap().file_name().into_string().unwrap())
            .collect();
        found.sort_unstable();
        assert_eq!(found, names);
        for file in set.manifest.files() {
            assert_eq!(&describe(&out.join(&file.name), &file.name).unwrap(), file);
        }
        let initrd = std::fs::read(out.join("initrd.img")).unwrap();
        assert_eq!(&initrd[..18], b"initrd.img\0\x00070701");
    }

    #[test]
    fn folders_that_would_hide_the_initrds_symlinks_are_refused() {
        for (path, good) in [
            ("lib", false),
            ("sbin", false),
            ("usr", true),
            ("etc", true),
        ] {
            let entry = Entry {
                path: path.into(),
                node: Node::Dir,
            };
            assert_eq!(check_initrd_overlay(&[entry]).is_ok(), good, "{path}");
        }
    }
}
