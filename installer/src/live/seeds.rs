//! Seed disks of the live system.
//!
//! In: the block devices. Out: the user-data of every NoCloud or ConfigDrive disk, as sources.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use super::metadata::{Datasource, parse_datasource};
use super::{CONFIG_LIMIT, Places};
use crate::config::seed::{Seed, read_seed};
use crate::config::{Source, SourceKind};
use crate::failure::{Failure, Kind};
use crate::sys::wait;

/// Names of devices that are made of others or of memory.
const OTHERS: [&str; 7] = ["loop", "ram", "zram", "dm-", "md", "nbd", "fd"];
/// How often a seed disk is looked for.
const PAUSE: Duration = Duration::from_secs(1);

/// Every seed disk. One that the command line promises (`ds=nocloud`, `ds=configdrive`) is waited
/// for. `tell` hears of disks that could not be read.
pub fn find_seeds(places: &Places, tell: &dyn Fn(String)) -> anyhow::Result<Vec<Source>> {
    let found = find_in(&places.block, &places.dev, tell)?;
    let promised = parse_datasource(&places.line) == Some(Datasource::Disk);
    if !found.is_empty() || !promised {
        return Ok(found);
    }
    tell("waiting for the seed disk".into());
    let again = || {
        let found = find_in(&places.block, &places.dev, &|_| {})?;
        Ok((!found.is_empty()).then_some(found))
    };
    wait::until("the seed disk", places.patience, PAUSE, again).map_err(|e| {
        if Failure::of(&e).is_some() {
            return e;
        }
        Failure::error(
            Kind::ConfigMissing,
            format!("ds= on the kernel's command line promises a seed disk: {e:#}"),
            "a disk with the label CIDATA and a file user-data, or config-2 and openstack/latest/user_data",
        )
    })
}

fn find_in(block: &Path, dev: &Path, tell: &dyn Fn(String)) -> anyhow::Result<Vec<Source>> {
    let mut names = Vec::new();
    let entries = std::fs::read_dir(block);
    for entry in entries.with_context(|| format!("reading {}", block.display()))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    // Disks come before their partitions.
    names.sort();
    let mut sources = Vec::new();
    let mut seeds: Vec<String> = Vec::new();
    for name in names {
        let known = seeds.iter().any(|disk| is_partition(&name, disk));
        if known || OTHERS.iter().any(|other| name.starts_with(other)) {
            continue;
        }
        // Sectors of 512 bytes, whatever the disk's own are.
        let size = std::fs::read_to_string(block.join(&name).join("size"));
        if size.is_ok_and(|text| text.trim() == "0") {
            continue;
        }
        match read_some_seed(&dev.join(&name), tell) {
            Ok(None) => {}
            Ok(Some(source)) => {
                sources.push(source);
                seeds.push(name);
            }
            // It is one, and says too much.
            Err(error) if Failure::of(&error).is_some() => return Err(error),
            Err(error) if is_empty_drive(&error) => {}
            Err(error) => tell(format!("looking for a config: {error:#}")),
        }
    }
    Ok(sources)
}

/// The user-data of a seed disk or an image of one; `None` when it is none or says nothing.
pub fn read_some_seed(device: &Path, tell: &dyn Fn(String)) -> anyhow::Result<Option<Source>> {
    let Some(Seed { source, user_data }) = read_seed(device, CONFIG_LIMIT)? else {
        return Ok(None);
    };
    // NoCloud wants a file user-data even where there is nothing to say.
    if !says_something(&user_data) {
        tell(format!("{source} is empty"));
        return Ok(None);
    }
    Ok(Some(Source::yaml(SourceKind::SeedDisk, &source, user_data)))
}

/// Whether user-data holds more than the first line that cloud-init wants.
pub fn says_something(user_data: &[u8]) -> bool {
    !matches!(user_data.trim_ascii(), b"" | b"#cloud-config")
}

