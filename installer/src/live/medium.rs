//! Configs on the medium.
//!
//! In: where the medium is mounted. Out: the config on its own file system, and the one that a
//! person copied onto the small FAT partition beside it, which is stronger.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::{CONFIG_LIMIT, CONFIG_ON_STICK, read_source};
use crate::config::{Source, SourceKind};
use crate::disk::fat::Fat;
use crate::disk::window::Window;

/// Every config on the medium, weakest first.
pub fn find_configs(medium: &Path, mounts: &Path) -> anyhow::Result<Vec<Source>> {
    let path = medium.join("harrow").join(CONFIG_ON_STICK);
    let mut sources = Vec::new();
    sources.extend(read_source(SourceKind::File, &path)?);
    let on_esp = on_esp(medium, mounts).context("looking for a config on the medium's ESP")?;
    if let Some(bytes) = on_esp {
        let name = format!("{CONFIG_ON_STICK} on the medium's EFI partition");
        sources.push(Source::yaml(SourceKind::File, &name, bytes));
    }
    Ok(sources)
}

/// `harrow.yaml` at the root of the ESP of the disk that the medium is on.
fn on_esp(medium: &Path, mounts: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    let context = || format!("reading {}", mounts.display());
    let mountinfo = std::fs::read_to_string(mounts).with_context(context)?;
    match source_of(&mountinfo, medium) {
        Some(source) => read_from_esp(&whole_disk(source)?),
        None => Ok(None),
    }
}

/// Reads [`CONFIG_ON_STICK`] from the ESP of a disk or disk image; `None` without ESP or file.
pub fn read_from_esp(disk: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    let context = || format!("reading {}", disk.display());
    // The medium's tables count in 512-byte sectors whatever drive it is in.
    let table = gpt::GptConfig::new()
        .logical_block_size(gpt::disk::LogicalBlockSize::Lb512)
        .only_valid_headers(false)
        .open(disk);
    let Ok(table) = table else {
        return Ok(None);
    };
    let esp = table
        .partitions()
        .values()
        .find(|p| p.part_type_guid == gpt::partition_types::EFI);
    let Some(esp) = esp else {
        return Ok(None);
    };
    let start = esp.first_lba * 512;
    let size = (esp.last_lba + 1).saturating_sub(esp.first_lba) * 512;
    let file = File::open(disk).with_context(context)?;
    Fat::open(Window::new(&file, start, size).with_budget(64 << 20))
        .with_context(context)?
        .read(CONFIG_ON_STICK, CONFIG_LIMIT + 1)
}

/// The device that is mounted on `place` (proc_pid_mountinfo(5): the word after the file
/// system type, which follows a single dash).
fn source_of<'a>(mountinfo: &'a str, place: &Path) -> Option<&'a str> {
    mountinfo.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mounted = before.split(' ').nth(4).map(Path::new);
        (mounted == Some(place))
            .then(|| after.split(' ').nth(1))
            .flatten()
    })
}

/// `/dev/sda` for `/dev/sda1`.
fn whole_disk(device: &str) -> anyhow::Result<PathBuf> {
    let name = device.trim_start_matches("/dev/");
    let dir = Path::new("/sys/class/block").join(name);
    if !dir.join("partition").exists() {
        return Ok(PathBuf::from(device));
    }
    let real = std::fs::canonicalize(&dir).with_context(|| format!("reading {}", dir.display()))?;
    let parent = real.parent().and_then(Path::file_name);
    let parent = parent.with_context(|| format!("{device} has no disk in sysfs"))?;
    Ok(Path::new("/dev").join(parent))
}

#[cfg(test)]
mod tests {
    use super::super::MEDIUM;
    use super::*;

    #[test]
    fn the_mediums_device_is_found() {
        let text = "22 1 0:5 / /dev rw - devtmpfs devtmpfs rw\n\
                    40 1 11:0 / /run/harrow/medium ro,relatime shared:1 - iso9660 /dev/sr0 ro\n";
        assert_eq!(source_of(text, Path::new(MEDIUM)), Some("/dev/sr0"));
        assert_eq!(source_of(text, Path::new("/nowhere")), None);
    }

    #[test]
    fn a_disk_without_esp_has_no_config() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(1 << 20).unwrap();
        assert_eq!(read_from_esp(file.path()).unwrap(), None);
    }
}
