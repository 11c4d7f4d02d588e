//! Demand against instances: what each workload needs, and what its replicas are assigned.

use std::collections::BTreeMap;

use super::{TeamNumbers, gib};
use crate::demand::Demand;
use crate::plan::exceeded::exceeded;
use crate::plan::{Plan, Reason};
use crate::text::{plural, thousands};
use crate::view::text;

/// The figure.
#[derive(Debug, Clone, PartialEq)]
pub struct DemandFigure {
    /// What is shown, in one line.
    pub title: String,
    /// How it is to be read.
    pub subtitle: String,
    /// One for each workload: those that were seen above their instance first, then the largest
    /// memory.
    pub rows: Vec<DemandRow>,
}

/// One workload.
#[derive(Debug, Clone, PartialEq)]
pub struct DemandRow {
    /// `team/workload`.
    pub label: String,
    /// The name of the workload, with which the label ends.
    pub workload: String,
    /// The number of its team.
    pub team: Option<u32>,
    /// Memory that a replica needs, in GiB; on several GPUs that of one of them.
    pub memory_gib: f64,
    /// What its replicas are assigned, the most replicas first.
    pub given: Vec<Given>,
    /// Replicas that are unplaced.
    pub unplaced: u64,
    /// Why, in a few words.
    pub reason: String,
    /// Where samples were seen above the instance that a replica gets: the highest, in GiB, and the
    /// finding in words.
    pub above: Option<(f64, String)>,
}

/// Replicas that are assigned one kind of instance.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    /// Its profile, or that it is a whole GPU.
    pub profile: String,
    /// Its usable memory, in GiB.
    pub memory_gib: f64,
    /// Replicas; of one that takes several GPUs, each GPU counts.
    pub replicas: u64,
}

impl DemandRow {
    /// The row in a sentence.
    pub fn sentence(&self) -> String {
        let mut parts: Vec<String> = self
            .given
            .iter()
            .map(|g| {
                format!("{} in {} ({:.1} GiB)", thousands(g.replicas), g.profile, g.memory_gib)
            })
            .collect();
        if self.unplaced > 0 {
            parts.push(format!("{} unplaced: {}", thousands(self.unplaced), self.reason));
        }
        let above = match &self.above {
            Some((_, text)) => format!("; seen above its instance: {text}"),
            None => String::new(),
        };
        let (label, need) = (&self.label, self.memory_gib);
        format!("{label}: a replica needs {need:.1} GiB; {}{above}", parts.join(", "))
    }
}

#[derive(Default)]
struct Found<'p> {
    memory_mib: u64,
    given: BTreeMap<(String, u64), u64>,
    unplaced: u64,
    reason: Option<&'p Reason>,
}

impl DemandFigure {
    /// The figure of a plan, with the demand that it was made for.
    pub fn new(plan: &Plan, demand: &Demand) -> DemandFigure {
        let numbers = TeamNumbers::new(demand);
        let wanted = |f: &Found<'_>| f.unplaced > 0 || !f.given.is_empty();
        let mut rows: Vec<DemandRow> = found(plan, demand)
            .into_iter()
            .filter(|(_, f)| wanted(f))
            .map(|(who, f)| row(who, f, &numbers))
            .collect();
        let exceeded = exceeded(plan, demand);
        for row in &mut rows {
            let of = exceeded.iter().find(|e| format!("{}/{}", e.team, e.workload) == row.label);
            row.above = of.map(|e| (gib(e.peak.0), text::exceeded::row(e)));
        }
        rows.sort_by(|a, b| {
            let first = b.above.is_some().cmp(&a.above.is_some());
            first.then(b.memory_gib.total_cmp(&a.memory_gib))
        });
        let totals = &plan.totals;
        let subtitle = format!(
            "{} of {} placed. The bar is what a replica needs, the mark the usable memory of its instance; between them lies internal fragmentation: memory that is allocated beyond the demand.",
            thousands(totals.placed),
            plural(totals.replicas, "replica")
        );
        DemandFigure {
            title: "What each workload needs, and the instances it is assigned".to_string(),
            subtitle,
            rows,
        }
    }

    /// Says in which hour the replicas are assigned so, where the plan is one over time.
    pub fn in_hour(self, hour: Option<&str>) -> DemandFigure {
        let subtitle = super::in_hour(hour, self.subtitle);
        DemandFigure { subtitle, ..self }
    }
}

fn found<'p>(plan: &'p Plan, demand: &'p Demand) -> BTreeMap<(&'p str, &'p str), Found<'p>> {
    let mut found: BTreeMap<(&str, &str), Found<'_>> = BTreeMap::new();
    for workload in demand.workloads() {
        let memory_mib = workload.memory.map_or(0, |m| m.0);
        let each = memory_mib.div_ceil(u64::from(workload.whole_gpus.max(1)));
        let key = (&*workload.team, &*workload.name);
        found.insert(key, Found { memory_mib: each, ..Found::default() });
    }
    for instance in plan.gpus.iter().flat_map(|g| &g.instances) {
        let Some(assignment) = &instance.assignment else { continue };
        let of = found.entry((&assignment.team, &assignment.workload)).or_default();
        of.memory_mib = of.memory_mib.max(assignment.demand_mib);
        let profile = match instance.profile.to_string().as_str() {
            crate::hardware::FULL_GPU => "whole GPU".to_string(),
            name => name.to_string(),
        };
        *of.given.entry((profile, instance.memory_mib)).or_default() += 1;
    }
    for row in &plan.unplaced {
        let of = found.entry((&row.team, &row.workload)).or_default();
        of.unplaced += row.replicas;
        of.reason = Some(&row.reason);
    }
    found
}

fn row((team, name): (&str, &str), found: Found<'_>, numbers: &TeamNumbers<'_>) -> DemandRow {
    let mut given: Vec<Given> = found
        .given
        .into_iter()
        .map(|((profile, mib), replicas)| Given { profile, memory_gib: gib(mib), replicas })
        .collect();
    given.sort_by_key(|g| std::cmp::Reverse(g.replicas));
    let reason = match found.reason {
        None => "",
        Some(Reason::TooLarge) => "no instance suffices",
        Some(Reason::NoBoard) => "none of its boards here",
        Some(Reason::FleetFull) => "the GPUs are full",
        Some(Reason::NeedsWholeGpus) => "no node has so many whole GPUs",
    };
    DemandRow {
        label: format!("{team}/{name}"),
        workload: name.to_string(),
        team: numbers.of(team),
        memory_gib: gib(found.memory_mib),
        given,
        unplaced: found.unplaced,
        reason: reason.to_string(),
        above: None,
    }
}
