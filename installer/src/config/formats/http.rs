//! URLs, and what is sent along with a request. URLs can hold secrets: messages show them
//! through [`masked_url`].

use std::fmt;
use std::net::IpAddr;
use std::path::{Component, Path};

use ureq::http::{HeaderName, HeaderValue, Uri};
use ureq::tls::{PemItem, parse_pem};

use super::{Wrong, host, made_of, one_of, quoted, wrong};

const URL_HINT: &str = "such as https://10.0.0.5/path";

/// A URL of HTTP, in parts.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpUrl {
    /// `https` rather than `http`.
    pub secure: bool,
    /// Name or address; an IPv6 address without brackets.
    pub host: String,
    /// Port, that of the scheme when none was said.
    pub port: u16,
    /// Whether a user or password is in it.
    pub credentials: bool,
    /// Path and query, at least `/`.
    pub path: String,
}

impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the query, where some put their tokens.
        let scheme = if self.secure { "https" } else { "http" };
        let path = self.path.split('?').next().unwrap_or_default();
        write!(f, "{scheme}://{}:{}{path}", self.host, self.port)
    }
}

/// A URL as it may be shown: without user, password, query and fragment.
pub fn masked_url(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    // A password can hold a slash by mistake, so everything before the last @ is hidden.
    let (place, path) = match rest.rfind('@') {
        Some(at) if at < end => (format!("***@{}", &rest[at + 1..end]), &rest[end..]),
        Some(at) if rest[..at].contains(':') => (format!("***@{}", &rest[at + 1..]), ""),
        _ => (rest[..end].to_owned(), &rest[end..]),
    };
    let mut shown = match scheme {
        "" => place,
        scheme => format!("{scheme}://{place}"),
    };
    shown.push_str(path);
    if let Some(query) = shown.find(['?', '#']) {
        shown.truncate(query + 1);
        shown.push('…');
    }
    shown
}

/// A text with every URL in it masked as by [`masked_url`].
pub fn mask_urls(text: &str) -> String {
    let ends = |c: char| c.is_whitespace() || "\"'<>".contains(c);
    let mask = |part: &str| {
        let word = part.trim_end_matches(ends);
        match word.contains("://") {
            true => masked_url(word) + &part[word.len()..],
            false => part.to_owned(),
        }
    };
    text.split_inclusive(ends).map(mask).collect()
}

/// A URL of http or https; other schemes are refused, each with its reason.
pub fn http_url(text: &str) -> Result<HttpUrl, Wrong> {
    let shown = quoted(&masked_url(text));
    let Some((scheme, _)) = text.split_once("://") else {
        return wrong(format!("{shown} is not a URL"), URL_HINT);
    };
    let secure = match scheme.to_ascii_lowercase().as_str() {
        "https" => true,
        "http" => false,
        "tftp" => {
            return wrong(
                format!("{shown}: TFTP can't be used, it neither notices damage nor keeps secrets"),
                "serve the file by HTTP; only the boot loader needs TFTP",
            );
        }
        "ftp" | "ftps" | "sftp" => {
            return wrong(
                format!("{shown}: {scheme} can't be used"),
                "serve the file by HTTP or HTTPS",
            );
        }
        "file" => {
            return wrong(
                format!("{shown}: a file is no URL here"),
                "give the file's path itself, without file://",
            );
        }
        _ => {
            return wrong(
                format!("{shown}: the scheme is not known"),
                "http:// or https://",
            );
        }
    };
    let Ok(uri) = text.parse::<Uri>() else {
        return wrong(format!("{shown} is not a URL"), URL_HINT);
    };
    let authority = uri.authority().map(|a| a.as_str()).unwrap_or_default();
    let name = uri.host().unwrap_or_default();
    let inner = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
    let good = match inner {
        Some(inner) => matches!(inner.parse(), Ok(IpAddr::V6(_))),
        None => host(name).is_ok() && !name.contains(':'),
    };
    // `http` leaves a port that is no number to the reader of the authority.
    let after = authority.rsplit('@').next().unwrap_or_default();
    let port_text = after.strip_prefix(name).unwrap_or_default();
    let port = match port_text.strip_prefix(':') {
        None if port_text.is_empty() => Some(if secure { 443 } else { 80 }),
        None => None,
        Some(digits) => digits.parse::<u16>().ok().filter(|port| *port > 0),
    };
    let (true, Some(port)) = (good, port) else {
        return wrong(format!("{shown} has no valid host or port"), URL_HINT);
    };
    Ok(HttpUrl {
        secure,
        host: inner.unwrap_or(name).to_owned(),
        port,
        credentials: authority.contains('@'),
        path: uri.path_and_query().map_or("/", |p| p.as_str()).to_owned(),
    })
}

