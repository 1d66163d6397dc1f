//! Upgrades of an installed disk, cut off after and in the middle of every single write. Whatever
//! happens, GRUB boots the old slot wholly intact, or the new one wholly there; and a second run
//! completes. Judged by GRUB itself, mtools, fsck.fat and veritysetup.

#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests may panic

mod common;

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use common::faulty::Fault;
use common::grub::{self, Booted};
use common::judge::{ext4_is_good, table_is_good};
use common::upgrade::Installed;
use harrow::disk::layout::{Layout, Role};
use harrow::failure::{Failure, Kind};
use harrow::image::manifest::{FileEntry, ImageManifest};
use harrow::install::grubenv::{BootEnv, Letter, Trial};
use harrow::install::upgrade::Downgrade;
use harrow::sys::cmd::Cmd;

/// Everything of the ESPs of these tests lies here.
const ESP_USED: u64 = 8 << 20;

/// What is on the disk now, as outside programs can read it.
struct Seen<'a> {
    node: &'a Installed,
    layout: Layout,
    esp: PathBuf,
    when: String,
}

impl<'a> Seen<'a> {
    fn new(node: &'a Installed, when: &str) -> Self {
        let layout = node.layout();
        let partition = layout.of(Role::Esp).unwrap();
        let mut bytes = vec![0; usize::try_from(ESP_USED).unwrap()];
        let disk = File::open(node.place.disk()).unwrap();
        disk.read_exact_at(&mut bytes, partition.start).unwrap();
        let esp = node.place.path("esp.img");
        fs::write(&esp, bytes).unwrap();
        let file = File::options().write(true).open(&esp).unwrap();
        file.set_len(partition.size).unwrap();
        Self {
            node,
            layout,
            esp,
            when: when.to_owned(),
        }
    }

    /// A file of the ESP.
    fn read(&self, path: &str) -> Vec<u8> {
        let command = Cmd::new("mtype")
            .arg("-i")
            .arg(&self.esp)
            .arg(format!("::/{path}"));
        let output = command.run();
        output
            .unwrap_or_else(|e| panic!("{}, {path}: {e:#}", self.when))
            .stdout
    }

    fn holds(&self, path: &str, folder: &Path, entry: &FileEntry) {
        let wanted = fs::read(folder.join(&entry.name)).unwrap();
        assert!(
            self.read(path) == wanted,
            "{}: {path} is another one",
            self.when
        );
    }

    /// What a slot needs is all there: its image by its hash tree, kernel and initrd by their bytes.
    fn slot_is_whole(&self, slot: &str, folder: &Path, manifest: &ImageManifest) {
        let dir = format!("EFI/harrow/{slot}");
        self.holds(&format!("{dir}/vmlinuz"), folder, &manifest.boot.kernel);
        self.holds(&format!("{dir}/initrd.img"), folder, &manifest.boot.initrd);
        let role = Letter::parse(slot).unwrap().role();
        let mut bytes = vec![0; usize::try_from(manifest.slot.file.size).unwrap()];
        let disk = File::open(self.node.place.disk()).unwrap();
        let start = self.layout.of(role).unwrap().start;
        disk.read_exact_at(&mut bytes, start).unwrap();
        let image = self.node.place.path("slot.img");
        fs::write(&image, bytes).unwrap();
        let verity = &manifest.slot.verity;
        Cmd::new("veritysetup")
            .arg("verify")
            .args([&image, &image])
            .arg(&verity.root_hash)
            .arg(format!("--hash-offset={}", verity.hash_offset))
            .run()
            .unwrap_or_else(|e| panic!("{}, slot {slot}: {e:#}", self.when));
    }

    fn old_is_whole(&self) {
        self.slot_is_whole("a", &self.node.place.path("old-image"), &self.node.old);
    }

    fn new_is_whole(&self) {
        let (folder, new) = (self.node.place.image(), self.node.place.manifest());
        self.slot_is_whole("b", &folder, &new);
        self.holds("EFI/BOOT/BOOTX64.EFI", &folder, &new.boot.shim);
        self.holds("EFI/BOOT/grubx64.efi", &folder, &new.boot.grub);
    }

