//! Use over time: what the replicas of a workload really used, with the memory that is planned for
//! them and the instance that they get.

use std::collections::BTreeMap;

use super::{DemandFigure, DemandRow, gib};
use crate::demand::Demand;
use crate::demand::sizing::{self, Sizing};
use crate::demand::usage::Usage as Samples;
use crate::plan::Plan;
use crate::units::Mebibytes;

/// The figure: one panel for each workload.
#[derive(Debug, Clone, PartialEq)]
pub struct Usage {
    /// What is shown, in one line.
    pub title: String,
    /// How it is to be read.
    pub subtitle: String,
    /// The panels, in drawing order.
    pub panels: Vec<UsagePanel>,
}

/// One workload.
#[derive(Debug, Clone, PartialEq)]
pub struct UsagePanel {
    /// `team/workload`.
    pub label: String,
    /// The name of the workload, with which the label ends.
    pub workload: String,
    /// The most that any replica used: seconds since 1970 (UTC) and GiB, by rising time, in stretches
    /// without a gap.
    pub most: Vec<Vec<(f64, f64)>>,
    /// The memory that is planned for a replica, in GiB.
    pub planned_gib: f64,
    /// The profile and usable memory (GiB) of the instance, where one is known.
    pub instance: Option<(String, f64)>,
    /// Replicas that the plan leaves unplaced; 0 where no plan is known.
    pub unplaced: u64,
}

impl Usage {
    /// The figure of samples that were sized into a demand; with a plan also the instances.
    pub fn new(samples: &Samples, sizing: &Sizing, demand: &Demand, plan: Option<&Plan>) -> Usage {
        let given = plan.map(|plan| DemandFigure::new(plan, demand).rows).unwrap_or_default();
        let mut given: BTreeMap<String, DemandRow> =
            given.into_iter().map(|row| (row.label.clone(), row)).collect();
        let point = |(ms, memory): &(i64, Mebibytes)| (*ms as f64 / 1000.0, memory.as_gib());
        let mut panels: Vec<UsagePanel> = demand
            .workloads()
            .iter()
            .filter(|w| sizing.origins.contains_key(&(w.team.clone(), w.name.clone())))
            .map(|w| (w, given.remove(&w.label())))
            .map(|(w, row)| UsagePanel {
                label: w.label(),
                workload: w.name.to_string(),
                most: sizing::over_time(samples, &w.team, &w.name)
                    .iter()
                    .map(|stretch| stretch.iter().map(point).collect())
                    .collect(),
                planned_gib: w.memory.map_or(0.0, |m| gib(m.0)),
                unplaced: row.as_ref().map_or(0, |row| row.unplaced),
                instance: row
                    .and_then(|row| row.given.into_iter().next())
                    .map(|most| (most.profile, most.memory_gib)),
            })
            .collect();
        panels.sort_by(|a, b| b.planned_gib.total_cmp(&a.planned_gib));
        Usage {
            title: "What the workloads used, and what is planned for them".to_string(),
            subtitle: "The line is the most that any replica of the workload used at a time; it ends where no replica was seen. Planned is the quantile of all replicas' samples, with headroom where it is asked for.".to_string(),
            panels,
        }
    }
}
