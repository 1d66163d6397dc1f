//! Which disk a config means, and whether it may be that one.
//!
//! In: a [`DeviceChoice`], the disks of the machine, the least size. Out: the one disk that is
//! meant, or a [`Refusal`] that names all that come into question. Pure: what a link means that
//! the facts do not know is for the caller.

use std::fmt;
use std::path::Path;

use super::layout::show;
use crate::config::{DeviceChoice, DiskRule, Pick, formats};
use crate::facts::{DiskFacts, NOT_ALLOWED, User, user};
use crate::failure::{Failure, Kind};

/// What is no disk, and still can be installed on when somebody names it.
const LOOP: &str = "a loop device";
const VOLUME: &str = "a volume of the device mapper";
/// What is asked for by a rule, in words.
const RULE: &str = "the rule";

/// Why a disk can't be installed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhyNot {
    /// This system runs from it.
    Medium,
    /// There is nothing in the drive, or it says that it has no size.
    Empty,
    /// It is no disk but something made of memory, a file or other disks, or a drive for
    /// something else; in words.
    NoDisk(&'static str),
    /// It can't be read; in words.
    Unreadable(String),
    /// It can't be written.
    ReadOnly,
    /// Something uses it; in words.
    InUse(Vec<User>),
    /// It is too small.
    TooSmall {
        /// Size that it has, in bytes.
        has: u64,
        /// Size that is needed, in bytes.
        needs: u64,
    },
}

/// Why a choice means no disk, or not one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// No disk is like that.
    NoSuch {
        /// What was asked for, in words.
        asked: String,
        /// All disks, described.
        disks: Vec<String>,
    },
    /// Several disks are like that.
    Several {
        /// What was asked for, in words.
        asked: String,
        /// Those that are, described.
        disks: Vec<String>,
    },
    /// Disks are like that, and none of them can be installed on; or the one that was named
    /// can't.
    NotCandidate {
        /// Each of them, described.
        disks: Vec<(String, WhyNot)>,
    },
}

/// The one disk that a choice means. `least` is the size that is needed, in bytes.
pub fn choose<'a>(
    choice: &DeviceChoice,
    disks: &'a [DiskFacts],
    least: u64,
) -> Result<&'a DiskFacts, Refusal> {
    let rule = match choice {
        DeviceChoice::Path(path) => {
            let disk = named(path, disks)?;
            return match candidate_by_name(disk, least) {
                Ok(()) => Ok(disk),
                Err(why) => Err(Refusal::NotCandidate {
                    disks: vec![(disk.describe(), why)],
                }),
            };
        }
        DeviceChoice::Rule(rule) => rule,
    };
    let fits = Fits::of(rule);
    let (mut fitting, mut refused) = (Vec::new(), Vec::new());
    for disk in disks.iter().filter(|disk| fits.fits(disk)) {
        match candidate(disk, least) {
            Ok(()) => fitting.push(disk),
            Err(why) => refused.push((disk.describe(), why)),
        }
    }
    let size = match rule.pick {
        Some(Pick::Smallest) => fitting.iter().map(|d| d.size).min(),
        Some(Pick::Largest) => fitting.iter().map(|d| d.size).max(),
        Some(Pick::Only) | None => None,
    };
    if let Some(size) = size {
        fitting.retain(|disk| disk.size == size);
    }
    match fitting.as_slice() {
        [only] => Ok(only),
        [] if refused.is_empty() => Err(Refusal::no_such(RULE.to_owned(), disks.iter())),
        [] => Err(Refusal::NotCandidate { disks: refused }),
        _ => Err(Refusal::several(RULE.to_owned(), fitting)),
    }
}

/// The disk with this path, link or kernel's name of one of its paths, whether it is a candidate
/// or not.
pub fn named<'a>(path: &str, disks: &'a [DiskFacts]) -> Result<&'a DiskFacts, Refusal> {
    let wanted = Path::new(path);
    let member = path.strip_prefix("/dev/");
    let mut found = disks.iter().filter(|disk| {
        disk.path == wanted
            || member == Some(disk.name.as_str())
            || disk.links.iter().any(|link| link == wanted)
            || member.is_some_and(|member| disk.paths.iter().any(|p| p == member))
    });
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(Refusal::no_such(path.to_owned(), disks.iter())),
        (Some(first), Some(second)) => {
            let all = [first, second].into_iter().chain(found);
            Err(Refusal::several(path.to_owned(), all))
        }
    }
}

