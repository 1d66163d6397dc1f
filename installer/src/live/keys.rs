//! The keys of people: `github:USER` in `os.ssh_authorized_keys`.
//!
//! In: answers. Out: the same with the keys themselves, as the node stores them. None is left out
//! without a word.

use super::Reach;
use crate::config::Answers;
use crate::config::formats::{KeySource, key_source, ssh_key};
use crate::failure::{Failure, Kind};
use crate::sys::net::Fetch;

/// Who has the keys of `github:USER`.
pub const GITHUB: &str = "https://github.com";

const FIELD: &str = "os.ssh_authorized_keys";

/// Replaces every `github:USER` by that person's keys. `tell` hears of each fetch, and of keys
/// that can't be used.
pub fn fetch_keys(
    answers: &mut Answers,
    reach: &Reach,
    tell: &dyn Fn(String),
) -> anyhow::Result<()> {
    let mut keys: Vec<String> = Vec::new();
    for text in std::mem::take(&mut answers.os.ssh_authorized_keys) {
        let more = match key_source(&text) {
            Ok(KeySource::GitHub(user)) => keys_of(&user, reach, tell)?,
            _ => vec![text],
        };
        for key in more {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
    }
    answers.os.ssh_authorized_keys = keys;
    Ok(())
}

/// Whose keys are still to be fetched.
pub fn people(answers: &Answers) -> Vec<String> {
    let keys = answers.os.ssh_authorized_keys.iter();
    keys.filter_map(|key| match key_source(key) {
        Ok(KeySource::GitHub(user)) => Some(user),
        _ => None,
    })
    .collect()
}

fn keys_of(user: &str, reach: &Reach, tell: &dyn Fn(String)) -> anyhow::Result<Vec<String>> {
    let missing = |why: String| {
        Failure::error(
            Kind::ConfigMissing,
            format!("{FIELD}: the keys of github:{user} can't be had: {why}"),
            "write the keys themselves into the config, or check the name and the network",
        )
    };
    tell(format!("fetching the keys of github:{user}"));
    let server = reach.key_server.trim_end_matches('/');
    let answer = Fetch::new(format!("{server}/{user}.keys"), reach.patience).run();
    let bytes = answer.map_err(|e| missing(format!("{e:#}")))?.bytes;
    let text = String::from_utf8_lossy(&bytes);
    let mut good = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match ssh_key(line) {
            Ok(()) => good.push(line.to_owned()),
            Err(wrong) => tell(format!(
                "warning: {FIELD}: a key of github:{user} can't be used: {}",
                wrong.message
            )),
        }
    }
    match good.is_empty() {
        true => Err(missing("there is none that can be used".into())),
        false => Ok(good),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::time::Duration;

    use super::*;
    use crate::test_server::{good, serve};

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBtU7Kq3Y0mZ4c4o8m1uO9bq1n4E2iZJp0m7nYkq7Z9v";

    fn people(server: &str, tell: &dyn Fn(String)) -> anyhow::Result<Vec<String>> {
        let reach = Reach {
            patience: Duration::ZERO,
            key_server: server.to_owned(),
            ..Reach::default()
        };
        let mut answers = Answers::default();
        answers.os.ssh_authorized_keys = vec!["ssh-own key".into(), "gh:some-body".into()];
        fetch_keys(&mut answers, &reach, tell)?;
        Ok(answers.os.ssh_authorized_keys)
    }

    #[test]
    fn people_become_their_keys() {
        let (server, request) = serve(vec![good(format!("{KEY}\n\nssh-dss AAAA\n{KEY}\n"))]);
        let told = RefCell::new(Vec::new());
        let keys = people(&format!("{server}/"), &|line| told.borrow_mut().push(line));
        assert_eq!(keys.unwrap(), ["ssh-own key", KEY]);
        assert!(request.recv().unwrap().starts_with("GET /some-body.keys "));
        let told = told.into_inner();
        assert!(
            told[1].starts_with("warning") && told.len() == 2,
            "{told:?}"
        );
    }

    #[test]
    fn no_keys_are_an_error() {
        let (empty, _) = serve(vec![good("")]);
        let (page, _) = serve(vec![good("<html>log in</html>")]);
        for server in [empty.as_str(), &page, "http://127.0.0.1:1"] {
            let error = people(server, &|_| {}).unwrap_err();
            assert!(error.to_string().contains("github:some-body"), "{error}");
            let failure = Failure::of(&error).unwrap();
            assert_eq!(failure.kind, Kind::ConfigMissing);
            assert!(failure.hint.contains("keys themselves"));
        }
    }
}
