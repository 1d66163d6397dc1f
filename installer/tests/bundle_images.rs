//! Images of a real registry, on their way into a real containerd.

#![allow(clippy::unwrap_used)] // helpers of tests may panic

#[path = "common/registry.rs"]
mod registry;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::process::Child;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use harrow::bundle::oci::Registries;
use harrow::bundle::{
    ArtifactKind, Content, Digest, Fetching, LockedArtifact, LockedBundle, LockedImage, Origin,
    Progress, State, Store, Wanted, archive, hint_of, lay_out, needed,
};
use harrow::failure::{Failure, Kind};
use harrow::sys::cmd::Cmd;
use harrow::sys::net::remote::Limits;
use harrow::sys::wait;
use registry::{Door, Registry, layer};

const QUICK: Limits = Limits {
    retries: 2,
    stall: Duration::from_secs(5),
};

/// A bundle of one image set; images as name and digest.
fn bundle(images: &[(&str, Digest)]) -> LockedBundle {
    let images = images.iter().map(|(image, digest)| LockedImage {
        image: image.parse().unwrap(),
        digest: *digest,
    });
    LockedBundle {
        schema: 1,
        artifacts: vec![LockedArtifact {
            name: "set".to_owned(),
            kind: ArtifactKind::ImageSet,
            version: "v1".to_owned(),
            only_with: None,
            content: Content::Images(images.collect()),
        }],
        unpinned: Vec::new(),
    }
}

fn fetch(
    locked: &LockedBundle,
    store: &Store,
    registries: &Registries,
) -> anyhow::Result<Vec<Progress>> {
    let told = Mutex::new(Vec::new());
    Fetching {
        store,
        origin: &Origin::Upstream,
        registries,
        limits: QUICK,
        parallel: 4,
        ca: None,
        tell: &|progress| told.lock().unwrap().push(progress.clone()),
        stop: &AtomicBool::new(false),
        layers: false,
    }
    .run(locked, &Wanted::Pinned)?;
    Ok(told.into_inner().unwrap())
}

struct Place {
    dir: tempfile::TempDir,
    store: Store,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        Self { dir, store }
    }

    /// Files that are neither blobs nor notes of what was made.
    fn begun(&self) -> usize {
        fs::read_dir(self.store.dir().join("partial"))
            .unwrap()
            .count()
    }
}

/// An error of this kind with all of `words`, a hint and no secret.
fn refused(result: anyhow::Result<Vec<Progress>>, kind: Kind, words: &[&str]) {
    let error = result.unwrap_err();
    let text = format!("{error:#}");
    assert_eq!(Failure::of(&error).unwrap().kind, kind, "{text}");
    assert!(hint_of(&error).is_some(), "no hint: {text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
    assert!(!text.contains(registry::PASSWORD), "a secret in: {text}");
}

/// Names in the archive's tar, in order, and the bytes of the small ones.
fn listing(store: &Store, locked: &LockedBundle) -> Vec<(String, Vec<u8>)> {
    let Content::Images(images) = &locked.artifacts[0].content else {
        unreachable!("it is an image set")
    };
    let digest = archive::find(store, images).unwrap();
    let mut unpacked = zstd::Decoder::new(store.reader(digest).unwrap()).unwrap();
    // What RKE2's reader takes.
    unpacked.window_log_max(25).unwrap();
    let mut tar = tar::Archive::new(unpacked);
    let entries = tar.entries().unwrap();
    let read = entries.map(|entry| {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (entry.path().unwrap().display().to_string(), bytes)
    });
    read.collect()
}

#[test]
fn shared_layers_are_there_once() {
    let registry = Registry::start(Door::Open);
    let (shared, own) = (layer("shared", 3 << 20), layer("own", 100_000));
    let a = registry.push("team/a", "v1", "amd64", &[&shared]);
    let b = registry.push("team/b", "v1", "amd64", &[&shared, &own]);
    let locked = bundle(&[
        ("a.example/team/b:v1", b.digest),
        ("a.example/team/a:v1", a.digest),
    ]);
    let place = Place::new();
    let told = fetch(&locked, &place.store, &registry.registries()).unwrap();
    let last = told.last().unwrap();
    assert_eq!((last.artifact.as_str(), last.state), ("set", State::Done));
    assert!(
        last.done > 2 << 20 && last.total == Some(last.done),
        "{last:?}"
    );
    assert!(told.iter().any(|p| p.state == State::Packing));
    // Two manifests, two configs, two layers, one archive.
    assert_eq!(place.store.blobs().unwrap().len(), 7);
    let files = listing(&place.store, &locked);
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names[..3], ["oci-layout", "index.json", "manifest.json"]);
    assert_eq!(names.len(), 3 + 6, "{names:?}");
    for (name, bytes) in &files[3..] {
        let digest = name.strip_prefix("blobs/sha256/").unwrap();
        assert_eq!(Digest::of(bytes).to_string(), digest);
    }
    // The same images in another order, fetched again, are the same bytes.
    let other = Place::new();
    let turned = bundle(&[
        ("a.example/team/a:v1", a.digest),
        ("a.example/team/b:v1", b.digest),
    ]);
    fetch(&turned, &other.store, &registry.registries()).unwrap();
    assert_eq!(place.store.blobs().unwrap(), other.store.blobs().unwrap());
    // Laid out, the images that the archive was made of can go.
    let dest = place.dir.path().join("payload");
    let payload = lay_out(&locked, &place.store, &dest, &Wanted::Pinned).unwrap();
    assert_eq!(payload.artifacts[0].path, "images/set.tar.zst");
    place.store.prune(&needed(&locked, &place.store)).unwrap();
    assert_eq!(place.store.blobs().unwrap(), [payload.artifacts[0].sha256]);
    let (digest, _) = Digest::of_file(&dest.join("images/set.tar.zst")).unwrap();
    assert_eq!(digest, payload.artifacts[0].sha256);
    // And nothing is fetched again for it: neither here nor where nobody answers any more.
    drop(registry);
    fetch(&locked, &place.store, &Registries::default()).unwrap();
    lay_out(&locked, &place.store, &dest, &Wanted::Pinned).unwrap();
}

