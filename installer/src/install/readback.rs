//! Reads a written slot again and checks every block of it against its hash tree.
//!
//! In: a [`Slot`] that was written, the manifest's entry. Out: nothing, or an error that names
//! disk and offset. The bytes come from the disk and not from memory where the kernel allows it;
//! several threads hash. Each block is compared with its digest in the tree on the disk, each
//! level with the next, and the top with the manifest's root hash, so nothing is kept.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

use super::slot::{Slot, joined};
use crate::failure::{Failure, Kind};
use crate::image::manifest::{FileEntry, SlotImage, Verity};
use crate::image::verity::{
    BLOCK, DIGEST, Hash, Hasher, PER_BLOCK, Params, parse_superblock, superblock,
};
use crate::install::grub::SlotEntry;

/// Blocks that a thread takes at once: as many as two hash blocks cover.
const SHARE: u64 = 2 * PER_BLOCK as u64;
/// More threads do not read faster.
const MOST_THREADS: usize = 4;

/// A level of the tree: where it lies in the slot, and how many blocks it covers. The blocks of
/// level 0 are the data's, those of level 1 the ones of level 0's digests, and so on.
#[derive(Debug, Clone, Copy)]
struct Level {
    /// Offset of the blocks that are hashed.
    blocks_at: u64,
    blocks: u64,
    /// Offset of the digests.
    digests_at: u64,
}

/// Reads a slot back; see the module's description. `progress` hears how many bytes were read.
pub fn read_back(
    slot: &Slot<'_>,
    image: &SlotImage,
    progress: &mut dyn FnMut(u64),
) -> anyhow::Result<()> {
    let failed = |at: u64, e: io::Error| {
        let offset = slot.range.start + at;
        Failure::of_write(e, format!("reading {} back at byte {offset}", slot.name))
    };
    let size = image.file.size;
    slot.block.sync_data().map_err(|e| failed(0, e))?;
    let start = slot.range.start;
    slot.block
        .forget(start..start + size)
        .map_err(|e| failed(0, e))?;
    let found = check(slot, image, &failed, progress)?;
    let Some(wrong) = found else {
        return Ok(());
    };
    // Either the disk does not hold what was written, or what was written is no good image.
    if digest_of(slot, size, &failed)? == image.file.sha256 {
        return Err(Failure::error(
            Kind::ImageVerity,
            format!(
                "{} does not have the verity root hash of its manifest: {} at byte {}",
                image.file.name, wrong.what, wrong.at
            ),
            "the image was put together wrongly; take another build",
        ));
    }
    Err(Failure::error(
        Kind::DeviceFailed,
        format!(
            "{} does not hold what was written: {} at byte {} (block {} of the slot)",
            slot.name,
            wrong.what,
            start + wrong.at,
            wrong.at / BLOCK as u64
        ),
        "the disk, its cable or this machine's memory is failing: see `dmesg`, and try another disk",
    ))
}

/// Reads a slot of which only its menu entry is known. Where it is not what that says, in words.
pub fn find_damage(
    slot: &Slot<'_>,
    entry: &SlotEntry,
    progress: &mut dyn FnMut(u64),
) -> anyhow::Result<Option<String>> {
    let failed = |at: u64, e: io::Error| {
        let offset = slot.range.start + at;
        Failure::of_write(e, format!("reading {} at byte {offset}", slot.name))
    };
    let (_, size) = levels(entry.hash_offset);
    let room = slot.range.end - slot.range.start;
    if entry.hash_offset == 0 || size > room {
        return Ok(Some("its menu entry names more than it has".into()));
    }
    let start = slot.range.start;
    slot.block
        .forget(start..start + size)
        .map_err(|e| failed(0, e))?;
    let mut block = [0; BLOCK];
    read_exact(slot, &mut block, entry.hash_offset).map_err(|e| failed(entry.hash_offset, e))?;
    let Some(params) = parse_superblock(&block) else {
        return Ok(Some("it has no dm-verity superblock".into()));
    };
    let image = SlotImage {
        file: FileEntry {
            name: slot.name.clone(),
            size,
            sha256: String::new(),
        },
        verity: Verity {
            root_hash: entry.root_hash.clone(),
            salt: hex::encode(params.salt),
            uuid: params.uuid,
            hash_offset: entry.hash_offset,
        },
    };
    let found = check(slot, &image, &failed, progress)?;
    Ok(found.map(|wrong| format!("{} at byte {} of it", wrong.what, wrong.at)))
}

/// What is not as it should be, and where in the slot.
struct Wrong {
    what: &'static str,
    at: u64,
}

