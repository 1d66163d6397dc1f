//! The steps of an upgrade that an install has not: the ESP of a disk that boots is changed.
//!
//! In: the plan's menu and layout, the image's boot files. Out: bytes on the disk. At any moment the
//! other slot boots, until [`Run::start_trial`] has written its one sector; from then on the new one
//! is tried.

use anyhow::ensure;

use super::Run;
use crate::disk::layout::{ALIGN, Role};
use crate::failure::{Failure, Kind};
use crate::image::ahead::ReadAhead;
use crate::image::manifest::FileEntry;
use crate::install::esp::{self, Esp};
use crate::install::grub;
use crate::install::grubenv::{BootEnv, Letter, TRIES, Trial};

impl Run<'_> {
    fn esp(&self) -> anyhow::Result<Esp<'_>> {
        Esp::new(self.block(0)?, self.plan.layout()?)
    }

    /// The environment block, in which `role` must not be the good slot.
    fn env_without(&self, role: Role) -> anyhow::Result<(BootEnv, Letter)> {
        let env = self.esp()?.env()?;
        let letter = env.slot.other();
        ensure!(
            letter.role() == role,
            "{} is the slot that this node boots, it can't be written",
            role.name()
        );
        Ok((env, letter))
    }

    /// The menu first, so that nobody can choose what goes.
    pub(super) fn retire_slot(&self, role: Role) -> anyhow::Result<()> {
        let esp = self.esp()?;
        esp.fat.mend()?;
        let (mut env, _) = self.env_without(role)?;
        // Neither a trial of what goes, nor a way back to it.
        env.trial = None;
        env.boots = 0;
        env.left = None;
        esp.write_env(&env)?;
        esp.fat.remove(&[esp::slot_cfg(role)])?;
        let boot = &self.inputs.image.manifest.boot;
        esp.fat
            .remove(&esp::kernel_files(role, boot).map(|(path, _)| path))?;
        let start = self.plan.layout()?.of(role)?.start;
        self.zero(0, start..start + ALIGN)?;
        self.sync(0)
    }

    pub(super) fn write_kernel(&self, role: Role) -> anyhow::Result<()> {
        let esp = self.esp()?;
        let mut done = 0;
        for (path, entry) in esp::kernel_files(role, &self.inputs.image.manifest.boot) {
            let reader = ReadAhead::start(self.inputs.image.reader(entry)?)?;
            esp.fat.create(&path, &mut self.progress(reader, done))?;
            self.check_file(&esp, &path, entry)?;
            done += entry.size;
        }
        Ok(())
    }

    /// What firmware or GRUB will read must be what was written.
    fn check_file(&self, esp: &Esp<'_>, path: &str, entry: &FileEntry) -> anyhow::Result<()> {
        let range = self.plan.layout()?.of(Role::Esp)?.range();
        let forgotten = self.block(0)?.forget(range.clone());
        forgotten.map_err(|e| self.read_failed(0, range.start, e))?;
        if esp.digest(path)?.as_deref() == Some(entry.sha256.as_str()) {
            return Ok(());
        }
        Err(Failure::error(
            Kind::DeviceFailed,
            format!(
                "{} does not keep what is written: {path} reads back differently",
                self.name(0)
            ),
            "the disk is failing: see `dmesg`; this node still boots what it booted before",
        ))
    }

    pub(super) fn write_loaders(&self) -> anyhow::Result<()> {
        let esp = self.esp()?;
        let mut done = 0;
        for (path, entry) in esp::loaders(&self.inputs.image.manifest.boot) {
            if esp.digest(path)?.as_deref() != Some(entry.sha256.as_str()) {
                let reader = self.inputs.image.reader(entry)?;
                esp.fat.replace(path, &mut self.progress(reader, done))?;
                self.check_file(&esp, path, entry)?;
            }
            done += entry.size;
        }
        Ok(())
    }

    pub(super) fn write_menu(&self, role: Role) -> anyhow::Result<()> {
        let esp = self.esp()?;
        let menu = &self.plan.menu;
        esp.write_text(&grub::menu_path(), &grub::render_grub_cfg(&menu.consoles))?;
        let entry = grub::render_slot(menu)?;
        esp.fat.create(&esp::slot_cfg(role), &mut entry.as_bytes())
    }

    pub(super) fn start_trial(&self, role: Role) -> anyhow::Result<()> {
        let (mut env, slot) = self.env_without(role)?;
        env.trial = Some(Trial { slot, tries: TRIES });
        self.sync_all()?;
        self.esp()?.write_env(&env)
    }
}
