//! Words for the person in front of the machine while it boots.
//!
//! In: a line. Out: the line on every console and in the journal, through the kernel's log,
//! which knows the consoles and works before anything else does.

use std::io::Write as _;

/// Says something that a person has to know, also with a quiet kernel.
pub fn warn(message: &str) {
    tracing::warn!("{message}");
    // <3> is KERN_ERR: a kernel booted with loglevel=4 still shows it.
    let line = format!("<3>harrow: {}\n", message.replace('\n', "; "));
    let kmsg = std::fs::OpenOptions::new().write(true).open("/dev/kmsg");
    if let Err(e) = kmsg.and_then(|mut file| file.write_all(line.as_bytes())) {
        tracing::debug!("writing to /dev/kmsg: {e}");
    }
}
