//! Demand against instances: what each workload needs, and what it got.

use std::collections::BTreeMap;

use super::gib;
use crate::demand::Demand;
use crate::plan::{Plan, Reason};
use crate::text::{plural, thousands};

/// The figure.
#[derive(Debug, Clone, PartialEq)]
pub struct DemandFigure {
    /// What is shown, in one line.
    pub title: String,
    /// How it is to be read.
    pub subtitle: String,
    /// One for each workload, the largest memory first.
    pub rows: Vec<DemandRow>,
}

/// One workload.
#[derive(Debug, Clone, PartialEq)]
pub struct DemandRow {
    /// `team/workload`.
    pub label: String,
    /// Memory that a replica needs, in GiB; on several GPUs that of one of them.
    pub memory_gib: f64,
    /// What its replicas got, the most replicas first.
    pub given: Vec<Given>,
    /// Replicas without a place.
    pub unplaced: u64,
    /// Why, in a few words.
    pub reason: String,
}

/// Replicas that got one kind of instance.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    /// Its profile, or that it is a whole GPU.
    pub profile: String,
    /// Its usable memory, in GiB.
    pub memory_gib: f64,
    /// Replicas; of one that takes several GPUs, each GPU counts.
    pub replicas: u64,
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
        let wanted = |f: &Found<'_>| f.unplaced > 0 || !f.given.is_empty();
        let mut rows: Vec<DemandRow> =
            found.into_iter().filter(|(_, f)| wanted(f)).map(row).collect();
        rows.sort_by(|a, b| b.memory_gib.total_cmp(&a.memory_gib));
        let totals = &plan.totals;
        let subtitle = format!(
            "{} of {} placed. The bar is what a replica needs, the mark the usable memory of the instance that it got; between them lies rounding.",
            thousands(totals.placed),
            plural(totals.replicas, "replica")
        );
        DemandFigure {
            title: "What each workload needs, and what it got".to_string(),
            subtitle,
            rows,
        }
    }
}

fn row(((team, name), found): ((&str, &str), Found<'_>)) -> DemandRow {
    let mut given: Vec<Given> = found
        .given
        .into_iter()
        .map(|((profile, mib), replicas)| Given { profile, memory_gib: gib(mib), replicas })
        .collect();
    given.sort_by_key(|g| std::cmp::Reverse(g.replicas));
    let reason = match found.reason {
        None => "",
        Some(Reason::TooLarge) => "larger than any instance",
        Some(Reason::NoBoard) => "none of its boards here",
        Some(Reason::FleetFull) => "no room left",
        Some(Reason::NeedsWholeGpus) => "no node has so many whole GPUs",
    };
    DemandRow {
        label: format!("{team}/{name}"),
        memory_gib: gib(found.memory_mib),
        given,
        unplaced: found.unplaced,
        reason: reason.to_string(),
    }
}
