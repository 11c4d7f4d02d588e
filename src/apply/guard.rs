//! From what a node has and what it shall have to the changes, or to the reasons against them.
//! Pure: looks at values, touches nothing.

use std::collections::BTreeMap;

use crate::error::{Diagnostic, Error, ExitCode};
use crate::fleet::observed::{
    Instances, MigDevice, MigMode, ObservedGpu, ObservedInstance, ObservedNode, Process,
};
use crate::hardware::layout::Placement;
use crate::hardware::{Board, BoardRef};
use crate::mig_parted::Resolved;
use crate::reconfigure::change::{self, Blocked, Change, Create, PresentInstance};

use super::state::{GpuState, InstanceState, Presence};
use super::tables;

/// What to do to one GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuChange {
    /// Its index.
    pub gpu: u32,
    /// Its board.
    pub board: BoardRef,
    /// The change of MIG mode, if one is needed.
    pub mode: Option<ModeChange>,
    /// The instances that it has, which [`Self::change`] refers to.
    pub present: Vec<ObservedInstance>,
    /// The change of instances.
    pub change: Change,
    /// The state that it is in.
    pub from: GpuState,
    /// The state that it will be in.
    pub to: GpuState,
    /// What speaks against it. A change that is not permitted is shown, not made.
    pub refused: Vec<Diagnostic>,
    /// What runs in what must go: until it ends, the change is not permitted.
    pub in_use_by: Vec<Process>,
    /// How many of [`Self::refused`] are about something that runs, and may end.
    busy: usize,
}

/// How to change a GPU's MIG mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModeChange {
    /// The mode to reach.
    pub on: bool,
    /// The mode that shall be pending behind it, once no GPU is reset any more; the same, except where
    /// an odd state is restored.
    pub pending: bool,
    /// Whether the GPU must be reset for it.
    pub reset: bool,
}

impl ModeChange {
    /// The mode to ask the driver for first.
    pub(super) fn asked(self) -> bool {
        if self.reset { self.on } else { self.pending }
    }
}

/// What to do to a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeChange {
    /// The GPUs that differ from what is wanted, by index.
    pub gpus: Vec<GpuChange>,
    /// GPUs that are as wanted already.
    pub unchanged: Vec<u32>,
    /// What speaks against it beside what [`GpuChange::refused`] says.
    pub refusals: Vec<Diagnostic>,
    /// What is done about instances in use.
    pub wait: Wait,
    /// GPUs whose instances cannot be seen, and why: what to do there is not known.
    pub hidden: Vec<(u32, String)>,
    /// GPUs that differ, but that this user may not change, and the call that says so.
    pub forbidden: Vec<(u32, String)>,
    /// GPUs of a saved state that are not changed back; they do not keep others from it.
    pub left: Vec<Left>,
    /// What to do about refusals that are not about something that runs.
    hint: Option<&'static str>,
    /// Whether some of [`Self::hidden`] are hidden because of this user's rights.
    rights_hide: bool,
    /// Whether GPUs need a reset, and it was not allowed.
    needs_reset: bool,
    /// What is possible while everything in use stays.
    nearest: Option<String>,
}

/// What is done about instances that are in use and must go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wait {
    /// They are a refusal; a run that waits for them is possible.
    #[default]
    Possible,
    /// They are a refusal, and the command has no way to wait.
    Impossible,
    /// They are waited for.
    Now,
    /// They were waited for: what is still in use is a refusal.
    Over,
}

/// A GPU of a saved state that is not changed back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Its index when the state was saved, or now where it can be read.
    pub gpu: u32,
    /// Its UUID.
    pub uuid: String,
    /// Why it is not.
    pub why: Why,
}

/// Why a GPU is not changed back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It is gone, because it was taken out or replaced: nothing of the node is left undone.
    Gone,
    /// It cannot be read.
    Unreadable(String),
    /// It is there, but is left as it is; a sentence.
    Refused(String),
}

