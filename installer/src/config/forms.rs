//! The forms of texts: what `x-form` of the schema names, each with its check.
//!
//! In: the name of a form and a text. Out: nothing, or what is wrong with the text.

use super::check::read_int;
use super::formats::{self, Wrong};
use super::problem::Code;
use super::yaml;

/// The least size of VAR: RKE2 and its images fit into that.
pub const LEAST_VAR: u64 = 20 << 30;
/// The least size that a rule can ask of a disk.
const LEAST_DISK: u64 = 1 << 30;

/// What is wrong with a text, as one form sees it.
pub type Form = fn(&str) -> Result<(), Wrong>;

/// Every form that the schema may name.
pub const FORMS: [(&str, Form); 52] = [
    ("chart-name", formats::chart_name),
    ("config-url", config_url),
    ("console", |text| formats::console(text).map(drop)),
    ("cpu", |text| formats::reserved_cpu(text).map(drop)),
    ("cron", formats::cron),
    ("device-name", formats::device_name),
    ("disk", |text| formats::disk_path(text).map(drop)),
    ("disk-size", |text| {
        formats::size(text, LEAST_DISK).map(drop)
    }),
    ("domain", formats::domain),
    ("encoding", formats::encoding),
    ("file-path", |text| formats::file_path(text).map(drop)),
    ("host", formats::host),
    ("host-name-template", formats::hostname_template),
    ("http-method", |text| {
        formats::webhook_method(text).map(drop)
    }),
    ("interface", |text| formats::interface_name(text).map(drop)),
    ("ipv4", |text| formats::ipv4(text).map(drop)),
    ("ipv4-network", |text| formats::ipv4_cidr(text).map(drop)),
    ("ipv6", |text| formats::ipv6(text).map(drop)),
    ("ipv6-prefix", |text| formats::ipv6_prefix(text).map(drop)),
    ("kernel-arguments", formats::kernel_arguments),
    ("mac", |text| formats::mac(text).map(drop)),
    ("mask", |text| formats::subnet_mask(text).map(drop)),
    ("memory", |text| formats::reserved_memory(text).map(drop)),
    ("mirror-url", formats::mirror_url),
    ("model-pattern", |text| {
        formats::model_pattern(text).map(drop)
    }),
    ("module", formats::kernel_module),
    ("mtu", |text| formats::mtu(number(text)).map(drop)),
    ("multipath-pattern", |text| {
        formats::multipath_pattern(text).map(drop)
    }),
    ("nameserver", |text| formats::nameserver(text).map(drop)),
    ("node-ipv4", |text| formats::node_ipv4(text).map(drop)),
    ("ntp-server", formats::ntp_server),
    ("object-name", formats::object_name),
    ("owner", |text| formats::owner(text).map(drop)),
    ("password", formats::password),
    ("pci-id", formats::pci_id),
    ("pem", formats::certificates),
    ("permissions", |text| formats::permissions(text).map(drop)),
    ("persistent-path", |text| {
        formats::persistent_path(text).map(drop)
    }),
    ("pool", |text| formats::pool(text).map(drop)),
    ("serial", |text| formats::disk_serial(text).map(drop)),
    ("server-url", |text| formats::server_url(text).map(drop)),
    ("slot", formats::slot),
    ("sriov-device", formats::sriov_device),
    ("ssh-key", |text| formats::key_source(text).map(drop)),
    ("taint", |text| formats::taint(text).map(drop)),
    ("token", formats::token),
    ("url", |text| formats::http_url(text).map(drop)),
    ("url-template", formats::url_template),
    ("var-size", |text| formats::size(text, LEAST_VAR).map(drop)),
    ("vlan-id", |text| formats::vlan_id(number(text)).map(drop)),
    ("wwn", |text| formats::disk_wwn(text).map(drop)),
    ("yaml", values),
];

/// What is wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind of problem.
    pub code: Code,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub hint: String,
}

/// Checks a text of a form; the schema names no others than these.
pub fn check(form: &str, text: &str) -> Result<(), Finding> {
    let known = FORMS.iter().find(|(name, _)| *name == form);
    let Some((_, check)) = known else {
        return Ok(());
    };
    check(text).map_err(|wrong| Finding {
        code: match form {
            "mtu" | "vlan-id" => Code::OutOfRange,
            "config-url" if is_of_other_scheme(text) => Code::UrlScheme,
            _ => Code::BadValue,
        },
        message: wrong.message,
        hint: wrong.hint,
    })
}

/// A whole number; what is none is out of every range.
fn number(text: &str) -> i64 {
    read_int(text).unwrap_or(i64::MIN)
}

/// A URL that a config can be fetched from, or a path on the medium.
fn config_url(text: &str) -> Result<(), Wrong> {
    match text.contains("://") {
        true => formats::http_url(text).map(drop),
        false => formats::medium_path(text).map(drop),
    }
}

fn is_of_other_scheme(url: &str) -> bool {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|s| !["http", "https"].contains(&s.to_ascii_lowercase().as_str()))
}

/// Values of a chart: YAML, and a map.
fn values(text: &str) -> Result<(), Wrong> {
    if text.trim().is_empty() {
        return Ok(());
    }
    let (_, problems) = yaml::parse(text.as_bytes(), &"values".into());
    match problems.first() {
        None => Ok(()),
        Some(problem) => {
            let line = problem.at.as_ref().map_or(0, |m| m.line);
            formats::wrong(
                format!("line {line} of the value: {}", problem.message),
                "a map in YAML",
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_and_bad_texts() {
        for (form, good, wrong) in [
            ("mirror-url", "oci://a.example:5000/x", "oci://u:p@a"),
            ("mirror-url", "https://a.example/x", "a.example/x"),
            ("mirror-url", "oci+http://10.0.0.1", "oci://"),
            ("url", "https://a.example:443/x", "ftp://a"),
            ("url", "http://[fd00::1]:80", "https://"),
            ("config-url", "http://a/x.yaml", "tftp://a/x"),
            ("config-url", "/configs/x.yaml", "ftp://x"),
            ("config-url", "/x..y.yaml", "configs/x.yaml"),
            ("config-url", "https://a/", "/../etc/x"),
            ("config-url", "http://a", "/"),
            ("disk", "/dev/sda", "sda"),
            ("disk-size", "400G", "400"),
            ("ipv4-network", "10.52.0.0/16", "fd00::/56"),
            ("nameserver", "10.0.0.2", "127.0.0.53"),
            ("disk", "/dev/disk/by-id/x", "/dev/sda1"),
            ("encoding", "gz+b64", "rot13"),
            ("cron", "0 */12 * * *", "daily"),
            ("pci-id", "10de:1eb8", "10de"),
            ("ssh-key", "github:some-body", "github:"),
            ("taint", "a=b:NoExecute", "a=b:Never"),
            ("yaml", "a: 1", "a: ["),
            ("http-method", "PUT", "put it"),
            (
                "pem",
                "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----",
                "x",
            ),
            ("server-url", "https://10.0.0.5", "http://10.0.0.5"),
            ("memory", "512Mi", "1x"),
            ("mtu", "576", "575"),
            ("mtu", "0", "9001"),
            ("vlan-id", "4094", "4095"),
        ] {
            assert_eq!(check(form, good), Ok(()), "{form} {good}");
            assert!(check(form, wrong).is_err(), "{form} {wrong}");
        }
        assert_eq!(
            check("config-url", "tftp://a/x").unwrap_err().code,
            Code::UrlScheme
        );
    }
}
