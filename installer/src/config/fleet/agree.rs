//! What the nodes of a cluster must agree in: token, address, networks, room for pods.
//!
//! In: the config that creates the cluster, or the first of those that join one. Out: problems of
//! the others.

use std::collections::HashSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::{Fleet, machine_networks};
use crate::config::answers::{Answers, InstallMode, NodeRole};
use crate::config::formats;
use crate::config::load::Checked;
use crate::config::problem::Code;
use crate::config::relations::{
    MAX_PODS, POD_CIDR, SERVICE_CIDR, cluster_networks, dns_of, management_network, mask_for,
    node_mask, overlap, room,
};

/// Whether a node joins to manage.
fn joins_as_server(answers: &Answers) -> bool {
    let install = &answers.install;
    install.mode == Some(InstallMode::Join) && install.role != Some(NodeRole::Worker)
}

type Read = fn(&Answers) -> Option<String>;

/// What must be the same on every node: the key, what a config says, and what counts when the
/// node that creates the cluster does not say.
const SHARED: [(&str, Read, Read); 6] = [
    ("install.vip", |a| a.install.vip.clone(), |_| None),
    (
        "install.cluster_pod_cidr",
        |a| a.install.cluster_pod_cidr.clone(),
        |_| Some(POD_CIDR.to_owned()),
    ),
    (
        "install.cluster_service_cidr",
        |a| a.install.cluster_service_cidr.clone(),
        |_| Some(SERVICE_CIDR.to_owned()),
    ),
    (
        "install.cluster_dns",
        |a| a.install.cluster_dns.clone(),
        |a| {
            let [_, (_, services)] = cluster_networks(a);
            Some(dns_of(&services?)?.to_string())
        },
    ),
    (
        "cluster.cni",
        |a| a.cluster.cni.map(|c| format!("{c:?}").to_lowercase()),
        |_| Some("canal".to_owned()),
    ),
    (
        "cluster.node_cidr_mask",
        |a| a.cluster.node_cidr_mask.map(|m| m.to_string()),
        |a| Some(node_mask(a).to_string()),
    ),
];

impl<'a> Fleet<'a> {
    pub(super) fn tokens_are_one(&mut self, first: &Checked) {
        for node in self.others(first) {
            let (ours, theirs) = (&node.answers.token, &first.answers.token);
            if ours.is_some() && theirs.is_some() && ours != theirs {
                let message = format!("not the token of {}", first.main);
                let hint = "all nodes of a cluster share one token";
                self.add(node, Code::TokenDiffers, "token", message, hint);
            }
        }
    }

    /// Nodes that join a cluster which none of the configs creates join the same one.
    pub(super) fn joiners_agree_with(&mut self, first: &Checked) {
        let theirs = host_of_server(&first.answers);
        for node in self.others(first) {
            let ours = host_of_server(&node.answers);
            if let (Some(ours), Some(theirs)) = (ours, &theirs)
                && ours != *theirs
            {
                let message = format!("{ours} here, but {theirs} in {}", first.main);
                let hint = "fine if both are addresses of one cluster";
                self.add(node, Code::ServerUrlElsewhere, "server_url", message, hint);
            }
            for (field, said, _) in SHARED {
                let (ours, theirs) = (said(&node.answers), said(&first.answers));
                if let (Some(ours), Some(theirs)) = (ours, theirs)
                    && ours != theirs
                {
                    self.differs(node, field, &ours, &theirs, first);
                }
            }
        }
    }

    fn differs(&mut self, node: &Checked, field: &str, ours: &str, theirs: &str, of: &Checked) {
        let message = format!("{ours} here, but {theirs} in {}", of.main);
        let hint = "it must be the same on every node";
        self.add(node, Code::NetworkDiffers, field, message, hint);
    }

    /// The others' `server_url` is an address of the creator.
    pub(super) fn members_reach(&mut self, creator: &Checked) {
        let answers = &creator.answers;
        let mut names: HashSet<String> = answers.sans.iter().cloned().collect();
        names.extend(answers.install.vip.clone());
        names.extend(answers.os.hostname.clone());
        names.extend(management_network(answers).map(|(ip, _)| ip.to_string()));
        let names: HashSet<String> = names.iter().map(|name| name.to_lowercase()).collect();
        let has_vip = answers.install.vip.is_some();
        for node in self.others(creator) {
            let host = host_of_server(&node.answers);
            if let Some(host) = host.filter(|host| !names.contains(host)) {
                let message = format!("{host} is no address of {}", creator.main);
                let hint = if has_vip {
                    "its install.vip, or a DNS name that is in its sans"
                } else {
                    "its address, or give it an install.vip"
                };
                self.add(node, Code::ServerUrlElsewhere, "server_url", message, hint);
            }
        }
    }

