//! The configuration of a node: from what was said to what will be done.
//!
//! In: YAML ([`Answers`], everything optional). Out: a resolved [`Config`] or every
//! [`Problem`] at once. Pure: no disk, no clock, no environment.

mod answers;
pub mod cmdline;
pub mod formats;
mod resolve;
mod rules;
pub mod secret;
pub mod seed;
mod text;

pub use answers::Answers;
pub use resolve::{
    Config, FileToWrite, Ipv4Method, Ipv4Static, Management, Mode, NicSelector, Os, Problem,
    Problems, Sizes, Storage, resolve,
};
