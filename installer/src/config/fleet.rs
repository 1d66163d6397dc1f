//! The configs of several nodes as one cluster.
//!
//! In: checked configs. Out: what they contradict each other in, each at the place of the key.
//! Pure, and linear in the number of nodes.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::answers::{Answers, InstallMode, NodeRole};
use super::formats;
use super::load::Checked;
use super::problem::{Code, Problem, Problems};
use super::relations::management_network;

/// What the configs of one cluster contradict each other in.
pub fn check_fleet(nodes: &[Checked]) -> Problems {
    let mut fleet = Fleet {
        members: nodes.iter().filter(|n| is_member(&n.answers)).collect(),
        problems: Problems::default(),
    };
    if fleet.members.len() < 2 {
        return fleet.problems;
    }
    let creator = fleet.one_creator();
    if let Some(creator) = creator {
        fleet.members_reach(creator);
        fleet.members_agree_with(creator);
    }
    fleet.names_are_unique();
    fleet.addresses_are_unique();
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

    /// The others' `server_url` is an address of the creator, and their token is its token.
    fn members_reach(&mut self, creator: &Checked) {
        let answers = &creator.answers;
        let mut names: HashSet<String> = answers.sans.iter().cloned().collect();
        names.extend(answers.install.vip.clone());
        names.extend(answers.os.hostname.clone());
        names.extend(management_network(answers).map(|(ip, _)| ip.to_string()));
        let has_vip = answers.install.vip.is_some();
        for node in self.members.clone() {
            if std::ptr::eq(node, creator) {
                continue;
            }
            if node.answers.token != answers.token && node.answers.token.is_some() {
                let message = format!("not the token of {}", creator.main);
                let hint = "all nodes of a cluster share one token";
                self.add(node, Code::TokenDiffers, "token", message, hint);
            }
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
        type Read = fn(&Answers) -> Option<String>;
        let keys: [(&str, Read); 6] = [
            ("install.vip", |a| a.install.vip.clone()),
            ("install.cluster_pod_cidr", |a| {
                a.install.cluster_pod_cidr.clone()
            }),
            ("install.cluster_service_cidr", |a| {
                a.install.cluster_service_cidr.clone()
            }),
            ("install.cluster_dns", |a| a.install.cluster_dns.clone()),
            ("cluster.cni", |a| {
                a.cluster.cni.map(|c| format!("{c:?}").to_lowercase())
            }),
            ("cluster.node_cidr_mask", |a| {
                a.cluster.node_cidr_mask.map(|m| m.to_string())
            }),
        ];
        for node in self.members.clone() {
            for (field, read) in keys {
                let (Some(ours), theirs) = (read(&node.answers), read(&creator.answers)) else {
                    continue;
                };
                if Some(&ours) != theirs.as_ref() {
                    let theirs = theirs.unwrap_or_else(|| "the default".to_owned());
                    let message = format!("{ours} here, but {theirs} in {}", creator.main);
                    let hint = "it must be the same on every node";
                    self.add(node, Code::NetworkDiffers, field, message, hint);
                }
            }
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
                        if field == "install.vip" && other == "install.vip" {
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
    ip("install.vip".to_owned(), install.vip.as_ref());
    for (name, link) in &install.networks {
        ip(format!("install.networks.{name}.ip"), link.ip.as_ref());
    }
    for (i, nic) in install.management_interface.interfaces.iter().enumerate() {
        let mac = nic.hw_addr.as_deref().and_then(|m| formats::mac(m).ok());
        let field = format!("install.management_interface.interfaces[{i}].hw_addr");
        found.extend(mac.map(|mac| (field, mac)));
    }
    found
}

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
