//! Makes the booted image this node, before the node's own PID 1 starts.
//!
//! In: kernel arguments and the config on OEM. Out: `/etc` as an overlay with every file of the
//! config, `/var` and the kept folders mounted, and a note of what was done. A damaged config
//! or /var does not stop the boot: the node comes up for repair and says so.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, bail};

use crate::cluster;
use crate::config::{Config, check_sources};
use crate::failure::{Failure, Kind};
use crate::live;
use crate::sys::cmdline::Cmdline;

use super::accounts::Accounts;
use super::boot::BootParams;
use super::files::{self, Content, Names, NodeFile};
use super::mounts::{self, Helper};
use super::render::{self, NodeInputs};
use super::seed::{self, Existing};
use super::source;
use super::state::{ApplyState, Role, STATE_PATH};
use super::{console, disks, machine, payload};

/// Folders that every node keeps on VAR.
pub const KEPT: [&str; 7] = [
    "/home",
    "/root",
    "/opt",
    "/srv",
    "/usr/local",
    "/etc/rancher",
    "/etc/cni",
];
/// Files of kept folders that only the config decides: those that it says nothing of any more
/// would go on counting. A folder means every file in it.
const OWN: [&str; 3] = [
    cluster::CONFIG_DIR,
    cluster::REGISTRIES_PATH,
    cluster::AUDIT_PATH,
];
/// Where kept folders really lie.
pub const KEPT_DIR: &str = "/var/lib/harrow/persist";
/// The machine's id, made at its first boot.
const MACHINE_ID: &str = "/var/lib/harrow/machine-id";
/// Root hash of the image whose `/var` was copied last.
const SEEDED: &str = "/var/lib/harrow/seeded";
/// The image without anything mounted over it.
pub const IMAGE: &str = "/run/harrow/image";

/// How to apply.
#[derive(Debug, Clone, Copy, Default)]
pub struct ApplyOptions {
    /// In the new root before PID 1 of the node: mount everything. Without, only the files are
    /// written again.
    pub initrd: bool,
}

/// Configures this machine.
pub fn run(options: &ApplyOptions) -> anyhow::Result<()> {
    let started = Instant::now();
    // Dropped last: takes the helping mounts away again.
    let mut helper = if options.initrd {
        Helper::of_new_root()?
    } else {
        Helper::default()
    };
    mounts::private_dir(Path::new("/run/harrow"))?;
    helper.image(Path::new(IMAGE))?;
    let params = BootParams::probe()?;
    let mut problems = Problems::default();
    let state = if options.initrd {
        boot(&params, &mut problems)?
    } else {
        write_again(&params, &mut problems)?
    };
    ApplyState {
        problems: problems.0,
        milliseconds: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        ..state
    }
    .write(Path::new(STATE_PATH))
}

/// What went wrong without stopping the boot; said on the consoles too.
#[derive(Debug, Default)]
struct Problems(Vec<String>);

impl Problems {
    fn note(&mut self, error: &anyhow::Error) {
        let text = format!("{error:#}");
        console::warn(&text);
        self.0.push(text);
    }
}

fn boot(params: &BootParams, problems: &mut Problems) -> anyhow::Result<ApplyState> {
    mounts::overlay_etc()?;
    let config = if params.live {
        None
    } else {
        config_of_oem(params, problems)
    };
    let role = mount_var(params, problems)?;
    seed_var(params)?;
    let machine_id = machine_id()?;
    let used = config.clone().unwrap_or_else(render::fallback_config);
    let kept = KEPT
        .iter()
        .map(|path| (*path).to_owned())
        .chain(used.os.persistent_paths.clone());
    for path in kept {
        if let Err(error) = keep(&path) {
            problems.note(&error);
        }
    }
    let accounts = accounts_of_image()?;
    let files = if params.live {
        render::render_live(&machine_id, live_config(problems).as_ref())
    } else {
        render::render_node(&NodeInputs {
            config: &used,
            accounts: &accounts,
            machine_id: &machine_id,
            data: params.data.as_deref().filter(|_| role == Role::Node),
            size: machine::probe(),
        })
    };
    let mut files = files;
    if role == Role::Degraded {
        // A server without its data would found a second cluster of the same name and address.
        files.retain(|file| !cluster::starts_rke2(file));
    }
    let payload = payload::dir_of(Path::new("/"));
    files.push(NodeFile::link(cluster::PAYLOAD_DIR, payload));
    write_files(&files, &accounts, problems);
    if params.data.is_some() && role == Role::Node {
        let sealed = seal(Path::new(render::DATA_DIR));
        sealed.unwrap_or_else(|error| problems.note(&error));
    }
    Ok(ApplyState {
        role,
        config_used: config.is_some(),
        machine_id,
        problems: Vec::new(),
        milliseconds: 0,
    })
}