    /// What must be the same on every node is.
    pub(super) fn members_agree_with(&mut self, creator: &Checked) {
        let most = room(node_mask(&creator.answers));
        for node in self.others(creator) {
            let serves = joins_as_server(&node.answers);
            let pods = node.answers.cluster.max_pods.unwrap_or(MAX_PODS);
            // A part of the pod network that is too small for the node is said of its pods.
            let said_elsewhere = |field| field == "cluster.node_cidr_mask" && pods > most;
            for (field, said, default) in SHARED {
                // RKE2 refuses a server that is told nothing where the others were told something.
                let assumed =
                    || default(&node.answers).filter(|_| serves && !said_elsewhere(field));
                let Some(ours) = said(&node.answers).or_else(assumed) else {
                    continue;
                };
                let theirs = said(&creator.answers).or_else(|| default(&creator.answers));
                if Some(&ours) != theirs.as_ref() {
                    let theirs = theirs.as_deref().unwrap_or("none");
                    self.differs(node, field, &ours, theirs, creator);
                }
            }
        }
    }

    /// No machine has an address that the creator gives to pods, services or load balancers.
    pub(super) fn members_are_outside(&mut self, creator: &Checked) {
        let networks = cluster_networks(&creator.answers);
        // Of a network that the creator is in too, it is said there.
        let known: Vec<IpNet> = machine_networks(&creator.answers)
            .into_iter()
            .filter_map(|(_, _, subnet)| subnet)
            .collect();
        let pools = creator.answers.cluster.ip_pools.iter();
        let pools: Vec<(&str, &String, (IpAddr, IpAddr))> = pools
            .flat_map(|(namespace, pools)| pools.iter().map(move |p| (namespace.as_str(), p)))
            .filter_map(|(namespace, pool)| Some((namespace, pool, formats::pool(pool).ok()?)))
            .collect();
        for node in self.others(creator) {
            for (field, ip, subnet) in machine_networks(&node.answers) {
                for (what, network) in networks {
                    let Some(network) = network else { continue };
                    let shared = match subnet {
                        Some(subnet) => overlap(&subnet, &network) && !known.contains(&subnet),
                        None => network.contains(&IpAddr::V4(ip)),
                    };
                    if shared {
                        let its = subnet.map_or_else(|| ip.to_string(), |s| s.to_string());
                        let message = format!(
                            "{its} overlaps the {what} network {network} of {}",
                            creator.main
                        );
                        let hint = "networks of pods, services and machines must be apart";
                        self.add(node, Code::NetworksOverlap, &field, message, hint);
                    }
                }
                let ip = IpAddr::V4(ip);
                let pool = pools.iter().find(|(_, _, (a, b))| (*a..=*b).contains(&ip));
                if let Some((namespace, pool, _)) = pool {
                    let message = format!(
                        "{ip} is in {pool}, which is cluster.ip_pools.{namespace} of {}",
                        creator.main
                    );
                    self.add(node, Code::SameAddress, &field, message, "a free address");
                }
            }
        }
    }

    /// Every node gets a part of the pod network, and its pods fit into it.
    pub(super) fn pods_fit(&mut self, creator: &Checked) {
        const HINT: &str = "on the node that creates: a larger install.cluster_pod_cidr, \
             or another cluster.node_cidr_mask";
        let mask = node_mask(&creator.answers);
        for node in self.others(creator) {
            let cluster = &node.answers.cluster;
            let pods = cluster.max_pods.unwrap_or(MAX_PODS);
            // With a mask of its own, that differs.
            if pods > room(mask) && cluster.node_cidr_mask.is_none() {
                let message = format!(
                    "{pods} pods, but by {} a node's /{mask} has room for {}",
                    creator.main,
                    room(mask)
                );
                let hint = format!(
                    "at most {}, or cluster.node_cidr_mask: {} on the node that creates",
                    room(mask),
                    mask_for(pods)
                );
                self.add(node, Code::PodsDontFit, "cluster.max_pods", message, &hint);
            }
        }
        let [(_, Some(pods)), _] = cluster_networks(&creator.answers) else {
            return;
        };
        // Less than one part is said of the creator alone.
        let Some(bits) = mask.checked_sub(pods.prefix_len()) else {
            return;
        };
        let parts = 1u64 << bits.min(32);
        let nodes = self.members.len();
        if nodes as u64 > parts {
            let message = format!("{pods} has a /{mask} for {parts} nodes, and these are {nodes}");
            let field = "install.cluster_pod_cidr";
            self.add(creator, Code::PodsDontFit, field, message, HINT);
        }
    }
}

/// The host of `server_url` in lower case: names have no case.
fn host_of_server(answers: &Answers) -> Option<String> {
    let url = formats::server_url(answers.server_url.as_deref()?).ok()?;
    Some(url.host.to_lowercase())
}
