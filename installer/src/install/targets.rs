//! From what a config and the command line say to the disks of an install.
//!
//! In: a resolved config, options. Out: the target, and the one for Longhorn's data when it is
//! another disk. Looks at disks and waits for them; writes nothing.

use std::path::Path;
use std::time::Duration;

use super::claim::as_free;
use super::run::Options;
use crate::config::{Config, DeviceChoice, Overwrite};
use crate::disk::choose::{self, Refusal};
use crate::disk::layout::{DataPlace, least_data_disk, least_disk};
use crate::disk::target::Target;
use crate::facts::{self, DiskFacts, NOT_ALLOWED, Roots, may_have_paths};
use crate::failure::{Failure, Kind};
use crate::sys::wait;

/// How often a disk is looked for.
const PAUSE: Duration = Duration::from_millis(500);

/// How long the other paths of a disk are waited for.
const MAP_PATIENCE: Duration = Duration::from_secs(20);

/// How long udev may take to name a disk that multipath made.
const NAME_PATIENCE: Duration = Duration::from_secs(90);

/// A disk that is asked for.
struct Asked<'a> {
    /// Who asks: a key of the config, or an option.
    field: &'a str,
    choice: &'a DeviceChoice,
    /// Bytes that it needs at least.
    least: u64,
    /// What may be lost, and so what may be taken down.
    word: &'a Overwrite,
}

/// What is installed on, and among what it was chosen.
pub struct Chosen {
    /// The install disk, or a file.
    pub target: Target,
    /// The disk for data, when the config wants another one for it.
    pub data: Option<Target>,
    /// The disks of this machine with what they hold, read once; none for a file.
    pub machine: Vec<DiskFacts>,
}

/// The target of an install, and the disk for data when the config wants another one for it.
/// `source` is the config's name. A disk that is busy with leftovers of its former life can be chosen
/// where `word` covers it. `maps` says that multipath runs, so that a disk may still become one.
pub fn choose_targets(
    config: &Config,
    word: &Overwrite,
    options: &Options,
    source: &str,
    maps: bool,
) -> anyhow::Result<Chosen> {
    let refuse = |what: &str, hint: &str| {
        let message = format!("{source}: {what}");
        Failure::error(Kind::ConfigInvalid, message, hint)
    };
    let given = options.device.as_deref();
    let said = config.storage.device.as_ref().filter(is_said);
    let file = given.or_else(|| said.and_then(DeviceChoice::path).map(Path::new));
    if let Some(size) = options.size {
        let Some(path) = file else {
            // Never a disk when a file was asked for.
            return Err(refuse(
                "--size is for a new file, and nothing names one",
                "give the file's name with --device, or leave --size out",
            ));
        };
        if config.storage.data_disk.is_some() {
            return Err(refuse(
                "install.data_disk: an install onto a file has no second disk",
                "leave it out: Longhorn's data then lies on the same file",
            ));
        }
        return Ok(Chosen {
            target: Target::probe(path, Some(size))?,
            data: None,
            machine: Vec::new(),
        });
    }
    let given = given.map(|path| DeviceChoice::Path(path.display().to_string()));
    let (field, choice) = match (&given, said) {
        (Some(given), _) => ("--device", given),
        (None, Some(said)) => ("install.device", said),
        (None, None) => {
            return Err(refuse(
                "install.device is missing",
                "name the disk to install on, such as /dev/disk/by-id/..., or give --device",
            ));
        }
    };
    let data_disk = config.storage.data_disk.as_ref().filter(is_said);
    let place = match data_disk {
        Some(_) => DataPlace::OtherDisk,
        None => config.storage.data,
    };
    let install = Asked {
        field,
        choice,
        least: least_disk(config.storage.sizes, place),
        word,
    };
    let data = data_disk.map(|choice| Asked {
        field: "install.data_disk",
        choice,
        least: least_data_disk(),
        word,
    });
    for asked in std::iter::once(&install).chain(&data) {
        asked.wait(options.patience);
        if maps {
            asked.wait_for_map();
        }
    }
    let machine = facts::probe(&Roots::default()).disks;
    let target = install.target(&machine)?;
    let data = data.map(|asked| asked.target(&machine)).transpose()?;
    if data.as_ref().is_some_and(|data| is_same(&target, data)) {
        return Err(refuse(
            &format!(
                "install.data_disk is the install disk, {}",
                target.describe()
            ),
            "name another disk, or leave it out: Longhorn's data then lies on the install disk",
        ));
    }
    Ok(Chosen {
        target,
        data,
        machine,
    })
}

