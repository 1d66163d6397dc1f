//! The only place that starts another program.
//!
//! In: a program and its arguments, never a shell string. Out: its output, or an error with
//! the full line and the end of its stderr. stdin is empty unless given, the language is
//! `C.UTF-8`, `sbin` folders are looked into too, and every line that runs is logged so that it can be pasted into a shell.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, anyhow};

/// How much of a failed program's stderr goes into the error.
const STDERR_TAIL: usize = 1024;

/// A program that could not be started or that failed.
#[derive(Debug, thiserror::Error)]
pub enum CmdError {
    /// The program is not installed.
    #[error("{program} is not installed (looked for it in PATH)")]
    Missing {
        /// Name of the program.
        program: String,
    },
    /// The program ended with an error.
    #[error("{line}\n  failed: {status}{}", tail_of(.stderr))]
    Failed {
        /// The command line, ready to paste.
        line: String,
        /// Exit status.
        status: ExitStatus,
        /// All of stderr, or of stdout when that is empty.
        stderr: String,
    },
    /// The program took longer than it may.
    #[error("{line}\n  was ended after {} s without an answer", .limit.as_secs())]
    TimedOut {
        /// The command line, ready to paste.
        line: String,
        /// Time that it had.
        limit: Duration,
    },
}

fn tail_of(stderr: &str) -> String {
    let text = stderr.trim_end();
    if text.is_empty() {
        return String::from(", without a message");
    }
    let mut start = text.len().saturating_sub(STDERR_TAIL);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    format!(", saying:\n  {}", text[start..].replace('\n', "\n  "))
}

/// A command to run. Built like [`std::process::Command`].
#[derive(Debug)]
pub struct Cmd {
    program: OsString,
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    dir: Option<OsString>,
    input: Option<Vec<u8>>,
    limit: Option<Duration>,
}

/// What a finished program said.
#[derive(Debug)]
pub struct Output {
    /// Everything on stdout.
    pub stdout: Vec<u8>,
    /// Everything on stderr, as text.
    pub stderr: String,
    /// Exit status.
    pub status: ExitStatus,
}

impl Output {
    /// stdout as text; bytes that are not UTF-8 are replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

impl Cmd {
    /// A command without arguments. `program` is looked up in PATH.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            envs: Vec::new(),
            dir: None,
            input: None,
            limit: None,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds several arguments.
    #[must_use]
    pub fn args<I, S>(mut self, args: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.args
            .extend(args.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Sets a variable in the program's environment.
    #[must_use]
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.envs
            .push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Runs the program in this folder.
    #[must_use]
    pub fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.dir = Some(dir.as_ref().as_os_str().to_owned());
        self
    }

    /// Gives the program these bytes on stdin (the way for secrets; they are not logged).
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self
    }

    /// Ends the program after this time, for what may hang on a dying disk.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Runs the program to its end; a non-zero exit is an error.
    pub fn run(self) -> anyhow::Result<Output> {
        let line = self.to_string();
        let output = self.run_any()?;
        if output.status.success() {
            return Ok(output);
        }
        // Some programs say on stdout what is wrong.
        let said = if output.stderr.trim().is_empty() {
            output.text()
        } else {
            output.stderr
        };
        Err(anyhow!(CmdError::Failed {
            line,
            status: output.status,
            stderr: said,
        }))
    }

    /// Runs the program to its end, whatever its exit status; only failing to start is an error.
    pub fn run_any(mut self) -> anyhow::Result<Output> {
        let input = self.input.take();
        let mut child = self.start(
            if input.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            },
            Stdio::piped(),
            Stdio::piped(),
        )?;
        let writer = match (child.stdin.take(), input) {
            (Some(mut stdin), Some(bytes)) => Some(std::thread::spawn(move || {
                // A program that ends without reading all of its input says so by its status.
                stdin.write_all(&bytes).ok();
            })),
            _ => None,
        };
        let output = match self.limit {
            None => child.wait_with_output(),
            Some(limit) => self.wait_within(child, limit)?,
        };
        let output = output.with_context(|| format!("waiting for {self}"))?;
        if let Some(writer) = writer {
            writer.join().ok();
        }
        Ok(Output {
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            status: output.status,
        })
    }

