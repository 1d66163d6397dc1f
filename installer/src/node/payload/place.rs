//! Where RKE2 looks: links to the payload's archives, and the manifests.
//!
//! In: a payload, the config. Out: links in RKE2's own folders, files in `/run`. Nothing of the payload
//! is copied. What was there before and is no more is taken away; what others put there stays.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::bundle::{ArtifactKind, Payload};
use crate::cluster::{self, ClusterInputs, MANIFESTS_DIR, PAYLOAD_DIR};
use crate::config::Config;
use crate::node::files::{self, Names, under};
use crate::node::{charts, machine, render};
use crate::sys::console::Printer;

/// Archives here are imported when RKE2 starts (docs.rke2.io, "Air-Gap Install").
const IMAGES_DIR: &str = "/var/lib/rancher/rke2/agent/images";
/// What lies here is applied; of links to folders those at the top are followed (k3s,
/// pkg/deploy/controller.go).
const SERVER_MANIFESTS: &str = "/var/lib/rancher/rke2/server/manifests";
/// Our link there.
const OWN_MANIFESTS: &str = "harrow";

/// Links the archives of `payload` into RKE2's folder.
pub fn link_archives(top: &Path, payload: &Payload) -> anyhow::Result<()> {
    let dir = under(top, IMAGES_DIR);
    make_folder(&dir)?;
    let archives = [ArtifactKind::Images, ArtifactKind::ImageSet];
    let archives = archives.iter().flat_map(|kind| payload.of_kind(*kind));
    let mut wanted = Vec::new();
    for item in archives {
        let target = Path::new(PAYLOAD_DIR).join(&item.path);
        let name = target.file_name().context("an archive without a name")?;
        wanted.push(name.to_owned());
        link(&dir.join(name), &target)?;
    }
    let context = || format!("reading {}", dir.display());
    for entry in fs::read_dir(&dir).with_context(context)? {
        let entry = entry.with_context(context)?;
        if !wanted.contains(&entry.file_name()) {
            unlink_own(&entry.path(), PAYLOAD_DIR)?;
        }
    }
    Ok(())
}

/// Writes the manifests on the node that creates the cluster; takes them away on any other.
pub fn put_manifests(
    top: &Path,
    config: &Config,
    machine_id: &str,
    printer: &Printer,
) -> anyhow::Result<()> {
    let payload = under(top, PAYLOAD_DIR);
    let charts = charts::read(&payload)?;
    for chart in charts.missing(config) {
        printer.line(format!(
            "the payload has no chart {chart}: what needs it is left out"
        ));
    }
    let size = machine::probe();
    let inputs = ClusterInputs {
        config,
        hostname: &render::hostname(config, machine_id),
        cpus: size.cpus,
        memory: size.memory,
    };
    let manifests = cluster::render_manifests(&inputs, &charts);
    for file in &manifests {
        files::write(top, file, &Names::root_only())?;
    }
    for path in files::leftover(top, &manifests, &[MANIFESTS_DIR]) {
        fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
    }
    let dir = under(top, SERVER_MANIFESTS);
    if manifests.is_empty() {
        return unlink_own(&dir.join(OWN_MANIFESTS), MANIFESTS_DIR);
    }
    make_folder(&dir)?;
    link(&dir.join(OWN_MANIFESTS), Path::new(MANIFESTS_DIR))
}

/// Makes a folder that only root reads, as RKE2 makes it. One that is there stays as it is.
fn make_folder(dir: &Path) -> anyhow::Result<()> {
    let context = || format!("creating {}", dir.display());
    if dir.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(dir).with_context(context)?;
    fs::set_permissions(dir, Permissions::from_mode(0o700)).with_context(context)
}

/// Makes a link, in place of whatever has its name.
fn link(path: &Path, target: &Path) -> anyhow::Result<()> {
    if fs::read_link(path).is_ok_and(|now| now == target) {
        return Ok(());
    }
    let context = || format!("linking {} to {}", path.display(), target.display());
    let mut fresh = PathBuf::from(path).into_os_string();
    fresh.push(".new");
    remove(Path::new(&fresh)).with_context(context)?;
    symlink(target, &fresh).with_context(context)?;
    if path.is_dir() && !path.is_symlink() {
        anyhow::bail!(
            "{} is a folder that Harrow needs: move it away",
            path.display()
        );
    }
    fs::rename(&fresh, path).with_context(context)
}

/// Removes a link that leads to where ours lead.
fn unlink_own(path: &Path, target: &str) -> anyhow::Result<()> {
    match fs::read_link(path) {
        Ok(now) if now.starts_with(target) => {
            remove(path).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::{Digest, PayloadItem, SCHEMA};

    fn payload(names: &[&str]) -> Payload {
        let item = |name: &&str| PayloadItem {
            name: (*name).to_owned(),
            kind: ArtifactKind::Images,
            version: "1".into(),
            only_with: None,
            path: ArtifactKind::Images.path(name),
            sha256: Digest::of(b""),
            size: 0,
            images: Vec::new(),
        };
        Payload {
            schema: SCHEMA,
            artifacts: names.iter().map(item).collect(),
        }
    }

    fn listed(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn archives_come_and_go_and_those_of_others_stay() {
        let top = tempfile::tempdir().unwrap();
        let dir = under(top.path(), IMAGES_DIR);
        link_archives(top.path(), &payload(&["core", "canal"])).unwrap();
        fs::write(dir.join("mine.tar.zst"), b"x").unwrap();
        symlink("/srv/other.tar", dir.join("other.tar")).unwrap();
        symlink(
            "/run/harrow/payload/images/x",
            dir.join("canal.tar.zst.new"),
        )
        .unwrap();
        link_archives(top.path(), &payload(&["core"])).unwrap();
        assert_eq!(listed(&dir), ["core.tar.zst", "mine.tar.zst", "other.tar"]);
        assert_eq!(
            fs::read_link(dir.join("core.tar.zst")).unwrap(),
            Path::new("/run/harrow/payload/images/core.tar.zst")
        );
        let mode = fs::metadata(&dir).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_link_takes_the_place_of_a_file_and_not_of_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, b"old").unwrap();
        link(&path, Path::new("/a")).unwrap();
        link(&path, Path::new("/b")).unwrap();
        assert_eq!(fs::read_link(&path).unwrap(), Path::new("/b"));
        let folder = dir.path().join("folder");
        fs::create_dir(&folder).unwrap();
        let error = link(&folder, Path::new("/a")).unwrap_err();
        assert!(error.to_string().contains("move it away"), "{error}");
        unlink_own(&path, "/a").unwrap();
        assert!(path.is_symlink());
        unlink_own(&path, "/b").unwrap();
        assert!(!path.is_symlink());
    }
}
