//! An install onto a plain file, as an ordinary user would do it, judged by programs that are
//! not ours. (The same with a real image is the scenario `file-target` of qemu-tests.)

#![allow(clippy::unwrap_used)] // helpers of tests may panic

mod common;

use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use common::Place;
use harrow::disk::layout::{Partition, Role};
use harrow::install::report::{Outcome, Report};
use harrow::sys::cmd::Cmd;

fn installed(place: &Place) -> Report {
    let report = place.path("report.json");
    let output = place.install(&["--size", "64G", "--report", report.to_str().unwrap()]);
    assert!(output.status.success(), "{}", output.stderr);
    serde_json::from_slice(&fs::read(report).unwrap()).unwrap()
}

/// The bytes of a partition's beginning, as a file.
fn extract(place: &Place, partition: &Partition, size: u64, name: &str) -> std::path::PathBuf {
    let mut bytes = vec![0; usize::try_from(size).unwrap()];
    let disk = fs::File::open(place.disk()).unwrap();
    disk.read_exact_at(&mut bytes, partition.start).unwrap();
    let path = place.path(name);
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn outside_programs_accept_it() {
    let place = Place::new();
    let report = installed(&place);
    assert!(matches!(report.outcome, Outcome::Done { .. }));
    assert!(
        report
            .journal
            .iter()
            .all(|entry| entry.milliseconds.is_some())
    );
    let meta = fs::metadata(place.disk()).unwrap();
    assert_eq!(meta.len(), 64 << 30);
    assert!(
        meta.blocks() * 512 < 1 << 30,
        "not sparse: {} blocks",
        meta.blocks()
    );

    let said = Cmd::new("sgdisk")
        .arg("-v")
        .arg(place.disk())
        .run()
        .unwrap()
        .text();
    assert!(said.contains("No problems found"), "{said}");
    let layout = &report.plan.layout;
    for role in [Role::Oem, Role::Var, Role::Data] {
        let at = layout.of(role).unwrap().start;
        let place = format!("{}?offset={at}", place.disk().display());
        Cmd::new("e2fsck").args(["-fn", &place]).run().unwrap();
    }
    let esp = extract(&place, layout.of(Role::Esp).unwrap(), 1 << 30, "esp");
    Cmd::new("fsck.fat").arg("-n").arg(&esp).run().unwrap();

    let manifest = place.manifest();
    let slot_a = layout.of(Role::SlotA).unwrap();
    let slot = extract(&place, slot_a, manifest.slot.file.size, "slot");
    assert_eq!(
        fs::read(&slot).unwrap(),
        fs::read(place.image().join("slot.img")).unwrap()
    );
    Cmd::new("veritysetup")
        .arg("verify")
        .args([&slot, &slot])
        .arg(&report.root_hash)
        .arg(format!(
            "--hash-offset={}",
            manifest.slot.verity.hash_offset
        ))
        .run()
        .unwrap();

    // The boot code points to the core image, and the core image to its own second sector.
    let disk = fs::File::open(place.disk()).unwrap();
    let number = |at| {
        let mut bytes = [0; 8];
        disk.read_exact_at(&mut bytes, at).unwrap();
        u64::from_le_bytes(bytes)
    };
    let core = layout.of(Role::BiosBoot).unwrap().start;
    assert_eq!(number(0x5c), core / 512);
    assert_eq!(number(core + 0x1f4), core / 512 + 1);
}

#[test]
fn the_node_gets_its_config_without_clear_passwords() {
    let place = Place::new();
    let report = installed(&place);
    let oem = extract(
        &place,
        report.plan.layout.of(Role::Oem).unwrap(),
        64 << 20,
        "oem",
    );
    let cat = |name: &str| {
        Cmd::new("debugfs")
            .args(["-R", &format!("cat {name}")])
            .arg(&oem)
            .run()
            .unwrap()
            .text()
    };
    let config = cat("config.yaml");
    assert!(
        config.contains("hostname: node-1") && config.contains("$6$"),
        "{config}"
    );
    assert!(!config.contains("hunter2"), "{config}");
    let kept: Report = serde_json::from_str(&cat("report.json")).unwrap();
    assert_eq!(kept.plan, report.plan);
    let origin = &kept.config_origins["os.hostname"];
    assert!(origin.ends_with("config.yaml:3"), "{origin}");
    assert_eq!(kept.outcome, Outcome::Running);
    let stat = Cmd::new("debugfs")
        .args(["-R", "stat config.yaml"])
        .arg(&oem)
        .run()
        .unwrap()
        .text();
    assert!(
        stat.contains("Mode:  0600") && stat.contains("User:     0"),
        "{stat}"
    );
}

#[test]
fn memory_does_not_grow_with_the_image() {
    let place = Place::new();
    place.make_image(160 << 20);
    let peak = installed(&place).peak_memory_kib.unwrap();
    assert!(peak < 64 << 10, "{peak} KiB");
}

#[test]
fn a_failure_half_way_leaves_a_disk_that_does_not_boot() {
    let place = Place::new();
    // A boot.img of the wrong size is found only by the last step.
    let mut manifest = place.manifest();
    let boot_img = place.image().join("boot.img");
    let short = &fs::read(&boot_img).unwrap()[..440];
    fs::write(&boot_img, short).unwrap();
    manifest.boot.bios_boot.size = 440;
    manifest.boot.bios_boot.sha256 = {
        use sha2::Digest as _;
        hex::encode(sha2::Sha256::digest(short))
    };
    place.write_manifest(&manifest);
    let report = place.path("report.json");
    let output = place.install(&["--size", "64G", "--report", report.to_str().unwrap()]);
    assert!(!output.status.success());
    assert!(output.stderr.contains("boot.img"), "{}", output.stderr);
    let report: Report = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
    assert!(matches!(report.outcome, Outcome::Failed { .. }));
    let disk = fs::File::open(place.disk()).unwrap();
    let mut start = vec![0; 1 << 20];
    disk.read_exact_at(&mut start, 0).unwrap();
    assert!(start.iter().all(|b| *b == 0), "there is a partition table");
}
