//! Asks HiGHS for integer solutions, by way of good_lp.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use good_lp::solvers::highs::highs;
use good_lp::{Expression, SolverModel, constraint, variable, variables};
use highs::{HighsModelStatus, HighsSolutionStatus};

use super::processors::AFewProcessors;
use super::scale::{Margin, Scale, TIGHT, range};
use crate::error::{Error, Result};
use crate::optimise::model::{Answer, LinearObjective, Model, Terms};
use crate::plan::goal::Sense;

/// How the solver is asked. The first way is the fast one; the others are for a model of which the
/// answer, rounded, does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Care {
    /// Everything as it is.
    Usual,
    /// Without a start. Presolve may map a start to a better solution of the smaller model, and then
    /// the solver says how good that one is and gives the start back (HiGHS 1.16; 1.15 called the
    /// start the best).
    WithoutStart,
    /// Tolerances a thousand times smaller.
    Tight,
    /// The same on the model as it is written, without presolve.
    WithoutPresolve,
    /// The same along another path.
    AnotherSeed(i32),
}

impl Care {
    /// In the order in which they are tried.
    pub(crate) const ALL: [Care; 7] = [
        Care::Usual,
        Care::WithoutStart,
        Care::Tight,
        Care::WithoutPresolve,
        Care::AnotherSeed(1),
        Care::AnotherSeed(2),
        Care::AnotherSeed(3),
    ];

    fn is_tight(self) -> bool {
        !matches!(self, Care::Usual | Care::WithoutStart)
    }

    /// How far the bound may be off.
    fn margin(self) -> Margin {
        if self.is_tight() { Margin::MIP_TIGHT } else { Margin::MIP }
    }

    fn set(self, highs: &mut highs::Model) {
        if !self.is_tight() {
            return;
        }
        highs.set_option("mip_feasibility_tolerance", TIGHT);
        highs.set_option("primal_feasibility_tolerance", TIGHT);
        highs.set_option("dual_feasibility_tolerance", TIGHT);
        match self {
            Care::Usual | Care::WithoutStart | Care::Tight => {}
            Care::WithoutPresolve => highs.set_option("presolve", "off"),
            Care::AnotherSeed(seed) => {
                highs.set_option("presolve", "off");
                highs.set_option("random_seed", seed);
            }
        }
    }
}

/// The rule of presolve that HiGHS calls enumeration (`kPresolveRuleEnumeration`), as the option
/// `presolve_rule_off` has it. With it, models of one node whose GPUs agree in MIG mode became
/// infeasible, and then a start is called the best (HiGHS 1.15 and 1.16).
const ENUMERATION: i32 = 1 << 16;

/// What ends a solve before it is done: a point in time, and a flag.
pub(crate) type Limits<'a> = (Option<Instant>, Option<&'a Arc<AtomicBool>>);

/// Does a piece of work on a thread of its own and gives it up once the stop is true, or when it has
/// not ended by itself soon after the deadline: `None`. HiGHS offers no way to end a solve from
/// outside that the bindings have; the thread that was given up ends with its solve, or with the
/// process.
fn interruptible<T: Send + 'static>(
    (deadline, stop): Limits<'_>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    const LOOK_AGAIN: Duration = Duration::from_millis(50);
    /// HiGHS looks at the clock itself, but in some of its heuristics not for many seconds.
    const OVERTIME: Duration = Duration::from_secs(1);
    let end = deadline.and_then(|deadline| deadline.checked_add(OVERTIME));
    let goes_on = || {
        let stopped = stop.is_some_and(|stop| stop.load(Ordering::Relaxed));
        !stopped && end.is_none_or(|end| Instant::now() < end)
    };
    let (done, waits) = mpsc::channel();
    std::thread::spawn(move || {
        // Where the work was given up, the result has no receiver any more.
        let _ = done.send(work());
    });
    loop {
        match waits.recv_timeout(LOOK_AGAIN) {
            Ok(result) => return Some(result),
            Err(RecvTimeoutError::Timeout) if goes_on() => {}
            Err(_) => return None,
        }
    }
}

/// What came of asking the solver.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Solved {
    /// A solution, a bound, or both.
    Answer(Answer),
    /// The solver calls the model infeasible.
    Infeasible,
    /// Nothing: the solver's own answer does not hold in its own eyes (HiGHS 1.16, where presolve
    /// went wrong; 1.15 gave such answers all the same).
    Failed,
}

/// Solves `model` for `objective`, starting from `start` where one is known, until the limits.
///
/// The answer's bound is rounded to the next value that a solution can have. That is exact where one
/// unit of the objective is above the solver's tolerance; else it allows for the tolerance.
///
/// # Errors
/// An internal error where the solver does not take the model.
pub(crate) fn solve(
    model: &Model,
    objective: &LinearObjective,
    start: Option<&[i64]>,
    limits: Limits<'_>,
    care: Care,
) -> Result<Solved> {
    let (deadline, stop) = limits;
    if deadline.is_none() && stop.is_none() {
        return solve_here(model, objective, start, deadline, care);
    }
    let (model, copy, start) = (model.clone(), objective.clone(), start.map(<[i64]>::to_vec));
    let solved =
        interruptible(limits, move || solve_here(&model, &copy, start.as_deref(), deadline, care));
    let unknown = objective.sense.unlimited();
    solved.unwrap_or(Ok(Solved::Answer(Answer { values: None, bound: unknown, iterations: 0 })))
}

