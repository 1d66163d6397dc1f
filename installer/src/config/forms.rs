//! The forms of texts: what `x-form` of the schema names, each with its check.
//!
//! In: the name of a form and a text. Out: nothing, or what is wrong with the text.

use super::problem::Code;
use super::rules::{self, Wrong};
use super::{network, yaml};

/// Every form that the schema may name.
#[cfg(test)]
pub const NAMES: [&str; 33] = [
    "address",
    "cidr",
    "config-url",
    "console",
    "cpu",
    "cron",
    "device",
    "encoding",
    "file-path",
    "host",
    "host-name",
    "http-method",
    "interface",
    "ipv4",
    "ipv6",
    "ipv6-prefix",
    "kernel-arguments",
    "mac",
    "mask",
    "module",
    "owner",
    "password",
    "pci-id",
    "pem",
    "permissions",
    "persistent-path",
    "pool",
    "size",
    "ssh-key",
    "taint",
    "url",
    "var-size",
    "yaml",
];

/// The least size of VAR: RKE2 and its images fit into that.
const LEAST_VAR: u64 = 20 << 30;

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

fn bad(message: impl Into<String>, hint: impl Into<String>) -> Result<(), Wrong> {
    Err(Wrong {
        message: message.into(),
        hint: hint.into(),
    })
}

/// Checks a text of a form.
pub fn check(form: &str, text: &str) -> Result<(), Finding> {
    if form == "config-url" {
        return config_url(text);
    }
    let result = match form {
        "address" => rules::address(text).map(drop),
        "cidr" => network::Cidr::parse(text).map(drop),
        "console" => rules::console(text).map(drop),
        "cpu" => network::millicpu(text).map(drop),
        "cron" => cron(text),
        "device" => device(text),
        "encoding" => encoding(text),
        "file-path" => rules::file_path(text).map(drop),
        "host" => rules::host(text),
        "host-name" => rules::hostname(text),
        "http-method" => http_method(text),
        "interface" => rules::interface_name(text).map(drop),
        "ipv4" => rules::ipv4(text).map(drop),
        "ipv6" => network::ipv6(text).map(drop),
        "ipv6-prefix" => network::ipv6_prefix(text).map(drop),
        "kernel-arguments" => rules::kernel_arguments(text),
        "mac" => rules::mac(text).map(drop),
        "mask" => network::mask(text).map(drop),
        "module" => rules::kernel_module(text),
        "owner" => rules::owner(text).map(drop),
        "password" => rules::password(text),
        "pci-id" => pci_id(text),
        "pem" => pem(text),
        "permissions" => rules::permissions(text).map(drop),
        "persistent-path" => rules::persistent_path(text).map(drop),
        "pool" => network::pool(text).map(drop),
        "size" => rules::size(text, 1).map(drop),
        "ssh-key" => ssh_key(text),
        "taint" => taint(text),
        "url" => url(text),
        "var-size" => rules::size(text, LEAST_VAR).map(drop),
        "yaml" => values(text),
        _ => Ok(()),
    };
    result.map_err(|wrong| Finding {
        code: Code::BadValue,
        message: wrong.message,
        hint: wrong.hint,
    })
}

/// A URL that a config can be fetched from.
fn config_url(text: &str) -> Result<(), Finding> {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    let finding = |code, message: String, hint: &str| {
        Err(Finding {
            code,
            message,
            hint: hint.to_owned(),
        })
    };
    match scheme {
        Some("http" | "https") => {
            url(text).or_else(|w| finding(Code::BadValue, w.message, &w.hint))
        }
        Some("tftp") => finding(
            Code::UrlScheme,
            "tftp can't be used: it has no integrity and no length".into(),
            "serve the config over https, or http in a trusted network",
        ),
        Some(other) => finding(
            Code::UrlScheme,
            format!("{other}:// can't be used"),
            "https:// or http://",
        ),
        // A path on the medium.
        None => Ok(()),
    }
}