    /// Waits in a thread of its own: a program that waits for a dead disk can't even be killed, and
    /// then the thread and the program are left behind.
    fn wait_within(
        &self,
        child: Child,
        limit: Duration,
    ) -> anyhow::Result<std::io::Result<std::process::Output>> {
        use rustix::process::{self, Pid, PidfdFlags, Signal};
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        // Stands for this very process, even when another one has its number by then.
        let handle = pid.and_then(|pid| process::pidfd_open(pid, PidfdFlags::empty()).ok());
        let (done, ended) = std::sync::mpsc::channel();
        std::thread::spawn(move || done.send(child.wait_with_output()).ok());
        if let Ok(output) = ended.recv_timeout(limit) {
            return Ok(output);
        }
        if let Some(handle) = handle {
            process::pidfd_send_signal(handle, Signal::KILL).ok();
        }
        Err(anyhow!(CmdError::TimedOut {
            line: self.to_string(),
            limit,
        }))
    }

    /// Runs the program to its end on this process's own terminal; a non-zero exit is an error.
    pub fn attach(self) -> anyhow::Result<()> {
        let status = self
            .start(Stdio::inherit(), Stdio::inherit(), Stdio::inherit())?
            .wait()
            .with_context(|| format!("waiting for {self}"))?;
        if status.success() {
            return Ok(());
        }
        Err(anyhow!("{self}\n  failed: {status}"))
    }

    /// Starts the program with its stdin and stdout as pipes and its stderr in a file of its
    /// own, for streaming through it. End it with [`Running::finish`].
    pub fn stream(self) -> anyhow::Result<Running> {
        let stderr = tempfile::tempfile().context("creating a file for stderr")?;
        let child = self.start(
            Stdio::piped(),
            Stdio::piped(),
            stderr.try_clone().context("duplicating a file")?.into(),
        )?;
        Ok(Running {
            line: self.to_string(),
            child,
            stderr,
        })
    }

    /// Starts the program in the background with stdout and stderr in these files.
    pub fn spawn_logged(
        self,
        stdout: std::fs::File,
        stderr: std::fs::File,
    ) -> anyhow::Result<Child> {
        self.start(Stdio::null(), stdout.into(), stderr.into())
    }

    #[allow(clippy::disallowed_methods)] // this is the one door
    fn start(&self, stdin: Stdio, stdout: Stdio, stderr: Stdio) -> anyhow::Result<Child> {
        tracing::debug!(target: "cmd", "{self}");
        let mut command = std::process::Command::new(&self.program);
        command
            .args(&self.args)
            .env("LC_ALL", "C.UTF-8")
            .env(
                "PATH",
                with_sbin(&std::env::var_os("PATH").unwrap_or_default()),
            )
            .envs(self.envs.iter().map(|(k, v)| (k, v)))
            .stdin(stdin)
            .stdout(stdout)
            .stderr(stderr);
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        command.spawn().map_err(|e| {
            if e.kind() == std::io::ErrorKind::NotFound {
                anyhow!(CmdError::Missing {
                    program: self.program.to_string_lossy().into_owned(),
                })
            } else {
                anyhow::Error::new(e).context(format!("starting {self}"))
            }
        })
    }
}

/// PATH with the `sbin` beside every `bin`: ordinary users of Debian have `mke2fs` and its like
/// installed, but not in their PATH.
fn with_sbin(path: &OsStr) -> OsString {
    let mut dirs: Vec<PathBuf> = std::env::split_paths(path).collect();
    for dir in dirs.clone() {
        let sbin = dir.with_file_name("sbin");
        if dir.ends_with("bin") && !dirs.contains(&sbin) {
            dirs.push(sbin);
        }
    }
    std::env::join_paths(dirs).unwrap_or_else(|_| path.to_owned())
}

/// A program that is being fed and read, see [`Cmd::stream`].
#[derive(Debug)]
pub struct Running {
    line: String,
    child: Child,
    stderr: std::fs::File,
}

