//! The networks of the node: NICs and bonds, addresses, VLANs, MTU, the default route, DNS, and
//! addresses that somebody else has too.

mod bond;
mod seen;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::{Config, Ipv4Method, Ipv6Method, NodeNetwork};

use super::super::network::{self, BOND, BRIDGE};
use super::{Check, Node};
use seen::{Address, Link, Seen};

/// Name of the management network among the checks.
const MANAGEMENT: &str = "mgmt";

/// All checks of this group.
pub fn check(node: &Node) -> Vec<Check> {
    match Seen::read(node.config) {
        Ok(seen) => check_all(node.config, &seen),
        Err(error) => vec![Check::holds(
            "network",
            false,
            "readable",
            format!("{error:#}"),
        )],
    }
}

fn check_all(config: &Config, seen: &Seen) -> Vec<Check> {
    let mut checks = Vec::new();
    for carrier in network::bonds(config) {
        let name = if carrier.device == BOND {
            MANAGEMENT
        } else {
            &carrier.device
        };
        checks.extend(bond::check(name, &carrier.device, carrier.network, seen));
    }
    for (device, network) in network::devices(config) {
        let name = if device == BRIDGE {
            MANAGEMENT
        } else {
            &device
        };
        checks.extend(check_device(name, &device, network, seen));
    }
    checks.push(check_route(config, seen));
    checks.push(check_dns(config, seen));
    checks.push(check_search(config, seen));
    checks.push(check_conflicts(seen));
    checks
}

fn check_device(name: &str, device: &str, network: &NodeNetwork, seen: &Seen) -> Vec<Check> {
    let Some(link) = seen.link(device) else {
        let check = format!("network {name} address");
        return vec![Check::equal(
            check,
            format!("on {device}"),
            "no such network interface",
        )];
    };
    let mut checks = vec![
        check_ipv4(name, network, link),
        check_ipv6(name, network, link),
    ];
    if let Some(mtu) = network.mtu {
        let check = format!("network {name} mtu");
        checks.push(Check::equal(check, mtu.to_string(), link.mtu.to_string()));
    }
    if device == BRIDGE {
        let mac = network.mac.as_deref();
        let mac = mac.or_else(|| network.nics.first().and_then(|nic| nic.mac.as_deref()));
        checks.extend(mac.map(|mac| Check::equal("network mgmt mac", mac, &*link.address)));
    }
    let check = format!("network {name} vlan");
    let expected = network
        .vlan
        .map_or("untagged".to_owned(), |id| id.to_string());
    if device == BRIDGE {
        checks.push(Check::equal(check, expected, bridge_vlan(seen)));
    } else if network.vlan.is_some() {
        let info = link.linkinfo.as_ref().map(|info| &info.info_data);
        let id = info.and_then(|data| data.get("id")?.as_u64());
        let actual = id.map_or("none".to_owned(), |id| id.to_string());
        checks.push(Check::equal(check, expected, actual));
    }
    checks
}

/// The VLAN of the node's own frames, when the uplink carries it.
fn bridge_vlan(seen: &Seen) -> String {
    let of = |device: &str| {
        seen.vlans
            .get(device)
            .map(Vec::as_slice)
            .unwrap_or_default()
    };
    let is_own = |vlan: &&seen::PortVlan| vlan.flags.iter().any(|flag| flag == "PVID");
    let Some(own) = of(BRIDGE).iter().find(is_own).map(|vlan| vlan.vlan) else {
        return "none".to_owned();
    };
    let Some(port) = of(BOND).iter().find(|vlan| vlan.vlan == own) else {
        return format!("{own}, which {BOND} does not carry");
    };
    match port.flags.iter().any(|flag| flag == "Egress Untagged") {
        true => "untagged".to_owned(),
        false => own.to_string(),
    }
}

fn shown(address: &Address) -> String {
    let how = if address.dynamic {
        " by DHCP or router"
    } else {
        ""
    };
    format!("{}/{}{how}", address.local, address.prefixlen)
}

fn all_shown(addresses: &[&Address]) -> String {
    match addresses {
        [] => "none".to_owned(),
        some => some.iter().map(|a| shown(a)).collect::<Vec<_>>().join(", "),
    }
}

/// A virtual IP is on the same interface, with a prefix of its own.
fn check_ipv4(name: &str, network: &NodeNetwork, link: &Link) -> Check {
    let of_family = |a: &&Address| a.family == "inet" && a.scope == "global";
    let found: Vec<&Address> = link.addr_info.iter().filter(of_family).collect();
    let actual = all_shown(&found);
    let check = format!("network {name} address");
    match &network.ipv4 {
        Ipv4Method::None => Check::holds(check, found.is_empty(), "none", actual),
        Ipv4Method::Dhcp => {
            let holds = found.iter().any(|a| a.dynamic);
            Check::holds(check, holds, "an address by DHCP", actual)
        }
        Ipv4Method::Static(fixed) => {
            let same = |a: &&&Address| {
                a.local.parse() == Ok::<Ipv4Addr, _>(fixed.address) && a.prefixlen == fixed.prefix
            };
            let others = |a: &&&Address| !same(a) && (a.prefixlen != 32 || a.dynamic);
            let holds = found.iter().any(|a| same(&a)) && !found.iter().any(|a| others(&a));
            let expected = format!("{}/{}", fixed.address, fixed.prefix);
            Check::holds(check, holds, expected, actual)
        }
    }
}

