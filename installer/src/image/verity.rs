//! The dm-verity hash tree of a slot image: made by the image builder, checked by anyone.
//!
//! In: the data (a squashfs, padded to [`BLOCK`]), a salt and a UUID. Out: superblock and hash
//! tree, appended to the data, and the root hash that vouches for every byte.
//!
//! The format is version 1, as the kernel describes it in
//! `Documentation/admin-guide/device-mapper/verity.rst`; the superblock is cryptsetup's
//! (`lib/verity/verity.c`, and its wiki page "DMVerity"):
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `verity\0\0` |
//! | 8 | 4 | version of the superblock, 1 |
//! | 12 | 4 | type of the hashes, 1: salt first, digests padded to a power of two |
//! | 16 | 16 | UUID |
//! | 32 | 32 | name of the digest, padded with zeros |
//! | 64, 68 | 4, 4 | size of a data block, of a hash block |
//! | 72 | 8 | number of data blocks |
//! | 80 | 2 | length of the salt |
//! | 88 | 256 | salt |
//!
//! Numbers are little-endian. The tree starts in the hash block after the superblock, its top
//! level first; a hash block holds 128 digests and is filled up with zeros. The root hash is
//! the digest of the top level's only block, or of the data if that is a single block.

use std::fs::File;
use std::io::{Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;

use anyhow::{Context as _, bail};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::manifest::Verity;

/// Size of data and hash blocks, in bytes.
pub const BLOCK: usize = 4096;

/// Size of a digest, in bytes.
pub(crate) const DIGEST: usize = 32;

/// Digests in a hash block.
pub(crate) const PER_BLOCK: usize = BLOCK / DIGEST;

/// Offset of the salt in the superblock and its largest length.
const SALT_OFFSET: usize = 88;
const SALT_MAX: usize = 256;

/// Data blocks that a worker reads at once.
const READ_BLOCKS: usize = 256;

pub(crate) type Hash = [u8; DIGEST];

/// What makes two trees over the same data differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Params {
    /// Put before every block that is hashed; at most 256 bytes.
    pub salt: Vec<u8>,
    /// Names the tree in the superblock.
    pub uuid: Uuid,
}

/// Pads `file` with zeros to a whole block, computes its hash tree on `threads` threads and
/// appends superblock and tree. Needs memory for 1/128 of the data.
pub fn append_tree(file: &mut File, params: &Params, threads: usize) -> anyhow::Result<Verity> {
    if params.salt.len() > SALT_MAX {
        bail!(
            "a dm-verity salt has at most {SALT_MAX} bytes, not {}",
            params.salt.len()
        );
    }
    let size = file
        .metadata()
        .context("reading the size of the slot image")?
        .len();
    if size == 0 {
        bail!("there is nothing to make a hash tree of: the slot image is empty");
    }
    let hash_offset = size.next_multiple_of(BLOCK as u64);
    file.set_len(hash_offset)
        .context("padding the slot image")?;
    let hasher = Hasher::new(&params.salt);
    let blocks =
        usize::try_from(hash_offset / BLOCK as u64).context("the slot image is too large")?;
    let leaves = hash_data(file, blocks, &hasher, threads)?;
    let (levels, root) = build_levels(leaves, &hasher);

    file.seek(SeekFrom::Start(hash_offset))
        .context("seeking in the slot image")?;
    let mut tree = superblock(params, blocks as u64).to_vec();
    for level in levels.iter().rev() {
        tree.extend_from_slice(level.as_flattened());
        tree.resize(tree.len().next_multiple_of(BLOCK), 0);
    }
    file.write_all(&tree).context("writing the hash tree")?;
    Ok(Verity {
        root_hash: hex::encode(root),
        salt: hex::encode(&params.salt),
        uuid: params.uuid,
        hash_offset,
    })
}

