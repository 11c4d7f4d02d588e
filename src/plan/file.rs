//! A plan's file: the plan with what it was made from, written, and read back and checked against
//! the boards before anything trusts it.
//!
//! A plan file may be old, edited by hand or made with another catalogue. What is wrong with it is
//! said all at once. Whether it is a *good* plan is not asked here.

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::asked::{self, DemandRow};
use super::check::{Checked, printable};
use super::over_time::OverTimeFile;
use super::{
    Assignment, GpuPlan, Instance, InstanceProfile, LeftOutGpu, PLAN_SCHEMA, Plan, Proof,
    RecordedPolicy, Totals, Unplaced,
};
use crate::demand::Demand;
use crate::error::{Diagnostic, Error, Result};
use crate::hardware::Catalogue;

const HINT: &str = "make the plan with `migplan suggest --plan plan.json` (or --format json)";

/// After so many problems the rest is only counted.
const MAX_PROBLEMS: usize = 50;

/// A plan as it is written, with what it was made from: schema `migplan.plan/v1`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PlanDocument<'p> {
    #[serde(flatten)]
    plan: &'p Plan,
    /// The label of its MIG configuration; with several distinct nodes `name-1`, `name-2` …
    name: &'p str,
    /// The rules that it was made with.
    policy: RecordedPolicy,
    /// The boards of its GPUs that are not the built-in ones, each as its file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    catalogue: Vec<Value>,
    /// What it was made for.
    #[serde(serialize_with = "asked::write")]
    #[cfg_attr(test, schemars(with = "Vec<DemandRow>"))]
    demand: &'p Demand,
    /// The periods of demand over time.
    #[serde(skip_serializing_if = "Option::is_none")]
    over_time: Option<OverTimeFile>,
}

impl<'p> PlanDocument<'p> {
    /// The document of a plan that was made for `demand` with the boards of `catalogue`.
    pub fn new(
        plan: &'p Plan,
        name: &'p str,
        policy: RecordedPolicy,
        catalogue: &Catalogue,
        demand: &'p Demand,
    ) -> PlanDocument<'p> {
        let boards: BTreeSet<&str> = plan.gpus.iter().map(|gpu| &*gpu.board).collect();
        let changed = boards.into_iter().filter_map(|id| catalogue.user_file(id).cloned());
        PlanDocument { plan, name, policy, catalogue: changed.collect(), demand, over_time: None }
    }

    /// The same document of a plan for demand over time.
    #[must_use]
    pub fn with_periods(mut self, over_time: Option<OverTimeFile>) -> PlanDocument<'p> {
        self.over_time = over_time;
        self
    }
}

/// A plan that was read back, with what its file says of how it was made.
#[derive(Debug, Clone)]
pub struct PlanFile {
    /// The plan; its GPUs can be what it says.
    pub plan: Checked,
    /// The label of its MIG configuration; `None` in a file of an earlier version.
    pub name: Option<String>,
    /// The rules that it was made with; `None` in a file of an earlier version.
    pub policy: Option<RecordedPolicy>,
    /// The boards: those given, and the ones that the file itself describes.
    pub catalogue: Catalogue,
    /// What it was made for; `None` in a file that does not say.
    pub demand: Option<Demand>,
    /// The periods, where the demand was one over time.
    pub over_time: Option<OverTimeFile>,
}

impl PlanFile {
    /// What it was made for. `file` is its name, for messages.
    ///
    /// # Errors
    /// It does not say (exit 3).
    pub fn asked(&self, file: &str) -> Result<&Demand> {
        self.demand.as_ref().ok_or_else(|| {
            let problem = "the plan does not say what was asked for, so nothing can be compared";
            Error::input(Diagnostic::new(problem).in_file(file)).hint(
                "make the plan anew with `migplan suggest --plan plan.json`, or name --workloads and --gpus",
            )
        })
    }
}

/// The keys of a plan file.
#[derive(Deserialize)]
struct PlanText {
    schema: String,
    gpus: Vec<GpuPlan>,
    #[serde(default)]
    left_out: Vec<LeftOutGpu>,
    unplaced: Vec<Unplaced>,
    totals: Totals,
    proof: Proof,
    name: Option<String>,
    policy: Option<RecordedPolicy>,
    #[serde(default)]
    catalogue: Vec<Value>,
    demand: Option<Vec<DemandRow>>,
    over_time: Option<OverTimeFile>,
}

/// An instance as it is written: an assignment is there whole or not at all.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct InstanceFile {
    profile: InstanceProfile,
    start: u32,
    size: u32,
    memory_mib: u64,
    team: Option<Arc<str>>,
    workload: Option<Arc<str>>,
    replica: Option<u64>,
    demand_mib: Option<u64>,
}

impl TryFrom<InstanceFile> for Instance {
    type Error = &'static str;

