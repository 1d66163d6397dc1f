//! `harrow-build`: makes Harrow's bootable media.
//!
//! The only reader of the environment and the only place that prints. Exit codes: 0 done,
//! 1 the build failed, 2 the command line is wrong.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use harrow_build::mirror::MirrorChoice;
use harrow_build::rootfs::Refresh;
use harrow_build::set::ImageSet;
use harrow_build::{Options, progress};

/// Builds Harrow's bootable media out of Debian packages and overlays.
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
}

#[derive(Debug, Args)]
struct Build {
    /// What is in the image: net fetches the platform at first boot.
    #[arg(long, value_enum, default_value = "net")]
    flavor: Flavor,
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
    /// Where the base system is kept between builds.
    #[arg(long, value_name = "DIR", default_value = "cache")]
    cache: PathBuf,
    /// Builds the base system anew, for newer packages.
    #[arg(long)]
    refresh: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Flavor {
    Net,
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
    }
    Ok(())
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
