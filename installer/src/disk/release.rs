//! Leftovers of a disk's former life that keep it busy, taken down.
//!
//! In: facts of the disk and of the others. Out: [`Action`]s in their order, what is on top first; then
//! they are done. Something mounted is never touched, nor what lies on a disk that is not to be wiped.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::facts::{DiskFacts, Use, User};
use crate::failure::{Failure, Kind};
use crate::sys::cmd::Cmd;
use crate::sys::wait;

/// How long an array that is to be stopped may be looked at by others.
const FREE: Duration = Duration::from_secs(5);
/// How often it is tried.
const PAUSE: Duration = Duration::from_millis(100);

/// One thing to take down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "action")]
pub enum Action {
    /// Ends the use of swap space.
    SwapOff {
        /// The kernel's name of the device.
        device: String,
    },
    /// Deactivates a volume group.
    DeactivateGroup {
        /// Its name.
        vg: String,
    },
    /// Closes an encrypted device.
    CloseCrypt {
        /// Its name in the device mapper.
        name: String,
    },
    /// Stops an array.
    StopArray {
        /// The kernel's name of it.
        name: String,
    },
    /// Removes the map of a partition of a multipath disk.
    RemovePartitionMap {
        /// Its name in the device mapper.
        name: String,
    },
    /// Removes a multipath disk.
    FlushMultipath {
        /// Its name in the device mapper.
        name: String,
    },
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SwapOff { device } => write!(f, "end the use of swap space on {device}"),
            Self::DeactivateGroup { vg } => write!(f, "deactivate the volume group {vg}"),
            Self::CloseCrypt { name } => write!(f, "close the encrypted disk {name}"),
            Self::StopArray { name } => write!(f, "stop the array {name}"),
            Self::RemovePartitionMap { name } => write!(f, "remove the partition map {name}"),
            Self::FlushMultipath { name } => write!(f, "remove the multipath disk {name}"),
        }
    }
}

impl Action {
    /// The program that does it, and the package that brings it.
    fn program(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::SwapOff { .. } => Some(("swapoff", "mount")),
            Self::DeactivateGroup { .. } => Some(("vgchange", "lvm2")),
            Self::CloseCrypt { .. } => Some(("cryptsetup", "cryptsetup-bin")),
            Self::StopArray { .. } => None,
            Self::RemovePartitionMap { .. } => Some(("dmsetup", "dmsetup")),
            Self::FlushMultipath { .. } => Some(("multipath", "multipath-tools")),
        }
    }
}

/// An error when programs are missing that these need, before anything is taken down.
pub fn check_tools<'a>(actions: impl Iterator<Item = &'a Action>) -> anyhow::Result<()> {
    // An old release may not know the option: that it starts is enough.
    let starts = |program: &str| Cmd::new(program).arg("--version").run_any().is_ok();
    check_programs(actions, starts)
}

fn check_programs<'a>(
    actions: impl Iterator<Item = &'a Action>,
    is_there: impl Fn(&str) -> bool,
) -> anyhow::Result<()> {
    let needed: BTreeSet<_> = actions.filter_map(Action::program).collect();
    let missing = needed.into_iter().filter(|(program, _)| !is_there(program));
    let (programs, packages): (Vec<&str>, Vec<&str>) = missing.unzip();
    if programs.is_empty() {
        return Ok(());
    }
    Err(Failure::error(
        Kind::ToolMissing,
        format!("not found in PATH: {}", programs.join(", ")),
        format!("to free the disks, install: {}", packages.join(", ")),
    ))
}

/// What has to be taken down on a disk that may be wiped; `others` are disks that may not.
pub fn actions(disk: &DiskFacts, others: &[&DiskFacts]) -> anyhow::Result<Vec<Action>> {
    let mut actions: Vec<Option<Action>> = Vec::new();
    for user in &disk.users {
        if let Some(other) = others.iter().find(|other| shares(other, user)) {
            let (path, other) = (disk.path.display(), other.path.display());
            let what = match &user.how {
                Use::Lvm { vg, .. } => format!("the volume group {vg}"),
                _ => "an array".into(),
            };
            return Err(Failure::error(
                Kind::DeviceInUse,
                format!("{path} is in use: {user}, and {what} also lies on {other}"),
                format!(
                    "{other} would lose data too: name it in install.wipe_disks_list, or take the other disk"
                ),
            ));
        }
        let action = match &user.how {
            Use::Swap => Action::SwapOff {
                device: user.device.clone(),
            },
            Use::Lvm { vg, .. } => Action::DeactivateGroup { vg: vg.clone() },
            Use::Crypt { name } => Action::CloseCrypt { name: name.clone() },
            Use::Md { name, .. } => Action::StopArray { name: name.clone() },
            // The disk is that multipath disk itself.
            Use::Multipath { .. } if !disk.paths.is_empty() => {
                actions.push(None);
                continue;
            }
            Use::PartitionMap { name } => Action::RemovePartitionMap { name: name.clone() },
            Use::Multipath { name } => Action::FlushMultipath { name: name.clone() },
            Use::Mounted { .. } | Use::Other { .. } => {
                return Err(Failure::error(
                    Kind::DeviceInUse,
                    format!("{} is in use: {user}", disk.path.display()),
                    "unmount it or release it, or name another disk",
                ));
            }
        };
        actions.push(Some(action));
    }
    Ok(top_first(&disk.users, &actions))
}

