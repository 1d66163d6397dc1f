//! What a config names and somebody else has: the config at a URL, and the keys of people.
//!
//! In: sources or answers. Out: the same with what was fetched. The network may still be coming
//! up, so everything is tried for a while.

use std::path::Path;
use std::time::Duration;

use super::{MEDIUM, read_some};
use crate::config::formats::{KeySource, key_source, masked_url, ssh_key};
use crate::config::{Answers, Severity, Source, SourceKind, check_sources};
use crate::failure::{Failure, Kind};
use crate::sys::net::Fetch;

/// The key that names a config.
const URL_KEY: &str = "install.config_url";
/// Where people's keys are.
pub const GITHUB: &str = "https://github.com";
/// The network may still be coming up.
const NETWORK_PATIENCE: Duration = Duration::from_secs(180);

/// Adds the config that the sources name in `install.config_url`, unless it is there. `tell` hears
/// what takes time.
pub fn follow_config_url(sources: &mut Vec<Source>, tell: impl Fn(String)) -> anyhow::Result<()> {
    if sources.iter().any(|s| s.kind == SourceKind::ConfigUrl) {
        return Ok(());
    }
    let checked = check_sources(sources);
    let request = ["config_url", "config_headers", "config_ca"];
    let request = request.map(|key| format!("install.{key}"));
    // What is wrong with the request is said with all other problems.
    let faulty = checked.problems.0.iter().any(|p| {
        p.code.severity() == Severity::Error && request.iter().any(|key| p.field.starts_with(key))
    });
    let install = checked.answers.install;
    let url = install.config_url.filter(|u| !u.is_empty() && !faulty);
    let Some(url) = url else {
        return Ok(());
    };
    let shown = masked_url(&url);
    tell(format!("fetching the config from {shown}"));
    let bytes = if url.contains("://") {
        let mut fetch = Fetch::new(url, NETWORK_PATIENCE);
        fetch.headers = install.config_headers.into_iter().collect();
        fetch.ca = install.config_ca.filter(|ca| !ca.trim().is_empty());
        fetch.run_for_config()
    } else {
        let path = Path::new(MEDIUM).join(url.trim_start_matches('/'));
        read_some(&path).map_err(|e| anyhow::Error::new(e).context(path.display().to_string()))
    };
    let bytes = bytes.map_err(|e| {
        if Failure::of(&e).is_some() {
            return e.context(URL_KEY);
        }
        Failure::error(
            Kind::ConfigMissing,
            format!("{URL_KEY}={shown}: {e:#}"),
            "check the URL and the network, or put harrow.yaml onto the medium's EFI partition",
        )
    })?;
    sources.push(Source::yaml(SourceKind::ConfigUrl, &shown, bytes));
    Ok(())
}

/// Replaces every `github:USER` by that person's keys, fetched from `base`.
pub fn fetch_keys(answers: &mut Answers, base: &str) -> anyhow::Result<()> {
    fetch_keys_within(answers, base, NETWORK_PATIENCE)
}

fn fetch_keys_within(answers: &mut Answers, base: &str, patience: Duration) -> anyhow::Result<()> {
    let mut keys = Vec::new();
    for text in std::mem::take(&mut answers.os.ssh_authorized_keys) {
        match key_source(&text) {
            Ok(KeySource::GitHub(user)) => keys.extend(keys_of(&user, base, patience)?),
            _ => keys.push(text),
        }
    }
    answers.os.ssh_authorized_keys = keys;
    Ok(())
}

