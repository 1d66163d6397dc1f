//! What a virtual machine is made of, as plain data.
//!
//! In: a [`Machine`]. Out: the arguments of `qemu-system-x86_64`. Pure: [`crate::vm`] starts
//! it.

use std::path::{Path, PathBuf};

use crate::accel::Accel;
use crate::firmware::Firmware;

/// A virtual machine that can be switched on.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Name in messages and in QEMU's process list.
    pub name: String,
    /// What runs first.
    pub firmware: Firmware,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Number of processors.
    pub cpus: u32,
    /// Disks and media, tried for booting in this order.
    pub drives: Vec<Drive>,
    /// A NIC on QEMU's user network (10.0.2.0/24, the host is 10.0.2.2), whose port 22 is
    /// reached through this port of the host's loopback.
    pub ssh_port: Option<u16>,
    /// More arguments for QEMU.
    pub extra: Vec<String>,
}

/// A disk or medium.
#[derive(Debug, Clone)]
pub struct Drive {
    /// The file behind it.
    pub file: PathBuf,
    /// What the file is.
    pub format: Format,
    /// How the machine sees it.
    pub kind: DriveKind,
}

/// What the file behind a drive is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The disk's bytes.
    Raw,
    /// QEMU's own, such as an overlay of [`crate::base`].
    Qcow2,
}

/// How the machine sees a drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DriveKind {
    /// A CD-ROM on SATA.
    Cd,
    /// A USB stick on xHCI.
    Usb,
    /// A virtio disk.
    Virtio {
        /// Serial number, at most 20 characters.
        serial: String,
        /// Size of a logical block: 512 or 4096.
        block_size: u32,
    },
    /// An NVMe disk.
    Nvme {
        /// Serial number, at most 20 characters.
        serial: String,
        /// Size of a logical block: 512 or 4096.
        block_size: u32,
    },
    /// A SCSI disk.
    Scsi {
        /// Serial number, at most 20 characters.
        serial: String,
    },
    /// One of several paths to a SCSI disk.
    Path {
        /// Serial number of the disk, at most 20 characters.
        serial: String,
        /// World wide name of the disk.
        wwn: u64,
        /// What the path is called, to take it away.
        id: String,
    },
}

impl Drive {
    /// A CD-ROM.
    pub fn cd(file: &Path) -> Self {
        Self {
            file: file.to_owned(),
            format: Format::Raw,
            kind: DriveKind::Cd,
        }
    }

    /// A USB stick.
    pub fn usb(file: &Path) -> Self {
        Self {
            file: file.to_owned(),
            format: Format::Raw,
            kind: DriveKind::Usb,
        }
    }

    /// A virtio disk with blocks of 512 bytes.
    pub fn virtio(file: &Path, serial: &str) -> Self {
        let kind = DriveKind::Virtio {
            serial: serial.to_owned(),
            block_size: 512,
        };
        Self {
            file: file.to_owned(),
            format: Format::Raw,
            kind,
        }
    }

    /// An NVMe disk.
    pub fn nvme(file: &Path, serial: &str, block_size: u32) -> Self {
        let serial = serial.to_owned();
        Self {
            file: file.to_owned(),
            format: Format::Raw,
            kind: DriveKind::Nvme { serial, block_size },
        }
    }

    /// A SCSI disk.
    pub fn scsi(file: &Path, serial: &str) -> Self {
        let serial = serial.to_owned();
        Self {
            file: file.to_owned(),
            format: Format::Raw,
            kind: DriveKind::Scsi { serial },
        }
    }

    /// A path to a SCSI disk that has several.
    pub fn path(file: &Path, serial: &str, wwn: u64, id: &str) -> Self {
        let (serial, id) = (serial.to_owned(), id.to_owned());
        Self {
            file: file.to_owned(),
            kind: DriveKind::Path { serial, wwn, id },
            format: Format::Raw,
        }
    }

    /// The same, but the file is qcow2.
    #[must_use]
    pub fn qcow2(mut self) -> Self {
        self.format = Format::Qcow2;
        self
    }

    fn render_args(&self, index: usize) -> [String; 4] {
        let file = self.file.display().to_string().replace(',', ",,");
        let format = match self.format {
            Format::Raw => "raw",
            Format::Qcow2 => "qcow2",
        };
        let options = match &self.kind {
            DriveKind::Cd => "media=cdrom,readonly=on",
            DriveKind::Path { .. } => "cache=unsafe,discard=unmap,file.locking=off",
            // The file must survive the guest, not the host.
            _ => "cache=unsafe,discard=unmap,detect-zeroes=unmap",
        };
        let device = match &self.kind {
            DriveKind::Cd => "ide-cd".to_owned(),
            DriveKind::Usb => "usb-storage,bus=usb.0,removable=on".to_owned(),
            DriveKind::Virtio { serial, block_size } => format!(
                "virtio-blk-pci,serial={serial},logical_block_size={block_size},physical_block_size={block_size}"
            ),
            DriveKind::Nvme { serial, block_size } => format!(
                "nvme,serial={serial},logical_block_size={block_size},physical_block_size={block_size}"
            ),
            DriveKind::Scsi { serial } => format!("scsi-hd,bus=scsi.0,serial={serial}"),
            DriveKind::Path { serial, wwn, id } => {
                format!("scsi-hd,bus=scsi.0,serial={serial},wwn={wwn:#x},share-rw=on,id={id}")
            }
        };
        [
            "-drive".to_owned(),
            format!("if=none,id=drive{index},format={format},{options},file={file}"),
            "-device".to_owned(),
            format!("{device},drive=drive{index},bootindex={index}"),
        ]
    }
}

