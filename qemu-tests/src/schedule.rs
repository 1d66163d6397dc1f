//! Which scenarios run at once, and running them.
//!
//! In: the [`Load`] of each and the [`Room`] of the machine. Out: what each of them gave. Those whose
//! times are figures run alone, after the others; two share the machine when their memory fits.
//! [`next`] decides and is pure.

use std::sync::mpsc;

use anyhow::Context as _;

/// What a scenario asks of the machine that it runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// All of it: its times have limits.
    Alone,
    /// A part of it.
    Shared {
        /// Memory of its machines and itself at the same time, in MiB.
        memory_mib: u64,
    },
}

/// What the machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// How many scenarios at once.
    pub jobs: usize,
    /// Memory for all of them, in MiB.
    pub memory_mib: u64,
}

/// Below this, in MiB, no two run at once: 8 GiB, of which a machine shows a little less.
const ENOUGH_MIB: u64 = 7680;

impl Room {
    /// How many scenarios run at once when nobody says.
    pub fn default_jobs(cores: usize, memory_mib: u64) -> usize {
        if cores >= 2 && memory_mib >= ENOUGH_MIB {
            2
        } else {
            1
        }
    }
}

/// The machine's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// All of it, in MiB.
    pub total_mib: u64,
    /// What programs can have now, in MiB.
    pub available_mib: u64,
}

impl Memory {
    /// Asks the kernel.
    pub fn read() -> anyhow::Result<Self> {
        let path = "/proc/meminfo";
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
        Self::parse(&text).with_context(|| format!("{path} does not say how much there is"))
    }

    fn parse(text: &str) -> Option<Self> {
        let mib_of = |name: &str| {
            let mut lines = text.lines();
            let rest = lines.find_map(|line| line.strip_prefix(name))?;
            let kib: u64 = rest.trim().strip_suffix(" kB")?.parse().ok()?;
            Some(kib / 1024)
        };
        Some(Self {
            total_mib: mib_of("MemTotal:")?,
            available_mib: mib_of("MemAvailable:")?,
        })
    }
}

/// Which of `waiting` starts now beside `running`, if any.
pub fn next(waiting: &[Load], running: &[Load], room: Room) -> Option<usize> {
    if running.is_empty() {
        let is_shared = |load: &Load| matches!(load, Load::Shared { .. });
        let first = if room.jobs > 1 {
            waiting.iter().position(is_shared)
        } else {
            None
        };
        return first.or((!waiting.is_empty()).then_some(0));
    }
    let taken = running.iter().map(|load| match load {
        Load::Alone => None,
        Load::Shared { memory_mib } => Some(*memory_mib),
    });
    let taken = taken.sum::<Option<u64>>()?;
    if running.len() >= room.jobs {
        return None;
    }
    waiting.iter().position(|load| match load {
        Load::Alone => false,
        Load::Shared { memory_mib } => taken.saturating_add(*memory_mib) <= room.memory_mib,
    })
}

