//! Which proxy a request goes through, as the environment says it.
//!
//! In: `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`, in capitals too. Out: the proxy for
//! a URL. ureq reads them too, and knows no networks in `NO_PROXY`, which is how a node's config
//! says what is near; it also does not tell the schemes apart. The rules are those of Go's
//! `httpproxy`, which RKE2 goes by with the same variables.

use std::net::IpAddr;
use std::sync::OnceLock;

use ipnet::IpNet;
use ureq::Proxy;

use crate::config::formats::HttpUrl;

/// What the environment says.
#[derive(Default)]
pub(super) struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    without: Vec<Near>,
}

/// What is reached without a proxy.
#[derive(Debug, PartialEq, Eq)]
enum Near {
    All,
    Network(IpNet),
    /// A name or an address with nothing below it, and perhaps only one port.
    Host(String, Option<u16>),
    /// All names below a domain.
    Below(String, Option<u16>),
}

impl Proxies {
    /// Those of this process.
    pub fn of_this_process() -> &'static Self {
        static PROXIES: OnceLock<Proxies> = OnceLock::new();
        #[allow(clippy::disallowed_methods)] // where this is the convention of all programs
        PROXIES.get_or_init(|| Self::read(|name| std::env::var(name).ok()))
    }

    /// Reads variables.
    fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let said = |name: &str| {
            let capitals = name.to_ascii_uppercase();
            let found = [name, &capitals].into_iter().filter_map(&variable);
            found.map(|v| v.trim().to_owned()).find(|v| !v.is_empty())
        };
        let proxy = |name: &str| {
            let url = said(name).or_else(|| said("all_proxy"))?;
            let proxy = Proxy::new(&url);
            // Its URL can hold a password.
            proxy
                .inspect_err(|_| tracing::warn!("{name} is no URL of a proxy: it is not used"))
                .ok()
        };
        let without = said("no_proxy").unwrap_or_default();
        let without = without.split(',').map(str::trim).filter(|i| !i.is_empty());
        Self {
            http: proxy("http_proxy"),
            https: proxy("https_proxy"),
            without: without.flat_map(read_near).collect(),
        }
    }

    /// The proxy for a URL.
    pub fn of(&self, url: &HttpUrl) -> Option<Proxy> {
        let proxy = match url.secure {
            true => &self.https,
            false => &self.http,
        };
        match self.without.iter().any(|near| near.has(url)) {
            true => None,
            false => proxy.clone(),
        }
    }
}

/// An entry of `NO_PROXY`: a domain stands for itself and all below it, one with a leading dot or
/// star only for what is below it.
fn read_near(item: &str) -> Vec<Near> {
    let item = item.to_ascii_lowercase();
    if item == "*" {
        return vec![Near::All];
    }
    if let Ok(network) = item.parse::<IpNet>() {
        return vec![Near::Network(network)];
    }
    let bare = |text: &str| text.trim_matches(['[', ']']).to_owned();
    if bare(&item).parse::<IpAddr>().is_ok() {
        return vec![Near::Host(bare(&item), None)];
    }
    let (name, port) = match item.rsplit_once(':') {
        Some((name, port)) => match port.parse() {
            Ok(port) => (bare(name), Some(port)),
            Err(_) => return Vec::new(),
        },
        None => (item.clone(), None),
    };
    let below = name.strip_prefix("*.").or_else(|| name.strip_prefix('.'));
    match below {
        Some(below) => vec![Near::Below(below.to_owned(), port)],
        None if name.parse::<IpAddr>().is_ok() => vec![Near::Host(name, port)],
        None => vec![Near::Host(name.clone(), port), Near::Below(name, port)],
    }
}

impl Near {
    fn has(&self, url: &HttpUrl) -> bool {
        let host = url.host.trim_end_matches('.').to_ascii_lowercase();
        let address = host.parse::<IpAddr>().ok();
        let on = |port: &Option<u16>| port.is_none_or(|port| port == url.port);
        match self {
            Self::All => true,
            Self::Network(network) => address.is_some_and(|a| network.contains(&a)),
            Self::Host(name, port) => {
                let same = address.is_some() && address == name.parse().ok();
                on(port) && (*name == host || same)
            }
            Self::Below(domain, port) => {
                let rest = host.strip_suffix(domain.as_str());
                on(port) && address.is_none() && rest.is_some_and(|r| r.ends_with('.'))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::formats::http_url;

    fn proxies(none: &str) -> Proxies {
        Proxies::read(|name| match name {
            "HTTPS_PROXY" => Some("http://s.example:3128".to_owned()),
            "http_proxy" => Some("http://u:p@p.example:3128".to_owned()),
            "NO_PROXY" => Some(none.to_owned()),
            _ => None,
        })
    }

    #[test]
    fn each_scheme_has_its_proxy() {
        let proxies = proxies("");
        let host = |url: &str| {
            proxies
                .of(&http_url(url).unwrap())
                .unwrap()
                .host()
                .to_owned()
        };
        assert_eq!(host("http://a.example/x"), "p.example");
        assert_eq!(host("https://a.example/x"), "s.example");
        let all = Proxies::read(|name| (name == "all_proxy").then(|| "http://all:1".to_owned()));
        assert!(all.of(&http_url("https://a").unwrap()).is_some());
        let none = Proxies::read(|name| (name == "http_proxy").then(String::new));
        assert!(none.of(&http_url("http://a").unwrap()).is_none());
        let only = Proxies::read(|name| (name == "http_proxy").then(|| "http://p".to_owned()));
        assert!(only.of(&http_url("https://a").unwrap()).is_none());
    }

    #[test]
    fn what_is_near_goes_without() {
        for (none, url, without) in [
            ("10.0.0.0/8", "http://10.200.3.4:8080/x", true),
            ("10.0.0.0/8", "http://11.0.0.1/x", false),
            ("10.0.0.0/8", "http://ten.example/x", false),
            ("fd00::/8", "https://[fd12::1]/x", true),
            ("fd12::1", "https://[fd12:0::1]:5000/x", true),
            ("[fd12::1]:5000", "https://[fd12::1]:5000/x", true),
            ("[fd12::1]:5000", "https://[fd12::1]/x", false),
            ("127.0.0.1", "http://127.0.0.1:5000/", true),
            ("mirror.example:5000", "http://mirror.example:5000/", true),
            ("mirror.example:5000", "http://mirror.example/", false),
            ("example.org", "https://Mirror.Example.ORG./x", true),
            ("example.org", "https://example.org/x", true),
            ("example.org", "https://badexample.org/x", false),
            (".example.org", "https://a.example.org/x", true),
            ("*.example.org", "https://a.b.example.org/x", true),
            (".example.org", "https://example.org/x", false),
            ("localhost, .svc ,*", "https://any.example", true),
            ("a:b,,10.0.0.0/99", "https://any.example", false),
        ] {
            let found = proxies(none).of(&http_url(url).unwrap());
            assert_eq!(found.is_none(), without, "{none} and {url}");
        }
    }
}
