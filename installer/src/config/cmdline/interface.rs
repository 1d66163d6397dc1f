//! The short form of a NIC: `hwAddr:MAC,name:ens3`, `hwAddr:MAC`, `name:ens3`, a MAC, a name.

use serde_json::{Map, Value};

use crate::config::formats;

/// An item of `install.management_interface.interfaces` from its short form, as a map with
/// `name` and `hwAddr`. Nothing is refused here: the map says what was said, and the rules on
/// names and MACs judge it.
pub fn interface(text: &str) -> Value {
    let mut map = Map::new();
    let mut put = |key: &str, value: &str| {
        map.insert(key.to_owned(), Value::String(value.trim().to_owned()));
    };
    for part in text.split(',').map(str::trim) {
        match part.split_once(':') {
            Some(("hwAddr" | "hw_addr" | "hwaddr", mac)) => put("hwAddr", mac),
            Some(("name", name)) => put("name", name),
            _ if formats::mac(part).is_ok() => put("hwAddr", part),
            // What looks like a MAC but is none is judged as one: its message fits better.
            Some(_) if part.matches(':').count() > 1 => put("hwAddr", part),
            _ => put("name", part),
        }
    }
    Value::Object(map)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_forms() {
        let mac = "52:54:00:12:34:56";
        for (text, map) in [
            (
                "hwAddr:52:54:00:12:34:56,name:ens3",
                json!({"hwAddr": mac, "name": "ens3"}),
            ),
            (
                "name:ens3, hwAddr:52:54:00:12:34:56",
                json!({"hwAddr": mac, "name": "ens3"}),
            ),
            ("hwAddr:52:54:00:12:34:56", json!({"hwAddr": mac})),
            ("hw_addr:52:54:00:12:34:56", json!({"hwAddr": mac})),
            ("52:54:00:12:34:56", json!({"hwAddr": mac})),
            ("52-54-00-12-34-56", json!({"hwAddr": "52-54-00-12-34-56"})),
            ("name:ens3", json!({"name": "ens3"})),
            ("ens3", json!({"name": "ens3"})),
            ("52:54:00:12:34", json!({"hwAddr": "52:54:00:12:34"})),
            ("mac:x", json!({"name": "mac:x"})),
            ("", json!({"name": ""})),
        ] {
            assert_eq!(interface(text), map, "{text}");
        }
    }
}
