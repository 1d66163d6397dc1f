//! The config that another config names in `install.config_url`.
//!
//! In: sources. Out: the same, and the one at the URL or on the medium. The network may still be
//! coming up, so it is tried for a while.

use std::path::Path;

use anyhow::Context as _;

use super::{Reach, read_some};
use crate::config::formats::{masked_url, medium_path};
use crate::config::{Severity, Source, SourceKind, check_sources};
use crate::failure::{Failure, Kind};
use crate::sys::net::Fetch;

/// The key that names a config.
const URL_KEY: &str = "install.config_url";

/// Adds the config that the sources name in `install.config_url`, whichever of them does, unless
/// it is there. What it names itself is not followed. `tell` hears what takes time.
pub fn follow_config_url(
    sources: &mut Vec<Source>,
    reach: &Reach,
    tell: &dyn Fn(String),
) -> anyhow::Result<()> {
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
        let mut fetch = Fetch::new(&*url, reach.patience);
        fetch.headers = install.config_headers.into_iter().collect();
        fetch.ca = install.config_ca.filter(|ca| !ca.trim().is_empty());
        fetch.run_for_config()
    } else {
        read_medium(&reach.medium, &url)
    };
    let hint = "check the URL and the network, or give a whole config with --config FILE --alone";
    let bytes = bytes.map_err(|e| failure(URL_KEY, &e, hint))?;
    let source = Source::yaml(SourceKind::ConfigUrl, &shown, bytes);
    let further = check_sources(std::slice::from_ref(&source));
    let further = further.answers.install.config_url;
    if further.is_some_and(|there| there != url) {
        tell(format!(
            "warning: {shown} names another config in {URL_KEY}, which is not followed"
        ));
    }
    sources.push(source);
    Ok(())
}

/// A file of the medium, and not of anything that is around it.
fn read_medium(medium: &Path, path: &str) -> anyhow::Result<Vec<u8>> {
    let path = medium_path(path).map_err(|w| anyhow::anyhow!("{} ({})", w.message, w.hint))?;
    let path = medium.join(path);
    read_some(&path).with_context(|| path.display().to_string())
}

/// A fetch that failed, with the key that wanted it. What is wrong with the input stays that.
pub(super) fn failure(key: &str, error: &anyhow::Error, hint: &str) -> anyhow::Error {
    let (kind, hint) = match Failure::of(error) {
        Some(known) => (known.kind, known.hint.clone()),
        None => (Kind::ConfigMissing, hint.to_owned()),
    };
    Failure::error(kind, format!("{key}: {error:#}"), hint)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::test_server::{good, serve};

    fn follow(sources: &mut Vec<Source>, tell: &dyn Fn(String)) -> anyhow::Result<()> {
        let reach = Reach {
            medium: "/no/such".into(),
            patience: Duration::ZERO,
            ..Reach::default()
        };
        follow_config_url(sources, &reach, tell)
    }

    fn file(text: &str) -> Source {
        Source::yaml(SourceKind::File, "f", text)
    }

    #[test]
    fn a_config_url_is_followed_once_and_only_when_it_is_right() {
        let mut sources = vec![file("install: {mode: install}")];
        follow(&mut sources, &|_| {}).unwrap();
        assert_eq!(sources.len(), 1);
        let mut sources = vec![file("install: {config_url: \"tftp://a/b\"}")];
        follow(&mut sources, &|_| {}).unwrap();
        assert_eq!(sources.len(), 1);
        // A path is one on the medium, which is not here.
        let mut sources = vec![file("install: {config_url: /no/such/file.yaml}")];
        let error = follow(&mut sources, &|_| {}).unwrap_err();
        assert_eq!(Failure::of(&error).unwrap().kind, Kind::ConfigMissing);
        sources.push(Source::yaml(SourceKind::ConfigUrl, "u", ""));
        follow(&mut sources, &|_| {}).unwrap();
    }

    #[test]
    fn a_config_comes_with_the_headers_that_it_wants() {
        let (base, server) = serve(vec![good("os: {hostname: far}")]);
        let text =
            format!("install: {{config_url: {base}/x, config_headers: {{X-Token: hunter2}}}}");
        let mut sources = vec![file(&text)];
        let told = std::cell::RefCell::new(String::new());
        follow(&mut sources, &|line| *told.borrow_mut() += &line).unwrap();
        assert!(
            server
                .recv()
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
        let (base, _server) = serve(vec![good("<html>log in</html>")]);
        let mut sources = vec![file(&format!("install: {{config_url: {base}/x}}"))];
        let error = follow(&mut sources, &|_| {}).unwrap_err();
        assert!(format!("{error:#}").contains("HTML"), "{error:#}");
        assert_eq!(Failure::of(&error).unwrap().kind, Kind::ConfigInvalid);
    }

    #[test]
    fn only_the_first_config_is_followed_further() {
        let (base, _server) = serve(vec![good(
            "install: {config_url: \"http://127.0.0.1:1/z\"}",
        )]);
        let mut sources = vec![file(&format!("install: {{config_url: {base}/x}}"))];
        let told = std::cell::RefCell::new(String::new());
        follow(&mut sources, &|line| *told.borrow_mut() += &line).unwrap();
        assert_eq!(sources.len(), 2);
        assert!(told.borrow().contains("not followed"), "{}", told.borrow());
    }
}
