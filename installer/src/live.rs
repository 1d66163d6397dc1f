//! The live medium: where it is, and the config that somebody gave it.
//!
//! In: the kernel's command line and the mounted medium. Out: the config's text with the name
//! of its source, or `None` when nobody gave one.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use crate::config::formats::masked_url;
use crate::disk::fat::Fat;
use crate::disk::layout::show;
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
/// Key on the kernel's command line that names a config.
pub const CONFIG_URL: &str = "harrow.install.config_url";

/// The network may still be coming up.
const NETWORK_PATIENCE: Duration = Duration::from_secs(180);
/// The largest config that is taken.
const CONFIG_LIMIT: u64 = 1 << 20;

/// A config that was found.
#[derive(Debug)]
pub struct Found {
    /// Where.
    pub source: String,
    /// Its text.
    pub text: String,
}

/// Looks for a config, strongest source first. `tell` hears what takes time.
pub fn find_config(cmdline: &Cmdline, tell: impl Fn(String)) -> anyhow::Result<Option<Found>> {
    if let Some(url) = cmdline.get(CONFIG_URL) {
        tell(format!("fetching the config from {}", masked_url(url)));
        return from_url(url).map(Some);
    }
    if let Some(bytes) = on_medium_esp().context("looking for a config on the medium's ESP")? {
        return found(
            format!("{CONFIG_ON_STICK} on the medium's EFI partition"),
            bytes,
        )
        .map(Some);
    }
    let path = Path::new(MEDIUM_IMAGE).join(CONFIG_ON_STICK);
    match read_some(&path) {
        Ok(bytes) => found(path.display().to_string(), bytes).map(Some),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).with_context(|| format!("reading {}", path.display())),
    }
}

fn from_url(url: &str) -> anyhow::Result<Found> {
    let missing = |e: anyhow::Error| {
        Failure::error(
            Kind::ConfigMissing,
            format!("{CONFIG_URL}={}: {e:#}", masked_url(url)),
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
    found(masked_url(url), bytes)
}

/// A file, or enough of it to see that it is no config.
pub fn read_some(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path)?;
    file.take(CONFIG_LIMIT + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A config's text from its bytes.
pub fn found(source: String, bytes: Vec<u8>) -> anyhow::Result<Found> {
    if bytes.len() as u64 > CONFIG_LIMIT {
        return Err(Failure::error(
            Kind::ConfigInvalid,
            format!("{source} is larger than {}", show(CONFIG_LIMIT)),
            "this is no config; check what is there",
        ));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Found { source, text }),
        Err(_) => Err(Failure::error(
            Kind::ConfigInvalid,
            format!("{source} is not text in UTF-8"),
            "save it as plain text",
        )),
    }
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
    Fat::open(Window::new(&file, start, size))
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
    fn consoles_are_taken_over() {
        let line = Cmdline::parse("console=tty0 console=ttyS1,57600n8");
        assert_eq!(consoles(&line), ["tty0", "ttyS1,57600n8"]);
        assert_eq!(consoles(&Cmdline::default()).len(), 2);
    }

    #[test]
    fn what_is_too_large_or_no_text_is_no_config() {
        for bytes in [vec![b' '; 2 << 20], vec![0xff, 0xfe]] {
            let error = found("stick".into(), bytes).unwrap_err();
            assert_eq!(Failure::of(&error).unwrap().kind, Kind::ConfigInvalid);
        }
    }

    #[test]
    fn a_disk_without_esp_has_no_config() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(1 << 20).unwrap();
        assert_eq!(read_from_esp(file.path()).unwrap(), None);
    }
}
