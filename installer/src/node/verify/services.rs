//! Services and the clock.

use std::path::Path;
use std::time::SystemTime;

use anyhow::Context as _;
use serde::Deserialize;

use crate::cluster::Part;
use crate::sys::cmd::Cmd;

use super::super::first::Note;
use super::super::render::SSH_KEYS_DIR;
use super::{Check, Node};

/// All checks of this group.
pub fn check(node: &Node) -> Vec<Check> {
    vec![
        check_units(&[]),
        check_cluster(node),
        check_ssh_keys(),
        check_ntp(node),
        check_clock(),
        check_first_commands(node),
    ]
}

/// A unit as `systemctl --output=json` has it.
#[derive(Debug, Deserialize)]
struct Unit {
    unit: String,
}

/// The units that have failed.
pub fn failed_units() -> anyhow::Result<Vec<String>> {
    let command = Cmd::new("systemctl").args(["list-units", "--failed", "--all", "--output=json"]);
    parse_units(&command.run()?.stdout)
}

/// No unit has failed, but for those that are `known`.
pub(super) fn check_units(known: &[String]) -> Check {
    let look = || {
        let mut failed = failed_units()?;
        failed.retain(|unit| !known.contains(unit));
        let actual = if failed.is_empty() {
            "none".to_owned()
        } else {
            failed.join(", ")
        };
        Ok((failed.is_empty(), actual))
    };
    Check::tried("failed units", "none", look())
}

/// Everything that a boot starts was started, whatever became of it.
pub(super) fn check_started() -> Check {
    let look = || {
        let asked = Cmd::new("systemctl").arg("is-system-running").run_any()?;
        let state = asked.text().trim().to_owned();
        Ok((["running", "degraded"].contains(&state.as_str()), state))
    };
    Check::tried("boot finished", "running or degraded", look())
}

/// What a node of a cluster runs.
pub(super) fn check_cluster(node: &Node) -> Check {
    let Some(part) = Part::of(node.config) else {
        return Check::equal("cluster", "no part of one", "no part of one".to_owned());
    };
    let look = || {
        let units = [
            "harrow-payload.service".to_owned(),
            format!("{}.service", part.unit()),
        ];
        let asked = Cmd::new("systemctl")
            .arg("is-active")
            .args(&units)
            .run_any()?;
        let states = asked.text();
        let said: Vec<String> = units
            .iter()
            .zip(states.lines())
            .map(|(unit, state)| format!("{unit} {state}"))
            .collect();
        let good = said.len() == units.len() && states.lines().all(|state| state == "active");
        Ok((good, said.join(", ")))
    };
    Check::tried("cluster", "its payload is there and RKE2 is active", look())
}

fn parse_units(bytes: &[u8]) -> anyhow::Result<Vec<String>> {
    let units: Vec<Unit> =
        serde_json::from_slice(bytes).context("reading the output of systemctl")?;
    Ok(units.into_iter().map(|u| u.unit).collect())
}

/// Host keys lie on VAR and nowhere else.
fn check_ssh_keys() -> Check {
    let names = ["ssh_host_ed25519_key", "ssh_host_ecdsa_key"];
    let kept = names
        .iter()
        .all(|n| Path::new(SSH_KEYS_DIR).join(n).is_file());
    let baked = names.iter().any(|n| Path::new("/etc/ssh").join(n).exists());
    let actual = match (kept, baked) {
        (true, false) => "on VAR alone",
        (false, _) => "missing on VAR",
        (true, true) => "in /etc too",
    };
    Check::equal("ssh host keys", "on VAR alone", actual)
}

fn check_ntp(node: &Node) -> Check {
    let wanted = &node.config.os.ntp;
    if wanted.is_empty() {
        return Check::skipped("ntp", "no server is configured");
    }
    let look = || {
        let command = Cmd::new("timedatectl").args([
            "show-timesync",
            "--property=SystemNTPServers",
            "--value",
        ]);
        let actual = command.run()?.text().trim().to_owned();
        Ok((actual == wanted.join(" "), actual))
    };
    Check::tried("ntp", &wanted.join(" "), look())
}

/// No clock of a node can be older than its image; whether NTP was reached is only told.
fn check_clock() -> Check {
    let floor = Path::new("/usr/lib/clock-epoch")
        .metadata()
        .and_then(|m| m.modified());
    if floor.is_ok_and(|floor| SystemTime::now() < floor) {
        return Check::holds("clock", false, "not before the image was built", "earlier");
    }
    if Path::new("/run/systemd/timesync/synchronized").exists() {
        return Check::equal("clock", "synchronised", "synchronised");
    }
    Check::skipped("clock", "no NTP server has answered yet")
}

/// Commands that were to be run once, and how they ended.
fn check_first_commands(node: &Node) -> Check {
    let wanted = node.config.os.first_commands.len();
    if wanted == 0 {
        return Check::skipped("first commands", "none configured");
    }
    let words = |code: &Option<i32>| code.map_or("killed".to_owned(), |c| c.to_string());
    let ended: Vec<String> = Note::read().ended.iter().map(words).collect();
    // One that was added later is not run: there is only one first start.
    let holds = !ended.is_empty() && ended.iter().all(|code| code == "0");
    Check::holds(
        "first commands",
        holds,
        "all ended with 0",
        ended.join(", "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_units() {
        let saved = br#"[{"unit":"a.service","load":"loaded","active":"failed","sub":"failed","description":"A"}]"#;
        assert_eq!(parse_units(saved).unwrap(), ["a.service"]);
        assert!(parse_units(b"[]").unwrap().is_empty());
        assert!(parse_units(b"").is_err());
    }
}
