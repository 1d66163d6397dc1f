//! Whether this boot came up, and what follows from it for the slots (harrow-health.service).
//!
//! In: GRUB's environment block, the running system. Out: a slot that is good, a trial that is over, or
//! a restart; records of it for `harrow status`, and words on the consoles. The rules are those of
//! docs/upgrade.md.

mod boot;
mod logs;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::install::grubenv::{BootEnv, Letter, TRIES};
use crate::sys::cmd::Cmd;
use crate::sys::wait;

use super::console;
use super::record::{self, FailedBoot, Left, Move, MoveState};
use super::running::{Access, Running};
use super::verify::{self, Check, Status};
use boot::{Boot, judge};

/// Time that a boot has to get healthy, unless [`LIMIT_KEY`] says otherwise.
const LIMIT: Duration = Duration::from_secs(30 * 60);
/// Less than what harrow-trial.timer waits.
const MOST: Duration = Duration::from_secs(40 * 60);
/// Kernel argument with that time in seconds.
const LIMIT_KEY: &str = "harrow.boot.health_limit";
const PAUSE: Duration = Duration::from_secs(5);
/// A boot is healthy when it was found so this often in a row.
const STEADY: u32 = 3;
/// There while a boot lasts; removed by a shutdown that went its way.
const UP: &str = "/var/lib/harrow/up";
/// Shown by login prompts (agetty(8)).
const ISSUE: &str = "/etc/issue.d/50-harrow.issue";
/// Restarts a trial that does not end otherwise.
const TRIAL_TIMER: &str = "harrow-trial.timer";

/// Forgets the logs of boots of an earlier move.
pub fn forget_logs() {
    logs::forget();
}

/// This boot.
struct Watch {
    running: Running,
    env: BootEnv,
    boot_id: String,
    last: Option<Move>,
    /// The boot before this one did not end as it should have.
    unclean: bool,
    limit: Duration,
}

/// Watches this boot until it is healthy or its time is over.
pub fn run() -> anyhow::Result<()> {
    let running = Running::open(Access::Look)?;
    let env = running.esp()?.env()?;
    let seconds = running.cmdline.get(LIMIT_KEY).and_then(|s| s.parse().ok());
    let boot_id = record::boot_id();
    let mut watch = Watch {
        limit: seconds.map_or(LIMIT, Duration::from_secs).min(MOST),
        last: Move::read(),
        unclean: mark_up(&boot_id),
        running,
        env,
        boot_id,
    };
    match judge(
        &watch.env,
        watch.running.slot,
        &watch.boot_id,
        watch.last.as_ref(),
    ) {
        Boot::Trial { before } => return watch.trial(before),
        Boot::FellBack { from, used } => watch.fell_back(from, used)?,
        Boot::Instead { of } => watch.came_instead(of)?,
        Boot::Good | Boot::Chosen => {}
    }
    watch.good()
}

/// Notes that this boot is running. Whether the one before it never said that it ended.
fn mark_up(boot_id: &str) -> bool {
    let before = fs::read_to_string(UP).unwrap_or_default();
    if let Err(error) = fs::write(UP, boot_id) {
        tracing::warn!("writing {UP}: {error}");
    }
    !before.is_empty() && before != boot_id
}

impl Watch {
    /// The slot becomes the good one, or the machine restarts.
    fn trial(&mut self, before: u8) -> anyhow::Result<()> {
        let slot = self.running.slot;
        if before > 0 {
            self.keep_logs(usize::from(before));
        }
        let known = self.last.as_ref().map_or(&[][..], |m| &m.failed_units);
        let Err(why) = wait_for(self.limit, || verify::vitals(known)) else {
            change(|env| {
                env.slot = slot;
                env.trial = None;
                env.boots = 0;
                env.left = None;
            })?;
            if let Some(last) = &mut self.last {
                last.enter(MoveState::Good)?;
            }
            Cmd::new("systemctl").args(["stop", TRIAL_TIMER]).run()?;
            console::warn(&format!(
                "slot {slot} is healthy, and the good one from now on"
            ));
            return Ok(());
        };
        let tries = self.env.trial.map_or(0, |trial| trial.tries);
        console::warn(&format!(
            "slot {slot} is on trial and did not get healthy in {} s: {why}",
            self.limit.as_secs()
        ));
        console::warn(&match tries {
            0 => format!(
                "restarting into slot {}, which is the good one",
                slot.other()
            ),
            _ => format!("restarting to try it again; tries left: {tries}"),
        });
        if let Some(last) = &mut self.last {
            last.failed_boots.push(FailedBoot {
                boot_id: Some(self.boot_id.clone()),
                why,
                log: None,
            });
            // The restart matters more than what is written down of it.
            last.write()
                .unwrap_or_else(|error| tracing::warn!("{error:#}"));
        }
        Cmd::new("journalctl").arg("--sync").run_any().ok();
        restart()
    }

