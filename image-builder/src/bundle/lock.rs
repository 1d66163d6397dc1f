//! `harrow-build bundle lock`: finds pins and writes them.
//!
//! In: the bundle and its lock, of which comments stay. Out: the lock with more pins, each with
//! where it was found: a list of checksums, the index of a chart's repository, a registry. What none of
//! these names is hashed only when that is asked for, because then nobody else vouches for it.

use std::collections::BTreeMap;
use std::io;
use std::io::Write;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use harrow::bundle::oci::manifest::{self, Document};
use harrow::bundle::oci::{Reference, Registries};
use harrow::bundle::{Artifact, ArtifactKind, Bundle, Digest, Lock, LockedBundle, Store};
use harrow::sys::net::Fetch;
use harrow::sys::net::remote::Remote;
use serde::Deserialize;
use toml_edit::{DocumentMut, Item, Table, value};

use super::BundleOptions;

/// How long a list may take to come.
const PATIENCE: Duration = Duration::from_secs(120);
/// The largest index of a chart's repository in bytes.
const INDEX_LIMIT: usize = 64 << 20;

/// What is done about artifacts that nothing names the digest of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HowToHash {
    /// They stay without a pin.
    Never,
    /// What their URL gives now is hashed.
    Download,
}

/// What was found for one artifact.
enum Found {
    File {
        sha256: Digest,
        size: Option<u64>,
        source: String,
    },
    Images(Vec<(Reference, Digest)>),
}

/// `index.yaml` of a chart's repository, of which little is read.
#[derive(Deserialize)]
struct Index {
    entries: BTreeMap<String, Vec<Entry>>,
}

#[derive(Deserialize)]
struct Entry {
    version: String,
    digest: Option<String>,
}

/// Finds the pins that are missing, or those of the artifacts that are named, and writes them into the
/// lock. What can't be found does not keep the others from being written.
pub fn lock(options: &BundleOptions, how: HowToHash, out: &mut impl Write) -> anyhow::Result<()> {
    let bundle = Bundle::read(&options.bundle)?;
    let path = options.lock_path();
    let now = LockedBundle::new(&bundle, &Lock::read(&path)?)?;
    let (registries, store) = (options.read_registries()?, options.store()?);
    let text = match std::fs::read_to_string(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => "schema = 1\n".to_owned(),
        read => read.with_context(|| format!("reading {}", path.display()))?,
    };
    let mut document: DocumentMut = text
        .parse()
        .with_context(|| format!("in the lock {}", path.display()))?;
    if let Some(name) = options.only.iter().find(|n| bundle.get(n).is_none()) {
        bail!("the bundle has no artifact {name:?}");
    }
    let meant = |artifact: &&Artifact| match options.only.is_empty() {
        true => now.unpinned.iter().any(|u| u.name == artifact.name),
        false => options.only.contains(&artifact.name),
    };
    let ca = options.read_ca()?;
    let mut failed = Vec::new();
    for artifact in bundle.artifacts.iter().filter(meant) {
        let finder = Finder {
            options,
            registries: &registries,
            store: &store,
            ca: ca.as_deref(),
            how,
        };
        let name = &artifact.name;
        match finder.find(artifact) {
            Ok(found) => {
                let changed = enter(&mut document, artifact, &found)?;
                // Each by itself: what was found is not lost when a later one hangs.
                std::fs::write(&path, document.to_string())
                    .with_context(|| format!("writing {}", path.display()))?;
                let what = if changed { "pinned" } else { "as it was" };
                writeln!(out, "{name} {}: {what}", artifact.version).ok();
            }
            Err(error) => {
                writeln!(out, "{name} {}: not pinned", artifact.version).ok();
                failed.push(format!("{name}: {error:#}"));
            }
        }
    }
    match failed.is_empty() {
        true => Ok(()),
        false => bail!("no pin was found for\n  {}", failed.join("\n  ")),
    }
}

struct Finder<'a> {
    options: &'a BundleOptions,
    registries: &'a Registries,
    store: &'a Store,
    ca: Option<&'a str>,
    how: HowToHash,
}

