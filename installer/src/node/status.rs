//! What this node is: its slots, what the next boot does, its health, what was tried last.
//!
//! In: the ESP, the records on VAR, the running system. Out: [`NodeStatus`], for people or as JSON.
//! Changes nothing.

use std::fmt;

use serde::Serialize;

use super::record::{Left, Move};
use super::running::{Access, Running};
use super::verify::{self, Check, Status};
use crate::install::grubenv::{BootEnv, Letter, Trial};

/// What this node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeStatus {
    /// The slot that runs.
    pub slot: Letter,
    /// Both slots.
    pub slots: Vec<SlotStatus>,
    /// The trial that runs, or that the next boot begins.
    pub trial: Option<Trial>,
    /// Whether the node is healthy now.
    pub healthy: bool,
    /// What is not as it should be.
    pub problems: Vec<Check>,
    /// The last upgrade or rollback.
    pub last: Option<Move>,
    /// A slot that was left without anybody asking for it.
    pub left: Option<Left>,
}

/// One slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SlotStatus {
    /// Which.
    pub slot: Letter,
    /// What it is for.
    pub state: SlotState,
    /// Version of what is in it.
    pub version: Option<String>,
    /// dm-verity root hash.
    pub root_hash: Option<String>,
}

/// What a slot is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SlotState {
    /// What is booted.
    Good,
    /// What is tried.
    Trial,
    /// What can be gone back to.
    Spare,
    /// Nothing to boot is in it.
    Empty,
}

/// Looks at this node.
pub fn look() -> anyhow::Result<NodeStatus> {
    let running = Running::open(Access::Look)?;
    let esp = running.esp()?;
    let env = esp.env()?;
    let mut slots = Vec::new();
    for slot in Letter::BOTH {
        let entry = esp.entry(slot)?;
        slots.push(SlotStatus {
            slot,
            state: state_of(&env, slot, entry.is_some()),
            root_hash: entry.as_ref().map(|e| e.root_hash.clone()),
            version: entry.map(|e| e.version),
        });
    }
    let last = Move::read();
    let known = last.as_ref().map_or(&[][..], |m| &m.failed_units);
    let checks = verify::vitals(known).unwrap_or_else(|error| {
        vec![Check::holds(
            "node",
            false,
            "can be looked at",
            format!("{error:#}"),
        )]
    });
    let differs = checks.into_iter().filter(|c| c.status == Status::Differs);
    let problems: Vec<Check> = differs.collect();
    Ok(NodeStatus {
        slot: running.slot,
        slots,
        trial: env.trial,
        healthy: problems.is_empty(),
        problems,
        last,
        left: Left::read(),
    })
}

fn state_of(env: &BootEnv, slot: Letter, is_there: bool) -> SlotState {
    match env.trial {
        _ if !is_there => SlotState::Empty,
        Some(trial) if trial.slot == slot => SlotState::Trial,
        _ if env.slot == slot => SlotState::Good,
        _ => SlotState::Spare,
    }
}

impl fmt::Display for NodeStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for status in &self.slots {
            let SlotStatus { slot, version, .. } = status;
            let state = match status.state {
                SlotState::Good => "good",
                SlotState::Trial => "on trial",
                SlotState::Spare => "can be gone back to with `harrow rollback`",
                SlotState::Empty => "empty",
            };
            write!(f, "slot {slot}   ")?;
            if let Some(version) = version {
                write!(f, "{version}, ")?;
            }
            let runs = if *slot == self.slot { ", runs" } else { "" };
            writeln!(f, "{state}{runs}")?;
        }
        if let Some(Trial { slot, tries }) = self.trial {
            match slot == self.slot {
                true => writeln!(f, "trial    of slot {slot}, this boot; tries left: {tries}")?,
                false => writeln!(
                    f,
                    "trial    of slot {slot}, with the next boot; tries left: {tries}"
                )?,
            }
        }
        match self.healthy {
            true => writeln!(f, "health   good")?,
            false => writeln!(f, "health   NOT GOOD")?,
        }
        for Check {
            check,
            expected,
            actual,
            ..
        } in &self.problems
        {
            writeln!(f, "           {check}: {actual} (should be: {expected})")?;
        }
        match &self.last {
            Some(last) => writeln!(f, "last     {last}")?,
            None => writeln!(f, "last     no upgrade yet")?,
        }
        for boot in self.last.iter().flat_map(|last| &last.failed_boots) {
            writeln!(f, "           {boot}")?;
        }
        if let Some(left) = &self.left {
            writeln!(
                f,
                "left     slot {} was left: {}, {}",
                left.slot, left.why, left.since
            )?;
            for boot in &left.failed_boots {
                writeln!(f, "           {boot}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slot_has_one_state() {
        let mut env = BootEnv::new(Letter::A);
        assert_eq!(state_of(&env, Letter::A, true), SlotState::Good);
        assert_eq!(state_of(&env, Letter::B, true), SlotState::Spare);
        assert_eq!(state_of(&env, Letter::B, false), SlotState::Empty);
        env.trial = Some(Trial {
            slot: Letter::B,
            tries: 3,
        });
        assert_eq!(state_of(&env, Letter::B, true), SlotState::Trial);
    }

    #[test]
    fn a_person_sees_what_runs_and_what_comes() {
        let slot = |slot, state, version: Option<&str>| SlotStatus {
            slot,
            state,
            version: version.map(str::to_owned),
            root_hash: None,
        };
        let status = NodeStatus {
            slot: Letter::A,
            slots: vec![
                slot(Letter::A, SlotState::Good, Some("1.0")),
                slot(Letter::B, SlotState::Trial, Some("1.1")),
            ],
            trial: Some(Trial {
                slot: Letter::B,
                tries: 3,
            }),
            healthy: true,
            problems: Vec::new(),
            last: None,
            left: None,
        };
        assert_eq!(
            status.to_string(),
            "slot a   1.0, good, runs\nslot b   1.1, on trial\n\
             trial    of slot b, with the next boot; tries left: 3\nhealth   good\nlast     no upgrade yet\n"
        );
    }
}
