//! Demand: workloads with their memory, counts and conditions.
//!
//! Readers for each source live below; this file holds what they all produce. It knows board ids
//! (a workload may name boards), but no fleet and no plan.

pub mod csv;
pub mod gather;
pub mod hours;
#[cfg(feature = "http")]
pub mod live;
mod names;
pub mod over_time;
pub mod owner;
pub mod pods;
pub mod prometheus;
pub mod quiet;
pub mod quota;
pub mod sizing;
pub mod time;
pub mod usage;

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::Diagnostic;
use crate::hardware::{Board, Profile};
use crate::text::likeness;
use crate::units::{Headroom, Mebibytes, Weight};
use hours::Hours;

/// One row of demand: `team` runs `name`, `count` replicas at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Who asks.
    pub team: Arc<str>,
    /// What runs; together with the team unique.
    pub name: Arc<str>,
    /// GPU memory that one replica needs at its peak; `None` is all memory of its whole GPUs.
    pub memory: Option<Mebibytes>,
    /// Replicas at the same time.
    pub count: u64,
    /// Of those, so many come before anybody's further replicas of the same priority. In hours with
    /// fewer replicas, all of them.
    pub min: u64,
    /// A higher one is served strictly first.
    pub priority: i64,
    /// Worth of a replica among its equals in priority.
    pub weight: Weight,
    /// Fewest compute slices of its instance.
    pub compute_slices: u32,
    /// Whether it needs a `+me` profile.
    pub media: bool,
    /// Ids of the boards that it may run on, sorted; empty is any.
    pub boards: Arc<[String]>,
    /// Whole GPUs of one node; 0 is one instance.
    pub whole_gpus: u32,
    /// When it runs, by the hours of the week; otherwise it has no replicas.
    pub hours: Hours,
    /// What samples show of it, where it comes from samples.
    pub observed: Option<Arc<Observed>>,
}

/// For each team and name, the place of the workload: `teams.csv:3`.
pub type PlaceOf = BTreeMap<(Arc<str>, Arc<str>), String>;

/// What samples show of a workload, beside the memory and count that it is planned with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Observed {
    /// Samples, each counted once.
    pub samples: u64,
    /// The highest sample, in MiB.
    #[serde(rename = "peak_mib")]
    pub peak: Mebibytes,
    /// The quantile of the samples that sizing took, in MiB.
    #[serde(rename = "sized_mib")]
    pub sized: Mebibytes,
    /// The values above that, ascending and in MiB, with the number of samples that show each.
    /// Empty where the highest sample was taken.
    #[serde(rename = "above_mib", default, skip_serializing_if = "Vec::is_empty")]
    pub above: Vec<(Mebibytes, u64)>,
    /// Why the need may be higher than the highest sample, if it may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limited: Option<Limited>,
}

impl Observed {
    /// How many samples are higher than `memory`; `None` where that is less than sizing took, so
    /// that not all of them are known.
    pub fn samples_above(&self, memory: Mebibytes) -> Option<u64> {
        let above = self.above.iter().filter(|(value, _)| *value > memory);
        (memory >= self.sized).then(|| above.map(|(_, samples)| samples).sum())
    }
}

/// Why the samples of a workload may be lower than its need (they are censored, as statistics call
/// it).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Limited {
    /// Whether the highest sample is at the ceiling of the instance.
    pub at_ceiling: bool,
    /// Pods that were ended for lack of memory (`OOMKilled`).
    pub killed_pods: u64,
    /// The instance, or whole GPU, of the pod with the highest sample, where labels tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<SizeOf>,
    /// The next larger instance of that board.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<SizeOf>,
}

/// An instance or GPU with its usable memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SizeOf {
    /// A profile's name, or a board's id.
    pub name: String,
    /// Usable memory in MiB, the lowest that any driver reports.
    #[serde(rename = "memory_mib")]
    pub memory: Mebibytes,
}

/// The most replicas that one workload may ask for, far above what any fleet holds.
pub const MAX_COUNT: u64 = 1_000_000_000;

