//! One function for each rule on a single value, without I/O.
//!
//! In: the text of a value. Out: the value in its own type, or what is [`Wrong`] with it.

use std::net::{IpAddr, Ipv4Addr};

use base64::Engine as _;

/// What is wrong with a value, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub hint: String,
}

fn wrong<T>(message: impl Into<String>, hint: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong {
        message: message.into(),
        hint: hint.into(),
    })
}

/// A host name: RFC 1123 labels joined by dots, 63 characters at most (Linux's limit is 64).
pub fn hostname(text: &str) -> Result<(), Wrong> {
    let label = |l: &str| {
        !l.is_empty()
            && l.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    if text.len() > 63 || !text.split('.').all(label) {
        return wrong(
            format!("{text:?} is not a host name"),
            "at most 63 lower-case letters, digits, '-' and '.', such as node-1",
        );
    }
    Ok(())
}

/// A password in clear or hashed; nothing that would break /etc/shadow.
pub fn password(text: &str) -> Result<(), Wrong> {
    if text.is_empty() || text.contains([':', '\n', '\0']) {
        return wrong(
            "empty, or with a colon or line break",
            "a password or a crypt(3) hash that begins with $5$, $6$ or $y$",
        );
    }
    Ok(())
}

/// Whether a password is a crypt(3) hash already.
pub fn is_hashed(password: &str) -> bool {
    ["$1$", "$5$", "$6$", "$y$", "$2a$", "$2b$"]
        .iter()
        .any(|prefix| password.starts_with(prefix))
}

/// An OpenSSH public key: its type, and base64 that names the same type inside (RFC 4253, 6.6).
pub fn ssh_key(text: &str) -> Result<(), Wrong> {
    const HINT: &str = "one line as in a .pub file, such as: ssh-ed25519 AAAAC3... name@host";
    let mut words = text.split_whitespace();
    let (Some(kind), Some(body)) = (words.next(), words.next()) else {
        return wrong("not an OpenSSH public key", HINT);
    };
    let Ok(bytes) = base64::engine::general_purpose::STANDARD.decode(body) else {
        return wrong("the key's base64 part is damaged", HINT);
    };
    let named = bytes
        .first_chunk::<4>()
        .map(|length| u32::from_be_bytes(*length) as usize)
        .and_then(|length| bytes.get(4..4usize.checked_add(length)?));
    if text.trim().contains('\n') || named != Some(kind.as_bytes()) {
        return wrong(format!("not a key of type {kind}"), HINT);
    }
    Ok(())
}

/// An IPv4 or IPv6 address.
pub fn address(text: &str) -> Result<IpAddr, Wrong> {
    text.trim().parse().or_else(|_| {
        wrong(
            format!("{text:?} is not an IP address"),
            "such as 10.0.0.1 or fd00::1",
        )
    })
}

/// An IPv4 address.
pub fn ipv4(text: &str) -> Result<Ipv4Addr, Wrong> {
    text.trim().parse().or_else(|_| {
        wrong(
            format!("{text:?} is not an IPv4 address"),
            "such as 10.0.0.1",
        )
    })
}

/// The prefix length of a network mask.
pub fn prefix(mask: Ipv4Addr) -> Result<u8, Wrong> {
    let bits = u32::from(mask);
    if bits == 0 || bits.leading_ones() != bits.count_ones() {
        return wrong(
            format!("{mask} is not a network mask"),
            "such as 255.255.255.0",
        );
    }
    Ok(u8::try_from(bits.count_ones()).unwrap_or(32))
}

/// A gateway must be another address of the same network.
pub fn gateway(address: Ipv4Addr, mask: Ipv4Addr, gateway: Ipv4Addr) -> Result<(), Wrong> {
    let network = |a: Ipv4Addr| u32::from(a) & u32::from(mask);
    if network(address) != network(gateway) {
        return wrong(
            format!("{gateway} is not in the network of {address} with mask {mask}"),
            "the gateway must be reachable without a route",
        );
    }
    if address == gateway {
        return wrong(
            format!("{gateway} is the node's own address"),
            "the router's address",
        );
    }
    Ok(())
}

/// A host: an address or a DNS name.
pub fn host(text: &str) -> Result<(), Wrong> {
    if text.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    let lower = text.to_ascii_lowercase();
    hostname(&lower).or_else(|_| {
        wrong(
            format!("{text:?} is not a host"),
            "a DNS name or an IP address",
        )
    })
}

/// A kernel module's name.
pub fn kernel_module(text: &str) -> Result<(), Wrong> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if text.is_empty() || !text.bytes().all(good) {
        return wrong(
            format!("{text:?} is not a module name"),
            "letters, digits, '_' and '-'",
        );
    }
    Ok(())
}

