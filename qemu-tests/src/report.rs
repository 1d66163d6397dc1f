//! The table of measured times at the end of a run. Pure.

use std::fmt::Write as _;

use crate::stage::Figure;

/// Renders the figures of all scenarios, with what they should not exceed.
pub fn render_figures<'a>(figures: impl IntoIterator<Item = (&'a str, &'a Figure)>) -> String {
    let mut table = String::new();
    for (scenario, figure) in figures {
        let took = figure.took.as_secs_f64();
        let verdict = match figure.limit {
            None => String::new(),
            Some(limit) if figure.took <= limit => format!("  of {} s", limit.as_secs()),
            Some(limit) => format!("  of {} s  OVER LIMIT", limit.as_secs()),
        };
        // Writing to a String can't fail.
        writeln!(
            table,
            "{scenario:<20} {:<50} {took:7.1} s{verdict}",
            figure.what
        )
        .ok();
    }
    table
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

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
            let table = render_figures([("bios-cd", &figure)]);
            assert!(
                table.starts_with("bios-cd  ") && table.ends_with(end),
                "{table}"
            );
        }
    }
}
