//! What `harrow config` prints and writes, whole: colour, converted files, a node's files. And
//! what an install leaves behind: no secret.

#![allow(clippy::unwrap_used)] // helpers of tests may panic

mod common;
#[path = "common/golden.rs"]
mod golden;
#[path = "common/server.rs"]
mod server;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use common::{Place, harrow};
use harrow::cluster::MANIFESTS_DIR;
use harrow::sys::cmd::{Cmd, Output};
use server::{good, serve};

/// A command on a terminal of its own; what it printed.
fn on_a_terminal(line: &str) -> Output {
    Cmd::new("script")
        .args(["-qec", line, "/dev/null"])
        .env("TERM", "xterm")
        .run_any()
        .unwrap()
}

#[test]
fn colour_is_for_terminals_alone_and_can_be_refused() {
    let place = Place::new();
    fs::write(place.config(), "os: {hostnme: x, ntp_servers: {a: b}}\n").unwrap();
    let check = format!(
        "{} config check {}",
        env!("CARGO_BIN_EXE_harrow"),
        place.config().display()
    );
    let output = on_a_terminal(&format!("NO_COLOR= {check}"));
    assert_eq!(output.status.code(), Some(11), "{}", output.stderr);
    let coloured = output.text();
    assert!(coloured.contains("\x1b[1;31merror\x1b[0m"), "{coloured}");
    let plain = Cmd::new("bash").args(["-c", &check]).run_any().unwrap();
    let plain = plain.text();
    assert!(plain.contains(": error: os.hostnme"), "{plain}");
    for output in [
        on_a_terminal(&format!("NO_COLOR=1 {check}")),
        on_a_terminal(&format!("{check} | cat")),
        on_a_terminal(&format!("{check} --json")),
    ] {
        let text = output.text();
        assert!(text.contains("hostnme"), "{text}");
        assert!(!text.contains('\x1b'), "{text}");
    }
    // Colour is all the difference.
    let mut bare = coloured.replace('\r', "");
    for colour in [
        "\x1b[0m",
        "\x1b[1;31m",
        "\x1b[1;33m",
        "\x1b[36m",
        "\x1b[1m",
        "\x1b[2m",
    ] {
        bare = bare.replace(colour, "");
    }
    assert!(bare.starts_with(&plain), "{bare:?} is not {plain:?}");
}

