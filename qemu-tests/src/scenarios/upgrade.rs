//! A node is upgraded over the network: a power cut in the middle leaves what it ran, the second try
//! makes the new slot the good one, and an image whose initrd is no initrd is left again without help.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use harrow::image::manifest::ImageManifest;
use harrow::sys::wait;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::firmware::Firmware;
use crate::http::{FileServer, Files};
use crate::machine::{Drive, Machine};
use crate::node::NodeSpec;
use crate::stage::Stage;

use super::install;

const DISK_SIZE: u64 = 200_000_000_000;
/// The steps of an upgrade are in this file of the node while it runs.
const LOG: &str = "/var/tmp/upgrade.log";
/// The step in which the power goes; the plan names it too, without a number in brackets.
const COPYING: &str = "] write the system";
/// How long the steps before it, and the whole upgrade, may take.
const UPGRADE: Duration = Duration::from_secs(900);
/// From a boot to the verdict on it, which waits for the whole boot.
const VERDICT: Duration = Duration::from_secs(900);
/// Three boots that end in a panic, each followed by the kernel's pause, and one that works.
const FALLING_BACK: Duration = Duration::from_secs(1800);
const POLL: Duration = Duration::from_secs(3);

/// Plays it.
pub fn run(stage: &mut Stage) -> anyhow::Result<()> {
    let spec = NodeSpec {
        hostname: "harrow-upgrade".into(),
        public_key: stage.ssh.public_key()?,
        device: "/dev/vda".into(),
        poweroff: true,
    };
    let disk = stage.bulky_file("disk.img");
    install::onto_file(stage, &spec, &disk, DISK_SIZE)?;
    let new = stage.double_iso("net")?.with_file_name("image");
    let mut files = Files::new();
    serve(&new, "/new", &mut files)?;
    let broken = break_initrd(&files)?;
    files.extend(broken);
    let server = FileServer::start(files)?;
    let machine = Machine::new("upgrade", Firmware::Bios)
        .drive(Drive::virtio(&disk, "HARROW-UPGRADE"))
        .ssh_port(stage.ssh.port());
    stage.power_on(&machine)?;
    install::first_boot(stage, &spec, install::BIOS, &[])?;
    wait_verdict(stage, "a", None)?;
    install::done(stage, "the installed slot is good");

    let url = server.guest_url("/new/");
    start_upgrade(stage, &url)?;
    wait::until("the copy to begin", UPGRADE, POLL, || {
        let log = stage.ssh.try_run(&format!("cat {LOG} {LOG}.err"))?.text();
        ensure!(!log.contains("error: "), "the upgrade failed:\n{log}");
        Ok(log.contains(COPYING).then_some(()))
    })?;
    stage.cut_power()?;
    install::done(stage, "the power went while the other slot was written");
    stage.power_on(&machine)?;
    install::first_boot(stage, &spec, install::BIOS, &[])?;
    ensure!(slot_of(stage)? == "a", "not the old slot booted");
    install::done(stage, "the old slot boots, and is as configured");

    let before = Instant::now();
    start_upgrade(stage, &url)?;
    let took = wait_reset(stage, before)?;
    stage.measure("upgrade → reboot", took, None);
    stage.wait_ssh(install::BIOS.ssh * install::PATIENCE)?;
    ensure!(slot_of(stage)? == "b", "not the new slot booted");
    wait_verdict(stage, "b", Some("good"))?;
    install::check(stage, &crate::node::checks(&spec))?;
    install::done(stage, "the new slot is good");

    let before = Instant::now();
    start_upgrade(stage, &server.guest_url("/broken/"))?;
    wait_reset(stage, before)?;
    // The machine resets three times more by itself.
    stage.wait_ssh(FALLING_BACK)?;
    ensure!(
        slot_of(stage)? == "b",
        "the node is not back in its good slot"
    );
    wait_verdict(stage, "b", Some("fell-back"))?;
    install::check(stage, &crate::node::checks(&spec))?;
    install::done(stage, "the broken slot was left without help");
    stage.vm()?.qmp.system_powerdown()?;
    install::wait_off(stage)
}

/// A connection must not hold what an upgrade takes.
fn start_upgrade(stage: &Stage, url: &str) -> anyhow::Result<()> {
    let run = "sudo systemd-run --quiet --collect --unit harrow-test-upgrade";
    let command = format!("{run} -p StandardOutput=file:{LOG} -p StandardError=file:{LOG}.err");
    stage
        .ssh
        .run(&format!("{command} harrow upgrade --image {url}"))
        .context("starting the upgrade")?;
    Ok(())
}

/// Waits until the node reboots by itself; what the upgrade said is in the error.
fn wait_reset(stage: &mut Stage, since: Instant) -> anyhow::Result<Duration> {
    let waited = stage.vm()?.wait_reset(since, UPGRADE);
    let said = || {
        let said = stage.ssh.try_run(&format!("cat {LOG} {LOG}.err"));
        said.map_or_else(|e| e.to_string(), |it| it.text())
    };
    waited.with_context(|| format!("the upgrade did not reboot the node:\n{}", said()))?;
    Ok(since.elapsed())
}

/// `a` or `b`: the slot that runs.
fn slot_of(stage: &Stage) -> anyhow::Result<String> {
    let find = "grep -o 'harrow.boot.slot=.' /proc/cmdline | cut -d= -f2";
    Ok(stage.ssh.run(find)?.text().trim().to_owned())
}

/// Waits until `harrow status` says that this slot runs, is on no trial, and that the last upgrade
/// ended in this way, if there was one.
fn wait_verdict(stage: &Stage, slot: &str, ended: Option<&str>) -> anyhow::Result<()> {
    let mut last = String::new();
    let waited = wait::until("the verdict on this boot", VERDICT, POLL, || {
        // It exits with a failure as long as something is not well.
        last = stage.ssh.try_run("sudo harrow status --json")?.text();
        let Ok(said) = serde_json::from_str::<Value>(&last) else {
            return Ok(None);
        };
        let state = said.pointer("/last/state/is").unwrap_or(&Value::Null);
        let good = said["slot"] == slot && said["trial"].is_null() && said["healthy"] == true;
        Ok((good && state.as_str() == ended).then_some(()))
    });
    waited.with_context(|| format!("the last status is {last}"))
}

/// All files of an image set, under `at`.
fn serve(image: &Path, at: &str, files: &mut Files) -> anyhow::Result<()> {
    let reading = || format!("reading {}", image.display());
    for entry in image.read_dir().with_context(reading)? {
        let path = entry.with_context(reading)?.path();
        let name = path.file_name().context("a file without a name")?;
        let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        files.insert(format!("{at}/{}", name.display()), bytes);
    }
    Ok(())
}

/// The same set with an initrd that is none; its manifest says that it is as it should be.
fn break_initrd(files: &Files) -> anyhow::Result<Files> {
    let mut broken: Files = files
        .iter()
        .map(|(path, bytes)| (path.replacen("/new", "/broken", 1), bytes.clone()))
        .collect();
    let initrd = vec![0x55; 1 << 20];
    let manifest = broken
        .get_mut("/broken/manifest.json")
        .context("the image has no manifest")?;
    let mut said = ImageManifest::parse(manifest)?;
    let entry = &mut said.boot.initrd;
    ensure!(entry.name == "initrd.img", "the initrd has another name");
    entry.size = initrd.len() as u64;
    entry.sha256 = hex::encode(Sha256::digest(&initrd));
    *manifest = said.render()?;
    broken.insert("/broken/initrd.img".into(), initrd);
    Ok(broken)
}