    /// The boot loaders for UEFI are whole, each the old or the new one.
    fn loaders_are_whole(&self) {
        for (path, name) in [
            ("BOOTX64.EFI", "shimx64.efi"),
            ("grubx64.efi", "grubx64.efi"),
        ] {
            let found = self.read(&format!("EFI/BOOT/{path}"));
            let is =
                |folder: &str| found == fs::read(self.node.place.path(folder).join(name)).unwrap();
            assert!(
                is("image") || is("old-image"),
                "{}: {path} is neither",
                self.when
            );
        }
    }

    /// What fsck.fat says of the ESP; nothing when it is good.
    fn fsck(&self) -> Option<String> {
        let output = Cmd::new("fsck.fat")
            .arg("-n")
            .arg(&self.esp)
            .run_any()
            .unwrap();
        (!output.status.success()).then(|| output.text())
    }

    /// The environment block, read by GRUB's own program.
    fn env(&self) -> String {
        let copy = self.node.place.path("grubenv");
        fs::write(&copy, self.read("EFI/debian/grubenv")).unwrap();
        let list = Cmd::new("grub-editenv").arg(&copy).arg("list");
        list.run().unwrap().text()
    }

    /// A power cut leaves nothing that fsck.fat would call more than a leftover.
    fn only_leftovers(&self) {
        let Some(said) = self.fsck() else { return };
        for line in said.lines().filter(|line| !line.trim().is_empty()) {
            let harmless = LEFTOVERS.iter().any(|known| line.contains(known));
            assert!(harmless, "{}: {line:?} of {said}", self.when);
        }
    }
}

/// What fsck.fat says of leftovers, with what it says around it.
const LEFTOVERS: [&str; 11] = [
    "FATs differ",
    "Reclaimed",
    "Free cluster summary",
    "fsck.fat 4",
    "Auto-correcting",
    "Using first FAT",
    "files,",
    "Leaving filesystem unchanged",
    "1) ",
    "2) ",
    "3) ",
];

fn env(node: &Installed) -> String {
    Seen::new(node, "now").env()
}

#[test]
fn an_upgrade_is_tried_three_times_and_then_the_old_slot_boots() {
    let node = Installed::new();
    assert_eq!(env(&node), "slot=a\n");
    node.upgrade(Fault::Never).result.unwrap();
    assert_eq!(env(&node), "slot=a\ntrial=b\ntries=3\n");
    let seen = Seen::new(&node, "upgraded");
    seen.old_is_whole();
    seen.new_is_whole();
    assert_eq!(seen.fsck(), None);
    let layout = node.layout();
    table_is_good(&node.place.disk(), "upgraded");
    ext4_is_good(
        &node.place.disk(),
        &layout,
        &[Role::Oem, Role::Var, Role::Data],
        "upgraded",
    );
    // GRUB itself counts.
    for tries in ["2", "1", "0"] {
        let booted = grub::boot(&node.place.disk());
        assert_eq!(
            (booted.slot(), booted.on_trial()),
            ("b", true),
            "{booted:?}"
        );
        assert_eq!(env(&node), format!("slot=a\ntrial=b\ntries={tries}\n"));
    }
    let booted = grub::boot(&node.place.disk());
    assert_eq!(
        (booted.slot(), booted.on_trial()),
        ("a", false),
        "{booted:?}"
    );
    let seen = Seen::new(&node, "fell back");
    assert!(seen.env().contains("boots=1\n"), "{}", seen.env());
    assert_eq!(seen.fsck(), None);
}

#[test]
fn a_healthy_trial_is_the_good_slot_and_can_be_upgraded_in_turn() {
    let node = Installed::new();
    node.upgrade(Fault::Never).result.unwrap();
    let booted = grub::boot(&node.place.disk());
    assert!(booted.on_trial());
    let hash = format!("roothash={}", node.place.manifest().slot.verity.root_hash);
    assert!(booted.arguments.contains(&hash), "{booted:?}");
    // Those of the running kernel, once.
    let is_console = |word: &&String| word.starts_with("console=");
    let consoles: Vec<&String> = booted.arguments.iter().filter(is_console).collect();
    assert_eq!(consoles, ["console=tty0", "console=ttyS0,115200n8"]);
    // What `harrow health` does.
    let good = |env: &mut BootEnv| {
        env.slot = Letter::B;
        env.trial = None;
    };
    node.running(Letter::B).change_env(good).unwrap();
    let booted = grub::boot(&node.place.disk());
    assert_eq!((booted.slot(), booted.on_trial()), ("b", false));
    assert_eq!(node.running(Letter::B).damage_of(Letter::A).unwrap(), None);
    // The same version once more, into the slot that is free now.
    let plan = node.plan(Letter::B, Downgrade::Refuse).unwrap();
    assert!(plan.to_string().contains("is what runs already"), "{plan}");
    node.run(&plan, Fault::Never).result.unwrap();
    let new = node.place.manifest();
    let seen = Seen::new(&node, "again");
    for slot in ["a", "b"] {
        seen.slot_is_whole(slot, &node.place.image(), &new);
    }
    assert_eq!(seen.fsck(), None);
    assert_eq!(grub::boot(&node.place.disk()).slot(), "a");
}

