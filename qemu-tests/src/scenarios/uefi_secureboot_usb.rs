//! UEFI with Secure Boot from a stick that carries the config; the machine goes off after the
//! install and is switched on again without the stick.

use crate::firmware::Firmware;
use crate::machine::{Drive, Machine};
use crate::medium::write_stick;
use crate::node::{Check, NodeSpec};
use crate::stage::Stage;

use super::install;

/// The disk: sparse, so only what is written counts.
const DISK_SIZE: u64 = 200_000_000_000;
/// The firmware's own word on Secure Boot: four bytes of attributes, then 1 for on.
const SECURE_BOOT: &str =
    "od -A n -t u1 -j 4 /sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";

/// Plays it.
pub fn run(stage: &mut Stage) -> anyhow::Result<()> {
    let disk = stage.create_disk("disk.img", DISK_SIZE)?;
    let stick = stage.bulky_file("stick.img");
    let spec = NodeSpec {
        hostname: "harrow-uefi-usb".into(),
        public_key: stage.ssh.public_key()?,
        device: "/dev/vda".into(),
        poweroff: true,
    };
    write_stick(stage.iso()?, &stick, &spec.render_config())?;
    let machine =
        Machine::new("uefi-secureboot-usb", Firmware::UefiSecureBoot).ssh_port(stage.ssh.port());
    let disk_drive = Drive::virtio(&disk, "HARROW-TEST-1");
    stage.power_on(
        &machine
            .clone()
            .drive(Drive::usb(&stick))
            .drive(disk_drive.clone()),
    )?;
    install::watch(stage, install::UEFI)?;
    install::wait_off(stage)?;
    stage.power_on(&machine.drive(disk_drive))?;
    let secure_boot = Check::new("Secure Boot", SECURE_BOOT, "1");
    install::prove_node(stage, &spec, install::UEFI, &[secure_boot])?;
    install::judge(stage, &disk)
}