/// Whether a device's name is that of a partition of a disk: `sda1`, `nvme0n1p1`.
fn is_partition(name: &str, disk: &str) -> bool {
    let Some(rest) = name.strip_prefix(disk) else {
        return false;
    };
    let number = match disk.ends_with(|c: char| c.is_ascii_digit()) {
        true => rest.strip_prefix('p').unwrap_or_default(),
        false => rest,
    };
    !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
}

/// Whether there is only no disc in a drive.
fn is_empty_drive(error: &anyhow::Error) -> bool {
    let cause = error.root_cause().downcast_ref::<std::io::Error>();
    let code = cause.and_then(std::io::Error::raw_os_error);
    code == Some(rustix::io::Errno::NOMEDIUM.raw_os_error())
}

/// A NoCloud disk image with this user-data.
#[cfg(test)]
pub(super) fn make_seed(image: &Path, user_data: &str) {
    use crate::sys::cmd::Cmd;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), user_data).unwrap();
    Cmd::new("mkfs.vfat")
        .args(["-n", "CIDATA", "-C"])
        .arg(image)
        .arg("1440")
        .run()
        .unwrap();
    Cmd::new("mcopy")
        .arg("-i")
        .arg(image)
        .arg(file.path())
        .arg("::user-data")
        .run()
        .unwrap();
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::path::PathBuf;

    use super::*;
    use crate::sys::cmdline::Cmdline;

    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new() -> Self {
            let machine = Self(tempfile::tempdir().unwrap());
            std::fs::create_dir(machine.places("").dev).unwrap();
            std::fs::create_dir(machine.places("").block).unwrap();
            machine
        }

        fn disk(&self, name: &str, sectors: u64) -> PathBuf {
            let Places { block, dev, .. } = self.places("");
            std::fs::create_dir_all(block.join(name)).unwrap();
            std::fs::write(block.join(name).join("size"), format!("{sectors}\n")).unwrap();
            dev.join(name)
        }

        fn places(&self, line: &str) -> Places {
            let path = |name: &str| self.0.path().join(name);
            Places {
                line: Cmdline::parse(line),
                defaults: path("none"),
                block: path("block"),
                dev: path("dev"),
                mounts: path("none"),
                patience: Duration::ZERO,
            }
        }
    }

    #[test]
    fn disks_with_the_label_are_sources() {
        let machine = Machine::new();
        for name in ["sda", "sda1", "sdaa", "loop0"] {
            make_seed(&machine.disk(name, 2880), "#cloud-config\ntoken: x\n");
        }
        make_seed(&machine.disk("sdb", 2880), "#cloud-config\n");
        machine.disk("sr0", 0);
        std::fs::write(machine.disk("vda", 2880), [0; 4096]).unwrap();
        machine.disk("gone", 2880);
        let told = RefCell::new(Vec::new());
        let places = machine.places("ds=nocloud");
        let found = find_seeds(&places, &|line| told.borrow_mut().push(line)).unwrap();
        let names: Vec<&str> = found.iter().map(|s| &*s.name).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        assert!(names[0].contains("NoCloud") && names[0].ends_with("sda"));
        assert!(names[1].ends_with("sdaa"), "{names:?}");
        assert!(found.iter().all(|s| s.kind == SourceKind::SeedDisk));
        let told = told.into_inner().join("\n");
        assert!(
            told.contains("gone") && told.contains("sdb is empty"),
            "{told}"
        );
    }

    #[test]
    fn a_promised_disk_must_come() {
        let machine = Machine::new();
        assert_eq!(find_seeds(&machine.places("ds=ec2"), &|_| {}).unwrap(), []);
        let error = find_seeds(&machine.places("ds=configdrive"), &|_| {}).unwrap_err();
        assert_eq!(Failure::of(&error).unwrap().kind, Kind::ConfigMissing);
    }

    #[test]
    fn partitions_belong_to_their_disks() {
        for (name, disk, belongs) in [
            ("sda1", "sda", true),
            ("sdaa", "sda", false),
            ("sda", "sda", false),
            ("nvme0n1p2", "nvme0n1", true),
            ("nvme0n10", "nvme0n1", false),
            ("sr0", "sda", false),
        ] {
            assert_eq!(is_partition(name, disk), belongs, "{name} {disk}");
        }
    }
}