    fn keep_logs(&mut self, expected: usize) {
        let Some(last) = &mut self.last else { return };
        last.failed_boots = logs::keep(&last.boot_id, &self.boot_id, &last.failed_boots, expected);
        last.write()
            .unwrap_or_else(|error| tracing::warn!("{error:#}"));
    }

    /// The good slot runs again, without anybody's help.
    fn fell_back(&mut self, from: Letter, used: u8) -> anyhow::Result<()> {
        self.keep_logs(usize::from(used));
        let why = match (used, &self.last) {
            (0, _) => "it was never booted: another entry was chosen in the boot menu".to_owned(),
            (TRIES, Some(last)) => reasons(&last.failed_boots),
            (TRIES, None) => format!("{TRIES} boots did not get healthy"),
            (used, _) => format!(
                "{used} of {TRIES} tries were made; then GRUB could not load it, or another entry was chosen"
            ),
        };
        console::warn(&format!(
            "slot {from} did not get healthy, so slot {} runs again: {why}",
            self.running.slot
        ));
        issue(&format!(
            "The last upgrade fell back; see `harrow status`: {why}"
        ));
        if let Some(last) = &mut self.last {
            last.enter(MoveState::FellBack { why })?;
        }
        change(|env| env.trial = None)
    }

    /// GRUB gave the good slot up.
    fn came_instead(&mut self, of: Letter) -> anyhow::Result<()> {
        let damage = self.damage_of(of);
        let mut why = format!("{TRIES} boots of it in a row did not come up");
        if let Some(damage) = damage {
            // Writing to a String can't fail.
            let _ = write!(why, "; it is damaged: {damage}");
        }
        let failed_boots = logs::keep("", &self.boot_id, &[], 1);
        self.leave(of, why, failed_boots)?;
        change(|env| env.left = None)
    }

    /// Writes down and says why a slot was left.
    fn leave(
        &self,
        slot: Letter,
        why: String,
        failed_boots: Vec<FailedBoot>,
    ) -> anyhow::Result<()> {
        console::warn(&format!("slot {slot} was left: {why}"));
        issue(&format!("Slot {slot} was left; see `harrow status`: {why}"));
        let since = record::now();
        Left {
            slot,
            since,
            why,
            failed_boots,
        }
        .write()
    }

    /// A boot of the good slot. Only what the slot itself answers for counts against it: not a
    /// network that is away, nor a config that can't be read.
    fn good(&self) -> anyhow::Result<()> {
        let slot = self.running.slot;
        if (self.unclean || self.env.boots > 1) && self.moved_off_damage()? {
            return restart();
        }
        match wait_for(self.limit, || Ok(vec![verify::root()?])) {
            Ok(()) if slot == self.env.slot => change(|env| env.boots = 0)?,
            Ok(()) => {}
            Err(why) => {
                console::warn(&format!("this node did not come up as it should: {why}"));
                return Ok(());
            }
        }
        if let Err(why) = wait_for(self.limit, || verify::vitals(&[])) {
            console::warn(&format!("this node is not healthy: {why}"));
        }
        Ok(())
    }

    /// A slot that can't be read is no less damaged than one that reads as something else.
    fn damage_of(&self, slot: Letter) -> Option<String> {
        let damage = self.running.damage_of(slot);
        damage.unwrap_or_else(|error| Some(format!("{error:#}")))
    }

