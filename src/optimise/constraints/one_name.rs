//! `--one-profile-per-workload`: a pod template asks for one resource name, so a workload's
//! replicas are all assigned to kinds of one name. The name is chosen, and only kinds of that name
//! take them.

use std::collections::BTreeMap;

use super::assignment::Assignment;
use crate::optimise::model::{Model, Terms};
use crate::optimise::problem::Problem;

/// Adds a choice for each workload that must have one name.
pub(crate) fn add(model: &mut Model, problem: &Problem, assignment: &Assignment) {
    // A workload's types differ in the period only, and its name is the same in all of them.
    let mut types_of: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (t, item_type) in problem.item_types.iter().enumerate() {
        if let Some(workload) = item_type.one_name {
            types_of.entry(workload).or_default().push(t);
        }
    }
    // In the order of the types, so that columns come in an order that has nothing to do with names.
    let mut workloads: Vec<Vec<usize>> = types_of.into_values().collect();
    workloads.sort();
    for types in workloads {
        let mut by_name: BTreeMap<String, Vec<(usize, Terms)>> = BTreeMap::new();
        for t in types {
            let mut of_type: BTreeMap<String, Terms> = BTreeMap::new();
            for (k, column) in problem.item_types[t].kinds.iter().zip(&assignment.assigned[t]) {
                of_type.entry(problem.kind_name(*k)).or_default().push((*column, 1));
            }
            for (name, terms) in of_type {
                by_name.entry(name).or_default().push((t, terms));
            }
        }
        let mut chosen = Terms::new();
        for (_, of_types) in by_name {
            let choice = model.integer(0, 1);
            chosen.push((choice, 1));
            for (t, mut terms) in of_types {
                let most = model.columns[terms[0].0].upper;
                terms.push((choice, -most.min(problem.wanted_of(t))));
                model.at_most(terms, 0);
            }
        }
        model.at_most(chosen, 1);
    }
}
