//! The machine's consoles: lines that must be seen wherever a person looks.
//!
//! In: lines. Out: the same lines on every active console (`/sys/class/tty/console/active`).
//! Written by a thread of its own: a console that hangs stops nothing.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// How long the end of a program waits for consoles that are slow.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Takes lines and prints them.
#[derive(Debug)]
pub struct Printer {
    lines: Lines,
    done: Receiver<()>,
}

impl Printer {
    /// Prints to these writers.
    pub fn new(mut writers: Vec<Box<dyn Write + Send>>) -> Self {
        let (lines, incoming) = channel::<String>();
        let (tell_done, done) = channel();
        std::thread::spawn(move || {
            for line in incoming {
                for writer in &mut writers {
                    // A console that went away is no reason to stop.
                    writer.write_all(line.as_bytes()).ok();
                    writer.flush().ok();
                }
            }
            tell_done.send(()).ok();
        });
        Self {
            lines: Lines(lines),
            done,
        }
    }

    /// Prints to stdout.
    pub fn stdout() -> Self {
        Self::new(vec![Box::new(std::io::stdout())])
    }

    /// Prints to all active consoles of the machine, each line after `harrow: `.
    pub fn consoles() -> Self {
        let active = std::fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
        let mut writers: Vec<Box<dyn Write + Send>> = Vec::new();
        for name in active.split_whitespace() {
            writers.push(Box::new(Terminal(Path::new("/dev").join(name))));
        }
        Self::new(writers)
    }

    /// Prints a line.
    pub fn line(&self, line: impl std::fmt::Display) {
        self.lines.line(line);
    }

    /// A way to print from another thread.
    pub fn lines(&self) -> Lines {
        self.lines.clone()
    }

    /// Waits a moment for slow consoles.
    pub fn finish(self) {
        drop(self.lines);
        self.done.recv_timeout(LAST_WORDS).ok();
    }
}

/// Prints lines from any thread, see [`Printer::lines`].
#[derive(Debug, Clone)]
pub struct Lines(Sender<String>);

impl Lines {
    /// Prints a line.
    pub fn line(&self, line: impl std::fmt::Display) {
        self.0.send(format!("{line}\n")).ok();
    }
}

/// A terminal in whatever mode: lines end with a carriage return too, and carry our name. It is
/// opened for each line, since a login prompt that starts on it hangs up all who had it open.
struct Terminal(PathBuf);

impl Write for Terminal {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut text = Vec::with_capacity(bytes.len() + 64);
        for line in String::from_utf8_lossy(bytes).lines() {
            text.extend_from_slice(format!("\rharrow: {line}\r\n").as_bytes());
        }
        let flags = rustix::fs::OFlags::NOCTTY.bits() as i32;
        let mut options = std::fs::File::options();
        let mut file = options.write(true).custom_flags(flags).open(&self.0)?;
        file.write_all(&text)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
