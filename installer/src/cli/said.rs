//! What a person says about the config on the command line, as sources.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args as ClapArgs;
use harrow::config::{Assignment, Source, SourceKind, cmdline};
use harrow::failure::{Failure, Kind};
use harrow::install::run::read_config;
use harrow::live::{self, Places, Reach};

/// What the person says about the config.
#[derive(Debug, ClapArgs)]
pub struct Said {
    /// A config file; of several, the later is stronger
    #[arg(long, value_name = "FILE")]
    pub config: Vec<PathBuf>,
    /// Set a key of the config, such as os.hostname=node-1; stronger than files
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_assignment)]
    pub set: Vec<Assignment>,
    #[command(flatten)]
    pub far: Far,
    /// On the live medium, use only what is given here: no seed disk, no config of the medium,
    /// nothing of the kernel's command line
    #[arg(long)]
    pub alone: bool,
}

/// Configs that are not files.
#[derive(Debug, ClapArgs)]
pub struct Far {
    /// A seed disk or an image of one (NoCloud, ConfigDrive); weaker than files
    #[arg(long, value_name = "PATH")]
    pub seed: Vec<PathBuf>,
    /// How long the network may take to give what the config names
    #[arg(long, value_name = "SECONDS", default_value_t = 180)]
    pub wait: u64,
}

/// Sources, and why all else could not be had.
#[derive(Debug, Default)]
pub struct Gathered {
    /// What there is.
    pub sources: Vec<Source>,
    /// What there is not.
    pub errors: Vec<anyhow::Error>,
}

impl Gathered {
    /// Adds sources, or why they could not be had.
    pub fn add(&mut self, sources: anyhow::Result<impl IntoIterator<Item = Source>>) {
        match sources {
            Ok(sources) => self.sources.extend(sources),
            Err(error) => self.errors.push(error),
        }
    }

    /// Adds what is said on the command line: seed disks, files and single keys.
    pub fn add_said(&mut self, far: &Far, files: &[PathBuf], set: &[Assignment]) {
        for path in &far.seed {
            self.add(read_seed(path).map(Some));
        }
        for path in files {
            self.add(read_config(path).map(Some));
        }
        self.sources.extend(set_source(set));
    }

    /// The sources, when every one could be had.
    pub fn all(self) -> anyhow::Result<Vec<Source>> {
        let first = self.errors.into_iter().next();
        first.map_or(Ok(self.sources), Err)
    }
}

fn read_seed(path: &Path) -> anyhow::Result<Source> {
    let source = live::read_some_seed(path, &|line| eprintln!("{line}"))?;
    source.ok_or_else(|| {
        Failure::error(
            Kind::ConfigMissing,
            format!("{} has no user-data", path.display()),
            "FAT or ISO 9660, with the label CIDATA and a file user-data, or config-2 and \
             openstack/latest/user_data",
        )
    })
}

impl Far {
    /// How far what a config names is followed.
    pub fn reach(&self) -> Reach {
        Reach {
            patience: Duration::from_secs(self.wait),
            ..Reach::default()
        }
    }
}

impl Said {
    /// All sources: what is given here, with what `machine` brings, and the config at the URL
    /// that any of them names.
    pub fn sources(
        &self,
        machine: Option<&Places>,
        tell: &dyn Fn(String),
    ) -> anyhow::Result<Vec<Source>> {
        let reach = self.far.reach();
        let mut gathered = Gathered::default();
        if let Some(places) = machine {
            gathered.sources = live::find_sources(places, &reach, tell)?;
        }
        gathered.add_said(&self.far, &self.config, &self.set);
        let mut sources = gathered.all()?;
        live::follow_config_url(&mut sources, &reach, tell)?;
        Ok(sources)
    }
}

/// The source of `--set`; `None` without any.
fn set_source(set: &[Assignment]) -> Option<Source> {
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

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use harrow::config::check_sources;
    use harrow::sys::cmdline::Cmdline;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        said: Said,
    }

    #[test]
    fn what_is_given_is_merged_over_what_the_machine_brings() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::create_dir(path("block")).unwrap();
        std::fs::write(path("mounts"), "").unwrap();
        std::fs::write(path("a.yaml"), "os: {hostname: a, modules: [m]}").unwrap();
        let places = Places {
            line: Cmdline::parse("harrow.os.hostname=line harrow.os.ntp_servers=10.0.0.3"),
            defaults: path("none"),
            block: path("block"),
            dev: path("dev"),
            mounts: path("mounts"),
            patience: Duration::ZERO,
        };
        let file = path("a.yaml").display().to_string();
        let hostname = |more: &[&str], machine: Option<&Places>| {
            let line = [&["harrow", "--config", &file][..], more].concat();
            let said = Line::parse_from(line).said;
            let sources = said.sources(machine, &|_| {}).unwrap();
            let os = check_sources(&sources).answers.os;
            assert_eq!(os.modules, ["m"]);
            assert_eq!(os.ntp_servers.len(), usize::from(machine.is_some()));
            os.hostname.unwrap()
        };
        assert_eq!(hostname(&[], Some(&places)), "line");
        assert_eq!(hostname(&[], None), "a");
        assert_eq!(
            hostname(&["--set", "os.hostname=set"], Some(&places)),
            "set"
        );
    }
}
