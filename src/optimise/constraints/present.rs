//! What the GPUs of one node hold now (`--current`): GPUs with the same present instances form a
//! group with patterns and prices of its own, what is busy stays, and a GPU that serves no replica
//! stays as it is.
//!
//! Where no present state is known, nothing is added and nothing costs anything.

use std::collections::{BTreeMap, VecDeque};

use super::assignment::Assignment;
use super::node_mode::NodeModes;
use super::patterns::Patterns;
use crate::optimise::model::{Column, Model, Terms};
use crate::optimise::problem::Problem;

/// The columns, by pool: for each group the GPUs that are allocated whole. Empty where no present
/// state is known.
#[derive(Debug, Clone, Default)]
pub(crate) struct PresentGroups(BTreeMap<usize, Vec<Column>>);

/// What the GPUs of one group become.
#[derive(Debug, Clone)]
pub(crate) struct GroupUse {
    /// Indices on the node of the GPUs that are allocated whole, MIG off.
    pub whole: Vec<usize>,
    /// Indices on the node of the others.
    pub others: VecDeque<usize>,
    /// Of those, how many have each pattern.
    pub patterns: Vec<(usize, i64)>,
}

impl PresentGroups {
    /// With `--spare none`: instances made, less those that are busy anyway, ≤ replicas in the
    /// kind, so that nothing free is made beside what is there.
    pub(crate) fn nothing_spare(
        model: &mut Model,
        problem: &Problem,
        kind: usize,
        patterns: &Patterns,
        assignment: &Assignment,
    ) {
        let of = &problem.kinds[kind];
        let Some(profile) = of.profile.filter(|_| problem.knows_present && problem.exact) else {
            return;
        };
        let assigned = assignment.in_kind(problem, kind, 0).into_iter();
        let mut terms: Terms = assigned.map(|c| (c, -1)).collect();
        let pool = &problem.pools[of.pool];
        for (pattern, column) in pool.patterns.iter().zip(&patterns.gpus[of.pool]) {
            let idle = pattern.counts[profile] - pattern.busy[profile];
            terms.push((*column, i64::from(idle)));
        }
        model.at_most(terms, 0);
    }

    /// Adds the GPUs of each group of a pool; what is busy cannot be allocated whole.
    pub(crate) fn add_pool(
        &mut self,
        model: &mut Model,
        problem: &Problem,
        pool: usize,
        patterns: &Patterns,
        whole: &BTreeMap<usize, Vec<Column>>,
    ) {
        if !problem.knows_present {
            return;
        }
        let mut all_whole = Terms::new();
        for (g, group) in problem.pools[pool].groups.iter().enumerate() {
            let most = if group.busy_stays { 0 } else { group.gpus };
            let whole_of_group = model.integer(0, most);
            let of_pool = problem.pools[pool].patterns.iter().zip(&patterns.gpus[pool]);
            let mut terms: Terms = of_pool
                .filter(|(pattern, _)| pattern.group == g)
                .map(|(_, column)| (*column, 1))
                .collect();
            terms.push((whole_of_group, 1));
            model.at_most(terms, group.gpus);
            self.0.entry(pool).or_default().push(whole_of_group);
            all_whole.push((whole_of_group, 1));
        }
        for (size, columns) in whole {
            all_whole.extend(columns.iter().map(|c| (*c, -(*size as i64))));
        }
        model.equal(all_whole, 0);
    }

    /// Present instances that are destroyed: a sum, and what must be added to it.
    pub(crate) fn destroyed(
        &self,
        problem: &Problem,
        patterns: &Patterns,
        modes: &NodeModes,
    ) -> (Terms, i64) {
        let (mut terms, mut constant) = (Terms::new(), 0);
        for (p, pool) in problem.pools.iter().enumerate() {
            for (pattern, column) in pool.patterns.iter().zip(&patterns.gpus[p]) {
                let otherwise = pool.groups[pattern.group].idle_destroyed;
                terms.push((*column, pattern.destroyed - otherwise));
            }
            let whole = self.0.get(&p).map_or(&[][..], Vec::as_slice);
            for (group, column) in pool.groups.iter().zip(whole) {
                let all = group.present.len() as i64;
                match modes.column(0) {
                    // With MIG off for the one node everything goes, with MIG on no GPU is whole.
                    Some(on) => {
                        constant += group.gpus * all;
                        terms.push((on, -group.gpus * (all - group.idle_destroyed)));
                    }
                    None => {
                        terms.push((*column, all - group.idle_destroyed));
                        constant += group.gpus * group.idle_destroyed;
                    }
                }
            }
        }
        (terms, constant)
    }

    /// What the GPUs of each group of a pool become; `None` where no present state is known.
    pub(crate) fn decode(
        &self,
        problem: &Problem,
        pool: usize,
        patterns: &Patterns,
        values: &[i64],
    ) -> Option<Vec<GroupUse>> {
        let whole = self.0.get(&pool)?;
        let groups = problem.pools[pool].groups.iter().zip(whole).enumerate();
        let used = groups.map(|(g, (group, column))| {
            let mut others: VecDeque<usize> = group.members.iter().copied().collect();
            let whole = (0..values[*column]).filter_map(|_| others.pop_back()).collect();
            let of_group = |p: usize| problem.pools[pool].patterns[p].group == g;
            let patterns = patterns.decode(pool, values, of_group);
            GroupUse { whole, others, patterns }
        });
        Some(used.collect())
    }
}
