//! The boot menu of an installed disk: `grub.cfg` and one `slot.cfg` per slot.
//!
//! In: consoles, arguments, what identifies a slot. Out: the text of the files. Pure. GRUB for
//! BIOS and GRUB for UEFI read the same files, relative to the ESP that GRUB came from.

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use crate::disk::layout::{Layout, Role};
use crate::failure::{Failure, Kind};
use crate::image::manifest::Verity;
use crate::sys::cmdline::Cmdline;

/// Folder of GRUB's own files on the ESP; the prefix that Debian's signed GRUB has built in.
pub const GRUB_DIR: &str = "EFI/debian";

/// What fits into the kernel's command line: 2048 bytes on x86 (`COMMAND_LINE_SIZE`), less what
/// GRUB puts before it.
const ARGUMENTS_LIMIT: usize = 2048 - 64;

/// The security modules of a node: Debian's list without those that nothing here uses. BPF among
/// them makes systemd load programs of its own at each boot; who wants it says
/// `os.additional_kernel_arguments: lsm=...`, the last one counts.
pub const LSM: &str = "landlock,lockdown,yama,apparmor";

/// What the menu of a disk is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootMenu {
    /// Values of `console=`, the main one last.
    pub consoles: Vec<String>,
    /// Further kernel arguments, from the config.
    pub arguments: Vec<String>,
    /// What dm-multipath knows those of the node's disks by that have several paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub multipath: Vec<String>,
    /// The slot that was written.
    pub slot: SlotBoot,
}

/// What the kernel needs to know to boot one slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotBoot {
    /// Which slot.
    pub role: Role,
    /// Version of what is in it, for the menu.
    pub version: String,
    /// dm-verity root hash.
    pub root_hash: String,
    /// Where the hash tree starts in the slot, in bytes.
    pub hash_offset: u64,
    /// PARTUUID of the slot.
    #[serde(alias = "slot_guid")]
    pub slot_id: String,
    /// PARTUUID of OEM.
    #[serde(alias = "oem_guid")]
    pub oem_id: String,
    /// PARTUUID of VAR.
    #[serde(alias = "var_guid")]
    pub var_id: String,
    /// PARTUUID of DATA, which may be on another disk; a witness has none.
    #[serde(alias = "data_guid")]
    pub data_id: Option<String>,
}

impl SlotBoot {
    /// The slot `role` of a disk with this layout, holding an image with this hash tree; `data`
    /// is the layout of the data disk.
    pub fn new(
        role: Role,
        layout: &Layout,
        data: Option<&Layout>,
        verity: &Verity,
        version: &str,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            role,
            version: version.to_owned(),
            root_hash: verity.root_hash.clone(),
            hash_offset: verity.hash_offset,
            slot_id: layout.partuuid(role)?,
            oem_id: layout.partuuid(Role::Oem)?,
            var_id: layout.partuuid(Role::Var)?,
            data_id: data.unwrap_or(layout).partuuid(Role::Data).ok(),
        })
    }

    /// `a` or `b`.
    pub fn letter(&self) -> &'static str {
        slot_letter(self.role)
    }
}

fn slot_letter(role: Role) -> &'static str {
    if role == Role::SlotB { "b" } else { "a" }
}

/// Folder of a slot's kernel, initrd and `slot.cfg` on the ESP.
pub fn slot_dir(role: Role) -> String {
    format!("EFI/harrow/{}", slot_letter(role))
}

/// The menu on the ESP.
pub fn menu_path() -> String {
    format!("{GRUB_DIR}/grub.cfg")
}

/// The environment block on the ESP.
pub fn env_path() -> String {
    format!("{GRUB_DIR}/grubenv")
}

/// The kernel's command line for a slot.
pub fn render_arguments(menu: &BootMenu) -> String {
    let slot = &menu.slot;
    let device = format!("PARTUUID={}", slot.slot_id);
    let mut words = vec![
        "root=/dev/mapper/root".to_owned(),
        "rootfstype=squashfs".into(),
        "ro".into(),
        format!("roothash={}", slot.root_hash),
        format!("systemd.verity_root_data={device}"),
        format!("systemd.verity_root_hash={device}"),
        format!(
            "systemd.verity_root_options=hash-offset={},superblock=true,panic-on-corruption",
            slot.hash_offset
        ),
        format!("harrow.boot.slot={}", slot.letter()),
        format!("harrow.boot.oem=PARTUUID={}", slot.oem_id),
        format!("harrow.boot.var=PARTUUID={}", slot.var_id),
    ];
    if let Some(data) = &slot.data_id {
        words.push(format!("harrow.boot.data=PARTUUID={data}"));
    }
    let multipath = menu.multipath.iter();
    words.extend(multipath.map(|wwid| format!("harrow.boot.multipath={wwid}")));
    words.extend([
        "systemd.gpt_auto=0".into(),
        "loglevel=4".into(),
        // Hundreds of lines would take seconds on a serial console.
        "systemd.show_status=error".into(),
        format!("lsm={LSM}"),
        "panic=30".into(),
    ]);
    words.extend(menu.consoles.iter().map(|c| format!("console={c}")));
    words.extend(menu.arguments.iter().cloned());
    words.join(" ")
}

