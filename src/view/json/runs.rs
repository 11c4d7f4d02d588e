//! The saved states as `rollback --list --json` prints them, schema `migplan.runs/v1`.

use serde::Serialize;

use crate::apply::history::{History, Run};
use crate::apply::journal::{End, Purpose};
use crate::apply::state::GpuState;

/// Schema key of the list.
pub const RUNS_SCHEMA: &str = "migplan.runs/v1";

/// All saved states of a folder.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RunsJson<'h> {
    schema: &'static str,
    runs: Vec<RunJson<'h>>,
    /// Files that should hold a run, and do not.
    damaged: Vec<DamagedJson>,
}

/// One run, and the state that was saved before it.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RunJson<'h> {
    /// Its number: what `--to` takes.
    id: u64,
    purpose: Purpose,
    source: &'h str,
    /// Seconds since 1970.
    started: u64,
    /// `null` while some GPU may be half-way.
    end: Option<End>,
    /// The state that `--to` goes back to, of each GPU that it covers.
    before: &'h [GpuState],
    /// The state that the run found, of each GPU where `before` is another: an interrupted run had
    /// changed the GPU, and `before` is the state before that one.
    found: Vec<&'h GpuState>,
    /// Units that it stopped and that nothing has started since.
    units: &'h [String],
}

#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct DamagedJson {
    id: u64,
    problem: String,
}

impl<'h> RunsJson<'h> {
    /// The list.
    pub fn new(history: &'h History) -> RunsJson<'h> {
        let damaged = history.damaged.iter();
        RunsJson {
            schema: RUNS_SCHEMA,
            runs: history.runs.iter().map(run_json).collect(),
            damaged: damaged
                .map(|d| DamagedJson { id: d.id, problem: d.problem.to_string() })
                .collect(),
        }
    }
}

fn run_json(run: &Run) -> RunJson<'_> {
    RunJson {
        id: run.id,
        purpose: run.header.purpose,
        source: &run.header.source,
        started: run.header.started,
        end: run.end,
        before: &run.header.before,
        found: run
            .header
            .before
            .iter()
            .filter_map(|state| run.found_otherwise(&state.uuid))
            .collect(),
        units: &run.units,
    }
}