#[test]
fn an_index_leads_to_our_platform_or_to_an_error() {
    let registry = Registry::start(Door::Open);
    let ours = registry.push("team/x", "amd64", "amd64", &[&layer("x", 9000)]);
    let arm = registry.push("team/x", "arm64", "arm64", &[&layer("y", 9000)]);
    let both = registry.push_index("team/x", "v1", &[("arm64", &arm), ("amd64", &ours)]);
    let other = registry.push_index("team/x", "v2", &[("arm64", &arm)]);
    let registries = registry.registries();
    let place = Place::new();
    let good = bundle(&[("a.example/team/x:v1", both)]);
    fetch(&good, &place.store, &registries).unwrap();
    let blobs = place.store.blobs().unwrap();
    assert!(blobs.contains(&ours.digest) && !blobs.contains(&arm.digest));
    let index = &listing(&place.store, &good)[1].1;
    let index: serde_json::Value = serde_json::from_slice(index).unwrap();
    assert_eq!(index["manifests"][0]["digest"], ours.digest.oci());
    // RKE2 takes names with a tag alone (k3s, `retagImages`).
    let names = index["manifests"].as_array().unwrap().iter();
    let names: Vec<_> = names
        .map(|m| &m["annotations"]["io.containerd.image.name"])
        .collect();
    assert_eq!(names, ["a.example/team/x:v1"]);
    for pin in [other, arm.digest] {
        refused(
            fetch(
                &bundle(&[("a.example/team/x:v2", pin)]),
                &place.store,
                &registries,
            ),
            Kind::ArtifactDamaged,
            &[
                "set v1",
                "a.example/team/x:v2",
                "not for linux/amd64, but for linux/arm64",
            ],
        );
    }
    assert_eq!(place.begun(), 0);
    assert!(
        place.store.blobs().unwrap().is_superset_of(&blobs),
        "nothing was lost"
    );
}

trait Superset {
    fn is_superset_of(&self, other: &[Digest]) -> bool;
}

impl Superset for Vec<Digest> {
    fn is_superset_of(&self, other: &[Digest]) -> bool {
        other.iter().all(|digest| self.contains(digest))
    }
}

