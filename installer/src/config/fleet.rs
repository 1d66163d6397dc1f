//! The configs of several nodes as one cluster.
//!
//! In: checked configs. Out: what they contradict each other in, each at the place of the key.
//! Pure, and linear in the number of nodes.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::answers::{Answers, InstallMode, NodeRole};
use super::formats;
use super::load::Checked;
use super::problem::{Code, Problem, Problems};
use super::relations::{
    MAX_PODS, POD_CIDR, SERVICE_CIDR, cluster_networks, dns_of, link_networks, macs,
    management_network, mask_for, node_mask, overlap, room,
};

const VIP: &str = "install.vip";
const VIP_MAC: &str = "install.vip_hw_addr";

/// What the configs of one cluster contradict each other in.
pub fn check_fleet(nodes: &[Checked]) -> Problems {
    let mut fleet = Fleet {
        members: nodes.iter().filter(|n| is_member(&n.answers)).collect(),
        problems: Problems::default(),
    };
    if fleet.members.len() < 2 {
        return fleet.problems;
    }
    match fleet.one_creator() {
        Some(creator) => {
            fleet.tokens_are_one(creator);
            fleet.members_reach(creator);
            fleet.members_agree_with(creator);
            fleet.members_are_outside(creator);
            fleet.pods_fit(creator);
        }
        // The first one stands for the cluster that exists.
        None => {
            if let Some(first) = fleet.members.first().copied() {
                fleet.tokens_are_one(first);
                fleet.joiners_agree_with(first);
            }
        }
    }
    fleet.names_are_unique();
    fleet.addresses_are_unique();
    fleet.gateways_are_no_nodes();
    fleet.subnets_are_one();
    fleet.time_is_one();
    fleet.roles_work();
    fleet.problems.sort();
    fleet.problems
}

fn is_member(answers: &Answers) -> bool {
    matches!(
        answers.install.mode,
        Some(InstallMode::Create | InstallMode::Join)
    )
}

struct Fleet<'a> {
    members: Vec<&'a Checked>,
    problems: Problems,
}

impl<'a> Fleet<'a> {
    fn add(&mut self, node: &Checked, code: Code, field: &str, message: String, hint: &str) {
        let problem = Problem::new(code, field, message, hint);
        self.problems.0.push(problem.at(&node.place_of(field)));
    }

