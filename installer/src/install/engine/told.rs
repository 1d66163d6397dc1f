//! A reader that tells how far it is, now and then.

use std::io::{self, Read};
use std::sync::mpsc::Sender;
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

    /// Tells of what `inner` gives as progress of the running step, of which `before` is done.
    pub(super) fn progress<R: Read>(&self, inner: R, before: u64) -> Told<'a, R> {
        let step = self.plan.steps.get(self.number - 1);
        Told {
            inner,
            done: before,
            total: step.map_or(0, |step| step.bytes()),
            number: self.number,
            of: self.plan.steps.len(),
            events: self.events,
            last: Instant::now(),
        }
    }
}

/// A reader with its progress.
pub(super) struct Told<'a, R> {
    inner: R,
    done: u64,
    total: u64,
    number: usize,
    of: usize,
    events: &'a Sender<Event>,
    last: Instant,
}

impl<R: Read> Read for Told<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.done += count as u64;
        if self.last.elapsed() >= PROGRESS_PAUSE {
            self.last = Instant::now();
            let event = Event::Progress {
                number: self.number,
                of: self.of,
                done: self.done,
                total: self.total,
            };
            self.events.send(event).ok();
        }
        Ok(count)
    }
}
