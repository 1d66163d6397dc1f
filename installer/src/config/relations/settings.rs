//! Settings of Harvester and of Longhorn by their names.

use serde_json::Value as Json;

use super::super::advice::SUGGESTIONS;
use super::super::answers::Answers;
use super::super::formats::{self, Wrong, wrong};
use super::super::problem::{Code, Problems};
use super::free_keys::{proxy, without_proxy};

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

/// Settings of the node itself: they count on nodes that join, too.
pub const OF_NODES: [&str; 5] = [
    "additional-ca",
    "containerd-registry",
    "http-proxy",
    "longhorn-v2-data-engine-enabled",
    "ntp-servers",
];

/// Settings of the cluster that something acts on.
const OF_CLUSTERS: [&str; 7] = [
    "additional-guest-memory-overhead-ratio",
    "cluster-registration-url",
    "csi-driver-config",
    "kubevirt-migration",
    "max-hotplug-ratio",
    "overcommit-config",
    "vip-pools",
];

/// Settings that nothing here acts on, though somebody could expect it, and what does it instead.
const ELSEWHERE: [(&str, &str, &str); 13] = [
    (
        "auto-disk-provision-paths",
        "no disk is taken by a pattern",
        "install.data_disk for Longhorn, cluster.longhorn_v2_disks for its v2 engine",
    ),
    (
        "auto-rotate-rke2-certs",
        "RKE2 renews its certificates when it starts within 120 days of their end",
        "a reboot once in half a year is enough",
    ),
    (
        "backup-target",
        "its keys would lie in the config of a node for ever",
        "the backup target of Longhorn's own settings, with a Secret, once the cluster runs",
    ),
    (
        "cluster-pod-security-standard",
        "the standard is RKE2's",
        "cluster.profile: cis restricts pods but for the system's namespaces",
    ),
    (
        "default-storage-class",
        "the class longhorn is the default",
        "the annotation storageclass.kubernetes.io/is-default-class on another, once it exists",
    ),
    (
        "default-vm-termination-grace-period-seconds",
        "KubeVirt has no such setting for all machines",
        "spec.template.spec.terminationGracePeriodSeconds of each VirtualMachine",
    ),
    (
        "rancher-cluster",
        "it is for the Rancher inside Harvester",
        "cluster-registration-url registers the cluster at a Rancher",
    ),
    (
        "ssl-certificates",
        "there is no page of Harvester to protect",
        "a default certificate of the ingress: a HelmChartConfig of rke2-ingress-nginx",
    ),
    (
        "ssl-parameters",
        "there is no page of Harvester to protect",
        "ssl-protocols and ssl-ciphers in a HelmChartConfig of rke2-ingress-nginx",
    ),
    (
        "storage-network",
        "the network would be made by Harvester's network controller",
        "a NetworkAttachmentDefinition, named by install.harvester.longhorn.default_settings.storageNetwork",
    ),
    (
        "vm-force-reset-policy",
        "a controller of Harvester does it",
        "nodeDownPodDeletionPolicy of install.harvester.longhorn.default_settings frees volumes of a dead node",
    ),
    (
        "vm-migration-network",
        "the network would be made by Harvester's network controller",
        "a NetworkAttachmentDefinition in the namespace kubevirt, named as network in kubevirt-migration",
    ),
    (
        "volume-snapshot-class",
        "it is older than csi-driver-config",
        "csi-driver-config names the classes of each driver",
    ),
];

/// Longhorn's settings whose range is known, in percent.
const PERCENT: [(&str, i64); 2] = [
    ("guaranteedInstanceManagerCPU", 12),
    ("storageReservedPercentageForDefaultDisk", 30),
];

