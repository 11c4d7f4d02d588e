//! The best division and the best layouts for it.
//!
//! Two configurations are exact. The solutions of a division are divided until the relaxation of each
//! part shows that it serves no more than the best so far. Those relaxations give each instance a
//! price in each hour, and their prices bound what any other division can serve, so few divisions are
//! looked at themselves, in the order of their bounds, until no bound is above what is served. (The
//! prices of whole divisions are not enough: where the relaxation of one configuration is above what
//! two can serve in whole instances, so is that of every division.) Where one configuration serves in
//! each hour what the best layouts for that hour alone would, none is tried. Further configurations
//! are added one by one to the best schedule so far, whose layouts stay as they are.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rayon::prelude::*;

use super::division::{self, Division};
use super::parts::{self, Parts};
use super::served::served_in;
use super::{ScheduleOptions, Searched};
use crate::demand::hours::WEEK;
use crate::demand::over_time::{OverTime, Period, ReplicaSpan};
use crate::error::{ExitCode, Result};
use crate::fleet::Fleet;
use crate::optimise::configurations::{self, Chosen, Joints};
use crate::optimise::ends::Ends;
use crate::optimise::prices::{self, Bounding, Gains, Worth};
use crate::optimise::problem::Problem;
use crate::optimise::stages::{Known, Solution, ToBeat};
use crate::optimise::{PlanOptions, SearchProgress};
use crate::plan::over_time::OverTimePlan;
use crate::plan::{Spare, Status};
use crate::units::gcd;

/// What every division is tried with.
pub(super) struct Search<'d> {
    pub demand: &'d OverTime,
    pub fleet: &'d Fleet,
    options: &'d PlanOptions,
    pub schedule: &'d ScheduleOptions,
    /// The same GPUs in one configuration: pools and kinds.
    pub base: Problem,
    spans: Option<Vec<Vec<ReplicaSpan>>>,
    ends: Ends,
    media: bool,
    whole: bool,
    /// What no schedule passes, in the order of the stages: all that the fleet could serve at all.
    limits: Limits,
}

/// The solver tells values apart that differ by far less than this part of its largest coefficient.
const TOLD_APART: i128 = 1_000_000_000;

/// No replica may be worth more in all of its minutes: sums over those of an instance stay in 64 bits.
const MOST_WORTH: i64 = i64::MAX >> 4;

/// The weight asked for of each priority, the highest first, and the memory of it all; times minutes.
#[derive(Debug)]
struct Limits {
    priorities: Vec<(i64, i128)>,
    mib: i128,
}

/// A division with what it serves, in the order of the stages up to the memory placed.
#[derive(Debug, Clone)]
struct Tried {
    values: Vec<i128>,
    /// Its place among those that were tried.
    place: usize,
    /// Its layouts, as far as the stages went.
    solution: Arc<Solution>,
}

/// The best schedule of a search.
pub(super) struct Found {
    pub division: Division,
    pub parts: Parts,
    pub problem: Problem,
    pub solution: Solution,
    pub chosen: Chosen,
}

