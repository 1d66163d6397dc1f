//! The scenarios: what is booted, and what must come of it.

mod bios_cd;
mod file_target;
mod install;
mod multipath;
mod power_cut;
mod refusals;
mod self_test;
mod three_disks;
mod uefi_secureboot_usb;

use crate::stage::Stage;

/// One story, from power-on to its end.
pub struct Scenario {
    /// Its name on the command line and of its folder.
    pub name: &'static str,
    /// What it shows, in one line.
    pub about: &'static str,
    /// Plays it; an error is its failure.
    pub run: fn(&mut Stage) -> anyhow::Result<()>,
}

/// All scenarios, in the order in which they are run.
pub const ALL: &[Scenario] = &[
    Scenario {
        name: "self-test",
        about: "the harness itself: firmware, console, keys, reset and power, without an ISO",
        run: self_test::run,
    },
    Scenario {
        name: "file-target",
        about: "the ISO's image installed onto a plain file, no machine needed",
        run: file_target::run,
    },
    Scenario {
        name: "refusals",
        about: "the live system refuses disks that are in use, too small, read-only or unknown",
        run: refusals::run,
    },
    Scenario {
        name: "bios-cd",
        about: "BIOS, the ISO as a CD, config from the network, reboot into the node",
        run: bios_cd::run,
    },
    Scenario {
        name: "uefi-secureboot-usb",
        about: "UEFI with Secure Boot, the ISO on a stick that carries the config, power-off",
        run: uefi_secureboot_usb::run,
    },
    Scenario {
        name: "power-cut",
        about: "the power goes during the copy; the disk does not boot, the second try completes",
        run: power_cut::run,
    },
    Scenario {
        name: "three-disks",
        about: "UEFI, NVMe with 4096-byte sectors chosen by rule, beside an old install with equal labels",
        run: three_disks::run,
    },
    Scenario {
        name: "multipath",
        about: "BIOS, a SCSI disk over two paths, one of which is taken away",
        run: multipath::run,
    },
];
