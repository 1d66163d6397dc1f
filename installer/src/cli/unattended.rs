//! The live medium's own install, which nobody watches.
//!
//! In: what the machine brings. Out: an installed disk and a restart, or on all consoles why not.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use harrow::config::{self as node_config, Look, Source};
use harrow::failure::Failure;
use harrow::install::run::{self as install, Options, Prepared};
use harrow::live::{self, Places};
use harrow::sys::cmd::Cmd;
use harrow::sys::console::Printer;
use harrow::sys::random;

use super::{InstallArgs, RUN_DIR, go_on, install_options};

/// How long an unattended install waits for its disk: controllers take their time to start.
const DISK_PATIENCE: Duration = Duration::from_secs(120);

/// The live medium's own install. Its outcome stays on the consoles; only a finished install
/// restarts the machine.
pub(super) fn run(args: &InstallArgs) -> anyhow::Result<()> {
    let printer = Printer::consoles();
    printer.line(format!("installer {}", env!("CARGO_PKG_VERSION")));
    let result = steps(args, &printer);
    if let Err(error) = &result {
        printer.line(format!("install failed: {error:#}"));
        if let Some(failure) = Failure::of(error).filter(|f| !f.hint.is_empty()) {
            printer.line(format!("hint: {}", failure.hint));
        }
        printer.line(
            "this machine stays on; the log is in `journalctl -u harrow-install` and /run/harrow",
        );
    }
    printer.finish();
    result
}

fn steps(args: &InstallArgs, printer: &Printer) -> anyhow::Result<()> {
    let mut options = install_options(args);
    let prepared = prepare(args, &mut options, printer);
    let prepared = prepared.inspect_err(|error| install::refuse(&options, error))?;
    let Some(prepared) = prepared else {
        return Ok(());
    };
    for line in prepared.warnings.brief().render(Look::Plain).lines() {
        printer.line(line);
    }
    if !prepared.config.automatic {
        printer.line(
            "install.automatic is not true, so nothing is installed by itself. To install, run:",
        );
        printer.line(format!(
            "  harrow install --alone --config {RUN_DIR}/harrow.yaml"
        ));
        return Ok(());
    }
    for line in prepared.plan.to_string().lines() {
        printer.line(line);
    }
    install::run(&prepared, &options, printer)?;
    let verb = if prepared.config.poweroff {
        "poweroff"
    } else {
        "reboot"
    };
    printer.line(format!("{verb} now"));
    Cmd::new("systemctl").arg(verb).run()?;
    Ok(())
}

/// What the machine brings, decided; nothing when nobody gave it a config.
fn prepare(
    args: &InstallArgs,
    options: &mut Options,
    printer: &Printer,
) -> anyhow::Result<Option<Prepared>> {
    let tell = |line: String| printer.line(line);
    let mut sources = args.said.sources(Some(&Places::of_this_machine()), &tell)?;
    go_on(&mut sources, options, &tell);
    if !live::is_said(&sources) {
        printer.line("no config was given, so nothing is installed. To install, either");
        printer.line("  copy harrow.yaml onto the medium's EFI partition and boot again, or");
        printer.line(
            "  in the boot menu press c, type: set harrow_args=\"harrow.install.config_url=URL\"",
        );
        printer.line("  and press Enter, Esc, Enter, or");
        printer.line("  log in here and run: harrow install --config FILE");
        return Ok(None);
    }
    for source in &sources {
        printer.line(format!("config from {}", source.name));
    }
    keep_config(&sources)?;
    options.patience = DISK_PATIENCE;
    let prepared = install::prepare(&sources, options)?;
    Ok(Some(prepared))
}

/// Keeps what could be used of all sources, as one config, for a person who installs by hand. Keys
/// that are not known and values that can't be used are not in it; they are said when it is
/// prepared. The password is hashed with a salt of its own; all other secrets are as they were.
fn keep_config(sources: &[Source]) -> anyhow::Result<()> {
    let checked = node_config::read_sources(sources, random::salt());
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let path = Path::new(RUN_DIR).join(live::CONFIG_ON_STICK);
    let mut options = File::options();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    options
        .open(&path)
        .and_then(|mut file| file.write_all(node_config::render_merged(&checked).as_bytes()))
        .with_context(|| format!("writing {}", path.display()))
}