impl Left {
    /// A sentence for people.
    pub fn diagnostic(&self) -> Diagnostic {
        let Left { gpu, uuid, why } = self;
        Diagnostic::new(match why {
            Why::Unreadable(why) => format!("GPU {gpu} ({uuid}) cannot be read: {why}"),
            Why::Gone => format!(
                "GPU {gpu} ({uuid}) is not on this node any more, so its state stays as it was saved"
            ),
            Why::Refused(why) => why.clone(),
        })
    }
}

impl NodeChange {
    /// Everything that speaks against it, whoever asks.
    pub fn against(&self) -> Vec<Diagnostic> {
        let of_gpus = self.gpus.iter().flat_map(|gpu| &gpu.refused);
        self.refusals.iter().chain(of_gpus).cloned().collect()
    }

    /// What it makes of the GPUs that it changes.
    pub(super) fn wanted(&self) -> Vec<GpuState> {
        self.gpus.iter().map(|gpu| gpu.to.clone()).collect()
    }

    /// How many things that run are in its way.
    pub(super) fn busy(&self) -> usize {
        self.gpus.iter().map(|gpu| gpu.busy).sum()
    }

    /// Whether nothing but busy instances is in the way, so that waiting may help.
    pub fn waits_for_busy(&self) -> bool {
        self.busy() > 0
            && self.busy() == self.against().len()
            && self.hidden.is_empty()
            && self.forbidden.is_empty()
    }

    /// Whether the node is as wanted.
    pub fn is_empty(&self) -> bool {
        self.gpus.is_empty() && self.refusals.is_empty() && self.hidden.is_empty()
    }

    /// The refusal as an error (exit 7), if there is one.
    ///
    /// # Errors
    /// Every reason against the change.
    pub fn permitted(&self) -> Result<(), Error> {
        let forbidden = self.forbidden.iter().map(|(gpu, why)| {
            Diagnostic::new(format!("GPU {gpu}: this user may not change it: {why}"))
        });
        self.refused(self.unseen().chain(forbidden).chain(self.against()).collect())
    }

    /// The same for somebody who may see and change everything.
    ///
    /// # Errors
    /// Every other reason against the change.
    pub fn permitted_to_root(&self) -> Result<(), Error> {
        self.refused(self.against())
    }

    /// GPUs that may differ, and that nobody can tell: each a sentence.
    pub fn unseen(&self) -> impl Iterator<Item = Diagnostic> {
        self.hidden.iter().map(|(gpu, why)| unseen(*gpu, why))
    }

    fn refused(&self, problems: Vec<Diagnostic>) -> Result<(), Error> {
        if problems.is_empty() {
            return Ok(());
        }
        Err(Error { code: ExitCode::Refused, problems, hint: Some(self.hint()) })
    }

    /// What to do about a refusal.
    fn hint(&self) -> String {
        if self.needs_reset {
            return reset_hint(self.gpus.iter().filter(|gpu| gpu.resets()));
        }
        if let Some(hint) = self.hint {
            return hint.to_string();
        }
        if self.busy() == 0 {
            return match self.rights_hide || !self.forbidden.is_empty() {
                true => "run it as root; nothing was changed".to_string(),
                false => {
                    "`migplan status` shows what this node has; nothing was changed".to_string()
                }
            };
        }
        let end = match self.wait {
            Wait::Possible | Wait::Now => {
                "end what runs there, drain the node, or let --wait wait for it"
            }
            Wait::Over => "end what runs there, drain the node, or wait longer with --wait",
            Wait::Impossible => "end what runs there, or drain the node",
        };
        match &self.nearest {
            None => format!("{end}; nothing was changed"),
            Some(nearest) => format!("{end}; without that, {nearest}. Nothing was changed"),
        }
    }
}

fn unseen(gpu: u32, why: &str) -> Diagnostic {
    Diagnostic::new(format!("GPU {gpu}: its instances cannot be seen: {why}"))
}

