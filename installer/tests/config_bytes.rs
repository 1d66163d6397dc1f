//! Whatever a file can be instead of a config, through the binary: its own code and message, the
//! exit code of bad input, and quickly.

#![allow(clippy::unwrap_used)] // helpers of tests may panic

mod common;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use common::harrow;
use harrow::sys::cmd::{Cmd, Output};

/// What one may take, in a build without optimisations and on a machine that does other things.
const QUICK: Duration = Duration::from_secs(10);

/// The only problem that `config check --json` tells: its code, message, line and column.
fn only_problem(output: &Output, what: &str) -> (String, String, u64, u64) {
    assert_eq!(output.status.code(), Some(11), "{what}: {}", output.stderr);
    let json: serde_json::Value = serde_json::from_str(&output.text()).unwrap();
    let problems = json["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 1, "{what}: {json:#}");
    let problem = &problems[0];
    assert!(!problem["hint"].as_str().unwrap().is_empty(), "{what}");
    (
        problem["code"].as_str().unwrap().to_owned(),
        problem["message"].as_str().unwrap().to_owned(),
        problem["line"].as_u64().unwrap_or(0),
        problem["column"].as_u64().unwrap_or(0),
    )
}

fn check(path: &Path) -> Output {
    let start = Instant::now();
    let check = harrow("config").args(["check", "--json"]).arg(path);
    let output = check.run_any().unwrap();
    assert!(start.elapsed() < QUICK, "{:?}", start.elapsed());
    output
}

fn utf16(text: &str, bytes_of: fn(u16) -> [u8; 2]) -> Vec<u8> {
    let text = format!("\u{feff}{text}");
    text.encode_utf16().flat_map(bytes_of).collect()
}

fn utf32(text: &str, bytes_of: fn(u32) -> [u8; 4]) -> Vec<u8> {
    let text = format!("\u{feff}{text}");
    text.chars().flat_map(|c| bytes_of(u32::from(c))).collect()
}

/// A config that is right but for its last lines.
fn with(lines: &str) -> Vec<u8> {
    let good = "install: {mode: install}\nos: {hostname: a, password: hunter2}\n";
    format!("{good}{lines}").into_bytes()
}

/// Lists of ten aliases each, to the list before.
fn alias_bomb() -> String {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..12 {
        let row = format!("*a{}, ", i - 1).repeat(10);
        text += &format!("a{i}: &a{i} [{row}]\n");
    }
    text
}

#[test]
fn whatever_is_no_config_has_a_code_and_message_of_its_own() {
    const TEXT: &str = "os: {hostname: node-1}\n";
    let zstd = zstd::encode_all(TEXT.as_bytes(), 3).unwrap();
    let cases: &[(&str, Vec<u8>, &str, &str)] = &[
        ("nothing", vec![], "empty", "is empty"),
        (
            "comments",
            b"# all\n---\n# of it\n".to_vec(),
            "empty",
            "is empty",
        ),
        ("zstd", zstd, "not-text", "zstd"),
        ("zip", b"PK\x03\x04\x14\0\0\0".to_vec(), "not-text", "zip"),
        (
            "program",
            fs::read("/proc/self/exe").unwrap()[..4096].to_vec(),
            "not-text",
            "a program",
        ),
        (
            "utf-16, little",
            utf16(TEXT, u16::to_le_bytes),
            "not-text",
            "UTF-16 (little",
        ),
        (
            "utf-16, big",
            utf16(TEXT, u16::to_be_bytes),
            "not-text",
            "UTF-16 (big",
        ),
        (
            "utf-32, little",
            utf32(TEXT, u32::to_le_bytes),
            "not-text",
            "UTF-32 (little",
        ),
        (
            "utf-32, big",
            utf32(TEXT, u32::to_be_bytes),
            "not-text",
            "UTF-32 (big",
        ),
        (
            "latin-1",
            b"os:\n  hostname: n\xf6de\n".to_vec(),
            "not-text",
            "UTF-8",
        ),
        (
            "byte 0",
            b"os:\n  hostname: a\0b\n".to_vec(),
            "not-text",
            "byte 0",
        ),
        ("list", b"- a\n".to_vec(), "not-a-map", "not `key: value`"),
        (
            "words",
            b"just words\n".to_vec(),
            "not-a-map",
            "not `key: value`",
        ),
        (
            "html",
            b"<!doctype html>\n<html>no</html>\n".to_vec(),
            "html",
            "HTML",
        ),
        (
            "script",
            b"#!/bin/sh\ntrue\n".to_vec(),
            "not-a-config",
            "a script",
        ),
        (
            "ignition",
            b"{\"ignition\": {}}".to_vec(),
            "not-a-config",
            "Ignition",
        ),
        (
            "two",
            b"a: 1\n---\nb: 1\n".to_vec(),
            "many-documents",
            "document",
        ),
        ("open", b"os: [\n".to_vec(), "syntax", ""),
        ("twice", with("os: {}\n"), "duplicate-key", "there already"),
        (
            "alias to itself",
            b"os: &x [*x]\n".to_vec(),
            "too-many-values",
            "",
        ),
        (
            "alias bomb",
            alias_bomb().into_bytes(),
            "too-many-values",
            "",
        ),
        (
            "many values",
            format!("a: [{}]", "1,".repeat(30_000)).into(),
            "too-many-values",
            "",
        ),
        (
            "deep",
            format!("a: {}{}", "[".repeat(40), "]".repeat(40)).into(),
            "too-deep",
            "deep",
        ),
        (
            "long key",
            with(&format!("? {}\n: 1\n", "k".repeat(600))),
            "bad-key",
            "key",
        ),
        ("key of keys", with("{a: 1}: 2\n"), "bad-key", "key"),
        ("tag", with("token: !env X\n"), "bad-tag", "tag"),
        (
            "version",
            b"scheme_version: 2\nfuture: 1\n".to_vec(),
            "scheme-version",
            "version 2",
        ),
        ("long", vec![b'#'; (1 << 20) + 1], "too-large", "1 MiB"),
    ];
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.yaml");
    for (what, bytes, code, words) in cases {
        fs::write(&path, bytes).unwrap();
        let (found, message, _, _) = only_problem(&check(&path), what);
        assert_eq!(found, *code, "{what}: {message}");
        assert!(message.contains(words), "{what}: {message}");
        assert!(!message.contains("node-1"), "{what}: {message}");
    }
}

#[test]
fn a_place_is_told_where_there_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.yaml");
    for (text, place) in [
        (&b"os:\n  hostname: a\0b\n"[..], (2, 1)),
        (&with("os: {}\n"), (3, 1)),
        (b"a: 1\n---\nb: 1\n", (3, 1)),
        (&with("token: !env X\n"), (3, 13)),
        (b"\n\nscheme_version: 2\n", (3, 17)),
    ] {
        fs::write(&path, text).unwrap();
        let what = String::from_utf8_lossy(text).into_owned();
        let (code, _, line, column) = only_problem(&check(&path), &what);
        assert_eq!((line, column), place, "{what}: {code}");
    }
}

#[test]
fn a_huge_file_is_refused_without_reading_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.yaml");
    for size in [100 << 20, 1 << 40] {
        fs::write(&path, "os: {hostname: node-1}\n").unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_len(size).unwrap();
        let (code, message, _, _) = only_problem(&check(&path), "huge");
        assert_eq!(code, "too-large");
        assert!(message.contains("larger than 1 MiB"), "{message}");
    }
    // Not only files with holes.
    let mut text = "os:\n  ntp_servers:\n".to_owned();
    text += &"  - 0.pool.ntp.org\n".repeat((100 << 20) / 19);
    fs::write(&path, text).unwrap();
    assert_eq!(only_problem(&check(&path), "100 MB").0, "too-large");
    let convert = harrow("config")
        .arg("convert")
        .arg(&path)
        .run_any()
        .unwrap();
    assert_eq!(convert.status.code(), Some(11), "{}", convert.stderr);
    assert!(convert.stderr.contains("[too-large]"), "{}", convert.stderr);
}

#[test]
fn what_never_ends_is_refused() {
    let harrow = env!("CARGO_BIN_EXE_harrow");
    for line in [
        format!("{harrow} config check --json - </dev/zero"),
        format!("{harrow} config check --json /dev/zero"),
        format!("yes 'os: {{hostname: node-1}}' | {harrow} config check --json -"),
    ] {
        let shell = Cmd::new("bash").args(["-c", &line]).limit(QUICK);
        let output = shell.run_any().unwrap();
        assert_eq!(only_problem(&output, &line).0, "too-large", "{line}");
    }
}

/// A gzip of much nonsense is small.
#[test]
fn what_unpacks_to_much_is_refused() {
    use std::io::Write as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.yaml");
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&vec![b'#'; 200 << 20]).unwrap();
    fs::write(&path, encoder.finish().unwrap()).unwrap();
    let (code, message, _, _) = only_problem(&check(&path), "gzip");
    assert_eq!(code, "not-a-config");
    assert!(message.contains("unpacks to more than"), "{message}");
}
