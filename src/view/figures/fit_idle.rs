//! Fit versus idle memory: the plan, what people do today, and the frontier that none can pass.

mod scale;

pub use scale::Amount;
use scale::{Scale, bands};

use super::gib;
use crate::compare::{
    Baseline, Comparison, Frontier, FrontierPoint, LeftOut, PLAN_ROW, best_preset,
};
use crate::demand::Demand;
use crate::text::{plural, thousands};
use crate::units::{Mebibytes, amount};
use crate::view::text::{not_proved, of_priority, placed_by};

/// So many presets are shown; a fleet of many boards has many.
const MOST_PRESETS: usize = 12;
/// So many kinds of boards are named.
const MOST_BOARDS: usize = 4;
/// So many workloads are named in the note of a way.
const MOST_NAMED: usize = 3;

/// The figure.
#[derive(Debug, Clone, PartialEq)]
pub struct FitIdle {
    /// What was found, in a sentence.
    pub title: String,
    /// How it is to be read.
    pub subtitle: String,
    /// What was asked for and on which GPUs, in a line.
    pub setting: String,
    /// What `fit` counts.
    pub unit: FitUnit,
    /// The whole demand: what `fit` would be if all of it were placed.
    pub most_fit: Amount,
    /// Where it would mislead to add up what is served of all priorities, since serving many of a
    /// low one costs a high one: for each priority, highest first, up to which `fit` all of it and
    /// of those above is served. A way's `fit` then ends in the first priority that it does not
    /// serve in full. Replicas that no instance can hold are left out here, or a way would end in
    /// their priority for ever. Else empty.
    pub bands: Vec<(i64, Amount)>,
    /// Whether some of the demand fits no instance and is unplaced in every way.
    pub out_of_reach: bool,
    /// Memory of the whole fleet, in GiB.
    pub fleet_gib: f64,
    /// The ways, the plan first.
    pub ways: Vec<Way>,
    /// The plan and the few ways that it is worth comparing with, as positions in `ways`.
    pub headline: Vec<usize>,
    /// The most that fits on so many GPUs, by rising number.
    pub frontier: Vec<FrontierDot>,
    /// Whether the frontier has a dot for every number of GPUs.
    pub frontier_complete: bool,
}

/// What fit is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FitUnit {
    /// Replicas that are placed.
    Replicas,
    /// The sum of their weights, where weights differ.
    Weight,
}

/// What kind of way it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WayKind {
    /// The plan.
    Plan,
    /// The same layout on all GPUs.
    Preset,
    /// No MIG.
    WholeGpus,
    /// One replica after the other.
    Heuristic,
}

/// One way to serve the demand.
#[derive(Debug, Clone, PartialEq)]
pub struct Way {
    /// Its name.
    pub name: String,
    /// What it is, in a few words.
    pub role: String,
    /// Its kind.
    pub kind: WayKind,
    /// What fits, in the figure's unit.
    pub fit: Amount,
    /// Memory of all GPUs that serves no workload, in GiB.
    pub idle_gib: f64,
    /// GPUs in use.
    pub gpus_used: u64,
    /// Memory that serves a workload, in GiB.
    pub placed_gib: f64,
    /// Internal fragmentation: memory that is allocated beyond the demand, in GiB.
    pub rounding_gib: f64,
    /// Memory in free instances and free whole GPUs, in GiB.
    pub spare_gib: f64,
    /// Memory in no instance, in GiB.
    pub unusable_gib: f64,
    /// `9 of 17`, and by priority where there are several.
    pub fit_text: String,
    /// The same with ever fewer words, where there is little space.
    pub fit_shorter: Vec<String>,
    /// `9 of 17` replicas.
    pub placed: String,
    /// The part of the replicas that is placed, 0 to 1.
    pub placed_part: f64,
    /// What fits by priority, where there are two or three; else empty.
    pub by_priority: String,
    /// What it leaves unplaced and why; empty where it serves all.
    pub note: String,
}

impl Way {
    /// What fits, with as many numbers as `fits` has space for.
    pub fn fit_within(&self, fits: impl Fn(&str) -> bool) -> &str {
        let texts = || [&self.fit_text].into_iter().chain(&self.fit_shorter);
        texts().find(|text| fits(text)).or(texts().last()).map_or("", String::as_str)
    }

