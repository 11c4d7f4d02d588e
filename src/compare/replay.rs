//! What a configuration would have done with demand over time.
//!
//! Two rules. The *bound*: in every period each replica may have any instance that suffices. It
//! is the most by priority, then weight; where no replica takes several GPUs, no scheduler could serve
//! more replicas either. The *template*: each pod asks for the one resource name that
//! its workload was given, first come first served, and keeps its instance to its end. Knows no
//! files and no output formats, and not how a configuration was found.

mod bound;
mod configuration;
mod names;
mod template;

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use crate::demand::over_time::OverTime;
use crate::demand::time::HOUR_MS;
use crate::error::Result;
use crate::fleet::Fleet;
use crate::plan::Policy;

pub use configuration::Configuration;

/// How pods get their instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Any instance that suffices, assigned anew in each period.
    Bound,
    /// The resource name of the workload, first come first served, to the end of the pod.
    Template,
}

impl Rule {
    /// The name in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Rule::Bound => "bound",
            Rule::Template => "template",
        }
    }
}

/// A length of time times a number of replicas (or MiB), in milliseconds.
pub type Times = u128;

/// What one workload got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Served {
    /// Replica-time asked for.
    pub asked: Times,
    /// Of that, served.
    pub served: Times,
    /// Time that pods waited for an instance, whether they got one or not.
    pub waited: Times,
    /// The longest that one pod waited, in milliseconds.
    pub longest_wait_ms: u64,
    /// Pods that waited and got an instance.
    pub waiting_pods: u64,
    /// Pods that never got one.
    pub unserved_pods: u64,
}

impl Served {
    /// Adds what another workload got.
    pub fn add(&mut self, other: &Served) {
        self.asked += other.asked;
        self.served += other.served;
        self.waited += other.waited;
        self.longest_wait_ms = self.longest_wait_ms.max(other.longest_wait_ms);
        self.waiting_pods += other.waiting_pods;
        self.unserved_pods += other.unserved_pods;
    }
}

/// What one configuration did under one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The configuration.
    pub name: String,
    /// The rule.
    pub rule: Rule,
    /// For each workload of the demand.
    pub workloads: Vec<Served>,
    /// Memory of the fleet that served nobody, in MiB times milliseconds.
    pub idle_mib: Times,
    /// Demand in MiB that was served, times milliseconds.
    pub served_mib: Times,
    /// For each hour the replica-time that was asked for and not served.
    pub missed: Vec<Times>,
}

impl Row {
    /// What all workloads got together.
    pub fn total(&self) -> Served {
        let mut total = Served::default();
        self.workloads.iter().for_each(|w| total.add(w));
        total
    }

    /// What each team got.
    pub fn by_team<'d>(&self, demand: &'d OverTime) -> BTreeMap<&'d str, Served> {
        let mut sums: BTreeMap<&str, Served> = BTreeMap::new();
        for (workload, served) in demand.peak().workloads().iter().zip(&self.workloads) {
            sums.entry(&workload.team).or_default().add(served);
        }
        sums
    }

    /// Weight served for each of these priorities, in millionths times milliseconds.
    pub fn served_weight(&self, demand: &OverTime, priority: i64) -> Times {
        let workloads = demand.peak().workloads().iter().zip(&self.workloads);
        workloads
            .filter(|(w, _)| w.priority == priority)
            .map(|(w, served)| u128::from(w.weight.0) * served.served)
            .sum()
    }
}

/// Instances of one resource name against what is asked for by that name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameUse {
    /// The profile, or `full` for whole GPUs.
    pub name: String,
    /// Instances.
    pub supply: u64,
    /// For each hour the replicas whose workload asks for the name.
    pub demand: Vec<u64>,
}

/// What several configurations did with the same demand on the same GPUs.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    /// For each configuration a row for each rule; no two configurations have one name.
    pub rows: Vec<Row>,
    /// For the first configuration: supply and demand of each resource name.
    pub names: Vec<NameUse>,
    /// For each configuration its name and the rules of the site that it was planned under.
    pub rules: Vec<(String, Policy)>,
}

/// Replays demand over time on each configuration, under both rules. Workloads without a resource
/// name get one by [`Configuration::with_names_for`] these hours.
///
/// # Errors
/// A contradiction inside (exit 1).
pub fn replay(
    demand: &OverTime,
    fleet: &Fleet,
    configurations: &[Configuration],
) -> Result<Replay> {
    let mut configurations: Vec<Configuration> =
        configurations.par_iter().map(|c| c.with_names_for(demand)).collect();
    tell_apart(&mut configurations);
    let rows: Vec<[Row; 2]> = configurations
        .par_iter()
        .map(|configuration| {
            let bound = bound::run(demand, fleet, configuration)?;
            Ok([bound, template::run(demand, fleet, configuration)])
        })
        .collect::<Result<_>>()?;
    let names = configurations.first().map(|c| name_use(demand, c)).unwrap_or_default();
    let rules = configurations.iter().map(|c| (c.name.clone(), c.planned_under)).collect();
    Ok(Replay { rows: rows.into_iter().flatten().collect(), names, rules })
}

/// Numbers the configurations of one name after the first: `plan (2)`.
fn tell_apart(configurations: &mut [Configuration]) {
    let mut known: BTreeSet<String> = BTreeSet::new();
    for configuration in configurations {
        let name = configuration.name.clone();
        let numbered = (2..).map(|n| format!("{name} ({n})"));
        let mut names = std::iter::once(name.clone()).chain(numbered);
        configuration.name = names.find(|name| !known.contains(name)).unwrap_or(name);
        known.insert(configuration.name.clone());
    }
}

/// The most that a configuration could serve in each hour, with any instance that suffices.
///
/// # Errors
/// A contradiction inside (exit 1).
pub fn bound(demand: &OverTime, fleet: &Fleet, configuration: &Configuration) -> Result<Row> {
    bound::run(demand, fleet, configuration)
}

/// Whole memory of a fleet over all hours, in MiB times milliseconds.
fn fleet_mib(demand: &OverTime, fleet: &Fleet) -> Times {
    let mib: u64 = fleet.nodes().iter().flat_map(|n| &n.gpus).map(|b| b.memory.0).sum();
    u128::from(mib) * demand.hours().len() as u128 * HOUR_MS.unsigned_abs() as u128
}

/// Supply and demand by resource name, the largest instances first.
fn name_use(demand: &OverTime, configuration: &Configuration) -> Vec<NameUse> {
    let mut names = configuration.supply_by_name();
    for (w, workload) in demand.peak().workloads().iter().enumerate() {
        let Some(name) = configuration.request(workload) else { continue };
        let Some(of) = names.iter_mut().find(|n| n.name == name) else { continue };
        of.demand.resize(demand.hours().len(), 0);
        let each = u64::from(workload.whole_gpus.max(1));
        for (sum, hour) in of.demand.iter_mut().zip(demand.hours()) {
            *sum += demand.periods()[hour.period].counts[w] * each;
        }
    }
    for name in &mut names {
        name.demand.resize(demand.hours().len(), 0);
    }
    names
}
