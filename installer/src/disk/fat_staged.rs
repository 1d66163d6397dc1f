//! Changes of a FAT32 file system that reach the disk in an order in which a power cut harms nothing.
//!
//! In: a window on a FAT32 file system, writes as fatfs makes them. Out: nothing on the disk but what
//! goes into free clusters, until [`Staged::commit`] brings tables, folders and the rest in the order
//! that was asked for, with a flush in between. What does not differ from the disk is not written.
//! Offsets are those of Microsoft's "FAT File System Specification".

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::rc::Rc;

use super::block::Block;
use super::window::{Window, place_of};

/// Content for free clusters is gathered up to this size.
const GATHERED: usize = 1 << 20;
/// The bits of a table's entry that say something.
pub(super) const ENTRY: u32 = 0x0fff_ffff;

/// What comes first when a change reaches the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Something new: it has its place in the table before a folder names it.
    TablesFirst,
    /// Something goes: no folder names it when its place in the table becomes free.
    FoldersFirst,
}

/// Where the parts of a FAT32 file system lie, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Areas {
    pub sector: u64,
    pub cluster: u64,
    pub tables: u64,
    pub table: u64,
    pub copies: u64,
    pub data: u64,
    pub clusters: u32,
    pub root: u32,
    pub info: u64,
}

impl Areas {
    /// Reads the boot sector.
    pub fn read(disk: &mut (impl Read + Seek)) -> io::Result<Self> {
        let mut boot = [0; 512];
        disk.rewind()?;
        disk.read_exact(&mut boot)?;
        let short = |at: usize| u64::from(u16::from_le_bytes([boot[at], boot[at + 1]]));
        let long = |at: usize| short(at) | short(at + 2) << 16;
        let (sector, copies) = (short(11), u64::from(boot[16]));
        let cluster = sector * u64::from(boot[13]);
        let (tables, table) = (short(14) * sector, long(36) * sector);
        let data = tables + copies * table;
        let size = long(32) * sector;
        // A table of 16-bit entries, or of 12, has its size at 22.
        let is_ours = boot[510..] == [0x55, 0xaa]
            && [512, 1024, 2048, 4096].contains(&sector)
            && cluster > 0
            && copies > 0
            && short(22) == 0
            && size > data;
        if !is_ours {
            return Err(io::Error::other("there is no FAT32 file system"));
        }
        let clusters = ((size - data) / cluster).min(table / 4 - 2);
        Ok(Self {
            sector,
            cluster,
            tables,
            table,
            copies,
            data,
            clusters: u32::try_from(clusters).map_err(io::Error::other)?,
            root: u32::try_from(long(44)).map_err(io::Error::other)?,
            info: short(48) * sector,
        })
    }

    /// First byte of a cluster; the first one is number 2.
    pub fn place_of(&self, cluster: u32) -> io::Result<u64> {
        let index = cluster.checked_sub(2).filter(|i| *i < self.clusters);
        let index = index.ok_or_else(|| io::Error::other("a cluster that is not there"))?;
        Ok(self.data + u64::from(index) * self.cluster)
    }
}

/// All entries of the first table.
pub(super) fn read_table(disk: &mut (impl Read + Seek), areas: &Areas) -> io::Result<Vec<u32>> {
    let mut bytes = vec![0; 4 * (areas.clusters as usize + 2)];
    disk.seek(SeekFrom::Start(areas.tables))?;
    disk.read_exact(&mut bytes)?;
    let entries = bytes.chunks_exact(4);
    Ok(entries
        .map(|e| u32::from_le_bytes([e[0], e[1], e[2], e[3]]) & ENTRY)
        .collect())
}

/// A file system with changes that are not on the disk yet. Clones share them, each has its own
/// position.
#[derive(Debug, Clone)]
pub struct Staged<'a> {
    kept: Rc<RefCell<Kept<'a>>>,
    at: u64,
}

#[derive(Debug)]
struct Kept<'a> {
    block: &'a dyn Block,
    disk: Window<'a>,
    len: u64,
    areas: Areas,
    /// By number of the cluster: nothing on the disk refers to it.
    free: Vec<bool>,
    /// Sectors that something refers to, by place.
    changed: BTreeMap<u64, Vec<u8>>,
    /// Sectors of free clusters.
    gathered: BTreeMap<u64, Vec<u8>>,
}

impl<'a> Staged<'a> {
    /// Over the `len` bytes of `block` from `start` on.
    pub fn new(block: &'a dyn Block, start: u64, len: u64) -> io::Result<Self> {
        let mut disk = Window::new(block, start, len);
        let areas = Areas::read(&mut disk)?;
        let table = read_table(&mut disk, &areas)?;
        let kept = Kept {
            block,
            disk,
            len,
            areas,
            free: table.iter().map(|entry| *entry == 0).collect(),
            changed: BTreeMap::new(),
            gathered: BTreeMap::new(),
        };
        Ok(Self {
            kept: Rc::new(RefCell::new(kept)),
            at: 0,
        })
    }

