//! User-data as clouds pass it on: packed, encoded, in parts, and under several headers.
//!
//! In: bytes. Out: the text of the one config in them.

use base64::Engine as _;
use mailparse::ParsedMail;

use crate::config::formats::{Wrong, gunzip, is_gzip, wrong};

/// Wrappers around wrappers: gzip in a part in base64, and one more.
const DEPTH: usize = 4;
/// One of them may be gzip, or its limit would be multiplied with itself.
const UNPACKED: usize = 1;
/// Parts of a multipart message.
const PARTS: usize = 100;
/// Lines that may begin a part: each costs memory, whatever it turns out to be.
const DASHES: usize = 1000;

/// The config in user-data: plain or under `#cloud-config`; packed by gzip; in base64; or as the
/// one config of a MIME multipart message. Other kinds of user-data are refused by their names.
pub fn unwrap_user_data(bytes: &[u8]) -> Result<String, Wrong> {
    unwrap(bytes, DEPTH, UNPACKED)
}

fn unwrap(bytes: &[u8], depth: usize, unpack: usize) -> Result<String, Wrong> {
    let packed = is_gzip(bytes);
    let left = depth.checked_sub(1).zip(unpack.checked_sub(packed.into()));
    let Some((depth, unpack)) = left else {
        return wrong(
            "user-data with too many wrappers around it",
            "one is enough",
        );
    };
    if packed {
        return unwrap(&gunzip(bytes)?, depth, unpack);
    }
    let text = as_text(bytes)?;
    let lower = text.get(..13).unwrap_or(text).to_ascii_lowercase();
    if lower.starts_with("content-type:") || lower.starts_with("mime-version:") {
        return unwrap(&config_part(text)?, depth, unpack);
    }
    if let Some(inner) = from_base64(text) {
        return unwrap(&inner, depth, unpack);
    }
    check_header(text)?;
    Ok(text.to_owned())
}

/// Bytes as UTF-8, without a byte order mark.
fn as_text(bytes: &[u8]) -> Result<&str, Wrong> {
    const HINT: &str = "save it as plain text in UTF-8";
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return wrong("text in UTF-16", HINT);
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes).or_else(|e| {
        let at = e.valid_up_to();
        wrong(format!("not text in UTF-8, from byte {at} on"), HINT)
    })
}

/// First lines of user-data that is for others (cloud-init's documentation, "User-data
/// formats"), with what each is.
const OTHERS: [(&str, &str); 11] = [
    ("#!ipxe", "an iPXE script"),
    ("#!", "a script"),
    ("#include", "a list of URLs to include"),
    ("#cloud-config-archive", "an archive of cloud-init"),
    ("#cloud-config-jsonp", "a patch for cloud-init"),
    ("#cloud-boothook", "a boot hook of cloud-init"),
    ("#part-handler", "a part handler of cloud-init"),
    ("#upstart-job", "a job of upstart"),
    ("## template:", "a template of cloud-init"),
    ("<powershell>", "a script for Windows"),
    ("{\"ignition\"", "a config of Ignition"),
];

fn check_header(text: &str) -> Result<(), Wrong> {
    let start = text.trim_start();
    let other = OTHERS.iter().find(|(header, _)| start.starts_with(header));
    match other {
        None => Ok(()),
        Some((_, what)) => wrong(
            format!("this is {what}, not a config"),
            "a config of Harrow, under the line #cloud-config if the cloud wants one",
        ),
    }
}

/// What base64 stands for, if the whole text is base64 of text or gzip. A config is never base64
/// by chance: it has a colon.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"+/=\r\n \t".contains(&b);
    if text.len() < 8 || !text.bytes().all(good) {
        return None;
    }
    let packed: String = text.split_ascii_whitespace().collect();
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(packed)
        .ok()?;
    let config = is_gzip(&bytes) || std::str::from_utf8(&bytes).is_ok_and(|t| t.contains(':'));
    config.then_some(bytes)
}

/// The body of the only part of a message that is a config.
fn config_part(text: &str) -> Result<Vec<u8>, Wrong> {
    const HINT: &str = "exactly one part of type text/cloud-config";
    if text.lines().filter(|line| line.starts_with("--")).count() > DASHES {
        return wrong("a MIME message with too many parts", HINT);
    }
    let Ok(mail) = mailparse::parse_mail(text.as_bytes()) else {
        return wrong("a MIME message that is damaged", HINT);
    };
    let mut configs = Vec::new();
    for part in mail
        .parts()
        .take(PARTS)
        .filter(|part| part.subparts.is_empty())
    {
        let body = part.get_body_raw();
        let body = body.or_else(|e| wrong(format!("a part of the MIME message: {e}"), HINT))?;
        if is_config(part, &body) {
            configs.push(body);
        }
    }
    let last = configs.pop();
    match (last, configs.len()) {
        (Some(config), 0) => Ok(config),
        (None, _) => wrong("a MIME message without a config in it", HINT),
        (Some(_), others) => wrong(format!("a MIME message with {} configs", others + 1), HINT),
    }
}