impl<'d> Search<'d> {
    pub(super) fn new(
        demand: &'d OverTime,
        fleet: &'d Fleet,
        options: &'d PlanOptions,
        schedule: &'d ScheduleOptions,
    ) -> Search<'d> {
        let workloads = demand.peak().workloads();
        // Instances may stay free, whatever the plan of one configuration would do with them.
        let any_spare = PlanOptions { spare: Spare::Mix, ..options.clone() };
        let base = Problem::over_time(demand, fleet, &any_spare);
        Search {
            demand,
            fleet,
            options,
            schedule,
            limits: Limits::of(demand, &base),
            base,
            spans: (!options.allow_disruption).then(|| demand.spans().to_vec()),
            ends: Ends::of(options),
            media: workloads.iter().any(|w| w.media && w.count > 0),
            whole: workloads.iter().any(|w| w.whole_gpus > 0 && w.count > 0),
        }
    }

    /// The options with the time that is left.
    fn options(&self) -> PlanOptions {
        let left = self.ends.deadline.map(|d| d.saturating_duration_since(Instant::now()));
        PlanOptions { time_limit: left, ..self.options.clone() }
    }

    /// Whether replicas that run through a change may lose their instances.
    pub(super) fn allows_disruption(&self) -> bool {
        self.options.allow_disruption
    }

    fn served(&self, problem: &Problem, target: ToBeat<'_>) -> Result<Option<Solution>> {
        configurations::served(problem, &self.options(), Some(target))
    }

    fn is_over(&self) -> bool {
        self.ends.now()
    }

    /// The problem of serving `parts` with these layouts to choose from.
    fn problem(&self, joints: &Joints, parts: &Parts) -> Problem {
        joints.problem(&self.base, self.demand, &parts.parts, &parts.changes)
    }

    fn parts(&self, division: &Division) -> Parts {
        let minutes = self.schedule.change_minutes;
        Parts::new(self.demand, division, minutes, self.spans.as_deref())
    }

    /// The divisions that a further configuration makes of `division`.
    fn divisions(&self, division: &Division, searched: &mut Searched) -> Vec<Division> {
        let all = division.windows(&division::all_edges()).len();
        searched.divisions += all;
        let hours = self.demand.hours();
        let is_week = self.demand.repeats()
            && hours.len() == WEEK
            && hours.iter().enumerate().all(|(at, h)| h.of_week == at);
        if !is_week {
            return division.windows(&division::all_edges());
        }
        let periods: Vec<usize> = hours.iter().map(|h| h.period).collect();
        let mut edges: BTreeSet<usize> = division::edges(&periods);
        // What is served is linear between the changes that are there already.
        edges.extend(division.changes().iter().flat_map(|c| {
            let of_day = c.hour % 24;
            [of_day, (of_day + 1) % 24, (of_day + 23) % 24]
        }));
        division.windows(&edges)
    }

    /// Tries each division, and returns the best that serves more than `least`. Of equals the first
    /// is taken, which has the fewest changes.
    fn best_of(
        &self,
        divisions: &[Division],
        joints: &Joints,
        least: &[i128],
        searched: &mut Searched,
    ) -> Result<Option<Tried>> {
        let problems: Vec<_> =
            divisions.par_iter().map(|division| self.parts(division).of_problem()).collect();
        // Where few hours were seen, many divisions are the same to them.
        let mut known = HashSet::new();
        let places = (0..divisions.len()).filter(|place| known.insert(&problems[*place]));
        let mut trial = Trial {
            search: self,
            divisions,
            joints,
            least,
            open: places.map(|place| Open { place, bound: i128::MAX, priced: 0 }).collect(),
            best: None,
            solved: 0,
            proved: true,
        };
        trial.by_bounds()?;
        trial.all_open()?;
        searched.solved += trial.solved;
        searched.proved &= trial.proved;
        Ok(trial.best)
    }

    /// The stage that decides beside these values, by its place, with what it and the one after it
    /// are worth: the first of the priorities that lacks something, else the last. `None` where the
    /// stages are not those of the priorities alone.
    fn deciding(&self, values: &[i128]) -> Option<(usize, Worth)> {
        let Limits { priorities, mib } = &self.limits;
        if priorities.len() + 1 != values.len() {
            return None;
        }
        let lacking = priorities.iter().zip(values).position(|((_, asked), value)| asked > value);
        let at = lacking.or(priorities.len().checked_sub(1))?;
        let (then, most) = priorities
            .get(at + 1)
            .map_or((None, *mib), |(priority, asked)| (Some(*priority), *asked));
        // The least that two values of the first stage differ by.
        let weights = self.base.classes.iter().map(|c| i128::from(c.weight));
        let change = i128::from(self.schedule.change_minutes);
        let step = weights.fold(0, gcd).max(1) * gcd(i128::from(parts::HOUR_MINUTES), change);
        let factor = i64::try_from(most / step + 1).ok()?;
        let worth = Worth { priority: priorities[at].0, then, factor };
        // Where weights have so many digits that a sum does not hold both stages, they are looked at
        // one by one.
        let minutes = self.demand.periods().iter().map(minutes_of).max().unwrap_or(0);
        let mib = self.base.kinds.iter().map(|kind| i128::from(kind.memory_mib)).max().unwrap_or(0);
        let weight = self.base.classes.iter().map(|c| i128::from(c.weight)).max().unwrap_or(0);
        let largest = minutes * worth.of_stages(weight, weight.max(mib));
        let is_told_apart = largest / TOLD_APART < worth.of_stages(step, 0);
        (largest < i128::from(MOST_WORTH) && is_told_apart).then_some((at, worth))
    }

    /// Whether there is an hour in which other layouts would serve more than `one`, by themselves:
    /// if not, no schedule does. Unknown is yes.
    fn could_gain(&self, one: &OverTimePlan) -> bool {
        let any_spare = PlanOptions { spare: Spare::Mix, ..self.options() };
        (0..self.demand.periods().len()).into_par_iter().any(|period| {
            let part = self.demand.demand_in(period);
            let problem = Problem::new(&part, self.fleet, &any_spare);
            let values = served_in(&problem, one, self.demand, std::iter::once((period, 1)));
            let best = configurations::served(&problem, &self.options(), None);
            let is_known = |of: &Solution| of.proof.status == Status::Optimal;
            !matches!(best, Ok(Some(best)) if is_known(&best) && best.reached <= values)
        })
    }

    /// The best schedule of at most so many configurations that serves more than `one`; `None` where
    /// there is none.
    ///
    /// # Errors
    /// As [`configurations::best`].
    pub(super) fn run(&self, one: &OverTimePlan, searched: &mut Searched) -> Result<Option<Found>> {
        let keeps = self.schedule.keeps;
        let mut found: Option<Found> = None;
        let periods = self.demand.periods().iter().map(minutes_of).enumerate();
        let mut reached = served_in(&self.base, one, self.demand, periods);
        for configurations in 2..=self.schedule.configurations {
            let before = found.as_ref().map_or_else(Division::constant, |f| f.division.clone());
            let joints = match &found {
                None => Joints::pairs(&self.base, self.media, self.whole, keeps),
                Some(f) => Joints::one_more(&self.base, &f.chosen, self.media, self.whole, keeps),
            };
            let divisions = self.divisions(&before, searched);
            if found.is_none() && !self.could_gain(one) {
                searched.proved = true;
                break;
            }
            // The layouts of more than two are not found together.
            searched.proved &= configurations == 2;
            let serving = joints.serving(&self.base);
            let Some(tried) = self.best_of(&divisions, &serving, &reached, searched)? else {
                break;
            };
            let division = divisions[tried.place].clone();
            reached = tried.values;
            let parts = self.parts(&division);
            let serves_as_much =
                |s: &Solution| s.reached.get(..reached.len()).is_some_and(|r| *r >= reached[..]);
            let problem = self.problem(&joints, &parts);
            let serves_most = tried.solution.proof.status == Status::Optimal;
            let known = joints.values_of(&serving, &tried.solution);
            let known = known.map(|values| Known { values, serves_most });
            let (problem, solution, joints) =
                match configurations::best(&problem, &self.options(), known) {
                    Ok(solution) if serves_as_much(&solution) => (problem, solution, joints),
                    Err(e) if e.code != ExitCode::TimeLimit => return Err(e),
                    // Time is up: the layouts that serve as much are taken as they are. What was proved
                    // of what is served stays so.
                    _ => {
                        let problem = self.problem(&serving, &parts);
                        (problem, Arc::unwrap_or_clone(tried.solution), serving)
                    }
                };
            let chosen = joints.chosen(&solution);
            found = Some(Found { division, parts, problem, solution, chosen });
        }
        Ok(found)
    }
}