/// A setting with another name is passed over by Harvester without a word.
pub fn settings_are_known(answers: &Answers, problems: &mut Problems) {
    let unknown = |name: &&String| !NAMES.contains(&name.as_str());
    let unknown = answers.system_settings.keys().filter(unknown);
    for (i, name) in unknown.enumerate() {
        let near = NAMES
            .iter()
            .filter(|known| i < SUGGESTIONS && known.len().abs_diff(name.len()) <= 3)
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
    for (name, value) in &answers.system_settings {
        let known = NAMES.contains(&name.as_str()) && !value.is_empty();
        let used = [&OF_NODES[..], &OF_CLUSTERS[..]].concat();
        if !known || used.contains(&name.as_str()) {
            continue;
        }
        let field = format!("system_settings.{name}");
        let elsewhere = ELSEWHERE.iter().find(|(known, _, _)| known == name);
        if let Some((_, why, hint)) = elsewhere {
            let message = format!("does nothing: {why}");
            problems.add(Code::NoMeaning, field, message, *hint);
        } else {
            let message = "does nothing: it is for Harvester's own pages and services";
            problems.add(Code::NoMeaning, field, message, "it can be left out");
        }
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

/// What the value of a setting is.
#[derive(Clone, Copy)]
enum Form {
    /// A map in JSON.
    Map,
    /// A whole number.
    Number,
    /// `true` or `false`.
    Switch,
    /// One of these, in any case.
    Words(&'static [&'static str]),
    /// Certificates in PEM.
    Pem,
    /// `http-proxy`.
    Proxy,
    /// `ntp-servers`.
    Ntp,
}

/// Settings whose form is known, by Harvester's documentation of its settings.
const FORMS: [(&str, Form); 24] = [
    ("additional-ca", Form::Pem),
    ("auto-rotate-rke2-certs", Form::Map),
    ("backup-target", Form::Map),
    ("containerd-registry", Form::Map),
    ("csi-driver-config", Form::Map),
    ("default-vm-termination-grace-period-seconds", Form::Number),
    ("http-proxy", Form::Proxy),
    ("kubeconfig-default-token-ttl-minutes", Form::Number),
    (
        "log-level",
        Form::Words(&[
            "panic", "fatal", "error", "warn", "warning", "info", "debug", "trace",
        ]),
    ),
    ("longhorn-v2-data-engine-enabled", Form::Switch),
    ("ntp-servers", Form::Ntp),
    ("overcommit-config", Form::Map),
    ("rancher-cluster", Form::Map),
    ("ssl-certificates", Form::Map),
    ("ssl-parameters", Form::Map),
    ("storage-network", Form::Map),
    ("support-bundle-expiration", Form::Number),
    ("support-bundle-image", Form::Map),
    ("support-bundle-node-collection-timeout", Form::Number),
    ("support-bundle-timeout", Form::Number),
    ("upgrade-checker-enabled", Form::Switch),
    ("upgrade-config", Form::Map),
    ("vip-pools", Form::Map),
    ("vm-force-reset-policy", Form::Map),
];

/// Harvester refuses a setting whose value it can't read, long after the install. Values are
/// secret, so no message quotes them.
pub fn settings_are_usable(answers: &Answers, problems: &mut Problems) {
    for (name, form) in FORMS {
        let value = answers.system_settings.get(name);
        let Some(text) = value.map(|v| v.expose().trim()).filter(|t| !t.is_empty()) else {
            continue;
        };
        if let Err(wrong) = check_setting(form, text) {
            let field = format!("system_settings.{name}");
            problems.add(Code::BadValue, field, wrong.message, wrong.hint);
        }
    }
}

fn check_setting(form: Form, text: &str) -> Result<(), Wrong> {
    match form {
        Form::Map => json_map(text, "a text in JSON, such as '{\"key\": \"value\"}'").map(drop),
        Form::Number => match text.parse::<u32>() {
            Ok(_) => Ok(()),
            Err(_) => wrong("not a whole number", "such as 10"),
        },
        Form::Switch => match text {
            "true" | "false" => Ok(()),
            _ => wrong("neither true nor false", "true or false"),
        },
        Form::Words(words) => match words.iter().any(|w| w.eq_ignore_ascii_case(text)) {
            true => Ok(()),
            false => wrong("not one of its values", words.join(", ")),
        },
        Form::Pem => formats::certificates(text),
        Form::Proxy => {
            const HINT: &str = "'{\"httpProxy\": \"http://10.0.0.3:3128\", \"httpsProxy\": \"...\", \"noProxy\": \"...\"}'";
            for (key, value) in &json_map(text, HINT)? {
                let value = value.as_str().unwrap_or_default();
                let result = match key.as_str() {
                    "httpProxy" | "httpsProxy" if value.is_empty() => Ok(()),
                    "httpProxy" | "httpsProxy" => proxy(value),
                    "noProxy" => without_proxy(value),
                    _ => wrong("a key is none of httpProxy, httpsProxy, noProxy", HINT),
                };
                result?;
            }
            Ok(())
        }
        Form::Ntp => {
            const HINT: &str = "'{\"ntpServers\": [\"0.pool.ntp.org\"]}'";
            let map = json_map(text, HINT)?;
            let servers = map.get("ntpServers").and_then(Json::as_array);
            let right = |s: &Json| s.as_str().is_some_and(|s| formats::ntp_server(s).is_ok());
            match servers {
                Some(servers) if servers.iter().all(right) => Ok(()),
                _ => wrong("does not name time servers", HINT),
            }
        }
    }
}

fn json_map(text: &str, hint: &str) -> Result<serde_json::Map<String, Json>, Wrong> {
    match serde_json::from_str(text) {
        Ok(Json::Object(map)) => Ok(map),
        _ => wrong("not a map in JSON", hint),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_forms() {
        let form = |name: &str| FORMS.iter().find(|(n, _)| *n == name).unwrap().1;
        for (name, good, bad) in [
            (
                "http-proxy",
                r#"{"httpProxy": "http://u:p@h:1", "noProxy": "a,.b"}"#,
                "http://h:1",
            ),
            ("http-proxy", "{}", r#"{"proxy": "http://h:1"}"#),
            ("http-proxy", "{}", r#"{"httpProxy": "h:x"}"#),
            (
                "ntp-servers",
                r#"{"ntpServers": ["a.b"]}"#,
                r#"{"ntpServers": "a.b"}"#,
            ),
            ("log-level", "Info", "loud"),
            ("support-bundle-timeout", "10", "10m"),
            ("upgrade-checker-enabled", "true", "yes"),
            ("containerd-registry", r#"{"Mirrors": {}}"#, "[]"),
        ] {
            assert_eq!(check_setting(form(name), good), Ok(()), "{name}");
            assert!(check_setting(form(name), bad).is_err(), "{name} {bad}");
        }
        assert!(FORMS.iter().all(|(name, _)| NAMES.contains(name)));
        let elsewhere = ELSEWHERE.map(|(name, _, _)| name);
        for names in [&OF_NODES[..], &OF_CLUSTERS, &elsewhere] {
            assert!(names.iter().all(|name| NAMES.contains(name)), "{names:?}");
        }
    }
}
