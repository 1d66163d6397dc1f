//! BIOS from CD: the config is named on the kernel command line, typed at GRUB's prompt on the
//! serial console. The plug is pulled while the system is being copied: the disk does not boot,
//! and knows what it is in the middle of. The second try completes, and the machine reboots by
//! itself into the node.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use harrow::disk::journal;

use crate::console::{Console, Key};
use crate::firmware::Firmware;
use crate::http::{FileServer, Files};
use crate::machine::{Drive, Machine};
use crate::node::NodeSpec;
use crate::stage::Stage;

use super::install;

/// Where the config is served.
const CONFIG: &str = "/config.yaml";
/// Shown under GRUB's menu.
const MENU: &str = "before booting or";
/// How long GRUB may take to show its menu, or to answer a key.
const GRUB: Duration = Duration::from_secs(180);
/// The disk: sparse, so only what is written counts.
const DISK_SIZE: u64 = 200_000_000_000;
/// The step in which the power goes, as the console shows it.
const COPYING: &str = "] write the system";
/// Power-on to that step, under emulation.
const BEGIN: Duration = Duration::from_secs(600);
/// Long enough to have written something, shorter than the copy.
const MOMENT: Duration = Duration::from_secs(2);

/// Plays it.
pub fn run(stage: &mut Stage) -> anyhow::Result<()> {
    let iso = stage.iso()?.to_owned();
    let disk = stage.create_disk("disk.img", DISK_SIZE)?;
    let spec = NodeSpec {
        hostname: "harrow-bios-cd".into(),
        public_key: stage.ssh.public_key()?,
        device: "/dev/vda".into(),
        poweroff: false,
    };
    let config = Files::from([(CONFIG.to_owned(), spec.render_config().into_bytes())]);
    let server = FileServer::start(config)?;
    // An empty disk can't be booted, so the first boot is from the CD, all others are not.
    let machine = Machine::new("bios-cd", Firmware::Bios)
        .drive(Drive::virtio(&disk, "HARROW-TEST-1"))
        .drive(Drive::cd(&iso))
        .ssh_port(stage.ssh.port());
    let vm = stage.power_on(&machine)?;
    let args = format!("harrow.install.config_url={}", server.guest_url(CONFIG));
    boot_with(&vm.console, &args)?;
    // The plan names all steps at first, without numbers in brackets.
    let copying = vm.console.wait_for(COPYING, BEGIN)?;
    stage.step(copying.at, "it copies the system; the power goes");
    harrow::sys::wait::pause_for(MOMENT);
    stage.cut_power()?;
    check_unfinished(&disk)?;
    stage.say("the disk has no boot code, and a journal of an unfinished install");

    // The same machine: the firmware passes over the disk, since nothing boots from it.
    let vm = stage.power_on(&machine)?;
    boot_with(&vm.console, &args)?;
    let installed = install::watch(stage, install::BIOS)?;
    stage.say(format!(
        "the config was fetched: {}",
        server.requests().join(", ")
    ));
    install::wait_reboot(stage, installed)?;
    install::prove_node(stage, &spec, install::BIOS, &[])?;
    install::judge(stage, &disk)
}

fn check_unfinished(disk: &Path) -> anyhow::Result<()> {
    let file = File::open(disk).with_context(|| format!("opening {}", disk.display()))?;
    let mut sector = [0; 512];
    file.read_exact_at(&mut sector, 0)?;
    ensure!(
        sector == [0; 512],
        "sector 0 of an unfinished disk is not empty"
    );
    let (_, unfinished) =
        journal::unfinished(&file, DISK_SIZE)?.context("the disk has no journal of its install")?;
    ensure!(
        unfinished.config_kept && !unfinished.slot_kept,
        "the journal does not say that the copy was cut off: {unfinished:?}"
    );
    Ok(())
}

/// Boots the first entry of GRUB's menu with more on the kernel command line.
pub fn boot_with(console: &Console, args: &str) -> anyhow::Result<()> {
    console.wait_for(MENU, GRUB)?;
    console.type_text("c")?;
    console.wait_for("grub>", GRUB)?;
    console.type_text(&format!("set harrow_args=\"{args}\""))?;
    console.press(Key::Enter)?;
    console.wait_for("grub>", GRUB)?;
    console.press(Key::Esc)?;
    console.wait_for(MENU, GRUB)?;
    console.press(Key::Enter)
}
