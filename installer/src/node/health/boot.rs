//! What kind of boot this one is, for the node's health.
//!
//! In: GRUB's environment block, the slot that runs, the last move. Out: [`Boot`]. Pure.

use crate::install::grubenv::{BootEnv, Letter};

use super::super::record::{Move, MoveState};

/// A boot, by what it means for the slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boot {
    /// Of the good slot.
    Good,
    /// Of the slot on trial; so many tries were given up before.
    Trial {
        /// How many.
        before: u8,
    },
    /// Of the good slot, because the trial got nowhere.
    FellBack {
        /// The slot that was on trial.
        from: Letter,
        /// Tries that it had.
        used: u8,
    },
    /// Of the slot that GRUB went to because the good one did not come up.
    Instead {
        /// The one that was the good slot.
        of: Letter,
    },
    /// Of the other slot: somebody chose it, or GRUB could not load the good one.
    Chosen,
}

/// Judges this boot.
pub fn judge(env: &BootEnv, running: Letter, boot_id: &str, last: Option<&Move>) -> Boot {
    if let Some(trial) = env.trial {
        let used = 3u8.saturating_sub(trial.tries);
        if trial.slot == running {
            return Boot::Trial {
                before: used.saturating_sub(1),
            };
        }
        // The trial is to begin with the next boot, not with this one.
        let waits =
            last.is_some_and(|m| m.boot_id == boot_id && m.state == MoveState::Trial) && used == 0;
        if !waits {
            return Boot::FellBack {
                from: trial.slot,
                used,
            };
        }
    }
    if running != env.slot {
        return Boot::Chosen;
    }
    match env.left.filter(|left| *left != running) {
        Some(left) => Boot::Instead { of: left },
        None => Boot::Good,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install::grubenv::Trial;
    use crate::node::record::{MoveKind, SlotVersion};

    fn env(trial: Option<(Letter, u8)>, left: Option<Letter>) -> BootEnv {
        let mut env = BootEnv::new(Letter::A);
        env.trial = trial.map(|(slot, tries)| Trial { slot, tries });
        env.left = left;
        env
    }

    fn staged(boot_id: &str) -> Move {
        let slot = |slot| SlotVersion {
            slot,
            version: None,
        };
        Move {
            kind: MoveKind::Upgrade,
            from: slot(Letter::A),
            to: slot(Letter::B),
            started: String::new(),
            boot_id: boot_id.into(),
            failed_units: Vec::new(),
            state: MoveState::Trial,
            since: String::new(),
            failed_boots: Vec::new(),
        }
    }

    #[test]
    fn each_state_of_the_environment_block_is_one_kind_of_boot() {
        use Letter::{A, B};
        let last = staged("now");
        let fell = |used| Boot::FellBack { from: B, used };
        for (env, running, boot, expected) in [
            (env(None, None), A, "now", Boot::Good),
            (env(None, None), B, "now", Boot::Chosen),
            (
                env(Some((B, 2)), None),
                B,
                "next",
                Boot::Trial { before: 0 },
            ),
            (
                env(Some((B, 0)), None),
                B,
                "next",
                Boot::Trial { before: 2 },
            ),
            // Staged in this very boot: it has not begun.
            (env(Some((B, 3)), None), A, "now", Boot::Good),
            // The next boot should have been its trial.
            (env(Some((B, 3)), None), A, "next", fell(0)),
            (env(Some((B, 2)), None), A, "next", fell(1)),
            (env(Some((B, 0)), None), A, "next", fell(3)),
            (env(None, Some(B)), A, "now", Boot::Instead { of: B }),
            (env(None, Some(A)), A, "now", Boot::Good),
        ] {
            let found = judge(&env, running, boot, Some(&last));
            assert_eq!(found, expected, "{env:?} {running} {boot}");
        }
    }
}
