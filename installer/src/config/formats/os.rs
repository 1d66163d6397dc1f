//! The operating system: kernel arguments, modules, sysctls, consoles, environment.

use super::{Wrong, made_of, quoted, wrong};

/// Room for the node's own arguments: x86 takes 2048 bytes in all (`COMMAND_LINE_SIZE`), and
/// the boot chain's own fill less than half.
const ARGUMENTS_LIMIT: usize = 1024;

/// A kernel module's name: what modprobe.d(5) can name; `-` and `_` are the same.
pub fn kernel_module(text: &str) -> Result<(), Wrong> {
    // MODULE_NAME_LEN of a 64-bit kernel is 56, with the closing zero.
    if made_of(text, 55, |b| {
        b.is_ascii_alphanumeric() || b == b'_' || b == b'-'
    }) && !text.starts_with('-')
    {
        return Ok(());
    }
    let hint = match text
        .strip_suffix(".ko")
        .or_else(|| text.strip_suffix(".ko.xz"))
    {
        Some(name) => name.rsplit('/').next().unwrap_or(name).to_owned(),
        None => "letters, digits, '_' and '-'".to_owned(),
    };
    wrong(format!("{} is not a module name", quoted(text)), hint)
}

/// A sysctl key and value. Keys are written with dots or with slashes (sysctl.d(5)).
pub fn sysctl(key: &str, value: &str) -> Result<(), Wrong> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"._-/:@".contains(&b);
    let parts = |separator: char| key.split(separator).all(|part| !part.is_empty());
    if !made_of(key, 255, good) || !parts('.') || !parts('/') || !key.contains(['.', '/']) {
        return wrong(
            format!("{} is not a sysctl", quoted(key)),
            "such as net.ipv4.ip_forward",
        );
    }
    if value.is_empty() || value.len() > 4095 || value.chars().any(|c| c != '\t' && c.is_control())
    {
        let fault = match value {
            "" => "the value is empty",
            _ => "the value has several lines, or more than 4 KiB",
        };
        return wrong(fault, "one line, such as \"1\"");
    }
    // What YAML calls true; the kernel knows numbers only.
    match value.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => wrong(
            format!("{} is no value of a sysctl", quoted(value)),
            "a number: 1",
        ),
        "false" | "no" | "off" => wrong(
            format!("{} is no value of a sysctl", quoted(value)),
            "a number: 0",
        ),
        _ => Ok(()),
    }
}

/// Arguments that belong to the boot chain, or with which a node would not come up.
const RESERVED: [&str; 14] = [
    "root",
    "rootfstype",
    "rootflags",
    "ro",
    "rw",
    "roothash",
    "init",
    "rdinit",
    "initrd",
    "BOOT_IMAGE",
    "rd.break",
    "systemd.unit",
    "rd.systemd.unit",
    "noinitrd",
];

/// Arguments for the kernel: printable, one line, no quotes that would break grub.cfg, and
/// none of the boot chain's own.
pub fn kernel_arguments(text: &str) -> Result<(), Wrong> {
    let bad = |c: char| !(c.is_ascii_graphic() || c == ' ') || "'\"\\$;&|<>{}`#".contains(c);
    if let Some(c) = text.chars().find(|c| bad(*c)) {
        return wrong(
            format!("{c:?} can't be in a kernel argument"),
            "plain words such as intel_iommu=on",
        );
    }
    if text.len() > ARGUMENTS_LIMIT {
        return wrong(
            format!("{} bytes are too long", text.len()),
            format!("at most {ARGUMENTS_LIMIT}"),
        );
    }
    for word in text.split_whitespace() {
        let key = word.split_once('=').map_or(word, |(key, _)| key);
        let ours = ["harrow.", "harvester.", "systemd.verity", "systemd.mask"];
        if key.is_empty() || RESERVED.contains(&key) || ours.iter().any(|own| key.starts_with(own))
        {
            return wrong(
                format!("{} is not for the config to say", quoted(key)),
                "the boot chain sets what it needs; leave it out",
            );
        }
        if key == "console" {
            return wrong(
                "console= has a key of its own",
                "such as install.tty: ttyS0,115200n8",
            );
        }
    }
    Ok(())
}

