//! The best value of one linear objective, and the proof that there is no better one.
//!
//! What is cheap comes first: the bounds of the columns alone, then the linear relaxation and
//! integers near it, then the solver. A solver works in floats, so its answer, rounded, is put into
//! the model again in integers. An answer that does not hold there, or whose bound stays apart from
//! its value, is asked for again with other settings. Knows no goal.
//!
//! Where columns are wide the solver is first asked in `windows`. Over many hours it is asked only
//! where branching on the relaxation (`branch`) has not come to an end.
//!
//! # Tried, and lost
//!
//! *A smaller or another model*
//! - A column for the replicas of each kind, with those of its types continuous, as a flow has them:
//!   fewer integers, weaker branching; as often slower as faster.
//! - A smaller integer program of the solutions within one of the relaxation's: it seldom reaches the
//!   bound, and takes as long as the whole one.
//! - One row for a kind in use with the sum of all types as its factor: a weak relaxation, and answers
//!   that do not hold in integers.
//! - No more than one GPU of a pattern of which two make what one GPU each of two others make: from
//!   2,500 GPUs of a board on a quarter to a half faster, below that slower; layouts are less alike.
//!
//! *Other relaxations*
//! - A relaxation built anew and presolved for every bound: most of its time is building.
//! - Without hours, branching on the relaxation itself: a node takes 0.2 ms on one board and 1 to 2 ms
//!   on eight. Of four GPUs as fast; 500 nodes close no gap of eight boards, which cuts nearly do.
//! - Fixing kinds in use by the relaxation once their number is proved: it leaves room for one more, so
//!   none is fixed. The rows of their switches put together then: as often slower.
//!
//! *Other ways to ask the solver*
//! - All priorities together first also where the relaxation shows that not everything fits.
//! - Without its RENS, RINS or restarts: as often slower as faster, over 20 fleets.
//!
//! *Where columns are wide*
//! - First the best solution within 100 of the relaxation's: it reaches the bound in the first stages,
//!   which are fast, and never in those of kinds and compute slices.
//! - With over 1,000 values, first without integers in them, then the best integers within 16 of that
//!   answer: the same plans, 65,000 GPUs of two boards in a fifteenth of the time, but 50 random fleets
//!   in one and a half times the time, two of three of them slower.
//! - Those columns split into two digits: more than twice the time.

use std::time::Instant;

use super::branch::{self, Ended, Part, Solutions};
use super::ends::Ends;
use super::first_plan;
use super::formulation::Formulation;
use super::model::{Answer, Column, ColumnBounds, LinearObjective, Terms, dot};
use super::options::PlanOptions;
use super::problem::Problem;
use super::solver::relaxation::{Limit, Node, Relaxation, is_wide};
use super::solver::solve::{self, Care, Solved};
use super::windows::Windows;
use crate::error::{Error, Result};
use crate::plan::goal::Sense;
use crate::plan::{Effort, Status};

/// What is known of the best value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bound {
    /// No solution passes this value.
    pub value: i128,
    /// [`Status::Optimal`] where a solution reaches it, else why the search ended.
    pub status: Status,
}

/// The work in progress.
pub(crate) struct Search<'p> {
    pub problem: &'p Problem,
    pub formulation: Formulation,
    /// The best solution so far; holds for the model as it is.
    values: Option<Vec<i64>>,
    ends: Ends,
    relaxation: Relaxation,
    /// What the objective at hand took so far.
    effort: Effort,
}

impl<'p> Search<'p> {
    pub(crate) fn new(problem: &'p Problem, options: &PlanOptions) -> Self {
        let ends = Ends::of(options);
        let formulation = Formulation::new(problem);
        let sums = match problem.is_over_time() {
            true => formulation.patterns.instances(problem),
            false => Vec::new(),
        };
        Search {
            problem,
            formulation,
            values: None,
            relaxation: Relaxation::until(ends.clone()).with_sums(sums),
            ends,
            effort: Effort::default(),
        }
    }

    /// The best solution so far.
    pub(crate) fn into_solution(self) -> Result<(Formulation, Vec<i64>)> {
        let values = self.values.ok_or_else(|| Error::internal("no stage found a solution"))?;
        Ok((self.formulation, values))
    }

    /// The values of the best solution so far; empty where there is none.
    pub(crate) fn values(&self) -> &[i64] {
        self.values.as_deref().unwrap_or_default()
    }

