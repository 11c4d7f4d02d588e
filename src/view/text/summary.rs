//! A plan in words: the summary on stderr of `suggest`, and its `--format text`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::table::table;
use super::{Layout, and_more, best_preset_text, fitted, placed_by, stage_value, unplaced_rows};
use crate::compare::{FairnessCost, Presets, Suggestion, best_preset};
use crate::demand::Demand;
use crate::fleet::Fleet;
use crate::plan::quotas::QuotaUse;
use crate::plan::teams::{self, TeamTotals};
use crate::plan::{GpuPlan, InstanceProfile, Plan, Proof, Stage, Status};
use crate::text::{plural, thousands};
use crate::units::Mebibytes;

/// GPUs that are shown one by one.
const MOST_GPUS: usize = 64;

/// The summary that a person reads after `suggest`.
pub fn summary(suggestion: &Suggestion, demand: &Demand, fleet: &Fleet, layout: Layout) -> String {
    let plan = &suggestion.plan;
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
    team_table(&mut text, &teams::totals(plan, demand, fleet), layout);
    if let Some((placed, all)) = teams::guaranteed(plan, demand) {
        let (placed, all) = (thousands(placed), plural(all, "guaranteed replica"));
        let _ = writeln!(text, "{placed} of {all} placed (column min).\n");
    }
    quotas(&mut text, suggestion, layout);
    layout_table(&mut text, plan, layout);
    let _ = writeln!(
        text,
        "Idle: {} of {} = {} internal fragmentation (allocated beyond the demand) + {} free (GPUs and instances without a replica) + {} unusable (offered by no instance).",
        Mebibytes(totals.idle_mib).human(),
        Mebibytes(totals.fleet_mib).human(),
        Mebibytes(totals.rounding_mib).human(),
        Mebibytes(totals.spare_mib).human(),
        Mebibytes(totals.unusable_mib).human(),
    );
    unplaced(&mut text, suggestion, layout);
    split_workloads(&mut text, plan, layout);
    presets(&mut text, suggestion, demand, layout);
    proof(&mut text, &plan.proof);
    if layout.all_rows {
        effort(&mut text, plan, layout);
    }
    text.truncate(text.trim_end().len());
    fitted(&text, layout)
}

fn team_table(text: &mut String, teams: &[TeamTotals], layout: Layout) {
    let mut teams: Vec<&TeamTotals> = teams.iter().collect();
    let (count, rows) = (teams.len(), layout.rows());
    if count > rows {
        // Where not all can be shown, those with unplaced replicas are worth more than the others.
        teams.sort_by_key(|team| std::cmp::Reverse(team.unplaced()));
    }
    let mut shown = table(&["team", "placed", "of", "memory placed", "of"], |column| column > 0);
    for team in teams.iter().take(rows) {
        let TeamTotals { team, replicas, placed, demand_mib, placed_mib } = team;
        shown.add_row([
            team.to_string(),
            thousands(*placed),
            thousands(*replicas),
            Mebibytes(*placed_mib).human(),
            Mebibytes(*demand_mib).human(),
        ]);
    }
    let _ = write!(text, "\n{}", shown.render(layout.width));
    and_more(text, count, rows, "team");
    text.push('\n');
}

/// What each team with a quota is allocated; those first that it leaves nothing.
fn quotas(text: &mut String, suggestion: &Suggestion, layout: Layout) {
    if suggestion.quotas.is_empty() {
        return;
    }
    let mut order: Vec<&QuotaUse> = suggestion.quotas.iter().collect();
    order.sort_by_key(|quota| !quota.reached);
    let mut shown = table(&["quota of", "allocated", "of", ""], |column| [1, 2].contains(&column));
    for QuotaUse { quota, allocation, reached } in order.iter().take(layout.rows()) {
        let reached = if *reached { "reached" } else { "" };
        let of = [quota.team.to_string(), allocation.of(quota), quota.to_string(), reached.into()];
        shown.add_row(of);
    }
    let _ = write!(text, "{}", shown.render(layout.width));
    and_more(text, suggestion.quotas.len(), layout.rows(), "quota");
    text.push('\n');
}

/// A layout in words: `2 × 3g.40gb`, `whole GPU, MIG off`.
pub(in crate::view) fn layout_of(gpu: &GpuPlan) -> String {
    if !gpu.mig {
        let used = gpu.instances.iter().any(|i| i.assignment.is_some());
        let use_of_it = match (used, gpu.stays_whole) {
            (true, _) => "",
            (false, true) => ", in use",
            (false, false) => ", free",
        };
        return format!("whole GPU, MIG off{use_of_it}");
    }
    let mut counts: BTreeMap<&InstanceProfile, u64> = BTreeMap::new();
    for instance in &gpu.instances {
        *counts.entry(&instance.profile).or_default() += 1;
    }
    let parts: Vec<String> =
        counts.iter().rev().map(|(profile, count)| format!("{count} × {profile}")).collect();
    parts.join(" + ")
}