/// As people have it: Harvester's spelling, older names, a wrapper, a password in clear.
const WRITTEN: &str = "#cloud-config
harvester:
  schemeVersion: 1
  token: hunter2
  os:
    hostname: node-1
    password: hunter3
    sshAuthorizedKeys: []
    dnsNameservers: [10.0.0.2]   # ours
    write-files:
      - {path: /etc/motd, content: \"two\\nlines\\n\", permissions: '0644'}
  install:
    Mode: create
    dataDisk: /dev/sdb
    networks:
      harvester-mgmt:
        interfaces: [{hwAddr: '52:54:00:12:34:56', name: ens3}]
        method: dhcp
      storage: {interfaces: [ens4]}
";

const CONVERTED: &str = "scheme_version: 1
token: hunter2
os:
  hostname: node-1
  password: HASH
  ssh_authorized_keys: []
  dns_nameservers:
    - 10.0.0.2
  write_files:
    - path: /etc/motd
      content: |
        two
        lines
      permissions: \"0644\"
install:
  mode: create
  data_disk: /dev/sdb
  networks:
    storage:
      interfaces:
        - ens4
  management_interface:
    interfaces:
      - hw_addr: \"52:54:00:12:34:56\"
        name: ens3
    method: dhcp
";

/// The converted text with a fixed word for the password's hash, whose salt is random.
fn without_hash(text: &str) -> String {
    let (head, rest) = text.split_once("  password: ").unwrap();
    let (hash, tail) = rest.split_once('\n').unwrap();
    assert!(hash.trim_matches('"').starts_with("$6$"), "{hash}");
    format!("{head}  password: HASH\n{tail}")
}

#[test]
fn convert_writes_todays_spelling_and_hides_the_password() {
    let place = Place::new();
    fs::write(place.config(), WRITTEN).unwrap();
    let convert = |config: &Path, input: &str| {
        let convert = harrow("config").arg("convert").arg(config);
        let output = convert.input(input).run_any().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", output.stderr);
        assert!(!output.text().contains("hunter3") && !output.stderr.contains("hunter"));
        output.text()
    };
    let by_file = convert(&place.config(), "");
    let by_pipe = convert("-".as_ref(), WRITTEN);
    for text in [&by_file, &by_pipe] {
        assert_eq!(without_hash(text), CONVERTED);
    }
    assert_ne!(by_file, by_pipe, "each hash has a salt of its own");
    // What was converted stays as it is, and says the same.
    assert_eq!(convert("-".as_ref(), &by_file), by_file);
    let show = |text: &str| {
        fs::write(place.config(), text).unwrap();
        let show = harrow("config")
            .args(["show", "--json"])
            .arg(place.config());
        let json: serde_json::Value =
            serde_json::from_str(&show.run_any().unwrap().text()).unwrap();
        let values = json["values"].as_array().unwrap().iter();
        let values = values.map(|v| (v["key"].to_string(), v["value"].to_string()));
        values.collect::<BTreeMap<_, _>>()
    };
    assert_eq!(show(WRITTEN), show(&by_file));
}

#[test]
fn convert_refuses_what_it_would_lose() {
    for (text, code) in [
        ("os: [\n", "[syntax]"),
        ("os: {hostname: a, hostName: b}\n", "[duplicate-key]"),
        ("os: {password: \"hunter3\\nhunter3\"}\n", "[bad-value]"),
        ("", "[empty]"),
    ] {
        let convert = harrow("config").args(["convert", "-"]).input(text);
        let output = convert.run_any().unwrap();
        assert_eq!(output.status.code(), Some(11), "{text}: {}", output.stderr);
        assert_eq!(output.text(), "", "{text}");
        assert!(output.stderr.contains(code), "{text}: {}", output.stderr);
        assert!(!output.stderr.contains("hunter"), "{}", output.stderr);
    }
}

/// Mode (or target of a link) and bytes of each file in the text of a golden case.
fn of_golden(text: &str) -> BTreeMap<String, (String, String)> {
    let mut files = BTreeMap::new();
    for section in text.strip_prefix("==== ").unwrap().split("\n==== ") {
        let (head, body) = section.split_once('\n').unwrap_or((section, ""));
        let (path, rest) = head.split_once(' ').unwrap();
        let body = match body.strip_suffix("\n(no newline at the end)") {
            Some(body) => body.to_owned(),
            None if body.is_empty() => String::new(),
            None => format!("{}\n", body.trim_end_matches('\n')),
        };
        let kind = match rest.strip_prefix("-> ") {
            Some(_) => rest.to_owned(),
            None => rest.split(' ').next().unwrap().to_owned(),
        };
        files.insert(path.to_owned(), (kind, body));
    }
    files
}

/// The same of what lies in a folder, folders left out that only hold others.
fn of_folder(top: &Path, dir: &Path, files: &mut BTreeMap<String, (String, String)>) {
    for path in golden::entries(dir) {
        let name = format!("/{}", path.strip_prefix(top).unwrap().display());
        let meta = path.symlink_metadata().unwrap();
        let mode = format!("{:04o}", meta.permissions().mode() & 0o7777);
        if meta.is_symlink() {
            let target = fs::read_link(&path).unwrap();
            files.insert(name, (format!("-> {}", target.display()), String::new()));
        } else if meta.is_dir() {
            files.insert(format!("{name}/"), (mode, String::new()));
            of_folder(top, &path, files);
        } else {
            let body = fs::read(&path).unwrap();
            files.insert(name, (mode, String::from_utf8_lossy(&body).into_owned()));
        }
    }
}

/// Files of which the content is the machine's or the image's: zeros and less stand there.
const OF_THE_MACHINE: [&str; 9] = [
    "/etc/machine-id",
    "/etc/passwd",
    "/etc/shadow",
    "/etc/group",
    "/etc/gshadow",
    "/etc/iscsi/initiatorname.iscsi",
    "/etc/nvme/hostid",
    "/etc/nvme/hostnqn",
    "/etc/systemd/system/var-lib-longhorn.mount",
];

#[test]
fn render_writes_exactly_the_files_of_a_node() {
    let mut compared = 0;
    let cases = [("node", 5), ("cluster", 8)];
    let cases = cases.map(|(kind, least)| {
        golden::cases(kind, least)
            .into_iter()
            .map(move |c| (kind, c))
    });
    for (kind, case) in cases.into_iter().flatten() {
        let place = Place::new();
        let out = place.path("node");
        let render = harrow("config")
            .arg("render")
            .arg(case.join("config.yaml"))
            .arg("--out")
            .arg(&out);
        let output = render.run_any().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", output.stderr);
        let mut found = BTreeMap::new();
        of_folder(&out, &out, &mut found);
        let expected = of_golden(&fs::read_to_string(case.join("expected.txt")).unwrap());
        for (path, (mode, body)) in &expected {
            let there = found.get(path);
            let (there_kind, there_body) =
                there.unwrap_or_else(|| panic!("{path} of {} is missing", case.display()));
            // Whoever looks must be able to.
            let opened = match u32::from_str_radix(mode, 8) {
                Ok(mode) if path.ends_with('/') => format!("{:04o}", mode & 0o777 | 0o700),
                Ok(mode) => format!("{:04o}", mode & 0o777 | 0o600),
                Err(_) => mode.clone(),
            };
            assert_eq!(*there_kind, opened, "{path}");
            let body = body.replace("harrow-01234567", "harrow-00000000");
            if !OF_THE_MACHINE.contains(&path.as_str()) && !body.starts_with("(binary)") {
                assert_eq!(*there_body, body, "{path} of {}", case.display());
                compared += 1;
            }
        }
        let mut more: Vec<&String> = found.keys().collect();
        more.retain(|path| !path.ends_with('/') && !expected.contains_key(*path));
        if kind == "node" {
            more.retain(|path| !path.starts_with(MANIFESTS_DIR));
        }
        assert_eq!(more, ["/oem/config.yaml"], "{}", case.display());
        for path in ["etc/shadow", "oem/config.yaml"] {
            let mode = fs::metadata(out.join(path)).unwrap().mode();
            assert_eq!(mode & 0o007, 0, "{path}");
        }
        let listed: Vec<String> = output.text().lines().map(str::to_owned).collect();
        for path in found.keys().filter(|path| !path.ends_with('/')) {
            assert!(listed.contains(path), "{path} is not listed: {listed:?}");
        }
    }
    assert!(compared > 50, "{compared}");
}

/// Secrets of every kind: token, password, a URL's password and query, headers, files.
#[test]
fn an_install_leaves_no_secret_in_its_log_and_report() {
    let place = Place::new();
    let far = "os: {environment: {HTTP_PROXY: \"http://me:hunter-proxy@10.0.0.9:3128\"}}\n";
    let (url, requests) = serve(vec![good(far)]);
    let url = url.replace("http://", "http://me:hunter-login@");
    let text = format!(
        "token: hunter-token
os:
  hostname: node-1
  password: hunter-password
  write_files: [{{path: /etc/secret, content: hunter-file}}]
install:
  mode: create
  vip: 10.0.0.5
  config_url: \"{url}/a.yaml?key=hunter-query\"
  config_headers: {{X-Token: hunter-header}}
  persistent_partition_size: 20Gi
"
    );
    fs::write(place.config(), text).unwrap();
    let (log, report) = (place.path("log"), place.path("report.json"));
    let output = place.install(&[
        "--size",
        "64G",
        "--wait",
        "5",
        "--log",
        log.to_str().unwrap(),
        "--report",
        report.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", output.stderr);
    // The server did get them, so the log had something to hide.
    let request = requests.recv().unwrap();
    assert!(request.contains("hunter-query") && request.contains("hunter-header"));
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("mke2fs"), "{log}");
    let report = fs::read_to_string(report).unwrap();
    for said in [&log, &report, &output.text(), &output.stderr] {
        let secret = said.lines().find(|line| line.contains("hunter"));
        assert_eq!(secret, None);
    }
}
