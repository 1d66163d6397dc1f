//! Bonding: modes, and which options each mode takes.
//!
//! Names, numbers and ranges are those of the Linux kernel (`drivers/net/bonding/bond_options.c`
//! and `Documentation/networking/bonding.rst`).

use std::collections::BTreeMap;

use super::super::advice::SUGGESTIONS;
use super::bond_options::{OPTIONS, bond_value, wrong_name};
use super::{Wrong, quoted, wrong};

/// How a bond spreads its traffic; the discriminant is the kernel's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BondMode {
    /// `balance-rr`: one packet after the other.
    RoundRobin = 0,
    /// `active-backup`: one link works, the others wait.
    #[default]
    ActiveBackup = 1,
    /// `balance-xor`: by a hash of addresses.
    Xor = 2,
    /// `broadcast`: everything on all links.
    Broadcast = 3,
    /// `802.3ad`: LACP.
    Lacp = 4,
    /// `balance-tlb`: outgoing by load.
    Tlb = 5,
    /// `balance-alb`: both ways by load.
    Alb = 6,
}

use BondMode::{ActiveBackup, Alb, Broadcast, Lacp, RoundRobin, Tlb, Xor};

impl BondMode {
    /// Every mode, in the order of its number.
    pub const ALL: [Self; 7] = [RoundRobin, ActiveBackup, Xor, Broadcast, Lacp, Tlb, Alb];

    /// The kernel's name.
    pub fn name(self) -> &'static str {
        match self {
            RoundRobin => "balance-rr",
            ActiveBackup => "active-backup",
            Xor => "balance-xor",
            Broadcast => "broadcast",
            Lacp => "802.3ad",
            Tlb => "balance-tlb",
            Alb => "balance-alb",
        }
    }
}

/// A mode by its name or number.
pub fn bond_mode(text: &str) -> Result<BondMode, Wrong> {
    let names = |mode: &BondMode| mode.name() == text || (*mode as u8).to_string() == text;
    match BondMode::ALL.into_iter().find(names) {
        Some(mode) => Ok(mode),
        None => {
            let names = BondMode::ALL.map(BondMode::name).join(", ");
            let hint = format!("one of {names}; LACP is 802.3ad");
            wrong(format!("{} is not a bond mode", quoted(text)), hint)
        }
    }
}

fn fits_mode(mode: BondMode, key: &str, modes: &[BondMode]) -> Result<(), Wrong> {
    if modes.contains(&mode) {
        return Ok(());
    }
    let names: Vec<&str> = modes.iter().map(|m| m.name()).collect();
    wrong(
        format!("{key} does nothing in mode {}", mode.name()),
        format!("only in {}", names.join(", ")),
    )
}

/// What kind of mistake an option of a bond is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BondFault {
    /// The kernel has no such option.
    Unknown,
    /// Its value is none of the option's.
    Value,
    /// It does not go with the mode or another option.
    Conflict,
}