    /// Takes a solution that is known, before anything is optimised. Returns whether it holds.
    pub(crate) fn know(&mut self, mut values: Vec<i64>) -> bool {
        if values.len() != self.formulation.model.columns.len() {
            return false;
        }
        self.formulation.settle(self.problem, &mut values);
        let holds = self.formulation.model.holds(&values);
        if holds {
            // What it needs of the curves of memory, as if the relaxation had come here.
            let thousandths: Vec<i64> = values.iter().map(|v| v.saturating_mul(1000)).collect();
            self.formulation.surround(self.problem, &thousandths);
            self.values = Some(values);
        }
        holds
    }

    /// Counts as guaranteed what can be, where the search ended early.
    pub(crate) fn guarantee_first(&mut self) {
        if let Some(values) = &mut self.values {
            self.formulation.guarantee_first(self.problem, values);
        }
    }

    /// The value of a sum in the best solution.
    pub(crate) fn value_of(&self, terms: &Terms) -> i128 {
        self.values.as_ref().map_or(0, |values| dot(terms, values))
    }

    /// Whether the search must end: time is up, or someone has stopped it.
    pub(crate) fn is_over(&self) -> bool {
        self.ends.now()
    }

    /// The same for a part of the search that has a deadline of its own.
    fn ends(&self, deadline: Option<Instant>) -> bool {
        self.is_over() || deadline.is_some_and(|d| Instant::now() >= d)
    }

    /// When the objective at hand must be done, so that what comes after it gets its turn: half of
    /// the time that is left, and three quarters where there is no solution yet.
    fn turn(&self) -> Option<Instant> {
        let parts = if self.values.is_some() { 2 } else { 4 };
        self.ends.deadline.map(|end| end - end.saturating_duration_since(Instant::now()) / parts)
    }

    /// What was done since the last call.
    pub(crate) fn take_effort(&mut self) -> Effort {
        let effort = std::mem::take(&mut self.effort);
        Effort {
            relaxations: std::mem::take(&mut self.relaxation.solved),
            rows: self.formulation.model.rows.len() as u64,
            tangents: self.formulation.tangents() as u64,
            ..effort
        }
    }

    /// Gives the best solution values for columns that were just added.
    pub(crate) fn extend_values(&mut self, more: impl IntoIterator<Item = i64>) {
        if let Some(values) = &mut self.values {
            values.extend(more);
        }
    }

    /// Optimises one sum without holding it, with a time limit in its turn of what is left.
    ///
    /// # Errors
    /// No solution within the time limit (exit 5), or none that holds (exit 1).
    pub(crate) fn optimise(&mut self, objective: &LinearObjective) -> Result<Bound> {
        let limit = self.natural_limit(objective);
        let known = self.values.is_some();
        if self.reaches(objective, limit) {
            return Ok(self.bound(objective, limit, Status::Optimal));
        }
        // Without a solution there must be one to fall back to.
        let takes_turn = known
            || self.ends.deadline.is_some()
                && first_plan::find(self.problem, &self.formulation).is_some();
        let deadline = if takes_turn { self.turn() } else { self.ends.deadline };
        let mut bound = limit;
        if !self.ends(deadline) && self.relax(objective, &mut bound, deadline)? {
            return Ok(self.bound(objective, bound, Status::Optimal));
        }
        if let Some(status) = self.branch(objective, &mut bound, deadline)? {
            return Ok(self.bound(objective, bound, status));
        }
        if let Some(status) = self.ask_in_windows(objective, &mut bound, deadline)? {
            return Ok(self.bound(objective, bound, status));
        }
        for care in Care::ALL {
            let status = self.ask(objective, &mut bound, care, deadline)?;
            if status != Status::SolverGap {
                return Ok(self.bound(objective, bound, status));
            }
        }
        if self.values.is_none() {
            return Err(Error::internal("the solver's answers break its own model"));
        }
        Ok(self.bound(objective, bound, Status::SolverGap))
    }

    /// Optimises one sum from here on over the patterns alone, with the replicas of the best solution
    /// where they are.
    ///
    /// # Errors
    /// As [`Search::optimise`].
    pub(crate) fn optimise_patterns(&mut self, objective: &LinearObjective) -> Result<()> {
        let Some(values) = &self.values else { return Ok(()) };
        self.formulation.fix_replicas(values);
        self.optimise(objective).map(drop)
    }

