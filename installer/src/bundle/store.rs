//! A folder that holds bytes by their digest.
//!
//! In: bytes that say which digest they shall have. Out: files `blobs/sha256/HEX`, each of them
//! whole and checked. What is still on its way lies in `partial/HEX` and goes on from there, after
//! a fault or in another process; a lock on it lets one write at a time. `made/HEX` remembers
//! which blob was made out of others. The folder `blobs` has the shape of an OCI image layout's.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

use super::Digest;
use crate::failure::{Failure, Kind};

/// A folder of blobs.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
}

/// A blob that is being written.
#[derive(Debug)]
pub struct Partial {
    store: Store,
    digest: Digest,
    path: PathBuf,
    file: File,
    hasher: Sha256,
    size: u64,
}

/// A blob whose digest is known only at its end.
#[derive(Debug)]
pub struct Fresh {
    store: Store,
    file: tempfile::NamedTempFile,
    hasher: Sha256,
    size: u64,
}

impl Store {
    /// Opens a store; makes its folders.
    pub fn open(dir: &Path) -> anyhow::Result<Self> {
        let store = Self {
            dir: dir.to_owned(),
        };
        for sub in ["blobs/sha256", "partial", "made"] {
            let path = dir.join(sub);
            fs::create_dir_all(&path).with_context(|| format!("creating {}", path.display()))?;
        }
        Ok(store)
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where a blob lies when it is there.
    pub fn path_of(&self, digest: Digest) -> PathBuf {
        self.dir.join(super::blob_path(digest))
    }

    /// The size in bytes of a blob that is there.
    pub fn size_of(&self, digest: Digest) -> Option<u64> {
        let found = fs::metadata(self.path_of(digest)).ok()?;
        found.is_file().then_some(found.len())
    }

    /// Opens a blob.
    pub fn reader(&self, digest: Digest) -> anyhow::Result<File> {
        let path = self.path_of(digest);
        File::open(&path).with_context(|| format!("opening {}", path.display()))
    }

    /// A small blob's bytes: at most `limit`.
    pub fn read(&self, digest: Digest, limit: u64) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut reader = self.reader(digest)?.take(limit);
        let read = reader.read_to_end(&mut bytes);
        read.with_context(|| format!("reading {}", self.path_of(digest).display()))?;
        Ok(bytes)
    }

    /// Begins or goes on with a blob; `None` when it is there. Waits for another that writes it.
    pub fn partial(&self, digest: Digest) -> anyhow::Result<Option<Partial>> {
        let path = self.dir.join("partial").join(digest.to_string());
        let context = || format!("opening {}", path.display());
        loop {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            let mut file = options.open(&path).with_context(context)?;
            file.lock().with_context(context)?;
            let done = self.size_of(digest).is_some();
            // Whoever had the lock may have put the file in its place, or away.
            let ours = file.metadata().with_context(context)?.ino();
            let same = fs::metadata(&path).is_ok_and(|there| there.ino() == ours);
            if done {
                if same {
                    fs::remove_file(&path).with_context(context)?;
                }
                return Ok(None);
            }
            if !same {
                continue;
            }
            let (hasher, size) = hash(&mut file).with_context(context)?;
            return Ok(Some(Partial {
                store: self.clone(),
                digest,
                path,
                file,
                hasher,
                size,
            }));
        }
    }

    /// Begins a blob whose digest is not known yet. It is lost when it is dropped.
    pub fn fresh(&self) -> anyhow::Result<Fresh> {
        let dir = self.dir.join("partial");
        let file = tempfile::NamedTempFile::with_prefix_in(".fresh-", &dir);
        Ok(Fresh {
            store: self.clone(),
            file: file.with_context(|| format!("creating a file in {}", dir.display()))?,
            hasher: Sha256::new(),
            size: 0,
        })
    }

    /// Puts bytes in.
    pub fn insert(&self, bytes: &[u8]) -> anyhow::Result<Digest> {
        let mut fresh = self.fresh()?;
        fresh.write_all(bytes).map_err(|e| fresh.failed(e))?;
        Ok(fresh.finish()?.0)
    }

    /// Takes a blob over from another store: linked when that is possible, else copied and
    /// checked.
    pub fn adopt(&self, digest: Digest, other: &Self) -> anyhow::Result<()> {
        let path = &other.path_of(digest);
        if self.size_of(digest).is_some() || fs::hard_link(path, self.path_of(digest)).is_ok() {
            return Ok(());
        }
        let Some(mut partial) = self.partial(digest)? else {
            return Ok(());
        };
        partial.restart()?;
        let mut file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        io::copy(&mut file, &mut partial)
            .with_context(|| format!("copying {} into the store", path.display()))?;
        partial.finish()
    }

