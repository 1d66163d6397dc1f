//! What scenarios say while others run: whole lines, each with the name of who said it.
//!
//! In: lines, from any thread. Out: the same on one writer, never two mixed up in one line.

use std::fmt::Display;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

/// How much room a name gets.
const WIDTH: usize = 19;

/// Takes lines of one speaker.
#[derive(Clone)]
pub struct Output {
    prefix: String,
    sink: Arc<Mutex<dyn Write + Send>>,
}

impl Output {
    /// Writes to stdout, without a name.
    pub fn stdout() -> Self {
        Self::new(std::io::stdout())
    }

    /// Writes to `sink`, without a name.
    pub fn new(sink: impl Write + Send + 'static) -> Self {
        Self {
            prefix: String::new(),
            sink: Arc::new(Mutex::new(sink)),
        }
    }

    /// The same with a name before each line.
    #[must_use]
    pub fn named(&self, name: &str) -> Self {
        Self {
            prefix: format!("{name:<WIDTH$} | "),
            sink: Arc::clone(&self.sink),
        }
    }

    /// Writes a text: one line, or several that stay together.
    pub fn say(&self, text: impl Display) {
        let text = text.to_string();
        let mut whole = String::new();
        for line in text.strip_suffix('\n').unwrap_or(&text).split('\n') {
            whole += &self.prefix;
            whole += line.trim_end_matches('\r');
            whole.push('\n');
        }
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        // Who closed it has read enough; the results are in the exit code too.
        sink.write_all(whole.as_bytes()).ok();
        sink.flush().ok();
    }

    /// A writer whose lines are said one by one, as soon as each is whole.
    pub fn writer(&self) -> Lines {
        Lines {
            output: self.clone(),
            begun: Vec::new(),
        }
    }
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Output({:?})", self.prefix)
    }
}

/// See [`Output::writer`]; a last line without an end is said when it is dropped.
pub struct Lines {
    output: Output,
    begun: Vec<u8>,
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.begun.extend_from_slice(bytes);
        if let Some(end) = self.begun.iter().rposition(|&byte| byte == b'\n') {
            let rest = self.begun.split_off(end + 1);
            let whole = std::mem::replace(&mut self.begun, rest);
            self.output.say(String::from_utf8_lossy(&whole));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if !self.begun.is_empty() {
            self.output.say(String::from_utf8_lossy(&self.begun));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps what was written, and takes it byte by byte, as a slow terminal does.
    #[derive(Clone, Default)]
    struct Slow(Arc<Mutex<Vec<u8>>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            std::thread::yield_now();
            self.0.lock().unwrap().extend(bytes.first());
            Ok(bytes.len().min(1))
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Slow {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    #[test]
    fn lines_of_two_speakers_are_never_mixed() {
        let sink = Slow::default();
        let output = Output::new(sink.clone());
        let start = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            for name in ["one", "two"] {
                let (output, start) = (output.named(name), &start);
                scope.spawn(move || {
                    start.wait();
                    let mut writer = output.writer();
                    for i in 0..100 {
                        output.say(format!("{name} says\n{name} goes on"));
                        write!(writer, "{name} ").unwrap();
                        writeln!(writer, "writes {i}").unwrap();
                    }
                });
            }
        });
        let text = sink.text();
        assert_eq!(text.lines().count(), 600);
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let (name, said) = line.split_once(" | ").unwrap();
            let name = name.trim_end();
            assert!(name == "one" || name == "two", "{line}");
            assert!(said.starts_with(name), "{line}");
            if said.ends_with(" says") {
                assert!(lines.next().unwrap().ends_with(&format!("{name} goes on")));
            }
        }
    }

    #[test]
    fn a_writer_says_whole_lines_and_its_rest_at_the_end() {
        let sink = Slow::default();
        let output = Output::new(sink.clone());
        let mut writer = output.writer();
        write!(writer, "a").unwrap();
        assert_eq!(sink.text(), "");
        write!(writer, "b\nc\n\nd").unwrap();
        assert_eq!(sink.text(), "ab\nc\n\n");
        drop(writer);
        assert_eq!(sink.text(), "ab\nc\n\nd\n");
    }
}