    /// A machine that died may have met a bit that flipped: the running slot is read through, past
    /// dm-verity, which would panic. Whether the other slot is to be booted.
    fn moved_off_damage(&self) -> anyhow::Result<bool> {
        let slot = self.running.slot;
        let Some(damage) = self.damage_of(slot) else {
            return Ok(false);
        };
        let other = slot.other();
        if let Some(why) = self.damage_of(other) {
            console::warn(&format!(
                "slot {slot} is damaged ({damage}), and slot {other} can't take its place: {why}. \
                 `harrow upgrade --image` writes a good one"
            ));
            return Ok(false);
        }
        let failed_boots = logs::keep("", &self.boot_id, &[], 0);
        self.leave(slot, format!("it is damaged: {damage}"), failed_boots)?;
        change(|env| {
            env.slot = other;
            env.boots = 0;
            env.trial = None;
        })?;
        console::warn(&format!("restarting into slot {other}"));
        Ok(true)
    }
}

/// Changes what decides about the next boot.
fn change(make: impl FnOnce(&mut BootEnv)) -> anyhow::Result<()> {
    Running::open(Access::Change)?.change_env(make)
}

/// Why a move fell back, in one line.
fn reasons(failed: &[FailedBoot]) -> String {
    let mut reasons: Vec<&str> = failed.iter().map(|boot| boot.why.as_str()).collect();
    reasons.dedup();
    match reasons.is_empty() {
        true => "its boots left no word".to_owned(),
        false => reasons.join("; then: "),
    }
}

/// Asks again and again; what is still wrong at the end, in words.
fn wait_for(
    limit: Duration,
    mut look: impl FnMut() -> anyhow::Result<Vec<Check>>,
) -> Result<(), String> {
    let start = Instant::now();
    let mut steady = 0;
    loop {
        let wrong = match look() {
            Ok(checks) => in_words(&checks),
            Err(error) => Some(format!("{error:#}")),
        };
        let Some(wrong) = wrong else {
            steady += 1;
            if steady >= STEADY {
                return Ok(());
            }
            wait::pause_for(PAUSE);
            continue;
        };
        steady = 0;
        if start.elapsed() >= limit {
            return Err(wrong);
        }
        wait::pause_for(PAUSE);
    }
}

/// What differs, in one line; nothing when nothing does.
fn in_words(checks: &[Check]) -> Option<String> {
    let differs = checks.iter().filter(|c| c.status == Status::Differs);
    let words: Vec<String> = differs
        .map(|c| format!("{}: {} (should be: {})", c.check, c.actual, c.expected))
        .collect();
    (!words.is_empty()).then(|| words.join("; "))
}

fn restart() -> anyhow::Result<()> {
    Cmd::new("systemctl").arg("reboot").run().map(drop)
}

/// Puts a line above login prompts, for this boot.
fn issue(line: &str) {
    let path = Path::new(ISSUE);
    let folder = path.parent().unwrap_or(path);
    // agetty takes a backslash for the beginning of an escape.
    let text = format!("{}\n\n", line.replace('\\', "/"));
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(path, text));
    if let Err(error) = written.with_context(|| format!("writing {ISSUE}")) {
        tracing::warn!("{error:#}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_once_and_what_is_right_not_at_all() {
        let checks = [
            Check::equal("units", "none", "none"),
            Check::skipped("cluster", "no part of one"),
        ];
        assert_eq!(in_words(&checks), None);
        let checks = [
            Check::equal("units", "none", "a.service"),
            checks[0].clone(),
        ];
        let words = in_words(&checks).unwrap();
        assert_eq!(words, "units: a.service (should be: none)");
        let boot = |why: &str| FailedBoot {
            boot_id: None,
            why: why.into(),
            log: None,
        };
        let said = reasons(&[boot("x"), boot("x"), boot("y")]);
        assert_eq!(said, "x; then: y");
    }

    #[test]
    fn a_boot_is_healthy_when_it_stays_so_and_its_time_ends() {
        let bad = || vec![Check::equal("units", "none", "a.service")];
        let why = wait_for(Duration::ZERO, || Ok(bad())).unwrap_err();
        assert!(why.contains("a.service"), "{why}");
        let why = wait_for(Duration::ZERO, || anyhow::bail!("no systemd")).unwrap_err();
        assert_eq!(why, "no systemd");
    }
}
