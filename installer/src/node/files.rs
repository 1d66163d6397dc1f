//! Files of a node as plain data, and laying them down.
//!
//! In: [`NodeFile`]s from the `render_*` functions. Out: files, folders and symlinks, owned
//! and with the modes that they say; written beside and renamed, so never half there.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// One file of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFile {
    /// Absolute path.
    pub path: String,
    /// What is there.
    pub content: Content,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A file.
    File {
        /// Its bytes.
        bytes: Vec<u8>,
        /// Permission bits.
        mode: u32,
        /// User and group, by name or number.
        owner: (String, String),
    },
    /// A symlink with this target.
    Link(String),
    /// A folder.
    Dir {
        /// Permission bits.
        mode: u32,
        /// User and group, by name or number.
        owner: (String, String),
    },
}

/// The owner of almost everything.
pub fn root() -> (String, String) {
    ("root".to_owned(), "root".to_owned())
}

impl NodeFile {
    /// A file of root that everybody may read.
    pub fn text(path: &str, text: impl Into<String>) -> Self {
        Self::with_mode(path, text, 0o644)
    }

    /// A file of root.
    pub fn with_mode(path: &str, text: impl Into<String>, mode: u32) -> Self {
        let content = Content::File {
            bytes: text.into().into_bytes(),
            mode,
            owner: root(),
        };
        Self {
            path: path.to_owned(),
            content,
        }
    }

    /// A symlink.
    pub fn link(path: &str, target: &str) -> Self {
        Self {
            path: path.to_owned(),
            content: Content::Link(target.to_owned()),
        }
    }
}

/// Numbers of users and groups by their names.
#[derive(Debug, Clone, Default)]
pub struct Names {
    users: BTreeMap<String, u32>,
    groups: BTreeMap<String, u32>,
}

impl Names {
    /// Reads the texts of `/etc/passwd` and `/etc/group`.
    pub fn parse(passwd: &str, group: &str) -> Self {
        let ids = |text: &str| {
            let line = |line: &str| {
                let mut fields = line.split(':');
                let name = fields.next()?.to_owned();
                Some((name, fields.nth(1)?.parse().ok()?))
            };
            text.lines().filter_map(line).collect()
        };
        Self {
            users: ids(passwd),
            groups: ids(group),
        }
    }

    /// Knows root alone.
    pub fn root_only() -> Self {
        Self::parse("root:x:0:", "root:x:0:")
    }

    /// uid and gid of an owner; numbers stand for themselves.
    pub fn ids(&self, owner: &(String, String)) -> anyhow::Result<(u32, u32)> {
        let find = |kind: &str, map: &BTreeMap<String, u32>, name: &str| match name.parse() {
            Ok(id) => Ok(id),
            Err(_) => map
                .get(name)
                .copied()
                .with_context(|| format!("this node has no {kind} {name}")),
        };
        let uid = find("user", &self.users, &owner.0)?;
        Ok((uid, find("group", &self.groups, &owner.1)?))
    }
}

/// Lays one file down under `top` (`/` on a node).
pub fn write(top: &Path, file: &NodeFile, names: &Names) -> anyhow::Result<()> {
    let path = under(top, &file.path);
    let parent = path.parent().unwrap_or(top);
    check_way(&path).with_context(|| format!("writing {}", file.path))?;
    fs::create_dir_all(parent)
        .with_context(|| format!("creating the folder {}", parent.display()))?;
    let doing = || format!("writing {}", file.path);
    match &file.content {
        Content::File { bytes, mode, owner } => {
            let ids = names.ids(owner).with_context(doing)?;
            write_file(&path, bytes, *mode, ids).with_context(doing)
        }
        Content::Link(target) => {
            let temporary = beside(&path);
            remove_if_there(&temporary).with_context(doing)?;
            std::os::unix::fs::symlink(target, &temporary).with_context(doing)?;
            fs::rename(&temporary, &path).with_context(doing)
        }
        Content::Dir { mode, owner } => {
            let (uid, gid) = names.ids(owner).with_context(doing)?;
            check_way(&path.join("inside")).with_context(doing)?;
            fs::create_dir_all(&path).with_context(doing)?;
            std::os::unix::fs::chown(&path, Some(uid), Some(gid)).with_context(doing)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).with_context(doing)
        }
    }
}

fn write_file(path: &Path, bytes: &[u8], mode: u32, (uid, gid): (u32, u32)) -> anyhow::Result<()> {
    if path.is_dir() {
        bail!("it is a folder");
    }
    let temporary = beside(path);
    remove_if_there(&temporary)?;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(bytes)?;
    std::os::unix::fs::fchown(&file, Some(uid), Some(gid))?;
    // After the owner: a change of owner takes setuid bits away.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    // /etc lies in memory; what outlives a boot must outlive a power cut, whole.
    if path.starts_with("/var") {
        file.sync_all()?;
    }
    fs::rename(&temporary, path)?;
    Ok(())
}

/// An error when the way to `path` has a symlink that is not root's: whoever owns the folder
/// could lead what root writes to anywhere.
fn check_way(path: &Path) -> anyhow::Result<()> {
    for way in path.ancestors().skip(1) {
        let Ok(meta) = fs::symlink_metadata(way) else {
            continue;
        };
        if meta.is_symlink() && meta.uid() != 0 {
            bail!(
                "{} is a symlink of user {}, not followed",
                way.display(),
                meta.uid()
            );
        }
    }
    Ok(())
}