impl Limits {
    fn of(demand: &OverTime, base: &Problem) -> Limits {
        let mut priorities: BTreeMap<Reverse<i64>, i128> =
            base.classes.iter().map(|class| (Reverse(class.priority), 0)).collect();
        let mut mib = 0;
        for (w, workload) in demand.peak().workloads().iter().enumerate() {
            let kinds = base.usable_kinds(workload);
            let Some(largest) = kinds.iter().map(|k| base.kinds[*k].memory_mib).max() else {
                continue;
            };
            let replica_minutes =
                |period: &Period| minutes_of(period) * i128::from(period.counts[w]);
            let asked: i128 = demand.periods().iter().map(replica_minutes).sum();
            if let Some(weight) = priorities.get_mut(&Reverse(workload.priority)) {
                *weight += asked * i128::from(workload.weight.0);
            }
            mib += asked * workload.memory.map_or(i128::from(largest), |m| i128::from(m.0));
        }
        let priorities = priorities.into_iter().map(|(p, weight)| (p.0, weight)).collect();
        Limits { priorities, mib }
    }

    /// What a stage of the priorities and the one after it have at most.
    fn of_stages(&self, at: usize) -> (i128, i128) {
        let of = |at: usize| self.priorities.get(at).map_or(self.mib, |(_, weight)| *weight);
        (of(at), of(at + 1))
    }

