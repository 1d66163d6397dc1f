//! What an install takes from its owner, and whether the config's word covers that.
//!
//! In: facts of disks, [`Overwrite`]. Out: what is lost, one line for each thing; a refusal of a disk
//! that holds data without the config's word for it; the further disks to wipe. Pure.

use std::path::Path;

use super::choose::{self, WhyNot};
use uuid::Uuid;

use super::layout::{Role, derive};
use crate::config::Overwrite;
use crate::facts::{Content, DiskFacts, Holding, Use, User, content};
use crate::failure::{Failure, Kind};

/// What is lost, by name and size.
pub fn losses(disk: &DiskFacts) -> Vec<String> {
    let told = content::told(&disk.holds).into_iter();
    let mut lost: Vec<String> = told.map(ToString::to_string).collect();
    lost.extend(disk.unreadable.as_ref().map(|why| unknown(why)));
    lost
}

fn unknown(why: &str) -> String {
    format!("nobody knows what it holds: {why}")
}

/// Whether somebody could miss what a disk holds. An install of ours that did not end is no data, and
/// neither is a table without partitions.
pub fn holds_data(disk: &DiskFacts) -> bool {
    let is_missed = |content: &Content| {
        !matches!(
            content.what,
            Holding::Table { .. } | Holding::UnfinishedInstall { .. }
        )
    };
    disk.holds.iter().any(is_missed) || disk.unreadable.is_some()
}

/// Whether the config's word covers the loss of what a disk holds, which the install needs.
pub fn covers(word: &Overwrite, disk: &DiskFacts) -> bool {
    word.allowed
        || (word.wipe_all && holds_an_install(disk))
        || word.wipe.iter().any(|name| is_called(disk, name))
}

/// Whether `name` is one of the disk's, or of its paths'.
fn is_called(disk: &DiskFacts, name: &str) -> bool {
    let path = Path::new(name);
    let kernels = |kernel: &String| path == Path::new("/dev").join(kernel);
    disk.path == path
        || disk.links.iter().any(|link| link == path)
        || kernels(&disk.name)
        || disk.paths.iter().any(kernels)
}

/// Whether all that a disk holds is the data partition that the install `id` made there. When that
/// one did not end, nobody has put anything into it yet.
pub fn is_of_install(disk: &DiskFacts, id: Uuid) -> bool {
    let made = derive(id, Role::Data.label()).to_string();
    let mut partitions = disk.holds.iter().filter_map(|content| match &content.what {
        Holding::Partition(partition) => Some(partition.uuid.as_deref()),
        _ => None,
    });
    partitions.next() == Some(Some(made.as_str())) && partitions.next().is_none()
}

/// Refuses a disk that holds data which the config's word does not cover.
pub fn check(word: &Overwrite, disk: &DiskFacts) -> anyhow::Result<()> {
    if !holds_data(disk) || covers(word, disk) {
        return Ok(());
    }
    let path = disk.path.display();
    let lost = match &disk.unreadable {
        Some(why) => unknown(why),
        None => content::in_words(&disk.holds),
    };
    Err(Failure::error(
        Kind::DeviceHoldsData,
        format!("{path} holds data that would be lost: {lost}"),
        "set install.allow_overwrite: true (by hand: --allow-overwrite) to lose it, \
         or name another disk",
    ))
}

/// The disks that are wiped besides those that the install needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Further {
    /// What is wiped.
    pub wipe: Vec<DiskFacts>,
    /// What is not, although the config names it, and why.
    pub warnings: Vec<String>,
}

/// Finds the disks that the config wants wiped besides the `needed` ones. One that can't be is no
/// reason to end an install; the medium, and what is mounted, never is.
pub fn further(word: &Overwrite, machine: &[DiskFacts], needed: &[&DiskFacts]) -> Further {
    let mut further = Further::default();
    let is_needed = |disk: &DiskFacts| needed.iter().any(|n| is_under(disk, n));
    let mut add = |disk: &DiskFacts, key: &str| {
        if is_needed(disk) || further.wipe.iter().any(|d| d.name == disk.name) {
            return;
        }
        match why_not(disk) {
            None => further.wipe.push(disk.clone()),
            Some(why) => {
                let path = disk.path.display();
                let warning = format!("install.{key}: {path} is left alone: {why}");
                further.warnings.push(warning);
            }
        }
    };
    let mut missing = Vec::new();
    for name in &word.wipe {
        match machine.iter().find(|disk| is_called(disk, name)) {
            Some(disk) => add(disk, "wipe_disks_list"),
            None if needed.iter().any(|disk| is_called(disk, name)) => {}
            None => missing.push(format!(
                "install.wipe_disks_list: {name} is left alone: it is missing, or can't be read"
            )),
        }
    }
    if word.wipe_all {
        for disk in machine.iter().filter(|disk| holds_an_install(disk)) {
            add(disk, "wipe_all_disks");
        }
    }
    further.warnings.extend(missing);
    further
}

