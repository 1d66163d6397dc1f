//! The disk that this node runs from: which it is, how it is laid out, what its ESP says.
//!
//! In: the kernel's command line, sysfs. Out: [`Running`]. It is found by the partition that the
//! running slot lies on, and compared with what the boot chain named.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use super::boot::BootParams;
use crate::disk::block::Block;
use crate::disk::layout::{Layout, Role};
use crate::disk::target::Target;
use crate::facts::{self, Roots};
use crate::failure::{Failure, Kind};
use crate::image::set::ImageSet;
use crate::install::esp::{self, Esp};
use crate::install::grubenv::{BootEnv, Letter};
use crate::install::readback::find_damage;
use crate::install::slot::{Before, Slot};
use crate::install::upgrade::NodeFacts;
use crate::sys::cmdline::Cmdline;
use crate::sys::wait;

/// An upgrade or another `harrow` has the disk for a moment.
const LOCK_PATIENCE: Duration = Duration::from_secs(600);
const LOCK_PAUSE: Duration = Duration::from_secs(2);

/// What is done with the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It is read.
    Look,
    /// It is written, and nobody else does.
    Change,
}

/// The disk that this node runs from.
#[derive(Debug)]
pub struct Running {
    /// The slot that runs.
    pub slot: Letter,
    /// The disk.
    pub target: Target,
    /// How it is laid out.
    pub layout: Layout,
    /// What the boot chain said.
    pub cmdline: Cmdline,
    block: Box<dyn Block>,
}

impl Running {
    /// Finds the disk and opens it.
    pub fn open(access: Access) -> anyhow::Result<Self> {
        let text = fs::read_to_string("/proc/cmdline").context("reading /proc/cmdline")?;
        let not_a_node = |why: &str| {
            let hint = "run it as root on an installed node";
            Failure::error(Kind::NotANode, why.to_owned(), hint)
        };
        let params = BootParams::parse(&text);
        if params.live {
            return Err(not_a_node("this is a live system"));
        }
        let Some(slot) = params.slot.as_deref().and_then(Letter::parse) else {
            return Err(not_a_node(
                "this system was not booted from a slot of Harrow",
            ));
        };
        if !rustix::process::geteuid().is_root() {
            return Err(not_a_node("only root can read the node's disk"));
        }
        let cmdline = Cmdline::parse(&text);
        let partition = BootParams::slot_device(&cmdline)
            .context("the kernel command line does not say where the slot is")?;
        let roots = Roots::default();
        let path = disk_of(&partition, &roots)?;
        let target = Target::Disk(facts::probe_disk(&path, &roots)?);
        let block: Box<dyn Block> = match access {
            Access::Look => {
                let file = File::open(&path);
                Box::new(file.with_context(|| format!("opening {}", path.display()))?)
            }
            Access::Change => open_locked(&target)?,
        };
        Self::new(slot, target, block, cmdline)
    }

    /// A disk that is open, as the kernel's command line describes it.
    pub fn new(
        slot: Letter,
        target: Target,
        block: Box<dyn Block>,
        cmdline: Cmdline,
    ) -> anyhow::Result<Self> {
        let doing = || format!("reading the layout of {}", target.path().display());
        let layout = Layout::find(&*block, target.size(), target.sector_size());
        let layout = layout.with_context(doing)?;
        for (role, key) in [
            (slot.role(), "systemd.verity_root_data"),
            (Role::Oem, "harrow.boot.oem"),
            (Role::Var, "harrow.boot.var"),
        ] {
            let said = cmdline.get(key).unwrap_or_default().to_ascii_lowercase();
            let found = format!("partuuid={}", layout.partuuid(role)?);
            ensure!(
                said == found,
                "{}: {} of it has another id than the one that was booted",
                target.path().display(),
                role.name()
            );
        }
        Ok(Self {
            slot,
            target,
            layout,
            cmdline,
            block,
        })
    }

