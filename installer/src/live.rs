//! The live medium: where it is, and the config that somebody gave this machine.
//!
//! In: [`Places`] to look at. Out: the sources of a config, none when nobody gave one; and what
//! these name and somebody else has, see [`follow_config_url`] and [`fetch_keys`].

mod fetch;
mod keys;
mod medium;
mod metadata;
mod multipath;
mod seeds;
mod vip;

pub use fetch::follow_config_url;
pub use keys::{GITHUB, fetch_keys, people};
pub use medium::read_from_esp;
pub use metadata::find_metadata;
pub use multipath::start_multipath;
pub use seeds::{read_some_seed, says_something};
pub use vip::check_vip;

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use crate::config::{Source, SourceKind, cmdline};
use crate::sys::cmd::Cmd;
use crate::sys::cmdline::Cmdline;

/// Where the initrd mounts the medium.
pub const MEDIUM: &str = "/run/harrow/medium";
/// The image set on the medium.
pub const MEDIUM_IMAGE: &str = "/run/harrow/medium/harrow";
/// Name of the config that a person copies onto the stick.
pub const CONFIG_ON_STICK: &str = "harrow.yaml";
/// What the image says by itself.
pub const IMAGE_DEFAULTS: &str = "/usr/share/harrow/config.yaml";

/// The largest config that is taken.
const CONFIG_LIMIT: u64 = 1 << 20;
/// How long the network may take to give something: it may still be coming up.
const NETWORK_PATIENCE: Duration = Duration::from_secs(180);
/// How long a seed disk is waited for that the command line promises.
const SEED_PATIENCE: Duration = Duration::from_secs(60);

/// Where a live system looks for configs.
#[derive(Debug, Clone)]
pub struct Places {
    /// The kernel's command line.
    pub line: Cmdline,
    /// What the image says by itself.
    pub defaults: PathBuf,
    /// sysfs' block devices, and their nodes.
    pub block: PathBuf,
    /// Nodes of devices.
    pub dev: PathBuf,
    /// The kernel's list of mounts.
    pub mounts: PathBuf,
    /// How long a seed disk is waited for that the command line promises.
    pub patience: Duration,
}

/// How far what a config names is followed, and how long.
#[derive(Debug, Clone)]
pub struct Reach {
    /// Where the medium is mounted.
    pub medium: PathBuf,
    /// Time for each thing that is fetched.
    pub patience: Duration,
    /// URL of the server that has the keys of `github:USER` as `USER.keys`.
    pub key_server: String,
}

impl Default for Reach {
    fn default() -> Self {
        Self {
            medium: PathBuf::from(MEDIUM),
            patience: NETWORK_PATIENCE,
            key_server: GITHUB.to_owned(),
        }
    }
}

impl Places {
    /// Those of this machine, as soon as the devices are there that the kernel knows of.
    pub fn of_this_machine() -> Self {
        let settled = Cmd::new("udevadm")
            .args(["settle", "--timeout=15"])
            .run_any();
        if let Err(error) = settled {
            tracing::warn!("looking for seed disks: {error:#}");
        }
        let line = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
        Self {
            line: Cmdline::parse(&line),
            defaults: PathBuf::from(IMAGE_DEFAULTS),
            block: PathBuf::from("/sys/class/block"),
            dev: PathBuf::from("/dev"),
            mounts: PathBuf::from("/proc/self/mountinfo"),
            patience: SEED_PATIENCE,
        }
    }
}

/// Everything that a live system was given, weakest first: what the image says by itself, seed
/// disks, the metadata that the kernel's command line names, configs on the medium, the command
/// line itself. `tell` hears what takes time and what went wrong on the way.
pub fn find_sources(
    places: &Places,
    reach: &Reach,
    tell: &dyn Fn(String),
) -> anyhow::Result<Vec<Source>> {
    let mut sources = Vec::new();
    sources.extend(read_source(SourceKind::ImageDefaults, &places.defaults)?);
    sources.extend(seeds::find_seeds(places, tell)?);
    sources.extend(find_metadata(&places.line, reach, tell)?);
    sources.extend(medium::find_configs(&reach.medium, &places.mounts)?);
    sources.extend(cmdline::source(&places.line));
    Ok(sources)
}

/// What of it lies at hand without waiting for anything: the image's own, what is on the medium,
/// and the command line. Enough for the live system's own network.
pub fn sources_at_hand(line: &Cmdline) -> anyhow::Result<Vec<Source>> {
    let mounts = Path::new("/proc/self/mountinfo");
    let mut sources = Vec::new();
    let defaults = Path::new(IMAGE_DEFAULTS);
    sources.extend(read_source(SourceKind::ImageDefaults, defaults)?);
    sources.extend(medium::find_configs(Path::new(MEDIUM), mounts)?);
    sources.extend(cmdline::source(line));
    Ok(sources)
}

/// Whether anybody said anything, beyond what the image says by itself.
pub fn is_said(sources: &[Source]) -> bool {
    sources.iter().any(|s| s.kind != SourceKind::ImageDefaults)
}

