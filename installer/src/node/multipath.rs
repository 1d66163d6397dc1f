//! Disks that are reached over several paths: `/etc/multipath.conf` and who reads it.
//!
//! In: `os.external_storage_config`, resolved. Out: [`NodeFile`]s. Pure.
//!
//! Longhorn's volumes come as SCSI disks of their own. multipath must never take one: Longhorn could
//! not mount it then (Longhorn's knowledge base, "Troubleshooting: volume with multipath").

use std::fmt::Write as _;

use crate::config::{Multipath, StorageKinds};

use super::files::NodeFile;

/// multipath's configuration.
pub const CONF: &str = "/etc/multipath.conf";
const UNIT: &str = "multipathd.service";
/// Vendor and product of Longhorn's disks, as tgt names them.
const LONGHORN: (&str, &str) = ("IET", "VIRTUAL-DISK");

/// The files that say which disks multipath takes: none, unless the config has it on.
pub fn render_multipath(multipath: Option<&Multipath>) -> Vec<NodeFile> {
    let Some(multipath) = multipath else {
        // udev's rules and whoever starts multipath by hand read it too.
        let text = "# os.external_storage_config is off.\nblacklist {\n    devnode \".*\"\n}\n";
        return vec![NodeFile::text(CONF, text)];
    };
    vec![
        NodeFile::text(CONF, render_conf(multipath)),
        NodeFile::link(
            &format!("/etc/systemd/system/sysinit.target.wants/{UNIT}"),
            &format!("/usr/lib/systemd/system/{UNIT}"),
        ),
    ]
}

/// `multipath.conf`.
pub fn render_conf(multipath: &Multipath) -> String {
    let mut blacklist = multipath.blacklist.clone();
    let (vendor, product) = LONGHORN;
    let longhorn = (Some(format!("^{vendor}")), Some(format!("^{product}")));
    blacklist.devices.insert(0, longhorn);
    format!(
        "defaults {{\n    user_friendly_names no\n    find_multipaths on\n}}\n{}{}",
        section("blacklist", &blacklist),
        section("blacklist_exceptions", &multipath.exceptions),
    )
}

fn section(name: &str, kinds: &StorageKinds) -> String {
    let mut text = format!("{name} {{\n");
    for (vendor, product) in &kinds.devices {
        text += "    device {\n";
        for (key, value) in [("vendor", vendor), ("product", product)] {
            if let Some(value) = value {
                // Writing to a String can't fail.
                let _ = writeln!(text, "        {key} \"{value}\"");
            }
        }
        text += "    }\n";
    }
    for wwid in &kinds.wwids {
        let _ = writeln!(text, "    wwid \"{wwid}\"");
    }
    match kinds {
        StorageKinds { devices, wwids } if devices.is_empty() && wwids.is_empty() => String::new(),
        _ => text + "}\n",
    }
}
