//! Packs the composed system with mksquashfs.
//!
//! In: the base's tar and what is laid over it. Out: a squashfs. Without archives the composed tar
//! goes straight into mksquashfs. With archives it is unpacked into a folder first, where they are
//! hard links: only an action keeps mksquashfs from trying to compress a file, and it refuses
//! actions when it reads a tar ("Actions are unsupported when reading tar files", squashfs-tools
//! 4.5.1 and 4.6.1). Pseudo files would do without the folder, but 4.5.1 gives those no extended
//! attributes; appending to an image does not put anything into the folders that it has.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Write as _};
use std::path::Path;

use anyhow::Context as _;
use harrow::failure::Failure;
use harrow::sys::cmd::Cmd;

use crate::compose::{self, Composition};
use crate::overlay::{Archive, Content, Entry, Node};

/// Writes the squashfs `out`; other files beside it are gone at the end. `level` is zstd's.
pub fn write(base: &Path, out: &Path, what: &Composition<'_>, level: u8) -> anyhow::Result<()> {
    let archives: Vec<(&str, &Archive)> = archives(what.overlay).collect();
    if archives.is_empty() {
        let cmd = command(Path::new("-"), out, level, what.mtime).arg("-tar");
        return feed(cmd, base, what).context("packing the slot image");
    }
    let work = tempfile::Builder::new()
        .prefix(".tree-")
        .tempdir_in(out.parent().unwrap_or(Path::new(".")))
        .context("creating a folder for the system's files")?;
    let tree = work.path().join("tree");
    fs::create_dir(&tree).with_context(|| format!("creating {}", tree.display()))?;
    feed(unpack_command(&tree), base, what).context("unpacking the composed system")?;
    for (path, archive) in &archives {
        place(&archive.path, &tree.join(path))?;
    }
    let [owners, actions] = ["owners", "actions"].map(|name| work.path().join(name));
    let paths = || archives.iter().map(|(path, _)| *path);
    fs::write(&owners, render_owners(paths()))
        .and_then(|()| fs::write(&actions, render_actions(paths())))
        .context("writing what mksquashfs shall do")?;
    command(&tree, out, level, what.mtime)
        // As it is when it reads a tar.
        .arg("-no-exports")
        .arg("-pf")
        .arg(owners)
        .arg("-action-file")
        .arg(actions)
        .run()
        .map(drop)
        .context("packing the slot image")
}

/// The archives among entries, with their paths in the image.
pub fn archives(entries: &[Entry]) -> impl Iterator<Item = (&str, &Archive)> {
    entries.iter().filter_map(|entry| match &entry.node {
        Node::File {
            content: Content::Archive(archive),
            ..
        } => Some((entry.path.as_str(), archive)),
        _ => None,
    })
}

/// mksquashfs's pseudo file definitions: a link has owner and mode of the cache's file.
fn render_owners<'a>(paths: impl Iterator<Item = &'a str>) -> String {
    paths.map(|path| format!("{path} m 644 0 0\n")).collect()
}

/// mksquashfs's actions, see ACTIONS-README of squashfs-tools. Names in a bundle have no
/// characters that are a pattern's.
fn render_actions<'a>(paths: impl Iterator<Item = &'a str>) -> String {
    paths
        .map(|path| format!("uncompressed@pathname(\"{path}\")\n"))
        .collect()
}

/// A hard link, or a copy on another file system.
fn place(from: &Path, to: &Path) -> anyhow::Result<()> {
    if fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    let copied = fs::copy(from, to).map(drop);
    copied.map_err(|e| Failure::of_write(e, format!("writing {}", to.display())))
}

/// Streams the composed system into a program.
fn feed(cmd: Cmd, base: &Path, what: &Composition<'_>) -> anyhow::Result<()> {
    let base = File::open(base).with_context(|| format!("opening {}", base.display()))?;
    let mut running = cmd.stream()?;
    let stdin = running.take_stdin().context("the program has no stdin")?;
    let mut stdin = BufWriter::with_capacity(1 << 20, stdin);
    // It says little; what it says is thrown away so that it never waits for us.
    let stdout = running.take_stdout().context("the program has no stdout")?;
    let said = std::thread::spawn(move || {
        std::io::copy(&mut BufReader::new(stdout), &mut std::io::sink())
    });
    let composed = compose::compose(BufReader::with_capacity(1 << 20, base), &mut stdin, what)
        .and_then(|()| stdin.flush().context("writing to the program"));
    drop(stdin);
    said.join().ok();
    let packed = running.finish();
    match composed {
        // Our pipe broke because the program failed: its own words explain more.
        Err(error) if is_broken_pipe(&error) => packed.and(Err(error)),
        Err(error) => Err(error),
        Ok(()) => packed,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|e| e.downcast_ref::<std::io::Error>())
        .any(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}

/// tar as root keeps owners and modes; the base has no other attributes than these that
/// squashfs could keep.
fn unpack_command(tree: &Path) -> Cmd {
    Cmd::new("tar")
        .args([
            "--extract",
            "--file=-",
            "--numeric-owner",
            "--preserve-permissions",
            "--xattrs",
            "--xattrs-include=security.*",
            "--xattrs-include=user.*",
            "--directory",
        ])
        .arg(tree)
}

/// What mksquashfs may keep in memory; by itself it takes a quarter of the machine's, and is no faster.
const MEMORY: &str = "256M";

fn command(source: &Path, out: &Path, level: u8, epoch: u64) -> Cmd {
    // mksquashfs refuses its time options when SOURCE_DATE_EPOCH is set as well.
    Cmd::new("env")
        .args(["-u", "SOURCE_DATE_EPOCH", "mksquashfs"])
        .arg(source)
        .arg(out)
        .args([
            "-noappend",
            "-no-progress",
            "-quiet",
            "-mem",
            MEMORY,
            "-comp",
            "zstd",
            "-Xcompression-level",
        ])
        .arg(level.to_string())
        // Without these the root directory is writable for all, and sshd refuses every key.
        .args(["-root-mode", "0755", "-root-uid", "0", "-root-gid", "0"])
        .arg("-mkfs-time")
        .arg(epoch.to_string())
        .arg("-all-time")
        .arg(epoch.to_string())
}

#[cfg(test)]
#[path = "squashfs_tests.rs"]
mod tests;