/// Cuts an upgrade off with each of `faults`, looks what boots, and finishes it.
fn cut_off(fault: impl Fn(usize) -> Fault) {
    let node = Installed::new();
    // The other slot has been in use before, so that there is something to be taken away.
    node.upgrade(Fault::Never).result.unwrap();
    node.running(Letter::A)
        .change_env(|env| env.trial = None)
        .unwrap();
    node.keep();
    let whole = node.upgrade(Fault::Never);
    whole.result.unwrap();
    assert!(whole.writes > 20, "{}", whole.writes);
    let mut trials = 0;
    for count in 1..=whole.writes {
        node.put_back();
        let when = format!("{:?} of {}", fault(count), whole.writes);
        let first = node.upgrade(fault(count));
        let seen = Seen::new(&node, &when);
        seen.only_leftovers();
        seen.loaders_are_whole();
        seen.old_is_whole();
        let begun = seen.env().contains("trial=");
        let booted = grub::boot(&node.place.disk());
        if begun {
            assert_eq!((booted.slot(), booted.on_trial()), ("b", true), "{when}");
            seen.new_is_whole();
            trials += 1;
        } else {
            assert_eq!((booted.slot(), booted.on_trial()), ("a", false), "{when}");
            assert!(first.result.is_err(), "{when}: it thinks that it is done");
            says_nothing_of_half_a_slot(&node, &when);
        }
        let second = node.upgrade(Fault::Never);
        second.result.unwrap_or_else(|e| panic!("{when}: {e:#}"));
        let seen = Seen::new(&node, &when);
        seen.old_is_whole();
        seen.new_is_whole();
        assert_eq!(seen.fsck(), None, "{when}");
    }
    // A sector is written wholly or not at all, and the last write is one of one sector.
    assert_eq!(
        trials,
        usize::from(!matches!(fault(0), Fault::TornSectorAfter(_)))
    );
}

/// A slot that is in the menu is whole.
fn says_nothing_of_half_a_slot(node: &Installed, when: &str) {
    let running = node.running(Letter::A);
    let esp = running.esp().unwrap();
    if esp.entry(Letter::B).unwrap().is_some() {
        assert_eq!(running.damage_of(Letter::B).unwrap(), None, "{when}");
    }
}

#[test]
fn cut_off_after_each_write() {
    cut_off(Fault::CutAfter);
}

#[test]
fn cut_off_in_the_middle_of_each_write() {
    cut_off(Fault::TornSectorAfter);
}

#[test]
fn a_good_slot_that_does_not_come_up_is_left_for_the_other_one() {
    let node = Installed::new();
    // There is no other one yet.
    for _ in 0..6 {
        assert_eq!(grub::boot(&node.place.disk()).slot(), "a");
    }
    assert_eq!(env(&node), "slot=a\nboots=3\n");
    node.running(Letter::A)
        .change_env(|env| env.boots = 0)
        .unwrap();
    node.upgrade(Fault::Never).result.unwrap();
    node.running(Letter::A)
        .change_env(|env| env.trial = None)
        .unwrap();
    let disk = node.place.disk();
    let slots = |count| -> Vec<String> {
        let boots = (0..count).map(|_| grub::boot(&disk));
        boots
            .map(|booted: Booted| booted.slot().to_owned())
            .collect()
    };
    assert_eq!(slots(4), ["a", "a", "a", "b"]);
    let said = env(&node);
    for line in ["slot=b\n", "left=a\n", "boots=1\n"] {
        assert!(said.contains(line), "{said}");
    }
    // A boot that comes up starts the count anew.
    node.running(Letter::B)
        .change_env(|env| env.boots = 0)
        .unwrap();
    assert_eq!(slots(4), ["b", "b", "b", "a"]);
}