/// Reads a whole slot image (data, superblock, tree) and checks all of it against `verity`.
/// Streams: needs a few hash blocks of memory, whatever the size of the image.
pub fn verify(image: &mut impl Read, verity: &Verity) -> anyhow::Result<()> {
    let salt = hex::decode(&verity.salt).context("reading the salt")?;
    if salt.len() > SALT_MAX
        || verity.hash_offset == 0
        || !verity.hash_offset.is_multiple_of(BLOCK as u64)
    {
        bail!(
            "the dm-verity parameters (salt of {} bytes, hash offset {}) are not valid",
            salt.len(),
            verity.hash_offset
        );
    }
    let blocks = verity.hash_offset / BLOCK as u64;
    let mut tree = RunningTree::new(Hasher::new(&salt), blocks);
    let mut block = [0; BLOCK];
    for number in 0..blocks {
        image
            .read_exact(&mut block)
            .with_context(|| format!("reading data block {number} of {blocks}"))?;
        tree.push_data(&block);
    }
    let (root, levels) = tree.finish();
    if hex::encode(root) != verity.root_hash {
        bail!(
            "the data does not match the root hash {}: its own is {}",
            verity.root_hash,
            hex::encode(root)
        );
    }
    image
        .read_exact(&mut block)
        .context("reading the dm-verity superblock")?;
    let params = Params {
        salt,
        uuid: verity.uuid,
    };
    if block != superblock(&params, blocks) {
        bail!("the dm-verity superblock does not belong to this image");
    }
    for (number, level) in levels.iter().enumerate().rev() {
        let mut stored = Sha256::new();
        for _ in 0..level.blocks {
            image
                .read_exact(&mut block)
                .context("reading the hash tree")?;
            stored.update(block);
        }
        if Hash::from(stored.finalize()) != level.digest {
            bail!("level {number} of the hash tree does not belong to the data");
        }
    }
    Ok(())
}

/// Salted digests: the state after the salt is computed once.
#[derive(Clone)]
pub(crate) struct Hasher(Sha256);

impl Hasher {
    pub(crate) fn new(salt: &[u8]) -> Self {
        Self(Sha256::new_with_prefix(salt))
    }

    pub(crate) fn hash(&self, block: &[u8]) -> Hash {
        self.0.clone().chain_update(block).finalize().into()
    }
}

/// The digests of all data blocks, in order.
fn hash_data(
    file: &File,
    blocks: usize,
    hasher: &Hasher,
    threads: usize,
) -> anyhow::Result<Vec<Hash>> {
    let mut leaves = vec![[0; DIGEST]; blocks];
    let share = blocks.div_ceil(threads.max(1));
    std::thread::scope(|scope| {
        let workers: Vec<_> = leaves
            .chunks_mut(share)
            .enumerate()
            .map(|(number, leaves)| {
                scope.spawn(move || hash_share(file, number * share, leaves, hasher))
            })
            .collect();
        for worker in workers {
            match worker.join() {
                Ok(result) => result?,
                Err(_) => bail!("a thread that computes the hash tree ended early"),
            }
        }
        Ok(())
    })?;
    Ok(leaves)
}

fn hash_share(
    file: &File,
    first: usize,
    leaves: &mut [Hash],
    hasher: &Hasher,
) -> anyhow::Result<()> {
    let mut buffer = vec![0; READ_BLOCKS * BLOCK];
    let mut block = first;
    for leaves in leaves.chunks_mut(READ_BLOCKS) {
        let data = &mut buffer[..leaves.len() * BLOCK];
        file.read_exact_at(data, (block * BLOCK) as u64)
            .with_context(|| format!("reading the slot image at block {block}"))?;
        for (leaf, data) in leaves.iter_mut().zip(data.chunks_exact(BLOCK)) {
            *leaf = hasher.hash(data);
        }
        block += leaves.len();
    }
    Ok(())
}

/// The levels of the tree, the lowest first, and the root hash.
fn build_levels(leaves: Vec<Hash>, hasher: &Hasher) -> (Vec<Vec<Hash>>, Hash) {
    let mut levels = Vec::new();
    let mut current = leaves;
    while current.len() > 1 {
        let next = current
            .chunks(PER_BLOCK)
            .map(|digests| {
                let mut block = [0; BLOCK];
                block[..digests.len() * DIGEST].copy_from_slice(digests.as_flattened());
                hasher.hash(&block)
            })
            .collect();
        levels.push(std::mem::replace(&mut current, next));
    }
    (levels, current[0])
}

