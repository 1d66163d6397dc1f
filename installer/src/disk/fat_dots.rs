//! Mends the `.` and `..` entries that fatfs 0.3 writes into new folders.
//!
//! In: a FAT file system just made by fatfs, with folders of at most one cluster. Out: the same
//! with folder heads as the specification wants them. fatfs puts a long name before each of the
//! two entries, and names cluster 2 as the parent of first-level folders of FAT32, where the
//! specification wants 0 (Microsoft, "FAT File System Specification", 6.5 and 6.6; fsck.fat
//! complains about both). Offsets below are that document's.

use std::io::{Read, Seek, SeekFrom, Write};

use anyhow::{Context as _, ensure};

const ENTRY: usize = 32;
const ATTRIBUTES: usize = 11;
const LONG_NAME: u8 = 0x0f;
const FOLDER: u8 = 0x10;
const DELETED: u8 = 0xe5;
const DOT: &[u8; 11] = b".          ";
const DOT_DOT: &[u8; 11] = b"..         ";

/// Mends every folder of the file system on `disk`.
pub fn mend<T: Read + Write + Seek>(disk: &mut T) -> anyhow::Result<()> {
    let mut volume = Volume::open(disk).context("mending the folders of the FAT file system")?;
    let mut open = volume.folders_in(volume.root, volume.root_size)?;
    // A folder can't be inside itself, so this ends.
    while let Some(folder) = open.pop() {
        volume.mend_head(folder)?;
        let at = volume.place_of(folder.cluster)?;
        let inside = volume.folders_in(at, volume.cluster_size)?;
        open.extend(inside.into_iter().map(|found| Folder {
            parent: folder.cluster,
            ..found
        }));
    }
    Ok(())
}

/// A folder: its cluster and that of its parent (0 for the root).
#[derive(Debug, Clone, Copy)]
struct Folder {
    cluster: u32,
    parent: u32,
}

struct Volume<'a, T> {
    disk: &'a mut T,
    cluster_size: usize,
    /// First byte of cluster 2.
    data: u64,
    root: u64,
    root_size: usize,
}

impl<'a, T: Read + Write + Seek> Volume<'a, T> {
    fn open(disk: &'a mut T) -> anyhow::Result<Self> {
        let mut boot = [0; 64];
        disk.rewind()?;
        disk.read_exact(&mut boot)?;
        let short = |at: usize| u64::from(u16::from_le_bytes([boot[at], boot[at + 1]]));
        let long = |at: usize| short(at) | short(at + 2) << 16;
        let sector = short(11);
        let cluster_size = usize::try_from(sector * u64::from(boot[13]))?;
        let fats = u64::from(boot[16]);
        let root_entries = short(17) * ENTRY as u64;
        let is_fat32 = short(22) == 0;
        let fat_size = if is_fat32 { long(36) } else { short(22) };
        let after_fats = (short(14) + fats * fat_size) * sector;
        let data = after_fats + root_entries.next_multiple_of(sector.max(1));
        ensure!(cluster_size > 0, "there is no FAT file system");
        Ok(Self {
            disk,
            cluster_size,
            data,
            // fatfs puts the root of FAT32 into cluster 2.
            root: if is_fat32 { data } else { after_fats },
            root_size: if is_fat32 {
                cluster_size
            } else {
                usize::try_from(root_entries)?
            },
        })
    }

    fn place_of(&self, cluster: u32) -> anyhow::Result<u64> {
        let index = cluster
            .checked_sub(2)
            .context("a folder without a cluster")?;
        Ok(self.data + u64::from(index) * self.cluster_size as u64)
    }

    fn read(&mut self, at: u64, size: usize) -> anyhow::Result<Vec<u8>> {
        let mut bytes = vec![0; size];
        self.disk.seek(SeekFrom::Start(at))?;
        self.disk.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// The folders listed in the directory at `at`, as children of the root.
    fn folders_in(&mut self, at: u64, size: usize) -> anyhow::Result<Vec<Folder>> {
        let bytes = self.read(at, size)?;
        let entries = bytes.chunks_exact(ENTRY).take_while(|e| e[0] != 0);
        Ok(entries
            .filter(|e| e[0] != DELETED && e[0] != b'.' && e[ATTRIBUTES] != LONG_NAME)
            .filter(|e| e[ATTRIBUTES] & FOLDER != 0)
            .map(|e| Folder {
                cluster: cluster_of(e),
                parent: 0,
            })
            .collect())
    }

    /// Turns `long . / . / long .. / ..` into `. / .. / deleted / deleted`.
    fn mend_head(&mut self, folder: Folder) -> anyhow::Result<()> {
        let at = self.place_of(folder.cluster)?;
        let head = self.read(at, 4 * ENTRY)?;
        let entry = |n: usize| &head[n * ENTRY..(n + 1) * ENTRY];
        let long = |n: usize| entry(n)[ATTRIBUTES] == LONG_NAME;
        if entry(0).starts_with(DOT) {
            return Ok(());
        }
        ensure!(
            long(0) && entry(1).starts_with(DOT) && long(2) && entry(3).starts_with(DOT_DOT),
            "a folder does not begin as fatfs makes it"
        );
        let mut dot_dot = entry(3).to_vec();
        dot_dot[20..22].copy_from_slice(&folder.parent.to_le_bytes()[2..]);
        dot_dot[26..28].copy_from_slice(&folder.parent.to_le_bytes()[..2]);
        let mut deleted = entry(0).to_vec();
        deleted[0] = DELETED;
        let mended = [entry(1), &dot_dot, &deleted, &deleted].concat();
        self.disk.seek(SeekFrom::Start(at))?;
        self.disk.write_all(&mended)?;
        Ok(())
    }
}

fn cluster_of(entry: &[u8]) -> u32 {
    u32::from_le_bytes([entry[26], entry[27], entry[20], entry[21]])
}
