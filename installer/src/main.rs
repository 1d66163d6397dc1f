//! `harrow`: parses the command line, calls one library function, prints errors.

mod cli;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use harrow::failure::{self, Failure};

fn main() -> ExitCode {
    let args = cli::Args::parse();
    let log = args.log.clone();
    match cli::run(args) {
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
