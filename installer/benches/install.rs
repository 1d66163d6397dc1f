//! A whole install against dd and mke2fs, in one run: `make bench`.
//!
//! The base line is what any installer has to do: the same bytes with `dd conv=fsync`, and
//! mke2fs for the same file systems, run as the installer runs it. The install is the real program
//! with all its checks; reading the slot back is reported beside it. No block is zero, so
//! that leaving zeros out saves nothing. Both alternate, since disks are fast and slow by turns; the
//! figure is the median of the pairs' ratios, and the goal is what the project wants to hold.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use harrow::disk::ext4;
use harrow::image::manifest::{
    BootFiles, FileEntry, Flavor, ImageManifest, MANIFEST_NAME, SCHEMA, SlotImage,
};
use harrow::image::verity::{self, Params};
use harrow::install::report::{Outcome, Report};
use harrow::install::step::Step;
use harrow::sys::cmd::Cmd;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

const SLOT: usize = 512 << 20;
/// An odd number, so that the median is one of them.
const ROUNDS: usize = 9;
/// An install takes at most this many times as long as dd and mke2fs.
const GOAL: f64 = 1.15;
const CONFIG: &str = "
token: a-shared-secret
os: { hostname: node-1, password: hunter2 }
install: { automatic: true, mode: create, persistent_partition_size: 20Gi }
";

fn main() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let place = dir.path();
    make_image(place)?;
    fs::write(place.join("config.yaml"), CONFIG)?;
    let image = place.join("image");
    on(place, &image, Kind::File)?;
    pack(&image)?;
    let (report, seconds) = install(place, &image, &place.join("disk.img"), true)?;
    tell("install from zstd", seconds, &report);
    unpack(&image)?;
    on(place, &image, Kind::Loop)
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    File,
    Loop,
}

/// Both on a file or a loop device, one after the other.
fn on(place: &Path, image: &Path, kind: Kind) -> anyhow::Result<()> {
    let back = place.join("disk.img");
    let target = match kind {
        Kind::File => Some(back.clone()),
        Kind::Loop => attach(&back)?,
    };
    let Some(target) = target else {
        println!("loop device: skipped, none can be had here");
        return Ok(());
    };
    let is_file = kind == Kind::File;
    let mut rounds: Vec<Round> = Vec::new();
    for round in 0..=ROUNDS {
        let (report, seconds) = install(place, image, &target, is_file)?;
        let install = seconds - milliseconds(&report, is_read_back) / 1000.0;
        let base = base_line(image, &target, &report.plan, is_file)?;
        // The first round fills the page cache.
        if round > 0 {
            rounds.push(Round {
                install,
                base,
                report,
            });
        }
    }
    if !is_file {
        Cmd::new("losetup").arg("-d").arg(&target).run()?;
        fs::remove_file(back)?;
    }
    rounds.sort_by(|a, b| a.ratio().total_cmp(&b.ratio()));
    let [least, most] = [rounds.first(), rounds.last()].map(|r| r.map_or(f64::NAN, Round::ratio));
    let median = rounds.get(ROUNDS / 2).context("no round was run")?;
    let name = if is_file { "file" } else { "loop device" };
    println!("{name}: dd + mke2fs {:.2} s", median.base);
    tell(&format!("{name}: install"), median.install, &median.report);
    let ratio = median.ratio();
    let verdict = if ratio <= GOAL { "met" } else { "missed" };
    println!(
        "{name}: ratio {ratio:.2}, {least:.2} to {most:.2} in {ROUNDS} pairs (goal: at most {GOAL}, {verdict})"
    );
    for entry in &median.report.journal {
        println!(
            "    {:>6} ms  {}",
            entry.milliseconds.unwrap_or(0),
            entry.step
        );
    }
    Ok(())
}

/// An install, and dd and mke2fs right after it; in seconds.
struct Round {
    install: f64,
    base: f64,
    report: Report,
}

impl Round {
    fn ratio(&self) -> f64 {
        self.install / self.base
    }
}

fn tell(what: &str, seconds: f64, report: &Report) {
    println!(
        "{what} {seconds:.2} s, read-back {:.2} s beside it, peak memory {} MiB",
        milliseconds(report, is_read_back) / 1000.0,
        report.peak_memory_kib.unwrap_or(0) >> 10
    );
}

fn is_read_back(step: &Step) -> bool {
    matches!(step, Step::ReadBack { .. })
}

fn milliseconds(report: &Report, of: impl Fn(&Step) -> bool) -> f64 {
    let entries = report.journal.iter().filter(|entry| of(&entry.step));
    entries.filter_map(|e| e.milliseconds).sum::<u64>() as f64
}

/// The real program; how long its plan took, by its own report, and the report.
fn install(
    place: &Path,
    image: &Path,
    target: &Path,
    is_file: bool,
) -> anyhow::Result<(Report, f64)> {
    settle(target, is_file)?;
    let file = place.join("report.json");
    let mut program = Cmd::new(env!("CARGO_BIN_EXE_harrow"))
        .args(["install", "--config"])
        .arg(place.join("config.yaml"))
        .arg("--image")
        .arg(image)
        .arg("--device")
        .arg(target)
        .arg("--report")
        .arg(&file);
    program = match is_file {
        true => program.args(["--size", "64G"]),
        // What the last round left.
        false => program.arg("--allow-overwrite"),
    };
    let start = Instant::now();
    program.run()?;
    let seconds = start.elapsed().as_secs_f64();
    let report: Report = serde_json::from_slice(&fs::read(&file)?)?;
    ensure!(matches!(report.outcome, Outcome::Done { .. }), "it failed");
    Ok((report, seconds))
}

