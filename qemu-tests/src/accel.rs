//! Whether guests run on KVM or are emulated.
//!
//! Out: [`Accel`], found by running a guest. That `/dev/kvm` exists proves nothing: it can be
//! there without the right to open it, and there are hosts where it emulates the instructions
//! that it knows, one by one, and gives up in a kernel.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use harrow::sys::cmd::Cmd;
use harrow::sys::wait;

use crate::boot_sector;

/// How long a guest of one sector may take on KVM; it takes about 0.5 s.
const LIMIT: Duration = Duration::from_secs(6);

/// QEMU's program.
pub const QEMU: &str = "qemu-system-x86_64";

/// What runs a guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accel {
    /// The processor.
    Kvm,
    /// QEMU's translator, one thread for each processor of the guest.
    Tcg,
}

impl Accel {
    /// Its arguments for QEMU.
    pub fn args(self) -> &'static [&'static str] {
        match self {
            Self::Kvm => &["-accel", "kvm", "-cpu", "host"],
            Self::Tcg => &["-accel", "tcg,thread=multi", "-cpu", "max"],
        }
    }

    /// Whether a failure is the accelerator's own. Linux changes its code while other processors
    /// run it, by way of a breakpoint; now and then a processor of QEMU's translator still sees
    /// the breakpoint when it is long gone, and the kernel dies of "Oops: int3" within its
    /// first seconds. Nothing that Harrow does can bring that about.
    pub fn is_at_fault(self, error: &str) -> bool {
        self == Self::Tcg && error.contains("Oops: int3")
    }

    /// KVM if a guest really runs on it, else emulation.
    pub fn detect() -> anyhow::Result<Self> {
        Ok(if Self::Kvm.runs(LIMIT)? {
            Self::Kvm
        } else {
            Self::Tcg
        })
    }

    /// Whether a guest that counts and then ends QEMU by itself does so within `limit`.
    pub fn runs(self, limit: Duration) -> anyhow::Result<bool> {
        let folder = tempfile::tempdir().context("making a folder for a boot sector")?;
        let disk = folder.path().join("exit.img");
        std::fs::write(&disk, boot_sector::exit())
            .with_context(|| format!("writing {}", disk.display()))?;
        let log = tempfile::tempfile().context("creating a file for QEMU's messages")?;
        let mut qemu = Cmd::new(QEMU)
            .args(["-nodefaults", "-display", "none", "-m", "16"])
            .args(self.args())
            .args([
                "-device",
                &format!("isa-debug-exit,iobase={:#x}", boot_sector::EXIT_PORT),
            ])
            .args([
                "-drive",
                &format!("format=raw,if=ide,file={}", disk.display()),
            ])
            .spawn_logged(log.try_clone().context("duplicating a file")?, log)
            .context("trying a small guest")?;
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = qemu.try_wait().context("waiting for QEMU")? {
                return Ok(status.code() == Some(boot_sector::EXIT_STATUS));
            }
            if Instant::now() >= deadline {
                qemu.kill().context("ending QEMU")?;
                qemu.wait().context("waiting for QEMU")?;
                return Ok(false);
            }
            wait::pause_for(Duration::from_millis(20));
        }
    }
}

impl std::fmt::Display for Accel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Kvm => "KVM",
            Self::Tcg => "emulation (TCG)",
        })
    }
}