pub(crate) fn superblock(params: &Params, data_blocks: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put =
        |offset: usize, bytes: &[u8]| block[offset..offset + bytes.len()].copy_from_slice(bytes);
    put(0, b"verity\0\0");
    put(8, &1u32.to_le_bytes());
    put(12, &1u32.to_le_bytes());
    put(16, params.uuid.as_bytes());
    put(32, b"sha256");
    put(64, &(BLOCK as u32).to_le_bytes());
    put(68, &(BLOCK as u32).to_le_bytes());
    put(72, &data_blocks.to_le_bytes());
    put(80, &(params.salt.len() as u16).to_le_bytes());
    put(SALT_OFFSET, &params.salt);
    block
}

/// Salt and UUID of a superblock that [`superblock`] made.
pub(crate) fn parse_superblock(block: &[u8; BLOCK]) -> Option<Params> {
    let size = usize::from(u16::from_le_bytes([block[80], block[81]]));
    let params = Params {
        salt: block.get(SALT_OFFSET..SALT_OFFSET + size)?.to_vec(),
        uuid: uuid::Uuid::from_slice(&block[16..32]).ok()?,
    };
    let blocks = u64::from_le_bytes(block[72..80].try_into().ok()?);
    (superblock(&params, blocks) == *block).then_some(params)
}

/// A tree that is computed while data streams by, with one hash block in memory per level.
struct RunningTree {
    hasher: Hasher,
    levels: Vec<RunningLevel>,
    root: Hash,
}

struct RunningLevel {
    /// The hash block that is being filled.
    block: [u8; BLOCK],
    filled: usize,
    blocks: u64,
    /// sha256 of the level's finished blocks, to compare the stored level with.
    all: Sha256,
}

/// What is known of a finished level.
struct LevelSum {
    blocks: u64,
    digest: Hash,
}

impl RunningTree {
    fn new(hasher: Hasher, data_blocks: u64) -> Self {
        let mut levels = Vec::new();
        let mut width = data_blocks;
        while width > 1 {
            levels.push(RunningLevel {
                block: [0; BLOCK],
                filled: 0,
                blocks: 0,
                all: Sha256::new(),
            });
            width = width.div_ceil(PER_BLOCK as u64);
        }
        Self {
            hasher,
            levels,
            root: [0; DIGEST],
        }
    }

    fn push_data(&mut self, block: &[u8; BLOCK]) {
        let digest = self.hasher.hash(block);
        self.push(0, digest);
    }

    fn push(&mut self, level: usize, digest: Hash) {
        let Some(running) = self.levels.get_mut(level) else {
            self.root = digest;
            return;
        };
        let start = running.filled * DIGEST;
        running.block[start..start + DIGEST].copy_from_slice(&digest);
        running.filled += 1;
        if running.filled == PER_BLOCK {
            self.close_block(level);
        }
    }

    fn close_block(&mut self, level: usize) {
        let running = &mut self.levels[level];
        let digest = self.hasher.hash(&running.block);
        running.all.update(running.block);
        running.blocks += 1;
        running.filled = 0;
        running.block = [0; BLOCK];
        self.push(level + 1, digest);
    }

    fn finish(mut self) -> (Hash, Vec<LevelSum>) {
        for level in 0..self.levels.len() {
            if self.levels[level].filled > 0 {
                self.close_block(level);
            }
        }
        let sums = self.levels.into_iter().map(|l| LevelSum {
            blocks: l.blocks,
            digest: l.all.finalize().into(),
        });
        (self.root, sums.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::cmd::Cmd;

    /// Data that differs in every block, deterministic.
    fn data(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i / BLOCK * 7 + i % 251) as u8).collect()
    }

