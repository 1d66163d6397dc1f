//! The install: decide first, act later.
//!
//! In: a [`Config`](crate::config::Config), a target, an image set. Out: a [`plan::Plan`] (plain
//! data, can be printed), executed by [`engine::execute`] which tells [`event::Event`]s and
//! leaves a [`report::Report`].

mod buffer;
pub mod claim;
pub mod content;
pub mod engine;
pub mod esp;
pub mod event;
pub mod grub;
pub mod grubenv;
pub mod leftover;
pub mod pin;
pub mod plan;
pub mod readback;
pub mod report;
pub mod run;
mod signals;
pub mod slot;
pub mod step;
mod targets;
pub mod upgrade;
pub mod version;
