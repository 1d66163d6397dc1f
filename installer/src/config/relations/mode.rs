//! What `install.mode` asks of other keys.

use super::super::answers::{Addon, Addons, Answers, InstallMode, NodeRole};
use super::super::problem::{Code, Problems};
use super::settings;

/// Without a mode nothing can be decided.
pub fn mode_is_needed(answers: &Answers, problems: &mut Problems) {
    if answers.install.mode.is_none() {
        problems.add(
            Code::Missing,
            "install.mode",
            "missing",
            "create, join or install",
        );
    }
}

/// Nodes of a cluster know each other by the token.
pub fn token_is_needed(answers: &Answers, problems: &mut Problems) {
    let given = answers
        .token
        .as_ref()
        .is_some_and(|t| !t.expose().is_empty());
    // Whoever forgot the mode will need a token too.
    if answers.install.mode != Some(InstallMode::Install) && !given {
        if answers.install.mode.is_none() {
            return;
        }
        problems.add(
            Code::Missing,
            "token",
            "missing",
            "the secret that the nodes of the cluster share",
        );
    }
}

/// A node that joins needs to know where; one that creates must not.
pub fn server_url_follows_mode(answers: &Answers, problems: &mut Problems) {
    let given = answers.server_url.as_ref().is_some_and(|u| !u.is_empty());
    match (answers.install.mode, given) {
        (Some(InstallMode::Create), true) => problems.add(
            Code::ModeConflict,
            "server_url",
            "given, but install.mode is create",
            "leave it out, or use install.mode: join",
        ),
        (Some(InstallMode::Join), false) => problems.add(
            Code::Missing,
            "server_url",
            "missing",
            "the cluster to join, such as https://10.0.0.5:443",
        ),
        _ => {}
    }
}

/// What belongs to the cluster as a whole is decided by the node that creates it.
pub fn only_create_decides_the_cluster(answers: &Answers, problems: &mut Problems) {
    let install = &answers.install;
    if install.mode != Some(InstallMode::Join) {
        return;
    }
    // RKE2 wants to hear of these from every server, the same from each.
    let serves = install.role != Some(NodeRole::Worker);
    let mut settings = answers.system_settings.keys();
    let of_cluster = settings.any(|name| !settings::OF_NODES.contains(&name.as_str()));
    for (field, given) in [
        ("install.vip", is_said(install.vip.as_ref())),
        ("install.vip_hw_addr", is_said(install.vip_hw_addr.as_ref())),
        (
            "install.cluster_pod_cidr",
            !serves && is_said(install.cluster_pod_cidr.as_ref()),
        ),
        (
            "install.cluster_service_cidr",
            !serves && is_said(install.cluster_service_cidr.as_ref()),
        ),
        (
            "install.cluster_dns",
            !serves && is_said(install.cluster_dns.as_ref()),
        ),
        ("install.addons", !only_of_nodes(&install.addons)),
        ("system_settings", of_cluster),
        ("cluster.ip_pools", !answers.cluster.ip_pools.is_empty()),
    ] {
        if given {
            problems.add(
                Code::ModeIgnored,
                field,
                "does nothing on a node that joins",
                "say it in the config of the node that creates the cluster",
            );
        }
    }
}

/// Whether no addons are named but those for which a node itself does something: that it has an
/// IOMMU and vfio counts where it joins, too.
fn only_of_nodes(addons: &Addons) -> bool {
    let mut others = addons.clone();
    others.harvester_pcidevices_controller = Addon::default();
    others.nvidia_driver_toolkit = Addon::default();
    others == Addons::default()
}

fn is_said(text: Option<&String>) -> bool {
    text.is_some_and(|t| !t.is_empty())
}

/// The node that creates a cluster manages it.
pub fn create_needs_a_manager(answers: &Answers, problems: &mut Problems) {
    let role = answers.install.role;
    let cannot = matches!(role, Some(NodeRole::Worker | NodeRole::Witness));
    if answers.install.mode == Some(InstallMode::Create) && cannot {
        problems.add(
            Code::RoleConflict,
            "install.role",
            "the node that creates a cluster must manage it",
            "default or management; other nodes can be worker or witness",
        );
    }
}
