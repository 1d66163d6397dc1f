//! The guest's serial console: a terminal that is read, searched and typed on.
//!
//! In: the Unix socket of QEMU's serial port. Out: text awaited with a deadline, the screen as
//! a person would see it (80x24), and a log with the time since power-on before each line.
//! A fatal line (see [`crate::transcript`]) or the end of the guest ends every wait at once.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::transcript::{Match, Transcript};

/// Keys that are not characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// Enter.
    Enter,
    /// Escape.
    Esc,
    /// Tab.
    Tab,
    /// Backspace.
    Backspace,
    /// Arrow up.
    Up,
    /// Arrow down.
    Down,
    /// Arrow left.
    Left,
    /// Arrow right.
    Right,
    /// Ctrl and a letter.
    Ctrl(char),
}

impl Key {
    /// What a VT100 sends for it.
    fn bytes(self) -> Vec<u8> {
        match self {
            Self::Enter => b"\r".to_vec(),
            Self::Esc => b"\x1b".to_vec(),
            Self::Tab => b"\t".to_vec(),
            Self::Backspace => b"\x7f".to_vec(),
            Self::Up => b"\x1b[A".to_vec(),
            Self::Down => b"\x1b[B".to_vec(),
            Self::Right => b"\x1b[C".to_vec(),
            Self::Left => b"\x1b[D".to_vec(),
            Self::Ctrl(letter) => vec![letter.to_ascii_lowercase() as u8 & 0x1f],
        }
    }
}

/// A console that is being read in the background.
pub struct Console {
    shared: Arc<Shared>,
    stream: UnixStream,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    transcript: Transcript,
    terminal: vt100::Parser,
    log: File,
    /// How much of the transcript is in the log.
    logged: usize,
    power_on: Instant,
    closed: bool,
}

impl Console {
    /// Starts reading `stream`; `log` gets the lines with their times.
    pub fn open(stream: UnixStream, log: &Path) -> anyhow::Result<Self> {
        let log = File::create(log).with_context(|| format!("creating {}", log.display()))?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                transcript: Transcript::default(),
                terminal: vt100::Parser::new(cells(24), cells(80), 0),
                log,
                logged: 0,
                power_on: Instant::now(),
                closed: false,
            }),
            changed: Condvar::new(),
        });
        let reader = stream
            .try_clone()
            .context("duplicating the console's socket")?;
        let theirs = Arc::clone(&shared);
        std::thread::spawn(move || theirs.read(reader));
        Ok(Self { shared, stream })
    }

    /// Says that the machine was switched on, or reset, at `at`: times count from there, and
    /// what was said before is not searched any more.
    pub fn mark_power_on(&self, at: Instant) {
        let mut state = self.shared.lock();
        state.log_up_to(true);
        state.power_on = at;
        state.transcript.skip_to_end();
        writeln!(state.log, "---------- power-on ----------").ok();
    }

    /// When the machine was switched on or reset last.
    pub fn power_on(&self) -> Instant {
        self.shared.lock().power_on
    }

    /// Waits for `text` after what was found last.
    pub fn wait_for(&self, text: &str, limit: Duration) -> anyhow::Result<Match> {
        self.wait(&format!("{text:?}"), limit, |state| {
            state.transcript.next(&[text])
        })
    }

    /// Waits for the first line with one of `texts` after what was found last.
    pub fn wait_for_line(&self, texts: &[&str], limit: Duration) -> anyhow::Result<Match> {
        self.wait(&format!("{texts:?}"), limit, |state| {
            state.transcript.next_line(texts)
        })
    }

    /// The first line with one of `texts` after what was found last, if it was said already.
    pub fn take_line(&self, texts: &[&str]) -> anyhow::Result<Option<Match>> {
        let mut state = self.shared.lock();
        state.check_said()?;
        let found = state.transcript.next_line(texts);
        if found.is_none() {
            state.check_alive()?;
        }
        Ok(found)
    }

    /// Waits until the screen, as text, is as `wanted` says.
    pub fn wait_for_screen(
        &self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> anyhow::Result<()> {
        self.wait(what, limit, |state| {
            wanted(&state.terminal.screen().contents()).then_some(())
        })
    }

    /// An error when the guest has said something fatal, or is gone.
    pub fn check(&self) -> anyhow::Result<()> {
        let mut state = self.shared.lock();
        state.check_said()?;
        state.check_alive()
    }

    /// The screen as text, 24 lines at most.
    pub fn screen(&self) -> String {
        self.shared.lock().terminal.screen().contents()
    }

    /// Everything said so far, without escape sequences.
    pub fn transcript(&self) -> String {
        self.shared.lock().transcript.text().to_owned()
    }

    /// The last `count` lines said.
    pub fn tail(&self, count: usize) -> String {
        self.shared.lock().transcript.tail(count)
    }

    /// Types `text` as it stands.
    pub fn type_text(&self, text: &str) -> anyhow::Result<()> {
        self.send(text.as_bytes())
    }

    /// Presses a key.
    pub fn press(&self, key: Key) -> anyhow::Result<()> {
        self.send(&key.bytes())
    }

    fn send(&self, bytes: &[u8]) -> anyhow::Result<()> {
        (&self.stream)
            .write_all(bytes)
            .context("typing on the console")
    }

    fn wait<T>(
        &self,
        what: &str,
        limit: Duration,
        mut seen: impl FnMut(&mut State) -> Option<T>,
    ) -> anyhow::Result<T> {
        let deadline = Instant::now() + limit;
        let mut state = self.shared.lock();
        loop {
            let found = seen(&mut state);
            state
                .check_said()
                .with_context(|| format!("waiting for {what} on the console"))?;
            if let Some(found) = found {
                return Ok(found);
            }
            state
                .check_alive()
                .with_context(|| format!("waiting for {what} on the console"))?;
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!(
                    "waited {} s for {what} on the console, in vain",
                    limit.as_secs()
                );
            }
            state = self
                .shared
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, mut stream: UnixStream) {
        let mut buffer = [0; 4096];
        loop {
            let count = stream.read(&mut buffer).unwrap_or(0);
            let mut state = self.lock();
            state.terminal.process(&buffer[..count]);
            state.transcript.feed(&buffer[..count], Instant::now());
            state.closed = count == 0;
            state.log_up_to(count == 0);
            self.changed.notify_all();
            if count == 0 {
                return;
            }
        }
    }
}

