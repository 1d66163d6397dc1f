//! The archives of `agent/images`, opened as RKE2 opens them.
//!
//! In: the folder. Out: an [`Archive`] with the names of its images for each file, and problems. Names
//! and window are those of rancher/wharfie pkg/tarfile: `.tar` alone or packed, links followed,
//! dotfiles left out, a `.txt` is a list to pull. Every byte is read: an archive that was cut
//! short, a blob with another digest, an image whose layers are missing, all show.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// The largest window that RKE2's reader of zstd takes: 32 MiB.
const WINDOW_LOG: u32 = 25;
/// Larger blobs are no JSON that matters here.
const JSON_LIMIT: u64 = 4 << 20;
/// Endings that RKE2 reads and the double does not.
const UNREAD: [&str; 3] = [".tar.lz4", ".tar.bz2", ".tbz"];

/// An archive that could be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Archive {
    /// Name of the file.
    pub name: String,
    /// Bytes of the file.
    pub size: u64,
    /// Names of its images.
    pub images: Vec<String>,
}

/// Opens everything in `folder`.
pub fn check(folder: &Path, problems: &mut Vec<String>) -> Vec<Archive> {
    let mut archives = Vec::new();
    let mut names = Vec::new();
    match folder.read_dir() {
        Ok(entries) => {
            for entry in entries {
                match entry {
                    Ok(entry) => names.push(entry.file_name().to_string_lossy().into_owned()),
                    Err(error) => problems.push(format!("reading {}: {error}", folder.display())),
                }
            }
        }
        Err(error) => problems.push(format!("reading {}: {error}", folder.display())),
    }
    names.sort();
    for name in names.iter().filter(|name| !name.starts_with('.')) {
        let path = folder.join(name);
        match check_file(&path, name) {
            Ok(Some(archive)) => archives.push(archive),
            Ok(None) => {}
            Err(error) => problems.push(format!("{}: {error:#}", path.display())),
        }
    }
    archives
}

fn check_file(path: &Path, name: &str) -> anyhow::Result<Option<Archive>> {
    let lower = name.to_ascii_lowercase();
    let ends = |endings: &[&str]| endings.iter().any(|ending| lower.ends_with(ending));
    if lower.ends_with(".txt") {
        let text = std::fs::read_to_string(path)?;
        let count = text.lines().filter(|line| !line.trim().is_empty()).count();
        bail!("is a list of {count} images to pull, and archives are what is expected");
    }
    ensure!(
        !ends(&UNREAD),
        "RKE2 would read this, and the double can't: pack it as .tar.zst"
    );
    let file = BufReader::new(File::open(path).context("opening it")?);
    let size = path.metadata().context("opening it")?.len();
    let images = if ends(&[".tar.zst", ".tzst"]) {
        let mut unpacked = zstd::Decoder::with_buffer(file).context("reading zstd")?;
        unpacked
            .window_log_max(WINDOW_LOG)
            .context("reading zstd")?;
        read(unpacked)
    } else if ends(&[".tar.gz", ".tgz"]) {
        read(flate2::bufread::GzDecoder::new(file))
    } else if ends(&[".tar"]) {
        read(file)
    } else {
        bail!("RKE2 reads nothing with such a name");
    };
    Ok(Some(Archive {
        name: name.to_owned(),
        size,
        images: images?,
    }))
}

/// What a tar holds, as far as it matters.
#[derive(Default)]
struct Content {
    /// Every file.
    names: BTreeSet<String>,
    /// Small files that may be JSON.
    small: BTreeMap<String, Vec<u8>>,
}

/// Names of the images of an archive; an error for whatever RKE2 could not import.
fn read(mut tar: impl Read) -> anyhow::Result<Vec<String>> {
    let mut content = Content::default();
    let mut archive = tar::Archive::new(&mut tar);
    for entry in archive.entries().context("reading the tar")? {
        let mut entry = entry.context("reading the tar")?;
        let name = entry.path().context("reading the tar")?;
        let name = name.display().to_string();
        let name = name.trim_start_matches("./").to_owned();
        let size = entry.header().size().context("reading the tar")?;
        let mut bytes = Vec::new();
        if let Some(digest) = name.strip_prefix("blobs/sha256/") {
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let found = digest_of(&mut entry, size, &mut bytes)
                .with_context(|| format!("reading {name}"))?;
            ensure!(found == digest, "{name} has the digest {found}");
        } else if size <= JSON_LIMIT {
            entry
                .read_to_end(&mut bytes)
                .with_context(|| format!("reading {name}"))?;
        }
        if size <= JSON_LIMIT {
            content.small.insert(name.clone(), bytes);
        }
        content.names.insert(name);
    }
    // What packs the tar has an end of its own, and a digest there.
    std::io::copy(&mut tar, &mut std::io::sink()).context("reading its end")?;
    let mut images = content.images_of_index()?;
    for name in content.images_of_manifest()? {
        if !images.contains(&name) {
            images.push(name);
        }
    }
    ensure!(
        content.names.contains("index.json") || content.names.contains("manifest.json"),
        "has neither index.json nor manifest.json"
    );
    ensure!(!images.is_empty(), "holds no image");
    images.sort();
    Ok(images)
}

