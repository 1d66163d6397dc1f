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
