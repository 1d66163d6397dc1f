//! Installs that are cut off: after every single write, in the middle of one, by a disk that fails
//! or lies. Afterwards the disk either does not boot, or is complete; and a second run completes.

#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests may panic

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use common::faulty::{Fault, Faulty};
use common::judge::{ext4_is_good, table_is_good};
use common::{Place, harrow};
use harrow::config::check_sources;
use harrow::disk::block::Block;
use harrow::disk::fat::Fat;
use harrow::disk::journal;
use harrow::disk::layout::Role;
use harrow::disk::target::Target;
use harrow::disk::window::Window;
use harrow::failure::{Failure, Kind};
use harrow::image::set::ImageSet;
use harrow::install::engine::{Inputs, execute};
use harrow::install::plan::{Plan, PlanInputs, plan_install};
use harrow::install::report::Report;
use harrow::install::run::{Options, prepare, read_config};
use uuid::Uuid;

const SIZE: u64 = 64 << 30;

/// An install on a disk with a fault.
struct Attempt {
    result: anyhow::Result<()>,
    report: Report,
    writes: usize,
}

/// The plan for what is at the place's disk now, as a second run makes it.
fn plan_for(place: &Place) -> Plan {
    let options = Options {
        image: Some(place.image()),
        device: Some(place.disk()),
        size: Some(SIZE),
        ..Options::default()
    };
    if !place.disk().exists() {
        let config = read_config(&place.config()).unwrap();
        return prepare(&[config], &options).unwrap().plan;
    }
    // A disk is there whatever it holds; a file without journal would be refused by `prepare`.
    let checked = check_sources(&[read_config(&place.config()).unwrap()]);
    let target = Target::File {
        path: place.disk(),
        size: SIZE,
        begun: true,
    };
    let inputs = PlanInputs {
        unfinished: target.unfinished(),
        target,
        data: data_of(place),
        warnings: Vec::new(),
        release: Vec::new(),
        wipe: Vec::new(),
        manifest: &place.manifest(),
        consoles: &["tty0".into()],
        install_id: Uuid::new_v4(),
    };
    plan_install(&checked.config.unwrap(), inputs).unwrap()
}

/// A second disk, when the place has one.
fn data_of(place: &Place) -> Option<Target> {
    let path = place.path("data.img");
    path.exists().then_some(Target::File {
        path,
        size: SIZE,
        begun: true,
    })
}

fn attempt(place: &Place, fault: Fault) -> Attempt {
    let plan = plan_for(place);
    let writes = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&writes);
    let dead = Arc::new(Mutex::new(false));
    let open = move |target: &Target| -> anyhow::Result<Box<dyn Block>> {
        let mut options = File::options();
        let options = options.read(true).write(true).create(true).truncate(false);
        let file = options.open(target.path())?;
        file.set_len(target.size())?;
        Ok(Box::new(Faulty {
            file,
            fault,
            writes: Arc::clone(&counted),
            bytes: AtomicUsize::new(0),
            dead: Arc::clone(&dead),
            unsynced: Mutex::default(),
        }))
    };
    let inputs = Inputs {
        origins: &BTreeMap::new(),
        image: &ImageSet::open(&place.image()).unwrap(),
        config: common::CONFIG.into(),
        half_made: &AtomicBool::new(false),
        open: &open,
        keep: &|_| (),
    };
    let (report, result) = execute(&plan, &inputs, &std::sync::mpsc::channel().0);
    Attempt {
        result,
        report,
        writes: writes.load(Ordering::SeqCst),
    }
}

/// Whether firmware would find something to boot: an MBR is the least that it needs.
fn boots(place: &Place) -> bool {
    let mut sector = [0; 512];
    let disk = File::open(place.disk()).unwrap();
    disk.read_exact_at(&mut sector, 0).unwrap();
    sector[510..] == [0x55, 0xaa]
}

/// Judged by programs that are not ours.
fn assert_complete(place: &Place, plan: &Plan, when: &str) {
    let layout = plan.layout().unwrap();
    let (system, data) = (place.disk(), place.path("data.img"));
    table_is_good(&system, when);
    ext4_is_good(&system, layout, &[Role::Oem, Role::Var], when);
    match plan.layout_of(1) {
        Ok(of_data) => {
            table_is_good(&data, when);
            ext4_is_good(&data, of_data, &[Role::Data], when);
        }
        Err(_) => ext4_is_good(&system, layout, &[Role::Data], when),
    }
    let image = fs::read(place.image().join("slot.img")).unwrap();
    let mut slot = vec![0; image.len()];
    let disk = File::open(place.disk()).unwrap();
    let start = layout.of(Role::SlotA).unwrap().start;
    disk.read_exact_at(&mut slot, start).unwrap();
    assert!(slot == image, "{when}: slot A is not the image");
    let fat = Fat::open(Window::new(
        &disk,
        layout.of(Role::Esp).unwrap().start,
        1 << 30,
    ))
    .unwrap();
    for (path, name) in [
        ("EFI/harrow/a/initrd.img", "initrd.img"),
        ("EFI/BOOT/BOOTX64.EFI", "shimx64.efi"),
    ] {
        let found = fat.read(path, 1 << 20).unwrap();
        let wanted = fs::read(place.image().join(name)).unwrap();
        assert!(found.as_ref() == Some(&wanted), "{when}: {path}");
    }
}