    /// Finds the best solution of at least this value and returns whether there is one. What is
    /// worse is left out from here on: by the reduced costs of the last relaxation, which is that of
    /// this sum, and by a row, so that the solver has little to look at where there is none.
    ///
    /// # Errors
    /// No answer within the time limit (exit 5); a solver that breaks down (exit 1).
    pub(crate) fn reach(&mut self, objective: &LinearObjective, least: i128) -> Result<bool> {
        let Ok(limit) = i64::try_from(least) else { return Ok(true) };
        let known = self.values.take();
        if known.as_ref().is_some_and(|values| dot(&objective.terms, values) >= least) {
            self.values = known;
            return Ok(true);
        }
        let model = &mut self.formulation.model;
        let narrowed = self.relaxation.narrowed_by(model, objective, least);
        let (columns, row) = (model.columns.clone(), model.rows.len());
        model.narrow(narrowed);
        model.at_least(objective.terms.clone(), limit);
        let mut bound = None;
        match self.branch(objective, &mut bound, self.ends.deadline)? {
            Some(Status::Optimal) if self.values.is_none() => return Ok(false),
            Some(Status::Optimal) => {
                if let Some(most) = bound.and_then(|bound| i64::try_from(bound).ok()) {
                    self.formulation.model.at_most(objective.terms.clone(), most);
                }
                return Ok(true);
            }
            Some(_) => return Ok(true),
            None => {}
        }
        let mut care = Care::Usual;
        loop {
            if self.is_over() {
                return self.ended().map(|_| true);
            }
            self.effort.solves += 1;
            let limits = (self.ends.deadline, self.ends.stop.as_ref());
            let model = &self.formulation.model;
            let mut tightened = false;
            match solve::solve(model, objective, None, limits, care)? {
                // Nothing else shows that there is none, so the solver must say so twice.
                Solved::Infeasible if care == Care::Usual => {
                    care = Care::Tight;
                    continue;
                }
                Solved::Infeasible => return Ok(false),
                Solved::Failed => {}
                Solved::Answer(answer) => {
                    self.effort.iterations += answer.iterations;
                    let Some(values) = answer.values else { return self.ended().map(|_| true) };
                    tightened = self.offer(objective, values);
                    if self.values.is_some() {
                        if !self.contradicts(objective, answer.bound)
                            && let Ok(most) = i64::try_from(answer.bound)
                        {
                            self.formulation.model.at_most(objective.terms.clone(), most);
                        }
                        return Ok(true);
                    }
                }
            }
            if !tightened {
                // An answer that does not hold says nothing: all is asked for as ever.
                let model = &mut self.formulation.model;
                (model.columns, model.rows[row].lower) = (columns, None);
                self.values = self.values.take().or(known);
                return Ok(true);
            }
        }
    }

    /// Optimises one sum only if the linear relaxation lets it reach what the bounds of the columns
    /// allow.
    ///
    /// # Errors
    /// As [`Search::optimise`].
    pub(crate) fn reach_limit(&mut self, objective: &LinearObjective) -> Result<()> {
        let limit = self.natural_limit(objective);
        let mut bound = limit;
        if self.relax(objective, &mut bound, self.turn())? || bound != limit {
            return Ok(());
        }
        self.optimise(objective).map(drop)
    }

    /// What the linear relaxation says that no solution can pass in `objective` while `first` has
    /// all that the bounds of its columns allow; `None` where it cannot have that. The search is of
    /// no other use afterwards.
    ///
    /// # Errors
    /// A solver that breaks down (exit 1).
    pub(crate) fn bound_at_limit(
        &mut self,
        first: &LinearObjective,
        objective: &LinearObjective,
    ) -> Result<Option<i128>> {
        for (column, coefficient) in &first.terms {
            let bounds = &mut self.formulation.model.columns[*column];
            let best = best_end(first.sense, *coefficient, bounds);
            (bounds.lower, bounds.upper) = (best, best);
        }
        let relaxed = self.relaxation.solve(&self.formulation.model, objective)?;
        Ok(relaxed.map(|relaxed| relaxed.bound))
    }

    /// What the linear relaxation alone says of an objective; `None` where it says nothing.
    ///
    /// # Errors
    /// As [`Search::optimise`].
    pub(crate) fn relaxed(&mut self, objective: &LinearObjective) -> Result<Option<i128>> {
        let relaxed = self.relaxation.solve(&self.formulation.model, objective)?;
        Ok(relaxed.map(|r| r.bound))
    }

