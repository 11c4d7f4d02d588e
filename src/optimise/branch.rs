//! Branch and bound over many hours, on the relaxation.
//!
//! Nearly all columns of a model over time are those of its hours, and they are integral by
//! themselves where the instances are (`constraints/assignment`). So the numbers of instances are
//! branched on, each with all larger ones: a few tens of sums, whatever the number of hours. A part of
//! the solutions is the relaxation with a few limits, which goes on from the last one. The solver,
//! which looks for cuts in all hours first, takes several times as long (14,000 rows: 27 to 46 s, here
//! 5 to 9), but where there are many parts it is the faster one.
//!
//! Knows neither the model nor the goal.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::solver::relaxation::Limit;
use crate::error::Result;

/// So many parts are looked at.
const MOST_PARTS: usize = 80;

/// What came of a part of the solutions.
pub(super) enum Part {
    /// Nothing in it is wanted.
    Done,
    /// Something may be: no solution in it passes the bound. It is to be divided.
    Open {
        /// Times the sign of the sense: greater is better.
        bound: i128,
        /// The limits of its two halves.
        halves: [Limit; 2],
    },
    /// There is no answer, or one that helps nothing.
    Unknown,
}

/// Why the search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// All parts are done.
    Done,
    /// There is no answer to one of them.
    Unknown,
    /// There are too many; what is still open does not pass the bound.
    TooMany(i128),
    /// Someone has ended it, likewise.
    Stopped(i128),
}

/// What is searched.
pub(super) trait Solutions {
    /// Looks at the solutions within limits.
    ///
    /// # Errors
    /// A solver that breaks down (exit 1).
    fn part(&mut self, limits: &[Limit]) -> Result<Part>;

    /// Whether solutions that do not pass a bound are still wanted.
    fn is_wanted(&self, bound: i128) -> bool;

    /// Whether the search must end.
    fn must_end(&self) -> bool;
}

/// Divides the solutions until nothing is wanted any more.
///
/// # Errors
/// As [`Solutions::part`].
pub(super) fn search(solutions: &mut impl Solutions) -> Result<Ended> {
    /// A part that is to be divided.
    struct Open {
        bound: i128,
        limits: Vec<Limit>,
        halves: [Limit; 2],
    }
    let mut next = match solutions.part(&[])? {
        Part::Done => return Ok(Ended::Done),
        Part::Unknown => return Ok(Ended::Unknown),
        Part::Open { bound, halves } => Some(Open { bound, limits: Vec::new(), halves }),
    };
    let mut parts = 1;
    // By their bounds, the best last; of equals the last that was found.
    let mut open: BTreeMap<(i128, usize), Open> = BTreeMap::new();
    while let Some(part) = next.take().or_else(|| open.pop_last().map(|(_, part)| part)) {
        if !solutions.is_wanted(part.bound) {
            continue;
        }
        if solutions.must_end() || parts >= MOST_PARTS {
            let last = open.keys().next_back().map_or(part.bound, |(bound, _)| *bound);
            let bound = last.max(part.bound);
            let stopped = solutions.must_end();
            return Ok(if stopped { Ended::Stopped(bound) } else { Ended::TooMany(bound) });
        }
        let mut halves = Vec::new();
        for half in part.halves {
            parts += 1;
            let mut limits = part.limits.clone();
            limits.retain(|limit| limit.of != half.of);
            limits.push(half);
            match solutions.part(&limits)? {
                Part::Done => {}
                Part::Unknown => return Ok(Ended::Unknown),
                Part::Open { bound, halves: more } => {
                    halves.push(Open { bound, limits, halves: more });
                }
            }
        }
        // Down the better half first: a solution rules out most of the rest.
        halves.sort_by_key(|half| Reverse(half.bound));
        let mut halves = halves.into_iter();
        next = halves.next();
        open.extend(halves.map(|half| ((half.bound, parts), half)));
    }
    Ok(Ended::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimise::model::{LinearObjective, Model};
    use crate::optimise::solver::relaxation::{Node, Relaxation};
    use crate::plan::goal::Sense;

    /// The most of a model, by its relaxation alone.
    struct Most {
        model: Model,
        objective: LinearObjective,
        relaxation: Relaxation,
        best: Option<(i128, Vec<i64>)>,
        parts: usize,
    }

    impl Solutions for Most {
        fn part(&mut self, limits: &[Limit]) -> Result<Part> {
            self.parts += 1;
            let node = self.relaxation.limited(&self.model, &self.objective, limits)?;
            let Node::Solved(relaxed, halves) = node else { return Ok(Part::Done) };
            match halves {
                _ if !self.is_wanted(relaxed.bound) => Ok(Part::Done),
                Some(halves) => Ok(Part::Open { bound: relaxed.bound, halves }),
                None => {
                    self.best = relaxed.integers.map(|values| (relaxed.bound, values));
                    Ok(Part::Done)
                }
            }
        }

        fn is_wanted(&self, bound: i128) -> bool {
            self.best.as_ref().is_none_or(|(best, _)| bound > *best)
        }

        fn must_end(&self) -> bool {
            false
        }
    }

    fn most(weights: &[i64], limit: i64) -> Most {
        let mut model = Model::default();
        let columns: Vec<usize> = weights.iter().map(|_| model.integer(0, 1)).collect();
        let terms: Vec<(usize, i64)> = columns.into_iter().zip(weights.iter().copied()).collect();
        model.at_most(terms.clone(), limit);
        Most {
            model,
            objective: LinearObjective { sense: Sense::Maximise, terms },
            relaxation: Relaxation::default(),
            best: None,
            parts: 0,
        }
    }

    #[test]
    fn the_best_is_found() {
        let mut knapsack = most(&[12, 9, 7, 5], 20);
        assert_eq!(search(&mut knapsack).unwrap(), Ended::Done);
        assert_eq!(knapsack.best, Some((19, vec![1, 0, 1, 0])));
        let mut nothing = most(&[12, 9], 20);
        nothing.model.at_least(vec![(0, 1), (1, 1)], 2);
        assert_eq!(search(&mut nothing).unwrap(), Ended::Done);
        assert_eq!(nothing.best, None);
    }

    #[test]
    fn too_many_parts_end_it_with_a_bound() {
        // An odd sum of even terms needs the odd one, which only whole numbers show.
        let mut odd = most(&[2; 30], 60);
        let one = odd.model.integer(0, 1);
        let mut sum = odd.objective.terms.clone();
        sum.push((one, 1));
        odd.model.equal(sum, 31);
        odd.objective.terms = vec![(one, -1)];
        assert_eq!(search(&mut odd).unwrap(), Ended::TooMany(0));
        assert!(odd.parts >= MOST_PARTS);
    }
}
