//! Ctrl-C and `kill` during an install.
//!
//! In: the target, and whether it is half made. Out: a word on stderr, no half-made file, and the
//! exit code that a shell expects.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;

use crate::disk::target::Target;

/// Ends this process with a word when it is told to, and takes a half-made file with it.
pub fn end_cleanly(target: Target, half_made: Arc<AtomicBool>) -> anyhow::Result<()> {
    // A file that would grow beyond the user's limit is then an error of its write.
    signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))
        .context("listening to signals")?;
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("listening to signals")?;
    std::thread::spawn(move || {
        let Some(signal) = signals.forever().next() else {
            return;
        };
        let state = match (half_made.load(Ordering::SeqCst), &target) {
            (false, _) => "nothing half made is left",
            (true, Target::File { .. }) => "the half-made file is removed",
            (true, Target::Disk(_)) => "the disk does not boot: install again",
        };
        if half_made.load(Ordering::SeqCst) {
            target.discard();
        }
        writeln!(
            std::io::stderr(),
            "error: interrupted while installing onto {}: {state}",
            target.path().display()
        )
        .ok();
        std::process::exit(128 + signal);
    });
    Ok(())
}