    /// Bounds the objective by the linear relaxation, and looks for a solution that reaches the
    /// bound: the relaxation itself, if it is integer, or what a dive from it finds. Returns whether
    /// there is one.
    fn relax(
        &mut self,
        objective: &LinearObjective,
        bound: &mut Option<i128>,
        deadline: Option<Instant>,
    ) -> Result<bool> {
        self.relaxation.end_at(deadline);
        let reached = self.relax_until(objective, bound, deadline);
        self.relaxation.end_at(self.ends.deadline);
        reached
    }

    fn relax_until(
        &mut self,
        objective: &LinearObjective,
        bound: &mut Option<i128>,
        deadline: Option<Instant>,
    ) -> Result<bool> {
        loop {
            let relaxed = self.relaxation.solve(&self.formulation.model, objective)?;
            let Some(relaxed) = relaxed else { return Ok(false) };
            *bound = Some(tighter(*bound, relaxed.bound, objective.sense));
            if self.reaches(objective, *bound) {
                return Ok(true);
            }
            if self.ends(deadline) {
                return Ok(false);
            }
            if !self.formulation.tighten_relaxed(self.problem, &relaxed.thousandths) {
                self.round(objective)?;
                self.formulation.surround(self.problem, &relaxed.thousandths);
                let integers = match (relaxed.integers, *bound) {
                    (None, Some(target)) => {
                        self.relaxation.dive(&self.formulation.model, objective, target)?
                    }
                    (integers, _) => integers,
                };
                if let Some(values) = integers {
                    self.offer(objective, values);
                }
                return Ok(self.reaches(objective, *bound));
            }
        }
    }

    /// Over many hours, takes the layouts of the last relaxation, rounded, with the best assignment to
    /// them, which is integer by itself: a good solution long before the solver has one.
    fn round(&mut self, objective: &LinearObjective) -> Result<()> {
        if !self.problem.is_over_time() || !self.relaxation.is_large() {
            return Ok(());
        }
        let layouts = &self.formulation.patterns.gpus;
        if let Some(values) = self.relaxation.rounded(&self.formulation.model, layouts)? {
            self.offer(objective, values);
        }
        Ok(())
    }

    /// Looks for the best solution by branch and bound where demand changes over time.
    /// [`Status::Optimal`]: the best solution known, if there is one, is the best of all. `None` where
    /// that is not known: the solver is to be asked. Narrows `bound`.
    fn branch(
        &mut self,
        objective: &LinearObjective,
        bound: &mut Option<i128>,
        deadline: Option<Instant>,
    ) -> Result<Option<Status>> {
        let too_late = || self.ends(deadline) || self.relaxation.is_longer_than(deadline);
        if !self.problem.is_over_time() || too_late() {
            return Ok(None);
        }
        self.relaxation.end_at(deadline);
        let columns = self.formulation.model.columns.clone();
        self.narrow(objective);
        let ended = branch::search(&mut Branching { search: self, objective, deadline });
        self.formulation.model.columns = columns;
        self.relaxation.without_limits(&self.formulation.model);
        self.relaxation.end_at(self.ends.deadline);
        let mut passes_none = |best: i128| {
            *bound = Some(tighter(*bound, objective.sense.sign() * best, objective.sense));
        };
        match ended? {
            Ended::Unknown => Ok(None),
            Ended::TooMany(best) => {
                passes_none(best);
                Ok(None)
            }
            Ended::Stopped(best) => {
                passes_none(best);
                self.ended().map(Some)
            }
            Ended::Done => {
                if self.values.is_some() {
                    *bound = Some(self.value_of(&objective.terms));
                }
                Ok(Some(Status::Optimal))
            }
        }
    }

    /// Leaves the columns only what they may have in solutions that are no worse than the best known,
    /// by the reduced costs of the last relaxation.
    fn narrow(&mut self, objective: &LinearObjective) {
        let Some(values) = &self.values else { return };
        let known = dot(&objective.terms, values);
        let model = &mut self.formulation.model;
        model.narrow(self.relaxation.narrowed_by(model, objective, known));
    }

