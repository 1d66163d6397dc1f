//! `harrow config` and `harrow facts` as a person runs them: output, exit codes, files.

#![allow(clippy::unwrap_used)] // helpers of tests may panic

mod common;

use std::fs;

use common::harrow;
use harrow::facts::Facts;
use harrow::sys::cmd::{Cmd, Output};

const GOOD: &str = "token: hunter2
os: { hostname: node-1, password: hunter2 }
install: { mode: create, bundle_mirror: 'http://m.example', vip: 10.0.0.5, device: /dev/sda }
";

struct Place(tempfile::TempDir);

impl Place {
    fn new(text: &str) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::write(place.path("a.yaml"), text).unwrap();
        place
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }
}

fn config(args: &[&str]) -> Output {
    harrow("config").args(args).run_any().unwrap()
}

#[test]
fn check_ends_with_0_on_warnings_and_11_on_errors() {
    let place = Place::new(GOOD);
    let output = config(&["check", &place.path("a.yaml")]);
    assert_eq!(output.status.code(), Some(0), "{}", output.stderr);
    let text = output.text();
    assert!(
        text.contains("a.yaml:3:26: warning: install.bundle_mirror"),
        "{text}"
    );
    assert!(text.contains("1 warning"), "{text}");
    let output = config(&[
        "check",
        &place.path("a.yaml"),
        "--set",
        "os.hostname=Bad_Name",
    ]);
    assert_eq!(output.status.code(), Some(11), "{}", output.stderr);
    let text = output.text();
    assert!(text.contains("--set, word 1: error: os.hostname"), "{text}");
    assert!(!text.contains('\x1b'), "colour without a terminal: {text}");
    let output = config(&["check", &place.path("nothing.yaml")]);
    assert_eq!(output.status.code(), Some(10), "{}", output.stderr);
}

#[test]
fn what_never_ends_or_is_read_twice_is_refused() {
    let place = Place::new(GOOD);
    let output = config(&["check", "-", "-"]);
    assert_eq!(output.status.code(), Some(11), "{}", output.stderr);
    assert!(output.stderr.contains("twice"), "{}", output.stderr);
    let pipe = place.path("pipe");
    Cmd::new("mkfifo").arg(&pipe).run().unwrap();
    let output = config(&["check", &pipe]);
    assert_eq!(output.status.code(), Some(10), "{}", output.stderr);
    assert!(output.text().contains("pipe"), "{}", output.text());
}

#[test]
fn check_speaks_json() {
    let place = Place::new("os: {hostnme: x}\ninstall: {mode: install}\n");
    let output = config(&["check", "--json", &place.path("a.yaml")]);
    assert_eq!(output.status.code(), Some(11));
    let json: serde_json::Value = serde_json::from_str(&output.text()).unwrap();
    assert_eq!(json["errors"], 2);
    let first = &json["problems"][1];
    assert_eq!(first["code"], "unknown-key");
    assert_eq!((&first["line"], &first["column"]), (&1.into(), &6.into()));
}

/// What can't be had does not hide what is wrong with all else.
#[test]
fn check_says_what_could_not_be_had_beside_all_other_problems() {
    let place = Place::new("os: {hostnme: x}\ninstall: {config_url: \"http://127.0.0.1:1/\"}\n");
    fs::write(place.path("b.yaml"), GOOD).unwrap();
    let paths = ["a.yaml", "b.yaml", "gone.yaml", "facts.json"].map(|name| place.path(name));
    let [first, second, gone, facts] = paths.each_ref().map(String::as_str);
    for (args, codes) in [
        (
            &["--follow", "--wait", "0", first][..],
            &["unavailable", "unknown-key"][..],
        ),
        (&[second, gone], &["not-yet", "unavailable"]),
        (&[second, "--facts", facts], &["not-yet", "unavailable"]),
    ] {
        let output = config(&[&["check", "--json"], args].concat());
        assert_eq!(output.status.code(), Some(10), "{}", output.stderr);
        let json: serde_json::Value = serde_json::from_str(&output.text()).unwrap();
        let mut found: Vec<&str> = json["problems"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p["code"].as_str().unwrap())
            .collect();
        found.sort_unstable();
        assert_eq!(found, codes);
    }
}

#[test]
fn nothing_said_shows_no_values() {
    let output = config(&["show", "--json"]);
    assert_eq!(output.status.code(), Some(11), "{}", output.stderr);
    let json: serde_json::Value = serde_json::from_str(&output.text()).unwrap();
    assert_eq!(json["values"], serde_json::json!([]));
}