/// Runs `play` once for each of `loads`; what each gave, in the same order. After one that
/// `goes_on` does not like, no other starts, and those have nothing.
pub fn run<T: Send>(
    loads: &[Load],
    room: Room,
    play: impl Fn(usize) -> T + Sync,
    goes_on: impl Fn(&T) -> bool,
) -> Vec<Option<T>> {
    let mut results: Vec<Option<T>> = loads.iter().map(|_| None).collect();
    let mut waiting: Vec<usize> = (0..loads.len()).collect();
    let mut running: Vec<usize> = Vec::new();
    let (tell_done, done) = mpsc::channel();
    std::thread::scope(|scope| {
        loop {
            let pick = |ids: &[usize]| ids.iter().map(|&id| loads[id]).collect::<Vec<_>>();
            while let Some(at) = next(&pick(&waiting), &pick(&running), room) {
                let id = waiting.remove(at);
                running.push(id);
                let (tell_done, play) = (tell_done.clone(), &play);
                scope.spawn(move || {
                    let result =
                        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| play(id)));
                    // The receiver lives as long as anything runs.
                    tell_done.send((id, result)).ok();
                });
            }
            if running.is_empty() {
                return;
            }
            let Ok((id, result)) = done.recv() else {
                return;
            };
            running.retain(|&other| other != id);
            match result {
                Ok(result) => {
                    if !goes_on(&result) {
                        waiting.clear();
                    }
                    results[id] = Some(result);
                }
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    results
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use harrow::sys::wait;

    use super::*;

    const A: Load = Load::Alone;

    fn s(memory_mib: u64) -> Load {
        Load::Shared { memory_mib }
    }

    #[test]
    fn who_starts_next() {
        let room = |jobs| Room {
            jobs,
            memory_mib: 4000,
        };
        for (waiting, running, jobs, expected) in [
            (vec![A, s(1)], vec![], 1, Some(0)),
            (vec![A, s(1)], vec![], 2, Some(1)),
            (vec![A, A], vec![], 2, Some(0)),
            (vec![s(1)], vec![s(1)], 1, None),
            (vec![s(1)], vec![s(1)], 2, Some(0)),
            (vec![s(1)], vec![s(1), s(1)], 2, None),
            (vec![A, s(1)], vec![s(1)], 2, Some(1)),
            (vec![A], vec![s(1)], 2, None),
            (vec![s(1)], vec![A], 2, None),
            (vec![s(3001), s(2000)], vec![s(1000)], 2, Some(1)),
            (vec![s(3001)], vec![s(1000)], 2, None),
            (vec![s(9000)], vec![], 2, Some(0)),
            (vec![], vec![s(1)], 2, None),
            (vec![], vec![], 2, None),
        ] {
            let found = next(&waiting, &running, room(jobs));
            assert_eq!(found, expected, "{waiting:?} beside {running:?}");
        }
    }

    #[test]
    fn two_at_once_need_cores_and_memory() {
        for (cores, memory, jobs) in [
            (1, 16_000, 1),
            (2, 4_000, 1),
            (2, 7_900, 2),
            (64, 256_000, 2),
        ] {
            assert_eq!(Room::default_jobs(cores, memory), jobs);
        }
    }

    #[test]
    fn memory_is_read() {
        let text = "MemTotal:       24000000 kB\nMemFree:  1 kB\nMemAvailable:   2048 kB\n";
        let memory = Memory::parse(text).unwrap();
        assert_eq!((memory.total_mib, memory.available_mib), (23437, 2));
        assert_eq!(Memory::parse("MemTotal: 1 kB\n"), None);
        let here = Memory::read().unwrap();
        assert!(here.total_mib >= here.available_mib && here.available_mib > 0);
    }

    /// Runs loads and notes who ran beside whom.
    fn observe(loads: &[Load], jobs: usize) -> (Vec<Option<usize>>, usize, Vec<Vec<usize>>) {
        let now: Mutex<Vec<usize>> = Mutex::new(Vec::new());
        let seen: Mutex<Vec<Vec<usize>>> = Mutex::new(Vec::new());
        let room = Room {
            jobs,
            memory_mib: 100,
        };
        let results = run(
            loads,
            room,
            |id| {
                let mut running = now.lock().unwrap();
                running.push(id);
                seen.lock().unwrap().push(running.clone());
                drop(running);
                wait::pause_for(Duration::from_millis(30));
                now.lock().unwrap().retain(|&other| other != id);
                id * 10
            },
            |_| true,
        );
        let seen = seen.into_inner().unwrap();
        let most = seen.iter().map(Vec::len).max().unwrap_or(0);
        (results, most, seen)
    }

    #[test]
    fn shared_ones_overlap_and_those_alone_do_not() {
        let loads = [A, s(40), s(40), s(40), A];
        let (results, most, seen) = observe(&loads, 2);
        assert_eq!(results, [0, 10, 20, 30, 40].map(Some));
        assert_eq!(most, 2);
        for running in seen {
            let has_alone = running.iter().any(|&id| loads[id] == A);
            assert!(!has_alone || running.len() == 1, "{running:?}");
        }
        let (_, most, seen) = observe(&loads, 1);
        assert_eq!(most, 1);
        assert_eq!(seen, [[0], [1], [2], [3], [4]]);
        assert_eq!(observe(&[s(60), s(60)], 2).1, 1, "memory for one only");
    }

    #[test]
    fn after_a_failure_no_other_starts_if_so_wished() {
        let room = Room {
            jobs: 1,
            memory_mib: 100,
        };
        let results = run(&[A, A, A], room, |id| id, |&id| id != 1);
        assert_eq!(results, [Some(0), Some(1), None]);
    }

    #[test]
    fn a_panic_is_not_swallowed() {
        let room = Room {
            jobs: 2,
            memory_mib: 100,
        };
        let run = || run(&[s(1), s(1)], room, |id| assert!(id != 1, "oh"), |()| true);
        assert!(std::panic::catch_unwind(run).is_err());
    }
}
