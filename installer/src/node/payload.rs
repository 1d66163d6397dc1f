//! The cluster's payload on a node: fetched where the image does not have it, and put where RKE2
//! looks for it.
//!
//! In: the node's config, the image's `bundle.json` or its own payload. Out: a whole payload folder,
//! links to its archives, and on the node that creates the cluster the manifests. Runs at each boot
//! before RKE2; what is there already is not fetched again.

mod fetch;
mod place;
mod tidy;

use std::path::Path;

use anyhow::Context as _;

use super::source;
use super::state::{ApplyState, Role};
use crate::bundle::{PAYLOAD_NAME, Payload};
use crate::cluster::{PAYLOAD_DIR, Part};
use crate::failure::{Failure, Kind};
use crate::sys::console::Printer;

/// Where an image of flavor `full` has its payload.
pub const EMBEDDED: &str = "/usr/lib/harrow/payload";
/// Where a node of flavor `net` keeps what it fetched.
pub const FETCHED: &str = "/var/lib/harrow/payload";

/// The payload folder of a node that runs from `image`.
pub fn dir_of(image: &Path) -> &'static str {
    let embedded = image.join(EMBEDDED.trim_start_matches('/'));
    match embedded.join(PAYLOAD_NAME).exists() {
        true => EMBEDDED,
        false => FETCHED,
    }
}

/// Makes the payload ready for RKE2. Says on `printer` what takes long.
pub fn prepare(printer: &Printer) -> anyhow::Result<()> {
    let state = ApplyState::of_this_boot()?;
    let config = source::read_config(Path::new(source::OEM_DIR))?;
    if state.role != Role::Node {
        return Err(Failure::error(
            Kind::NotANode,
            "/var is in memory, so this node takes no part in its cluster: it would be a new member",
            "repair or replace the disk of /var, and boot again",
        ));
    }
    if Part::of(&config).is_none() {
        printer.line("this node is in no cluster yet: it needs no payload");
        return Ok(());
    }
    if dir_of(Path::new("/")) == FETCHED {
        fetch::fetch(&config, printer)?;
    } else {
        tidy::all_that_was_fetched(Path::new(fetch::STORE), Path::new(FETCHED))?;
    }
    let list = Path::new(PAYLOAD_DIR).join(PAYLOAD_NAME);
    let bytes = std::fs::read(&list).with_context(|| format!("reading {}", list.display()))?;
    place::link_archives(Path::new("/"), &Payload::parse(&bytes)?)?;
    place::put_manifests(Path::new("/"), &config, &state.machine_id, printer)
}
