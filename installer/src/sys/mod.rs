//! The door to the outside: starting programs ([`cmd`]), waiting ([`wait`]), HTTP ([`net`]),
//! the kernel's command line ([`cmdline`]), the machine's consoles ([`console`]) and random
//! numbers ([`random`]).
//!
//! In: requests of the other modules. Out: results that name what failed. Nothing else in
//! the workspace starts a process or sleeps (clippy.toml enforces it).

pub mod cmd;
pub mod cmdline;
pub mod console;
pub mod net;
pub mod random;
pub mod wait;
