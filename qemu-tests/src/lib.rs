//! The harness: boots Harrow's media in QEMU and checks the nodes that they install.
//!
//! A [`machine::Machine`] is plain data; [`vm::Vm::start`] switches it on. Its [`console`] is
//! read like a person would, [`qmp`] tells of resets, [`ssh`] runs commands on the node, and
//! [`judge`] lets other programs look at the disk. A [`scenarios`] entry strings these together
//! on a [`stage::Stage`], which keeps the times, and the evidence when it fails. [`double`] is the
//! RKE2 of the tests.

pub mod accel;
pub mod base;
pub mod boot;
pub mod boot_sector;
pub mod console;
pub mod double;
pub mod firmware;
pub mod http;
pub mod judge;
pub mod machine;
pub mod medium;
pub mod node;
pub mod output;
pub mod partitions;
pub mod qmp;
pub mod report;
pub mod runner;
pub mod scenarios;
pub mod schedule;
pub mod ssh;
pub mod stage;
pub mod tools;
pub mod transcript;
pub mod vm;
