//! A plan in words: the summary on stderr, and `--format text`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use comfy_table::CellAlignment;

use super::output::{render, table};
use crate::compare::{Baseline, Suggestion};
use crate::demand::Demand;
use crate::plan::{GpuPlan, InstanceProfile, Plan, Stage, Status};
use crate::text::{plural, thousands};
use crate::units::Mebibytes;

/// Rows of a list before the rest is only counted.
const MOST_ROWS: usize = 12;
/// GPUs that are shown one by one.
const MOST_GPUS: usize = 64;

/// The summary that a person reads after `suggest`.
pub(super) fn text(suggestion: &Suggestion, demand: &Demand, verbosity: u8) -> String {
    let plan = &suggestion.plan;
    let rows = if verbosity > 0 { usize::MAX } else { MOST_ROWS };
    let mut text = String::new();
    let totals = &plan.totals;
    let _ = writeln!(
        text,
        "{} of {} placed, {} of {}, on {} of {}.",
        thousands(totals.placed),
        plural(totals.replicas, "replica"),
        Mebibytes(totals.placed_mib).human(),
        Mebibytes(totals.demand_mib).human(),
        thousands(totals.gpus_used),
        plural(totals.gpus, "GPU")
    );
    teams(&mut text, plan, demand, rows);
    layouts(&mut text, plan, rows);
    let _ = writeln!(
        text,
        "Idle: {} of {} = {} rounding (handed out, not asked for) + {} spare (whole GPUs and instances that nobody has) + {} unusable.",
        Mebibytes(totals.idle_mib).human(),
        Mebibytes(totals.fleet_mib).human(),
        Mebibytes(totals.rounding_mib).human(),
        Mebibytes(totals.spare_mib).human(),
        Mebibytes(totals.unusable_mib).human(),
    );
    unplaced(&mut text, suggestion, rows);
    split_workloads(&mut text, plan, rows);
    presets(&mut text, suggestion, rows);
    proof(&mut text, plan);
    text.truncate(text.trim_end().len());
    text
}

#[derive(Default)]
struct TeamSums {
    replicas: u64,
    placed: u64,
    demand_mib: u64,
    placed_mib: u64,
}

