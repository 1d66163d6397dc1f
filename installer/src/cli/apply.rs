//! `harrow config apply FILE`: another config for the node that runs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args as ClapArgs;
use harrow::config::{self, Look, Severity, Source, SourceKind};
use harrow::facts::{self, Roots};
use harrow::failure::{Failure, Kind};
use harrow::install::pin;
use harrow::live::{self, Reach};
use harrow::node::apply::RunningNode;
use harrow::node::change::trial::{self, Outcome};
use harrow::node::change::{self, Change, live as change_live};
use harrow::node::source::{self, CONFIG_NAME, OEM_DIR};
use harrow::sys::{console, random};

use super::config::{invalid, read};

/// `harrow config apply`
#[derive(Debug, ClapArgs)]
pub struct ApplyArgs {
    /// The whole config; - for standard input
    file: PathBuf,
    /// Show what it would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Time for harrow config confirm after a change of a network, such as 120s or 5m; 0 when the
    /// gateway's answer is enough
    #[arg(long, value_name = "TIME", default_value = "120s", value_parser = parse_time)]
    confirm_within: Duration,
    /// Print the change as JSON
    #[arg(long)]
    json: bool,
}

/// `harrow config trial`
#[derive(Debug, ClapArgs)]
pub struct TrialArgs {
    /// Seconds for a confirmation
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    within: u64,
    /// The service is over: take back what was not kept
    #[arg(long)]
    end: bool,
}

fn parse_time(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        _ => return Err("a time is a number with s, m or h, such as 120s".into()),
    };
    let number: u64 = digits.parse().map_err(|_| "not a number, such as 120s")?;
    match number
        .checked_mul(factor)
        .filter(|seconds| *seconds <= 86_400)
    {
        Some(seconds) => Ok(Duration::from_secs(seconds)),
        None => Err("at most a day".into()),
    }
}

/// The service of a trial.
pub fn trial(args: &TrialArgs) -> anyhow::Result<()> {
    match args.end {
        true => trial::end(),
        false => trial::run(Duration::from_secs(args.within)),
    }
}

/// Checks, shows, stores and takes up.
pub fn apply(args: &ApplyArgs, look: Look) -> anyhow::Result<()> {
    let node = RunningNode::probe()?;
    let text = new_config(&args.file, look)?;
    let oem = |text: Vec<u8>| Source::yaml(SourceKind::Oem, CONFIG_NAME, text);
    let stored = Path::new(OEM_DIR).join(CONFIG_NAME);
    let before = std::fs::read(&stored).with_context(|| format!("reading {}", stored.display()))?;
    let (before, after) = (oem(before), oem(text.clone().into_bytes()));
    let salt = random::salt();
    let read = |source: &Source| config::read_sources(std::slice::from_ref(source), salt);
    let keys = config::differences(&read(&before), &read(&after));
    let old = source::read_config(Path::new(OEM_DIR))?;
    let new = source::resolve(&after)?;
    let (old_files, new_files) = (node.render(&old), node.render(&new));
    let change = Change::new(keys, (&old, &old_files), (&new, &new_files));
    if args.json {
        let json = serde_json::to_string_pretty(&change).context("writing the change")?;
        console::print(json + "\n")?;
    } else {
        console::print(&change)?;
    }
    if args.dry_run || change.keys.is_empty() {
        return Ok(());
    }
    if change.is_of_network() {
        return on_trial(&text, args);
    }
    change::store::store(&text)?;
    change_live::take_up(&old_files, &new_files, &node.accounts, &change.live)
}

/// The config as it is stored: its keys of people fetched, its NICs pinned.
fn new_config(file: &Path, look: Look) -> anyhow::Result<String> {
    let checked = config::read_sources(&[read(file)?], random::salt());
    eprint!("{}", checked.problems.brief().render(look));
    if checked.config.is_none() {
        return Err(invalid(&checked.problems.only(Severity::Error)));
    }
    let mut answers = checked.answers;
    live::fetch_keys(&mut answers, &Reach::default(), &|line| eprintln!("{line}"))?;
    let mut missing = config::check_machine(&answers, &facts::probe(&Roots::default()));
    missing.0.retain(|p| p.code == config::Code::NoSuchNic);
    if missing.has_errors() {
        eprint!("{}", missing.render(look));
        return Err(invalid(&missing));
    }
    pin::pin(&mut answers, &pin::Known::probe());
    answers.to_node_yaml()
}

fn on_trial(text: &str, args: &ApplyArgs) -> anyhow::Result<()> {
    trial::begin(text, args.confirm_within)?;
    if !args.confirm_within.is_zero() {
        eprintln!(
            "the network changes now; run `harrow config confirm` within {} s, from a new session, or the old config comes back",
            args.confirm_within.as_secs()
        );
    }
    match trial::wait_for_end(args.confirm_within)? {
        Outcome::Kept => Ok(()),
        Outcome::Reverted(why) => Err(Failure::error(
            Kind::NodeDiffers,
            format!("the old config is back: {why}"),
            "journalctl -u harrow-config-trial and journalctl -u systemd-networkd have more",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, seconds) in [("0", 0), ("120s", 120), ("5m", 300), ("24h", 86_400)] {
            assert_eq!(parse_time(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "s", "1d", "25h", "-1s", "1.5m"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }
}
