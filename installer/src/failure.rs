//! Errors that a caller or a person branches on: a kind with its own exit code, and a way out.
//!
//! In: a [`Kind`], what failed, what to do. Out: an error that travels inside `anyhow` and
//! that `main` turns into an exit code and a `hint:` line.

use std::fmt;
use std::io;

/// What kind of thing went wrong. Each has an exit code of its own, see [`Kind::TABLE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file with a config can't be read.
    ConfigMissing,
    /// A config is not what it should be.
    ConfigInvalid,
    /// The device does not exist or is not a whole disk.
    DeviceUnknown,
    /// The disk is too small for the layout.
    DeviceTooSmall,
    /// Something uses the disk.
    DeviceInUse,
    /// The disk holds data, and nothing says that it may be lost.
    DeviceHoldsData,
    /// The disk can't be written, or failed while being written.
    DeviceFailed,
    /// A file of the image set is missing, short, or has another digest.
    ImageDamaged,
    /// The slot image's hash tree does not belong to the manifest's root hash.
    ImageVerity,
    /// The image can't be fetched from its server.
    ImageUnreachable,
    /// Not enough room for a file target.
    NoSpace,
    /// A file target exists already.
    TargetExists,
    /// A file target can't be created where it should be.
    TargetFolder,
    /// A report or log can't be written where it should be.
    OutputUnwritable,
    /// A program that is needed is not installed.
    ToolMissing,
    /// A program that was started failed.
    ToolFailed,
    /// The node differs from its config.
    NodeDiffers,
    /// What only a node can do was asked of another system, or without its rights.
    NotANode,
    /// This node can't be upgraded with that image, or not now.
    UpgradeRefused,
    /// This node is not healthy.
    NodeUnhealthy,
    /// A bundle, its lock or a mirror of it is not what it should be.
    BundleInvalid,
    /// An artifact that is needed has no pin.
    ArtifactUnpinned,
    /// An artifact can't be fetched.
    ArtifactUnreachable,
    /// An artifact has another digest than its pin, or is no such thing.
    ArtifactDamaged,
    /// A registry or mirror wants credentials, or others.
    ArtifactRefused,
}

impl Kind {
    /// Every kind with its exit code and meaning; the documented contract.
    pub const TABLE: [(Self, u8, &'static str); 25] = [
        (Self::ConfigMissing, 10, "the config can't be read"),
        (Self::ConfigInvalid, 11, "the config has problems"),
        (
            Self::DeviceUnknown,
            20,
            "the device does not exist or is not a whole disk",
        ),
        (Self::DeviceTooSmall, 21, "the disk is too small"),
        (Self::DeviceInUse, 22, "the disk is in use"),
        (
            Self::DeviceFailed,
            23,
            "the disk can't be opened or written",
        ),
        (
            Self::DeviceHoldsData,
            24,
            "the disk holds data, and nothing says that it may be lost",
        ),
        (Self::ImageDamaged, 30, "the image is incomplete or damaged"),
        (Self::ImageVerity, 31, "the image's verity hash is wrong"),
        (Self::ImageUnreachable, 32, "the image can't be fetched"),
        (Self::NoSpace, 40, "no room for a file target"),
        (Self::TargetExists, 41, "a file target exists already"),
        (Self::TargetFolder, 42, "a file target can't be created"),
        (
            Self::OutputUnwritable,
            43,
            "a report, log or the output can't be written",
        ),
        (Self::ToolMissing, 50, "a program is not installed"),
        (Self::ToolFailed, 51, "a program failed"),
        (Self::NodeDiffers, 60, "the node differs from its config"),
        (
            Self::NotANode,
            61,
            "only root on an installed node can do this",
        ),
        (
            Self::UpgradeRefused,
            62,
            "this node can't be upgraded or rolled back so, or not now",
        ),
        (Self::NodeUnhealthy, 63, "the node is not healthy"),
        (
            Self::BundleInvalid,
            70,
            "the bundle of the cluster payload has problems",
        ),
        (Self::ArtifactUnpinned, 71, "an artifact has no pin"),
        (
            Self::ArtifactUnreachable,
            72,
            "an artifact can't be fetched",
        ),
        (Self::ArtifactDamaged, 73, "an artifact is damaged"),
        (
            Self::ArtifactRefused,
            74,
            "a registry or mirror wants credentials",
        ),
    ];

    /// The exit code of `harrow` for this kind.
    pub fn exit_code(self) -> u8 {
        Self::TABLE
            .iter()
            .find(|(kind, _, _)| *kind == self)
            .map_or(1, |(_, code, _)| *code)
    }
}

/// An error with a kind and a way out.
#[derive(Debug)]
pub struct Failure {
    /// What kind of thing went wrong.
    pub kind: Kind,
    /// What failed, on what, and why.
    pub message: String,
    /// What to do; may be empty.
    pub hint: String,
}

impl Failure {
    /// An `anyhow` error of this kind.
    pub fn error(kind: Kind, message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
        anyhow::Error::new(Self {
            kind,
            message: message.into(),
            hint: hint.into(),
        })
    }

    /// What a failed write to a target means; `what` names the target and what was done.
    pub fn of_write(error: io::Error, what: impl Into<String>) -> anyhow::Error {
        let (kind, hint) = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                (Kind::NoSpace, "free some space there, and try again")
            }
            io::ErrorKind::FileTooLarge => (
                Kind::NoSpace,
                "a limit of this user or of the file system is smaller (see `ulimit -f`)",
            ),
            io::ErrorKind::PermissionDenied => (Kind::DeviceFailed, "run it as root"),
            _ => (
                Kind::DeviceFailed,
                "the disk or its cable may be failing: see `dmesg`, and try another disk",
            ),
        };
        Self::error(kind, format!("{}: {error}", what.into()), hint)
    }

    /// The failure inside an error, wherever context was put around it.
    pub fn of(error: &anyhow::Error) -> Option<&Self> {
        error.chain().find_map(|cause| cause.downcast_ref())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The exit code for any error: its [`Kind`]'s, that of a failed program, else 1.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    use crate::sys::cmd::CmdError;
    if let Some(failure) = Failure::of(error) {
        return failure.kind.exit_code();
    }
    match error.chain().find_map(|cause| cause.downcast_ref()) {
        Some(CmdError::Missing { .. }) => Kind::ToolMissing.exit_code(),
        Some(CmdError::Failed { .. } | CmdError::TimedOut { .. }) => Kind::ToolFailed.exit_code(),
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn codes_are_distinct_and_not_those_of_clap_or_of_a_signal() {
        let mut codes: Vec<u8> = Kind::TABLE.iter().map(|(_, code, _)| *code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Kind::TABLE.len());
        assert!(codes.iter().all(|c| (3..=125).contains(c)));
    }

    #[test]
    fn the_kind_survives_context() {
        let error = Err::<(), _>(Failure::error(Kind::NoSpace, "full", "delete something"))
            .context("writing")
            .unwrap_err();
        assert_eq!(exit_code(&error), 40);
        assert_eq!(Failure::of(&error).unwrap().hint, "delete something");
        assert_eq!(exit_code(&anyhow::anyhow!("a bug")), 1);
        let missing = crate::sys::cmd::Cmd::new("no-such-program")
            .run()
            .unwrap_err();
        assert_eq!(exit_code(&missing), 50);
    }
}
