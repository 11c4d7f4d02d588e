//! What `--share fair` costs: a fair plan beside what the most weight would place.

use std::sync::Arc;

use crate::demand::Demand;
use crate::error::{ExitCode, Result};
use crate::fleet::Fleet;
use crate::optimise::{self, PlanOptions, Until};
use crate::plan::Plan;
use crate::plan::teams::{self, TeamTotals};

/// A fair plan beside one of the most weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FairnessCost {
    /// Replicas that the fair plan places.
    pub placed: u64,
    /// Replicas placed with the most weight.
    pub most_weight: u64,
    /// The teams with another number of replicas, by name.
    pub teams: Vec<TeamReplicas>,
}

/// Replicas of a team in a fair plan and in one of the most weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeamReplicas {
    /// The team.
    pub team: Arc<str>,
    /// Replicas that the fair plan places.
    pub placed: u64,
    /// Replicas placed with the most weight.
    pub most_weight: u64,
}

/// Compares a fair plan with what the most weight would place on the same GPUs. `None` where there
/// is no time left to find out.
///
/// # Errors
/// As [`optimise::suggest`].
pub fn cost_of_fairness(
    plan: &Plan,
    demand: &Demand,
    fleet: &Fleet,
    options: &PlanOptions,
) -> Result<Option<FairnessCost>> {
    // To the end, as `--share weight` itself: every stage chooses among replicas of equal worth.
    let other = match optimise::suggest(demand, fleet, &options.beside(Until::Everything)) {
        Err(e) if e.code == ExitCode::TimeLimit => return Ok(None),
        other => other?,
    };
    let of = |plan: &Plan| teams::totals(plan, demand, fleet);
    let both = of(plan).into_iter().zip(of(&other));
    let differ = both.filter(|(fair, most)| fair.placed != most.placed);
    let team = |(fair, most): (TeamTotals, TeamTotals)| TeamReplicas {
        team: fair.team,
        placed: fair.placed,
        most_weight: most.placed,
    };
    Ok(Some(FairnessCost {
        placed: plan.totals.placed,
        most_weight: other.totals.placed,
        teams: differ.map(team).collect(),
    }))
}
