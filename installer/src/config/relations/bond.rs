//! Options of bonds: what [`formats::bond`] says of them, and whether the primary NIC is there.

use std::collections::BTreeMap;

use super::super::answers::{Answers, InterfaceAnswers, Scalar};
use super::super::formats::{self, BondFault};
use super::super::problem::{Code, Problems};

/// Checks the options of every bond.
pub fn options_go_together(answers: &Answers, problems: &mut Problems) {
    let management = &answers.install.management_interface;
    check(
        "install.management_interface",
        &management.bond_options,
        &management.interfaces,
        problems,
    );
    for (name, link) in &answers.install.networks {
        let field = format!("install.networks.{name}");
        check(&field, &link.bond_options, &link.interfaces, problems);
    }
}

fn check(
    network: &str,
    options: &BTreeMap<String, Scalar>,
    nics: &[InterfaceAnswers],
    problems: &mut Problems,
) {
    let field = |name: &str| format!("{network}.bond_options.{name}");
    let texts = options.iter().map(|(k, v)| (k.clone(), v.to_string()));
    for (name, fault, wrong) in formats::bond(&texts.collect()) {
        let code = match fault {
            BondFault::Unknown => Code::UnknownKey,
            BondFault::Value => Code::BadValue,
            BondFault::Conflict => Code::BondConflict,
        };
        problems.add(code, field(&name), wrong.message, wrong.hint);
    }
    if let Some(primary) = options.get("primary").map(ToString::to_string) {
        let known = nics.iter().any(|n| n.name.as_deref() == Some(&primary));
        if !known && !nics.is_empty() && nics.iter().all(|n| n.name.is_some()) {
            let message = format!("{primary} is not a NIC of this bond");
            problems.add(
                Code::BondConflict,
                field("primary"),
                message,
                "one of its interfaces",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{GOOD, codes};
    use super::*;

    #[test]
    fn options_of_real_configs_are_fine() {
        for options in [
            "{mode: balance-tlb, miimon: 100}",
            "{mode: 802.3ad, lacp_rate: fast, xmit_hash_policy: layer3+4}",
            "{mode: 4, min_links: 1}",
            "{mode: active-backup, primary: ens3}",
        ] {
            let text = GOOD.replace(
                "method: static",
                &format!("method: static\n    bond_options: {options}"),
            );
            assert_eq!(codes(&text), [], "{options}");
        }
    }

    #[test]
    fn contradictions_are_found() {
        for (options, code) in [
            (
                "{miimon: 100, arp_interval: 100, arp_ip_target: 10.0.0.1}",
                Code::BondConflict,
            ),
            ("{miimon: 0, updelay: 200}", Code::BondConflict),
            ("{primary: ens9}", Code::BondConflict),
            ("{mode: 802.3ad, lacp_rate: quick}", Code::BadValue),
            ("{miimon: -1}", Code::BadValue),
        ] {
            let text = GOOD.replace(
                "method: static",
                &format!("method: static\n    bond_options: {options}"),
            );
            let found: Vec<Code> = codes(&text).into_iter().map(|(code, _)| code).collect();
            assert_eq!(found, [code], "{options}");
        }
    }
}