/// How the harness talks to a running machine.
#[derive(Debug, Clone, Copy)]
pub struct Channels<'a> {
    /// Socket of the serial console.
    pub serial: &'a Path,
    /// File that gets every byte of the serial console.
    pub serial_log: &'a Path,
    /// Socket of QMP.
    pub qmp: &'a Path,
}

impl Channels<'_> {
    /// QEMU's arguments. The machine waits for QMP `cont` before it runs.
    pub fn render_args(&self) -> Vec<String> {
        let serial = format!(
            "socket,id=serial,server=on,wait=off,path={},logfile={}",
            self.serial.display(),
            self.serial_log.display()
        );
        let qmp = format!("unix:{},server=on,wait=off", self.qmp.display());
        [
            "-S",
            "-chardev",
            &serial,
            "-serial",
            "chardev:serial",
            "-qmp",
            &qmp,
        ]
        .map(str::to_owned)
        .to_vec()
    }
}

impl Machine {
    /// A machine with 2 processors and 2 GiB, without drives and NIC.
    pub fn new(name: &str, firmware: Firmware) -> Self {
        Self {
            name: name.to_owned(),
            firmware,
            memory_mib: 2048,
            cpus: 2,
            drives: Vec::new(),
            ssh_port: None,
            extra: Vec::new(),
        }
    }

    /// Adds a drive, behind the others in the boot order.
    #[must_use]
    pub fn drive(mut self, drive: Drive) -> Self {
        self.drives.push(drive);
        self
    }

    /// Adds the NIC, see [`Machine::ssh_port`].
    #[must_use]
    pub fn ssh_port(mut self, port: u16) -> Self {
        self.ssh_port = Some(port);
        self
    }

    /// QEMU's arguments, without a console; `firmware` is what [`Firmware::prepare`] gave.
    pub fn render_args(&self, accel: Accel, firmware: &[String]) -> Vec<String> {
        let mut args: Vec<String> = Vec::new();
        let mut add = |words: &[&str]| args.extend(words.iter().map(|&word| word.to_owned()));
        add(&[
            "-name",
            &self.name,
            "-nodefaults",
            "-display",
            "none",
            "-vga",
            "none",
        ]);
        add(accel.args());
        add(&[
            "-m",
            &self.memory_mib.to_string(),
            "-smp",
            &self.cpus.to_string(),
        ]);
        add(&["-device", "virtio-rng-pci"]);
        if self.drives.iter().any(|drive| drive.kind == DriveKind::Usb) {
            add(&["-device", "qemu-xhci,id=usb"]);
        }
        let is_scsi =
            |drive: &Drive| matches!(drive.kind, DriveKind::Scsi { .. } | DriveKind::Path { .. });
        if self.drives.iter().any(is_scsi) {
            add(&["-device", "virtio-scsi-pci,id=scsi"]);
        }
        if let Some(port) = self.ssh_port {
            add(&[
                "-netdev",
                &format!("user,id=net0,hostfwd=tcp:127.0.0.1:{port}-:22"),
                // Without the ROM that would boot from the network.
                "-device",
                "virtio-net-pci,netdev=net0,romfile=",
            ]);
        }
        args.extend_from_slice(firmware);
        for (index, drive) in self.drives.iter().enumerate() {
            args.extend(drive.render_args(index));
        }
        args.extend_from_slice(&self.extra);
        args
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(machine: &Machine) -> String {
        machine
            .render_args(Accel::Tcg, &["-machine".into(), "q35".into()])
            .join(" ")
    }

    #[test]
    fn drives_boot_in_their_order() {
        let disk = Path::new("/disk,1.img");
        let line = render(
            &Machine::new("m", Firmware::Bios)
                .drive(Drive::virtio(disk, "D1"))
                .drive(Drive::cd(Path::new("/h.iso")))
                .drive(Drive::virtio(Path::new("/o"), "D2").qcow2()),
        );
        assert!(
            line.contains("format=raw,cache=unsafe,discard=unmap,detect-zeroes=unmap,file=/disk"),
            "{line}"
        );
        assert!(line.contains("id=drive2,format=qcow2,"), "{line}");
        assert!(line.contains("file=/disk,,1.img -device virtio-blk-pci,serial=D1,logical_block_size=512,physical_block_size=512,drive=drive0,bootindex=0"), "{line}");
        assert!(
            line.contains("readonly=on,file=/h.iso -device ide-cd,drive=drive1,bootindex=1"),
            "{line}"
        );
        assert!(!line.contains("xhci") && !line.contains("netdev"), "{line}");
    }

    #[test]
    fn a_stick_brings_its_bus_and_ssh_its_nic() {
        let line = render(
            &Machine::new("m", Firmware::Uefi)
                .drive(Drive::usb(Path::new("/stick")))
                .ssh_port(2222),
        );
        let bus = line.find("qemu-xhci,id=usb").unwrap();
        assert!(bus < line.find("usb-storage,bus=usb.0").unwrap(), "{line}");
        assert!(line.contains("hostfwd=tcp:127.0.0.1:2222-:22"), "{line}");
        assert!(line.contains("-accel tcg,thread=multi -cpu max"), "{line}");
    }
}
