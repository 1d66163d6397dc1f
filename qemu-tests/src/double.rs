//! The RKE2 double of the tests: not RKE2, but a program in its place that checks what RKE2 would be given.
//!
//! In: the node's files. Out: a [`Report`], ready or with every problem. It starts no container and
//! no Kubernetes; that it is ready says that RKE2 would have found its config, images and
//! manifests as it needs them, and nothing more. [`pack`] makes a release of it, with doubles of
//! all that comes beside it.

pub mod archives;
pub mod config;
pub mod flags;
pub mod helm;
pub mod manifests;
pub mod notify;
pub mod pack;
pub mod registries;
pub mod rules;
pub mod unit;
pub mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use serde::Serialize;

use archives::Archive;
use manifests::Manifests;
use rules::below;
use unit::Process;

/// The release that it is the double of.
pub const VERSION: &str = "v1.34.5+rke2r1";
/// The folder of its config.
const CONFIG: &str = "/etc/rancher/rke2";
/// Where its data is when the config does not say.
const DATA: &str = "/var/lib/rancher/rke2";
/// Where the report is, below the data.
const REPORT: &str = "double-report.json";
/// The image that RKE2 takes its programs from.
const RUNTIME: &str = "docker.io/rancher/rke2-runtime:v1.34.5-rke2r1";
/// Keys whose values are not shown.
const SECRETS: [&str; 5] = [
    "token",
    "agent-token",
    "etcd-s3-access-key",
    "etcd-s3-secret-key",
    "etcd-s3-session-token",
];

/// What RKE2 is started as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Runs the cluster, and registers others.
    Server,
    /// Runs what it is given.
    Agent,
}

impl Role {
    /// Its subcommand.
    pub fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Agent => "agent",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What the double found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Says that this is the double, and of what.
    pub double_of: String,
    /// What it was started as.
    pub role: Role,
    /// Whether there is no problem.
    pub ready: bool,
    /// Everything that is wrong.
    pub problems: Vec<String>,
    /// The merged config; secrets are left out.
    pub config: BTreeMap<String, Vec<String>>,
    /// What would be imported.
    pub archives: Vec<Archive>,
    /// What would be deployed.
    pub manifests: Manifests,
    /// Images that would be pulled because no archive has them: RKE2's own programs, and what pods
    /// of the manifests name.
    pub pulled: Vec<String>,
}

/// Checks the node whose files are below `root`.
pub fn check(root: &Path, role: Role, process: &Process) -> Report {
    let mut problems = unit::check(root, role, process);
    let config = config::read(&below(root, CONFIG), role, &mut problems);
    let data = below(root, config.text("data-dir").unwrap_or(DATA));
    let archives = archives::check(&data.join("agent/images"), &mut problems);
    if archives.is_empty() {
        problems.push("agent/images: there is no archive to import".to_owned());
    }
    let folder = data.join("server/manifests");
    let manifests = manifests::check(&folder, config.list("disable"), &mut problems);
    problems.extend(rules::check(root, role, &config, manifests.vip.as_deref()));
    check_ours(role, &config, &manifests, &mut problems);
    let registries = config.text("private-registry");
    let registries = below(
        root,
        registries.unwrap_or("/etc/rancher/rke2/registries.yaml"),
    );
    if registries.exists() || config.text("private-registry").is_some() {
        match std::fs::read_to_string(&registries) {
            Ok(text) => problems.extend(registries::check(&text, root)),
            Err(error) => problems.push(format!("reading {}: {error}", registries.display())),
        }
    }
    let shown = config.entries().iter().map(|(key, values)| {
        let is_secret = SECRETS.contains(&key.as_str());
        let values = if is_secret {
            vec!["(secret)".to_owned()]
        } else {
            values.clone()
        };
        (key.clone(), values)
    });
    let runtime = config.text("runtime-image").unwrap_or(RUNTIME).to_owned();
    let brought: BTreeSet<String> = archives
        .iter()
        .flat_map(|archive| &archive.images)
        .map(|image| full_name(image))
        .collect();
    let pulled = manifests.images.iter().chain([&runtime]);
    let pulled = pulled.filter(|image| !brought.contains(&full_name(image)));
    Report {
        pulled: pulled.cloned().collect(),
        double_of: format!("RKE2 {VERSION}; a double of the tests, no Kubernetes runs"),
        role,
        ready: problems.is_empty(),
        config: shown.collect(),
        problems,
        archives,
        manifests,
    }
}