/// The digest of what `from` gives; its bytes too when they are few.
fn digest_of(from: &mut impl Read, size: u64, bytes: &mut Vec<u8>) -> anyhow::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(hex::encode(hash.finalize()));
        }
        hash.update(&buffer[..count]);
        if size <= JSON_LIMIT {
            bytes.extend_from_slice(&buffer[..count]);
        }
    }
}

impl Content {
    fn json(&self, name: &str) -> anyhow::Result<Option<Value>> {
        let Some(bytes) = self.small.get(name) else {
            return Ok(None);
        };
        let value = serde_json::from_slice(bytes);
        Ok(Some(value.with_context(|| format!("reading {name}"))?))
    }

    /// Those of an OCI layout, with everything that they refer to.
    fn images_of_index(&self) -> anyhow::Result<Vec<String>> {
        let Some(index) = self.json("index.json")? else {
            return Ok(Vec::new());
        };
        ensure!(
            self.names.contains("oci-layout"),
            "has index.json, but no oci-layout"
        );
        let mut images = Vec::new();
        for image in list(&index, "manifests") {
            let notes = &image["annotations"];
            let name = notes["io.containerd.image.name"]
                .as_str()
                .or(notes["org.opencontainers.image.ref.name"].as_str());
            let name = name.context("an image of index.json has no name")?;
            self.follow(image)
                .with_context(|| format!("the image {name}"))?;
            images.push(name.to_owned());
        }
        Ok(images)
    }

    /// A descriptor, what it names, and so on.
    fn follow(&self, descriptor: &Value) -> anyhow::Result<()> {
        let digest = descriptor["digest"].as_str().unwrap_or_default();
        let hex = digest.strip_prefix("sha256:");
        let hex = hex.with_context(|| format!("{digest:?} is no sha256"))?;
        let name = format!("blobs/sha256/{hex}");
        ensure!(self.names.contains(&name), "{name} is missing");
        let kind = descriptor["mediaType"].as_str().unwrap_or_default();
        let is_index = kind.contains("image.index") || kind.contains("manifest.list");
        if !is_index && !kind.contains("manifest") {
            return Ok(());
        }
        let inside = self.json(&name)?;
        let inside = inside.with_context(|| format!("{name} is too large"))?;
        if is_index {
            // Archives for one platform leave the others out.
            let manifests = list(&inside, "manifests");
            let results: Vec<_> = manifests.iter().map(|it| self.follow(it)).collect();
            if results.iter().any(Result::is_ok) {
                return Ok(());
            }
            bail!("{name} names no image that is there");
        }
        let layers = list(&inside, "layers");
        ensure!(!layers.is_empty(), "{name} has no layers");
        self.follow(&inside["config"])?;
        layers.iter().try_for_each(|layer| self.follow(layer))
    }

    /// Those of `docker save`.
    fn images_of_manifest(&self) -> anyhow::Result<Vec<String>> {
        let Some(manifest) = self.json("manifest.json")? else {
            return Ok(Vec::new());
        };
        let mut names = Vec::new();
        for image in manifest.as_array().context("manifest.json is no list")? {
            let tags = list(image, "RepoTags").iter().filter_map(Value::as_str);
            let before = names.len();
            names.extend(tags.map(str::to_owned));
            ensure!(
                names.len() > before,
                "an image of manifest.json has no name"
            );
            let layers = list(image, "Layers");
            ensure!(
                !layers.is_empty(),
                "an image of manifest.json has no layers"
            );
            for part in layers.iter().chain([&image["Config"]]) {
                let part = part.as_str().unwrap_or_default();
                ensure!(self.names.contains(part), "{part:?} is missing");
            }
        }
        Ok(names)
    }
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
#[path = "archives_tests.rs"]
mod tests;