/// The most whole GPUs that one replica may ask for; no node has more.
pub const MAX_WHOLE_GPUS: u32 = 1024;

impl Workload {
    /// A workload of `count` replicas of `memory`, everything else as a CSV without the optional
    /// columns would have it.
    pub fn new(team: &str, name: &str, memory: Mebibytes, count: u64) -> Workload {
        Workload {
            team: team.into(),
            name: name.into(),
            memory: Some(memory),
            count,
            min: 0,
            priority: 0,
            weight: Weight::ONE,
            compute_slices: 1,
            media: false,
            boards: Arc::new([]),
            whole_gpus: 0,
            hours: Hours::ALWAYS,
            observed: None,
        }
    }

    /// Gives it so many replicas; of those that are guaranteed no more than that.
    pub(crate) fn limit_count(&mut self, count: u64) {
        self.count = count;
        self.min = self.min.min(count);
    }

    /// Whether the workload may run on `board` at all.
    pub fn allows(&self, board: &Board) -> bool {
        self.boards.is_empty() || self.boards.contains(&board.id)
    }

    /// Whether an instance of `profile` suffices for a replica that asks for no whole GPU.
    pub fn suits(&self, profile: &Profile) -> bool {
        self.memory.is_none_or(|m| m <= profile.memory) && self.suits_but_for_memory(profile)
    }

    /// The same, whatever memory it has.
    pub(crate) fn suits_but_for_memory(&self, profile: &Profile) -> bool {
        self.compute_slices <= profile.compute_slices && (!self.media || profile.has_media())
    }

    /// Whether so many whole GPUs of `board` as a replica asks for suffice for it, or one where it
    /// asks for none.
    pub fn suits_whole(&self, board: &Board) -> bool {
        let memory_mib = board.memory.0.saturating_mul(u64::from(self.whole_gpus.max(1)));
        self.compute_slices <= board.compute_slices && self.memory.is_none_or(|m| m.0 <= memory_mib)
    }

    /// The order of a demand: by team and name.
    pub(crate) fn by_name(&self, other: &Workload) -> std::cmp::Ordering {
        // Teams of one file share their name, so most comparisons look at one string only.
        let team = match Arc::ptr_eq(&self.team, &other.team) {
            true => std::cmp::Ordering::Equal,
            false => self.team.cmp(&other.team),
        };
        team.then_with(|| self.name.cmp(&other.name))
    }

    /// `team/workload`, as messages name it.
    pub fn label(&self) -> String {
        format!("{}/{}", self.team, self.name)
    }
}

/// The rows by the team and name of their workload; equal ones keep their order.
pub(crate) fn sorted_by_name<T: Sync>(rows: Vec<T>, of: impl Fn(&T) -> &Workload + Sync) -> Vec<T> {
    if rows.is_sorted_by(|a, b| of(a).by_name(of(b)).is_le()) {
        return rows;
    }
    let order = order_by_name(&rows, of);
    let mut rows: Vec<Option<T>> = rows.into_iter().map(Some).collect();
    let mut sorted = Vec::with_capacity(rows.len());
    sorted.extend(order.into_iter().filter_map(|at| rows[at].take()));
    sorted
}

/// Fewer rows than twice these are looked through by one thread.
const PARALLEL_ROWS: usize = 4_096;

/// The place of each row, in the order of [`sorted_by_name`]. Rows are large and their names lie all
/// over the memory, so what is sorted are short keys: the rank of the team, and the first bytes of the
/// name after those that all names of the team begin with.
fn order_by_name<T: Sync>(rows: &[T], of: impl Fn(&T) -> &Workload + Sync) -> Vec<usize> {
    let mut teams: Vec<(&str, &[u8])> = beginnings(rows, &of).into_iter().collect();
    teams.sort_unstable();
    let begin = |(rank, (team, beginning)): (usize, (_, &[u8]))| (team, (rank, beginning.len()));
    let ranks: HashMap<&str, (usize, usize)> = teams.into_iter().enumerate().map(begin).collect();
    let key = |(at, row): (usize, &T)| {
        let (rank, skipped) = ranks[&*of(row).team];
        (rank, head(&of(row).name.as_bytes()[skipped..]), at)
    };
    let rows_by_place = rows.par_iter().with_min_len(PARALLEL_ROWS).enumerate();
    let mut order: Vec<(usize, u64, usize)> = rows_by_place.map(key).collect();
    order.par_sort_unstable_by(|a, b| {
        let by_name = || of(&rows[a.2]).name.cmp(&of(&rows[b.2]).name);
        (a.0, a.1).cmp(&(b.0, b.1)).then_with(by_name).then(a.2.cmp(&b.2))
    });
    order.into_iter().map(|(.., at)| at).collect()
}

