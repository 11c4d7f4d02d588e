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

/// The columns, by pool, for each group. Empty where no present state is known.
#[derive(Debug, Clone, Default)]
pub(crate) struct PresentGroups(BTreeMap<usize, Vec<GroupColumns>>);

#[derive(Debug, Clone, Copy)]
struct GroupColumns {
    /// The GPUs that are allocated whole.
    whole: Column,
    /// Those that serve no replica and whose MIG mode goes off all the same, so that the node keeps
    /// some whole; `None` where none is asked for, or they go off anyway.
    off: Option<Column>,
}

/// What the GPUs of one group become.
#[derive(Debug, Clone)]
pub(crate) struct GroupUse {
    /// Indices on the node of the GPUs that are allocated whole, MIG off.
    pub whole: Vec<usize>,
    /// Indices on the node of the others.
    pub others: VecDeque<usize>,
    /// Of those, how many have each pattern.
    pub patterns: Vec<(usize, i64)>,
    /// Of the rest, how many go whole although they would stay as they are.
    pub off: i64,
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

    /// Adds the GPUs of each group of a pool; what is busy cannot be whole. With `--keep-whole N`:
    /// GPUs with MIG on, by a pattern or as they are, ≤ those that may be partitioned.
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
        let (mut with_mig, mut stay_on) = (Terms::new(), 0);
        for (g, group) in problem.pools[pool].groups.iter().enumerate() {
            let most = if group.busy_stays { 0 } else { group.gpus };
            let whole_of_group = model.integer(0, most);
            let of_pool = problem.pools[pool].patterns.iter().zip(&patterns.gpus[pool]);
            let mut terms: Terms = of_pool
                .filter(|(pattern, _)| pattern.group == g)
                .map(|(_, column)| (*column, 1))
                .collect();
            let mut off = None;
            if group.stays_on() && problem.policy.keep_whole > 0 {
                let column = model.integer(0, most);
                with_mig.extend([(whole_of_group, -1), (column, -1)]);
                stay_on += group.gpus;
                terms.push((column, 1));
                off = Some(column);
            } else {
                with_mig.extend(terms.iter().copied());
            }
            terms.push((whole_of_group, 1));
            model.at_most(terms, group.gpus);
            self.0.entry(pool).or_default().push(GroupColumns { whole: whole_of_group, off });
            all_whole.push((whole_of_group, 1));
        }
        for (size, columns) in whole {
            all_whole.extend(columns.iter().map(|c| (*c, -(*size as i64))));
        }
        model.equal(all_whole, 0);
        if problem.policy.keep_whole > 0 {
            let partitionable: usize =
                problem.node_types.iter().map(|node| node.partitionable(pool)).sum();
            model.at_most(with_mig, partitionable as i64 - stay_on);
        }
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
            for (group, columns) in pool.groups.iter().zip(whole) {
                let all = group.present.len() as i64;
                match modes.column(0) {
                    // With MIG off for the one node everything goes, with MIG on no GPU is whole.
                    Some(on) => {
                        constant += group.gpus * all;
                        terms.push((on, -group.gpus * (all - group.idle_destroyed)));
                    }
                    None => {
                        let off = columns.off.iter().chain([&columns.whole]);
                        terms.extend(off.map(|column| (*column, all - group.idle_destroyed)));
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
        let used = groups.map(|(g, (group, columns))| {
            let mut others: VecDeque<usize> = group.members.iter().copied().collect();
            let whole = (0..values[columns.whole]).filter_map(|_| others.pop_back()).collect();
            let of_group = |p: usize| problem.pools[pool].patterns[p].group == g;
            let patterns = patterns.decode(pool, values, of_group);
            GroupUse {
                whole,
                others,
                patterns,
                off: columns.off.map_or(0, |column| values[column]),
            }
        });
        Some(used.collect())
    }
}
