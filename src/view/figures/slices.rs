//! The slice map: every GPU's memory slices from left to right, what each instance is assigned to
//! and how full it is.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::{TeamNumbers, gib};
use crate::demand::Demand;
use crate::error::{Error, Result};
use crate::hardware::Catalogue;
use crate::plan::{Assignment, GpuPlan, Instance, InstanceProfile, Plan};
use crate::text::{percent, plural, thousands};

/// With more different GPUs than this, GPUs of one layout share a row.
const MOST_SINGLE_ROWS: usize = 32;
/// Rows that are drawn; the others are counted in words.
const MOST_ROWS: usize = 32;
/// Keys that get a colour of their own.
const MOST_KEYS: usize = 7;
/// Teams that the sentence of an instance names.
const MOST_NAMED: usize = 6;
/// Parts of an instance that are needed, as the legend tells them apart: at least so much, name.
const NEED: [(f64, &str); 4] = [
    (0.9, "90 to 100 % of the instance needed"),
    (0.75, "75 to 90 %"),
    (0.5, "50 to 75 %"),
    (0.0, "less than 50 %"),
];

/// What the colours of the map tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum ColorBy {
    /// Teams: those with the most memory have a colour of their own.
    Team,
    /// Priorities, the highest first.
    Priority,
    /// How much of its instance a replica needs.
    Need,
}

/// What the reader asks of the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Question<'q> {
    /// Teams, or with so many of them that most would be grey, how full the instances are.
    #[default]
    Any,
    /// One of the three.
    By(ColorBy),
    /// Where is this team?
    Team(&'q str),
}

impl<'q> Question<'q> {
    /// Where `team` is, where one is named; else what `color_by` asks.
    ///
    /// # Errors
    /// A team that the demand does not have (exit 2).
    pub fn new(color_by: Option<ColorBy>, team: Option<&'q str>, demand: &Demand) -> Result<Self> {
        let Some(team) = team else { return Ok(color_by.map_or(Question::Any, Question::By)) };
        if demand.has_team(team) {
            return Ok(Question::Team(team));
        }
        let error = Error::usage(format!("--highlight: no workload is of the team '{team}'"));
        Err(demand.team_advice(team).into_iter().fold(error, Error::hint))
    }
}

/// The figure.
#[derive(Debug, Clone, PartialEq)]
pub struct SliceMap {
    /// What is shown, in one line.
    pub title: String,
    /// How it is to be read.
    pub subtitle: String,
    /// What the colours tell apart.
    pub color_by: ColorBy,
    /// The legend's keys: teams with the most memory first, priorities highest first, instances
    /// fullest first.
    pub keys: Vec<Key>,
    /// What has no key, in words.
    pub others: Option<String>,
    /// The GPUs.
    pub rows: Vec<SliceRow>,
    /// Whether a row stands for several GPUs of one layout with different assignments.
    pub grouped: bool,
    /// What is not drawn, in words.
    pub omitted: Option<String>,
}

/// A key of the legend.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// What it stands for.
    pub name: String,
    /// Memory that is served of it, in GiB.
    pub placed_gib: f64,
}

/// One GPU, or several alike.
#[derive(Debug, Clone, PartialEq)]
pub struct SliceRow {
    /// Which GPUs.
    pub label: String,
    /// Their board, and how many there are.
    pub detail: String,
    /// GPUs that the row stands for; with [`SliceMap::grouped`] they differ in their assignments.
    pub gpus: u64,
    /// Memory slices of the board.
    pub slices: u32,
    /// What lies on the slices, by start, without gaps.
    pub cells: Vec<Cell>,
}

/// Neighbouring slices that are one thing.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// First memory slice.
    pub start: u32,
    /// Memory slices.
    pub size: u32,
    /// What they are.
    pub holds: CellUse,
    /// Numbers of the teams that have an instance here.
    pub teams: Vec<u32>,
}

