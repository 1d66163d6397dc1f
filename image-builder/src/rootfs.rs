//! The Debian base: packages, initrd and boot loaders, made by mmdebstrap and kept.
//!
//! In: a [`Recipe`], the mirror and the hooks. Out: a [`Rootfs`], that is a tar of the base
//! system and the boot files that were made in it. It is cached by a digest of everything that
//! goes in except the mirror and the versions of the packages; `--refresh` makes it anew.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use harrow::sys::cmd::Cmd;
use sha2::{Digest as _, Sha256};

use crate::mirror::{self, MirrorChoice};
use crate::recipe::Recipe;

/// The folder in the chroot where the hooks put boot files.
const STAGING: &str = "harrow-staging";

/// Increased when this module does something else with the same inputs.
const CACHE_VERSION: u32 = 1;

/// A finished base system in the cache.
#[derive(Debug, Clone)]
pub struct Rootfs {
    /// Digest of what it was made of, in hex.
    pub key: String,
    /// The base system, without the boot files.
    pub tar: PathBuf,
    /// Kernel, initrd and boot loaders, by the names that the hooks gave them.
    pub boot: PathBuf,
    /// Release of the kernel.
    pub kernel_release: String,
}

/// Whether a base in the cache may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresh {
    /// Use it if there is one.
    Cached,
    /// Make it anew, for newer packages.
    Anew,
}

/// A script that mmdebstrap runs, see `man mmdebstrap`, section HOOKS.
struct Hook {
    /// Its moment: `essential` or `customize`.
    stage: String,
    path: PathBuf,
    content: Vec<u8>,
}

/// The digest that a base of this recipe and these hooks is cached by.
pub fn cache_key(recipe: &Recipe, hooks: &Path) -> anyhow::Result<String> {
    Ok(key_of(recipe, &read_hooks(hooks)?))
}

/// Takes the base from the cache or makes it. The second value is whether it was made.
pub fn build(
    recipe: &Recipe,
    hooks: &Path,
    choice: &MirrorChoice,
    cache: &Path,
    refresh: Refresh,
    epoch: u64,
) -> anyhow::Result<(Rootfs, bool)> {
    let hooks = read_hooks(hooks)?;
    let key = key_of(recipe, &hooks);
    let dir = cache.join(format!("base-{}", &key[..16]));
    if refresh == Refresh::Cached && dir.is_dir() {
        return Ok((open(key, &dir)?, false));
    }
    let work = tempfile::Builder::new()
        .prefix(".base-")
        .tempdir_in(cache)
        .with_context(|| format!("creating a folder in {}", cache.display()))?;
    let full = work.path().join("full.tar");
    run_mmdebstrap(recipe, &hooks, choice, work.path(), &full, epoch)?;
    split_staging(&full, work.path()).context("taking the boot files out of the base")?;
    std::fs::remove_file(&full).context("removing the base's first tar")?;
    if dir.exists() {
        std::fs::remove_dir_all(&dir).with_context(|| format!("removing {}", dir.display()))?;
    }
    let work = work.keep();
    std::fs::rename(&work, &dir)
        .with_context(|| format!("renaming {} to {}", work.display(), dir.display()))?;
    Ok((open(key, &dir)?, true))
}

fn open(key: String, dir: &Path) -> anyhow::Result<Rootfs> {
    let boot = dir.join("boot");
    let release = boot.join("kernel-release");
    let kernel_release = std::fs::read_to_string(&release).with_context(|| {
        format!(
            "reading {}; --refresh makes the base anew",
            release.display()
        )
    })?;
    Ok(Rootfs {
        key,
        tar: dir.join("base.tar"),
        boot,
        kernel_release: kernel_release.trim().to_owned(),
    })
}