/// Whether a disk is `whole`, a path to it, or what that RAID lies on.
fn is_under(disk: &DiskFacts, whole: &DiskFacts) -> bool {
    let is_member = |user: &User| matches!(&user.how, Use::Md { name, .. } if *name == whole.name);
    disk.name == whole.name || whole.paths.contains(&disk.name) || disk.users.iter().any(is_member)
}

fn holds_an_install(disk: &DiskFacts) -> bool {
    let is_install = |content: &Content| {
        matches!(
            content.what,
            Holding::Harrow | Holding::Harvester | Holding::UnfinishedInstall { .. }
        )
    };
    !disk.medium && disk.holds.iter().any(is_install)
}

/// Why a disk is not wiped. What is only a leftover may be taken down.
fn why_not(disk: &DiskFacts) -> Option<String> {
    let mut free = disk.clone();
    let is_mount = |user: &User| matches!(user.how, Use::Mounted { .. });
    free.users.retain(is_mount);
    let unreadable = disk.unreadable.clone().map(WhyNot::Unreadable);
    let why = choose::candidate_by_name(&free, 0).err().or(unreadable);
    why.map(|why| why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{NOT_ALLOWED, Partition};

    const GIB: u64 = 1 << 30;

    fn disk(name: &str, holds: &[(Option<u32>, Holding)]) -> DiskFacts {
        let content = |(partition, what): &(Option<u32>, Holding)| Content {
            partition: *partition,
            size: GIB,
            what: what.clone(),
        };
        DiskFacts {
            path: Path::new("/dev").join(name),
            name: name.into(),
            size: 100 * GIB,
            links: vec![format!("/dev/disk/by-id/wwn-{name}").into()],
            holds: holds.iter().map(content).collect(),
            ..DiskFacts::default()
        }
    }

    fn gpt() -> (Option<u32>, Holding) {
        (None, Holding::Table { kind: "gpt".into() })
    }

    fn partition(number: u32) -> (Option<u32>, Holding) {
        (Some(number), Holding::Partition(Partition::default()))
    }

    fn unfinished() -> (Option<u32>, Holding) {
        let what = Holding::UnfinishedInstall {
            version: "1".into(),
            started: "2026-01-01T00:00:00Z".into(),
        };
        (None, what)
    }

    fn list(names: &[&str]) -> Overwrite {
        Overwrite {
            wipe: names.iter().map(|n| (*n).to_owned()).collect(),
            ..Overwrite::default()
        }
    }

    fn all() -> Overwrite {
        Overwrite {
            wipe_all: true,
            ..Overwrite::default()
        }
    }

    #[test]
    fn data_is_refused_without_a_word_for_it() {
        let none = Overwrite::default();
        let lvm = (
            Some(2),
            Holding::Lvm {
                vg: Some("vg0".into()),
            },
        );
        for holds in [vec![], vec![gpt()], vec![unfinished()]] {
            check(&none, &disk("sda", &holds)).unwrap();
        }
        for holds in [
            vec![gpt(), partition(1)],
            vec![(None, Holding::Swap)],
            vec![gpt(), partition(2), lvm.clone()],
            vec![unfinished(), partition(1)],
        ] {
            let sda = disk("sda", &holds);
            let error = check(&none, &sda).unwrap_err();
            let failure = Failure::of(&error).unwrap();
            assert_eq!(failure.kind, Kind::DeviceHoldsData);
            assert!(failure.message.starts_with("/dev/sda holds"), "{failure}");
            assert!(failure.hint.contains("install.allow_overwrite: true"));
            let allowed = Overwrite {
                allowed: true,
                ..Overwrite::default()
            };
            let by_link = list(&["/dev/disk/by-id/wwn-sda"]);
            for word in [&allowed, &list(&["/dev/sda"]), &by_link] {
                check(word, &sda).unwrap();
            }
            check(&list(&["/dev/sdb"]), &sda).unwrap_err();
            // Of all disks, only those with an install are meant.
            let is_meant = holds.contains(&unfinished());
            assert_eq!(check(&all(), &sda).is_ok(), is_meant, "{sda:?}");
            let mut old = sda.clone();
            old.holds
                .extend(disk("sda", &[(None, Holding::Harvester)]).holds);
            check(&all(), &old).unwrap();
        }
        let sda = disk("sda", &[gpt(), partition(1), partition(2), lvm]);
        assert_eq!(
            losses(&sda),
            [
                "partition 1 (1 GiB)",
                "LVM's volume group vg0 (partition 2, 1 GiB)"
            ]
        );
        let broken = DiskFacts {
            unreadable: Some("I/O error".into()),
            ..disk("sda", &[])
        };
        let error = check(&none, &broken).unwrap_err();
        assert!(error.to_string().contains("I/O error"), "{error}");
    }

    #[test]
    fn further_disks_are_those_of_the_list_that_can_be_wiped() {
        let mounted = User {
            device: "sdd1".into(),
            how: Use::Mounted { on: "/mnt".into() },
        };
        let machine = [
            disk("sda", &[]),
            disk("sdb", &[]),
            DiskFacts {
                medium: true,
                ..disk("sdc", &[(None, Holding::Harrow)])
            },
            DiskFacts {
                users: vec![mounted],
                ..disk("sdd", &[])
            },
            disk("sde", &[(None, Holding::Harrow)]),
        ];
        let names = |further: &Further| -> Vec<String> {
            further.wipe.iter().map(|d| d.name.clone()).collect()
        };
        let word = list(&["/dev/sda", "/dev/disk/by-id/wwn-sdb", "/dev/sdb"]);
        let found = further(&word, &machine, &[&machine[0]]);
        assert_eq!(
            (names(&found), found.warnings.len()),
            (vec!["sdb".to_owned()], 0)
        );
        let word = list(&["/dev/sdc", "/dev/sdd", "/dev/gone"]);
        let found = further(&word, &machine, &[&machine[0]]);
        assert!(found.wipe.is_empty());
        for (warning, why) in found
            .warnings
            .iter()
            .zip(["runs from it", "/mnt", "missing"])
        {
            assert!(warning.contains(why), "{warning}");
        }
        assert_eq!(found.warnings.len(), 3);
        let found = further(&all(), &machine, &[&machine[0]]);
        assert_eq!(
            (names(&found), found.warnings.len()),
            (vec!["sde".to_owned()], 0)
        );
        let found = further(&Overwrite::default(), &machine, &[&machine[0]]);
        assert_eq!(found, Further::default());
    }

    #[test]
    fn whatever_can_not_be_installed_on_is_not_wiped_either() {
        let sdb = || disk("sdb", &[]);
        let (mut empty, mut read_only, mut cd) = (sdb(), sdb(), sdb());
        empty.size = 0;
        read_only.read_only = true;
        cd.name = "sr0".into();
        let silent = |why: &str| DiskFacts {
            unreadable: Some(why.into()),
            ..sdb()
        };
        for (sdb, says) in [
            (empty, "no medium in the drive"),
            (read_only, "read-only"),
            (silent(NOT_ALLOWED), "only root"),
            (silent("I/O error"), "I/O error"),
            (cd, "a CD drive"),
        ] {
            let found = further(&list(&["/dev/sdb"]), &[sdb], &[]);
            assert_eq!(found.wipe, []);
            assert!(found.warnings[0].contains(says), "{:?}", found.warnings);
        }
    }

    #[test]
    fn what_the_install_disk_is_made_of_is_not_wiped_from_under_it() {
        let member = |name: &str, how: Use| DiskFacts {
            users: vec![User {
                device: format!("{name}1"),
                how,
            }],
            ..disk(name, &[(None, Holding::Harrow)])
        };
        let md = |name: &str| Use::Md {
            name: name.into(),
            level: "raid1".into(),
        };
        let mpath = Use::Multipath {
            name: "mpatha".into(),
        };
        let machine = [
            member("sda", md("md0")),
            member("sdb", mpath),
            member("sdc", md("md1")),
        ];
        let raid = disk("md0", &[]);
        let map = DiskFacts {
            paths: vec!["sdb".into()],
            ..disk("dm-0", &[])
        };
        for word in [all(), list(&["/dev/sda", "/dev/sdb", "/dev/sdc"])] {
            let found = further(&word, &machine, &[&raid, &map]);
            assert_eq!(found.wipe, machine[2..], "{word:?}");
            assert_eq!(found.warnings, [""; 0]);
        }
    }
}
