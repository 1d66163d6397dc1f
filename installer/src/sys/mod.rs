//! The door to the outside: starting programs ([`cmd`]) and waiting ([`wait`]).
//!
//! In: requests of the other modules. Out: results that name what failed. Nothing else in
//! the workspace starts a process or sleeps (clippy.toml enforces it).

pub mod cmd;
pub mod wait;
