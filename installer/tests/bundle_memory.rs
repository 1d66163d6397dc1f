//! What fetching a bundle, making its archives and laying it out cost in memory: the same for
//! any size. The whole process is measured, libraries written in C included.

#![allow(clippy::unwrap_used)] // helpers of tests may panic

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::atomic::AtomicBool;

use harrow::bundle::oci::Registries;
use harrow::bundle::{
    ArtifactKind, Content, Digest, Fetching, LockedArtifact, LockedBundle, LockedFile, LockedImage,
    Origin, Store, Wanted, lay_out,
};
use harrow::sys::net::remote::Limits;
use serde_json::json;

const MIB: usize = 1 << 20;
/// Far below the 300 MB that a build may take.
const LIMIT_KIB: u64 = 64 << 10;

/// A value of this process's status in KiB.
fn status(key: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|l| l.strip_prefix(key)).unwrap();
    line.trim_matches([':', ' ', '\t', 'k', 'B'])
        .parse()
        .unwrap()
}

/// Writes megabytes that do not pack, and differ by `seed`.
fn noise(out: &mut impl std::io::Write, seed: u64, megabytes: usize) {
    let mut block = vec![0; MIB];
    let mut state = seed;
    for chunk in block.chunks_mut(8) {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        chunk.copy_from_slice(&(state >> 11).to_le_bytes());
    }
    for i in 0..megabytes {
        block[..8].copy_from_slice(&i.to_le_bytes());
        out.write_all(&block).unwrap();
    }
}

/// A file of a mirror, named by its digest.
fn add(mirror: &Path, write: impl FnOnce(&mut BufWriter<File>)) -> (Digest, u64) {
    let path = mirror.join("new");
    let mut file = BufWriter::new(File::create(&path).unwrap());
    write(&mut file);
    file.flush().unwrap();
    let (digest, size) = Digest::of_file(&path).unwrap();
    fs::rename(&path, mirror.join("blobs/sha256").join(digest.to_string())).unwrap();
    (digest, size)
}

fn artifact(name: &str, kind: ArtifactKind, content: Content) -> LockedArtifact {
    LockedArtifact {
        name: name.to_owned(),
        kind,
        version: "v1".to_owned(),
        only_with: None,
        content,
    }
}

fn file((sha256, size): (Digest, u64)) -> Content {
    Content::File(LockedFile {
        url: "http://127.0.0.1:1/".to_owned(),
        sha256,
        size: Some(size),
    })
}

/// RKE2's tarball with a program of this size.
fn tarball(out: &mut BufWriter<File>, megabytes: usize) {
    let gz = flate2::write::GzEncoder::new(out, flate2::Compression::none());
    let mut tar = tar::Builder::new(gz);
    let mut program = Vec::new();
    noise(&mut program, 3, megabytes);
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o755);
    header.set_size(program.len() as u64);
    tar.append_data(&mut header, "bin/rke2", program.as_slice())
        .unwrap();
    tar.into_inner().unwrap().finish().unwrap();
}

/// The only test of this program: the memory is that of the whole process.
#[test]
fn memory_does_not_grow_with_the_bundle() {
    let dir = tempfile::tempdir().unwrap();
    let mirror = dir.path().join("mirror");
    fs::create_dir_all(mirror.join("blobs/sha256")).unwrap();
    let images = add(&mirror, |out| noise(out, 1, 150));
    let rke2 = add(&mirror, |out| tarball(out, 40));
    let layers: Vec<(Digest, u64)> = [4, 5, 6, 7]
        .map(|seed| add(&mirror, |out| noise(out, seed, 40)))
        .to_vec();
    let config = json!({"architecture": "amd64", "os": "linux"}).to_string();
    let config = add(&mirror, |out| out.write_all(config.as_bytes()).unwrap());
    let describe = |kind: &str, (digest, size): (Digest, u64)| {
        let media_type = format!("application/vnd.oci.image.{kind}");
        json!({"mediaType": media_type, "digest": digest.oci(), "size": size})
    };
    let manifest = json!({
        "schemaVersion": 2,
        "config": describe("config.v1+json", config),
        "layers": layers.iter().map(|l| describe("layer.v1.tar", *l)).collect::<Vec<_>>(),
    })
    .to_string();
    let (digest, _) = add(&mirror, |out| out.write_all(manifest.as_bytes()).unwrap());
    let image = LockedImage {
        image: "a.example/large:v1".parse().unwrap(),
        digest,
    };
    let locked = LockedBundle {
        schema: 1,
        artifacts: vec![
            artifact("images", ArtifactKind::Images, file(images)),
            artifact("rke2", ArtifactKind::Rke2, file(rke2)),
            artifact("set", ArtifactKind::ImageSet, Content::Images(vec![image])),
        ],
        unpinned: Vec::new(),
    };
    // Forgets the peak so far (proc_pid_clear_refs(5)).
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = status("VmRSS");
    let store = Store::open(&dir.path().join("store")).unwrap();
    Fetching {
        store: &store,
        origin: &Origin::Folder(mirror),
        registries: &Registries::default(),
        limits: Limits::default(),
        parallel: 8,
        ca: None,
        tell: &|_| {},
        stop: &AtomicBool::new(false),
        layers: false,
    }
    .run(&locked, &Wanted::Pinned)
    .unwrap();
    let payload = lay_out(
        &locked,
        &store,
        &dir.path().join("payload"),
        &Wanted::Pinned,
    )
    .unwrap();
    let taken = status("VmHWM").saturating_sub(before);
    let total: u64 = payload.artifacts.iter().map(|a| a.size).sum();
    eprintln!("{taken} KiB of memory for {total} bytes");
    assert!(total > 300 << 20, "{total}");
    assert!(taken < LIMIT_KIB, "{taken} KiB of memory for {total} bytes");
}
