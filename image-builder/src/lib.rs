//! Builds Harrow's media: `Recipe -> Rootfs -> SlotImage -> ImageSet -> Artifact`.
//!
//! In: [`Options`], that is a recipe, overlays, a bundle and the installer's binary. Out: an image set
//! (`out/image`) and, for [`build_iso`], an ISO with `SHA256SUMS` and `version.yaml`. Each
//! arrow is one public function of the module of that name.

pub mod artifact;
pub mod bundle;
pub mod compose;
pub mod cpio;
pub mod mirror;
pub mod overlay;
pub mod payload;
pub mod progress;
pub mod recipe;
pub mod room;
pub mod rootfs;
pub mod set;
pub mod slot;
pub mod source;
pub mod squashfs;
pub mod tarstream;
pub mod tools;

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use harrow::image::manifest::{FileEntry, Flavor, MANIFEST_NAME};
use harrow::sys::cmd::Cmd;

use artifact::iso;
use artifact::release::{self, Release};
use bundle::BundleOptions;
use overlay::Entry;
use payload::Choice;
use progress::{Outcome, Progress};
use recipe::Recipe;
use rootfs::{Refresh, Rootfs};
use set::{Identity, ImageSet};
use source::Source;

/// Version of Harrow.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What to build, out of what, and where to.
#[derive(Debug, Clone)]
pub struct Options {
    /// Flavor of the image.
    pub flavor: Flavor,
    /// The recipe; the hooks are in the folder `hooks` beside it.
    pub recipe: PathBuf,
    /// Folder with `rootfs` and `initrd`, which are laid over the base.
    pub overlays: PathBuf,
    /// Folder with the boot menus' templates.
    pub templates: PathBuf,
    /// The installer, which becomes `/usr/bin/harrow`.
    pub harrow_binary: PathBuf,
    /// What the platform is made of. Its `with` names what of it a `full` image has beside what every
    /// cluster needs; the cache is this build's.
    pub bundle: BundleOptions,
    /// A config that lies on the medium.
    pub config: Option<PathBuf>,
    /// Where the results go.
    pub out: PathBuf,
    /// Where the base and the slot image are kept between builds.
    pub cache: PathBuf,
    /// Whether a base in the cache may be used.
    pub refresh: Refresh,
    /// Where the packages come from, as the environment says.
    pub mirror: mirror::MirrorChoice,
    /// `SOURCE_DATE_EPOCH`.
    pub source_date_epoch: Option<String>,
    /// `PATH`, to look for programs.
    pub path: OsString,
}

/// A finished ISO.
#[derive(Debug, Clone)]
pub struct Iso {
    /// The file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// The image set in it.
    pub set: ImageSet,
}

/// What the first stage finds out.
struct Inputs {
    recipe: Recipe,
    source: Source,
    rootfs_overlay: Vec<Entry>,
    initrd_overlay: Vec<Entry>,
    identity: Identity,
    /// Of flavor `full`.
    payload: Option<Choice>,
}

/// The name of a flavor, as in file names.
pub fn flavor_name(flavor: Flavor) -> &'static str {
    match flavor {
        Flavor::Net => "net",
        Flavor::Full => "full",
    }
}

/// The command that boots an ISO in QEMU, in this terminal. Without KVM, because a machine
/// can have its device and yet not run with it; there, `-enable-kvm` can be added.
pub fn qemu_line(iso: &Path) -> String {
    Cmd::new("qemu-system-x86_64")
        .args([
            "-cpu",
            "max",
            "-smp",
            "2",
            "-m",
            "4G",
            "-nographic",
            "-cdrom",
        ])
        .arg(iso)
        .to_string()
}

/// Builds the image set in `out/image`.
pub fn build_image(options: &Options, out: impl Write + Send) -> anyhow::Result<ImageSet> {
    let _locks = lock(options)?;
    let mut progress = Progress::new(out, 4 + stages(options.flavor));
    let (set, _, _) = run_image(options, &mut progress)?;
    Ok(set)
}

