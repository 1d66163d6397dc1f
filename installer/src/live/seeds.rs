//! Seed disks of the live system.
//!
//! In: the block devices. Out: the user-data of every NoCloud or ConfigDrive disk, as sources.

use std::path::Path;

use anyhow::Context as _;

use super::CONFIG_LIMIT;
use crate::config::seed::{Seed, read_seed};
use crate::config::{Source, SourceKind};
use crate::failure::Failure;

/// The largest disk that is looked at: seeds are small, and other disks are left in peace.
const LARGEST: u64 = 4 << 30;
/// Names of devices that are made of others or of memory.
const OTHERS: [&str; 7] = ["loop", "ram", "zram", "dm-", "md", "nbd", "fd"];

/// Every seed disk. `tell` hears of disks that could not be read.
pub fn find_seeds(tell: impl Fn(String)) -> anyhow::Result<Vec<Source>> {
    find_in(Path::new("/sys/class/block"), Path::new("/dev"), tell)
}

fn find_in(block: &Path, dev: &Path, tell: impl Fn(String)) -> anyhow::Result<Vec<Source>> {
    let mut names = Vec::new();
    let entries = std::fs::read_dir(block);
    for entry in entries.with_context(|| format!("reading {}", block.display()))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let mut sources = Vec::new();
    let mut seeds: Vec<String> = Vec::new();
    for name in names {
        let known = seeds.iter().any(|disk| name.starts_with(disk.as_str()));
        if known || OTHERS.iter().any(|other| name.starts_with(other)) {
            continue;
        }
        // Sectors of 512 bytes, whatever the disk's own are; an empty drive has none.
        let size = std::fs::read_to_string(block.join(&name).join("size"));
        let size = size.ok().and_then(|text| text.trim().parse::<u64>().ok());
        if !size.is_some_and(|sectors| (1..=LARGEST / 512).contains(&sectors)) {
            continue;
        }
        match read_seed(&dev.join(&name), CONFIG_LIMIT) {
            Ok(None) => {}
            Ok(Some(Seed { source, user_data })) => {
                sources.push(Source::yaml(SourceKind::SeedDisk, &source, user_data));
                seeds.push(name);
            }
            // It is one, and says too much.
            Err(error) if Failure::of(&error).is_some() => return Err(error),
            Err(error) => tell(format!("looking for a config: {error:#}")),
        }
    }
    Ok(sources)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::cmd::Cmd;

    #[test]
    fn small_disks_with_the_label_are_sources() {
        let dir = tempfile::tempdir().unwrap();
        let (block, dev) = (dir.path().join("block"), dir.path().join("dev"));
        std::fs::create_dir(&dev).unwrap();
        let disk = |name: &str, sectors: u64| {
            std::fs::create_dir_all(block.join(name)).unwrap();
            std::fs::write(block.join(name).join("size"), format!("{sectors}\n")).unwrap();
            dev.join(name)
        };
        let user_data = dir.path().join("user-data");
        std::fs::write(&user_data, "#cloud-config\ntoken: x\n").unwrap();
        for name in ["sda", "sda1", "sdb", "loop0"] {
            let path = disk(name, if name == "sdb" { LARGEST } else { 2880 });
            let image = path.to_str().unwrap();
            Cmd::new("mkfs.vfat")
                .args(["-n", "CIDATA", "-C", image, "1440"])
                .run()
                .unwrap();
            let source = user_data.to_str().unwrap();
            Cmd::new("mcopy")
                .args(["-i", image, source, "::user-data"])
                .run()
                .unwrap();
        }
        disk("sr0", 0);
        std::fs::write(disk("vda", 2880), [0; 4096]).unwrap();
        disk("gone", 2880);
        let told = std::cell::RefCell::new(Vec::new());
        let found = find_in(&block, &dev, |line| told.borrow_mut().push(line)).unwrap();
        let names: Vec<&str> = found.iter().map(|s| &*s.name).collect();
        assert_eq!(names.len(), 1, "{names:?}");
        assert!(
            names[0].contains("NoCloud") && names[0].ends_with("sda"),
            "{names:?}"
        );
        assert_eq!(found[0].kind, SourceKind::SeedDisk);
        assert_eq!(told.borrow().len(), 1);
        assert!(told.borrow()[0].contains("gone"));
    }
}
