//! What a plan was made for: the demand in the plan's file, and the fleet that the plan is for.
//!
//! A plan alone says who is served and how many are not, not what those need, which a comparison
//! or a picture must know. So the file has the demand beside the plan, under `demand`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use super::Plan;
use crate::demand::{Demand, MAX_COUNT, MAX_WHOLE_GPUS, Observed, Workload};
use crate::error::{Diagnostic, Error, Result};
use crate::fleet::{Fleet, LeftOut, Node};
use crate::hardware::{BoardRef, Catalogue};
use crate::units::{MAX_MEMORY_MIB, Mebibytes, Weight};

/// One workload; what a CSV may leave out is left out where it is the default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct DemandRow {
    team: Arc<str>,
    workload: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    memory_mib: Option<u64>,
    count: u64,
    #[serde(skip_serializing_if = "is_default", default)]
    min: u64,
    #[serde(skip_serializing_if = "is_default", default)]
    priority: i64,
    #[serde(skip_serializing_if = "is_one", default = "one")]
    weight: f64,
    #[serde(skip_serializing_if = "is_one_slice", default = "one_slice")]
    compute: u32,
    #[serde(skip_serializing_if = "is_default", default)]
    media: bool,
    #[serde(skip_serializing_if = "is_empty", default)]
    boards: Arc<[String]>,
    #[serde(skip_serializing_if = "is_default", default)]
    gpus: u32,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    hours: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    observed: Option<Arc<Observed>>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn one() -> f64 {
    1.0
}

fn is_one(weight: &f64) -> bool {
    *weight == 1.0
}

fn one_slice() -> u32 {
    1
}

fn is_one_slice(slices: &u32) -> bool {
    *slices == 1
}

fn is_empty(boards: &Arc<[String]>) -> bool {
    boards.is_empty()
}

impl From<&Workload> for DemandRow {
    fn from(workload: &Workload) -> DemandRow {
        DemandRow {
            team: workload.team.clone(),
            workload: workload.name.clone(),
            memory_mib: workload.memory.map(|m| m.0),
            count: workload.count,
            min: workload.min,
            priority: workload.priority,
            weight: workload.weight.0 as f64 / Weight::SCALE as f64,
            compute: workload.compute_slices,
            media: workload.media,
            boards: workload.boards.clone(),
            gpus: workload.whole_gpus,
            hours: workload.hours.to_string(),
            observed: workload.observed.clone(),
        }
    }
}

/// Writes the demand as rows, one at a time.
pub(super) fn write<S: Serializer>(demand: &Demand, to: S) -> std::result::Result<S::Ok, S::Error> {
    to.collect_seq(demand.workloads().iter().map(DemandRow::from))
}

impl DemandRow {
    /// The workload, or what is wrong with it.
    fn workload(&self) -> std::result::Result<Workload, String> {
        let bad_name = |name: &str| name.is_empty() || name.chars().any(char::is_control);
        let most_weight = Weight::MAX as f64;
        if bad_name(&self.team) || bad_name(&self.workload) {
            return Err("a name is empty or has a control character".to_string());
        }
        if self.memory_mib.is_some_and(|m| m == 0 || m > MAX_MEMORY_MIB) {
            return Err("memory_mib is zero or too large".to_string());
        }
        if self.memory_mib.is_none() && self.gpus == 0 {
            return Err("has neither memory_mib nor gpus".to_string());
        }
        if self.count > MAX_COUNT {
            return Err(format!("count is more than {MAX_COUNT}"));
        }
        if self.gpus > MAX_WHOLE_GPUS {
            return Err(format!("gpus is more than {MAX_WHOLE_GPUS}"));
        }
        if self.min > self.count {
            return Err("min is more than count".to_string());
        }
        if !(self.weight > 0.0 && self.weight <= most_weight) {
            return Err(format!("weight is not between 0 and {most_weight}"));
        }
        Ok(Workload {
            team: self.team.clone(),
            name: self.workload.clone(),
            memory: self.memory_mib.map(Mebibytes),
            count: self.count,
            min: self.min,
            priority: self.priority,
            // Six decimals survive the way through a float: a weight has at most 13 digits.
            weight: Weight(((self.weight * Weight::SCALE as f64).round() as u64).max(1)),
            compute_slices: self.compute,
            media: self.media,
            boards: self.boards.clone(),
            whole_gpus: self.gpus,
            hours: self.hours.parse().map_err(|e| format!("hours {e}"))?,
            observed: self.observed.clone(),
        })
    }
}

