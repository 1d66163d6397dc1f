//! GRUB itself, run as a program (grub-emu): what the boot menu of a disk does.

use std::fs;
use std::path::Path;
use std::time::Duration;

use harrow::sys::cmd::Cmd;

/// What a boot of a disk came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Booted {
    /// The kernel that would have been loaded, such as `/EFI/harrow/a/vmlinuz`.
    pub kernel: String,
    /// Its arguments.
    pub arguments: Vec<String>,
}

impl Booted {
    /// `a` or `b`.
    pub fn slot(&self) -> &str {
        self.kernel.split('/').nth(3).unwrap()
    }

    pub fn on_trial(&self) -> bool {
        self.arguments
            .iter()
            .any(|word| word == "harrow.boot.trial")
    }
}

/// In place of loading a kernel it is printed, and GRUB ends. All before is the disk's own menu.
const MENU: &str = r#"set root=(hd0,2)
set prefix=(hd0,2)/EFI/debian
function linux { echo ; for word in "$@"; do echo "WORD $word" ; done ; }
function initrd { exit ; }
source /EFI/debian/grub.cfg
set timeout=0
"#;

/// Boots a disk, as far as GRUB goes. GRUB writes to it.
pub fn boot(disk: &Path) -> Booted {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("grub.cfg"), MENU).unwrap();
    let map = dir.path().join("device.map");
    fs::write(&map, format!("(hd0) {}\n", disk.display())).unwrap();
    let output = Cmd::new("grub-emu")
        .arg("-m")
        .arg(&map)
        .arg("-d")
        .arg(dir.path())
        .args(["-r", "host"])
        .env("TERM", "dumb")
        .limit(Duration::from_secs(60))
        .run_any()
        .unwrap();
    let said = output.text().replace('\r', "\n");
    // Long words go on in the next line.
    let mut words: Vec<String> = Vec::new();
    for line in said.lines() {
        match (line.strip_prefix("WORD "), words.last_mut()) {
            (Some(word), _) => words.push(word.to_owned()),
            (None, Some(last)) => *last += line,
            (None, None) => {}
        }
    }
    assert!(!words.is_empty(), "GRUB boots nothing: {said}");
    Booted {
        kernel: words.remove(0),
        arguments: words,
    }
}
