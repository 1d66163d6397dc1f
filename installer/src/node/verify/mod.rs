//! Compares the running node with its config.
//!
//! In: the config on OEM and the machine as it is. Out: a [`VerifyReport`], one line for each
//! thing that was looked at. Nothing is changed, and no secret is shown.

mod files;
mod network;
mod services;
mod system;

use std::fmt;
use std::path::Path;

use serde::Serialize;

use crate::config::Config;

use super::apply::RunningNode;
use super::boot::BootParams;
use super::source;
use super::state::{ApplyState, Role};

pub use services::failed_units;

/// How to verify. Nothing to choose yet.
#[derive(Debug, Clone, Copy, Default)]
pub struct VerifyOptions;

/// Everything that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// The checks, in the order of their names' groups.
    pub checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What, such as `file /etc/hostname`.
    pub check: String,
    /// What came out.
    pub status: Status,
    /// What the config says; empty when there is nothing to compare with.
    pub expected: String,
    /// What the machine says, or why nothing was compared.
    pub actual: String,
}

/// The outcome of a [`Check`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As the config says.
    Ok,
    /// Not as the config says.
    Differs,
    /// Could not be compared, and need not be.
    Skipped,
}

impl Check {
    /// A check of two texts that should be equal.
    pub fn equal(
        check: impl Into<String>,
        expected: impl Into<String>,
        actual: impl Into<String>,
    ) -> Self {
        let (expected, actual) = (expected.into(), actual.into());
        let holds = expected == actual;
        Self::holds(check, holds, expected, actual)
    }

    /// A check whose outcome is known.
    pub fn holds(
        check: impl Into<String>,
        holds: bool,
        expected: impl Into<String>,
        actual: impl Into<String>,
    ) -> Self {
        Self {
            check: check.into(),
            status: if holds { Status::Ok } else { Status::Differs },
            expected: expected.into(),
            actual: actual.into(),
        }
    }

    /// A check that was not made.
    pub fn skipped(check: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            check: check.into(),
            status: Status::Skipped,
            expected: String::new(),
            actual: why.into(),
        }
    }

    /// A check from a value that could not always be had; an error differs.
    pub fn tried(check: &str, expected: &str, outcome: anyhow::Result<(bool, String)>) -> Self {
        match outcome {
            Ok((holds, actual)) => Self::holds(check, holds, expected, actual),
            Err(error) => Self::holds(check, false, expected, format!("{error:#}")),
        }
    }
}

impl VerifyReport {
    /// Whether nothing differs.
    pub fn is_ok(&self) -> bool {
        self.checks.iter().all(|c| c.status != Status::Differs)
    }
}

impl fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut counts = [0usize; 3];
        for check in &self.checks {
            match check.status {
                Status::Ok => {
                    counts[0] += 1;
                    writeln!(f, "ok       {}", check.check)?;
                }
                Status::Differs => {
                    counts[1] += 1;
                    writeln!(
                        f,
                        "DIFFERS  {}\n           expected: {}\n           actual:   {}",
                        check.check, check.expected, check.actual
                    )?;
                }
                Status::Skipped => {
                    counts[2] += 1;
                    writeln!(f, "skipped  {} ({})", check.check, check.actual)?;
                }
            }
        }
        let [ok, differs, skipped] = counts;
        write!(f, "{ok} ok, {differs} differ, {skipped} skipped")
    }
}

/// What the checks look at.
struct Node<'a> {
    config: &'a Config,
    params: &'a BootParams,
    state: &'a ApplyState,
}

/// Looks at what a node must have to be healthy. Units in `known` may have failed.
pub fn vitals(known: &[String]) -> anyhow::Result<Vec<Check>> {
    let whole = Whole::read()?;
    let node = whole.node();
    let mut checks = vec![
        boot_check(&whole.running.state),
        system::check_root(&whole.running.params),
        system::check_var(),
        services::check_started(),
        services::check_units(known),
    ];
    checks.extend(network::check(&node));
    checks.push(services::check_cluster(&node));
    Ok(checks)
}

/// Looks at the root alone: what a slot itself has to answer for.
pub fn root() -> anyhow::Result<Check> {
    Ok(system::check_root(&BootParams::probe()?))
}

/// The node, read once.
struct Whole {
    running: RunningNode,
    config: Config,
}

impl Whole {
    fn read() -> anyhow::Result<Self> {
        Ok(Self {
            running: RunningNode::probe()?,
            config: source::read_config(Path::new(source::OEM_DIR))?,
        })
    }

    fn node(&self) -> Node<'_> {
        Node {
            config: &self.config,
            params: &self.running.params,
            state: &self.running.state,
        }
    }
}

/// Looks at everything.
pub fn run(_options: &VerifyOptions) -> anyhow::Result<VerifyReport> {
    let whole = Whole::read()?;
    let rendered = whole.running.render(&whole.config);
    let (node, state) = (whole.node(), &whole.running.state);
    let mut checks = vec![boot_check(state)];
    checks.extend(system::check(&node));
    checks.extend(files::check(&rendered, Path::new("/")));
    checks.extend(network::check(&node));
    checks.extend(services::check(&node));
    Ok(VerifyReport { checks })
}

fn boot_check(state: &ApplyState) -> Check {
    let mut troubles = state.problems.clone();
    if state.role == Role::Degraded {
        troubles.push("/var is in memory".to_owned());
    }
    if !state.config_used {
        troubles.push("the config was not used".to_owned());
    }
    let actual = if troubles.is_empty() {
        "no problem".to_owned()
    } else {
        troubles.join("; ")
    };
    Check::equal("boot", "no problem", actual)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_difference_makes_a_report_differ_and_is_shown() {
        let mut report = VerifyReport {
            checks: vec![Check::equal("a", "1", "1"), Check::skipped("b", "no clock")],
        };
        assert!(report.is_ok());
        report.checks.push(Check::equal("c", "1", "2"));
        assert!(!report.is_ok());
        let text = report.to_string();
        assert!(
            text.contains("DIFFERS  c\n           expected: 1\n           actual:   2"),
            "{text}"
        );
        assert!(text.ends_with("1 ok, 1 differ, 1 skipped"), "{text}");
    }

    #[test]
    fn a_degraded_boot_differs() {
        let good = ApplyState {
            role: Role::Node,
            config_used: true,
            machine_id: String::new(),
            problems: Vec::new(),
            milliseconds: 1,
        };
        assert_eq!(boot_check(&good).status, Status::Ok);
        let bad = ApplyState {
            role: Role::Degraded,
            ..good.clone()
        };
        assert_eq!(boot_check(&bad).status, Status::Differs);
        let bad = ApplyState {
            config_used: false,
            ..good
        };
        assert_eq!(boot_check(&bad).status, Status::Differs);
    }
}