    fn try_from(file: InstanceFile) -> std::result::Result<Instance, Self::Error> {
        let assignment = match (file.team, file.workload, file.replica, file.demand_mib) {
            (None, None, None, None) => None,
            (Some(team), Some(workload), Some(replica), Some(demand_mib)) => {
                Some(Assignment { team, workload, replica, demand_mib })
            }
            _ => return Err("an instance has team, workload, replica and demand_mib, or none"),
        };
        Ok(Instance {
            profile: file.profile,
            start: file.start,
            size: file.size,
            memory_mib: file.memory_mib,
            assignment,
        })
    }
}

/// Reads a plan and checks that its GPUs can be what it says. `catalogue` is the built-in one, or
/// that of `--catalogue`; boards that the file describes are added to it.
///
/// # Errors
/// Everything that is wrong (exit 3): no JSON, another schema, an unknown board or profile, a board
/// whose table is not the one that the plan was made with, a duplicate GPU, instances that cannot
/// be on one GPU together, names that no input allows.
pub fn read(mut input: impl Read, file: &str, catalogue: &Catalogue) -> Result<PlanFile> {
    let mut text = Vec::new();
    input
        .read_to_end(&mut text)
        .map_err(|e| Error::input(Diagnostic::new(format!("cannot be read: {e}")).in_file(file)))?;
    let read: PlanText = serde_json::from_slice(&text).map_err(|e| not_a_plan(&text, file, &e))?;
    drop(text);
    if read.schema != PLAN_SCHEMA {
        return Err(wrong_schema(&read.schema, file));
    }
    let catalogue = boards_of(&read, file, catalogue)?;
    let demand = read.demand.as_deref().map(|rows| asked::demand(rows, file)).transpose()?;
    let PlanText { schema, gpus, left_out, unplaced, totals, proof, .. } = read;
    let PlanText { name, policy, over_time, .. } = read;
    let plan = Plan { schema, gpus, left_out, unplaced, totals, proof };
    let mut problems = match Checked::of_boards(plan, &catalogue) {
        Ok(plan) => return Ok(PlanFile { plan, name, policy, catalogue, demand, over_time }),
        Err(problems) => problems,
    };
    let more = problems.len().saturating_sub(MAX_PROBLEMS);
    problems.truncate(MAX_PROBLEMS);
    if more > 0 {
        problems.push("and more problems like these".to_string());
    }
    let problems = problems.into_iter().map(|p| Diagnostic::new(p).in_file(file)).collect();
    Err(Error::inputs(problems)
        .hint(format!("{HINT}; with the --catalogue that it was made with, if there was one")))
}

/// The given boards and those that the file describes. A plan fits only the tables that it was
/// made with, so a given board that differs is refused.
fn boards_of(read: &PlanText, file: &str, catalogue: &Catalogue) -> Result<Catalogue> {
    let described = |id: &str| read.catalogue.iter().find(|b| b["id"].as_str() == Some(id));
    let mut problems = Vec::new();
    // Files of earlier versions have no policy, and do not say which tables they were made with.
    if read.policy.is_some() {
        let mut boards: Vec<&str> = read.gpus.iter().map(|gpu| &*gpu.board).collect();
        boards.sort_unstable();
        boards.dedup();
        for id in boards {
            if let Some(given) = catalogue.user_file(id)
                && described(id) != Some(given)
            {
                problems.push(
                    Diagnostic::new(format!(
                        "was made with another table of the board '{}' than --catalogue has",
                        printable(id)
                    ))
                    .in_file(file),
                );
            }
        }
    }
    if !problems.is_empty() {
        return Err(Error::inputs(problems).hint(
            "drop --catalogue: the plan has the boards that it was made with; or make the plan anew",
        ));
    }
    if read.catalogue.is_empty() {
        return Ok(catalogue.clone());
    }
    catalogue.with_boards(file, read.catalogue.clone())
}

/// Says what a text is that is no plan.
fn not_a_plan(text: &[u8], file: &str, error: &serde_json::Error) -> Error {
    #[derive(Deserialize)]
    struct SchemaOnly {
        schema: Option<serde_json::Value>,
    }
    if let Ok(SchemaOnly { schema: Some(schema) }) = serde_json::from_slice(text)
        && schema != PLAN_SCHEMA
    {
        return wrong_schema(schema.as_str().unwrap_or("not a text"), file);
    }
    let at = |message: String| Diagnostic::new(message).in_file(file);
    let trimmed = text.trim_ascii();
    if trimmed.is_empty() {
        return Error::input(at("is empty".to_string())).hint(HINT);
    }
    if trimmed.first() != Some(&b'{') {
        return Error::input(at("is not a plan in JSON".to_string()))
            .hint(format!("{HINT}; the YAML of `suggest` is for nvidia-mig-parted"));
    }
    let line = u64::try_from(error.line()).unwrap_or(0);
    // The position is in the message as well; once is enough.
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or(&message).to_string();
    let problem = at(format!("is not a plan: {message}"));
    Error::input(if line > 0 { problem.at_line(line) } else { problem }).hint(HINT)
}

