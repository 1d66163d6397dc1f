//! A config on trial: it is taken up, and stays when the way out still answers and somebody says
//! in time that the node can be reached.
//!
//! The config on OEM is exchanged only then, so a reboot before brings the old one back. The
//! trial is a service of its own (systemd-run), which outlives the session that began it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::failure::{Failure, Kind};
use crate::sys::cmd::Cmd;
use crate::sys::wait;

use super::super::files::NodeFile;
use super::super::network::{BRIDGE, gateway};
use super::super::{apply, console, source};
use super::{Change, live, store};

/// Folder of the trial, for root alone.
const DIR: &str = "/run/harrow/change";
/// The service that holds it.
const UNIT: &str = "harrow-config-trial.service";
/// Time for a DHCP server, a bond and a spanning tree of switches until the way out answers.
const GATEWAY_PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_secs(1);

/// How a trial ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "outcome", content = "why")]
pub enum Outcome {
    /// The new config is on OEM.
    Kept,
    /// The old config is back.
    Reverted(String),
}

fn path(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

/// Notes the new config and starts the service; `within` is zero when nobody need confirm.
pub fn begin(text: &str, within: Duration) -> anyhow::Result<()> {
    let active = Cmd::new("systemctl").args(["is-active", UNIT]).run_any()?;
    if matches!(
        active.text().trim(),
        "active" | "activating" | "deactivating"
    ) {
        return Err(Failure::error(
            Kind::NotANode,
            "another config is on trial",
            "harrow config confirm keeps it; else it is taken back when its time is over",
        ));
    }
    if Path::new(DIR).exists() {
        fs::remove_dir_all(DIR).with_context(|| format!("removing {DIR}"))?;
    }
    super::super::mounts::private_dir(Path::new(DIR))?;
    let file = NodeFile::with_mode(&format!("{DIR}/config.yaml"), text, 0o600);
    super::super::files::write(
        Path::new("/"),
        &file,
        &super::super::files::Names::root_only(),
    )?;
    Cmd::new("systemd-run")
        .args(["--quiet", "--collect", "--unit", UNIT])
        .args(["--description", "Config on trial"])
        // Whatever happens to it, the old config comes back.
        .arg("--property=ExecStopPost=/usr/bin/harrow config trial --end")
        .arg("--property=TimeoutStopSec=180")
        .args(["/usr/bin/harrow", "config", "trial", "--within"])
        .arg(within.as_secs().to_string())
        .run()?;
    Ok(())
}

/// Waits for the end of the trial that [`begin`] started.
pub fn wait_for_end(within: Duration) -> anyhow::Result<Outcome> {
    let limit = within + GATEWAY_PATIENCE * 4;
    wait::until("the end of the trial", limit, PAUSE, outcome)
}

fn outcome() -> anyhow::Result<Option<Outcome>> {
    match fs::read(path("outcome.json")) {
        Ok(bytes) => Ok(Some(
            serde_json::from_slice(&bytes).context("reading the outcome")?,
        )),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).context("reading the outcome of the trial"),
    }
}

/// Says that the node can be reached.
pub fn confirm() -> anyhow::Result<()> {
    if !path("config.yaml").exists() || outcome()?.is_some() {
        return Err(Failure::error(
            Kind::NotANode,
            "no config is on trial",
            "harrow config apply FILE begins one",
        ));
    }
    fs::write(path("confirmed"), "").context("noting the confirmation")
}

/// The service: takes the new config up, and keeps it or takes it back.
pub fn run(within: Duration) -> anyhow::Result<()> {
    let trial = Trial::read()?;
    let could_get_out = way_out()?;
    let tried = trial
        .take_up()
        .and_then(|()| trial.judge(could_get_out, within));
    match tried {
        Ok(()) => {
            store::store(&trial.text)?;
            write_outcome(&Outcome::Kept)
        }
        Err(error) => trial.take_back(&format!("{error:#}")),
    }
}

/// After the service: when it could not say how the trial ended, the old config comes back.
pub fn end() -> anyhow::Result<()> {
    if outcome()?.is_some() || !path("config.yaml").exists() {
        return Ok(());
    }
    Trial::read()?.take_back("the trial was cut off")
}

struct Trial {
    text: String,
    old: (Config, Vec<NodeFile>),
    new: (Config, Vec<NodeFile>),
    node: apply::RunningNode,
}

impl Trial {
    fn read() -> anyhow::Result<Self> {
        let node = apply::RunningNode::probe()?;
        let old = source::read_config(Path::new(source::OEM_DIR))?;
        let new = source::read_config(Path::new(DIR))?;
        let text = fs::read_to_string(path("config.yaml")).context("reading the new config")?;
        Ok(Self {
            text,
            old: (old.clone(), node.render(&old)),
            new: (new.clone(), node.render(&new)),
            node,
        })
    }

    fn change(&self) -> Change {
        let (old, new) = (&self.old, &self.new);
        Change::new(Vec::new(), (&old.0, &old.1), (&new.0, &new.1))
    }

    fn take_up(&self) -> anyhow::Result<()> {
        let services = self.change().live;
        live::take_up(&self.old.1, &self.new.1, &self.node.accounts, &services)
    }

    /// An error says why the new config can't stay.
    fn judge(&self, could_get_out: bool, within: Duration) -> anyhow::Result<()> {
        if could_get_out && leads_out(&self.new.0) {
            let look = || Ok(way_out()?.then_some(()));
            wait::until("an answer of the gateway", GATEWAY_PATIENCE, PAUSE, look)?;
        }
        if within.is_zero() {
            return Ok(());
        }
        let said = || Ok(path("confirmed").exists().then_some(()));
        wait::until("harrow config confirm", within, PAUSE, said)
    }

    fn take_back(&self, why: &str) -> anyhow::Result<()> {
        console::warn(&format!("the new config is taken back: {why}"));
        let services = self.change().live;
        let back = live::take_up(&self.new.1, &self.old.1, &self.node.accounts, &services);
        write_outcome(&Outcome::Reverted(why.to_owned()))?;
        back.context("taking the new config back; a reboot brings the old one")
    }
}

/// Whether a config has a way out at all.
fn leads_out(config: &Config) -> bool {
    use crate::config::{Ipv4Method, Ipv6Method};
    let management = &config.management;
    management.ipv4 != Ipv4Method::None || management.ipv6 != Ipv6Method::None
}

/// Whether a router of the management network answers.
fn way_out() -> anyhow::Result<bool> {
    for route in gateway::default_routes()? {
        if route.dev == BRIDGE && gateway::answers(&route)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn write_outcome(outcome: &Outcome) -> anyhow::Result<()> {
    let text = serde_json::to_string(outcome).context("writing the outcome")?;
    let new = path("outcome.new");
    fs::write(&new, text).context("writing the outcome")?;
    fs::rename(&new, path("outcome.json")).context("writing the outcome")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_read_back() {
        for outcome in [Outcome::Kept, Outcome::Reverted("no answer".into())] {
            let text = serde_json::to_string(&outcome).unwrap();
            assert_eq!(
                serde_json::from_str::<Outcome>(&text).unwrap(),
                outcome,
                "{text}"
            );
        }
    }
}
