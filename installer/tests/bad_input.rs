//! Every bad input ends before anything is written, with its own exit code, and an error that
//! names the thing, the reason and the way out.

#![allow(clippy::unwrap_used)] // helpers of tests may panic

mod common;

use std::fs;
use std::os::unix::fs::FileExt as _;

use common::{CONFIG, Place, harrow};
use harrow::sys::cmd::Output;

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
    manifest.boot.bios_core.size = huge;
    place.write_manifest(&manifest);
    let core = fs::File::options()
        .write(true)
        .open(place.image().join("core.img"))
        .unwrap();
    if core.set_len(huge).is_err() {
        eprintln!(
            "this file system has no files of 8 TiB; the check itself is a unit test of disk::target"
        );
        return;
    }
    let output = place.install(&["--size", "64G"]);
    refused_and_untouched(&place, &output, 40, &["free", "disk.img", "8.0 TiB"]);
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
