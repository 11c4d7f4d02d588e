//! Which resource name the pods of each workload ask for, where no plan has chosen it.
//!
//! Workloads choose one after the other, by priority, then the one that needs the most memory first.
//! Each takes the name whose instances serve the most of its demand in all hours beside those that
//! chose before it, of equal ones that of the smallest instances. Workloads that a plan has named
//! come before all others.

use std::cmp::Reverse;

use super::configuration::{Configuration, Kind};
use crate::demand::Workload;
use crate::demand::over_time::OverTime;

impl Configuration {
    /// The same, where each workload of `demand` that has no name yet has one.
    #[must_use]
    pub fn with_names_for(&self, demand: &OverTime) -> Configuration {
        let mut named = self.clone();
        let mut free = Free::new(self, demand);
        let workloads = demand.peak().workloads();
        let mut order: Vec<(usize, Option<&str>)> =
            workloads.iter().map(|workload| self.request(workload)).enumerate().collect();
        order.sort_by_key(|(w, given)| {
            let workload = &workloads[*w];
            let memory = workload.memory.map_or(u64::MAX, |m| m.0);
            let size = (Reverse(memory), Reverse(workload.compute_slices));
            (given.is_none(), Reverse(workload.priority), size)
        });
        for (w, given) in order {
            let by_name = by_name(&self.kinds, &workloads[w]);
            let best = match given {
                Some(given) => by_name.iter().find(|(name, _)| name == given),
                None => by_name.iter().rev().max_by_key(|(_, kinds)| free.served(w, kinds)),
            };
            if let Some((name, kinds)) = best {
                free.take(w, kinds);
                named.give(&workloads[w], name.clone());
            }
        }
        named
    }
}

/// The kinds of instance that suffice for a workload, by resource name, the smallest first.
fn by_name(kinds: &[Kind], workload: &Workload) -> Vec<(String, Vec<usize>)> {
    let mut usable: Vec<usize> =
        (0..kinds.len()).filter(|k| kinds[*k].suffices(workload)).collect();
    usable.sort_by_key(|k| kinds[*k].size());
    let mut names: Vec<(String, Vec<usize>)> = Vec::new();
    for kind in usable {
        let name = kinds[kind].name();
        match names.iter_mut().find(|(known, _)| *known == name) {
            Some((_, of_name)) => of_name.push(kind),
            None => names.push((name, vec![kind])),
        }
    }
    names
}

/// The instances that those who have chosen leave free.
struct Free<'d> {
    demand: &'d OverTime,
    /// For each period of the demand, of each kind.
    of_period: Vec<Vec<u64>>,
}

impl<'d> Free<'d> {
    fn new(configuration: &Configuration, demand: &'d OverTime) -> Free<'d> {
        let all: Vec<u64> = configuration.kinds.iter().map(|k| k.count).collect();
        Free { demand, of_period: vec![all; demand.periods().len()] }
    }

    /// The replica-hours of a workload that the free instances of these kinds serve.
    fn served(&self, workload: usize, kinds: &[usize]) -> u128 {
        let each = u64::from(self.demand.peak().workloads()[workload].whole_gpus.max(1));
        let periods = self.demand.periods().iter().zip(&self.of_period);
        let served = periods.map(|(period, free)| {
            let most: u64 = kinds.iter().map(|k| free[*k] / each).sum();
            u128::from(most.min(period.counts[workload])) * u128::from(period.hours)
        });
        served.sum()
    }

    /// Takes as many of these kinds as the workload's replicas get in each period.
    fn take(&mut self, workload: usize, kinds: &[usize]) {
        let each = u64::from(self.demand.peak().workloads()[workload].whole_gpus.max(1));
        for (period, free) in self.demand.periods().iter().zip(&mut self.of_period) {
            let mut left = period.counts[workload];
            for kind in kinds {
                let taken = left.min(free[*kind] / each);
                free[*kind] -= taken * each;
                left -= taken;
            }
        }
    }
}
