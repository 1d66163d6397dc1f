//! The cluster payload: what it is made of, where it comes from, and how it is laid down.
//!
//! `Bundle + Lock -> LockedBundle --fetch--> Store --lay_out--> payload folder`. In: the two files of
//! the build, or `bundle.json` of an image. Out: a [`Store`] that holds bytes by their digest, and
//! a folder for the node with `payload.json` in it. Nothing without a digest is ever fetched into
//! the store, and nothing lies in the store under a digest that it does not have.

pub mod archive;
mod artifact;
mod digest;
mod fetch;
mod lay_out;
mod lock;
pub mod oci;
mod origin;
mod payload;
mod store;
mod transfer;

pub use artifact::{Artifact, ArtifactKind, Bundle};
pub use digest::Digest;
pub use fetch::{Fetching, Progress, State, hint_of};
pub use lay_out::{clear_beside, lay_out, needed};
pub use lock::{
    Content, Lock, LockedArtifact, LockedBundle, LockedFile, LockedImage, Pin, Unpinned, Wanted,
    how_to_pin,
};
pub use origin::{Origin, REPOSITORY, blob_path};
pub use payload::{PAYLOAD_NAME, Payload, PayloadItem};
pub use store::{Fresh, Partial, Store};

/// The version of the shape of `bundle.toml`, `bundle.lock`, `bundle.json` and `payload.json`
/// that this program reads and writes.
pub const SCHEMA: u32 = 1;
