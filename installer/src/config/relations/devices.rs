//! Lists of the cluster's parts: charts, PCI devices, kinds of multipath disks.

use std::collections::HashMap;

use super::super::answers::Answers;
use super::super::problem::{Code, Problems};

/// What each item of these lists needs, and what may be there once.
pub fn items_are_complete(answers: &Answers, problems: &mut Problems) {
    let cluster = &answers.cluster;
    let mut names = Once::new("cluster.csi_charts", "name");
    for (i, chart) in cluster.csi_charts.iter().enumerate() {
        names.note(i, &chart.name, "the name of the chart", problems);
    }
    let mut ids = Once::new("cluster.pci_devices", "vendor_selector");
    for (i, device) in cluster.pci_devices.iter().enumerate() {
        let id = device.vendor_selector.to_ascii_lowercase();
        let hint = "vendor and device as `lspci -nn` shows them, such as 10de:1eb8";
        ids.note(i, &id, hint, problems);
        if device.resource_name.is_empty() {
            problems.add(
                Code::Missing,
                format!("cluster.pci_devices[{i}].resource_name"),
                "missing",
                "the name by which virtual machines ask for it, such as nvidia.com/TU104GL",
            );
        }
    }
}

/// Virtual functions are of use for machines that may have them.
pub fn virtual_functions_are_of_use(answers: &Answers, problems: &mut Problems) {
    let cluster = &answers.cluster;
    let mut devices = Once::new("cluster.sriov", "device");
    for (i, device) in cluster.sriov.iter().enumerate() {
        let hint = "PCI address or NIC, such as 0000:3b:00.0 or ens3f0";
        devices.note(i, &device.device, hint, problems);
        if device.virtual_functions.is_none() {
            problems.add(
                Code::Missing,
                format!("cluster.sriov[{i}].virtual_functions"),
                "missing",
                "how many, at most what sriov_totalvfs of the device says",
            );
        }
    }
    if !cluster.sriov.is_empty() && cluster.pci_devices.is_empty() {
        problems.add(
            Code::DeviceNotPermitted,
            "cluster.sriov",
            "no virtual machine may have a virtual function",
            "their kind in cluster.pci_devices, such as {vendor_selector: \"8086:154c\", resource_name: intel.com/X710_VF}",
        );
    }
}

/// One key of a list's items, that each has, and no two the same.
struct Once {
    list: &'static str,
    key: &'static str,
    seen: HashMap<String, usize>,
}

impl Once {
    fn new(list: &'static str, key: &'static str) -> Self {
        let seen = HashMap::new();
        Self { list, key, seen }
    }

    fn note(&mut self, i: usize, value: &str, hint: &str, problems: &mut Problems) {
        let field = format!("{}[{i}].{}", self.list, self.key);
        if value.is_empty() {
            problems.add(Code::Missing, field, "missing", hint);
            return;
        }
        if let Some(first) = self.seen.insert(value.to_owned(), i) {
            let message = format!("{}[{first}] has the same", self.list);
            problems.add(Code::DuplicateValue, field, message, "keep one of the two");
        }
    }
}

/// Kinds of disks say what they are, and are of use only when multipath is on.
pub fn multipath_is_complete(answers: &Answers, problems: &mut Problems) {
    const FIELD: &str = "os.external_storage_config.multi_path_config";
    let storage = &answers.os.external_storage_config;
    let config = &storage.multi_path_config;
    for (key, kinds) in [
        ("blacklist", &config.blacklist),
        ("blacklist_exceptions", &config.blacklist_exceptions),
    ] {
        for (i, kind) in kinds.iter().enumerate() {
            if kind.vendor.is_empty() && kind.product.is_empty() {
                problems.add(
                    Code::Missing,
                    format!("{FIELD}.{key}[{i}]"),
                    "neither vendor nor product is given",
                    "such as {vendor: DELL, product: POWERVAULT}",
                );
            }
        }
    }
    if *config != Default::default() && storage.enabled != Some(true) {
        problems.add(
            Code::NoUse,
            FIELD,
            "does nothing while multipath is off",
            "os.external_storage_config.enabled: true",
        );
    }
}
