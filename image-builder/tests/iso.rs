//! The ISO as programs that we did not write see it: xorriso reads it back, sgdisk and
//! fsck.fat judge it. The image set is small and made up, so nothing of it boots.

#![allow(clippy::unwrap_used)] // a test ends by it

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use harrow::image::manifest::{Flavor, MANIFEST_NAME};
use harrow::image::verity::{self, Params};
use harrow::sys::cmd::Cmd;
use harrow_build::artifact::iso::{self, Parts};
use harrow_build::overlay::Entry;
use harrow_build::recipe::Media;
use harrow_build::rootfs::Rootfs;
use harrow_build::set::{self, Identity, ImageSet};
use harrow_build::slot::Slot;

const EPOCH: u64 = 1_700_000_000;

fn image_set(dir: &Path) -> (ImageSet, Rootfs) {
    let boot = dir.join("boot");
    std::fs::create_dir(&boot).unwrap();
    for name in [
        "vmlinuz",
        "initrd.img",
        "shimx64.efi",
        "grubx64.efi",
        "mmx64.efi",
        "boot.img",
        "core.img",
        "gcdx64.efi",
    ] {
        std::fs::write(boot.join(name), format!("{name} ").repeat(100)).unwrap();
    }
    // xorriso writes into GRUB's images: 56 bytes at 2548 and the MBR's code.
    std::fs::write(boot.join("eltorito.img"), vec![0x90; 8192]).unwrap();
    std::fs::write(boot.join("boot_hybrid.img"), vec![0x90; 512]).unwrap();
    let slot = dir.join("slot.img");
    std::fs::write(&slot, vec![7; 100_000]).unwrap();
    let mut file = File::options().read(true).write(true).open(&slot).unwrap();
    let params = Params {
        salt: vec![1; 32],
        uuid: uuid::Uuid::from_u128(7),
    };
    let verity = verity::append_tree(&mut file, &params, 2).unwrap();
    let rootfs = Rootfs {
        key: "key".into(),
        tar: dir.join("none"),
        boot,
        kernel_release: "6.12".into(),
    };
    let identity = Identity {
        version: "1.2.3".into(),
        flavor: Flavor::Net,
        created: "2023-11-14T22:13:20Z".into(),
        base: "debian trixie".into(),
        epoch: EPOCH,
        lacks: std::collections::BTreeMap::new(),
    };
    let overlay = [Entry::bytes("etc/x", "y")];
    let set = set::build(
        &dir.join("image"),
        &rootfs,
        &Slot { path: slot, verity },
        &overlay,
        &identity,
    )
    .unwrap();
    (set, rootfs)
}

fn build(
    dir: &Path,
    set: &ImageSet,
    rootfs: &Rootfs,
    config: Option<&Path>,
) -> (std::path::PathBuf, String) {
    let path = dir.join("made.iso");
    let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../iso");
    let media = Media {
        volume_id: "HARROW".into(),
        kernel_args: vec!["console=tty0".into()],
    };
    let parts = Parts {
        set,
        boot: &rootfs.boot,
        templates: &templates,
        media: &media,
        config,
        epoch: EPOCH,
    };
    let id = iso::build(&path, &parts).unwrap();
    (path, id.uuid)
}

fn extract(iso: &Path, name: &str, to: &Path) -> Vec<u8> {
    Cmd::new("xorriso")
        .args(["-osirrox", "on", "-indev"])
        .arg(iso)
        .args(["-extract", name])
        .arg(to)
        .run()
        .unwrap();
    std::fs::read(to).unwrap()
}

/// Compares with the file, or rewrites it when `BLESS` is set.
#[allow(clippy::disallowed_methods)] // a test's own switch
fn check_golden(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, actual).unwrap();
        return;
    }
    let approved = std::fs::read_to_string(path).unwrap();
    assert_eq!(
        actual, approved,
        "{name} differs (`make bless` rewrites it)"
    );
}

/// Whoever holds the medium can read it.
#[test]
fn no_password_in_clear_gets_onto_the_iso() {
    let dir = tempfile::tempdir().unwrap();
    let (set, rootfs) = image_set(dir.path());
    let config = dir.path().join("c.yaml");
    std::fs::write(&config, "os: {password: hunter2}\n").unwrap();
    let (iso, _) = build(dir.path(), &set, &rootfs, Some(&config));
    let on_it = extract(&iso, "/harrow/harrow.yaml", &dir.path().join("on-it"));
    let on_it = String::from_utf8(on_it).unwrap();
    assert!(on_it.contains("password: \"$6$"), "{on_it}");
    assert!(!on_it.contains("hunter2"), "{on_it}");
}

