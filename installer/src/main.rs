//! `harrow`: parses the command line, calls one library function, prints errors.

mod cli;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use harrow::config::Look;
use harrow::failure::{self, Failure};

fn main() -> ExitCode {
    let args = cli::Args::parse();
    let log = args.log.clone();
    match cli::run(args, look()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = format!("error: {error:#}\n");
            if let Some(failure) = Failure::of(&error).filter(|f| !f.hint.is_empty()) {
                text += &format!("hint: {}\n", failure.hint);
            }
            if let Some(log) = log {
                text += &format!("log: {}\n", log.display());
            }
            // Where nobody listens, the exit code still tells.
            std::io::stderr().write_all(text.as_bytes()).ok();
            ExitCode::from(failure::exit_code(&error))
        }
    }
}

/// Colour on a terminal, unless the person asks for none (https://no-color.org).
#[allow(clippy::disallowed_methods)] // the one reader of the environment
fn look() -> Look {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if std::io::stdout().is_terminal() && !unwanted {
        Look::Colour
    } else {
        Look::Plain
    }
}