    /// Takes a solution that holds in integers and is no worse than the one that is there. Returns
    /// whether it needs further tangents.
    fn offer(&mut self, objective: &LinearObjective, mut values: Vec<i64>) -> bool {
        let tightened = self.formulation.tighten(self.problem, &values);
        self.formulation.settle(self.problem, &mut values);
        if self.formulation.model.holds(&values) && self.is_better(objective, &values) {
            self.values = Some(values);
        }
        tightened
    }

    /// Whether the best solution has the value of the bound.
    fn reaches(&self, objective: &LinearObjective, bound: Option<i128>) -> bool {
        self.values.is_some() && Some(self.value_of(&objective.terms)) == bound
    }

    /// Asks the solver in windows, one after the other, where columns are wide. `None` where no window
    /// gave the answer. Narrows `bound`.
    fn ask_in_windows(
        &mut self,
        objective: &LinearObjective,
        bound: &mut Option<i128>,
        deadline: Option<Instant>,
    ) -> Result<Option<Status>> {
        let model = &self.formulation.model;
        let Some(mut windows) = Windows::new(&self.relaxation, model, objective, *bound) else {
            return Ok(None);
        };
        let sign = objective.sense.sign();
        loop {
            if self.ends(deadline) {
                return self.ended().map(Some);
            }
            let (model, known) = (&self.formulation.model, self.values.as_deref());
            let Some(window) = windows.now(&self.relaxation, model, objective, known) else {
                return Ok(None);
            };
            let start = window.known.then_some(known).flatten();
            self.effort.solves += 1;
            let limits = (deadline, self.ends.stop.as_ref());
            let answer = solve::solve(&window.model, objective, start, limits, Care::Usual)?;
            let Solved::Answer(answer) = answer else {
                if window.known {
                    return Ok(None);
                }
                windows.was_empty();
                continue;
            };
            self.effort.iterations += answer.iterations;
            if window.known && self.contradicts(objective, answer.bound) {
                return Ok(None);
            }
            // What is outside the window is worse than its least. A solver that was interrupted may
            // know no bound, which is the least or the largest number.
            let outside = sign.saturating_mul(window.least).saturating_sub(1);
            let all = sign.saturating_mul(sign.saturating_mul(answer.bound).max(outside));
            *bound = Some(tighter(*bound, all, objective.sense));
            let Some(values) = answer.values else { return self.ended().map(Some) };
            let within = sign * dot(&objective.terms, &values) > outside;
            let tightened = self.offer(objective, values);
            if self.reaches(objective, *bound) {
                return Ok(Some(Status::Optimal));
            }
            if !tightened && (window.known || within) {
                return if self.ends(deadline) { self.ended().map(Some) } else { Ok(None) };
            }
            if !tightened {
                windows.grow_no_more();
            }
        }
    }

    /// Asks the solver, and again while its answer needs more tangents. Narrows `bound`.
    fn ask(
        &mut self,
        objective: &LinearObjective,
        bound: &mut Option<i128>,
        care: Care,
        deadline: Option<Instant>,
    ) -> Result<Status> {
        loop {
            if self.ends(deadline) || self.relaxation.is_longer_than(deadline) {
                return self.ended();
            }
            self.effort.solves += 1;
            let model = &self.formulation.model;
            let start = self.values.as_deref();
            let limits = (deadline, self.ends.stop.as_ref());
            let Solved::Answer(answer) = solve::solve(model, objective, start, limits, care)?
            else {
                // The solver calls a model infeasible that has a solution, or breaks down.
                return Ok(Status::SolverGap);
            };
            self.effort.iterations += answer.iterations;
            if self.contradicts(objective, answer.bound) {
                return Ok(Status::SolverGap);
            }
            *bound = Some(tighter(*bound, answer.bound, objective.sense));
            let Some(values) = answer.values else { return self.ended() };
            let tightened = self.offer(objective, values);
            if self.reaches(objective, *bound) {
                return Ok(Status::Optimal);
            }
            if !tightened {
                return if self.ends(deadline) { self.ended() } else { Ok(Status::SolverGap) };
            }
        }
    }

    /// Whether a solver's bound is false, because a solution that holds in integers passes it. It
    /// has happened, on models of many boards.
    fn contradicts(&self, objective: &LinearObjective, bound: i128) -> bool {
        let value = self.value_of(&objective.terms);
        self.values.is_some() && objective.sense.prefers(value, bound)
    }

