//! What a config can be wrapped in, and what is no config at all.
//!
//! In: the bytes of a source, then its tree. Out: the text, or what the bytes are instead; and
//! the tree without the `harvester:` or `harrow:` that some user data has around it. Lines
//! `#cloud-config` and `#!cloud-config` are comments in YAML and need nothing.

use super::problem::Code;
use super::tree::Node;
use super::yaml::LIMIT;

/// Why bytes are not a config.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of problem.
    pub code: Code,
    /// The line, when it matters.
    pub line: u32,
    /// What they are.
    pub message: String,
    /// What would be right.
    pub hint: &'static str,
}

fn refusal(code: Code, message: impl Into<String>, hint: &'static str) -> Refusal {
    Refusal {
        code,
        line: 0,
        message: message.into(),
        hint,
    }
}

const AS_UTF8: &str = "save it as plain text in UTF-8";

/// First lines that cloud-init gives a meaning, and that are not a config.
const OTHER_USER_DATA: [(&str, &str); 9] = [
    ("#!", "a script"),
    ("#cloud-boothook", "a boot hook of cloud-init"),
    ("#cloud-config-archive", "an archive of cloud-init"),
    ("#include", "a list of URLs for cloud-init"),
    ("#part-handler", "a part handler of cloud-init"),
    ("#upstart-job", "an upstart job"),
    ("## template:", "a template of cloud-init"),
    ("Content-Type:", "a MIME message"),
    ("MIME-Version:", "a MIME message"),
];

/// The text of a source, without a byte order mark.
pub fn text_of(bytes: &[u8]) -> Result<&str, Refusal> {
    if bytes.len() > LIMIT {
        let message = "is larger than 1 MiB, which no config is";
        return Err(refusal(Code::TooLarge, message, "is this the right file?"));
    }
    for (mark, name) in [
        (&[0xff, 0xfe][..], "text in UTF-16 (little endian)"),
        (&[0xfe, 0xff], "text in UTF-16 (big endian)"),
        (&[0x1f, 0x8b], "compressed with gzip"),
        (&[0x28, 0xb5, 0x2f, 0xfd], "compressed with zstd"),
        (b"PK\x03\x04", "a zip file"),
        (b"\x7fELF", "a program"),
    ] {
        if bytes.starts_with(mark) {
            return Err(refusal(Code::NotText, format!("is {name}"), AS_UTF8));
        }
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let line = line_of(bytes, e.valid_up_to());
        Refusal {
            line,
            ..refusal(Code::NotText, "is not text in UTF-8", AS_UTF8)
        }
    })?;
    if let Some(at) = bytes.iter().position(|b| *b == 0) {
        let line = line_of(bytes, at);
        let message = "has a byte 0, so it is not text in UTF-8";
        return Err(Refusal {
            line,
            ..refusal(Code::NotText, message, AS_UTF8)
        });
    }
    let start = text.trim_start();
    if start.starts_with('<') {
        return Err(refusal(
            Code::Html,
            "is an HTML or XML page, not YAML",
            "a server's error page, or the page about the file? give the URL of the file itself",
        ));
    }
    let cloud_config = start.starts_with("#!cloud-config");
    for (line, name) in OTHER_USER_DATA.iter().filter(|_| !cloud_config) {
        if start.starts_with(line) {
            return Err(refusal(
                Code::NotAConfig,
                format!("is {name}, not a config"),
                "give the config itself, as YAML; a first line #cloud-config is fine",
            ));
        }
    }
    Ok(text)
}

fn line_of(bytes: &[u8], at: usize) -> u32 {
    let lines = bytes.iter().take(at).filter(|b| **b == b'\n').count();
    u32::try_from(lines + 1).unwrap_or(u32::MAX)
}

/// Takes a lone `harvester:` or `harrow:` from around a config.
pub fn unwrap(node: Node) -> Node {
    match node.entries() {
        [only] if matches!(only.key.as_str(), "harvester" | "harrow") => {
            if only.node.entries().is_empty() {
                return node;
            }
            only.node.clone()
        }
        _ => node,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_formats_are_named() {
        for (bytes, code, word) in [
            (&b"\xff\xfea\0"[..], Code::NotText, "UTF-16"),
            (b"\xfe\xff\0a", Code::NotText, "UTF-16"),
            (b"\x1f\x8b\x08", Code::NotText, "gzip"),
            (b"a: \xc3\x28", Code::NotText, "UTF-8"),
            (b"a: b\0", Code::NotText, "byte 0"),
            (b"\n <!DOCTYPE html>", Code::Html, "HTML"),
            (b"#!/bin/sh\n", Code::NotAConfig, "script"),
            (
                b"Content-Type: multipart/mixed; boundary=x\n",
                Code::NotAConfig,
                "MIME",
            ),
            (b"#cloud-config-archive\n- a", Code::NotAConfig, "archive"),
        ] {
            let refusal = text_of(bytes).unwrap_err();
            assert_eq!(refusal.code, code);
            assert!(refusal.message.contains(word), "{refusal:?}");
        }
        assert_eq!(text_of(b"a: 1\nb: \xff\n").unwrap_err().line, 2);
    }

    #[test]
    fn wrapped_configs_are_read() {
        assert_eq!(text_of(b"\xef\xbb\xbfa: 1"), Ok("a: 1"));
        assert!(text_of(b"#!cloud-config\na: 1").is_ok());
        let (tree, _) = super::super::yaml::parse(b"harvester: {os: {}}\n", &"x".into());
        assert!(tree.unwrap().get("os").is_some());
    }
}
