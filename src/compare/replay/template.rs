//! What really happens with a configuration: every pod of a workload asks for the same resource
//! name, the first that comes is served first, and keeps its instance until it ends.
//!
//! A pod that finds no instance waits, and ends when it ended in the history: what it waited is
//! lost, so that no other hour gets demand that it did not have. Only of pods that begin at the same
//! moment the one of the higher priority is first, then that of more weight and of more memory, as a
//! scheduler sorts its queue. Preemption plays no part, as without a queueing system.
//!
//! A week that comes again is replayed after another one like it, and pods that run over its end are
//! followed to theirs. Pods that never end were there before all.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::Arc;

use super::configuration::Configuration;
use super::{Row, Rule, Served, Times, fleet_mib};
use crate::demand::Workload;
use crate::demand::over_time::{Hour, OverTime};
use crate::demand::time::HOUR_MS;
use crate::fleet::Fleet;

/// Replays demand under the template rule.
pub(super) fn run(demand: &OverTime, fleet: &Fleet, configuration: &Configuration) -> Row {
    let workloads = demand.peak().workloads();
    let mut cluster = Cluster::new(workloads, configuration);
    let mut log = Log {
        served: vec![Served::default(); workloads.len()],
        served_mib: 0,
        missed: vec![0; demand.hours().len()],
        hours: demand.hours(),
    };
    let mut arrivals = arrivals(demand).into_iter().peekable();
    loop {
        let next_end = cluster.ends.peek().map(|Reverse(end)| end.at);
        let next = match (arrivals.peek().map(|a| a.at), next_end) {
            (Some(start), Some(end)) => start.min(end),
            (Some(at), None) | (None, Some(at)) => at,
            (None, None) => break,
        };
        cluster.end_all(next, &mut log);
        while let Some(Arrival { at, pods, .. }) = arrivals.next_if(|a| a.at == next) {
            log.asked(&pods);
            cluster.arrive(pods, at, &mut log);
        }
    }
    cluster.give_up(&mut log);
    Row {
        name: configuration.name.clone(),
        rule: Rule::Template,
        workloads: log.served,
        idle_mib: fleet_mib(demand, fleet).saturating_sub(log.served_mib),
        served_mib: log.served_mib,
        missed: log.missed,
    }
}

/// Pods that begin; those that are the least come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Arrival {
    /// When they are taken in.
    at: i64,
    /// When they really began.
    began: i64,
    /// The place of their workload among those that begin at the same moment.
    rank: usize,
    pods: Pods,
}

/// All pods in the order in which they come.
fn arrivals(demand: &OverTime) -> Vec<Arrival> {
    let (Some(first), Some(last)) = (demand.hours().first(), demand.hours().last()) else {
        return Vec::new();
    };
    let (begin, end) = (first.start_ms, last.start_ms + HOUR_MS);
    let week = end - begin;
    let ranks = ranks(demand.peak().workloads());
    let mut arrivals = Vec::new();
    for (workload, spans) in demand.spans().iter().enumerate() {
        for span in spans {
            let rank = ranks[workload];
            let mut add = |at: i64, began: i64, start: i64, end: i64, counts: bool| {
                let is_endless = span.is_endless();
                let pods = Pods { workload, start, end, count: span.count, counts, is_endless };
                arrivals.push(Arrival { at, began, rank, pods });
            };
            if !demand.repeats() {
                let start = span.start_ms.max(begin);
                add(start, span.start_ms, start, span.end_ms.min(end), true);
            } else if span.is_endless() {
                add(begin - week, span.start_ms, begin, end, true);
            } else if span.start_ms >= begin {
                for after in [-week, 0, week] {
                    let (start, end) = (span.start_ms + after, span.end_ms + after);
                    add(start, start, start, end, after == 0);
                }
            }
        }
    }
    arrivals.sort_unstable();
    arrivals
}

/// For each workload its place among those whose pods begin at the same moment.
fn ranks(workloads: &[Workload]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..workloads.len()).collect();
    order.sort_by_key(|w| {
        let Workload { priority, weight, memory, .. } = &workloads[*w];
        Reverse((*priority, *weight, memory.map_or(u64::MAX, |m| m.0)))
    });
    let mut ranks = vec![0; workloads.len()];
    order.iter().enumerate().for_each(|(rank, w)| ranks[*w] = rank);
    ranks
}