/// dd of the same bytes to where they lie, and mke2fs as the installer runs it.
fn base_line(
    image: &Path,
    target: &Path,
    plan: &harrow::install::plan::Plan,
    is_file: bool,
) -> anyhow::Result<f64> {
    use harrow::disk::layout::Role;
    settle(target, is_file)?;
    if is_file {
        File::create(target)?.set_len(64 << 30)?;
    }
    let disk = File::options().read(true).write(true).open(target)?;
    let start = Instant::now();
    for role in [Role::Var, Role::Data, Role::Oem] {
        ext4::make_in_place(&disk, plan.layout()?.of(role)?, Uuid::nil())?;
    }
    for (name, role) in [("slot.img", Role::SlotA), ("boot.all", Role::Esp)] {
        dd(&image.join(name), target, plan.layout()?.of(role)?.start)?;
    }
    Ok(start.elapsed().as_secs_f64())
}

fn dd(from: &Path, to: &Path, at: u64) -> anyhow::Result<()> {
    Cmd::new("dd")
        .args([
            "bs=4M",
            "conv=fsync,notrunc",
            "oflag=seek_bytes",
            "status=none",
        ])
        .arg(format!("seek={at}"))
        .arg(format!("if={}", from.display()))
        .arg(format!("of={}", to.display()))
        .run()?;
    Ok(())
}

/// What an earlier round left must not be this one's burden.
fn settle(target: &Path, is_file: bool) -> anyhow::Result<()> {
    if is_file {
        fs::remove_file(target).ok();
    }
    rustix::fs::sync();
    Ok(())
}

/// A loop device over a new file; `None` where none can be had.
fn attach(back: &Path) -> anyhow::Result<Option<PathBuf>> {
    fs::remove_file(back).ok();
    File::create(back)?.set_len(64 << 30)?;
    let attached = Cmd::new("losetup")
        .args(["-f", "--show"])
        .arg(back)
        .run_any();
    Ok(match attached {
        Ok(output) if output.status.success() => Some(output.text().trim().into()),
        _ => None,
    })
}

fn make_image(place: &Path) -> anyhow::Result<()> {
    let dir = place.join("image");
    fs::create_dir(&dir)?;
    let path = dir.join("slot.img");
    let mut file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)?;
    // Half of it can be packed well, the other half not at all.
    let mut piece = vec![0; 1 << 20];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for number in 0..SLOT / piece.len() {
        for (index, word) in piece.chunks_exact_mut(8).enumerate() {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let value = if number % 2 == 0 {
                state
            } else {
                (index as u64 / 64) | 1 << 60
            };
            word.copy_from_slice(&value.to_le_bytes());
        }
        file.write_all(&piece)?;
    }
    let params = Params {
        salt: vec![1; 32],
        uuid: Uuid::nil(),
    };
    let verity = verity::append_tree(&mut file, &params, 2)?;
    let boot = |name: &str, size: usize| {
        fs::write(
            dir.join(name),
            &piece.repeat(size.div_ceil(piece.len()))[..size],
        )?;
        describe(&dir, name)
    };
    let manifest = ImageManifest {
        schema: SCHEMA,
        version: "0.0.1-bench".into(),
        flavor: Flavor::Net,
        created: "2026-01-01T00:00:00Z".into(),
        kernel_release: "6.12.0".into(),
        base: "debian trixie".into(),
        slot: SlotImage {
            file: describe(&dir, "slot.img")?,
            verity,
        },
        lacks: std::collections::BTreeMap::new(),
        boot: BootFiles {
            kernel: boot("vmlinuz", 12 << 20)?,
            initrd: boot("initrd.img", 50 << 20)?,
            shim: boot("shimx64.efi", 1 << 20)?,
            grub: boot("grubx64.efi", 3 << 20)?,
            mok_manager: boot("mmx64.efi", 1 << 20)?,
            bios_boot: boot("boot.img", 512)?,
            bios_core: boot("core.img", 200_000)?,
        },
    };
    let boot: u64 = manifest.files().skip(1).map(|file| file.size).sum();
    let mut all = File::create(dir.join("boot.all"))?;
    for _ in 0..boot >> 20 {
        all.write_all(&piece)?;
    }
    fs::write(dir.join(MANIFEST_NAME), manifest.render()?)?;
    Ok(())
}

fn describe(dir: &Path, name: &str) -> anyhow::Result<FileEntry> {
    let bytes = fs::read(dir.join(name))?;
    Ok(FileEntry {
        name: name.into(),
        size: bytes.len() as u64,
        sha256: hex::encode(Sha256::digest(bytes)),
    })
}

fn pack(image: &Path) -> anyhow::Result<()> {
    let slot = image.join("slot.img");
    let packed = File::create(image.join("slot.img.zst"))?;
    zstd::stream::copy_encode(File::open(&slot)?, packed, 3)?;
    fs::rename(slot, image.join("slot.img.plain"))?;
    Ok(())
}

fn unpack(image: &Path) -> anyhow::Result<()> {
    fs::remove_file(image.join("slot.img.zst"))?;
    fs::rename(image.join("slot.img.plain"), image.join("slot.img"))?;
    Ok(())
}
