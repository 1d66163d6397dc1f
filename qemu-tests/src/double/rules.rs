//! What RKE2 asks of the values of its config, beyond their types, and what Harrow must not forget.
//!
//! In: the merged [`Config`], the role and the root of the file tree. Out: problems. The rules of
//! `cni` are those of rancher/rke2 pkg/cli/cmds/server.go.

use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};

use ipnet::IpNet;

use super::Role;
use super::config::Config;
use super::yaml::parse_one;

/// Plugins that can be the network.
const CNIS: [&str; 5] = ["none", "calico", "canal", "cilium", "flannel"];
/// Where an agent and a further server register.
const SUPERVISOR: &str = ":9345";
/// RKE2's own networks when the config has none.
const CLUSTER_CIDR: &str = "10.42.0.0/16";
const SERVICE_CIDR: &str = "10.43.0.0/16";

/// Keys whose value is one of a few words.
const WORDS: &[(&str, &[&str])] = &[
    ("ingress-controller", &["none", "ingress-nginx", "traefik"]),
    (
        "egress-selector-mode",
        &["agent", "cluster", "pod", "disabled"],
    ),
    ("profile", &["cis", "etcd"]),
    ("secrets-encryption-provider", &["aescbc", "secretbox"]),
    ("etcd-s3-bucket-lookup-type", &["auto", "dns", "path"]),
];

/// Keys that name a file which must be there.
const FILES: &[&str] = &[
    "token-file",
    "agent-token-file",
    "audit-policy-file",
    "pod-security-admission-config-file",
    "resolv-conf",
    "image-credential-provider-config",
    "cloud-provider-config",
];

/// What `profile: cis` asks of the kernel.
const CIS_SYSCTLS: [(&str, &str); 4] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
];

/// A path of the node below `root`, which is `/` but in tests.
pub fn below(root: &Path, path: &str) -> PathBuf {
    let inside = Path::new(path)
        .components()
        .filter(|part| matches!(part, Component::Normal(_)));
    inside.fold(root.to_owned(), |at, part| at.join(part))
}

/// Checks the values of `config`; `vip` is the address that kube-vip would bring up.
pub fn check(root: &Path, role: Role, config: &Config, vip: Option<&str>) -> Vec<String> {
    let mut problems = Vec::new();
    check_join(role, config, &mut problems);
    check_words(config, &mut problems);
    check_files(root, config, &mut problems);
    check_pairs(config, &mut problems);
    check_cis(root, config, &mut problems);
    if role == Role::Server {
        check_cni(config, &mut problems);
        check_networks(config, &mut problems);
        if let Some(vip) = vip
            && !config.list("tls-san").iter().any(|san| san == vip)
        {
            problems.push(format!("tls-san: does not have kube-vip's address {vip}"));
        }
    }
    problems
}

fn check_join(role: Role, config: &Config, problems: &mut Vec<String>) {
    if config.text("token").is_none() && config.text("token-file").is_none() {
        problems.push("token: is missing, and token-file too".to_owned());
    }
    match config.text("server") {
        None if role == Role::Agent => {
            problems.push("server: is missing; an agent needs a server to join".to_owned());
        }
        Some(url) if !is_supervisor(url) => {
            problems.push(format!(
                "server: {url} is not of the form https://HOST:9345"
            ));
        }
        _ => {}
    }
}

fn is_supervisor(url: &str) -> bool {
    let Some(host) = url
        .strip_prefix("https://")
        .and_then(|rest| rest.strip_suffix(SUPERVISOR))
    else {
        return false;
    };
    match host.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')
            .is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok()),
        None => is_dns_name(host),
    }
}

/// RFC 1123: a subdomain, which an IPv4 address is too.
pub fn is_dns_name(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_dns_label)
}

/// RFC 1123: one label.
pub fn is_dns_label(label: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = label.as_bytes();
    label.len() <= 63
        && bytes.first().is_some_and(|&byte| fits(byte))
        && bytes.last().is_some_and(|&byte| fits(byte))
        && bytes.iter().all(|&byte| fits(byte) || byte == b'-')
}

fn check_words(config: &Config, problems: &mut Vec<String>) {
    for (key, words) in WORDS {
        for value in config.split(key) {
            if !words.contains(&value) {
                let words = words.join(", ");
                problems.push(format!("{key}: {value:?} is none of {words}"));
            }
        }
    }
    if let Some(mode) = config.text("write-kubeconfig-mode")
        && u32::from_str_radix(mode, 8).is_err()
    {
        problems.push(format!("write-kubeconfig-mode: {mode:?} is no octal mode"));
    }
}

fn check_files(root: &Path, config: &Config, problems: &mut Vec<String>) {
    for key in FILES {
        let Some(path) = config.text(key) else {
            continue;
        };
        match std::fs::read_to_string(below(root, path)) {
            Err(error) => problems.push(format!("{key}: reading {path}: {error}")),
            Ok(text) if text.trim().is_empty() => {
                problems.push(format!("{key}: {path} is empty"));
            }
            Ok(text) if *key == "audit-policy-file" => check_audit(path, &text, problems),
            Ok(_) => {}
        }
    }
}