    /// Reads a blob and compares its digest.
    pub fn verify(&self, digest: Digest) -> anyhow::Result<u64> {
        let path = self.path_of(digest);
        let (found, size) = Digest::of_file(&path)?;
        match found == digest {
            true => Ok(size),
            false => Err(damaged(digest, found, size)
                .context(format!("{} is not what its name says", path.display()))),
        }
    }

    /// Takes a blob out.
    pub fn remove(&self, digest: Digest) -> anyhow::Result<()> {
        let path = self.path_of(digest);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(e).with_context(|| format!("removing {}", path.display()))
            }
            _ => Ok(()),
        }
    }

    /// All blobs that are there.
    pub fn blobs(&self) -> anyhow::Result<Vec<Digest>> {
        let dir = self.dir.join("blobs/sha256");
        let context = || format!("reading {}", dir.display());
        let mut found = Vec::new();
        for entry in fs::read_dir(&dir).with_context(context)? {
            let name = entry.with_context(context)?.file_name();
            found.extend(name.to_str().and_then(|name| name.parse::<Digest>().ok()));
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Takes out all that is not in `keep`, and what was begun. How many bytes that made free.
    pub fn prune(&self, keep: &BTreeSet<Digest>) -> anyhow::Result<u64> {
        let mut freed = 0;
        for digest in self.blobs()? {
            if !keep.contains(&digest) {
                freed += self.size_of(digest).unwrap_or(0);
                self.remove(digest)?;
            }
        }
        let dir = self.dir.join("partial");
        let context = || format!("emptying {}", dir.display());
        for entry in fs::read_dir(&dir).with_context(context)? {
            let path = entry.with_context(context)?.path();
            // What another process writes just now is not ours.
            let free = File::open(&path).is_ok_and(|file| file.try_lock().is_ok());
            if free {
                freed += fs::metadata(&path).map_or(0, |there| there.len());
                fs::remove_file(&path).with_context(context)?;
            }
        }
        Ok(freed)
    }

    /// The blob that was made of others; `key` stands for them and for the way.
    pub fn made(&self, key: Digest) -> Option<Digest> {
        let text = fs::read_to_string(self.dir.join("made").join(key.to_string())).ok()?;
        let digest = text.trim().parse().ok()?;
        self.size_of(digest).map(|_| digest)
    }

    /// Remembers what was made.
    pub fn set_made(&self, key: Digest, digest: Digest) -> anyhow::Result<()> {
        let dir = self.dir.join("made");
        let path = dir.join(key.to_string());
        let context = || format!("writing {}", path.display());
        let mut file = tempfile::NamedTempFile::new_in(&dir).with_context(context)?;
        writeln!(file, "{digest}").with_context(context)?;
        file.persist(&path).with_context(context)?;
        Ok(())
    }

    /// Gives a finished file its name.
    fn settle(&self, from: &Path, file: &File, digest: Digest) -> anyhow::Result<()> {
        let path = self.path_of(digest);
        let settle = || -> io::Result<()> {
            file.set_permissions(Permissions::from_mode(0o444))?;
            file.sync_all()?;
            fs::rename(from, &path)?;
            File::open(self.dir.join("blobs/sha256"))?.sync_all()
        };
        settle().map_err(|e| Failure::of_write(e, format!("writing {}", path.display())))
    }
}

/// Hashes what a file has, and leaves it at its end.
fn hash(file: &mut File) -> io::Result<(Sha256, u64)> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 128 << 10];
    let mut size = 0;
    file.seek(SeekFrom::Start(0))?;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((hasher, size)),
            count => {
                hasher.update(&buffer[..count]);
                size += count as u64;
            }
        }
    }
}

/// What a wrong digest means.
fn damaged(wanted: Digest, found: Digest, size: u64) -> anyhow::Error {
    Failure::error(
        Kind::ArtifactDamaged,
        format!("the digest is {found} ({size} bytes), and {wanted} is pinned"),
        "nothing of it was kept; if upstream has another file now, find out why before it is pinned",
    )
}

impl Partial {
    /// Bytes that are there.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Forgets what is there.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        let emptied = self.file.set_len(0);
        let emptied = emptied.and_then(|()| self.file.seek(SeekFrom::Start(0)));
        emptied.with_context(|| format!("emptying {}", self.path.display()))?;
        self.hasher = Sha256::new();
        self.size = 0;
        Ok(())
    }

    /// The first bytes, to see what they are.
    pub fn start(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let read = self.file.seek(SeekFrom::Start(0));
        let read = read.and_then(|_| (&self.file).take(64).read_to_end(&mut bytes));
        let back = self.file.seek(SeekFrom::End(0));
        match read.and(back) {
            Ok(_) => bytes,
            Err(_) => Vec::new(),
        }
    }

    /// Whether the bytes have the digest; to look at before [`Partial::finish`].
    pub fn is_whole(&self) -> bool {
        Digest::finish(self.hasher.clone()) == self.digest
    }

    /// What its digest being another one means.
    pub fn damaged(&self) -> anyhow::Error {
        damaged(self.digest, Digest::finish(self.hasher.clone()), self.size)
    }

    /// Takes it out of the store.
    pub fn discard(self) -> anyhow::Result<()> {
        fs::remove_file(&self.path).with_context(|| format!("removing {}", self.path.display()))
    }

    /// Puts it into the store. With another digest nothing of it is kept.
    pub fn finish(self) -> anyhow::Result<()> {
        if !self.is_whole() {
            let error = self.damaged();
            self.discard()?;
            return Err(error);
        }
        self.store.settle(&self.path, &self.file, self.digest)
    }
}

