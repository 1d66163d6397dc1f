//! Damage anywhere in an image ends an install and is named; packed images are no exception.

#![allow(clippy::unwrap_used)] // helpers of tests may panic

mod common;

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt as _;

use common::Place;
use harrow::failure::{Failure, Kind};
use harrow::image::set::{ImageSet, from_io};

/// An install that must fail, and what it says.
fn failed_install(place: &Place) -> String {
    let output = place.install(&["--size", "64G"]);
    let code = output.status.code();
    assert_eq!(code, Some(30), "{}", output.stderr);
    assert!(!place.disk().exists(), "half a disk is left");
    output.stderr
}

#[test]
fn one_flipped_bit_anywhere() {
    let place = Place::new();
    let manifest = place.manifest();
    let hashes = manifest.slot.verity.hash_offset;
    for entry in manifest.files() {
        let mut places = vec![0, entry.size - 1];
        if entry.name == "slot.img" {
            // Data, superblock, both levels of the tree.
            places.extend([
                hashes / 2,
                hashes - 1,
                hashes + 20,
                hashes + 4096 + 3,
                hashes + 8192,
            ]);
        }
        let path = place.image().join(&entry.name);
        let file = fs::File::options()
            .read(true)
            .write(true)
            .open(path)
            .unwrap();
        for at in places {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 4], at).unwrap();
            let said = failed_install(&place);
            let words = format!("{} is damaged", entry.name);
            assert!(said.contains(&words), "{at}: {said}");
            file.write_all_at(&byte, at).unwrap();
        }
    }
    // Every bit of the manifest is flipped in its own tests.
    let path = place.image().join("manifest.json");
    let good = fs::read(&path).unwrap();
    for word in [
        "0.0.1-test",
        "2026-01-01",
        "6.12.0",
        "trixie",
        "net",
        "size",
    ] {
        let text = String::from_utf8(good.clone()).unwrap();
        let mut bytes = good.clone();
        bytes[text.find(word).unwrap()] ^= 1;
        fs::write(&path, bytes).unwrap();
        let said = failed_install(&place);
        assert!(said.contains("manifest.json"), "{word}: {said}");
    }
    fs::write(&path, good).unwrap();
    assert!(place.install(&["--size", "64G"]).status.success());
}

#[test]
fn a_file_that_is_cut_off() {
    let place = Place::new();
    for entry in place.manifest().files() {
        let path = place.image().join(&entry.name);
        let good = fs::read(&path).unwrap();
        for size in [0, good.len() / 2, good.len() - 1] {
            fs::write(&path, &good[..size]).unwrap();
            let said = failed_install(&place);
            let words = format!("{} has {size} bytes", entry.name);
            assert!(said.contains(&words), "{said}");
        }
        fs::write(&path, good).unwrap();
    }
}

fn pack(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// Stores the slot image packed, as these bytes.
fn store(place: &Place, packed: &[u8]) {
    fs::remove_file(place.image().join("slot.img")).ok();
    fs::write(place.image().join("slot.img.zst"), packed).unwrap();
}

fn unpack(place: &Place) -> anyhow::Result<Vec<u8>> {
    let set = ImageSet::open(&place.image())?;
    let mut bytes = Vec::new();
    let mut reader = set.reader(&set.manifest.slot.file)?;
    reader.read_to_end(&mut bytes).map_err(from_io)?;
    Ok(bytes)
}

#[test]
fn packed_files_are_the_same_image() {
    let place = Place::new();
    for entry in place.manifest().files() {
        let path = place.image().join(&entry.name);
        let bytes = fs::read(&path).unwrap();
        let (one, two) = bytes.split_at(bytes.len() / 3);
        let frames = [pack(one), pack(two)].concat();
        fs::write(place.image().join(format!("{}.zst", entry.name)), frames).unwrap();
        fs::remove_file(path).unwrap();
    }
    let output = place.install(&["--size", "64G"]);
    assert!(output.status.success(), "{}", output.stderr);
}

#[test]
fn packed_files_that_are_not_what_they_should_be() {
    let place = Place::new();
    let good = fs::read(place.image().join("slot.img")).unwrap();
    let packed = pack(&good);
    let mut flipped = packed.clone();
    flipped[packed.len() / 2] ^= 1;
    let mut wide = zstd::Encoder::new(Vec::new(), 1).unwrap();
    wide.window_log(27).unwrap();
    wide.write_all(&good).unwrap();
    let bomb = pack(&vec![0; 256 << 20]);
    for (bytes, words) in [
        (packed[..packed.len() / 2].to_vec(), "cut off"),
        (packed[..1].to_vec(), "cut off"),
        (Vec::new(), "cut off"),
        (vec![0x55; 100_000], "can't be unpacked from byte 0"),
        ([&packed[..], b"more"].concat(), "can't be unpacked"),
        ([&packed[..], &packed[..]].concat(), "longer"),
        (pack(&good[1..]), "too early"),
        (flipped, "slot.img.zst"),
        (wide.finish().unwrap(), "memory"),
        (bomb, "longer"),
    ] {
        store(&place, &bytes);
        let error = unpack(&place).unwrap_err();
        assert_eq!(
            Failure::of(&error).unwrap().kind,
            Kind::ImageDamaged,
            "{words}"
        );
        let text = format!("{error:#}");
        assert!(
            text.contains("slot.img.zst") && text.contains(words),
            "{words}: {text}"
        );
    }
    store(&place, &packed);
    assert!(unpack(&place).unwrap() == good);
}