/// For each team what all of its names begin with.
fn beginnings<'r, T: Sync>(
    rows: &'r [T],
    of: &(impl Fn(&T) -> &Workload + Sync),
) -> HashMap<&'r str, &'r [u8]> {
    type Beginnings<'r> = HashMap<&'r str, &'r [u8]>;
    let join = |mut of_teams: Beginnings<'r>, (team, name): (&'r str, &'r [u8])| {
        let beginning = of_teams.entry(team).or_insert(name);
        *beginning = &beginning[..common(beginning, name)];
        of_teams
    };
    let names = rows.par_iter().with_min_len(PARALLEL_ROWS).map(|row| {
        let workload = of(row);
        (&*workload.team, workload.name.as_bytes())
    });
    names
        .fold(HashMap::new, join)
        .reduce(HashMap::new, |one, other| other.into_iter().fold(one, join))
}

/// How many bytes two names begin with alike.
fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// The first eight bytes of a name, which are in the order of the names as far as they differ.
fn head(name: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let length = name.len().min(8);
    bytes[..length].copy_from_slice(&name[..length]);
    u64::from_be_bytes(bytes)
}

/// So many teams are listed for somebody who looks for one.
const FEW_TEAMS: usize = 8;

/// All rows of demand, ordered by team and name, so that the order of an input is of no
/// consequence.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Demand {
    workloads: Vec<Workload>,
}

impl Demand {
    /// Whether some workload is of this team.
    pub fn has_team(&self, name: &str) -> bool {
        self.workloads.iter().any(|w| *w.team == *name)
    }

