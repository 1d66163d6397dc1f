//! Flavor `full` without any network: the machine has no NIC, neither for the install nor afterwards. The
//! payload is in the image, and the RKE2 double in it finds all that it needs.

use std::time::Duration;

use crate::firmware::Firmware;
use crate::machine::{Drive, Machine};
use crate::medium::write_stick;
use crate::node::Check;
use crate::stage::Stage;

use super::cluster::{self, FirstNode, Payload};
use super::install;

/// The disk: sparse, so only what is written counts.
const DISK_SIZE: u64 = 300_000_000_000;
/// From power-on to a login prompt on the console.
const LOGIN: Duration = Duration::from_secs(900);

/// Plays it.
pub fn run(stage: &mut Stage) -> anyhow::Result<()> {
    let iso = stage.double_iso("full")?;
    let disk = stage.create_disk("disk.img", DISK_SIZE)?;
    let stick = stage.bulky_file("stick.img");
    let node = FirstNode {
        hostname: "harrow-offline",
        public_key: None,
        mirror: None,
    };
    write_stick(&iso, &stick, &node.render_config())?;
    let machine = Machine::new("full-offline", Firmware::Uefi);
    let disk_drive = Drive::virtio(&disk, "HARROW-FULL");
    stage.power_on(
        &machine
            .clone()
            .drive(Drive::usb(&stick))
            .drive(disk_drive.clone()),
    )?;
    install::watch(stage, install::UEFI)?;
    install::wait_off(stage)?;

    stage.power_on(&machine.drive(disk_drive))?;
    let console = &stage.vm()?.console;
    cluster::log_in(console, &node, LOGIN)?;
    cluster::wait_ready_on(console)?;
    stage.step(std::time::Instant::now(), "the RKE2 double is ready");
    let mut checks = cluster::checks(Payload::Embedded);
    checks.push(Check::new(
        "network devices",
        "ls -d /sys/class/net/*/device 2>/dev/null | wc -l",
        "0",
    ));
    checks.push(Check::new(
        "payload in /var",
        "test -e /var/lib/harrow/payload && echo yes || echo no",
        "no",
    ));
    cluster::check_on(&stage.vm()?.console, &checks)?;
    stage.step(
        std::time::Instant::now(),
        "all of the payload is in the image, without a NIC",
    );
    stage.vm()?.qmp.system_powerdown()?;
    install::wait_off(stage)?;
    install::judge_image(stage, &iso, &disk)
}
