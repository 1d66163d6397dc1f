//! A machine as sysfs shows it, and what is read from it.

use super::*;
use crate::disk::choose::{WhyNot, candidate};

/// A machine with the disk `sda` (one partition `sda1`), as sysfs shows it.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        machine.put("sys/block/sda/dev", "8:0\n");
        machine.put("sys/block/sda/size", "629145600\n");
        machine.put("sys/block/sda/ro", "0\n");
        machine.put("sys/block/sda/queue/logical_block_size", "512\n");
        machine.put("sys/block/sda/device/model", "QEMU HARDDISK   \n");
        machine.put("sys/block/sda/wwid", "naa.5000c500\n");
        machine.put("sys/block/sda/sda1/dev", "8:1\n");
        machine.put("sys/block/sda/sda1/partition", "1\n");
        machine.put(
            "proc/self/mountinfo",
            "36 1 9:9 / / rw - ext4 /dev/other rw\n",
        );
        machine
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn facts(&self) -> DiskFacts {
        let roots = self.roots();
        let around = Around::read(&roots).unwrap();
        probe_sysfs(Path::new("/dev/sda"), &roots.sys.join("block/sda"), &around)
            .unwrap()
            .unwrap()
    }

    fn roots(&self) -> Roots {
        Roots::below(self.0.path())
    }

    fn refusal(&self) -> String {
        candidate(&self.facts(), 0).unwrap_err().to_string()
    }
}

#[test]
fn a_free_disk_is_described() {
    let facts = Machine::new().facts();
    candidate(&facts, 0).unwrap();
    assert_eq!(
        facts.describe(),
        "/dev/sda: 300 GiB, model QEMU HARDDISK, wwn naa.5000c500"
    );
    assert_eq!(facts.sector_size, 512);
}

#[test]
fn whatever_uses_it_is_named() {
    let machine = Machine::new();
    machine.put(
        "proc/self/mountinfo",
        "36 1 8:1 / /mnt/data rw - ext4 /dev/sda1 rw\n",
    );
    assert!(machine.refusal().contains("sda1 is mounted on /mnt/data"));

    let machine = Machine::new();
    machine.put(
        "proc/swaps",
        "Filename Type Size\n/dev/sda1 partition 1 0 -2\n",
    );
    assert!(machine.refusal().contains("sda1 is swap space"));

    let machine = Machine::new();
    machine.put("sys/block/sda/sda1/holders/dm-0/dm/name", "vg-root\n");
    machine.put("sys/block/sda/sda1/holders/dm-0/dm/uuid", "LVM-abc\n");
    assert!(
        machine
            .refusal()
            .contains("sda1 is part of the LVM volume vg-root")
    );

    let machine = Machine::new();
    machine.put("sys/block/sda/holders/md0/md/level", "raid1\n");
    assert!(
        machine
            .refusal()
            .contains("sda is part of the raid1 array md0")
    );
}

#[test]
fn read_only_partitions_and_unknown_devices_are_refused() {
    let machine = Machine::new();
    machine.put("sys/block/sda/ro", "1\n");
    assert_eq!(candidate(&machine.facts(), 0), Err(WhyNot::ReadOnly));
    let roots = machine.roots();
    let partition = probe_sysfs(
        Path::new("x"),
        &roots.sys.join("block/sda/sda1"),
        &Around::read(&roots).unwrap(),
    )
    .unwrap();
    assert_eq!(partition, None);
    for path in ["/dev/no-such-disk", "/etc/passwd"] {
        let error = probe_disk(Path::new(path), &roots).unwrap_err();
        let failure = Failure::of(&error).unwrap();
        assert_eq!(failure.kind, Kind::DeviceUnknown);
        assert!(
            failure.hint.contains("/dev/sda (300 GiB)"),
            "{}",
            failure.hint
        );
    }
}