#[test]
fn a_flipped_bit_is_found_where_it_is() {
    let node = Installed::new();
    node.upgrade(Fault::Never).result.unwrap();
    let running = node.running(Letter::A);
    for slot in Letter::BOTH {
        assert_eq!(running.damage_of(slot).unwrap(), None);
    }
    let at = 1_234_567;
    let start = node.layout().of(Role::SlotA).unwrap().start;
    let disk = File::options()
        .read(true)
        .write(true)
        .open(node.place.disk())
        .unwrap();
    let mut byte = [0];
    disk.read_exact_at(&mut byte, start + at).unwrap();
    byte[0] ^= 4;
    disk.write_all_at(&byte, start + at).unwrap();
    let damage = running.damage_of(Letter::A).unwrap().unwrap();
    let block = at / 4096 * 4096;
    assert!(damage.contains(&format!("byte {block} ")), "{damage}");
    assert_eq!(running.damage_of(Letter::B).unwrap(), None);
}

#[test]
fn what_can_not_be_is_refused_before_the_first_write() {
    let node = Installed::new();
    let before = fs::metadata(node.place.disk()).unwrap().modified().unwrap();
    let kind = |plan: anyhow::Result<_>| -> Kind {
        let error = plan.map(|_: harrow::install::plan::Plan| ()).unwrap_err();
        Failure::of(&error).unwrap().kind
    };
    let mut older = node.place.manifest();
    let newer = older.clone();
    older.version = "0.0.1~rc1".into();
    node.place.write_manifest(&older);
    assert_eq!(
        kind(node.plan(Letter::A, Downgrade::Refuse)),
        Kind::UpgradeRefused
    );
    assert!(node.plan(Letter::A, Downgrade::Allow).is_ok());
    // A trial that runs would have its way back overwritten.
    node.place.write_manifest(&newer);
    assert_eq!(
        kind(node.plan(Letter::B, Downgrade::Refuse)),
        Kind::UpgradeRefused
    );
    let mut large = newer.clone();
    large.slot.file.size = 5 << 30;
    let facts = || {
        node.running(Letter::A)
            .facts(&node.image(), 1 << 30)
            .unwrap()
    };
    let plan = |facts, manifest: &ImageManifest| {
        let id = uuid::Uuid::from_u128(1);
        let allow = Downgrade::Allow;
        harrow::install::upgrade::plan_upgrade(&node.config(), facts, manifest, allow, id)
    };
    assert_eq!(kind(plan(facts(), &large)), Kind::NoSpace);
    let mut full = facts();
    full.esp_room = 300_000;
    assert_eq!(kind(plan(full, &newer)), Kind::NoSpace);
    let mut full = facts();
    full.var_free = 1 << 20;
    assert_eq!(kind(plan(full, &newer)), Kind::NoSpace);
    let after = fs::metadata(node.place.disk()).unwrap().modified().unwrap();
    assert_eq!(before, after, "the disk was written");
}

/// The room that is counted on is there: the plan's own numbers fill the ESP.
#[test]
fn a_full_esp_is_seen_before_and_a_damaged_environment_block_mended() {
    let node = Installed::new();
    let running = node.running(Letter::A);
    let esp = running.esp().unwrap();
    let room = esp.room(Role::SlotB).unwrap();
    assert!(room > 900 << 20, "{room}");
    let mut filler = std::io::Read::take(std::io::repeat(7), room - (3 << 20));
    esp.fat.create("filler", &mut filler).unwrap();
    let error = node.plan(Letter::A, Downgrade::Refuse).unwrap_err();
    assert_eq!(
        Failure::of(&error).unwrap().kind,
        Kind::NoSpace,
        "{error:#}"
    );
    esp.fat.remove(&["filler".into()]).unwrap();
    esp.fat
        .create("EFI/debian/grubenv", &mut &b"garbage"[..])
        .unwrap();
    assert_eq!(grub::boot(&node.place.disk()).slot(), "a");
    node.upgrade(Fault::Never).result.unwrap();
    let booted = grub::boot(&node.place.disk());
    assert_eq!((booted.slot(), booted.on_trial()), ("b", true));
    let env = running.esp().unwrap().env().unwrap();
    let tries = 2;
    let slot = Letter::B;
    assert_eq!(env.trial, Some(Trial { slot, tries }));
}