    /// Whether values have all of it.
    fn reached_by(&self, values: &[i128]) -> bool {
        let weights = self.priorities.iter().map(|(_, weight)| weight);
        weights.chain([&self.mib]).zip(values).all(|(limit, value)| limit <= value)
    }
}

/// The minutes of all hours of a period.
fn minutes_of(period: &Period) -> i128 {
    i128::from(period.hours) * i128::from(parts::HOUR_MINUTES)
}

/// A division that is neither solved nor ruled out.
#[derive(Debug, Clone, Copy)]
struct Open {
    place: usize,
    /// No more than this of the deciding stage can be served, as far as is known.
    bound: i128,
    /// With how many references it was bounded.
    priced: usize,
}

/// A division whose relaxation has prices for all hours.
struct Reference {
    parts: Parts,
    /// One for each part of its solutions.
    prices: Vec<Gains>,
}

impl Reference {
    /// What another division can serve at most, if that is shown to be less than `bound`.
    fn lower(&self, bounding: &Bounding<'_>, parts: &Parts, bound: i128) -> Option<i128> {
        let pays = parts.pays(&self.parts);
        let mut most = None;
        for gains in &self.prices {
            let of_part = bounding.bound(&parts.parts, &pays, gains);
            if of_part >= bound {
                return None;
            }
            most = most.max(Some(of_part));
        }
        most
    }
}

/// The references of a search.
#[derive(Default)]
struct References {
    known: Vec<Reference>,
    /// Of how many replicas they have gains.
    gains: usize,
}

impl References {
    /// Takes another one, as far as there is room: what the prices then leave is looked at itself.
    fn add(&mut self, reference: Reference) {
        /// 16 bytes each.
        const MOST_GAINS: usize = 1 << 24;
        self.gains += reference.prices.iter().map(Gains::len).sum::<usize>();
        if self.gains <= MOST_GAINS {
            self.known.push(reference);
        }
    }
}

/// The search among divisions with the same layouts to choose from.
struct Trial<'t> {
    search: &'t Search<'t>,
    divisions: &'t [Division],
    joints: &'t Joints,
    least: &'t [i128],
    open: Vec<Open>,
    best: Option<Tried>,
    solved: usize,
    proved: bool,
}

