//! `harrow-build`: makes Harrow's bootable media.
//!
//! The only reader of the environment and the only place that prints. Exit codes: 0 done,
//! 1 the build failed, 2 the command line is wrong.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use harrow::sys::net::remote::Limits;
use harrow_build::bundle::{self, BundleOptions, HowToHash};
use harrow_build::mirror::MirrorChoice;
use harrow_build::rootfs::Refresh;
use harrow_build::set::ImageSet;
use harrow_build::{Options, progress};

/// Builds Harrow's bootable media out of Debian packages, overlays and the cluster payload.
///
/// Packages come from the archive in HARROW_DEBIAN_MIRROR (and HARROW_DEBIAN_SECURITY_MIRROR),
/// else from those that this machine's apt uses for Debian, else from mmdebstrap's default.
/// Needs root, because it unpacks a system with its owners and device nodes.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Logs every program that is run.
    #[arg(long, short, global = true)]
    verbose: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Builds a hybrid ISO for BIOS and UEFI, CD and USB stick.
    Iso {
        #[command(flatten)]
        build: Build,
        /// A config that is put on the ISO: installs without questions. Its password is hashed;
        /// other secrets, such as the token, can be read by whoever has the ISO.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Builds only the image set, in OUT/image.
    Image {
        #[command(flatten)]
        build: Build,
    },
    /// The upstream artifacts of the cluster payload: pins, cache, mirrors.
    Bundle {
        #[command(subcommand)]
        verb: BundleVerb,
    },
}

#[derive(Debug, Subcommand)]
enum BundleVerb {
    /// Finds the pins that are missing and writes them into the lock, or with --only those that
    /// are named, found anew.
    Lock {
        #[command(flatten)]
        of: BundleArgs,
        /// Downloads and hashes what no list of checksums names. Only its server vouches for it.
        #[arg(long)]
        by_download: bool,
    },
    /// Fetches what has a pin into the cache, each file checked.
    Fetch {
        #[command(flatten)]
        of: BundleArgs,
    },
    /// Hashes the cache again.
    Verify {
        #[command(flatten)]
        of: BundleArgs,
    },
    /// Lists the artifacts: pinned or not, their sizes, whether the cache has them.
    List {
        #[command(flatten)]
        of: BundleArgs,
        /// Writes JSON.
        #[arg(long)]
        json: bool,
    },
    /// Copies what has a pin to a folder that a web server can serve, or into a registry.
    Mirror {
        #[command(flatten)]
        of: BundleArgs,
        /// A folder, or oci://HOST[:PORT][/PREFIX] (oci+http:// without TLS).
        #[arg(long, value_name = "DIR|REGISTRY")]
        to: String,
    },
}

/// Which bundle, and where its bytes come from.
#[derive(Debug, Args)]
struct BundleSource {
    /// What the payload is made of; its pins are in the file of the same name that ends in .lock.
    #[arg(long, value_name = "FILE", default_value = "image-builder/bundle.toml")]
    bundle: PathBuf,
    /// Reads every artifact from a mirror: a folder, its URL, or oci://HOST[:PORT][/PREFIX].
    #[arg(long, value_name = "MIRROR")]
    from: Option<String>,
    /// Mirrors, credentials and TLS of registries, as in RKE2's registries.yaml.
    #[arg(long, value_name = "FILE")]
    registries: Option<PathBuf>,
    /// Credentials of registries, as docker keeps them; by default those of this user.
    #[arg(long, value_name = "FILE")]
    docker_config: Option<PathBuf>,
    /// Certificates to trust beside the usual ones, in PEM.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Downloads at a time.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    parallel: u8,
    /// Faults in a row after which a download is given up.
    #[arg(long, value_name = "N", default_value_t = Limits::default().retries)]
    retries: u32,
    /// Seconds without a byte after which a connection counts as broken.
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::default().stall.as_secs(), value_parser = clap::value_parser!(u64).range(1..))]
    stall_limit: u64,
}

#[derive(Debug, Args)]
struct BundleArgs {
    #[command(flatten)]
    source: BundleSource,
    /// Where artifacts are kept.
    #[arg(long, value_name = "DIR", default_value = "cache")]
    cache: PathBuf,
    /// Only this artifact; can be given more than once.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Only what every cluster needs, and this addon or CNI; can be given more than once.
    #[arg(long, value_name = "NAME", conflicts_with = "only")]
    with: Vec<String>,
}

