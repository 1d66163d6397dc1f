//! Flavor `net`: the first boot fetches the payload from a mirror whose first three answers are
//! faults. The RKE2 double in it is ready, and a reboot fetches nothing again.

use std::time::Instant;

use anyhow::{Context as _, ensure};

use crate::double::pack::{BLOBS, MIRROR};
use crate::firmware::Firmware;
use crate::http::{FileServer, Files};
use crate::machine::{Drive, Machine};
use crate::node::find_problems;
use crate::stage::Stage;

use super::cluster::{self, FirstNode, Payload};
use super::install;

/// The disk: sparse, so only what is written counts.
const DISK_SIZE: u64 = 300_000_000_000;
/// Answers of the mirror that are faults.
const FAULTS: usize = 3;

/// Plays it.
pub fn run(stage: &mut Stage) -> anyhow::Result<()> {
    let iso = stage.double_iso("net")?;
    let server = FileServer::start_failing(read_mirror(stage)?, FAULTS)?;
    let node = FirstNode {
        hostname: "harrow-net-mirror",
        public_key: Some(stage.ssh.public_key()?),
        mirror: Some(server.guest_url("")),
    };
    let disk = stage.bulky_file("disk.img");
    let image = iso.with_file_name("image");
    install::image_onto_file(stage, image, &node.render_config(), &disk, DISK_SIZE)?;
    let machine = Machine::new("net-mirror", Firmware::Bios)
        .drive(Drive::virtio(&disk, "HARROW-NET"))
        .ssh_port(stage.ssh.port());
    stage.power_on(&machine)?;
    check(stage, "first boot")?;
    let requests = server.requests();
    let (faults, rest) = requests
        .split_at_checked(FAULTS)
        .context("nothing was fetched")?;
    stage.say(format!("faults of the mirror: {}", faults.join(", ")));
    let is_good = |line: &String| line.ends_with(" 200") || line.ends_with(" 206");
    ensure!(
        !rest.is_empty() && rest.iter().all(is_good),
        "the mirror was asked for what it does not have: {}",
        rest.join(", ")
    );

    let before = Instant::now();
    // The connection may end before the command does.
    stage.ssh.try_run("sudo systemctl reboot")?;
    stage.vm()?.wait_reset(before, install::GOING_DOWN)?;
    check(stage, "second boot")?;
    let again = server.requests().len() - requests.len();
    ensure!(again == 0, "a reboot asked the mirror {again} times");
    stage.vm()?.qmp.system_powerdown()?;
    install::wait_off(stage)?;
    install::judge_image(stage, &iso, &disk)
}

fn check(stage: &mut Stage, boot: &str) -> anyhow::Result<()> {
    let at = stage.wait_ssh(install::BIOS.ssh * install::PATIENCE)?;
    stage.step(at, &format!("{boot}: login over ssh"));
    cluster::wait_ready(&stage.ssh)?;
    let took = stage.step(Instant::now(), &format!("{boot}: the RKE2 double is ready"));
    stage.measure(&format!("{boot}: power-on → RKE2 double ready"), took, None);
    let problems = find_problems(&stage.ssh, &cluster::checks(Payload::Fetched))?;
    ensure!(
        problems.is_empty(),
        "the node is not as it must be:\n{}",
        problems.join("\n")
    );
    Ok(())
}

/// The mirror of the doubles, by the paths under which a node asks for its files.
fn read_mirror(stage: &Stage) -> anyhow::Result<Files> {
    let folder = stage.settings.doubles.join(MIRROR).join(BLOBS);
    let folder = cluster::needed(folder)?;
    let reading = || format!("reading {}", folder.display());
    let mut files = Files::new();
    for entry in folder.read_dir().with_context(reading)? {
        let path = entry.with_context(reading)?.path();
        let name = path.file_name().context("a file without a name")?;
        let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        files.insert(format!("/{BLOBS}/{}", name.display()), bytes);
    }
    Ok(files)
}