/// On a running node: the files alone.
fn write_again(params: &BootParams, problems: &mut Problems) -> anyhow::Result<ApplyState> {
    let state = ApplyState::read(Path::new(STATE_PATH))
        .context("this system was not started by `harrow apply`")?;
    if params.live {
        bail!("this is a live system: it has no config to apply");
    }
    let config = source::read_config(Path::new(source::OEM_DIR))?;
    let accounts = accounts_of_image()?;
    let files = render::render_node(&NodeInputs {
        config: &config,
        accounts: &accounts,
        machine_id: &state.machine_id,
        data: params.data.as_deref().filter(|_| state.role == Role::Node),
        size: machine::probe(),
    });
    write_files(&files, &accounts, problems);
    Ok(ApplyState {
        config_used: true,
        ..state
    })
}

/// What the medium and the command line say of the network that an install needs; none when they
/// say nothing of it, or can't be read: the installer says why later.
fn live_config(problems: &mut Problems) -> Option<Config> {
    let read = || {
        let line = fs::read_to_string("/proc/cmdline").context("reading /proc/cmdline")?;
        live::sources_at_hand(&Cmdline::parse(&line))
    };
    let read = read().context("looking for a config of the network on the medium");
    let sources = read.map_err(|error| problems.note(&error)).ok()?;
    let checked = check_sources(&sources);
    let install = &checked.answers.install;
    let is_said = install.management_interface != Default::default();
    let config = checked.usable_config().ok();
    config.filter(|_| is_said || !install.networks.is_empty())
}

/// The config, or none after saying why.
fn config_of_oem(params: &BootParams, problems: &mut Problems) -> Option<Config> {
    let read = || {
        let device = params
            .oem
            .as_deref()
            .context("the kernel command line has no harrow.boot.oem")?;
        let oem = mounts::of_pid_1(source::OEM_DIR);
        disks::mount_oem(device, &oem)?;
        source::read_config(&oem)
    };
    let config =
        read().context("this node boots without its config, so nobody can log in as rancher");
    config.map_err(|error| problems.note(&error)).ok()
}

fn mount_var(params: &BootParams, problems: &mut Problems) -> anyhow::Result<Role> {
    if params.live {
        disks::mount_var_in_memory()?;
        return Ok(Role::Live);
    }
    let mounted = params
        .var
        .as_deref()
        .context("the kernel command line has no harrow.boot.var")
        .and_then(disks::mount_var)
        .context("/var is in memory for this boot, for repair only");
    match mounted {
        Ok(()) => Ok(Role::Node),
        Err(error) => {
            problems.note(&error);
            disks::mount_var_in_memory()?;
            Ok(Role::Degraded)
        }
    }
}

/// Gives `/var` what the image has there: all of it at first, later what a new image brings.
/// dpkg's database describes the image, so it is always the image's own.
fn seed_var(params: &BootParams) -> anyhow::Result<()> {
    let image = Path::new(IMAGE).join("var");
    let dpkg = Path::new("lib/dpkg");
    let hash = params.root_hash.as_deref().unwrap_or("unknown");
    let seeded = fs::read_to_string(SEEDED).unwrap_or_default();
    if seeded != hash {
        // A first copy that was cut off may have left files without their content.
        let existing = if seeded.is_empty() {
            Existing::Replace
        } else {
            Existing::Keep
        };
        seed::copy(&image, Path::new("/var"), existing, &|path| path == dpkg)?;
        mounts::private_dir(Path::new("/var/lib/harrow"))?;
        sync("/var")?;
        fs::write(SEEDED, hash).with_context(|| format!("writing {SEEDED}"))?;
    }
    if image.join(dpkg).is_dir() {
        let target = Path::new("/var").join(dpkg);
        fs::create_dir_all(&target)
            .with_context(|| format!("creating the folder {}", target.display()))?;
        mounts::bind(&image.join(dpkg), &target)?;
    }
    Ok(())
}

fn sync(path: &str) -> anyhow::Result<()> {
    let doing = || format!("syncing {path}");
    let dir = fs::File::open(path).with_context(doing)?;
    rustix::fs::syncfs(&dir).with_context(doing)
}

/// Makes a mount point that nothing can be written to while nothing is mounted there: Longhorn would
/// begin a disk in the folder and fill VAR, when its own disk is late or gone.
fn seal(point: &Path) -> anyhow::Result<()> {
    use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
    let doing = || format!("sealing the mount point {}", point.display());
    fs::create_dir_all(point).with_context(doing)?;
    let dir = fs::File::open(point).with_context(doing)?;
    let flags = ioctl_getflags(&dir).with_context(doing)?;
    ioctl_setflags(&dir, flags | IFlags::IMMUTABLE).with_context(doing)
}