/// A sysctl key and value.
pub fn sysctl(key: &str, value: &str) -> Result<(), Wrong> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"._-/:@".contains(&b);
    if key.is_empty() || key.contains("..") || key.starts_with(['.', '/']) || !key.bytes().all(good)
    {
        return wrong(
            format!("{key:?} is not a sysctl"),
            "such as net.ipv4.ip_forward",
        );
    }
    if value.contains(['\n', '\0']) || value.is_empty() {
        return wrong("the value is empty or has several lines", "one line");
    }
    Ok(())
}

/// An absolute path without tricks.
fn absolute(text: &str) -> Result<String, Wrong> {
    let tricky = |part: &str| part == "." || part == "..";
    if !text.starts_with('/') || text.contains(['\n', '\0']) || text.split('/').any(tricky) {
        return wrong(
            format!("{text:?} is not an absolute path"),
            "begins with / and has no . or .. in it",
        );
    }
    Ok(text.to_owned())
}

/// A file of `os.write_files`.
pub fn file_path(text: &str) -> Result<String, Wrong> {
    if text.ends_with('/') {
        return wrong(format!("{text:?} is a folder"), "the full path of the file");
    }
    absolute(text)
}

/// A folder of `os.persistent_state_paths`.
pub fn persistent_path(text: &str) -> Result<String, Wrong> {
    let path = absolute(text)?;
    let top = path.split('/').nth(1).unwrap_or_default();
    if [
        "", "tmp", "proc", "sys", "dev", "run", "usr", "boot", "bin", "sbin", "lib", "lib64",
    ]
    .contains(&top)
        && !path.starts_with("/usr/local/")
    {
        return wrong(
            format!("{path} can't be kept"),
            "a folder under /etc, /home, /opt, /root, /srv, /usr/local or /var",
        );
    }
    Ok(path)
}

/// The bytes of a file of `os.write_files`.
pub fn decode(encoding: &str, content: &str) -> Result<Vec<u8>, Wrong> {
    match encoding {
        "" | "text/plain" => Ok(content.as_bytes().to_vec()),
        "b64" | "base64" => {
            let packed: String = content.split_whitespace().collect();
            base64::engine::general_purpose::STANDARD
                .decode(packed)
                .or_else(|e| wrong(format!("not base64: {e}"), "the output of `base64 FILE`"))
        }
        other => wrong(
            format!("encoding {other:?} is not known"),
            "nothing, or b64",
        ),
    }
}

/// Octal permissions; 0644 when empty.
pub fn permissions(text: &str) -> Result<u32, Wrong> {
    if text.is_empty() {
        return Ok(0o644);
    }
    match u32::from_str_radix(text.trim_start_matches("0o"), 8) {
        Ok(mode) if mode <= 0o7777 => Ok(mode),
        _ => wrong(format!("{text:?} is not an octal mode"), "such as \"0644\""),
    }
}

/// `user` or `user:group`; `root:root` when empty.
pub fn owner(text: &str) -> Result<(String, String), Wrong> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, group),
        None if text.is_empty() => ("root", "root"),
        None => (text, text),
    };
    let good = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
            && !name.starts_with('-')
    };
    if !good(user) || !good(group) {
        return wrong(format!("{text:?} is not an owner"), "user or user:group");
    }
    Ok((user.to_owned(), group.to_owned()))
}

/// Arguments for the kernel: printable, one line, no quotes that would break grub.cfg.
pub fn kernel_arguments(text: &str) -> Result<(), Wrong> {
    let bad = |c: char| !(c.is_ascii_graphic() || c == ' ') || "'\"\\$;&|<>{}`#".contains(c);
    match text.chars().find(|c| bad(*c)) {
        Some(c) => wrong(
            format!("{c:?} can't be in a kernel argument"),
            "plain words such as intel_iommu=on",
        ),
        None => Ok(()),
    }
}

/// A console such as `ttyS0` or `ttyS1,115200n8`.
pub fn console(text: &str) -> Result<String, Wrong> {
    let (device, options) = text.split_once(',').unwrap_or((text, ""));
    let word = |t: &str| t.bytes().all(|b| b.is_ascii_alphanumeric());
    if !device.starts_with("tty") || !word(device) || !word(options) {
        return wrong(
            format!("{text:?} is not a console"),
            "such as tty1 or ttyS0,115200n8",
        );
    }
    Ok(text.to_owned())
}

/// A network interface's name (the kernel's own rule, dev_valid_name).
pub fn interface_name(text: &str) -> Result<String, Wrong> {
    let bad = |c: char| c == '/' || c == ':' || c.is_whitespace() || !c.is_ascii();
    if text.is_empty() || text.len() > 15 || text == "." || text == ".." || text.contains(bad) {
        return wrong(
            format!("{text:?} is not an interface name"),
            "name: ens3, or hwAddr: a MAC address",
        );
    }
    Ok(text.to_owned())
}

/// A MAC address, in lower case with colons.
pub fn mac(text: &str) -> Result<String, Wrong> {
    let lower = text.to_ascii_lowercase().replace('-', ":");
    let parts: Vec<&str> = lower.split(':').collect();
    let good = |p: &&str| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit());
    if parts.len() != 6 || !parts.iter().all(good) {
        return wrong(
            format!("{text:?} is not a MAC address"),
            "such as 52:54:00:12:34:56",
        );
    }
    Ok(lower)
}

