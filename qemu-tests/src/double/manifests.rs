//! What lies in `server/manifests`, found and read as k3s' deploy controller finds and reads it.
//!
//! In: the folder, and what `disable` names. Out: a [`Manifests`], and problems. The rules are those of k3s-io/k3s
//! pkg/deploy/controller.go: the folder is walked, links to folders in it are followed but none
//! inside those, dotfiles and other endings than `.yaml`, `.yml` and `.json` are left out,
//! `NAME.skip` skips NAME, and the name up to its first dot is that of the Addon that owns all
//! objects of the file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use serde::Serialize;

use super::helm;
use super::rules::{is_dns_label, is_dns_name};
use super::yaml::{Yaml, parse};

/// The folder of Harrow's own manifests.
const HARROW: &str = "harrow";
/// Files that RKE2 itself writes there: another of this name would fight with it.
const BUNDLED: [&str; 18] = [
    "rke2-calico",
    "rke2-calico-crd",
    "rke2-canal",
    "rke2-cilium",
    "rke2-coredns",
    "rke2-etcd",
    "rke2-flannel",
    "rke2-ingress-nginx",
    "rke2-metrics-server",
    "rke2-multus",
    "rke2-runtimeclasses",
    "rke2-snapshot-controller",
    "rke2-snapshot-controller-crd",
    "rke2-snapshot-validation-webhook",
    "rke2-traefik",
    "rke2-traefik-crd",
    "harvester-cloud-provider",
    "harvester-csi-driver",
];

/// What RKE2 would deploy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Manifests {
    /// Each object as `KIND NAMESPACE/NAME`, by its file below the folder.
    pub files: BTreeMap<String, Vec<String>>,
    /// Files that are left out because `disable` names them.
    pub disabled: Vec<String>,
    /// Charts whose content is fetched, not embedded.
    pub fetched_charts: Vec<String>,
    /// Images that pods name, without those of charts.
    pub images: Vec<String>,
    /// The address that kube-vip brings up.
    pub vip: Option<String>,
}

impl Manifests {
    /// Files that Harrow rendered.
    pub fn of_harrow(&self) -> impl Iterator<Item = &str> {
        let names = self.files.keys().map(String::as_str);
        names.filter(|name| name.starts_with(&format!("{HARROW}/")))
    }
}

/// Reads all of `folder`; one that is not there holds nothing.
pub fn check(folder: &Path, disabled: &[String], problems: &mut Vec<String>) -> Manifests {
    let mut manifests = Manifests::default();
    let mut found = Vec::new();
    if let Err(error) = find(folder, &mut found) {
        problems.push(format!("{error:#}"));
    }
    found.sort();
    let name_of = |path: &Path| match path.file_name() {
        Some(name) => name.to_string_lossy().into_owned(),
        None => String::new(),
    };
    let skipped: Vec<String> = found
        .iter()
        .filter_map(|path| name_of(path).strip_suffix(".skip").map(str::to_owned))
        .collect();
    let mut reading = Reading::default();
    for path in &found {
        let name = name_of(path);
        let lower = name.to_ascii_lowercase();
        let is_read = [".yaml", ".yml", ".json"]
            .iter()
            .any(|end| lower.ends_with(end));
        let below = path.strip_prefix(folder).unwrap_or(path);
        let is_off = below.parent().is_some_and(|parent| {
            let folders = parent.ancestors().map(|it| it.display().to_string());
            folders.into_iter().any(|it| disabled.contains(&it))
        }) || path
            .file_stem()
            .is_some_and(|stem| disabled.iter().any(|it| **it == *stem.to_string_lossy()));
        let shown = below.display().to_string();
        if is_off && is_read {
            manifests.disabled.push(shown);
            continue;
        }
        if name.starts_with('.') || !is_read || is_off || skipped.contains(&name) {
            continue;
        }
        let mut refuse = |what: String| problems.push(format!("{}: {what}", path.display()));
        reading.take_name(&name, &shown, &mut refuse);
        let mut objects = Vec::new();
        match read(path) {
            Ok(read) => {
                for object in &read {
                    match reading.take_object(object, &shown, &mut manifests) {
                        Ok(name) => objects.push(name),
                        Err(error) => refuse(format!("{error:#}")),
                    }
                }
            }
            Err(error) => refuse(format!("{error:#}")),
        }
        manifests.files.insert(shown, objects);
    }
    manifests.images.sort();
    manifests.images.dedup();
    manifests
}

/// All files, with the path by which RKE2 knows them.
fn find(folder: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if folder.is_dir() {
        walk(folder, &mut |path| {
            if !path.is_symlink() {
                found.push(path.to_owned());
                return Ok(());
            }
            let meta = path.metadata();
            let meta = meta.with_context(|| format!("following {}", path.display()))?;
            if !meta.is_dir() {
                found.push(path.to_owned());
                return Ok(());
            }
            let real = path.canonicalize();
            let real = real.with_context(|| format!("following {}", path.display()))?;
            walk(&real, &mut |inner| {
                let below = inner.strip_prefix(&real).unwrap_or(inner);
                found.push(path.join(below));
                Ok(())
            })
        })?;
    }
    Ok(())
}

/// Calls `visit` for all that is no folder, links among it.
fn walk(folder: &Path, visit: &mut dyn FnMut(&Path) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let reading = || format!("reading {}", folder.display());
    for entry in folder.read_dir().with_context(reading)? {
        let path = entry.with_context(reading)?.path();
        if path.is_dir() && !path.is_symlink() {
            walk(&path, visit)?;
        } else {
            visit(&path)?;
        }
    }
    Ok(())
}

