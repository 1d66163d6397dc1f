//! `system_settings` that mean something on a node or in its cluster, in their own types.
//!
//! In: answers. Out: [`Settings`]. Settings of a node count wherever they are said; those of the
//! cluster only in mode create. A value that can't be read is noted without quoting it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use super::super::answers::{Answers, InstallMode, Scalar, UrlText};
use super::super::formats::{self, Wrong, wrong};
use super::super::resolved::{Mirror, Pool, Proxy, Registries, RegistryHost, SnapshotClasses};
use super::super::secret::Secret;
use super::Values;

/// What the settings say; `None` and empty where they say nothing.
#[derive(Debug, Default)]
pub(super) struct Settings {
    pub proxy: Proxy,
    pub registries: Registries,
    pub authorities: Vec<String>,
    pub ntp: Vec<String>,
    pub registration_url: Option<UrlText>,
    pub snapshot_classes: BTreeMap<String, SnapshotClasses>,
    pub pools: BTreeMap<String, Vec<Pool>>,
    pub v2_engine: bool,
    pub cpu_overcommit: Option<u32>,
    pub memory_overcommit: Option<u32>,
    pub storage_overcommit: Option<u32>,
    pub hotplug_ratio: Option<u32>,
    pub memory_overhead: Option<String>,
    pub migrations: Map<String, Json>,
}

/// Reads the settings.
pub(super) fn read(answers: &Answers, values: &mut Values) -> Settings {
    let mut reader = Reader { answers, values };
    let registries = reader.json("containerd-registry").map(registries_of);
    // What is wrong with it is said by the rules between keys.
    let ntp = reader.text("ntp-servers").map(serde_json::from_str);
    let ntp: Ntp = ntp.and_then(Result::ok).unwrap_or_default();
    let authorities = reader.text("additional-ca").map(str::to_owned);
    let mut settings = Settings {
        proxy: reader.json("http-proxy").map(proxy).unwrap_or_default(),
        registries: registries.unwrap_or_default(),
        authorities: authorities.into_iter().collect(),
        ntp: ntp.servers,
        v2_engine: reader.text("longhorn-v2-data-engine-enabled") == Some("true"),
        ..Settings::default()
    };
    // Whoever joins a cluster finds all else decided.
    if answers.install.mode != Some(InstallMode::Create) {
        return settings;
    }
    settings.registration_url = reader.registration_url();
    let classes: Option<BTreeMap<String, DriverConfig>> = reader.json("csi-driver-config");
    let classes = classes.unwrap_or_default().into_iter();
    settings.snapshot_classes = classes.map(|(k, c)| (k, c.classes())).collect();
    settings.pools = reader.pools();
    let overcommit: Overcommit = reader.json("overcommit-config").unwrap_or_default();
    settings.cpu_overcommit = overcommit.cpu;
    settings.memory_overcommit = overcommit.memory;
    settings.storage_overcommit = overcommit.storage;
    settings.hotplug_ratio = reader.checked("max-hotplug-ratio", hotplug_ratio);
    let overhead = reader.checked("additional-guest-memory-overhead-ratio", overhead_ratio);
    settings.memory_overhead = overhead;
    settings.migrations = reader.json("kubevirt-migration").unwrap_or_default();
    settings
}

struct Reader<'a> {
    answers: &'a Answers,
    values: &'a mut Values,
}

impl<'a> Reader<'a> {
    /// What a setting says, unless it is empty.
    fn text(&self, name: &str) -> Option<&'a str> {
        let value = self.answers.system_settings.get(name)?.expose().trim();
        (!value.is_empty()).then_some(value)
    }

    fn checked<T>(&mut self, name: &str, read: fn(&str) -> Result<T, Wrong>) -> Option<T> {
        let text = self.text(name)?;
        self.values
            .check(&format!("system_settings.{name}"), read(text))
    }

    /// A setting that is JSON. That it is no JSON at all is said by the rules between keys.
    fn json<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        let value: Json = serde_json::from_str(self.text(name)?).ok()?;
        let read = serde_json::from_value(value).or_else(|error| {
            // Its words could quote a value, but not where it is of the wrong type.
            let what = match error.classify() {
                serde_json::error::Category::Data => "a value in it is of another type",
                _ => "not what it must be",
            };
            let hint = format!("as Harvester's documentation has {name}");
            wrong(what, hint)
        });
        self.values.check(&format!("system_settings.{name}"), read)
    }

    /// The URL, or a map with it.
    fn registration_url(&mut self) -> Option<UrlText> {
        const NAME: &str = "cluster-registration-url";
        #[derive(Deserialize)]
        struct Long {
            url: String,
        }
        let text = self.text(NAME)?;
        let long = serde_json::from_str::<Long>(text).map(|long| long.url);
        let url = long.unwrap_or_else(|_| text.to_owned());
        let read = match formats::http_url(&url) {
            Ok(_) => Ok(UrlText::from(url.as_str())),
            // It holds a token, so nothing of it is quoted.
            Err(_) => wrong(
                "not the URL of a manifest",
                "as Rancher shows it, such as https://rancher.example.org/v3/import/....yaml",
            ),
        };
        self.values.check(&format!("system_settings.{NAME}"), read)
    }

    fn pools(&mut self) -> BTreeMap<String, Vec<Pool>> {
        let said: Option<BTreeMap<String, String>> = self.json("vip-pools");
        let mut pools = BTreeMap::new();
        for (namespace, text) in said.unwrap_or_default() {
            let read: Result<Vec<_>, Wrong> = words(&text).iter().map(|t| pool(t)).collect();
            let read = read.or_else(|_| {
                wrong(
                    "a pool is neither a network nor a range of addresses",
                    "such as '{\"global\": \"10.0.0.100-10.0.0.120,10.0.1.0/24\"}'",
                )
            });
            let read = self.values.check("system_settings.vip-pools", read);
            pools.insert(namespace, read.unwrap_or_default());
        }
        pools
    }
}

