//! Parts of a model for the solver where columns are wide: windows onto what loses little against
//! the relaxation.
//!
//! The solver's time grows with the ranges of the columns, since it lists the values that each may
//! lose, by reduced cost. The solutions of at least some value leave the columns a small part of
//! their ranges, by the reduced costs of the relaxation. A window that has a solution has the best of
//! all. Where it has none the next one is larger, and the last is all that is no worse than the best
//! solution known. Asks no solver.

use super::model::{LinearObjective, Model, dot};
use super::solver::relaxation::Relaxation;

/// In the first window a column may move by so many steps. The best memory is close to its
/// relaxation, since it is not a sum of whole columns alone; what counts is farther away, and windows
/// that have no solution cost more than they save.
const FIRST_STEPS_OF_MEMORY: f64 = 0.5;
const FIRST_STEPS: f64 = 8.0;
/// By this a window grows that has no solution, up to so many steps. Large windows without one take
/// long.
const GROWS: i128 = 4;
const MOST_STEPS: f64 = 32.0;

/// A part of a model that has all solutions of at least some value.
pub(super) struct Window {
    /// The value.
    pub least: i128,
    /// Whether it is the one of the best solution known, which is in the window.
    pub known: bool,
    /// The model with the ranges that such solutions keep.
    pub model: Model,
}

/// Which window comes next.
pub(super) struct Windows {
    /// The bound of the relaxation.
    best: i128,
    /// What the next window's solutions may lose against it.
    loss: i128,
    /// And what at most.
    most: i128,
    /// Whether windows of another value than that of the best solution known are looked at.
    may_grow: bool,
}

impl Windows {
    /// The windows for an objective after its relaxation in this model, which came to `best`. `None`
    /// where the whole model is no harder.
    pub(super) fn new(
        relaxation: &Relaxation,
        model: &Model,
        objective: &LinearObjective,
        best: Option<i128>,
    ) -> Option<Windows> {
        if !relaxation.has_wide_columns(model, objective) {
            return None;
        }
        let is_memory = objective.terms.iter().any(|(column, _)| !model.columns[*column].integer);
        let first = if is_memory { FIRST_STEPS_OF_MEMORY } else { FIRST_STEPS };
        let loss = |steps| relaxation.loss_of_steps(model, objective, steps);
        Some(Windows { best: best?, loss: loss(first)?, most: loss(MOST_STEPS)?, may_grow: true })
    }

    /// The window to look at now: of the solutions that lose no more than the windows have come to, or
    /// of those that are no worse than the best one known. `None` where that is not less than the
    /// whole model.
    pub(super) fn now(
        &self,
        relaxation: &Relaxation,
        model: &Model,
        objective: &LinearObjective,
        best_known: Option<&[i64]>,
    ) -> Option<Window> {
        let sign = objective.sense.sign();
        let loss = sign.saturating_mul(self.loss);
        let least = self.may_grow.then(|| self.best.saturating_sub(loss));
        let known = best_known.map(|values| dot(&objective.terms, values));
        let least = match (least, known) {
            (Some(least), Some(known)) if sign * known < sign.saturating_mul(least) => least,
            (least, known) => known.or(least)?,
        };
        let narrowed = relaxation.narrowed_by(model, objective, least);
        if narrowed.is_empty() {
            return None;
        }
        let mut model = model.clone();
        model.narrow(narrowed);
        let known = known == Some(least);
        let is_false = known && !best_known.is_some_and(|values| model.holds(values));
        (!is_false).then_some(Window { least, known, model })
    }

    /// The last one had no solution.
    pub(super) fn was_empty(&mut self) {
        self.loss = self.loss.saturating_mul(GROWS);
        self.may_grow = self.loss <= self.most;
    }

    /// Only what is no worse than the best solution known is still looked at.
    pub(super) fn grow_no_more(&mut self) {
        self.may_grow = false;
    }
}
