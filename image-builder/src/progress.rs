//! What a person sees while a build runs: one line per stage with its time.
//!
//! In: stages as they begin and end. Out: lines such as `[2/6] base system ... 71.2 s`.

use std::io::Write;
use std::time::Instant;

/// How a stage came to its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// Its result was in the cache.
    Cached,
}

/// Counts and times the stages of a build.
#[derive(Debug)]
pub struct Progress<W> {
    out: W,
    stages: usize,
    current: usize,
}

impl<W: Write> Progress<W> {
    /// Progress of a build with this number of stages.
    pub fn new(out: W, stages: usize) -> Self {
        Self {
            out,
            stages,
            current: 0,
        }
    }

    /// For lines between two stages.
    pub fn lines(&mut self) -> &mut W {
        &mut self.out
    }

    /// Runs a stage and prints its line; a stage that fails ends its line with `failed`.
    pub fn stage<T>(
        &mut self,
        name: &str,
        run: impl FnOnce() -> anyhow::Result<(T, Outcome)>,
    ) -> anyhow::Result<T> {
        self.current += 1;
        // A terminal or pipe that is gone must not end a build.
        write!(self.out, "[{}/{}] {name} ... ", self.current, self.stages).ok();
        self.out.flush().ok();
        let start = Instant::now();
        let result = run();
        let seconds = start.elapsed().as_secs_f64();
        match &result {
            Ok((_, Outcome::Done)) => writeln!(self.out, "{seconds:.1} s").ok(),
            Ok((_, Outcome::Cached)) => writeln!(self.out, "cached").ok(),
            Err(_) => writeln!(self.out, "failed after {seconds:.1} s").ok(),
        };
        result.map(|(value, _)| value)
    }
}

/// A number of bytes as people read it.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes.div_ceil(1000)),
        1_000_000..10_000_000_000 => format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10),
        _ => format!("{} GB", bytes / 1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_is_one_line() {
        let mut out = Vec::new();
        let mut progress = Progress::new(&mut out, 3);
        progress.stage("one", || Ok(((), Outcome::Done))).unwrap();
        progress.stage("two", || Ok(((), Outcome::Cached))).unwrap();
        progress
            .stage("three", || -> anyhow::Result<((), Outcome)> {
                anyhow::bail!("no")
            })
            .unwrap_err();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "[1/3] one ... 0.0 s\n[2/3] two ... cached\n[3/3] three ... failed after 0.0 s\n"
        );
    }

    #[test]
    fn sizes_are_readable() {
        for (bytes, text) in [
            (0, "0 kB"),
            (1, "1 kB"),
            (999_999, "1000 kB"),
            (1_000_000, "1.0 MB"),
            (253_950_000, "253.9 MB"),
            (12_000_000_000, "12 GB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