fn is_said(choice: &&DeviceChoice) -> bool {
    !matches!(choice, DeviceChoice::Path(path) if path.is_empty())
}

fn is_same(one: &Target, other: &Target) -> bool {
    match (one, other) {
        (Target::Disk(one), Target::Disk(other)) => {
            one.name == other.name
                || one.paths.contains(&other.name)
                || other.paths.contains(&one.name)
        }
        _ => one.path() == other.path(),
    }
}

impl Asked<'_> {
    /// Waits for the disk to appear. Only to give it time: what is wrong with it is said better
    /// afterwards.
    fn wait(&self, patience: Duration) {
        if patience.is_zero() {
            return;
        }
        let roots = Roots::default();
        let appeared = || {
            let there = match self.choice {
                DeviceChoice::Path(path) => Path::new(path).exists(),
                rule => match choose::choose(rule, &facts::list(&roots), self.least) {
                    Ok(_) => true,
                    Err(refusal) => !matches!(refusal, Refusal::NoSuch { .. }),
                },
            };
            Ok(there.then_some(()))
        };
        wait::until("the disk", patience, PAUSE, appeared).ok();
    }

    /// Waits for further paths of a disk that may have several: those of a storage network come
    /// seconds apart. One that has a single path stays as it is, which the plan then says.
    fn wait_for_map(&self) {
        let roots = Roots::default();
        let is_settled = || {
            let disks = facts::list(&roots);
            let chosen = self.choose(&disks).ok().flatten();
            let single = chosen.is_some_and(|d| may_have_paths(d) && d.multipath.is_none());
            Ok((!single).then_some(()))
        };
        wait::until("the other paths", MAP_PATIENCE, PAUSE, is_settled).ok();
        // A busy udev names the map later than the kernel knows it.
        let has_name = || {
            let disks = facts::list(&roots);
            let chosen = self.choose(&disks).ok().flatten();
            Ok(chosen.is_none_or(|d| d.path.exists()).then_some(()))
        };
        wait::until("the disk's name", NAME_PATIENCE, PAUSE, has_name).ok();
    }

    /// The disk that is meant.
    fn target(&self, machine: &[DiskFacts]) -> anyhow::Result<Target> {
        match self.choose(machine)? {
            Some(disk) => unheld(disk.clone()),
            None => self.unlisted(),
        }
    }

    /// The disk that is meant, among those of the machine; `None` for a path that is not one's.
    fn choose<'a>(&self, machine: &'a [DiskFacts]) -> anyhow::Result<Option<&'a DiskFacts>> {
        let disks: Vec<DiskFacts> = machine.iter().map(|disk| self.as_free(disk)).collect();
        let found = match self.choice {
            DeviceChoice::Path(path) => {
                let Some(name) = name_in(path, &disks) else {
                    return Ok(None);
                };
                choose::choose(&DeviceChoice::Path(name), &disks, self.least)
            }
            rule => choose::choose(rule, &disks, self.least),
        };
        let found = found.map_err(|refusal| refusal.failure(self.field))?;
        Ok(machine.iter().find(|disk| disk.name == found.name))
    }

    /// The disk as it will be once its leftovers are taken down, when they may be.
    fn as_free(&self, disk: &DiskFacts) -> DiskFacts {
        let mut free = as_free(self.word, disk, &[]).unwrap_or_else(|_| disk.clone());
        // The claim refuses one that can't be read. A rule must not go on to the next disk.
        if disk.size > 0 {
            free.unreadable = None;
        }
        free
    }

    /// A device that is not among the disks of this machine: a RAID, or no disk at all. The probe
    /// says what it is.
    fn unlisted(&self) -> anyhow::Result<Target> {
        let path = Path::new(self.choice.path().unwrap_or_default());
        let mut disk = match Target::probe(path, None)? {
            Target::Disk(disk) => disk,
            file @ Target::File { .. } => return Ok(file),
        };
        facts::read_contents(&mut disk, &Roots::default());
        self.check(&disk)?;
        unheld(disk)
    }

    /// Whether a disk that was named may be taken once it is free.
    fn check(&self, disk: &DiskFacts) -> anyhow::Result<()> {
        let what = format!("{}: {}", self.field, disk.path.display());
        choose::candidate_by_name(&self.as_free(disk), self.least).map_err(|why| why.failure(&what))
    }
}

/// The kernel is asked too where nothing is known to use a disk. One that does not answer is not
/// touched again: the claim refuses it.
fn unheld(disk: DiskFacts) -> anyhow::Result<Target> {
    let answers = disk
        .unreadable
        .as_ref()
        .is_none_or(|why| why == NOT_ALLOWED);
    match answers && disk.users.is_empty() {
        true => Target::of_disk(disk),
        false => Ok(Target::Disk(disk)),
    }
}