/// The scripts of a folder, `<stage>-NN-what.sh`, in the order of their names.
fn read_hooks(dir: &Path) -> anyhow::Result<Vec<Hook>> {
    let dir = std::path::absolute(dir).with_context(|| format!("finding {}", dir.display()))?;
    let mut hooks = Vec::new();
    for item in std::fs::read_dir(&dir)
        .with_context(|| format!("reading the hooks in {}", dir.display()))?
    {
        let path = item
            .with_context(|| format!("reading the hooks in {}", dir.display()))?
            .path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let Some(name) = name.strip_suffix(".sh") else {
            continue;
        };
        let stage = name.split('-').next().unwrap_or_default().to_owned();
        if !["setup", "extract", "essential", "customize"].contains(&stage.as_str()) {
            bail!(
                "{}: the name does not begin with a stage of mmdebstrap",
                path.display()
            );
        }
        let content =
            std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        hooks.push(Hook {
            stage,
            path,
            content,
        });
    }
    if hooks.is_empty() {
        bail!(
            "{} has no hooks (*.sh), so there would be no initrd",
            dir.display()
        );
    }
    hooks.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(hooks)
}

fn key_of(recipe: &Recipe, hooks: &[Hook]) -> String {
    let base = &recipe.base;
    let mut hash = Sha256::new();
    let mut add = |what: &str, value: &[u8]| {
        hash.update((what.len() as u64).to_le_bytes());
        hash.update(what);
        hash.update((value.len() as u64).to_le_bytes());
        hash.update(value);
    };
    add("version", &CACHE_VERSION.to_le_bytes());
    add("suite", base.suite.as_bytes());
    for (what, values) in [
        ("component", &base.components),
        ("exclude", &base.path_exclude),
        ("include", &base.path_include),
        ("purge", &base.purge),
    ] {
        values.iter().for_each(|v| add(what, v.as_bytes()));
    }
    for package in base.package_names() {
        add("package", package.as_bytes());
    }
    add("dracut", recipe.dracut.render_conf().as_bytes());
    for hook in hooks {
        let name = hook.path.file_name().unwrap_or_default();
        add("hook", name.as_encoded_bytes());
        add("script", &hook.content);
    }
    hex::encode(hash.finalize())
}

fn run_mmdebstrap(
    recipe: &Recipe,
    hooks: &[Hook],
    choice: &MirrorChoice,
    work: &Path,
    tar: &Path,
    epoch: u64,
) -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!(
            "building the base system unpacks files of many owners, which takes root: run it with sudo"
        );
    }
    if !Path::new(mirror::KEYRING).is_file() {
        bail!(
            "Debian's keys are not on this machine ({}): install the package debian-archive-keyring",
            mirror::KEYRING
        );
    }
    let mirror = mirror::resolve(choice, &mirror::probe_host()?)?;
    let sources = mirror.map(|m| m.render_sources(&recipe.base));
    let conf = work.join("dracut.conf");
    std::fs::write(&conf, recipe.dracut.render_conf())
        .with_context(|| format!("writing {}", conf.display()))?;
    let conf = std::path::absolute(&conf).context("finding dracut.conf")?;
    let log = work.with_file_name("mmdebstrap.log");
    let file = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
    let sources = sources.as_ref().map_or(&[][..], |s| s.as_slice());
    let status = mmdebstrap_command(recipe, hooks, sources, tar)
        .env("SOURCE_DATE_EPOCH", epoch.to_string())
        .env("HARROW_DRACUT_CONF", &conf)
        .env("HARROW_PURGE", recipe.base.purge.join(" "))
        .spawn_logged(file.try_clone().context("duplicating a file")?, file)?
        .wait()
        .context("waiting for mmdebstrap")?;
    if !status.success() {
        let text = std::fs::read(&log).with_context(|| format!("reading {}", log.display()))?;
        bail!(
            "mmdebstrap failed ({status}); all it said is in {}, and at the end:\n  {}",
            log.display(),
            last_lines(&String::from_utf8_lossy(&text), 25)
        );
    }
    Ok(())
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n  ")
}

