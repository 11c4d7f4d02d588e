//! The slice map: every GPU's memory slices from left to right, who sits there and how full.

use std::collections::BTreeMap;

use super::gib;
use crate::hardware::Catalogue;
use crate::plan::{GpuPlan, Instance, InstanceProfile, Plan};
use crate::text::{plural, thousands};

/// With more different GPUs than this, GPUs of one layout share a row.
const MOST_SINGLE_ROWS: usize = 32;
/// Rows that are drawn; what is left is said in words.
const MOST_ROWS: usize = 32;
/// Teams that get a key of their own.
const MOST_TEAMS: usize = 7;

/// The figure.
#[derive(Debug, Clone, PartialEq)]
pub struct SliceMap {
    /// What is shown, in one line.
    pub title: String,
    /// How it is to be read.
    pub subtitle: String,
    /// The teams with the most memory, the most first.
    pub teams: Vec<TeamKey>,
    /// Further teams, which share one key.
    pub further_teams: usize,
    /// The GPUs.
    pub rows: Vec<SliceRow>,
    /// Whether a row stands for several GPUs of one layout with different tenants.
    pub grouped: bool,
    /// What is not drawn, in words.
    pub omitted: Option<String>,
}

/// A team of the legend.
#[derive(Debug, Clone, PartialEq)]
pub struct TeamKey {
    /// Its name.
    pub name: String,
    /// Memory that it is served, in GiB.
    pub placed_gib: f64,
}

/// One GPU, or several alike.
#[derive(Debug, Clone, PartialEq)]
pub struct SliceRow {
    /// Which GPUs.
    pub label: String,
    /// Their board, and how many there are.
    pub detail: String,
    /// GPUs that the row stands for; with [`SliceMap::grouped`] they differ in their tenants.
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
}

/// What slices are used for.
#[derive(Debug, Clone, PartialEq)]
pub enum CellUse {
    /// An instance that somebody has on all or some of the row's GPUs.
    Handed {
        /// Its profile.
        profile: String,
        /// Memory of one instance, in GiB.
        memory_gib: f64,
        /// Who fills it, the largest share first; a mean over the row's GPUs.
        shares: Vec<Share>,
        /// Who sits there, in words, from more to less important.
        lines: Vec<String>,
        /// The part of the row's GPUs on which somebody has it, 0 to 1.
        occupied: f64,
    },
    /// An instance or a whole GPU that nobody has.
    Spare {
        /// Its profile.
        profile: String,
        /// Its memory, in GiB.
        memory_gib: f64,
    },
    /// Slices that no instance covers.
    Unusable,
}

/// A team's part of an instance.
#[derive(Debug, Clone, PartialEq)]
pub struct Share {
    /// Position in [`SliceMap::teams`]; `None` is one of the further teams.
    pub team: Option<usize>,
    /// Memory that it needs there, in GiB; a mean over the row's GPUs.
    pub gib: f64,
}

/// What makes two instances alike, and two GPUs by their instances.
type Tenant<'p> = Option<(&'p str, &'p str, u64)>;
type InstanceKey<'p> = (u32, &'p InstanceProfile, Tenant<'p>);

impl SliceMap {
    /// The slice map of a plan whose boards are in `catalogue`.
    pub fn new(plan: &Plan, catalogue: &Catalogue) -> SliceMap {
        let mut by_team: BTreeMap<&str, u64> = BTreeMap::new();
        for assignment in
            plan.gpus.iter().flat_map(|g| &g.instances).filter_map(|i| i.assignment.as_ref())
        {
            *by_team.entry(&assignment.team).or_default() += assignment.demand_mib;
        }
        let mut teams: Vec<(&str, u64)> = by_team.into_iter().collect();
        teams.sort_by_key(|(_, mib)| std::cmp::Reverse(*mib));
        let further_teams = teams.len().saturating_sub(MOST_TEAMS);
        teams.truncate(MOST_TEAMS);
        let index: BTreeMap<&str, usize> =
            teams.iter().enumerate().map(|(i, (name, _))| (*name, i)).collect();

        // GPUs that are alike to the last tenant, in the order in which they first occur.
        let alike = group(plan, |gpu| -> Vec<InstanceKey<'_>> {
            gpu.instances
                .iter()
                .map(|i| {
                    let who = i.assignment.as_ref();
                    (i.start, &i.profile, who.map(|o| (&*o.team, &*o.workload, o.demand_mib)))
                })
                .collect()
        });
        let grouped = alike.len() > MOST_SINGLE_ROWS;
        let mut groups = if grouped {
            group(plan, |gpu| -> Vec<InstanceKey<'_>> {
                // With MIG off, one that somebody has is another row than one that nobody has.
                let whole =
                    |i: &Instance| i.profile == InstanceProfile::Full && i.assignment.is_some();
                gpu.instances
                    .iter()
                    .map(|i| (i.start, &i.profile, whole(i).then_some(("", "", 0))))
                    .collect()
            })
        } else {
            alike
        };
        if grouped {
            groups.sort_by_key(|g| std::cmp::Reverse(g.len()));
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
        let rows = groups.iter().map(|g| row(g, grouped, &index, catalogue)).collect();
        let totals = &plan.totals;
        let subtitle = format!(
            "{} of {} placed on {} of {}. {}",
            thousands(totals.placed),
            plural(totals.replicas, "replica"),
            thousands(totals.gpus_used),
            plural(totals.gpus, "GPU"),
            if grouped {
                "Each row is one layout; its bars are means over the GPUs that have it, and a percentage says on how many of them a team sits there."
            } else {
                "Each row is one GPU, or several alike, cut into instances; a bar shows how full."
            }
        );
        SliceMap {
            title: "Who sits where on the GPUs".to_string(),
            subtitle,
            teams: teams
                .iter()
                .map(|(name, mib)| TeamKey { name: (*name).to_string(), placed_gib: gib(*mib) })
                .collect(),
            further_teams,
            rows,
            grouped,
            omitted,
        }
    }
}