/// A path on the medium instead of a URL, without its leading slash.
pub fn medium_path(text: &str) -> Result<&str, Wrong> {
    let Some(path) = text.strip_prefix('/') else {
        return wrong(
            "neither a URL nor a path on the medium, which begins with /",
            "http://... or https://..., or a path such as /node-1.yaml",
        );
    };
    let mut parts = Path::new(path).components();
    if path.is_empty() || !parts.all(|part| matches!(part, Component::Normal(_))) {
        return wrong(
            "not the path of a file on the medium",
            "such as /node-1.yaml, without ..",
        );
    }
    Ok(path)
}

/// Where a mirror of artifacts is: a URL, or a registry as `oci://HOST/PATH`.
pub fn mirror_url(text: &str) -> Result<(), Wrong> {
    let registry = text
        .strip_prefix("oci://")
        .or_else(|| text.strip_prefix("oci+http://"));
    let Some(rest) = registry else {
        return http_url(text).map(drop);
    };
    match http_url(&format!("https://{rest}")) {
        Ok(url) if url.credentials => wrong(
            "a registry with a password in its URL",
            "its credentials belong under containerd-registry, by its host",
        ),
        Ok(_) => Ok(()),
        Err(_) => wrong(
            format!("{} is no registry", quoted(&masked_url(text))),
            "such as oci://registry.example.org:5000/harrow",
        ),
    }
}

/// A URL in which `{{.Hostname}}` and `<version>` stand for what is not known yet.
pub fn url_template(text: &str) -> Result<(), Wrong> {
    http_url(&text.replace(['{', '}', '<', '>'], "-")).map(drop)
}

/// Whether a text for `server_url` may be a token of RKE2 instead, such as `K10...::server:...`.
pub fn may_be_token(text: &str) -> bool {
    // An address of IPv6 is in brackets.
    text.contains("::") && !text.contains("://[")
}

/// `server_url`: the cluster to join, `https://HOST:PORT`; port 443 when none is said.
pub fn server_url(text: &str) -> Result<HttpUrl, Wrong> {
    const HINT: &str = "the cluster's VIP, such as https://10.0.0.5:443";
    if may_be_token(text) {
        return wrong(
            "not a URL, and not shown, since it looks like a token",
            HINT,
        );
    }
    if !text.contains("://") {
        let (name, port) = text.split_once(':').unwrap_or((text, "443"));
        if host(name).is_err() || port.parse::<u16>().is_err() {
            return wrong("not a URL", HINT);
        }
        return wrong(
            format!("{} lacks https://", quoted(text)),
            format!("https://{text}"),
        );
    }
    let url = http_url(text)?;
    let shown = quoted(&masked_url(text));
    if !url.secure {
        return wrong(format!("{shown} is not https"), HINT);
    }
    if url.credentials {
        return wrong(
            format!("{shown} has a user in it"),
            "the secret goes into token",
        );
    }
    if url.path != "/" {
        return wrong(format!("{shown} has a path"), HINT);
    }
    Ok(url)
}

/// A header of a request. The message names the header, never its value.
pub fn http_header(name: &str, value: &str) -> Result<(), Wrong> {
    if HeaderName::from_bytes(name.as_bytes()).is_err() {
        // Not quoted: it may be a whole header.
        return wrong(
            "a key that is not the name of a header",
            "such as Authorization: 'Bearer ...'",
        );
    }
    if HeaderValue::from_str(value).is_err() {
        return wrong(
            format!("the value of the header {name} has a line break or control character"),
            "one line of plain text",
        );
    }
    Ok(())
}

/// One certificate or more, in PEM.
pub fn certificates(text: &str) -> Result<(), Wrong> {
    const HINT: &str = "from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----";
    if text.contains("PRIVATE KEY-----") {
        // Not quoted: it is a secret.
        return wrong("this holds a private key", "only the certificate");
    }
    let mut found = 0;
    for item in parse_pem(text.as_bytes()) {
        match item {
            Ok(PemItem::Certificate(_)) => found += 1,
            Ok(_) => {}
            Err(_) => return wrong("a certificate in PEM that is damaged", HINT),
        }
    }
    match found {
        0 if text.starts_with('/') => wrong(
            "a path, not a certificate",
            "what is in the file, as a text of several lines after `|`",
        ),
        0 => wrong("not a certificate in PEM", HINT),
        _ => Ok(()),
    }
}

/// Methods of a webhook.
pub const WEBHOOK_METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

/// The method of a webhook, in any case.
pub fn webhook_method(text: &str) -> Result<&'static str, Wrong> {
    one_of(&upper(text), "a method of HTTP", &WEBHOOK_METHODS)
}