/// Whether a disk can be installed on at all. `least` is the size that is needed, in bytes.
pub fn candidate(disk: &DiskFacts, least: u64) -> Result<(), WhyNot> {
    match no_disk(disk) {
        Some(what) if !disk.medium => Err(WhyNot::NoDisk(what)),
        _ => candidate_by_name(disk, least),
    }
}

/// The same for one that somebody named: then a loop device or a volume is what was meant.
pub fn candidate_by_name(disk: &DiskFacts, least: u64) -> Result<(), WhyNot> {
    if disk.medium {
        return Err(WhyNot::Medium);
    }
    if let Some(what) = no_disk(disk).filter(|what| ![LOOP, VOLUME].contains(what)) {
        return Err(WhyNot::NoDisk(what));
    }
    let unreadable = disk.unreadable.as_ref();
    if let Some(why) = unreadable.filter(|why| *why != NOT_ALLOWED) {
        return Err(WhyNot::Unreadable(why.clone()));
    }
    if disk.size == 0 {
        return Err(WhyNot::Empty);
    }
    if disk.read_only {
        return Err(WhyNot::ReadOnly);
    }
    if disk.is_busy() {
        return Err(WhyNot::InUse(disk.users.clone()));
    }
    if disk.size < least {
        return Err(WhyNot::TooSmall {
            has: disk.size,
            needs: least,
        });
    }
    Ok(())
}

/// What a block device is that is not a disk, by the kernel's name. RAIDs are taken for disks, as
/// are multipath maps.
fn no_disk(disk: &DiskFacts) -> Option<&'static str> {
    let numbered = |prefix: &str| {
        let rest = disk.name.strip_prefix(prefix);
        rest.is_some_and(|r| !r.is_empty() && r.bytes().all(|b| b.is_ascii_digit()))
    };
    [
        ("loop", LOOP),
        ("ram", "a RAM disk"),
        ("zram", "compressed memory"),
        ("sr", "a CD drive"),
        ("scd", "a CD drive"),
        ("fd", "a floppy drive"),
    ]
    .into_iter()
    .chain(disk.paths.is_empty().then_some(("dm-", VOLUME)))
    .find(|(prefix, _)| numbered(prefix))
    .map(|(_, what)| what)
}

/// A rule whose texts have been read once, for many disks.
struct Fits<'a> {
    rule: &'a DiskRule,
    min: Option<u64>,
    max: Option<u64>,
    transport: Option<String>,
    /// A pattern that can't be read fits nothing.
    model: Option<Option<glob::Pattern>>,
    wwn: Option<String>,
    /// A size that can't be read: no disk has it.
    unreadable: bool,
}

impl<'a> Fits<'a> {
    fn of(rule: &'a DiskRule) -> Self {
        let size = |text: &Option<String>| text.as_deref().and_then(|t| formats::size(t, 0).ok());
        let (min, max) = (size(&rule.min_size), size(&rule.max_size));
        let model = rule.model.as_deref();
        Self {
            rule,
            min,
            max,
            transport: rule
                .transport
                .map(|t| format!("{t:?}").to_ascii_lowercase()),
            model: model.map(|m| formats::model_pattern(m).ok()),
            wwn: rule.wwn.as_deref().map(one_spelling),
            unreadable: (rule.min_size.is_some() && min.is_none())
                || (rule.max_size.is_some() && max.is_none()),
        }
    }

    fn fits(&self, disk: &DiskFacts) -> bool {
        let model = disk.model.as_deref().unwrap_or_default();
        let serial = self.rule.serial.as_ref();
        !self.unreadable
            && self.min.is_none_or(|min| disk.size >= min)
            && self.max.is_none_or(|max| disk.size <= max)
            && (self.rule.rotational).is_none_or(|r| disk.rotational == Some(r))
            && (self.transport.is_none() || self.transport == disk.transport)
            && serial.is_none_or(|wanted| {
                let is = disk.serial.as_ref();
                is.is_some_and(|is| is.eq_ignore_ascii_case(wanted))
            })
            && (self.wwn.is_none() || self.wwn == disk.wwn.as_deref().map(one_spelling))
            && (self.model.as_ref())
                .is_none_or(|pattern| pattern.as_ref().is_some_and(|p| p.matches(model)))
    }
}

