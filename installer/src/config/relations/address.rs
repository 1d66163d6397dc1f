//! The address of the node.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::super::answers::{Answers, InstallMode, Ipv6Answers, Ipv6Mode, Method};
use super::super::formats;
use super::super::problem::{Code, Problems};
use super::{gateway, management_network};

const FIELD: &str = "install.management_interface";

/// A fixed address needs mask, gateway and DNS.
pub fn static_is_complete(answers: &Answers, problems: &mut Problems) {
    let given = &answers.install.management_interface;
    if given.method != Some(Method::Static) {
        return;
    }
    for (key, value) in [
        ("ip", &given.ip),
        ("subnet_mask", &given.subnet_mask),
        ("gateway", &given.gateway),
    ] {
        if value.is_none() {
            problems.add(
                Code::Missing,
                format!("{FIELD}.{key}"),
                "missing",
                "method static needs ip, subnet_mask and gateway",
            );
        }
    }
    if answers.os.dns_nameservers.is_empty() {
        problems.add(
            Code::Missing,
            "os.dns_nameservers",
            "missing",
            "a static address needs DNS servers",
        );
    }
}

/// Address keys beside DHCP are most often a forgotten `method: static`.
pub fn method_uses_its_keys(answers: &Answers, problems: &mut Problems) {
    let given = &answers.install.management_interface;
    if given.method == Some(Method::Static) || answers.install.mode == Some(InstallMode::Install) {
        return;
    }
    let method = match given.method {
        Some(Method::None) => "with method none",
        _ => "with method dhcp",
    };
    let keys = [
        ("ip", &given.ip),
        ("subnet_mask", &given.subnet_mask),
        ("gateway", &given.gateway),
    ];
    are_without_effect(FIELD, method, &keys, problems);
}

/// The gateway must be another host of the node's network.
pub fn gateway_is_reachable(answers: &Answers, problems: &mut Problems) {
    let Some((ip, subnet)) = management_network(answers) else {
        return;
    };
    if let Some(what) = special(ip, &subnet) {
        problems.add(
            Code::BadHostAddress,
            format!("{FIELD}.ip"),
            format!("{ip} is the {what} address of {subnet}"),
            "an address between the first and the last",
        );
    }
    let Some(gateway) = gateway(answers) else {
        return;
    };
    if let Some(what) = special(gateway, &subnet) {
        problems.add(
            Code::BadHostAddress,
            format!("{FIELD}.gateway"),
            format!("{gateway} is the {what} address of {subnet}"),
            "the router's address, often the first one",
        );
        return;
    }
    let IpAddr::V4(mask) = subnet.netmask() else {
        return;
    };
    // Of a network of one address, every gateway is outside.
    if subnet.prefix_len() == 32 && gateway != ip {
        return;
    }
    if let Err(wrong) = formats::gateway(ip, mask, gateway) {
        let field = format!("{FIELD}.gateway");
        problems.add(Code::GatewayUnreachable, field, wrong.message, wrong.hint);
    }
}

/// What an address that no host can have is to its network.
pub fn special(address: Ipv4Addr, subnet: &IpNet) -> Option<&'static str> {
    // A /31 or /32 has no addresses of its own (RFC 3021).
    if subnet.prefix_len() >= 31 {
        return None;
    }
    match IpAddr::V4(address) {
        ip if ip == subnet.network() => Some("network's own"),
        ip if ip == subnet.broadcast() => Some("broadcast"),
        _ => None,
    }
}

/// Keys of a fixed address where the method is another one; `method` says in words which.
pub fn are_without_effect(
    network: &str,
    method: &str,
    keys: &[(&str, &Option<String>)],
    problems: &mut Problems,
) {
    for (key, _) in keys.iter().filter(|(_, value)| value.is_some()) {
        problems.add(
            Code::MethodIgnored,
            format!("{network}.{key}"),
            format!("does nothing {method}"),
            "leave it out, or set method: static",
        );
    }
}

/// A fixed IPv6 address, and a gateway that it reaches.
pub fn ipv6_is_complete(answers: &Answers, problems: &mut Problems) {
    ipv6_is_whole(FIELD, &answers.install.management_interface.ipv6, problems);
}

/// The same of any network, by its key.
pub fn ipv6_is_whole(network: &str, given: &Ipv6Answers, problems: &mut Problems) {
    let field = format!("{network}.ipv6");
    if given.method != Some(Ipv6Mode::Static) {
        let method = match given.method {
            Some(Ipv6Mode::Dhcp) => "with method dhcp",
            Some(Ipv6Mode::None) => "with method none",
            Some(_) => "with method slaac",
            None => "without a method, which means slaac",
        };
        let keys = [("ip", &given.ip), ("gateway", &given.gateway)];
        are_without_effect(&field, method, &keys, problems);
        return;
    }
    let Some(text) = &given.ip else {
        let hint = "an address with its prefix length, such as fd00::11/64";
        problems.add(Code::Missing, format!("{field}.ip"), "missing", hint);
        return;
    };
    let Ok(net) = formats::ipv6_prefix(text) else {
        return;
    };
    let gateway = given.gateway.as_deref().and_then(|g| formats::ipv6(g).ok());
    let (ip, subnet) = (net.addr(), net.trunc());
    if let Some(gateway) =
        gateway.filter(|g| !g.is_unicast_link_local() && (!subnet.contains(g) || *g == ip))
    {
        problems.add(
            Code::GatewayUnreachable,
            format!("{field}.gateway"),
            format!("{gateway} is not another host of {subnet}"),
            "an address of that network, or a link-local one (fe80::...)",
        );
    }
}