/// Plans the change of a node to what a configuration wants. `may_reset`: whether GPUs may be
/// reset for their mode.
pub fn plan(node: &ObservedNode, wanted: &Resolved, may_reset: bool) -> NodeChange {
    let mut result = NodeChange::default();
    for gpu in node.unreadable.iter().filter(|gpu| wanted.unreadable.contains(&gpu.index)) {
        result.refuse(
            Diagnostic::new(gpu.to_string()),
            Some("a file without an entry for that GPU changes the others; nothing was changed"),
        );
    }
    for want in &wanted.unknown {
        let Some((gpu, mode)) = result.with_mig(node, want.gpu) else { continue };
        let as_wanted = match &gpu.instances {
            _ if !want.mig => mode == MigMode::settled(false),
            Instances::Hidden { devices, .. } => {
                let mut counts: BTreeMap<String, u64> = BTreeMap::new();
                names(devices).into_iter().for_each(|name| *counts.entry(name).or_default() += 1);
                mode == MigMode::settled(true) && counts == want.names
            }
            Instances::Known(_) => false,
        };
        match (&gpu.instances, &gpu.forbidden) {
            _ if as_wanted => result.unchanged.push(gpu.index),
            (Instances::Hidden { why, .. }, _) | (_, Some(why)) => result.hide(gpu, why),
            _ => result.hide(gpu, "its profiles are not known"),
        }
    }
    for want in &wanted.gpus {
        let Some((gpu, mode)) = result.with_mig(node, want.gpu) else { continue };
        if let Instances::Hidden { why, devices } = &gpu.instances {
            if want.mig && mode == MigMode::settled(true) && names(devices) == want.names() {
                result.unchanged.push(gpu.index);
            } else {
                result.hide(gpu, why);
            }
            continue;
        }
        let board = &want.board;
        let Some(from) = GpuState::of(gpu) else {
            result.hide(gpu, "its instances cannot be read");
            continue;
        };
        let present: Vec<ObservedInstance> = gpu.known_instances().to_vec();
        let planned: Vec<PresentInstance> = present.iter().map(PresentInstance::from).collect();
        let change = if want.mig {
            change::plan_any(board, &planned, &want.packings, false)
        } else {
            clear(&planned)
        };
        let mode = mode_change(board, mode, want.mig, want.mig);
        let (change, busy) = match change {
            Ok(change) => (change, Vec::new()),
            Err(Blocked::Busy { change, in_the_way, nearest, missing }) => {
                result.suggest(gpu, board, &nearest, &missing);
                (*change, in_the_way)
            }
            Err(Blocked::Impossible) => {
                let text = format!("GPU {}: no layout holds what is wanted", gpu.index);
                result.refuse(Diagnostic::new(text), None);
                continue;
            }
        };
        let to = state_after(gpu, board, &present, &change, want.mig, want.mig);
        let board = board.clone();
        result.add(gpu, GpuChange::new(board, mode, present, change, from, to), &busy, may_reset);
    }
    result.unchanged.sort_unstable();
    result
}

/// Plans the way back to saved states. As [`plan`]; a GPU is found by its UUID. `anew`: see
/// [`change::restore`].
pub fn plan_restore(
    node: &ObservedNode,
    states: &[GpuState],
    may_reset: bool,
    anew: bool,
) -> NodeChange {
    let mut result = NodeChange { wait: Wait::Impossible, ..NodeChange::default() };
    for state in states {
        let gpu = match here(state, node) {
            Ok(gpu) => gpu,
            Err(left) => {
                result.left.push(left);
                continue;
            }
        };
        if let (Instances::Hidden { why, .. }, Some(_)) = (&gpu.instances, &gpu.forbidden) {
            result.hide(gpu, why);
            continue;
        }
        let (board, mode, from, target) = match way_back(gpu, state) {
            Ok(found) => found,
            Err(why) => {
                result.leave(gpu.index, &gpu.uuid, Why::Refused(why));
                continue;
            }
        };
        let present: Vec<ObservedInstance> = gpu.known_instances().to_vec();
        let planned: Vec<PresentInstance> = present.iter().map(PresentInstance::from).collect();
        let change = change::restore(&board, &planned, &target, anew);
        let busy: Vec<usize> = change
            .destroy
            .iter()
            .copied()
            .filter(|&i| planned[i].is_busy())
            .chain(
                change
                    .refit
                    .iter()
                    .filter(|r| r.destroy.iter().any(|&c| planned[r.instance].compute[c].busy))
                    .map(|r| r.instance),
            )
            .collect();
        // What is pending is a state of its own only where it waits for a reset.
        let pending = if board.mode_change_needs_reset { state.mig_pending } else { state.mig };
        let mode = match state.has_mode_of(gpu) {
            true => None,
            false => mode_change(&board, mode, state.mig, pending),
        };
        let to = GpuState { gpu: gpu.index, ..state.clone() };
        result.add(gpu, GpuChange::new(board, mode, present, change, from, to), &busy, may_reset);
    }
    result
}

