//! Mounts of a node, by system calls: at boot under emulation every process costs.
//!
//! In: what goes where. Out: mounts that stay, or guards ([`Helper`]) that take them away.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, unmount,
};

use super::files;

/// Which file system, with which options.
#[derive(Debug, Clone, Copy)]
pub struct Kind<'a> {
    /// Type, such as `ext4`.
    pub fstype: &'a str,
    /// Flags.
    pub flags: MountFlags,
    /// Options of the file system, comma separated; may be empty.
    pub options: &'a str,
}

/// Flags for a file system that holds only data for root.
pub const DATA_ONLY: MountFlags = MountFlags::NOSUID
    .union(MountFlags::NODEV)
    .union(MountFlags::NOEXEC);

/// Mounts `source` on `target`, which is created when it is not there.
pub fn attach(source: &Path, target: &Path, kind: Kind) -> anyhow::Result<()> {
    let doing = || {
        format!(
            "mounting {} ({}) on {}",
            source.display(),
            kind.fstype,
            target.display()
        )
    };
    if !target.is_dir() {
        fs::create_dir_all(target).with_context(doing)?;
    }
    let options = CString::new(kind.options).with_context(doing)?;
    mount(source, target, kind.fstype, kind.flags, options.as_c_str()).with_context(doing)
}

/// Shows `source` at `target` too; both must be there.
pub fn bind(source: &Path, target: &Path) -> anyhow::Result<()> {
    mount_bind(source, target)
        .with_context(|| format!("mounting {} on {}", source.display(), target.display()))
}

/// A folder for root alone.
pub fn private_dir(path: &Path) -> anyhow::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("creating the folder {}", path.display()))
}

/// The image's `/etc` with a layer in memory over it: changes are gone at the next boot.
pub fn overlay_etc() -> anyhow::Result<()> {
    let top = Path::new("/run/harrow/etc");
    private_dir(top)?;
    for name in ["upper", "work"] {
        let dir = top.join(name);
        fs::create_dir_all(&dir)
            .with_context(|| format!("creating the folder {}", dir.display()))?;
    }
    let kind = Kind {
        fstype: "overlay",
        flags: MountFlags::empty(),
        options: "lowerdir=/etc,upperdir=/run/harrow/etc/upper,workdir=/run/harrow/etc/work",
    };
    attach(Path::new("overlay"), Path::new("/etc"), kind)
}

/// A path as PID 1 sees it. What is mounted there stays when the helpers go.
pub fn of_pid_1(path: &str) -> PathBuf {
    files::under(Path::new("/proc/1/root"), path)
}

/// Mounts that are taken away when this goes out of scope, the last one first.
#[derive(Debug, Default)]
pub struct Helper {
    targets: Vec<PathBuf>,
}

impl Helper {
    /// In a new root of which nothing is mounted yet: `/proc`, and PID 1's own `/dev`, `/run`
    /// and `/sys`.
    pub fn of_new_root() -> anyhow::Result<Self> {
        let mut helper = Self::default();
        let kind = Kind {
            fstype: "proc",
            flags: DATA_ONLY,
            options: "",
        };
        attach(Path::new("proc"), Path::new("/proc"), kind)?;
        helper.targets.push("/proc".into());
        for dir in ["/dev", "/run", "/sys"] {
            helper.show(&of_pid_1(dir), Path::new(dir))?;
        }
        Ok(helper)
    }

    /// Shows the image alone, without what is mounted over it, at `target`.
    pub fn image(&mut self, target: &Path) -> anyhow::Result<()> {
        private_dir(target)?;
        self.show(Path::new("/"), target)
    }

    /// A bind mount that is nobody's peer: what is mounted or unmounted in the one place later
    /// does not happen in the other.
    fn show(&mut self, source: &Path, target: &Path) -> anyhow::Result<()> {
        bind(source, target)?;
        self.targets.push(target.to_owned());
        mount_change(target, MountPropagationFlags::PRIVATE)
            .with_context(|| format!("making the mount on {} private", target.display()))
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        for target in self.targets.drain(..).rev() {
            // Whoever still has a file open there keeps it.
            if let Err(e) = unmount(&target, UnmountFlags::DETACH) {
                tracing::warn!("unmounting {}: {e}", target.display());
            }
        }
    }
}
