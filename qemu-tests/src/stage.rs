//! What a scenario runs on: its folder, its machine, its ssh user, and the times it takes.
//!
//! In: [`Settings`] and the scenario's name. Out: steps printed as they happen with the time
//! since power-on, [`Figure`]s for the summary, and on failure the evidence in the folder.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use harrow::sys::wait;

use crate::accel::Accel;
use crate::base::Bases;
use crate::machine::Machine;
use crate::medium::newest_iso;
use crate::output::Output;
use crate::scenarios::cluster::needed;
use crate::ssh::{Ssh, free_port};
use crate::vm::{Vm, WhenDropped};

/// The user of a node.
const USER: &str = "rancher";

/// How long a failed guest may go on speaking, and how much of it is shown.
const LAST_WORDS: Duration = Duration::from_secs(5);
const TAIL: usize = 20;

/// What is taken from a node over ssh after a failure.
const EVIDENCE: [(&str, &str); 3] = [
    (
        "journal.txt",
        "sudo journalctl -b --no-pager -o short-monotonic",
    ),
    (
        "install-report.json",
        "sudo sh -c 'cat /run/harrow/oem/report.json || cat /run/harrow/report.json'",
    ),
    (
        "double-report.json",
        "sudo cat /var/lib/rancher/rke2/double-report.json",
    ),
];

/// What is the same for all scenarios of a run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The ISO under test.
    pub iso: Option<PathBuf>,
    /// Where each scenario gets a folder of its own.
    pub out: PathBuf,
    /// What runs the guests.
    pub accel: Accel,
    /// Whether a machine is left running when its scenario fails.
    pub when_failed: WhenDropped,
    /// Where lines go.
    pub output: Output,
    /// Folder of the doubles of the cluster payload, and of ISOs with them.
    pub doubles: PathBuf,
    /// Installed disks that scenarios share.
    pub bases: Arc<Bases>,
}

/// A measured time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figure {
    /// From where to where.
    pub what: String,
    /// How long it took.
    pub took: Duration,
    /// What it should not exceed on a quiet machine, if that is specified.
    pub limit: Option<Duration>,
}

/// A scenario's place.
pub struct Stage {
    /// What is the same for all scenarios.
    pub settings: Settings,
    /// The folder of this scenario.
    pub folder: PathBuf,
    /// The user on the node.
    pub ssh: Ssh,
    /// What was measured so far.
    pub figures: Vec<Figure>,
    /// Whether it has the machine for itself, so that its times mean something.
    pub is_alone: bool,
    output: Output,
    vm: Option<Vm>,
    power_ons: usize,
    bulky: Vec<PathBuf>,
}