/// Every option of a bond that is wrong or does not fit the others.
pub fn bond(options: &BTreeMap<String, String>) -> Vec<(String, BondFault, Wrong)> {
    let mut found = Vec::new();
    let mut note = |key: &str, fault: BondFault, result: Result<(), Wrong>| {
        if let Err(wrong) = result {
            found.push((key.to_owned(), fault, wrong));
        }
    };
    let mode = match options.get("mode").map(|text| bond_mode(text)) {
        None => Some(BondMode::default()),
        Some(Ok(mode)) => Some(mode),
        Some(Err(wrong)) => {
            note("mode", BondFault::Value, Err(wrong));
            None
        }
    };
    let mut suggestions = SUGGESTIONS;
    for (key, value) in options.iter().filter(|(key, _)| *key != "mode") {
        let Some((_, modes, values)) = OPTIONS.iter().find(|(name, _, _)| name == key) else {
            note(key, BondFault::Unknown, wrong_name(key, suggestions > 0));
            suggestions = suggestions.saturating_sub(1);
            continue;
        };
        note(key, BondFault::Value, bond_value(values, value));
        // With an unknown mode only the values can be judged.
        if let Some(mode) = mode {
            note(key, BondFault::Conflict, fits_mode(mode, key, modes));
        }
    }
    let positive = |key: &str| {
        let number = options.get(key).and_then(|v| v.parse::<u32>().ok());
        number.is_some_and(|n| n > 0)
    };
    let pair = |message: &str, hint: &str| wrong::<()>(message, hint);
    if positive("miimon") && positive("arp_interval") {
        note(
            "arp_interval",
            BondFault::Conflict,
            pair(
                "links are watched by miimon already",
                "one of miimon and arp_interval",
            ),
        );
    }
    let asks = ["arp_ip_target", "ns_ip6_target"];
    if positive("arp_interval") && !asks.iter().any(|key| options.contains_key(*key)) {
        note(
            "arp_interval",
            BondFault::Conflict,
            pair(
                "nobody to ask",
                "arp_ip_target or ns_ip6_target names the addresses to ask",
            ),
        );
    }
    // Without miimon the default of 100 ms is set, unless ARP watches.
    let no_miimon = positive("arp_interval") || options.get("miimon").is_some_and(|m| m == "0");
    for key in ["updelay", "downdelay", "peer_notif_delay"] {
        if positive(key) && !positive("miimon") && no_miimon {
            note(
                key,
                BondFault::Conflict,
                pair("does nothing without miimon", "set miimon, such as 100"),
            );
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong_keys(options: &[(&str, &str)]) -> Vec<String> {
        let map = options
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        bond(&map.collect())
            .into_iter()
            .map(|(key, _, _)| key)
            .collect()
    }

    #[test]
    fn modes_by_name_and_number() {
        for (number, mode) in BondMode::ALL.into_iter().enumerate() {
            assert_eq!(bond_mode(mode.name()), Ok(mode));
            assert_eq!(bond_mode(&number.to_string()), Ok(mode));
        }
        for bad in ["", "7", "lacp", "01", "Active-Backup"] {
            assert!(bond_mode(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn options_fit_their_mode() {
        for (options, expected) in [
            (&[("miimon", "100")][..], &[][..]),
            (
                &[
                    ("mode", "802.3ad"),
                    ("lacp_rate", "fast"),
                    ("xmit_hash_policy", "layer3+4"),
                ],
                &[],
            ),
            (
                &[("mode", "4"), ("lacp_rate", "1"), ("ad_select", "count")],
                &[],
            ),
            (
                &[("mode", "active-backup"), ("lacp_rate", "fast")],
                &["lacp_rate"],
            ),
            (&[("mode", "balance-rr"), ("primary", "ens3")], &["primary"]),
            (&[("mode", "balance-alb"), ("primary", "ens3")], &[]),
            (
                &[("mode", "balance-alb"), ("xmit_hash_policy", "layer2")],
                &[],
            ),
            (
                &[("mode", "active-backup"), ("xmit_hash_policy", "layer2")],
                &["xmit_hash_policy"],
            ),
            (
                &[
                    ("miimon", "0"),
                    ("arp_interval", "100"),
                    ("ns_ip6_target", "fd00::1"),
                    ("arp_missed_max", "3"),
                ],
                &[],
            ),
            (&[("ns_ip6_target", "10.0.0.1")], &["ns_ip6_target"]),
            (
                &[
                    ("mode", "802.3ad"),
                    ("arp_interval", "100"),
                    ("arp_ip_target", "10.0.0.1"),
                ],
                &["arp_interval"],
            ),
            (
                &[
                    ("miimon", "100"),
                    ("arp_interval", "100"),
                    ("arp_ip_target", "10.0.0.1"),
                ],
                &["arp_interval"],
            ),
            (
                &[
                    ("miimon", "0"),
                    ("arp_interval", "100"),
                    ("arp_ip_target", "10.0.0.1,10.0.0.2"),
                ],
                &[],
            ),
            (&[("arp_interval", "100")], &["arp_interval"]),
            (&[("updelay", "200")], &[]),
            (&[("updelay", "200"), ("miimon", "0")], &["updelay"]),
            (
                &[("mode", "what"), ("lacp_rate", "fast"), ("miimon", "x")],
                &["mode", "miimon"],
            ),
            (&[("nothing", "1")], &["nothing"]),
            (
                &[
                    ("mode", "802.3ad"),
                    ("ad_user_port_key", "1024"),
                    ("ad_actor_sys_prio", "0"),
                ],
                &["ad_actor_sys_prio", "ad_user_port_key"],
            ),
            (&[("primary", "a b")], &["primary"]),
            (&[("arp_ip_target", "10.0.0.1,")], &["arp_ip_target"]),
        ] {
            assert_eq!(wrong_keys(options), expected, "{options:?}");
        }
    }
}
