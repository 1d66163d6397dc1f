//! A person's values for a chart over ours.
//!
//! In: two maps. Out: one, as Helm itself merges value files: maps key by key, all else whole,
//! and a null takes ours away.

use serde_json::{Map, Value as Json};

/// Lays `over` over `values`.
pub(super) fn merge(values: &mut Map<String, Json>, over: &Map<String, Json>) {
    for (key, theirs) in over {
        match (values.get_mut(key), theirs) {
            (Some(Json::Object(ours)), Json::Object(theirs)) => merge(ours, theirs),
            (_, Json::Null) => {
                // The chart has a value of its own, which only a null takes away.
                values.insert(key.clone(), Json::Null);
            }
            _ => {
                values.insert(key.clone(), theirs.clone());
            }
        }
    }
}

/// The map that a literal of JSON is.
pub(super) fn map(json: Json) -> Map<String, Json> {
    match json {
        Json::Object(map) => map,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn maps_merge_and_all_else_is_replaced() {
        for (ours, theirs, both) in [
            (json!({"a": 1}), json!({}), json!({"a": 1})),
            (
                json!({"a": {"b": 1, "c": [1, 2]}}),
                json!({"a": {"c": [3], "d": {"e": 4}}}),
                json!({"a": {"b": 1, "c": [3], "d": {"e": 4}}}),
            ),
            (json!({"a": {"b": 1}}), json!({"a": 5}), json!({"a": 5})),
            (
                json!({"a": 5}),
                json!({"a": {"b": 1}}),
                json!({"a": {"b": 1}}),
            ),
            (
                json!({"a": {"b": 1}}),
                json!({"a": null}),
                json!({"a": null}),
            ),
        ] {
            let mut merged = map(ours);
            merge(&mut merged, &map(theirs));
            assert_eq!(Json::Object(merged), both);
        }
    }
}
