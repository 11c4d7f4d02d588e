//! What `migplan demand --format json` prints.

use std::sync::Arc;

use serde::Serialize;

use crate::demand::quiet::{Quiet, Window};
use crate::demand::sizing::{Origin, Sizing, Unused};
use crate::demand::{Demand, Limited, Workload};
use crate::units::{Mebibytes, Weight};

/// Schema key of [`DemandDocument`].
pub const DEMAND_SCHEMA: &str = "migplan.demand/v1";

/// The demand as understood.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DemandDocument {
    /// Always [`DEMAND_SCHEMA`].
    pub schema: &'static str,
    /// The workloads, ordered by team and name.
    pub workloads: Vec<WorkloadRow>,
    /// Samples and pods that became no demand, by cause; only where it was made of samples.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<Vec<UnusedRow>>,
    /// When a reconfiguration disturbs the fewest, where that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quiet: Option<QuietTimes>,
}

/// One workload.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WorkloadRow {
    /// The team.
    pub team: Arc<str>,
    /// The workload.
    pub workload: Arc<str>,
    /// What one replica needs, in MiB; `null`: all memory of its whole GPUs.
    pub memory_mib: Option<Mebibytes>,
    /// Replicas at the same time.
    pub count: u64,
    /// Of those, so many come before anybody's further replicas of the same priority.
    pub min: u64,
    /// A higher one comes strictly first.
    pub priority: i64,
    /// Worth of a replica among its equals in priority.
    pub weight: f64,
    /// The fewest compute slices that a replica needs.
    pub compute: u32,
    /// Whether it needs a profile with media engines.
    pub media: bool,
    /// The ids of the boards that it may run on; empty: any.
    pub boards: Arc<[String]>,
    /// Whole GPUs that a replica needs; 0: one instance.
    pub gpus: u32,
    /// The hours in which it runs; absent: always.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hours: String,
    /// Where the row comes from, of a demand that was made of samples.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<OriginRow>,
}

/// Where a workload comes from.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OriginRow {
    /// Its samples.
    pub samples: u64,
    /// Distinct pods.
    pub pods: u64,
    /// When the first sample was taken, in milliseconds since 1970.
    pub first_ms: Option<i64>,
    /// When the last one was.
    pub last_ms: Option<i64>,
    /// The highest sample, in MiB.
    pub peak_mib: Mebibytes,
    /// Whether it is what the pods ask for, since no sample shows their memory.
    pub requested: bool,
    /// Pods that the count has beside the measured ones, by what they ask for while no sample shows
    /// them.
    pub asking_pods: u64,
    /// Why the need may be higher than any sample shows.
    pub limited: Option<Limited>,
    /// Whether its pods shared a GPU, so that each reports the memory of all.
    pub shares_device: bool,
    /// The most instances that one of its pods had at once.
    pub instances_per_pod: u64,
}

/// Samples or pods that became no demand.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UnusedRow {
    /// The cause in one word.
    pub cause: &'static str,
    /// How many.
    pub count: u64,
    /// A sentence.
    pub detail: String,
}

/// The quietest windows and, for comparison, the busiest.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct QuietTimes {
    /// Whose clock tells all times of day: an IANA name, `UTC` or `UTC+02:00`.
    pub timezone: String,
    /// What that clock adds to UTC at the end of the history, in minutes.
    pub utc_offset_minutes: i64,
    /// The quietest window of every day.
    pub daily: WindowRow,
    /// The quietest of a week; `null` where the history does not tell.
    pub weekly: Option<WindowRow>,
    /// The busiest of every day.
    pub busiest: WindowRow,
}

/// A window of time.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WindowRow {
    /// For people: `Sunday 22:00-02:00`.
    pub when: String,
    /// The day on which it begins, Monday 0; `null`: every day.
    pub weekday: Option<u8>,
    /// When it begins, in minutes after midnight.
    pub start_minute: i64,
    /// Its length in minutes.
    pub minutes: i64,
    /// GPUs and instances in use within it on average, in steps of a tenth.
    pub busy_mean: f64,
    /// The most on one of its days.
    pub busy_most: u64,
    /// On how many days it was seen as a whole.
    pub days: u64,
}

impl DemandDocument {
    /// The document of a demand; `sizing`: of one made of samples, how.
    pub fn new(demand: &Demand, sizing: Option<&Sizing>, quiet: Option<&Quiet>) -> DemandDocument {
        let rows = demand.workloads().iter();
        DemandDocument {
            schema: DEMAND_SCHEMA,
            workloads: rows
                .map(|w| WorkloadRow::new(w, sizing.and_then(|s| s.origin(w))))
                .collect(),
            left_out: sizing.map(|s| s.unused.iter().map(UnusedRow::new).collect()),
            quiet: quiet.map(QuietTimes::new),
        }
    }
}

impl WorkloadRow {
    fn new(workload: &Workload, origin: Option<&Origin>) -> WorkloadRow {
        WorkloadRow {
            team: workload.team.clone(),
            workload: workload.name.clone(),
            memory_mib: workload.memory,
            count: workload.count,
            min: workload.min,
            priority: workload.priority,
            weight: workload.weight.0 as f64 / Weight::SCALE as f64,
            compute: workload.compute_slices,
            media: workload.media,
            boards: workload.boards.clone(),
            gpus: workload.whole_gpus,
            hours: workload.hours.to_string(),
            origin: origin.map(OriginRow::new),
        }
    }
}

impl OriginRow {
    fn new(origin: &Origin) -> OriginRow {
        OriginRow {
            samples: origin.observed.samples,
            pods: origin.pods,
            first_ms: origin.seen_ms.map(|(first, _)| first),
            last_ms: origin.seen_ms.map(|(_, last)| last),
            peak_mib: origin.observed.peak,
            requested: origin.requested,
            asking_pods: origin.asking_pods,
            limited: origin.observed.limited.clone(),
            shares_device: origin.shares_device,
            instances_per_pod: origin.instances_per_pod,
        }
    }
}

impl UnusedRow {
    fn new(unused: &Unused) -> UnusedRow {
        UnusedRow { cause: unused.cause, count: unused.count, detail: unused.text.clone() }
    }
}

impl QuietTimes {
    fn new(quiet: &Quiet) -> QuietTimes {
        QuietTimes {
            timezone: quiet.zone.name().to_string(),
            utc_offset_minutes: quiet.offset_minutes,
            daily: WindowRow::new(&quiet.daily),
            weekly: quiet.weekly.as_ref().map(WindowRow::new),
            busiest: WindowRow::new(&quiet.busiest),
        }
    }
}

impl WindowRow {
    fn new(window: &Window) -> WindowRow {
        WindowRow {
            when: window.when(),
            weekday: window.weekday,
            start_minute: window.start_minute,
            minutes: window.minutes,
            busy_mean: window.mean_tenths() as f64 / 10.0,
            busy_most: window.busy_most,
            days: window.days,
        }
    }
}
