//! A replay in numbers to draw: in which hours replicas had no instance, and for each resource name
//! how many instances there are against how many are asked for.

use super::hours::HourAxis;
use crate::compare::replay::{Replay, Row, Rule};
use crate::demand::over_time::OverTime;
use crate::demand::time::HOUR_MS;
use crate::hardware::FULL_GPU;
use crate::text::share;

/// The figure.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplayFigure {
    /// What is shown, in one line.
    pub title: String,
    /// How it is to be read.
    pub subtitle: String,
    /// Hours from left to right.
    pub axis: HourAxis,
    /// Replicas without an instance, by hour, for each configuration that is drawn.
    pub missed: Vec<MissedLine>,
    /// Configurations that are not drawn.
    pub more: usize,
    /// Supply and demand of each resource name of the first configuration.
    pub names: Vec<NamePanel>,
}

/// One configuration under one rule.
#[derive(Debug, Clone, PartialEq)]
pub struct MissedLine {
    /// `plan, template: 88.1 % served`.
    pub label: String,
    /// Replicas without an instance, on average over each hour.
    pub replicas: Vec<f64>,
}

/// One resource name.
#[derive(Debug, Clone, PartialEq)]
pub struct NamePanel {
    /// The profile, or that it is a whole GPU.
    pub name: String,
    /// Instances.
    pub supply: f64,
    /// Replicas that ask for the name, by hour.
    pub demand: Vec<f64>,
}

/// Configurations that are drawn: the first, and the one of the others that serves most.
const MOST_LINES: usize = 4;

impl ReplayFigure {
    /// The figure of a replay.
    pub fn new(replay: &Replay, demand: &OverTime) -> ReplayFigure {
        let mut chosen: Vec<&Row> = Vec::new();
        let first = replay.rows.first().map(|r| r.name.as_str()).unwrap_or_default();
        chosen.extend(replay.rows.iter().filter(|r| r.name == first));
        let mut others: Vec<&Row> =
            replay.rows.iter().filter(|r| r.name != first && r.rule == Rule::Template).collect();
        others.sort_by_key(|r| std::cmp::Reverse(r.total().served));
        let more = (others.len() + chosen.len()).saturating_sub(MOST_LINES);
        chosen.extend(others.into_iter().take(MOST_LINES.saturating_sub(chosen.len())));
        let missed = chosen
            .into_iter()
            .map(|row| {
                let total = row.total();
                let served = share(total.served, total.asked);
                MissedLine {
                    label: format!("{}, {}: {served} served", row.name, row.rule.name()),
                    replicas: row.missed.iter().map(|m| *m as f64 / HOUR_MS as f64).collect(),
                }
            })
            .collect();
        let names = replay
            .names
            .iter()
            .filter(|n| n.supply > 0 || n.demand.iter().any(|d| *d > 0))
            .map(|n| NamePanel {
                name: if n.name == FULL_GPU { "whole GPU".to_string() } else { n.name.clone() },
                supply: n.supply as f64,
                demand: n.demand.iter().map(|d| *d as f64).collect(),
            })
            .collect();
        ReplayFigure {
            title: "When replicas had no instance, and which instances were short".to_string(),
            subtitle: format!(
                "Above: replicas without an instance in each hour; bound is the most that any scheduler could serve, template what pods with fixed resource names get. Below: for each resource name the replicas that ask for it against the instances of '{first}'. Times are {}.",
                demand.zone().name()
            ),
            axis: HourAxis::new(demand),
            missed,
            more,
            names,
        }
    }
}
