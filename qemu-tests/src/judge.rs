//! Judges an installed disk by programs that this project did not write.
//!
//! In: the raw disk, switched off cleanly, and the manifest of the image installed on it. Out:
//! nothing, or an error with everything that the programs object to. No root rights needed.

use std::path::Path;

use anyhow::{Context as _, bail};
use harrow::image::manifest::ImageManifest;

use crate::partitions::{Extent, extract, read_partitions};
use crate::tools::tool;

/// The partitions of an installed disk, in their order.
const NAMES: [&str; 7] = [
    "harrow-bios",
    "harrow-esp",
    "harrow-oem",
    "harrow-slot-a",
    "harrow-slot-b",
    "harrow-var",
    "harrow-data",
];

/// The partitions that hold ext4.
const EXT4: [&str; 3] = ["harrow-oem", "harrow-var", "harrow-data"];

/// Judges `disk` with sectors of this size, on whose slot A the image of `manifest` was installed.
pub fn judge_disk(disk: &Path, sector_size: u32, manifest: &ImageManifest) -> anyhow::Result<()> {
    let partitions = read_partitions(disk)?;
    let names: Vec<&str> = partitions.iter().map(|found| found.name.as_str()).collect();
    if names != NAMES {
        bail!(
            "{} has the partitions {names:?}, not {NAMES:?}",
            disk.display()
        );
    }
    let find = |name: &str| {
        partitions
            .iter()
            .find(|found| found.name == name)
            .with_context(|| format!("no partition {name}"))
    };
    let scratch = tempfile::tempdir_in(disk.parent().unwrap_or(Path::new(".")))
        .context("making a folder for copies of partitions")?;
    let mut objections = vec![
        judge_table(disk, sector_size),
        judge_esp(disk, find("harrow-esp")?, scratch.path()),
    ];
    for name in EXT4 {
        objections.push(judge_ext4(disk, find(name)?));
    }
    objections.push(judge_slot(
        disk,
        find("harrow-slot-a")?,
        manifest,
        scratch.path(),
    ));
    let objections: Vec<String> = objections
        .into_iter()
        .filter_map(|judged| judged.err().map(|error| format!("{error:#}")))
        .collect();
    if !objections.is_empty() {
        bail!("{}:\n{}", disk.display(), objections.join("\n"));
    }
    Ok(())
}

fn judge_table(disk: &Path, sector_size: u32) -> anyhow::Result<()> {
    if sector_size != 512 {
        // sgdisk takes a file for a disk with sectors of 512 bytes, fdisk can be told.
        let size = sector_size.to_string();
        let output = tool("fdisk").args(["-b", &size, "-l"]).arg(disk).run()?;
        let all = NAMES.len() == output.text().lines().filter(|l| l.starts_with('/')).count();
        if !all || !output.stderr.trim().is_empty() {
            bail!("fdisk -l: {}{}", output.text(), output.stderr);
        }
        return Ok(());
    }
    let said = tool("sgdisk").arg("-v").arg(disk).run()?.text();
    // Its exit status is 0 also when it found problems.
    if !said.contains("No problems found") {
        bail!("sgdisk -v: {said}");
    }
    Ok(())
}

fn judge_esp(disk: &Path, esp: &Extent, scratch: &Path) -> anyhow::Result<()> {
    let copy = scratch.join("esp.img");
    extract(disk, esp.start, esp.size, &copy)?;
    let output = tool("fsck.fat").args(["-n", "-v"]).arg(&copy).run_any()?;
    if !output.status.success() {
        bail!(
            "fsck.fat -n on the ESP: {}\n{}",
            output.status,
            output.text()
        );
    }
    Ok(())
}

fn judge_ext4(disk: &Path, partition: &Extent) -> anyhow::Result<()> {
    let place = format!("{}?offset={}", disk.display(), partition.start);
    let output = tool("e2fsck").args(["-f", "-n", &place]).run_any()?;
    if !output.status.success() {
        bail!(
            "e2fsck -fn on {}: {}\n{}{}",
            partition.name,
            output.status,
            output.text(),
            output.stderr
        );
    }
    Ok(())
}

fn judge_slot(
    disk: &Path,
    slot: &Extent,
    manifest: &ImageManifest,
    scratch: &Path,
) -> anyhow::Result<()> {
    let copy = scratch.join("slot.img");
    let (file, verity) = (&manifest.slot.file, &manifest.slot.verity);
    extract(disk, slot.start, file.size, &copy)?;
    let digest = tool("sha256sum").arg("--").arg(&copy).run()?.text();
    if !digest.starts_with(&file.sha256) {
        bail!(
            "slot A has the sha256 {digest}, the manifest says {}",
            file.sha256
        );
    }
    tool("veritysetup")
        .arg("verify")
        .args([&copy, &copy])
        .arg(&verity.root_hash)
        .arg(format!("--hash-offset={}", verity.hash_offset))
        .run()?;
    tool("unsquashfs").arg("-s").arg(&copy).run()?;
    Ok(())
}