    /// The way in a sentence.
    pub fn sentence(&self) -> String {
        let note = if self.note.is_empty() { String::new() } else { format!("; {}", self.note) };
        format!(
            "{}: {} placed on {}; {:.0} GiB serve a workload, {:.0} GiB are idle: {:.0} internal fragmentation, {:.0} free, {:.0} unusable{note}",
            self.name,
            self.fit_text,
            plural(self.gpus_used, "GPU"),
            self.placed_gib,
            self.idle_gib,
            self.rounding_gib,
            self.spare_gib,
            self.unusable_gib,
        )
    }
}

/// The most that fits on a number of GPUs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrontierDot {
    /// GPUs that may be in use.
    pub gpus: u64,
    /// What fits, in the figure's unit.
    pub fit: Amount,
    /// Memory of all GPUs that serves no workload, in GiB.
    pub idle_gib: f64,
}

impl FrontierDot {
    /// The dot in a sentence.
    pub fn sentence(&self, unit: FitUnit) -> String {
        let what = match unit {
            FitUnit::Replicas => "replicas",
            FitUnit::Weight => "weight",
        };
        let gpus = plural(self.gpus, "GPU");
        format!("on {gpus} at most: {} {what}, {:.0} GiB idle", self.fit, self.idle_gib)
    }
}

impl FitIdle {
    /// The figure of a comparison and its frontier.
    pub fn new(comparison: &Comparison, frontier: &Frontier, demand: &Demand) -> FitIdle {
        let scale = Scale::new(comparison, frontier, demand);
        let (rows, of_presets) = shown(&comparison.rows);
        let ways: Vec<Way> = rows.iter().map(|row| way(row, comparison, &scale, demand)).collect();
        let totals = &comparison.plan.totals;
        FitIdle {
            title: finding(comparison, demand),
            subtitle: subtitle(comparison, &scale, of_presets),
            setting: setting(comparison, demand),
            unit: scale.unit,
            most_fit: scale.all.iter().copied().sum(),
            bands: if scale.in_bands {
                bands(&comparison.priorities, &scale.reachable)
            } else {
                Vec::new()
            },
            out_of_reach: !comparison.out_of_reach.is_empty(),
            fleet_gib: gib(totals.fleet_mib),
            headline: headline(&rows, &comparison.rows),
            ways,
            frontier: frontier.points.iter().map(|p| dot(p, &scale, totals.fleet_mib)).collect(),
            frontier_complete: frontier.complete,
        }
    }
}

/// The rows that are drawn, and the number of presets where not all of them are.
fn shown(rows: &[Baseline]) -> (Vec<&Baseline>, Option<usize>) {
    let mut presets: Vec<&Baseline> = rows.iter().filter(|r| r.is_preset()).collect();
    let count = presets.len();
    presets.sort_by_key(|row| std::cmp::Reverse(row.rank()));
    presets.truncate(MOST_PRESETS);
    let kept = |row: &&Baseline| !row.is_preset() || presets.iter().any(|p| p.name == row.name);
    (rows.iter().filter(kept).collect(), (count > MOST_PRESETS).then_some(count))
}

/// `17 replicas of 3 teams on 4 × a100-sxm4-80gb, 320 GiB of memory`; of many boards the number.
fn setting(comparison: &Comparison, demand: &Demand) -> String {
    let totals = &comparison.plan.totals;
    let mut teams: Vec<&str> = demand.workloads().iter().map(|w| &*w.team).collect();
    teams.sort_unstable();
    teams.dedup();
    let mut boards: Vec<(&str, u64)> = Vec::new();
    for gpu in &comparison.plan.gpus {
        match boards.iter_mut().find(|(board, _)| *board == &*gpu.board) {
            Some((_, count)) => *count += 1,
            None => boards.push((&gpu.board, 1)),
        }
    }
    let named = |(board, count): &(&str, u64)| format!("{} × {board}", thousands(*count));
    let gpus = if boards.len() > MOST_BOARDS {
        format!("{} of {} boards", plural(totals.gpus, "GPU"), boards.len())
    } else {
        boards.iter().map(named).collect::<Vec<String>>().join(", ")
    };
    format!(
        "{} of {} on {gpus}, {} of memory",
        plural(totals.replicas, "replica"),
        plural(teams.len() as u64, "team"),
        Mebibytes(totals.fleet_mib).human()
    )
}

