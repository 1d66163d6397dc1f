//! Where configs come from, as a person or a machine gives them: servers that are good and bad,
//! seed disks, wrappers, keys of people.

#![allow(clippy::unwrap_used)] // helpers of tests may panic

mod common;
#[path = "common/server.rs"]
mod server;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use common::{Place, harrow};
use harrow::sys::cmd::{Cmd, Output};
use server::{answer, good, serve, serve_nothing, serve_tls};

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBtU7Kq3Y0mZ4c4o8m1uO9bq1n4E2iZJp0m7nYkq7Z9v";

fn show(place: &Place, more: &[&str]) -> Output {
    harrow("config")
        .arg("show")
        .arg(place.config())
        .args(more)
        .run_any()
        .unwrap()
}

/// The line of a key in what `config show` prints.
fn line_of<'a>(text: &'a str, key: &str) -> &'a str {
    let found = text.lines().find(|line| line.trim().starts_with(key));
    found.unwrap_or_default()
}

/// Adds keys to the `install:` of the place's config.
fn install_keys(place: &Place, keys: &str) {
    let text = common::CONFIG.replace("mode: create,", &format!("mode: create, {keys},"));
    fs::write(place.config(), text).unwrap();
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn mime(config: &str) -> String {
    format!(
        "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: \
         text/x-shellscript\n\n#!/bin/sh\n\n--b\nContent-Type: text/cloud-config\n\n{config}\n--b--\n"
    )
}

fn seed_iso(place: &Place, label: &str, path: &str, user_data: &[u8]) -> String {
    let tree = place.path("seed");
    let file = tree.join(path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, user_data).unwrap();
    let image = place.path("seed.iso").display().to_string();
    let tree = tree.display().to_string();
    Cmd::new("xorriso")
        .args([
            "-as", "mkisofs", "-quiet", "-r", "-V", label, "-o", &image, &tree,
        ])
        .run()
        .unwrap();
    image
}

#[test]
fn the_config_at_a_url_lies_under_the_file_that_names_it() {
    let place = Place::new();
    let body = b"os: {hostname: far, ntp_servers: [10.0.0.3]}";
    let busy = || answer("503 Busy", "Retry-After: 1\r\n", b"");
    let (url, requests) = serve(vec![busy(), busy(), good(body)]);
    install_keys(
        &place,
        &format!("config_url: {url}/a.yaml, config_headers: {{X-Token: hunter3}}"),
    );
    let start = Instant::now();
    let output = show(&place, &["--follow"]);
    assert_eq!(output.status.code(), Some(0), "{}", output.stderr);
    assert!(start.elapsed().as_secs() >= 2, "{:?}", start.elapsed());
    let text = output.text();
    assert!(line_of(&text, "hostname:").contains("node-1"), "{text}");
    let far = line_of(&text, "- 10.0.0.3");
    assert!(far.contains(&format!("{url}/a.yaml:1:")), "{text}");
    for request in requests.iter().take(3) {
        let request = request.to_ascii_lowercase();
        assert!(request.contains("x-token: hunter3"), "{request}");
    }
    for said in [&text, &output.stderr] {
        assert!(!said.contains("hunter"), "{said}");
    }
    // Without --follow, nothing is fetched.
    assert!(!show(&place, &[]).text().contains("10.0.0.3"));
}

#[test]
fn bad_servers_are_each_their_own_error() {
    let place = Place::new();
    let page = "Content-Type: text/html\r\n";
    let (pages, _) = serve(vec![answer("200 OK", page, b"<!doctype html>log in")]);
    let (refused, _) = serve(vec![answer("403 Forbidden", "", b"")]);
    let (broken, _) = serve(vec![good(b"os: [")]);
    for (url, code, words) in [
        (serve_nothing(), 10, "no complete answer in time"),
        (pages, 11, "web page (HTML)"),
        (refused, 10, "403"),
        (broken, 11, "syntax"),
        ("tftp://127.0.0.1/x".into(), 11, "TFTP"),
        ("http://127.0.0.1:1".into(), 10, "tried for"),
    ] {
        install_keys(&place, &format!("config_url: \"{url}/a.yaml\""));
        let start = Instant::now();
        let output = place.install(&["--size", "64G", "--wait", "2"]);
        let said = &output.stderr;
        assert_eq!(output.status.code(), Some(code), "{url}: {said}");
        assert!(said.contains(words), "{url}: {said}");
        assert!(said.contains("hint"), "{url}: {said}");
        assert!(
            start.elapsed().as_secs() < 10,
            "{url}: {:?}",
            start.elapsed()
        );
        assert!(!place.disk().exists(), "{url}");
    }
}

#[test]
fn a_private_ca_is_trusted_when_the_config_says_so() {
    let place = Place::new();
    let (url, ca) = serve_tls(place.dir.path(), good(b"os: {ntp_servers: [10.0.0.3]}"));
    install_keys(&place, &format!("config_url: {url}/a.yaml"));
    let output = show(&place, &["--follow", "--wait", "5"]);
    assert_eq!(output.status.code(), Some(10), "{}", output.stderr);
    assert!(output.stderr.contains("not trusted"), "{}", output.stderr);
    let ca = serde_json::to_string(&ca).unwrap();
    install_keys(
        &place,
        &format!("config_url: {url}/a.yaml, config_ca: {ca}"),
    );
    let output = show(&place, &["--follow"]);
    assert!(output.text().contains("10.0.0.3"), "{}", output.stderr);
}

#[test]
fn seed_disks_and_metadata_are_sources() {
    let place = Place::new();
    let config = "#cloud-config\nos: {hostname: seed, ntp_servers: [10.0.0.3]}\n";
    for (label, path) in [
        ("cidata", "user-data"),
        ("config-2", "openstack/latest/user_data"),
    ] {
        let seed = seed_iso(&place, label, path, config.as_bytes());
        let text = show(&place, &["--seed", &seed]).text();
        assert!(line_of(&text, "hostname:").contains("node-1"), "{text}");
        let said = line_of(&text, "- 10.0.0.3");
        assert!(said.contains(&format!("{path} of the")), "{text}");
        fs::remove_dir_all(place.path("seed")).unwrap();
    }
    let empty = seed_iso(&place, "other", "user-data", b"");
    let output = show(&place, &["--seed", &empty]);
    assert_eq!(output.status.code(), Some(10), "{}", output.stderr);
    let (url, requests) = serve(vec![good(config.as_bytes())]);
    let line = format!("quiet ds=nocloud-net;s={url}/seed/ harrow.os.hostname=line");
    let text = show(&place, &["--follow", "--cmdline", &line]).text();
    assert!(line_of(&text, "hostname:").contains("line"), "{text}");
    assert!(
        line_of(&text, "- 10.0.0.3").contains("/seed/user-data:2"),
        "{text}"
    );
    assert!(requests.recv().unwrap().starts_with("GET /seed/user-data "));
}

#[test]
fn wrappers_are_the_same_for_every_source() {
    let config = "#cloud-config\nos: {ntp_servers: [10.0.0.3]}\n";
    for (wrapped, warns) in [
        (gzip(config.as_bytes()), false),
        (mime(config).into_bytes(), true),
        (gzip(mime(config).as_bytes()), true),
    ] {
        let place = Place::new();
        let second = place.path("second.yaml");
        fs::write(&second, &wrapped).unwrap();
        let by_file = show(&place, &[second.to_str().unwrap()]);
        let seed = seed_iso(&place, "cidata", "user-data", &wrapped);
        let by_seed = show(&place, &["--seed", &seed]);
        let (url, _) = serve(vec![good(&wrapped)]);
        let url = format!("install.config_url={url}/a");
        let by_url = show(&place, &["--follow", "--set", &url]);
        for output in [by_file, by_seed, by_url] {
            assert!(output.text().contains("10.0.0.3"), "{}", output.stderr);
        }
        let output = harrow("config")
            .arg("check")
            .arg(&second)
            .run_any()
            .unwrap();
        let warned = output.text().contains("text/x-shellscript");
        assert_eq!(warned, warns, "{}", output.text());
    }
}

/// The node's config on the OEM partition of an installed file.
fn stored(place: &Place, report: &Path) -> String {
    let report: harrow::install::report::Report =
        serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
    let role = harrow::disk::layout::Role::Oem;
    let start = report.plan.layout().unwrap().of(role).unwrap().start;
    let image = format!("{}?offset={start}", place.disk().display());
    Cmd::new("debugfs")
        .args(["-R", "cat config.yaml", &image])
        .run()
        .unwrap()
        .text()
}

#[test]
fn keys_of_people_are_stored_and_an_install_without_them_fails() {
    let place = Place::new();
    let keys = "os: { hostname: node-1, ssh_authorized_keys: [\"github:some-body\"],";
    fs::write(
        place.config(),
        common::CONFIG.replace("os: { hostname: node-1,", keys),
    )
    .unwrap();
    // Offline, the form is all that is checked.
    let check = harrow("config").arg("check").arg(place.config());
    assert_eq!(check.run_any().unwrap().status.code(), Some(0));
    let install = |server: &str| {
        let report = place.path("report.json");
        let size = ["--size", "64G", "--wait", "1", "--key-server", server];
        place.install(&[&size[..], &["--report", report.to_str().unwrap()]].concat())
    };
    let output = install("http://127.0.0.1:1");
    assert_eq!(output.status.code(), Some(10), "{}", output.stderr);
    assert!(
        output.stderr.contains("github:some-body"),
        "{}",
        output.stderr
    );
    assert!(!place.disk().exists());
    let (server, requests) = serve(vec![good(format!("{KEY}\n").as_bytes())]);
    let output = install(&server);
    assert_eq!(output.status.code(), Some(0), "{}", output.stderr);
    assert!(requests.recv().unwrap().starts_with("GET /some-body.keys "));
    let stored = stored(&place, &place.path("report.json"));
    assert!(
        stored.contains(KEY) && !stored.contains("github:"),
        "{stored}"
    );
    assert!(
        stored.contains("$6$") && !stored.contains("hunter2"),
        "{stored}"
    );
}
