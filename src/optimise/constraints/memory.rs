//! The memory that a demand class is served. What its `n` largest replicas need is concave in `n`,
//! so a class of several memory values has a column for it, held under tangents that are added
//! where a solution needs them. The size of the model does not grow with the number of distinct
//! values.

use std::collections::BTreeSet;

use crate::optimise::model::{Column, ColumnBounds, Model, Terms};
use crate::optimise::problem::Problem;

/// Tangents that a class starts with, spread over its distinct values.
const FIRST_TANGENTS: usize = 8;

/// The solver sees memory in GiB.
const MEMORY_UNIT: i64 = 1024;

/// The columns and the tangents that they have so far.
#[derive(Debug, Clone)]
pub(crate) struct ServedMemory {
    /// For each class whose replicas differ in memory: the memory served.
    columns: Vec<Option<Column>>,
    /// For each class: the runs that have a tangent.
    tangents: Vec<BTreeSet<usize>>,
}

impl ServedMemory {
    /// Adds a column for each class whose replicas differ, under its first tangents.
    pub(crate) fn add(model: &mut Model, problem: &Problem, served: &[Column]) -> ServedMemory {
        let mut memory = ServedMemory {
            columns: Vec::new(),
            tangents: vec![BTreeSet::new(); problem.classes.len()],
        };
        for (c, class) in problem.classes.iter().enumerate() {
            let runs = class.curve.runs().len();
            if runs <= 1 {
                memory.columns.push(None);
                continue;
            }
            let upper = class.curve.at(model.columns[served[c]].upper);
            let column = ColumnBounds { lower: 0, upper, integer: false, unit: MEMORY_UNIT };
            memory.columns.push(Some(model.column(column)));
            let first = FIRST_TANGENTS.min(runs);
            for i in 0..first {
                memory.add_tangent(model, problem, served, c, i * (runs - 1) / (first - 1));
            }
        }
        memory
    }

    /// The memory served, times its hours, as far as it follows from the replicas served alone.
    pub(crate) fn terms(&self, problem: &Problem, served: &[Column]) -> Terms {
        let mut terms = Terms::new();
        for (c, class) in problem.classes.iter().enumerate() {
            match (self.columns[c], class.curve.runs().first()) {
                (Some(memory), _) => terms.push((memory, problem.hours_of(class))),
                (None, Some(run)) if run.slope_mib > 0 => {
                    terms.push((served[c], run.slope_mib * problem.hours_of(class)));
                }
                _ => {}
            }
        }
        terms
    }

    /// Tangents so far.
    pub(crate) fn tangents(&self) -> usize {
        self.tangents.iter().map(BTreeSet::len).sum()
    }

    /// Holds the memory of a class under the line through one of its runs. Returns whether the
    /// line is new.
    fn add_tangent(
        &mut self,
        model: &mut Model,
        problem: &Problem,
        served: &[Column],
        class: usize,
        run: usize,
    ) -> bool {
        let Some(memory) = self.columns[class] else { return false };
        if !self.tangents[class].insert(run) {
            return false;
        }
        let line = problem.classes[class].curve.runs()[run];
        model.at_most(
            vec![(memory, 1), (served[class], -line.slope_mib)],
            line.before_mib - line.slope_mib * line.before,
        );
        true
    }

    /// Where the memory columns of a solution promise more than its replicas need, adds the
    /// tangents that forbid it, and returns whether there were any.
    pub(crate) fn tighten(
        &mut self,
        model: &mut Model,
        problem: &Problem,
        served: &[Column],
        values: &[i64],
    ) -> bool {
        let mut added = false;
        for (c, class) in problem.classes.iter().enumerate() {
            let Some(memory) = self.columns[c] else { continue };
            let n = values[served[c]];
            if values[memory] > class.curve.at(n) {
                added |= self.add_tangent(model, problem, served, c, class.curve.run_of(n));
                added |= self.add_tangent(model, problem, served, c, class.curve.run_of(n + 1));
            }
        }
        added
    }

    /// As [`ServedMemory::tighten`] for a solution of the relaxation, in thousandths.
    pub(crate) fn tighten_relaxed(
        &mut self,
        model: &mut Model,
        problem: &Problem,
        served: &[Column],
        thousandths: &[i64],
    ) -> bool {
        /// Less than this is the solver's own tolerance, in thousandths of a MiB.
        const TOLERANCE: i64 = 20;
        let mut added = false;
        for (c, class) in problem.classes.iter().enumerate() {
            let Some(memory) = self.columns[c] else { continue };
            let n = thousandths[served[c]];
            // Between two whole numbers of replicas the line of the larger one's run holds.
            let run = class.curve.run_of(n.div_euclid(1000) + 1);
            let line = class.curve.runs()[run];
            let most = line.before_mib * 1000 + (n - line.before * 1000) * line.slope_mib;
            if thousandths[memory] > most + TOLERANCE {
                added |= self.add_tangent(model, problem, served, c, run);
            }
        }
        added
    }

    /// Adds the tangents beside those that a solution of the relaxation, in thousandths, lies on.
    pub(crate) fn surround(
        &mut self,
        model: &mut Model,
        problem: &Problem,
        served: &[Column],
        thousandths: &[i64],
    ) {
        for (c, class) in problem.classes.iter().enumerate() {
            let run = class.curve.run_of(thousandths[served[c]].div_euclid(1000) + 1);
            for near in run.saturating_sub(1)..=(run + 1).min(class.curve.runs().len() - 1) {
                self.add_tangent(model, problem, served, c, near);
            }
        }
    }

    /// Sets the memory columns of a solution to what its replicas need.
    pub(crate) fn settle(&self, problem: &Problem, served: &[Column], values: &mut [i64]) {
        for (c, class) in problem.classes.iter().enumerate() {
            if let Some(memory) = self.columns[c] {
                values[memory] = class.curve.at(values[served[c]]);
            }
        }
    }
}
