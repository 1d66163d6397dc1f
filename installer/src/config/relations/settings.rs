//! Settings of Harvester and of Longhorn by their names.

use super::super::answers::Answers;
use super::super::problem::{Code, Problems};

/// The names that Harvester 1.8 takes at an install.
const NAMES: [&str; 46] = [
    "additional-ca",
    "additional-guest-memory-overhead-ratio",
    "api-ui-version",
    "auto-disk-provision-paths",
    "auto-rotate-rke2-certs",
    "backup-target",
    "cluster-pod-security-standard",
    "cluster-registration-url",
    "containerd-registry",
    "csi-driver-config",
    "csi-online-expand-validation",
    "default-storage-class",
    "default-vm-termination-grace-period-seconds",
    "harvester-csi-ccm-versions",
    "http-proxy",
    "kubeconfig-default-token-ttl-minutes",
    "kubevirt-migration",
    "log-level",
    "longhorn-v2-data-engine-enabled",
    "max-hotplug-ratio",
    "ntp-servers",
    "overcommit-config",
    "rancher-cluster",
    "release-download-url",
    "server-version",
    "ssl-certificates",
    "ssl-parameters",
    "storage-network",
    "support-bundle-expiration",
    "support-bundle-image",
    "support-bundle-namespaces",
    "support-bundle-node-collection-timeout",
    "support-bundle-timeout",
    "ui-index",
    "ui-path",
    "ui-plugin-bundled-version",
    "ui-plugin-index",
    "ui-source",
    "upgradable-versions",
    "upgrade-checker-enabled",
    "upgrade-checker-url",
    "upgrade-config",
    "vip-pools",
    "vm-force-reset-policy",
    "vm-migration-network",
    "volume-snapshot-class",
];

/// Longhorn's settings whose range is known, in percent.
const PERCENT: [(&str, i64); 2] = [
    ("guaranteedInstanceManagerCPU", 12),
    ("storageReservedPercentageForDefaultDisk", 30),
];

/// A setting with another name is passed over by Harvester without a word.
pub fn settings_are_known(answers: &Answers, problems: &mut Problems) {
    for name in answers.system_settings.keys() {
        if NAMES.contains(&name.as_str()) {
            continue;
        }
        let near = NAMES
            .iter()
            .filter(|_| name.len() < 60)
            .map(|known| (strsim::damerau_levenshtein(name, known), known))
            .min()
            .filter(|(distance, _)| *distance <= 3);
        let hint = near.map_or_else(String::new, |(_, known)| format!("did you mean {known}?"));
        problems.add(
            Code::NoMeaning,
            format!("system_settings.{name}"),
            "does nothing: Harvester has no setting of this name",
            hint,
        );
    }
    let longhorn = &answers.install.harvester.longhorn.default_settings;
    for (name, most) in PERCENT {
        let Some(value) = longhorn.get(name).map(ToString::to_string) else {
            continue;
        };
        if !value.parse::<i64>().is_ok_and(|n| (0..=most).contains(&n)) {
            problems.add(
                Code::OutOfRange,
                format!("install.harvester.longhorn.default_settings.{name}"),
                format!("{value} is out of range"),
                format!("0 to {most} percent"),
            );
        }
    }
}
