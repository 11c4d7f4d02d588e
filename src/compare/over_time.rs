//! The plan for demand over time, beside the plan for the peak and the presets: what each serves of
//! all hours.

use super::replay::{self, Configuration, Replay};
use crate::demand::over_time::OverTime;
use crate::error::{Error, Result};
use crate::fleet::Fleet;
use crate::optimise::{self, PlanOptions};
use crate::plan::over_time::OverTimePlan;
use crate::units::{Percent, Weight};

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
        Configuration::of_over_time(PLAN_ROW, &plan, demand, fleet).planned_under(&options.policy),
        Configuration::of_plan(PEAK_ROW, &peak, fleet).planned_under(&options.policy),
    ];
    configurations.extend(Configuration::presets(fleet));
    Ok((plan, under(configurations, options)))
}

/// Configurations under the rules of the site.
fn under(configurations: Vec<Configuration>, options: &PlanOptions) -> Vec<Configuration> {
    configurations.into_iter().map(|c| c.under(&options.policy)).collect()
}

/// What configurations did with the hours that were replayed.
#[derive(Debug, Clone)]
pub struct Replayed {
    /// The hours.
    pub demand: OverTime,
    /// What each configuration did with them.
    pub result: Replay,
    /// With hours held out: the hours before, which the plans were made from, and the same for them.
    pub planned_on: Option<(OverTime, Replay)>,
}

/// Replays all hours on `named` configurations, or where there is none on the best plan over all
/// hours and the one for the peak; and on the presets.
///
/// # Errors
/// As [`suggest`].
pub fn replay(
    demand: OverTime,
    fleet: &Fleet,
    mut named: Vec<Configuration>,
    options: &PlanOptions,
) -> Result<Replayed> {
    if named.is_empty() {
        named = configurations(&demand, fleet, options)?.1;
    } else {
        let mut presets = Configuration::presets(fleet);
        presets.retain(|preset| !named.iter().any(|named| named.repeats(preset)));
        named.extend(presets);
        named = under(named, options);
    }
    let result = replay::replay(&demand, fleet, &named)?;
    Ok(Replayed { demand, result, planned_on: None })
}

/// Plans on the first part of the hours and replays on the last `share` of them, so that a plan
/// which fits its own history only is seen as such. `named` configurations are replayed too.
///
/// # Errors
/// A share that leaves no hour on one side (exit 2); and as [`suggest`].
pub fn hold_out(
    Percent(share): Percent,
    demand: OverTime,
    fleet: &Fleet,
    mut named: Vec<Configuration>,
    options: &PlanOptions,
) -> Result<Replayed> {
    let hours = demand.hours().len();
    let held = (hours as u64).saturating_mul(share) / Weight::SCALE;
    let first = hours.saturating_sub(usize::try_from(held).unwrap_or(hours));
    if first == 0 || first == hours {
        return Err(Error::usage("--hold-out leaves no hour to plan on, or none to replay")
            .hint("give a share such as 25%, and a history of some days"));
    }
    let (known, rest) = (demand.between(0, first), demand.between(first, hours));
    let (_, mut configurations) = configurations(&known, fleet, options)?;
    named.retain(|named| !configurations.iter().any(|known| known.repeats(named)));
    configurations.extend(under(named, options));
    // Nor may the resource names be chosen from the hours held out.
    for configuration in &mut configurations {
        *configuration = configuration.with_names_for(&known);
    }
    let on_known = replay::replay(&known, fleet, &configurations)?;
    let result = replay::replay(&rest, fleet, &configurations)?;
    Ok(Replayed { demand: rest, result, planned_on: Some((known, on_known)) })
}
