//! Harrow's installer as a library: everything that `harrow` does, behind plain functions.
//!
//! `Answers + Facts -> Config -> Plan -> Event.. -> Report`; see ARCHITECTURE.md for the rooms.

// What the tests share speaks of this library by its name.
#[cfg(test)]
extern crate self as harrow;

#[cfg(test)]
#[path = "../tests/common/server.rs"]
mod test_server;

pub mod bundle;
pub mod cluster;
pub mod config;
pub mod disk;
pub mod facts;
pub mod failure;
pub mod image;
pub mod install;
pub mod live;
pub mod node;
pub mod sys;
