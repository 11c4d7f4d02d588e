//! `--quota`: the most that a team may be allocated, in memory and in GPUs, in every period.

use super::assignment::Assignment;
use crate::optimise::model::{Model, Terms};
use crate::optimise::problem::Problem;

/// Adds a row for each limit of each team.
pub(crate) fn add(model: &mut Model, problem: &Problem, assignment: &Assignment) {
    for (q, quota) in problem.quotas.iter().enumerate() {
        for period in 0..problem.hours.len() {
            let (mut memory, mut gpus) = (Terms::new(), Terms::new());
            let types = problem.item_types.iter().zip(&assignment.assigned);
            for (item_type, columns) in
                types.filter(|(t, _)| t.quota == Some(q) && t.period == period)
            {
                for (k, column) in item_type.kinds.iter().zip(columns) {
                    let (mib, parts) = problem.takes(*k, item_type.whole_gpus);
                    memory.push((*column, mib));
                    gpus.push((*column, parts));
                }
            }
            for (terms, most) in [(memory, quota.memory_mib), (gpus, quota.gpu_parts)] {
                if let (Some(most), false) = (most, terms.is_empty()) {
                    model.at_most(terms, most);
                }
            }
        }
    }
}
