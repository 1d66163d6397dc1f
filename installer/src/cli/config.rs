//! `harrow config ...` and `harrow facts`: configs without an install.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use harrow::config::{
    self, Assignment, Code, InstallMode, Look, Mark, Problem, Problems, Severity, Source,
    SourceKind,
};
use harrow::facts::{self, Facts, Roots};
use harrow::failure::{Failure, Kind};
use harrow::install::run::read_config;
use harrow::live;
use harrow::node::change::trial;
use harrow::sys::cmdline::Cmdline;
use harrow::sys::random;
use serde_json::json;

use super::apply;
use super::render::{self, RenderArgs};
use super::said::{Far, Gathered, parse_assignment};

/// Verbs of `harrow config`.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Check configs; several are the nodes of one cluster
    ///
    /// Every problem is printed with its place, a stable code (see docs/config.md) and a hint.
    Check(CheckArgs),
    /// Show what all sources say together, with the origin of every value
    Show(ShowArgs),
    /// Write every file that the node will get
    Render(RenderArgs),
    /// Give this running node another config, as far as it can be taken up now
    ///
    /// The config is checked, what it changes is shown, and it is stored. A change of a network is
    /// on trial: it is taken back when the gateway does not answer any more, or when nobody says
    /// harrow config confirm in time.
    Apply(apply::ApplyArgs),
    /// Keep the config that is on trial: this node can be reached with it
    Confirm,
    /// The trial of a config, as a service
    #[command(hide = true)]
    Trial(apply::TrialArgs),
    /// Print a config with today's spelling of its keys, the password hashed; comments are lost
    Convert {
        /// The config file; - for standard input
        file: PathBuf,
    },
    /// Print a commented config to begin with
    Example {
        /// What the node is to do
        #[arg(value_enum, default_value = "create")]
        mode: Mode,
    },
    /// Print the JSON Schema of a config
    Schema,
    /// Print docs/config.md
    #[command(hide = true)]
    Docs,
}

/// Modes of an install, as words.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Mode {
    /// Starts a new cluster
    Create,
    /// Joins one
    Join,
    /// Only the operating system
    Install,
}

/// What else has a say.
#[derive(Debug, ClapArgs)]
pub struct More {
    /// Set a key, such as os.hostname=node-1; stronger than files
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_assignment)]
    set: Vec<Assignment>,
    /// A kernel command line with words such as harrow.install.mode=create
    #[arg(long, value_name = "TEXT")]
    cmdline: Option<String>,
    #[command(flatten)]
    far: Far,
    /// Fetch what the configs name, as an install does: install.config_url, and the user-data of
    /// ds=nocloud;s=URL in --cmdline
    #[arg(long)]
    follow: bool,
}

impl More {
    /// The sources of one node, from its files and all else.
    pub fn sources(&self, files: &[PathBuf]) -> anyhow::Result<Vec<Source>> {
        let mut node = self.shared();
        self.add_own(&mut node, files);
        node.all()
    }

    /// What every node has: all but its files, and what they name.
    fn shared(&self) -> Gathered {
        let line = Cmdline::parse(self.cmdline.as_deref().unwrap_or_default());
        let mut shared = Gathered::default();
        shared.add_said(&self.far, &[], &self.set);
        shared.sources.extend(config::cmdline::source(&line));
        if self.follow {
            let tell = |line: String| eprintln!("{line}");
            shared.add(live::find_metadata(&line, &self.far.reach(), &tell));
        }
        shared
    }

    /// Adds the files of one node, and the config that they or the others name.
    fn add_own(&self, node: &mut Gathered, files: &[PathBuf]) {
        for file in files {
            node.add(read(file).map(Some));
        }
        if self.follow {
            let (reach, tell) = (self.far.reach(), |line: String| eprintln!("{line}"));
            let followed = live::follow_config_url(&mut node.sources, &reach, &tell);
            node.errors.extend(followed.err());
        }
    }
}

