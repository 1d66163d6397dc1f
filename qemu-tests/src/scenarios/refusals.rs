//! Disks that must not be written: the live system refuses each, names the reason, and leaves
//! it as it was. (What can be known without a machine is tested with the installer.)

use std::time::Duration;

use crate::console::{Console, Key};
use crate::firmware::Firmware;
use crate::machine::{Drive, Machine};
use crate::stage::Stage;

use super::bios_cd::boot_with;

const PROMPT: &str = "root@harrow-live";
const CONFIG: &str = r"printf 'os: {password: x}\ninstall: {mode: install, persistent_partition_size: 20Gi}\n' >/tmp/c";
const DISK_SIZE: u64 = 64 << 30;
const SMALL_SIZE: u64 = 10 << 30;
/// How long the live system may take to its prompt.
const BOOT: Duration = Duration::from_secs(600);
/// How long an install may take.
const INSTALL: Duration = Duration::from_secs(600);
/// How long a command may take.
const COMMAND: Duration = Duration::from_secs(180);

/// An array of one disk, by way of sysfs (Documentation/admin-guide/md.rst): the image has no mdadm.
const ARRAY: &str = "modprobe raid1 && echo md127 >/sys/module/md_mod/parameters/new_array && cd /sys/block/md127/md && echo raid1 >level && echo 1 >raid_disks && echo 1048576 >component_size && cat /sys/class/block/vdd/dev >new_dev && echo 0 >dev-vdd/slot && echo active >array_state && grep -qvE ^inactive array_state && cd /";
/// What is done to make a disk unusable, the device, the exit code, and the reason shown.
const CASES: [(&str, &str, &str, &str); 7] = [
    (
        "mkfs.ext4 -q /dev/vda && mount /dev/vda /mnt",
        "/dev/vda",
        "22",
        "vda is mounted on /mnt",
    ),
    (
        "pvcreate -qq -y /dev/vdb && vgcreate -qq vg /dev/vdb && lvcreate -qq -y -n data -L 1G vg",
        "/dev/vdb",
        "22",
        "vdb is part of the LVM volume vg-data",
    ),
    (
        ARRAY,
        "/dev/vdd",
        "22",
        "vdd is part of the raid1 array md127",
    ),
    ("true", "/dev/vdc", "21", "it has 10 GiB"),
    (
        "blockdev --setro /dev/vdc",
        "/dev/vdc",
        "23",
        "it is read-only",
    ),
    ("true", "/dev/vdz", "20", "no such device"),
    ("true", "/dev/sr0", "22", "this system runs from it"),
];

/// Plays it.
pub fn run(stage: &mut Stage) -> anyhow::Result<()> {
    let iso = stage.iso()?.to_owned();
    let mounted = stage.create_disk("mounted.img", DISK_SIZE)?;
    let lvm = stage.create_disk("lvm.img", DISK_SIZE)?;
    let small = stage.create_disk("small.img", SMALL_SIZE)?;
    let array = stage.create_disk("array.img", DISK_SIZE)?;
    let machine = Machine::new("refusals", Firmware::Bios)
        .drive(Drive::virtio(&mounted, "MOUNTED"))
        .drive(Drive::virtio(&lvm, "LVM"))
        .drive(Drive::virtio(&small, "SMALL"))
        .drive(Drive::virtio(&array, "ARRAY"))
        .drive(Drive::cd(&iso));
    let vm = stage.power_on(&machine)?;
    boot_with(&vm.console, "systemd.mask=harrow-install.service")?;
    let prompt = vm.console.wait_for(PROMPT, BOOT)?;
    stage.step(prompt.at, "a root shell on the live system");
    say(&stage.vm()?.console, CONFIG)?;
    for (prepare, device, code, reason) in CASES {
        let console = &stage.vm()?.console;
        say(console, &format!("{prepare}; echo made=$?"))?;
        console.wait_for("made=0", COMMAND)?;
        say(
            console,
            &format!("harrow install --config /tmp/c --device {device} 2>/tmp/e; echo code=$?.end"),
        )?;
        console.wait_for(&format!("code={code}.end"), COMMAND)?;
        // GRUB's errors begin like ours, and end a scenario.
        say(console, "sed 's/^error/said/' /tmp/e")?;
        let said = console.wait_for(reason, COMMAND)?;
        stage.step(said.at, &format!("{device} is refused: {reason}"));
    }
    let console = &stage.vm()?.console;
    // With a word for it, what is active would be taken down.
    say(
        console,
        "harrow plan --config /tmp/c --device /dev/vdb --allow-overwrite >/tmp/p; echo busy=$?",
    )?;
    console.wait_for("busy=0", COMMAND)?;
    say(
        console,
        "grep -q 'what keeps the target busy' /tmp/p && cat /tmp/p",
    )?;
    let planned = console.wait_for("LVM's volume group vg", COMMAND)?;
    stage.step(planned.at, "a plan says what is lost and taken down");
    let console = &stage.vm()?.console;
    // A volume group that nobody started stays as it is; its disk holds data all the same.
    say(
        console,
        "vgchange -qq -an vg && udevadm trigger --action=add --settle /dev/vdb && sleep 5; echo down=$?",
    )?;
    console.wait_for("down=0", COMMAND)?;
    say(
        console,
        "harrow plan --config /tmp/c --device /dev/vdb >/dev/null 2>&1; echo plan=$?",
    )?;
    console.wait_for("plan=24", COMMAND)?;
    say(
        console,
        "harrow plan --config /tmp/c --device /dev/vdb --allow-overwrite >/dev/null; echo free=$?",
    )?;
    let planned = console.wait_for("free=0", COMMAND)?;
    stage.step(planned.at, "volumes of a former life are not started");
    let console = &stage.vm()?.console;
    say(console, "vgchange -qq -ay vg; echo up=$?")?;
    console.wait_for("up=0", COMMAND)?;
    say(
        console,
        "umount /mnt && e2fsck -fn /dev/vda && lvs vg/data && echo all=$?",
    )?;
    let intact = console.wait_for("all=0", COMMAND)?;
    stage.step(intact.at, "what was refused is as it was");
    overwrite(stage)?;
    stage.cut_power()
}

/// With the person's word, what is active on a disk is taken down, and it is installed on.
fn overwrite(stage: &mut Stage) -> anyhow::Result<()> {
    for (device, what, gone) in [
        ("/dev/vdb", "a volume group", "! vgs vg 2>/dev/null"),
        ("/dev/vdd", "an array", "! grep -q md127 /proc/mdstat"),
    ] {
        let console = &stage.vm()?.console;
        say(
            console,
            &format!(
                "harrow install --config /tmp/c --device {device} --allow-overwrite >/tmp/o 2>/tmp/e; echo over=$?.end; {gone}; echo gone=$?.end"
            ),
        )?;
        console.wait_for("over=0.end", INSTALL)?;
        let over = console.wait_for("gone=0.end", COMMAND)?;
        stage.step(
            over.at,
            &format!("{device} is overwritten, with {what} on it"),
        );
    }
    Ok(())
}

fn say(console: &Console, line: &str) -> anyhow::Result<()> {
    console.type_text(line)?;
    console.press(Key::Enter)
}
