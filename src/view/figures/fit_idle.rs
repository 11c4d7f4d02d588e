//! Fit versus idle memory: the plan, what people do today, and the frontier that none can pass.

use super::gib;
use crate::compare::{Baseline, Comparison, Frontier, FrontierPoint, LeftOut, PLAN_ROW};
use crate::demand::{Demand, Workload};
use crate::plan::Status;
use crate::text::{plural, thousands};
use crate::units::{Mebibytes, Weight};

/// So many presets are shown; a fleet of many boards has many.
const MOST_PRESETS: usize = 12;
/// So many workloads are named in the note of a way.
const MOST_NAMED: usize = 3;

/// The figure.
#[derive(Debug, Clone, PartialEq)]
pub struct FitIdle {
    /// What is shown, in one line.
    pub title: String,
    /// How it is to be read.
    pub subtitle: String,
    /// What `fit` counts.
    pub unit: FitUnit,
    /// The most that `fit` could be.
    pub most_fit: f64,
    /// Where it would mislead to add up what is served of all priorities, since serving many of a
    /// low one costs a high one: for each priority, highest first, up to which `fit` all of it and
    /// of those above is served. A way's `fit` then ends in the first priority that it does not
    /// serve in full. Else empty.
    pub bands: Vec<(i64, f64)>,
    /// Memory of the whole fleet, in GiB.
    pub fleet_gib: f64,
    /// The ways, the plan first.
    pub ways: Vec<Way>,
    /// The most that fits on so many GPUs, by rising number.
    pub frontier: Vec<FrontierDot>,
    /// Whether the frontier has a dot for every number of GPUs.
    pub frontier_complete: bool,
}

/// What fit is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FitUnit {
    /// Replicas that have a place.
    Replicas,
    /// The sum of their weights, where weights differ.
    Weight,
}

/// What kind of way it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WayKind {
    /// The plan.
    Plan,
    /// All GPUs cut alike.
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
    /// Its kind.
    pub kind: WayKind,
    /// What fits, in the figure's unit.
    pub fit: f64,
    /// Memory that idles on the GPUs in use, in GiB.
    pub idle_gib: f64,
    /// GPUs in use.
    pub gpus_used: u64,
    /// Memory that serves somebody, in GiB.
    pub placed_gib: f64,
    /// Memory handed out, but not asked for, in GiB.
    pub rounding_gib: f64,
    /// Memory in instances and whole GPUs that nobody has, in GiB.
    pub spare_gib: f64,
    /// Memory that no instance offers, in GiB.
    pub unusable_gib: f64,
    /// `9 of 17`, and by priority where there are several.
    pub fit_text: String,
    /// The same with fewer words, where there is little room.
    pub fit_short: String,
    /// Whom it leaves out and why; empty where it serves all.
    pub note: String,
}

/// The most that fits on a number of GPUs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrontierDot {
    /// GPUs that may be in use.
    pub gpus: u64,
    /// What fits, in the figure's unit.
    pub fit: f64,
    /// Memory that idles on the GPUs in use, in GiB.
    pub idle_gib: f64,
}

