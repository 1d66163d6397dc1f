//! Large texts that cost as much as they can: what a hostile source may send.

// Not each test needs all of it.
#![allow(dead_code)]

/// Keys that no config has.
pub fn many_keys() -> String {
    (0..15_000).map(|i| format!("k{i}: 1\n")).collect()
}

/// Texts of which none is a config; all but the smallest have between 128 KiB and 1 MiB.
pub fn texts() -> Vec<String> {
    let many_items: String = (0..15_000).map(|i| format!("    '..{i}': 1\n")).collect();
    vec![
        many_keys(),
        format!("os:\n  sysctls:\n{many_items}"),
        format!("os:\n  labels:\n{many_items}"),
        format!("os:\n  environment:\n{many_items}"),
        format!(
            "cluster:\n  ip_pools:\n    a: [{}]",
            "10.0.0.0/8, ".repeat(15_000)
        ),
        format!("os:\n  ntp_servers: {:?}", "a_, ".repeat(200_000)),
        "[".repeat(1 << 20),
        "{a: ".repeat(200_000),
        "- ".repeat(500_000),
        "? ".repeat(500_000),
        "&a ".repeat(300_000),
        "a: &a [*a, *a]\n".repeat(60_000),
        format!("a: \"{}\"", "\\u0041".repeat(150_000)),
        format!("{}: 1", "k".repeat(1_000_000)),
        "#".repeat(1 << 20),
        "a: |\n".to_owned() + &" x\n".repeat(300_000),
    ]
}

/// Texts of which every item gets past the schema.
pub fn texts_of_the_schema() -> Vec<String> {
    let keys = |head: &str| -> String {
        let key = |i: usize| format!("    nonsense-of-a-name-{i}: '1'\n");
        head.to_owned() + &(0..9000).map(key).collect::<String>()
    };
    let disk = |i: usize| format!("/dev/disk/by-id/a-long-name-of-a-disk-{i}, ");
    let disks: String = (0..18_000).map(disk).collect();
    vec![
        keys("system_settings:\n"),
        keys("install:\n  management_interface:\n   bond_options:\n"),
        format!("install:\n  wipe_disks_list: [{disks}]\n"),
    ]
}
