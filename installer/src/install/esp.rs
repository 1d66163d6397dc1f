//! The ESP of a disk that was installed: boot menu, environment block, kernels.
//!
//! In: the disk and its layout. Out: what is on the ESP, and changes of it that a power cut leaves
//! whole or not made.

use anyhow::Context as _;

use super::grub::{self, SlotEntry};
use super::grubenv::{BootEnv, Letter, SIZE};
use crate::disk::block::Block;
use crate::disk::fat_change::FatChange;
use crate::disk::layout::{Layout, Role};
use crate::image::manifest::{BootFiles, FileEntry};

/// More than any menu has.
const TEXT: u64 = 64 << 10;

/// An ESP.
#[derive(Debug, Clone)]
pub struct Esp<'a> {
    /// Its file system.
    pub fat: FatChange<'a>,
}

/// The boot loaders for UEFI: where each lies on the ESP and which it is. In this order they can be
/// replaced: an old shim starts a new GRUB, while a new shim may refuse an old one.
pub fn loaders(boot: &BootFiles) -> [(&'static str, &FileEntry); 3] {
    [
        ("EFI/BOOT/grubx64.efi", &boot.grub),
        ("EFI/BOOT/mmx64.efi", &boot.mok_manager),
        ("EFI/BOOT/BOOTX64.EFI", &boot.shim),
    ]
}

/// Kernel and initrd of a slot on the ESP, and which they are.
pub fn kernel_files(role: Role, boot: &BootFiles) -> [(String, &FileEntry); 2] {
    let dir = grub::slot_dir(role);
    [
        (format!("{dir}/vmlinuz"), &boot.kernel),
        (format!("{dir}/initrd.img"), &boot.initrd),
    ]
}

/// The menu entry of a slot.
pub fn slot_cfg(role: Role) -> String {
    format!("{}/slot.cfg", grub::slot_dir(role))
}

impl<'a> Esp<'a> {
    /// The ESP of a disk.
    pub fn new(block: &'a dyn Block, layout: &Layout) -> anyhow::Result<Self> {
        let range = layout.of(Role::Esp)?.range();
        Ok(Self {
            fat: FatChange::new(block, range),
        })
    }

    /// The environment block; a damaged one counts as that of a node whose good slot is A, which is
    /// what the boot menu takes it for.
    pub fn env(&self) -> anyhow::Result<BootEnv> {
        let bytes = self.env_bytes()?.unwrap_or_default();
        Ok(BootEnv::parse(&bytes).unwrap_or_else(|error| {
            tracing::warn!("{}: {error:#}", grub::env_path());
            BootEnv::new(Letter::A)
        }))
    }

    fn env_bytes(&self) -> anyhow::Result<Option<Vec<u8>>> {
        self.fat.read()?.read(&grub::env_path(), SIZE as u64 + 1)
    }

    /// Writes the environment block, in one write of one sector unless it was damaged.
    pub fn write_env(&self, env: &BootEnv) -> anyhow::Result<()> {
        let (path, new) = (grub::env_path(), env.render()?);
        let old = self.env_bytes()?.unwrap_or_default();
        if BootEnv::parse(&old).is_ok() {
            return self.fat.patch(&path, &new);
        }
        self.fat.replace(&path, &mut &new[..])
    }

    /// What the boot menu says of a slot; nothing when it is not in the menu.
    pub fn entry(&self, letter: Letter) -> anyhow::Result<Option<SlotEntry>> {
        let bytes = self.fat.read()?.read(&slot_cfg(letter.role()), TEXT)?;
        Ok(bytes.and_then(|bytes| SlotEntry::parse(&String::from_utf8_lossy(&bytes))))
    }

    /// Writes a text, unless that is what is there.
    pub fn write_text(&self, path: &str, text: &str) -> anyhow::Result<()> {
        let old = self.fat.read()?.read(path, TEXT)?;
        if old.as_deref() == Some(text.as_bytes()) {
            return Ok(());
        }
        self.fat.replace(path, &mut text.as_bytes())
    }

    /// The digest of a file.
    pub fn digest(&self, path: &str) -> anyhow::Result<Option<String>> {
        self.fat.read()?.digest(path)
    }

    /// Room for new boot files of a slot, in bytes: what is free and what its old ones have.
    pub fn room(&self, role: Role) -> anyhow::Result<u64> {
        let fat = self.fat.read().context("looking at the ESP")?;
        let dir = grub::slot_dir(role);
        let mut room = self.fat.free()?;
        for name in ["vmlinuz", "initrd.img", "slot.cfg"] {
            room += fat.size_of(&format!("{dir}/{name}"))?;
        }
        Ok(room)
    }
}