#[test]
fn registries_that_want_to_know_who_asks() {
    for (door, tls) in [
        (Door::Password, false),
        (Door::Token, false),
        (Door::Password, true),
    ] {
        let registry = match tls {
            true => Registry::start_tls(door),
            false => Registry::start(door),
        };
        let image = registry.push("team/a", "v1", "amd64", &[&layer("a", 2 << 20)]);
        let locked = bundle(&[("a.example/team/a:v1", image.digest)]);
        let place = Place::new();
        let nobody = registry::registries(&registry.registries_yaml("a.example", false));
        let mut yaml = registry.registries_yaml("a.example", true);
        // The registry itself, which does not exist, must not be what the error is about.
        yaml["configs"][&registry.host]["auth"]["password"] = "wrong".into();
        let wrong = registry::registries(&yaml);
        for (registries, why) in [
            (nobody, "needs credentials"),
            (wrong, "does not take the credentials"),
        ] {
            let result = fetch(&locked, &place.store, &registries);
            let text = format!("{:#}", result.unwrap_err());
            for word in [why, "set v1", "a.example/team/a:v1", &registry.host] {
                assert!(text.contains(word), "{door:?}: {word:?} is not in: {text}");
            }
        }
        assert_eq!((place.begun(), place.store.blobs().unwrap().len()), (0, 0));
        fetch(&locked, &place.store, &registry.registries()).unwrap();
        assert!(place.store.size_of(image.digest).is_some());
        // The same by docker's own file.
        let docker = place.dir.path().join("config.json");
        let auth = serde_json::json!({"auths": {&registry.host: {
            "username": registry::USER, "password": registry::PASSWORD,
        }}});
        fs::write(&docker, auth.to_string()).unwrap();
        let mut registries = registry::registries(&registry.registries_yaml("a.example", false));
        registries.read_docker_config(&docker).unwrap();
        let other = Place::new();
        fetch(&locked, &other.store, &registries).unwrap();
    }
}

#[test]
fn the_registry_itself_says_that_it_needs_credentials() {
    let registry = Registry::start(Door::Password);
    let image = registry.push("team/a", "v1", "amd64", &[&layer("a", 1000)]);
    let name = format!("{}/team/a:v1", registry.host);
    let place = Place::new();
    let result = fetch(
        &bundle(&[(&name, image.digest)]),
        &place.store,
        &Registries::default(),
    );
    refused(result, Kind::ArtifactRefused, &[&name, "needs credentials"]);
}

#[test]
fn a_private_ca_is_needed_and_used() {
    let registry = Registry::start_tls(Door::Open);
    let image = registry.push("team/a", "v1", "amd64", &[&layer("a", 1000)]);
    let locked = bundle(&[("a.example/team/a:v1", image.digest)]);
    let place = Place::new();
    let mut yaml = registry.registries_yaml("a.example", false);
    yaml["configs"] = serde_json::json!({});
    let error = fetch(&locked, &place.store, &registry::registries(&yaml)).unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains("certificate is not trusted"), "{text}");
    yaml["configs"][&registry.host]["tls"]["insecure_skip_verify"] = true.into();
    fetch(&locked, &place.store, &registry::registries(&yaml)).unwrap();
}

#[test]
fn a_mirror_that_is_away_or_damaged_does_not_matter() {
    let (good, bad) = (Registry::start(Door::Open), Registry::start(Door::Open));
    let layers = [layer("a", 1 << 20)];
    let image = good.push("team/a", "v1", "amd64", &[&layers[0]]);
    bad.push("team/a", "v1", "amd64", &[&layers[0]]);
    bad.damage(image.blobs[1], |bytes| bytes[1000] ^= 1);
    let locked = bundle(&[("a.example/team/a:v1", image.digest)]);
    let mut yaml = good.registries_yaml("a.example", false);
    yaml["mirrors"]["a.example"]["endpoint"] =
        serde_json::json!(["http://127.0.0.1:1", bad.url(), good.url()]);
    let place = Place::new();
    fetch(&locked, &place.store, &registry::registries(&yaml)).unwrap();
    assert_eq!(place.begun(), 0);
}

#[test]
fn layers_that_are_not_what_their_manifest_says() {
    let registry = Registry::start(Door::Open);
    let image = registry.push("team/a", "v1", "amd64", &[&layer("a", 1 << 20)]);
    let name = format!("{}/team/a:v1", registry.host);
    let locked = bundle(&[(&name, image.digest)]);
    let place = Place::new();
    let none = Registries::default();
    registry.damage(image.blobs[1], |bytes| bytes[1000] ^= 1);
    let result = fetch(&locked, &place.store, &none);
    let (wanted, kind) = (image.blobs[1].to_string(), Kind::ArtifactDamaged);
    refused(result, kind, &["set v1", &name, "the digest is", &wanted]);
    registry.damage(image.blobs[1], |bytes| bytes.truncate(500_000));
    let result = fetch(&locked, &place.store, &none);
    refused(result, kind, &["set v1", &name, "has 500000 bytes, and"]);
    // Manifest and config stay; the layer has left nothing.
    assert_eq!((place.store.blobs().unwrap().len(), place.begun()), (2, 0));
}

