//! Every bad input ends before anything is written, with its own exit code, and an error that
//! names the thing, the reason and the way out.

#![allow(clippy::unwrap_used)] // helpers of tests may panic

mod common;

use std::fs;
use std::os::unix::fs::FileExt as _;

use common::{CONFIG, Place, harrow};
use harrow::sys::cmd::{Cmd, Output};

/// The exit code, and that the error has all of `words` and a hint.
fn refused(output: &Output, code: i32, words: &[&str]) {
    let text = &output.stderr;
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.contains("\nhint: "), "no hint: {text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
    assert!(
        !text.contains("hunter2") && !text.contains("a-shared-secret"),
        "a secret in: {text}"
    );
}

fn refused_and_untouched(place: &Place, output: &Output, code: i32, words: &[&str]) {
    refused(output, code, words);
    assert!(!place.disk().exists(), "the target was created");
}

#[test]
fn a_disk_that_is_too_small() {
    let place = Place::new();
    let output = place.install(&["--size", "20G"]);
    refused_and_untouched(
        &place,
        &output,
        21,
        &["the disk has 20 GiB", "needs", "persistent_partition_size"],
    );
}

#[test]
fn a_refusal_stands_where_the_report_would() {
    let place = Place::new();
    let report = place.path("report.json");
    let report = report.to_str().unwrap();
    let output = place.install(&["--size", "20G", "--report", report]);
    refused_and_untouched(&place, &output, 21, &["the disk has 20 GiB"]);
    let said: serde_json::Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
    let outcome = &said["outcome"];
    assert_eq!(outcome["is"], "refused");
    assert_eq!(outcome["exit_code"], 21);
    let error = outcome["error"].as_str().unwrap();
    assert!(error.contains("the disk has 20 GiB"), "{error}");
    assert_eq!(outcome["hint"].as_str().map(str::is_empty), Some(false));
    // An earlier report is not left to speak for this try.
    let output = harrow("install")
        .args(["--config", "/no/such.yaml", "--report", report])
        .run_any()
        .unwrap();
    assert_eq!(output.status.code(), Some(10), "{}", output.stderr);
    let said: serde_json::Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
    assert_eq!(said["outcome"]["exit_code"], 10);
    // Never in place of a part of the image.
    let slot = place.image().join("slot.img");
    let before = fs::metadata(&slot).unwrap().len();
    for size in ["20G", "64G"] {
        let output = place.install(&["--size", size, "--report", slot.to_str().unwrap()]);
        assert!([21, 43].contains(&output.status.code().unwrap()), "{size}");
        assert_eq!(fs::metadata(&slot).unwrap().len(), before);
    }
    // Never in place of the config.
    let config = place.config();
    let before = fs::read(&config).unwrap();
    let output = place.install(&["--size", "20G", "--report", config.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(21));
    assert_eq!(fs::read(&config).unwrap(), before);
}

#[test]
fn a_damaged_slot_image() {
    let place = Place::new();
    let slot = fs::File::options()
        .write(true)
        .open(place.image().join("slot.img"))
        .unwrap();
    slot.write_all_at(b"X", 1_000_000).unwrap();
    let output = place.install(&["--size", "64G"]);
    refused_and_untouched(&place, &output, 30, &["slot.img is damaged", "sha256"]);
}

#[test]
fn a_short_or_missing_file_of_the_image() {
    let place = Place::new();
    let initrd = place.image().join("initrd.img");
    fs::File::options()
        .write(true)
        .open(&initrd)
        .unwrap()
        .set_len(1000)
        .unwrap();
    let output = place.install(&["--size", "64G"]);
    refused_and_untouched(
        &place,
        &output,
        30,
        &["initrd.img has 1000 bytes", "300001"],
    );
    fs::remove_file(&initrd).unwrap();
    let output = place.install(&["--size", "64G"]);
    refused_and_untouched(&place, &output, 30, &["initrd.img", "No such file"]);
    fs::write(place.image().join("manifest.json"), "{").unwrap();
    refused_and_untouched(
        &place,
        &place.install(&["--size", "64G"]),
        30,
        &["manifest.json"],
    );
    fs::remove_dir_all(place.image()).unwrap();
    refused_and_untouched(
        &place,
        &place.install(&["--size", "64G"]),
        30,
        &["is not an image"],
    );
}

#[test]
fn a_boot_loader_of_the_wrong_size() {
    let place = Place::new();
    let good = place.manifest();
    for (name, size) in [("boot.img", 440), ("core.img", 512), ("core.img", 2 << 20)] {
        let bytes = vec![1; size];
        fs::write(place.image().join(name), &bytes).unwrap();
        let mut manifest = good.clone();
        let entry = match name {
            "boot.img" => &mut manifest.boot.bios_boot,
            _ => &mut manifest.boot.bios_core,
        };
        entry.size = size as u64;
        entry.sha256 = {
            use sha2::Digest as _;
            hex::encode(sha2::Sha256::digest(&bytes))
        };
        place.write_manifest(&manifest);
        let output = place.install(&["--size", "64G"]);
        refused_and_untouched(&place, &output, 30, &[name, &size.to_string()]);
        fs::write(place.image().join("boot.img"), [1; 512]).unwrap();
    }
}

#[test]
fn a_place_where_no_file_can_be() {
    let place = Place::new();
    let output = place.install_onto("/no/such/folder/disk.img".as_ref(), &["--size", "64G"]);
    refused(&output, 42, &["/no/such/folder/disk.img", "No such file"]);
    // A mistyped disk must not become a file in memory.
    let output = place.install_onto("/dev/sdzz".as_ref(), &["--size", "64G"]);
    refused(&output, 20, &["/dev/sdzz", "--size"]);
}

#[test]
fn a_wrong_verity_root_hash() {
    let place = Place::new();
    let mut manifest = place.manifest();
    manifest.slot.verity.root_hash = "00".repeat(32);
    place.write_manifest(&manifest);
    let output = place.install(&["--size", "64G"]);
    refused_and_untouched(&place, &output, 31, &["slot.img", "verity root hash"]);
}

#[test]
fn a_missing_config() {
    let place = Place::new();
    fs::remove_file(place.config()).unwrap();
    let output = place.install(&["--size", "64G"]);
    refused_and_untouched(
        &place,
        &output,
        10,
        &["config.yaml", "No such file", "--config"],
    );
}

#[test]
fn a_malformed_config() {
    let place = Place::new();
    for (text, words) in [
        ("install: [", &["config.yaml:1"][..]),
        ("", &["is empty"]),
        (
            "nonsense: 1\ntoken: hunter2\n",
            &["config.yaml:1:1", "nonsense"],
        ),
        (
            &CONFIG.replace("create", "destroy"),
            &["install.mode", "destroy", "create, join or install"],
        ),
        (
            &CONFIG.replace("node-1", "Node_1"),
            &["os.hostname", "Node_1"],
        ),
        (
            "install: { mode: join }",
            &["3 problems", "token", "server_url", "nobody could log in"],
        ),
    ] {
        fs::write(place.config(), text).unwrap();
        refused_and_untouched(&place, &place.install(&["--size", "64G"]), 11, words);
    }
    fs::write(place.config(), [0xff, 0xfe, 0, 1]).unwrap();
    refused_and_untouched(
        &place,
        &place.install(&["--size", "64G"]),
        11,
        &["config.yaml", "UTF-16"],
    );
}

#[test]
fn an_unknown_device() {
    let place = Place::new();
    let output = place.install_onto("/dev/no-such-disk".as_ref(), &[]);
    refused(
        &output,
        20,
        &["/dev/no-such-disk", "no such device", "this machine has"],
    );
    let output = place.install_onto("/dev/null".as_ref(), &[]);
    refused(&output, 20, &["/dev/null", "not a block device"]);
    let output = place.install(&[]);
    refused(&output, 20, &["disk.img", "--size"]);
    let output = harrow("plan")
        .arg("--config")
        .arg(place.config())
        .arg("--image")
        .arg(place.image())
        .run_any()
        .unwrap();
    refused(&output, 11, &["install.device is missing"]);
}

/// A rule is about disks, and a file was asked for: no disk is taken instead.
#[test]
fn a_size_without_a_file() {
    let place = Place::new();
    let rule = ["--set", "install.device={pick: largest}", "--size", "64G"];
    let plan = harrow("plan")
        .arg("--config")
        .arg(place.config())
        .arg("--image")
        .arg(place.image());
    refused(
        &plan.args(rule).run_any().unwrap(),
        11,
        &["--size", "--device"],
    );
}

#[test]
fn a_file_that_exists() {
    let place = Place::new();
    fs::write(place.disk(), "precious").unwrap();
    refused(
        &place.install(&["--size", "64G"]),
        41,
        &["disk.img exists already"],
    );
    assert_eq!(fs::read(place.disk()).unwrap(), b"precious");
}

#[test]
fn no_room_for_a_file() {
    let place = Place::new();
    // A manifest may promise more than any disk has; files with holes make it true.
    let huge = 1 << 43;
    let mut manifest = place.manifest();
    manifest.slot.file.size = huge;
    place.write_manifest(&manifest);
    let slot = fs::File::options()
        .write(true)
        .open(place.image().join("slot.img"))
        .unwrap();
    slot.set_len(huge).unwrap();
    let output = place.install(&["--size", "64T"]);
    refused_and_untouched(&place, &output, 40, &["free", "disk.img", "8.0 TiB"]);
}

#[test]
fn output_that_goes_nowhere() {
    let place = Place::new();
    let plan = format!(
        "{} plan --config {} --image {} --device {} --size 64G",
        env!("CARGO_BIN_EXE_harrow"),
        place.config().display(),
        place.image().display(),
        place.disk().display()
    );
    let shell = |line: String| Cmd::new("bash").args(["-c", &line]).run_any().unwrap();
    refused(
        &shell(format!("{plan} >/dev/full")),
        43,
        &["standard output"],
    );
    let closed = shell(format!("{plan} | true; exit ${{PIPESTATUS[0]}}"));
    assert_eq!(closed.status.code(), Some(0), "{}", closed.stderr);
    let silent = shell(format!("{plan} --image /nowhere 2>/dev/full"));
    assert_eq!(silent.status.code(), Some(2), "given twice");
    let log = place.install(&["--size", "64G", "--log", "/no/such/folder/log"]);
    refused_and_untouched(&place, &log, 43, &["/no/such/folder/log"]);
    for path in [place.disk(), place.config(), "/dev/full".into()] {
        let report = path.to_str().unwrap();
        let output = place.install(&["--size", "64G", "--report", report]);
        refused_and_untouched(&place, &output, 43, &[report]);
    }
}

#[test]
fn a_config_that_is_too_large() {
    let place = Place::new();
    fs::write(place.config(), "#".repeat((1 << 20) + 1)).unwrap();
    let output = place.install(&["--size", "64G"]);
    refused_and_untouched(
        &place,
        &output,
        11,
        &["config.yaml: error: is larger than 1 MiB"],
    );
}

#[test]
fn a_kernel_command_line_that_is_too_long() {
    let place = Place::new();
    let long = format!("os: {{ additional_kernel_arguments: {}, ", "a".repeat(2000));
    fs::write(place.config(), CONFIG.replace("os: {", &long)).unwrap();
    let output = place.install(&["--size", "64G"]);
    refused_and_untouched(&place, &output, 11, &["additional_kernel_arguments"]);
}

#[test]
fn missing_programs() {
    let place = Place::new();
    let output = harrow("install")
        .args(["--size", "64G", "--config"])
        .arg(place.config())
        .arg("--image")
        .arg(place.image())
        .arg("--device")
        .arg(place.disk())
        .env("PATH", "/nonexistent")
        .run_any()
        .unwrap();
    refused_and_untouched(&place, &output, 50, &["mke2fs", "e2fsprogs"]);
}
