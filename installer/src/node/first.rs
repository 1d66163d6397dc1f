//! The commands of `os.after_install_chroot_commands`: once, when the installed system starts for
//! the first time.
//!
//! In: the config. Out: what the commands say, in the journal; a note on VAR of what was run and
//! how it ended. No command is shown: it could hold a secret.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::sys::cmd::Cmd;

use super::apply::RunningNode;
use super::{console, source};

/// The note.
pub const NOTE: &str = "/var/lib/harrow/first-commands.json";
/// Time for each command.
const LIMIT: Duration = Duration::from_secs(600);

/// How each command ended, in order: an exit status, or `None` when it was killed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Those that were run.
    pub ended: Vec<Option<i32>>,
}

impl Note {
    /// What was run so far; nothing before the first.
    pub fn read() -> Self {
        let text = fs::read_to_string(NOTE).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }
}

/// Runs what was not run yet. A command that a power cut ended is run again.
pub fn run() -> anyhow::Result<()> {
    RunningNode::probe()?;
    let config = source::read_config(Path::new(source::OEM_DIR))?;
    let commands = &config.os.first_commands;
    let mut note = Note::read();
    let all = commands.len();
    for (i, command) in commands.iter().enumerate().skip(note.ended.len()) {
        println!("command {} of {all}", i + 1);
        let status = run_one(command.expose());
        let code = status.unwrap_or_else(|error| {
            println!("{error:#}");
            None
        });
        if code != Some(0) {
            let how = code.map_or("was killed".to_owned(), |c| format!("ended with {c}"));
            console::warn(&format!(
                "command {} of os.after_install_chroot_commands {how}; its words are in `journalctl -u harrow-first-commands`",
                i + 1
            ));
        }
        note.ended.push(code);
        write(&note)?;
    }
    Ok(())
}

/// The command goes to the shell as its input, since everybody can read arguments.
fn run_one(command: &str) -> anyhow::Result<Option<i32>> {
    let output = Cmd::new("/bin/sh")
        .args(["-e", "-s"])
        .dir("/")
        .input(command.as_bytes().to_vec())
        .limit(LIMIT)
        .run_any()?;
    print!("{}{}", output.text(), output.stderr);
    Ok(output.status.code())
}

fn write(note: &Note) -> anyhow::Result<()> {
    let doing = || format!("writing {NOTE}");
    let text = serde_json::to_string(note).with_context(doing)?;
    let new = format!("{NOTE}.new");
    fs::write(&new, text).with_context(doing)?;
    fs::File::open(&new)
        .and_then(|f| f.sync_all())
        .with_context(doing)?;
    fs::rename(&new, NOTE).with_context(doing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_ends_as_it_says() {
        assert_eq!(run_one("true\n").unwrap(), Some(0));
        assert_eq!(run_one("false\necho never").unwrap(), Some(1));
        assert_eq!(run_one("exit 7").unwrap(), Some(7));
    }
}
