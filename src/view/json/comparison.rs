//! What `migplan compare --format json` prints.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Number;

use crate::compare::{Baseline, Comparison};
use crate::demand::Demand;
use crate::plan::Status;
use crate::units::Weight;

/// Schema key of [`ComparisonDocument`].
pub const COMPARISON_SCHEMA: &str = "migplan.compare/v1";

/// The plan beside what people do today.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ComparisonDocument {
    /// Always [`COMPARISON_SCHEMA`].
    pub schema: &'static str,
    /// Replicas asked for.
    pub replicas: u64,
    /// Whole memory of the fleet, in MiB.
    pub fleet_mib: u64,
    /// GPUs of the fleet.
    pub gpus: u64,
    /// Whether the plan is proved the best, or why not.
    pub status: Status,
    /// The plan first, then the presets by size, then whole GPUs and the heuristics.
    pub rows: Vec<ComparisonRow>,
    /// Workloads that no instance of these GPUs could serve; they count in no row.
    pub out_of_reach: Vec<OutOfReach>,
}

/// One way to serve the demand.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ComparisonRow {
    /// `plan`, a preset's label, `whole-gpus`, or a heuristic.
    pub name: String,
    /// Replicas placed.
    pub placed: u64,
    /// Replicas and weight placed of each priority, highest first.
    pub placed_weight: Vec<PlacedWeight>,
    /// Memory placed, in MiB of demand.
    pub placed_mib: u64,
    /// Memory of the fleet that serves no demand, in MiB: the sum of the three below.
    pub idle_mib: u64,
    /// Allocated beyond the demand (internal fragmentation), in MiB.
    pub rounding_mib: u64,
    /// In free instances and free whole GPUs, in MiB.
    pub spare_mib: u64,
    /// Offered by no instance, in MiB.
    pub unusable_mib: u64,
    /// GPUs with at least one replica.
    pub gpus_used: u64,
    /// Workloads of which some replica is unplaced.
    pub workloads_left_out: usize,
    /// The first of those, in the order of the goal.
    pub left_out: Vec<UnplacedWorkload>,
}

/// Weight placed of one priority.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PlacedWeight {
    /// The priority.
    pub priority: i64,
    /// Replicas placed.
    pub placed: u64,
    /// The sum of their weights.
    pub weight: Number,
}

/// A workload of which some replicas are unplaced.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UnplacedWorkload {
    /// The team.
    pub team: Arc<str>,
    /// The workload.
    pub workload: Arc<str>,
    /// How many replicas.
    pub replicas: u64,
    /// Whether no instance of this way could hold one.
    pub too_large: bool,
}

/// A workload that no instance of the fleet could serve.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OutOfReach {
    /// The team.
    pub team: Arc<str>,
    /// The workload.
    pub workload: Arc<str>,
    /// Its replicas.
    pub replicas: u64,
    /// Whether a whole GPU would serve one.
    pub fits_a_whole_gpu: bool,
}

impl ComparisonDocument {
    /// The document of a comparison for `demand`.
    pub fn new(comparison: &Comparison, demand: &Demand) -> ComparisonDocument {
        let totals = &comparison.plan.totals;
        let workload = |index: usize| demand.workloads().get(index);
        let row = |baseline| ComparisonRow::new(baseline, &comparison.priorities, demand);
        ComparisonDocument {
            schema: COMPARISON_SCHEMA,
            replicas: totals.replicas,
            fleet_mib: totals.fleet_mib,
            gpus: totals.gpus,
            status: comparison.plan.proof.status,
            rows: comparison.rows.iter().map(row).collect(),
            out_of_reach: comparison
                .out_of_reach
                .iter()
                .filter_map(|row| {
                    workload(row.workload).map(|w| OutOfReach {
                        team: w.team.clone(),
                        workload: w.name.clone(),
                        replicas: w.count,
                        fits_a_whole_gpu: row.fits_a_whole_gpu,
                    })
                })
                .collect(),
        }
    }
}

impl ComparisonRow {
    fn new(baseline: &Baseline, priorities: &[i64], demand: &Demand) -> ComparisonRow {
        let counts = priorities.iter().zip(&baseline.placed_by_priority);
        let weights = counts.zip(&baseline.placed_weight);
        ComparisonRow {
            name: baseline.name.clone(),
            placed: baseline.placed,
            placed_weight: weights
                .map(|((priority, placed), w)| PlacedWeight {
                    priority: *priority,
                    placed: *placed,
                    weight: weight(*w),
                })
                .collect(),
            placed_mib: baseline.placed_mib,
            idle_mib: baseline.idle_mib,
            rounding_mib: baseline.rounding_mib,
            spare_mib: baseline.spare_mib,
            unusable_mib: baseline.unusable_mib,
            gpus_used: baseline.gpus_used,
            workloads_left_out: baseline.workloads_left_out,
            left_out: baseline
                .left_out
                .iter()
                .filter_map(|unplaced| {
                    demand.workloads().get(unplaced.workload).map(|w| UnplacedWorkload {
                        team: w.team.clone(),
                        workload: w.name.clone(),
                        replicas: unplaced.replicas,
                        too_large: unplaced.too_large,
                    })
                })
                .collect(),
        }
    }
}

/// A weight in millionths as a JSON number, whole where it is whole.
fn weight(millionths: i64) -> Number {
    let scale = Weight::SCALE as i64;
    if millionths % scale == 0 {
        return Number::from(millionths / scale);
    }
    Number::from_f64(millionths as f64 / scale as f64).unwrap_or_else(|| Number::from(0))
}