pub(super) fn layout_table(text: &mut String, plan: &Plan, layout: Layout) {
    let mut counts: BTreeMap<(&str, String), u64> = BTreeMap::new();
    for gpu in &plan.gpus {
        *counts.entry((&gpu.board, layout_of(gpu))).or_default() += 1;
    }
    let mut order: Vec<_> = counts.into_iter().collect();
    order.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let mut shown = table(&["GPUs", "board", "layout"], |column| column == 0);
    let (count, rows) = (order.len(), layout.rows());
    for ((board, layout), gpus) in order.into_iter().take(rows) {
        shown.add_row([thousands(gpus), board.to_string(), layout]);
    }
    let _ = write!(text, "{}", shown.render(layout.width));
    and_more(text, count, rows, "layout");
    text.push('\n');
}

fn unplaced(text: &mut String, suggestion: &Suggestion, layout: Layout) {
    let plan = &suggestion.plan;
    if plan.unplaced.is_empty() {
        return;
    }
    let replicas = plan.totals.replicas - plan.totals.placed;
    let _ = writeln!(text, "\nUnplaced: {}.", plural(replicas, "replica"));
    unplaced_rows(text, &plan.unplaced, layout.rows());
    if let Some(more) = &suggestion.more_gpus {
        let (where_to, fewer) = match (more.per_further_node, more.gpus) {
            (None, _) => (String::new(), "no fewer would"),
            (Some(_), 1) => (" on a further node".to_string(), "no fewer would"),
            (Some(1), _) => (", each on a further node,".to_string(), "no fewer so would"),
            (Some(most), _) => {
                (format!(" on further nodes of up to {most}"), "no fewer on such nodes would")
            }
        };
        let _ = writeln!(
            text,
            "{} of {}{where_to} would place all that the fleet is too full for; {fewer}.",
            plural(more.gpus, "more GPU"),
            more.board
        );
    }
    text.push('\n');
}

/// Names the workloads that one pod template could not ask for.
fn split_workloads(text: &mut String, plan: &Plan, layout: Layout) {
    let mut names: BTreeMap<(&str, &str), BTreeSet<&InstanceProfile>> = BTreeMap::new();
    for instance in plan.gpus.iter().flat_map(|g| &g.instances) {
        if let Some(a) = &instance.assignment {
            names.entry((&a.team, &a.workload)).or_default().insert(&instance.profile);
        }
    }
    names.retain(|_, profiles| profiles.len() > 1);
    if names.is_empty() {
        return;
    }
    let rows = layout.rows();
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
        "One pod template cannot ask for the instances of {}: {}{}. --one-profile-per-workload keeps each in one profile.",
        plural(names.len() as u64, "workload"),
        shown.join("; "),
        if names.len() > rows { "; …" } else { "" },
    );
}

fn presets(text: &mut String, suggestion: &Suggestion, demand: &Demand, layout: Layout) {
    let Some(Presets { rows, plan_row, priorities, rules }) = &suggestion.presets else { return };
    let Some(best) = best_preset(rows) else { return };
    let _ = write!(text, "{}", best_preset_text(best, plan_row, priorities, demand));
    let others = rows.iter().filter(|preset| preset.name != best.name);
    let others: Vec<String> = others
        .take(layout.rows())
        .map(|preset| format!("{} {}", preset.name, placed_by(preset, demand)))
        .collect();
    if !others.is_empty() {
        let _ = write!(text, " Others: {}.", others.join(", "));
    }
    let rules = rules.flags_of_gpus();
    if !rules.is_empty() {
        let _ = write!(text, " Presets are not held to {rules}, as the plan is.");
    }
    text.push('\n');
}

pub(super) fn proof(text: &mut String, proof: &Proof) {
    let value = |s: &Stage| {
        let shown = |number| stage_value(&s.objective, number);
        if s.proved() {
            shown(&s.value)
        } else {
            format!("{} (bound {})", shown(&s.value), shown(&s.bound))
        }
    };
    let stage = |s: &Stage| format!("{} {}", s.objective, value(s));
    // The levels of the teams' shares are stages of one name.
    let levels = proof.stages.chunk_by(|a, b| a.objective == b.objective);
    let stages = levels.map(|levels| match levels {
        [first, .., last] => {
            let count = levels.len() as u64;
            format!("{} to {} ({})", stage(first), value(last), plural(count, "level"))
        }
        one => one.iter().map(stage).collect(),
    });
    let stages: Vec<String> = stages.collect();
    let seconds = proof.solve_seconds;
    match proof.status {
        Status::Optimal => {
            let _ = writeln!(
                text,
                "Proved optimal in {seconds:.2} s, each bound equal to its value: {}.",
                stages.join(", ")
            );
        }
        Status::TimeLimit | Status::Interrupted | Status::SolverGap => {
            let gap = proof.stages.iter().find(|s| !s.proved()).and_then(gap_percent);
            let why = match proof.status {
                Status::Interrupted => "it was interrupted",
                Status::SolverGap => "the solver left a gap that it could not close",
                _ => "the time limit ended the search",
            };
            let _ = writeln!(
                text,
                "NOT proved: {why} after {seconds:.2} s{}: {}.",
                gap.map_or(String::new(), |gap| format!(", gap {gap:.2} %")),
                stages.join(", ")
            );
        }
    }
}