/// A config file that need not be there.
fn read_source(kind: SourceKind, path: &Path) -> anyhow::Result<Option<Source>> {
    match read_some(path) {
        Ok(bytes) => Ok(Some(Source::yaml(kind, &path.display().to_string(), bytes))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).with_context(|| format!("reading {}", path.display())),
    }
}

/// A file, or enough of it to see that it is no config.
pub fn read_some(path: &Path) -> std::io::Result<Vec<u8>> {
    // Opening one waits for somebody who writes. What a shell puts in `/dev/fd` has a writer.
    let is_open = path.starts_with("/dev/fd") || path == Path::new("/dev/stdin");
    if !is_open && std::fs::metadata(path)?.file_type().is_fifo() {
        return Err(std::io::Error::other("it is a named pipe, not a file"));
    }
    let mut bytes = Vec::new();
    let file = File::open(path)?;
    file.take(CONFIG_LIMIT + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The consoles of this boot, for the node's own: values of `console=`.
pub fn consoles(cmdline: &Cmdline) -> Vec<String> {
    let named: Vec<String> = cmdline.all("console").map(str::to_owned).collect();
    if named.is_empty() {
        return default_consoles();
    }
    named
}

/// Consoles when nothing is known: the screen and the first serial line.
pub fn default_consoles() -> Vec<String> {
    vec!["tty0".into(), "ttyS0,115200n8".into()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::check_sources;
    use crate::test_server::{good, serve};

    #[test]
    fn a_config_that_need_not_be_there() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "a: 1").unwrap();
        let kind = SourceKind::ImageDefaults;
        let source = read_source(kind, file.path()).unwrap().unwrap();
        assert!(!is_said(&[source]));
        assert_eq!(read_source(kind, Path::new("/no/such")).unwrap(), None);
        assert!(read_source(kind, Path::new("/etc/passwd/x")).is_err());
        assert!(is_said(&[Source::yaml(SourceKind::SeedDisk, "x", "")]));
    }

    #[test]
    fn a_pipe_that_nobody_writes_to_is_no_config() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        Cmd::new("mkfifo").arg(&pipe).run().unwrap();
        let error = read_some(&pipe).unwrap_err();
        assert!(error.to_string().contains("pipe"), "{error}");
    }

    #[test]
    fn consoles_are_taken_over() {
        let line = Cmdline::parse("console=tty0 console=ttyS1,57600n8");
        assert_eq!(consoles(&line), ["tty0", "ttyS1,57600n8"]);
        assert_eq!(consoles(&Cmdline::default()).len(), 2);
    }

    /// Every source has a say of its own, and each is stronger than those before it.
    #[test]
    fn all_sources_are_merged_in_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["medium/harrow", "block/vdb", "dev"] {
            std::fs::create_dir_all(path(name)).unwrap();
        }
        let keys = ["image", "seed", "metadata", "url", "medium", "line"];
        // Says all keys from its own on: those of the stronger sources are theirs.
        let config = |from: usize| {
            let pairs = keys[from..].iter().map(|key| format!("{key}: {from}"));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        };
        let text = |from| format!("os: {{sysctls: {}}}", config(from));
        std::fs::write(path("defaults.yaml"), text(0)).unwrap();
        std::fs::write(path("block/vdb/size"), "2880\n").unwrap();
        seeds::make_seed(&path("dev/vdb"), &text(1));
        let (metadata, asked) = serve(vec![good(text(2))]);
        let (config_url, _) = serve(vec![good(text(3))]);
        let on_medium = format!("{}\ninstall: {{config_url: {config_url}/x}}", text(4));
        std::fs::write(path("medium/harrow/harrow.yaml"), on_medium).unwrap();
        let words = "harrow.os.sysctls.line=5";
        let places = Places {
            line: Cmdline::parse(&format!("\"ds=nocloud;s={metadata}/seed\" {words}")),
            defaults: path("defaults.yaml"),
            block: path("block"),
            dev: path("dev"),
            mounts: path("none"),
            patience: Duration::ZERO,
        };
        std::fs::write(path("none"), "").unwrap();
        let reach = Reach {
            medium: path("medium"),
            ..Reach::default()
        };
        let mut sources = find_sources(&places, &reach, &|_| {}).unwrap();
        follow_config_url(&mut sources, &reach, &|_| {}).unwrap();
        assert!(asked.recv().unwrap().starts_with("GET /seed/user-data "));
        let checked = check_sources(&sources);
        assert!(checked.readable, "{}", checked.problems);
        for (i, key) in keys.iter().enumerate() {
            let value = &checked.answers.os.sysctls[*key];
            assert_eq!(value.to_string(), i.to_string(), "{key}");
            let origin = checked.place_of(&format!("os.sysctls.{key}")).source;
            let parts = [
                "defaults",
                "NoCloud",
                "user-data",
                &config_url,
                "medium",
                "kernel",
            ];
            assert!(origin.contains(parts[i]), "{key}: {origin}");
        }
    }
}
