//! Maps whose keys a person chooses: labels, variables, headers, pools.
//!
//! The schema knows no form for such keys, nor for values that depend on their key.

use std::collections::HashMap;
use std::net::IpAddr;

use super::super::answers::Answers;
use super::super::formats::{self, Wrong};
use super::super::problem::{Code, Problems};

fn note(problems: &mut Problems, field: String, result: Result<(), Wrong>) {
    if let Err(wrong) = result {
        problems.add(Code::BadValue, field, wrong.message, wrong.hint);
    }
}

/// Labels that a kubelet may give to its node, and taints that are not said twice.
pub fn labels_and_taints_are_kubernetes(answers: &Answers, problems: &mut Problems) {
    for (key, value) in &answers.os.labels {
        let result = formats::node_label(key, &value.to_string());
        note(problems, format!("os.labels.{key}"), result);
    }
    let mut seen = HashMap::new();
    for (i, text) in answers.os.taints.iter().enumerate() {
        let Ok(taint) = formats::taint(text) else {
            continue;
        };
        let effect = format!("{:?}", taint.effect);
        if let Some(first) = seen.insert((taint.key.clone(), effect.clone()), i) {
            problems.add(
                Code::DuplicateValue,
                format!("os.taints[{i}]"),
                format!("os.taints[{first}] has the same key and effect"),
                format!("one value for {}:{effect}", taint.key),
            );
        }
    }
}

/// Variables that systemd takes, and proxies that can be used. Values are secret, so no message
/// quotes them.
pub fn variables_are_usable(answers: &Answers, problems: &mut Problems) {
    for (name, value) in &answers.os.environment {
        let value = value.expose();
        let field = format!("os.environment.{name}");
        if let Err(wrong) = formats::environment(name, value) {
            problems.add(Code::BadValue, field, wrong.message, wrong.hint);
            continue;
        }
        let result = match name.to_ascii_lowercase().as_str() {
            _ if value.is_empty() => Ok(()),
            "http_proxy" | "https_proxy" | "ftp_proxy" | "all_proxy" => proxy(value),
            "no_proxy" => without_proxy(value),
            _ => Ok(()),
        };
        note(problems, field, result);
    }
}

/// The URL of a proxy, in words that quote nothing.
pub fn proxy(value: &str) -> Result<(), Wrong> {
    // Go, and so all of Kubernetes, takes these too (golang.org/x/net/http/httpproxy).
    let url = match value.split_once("://") {
        None => format!("http://{value}"),
        Some(("socks5" | "socks5h", rest)) => format!("http://{rest}"),
        Some(_) => value.to_owned(),
    };
    formats::proxy_url(&url).map(drop).or_else(|_| {
        formats::wrong(
            "not the URL of a proxy",
            "http://HOST:PORT, such as http://10.0.0.3:3128",
        )
    })
}

/// What needs no proxy, in words that quote nothing.
pub fn without_proxy(value: &str) -> Result<(), Wrong> {
    formats::no_proxy(value).or_else(|_| {
        formats::wrong(
            "an item is neither a host nor a domain nor a network",
            "separated by commas, such as localhost,.example.org,10.0.0.0/8",
        )
    })
}

/// Headers that a request can carry.
pub fn headers_are_http(answers: &Answers, problems: &mut Problems) {
    let install = &answers.install;
    for (name, value) in &install.config_headers {
        let field = header_field("install.config_headers", name);
        note(problems, field, formats::http_header(name, value.expose()));
    }
    for (i, hook) in install.webhooks.iter().enumerate() {
        for (name, values) in &hook.headers {
            let mut checked = values
                .iter()
                .map(|v| formats::http_header(name, v.expose()));
            let result = checked.find(Result::is_err).unwrap_or(Ok(()));
            let result = formats::http_header(name, "").and(result);
            let map = format!("install.webhooks[{i}].headers");
            note(problems, header_field(&map, name), result);
        }
    }
}

/// The key of a header. What is no name can be a whole header with its secret, which belongs
/// into no message.
fn header_field(map: &str, name: &str) -> String {
    match formats::http_header(name, "") {
        Ok(()) => format!("{map}.{name}"),
        Err(_) => map.to_owned(),
    }
}

/// Pools belong to namespaces, and an address to one pool.
pub fn pools_are_apart(answers: &Answers, problems: &mut Problems) {
    let mut found: Vec<((IpAddr, IpAddr), String, &str)> = Vec::new();
    for (namespace, pools) in &answers.cluster.ip_pools {
        let field = format!("cluster.ip_pools.{namespace}");
        if let Err(wrong) = formats::dns_label(namespace) {
            let message = format!("the key is no namespace: {}", wrong.message);
            problems.add(Code::BadValue, field.clone(), message, wrong.hint);
        }
        for (i, text) in pools.iter().enumerate() {
            let ends = formats::pool(text).ok();
            found.extend(ends.map(|ends| (ends, format!("{field}[{i}]"), text.as_str())));
        }
    }
    found.sort();
    // The pool that reaches furthest so far: who begins before its end shares with it.
    let mut furthest: Option<(IpAddr, &str)> = None;
    for ((first, last), field, text) in &found {
        if let Some((end, other)) = furthest
            && *first <= end
        {
            problems.add(
                Code::SameAddress,
                field.clone(),
                format!("{text} shares addresses with {other}"),
                "each address in one pool",
            );
        }
        if furthest.is_none_or(|(end, _)| *last > end) {
            furthest = Some((*last, field));
        }
    }
}
