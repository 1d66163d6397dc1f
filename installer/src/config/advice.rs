//! What to do about a mistake: the key that was meant, a list instead of one text, a value that
//! would do.
//!
//! In: the mistake and the schema. Out: words for the hint of a problem; never a secret.

use serde_json::Value as Json;

use super::check::{read_bool, read_int};
use super::forms;
use super::schema::{self, Kind, Shape};
use super::spelling;
use super::tree::join;

/// Names that people know from elsewhere (cloud-init, netplan, other installers), without `_`
/// and `-`, and ours for them.
const OTHER_NAMES: [(&str, &str); 40] = [
    ("address", "ip"),
    ("authorizedkeys", "ssh_authorized_keys"),
    ("bond", "bond_options"),
    ("bondmode", "bond_options"),
    ("bootcmd", "after_install_chroot_commands"),
    ("clustercidr", "cluster_pod_cidr"),
    ("clustervip", "vip"),
    ("cmdline", "additional_kernel_arguments"),
    ("disk", "device"),
    ("dns", "dns_nameservers"),
    ("dnsservers", "dns_nameservers"),
    ("env", "environment"),
    ("files", "write_files"),
    ("hwaddress", "hw_addr"),
    ("installdisk", "device"),
    ("ipaddress", "ip"),
    ("kernelargs", "additional_kernel_arguments"),
    ("kernelarguments", "additional_kernel_arguments"),
    ("kernelparams", "additional_kernel_arguments"),
    ("mac", "hw_addr"),
    ("macaddr", "hw_addr"),
    ("macaddress", "hw_addr"),
    ("mask", "subnet_mask"),
    ("nameservers", "dns_nameservers"),
    ("netmask", "subnet_mask"),
    ("nics", "interfaces"),
    ("nodelabels", "labels"),
    ("ntp", "ntp_servers"),
    ("passwd", "password"),
    ("podcidr", "cluster_pod_cidr"),
    ("proxy", "environment"),
    ("runcmd", "after_install_chroot_commands"),
    ("searchdomains", "dns_search"),
    ("servicecidr", "cluster_service_cidr"),
    ("size", "min_size"),
    ("sshkeys", "ssh_authorized_keys"),
    ("subnet", "subnet_mask"),
    ("timeservers", "ntp_servers"),
    ("virtualip", "vip"),
    ("vlan", "vlan_id"),
];

/// Keys at the top that nothing here stands for, most of them of cloud-init, and why.
const OTHER_WAYS: [(&str, &str); 6] = [
    (
        "harrow",
        "a config inside harrow: has no other key beside it",
    ),
    (
        "harvester",
        "a config inside harvester: has no other key beside it",
    ),
    (
        "users",
        "there is one login, rancher: os.ssh_authorized_keys and os.password",
    ),
    (
        "packages",
        "the system is sealed, programs come as containers; os.write_files adds files",
    ),
    ("timezone", "nodes run in UTC"),
    (
        "network",
        "install.management_interface is the network of a node",
    ),
];

/// Keys that an example of a map begins with.
const TELLING: [&str; 13] = [
    "enabled",
    "event",
    "hostname",
    "mode",
    "name",
    "interfaces",
    "url",
    "method",
    "path",
    "content",
    "cpu",
    "sftp",
    "product",
];