impl FitIdle {
    /// The figure of a comparison and its frontier.
    pub fn new(comparison: &Comparison, frontier: &Frontier, demand: &Demand) -> FitIdle {
        let reachable = || {
            demand.workloads().iter().enumerate().filter(|(index, _)| {
                comparison.out_of_reach.binary_search_by_key(index, |(i, _)| *i).is_err()
            })
        };
        let unit = if reachable().all(|(_, w)| w.weight == Weight::ONE) {
            FitUnit::Replicas
        } else {
            FitUnit::Weight
        };
        let weight_of = |w: &Workload| match unit {
            FitUnit::Replicas => w.count as f64,
            FitUnit::Weight => w.count as f64 * w.weight.0 as f64 / Weight::SCALE as f64,
        };
        let all: Vec<f64> = comparison
            .priorities
            .iter()
            .map(|p| reachable().filter(|(_, w)| w.priority == *p).map(|(_, w)| weight_of(w)).sum())
            .collect();
        let totals = &comparison.plan.totals;
        let left = comparison.out_of_reach.len();
        let in_bands = !adds_up(comparison, frontier);
        let fit = |weights: &[i64]| if in_bands { in_order(weights, &all) } else { sum(weights) };
        let mut subtitle = format!(
            "{} on {}{}. Further up, more is served; further left, less memory of the GPUs in use lies idle.",
            plural(totals.replicas, "replica"),
            plural(totals.gpus, "GPU"),
            best_preset(comparison, fit),
        );
        if in_bands {
            subtitle += " A higher priority comes strictly first: a point ends in the first priority that it does not serve in full.";
        } else if comparison.priorities.len() > 1 {
            subtitle += " A higher priority comes strictly first.";
        }
        if left > 0 {
            subtitle += &format!(
                " {} that no instance can hold {} not shown.",
                plural(left as u64, "workload"),
                if left == 1 { "is" } else { "are" }
            );
        }
        if comparison.plan.proof.status != Status::Optimal {
            subtitle += " The plan is not proved: the time limit ended the search.";
        }
        let is_preset = |row: &&Baseline| row.name.starts_with("all-");
        let mut presets: Vec<&Baseline> = comparison.rows.iter().filter(is_preset).collect();
        if presets.len() > MOST_PRESETS {
            let count = presets.len();
            presets.sort_by(|a, b| {
                (&b.placed_weight, b.placed_mib).cmp(&(&a.placed_weight, a.placed_mib))
            });
            presets.truncate(MOST_PRESETS);
            subtitle += &format!(" Of {count} presets the best {MOST_PRESETS} are shown.");
        }
        let shown = |row: &&Baseline| !is_preset(row) || presets.iter().any(|p| p.name == row.name);
        FitIdle {
            title: "What fits, and what lies idle".to_string(),
            subtitle,
            unit,
            most_fit: all.iter().sum(),
            bands: if in_bands { bands(&comparison.priorities, &all) } else { Vec::new() },
            fleet_gib: gib(totals.fleet_mib),
            ways: comparison
                .rows
                .iter()
                .filter(shown)
                .map(|row| Way {
                    fit: fit(&row.placed_weight),
                    ..way(row, &comparison.priorities, &all, demand)
                })
                .collect(),
            frontier: frontier
                .points
                .iter()
                .map(|p| FrontierDot { fit: fit(&p.placed_weight), ..dot(p) })
                .collect(),
            frontier_complete: frontier.complete,
        }
    }
}

fn sum(weights: &[i64]) -> f64 {
    weights.iter().map(|w| *w as f64 / Weight::SCALE as f64).sum()
}

/// `: the plan serves 17, the best preset (all-balanced) 16`.
fn best_preset(comparison: &Comparison, fit: impl Fn(&[i64]) -> f64) -> String {
    let presets = comparison.rows.iter().filter(|r| r.name.starts_with("all-"));
    let best = presets.max_by(|a, b| {
        let by_goal = (&a.placed_weight, a.placed_mib).cmp(&(&b.placed_weight, b.placed_mib));
        by_goal.then(b.name.cmp(&a.name))
    });
    match (comparison.rows.first(), best) {
        (Some(plan), Some(best)) => format!(
            ": the plan serves {}, the best preset ({}) {}",
            amount(fit(&plan.placed_weight)),
            best.name,
            amount(fit(&best.placed_weight))
        ),
        _ => String::new(),
    }
}

/// Whether sums over all priorities rank the ways as the goal does: nobody is above the frontier,
/// and more GPUs never serve less.
fn adds_up(comparison: &Comparison, frontier: &Frontier) -> bool {
    let rises =
        frontier.points.windows(2).all(|w| sum(&w[0].placed_weight) <= sum(&w[1].placed_weight));
    rises
        && comparison.rows.iter().all(|row| {
            let most = frontier
                .points
                .iter()
                .find(|p| p.gpus >= row.gpus_used)
                .or(frontier.points.last())
                .map_or(0.0, |p| sum(&p.placed_weight));
            sum(&row.placed_weight) <= most + 1e-9
        })
}

/// What is served up to the first priority that is not served in full, that one included.
fn in_order(weights: &[i64], all: &[f64]) -> f64 {
    let mut served = 0.0;
    for (weight, all) in weights.iter().zip(all) {
        let weight = *weight as f64 / Weight::SCALE as f64;
        served += weight;
        if weight + 1e-9 < *all {
            break;
        }
    }
    served
}

