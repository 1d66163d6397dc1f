//! A node's files in a folder of any machine: `harrow config render`.
//!
//! In: answers, the machine's size, charts and a folder. Out: every file that the node will get, at its place below the
//! folder. Owners are left out, since whoever looks need not be root.

use std::fs;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::Context as _;

use crate::cluster::{self, Charts, ClusterInputs};
use crate::config::{Answers, Severity, Source, SourceKind, check_sources};
use crate::disk::layout::DataPlace;
use crate::failure::{Failure, Kind};

use super::accounts::Accounts;
use super::files::{Content, under};
use super::machine::MachineSize;
use super::render::{self, NodeInputs};
use super::source::CONFIG_NAME;

/// Where the config that the node keeps goes: the OEM partition.
const OEM_FOLDER: &str = "oem";
/// The machine's id is made at its first boot.
const NO_MACHINE_ID: &str = "00000000000000000000000000000000";
/// The data partition's path has an id that is made at the install.
const DATA: &str = "/dev/disk/by-partuuid/00000000-0000-0000-0000-000000000000";

/// Writes the files of a node; says their paths on the node. What differs from machine to
/// machine (machine id, partition ids, the image's own accounts) is zeros or left out.
pub fn write_node(
    answers: &Answers,
    size: MachineSize,
    charts: &Charts,
    out: &Path,
) -> anyhow::Result<Vec<String>> {
    let used = fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some());
    if used || out.is_file() {
        return Err(Failure::error(
            Kind::TargetExists,
            format!("{} exists and is not empty", out.display()),
            "name a new folder with --out",
        ));
    }
    // The config as the node stores and reads it.
    let stored = answers.to_node_yaml()?;
    let source = Source::yaml(SourceKind::Oem, CONFIG_NAME, stored.as_bytes());
    let checked = check_sources(&[source]);
    let config = checked.config.ok_or_else(|| {
        let problems = checked.problems.only(Severity::Error);
        Failure::error(Kind::ConfigInvalid, problems.to_string(), "")
    })?;
    let mut files = render::render_node(&NodeInputs {
        config: &config,
        accounts: &Accounts::default(),
        machine_id: NO_MACHINE_ID,
        data: (config.storage.data != DataPlace::Nowhere).then_some(Path::new(DATA)),
        size,
    });
    files.extend(cluster::render_manifests(
        &ClusterInputs {
            config: &config,
            hostname: &render::hostname(&config, NO_MACHINE_ID),
            cpus: size.cpus,
            memory: size.memory,
        },
        charts,
    ));
    let mut paths = Vec::new();
    for file in &files {
        let content = &file.content;
        write(out, &file.path, content).with_context(|| format!("writing {}", file.path))?;
        paths.push(file.path.clone());
    }
    let path = format!("/{OEM_FOLDER}/{CONFIG_NAME}");
    let content = Content::File {
        bytes: stored.into_bytes(),
        mode: 0o600,
        owner: Default::default(),
    };
    write(out, &path, &content).with_context(|| format!("writing {path}"))?;
    paths.push(path);
    paths.sort();
    Ok(paths)
}

fn write(top: &Path, path: &str, content: &Content) -> anyhow::Result<()> {
    let path = under(top, path);
    fs::create_dir_all(path.parent().unwrap_or(top))?;
    match content {
        Content::Link(target) => std::os::unix::fs::symlink(target, &path)?,
        // The owner must be able to look inside and to delete it.
        Content::Dir { mode, .. } => {
            fs::create_dir_all(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode & 0o777 | 0o700))?;
        }
        Content::File { bytes, mode, .. } => {
            use std::io::Write as _;
            let mut options = fs::OpenOptions::new();
            let options = options.write(true).create_new(true);
            let mut file = options.mode(mode & 0o777 | 0o600).open(&path)?;
            file.write_all(bytes)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::machine;
    use super::*;
    use crate::config::read_sources;

    #[test]
    fn every_file_is_there_and_no_clear_password() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("node");
        let text = "token: x\nos: {hostname: n1, password: hunter2}\ninstall: {mode: create}\n";
        let answers = read_sources(&[Source::yaml(SourceKind::File, "x", text)], [7; 12]).answers;
        let paths = write_node(&answers, machine::UNKNOWN, &Charts::Marked, &out).unwrap();
        assert!(paths.contains(&"/etc/hostname".to_owned()), "{paths:?}");
        for path in &paths {
            let path = under(&out, path);
            if path.is_file() {
                let bytes = fs::read(&path).unwrap();
                let text = String::from_utf8_lossy(&bytes).into_owned();
                assert!(!text.contains("hunter2"), "{}", path.display());
            }
        }
        let shadow = fs::read_to_string(out.join("etc/shadow")).unwrap();
        assert!(shadow.contains("rancher:$6$"), "{shadow}");
        let error = write_node(&answers, machine::UNKNOWN, &Charts::Marked, &out).unwrap_err();
        assert_eq!(Failure::of(&error).unwrap().kind, Kind::TargetExists);
    }
}