    /// A bound that does not contradict the solution that is there.
    fn bound(&self, objective: &LinearObjective, bound: Option<i128>, status: Status) -> Bound {
        let (sense, reached) = (objective.sense, self.value_of(&objective.terms));
        let bound = bound.unwrap_or(sense.unlimited());
        Bound { value: if sense.prefers(reached, bound) { reached } else { bound }, status }
    }

    /// Looks for any solution where these columns have at least these values, and takes it. Returns
    /// whether there is one; that there is none is not proved.
    ///
    /// # Errors
    /// A solver that breaks down (exit 1).
    pub(crate) fn find_with(&mut self, lower: &[(Column, i64)]) -> Result<bool> {
        let mut model = self.formulation.model.clone();
        for (column, value) in lower {
            model.columns[*column].lower = (*value).max(model.columns[*column].lower);
        }
        let any = LinearObjective { sense: Sense::Maximise, terms: Terms::new() };
        self.effort.solves += 1;
        let limits = (self.ends.deadline, self.ends.stop.as_ref());
        let answer = solve::solve(&model, &any, None, limits, Care::Usual)?;
        let Solved::Answer(Answer { values: Some(mut values), .. }) = answer else {
            return Ok(false);
        };
        self.formulation.settle(self.problem, &mut values);
        let holds = model.holds(&values);
        if holds {
            self.values = Some(values);
        }
        Ok(holds)
    }

    /// The search, or the part of it for one objective, is over. Where it ended before there was a
    /// solution, one is made without the solver. An error only where there is none.
    pub(crate) fn ended(&mut self) -> Result<Status> {
        if self.values.is_none() {
            self.values = first_plan::find(self.problem, &self.formulation);
        }
        match (&self.values, self.ends.stopped()) {
            (Some(_), true) => Ok(Status::Interrupted),
            (Some(_), false) => Ok(Status::TimeLimit),
            (None, _) => Err(self.no_plan()),
        }
    }

    /// Why there is no plan where time, or someone, ended the search before there was one.
    pub(crate) fn no_plan(&self) -> Error {
        self.ends.no_plan()
    }

    /// Whether a bound, times the sign, is better than the best solution known.
    fn may_gain(&self, objective: &LinearObjective, bound: i128) -> bool {
        let value = |values: &Vec<i64>| objective.sense.sign() * dot(&objective.terms, values);
        self.values.as_ref().is_none_or(|values| bound > value(values))
    }

    fn is_better(&self, objective: &LinearObjective, values: &[i64]) -> bool {
        let Some(known) = &self.values else { return true };
        let (old, new) = (dot(&objective.terms, known), dot(&objective.terms, values));
        !objective.sense.prefers(old, new)
    }

    /// What the bounds of the columns alone allow: a limit that needs no solver.
    pub(crate) fn natural_limit(&self, objective: &LinearObjective) -> Option<i128> {
        let columns = &self.formulation.model.columns;
        let best = |(c, a): &(Column, i64)| {
            i128::from(*a).checked_mul(best_end(objective.sense, *a, &columns[*c]).into())
        };
        objective.terms.iter().map(best).sum()
    }

    /// What the linear relaxation says that no solution can pass in a sum; `None` where time is up, or
    /// where the best solution shows that it can say no more than the bounds of the columns.
    fn relaxed_limit(&mut self, sense: Sense, terms: Terms) -> Result<Option<i64>> {
        let objective = LinearObjective { sense, terms };
        if self.is_over() || self.reaches(&objective, self.natural_limit(&objective)) {
            return Ok(None);
        }
        let relaxed = self.relaxed(&objective)?;
        Ok(relaxed.and_then(|bound| i64::try_from(bound).ok()))
    }

    /// Keeps a sum at its value or a better one from here on. Wide columns lose the part of their
    /// range that costs more than the relaxation is better than that value; narrow ones are fixed
    /// where that is all but one value.
    ///
    /// # Errors
    /// A value beyond 64 bits (exit 3).
    pub(crate) fn hold(&mut self, objective: LinearObjective) -> Result<()> {
        let reached = self.value_of(&objective.terms);
        let narrowed = self.relaxation.narrowed_by(&self.formulation.model, &objective, reached);
        if let Some(values) = &self.values {
            for (column, lower, upper) in narrowed {
                let Some(value) = values.get(column) else { continue };
                let bounds = &mut self.formulation.model.columns[column];
                if lower == upper || is_wide(bounds) {
                    // Never against the solution that is there.
                    (bounds.lower, bounds.upper) = (lower.min(*value), upper.max(*value));
                }
            }
        }
        let value = self.value_of(&objective.terms);
        let model = &mut self.formulation.model;
        match objective.sense {
            Sense::Maximise => model.try_at_least(objective.terms, value),
            Sense::Minimise => model.try_at_most(objective.terms, value),
        }
    }