/// What slices are used for.
#[derive(Debug, Clone, PartialEq)]
pub enum CellUse {
    /// An instance that is assigned on all or some of the row's GPUs.
    Allocated(Allocated),
    /// A free instance, or a free whole GPU.
    Free {
        /// Its profile.
        profile: String,
        /// Its memory, in GiB.
        memory_gib: f64,
    },
    /// A GPU on which something runs with MIG off and that serves no replica.
    StaysWhole {
        /// Its memory, in GiB.
        memory_gib: f64,
    },
    /// Slices that no instance covers.
    Unusable,
}

/// An instance that is assigned.
#[derive(Debug, Clone, PartialEq)]
pub struct Allocated {
    /// Its profile.
    pub profile: String,
    /// Memory of one instance, in GiB.
    pub memory_gib: f64,
    /// What is needed of it, by key; a mean over the row's GPUs.
    pub shares: Vec<Share>,
    /// What it is assigned to, in short words, from more to less important.
    pub lines: Vec<String>,
    /// The same in a sentence.
    pub assigned: String,
    /// The number of the row's GPUs on which it is assigned.
    pub gpus: u64,
    /// The number of GPUs that the row stands for.
    pub of_gpus: u64,
}

/// A key's part of an instance.
#[derive(Debug, Clone, PartialEq)]
pub struct Share {
    /// Position in [`SliceMap::keys`]; `None` has no key.
    pub key: Option<usize>,
    /// Memory that is needed there, in GiB; a mean over the row's GPUs.
    pub gib: f64,
}

impl Cell {
    /// What lies here, in a sentence.
    pub fn sentence(&self) -> String {
        let slices = match self.size {
            1 => format!("memory slice {}", self.start),
            n => format!("memory slices {} to {}", self.start, self.start + n - 1),
        };
        match &self.holds {
            CellUse::Unusable => format!("{slices}, in no instance"),
            CellUse::StaysWhole { memory_gib } => {
                format!("whole GPU ({memory_gib:.1} GiB), in use with MIG off")
            }
            CellUse::Free { profile, memory_gib } => {
                format!("{profile} ({memory_gib:.1} GiB) on {slices}, free")
            }
            CellUse::Allocated(a) => {
                let free = match a.of_gpus - a.gpus.min(a.of_gpus) {
                    0 => String::new(),
                    free => format!("; free on {}", percent(free, a.of_gpus)),
                };
                format!("{} ({:.1} GiB) on {slices}, {}{free}", a.profile, a.memory_gib, a.assigned)
            }
        }
    }
}

/// The legend, and which of its keys an assignment has.
struct Keys<'p> {
    by: ColorBy,
    keys: Vec<Key>,
    others: Option<String>,
    teams: BTreeMap<&'p str, usize>,
    priorities: BTreeMap<(&'p str, &'p str), usize>,
}

impl<'p> Keys<'p> {
    fn new(plan: &'p Plan, demand: &'p Demand, question: Question<'p>) -> Keys<'p> {
        let mut by_team: BTreeMap<&str, u64> = BTreeMap::new();
        for assignment in assignments(plan) {
            *by_team.entry(&assignment.team).or_default() += assignment.demand_mib;
        }
        match question {
            Question::Team(team) => Keys::team(team, by_team.get(team).copied().unwrap_or(0)),
            Question::By(ColorBy::Team) => Keys::teams(by_team),
            Question::By(ColorBy::Priority) => Keys::priorities(plan, demand),
            Question::By(ColorBy::Need) => Keys::need(plan),
            Question::Any => {
                let all: u64 = by_team.values().sum();
                let mut sizes: Vec<u64> = by_team.values().copied().collect();
                sizes.sort_by_key(|mib| Reverse(*mib));
                let most: u64 = sizes.iter().take(MOST_KEYS).sum();
                if 2 * most >= all { Keys::teams(by_team) } else { Keys::need(plan) }
            }
        }
    }

    fn empty(by: ColorBy) -> Keys<'p> {
        Keys {
            by,
            keys: Vec::new(),
            others: None,
            teams: BTreeMap::new(),
            priorities: BTreeMap::new(),
        }
    }

