//! `--one-profile-per-workload`: a pod template asks for one resource name, so a workload's
//! replicas are all assigned to kinds of one name. The name is chosen, and only kinds of that name
//! take them.

use std::collections::BTreeMap;

use super::assignment::Assignment;
use crate::optimise::model::{Model, Terms};
use crate::optimise::problem::Problem;

/// Adds a choice for each workload that must have one name.
pub(crate) fn add(model: &mut Model, problem: &Problem, assignment: &Assignment) {
    for (t, item_type) in problem.item_types.iter().enumerate() {
        if item_type.one_name.is_none() {
            continue;
        }
        let mut by_name: BTreeMap<String, Terms> = BTreeMap::new();
        for (k, column) in item_type.kinds.iter().zip(&assignment.assigned[t]) {
            by_name.entry(problem.kind_name(*k)).or_default().push((*column, 1));
        }
        let mut chosen = Terms::new();
        for (_, mut terms) in by_name {
            let choice = model.integer(0, 1);
            chosen.push((choice, 1));
            let most = model.columns[terms[0].0].upper;
            let wanted = problem.wanted_of(t);
            terms.push((choice, -most.min(wanted)));
            model.at_most(terms, 0);
        }
        model.at_most(chosen, 1);
    }
}
