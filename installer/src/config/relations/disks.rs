//! The disks of the node.

use std::collections::HashSet;

use super::super::answers::{Answers, DeviceChoice, DiskRule};
use super::super::formats;
use super::super::problem::{Code, Problems};
use super::super::resolve::{data_place, sizes};
use crate::disk::layout::least_disk;

/// Disks that are told apart, and sizes that can be.
pub fn disks_go_together(answers: &Answers, problems: &mut Problems) {
    let install = &answers.install;
    let same = install.data_disk.is_some() && install.data_disk == install.device;
    if same {
        problems.add(
            Code::SameDisk,
            "install.data_disk",
            "is the install disk",
            "leave it out: the data of virtual machines then lies on the install disk anyway",
        );
    }
    // Without `allow_overwrite`, the name in the list is what allows it.
    let anyway = install.allow_overwrite == Some(true);
    for (key, choice) in [
        ("device", &install.device),
        ("data_disk", &install.data_disk),
    ] {
        let Some(DeviceChoice::Path(path)) = choice else {
            continue;
        };
        let named = install.wipe_disks_list.iter().position(|d| d == path);
        if let Some(i) = named.filter(|_| anyway && !path.is_empty()) {
            problems.add(
                Code::WipeConflict,
                format!("install.wipe_disks_list[{i}]"),
                format!("{path} is install.{key}, which allow_overwrite wipes anyway"),
                "keep one of the two",
            );
        }
    }
    let mut seen = HashSet::new();
    for (i, disk) in install.wipe_disks_list.iter().enumerate() {
        if !seen.insert(disk.as_str()) {
            problems.add(
                Code::DuplicateValue,
                format!("install.wipe_disks_list[{i}]"),
                format!("{disk} is there twice"),
                "name each disk once",
            );
        }
    }
    if let Some(DeviceChoice::Rule(rule)) = &install.device {
        check_rule(
            "install.device",
            rule,
            least_disk(sizes(answers), data_place(answers)),
            problems,
        );
    }
    if let Some(DeviceChoice::Rule(rule)) = &install.data_disk {
        check_rule("install.data_disk", rule, 0, problems);
    }
}

fn check_rule(field: &str, rule: &DiskRule, needed: u64, problems: &mut Problems) {
    if *rule == DiskRule::default() {
        let hint = "such as {min_size: 400G, rotational: false}";
        problems.add(Code::BadValue, field, "a rule that every disk fits", hint);
    }
    let size = |text: &Option<String>| text.as_deref().and_then(|t| formats::size(t, 0).ok());
    let (min, max) = (size(&rule.min_size), size(&rule.max_size));
    if let (Some(min), Some(max)) = (min, max)
        && min > max
    {
        let message = "larger than max_size, so no disk fits";
        problems.add(
            Code::BadValue,
            format!("{field}.min_size"),
            message,
            "a range",
        );
    }
    if let Some(max) = max.filter(|m| *m < needed && min.is_none_or(|min| min <= *m)) {
        problems.add(
            Code::DiskTooSmall,
            format!("{field}.max_size"),
            format!(
                "no disk of at most {} GiB holds the partitions, which need {} GiB",
                max >> 30,
                needed >> 30
            ),
            "a larger disk, or a smaller install.persistent_partition_size",
        );
    }
}
