//! Addresses, DNS and MTU of the management network.

use std::fs;
use std::net::Ipv4Addr;

use anyhow::Context as _;
use serde::Deserialize;

use crate::config::{Ipv4Method, Management, NicSelector};
use crate::sys::cmd::Cmd;

use super::super::network::{BOND, is_bonded};
use super::{Check, Node};

/// All checks of this group.
pub fn check(node: &Node) -> Vec<Check> {
    let management = &node.config.management;
    let links = match read_links() {
        Ok(links) => links,
        Err(error) => {
            return vec![Check::holds(
                "address",
                false,
                "readable",
                format!("{error:#}"),
            )];
        }
    };
    let mut checks = vec![check_address(management, &links)];
    if let Some(mtu) = management.mtu {
        let found = managed(management, &links);
        let actual: Vec<String> = found
            .iter()
            .map(|l| format!("{} {}", l.ifname, l.mtu))
            .collect();
        let holds = !found.is_empty() && found.iter().all(|l| l.mtu == mtu);
        checks.push(Check::holds(
            "mtu",
            holds,
            mtu.to_string(),
            actual.join(", "),
        ));
    }
    checks.push(check_dns(node));
    checks
}

/// A link as `ip -json address show` has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Link {
    ifname: String,
    #[serde(default)]
    address: String,
    #[serde(default)]
    permaddr: Option<String>,
    mtu: u32,
    #[serde(default)]
    link_type: String,
    #[serde(default)]
    linkinfo: Option<LinkInfo>,
    #[serde(default)]
    addr_info: Vec<Address>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct LinkInfo {
    #[serde(default)]
    info_kind: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Address {
    family: String,
    #[serde(default)]
    local: String,
    #[serde(default)]
    prefixlen: u8,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    dynamic: bool,
}

fn read_links() -> anyhow::Result<Vec<Link>> {
    let output = Cmd::new("ip")
        .args(["-json", "-details", "address", "show"])
        .run()?;
    parse_links(&output.stdout)
}

fn parse_links(bytes: &[u8]) -> anyhow::Result<Vec<Link>> {
    serde_json::from_slice(bytes).context("reading the output of `ip -json address show`")
}

/// The links that may hold the node's address.
fn managed<'a>(management: &Management, links: &'a [Link]) -> Vec<&'a Link> {
    let is_physical = |l: &Link| {
        l.link_type == "ether"
            && l.linkinfo
                .as_ref()
                .and_then(|i| i.info_kind.as_ref())
                .is_none()
    };
    let wanted = |l: &&Link| {
        if is_bonded(management) {
            return l.ifname == BOND;
        }
        match management.nics.first() {
            None => is_physical(l),
            Some(NicSelector::Name(name)) => l.ifname == *name,
            Some(NicSelector::Mac(mac)) => {
                is_physical(l) && (l.address == *mac || l.permaddr.as_ref() == Some(mac))
            }
        }
    };
    links.iter().filter(wanted).collect()
}

fn check_address(management: &Management, links: &[Link]) -> Check {
    let found = managed(management, links);
    let addresses: Vec<(&str, &Address)> = found
        .iter()
        .flat_map(|l| l.addr_info.iter().map(|a| (l.ifname.as_str(), a)))
        .filter(|(_, a)| a.family == "inet" && a.scope == "global")
        .collect();
    let names: Vec<String> = addresses
        .iter()
        .map(|(link, a)| {
            format!(
                "{}/{} on {link}{}",
                a.local,
                a.prefixlen,
                if a.dynamic { " by DHCP" } else { "" }
            )
        })
        .collect();
    let actual = if found.is_empty() {
        "no such network interface".to_owned()
    } else if names.is_empty() {
        "no IPv4 address".to_owned()
    } else {
        names.join(", ")
    };
    match &management.ipv4 {
        Ipv4Method::None => {
            Check::holds("address", addresses.is_empty(), "no IPv4 address", actual)
        }
        Ipv4Method::Dhcp => {
            let holds = addresses.iter().any(|(_, a)| a.dynamic);
            Check::holds("address", holds, "an address by DHCP", actual)
        }
        Ipv4Method::Static(fixed) => {
            let same = |a: &Address| {
                a.local.parse() == Ok::<Ipv4Addr, _>(fixed.address) && a.prefixlen == fixed.prefix
            };
            let holds = addresses.len() == 1 && addresses.iter().all(|(_, a)| same(a));
            Check::holds(
                "address",
                holds,
                format!("{}/{}", fixed.address, fixed.prefix),
                actual,
            )
        }
    }
}

