//! Carrying changes out, one driver call after the other, each announced before it is made.

use std::ops::Range;
use std::thread;
use std::time::Duration;

use super::driver::{Answer, Code, DriverError, InstanceId, MigDriver, Span};
use super::guard::{GpuChange, ModeChange};
use super::steps::{Action, Step};
use super::{holders, observe, tables};
use crate::fleet::observed::{MigMode, Process};
use crate::hardware::compute;
use crate::interrupt::Interrupt;
use crate::reconfigure::change::{Create, PresentCompute, PresentInstance, Refit};

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
    pub(super) step: Box<Step>,
    pub(super) why: String,
    pub(super) hint: Option<String>,
    /// Whether the driver answered that this user may not.
    pub(super) forbidden: bool,
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.step, self.why)
    }
}

impl GpuChange {
    fn instance(&self, index: usize) -> InstanceId {
        let instance = &self.present[index];
        let (profile_id, id, start) = (instance.profile_id, instance.id, instance.start);
        InstanceId { gpu: self.gpu, profile_id, id, start }
    }
}

/// Which steps of a change are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// All of them.
    Whole,
    /// Those before the first reset of any GPU: what goes, and the request for the mode.
    BeforeResets,
    /// The reset.
    Reset,
}

impl Part {
    fn has(self, action: Action) -> bool {
        match self {
            Part::Whole => true,
            Part::BeforeResets => {
                matches!(action, Action::Destroy | Action::MigOn | Action::MigOff)
            }
            Part::Reset => action == Action::Reset,
        }
    }
}

/// When a step is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    Before,
    After,
}

/// Makes the changes of one GPU, call by call.
pub(super) struct Executor<'a> {
    pub(super) driver: &'a mut dyn MigDriver,
    pub(super) patience: &'a Patience,
    /// Looked at before each call that changes something.
    pub(super) interrupt: &'a Interrupt,
    /// Whether to look, before anything is created, if the driver has it under the planned names: one
    /// that tells its profiles only once MIG is on may name them as the catalogue does not. A file asks
    /// for names; a saved state for what it was, however that is named now.
    pub(super) check_names: bool,
}

/// Why a call was not made, or failed.
enum Stopped {
    Driver(DriverError),
    Other(String, Option<String>),
}

impl Stopped {
    fn is_forbidden(&self) -> bool {
        matches!(self, Stopped::Driver(e) if e.code == Code::NO_PERMISSION)
    }
}

impl From<DriverError> for Stopped {
    fn from(error: DriverError) -> Stopped {
        Stopped::Driver(error)
    }
}

