//! Two config files that anybody wrote, a byte 0 between them: as two sources of one node, as two
//! nodes of one cluster, and converted.
#![no_main]

use harrow::config::{
    Source, SourceKind, check_fleet, check_sources, convert, render_merged, render_text,
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let end = data.iter().position(|b| *b == 0).unwrap_or(data.len());
    let (first, second) = (&data[..end], data.get(end + 1..).unwrap_or_default());
    // What is packed grows; the target `user_data` measures that.
    if [first, second].iter().any(|text| harrow_fuzz::is_packed(text)) {
        return;
    }
    let weak = Source::yaml(SourceKind::Oem, "weak", first);
    let strong = Source::yaml(SourceKind::File, "strong", second);
    harrow_fuzz::limited(data, || {
        let merged = check_sources(&[strong.clone(), weak.clone()]);
        assert_eq!(merged.config.is_none(), merged.problems.has_errors());
        assert!(merged.readable || merged.config.is_none());
        let shown = (render_text(&merged), render_merged(&merged));
        assert!(merged.tree.entries().is_empty() || !shown.1.is_empty());
    });
    harrow_fuzz::limited(data, || {
        let nodes = [check_sources(&[weak]), check_sources(&[strong])];
        for problem in check_fleet(&nodes).0 {
            assert!(!problem.message.is_empty() && problem.at.is_some());
        }
    });
    harrow_fuzz::limited(data, || {
        if let Ok((text, _)) = convert(first, "first", [7; 12]) {
            let again = convert(text.as_bytes(), "again", [7; 12]);
            assert_eq!(again.ok().map(|(text, _)| text), Some(text));
        }
    });
});
