//! RKE2's release tarball with the double in it, and charts.
//!
//! The layout is that of rancher/rke2 bundle/ and scripts/package-bundle: no folder at the top, all of
//! it owned by 0:0.

use std::collections::BTreeSet;
use std::io::Write as _;

use anyhow::Context as _;

use super::DOUBLE;

/// Files of the tarball beside `bin/rke2`: name, mode and content.
const FILES: [(&str, u32, &str); 8] = [
    ("bin/rke2-killall.sh", 0o755, SCRIPT),
    ("bin/rke2-uninstall.sh", 0o755, SCRIPT),
    ("lib/systemd/system/rke2-agent.env", 0o644, "HOME=/root\n"),
    ("lib/systemd/system/rke2-agent.service", 0o644, AGENT),
    ("lib/systemd/system/rke2-server.env", 0o644, "HOME=/root\n"),
    ("lib/systemd/system/rke2-server.service", 0o644, SERVER),
    (
        "share/rke2/LICENSE.txt",
        0o644,
        "A double has no licence of its own.\n",
    ),
    (
        "share/rke2/rke2-cis-sysctl.conf",
        0o644,
        "vm.panic_on_oom=0\nvm.overcommit_memory=1\nkernel.panic=10\nkernel.panic_on_oops=1\n",
    ),
];
const SCRIPT: &str = "#!/bin/sh\necho \"$0: double of Harrow's tests, does nothing\"\n";
const SERVER: &str = "[Unit]\nDescription=RKE2 double of Harrow's tests (server)\n\n[Service]\nType=notify\nExecStart=/usr/local/bin/rke2 server\n\n[Install]\nWantedBy=multi-user.target\n";
const AGENT: &str = "[Unit]\nDescription=RKE2 double of Harrow's tests (agent)\n\n[Service]\nType=notify\nExecStart=/usr/local/bin/rke2 agent\n\n[Install]\nWantedBy=multi-user.target\n";

/// A tarball like a release's, whose `bin/rke2` is `program`.
pub fn pack_release(program: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut tar = Tar::default();
    for folder in [
        "bin",
        "lib",
        "lib/systemd",
        "lib/systemd/system",
        "share",
        "share/rke2",
    ] {
        tar.folder(folder)?;
    }
    tar.add_with_mode("bin/rke2", 0o755, program)?;
    for (name, mode, text) in FILES {
        tar.add_with_mode(name, mode, text.as_bytes())?;
    }
    gzip(&tar.finish()?)
}

/// A chart of this name, which makes one config map.
pub fn pack_chart(name: &str, version: &str) -> anyhow::Result<Vec<u8>> {
    let mut tar = Tar::default();
    // Charts have a version of three numbers, whatever the artifact's looks like.
    let version = version.trim_start_matches('v');
    let chart = format!(
        "apiVersion: v2\nname: {name}\nversion: \"{version}\"\ndescription: {DOUBLE}\ntype: application\n"
    );
    let template = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-double\ndata:\n  of: {{ .Chart.Name }}\n";
    for (path, text) in [
        ("Chart.yaml", chart.as_str()),
        ("values.yaml", "{}\n"),
        ("templates/double.yaml", template),
    ] {
        tar.add(&format!("{name}/{path}"), text.as_bytes())?;
    }
    gzip(&tar.finish()?)
}

/// Packs by gzip, without a time or a name.
pub(super) fn gzip(bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(bytes).context("packing")?;
    packer.finish().context("packing")
}

/// A tar that is the same for the same files.
#[derive(Default)]
pub(super) struct Tar {
    builder: Option<tar::Builder<Vec<u8>>>,
    names: BTreeSet<String>,
}

impl Tar {
    /// Adds a file that is there once.
    pub(super) fn add(&mut self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        self.add_with_mode(name, 0o644, bytes)
    }

    fn add_with_mode(&mut self, name: &str, mode: u32, bytes: &[u8]) -> anyhow::Result<()> {
        self.append(name, mode, tar::EntryType::Regular, bytes)
    }

    fn folder(&mut self, name: &str) -> anyhow::Result<()> {
        self.append(&format!("{name}/"), 0o755, tar::EntryType::Directory, &[])
    }

    fn append(
        &mut self,
        name: &str,
        mode: u32,
        kind: tar::EntryType,
        bytes: &[u8],
    ) -> anyhow::Result<()> {
        if !self.names.insert(name.to_owned()) {
            return Ok(());
        }
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(bytes.len() as u64);
        self.builder
            .get_or_insert_with(|| tar::Builder::new(Vec::new()))
            .append_data(&mut header, name, bytes)
            .with_context(|| format!("packing {name}"))
    }

    /// The tar.
    pub(super) fn finish(self) -> anyhow::Result<Vec<u8>> {
        let builder = self
            .builder
            .unwrap_or_else(|| tar::Builder::new(Vec::new()));
        builder.into_inner().context("ending a tar")
    }
}
