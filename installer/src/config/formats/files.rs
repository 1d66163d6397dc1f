//! Files of the node: paths, contents, modes, owners.

use base64::Engine as _;

use super::{Wrong, gunzip, quoted, wrong};

/// The longest path (`PATH_MAX` without the closing zero).
const PATH_LIMIT: usize = 4095;

/// An absolute path without tricks.
fn absolute(text: &str) -> Result<String, Wrong> {
    let tricky = |part: &str| part == "." || part == ".." || part.len() > 255;
    let control = text.chars().any(char::is_control);
    if !text.starts_with('/') || control || text.len() > PATH_LIMIT || text.split('/').any(tricky) {
        return wrong(
            format!("{} is not an absolute path", quoted(text)),
            "begins with / and has no . or .. in it",
        );
    }
    Ok(text.to_owned())
}

/// Folders that the kernel makes, or that are gone after a reboot.
const VOLATILE: [&str; 5] = ["tmp", "proc", "sys", "dev", "run"];

/// A file of `os.write_files`.
pub fn file_path(text: &str) -> Result<String, Wrong> {
    if text.ends_with('/') {
        return wrong(
            format!("{} is a folder", quoted(text)),
            "the full path of the file",
        );
    }
    let path = absolute(text)?;
    let top = path.split('/').nth(1).unwrap_or_default();
    if ["proc", "sys", "dev"].contains(&top) {
        return wrong(
            format!("{} is made by the kernel", quoted(text)),
            "os.sysctls and os.modules set what the kernel does",
        );
    }
    Ok(path)
}

/// A folder of `os.persistent_state_paths`.
pub fn persistent_path(text: &str) -> Result<String, Wrong> {
    let path = absolute(text)?;
    let top = path
        .split('/')
        .find(|part| !part.is_empty())
        .unwrap_or_default();
    let image = ["", "usr", "boot", "bin", "sbin", "lib", "lib64"];
    let whole = path.trim_end_matches('/') == "/etc";
    if (image.contains(&top) || VOLATILE.contains(&top) || whole)
        && !path.starts_with("/usr/local/")
    {
        return wrong(
            format!("{} can't be kept", quoted(&path)),
            "a folder under /etc, /home, /opt, /root, /srv, /usr/local or /var",
        );
    }
    Ok(path)
}

/// How the content of a file is packed.
enum Packing {
    Plain,
    Base64,
    Gzip,
    GzipBase64,
}

/// `b64`, `gz`, `gz+b64` or nothing, with cloud-init's other names for them.
fn packing(text: &str) -> Result<Packing, Wrong> {
    match text {
        "" | "text/plain" => Ok(Packing::Plain),
        "b64" | "base64" => Ok(Packing::Base64),
        "gz" | "gzip" => Ok(Packing::Gzip),
        "gz+b64" | "gz+base64" | "gzip+b64" | "gzip+base64" => Ok(Packing::GzipBase64),
        other => wrong(
            format!("encoding {} is not known", quoted(other)),
            "nothing, b64, gz or gz+b64",
        ),
    }
}

/// The bytes of a file of `os.write_files`. Unpacked sizes are limited as by [`gunzip`].
pub fn decode(encoding: &str, content: &str) -> Result<Vec<u8>, Wrong> {
    match packing(encoding)? {
        Packing::Plain => Ok(content.as_bytes().to_vec()),
        Packing::Base64 => from_base64(content),
        Packing::Gzip => gunzip(&one_byte_each(content)?),
        Packing::GzipBase64 => gunzip(&from_base64(content)?).map_err(|fault| Wrong {
            hint: "the output of `gzip -c FILE | base64`".into(),
            ..fault
        }),
    }
}

/// The name of an encoding that [`decode`] knows.
pub fn encoding(text: &str) -> Result<(), Wrong> {
    packing(text).map(drop)
}

fn from_base64(content: &str) -> Result<Vec<u8>, Wrong> {
    let packed: String = content.split_whitespace().collect();
    base64::engine::general_purpose::STANDARD
        .decode(packed)
        .or_else(|e| wrong(format!("not base64: {e}"), "the output of `base64 FILE`"))
}

