//! Configs as clouds pass them on: packed by gzip, in base64, as a part of a MIME message.
//!
//! In: the bytes of a source. Out: the bytes of the one config in them, and what else a message
//! held. What they are is judged elsewhere.

use std::borrow::Cow;

use base64::Engine as _;
use mailparse::ParsedMail;

use super::formats::{Wrong, gunzip, is_gzip, wrong};

/// Wrappers around wrappers: gzip in a part in base64, and one more.
const DEPTH: usize = 4;
/// One of them may be gzip, or its limit would be multiplied with itself.
const UNPACKED: usize = 1;
/// Parts of a multipart message.
const PARTS: usize = 100;
/// The longest name of a type that is shown.
const LONGEST_TYPE: usize = 60;
/// Lines that may begin a part: each costs memory, whatever it turns out to be.
const DASHES: usize = 1000;

/// What was in the wrappers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked<'a> {
    /// The config.
    pub bytes: Cow<'a, [u8]>,
    /// The types of a message's other parts, each once, in the order of the message.
    pub others: Vec<String>,
}

/// The config in `bytes`: as it is; packed by gzip; in base64; or as the one config of a MIME
/// multipart message.
pub fn unpack(bytes: &[u8]) -> Result<Unpacked<'_>, Wrong> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut here = Cow::Borrowed(bytes);
    let mut others = Vec::new();
    let mut unpacked = 0;
    for _ in 0..DEPTH {
        let next = if is_gzip(&here) {
            unpacked += 1;
            if unpacked > UNPACKED {
                break;
            }
            Some(gunzip(&here)?)
        } else if is_mime(&here) {
            Some(config_part(&here, &mut others)?)
        } else {
            from_base64(&here)
        };
        match next {
            None => {
                return Ok(Unpacked {
                    bytes: here,
                    others,
                });
            }
            Some(inner) => here = Cow::Owned(inner),
        }
    }
    wrong("it has too many wrappers around it", "one is enough")
}

fn is_mime(bytes: &[u8]) -> bool {
    let start = bytes.get(..13).unwrap_or_default().to_ascii_lowercase();
    start == b"content-type:" || start == b"mime-version:"
}

/// What base64 stands for, if the whole text is base64 of text or gzip. A config is never base64
/// by chance: it has a colon.
fn from_base64(text: &[u8]) -> Option<Vec<u8>> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"+/=\r\n \t".contains(&b);
    if text.len() < 8 || !text.iter().copied().all(good) {
        return None;
    }
    let packed: Vec<u8> = text
        .iter()
        .copied()
        .filter(|b| !b.is_ascii_whitespace())
        .collect();
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(packed)
        .ok()?;
    let config = is_gzip(&bytes) || std::str::from_utf8(&bytes).is_ok_and(|t| t.contains(':'));
    config.then_some(bytes)
}

/// The body of the only part of a message that is a config; notes the types of all others.
fn config_part(text: &[u8], others: &mut Vec<String>) -> Result<Vec<u8>, Wrong> {
    const HINT: &str = "exactly one part of type text/cloud-config";
    let lines = text.split(|b| *b == b'\n');
    if lines.filter(|line| line.starts_with(b"--")).count() > DASHES {
        return wrong("a MIME message with too many parts", HINT);
    }
    let Ok(mail) = mailparse::parse_mail(text) else {
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
            continue;
        }
        let name = type_name(part);
        if !others.contains(&name) {
            others.push(name);
        }
    }
    let last = configs.pop();
    match (last, configs.len()) {
        (Some(config), 0) => Ok(config),
        (None, _) => wrong("a MIME message without a config in it", HINT),
        (Some(_), more) => wrong(format!("a MIME message with {} configs", more + 1), HINT),
    }
}

/// The type of a part as it can be shown.
fn type_name(part: &ParsedMail) -> String {
    let name = part.ctype.mimetype.as_str();
    let good = |b: u8| b.is_ascii_alphanumeric() || b"/+-._".contains(&b);
    if name.len() <= LONGEST_TYPE && name.bytes().all(good) {
        return name.to_owned();
    }
    "an unknown type".to_owned()
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
            let text = String::from_utf8(unpack(data).unwrap().bytes.into_owned())
                .unwrap()
                .replace("\r\n", "\n");
            assert_eq!(
                text.trim_end(),
                CONFIG.trim_end(),
                "{}",
                String::from_utf8_lossy(data)
            );
        }
        for plain in ["", "token: x\n", "token", "abcdefgh"] {
            let unpacked = unpack(plain.as_bytes()).unwrap();
            assert_eq!(
                (&*unpacked.bytes, unpacked.others.len()),
                (plain.as_bytes(), 0)
            );
        }
    }

    #[test]
    fn other_parts_are_named() {
        let script = (
            "Content-Type: text/x-shellscript; charset=utf-8",
            "#!/bin/sh\n",
        );
        let include = ("Content-Type: text/x-include-url", "http://x/\n");
        let strange = ("Content-Type: \"a b\"/c", "x");
        let cloud = ("Content-Type: text/cloud-config", CONFIG);
        let data = mime(&[script, cloud, include, script, strange]);
        for data in [data.as_bytes(), &gzip(data.as_bytes())] {
            let unpacked = unpack(data).unwrap();
            assert_eq!(
                &unpacked.others[..2],
                ["text/x-shellscript", "text/x-include-url"]
            );
            assert_eq!(unpacked.others.len(), 3);
            assert!(!unpacked.others[2].contains("a b"), "{:?}", unpacked.others);
        }
    }

    #[test]
    fn what_is_no_config() {
        let cloud = ("Content-Type: text/cloud-config", CONFIG);
        let many = vec![gzip(CONFIG.as_bytes()); 1];
        let deep = (0..DEPTH).fold(many[0].clone(), |inner, _| gzip(&inner));
        for (data, reason) in [
            (&gzip(&vec![b' '; 1 << 20])[..], "more than"),
            (b"\x1f\x8b\0", "gzip"),
            (&deep, "too many wrappers"),
            (mime(&[cloud, cloud]).as_bytes(), "2 configs"),
            (
                mime(&[("Content-Type: text/x-shellscript", "x")]).as_bytes(),
                "without a config",
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
            let error = unpack(data).unwrap_err();
            assert!(error.message.contains(reason), "{reason}: {error:?}");
        }
    }
}