/// Each action once, after those for what lies on top of it: a volume group may lie on a plain
/// partition and on an encrypted one at once.
fn top_first(users: &[User], actions: &[Option<Action>]) -> Vec<Action> {
    let below = below(users);
    let action = |at: usize| actions.get(at).and_then(Option::as_ref);
    let mut left: Vec<&Action> = Vec::new();
    let mut waits: Vec<(&Action, &Action)> = Vec::new();
    for at in 0..users.len() {
        let Some(top) = action(at) else { continue };
        if !left.contains(&top) {
            left.push(top);
        }
        let under = below.get(at).copied().flatten().and_then(action);
        waits.extend(
            under
                .filter(|under| *under != top)
                .map(|under| (under, top)),
        );
    }
    let mut sorted = Vec::new();
    while !left.is_empty() {
        let is_free = |it: &&Action| !waits.iter().any(|(under, _)| under == it);
        // What goes in circles can't be there; the last one is the best guess then.
        let at = left.iter().rposition(is_free).unwrap_or(left.len() - 1);
        let next = left.remove(at);
        waits.retain(|(_, top)| *top != next);
        sorted.push(next.clone());
    }
    sorted
}

/// For each user the one whose device it uses. Users come in the order in which the stack is walked
/// up, so what the device mapper made is first used right after the user that it was made for.
fn below(users: &[User]) -> Vec<Option<usize>> {
    let mut below: Vec<Option<usize>> = Vec::new();
    for (at, user) in users.iter().enumerate() {
        let is_array = |below: &User| match &below.how {
            Use::Md { name, .. } => is_on(&user.device, name),
            _ => false,
        };
        let before = users.get(..at).unwrap_or_default();
        let found = match before.iter().position(|other| other.device == user.device) {
            Some(sibling) => below.get(sibling).copied().flatten(),
            None if user.device.starts_with("dm-") => at.checked_sub(1),
            None => before.iter().position(is_array),
        };
        below.push(found);
    }
    below
}

/// Whether a device is an array or a partition of it.
fn is_on(device: &str, array: &str) -> bool {
    let rest = device.strip_prefix(array);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('p'))
}

/// Whether a disk is part of the same volume group or array.
fn shares(other: &DiskFacts, user: &User) -> bool {
    let is_same = |there: &User| match (&there.how, &user.how) {
        (Use::Lvm { vg: a, .. }, Use::Lvm { vg: b, .. }) => a == b,
        (Use::Md { name: a, .. }, Use::Md { name: b, .. }) => a == b,
        _ => false,
    };
    other.users.iter().any(is_same)
}

/// Takes one thing down.
pub fn take_down(action: &Action) -> anyhow::Result<()> {
    let run = |args: &[&str]| match action.program() {
        Some((program, _)) => Cmd::new(program).args(args).run().map(drop),
        None => Ok(()),
    };
    let done = match action {
        Action::SwapOff { device } => run(&[&format!("/dev/{device}")]),
        Action::DeactivateGroup { vg } => run(&["--activate", "n", "--yes", vg]),
        Action::CloseCrypt { name } => run(&["close", name]),
        Action::StopArray { name } => stop_array(name),
        // udev may still be looking at it.
        Action::RemovePartitionMap { name } => run(&["remove", "--retry", name]),
        Action::FlushMultipath { name } => run(&["-f", name]),
    };
    done.with_context(|| action.to_string())
}