type Failed<'a> = dyn Fn(u64, io::Error) -> anyhow::Error + Sync + 'a;

fn check(
    slot: &Slot<'_>,
    image: &SlotImage,
    failed: &Failed<'_>,
    progress: &mut dyn FnMut(u64),
) -> anyhow::Result<Option<Wrong>> {
    let verity = &image.verity;
    let salt = hex::decode(&verity.salt).context("reading the salt")?;
    let hasher = Hasher::new(&salt);
    let (levels, end) = levels(verity.hash_offset);
    let header = verity.hash_offset;
    if end != image.file.size || salt.len() > 256 {
        let what = "the hash tree has another size than the manifest's numbers make";
        return Ok(Some(Wrong { what, at: header }));
    }
    let mut done = 0;
    for level in &levels {
        let wrong = check_level(slot, *level, &hasher, failed, &mut |blocks| {
            done += blocks * BLOCK as u64;
            progress(done);
        })?;
        if wrong.is_some() {
            return Ok(wrong);
        }
    }
    let mut block = [0; BLOCK];
    read_exact(slot, &mut block, header).map_err(|e| failed(header, e))?;
    let uuid = verity.uuid;
    if block != superblock(&Params { salt, uuid }, header / BLOCK as u64) {
        let what = "the dm-verity superblock is another one";
        return Ok(Some(Wrong { what, at: header }));
    }
    let top = levels.last().map_or(0, |level| level.digests_at);
    read_exact(slot, &mut block, top).map_err(|e| failed(top, e))?;
    progress(image.file.size);
    let good = hex::encode(hasher.hash(&block)) == verity.root_hash;
    let what = "the root hash is another one";
    Ok((!good).then_some(Wrong { what, at: top }))
}

/// The levels of the tree over `data` bytes, the lowest first, and where the tree ends.
fn levels(data: u64) -> (Vec<Level>, u64) {
    let block = BLOCK as u64;
    let mut widths = vec![data / block];
    while let Some(&width) = widths.last().filter(|width| **width > 1) {
        widths.push(width.div_ceil(PER_BLOCK as u64));
    }
    // On the disk the top comes first, after the superblock.
    let tree: u64 = widths.iter().skip(1).sum();
    let end = data + block * (1 + tree);
    let (mut below, mut at) = (0, end);
    let mut levels = Vec::new();
    for pair in widths.windows(2) {
        at -= pair[1] * block;
        levels.push(Level {
            blocks_at: below,
            blocks: pair[0],
            digests_at: at,
        });
        below = at;
    }
    (levels, end)
}

/// Compares the blocks of a level with their digests, on several threads. Of several wrong
/// blocks, the first.
fn check_level(
    slot: &Slot<'_>,
    level: Level,
    hasher: &Hasher,
    failed: &Failed<'_>,
    progress: &mut dyn FnMut(u64),
) -> anyhow::Result<Option<Wrong>> {
    let next = AtomicU64::new(0);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let (told, heard) = channel();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.min(MOST_THREADS))
            .map(|_| {
                let (told, next) = (told.clone(), &next);
                scope.spawn(move || check_shares(slot, level, hasher, failed, next, &told))
            })
            .collect();
        drop(told);
        for blocks in heard {
            progress(blocks);
        }
        let mut first: Option<Wrong> = None;
        for worker in workers {
            let wrong = joined(worker.join())?;
            first = first.into_iter().chain(wrong).min_by_key(|w| w.at);
        }
        Ok(first)
    })
}

fn check_shares(
    slot: &Slot<'_>,
    level: Level,
    hasher: &Hasher,
    failed: &Failed<'_>,
    next: &AtomicU64,
    told: &Sender<u64>,
) -> anyhow::Result<Option<Wrong>> {
    let mut blocks = vec![0; SHARE as usize * BLOCK];
    let mut digests = vec![0; SHARE as usize * DIGEST];
    loop {
        let first = next.fetch_add(SHARE, Ordering::Relaxed);
        let count = level.blocks.saturating_sub(first).min(SHARE);
        if count == 0 {
            return Ok(None);
        }
        let at = level.blocks_at + first * BLOCK as u64;
        let stored = level.digests_at + first * DIGEST as u64;
        let blocks = &mut blocks[..count as usize * BLOCK];
        let digests = &mut digests[..count as usize * DIGEST];
        read_exact(slot, blocks, at).map_err(|e| failed(at, e))?;
        read_exact(slot, digests, stored).map_err(|e| failed(stored, e))?;
        let pairs = blocks.chunks_exact(BLOCK).zip(digests.chunks_exact(DIGEST));
        for (number, (block, digest)) in pairs.enumerate() {
            let own: Hash = hasher.hash(block);
            if own[..] != *digest {
                let at = at + (number * BLOCK) as u64;
                let what = "a block does not have its digest in the hash tree";
                // The others end at their next share; a smaller offset may still come from them.
                next.store(u64::MAX - SHARE * 64, Ordering::Relaxed);
                return Ok(Some(Wrong { what, at }));
            }
        }
        told.send(count).ok();
    }
}

