//! Which states to go back to, from what is saved and from what a node holds. Pure: reads no GPU and
//! writes no file.

use super::history::{History, Run};
use super::journal::state_of;
use super::state::{GpuState, InstanceState};
use crate::error::{Diagnostic, Error, Result};
use crate::fleet::observed::{ObservedGpu, ObservedNode};

/// Which saved state to go back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The one before the last apply.
    LastApply,
    /// The one before the run with this number.
    Run(u64),
}

pub(super) fn find(history: &History, target: Target) -> Result<&Run> {
    let run = match target {
        Target::LastApply => {
            // A damaged one may be the last.
            history.whole()?;
            history.last_apply()
        }
        Target::Run(id) => {
            if let Some(damaged) = history.damaged.iter().find(|d| d.id == id) {
                return Err(Error::input(damaged.problem.clone())
                    .hint("`migplan rollback --list` shows the others"));
            }
            history.run(id)
        }
    };
    run.ok_or_else(|| match target {
        Target::LastApply => Error::input(Diagnostic::new("no state has been saved here"))
            .hint("`migplan apply` saves one; name its folder with --state-dir"),
        Target::Run(id) => Error::input(Diagnostic::new(format!("no run {id} is kept here")))
            .hint("`migplan rollback --list` shows the runs that are kept"),
    })
}

/// The states that a new run saves: as found, but for what interrupted runs left half-way, whose
/// own states to go back to are taken over. Where somebody else has gone on since, those are
/// history.
pub(super) fn states_to_go_back_to(
    history: &History,
    now: &ObservedNode,
    found: &[GpuState],
) -> Vec<GpuState> {
    let mut states: Vec<GpuState> = Vec::new();
    for run in history.open().rev() {
        for state in run.taken_over(now) {
            let gpu = now.gpus.iter().find(|gpu| gpu.uuid == state.uuid);
            let own = gpu.is_none_or(|gpu| unknown_instances(gpu, [run].into_iter()).is_empty());
            if own && state_of(&states, &state.uuid).is_none() {
                states.push(state);
            }
        }
    }
    for state in found {
        if state_of(&states, &state.uuid).is_none() {
            states.push(state.clone());
        }
    }
    states.sort_by_key(|state| state.gpu);
    states
}

/// What is on the GPUs of a run that neither it nor any later run knows, so that somebody else
/// must have created it: going back would destroy it.
pub(super) fn foreign(node: &ObservedNode, history: &History, run: &Run) -> Vec<(u32, Diagnostic)> {
    let mut problems = Vec::new();
    let states = run.back_to(node);
    let of_run = |gpu: &&ObservedGpu| state_of(&states, &gpu.uuid).is_some();
    for gpu in node.gpus.iter().filter(of_run) {
        let since = history.runs.iter().filter(|other| other.id >= run.id);
        for unknown in unknown_instances(gpu, since) {
            let what = if unknown.only_compute { COMPUTE_CREATED } else { CREATED };
            let problem = Diagnostic::new(of_instance(gpu.index, &unknown.instance, what));
            problems.push((gpu.index, problem));
        }
    }
    problems
}

/// `GPU 0: 1g.10gb at memory slice 2 was created by somebody else since`.
pub(super) fn by_somebody_else(gpu: u32, instance: &InstanceState) -> String {
    of_instance(gpu, instance, CREATED)
}

const CREATED: &str = "was created by somebody else since";
const COMPUTE_CREATED: &str = "has compute instances that somebody else has created since";

fn of_instance(gpu: u32, instance: &InstanceState, what: &str) -> String {
    let InstanceState { start, profile, .. } = instance;
    format!("GPU {gpu}: {profile} at memory slice {start} {what}")
}

/// An instance that somebody else has created, or in which somebody else has created something.
struct Unknown {
    instance: InstanceState,
    /// Whether the GPU instance itself is known.
    only_compute: bool,
}

/// The instances of a GPU that no state of these runs knows, or of which none knows all the compute
/// instances. A run that was interrupted leaves some of those of one state, never those of two.
fn unknown_instances<'r>(gpu: &ObservedGpu, runs: impl Iterator<Item = &'r Run>) -> Vec<Unknown> {
    let runs: Vec<&Run> = runs.collect();
    let states = runs.iter().flat_map(|run| run.states(&gpu.uuid));
    let known: Vec<&InstanceState> = states.flat_map(|state| &state.instances).collect();
    let now = GpuState::of(gpu).map(|state| state.instances).unwrap_or_default();
    let unknown = now.into_iter().filter_map(|instance| {
        let mut here = known.iter().filter(|known| known.same_place(&instance)).peekable();
        let only_compute = here.peek().is_some();
        let known = here.any(|known| known.has_compute_of(&instance));
        (!known).then_some(Unknown { instance, only_compute })
    });
    unknown.collect()
}
