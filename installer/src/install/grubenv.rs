//! GRUB's environment block: what the boot menu and the node tell each other.
//!
//! In: the bytes of `grubenv`. Out: [`BootEnv`], and the bytes again. Variables that are not ours stay.
//! The block is a signature line, `name=value` lines and `#` up to 1024 bytes (GRUB manual,
//! "Environment block"). GRUB rewrites it where it is, and so do we; all that ever changes lies in the
//! first 512 bytes, so a disk writes it wholly or not at all.
//!
//! | variable | who writes it | meaning |
//! |---|---|---|
//! | `slot` | node, GRUB | the good slot |
//! | `trial` | node | the slot on trial |
//! | `tries` | node: 3, GRUB: less | boots that the trial still has |
//! | `boots` | GRUB: more, node: none | boots of the good slot in a row that did not get far |
//! | `left` | GRUB, node: none | the slot that GRUB left because of `boots` |

use anyhow::{bail, ensure};
use serde::{Deserialize, Serialize};

use crate::disk::layout::Role;

/// Size of the block.
pub const SIZE: usize = 1024;
/// Boots that a trial has, and that the good slot has until the other one is booted.
pub const TRIES: u8 = 3;
const SIGNATURE: &str = "# GRUB Environment Block";
/// What a disk writes wholly or not at all.
const SECTOR: usize = 512;

/// One of the two slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Letter {
    /// Slot A.
    A,
    /// Slot B.
    B,
}

impl Letter {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// `a` or `b`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::BOTH
            .into_iter()
            .find(|letter| letter.as_str() == text)
    }

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }

    /// The other slot.
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// Its partition.
    pub fn role(self) -> Role {
        match self {
            Self::A => Role::SlotA,
            Self::B => Role::SlotB,
        }
    }
}

impl std::fmt::Display for Letter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A slot that is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// Which.
    pub slot: Letter,
    /// Boots that it still has.
    pub tries: u8,
}

/// The variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootEnv {
    /// The good slot.
    pub slot: Letter,
    /// The slot on trial.
    pub trial: Option<Trial>,
    /// Boots of the good slot that did not get far.
    pub boots: u8,
    /// The slot that GRUB left.
    pub left: Option<Letter>,
    /// What is not ours.
    others: Vec<(String, String)>,
}

impl BootEnv {
    /// A node of which nothing is known but its good slot.
    pub fn new(slot: Letter) -> Self {
        Self {
            slot,
            trial: None,
            boots: 0,
            left: None,
            others: Vec::new(),
        }
    }

    /// Reads a block. What GRUB would not take for a number counts as none.
    pub fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let text = String::from_utf8_lossy(bytes);
        let Some(body) = text.strip_prefix(SIGNATURE).filter(|_| bytes.len() == SIZE) else {
            bail!("it is no environment block of GRUB");
        };
        let mut env = Self::new(Letter::A);
        let (mut slot, mut trial, mut tries) = (None, None, 0);
        let lines = body.lines().filter_map(|line| line.split_once('='));
        for (name, value) in lines.filter(|(name, _)| !name.starts_with('#')) {
            match name {
                "slot" => slot = Letter::parse(value),
                "trial" => trial = Letter::parse(value),
                "tries" => tries = value.parse().unwrap_or(0),
                "boots" => env.boots = value.parse().unwrap_or(0),
                "left" => env.left = Letter::parse(value),
                _ => env.others.push((name.to_owned(), value.to_owned())),
            }
        }
        let Some(slot) = slot else {
            bail!("it names no good slot");
        };
        env.slot = slot;
        env.trial = trial.map(|slot| Trial { slot, tries });
        Ok(env)
    }

    /// The block's bytes.
    pub fn render(&self) -> anyhow::Result<Vec<u8>> {
        let mut lines = vec![("slot", self.slot.to_string())];
        if let Some(trial) = self.trial {
            lines.push(("trial", trial.slot.to_string()));
            lines.push(("tries", trial.tries.to_string()));
        }
        if self.boots > 0 {
            lines.push(("boots", self.boots.to_string()));
        }
        lines.extend(self.left.map(|left| ("left", left.to_string())));
        let mut text = format!("{SIGNATURE}\n");
        for (name, value) in lines {
            text += &format!("{name}={value}\n");
        }
        ensure!(
            text.len() < SECTOR / 2,
            "the environment block has too many variables"
        );
        for (name, value) in &self.others {
            text += &format!("{name}={value}\n");
        }
        ensure!(
            text.len() <= SECTOR,
            "the environment block has too many variables"
        );
        let mut block = text.into_bytes();
        block.resize(SIZE, b'#');
        Ok(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::cmd::Cmd;

    /// Judged by GRUB's own program.
    #[test]
    fn grub_editenv_reads_and_writes_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("grubenv");
        let env = BootEnv {
            trial: Some(Trial {
                slot: Letter::B,
                tries: TRIES,
            }),
            boots: 2,
            left: Some(Letter::B),
            ..BootEnv::new(Letter::A)
        };
        std::fs::write(&path, env.render().unwrap()).unwrap();
        let editenv = |args: &[&str]| {
            let cmd = Cmd::new("grub-editenv").arg(&path).args(args);
            cmd.run().unwrap().text()
        };
        let listed = editenv(&["list"]);
        assert_eq!(listed, "slot=a\ntrial=b\ntries=3\nboots=2\nleft=b\n");
        editenv(&["set", "tries=2", "kernelopts=x=y"]);
        editenv(&["unset", "left"]);
        let back = BootEnv::parse(&std::fs::read(&path).unwrap()).unwrap();
        let trial = back.trial.unwrap();
        assert_eq!((trial.slot, trial.tries, back.left), (Letter::B, 2, None));
        std::fs::write(&path, back.render().unwrap()).unwrap();
        assert!(editenv(&["list"]).contains("kernelopts=x=y\n"));
    }

    #[test]
    fn what_is_no_block_is_refused() {
        let good = BootEnv::new(Letter::B).render().unwrap();
        assert_eq!(BootEnv::parse(&good).unwrap(), BootEnv::new(Letter::B));
        assert!(BootEnv::parse(&good[..512]).is_err());
        assert!(BootEnv::parse(&[b'#'; SIZE]).is_err());
        let mut bad = good;
        let at = bad.iter().position(|b| *b == b'=').unwrap() + 1;
        bad[at] = b'c';
        assert!(BootEnv::parse(&bad).is_err(), "there is no slot c");
    }
}
