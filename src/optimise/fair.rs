//! `--share fair`: the shares of the teams of one priority, raised leximin (Ogryczak 2003): the
//! smallest share to the most that it can be, then the next smallest of the others, and so on.
//!
//! A level is the smallest share of the teams that are above all levels before it. Whether that
//! can be passed is one question: of these teams, how many can be above that share at once, with
//! none of them below it? All of them: the solution found has a higher smallest share, and the
//! question is asked of that one. Not all: the share is a level, as many teams as must stay at it,
//! and the rest goes on. Where it is open which teams stay, a switch for each of them decides later.
//! Every share is an exact ratio of integers. Knows no file and no plan.

use std::time::Instant;

use super::constraints::team_shares::TeamColumn;
use super::model::{Column, LinearObjective, Terms};
use super::search::{Bound, Search};
use crate::error::Result;
use crate::plan::goal::{Objective, Sense};
use crate::plan::{Effort, Status};
use crate::units::{Ratio, Weight};

/// After so many trials to raise the smallest share at one go, it is raised step by step.
const MOST_TRIALS: usize = 24;

/// The first step by which a share is raised on trial, in millionths.
const FIRST_STEP: u128 = 2_000;

/// A level of the shares.
#[derive(Debug, Clone)]
pub(super) struct Level {
    /// No plan with the levels before it has a larger one.
    pub bound: Ratio,
    /// [`Status::Optimal`] where the level is at its bound and as few teams as must stay at it.
    pub status: Status,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// What it took.
    pub effort: Effort,
}

/// Raises the shares of the teams of a priority and holds what they reach. `tell` is told each
/// share that was reached, and whether it is proved to be a level.
///
/// # Errors
/// As [`Search::optimise`].
pub(super) fn raise(
    search: &mut Search<'_>,
    priority: i64,
    tell: impl Fn(Ratio, bool),
) -> Result<Vec<Level>> {
    let objective = Objective::TeamShare(priority);
    let mut start = Instant::now();
    if search.values().is_empty() {
        // Any solution to begin with: one of the most weight.
        let sum = search.formulation.objective(search.problem, objective);
        search.optimise(&sum)?;
    }
    let values = search.values().to_vec();
    let new = search.formulation.prepare(search.problem, objective, &values);
    search.extend_values(new);
    let mut shares = Shares::new(search, priority);
    shares.raise_far()?;
    let mut levels = Vec::new();
    while let Some(share) = shares.smallest() {
        tell(share, false);
        let limit = shares.limit();
        let asked = shares.ask(share)?;
        let (bound, status) = match asked {
            Asked::AllAbove => {
                shares.raise_on()?;
                continue;
            }
            Asked::Level => (share, Status::Optimal),
            Asked::Open(status) => (limit.unwrap_or(share).max(share), status),
        };
        tell(share, status == Status::Optimal);
        levels.push(Level {
            bound,
            status,
            seconds: start.elapsed().as_secs_f64(),
            effort: shares.search.take_effort(),
        });
        if status != Status::Optimal {
            break;
        }
        start = Instant::now();
    }
    Ok(levels)
}

/// What came of a question.
enum Asked {
    /// All can be above the share, and are from here on.
    AllAbove,
    /// Some must stay at it.
    Level,
    /// Time ran out, or the solver left a gap.
    Open(Status),
}

/// How far a team is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It is at its level.
    Settled,
    /// It is above all levels so far.
    Above,
    /// It is where the switch is on; else it stays at a level, at which the value of its column is
    /// the number.
    AboveIf(Column, i64),
}

/// The shares while they are raised.
struct Shares<'a, 'p> {
    search: &'a mut Search<'p>,
    teams: Vec<(TeamColumn, Standing)>,
    /// Of the teams with switches, how many are above all levels so far.
    switched_on: i128,
}

impl<'a, 'p> Shares<'a, 'p> {
    fn new(search: &'a mut Search<'p>, priority: i64) -> Self {
        let teams = search.formulation.shares.of_priority(priority);
        let teams = teams.into_iter().map(|team| (team, Standing::Above)).collect();
        Shares { search, teams, switched_on: 0 }
    }

    fn value(&self, column: Column) -> i64 {
        self.search.values().get(column).copied().unwrap_or(0)
    }

    /// The smallest share of the teams that are above all levels so far.
    fn smallest(&self) -> Option<Ratio> {
        let above = self.teams.iter().filter(|(_, standing)| match standing {
            Standing::Settled => false,
            Standing::Above => true,
            Standing::AboveIf(switch, _) => self.value(*switch) > 0,
        });
        above.map(|(team, _)| team.share(self.value(team.column))).min()
    }

    /// What the smallest share of these teams cannot pass, whatever the solution: the least of what
    /// each could have at most.
    fn limit(&self) -> Option<Ratio> {
        let above = self.teams.iter().filter(|(_, standing)| *standing == Standing::Above);
        let most = |team: &TeamColumn| self.search.formulation.model.columns[team.column].upper;
        above.map(|(team, _)| team.share(most(team))).min()
    }