/// `slot.cfg`: the menu entry of one slot. `grub.cfg` says by a variable when it is on trial.
pub fn render_slot(menu: &BootMenu) -> anyhow::Result<String> {
    let slot = &menu.slot;
    let arguments = render_arguments(menu);
    if arguments.len() > ARGUMENTS_LIMIT {
        return Err(Failure::error(
            Kind::ConfigInvalid,
            format!(
                "the kernel's command line has {} characters, it takes {ARGUMENTS_LIMIT}",
                arguments.len()
            ),
            "shorten os.additional_kernel_arguments",
        ));
    }
    let quiet = |c: char| !c.is_ascii_control() && c.is_ascii() && !"'\"\\$;&|<>{}`#".contains(c);
    ensure!(
        arguments.chars().chain(slot.version.chars()).all(quiet),
        "a kernel argument or the version has a character that GRUB would interpret: {arguments}"
    );
    let (dir, letter) = (slot_dir(slot.role), slot.letter());
    Ok(format!(
        "menuentry 'Harrow {version} (slot {letter})' --id slot-{letter} {{\n\
         \x20   linux /{dir}/vmlinuz {arguments} ${{trial_{letter}}}\n\
         \x20   initrd /{dir}/initrd.img\n\
         }}\n",
        version = slot.version,
    ))
}

/// What a `slot.cfg` says of the image in its slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotEntry {
    /// Its version.
    pub version: String,
    /// dm-verity root hash.
    pub root_hash: String,
    /// Where the hash tree starts in the slot, in bytes.
    pub hash_offset: u64,
}

impl SlotEntry {
    /// Reads what [`render_slot`] wrote, of this version or another.
    pub fn parse(text: &str) -> Option<Self> {
        let line = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("linux "))?;
        let words = Cmdline::parse(line);
        let options = words.get("systemd.verity_root_options")?;
        let offset = options
            .split(',')
            .find_map(|o| o.strip_prefix("hash-offset="));
        let title = text.split('\'').nth(1)?;
        Some(Self {
            version: title.split(' ').nth(1)?.to_owned(),
            root_hash: words.get("roothash")?.to_owned(),
            hash_offset: offset?.parse().ok()?,
        })
    }
}

/// `grub.cfg`: terminals, which slot is booted, and the entries of both slots.
///
/// What decides lies in `grubenv`, see [`super::grubenv`]. A trial boot costs a try, and one that could
/// not be counted is not made. Without tries left the good slot boots; each of its boots is
/// counted too, until the node says that it came up. After [`super::grubenv::TRIES`] that did not
/// come up, the other slot is the good one, when there is one. A slot that can't even be
/// loaded gives way to the other one at once.
pub fn render_grub_cfg(consoles: &[String]) -> String {
    let terminals = serial_of(consoles).map_or_else(String::new, |(unit, speed)| {
        format!(
            "if serial --unit={unit} --speed={speed}; then\n\
             \x20   terminal_input --append serial\n\
             \x20   terminal_output --append serial\n\
             fi\n"
        )
    });
    format!(
        "# The boot menu of a Harrow node; written by the installer and by upgrades.\n{terminals}{DECISION}"
    )
}

/// GRUB can't calculate, so each count has its own line.
const DECISION: &str = r#"load_env
if [ "${slot}" = b ]; then set other=a; else set slot=a; set other=b; fi
if [ ! -f /EFI/harrow/$slot/slot.cfg ]; then
    set lost=$slot
    set slot=$other
    set other=$lost
