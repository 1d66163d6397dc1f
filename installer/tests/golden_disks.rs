//! Golden folders of machines: each `tests/golden/disks/<case>` has the facts of a machine and the
//! choices that are made on it. What `harrow disks` prints, and which disk each choice means, are in
//! `expected.txt`; `make bless` rewrites it.

#![allow(clippy::unwrap_used)] // helpers of tests may panic

#[path = "common/golden.rs"]
mod golden;

use std::fs;

use golden::{cases, check};
use harrow::config::{DeviceChoice, Sizes};
use harrow::disk::choose::choose;
use harrow::disk::identity::{Identity, find_again};
use harrow::disk::layout::{DataPlace, least_disk};
use harrow::facts::{DiskFacts, Facts, show::render_table};

#[test]
fn machines_are_shown_and_chosen_from() {
    for case in &cases("disks", 6) {
        let text = fs::read_to_string(case.join("facts.json")).unwrap();
        let facts: Facts = serde_json::from_str(&text).unwrap();
        let again = serde_json::to_string(&facts).unwrap();
        assert_eq!(serde_json::from_str::<Facts>(&again).unwrap(), facts);
        let choices = fs::read_to_string(case.join("choices.json")).unwrap();
        let choices: Vec<serde_json::Value> = serde_json::from_str(&choices).unwrap();
        let table = render_table(&facts.disks);
        assert!(table.lines().all(|l| l.chars().count() <= 80), "{table}");
        let mut actual = table;
        for choice in choices {
            actual += &format!("\n{choice}\n");
            let choice = serde_json::from_value(choice).unwrap();
            actual += &outcome(&choice, &facts.disks);
        }
        check(&case.join("expected.txt"), &actual);
    }
}

fn outcome(choice: &DeviceChoice, disks: &[DiskFacts]) -> String {
    let least = least_disk(Sizes { var: 150 << 30 }, DataPlace::Here);
    match choose(choice, disks, least) {
        Ok(disk) => {
            let again = match find_again(&Identity::of(disk), disks) {
                Ok(found) => {
                    assert_eq!(found, disk);
                    "known again"
                }
                Err(_) => "can't be told from another disk",
            };
            format!("  -> {} ({again})\n", disk.path.display())
        }
        Err(refusal) => format!("  -> refused: {refusal}\n     hint: {}\n", refusal.hint()),
    }
}