    pub(super) fn areas(&self) -> Areas {
        self.kept.borrow().areas
    }

    /// How many sectors of folders, or of files that are there, a commit would write.
    pub fn folder_sectors(&self) -> io::Result<usize> {
        let mut kept = self.kept.borrow_mut();
        kept.drop_unchanged()?;
        let data = kept.areas.data;
        Ok(kept.changed.range(data..).count())
    }

    /// Brings all changes to the disk.
    pub fn commit(&self, order: Order) -> io::Result<()> {
        let mut kept = self.kept.borrow_mut();
        kept.write_gathered()?;
        kept.drop_unchanged()?;
        let areas = kept.areas;
        let (head, tables, data) = (
            0..areas.tables,
            areas.tables..areas.data,
            areas.data..u64::MAX,
        );
        // The head has no more than a count of what is free.
        let ranges = match order {
            Order::TablesFirst => [tables, data, head],
            Order::FoldersFirst => [data, tables, head],
        };
        for range in ranges {
            let sectors: Vec<u64> = kept.changed.range(range).map(|(at, _)| *at).collect();
            let mut part = BTreeMap::new();
            for at in sectors {
                part.extend(kept.changed.remove(&at).map(|bytes| (at, bytes)));
            }
            kept.write(part)?;
        }
        Ok(())
    }
}

impl Kept<'_> {
    fn is_free(&self, at: u64) -> bool {
        let index = at
            .checked_sub(self.areas.data)
            .map(|at| at / self.areas.cluster);
        let number = index.and_then(|index| usize::try_from(index + 2).ok());
        number
            .and_then(|n| self.free.get(n))
            .is_some_and(|free| *free)
    }

    fn sector(&mut self, at: u64) -> io::Result<Vec<u8>> {
        if let Some(bytes) = self.changed.get(&at).or_else(|| self.gathered.get(&at)) {
            return Ok(bytes.clone());
        }
        let mut bytes = vec![0; usize::try_from(self.areas.sector).unwrap_or(0)];
        self.disk.seek(SeekFrom::Start(at))?;
        self.disk.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn drop_unchanged(&mut self) -> io::Result<()> {
        let (disk, sector) = (&mut self.disk, self.areas.sector);
        let mut failed = None;
        self.changed.retain(|at, bytes| {
            let mut found = vec![0; usize::try_from(sector).unwrap_or(0)];
            let read = disk
                .seek(SeekFrom::Start(*at))
                .and_then(|_| disk.read_exact(&mut found));
            failed = failed.take().or(read.err());
            found != *bytes
        });
        failed.map_or(Ok(()), Err)
    }

    fn write_gathered(&mut self) -> io::Result<()> {
        let gathered = std::mem::take(&mut self.gathered);
        self.write(gathered)
    }

    /// Neighbours go in one write; all of it is on the disk afterwards.
    fn write(&mut self, sectors: BTreeMap<u64, Vec<u8>>) -> io::Result<()> {
        if sectors.is_empty() {
            return Ok(());
        }
        let mut runs: Vec<(u64, Vec<u8>)> = Vec::new();
        for (at, bytes) in sectors {
            match runs.last_mut() {
                Some((start, run)) if *start + run.len() as u64 == at => run.extend(bytes),
                _ => runs.push((at, bytes)),
            }
        }
        for (at, bytes) in runs {
            self.disk.seek(SeekFrom::Start(at))?;
            self.disk.write_all(&bytes)?;
        }
        self.block.sync_data()
    }
}

impl Read for Staged<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut kept = self.kept.borrow_mut();
        if self.at >= kept.len || buffer.is_empty() {
            return Ok(0);
        }
        let inside = usize::try_from(self.at % kept.areas.sector).unwrap_or(0);
        let bytes = kept.sector(self.at - inside as u64)?;
        let count = buffer.len().min(bytes.len() - inside);
        buffer[..count].copy_from_slice(&bytes[inside..inside + count]);
        self.at += count as u64;
        Ok(count)
    }
}

impl Write for Staged<'_> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let mut kept = self.kept.borrow_mut();
        if from.is_empty() {
            return Ok(0);
        }
        if self.at >= kept.len {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let sector = kept.areas.sector;
        let inside = usize::try_from(self.at % sector).unwrap_or(0);
        let start = self.at - inside as u64;
        let mut bytes = kept.sector(start)?;
        let count = from.len().min(bytes.len() - inside);
        bytes[inside..inside + count].copy_from_slice(&from[..count]);
        if kept.is_free(start) {
            kept.gathered.insert(start, bytes);
            if kept.gathered.len() as u64 * sector >= GATHERED as u64 {
                kept.write_gathered()?;
            }
        } else {
            kept.changed.insert(start, bytes);
        }
        self.at += count as u64;
        Ok(count)
    }

    /// fatfs flushes after each file; that can wait until [`Staged::commit`].
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Staged<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = place_of(to, self.at, self.kept.borrow().len)?;
        Ok(self.at)
    }
}
