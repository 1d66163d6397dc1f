//! `harrow`: parses the command line, calls one library function, prints errors.

mod cli;

use std::process::ExitCode;

use clap::Parser as _;
use harrow::failure::{self, Failure};

fn main() -> ExitCode {
    let args = cli::Args::parse();
    match cli::run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            if let Some(failure) = Failure::of(&error).filter(|f| !f.hint.is_empty()) {
                eprintln!("hint: {}", failure.hint);
            }
            ExitCode::from(failure::exit_code(&error))
        }
    }
}
