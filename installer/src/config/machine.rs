//! A config against the machine that it is for.
//!
//! In: answers and the machine's facts. Out: disks and NICs that are not there, a rule that
//! fits none or several disks, sizes that do not fit.

use super::answers::{Answers, DeviceChoice, InstallMode, InterfaceAnswers, Method, NodeRole};
use super::formats;
use super::problem::{Code, Problems};
use super::resolve::{data_place, sizes};
use crate::disk::choose::{self, Refusal, WhyNot};
use crate::disk::layout::{least_data_disk, least_disk, show};
use crate::facts::{DiskFacts, Facts, NicFacts, user};

/// What of a config this machine does not have.
pub fn check_machine(answers: &Answers, facts: &Facts) -> Problems {
    let mut problems = Problems::default();
    let install = &answers.install;
    let mut disk_of = |field: &str, choice: &Option<DeviceChoice>, least| {
        let disk = find_disk(field, choice.as_ref(), least, facts, &mut problems);
        if let Some(disk) = disk {
            check_candidate(field, disk, least, &mut problems);
        }
        disk
    };
    let device = disk_of("install.device", &install.device, least_size(answers));
    let data = disk_of("install.data_disk", &install.data_disk, least_data_disk());
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
        find_disk(&field, Some(&choice), 0, facts, &mut problems);
    }
    let management = &install.management_interface;
    check_nics(
        "install.management_interface",
        &management.interfaces,
        facts,
        &mut problems,
    );
    check_management(answers, facts, &mut problems);
    for (name, link) in &install.networks {
        let field = format!("install.networks.{name}");
        check_nics(&field, &link.interfaces, facts, &mut problems);
    }
    check_vip_mac(install.vip_hw_addr.as_deref(), facts, &mut problems);
    check_reservations(answers, facts, &mut problems);
    problems
}

/// Of several NICs that all ask for an address, the one that answers first would be the node's.
fn check_management(answers: &Answers, facts: &Facts, problems: &mut Problems) {
    let install = &answers.install;
    let given = &install.management_interface;
    let asks = matches!(given.method, None | Some(Method::Dhcp));
    let named = !given.interfaces.is_empty() || install.mode == Some(InstallMode::Install);
    if asks && !named && facts.nics.len() > 1 {
        let names: Vec<&str> = facts.nics.iter().map(|n| n.name.as_str()).collect();
        problems.add(
            Code::ManyNics,
            "install.management_interface.interfaces",
            format!(
                "names none of {}: each asks for an address, and that of any could become the node's",
                names.join(", ")
            ),
            "the NICs of the management network, such as [{name: ens3}]",
        );
    }
}

/// The disk that a choice means. One that is named is judged later: that it can't be installed on
/// is a problem with another code than that it is not there.
fn find_disk<'a>(
    field: &str,
    choice: Option<&DeviceChoice>,
    least: u64,
    facts: &'a Facts,
    problems: &mut Problems,
) -> Option<&'a DiskFacts> {
    let found = match choice? {
        DeviceChoice::Path(path) if path.is_empty() => return None,
        DeviceChoice::Path(path) => choose::named(path, &facts.disks),
        rule @ DeviceChoice::Rule(_) => choose::choose(rule, &facts.disks, least),
    };
    match found {
        Ok(disk) => return Some(disk),
        Err(refusal @ Refusal::NoSuch { .. }) => {
            problems.add(Code::NoSuchDisk, field, refusal.to_string(), refusal.hint());
        }
        Err(refusal @ Refusal::Several { .. }) => {
            problems.add(Code::ManyDisks, field, refusal.to_string(), refusal.hint());
        }
        Err(refusal @ Refusal::NotCandidate { .. }) => {
            let message = format!("no disk that fits the rule can be taken: {refusal}");
            problems.add(code_of(&refusal), field, message, refusal.hint());
        }
    }
    None
}

/// All that fit are too small, or there is more to it.
fn code_of(refusal: &Refusal) -> Code {
    match refusal {
        Refusal::NotCandidate { disks }
            if (disks.iter()).all(|(_, why)| matches!(why, WhyNot::TooSmall { .. })) =>
        {
            Code::DiskTooSmall
        }
        _ => Code::NoSuchDisk,
    }
}

/// Whether a disk that was named can be installed on.
fn check_candidate(field: &str, disk: &DiskFacts, least: u64, problems: &mut Problems) {
    let path = disk.path.display();
    if let Err(why) = choose::candidate(disk, 0) {
        let (code, message, hint) = match why {
            WhyNot::InUse(users) => (
                Code::DiskInUse,
                format!("{path} was in use: {}", user::in_words(&users)),
                "an install refuses a disk in use",
            ),
            why => (Code::NoSuchDisk, format!("{path}: {why}"), why.hint()),
        };
        problems.add(code, field, message, hint);
    }
    if disk.size > 0 && disk.size < least {
        let (has, needs) = (show(disk.size), show(least));
        problems.add(
            Code::DiskTooSmall,
            field,
            format!("{path} has {has}, the partitions need {needs}"),
            "a larger disk, or a smaller install.persistent_partition_size (20Gi at least)",
        );
    }
}

/// The least size of the install disk, in bytes.
fn least_size(answers: &Answers) -> u64 {
    least_disk(sizes(answers), data_place(answers))
}

/// Two that ask a DHCP server with one MAC get one address. Of NICs that the config names by
/// their MACs, the rules between keys say so.
fn check_vip_mac(text: Option<&str>, facts: &Facts, problems: &mut Problems) {
    let mac = text.and_then(|m| formats::mac(m).ok());
    if let Some(nic) = facts.nics.iter().find(|n| Some(&n.mac) == mac.as_ref()) {
        problems.add(
            Code::SameAddress,
            "install.vip_hw_addr",
            format!("{} is the MAC of {}", nic.mac, nic.name),
            "a MAC that no NIC has, such as one that begins with 52:54:00",
        );
    }
}

fn check_nics(network: &str, nics: &[InterfaceAnswers], facts: &Facts, problems: &mut Problems) {
    for (i, nic) in nics.iter().enumerate() {
        let mac = nic.hw_addr.as_deref().filter(|m| !m.is_empty());
        // What is no MAC, or names nothing, is said by others.
        let Ok(mac) = mac.map(formats::mac).transpose() else {
            continue;
        };
        let by_mac = mac.is_some();
        let named = mac.or_else(|| nic.name.clone());
        let Some(name) = named.filter(|name| !name.is_empty()) else {
            continue;
        };
        let names = |n: &NicFacts| name == *(if by_mac { &n.mac } else { &n.name });
        if facts.nics.iter().any(names) {
            continue;
        }
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