/// Files below `top` at these paths, or in these folders, that are not among the rendered ones.
pub fn leftover(top: &Path, rendered: &[NodeFile], own: &[&str]) -> Vec<PathBuf> {
    let wanted: Vec<PathBuf> = rendered.iter().map(|f| under(top, &f.path)).collect();
    let mut found = Vec::new();
    for path in own.iter().map(|path| under(top, path)) {
        match fs::read_dir(&path) {
            Ok(entries) => found.extend(entries.flatten().map(|entry| entry.path())),
            Err(_) if path.is_file() => found.push(path),
            Err(_) => {}
        }
    }
    found.retain(|path| !wanted.contains(path) && !path.is_dir());
    found.sort();
    found
}

fn remove_if_there(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".harrow-new");
    path.with_file_name(name)
}

/// `path` below `top`.
pub fn under(top: &Path, path: &str) -> PathBuf {
    top.join(path.trim_start_matches('/'))
}

/// All files as one text, sorted by path: what golden tests and `harrow config render` show.
pub fn render_tree(files: &[NodeFile]) -> String {
    let mut sorted: Vec<&NodeFile> = files.iter().collect();
    sorted.sort_by(|a, b| a.path.cmp(&b.path));
    let mut text = String::new();
    for file in sorted {
        // Writing to a String can't fail.
        let _ = match &file.content {
            Content::Link(target) => writeln!(text, "==== {} -> {target}", file.path),
            Content::Dir {
                mode,
                owner: (user, group),
            } => {
                writeln!(text, "==== {}/ {mode:04o} {user}:{group}", file.path)
            }
            Content::File {
                bytes,
                mode,
                owner: (user, group),
            } => {
                let body = match std::str::from_utf8(bytes) {
                    Ok(body) => body.to_owned(),
                    Err(_) => format!("(binary) {}", hex::encode(bytes)),
                };
                let end = if body.is_empty() || body.ends_with('\n') {
                    ""
                } else {
                    "\n(no newline at the end)\n"
                };
                write!(
                    text,
                    "==== {} {mode:04o} {user}:{group}\n{body}{end}",
                    file.path
                )
            }
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_replaced_with_mode_and_links_too() {
        let dir = tempfile::tempdir().unwrap();
        let me = (
            rustix::process::getuid().as_raw().to_string(),
            rustix::process::getgid().as_raw().to_string(),
        );
        let names = Names::default();
        for text in ["one", "two"] {
            let mut file = NodeFile::with_mode("/etc/deep/er/file", text, 0o640);
            if let Content::File { owner, .. } = &mut file.content {
                owner.clone_from(&me);
            }
            write(dir.path(), &file, &names).unwrap();
            write(dir.path(), &NodeFile::link("/etc/deep/link", text), &names).unwrap();
            let path = dir.path().join("etc/deep/er/file");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert_eq!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
                0o640
            );
            assert_eq!(
                fs::read_link(dir.path().join("etc/deep/link")).unwrap(),
                Path::new(text)
            );
        }
        assert_eq!(
            fs::read_dir(dir.path().join("etc/deep/er"))
                .unwrap()
                .count(),
            1
        );
    }

    #[test]
    fn what_was_not_rendered_is_left_over() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path();
        fs::create_dir_all(top.join("a/config.d/folder")).unwrap();
        for path in [
            "a/config.d/10-old",
            "a/config.d/20-kept",
            "a/one",
            "a/other",
        ] {
            fs::write(top.join(path), "").unwrap();
        }
        let rendered = [NodeFile::text("/a/config.d/20-kept", "")];
        let own = ["/a/config.d", "/a/one", "/a/none"];
        assert_eq!(
            leftover(top, &rendered, &own),
            [top.join("a/config.d/10-old"), top.join("a/one")]
        );
        let rendered = [NodeFile::text("/a/one", "")];
        assert_eq!(leftover(top, &rendered, &own[1..]), [] as [PathBuf; 0]);
    }

    #[test]
    fn owners_are_names_or_numbers() {
        let names = Names::parse(
            "root:x:0:0:::\nrancher:x:1000:1001:::\n",
            "root:x:0:\nshadow:x:42:\n",
        );
        let ids = |u: &str, g: &str| names.ids(&(u.into(), g.into()));
        assert_eq!(ids("rancher", "shadow").unwrap(), (1000, 42));
        assert_eq!(ids("12", "0").unwrap(), (12, 0));
        assert!(
            ids("rancher", "nobody-knows")
                .unwrap_err()
                .to_string()
                .contains("nobody-knows")
        );
    }

    #[test]
    fn the_symlink_of_a_user_is_not_followed() {
        if !rustix::process::geteuid().is_root() {
            return; // only root can make a symlink that is somebody else's
        }
        let dir = tempfile::tempdir().unwrap();
        let aim = dir.path().join("aim");
        fs::create_dir(&aim).unwrap();
        let link = dir.path().join("app");
        std::os::unix::fs::symlink(&aim, &link).unwrap();
        let file = NodeFile::text("/app/unit", "x");
        write(dir.path(), &file, &Names::root_only()).unwrap();
        std::os::unix::fs::lchown(&link, Some(65534), None).unwrap();
        for file in [
            file,
            NodeFile {
                path: "/app".into(),
                content: Content::Dir {
                    mode: 0o700,
                    owner: root(),
                },
            },
        ] {
            let error = write(dir.path(), &file, &Names::root_only()).unwrap_err();
            assert!(format!("{error:#}").contains("not followed"), "{error:#}");
        }
    }

    #[test]
    fn a_folder_in_the_way_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        let names = Names::parse("root:x:0:0:::\n", "root:x:0:\n");
        let error = write(dir.path(), &NodeFile::text("/etc", "x"), &names).unwrap_err();
        assert!(format!("{error:#}").contains("folder"), "{error:#}");
    }
}
