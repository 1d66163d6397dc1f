//! From what was said of the cluster to [`Cluster`], with Harvester's documented defaults.
//!
//! In: answers. Out: the cluster as far as this node knows it. What can't be used is noted and
//! left out.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Map, Value as Json};

use super::super::answers::{
    Addon, Answers, InstallMode, NodeRole, Profile as ProfileAnswer, Reservation, SriovDevice,
    VipMode,
};
use super::super::formats::{self, Wrong, wrong};
use super::super::problem::Code;
use super::super::relations::{MAX_PODS, cidr_or, dns_of, node_mask};
use super::super::relations::{POD_CIDR, SERVICE_CIDR};
use super::super::resolved::{
    AddonName, ChartValues, Cluster, ClusterStorage, DriverChart, Machines, Networks, Pool,
    Profile, Proxy, Reserved, Snapshots, Vip, VirtualFunctions,
};
use super::super::secret::Secret;
use super::Values;
use super::settings::{self, Settings};

/// Name of the chart that every cluster has.
const LONGHORN: &str = "longhorn";

pub(super) fn build(answers: &Answers, settings: &Settings, values: &mut Values) -> Cluster {
    let default = Cluster::default();
    let cluster = &answers.cluster;
    let labels = answers.os.labels.iter();
    let labels = labels.filter(|(key, value)| formats::node_label(key, &value.to_string()).is_ok());
    let environment = answers.os.environment.iter();
    let environment = environment.filter(|(k, v)| formats::environment(k, v.expose()).is_ok());
    let snapshots = &cluster.etcd_snapshots;
    let schedule = snapshots.schedule.as_deref();
    let schedule =
        schedule.and_then(|s| values.keep("cluster.etcd_snapshots.schedule", s, formats::cron(s)));
    let role = answers.install.role.unwrap_or(NodeRole::Default);
    let mut authorities = answers.os.additional_ca.clone();
    authorities.extend(settings.authorities.clone());
    Cluster {
        role,
        sans: values.keep_all("sans", &answers.sans, |san| formats::host(san).map(drop)),
        labels: labels.map(|(k, v)| (k.clone(), v.to_string())).collect(),
        taints: values.keep_all("os.taints", &answers.os.taints, |taint| {
            formats::taint(taint).map(drop)
        }),
        environment: environment.map(|(k, v)| (k.clone(), v.clone())).collect(),
        proxy: proxy(answers, settings),
        authorities,
        networks: networks(answers, default.networks),
        max_pods: cluster.max_pods.unwrap_or(MAX_PODS),
        kube_reserved: reserved("cluster.kube_reserved", &cluster.kube_reserved, values),
        system_reserved: reserved("cluster.system_reserved", &cluster.system_reserved, values),
        profile: cluster.profile.and_then(|profile| match profile {
            ProfileAnswer::None => None,
            ProfileAnswer::Cis => Some(Profile::Cis),
        }),
        snapshots: Snapshots {
            schedule: schedule.unwrap_or(default.snapshots.schedule),
            retention: snapshots.retention.unwrap_or(default.snapshots.retention),
        },
        registries: settings.registries.clone(),
        bundle_mirror: answers.install.bundle_mirror.clone(),
        vip: vip(answers, values),
        pools: pools(answers, settings, values),
        storage: storage(answers, settings, default.storage, values),
        machines: machines(answers, settings, default.machines),
        addons: addons(answers, values),
        registration_url: settings.registration_url.clone(),
    }
}

/// What `http-proxy` says, or the environment.
fn proxy(answers: &Answers, settings: &Settings) -> Proxy {
    if settings.proxy.is_used() {
        return settings.proxy.clone();
    }
    let variable = |name: &str| {
        let mut all = answers.os.environment.iter();
        let found = all.find(|(key, value)| key.eq_ignore_ascii_case(name) && !value.is_empty());
        found.map(|(_, value)| value.clone())
    };
    let none = variable("no_proxy").unwrap_or_default();
    Proxy {
        http: variable("http_proxy"),
        https: variable("https_proxy"),
        none: settings::words(none.expose()),
    }
}