fn url(text: &str) -> Result<(), Wrong> {
    const HINT: &str = "such as https://10.0.0.5:443";
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let Some(rest) = rest else {
        return bad("not a URL of http or https", HINT);
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) || host.is_empty() {
        return bad("not a URL of http or https", HINT);
    }
    Ok(())
}

fn device(text: &str) -> Result<(), Wrong> {
    if text.starts_with('/') && !text.contains(['\n', '\0']) {
        return Ok(());
    }
    bad(
        format!("{text:?} is not the path of a disk"),
        "such as /dev/disk/by-id/..., or a rule such as {min_size: 400G}",
    )
}

fn encoding(text: &str) -> Result<(), Wrong> {
    let known = [
        "",
        "text/plain",
        "b64",
        "base64",
        "gz",
        "gzip",
        "gz+b64",
        "gz+base64",
        "gzip+b64",
        "gzip+base64",
    ];
    if known.contains(&text) {
        return Ok(());
    }
    bad(
        format!("encoding {text:?} is not known"),
        "nothing, b64, gz or gz+b64",
    )
}

fn http_method(text: &str) -> Result<(), Wrong> {
    if ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"].contains(&text) {
        return Ok(());
    }
    bad(format!("{text:?} is not an HTTP method"), "such as POST")
}

fn cron(text: &str) -> Result<(), Wrong> {
    let good = |c: char| c.is_ascii_alphanumeric() || "*/,-".contains(c);
    let fields: Vec<&str> = text.split_whitespace().collect();
    if fields.len() == 5 && fields.iter().all(|f| f.chars().all(good)) {
        return Ok(());
    }
    bad(
        format!("{text:?} is not a schedule"),
        "five fields as for cron, such as 0 */12 * * *",
    )
}

fn pci_id(text: &str) -> Result<(), Wrong> {
    let good = |part: &str| part.len() == 4 && part.bytes().all(|b| b.is_ascii_hexdigit());
    if text
        .split_once(':')
        .is_some_and(|(a, b)| good(a) && good(b))
    {
        return Ok(());
    }
    bad(
        format!("{text:?} is not a PCI id"),
        "vendor:device in hexadecimal, such as 10de:1eb8",
    )
}

fn pem(text: &str) -> Result<(), Wrong> {
    let text = text.trim();
    if text.starts_with("-----BEGIN CERTIFICATE-----")
        && text.ends_with("-----END CERTIFICATE-----")
    {
        return Ok(());
    }
    bad(
        "not a certificate in PEM",
        "from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----",
    )
}

/// A key, or the name of somebody whose keys GitHub has.
fn ssh_key(text: &str) -> Result<(), Wrong> {
    match text.strip_prefix("github:") {
        None => rules::ssh_key(text),
        Some(user) => {
            let good = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
            if !user.is_empty() && user.len() <= 39 && user.bytes().all(good) {
                return Ok(());
            }
            bad(format!("{user:?} is not a user of GitHub"), "github:USER")
        }
    }
}

fn taint(text: &str) -> Result<(), Wrong> {
    let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
    match text.rsplit_once(':') {
        Some((key, effect)) if !key.is_empty() && effects.contains(&effect) => Ok(()),
        _ => bad(
            format!("{text:?} is not a taint"),
            "key=value:NoSchedule, :PreferNoSchedule or :NoExecute",
        ),
    }
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
            bad(
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
            ("url", "https://a.example:443/x", "ftp://a"),
            ("url", "http://[fd00::1]:80", "https://"),
            ("config-url", "http://a/x.yaml", "tftp://a/x"),
            ("config-url", "configs/x.yaml", "ftp://x"),
            ("device", "/dev/sda", "sda"),
            ("encoding", "gz+b64", "rot13"),
            ("cron", "0 */12 * * *", "daily"),
            ("pci-id", "10de:1eb8", "10de"),
            ("ssh-key", "github:some-body", "github:"),
            ("taint", "a=b:NoExecute", "a=b:Never"),
            ("yaml", "a: 1", "a: ["),
            ("http-method", "PUT", "put it"),
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