/// Builds the ISO, its checksums and its description in `out`, and the image set in `out/image`.
pub fn build_iso(options: &Options, out: impl Write + Send) -> anyhow::Result<Iso> {
    let _locks = lock(options)?;
    let mut progress = Progress::new(out, 6 + stages(options.flavor));
    let (set, rootfs, inputs) = run_image(options, &mut progress)?;
    let name = format!("harrow-{VERSION}-{}-amd64.iso", flavor_name(options.flavor));
    let path = options.out.join(&name);
    let id = progress.stage("ISO", || {
        let parts = iso::Parts {
            set: &set,
            boot: &rootfs.boot,
            templates: &options.templates,
            media: &inputs.recipe.media,
            config: options.config.as_deref(),
            epoch: inputs.source.epoch,
        };
        Ok((iso::build(&path, &parts)?, Outcome::Done))
    })?;
    let artifact = progress.stage("checksums", || {
        let artifact = set::describe(&path, &name)?;
        write_release(
            options,
            &set,
            &artifact,
            &id.uuid,
            inputs.source.commit.as_deref(),
        )?;
        Ok((artifact, Outcome::Done))
    })?;
    Ok(Iso {
        path,
        size: artifact.size,
        set,
    })
}

/// Stages that a flavor has more than `net`.
fn stages(flavor: Flavor) -> usize {
    match flavor {
        Flavor::Net => 0,
        Flavor::Full => 1,
    }
}

fn run_image(
    options: &Options,
    progress: &mut Progress<impl Write + Send>,
) -> anyhow::Result<(ImageSet, Rootfs, Inputs)> {
    let mut inputs = progress.stage("recipe and overlays", || {
        Ok((read_inputs(options)?, Outcome::Done))
    })?;
    if let Some(choice) = &inputs.payload {
        choice.fetch(&options.out, progress.lines())?;
        let payload = progress.stage("payload", || Ok((choice.lay_out()?, Outcome::Done)))?;
        inputs.rootfs_overlay.extend(payload);
    }
    let recipe = &inputs.recipe;
    let rootfs = progress.stage("base system", || {
        let hooks = options.recipe.with_file_name("hooks");
        let (rootfs, made) = rootfs::build(
            recipe,
            &hooks,
            &options.mirror,
            &options.cache,
            options.refresh,
            inputs.source.epoch,
        )?;
        Ok((rootfs, outcome(made)))
    })?;
    let slot = progress.stage("slot image", || {
        let (slot, made) = slot::build(
            &rootfs,
            &inputs.rootfs_overlay,
            &recipe.image,
            &options.cache,
            inputs.source.epoch,
        )?;
        Ok((slot, outcome(made)))
    })?;
    let set = progress.stage("image set", || {
        let dir = options.out.join("image");
        let set = set::build(
            &dir,
            &rootfs,
            &slot,
            &inputs.initrd_overlay,
            &inputs.identity,
        )?;
        Ok((set, Outcome::Done))
    })?;
    Ok((set, rootfs, inputs))
}

/// Two builds at once would take each other's folders away; the second one waits here. What
/// builds that were ended have left is removed.
fn lock(options: &Options) -> anyhow::Result<[File; 2]> {
    for folder in [&options.cache, &options.out] {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("creating {}", folder.display()))?;
    }
    let path = options.cache.join(".lock");
    let cache = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
    let out =
        File::open(&options.out).with_context(|| format!("opening {}", options.out.display()))?;
    for (file, folder) in [(&cache, &options.cache), (&out, &options.out)] {
        if file.try_lock().is_err() {
            tracing::warn!("another build uses {}; waiting for it", folder.display());
            file.lock()
                .with_context(|| format!("locking {}", folder.display()))?;
        }
        remove_leftovers(folder)?;
    }
    Ok([cache, out])
}

/// Folders that a build works in have names that begin like this.
const WORK: [&str; 4] = [".base-", ".slot-", ".image-", ".iso-"];

