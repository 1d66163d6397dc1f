//! The machine's consoles: lines that must be seen wherever a person looks.
//!
//! In: lines. Out: the same lines on every active console (`/sys/class/tty/console/active`).
//! Each has a thread of its own: a console that hangs stops neither the work nor the others.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use crate::failure::{Failure, Kind};

/// How long the end of a program waits for consoles that are slow.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Prints text to stdout. Whoever closed it has read enough: that is no error.
pub fn print(text: impl std::fmt::Display) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match write!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::error(
            Kind::OutputUnwritable,
            format!("writing to the standard output: {e}"),
            "see where it leads to",
        )),
        _ => Ok(()),
    }
}

/// Takes lines and prints them.
#[derive(Debug)]
pub struct Printer {
    lines: Lines,
    done: Receiver<()>,
    writers: usize,
}

impl Printer {
    /// Prints to these writers.
    pub fn new(writers: Vec<Box<dyn Write + Send>>) -> Self {
        let (tell_done, done) = channel();
        let count = writers.len();
        let lines = writers.into_iter().map(|writer| {
            let (lines, incoming) = channel();
            let tell_done = tell_done.clone();
            std::thread::spawn(move || {
                print_all(writer, incoming);
                tell_done.send(()).ok();
            });
            lines
        });
        Self {
            lines: Lines(lines.collect()),
            done,
            writers: count,
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
        let deadline = Instant::now() + LAST_WORDS;
        for _ in 0..self.writers {
            let left = deadline.saturating_duration_since(Instant::now());
            self.done.recv_timeout(left).ok();
        }
    }
}

fn print_all(mut writer: Box<dyn Write + Send>, lines: Receiver<String>) {
    for line in lines {
        // A console that went away is no reason to stop.
        writer.write_all(line.as_bytes()).ok();
        writer.flush().ok();
    }
}

/// Prints lines from any thread, see [`Printer::lines`].
#[derive(Debug, Clone)]
pub struct Lines(Vec<Sender<String>>);

impl Lines {
    /// Prints a line.
    pub fn line(&self, line: impl std::fmt::Display) {
        let line = format!("{line}\n");
        for writer in &self.0 {
            writer.send(line.clone()).ok();
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Stands for a serial line that nobody reads.
    struct Stuck(Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.recv().ok();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    struct Heard(Sender<Vec<u8>>);

    impl Write for Heard {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.send(bytes.to_vec()).ok();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_console_that_hangs_keeps_no_line_from_the_others() {
        let (release, stuck) = channel();
        let (tell, heard) = channel();
        let printer = Printer::new(vec![Box::new(Stuck(stuck)), Box::new(Heard(tell))]);
        printer.line("one");
        printer.line("two");
        let patience = Duration::from_secs(60);
        assert_eq!(heard.recv_timeout(patience).unwrap(), b"one\n");
        assert_eq!(heard.recv_timeout(patience).unwrap(), b"two\n");
        drop(release);
        printer.finish();
    }
}
