//! What workloads hold of a plan's instances, hour by hour. A plan over time names the replicas of one
//! hour and has counts for all; any other plan is one period. No kind reads assignments: it asks here,
//! and sees all hours.

use std::collections::{BTreeMap, BTreeSet};

use crate::demand::Demand;
use crate::plan::over_time::{AllocatedFile, OverTimeFile};
use crate::plan::{Checked, Instance, InstanceProfile};
use crate::text::plural;
use crate::units::Mebibytes;

/// A workload's replicas in one kind of instance, at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held<'p> {
    /// The team.
    pub team: &'p str,
    /// The workload.
    pub workload: &'p str,
    /// The kind of instance.
    pub profile: &'p InstanceProfile,
    /// Instances (or whole GPUs) of each replica.
    pub per_replica: u64,
    /// The replicas.
    pub replicas: u64,
    /// Their instances, by board.
    pub boards: BTreeMap<&'p str, u64>,
    /// The usable memory of the smallest.
    pub memory: Mebibytes,
}

/// How many instances are held at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AtOnce {
    /// In the hour with the fewest.
    pub least: u64,
    /// In the hour with the most.
    pub most: u64,
}

/// What a workload's replicas ask for: one kind of instance, once or several times each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'p> {
    /// The profile.
    pub profile: &'p InstanceProfile,
    /// Instances (or whole GPUs) of each replica.
    pub per_replica: u64,
    /// How many replicas are assigned to such instances in the hour in which most of the workload's
    /// are placed; 0 where only other hours have some there.
    pub replicas: u64,
    /// The boards that these are on, in any hour.
    pub boards: BTreeSet<&'p str>,
    /// The usable memory of the smallest of them.
    pub memory: Mebibytes,
    /// What a replica needs of each: no more than the smallest has, since a workload of whole GPUs
    /// that names no memory needs all that its own have.
    pub demand: Mebibytes,
}

/// A workload of which replicas are placed, with what its pods ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedWorkload<'p> {
    /// The team.
    pub team: &'p str,
    /// The workload.
    pub workload: &'p str,
    /// Its requests; more than one where its replicas are assigned to different kinds of instance.
    pub requests: Vec<Request<'p>>,
}

impl<'p> PlacedWorkload<'p> {
    /// The requests of the hour in which most of its replicas are placed.
    pub fn at_once(&self) -> impl Iterator<Item = &Request<'p>> {
        self.requests.iter().filter(|request| request.replicas > 0)
    }
}

/// What is held in each period, ordered by team, workload and kind.
#[derive(Debug, Clone)]
pub struct Periods<'p>(Vec<Vec<Held<'p>>>);

impl<'p> Periods<'p> {
    /// What a plan's workloads hold.
    pub fn new(plan: &'p Checked, over_time: Option<&'p OverTimeFile>) -> Periods<'p> {
        Periods(match over_time {
            Some(file) => file.periods().map(of_counts).collect(),
            None => vec![of_assignments(plan)],
        })
    }

    /// All rows of all periods.
    pub fn rows(&self) -> impl Iterator<Item = &Held<'p>> {
        self.0.iter().flatten()
    }

    /// By any key of a row and a board, how many instances are held at the same time. What has no key
    /// is left out.
    pub fn at_once<K: Ord>(
        &self,
        key: impl Fn(&Held<'p>, &'p str) -> Option<K>,
    ) -> BTreeMap<K, AtOnce> {
        let mut found: BTreeMap<K, (AtOnce, usize)> = BTreeMap::new();
        for period in &self.0 {
            let mut now: BTreeMap<K, u64> = BTreeMap::new();
            for row in period {
                for (board, instances) in &row.boards {
                    let Some(key) = key(row, board) else { continue };
                    let sum = now.entry(key).or_default();
                    *sum = sum.saturating_add(*instances);
                }
            }
            for (key, instances) in now {
                let unknown = AtOnce { least: u64::MAX, most: 0 };
                let (range, periods) = found.entry(key).or_insert((unknown, 0));
                range.least = range.least.min(instances);
                range.most = range.most.max(instances);
                *periods += 1;
            }
        }
        let all = self.0.len();
        let least_of_all = |(mut range, periods): (AtOnce, usize)| {
            if periods < all {
                range.least = 0;
            }
            range
        };
        found.into_iter().map(|(key, of)| (key, least_of_all(of))).collect()
    }

    /// The workloads of which replicas are placed, ordered by team and name. `asked` is what the plan
    /// was made for, where its file says.
    pub(super) fn workloads(
        &self,
        plan: &'p Checked,
        asked: Option<&Demand>,
    ) -> Vec<PlacedWorkload<'p>> {
        let mut needs: BTreeMap<(&str, &str), Mebibytes> = BTreeMap::new();
        for a in plan.gpus.iter().flat_map(|g| &g.instances).filter_map(|i| i.assignment.as_ref()) {
            let need = needs.entry((&a.team, &a.workload)).or_insert(Mebibytes(0));
            *need = (*need).max(Mebibytes(a.demand_mib));
        }
        for w in asked.map_or(&[][..], Demand::workloads) {
            // Whole GPUs without a memory: all of theirs.
            needs.insert((&w.team, &w.name), w.memory.unwrap_or(Mebibytes(u64::MAX)));
        }
        let names: BTreeSet<(&str, &str)> = self.rows().map(|r| (r.team, r.workload)).collect();
        let placed = |(team, workload): (&'p str, &'p str)| {
            let need = needs.get(&(team, workload)).copied().unwrap_or(Mebibytes(0));
            PlacedWorkload { team, workload, requests: self.requests(team, workload, need) }
        };
        names.into_iter().map(placed).collect()
    }

    /// What the replicas of a workload ask for. How many ask for each kind is that of one hour, the
    /// first of those in which most of them are placed, in the most kinds: numbers of several hours
    /// would add up to more replicas than there are.
    fn requests(&self, team: &str, workload: &str, need: Mebibytes) -> Vec<Request<'p>> {
        let own = |period: &'_ Vec<Held<'p>>| -> Vec<Held<'p>> {
            let at = period.partition_point(|r| (r.team, r.workload) < (team, workload));
            let rows = period[at..].iter();
            rows.take_while(|r| (r.team, r.workload) == (team, workload)).cloned().collect()
        };
        let periods: Vec<Vec<Held<'p>>> = self.0.iter().map(own).collect();
        let placed = |rows: &[Held<'_>]| rows.iter().map(|r| r.replicas).sum::<u64>();
        let fullest = periods.iter().rev().max_by_key(|rows| (placed(rows), rows.len()));
        let mut requests: BTreeMap<(&InstanceProfile, u64), Request<'p>> = BTreeMap::new();
        for row in periods.iter().flatten() {
            let request = requests.entry((row.profile, row.per_replica)).or_insert(Request {
                profile: row.profile,
                per_replica: row.per_replica,
                replicas: 0,
                boards: BTreeSet::new(),
                memory: row.memory,
                demand: need,
            });
            request.boards.extend(row.boards.keys());
            request.memory = request.memory.min(row.memory);
            request.demand = need.min(request.memory);
        }
        for row in fullest.into_iter().flatten() {
            if let Some(request) = requests.get_mut(&(row.profile, row.per_replica)) {
                request.replicas = row.replicas;
            }
        }
        requests.into_values().collect()
    }
}

