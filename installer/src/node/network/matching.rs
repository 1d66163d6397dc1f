//! Which NICs are meant, as `[Match]` has it.

use crate::config::NicSelector;

/// Physical wired NICs: an Ethernet link that no software made (systemd.network(5), `Kind=`), and
/// that does not lead to the machine's own management controller over USB.
pub(super) const EVERY_WIRED_NIC: &str =
    "Type=ether\nKind=!*\nDriver=!cdc_ether cdc_eem cdc_ncm cdc_subset rndis_host\n";

/// The sections of a bond's NICs, each with the NIC when it is a certain one.
pub(super) fn members(nics: &[NicSelector]) -> Vec<(String, Option<&NicSelector>)> {
    if nics.is_empty() {
        return vec![(EVERY_WIRED_NIC.to_owned(), None)];
    }
    nics.iter().map(|nic| (section(nic), Some(nic))).collect()
}

/// A bond gives all its NICs one MAC address, so the burnt-in one counts. The name counts only
/// where nothing else is known.
fn section(nic: &NicSelector) -> String {
    let mut text = String::new();
    if let Some(mac) = &nic.mac {
        text += &format!("PermanentMACAddress={mac}\n");
    }
    if let Some(slot) = &nic.slot {
        text += &format!("Path={slot}\n");
    }
    match &nic.name {
        Some(name) if text.is_empty() => format!("Name={name}\n"),
        _ => text + "Kind=!*\n",
    }
}
