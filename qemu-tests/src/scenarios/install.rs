//! What the scenarios of an install share: watching it, and checking the node that it made.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use harrow::install::run::{self, Options};
use harrow::sys::console::Printer;
use harrow::sys::wait;

use crate::judge::judge_disk;
use crate::medium::read_manifest;
use crate::node::{Check, Identity, NodeSpec, checks, find_problems};
use crate::stage::Stage;

/// The installer's first line on every console.
const FIRST_LINE: &str = "harrow: installer ";
/// Its progress, as in `harrow: [3/12] writing slot A`.
const PROGRESS: &str = "harrow: [";
/// Its last line when all went well. That of a failure ends every wait by itself.
const INSTALLED: &str = "harrow: installed in ";

/// How long an installer may say nothing.
const SILENCE: Duration = Duration::from_secs(600);
const POLL: Duration = Duration::from_millis(100);
/// How long a node may take to go down.
pub const GOING_DOWN: Duration = Duration::from_secs(240);
/// By how much a limit may be exceeded before it is a failure: machines are noisy.
pub const PATIENCE: u32 = 5;

/// A file outside of all that is kept, and one inside.
const DRIFTED: &str = "/etc/drifted";
const KEPT: &str = "/var/lib/kept";

/// The times that the project wants to hold under emulation on two quiet cores.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From power-on to the installer's first line.
    pub first_line: Duration,
    /// From power-on of an installed node to a login over ssh.
    pub ssh: Duration,
}

/// For BIOS.
pub const BIOS: Limits = Limits {
    first_line: Duration::from_secs(75),
    ssh: Duration::from_secs(90),
};

/// For UEFI with Secure Boot, whose firmware reads kernel and initrd slowly.
pub const UEFI: Limits = Limits {
    first_line: Duration::from_secs(2 * 75),
    ssh: Duration::from_secs(2 * 90),
};

/// Follows the installer on the console to its end; the moment it was done.
pub fn watch(stage: &mut Stage, limits: Limits) -> anyhow::Result<Instant> {
    let limit = limits.first_line * PATIENCE;
    let first = stage.vm()?.console.wait_for_line(&[FIRST_LINE], limit)?;
    let took = stage.step(first.at, &first.line);
    stage.measure(
        "power-on → installer's first line",
        took,
        Some(limits.first_line),
    );
    loop {
        let vm = stage.vm()?;
        let said = wait::until("the installer's next line", SILENCE, POLL, || {
            let said = vm.console.take_line(&[PROGRESS, INSTALLED])?;
            if said.is_none() && vm.qmp.has_event("RESET", first.at)? {
                bail!("the machine reset itself before the installer said that it was done");
            }
            Ok(said)
        })?;
        // The share of a step that is done is for people at the console.
        if !said.line.contains(" % ") {
            stage.step(said.at, &said.line);
        }
        if said.which == 1 {
            stage.measure(
                "installer's first line → installed",
                said.at - first.at,
                None,
            );
            return Ok(said.at);
        }
    }
}

/// Waits for the first login on the node, checks it, makes it drift, reboots it, checks that
/// it is as it was, and switches it off.
pub fn prove_node(
    stage: &mut Stage,
    spec: &NodeSpec,
    limits: Limits,
    more: &[Check],
) -> anyhow::Result<()> {
    let mut expected = first_boot(stage, spec, limits, more)?;
    let identity = Identity::read(&stage.ssh)?;
    done(stage, "the node is as configured");

    stage
        .ssh
        .run(&format!("date | sudo tee {DRIFTED} {KEPT}"))?;
    let before = Instant::now();
    // The connection may end before the command does.
    stage.ssh.try_run("sudo systemctl reboot")?;
    stage.vm()?.wait_reset(before, GOING_DOWN)?;
    wait_login(stage, limits, "second boot: power-on → ssh")?;
    let exists = |path| format!("test -e {path} && echo yes || echo no");
    expected.push(Check::new("drift", exists(DRIFTED), "no"));
    expected.push(Check::new("kept file", exists(KEPT), "yes"));
    check(stage, &expected)?;
    let now = Identity::read(&stage.ssh)?;
    if now != identity {
        bail!("the node changed its identity over a reboot, from {identity:?} to {now:?}");
    }
    done(
        stage,
        "after a reboot the drift is gone, the rest and the identity are kept",
    );

    stage.vm()?.qmp.system_powerdown()?;
    stage.wait_off(GOING_DOWN)
}

