//! A kernel command line that anybody wrote: its words, settings and values.
#![no_main]

use harrow::config::cmdline::{Segment, Shape, gather, parse_set, parse_settings, show_path};
use harrow::sys::cmdline::Cmdline;

/// A schema that has everything, at paths that the seeds use.
fn shape(path: &[Segment]) -> Shape {
    match show_path(path).as_str() {
        "os.sysctls" | "os.labels" | "os.environment" => Shape::FreeMap,
        "os.modules" | "install.webhooks" => Shape::List,
        "install.management_interface.interfaces" => Shape::List,
        "install.management_interface.mtu" => Shape::Number,
        "install.automatic" => Shape::Bool,
        "" | "os" | "install" | "install.management_interface" => Shape::Map,
        "token" | "os.hostname" => Shape::Text,
        _ => Shape::Unknown,
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    harrow_fuzz::limited(data, || {
        let line = Cmdline::parse(text);
        let words = line.words().count();
        let (settings, malformed) = parse_settings(&line, &shape);
        assert!(settings.len() + malformed.len() <= words);
        assert!(
            settings
                .iter()
                .all(|s| !s.path.is_empty() && (1..=words).contains(&s.place.word))
        );
        assert!(malformed.iter().all(|m| !m.wrong.message.is_empty()));
        let gathered = gather(&settings, &shape);
        assert!(gathered.len() <= settings.len());
        assert!(gathered.iter().all(|g| !g.places.is_empty()));
        if let Ok(setting) = parse_set(text, 1, &shape) {
            assert!(!setting.path.is_empty());
        }
    });
});