/// The GPU of a state, or why it cannot be looked at.
pub(super) fn here<'n>(state: &GpuState, node: &'n ObservedNode) -> Result<&'n ObservedGpu, Left> {
    let why = match state.find(node) {
        Presence::Here(gpu) => return Ok(gpu),
        Presence::Unreadable(gpu) => Why::Unreadable(gpu.why.clone()),
        Presence::Gone => Why::Gone,
    };
    Err(Left { gpu: state.gpu, uuid: state.uuid.clone(), why })
}

/// How GPUs differ from the states that they should be in, each a sentence.
pub(super) fn differences(node: &ObservedNode, wanted: &[GpuState]) -> Vec<String> {
    let mut wrong = Vec::new();
    for state in wanted {
        match here(state, node) {
            Err(left) => wrong.push(left.diagnostic().message),
            Ok(gpu) if state.is_state_of(gpu) => {}
            Ok(gpu) => {
                let is = GpuState::of(gpu)
                    .map_or_else(|| "cannot be seen".to_string(), |s| format!("is {s}"));
                wrong.push(format!("GPU {} {is}, where it should be {state}", gpu.index));
            }
        }
    }
    wrong
}

/// That the index of a state means the GPU `now` by this time, in a sentence.
pub(super) fn moved(state: &GpuState, now: &str) -> String {
    format!("the GPUs have moved: GPU {} is {now}, no longer {}", state.gpu, state.uuid)
}

/// What is needed to bring a GPU back to a state, or why that cannot be; in a sentence.
fn way_back(
    gpu: &ObservedGpu,
    state: &GpuState,
) -> Result<(BoardRef, MigMode, GpuState, Vec<Create>), String> {
    if let Instances::Hidden { why, .. } = &gpu.instances {
        return Err(unseen(gpu.index, why).message);
    }
    let (Some(mode), Some(from)) = (gpu.mode, GpuState::of(gpu)) else {
        return Err(format!("GPU {} ({}) cannot do MIG any more", gpu.index, gpu.product));
    };
    let board = tables::with_saved(gpu, state);
    let target = state.creates(&board).map_err(|why| {
        let index = gpu.index;
        match gpu.profiles_told || mode.current {
            true => format!("GPU {index}: {why}"),
            false => format!(
                "GPU {index}: {why}, as far as is known with MIG off: turn it on by hand (nvidia-smi -i {index} -mig 1)"
            ),
        }
    })?;
    Ok((board, mode, from, target))
}

impl GpuChange {
    fn new(
        board: BoardRef,
        mode: Option<ModeChange>,
        present: Vec<ObservedInstance>,
        change: Change,
        from: GpuState,
        to: GpuState,
    ) -> GpuChange {
        let (gpu, refused, in_use_by) = (to.gpu, Vec::new(), Vec::new());
        GpuChange { gpu, board, mode, present, change, from, to, refused, in_use_by, busy: 0 }
    }

    /// Whether nothing on the GPU speaks against it.
    pub fn permitted(&self) -> bool {
        self.refused.is_empty()
    }

    fn refuse_busy(&mut self, problem: Diagnostic) {
        self.busy += 1;
        self.refused.push(problem);
    }

