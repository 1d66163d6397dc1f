//! From [`Answers`] to [`Config`]: every default filled in, every value in its own type.
//!
//! In: answers. Out: a config that can be planned and rendered, or all problems at once.

use std::collections::BTreeMap;

use super::answers::{
    Answers, InstallMode, InterfaceAnswers, ManagementAnswers, Method, Secret, WriteFile,
};
use super::problem::{Code, Problems, Severity};
use super::resolved::{
    Config, FileToWrite, Ipv4Method, Ipv4Static, Management, Mode, NicSelector, Os, Sizes, Storage,
};
use super::rules::{self, Wrong};
use super::{network, relations};

/// Bytes in a GiB.
const GIB: u64 = 1 << 30;

/// Checks the rules between keys and fills in the defaults.
pub fn resolve(answers: &Answers) -> Result<Config, Problems> {
    let mut problems = relations::check(answers).only(Severity::Error);
    let config = match build(answers) {
        Ok(config) => Some(config),
        Err(more) => {
            problems.0.extend(more.0);
            None
        }
    };
    problems.sort();
    match config {
        Some(config) if problems.0.is_empty() => Ok(config),
        _ => Err(problems),
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
}

/// Fills in the defaults, without the rules between keys.
pub fn build(answers: &Answers) -> Result<Config, Problems> {
    let mut values = Values(Problems::default());
    let os = build_os(answers, &mut values);
    let management = build_management(answers, &mut values);
    let var = match &answers.install.persistent_partition_size {
        None => Some(150 * GIB),
        Some(text) => values.check(
            "install.persistent_partition_size",
            rules::size(text, 20 * GIB),
        ),
    };
    let install = &answers.install;
    if !values.0.0.is_empty() {
        return Err(values.0);
    }
    Ok(Config {
        mode: build_mode(answers),
        os,
        management,
        storage: Storage {
            device: install.device.clone(),
            data_disk: install.data_disk.clone().filter(|d| {
                install.device.as_ref() != Some(d) && *d != super::DeviceChoice::Path(String::new())
            }),
            sizes: Sizes {
                var: var.unwrap_or(0),
            },
        },
        poweroff: install.poweroff.unwrap_or(false),
        automatic: install.automatic.unwrap_or(false),
    })
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
    if let Some(name) = &os.hostname {
        values.check("os.hostname", rules::hostname(name));
    }
    if let Some(password) = &os.password {
        values.check("os.password", rules::password(password.expose()));
    }
    let mut keys = Vec::new();
    for (i, key) in os.ssh_authorized_keys.iter().enumerate() {
        // Keys of GitHub are fetched by whoever has a network.
        if key.starts_with("github:") {
            continue;
        }
        values.check(&format!("os.ssh_authorized_keys[{i}]"), rules::ssh_key(key));
        keys.push(key.trim().to_owned());
    }
    let mut dns = Vec::new();
    for (i, server) in os.dns_nameservers.iter().enumerate() {
        dns.extend(values.check(&format!("os.dns_nameservers[{i}]"), rules::address(server)));
    }
    for (i, server) in os.ntp_servers.iter().enumerate() {
        values.check(&format!("os.ntp_servers[{i}]"), rules::host(server));
    }
    for (i, module) in os.modules.iter().enumerate() {
        values.check(&format!("os.modules[{i}]"), rules::kernel_module(module));
    }
    let mut sysctls = BTreeMap::new();
    for (key, value) in &os.sysctls {
        let value = value.to_string();
        values.check(&format!("os.sysctls.{key}"), rules::sysctl(key, &value));
        sysctls.insert(key.clone(), value);
    }
    let mut files = Vec::new();
    for (i, file) in os.write_files.iter().enumerate() {
        files.extend(build_file(&format!("os.write_files[{i}]"), file, values));
    }
    for (i, path) in os.persistent_state_paths.iter().enumerate() {
        let field = format!("os.persistent_state_paths[{i}]");
        values.check(&field, rules::persistent_path(path));
    }
    let arguments = os.additional_kernel_arguments.as_deref();
    let arguments = arguments.unwrap_or_default();
    values.check(
        "os.additional_kernel_arguments",
        rules::kernel_arguments(arguments),
    );
    let tty = answers.install.tty.as_deref();
    let tty = tty.and_then(|t| values.check("install.tty", rules::console(t)));
    Os {
        hostname: os.hostname.clone(),
        ssh_authorized_keys: keys,
        password: os.password.clone(),
        dns,
        ntp: os.ntp_servers.clone(),
        modules: os.modules.clone(),
        sysctls,
        files,
        persistent_paths: os.persistent_state_paths.clone(),
        kernel_arguments: arguments.split_whitespace().map(str::to_owned).collect(),
        tty,
    }
}

fn build_file(field: &str, file: &WriteFile, values: &mut Values) -> Option<FileToWrite> {
    let path = values.check(&format!("{field}.path"), rules::file_path(&file.path));
    let content = rules::decode(&file.encoding, Secret::expose(&file.content));
    let content = values.check(&format!("{field}.content"), content);
    let mode = rules::permissions(&file.permissions);
    let mode = values.check(&format!("{field}.permissions"), mode);
    let owner = values.check(&format!("{field}.owner"), rules::owner(&file.owner));
    Some(FileToWrite {
        path: path?,
        content: content?,
        owner: owner?,
        mode: mode?,
    })
}

fn build_management(answers: &Answers, values: &mut Values) -> Management {
    const FIELD: &str = "install.management_interface";
    let given = &answers.install.management_interface;
    let mut nics = Vec::new();
    for (i, nic) in given.interfaces.iter().enumerate() {
        nics.extend(build_nic(&format!("{FIELD}.interfaces[{i}]"), nic, values));
    }
    let ipv4 = match given.method {
        None | Some(Method::Dhcp) => Ipv4Method::Dhcp,
        Some(Method::None) => Ipv4Method::None,
        Some(Method::Static) => {
            build_static(given, values).map_or(Ipv4Method::None, Ipv4Method::Static)
        }
    };
    Management {
        nics,
        ipv4,
        mtu: given.mtu.filter(|m| *m != 0),
    }
}

/// That neither is given is said by the rules between keys.
fn build_nic(field: &str, nic: &InterfaceAnswers, values: &mut Values) -> Option<NicSelector> {
    match nic.hw_addr.as_deref().filter(|m| !m.is_empty()) {
        // The MAC stays when a kernel renames the interface, so it wins over the name.
        Some(mac) => {
            let mac = values.check(&format!("{field}.hw_addr"), rules::mac(mac))?;
            Some(NicSelector::Mac(mac))
        }
        None => {
            let name = rules::interface_name(nic.name.as_deref()?);
            let name = values.check(&format!("{field}.name"), name)?;
            Some(NicSelector::Name(name))
        }
    }
}

/// What is missing here is said by the rules between keys.
fn build_static(given: &ManagementAnswers, values: &mut Values) -> Option<Ipv4Static> {
    let mut address = |key: &str, value: &Option<String>| {
        let field = format!("install.management_interface.{key}");
        values.check(&field, rules::ipv4(value.as_deref()?))
    };
    let ip = address("ip", &given.ip);
    let gateway = address("gateway", &given.gateway);
    let mask = network::mask(given.subnet_mask.as_deref()?);
    let prefix = values.check("install.management_interface.subnet_mask", mask);
    Some(Ipv4Static {
        address: ip?,
        prefix: prefix?,
        gateway: gateway?,
    })
}
