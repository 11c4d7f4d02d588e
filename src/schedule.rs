//! Which MIG configuration is active when: at most K configurations over the week, each a layout of
//! every GPU, and the hours at which one takes over from the other.
//!
//! What is optimised is what the plan over time optimises, weight by priority and then memory, over
//! all hours. During the first minutes of an hour in which the configuration changes only instances
//! serve that both layouts of a GPU have. A replica that runs through a change keeps its instance:
//! in every hour up to the change it is in one that outlives it. So no change waits for a pod or ends
//! one, unless that is allowed.
//!
//! *What is searched* ([`Searched`]): every daily window of whole hours, on all days, from Monday to
//! Friday, or on Saturday and Sunday, over midnight too, that the second configuration may have; a
//! third and more are windows within the best schedule so far. Knows no files and no output formats,
//! and not how a schedule is carried out.

mod check;
mod division;
mod parts;
mod search;
mod served;

use std::time::Instant;

use crate::demand::over_time::OverTime;
use crate::error::{Error, Result};
use crate::fleet::Fleet;
use crate::optimise::configurations::{self, GpuLayout};
use crate::optimise::{PlanOptions, over_time};
use crate::plan::mode_resets::{self, NodeResets};
use crate::plan::over_time::OverTimePlan;
use crate::plan::{Allocated, Checked, Policy, Proof, Stage, Unplaced};

pub use crate::optimise::Keeps;
pub use division::{ChangeAt, Division};
use parts::HOUR_MINUTES;
use search::{Found, Search};
pub use served::{Served, ServedOfPriority};
use served::{hourly_of_parts, hourly_of_plan, least_of_periods, served_by, served_by_parts};

/// Which divisions are searched where changes are looked for, in words.
const SEARCHED_WINDOWS: &str = "every daily window of whole hours, over midnight too, on all days, from Monday to Friday, or on Saturday and Sunday";

/// Most configurations of a schedule.
pub const MOST_CONFIGURATIONS: usize = 12;

/// How to search for a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduleOptions {
    /// The most configurations.
    pub configurations: usize,
    /// Minutes that a change takes, 0 to 60.
    pub change_minutes: i64,
    /// What a change leaves alone.
    pub keeps: Keeps,
}

impl Default for ScheduleOptions {
    fn default() -> ScheduleOptions {
        ScheduleOptions { configurations: 2, change_minutes: 10, keeps: Keeps::default() }
    }
}

/// What a search looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Searched {
    /// Distinct divisions of the week, those included that another one is known to be as good as.
    pub divisions: usize,
    /// Of those, the ones that no bound ruled out.
    pub solved: usize,
    /// Whether nothing among the divisions serves more.
    pub proved: bool,
    /// Why no change was looked for, where none was: then there is one division.
    pub no_changes: Option<NoChanges>,
}

/// Why no change of configuration was looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoChanges {
    /// One configuration was asked for.
    OneAsked,
    /// One configuration serves all that is asked for.
    AllServed,
    /// Demand is the same in all hours.
    SameDemand,
}

impl Searched {
    /// Which divisions were searched, in words.
    pub fn windows(&self) -> &'static str {
        match self.no_changes {
            None => SEARCHED_WINDOWS,
            Some(NoChanges::OneAsked) => "none: one configuration was asked for",
            Some(NoChanges::AllServed) => "none: one configuration serves all that is asked for",
            Some(NoChanges::SameDemand) => "none: demand is the same in all hours",
        }
    }
}

/// One configuration of a schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct Configuration {
    /// Its layouts, and what it serves in its hours.
    pub plan: OverTimePlan,
    /// The demand of its hours.
    pub demand: OverTime,
}

/// A change of configuration, once a week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// When, and between which configurations.
    pub at: ChangeAt,
    /// Instances that it destroys.
    pub destroyed: u64,
    /// Instances that it creates.
    pub created: u64,
}

/// One configuration for all hours.
#[derive(Debug, Clone, PartialEq)]
pub struct One {
    /// Its plan.
    pub plan: OverTimePlan,
    /// What it serves.
    pub served: Served,
    /// The same in each hour of the demand, in replica-minutes.
    pub served_by_hour: Vec<u64>,
}