/// A WWN as the kernel writes it, whoever wrote it.
fn one_spelling(wwn: &str) -> String {
    formats::disk_wwn(wwn).unwrap_or_else(|_| wwn.to_ascii_lowercase())
}

impl Refusal {
    /// Nothing is like that among these disks.
    pub fn no_such<'a>(asked: String, disks: impl Iterator<Item = &'a DiskFacts>) -> Self {
        let disks = disks.map(DiskFacts::describe).collect();
        Self::NoSuch { asked, disks }
    }

    /// All of these are like that.
    pub fn several<'a>(asked: String, disks: impl IntoIterator<Item = &'a DiskFacts>) -> Self {
        let disks = disks.into_iter().map(DiskFacts::describe).collect();
        Self::Several { asked, disks }
    }

    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::NoSuch { disks, .. } if disks.is_empty() => {
                "it has no disks: is a driver missing, or a cable?".into()
            }
            Self::NoSuch { disks, .. } => format!("its disks are {}", disks.join("; ")),
            Self::Several { asked, disks } if asked == RULE => {
                format!(
                    "say more of it, such as its serial, or pick: smallest or largest when their sizes differ; they are {}",
                    disks.join("; ")
                )
            }
            Self::Several { disks, .. } => {
                format!("name it by its serial, WWN or place: {}", disks.join("; "))
            }
            Self::NotCandidate { disks } => match disks.as_slice() {
                [(_, why)] => why.hint().into(),
                _ => "`harrow disks` shows all disks and which can be installed on".into(),
            },
        }
    }

    /// As the error of an install; `field` is the key of the config or the option that chose.
    pub fn failure(&self, field: &str) -> anyhow::Error {
        let kind = match self {
            Self::NoSuch { .. } | Self::Several { .. } => Kind::DeviceUnknown,
            Self::NotCandidate { disks } => disks
                .first()
                .map_or(Kind::DeviceUnknown, |(_, why)| why.kind()),
        };
        Failure::error(kind, format!("{field}: {self}"), self.hint())
    }
}

impl WhyNot {
    fn kind(&self) -> Kind {
        match self {
            Self::TooSmall { .. } => Kind::DeviceTooSmall,
            Self::InUse(_) | Self::Medium => Kind::DeviceInUse,
            Self::ReadOnly | Self::Empty | Self::Unreadable(_) => Kind::DeviceFailed,
            Self::NoDisk(_) => Kind::DeviceUnknown,
        }
    }

    /// As the error of an install; `path` is the disk's.
    pub fn failure(&self, path: &str) -> anyhow::Error {
        Failure::error(self.kind(), format!("{path}: {self}"), self.hint())
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Medium | Self::NoDisk(_) => "name another disk",
            Self::Empty => "put a medium in, or name another disk",
            Self::Unreadable(_) => "look at its cables and its health, or name another disk",
            Self::ReadOnly => "switch its write protection off, or name another disk",
            Self::InUse(_) => {
                "unmount it, deactivate the volume group or stop the array, or name another disk"
            }
            Self::TooSmall { .. } => {
                "a larger disk, or a smaller install.persistent_partition_size"
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuch { asked, .. } if asked == RULE => {
                f.write_str("no disk of this machine fits the rule")
            }
            Self::NoSuch { asked, .. } => write!(f, "this machine has no {asked}"),
            Self::Several { asked, disks } if asked == RULE => {
                write!(f, "{} disks fit the rule", disks.len())
            }
            Self::Several { asked, disks } => write!(f, "{} disks are {asked}", disks.len()),
            Self::NotCandidate { disks } => {
                for (i, (disk, why)) in disks.iter().enumerate() {
                    let separator = if i == 0 { "" } else { "; " };
                    write!(f, "{separator}{disk}: {why}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for Refusal {}

impl fmt::Display for WhyNot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Medium => f.write_str("this system runs from it"),
            Self::Empty => f.write_str("there is no medium in the drive"),
            Self::NoDisk(what) => write!(f, "it is {what}, not a disk"),
            Self::Unreadable(why) => write!(f, "it can't be read: {why}"),
            Self::ReadOnly => f.write_str("it is read-only"),
            Self::InUse(users) => write!(f, "it is in use: {}", user::in_words(users)),
            Self::TooSmall { has, needs } => {
                write!(f, "it has {}, {} are needed", show(*has), show(*needs))
            }
        }
    }
}
