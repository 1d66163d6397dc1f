//! `manifest.json` of an image set: what is in it, how large, with which digests.
//!
//! In: the file's bytes. Out: [`ImageManifest`]. Everything that an install writes is named
//! here with its sha256, so the manifest alone decides what is laid down.

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

/// Name of the manifest inside an image set.
pub const MANIFEST_NAME: &str = "manifest.json";

/// The version of the manifest's shape that this program reads and writes.
pub const SCHEMA: u32 = 1;

/// What an image set holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageManifest {
    /// Version of this file's shape, see [`SCHEMA`].
    pub schema: u32,
    /// Version of Harrow that built it.
    pub version: String,
    /// What is inside: the OS alone or with the platform.
    pub flavor: Flavor,
    /// When it was built, RFC 3339 in UTC; also the floor of the node's clock.
    pub created: String,
    /// Release of the kernel, as in `/lib/modules`.
    pub kernel_release: String,
    /// Distribution and suite of the base, such as `debian trixie`.
    pub base: String,
    /// The slot image.
    pub slot: SlotImage,
    /// The files that boot it.
    pub boot: BootFiles,
}

/// What a slot image contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flavor {
    /// The OS; RKE2 and images are fetched at first boot.
    Net,
    /// The OS with the whole platform.
    Full,
}

/// One file of the set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Name inside the image set's folder, without slashes.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
    /// sha256 in lower-case hex.
    pub sha256: String,
}

/// The slot image: squashfs, padding to 4096, dm-verity superblock and hash tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotImage {
    /// The file.
    pub file: FileEntry,
    /// Its dm-verity parameters.
    pub verity: Verity,
}

/// dm-verity parameters of a slot image (format version 1, sha256, 4096-byte blocks).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verity {
    /// Root hash in hex.
    pub root_hash: String,
    /// Salt in hex.
    pub salt: String,
    /// UUID in the superblock.
    pub uuid: uuid::Uuid,
    /// Where the superblock starts, in bytes; also the size of the data, padded.
    pub hash_offset: u64,
}

/// The files beside the slot image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootFiles {
    /// Linux, signed by the distribution.
    pub kernel: FileEntry,
    /// The initrd for live, PXE and installed boots.
    pub initrd: FileEntry,
    /// shim, signed by Microsoft (becomes `BOOTX64.EFI`).
    pub shim: FileEntry,
    /// GRUB for UEFI, signed by the distribution.
    pub grub: FileEntry,
    /// MokManager, signed by the distribution.
    pub mok_manager: FileEntry,
    /// GRUB's `boot.img`: the 440 bytes of boot code of the MBR.
    pub bios_boot: FileEntry,
    /// GRUB's core image for the BIOS boot partition.
    pub bios_core: FileEntry,
}

impl ImageManifest {
    /// Reads a manifest and checks what its types cannot.
    pub fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let manifest: Self = serde_json::from_slice(bytes).context("reading manifest.json")?;
        if manifest.schema != SCHEMA {
            bail!(
                "manifest.json has schema {}, this program reads {SCHEMA}: take an image and an installer of the same release",
                manifest.schema
            );
        }
        for file in manifest.files() {
            check_name(file)?;
            check_hex("sha256", &file.name, &file.sha256, 64)?;
            if file.size == 0 {
                bail!("manifest.json: {} has no bytes", file.name);
            }
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || ".+-_~".contains(c);
        if manifest.version.is_empty()
            || manifest.version.len() > 64
            || !manifest.version.chars().all(plain)
        {
            bail!("manifest.json: the version is not up to 64 letters, digits or any of .+-_~");
        }
        let verity = &manifest.slot.verity;
        check_hex("root_hash", &manifest.slot.file.name, &verity.root_hash, 64)?;
        if !verity.hash_offset.is_multiple_of(4096) || verity.hash_offset >= manifest.slot.file.size
        {
            bail!(
                "manifest.json: hash_offset {} of {} is not a multiple of 4096 inside the file",
                verity.hash_offset,
                manifest.slot.file.name
            );
        }
        Ok(manifest)
    }

    /// Every file of the set, the slot image first.
    pub fn files(&self) -> impl Iterator<Item = &FileEntry> {
        let boot = &self.boot;
        [
            &self.slot.file,
            &boot.kernel,
            &boot.initrd,
            &boot.shim,
            &boot.grub,
            &boot.mok_manager,
            &boot.bios_boot,
            &boot.bios_core,
        ]
        .into_iter()
    }
}

fn check_name(file: &FileEntry) -> anyhow::Result<()> {
    let name = &file.name;
    if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
        bail!("manifest.json: {name:?} is not a plain file name");
    }
    Ok(())
}

fn check_hex(what: &str, name: &str, value: &str, digits: usize) -> anyhow::Result<()> {
    if value.len() != digits
        || !value
            .bytes()
            .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    {
        bail!("manifest.json: {what} of {name} is not {digits} lower-case hex digits");
    }
    Ok(())
}
