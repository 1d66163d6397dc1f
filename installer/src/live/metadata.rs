//! Cloud metadata that the kernel's command line names, in NoCloud's words.
//!
//! In: `ds=nocloud;s=URL` (or `ds=nocloud-net;…`, `seedfrom=URL`). Out: the user-data below that
//! URL as a source. Nothing is asked of the firmware (SMBIOS). Source: cloud-init's datasource
//! NoCloud and its `util.read_seeded`.

use super::seeds::says_something;
use super::{Reach, fetch};
use crate::config::formats::{http_url, masked_url};
use crate::config::{Source, SourceKind};
use crate::failure::{Failure, Kind};
use crate::sys::cmdline::Cmdline;
use crate::sys::net::Fetch;

/// What `ds=` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Datasource {
    /// A seed disk, which must be there.
    Disk,
    /// What stands at a URL or another place.
    Seed(String),
}

/// Reads `ds=`; `None` without it, or when it is for others.
pub(super) fn parse_datasource(line: &Cmdline) -> Option<Datasource> {
    let mut parts = line.get("ds")?.split(';').map(str::trim);
    let name = parts.next()?.to_ascii_lowercase();
    match name.as_str() {
        "configdrive" => Some(Datasource::Disk),
        "nocloud" | "nocloud-net" => {
            let pairs = parts.filter_map(|part| part.split_once('='));
            let mut seeds = pairs.filter(|(key, _)| matches!(*key, "s" | "seedfrom"));
            let seed = seeds.next().map(|(_, value)| value.to_owned());
            Some(seed.map_or(Datasource::Disk, Datasource::Seed))
        }
        _ => None,
    }
}

/// Fetches the user-data that the command line names; `None` when it names none, or when it is
/// empty.
pub fn find_metadata(
    line: &Cmdline,
    reach: &Reach,
    tell: &dyn Fn(String),
) -> anyhow::Result<Option<Source>> {
    let Some(Datasource::Seed(place)) = parse_datasource(line) else {
        return Ok(None);
    };
    let url = user_data_url(&place)?;
    let shown = masked_url(&url);
    tell(format!("fetching the user-data from {shown}"));
    let fetched = Fetch::new(url, reach.patience).run_for_config();
    let bytes = fetched.map_err(|e| {
        let hint = "check the URL and the network, or take ds= off the kernel's command line";
        fetch::failure("ds= on the kernel's command line", &e, hint)
    })?;
    if !says_something(&bytes) {
        tell(format!("{shown} is empty"));
        return Ok(None);
    }
    Ok(Some(Source::yaml(SourceKind::Metadata, &shown, bytes)))
}

/// The URL of the user-data for a seed's place.
fn user_data_url(place: &str) -> anyhow::Result<String> {
    let refuse = |message: String| {
        let hint = "ds=nocloud;s=URL with a URL of http or https, in quotes for the boot loader";
        Err(Failure::error(Kind::ConfigInvalid, message, hint))
    };
    if place.contains("__dmi.") {
        return refuse("ds=: a URL with values of the firmware in it is not supported".into());
    }
    if let Err(wrong) = http_url(place) {
        return refuse(format!("ds=: {}", wrong.message));
    }
    Ok(match place {
        _ if place.contains("%s") => place.replace("%s", "user-data"),
        _ if place.contains('?') || place.ends_with('/') => format!("{place}user-data"),
        _ => format!("{place}/user-data"),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::test_server::{good, serve};

    #[test]
    fn words_of_no_cloud() {
        let seed = |url: &str| Some(Datasource::Seed(url.into()));
        for (text, expected) in [
            ("ds=nocloud;s=http://a/b/", seed("http://a/b/")),
            ("ds=nocloud-net;i=x;seedfrom=http://a", seed("http://a")),
            ("\"ds=NoCloud; s=http://a; h=b\"", seed("http://a")),
            ("ds=nocloud", Some(Datasource::Disk)),
            ("ds=nocloud;h=name", Some(Datasource::Disk)),
            ("ds=ConfigDrive", Some(Datasource::Disk)),
            ("ds=ec2", None),
            ("ds", None),
            ("quiet", None),
        ] {
            assert_eq!(parse_datasource(&Cmdline::parse(text)), expected, "{text}");
        }
    }

    #[test]
    fn the_user_data_lies_below_the_place() {
        for (place, url) in [
            ("http://a", "http://a/user-data"),
            ("http://a/b/", "http://a/b/user-data"),
            ("http://a/?f=", "http://a/?f=user-data"),
            ("https://a/%s.yaml", "https://a/user-data.yaml"),
        ] {
            assert_eq!(user_data_url(place).unwrap(), url);
        }
        for (place, why) in [
            ("/var/seed", "not a URL"),
            ("file:///x", "a file"),
            ("tftp://a/", "TFTP"),
            ("http://a/__dmi.system-uuid__/", "firmware"),
        ] {
            let error = user_data_url(place).unwrap_err();
            assert!(error.to_string().contains(why), "{place}: {error}");
        }
    }

    #[test]
    fn what_is_named_must_be_there() {
        let reach = Reach {
            patience: Duration::ZERO,
            ..Reach::default()
        };
        let find = |url: &str| {
            let line = Cmdline::parse(&format!("ds=nocloud;s={url}"));
            find_metadata(&line, &reach, &|_| {})
        };
        let error = find("http://127.0.0.1:1/").unwrap_err();
        assert_eq!(Failure::of(&error).unwrap().kind, Kind::ConfigMissing);
        let (url, _) = serve(vec![good("#cloud-config\n")]);
        assert_eq!(find(&url).unwrap(), None);
        let (url, _) = serve(vec![good("token: x\n")]);
        let source = find(&url).unwrap().unwrap();
        assert_eq!(source.kind, SourceKind::Metadata);
        assert_eq!(&*source.name, format!("{url}/user-data"));
    }
}