impl Trial<'_> {
    /// What is to be served more of.
    fn reached(&self) -> &[i128] {
        self.best.as_ref().map_or(self.least, |best| &best.values)
    }

    /// Rules divisions out by bounds and solves the others, stage by stage of those that decide.
    fn by_bounds(&mut self) -> Result<()> {
        while let Some((stage, worth)) = self.search.deciding(self.reached()) {
            if self.open.is_empty() || self.search.is_over() {
                break;
            }
            // The bounds of one stage say nothing of the next.
            let (first, then) = self.search.limits.of_stages(stage);
            let bound = worth.of_stages(first, then);
            self.open.iter_mut().for_each(|o| *o = Open { bound, priced: 0, ..*o });
            self.by_bounds_of(stage, worth)?;
        }
        Ok(())
    }

    /// Solves the divisions in the order of their bounds, until no bound is above what is served, or
    /// another stage decides. The relaxation of each gives prices, which bound the others.
    fn by_bounds_of(&mut self, stage: usize, worth: Worth) -> Result<()> {
        /// So many are divided at once, whatever the number of processors: the answer depends on it.
        const DIVIDED_TOGETHER: usize = 4;
        let worth_of = |values: &[i128]| {
            let then = values.get(stage + 1).copied().unwrap_or(0);
            worth.of_stages(values[stage], then)
        };
        let demand = self.search.demand.peak();
        let bounding = Bounding::new(&self.search.base, self.joints, demand, worth);
        let mut references = References::default();
        loop {
            let reached = worth_of(self.reached());
            let open = std::mem::take(&mut self.open);
            self.open = open.into_iter().filter(|o| self.can_win(o, reached, &worth)).collect();
            if self.search.deciding(self.reached()).is_none_or(|(at, _)| at != stage) {
                return Ok(());
            }
            self.tell();
            let order = self.in_order();
            let Some(first) = order.first() else { return Ok(()) };
            if self.search.is_over() {
                return Ok(());
            }
            let known = references.known.len();
            if self.open[*first].priced < known {
                self.bound_again(&bounding, &references.known, reached, &worth);
                continue;
            }
            let is_bounded = |i: &usize| self.open[*i].priced == known;
            let mut next: Vec<usize> = order.into_iter().filter(is_bounded).collect();
            next.truncate(DIVIDED_TOGETHER);
            let next: Vec<Open> = next.into_iter().map(|i| self.open[i]).collect();
            self.open.retain(|open| next.iter().all(|o| o.place != open.place));
            let divide = |open: &Open| {
                let may_win = |bound| self.can_win(&Open { bound, ..*open }, reached, &worth);
                self.divide(open.place, &bounding, &worth, &may_win)
            };
            let divided: Vec<_> = next.par_iter().map(divide).collect();
            for (open, divided) in next.into_iter().zip(divided) {
                let (reference, may_win) = divided?;
                if !may_win {
                    references.add(reference);
                    continue;
                }
                if references.known.is_empty() {
                    // The prices of all its solutions, for an order among the others.
                    references.add(reference);
                }
                let reached = worth_of(self.reached());
                if !self.can_win(&open, reached, &worth) {
                    continue;
                }
                let problem = self.problem(open.place);
                let target = target(self.best.as_ref(), self.least, open.place);
                let solution = self.search.served(&problem, target);
                self.take(open.place, solution)?;
                let won = self.best.as_ref().filter(|best| best.place == open.place);
                let Some(reached) = won.map(|best| worth_of(&best.values)) else { continue };
                // The prices that show that nothing in it is better bound the others best.
                let (reference, may_win) =
                    self.divide(open.place, &bounding, &worth, &|bound| bound > reached)?;
                if !may_win {
                    references.add(reference);
                }
            }
        }
    }

    /// Tells how many divisions are left.
    fn tell(&self) {
        if let Some(progress) = &self.search.options.progress {
            let (open, of) = (self.open.len(), self.divisions.len());
            progress.tell(SearchProgress::Divisions { open, of });
        }
    }

    /// The problem of a division.
    fn problem(&self, place: usize) -> Problem {
        let parts = self.search.parts(&self.divisions[place]);
        self.search.problem(self.joints, &parts)
    }

    /// Prices of a division, and whether a solution of it may be one that `may_win` wants.
    fn divide(
        &self,
        place: usize,
        bounding: &Bounding<'_>,
        worth: &Worth,
        may_win: &dyn Fn(i128) -> bool,
    ) -> Result<(Reference, bool)> {
        let parts = self.search.parts(&self.divisions[place]);
        let problem = self.search.problem(self.joints, &parts);
        let divided = prices::divide(&problem, worth, &self.search.options(), may_win)?;
        let prices = divided.prices.into_iter().map(|prices| bounding.gains(prices)).collect();
        Ok((Reference { parts, prices }, divided.may_win))
    }

    /// Whether a division may be better than what is worth `reached`, the best so far.
    fn can_win(&self, open: &Open, reached: i128, worth: &Worth) -> bool {
        // With the memory all stages are in the bound, so equals only count by their place.
        let all_stages = worth.then.is_none();
        let is_first = self.best.as_ref().is_some_and(|best| open.place < best.place);
        open.bound > reached || open.bound == reached && (!all_stages || is_first)
    }

    /// The open divisions in the order in which they are looked at: by their bounds. Where nothing
    /// is missing any more only the first that has as much is wanted: by their places.
    fn in_order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.open.len()).collect();
        let is_complete = self.search.limits.reached_by(self.reached());
        order.sort_by_key(|i| {
            let Open { place, bound, .. } = self.open[*i];
            (if is_complete { Reverse(0) } else { Reverse(bound) }, place)
        });
        order
    }

    /// Bounds the divisions that come next with the references that they lack.
    fn bound_again(
        &mut self,
        bounding: &Bounding<'_>,
        references: &[Reference],
        reached: i128,
        worth: &Worth,
    ) {
        /// So many at once.
        const TOGETHER: usize = 16;
        let mut order = self.in_order();
        order.retain(|i| self.open[*i].priced < references.len());
        // Nothing is known of any at first; then all are bounded.
        let first = order.first().is_some_and(|i| self.open[*i].priced == 0);
        order.truncate(if first { order.len() } else { TOGETHER });
        let (search, divisions) = (self.search, self.divisions);
        let again = |i: &usize| {
            let open = self.open[*i];
            if search.is_over() {
                return (*i, open);
            }
            let parts = search.parts(&divisions[open.place]);
            let mut now = Open { priced: references.len(), ..open };
            // Those of the last ones are the nearest.
            for reference in references[open.priced..].iter().rev() {
                now.bound = reference.lower(bounding, &parts, now.bound).unwrap_or(now.bound);
                if !self.can_win(&now, reached, worth) {
                    break;
                }
            }
            (*i, now)
        };
        let bounded: Vec<(usize, Open)> = order.par_iter().map(again).collect();
        bounded.into_iter().for_each(|(i, open)| self.open[i] = open);
    }

    /// Takes what a division serves, if that is the best so far.
    fn take(&mut self, place: usize, solution: Result<Option<Solution>>) -> Result<()> {
        let solution = match solution {
            // Time is up: what is known by then is taken.
            Err(e) if e.code == ExitCode::TimeLimit => {
                self.proved = false;
                return Ok(());
            }
            other => other?,
        };
        let Some(solution) = solution else { return Ok(()) };
        self.solved += 1;
        self.proved &= solution.proof.status == Status::Optimal;
        let tried = Tried { values: solution.reached.clone(), place, solution: solution.into() };
        let is_better = |known: &Tried| {
            tried.values.cmp(&known.values).then(known.place.cmp(&tried.place)).is_gt()
        };
        if self.best.as_ref().is_none_or(is_better) {
            self.best = Some(tried);
        }
        Ok(())
    }

    /// Tries every division that is still open, several at once.
    fn all_open(&mut self) -> Result<()> {
        let mut places: Vec<usize> = self.open.iter().map(|o| o.place).collect();
        places.sort_unstable();
        self.open.clear();
        let (search, divisions, least) = (self.search, self.divisions, self.least);
        let shared = Mutex::new(self);
        places.par_iter().try_for_each(|place| -> Result<()> {
            let Ok(mut trial) = shared.lock() else { return Ok(()) };
            if search.is_over() {
                trial.proved = false;
                return Ok(());
            }
            let (best, joints) = (trial.best.clone(), trial.joints);
            drop(trial);
            let parts = search.parts(&divisions[*place]);
            let problem = search.problem(joints, &parts);
            let target = target(best.as_ref(), least, *place);
            let solution = search.served(&problem, target);
            shared.lock().map_or(Ok(()), |mut trial| trial.take(*place, solution))
        })
    }
}