impl Running {
    /// The program's stdin; `None` once taken.
    pub fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// The program's stdout; `None` once taken.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Closes what is left of the pipes and waits; a non-zero exit is an error.
    pub fn finish(mut self) -> anyhow::Result<()> {
        use std::io::{Read as _, Seek as _};
        drop(self.child.stdin.take());
        drop(self.child.stdout.take());
        let status = self
            .child
            .wait()
            .with_context(|| format!("waiting for {}", self.line))?;
        if status.success() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        self.stderr.rewind().context("rewinding stderr")?;
        self.stderr
            .read_to_end(&mut bytes)
            .context("reading stderr")?;
        Err(anyhow!(CmdError::Failed {
            line: self.line.clone(),
            status,
            stderr: String::from_utf8_lossy(&bytes).into_owned(),
        }))
    }
}

impl fmt::Display for Cmd {
    /// The line as one would paste it into a shell.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, value) in &self.envs {
            write!(f, "{}={} ", key.to_string_lossy(), quoted(value))?;
        }
        write!(f, "{}", quoted(&self.program))?;
        for arg in &self.args {
            write!(f, " {}", quoted(arg))?;
        }
        Ok(())
    }
}

fn quoted(word: &OsStr) -> String {
    let text = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_and_input_pass_through() {
        let out = Cmd::new("cat").input("a secret").run().unwrap();
        assert_eq!(out.text(), "a secret");
    }

    #[test]
    fn a_failure_names_the_line_and_the_end_of_stderr() {
        let error = Cmd::new("sh")
            .args(["-c", "echo it broke >&2; exit 3"])
            .run()
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("sh -c 'echo it broke >&2; exit 3'"),
            "{error}"
        );
        assert!(error.contains("exit status: 3"), "{error}");
        assert!(error.contains("it broke"), "{error}");
    }

    #[test]
    fn a_program_that_hangs_is_ended() {
        let limit = Duration::from_millis(100);
        let started = std::time::Instant::now();
        let error = Cmd::new("sleep").arg("60").limit(limit).run().unwrap_err();
        assert!(matches!(
            error.downcast_ref::<CmdError>(),
            Some(CmdError::TimedOut { .. })
        ));
        assert!(started.elapsed() < Duration::from_secs(30));
        let quick = Cmd::new("echo").arg("x").limit(Duration::from_secs(60));
        assert_eq!(quick.run().unwrap().text(), "x\n");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = Cmd::new("no-such-program-here").run().unwrap_err();
        assert!(matches!(
            error.downcast_ref::<CmdError>(),
            Some(CmdError::Missing { program }) if program == "no-such-program-here"
        ));
    }

    #[test]
    fn sbin_is_looked_into_after_the_rest() {
        let known = with_sbin(OsStr::new("/usr/bin:/home/me/bin:/sbin:/bin"));
        assert_eq!(
            known,
            "/usr/bin:/home/me/bin:/sbin:/bin:/usr/sbin:/home/me/sbin"
        );
        assert_eq!(with_sbin(OsStr::new("/nowhere")), "/nowhere");
        let path = Cmd::new("sh").args(["-c", "echo $PATH"]).run().unwrap();
        assert!(path.text().contains("sbin"), "{}", path.text());
    }

    #[test]
    fn streaming_reports_the_failure_at_the_end() {
        let mut running = Cmd::new("sh")
            .args(["-c", "cat >/dev/null; echo late >&2; exit 1"])
            .stream()
            .unwrap();
        let mut stdin = running.take_stdin().unwrap();
        stdin.write_all(b"data").unwrap();
        drop(stdin);
        assert!(running.finish().unwrap_err().to_string().contains("late"));
    }

    #[test]
    fn lines_are_quoted_for_pasting() {
        for (arg, shown) in [
            ("plain", "plain"),
            ("", "''"),
            ("two words", "'two words'"),
            ("it's", r"'it'\''s'"),
        ] {
            assert_eq!(Cmd::new("x").arg(arg).to_string(), format!("x {shown}"));
        }
    }
}
