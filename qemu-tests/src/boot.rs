//! The ISO with an empty disk on this terminal, for a person to try.

use harrow::sys::cmd::Cmd;

use crate::accel::QEMU;
use crate::firmware::Firmware;
use crate::machine::{Drive, Machine};
use crate::stage::Stage;

/// The disk: sparse, so only what is written counts.
const DISK_SIZE: u64 = 300 << 30;

/// Boots it on BIOS and ends with QEMU. The disk is kept.
pub fn run(stage: &mut Stage) -> anyhow::Result<()> {
    let disk = stage.create_disk("disk.img", DISK_SIZE)?;
    let mut machine = Machine::new("harrow", Firmware::Bios)
        .drive(Drive::virtio(&disk, "HARROW-1"))
        .drive(Drive::cd(stage.iso()?))
        .ssh_port(stage.ssh.port());
    machine.memory_mib = 4096;
    println!("guests run on: {}", stage.settings.accel);
    println!("disk: {}", disk.display());
    println!("its ssh: ssh -p {} rancher@127.0.0.1", stage.ssh.port());
    println!("Ctrl-a x ends QEMU");
    let firmware = machine.firmware.prepare(&stage.folder)?;
    Cmd::new(QEMU)
        .args(machine.render_args(stage.settings.accel, &firmware))
        .args(["-serial", "mon:stdio"])
        .attach()
}
