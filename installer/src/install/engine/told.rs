//! A reader that tells how far it is, now and then.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use super::Run;
use crate::install::event::Event;

/// How often progress is told.
const PROGRESS_PAUSE: Duration = Duration::from_secs(2);

impl<'a> Run<'a> {
    /// Tells how far the running step is, now and then.
    pub(super) fn pace(&self) -> impl FnMut(u64) + use<'a> {
        let step = self.plan.steps.get(self.number - 1);
        let total = step.map_or(0, |step| step.bytes());
        let (number, of, events) = (self.number, self.plan.steps.len(), self.events);
        let mut last = Instant::now();
        move |done| {
            if last.elapsed() < PROGRESS_PAUSE {
                return;
            }
            last = Instant::now();
            let event = Event::Progress {
                number,
                of,
                done,
                total,
            };
            events.send(event).ok();
        }
    }

    /// Tells of what `inner` gives as progress of the running step, of which `done` is done.
    pub(super) fn progress<R: Read>(&self, inner: R, done: u64) -> impl Read + use<'a, R> {
        let pace = self.pace();
        Told { inner, done, pace }
    }
}

/// A reader with its progress.
struct Told<R, P> {
    inner: R,
    done: u64,
    pace: P,
}

impl<R: Read, P: FnMut(u64)> Read for Told<R, P> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.done += count as u64;
        (self.pace)(self.done);
        Ok(count)
    }
}