/// A console such as `ttyS0` or `ttyS1,115200n8`
/// (the kernel's `Documentation/admin-guide/serial-console.rst`).
pub fn console(text: &str) -> Result<String, Wrong> {
    const HINT: &str = "such as tty1 or ttyS0,115200n8";
    let (device, options) = match text.split_once(',') {
        Some((device, options)) => (device, Some(options)),
        None => (text, None),
    };
    let device = device.strip_prefix("/dev/").unwrap_or(device);
    let console = device.starts_with("tty") || device.starts_with("hvc");
    if !console || !made_of(device, 32, |b| b.is_ascii_alphanumeric()) {
        return wrong(format!("{} is not a console", quoted(text)), HINT);
    }
    let Some(options) = options else {
        return Ok(device.to_owned());
    };
    let speed = options.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = options.len() - speed.len();
    let mut rest = speed.bytes();
    let parity = rest.next().is_none_or(|b| b"noe".contains(&b));
    let bits = rest.next().is_none_or(|b| (b'5'..=b'8').contains(&b));
    let flow = rest.next().is_none_or(|b| b == b'r');
    if !(1..=7).contains(&digits) || !parity || !bits || !flow || rest.next().is_some() {
        return wrong(
            format!("{} are not options of a serial console", quoted(options)),
            HINT,
        );
    }
    Ok(format!("{device},{options}"))
}

/// An environment variable: a name as POSIX has it, a value of one line. The value can be a
/// secret (a proxy's password), so it is never quoted.
pub fn environment(name: &str, value: &str) -> Result<(), Wrong> {
    let letters = made_of(name, 255, |b| b.is_ascii_alphanumeric() || b == b'_');
    if !letters || name.starts_with(|c: char| c.is_ascii_digit()) {
        return wrong(
            format!("{} is not the name of a variable", quoted(name)),
            "letters, digits and '_', such as HTTP_PROXY",
        );
    }
    if value.len() > 32 << 10 || value.chars().any(|c| c != '\t' && c.is_control()) {
        return wrong(
            format!("the value of {name} has several lines, or more than 32 KiB"),
            "one line",
        );
    }
    Ok(())
}

/// Vendor and device of PCI, in hexadecimal.
pub fn pci_id(text: &str) -> Result<(), Wrong> {
    let good = |part: &str| part.len() == 4 && part.bytes().all(|b| b.is_ascii_hexdigit());
    if text
        .split_once(':')
        .is_some_and(|(a, b)| good(a) && good(b))
    {
        return Ok(());
    }
    wrong(
        format!("{} is not a PCI id", quoted(text)),
        "vendor:device in hexadecimal, such as 10de:1eb8",
    )
}

