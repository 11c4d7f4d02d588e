//! A schedule in numbers to draw: which configuration is active when, and how many of the replicas asked
//! for have an instance, hour by hour.

use std::collections::HashMap;

use super::hours::HourAxis;
use crate::demand::over_time::OverTime;
use crate::plan::Allocated;
use crate::schedule::Schedule;
use crate::text::{plural, share};

/// The figure.
#[derive(Debug, Clone, PartialEq)]
pub struct ScheduleFigure {
    /// What is shown, in one line.
    pub title: String,
    /// How it is to be read.
    pub subtitle: String,
    /// Hours from left to right.
    pub axis: HourAxis,
    /// The label of each configuration, in the order of the schedule.
    pub labels: Vec<String>,
    /// The configuration that is active in each hour, by its place.
    pub active: Vec<usize>,
    /// Replicas asked for in each hour.
    pub asked: Vec<u64>,
    /// Of those, placed by the configuration that is active.
    pub placed: Vec<u64>,
    /// Placed by the best single configuration.
    pub one: Vec<u64>,
}

impl ScheduleFigure {
    /// The figure of a schedule whose configurations have these labels.
    pub fn new(schedule: &Schedule, demand: &OverTime, labels: Vec<String>) -> ScheduleFigure {
        let replicas = |rows: &[Allocated]| rows.iter().map(|row| row.replicas).sum::<u64>();
        let of_period = |periods: &[Vec<Allocated>]| -> Vec<u64> {
            periods.iter().map(|rows| replicas(rows)).collect()
        };
        // By the beginning of an hour, what the configuration of that hour places.
        let mut placed: HashMap<i64, u64> = HashMap::new();
        for of in &schedule.configurations {
            let periods = of_period(&of.plan.periods);
            let hours = of.demand.hours().iter();
            placed.extend(hours.map(|h| (h.start_ms, periods.get(h.period).copied().unwrap_or(0))));
        }
        let one = of_period(&schedule.one.plan.periods);
        let asked: Vec<u64> = demand.periods().iter().map(|p| p.counts.iter().sum()).collect();
        let hours = demand.hours();
        let by_period = |sums: &[u64]| -> Vec<u64> {
            hours.iter().map(|h| sums.get(h.period).copied().unwrap_or(0)).collect()
        };
        // The title would read as if one configuration were better.
        let (own, one_serves) = (&schedule.served, &schedule.one.served);
        let falls_behind = (own.served < one_serves.served).then(|| schedule.deciding_priority());
        let first = falls_behind.flatten().map_or(String::new(), |priority| {
            format!("The schedule serves more weight of priority {priority}, which comes first. ")
        });
        ScheduleFigure {
            title: format!(
                "{} over the week: {} of the replica-hours placed, {} by the best single one{}",
                plural(schedule.configurations.len() as u64, "MIG configuration"),
                share(own.served, own.asked),
                share(one_serves.served, one_serves.asked),
                if schedule.searched.proved { "" } else { " (not proved)" },
            ),
            subtitle: format!(
                "{first}Above: the MIG configuration that is active. Below: the replicas asked for in each hour, and those that have an instance; the minutes of a change are left out. Times are {}.",
                demand.zone().name()
            ),
            axis: HourAxis::new(demand),
            labels,
            active: hours.iter().map(|h| schedule.division.at(h.of_week)).collect(),
            asked: by_period(&asked),
            placed: hours.iter().map(|h| placed.get(&h.start_ms).copied().unwrap_or(0)).collect(),
            one: by_period(&one),
        }
    }
}