    fn team(team: &'p str, mib: u64) -> Keys<'p> {
        Keys {
            keys: vec![Key { name: team.to_string(), placed_gib: gib(mib) }],
            others: Some("other teams".to_string()),
            teams: BTreeMap::from([(team, 0)]),
            ..Keys::empty(ColorBy::Team)
        }
    }

    fn teams(by_team: BTreeMap<&'p str, u64>) -> Keys<'p> {
        let mut order: Vec<(&str, u64)> = by_team.into_iter().collect();
        order.sort_by_key(|(_, mib)| Reverse(*mib));
        let further = order.len().saturating_sub(MOST_KEYS) as u64;
        order.truncate(MOST_KEYS);
        let key =
            |(name, mib): &(&str, u64)| Key { name: (*name).to_string(), placed_gib: gib(*mib) };
        Keys {
            keys: order.iter().map(key).collect(),
            others: (further > 0).then(|| plural(further, "further team")),
            teams: order.iter().enumerate().map(|(i, (name, _))| (*name, i)).collect(),
            ..Keys::empty(ColorBy::Team)
        }
    }

    fn priorities(plan: &'p Plan, demand: &'p Demand) -> Keys<'p> {
        let of: BTreeMap<(&str, &str), i64> =
            demand.workloads().iter().map(|w| ((&*w.team, &*w.name), w.priority)).collect();
        let mut placed: BTreeMap<Reverse<i64>, u64> = BTreeMap::new();
        for a in assignments(plan) {
            if let Some(priority) = of.get(&(&*a.team, &*a.workload)) {
                *placed.entry(Reverse(*priority)).or_default() += a.demand_mib;
            }
        }
        let keys = placed.iter().take(MOST_KEYS).map(|(priority, mib)| Key {
            name: format!("priority {}", priority.0),
            placed_gib: gib(*mib),
        });
        let number: BTreeMap<i64, usize> =
            placed.keys().take(MOST_KEYS).enumerate().map(|(i, p)| (p.0, i)).collect();
        Keys {
            keys: keys.collect(),
            others: (placed.len() > MOST_KEYS).then(|| "lower priorities".to_string()),
            priorities: of
                .into_iter()
                .filter_map(|(who, p)| Some((who, *number.get(&p)?)))
                .collect(),
            ..Keys::empty(ColorBy::Priority)
        }
    }

    fn need(plan: &Plan) -> Keys<'p> {
        let mut placed = [0; NEED.len()];
        for instance in plan.gpus.iter().flat_map(|g| &g.instances) {
            if let Some(assignment) = &instance.assignment {
                placed[need(instance, assignment)] += assignment.demand_mib;
            }
        }
        let key = |((_, name), mib): (&(f64, &str), &u64)| Key {
            name: (*name).to_string(),
            placed_gib: gib(*mib),
        };
        Keys { keys: NEED.iter().zip(&placed).map(key).collect(), ..Keys::empty(ColorBy::Need) }
    }

    fn of(&self, instance: &Instance, assignment: &Assignment) -> Option<usize> {
        match self.by {
            ColorBy::Team => self.teams.get(&*assignment.team).copied(),
            ColorBy::Priority => {
                self.priorities.get(&(&*assignment.team, &*assignment.workload)).copied()
            }
            ColorBy::Need => Some(need(instance, assignment)),
        }
    }
}

fn assignments(plan: &Plan) -> impl Iterator<Item = &Assignment> {
    plan.gpus.iter().flat_map(|g| &g.instances).filter_map(|i| i.assignment.as_ref())
}

/// Position in [`NEED`] of what is needed of an instance.
fn need(instance: &Instance, assignment: &Assignment) -> usize {
    let part = assignment.demand_mib as f64 / instance.memory_mib.max(1) as f64;
    NEED.iter().position(|(least, _)| part >= *least).unwrap_or(NEED.len() - 1)
}

