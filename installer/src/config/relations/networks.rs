//! The networks of pods, services and nodes.

use std::net::IpAddr;

use ipnet::IpNet;

use super::super::answers::{Answers, InstallMode};
use super::super::problem::{Code, Problems};
use super::{cluster_networks, link_networks, management_network};

const POD_FIELD: &str = "install.cluster_pod_cidr";
const SERVICE_FIELD: &str = "install.cluster_service_cidr";

/// An address must mean one thing: a pod, a service or a machine.
pub fn networks_are_apart(answers: &Answers, problems: &mut Problems) {
    let install = &answers.install;
    if install.mode == Some(InstallMode::Install) {
        return;
    }
    let [(_, pods), (_, services)] = cluster_networks(answers);
    let management = management_network(answers).map(|(_, subnet)| subnet);
    let mut named: Vec<(String, Option<IpNet>)> = vec![
        ("the management network".into(), management),
        ("the service network".into(), services),
    ];
    for (name, _, subnet) in link_networks(answers) {
        named.push((format!("the network {name}"), subnet));
    }
    let mut compare = |field: &str, ours: Option<IpNet>, named: &[(String, Option<IpNet>)]| {
        for (name, theirs) in named {
            if let (Some(ours), Some(theirs)) = (ours, theirs)
                && overlap(&ours, theirs)
            {
                problems.add(
                    Code::NetworksOverlap,
                    field,
                    format!("{ours} overlaps {name}, {theirs}"),
                    "networks of pods, services and machines must be apart",
                );
            }
        }
    };
    compare(POD_FIELD, pods, &named);
    named.retain(|(name, _)| name != "the service network");
    compare(SERVICE_FIELD, services, &named);
}

/// Whether two networks have an address in common.
pub fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}

/// On a node, addresses of pods and services lead to these: a machine that has one of them
/// can't be reached.
pub fn machines_are_outside(answers: &Answers, problems: &mut Problems) {
    let install = &answers.install;
    // Whoever joins does not say what the cluster's networks are.
    if install.mode != Some(InstallMode::Create) {
        return;
    }
    let networks = cluster_networks(answers);
    let management = management_network(answers).map(|(_, subnet)| subnet);
    let vip = install.vip.iter().map(|v| ("install.vip".to_owned(), v));
    let numbered = |key: &'static str| move |(i, v)| (format!("os.{key}[{i}]"), v);
    let dns = answers.os.dns_nameservers.iter().enumerate();
    let ntp = answers.os.ntp_servers.iter().enumerate();
    let machines = vip
        .chain(dns.map(numbered("dns_nameservers")))
        .chain(ntp.map(numbered("ntp_servers")));
    for (field, text) in machines {
        let Ok(address) = text.trim().parse::<IpAddr>() else {
            continue;
        };
        for (what, network) in networks {
            // Of networks that overlap, it is said already.
            let known =
                |n: &IpNet| management.is_some_and(|m| m.contains(&address) && overlap(&m, n));
            if let Some(network) = network.filter(|n| n.contains(&address) && !known(n)) {
                problems.add(
                    Code::NetworksOverlap,
                    field.clone(),
                    format!(
                        "{address} is in the {what} network {network}, so no machine can have it"
                    ),
                    format!("another address, or another install.cluster_{what}_cidr"),
                );
            }
        }
    }
}

/// The cluster's DNS is a service, but not the first one, which is the API.
pub fn dns_is_a_service(answers: &Answers, problems: &mut Problems) {
    const FIELD: &str = "install.cluster_dns";
    let install = &answers.install;
    if install.mode == Some(InstallMode::Install) {
        return;
    }
    let [_, (_, Some(services))] = cluster_networks(answers) else {
        return;
    };
    let Some(text) = &install.cluster_dns else {
        if dns_of(&services).is_none() {
            problems.add(
                Code::DnsOutside,
                FIELD,
                format!("missing, and the service network {services} has no tenth address"),
                "a larger install.cluster_service_cidr",
            );
        }
        return;
    };
    let Ok(dns) = text.trim().parse::<IpAddr>() else {
        return;
    };
    if !services.contains(&dns) {
        problems.add(
            Code::DnsOutside,
            FIELD,
            format!("{dns} is not in the service network {services}"),
            "usually its tenth address",
        );
    } else if services.hosts().next() == Some(dns) || services.network() == dns {
        problems.add(
            Code::DnsOutside,
            FIELD,
            format!("{dns} is taken: it is the network's own address or that of the API"),
            "usually the tenth address of the service network",
        );
    }
}

/// Address of the cluster's DNS when nobody says: the tenth of the service network.
pub fn dns_of(services: &IpNet) -> Option<IpAddr> {
    services.hosts().nth(9)
}