    /// Asks how many teams can be above `share`, the smallest, and holds that so many are.
    fn ask(&mut self, share: Ratio) -> Result<Asked> {
        if self.search.is_over() {
            return Ok(Asked::Open(self.search.ended()?));
        }
        let mut sum = Terms::new();
        let mut all = self.switched_on;
        // The teams that can be at the share exactly: all others pass it when they reach it.
        let mut at: Vec<(usize, Column)> = Vec::new();
        let (mut switches, mut next) = (Vec::new(), self.teams.clone());
        for (t, (team, standing)) in self.teams.iter().enumerate() {
            let bounds = self.search.formulation.model.columns[team.column];
            let lower = match standing {
                Standing::Settled => continue,
                Standing::Above => bounds.lower,
                Standing::AboveIf(_, lower) => *lower,
            };
            let Some(needed) = team.needed(share, lower, bounds.upper) else {
                // It cannot be as far as all those that are above, so it stays. In the solution at
                // hand it does.
                if let Standing::AboveIf(switch, _) = standing {
                    self.search.formulation.model.columns[*switch].upper = 0;
                }
                continue;
            };
            let exact = team.share(needed) == share;
            let model = &mut self.search.formulation.model;
            let mut row: Terms = vec![(team.column, 1)];
            match standing {
                Standing::AboveIf(switch, lower) => row.push((*switch, lower - needed)),
                _ => model.columns[team.column].lower = needed,
            }
            if let (Standing::AboveIf(switch, lower), false) = (standing, exact) {
                sum.push((*switch, 1));
                model.at_least(row, *lower);
                continue;
            }
            if !exact {
                continue;
            }
            let more = model.integer(0, i64::from(needed < bounds.upper));
            row.push((more, -1));
            model.at_least(row, if *standing == Standing::Above { needed } else { lower });
            let mut is_above = self.value(team.column) > needed;
            if let Standing::AboveIf(switch, _) = standing {
                self.search.formulation.model.at_least(vec![(*switch, 1), (more, -1)], 0);
                is_above &= self.value(*switch) > 0;
            } else {
                all += 1;
            }
            let stays = if *standing == Standing::Above { needed } else { lower };
            next[t].1 = Standing::AboveIf(more, stays);
            switches.push(i64::from(is_above));
            sum.push((more, 1));
            at.push((t, more));
        }
        self.search.extend_values(switches);
        self.count_above(sum, all, &at, next)
    }

    /// Finds how many of the switches in `sum`, of which `all` would be everything, can be on at
    /// once. `at`: the teams with a new switch; `next`: the standings where some stay and some do
    /// not.
    fn count_above(
        &mut self,
        sum: Terms,
        all: i128,
        at: &[(usize, Column)],
        next: Vec<(TeamColumn, Standing)>,
    ) -> Result<Asked> {
        let sum = LinearObjective { sense: Sense::Maximise, terms: sum };
        let Bound { value: most, status } = self.search.optimise(&sum)?;
        let above = self.search.value_of(&sum.terms);
        self.search.hold(sum)?;
        if above == all {
            for (t, more) in at {
                let (team, standing) = &mut self.teams[*t];
                let columns = &mut self.search.formulation.model.columns;
                match standing {
                    Standing::Above => {
                        columns[*more].lower = 1;
                        columns[team.column].lower += 1;
                    }
                    standing => *standing = next[*t].1,
                }
            }
            return Ok(Asked::AllAbove);
        }
        if above != most {
            return Ok(Asked::Open(status));
        }
        self.switched_on = above;
        self.teams = next;
        if above == 0 {
            for (_, standing) in &mut self.teams {
                if let Standing::AboveIf(switch, _) = standing {
                    self.search.formulation.model.columns[*switch].upper = 0;
                    *standing = Standing::Settled;
                }
            }
        }
        Ok(Asked::Level)
    }

    /// Looks for a solution with a much higher smallest share, from wherever that is: by bisection.
    /// Proves nothing.
    fn raise_far(&mut self) -> Result<()> {
        let (Some(mut low), Some(mut high)) = (self.smallest(), self.limit()) else {
            return Ok(());
        };
        for _ in 0..MOST_TRIALS {
            if self.search.is_over() || self.next_above(low).is_none_or(|next| next > high) {
                break;
            }
            let target = low.between(high);
            match self.find(target)? {
                Some(smallest) if smallest > low => low = smallest,
                Some(_) => break,
                None => high = target,
            }
        }
        Ok(())
    }

    /// The same after a level, where the next one is mostly near: in steps that double.
    fn raise_on(&mut self) -> Result<()> {
        let mut step = FIRST_STEP;
        while let (Some(low), Some(limit)) = (self.smallest(), self.limit()) {
            let target = Ratio::new(low.millionths() + step, Weight::SCALE.into()).min(limit);
            if self.search.is_over()
                || self.next_above(low).is_none_or(|next| next > target)
                || self.find(target)?.is_none_or(|smallest| smallest <= low)
            {
                break;
            }
            step *= 2;
        }
        Ok(())
    }

    /// Looks for a solution where the teams that are above all levels have such a share, and takes
    /// it; the smallest share then.
    fn find(&mut self, target: Ratio) -> Result<Option<Ratio>> {
        let mut lower = Vec::new();
        for (team, _) in self.teams.iter().filter(|(_, s)| *s == Standing::Above) {
            let bounds = self.search.formulation.model.columns[team.column];
            let Some(needed) = team.needed(target, bounds.lower, bounds.upper) else {
                return Ok(None);
            };
            lower.push((team.column, needed));
        }
        let found = self.search.find_with(&lower)?;
        Ok(self.smallest().filter(|_| found))
    }

    /// The least share above `share` that the smallest could be.
    fn next_above(&self, share: Ratio) -> Option<Ratio> {
        let above = self.teams.iter().filter(|(_, standing)| *standing == Standing::Above);
        let next = |(team, _): &(TeamColumn, Standing)| {
            let bounds = self.search.formulation.model.columns[team.column];
            let needed = team.needed(share, bounds.lower, bounds.upper)?;
            let passes = if team.share(needed) == share { needed + 1 } else { needed };
            (passes <= bounds.upper).then(|| team.share(passes))
        };
        above.filter_map(next).min()
    }
}
