//! `harrow-build bundle` as a person runs it, with a real registry and a server of files.

#![allow(clippy::unwrap_used)] // helpers of tests may panic

#[path = "../../installer/tests/common/bad_server.rs"]
mod bad_server;
#[path = "../../installer/tests/common/registry.rs"]
mod registry;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bad_server::{Answer, Server};
use harrow::bundle::{Digest, LockedBundle};
use harrow::sys::cmd::{Cmd, Output};
use harrow::sys::wait;
use registry::{Door, Registry, layer};
use serde_json::{Value, json};

/// A bundle of each kind, its upstream, and room.
struct Place {
    dir: tempfile::TempDir,
    registry: Registry,
    server: Server,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let files = dir.path().join("files");
        fs::create_dir(&files).unwrap();
        let write = |name: &str, bytes: &[u8]| fs::write(files.join(name), bytes).unwrap();
        let tarball = layer("bin/rke2", 4 << 20);
        write("rke2.tar.gz", &registry::gzip(&tarball));
        write("chart-1.0.tgz", b"a chart");
        write("operator.yaml", b"kind: Namespace\n");
        write("virtctl", b"#!/bin/sh\n");
        let sum = |name: &str| Digest::of_file(&files.join(name)).unwrap().0;
        let sums = format!(
            "{}  rke2.tar.gz\n{}  other\n",
            sum("rke2.tar.gz"),
            sum("virtctl")
        );
        write("sha256sum.txt", sums.as_bytes());
        let index = json!({"apiVersion": "v1", "entries": {"chart": [
            {"version": "2.0", "digest": sum("virtctl")},
            {"version": "1.0", "digest": sum("chart-1.0.tgz")},
        ]}});
        write("index.yaml", index.to_string().as_bytes());
        let registry = Registry::start(Door::Password);
        let shared = layer("shared", 2 << 20);
        registry.push("team/a", "v1", "amd64", &[&shared]);
        let ours = registry.push("team/b", "ours", "amd64", &[&shared, &layer("own", 60_000)]);
        let arm = registry.push("team/b", "arm", "arm64", &[&layer("arm", 1000)]);
        registry.push_index("team/b", "v1", &[("arm64", &arm), ("amd64", &ours)]);
        let server = Server::new(&files, |_| Answer::default());
        let place = Self {
            dir,
            registry,
            server,
        };
        let url = &place.server.url;
        let text = format!(
            "schema = 1\n\
             [[artifact]]\nname = 'rke2'\nkind = 'rke2'\nversion = 'v1'\nurl = '{url}rke2.tar.gz'\nchecksums = '{url}sha256sum.txt'\n\
             [[artifact]]\nname = 'chart'\nkind = 'chart'\nversion = '1.0'\nurl = '{url}chart-1.0.tgz'\nindex = '{url}index.yaml'\n\
             [[artifact]]\nname = 'operator'\nkind = 'manifest'\nversion = 'v1'\nurl = '{url}operator.yaml'\n\
             [[artifact]]\nname = 'set'\nkind = 'image-set'\nversion = 'v1'\nimages = ['a.example/team/a:v1', 'a.example/team/b:v1']\n\
             [[artifact]]\nname = 'virtctl'\nkind = 'program'\nversion = 'v1'\nurl = '{url}virtctl'\nonly_with = 'vms'\n"
        );
        fs::write(place.path("bundle.toml"), text).unwrap();
        fs::write(place.path("bundle.lock"), "# ours\nschema = 1\n").unwrap();
        let yaml = place.registry.registries_yaml("a.example", true);
        fs::write(place.path("registries.yaml"), yaml.to_string()).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, verb: &str, cache: &str, more: &[&str]) -> Cmd {
        Cmd::new(env!("CARGO_BIN_EXE_harrow-build"))
            .args([
                "bundle",
                verb,
                "--retries",
                "2",
                "--stall-limit",
                "5",
                "--bundle",
            ])
            .arg(self.path("bundle.toml"))
            .arg("--registries")
            .arg(self.path("registries.yaml"))
            .arg("--cache")
            .arg(self.path(cache))
            .args(more)
    }

    fn run(&self, verb: &str, cache: &str, more: &[&str]) -> Output {
        self.command(verb, cache, more).run_any().unwrap()
    }

    /// What a run that must succeed said.
    fn good(&self, verb: &str, cache: &str, more: &[&str]) -> String {
        let output = self.run(verb, cache, more);
        assert!(
            output.status.success(),
            "{verb}: {}{}",
            output.text(),
            output.stderr
        );
        output.text()
    }

    /// A run that must fail, with all of `words` in its error.
    fn bad(&self, verb: &str, cache: &str, more: &[&str], words: &[&str]) {
        let output = self.run(verb, cache, more);
        assert_eq!(output.status.code(), Some(1), "{verb}: {}", output.text());
        for word in words {
            assert!(
                output.stderr.contains(word),
                "{word:?} is not in: {}",
                output.stderr
            );
        }
        assert!(
            !output.stderr.contains(registry::PASSWORD),
            "{}",
            output.stderr
        );
    }

    fn lock_all(&self) {
        self.good("lock", "cache", &["--by-download"]);
    }

    fn blobs(&self, cache: &str) -> Vec<String> {
        names(&self.path(cache).join("bundle/blobs/sha256"))
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<String> = entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn pins_are_found_where_upstream_names_them() {
    let place = Place::new();
    let words = [
        "no pin was found for",
        "operator",
        "virtctl",
        "--by-download",
    ];
    place.bad("lock", "cache", &[], &words);
    let text = fs::read_to_string(place.path("bundle.lock")).unwrap();
    let url = &place.server.url;
    for part in [
        "# ours\nschema = 1\n",
        &format!("# from {url}sha256sum.txt\nsha256 = "),
        &format!("# from {url}index.yaml\nsha256 = "),
        "# from a.example\n\"a.example/team/b:v1\" = \"sha256:",
    ] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    assert!(!text.contains("[artifact.virtctl]"), "{text}");
    // What needs no pin is not asked for; what has none is named by who needs it.
    place.bad(
        "fetch",
        "cache",
        &["--with", "x"],
        &["operator v1 (not in the lock)", "hint: pin it with"],
    );
    place.bad(
        "fetch",
        "cache",
        &["--only", "nothing"],
        &["no artifact \"nothing\""],
    );
    place.good("lock", "cache", &["--only", "operator", "--by-download"]);
    place.good("fetch", "cache", &["--with", "x"]);
    let rows: Value = serde_json::from_str(&place.good("list", "cache", &["--json"])).unwrap();
    let row = |name: &str| {
        let rows = rows.as_array().unwrap();
        rows.iter().find(|r| r["name"] == name).unwrap().clone()
    };
    assert_eq!(row("operator")["size"], 16);
    for (name, pinned, cached) in [
        ("rke2", true, true),
        ("set", true, true),
        ("virtctl", false, false),
    ] {
        let row = row(name);
        assert_eq!(
            (&row["pinned"], &row["cached"]),
            (&json!(pinned), &json!(cached)),
            "{row}"
        );
    }
    let table = place.good("list", "cache", &[]);
    assert!(table.contains("virtctl: not in the lock"), "{table}");
    // A second time nothing changes, whatever is asked anew.
    let before = fs::read_to_string(place.path("bundle.lock")).unwrap();
    let said = place.good("lock", "cache", &["--only", "set", "--only", "rke2"]);
    assert_eq!(said.matches("as it was").count(), 2, "{said}");
    assert_eq!(
        fs::read_to_string(place.path("bundle.lock")).unwrap(),
        before
    );
}

#[test]
fn pins_that_nobody_has() {
    let place = Place::new();
    let change = |from: &str, to: &str| {
        let text = fs::read_to_string(place.path("bundle.toml")).unwrap();
        assert!(text.contains(from), "{from}");
        fs::write(place.path("bundle.toml"), text.replace(from, to)).unwrap();
    };
    // No other server stands for this one.
    let host = &place.registry.host;
    let image = |tag: &str| format!("{host}/team/a:{tag}");
    change("a.example/team/b:v1", &format!("{host}/team/b:v1"));
    change("a.example/team/a:v1", &image("v9"));
    change("version = '1.0'", "version = '1.1'");
    change("rke2.tar.gz", "rke3.tar.gz");
    place.bad(
        "lock",
        "cache",
        &[],
        &[
            "rke2: in http",
            "rke3.tar.gz is not in this list",
            "chart: in http",
            "has no version 1.1",
            &format!("image {}: ", image("v9")),
            "answers 404",
        ],
    );
    fs::write(place.path("registries.yaml"), "{}").unwrap();
    change("team/a:v9", "team/a:v1");
    place.bad(
        "lock",
        "cache",
        &["--only", "set"],
        &[
            &format!("set: image {}: ", image("v1")),
            "needs credentials",
        ],
    );
}

#[test]
fn the_cache_is_hashed_again() {
    let place = Place::new();
    place.lock_all();
    place.good("fetch", "cache", &[]);
    let good = place.good("verify", "cache", &[]);
    assert_eq!(good.matches("good: ").count(), 5, "{good}");
    let blobs = place.blobs("cache");
    let dir = place.path("cache").join("bundle/blobs/sha256");
    let size = |name: &String| fs::metadata(dir.join(name)).unwrap().len();
    let largest = blobs.iter().max_by_key(|name| size(name)).unwrap();
    fs::remove_file(dir.join(largest)).unwrap();
    fs::write(dir.join(largest), "damage").unwrap();
    let output = place.run("verify", "cache", &[]);
    assert_eq!(output.status.code(), Some(1));
    let text = output.text();
    assert!(
        text.contains("damaged, and taken out of the cache") && text.contains(largest),
        "{text}"
    );
    assert!(!place.blobs("cache").contains(largest));
    place.good("fetch", "cache", &[]);
    place.good("verify", "cache", &[]);
    assert_eq!(place.blobs("cache"), blobs);
    place.bad("verify", "empty", &[], &["5 missing"]);
}

#[test]
fn mirrors_stand_for_everything() {
    let place = Place::new();
    place.lock_all();
    let dir = place.path("mirror").display().to_string();
    place.good("mirror", "cache", &["--to", &dir]);
    let list = fs::read(place.path("mirror/bundle.json")).unwrap();
    let list = LockedBundle::parse(&list).unwrap();
    assert_eq!((list.artifacts.len(), list.unpinned.len()), (5, 0));
    assert_eq!(
        names(&place.path("mirror")),
        ["blobs", "bundle.json", "index.json", "oci-layout"]
    );
    let to = place.registry.origin("site/one");
    place.good("mirror", "cache", &["--to", &to]);
    // Again, for nothing.
    place.good("mirror", "cache", &["--to", &dir]);
    place.good("mirror", "cache", &["--to", &to]);
    // Upstream is gone now.
    let served = Server::new(&place.path("mirror"), |_| Answer::default());
    let text = fs::read_to_string(place.path("bundle.toml")).unwrap();
    let gone = text.replace(&place.server.url, "http://127.0.0.1:1/");
    fs::write(place.path("bundle.toml"), gone).unwrap();
    let mut yaml = place.registry.registries_yaml("a.example", true);
    yaml["mirrors"] = json!({"a.example": {"endpoint": ["http://127.0.0.1:1"]}});
    fs::write(place.path("registries.yaml"), yaml.to_string()).unwrap();
    for (cache, from) in [("a", &dir), ("b", &served.url), ("c", &to)] {
        place.good("fetch", cache, &["--from", from]);
        place.good("verify", cache, &[]);
    }
    assert_eq!(place.blobs("a"), place.blobs("b"));
    assert_eq!(place.blobs("a"), place.blobs("c"));
    place.bad(
        "fetch",
        "d",
        &["--only", "rke2"],
        &["rke2 v1", "http://127.0.0.1:1/rke2.tar.gz", "hint: "],
    );
    place.bad(
        "fetch",
        "d",
        &["--from", "127.0.0.1:5000/x"],
        &["oci://127.0.0.1:5000/x"],
    );
    place.bad(
        "mirror",
        "cache",
        &["--to", &served.url],
        &["can't be written to"],
    );
    let empty = format!("{to}-empty");
    place.bad(
        "fetch",
        "d",
        &["--from", &empty, "--only", "chart"],
        &["chart 1.0", "404"],
    );
}

#[test]
fn after_a_kill_it_goes_on() {
    let place = Place::new();
    place.lock_all();
    // The first answer stops in the middle and says nothing more.
    let stalling = Server::new(&place.path("files"), |request| Answer {
        cut: (request.number == 0).then_some(3 << 20),
        stall: true,
        ..Answer::default()
    });
    let text = fs::read_to_string(place.path("bundle.toml")).unwrap();
    let slow = text.replace(&place.server.url, &stalling.url);
    fs::write(place.path("bundle.toml"), slow).unwrap();
    let log = File::create(place.path("log")).unwrap();
    let command = place.command("fetch", "killed", &["--only", "rke2"]);
    let mut child = command.spawn_logged(log.try_clone().unwrap(), log).unwrap();
    let partial = place.path("killed").join("bundle/partial");
    let begun = || {
        let name = names(&partial).into_iter().next()?;
        fs::metadata(partial.join(name))
            .ok()
            .filter(|there| there.len() >= 3 << 20)
    };
    let pause = Duration::from_millis(50);
    let there = wait::until("3 MiB", Duration::from_secs(30), pause, || {
        Ok(partial.is_dir().then(begun).flatten())
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(there.unwrap().len(), 3 << 20);
    assert!(
        place.blobs("killed").is_empty(),
        "half a file has no final name"
    );
    let before = stalling.sent();
    place.good("fetch", "killed", &["--only", "rke2"]);
    place.good("verify", "killed", &["--only", "rke2"]);
    let whole = fs::metadata(place.path("files/rke2.tar.gz")).unwrap().len();
    assert_eq!(stalling.sent() - before, whole - (3 << 20));
}
