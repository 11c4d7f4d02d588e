//! The plan for demand over time, beside the plan for the peak and the presets: what each serves of
//! all hours.

use super::replay::{self, Configuration, Replay};
use crate::demand::over_time::OverTime;
use crate::error::Result;
use crate::fleet::Fleet;
use crate::optimise::{self, PlanOptions};
use crate::plan::over_time::OverTimePlan;

/// The row of the plan for all hours.
pub const PLAN_ROW: &str = "plan";
/// The row of the plan for the demand at its peak, as if all workloads peaked at the same time.
pub const PEAK_ROW: &str = "peak plan";

/// The answer to a demand over time.
#[derive(Debug, Clone)]
pub struct OverTimeSuggestion {
    /// The best plan for all hours.
    pub plan: OverTimePlan,
    /// What it serves, what the plan for the peak would, and what the presets would.
    pub replay: Replay,
}

/// Finds the best plan for all hours, and what others would have served.
///
/// # Errors
/// As [`optimise::over_time::suggest`].
pub fn suggest(
    demand: &OverTime,
    fleet: &Fleet,
    options: &PlanOptions,
) -> Result<OverTimeSuggestion> {
    let (plan, configurations) = configurations(demand, fleet, options)?;
    let replay = replay::replay(demand, fleet, &configurations)?;
    Ok(OverTimeSuggestion { plan, replay })
}

/// The best plan for all hours; and as configurations that plan, the one for the peak, the presets.
///
/// # Errors
/// As [`suggest`].
pub fn configurations(
    demand: &OverTime,
    fleet: &Fleet,
    options: &PlanOptions,
) -> Result<(OverTimePlan, Vec<Configuration>)> {
    let (plan, peak) = rayon::join(
        || optimise::over_time::suggest(demand, fleet, options),
        || optimise::suggest(demand.peak(), fleet, options),
    );
    let (plan, peak) = (plan?, peak?);
    let mut configurations = vec![
        Configuration::of_over_time(PLAN_ROW, &plan, demand, fleet),
        Configuration::of_plan(PEAK_ROW, &peak, fleet),
    ];
    configurations.extend(Configuration::presets(fleet));
    Ok((plan, configurations))
}
