//! The harness itself, on guests of one sector and on firmware alone.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::accel::Accel;
use crate::boot_sector;
use crate::firmware::Firmware;
use crate::machine::{Drive, Machine};
use crate::stage::Stage;

const LIMIT: Duration = Duration::from_secs(120);
const GREETING: &str = "the sector speaks";

/// Plays it.
pub fn run(stage: &mut Stage) -> anyhow::Result<()> {
    if !Accel::Tcg.runs(LIMIT)? {
        bail!("the guest that tells whether KVM works does not end under emulation");
    }
    bios(stage)?;
    uefi(stage)
}

/// Text is seen, keys arrive, a reset is noticed.
fn bios(stage: &mut Stage) -> anyhow::Result<()> {
    let disk = stage.bulky_file("sector.img");
    std::fs::write(&disk, boot_sector::echo(GREETING))
        .with_context(|| format!("writing {}", disk.display()))?;
    let machine = Machine::new("bios", Firmware::Bios).drive(Drive::virtio(&disk, "SECTOR"));
    let vm = stage.power_on(&machine)?;
    let said = vm.console.wait_for(GREETING, LIMIT)?;
    let took = stage.step(said.at, "a boot sector speaks");
    stage.measure("SeaBIOS: power-on → boot sector", took, None);
    let vm = stage.vm()?;
    vm.console.type_text("k")?;
    vm.console.wait_for("[k]", LIMIT)?;
    let before = Instant::now();
    vm.qmp.system_reset()?;
    vm.wait_reset(before, LIMIT)?;
    let again = vm.console.wait_for(GREETING, LIMIT)?;
    stage.step(again.at, "it was typed to, reset, and speaks again");
    stage.cut_power()
}

/// OVMF with Secure Boot comes up, and does not start its own unsigned shell, if it has one.
fn uefi(stage: &mut Stage) -> anyhow::Result<()> {
    let vm = stage.power_on(&Machine::new("uefi", Firmware::UefiSecureBoot))?;
    if let Err(error) = vm.console.wait_for("No bootable option", LIMIT)
        && !format!("{error:#}").contains("Security Violation")
    {
        return Err(error);
    }
    let took = stage.step(
        Instant::now(),
        "OVMF with Secure Boot finds nothing that it may boot",
    );
    stage.measure("OVMF: power-on → end of its boot list", took, None);
    stage.cut_power()
}