/// The same without drift and reboot.
pub fn prove_first_boot(
    stage: &mut Stage,
    spec: &NodeSpec,
    limits: Limits,
    more: &[Check],
) -> anyhow::Result<()> {
    first_boot(stage, spec, limits, more)?;
    done(stage, "the node is as configured");
    stage.vm()?.qmp.system_powerdown()?;
    stage.wait_off(GOING_DOWN)
}

/// Waits for the first login on the node and checks it; what was expected.
pub fn first_boot(
    stage: &mut Stage,
    spec: &NodeSpec,
    limits: Limits,
    more: &[Check],
) -> anyhow::Result<Vec<Check>> {
    wait_login(stage, limits, "installed: power-on → ssh")?;
    let mut expected = checks(spec);
    expected.extend_from_slice(more);
    check(stage, &expected)?;
    Ok(expected)
}

/// Like [`judge`], for a disk with sectors of 4096 bytes.
pub fn judge_4k(stage: &Stage, disk: &Path) -> anyhow::Result<()> {
    let manifest = read_manifest(stage.iso()?, &stage.folder)?;
    judge_disk(disk, 4096, &manifest).context("judging the installed disk")?;
    stage.say("fdisk, fsck.fat, e2fsck, veritysetup and unsquashfs accept the disk");
    Ok(())
}

/// Lets other programs look at the disk of a node that is off.
pub fn judge(stage: &Stage, disk: &Path) -> anyhow::Result<()> {
    judge_image(stage, stage.iso()?, disk)
}

/// The same for a node that another ISO installed.
pub fn judge_image(stage: &Stage, iso: &Path, disk: &Path) -> anyhow::Result<()> {
    let manifest = read_manifest(iso, &stage.folder)?;
    judge_disk(disk, 512, &manifest).context("judging the installed disk")?;
    stage.say("sgdisk, fsck.fat, e2fsck, veritysetup and unsquashfs accept the disk");
    Ok(())
}

/// Installs the image beside the ISO onto a new file of `size` bytes, as an ordinary user does it.
pub fn onto_file(stage: &Stage, spec: &NodeSpec, disk: &Path, size: u64) -> anyhow::Result<()> {
    config_onto_file(stage, &spec.render_config(), disk, size)
}

/// The same with any config.
pub fn config_onto_file(stage: &Stage, config: &str, disk: &Path, size: u64) -> anyhow::Result<()> {
    let image = stage.iso()?.with_file_name("image");
    image_onto_file(stage, image, config, disk, size)
}

/// The same with any image.
pub fn image_onto_file(
    stage: &Stage,
    image: PathBuf,
    text: &str,
    disk: &Path,
    size: u64,
) -> anyhow::Result<()> {
    let config = disk.with_extension("yaml");
    std::fs::write(&config, text).with_context(|| format!("writing {}", config.display()))?;
    let options = Options {
        image: Some(image),
        device: Some(disk.to_owned()),
        size: Some(size),
        report: Some(disk.with_extension("report.json")),
        ..Options::default()
    };
    let prepared = run::prepare(&[run::read_config(&config)?], &options)?;
    let printer = Printer::new(vec![Box::new(stage.output().writer())]);
    run::run(&prepared, &options, &printer)?;
    printer.finish();
    Ok(())
}

/// Waits until the machine goes off after an install that was told to.
pub fn wait_off(stage: &mut Stage) -> anyhow::Result<()> {
    stage.wait_off(GOING_DOWN)
}

/// Waits until the machine reboots by itself after an install that ended at `since`.
pub fn wait_reboot(stage: &mut Stage, since: Instant) -> anyhow::Result<()> {
    stage.vm()?.wait_reset(since, GOING_DOWN)
}

fn wait_login(stage: &mut Stage, limits: Limits, what: &str) -> anyhow::Result<()> {
    let at = stage.wait_ssh(limits.ssh * PATIENCE)?;
    let took = stage.step(at, "login over ssh");
    stage.measure(what, took, Some(limits.ssh));
    Ok(())
}

/// Compares the node with its config and with what is expected.
pub fn check(stage: &Stage, expected: &[Check]) -> anyhow::Result<()> {
    stage
        .ssh
        .run("sudo harrow verify --json")
        .context("comparing the node with its config")?;
    let problems = find_problems(&stage.ssh, expected)?;
    if !problems.is_empty() {
        bail!("the node is not as configured:\n{}", problems.join("\n"));
    }
    Ok(())
}

/// Says that a part of the story is over.
pub fn done(stage: &mut Stage, what: &str) {
    stage.step(Instant::now(), what);
}
