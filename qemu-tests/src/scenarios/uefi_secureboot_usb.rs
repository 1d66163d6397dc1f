//! UEFI with Secure Boot from a stick that carries the config, on a machine with three disks: an NVMe
//! disk with sectors of 4096 bytes, an empty one, and one with an old install whose labels are the
//! same. A rule chooses the NVMe disk. The machine goes off after the install and is switched on
//! again without the stick: the NVMe disk boots with its own partitions, and the others are as they were.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, ensure};

use crate::firmware::Firmware;
use crate::machine::{Drive, Machine};
use crate::medium::write_stick;
use crate::node::{Check, NodeSpec};
use crate::stage::Stage;

use super::install;

/// The disks: sparse, so only what is written counts.
const DISK_SIZE: u64 = 200_000_000_000;
/// The firmware's own word on Secure Boot: four bytes of attributes, then 1 for on.
const SECURE_BOOT: &str =
    "od -A n -t u1 -j 4 /sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";

/// Plays it.
pub fn run(stage: &mut Stage) -> anyhow::Result<()> {
    let nvme = stage.create_disk("nvme.img", DISK_SIZE)?;
    let empty = stage.create_disk("empty.img", DISK_SIZE)?;
    let old = old_install(stage)?;
    let before = (modified(&empty)?, modified(&old)?);
    let spec = NodeSpec {
        hostname: "harrow-uefi-usb".into(),
        public_key: stage.ssh.public_key()?,
        device: "{transport: nvme, min_size: 100G}".into(),
        poweroff: true,
    };
    let stick = stage.bulky_file("stick.img");
    write_stick(stage.iso()?, &stick, &spec.render_config())?;
    let machine =
        Machine::new("uefi-secureboot-usb", Firmware::UefiSecureBoot).ssh_port(stage.ssh.port());
    let disks = [
        Drive::nvme(&nvme, "HARROW-NVME", 4096),
        Drive::virtio(&empty, "HARROW-EMPTY"),
        Drive::scsi(&old, "HARROW-OLD"),
    ];
    let with = |machine: Machine| disks.iter().cloned().fold(machine, Machine::drive);
    stage.power_on(&with(machine.clone().drive(Drive::usb(&stick))))?;
    install::watch(stage, install::UEFI)?;
    install::wait_off(stage)?;
    stage.power_on(&with(machine))?;
    let more = [
        Check::new("Secure Boot", SECURE_BOOT, "1"),
        Check::new(
            "the disk of /var",
            "readlink -f $(findmnt -n -o SOURCE /var)",
            "/dev/nvme0n1p6",
        ),
        Check::new(
            "the labels are there twice",
            "sudo blkid -o device -t LABEL=HARROW_VAR | wc -l",
            "2",
        ),
        Check::new(
            "logical sectors",
            "cat /sys/block/nvme0n1/queue/logical_block_size",
            "4096",
        ),
    ];
    install::prove_node(stage, &spec, install::UEFI, &more)?;
    install::judge_4k(stage, &nvme)?;
    ensure!(
        before == (modified(&empty)?, modified(&old)?),
        "a disk that was not chosen was written to"
    );
    stage.say("the other two disks were not written to");
    Ok(())
}

/// A disk with a finished install, made as an ordinary user makes one.
fn old_install(stage: &mut Stage) -> anyhow::Result<PathBuf> {
    let disk = stage.bulky_file("old.img");
    let spec = NodeSpec {
        hostname: "harrow-old".into(),
        public_key: stage.ssh.public_key()?,
        device: "/dev/sda".into(),
        poweroff: false,
    };
    install::onto_file(stage, &spec, &disk, DISK_SIZE)?;
    Ok(disk)
}

fn modified(path: &Path) -> anyhow::Result<SystemTime> {
    let read = || path.metadata()?.modified();
    read().with_context(|| format!("reading {}", path.display()))
}
