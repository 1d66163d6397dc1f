//! A config against the machine that it is for.
//!
//! In: answers and the machine's facts. Out: disks and NICs that are not there, a rule that
//! fits none or several disks, sizes that do not fit.

use super::answers::{Answers, DeviceChoice, DiskRule, InterfaceAnswers, NodeRole, Pick};
use super::formats;
use super::problem::{Code, Problems};
use super::resolve::data_place;
use super::resolved::Sizes;
use crate::disk::layout::{least_disk, show};
use crate::facts::{DiskFacts, Facts, user};

/// What of a config this machine does not have.
pub fn check_machine(answers: &Answers, facts: &Facts) -> Problems {
    let mut problems = Problems::default();
    let install = &answers.install;
    let device = find_disk(
        "install.device",
        install.device.as_ref(),
        facts,
        &mut problems,
    );
    let data = find_disk(
        "install.data_disk",
        install.data_disk.as_ref(),
        facts,
        &mut problems,
    );
    if let Some(disk) = device {
        check_install_disk(answers, disk, &mut problems);
    }
    if let (Some(device), Some(data)) = (device, data)
        && device.name == data.name
        && install.device != install.data_disk
    {
        let message = format!("is {}, the install disk", data.path.display());
        problems.add(Code::SameDisk, "install.data_disk", message, "another disk");
    }
    for (i, path) in install.wipe_disks_list.iter().enumerate() {
        let field = format!("install.wipe_disks_list[{i}]");
        let choice = DeviceChoice::Path(path.clone());
        find_disk(&field, Some(&choice), facts, &mut problems);
    }
    let management = &install.management_interface;
    check_nics(
        "install.management_interface",
        &management.interfaces,
        facts,
        &mut problems,
    );
    for (name, link) in &install.networks {
        let field = format!("install.networks.{name}");
        check_nics(&field, &link.interfaces, facts, &mut problems);
    }
    check_reservations(answers, facts, &mut problems);
    problems
}

/// The disk that a choice means.
fn find_disk<'a>(
    field: &str,
    choice: Option<&DeviceChoice>,
    facts: &'a Facts,
    problems: &mut Problems,
) -> Option<&'a DiskFacts> {
    match choice? {
        DeviceChoice::Path(path) if path.is_empty() => None,
        DeviceChoice::Path(path) => {
            let is_it = |d: &&DiskFacts| {
                d.path.as_os_str() == path.as_str()
                    || d.links.iter().any(|l| l.as_os_str() == path.as_str())
            };
            let found = facts.disks.iter().find(is_it);
            if found.is_none() {
                let message = format!("this machine has no {path}");
                problems.add(Code::NoSuchDisk, field, message, list(facts.disks.iter()));
            }
            found
        }
        DeviceChoice::Rule(rule) => match pick(rule, &facts.disks) {
            Ok(disk) => Some(disk),
            Err(fitting) if fitting.is_empty() => {
                let message = "no disk of this machine fits the rule";
                problems.add(Code::NoSuchDisk, field, message, list(facts.disks.iter()));
                None
            }
            Err(fitting) => {
                let message = format!("{} disks fit the rule", fitting.len());
                let hint = format!(
                    "add pick: smallest or largest; {}",
                    list(fitting.into_iter())
                );
                problems.add(Code::ManyDisks, field, message, hint);
                None
            }
        },
    }
}

/// The one disk that fits a rule, or all that fit.
pub fn pick<'a>(
    rule: &DiskRule,
    disks: &'a [DiskFacts],
) -> Result<&'a DiskFacts, Vec<&'a DiskFacts>> {
    let fitting: Vec<&DiskFacts> = disks.iter().filter(|d| fits(rule, d)).collect();
    let chosen = match (rule.pick, fitting.as_slice()) {
        (_, [only]) => Some(*only),
        (Some(Pick::Smallest), _) => fitting.iter().copied().min_by_key(|d| d.size),
        (Some(Pick::Largest), _) => fitting.iter().copied().max_by_key(|d| d.size),
        _ => None,
    };
    chosen.ok_or(fitting)
}

fn fits(rule: &DiskRule, disk: &DiskFacts) -> bool {
    let size = |text: &Option<String>| text.as_deref().and_then(|t| formats::size(t, 0).ok());
    let same = |wanted: &Option<String>, is: &Option<String>| {
        let equal = |w: &String| is.as_ref().is_some_and(|i| i.eq_ignore_ascii_case(w));
        wanted.as_ref().is_none_or(equal)
    };
    let transport = rule
        .transport
        .map(|t| format!("{t:?}").to_ascii_lowercase());
    !disk.read_only
        && size(&rule.min_size).is_none_or(|min| disk.size >= min)
        && size(&rule.max_size).is_none_or(|max| disk.size <= max)
        && rule.rotational.is_none_or(|r| disk.rotational == Some(r))
        && same(&transport, &disk.transport)
        && same(&rule.serial, &disk.serial)
        && same(&rule.wwn, &disk.wwn)
        && rule.model.as_ref().is_none_or(|pattern| {
            let model = disk.model.as_deref().unwrap_or_default();
            matches(pattern.as_bytes(), model.as_bytes())
        })
}

