//! Bonding: modes, and which options each mode takes.
//!
//! Names, numbers and ranges are those of the Linux kernel (`drivers/net/bonding/bond_options.c`
//! and `Documentation/networking/bonding.rst`).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::{Wrong, interface_name, mac, quoted, wrong};

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

/// What an option's value may be.
enum Value {
    /// A number in this range.
    Number(u32, u32),
    /// One of these words, or its number.
    Words(&'static [(&'static str, u8)]),
    /// Up to 16 IPv4 addresses, separated by commas.
    Addresses,
    /// An interface of the bond.
    Interface,
    /// A MAC address.
    Mac,
}

use Value::{Addresses, Interface, Mac, Number, Words};

const ANY: &[BondMode] = &BondMode::ALL;
const WITH_ARP: &[BondMode] = &[RoundRobin, ActiveBackup, Xor, Broadcast];
const WITH_PRIMARY: &[BondMode] = &[ActiveBackup, Tlb, Alb];
const ONLY_LACP: &[BondMode] = &[Lacp];
const SWITCH: Value = Words(&[("off", 0), ("on", 1)]);
const MILLISECONDS: Value = Number(0, i32::MAX as u32);

/// Every option: its name, the modes that take it, its values.
const OPTIONS: &[(&str, &[BondMode], Value)] = &[
    ("active_slave", WITH_PRIMARY, Interface),
    ("ad_actor_sys_prio", ONLY_LACP, Number(1, 65535)),
    ("ad_actor_system", ONLY_LACP, Mac),
    (
        "ad_select",
        ONLY_LACP,
        Words(&[("stable", 0), ("bandwidth", 1), ("count", 2)]),
    ),
    ("ad_user_port_key", ONLY_LACP, Number(0, 1023)),
    ("all_slaves_active", ANY, SWITCH),
    ("arp_all_targets", ANY, Words(&[("any", 0), ("all", 1)])),
    ("arp_interval", WITH_ARP, MILLISECONDS),
    ("arp_ip_target", ANY, Addresses),
    (
        "arp_validate",
        WITH_ARP,
        Words(&[
            ("none", 0),
            ("active", 1),
            ("backup", 2),
            ("all", 3),
            ("filter", 4),
            ("filter_active", 5),
            ("filter_backup", 6),
        ]),
    ),
    ("downdelay", ANY, MILLISECONDS),
    (
        "fail_over_mac",
        ANY,
        Words(&[("none", 0), ("active", 1), ("follow", 2)]),
    ),
    ("lacp_active", ONLY_LACP, SWITCH),
    ("lacp_rate", ONLY_LACP, Words(&[("slow", 0), ("fast", 1)])),
    ("lp_interval", ANY, Number(1, i32::MAX as u32)),
    ("miimon", ANY, MILLISECONDS),
    ("min_links", ANY, MILLISECONDS),
    ("missed_max", WITH_ARP, Number(1, 255)),
    ("num_grat_arp", ANY, Number(0, 255)),
    ("num_unsol_na", ANY, Number(0, 255)),
    ("packets_per_slave", &[RoundRobin], Number(0, 65535)),
    ("peer_notif_delay", ANY, Number(0, 300_000)),
    ("primary", WITH_PRIMARY, Interface),
    (
        "primary_reselect",
        WITH_PRIMARY,
        Words(&[("always", 0), ("better", 1), ("failure", 2)]),
    ),
    ("resend_igmp", ANY, Number(0, 255)),
    ("tlb_dynamic_lb", &[Tlb, Alb], SWITCH),
    ("updelay", ANY, MILLISECONDS),
    ("use_carrier", ANY, SWITCH),
    // The kernel takes it in every mode; these are the ones where it does something.
    (
        "xmit_hash_policy",
        &[Xor, Lacp, Tlb],
        Words(&[
            ("layer2", 0),
            ("layer3+4", 1),
            ("layer2+3", 2),
            ("encap2+3", 3),
            ("encap3+4", 4),
            ("vlan+srcmac", 5),
        ]),
    ),
];

/// Names of all options.
fn bond_option_names() -> impl Iterator<Item = &'static str> {
    OPTIONS.iter().map(|(name, _, _)| *name).chain(["mode"])
}

fn wrong_name(key: &str) -> Result<(), Wrong> {
    let near = bond_option_names()
        .filter(|_| key.len() < 40)
        .map(|known| (strsim::damerau_levenshtein(key, known), known))
        .min()
        .filter(|(distance, _)| *distance <= 2);
    let hint = match near {
        Some((_, known)) => format!("did you mean {known}?"),
        None => "such as mode, miimon, primary, lacp_rate, xmit_hash_policy".to_owned(),
    };
    wrong(format!("{} is not a bond option", quoted(key)), hint)
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

fn bond_value(values: &Value, text: &str) -> Result<(), Wrong> {
    match values {
        Number(least, most) => match text.parse::<u32>() {
            Ok(number) if (*least..=*most).contains(&number) => Ok(()),
            _ => wrong(
                format!("{} is not a number from {least} to {most}", quoted(text)),
                "such as 100",
            ),
        },
        Words(words) => {
            let same = |(word, number): &(&str, u8)| *word == text || number.to_string() == text;
            if words.iter().any(same) {
                return Ok(());
            }
            let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            wrong(
                format!("{} is not one of its values", quoted(text)),
                format!("one of {}", names.join(", ")),
            )
        }
        Addresses => {
            let good = |a: &str| a.trim().parse::<Ipv4Addr>().is_ok();
            if text.split(',').all(good) && text.split(',').count() <= 16 {
                return Ok(());
            }
            wrong(
                format!("{} is not a list of IPv4 addresses", quoted(text)),
                "1 to 16 addresses separated by commas",
            )
        }
        Interface => interface_name(text).map(drop),
        Mac => mac(text).map(drop),
    }
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
    for (key, value) in options.iter().filter(|(key, _)| *key != "mode") {
        let Some((_, modes, values)) = OPTIONS.iter().find(|(name, _, _)| name == key) else {
            note(key, BondFault::Unknown, wrong_name(key));
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
    if positive("arp_interval") && !options.contains_key("arp_ip_target") {
        note(
            "arp_interval",
            BondFault::Conflict,
            pair("nobody to ask", "arp_ip_target names the addresses to ask"),
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
                &["xmit_hash_policy"],
            ),
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

    #[test]
    fn names_are_sorted_and_once() {
        let names: Vec<&str> = OPTIONS.iter().map(|(name, _, _)| *name).collect();
        assert!(names.is_sorted());
        assert_eq!(
            names.len(),
            names
                .iter()
                .collect::<std::collections::BTreeSet<_>>()
                .len()
        );
    }
}
