//! Container images: their names, their manifests, registries, and archives of them.
//!
//! In: references and digests. Out: blobs in a [`super::Store`], each checked against its digest,
//! and archives that containerd imports. Only what pulling by digest and mirroring needs is here.

mod auth;
mod client;
pub mod manifest;
mod reference;
mod registries;

pub use auth::Credentials;
pub use client::Access;
pub(super) use client::refused;
pub use reference::Reference;
pub use registries::{Endpoint, Registries};