/// What a division must serve to be the best. Of equals the first is taken.
fn target<'v>(best: Option<&'v Tried>, least: &'v [i128], place: usize) -> ToBeat<'v> {
    match best {
        Some(tried) => ToBeat { values: &tried.values, or_equal: place < tried.place },
        None => ToBeat { values: least, or_equal: false },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demand::over_time::{Growth, Horizon, Zone};
    use crate::demand::{Demand, Workload};
    use crate::hardware::Catalogue;
    use crate::optimise::configurations::Keeps;
    use crate::units::Mebibytes;

    #[test]
    fn the_prices_of_a_division_bound_every_other() {
        let catalogue = Catalogue::built_in();
        let fleet = crate::fleet::spec::parse("2xa100-80gb", "--gpus", &catalogue).unwrap();
        let rows = [
            ("day", 9_000, 9, "08:00-19:00"),
            ("noon", 18_000, 3, "11:00-14:00"),
            ("evening", 36_000, 2, "17:00-23:00"),
            ("night", 70_000, 1, "20:00-06:00"),
            ("always", 18_000, 2, ""),
        ];
        let rows = rows.map(|(name, mib, count, hours)| {
            let mut workload = Workload::new("a", name, Mebibytes(mib), count);
            workload.hours = hours.parse().unwrap();
            workload
        });
        let demand = Demand::new(rows.into());
        let demand =
            OverTime::new(&demand, Horizon::Week, &Zone::default(), &Growth::default()).unwrap();
        let (options, schedule) = (PlanOptions::default(), ScheduleOptions::default());
        let search = Search::new(&demand, &fleet, &options, &schedule);
        let joints = Joints::pairs(&search.base, false, false, Keeps::Instances);
        let joints = joints.serving(&search.base);
        let divisions = Division::constant().windows(&division::all_edges());
        let divisions: Vec<Parts> =
            divisions.iter().step_by(117).map(|division| search.parts(division)).collect();
        let (stage, worth) = search.deciding(&[0, 0]).unwrap();
        assert_eq!(stage, 0);
        let bounding = Bounding::new(&search.base, &joints, demand.peak(), worth);
        let optimum = |parts: &Parts| {
            let problem = search.problem(&joints, parts);
            let best = configurations::served(&problem, &options, None).unwrap().unwrap();
            assert_eq!(best.proof.status, Status::Optimal);
            worth.of_stages(best.reached[0], best.reached[1])
        };
        let optima: Vec<i128> = divisions.iter().map(optimum).collect();
        let mut divided = 0;
        for (of, own) in divisions.iter().zip(&optima) {
            let problem = search.problem(&joints, of);
            let is_better = |bound| bound > *own;
            let prices = prices::divide(&problem, &worth, &options, &is_better).unwrap();
            assert!(!prices.may_win && !prices.prices.is_empty());
            divided += usize::from(prices.prices.len() > 1);
            let gains: Vec<Gains> = prices.prices.into_iter().map(|p| bounding.gains(p)).collect();
            for (other, optimum) in divisions.iter().zip(&optima) {
                let pays = other.pays(of);
                let bounds = gains.iter().map(|g| bounding.bound(&other.parts, &pays, g));
                assert!(bounds.max().unwrap() >= *optimum);
            }
            // A better solution than the best is not to be had, a worse one is.
            let is_worse = |bound| bound > own - 1;
            assert!(prices::divide(&problem, &worth, &options, &is_worse).unwrap().may_win);
        }
        // Of some the relaxation alone says too little.
        assert!(divided > 3, "{divided} of {}", divisions.len());
    }
}