    /// Its ESP.
    pub fn esp(&self) -> anyhow::Result<Esp<'_>> {
        Esp::new(&*self.block, &self.layout)
    }

    /// Changes the environment block, when the change makes a difference.
    pub fn change_env(&self, change: impl FnOnce(&mut BootEnv)) -> anyhow::Result<()> {
        let esp = self.esp()?;
        let old = esp.env()?;
        let mut new = old.clone();
        change(&mut new);
        match new == old {
            true => Ok(()),
            false => esp.write_env(&new),
        }
    }

    /// Reads all of a slot. Why it can't be booted, in words; nothing when it can.
    pub fn damage_of(&self, letter: Letter) -> anyhow::Result<Option<String>> {
        let Some(entry) = self.esp()?.entry(letter)? else {
            return Ok(Some("it is not in the boot menu".into()));
        };
        let slot = Slot {
            block: &*self.block,
            name: format!("slot {letter}"),
            range: self.layout.of(letter.role())?.range(),
            before: Before::Anything,
        };
        find_damage(&slot, &entry, &mut |_| {})
    }

    /// What an upgrade with this image is planned from.
    pub fn facts(&self, image: &ImageSet, var_free: u64) -> anyhow::Result<NodeFacts> {
        let esp = self.esp()?;
        let mut loaders = std::collections::BTreeMap::new();
        for (path, _) in esp::loaders(&image.manifest.boot) {
            if let Some(digest) = esp.digest(path)? {
                loaders.insert(path.to_owned(), digest);
            }
        }
        let all = |key: &str| self.cmdline.all(key).map(str::to_owned).collect();
        let data = self.cmdline.get("harrow.boot.data");
        Ok(NodeFacts {
            target: self.target.clone(),
            layout: self.layout.clone(),
            slot: self.slot,
            version: esp.entry(self.slot)?.map(|entry| entry.version),
            env: esp.env()?,
            consoles: all("console"),
            multipath: all("harrow.boot.multipath"),
            data_id: data.and_then(|d| d.strip_prefix("PARTUUID=").map(str::to_owned)),
            esp_room: esp.room(self.slot.other().role())?,
            loaders,
            var_free,
        })
    }
}

fn open_locked(target: &Target) -> anyhow::Result<Box<dyn Block>> {
    let what = "another program to be done with the disk";
    wait::until(what, LOCK_PATIENCE, LOCK_PAUSE, || {
        match target.open_running() {
            Err(error) if Failure::of(&error).is_some_and(|f| f.kind == Kind::DeviceInUse) => {
                Ok(None)
            }
            other => other.map(Some),
        }
    })
}

/// The disk of a partition: what is above it in sysfs, or what its map lies on.
fn disk_of(partition: &Path, roots: &Roots) -> anyhow::Result<PathBuf> {
    let doing = || format!("looking for the disk of {}", partition.display());
    let device = fs::canonicalize(partition).with_context(doing)?;
    let name = device.file_name().with_context(doing)?;
    let dir = fs::canonicalize(roots.sys.join("class/block").join(name)).with_context(doing)?;
    let disk = if dir.join("partition").exists() {
        dir.parent()
            .and_then(Path::file_name)
            .map(ToOwned::to_owned)
    } else {
        let slaves = fs::read_dir(dir.join("slaves")).with_context(doing)?;
        let names: Vec<_> = slaves.flatten().map(|entry| entry.file_name()).collect();
        match &names[..] {
            [one] => Some(one.clone()),
            _ => bail!("{} is no partition", partition.display()),
        }
    };
    let disk = disk.with_context(doing)?;
    // sysfs writes the slashes of names as exclamation marks.
    let name = disk.to_string_lossy().replace('!', "/");
    Ok(roots.dev.join(name))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_partition_leads_to_its_disk_also_when_it_is_a_map() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path();
        let devices = top.join("sys/devices/pci/block");
        for path in ["vda/vda4", "dm-0", "dm-3/slaves/dm-0"] {
            fs::create_dir_all(devices.join(path)).unwrap();
        }
        fs::write(devices.join("vda/vda4/partition"), "4\n").unwrap();
        fs::create_dir_all(top.join("sys/class/block")).unwrap();
        fs::create_dir_all(top.join("dev")).unwrap();
        for (name, place) in [("vda4", "vda/vda4"), ("dm-3", "dm-3"), ("dm-0", "dm-0")] {
            symlink(devices.join(place), top.join("sys/class/block").join(name)).unwrap();
            fs::write(top.join("dev").join(name), "").unwrap();
        }
        let roots = Roots::below(top);
        let disk = |name: &str| disk_of(&top.join("dev").join(name), &roots);
        assert_eq!(disk("vda4").unwrap(), top.join("dev/vda"));
        assert_eq!(disk("dm-3").unwrap(), top.join("dev/dm-0"));
        assert!(disk("dm-0").is_err());
        assert!(disk("none").is_err());
    }
}
