//! What a config can be wrapped in, and what is no config at all.
//!
//! In: the bytes of a source, then its tree. Out: the [`Text`], or what the bytes are instead; and
//! the tree without the `harvester:` or `harrow:` that some user data has around it. Lines
//! `#cloud-config` and `#!cloud-config` are comments in YAML and need nothing.

use std::borrow::Cow;

use super::packed::{self, Unpacked};
use super::problem::Code;
use super::tree::{Node, Value};
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
    pub hint: String,
}

fn refusal(code: Code, message: impl Into<String>, hint: &'static str) -> Refusal {
    Refusal {
        code,
        line: 0,
        message: message.into(),
        hint: hint.to_owned(),
    }
}

const AS_UTF8: &str = "save it as plain text in UTF-8";

/// First lines of user-data that is for others (cloud-init's documentation, "User-data formats").
const OTHERS: [(&str, &str); 12] = [
    ("#!ipxe", "an iPXE script"),
    ("#!", "a script"),
    ("#cloud-boothook", "a boot hook of cloud-init"),
    ("#cloud-config-archive", "an archive of cloud-init"),
    ("#cloud-config-jsonp", "a patch for cloud-init"),
    ("#include-once", "a list of URLs for cloud-init"),
    ("#include", "a list of URLs for cloud-init"),
    ("#part-handler", "a part handler of cloud-init"),
    ("#upstart-job", "a job of upstart"),
    ("## template:", "a template of cloud-init"),
    ("<powershell>", "a script for Windows"),
    ("{\"ignition\"", "a config of Ignition"),
];

/// The text of a config.
#[derive(Debug, PartialEq, Eq)]
pub struct Text<'a> {
    /// Unpacked, and without a byte order mark.
    pub text: Cow<'a, str>,
    /// Types of the parts of a MIME message that are no config.
    pub others: Vec<String>,
}

/// The text of a source.
pub fn text_of(bytes: &[u8]) -> Result<Text<'_>, Refusal> {
    check_size(bytes)?;
    match packed::unpack(bytes) {
        Err(wrong) => Err(Refusal {
            code: Code::NotAConfig,
            line: 0,
            message: format!("is no config: {}", wrong.message),
            hint: wrong.hint,
        }),
        Ok(Unpacked { bytes, others }) => {
            let text = match bytes {
                Cow::Borrowed(bytes) => Cow::Borrowed(text_inside(bytes)?),
                Cow::Owned(bytes) => {
                    check_size(&bytes)?;
                    Cow::Owned(text_inside(&bytes)?.to_owned())
                }
            };
            Ok(Text { text, others })
        }
    }
}

fn check_size(bytes: &[u8]) -> Result<(), Refusal> {
    if bytes.len() > LIMIT {
        let message = "is larger than 1 MiB, which no config is";
        return Err(refusal(Code::TooLarge, message, "is this the right file?"));
    }
    Ok(())
}

fn text_inside(bytes: &[u8]) -> Result<&str, Refusal> {
    for (mark, name) in [
        (&[0xff, 0xfe, 0, 0][..], "text in UTF-32 (little endian)"),
        (&[0, 0, 0xfe, 0xff], "text in UTF-32 (big endian)"),
        (&[0xff, 0xfe], "text in UTF-16 (little endian)"),
        (&[0xfe, 0xff], "text in UTF-16 (big endian)"),
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
    let cloud_config = start.starts_with("#!cloud-config");
    for (line, name) in OTHERS.iter().filter(|_| !cloud_config) {
        let after = start.strip_prefix(line).map(|rest| rest.chars().next());
        let whole = |next: Option<char>| {
            // `#included` is a comment; `#!/bin/sh` has no blank.
            let is_word = line.ends_with(|c: char| c.is_ascii_alphabetic());
            !is_word || next.is_none_or(char::is_whitespace)
        };
        if after.is_some_and(whole) {
            return Err(refusal(
                Code::NotAConfig,
                format!("is {name}, not a config"),
                "give the config itself, as YAML; a first line #cloud-config is fine",
            ));
        }
    }
    // `<<` at the top merges a map of YAML into this one.
    if start.starts_with('<') && !start.starts_with("<<") {
        return Err(refusal(
            Code::Html,
            "is an HTML or XML page, not YAML",
            "a server's error page, or the page about the file? give the URL of the file itself",
        ));
    }
    Ok(text)
}

fn line_of(bytes: &[u8], at: usize) -> u32 {
    let lines = bytes.iter().take(at).filter(|b| **b == b'\n').count();
    u32::try_from(lines + 1).unwrap_or(u32::MAX)
}

/// Takes a lone `harvester:` or `harrow:` from around a config.
pub fn unwrap(mut node: Node) -> Node {
    if let Value::Map(entries) = &mut node.value
        && let [only] = entries.as_slice()
        && matches!(only.key.as_str(), "harvester" | "harrow")
        && !only.node.entries().is_empty()
        && let Some(only) = entries.pop()
    {
        return only.node;
    }
    node
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_formats_are_named() {
        for (bytes, code, word) in [
            (&b"\xff\xfea\0"[..], Code::NotText, "UTF-16"),
            (b"\xfe\xff\0a", Code::NotText, "UTF-16"),
            (b"\xff\xfe\0\0a\0\0\0", Code::NotText, "UTF-32"),
            (b"\0\0\xfe\xff\0\0\0a", Code::NotText, "UTF-32"),
            (b"\x1f\x8b\x08", Code::NotAConfig, "gzip"),
            (b"#!ipxe\nboot", Code::NotAConfig, "iPXE"),
            (b"{\"ignition\":{}}", Code::NotAConfig, "Ignition"),
            (
                b"## template: jinja\n#cloud-config\n",
                Code::NotAConfig,
                "template",
            ),
            (b"a: \xc3\x28", Code::NotText, "UTF-8"),
            (b"a: b\0", Code::NotText, "byte 0"),
            (b"\n <!DOCTYPE html>", Code::Html, "HTML"),
            (b"#include\nhttp://a", Code::NotAConfig, "list of URLs"),
            (b"#include-once http://a", Code::NotAConfig, "list of URLs"),
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
        assert_eq!(text_of(b"\xef\xbb\xbfa: 1").unwrap().text, "a: 1");
        assert!(text_of(b"#!cloud-config\na: 1").is_ok());
        assert!(text_of(b"#included time servers\na: 1").is_ok());
        assert!(text_of(b"#part-handlers: none\na: 1").is_ok());
        assert!(text_of(b"<<: {a: 1}").is_ok());
        assert_eq!(
            text_of(b"I2Nsb3VkLWNvbmZpZwphOiAx").unwrap().text,
            "#cloud-config\na: 1"
        );
        let (tree, _) = super::super::yaml::parse(b"harvester: {os: {}}\n", &"x".into());
        assert!(tree.unwrap().get("os").is_some());
    }
}