    /// Narrows how many replicas each kind may have to what the linear relaxation still allows. Most
    /// kinds turn out to be in use in every solution, or in none.
    ///
    /// # Errors
    /// A solver that breaks down (exit 1).
    pub(crate) fn narrow_kinds(&mut self) -> Result<()> {
        /// With fewer columns of replicas, the solver is done sooner than the relaxations.
        const FEW: usize = 100;
        if self.formulation.kind_ranges.iter().map(|range| range.replicas.len()).sum::<usize>()
            < FEW
        {
            return Ok(());
        }
        for kind in 0..self.formulation.kind_ranges.len() {
            for sense in [Sense::Minimise, Sense::Maximise] {
                let terms = self.formulation.kind_ranges[kind].terms();
                if let Some(limit) = self.relaxed_limit(sense, terms)? {
                    self.formulation.limit_kind(kind, sense, limit);
                }
            }
        }
        Ok(())
    }

    /// Narrows the bounds of the replicas served to what the linear relaxation still allows. With
    /// the memory placed held, that is often one value, and the later stages are far easier.
    pub(crate) fn narrow_served(&mut self) -> Result<()> {
        /// With more classes than this, narrowing costs more than it saves.
        const MOST_NARROWED: usize = 100;
        let served = self.formulation.assignment.served.clone();
        if served.len() > MOST_NARROWED {
            return Ok(());
        }
        for column in served {
            for sense in [Sense::Minimise, Sense::Maximise] {
                let Some(limit) = self.relaxed_limit(sense, vec![(column, 1)])? else { continue };
                let bounds = &mut self.formulation.model.columns[column];
                match sense {
                    Sense::Minimise => bounds.lower = bounds.lower.max(limit),
                    Sense::Maximise => bounds.upper = bounds.upper.min(limit),
                }
            }
        }
        self.formulation.narrow_assigned(self.problem);
        Ok(())
    }
}

/// The solutions of a search, for branch and bound: wanted are those that are better than the best
/// known.
struct Branching<'s, 'p> {
    search: &'s mut Search<'p>,
    objective: &'s LinearObjective,
    deadline: Option<Instant>,
}

impl Solutions for Branching<'_, '_> {
    /// Solves the relaxation, and takes its answer where that is a solution.
    fn part(&mut self, limits: &[Limit]) -> Result<Part> {
        let (search, objective) = (&mut *self.search, self.objective);
        loop {
            let model = &search.formulation.model;
            let (relaxed, halves) = match search.relaxation.limited(model, objective, limits)? {
                Node::Empty => return Ok(Part::Done),
                Node::Unknown => return Ok(Part::Unknown),
                Node::Solved(relaxed, halves) => (relaxed, halves),
            };
            let bound = objective.sense.sign() * relaxed.bound;
            if !search.may_gain(objective, bound) {
                return Ok(Part::Done);
            }
            if search.formulation.tighten_relaxed(search.problem, &relaxed.thousandths) {
                continue;
            }
            if let Some(halves) = halves {
                return Ok(Part::Open { bound, halves });
            }
            let Some(values) = relaxed.integers else { return Ok(Part::Unknown) };
            if !search.offer(objective, values) {
                search.narrow(objective);
                let is_taken = !search.may_gain(objective, bound);
                return Ok(if is_taken { Part::Done } else { Part::Unknown });
            }
        }
    }

    fn is_wanted(&self, bound: i128) -> bool {
        self.search.may_gain(self.objective, bound)
    }

    fn must_end(&self) -> bool {
        self.search.ends(self.deadline)
    }
}

/// The tighter of two bounds.
fn tighter(known: Option<i128>, bound: i128, sense: Sense) -> i128 {
    known.map_or(bound, |known| sense.worse(known, bound))
}

/// The end of a column's range at which a term with this coefficient is best.
fn best_end(sense: Sense, coefficient: i64, column: &ColumnBounds) -> i64 {
    let upwards = (coefficient > 0) == (sense == Sense::Maximise);
    if upwards { column.upper } else { column.lower }
}
