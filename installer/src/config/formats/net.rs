//! Networks: addresses, prefixes, masks, MACs, interface names, VLAN ids, MTUs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{Wrong, quoted, wrong};

/// An IPv4 or IPv6 address.
pub fn address(text: &str) -> Result<IpAddr, Wrong> {
    text.trim().parse().or_else(|_| {
        wrong(
            format!("{} is not an IP address", quoted(text)),
            with_prefix_hint(text, "such as 10.0.0.1 or fd00::1"),
        )
    })
}

/// An IPv4 address.
pub fn ipv4(text: &str) -> Result<Ipv4Addr, Wrong> {
    text.trim().parse().or_else(|_| {
        wrong(
            format!("{} is not an IPv4 address", quoted(text)),
            with_prefix_hint(text, "such as 10.0.0.1"),
        )
    })
}

/// An IPv6 address.
pub fn ipv6(text: &str) -> Result<Ipv6Addr, Wrong> {
    text.trim().parse().or_else(|_| {
        wrong(
            format!("{} is not an IPv6 address", quoted(text)),
            with_prefix_hint(text, "such as fd00::1"),
        )
    })
}

fn with_prefix_hint(text: &str, hint: &'static str) -> &'static str {
    if text.trim().parse::<IpNet>().is_ok() {
        return "the address alone, without the /prefix";
    }
    hint
}

/// An IPv4 address that one node can have: not zero, loopback, multicast or broadcast.
pub fn node_ipv4(text: &str) -> Result<Ipv4Addr, Wrong> {
    let address = ipv4(text)?;
    // 240.0.0.0/4 is reserved (RFC 1112, 4) and holds the broadcast address.
    let reserved = address.octets()[0] == 0 || address.octets()[0] >= 240;
    if reserved || address.is_loopback() || address.is_multicast() {
        return wrong(
            format!("{address} can't be the address of a node"),
            "an address of the management network, such as 10.0.0.5",
        );
    }
    Ok(address)
}

/// A DNS server that a node can ask: an address of another machine.
pub fn nameserver(text: &str) -> Result<IpAddr, Wrong> {
    let server = address(text)?;
    if server.is_loopback() {
        return wrong(
            format!("{server} is the machine itself, where no DNS server runs"),
            "the server that it asks, as `resolvectl dns` shows it",
        );
    }
    if server.is_unspecified() || server.is_multicast() {
        return wrong(
            format!("{server} is no address of a server"),
            "such as 10.0.0.1",
        );
    }
    Ok(server)
}

/// A network such as `10.52.0.0/16`; no bit behind the prefix may be set.
pub fn cidr(text: &str) -> Result<IpNet, Wrong> {
    let Ok(net) = text.trim().parse::<IpNet>() else {
        let hint = match text.trim().parse::<IpAddr>() {
            Ok(_) => "with the length of the prefix, such as 10.52.0.0/16",
            Err(_) => "such as 10.52.0.0/16 or fd00:52::/56",
        };
        return wrong(format!("{} is not a network", quoted(text)), hint);
    };
    if net.trunc() != net {
        return wrong(
            format!("{net} has bits set behind its prefix"),
            format!("{}", net.trunc()),
        );
    }
    Ok(net)
}

/// An IPv4 network with room for hosts, as for pods and services: a prefix of 8 to 30.
pub fn ipv4_cidr(text: &str) -> Result<Ipv4Net, Wrong> {
    match cidr(text)? {
        IpNet::V4(net) if (8..=30).contains(&net.prefix_len()) => Ok(net),
        IpNet::V4(net) => wrong(
            format!("{net} has a prefix that makes no sense here"),
            "a prefix of /8 to /30, such as 10.52.0.0/16",
        ),
        IpNet::V6(net) => wrong(
            format!("{net} is an IPv6 network"),
            "an IPv4 network, such as 10.52.0.0/16",
        ),
    }
}

/// An IPv6 address with the length of its prefix.
pub fn ipv6_prefix(text: &str) -> Result<Ipv6Net, Wrong> {
    text.trim().parse().or_else(|_| {
        wrong(
            format!(
                "{} is not an IPv6 address with its prefix length",
                quoted(text)
            ),
            "such as fd00::11/64",
        )
    })
}

/// First and last address of a pool: a network, or `first-last`.
pub fn pool(text: &str) -> Result<(IpAddr, IpAddr), Wrong> {
    let Some((first, last)) = text.split_once('-') else {
        if let Ok(one) = text.trim().parse::<IpAddr>() {
            let hint = format!("{one}-{one} for this one");
            return wrong(format!("{one} is one address, not a range"), hint);
        }
        let net = cidr(text)?;
        return Ok((net.network(), net.broadcast()));
    };
    let ends = (
        first.trim().parse::<IpAddr>(),
        last.trim().parse::<IpAddr>(),
    );
    match ends {
        (Ok(a), Ok(b)) if a.is_ipv4() == b.is_ipv4() && a <= b => Ok((a, b)),
        _ => wrong(
            format!("{} is not a range of addresses", quoted(text)),
            "such as 10.0.0.100-10.0.0.120 or 10.0.1.0/24",
        ),
    }
}

/// The prefix length of a network mask.
pub fn prefix(mask: Ipv4Addr) -> Result<u8, Wrong> {
    match ipnet::ipv4_mask_to_prefix(mask) {
        Ok(length) if length > 0 => Ok(length),
        _ => wrong(
            format!("{mask} is not a network mask"),
            "such as 255.255.255.0",
        ),
    }
}

/// A network mask as `255.255.255.0`, `/24` or `24`: the length of its prefix, 1 to 32.
pub fn subnet_mask(text: &str) -> Result<u8, Wrong> {
    let text = text.trim();
    match text.strip_prefix('/').unwrap_or(text).parse::<u8>() {
        Ok(length @ 1..=32) => Ok(length),
        Ok(_) => wrong(
            format!("{text:?} is not a length of a prefix"),
            "1 to 32, such as 24",
        ),
        Err(_) => match text.parse::<Ipv4Addr>() {
            Ok(mask) => prefix(mask),
            Err(_) => wrong(
                format!("{} is not a network mask", quoted(text)),
                "such as 255.255.255.0",
            ),
        },
    }
}

/// A gateway must be another address of the same network.
pub fn gateway(address: Ipv4Addr, mask: Ipv4Addr, gateway: Ipv4Addr) -> Result<(), Wrong> {
    let network = |a: Ipv4Addr| u32::from(a) & u32::from(mask);
    if network(address) != network(gateway) {
        return wrong(
            format!("{gateway} is not in the network of {address} with mask {mask}"),
            "the gateway must be reachable without a route",
        );
    }
    if address == gateway {
        return wrong(
            format!("{gateway} is the node's own address"),
            "the router's address",
        );
    }
    Ok(())
}

/// A network interface's name (the kernel's own rule, dev_valid_name).
pub fn interface_name(text: &str) -> Result<String, Wrong> {
    let bad = |c: char| "/:%".contains(c) || !c.is_ascii_graphic();
    if text.is_empty() || text.len() > 15 || text == "." || text == ".." || text.contains(bad) {
        let hint = match mac(text) {
            Ok(_) => "a MAC address goes into hw_addr",
            Err(_) => "name: ens3, or hw_addr: a MAC address",
        };
        return wrong(format!("{} is not an interface name", quoted(text)), hint);
    }
    Ok(text.to_owned())
}

/// The MAC address of one NIC, in lower case with colons; not zero, broadcast or multicast.
pub fn mac(text: &str) -> Result<String, Wrong> {
    const HINT: &str = "such as 52:54:00:12:34:56";
    let lower = text.trim().to_ascii_lowercase().replace('-', ":");
    let parts: Vec<&str> = lower.split(':').collect();
    let good = |p: &&str| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit());
    if parts.len() != 6 || !parts.iter().all(good) {
        return wrong(format!("{} is not a MAC address", quoted(text)), HINT);
    }
    if lower == "00:00:00:00:00:00" {
        return wrong("a MAC address of zeros belongs to no NIC", HINT);
    }
    // IEEE 802-2014, 8.2.2: the lowest bit of the first octet marks groups.
    let group = u8::from_str_radix(parts[0], 16).is_ok_and(|first| first & 1 == 1);
    if group {
        return wrong(
            format!("{lower} is the address of a group, not of a NIC"),
            HINT,
        );
    }
    Ok(lower)
}