fn mmdebstrap_command(recipe: &Recipe, hooks: &[Hook], sources: &[String], tar: &Path) -> Cmd {
    let base = &recipe.base;
    let mut cmd = Cmd::new("mmdebstrap")
        .args([
            "--mode=root",
            "--variant=minbase",
            "--format=tar",
            "--architectures=amd64",
        ])
        .arg(format!("--components={}", base.components.join(",")))
        .arg(format!("--include={}", base.package_names().join(",")))
        .arg("--aptopt=Acquire::Languages \"none\"")
        .arg("--aptopt=Acquire::Retries \"3\"")
        // The archive's data is on disk only until the tar is made.
        .arg("--dpkgopt=force-unsafe-io");
    for pattern in &base.path_exclude {
        cmd = cmd.arg(format!("--dpkgopt=path-exclude={pattern}"));
    }
    for pattern in &base.path_include {
        cmd = cmd.arg(format!("--dpkgopt=path-include={pattern}"));
    }
    for hook in hooks {
        let mut option = std::ffi::OsString::from(format!("--{}-hook=", hook.stage));
        option.push(&hook.path);
        cmd = cmd.arg(option);
    }
    if sources.is_empty() {
        // Where there is no mirror to pin to Debian's keys, these are the only ones.
        cmd = cmd.arg(format!("--keyring={}", mirror::KEYRING));
    }
    cmd.arg(&base.suite).arg(tar).args(sources)
}

/// Writes `base.tar` without the staged files, and those to `boot/`.
fn split_staging(full: &Path, dir: &Path) -> anyhow::Result<()> {
    let boot = dir.join("boot");
    std::fs::create_dir(&boot).context("creating the folder of boot files")?;
    let base = File::create(dir.join("base.tar")).context("creating base.tar")?;
    let full = File::open(full).context("opening the base's first tar")?;
    crate::compose::split(
        std::io::BufReader::with_capacity(1 << 20, full),
        std::io::BufWriter::with_capacity(1 << 20, base),
        STAGING,
        &boot,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe() -> Recipe {
        Recipe::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("recipe.toml")).unwrap()
    }

    fn hooks() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("hooks")
    }

    #[test]
    fn the_key_follows_what_the_base_is_made_of_and_nothing_else() {
        let key = |change: fn(&mut Recipe)| {
            let mut recipe = recipe();
            change(&mut recipe);
            cache_key(&recipe, &hooks()).unwrap()
        };
        let same = key(|_| ());
        assert_eq!(key(|r| r.image.compression_level = 9), same);
        assert_eq!(key(|r| r.media.kernel_args.clear()), same);
        let mut keys = vec![
            same,
            key(|r| r.base.suite = "forky".into()),
            key(|r| r.base.components.push("contrib".into())),
            key(|r| r.base.path_exclude.push("/x".into())),
            key(|r| r.base.path_include.push("/x".into())),
            key(|r| r.base.purge.push("x".into())),
            key(|r| {
                r.base
                    .packages
                    .entry("more".into())
                    .or_default()
                    .push("x".into())
            }),
            key(|r| r.dracut.modules.push("x".into())),
        ];
        let count = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), count);
    }

    #[test]
    fn the_key_follows_the_hooks() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("customize-10-a.sh"), "a").unwrap();
        let first = cache_key(&recipe(), dir.path()).unwrap();
        std::fs::write(dir.path().join("customize-10-a.sh"), "b").unwrap();
        let second = cache_key(&recipe(), dir.path()).unwrap();
        assert_ne!(first, second);
        std::fs::write(dir.path().join("late-10-a.sh"), "b").unwrap();
        assert!(cache_key(&recipe(), dir.path()).is_err());
    }

    #[test]
    fn the_command_line_says_what_the_recipe_says() {
        let hooks = read_hooks(&hooks()).unwrap();
        let sources = ["deb http://a.example.org/debian trixie main".to_owned()];
        let line = mmdebstrap_command(&recipe(), &hooks, &sources, Path::new("x.tar")).to_string();
        for part in [
            "--include=",
            "linux-image-amd64",
            "/hooks/customize-10-initrd.sh",
            "path-exclude=/usr/share/man/*",
            "trixie x.tar 'deb http://a.example.org/debian trixie main'",
        ] {
            assert!(line.contains(part), "{part}: {line}");
        }
        assert!(line.find("customize-10").unwrap() < line.find("customize-20").unwrap());
        assert!(!line.contains("--keyring"), "{line}");
        let line = mmdebstrap_command(&recipe(), &hooks, &[], Path::new("x.tar")).to_string();
        assert!(line.contains("--keyring=/usr/share/keyrings/"), "{line}");
        assert!(line.ends_with(" trixie x.tar"), "{line}");
    }
}