fn check_audit(path: &str, text: &str, problems: &mut Vec<String>) {
    let mut refuse = |what: String| problems.push(format!("audit-policy-file: {path}: {what}"));
    match parse_one(text) {
        Err(error) => refuse(format!("{error:#}")),
        Ok(policy) => {
            let text = |key| policy.get(key).and_then(|value| value.text());
            if text("apiVersion") != Some("audit.k8s.io/v1") || text("kind") != Some("Policy") {
                refuse("is no Policy of audit.k8s.io/v1".to_owned());
            } else if policy.get("rules").is_none_or(|it| it.items().is_empty()) {
                refuse("has no rules".to_owned());
            }
        }
    }
}

/// Labels, taints and arguments of Kubernetes' programs.
fn check_pairs(config: &Config, problems: &mut Vec<String>) {
    const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
    for (key, values) in config.entries() {
        for value in values {
            let fits = match key.as_str() {
                "node-label" => value.split_once('=').is_some_and(|(name, label)| {
                    is_qualified(name) && (label.is_empty() || is_qualified_name(label))
                }),
                "node-taint" => value.rsplit_once(':').is_some_and(|(taint, effect)| {
                    EFFECTS.contains(&effect)
                        && is_qualified(taint.split_once('=').map_or(taint, |(name, _)| name))
                }),
                key if key.ends_with("-arg") => {
                    let name = value
                        .split_once('=')
                        .map_or(value.as_str(), |(name, _)| name);
                    name.starts_with(|first: char| first.is_ascii_lowercase())
                        && !name.contains(char::is_whitespace)
                }
                key if key.ends_with("-extra-env") => value.contains('='),
                key if key.ends_with("-extra-mount") => value.contains(':'),
                _ => true,
            };
            if !fits {
                problems.push(format!("{key}: {value:?} is not of the form it must have"));
            }
        }
    }
}

/// Kubernetes' qualified name: `prefix/name`, the prefix a DNS name.
fn is_qualified(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_dns_name(prefix) && is_qualified_name(name),
        None => is_qualified_name(text),
    }
}

fn is_qualified_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes[0].is_ascii_alphanumeric()
        && bytes[bytes.len() - 1].is_ascii_alphanumeric()
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

fn check_cis(root: &Path, config: &Config, problems: &mut Vec<String>) {
    if config.text("profile").is_none() {
        return;
    }
    for (file, name) in [("/etc/passwd", "user"), ("/etc/group", "group")] {
        let text = std::fs::read_to_string(below(root, file)).unwrap_or_default();
        if !text.lines().any(|line| line.starts_with("etcd:")) {
            problems.push(format!("profile: there is no {name} etcd in {file}"));
        }
    }
    for (name, value) in CIS_SYSCTLS {
        let path = below(root, &format!("/proc/sys/{name}"));
        let is = std::fs::read_to_string(&path).unwrap_or_default();
        if is.trim() != value {
            let is = is.trim();
            problems.push(format!("profile: sysctl {name} is {is:?}, not {value}"));
        }
    }
}

fn check_cni(config: &Config, problems: &mut Vec<String>) {
    let names = config.split("cni");
    let main = match names[..] {
        [] => return,
        ["multus"] => {
            problems.push("cni: multus needs another plugin behind it".to_owned());
            return;
        }
        ["multus", main] | [main] => main,
        [_, _] => {
            problems.push(format!("cni: {names:?}: of two, the first must be multus"));
            return;
        }
        _ => {
            problems.push(format!("cni: {names:?}: two at most"));
            return;
        }
    };
    if !CNIS.contains(&main) {
        let cnis = CNIS.join(", ");
        problems.push(format!("cni: {main:?} is none of {cnis}"));
    }
}

fn check_networks(config: &Config, problems: &mut Vec<String>) {
    let mut networks = |key: &str, otherwise: &str| -> Vec<IpNet> {
        let mut values = config.split(key);
        if values.is_empty() {
            values.push(otherwise);
        }
        let parsed = values.into_iter().filter_map(|value| {
            let network = value.parse::<IpNet>();
            match network {
                Ok(network) if network.trunc() == network => Some(network),
                _ => {
                    problems.push(format!("{key}: {value:?} is no network"));
                    None
                }
            }
        });
        parsed.collect()
    };
    let pods = networks("cluster-cidr", CLUSTER_CIDR);
    let services = networks("service-cidr", SERVICE_CIDR);
    for pod in &pods {
        for service in &services {
            if pod.contains(service) || service.contains(pod) {
                problems.push(format!(
                    "cluster-cidr {pod} and service-cidr {service} overlap"
                ));
            }
        }
    }
    for dns in config.split("cluster-dns") {
        let address = dns.parse::<IpAddr>();
        if !address.is_ok_and(|address| services.iter().any(|net| net.contains(&address))) {
            problems.push(format!(
                "cluster-dns: {dns:?} is no address of service-cidr"
            ));
        }
    }
    for ip in config.split("node-ip") {
        let address = ip.parse::<IpAddr>();
        let taken = |address: &IpAddr| {
            pods.iter()
                .chain(&services)
                .any(|network| network.contains(address))
        };
        if address.is_err() || address.is_ok_and(|address| taken(&address)) {
            problems.push(format!(
                "node-ip: {ip:?} is no address, or one of the cluster's own networks"
            ));
        }
    }
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