    /// Why it cannot be made to the GPU as a later reading has it, if it cannot: a sentence.
    pub(super) fn against(&self, now: &ObservedGpu) -> Option<String> {
        let gpu = self.gpu;
        if now.uuid != self.from.uuid {
            return Some(self.moved(&now.uuid));
        }
        if !self.is_planned_for(now) {
            return Some(format!("GPU {gpu} is not as it was a moment ago"));
        }
        let mut running: Vec<String> = Vec::new();
        for name in self.running(now).into_iter().map(Process::to_string) {
            if !running.contains(&name) {
                running.push(name);
            }
        }
        let runs = || format!("GPU {gpu}: {} runs in what must go", running.join(", "));
        (!running.is_empty()).then(runs)
    }

    /// `the GPUs have moved: GPU 0 is GPU-…`: what the index means now is another GPU.
    pub(super) fn moved(&self, now: &str) -> String {
        moved(&self.from, now)
    }

    /// Whether the GPU is as it was, and its instances are the same ones.
    fn is_planned_for(&self, now: &ObservedGpu) -> bool {
        let id = |i: &ObservedInstance| {
            let computes: Vec<u32> = i.compute.iter().map(|c| c.id).collect();
            (i.id, i.profile_id, i.start, computes)
        };
        self.from.is_state_of(now)
            && self.present.iter().map(id).eq(now.known_instances().iter().map(id))
    }

    /// What runs in what must go, in a later reading of the GPU, or on all of it where its mode
    /// changes. What runs in what stays is nothing against it.
    fn running<'n>(&self, now: &'n ObservedGpu) -> Vec<&'n Process> {
        let at = |i: usize| now.known_instances().iter().find(|n| n.id == self.present[i].id);
        let destroyed = self.change.destroy.iter().filter_map(|&i| at(i));
        let refitted = self.change.refit.iter().flat_map(|refit| {
            let gone = refit.destroy.iter().map(|&c| self.present[refit.instance].compute[c].id);
            let computes = at(refit.instance).map_or(&[][..], |instance| &instance.compute);
            gone.filter_map(|id| computes.iter().find(move |c| c.id == id))
        });
        let whole = self.switches_mode().then_some(&now.processes).into_iter().flatten();
        let inside = destroyed.flat_map(ObservedInstance::processes);
        inside.chain(refitted.flat_map(|compute| &compute.processes)).chain(whole).collect()
    }
}

pub(super) fn mode_change(
    board: &Board,
    now: MigMode,
    on: bool,
    pending: bool,
) -> Option<ModeChange> {
    if now.current == on && now.pending == pending {
        return None;
    }
    let reset = now.current != on && board.mode_change_needs_reset;
    Some(ModeChange { on, pending, reset })
}

/// The names of MIG devices as a file would list them, sorted.
fn names(devices: &[MigDevice]) -> Vec<String> {
    let name = |d: &MigDevice| d.profile.as_ref().map_or("?".to_string(), ToString::to_string);
    let mut names: Vec<String> = devices.iter().map(name).collect();
    names.sort();
    names
}

/// Everything goes, for MIG mode to be turned off.
fn clear(present: &[PresentInstance]) -> Result<Change, Blocked> {
    let change = Change { destroy: (0..present.len()).collect(), ..Change::default() };
    let in_the_way: Vec<usize> = (0..present.len()).filter(|&i| present[i].is_busy()).collect();
    if in_the_way.is_empty() {
        return Ok(change);
    }
    Err(Blocked::Busy {
        change: Box::new(change),
        in_the_way,
        nearest: Vec::new(),
        missing: Vec::new(),
    })
}

fn state_after(
    gpu: &ObservedGpu,
    board: &Board,
    present: &[ObservedInstance],
    change: &Change,
    mig: bool,
    mig_pending: bool,
) -> GpuState {
    let kept = change
        .keep
        .iter()
        .map(|&i| InstanceState::new(board, present[i].placement(), present[i].shape().compute));
    let refitted = change.refit.iter().map(|refit| {
        let instance = &present[refit.instance];
        let mut compute: Vec<u32> = (0..)
            .zip(&instance.compute)
            .filter(|(i, _)| !refit.destroy.contains(i))
            .map(|(_, c)| c.slices)
            .chain(refit.create.iter().copied())
            .collect();
        compute.sort_unstable_by(|a, b| b.cmp(a));
        InstanceState::new(board, instance.placement(), compute)
    });
    let made =
        change.create.iter().map(|c| InstanceState::new(board, c.placement, c.compute.clone()));
    let mut instances: Vec<InstanceState> = kept.chain(refitted).chain(made).collect();
    instances.sort();
    GpuState { gpu: gpu.index, uuid: gpu.uuid.clone(), mig, mig_pending, instances }
}

