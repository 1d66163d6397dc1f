//! Compares the running node with its config.