fn check_ipv6(name: &str, network: &NodeNetwork, link: &Link) -> Check {
    let of_family = |a: &&Address| a.family == "inet6" && a.scope == "global";
    let found: Vec<&Address> = link.addr_info.iter().filter(of_family).collect();
    let actual = all_shown(&found);
    let check = format!("network {name} ipv6");
    match &network.ipv6 {
        Ipv6Method::None => {
            let none = !link.addr_info.iter().any(|a| a.family == "inet6");
            Check::holds(check, none, "none, not even link-local", actual)
        }
        Ipv6Method::Slaac if found.is_empty() => {
            Check::skipped(check, "no router has told a prefix")
        }
        Ipv6Method::Slaac => Check::holds(check, true, "addresses by routers", actual),
        Ipv6Method::Dhcp => {
            let holds = found.iter().any(|a| a.prefixlen == 128 && a.dynamic);
            Check::holds(check, holds, "an address by DHCPv6", actual)
        }
        Ipv6Method::Static(fixed) => {
            let same = |a: &&Address| {
                a.local.parse() == Ok::<Ipv6Addr, _>(fixed.address) && a.prefixlen == fixed.prefix
            };
            let holds = found.iter().any(same);
            let expected = format!("{}/{}", fixed.address, fixed.prefix);
            Check::holds(check, holds, expected, actual)
        }
    }
}

/// The management network's alone leads outside, and its router is there.
fn check_route(config: &Config, seen: &Seen) -> Check {
    let management = &config.management;
    let fixed: Vec<IpAddr> = match (&management.ipv4, &management.ipv6) {
        (Ipv4Method::Static(v4), Ipv6Method::Static(v6)) => {
            let v6 = v6.gateway.map(IpAddr::V6);
            v4.gateway.map(IpAddr::V4).into_iter().chain(v6).collect()
        }
        (Ipv4Method::Static(v4), _) => v4.gateway.map(IpAddr::V4).into_iter().collect(),
        (_, Ipv6Method::Static(v6)) => v6.gateway.map(IpAddr::V6).into_iter().collect(),
        _ => Vec::new(),
    };
    let by_server = management.ipv4 == Ipv4Method::Dhcp;
    let route = |route: &network::gateway::DefaultRoute| {
        let gateway = route.gateway.map_or("nobody".to_owned(), |g| g.to_string());
        let silent = match seen.answering.contains(&route.dev) {
            true => "",
            false => ", which does not answer",
        };
        format!("{gateway} on {}{silent}", route.dev)
    };
    let actual: Vec<String> = seen.routes.iter().map(route).collect();
    let actual = if actual.is_empty() {
        "none".to_owned()
    } else {
        actual.join("; ")
    };
    let ours = network::devices(config);
    let stray = seen.routes.iter().any(|r| {
        let further = ours.iter().any(|(device, _)| *device == r.dev);
        further && r.dev != BRIDGE
    });
    let on_bridge = |gateway: &IpAddr| {
        let same = |r: &&network::gateway::DefaultRoute| r.gateway == Some(*gateway);
        seen.routes.iter().filter(same).any(|r| r.dev == BRIDGE)
    };
    let any = seen.routes.iter().any(|r| r.dev == BRIDGE);
    let answers = seen.answering.iter().any(|dev| dev == BRIDGE);
    let (holds, expected) = match fixed.as_slice() {
        [] if by_server => (any && answers, "that of the DHCP server".to_owned()),
        [] => (true, "none, or that of a router".to_owned()),
        some => {
            let names: Vec<String> = some.iter().map(ToString::to_string).collect();
            (some.iter().all(on_bridge) && answers, names.join(", "))
        }
    };
    let expected = format!("{expected}, on {BRIDGE} alone");
    Check::holds("default route", holds && !stray, expected, actual)
}

fn check_dns(config: &Config, seen: &Seen) -> Check {
    let wanted: Vec<String> = config.os.dns.iter().map(ToString::to_string).collect();
    let actual = words_of(&seen.resolv, "nameserver");
    if wanted.is_empty() {
        let why = format!("none configured; in use: {}", actual.join(" "));
        return Check::skipped("dns", why);
    }
    // resolv.conf(5) has three at most, resolved uses all.
    let holds = wanted.iter().take(3).all(|server| actual.contains(server))
        && actual.iter().all(|server| wanted.contains(server));
    Check::holds("dns", holds, wanted.join(" "), actual.join(" "))
}

fn check_search(config: &Config, seen: &Seen) -> Check {
    let wanted = &config.os.dns_search;
    let actual = words_of(&seen.resolv, "search");
    if wanted.is_empty() {
        return Check::skipped("dns search", "none configured");
    }
    let name = |domain: &String| domain.trim_end_matches('.').to_ascii_lowercase();
    let holds = wanted.iter().all(|domain| actual.contains(&name(domain)));
    Check::holds("dns search", holds, wanted.join(" "), actual.join(" "))
}

/// The words after a key of resolv.conf(5).
fn words_of(text: &str, key: &str) -> Vec<String> {
    let mut words = Vec::new();
    for line in text.lines() {
        let mut parts = line.split_whitespace();
        if parts.next() == Some(key) {
            words.extend(parts.filter(|word| *word != ".").map(str::to_owned));
        }
    }
    words
}

/// An address that was found to be another machine's is not used until it is free.
fn check_conflicts(seen: &Seen) -> Check {
    let has = |address: &str| {
        let mut all = seen.links.iter().flat_map(|l| &l.addr_info);
        all.any(|a| a.local == address)
    };
    let lost = seen.conflicts.iter().filter(|line| {
        let mut addresses = line
            .split([' ', ','])
            .filter(|w| w.parse::<Ipv4Addr>().is_ok());
        // A line without an address tells of a lease.
        addresses.next().is_none_or(|address| !has(address))
    });
    let lost: Vec<&str> = lost.map(String::as_str).collect();
    let actual = if lost.is_empty() {
        "none".to_owned()
    } else {
        lost.join("; ")
    };
    Check::equal("duplicate addresses", "none", actual)
}

#[cfg(test)]
mod tests;
