//! The disks that an install takes: whether it may, and what has to be known before.
//!
//! In: the config's word, the chosen targets, facts of the machine. Out: [`Claim`], or a refusal.
//! Pure.

use std::path::PathBuf;

use uuid::Uuid;

use crate::config::Overwrite;
use crate::disk::choose;
use crate::disk::coverage;
use crate::disk::release::{self, Action};
use crate::disk::target::Target;
use crate::facts::{DiskFacts, Use};

/// What an install takes besides its own disks, and what it leaves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claim {
    /// Further disks to wipe.
    pub wipe: Vec<Target>,
    /// What will be taken down, by the path of the disk that it keeps busy.
    pub release: Vec<(PathBuf, Vec<Action>)>,
    /// What is worth knowing about disks.
    pub warnings: Vec<String>,
}

/// Decides whether the disks that an install needs may be taken, and which others are wiped. `ours`
/// is the install that did not end on the first of them: what it made on another is no data.
pub fn claim(
    word: &Overwrite,
    needed: &[&Target],
    machine: &[DiskFacts],
    ours: Option<Uuid>,
) -> anyhow::Result<Claim> {
    let needed: Vec<&DiskFacts> = needed.iter().filter_map(|t| t.facts()).collect();
    if needed.is_empty() {
        // A file is made for another machine, whose disks nobody knows here.
        return Ok(Claim::default());
    }
    let coverage::Further { wipe, mut warnings } = coverage::further(word, machine, &needed);
    let others = kept(machine, needed.iter().copied().chain(&wipe));
    let (mut wiped, mut refused, mut release) = (Vec::new(), Vec::new(), Vec::new());
    for disk in &wipe {
        match release::actions(disk, &others) {
            Ok(actions) => {
                release.push((disk.path.clone(), actions));
                wiped.push(disk.clone());
            }
            Err(error) => refused.push(format!("{} is left alone: {error}", disk.path.display())),
        }
    }
    warnings.append(&mut refused);
    let others = kept(machine, needed.iter().copied().chain(&wiped));
    for disk in needed {
        let free = as_free(word, disk, &others)?;
        let path = disk.path.display().to_string();
        choose::candidate_by_name(&free, 0).map_err(|why| why.failure(&path))?;
        if !ours.is_some_and(|id| coverage::is_of_install(disk, id)) {
            coverage::check(word, disk)?;
        }
        release.push((disk.path.clone(), release::actions(disk, &others)?));
    }
    release.retain(|(_, actions)| !actions.is_empty());
    Ok(Claim {
        wipe: wiped.into_iter().map(Target::Disk).collect(),
        release,
        warnings,
    })
}

/// A disk as it is once its leftovers are taken down, where the config's word covers that; `others` are
/// disks that may not lose anything.
pub fn as_free(
    word: &Overwrite,
    disk: &DiskFacts,
    others: &[&DiskFacts],
) -> anyhow::Result<DiskFacts> {
    let mut free = disk.clone();
    if coverage::covers(word, disk) {
        release::actions(disk, others)?;
        free.users.clear();
    }
    Ok(free)
}

