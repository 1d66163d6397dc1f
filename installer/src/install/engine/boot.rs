//! What makes a disk boot: the ESP, GRUB for BIOS, the partition tables.
//!
//! In: the image's boot files, the plan's menu and layouts. Out: bytes on the disks. The install
//! disk's sector 0 is the last thing that an install writes.

use anyhow::Context as _;

use super::Run;
use crate::disk::fat::Fat;
use crate::disk::journal::JOURNAL_SIZE;
use crate::disk::layout::{ALIGN, Layout, Role, TableKind, derive};
use crate::disk::{bios, table};
use crate::failure::{Failure, Kind};
use crate::image::ahead::ReadAhead;
use crate::image::manifest::FileEntry;
use crate::install::grub;
use crate::install::grubenv::{BootEnv, Letter};

/// Where GRUB's core image lies on a disk with an MBR: right after it, in 512-byte sectors.
const CORE_AFTER_MBR: u64 = 1;

impl Run<'_> {
    pub(super) fn write_esp(&self) -> anyhow::Result<()> {
        let partition = self.plan.layout()?.of(Role::Esp)?;
        let id = derive(self.plan.install_id, Role::Esp.label());
        let fat = Fat::format(
            self.window(Role::Esp)?,
            partition.size,
            self.plan.layout()?.sector_size,
            Role::Esp.label(),
            id.as_fields().0,
        )?;
        let menu = &self.plan.menu;
        let slot_dir = grub::slot_dir(menu.slot.role);
        let boot = &self.inputs.image.manifest.boot;
        let mut done = 0;
        for (path, entry) in [
            ("EFI/BOOT/BOOTX64.EFI".to_owned(), &boot.shim),
            ("EFI/BOOT/grubx64.efi".to_owned(), &boot.grub),
            ("EFI/BOOT/mmx64.efi".to_owned(), &boot.mok_manager),
            (format!("{slot_dir}/vmlinuz"), &boot.kernel),
            (format!("{slot_dir}/initrd.img"), &boot.initrd),
        ] {
            self.copy_to_fat(&fat, &path, entry, done)?;
            done += entry.size;
        }
        let slot_cfg = grub::render_slot(menu)?;
        fat.write(&format!("{slot_dir}/slot.cfg"), &mut slot_cfg.as_bytes())?;
        let letter = Letter::parse(menu.slot.letter()).context("a menu for no slot")?;
        let env = BootEnv::new(letter).render()?;
        fat.write(&grub::env_path(), &mut &env[..])?;
        let cfg = grub::render_grub_cfg(&menu.consoles);
        fat.write(&grub::menu_path(), &mut cfg.as_bytes())?;
        fat.close()
    }

    fn copy_to_fat(
        &self,
        fat: &Fat<'_>,
        path: &str,
        entry: &FileEntry,
        done: u64,
    ) -> anyhow::Result<()> {
        let reader = ReadAhead::start(self.inputs.image.reader(entry)?)?;
        let mut reader = self.progress(reader, done);
        fat.write(path, &mut reader)
    }

    pub(super) fn write_bios_core(&self) -> anyhow::Result<()> {
        let (lba, room) = core_place(self.plan.layout()?)?;
        let core = self
            .inputs
            .image
            .read(&self.inputs.image.manifest.boot.bios_core)?;
        let mut bytes = bios::core_image(&core, lba, room)?;
        bytes.resize(usize::try_from(room)?, 0);
        self.write_at(0, &bytes, lba * 512)
    }

    /// Everything else must be on the disk before the table, and the table before the MBR.
    pub(super) fn write_table(&self, disk: usize) -> anyhow::Result<()> {
        let layout = self.plan.layout_of(disk)?;
        let code = if disk == 0 {
            let boot_img = &self.inputs.image.manifest.boot.bios_boot;
            bios::boot_code(&self.inputs.image.read(boot_img)?, core_place(layout)?.0)?
        } else {
            [0; bios::BOOT_CODE_SIZE]
        };
        let table = table::render_table(layout, &code)?;
        self.sync_all()?;
        for (at, bytes) in &table.parts {
            self.write_at(disk, bytes, *at)?;
        }
        self.sync(disk)?;
        for (at, bytes) in &table.parts {
            self.compare(disk, bytes, *at)?;
        }
        self.check_identity(disk)?;
        self.write_at(disk, &table.mbr, 0)?;
        self.sync(disk)?;
        self.compare(disk, &table.mbr, 0)?;
        // From here on the journal says nothing; a power cut before this line leaves one that is
        // not looked at, since the disk has an MBR.
        let journal = layout.journal_start()..layout.journal_start() + JOURNAL_SIZE;
        self.zero(disk, journal)?;
        self.sync(disk)
    }

    /// What was written must come back: a disk that loses tables is found out here.
    fn compare(&self, disk: usize, bytes: &[u8], at: u64) -> anyhow::Result<()> {
        let target = self.block(disk)?;
        let mut found = vec![0; bytes.len()];
        target
            .fill(&mut found, at)
            .map_err(|e| Failure::of_write(e, format!("reading back {}", self.name(disk))))?;
        if found == bytes {
            return Ok(());
        }
        Err(Failure::error(
            Kind::DeviceFailed,
            format!(
                "{} does not keep what is written: at byte {at} it reads back differently",
                self.name(disk)
            ),
            "the disk is failing, or lies about its size; take another one",
        ))
    }
}

/// Where the core image lies, in 512-byte sectors, and how many bytes it may have.
fn core_place(layout: &Layout) -> anyhow::Result<(u64, u64)> {
    Ok(match layout.table {
        TableKind::Gpt => {
            let partition = layout.of(Role::BiosBoot)?;
            (partition.start / 512, partition.size)
        }
        TableKind::Mbr => (CORE_AFTER_MBR, ALIGN - 512),
    })
}
