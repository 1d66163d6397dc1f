//! Disks with a finished install, made once in a run and handed out to whoever wants one.
//!
//! In: a [`Base`], which is a name, a config and a size. Out: a qcow2 overlay, so that a scenario writes to a file of its
//! own. The first scenario that wants a base makes it, as an ordinary user installs onto a file;
//! another one that wants it meanwhile waits. All bases have one ssh key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use crate::scenarios::install;
use crate::ssh::Key;
use crate::stage::Stage;
use crate::tools::tool;

/// An installed disk that several scenarios begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// Name of its file.
    pub name: String,
    /// The config that it was installed with.
    pub config: String,
    /// Size of the disk in bytes.
    pub size: u64,
}

/// The bases of a run.
#[derive(Debug)]
pub struct Bases {
    folder: PathBuf,
    key: Mutex<Option<Key>>,
    slots: Mutex<BTreeMap<String, Arc<Mutex<Slot>>>>,
}

/// What became of a base.
#[derive(Debug)]
enum Slot {
    Wanted,
    Made(Base),
    Failed(String),
}

impl Bases {
    /// Keeps them in `folder`, which is emptied with the first one.
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            key: Mutex::new(None),
            slots: Mutex::new(BTreeMap::new()),
        }
    }

    /// The ssh key for the configs of bases; the first who asks makes it.
    pub fn key(&self) -> anyhow::Result<Key> {
        let mut key = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = &*key {
            return Ok(key.clone());
        }
        if self.folder.exists() {
            std::fs::remove_dir_all(&self.folder)
                .with_context(|| format!("emptying {}", self.folder.display()))?;
        }
        std::fs::create_dir_all(&self.folder)
            .with_context(|| format!("creating {}", self.folder.display()))?;
        let folder = self.folder.canonicalize().context("finding the bases")?;
        Ok(key.insert(Key::create(&folder)?).clone())
    }

    /// The qcow2 file of `base`; if nobody has made it, `make` writes a raw disk to the path
    /// that it is given.
    pub fn get(
        &self,
        base: &Base,
        make: impl FnOnce(&Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<PathBuf> {
        self.key()?;
        let folder = self.folder.canonicalize().context("finding the bases")?;
        let path = folder.join(format!("{}.qcow2", base.name));
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            let slot = slots.entry(base.name.clone());
            Arc::clone(slot.or_insert_with(|| Arc::new(Mutex::new(Slot::Wanted))))
        };
        // Who makes it holds the lock; whoever comes meanwhile waits here.
        let Ok(mut slot) = slot.lock() else {
            bail!("the scenario that made the base {} panicked", base.name);
        };
        match &*slot {
            Slot::Made(made) => {
                let name = &base.name;
                ensure!(made == base, "two bases have the name {name}");
                return Ok(path);
            }
            Slot::Failed(why) => bail!("the base {} could not be made: {why}", base.name),
            Slot::Wanted => {}
        }
        let raw = folder.join(format!("{}.img", base.name));
        match make(&raw).and_then(|()| pack(&raw, &path)) {
            Ok(()) => *slot = Slot::Made(base.clone()),
            Err(error) => {
                *slot = Slot::Failed(format!("{error:#}"));
                return Err(error.context(format!("making the base {}", base.name)));
            }
        }
        Ok(path)
    }

    /// Deletes all bases.
    pub fn clear(&self) -> anyhow::Result<()> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        for name in slots.keys() {
            let path = self.folder.join(format!("{name}.qcow2"));
            if path.exists() {
                std::fs::remove_file(&path)
                    .with_context(|| format!("deleting {}", path.display()))?;
            }
        }
        Ok(())
    }
}

/// A disk of this scenario, installed as `base` says; ssh uses the key of bases from here on.
/// The config is to name [`Bases::key`] of the run.
pub fn installed(stage: &mut Stage, base: &Base) -> anyhow::Result<PathBuf> {
    let bases = Arc::clone(&stage.settings.bases);
    stage.ssh.use_key(bases.key()?);
    let file = bases.get(base, |raw| {
        stage.say(format!("makes the base {}", base.name));
        install::config_onto_file(stage, &base.config, raw, base.size)
    })?;
    let overlay = stage.bulky_file(&format!("{}.qcow2", base.name));
    create_overlay(&file, &overlay)?;
    Ok(overlay)
}

/// Packs a raw disk as qcow2, and deletes it; holes and zeros take no room.
fn pack(raw: &Path, to: &Path) -> anyhow::Result<()> {
    tool("qemu-img")
        .args(["convert", "-f", "raw", "-O", "qcow2"])
        .args([raw, to])
        .run()
        .with_context(|| format!("packing {}", raw.display()))?;
    std::fs::remove_file(raw).with_context(|| format!("deleting {}", raw.display()))
}

/// Makes a file that begins as `base` and takes what is written.
pub fn create_overlay(base: &Path, overlay: &Path) -> anyhow::Result<()> {
    tool("qemu-img")
        .args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"])
        .args([base, overlay])
        .run()
        .with_context(|| format!("creating {}", overlay.display()))?;
    Ok(())
}

/// Makes a raw copy of a qcow2 file, for programs that read disks.
pub fn unpack(qcow2: &Path, raw: &Path) -> anyhow::Result<()> {
    tool("qemu-img")
        .args(["convert", "-f", "qcow2", "-O", "raw"])
        .args([qcow2, raw])
        .run()
        .with_context(|| format!("unpacking {}", qcow2.display()))?;
    Ok(())
}

/// What `qemu-img info` says of a file.
pub fn info(file: &Path) -> anyhow::Result<Value> {
    let said = tool("qemu-img")
        .args(["info", "--output=json"])
        .arg(file)
        .run()
        .with_context(|| format!("looking at {}", file.display()))?;
    serde_json::from_slice(&said.stdout).context("reading what qemu-img says")
}

#[cfg(test)]
#[path = "base_tests.rs"]
mod tests;