/// A containerd that ends with the test.
struct Containerd {
    child: Child,
    dir: tempfile::TempDir,
}

impl Drop for Containerd {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Containerd {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let config = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\"]\n\
             [grpc]\naddress = {:?}\n[ttrpc]\naddress = {:?}\n",
            path("root"),
            path("state"),
            path("socket"),
            path("ttrpc")
        );
        fs::write(path("config.toml"), config).unwrap();
        let log = File::create(path("log")).unwrap();
        let child = Cmd::new("containerd")
            .args(["--config", &path("config.toml")])
            .spawn_logged(log.try_clone().unwrap(), log)
            .unwrap();
        let containerd = Self { child, dir };
        let pause = Duration::from_millis(100);
        wait::until("containerd", Duration::from_secs(30), pause, || {
            let output = containerd.ctr(&["version"]).run_any()?;
            Ok(output.status.success().then_some(()))
        })
        .unwrap();
        containerd
    }

    fn ctr(&self, args: &[&str]) -> Cmd {
        Cmd::new("ctr")
            .arg("--address")
            .arg(self.dir.path().join("socket"))
            .args(args)
            .limit(Duration::from_secs(120))
    }

    /// Digests by the names of images.
    fn images(&self) -> BTreeMap<String, String> {
        let text = self.ctr(&["images", "ls"]).run().unwrap().text();
        let lines = text.lines().skip(1).map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            (words[0].to_owned(), words[2].to_owned())
        });
        lines.collect()
    }

    fn import(&self, archive: &Path) {
        // As RKE2 does it: with every platform that the archive has.
        let tar = self.dir.path().join("archive.tar");
        // It unpacks archives itself too, and with no more memory than this.
        Cmd::new("zstd")
            .args(["--decompress", "--quiet", "--memory=32MiB", "-o"])
            .arg(&tar)
            .arg(archive)
            .run()
            .unwrap();
        // Unpacking compares what is in the layers with the config; it needs mounts.
        let unpack: &[&str] = match rustix::process::geteuid().is_root() {
            true => &["--snapshotter", "native"],
            false => &["--no-unpack"],
        };
        self.ctr(&["images", "import", "--all-platforms"])
            .args(unpack)
            .arg(&tar)
            .run()
            .unwrap();
    }
}

#[test]
fn containerd_imports_the_archive() {
    let registry = Registry::start(Door::Open);
    let shared = layer("shared", 1 << 20);
    let a = registry.push("team/a", "v1", "amd64", &[&shared]);
    let b = registry.push("team/b", "v1", "amd64", &[&shared, &layer("own", 50_000)]);
    let arm = registry.push("team/b", "arm", "arm64", &[&layer("arm", 50_000)]);
    let index = registry.push_index("team/b", "v2", &[("amd64", &b), ("arm64", &arm)]);
    let locked = bundle(&[
        ("a.example/team/a:v1", a.digest),
        ("a.example/team/b:v2", index),
    ]);
    let place = Place::new();
    fetch(&locked, &place.store, &registry.registries()).unwrap();
    let dest = place.dir.path().join("payload");
    lay_out(&locked, &place.store, &dest, &Wanted::Pinned).unwrap();
    let containerd = Containerd::start();
    containerd.import(&dest.join("images/set.tar.zst"));
    let expected = BTreeMap::from([
        ("a.example/team/a:v1".to_owned(), a.digest.oci()),
        ("a.example/team/b:v2".to_owned(), b.digest.oci()),
    ]);
    assert_eq!(containerd.images(), expected);
    // Every blob of both is in its content store, byte by byte.
    for digest in a.blobs.iter().chain(&b.blobs).chain([&a.digest, &b.digest]) {
        let content = containerd
            .ctr(&["content", "get", &digest.oci()])
            .run()
            .unwrap();
        assert_eq!(Digest::of(&content.stdout), *digest);
    }
    let check = containerd.ctr(&["images", "check"]).run().unwrap().text();
    assert_eq!(check.matches("complete").count(), 2, "{check}");
}