/// A second name for a folder of sysfs, as the kernel has many.
fn link(machine: &Machine, from: &str, to: &str) {
    let from = machine.0.path().join(from);
    fs::create_dir_all(from.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(machine.0.path().join(to), from).unwrap();
}

#[test]
fn where_the_system_runs_from_is_known_through_maps_and_files() {
    let machine = Machine::new();
    machine.put(
        "proc/self/mountinfo",
        "1 0 252:0 / / ro - squashfs /dev/mapper/root ro\n\
         2 1 8:1 / /run/harrow/medium ro - iso9660 /dev/sda1 ro\n",
    );
    // The root is a map on a loop device whose file is on the medium.
    machine.put("sys/block/dm-0/slaves/loop0/x", "");
    fs::remove_dir_all(machine.0.path().join("sys/block/dm-0/slaves/loop0")).unwrap();
    machine.put(
        "sys/block/loop0/loop/backing_file",
        "/run/harrow/medium/harrow/slot.img\n",
    );
    link(&machine, "sys/block/dm-0/slaves/loop0", "sys/block/loop0");
    link(&machine, "sys/dev/block/252:0", "sys/block/dm-0");
    link(&machine, "sys/dev/block/8:1", "sys/block/sda/sda1");
    let around = Around::read(&machine.roots()).unwrap();
    let names: Vec<&str> = around.system.iter().map(String::as_str).collect();
    assert_eq!(names, ["dm-0", "loop0", "sda"]);
    assert!(machine.facts().medium);
    assert_eq!(candidate(&machine.facts(), 0), Err(WhyNot::Medium));
}

#[test]
fn the_boot_chain_says_which_medium_it_was() {
    let machine = Machine::new();
    machine.put("sys/block/sdb/size", "2097152\n");
    machine.put("sys/block/sdb/ro", "0\n");
    machine.put("sys/block/sdb/queue/logical_block_size", "512\n");
    machine.put("sys/block/sdb/dev", "8:16\n");
    machine.put(
        "run/udev/data/b8:16",
        "E:ID_FS_TYPE=iso9660\nE:ID_FS_UUID=2026-11\n",
    );
    let media = |line: &str| -> Vec<bool> {
        machine.put("proc/cmdline", line);
        let roots = machine.roots();
        let marks = |disks: Vec<DiskFacts>| disks.iter().map(|d| d.medium).collect();
        let listed = marks(list(&roots));
        assert_eq!(marks(probe(&roots).disks), listed);
        listed
    };
    assert_eq!(media("harrow.boot.medium=UUID=2026-11"), [false, true]);
    assert_eq!(media("quiet"), [false, false]);
    machine.put("sys/block/sda/sda1/dev", "8:1\n");
    machine.put("run/udev/data/b8:1", "E:ID_FS_UUID=2026-12\n");
    assert_eq!(media("harrow.boot.medium=UUID=2026-12"), [true, false]);
    let sdb = machine.0.path().join("sys/block/sdb");
    fs::create_dir_all(machine.0.path().join("sys/dev/block")).unwrap();
    std::os::unix::fs::symlink(&sdb, machine.0.path().join("sys/dev/block/8:16")).unwrap();
    media("harrow.boot.medium=UUID=2026-11");
    // A mounted CD is the medium; a disk with a copy of it is not.
    let mounts = fs::read_to_string(machine.0.path().join("proc/self/mountinfo")).unwrap();
    fs::create_dir_all(machine.0.path().join("sys/block/sr0")).unwrap();
    link(&machine, "sys/dev/block/11:0", "sys/block/sr0");
    let cd = "2 1 11:0 / /run/harrow/medium ro - iso9660 /dev/sr0 ro\n";
    machine.put("proc/self/mountinfo", &format!("{mounts}{cd}"));
    assert_eq!(media("harrow.boot.medium=UUID=2026-11"), [false, false]);
    machine.put("proc/self/mountinfo", &mounts);
    let number = rustix::fs::makedev(8, 16);
    let sdb = probe_number(Path::new("/dev/sdb"), number, &machine.roots());
    assert!(sdb.unwrap().unwrap().medium);
}

#[test]
fn udev_and_a_multipath_map_complete_what_sysfs_says() {
    let machine = Machine::new();
    for (file, text) in [
        ("size", "629145600\n"),
        ("ro", "0\n"),
        ("dev", "252:3\n"),
        ("queue/logical_block_size", "512\n"),
        ("dm/name", "mpatha\n"),
        ("dm/uuid", "mpath-35000c500\n"),
        ("slaves/sda/x", ""),
    ] {
        machine.put(&format!("sys/block/dm-3/{file}"), text);
    }
    machine.put("sys/block/sda/holders/dm-3/dm/uuid", "mpath-35000c500\n");
    machine.put("sys/block/sda/holders/dm-3/dm/name", "mpatha\n");
    machine.put(
        "sys/block/dm-3/holders/dm-4/dm/uuid",
        "part1-mpath-35000c500\n",
    );
    machine.put("sys/block/dm-3/holders/dm-4/dm/name", "mpatha-part1\n");
    machine.put("sys/block/sda/queue/optimal_io_size", "1048576\n");
    machine.put(
        "run/udev/data/b8:0",
        "S:disk/by-path/pci-1\nS:disk/by-uuid/1\nE:ID_SERIAL_SHORT=S1\n",
    );
    let sda = machine.facts();
    assert_eq!(sda.optimal_io_size, 1 << 20);
    assert_eq!(sda.links, [Path::new("/dev/disk/by-path/pci-1")]);
    let disks = list(&machine.roots());
    assert_eq!(disks.len(), 1, "{disks:?}");
    let map = &disks[0];
    assert_eq!(map.path, Path::new("/dev/mapper/mpatha"));
    assert_eq!(map.paths, ["sda"]);
    assert_eq!(map.multipath.as_deref(), Some("35000c500"));
    let users: Vec<String> = map.users.iter().map(ToString::to_string).collect();
    assert_eq!(users, ["dm-3 has the partition mpatha-part1"]);
    assert_eq!(map.serial.as_deref(), Some("S1"));
    assert_eq!(map.wwn.as_deref(), Some("naa.5000c500"));
    assert_eq!(map.links, [Path::new("/dev/disk/by-path/pci-1")]);
    candidate(map, 0).unwrap();
}

#[test]
fn what_a_disk_holds_is_read_from_the_disk_itself() {
    let machine = Machine::new();
    fs::create_dir_all(machine.0.path().join("dev")).unwrap();
    let node = machine.0.path().join("dev/sda");
    let make = crate::sys::cmd::Cmd::new("mke2fs").args(["-q", "-L", "HARROW_VAR"]);
    make.arg(&node).arg("16M").run().unwrap();
    // What udev saw when the disk came is older than what is there now.
    machine.put("run/udev/data/b8:0", "E:ID_FS_TYPE=ntfs\n");
    machine.put("sys/block/sda/sda1/size", "2048\n");
    machine.put("sys/block/sda/sda1/uevent", "PARTNAME=old\n");
    let disk = probe(&machine.roots()).disks.remove(0);
    assert_eq!(disk.unreadable, None);
    assert_eq!(disk.holds[0].what, Holding::Harrow);
    let fstype = disk.holds.iter().find_map(|c| match &c.what {
        Holding::Filesystem { fstype, .. } => Some(fstype.as_str()),
        _ => None,
    });
    assert_eq!(fstype, Some("ext2"));
    let last = disk.holds.last().unwrap().to_string();
    assert_eq!(last, "partition 1 \"old\" (1 MiB)");
    fs::remove_file(&node).unwrap();
    let disk = probe(&machine.roots()).disks.remove(0);
    assert!(disk.unreadable.is_some());
    assert_eq!(disk.holds[0].what, Holding::Windows);
}