fn solve_here(
    model: &Model,
    objective: &LinearObjective,
    start: Option<&[i64]>,
    deadline: Option<Instant>,
    care: Care,
) -> Result<Solved> {
    let (mut highs, scale) = translate(model, objective)?;
    let unit = |column: usize| model.columns[column].unit as f64;
    highs.make_quiet();
    // One thread and the default seed: equal models give equal answers.
    highs.set_option("parallel", "off");
    highs.set_option("threads", 1);
    highs.set_option("mip_rel_gap", 0.0);
    // It looks for a first solution; every stage but the first starts with one.
    highs.set_option("mip_heuristic_run_feasibility_jump", false);
    // The objective takes integer values, so less than one unit between bound and value is proof.
    highs.set_option("mip_abs_gap", 0.4 / scale.power as f64);
    highs.set_option("presolve_rule_off", ENUMERATION);
    care.set(&mut highs);
    if let Some(deadline) = deadline {
        let left = deadline.saturating_duration_since(Instant::now());
        highs.set_option("time_limit", left.as_secs_f64());
    }
    if let Some(start) = start.filter(|_| care != Care::WithoutStart) {
        let start: Vec<f64> = start.iter().enumerate().map(|(i, v)| *v as f64 / unit(i)).collect();
        highs.set_solution(Some(&start), None, None, None);
    }
    let _few = AFewProcessors::new();
    let Ok(solved) = highs.try_solve() else { return Ok(Solved::Failed) };
    let values = (solved.primal_solution_status() == HighsSolutionStatus::Feasible).then(|| {
        let solution = solved.get_solution();
        let columns = solution.columns().iter().enumerate();
        columns.map(|(i, v)| (v * unit(i)).round() as i64).collect::<Vec<i64>>()
    });
    let unknown = match objective.sense {
        Sense::Maximise => f64::INFINITY,
        Sense::Minimise => f64::NEG_INFINITY,
    };
    let bound = match solved.status() {
        HighsModelStatus::Optimal
        | HighsModelStatus::ReachedTimeLimit
        | HighsModelStatus::ReachedSolutionLimit
        | HighsModelStatus::ReachedInterrupt => {
            solved.double_info_value(c"mip_dual_bound").unwrap_or(unknown)
        }
        HighsModelStatus::Infeasible | HighsModelStatus::UnboundedOrInfeasible => {
            return Ok(Solved::Infeasible);
        }
        _ => return Ok(Solved::Failed),
    };
    Ok(Solved::Answer(Answer {
        values,
        bound: scale.bound(bound, care.margin(), objective.sense),
        iterations: u64::try_from(solved.simplex_iteration_count()).unwrap_or(0),
    }))
}

/// The model as HiGHS takes it, and the scale of its objective.
fn translate(model: &Model, objective: &LinearObjective) -> Result<(highs::Model, Scale)> {
    let unit = |column: usize| model.columns[column].unit as f64;
    let mut columns = variables!();
    let handles: Vec<_> = model
        .columns
        .iter()
        .map(|c| {
            let (lower, upper) = range(c);
            let definition = variable().min(lower).max(upper);
            columns.add(if c.integer { definition.integer() } else { definition })
        })
        .collect();
    let sum = |terms: &Terms, scale: &Scale| -> Expression {
        let mut sum = Expression::with_capacity(terms.len());
        for (column, coefficient) in terms {
            sum.add_mul(scale.down(*coefficient) * unit(*column), handles[*column]);
        }
        sum
    };
    let scale = Scale::of(&objective.terms, model);
    let goal = sum(&objective.terms, &scale);
    let problem = match objective.sense {
        Sense::Maximise => columns.maximise(goal),
        Sense::Minimise => columns.minimise(goal),
    };
    let mut problem = problem.using(highs);
    for row in &model.rows {
        let row_scale = Scale::of(&row.terms, model);
        let terms = || sum(&row.terms, &row_scale);
        match (row.lower, row.upper) {
            (Some(lower), Some(upper)) if lower == upper => {
                problem.add_constraint(constraint!(terms() == row_scale.lower(lower)));
            }
            (lower, upper) => {
                if let Some(lower) = lower {
                    problem.add_constraint(constraint!(terms() >= row_scale.lower(lower)));
                }
                if let Some(upper) = upper {
                    problem.add_constraint(constraint!(terms() <= row_scale.upper(upper)));
                }
            }
        }
    }
    let highs = problem
        .try_into_inner()
        .map_err(|e| Error::internal(format!("the solver refused the model: {e}")))?;
    Ok((highs, scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_given_up_when_it_is_stopped_or_far_beyond_its_time() {
        let stop = Arc::new(AtomicBool::new(false));
        let never_ends = |limits: Limits<'_>| {
            let (hold, held) = mpsc::channel::<()>();
            let given_up = interruptible(limits, move || held.recv().is_ok());
            drop(hold);
            given_up
        };
        let past = Instant::now().checked_sub(Duration::from_secs(9));
        assert_eq!(interruptible((None, Some(&stop)), || 7), Some(7));
        assert_eq!(interruptible((past, None), || 7), Some(7));
        assert_eq!(never_ends((past, None)), None);
        stop.store(true, Ordering::Relaxed);
        assert_eq!(never_ends((None, Some(&stop))), None);
    }

    #[test]
    fn an_answer_has_its_bound() {
        let mut model = Model::default();
        model.integer(0, 1_000_000);
        model.integer(0, 1_000_000);
        model.at_most(vec![(0, 2), (1, 3)], 7);
        let objective = LinearObjective { sense: Sense::Maximise, terms: vec![(0, 2), (1, 2)] };
        let answer = solve(&model, &objective, None, (None, None), Care::Usual).unwrap();
        let Solved::Answer(answer) = answer else { panic!("{answer:?}") };
        assert_eq!((answer.values, answer.bound), (Some(vec![3, 0]), 6));
        model.at_least(vec![(0, 1)], 4);
        let answer = solve(&model, &objective, None, (None, None), Care::Tight).unwrap();
        assert_eq!(answer, Solved::Infeasible);
    }
}