/// The path by which the facts know a disk: the same, or that of the node that a link means which
/// the facts do not have.
fn name_in(path: &str, disks: &[DiskFacts]) -> Option<String> {
    let known = |path: &str| !matches!(choose::named(path, disks), Err(Refusal::NoSuch { .. }));
    if known(path) {
        return Some(path.to_owned());
    }
    let node = std::fs::canonicalize(path).ok()?;
    let node = node.to_str().filter(|node| known(node))?;
    Some(node.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DiskRule, Pick};
    use crate::facts::{Content, Holding, Use, User};

    #[test]
    fn links_that_the_facts_do_not_have_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("my-disk");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        let disk = DiskFacts {
            path: "/dev/null".into(),
            name: "null".into(),
            links: vec!["/dev/disk/by-id/x".into()],
            ..DiskFacts::default()
        };
        let disks = [disk];
        let name = |path: &str| name_in(path, &disks);
        assert_eq!(name(link.to_str().unwrap()).as_deref(), Some("/dev/null"));
        assert_eq!(
            name("/dev/disk/by-id/x").as_deref(),
            Some("/dev/disk/by-id/x")
        );
        assert_eq!(name("/dev/zero"), None);
        assert_eq!(name("/no/such"), None);
    }

    #[test]
    fn a_rule_chooses_by_what_the_disks_hold_and_passes_over_none_that_is_silent() {
        let how = Use::Lvm {
            vg: "vg0".into(),
            lv: "root".into(),
        };
        let old = Content {
            partition: None,
            size: 1 << 40,
            what: Holding::Harvester,
        };
        let sda = DiskFacts {
            path: "/dev/sda".into(),
            name: "sda".into(),
            size: 1 << 40,
            users: vec![User {
                device: "sda1".into(),
                how,
            }],
            holds: vec![old],
            ..DiskFacts::default()
        };
        let sdb = DiskFacts {
            path: "/dev/sdb".into(),
            name: "sdb".into(),
            size: 2 << 40,
            ..DiskFacts::default()
        };
        let choose = |machine: &[DiskFacts]| {
            let word = Overwrite {
                wipe_all: true,
                ..Overwrite::default()
            };
            let rule = DiskRule {
                pick: Some(Pick::Smallest),
                ..DiskRule::default()
            };
            let asked = Asked {
                field: "install.device",
                choice: &DeviceChoice::Rule(rule),
                least: 0,
                word: &word,
            };
            asked.choose(machine).unwrap().unwrap().clone()
        };
        assert_eq!(choose(&[sda.clone(), sdb.clone()]), sda);
        let silent = DiskFacts {
            unreadable: Some("no answer".into()),
            users: Vec::new(),
            ..sda
        };
        assert_eq!(choose(&[silent.clone(), sdb]), silent);
    }

    #[test]
    fn a_raid_with_leftovers_is_taken_with_the_configs_word() {
        let how = Use::Lvm {
            vg: "vg0".into(),
            lv: "root".into(),
        };
        let raid = DiskFacts {
            path: "/dev/md0".into(),
            name: "md0".into(),
            size: 1 << 40,
            users: vec![User {
                device: "md0".into(),
                how,
            }],
            ..DiskFacts::default()
        };
        let check = |allowed, least| {
            let word = Overwrite {
                allowed,
                ..Overwrite::default()
            };
            let asked = Asked {
                field: "install.device",
                choice: &DeviceChoice::Path("/dev/md0".into()),
                least,
                word: &word,
            };
            let refused = asked.check(&raid).err();
            refused.map(|error| Failure::of(&error).unwrap().kind)
        };
        assert_eq!(check(true, 0), None);
        assert_eq!(check(false, 0), Some(Kind::DeviceInUse));
        assert_eq!(check(true, 2 << 40), Some(Kind::DeviceTooSmall));
    }

    #[test]
    fn one_disk_is_not_two() {
        let target = |name: &str, paths: &[&str]| {
            Target::Disk(DiskFacts {
                name: name.into(),
                paths: paths.iter().map(|p| (*p).to_owned()).collect(),
                ..DiskFacts::default()
            })
        };
        assert!(is_same(&target("sda", &[]), &target("sda", &[])));
        assert!(is_same(
            &target("dm-0", &["sda", "sdb"]),
            &target("sdb", &[])
        ));
        assert!(!is_same(&target("sda", &[]), &target("sdb", &[])));
    }
}
