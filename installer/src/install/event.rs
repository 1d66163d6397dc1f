//! What a running install tells whoever watches.
//!
//! In: nothing. Out: [`Event`]s over a channel, as lines for people or as JSON for programs. A
//! watcher that went away never stops an install.

use std::fmt;

use serde::Serialize;

use crate::disk::layout::show;

/// Something that happened in an install.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Event {
    /// A step begins.
    Begin {
        /// Its number, from 1.
        number: usize,
        /// How many there are.
        of: usize,
        /// What it does.
        step: String,
    },
    /// A step has moved on.
    Progress {
        /// Number of the step.
        number: usize,
        /// How many there are.
        of: usize,
        /// Bytes done.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// Something went wrong that is no reason to stop.
    Complaint {
        /// Number of the step.
        number: usize,
        /// How many there are.
        of: usize,
        /// What, on which disk, and why.
        message: String,
    },
    /// A step is done.
    End {
        /// Its number.
        number: usize,
        /// How many there are.
        of: usize,
        /// How long it took.
        milliseconds: u64,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin { number, of, step } => write!(f, "[{number}/{of}] {step}"),
            Self::Progress {
                number,
                of,
                done,
                total,
            } => {
                let percent = done.saturating_mul(100) / (*total).max(1);
                write!(
                    f,
                    "[{number}/{of}]   {percent:>3} %  {} of {}",
                    show(*done),
                    show(*total)
                )
            }
            Self::Complaint {
                number,
                of,
                message,
            } => write!(f, "[{number}/{of}]   warning: {message}"),
            Self::End {
                number,
                of,
                milliseconds,
            } => {
                let (seconds, tenths) = (milliseconds / 1000, milliseconds % 1000 / 100);
                write!(f, "[{number}/{of}]   done in {seconds}.{tenths} s")
            }
        }
    }
}
