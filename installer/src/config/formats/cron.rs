//! Schedules, as cron has them.
//!
//! Fields and ranges are those of `github.com/robfig/cron/v3` (`ParseStandard`), by which RKE2
//! reads `etcd-snapshot-schedule-cron`: Sunday is 0 and never 7.

use super::{Wrong, made_of, quoted, wrong};

const HINT: &str = "five fields as for cron (minute hour day month weekday), such as 0 */12 * * *";

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// One field: its name, least and largest number, and words for the numbers from the least on.
struct Field(&'static str, u32, u32, &'static [&'static str]);

const FIELDS: [Field; 5] = [
    Field("minute", 0, 59, &[]),
    Field("hour", 0, 23, &[]),
    Field("day of the month", 1, 31, &[]),
    Field("month", 1, 12, &MONTHS),
    Field("day of the week", 0, 6, &DAYS),
];

/// When something is done: five fields, or a word such as `@daily`.
pub fn cron(text: &str) -> Result<(), Wrong> {
    let words = [
        "@hourly",
        "@daily",
        "@midnight",
        "@weekly",
        "@monthly",
        "@yearly",
        "@annually",
    ];
    // A duration as Go has it, in units that make sense for copies.
    let good = |b: u8| b.is_ascii_digit() || b"hm".contains(&b);
    let every = text.strip_prefix("@every ").is_some_and(|time| {
        made_of(time, 16, good)
            && time.starts_with(|c: char| c.is_ascii_digit())
            && time.ends_with(['h', 'm'])
    });
    if every || words.contains(&text) {
        return Ok(());
    }
    let parts: Vec<&str> = text.split_whitespace().collect();
    if parts.len() != FIELDS.len() {
        return wrong(format!("{} is not a schedule", quoted(text)), HINT);
    }
    for (part, field) in parts.iter().zip(&FIELDS) {
        if !part.split(',').all(|range| field.takes(range)) {
            let Field(name, least, most, _) = field;
            return wrong(
                format!("{} is no {name} of a schedule", quoted(part)),
                format!("{least} to {most}, *, lists (1,2), ranges (1-5) and steps (*/2)"),
            );
        }
    }
    Ok(())
}

impl Field {
    /// Whether it takes `*`, a number, a range, any of them with a step.
    fn takes(&self, text: &str) -> bool {
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (text, None),
        };
        let step_fits = step.is_none_or(|s| number(s).is_some_and(|n| n > 0));
        let range_fits = match range.split_once('-') {
            _ if range == "*" || range == "?" => true,
            Some((a, b)) => matches!((self.read(a), self.read(b)), (Some(a), Some(b)) if a <= b),
            None => self.read(range).is_some(),
        };
        step_fits && range_fits
    }

    /// A number or word of the field.
    fn read(&self, text: &str) -> Option<u32> {
        let Field(_, least, most, words) = self;
        let word = (*least..).zip(words.iter());
        let mut word = word.filter(|(_, word)| word.eq_ignore_ascii_case(text));
        let found = word.next().map(|(n, _)| n).or_else(|| number(text))?;
        (*least..=*most).contains(&found).then_some(found)
    }
}

fn number(text: &str) -> Option<u32> {
    let digits = text.len() <= 4 && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules() {
        for good in [
            "0 */12 * * *",
            "5,35 0-6/2 1 jan-MAR mon",
            "59 23 31 12 6",
            "* * ? * *",
            "@daily",
            "@every 1h30m",
            "0/15 * * * *",
        ] {
            assert_eq!(cron(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "daily",
            "@often",
            "@every day",
            "@every 12",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 7",
            "*/0 * * * *",
            "5-1 * * * *",
            "* * * * * *",
            "1,, * * * *",
            "-1 * * * *",
            "+1 * * * *",
            "* * * foo *",
            "1/ * * * *",
        ] {
            assert!(cron(bad).is_err(), "{bad}");
        }
        assert!(cron("99 * * * *").unwrap_err().message.contains("minute"));
    }
}