fn networks(answers: &Answers, default: Networks) -> Networks {
    let install = &answers.install;
    let pods = cidr_or(install.cluster_pod_cidr.as_ref(), POD_CIDR).unwrap_or(default.pods);
    let services = cidr_or(install.cluster_service_cidr.as_ref(), SERVICE_CIDR);
    let services = services.unwrap_or(default.services);
    let said = install.cluster_dns.as_ref();
    let said: Option<IpAddr> = said.and_then(|dns| dns.trim().parse().ok());
    Networks {
        cni: answers.cluster.cni.unwrap_or(default.cni),
        pods,
        node_mask: node_mask(answers),
        services,
        dns: said.or_else(|| dns_of(&services)).unwrap_or(default.dns),
    }
}

fn reserved(field: &str, said: &Reservation, values: &mut Values) -> Reserved {
    let cpu = said.cpu.as_deref().map(formats::reserved_cpu);
    let memory = said.memory.as_deref().map(formats::reserved_memory);
    Reserved {
        cpu: cpu.and_then(|cpu| values.check(&format!("{field}.cpu"), cpu)),
        memory: memory.and_then(|memory| values.check(&format!("{field}.memory"), memory)),
    }
}

fn vip(answers: &Answers, values: &mut Values) -> Option<Vip> {
    let install = &answers.install;
    if install.mode != Some(InstallMode::Create) {
        return None;
    }
    let address = install.vip.as_deref().map(formats::ipv4);
    let address = address.and_then(|a| values.check("install.vip", a));
    if install.vip_mode != Some(VipMode::Dhcp) {
        return address.map(Vip::Static);
    }
    // That it is missing is said by the rules between keys.
    let mac = formats::mac(install.vip_hw_addr.as_deref()?);
    let mac = values.check("install.vip_hw_addr", mac)?;
    Some(Vip::Dhcp { mac, wish: address })
}

/// `cluster.ip_pools` over `vip-pools`.
fn pools(
    answers: &Answers,
    settings: &Settings,
    values: &mut Values,
) -> BTreeMap<String, Vec<Pool>> {
    let mut pools = settings.pools.clone();
    for (namespace, texts) in &answers.cluster.ip_pools {
        let mut found = Vec::new();
        for (i, text) in texts.iter().enumerate() {
            let field = format!("cluster.ip_pools.{namespace}[{i}]");
            found.extend(values.check(&field, settings::pool(text)));
        }
        pools.insert(namespace.clone(), found);
    }
    pools.retain(|_, found| !found.is_empty());
    pools
}

fn storage(
    answers: &Answers,
    settings: &Settings,
    default: ClusterStorage,
    values: &mut Values,
) -> ClusterStorage {
    let harvester = &answers.install.harvester;
    let longhorn = harvester.longhorn.default_settings.iter();
    let mut charts = Vec::new();
    for (i, chart) in answers.cluster.csi_charts.iter().enumerate() {
        let field = format!("cluster.csi_charts[{i}].values_content");
        let read = chart_values(chart.values_content.as_ref());
        if chart.name == LONGHORN {
            let field = format!("cluster.csi_charts[{i}].name");
            let message = "Longhorn is there already";
            let hint = "install.harvester.longhorn.default_settings has its settings";
            values.0.add(Code::DuplicateValue, field, message, hint);
            continue;
        }
        // What has no name is said by the rules between keys.
        if formats::chart_name(&chart.name).is_ok() {
            charts.push(DriverChart {
                name: chart.name.clone(),
                repo: chart.repo.clone().filter(|repo| !repo.is_empty()),
                version: chart.version.clone().filter(|version| !version.is_empty()),
                values: values.check(&field, read).unwrap_or_default(),
            });
        }
    }
    ClusterStorage {
        replicas: harvester
            .storage_class
            .replica_count
            .unwrap_or(default.replicas),
        longhorn: longhorn
            .map(|(key, value)| (key.clone(), settings::json_of(value)))
            .collect(),
        v2_engine: settings.v2_engine,
        v2_disks: values.keep_all(
            "cluster.longhorn_v2_disks",
            &answers.cluster.longhorn_v2_disks,
            |disk| formats::disk_path(disk).map(drop),
        ),
        overcommit: settings.storage_overcommit.unwrap_or(default.overcommit),
        charts,
        snapshot_classes: settings.snapshot_classes.clone(),
    }
}

