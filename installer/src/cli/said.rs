//! What a person says about the config on the command line, as sources.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use harrow::config::{Assignment, Source, SourceKind, cmdline};
use harrow::install::run::read_config;

/// What the person says about the config.
#[derive(Debug, ClapArgs)]
pub struct Said {
    /// A config file; of several, the later is stronger
    #[arg(long, value_name = "FILE")]
    pub config: Vec<PathBuf>,
    /// Set a key of the config, such as os.hostname=node-1; stronger than files
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_assignment)]
    pub set: Vec<Assignment>,
}

impl Said {
    /// The sources, with the files read.
    pub fn sources(&self) -> anyhow::Result<Vec<Source>> {
        let mut sources = Vec::new();
        for path in &self.config {
            sources.push(read_config(path)?);
        }
        sources.extend(set_source(&self.set));
        Ok(sources)
    }
}

/// The source of `--set`; `None` without any.
pub fn set_source(set: &[Assignment]) -> Option<Source> {
    let numbered = set.iter().zip(1..).map(|(assignment, word)| Assignment {
        word,
        ..assignment.clone()
    });
    let words: Vec<Assignment> = numbered.collect();
    (!words.is_empty()).then(|| Source::words(SourceKind::Set, "--set", words))
}

/// `KEY=VALUE`.
pub fn parse_assignment(text: &str) -> Result<Assignment, String> {
    cmdline::parse_set(text).map_err(|wrong| format!("{}, {}", wrong.message, wrong.hint))
}