impl Executor<'_> {
    /// Makes a part of the steps. `tell` hears of each before it is made, and may stop everything, and
    /// after.
    pub(super) fn run(
        &mut self,
        change: &GpuChange,
        part: Part,
        tell: &mut dyn FnMut(Moment, &Step) -> Result<(), String>,
    ) -> Result<(), Failed> {
        let mut destroy = change.change.destroy.iter();
        let mut refit = change.change.refit.iter();
        let mut create = change.change.create.iter();
        let of_part = change.steps().into_iter().filter(|step| part.has(step.action));
        for (i, step) in of_part.enumerate() {
            if step.action == Action::Reset && self.has_mode(change) {
                continue;
            }
            let failed = |forbidden: bool, (why, hint)| Failed {
                step: Box::new(step.clone()),
                why,
                hint,
                forbidden,
            };
            if let Some(new) = create.as_slice().first().filter(|_| step.action == Action::Create)
                && self.is_there(change, new)
            {
                // Before the step is told of, since what is there is not ours.
                let why = "somebody else has just created it there".to_string();
                return Err(failed(false, (why, None)));
            }
            tell(Moment::Before, &step).map_err(|why| failed(false, (why, None)))?;
            let ready = self.is_planned(change).and_then(|()| match i {
                0 if part != Part::Reset => self.ready_for_mode(change),
                _ => Ok(()),
            });
            let ready = ready.and_then(|()| match (step.action, self.check_names) {
                (Action::Create, true) => {
                    self.check_names = false;
                    self.names_hold(change)
                }
                _ => Ok(()),
            });
            let done = ready.and_then(|()| match step.action {
                Action::Destroy => destroy.next().map_or(Ok(()), |&i| self.destroy(change, i)),
                Action::Refit => refit.next().map_or(Ok(()), |refit| self.refit(change, refit)),
                Action::Create => create.next().map_or(Ok(()), |new| self.create(change, new)),
                // What the mode really is shows after the reset, if there is one.
                Action::MigOn | Action::MigOff => {
                    change.mode.map_or(Ok(()), |mode| self.set_mode(change.gpu, mode))
                }
                Action::Reset => change.mode.map_or(Ok(()), |mode| self.reset(change, mode)),
            });
            done.map_err(|stopped| {
                failed(stopped.is_forbidden(), self.reason(change.gpu, stopped))
            })?;
            tell(Moment::After, &step).map_err(|why| failed(false, (why, None)))?;
        }
        Ok(())
    }

    /// Why a step failed, and what to do about it.
    fn reason(&mut self, gpu: u32, stopped: Stopped) -> (String, Option<String>) {
        match stopped {
            Stopped::Other(why, hint) => (why, hint),
            Stopped::Driver(e) => {
                let hint = match e.code {
                    Code::IN_USE => Some(self.in_use(gpu)),
                    Code::NO_PERMISSION => Some("run it as root".to_string()),
                    Code::UNINITIALIZED => Some(
                        "NVML has not started again after the reset; `nvidia-smi` and the kernel log may say more"
                            .to_string(),
                    ),
                    _ => None,
                };
                (e.to_string(), hint)
            }
        }
    }

    /// Whether the index still means the GPU that the change is planned for. A reset makes the driver
    /// list the GPUs anew: with one fewer, or in another order, each index after it is another GPU.
    fn is_planned(&mut self, change: &GpuChange) -> Result<(), Stopped> {
        let now = self.driver.uuid(change.gpu)?;
        if now == change.from.uuid {
            return Ok(());
        }
        Err(Stopped::Other(change.moved(&now), None))
    }

    /// Whether the GPU has the mode that a change brings, so that it needs no reset: that of another
    /// one may have taken it along.
    fn has_mode(&mut self, change: &GpuChange) -> bool {
        let is_planned = self.is_planned(change).is_ok();
        let now = self.driver.mode(change.gpu).ok().flatten();
        is_planned && change.mode.is_some_and(|mode| now == Some(MigMode::settled(mode.on)))
    }

    /// Whether a change of mode can work, as far as that shows: one that cannot must not cost an
    /// instance.
    fn ready_for_mode(&mut self, change: &GpuChange) -> Result<(), Stopped> {
        if change.resets() {
            let ready = self.driver.ready_to_reset(change.gpu);
            return ready.map_err(|why| Stopped::Other(why, None));
        }
        if !change.switches_mode() || change.change.destroy.is_empty() {
            return Ok(());
        }
        let device = self.driver.device_file(change.gpu);
        let mut holders = holders::against_a_mode(device.as_deref());
        for pause in &self.patience.0 {
            if holders.is_empty() {
                break;
            }
            self.go_on()?;
            thread::sleep(*pause);
            holders = holders::against_a_mode(device.as_deref());
        }
        match holders.is_empty() {
            true => Ok(()),
            false => Err(Stopped::Other(
                format!("its MIG mode cannot change: it is held open by {}", holders.join("; ")),
                Some("stop what holds it; --stop UNIT does that for systemd units".to_string()),
            )),
        }
    }

    /// Stops before the next call where a signal asks for it.
    fn go_on(&self) -> Result<(), Stopped> {
        match self.interrupt.signal() {
            None => Ok(()),
            Some(signal) => Err(Stopped::Other(format!("interrupted by {signal}"), None)),
        }
    }

    /// Makes a call, again and again while it answers IN_USE and patience lasts.
    fn patiently<T>(
        &mut self,
        mut call: impl FnMut(&mut dyn MigDriver) -> Answer<T>,
    ) -> Result<T, Stopped> {
        self.go_on()?;
        let mut answer = call(self.driver);
        for pause in &self.patience.0 {
            match &answer {
                Err(DriverError { code: Code::IN_USE, .. }) => {
                    self.go_on()?;
                    thread::sleep(*pause);
                    answer = call(self.driver);
                }
                _ => break,
            }
        }
        Ok(answer?)
    }

    fn destroy(&mut self, change: &GpuChange, index: usize) -> Result<(), Stopped> {
        let instance = change.instance(index);
        for compute in &change.present[index].compute {
            self.patiently(|driver| driver.destroy_compute(instance, compute.id))?;
        }
        self.patiently(|driver| driver.destroy_instance(instance))
    }

    fn refit(&mut self, change: &GpuChange, refit: &Refit) -> Result<(), Stopped> {
        let instance = change.instance(refit.instance);
        for &c in &refit.destroy {
            let compute = change.present[refit.instance].compute[c].id;
            self.patiently(|driver| driver.destroy_compute(instance, compute))?;
        }
        let present = PresentInstance::from(&change.present[refit.instance]).compute;
        let stay: Vec<PresentCompute> =
            (0..present.len()).filter(|i| !refit.destroy.contains(i)).map(|i| present[i]).collect();
        let profile = change.present[refit.instance].profile;
        self.create_computes(change, instance, profile, &stay, &refit.create)
    }

    /// The id of the profile of a new instance, and its place.
    fn place(&mut self, change: &GpuChange, new: &Create) -> Answer<(u32, Span)> {
        let profile = &change.board.profiles[new.placement.profile];
        let span = Span { start: new.placement.start, size: profile.memory_slices };
        if let Some(id) = profile.profile_id {
            return Ok((id, span));
        }
        // The id was not known, and the driver only tells it once MIG is on.
        let offered = self.driver.profiles(change.gpu)?;
        let told = offered.into_iter().find(|p| p.index == profile.nvml_index);
        let (call, code) = ("nvmlDeviceGetGpuInstanceProfileInfo", Code::NOT_SUPPORTED);
        told.map(|told| (told.id, span)).ok_or(DriverError { call, code })
    }

    /// Whether an instance that is to be created is there already. After the call it could not be told
    /// from our own: a call that fails may have taken effect.
    fn is_there(&mut self, change: &GpuChange, new: &Create) -> bool {
        let Ok((profile_id, span)) = self.place(change, new) else { return false };
        let there = self.driver.instances(change.gpu, profile_id);
        self.is_planned(change).is_ok() && there.is_ok_and(|all| all.iter().any(|i| i.span == span))
    }

    fn create(&mut self, change: &GpuChange, new: &Create) -> Result<(), Stopped> {
        let (profile_id, span) = self.place(change, new)?;
        self.go_on()?;
        let id = self.driver.create_instance(change.gpu, profile_id, span)?;
        let instance = InstanceId { gpu: change.gpu, profile_id, id, start: span.start };
        self.create_computes(change, instance, new.placement.profile, &[], &new.compute)
    }

    /// Whether the driver, now that MIG is on, has what is to be created under the planned names:
    /// looked at before anything is created.
    fn names_hold(&mut self, change: &GpuChange) -> Result<(), Stopped> {
        let offered = self.driver.profiles(change.gpu)?;
        for new in &change.change.create {
            let planned = &change.board.profiles[new.placement.profile];
            let told = offered.iter().find(|told| told.index == planned.nvml_index);
            let what = match told.map(tables::told_name) {
                // It may be too old to tell.
                _ if offered.is_empty() => continue,
                Some(name) if name.as_ref().is_none_or(|name| *name == planned.name) => continue,
                Some(Some(name)) => format!("the driver calls {} {name}", planned.name),
                _ => format!("the driver does not offer {}", planned.name),
            };
            return Err(Stopped::Other(
                format!("with MIG on, {what}"),
                Some(format!(
                    "this driver tells its profiles only with MIG on: turn it on by hand (nvidia-smi -i {} -mig 1), and write the names that `migplan status` shows",
                    change.gpu
                )),
            ));
        }
        Ok(())
    }

    /// Creates compute instances beside those that stay.
    fn create_computes(
        &mut self,
        change: &GpuChange,
        instance: InstanceId,
        profile: usize,
        stay: &[PresentCompute],
        new: &[u32],
    ) -> Result<(), Stopped> {
        let room = change.board.profiles[profile].compute_slices;
        let known: Vec<Range<u32>> = stay.iter().filter_map(PresentCompute::place).collect();
        // One that takes all of it has only one place, and where the others are must be known.
        let places = (new != [room] && known.len() == stay.len())
            .then(|| compute::arrange(room, &known, new))
            .flatten();
        let new: Vec<(u32, Option<u32>)> = match places {
            Some(places) => places.iter().map(|p| (p.end - p.start, Some(p.start))).collect(),
            None => new.iter().map(|&slices| (slices, None)).collect(),
        };
        for (slices, start) in new {
            self.go_on()?;
            self.driver.create_compute(instance, slices, start)?;
        }
        Ok(())
    }

    /// Asks for the mode. Where no reset follows, it must be current afterwards.
    fn set_mode(&mut self, gpu: u32, mode: ModeChange) -> Result<(), Stopped> {
        let mut pauses = self.patience.0.iter();
        loop {
            self.go_on()?;
            let activation = self.driver.set_mode(gpu, mode.asked())?;
            let now = self.driver.mode(gpu)?;
            if mode.reset || now.is_some_and(|m| m.current == mode.on) {
                break;
            }
            if activation == Code::RESET_REQUIRED {
                return Err(Stopped::Other(
                    "the new mode is only pending: the GPU needs a reset for it".to_string(),
                    Some(format!(
                        "its board is not known to need one: run nvidia-smi -i {gpu} -mig {} && nvidia-smi --gpu-reset -i {gpu} by hand, or describe the board with --catalogue",
                        u8::from(mode.on)
                    )),
                ));
            }
            // Accepted, but only pending: a client holds the GPU, perhaps for a moment.
            let Some(pause) = pauses.next() else {
                return Err(Stopped::Other(
                    "the new mode is only pending: another client holds the GPU".to_string(),
                    Some(self.in_use(gpu)),
                ));
            };
            thread::sleep(*pause);
        }
        Ok(())
    }

    fn reset(&mut self, change: &GpuChange, mode: ModeChange) -> Result<(), Stopped> {
        self.go_on()?;
        let gpu = change.gpu;
        if let Err(why) = self.driver.reset(gpu) {
            let hint = self.reset_hint(gpu, mode, &why);
            return Err(Stopped::Other(format!("the GPU was not reset: {why}"), Some(hint)));
        }
        self.is_planned(change)?;
        let now = self.driver.mode(gpu)?;
        // What shall be pending comes once no GPU is reset any more.
        if now.is_some_and(|m| m.current == mode.on) {
            return Ok(());
        }
        Err(Stopped::Other(
            "the GPU was reset, but its MIG mode has not changed".to_string(),
            Some("the kernel log may say more; a reboot makes a pending mode current".to_string()),
        ))
    }

    /// Who uses a GPU, after a call was answered IN_USE: the processes that the driver lists, or
    /// else what may hold it without being listed.
    fn in_use(&mut self, gpu: u32) -> String {
        let devices = self.driver.mig_devices(gpu).unwrap_or_default();
        let processes = self.driver.processes(gpu, &devices).unwrap_or_default();
        let mut names: Vec<String> = Vec::new();
        for process in processes {
            let name = observe::process_name(self.driver, process.pid);
            names.push(Process { pid: process.pid, name, used: None }.to_string());
        }
        if names.is_empty() {
            return holders::hint(gpu, self.driver.device_file(gpu).as_deref());
        }
        format!("GPU {gpu} runs {}; end what must go, and run it again", names.join(", "))
    }

    /// What to do about a reset that failed, by what the tool said of it.
    fn reset_hint(&mut self, gpu: u32, mode: ModeChange, said: &str) -> String {
        let said = said.to_lowercase();
        if said.contains("in use") {
            return holders::hint(gpu, self.driver.device_file(gpu).as_deref());
        }
        if said.contains("permission") {
            return "run it as root".to_string();
        }
        if said.contains("not supported") || said.contains("virtual machine") {
            let place =
                if holders::in_virtual_machine() { "in this virtual machine" } else { "from here" };
            return format!(
                "a reset is not possible {place}: set the mode with nvidia-smi -i {gpu} -mig {} and reboot",
                u8::from(mode.on)
            );
        }
        "run nvidia-smi --gpu-reset by hand; it and the kernel log may say more".to_string()
    }
}