/// GPUs by board and what `key` says of them, in the order in which each first occurs.
fn group<'p, K: Ord>(plan: &'p Plan, key: impl Fn(&'p GpuPlan) -> K) -> Vec<Vec<&'p GpuPlan>> {
    let mut groups: Vec<Vec<&GpuPlan>> = Vec::new();
    let mut known: BTreeMap<(&str, bool, K), usize> = BTreeMap::new();
    for gpu in &plan.gpus {
        let at = *known.entry((&gpu.board, gpu.mig, key(gpu))).or_insert_with(|| {
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

fn row(
    gpus: &[&GpuPlan],
    grouped: bool,
    teams: &BTreeMap<&str, usize>,
    catalogue: &Catalogue,
) -> SliceRow {
    let (label, board) = match gpus {
        [] => (String::new(), String::new()),
        [gpu, ..] => (label(gpus, grouped), gpu.board.to_string()),
    };
    let of_instances =
        gpus.iter().flat_map(|g| &g.instances).map(|i| i.start + i.size).max().unwrap_or(1);
    let slices = catalogue.by_id(&board).map_or(of_instances, |b| b.memory_slices);
    let mut cells = Vec::new();
    let mut next = 0;
    let instances = gpus.first().map_or(0, |g| g.instances.len());
    for at in 0..instances {
        let alike: Vec<&Instance> = gpus.iter().filter_map(|g| g.instances.get(at)).collect();
        let Some(first) = alike.first() else { continue };
        if first.start > next {
            let size = first.start - next;
            cells.push(Cell { start: next, size, holds: CellUse::Unusable });
        }
        next = first.start + first.size;
        cells.push(Cell {
            start: first.start,
            size: first.size,
            holds: holds(&alike, grouped, teams),
        });
    }
    if next < slices {
        cells.push(Cell { start: next, size: slices - next, holds: CellUse::Unusable });
    }
    let count = gpus.len() as u64;
    let detail =
        if count > 1 && !grouped { format!("{} × {board}", thousands(count)) } else { board };
    SliceRow { label, detail, gpus: count, slices, cells }
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

/// What one position of a layout holds over all GPUs of a row.
fn holds(alike: &[&Instance], grouped: bool, teams: &BTreeMap<&str, usize>) -> CellUse {
    let (profile, memory_gib) = alike.first().map_or((String::new(), 0.0), |i| {
        let name = match &i.profile {
            InstanceProfile::Full => "whole GPU".to_string(),
            InstanceProfile::Mig(name) => name.to_string(),
        };
        (name, gib(i.memory_mib))
    });
    let mut by_team: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let mut occupied = 0;
    for assignment in alike.iter().filter_map(|i| i.assignment.as_ref()) {
        let of_team = by_team.entry(&assignment.team).or_default();
        of_team.0 += assignment.demand_mib;
        of_team.1 += 1;
        occupied += 1;
    }
    if occupied == 0 {
        return CellUse::Spare { profile, memory_gib };
    }
    let count = alike.len() as f64;
    let mut shares: Vec<Share> = Vec::new();
    let mut further_gib = 0.0;
    let mut order: Vec<(&str, (u64, u64))> = by_team.into_iter().collect();
    order.sort_by_key(|(_, (mib, _))| std::cmp::Reverse(*mib));
    for (name, (mib, _)) in &order {
        match teams.get(name) {
            Some(team) => shares.push(Share { team: Some(*team), gib: gib(*mib) / count }),
            None => further_gib += gib(*mib) / count,
        }
    }
    if further_gib > 0.0 {
        shares.push(Share { team: None, gib: further_gib });
    }
    let lines = if grouped {
        let percent = |n: u64| format!("{:.0}%", 100.0 * n as f64 / count);
        order.iter().take(2).map(|(name, (_, n))| format!("{name} {}", percent(*n))).collect()
    } else {
        let assignment = alike.iter().find_map(|i| i.assignment.as_ref());
        assignment.map_or(Vec::new(), |o| vec![o.workload.to_string(), o.team.to_string()])
    };
    CellUse::Handed { profile, memory_gib, shares, lines, occupied: occupied as f64 / count }
}