/// A size with a binary (Ki, Mi, Gi, Ti) or decimal (K, M, G, T) unit, at least `least` bytes.
pub fn size(text: &str, least: u64) -> Result<u64, Wrong> {
    const HINT: &str = "a number with Mi, Gi or Ti, such as 150Gi";
    let digits = text
        .trim()
        .trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match &text.trim()[digits.len()..] {
        "" | "B" => 1,
        "K" | "KB" => 1000,
        "M" | "MB" => 1_000_000,
        "G" | "GB" => 1_000_000_000,
        "T" | "TB" => 1_000_000_000_000,
        "Ki" | "KiB" => 1 << 10,
        "Mi" | "MiB" => 1 << 20,
        "Gi" | "GiB" => 1 << 30,
        "Ti" | "TiB" => 1 << 40,
        unit => return wrong(format!("{unit:?} is not a unit of size"), HINT),
    };
    let bytes = digits
        .trim()
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(factor));
    match bytes {
        None => wrong(format!("{text:?} is not a size"), HINT),
        Some(bytes) if bytes < least => wrong(
            format!("{text} is too small"),
            format!("at least {} GiB", least >> 30),
        ),
        Some(bytes) => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names() {
        for good in ["node-1", "a", "n.example.org", "0"] {
            assert!(hostname(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "Node", "a..b", "a b", "ä", &"x".repeat(64)] {
            assert!(hostname(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ssh_keys_must_hold_what_they_say() {
        let good = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBtU7Kq3Y0mZ4c4o8m1uO9bq1n4E2iZJp0m7nYkq7Z9v me@here";
        assert!(ssh_key(good).is_ok());
        for bad in [
            "",
            "ssh-ed25519",
            "ssh-ed25519 !!!",
            &good.replace("ssh-ed25519", "ssh-rsa"),
            "ssh-rsa AAAA",
        ] {
            assert!(ssh_key(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("1", 1),
            ("2Ki", 2048),
            ("150Gi", 150 << 30),
            ("1T", 1_000_000_000_000),
            (" 4 MiB", 4 << 20),
        ] {
            assert_eq!(size(text, 0), Ok(bytes), "{text}");
        }
        for bad in ["", "Gi", "-1Gi", "1.5Gi", "1Xi", "99999999999Ti"] {
            assert!(size(bad, 0).is_err(), "{bad}");
        }
        assert!(size("1Gi", 2 << 30).is_err());
    }

    #[test]
    fn networks() {
        let ip = |t: &str| t.parse::<Ipv4Addr>().unwrap();
        assert_eq!(prefix(ip("255.255.255.0")), Ok(24));
        assert_eq!(prefix(ip("255.255.255.255")), Ok(32));
        assert!(prefix(ip("255.0.255.0")).is_err());
        assert!(prefix(ip("0.0.0.0")).is_err());
        let mask = ip("255.255.255.0");
        assert!(gateway(ip("10.0.0.2"), mask, ip("10.0.0.1")).is_ok());
        assert!(gateway(ip("10.0.0.2"), mask, ip("10.0.1.1")).is_err());
        assert!(gateway(ip("10.0.0.2"), mask, ip("10.0.0.2")).is_err());
        assert_eq!(mac("52-54-00-AB-cd-EF"), Ok("52:54:00:ab:cd:ef".into()));
        assert!(mac("52:54:00:ab:cd").is_err());
        assert!(interface_name("enp0s31f6").is_ok());
        assert!(interface_name("../../etc").is_err());
    }

    #[test]
    fn files_and_paths() {
        assert!(file_path("/etc/motd").is_ok());
        for bad in ["etc/motd", "/etc/../shadow", "/etc/", "", "/a\nb"] {
            assert!(file_path(bad).is_err(), "{bad}");
        }
        assert!(persistent_path("/etc/foo").is_ok());
        assert!(persistent_path("/usr/local/bin").is_ok());
        for bad in ["/tmp", "/tmp/x", "/", "/usr/bin", "/proc/1"] {
            assert!(persistent_path(bad).is_err(), "{bad}");
        }
        assert_eq!(permissions(""), Ok(0o644));
        assert_eq!(permissions("0600"), Ok(0o600));
        assert!(permissions("9").is_err());
        assert!(permissions("77777").is_err());
        assert_eq!(owner("a:b"), Ok(("a".into(), "b".into())));
        assert!(owner("a b").is_err());
        assert_eq!(decode("b64", "aGFy\ncm93"), Ok(b"harrow".to_vec()));
        assert!(decode("rot13", "x").is_err());
        assert!(kernel_arguments("intel_iommu=on a.b=c,d").is_ok());
        assert!(kernel_arguments("a;b").is_err());
        assert!(console("ttyS0,115200n8").is_ok());
        assert!(console("ttyS0 quiet").is_err());
    }
}