/// `1g.10gb at slice 5 (GPU instance 9) is held by python (pid 4711)`.
fn holders(gpu: u32, board: &Board, instance: &ObservedInstance) -> String {
    let processes: Vec<String> = instance.processes().map(Process::to_string).collect();
    format!(
        "GPU {gpu}: {} at memory slice {} (GPU instance {}) is in use by {}",
        board.profiles[instance.profile].name,
        instance.start,
        instance.id,
        processes.join(", ")
    )
}

impl NodeChange {
    /// What a dry run cannot show, or this user cannot do: each a sentence.
    pub(super) fn not_seen(&self, node: &ObservedNode, wanted: &Resolved) -> Vec<Diagnostic> {
        let mut notes = Vec::new();
        for (index, why) in &self.hidden {
            let gpu = node.gpus.iter().find(|g| g.index == *index);
            let want = wanted.gpus.iter().find(|w| w.gpu == *index);
            let (Some(Instances::Hidden { devices, .. }), Some(want)) =
                (gpu.map(|g| &g.instances), want)
            else {
                notes.push(Diagnostic::new(format!(
                    "GPU {index}: what would change cannot be seen: {why}"
                )));
                continue;
            };
            let list = |names: Vec<String>| {
                if names.is_empty() { "no instances".to_string() } else { names.join(" ") }
            };
            let wants = if want.mig { list(want.names()) } else { "MIG off".to_string() };
            notes.push(Diagnostic::new(format!(
                "GPU {index}: has {}, and {wants} is wanted; where and what would change cannot be seen: {why}",
                list(names(devices))
            )));
        }
        for (gpu, why) in &self.forbidden {
            notes.push(Diagnostic::new(format!("GPU {gpu}: this user may not change it: {why}")));
        }
        notes
    }

    /// Refuses a reset that cannot work.
    pub(super) fn refuse_reset(&mut self, gpu: u32, why: &str) {
        self.refuse_gpu(
            gpu,
            Diagnostic::new(format!("GPU {gpu} cannot be reset for its MIG mode: {why}")),
            "stop what holds it (--stop UNIT does that for systemd units), or set the mode with nvidia-smi -mig and reboot; nothing was changed",
        );
    }

    /// Refuses the change of one GPU.
    pub(super) fn refuse_gpu(&mut self, gpu: u32, problem: Diagnostic, hint: &'static str) {
        for change in self.gpus.iter_mut().filter(|change| change.gpu == gpu) {
            change.refused.push(problem.clone());
        }
        self.hint = self.hint.or(Some(hint));
    }

    /// Leaves GPUs as they are whose change is refused, so that the others can be changed.
    pub(super) fn leave_refused(&mut self) {
        let gpus = std::mem::take(&mut self.gpus).into_iter();
        let (go, stay): (Vec<GpuChange>, Vec<GpuChange>) = gpus.partition(GpuChange::permitted);
        self.gpus = go;
        for change in stay {
            let why: Vec<String> = change.refused.iter().map(ToString::to_string).collect();
            self.leave(change.gpu, &change.from.uuid, Why::Refused(why.join("; ")));
        }
        (self.hint, self.needs_reset) = (None, false);
    }

    fn leave(&mut self, gpu: u32, uuid: &str, why: Why) {
        self.left.push(Left { gpu, uuid: uuid.to_string(), why });
    }