fn teams(text: &mut String, plan: &Plan, demand: &Demand, rows: usize) {
    let mut teams: BTreeMap<&str, TeamSums> = BTreeMap::new();
    for workload in demand.workloads() {
        let sums = teams.entry(&workload.team).or_default();
        sums.replicas += workload.count;
        let memory = workload.memory.map_or(0, |m| m.0);
        sums.demand_mib = sums.demand_mib.saturating_add(memory.saturating_mul(workload.count));
    }
    let mut missing: BTreeMap<&str, u64> = BTreeMap::new();
    for row in &plan.unplaced {
        *missing.entry(&row.team).or_default() += row.replicas;
    }
    for instance in plan.gpus.iter().flat_map(|g| &g.instances) {
        if let Some(assignment) = &instance.assignment
            && let Some(sums) = teams.get_mut(&*assignment.team)
        {
            sums.placed_mib += assignment.demand_mib;
        }
    }
    for (team, sums) in &mut teams {
        sums.placed = sums.replicas - missing.get(team).copied().unwrap_or(0);
        // Workloads of whole GPUs that name no memory have asked for what they got.
        sums.demand_mib = sums.demand_mib.max(sums.placed_mib);
    }
    let mut shown = table(&["team", "placed", "of", "memory placed", "of"]);
    for column in 1..5 {
        if let Some(column) = shown.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let count = teams.len();
    // Where not all can be shown, those that miss out are worth more than those that do not.
    let mut order: Vec<(&str, TeamSums)> = teams.into_iter().collect();
    if count > rows {
        order.sort_by_key(|(_, sums)| std::cmp::Reverse(sums.replicas - sums.placed));
    }
    for (team, sums) in order.into_iter().take(rows) {
        shown.add_row([
            team.to_string(),
            thousands(sums.placed),
            thousands(sums.replicas),
            Mebibytes(sums.placed_mib).human(),
            Mebibytes(sums.demand_mib).human(),
        ]);
    }
    let _ = write!(text, "\n{}", render(&shown));
    more(text, count, rows, "team");
    let _ = writeln!(text);
}

fn more(text: &mut String, count: usize, rows: usize, noun: &str) {
    if count > rows {
        let _ = writeln!(text, "… and {} (-v shows all)", plural((count - rows) as u64, noun));
    }
}

/// A layout in words: `2 × 3g.40gb`, `MIG off`.
fn layout(gpu: &GpuPlan) -> String {
    if !gpu.mig {
        let used = gpu.instances.iter().any(|i| i.assignment.is_some());
        return format!("whole GPU, MIG off{}", if used { "" } else { ", nobody's" });
    }
    let mut counts: BTreeMap<&InstanceProfile, u64> = BTreeMap::new();
    for instance in &gpu.instances {
        *counts.entry(&instance.profile).or_default() += 1;
    }
    let parts: Vec<String> =
        counts.iter().rev().map(|(profile, count)| format!("{count} × {profile}")).collect();
    parts.join(" + ")
}

fn layouts(text: &mut String, plan: &Plan, rows: usize) {
    let mut counts: BTreeMap<(&str, String), u64> = BTreeMap::new();
    for gpu in &plan.gpus {
        *counts.entry((&gpu.board, layout(gpu))).or_default() += 1;
    }
    let mut order: Vec<_> = counts.into_iter().collect();
    order.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let mut shown = table(&["GPUs", "board", "cut into"]);
    if let Some(column) = shown.column_mut(0) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let count = order.len();
    for ((board, layout), gpus) in order.into_iter().take(rows) {
        shown.add_row([thousands(gpus), board.to_string(), layout]);
    }
    let _ = write!(text, "{}", render(&shown));
    more(text, count, rows, "layout");
    let _ = writeln!(text);
}

fn unplaced(text: &mut String, suggestion: &Suggestion, rows: usize) {
    let plan = &suggestion.plan;
    if plan.unplaced.is_empty() {
        return;
    }
    let _ = writeln!(
        text,
        "\nWithout a place: {}.",
        plural(plan.totals.replicas - plan.totals.placed, "replica")
    );
    for row in plan.unplaced.iter().take(rows) {
        let _ = write!(
            text,
            "  {} × {}/{}: {}",
            thousands(row.replicas),
            row.team,
            row.workload,
            row.detail
        );
        match &row.help {
            Some(help) => {
                let _ = writeln!(text, "; would help: {help}");
            }
            None => text.push('\n'),
        }
    }
    more(text, plan.unplaced.len(), rows, "workload");
    if let Some(more) = &suggestion.more_gpus {
        let _ = writeln!(
            text,
            "{} of {} would place all that the fleet is too full for; no fewer would.",
            plural(more.gpus, "more GPU"),
            more.board
        );
    }
    let _ = writeln!(text);
}

/// Names the workloads that one pod template could not ask for.
fn split_workloads(text: &mut String, plan: &Plan, rows: usize) {
    let mut names: BTreeMap<(&str, &str), BTreeSet<&InstanceProfile>> = BTreeMap::new();
    for instance in plan.gpus.iter().flat_map(|g| &g.instances) {
        if let Some(o) = &instance.assignment {
            names.entry((&o.team, &o.workload)).or_default().insert(&instance.profile);
        }
    }
    names.retain(|_, profiles| profiles.len() > 1);
    if names.is_empty() {
        return;
    }
    let shown: Vec<String> = names
        .iter()
        .take(rows)
        .map(|((team, name), profiles)| {
            let profiles: Vec<String> = profiles.iter().map(ToString::to_string).collect();
            format!("{team}/{name} ({})", profiles.join(", "))
        })
        .collect();
    let _ = writeln!(
        text,
        "One pod template could not ask for the instances of {}: {}{}. --one-profile-per-workload keeps each in one.",
        plural(names.len() as u64, "workload"),
        shown.join("; "),
        if names.len() > rows { "; …" } else { "" },
    );
}

fn presets(text: &mut String, suggestion: &Suggestion, rows: usize) {
    let of = suggestion.plan.totals.replicas;
    let Some(best) = suggestion.presets.first() else { return };
    let name = |b: &Baseline| format!("{} {}", b.name, thousands(b.placed));
    let others: Vec<String> = suggestion.presets.iter().skip(1).take(rows).map(name).collect();
    let _ = writeln!(
        text,
        "Uniform presets would place: {} of {} at best ({}){}{}.",
        thousands(best.placed),
        thousands(of),
        best.name,
        if others.is_empty() { "" } else { "; " },
        others.join(", "),
    );
}

fn proof(text: &mut String, plan: &Plan) {
    let stage = |s: &Stage| {
        let (name, value) = (&s.objective, &s.value);
        if s.proved() {
            format!("{name} {value}")
        } else {
            format!("{name} {value} (bound {})", s.bound)
        }
    };
    let stages: Vec<String> = plan.proof.stages.iter().map(stage).collect();
    let seconds = plan.proof.solve_seconds;
    match plan.proof.status {
        Status::Optimal => {
            let _ = writeln!(
                text,
                "Proved optimal in {seconds:.2} s, each bound equal to its value: {}.",
                stages.join(", ")
            );
        }
        Status::TimeLimit => {
            let gap = plan.proof.stages.last().and_then(gap_percent);
            let _ = writeln!(
                text,
                "NOT proved: the time limit ended the search after {seconds:.2} s{}: {}.",
                gap.map_or(String::new(), |gap| format!(", gap {gap:.2}%")),
                stages.join(", ")
            );
        }
    }
}

/// How far a stage's bound is from its value, in percent of the bound.
fn gap_percent(stage: &Stage) -> Option<f64> {
    let (value, bound) = (stage.value.as_f64()?, stage.bound.as_f64()?);
    let scale = bound.abs().max(value.abs());
    (scale > 0.0).then(|| 100.0 * (bound - value).abs() / scale)
}

/// Every GPU with its instances and who sits there, for `--format text`.
pub(super) fn cards(plan: &Plan, verbosity: u8) -> String {
    let most = if verbosity > 0 { usize::MAX } else { MOST_GPUS };
    let mut shown = table(&["node", "GPU", "instance", "at", "usable", "team/workload", "needs"]);
    for column in [1, 3, 4, 6] {
        if let Some(column) = shown.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for gpu in plan.gpus.iter().take(most) {
        for instance in &gpu.instances {
            let (who, needs) = match &instance.assignment {
                Some(o) => (
                    format!("{}/{} #{}", o.team, o.workload, o.replica),
                    Mebibytes(o.demand_mib).to_string(),
                ),
                None => ("(spare)".to_string(), String::new()),
            };
            shown.add_row([
                gpu.node.to_string(),
                gpu.gpu.to_string(),
                instance.profile.to_string(),
                instance.start.to_string(),
                Mebibytes(instance.memory_mib).to_string(),
                who,
                needs,
            ]);
        }
    }
    let mut text = format!("\n{}", render(&shown));
    more(&mut text, plan.gpus.len(), most, "GPU");
    text
}