    /// The team whose name is most like `name`, for a hint; `None` where none is like it.
    fn nearest_team(&self, name: &str) -> Option<&str> {
        let teams = self.workloads.iter().map(|w| &*w.team);
        let alike = teams.filter_map(|team| Some((likeness(team, name)?, team)));
        alike.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, team)| team)
    }

    /// What to say to somebody who named a team without workloads: the team that may be meant, else
    /// all of them where they are few.
    pub fn team_advice(&self, name: &str) -> Option<String> {
        if let Some(near) = self.nearest_team(name) {
            return Some(format!("did you mean '{near}'?"));
        }
        let mut teams: Vec<&str> = self.workloads.iter().map(|w| &*w.team).collect();
        teams.dedup();
        (1..=FEW_TEAMS)
            .contains(&teams.len())
            .then(|| format!("the teams are {}", teams.join(", ")))
    }

    /// The workloads of `file`, on these lines, that another file has already, as problems;
    /// `place_of` remembers, from file to file, where each team and name was.
    pub fn duplicates(&self, file: &str, lines: &[u64], place_of: &mut PlaceOf) -> Vec<Diagnostic> {
        let mut problems = Vec::new();
        for (workload, line) in self.workloads.iter().zip(lines) {
            let name = (workload.team.clone(), workload.name.clone());
            let at = Diagnostic::new("").in_file(file).at_line(*line);
            let place = at.to_string().trim_end_matches([':', ' ']).to_string();
            if let Some(other) = place_of.insert(name, place) {
                let message = format!(
                    "columns 'team' and 'workload': '{}' is in {other} already",
                    workload.label()
                );
                problems.push(Diagnostic { message, ..at });
            }
        }
        problems
    }

    /// A demand of these workloads. Team and name must be unique together.
    pub fn new(workloads: Vec<Workload>) -> Demand {
        Demand { workloads: sorted_by_name(workloads, |workload| workload) }
    }

    /// A demand of workloads that are in the order of their names already.
    pub(crate) fn of_sorted(workloads: Vec<Workload>) -> Demand {
        debug_assert!(workloads.is_sorted_by(|a, b| a.by_name(b).is_lt()), "sorted and unique");
        Demand { workloads }
    }

    /// The workloads, ordered by team and name.
    pub fn workloads(&self) -> &[Workload] {
        &self.workloads
    }

    /// The index of the workload `name` of `team`; `None` where there is none.
    pub fn position(&self, team: &str, name: &str) -> Option<usize> {
        let by_name = |w: &Workload| (&*w.team, &*w.name).cmp(&(team, name));
        self.workloads.binary_search_by(by_name).ok()
    }

    /// Replicas in all.
    pub fn replicas(&self) -> u64 {
        self.workloads.iter().map(|w| w.count).sum()
    }

    /// Whether some workload has a weight of its own, so that weights say more than replicas do.
    pub fn is_weighted(&self) -> bool {
        self.workloads.iter().any(|w| w.weight != Weight::ONE)
    }

    /// The weight of all replicas together, in millionths.
    pub fn weight(&self) -> u128 {
        self.workloads.iter().map(|w| u128::from(w.count) * u128::from(w.weight.0)).sum()
    }

    /// The same demand with every memory raised by `headroom`.
    #[must_use]
    pub fn with_headroom(mut self, headroom: Headroom) -> Demand {
        for workload in &mut self.workloads {
            workload.memory = workload.memory.map(|m| headroom.raise(m));
        }
        self
    }

    /// The rows of these teams only.
    #[must_use]
    pub fn of_teams(mut self, teams: &[String]) -> Demand {
        self.workloads.retain(|w| teams.iter().any(|t| **t == *w.team));
        self
    }

    /// Joins two demands; where both have a row for the same team and name, `other`'s wins, with
    /// what samples show of it kept.
    #[must_use]
    pub fn overridden_by(self, other: Demand) -> Demand {
        if self.workloads.is_empty() {
            return other;
        }
        let mut rows: BTreeMap<(Arc<str>, Arc<str>), Workload> = BTreeMap::new();
        for mut workload in self.workloads.into_iter().chain(other.workloads) {
            let key = (workload.team.clone(), workload.name.clone());
            if let Some(before) = rows.get(&key) {
                workload.observed = workload.observed.or_else(|| before.observed.clone());
            }
            rows.insert(key, workload);
        }
        Demand { workloads: rows.into_values().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_the_order_of_their_names_and_equal_ones_in_their_own() {
        // Names that are alike for eight bytes, shorter ones, and teams of several letters. All names
        // of one team begin alike: with another name of it, or with a part of a letter.
        let teams = ["b", "a", "ab", "a", "c", "d"];
        let names = |team: &str| match team {
            "c" => ["serving-1", "serving-", "serving-10", "serving-2", "serving-0"],
            "d" => ["ä1", "äö", "ã1", "ä0", "ä"],
            _ => ["serving-1", "s", "", "ä", "zz"],
        };
        let mut rows: Vec<(Workload, usize)> = (0..4_000)
            .map(|i| {
                let team = teams[i * 7 % 6];
                (Workload::new(team, names(team)[i * 3 % 5], Mebibytes(1), 1), i)
            })
            .collect();
        let mut expected = rows.clone();
        expected.sort_by(|a, b| (&a.0.team, &a.0.name).cmp(&(&b.0.team, &b.0.name)));
        rows = sorted_by_name(rows, |row| &row.0);
        assert_eq!(rows, expected);
        rows.reverse();
        rows = sorted_by_name(rows, |row| &row.0);
        let by_name = |a: &(Workload, usize), b: &(Workload, usize)| a.0.by_name(&b.0).is_le();
        assert!(rows.is_sorted_by(by_name));
    }
}