/// Cuts an install off with each of `faults`, at each `every`th write, and finishes it.
fn cut_off(every: usize, fault: impl Fn(usize) -> Fault) {
    let place = Place::new();
    let whole = attempt(&place, Fault::Never);
    whole.result.unwrap();
    assert!(whole.writes > 20, "{}", whole.writes);
    let (mut begun, mut kept) = (0, 0);
    for count in (1..=whole.writes).step_by(every) {
        fs::remove_file(place.disk()).unwrap();
        let when = format!("{:?} of {}", fault(count), whole.writes);
        let first = attempt(&place, fault(count));
        if boots(&place) {
            assert_complete(&place, &first.report.plan, &when);
        } else {
            assert!(first.result.is_err(), "{when}: it thinks that it is done");
        }
        let second = attempt(&place, Fault::Never);
        second.result.unwrap_or_else(|e| panic!("{when}: {e:#}"));
        assert_complete(&place, &second.report.plan, &when);
        begun += usize::from(second.report.plan.resumed.is_some());
        kept += usize::from(second.report.plan.resumed.is_some_and(|r| r.slot_kept));
        let disk = File::open(place.disk()).unwrap();
        assert_eq!(journal::read(&disk, SIZE).unwrap(), None, "{when}");
    }
    // Not only the ends of it: most cuts are recognised, and the slot of many is kept.
    let cuts = whole.writes / every;
    assert!(begun > cuts / 2, "{begun} of {cuts}");
    assert!(kept > 5 / every && kept < begun, "{kept} of {begun}");
}

/// A file system that takes direct writes only for a while.
#[test]
fn writes_past_the_cache_can_end_at_any_time() {
    let place = Place::new();
    let whole = attempt(&place, Fault::Never).writes;
    for count in [0, whole / 2, whole - 1] {
        fs::remove_file(place.disk()).unwrap();
        let when = format!("direct writes end after {count} of {whole}");
        let done = attempt(&place, Fault::CachedAfter(count));
        done.result.unwrap_or_else(|e| panic!("{when}: {e:#}"));
        assert_complete(&place, &done.report.plan, &when);
    }
}

#[test]
fn cut_off_after_each_write() {
    cut_off(1, Fault::CutAfter);
}

#[test]
fn cut_off_in_the_middle_of_each_write() {
    cut_off(1, Fault::TornAfter);
}

#[test]
fn cut_off_after_each_write_with_what_was_not_synced_lost() {
    cut_off(3, Fault::LostAfter);
}

#[test]
fn cut_off_with_a_data_disk() {
    let place = Place::new();
    let fresh = || {
        for path in [place.disk(), place.path("data.img")] {
            File::create(path).unwrap().set_len(SIZE).unwrap();
        }
    };
    fresh();
    let whole = attempt(&place, Fault::Never);
    whole.result.unwrap();
    // What comes after the clearing, which is as on one disk.
    for count in whole.writes * 3 / 4..whole.writes {
        fresh();
        let when = format!("two disks, {count} of {}", whole.writes);
        let first = attempt(&place, Fault::CutAfter(count));
        if boots(&place) {
            assert_complete(&place, &first.report.plan, &when);
        } else {
            assert!(first.result.is_err(), "{when}");
        }
        let second = attempt(&place, Fault::Never);
        second.result.unwrap_or_else(|e| panic!("{when}: {e:#}"));
        assert_complete(&place, &second.report.plan, &when);
    }
}

/// An install that was cut off when only the table was missing.
fn almost_done() -> Place {
    let place = Place::new();
    let whole = attempt(&place, Fault::Never).writes;
    fs::remove_file(place.disk()).unwrap();
    let cut = attempt(&place, Fault::CutAfter(whole - 4));
    cut.result.unwrap_err();
    place
}

