//! The rules on single values, by the names that `resolve` knows them by; see [`super::formats`].

pub use super::formats::*;