impl Write for Partial {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.file.write(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Fresh {
    /// What a failed write to it means.
    pub fn failed(&self, error: io::Error) -> anyhow::Error {
        Failure::of_write(error, format!("writing {}", self.file.path().display()))
    }

    /// Puts it into the store; its digest and size in bytes.
    pub fn finish(self) -> anyhow::Result<(Digest, u64)> {
        let digest = Digest::finish(self.hasher);
        let (file, path) = self.file.into_parts();
        self.store.settle(&path, &file, digest)?;
        // It has another name now.
        path.keep().context("keeping a finished file")?;
        Ok((digest, self.size))
    }
}

impl Write for Fresh {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.file.write(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        (dir, store)
    }

    fn files(store: &Store, sub: &str) -> usize {
        fs::read_dir(store.dir().join(sub)).unwrap().count()
    }

    #[test]
    fn what_was_begun_goes_on() {
        let (_dir, store) = store();
        let digest = Digest::of(b"hello world");
        let mut partial = store.partial(digest).unwrap().unwrap();
        partial.write_all(b"hello ").unwrap();
        drop(partial);
        assert_eq!(store.size_of(digest), None, "it is not whole");
        let mut partial = store.partial(digest).unwrap().unwrap();
        assert_eq!(partial.size(), 6);
        assert_eq!(partial.start(), b"hello ");
        assert!(!partial.is_whole());
        partial.write_all(b"world").unwrap();
        assert!(partial.is_whole());
        partial.finish().unwrap();
        assert_eq!(store.size_of(digest), Some(11));
        assert_eq!(store.verify(digest).unwrap(), 11);
        assert!(store.partial(digest).unwrap().is_none());
        assert_eq!(
            (files(&store, "partial"), store.blobs().unwrap().len()),
            (0, 1)
        );
    }

    #[test]
    fn another_digest_leaves_nothing() {
        let (_dir, store) = store();
        let digest = Digest::of(b"right");
        let mut partial = store.partial(digest).unwrap().unwrap();
        partial.write_all(b"wrong").unwrap();
        let error = partial.finish().unwrap_err();
        assert_eq!(Failure::of(&error).unwrap().kind, Kind::ArtifactDamaged);
        assert!(error.to_string().contains(&digest.to_string()));
        assert_eq!(
            (files(&store, "partial"), files(&store, "blobs/sha256")),
            (0, 0)
        );
    }

    #[test]
    fn damage_in_the_store_is_found() {
        let (_dir, store) = store();
        let digest = store.insert(b"something").unwrap();
        let path = store.path_of(digest);
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        fs::write(&path, b"s0mething").unwrap();
        let error = format!("{:#}", store.verify(digest).unwrap_err());
        assert!(error.contains("is not what its name says"), "{error}");
    }

    #[test]
    fn two_that_want_the_same_write_it_once() {
        let (_dir, store) = store();
        let bytes = vec![7; 3 << 20];
        let digest = Digest::of(&bytes);
        let wrote: usize = std::thread::scope(|scope| {
            let write = || match store.partial(digest).unwrap() {
                None => 0,
                Some(mut partial) => {
                    assert_eq!(partial.size(), 0);
                    partial.write_all(&bytes).unwrap();
                    partial.finish().unwrap();
                    1
                }
            };
            let all: Vec<_> = (0..4).map(|_| scope.spawn(write)).collect();
            all.into_iter().map(|one| one.join().unwrap()).sum()
        });
        assert_eq!(wrote, 1);
        assert_eq!(store.verify(digest).unwrap(), 3 << 20);
    }

    #[test]
    fn pruning_keeps_what_is_named_and_what_is_in_use() {
        let (_dir, store) = store();
        let keep = store.insert(b"keep").unwrap();
        let made = store.insert(b"made of keep").unwrap();
        store.set_made(keep, made).unwrap();
        assert_eq!(store.made(keep), Some(made));
        let busy = Digest::of(b"busy");
        let begun = store.partial(busy).unwrap().unwrap();
        drop(store.partial(Digest::of(b"idle")).unwrap());
        store.prune(&[keep].into()).unwrap();
        assert_eq!(store.blobs().unwrap(), [keep]);
        assert_eq!(store.made(keep), None, "it is gone");
        assert_eq!(files(&store, "partial"), 1);
        drop(begun);
    }
}
