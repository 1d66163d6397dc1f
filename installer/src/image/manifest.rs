//! `manifest.json` of an image set: what is in it, how large, with which digests.
//!
//! In: the file's bytes. Out: [`ImageManifest`]. Everything that an install writes is named
//! here with its sha256, so the manifest alone decides what is laid down.
//!
//! A manifest speaks of the bytes that are installed. How a file is stored is not its matter: a
//! set may hold `NAME.zst` in place of `NAME`, one or more zstd frames that unpack to `NAME` with
//! a window of at most 8 MiB. So the same manifest fits a set before and after it is packed.
//!
//! The key `sha256` is the digest of the manifest itself: of what this program writes for it on
//! one line without that key ([`ImageManifest::render`]). It finds damage, and is no signature.
//! A manifest without the key is taken as it is.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

/// Name of the manifest inside an image set.
pub const MANIFEST_NAME: &str = "manifest.json";

/// The version of the manifest's shape that this program reads and writes.
pub const SCHEMA: u32 = 1;

/// The key with the manifest's own digest.
const OWN_DIGEST: &str = "sha256";

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
    /// Of flavor `full`: names of the artifacts that are not inside, by the addon or CNI that needs
    /// them. Images of before this key say nothing about it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lacks: BTreeMap<String, Vec<String>>,
}

/// A manifest with its own digest ([`OWN_DIGEST`]).
#[derive(Serialize)]
struct Written<'a> {
    #[serde(flatten)]
    manifest: &'a ImageManifest,
    sha256: String,
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
        let mut value: serde_json::Value =
            serde_json::from_slice(bytes).context("reading manifest.json")?;
        let own = value.as_object_mut().and_then(|map| map.remove(OWN_DIGEST));
        let manifest: Self = serde_json::from_value(value).context("reading manifest.json")?;
        if own.is_some_and(|own| own != manifest.digest().as_str()) {
            bail!("manifest.json is damaged: its sha256 is not that of its content");
        }
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

    /// The file's bytes.
    pub fn render(&self) -> anyhow::Result<Vec<u8>> {
        let written = Written {
            manifest: self,
            sha256: self.digest(),
        };
        let text = serde_json::to_string_pretty(&written).context("writing manifest.json")?;
        Ok((text + "\n").into_bytes())
    }

    /// sha256 of the manifest on one line.
    fn digest(&self) -> String {
        use sha2::{Digest as _, Sha256};
        // A struct of strings and numbers is always written.
        let line = serde_json::to_vec(self).unwrap_or_default();
        hex::encode(Sha256::digest(line))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_flipped_bit_changes_what_is_installed() {
        // Manifests stay readable for ever: this file is never rewritten.
        let kept = include_bytes!("../../tests/golden/manifest-1.json");
        let manifest = ImageManifest::parse(kept).unwrap();
        let mut bytes = manifest.render().unwrap();
        assert_eq!(ImageManifest::parse(&bytes).unwrap(), manifest);
        // Without its own digest, as by hand.
        let plain = serde_json::to_vec(&manifest).unwrap();
        assert_eq!(ImageManifest::parse(&plain).unwrap(), manifest);
        let mut harmless = 0;
        for at in 0..bytes.len() {
            for bit in 0..8 {
                bytes[at] ^= 1 << bit;
                if let Ok(parsed) = ImageManifest::parse(&bytes) {
                    // A letter's case in a UUID, or one kind of space for another.
                    assert_eq!(parsed, manifest, "byte {at}, bit {bit}");
                    harmless += 1;
                }
                bytes[at] ^= 1 << bit;
            }
        }
        assert!(harmless < 50, "{harmless} flips are not seen");
    }
}