/// Rows by team, workload, kind and instances of each replica.
type Rows<'p> = BTreeMap<(&'p str, &'p str, &'p InstanceProfile, u64), Held<'p>>;

/// The row for so many replicas of a workload in such instances, none of them there yet.
fn row<'r, 'p>(
    rows: &'r mut Rows<'p>,
    (team, workload): (&'p str, &'p str),
    (profile, per_replica): (&'p InstanceProfile, u64),
    memory_mib: u64,
) -> &'r mut Held<'p> {
    let memory = Mebibytes(memory_mib);
    let new = || Held {
        team,
        workload,
        profile,
        per_replica,
        replicas: 0,
        boards: BTreeMap::new(),
        memory,
    };
    let row = rows.entry((team, workload, profile, per_replica)).or_insert_with(new);
    row.memory = row.memory.min(memory);
    row
}

/// What the file of a plan over time says of a period, each replica in one instance.
fn of_counts(counts: &[AllocatedFile]) -> Vec<Held<'_>> {
    let mut rows = Rows::new();
    for of in counts.iter().filter(|of| of.replicas > 0) {
        let row = row(&mut rows, (&of.team, &of.workload), (&of.profile, 1), of.memory_mib);
        row.replicas = row.replicas.saturating_add(of.replicas);
        let instances = row.boards.entry(&of.board).or_default();
        *instances = instances.saturating_add(of.replicas);
    }
    rows.into_values().collect()
}

/// What the assignments of a plan say.
fn of_assignments(plan: &Checked) -> Vec<Held<'_>> {
    // Team, workload and number of a replica → its instances, each with its board.
    type Replicas<'p> = BTreeMap<(&'p str, &'p str, u64), Vec<(&'p str, &'p Instance)>>;
    let mut replicas = Replicas::new();
    for gpu in &plan.gpus {
        for instance in &gpu.instances {
            let Some(a) = &instance.assignment else { continue };
            let replica = replicas.entry((&a.team, &a.workload, a.replica)).or_default();
            replica.push((&gpu.board, instance));
        }
    }
    let mut rows = Rows::new();
    for ((team, workload, _), instances) in replicas {
        let Some((_, first)) = instances.first() else { continue };
        let memory_mib = instances.iter().map(|(_, i)| i.memory_mib).min().unwrap_or(0);
        let kind = (&first.profile, instances.len() as u64);
        let row = row(&mut rows, (team, workload), kind, memory_mib);
        row.replicas += 1;
        for (board, _) in instances {
            *row.boards.entry(board).or_default() += 1;
        }
    }
    rows.into_values().collect()
}

/// `2g.20gb`, `4 whole GPUs`.
pub(super) fn describe(request: &Request<'_>) -> String {
    match (request.profile, request.per_replica) {
        (InstanceProfile::Full, n) => plural(n, "whole GPU"),
        (profile, 1) => profile.to_string(),
        (profile, n) => format!("{n} of {profile}"),
    }
}