impl Stage {
    /// Makes an empty folder for the scenario `name`.
    pub fn new(settings: Settings, name: &str) -> anyhow::Result<Self> {
        let folder = settings.out.join(name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder)
                .with_context(|| format!("emptying {}", folder.display()))?;
        }
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("creating {}", folder.display()))?;
        // QEMU and ssh are given absolute paths, to be pasted from anywhere.
        let folder = folder
            .canonicalize()
            .with_context(|| format!("finding {}", folder.display()))?;
        Ok(Self {
            ssh: Ssh::create(&folder, USER, free_port()?)?,
            output: settings.output.named(name),
            settings,
            folder,
            figures: Vec::new(),
            is_alone: true,
            vm: None,
            power_ons: 0,
            bulky: Vec::new(),
        })
    }

    /// Says a line, with the scenario's name before it.
    pub fn say(&self, line: impl Display) {
        self.output.say(line);
    }

    /// Where programs of the library may say lines, with the scenario's name before each.
    pub fn output(&self) -> &Output {
        &self.output
    }

    /// The ISO under test.
    pub fn iso(&self) -> anyhow::Result<&Path> {
        self.settings
            .iso
            .as_deref()
            .ok_or_else(|| anyhow!("no ISO: build one with `make iso`, or name one with --iso"))
    }

    /// The newest ISO of this flavor in whose payload the doubles are: that of the folder named like
    /// the flavor, beside the doubles.
    pub fn double_iso(&self, flavor: &str) -> anyhow::Result<PathBuf> {
        let folder = needed(self.settings.doubles.join(flavor))?;
        let iso = newest_iso(&folder)?;
        iso.ok_or_else(|| anyhow!("{} has no ISO", folder.display()))
    }

    /// A file of this scenario that is deleted when it succeeds.
    pub fn bulky_file(&mut self, name: &str) -> PathBuf {
        let path = self.folder.join(name);
        self.bulky.push(path.clone());
        path
    }

    /// Makes an empty disk: a sparse file.
    pub fn create_disk(&mut self, name: &str, size: u64) -> anyhow::Result<PathBuf> {
        let path = self.bulky_file(name);
        std::fs::File::create(&path)
            .and_then(|file| file.set_len(size))
            .with_context(|| format!("creating {}", path.display()))?;
        Ok(path)
    }

    /// Switches a machine on; its logs go to a folder for this power-on.
    pub fn power_on(&mut self, machine: &Machine) -> anyhow::Result<&mut Vm> {
        self.power_ons += 1;
        self.say(format!("power-on {} of {}", self.power_ons, machine.name));
        let logs = self.folder.join(format!("power-on-{}", self.power_ons));
        std::fs::create_dir(&logs).with_context(|| format!("creating {}", logs.display()))?;
        let vm = Vm::start(
            machine,
            self.settings.accel,
            &self.folder,
            &logs,
            self.settings.when_failed,
        )?;
        Ok(self.vm.insert(vm))
    }

    /// The machine that is on.
    pub fn vm(&mut self) -> anyhow::Result<&mut Vm> {
        self.vm.as_mut().context("no machine is on")
    }

    /// Waits until the machine has switched itself off.
    pub fn wait_off(&mut self, limit: Duration) -> anyhow::Result<()> {
        self.vm()?.wait_off(limit)?;
        self.vm = None;
        Ok(())
    }

    /// Pulls the plug.
    pub fn cut_power(&mut self) -> anyhow::Result<()> {
        self.vm()?.cut_power()?;
        self.vm = None;
        Ok(())
    }

    /// Waits until the node lets its user in; the moment it did.
    pub fn wait_ssh(&mut self, limit: Duration) -> anyhow::Result<Instant> {
        let vm = self.vm.as_ref().context("no machine is on")?;
        self.ssh.wait_ready(limit, || vm.console.check())?;
        Ok(Instant::now())
    }

    /// Tells that something was reached at `at`; the time since power-on.
    pub fn step(&mut self, at: Instant, what: &str) -> Duration {
        let since = self.vm.as_ref().map_or(at, |vm| vm.console.power_on());
        let took = at.saturating_duration_since(since);
        self.say(format!("{:7.1} s  {what}", took.as_secs_f64()));
        took
    }

    /// Keeps a figure for the summary. A limit counts only for who has the machine for itself.
    pub fn measure(&mut self, what: &str, took: Duration, limit: Option<Duration>) {
        self.figures.push(Figure {
            what: what.to_owned(),
            took,
            limit: limit.filter(|_| self.is_alone),
        });
    }

    /// Deletes the large files of a scenario that succeeded.
    pub fn clear(&self) -> anyhow::Result<()> {
        for path in &self.bulky {
            std::fs::remove_file(path).with_context(|| format!("deleting {}", path.display()))?;
        }
        Ok(())
    }

    /// Collects what is left to see of a failure, and says where it is.
    pub fn collect_evidence(&mut self) {
        self.say(format!("evidence: {}", self.folder.display()));
        let Some(vm) = &self.vm else { return };
        // A guest in trouble says what went wrong after it said that something did.
        wait::pause_for(LAST_WORDS);
        self.say(format!(
            "  the console's last lines:\n{}",
            vm.console.tail(TAIL)
        ));
        let screen = self.folder.join("screen.txt");
        if std::fs::write(&screen, vm.console.screen()).is_ok() {
            self.say(format!("  {}", screen.display()));
        }
        if self.ssh.answers() {
            for (name, command) in EVIDENCE {
                let path = self.folder.join(name);
                let said = self.ssh.run(command);
                if said.is_ok_and(|said| std::fs::write(&path, said.stdout).is_ok()) {
                    self.say(format!("  {}", path.display()));
                }
            }
        }
        if self.settings.when_failed == WhenDropped::Keep {
            self.say("the machine is left running:");
            self.say(format!("  {}", vm.console_hint()));
            self.say(format!("  {}", self.ssh.hint()));
            self.say(format!("  {}", vm.end_hint()));
        }
    }
}
