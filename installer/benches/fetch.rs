//! A bundle fetched from a web server against curl and sha256sum, in one run: `make bench`.
//!
//! The base line is what anybody has to do: curl gets the same files from the same server, one
//! after the other over one connection, and sha256sum reads them again. The server is Python's. Both
//! alternate; the figure is the median of the pairs' ratios.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use harrow::bundle::oci::Registries;
use harrow::bundle::{
    ArtifactKind, Content, Digest, Fetching, LockedArtifact, LockedBundle, LockedFile, Origin,
    Store, Wanted,
};
use harrow::sys::cmd::Cmd;
use harrow::sys::net::remote::Limits;
use harrow::sys::wait;

/// Sizes of the files in MiB: few large ones, as archives of images, and small ones, as charts.
const SIZES: [usize; 12] = [300, 200, 60, 30, 2, 1, 1, 1, 1, 1, 1, 1];
/// An odd number, so that the median is one of them.
const ROUNDS: usize = 5;
const PORT: &str = "38471";
/// How long the server may take to answer at first.
const START: Duration = Duration::from_secs(10);

fn main() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let place = dir.path();
    let blobs = place.join("mirror/blobs/sha256");
    fs::create_dir_all(&blobs)?;
    let bundle = make_bundle(&blobs)?;
    let url = format!("http://127.0.0.1:{PORT}");
    let mirror = place.join("mirror");
    std::thread::scope(|scope| {
        let server = Cmd::new("timeout")
            .args([
                "300",
                "python3",
                "-m",
                "http.server",
                "--bind",
                "127.0.0.1",
                PORT,
            ])
            .arg("--directory")
            .arg(&mirror);
        // It is ended by its time at the latest.
        scope.spawn(move || server.run_any());
        let result = compare(place, &url, &bundle);
        let ended = Cmd::new("pkill").args(["-f", &format!("http.server --bind 127.0.0.1 {PORT}")]);
        ended.run_any()?;
        result
    })
}

fn compare(place: &Path, url: &str, bundle: &LockedBundle) -> anyhow::Result<()> {
    wait::until("the web server", START, Duration::from_millis(50), || {
        let asked = Cmd::new("curl").args(["-fsS", "-o", "/dev/null", url]);
        Ok(asked.run_any()?.status.success().then_some(()))
    })?;
    let mut rounds = Vec::new();
    for round in 0..=ROUNDS {
        let ours = timed(|| fetch(place, url, bundle))?;
        let base = timed(|| base_line(place, url, bundle))?;
        // The first round fills the page cache.
        if round > 0 {
            rounds.push((ours / base, ours, base));
        }
    }
    rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (ratio, ours, base) = rounds.get(ROUNDS / 2).context("no round was run")?;
    let mib: usize = SIZES.iter().sum();
    println!(
        "fetch of {mib} MiB in {} files: {ours:.2} s, curl and sha256sum {base:.2} s, ratio {ratio:.2}; {:.0} MiB/s",
        SIZES.len(),
        mib as f64 / ours
    );
    Ok(())
}

fn timed(run: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    rustix::fs::sync();
    let start = Instant::now();
    run()?;
    Ok(start.elapsed().as_secs_f64())
}

fn fetch(place: &Path, url: &str, bundle: &LockedBundle) -> anyhow::Result<()> {
    let folder = place.join("store");
    fs::remove_dir_all(&folder).ok();
    Fetching {
        store: &Store::open(&folder)?,
        origin: &Origin::Web(url.to_owned()),
        registries: &Registries::default(),
        limits: Limits::default(),
        parallel: 4,
        ca: None,
        tell: &|_| {},
        stop: &AtomicBool::new(false),
        layers: false,
    }
    .run(bundle, &Wanted::Pinned)?;
    Ok(())
}

fn base_line(place: &Path, url: &str, bundle: &LockedBundle) -> anyhow::Result<()> {
    let folder = place.join("plain");
    fs::remove_dir_all(&folder).ok();
    fs::create_dir(&folder)?;
    let mut curl = Cmd::new("curl").arg("-fsS");
    let mut sums = Cmd::new("sha256sum");
    let mut files = Vec::new();
    for artifact in &bundle.artifacts {
        let Content::File(file) = &artifact.content else {
            continue;
        };
        let path = folder.join(&artifact.name);
        curl = curl.arg("-o").arg(&path);
        curl = curl.arg(format!("{url}/blobs/sha256/{}", file.sha256));
        sums = sums.arg(&path);
        files.push(path);
    }
    curl.limit(Duration::from_secs(120)).run()?;
    sums.limit(Duration::from_secs(120)).run()?;
    // The store has its files on the disk when it is done.
    for path in files {
        File::open(path)?.sync_all()?;
    }
    Ok(())
}

/// Files that do not pack, named by their digests, and the bundle of them.
fn make_bundle(blobs: &Path) -> anyhow::Result<LockedBundle> {
    let mut artifacts = Vec::new();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut block = vec![0; 1 << 20];
    for (number, size) in SIZES.into_iter().enumerate() {
        let path = blobs.join("new");
        let mut file = File::create(&path)?;
        for _ in 0..size {
            for word in block.chunks_exact_mut(8) {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                word.copy_from_slice(&state.to_le_bytes());
            }
            file.write_all(&block)?;
        }
        let (sha256, size) = Digest::of_file(&path)?;
        fs::rename(&path, blobs.join(sha256.to_string()))?;
        artifacts.push(LockedArtifact {
            name: format!("file-{number}"),
            kind: ArtifactKind::Images,
            version: "v1".to_owned(),
            only_with: None,
            content: Content::File(LockedFile {
                url: "http://127.0.0.1:1/".to_owned(),
                sha256,
                size: Some(size),
            }),
        });
    }
    Ok(LockedBundle {
        schema: 1,
        artifacts,
        unpinned: Vec::new(),
    })
}