fn upper(text: &str) -> String {
    match made_of(text, 16, |b| b.is_ascii_alphabetic()) {
        true => text.to_ascii_uppercase(),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_in_parts() {
        for (text, host, port, path) in [
            ("http://a", "a", 80, "/"),
            ("https://a/b?c=d", "a", 443, "/b?c=d"),
            ("HTTP://10.0.0.1:8080/x", "10.0.0.1", 8080, "/x"),
            ("https://[fd00::1]:6443", "fd00::1", 6443, "/"),
            ("https://u:p@h.example/", "h.example", 443, "/"),
            ("http://a:65535/#f", "a", 65535, "/"),
        ] {
            let url = http_url(text).unwrap();
            assert_eq!(
                (&url.host[..], url.port, &url.path[..]),
                (host, port, path),
                "{text}"
            );
            assert_eq!(url.credentials, text.contains('@'));
        }
        for bad in [
            "",
            "a",
            "http:/a",
            "http://",
            "http:///x",
            "http://a b/",
            "http://a:0/",
            "http://a:65536",
            "http://a:x",
            "http://[10.0.0.1]",
            "http://[fd00::1",
            "http://10.0.0.256/",
            "http://a_b/",
            "http://u@",
            "gopher://a",
            "tftp://a/b",
            "ftp://a/b",
            "file:///etc/x",
            "http://fd00::1/",
        ] {
            assert!(http_url(bad).is_err(), "{bad}");
        }
        assert!(!format!("{:?}", http_url("http://u:hunter2@a/?hunter2")).contains("hunter2"));
        assert!(http_url("tftp://a/b").unwrap_err().message.contains("TFTP"));
        assert!(http_url("file:///x").unwrap_err().hint.contains("path"));
    }

    #[test]
    fn templates_are_urls() {
        assert!(url_template("https://a/{{.Hostname}}?x=<version>").is_ok());
        assert!(url_template("ftp://a/{{.Hostname}}").is_err());
        assert!(url_template("https://{{.Hostname}}/").is_err());
    }

    #[test]
    fn secrets_of_urls_are_masked() {
        for (text, shown) in [
            ("http://a/b", "http://a/b"),
            ("http://user:hunter2@a/b", "http://***@a/b"),
            ("http://a/b?token=hunter2", "http://a/b?…"),
            ("http://a/b#hunter2", "http://a/b#…"),
            ("http://user:hun/ter2@a/b", "http://***@a/b"),
            ("user:hunter2@a", "***@a"),
            ("http://a/@b", "http://a/@b"),
            ("http://u@x@a", "http://***@a"),
        ] {
            assert_eq!(masked_url(text), shown, "{text}");
        }
        for (text, shown) in [
            ("https://u:p@h/x?y", "https://***@h/x?…"),
            (
                "a \"https://h:1/\" b http://u@h",
                "a \"https://h:1/\" b http://***@h",
            ),
            ("me@here: x?", "me@here: x?"),
            ("", ""),
        ] {
            assert_eq!(mask_urls(text), shown, "{text}");
        }
        for bad in [
            "tftp://u:hunter2@a/",
            "http://u:hunter2@a:x/",
            "https://a/?hunter2 x",
            "x:hunter2@y",
        ] {
            let wrong = http_url(bad).unwrap_err();
            assert!(!wrong.message.contains("hunter2"), "{wrong:?}");
        }
    }

    #[test]
    fn servers_and_proxies() {
        assert_eq!(server_url("https://10.0.0.5").unwrap().port, 443);
        assert_eq!(
            server_url("https://vip.example.org:9345/").unwrap().port,
            9345
        );
        assert_eq!(
            server_url("10.0.0.5:443").unwrap_err().hint,
            "https://10.0.0.5:443"
        );
        for bad in [
            "http://10.0.0.5",
            "https://a/v1",
            "https://u:p@a",
            "K10abc::server:hunter2",
            "https://K10abc::server:hunter2",
            "a:hunter2",
            "https://a/?x",
            "",
        ] {
            let wrong = server_url(bad).unwrap_err();
            assert!(!format!("{wrong:?}").contains("hunter2"), "{wrong:?}");
        }
    }

    #[test]
    fn headers_and_webhooks() {
        assert!(http_header("X-Token", "a b").is_ok());
        let wrong = http_header("X-Token: hunter2", "").unwrap_err();
        assert!(!wrong.message.contains("hunter2"), "{wrong:?}");
        let wrong = http_header("X-Token", "hunter2\n").unwrap_err();
        assert!(!wrong.message.contains("hunter2"), "{wrong:?}");
        assert_eq!(webhook_method("post"), Ok("POST"));
        assert!(webhook_method("ſTEAL").is_err());
    }
}
