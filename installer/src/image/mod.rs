//! The image set: the slot image and the files that boot it, as one folder.
//!
//! In: a folder or an ISO (on the medium, on a disk, at a URL) with `manifest.json`. Out: its
//! [`manifest`], its parts as checked streams, and the dm-verity hash tree ([`verity`]).

pub mod ahead;
pub mod manifest;
pub mod set;
pub mod source;
pub mod verity;