fn check_dns(node: &Node) -> Check {
    let wanted: Vec<String> = node.config.os.dns.iter().map(ToString::to_string).collect();
    // What programs get that don't go through resolved's stub: all servers, the first first.
    let text = fs::read_to_string("/run/systemd/resolve/resolv.conf").unwrap_or_default();
    let actual = nameservers(&text);
    if wanted.is_empty() {
        return Check::skipped(
            "dns",
            format!("none configured; in use: {}", actual.join(" ")),
        );
    }
    let holds = wanted.iter().all(|server| actual.contains(server));
    Check::holds("dns", holds, wanted.join(" "), actual.join(" "))
}

/// resolv.conf(5)
fn nameservers(text: &str) -> Vec<String> {
    let server = |line: &str| Some(line.strip_prefix("nameserver ")?.trim().to_owned());
    text.lines().filter_map(server).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;
    use crate::config::Ipv4Static;

    const SAVED: &str = r#"[
      {"ifindex":1,"ifname":"lo","mtu":65536,"link_type":"loopback","address":"00:00:00:00:00:00",
       "addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8,"scope":"host"}]},
      {"ifindex":2,"ifname":"ens3","mtu":1500,"link_type":"ether","address":"52:54:00:12:34:56",
       "addr_info":[{"family":"inet","local":"10.0.2.15","prefixlen":24,"scope":"global","dynamic":true},
                    {"family":"inet6","local":"fe80::1","prefixlen":64,"scope":"link"}]},
      {"ifindex":3,"ifname":"cni0","mtu":1450,"link_type":"ether","address":"52:54:00:12:34:57",
       "linkinfo":{"info_kind":"bridge","info_data":{}},
       "addr_info":[{"family":"inet","local":"10.52.0.1","prefixlen":24,"scope":"global"}]}]"#;

    fn status(nics: Vec<NicSelector>, ipv4: Ipv4Method) -> Status {
        let links = parse_links(SAVED.as_bytes()).unwrap();
        check_address(
            &Management {
                nics,
                ipv4,
                mtu: None,
            },
            &links,
        )
        .status
    }

    #[test]
    fn addresses_count_on_management_links_only() {
        let fixed = |last| {
            Ipv4Method::Static(Ipv4Static {
                address: Ipv4Addr::new(10, 0, 2, last),
                prefix: 24,
                gateway: Ipv4Addr::new(10, 0, 2, 2),
            })
        };
        let name = |n: &str| vec![NicSelector::Name(n.into())];
        assert_eq!(status(vec![], Ipv4Method::Dhcp), Status::Ok);
        assert_eq!(
            status(
                vec![NicSelector::Mac("52:54:00:12:34:56".into())],
                Ipv4Method::Dhcp
            ),
            Status::Ok
        );
        assert_eq!(
            status(
                vec![NicSelector::Mac("52:54:00:12:34:57".into())],
                Ipv4Method::Dhcp
            ),
            Status::Differs
        );
        assert_eq!(status(name("ens3"), fixed(15)), Status::Ok);
        assert_eq!(status(name("ens3"), fixed(16)), Status::Differs);
        assert_eq!(status(name("ens9"), Ipv4Method::Dhcp), Status::Differs);
        assert_eq!(status(vec![], Ipv4Method::None), Status::Differs);
        assert_eq!(
            status(vec![], fixed(15)),
            Status::Differs,
            "a bond was wanted"
        );
    }

    #[test]
    fn name_servers() {
        assert_eq!(
            nameservers("# x\nnameserver 10.0.0.2\nsearch a\nnameserver fd00::2\n"),
            ["10.0.0.2", "fd00::2"]
        );
    }
}