/// What a fair plan costs: `Fair: 22 replicas placed instead of 24, research 6 instead of 2;
/// --share weight places the most.`
pub fn fairness(cost: &FairnessCost, layout: Layout) -> String {
    if cost.teams.is_empty() {
        return "Fair: every team gets as many replicas as with the most weight.".to_string();
    }
    let rows = layout.rows();
    let placed = plural(cost.placed, "replica");
    let loses = cost.placed < cost.most_weight;
    let mut parts = vec![match cost.placed == cost.most_weight {
        true => format!("{placed} placed, as many as with --share weight"),
        false => format!("{placed} placed instead of {}", thousands(cost.most_weight)),
    }];
    parts.extend(cost.teams.iter().take(rows).map(|of| {
        format!("{} {} instead of {}", of.team, thousands(of.placed), thousands(of.most_weight))
    }));
    if cost.teams.len() > rows {
        let more = (cost.teams.len() - rows) as u64;
        parts.push(format!("and {} (-v shows all)", plural(more, "more team")));
    }
    let most = if loses { "; --share weight places the most" } else { "" };
    format!("Fair: {}{most}.", parts.join(", "))
}

/// What each stage took to solve.
fn effort(text: &mut String, plan: &Plan, layout: Layout) {
    let header =
        ["stage", "seconds", "relaxations", "integer programs", "iterations", "rows", "tangents"];
    let mut shown = table(&header, |column| column > 0);
    for stage in &plan.proof.stages {
        let effort = stage.effort;
        shown.add_row([
            stage.objective.clone(),
            format!("{:.4}", stage.seconds),
            thousands(effort.relaxations),
            thousands(effort.solves),
            thousands(effort.iterations),
            thousands(effort.rows),
            thousands(effort.tangents),
        ]);
    }
    let _ = write!(text, "\n{}", shown.render(layout.width));
}

/// How far a stage's bound is from its value, in percent of the larger.
fn gap_percent(stage: &Stage) -> Option<f64> {
    let (value, bound) = (stage.value.as_f64()?, stage.bound.as_f64()?);
    let scale = bound.abs().max(value.abs());
    (scale > 0.0).then(|| 100.0 * (bound - value).abs() / scale)
}

/// Every GPU with its instances and the replicas assigned to them, for `--format text`.
pub fn gpus(plan: &Plan, layout: Layout) -> String {
    let most = if layout.all_rows { usize::MAX } else { MOST_GPUS };
    let header = ["node", "GPU", "instance", "at", "usable", "team/workload", "needs"];
    let mut shown = table(&header, |column| [1, 3, 4, 6].contains(&column)).keys(3);
    for gpu in plan.gpus.iter().take(most) {
        for instance in &gpu.instances {
            let (replica, needs) = match &instance.assignment {
                Some(a) => (
                    format!("{}/{} #{}", a.team, a.workload, a.replica),
                    Mebibytes(a.demand_mib).to_string(),
                ),
                None => ("(free)".to_string(), String::new()),
            };
            shown.add_row([
                gpu.node.to_string(),
                gpu.gpu.to_string(),
                instance.profile.to_string(),
                instance.start.to_string(),
                Mebibytes(instance.memory_mib).to_string(),
                replica,
                needs,
            ]);
        }
    }
    let mut text = format!("\n{}", shown.render(layout.width));
    and_more(&mut text, plan.gpus.len(), most, "GPU");
    text
}

/// What heads the file of a plan; nothing here may differ between equal runs.
pub fn notes(plan: &Plan) -> Vec<String> {
    let totals = &plan.totals;
    let proof = match plan.proof.status {
        Status::Optimal => "proved the best plan",
        Status::TimeLimit => "the best plan found within the time limit",
        Status::Interrupted => "the best plan found before the search was interrupted",
        Status::SolverGap => "the best plan found, with a gap that the solver left",
    };
    vec![
        format!("Made by migplan {}: {proof}.", env!("CARGO_PKG_VERSION")),
        format!(
            "{} of {} placed on {} of {}.",
            thousands(totals.placed),
            plural(totals.replicas, "replica"),
            thousands(totals.gpus_used),
            plural(totals.gpus, "GPU")
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::TeamReplicas;

    #[test]
    fn a_fair_plan_says_what_it_costs() {
        let text = |placed, most_weight| {
            let team = |name: &str, placed, most_weight| TeamReplicas {
                team: name.into(),
                placed,
                most_weight,
            };
            let teams = vec![team("a", 6, 4), team("b", placed - 6, most_weight - 4)];
            fairness(&FairnessCost { placed, most_weight, teams }, Layout::default())
        };
        assert_eq!(
            text(9, 10),
            "Fair: 9 replicas placed instead of 10, a 6 instead of 4, b 3 instead of 6; --share weight places the most."
        );
        assert_eq!(
            text(10, 10),
            "Fair: 10 replicas placed, as many as with --share weight, a 6 instead of 4, b 4 instead of 6."
        );
        assert!(!text(11, 10).contains("places the most"));
    }
}
