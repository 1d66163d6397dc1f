//! The configuration of a node: from what was said to what will be done.
//!
//! In: [`Source`]s, such as YAML files and kernel arguments ([`Answers`], everything optional).
//! Out: a resolved [`Config`] or every [`Problem`] at once, each with its place. Pure: no disk,
//! no network, no clock, no environment.
//!
//! The way of a source: `yaml` or `assign` make a tree whose values know their places,
//! `spelling` gives its keys today's names, `check` compares it with the schema, `merge` lays
//! stronger sources over weaker ones, `relations` are the rules between keys, and `resolve`
//! makes the config.

mod answers;
mod assign;
mod check;
mod codes;
mod forms;
mod load;
mod merge;
mod network;
mod problem;
mod relations;
mod resolve;
mod resolved;
mod rules;
pub mod schema;
mod source;
mod spelling;
mod text;
mod tree;
mod wrapper;
mod yaml;

pub use answers::{Answers, DeviceChoice, DiskRule, InstallMode, NodeRole, Secret};
pub use codes::{Code, Severity};
pub use load::{Checked, check_sources};
pub use problem::{Look, Mark, Problem, Problems};
pub use resolve::resolve;
pub use resolved::{
    Config, FileToWrite, Ipv4Method, Ipv4Static, Management, Mode, NicSelector, Os, Sizes, Storage,
};
pub use source::{Assignment, Content, Source, SourceKind};