/// Whether a text fits a pattern with `*` and `?`; linear in each, without recursion.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, t));
                p += 1;
            }
            Some(c) if *c == b'?' || text.get(t) == Some(c) => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((after, taken)) => {
                    star = Some((after, taken + 1));
                    p = after;
                    t = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|c| *c == b'*')
}

fn list<'a>(disks: impl Iterator<Item = &'a DiskFacts>) -> String {
    let lines: Vec<String> = disks.map(|d| d.describe()).collect();
    if lines.is_empty() {
        return "it has no disks".into();
    }
    format!("its disks are {}", lines.join("; "))
}

fn check_install_disk(answers: &Answers, disk: &DiskFacts, problems: &mut Problems) {
    let field = "install.device";
    let path = disk.path.display();
    let var = match &answers.install.persistent_partition_size {
        Some(text) => formats::size(text, 0).unwrap_or(0),
        None => 150 << 30,
    };
    let needed = least_disk(Sizes { var }, data_place(answers));
    if disk.size < needed {
        problems.add(
            Code::DiskTooSmall,
            field,
            format!(
                "{path} has {}, the partitions need {}",
                show(disk.size),
                show(needed)
            ),
            "a larger disk, or a smaller install.persistent_partition_size (20Gi at least)",
        );
    }
    if !disk.users.is_empty() {
        problems.add(
            Code::DiskInUse,
            field,
            format!("{path} was in use: {}", user::in_words(&disk.users)),
            "an install refuses a disk in use",
        );
    }
}

fn check_nics(network: &str, nics: &[InterfaceAnswers], facts: &Facts, problems: &mut Problems) {
    for (i, nic) in nics.iter().enumerate() {
        let mac = nic.hw_addr.as_deref().and_then(|m| formats::mac(m).ok());
        let is_it = |n: &&crate::facts::NicFacts| match &mac {
            Some(mac) => n.mac == *mac,
            None => Some(&n.name) == nic.name.as_ref(),
        };
        if facts.nics.iter().any(|n| is_it(&n)) {
            continue;
        }
        let name = mac.or(nic.name.clone()).unwrap_or_default();
        let nics: Vec<String> = facts
            .nics
            .iter()
            .map(|n| format!("{} ({})", n.name, n.mac))
            .collect();
        let hint = format!("its NICs are {}", nics.join(", "));
        let field = format!("{network}.interfaces[{i}]");
        problems.add(
            Code::NoSuchNic,
            field,
            format!("this machine has no NIC {name}"),
            hint,
        );
    }
}

/// What is reserved must leave something.
fn check_reservations(answers: &Answers, facts: &Facts, problems: &mut Problems) {
    if answers.install.role == Some(NodeRole::Witness) {
        return;
    }
    let cluster = &answers.cluster;
    let both = [&cluster.kube_reserved, &cluster.system_reserved];
    let cpu: u64 = both
        .iter()
        .filter_map(|r| formats::cpu_quantity(r.cpu.as_deref()?).ok())
        .sum();
    let memory: u64 = both
        .iter()
        .filter_map(|r| formats::memory_quantity(r.memory.as_deref()?).ok())
        .sum();
    let has = u64::from(facts.cpus) * 1000;
    let field = "cluster.kube_reserved";
    if has > 0 && cpu >= has {
        let message = format!("with system_reserved {cpu}m of CPU, and the machine has {has}m");
        problems.add(Code::ReservedTooMuch, field, message, "reserve less");
    }
    if facts.memory > 0 && memory >= facts.memory {
        let message = format!(
            "with system_reserved {} of memory, and the machine has {}",
            show(memory),
            show(facts.memory)
        );
        problems.add(Code::ReservedTooMuch, field, message, "reserve less");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("SAMSUNG*", "SAMSUNG MZ", true),
            ("*MZ?", "SAMSUNG MZ7", true),
            ("SAMSUNG", "SAMSUNG MZ", false),
            ("*", "", true),
            ("?", "", false),
            ("a*b*c", "axxbyyc", true),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes()),
                expected,
                "{pattern}"
            );
        }
    }

    #[test]
    fn a_rule_picks_one_or_names_those_that_fit() {
        let disk = |name: &str, size: u64| -> DiskFacts {
            let json = serde_json::json!({
                "path": format!("/dev/{name}"), "name": name, "size": size << 30,
                "sector_size": 512, "model": "M1", "serial": name, "wwn": null,
                "read_only": false, "users": [], "transport": "sata", "rotational": false,
            });
            serde_json::from_value(json).unwrap()
        };
        let disks = [disk("sda", 100), disk("sdb", 500), disk("sdc", 900)];
        let rule = |json: serde_json::Value| serde_json::from_value::<DiskRule>(json).unwrap();
        let name = |r: &DiskRule| pick(r, &disks).map(|d| d.name.clone()).map_err(|f| f.len());
        let least = serde_json::json!({"min_size": "400G"});
        assert_eq!(name(&rule(least)), Err(2));
        let smallest = serde_json::json!({"min_size": "400G", "pick": "smallest"});
        assert_eq!(name(&rule(smallest)), Ok("sdb".into()));
        let serial = serde_json::json!({"serial": "SDC", "transport": "sata"});
        assert_eq!(name(&rule(serial)), Ok("sdc".into()));
        assert_eq!(name(&rule(serde_json::json!({"rotational": true}))), Err(0));
    }
}
