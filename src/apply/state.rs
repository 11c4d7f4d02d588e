//! The state of a GPU as it is saved, compared and restored: mode and instances with their places,
//! without ids and processes, which do not survive.

use serde::{Deserialize, Serialize};

use crate::fleet::observed::{Instances, MigMode, ObservedGpu, ObservedNode, UnreadableGpu};
use crate::hardware::layout::Placement;
use crate::hardware::{Board, Profile, ProfileName};
use crate::reconfigure::change::Create;

/// One GPU's MIG mode and instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GpuState {
    /// Its index when the state was taken, for messages.
    pub gpu: u32,
    /// Who it is; indices may move.
    pub uuid: String,
    /// Whether MIG is on.
    pub mig: bool,
    /// Whether MIG will be on after a reset.
    pub mig_pending: bool,
    /// Its instances, ordered by start.
    pub instances: Vec<InstanceState>,
}

/// One instance.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct InstanceState {
    /// First memory slice.
    pub start: u32,
    /// Memory slices.
    pub size: u32,
    /// The GPU instance's profile.
    pub profile: ProfileName,
    /// Compute slices of its compute instances, largest first.
    pub compute: Vec<u32>,
    /// The profile's position in the driver's list (`NVML_GPU_INSTANCE_PROFILE_*`), which it keeps
    /// where a driver, or the catalogue in its place, names it otherwise. States of before lack it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nvml_index: Option<u32>,
}

impl InstanceState {
    pub(super) fn new(board: &Board, placement: Placement, compute: Vec<u32>) -> InstanceState {
        let profile = &board.profiles[placement.profile];
        InstanceState {
            start: placement.start,
            size: profile.memory_slices,
            profile: profile.name.clone(),
            compute,
            nvml_index: Some(profile.nvml_index),
        }
    }

    /// Whether this is a profile of it: by the driver's list, or by name where that is not saved.
    pub(super) fn is_of(&self, profile: &Profile) -> bool {
        match self.nvml_index {
            Some(index) => (index, self.size) == (profile.nvml_index, profile.memory_slices),
            None => self.profile == profile.name,
        }
    }

    /// Whether it has all compute instances of another one, by size.
    pub(super) fn has_compute_of(&self, other: &InstanceState) -> bool {
        let count =
            |of: &InstanceState, slices| of.compute.iter().filter(|c| **c == slices).count();
        other.compute.iter().all(|&slices| count(self, slices) >= count(other, slices))
    }

    /// Whether both are the same GPU instance, however it is shared.
    pub(super) fn same_place(&self, other: &InstanceState) -> bool {
        let same_profile = match (self.nvml_index, other.nvml_index) {
            (Some(own), Some(other)) => own == other,
            _ => self.profile == other.profile,
        };
        same_profile && (self.start, self.size) == (other.start, other.size)
    }
}

/// Where the GPU of a state is now.
#[derive(Debug, Clone, Copy)]
pub(super) enum Presence<'n> {
    /// On the node.
    Here(&'n ObservedGpu),
    /// On the node, as far as can be told, but it cannot be read.
    Unreadable(&'n UnreadableGpu),
    /// Not on the node: taken out, replaced, or not shown to this process.
    Gone,
}

impl GpuState {
    /// Where its GPU is now. One that cannot be read and does not tell who it is may be any that is
    /// not listed, most of all the one that had its index.
    pub(super) fn find<'n>(&self, node: &'n ObservedNode) -> Presence<'n> {
        if let Some(gpu) = node.gpus.iter().find(|gpu| gpu.uuid == self.uuid) {
            return Presence::Here(gpu);
        }
        let named = node.unreadable.iter().find(|gpu| gpu.uuid.as_ref() == Some(&self.uuid));
        let mut nameless = node.unreadable.iter().filter(|gpu| gpu.uuid.is_none());
        let at_index = nameless.clone().find(|gpu| gpu.index == self.gpu);
        match named.or(at_index).or_else(|| nameless.next()) {
            Some(gpu) => Presence::Unreadable(gpu),
            None => Presence::Gone,
        }
    }

    /// The state of an observed GPU; `None` where it cannot do MIG or hides its instances.
    pub fn of(gpu: &ObservedGpu) -> Option<GpuState> {
        let MigMode { current, pending } = gpu.mode?;
        let mut state = GpuState {
            gpu: gpu.index,
            uuid: gpu.uuid.clone(),
            mig: current,
            mig_pending: pending,
            instances: Vec::new(),
        };
        match (&gpu.instances, &gpu.board) {
            (Instances::Known(instances), Some(board)) => {
                state.instances = instances
                    .iter()
                    .map(|i| InstanceState::new(board, i.placement(), i.shape().compute))
                    .collect();
            }
            (Instances::Known(instances), None) if instances.is_empty() => {}
            _ => return None,
        }
        state.instances.sort();
        Some(state)
    }

    /// Whether a GPU is in this state, whatever its index is now.
    pub fn is_state_of(&self, gpu: &ObservedGpu) -> bool {
        GpuState::of(gpu).is_some_and(|now| {
            self.has_mode_of(gpu) && self.same(&GpuState { mig_pending: self.mig_pending, ..now })
        })
    }

    /// Whether a GPU has this mode. Where its mode needs no reset, one that is pending was only held
    /// up by a client: it is not missed where it is gone. One that has come since counts everywhere.
    pub(super) fn has_mode_of(&self, gpu: &ObservedGpu) -> bool {
        gpu.mode.is_some_and(|now| {
            let settled = now == MigMode::settled(now.current) && !gpu.mode_needs_reset();
            now.current == self.mig && (now.pending == self.mig_pending || settled)
        })
    }

    /// Whether both are the same state of one GPU, whatever its index, and whatever its profiles are
    /// named.
    pub(super) fn same(&self, other: &GpuState) -> bool {
        let of = |state: &GpuState| (state.mig, state.mig_pending, state.instances.len());
        let mut pairs = self.instances.iter().zip(&other.instances);
        self.uuid == other.uuid
            && of(self) == of(other)
            && pairs.all(|(own, other)| own.same_place(other) && own.compute == other.compute)
    }

    /// Its instances as something to create on `board`.
    ///
    /// # Errors
    /// A profile that the board does not have.
    pub(super) fn creates(&self, board: &Board) -> Result<Vec<Create>, String> {
        self.instances
            .iter()
            .map(|instance| {
                let profile =
                    board.profiles.iter().position(|profile| instance.is_of(profile)).ok_or_else(
                        || format!("{} has no profile {}", board.id, instance.profile),
                    )?;
                let placement = Placement { start: instance.start, profile };
                Ok(Create { placement, compute: instance.compute.clone() })
            })
            .collect()
    }
}

impl std::fmt::Display for GpuState {
    /// `MIG on: 3g.40gb@4 1g.10gb@0`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MIG {}", if self.mig { "on" } else { "off" })?;
        if self.mig != self.mig_pending {
            write!(f, " ({} pending)", if self.mig_pending { "on" } else { "off" })?;
        }
        if self.mig && self.instances.is_empty() {
            write!(f, ", no instances")?;
        }
        for (i, instance) in self.instances.iter().enumerate() {
            let separator = if i == 0 { ": " } else { " " };
            write!(f, "{separator}{}@{}", instance.profile, instance.start)?;
            if instance.compute != [instance.profile.gpu_slices] {
                write!(f, "{:?}", instance.compute)?;
            }
        }
        Ok(())
    }
}