#[test]
fn a_slot_that_does_not_read_back_is_written_again() {
    let place = almost_done();
    let plan = plan_for(&place);
    assert!(plan.resumed.as_ref().unwrap().slot_kept);
    assert!(
        plan.to_string().contains("is kept when it reads back well"),
        "{plan}"
    );
    let disk = File::options()
        .read(true)
        .write(true)
        .open(place.disk())
        .unwrap();
    let at = plan.layout().unwrap().of(Role::SlotA).unwrap().start + 5000;
    disk.write_all_at(b"rot", at).unwrap();
    let second = attempt(&place, Fault::Never);
    second.result.unwrap();
    assert_complete(&place, &second.report.plan, "rotten slot");
    let complaint = second.report.journal.iter().find_map(|e| e.failed.clone());
    assert!(complaint.unwrap().contains("written again"));
}

#[test]
fn a_second_run_need_not_be_told_again() {
    let place = almost_done();
    let second = || {
        let image = place.image();
        let run = harrow("install").arg("--image").arg(image).arg("--device");
        run.arg(place.disk()).run_any().unwrap()
    };
    let output = second();
    assert!(output.status.success(), "{}", output.stderr);
    assert!(output.stderr.contains("going on with the install of"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("keep the system that is in"), "{said}");
    assert!(boots(&place));
    // Nothing to go on with any more.
    assert_eq!(second().status.code(), Some(10));
}

#[test]
fn another_image_or_layout_starts_over() {
    let place = almost_done();
    let resumed = |place: &Place| plan_for(place).resumed.is_some();
    assert!(resumed(&place));
    fs::write(place.config(), common::CONFIG.replace("20Gi", "21Gi")).unwrap();
    assert!(!resumed(&place));
    fs::write(place.config(), common::CONFIG).unwrap();
    place.make_image(4 << 20);
    assert!(!resumed(&place));
    let second = attempt(&place, Fault::Never);
    second.result.unwrap();
    assert_complete(&place, &second.report.plan, "another image");
}

/// Records of the install that is not gone on with must not be taken for those of the new one.
#[test]
fn a_start_over_is_cut_off_too() {
    for count in (2..36).step_by(4) {
        let place = almost_done();
        place.make_image(4 << 20);
        let second = attempt(&place, Fault::CutAfter(count));
        second.result.unwrap_err();
        let disk = File::open(place.disk()).unwrap();
        let (_, left) = journal::unfinished(&disk, SIZE).unwrap().unwrap();
        assert_eq!(left.install_id, second.report.plan.install_id, "{count}");
        let third = attempt(&place, Fault::Never);
        third.result.unwrap();
        assert_complete(&place, &third.report.plan, "started over");
    }
}

/// The error of an install on a disk with a fault; it must name the disk.
fn refusal(mut fault: impl FnMut(&Plan) -> Fault) -> (Kind, String) {
    let place = Place::new();
    let fault = fault(&plan_for(&place));
    let error = attempt(&place, fault).result.unwrap_err();
    assert!(!boots(&place), "{fault:?}");
    let text = format!("{error:#}");
    let disk = place.disk().display().to_string();
    assert!(text.contains(&disk), "{fault:?}: {text}");
    (Failure::of(&error).unwrap().kind, text)
}

#[test]
fn bad_places_are_named() {
    for (role, inside) in [
        (Role::BiosBoot, 0),
        (Role::SlotA, (1 << 20) + 77),
        (Role::SlotB, 0),
        (Role::Data, 100),
    ] {
        let mut place = 0;
        let (kind, text) = refusal(|plan| {
            place = plan.layout().unwrap().of(role).unwrap().start + inside;
            Fault::BadAt(place)
        });
        assert_eq!(kind, Kind::DeviceFailed, "{text}");
        let at = text.split("at byte ").nth(1).unwrap_or_default();
        let digits: String = at.chars().take_while(char::is_ascii_digit).collect();
        let named: u64 = digits
            .parse()
            .unwrap_or_else(|_| panic!("no place: {text}"));
        // It is the write that failed; the largest are of 8 MiB.
        let write = named..named + (8 << 20);
        assert!(write.contains(&place), "{place} is not in {named}: {text}");
    }
    for place in [0, 510, SIZE - 1, SIZE - 4096] {
        let (kind, text) = refusal(|_| Fault::BadAt(place));
        assert_eq!(kind, Kind::DeviceFailed, "{place}: {text}");
    }
}

#[test]
fn a_disk_that_lies_about_its_size_is_found_out() {
    for fault in [
        Fault::DropsFrom(40 << 30),
        Fault::DropsFrom(5 << 30),
        Fault::WrapsAt(32 << 30),
        Fault::WrapsAt(2 << 30),
    ] {
        let (kind, text) = refusal(|_| fault);
        assert_eq!(kind, Kind::DeviceFailed, "{fault:?}: {text}");
    }
}

#[test]
fn a_thin_disk_that_is_full_says_so() {
    for limit in [1 << 20, 3 << 20, 5 << 20] {
        let (kind, text) = refusal(|_| Fault::FullAfter(limit));
        assert_eq!(kind, Kind::NoSpace, "{text}");
    }
}
