//! Carrying changes out, one driver call after the other, each announced before it is made.

use std::thread;
use std::time::Duration;

use super::driver::{Answer, Code, DriverError, InstanceId, MigDriver, Span};
use super::guard::{GpuChange, ModeChange};
use super::holders;
use crate::hardware::layout::Placement;
use crate::reconfigure::change::Create;

/// One change of the hardware, as journals, progress bars and machines see it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
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
}

/// The kinds of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
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
        Ok(())
    }
}

/// How long to wait before a call that was answered IN_USE is made again, try by try: monitoring
/// (DCGM, exporters) has been seen to hold instances for moments without being listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patience(pub Vec<Duration>);

impl Default for Patience {
    /// Three seconds in all.
    fn default() -> Patience {
        Patience([100, 200, 400, 800, 1500].map(Duration::from_millis).to_vec())
    }
}

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) step: Step,
    pub(super) why: String,
    pub(super) hint: Option<String>,
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.step, self.why)
    }
}

impl GpuChange {
    /// The steps in the order in which they are made.
    pub fn steps(&self) -> Vec<Step> {
        let step = |action, placement: Option<Placement>| Step {
            gpu: self.gpu,
            action,
            profile: placement.map(|p| self.board.profiles[p.profile].name.to_string()),
            start: placement.map(|p| p.start),
        };
        let of = |i: usize| Some(self.present[i].placement());
        let mut steps: Vec<Step> =
            self.change.destroy.iter().map(|&i| step(Action::Destroy, of(i))).collect();
        if let Some(mode) = self.mode {
            steps.push(step(if mode.on { Action::MigOn } else { Action::MigOff }, None));
            if mode.reset {
                steps.push(step(Action::Reset, None));
            }
        }
        steps.extend(self.change.refit.iter().map(|r| step(Action::Refit, of(r.instance))));
        steps.extend(self.change.create.iter().map(|c| step(Action::Create, Some(c.placement))));
        steps
    }

    fn instance(&self, index: usize) -> InstanceId {
        let instance = &self.present[index];
        InstanceId { gpu: self.gpu, profile_id: instance.profile_id, id: instance.id }
    }
}

/// When a step is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    Before,
    After,
}

/// Makes the changes of one GPU. `tell` hears of each step before it is made, and may stop
/// everything, and after it.
pub(super) fn execute(
    driver: &mut dyn MigDriver,
    change: &GpuChange,
    patience: &Patience,
    tell: &mut dyn FnMut(Moment, &Step) -> Result<(), String>,
) -> Result<(), Failed> {
    let mut destroy = change.change.destroy.iter();
    let mut refit = change.change.refit.iter();
    let mut create = change.change.create.iter();
    for step in change.steps() {
        let failed = |why: String| Failed { step: step.clone(), why, hint: None };
        tell(Moment::Before, &step).map_err(failed)?;
        let result = match step.action {
            Action::Destroy => destroy.next().map(|&i| destroy_all(driver, change, i, patience)),
            Action::Refit => refit.next().map(|refit| {
                let instance = change.instance(refit.instance);
                for &c in &refit.destroy {
                    let compute = change.present[refit.instance].compute[c].id;
                    patience.wait(|| driver.destroy_compute(instance, compute))?;
                }
                refit.create.iter().try_for_each(|&slices| driver.create_compute(instance, slices))
            }),
            Action::Create => create.next().map(|new| make(driver, change, new)),
            // What the mode really is shows after the reset, if there is one.
            Action::MigOn | Action::MigOff => {
                if let Some(mode) = change.mode {
                    set_mode(driver, change.gpu, mode, patience).map_err(|(why, hint)| Failed {
                        step: step.clone(),
                        why,
                        hint,
                    })?;
                }
                None
            }
            Action::Reset => {
                if let Some(mode) = change.mode {
                    reset(driver, change.gpu, mode).map_err(|(why, hint)| Failed {
                        step: step.clone(),
                        why,
                        hint,
                    })?;
                }
                None
            }
        };
        if let Some(Err(e)) = result {
            let hint = (e.code == Code::IN_USE).then(|| holders::hint(change.gpu)).flatten();
            let hint = hint
                .or_else(|| (e.code == Code::NO_PERMISSION).then(|| "run it as root".to_string()));
            return Err(Failed { step: step.clone(), why: e.to_string(), hint });
        }
        tell(Moment::After, &step).map_err(failed)?;
    }
    Ok(())
}