/// The items of a list with commas.
pub(super) fn words(text: &str) -> Vec<String> {
    let items = text
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty());
    items.map(str::to_owned).collect()
}

/// A pool of addresses.
pub(super) fn pool(text: &str) -> Result<Pool, Wrong> {
    let (first, last) = formats::pool(text)?;
    Ok(match formats::cidr(text) {
        Ok(network) => Pool::Network(network),
        Err(_) => Pool::Range(first, last),
    })
}

/// A scalar as JSON has it.
pub(super) fn json_of(scalar: &Scalar) -> Json {
    match scalar {
        Scalar::Bool(yes) => Json::from(*yes),
        Scalar::Int(number) => Json::from(*number),
        // The tree knows texts alone, so a number is one too.
        Scalar::Text(text) => match text.as_str() {
            "true" => Json::from(true),
            "false" => Json::from(false),
            text => text.parse::<i64>().map_or_else(|_| text.into(), Json::from),
        },
    }
}

fn hotplug_ratio(text: &str) -> Result<u32, Wrong> {
    match text.parse() {
        Ok(ratio @ 1..=20) => Ok(ratio),
        _ => wrong("not a ratio", "a whole number from 1 to 20"),
    }
}

fn overhead_ratio(text: &str) -> Result<String, Wrong> {
    match text.parse::<f64>() {
        Ok(ratio) if ratio == 0.0 || (1.0..=10.0).contains(&ratio) => Ok(text.to_owned()),
        _ => wrong("not a ratio", "0, or from 1.0 to 10.0, in quotes"),
    }
}

