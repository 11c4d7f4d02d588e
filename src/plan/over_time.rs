//! A plan for demand over time: one layout for each GPU, and for each period the replicas in each
//! kind of instance.
//!
//! A plan names one replica for each instance. Over time it shows those of one period; the others
//! are counts, since which of several equal instances a replica gets is up to the scheduler.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Allocated, Checked, InstanceProfile};
use crate::demand::over_time::OverTime;

/// A plan for all periods of a demand.
#[derive(Debug, Clone, PartialEq)]
pub struct OverTimePlan {
    /// The layouts, the proof over all hours, and the replicas of the period that is shown.
    pub plan: Checked,
    /// Index of that period.
    pub shown: usize,
    /// For each period of the demand, what is allocated.
    pub periods: Vec<Vec<Allocated>>,
}

impl OverTimePlan {
    /// A plan for demand that is the same in all hours.
    pub fn of_one_period(plan: Checked, demand: &OverTime) -> OverTimePlan {
        let mut counts: BTreeMap<(usize, Arc<str>, InstanceProfile), u64> = BTreeMap::new();
        let workloads = demand.peak().workloads();
        for gpu in &plan.gpus {
            for (instance, a) in
                gpu.instances.iter().filter_map(|i| Some((i, i.assignment.as_ref()?)))
            {
                let Some(w) = demand.peak().position(&a.team, &a.workload) else { continue };
                let at = (w, gpu.board.clone(), instance.profile.clone());
                // Of a replica of several whole GPUs each is one of its share.
                *counts.entry(at).or_default() += 1;
            }
        }
        for ((workload, ..), count) in &mut counts {
            *count /= u64::from(workloads[*workload].whole_gpus.max(1));
        }
        let rows = Allocated::rows(counts);
        let periods = if demand.periods().is_empty() { Vec::new() } else { vec![rows] };
        OverTimePlan { plan, shown: 0, periods }
    }

    /// Replica-hours that the demand asks for, and of those the ones that the plan places.
    pub fn replica_hours(&self, demand: &OverTime) -> (u64, u64) {
        let (mut asked, mut placed) = (0u64, 0u64);
        for (period, rows) in demand.periods().iter().zip(&self.periods) {
            let hours_of = |replicas: u64| replicas.saturating_mul(period.hours);
            asked = asked.saturating_add(hours_of(period.counts.iter().sum()));
            placed = placed.saturating_add(hours_of(rows.iter().map(|r| r.replicas).sum()));
        }
        (asked, placed)
    }

    /// For each workload, for each memory and name of an instance, its replica-hours there.
    pub fn names(&self, demand: &OverTime, memory_mib: impl Fn(&Allocated) -> u64) -> Names {
        let periods = demand.periods().iter().zip(&self.periods);
        let rows = periods.flat_map(|(period, rows)| rows.iter().map(|row| (period.hours, row)));
        names(rows.map(|(hours, row)| {
            let workload = &demand.peak().workloads()[row.workload];
            let instance = (memory_mib(row), row.profile.to_string());
            ((workload.team.clone(), workload.name.clone()), instance, row.replicas * hours)
        }))
    }
}

/// For each workload, for each memory (MiB) and name of an instance, replica-hours in such.
pub type Names = BTreeMap<(Arc<str>, Arc<str>), BTreeMap<(u64, String), u64>>;

/// The names of instances from rows: team and workload, memory and name, replica-hours.
pub(crate) fn names(
    rows: impl Iterator<Item = ((Arc<str>, Arc<str>), (u64, String), u64)>,
) -> Names {
    let mut names = Names::new();
    for (workload, instance, hours) in rows {
        let sum = names.entry(workload).or_default().entry(instance).or_default();
        *sum = sum.saturating_add(hours);
    }
    names
}

/// What a plan's file says of the periods, under `over_time`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OverTimeFile {
    /// The zone in which hours are named.
    timezone: String,
    /// Hours in all.
    hours: u64,
    /// The first hour of the period whose replicas the plan shows.
    shown: String,
    /// The periods.
    periods: Vec<PeriodFile>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct PeriodFile {
    first: String,
    hours: u64,
    asked: u64,
    placed: u64,
    allocated: Vec<AllocatedFile>,
}

/// Replicas of one workload in instances of one kind, as the file has them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AllocatedFile {
    /// The team.
    pub team: Arc<str>,
    /// The workload.
    pub workload: Arc<str>,
    /// The board's id.
    pub board: Arc<str>,
    /// The kind of instance.
    pub profile: InstanceProfile,
    /// The usable memory of one of them.
    pub memory_mib: u64,
    /// How many replicas, one in each.
    pub replicas: u64,
}

impl OverTimeFile {
    /// The periods of a plan; `None` for demand that is the same in all hours, whose plan says all.
    pub fn new(
        plan: &OverTimePlan,
        demand: &OverTime,
        memory_mib: impl Fn(&Allocated) -> u64,
    ) -> Option<OverTimeFile> {
        if demand.periods().len() <= 1 {
            return None;
        }
        let first_hour = |p: usize| {
            let at = demand.hours().iter().position(|h| h.period == p);
            at.map_or(String::new(), |at| demand.name_of(at))
        };
        let workloads = demand.peak().workloads();
        let row = |row: &Allocated| AllocatedFile {
            team: workloads[row.workload].team.clone(),
            workload: workloads[row.workload].name.clone(),
            board: row.board.clone(),
            profile: row.profile.clone(),
            memory_mib: memory_mib(row),
            replicas: row.replicas,
        };
        let periods = demand.periods().iter().zip(&plan.periods).enumerate();
        Some(OverTimeFile {
            timezone: demand.zone().name().to_string(),
            hours: demand.hours().len() as u64,
            shown: first_hour(plan.shown),
            periods: periods
                .map(|(p, (period, rows))| PeriodFile {
                    first: first_hour(p),
                    hours: period.hours,
                    asked: period.counts.iter().sum(),
                    placed: rows.iter().map(|r| r.replicas).sum(),
                    allocated: rows.iter().map(row).collect(),
                })
                .collect(),
        })
    }

    /// The first hour of the period whose replicas the plan shows, with the zone that it is named
    /// in: `Mon 08:00 (Europe/Berlin)`. No other hour leaves more replicas unplaced.
    pub fn hour_shown(&self) -> String {
        format!("{} ({})", self.shown, self.timezone)
    }

    /// Hours in all.
    pub fn hours(&self) -> u64 {
        self.hours
    }

    /// What is allocated, for each period.
    pub fn periods(&self) -> impl Iterator<Item = &[AllocatedFile]> {
        self.periods.iter().map(|period| &*period.allocated)
    }

    /// As [`OverTimePlan::names`].
    pub fn names(&self) -> Names {
        let periods = self.periods.iter();
        let rows = periods.flat_map(|p| p.allocated.iter().map(|row| (p.hours, row)));
        names(rows.map(|(hours, row)| {
            let instance = (row.memory_mib, row.profile.to_string());
            ((row.team.clone(), row.workload.clone()), instance, row.replicas.saturating_mul(hours))
        }))
    }
}
