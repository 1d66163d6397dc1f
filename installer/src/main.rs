//! `harrow`: parses the command line, calls one library function, prints errors.
fn main() {}
