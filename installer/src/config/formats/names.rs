//! Names: DNS labels, subdomains, host names, hosts.

use std::net::IpAddr;

use super::{Wrong, made_of, quoted, wrong};

/// Whether a text is a label of RFC 1123: lower-case letters, digits and inner dashes, 1 to 63.
fn is_label(text: &str) -> bool {
    made_of(text, 63, |b| {
        b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'
    }) && !text.starts_with('-')
        && !text.ends_with('-')
}

/// A DNS label of RFC 1123, as Kubernetes wants for names of namespaces.
pub fn dns_label(text: &str) -> Result<(), Wrong> {
    if is_label(text) {
        return Ok(());
    }
    wrong(
        format!("{} is not a DNS label", quoted(text)),
        "1 to 63 lower-case letters, digits and '-', not at the ends",
    )
}

/// A DNS subdomain of RFC 1123: labels joined by dots, 253 characters at most.
pub fn dns_subdomain(text: &str) -> Result<(), Wrong> {
    if text.len() <= 253 && text.split('.').all(is_label) {
        return Ok(());
    }
    wrong(
        format!("{} is not a DNS name", quoted(text)),
        "labels of lower-case letters, digits and '-' joined by '.', at most 253 characters",
    )
}

/// A host name: RFC 1123 labels joined by dots, 63 characters at most (Linux's limit is 64),
/// not one that reads as an address.
pub fn hostname(text: &str) -> Result<(), Wrong> {
    const HINT: &str = "at most 63 lower-case letters, digits, '-' and '.', such as node-1";
    if text.len() > 63 || !text.split('.').all(is_label) {
        // A slip in the case, with `_`, or with a dot at the end.
        let mended = text.trim().trim_matches('.').to_ascii_lowercase();
        let mended = mended.replace(['_', ' '], "-");
        let hint = if mended != text && hostname(&mended).is_ok() {
            format!("{mended}, for instance; {HINT}")
        } else {
            HINT.to_owned()
        };
        return wrong(format!("{} is not a host name", quoted(text)), hint);
    }
    if text == "localhost" || text.starts_with("localhost.") {
        return wrong(format!("{text:?} is the name of every machine"), HINT);
    }
    if text.parse::<IpAddr>().is_ok() {
        return wrong(format!("{text:?} is an address, not a name"), HINT);
    }
    Ok(())
}

/// A host: an address, or a DNS name in any case.
pub fn host(text: &str) -> Result<(), Wrong> {
    if text.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    // A last label of digits only is an IPv4 address with a mistake.
    let number = |l: &str| !l.is_empty() && l.bytes().all(|b| b.is_ascii_digit());
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if dns_subdomain(&name).is_err() || name.rsplit('.').next().is_some_and(number) {
        return wrong(
            format!("{} is not a host", quoted(text)),
            "a DNS name or an IP address",
        );
    }
    Ok(())
}

/// An NTP server: a host, without a scheme or port.
pub fn ntp_server(text: &str) -> Result<(), Wrong> {
    if text.contains("://") {
        return wrong(
            format!("{} is a URL", quoted(text)),
            "only the host, such as 0.pool.ntp.org",
        );
    }
    if let Some((name, port)) = text.rsplit_once(':')
        && host(name).is_ok()
        && port.bytes().all(|b| b.is_ascii_digit())
        && host(text).is_err()
    {
        return wrong(format!("{} has a port", quoted(text)), name);
    }
    host(text)
}

/// A domain in which names are looked up: a DNS name, no address.
pub fn domain(text: &str) -> Result<(), Wrong> {
    host(text)?;
    match text.parse::<IpAddr>() {
        Ok(_) => wrong(
            format!("{} is an address, not a domain", quoted(text)),
            "such as example.org; addresses of DNS servers go into os.dns_nameservers",
        ),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names() {
        let longest = "x".repeat(63);
        for good in ["node-1", "a", "n.example.org", "0", &longest] {
            assert!(hostname(good).is_ok(), "{good}");
        }
        let long = "x".repeat(64);
        for bad in [
            "",
            "-a",
            "a-",
            "Node",
            "a..b",
            "a b",
            "ä",
            &long,
            "10.0.0.1",
            "a.",
            ".a",
            "a_b",
            "localhost",
            "localhost.localdomain",
        ] {
            assert!(hostname(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn mended_names_are_offered() {
        let hint = |text| hostname(text).unwrap_err().hint;
        assert!(hint("Node_1").starts_with("node-1, "));
        assert!(hint("node1.").starts_with("node1, "));
        assert!(hint("ä").starts_with("at most"));
        assert_eq!(ntp_server("a.b:123").unwrap_err().hint, "a.b");
        assert!(domain("example.org").is_ok() && domain("10.0.0.1").is_err());
    }

    #[test]
    fn labels_and_subdomains() {
        let label = "x".repeat(63);
        let name = [&label[..], &label, &label, &label[..61]].join(".");
        assert_eq!(name.len(), 253);
        assert!(dns_subdomain(&name).is_ok());
        assert!(dns_subdomain(&format!("{name}x")).is_err());
        assert!(dns_subdomain(&format!("{label}x")).is_err());
        assert!(dns_label("a-b").is_ok());
        for bad in ["a.b", "A", "", "-"] {
            assert!(dns_label(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hosts() {
        for good in [
            "10.0.0.1",
            "fd00::1",
            "NTP.Example.org",
            "ntp",
            "a.b.",
            "0.pool.ntp.org",
        ] {
            assert!(ntp_server(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "10.0.0.256",
            "10.0.0",
            "a b",
            "http://x",
            "a:123",
            "..",
            "[fd00::1]",
        ] {
            assert!(ntp_server(bad).is_err(), "{bad}");
        }
    }
}
