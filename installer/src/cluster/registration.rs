//! Registration of a new cluster at an existing Rancher.
//!
//! In: `cluster-registration-url`. Out: a unit of the node that creates the cluster. The URL is
//! that of a manifest with Rancher's agent, which kubectl fetches and applies once; it holds a
//! token, so it lies in a file of its own, for root alone. Trust in Rancher's certificate comes
//! from `additional-ca`.

use super::proxy;
use crate::config::Cluster;
use crate::node::files::NodeFile;

const UNIT: &str = "harrow-registration.service";
const URL: &str = "/etc/default/harrow-registration";
/// Says that it was done: later it's Rancher that keeps its agent up to date.
const DONE: &str = "/var/lib/harrow/registered";

pub(super) fn render_registration(cluster: &Cluster) -> Vec<NodeFile> {
    let Some(url) = &cluster.registration_url else {
        return Vec::new();
    };
    let unit = format!(
        "[Unit]\n\
         Description=Register the cluster at Rancher\n\
         ConditionPathExists=!{DONE}\n\
         # Neither stops the other: a Rancher that is away is asked again.\n\
         Wants=rke2-server.service network-online.target\n\
         After=rke2-server.service network-online.target\n\
         # Rancher may be away for longer than any number of tries.\n\
         StartLimitIntervalSec=0\n\n\
         [Service]\n\
         Type=oneshot\n\
         EnvironmentFile=-/etc/default/rke2-server\n\
         EnvironmentFile={URL}\n\
         ExecStart=/var/lib/rancher/rke2/bin/kubectl --kubeconfig /etc/rancher/rke2/rke2.yaml apply -f ${{REGISTRATION_URL}}\n\
         ExecStart=/usr/bin/touch {DONE}\n\
         Restart=on-failure\n\
         RestartSec=30s\n"
    );
    let system = "/etc/systemd/system";
    vec![
        NodeFile::text(&format!("{system}/{UNIT}"), unit),
        NodeFile::link(
            &format!("{system}/multi-user.target.wants/{UNIT}"),
            &format!("{system}/{UNIT}"),
        ),
        NodeFile::with_mode(
            URL,
            format!("REGISTRATION_URL={}\n", proxy::quoted(url)),
            0o600,
        ),
    ]
}
