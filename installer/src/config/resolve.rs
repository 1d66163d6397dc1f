//! From [`Answers`] to [`Config`]: every default filled in, every value in its own type.
//!
//! In: answers. Out: a config that can be planned and rendered, or all problems at once.

mod cluster;
mod network;
mod settings;
mod storage;

use std::collections::BTreeMap;

use super::answers::{Answers, DeviceChoice, InstallMode, NodeRole, WriteFile};
use super::formats::{self, KeySource, Wrong};
use super::forms::LEAST_VAR;
use super::problem::{Code, Problems};
use super::resolved::{Cluster, Config, FileToWrite, Mode, Os, Overwrite, Sizes, Storage};
use super::secret::Secret;
use crate::disk::layout::{DataPlace, TableKind};

/// Bytes in a GiB.
const GIB: u64 = 1 << 30;

/// Size of VAR when nobody says.
pub const VAR: u64 = 150 * GIB;

/// The sizes that are asked for; 0 for one that can't be read.
pub fn sizes(answers: &Answers) -> Sizes {
    let var = var(answers, 0).unwrap_or(0);
    Sizes { var }
}

/// The size of VAR, when it is not less than this.
fn var(answers: &Answers, least: u64) -> Result<u64, Wrong> {
    match &answers.install.persistent_partition_size {
        Some(text) => formats::size(text, least),
        None => Ok(VAR),
    }
}

/// Turns problems of single values into those of their keys.
struct Values(Problems);

impl Values {
    /// The value of `result`; notes what is wrong under `field` when it is an error.
    fn check<T>(&mut self, field: &str, result: Result<T, Wrong>) -> Option<T> {
        let add = |wrong: Wrong| self.0.add(Code::BadValue, field, wrong.message, wrong.hint);
        result.map_err(add).ok()
    }

    /// The text itself, when it is right or at least one line: what is wrong is noted.
    fn keep<T>(&mut self, field: &str, text: &str, result: Result<T, Wrong>) -> Option<String> {
        let usable = self.check(field, result).is_some() || is_line(text);
        usable.then(|| text.trim().to_owned())
    }

    /// The texts of a list that are right, or at least one line each.
    fn keep_all(
        &mut self,
        field: &str,
        texts: &[String],
        rule: fn(&str) -> Result<(), Wrong>,
    ) -> Vec<String> {
        let each = texts.iter().enumerate();
        let kept = each.filter_map(|(i, t)| self.keep(&format!("{field}[{i}]"), t, rule(t)));
        kept.collect()
    }
}

/// Whether a text that broke a rule can still stand in a file of the node.
fn is_line(text: &str) -> bool {
    !text.trim().is_empty() && !text.chars().any(char::is_control)
}

/// Fills in the defaults, without the rules between keys. With problems, the config is what a
/// node can still be run with: what can't be used is left out.
pub fn build(answers: &Answers) -> (Config, Problems) {
    let mut values = Values(Problems::default());
    let settings = settings::read(answers, &mut values);
    let cluster = cluster::build(answers, &settings, &mut values);
    let mut os = build_os(answers, &mut values);
    if os.ntp.is_empty() {
        os.ntp.clone_from(&settings.ntp);
    }
    os.kernel_arguments.extend(device_arguments(&cluster, &os));
    let management = network::management(answers, &mut values);
    let networks = network::further(answers, &mut values);
    let var = var(answers, LEAST_VAR);
    let var = values.check("install.persistent_partition_size", var);
    let install = &answers.install;
    let config = Config {
        mode: build_mode(answers),
        cluster,
        os,
        management,
        networks,
        storage: Storage {
            device: install.device.clone(),
            data_disk: other_disk(answers).cloned(),
            sizes: Sizes {
                var: var.unwrap_or(VAR),
            },
            data: data_place(answers),
            table: if install.force_mbr == Some(true) {
                TableKind::Mbr
            } else {
                TableKind::Gpt
            },
            overwrite: Overwrite {
                allowed: install.allow_overwrite.unwrap_or(false),
                wipe_all: install.wipe_all_disks.unwrap_or(false),
                wipe: install.wipe_disks_list.clone(),
            },
        },
        poweroff: install.poweroff.unwrap_or(false),
        automatic: install.automatic.unwrap_or(false),
    };
    (config, values.0)
}

/// The data disk, when it is another than the install disk. A witness keeps no volumes.
fn other_disk(answers: &Answers) -> Option<&DeviceChoice> {
    let install = &answers.install;
    let said = install.data_disk.as_ref()?;
    let none = *said == DeviceChoice::Path(String::new());
    let same = install.device.as_ref() == Some(said);
    (!none && !same && install.role != Some(NodeRole::Witness)).then_some(said)
}

/// Where Longhorn's data lies.
pub fn data_place(answers: &Answers) -> DataPlace {
    match other_disk(answers) {
        Some(_) => DataPlace::OtherDisk,
        None if answers.install.role == Some(NodeRole::Witness) => DataPlace::Nowhere,
        None => DataPlace::Here,
    }
}

