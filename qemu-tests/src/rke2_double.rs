//! `rke2` of the tests: the double of RKE2, see [`qemu_tests::double`].

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use qemu_tests::double::notify::notify;
use qemu_tests::double::unit::Process;
use qemu_tests::double::{Role, VERSION, check};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// The RKE2 double of Harrow's tests. It is not RKE2 and runs no Kubernetes.
///
/// It checks its config, image archives, manifests and paths as RKE2 would find them, tells
/// systemd that it is ready or prints every problem, and stays until it is told to end.
#[derive(Parser)]
#[command(name = "rke2", disable_version_flag = true)]
struct Cli {
    /// What to be.
    #[arg(required_unless_present = "version")]
    role: Option<Role>,
    /// Print the version of the double.
    #[arg(short, long)]
    version: bool,
    /// Look for the node's files below this folder; only for tests of the double.
    #[arg(long, default_value = "/")]
    root: PathBuf,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("RKE2 double: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::disallowed_methods)] // main reads the environment
fn notify_socket() -> Option<OsString> {
    std::env::var_os("NOTIFY_SOCKET")
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let Some(role) = cli.role.filter(|_| !cli.version) else {
        println!("rke2 version {VERSION} (double of Harrow's tests, not RKE2)");
        return Ok(ExitCode::SUCCESS);
    };
    // From here on a signal waits for its reader.
    let mut signals = Signals::new([SIGTERM, SIGINT]).context("waiting for signals")?;
    let socket = notify_socket();
    let program = std::env::current_exe().context("finding the program")?;
    let cgroup = cli.root.join("proc/self/cgroup");
    let process = Process {
        cgroup: std::fs::read_to_string(&cgroup)
            .with_context(|| format!("reading {}", cgroup.display()))?,
        program: program.canonicalize().context("finding the program")?,
        can_notify: socket.is_some(),
    };
    let report = check(&cli.root, role, &process);
    report.write(&cli.root)?;
    let mut stdout = std::io::stdout();
    for line in report.lines() {
        writeln!(stdout, "{line}").context("printing the report")?;
    }
    stdout.flush().context("printing the report")?;
    if !report.ready {
        return Ok(ExitCode::FAILURE);
    }
    if let Some(socket) = socket {
        let status = "STATUS=RKE2 double: ready, no Kubernetes runs";
        notify(&socket, &format!("READY=1\n{status}\n"))?;
    }
    signals.forever().next();
    Ok(ExitCode::SUCCESS)
}
