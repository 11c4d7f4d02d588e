//! What `migplan schedule --format json` prints.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Number;

use super::replay::hours_number;
use crate::demand::over_time::OverTime;
use crate::demand::time::MINUTE_MS;
use crate::plan::{GpuPlan, Proof, Unplaced};
use crate::schedule::Schedule;

/// Schema key of [`ScheduleDocument`].
pub const SCHEDULE_SCHEMA: &str = "migplan.schedule/v1";

/// Which MIG configuration is active when.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ScheduleDocument<'s> {
    /// Always [`SCHEDULE_SCHEMA`].
    pub schema: &'static str,
    /// The zone in which hours are named.
    pub timezone: String,
    /// The configurations.
    pub configs: Vec<ConfigRow<'s>>,
    /// The changes of a week, by hour.
    pub changes: Vec<ChangeRow>,
    /// Minutes that a change takes.
    pub change_minutes: i64,
    /// Replicas asked for, times hours.
    pub asked_replica_hours: Number,
    /// Of those, served by the schedule.
    pub served_replica_hours: Number,
    /// Served by the best single configuration.
    pub one_config_replica_hours: Number,
    /// Whether no schedule among those searched serves more.
    pub proved: bool,
    /// What no GPU of the fleet could serve in any hour.
    pub unserved: &'s [Unplaced],
    /// GPUs that must be reset at changes, since their MIG mode is another one then.
    pub resets: Vec<ResetRow>,
    /// What was searched.
    pub searched: SearchedRow,
    /// What was proved of the layouts; sums over minutes where there are several configurations.
    pub proof: &'s Proof,
}

/// One configuration.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ConfigRow<'s> {
    /// Its label in the mig-parted file; the first node's, where nodes differ.
    pub label: String,
    /// For each node its label.
    pub nodes: Vec<NodeRow>,
    /// Hours of the demand in which it is active.
    pub hours: usize,
    /// The GPUs as in a plan, with the replicas of the hour that misses most, after a change's minutes.
    pub gpus: &'s [GpuPlan],
}

/// A node and its label.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NodeRow {
    /// The node.
    pub node: Arc<str>,
    /// Its label.
    pub label: String,
}

/// GPUs of a node whose MIG mode changes only in a reset, and does.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ResetRow {
    /// The node.
    pub node: Arc<str>,
    /// Their indices.
    pub gpus: Vec<u32>,
    /// Their boards, by id.
    pub boards: Vec<Arc<str>>,
}

/// One change.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ChangeRow {
    /// When: `Mon 08:00`.
    pub at: String,
    /// The same as an hour of the week; 0 is Monday 00:00.
    pub hour_of_week: usize,
    /// The label before.
    pub from: String,
    /// The label from then on.
    pub to: String,
    /// Instances destroyed.
    pub destroyed: u64,
    /// Instances created.
    pub created: u64,
}

/// What was searched.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SearchedRow {
    /// In words; `none` and why, where no change was looked for.
    pub windows: &'static str,
    /// Distinct divisions of the week.
    pub divisions: usize,
    /// Of those, the ones that no bound ruled out.
    pub solved: usize,
}

/// Replica-minutes as hours.
fn hours(minutes: u128) -> Number {
    hours_number(minutes * u128::from(MINUTE_MS.unsigned_abs()))
}

impl<'s> ScheduleDocument<'s> {
    /// The document of a schedule whose configurations have these labels by node.
    pub fn new(
        schedule: &'s Schedule,
        demand: &OverTime,
        labels: &[Vec<(Arc<str>, String)>],
        change_minutes: i64,
    ) -> ScheduleDocument<'s> {
        let label = |configuration: usize| {
            let first = labels.get(configuration).and_then(|nodes| nodes.first());
            first.map_or(String::new(), |(_, label)| label.clone())
        };
        let configs = schedule.configurations.iter().enumerate().map(|(at, of)| ConfigRow {
            label: label(at),
            nodes: labels
                .get(at)
                .map_or(&[][..], Vec::as_slice)
                .iter()
                .map(|(node, label)| NodeRow { node: node.clone(), label: label.clone() })
                .collect(),
            hours: of.demand.hours().len(),
            gpus: &of.plan.plan.gpus,
        });
        let changes = schedule.changes.iter().map(|change| ChangeRow {
            at: change.at.name(),
            hour_of_week: change.at.hour,
            from: label(change.at.from),
            to: label(change.at.to),
            destroyed: change.destroyed,
            created: change.created,
        });
        let resets = schedule.resets.iter().map(|of| ResetRow {
            node: of.node.clone(),
            gpus: of.gpus.iter().copied().collect(),
            boards: of.boards.iter().cloned().collect(),
        });
        ScheduleDocument {
            schema: SCHEDULE_SCHEMA,
            timezone: demand.zone().name().to_string(),
            configs: configs.collect(),
            changes: changes.collect(),
            change_minutes,
            asked_replica_hours: hours(schedule.served.asked),
            served_replica_hours: hours(schedule.served.served),
            one_config_replica_hours: hours(schedule.one.served.served),
            proved: schedule.searched.proved,
            unserved: &schedule.unserved,
            resets: resets.collect(),
            searched: SearchedRow {
                windows: schedule.searched.windows(),
                divisions: schedule.searched.divisions,
                solved: schedule.searched.solved,
            },
            proof: &schedule.proof,
        }
    }
}