fn wrong_schema(schema: &str, file: &str) -> Error {
    Error::input(
        Diagnostic::new(format!("schema is '{}', not {PLAN_SCHEMA}", printable(schema)))
            .in_file(file),
    )
    .hint(HINT)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: &str = r#"{"schema": "migplan.plan/v1",
     "gpus": [{"node": "n", "gpu": 0, "board": "a100-sxm4-80gb", "mig": true, "later": 1,
               "instances": [{"profile": "3g.40gb", "start": 4, "size": 4, "memory_mib": 40192,
                              "team": "t", "workload": "w", "replica": 1, "demand_mib": 31000},
                             {"profile": "1g.10gb", "start": 0, "size": 1, "memory_mib": 9728}]},
              {"node": "n", "gpu": 1, "board": "a100-sxm4-80gb", "mig": false,
               "instances": [{"profile": "full", "start": 0, "size": 8, "memory_mib": 81920}]}],
     "unplaced": [], "totals": {"replicas": 1, "placed": 1, "demand_mib": 31000,
     "placed_mib": 31000, "fleet_mib": 163840, "idle_mib": 132840, "rounding_mib": 9192,
     "spare_mib": 91648, "unusable_mib": 32000, "gpus": 2, "gpus_used": 1},
     "proof": {"status": "optimal", "stages": [], "solve_seconds": 0.01}}"#;

    fn plan(text: &str) -> Result<Checked> {
        read(text.as_bytes(), "plan.json", &Catalogue::built_in()).map(|file| file.plan)
    }

    fn errors(from: &str, to: &str) -> String {
        assert!(PLAN.contains(from), "{from}");
        plan(&PLAN.replace(from, to)).unwrap_err().to_string()
    }

    #[test]
    fn a_plan_survives_its_json() {
        let read = plan(PLAN).unwrap();
        assert_eq!(read.gpus.len(), 2);
        let again = plan(&serde_json::to_string(&read).unwrap()).unwrap();
        assert_eq!(read, again);
    }

    #[test]
    fn what_is_no_plan_is_told() {
        assert!(plan("").unwrap_err().to_string().contains("is empty"));
        assert!(plan("version: v1\n").unwrap_err().to_string().contains("is not a plan in JSON"));
        assert!(plan("{}").unwrap_err().to_string().contains("missing field `schema`"));
        assert!(plan("{\"schema\": \"migplan.plan/v2\"}").unwrap_err().to_string().contains("v2"));
        assert!(plan(&PLAN[..400]).unwrap_err().to_string().contains("plan.json:"));
        assert!(errors(", \"demand_mib\": 31000}", "}").contains("team, workload, replica"));
    }

    #[test]
    fn what_the_board_does_not_allow_is_told() {
        for (from, to, message) in [
            ("a100-sxm4-80gb\", \"mig\": true", "b\", \"mig\": true", "board 'b' is not known"),
            ("\"3g.40gb\"", "\"9g.40gb\"", "no profile 9g.40gb"),
            ("\"start\": 4", "\"start\": 1", "cannot start at memory slice 1"),
            ("\"start\": 4", "\"start\": 0", "overlap"),
            ("\"size\": 4", "\"size\": 3", "the profile takes 4"),
            ("40192", "0", "memory_mib is 0"),
            ("\"demand_mib\": 31000}", "\"demand_mib\": 50000}", "needs 50000 MiB"),
            ("\"gpu\": 1", "\"gpu\": 0", "is a duplicate"),
            ("\"mig\": true", "\"mig\": false", "needs MIG, which is off"),
            ("\"mig\": false", "\"mig\": true", "MIG is on"),
            ("\"team\": \"t\"", "\"team\": \"a\\u0007\"", "control character"),
            ("\"n\", \"gpu\": 1", "\"\", \"gpu\": 1", "node's name is empty"),
            ("\"n\", \"gpu\": 1", "\"n\\u0007\", \"gpu\": 1", "control character"),
            ("\"full\", \"start\": 0", "\"full\", \"start\": 1", "a whole GPU starts at 0"),
            ("\"later\": 1", "\"stays_whole\": true", "stays whole, but here MIG is on"),
            ("\"mig\": true, \"later\": 1", "\"mig\": false", "has 2 instances with MIG off"),
        ] {
            let text = errors(from, to);
            assert!(text.contains(message), "{message} in {text}");
        }
        assert!(errors("40192", "400000").contains("the board has 81920"));
    }
}
