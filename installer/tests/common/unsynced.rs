//! What a disk may lose with the power: any of the writes since the last sync.

use std::fs::File;
use std::io;
use std::ops::Range;

use harrow::disk::block::Block as _;

/// Larger ranges are taken for durable: they are discarded or zeroed, and nobody has memory for
/// what they held.
const LARGEST: u64 = 16 << 20;

/// The writes since the last sync, in their order.
#[derive(Debug, Default)]
pub struct Unsynced(Vec<Change>);

#[derive(Debug)]
struct Change {
    at: u64,
    old: Vec<u8>,
    new: Vec<u8>,
}

impl Unsynced {
    /// A write that will be made; zeros when `new` is absent.
    pub fn note(&mut self, file: &File, range: &Range<u64>, new: Option<&[u8]>) -> io::Result<()> {
        let len = range.end - range.start;
        if len > LARGEST {
            return Ok(());
        }
        let mut old = vec![0; usize::try_from(len).unwrap()];
        file.fill(&mut old, range.start)?;
        self.0.push(Change {
            at: range.start,
            new: new.map_or_else(|| vec![0; old.len()], <[u8]>::to_vec),
            old,
        });
        Ok(())
    }

    /// The disk has them.
    pub fn sync(&mut self) {
        self.0.clear();
    }

    /// The power goes: of the writes only those remain that `seed` picks, about half.
    pub fn lose(&mut self, file: &File, seed: u64) -> io::Result<()> {
        for change in self.0.iter().rev() {
            file.write_bytes(&change.old, change.at)?;
        }
        for (number, change) in (1_u64..).zip(&self.0) {
            let mixed = (seed ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            if mixed >> 63 == 0 {
                file.write_bytes(&change.new, change.at)?;
            }
        }
        self.0.clear();
        Ok(())
    }
}
