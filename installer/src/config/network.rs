//! Networks and amounts as rules between keys compare them.
//!
//! In: texts. Out: numbers in types of their own, or what is [`Wrong`].

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::rules::{self, Wrong};

fn wrong<T>(message: String, hint: &str) -> Result<T, Wrong> {
    Err(Wrong {
        message,
        hint: hint.to_owned(),
    })
}

/// A network: an address whose host part is zero, and the length of its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    /// First address.
    pub first: IpAddr,
    /// Length of the prefix in bits.
    pub prefix: u8,
}

/// An address as a number, IPv4 in the low 32 bits.
pub fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

fn bits_of(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl Cidr {
    /// Reads `10.52.0.0/16`.
    pub fn parse(text: &str) -> Result<Self, Wrong> {
        const HINT: &str = "such as 10.52.0.0/16";
        let parts = text.trim().split_once('/');
        let parsed = parts.and_then(|(address, prefix)| {
            Some((address.parse::<IpAddr>().ok()?, prefix.parse::<u8>().ok()?))
        });
        let Some((address, prefix)) = parsed.filter(|(a, p)| *p <= bits_of(*a)) else {
            return wrong(format!("{text:?} is not a network"), HINT);
        };
        let network = Self::around(address, prefix);
        if network.first != address {
            return wrong(
                format!("{text} has bits set after its prefix"),
                &format!("did you mean {network}?"),
            );
        }
        Ok(network)
    }

    /// The network that an address is in.
    pub fn around(address: IpAddr, prefix: u8) -> Self {
        let bits = bits_of(address);
        let host = u32::from(bits.saturating_sub(prefix));
        let keep = u128::MAX.checked_shl(host).unwrap_or(0);
        let first = number(address) & keep;
        let first = match address {
            IpAddr::V4(_) => Ipv4Addr::from(u32::try_from(first).unwrap_or(0)).into(),
            IpAddr::V6(_) => Ipv6Addr::from(first).into(),
        };
        Self { first, prefix }
    }

    /// Whether an address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4()
            && Self::around(address, self.prefix).first == self.first
    }

    /// Whether two networks have an address in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.first) || other.contains(self.first)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

/// The length of a prefix, from `255.255.255.0`, `/24` or `24`.
pub fn mask(text: &str) -> Result<u8, Wrong> {
    let text = text.trim();
    match text.strip_prefix('/').unwrap_or(text).parse::<u8>() {
        Ok(prefix @ 1..=32) => Ok(prefix),
        Ok(_) => wrong(
            format!("{text:?} is not a network mask"),
            "such as 255.255.255.0",
        ),
        Err(_) => rules::ipv4(text).and_then(rules::prefix),
    }
}

/// An IPv6 address.
pub fn ipv6(text: &str) -> Result<Ipv6Addr, Wrong> {
    let parsed = text.trim().parse();
    parsed.or_else(|_| {
        wrong(
            format!("{text:?} is not an IPv6 address"),
            "such as fd00::1",
        )
    })
}

/// An IPv6 address with the length of its prefix.
pub fn ipv6_prefix(text: &str) -> Result<(Ipv6Addr, u8), Wrong> {
    let parts = text.trim().split_once('/');
    let parsed = parts.and_then(|(a, p)| Some((a.parse().ok()?, p.parse().ok()?)));
    match parsed.filter(|(_, prefix)| *prefix <= 128) {
        Some(parsed) => Ok(parsed),
        None => wrong(
            format!("{text:?} is not an IPv6 address with its prefix length"),
            "such as fd00::11/64",
        ),
    }
}

/// First and last address of a pool: a network, or `first-last`.
pub fn pool(text: &str) -> Result<(IpAddr, IpAddr), Wrong> {
    const HINT: &str = "such as 10.0.0.100-10.0.0.120 or 10.0.1.0/24";
    let Some((first, last)) = text.split_once('-') else {
        let network = Cidr::parse(text)?;
        return Ok((network.first, network.first));
    };
    let first: Result<IpAddr, _> = first.trim().parse();
    let last: Result<IpAddr, _> = last.trim().parse();
    match (first, last) {
        (Ok(a), Ok(b)) if a.is_ipv4() == b.is_ipv4() && a <= b => Ok((a, b)),
        _ => wrong(format!("{text:?} is not a range of addresses"), HINT),
    }
}

/// Thousandths of a core, from `2` or `500m`.
pub fn millicpu(text: &str) -> Result<u64, Wrong> {
    let parsed = match text.trim().strip_suffix('m') {
        Some(milli) => milli.parse::<u64>().ok(),
        None => text
            .trim()
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(1000)),
    };
    match parsed {
        Some(n) => Ok(n),
        None => wrong(
            format!("{text:?} is not an amount of CPU"),
            "such as 500m or 2",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        Cidr::parse(text).unwrap()
    }

    #[test]
    fn networks() {
        assert!(cidr("10.52.0.0/16").overlaps(&cidr("10.52.3.0/24")));
        assert!(cidr("10.52.3.0/24").overlaps(&cidr("10.52.0.0/16")));
        assert!(!cidr("10.52.0.0/16").overlaps(&cidr("10.53.0.0/16")));
        assert!(cidr("0.0.0.0/0").contains("1.2.3.4".parse().unwrap()));
        assert!(!cidr("0.0.0.0/0").contains("fd00::1".parse().unwrap()));
        assert!(cidr("fd00::/8").contains("fd00::1".parse().unwrap()));
        for bad in ["10.0.0.0", "10.0.0.1/24", "10.0.0.0/33", "x/8", "/8", ""] {
            assert!(Cidr::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn masks_pools_and_cpu() {
        for (text, prefix) in [("255.255.255.0", 24), ("/24", 24), ("24", 24), ("32", 32)] {
            assert_eq!(mask(text), Ok(prefix), "{text}");
        }
        for bad in ["0", "33", "255.0.255.0", "x"] {
            assert!(mask(bad).is_err(), "{bad}");
        }
        assert!(pool("10.0.0.5-10.0.0.9").is_ok());
        assert!(pool("10.0.0.9-10.0.0.5").is_err());
        assert_eq!(millicpu("2"), Ok(2000));
        assert_eq!(millicpu("250m"), Ok(250));
        assert!(millicpu("1.5").is_err());
    }
}