fn bands(priorities: &[i64], all: &[f64]) -> Vec<(i64, f64)> {
    let mut end = 0.0;
    let band = |(priority, all): (&i64, &f64)| {
        end += all;
        (*priority, end)
    };
    priorities.iter().zip(all).map(band).collect()
}

fn dot(point: &FrontierPoint) -> FrontierDot {
    FrontierDot {
        gpus: point.gpus,
        fit: sum(&point.placed_weight),
        idle_gib: gib(point.used_mib.saturating_sub(point.placed_mib)),
    }
}

fn way(row: &Baseline, priorities: &[i64], all: &[f64], demand: &Demand) -> Way {
    let kind = match row.name.as_str() {
        PLAN_ROW => WayKind::Plan,
        "whole-gpus" => WayKind::WholeGpus,
        name if name.starts_with("all-") => WayKind::Preset,
        _ => WayKind::Heuristic,
    };
    let of = |fit: f64, all: f64| format!("{} of {}", amount(fit), amount(all));
    let mut fit_short = of(sum(&row.placed_weight), all.iter().sum());
    let mut fit_text = of(sum(&row.placed_weight), all.iter().sum());
    if (2..=3).contains(&priorities.len()) {
        let parts: Vec<String> = priorities
            .iter()
            .zip(row.placed_weight.iter().zip(all))
            .map(|(p, (w, all))| format!("p{p}: {}", of(*w as f64 / Weight::SCALE as f64, *all)))
            .collect();
        fit_text += &format!(" ({})", parts.join(", "));
        let parts: Vec<String> = priorities
            .iter()
            .zip(&row.placed_weight)
            .map(|(p, w)| format!("p{p}: {}", amount(*w as f64 / Weight::SCALE as f64)))
            .collect();
        fit_short += &format!(" ({})", parts.join(", "));
    }
    Way {
        name: row.name.clone(),
        kind,
        fit: sum(&row.placed_weight),
        idle_gib: gib(row.used_mib.saturating_sub(row.placed_mib)),
        gpus_used: row.gpus_used,
        placed_gib: gib(row.placed_mib),
        rounding_gib: gib(row.rounding_mib),
        spare_gib: gib(row.spare_mib),
        unusable_gib: gib(row.unusable_mib),
        fit_text,
        fit_short,
        note: note(row, demand),
    }
}

/// A weight for people: at most one decimal.
fn amount(value: f64) -> String {
    if (value - value.round()).abs() < 0.05 {
        thousands(value.round().max(0.0) as u64)
    } else {
        format!("{value:.1}")
    }
}

/// A name of which only the beginning is kept where it is long.
fn short(name: &str) -> String {
    const MOST: usize = 24;
    if name.chars().count() <= MOST {
        return name.to_string();
    }
    name.chars().take(MOST - 1).chain(['…']).collect()
}

/// Whom a way leaves out, those first whom none of its instances could hold.
fn note(row: &Baseline, demand: &Demand) -> String {
    let mut left: Vec<&LeftOut> = row.left_out.iter().collect();
    left.sort_by_key(|l| !l.too_large);
    let named: Vec<String> = left
        .iter()
        .take(MOST_NAMED)
        .filter_map(|l| {
            let workload = demand.workloads().get(l.workload)?;
            let memory = workload.memory.map_or("all memory".to_string(), Mebibytes::human);
            let memory = memory.replace(' ', "\u{a0}");
            let why = if l.too_large { ", larger than any instance" } else { "" };
            let (team, name) = (short(&workload.team), short(&workload.name));
            // A line of the picture may not break between the number and what it counts.
            Some(format!("{}\u{a0}×\u{a0}{team}/{name} ({memory}{why})", thousands(l.replicas)))
        })
        .collect();
    let further = row.workloads_left_out.saturating_sub(named.len());
    match (named.is_empty(), further) {
        (true, _) => String::new(),
        (false, 0) => format!("leaves out {}", named.join(", ")),
        (false, n) => {
            format!("leaves out {} and {}", named.join(", "), plural(n as u64, "further workload"))
        }
    }
}