impl State {
    fn check_said(&mut self) -> anyhow::Result<()> {
        if let Some(line) = self.transcript.fatal() {
            bail!("the guest said: {line}");
        }
        Ok(())
    }

    fn check_alive(&self) -> anyhow::Result<()> {
        if self.closed {
            bail!("the machine ended");
        }
        Ok(())
    }

    /// Writes the finished lines that are not in the log yet, or `all` of the text.
    fn log_up_to(&mut self, all: bool) {
        let seconds = self.power_on.elapsed().as_secs_f64();
        let rest = &self.transcript.text()[self.logged..];
        let end = if all {
            rest.len()
        } else {
            rest.rfind('\n').map_or(0, |at| at + 1)
        };
        for line in rest[..end].lines() {
            // A log that can't be written must not end the test.
            writeln!(self.log, "[{seconds:8.3}] {}", line.trim_end()).ok();
        }
        self.logged += end;
    }
}

fn cells(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).unwrap_or(NonZeroU16::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(200);
    const LONG: Duration = Duration::from_secs(10);

    fn open() -> (Console, UnixStream, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let (ours, guest) = UnixStream::pair().unwrap();
        let console = Console::open(ours, &folder.path().join("serial.log")).unwrap();
        (console, guest, folder)
    }

    #[test]
    fn a_text_is_awaited_and_keys_arrive() {
        let (console, mut guest, folder) = open();
        guest.write_all(b"\x1b[2J\x1b[1;1Hlogin: ").unwrap();
        assert_eq!(console.wait_for("login:", LONG).unwrap().line, "login:");
        console
            .wait_for_screen("the prompt", LONG, |screen| screen.trim() == "login:")
            .unwrap();
        console.type_text("root").unwrap();
        console.press(Key::Ctrl('x')).unwrap();
        let mut typed = [0; 5];
        guest.read_exact(&mut typed).unwrap();
        assert_eq!(&typed, b"root\x18");
        console.mark_power_on(Instant::now());
        let log = std::fs::read_to_string(folder.path().join("serial.log")).unwrap();
        assert!(log.contains("] login:\n-"), "{log}");
    }

    #[test]
    fn silence_is_an_error() {
        let (console, mut guest, _folder) = open();
        guest.write_all(b"starting\r\n").unwrap();
        console.wait_for("starting", LONG).unwrap();
        let error = console.wait_for("started", SHORT).unwrap_err().to_string();
        assert!(error.contains("in vain"), "{error}");
        assert_eq!(console.tail(5), "starting");
    }

    #[test]
    fn a_fatal_line_ends_the_wait_at_once() {
        let (console, mut guest, _folder) = open();
        guest.write_all(b"Kernel panic - not syncing\r\n").unwrap();
        let start = Instant::now();
        let error = format!("{:#}", console.wait_for("login:", LONG).unwrap_err());
        assert!(error.contains("the guest said: Kernel panic"), "{error}");
        assert!(start.elapsed() < LONG);
    }

    #[test]
    fn the_end_of_the_guest_ends_the_wait_but_hides_no_text() {
        let (console, mut guest, _folder) = open();
        guest.write_all(b"bye\r\n").unwrap();
        drop(guest);
        console.wait_for("bye", LONG).unwrap();
        let error = format!("{:#}", console.wait_for("login:", LONG).unwrap_err());
        assert!(error.contains("the machine ended"), "{error}");
    }
}
