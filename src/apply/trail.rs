//! What a run found and has begun: by that, its way back tells its own instances from those that
//! somebody else has created since, which stay. Pure: reads no GPU.

use super::guard::{self, NodeChange};
use super::others::Others;
use super::state::{GpuState, InstanceState};
use super::steps::{Action, Step};
use super::way_back::by_somebody_else;
use crate::fleet::observed::{ObservedGpu, ObservedNode};

/// What a run found and has begun, by which its way back knows what somebody else has created since.
#[derive(Debug)]
pub(super) struct Trail {
    found: Vec<GpuState>,
    pub(super) begun: Vec<Step>,
}

/// What going back can reach while what others have created stays.
#[derive(Debug, Default)]
pub(super) struct Targets {
    pub(super) states: Vec<GpuState>,
    /// What stays, each a sentence.
    pub(super) kept: Vec<String>,
    /// The same on GPUs that cannot go back with it; their states are not among those to reach.
    pub(super) in_the_way: Vec<String>,
}

impl Trail {
    pub(super) fn new(change: &NodeChange, others: &Others) -> Trail {
        let of_change = change.gpus.iter().map(|gpu| gpu.from.clone());
        Trail { found: of_change.chain(others.states()).collect(), begun: Vec::new() }
    }

    /// The states before of the GPUs of which a step began.
    pub(super) fn touched(&self) -> Vec<GpuState> {
        let begun = |state: &&GpuState| self.begun.iter().any(|step| step.gpu == state.gpu);
        self.found.iter().filter(begun).cloned().collect()
    }

    /// Whether a reset began.
    pub(super) fn has_reset(&self) -> bool {
        self.begun.iter().any(|step| step.action == Action::Reset)
    }

    /// What is on a GPU that the run neither found, nor has begun to create, nor wants to reach.
    fn of_others(&self, gpu: &ObservedGpu, target: &GpuState) -> Vec<InstanceState> {
        let Some(found) = self.found.iter().find(|state| state.uuid == gpu.uuid) else {
            return Vec::new();
        };
        let own = |instance: &InstanceState| {
            let mut known = found.instances.iter().chain(&target.instances);
            let made = |step: &Step| {
                (step.gpu, step.action, step.start)
                    == (found.gpu, Action::Create, Some(instance.start))
                    && step.nvml_index == instance.nvml_index
            };
            known.any(|known| known.same_place(instance)) || self.begun.iter().any(made)
        };
        let now = GpuState::of(gpu).map(|state| state.instances).unwrap_or_default();
        now.into_iter().filter(|instance| !own(instance)).collect()
    }

    /// What can be reached of these states on the node as it is.
    pub(super) fn targets(&self, states: &[GpuState], node: &ObservedNode) -> Targets {
        let mut targets = Targets::default();
        for state in states {
            let mut state = state.clone();
            if let Ok(gpu) = guard::here(&state, node) {
                let others = self.of_others(gpu, &state);
                let told = others.iter().map(|other| by_somebody_else(gpu.index, other));
                // A change of mode would end them.
                if !others.is_empty() && gpu.mode.is_some_and(|mode| mode.current != state.mig) {
                    targets.in_the_way.extend(told);
                    continue;
                }
                targets.kept.extend(told.map(|told| told + ", and stays"));
                state.instances.extend(others);
                state.instances.sort();
            }
            targets.states.push(state);
        }
        targets
    }
}
