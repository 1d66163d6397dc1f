//! Disks: the layout (the contract of every installed disk) and what makes it.
//!
//! In: sizes and ids. Out: a [`layout::Layout`] as data; partition table, FAT and ext4 file
//! systems and BIOS boot code as bytes on a target that is a block device or a plain file.

pub mod bios;
pub mod block;
pub mod cache;
pub mod choose;
pub mod coverage;
pub mod ext4;
pub mod fat;
pub mod fat_change;
pub mod fat_dots;
mod fat_mend;
pub mod fat_staged;
pub mod former;
pub mod identity;
pub mod iso9660;
pub mod journal;
pub mod layout;
pub(crate) mod open;
pub mod release;
pub mod signatures;
pub mod table;
pub mod target;
pub mod window;