/// "a, b or c".
pub fn list_words(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

/// What a value must be.
pub fn wanted(kind: &Kind) -> String {
    match kind {
        Kind::Struct(_) | Kind::Map(_) => "a map of `key: value`".into(),
        Kind::List(inner) => format!("a list; each item is {}", wanted(&inner.kind)),
        Kind::Text => "a text".into(),
        Kind::Choice(words) => {
            let words: Vec<&str> = words.iter().map(|(w, _)| w.as_str()).collect();
            format!("one of {}", list_words(&words))
        }
        Kind::Int { min, max } => format!("a whole number, {}", range(*min, *max)),
        Kind::Bool => "true or false".into(),
        Kind::TextOr(_) => "a text or a map of `key: value`".into(),
    }
}

/// "1 to 3", or the only number.
pub fn range(min: i64, max: i64) -> String {
    match max {
        _ if min == max => min.to_string(),
        _ if max == i64::from(u32::MAX) => format!("{min} or more"),
        _ => format!("{min} to {max}"),
    }
}

/// "such as KEY: VALUE", with a value of the right type.
pub fn sample_of(shape: &Shape, path: &str) -> String {
    let key = path.rsplit('.').next().unwrap_or(path);
    match (sample(shape), key.contains('[')) {
        (None, _) => String::new(),
        (Some(sample), false) => format!("such as {key}: {sample}"),
        (Some(sample), true) => format!("such as {sample}"),
    }
}

/// A value of the right type, as YAML in one line.
fn sample(shape: &Shape) -> Option<String> {
    if shape.secret {
        return None;
    }
    // A switch is named to turn it on.
    if shape.kind == Kind::Bool {
        return Some("true".into());
    }
    if let Some(example) = shape.example.as_ref().or(shape.default.as_ref()) {
        return Some(flow(example));
    }
    match &shape.kind {
        Kind::Struct(fields) => {
            let telling = TELLING.iter().filter_map(|key| fields.get_key_value(*key));
            let first = fields.iter().next();
            let mut chosen: Vec<_> = telling.take(2).collect();
            if chosen.is_empty() {
                chosen.extend(first);
            }
            let each = chosen.into_iter().map(|(key, field)| {
                let value = sample(field).unwrap_or_else(|| "...".to_owned());
                format!("{key}: {value}")
            });
            Some(format!("{{{}}}", each.collect::<Vec<_>>().join(", ")))
        }
        Kind::List(inner) => Some(format!("[{}]", sample(inner)?)),
        Kind::Map(inner) => Some(format!("{{NAME: {}}}", sample(inner)?)),
        Kind::Choice(words) => words.first().map(|(word, _)| word.clone()),
        Kind::Int { min, .. } => Some(min.to_string()),
        Kind::Bool | Kind::Text | Kind::TextOr(_) => None,
    }
}

/// JSON as a person would write it in YAML, in one line.
fn flow(json: &Json) -> String {
    match json {
        Json::String(text) if is_plain(text) => text.clone(),
        Json::Array(items) => {
            let items: Vec<String> = items.iter().map(flow).collect();
            format!("[{}]", items.join(", "))
        }
        Json::Object(entries) => {
            let each = entries.iter().map(|(k, v)| format!("{k}: {}", flow(v)));
            format!("{{{}}}", each.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// Whether YAML reads a text without quotes as that text.
fn is_plain(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "_-./:+".contains(c);
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/');
    let letters = text.contains(|c: char| c.is_ascii_alphabetic() || c == '.');
    let number = read_int(text).is_some() || text.parse::<f64>().is_ok();
    begins
        && letters
        && text.chars().all(good)
        && !text.ends_with(':')
        && !number
        && read_bool(text).is_none()
}

/// The parts of a text that should have been a list: separated by commas or blanks, each of
/// them right.
pub fn several<'a>(text: &'a str, form: &str) -> Option<Vec<&'a str>> {
    // These hold blanks, and so does a whole key; two people of GitHub do not. URLs can hold
    // secrets, which no hint may repeat.
    let blanks = ["pem", "yaml", "serial", "kernel-arguments"].contains(&form);
    if blanks || form.contains("url") || text.len() > 1024 {
        return None;
    }
    let separates = |c: char| c == ',' || c == ';' || c.is_whitespace();
    let parts: Vec<&str> = text.split(separates).filter(|p| !p.is_empty()).collect();
    let right = |part: &&str| forms::check(form, part).is_ok();
    ((2..=16).contains(&parts.len()) && parts.iter().all(right)).then_some(parts)
}

/// How many unknown keys of a kind get a suggestion; a file with more is not a config.
pub const SUGGESTIONS: usize = 50;

/// The key that was probably meant: the nearest at the same level, one of that name elsewhere,
/// or ours for another program's.
pub fn suggestion(key: &str, shape: &Shape, path: &str) -> String {
    let lower = key.to_ascii_lowercase();
    let letters = spelling::letters_of(key);
    let fields = shape.kind.fields();
    let here = |name: &str| fields.is_some_and(|f| f.contains_key(name));
    let ours = OTHER_NAMES.iter().find(|(other, _)| *other == letters);
    if let Some((_, name)) = ours.filter(|(_, name)| here(name)) {
        return format!("did you mean {}?", join(path, name));
    }
    let other_way = OTHER_WAYS.iter().find(|(other, _)| *other == letters);
    if let Some((_, way)) = other_way.filter(|_| path.is_empty()) {
        return (*way).to_owned();
    }
    let near = fields
        .into_iter()
        .flat_map(|f| f.keys())
        .map(|name| (strsim::damerau_levenshtein(&lower, name), name))
        .filter(|(distance, name)| *distance <= (name.len().min(key.len()) / 3).max(1))
        .min();
    if let Some((_, name)) = near {
        return format!("did you mean {}?", join(path, name));
    }
    if let Some(found) = find_elsewhere(key, schema::shape(), "") {
        return format!("{found} exists; is it in the right place?");
    }
    if let Some((_, name)) = ours
        && let Some(found) = find_elsewhere(name, schema::shape(), "")
    {
        return format!("did you mean {found}?");
    }
    if path.is_empty() {
        return "harrow config schema prints all keys, and so does docs/config.md".to_owned();
    }
    let names: Vec<&str> = fields
        .into_iter()
        .flat_map(|f| f.keys())
        .map(String::as_str)
        .collect();
    if names.len() > 12 {
        return format!("docs/config.md lists the keys of {path}");
    }
    format!("{path} has {}", names.join(", "))
}

fn find_elsewhere(key: &str, shape: &Shape, path: &str) -> Option<String> {
    match &shape.kind {
        Kind::Struct(fields) | Kind::TextOr(fields) => {
            if let Some(name) = spelling::name_of(key, fields) {
                return Some(join(path, name));
            }
            let mut below = fields.iter();
            below.find_map(|(name, inner)| find_elsewhere(key, inner, &join(path, name)))
        }
        Kind::List(inner) => find_elsewhere(key, inner, &format!("{path}[]")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_configs() {
        for (path, expected) in [
            (
                "install.management_interface.interfaces",
                "such as interfaces: [{name: ens3}]",
            ),
            (
                "os.write_files",
                "such as write_files: [{path: /etc/motd, content: ...}]",
            ),
            ("os.sshd", "such as sshd: {sftp: true}"),
            ("install", "such as install: {mode: create}"),
            (
                "os.sysctls",
                "such as sysctls: {net.ipv4.ip_forward: \"1\"}",
            ),
            (
                "os.dns_nameservers",
                "such as dns_nameservers: [10.0.0.2, fd00::2]",
            ),
            (
                "install.addons.rancher_logging",
                "such as rancher_logging: {enabled: true}",
            ),
            ("os.password", ""),
        ] {
            let shape = schema::shape_at(path).unwrap();
            assert_eq!(sample_of(shape, path), expected);
        }
    }

    #[test]
    fn texts_that_should_be_lists() {
        assert_eq!(
            several("8.8.8.8, 8.8.4.4", "nameserver"),
            Some(vec!["8.8.8.8", "8.8.4.4"])
        );
        assert_eq!(several("kvm vhost", "module"), Some(vec!["kvm", "vhost"]));
        assert_eq!(several("8.8.8.8, x", "nameserver"), None);
        assert_eq!(several("8.8.8.8", "nameserver"), None);
    }

    #[test]
    fn names_of_other_programs_lead_to_ours() {
        let meant = |path: &str, key: &str| {
            let shape = schema::shape_at(path).unwrap();
            suggestion(key, shape, path)
        };
        let nic = schema::shape_at("install.management_interface.interfaces").unwrap();
        let Kind::List(nic) = &nic.kind else {
            unreachable!("a list")
        };
        assert_eq!(suggestion("macAddr", nic, "x"), "did you mean x.hw_addr?");
        assert_eq!(
            meant("install.management_interface", "dns"),
            "did you mean os.dns_nameservers?"
        );
        assert_eq!(
            meant("install.networks.a", "netmask"),
            "did you mean install.networks.a.subnet_mask?"
        );
        assert!(meant("", "users").contains("one login"));
        assert!(OTHER_NAMES.is_sorted());
        for (_, ours) in OTHER_NAMES {
            assert!(
                find_elsewhere(ours, schema::shape(), "").is_some(),
                "{ours}"
            );
        }
    }
}