/// What the kernel must be told for virtual machines to have devices of the node: an IOMMU keeps
/// each in its place (AMD's is on by itself), and vfio comes before the drivers of the initrd, as
/// far as that has it. It is said by each node for itself, whether it creates a cluster or joins.
fn device_arguments(cluster: &Cluster, os: &Os) -> Vec<String> {
    let said = |name: &str| {
        let mut all = os.kernel_arguments.iter();
        all.any(|argument| argument.split('=').next() == Some(name))
    };
    if !cluster.uses_pci_devices() {
        return Vec::new();
    }
    let mut wanted = vec!["intel_iommu=on".to_owned(), "iommu=pt".to_owned()];
    let devices = cluster.machines.pci_devices.iter();
    let ids: Vec<String> = devices.map(|(id, _)| id.to_ascii_lowercase()).collect();
    if !ids.is_empty() {
        wanted.push("rd.driver.pre=vfio-pci".to_owned());
        wanted.push(format!("vfio-pci.ids={}", ids.join(",")));
    }
    wanted.retain(|a| !a.split('=').next().is_some_and(said));
    wanted
}

fn build_mode(answers: &Answers) -> Mode {
    let token = answers.token.clone().unwrap_or_default();
    match answers.install.mode {
        Some(InstallMode::Create) => Mode::Create { token },
        Some(InstallMode::Join) => Mode::Join {
            server_url: answers.server_url.clone().unwrap_or_default(),
            token,
        },
        Some(InstallMode::Install) | None => Mode::InstallOnly,
    }
}

fn build_os(answers: &Answers, values: &mut Values) -> Os {
    let os = &answers.os;
    let name = os.hostname.as_deref();
    let hostname = name.and_then(|n| values.keep("os.hostname", n, formats::hostname_template(n)));
    let password = os.password.clone().filter(|password| {
        let text = password.expose();
        let right = values
            .check("os.password", formats::password(text))
            .is_some();
        // A colon would end its field of /etc/shadow.
        right || (is_line(text) && !text.contains(':'))
    });
    let mut keys = Vec::new();
    for (i, key) in os.ssh_authorized_keys.iter().enumerate() {
        let source = formats::key_source(key);
        // Keys of GitHub are fetched by whoever has a network.
        if !matches!(source, Ok(KeySource::GitHub(_))) {
            let field = format!("os.ssh_authorized_keys[{i}]");
            keys.extend(values.keep(&field, key, source));
        }
    }
    let mut dns = Vec::new();
    for (i, server) in os.dns_nameservers.iter().enumerate() {
        dns.extend(values.check(
            &format!("os.dns_nameservers[{i}]"),
            formats::address(server),
        ));
    }
    let search = values.keep_all("os.dns_search", &os.dns_search, formats::domain);
    let ntp = values.keep_all("os.ntp_servers", &os.ntp_servers, formats::ntp_server);
    let modules = values.keep_all("os.modules", &os.modules, formats::kernel_module);
    let mut sysctls = BTreeMap::new();
    for (key, value) in &os.sysctls {
        let value = value.to_string();
        let right = formats::sysctl(key, &value);
        if let Some(value) = values.keep(&format!("os.sysctls.{key}"), &value, right) {
            sysctls.insert(key.clone(), value);
        }
    }
    let mut files = Vec::new();
    for (i, file) in os.write_files.iter().enumerate() {
        files.extend(build_file(&format!("os.write_files[{i}]"), file, values));
    }
    let mut persistent_paths = Vec::new();
    for (i, path) in os.persistent_state_paths.iter().enumerate() {
        let field = format!("os.persistent_state_paths[{i}]");
        persistent_paths.extend(values.check(&field, formats::persistent_path(path)));
    }
    let arguments = os.additional_kernel_arguments.as_deref();
    let arguments = arguments.unwrap_or_default();
    values.check(
        "os.additional_kernel_arguments",
        formats::kernel_arguments(arguments),
    );
    let tty = answers.install.tty.as_deref();
    let tty = tty.and_then(|t| values.check("install.tty", formats::console(t)));
    Os {
        hostname,
        ssh_authorized_keys: keys,
        password,
        sftp: os.sshd.sftp.unwrap_or(false),
        password_login: !os.sshd.disable_password_auth.unwrap_or(false),
        dns,
        dns_search: search,
        ntp,
        modules,
        sysctls,
        files,
        persistent_paths,
        first_commands: os.after_install_chroot_commands.clone(),
        kernel_arguments: arguments.split_whitespace().map(str::to_owned).collect(),
        tty,
        multipath: storage::multipath(&os.external_storage_config, values),
    }
}

fn build_file(field: &str, file: &WriteFile, values: &mut Values) -> Option<FileToWrite> {
    if file.path.is_empty() {
        let hint = "where the file goes, such as /etc/motd";
        let field = format!("{field}.path");
        values.0.add(Code::Missing, field, "missing", hint);
        return None;
    }
    let path = values.check(&format!("{field}.path"), formats::file_path(&file.path));
    let content = formats::decode(&file.encoding, Secret::expose(&file.content));
    let content = values.check(&format!("{field}.content"), content);
    let mode = formats::permissions(&file.permissions);
    let mode = values.check(&format!("{field}.permissions"), mode);
    let owner = values.check(&format!("{field}.owner"), formats::owner(&file.owner));
    Some(FileToWrite {
        path: path?,
        content: content?,
        owner: owner?,
        mode: mode?,
    })
}