/// `count` replicas from one time to another.
fn lasting(from: i64, to: i64, count: u64) -> Times {
    u128::from(from.abs_diff(to)) * u128::from(count)
}

/// Pods of one workload that begin together and want instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Pods {
    workload: usize,
    /// The time that they ask for.
    start: i64,
    end: i64,
    count: u64,
    /// Whether they are of the hours that are replayed, not of a week before or after.
    counts: bool,
    /// Whether they keep their instances for ever.
    is_endless: bool,
}

/// Pods that give their instances back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct End {
    at: i64,
    place: Place,
    /// Instances, or GPUs of a node.
    count: u64,
    /// Index of the resource name.
    name: usize,
}

/// Where instances are: a kind, or the GPUs of one board on one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Kind(usize),
    Node(usize),
}

/// What became of the pods.
struct Log<'d> {
    served: Vec<Served>,
    served_mib: Times,
    missed: Vec<Times>,
    hours: &'d [Hour],
}

impl Log<'_> {
    fn asked(&mut self, pods: &Pods) {
        if pods.counts {
            self.served[pods.workload].asked += lasting(pods.start, pods.end, pods.count);
        }
    }

    /// Pods that have instances of `mib` from `now` on.
    fn served(&mut self, pods: &Pods, count: u64, now: i64, mib: u64) {
        if pods.counts {
            let time = lasting(now.max(pods.start), pods.end, count);
            self.served[pods.workload].served += time;
            self.served_mib += time * u128::from(mib);
        }
    }

    /// Pods that waited until `until`, and then got an instance or ended without one.
    fn waited(&mut self, pods: &Pods, count: u64, until: i64, got_one: bool) {
        if !pods.counts {
            return;
        }
        let served = &mut self.served[pods.workload];
        served.unserved_pods += if got_one { 0 } else { count };
        if until <= pods.start {
            return;
        }
        let wait = until.abs_diff(pods.start);
        served.waited += lasting(pods.start, until, count);
        served.longest_wait_ms = served.longest_wait_ms.max(wait);
        served.waiting_pods += if got_one { count } else { 0 };
        self.missed(pods.start, until, count);
    }

    /// Replicas that are missed from one time to another. What lies after a week is at the beginning
    /// of it.
    fn missed(&mut self, from: i64, until: i64, count: u64) {
        let (Some(first), Some(last)) = (self.hours.first(), self.hours.last()) else { return };
        let (begin, end) = (first.start_ms, last.start_ms + HOUR_MS);
        // Hours lie apart where nobody looked, so each is found by its start.
        let at = self.hours.partition_point(|h| h.start_ms + HOUR_MS <= from);
        for (hour, missed) in self.hours.iter().zip(&mut self.missed).skip(at) {
            if hour.start_ms >= until {
                break;
            }
            let from = from.max(hour.start_ms);
            *missed += lasting(from, until.min(hour.start_ms + HOUR_MS), count);
        }
        if until > end {
            self.missed(begin, begin + (until - end), count);
        }
    }
}

/// The instances: which are free, who waits for one, and when each comes back.
struct Cluster<'a> {
    workloads: &'a [Workload],
    /// For each kind, whether it is GPUs with MIG off, which are counted by node.
    of_whole: Vec<bool>,
    /// For each other kind, the instances that are free.
    free: Vec<u64>,
    /// For each node and board with whole GPUs: the board's kind, and GPUs that are free.
    nodes: Vec<(usize, u64)>,
    /// For each workload the kinds of the name it asks for, and the index of the name.
    asks: Vec<(Arc<[usize]>, usize)>,
    /// For each name, who waits, the first that came first.
    waiting: Vec<VecDeque<Pods>>,
    ends: BinaryHeap<Reverse<End>>,
    memory_mib: Vec<u64>,
}