/// Whether a part is a config: by its type, or by its first line when the type says nothing.
fn is_config(part: &ParsedMail, body: &[u8]) -> bool {
    match part.ctype.mimetype.as_str() {
        "text/cloud-config" | "text/yaml" | "text/x-yaml" | "application/yaml"
        | "application/x-yaml" => true,
        "text/plain" | "application/octet-stream" | "application/gzip" | "application/x-gzip" => {
            is_gzip(body) || body.trim_ascii_start().starts_with(b"#cloud-config")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "#cloud-config\ntoken: x\n";

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        let mut encoder = flate2::read::GzEncoder::new(bytes, flate2::Compression::best());
        std::io::Read::read_to_end(&mut encoder, &mut packed).unwrap();
        packed
    }

    fn base64(bytes: &[u8]) -> String {
        let text = base64::engine::general_purpose::STANDARD.encode(bytes);
        let lines: Vec<&str> = text
            .as_bytes()
            .chunks(76)
            .map(|l| std::str::from_utf8(l).unwrap())
            .collect();
        lines.join("\n") + "\n"
    }

    fn mime(parts: &[(&str, &str)]) -> String {
        let mut text =
            "Content-Type: multipart/mixed; boundary=\"==B==\"\nMIME-Version: 1.0\n".to_owned();
        for (headers, body) in parts {
            text += &format!("\n--==B==\n{headers}\n\n{body}");
        }
        text + "\n--==B==--\n"
    }

    #[test]
    fn all_wrappers() {
        let packed = base64(&gzip(CONFIG.as_bytes()));
        let cloud = (
            "Content-Type: text/cloud-config; charset=\"us-ascii\"",
            CONFIG,
        );
        let script = ("Content-Type: text/x-shellscript", "#!/bin/sh\n");
        let encoded = "Content-Type: text/cloud-config\nContent-Transfer-Encoding: base64";
        for data in [
            CONFIG.as_bytes(),
            format!("\u{feff}{CONFIG}").as_bytes(),
            &gzip(CONFIG.as_bytes()),
            base64(CONFIG.as_bytes()).as_bytes(),
            packed.as_bytes(),
            mime(&[cloud, script]).as_bytes(),
            mime(&[script, (encoded, &base64(CONFIG.as_bytes()))]).as_bytes(),
            mime(&[(encoded, &packed)]).as_bytes(),
            mime(&[("Content-Type: text/plain", CONFIG)]).as_bytes(),
            mime(&[cloud]).replace('\n', "\r\n").as_bytes(),
            &gzip(mime(&[cloud]).as_bytes()),
            format!("MIME-Version: 1.0\n{}\n\n{CONFIG}", cloud.0).as_bytes(),
        ] {
            let text = unwrap_user_data(data).unwrap().replace("\r\n", "\n");
            assert_eq!(
                text.trim_end(),
                CONFIG.trim_end(),
                "{}",
                String::from_utf8_lossy(data)
            );
        }
        for plain in ["", "token: x\n", "token", "abcdefgh"] {
            assert_eq!(unwrap_user_data(plain.as_bytes()).unwrap(), plain);
        }
    }

    #[test]
    fn what_is_no_config() {
        let cloud = ("Content-Type: text/cloud-config", CONFIG);
        let many = vec![gzip(CONFIG.as_bytes()); 1];
        let deep = (0..DEPTH).fold(many[0].clone(), |inner, _| gzip(&inner));
        for (data, reason) in [
            (&b"#!ipxe\nboot"[..], "iPXE"),
            (b"#!/bin/sh\n", "a script"),
            (b"\n#include\nhttp://x", "include"),
            (b"#cloud-config-archive\n- x", "archive"),
            (b"## template: jinja\n#cloud-config\n", "template"),
            (b"{\"ignition\":{}}", "Ignition"),
            (b"\xff\xfea\0", "UTF-16"),
            (b"a: \xff", "byte 3"),
            (&gzip(&vec![b' '; 1 << 20]), "more than"),
            (b"\x1f\x8b\0", "gzip"),
            (&deep, "too many wrappers"),
            (mime(&[cloud, cloud]).as_bytes(), "2 configs"),
            (
                mime(&[("Content-Type: text/x-shellscript", "x")]).as_bytes(),
                "without a config",
            ),
            (
                mime(&[("Content-Type: text/cloud-config", "#!/bin/sh")]).as_bytes(),
                "a script",
            ),
            (
                mime(&[(
                    "Content-Type: text/cloud-config\nContent-Transfer-Encoding: base64",
                    "!",
                )])
                .as_bytes(),
                "part",
            ),
            (mime(&vec![("", ""); 1001]).as_bytes(), "too many parts"),
            (
                b"Content-Type: multipart/mixed; boundary=x",
                "without a config",
            ),
        ] {
            let error = unwrap_user_data(data).unwrap_err();
            assert!(error.message.contains(reason), "{reason}: {error:?}");
        }
    }
}