    fn image(len: usize, salt: &[u8], threads: usize) -> (tempfile::NamedTempFile, Verity) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&data(len)).unwrap();
        let params = Params {
            salt: salt.to_vec(),
            uuid: Uuid::from_u128(0x1234),
        };
        let verity = append_tree(file.as_file_mut(), &params, threads).unwrap();
        (file, verity)
    }

    fn verify_file(file: &tempfile::NamedTempFile, verity: &Verity) -> anyhow::Result<()> {
        verify(
            &mut std::io::BufReader::new(File::open(file.path()).unwrap()),
            verity,
        )
    }

    /// Lengths around every boundary of the format, with the number of blocks of the tree.
    const SIZES: [(usize, usize); 9] = [
        (1, 0),
        (BLOCK, 0),
        (BLOCK + 1, 1),
        (127 * BLOCK, 1),
        (128 * BLOCK, 1),
        (129 * BLOCK, 3),
        (128 * 128 * BLOCK - 1, 129),
        (128 * 128 * BLOCK, 129),
        (128 * 128 * BLOCK + 1, 132),
    ];

    #[test]
    fn the_tree_has_the_right_size_and_verifies() {
        for (len, tree_blocks) in SIZES {
            let (file, verity) = image(len, b"salt", 2);
            let size = file.as_file().metadata().unwrap().len();
            assert_eq!(verity.hash_offset, len.next_multiple_of(BLOCK) as u64);
            assert_eq!(
                size,
                verity.hash_offset + ((1 + tree_blocks) * BLOCK) as u64,
                "{len}"
            );
            verify_file(&file, &verity).unwrap();
        }
    }

    #[test]
    fn the_number_of_threads_does_not_matter() {
        let one = image(300 * BLOCK, b"", 1).1;
        for threads in [0, 2, 3, 299, 1000] {
            assert_eq!(image(300 * BLOCK, b"", threads).1, one, "{threads}");
        }
    }

    #[test]
    fn every_kind_of_damage_is_found() {
        let (file, verity) = image(129 * BLOCK, &[7; 32], 2);
        let size = file.as_file().metadata().unwrap().len();
        for (at, message) in [
            (0, "does not match the root hash"),
            (129 * BLOCK as u64 - 1, "does not match the root hash"),
            (verity.hash_offset + 16, "superblock"),
            (verity.hash_offset + 300, "superblock"),
            (verity.hash_offset + BLOCK as u64, "level 1"),
            (size - 1, "level 0"),
        ] {
            let mut byte = [0];
            file.as_file().read_exact_at(&mut byte, at).unwrap();
            file.as_file().write_all_at(&[byte[0] ^ 1], at).unwrap();
            let error = verify_file(&file, &verity).unwrap_err().to_string();
            assert!(error.contains(message), "{at}: {error}");
            file.as_file().write_all_at(&byte, at).unwrap();
        }
        verify_file(&file, &verity).unwrap();
        file.as_file().set_len(size - 1).unwrap();
        assert!(verify_file(&file, &verity).is_err());
    }

    #[test]
    fn what_is_no_image_is_refused() {
        let mut empty = tempfile::tempfile().unwrap();
        let params = Params {
            salt: Vec::new(),
            uuid: Uuid::nil(),
        };
        assert!(append_tree(&mut empty, &params, 1).is_err());
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"x").unwrap();
        let params = Params {
            salt: vec![0; 257],
            uuid: Uuid::nil(),
        };
        assert!(append_tree(&mut file, &params, 1).is_err());
    }

    /// The judge that was written by others; installed by `make test`.
    #[test]
    fn veritysetup_agrees() {
        for (len, _) in SIZES {
            for salt in [&b""[..], &[0xa5; 32]] {
                let (file, verity) = image(len, salt, 2);
                let path = file.path();
                Cmd::new("veritysetup")
                    .arg("verify")
                    .arg(format!("--hash-offset={}", verity.hash_offset))
                    .args([path, path])
                    .arg(&verity.root_hash)
                    .run()
                    .unwrap();
            }
        }
    }
}