#[derive(Debug, Args)]
struct Build {
    /// What is in the image: net fetches the platform at first boot, full has it inside.
    #[arg(long, value_enum, default_value = "net")]
    flavor: Flavor,
    /// With full: this addon or CNI is in the image too, beside what every cluster needs; `all` of
    /// them; can be given more than once. Without a CNI, canal is in.
    #[arg(long, value_name = "NAME")]
    with: Vec<String>,
    #[command(flatten)]
    bundle: BundleSource,
    /// What the OS is made of; mmdebstrap's hooks are in the folder hooks beside it.
    #[arg(long, value_name = "FILE", default_value = "image-builder/recipe.toml")]
    recipe: PathBuf,
    /// Folder with what is laid over the OS (rootfs) and the initrd (initrd).
    #[arg(long, value_name = "DIR", default_value = "overlays")]
    overlays: PathBuf,
    /// Folder with the boot menus' templates.
    #[arg(long, value_name = "DIR", default_value = "iso")]
    templates: PathBuf,
    /// The installer that is put into the image.
    #[arg(long, value_name = "FILE", default_value = "target/release/harrow")]
    harrow_binary: PathBuf,
    /// Where the results go.
    #[arg(long, value_name = "DIR", default_value = "out")]
    out: PathBuf,
    /// Where the base system and artifacts are kept between builds.
    #[arg(long, value_name = "DIR", default_value = "cache")]
    cache: PathBuf,
    /// Builds the base system anew, for newer packages.
    #[arg(long)]
    refresh: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Flavor {
    Net,
    Full,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let level = if cli.verbose {
        tracing::Level::DEBUG
    } else {
        tracing::Level::WARN
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .without_time()
        .init();
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            if let Some(hint) = harrow::bundle::hint_of(&error) {
                eprintln!("hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Iso { build, config } => {
            let iso = harrow_build::build_iso(&options(build, config), std::io::stdout())?;
            print_set(&iso.set);
            println!("{} ({})", iso.path.display(), progress::size(iso.size));
            println!("boot it: {}", harrow_build::qemu_line(&iso.path));
        }
        Command::Image { build } => {
            let set = harrow_build::build_image(&options(build, None), std::io::stdout())?;
            print_set(&set);
        }
        Command::Bundle { verb } => run_bundle(verb)?,
    }
    Ok(())
}

fn run_bundle(verb: BundleVerb) -> anyhow::Result<()> {
    let out = &mut std::io::stdout();
    match verb {
        BundleVerb::Lock { of, by_download } => {
            let how = match by_download {
                true => HowToHash::Download,
                false => HowToHash::Never,
            };
            bundle::lock(&bundle_options(of), how, out)
        }
        BundleVerb::Fetch { of } => bundle::fetch(&bundle_options(of), out),
        BundleVerb::Verify { of } => bundle::verify(&bundle_options(of), out),
        BundleVerb::List { of, json } => {
            let rows = bundle::list(&bundle_options(of))?;
            let text = match json {
                true => serde_json::to_string_pretty(&rows)? + "\n",
                false => bundle::render_table(&rows),
            };
            Ok(out.write_all(text.as_bytes())?)
        }
        BundleVerb::Mirror { of, to } => bundle::mirror(&bundle_options(of), &to, out),
    }
}

fn bundle_options(of: BundleArgs) -> BundleOptions {
    BundleOptions {
        only: of.only,
        with: of.with,
        ..source_options(of.source, of.cache)
    }
}

#[allow(clippy::disallowed_methods)] // main is the reader of the environment
fn source_options(of: BundleSource, cache: PathBuf) -> BundleOptions {
    let folder = |name: &str| {
        std::env::var_os(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    let docker =
        folder("DOCKER_CONFIG").or_else(|| folder("HOME").map(|home| home.join(".docker")));
    let docker = docker
        .map(|dir| dir.join("config.json"))
        .filter(|path| path.is_file());
    BundleOptions {
        bundle: of.bundle,
        cache,
        from: of.from,
        registries: of.registries,
        docker_config: of.docker_config.or(docker),
        ca: of.ca,
        only: Vec::new(),
        with: Vec::new(),
        parallel: of.parallel.into(),
        limits: Limits {
            retries: of.retries,
            stall: Duration::from_secs(of.stall_limit),
        },
    }
}

fn print_set(set: &ImageSet) {
    let manifest = &set.manifest;
    println!(
        "{}: Harrow {} with Linux {}, slot image {}, kernel {}, initrd {}",
        set.dir.display(),
        manifest.version,
        manifest.kernel_release,
        progress::size(manifest.slot.file.size),
        progress::size(manifest.boot.kernel.size),
        progress::size(manifest.boot.initrd.size),
    );
}

#[allow(clippy::disallowed_methods)] // main is the reader of the environment
fn options(build: Build, config: Option<PathBuf>) -> Options {
    let text = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
    Options {
        flavor: match build.flavor {
            Flavor::Net => harrow::image::manifest::Flavor::Net,
            Flavor::Full => harrow::image::manifest::Flavor::Full,
        },
        bundle: BundleOptions {
            with: build.with,
            ..source_options(build.bundle, build.cache.clone())
        },
        recipe: build.recipe,
        overlays: build.overlays,
        templates: build.templates,
        harrow_binary: build.harrow_binary,
        config,
        out: build.out,
        cache: build.cache,
        refresh: if build.refresh {
            Refresh::Anew
        } else {
            Refresh::Cached
        },
        mirror: MirrorChoice {
            archive: text("HARROW_DEBIAN_MIRROR"),
            security: text("HARROW_DEBIAN_SECURITY_MIRROR"),
        },
        source_date_epoch: text("SOURCE_DATE_EPOCH"),
        path: std::env::var_os("PATH").unwrap_or_default(),
    }
}