/// YAML holds bytes as escapes ("\x1f\x8b"), so each character stands for one byte.
fn one_byte_each(content: &str) -> Result<Vec<u8>, Wrong> {
    let bytes: Result<Vec<u8>, _> = content.chars().map(u8::try_from).collect();
    bytes.or_else(|_| {
        wrong(
            "not gzip: it has characters that are no bytes",
            "encoding: gz+b64, with the output of `gzip -c FILE | base64`",
        )
    })
}

/// Octal permissions; 0644 when empty.
pub fn permissions(text: &str) -> Result<u32, Wrong> {
    if text.is_empty() {
        return Ok(0o644);
    }
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let octal = digits.len() <= 5 && digits.bytes().all(|b| (b'0'..=b'7').contains(&b));
    match u32::from_str_radix(digits, 8) {
        Ok(mode) if octal && mode <= 0o7777 => Ok(mode),
        _ => wrong(
            format!("{} is not an octal mode", quoted(text)),
            "such as \"0644\"",
        ),
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
        super::made_of(name, 32, |b| {
            b.is_ascii_alphanumeric() || b"_-.".contains(&b)
        }) && !name.starts_with('-')
    };
    if !good(user) || !good(group) {
        return wrong(
            format!("{} is not an owner", quoted(text)),
            "user or user:group",
        );
    }
    Ok((user.to_owned(), group.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        assert!(file_path("/etc/motd").is_ok());
        let long = format!("/{}", "x".repeat(256));
        for bad in [
            "etc/motd",
            "/etc/../shadow",
            "/etc/",
            "",
            "/a\nb",
            "/proc/1",
            "/./x",
            &long,
        ] {
            assert!(file_path(bad).is_err(), "{bad}");
        }
        for good in ["/etc/foo", "/usr/local/bin", "/var/x", "/opt"] {
            assert!(persistent_path(good).is_ok(), "{good}");
        }
        for bad in [
            "/tmp", "/tmp/x", "/", "//", "/usr/bin", "/proc/1", "/etc", "/etc/", "//tmp", "x",
        ] {
            assert!(persistent_path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn modes_and_owners() {
        for (text, mode) in [
            ("", 0o644),
            ("0600", 0o600),
            ("7777", 0o7777),
            ("0o755", 0o755),
        ] {
            assert_eq!(permissions(text), Ok(mode), "{text}");
        }
        for bad in ["9", "77777", "+644", "-1", "0x1", "0o", "u=rw", " 644"] {
            assert!(permissions(bad).is_err(), "{bad}");
        }
        assert_eq!(owner(""), Ok(("root".into(), "root".into())));
        assert_eq!(owner("a:b"), Ok(("a".into(), "b".into())));
        assert_eq!(owner("1000:1000"), Ok(("1000".into(), "1000".into())));
        for bad in ["a b", ":", "a:", ":b", "-a", "a:b:c", "a/b"] {
            assert!(owner(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn encodings() {
        // `printf harrow | gzip -n9 | base64`
        const PACKED: &str = "H4sIAAAAAAACA8tILCrKLwcAtzVwSwYAAAA=";
        let whole = "b64 base64";
        for encoding in whole.split(' ') {
            assert_eq!(decode(encoding, "aGFy\ncm93"), Ok(b"harrow".to_vec()));
            assert!(decode(encoding, "aGFy!").is_err());
        }
        assert_eq!(decode("", "ä"), Ok("ä".as_bytes().to_vec()));
        let packed = super::super::gunzip(&from_base64(PACKED).unwrap());
        assert_eq!(packed, Ok(b"harrow".to_vec()));
        for encoding in ["gz+b64", "gzip+base64", "gz+base64", "gzip+b64"] {
            assert_eq!(
                decode(encoding, PACKED),
                Ok(b"harrow".to_vec()),
                "{encoding}"
            );
        }
        let escaped: String = from_base64(PACKED)
            .unwrap()
            .into_iter()
            .map(char::from)
            .collect();
        assert_eq!(decode("gz", &escaped), Ok(b"harrow".to_vec()));
        assert!(decode("gzip", PACKED).is_err());
        assert!(decode("gzip", "€").is_err());
        assert!(decode("rot13", "x").is_err());
    }
}
