//! The image beside the ISO, installed onto a plain file by the library, as an ordinary user
//! does it with `harrow install --device disk.img --size 300G`, and judged. Then a byte of the
//! system is changed, to see that the judge notices.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};

use crate::node::NodeSpec;
use crate::partitions::read_partitions;
use crate::stage::Stage;

use super::install;

/// Size of the disk.
const DISK_SIZE: u64 = 300 << 30;

/// What an ISO and its initrd may weigh, in bytes.
const ISO_LIMIT: u64 = 450_000_000;
const INITRD_LIMIT: u64 = 50_000_000;

/// Plays it.
pub fn run(stage: &mut Stage) -> anyhow::Result<()> {
    let iso = stage.iso()?;
    check_size(stage, iso, ISO_LIMIT)?;
    check_size(
        stage,
        &iso.with_file_name("image").join("initrd.img"),
        INITRD_LIMIT,
    )?;
    let disk = stage.bulky_file("disk.img");
    let spec = NodeSpec {
        hostname: "harrow-file".into(),
        public_key: stage.ssh.public_key()?,
        device: "/dev/vda".into(),
        poweroff: false,
    };
    let start = Instant::now();
    install::onto_file(stage, &spec, &disk, DISK_SIZE)?;
    stage.measure("install onto a file", start.elapsed(), None);
    install::judge(stage, &disk)?;
    spoil(&disk).with_context(|| format!("changing a byte of {}", disk.display()))?;
    match install::judge(stage, &disk) {
        Err(error) if format!("{error:#}").contains("slot A has the sha256") => {}
        other => bail!("the judge did not notice a changed byte of slot A: {other:?}"),
    }
    stage.say("a changed byte of slot A is noticed");
    Ok(())
}

/// Boot time grows with these, most of all where firmware reads slowly.
fn check_size(stage: &Stage, path: &Path, limit: u64) -> anyhow::Result<()> {
    let meta = path
        .metadata()
        .with_context(|| format!("reading {}", path.display()))?;
    let megabytes = |bytes: u64| format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10);
    let (size, most) = (megabytes(meta.len()), megabytes(limit));
    stage.say(format!("{}: {size} of {most}", path.display()));
    ensure!(
        meta.len() <= limit,
        "{} has {size}, more than {most}",
        path.display()
    );
    Ok(())
}

/// Inverts a byte of slot A, 1 MiB into it.
fn spoil(disk: &Path) -> anyhow::Result<()> {
    let partitions = read_partitions(disk)?;
    let slot = partitions
        .iter()
        .find(|found| found.name == "harrow-slot-a");
    let at = slot.context("no slot A")?.start + (1 << 20);
    let file = File::options().read(true).write(true).open(disk)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at)?;
    file.write_all_at(&[!byte[0]], at)?;
    Ok(())
}
