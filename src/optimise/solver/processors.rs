//! Shows the solver only a few processors of a large machine. Knows no model.
//!
//! HiGHS 1.16 counts the cores that it may use whenever it is asked (`available_core_count` in its
//! `HighsTaskExecutor.cpp`), by opening two files for each processor, which takes about 30 µs. On a
//! node of 224 processors that would be 7 ms for a relaxation of a tenth of a millisecond. It works
//! on one thread here, so it needs no more than a few to choose from.

#[cfg(target_os = "linux")]
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

/// So many processors the solver's thread may choose from.
#[cfg(target_os = "linux")]
const A_FEW: usize = 4;

/// While it lives, its thread stays on a few of its processors, and so do threads that it starts.
/// Where that cannot be had, on all: it is only a matter of time.
pub(super) struct AFewProcessors {
    #[cfg(target_os = "linux")]
    all: Option<CpuSet>,
}

impl AFewProcessors {
    #[cfg(target_os = "linux")]
    pub(super) fn new() -> AFewProcessors {
        // Fails on machines of more than 1,024 processors.
        let all = sched_getaffinity(None).ok();
        let few = all.as_ref().and_then(|all| few_of(all, sched_getcpu()));
        let limited = few.is_some_and(|few| sched_setaffinity(None, &few).is_ok());
        AFewProcessors { all: all.filter(|_| limited) }
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn new() -> AFewProcessors {
        AFewProcessors {}
    }
}

#[cfg(target_os = "linux")]
impl Drop for AFewProcessors {
    fn drop(&mut self) {
        if let Some(all) = &self.all {
            // Nothing more can be done, and the thread works as well on a few.
            let _ = sched_setaffinity(None, all);
        }
    }
}

/// The processor `now` and the next ones; `None` where there are no more than a few.
#[cfg(target_os = "linux")]
fn few_of(all: &CpuSet, now: usize) -> Option<CpuSet> {
    let is_in = |processor: &usize| all.is_set(*processor);
    let mut few = CpuSet::new();
    for processor in (now..CpuSet::MAX_CPU).chain(0..now).filter(is_in).take(A_FEW) {
        few.set(processor);
    }
    (few.count() < all.count()).then_some(few)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn set(processors: impl IntoIterator<Item = usize>) -> CpuSet {
        let mut set = CpuSet::new();
        processors.into_iter().for_each(|processor| set.set(processor));
        set
    }

    #[test]
    fn the_next_processors_are_taken() {
        let even = set((0..224).step_by(2));
        assert_eq!(few_of(&even, 8), Some(set([8, 10, 12, 14])));
        assert_eq!(few_of(&even, 220), Some(set([220, 222, 0, 2])));
        assert_eq!(few_of(&set([3, 5]), 5), None);
        assert_eq!(few_of(&set(0..A_FEW), 2), None);
    }

    #[test]
    fn all_processors_come_back() {
        let before = sched_getaffinity(None).unwrap();
        {
            let _few = AFewProcessors::new();
            let during = sched_getaffinity(None).unwrap();
            assert_eq!(during.count() as usize, A_FEW.min(before.count() as usize));
        }
        assert_eq!(sched_getaffinity(None).unwrap(), before);
    }
}