impl Finder<'_> {
    fn find(&self, artifact: &Artifact) -> anyhow::Result<Found> {
        if artifact.kind == ArtifactKind::ImageSet {
            let all = artifact.images.iter();
            let all = all.map(|image| {
                let digest = self.image(image);
                Ok((
                    image.clone(),
                    digest.with_context(|| format!("image {image}"))?,
                ))
            });
            return all.collect::<anyhow::Result<_>>().map(Found::Images);
        }
        let file = |sha256, source: &str| Found::File {
            sha256,
            size: None,
            source: format!("from {source}"),
        };
        if let (Some(url), Some(name)) = (&artifact.checksums, artifact.file_name()) {
            let text = self.text(url, 1 << 20)?;
            let found = in_checksums(&text, name);
            let found = found.with_context(|| format!("in {url}"))?;
            return Ok(file(found, url));
        }
        if let Some(url) = &artifact.index {
            let chart = artifact.chart.as_ref().unwrap_or(&artifact.name);
            let text = self.text(url, INDEX_LIMIT)?;
            let found = in_index(&text, chart, &artifact.version);
            return Ok(file(found.with_context(|| format!("in {url}"))?, url));
        }
        let url = artifact.url.as_deref().unwrap_or_default();
        match self.how {
            HowToHash::Never => bail!(
                "nothing names its digest (no `checksums`, no `index`); --by-download hashes what {url} gives now, \
                 which only that server vouches for"
            ),
            HowToHash::Download => {
                let (sha256, size) = self.download(url)?;
                Ok(Found::File {
                    sha256,
                    size: Some(size),
                    source: format!("hashed after a download from {url}"),
                })
            }
        }
    }

    fn text(&self, url: &str, limit: usize) -> anyhow::Result<String> {
        let mut fetch = Fetch::new(url, PATIENCE);
        fetch.limit = limit;
        fetch.ca = self.ca.map(str::to_owned);
        let answer = fetch.run()?;
        String::from_utf8(answer.bytes).map_err(|_| anyhow!("{url} is not text"))
    }

    /// Into the cache, where it is fetched from then.
    fn download(&self, url: &str) -> anyhow::Result<(Digest, u64)> {
        let mut fetch = Fetch::new(url, Duration::ZERO);
        fetch.ca = self.ca.map(str::to_owned);
        let mut reader = Remote::unasked(fetch, self.options.limits).reader(0..u64::MAX);
        let mut fresh = self.store.fresh()?;
        io::copy(&mut reader, &mut fresh).with_context(|| format!("fetching {url}"))?;
        fresh.finish()
    }

    /// The digest that a tag stands for now, with an image for our platform behind it.
    fn image(&self, image: &Reference) -> anyhow::Result<Digest> {
        let mut failed = Vec::new();
        for endpoint in self.registries.endpoints(&image.host)? {
            let path = format!("manifests/{}", image.tag);
            let reply = match self.registries.ask(&endpoint, &image.repository, &path) {
                Ok(reply) if reply.is_success() => reply,
                Ok(reply) => {
                    failed.push(format!("{} answers {}", endpoint.host, reply.status));
                    continue;
                }
                Err(error) => {
                    failed.push(format!("{error:#}"));
                    continue;
                }
            };
            let digest = Digest::of(&reply.bytes);
            if let Some(told) = reply.header("docker-content-digest") {
                ensure!(
                    told.parse::<Digest>().ok() == Some(digest),
                    "{} says the digest is {told}, and it is {digest}",
                    endpoint.host
                );
            }
            if let Document::Index(manifests) = Document::parse(&reply.bytes)? {
                manifest::pick(&manifests)?;
            }
            return Ok(digest);
        }
        Err(anyhow!(failed.join("; ")))
    }
}

/// The digest of a file in a list as `sha256sum` writes it.
fn in_checksums(text: &str, name: &str) -> anyhow::Result<Digest> {
    let mut lines = text
        .lines()
        .filter_map(|line| line.split_once(char::is_whitespace));
    let found = lines.find(|(_, file)| {
        let file = file.trim_start().trim_start_matches('*');
        file.rsplit('/').next() == Some(name)
    });
    let (digest, _) = found.ok_or_else(|| anyhow!("{name} is not in this list"))?;
    digest.parse()
}

/// The digest of a chart in the index of its repository.
fn in_index(text: &str, chart: &str, version: &str) -> anyhow::Result<Digest> {
    let index: Index = serde_saphyr::from_str_with_options(
        text,
        // It is as long as the repository is old.
        serde_saphyr::options! { budget: None },
    )
    .map_err(|e| anyhow!("this is no index of charts: {e}"))?;
    let entries = index.entries.get(chart);
    let entries = entries.ok_or_else(|| anyhow!("there is no chart {chart:?}"))?;
    let plain = |v: &str| v.trim_start_matches('v').to_owned();
    let found = entries.iter().find(|e| plain(&e.version) == plain(version));
    let found = found.ok_or_else(|| anyhow!("{chart:?} has no version {version}"))?;
    let digest = found.digest.as_ref();
    digest
        .ok_or_else(|| anyhow!("{chart:?} {version} has no digest there"))?
        .parse()
}

/// Puts what was found into the lock. Whether that changed something; what is as it was keeps its
/// comment.
fn enter(document: &mut DocumentMut, artifact: &Artifact, found: &Found) -> anyhow::Result<bool> {
    let before = document.to_string();
    let pins = document.entry("artifact").or_insert_with(|| {
        let mut table = Table::new();
        table.set_implicit(true);
        Item::Table(table)
    });
    let no_table = || anyhow!("the lock's pin of {} is no table", artifact.name);
    let pins = pins.as_table_mut().ok_or_else(no_table)?;
    let pin = pins
        .entry(&artifact.name)
        .or_insert_with(|| Item::Table(Table::new()));
    let pin = pin.as_table_mut().ok_or_else(no_table)?;
    set(pin, "version", &artifact.version, None);
    match found {
        Found::File {
            sha256,
            size,
            source,
        } => {
            if set(pin, "sha256", &sha256.to_string(), Some(source)) {
                pin.remove("size");
            }
            if let Some(size) = size {
                pin["size"] = value(i64::try_from(*size).context("a size")?);
            }
        }
        Found::Images(images) => {
            let entry = pin.entry("images");
            let table = entry.or_insert_with(|| Item::Table(Table::new()));
            let table = table.as_table_mut().ok_or_else(no_table)?;
            let names: Vec<String> = images.iter().map(|(image, _)| image.to_string()).collect();
            table.retain(|key, _| {
                let name = key.parse::<Reference>().map(|r| r.to_string());
                name.is_ok_and(|name| names.contains(&name))
            });
            for (image, digest) in images {
                let source = format!("from {}", image.host);
                set(table, &image.to_string(), &digest.oci(), Some(&source));
            }
        }
    }
    Ok(document.to_string() != before)
}

