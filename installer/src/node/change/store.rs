//! The config on OEM, exchanged whole.
//!
//! In: the text of a config. Out: OEM with it, and with the one before as a backup. OEM is
//! writable only meanwhile.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use rustix::mount::{MountFlags, mount_remount};

use super::super::mounts;
use super::super::source::{BACKUP_NAME, CONFIG_NAME, OEM_DIR};

/// Puts a config on OEM of this node.
pub fn store(text: &str) -> anyhow::Result<()> {
    let remount = |more: MountFlags, doing: &'static str| {
        mount_remount(OEM_DIR, mounts::DATA_ONLY.union(more), "").context(doing)
    };
    remount(MountFlags::empty(), "making OEM writable")?;
    let stored = exchange(Path::new(OEM_DIR), text);
    let closed = remount(MountFlags::RDONLY, "making OEM read-only again");
    stored.and(closed)
}

/// At every moment there is one whole config, the old or the new one.
fn exchange(dir: &Path, text: &str) -> anyhow::Result<()> {
    let (config, backup) = (dir.join(CONFIG_NAME), dir.join(BACKUP_NAME));
    if let Ok(old) = fs::read(&config) {
        put(dir, &backup, &old)?;
    }
    put(dir, &config, text.as_bytes())
}

fn put(dir: &Path, path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let doing = || format!("writing {}", path.display());
    let new = path.with_extension("yaml.new");
    let mut options = fs::OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&new).with_context(doing)?;
    file.write_all(bytes).with_context(doing)?;
    file.sync_all().with_context(doing)?;
    fs::rename(&new, path).with_context(doing)?;
    let folder = fs::File::open(dir).with_context(doing)?;
    folder.sync_all().with_context(doing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_config_before_stays_as_a_backup() {
        let dir = tempfile::tempdir().unwrap();
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        exchange(dir.path(), "one").unwrap();
        assert_eq!(read(CONFIG_NAME), "one");
        for (text, before) in [("two", "one"), ("three", "two")] {
            exchange(dir.path(), text).unwrap();
            assert_eq!(
                (read(CONFIG_NAME).as_str(), read(BACKUP_NAME).as_str()),
                (text, before)
            );
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
