//! A disk with an old install that is reached over two paths: it is one disk for the installer, which
//! takes down the maps of the old partitions. The node lies on it through dm-multipath from the
//! initrd on, goes on when one of the paths is taken away, and boots with the other alone.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;

use crate::firmware::Firmware;
use crate::machine::{Drive, Machine};
use crate::medium::write_stick;
use crate::node::{Check, NodeSpec};
use crate::stage::Stage;

use super::install;

const DISK_SIZE: u64 = 200_000_000_000;
const WWN: u64 = 0x5000_c500_a1b2_c3d4;
const SERIAL: &str = "HARROW-PATHS";
/// Ids of the paths, for the machine.
const PATHS: [&str; 2] = ["path0", "path1"];
/// How long a path may take to go.
const GONE: Duration = Duration::from_secs(120);

/// Plays it.
pub fn run(stage: &mut Stage) -> anyhow::Result<()> {
    let disk = stage.bulky_file("disk.img");
    let spec = NodeSpec {
        hostname: "harrow-multipath".into(),
        public_key: stage.ssh.public_key()?,
        device: format!("{{wwn: naa.{WWN:016x}}}"),
        poweroff: true,
    };
    let old = NodeSpec {
        hostname: "harrow-old".into(),
        ..spec.clone()
    };
    install::onto_file(stage, &old, &disk, DISK_SIZE)?;
    let on = "os:\n  external_storage_config:\n    enabled: true\n";
    let config = spec.render_config().replacen("os:\n", on, 1);
    let config = config.replacen("install:\n", "install:\n  allow_overwrite: true\n", 1);
    let stick = stage.bulky_file("stick.img");
    write_stick(stage.iso()?, &stick, &config)?;
    let machine = Machine::new("multipath", Firmware::Bios).ssh_port(stage.ssh.port());
    let paths = PATHS.map(|id| Drive::path(&disk, SERIAL, WWN, id));
    let with = |machine: Machine| paths.iter().cloned().fold(machine, Machine::drive);
    stage.power_on(&with(machine.clone().drive(Drive::usb(&stick))))?;
    install::watch(stage, install::BIOS)?;
    install::wait_off(stage)?;

    stage.power_on(&with(machine.clone()))?;
    let wwid = format!("3{WWN:016x}");
    let more = [
        Check::new(
            "the maps of the node's disks",
            "sudo dmsetup ls --target multipath | cut -f1",
            &wwid,
        ),
        Check::new(
            "what the verified root lies on",
            "sudo dmsetup deps -o blkdevname root | grep -c -- \"$(basename $(readlink -f \
             /dev/disk/by-partlabel/harrow-slot-a))\"",
            "1",
        ),
        Check::new(
            "the disk of /var",
            "lsblk -s -n -r -o TYPE $(findmnt -n -o SOURCE /var) | sort | uniq -c | xargs",
            "2 disk 1 mpath 1 part",
        ),
        Check::new("paths that work", working_paths(&wwid), "2"),
    ];
    install::first_boot(stage, &spec, install::BIOS, &more)?;
    let vm = stage.vm()?;
    vm.qmp.execute("device_del", json!({ "id": PATHS[0] }))?;
    vm.qmp
        .wait_event("DEVICE_DELETED", GONE)
        .context("taking away a path of the disk")?;
    stage
        .ssh
        .run("sudo sh -c 'dd if=/dev/urandom of=/var/lib/after bs=1M count=8 conv=fsync && sync'")
        .context("writing with one path less")?;
    let mut after = crate::node::checks(&spec);
    after.push(Check::new("paths that work", working_paths(&wwid), "1"));
    install::check(stage, &after)?;
    install::done(stage, "the node goes on with one path");
    stage.vm()?.qmp.system_powerdown()?;
    install::wait_off(stage)?;

    let [_, path] = paths;
    stage.power_on(&machine.drive(path))?;
    let alone = [
        Check::new(
            "the disk of /var",
            "lsblk -s -n -r -o TYPE $(findmnt -n -o SOURCE /var) | sort | uniq -c | xargs",
            "1 disk 1 mpath 1 part",
        ),
        Check::new("paths that work", working_paths(&wwid), "1"),
    ];
    install::prove_first_boot(stage, &spec, install::BIOS, &alone)?;
    install::judge(stage, &disk)
}

fn working_paths(wwid: &str) -> String {
    format!("sudo multipathd show paths raw format '%w %t' | grep -c '^{wwid} active'")
}
