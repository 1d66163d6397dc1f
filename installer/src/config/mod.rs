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

mod advice;
mod answers;
mod assign;
mod check;
pub mod cmdline;
mod codes;
mod diff;
mod docs;
mod editor;
mod fleet;
pub mod formats;
mod forms;
mod load;
mod machine;
mod merge;
pub mod packed;
mod password;
mod problem;
mod relations;
mod resolve;
mod resolved;
pub mod schema;
pub mod secret;
pub mod seed;
mod show;
mod source;
mod spelling;
mod text;
mod tree;
mod wrapper;
mod write;
mod yaml;

pub use answers::{
    Answers, Cni, DeviceChoice, DiskRule, InstallMode, InterfaceAnswers, NodeRole, Pick, UrlText,
};
pub use codes::{Code, Severity};
pub use diff::{Difference, differences};
pub use docs::{example, render as render_docs};
pub use fleet::check_fleet;
pub use load::{Checked, check_sources, read_sources};
pub use machine::check_machine;
pub use problem::{Look, Mark, Problem, Problems};
pub(crate) use resolve::VAR;
pub use resolved::{
    AddonName, Bond, ChartValues, Cluster, ClusterStorage, Config, DriverChart, FileToWrite,
    Ipv4Method, Ipv4Static, Ipv6Method, Ipv6Static, Machines, Mirror, Mode, Multipath, Networks,
    NicSelector, NodeNetwork, Os, Overwrite, Pool, Profile, Proxy, Registries, RegistryHost,
    Reserved, Sizes, SnapshotClasses, Snapshots, Storage, StorageKinds, Vip, VirtualFunctions,
};
pub use secret::{Salt, Secret};
pub use show::{origins, render_json, render_text};
pub use source::{Assignment, Content, Source, SourceKind};
pub use write::{convert, hide_password, render_merged};
pub use yaml::LIMIT as LARGEST_SOURCE;
