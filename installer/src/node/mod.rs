//! What makes a booted image this node: its configuration at every boot, and the proof of it.
//!
//! In: the config on OEM and the boot contract's kernel arguments ([`boot`]). Out: mounts and a
//! complete `/etc` before the node's own PID 1 starts ([`apply`]), or a list of what differs
//! from the config ([`verify`]). What a file holds is decided by pure functions ([`render`]).

pub mod accounts;
pub mod address;
pub mod apply;
pub mod boot;
pub mod change;
pub mod charts;
mod console;
pub mod devices;
mod disks;
pub mod export;
pub mod files;
pub mod first;
pub mod health;
pub mod machine;
mod mounts;
pub mod multipath;
pub mod network;
pub mod payload;
pub mod record;
pub mod render;
pub mod running;
mod seed;
pub mod source;
pub mod state;
pub mod status;
pub mod upgrade;
pub mod verify;
