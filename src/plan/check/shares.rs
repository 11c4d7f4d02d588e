//! The claim of `team_share`: the distinct shares of the teams of a priority, the smallest first,
//! counted again from the replicas placed.

use std::collections::BTreeMap;

use super::{Check, allows};
use crate::demand::Workload;
use crate::fleet::Fleet;
use crate::plan::goal::Objective;
use crate::plan::{Plan, Share, Status};
use crate::units::Ratio;

impl Check<'_> {
    /// The shares of the teams of each priority, distinct and ascending. What this fleet could never serve counts
    /// nowhere.
    fn shares(&self, fleet: &Fleet) -> BTreeMap<i64, Vec<Ratio>> {
        let boards = fleet.boards();
        let servable = |w: &Workload| boards.iter().any(|b| allows(w, b) && self.could_serve(b, w));
        let mut of_teams: BTreeMap<(i64, &str), (u128, u128)> = BTreeMap::new();
        for (workload, served) in self.workloads.iter().zip(&self.served) {
            if workload.count > 0 && servable(workload) {
                let weight = |replicas: u64| u128::from(workload.weight.0) * u128::from(replicas);
                let team = of_teams.entry((workload.priority, &workload.team)).or_default();
                team.0 += weight(served.replicas);
                team.1 += weight(workload.count);
            }
        }
        let mut shares: BTreeMap<i64, Vec<Ratio>> = BTreeMap::new();
        for ((priority, _), (placed, asked)) in of_teams {
            shares.entry(priority).or_default().push(Ratio::new(placed, asked));
        }
        for of_priority in shares.values_mut() {
            of_priority.sort();
            of_priority.dedup();
        }
        shares
    }

    /// What the proof claims of each priority are the first of its shares; in an optimal plan all.
    pub(super) fn team_shares(&mut self, plan: &Plan, fleet: &Fleet, share: Share) {
        let mut claimed: BTreeMap<i64, Vec<u128>> = BTreeMap::new();
        for stage in &plan.proof.stages {
            if let Some(Objective::TeamShare(p)) = Objective::from_name(&stage.objective) {
                // What is no whole number is no share either.
                let value = stage.value.as_u64().map_or(u128::MAX, u128::from);
                claimed.entry(p).or_default().push(value);
            }
        }
        if share != Share::Fair {
            return;
        }
        let shares = self.shares(fleet);
        for (priority, claimed) in claimed {
            let name = Objective::TeamShare(priority).name();
            let actual: Vec<u128> = shares
                .get(&priority)
                .map_or(Vec::new(), |of| of.iter().map(|share| share.millionths()).collect());
            if !actual.starts_with(&claimed) {
                self.fail(format!("stage {name} claims {claimed:?}, but the plan has {actual:?}"));
            } else if plan.proof.status == Status::Optimal && claimed.len() < actual.len() {
                self.fail(format!("the proof lacks the stage {name} of {}", actual[claimed.len()]));
            }
        }
    }
}
