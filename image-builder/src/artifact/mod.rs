//! Artifacts: what people boot, assembled from an image set.
//!
//! In: an [`ImageSet`](crate::set::ImageSet). Out: one file or folder per kind of medium, so
//! far the hybrid ISO ([`iso`]), and the files that describe it ([`release`]).

pub mod esp;
pub mod iso;
pub mod menu;
pub mod release;
