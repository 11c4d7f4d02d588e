//! The steps of a change, as journals, progress bars and machines see them, in the order in which they
//! are made.

use super::guard::GpuChange;
use crate::hardware::compute;
use crate::hardware::layout::Placement;
use crate::reconfigure::change::Refit;

/// One change of the hardware, as journals, progress bars and machines see it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Step {
    /// The GPU's index.
    pub gpu: u32,
    /// What is done.
    pub action: Action,
    /// The profile, where the step is about an instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Its first memory slice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<u32>,
    /// The profile's position in the driver's list.
    #[serde(skip)]
    pub(super) nvml_index: Option<u32>,
    /// Compute slices of the compute instances that go; none where one takes all of the instance.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub compute_destroyed: Vec<u32>,
    /// The same of those that come.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub compute_created: Vec<u32>,
}

/// The kinds of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A GPU instance goes, with its compute instances.
    Destroy,
    /// Compute instances in a GPU instance that stays go or come.
    Refit,
    /// MIG mode is turned on.
    MigOn,
    /// MIG mode is turned off.
    MigOff,
    /// The GPU is reset.
    Reset,
    /// A GPU instance comes, with its compute instances.
    Create,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verb = match self.action {
            Action::Destroy => "destroy",
            Action::Refit => "refit",
            Action::MigOn => "MIG on",
            Action::MigOff => "MIG off",
            Action::Reset => "reset",
            Action::Create => "create",
        };
        write!(f, "GPU {}: {verb}", self.gpu)?;
        if let (Some(profile), Some(start)) = (&self.profile, self.start) {
            write!(f, " {profile}@{start}")?;
        }
        match compute::changed(&self.compute_destroyed, &self.compute_created) {
            none if none.is_empty() => Ok(()),
            compute => write!(f, " ({compute})"),
        }
    }
}

impl GpuChange {
    /// The steps in the order in which they are made.
    pub fn steps(&self) -> Vec<Step> {
        let of_gpu = |action| Step {
            gpu: self.gpu,
            action,
            profile: None,
            start: None,
            nvml_index: None,
            compute_destroyed: Vec::new(),
            compute_created: Vec::new(),
        };
        let of = |action, placement: Placement, destroyed: Vec<u32>, created: Vec<u32>| {
            let profile = &self.board.profiles[placement.profile];
            Step {
                profile: Some(profile.name.to_string()),
                start: Some(placement.start),
                nvml_index: Some(profile.nvml_index),
                compute_destroyed: destroyed,
                compute_created: created,
                ..of_gpu(action)
            }
        };
        let mut steps = Vec::new();
        for &i in &self.change.destroy {
            let shape = self.present[i].shape();
            let parts = self.board.profiles[shape.profile].parts(&shape.compute).to_vec();
            steps.push(of(Action::Destroy, self.present[i].placement(), parts, Vec::new()));
        }
        if let Some(mode) = self.mode {
            steps.push(of_gpu(if mode.asked() { Action::MigOn } else { Action::MigOff }));
            if mode.reset {
                steps.push(of_gpu(Action::Reset));
            }
        }
        for refit in &self.change.refit {
            let placement = self.present[refit.instance].placement();
            let gone = self.compute_destroyed(refit);
            steps.push(of(Action::Refit, placement, gone, refit.create.clone()));
        }
        for new in &self.change.create {
            let parts = self.board.profiles[new.placement.profile].parts(&new.compute).to_vec();
            steps.push(of(Action::Create, new.placement, Vec::new(), parts));
        }
        steps
    }

    /// Compute slices of the compute instances that go from an instance that stays.
    pub fn compute_destroyed(&self, refit: &Refit) -> Vec<u32> {
        let compute = &self.present[refit.instance].compute;
        refit.destroy.iter().map(|&c| compute[c].slices).collect()
    }

    /// Whether the GPU must be reset for it.
    pub fn resets(&self) -> bool {
        self.mode.is_some_and(|mode| mode.reset)
    }

    /// Whether the mode that it is in changes, and not only what is pending.
    pub fn switches_mode(&self) -> bool {
        self.mode.is_some_and(|mode| mode.on != self.from.mig)
    }
}
