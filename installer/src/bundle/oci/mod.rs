//! Container images: their names, their manifests, registries, and archives of them.
//!
//! In: references and digests. Out: blobs in a [`super::Store`], each checked against its digest,
//! and archives that containerd imports. Only what pulling by digest and mirroring needs is here.

mod reference;

pub use reference::Reference;
