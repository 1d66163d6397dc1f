//! The EFI system partition: FAT32 with folders and files, made by the `fatfs` crate.
//!
//! In: a window on the target, a label, files as readers. Out: a file system that firmware,
//! GRUB and people can read. Times are not set, so equal input gives equal bytes.

use std::io::{Read, Seek, SeekFrom, Write};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

use super::cache::Cache;
use super::fat_dots;
use super::window::Window;
use crate::failure::Failure;
use crate::image::set::from_io;

/// Cluster size: FAT32 needs at least 65,525 clusters, so 8 KiB is the largest for 1 GiB.
const CLUSTER: u32 = 8192;

/// A FAT file system that is being filled.
pub struct Fat<'a> {
    disk: Cache<'a>,
    fs: fatfs::FileSystem<Cache<'a>>,
}

impl<'a> Fat<'a> {
    /// Formats `disk` as FAT32 of `size` bytes and opens it. `label` has at most 11 characters.
    pub fn format(
        disk: Window<'a>,
        size: u64,
        sector_size: u32,
        label: &str,
        id: u32,
    ) -> anyhow::Result<Self> {
        let mut name = [b' '; 11];
        for (to, from) in name.iter_mut().zip(label.bytes()) {
            *to = from;
        }
        let sectors = u32::try_from(size / u64::from(sector_size)).context("size of the ESP")?;
        let options = fatfs::FormatVolumeOptions::new()
            .fat_type(fatfs::FatType::Fat32)
            .bytes_per_sector(u16::try_from(sector_size)?)
            .bytes_per_cluster(CLUSTER)
            .total_sectors(sectors)
            .volume_label(name)
            .volume_id(id);
        let mut disk = Cache::fresh(disk).context("opening the ESP")?;
        fatfs::format_volume(&mut disk, options)
            .map_err(|e| Failure::of_write(e, "formatting the ESP as FAT32"))?;
        disk.rewind().context("rewinding the FAT file system")?;
        Self::open_cached(disk)
    }

    /// Opens what is there.
    pub fn open(disk: Window<'a>) -> anyhow::Result<Self> {
        Self::open_cached(Cache::new(disk).context("opening the FAT file system")?)
    }

    fn open_cached(disk: Cache<'a>) -> anyhow::Result<Self> {
        let fs = fatfs::FileSystem::new(disk.clone(), fatfs::FsOptions::new())
            .context("opening the FAT file system")?;
        Ok(Self { disk, fs })
    }

    /// The label: that of the root folder, else that of the boot sector; may be empty.
    pub fn label(&self) -> anyhow::Result<String> {
        let root = self.fs.read_volume_label_from_root_dir();
        let root = root.context("reading the label of the FAT file system")?;
        let label = root.unwrap_or_else(|| self.fs.volume_label());
        Ok(label.trim_end_matches([' ', '\0']).to_owned())
    }

    /// Writes one file, making its folders; `path` is relative, with `/`.
    pub fn write(&self, path: &str, content: &mut dyn Read) -> anyhow::Result<()> {
        let context = || format!("writing {path} onto the FAT file system");
        let failed = |e| Failure::of_write(e, context());
        let root = self.fs.root_dir();
        for (end, _) in path.match_indices('/') {
            root.create_dir(&path[..end]).map_err(failed)?;
        }
        let mut file = root.create_file(path).map_err(failed)?;
        file.truncate().map_err(failed)?;
        let mut buffer = vec![0; 1 << 20];
        loop {
            // Whatever happens here is the medium's or the disk's, and says so itself.
            let count = content
                .read(&mut buffer)
                .map_err(from_io)
                .with_context(context)?;
            if count == 0 {
                return file.flush().map_err(failed);
            }
            file.write_all(&buffer[..count])
                .map_err(|e| Failure::of_write(e, "writing to the disk"))
                .with_context(context)?;
        }
    }

    /// The first `limit` bytes of a file, `None` when there is no such file.
    pub fn read(&self, path: &str, limit: u64) -> anyhow::Result<Option<Vec<u8>>> {
        let context = || format!("reading {path} of the FAT file system");
        let file = match self.fs.root_dir().open_file(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.with_context(context)?,
        };
        let mut bytes = Vec::new();
        file.take(limit)
            .read_to_end(&mut bytes)
            .with_context(context)?;
        Ok(Some(bytes))
    }

    /// The sha256 of a file in hex, `None` when there is no such file.
    pub fn digest(&self, path: &str) -> anyhow::Result<Option<String>> {
        let context = || format!("reading {path} of the FAT file system");
        let mut file = match self.fs.root_dir().open_file(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.with_context(context)?,
        };
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file.read(&mut buffer).with_context(context)? {
                0 => return Ok(Some(hex::encode(hash.finalize()))),
                count => hash.update(&buffer[..count]),
            }
        }
    }

    /// Size of a file in bytes, 0 when there is no such file.
    pub fn size_of(&self, path: &str) -> anyhow::Result<u64> {
        let mut file = match self.fs.root_dir().open_file(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(0),
            other => other.with_context(|| format!("reading {path} of the FAT file system"))?,
        };
        file.seek(SeekFrom::End(0))
            .with_context(|| format!("reading {path} of the FAT file system"))
    }

    /// Writes what is pending and closes the file system. Needed after writing only.
    pub fn close(mut self) -> anyhow::Result<()> {
        self.fs
            .unmount()
            .map_err(|e| Failure::of_write(e, "closing the FAT file system"))?;
        fat_dots::mend(&mut self.disk)?;
        self.disk
            .write_out()
            .map_err(|e| Failure::of_write(e, "writing the FAT file system"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_back_and_a_full_partition_is_an_error() {
        let file = tempfile::tempfile().unwrap();
        let size = 1 << 30;
        file.set_len(size).unwrap();
        let fat = Fat::format(Window::new(&file, 0, size), size, 512, "HARROW_ESP", 7).unwrap();
        let content = vec![0x5a; 3 * 8192 + 1];
        fat.write("EFI/BOOT/BOOTX64.EFI", &mut &content[..])
            .unwrap();
        fat.write("EFI/debian/grub.cfg", &mut &b"old"[..]).unwrap();
        fat.write("EFI/debian/grub.cfg", &mut &b"x"[..]).unwrap();
        fat.close().unwrap();
        let fat = Fat::open(Window::new(&file, 0, size)).unwrap();
        assert_eq!(fat.label().unwrap(), "HARROW_ESP");
        assert_eq!(
            fat.read("efi/boot/bootx64.efi", 1 << 20).unwrap().unwrap(),
            content
        );
        assert_eq!(fat.read("EFI/debian/grub.cfg", 10).unwrap().unwrap(), b"x");
        assert_eq!(fat.read("no/such", 10).unwrap(), None);
        let error = fat
            .write("big", &mut std::io::repeat(1).take(2 << 30))
            .unwrap_err();
        assert!(format!("{error:#}").contains("big"), "{error:#}");
    }
}