/// Address of a function of PCI, as `lspci -D` shows it.
pub fn pci_address(text: &str) -> Result<(), Wrong> {
    let hex = |part: &str, len: usize| {
        part.len() == len
            && part
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let right = || {
        let (domain, rest) = text.split_once(':')?;
        let (bus, rest) = rest.split_once(':')?;
        let (slot, function) = rest.split_once('.')?;
        let number = function.len() == 1 && matches!(function.as_bytes(), [b'0'..=b'7']);
        Some(hex(domain, 4) && hex(bus, 2) && hex(slot, 2) && number)
    };
    if right() == Some(true) {
        return Ok(());
    }
    wrong(
        format!("{} is not the address of a PCI device", quoted(text)),
        "as `lspci -D` shows it, such as 0000:3b:00.0",
    )
}

/// A device with virtual functions: its address, or its name as a NIC.
pub fn sriov_device(text: &str) -> Result<(), Wrong> {
    if pci_address(text).is_ok() || super::interface_name(text).is_ok() {
        return Ok(());
    }
    wrong(
        format!("{} is neither a PCI address nor a NIC", quoted(text)),
        "such as 0000:3b:00.0 or ens3f0",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_and_sysctls() {
        for good in ["kvm_intel", "br-netfilter", "8021q", &"m".repeat(55)] {
            assert!(kernel_module(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a/b", "-a", "ä", &"m".repeat(56)] {
            assert!(kernel_module(bad).is_err(), "{bad}");
        }
        assert_eq!(kernel_module("/x/kvm.ko").unwrap_err().hint, "kvm");
        for good in [
            "net.ipv4.ip_forward",
            "net/ipv4/conf/eth0.1/forwarding",
            "vm.swappiness",
        ] {
            assert!(sysctl(good, "1").is_ok(), "{good}");
        }
        for bad in [
            "", "vm", ".vm", "vm.", "vm..x", "/vm/x", "vm x.y", "vm.x=1", "a.\n",
        ] {
            assert!(sysctl(bad, "1").is_err(), "{bad}");
        }
        assert!(sysctl("net.ipv4.tcp_rmem", "4096 87380\t6291456").is_ok());
        for bad in ["", "1\n2", "\0", "true", "Off"] {
            assert!(sysctl("vm.swappiness", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn arguments() {
        for good in [
            "intel_iommu=on a.b=c,d",
            "",
            "quiet",
            "hugepages=4 iommu=pt",
            "systemd.log_level=debug",
        ] {
            assert!(kernel_arguments(good).is_ok(), "{good}");
        }
        for bad in [
            "a;b",
            "a\nb",
            "a=\"b\"",
            "ä",
            "root=/dev/sda1",
            "ro",
            "init=/bin/sh",
            "=x",
            "harrow.boot.slot=b",
            "harvester.token=x",
            "systemd.verity=0",
            "console=ttyS0",
            &"x".repeat(ARGUMENTS_LIMIT + 1),
        ] {
            assert!(kernel_arguments(bad).is_err(), "{bad}");
        }
        assert!(kernel_arguments(&"x".repeat(ARGUMENTS_LIMIT)).is_ok());
    }

    #[test]
    fn consoles() {
        for good in [
            "tty1",
            "ttyS0,115200n8",
            "ttyAMA0,115200",
            "hvc0",
            "ttyS1,9600e7r",
            "ttyUSB0,115200n",
        ] {
            assert_eq!(console(good), Ok(good.to_owned()));
        }
        assert_eq!(console("/dev/ttyS0"), Ok("ttyS0".into()));
        for bad in [
            "",
            "ttyS0 quiet",
            "ttyS0,",
            "ttyS0,fast",
            "ttyS0,115200x8",
            "ttyS0,115200n9",
            "ttyS0,115200n8rx",
            "sda",
            "tty/1",
            "ttyS0,12345678",
        ] {
            assert!(console(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn variables() {
        assert!(
            environment("HTTP_PROXY", "http://u:p@h:1").is_ok() && environment("_a1", "").is_ok()
        );
        for bad in ["", "1A", "A-B", "A B", "A=B", "Ä"] {
            assert!(environment(bad, "x").is_err(), "{bad}");
        }
        let wrong = environment("A", "hunter2\n").unwrap_err();
        assert!(!wrong.message.contains("hunter2"));
    }

    #[test]
    fn addresses_of_pci() {
        for good in ["0000:3b:00.0", "0001:00:1f.7"] {
            assert!(pci_address(good).is_ok(), "{good}");
        }
        for bad in [
            "3b:00.0",
            "0000:3b:00.8",
            "0000:3B:00.0",
            "0000:3b:00",
            "0000:3b:00.0/..",
            "",
        ] {
            assert!(pci_address(bad).is_err(), "{bad}");
        }
        assert!(sriov_device("ens3f0").is_ok() && sriov_device("0000:3b:00.0").is_ok());
        assert!(sriov_device("0000:3b:00.8").is_err() && sriov_device("a/b").is_err());
    }
}