impl Patience {
    /// Makes a call, again and again while it answers IN_USE and patience lasts.
    fn wait<T>(&self, mut call: impl FnMut() -> Answer<T>) -> Answer<T> {
        let mut answer = call();
        for pause in &self.0 {
            match &answer {
                Err(DriverError { code: Code::IN_USE, .. }) => {
                    thread::sleep(*pause);
                    answer = call();
                }
                _ => break,
            }
        }
        answer
    }
}

fn destroy_all(
    driver: &mut dyn MigDriver,
    change: &GpuChange,
    index: usize,
    patience: &Patience,
) -> Answer<()> {
    let instance = change.instance(index);
    for compute in &change.present[index].compute {
        patience.wait(|| driver.destroy_compute(instance, compute.id))?;
    }
    patience.wait(|| driver.destroy_instance(instance))
}

fn make(driver: &mut dyn MigDriver, change: &GpuChange, new: &Create) -> Answer<()> {
    let profile = &change.board.profiles[new.placement.profile];
    let profile_id = match profile.profile_id {
        Some(id) => id,
        // Nobody had told the id, and the driver only does so once MIG is on.
        None => driver
            .profiles(change.gpu)?
            .into_iter()
            .find(|p| p.index == profile.nvml_index)
            .map(|p| p.id)
            .ok_or(DriverError {
                call: "nvmlDeviceGetGpuInstanceProfileInfo",
                code: Code::NOT_SUPPORTED,
            })?,
    };
    let span = Span { start: new.placement.start, size: profile.memory_slices };
    let id = driver.create_instance(change.gpu, profile_id, span)?;
    let instance = InstanceId { gpu: change.gpu, profile_id, id };
    new.compute.iter().try_for_each(|&slices| driver.create_compute(instance, slices))
}

type Because = (String, Option<String>);

/// Asks for the mode. Where no reset follows, it must be current afterwards.
fn set_mode(
    driver: &mut dyn MigDriver,
    gpu: u32,
    mode: ModeChange,
    patience: &Patience,
) -> Result<(), Because> {
    let told = |e: DriverError| {
        let hint = match e.code {
            Code::IN_USE => holders::hint(gpu),
            Code::NO_PERMISSION => Some("run it as root".to_string()),
            _ => None,
        };
        (e.to_string(), hint)
    };
    let mut pauses = patience.0.iter();
    loop {
        driver.set_mode(gpu, mode.on).map_err(told)?;
        let now = driver.mode(gpu).map_err(told)?;
        if mode.reset || now.is_some_and(|m| m.current == mode.on) {
            break;
        }
        // Accepted, but only pending: a client holds the GPU, perhaps for a moment.
        let Some(pause) = pauses.next() else {
            return Err((
                "the new mode is only pending: another client holds the GPU".to_string(),
                holders::hint(gpu),
            ));
        };
        thread::sleep(*pause);
    }
    if mode.pending != mode.on && !mode.reset {
        driver.set_mode(gpu, mode.pending).map_err(told)?;
    }
    Ok(())
}

fn reset(driver: &mut dyn MigDriver, gpu: u32, mode: ModeChange) -> Result<(), Because> {
    driver.reset(gpu).map_err(|why| {
        let hint = if holders::in_virtual_machine() {
            format!(
                "a virtual machine often cannot reset its GPU: set the mode with nvidia-smi -i {gpu} -mig {} and reboot",
                u8::from(mode.on)
            )
        } else {
            holders::hint(gpu)
                .unwrap_or_else(|| "nvidia-smi and the kernel log may say more".to_string())
        };
        (format!("the GPU was not reset: {why}"), Some(hint))
    })?;
    let now = driver.mode(gpu).map_err(|e| (e.to_string(), None))?;
    if now.is_some_and(|m| m.current == mode.on) {
        if mode.pending != mode.on {
            driver.set_mode(gpu, mode.pending).map_err(|e| (e.to_string(), None))?;
        }
        return Ok(());
    }
    Err((
        "the GPU was reset, but its MIG mode has not changed".to_string(),
        Some("the kernel log may say more; a reboot makes a pending mode current".to_string()),
    ))
}