fn keys_of(user: &str, base: &str, patience: Duration) -> anyhow::Result<Vec<String>> {
    let field = "os.ssh_authorized_keys";
    let missing = |why: String| {
        Failure::error(
            Kind::ConfigMissing,
            format!("{field}: the keys of github:{user} can't be used: {why}"),
            "write the keys themselves into the config, or check the name and the network",
        )
    };
    let answer = Fetch::new(format!("{base}/{user}.keys"), patience).run();
    let bytes = answer.map_err(|e| missing(format!("{e:#}")))?.bytes;
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let (good, bad): (Vec<&str>, Vec<&str>) = lines.partition(|line| ssh_key(line).is_ok());
    for line in &bad {
        if let Err(wrong) = ssh_key(line) {
            tracing::warn!(
                "{field}: a key of github:{user} is left out: {}",
                wrong.message
            );
        }
    }
    match good.is_empty() {
        true => Err(missing(format!("none of {} is a key", bad.len()))),
        false => Ok(good.into_iter().map(str::to_owned).collect()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBtU7Kq3Y0mZ4c4o8m1uO9bq1n4E2iZJp0m7nYkq7Z9v";

    /// Answers one request with this body; gives the URL and, at the end, the request.
    fn serve(body: &str) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let size = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&request[..size]).into_owned()
        });
        (format!("http://{address}"), server)
    }

    fn file(text: &str) -> Source {
        Source::yaml(SourceKind::File, "f", text)
    }

    #[test]
    fn a_config_url_is_followed_once_and_only_when_it_is_right() {
        let mut sources = vec![file("install: {mode: install}")];
        follow_config_url(&mut sources, |_| {}).unwrap();
        assert_eq!(sources.len(), 1);
        let mut sources = vec![file("install: {config_url: \"tftp://a/b\"}")];
        follow_config_url(&mut sources, |_| {}).unwrap();
        assert_eq!(sources.len(), 1);
        // A path is one on the medium, which is not here.
        let mut sources = vec![file("install: {config_url: no/such/file.yaml}")];
        let error = follow_config_url(&mut sources, |_| {}).unwrap_err();
        assert_eq!(Failure::of(&error).unwrap().kind, Kind::ConfigMissing);
        sources.push(Source::yaml(SourceKind::ConfigUrl, "u", ""));
        follow_config_url(&mut sources, |_| {}).unwrap();
    }

    #[test]
    fn a_config_comes_with_the_headers_that_it_wants() {
        let (base, server) = serve("os: {hostname: far}");
        let text =
            format!("install: {{config_url: {base}/x, config_headers: {{X-Token: hunter2}}}}");
        let mut sources = vec![file(&text)];
        let told = std::cell::RefCell::new(String::new());
        follow_config_url(&mut sources, |line| *told.borrow_mut() += &line).unwrap();
        assert!(
            server
                .join()
                .unwrap()
                .to_lowercase()
                .contains("x-token: hunter2")
        );
        assert!(!told.borrow().contains("hunter2"));
        let checked = check_sources(&sources);
        assert_eq!(checked.answers.os.hostname.as_deref(), Some("far"));
    }

    #[test]
    fn a_page_is_no_config() {
        let (base, _server) = serve("<html>log in</html>");
        let mut sources = vec![file(&format!("install: {{config_url: {base}/x}}"))];
        let error = follow_config_url(&mut sources, |_| {}).unwrap_err();
        assert!(format!("{error:#}").contains("HTML"), "{error:#}");
        assert_eq!(Failure::of(&error).unwrap().kind, Kind::ConfigInvalid);
    }

    #[test]
    fn people_become_their_keys_or_an_error() {
        let people = |base: &str| {
            let mut answers = Answers::default();
            answers.os.ssh_authorized_keys = vec!["ssh-own key".into(), "gh:some-body".into()];
            fetch_keys_within(&mut answers, base, Duration::ZERO)
                .map(|()| answers.os.ssh_authorized_keys)
        };
        let (base, server) = serve(&format!("{KEY}\n\nssh-dss AAAA\n"));
        assert_eq!(people(&base).unwrap(), ["ssh-own key", KEY]);
        assert!(server.join().unwrap().starts_with("GET /some-body.keys "));
        let (base, _server) = serve("");
        for base in [base.as_str(), "http://127.0.0.1:1"] {
            let error = people(base).unwrap_err();
            assert!(error.to_string().contains("github:some-body"), "{error}");
        }
    }
}