/// The objects of a file, lists taken apart.
fn read(path: &Path) -> anyhow::Result<Vec<Yaml>> {
    let text = std::fs::read_to_string(path).context("reading it")?;
    let documents = parse(&text)?;
    ensure!(!documents.is_empty(), "holds no object");
    let mut objects = Vec::new();
    for document in documents {
        match document.get("items") {
            Some(Yaml::List(items)) if document.get("metadata").is_none_or(is_of_list) => {
                objects.extend(items.iter().cloned());
            }
            _ => objects.push(document),
        }
    }
    Ok(objects)
}

fn is_of_list(metadata: &Yaml) -> bool {
    metadata.get("name").is_none()
}

/// What must be there once only.
#[derive(Default)]
struct Reading {
    stems: BTreeMap<String, String>,
    objects: BTreeMap<String, String>,
}

impl Reading {
    fn take_name(&mut self, name: &str, shown: &str, refuse: &mut dyn FnMut(String)) {
        let stem = name.split('.').next().unwrap_or(name);
        if !is_dns_label(stem) {
            refuse(format!("{stem:?} can't be the name of an Addon (RFC 1123)"));
        }
        if BUNDLED.contains(&stem) {
            refuse(format!("RKE2 writes a file {stem} itself"));
        }
        if let Some(other) = self.stems.insert(stem.to_owned(), shown.to_owned()) {
            refuse(format!("{other} makes an Addon {stem} already"));
        }
    }

    /// Checks an object; its name.
    fn take_object(
        &mut self,
        object: &Yaml,
        shown: &str,
        manifests: &mut Manifests,
    ) -> anyhow::Result<String> {
        let text = |keys: &[&str]| object.at(keys).and_then(|value| value.text());
        ensure!(matches!(object, Yaml::Map(_)), "holds {}", object.kind());
        let kind = text(&["kind"]).context("an object has no kind")?;
        let name = text(&["metadata", "name"]);
        let name = name.with_context(|| format!("a {kind} has no metadata.name that is a text"))?;
        let version = text(&["apiVersion"]);
        let version = version.with_context(|| format!("{kind} {name} has no apiVersion"))?;
        check_version(version).with_context(|| format!("{kind} {name}"))?;
        // Roles may have names such as `kubevirt.io:operator`.
        let is_role = version.starts_with("rbac.authorization.k8s.io/");
        let fits = if is_role {
            !name.is_empty() && !name.contains(['/', '%']) && name != "." && name != ".."
        } else {
            is_dns_name(name)
        };
        ensure!(fits, "{kind} {name:?}: the name is none of RFC 1123");
        let space = match object.at(&["metadata", "namespace"]) {
            None | Some(Yaml::Null) => "",
            Some(Yaml::Text(space)) if is_dns_label(space) => space,
            Some(_) => bail!("{kind} {name}: the namespace is none of RFC 1123"),
        };
        let id = format!("{kind} {space}/{name}");
        let group = version.rsplit_once('/').map_or("", |(group, _)| group);
        let unique = format!("{group} {id}");
        if kind != "Namespace"
            && let Some(other) = self.objects.insert(unique, shown.to_owned())
        {
            bail!("{id} is in {other} too");
        }
        if version == "helm.cattle.io/v1" {
            let fetched = helm::check(kind, name, object).with_context(|| id.clone())?;
            manifests.fetched_charts.extend(fetched);
        }
        for container in containers(object) {
            let image = container.get("image").and_then(|image| image.text());
            let image = image.with_context(|| format!("{id}: a container has no image"))?;
            manifests.images.push(image.to_owned());
            if image.contains("kube-vip/kube-vip:") || image.contains("kube-vip/kube-vip@") {
                manifests.vip = manifests.vip.take().or_else(|| vip_of(container));
            }
        }
        Ok(id)
    }
}

fn check_version(version: &str) -> anyhow::Result<()> {
    let (group, version) = match version.split_once('/') {
        Some((group, version)) => (Some(group), version),
        None => (None, version),
    };
    ensure!(
        group.is_none_or(is_dns_name) && is_dns_label(version) && version.starts_with('v'),
        "the apiVersion is of no form that Kubernetes has"
    );
    Ok(())
}

/// The containers of the pods that an object makes.
fn containers(object: &Yaml) -> impl Iterator<Item = &Yaml> {
    const PODS: [&[&str]; 3] = [
        &["spec"],
        &["spec", "template", "spec"],
        &["spec", "jobTemplate", "spec", "template", "spec"],
    ];
    let is_workload = matches!(
        object.get("kind").and_then(|kind| kind.text()),
        Some("Pod" | "Deployment" | "DaemonSet" | "StatefulSet" | "Job" | "CronJob" | "ReplicaSet")
    );
    let pods = PODS.iter().filter(move |_| is_workload);
    pods.filter_map(|keys| object.at(keys)).flat_map(|pod| {
        let lists = ["initContainers", "containers"].map(|key| pod.get(key));
        lists.into_iter().flatten().flat_map(|list| list.items())
    })
}

/// The address for which kube-vip is started, if it is told one.
fn vip_of(container: &Yaml) -> Option<String> {
    let variables = container.get("env")?.items();
    let value = |name: &str| {
        let is_it = |variable: &&Yaml| variable.get("name").and_then(|it| it.text()) == Some(name);
        variables.iter().find(is_it)?.get("value")?.text()
    };
    let address = value("address").or(value("vip_address"))?;
    let is_any = matches!(address, "" | "0.0.0.0" | "::");
    (value("cp_enable") == Some("true") && !is_any).then(|| address.to_owned())
}

#[cfg(test)]
#[path = "manifests_tests.rs"]
mod tests;
