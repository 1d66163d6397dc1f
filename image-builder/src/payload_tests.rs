use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::recipe::Image;
use crate::rootfs::Rootfs;
use crate::slot;
use harrow::bundle::{Bundle, Digest, blob_path};
use harrow::sys::cmd::Cmd;
use harrow::sys::net::remote::Limits;

const EPOCH: u64 = 1_700_000_000;
const ARCHIVE: usize = (2 << 20) + 5;

/// A small bundle whose artifacts lie in a mirror.
struct Sample {
    dir: tempfile::TempDir,
}

/// A gzipped tar with the two files that matter.
fn release() -> Vec<u8> {
    let gz = Cmd::new("gzip").args(["-9", "-n", "-c"]);
    let mut tar = tar::Builder::new(Vec::new());
    for (path, mode) in [("bin/rke2", 0o755), ("share/rke2/LICENSE.txt", 0o600)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(6);
        header.set_mode(mode);
        header.set_mtime(1);
        tar.append_data(&mut header, path, &b"double"[..]).unwrap();
    }
    gz.input(tar.into_inner().unwrap()).run().unwrap().stdout
}

impl Sample {
    fn new() -> Self {
        let sample = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        std::fs::create_dir_all(sample.path("mirror/blobs/sha256")).unwrap();
        let (mut bundle, mut lock) = ("schema = 1\n".to_owned(), "schema = 1\n".to_owned());
        for (name, kind, with, bytes) in [
            ("rke2", "rke2", "", release()),
            ("core", "images", "", vec![b'c'; ARCHIVE]),
            ("net", "images", "canal", b"canal's".to_vec()),
            ("other-net", "images", "cilium", b"cilium's".to_vec()),
            ("chart", "chart", "", b"a chart".to_vec()),
            ("op", "manifest", "", b"kind: Namespace\n".to_vec()),
            ("virtctl", "program", "", b"#!/bin/sh\n".to_vec()),
            ("addon", "chart", "descheduler", b"another".to_vec()),
        ] {
            let digest = Digest::of(&bytes);
            std::fs::write(sample.path("mirror").join(blob_path(digest)), &bytes).unwrap();
            bundle += &format!(
                "[[artifact]]\nname = '{name}'\nkind = '{kind}'\nversion = '1'\nurl = 'https://double.invalid/{name}'\n"
            );
            if !with.is_empty() {
                bundle += &format!("only_with = '{with}'\n");
            }
            let size = bytes.len();
            lock +=
                &format!("[artifact.{name}]\nversion = '1'\nsha256 = '{digest}'\nsize = {size}\n");
        }
        std::fs::write(sample.path("bundle.toml"), bundle).unwrap();
        std::fs::write(sample.path("bundle.lock"), lock).unwrap();
        sample
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn options(&self, cache: &str, with: &[&str]) -> BundleOptions {
        std::fs::create_dir_all(self.path(cache)).unwrap();
        BundleOptions {
            bundle: self.path("bundle.toml"),
            cache: self.path(cache),
            from: Some(self.path("mirror").display().to_string()),
            registries: None,
            docker_config: None,
            ca: None,
            only: Vec::new(),
            with: with.iter().map(|name| (*name).to_owned()).collect(),
            parallel: 2,
            limits: Limits {
                retries: 0,
                stall: Duration::from_secs(5),
            },
        }
    }

    fn entries(&self, cache: &str, with: &[&str]) -> anyhow::Result<Vec<Entry>> {
        let options = self.options(cache, with);
        let choice = Choice::new(&options)?;
        choice.fetch(self.dir.path(), &mut Vec::new())?;
        let mut entries = list(&options.locked()?)?;
        entries.extend(choice.lay_out()?);
        Ok(entries)
    }

    fn slot(&self, cache: &str, entries: &[Entry]) -> (PathBuf, bool) {
        let tar = self.path("base.tar");
        if !tar.exists() {
            let mut builder = tar::Builder::new(File::create(&tar).unwrap());
            let mut header = tar::Header::new_gnu();
            header.set_size(4);
            header.set_mode(0o644);
            let file = &b"base"[..];
            builder.append_data(&mut header, "file", file).unwrap();
            builder.into_inner().unwrap();
        }
        let rootfs = Rootfs {
            key: "k".into(),
            tar,
            boot: self.path("none"),
            kernel_release: "6".into(),
        };
        let image = Image {
            compression_level: 3,
            exclude: vec![],
        };
        let made = slot::build(&rootfs, entries, &image, &self.path(cache), EPOCH).unwrap();
        (made.0.path, made.1)
    }
}

fn cat(image: &Path, path: &str) -> Vec<u8> {
    let cmd = Cmd::new("unsquashfs").arg("-cat").arg(image).arg(path);
    cmd.run().unwrap().stdout
}

#[test]
fn the_payload_is_in_the_slot_image() {
    let sample = Sample::new();
    let entries = sample.entries("cache", &[]).unwrap();
    let (image, made) = sample.slot("cache", &entries);
    assert!(made);
    let said = Cmd::new("unsquashfs").arg("-lln").arg(&image).run();
    let text = said.unwrap().text();
    let lines = text.lines().filter(|line| line.contains("harrow/"));
    let found: Vec<String> = lines
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let path = words[5].trim_start_matches("squashfs-root/usr/");
            format!("{} {} {path}", words[0], words[1])
        })
        .collect();
    // Without root, the owner of what is unpacked on the way is who runs the test.
    let other = match rustix::process::geteuid().is_root() {
        true => "0/0".to_owned(),
        false => {
            let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
            format!("{}/{}", uid.as_raw(), gid.as_raw())
        }
    };
    let want = [
        "drwxr-xr-x OTHER lib/harrow/payload",
        "drwxr-xr-x OTHER lib/harrow/payload/bin",
        "-rwxr-xr-x OTHER lib/harrow/payload/bin/virtctl",
        "drwxr-xr-x OTHER lib/harrow/payload/charts",
        "-rw-r--r-- 0/0 lib/harrow/payload/charts/chart.tgz",
        "drwxr-xr-x OTHER lib/harrow/payload/images",
        "-rw-r--r-- 0/0 lib/harrow/payload/images/core.tar.zst",
        "-rw-r--r-- 0/0 lib/harrow/payload/images/net.tar.zst",
        "drwxr-xr-x OTHER lib/harrow/payload/manifests",
        "-rw-r--r-- OTHER lib/harrow/payload/manifests/op.yaml",
        "-rw-r--r-- OTHER lib/harrow/payload/payload.json",
        "drwxr-xr-x OTHER lib/harrow/payload/rke2",
        "drwxr-xr-x OTHER lib/harrow/payload/rke2/bin",
        "-rwxr-xr-x OTHER lib/harrow/payload/rke2/bin/rke2",
        "drwxr-xr-x OTHER lib/harrow/payload/rke2/share",
        "drwxr-xr-x OTHER lib/harrow/payload/rke2/share/rke2",
        "-rw-r--r-- OTHER lib/harrow/payload/rke2/share/rke2/LICENSE.txt",
        "-rw-r--r-- OTHER share/harrow/bundle.json",
    ];
    assert_eq!(found, want.map(|line| line.replace("OTHER", &other)));

    // The archive is one letter, again and again, and yet takes its room.
    assert!(image.metadata().unwrap().len() > ARCHIVE as u64);
    let core = cat(&image, "usr/lib/harrow/payload/images/core.tar.zst");
    assert!(core == vec![b'c'; ARCHIVE]);
    let payload = Payload::parse(&cat(&image, "usr/lib/harrow/payload/payload.json")).unwrap();
    let item = payload.artifacts.iter().find(|i| i.name == "core").unwrap();
    assert_eq!(item.sha256, Digest::of(&core));
    assert_eq!(format!("/{PLACE}"), harrow::node::payload::EMBEDDED);
    let locked = LockedBundle::parse(&cat(&image, LIST)).unwrap();
    assert_eq!(locked, sample.options("cache", &[]).locked().unwrap());
}