fn machines(answers: &Answers, settings: &Settings, default: Machines) -> Machines {
    let devices = answers.cluster.pci_devices.iter();
    let devices = devices.filter(|d| !d.vendor_selector.is_empty() && !d.resource_name.is_empty());
    Machines {
        cpu_overcommit: settings.cpu_overcommit.unwrap_or(default.cpu_overcommit),
        memory_overcommit: settings
            .memory_overcommit
            .unwrap_or(default.memory_overcommit),
        hotplug_ratio: settings.hotplug_ratio.unwrap_or(default.hotplug_ratio),
        memory_overhead: match settings.memory_overhead.as_deref() {
            None => default.memory_overhead,
            Some("0" | "0.0") => None,
            Some(ratio) => Some(ratio.to_owned()),
        },
        migrations: settings.migrations.clone(),
        state_class: answers.cluster.vm_state_storage_class.clone(),
        pci_devices: devices
            .map(|d| {
                (
                    d.vendor_selector.to_ascii_uppercase(),
                    d.resource_name.clone(),
                )
            })
            .collect(),
        sriov: sriov(answers),
    }
}

/// What is missing is said by the rules between keys.
fn sriov(answers: &Answers) -> Vec<VirtualFunctions> {
    let devices = answers.cluster.sriov.iter();
    let usable = devices.filter(|d| formats::sriov_device(&d.device).is_ok());
    let functions = |d: &SriovDevice| {
        Some(VirtualFunctions {
            device: d.device.clone(),
            count: d.virtual_functions?,
        })
    };
    usable.filter_map(functions).collect()
}

fn addons(answers: &Answers, values: &mut Values) -> BTreeMap<AddonName, ChartValues> {
    let all = &answers.install.addons;
    let said = |name| -> &Addon {
        match name {
            AddonName::Monitoring => &all.rancher_monitoring,
            AddonName::Logging => &all.rancher_logging,
            AddonName::Vcluster => &all.rancher_vcluster,
            AddonName::PciDevices => &all.harvester_pcidevices_controller,
            AddonName::Seeder => &all.harvester_seeder,
            AddonName::VmImport => &all.harvester_vm_import_controller,
            AddonName::Nvidia => &all.nvidia_driver_toolkit,
            AddonName::KubeOvn => &all.kubeovn_operator,
            AddonName::Descheduler => &all.descheduler,
        }
    };
    let mut on = BTreeMap::new();
    for name in AddonName::ALL {
        let (key, addon) = (name.key(), said(name));
        let field = format!("install.addons.{key}.values_content");
        let read = values.check(&field, chart_values(addon.values_content.as_ref()));
        if addon.enabled == Some(true) {
            let read = read.unwrap_or_default();
            if name == AddonName::Vcluster && !read.0.contains_key("hostname") {
                let message = "does not say hostname, the name of the Rancher";
                let hint = "such as 'hostname: rancher.example.org'";
                values.0.add(Code::Missing, field, message, hint);
            }
            on.insert(name, read);
        } else if addon.values_content.as_ref().is_some_and(|v| !v.is_empty()) {
            let message = "does nothing while the addon is off";
            let hint = format!("install.addons.{key}.enabled: true");
            values.0.add(Code::NoUse, field, message, hint);
        }
    }
    on
}

/// Values of a chart: a map in YAML. No message quotes them, since there may be secrets in them.
fn chart_values(text: Option<&Secret>) -> Result<ChartValues, Wrong> {
    let text = text.map_or("", Secret::expose).trim();
    if text.is_empty() {
        return Ok(ChartValues::default());
    }
    const HINT: &str = "a map in YAML";
    match serde_saphyr::from_str::<Json>(text) {
        Ok(Json::Object(map)) => Ok(ChartValues(map)),
        Ok(Json::Null) => Ok(ChartValues(Map::new())),
        Ok(_) => wrong("not a map", HINT),
        Err(error) => {
            let line = error
                .location()
                .map(|at| format!(" at line {} of it", at.line()));
            wrong(format!("not YAML{}", line.unwrap_or_default()), HINT)
        }
    }
}
