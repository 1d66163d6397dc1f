//! The layouts that a config can ask for, installed onto files and judged by programs that are not
//! ours: an MBR, data on a disk of its own, a witness without data, the largest disk.

#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests may panic

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::AtomicBool;

use common::Place;
use common::judge::{ext4_is_good, table_is_good};
use harrow::config::{Source, SourceKind, check_sources};
use harrow::disk::layout::{Layout, Role, TableKind};
use harrow::disk::target::Target;
use harrow::facts::DiskFacts;
use harrow::image::set::ImageSet;
use harrow::install::engine::{Inputs, execute};
use harrow::install::grub;
use harrow::install::plan::{PlanInputs, plan_install};
use harrow::install::report::Report;
use harrow::install::run::read_config;
use harrow::sys::cmd::Cmd;
use uuid::Uuid;

fn install(place: &Place, more: &str, size: &str) -> Report {
    let config = common::CONFIG.replace("install: {", &format!("install: {{ {more},"));
    // Who creates a cluster must manage it.
    let config = match more.contains("witness") {
        true => config.replace("mode: create", "mode: join") + "server_url: https://10.0.0.9:443\n",
        false => config,
    };
    fs::write(place.config(), config).unwrap();
    let report = place.path("report.json");
    let output = place.install(&["--size", size, "--report", report.to_str().unwrap()]);
    assert!(output.status.success(), "{}", output.stderr);
    serde_json::from_slice(&fs::read(report).unwrap()).unwrap()
}

fn slot_cfg(place: &Place, layout: &Layout) -> String {
    let esp = layout.of(Role::Esp).unwrap().start;
    let image = format!("{}@@{esp}", place.disk().display());
    let read = Cmd::new("mtype").args(["-i", &image, "::/EFI/harrow/a/slot.cfg"]);
    read.run().unwrap().text()
}

#[test]
fn an_mbr_with_its_boot_code() {
    let place = Place::new();
    let report = install(&place, "force_mbr: true", "64G");
    let layout = report.plan.layout().unwrap();
    assert_eq!(layout.table, TableKind::Mbr);
    let verify = Cmd::new("sfdisk").arg("--verify").arg(place.disk());
    let said = verify.run().unwrap().text();
    assert!(said.contains("No errors"), "{said}");
    ext4_is_good(
        &place.disk(),
        layout,
        &[Role::Oem, Role::Var, Role::Data],
        "installed",
    );
    let disk = fs::read(place.image().join("boot.img")).unwrap();
    let mut start = [0; 512 + 16];
    let file = fs::File::open(place.disk()).unwrap();
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut start, 0).unwrap();
    assert_eq!(start[..0x5c], disk[..0x5c], "boot.img");
    assert_eq!(start[0x5c..0x64], 1u64.to_le_bytes(), "the core is next");
    let core = fs::read(place.image().join("core.img")).unwrap();
    assert_eq!(start[512..], core[..16]);
    let cfg = slot_cfg(&place, layout);
    let id = format!("PARTUUID={:08x}-06", layout.signature());
    assert!(cfg.contains(&format!("harrow.boot.var={id}")), "{cfg}");
}

#[test]
fn a_witness_keeps_no_data() {
    let place = Place::new();
    let report = install(&place, "role: witness", "40G");
    let layout = report.plan.layout().unwrap();
    assert!(layout.of(Role::Data).is_err());
    ext4_is_good(&place.disk(), layout, &[Role::Oem, Role::Var], "installed");
    let var = layout.of(Role::Var).unwrap().size;
    assert!(var > 29 << 30, "/var has the rest: {var}");
    assert!(!slot_cfg(&place, layout).contains("harrow.boot.data"));
}

