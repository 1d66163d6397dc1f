//! The tables at the end of a run: measured times, and what became of each scenario. Pure.

use std::fmt::Write as _;

use crate::runner::Outcome;

/// Renders the figures of all scenarios, with what they should not exceed.
pub fn render_figures<'a>(outcomes: impl IntoIterator<Item = &'a Outcome>) -> String {
    let mut table = String::new();
    for outcome in outcomes {
        for figure in &outcome.figures {
            let took = figure.took.as_secs_f64();
            let verdict = match figure.limit {
                None => String::new(),
                Some(limit) if figure.took <= limit => format!("  of {} s", limit.as_secs()),
                Some(limit) => format!("  of {} s  OVER LIMIT", limit.as_secs()),
            };
            // Writing to a String can't fail.
            writeln!(
                table,
                "{:<20} {:<50} {took:7.1} s{verdict}",
                outcome.name, figure.what
            )
            .ok();
        }
    }
    table
}

/// Renders what became of each scenario, and a last line with the sum.
pub fn render_results(results: &[(&str, &Option<Outcome>)]) -> String {
    let mut table = String::new();
    let mut passed = 0;
    for (name, outcome) in results {
        let (word, took) = match outcome {
            None => ("not run", String::new()),
            Some(outcome) => {
                let is_passed = outcome.error.is_none();
                passed += usize::from(is_passed);
                let word = if is_passed { "passed" } else { "FAILED" };
                (word, format!("{:7.1} s", outcome.took.as_secs_f64()))
            }
        };
        writeln!(
            table,
            "{}",
            format!("{name:<20} {word:<8} {took}").trim_end()
        )
        .ok();
    }
    writeln!(table, "{passed} of {} passed", results.len()).ok();
    table
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::stage::Figure;

    fn outcome(name: &'static str, figures: Vec<Figure>, error: Option<&'static str>) -> Outcome {
        Outcome {
            name,
            took: Duration::from_millis(1500),
            figures,
            error: error.map(anyhow::Error::msg),
        }
    }

    #[test]
    fn a_figure_over_its_limit_stands_out() {
        let limit = Some(Duration::from_secs(90));
        for (millis, limit, end) in [
            (90_000, limit, "   90.0 s  of 90 s\n"),
            (90_100, limit, "   90.1 s  of 90 s  OVER LIMIT\n"),
            (900_000, None, "  900.0 s\n"),
        ] {
            let figure = Figure {
                what: "to ssh".into(),
                took: Duration::from_millis(millis),
                limit,
            };
            let table = render_figures([&outcome("bios-cd", vec![figure], None)]);
            assert!(
                table.starts_with("bios-cd  ") && table.ends_with(end),
                "{table}"
            );
        }
    }

    #[test]
    fn each_scenario_has_a_result() {
        let (good, bad) = (outcome("a", vec![], None), outcome("b", vec![], Some("no")));
        let (good, bad) = (Some(good), Some(bad));
        let table = render_results(&[("a", &good), ("b", &bad), ("c", &None)]);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(
            lines,
            [
                "a                    passed       1.5 s",
                "b                    FAILED       1.5 s",
                "c                    not run",
                "1 of 3 passed",
            ]
        );
    }
}