/// What makes two instances alike, and two GPUs by their instances.
type Assigned<'p> = Option<(&'p str, &'p str, u64)>;
type InstanceKey<'p> = (u32, &'p InstanceProfile, Assigned<'p>);

impl SliceMap {
    /// The slice map of a plan whose boards are in `catalogue`; `demand` is what it was made for.
    pub fn new(
        plan: &Plan,
        demand: &Demand,
        catalogue: &Catalogue,
        question: Question<'_>,
    ) -> SliceMap {
        let keys = Keys::new(plan, demand, question);
        let numbers = TeamNumbers::new(demand);
        let (groups, grouped, omitted) = groups(plan);
        let look = Look { keys: &keys, numbers: &numbers, catalogue, grouped };
        let rows = groups.iter().map(|g| look.row(g)).collect();
        let totals = &plan.totals;
        let subtitle = format!(
            "{} of {} placed on {} of {}. {}",
            thousands(totals.placed),
            plural(totals.replicas, "replica"),
            thousands(totals.gpus_used),
            plural(totals.gpus, "GPU"),
            if grouped {
                "Each row is one layout; its bars are means over the GPUs that have it, and a percentage says on how many of them a team has the instance."
            } else {
                "Each row is one GPU, or several alike, with its instances; a bar shows how full each is."
            }
        );
        SliceMap {
            title: "The layout of every GPU, and what its instances are assigned to".to_string(),
            subtitle,
            color_by: keys.by,
            keys: keys.keys,
            others: keys.others,
            rows,
            grouped,
            omitted,
        }
    }

    /// Says in which hour the instances are assigned so, where the plan is one over time.
    pub fn in_hour(self, hour: Option<&str>) -> SliceMap {
        let subtitle = super::in_hour(hour, self.subtitle);
        SliceMap { subtitle, ..self }
    }
}

/// The rows' GPUs, whether a row may hold different assignments, and what has no row.
fn groups(plan: &Plan) -> (Vec<Vec<&GpuPlan>>, bool, Option<String>) {
    // GPUs that are alike to the last assignment, in the order in which they first occur.
    let alike = group(plan, |gpu| -> Vec<InstanceKey<'_>> {
        gpu.instances
            .iter()
            .map(|i| {
                let to = i.assignment.as_ref();
                (i.start, &i.profile, to.map(|a| (&*a.team, &*a.workload, a.demand_mib)))
            })
            .collect()
    });
    let grouped = alike.len() > MOST_SINGLE_ROWS;
    let mut groups = if grouped {
        group(plan, |gpu| -> Vec<InstanceKey<'_>> {
            // With MIG off, a GPU that is assigned is another row than a free one.
            let whole = |i: &Instance| i.profile == InstanceProfile::Full && i.assignment.is_some();
            gpu.instances
                .iter()
                .map(|i| (i.start, &i.profile, whole(i).then_some(("", "", 0))))
                .collect()
        })
    } else {
        alike
    };
    if grouped {
        groups.sort_by_key(|g| Reverse(g.len()));
    }
    let left = groups.split_off(groups.len().min(MOST_ROWS));
    let omitted = (!left.is_empty()).then(|| {
        let gpus = left.iter().map(|g| g.len() as u64).sum();
        format!(
            "Not drawn: {} of {}.",
            plural(left.len() as u64, "rarer layout"),
            plural(gpus, "GPU")
        )
    });
    if grouped {
        // A stable sort: within a board the most frequent layout stays first.
        groups.sort_by(|a, b| board_of(a).cmp(board_of(b)));
    }
    (groups, grouped, omitted)
}

/// GPUs by board and what `key` says of them, in the order in which each first occurs.
fn group<'p, K: Ord>(plan: &'p Plan, key: impl Fn(&'p GpuPlan) -> K) -> Vec<Vec<&'p GpuPlan>> {
    let mut groups: Vec<Vec<&GpuPlan>> = Vec::new();
    let mut known: BTreeMap<(&str, bool, bool, K), usize> = BTreeMap::new();
    for gpu in &plan.gpus {
        let key = (&*gpu.board, gpu.mig, gpu.stays_whole, key(gpu));
        let at = *known.entry(key).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[at].push(gpu);
    }
    groups
}

fn board_of<'p>(gpus: &[&'p GpuPlan]) -> &'p str {
    gpus.first().map_or("", |g| &g.board)
}