#[test]
fn data_on_a_disk_of_its_own() {
    let place = Place::new();
    let checked = check_sources(&[read_config(&place.config()).unwrap()]);
    let file = |path, size| Target::probe(path, Some(size)).unwrap();
    let data_path = place.path("data.img");
    let manifest = place.manifest();
    let inputs = PlanInputs {
        target: file(&place.disk(), 40 << 30),
        data: Some(file(&data_path, 100 << 30)),
        wipe: Vec::new(),
        warnings: Vec::new(),
        release: Vec::new(),
        manifest: &manifest,
        consoles: &["tty0".into()],
        install_id: Uuid::from_u128(77),
        unfinished: None,
    };
    let plan = plan_install(&checked.config.unwrap(), inputs).unwrap();
    assert!(plan.to_string().contains("Data disk: "), "{plan}");
    let inputs = Inputs {
        origins: &BTreeMap::new(),
        image: &ImageSet::open(&place.image()).unwrap(),
        config: b"os: {}".to_vec(),
        half_made: &AtomicBool::new(false),
        open: &Target::open,
        keep: &|_| (),
    };
    let (_, result) = execute(&plan, &inputs, &std::sync::mpsc::channel().0);
    result.unwrap();
    let (system, data) = (plan.layout_of(0).unwrap(), plan.layout_of(1).unwrap());
    for disk in [&place.disk(), &data_path] {
        table_is_good(disk, "installed");
    }
    ext4_is_good(&place.disk(), system, &[Role::Oem, Role::Var], "installed");
    ext4_is_good(&data_path, data, &[Role::Data], "installed");
    assert!(system.of(Role::Data).is_err(), "data lies there alone");
    let id = data.partuuid(Role::Data).unwrap();
    let cfg = slot_cfg(&place, system);
    assert!(
        cfg.contains(&format!("harrow.boot.data=PARTUUID={id}")),
        "{cfg}"
    );
}

#[test]
fn a_disk_with_several_paths_boots_over_all_or_says_that_it_does_not() {
    let place = Place::new();
    let manifest = place.manifest();
    let plan = |config: &str, multipath: Option<&str>| {
        let source = Source::yaml(SourceKind::File, "x", config.as_bytes().to_vec());
        let disk = DiskFacts {
            path: "/dev/dm-0".into(),
            name: "dm-0".into(),
            size: 300 << 30,
            sector_size: 512,
            wwn: Some("naa.600a0b8000".into()),
            paths: match multipath {
                Some("one") => Vec::new(),
                _ => vec!["sda".into(), "sdb".into()],
            },
            multipath: multipath.map(str::to_owned).filter(|m| m != "one"),
            ..DiskFacts::default()
        };
        let inputs = PlanInputs {
            target: Target::Disk(disk),
            data: None,
            wipe: Vec::new(),
            warnings: Vec::new(),
            release: Vec::new(),
            manifest: &manifest,
            consoles: &["tty0".into()],
            install_id: Uuid::from_u128(77),
            unfinished: None,
        };
        let config = check_sources(&[source]).config.unwrap();
        let plan = plan_install(&config, inputs).unwrap();
        (grub::render_arguments(&plan.menu), plan.warnings.join("; "))
    };
    let off = common::CONFIG.to_owned();
    let on = off.replacen(
        "os: {",
        "os: { external_storage_config: { enabled: true },",
        1,
    );
    assert_ne!(on, off);
    let (line, warnings) = plan(&on, Some("3600a0b8"));
    assert!(line.contains(" harrow.boot.multipath=3600a0b8 "), "{line}");
    assert_eq!(warnings, "");
    let (line, warnings) = plan(&on, Some("one"));
    assert!(!line.contains("multipath"), "{line}");
    assert!(warnings.contains("has one path now"), "{warnings}");
    assert_eq!(plan(&off, Some("one")).1, "");
    let (line, warnings) = plan(&on, Some("1X emergency"));
    assert!(!line.contains("emergency"), "{line}");
    assert!(warnings.contains("it will use one path"), "{warnings}");
    for (config, multipath) in [(&on, None), (&off, None), (&off, Some("3600a0b8"))] {
        let (line, warnings) = plan(config, multipath);
        assert!(!line.contains("multipath"), "{line}");
        let words = "/dev/dm-0 is reached over 2 paths";
        assert!(warnings.contains(words), "{warnings}");
    }
}

/// As large as ext4 takes here: 15 TiB.
#[test]
fn a_disk_beyond_the_reach_of_32_bits() {
    let place = Place::new();
    let report = install(&place, "role: default", "15T");
    let layout = report.plan.layout().unwrap();
    let data = layout.of(Role::Data).unwrap();
    assert!(data.size > 14 << 40);
    table_is_good(&place.disk(), "installed");
    let place_of_data = format!("{}?offset={}", place.disk().display(), data.start);
    let head = Cmd::new("debugfs")
        .args(["-R", "show_super_stats -h", &place_of_data])
        .run()
        .unwrap()
        .text();
    let blocks = (data.size / 4096).to_string();
    let said = head.lines().find(|l| l.starts_with("Block count:"));
    assert!(said.unwrap().ends_with(&blocks), "{head}");
    let written = fs::metadata(place.disk()).unwrap().blocks() * 512;
    assert!(written < 2 << 30, "{written} bytes were written");
}
