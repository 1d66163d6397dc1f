//! The configs of several nodes as one cluster.
//!
//! In: checked configs. Out: what they contradict each other in, each at the place of the key.
//! Pure, and linear in the number of nodes.

mod agree;
mod apart;

use std::net::Ipv4Addr;

use ipnet::IpNet;

use super::answers::{Answers, InstallMode, NodeRole};
use super::load::Checked;
use super::problem::{Code, Problem, Problems};
use super::relations::{link_networks, management_network};

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

/// The fixed addresses of a machine and their networks, each with its key.
fn machine_networks(answers: &Answers) -> Vec<(String, Ipv4Addr, Option<IpNet>)> {
    let management = management_network(answers);
    let field = || "install.management_interface.ip".to_owned();
    let links = link_networks(answers).into_iter();
    let links = links.map(|(name, ip, net)| (format!("install.networks.{name}.ip"), ip, net));
    let management = management.map(|(ip, subnet)| (field(), ip, Some(subnet)));
    management.into_iter().chain(links).collect()
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
            (
                "sans: [Harrow.example]",
                "server_url: https://hArrow.Example:443",
                None,
            ),
            (
                "cluster: {max_pods: 400}",
                "cluster: {max_pods: 500}",
                Some(Code::NetworkDiffers),
            ),
            ("cluster: {cni: cilium}", "", Some(Code::NetworkDiffers)),
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
            // What a method ignores is no address.
            (
                "install: {networks: {a: {interfaces: [{name: ens9}], method: dhcp, ip: 10.1.0.2}}}",
                "install: {networks: {a: {interfaces: [{name: ens9}], ip: 10.1.0.2}}}",
                None,
            ),
            (
                "install: {management_interface: {method: dhcp, gateway: 10.0.10.3}}",
                "",
                None,
            ),
        ] {
            let found = codes(&[node(0, first), node(1, ""), node(2, third)]);
            // The others here never say what the creator says, so that differs too.
            let beside = [Code::SubnetDiffers, Code::NetworkDiffers];
            let mut found = found.into_iter();
            let found = found.find(|c| expected == Some(*c) || !beside.contains(c));
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
            (
                "server_url: https://[fd00::5]",
                Some(Code::ServerUrlElsewhere),
            ),
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
                "install: {networks: {a: {interfaces: [{name: ens9}], method: static, ip: 10.52.3.4, subnet_mask: 24}}}",
                Code::NetworksOverlap,
            ),
            (
                "install: {networks: {a: {interfaces: [{name: ens9}], method: static, ip: 10.0.0.5, subnet_mask: 24}}}",
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
