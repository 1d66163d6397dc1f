//! The virtual IP of the cluster.

use std::net::{IpAddr, Ipv4Addr};

use super::super::answers::{Answers, InstallMode, VipMode};
use super::super::formats;
use super::super::problem::{Code, Problems};
use super::address::special;
use super::links::macs;
use super::{gateway, ipv4, link_networks, management_network};

/// What each way to find the virtual IP needs.
pub fn vip_is_complete(answers: &Answers, problems: &mut Problems) {
    let install = &answers.install;
    if install.mode != Some(InstallMode::Create) {
        return;
    }
    let has_mac = install.vip_hw_addr.is_some();
    match (install.vip_mode, &install.vip) {
        (Some(VipMode::Dhcp), _) if !has_mac => problems.add(
            Code::Missing,
            "install.vip_hw_addr",
            "missing",
            "vip_mode dhcp asks for the address with this MAC",
        ),
        (Some(VipMode::Static), None) => problems.add(
            Code::Missing,
            "install.vip",
            "missing",
            "vip_mode static needs the address",
        ),
        (None, None) => problems.add(
            Code::NoVip,
            "install.vip",
            "missing; nodes could join only at this node's own address, and not while it is down",
            "a free address of the management network",
        ),
        (None | Some(VipMode::Static), Some(_)) if has_mac => problems.add(
            Code::MethodIgnored,
            "install.vip_hw_addr",
            "does nothing with vip_mode static",
            "leave it out, or set vip_mode: dhcp",
        ),
        _ => {}
    }
}

/// Nobody else may have the virtual IP, and the node's neighbours must reach it.
pub fn vip_is_free_and_near(answers: &Answers, problems: &mut Problems) {
    const FIELD: &str = "install.vip";
    let Some(vip) = ipv4(answers.install.vip.as_ref()) else {
        return;
    };
    let own = management_network(answers);
    let dns = answers.os.dns_nameservers.iter();
    let mut others: Vec<(&str, IpAddr)> = dns
        .filter_map(|d| d.trim().parse().ok())
        .map(|d| ("a DNS server's", d))
        .collect();
    others.extend(own.map(|(ip, _)| ("the node's own", ip.into())));
    others.extend(
        link_networks(answers)
            .iter()
            .map(|(_, ip, _)| ("the node's own", (*ip).into())),
    );
    others.extend(gateway(answers).map(|g| ("the gateway's", g.into())));
    if let Some((whose, _)) = others.iter().find(|(_, a)| *a == IpAddr::V4(vip)) {
        problems.add(
            Code::VipIsNode,
            FIELD,
            format!("{vip} is {whose} address"),
            "a free address of the management network",
        );
        return;
    }
    let special = own.and_then(|(_, subnet)| Some((subnet, special(vip, &subnet)?)));
    if let Some((subnet, what)) = special {
        problems.add(
            Code::BadHostAddress,
            FIELD,
            format!("{vip} is the {what} address of {subnet}"),
            "a free address between the first and the last",
        );
        return;
    }
    if let Some((_, subnet)) = own.filter(|(_, s)| !s.contains(&IpAddr::V4(vip))) {
        problems.add(
            Code::VipOutside,
            FIELD,
            format!("{vip} is not in the management network {subnet}"),
            "clients elsewhere reach it only if a router knows the way",
        );
    }
    pools_leave_it(answers, vip, problems);
}

/// The virtual IP is asked for with a MAC that no NIC has: a DHCP server would take the two
/// for one.
pub fn vip_mac_is_free(answers: &Answers, problems: &mut Problems) {
    const FIELD: &str = "install.vip_hw_addr";
    let text = answers.install.vip_hw_addr.as_deref();
    let Some(mac) = text.and_then(|m| formats::mac(m).ok()) else {
        return;
    };
    if let Some((field, _)) = macs(answers).into_iter().find(|(_, m)| *m == mac) {
        problems.add(
            Code::SameAddress,
            FIELD,
            format!("{mac} is {field}"),
            "a MAC that no NIC has, such as one that begins with 52:54:00",
        );
    }
}

/// The API's certificate is made when its server starts, and a DHCP server gives the address later.
/// RKE2's port for joining learns names as they are used; that of the API (6443) does not.
pub fn vip_is_in_the_certificate(answers: &Answers, problems: &mut Problems) {
    let install = &answers.install;
    let chosen = install.mode == Some(InstallMode::Create)
        && install.vip_mode == Some(VipMode::Dhcp)
        && install.vip.as_ref().is_none_or(String::is_empty);
    if chosen && answers.sans.is_empty() {
        problems.add(
            Code::VipUnnamed,
            "install.vip_mode",
            "the DHCP server chooses the address after the API's certificate is made, so nodes can join there, but kubectl would not trust it",
            "the address that the server keeps for vip_hw_addr as install.vip, or its DNS name in sans",
        );
    }
}

/// Addresses for services must not hold those of the cluster and the node.
fn pools_leave_it(answers: &Answers, vip: Ipv4Addr, problems: &mut Problems) {
    let own = management_network(answers).map(|(ip, _)| ip);
    for (namespace, pools) in &answers.cluster.ip_pools {
        for (i, text) in pools.iter().enumerate() {
            let ends = formats::pool(text);
            let inside = |address: Ipv4Addr| {
                let address = IpAddr::V4(address);
                ends.as_ref()
                    .is_ok_and(|(a, b)| (*a..=*b).contains(&address))
            };
            let taken = [(Some(vip), "install.vip"), (own, "the node's address")];
            for (address, name) in taken {
                if let Some(address) = address.filter(|a| inside(*a)) {
                    problems.add(
                        Code::SameAddress,
                        format!("cluster.ip_pools.{namespace}[{i}]"),
                        format!("holds {address}, which is {name}"),
                        "leave it out of the pool",
                    );
                }
            }
        }
    }
}