impl<'a> Cluster<'a> {
    fn new(workloads: &'a [Workload], configuration: &Configuration) -> Cluster<'a> {
        let kinds = &configuration.kinds;
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        let mut asks = Vec::with_capacity(workloads.len());
        for workload in workloads {
            let name = configuration.request(workload).unwrap_or_default().to_string();
            let of_name = (0..kinds.len())
                .filter(|k| kinds[*k].suffices(workload) && kinds[*k].name() == name)
                .collect();
            let next = names.len();
            asks.push((of_name, *names.entry(name).or_insert(next)));
        }
        let kind_of =
            |board: &str| kinds.iter().position(|k| k.profile.is_none() && k.board.id == board);
        let nodes = configuration
            .whole
            .iter()
            .filter_map(|((_, board), gpus)| Some((kind_of(board)?, *gpus)))
            .collect();
        Cluster {
            workloads,
            of_whole: kinds.iter().map(|k| k.profile.is_none()).collect(),
            free: kinds.iter().map(|k| k.count).collect(),
            nodes,
            asks,
            waiting: vec![VecDeque::new(); names.len()],
            ends: BinaryHeap::new(),
            memory_mib: kinds.iter().map(super::configuration::Kind::memory_mib).collect(),
        }
    }

    /// Pods that begin: they get instances, or wait. Nobody of the same name who waits could be
    /// served before them, since that is tried whenever something becomes free.
    fn arrive(&mut self, pods: Pods, now: i64, log: &mut Log<'_>) {
        let left = self.serve(pods, now, log);
        if left > 0 {
            let name = self.asks[pods.workload].1;
            self.waiting[name].push_back(Pods { count: left, ..pods });
        }
    }

    /// Takes back what ends at this time and gives it to those who wait.
    fn end_all(&mut self, now: i64, log: &mut Log<'_>) {
        let mut names = Vec::new();
        while let Some(Reverse(end)) = self.ends.peek().copied() {
            if end.at > now {
                break;
            }
            self.ends.pop();
            match end.place {
                Place::Kind(kind) => self.free[kind] += end.count,
                Place::Node(node) => self.nodes[node].1 += end.count,
            }
            names.push(end.name);
        }
        names.sort_unstable();
        names.dedup();
        for name in names {
            let waiting = std::mem::take(&mut self.waiting[name]);
            let mut still = VecDeque::with_capacity(waiting.len());
            for pods in waiting {
                if pods.end <= now {
                    log.waited(&pods, pods.count, pods.end, false);
                    continue;
                }
                let left = self.serve(pods, now, log);
                if left > 0 {
                    still.push_back(Pods { count: left, ..pods });
                }
            }
            self.waiting[name] = still;
        }
    }

    /// Gives instances to as many of these pods as there are any for; returns how many are left.
    fn serve(&mut self, pods: Pods, now: i64, log: &mut Log<'_>) -> u64 {
        let workload = &self.workloads[pods.workload];
        let (kinds, name) = self.asks[pods.workload].clone();
        let size = u64::from(workload.whole_gpus.max(1));
        let mut left = pods.count;
        for &kind in kinds.iter() {
            let mut taken = 0;
            if !self.of_whole[kind] {
                taken = left.min(self.free[kind]);
                self.free[kind] -= taken;
                self.lasts(&pods, Place::Kind(kind), taken, name);
            } else {
                // The node that is left with the fewest free GPUs, as a packing scheduler would.
                while taken < left {
                    let fits = |n: &usize| self.nodes[*n].0 == kind && self.nodes[*n].1 >= size;
                    let nodes = (0..self.nodes.len()).filter(fits);
                    let Some(node) = nodes.min_by_key(|n| self.nodes[*n].1) else { break };
                    self.nodes[node].1 -= size;
                    self.lasts(&pods, Place::Node(node), size, name);
                    taken += 1;
                }
            }
            if taken == 0 {
                continue;
            }
            left -= taken;
            let mib = workload.memory.map_or(self.memory_mib[kind] * size, |m| m.0);
            log.served(&pods, taken, now, mib);
            log.waited(&pods, taken, now, true);
        }
        left
    }

    fn lasts(&mut self, pods: &Pods, place: Place, count: u64, name: usize) {
        if count > 0 && !pods.is_endless {
            self.ends.push(Reverse(End { at: pods.end, place, count, name }));
        }
    }

    /// Everybody who still waits when all is over has waited in vain.
    fn give_up(&mut self, log: &mut Log<'_>) {
        for pods in self.waiting.iter().flatten() {
            log.waited(pods, pods.count, pods.end, false);
        }
    }
}
