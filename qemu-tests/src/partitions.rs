//! Partitions of a raw disk or hybrid medium, as byte ranges of its file.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use anyhow::{Context as _, anyhow};
use gpt::GptConfig;
use gpt::disk::LogicalBlockSize;

/// How much is copied at once.
const CHUNK: usize = 1 << 20;

/// A partition, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// Name in the partition table.
    pub name: String,
    /// Whether its type is EFI system partition.
    pub is_esp: bool,
    /// Where it starts.
    pub start: u64,
    /// How long it is.
    pub size: u64,
}

/// All partitions of a GPT disk with blocks of 512 or 4096 bytes, in their order.
pub fn read_partitions(disk: &Path) -> anyhow::Result<Vec<Extent>> {
    let open = |block_size| {
        GptConfig::new()
            .writable(false)
            .logical_block_size(block_size)
            .open(disk)
    };
    let gpt = open(LogicalBlockSize::Lb512)
        .or_else(|_| open(LogicalBlockSize::Lb4096))
        .with_context(|| format!("reading the partition table of {}", disk.display()))?;
    let block = gpt.logical_block_size().as_u64();
    Ok(gpt
        .partitions()
        .values()
        .filter(|partition| partition.is_used())
        .map(|partition| Extent {
            name: partition.name.clone(),
            is_esp: partition.part_type_guid == gpt::partition_types::EFI,
            start: partition.first_lba * block,
            size: (partition.last_lba + 1 - partition.first_lba) * block,
        })
        .collect())
}

/// The EFI system partition of a disk or medium.
pub fn find_esp(disk: &Path) -> anyhow::Result<Extent> {
    read_partitions(disk)?
        .into_iter()
        .find(|partition| partition.is_esp)
        .ok_or_else(|| anyhow!("{} has no EFI system partition", disk.display()))
}

/// Copies `size` bytes from `start` of `disk` into a new file; zeros become holes.
pub fn extract(disk: &Path, start: u64, size: u64, to: &Path) -> anyhow::Result<()> {
    let copy = || -> std::io::Result<()> {
        let mut from = File::open(disk)?;
        from.seek(SeekFrom::Start(start))?;
        let mut from = from.take(size);
        let mut out = File::create(to)?;
        out.set_len(size)?;
        let (mut buffer, zeros) = (vec![0; CHUNK], vec![0; CHUNK]);
        let mut at = 0;
        while at < size {
            let count = from.read(&mut buffer)?;
            if count == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if buffer[..count] != zeros[..count] {
                out.seek(SeekFrom::Start(at))?;
                out.write_all(&buffer[..count])?;
            }
            at += count as u64;
        }
        Ok(())
    };
    copy().with_context(|| {
        format!(
            "copying {size} bytes at {start} of {} to {}",
            disk.display(),
            to.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk of 8 MiB with a partition without a purpose and an ESP.
    fn disk(folder: &Path, block_size: LogicalBlockSize) -> std::path::PathBuf {
        let path = folder.join("disk.img");
        let file = File::create_new(&path).unwrap();
        file.set_len(8 << 20).unwrap();
        let mut gpt = GptConfig::new()
            .writable(true)
            .logical_block_size(block_size)
            .create(&path)
            .unwrap();
        gpt.add_partition("first", 1 << 20, gpt::partition_types::BASIC, 0, None)
            .unwrap();
        gpt.add_partition("boot", 2 << 20, gpt::partition_types::EFI, 0, None)
            .unwrap();
        gpt.write().unwrap();
        path
    }

    #[test]
    fn the_esp_is_found_for_both_block_sizes() {
        for block_size in [LogicalBlockSize::Lb512, LogicalBlockSize::Lb4096] {
            let folder = tempfile::tempdir().unwrap();
            let path = disk(folder.path(), block_size);
            let esp = find_esp(&path).unwrap();
            assert_eq!((esp.name.as_str(), esp.size), ("boot", 2 << 20));
            let first = &read_partitions(&path).unwrap()[0];
            assert_eq!(esp.start, first.start + first.size);
        }
    }

    #[test]
    fn an_extract_is_the_same_bytes_with_holes() {
        let folder = tempfile::tempdir().unwrap();
        let (disk, copy) = (folder.path().join("disk"), folder.path().join("copy"));
        let mut bytes = vec![0; 3 * CHUNK + 5];
        bytes[7] = 1;
        bytes[3 * CHUNK + 1] = 2;
        std::fs::write(&disk, &bytes).unwrap();
        extract(&disk, 7, 3 * CHUNK as u64 - 5, &copy).unwrap();
        assert_eq!(std::fs::read(&copy).unwrap(), bytes[7..3 * CHUNK + 2]);
        assert!(extract(&disk, 7, 3 * CHUNK as u64, &copy).is_err());
    }
}
