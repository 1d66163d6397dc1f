//! What comes before anything is put on a disk: the image's boot files are checked, the disks are
//! opened and cleared, the journal is begun.
//!
//! In: the plan. Out: disks that do not boot and hold nothing that could be taken for something.

use std::io;
use std::ops::Range;
use std::sync::atomic::Ordering;

use anyhow::Context as _;

use super::Run;
use crate::disk::former;
use crate::disk::journal::{self, JOURNAL_SIZE, Unfinished};
use crate::disk::layout::{ALIGN, Role};
use crate::disk::open;
use crate::disk::release::{self, Action};
use crate::disk::signatures::{self, Spared};
use crate::facts::{self, DiskFacts, Roots};
use crate::failure::{Failure, Kind};
use crate::image::ahead::ReadAhead;
use crate::image::set::{CheckedReader, from_io};
use crate::install::claim;

/// A stamp is a block of any disk.
const STAMP: usize = 4096;

impl Run<'_> {
    /// Reads the boot files, so that a damaged medium is found while the disk still holds what it
    /// held. The slot image is checked while it is written.
    pub(super) fn check_image(&self) -> anyhow::Result<()> {
        let image = self.inputs.image;
        let mut done = 0;
        for entry in image.manifest.files().skip(1) {
            let (reader, check) = image.reader(entry)?.into_parts();
            let ahead = CheckedReader::of(ReadAhead::start(reader)?, check);
            let mut reader = self.progress(ahead, done);
            io::copy(&mut reader, &mut io::sink()).map_err(from_io)?;
            done += entry.size;
        }
        Ok(())
    }

    /// What keeps the disk busy is looked at once more: taking down one disk's may have taken down
    /// another's.
    pub(super) fn release_disk(&self, disk: usize, planned: &[Action]) -> anyhow::Result<()> {
        let allowed = planned;
        let planned = self.plan.disks.get(disk);
        let planned = planned.with_context(|| format!("the plan has no disk {disk}"))?;
        let Some(facts) = planned.target.facts() else {
            return Ok(());
        };
        self.take_down(facts, allowed)
    }

    fn take_down(&self, planned: &DiskFacts, allowed: &[Action]) -> anyhow::Result<()> {
        let roots = Roots::default();
        let now = open::find(planned, &roots)?;
        let machine = facts::list(&roots);
        let taken = self.plan.disks.iter().filter_map(|d| d.target.facts());
        for action in release::actions(&now, &claim::kept(&machine, taken))? {
            if !allowed.contains(&action) {
                return Err(Failure::error(
                    Kind::DeviceInUse,
                    format!(
                        "{} is in use since the plan was made: it would take to {action}",
                        now.path.display()
                    ),
                    "run the install again: its plan then says so",
                ));
            }
            tracing::info!("{}: {action}", now.path.display());
            release::take_down(&action)?;
        }
        Ok(())
    }

    pub(super) fn open_target(&mut self, disk: usize) -> anyhow::Result<()> {
        let planned = self.plan.disks.get(disk);
        let planned = planned.with_context(|| format!("the plan has no disk {disk}"))?;
        // Its place is taken also when it can't be opened and is not needed.
        self.blocks.push(None);
        let opened = (self.inputs.open)(&planned.target)?;
        self.blocks.pop();
        self.blocks.push(Some(opened));
        self.inputs.half_made.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// The first thing that goes is what could boot. Only then the journal is begun: a disk that
    /// still has its table would lose data to it.
    pub(super) fn clear_disk(&mut self, disk: usize, slot_kept: bool) -> anyhow::Result<()> {
        let former = self.former_partitions(disk)?;
        self.make_unbootable(disk)?;
        let layout = self.plan.layout_of(disk)?;
        if disk == 0 {
            // Also of an install that is not gone on with: its records must not outrank ours.
            let record = journal::read(self.block(disk)?, self.size(disk)?)
                .map_err(|e| self.read_failed(disk, layout.journal_start(), e))?
                .map_or(0, |(record, _)| record);
            let manifest = &self.inputs.image.manifest;
            self.journal = Some((
                record,
                Unfinished {
                    install_id: self.plan.install_id,
                    version: manifest.version.clone(),
                    root_hash: manifest.slot.verity.root_hash.clone(),
                    started: self.report.started.clone(),
                    layout: layout.clone(),
                    config_kept: false,
                    slot_kept,
                },
            ));
            self.write_journal()?;
        }
        let mut spared = Spared::default();
        if disk == 0 {
            let journal = layout.journal_start();
            spared.0.push(journal..journal + JOURNAL_SIZE);
        }
        let mut overwritten = 0..0;
        if slot_kept {
            spared.0.push(layout.of(Role::SlotA)?.range());
        } else if disk == 0 {
            let start = layout.of(Role::SlotA)?.start;
            // Whole blocks: disks discard nothing smaller.
            let size = self.inputs.image.manifest.slot.file.size;
            overwritten = start..start + size / STAMP as u64 * STAMP as u64;
        }
        self.clear_signatures(disk, &former, &spared, overwritten)?;
        self.prove(disk, slot_kept)
    }

    pub(super) fn wipe_disk(&mut self, disk: usize) -> anyhow::Result<()> {
        if self.blocks.get(disk).is_some_and(Option::is_none) {
            return Ok(());
        }
        let former = self.former_partitions(disk)?;
        self.make_unbootable(disk)?;
        self.clear_signatures(disk, &former, &Spared::default(), 0..0)
    }

    fn make_unbootable(&self, disk: usize) -> anyhow::Result<()> {
        self.zero(disk, 0..ALIGN)?;
        self.sync(disk)
    }

    /// Where the disk's partitions are, as long as it says.
    fn former_partitions(&self, disk: usize) -> anyhow::Result<Vec<Range<u64>>> {
        let size = self.size(disk)?;
        Ok(former::partitions(self.block(disk)?, size))
    }

    /// Everything by which a program could recognise what the disk held.
    fn clear_signatures(
        &self,
        disk: usize,
        former: &[Range<u64>],
        spared: &Spared,
        overwritten: Range<u64>,
    ) -> anyhow::Result<()> {
        let size = self.size(disk)?;
        let cleared = signatures::clear(self.block(disk)?, size, former, spared, overwritten);
        cleared.map_err(|e| self.write_failed(disk, e.at, e.error))?;
        self.sync(disk)
    }

    /// Writes stamps and reads all of them back: a disk that lies about its size, or drops writes,
    /// is found out before anybody relies on it. They go to both ends of each partition, and to
    /// places that are the same one on a disk that begins anew after some power of two.
    fn prove(&self, disk: usize, slot_kept: bool) -> anyhow::Result<()> {
        let layout = self.plan.layout_of(disk)?;
        let stamp = STAMP as u64;
        let ends = layout.partitions.iter().flat_map(|p| {
            let end = p.start + p.size;
            [p.start, end - stamp]
        });
        let powers = (21..63).map(|power| ALIGN + (1 << power));
        let end = layout.journal_start();
        let powers = powers.take_while(|at| at + stamp <= end);
        let kept = match slot_kept {
            true => layout.of(Role::SlotA)?.range(),
            false => 0..0,
        };
        let mut places: Vec<u64> = ends.chain([ALIGN]).chain(powers).collect();
        places.retain(|at| *at >= kept.end || at + stamp <= kept.start);
        places.sort_unstable();
        places.dedup();
        for at in &places {
            self.write_at(disk, &self.stamp(*at), *at)?;
        }
        self.sync(disk)?;
        let block = self.block(disk)?;
        block
            .forget(0..self.size(disk)?)
            .map_err(|e| self.read_failed(disk, 0, e))?;
        for at in &places {
            let mut found = [0; STAMP];
            block
                .fill(&mut found, *at)
                .map_err(|e| self.read_failed(disk, *at, e))?;
            if found != self.stamp(*at) {
                return Err(Failure::error(
                    Kind::DeviceFailed,
                    format!(
                        "{} does not keep what is written at byte {at}: it reads back differently",
                        self.name(disk)
                    ),
                    "the disk is failing, or has less than it says; take another one",
                ));
            }
        }
        for at in places {
            self.zero(disk, at..at + STAMP as u64)?;
        }
        Ok(())
    }

    /// Bytes that no other place of this disk, and no other install, has.
    fn stamp(&self, at: u64) -> [u8; STAMP] {
        let id = self.plan.install_id.as_u128() ^ (u128::from(at) << 64) ^ u128::from(at);
        let mut stamp = [0; STAMP];
        for chunk in stamp.chunks_mut(16) {
            chunk.copy_from_slice(&id.to_le_bytes());
        }
        stamp
    }

    /// Writes down on the disk itself how far this install is.
    pub(super) fn write_journal(&mut self) -> anyhow::Result<()> {
        let Some((record, unfinished)) = &mut self.journal else {
            return Ok(());
        };
        *record += 1;
        let written = match self.blocks.first() {
            Some(Some(block)) => journal::write(block.as_ref(), *record, unfinished),
            _ => Ok(()),
        };
        written.context("writing the journal of the install")
    }
}