/// The demand that the rows of a plan's file say.
///
/// # Errors
/// Rows that cannot be used, all at once (exit 3).
pub(super) fn demand(rows: &[DemandRow], file: &str) -> Result<Demand> {
    let mut workloads: BTreeMap<(Arc<str>, Arc<str>), Workload> = BTreeMap::new();
    let mut problems = Vec::new();
    for row in rows {
        let name = format!("demand of {:?}/{:?}", row.team, row.workload);
        match row.workload() {
            Err(wrong) => problems.push(Diagnostic::new(format!("{name}: {wrong}")).in_file(file)),
            Ok(workload) => {
                let key = (workload.team.clone(), workload.name.clone());
                if workloads.insert(key, workload).is_some() {
                    problems.push(Diagnostic::new(format!("{name} is a duplicate")).in_file(file));
                }
            }
        }
    }
    if problems.is_empty() {
        return Ok(Demand::new(workloads.into_values().collect()));
    }
    problems.truncate(50);
    Err(Error::inputs(problems).hint("make the plan anew with `migplan suggest --plan plan.json`"))
}

/// The fleet that a plan is for: its GPUs, node by node, in the order of their indices.
///
/// # Errors
/// A board that the catalogue does not have (exit 3).
pub fn fleet(plan: &Plan, catalogue: &Catalogue) -> Result<Fleet> {
    let mut nodes: BTreeMap<&str, Vec<(u32, BoardRef)>> = BTreeMap::new();
    for gpu in &plan.gpus {
        let board = catalogue.by_id(&gpu.board).ok_or_else(|| {
            Error::input(Diagnostic::new(format!("the board '{}' is not known", gpu.board)))
        })?;
        nodes.entry(&gpu.node).or_default().push((gpu.gpu, board.clone()));
    }
    let node = |(name, mut gpus): (&str, Vec<(u32, BoardRef)>)| {
        gpus.sort_by_key(|(index, _)| *index);
        let left_out = plan.left_out.iter().filter(|gpu| *gpu.node == *name);
        let mut left_out: Vec<LeftOut> =
            left_out.map(|gpu| LeftOut { gpu: gpu.gpu, reason: gpu.reason }).collect();
        left_out.sort();
        let gpus = gpus.into_iter().map(|(_, board)| board).collect();
        Node { left_out, ..Node::new(name, gpus) }
    };
    Ok(Fleet::new(nodes.into_iter().map(node).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demand_survives_the_file() {
        let mut rare = Workload::new("b", "rare", Mebibytes(9), 3);
        rare.priority = -7;
        rare.min = 2;
        rare.weight = Weight(1_234_567);
        rare.compute_slices = 4;
        rare.media = true;
        rare.boards = Arc::new(["a30-24gb".to_string()]);
        let mut whole = Workload::new("c", "whole", Mebibytes(1), 1);
        whole.memory = None;
        whole.whole_gpus = 2;
        let asked = Demand::new(vec![Workload::new("a", "plain", Mebibytes(5), 2), rare, whole]);
        let rows: Vec<DemandRow> = asked.workloads().iter().map(DemandRow::from).collect();
        let text = serde_json::to_string(&rows).unwrap();
        let read: Vec<DemandRow> = serde_json::from_str(&text).unwrap();
        assert_eq!(demand(&read, "plan.json").unwrap(), asked);
        assert!(
            text.contains(r#"{"team":"a","workload":"plain","memory_mib":5,"count":2}"#),
            "{text}"
        );
    }

    #[test]
    fn bad_rows_are_told_at_once() {
        let text = r#"[
            {"team": "a", "workload": "b", "count": 1},
            {"team": "a", "workload": "c", "count": 1, "memory_mib": 0},
            {"team": "a", "workload": "d", "count": 1, "memory_mib": 1, "weight": -1},
            {"team": "", "workload": "e", "count": 1, "memory_mib": 1},
            {"team": "a", "workload": "f", "count": 1, "min": 2, "memory_mib": 1},
            {"team": "a", "workload": "g", "count": 1, "gpus": 1025}]"#;
        let rows: Vec<DemandRow> = serde_json::from_str(text).unwrap();
        assert_eq!(demand(&rows, "f").unwrap_err().problems.len(), 6);
    }
}