/// The machine's id; made when there is none yet.
fn machine_id() -> anyhow::Result<String> {
    let known = fs::read_to_string(MACHINE_ID).unwrap_or_default();
    let known = known.trim();
    if known.len() == 32 && known.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(known.to_owned());
    }
    let id = uuid::Uuid::new_v4().simple().to_string();
    let file = NodeFile::with_mode(MACHINE_ID, format!("{id}\n"), 0o444);
    files::write(Path::new("/"), &file, &Names::root_only())?;
    Ok(id)
}

/// Puts a folder of VAR over `path`, filled from the image at its first use.
fn keep(path: &str) -> anyhow::Result<()> {
    if path.starts_with("/var/") {
        return Ok(());
    }
    let doing = || format!("keeping {path}");
    let target = Path::new(path);
    let kept = files::under(Path::new(KEPT_DIR), path);
    let image = files::under(Path::new(IMAGE), path);
    fs::create_dir_all(target).with_context(doing)?;
    if !kept.is_dir() {
        let parent = kept.parent().unwrap_or(&kept);
        fs::create_dir_all(parent).with_context(doing)?;
        let unfinished = unfinished(&kept);
        fs::create_dir_all(&unfinished).with_context(doing)?;
        if image.is_dir() {
            seed::copy_attributes(&image, &unfinished)?;
            seed::copy(&image, &unfinished, Existing::Replace, &|_| false)?;
            sync("/var")?;
        }
        fs::rename(&unfinished, &kept).with_context(doing)?;
    }
    mounts::bind(&kept, target)
}

fn unfinished(kept: &Path) -> PathBuf {
    let mut name = kept.file_name().unwrap_or_default().to_owned();
    name.push(".harrow-new");
    kept.with_file_name(name)
}

/// The account files of the image, whatever lies over them.
pub(super) fn accounts_of_image() -> anyhow::Result<Accounts> {
    let read = |name: &str| {
        let path = Path::new(IMAGE).join("etc").join(name);
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    };
    Ok(Accounts {
        passwd: read("passwd")?,
        shadow: read("shadow")?,
        group: read("group")?,
        gshadow: read("gshadow")?,
    })
}

/// A node that was started by `harrow apply`, with what its files are made from besides its
/// config.
pub struct RunningNode {
    /// What was done at this boot.
    pub state: ApplyState,
    /// The boot contract.
    pub params: BootParams,
    /// The image's account files.
    pub accounts: Accounts,
    /// Keeps the image visible.
    _helper: Helper,
}

impl RunningNode {
    /// This node; an error on any other machine.
    pub fn probe() -> anyhow::Result<Self> {
        let not_a_node = |why: String| {
            let hint = "run it on an installed node, as root: sudo harrow ...";
            Failure::error(Kind::NotANode, why, hint)
        };
        if !rustix::process::geteuid().is_root() {
            return Err(not_a_node("only root may do this".to_owned()));
        }
        let state = ApplyState::of_this_boot()?;
        if state.role == Role::Live {
            return Err(not_a_node("this is a live system".to_owned()));
        }
        let mut helper = Helper::default();
        helper.image(Path::new(IMAGE))?;
        Ok(Self {
            params: BootParams::probe()?,
            accounts: accounts_of_image()?,
            state,
            _helper: helper,
        })
    }

    /// The files that a config makes here.
    pub fn render(&self, config: &Config) -> Vec<NodeFile> {
        let in_use = |_: &&Path| self.state.role == Role::Node;
        render::render_node(&NodeInputs {
            config,
            accounts: &self.accounts,
            machine_id: &self.state.machine_id,
            data: self.params.data.as_deref().filter(in_use),
            size: machine::probe(),
        })
    }
}

/// Users and groups, with those that the files bring.
pub(super) fn names_of(files: &[NodeFile], accounts: &Accounts) -> Names {
    let text = |path: &str, image: &str| {
        let found = files.iter().find(|f| f.path == path).map(|f| &f.content);
        match found {
            Some(Content::File { bytes, .. }) => String::from_utf8_lossy(bytes).into_owned(),
            _ => image.to_owned(),
        }
    };
    Names::parse(
        &text("/etc/passwd", &accounts.passwd),
        &text("/etc/group", &accounts.group),
    )
}

/// Writes what can be written; the rest is noted.
fn write_files(files: &[NodeFile], accounts: &Accounts, problems: &mut Problems) {
    let names = names_of(files, accounts);
    let top = Path::new("/");
    for path in files::leftover(top, files, &OWN) {
        let removed = fs::remove_file(&path);
        if let Err(error) = removed.with_context(|| format!("removing {}", path.display())) {
            problems.note(&error);
        }
    }
    for file in files {
        if let Err(error) = files::write(top, file, &names) {
            problems.note(&error);
        }
    }
}
