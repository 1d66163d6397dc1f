//! Harrow's installer as a library: everything that `harrow` does, behind plain functions.
//!
//! `Answers + Facts -> Config -> Plan -> Event.. -> Report`; see ARCHITECTURE.md for the rooms.

pub mod config;
pub mod disk;
pub mod facts;
pub mod failure;
pub mod image;
pub mod install;
pub mod live;
pub mod node;
pub mod sys;