/// What `mdadm --stop` does, which the image does not have (Documentation/admin-guide/md.rst: writing
/// `clear` to `array_state` is STOP_ARRAY). udev may still be looking at it: that passes.
fn stop_array(name: &str) -> anyhow::Result<()> {
    let state = Path::new("/sys/block").join(name).join("md/array_state");
    let stopped = || match std::fs::write(&state, "clear") {
        Ok(()) => Ok(Some(())),
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Ok(None),
        Err(error) => Err(error.into()),
    };
    wait::until("the array to be free", FREE, PAUSE, stopped)
        .with_context(|| format!("writing clear to {}", state.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(name: &str, users: &[(&str, Use)]) -> DiskFacts {
        let user = |(device, how): &(&str, Use)| User {
            device: (*device).into(),
            how: how.clone(),
        };
        DiskFacts {
            path: Path::new("/dev").join(name),
            name: name.into(),
            users: users.iter().map(user).collect(),
            ..DiskFacts::default()
        }
    }

    fn lvm(lv: &str) -> Use {
        Use::Lvm {
            vg: "vg0".into(),
            lv: lv.into(),
        }
    }

    fn md() -> Use {
        Use::Md {
            name: "md0".into(),
            level: "raid1".into(),
        }
    }

    #[test]
    fn what_is_on_top_goes_first_and_each_once() {
        let crypt = Use::Crypt {
            name: "secret".into(),
        };
        let sda = disk(
            "sda",
            &[
                ("sda1", md()),
                ("md0", lvm("one")),
                ("dm-0", crypt),
                ("dm-2", Use::Swap),
                ("md0", lvm("two")),
                ("sda2", md()),
                ("sda3", Use::Swap),
            ],
        );
        let lines: Vec<String> = actions(&sda, &[])
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            lines,
            [
                "end the use of swap space on sda3",
                "end the use of swap space on dm-2",
                "close the encrypted disk secret",
                "deactivate the volume group vg0",
                "stop the array md0",
            ]
        );
    }

    #[test]
    fn a_group_on_a_plain_and_an_encrypted_partition_goes_before_the_encryption() {
        let crypt = || Use::Crypt {
            name: "secret".into(),
        };
        let plain = [("sda1", lvm("root"))];
        let encrypted = [("sda2", crypt()), ("dm-1", lvm("root"))];
        for users in [
            [&plain[..], &encrypted[..]].concat(),
            [&encrypted[..], &plain[..]].concat(),
        ] {
            let group = Action::DeactivateGroup { vg: "vg0".into() };
            let name = "secret".to_owned();
            assert_eq!(
                actions(&disk("sda", &users), &[]).unwrap(),
                [group, Action::CloseCrypt { name }],
                "{users:?}"
            );
        }
        // The same on arrays, one of them with partitions.
        let users = [
            ("sda1", md()),
            ("md0p1", lvm("root")),
            ("sda2", crypt()),
            ("dm-1", lvm("root")),
            ("sda3", md()),
        ];
        let lines: Vec<String> = actions(&disk("sda", &users), &[])
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(lines[0], "deactivate the volume group vg0");
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn programs_that_are_missing_are_named_at_once_with_their_packages() {
        let vg = "vg0".to_owned();
        let actions = [
            Action::DeactivateGroup { vg: vg.clone() },
            Action::DeactivateGroup { vg: "vg1".into() },
            Action::CloseCrypt { name: vg.clone() },
            Action::SwapOff { device: vg.clone() },
            Action::StopArray { name: vg },
        ];
        check_programs(actions.iter(), |_| true).unwrap();
        check_programs(actions[4..].iter(), |_| false).unwrap();
        let error = check_programs(actions.iter(), |program| program == "swapoff").unwrap_err();
        let failure = Failure::of(&error).unwrap();
        assert_eq!(failure.kind, Kind::ToolMissing);
        assert_eq!(failure.message, "not found in PATH: cryptsetup, vgchange");
        assert!(failure.hint.ends_with("cryptsetup-bin, lvm2"), "{failure}");
    }

    #[test]
    fn what_is_mounted_or_unknown_is_refused() {
        let mounted = Use::Mounted { on: "/mnt".into() };
        let other = Use::Other {
            words: "bcache0".into(),
        };
        for (how, words) in [(mounted, "sda1 is mounted on /mnt"), (other, "bcache0")] {
            let error = actions(&disk("sda", &[("sda1", how)]), &[]).unwrap_err();
            assert_eq!(Failure::of(&error).unwrap().kind, Kind::DeviceInUse);
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn a_group_that_also_lies_elsewhere_is_refused_with_both_names() {
        for how in [lvm("root"), md()] {
            let sda = disk("sda", &[("sda1", how.clone())]);
            let sdb = disk("sdb", &[("sdb", how)]);
            let error = actions(&sda, &[&sdb]).unwrap_err().to_string();
            assert!(
                error.contains("/dev/sda") && error.contains("/dev/sdb"),
                "{error}"
            );
            assert_eq!(actions(&sda, &[]).unwrap().len(), 1);
        }
    }

    #[test]
    fn a_multipath_disk_is_not_taken_from_under_itself() {
        let mpath = Use::Multipath {
            name: "mpatha".into(),
        };
        let path = disk("sda", &[("sda", mpath.clone())]);
        assert_eq!(actions(&path, &[]).unwrap().len(), 1);
        let whole = DiskFacts {
            paths: vec!["sda".into(), "sdb".into()],
            ..disk("dm-0", &[("sda", mpath)])
        };
        assert_eq!(actions(&whole, &[]).unwrap(), []);
    }
    #[test]
    fn what_lies_on_a_partition_of_a_multipath_disk_goes_before_its_map() {
        let map = |name: &str| Use::PartitionMap { name: name.into() };
        let whole = DiskFacts {
            paths: vec!["sda".into(), "sdb".into()],
            ..disk(
                "dm-0",
                &[
                    ("dm-0", map("x-part1")),
                    ("dm-0", map("x-part2")),
                    ("dm-2", lvm("root")),
                ],
            )
        };
        let lines = actions(&whole, &[]).unwrap();
        let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "deactivate the volume group vg0",
                "remove the partition map x-part2",
                "remove the partition map x-part1",
            ]
        );
        assert!(!disk("dm-0", &[("dm-0", map("x"))]).is_busy());
        assert!(whole.is_busy());
    }
}
