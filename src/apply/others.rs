//! The GPUs that a change leaves as they are. They may lose something all the same: to somebody else
//! while the change is made, and to a reset, since some servers reset several GPUs together. Pure:
//! reads no GPU.

use super::guard::{self, NodeChange};
use super::journal::state_of;
use super::state::{GpuState, Presence};
use crate::fleet::observed::{ObservedGpu, ObservedNode};

/// GPUs that must be as they are when a change ends.
#[derive(Debug, Default)]
pub(super) struct Others {
    /// Those that the file, or the saved state, covers and that are as wanted.
    pub(super) as_wanted: Vec<GpuState>,
    /// Those that a reset of another GPU may take instances from.
    pub(super) at_risk: Vec<GpuState>,
}

impl Others {
    /// Those of a change to a node.
    pub(super) fn of(node: &ObservedNode, change: &NodeChange) -> Others {
        let covered = |gpu: &&ObservedGpu| change.unchanged.contains(&gpu.index);
        Others {
            as_wanted: node.gpus.iter().filter(covered).filter_map(GpuState::of).collect(),
            at_risk: at_risk(node, change).filter_map(GpuState::of).collect(),
        }
    }

    /// Each of them once.
    pub(super) fn states(&self) -> Vec<GpuState> {
        joined(&self.as_wanted, self.at_risk.iter())
    }

    /// Those at risk that a node shows to have lost something.
    pub(super) fn lacking<'s>(
        &'s self,
        node: &'s ObservedNode,
    ) -> impl Iterator<Item = &'s GpuState> {
        lacking(&self.at_risk, node)
    }

    /// What those that are as wanted have lost, each a sentence.
    pub(super) fn lost(&self, node: &ObservedNode) -> Vec<String> {
        guard::differences(node, &joined(&[], lacking(&self.as_wanted, node)))
    }

    /// How they differ from what they should be, each a sentence.
    pub(super) fn differences(&self, node: &ObservedNode) -> Vec<String> {
        guard::differences(node, &joined(&self.as_wanted, self.lacking(node)))
    }
}

/// Where a change resets a GPU, the other ones whose MIG mode is on.
pub(super) fn at_risk<'n>(
    node: &'n ObservedNode,
    change: &'n NodeChange,
) -> impl Iterator<Item = &'n ObservedGpu> {
    let resets = change.gpus.iter().any(|gpu| gpu.resets());
    node.gpus.iter().filter(move |gpu| {
        let mig = gpu.mode.is_some_and(|mode| mode.current || mode.pending);
        resets && mig && change.gpus.iter().all(|other| other.from.uuid != gpu.uuid)
    })
}

/// The states of which the GPU has another mode now, lacks an instance, or cannot be read. What has
/// come since is not looked at.
pub(super) fn lacking<'s>(
    states: &'s [GpuState],
    node: &'s ObservedNode,
) -> impl Iterator<Item = &'s GpuState> {
    states.iter().filter(|state| match state.find(node) {
        Presence::Here(gpu) => {
            let has_all = GpuState::of(gpu).is_some_and(|now| has_all_instances(&now, state));
            !state.has_mode_of(gpu) || !has_all
        }
        Presence::Unreadable(_) | Presence::Gone => true,
    })
}

fn has_all_instances(now: &GpuState, state: &GpuState) -> bool {
    state.instances.iter().all(|instance| {
        let mut here = now.instances.iter().filter(|now| now.same_place(instance));
        here.any(|now| now.has_compute_of(instance))
    })
}

/// States, and those of other GPUs.
pub(super) fn joined<'s>(
    states: &[GpuState],
    others: impl Iterator<Item = &'s GpuState>,
) -> Vec<GpuState> {
    let more = others.filter(|other| state_of(states, &other.uuid).is_none()).cloned();
    states.iter().cloned().chain(more).collect()
}

/// Where an index of these states means another GPU now, which is in another state: each a sentence.
pub(super) fn moved(states: &[GpuState], node: &ObservedNode) -> Vec<String> {
    let moved = states.iter().filter_map(|state| {
        let there = node.gpus.iter().find(|gpu| gpu.index == state.gpu)?;
        let now = GpuState::of(there);
        let other = there.uuid != state.uuid
            && now.is_none_or(|now| GpuState { uuid: state.uuid.clone(), ..now } != *state);
        other.then(|| guard::moved(state, &there.uuid))
    });
    moved.collect()
}