#[test]
fn several_files_are_a_cluster() {
    let place = Place::new(GOOD);
    let join = "server_url: https://10.0.0.5:443\ntoken: hunter3\nos: {password: x, hostname: node-1}\ninstall: {mode: join}\n";
    fs::write(place.path("b.yaml"), join).unwrap();
    let output = config(&["check", &place.path("a.yaml"), &place.path("b.yaml")]);
    assert_eq!(output.status.code(), Some(11));
    let text = output.text();
    for code in ["token-differs", "same-hostname", "even-control-plane"] {
        assert!(text.contains(code), "{text}");
    }
    assert!(!text.contains("hunter"), "{text}");
}

#[test]
fn a_config_is_checked_against_a_saved_machine() {
    let place = Place::new(GOOD);
    let facts = serde_json::json!({
        "cpus": 4, "memory": 8u64 << 30,
        "nics": [{"name": "ens3", "mac": "52:54:00:12:34:56"}],
        "disks": [{"path": "/dev/vda", "name": "vda", "size": 100u64 << 30, "sector_size": 512,
                   "model": null, "serial": "S1", "wwn": null, "read_only": false, "users": []}],
    });
    fs::write(place.path("facts.json"), facts.to_string()).unwrap();
    let facts = place.path("facts.json");
    let file = place.path("a.yaml");
    let output = config(&["check", &file, "--facts", &facts]);
    assert_eq!(output.status.code(), Some(11));
    let text = output.text();
    assert!(
        text.contains("no-such-disk") && text.contains("/dev/vda: 100 GiB"),
        "{text}"
    );
    let small = ["--set", "install.device={serial: S1}"];
    let output = config(&[&["check", &file, "--facts", &facts][..], &small].concat());
    assert!(
        output.text().contains("disk-too-small"),
        "{}",
        output.text()
    );
}

#[test]
fn facts_are_json_that_reads_back() {
    let place = Place::new("");
    let out = place.path("facts.json");
    let output = harrow("facts").args(["--out", &out]).run_any().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", output.stderr);
    let facts: Facts = serde_json::from_slice(&fs::read(out).unwrap()).unwrap();
    assert!(facts.cpus > 0 && facts.memory > 0);
}

#[test]
fn show_names_every_origin_and_no_secret() {
    let place = Place::new(GOOD);
    fs::write(place.path("b.yaml"), "os: {hostname: node-2}\n").unwrap();
    let cmdline = "quiet harvester.install.tty=ttyS1,115200n8 harrow.boot.slot=a";
    let (a, b) = (place.path("a.yaml"), place.path("b.yaml"));
    let output = config(&["show", &a, &b, "--cmdline", cmdline]);
    assert_eq!(output.status.code(), Some(0), "{}", output.stderr);
    let text = output.text();
    for (line, origin) in [
        ("hostname: node-2", "b.yaml:1:16"),
        ("tty: ttyS1,115200n8", "kernel command line, word 2"),
        ("token: ***", "a.yaml:1:8"),
    ] {
        let found = text.lines().find(|l| l.contains(line));
        assert!(found.is_some_and(|l| l.ends_with(origin)), "{line}: {text}");
    }
    assert!(
        !text.contains("hunter2") && !text.contains("slot"),
        "{text}"
    );
    let json = config(&["show", "--json", &a]).text();
    assert!(
        json.contains("\"***\"") && !json.contains("hunter2"),
        "{json}"
    );
}

#[test]
fn render_writes_what_the_node_gets() {
    let place = Place::new(GOOD);
    let out = place.path("node");
    let output = config(&["render", &place.path("a.yaml"), "--out", &out]);
    assert_eq!(output.status.code(), Some(0), "{}", output.stderr);
    assert!(output.text().contains("/etc/hostname"));
    let hostname = fs::read_to_string(format!("{out}/etc/hostname")).unwrap();
    assert_eq!(hostname, "node-1\n");
    let again = config(&["render", &place.path("a.yaml"), "--out", &out]);
    assert_eq!(again.status.code(), Some(41), "{}", again.stderr);
    let nowhere = config(&["render", &place.path("a.yaml"), "--out", "/dev/null/x"]);
    assert_eq!(nowhere.status.code(), Some(43), "{}", nowhere.stderr);
}

