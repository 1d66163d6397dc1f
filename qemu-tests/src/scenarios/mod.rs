//! The scenarios: what is booted, and what must come of it.

mod bios_cd;
pub mod cluster;
mod file_target;
mod full_offline;
pub mod install;
mod multipath;
mod net_mirror;
mod refusals;
mod self_test;
mod uefi_secureboot_usb;
mod upgrade;

use crate::schedule::Load;
use crate::stage::Stage;

/// One story, from power-on to its end.
pub struct Scenario {
    /// Its name on the command line and of its folder.
    pub name: &'static str,
    /// What it shows, in one line.
    pub about: &'static str,
    /// What it asks of the machine that it runs on.
    pub load: Load,
    /// Plays it; an error is its failure.
    pub run: fn(&mut Stage) -> anyhow::Result<()>,
}

/// A machine's 2 GiB, and what QEMU and the harness take.
const ONE_MACHINE: Load = Load::Shared { memory_mib: 2500 };

/// All scenarios, in the order in which they are begun: what takes long comes early, so that two
/// at a time end together.
pub const ALL: &[Scenario] = &[
    Scenario {
        name: "self-test",
        about: "the harness itself: firmware, console, keys, reset and power, without an ISO",
        load: ONE_MACHINE,
        run: self_test::run,
    },
    Scenario {
        name: "file-target",
        about: "the ISO's image installed onto a plain file, no machine needed",
        load: Load::Shared { memory_mib: 500 },
        run: file_target::run,
    },
    Scenario {
        name: "bios-cd",
        about: "BIOS, the ISO as a CD; the power goes during the copy, the second try completes",
        load: ONE_MACHINE,
        run: bios_cd::run,
    },
    Scenario {
        name: "uefi-secureboot-usb",
        about: "UEFI with Secure Boot from a stick; NVMe chosen by rule, beside an old install with equal labels",
        load: ONE_MACHINE,
        run: uefi_secureboot_usb::run,
    },
    Scenario {
        name: "full-offline",
        about: "flavor full with the RKE2 double, installed and booted without any network device",
        load: ONE_MACHINE,
        run: full_offline::run,
    },
    Scenario {
        name: "net-mirror",
        about: "flavor net with the RKE2 double, fetched from a mirror whose first answers are faults",
        load: ONE_MACHINE,
        run: net_mirror::run,
    },
    Scenario {
        name: "refusals",
        about: "the live system refuses disks that are in use, too small, read-only or unknown",
        load: ONE_MACHINE,
        run: refusals::run,
    },
];

/// Scenarios that run only when they are named, since all together would take too long for each
/// change.
pub const BY_NAME: &[Scenario] = &[
    Scenario {
        name: "multipath",
        about: "BIOS, a SCSI disk over two paths, one of which is taken away",
        load: ONE_MACHINE,
        run: multipath::run,
    },
    Scenario {
        name: "upgrade",
        about: "an upgrade cut off by the power, one that succeeds, and one that is left by itself",
        // The server of its images has them in memory.
        load: Load::Shared { memory_mib: 3500 },
        run: upgrade::run,
    },
];

/// The scenario of this name.
pub fn find(name: &str) -> Option<&'static Scenario> {
    let mut all = ALL.iter().chain(BY_NAME);
    all.find(|scenario| scenario.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_is_found_by_its_name() {
        for scenario in ALL.iter().chain(BY_NAME) {
            let found = find(scenario.name).unwrap();
            assert_eq!(
                found.about, scenario.about,
                "two have the name {}",
                scenario.name
            );
        }
        assert!(find("none").is_none());
    }
}
