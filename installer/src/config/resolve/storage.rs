//! `os.external_storage_config`: which disks multipath takes.
//!
//! In: answers. Out: [`Multipath`], or nothing when it is off.

use super::super::answers::{ExternalStorage, StorageDevice};
use super::super::formats;
use super::super::resolved::{Multipath, StorageKinds};
use super::Values;

/// What is wrong with it is said also when it is off.
pub(super) fn multipath(answers: &ExternalStorage, values: &mut Values) -> Option<Multipath> {
    let lists = &answers.multi_path_config;
    let blacklist = kinds(
        "blacklist",
        &lists.blacklist,
        ("blacklist_wwids", &lists.blacklist_wwids),
        values,
    );
    let exceptions = kinds(
        "blacklist_exceptions",
        &lists.blacklist_exceptions,
        (
            "blacklist_exception_wwids",
            &lists.blacklist_exception_wwids,
        ),
        values,
    );
    (answers.enabled == Some(true)).then_some(Multipath {
        blacklist,
        exceptions,
    })
}

fn kinds(
    key: &str,
    devices: &[StorageDevice],
    (wwids_key, wwids): (&str, &[String]),
    values: &mut Values,
) -> StorageKinds {
    const FIELD: &str = "os.external_storage_config.multi_path_config";
    let mut kinds = StorageKinds::default();
    for (i, device) in devices.iter().enumerate() {
        let mut pattern = |what: &str, text: &str| {
            let field = format!("{FIELD}.{key}[{i}].{what}");
            let pattern = (!text.is_empty()).then(|| formats::multipath_pattern(text))?;
            values.check(&field, pattern)
        };
        let pair = (
            pattern("vendor", &device.vendor),
            pattern("product", &device.product),
        );
        // That neither is given is said by the rules between keys.
        if pair != (None, None) {
            kinds.devices.push(pair);
        }
    }
    for (i, wwid) in wwids.iter().enumerate() {
        let field = format!("{FIELD}.{wwids_key}[{i}]");
        let pattern = formats::multipath_pattern(wwid);
        kinds.wwids.extend(values.check(&field, pattern));
    }
    kinds
}