fn label(gpus: &[&GpuPlan], grouped: bool) -> String {
    match gpus {
        [one] => format!("{} GPU {}", one.node, one.gpu),
        [first, .., last] if !grouped && first.node == last.node => {
            let count = gpus.len() as u64;
            let run = u64::from(last.gpu - first.gpu) + 1 == count;
            if run {
                format!("{} GPU {}–{}", first.node, first.gpu, last.gpu)
            } else {
                format!("{} GPU {}, …, {}", first.node, first.gpu, last.gpu)
            }
        }
        _ => plural(gpus.len() as u64, "GPU"),
    }
}

/// What rows are made with.
struct Look<'l> {
    keys: &'l Keys<'l>,
    numbers: &'l TeamNumbers<'l>,
    catalogue: &'l Catalogue,
    grouped: bool,
}

impl Look<'_> {
    fn row(&self, gpus: &[&GpuPlan]) -> SliceRow {
        let board = board_of(gpus).to_string();
        let of_instances =
            gpus.iter().flat_map(|g| &g.instances).map(|i| i.start + i.size).max().unwrap_or(1);
        let slices = self.catalogue.by_id(&board).map_or(of_instances, |b| b.memory_slices);
        let mut cells = Vec::new();
        let mut next = 0;
        let unusable = |start: u32, end: u32| Cell {
            start,
            size: end - start,
            holds: CellUse::Unusable,
            teams: Vec::new(),
        };
        for at in 0..gpus.first().map_or(0, |g| g.instances.len()) {
            let alike: Vec<&Instance> = gpus.iter().filter_map(|g| g.instances.get(at)).collect();
            let Some(first) = alike.first() else { continue };
            if first.start > next {
                cells.push(unusable(next, first.start));
            }
            next = first.start + first.size;
            cells.push(self.cell(&alike, first, gpus.iter().any(|g| g.stays_whole)));
        }
        if next < slices {
            cells.push(unusable(next, slices));
        }
        let count = gpus.len() as u64;
        let detail = if count > 1 && !self.grouped {
            format!("{} × {board}", thousands(count))
        } else {
            board
        };
        SliceRow { label: label(gpus, self.grouped), detail, gpus: count, slices, cells }
    }

    /// What one position of a layout holds over all GPUs of a row, which may stay whole.
    fn cell(&self, alike: &[&Instance], first: &Instance, stays_whole: bool) -> Cell {
        let profile = match &first.profile {
            InstanceProfile::Full => "whole GPU".to_string(),
            InstanceProfile::Mig(name) => name.to_string(),
        };
        let memory_gib = gib(first.memory_mib);
        let count = alike.len() as u64;
        let mut by_team: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        // Memory by key, those without a key last.
        let mut by_key: BTreeMap<usize, u64> = BTreeMap::new();
        let mut assigned = 0;
        for instance in alike {
            let Some(assignment) = &instance.assignment else { continue };
            let of_team = by_team.entry(&assignment.team).or_default();
            of_team.0 += assignment.demand_mib;
            of_team.1 += 1;
            let key = self.keys.of(instance, assignment).unwrap_or(usize::MAX);
            *by_key.entry(key).or_default() += assignment.demand_mib;
            assigned += 1;
        }
        let holds = if assigned == 0 && stays_whole {
            CellUse::StaysWhole { memory_gib }
        } else if assigned == 0 {
            CellUse::Free { profile, memory_gib }
        } else {
            let mut order: Vec<(&str, (u64, u64))> =
                by_team.iter().map(|(team, sums)| (*team, *sums)).collect();
            order.sort_by_key(|(_, (mib, _))| Reverse(*mib));
            let share = |(key, mib): (usize, u64)| Share {
                key: (key != usize::MAX).then_some(key),
                gib: gib(mib) / count as f64,
            };
            CellUse::Allocated(Allocated {
                profile,
                memory_gib,
                shares: by_key.into_iter().map(share).collect(),
                lines: self.lines(alike, &order),
                assigned: self.assigned(alike, &order),
                gpus: assigned,
                of_gpus: count,
            })
        };
        let teams = by_team.keys().filter_map(|team| self.numbers.of(team)).collect();
        Cell { start: first.start, size: first.size, holds, teams }
    }

    fn lines(&self, alike: &[&Instance], order: &[(&str, (u64, u64))]) -> Vec<String> {
        if self.grouped {
            let named = order.iter().take(2);
            return named.map(|(team, (_, n))| share_of(team, *n, alike.len())).collect();
        }
        let one = alike.iter().find_map(|i| i.assignment.as_ref());
        one.map_or(Vec::new(), |a| vec![a.workload.to_string(), a.team.to_string()])
    }

    fn assigned(&self, alike: &[&Instance], order: &[(&str, (u64, u64))]) -> String {
        if self.grouped {
            let named: Vec<String> = order
                .iter()
                .take(MOST_NAMED)
                .map(|(team, (_, n))| share_of(team, *n, alike.len()))
                .collect();
            let further = match order.len().saturating_sub(MOST_NAMED) {
                0 => String::new(),
                n => format!(" and {}", plural(n as u64, "further team")),
            };
            return format!("assigned to {}{further}", named.join(", "));
        }
        let one = alike.iter().find_map(|i| i.assignment.as_ref());
        one.map_or(String::new(), |a| {
            let need = gib(a.demand_mib);
            format!("assigned to {}/{}, which needs {need:.1} GiB", a.team, a.workload)
        })
    }
}