/// Sets a text, and the comment above it when the text is another one than before.
fn set(table: &mut Table, key: &str, text: &str, source: Option<&str>) -> bool {
    if table.get(key).and_then(Item::as_str) == Some(text) {
        return false;
    }
    table[key] = value(text);
    if let (Some(source), Some(mut key)) = (source, table.key_mut(key)) {
        key.leaf_decor_mut().set_prefix(format!("# {source}\n"));
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    #[test]
    fn digests_are_found_in_lists() {
        let list = format!("00  x\n{A}  rke2.tar.gz\n{A} *dir/b.tgz\n");
        assert_eq!(in_checksums(&list, "rke2.tar.gz").unwrap().to_string(), A);
        assert_eq!(in_checksums(&list, "b.tgz").unwrap().to_string(), A);
        for (name, why) in [("y", "not in this list"), ("x", "is not a sha256")] {
            let error = in_checksums(&list, name).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        let index = format!(
            "apiVersion: v1\nentries:\n  c:\n  - {{version: v1.2.0, digest: {A}, urls: [x]}}\n  \
             - {{version: 1.1.0}}\n"
        );
        assert_eq!(in_index(&index, "c", "1.2.0").unwrap().to_string(), A);
        for (chart, version, why) in [
            ("d", "1", "no chart"),
            ("c", "3", "no version"),
            ("c", "1.1.0", "no digest"),
        ] {
            let error = in_index(&index, chart, version).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        assert!(in_index("<html>", "c", "1").is_err());
    }

    #[test]
    fn comments_of_a_lock_stay() {
        let text = format!(
            "# head\nschema = 1\n\n[artifact.a]\nversion = \"1\"\n# old source\nsha256 = \"{A}\"\n\n# tail of a\n\
             [artifact.s]\nversion = \"1\"\n\n[artifact.s.images]\n# of x\n\"q.io/x:1\" = \"sha256:{A}\"\n"
        );
        let bundle = "schema = 1\n[[artifact]]\nname = 'a'\nkind = 'program'\nversion = '1'\nurl = 'https://h/a'\n\
             [[artifact]]\nname = 's'\nkind = 'image-set'\nversion = '1'\nimages = ['q.io/x:1', 'q.io/y:1']\n\
             [[artifact]]\nname = 'n'\nkind = 'program'\nversion = '1'\nurl = 'https://h/n'\n";
        let bundle = Bundle::parse(bundle, "b").unwrap();
        let mut document: DocumentMut = text.parse().unwrap();
        let digest: Digest = A.parse().unwrap();
        let file = |sha256| Found::File {
            sha256,
            size: None,
            source: "new source".to_owned(),
        };
        let a = bundle.get("a").unwrap();
        assert!(!enter(&mut document, a, &file(digest)).unwrap());
        assert_eq!(document.to_string(), text);
        assert!(enter(&mut document, a, &file(Digest::of(b"x"))).unwrap());
        let images = ["q.io/x:1", "q.io/y:1"].map(|i| (i.parse().unwrap(), digest));
        enter(
            &mut document,
            bundle.get("s").unwrap(),
            &Found::Images(images.to_vec()),
        )
        .unwrap();
        enter(&mut document, bundle.get("n").unwrap(), &file(digest)).unwrap();
        let text = document.to_string();
        for part in [
            "# head\n",
            "# tail of a\n",
            "# of x\n",
            "# from q.io\n\"q.io/y:1\"",
            "# new source\nsha256",
        ] {
            assert!(text.contains(part), "{part:?} is not in:\n{text}");
        }
        assert!(!text.contains("old source"), "{text}");
        let locked = LockedBundle::new(&bundle, &Lock::parse(&text, "l").unwrap()).unwrap();
        assert!(locked.unpinned.is_empty());
    }

    #[test]
    fn the_bundle_of_this_repository_is_valid() {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let bundle = Bundle::read(&dir.join("bundle.toml")).unwrap();
        let lock = Lock::read(&dir.join("bundle.lock")).unwrap();
        let locked = LockedBundle::new(&bundle, &lock).unwrap();
        for name in [
            "rke2",
            "rke2-images-core",
            "rke2-images-canal",
            "rke2-images-multus",
        ] {
            assert!(locked.artifacts.iter().any(|a| a.name == name), "{name}");
        }
    }
}