/// Where a NIC is plugged in: udev's `ID_PATH`, such as `pci-0000:00:03.0`.
pub fn slot(text: &str) -> Result<(), Wrong> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"-_:.".contains(&b);
    if !text.is_empty() && text.len() <= 255 && text.contains('-') && text.bytes().all(good) {
        return Ok(());
    }
    wrong(
        format!("{} is not a slot", quoted(text)),
        "as harrow facts has it, such as pci-0000:00:03.0",
    )
}

/// A VLAN id: 0 or 1 for the untagged network, 2 to 4094 for a VLAN.
pub fn vlan_id(number: i64) -> Result<Option<u16>, Wrong> {
    match u16::try_from(number) {
        Ok(0 | 1) => Ok(None),
        Ok(id @ 2..=4094) => Ok(Some(id)),
        _ => wrong(
            format!("{number} is not a VLAN id"),
            "2 to 4094, or 0 for no VLAN",
        ),
    }
}

/// An MTU: 576 to 9000, or 0 for the default.
pub fn mtu(number: i64) -> Result<Option<u32>, Wrong> {
    match u32::try_from(number) {
        Ok(0) => Ok(None),
        Ok(mtu @ 576..=9000) => Ok(Some(mtu)),
        _ => wrong(
            format!("{number} is not an MTU"),
            "576 to 9000, or 0 for the default of 1500",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_and_gateways() {
        let ip = |t: &str| t.parse::<Ipv4Addr>().unwrap();
        assert_eq!(prefix(ip("255.255.255.0")), Ok(24));
        assert_eq!(prefix(ip("255.255.255.255")), Ok(32));
        assert!(prefix(ip("255.0.255.0")).is_err());
        assert!(prefix(ip("0.0.0.0")).is_err());
        for (text, length) in [("24", 24), ("/1", 1), ("255.255.240.0", 20), ("32", 32)] {
            assert_eq!(subnet_mask(text), Ok(length), "{text}");
        }
        for bad in [
            "",
            "/",
            "0",
            "33",
            "255.255.0.255",
            "-1",
            "//24",
            "256.0.0.0",
        ] {
            assert!(subnet_mask(bad).is_err(), "{bad}");
        }
        let mask = ip("255.255.255.0");
        assert!(gateway(ip("10.0.0.2"), mask, ip("10.0.0.1")).is_ok());
        assert!(gateway(ip("10.0.0.2"), mask, ip("10.0.1.1")).is_err());
        assert!(gateway(ip("10.0.0.2"), mask, ip("10.0.0.2")).is_err());
    }

    #[test]
    fn addresses_and_networks() {
        assert!(address("fd00::1").is_ok() && address(" 10.0.0.1 ").is_ok());
        assert!(ipv6("10.0.0.1").is_err() && ipv4("fd00::1").is_err());
        assert!(address("10.0.0.1/24").unwrap_err().hint.contains("without"));
        for bad in ["", "10.0.0", "10.0.0.256", "010.0.0.1", "::g"] {
            assert!(address(bad).is_err(), "{bad}");
        }
        for bad in [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
        ] {
            assert!(node_ipv4(bad).is_err(), "{bad}");
        }
        assert!(node_ipv4("223.255.255.255").is_ok());
        assert!(cidr("fd00:52::/56").is_ok());
        assert_eq!(cidr("10.52.0.1/16").unwrap_err().hint, "10.52.0.0/16");
        for bad in ["", "10.52.0.0", "10.52.0.0/33", "10.52/16", "x/8"] {
            assert!(cidr(bad).is_err(), "{bad}");
        }
        for (text, good) in [
            ("10.0.0.0/8", true),
            ("10.0.0.0/7", false),
            ("10.0.0.0/30", true),
            ("10.0.0.0/31", false),
            ("fd00::/64", false),
        ] {
            assert_eq!(ipv4_cidr(text).is_ok(), good, "{text}");
        }
    }

    #[test]
    fn pools() {
        let ends = |a: &str, b: &str| Ok((a.parse().unwrap(), b.parse().unwrap()));
        assert_eq!(pool("10.0.0.5-10.0.0.9"), ends("10.0.0.5", "10.0.0.9"));
        assert_eq!(pool("10.0.1.0/24"), ends("10.0.1.0", "10.0.1.255"));
        for bad in ["10.0.0.9-10.0.0.5", "10.0.0.1", "10.0.0.1-fd00::1", "-"] {
            assert!(pool(bad).is_err(), "{bad}");
        }
        assert!(ipv6_prefix("fd00::11/64").is_ok());
        assert!(ipv6_prefix("fd00::11").is_err() && ipv6_prefix("fd00::11/129").is_err());
    }

    #[test]
    fn nics() {
        assert_eq!(mac("52-54-00-AB-cd-EF"), Ok("52:54:00:ab:cd:ef".into()));
        for bad in [
            "",
            "52:54:00:ab:cd",
            "52:54:00:ab:cd:ef:00",
            "52:54:00:ab:cd:e",
            "52:54:00:ab:cd:eg",
            "00:00:00:00:00:00",
            "ff:ff:ff:ff:ff:ff",
            "01:00:5e:00:00:01",
            "33:33:00:00:00:01",
        ] {
            assert!(mac(bad).is_err(), "{bad}");
        }
        for good in ["enp0s31f6", "a", "fifteen-letters", "eth0.5"] {
            assert!(interface_name(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "../../etc",
            ".",
            "..",
            "sixteen-letters1",
            "a b",
            "a:b",
            "ä",
            "eth%d",
        ] {
            assert!(interface_name(bad).is_err(), "{bad}");
        }
        assert!(
            interface_name("52:54:00:12:34:56")
                .unwrap_err()
                .hint
                .contains("hw_addr")
        );
    }

    #[test]
    fn numbers() {
        for (number, id) in [(0, None), (1, None), (2, Some(2)), (4094, Some(4094))] {
            assert_eq!(vlan_id(number), Ok(id));
        }
        for bad in [-1, 4095, 65536 + 5] {
            assert!(vlan_id(bad).is_err(), "{bad}");
        }
        for (number, size) in [(0, None), (576, Some(576)), (9000, Some(9000))] {
            assert_eq!(mtu(number), Ok(size));
        }
        for bad in [-1, 1, 575, 9001, 1 << 40] {
            assert!(mtu(bad).is_err(), "{bad}");
        }
    }
}