fn subtitle(comparison: &Comparison, scale: &Scale, of_presets: Option<usize>) -> String {
    let mut text =
        "Further up, more is served; further left, less of the memory of all GPUs is idle."
            .to_string();
    if scale.in_bands {
        text += " A higher priority comes strictly first: a point ends in the first priority that it does not serve in full.";
    } else if comparison.priorities.len() > 1 {
        text += " A higher priority comes strictly first.";
    }
    match comparison.out_of_reach.len() as u64 {
        0 => {}
        n => {
            let are = if n == 1 { "is" } else { "are" };
            let workloads = plural(n, "workload");
            text += &format!(" {workloads} that no instance can hold {are} unplaced in every way.");
        }
    }
    if let Some(why) = not_proved(comparison.plan.proof.status) {
        text += &format!(" The plan is not proved: {why}.");
    }
    if let Some(count) = of_presets {
        text += &format!(" Of {count} presets the best {MOST_PRESETS} are shown.");
    }
    text
}

/// What the comparison says, in a sentence: `17 of 17 replicas fit; the best preset fits 16 and
/// leaves 72 GiB idle`.
fn finding(comparison: &Comparison, demand: &Demand) -> String {
    let totals = &comparison.plan.totals;
    if totals.placed == 0 && comparison.rows.iter().all(|row| row.placed == 0) {
        return match totals.replicas {
            0 => "No replica is asked for".to_string(),
            1 => "The only replica does not fit these GPUs".to_string(),
            all => format!("None of {} fits these GPUs", plural(all, "replica")),
        };
    }
    let mut text =
        format!("{} of {} fit", thousands(totals.placed), plural(totals.replicas, "replica"));
    let (Some(plan), Some(best)) = (comparison.rows.first(), best_preset(&comparison.rows)) else {
        return text;
    };
    if demand.is_weighted() {
        let [own, all] = [plan.weight(), demand.weight()].map(amount);
        text += &format!(" (weight {own} of {all})");
    }
    let fits = placed_by(best, demand);
    let as_much = |row: &Baseline| (row.placed, row.weight(), row.idle_mib);
    if let Some(at) = best.falls_behind(plan) {
        let priority = comparison.priorities.get(at).copied().unwrap_or(0);
        let [ours, theirs] = [plan, best].map(|row| of_priority(row, at, demand));
        text += &format!(
            ", {ours} of priority {priority}; the best preset fits {fits}, but {theirs} of priority {priority}",
        );
    } else if as_much(best) == as_much(plan) {
        let (ours, theirs) = (plan.gpus_used, best.gpus_used);
        text += &format!(" on {}", plural(ours, "GPU"));
        text += &match theirs == ours {
            true => ", as they do under the best preset".to_string(),
            false => format!("; the best preset takes {}", thousands(theirs)),
        };
    } else {
        let idle = Mebibytes(best.idle_mib).human();
        text += &format!("; the best preset fits {fits} and leaves {idle} idle");
    }
    text
}

/// The ways to compare the plan with at a glance: the best preset and the next, the better of the
/// two heuristics, and no MIG at all.
fn headline(rows: &[&Baseline], all: &[Baseline]) -> Vec<usize> {
    let best = |of: &dyn Fn(&Baseline) -> bool, but: Option<usize>| {
        let found = rows.iter().enumerate().filter(|(i, r)| of(r) && Some(*i) != but);
        found
            .max_by(|(i, a), (j, b)| {
                (a.weight(), a.placed_mib, j).cmp(&(b.weight(), b.placed_mib, i))
            })
            .map(|(i, _)| i)
    };
    let preset = best_preset(all).and_then(|b| rows.iter().position(|row| row.name == b.name));
    let next = best(&Baseline::is_preset, preset);
    let heuristic = best(&|r| kind(r) == WayKind::Heuristic, None);
    let whole = best(&|r| kind(r) == WayKind::WholeGpus, None);
    let plan = best(&|r| kind(r) == WayKind::Plan, None);
    [plan, preset, next, heuristic, whole].into_iter().flatten().collect()
}

fn kind(row: &Baseline) -> WayKind {
    match row.name.as_str() {
        PLAN_ROW => WayKind::Plan,
        "whole-gpus" => WayKind::WholeGpus,
        _ if row.is_preset() => WayKind::Preset,
        _ => WayKind::Heuristic,
    }
}