#[test]
fn the_iso_holds_the_set_and_boots_in_every_way() {
    let dir = tempfile::tempdir().unwrap();
    let (set, rootfs) = image_set(dir.path());
    let config = dir.path().join("c.yaml");
    std::fs::write(&config, "scheme_version: 1\n").unwrap();
    let (iso, uuid) = build(dir.path(), &set, &rootfs, Some(&config));

    let report = |args: &[&str]| {
        Cmd::new("xorriso")
            .arg("-indev")
            .arg(&iso)
            .args(args)
            .run()
            .unwrap()
            .text()
    };
    let mut found: Vec<String> = report(&["-find", "/"])
        .lines()
        .map(|l| l.trim_matches('\'').to_owned())
        .collect();
    found.sort_unstable();
    check_golden("iso.list", &(found.join("\n") + "\n"));

    let boots = report(&["-report_el_torito", "plain", "-report_system_area", "plain"]);
    for part in [
        "El Torito boot img :   1  BIOS  y   none",
        "El Torito boot img :   2  UEFI  y   none",
        "grub2-mbr",
        "GPT",
        // The type of an EFI system partition, in the table's byte order.
        "28732ac11ff8d211ba4b00a0c93ec93b",
    ] {
        assert!(boots.contains(part), "{part}: {boots}");
    }

    // What GRUB and the initrd will look for is what blkid finds.
    let found = Cmd::new("blkid")
        .args(["-p", "-o", "value", "-s", "UUID"])
        .arg(&iso)
        .run()
        .unwrap();
    assert_eq!(found.text().trim(), uuid);
    let menu = String::from_utf8(extract(
        &iso,
        "/boot/grub/grub.cfg",
        &dir.path().join("menu"),
    ))
    .unwrap();
    assert!(
        menu.contains(&format!("harrow.boot.medium=UUID={uuid} ")),
        "{menu}"
    );
    let manifest = extract(&iso, "/harrow/manifest.json", &dir.path().join("manifest"));
    assert_eq!(
        manifest,
        std::fs::read(set.dir.join(MANIFEST_NAME)).unwrap()
    );
    let slot = extract(&iso, "/harrow/slot.img", &dir.path().join("slot"));
    verity::verify(&mut slot.as_slice(), &set.manifest.slot.verity).unwrap();
    assert_eq!(
        extract(&iso, "/harrow/harrow.yaml", &dir.path().join("yaml")),
        b"scheme_version: 1\n"
    );
}

#[test]
fn its_partitions_are_sound_and_the_fat_one_finds_the_menu() {
    let dir = tempfile::tempdir().unwrap();
    let (set, rootfs) = image_set(dir.path());
    let (iso, uuid) = build(dir.path(), &set, &rootfs, None);
    let verdict = Cmd::new("sgdisk").arg("-v").arg(&iso).run().unwrap().text();
    assert!(verdict.contains("No problems found"), "{verdict}");
    let info = Cmd::new("sgdisk")
        .args(["-i", "2"])
        .arg(&iso)
        .run()
        .unwrap()
        .text();
    let number = |what: &str| -> u64 {
        let line = info.lines().find_map(|l| l.strip_prefix(what)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    let (first, last) = (number("First sector: "), number("Last sector: "));
    let mut bytes = std::fs::read(&iso).unwrap();
    let esp: Vec<u8> = bytes
        .drain((first * 512) as usize..((last + 1) * 512) as usize)
        .collect();
    let path = dir.path().join("esp.img");
    std::fs::write(&path, &esp).unwrap();
    Cmd::new("fsck.fat").arg("-n").arg(&path).run().unwrap();
    let fs = fatfs::FileSystem::new(std::io::Cursor::new(esp), fatfs::FsOptions::new()).unwrap();
    let mut text = String::new();
    fs.root_dir()
        .open_file("boot/grub/grub.cfg")
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert!(text.contains(&format!("--set=root {uuid}\n")), "{text}");
}

#[test]
fn the_same_parts_make_the_same_iso() {
    let one = tempfile::tempdir().unwrap();
    let (set, rootfs) = image_set(one.path());
    let (iso, first_id) = build(one.path(), &set, &rootfs, None);
    let first = std::fs::read(iso).unwrap();
    // Another minute, as far as the files are concerned.
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(90);
    let slot = File::options()
        .append(true)
        .open(set.dir.join("slot.img"))
        .unwrap();
    slot.set_modified(later).unwrap();
    let (iso, second_id) = build(one.path(), &set, &rootfs, None);
    assert_eq!(first_id, second_id);
    assert!(
        first == std::fs::read(iso).unwrap(),
        "two ISOs of the same parts differ"
    );
}