/// `research 40 %`.
fn share_of(team: &str, instances: u64, all: usize) -> String {
    format!("{team} {}", percent(instances, all as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_said_in_sentences() {
        let cell = |size, holds| Cell { start: 4, size, holds, teams: Vec::new() };
        assert_eq!(cell(1, CellUse::Unusable).sentence(), "memory slice 4, in no instance");
        let free = CellUse::Free { profile: "2g.20gb".to_string(), memory_gib: 19.5 };
        assert_eq!(cell(2, free).sentence(), "2g.20gb (19.5 GiB) on memory slices 4 to 5, free");
        let in_use = CellUse::StaysWhole { memory_gib: 79.2 };
        assert_eq!(cell(8, in_use).sentence(), "whole GPU (79.2 GiB), in use with MIG off");
        let allocated = |gpus| Allocated {
            profile: "3g.40gb".to_string(),
            memory_gib: 39.25,
            shares: Vec::new(),
            lines: Vec::new(),
            assigned: "assigned to research 40 %".to_string(),
            gpus,
            of_gpus: 4,
        };
        let whole = "3g.40gb (39.2 GiB) on memory slices 4 to 7, assigned to research 40 %";
        assert_eq!(cell(4, CellUse::Allocated(allocated(4))).sentence(), whole);
        let part = cell(4, CellUse::Allocated(allocated(3))).sentence();
        assert_eq!(part, format!("{whole}; free on 25 %"));
    }

    #[test]
    fn need_has_four_grades() {
        let instance = |need| {
            let text = format!(
                r#"{{"profile": "1g.10gb", "start": 0, "size": 1, "memory_mib": 1000, "team": "t",
                "workload": "w", "replica": 1, "demand_mib": {need}}}"#
            );
            serde_json::from_str::<Instance>(&text).unwrap()
        };
        for (mib, grade) in [(1000, 0), (900, 0), (899, 1), (750, 1), (749, 2), (500, 2), (1, 3)] {
            let instance = instance(mib);
            assert_eq!(need(&instance, instance.assignment.as_ref().unwrap()), grade, "{mib}");
        }
    }
}