#[test]
fn convert_example_and_schema() {
    let place =
        Place::new("os: {sshAuthorizedKeys: []}\ninstall: {managementInterface: {method: dhcp}}\n");
    let text = config(&["convert", &place.path("a.yaml")]).text();
    assert_eq!(
        text,
        "os:\n  ssh_authorized_keys: []\ninstall:\n  management_interface:\n    method: dhcp\n"
    );
    for mode in ["create", "join", "install"] {
        let text = config(&["example", mode]).text();
        assert!(text.contains(&format!("mode: {mode}")), "{text}");
        fs::write(place.path("a.yaml"), text).unwrap();
        let output = config(&["check", &place.path("a.yaml")]);
        assert_eq!(output.status.code(), Some(0), "{}", output.text());
    }
    let schema: serde_json::Value = serde_json::from_str(&config(&["schema"]).text()).unwrap();
    let max_pods = &schema["properties"]["cluster"]["properties"]["max_pods"];
    assert_eq!(max_pods["default"], 200);
    assert_eq!(max_pods["maximum"], 4000);
    assert_eq!(schema["additionalProperties"], false);
}

#[test]
fn plan_takes_several_configs_and_assignments() {
    let place = Place::new(GOOD);
    fs::write(place.path("b.yaml"), "os: {hostname: x_y}\n").unwrap();
    let (a, b) = (place.path("a.yaml"), place.path("b.yaml"));
    let run = |more: &[&str]| {
        let args = [&["--config", &a, "--config", &b][..], more].concat();
        harrow("plan").args(args).run_any().unwrap()
    };
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(11));
    assert!(
        output.stderr.contains("b.yaml:1:16: error: os.hostname"),
        "{}",
        output.stderr
    );
    // Without anything wrong in the config, the image is what is missing.
    fs::write(&b, "os: {hostname: fine}\n").unwrap();
    let output = run(&["--set", "os.hostname=finer", "--image", "/nonexistent"]);
    assert_eq!(output.status.code(), Some(30), "{}", output.stderr);
    let output = harrow("plan").run_any().unwrap();
    assert_eq!(output.status.code(), Some(10), "{}", output.stderr);
}

/// What of a node's files depends on the machine and on the payload.
#[test]
fn render_is_for_a_machine_and_with_a_payload() {
    let place = Place::new(GOOD);
    let payload = place.path("payload");
    fs::create_dir_all(format!("{payload}/charts")).unwrap();
    fs::write(format!("{payload}/charts/longhorn.tgz"), "chart").unwrap();
    let facts = place.path("facts.json");
    fs::write(&facts, r#"{"cpus": 64, "memory": 274877906944}"#).unwrap();
    let node = "etc/rancher/rke2/config.yaml.d/40-harrow-node.yaml";
    let longhorn = "run/harrow/manifests/harrow-longhorn.yaml";
    let render = |out: &str, more: &[&str]| {
        let (config_file, out) = (place.path("a.yaml"), place.path(out));
        let output = config(&[&["render", &config_file, "--out", &out], more].concat());
        let read = |path: &str| fs::read_to_string(format!("{out}/{path}")).unwrap_or_default();
        (
            output.status.code(),
            output.stderr,
            read(node),
            read(longhorn),
        )
    };
    let (code, said, node, longhorn) = render("plain", &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("8 CPUs and 32Gi"), "{said}");
    assert!(
        node.contains("kube-reserved=cpu=588m,memory=1473Mi"),
        "{node}"
    );
    assert!(longhorn.contains("charts/longhorn.tgz"), "{longhorn}");
    let (code, said, node, longhorn) = render("facts", &["--facts", &facts, "--payload", &payload]);
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("CPUs"), "{said}");
    assert!(node.contains("kube-reserved=cpu=756m"), "{node}");
    assert!(longhorn.contains("chartContent: Y2hhcnQ="), "{longhorn}");
    let small = ["--facts", &facts, "--cpus", "2", "--memory", "4Gi"];
    let (code, said, node, _) = render("small", &small);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        node.contains("kube-reserved=cpu=564m,memory=613Mi"),
        "{node}"
    );
    for (more, code) in [
        (&["--cpus", "0"][..], 2),
        (&["--memory", "4"], 2),
        (&["--payload", "/nonexistent"], 10),
    ] {
        assert_eq!(render("bad", more).0, Some(code), "{more:?}");
    }
    fs::remove_file(format!("{payload}/charts/longhorn.tgz")).unwrap();
    let (code, said, _, longhorn) = render("empty", &["--payload", &payload]);
    assert_eq!((code, longhorn.as_str()), (Some(0), ""));
    assert!(said.contains("no chart longhorn"), "{said}");
}
