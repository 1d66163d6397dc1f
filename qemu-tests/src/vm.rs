//! A running virtual machine; dropping it switches it off.
//!
//! In: a [`Machine`], a folder for what it keeps over a power-off and one for the logs of this
//! power-on. Out: its console, its QMP channel, and waiting for a reset or the end. The logs
//! are `serial.log` (lines with times), `serial.raw` (every byte), `qemu.log` and
//! `qemu-command.txt`.

use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use harrow::sys::cmd::Cmd;
use harrow::sys::wait;
use serde_json::json;

use crate::accel::{Accel, QEMU};
use crate::console::Console;
use crate::machine::{Channels, Machine};
use crate::qmp::Qmp;

/// How long QEMU may take to start listening.
const START: Duration = Duration::from_secs(20);
/// How long QEMU may take to end after its guest has.
const END: Duration = Duration::from_secs(30);
const LOG: &str = "qemu.log";
const POLL: Duration = Duration::from_millis(50);

/// What happens to a machine that is not needed any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenDropped {
    /// It is switched off, also when the harness is killed.
    SwitchOff,
    /// It keeps running, for a person to look at.
    Keep,
}

/// A machine that has power.
pub struct Vm {
    /// Its serial console.
    pub console: Console,
    /// Its control channel.
    pub qmp: Qmp,
    process: Process,
}

/// QEMU and its sockets; their paths must be short, those of test folders are not.
struct Process {
    child: Child,
    sockets: tempfile::TempDir,
    when_dropped: WhenDropped,
}

impl Drop for Process {
    fn drop(&mut self) {
        match self.when_dropped {
            WhenDropped::Keep => self.sockets.disable_cleanup(true),
            WhenDropped::SwitchOff => {
                // It may have ended already.
                self.child.kill().ok();
                self.child.wait().ok();
            }
        }
    }
}

impl Vm {
    /// Switches `machine` on. Times on its console count from the moment it runs. Firmware
    /// variables are kept in `folder`.
    pub fn start(
        machine: &Machine,
        accel: Accel,
        folder: &Path,
        logs: &Path,
        when_dropped: WhenDropped,
    ) -> anyhow::Result<Self> {
        let sockets = tempfile::Builder::new()
            .prefix("harrow-vm-")
            .tempdir()
            .context("making a folder for sockets")?;
        let (serial, qmp) = (sockets.path().join("serial"), sockets.path().join("qmp"));
        let channels = Channels {
            serial: &serial,
            serial_log: &logs.join("serial.raw"),
            qmp: &qmp,
        };
        let mut args = machine.render_args(accel, &machine.firmware.prepare(folder)?);
        args.extend(channels.render_args());
        let mut process = Process {
            child: spawn(args, logs, when_dropped)?,
            sockets,
            when_dropped,
        };
        let serial = process.connect(&serial, logs)?;
        let console = Console::open(serial, &logs.join("serial.log"))?;
        let mut qmp = Qmp::open(process.connect(&qmp, logs)?)?;
        console.mark_power_on(Instant::now());
        qmp.execute("cont", json!({}))?;
        Ok(Self {
            console,
            qmp,
            process,
        })
    }

    /// Waits until the guest resets itself, later than `since`; times count from there.
    pub fn wait_reset(&mut self, since: Instant, limit: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            self.console.check()?;
            match self.qmp.take_event("RESET") {
                Some(event) if event.at > since => {
                    self.console.mark_power_on(event.at);
                    return Ok(());
                }
                Some(_) => continue,
                None => {}
            }
            if Instant::now() >= deadline {
                bail!(
                    "waited {} s for the machine to reset, in vain",
                    limit.as_secs()
                );
            }
            wait::pause_for(POLL);
        }
    }

    /// Waits until the guest has switched itself off.
    pub fn wait_off(&mut self, limit: Duration) -> anyhow::Result<()> {
        self.qmp
            .wait_event("SHUTDOWN", limit)
            .context("waiting for the machine to switch itself off")?;
        self.wait_end()
    }

    /// Pulls the plug.
    pub fn cut_power(&mut self) -> anyhow::Result<()> {
        self.qmp.quit()?;
        self.wait_end()
    }

    fn wait_end(&mut self) -> anyhow::Result<()> {
        let ended = wait::until("QEMU to end", END, POLL, || {
            self.process.child.try_wait().context("waiting for QEMU")
        })?;
        if !ended.success() {
            bail!("QEMU ended with {ended}");
        }
        Ok(())
    }

    /// How a person gets to its serial console, when it is kept.
    pub fn console_hint(&self) -> String {
        let socket = self.process.sockets.path().join("serial");
        format!(
            "socat -,rawer,escape=0x1d UNIX-CONNECT:{}",
            socket.display()
        )
    }

    /// How a person ends it, when it is kept.
    pub fn end_hint(&self) -> String {
        format!("kill {}", self.process.child.id())
    }
}

impl Process {
    fn connect(&mut self, socket: &Path, logs: &Path) -> anyhow::Result<UnixStream> {
        wait::until("QEMU to listen", START, POLL, || {
            if let Some(status) = self.child.try_wait().context("waiting for QEMU")? {
                let said = std::fs::read_to_string(logs.join(LOG)).unwrap_or_default();
                bail!("QEMU ended with {status}, saying:\n{said}");
            }
            Ok(UnixStream::connect(socket).ok())
        })
    }
}

fn spawn(args: Vec<String>, logs: &Path, when_dropped: WhenDropped) -> anyhow::Result<Child> {
    let log = create(&logs.join(LOG))?;
    let cmd = match when_dropped {
        // A session of its own: the end of ours must not end it.
        WhenDropped::Keep => Cmd::new("setsid").arg(QEMU),
        // A harness that is killed can't drop anything: the kernel ends QEMU then.
        WhenDropped::SwitchOff => Cmd::new("setpriv").args(["--pdeathsig", "KILL", QEMU]),
    };
    let cmd = cmd.args(args);
    let line = logs.join("qemu-command.txt");
    std::fs::write(&line, format!("{cmd}\n"))
        .with_context(|| format!("writing {}", line.display()))?;
    cmd.spawn_logged(log.try_clone().context("duplicating a file")?, log)
}

fn create(path: &Path) -> anyhow::Result<File> {
    File::create(path).with_context(|| format!("creating {}", path.display()))
}