    /// A GPU of which something is wanted, and its mode; a refusal where it is gone. Nothing is
    /// wanted of one that cannot do MIG.
    fn with_mig<'n>(
        &mut self,
        node: &'n ObservedNode,
        gpu: u32,
    ) -> Option<(&'n ObservedGpu, MigMode)> {
        let found = node.gpus.iter().find(|g| g.index == gpu);
        let found = found.and_then(|gpu| Some((gpu, gpu.mode?)));
        if found.is_none() {
            self.refuse(Diagnostic::new(format!("GPU {gpu} is gone")), None);
        }
        found
    }

    fn refuse(&mut self, problem: Diagnostic, hint: Option<&'static str>) {
        self.refusals.push(problem);
        self.hint = self.hint.or(hint);
    }

    fn hide(&mut self, gpu: &ObservedGpu, why: &str) {
        self.hidden.push((gpu.index, why.to_string()));
        self.rights_hide |= gpu.forbidden.is_some();
    }

    /// `busy`: the present instances that must go and are in use.
    fn add(&mut self, gpu: &ObservedGpu, mut change: GpuChange, busy: &[usize], may_reset: bool) {
        if change.mode.is_none() && change.change.is_empty() {
            self.unchanged.push(gpu.index);
            return;
        }
        for &i in busy {
            let instance = &change.present[i];
            let problem = Diagnostic::new(holders(gpu.index, &change.board, instance));
            change.in_use_by.extend(instance.processes().cloned());
            change.refuse_busy(problem);
        }
        if let Some(mode) = change.mode.filter(|_| change.switches_mode()) {
            self.judge_mode(gpu, &mut change, mode, may_reset);
            change.in_use_by.extend(gpu.processes.iter().cloned());
        }
        if let Some(why) = &gpu.forbidden {
            self.forbidden.push((gpu.index, why.clone()));
        }
        self.gpus.push(change);
    }

    fn judge_mode(
        &mut self,
        gpu: &ObservedGpu,
        change: &mut GpuChange,
        mode: ModeChange,
        may_reset: bool,
    ) {
        if !gpu.processes.is_empty() {
            let processes: Vec<String> = gpu.processes.iter().map(Process::to_string).collect();
            change.refuse_busy(Diagnostic::new(format!(
                "GPU {}: its MIG mode cannot change while it is in use by {}",
                gpu.index,
                processes.join(", ")
            )));
        }
        if mode.reset && !may_reset {
            let word = if mode.on { "on" } else { "off" };
            change.refused.push(Diagnostic::new(format!(
                "GPU {} ({}): turning MIG {word} needs a reset of the GPU",
                gpu.index, gpu.product
            )));
            self.needs_reset = true;
        }
    }

    /// Notes what is possible beside what is in use, where that is less than is wanted.
    fn suggest(
        &mut self,
        gpu: &ObservedGpu,
        board: &Board,
        nearest: &[Placement],
        missing: &[u32],
    ) {
        let lacking: Vec<String> = missing
            .iter()
            .zip(&board.profiles)
            .filter(|(n, _)| **n > 0)
            .map(|(n, p)| format!("{n} × {}", p.name))
            .collect();
        if lacking.is_empty() {
            return;
        }
        let layout: Vec<String> = nearest
            .iter()
            .map(|p| format!("{}@{}", board.profiles[p.profile].name, p.start))
            .collect();
        self.nearest = Some(format!(
            "GPU {} can have {} but not {}",
            gpu.index,
            layout.join(" "),
            lacking.join(", ")
        ));
    }
}

/// How to allow the resets of GPUs, or to make them by hand.
fn reset_hint<'c>(changes: impl Iterator<Item = &'c GpuChange>) -> String {
    let (mut all, mut on, mut off) = (Vec::new(), Vec::new(), Vec::new());
    for change in changes {
        all.push(change.gpu.to_string());
        if change.to.mig { &mut on } else { &mut off }.push(change.gpu.to_string());
    }
    let modes: String = [(1, on), (0, off)]
        .iter()
        .filter(|(_, gpus)| !gpus.is_empty())
        .map(|(mode, gpus)| format!("nvidia-smi -i {} -mig {mode} && ", gpus.join(",")))
        .collect();
    format!(
        "run it again with --reset (it runs nvidia-smi --gpu-reset; nothing may use the GPU), or do it by hand: {modes}nvidia-smi --gpu-reset -i {}; in a virtual machine that cannot reset its GPU, reboot instead. Nothing was changed",
        all.join(",")
    )
}