fn dot(point: &FrontierPoint, scale: &Scale, fleet_mib: u64) -> FrontierDot {
    FrontierDot {
        gpus: point.gpus,
        fit: scale.fit(&point.placed_weight),
        idle_gib: gib(fleet_mib.saturating_sub(point.placed_mib)),
    }
}

fn way(row: &Baseline, comparison: &Comparison, scale: &Scale, demand: &Demand) -> Way {
    let (fit_text, fit_shorter, by_priority) = fit_texts(row, &comparison.priorities, &scale.all);
    let of_all = comparison.plan.totals.replicas;
    let kind = kind(row);
    let role = match kind {
        WayKind::Plan => "one layout for each GPU",
        WayKind::Preset => "preset: one layout for all",
        WayKind::WholeGpus => "no MIG",
        WayKind::Heuristic => "one replica after the other",
    };
    Way {
        name: row.name.clone(),
        role: role.to_string(),
        kind,
        fit: scale.fit(&row.placed_weight),
        idle_gib: gib(row.idle_mib),
        gpus_used: row.gpus_used,
        placed_gib: gib(row.placed_mib),
        rounding_gib: gib(row.rounding_mib),
        spare_gib: gib(row.spare_mib),
        unusable_gib: gib(row.unusable_mib),
        fit_text,
        fit_shorter,
        placed: format!("{} of {}", thousands(row.placed), thousands(of_all)),
        placed_part: row.placed as f64 / of_all.max(1) as f64,
        by_priority,
        note: note(row, demand),
    }
}

/// What fits of what is asked for: with all numbers, with ever fewer of them, and by priority alone.
/// Priorities are told apart where there are two or three.
fn fit_texts(row: &Baseline, priorities: &[i64], all: &[Amount]) -> (String, Vec<String>, String) {
    let weights = row.placed_weight.iter().map(Amount::of);
    let fit: Amount = weights.clone().sum();
    let total = format!("{fit} of {}", all.iter().copied().sum::<Amount>());
    if !(2..=3).contains(&priorities.len()) {
        return (total, vec![fit.to_string()], String::new());
    }
    let parts = priorities.iter().zip(weights.zip(all));
    let long: Vec<String> =
        parts.clone().map(|(p, (w, all))| format!("p{p}: {w} of {all}")).collect();
    let short: Vec<String> = parts.map(|(p, (w, _))| format!("p{p}: {w}")).collect();
    let by_priority = long.join(", ");
    let shorter = vec![format!("{total} ({})", short.join(", ")), total.clone(), fit.to_string()];
    (format!("{total} ({by_priority})"), shorter, by_priority)
}

/// A name of which only the beginning and the end are kept where it is long.
fn short(name: &str) -> String {
    const MOST: usize = 24;
    let count = name.chars().count();
    if count <= MOST {
        return name.to_string();
    }
    let (head, tail) = (MOST / 2, MOST - MOST / 2 - 1);
    name.chars().take(head).chain(['…']).chain(name.chars().skip(count - tail)).collect()
}

/// What a way leaves unplaced, first what none of its instances could hold.
fn note(row: &Baseline, demand: &Demand) -> String {
    let mut left: Vec<&LeftOut> = row.left_out.iter().collect();
    left.sort_by_key(|l| !l.too_large);
    let named: Vec<String> = left
        .iter()
        .take(MOST_NAMED)
        .filter_map(|l| {
            let workload = demand.workloads().get(l.workload)?;
            let memory = workload.memory.map_or("all memory".to_string(), Mebibytes::human);
            let why = if l.too_large { ", no instance suffices" } else { "" };
            let (team, name) = (short(&workload.team), short(&workload.name));
            Some(format!("{} × {team}/{name} ({memory}{why})", thousands(l.replicas)))
        })
        .collect();
    let further = row.workloads_left_out.saturating_sub(named.len());
    match (named.is_empty(), further) {
        (true, _) => String::new(),
        (false, 0) => format!("unplaced: {}", named.join(", ")),
        (false, n) => {
            format!("unplaced: {} and {}", named.join(", "), plural(n as u64, "further workload"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_short() {
        assert_eq!(short("research"), "research");
        assert_eq!(short("inference-of-the-search-team-b"), "inference-of…arch-team-b");
    }
}
