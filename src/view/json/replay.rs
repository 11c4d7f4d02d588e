//! What `migplan replay --format json` prints.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Number;

use crate::compare::replay::{Replay, Row, Served, Times};
use crate::demand::over_time::OverTime;
use crate::demand::time::HOUR_MS;
use crate::fleet::Fleet;
use crate::plan::Unplaced;

/// Schema key of [`ReplayDocument`].
pub const REPLAY_SCHEMA: &str = "migplan.replay/v1";

/// What configurations would have done with demand over time.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReplayDocument {
    /// Always [`REPLAY_SCHEMA`].
    pub schema: &'static str,
    /// The zone in which hours are named.
    pub timezone: String,
    /// GPUs of the fleet.
    pub gpus: usize,
    /// A row for each configuration and rule.
    pub rows: Vec<ReplayRow>,
    /// The same by team.
    pub teams: Vec<TeamRow>,
    /// The same by workload.
    pub workloads: Vec<WorkloadRow>,
    /// The hours in order.
    pub hours: Vec<HourRow>,
    /// Of the first configuration: each resource name.
    pub resources: Vec<ResourceRow>,
    /// What no GPU of the fleet could serve in any hour.
    pub unserved: Vec<Unplaced>,
    /// With hours held out: the rows on the hours that the plans were made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub planned_on: Option<Vec<ReplayRow>>,
}

/// What was asked for and served under one rule.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Sums {
    /// The configuration.
    pub name: String,
    /// `bound` or `template`.
    pub rule: &'static str,
    /// Replicas asked for, times hours.
    pub asked_replica_hours: Number,
    /// Of those, served.
    pub served_replica_hours: Number,
    /// Hours that pods waited for an instance, whether they got one or not.
    pub waiting_hours: Number,
    /// The longest wait of one pod.
    pub longest_wait_hours: Number,
    /// Pods that waited and got an instance.
    pub waiting_pods: u64,
    /// Pods that never got one.
    pub unserved_pods: u64,
}

/// One configuration under one rule.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReplayRow {
    /// The sums.
    #[serde(flatten)]
    pub sums: Sums,
    /// Demand served, in MiB times hours.
    pub served_mib_hours: Number,
    /// Memory of the fleet that served no demand, in MiB times hours.
    pub idle_mib_hours: Number,
}

/// One team.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TeamRow {
    /// The team.
    pub team: String,
    /// Its sums.
    #[serde(flatten)]
    pub sums: Sums,
}

/// One workload.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WorkloadRow {
    /// The team.
    pub team: Arc<str>,
    /// The workload.
    pub workload: Arc<str>,
    /// Its sums.
    #[serde(flatten)]
    pub sums: Sums,
}

/// One hour.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HourRow {
    /// When it begins, by the wall clock; with the offset from UTC where the clock shows it twice.
    pub start: String,
    /// The same for programs (RFC 3339), with the offset from UTC; not in a week without a date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// Hours after Monday 00:00.
    pub hour_of_week: usize,
    /// Replicas asked for at the same time.
    pub asked_replicas: u64,
    /// What each configuration missed.
    pub missed: Vec<Missed>,
}

/// What one configuration missed in an hour.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Missed {
    /// The configuration.
    pub name: String,
    /// The rule.
    pub rule: &'static str,
    /// Replica-hours that were asked for and not served.
    pub replica_hours: Number,
}

/// One resource name.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ResourceRow {
    /// The profile, or `full` for whole GPUs.
    pub resource: String,
    /// Instances.
    pub instances: u64,
    /// Replicas that ask for the name, by hour.
    pub asked_by_hour: Vec<u64>,
}

/// A time as a number of hours, whole where it is whole.
pub(crate) fn hours_number(times: Times) -> Number {
    let hour = u128::from(HOUR_MS.unsigned_abs());
    match (times % hour, u64::try_from(times / hour)) {
        (0, Ok(hours)) => Number::from(hours),
        _ => Number::from_f64(times as f64 / hour as f64).unwrap_or_else(|| Number::from(0)),
    }
}

impl Sums {
    fn new(row: &Row, served: &Served) -> Sums {
        Sums {
            name: row.name.clone(),
            rule: row.rule.name(),
            asked_replica_hours: hours_number(served.asked),
            served_replica_hours: hours_number(served.served),
            waiting_hours: hours_number(served.waited),
            longest_wait_hours: hours_number(u128::from(served.longest_wait_ms)),
            waiting_pods: served.waiting_pods,
            unserved_pods: served.unserved_pods,
        }
    }
}

impl ReplayRow {
    fn new(row: &Row) -> ReplayRow {
        ReplayRow {
            sums: Sums::new(row, &row.total()),
            served_mib_hours: hours_number(row.served_mib),
            idle_mib_hours: hours_number(row.idle_mib),
        }
    }
}

impl ReplayDocument {
    /// The same document with the rows on the hours that the plans were made from.
    #[must_use]
    pub fn planned_on(mut self, known: Option<&Replay>) -> ReplayDocument {
        self.planned_on = known.map(|k| k.rows.iter().map(ReplayRow::new).collect());
        self
    }

    /// The same document with what no GPU of the fleet could serve.
    #[must_use]
    pub fn unserved(mut self, unserved: Vec<Unplaced>) -> ReplayDocument {
        self.unserved = unserved;
        self
    }

    /// The document of a replay.
    pub fn new(replay: &Replay, demand: &OverTime, fleet: &Fleet) -> ReplayDocument {
        let teams = |row: &Row| -> Vec<TeamRow> {
            let of_team = |(team, served): (&str, Served)| TeamRow {
                team: team.to_string(),
                sums: Sums::new(row, &served),
            };
            row.by_team(demand).into_iter().map(of_team).collect()
        };
        let workloads = |row: &Row| -> Vec<WorkloadRow> {
            let workloads = demand.peak().workloads().iter().zip(&row.workloads);
            workloads
                .map(|(w, served)| WorkloadRow {
                    team: w.team.clone(),
                    workload: w.name.clone(),
                    sums: Sums::new(row, served),
                })
                .collect()
        };
        let missed = |at: usize| {
            let of_row = |row: &Row| Missed {
                name: row.name.clone(),
                rule: row.rule.name(),
                replica_hours: hours_number(row.missed[at]),
            };
            replay.rows.iter().map(of_row).collect()
        };
        let hours = demand.hours().iter().enumerate().map(|(at, hour)| HourRow {
            start: demand.name_of(at),
            time: demand.time_of(at),
            hour_of_week: hour.of_week,
            asked_replicas: demand.periods()[hour.period].counts.iter().sum(),
            missed: missed(at),
        });
        ReplayDocument {
            schema: REPLAY_SCHEMA,
            timezone: demand.zone().name().to_string(),
            gpus: fleet.gpu_count(),
            rows: replay.rows.iter().map(ReplayRow::new).collect(),
            teams: replay.rows.iter().flat_map(teams).collect(),
            workloads: replay.rows.iter().flat_map(workloads).collect(),
            hours: hours.collect(),
            resources: replay
                .names
                .iter()
                .map(|n| ResourceRow {
                    resource: n.name.clone(),
                    instances: n.supply,
                    asked_by_hour: n.demand.clone(),
                })
                .collect(),
            unserved: Vec::new(),
            planned_on: None,
        }
    }
}
