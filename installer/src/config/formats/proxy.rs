//! Proxies, and what is reached without one.

use ipnet::IpNet;

use super::{HttpUrl, Wrong, host, http_url, masked_url, quoted, wrong};

/// `http-proxy` and the like: `http://[USER:PASSWORD@]HOST:PORT`.
pub fn proxy_url(text: &str) -> Result<HttpUrl, Wrong> {
    let url = http_url(text)?;
    if url.path != "/" {
        return wrong(
            format!("{} has a path", quoted(&masked_url(text))),
            "a proxy is a host and a port, such as http://10.0.0.3:3128",
        );
    }
    Ok(url)
}

/// `noProxy`: hosts, domains, addresses and networks, separated by commas.
pub fn no_proxy(text: &str) -> Result<(), Wrong> {
    let good = |item: &str| {
        let name = item
            .strip_prefix("*.")
            .or_else(|| item.strip_prefix('.'))
            .unwrap_or(item);
        let port = |p: &str| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit());
        let name = match name.rsplit_once(':') {
            Some((host, number)) if port(number) && !host.contains(':') => host,
            _ => name,
        };
        item == "*" || host(name).is_ok() || item.parse::<IpNet>().is_ok()
    };
    match text
        .split(',')
        .map(str::trim)
        .find(|item| !item.is_empty() && !good(item))
    {
        None => Ok(()),
        Some(item) => wrong(
            format!("{} is neither host nor domain nor network", quoted(item)),
            "such as localhost,.example.org,10.0.0.0/8",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies() {
        assert!(proxy_url("http://u:p@proxy:3128").is_ok());
        assert!(proxy_url("http://proxy:3128/x").is_err());
        for good in [
            "",
            "localhost,127.0.0.1",
            ".svc,*.a.b, 10.0.0.0/8",
            "*",
            "a.b:80,::1",
        ] {
            assert!(no_proxy(good).is_ok(), "{good}");
        }
        for bad in ["a b", "http://x", "10.0.0.0/99"] {
            assert!(no_proxy(bad).is_err(), "{bad}");
        }
    }
}