/// At most K configurations, and when each is active.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// The configurations, in the order in which the week has them; one where that is best.
    pub configurations: Vec<Configuration>,
    /// Which of them is active in which hour.
    pub division: Division,
    /// The changes of a week.
    pub changes: Vec<Change>,
    /// What the schedule serves.
    pub served: Served,
    /// The same in each hour of the demand, in replica-minutes.
    pub served_by_hour: Vec<u64>,
    /// What no GPU of the fleet could serve in any hour.
    pub unserved: Vec<Unplaced>,
    /// GPUs that must be reset at changes, since their MIG mode is another one then.
    pub resets: Vec<NodeResets>,
    /// The best single configuration.
    pub one: One,
    /// What was searched.
    pub searched: Searched,
    /// What was proved of the layouts in the division that was taken; sums over minutes.
    pub proof: Proof,
}

impl Schedule {
    /// The highest priority of which the schedule serves more weight than the best single
    /// configuration, which may serve more replicas of the others; where there is none, the highest.
    pub fn deciding_priority(&self) -> Option<i64> {
        let (own, one) = (&self.served.of_priority, &self.one.served.of_priority);
        let weight = |priority: &i64| one.get(priority).map_or(0, |of| of.weight);
        let mut highest_first = own.iter().rev();
        let first = highest_first.clone().next();
        let more = highest_first.find(|(priority, of)| of.weight > weight(priority));
        more.or(first).map(|(priority, _)| *priority)
    }
}

/// Finds the best schedule.
///
/// # Errors
/// As [`over_time::suggest`]; demand that is the same in all hours, rules of a site that a schedule
/// does not know, numbers out of range (exit 2); a contradiction inside (exit 1).
pub fn schedule(
    demand: &OverTime,
    fleet: &Fleet,
    options: &PlanOptions,
    wanted: &ScheduleOptions,
) -> Result<Schedule> {
    wanted.check(options)?;
    over_time::refuse(demand, options)?;
    let start = Instant::now();
    // Half of the time is for one configuration, the rest for more.
    let half = options.time_limit.map(|limit| limit / 2);
    let halved = PlanOptions { time_limit: half, ..options.clone() };
    let one_plan = over_time::suggest(demand, fleet, &halved)?;
    let one = One {
        served: served_by(&one_plan, demand),
        served_by_hour: hourly_of_plan(&one_plan, demand),
        plan: one_plan,
    };
    let all_served = one.served.served == one.served.asked;
    let no_changes = if wanted.configurations == 1 {
        Some(NoChanges::OneAsked)
    } else if demand.periods().len() == 1 {
        Some(NoChanges::SameDemand)
    } else {
        all_served.then_some(NoChanges::AllServed)
    };
    // Where all is served, whatever was not proved in time is behind that.
    let proved = all_served || one.plan.plan.proof.serves_most();
    let mut searched = Searched { divisions: 1, solved: 1, proved, no_changes };
    if no_changes.is_none() {
        let left = options.time_limit.map(|limit| limit.saturating_sub(start.elapsed()));
        let options = PlanOptions { time_limit: left, ..options.clone() };
        let search = Search::new(demand, fleet, &options, wanted);
        if let Some(found) = search.run(&one.plan, &mut searched)? {
            return several(&search, &found, one, searched);
        }
    }
    Ok(Schedule {
        configurations: vec![Configuration { plan: one.plan.clone(), demand: demand.clone() }],
        division: Division::constant(),
        changes: Vec::new(),
        served: one.served.clone(),
        served_by_hour: one.served_by_hour.clone(),
        unserved: over_time::out_of_reach(demand, fleet),
        resets: Vec::new(),
        proof: one.plan.plan.proof.clone(),
        one,
        searched,
    })
}

/// Whether demand says anything about hours, so that there is something to schedule.
///
/// # Errors
/// Rows without hours in a week, or with a min (exit 2).
pub fn check_demand(demand: &OverTime) -> Result<()> {
    if let Some(with_min) = demand.peak().workloads().iter().find(|w| w.min > 0) {
        return Err(Error::usage(format!(
            "{} has a min, which a schedule does not guarantee",
            with_min.label()
        ))
        .hint("drop the column min, or give the workload a higher priority"));
    }
    let always = demand.peak().workloads().iter().all(|w| w.hours.is_always());
    if demand.repeats() && always {
        return Err(Error::usage(
            "every workload runs in all hours, so there is nothing to schedule",
        )
        .hint("fill the column hours of the workloads file, such as 'Mon-Fri 08:00-19:00', or take a history with --prometheus or --prometheus-url"));
    }
    Ok(())
}

