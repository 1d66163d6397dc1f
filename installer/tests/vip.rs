//! A virtual IP that somebody has: two network namespaces joined by a cable, and the real `arping`.

#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests may panic

use harrow::config::{Source, SourceKind, read_sources};
use harrow::live::check_vip;
use harrow::sys::cmd::Cmd;

/// The name under which this program is run inside a namespace.
const INSIDE: &str = "asked_inside_a_namespace";
/// What the other end of the cable has.
const TAKEN: &str = "10.77.0.9";

fn asked(vip: &str) -> Result<Option<String>, String> {
    let text = format!(
        "token: hunter2hunter2\nos: {{password: hunter2hunter2}}\n\
         install: {{mode: create, vip: {vip}, vip_mode: static}}\n"
    );
    let source = Source::yaml(SourceKind::File, "c.yaml", text.into_bytes());
    let config = read_sources(&[source], [0; 12]).config.unwrap();
    check_vip(&config).map_err(|error| format!("{error:#}"))
}

/// Does nothing but print what [`check_vip`] says, for [`somebody_has_it`].
#[test]
#[ignore = "run by somebody_has_it, in a namespace"]
fn asked_inside_a_namespace() {
    for vip in [TAKEN, "10.77.0.10", "10.78.0.1"] {
        println!("{vip}: {:?}", asked(vip));
    }
}

/// A namespace that goes with its guard.
struct Namespace(String);

impl Namespace {
    fn create(name: &str) -> Self {
        let name = format!("{name}-{}", std::process::id());
        ip(&["netns", "add", &name]);
        Self(name)
    }

    fn ip(&self, words: &[&str]) {
        ip(&[&["-n", &self.0], words].concat());
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let gone = Cmd::new("ip").args(["netns", "del", &self.0]).run_any();
        assert!(gone.is_ok() || std::thread::panicking());
    }
}

fn ip(words: &[&str]) {
    Cmd::new("ip").args(words).run().unwrap();
}

#[test]
fn somebody_has_it() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not run: only root makes network namespaces");
        return;
    }
    let (here, there) = (Namespace::create("hv-a"), Namespace::create("hv-b"));
    here.ip(&[
        "link", "add", "v", "type", "veth", "peer", "v", "netns", &there.0,
    ]);
    for (end, address) in [(&here, "10.77.0.1/24"), (&there, "10.77.0.9/24")] {
        end.ip(&["address", "add", address, "dev", "v"]);
        end.ip(&["link", "set", "v", "up"]);
    }
    there.ip(&["link", "set", "v", "address", "02:00:00:00:00:09"]);
    let said = Cmd::new("ip")
        .args(["netns", "exec", &here.0])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", INSIDE])
        .run()
        .unwrap()
        .text();
    let of = |vip: &str| {
        let begin = format!("{vip}: ");
        let line = said.lines().find_map(|line| line.split_once(&begin));
        line.unwrap_or_else(|| panic!("{said}")).1.to_owned()
    };
    let taken = of(TAKEN);
    assert!(taken.starts_with("Err("), "{taken}");
    assert!(
        taken.contains("02:00:00:00:00:09 answers for it on v"),
        "{taken}"
    );
    assert_eq!(of("10.77.0.10"), "Ok(None)");
    assert!(
        of("10.78.0.1").contains("no link of this machine"),
        "{said}"
    );
}
