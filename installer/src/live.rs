//! The live medium: where it is, and the config that somebody gave it.
//!
//! In: the kernel's command line, the mounted medium and the disks. Out: the sources of a config;
//! none when nobody gave one.

mod fetch;
mod seeds;

pub use fetch::{GITHUB, fetch_keys, follow_config_url};
pub use seeds::find_seeds;

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::config::{Source, SourceKind, cmdline};
use crate::disk::fat::Fat;
use crate::disk::window::Window;
use crate::sys::cmdline::Cmdline;

/// Where the initrd mounts the medium.
pub const MEDIUM: &str = "/run/harrow/medium";
/// The image set on the medium.
pub const MEDIUM_IMAGE: &str = "/run/harrow/medium/harrow";
/// Name of the config that a person copies onto the stick.
pub const CONFIG_ON_STICK: &str = "harrow.yaml";
/// Keys on the kernel's command line that name a config, the stronger last.
pub const CONFIG_URLS: [&str; 2] = ["harvester.install.config_url", "harrow.install.config_url"];
/// What the image says by itself.
pub const IMAGE_DEFAULTS: &str = "/usr/share/harrow/config.yaml";

/// The largest config that is taken.
const CONFIG_LIMIT: u64 = 1 << 20;

/// Everything that the live system was given: seed disks, a config on the medium, the kernel's
/// command line, and what the image says by itself. `tell` hears what went wrong on the way.
pub fn find_sources(line: &Cmdline, tell: impl Fn(String)) -> anyhow::Result<Vec<Source>> {
    let mut sources = find_seeds(tell)?;
    // Who names a config at boot does not want the one that lies on the medium.
    let named = CONFIG_URLS.iter().any(|key| line.get(key).is_some());
    if !named {
        sources.extend(on_medium()?);
    }
    sources.extend(cmdline::source(line));
    sources.extend(image_defaults()?);
    Ok(sources)
}

/// Whether anybody said anything, beyond what the image says by itself.
pub fn is_said(sources: &[Source]) -> bool {
    sources.iter().any(|s| s.kind != SourceKind::ImageDefaults)
}

/// What the image says by itself; `None` for most.
pub fn image_defaults() -> anyhow::Result<Option<Source>> {
    read_source(SourceKind::ImageDefaults, Path::new(IMAGE_DEFAULTS))
}

fn on_medium() -> anyhow::Result<Option<Source>> {
    if let Some(bytes) = on_medium_esp().context("looking for a config on the medium's ESP")? {
        let name = format!("{CONFIG_ON_STICK} on the medium's EFI partition");
        return Ok(Some(Source::yaml(SourceKind::File, &name, bytes)));
    }
    let path = Path::new(MEDIUM_IMAGE).join(CONFIG_ON_STICK);
    read_source(SourceKind::File, &path)
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
    let mut bytes = Vec::new();
    let file = File::open(path)?;
    file.take(CONFIG_LIMIT + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
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
