//! The quotas of the teams, added up again from the instances that their replicas are assigned to.

use std::collections::BTreeMap;

use super::Check;
use crate::demand::quota::Quotas;
use crate::fleet::Fleet;
use crate::plan::Plan;
use crate::units::Weight;

impl Check<'_> {
    /// No team is allocated more than its quota. An instance counts the part of its GPU's memory
    /// slices that it has.
    pub(super) fn quotas(&mut self, plan: &Plan, fleet: &Fleet, quotas: &Quotas) {
        if quotas.is_empty() {
            return;
        }
        let boards = fleet.boards();
        // Every board's slices divide their product, so parts of it are whole numbers.
        let product: u128 = boards.iter().map(|b| u128::from(b.memory_slices)).product();
        let mut allocated: BTreeMap<&str, (u128, u128)> = BTreeMap::new();
        for gpu in &plan.gpus {
            let Some(board) = boards.iter().find(|b| *b.id == *gpu.board) else { continue };
            for instance in &gpu.instances {
                if let Some(a) = &instance.assignment {
                    let sums = allocated.entry(&a.team).or_default();
                    sums.0 += u128::from(instance.memory_mib);
                    let part = product / u128::from(board.memory_slices).max(1);
                    sums.1 += u128::from(instance.size) * part;
                }
            }
        }
        for (team, (mib, parts)) in allocated {
            let Some(quota) = quotas.of(team) else { continue };
            if quota.memory.is_some_and(|most| mib > u128::from(most.0)) {
                self.fail(format!("{team} is allocated {mib} MiB, more than its quota of {quota}"));
            }
            let scale = u128::from(Weight::SCALE);
            let most = quota.gpus.map(|gpus| u128::from(gpus).saturating_mul(product));
            if most.is_some_and(|most| parts.saturating_mul(scale) > most) {
                self.fail(format!("{team} is allocated more GPUs than its quota of {quota}"));
            }
        }
    }
}