#[derive(Default, Deserialize)]
struct Ntp {
    #[serde(rename = "ntpServers", default)]
    servers: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Overcommit {
    cpu: Option<u32>,
    memory: Option<u32>,
    storage: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct DriverConfig {
    volume_snapshot_class_name: String,
    backup_volume_snapshot_class_name: String,
}

impl DriverConfig {
    fn classes(self) -> SnapshotClasses {
        let said = |name: String| Some(name).filter(|name| formats::object_name(name).is_ok());
        SnapshotClasses {
            snapshot: said(self.volume_snapshot_class_name),
            backup: said(self.backup_volume_snapshot_class_name),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProxySetting {
    #[serde(default)]
    http_proxy: Secret,
    #[serde(default)]
    https_proxy: Secret,
    #[serde(default)]
    no_proxy: String,
}

fn proxy(setting: ProxySetting) -> Proxy {
    let said = |url: Secret| Some(url).filter(|url| !url.is_empty());
    Proxy {
        http: said(setting.http_proxy),
        https: said(setting.https_proxy),
        none: words(&setting.no_proxy),
    }
}

/// Rancher's `Registry`, with the names that Go gives its fields when nobody does; RKE2's own
/// names are fine too.
#[derive(Deserialize)]
struct RegistrySetting {
    #[serde(rename = "Mirrors", alias = "mirrors", default)]
    mirrors: Option<BTreeMap<String, MirrorSetting>>,
    #[serde(rename = "Configs", alias = "configs", default)]
    configs: Option<BTreeMap<String, HostSetting>>,
}

#[derive(Deserialize)]
struct MirrorSetting {
    #[serde(rename = "Endpoints", alias = "endpoints", alias = "endpoint", default)]
    endpoints: Option<Vec<String>>,
    #[serde(rename = "Rewrites", alias = "rewrites", alias = "rewrite", default)]
    rewrites: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct HostSetting {
    #[serde(rename = "Auth", alias = "auth", default)]
    auth: Option<AuthSetting>,
    #[serde(rename = "TLS", alias = "tls", default)]
    tls: Option<TlsSetting>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AuthSetting {
    #[serde(rename = "Username", alias = "username")]
    username: Option<String>,
    #[serde(rename = "Password", alias = "password")]
    password: Option<Secret>,
    #[serde(rename = "Auth", alias = "auth")]
    auth: Option<Secret>,
    #[serde(rename = "IdentityToken", alias = "identity_token", alias = "token")]
    token: Option<Secret>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TlsSetting {
    #[serde(rename = "CAFile", alias = "ca_file")]
    ca_file: Option<String>,
    #[serde(rename = "CertFile", alias = "cert_file")]
    cert_file: Option<String>,
    #[serde(rename = "KeyFile", alias = "key_file")]
    key_file: Option<String>,
    #[serde(rename = "InsecureSkipVerify", alias = "insecure_skip_verify")]
    insecure: Option<bool>,
}

fn registries_of(setting: RegistrySetting) -> Registries {
    let text = |text: Option<String>| text.filter(|text| !text.is_empty());
    let secret = |secret: Option<Secret>| secret.filter(|secret| !secret.is_empty());
    let mirror = |mirror: MirrorSetting| Mirror {
        endpoints: mirror
            .endpoints
            .unwrap_or_default()
            .iter()
            .map(|url| UrlText::from(url.as_str()))
            .collect(),
        rewrites: mirror.rewrites.unwrap_or_default(),
    };
    let host = |host: HostSetting| {
        let (auth, tls) = (host.auth.unwrap_or_default(), host.tls.unwrap_or_default());
        RegistryHost {
            username: text(auth.username),
            password: secret(auth.password),
            auth: secret(auth.auth),
            token: secret(auth.token),
            ca_file: text(tls.ca_file),
            cert_file: text(tls.cert_file),
            key_file: text(tls.key_file),
            insecure: tls.insecure.unwrap_or(false),
        }
    };
    let mirrors = setting.mirrors.unwrap_or_default().into_iter();
    let hosts = setting.configs.unwrap_or_default().into_iter();
    Registries {
        mirrors: mirrors.map(|(name, m)| (name, mirror(m))).collect(),
        hosts: hosts.map(|(name, h)| (name, host(h))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::load::check_sources;
    use super::super::super::resolved::Cluster;
    use super::super::super::source::{Source, SourceKind};
    use super::*;

    fn cluster(mode: &str, settings: &str) -> (Cluster, Vec<String>) {
        let text = format!(
            "token: a\nserver_url: https://10.0.0.5\ninstall: {{mode: {mode}}}\nsystem_settings:\n{settings}"
        );
        let checked = check_sources(&[Source::yaml(SourceKind::File, "f", text)]);
        let config = checked.usable_config().unwrap();
        (config.cluster, config.os.ntp)
    }

    #[test]
    fn settings_of_the_node_count_everywhere_and_others_where_the_cluster_begins() {
        let settings = r#"
  http-proxy: '{"httpsProxy": "http://p:1", "noProxy": " a , .b,"}'
  ntp-servers: '{"ntpServers": ["a.example"]}'
  longhorn-v2-data-engine-enabled: "true"
  containerd-registry: '{"Mirrors": null, "Configs": {"h:5": {"Auth": {"IdentityToken": "t"}, "TLS": null}}}'
  vip-pools: '{"a": "10.0.0.0/24,10.1.0.1-10.1.0.2"}'
  cluster-registration-url: '{"url": "https://r/v3/import/x.yaml", "insecureSkipTLSVerify": false}'
  max-hotplug-ratio: "2"
  additional-guest-memory-overhead-ratio: "0"
  overcommit-config: '{"cpu": 200}'
"#;
        for (mode, creates) in [("join", false), ("create", true)] {
            let (cluster, ntp) = cluster(mode, settings);
            assert_eq!(cluster.proxy.none, ["a", ".b"]);
            assert!(cluster.proxy.http.is_none() && cluster.proxy.https.is_some());
            assert_eq!(ntp, ["a.example"]);
            assert!(cluster.storage.v2_engine);
            assert!(cluster.registries.hosts["h:5"].token.is_some());
            assert_eq!(cluster.pools.contains_key("a"), creates, "{mode}");
            assert_eq!(cluster.registration_url.is_some(), creates);
            let machines = &cluster.machines;
            let defaults = Cluster::default().machines;
            let (cpu, hotplug) = if creates {
                (200, 2)
            } else {
                (defaults.cpu_overcommit, 4)
            };
            assert_eq!(
                (machines.cpu_overcommit, machines.hotplug_ratio),
                (cpu, hotplug)
            );
            assert_eq!(machines.memory_overcommit, defaults.memory_overcommit);
            assert_eq!(machines.memory_overhead.is_none(), creates);
        }
    }

    #[test]
    fn pools_and_scalars_have_types() {
        let range = Pool::Range("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        assert_eq!(pool("10.0.0.1-10.0.0.2"), Ok(range));
        assert_eq!(
            pool("10.0.0.0/24"),
            Ok(Pool::Network("10.0.0.0/24".parse().unwrap()))
        );
        for (scalar, json) in [
            (Scalar::Text("12".into()), Json::from(12)),
            (Scalar::Text("true".into()), Json::from(true)),
            (Scalar::Text("a".into()), Json::from("a")),
            (Scalar::Int(3), Json::from(3)),
            (Scalar::Bool(false), Json::from(false)),
        ] {
            assert_eq!(json_of(&scalar), json);
        }
    }
}