fn remove_leftovers(folder: &Path) -> anyhow::Result<()> {
    let context = || format!("reading {}", folder.display());
    for item in std::fs::read_dir(folder).with_context(context)? {
        let path = item.with_context(context)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && WORK.iter().any(|work| name.starts_with(work)) {
            std::fs::remove_dir_all(&path)
                .with_context(|| format!("removing {}", path.display()))?;
        }
    }
    Ok(())
}

fn outcome(made: bool) -> Outcome {
    if made { Outcome::Done } else { Outcome::Cached }
}

fn read_inputs(options: &Options) -> anyhow::Result<Inputs> {
    tools::check(&options.path)?;
    let payload = match options.flavor {
        Flavor::Full => Some(Choice::new(&options.bundle)?),
        Flavor::Net if options.bundle.with.is_empty() => None,
        Flavor::Net => bail!(
            "--with is for the flavor full: a node of flavor net fetches what its config names"
        ),
    };
    let recipe = Recipe::read(&options.recipe)?;
    if !options.harrow_binary.is_file() {
        bail!(
            "{} is missing: cargo build --release -p harrow",
            options.harrow_binary.display()
        );
    }
    if let Some(config) = &options.config {
        // Better here than in front of the machine.
        let found = harrow::install::run::read_config(config)?;
        harrow::install::run::check_config(&found)?;
    }
    let source = source::probe(
        options.recipe.parent().unwrap_or(Path::new(".")),
        options.source_date_epoch.as_deref(),
    )?;
    let identity = Identity {
        version: VERSION.to_owned(),
        flavor: options.flavor,
        created: source.created()?,
        base: format!("debian {}", recipe.base.suite),
        epoch: source.epoch,
        lacks: payload.as_ref().map(Choice::lacks).unwrap_or_default(),
    };
    let mut rootfs_overlay = overlay::read_dir(&options.overlays.join("rootfs"))?;
    rootfs_overlay.push(Entry::program("usr/bin/harrow", &options.harrow_binary));
    rootfs_overlay.push(Entry::bytes(
        "usr/lib/harrow/release",
        render_release(&identity),
    ));
    let locked = options.bundle.locked()?;
    // `full` is refused then; a node of `net` can still be installed, and joins nothing.
    let unpinned = locked.unpinned_for_all().map(|u| u.name.as_str());
    if let Some(warning) = bundle::no_cluster(unpinned) {
        tracing::warn!("{}", warning.trim_end());
    }
    rootfs_overlay.extend(payload::list(&locked)?);
    let initrd_overlay = overlay::read_dir(&options.overlays.join("initrd"))?;
    Ok(Inputs {
        payload,
        recipe,
        source,
        rootfs_overlay,
        initrd_overlay,
        identity,
    })
}

/// `/usr/lib/harrow/release`, in the form of os-release. The commit is not in it, so that
/// a commit alone does not make another image.
fn render_release(identity: &Identity) -> String {
    format!(
        "VERSION={}\nFLAVOR={}\nCREATED={}\nBASE=\"{}\"\n",
        identity.version,
        flavor_name(identity.flavor),
        identity.created,
        identity.base
    )
}

fn write_release(
    options: &Options,
    set: &ImageSet,
    artifact: &FileEntry,
    medium_uuid: &str,
    commit: Option<&str>,
) -> anyhow::Result<()> {
    let write = |name: &str, text: String| {
        let path = options.out.join(name);
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    };
    let version = Release {
        commit,
        medium_uuid,
        artifact,
        image: &set.manifest,
    };
    write("version.yaml", release::render_version(&version))?;
    let in_set = |file: &FileEntry| FileEntry {
        name: format!("image/{}", file.name),
        ..file.clone()
    };
    let mut sums = vec![
        artifact.clone(),
        set::describe(&options.out.join("version.yaml"), "version.yaml")?,
    ];
    sums.extend(set.manifest.files().map(in_set));
    sums.push(in_set(&set::describe(
        &set.dir.join(MANIFEST_NAME),
        MANIFEST_NAME,
    )?));
    write("SHA256SUMS", release::render_sums(&sums))
}