/// `harrow config check`
#[derive(Debug, ClapArgs)]
pub struct CheckArgs {
    /// Config files, one for each node; - for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    more: More,
    /// What the machine is, as harrow facts printed it there; for a single FILE
    #[arg(long, value_name = "FILE")]
    facts: Option<PathBuf>,
    /// Print the problems as JSON
    #[arg(long)]
    json: bool,
}

/// `harrow config show`
#[derive(Debug, ClapArgs)]
pub struct ShowArgs {
    /// Config files of one node; the later is stronger
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    more: More,
    /// Print the values as JSON
    #[arg(long)]
    json: bool,
}

/// `harrow facts`
#[derive(Debug, ClapArgs)]
pub struct FactsArgs {
    /// Write them to this file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Runs a verb. `look` is for what is printed on standard output.
pub fn run(verb: Verb, look: Look) -> anyhow::Result<()> {
    let files: &[PathBuf] = match &verb {
        Verb::Check(CheckArgs { files, .. })
        | Verb::Show(ShowArgs { files, .. })
        | Verb::Render(RenderArgs { files, .. }) => files,
        _ => &[],
    };
    if files.iter().filter(|f| *f == Path::new("-")).count() > 1 {
        return Err(Failure::error(
            Kind::ConfigInvalid,
            "- is there twice, and standard input can be read only once",
            "give the other configs as files",
        ));
    }
    match verb {
        Verb::Check(args) => check(&args, look),
        Verb::Show(args) => show(&args),
        Verb::Render(args) => render::render(&args),
        Verb::Apply(args) => apply::apply(&args, look),
        Verb::Confirm => trial::confirm(),
        Verb::Trial(args) => apply::trial(&args),
        Verb::Convert { file } => convert(&file),
        Verb::Example { mode } => {
            let mode = match mode {
                Mode::Create => InstallMode::Create,
                Mode::Join => InstallMode::Join,
                Mode::Install => InstallMode::Install,
            };
            print!("{}", config::example(mode));
            Ok(())
        }
        Verb::Schema => {
            println!("{:#}", config::schema::json());
            Ok(())
        }
        Verb::Docs => {
            print!("{}", config::render_docs());
            Ok(())
        }
    }
}

/// A config file, or standard input for `-`.
pub fn read(path: &Path) -> anyhow::Result<Source> {
    if path != Path::new("-") {
        return read_config(path);
    }
    let mut bytes = Vec::new();
    // One byte more than a config has, so that a longer one is still refused.
    let limit = u64::try_from(config::LARGEST_SOURCE).unwrap_or(u64::MAX);
    std::io::stdin()
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .context("reading standard input")?;
    Ok(Source::yaml(SourceKind::File, "standard input", bytes))
}

/// The error about a config with problems.
pub fn invalid(problems: &Problems) -> anyhow::Error {
    let hint = "docs/config.md lists all keys and codes";
    Failure::error(Kind::ConfigInvalid, problems.summary(), hint)
}

/// What could not be had is a problem too, beside those of what could.
fn unavailable(error: &anyhow::Error, file: &Path) -> Problem {
    let hint = Failure::of(error).map_or("", |failure| failure.hint.as_str());
    let source = file.display().to_string().into();
    Problem::new(Code::Unavailable, "", format!("{error:#}"), hint).at(&Mark::whole(&source))
}

fn check(args: &CheckArgs, look: Look) -> anyhow::Result<()> {
    let mut nodes = Vec::new();
    let mut problems = Problems::default();
    let mut first_error = None;
    let shared = args.more.shared();
    for file in &args.files {
        let mut own = Gathered {
            sources: shared.sources.clone(),
            errors: Vec::new(),
        };
        args.more.add_own(&mut own, std::slice::from_ref(file));
        let mut node = config::check_sources(&own.sources);
        let errors = || shared.errors.iter().chain(&own.errors);
        if errors().next().is_some() {
            // What is missing could be in what could not be had.
            node.readable = false;
            node.problems.0.retain(|p| p.code.is_of_shape());
        }
        problems.0.extend(errors().map(|e| unavailable(e, file)));
        first_error = first_error.or(own.errors.into_iter().next());
        nodes.push(node);
    }
    first_error = shared.errors.into_iter().next().or(first_error);
    if let Some(path) = &args.facts {
        let [node] = nodes.as_mut_slice() else {
            return Err(Failure::error(
                Kind::ConfigInvalid,
                "--facts is of one machine, and several configs were given",
                "check them one by one with --facts, and together without",
            ));
        };
        match read_facts(path) {
            Ok(facts) if node.readable => node.add(config::check_machine(&node.answers, &facts)),
            Ok(_) => {}
            Err(error) => {
                problems.0.push(unavailable(&error, path));
                first_error = first_error.or(Some(error));
            }
        }
    }
    problems.0.extend(config::check_fleet(&nodes).0);
    for node in nodes {
        problems.0.extend(node.problems.0);
    }
    problems.sort();
    if args.json {
        let list: Vec<_> = problems.0.iter().map(config::Problem::to_json).collect();
        let value = json!({
            "errors": problems.count(Severity::Error),
            "warnings": problems.count(Severity::Warning),
            "problems": list,
        });
        println!("{value:#}");
    } else {
        print!("{}", problems.render(look));
    }
    if let Some(known) = first_error.as_ref().and_then(Failure::of) {
        let (kind, hint) = (known.kind, known.hint.clone());
        return Err(Failure::error(kind, problems.summary(), hint));
    }
    if problems.has_errors() {
        return Err(invalid(&problems));
    }
    if !args.json {
        println!("{} in {} config(s)", problems.summary(), args.files.len());
    }
    Ok(())
}

pub fn read_facts(path: &Path) -> anyhow::Result<Facts> {
    let unreadable = |e: String| {
        Failure::error(
            Kind::ConfigMissing,
            format!("can't read the facts {}: {e}", path.display()),
            "make them on the machine with `harrow facts --out FILE`",
        )
    };
    let bytes = std::fs::read(path).map_err(|e| unreadable(e.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|e| unreadable(e.to_string()))
}

/// What could be read is shown even when there are problems; those go to standard error.
fn show(args: &ShowArgs) -> anyhow::Result<()> {
    let checked = config::check_sources(&args.more.sources(&args.files)?);
    if args.json {
        println!("{:#}", config::render_json(&checked));
    } else {
        print!("{}", config::render_text(&checked));
    }
    let errors = checked.problems.only(Severity::Error);
    if errors.0.is_empty() {
        return Ok(());
    }
    eprint!("{}", errors.render(Look::Plain));
    Err(invalid(&errors))
}

fn convert(file: &Path) -> anyhow::Result<()> {
    let source = read(file)?;
    let config::Content::Yaml(bytes) = &source.content else {
        return Ok(());
    };
    match config::convert(bytes, &source.name, random::salt()) {
        Ok((text, problems)) => {
            eprint!("{}", problems.render(Look::Plain));
            print!("{text}");
            Ok(())
        }
        Err(problems) => {
            eprint!("{}", problems.render(Look::Plain));
            Err(invalid(&problems))
        }
    }
}

/// `harrow facts`
pub fn facts(args: &FactsArgs) -> anyhow::Result<()> {
    use std::io::Write as _;
    let facts = facts::probe(&Roots::default());
    let text = serde_json::to_string_pretty(&facts).context("writing the facts")?;
    match &args.out {
        None => println!("{text}"),
        Some(path) => {
            let written = File::create(path).and_then(|mut f| writeln!(f, "{text}"));
            written.with_context(|| format!("writing {}", path.display()))?;
        }
    }
    Ok(())
}