/// Harrow's manifests are where they belong, and nowhere else.
fn check_ours(
    role: Role,
    config: &config::Config,
    manifests: &Manifests,
    problems: &mut Vec<String>,
) {
    let count = manifests.of_harrow().count();
    let creates = role == Role::Server && config.text("server").is_none();
    if creates && count == 0 {
        problems.push("server/manifests/harrow: holds nothing to deploy".to_owned());
    }
    if !creates && count > 0 {
        let who = match role {
            Role::Agent => "an agent",
            Role::Server => "a server that joins",
        };
        problems.push(format!(
            "server/manifests/harrow: {who} has {count} manifests, which are for the first server"
        ));
    }
    for name in config.list("disable") {
        let is_file = manifests.disabled.iter().map(Path::new).any(|file| {
            let is_stem = file.file_stem().is_some_and(|stem| stem == name.as_str());
            is_stem || file.starts_with(name)
        });
        if !DISABLED.contains(&name.as_str()) && !is_file {
            problems.push(format!("disable: RKE2 deploys nothing named {name:?}"));
        }
    }
}

/// An image's name with its registry, and without a digest behind its tag.
fn full_name(image: &str) -> String {
    let name = match image.split_once('@') {
        Some((name, _)) if name.rsplit('/').next().is_some_and(|it| it.contains(':')) => name,
        _ => image,
    };
    match name.split_once('/') {
        None => format!("docker.io/library/{name}"),
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => name.to_owned(),
        Some(_) => format!("docker.io/{name}"),
    }
}

/// What RKE2 1.34.5 deploys and can be told not to.
const DISABLED: [&str; 6] = [
    "rke2-coredns",
    "rke2-metrics-server",
    "rke2-snapshot-controller",
    "rke2-snapshot-controller-crd",
    "rke2-snapshot-validation-webhook",
    "rke2-ingress-nginx",
];

impl Report {
    /// Writes the report, and for a ready server the kubeconfig, below `root`.
    pub fn write(&self, root: &Path) -> anyhow::Result<()> {
        let set = |key: &str| {
            let values = self.config.get(key)?;
            values.last().map(String::as_str)
        };
        let data = below(root, set("data-dir").unwrap_or(DATA));
        let json = serde_json::to_vec_pretty(self).context("rendering the report")?;
        write(&data.join(REPORT), &json, 0o600)?;
        if self.ready && self.role == Role::Server {
            let path = set("write-kubeconfig").unwrap_or("/etc/rancher/rke2/rke2.yaml");
            let mode = set("write-kubeconfig-mode").unwrap_or("0600");
            let mode = u32::from_str_radix(mode, 8).context("reading write-kubeconfig-mode")?;
            write(&below(root, path), KUBECONFIG.as_bytes(), mode)?;
        }
        Ok(())
    }

    /// What is printed: one line when ready, else one for each problem.
    pub fn lines(&self) -> Vec<String> {
        if self.ready {
            return vec!["RKE2 double: ready".to_owned()];
        }
        let lines = self.problems.iter();
        lines.map(|it| format!("RKE2 double: {it}")).collect()
    }
}

/// As RKE2 writes it, but for the certificates.
const KUBECONFIG: &str = "\
# Written by the RKE2 double of the tests: there is no cluster behind it.
apiVersion: v1
kind: Config
clusters:
- cluster:
    server: https://127.0.0.1:6443
  name: default
contexts:
- context:
    cluster: default
    user: default
  name: default
current-context: default
preferences: {}
users:
- name: default
  user: {}
";

fn write(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    ensure!(!path.is_dir(), "{} is a folder", path.display());
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let mut file = File::create(path)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(bytes)
    };
    write().with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_known_by_their_whole_names() {
        for (image, expected) in [
            ("busybox:1", "docker.io/library/busybox:1"),
            ("rancher/a:1", "docker.io/rancher/a:1"),
            ("quay.io/a/b:1", "quay.io/a/b:1"),
            ("r:5000/b:1", "r:5000/b:1"),
            ("localhost/b:1", "localhost/b:1"),
            ("quay.io/a/b:1@sha256:00", "quay.io/a/b:1"),
            ("r:5000/a/b@sha256:00", "r:5000/a/b@sha256:00"),
        ] {
            assert_eq!(full_name(image), expected);
        }
    }
}
