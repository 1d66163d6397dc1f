//! The live medium: where it is, and the config that somebody gave it.
//!
//! In: the kernel's command line and the mounted medium. Out: the sources of a config; none
//! when nobody gave one.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use crate::config::formats::{mask_urls, masked_url};
use crate::config::{Severity, Source, SourceKind, check_sources};
use crate::disk::fat::Fat;
use crate::disk::window::Window;
use crate::failure::{Failure, Kind};
use crate::sys::cmdline::Cmdline;
use crate::sys::net;

/// Where the initrd mounts the medium.
pub const MEDIUM: &str = "/run/harrow/medium";
/// The image set on the medium.
pub const MEDIUM_IMAGE: &str = "/run/harrow/medium/harrow";
/// Name of the config that a person copies onto the stick.
pub const CONFIG_ON_STICK: &str = "harrow.yaml";
/// Keys on the kernel's command line that name a config, the stronger last.
pub const CONFIG_URLS: [&str; 2] = ["harvester.install.config_url", "harrow.install.config_url"];
/// The same key in a config.
const URL_KEY: &str = "install.config_url";

/// The network may still be coming up.
const NETWORK_PATIENCE: Duration = Duration::from_secs(180);
/// The largest config that is taken.
const CONFIG_LIMIT: u64 = 1 << 20;

/// Looks for a config, strongest source first. `tell` hears what takes time.
pub fn find_config(cmdline: &Cmdline, tell: impl Fn(String)) -> anyhow::Result<Option<Source>> {
    let urls = CONFIG_URLS.iter();
    if let Some(url) = urls.filter_map(|key| cmdline.get(key)).next_back() {
        tell(format!("fetching the config from {}", masked_url(url)));
        return from_url(url).map(Some);
    }
    if let Some(bytes) = on_medium_esp().context("looking for a config on the medium's ESP")? {
        let name = format!("{CONFIG_ON_STICK} on the medium's EFI partition");
        return Ok(Some(Source::yaml(SourceKind::File, &name, bytes)));
    }
    let path = Path::new(MEDIUM_IMAGE).join(CONFIG_ON_STICK);
    match read_some(&path) {
        Ok(bytes) => {
            let name = path.display().to_string();
            Ok(Some(Source::yaml(SourceKind::File, &name, bytes)))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).with_context(|| format!("reading {}", path.display())),
    }
}

fn from_url(url: &str) -> anyhow::Result<Source> {
    let shown = masked_url(url);
    let missing = |e: anyhow::Error| {
        Failure::error(
            Kind::ConfigMissing,
            format!("{URL_KEY}={shown}: {}", mask_urls(&format!("{e:#}"))),
            "check the URL and the network, or put harrow.yaml onto the medium's EFI partition",
        )
    };
    let bytes = if url.contains("://") {
        net::fetch_small(url, NETWORK_PATIENCE).map_err(missing)?
    } else {
        let path = Path::new(MEDIUM).join(url.trim_start_matches('/'));
        read_some(&path)
            .map_err(|e| missing(anyhow::Error::new(e).context(path.display().to_string())))?
    };
    Ok(Source::yaml(SourceKind::ConfigUrl, &shown, bytes))
}

