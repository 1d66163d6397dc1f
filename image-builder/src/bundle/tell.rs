//! What a person sees while a bundle is fetched: a line for each artifact that is done, and how
//! far the others are now and then.
//!
//! In: [`Progress`] from several threads. Out: lines.

use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use harrow::bundle::{Progress, State};

use crate::progress::size;

/// Time between two lines about what is on its way.
const PAUSE: Duration = Duration::from_secs(5);

/// Writes lines.
pub(super) struct Teller<'a, W>(Mutex<(&'a mut W, Instant)>);

impl<'a, W: Write> Teller<'a, W> {
    pub fn new(out: &'a mut W) -> Self {
        Self(Mutex::new((out, Instant::now())))
    }

    pub fn tell(&self, progress: &Progress) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (out, last) = &mut *inner;
        let name = &progress.artifact;
        let done = size(progress.done);
        // A terminal or pipe that is gone must not end a fetch.
        match progress.state {
            State::Done => writeln!(out, "{name}: there ({done})").ok(),
            State::Failed => writeln!(out, "{name}: failed").ok(),
            State::Packing => writeln!(out, "{name}: packing its images").ok(),
            State::Moving if last.elapsed() < PAUSE => return,
            State::Moving => {
                *last = Instant::now();
                match progress.total {
                    Some(total) => writeln!(out, "{name}: {done} of {}", size(total)).ok(),
                    None => writeln!(out, "{name}: {done}").ok(),
                }
            }
        };
        out.flush().ok();
    }
}
