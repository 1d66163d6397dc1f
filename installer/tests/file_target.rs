//! An install onto a plain file, as an ordinary user would do it, judged by programs that are
//! not ours. (The same with a real image is the scenario `file-target` of qemu-tests.)

#![allow(clippy::unwrap_used)] // helpers of tests may panic

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::judge::{ext4_is_good, table_is_good};
use common::{Place, harrow};
use harrow::disk::layout::{Partition, Role};
use harrow::disk::target::Target;
use harrow::image::set::ImageSet;
use harrow::install::engine::{Inputs, execute};
use harrow::install::report::{Outcome, Report};
use harrow::install::run::{Options, prepare, read_config};
use harrow::install::step::Step;
use harrow::sys::cmd::Cmd;
use harrow::sys::wait;

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

    table_is_good(&place.disk(), "installed");
    let layout = report.plan.layout().unwrap();
    let roles = [Role::Oem, Role::Var, Role::Data];
    ext4_is_good(&place.disk(), layout, &roles, "installed");
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
        report.plan.layout().unwrap().of(Role::Oem).unwrap(),
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

/// A boot.img that is cut off after the image was checked: only the last step sees it.
fn fail_at_the_last_step(place: &Place) -> (Report, anyhow::Result<()>, bool) {
    let options = Options {
        image: Some(place.image()),
        device: Some(place.disk()),
        size: Some(64 << 30),
        ..Options::default()
    };
    let mut plan = prepare(&[read_config(&place.config()).unwrap()], &options)
        .unwrap()
        .plan;
    plan.steps
        .retain(|step| !matches!(step, Step::CheckImage { .. }));
    let origins = BTreeMap::new();
    let inputs = Inputs {
        origins: &origins,
        image: &ImageSet::open(&place.image()).unwrap(),
        config: b"os: {}".to_vec(),
        half_made: &AtomicBool::new(false),
        open: &Target::open,
        keep: &|_| (),
    };
    fs::write(place.image().join("boot.img"), [0; 440]).unwrap();
    let (report, result) = execute(&plan, &inputs, &std::sync::mpsc::channel().0);
    (report, result, inputs.half_made.load(Ordering::SeqCst))
}

#[test]
fn a_failure_half_way_leaves_a_disk_that_does_not_boot() {
    let place = Place::new();
    let (report, result, half_made) = fail_at_the_last_step(&place);
    let error = result.unwrap_err();
    assert!(format!("{error:#}").contains("boot.img"), "{error:#}");
    assert!(matches!(report.outcome, Outcome::Failed { .. }));
    assert!(half_made);
    let disk = fs::File::open(place.disk()).unwrap();
    let mut start = vec![0; 1 << 20];
    disk.read_exact_at(&mut start, 0).unwrap();
    assert!(start.iter().all(|b| *b == 0), "there is a partition table");
}

#[test]
fn a_file_that_could_not_be_finished_is_removed() {
    let place = Place::new();
    let report = place.path("report.json");
    // Files may grow to 8 GiB, in blocks of 1024 bytes: less than the disk's size.
    let line = format!(
        "ulimit -f 8388608; exec {} install --config {} --image {} --device {} --size 64G --report {}",
        env!("CARGO_BIN_EXE_harrow"),
        place.config().display(),
        place.image().display(),
        place.disk().display(),
        report.display(),
    );
    let output = Cmd::new("bash").args(["-c", &line]).run_any().unwrap();
    assert_eq!(output.status.code(), Some(40), "{}", output.stderr);
    assert!(output.stderr.contains("64 GiB"), "{}", output.stderr);
    assert!(output.stderr.contains("hint: "), "{}", output.stderr);
    assert!(!place.disk().exists());
    let report: Report = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
    assert!(matches!(report.outcome, Outcome::Failed { .. }));
}

#[test]
fn an_interrupted_install_leaves_no_half_file() {
    let place = Place::new();
    // Slow enough to be interrupted.
    let slow = place.path("slow");
    fs::create_dir(&slow).unwrap();
    let tool = slow.join("mke2fs");
    fs::write(&tool, "#!/bin/sh\ncase $* in *-V*) ;; *) sleep 5 ;; esac\n").unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    let errors = place.path("errors");
    let file = |path| fs::File::create(path).unwrap();
    let mut child = harrow("install")
        .args(["--size", "64G", "--config"])
        .arg(place.config())
        .arg("--image")
        .arg(place.image())
        .arg("--device")
        .arg(place.disk())
        .env("PATH", format!("{}:/usr/bin:/bin", slow.display()))
        .spawn_logged(file(&place.path("lines")), file(&errors))
        .unwrap();
    let limit = Duration::from_secs(60);
    let pause = Duration::from_millis(20);
    wait::until("the file system", limit, pause, || {
        let lines = fs::read_to_string(place.path("lines"))?;
        Ok(lines.contains("] write the config").then_some(()))
    })
    .unwrap();
    assert!(place.disk().exists());
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(128 + 15));
    let said = fs::read_to_string(errors).unwrap();
    assert!(
        said.contains("interrupted") && said.contains("removed"),
        "{said}"
    );
    assert!(!place.disk().exists());
}