/// The disks that are neither needed nor wiped.
pub fn kept<'a>(
    machine: &'a [DiskFacts],
    taken: impl Iterator<Item = &'a DiskFacts>,
) -> Vec<&'a DiskFacts> {
    let names = |disk: &'a DiskFacts| std::iter::once(&disk.name).chain(&disk.paths);
    let taken: Vec<&String> = taken.flat_map(names).collect();
    // What a RAID that is taken lies on is taken with it.
    let is_under = |disk: &DiskFacts| {
        let mut users = disk.users.iter();
        users.any(|user| matches!(&user.how, Use::Md { name, .. } if taken.contains(&name)))
    };
    let is_kept = |disk: &&DiskFacts| !taken.contains(&&disk.name) && !is_under(disk);
    machine.iter().filter(is_kept).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::layout::{Role, derive};
    use crate::facts::{Content, Holding, User};
    use crate::failure::{Failure, Kind};

    fn disk(name: &str, vg: Option<&str>) -> DiskFacts {
        let lvm = vg.map(|vg| User {
            device: format!("{name}1"),
            how: Use::Lvm {
                vg: vg.into(),
                lv: "root".into(),
            },
        });
        let holds = vg.map(|vg| Content {
            partition: Some(1),
            size: 1 << 30,
            what: Holding::Lvm {
                vg: Some(vg.into()),
            },
        });
        DiskFacts {
            path: format!("/dev/{name}").into(),
            name: name.into(),
            size: 1 << 40,
            users: lvm.into_iter().collect(),
            holds: holds.into_iter().collect(),
            ..DiskFacts::default()
        }
    }

    fn claim_sda(machine: &[DiskFacts], allowed: bool, wipe: &[&str]) -> anyhow::Result<Claim> {
        let word = Overwrite {
            allowed,
            wipe: wipe.iter().map(|n| (*n).to_owned()).collect(),
            ..Overwrite::default()
        };
        claim(&word, &[&Target::Disk(machine[0].clone())], machine, None)
    }

    fn kind_of(result: anyhow::Result<Claim>) -> Kind {
        Failure::of(&result.unwrap_err()).unwrap().kind
    }

    #[test]
    fn leftovers_are_taken_down_only_with_the_configs_word() {
        let machine = [disk("sda", Some("vg0")), disk("sdb", None)];
        assert_eq!(kind_of(claim_sda(&machine, false, &[])), Kind::DeviceInUse);
        let group = Action::DeactivateGroup { vg: "vg0".into() };
        let taken = claim_sda(&machine, true, &[]).unwrap();
        assert_eq!(taken.release, [("/dev/sda".into(), vec![group])]);
        let idle = DiskFacts {
            users: Vec::new(),
            ..machine[0].clone()
        };
        assert_eq!(
            kind_of(claim_sda(&[idle], false, &[])),
            Kind::DeviceHoldsData
        );
        let read_only = DiskFacts {
            read_only: true,
            ..disk("sda", None)
        };
        assert_eq!(
            kind_of(claim_sda(&[read_only], true, &[])),
            Kind::DeviceFailed
        );
    }

    #[test]
    fn a_disk_is_free_only_with_the_word_and_without_other_owners() {
        let (sda, sdb) = (disk("sda", Some("vg0")), disk("sdb", Some("vg0")));
        let mut word = Overwrite::default();
        assert_eq!(as_free(&word, &sda, &[]).unwrap(), sda);
        word.allowed = true;
        assert_eq!(as_free(&word, &sda, &[]).unwrap().users, []);
        as_free(&word, &sda, &[&sdb]).unwrap_err();
    }

    #[test]
    fn what_an_unfinished_install_made_on_the_data_disk_is_no_data() {
        let id = Uuid::from_u128(3);
        let made = |id| crate::facts::Partition {
            uuid: Some(derive(id, Role::Data.label()).to_string()),
            ..Default::default()
        };
        let mut data = disk("sdb", None);
        let content = |partition, what| Content {
            partition: Some(partition),
            size: 1 << 40,
            what,
        };
        data.holds = vec![
            content(1, Holding::Partition(made(id))),
            content(1, Holding::Longhorn),
        ];
        let claim_both = |data: &DiskFacts, ours| {
            let machine = [disk("sda", None), data.clone()];
            let targets = machine.clone().map(Target::Disk);
            let needed = [&targets[0], &targets[1]];
            claim(&Overwrite::default(), &needed, &machine, ours)
        };
        claim_both(&data, Some(id)).unwrap();
        let refused = [None, Some(Uuid::from_u128(4))];
        for ours in refused {
            assert_eq!(kind_of(claim_both(&data, ours)), Kind::DeviceHoldsData);
        }
        // Somebody has put another partition there since.
        data.holds.push(content(2, Holding::Partition(made(id))));
        assert_eq!(kind_of(claim_both(&data, Some(id))), Kind::DeviceHoldsData);
    }

    #[test]
    fn a_group_on_two_disks_needs_the_word_for_both() {
        let machine = [disk("sda", Some("vg0")), disk("sdb", Some("vg0"))];
        assert_eq!(kind_of(claim_sda(&machine, true, &[])), Kind::DeviceInUse);
        let both = claim_sda(&machine, true, &["/dev/sdb"]).unwrap();
        assert_eq!(both.wipe, [Target::Disk(machine[1].clone())]);
        assert_eq!(both.release.len(), 2);
    }

    #[test]
    fn a_further_disk_that_can_not_be_wiped_is_a_warning() {
        let machine = [
            disk("sda", None),
            disk("sdb", Some("vg0")),
            disk("sdc", Some("vg0")),
        ];
        let found = claim_sda(&machine, false, &["/dev/sdb", "/dev/sdz"]).unwrap();
        assert!(found.wipe.is_empty());
        assert_eq!(found.warnings.len(), 2, "{:?}", found.warnings);
        assert!(
            found.warnings[1].contains("/dev/sdc"),
            "{:?}",
            found.warnings
        );
        let file = Target::File {
            path: "x".into(),
            size: 1,
            begun: false,
        };
        let word = Overwrite::default();
        assert_eq!(
            claim(&word, &[&file], &machine, None).unwrap(),
            Claim::default()
        );
    }
}
