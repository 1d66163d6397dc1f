//! `harrow config ...`: stub.
use clap::{Args as ClapArgs, Subcommand};

/// Verbs of `harrow config`.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Print the JSON Schema
    Schema,
}

/// `harrow facts`
#[derive(Debug, ClapArgs)]
pub struct FactsArgs {}

pub fn run(_: Verb) -> anyhow::Result<()> {
    println!("{:#}", harrow::config::schema::json());
    Ok(())
}

pub fn facts(_: &FactsArgs) -> anyhow::Result<()> {
    Ok(())
}