impl ScheduleOptions {
    /// Whether a schedule can be searched for so.
    ///
    /// # Errors
    /// Numbers out of range, and rules of a site that a schedule does not know (exit 2).
    pub fn check(&self, options: &PlanOptions) -> Result<()> {
        if !(1..=MOST_CONFIGURATIONS).contains(&self.configurations) {
            return Err(Error::usage(format!(
                "--configs {} is not between 1 and {MOST_CONFIGURATIONS}",
                self.configurations
            ))
            .hint("two are day and night; each further one is one more change to carry out"));
        }
        if !(0..=HOUR_MINUTES).contains(&self.change_minutes) {
            return Err(Error::usage(format!(
                "--change-minutes {} is not between 0 and {HOUR_MINUTES}",
                self.change_minutes
            ))
            .hint("a schedule changes at whole hours, and a change ends before the next hour"));
        }
        if options.policy != Policy::default() || options.present.is_some() {
            return Err(Error::usage(
                "a schedule takes GPUs one by one: no --strategy single, --mig-mode per-node, --keep-whole or --one-profile-per-workload",
            )
            .hint("drop the flag, or plan one configuration for all hours with `migplan suggest --over-time`"));
        }
        Ok(())
    }
}

/// The schedule of several configurations that a search found.
///
/// # Errors
/// A contradiction inside (exit 1).
fn several(search: &Search<'_>, found: &Found, one: One, searched: Searched) -> Result<Schedule> {
    let gpus = configurations::on_gpus(search.fleet, &search.base, &found.chosen);
    let rows = configurations::parts_allocated(&found.problem, &found.solution);
    let configurations = (0..found.division.configurations())
        .map(|configuration| one_of_several(search, found, configuration, &gpus, &rows))
        .collect::<Result<Vec<_>>>()?;
    let plans: Vec<&Checked> = configurations.iter().map(|c| &c.plan.plan).collect();
    check::check(search, found, &rows, &plans)?;
    let served = served_by_parts(&found.parts, search.demand.peak().workloads(), &rows);
    // No other division serves more than all, whether or not it was looked at.
    let proved = searched.proved || served.served == served.asked;
    let changes = found.division.changes();
    let pairs = changes.iter().map(|at| (&**plans[at.from], &**plans[at.to]));
    let resets = mode_resets::of_changes(pairs, &search.fleet.boards());
    let stages = found.solution.proof.stages.iter().map(|stage| Stage {
        objective: stage.objective.replace("_hours", "_minutes"),
        ..stage.clone()
    });
    Ok(Schedule {
        configurations,
        changes: changes.into_iter().map(|at| change(at, &gpus, search.schedule.keeps)).collect(),
        division: found.division.clone(),
        served,
        served_by_hour: hourly_of_parts(&found.parts, &rows),
        unserved: over_time::out_of_reach(search.demand, search.fleet),
        resets,
        one,
        searched: Searched { proved, ..searched },
        proof: Proof { stages: stages.collect(), ..found.solution.proof.clone() },
    })
}

/// One configuration of several: its plan for the hours in which it is active. `gpus` are the
/// layouts of all of them, `rows` what each part has allocated.
///
/// # Errors
/// A contradiction inside (exit 1).
fn one_of_several(
    search: &Search<'_>,
    found: &Found,
    configuration: usize,
    gpus: &[Vec<Option<Vec<GpuLayout>>>],
    rows: &[Vec<Allocated>],
) -> Result<Configuration> {
    let all = search.demand.hours();
    let active = |hour: usize| found.division.at(all[hour].of_week) == configuration;
    let demand = search.demand.only(active);
    // Periods are numbered by their first hour, in the part as in the whole.
    let hours = all.iter().enumerate().filter(|(at, _)| active(*at));
    let hours = hours.map(|(at, hour)| (at, hour.period));
    let periods = least_of_periods(&found.parts, rows, hours);
    let layouts: Vec<Vec<Option<&GpuLayout>>> = gpus
        .iter()
        .map(|of_node| of_node.iter().map(|all| all.as_ref()?.get(configuration)).collect())
        .collect();
    let proof = Proof { stages: Vec::new(), ..found.solution.proof.clone() };
    let plan = configurations::plan(&demand, search.fleet, &layouts, periods, proof)?;
    Ok(Configuration { plan, demand })
}

/// What a change does to GPUs with these layouts.
fn change(at: ChangeAt, gpus: &[Vec<Option<Vec<GpuLayout>>>], keeps: Keeps) -> Change {
    let (mut destroyed, mut created) = (0, 0);
    for layouts in gpus.iter().flatten().flatten() {
        let (from, to) = (&layouts[at.from], &layouts[at.to]);
        destroyed += configurations::destroyed(from, to, keeps);
        created += configurations::destroyed(to, from, keeps);
    }
    Change { at, destroyed, created }
}
