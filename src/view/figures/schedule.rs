//! A schedule in numbers to draw: which configuration is active when, and how many of the replicas asked
//! for have an instance, hour by hour.

use super::hours::HourAxis;
use crate::demand::over_time::OverTime;
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
    /// Of those, placed, on average over the minutes of the hour, those of a change too.
    pub placed: Vec<f64>,
    /// Placed by the best single configuration.
    pub one: Vec<f64>,
}

impl ScheduleFigure {
    /// The figure of a schedule whose configurations have these labels.
    pub fn new(schedule: &Schedule, demand: &OverTime, labels: Vec<String>) -> ScheduleFigure {
        let in_replicas = |minutes: &[u64]| minutes.iter().map(|m| *m as f64 / 60.0).collect();
        let asked: Vec<u64> = demand.periods().iter().map(|p| p.counts.iter().sum()).collect();
        let hours = demand.hours();
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
                "{first}Above: the MIG configuration that is active. Below: the replicas asked for in each hour, and those that have an instance, on average over an hour with a change. Times are {}.",
                demand.zone().name()
            ),
            axis: HourAxis::new(demand),
            labels,
            active: hours.iter().map(|h| schedule.division.at(h.of_week)).collect(),
            asked: hours.iter().map(|h| asked.get(h.period).copied().unwrap_or(0)).collect(),
            placed: in_replicas(&schedule.served_by_hour),
            one: in_replicas(&schedule.one.served_by_hour),
        }
    }
}
