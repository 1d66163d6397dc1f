use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::bail;

use super::*;
use crate::accel::Accel;
use crate::base::Bases;
use crate::output::Output;

#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

const SHARED: Load = Load::Shared { memory_mib: 1 };

fn good(stage: &mut Stage) -> anyhow::Result<()> {
    let disk = stage.create_disk("disk.img", 1 << 20)?;
    stage.say(format!("has {}", disk.display()));
    stage.measure(
        "a time",
        Duration::from_secs(2),
        Some(Duration::from_secs(1)),
    );
    Ok(())
}

fn bad(stage: &mut Stage) -> anyhow::Result<()> {
    stage.create_disk("disk.img", 1 << 20)?;
    bail!("it is broken\nbadly")
}

fn mad(_: &mut Stage) -> anyhow::Result<()> {
    panic!("mad")
}

/// Fails once as QEMU's translator does; what it leaves behind is gone with the second try.
fn unlucky(stage: &mut Stage) -> anyhow::Result<()> {
    let mark = stage.settings.out.join("tried");
    if !mark.exists() {
        std::fs::write(mark, "")?;
        std::fs::write(stage.folder.join("rest"), "")?;
        bail!("the guest died: Oops: int3")
    }
    anyhow::ensure!(!stage.folder.join("rest").exists(), "not from the start");
    Ok(())
}

const GOOD: Scenario = scenario("good", Load::Alone, good);
const OTHER: Scenario = scenario("other", SHARED, good);
const BAD: Scenario = scenario("bad", SHARED, bad);
const MAD: Scenario = scenario("mad", SHARED, mad);
const UNLUCKY: Scenario = scenario("unlucky", SHARED, unlucky);

const fn scenario(
    name: &'static str,
    load: Load,
    run: fn(&mut Stage) -> anyhow::Result<()>,
) -> Scenario {
    Scenario {
        name,
        about: "a story",
        load,
        run,
    }
}

fn run_in(
    folder: &Path,
    when_failed: WhenDropped,
    jobs: usize,
    scenarios: &[&'static Scenario],
) -> (Vec<Option<Outcome>>, String) {
    let said = Said::default();
    let settings = Settings {
        iso: None,
        out: folder.to_owned(),
        accel: Accel::Tcg,
        when_failed,
        output: Output::new(said.clone()),
        doubles: folder.join("double"),
        bases: Arc::new(Bases::new(&folder.join("base"))),
    };
    let room = Room {
        jobs,
        memory_mib: 10,
    };
    let outcomes = run_scenarios(&settings, scenarios, room);
    let said = String::from_utf8(said.0.lock().unwrap().clone()).unwrap();
    (outcomes, said)
}

#[test]
fn each_scenario_is_played_and_what_failed_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let scenarios: [&'static Scenario; 5] = [&GOOD, &OTHER, &BAD, &MAD, &UNLUCKY];
    let (outcomes, said) = run_in(folder.path(), WhenDropped::SwitchOff, 2, &scenarios);
    let errors: Vec<(&str, String)> = outcomes
        .iter()
        .flatten()
        .filter_map(|it| Some((it.name, format!("{:#}", it.error.as_ref()?))))
        .collect();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert_eq!(errors[0], ("bad", "it is broken\nbadly".to_owned()));
    assert!(
        errors[1].0 == "mad" && errors[1].1 == "panicked: mad",
        "{errors:?}"
    );
    assert_eq!(outcomes.iter().flatten().count(), 5);
    // A disk is kept for who looks into a failure, and only then.
    for (name, is_kept) in [("good", false), ("other", false), ("bad", true)] {
        assert_eq!(folder.path().join(name).join("disk.img").exists(), is_kept);
    }
    // Times have limits only for who was alone.
    let limit = |id: usize| outcomes[id].as_ref().unwrap().figures[0].limit.is_some();
    assert!(limit(0) && !limit(1));
    for line in said.lines() {
        let name = line.split(" | ").next().unwrap().trim_end();
        assert!(scenarios.iter().any(|it| it.name == name), "{line}");
    }
    for expected in [
        "good                | passed, in 0 s",
        "bad                 | FAILED after 0 s: it is broken\nbad                 | badly",
        "bad                 | evidence: ",
        "unlucky             | QEMU's translator failed, once more from the start: ",
        "unlucky             | passed",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

#[test]
fn a_kept_failure_is_the_last_thing_that_happens() {
    let folder = tempfile::tempdir().unwrap();
    let (outcomes, said) = run_in(folder.path(), WhenDropped::Keep, 1, &[&BAD, &GOOD]);
    assert!(outcomes[0].is_some() && outcomes[1].is_none(), "{said}");
}

#[test]
fn one_at_a_time_times_have_their_limits() {
    let folder = tempfile::tempdir().unwrap();
    let (outcomes, _) = run_in(folder.path(), WhenDropped::SwitchOff, 1, &[&OTHER]);
    assert!(outcomes[0].as_ref().unwrap().figures[0].limit.is_some());
}