/// Reads from a slot.
fn read_exact(slot: &Slot<'_>, buffer: &mut [u8], at: u64) -> io::Result<()> {
    slot.block.fill(buffer, slot.range.start + at)
}

/// sha256 of the first `size` bytes of a slot.
fn digest_of(slot: &Slot<'_>, size: u64, failed: &Failed<'_>) -> anyhow::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut at = 0;
    while at < size {
        let left = usize::try_from(size - at).unwrap_or(usize::MAX);
        let part = buffer.len().min(left);
        read_exact(slot, &mut buffer[..part], at).map_err(|e| failed(at, e))?;
        hash.update(&buffer[..part]);
        at += part as u64;
    }
    Ok(hex::encode(hash.finalize()))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read as _, Seek as _, Write as _};
    use std::os::unix::fs::FileExt as _;

    use super::*;
    use crate::image::manifest::{FileEntry, Verity};
    use crate::image::verity::append_tree;
    use crate::install::slot::Before;

    /// A slot image of so many blocks of data in a file, which is both image and slot.
    fn image(blocks: usize) -> (File, SlotImage) {
        let mut file = tempfile::tempfile().unwrap();
        let data: Vec<u8> = (0..blocks * BLOCK)
            .map(|i| (i / BLOCK * 7 + i % 251) as u8)
            .collect();
        file.write_all(&data).unwrap();
        let params = Params {
            salt: vec![7; 32],
            uuid: uuid::Uuid::from_u128(5),
        };
        let verity: Verity = append_tree(&mut file, &params, 2).unwrap();
        let mut all = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut all).unwrap();
        let entry = FileEntry {
            name: "slot.img".into(),
            size: all.len() as u64,
            sha256: hex::encode(Sha256::digest(&all)),
        };
        (
            file,
            SlotImage {
                file: entry,
                verity,
            },
        )
    }

    fn check(file: &File, image: &SlotImage) -> anyhow::Result<()> {
        let slot = Slot {
            block: file,
            name: "/dev/x".into(),
            range: 0..image.file.size,
            before: Before::Anything,
        };
        let mut last = 0;
        let result = read_back(&slot, image, &mut |done| last = done);
        if result.is_ok() {
            assert_eq!(last, image.file.size);
        }
        result
    }

    #[test]
    fn good_slots_of_all_shapes_pass() {
        for blocks in [1, 2, 127, 128, 129, 255, 256, 257, 128 * 128, 128 * 128 + 1] {
            let (file, image) = image(blocks);
            check(&file, &image).unwrap();
        }
    }

    #[test]
    fn every_flipped_bit_is_found_where_it_is() {
        let (file, image) = image(300);
        let size = image.file.size;
        let places = (0..size)
            .step_by(33_331)
            .chain((size - 4 * 4096..size).step_by(509));
        for at in places.chain([
            0,
            image.verity.hash_offset - 1,
            image.verity.hash_offset,
            size - 1,
        ]) {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
            let error = check(&file, &image).unwrap_err();
            let failure = Failure::of(&error).unwrap();
            assert_eq!(failure.kind, Kind::DeviceFailed, "{at}: {error}");
            assert!(
                error.to_string().contains("/dev/x does not hold"),
                "{error}"
            );
            if at < image.verity.hash_offset {
                let block = at / BLOCK as u64 * BLOCK as u64;
                assert!(
                    error.to_string().contains(&format!("at byte {block} ")),
                    "{at}: {error}"
                );
            }
            file.write_all_at(&byte, at).unwrap();
        }
        check(&file, &image).unwrap();
    }

    #[test]
    fn a_wrong_image_is_not_the_disks_fault() {
        let (file, mut image) = image(300);
        image.verity.root_hash = "00".repeat(32);
        let error = check(&file, &image).unwrap_err();
        assert_eq!(
            Failure::of(&error).unwrap().kind,
            Kind::ImageVerity,
            "{error}"
        );
        let (file, image) = super::tests::image(1);
        file.set_len(4096).unwrap();
        let error = check(&file, &image).unwrap_err();
        assert!(error.to_string().contains("reading /dev/x back"), "{error}");
    }
}
