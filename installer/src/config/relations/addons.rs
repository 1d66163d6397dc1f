//! What addons and features of Harvester need that is not there without Harvester.

use super::super::answers::{Addon, Answers, DeviceChoice, InstallMode};
use super::super::problem::{Code, Problems};

/// Says what an addon can't do here, or what somebody has to bring. What each needs is from its
/// source: harvester/pcidevices, harvester/vm-import-controller, harvester/charts.
pub fn addons_find_what_they_need(answers: &Answers, problems: &mut Problems) {
    let install = &answers.install;
    if install.mode != Some(InstallMode::Create) {
        return;
    }
    let addons = &install.addons;
    let on = |addon: &Addon| addon.enabled == Some(true);
    let mut needs = |name: &str, message: &str, hint: &str| {
        let field = format!("install.addons.{name}");
        problems.add(Code::AddonNeeds, field, message, hint);
    };
    if on(&addons.harvester_pcidevices_controller) {
        needs(
            "harvester_pcidevices_controller",
            "shows the devices of nodes, but a claim of one can't be fulfilled: it permits devices in a KubeVirt of the namespace harvester-system, and here that is kubevirt",
            "cluster.pci_devices permits devices and prepares them without this addon",
        );
    }
    if on(&addons.harvester_vm_import_controller) {
        needs(
            "harvester_vm_import_controller",
            "keeps images of what it imports as VirtualMachineImage of harvesterhci.io, which only Harvester has: imports stop there",
            "DataVolume of CDI imports disks from URLs, registries and VMware",
        );
    }
    if on(&addons.nvidia_driver_toolkit) {
        if !says(&addons.nvidia_driver_toolkit, "driverLocation") {
            needs(
                "nvidia_driver_toolkit.values_content",
                "does not say driverLocation: NVIDIA's driver is nobody else's to hand out",
                "'driverLocation: http://10.0.0.9/NVIDIA-Linux-x86_64-....-vgpu-kvm.run'",
            );
        }
        needs(
            "nvidia_driver_toolkit",
            "its image builds the driver for SUSE's kernel, and runs on nodes with the label sriovgpu.harvesterhci.io/driver-needed: true",
            "an image for Debian's kernel as image.repository and image.tag in values_content, the label in os.labels",
        );
    }
    if on(&addons.rancher_vcluster) && !install.bundle_mirror.as_deref().unwrap_or("").is_empty() {
        problems.add(
            Code::NeedsInternet,
            "install.addons.rancher_vcluster",
            "install.bundle_mirror has no charts of cert-manager and Rancher: the virtual cluster gets them from charts.jetstack.io and releases.rancher.com, and their images from docker.io and quay.io",
            "let the cluster reach these, or say other charts as experimental.deploy.vcluster.helm in values_content",
        );
    }
    // It gives back what no claim names, also what the node gave to machines.
    if on(&addons.harvester_pcidevices_controller) && !answers.cluster.pci_devices.is_empty() {
        problems.add(
            Code::AddonConflict,
            "cluster.pci_devices",
            "harvester_pcidevices_controller gives devices that no claim of its own names back to their drivers, so virtual machines would lose these",
            "one of the two: leave the addon out to have devices by the config",
        );
    }
}

/// Whether the values of an addon have a key at their top.
fn says(addon: &Addon, key: &str) -> bool {
    let text = addon.values_content.as_ref().map_or("", |v| v.expose());
    let read = serde_saphyr::from_str::<serde_json::Value>(text);
    read.is_ok_and(|values| values.get(key).is_some())
}

/// Longhorn's v2 engine keeps its volumes on whole disks alone.
pub fn v2_engine_has_disks(answers: &Answers, problems: &mut Problems) {
    const NAME: &str = "longhorn-v2-data-engine-enabled";
    let setting = answers.system_settings.get(NAME);
    let on = setting.is_some_and(|value| value.expose().trim() == "true");
    if on && answers.cluster.longhorn_v2_disks.is_empty() {
        problems.add(
            Code::AddonNeeds,
            format!("system_settings.{NAME}"),
            "Longhorn's v2 engine keeps volumes on whole disks alone, and this node has none for it",
            "cluster.longhorn_v2_disks: [/dev/disk/by-id/...] on each node that has one",
        );
    }
    let install = &answers.install;
    for (key, choice) in [
        ("device", &install.device),
        ("data_disk", &install.data_disk),
    ] {
        let path = choice.as_ref().and_then(DeviceChoice::path);
        let mut disks = answers.cluster.longhorn_v2_disks.iter();
        if let Some(i) = path.and_then(|path| disks.position(|disk| disk == path)) {
            problems.add(
                Code::DuplicateValue,
                format!("cluster.longhorn_v2_disks[{i}]"),
                format!("is install.{key}, and the v2 engine takes a disk whole"),
                "another disk",
            );
        }
    }
    if !on && !answers.cluster.longhorn_v2_disks.is_empty() {
        problems.add(
            Code::NoUse,
            "cluster.longhorn_v2_disks",
            "does nothing while the v2 engine is off",
            format!("system_settings.{NAME}: \"true\""),
        );
    }
}
