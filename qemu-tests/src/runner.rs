//! A run of scenarios from their start to the tables at its end.
//!
//! In: [`Settings`], the scenarios and the [`Room`] of the machine. Out: an [`Outcome`] for each. Each scenario has a
//! folder, ports and lines of its own.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use anyhow::anyhow;

use crate::scenarios::Scenario;
use crate::schedule::{Load, Room, run};
use crate::stage::{Figure, Settings, Stage};
use crate::vm::WhenDropped;

/// What became of a scenario.
#[derive(Debug)]
pub struct Outcome {
    /// Its name.
    pub name: &'static str,
    /// How long it took, both tries of one that had to be tried again.
    pub took: Duration,
    /// What it measured.
    pub figures: Vec<Figure>,
    /// Why it failed.
    pub error: Option<anyhow::Error>,
}

/// Runs `scenarios`; the outcome of each, nothing of those that did not start.
pub fn run_scenarios(
    settings: &Settings,
    scenarios: &[&'static Scenario],
    room: Room,
) -> Vec<Option<Outcome>> {
    let loads: Vec<Load> = scenarios.iter().map(|scenario| scenario.load).collect();
    run(
        &loads,
        room,
        |id| {
            let scenario = scenarios[id];
            let is_alone = room.jobs == 1 || scenario.load == Load::Alone;
            play(settings, scenario, is_alone)
        },
        |outcome| outcome.error.is_none() || settings.when_failed != WhenDropped::Keep,
    )
}

fn play(settings: &Settings, scenario: &'static Scenario, is_alone: bool) -> Outcome {
    let output = settings.output.named(scenario.name);
    output.say(scenario.about);
    let start = Instant::now();
    let mut attempt = Attempt::run(settings, scenario, is_alone);
    if let Some(error) = &attempt.error
        && settings.accel.is_at_fault(&format!("{error:#}"))
    {
        output.say(format!(
            "QEMU's translator failed, once more from the start: {error:#}"
        ));
        // Its machine is off before the next is on.
        drop(attempt);
        attempt = Attempt::run(settings, scenario, is_alone);
    }
    let took = start.elapsed();
    let seconds = took.as_secs();
    match &attempt.error {
        None => output.say(format!("passed, in {seconds} s")),
        Some(error) => {
            output.say(format!("FAILED after {seconds} s: {error:#}"));
            if let Some(stage) = &mut attempt.stage {
                stage.collect_evidence();
            }
        }
    }
    Outcome {
        name: scenario.name,
        took,
        figures: attempt
            .stage
            .map_or(Vec::new(), |mut stage| std::mem::take(&mut stage.figures)),
        error: attempt.error,
    }
}

/// A scenario that was played once, on a stage of its own.
struct Attempt {
    stage: Option<Stage>,
    error: Option<anyhow::Error>,
}

impl Attempt {
    fn run(settings: &Settings, scenario: &Scenario, is_alone: bool) -> Self {
        let mut stage = match Stage::new(settings.clone(), scenario.name) {
            Ok(stage) => stage,
            Err(error) => {
                return Self {
                    stage: None,
                    error: Some(error),
                };
            }
        };
        stage.is_alone = is_alone;
        let played = catch_unwind(AssertUnwindSafe(|| (scenario.run)(&mut stage)))
            .unwrap_or_else(|panic| Err(anyhow!("panicked: {}", words_of(&*panic))));
        let error = played.and_then(|()| stage.clear()).err();
        Self {
            stage: Some(stage),
            error,
        }
    }
}

fn words_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without words")
}

#[cfg(test)]
#[path = "runner_tests.rs"]
mod tests;