    fn one_creator(&mut self) -> Option<&'a Checked> {
        let creates = |n: &&Checked| n.answers.install.mode == Some(InstallMode::Create);
        let creators: Vec<&Checked> = self.members.iter().copied().filter(creates).collect();
        if let (None, Some(first)) = (creators.first(), self.members.first().copied()) {
            let message = "all of these nodes join, and none creates the cluster".to_owned();
            let hint = "fine if the cluster exists; else give one of them install.mode: create";
            self.add(first, Code::NoCreateNode, "install.mode", message, hint);
        }
        for more in creators.iter().skip(1) {
            let first = creators.first().map_or("", |c| &c.main);
            let message = format!("{first} creates a cluster already");
            let hint = "one node creates, all others join";
            self.add(more, Code::ManyCreateNodes, "install.mode", message, hint);
        }
        creators.first().copied()
    }

    /// Everybody but this one.
    fn others(&self, one: &Checked) -> Vec<&'a Checked> {
        let members = self.members.iter().copied();
        members.filter(|n| !std::ptr::eq(*n, one)).collect()
    }

    fn tokens_are_one(&mut self, first: &Checked) {
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
    fn joiners_agree_with(&mut self, first: &Checked) {
        let url = |n: &'a Checked| n.answers.server_url.as_deref().unwrap_or_default();
        let theirs = host_of(first.answers.server_url.as_deref().unwrap_or_default());
        for node in self.others(first) {
            let ours = host_of(url(node));
            if !ours.is_empty() && !theirs.is_empty() && !ours.eq_ignore_ascii_case(theirs) {
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
    fn members_reach(&mut self, creator: &Checked) {
        let answers = &creator.answers;
        let mut names: HashSet<String> = answers.sans.iter().cloned().collect();
        names.extend(answers.install.vip.clone());
        names.extend(answers.os.hostname.clone());
        names.extend(management_network(answers).map(|(ip, _)| ip.to_string()));
        let has_vip = answers.install.vip.is_some();
        for node in self.others(creator) {
            let url = node.answers.server_url.as_deref().unwrap_or_default();
            let host = host_of(url);
            if !host.is_empty() && !names.contains(host) {
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
    fn members_agree_with(&mut self, creator: &Checked) {
        for node in self.others(creator) {
            for (field, said, default) in SHARED {
                let Some(ours) = said(&node.answers) else {
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
    fn members_are_outside(&mut self, creator: &Checked) {
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
    fn pods_fit(&mut self, creator: &Checked) {
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

    fn names_are_unique(&mut self) {
        let mut seen: HashMap<String, &Checked> = HashMap::new();
        for node in self.members.clone() {
            let Some(name) = node.answers.os.hostname.clone() else {
                continue;
            };
            if let Some(first) = seen.get(&name) {
                let message = format!("{name} is the name of {} already", first.main);
                let hint = "Kubernetes knows nodes by their names";
                self.add(node, Code::SameHostname, "os.hostname", message, hint);
            } else {
                seen.insert(name, node);
            }
        }
    }

    fn addresses_are_unique(&mut self) {
        let mut seen: HashMap<String, (&Checked, String)> = HashMap::new();
        for node in self.members.clone() {
            for (field, address) in addresses_of(&node.answers) {
                match seen.get(&address) {
                    Some((first, other)) if !std::ptr::eq(*first, node) => {
                        // Every config of a cluster may name the one virtual IP.
                        if field == *other && [VIP, VIP_MAC].contains(&field.as_str()) {
                            continue;
                        }
                        let message = format!("{address} is {other} of {}", first.main);
                        self.add(node, Code::SameAddress, &field, message, "a free address");
                    }
                    Some(_) => {}
                    None => {
                        seen.insert(address, (node, field));
                    }
                }
            }
        }
    }

    fn gateways_are_no_nodes(&mut self) {
        let mut gateways: HashMap<Ipv4Addr, &Checked> = HashMap::new();
        for node in &self.members {
            if let Some(gateway) = gateway_of(&node.answers) {
                gateways.entry(gateway).or_insert(node);
            }
        }
        for node in self.members.clone() {
            for (field, ip, _) in machine_networks(&node.answers) {
                // Its own gateway is checked with the node.
                let other = gateways.get(&ip);
                if let Some(other) = other.filter(|_| gateway_of(&node.answers) != Some(ip)) {
                    let message = format!("{ip} is the gateway of {}", other.main);
                    self.add(node, Code::SameAddress, &field, message, "a free address");
                }
            }
        }
    }

    fn subnets_are_one(&mut self) {
        let mut first = None;
        for node in self.members.clone() {
            let Some((_, subnet)) = management_network(&node.answers) else {
                continue;
            };
            let (theirs, name) = *first.get_or_insert((subnet, &node.main));
            if theirs != subnet {
                let message = format!("in {subnet}, but {name} is in {theirs}");
                let hint = "a virtual IP is reached by ARP, which ends at a router";
                let field = "install.management_interface.ip";
                self.add(node, Code::SubnetDiffers, field, message, hint);
            }
        }
    }

    fn time_is_one(&mut self) {
        let has = |n: &&Checked| !n.answers.os.ntp_servers.is_empty();
        let with = self.members.iter().filter(|n| has(n)).count();
        if with == 0 || with == self.members.len() {
            return;
        }
        for node in self.members.clone() {
            if !has(&node) {
                let message = "missing, but other nodes have time servers".to_owned();
                let hint = "clocks that differ break the cluster's database";
                self.add(node, Code::NtpDiffers, "os.ntp_servers", message, hint);
            }
        }
    }

    fn roles_work(&mut self) {
        const FIELD: &str = "install.role";
        let role = |n: &Checked| n.answers.install.role.unwrap_or(NodeRole::Default);
        let of = |fleet: &Self, wanted: NodeRole| {
            let with = fleet.members.iter().copied();
            with.filter(|n| role(n) == wanted).collect::<Vec<_>>()
        };
        let witnesses = of(self, NodeRole::Witness);
        let named = of(self, NodeRole::Management).len();
        let able = named + of(self, NodeRole::Default).len();
        for more in witnesses.iter().skip(1) {
            let message = "a second witness".to_owned();
            self.add(
                more,
                Code::Roles,
                FIELD,
                message,
                "a cluster has one at most",
            );
        }
        // Three managers are made of those that can, unless some are named.
        let managers = if named > 2 { named } else { able.min(3) };
        let Some(any) = self.members.first().copied() else {
            return;
        };
        match witnesses.first() {
            Some(witness) if managers < 2 => {
                let message = "a witness needs two managers to vote with".to_owned();
                let hint = "two nodes of role default or management";
                self.add(witness, Code::Roles, FIELD, message, hint);
            }
            // A witness takes the third place.
            Some(_) => {}
            None if managers > 0 && managers.is_multiple_of(2) => {
                let message =
                    format!("{managers} nodes vote, and the cluster stops when one fails");
                let hint = "three nodes that can manage, or a witness as the third";
                self.add(any, Code::EvenControlPlane, FIELD, message, hint);
            }
            None => {}
        }
    }
}

/// Addresses that only one node may have, each with its key.
fn addresses_of(answers: &Answers) -> Vec<(String, String)> {
    let install = &answers.install;
    let mut found = Vec::new();
    let mut ip = |field: String, text: Option<&String>| {
        if let Some(ip) = text.and_then(|t| t.trim().parse::<IpAddr>().ok()) {
            found.push((field, ip.to_string()));
        }
    };
    if management_network(answers).is_some() {
        let field = "install.management_interface.ip";
        ip(field.to_owned(), install.management_interface.ip.as_ref());
    }
    ip(VIP.to_owned(), install.vip.as_ref());
    for (name, link) in &install.networks {
        ip(format!("install.networks.{name}.ip"), link.ip.as_ref());
    }
    found.extend(macs(answers));
    let mac = install.vip_hw_addr.as_deref();
    let mac = mac.and_then(|m| formats::mac(m).ok());
    found.extend(mac.map(|mac| (VIP_MAC.to_owned(), mac)));
    found
}

/// The fixed addresses of a machine and their networks, each with its key.
fn machine_networks(answers: &Answers) -> Vec<(String, Ipv4Addr, Option<IpNet>)> {
    let management = management_network(answers);
    let field = || "install.management_interface.ip".to_owned();
    let links = link_networks(answers).into_iter();
    let links = links.map(|(name, ip, net)| (format!("install.networks.{name}.ip"), ip, net));
    let management = management.map(|(ip, subnet)| (field(), ip, Some(subnet)));
    management.into_iter().chain(links).collect()
}

fn gateway_of(answers: &Answers) -> Option<Ipv4Addr> {
    let gateway = answers.install.management_interface.gateway.as_deref()?;
    gateway.trim().parse().ok()
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

/// The host of a URL.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    const HASH: &str = "$6$salt$3aEJgflnzWuw1O3tr0IYSmhUY0cZ7iBQeBP392T7RXjLP3TKKu3ddIapQaCpbD4p9ioeGaVIjOHaym7HvCuUm0";
    use super::super::load::check_sources;
    use super::super::source::{Source, SourceKind};
    use super::*;

    fn node(i: usize, more: &str) -> Checked {
        let mode = if i == 0 {
            "mode: create\n  vip: 10.0.0.5"
        } else {
            "mode: join"
        };
        let url = if i == 0 {
            ""
        } else {
            "server_url: https://10.0.0.5:443\n"
        };
        let (a, b) = (i / 250, i % 250 + 1);
        let text = format!(
            "{url}token: secret\nos:\n  hostname: node-{i}\n  password: {HASH}\n  dns_nameservers: [10.0.0.2]\n\
             install:\n  {mode}\n  management_interface:\n    method: static\n    ip: 10.0.1{a}.{b}\n    \
             subnet_mask: 255.255.0.0\n    gateway: 10.0.0.1\n"
        );
        let name = format!("node-{i}.yaml");
        check_sources(&[
            Source::yaml(SourceKind::Oem, &name, text),
            Source::yaml(
                SourceKind::File,
                &format!("{name}+"),
                format!("scheme_version: 1\n{more}"),
            ),
        ])
    }

    fn codes(nodes: &[Checked]) -> Vec<Code> {
        for node in nodes {
            assert!(!node.problems.has_errors(), "{}", node.problems);
        }
        check_fleet(nodes).0.into_iter().map(|p| p.code).collect()
    }

    #[test]
    fn a_cluster_without_contradictions_has_no_problems() {
        assert_eq!(
            codes(&[node(0, ""), node(1, ""), node(2, ""), node(3, "")]),
            []
        );
        assert_eq!(codes(&[node(0, "")]), []);
    }

    #[test]
    fn what_only_the_creator_knows_is_checked_of_all() {
        for (first, third, expected) in [
            ("cluster: {cni: canal}", "cluster: {cni: canal}", None),
            ("", "cluster: {cni: canal, node_cidr_mask: 24}", None),
            ("cluster: {max_pods: 400}", "cluster: {max_pods: 500}", None),
            (
                "cluster: {ip_pools: {global: [10.0.10.3-10.0.10.9]}}",
                "",
                Some(Code::SameAddress),
            ),
            (
                "install: {cluster_pod_cidr: 10.9.0.0/16}",
                "install: {management_interface: {ip: 10.9.0.9, gateway: 10.9.0.1}}",
                Some(Code::NetworksOverlap),
            ),
            (
                "install: {cluster_pod_cidr: 10.9.0.0/23}",
                "",
                Some(Code::PodsDontFit),
            ),
            (
                "install: {management_interface: {gateway: 10.0.10.3}}",
                "",
                Some(Code::SameAddress),
            ),
            (
                "install: {networks: {a: {interfaces: [{hw_addr: '52:54:00:ec:0e:0b'}]}}}",
                "install: {networks: {b: {interfaces: [{hw_addr: '52:54:00:ec:0e:0b'}]}}}",
                Some(Code::SameAddress),
            ),
        ] {
            let found = codes(&[node(0, first), node(1, ""), node(2, third)]);
            let found = found.into_iter().find(|c| *c != Code::SubnetDiffers);
            assert_eq!(found, expected, "{first} {third}");
        }
    }

    #[test]
    fn joiners_of_one_cluster_agree() {
        for (second, expected) in [
            ("token: other", Some(Code::TokenDiffers)),
            (
                "server_url: https://10.0.0.6:443",
                Some(Code::ServerUrlElsewhere),
            ),
            ("server_url: https://10.0.0.5", None),
            ("cluster: {cni: cilium}", None),
        ] {
            let found = codes(&[node(1, ""), node(2, second), node(3, "")]);
            let found = found.into_iter().find(|c| *c != Code::NoCreateNode);
            assert_eq!(found, expected, "{second}");
        }
    }

    #[test]
    fn every_contradiction_is_found() {
        for (third, expected) in [
            ("token: other", Code::TokenDiffers),
            ("server_url: https://10.0.0.6:443", Code::ServerUrlElsewhere),
            ("os: {hostname: node-1}", Code::SameHostname),
            (
                "install: {management_interface: {ip: 10.0.10.2}}",
                Code::SameAddress,
            ),
            ("os: {ntp_servers: [a.example]}", Code::NtpDiffers),
            ("install: {role: worker}", Code::EvenControlPlane),
            ("cluster: {cni: cilium}", Code::NetworkDiffers),
            (
                "install: {management_interface: {ip: 10.1.0.9, gateway: 10.1.0.1}}",
                Code::SubnetDiffers,
            ),
            ("cluster: {max_pods: 400}", Code::PodsDontFit),
            (
                "install: {networks: {a: {interfaces: [{name: a}], method: static, ip: 10.52.3.4, subnet_mask: 24}}}",
                Code::NetworksOverlap,
            ),
            (
                "install: {networks: {a: {interfaces: [{name: a}], method: static, ip: 10.0.0.5, subnet_mask: 24}}}",
                Code::SameAddress,
            ),
        ] {
            let found = codes(&[node(0, ""), node(1, ""), node(2, third)]);
            assert_eq!(found.first(), Some(&expected), "{third}: {found:?}");
        }
        assert_eq!(
            codes(&[node(1, ""), node(2, ""), node(3, "")]),
            [Code::NoCreateNode]
        );
        let witness = "install: {role: witness}";
        assert_eq!(codes(&[node(0, ""), node(1, witness)]), [Code::Roles]);
        assert_eq!(codes(&[node(0, ""), node(1, ""), node(2, witness)]), []);
    }
}