/// A file, or enough of it to see that it is no config.
pub fn read_some(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path)?;
    file.take(CONFIG_LIMIT + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Adds the config that the sources name in `install.config_url`, unless it is there.
pub fn follow_config_url(sources: &mut Vec<Source>, tell: impl Fn(String)) -> anyhow::Result<()> {
    if sources.iter().any(|s| s.kind == SourceKind::ConfigUrl) {
        return Ok(());
    }
    let checked = check_sources(sources);
    let faulty = checked
        .problems
        .0
        .iter()
        .any(|p| p.field == URL_KEY && p.code.severity() == Severity::Error);
    // What is wrong with it is said with all other problems.
    let url = checked.answers.install.config_url.filter(|_| !faulty);
    if let Some(url) = url.filter(|u| !u.is_empty()) {
        tell(format!("fetching the config from {}", masked_url(&url)));
        sources.push(from_url(&url)?);
    }
    Ok(())
}

/// `harrow.yaml` at the root of the ESP of the disk that the medium is on.
fn on_medium_esp() -> anyhow::Result<Option<Vec<u8>>> {
    let mountinfo = std::fs::read_to_string("/proc/self/mountinfo").context("reading mountinfo")?;
    let Some(source) = source_of(&mountinfo, MEDIUM) else {
        return Ok(None);
    };
    let disk = whole_disk(source)?;
    read_from_esp(&disk)
}

/// Reads [`CONFIG_ON_STICK`] from the ESP of a disk or disk image; `None` without ESP or file.
pub fn read_from_esp(disk: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    let context = || format!("reading {}", disk.display());
    // The medium's tables count in 512-byte sectors whatever drive it is in.
    let table = gpt::GptConfig::new()
        .logical_block_size(gpt::disk::LogicalBlockSize::Lb512)
        .only_valid_headers(false)
        .open(disk);
    let Ok(table) = table else {
        return Ok(None);
    };
    let esp = table
        .partitions()
        .values()
        .find(|p| p.part_type_guid == gpt::partition_types::EFI);
    let Some(esp) = esp else {
        return Ok(None);
    };
    let start = esp.first_lba * 512;
    let size = (esp.last_lba + 1).saturating_sub(esp.first_lba) * 512;
    let file = File::open(disk).with_context(context)?;
    Fat::open(Window::new(&file, start, size).with_budget(64 << 20))
        .with_context(context)?
        .read(CONFIG_ON_STICK, CONFIG_LIMIT + 1)
}

/// The device that is mounted on `place` (proc_pid_mountinfo(5): the word after the file
/// system type, which follows a single dash).
fn source_of<'a>(mountinfo: &'a str, place: &str) -> Option<&'a str> {
    mountinfo.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        (before.split(' ').nth(4) == Some(place))
            .then(|| after.split(' ').nth(1))
            .flatten()
    })
}

/// `/dev/sda` for `/dev/sda1`.
fn whole_disk(device: &str) -> anyhow::Result<PathBuf> {
    let name = device.trim_start_matches("/dev/");
    let dir = Path::new("/sys/class/block").join(name);
    if !dir.join("partition").exists() {
        return Ok(PathBuf::from(device));
    }
    let real = std::fs::canonicalize(&dir).with_context(|| format!("reading {}", dir.display()))?;
    let parent = real.parent().and_then(Path::file_name);
    let parent = parent.with_context(|| format!("{device} has no disk in sysfs"))?;
    Ok(Path::new("/dev").join(parent))
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

    #[test]
    fn the_mediums_device_is_found() {
        let text = "22 1 0:5 / /dev rw - devtmpfs devtmpfs rw\n\
                    40 1 11:0 / /run/harrow/medium ro,relatime shared:1 - iso9660 /dev/sr0 ro\n";
        assert_eq!(source_of(text, MEDIUM), Some("/dev/sr0"));
        assert_eq!(source_of(text, "/nowhere"), None);
    }

    #[test]
    fn a_config_url_is_followed_once_and_only_when_it_is_right() {
        let file = |text: &str| Source::yaml(SourceKind::File, "f", text);
        let mut sources = vec![file("install: {mode: install}")];
        follow_config_url(&mut sources, |_| {}).unwrap();
        assert_eq!(sources.len(), 1);
        let mut sources = vec![file("install: {config_url: \"tftp://a/b\"}")];
        follow_config_url(&mut sources, |_| {}).unwrap();
        assert_eq!(sources.len(), 1);
        // A path is one on the medium, which is not here.
        let mut sources = vec![file("install: {config_url: no/such/file.yaml}")];
        let error = follow_config_url(&mut sources, |_| {}).unwrap_err();
        assert_eq!(Failure::of(&error).unwrap().kind, Kind::ConfigMissing);
        sources.push(Source::yaml(SourceKind::ConfigUrl, "u", ""));
        follow_config_url(&mut sources, |_| {}).unwrap();
    }

    #[test]
    fn consoles_are_taken_over() {
        let line = Cmdline::parse("console=tty0 console=ttyS1,57600n8");
        assert_eq!(consoles(&line), ["tty0", "ttyS1,57600n8"]);
        assert_eq!(consoles(&Cmdline::default()).len(), 2);
    }

    #[test]
    fn a_disk_without_esp_has_no_config() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(1 << 20).unwrap();
        assert_eq!(read_from_esp(file.path()).unwrap(), None);
    }
}