fi
set boot_slot=$slot
set counted=""
if [ -n "${trial}" -a -f "/EFI/harrow/${trial}/slot.cfg" ]; then
    if [ "${tries}" = 3 ]; then set tries=2; set counted=yes
    elif [ "${tries}" = 2 ]; then set tries=1; set counted=yes
    elif [ "${tries}" = 1 ]; then set tries=0; set counted=yes
    fi
    if [ -n "${counted}" ]; then
        if save_env tries; then
            set boot_slot=$trial
            set trial_words="harrow.boot.trial"
        fi
    fi
fi
if [ -z "${counted}" ]; then
    if [ "${boots}" = 3 ]; then
        if [ -f /EFI/harrow/$other/slot.cfg ]; then
            set left=$slot
            set slot=$other
            set other=$left
            set boots=1
            if save_env slot left boots; then set boot_slot=$slot; fi
        fi
    else
        if [ "${boots}" = 2 ]; then set boots=3
        elif [ "${boots}" = 1 ]; then set boots=2
        else set boots=1
        fi
        save_env boots
    fi
fi
if [ "${boot_slot}" = a ]; then
    set trial_a="${trial_words}"
    set fallback=slot-b
else
    set trial_b="${trial_words}"
    set fallback=slot-a
fi
set default="slot-${boot_slot}"
set timeout=3
for letter in a b; do
    if [ -f /EFI/harrow/$letter/slot.cfg ]; then source /EFI/harrow/$letter/slot.cfg; fi
done
if [ "$grub_platform" = efi ]; then
    menuentry 'Firmware setup' --id firmware { fwsetup }
fi
"#;

/// Unit and speed of the last serial console that is a PC's COM port.
fn serial_of(consoles: &[String]) -> Option<(u32, u32)> {
    consoles.iter().rev().find_map(|console| {
        let (device, options) = console.split_once(',').unwrap_or((console, ""));
        let unit = device
            .strip_prefix("ttyS")?
            .parse()
            .ok()
            .filter(|u| *u < 4)?;
        let digits: String = options.chars().take_while(char::is_ascii_digit).collect();
        Some((unit, digits.parse().unwrap_or(9600)))
    })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::disk::layout::{DataPlace, TableKind};

    fn menu() -> BootMenu {
        let layout = Layout::sample(512, TableKind::Gpt, DataPlace::Here);
        let verity = Verity {
            root_hash: "ab".repeat(32),
            salt: String::new(),
            uuid: Uuid::nil(),
            hash_offset: 4096,
        };
        BootMenu {
            consoles: vec!["tty0".into(), "ttyS1,57600n8".into()],
            arguments: vec!["intel_iommu=on".into()],
            multipath: vec!["3600a0b80001327d8".into()],
            slot: SlotBoot::new(Role::SlotA, &layout, None, &verity, "1.2.3").unwrap(),
        }
    }

    #[test]
    fn a_slot_is_found_by_its_own_guids() {
        let menu = menu();
        let text = render_slot(&menu).unwrap();
        for part in [
            format!("systemd.verity_root_data=PARTUUID={} ", menu.slot.slot_id),
            format!("harrow.boot.var=PARTUUID={} ", menu.slot.var_id),
            "hash-offset=4096,superblock=true,panic-on-corruption ".into(),
            " harrow.boot.multipath=3600a0b80001327d8 ".into(),
            "console=tty0 console=ttyS1,57600n8 intel_iommu=on ${trial_a}\n".into(),
            "initrd /EFI/harrow/a/initrd.img".into(),
        ] {
            assert!(text.contains(&part), "{part} in {text}");
        }
        assert!(!text.contains("LABEL"), "nothing is found by label");
    }

    #[test]
    fn what_grub_would_interpret_is_refused() {
        for bad in ["a;reboot", "a'b", "$x", "a\nb", "{"] {
            let mut menu = menu();
            menu.arguments = vec![bad.into()];
            assert!(render_slot(&menu).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_serial_terminal_is_that_of_the_console() {
        assert!(render_grub_cfg(&menu().consoles).contains("serial --unit=1 --speed=57600;"));
        assert!(!render_grub_cfg(&["tty0".into()]).contains("serial"));
    }

    #[test]
    fn a_menu_entry_says_what_is_in_its_slot() {
        let menu = menu();
        let entry = SlotEntry::parse(&render_slot(&menu).unwrap()).unwrap();
        assert_eq!(entry.version, "1.2.3");
        assert_eq!(entry.root_hash, menu.slot.root_hash);
        assert_eq!(entry.hash_offset, 4096);
        assert_eq!(SlotEntry::parse("menuentry 'Harrow' {\n}\n"), None);
    }
}