#[test]
fn the_same_inputs_make_the_same_image_and_other_ones_another() {
    let sample = Sample::new();
    let entries = sample.entries("a", &[]).unwrap();
    let (first, _) = sample.slot("a", &entries);
    // Laid out once more, nothing has changed.
    let again = sample.entries("a", &[]).unwrap();
    assert!(!sample.slot("a", &again).1);
    let elsewhere = sample.entries("b", &[]).unwrap();
    let (second, made) = sample.slot("b", &elsewhere);
    assert!(made && std::fs::read(first).unwrap() == std::fs::read(second).unwrap());
    let more = sample.entries("b", &["descheduler"]).unwrap();
    assert!(sample.slot("b", &more).1);
}

#[test]
fn what_is_chosen_is_in_and_what_is_not_known_is_said() {
    let sample = Sample::new();
    let locked = sample.options("cache", &[]).locked().unwrap();
    for (with, want) in [
        (&[][..], &["canal"][..]),
        (&["descheduler"], &["canal", "descheduler"]),
        (&["cilium"], &["cilium"]),
        (&["cilium", "canal"], &["canal", "cilium"]),
        (&["all"], &["canal", "cilium", "descheduler"]),
    ] {
        let with: Vec<String> = with.iter().map(|name| (*name).to_owned()).collect();
        let found: Vec<String> = names(&locked, &with).unwrap().into_iter().collect();
        assert_eq!(found, want);
    }
    let lacks = Choice::new(&sample.options("cache", &["cilium"]));
    let lacks = lacks.unwrap().lacks();
    let choices: Vec<&str> = lacks.keys().map(String::as_str).collect();
    assert_eq!(choices, ["canal", "descheduler"]);
    assert!(lacks.values().all(|names| !names.is_empty()), "{lacks:?}");
    let error = Choice::new(&sample.options("cache", &["longhorn"])).unwrap_err();
    assert!(error.to_string().contains("--with longhorn"), "{error}");
    let hint = &Failure::of(&error).unwrap().hint;
    assert!(
        hint.contains("canal, cilium, descheduler and all"),
        "{hint}"
    );
}

#[test]
fn without_a_pin_nothing_is_fetched() {
    let sample = Sample::new();
    let path = sample.path("bundle.lock");
    let lock = std::fs::read_to_string(&path).unwrap();
    let at = lock.find("[artifact.core]").unwrap();
    let end = at + 1 + lock[at + 1..].find("[artifact").unwrap();
    std::fs::write(&path, lock[..at].to_owned() + &lock[end..]).unwrap();
    let error = Choice::new(&sample.options("cache", &[])).unwrap_err();
    let failure = Failure::of(&error).unwrap();
    assert_eq!(failure.kind, Kind::ArtifactUnpinned);
    assert!(failure.message.contains("core 1 (not in the lock)"));
    assert!(failure.hint.contains("bundle lock --only core"));
    assert!(!sample.path("cache/bundle").exists());
    // Flavor net says what it lacks, in its list.
    let locked = sample.options("cache", &[]).locked().unwrap();
    assert_eq!(locked.unpinned[0].name, "core");
}

#[test]
fn what_does_not_fit_is_refused_before_it_is_fetched() {
    let sample = Sample::new();
    let path = sample.path("bundle.lock");
    let lock = std::fs::read_to_string(&path).unwrap();
    let huge = lock.replace(
        &format!("size = {ARCHIVE}"),
        &format!("size = {}", 1u64 << 60),
    );
    assert_ne!(lock, huge);
    std::fs::write(&path, huge).unwrap();
    let error = sample.entries("cache", &[]).unwrap_err();
    assert_eq!(Failure::of(&error).unwrap().kind, Kind::NoSpace);
    let blobs = sample.path("cache/bundle/blobs/sha256");
    assert_eq!(std::fs::read_dir(blobs).unwrap().count(), 0);
}

#[test]
fn the_network_plugins_are_those_of_the_bundle() {
    let bundle = Path::new(env!("CARGO_MANIFEST_DIR")).join("bundle.toml");
    let bundle = Bundle::read(&bundle).unwrap();
    for network in NETWORKS {
        let mut all = bundle.artifacts.iter();
        assert!(
            all.any(|a| a.only_with.as_deref() == Some(network)),
            "{network}"
        );
    }
}
