//! From what a node has and what it shall have to the changes, or to the reasons against them.
//! Pure: looks at values, touches nothing.

use crate::error::{Diagnostic, Error, ExitCode};
use crate::fleet::observed::{
    Instances, MigMode, ObservedGpu, ObservedInstance, ObservedNode, Process,
};
use crate::hardware::{Board, BoardRef};
use crate::mig_parted::WantedGpu;
use crate::reconfigure::change::{self, Blocked, Change, PresentInstance};

use super::state::{GpuState, InstanceState};

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
    /// Whether nothing speaks against its change of mode.
    pub permitted: bool,
}

/// How to change a GPU's MIG mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModeChange {
    /// The mode to reach.
    pub on: bool,
    /// The mode that shall be pending behind it; the same, except where an odd state is restored.
    pub pending: bool,
    /// Whether the GPU must be reset for it.
    pub reset: bool,
}

/// What to do to a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeChange {
    /// The GPUs that differ from what is wanted, by index.
    pub gpus: Vec<GpuChange>,
    /// GPUs that are as wanted already.
    pub unchanged: Vec<u32>,
    /// Why it must not be done; empty if it may.
    pub refusals: Vec<Diagnostic>,
    /// What to do about that.
    pub hint: Option<String>,
    /// GPUs whose instances cannot be seen, and why: what to do there is not known.
    pub hidden: Vec<(u32, String)>,
    /// GPUs that differ, but that this user may not change, and the call that says so.
    pub forbidden: Vec<(u32, String)>,
}

impl NodeChange {
    /// Whether the node is as wanted.
    pub fn is_empty(&self) -> bool {
        self.gpus.is_empty() && self.refusals.is_empty() && self.hidden.is_empty()
    }

    /// The refusal as an error (exit 7), if there is one.
    ///
    /// # Errors
    /// Every reason against the change.
    pub fn permitted(&self) -> Result<(), Error> {
        let hidden = self.hidden.iter().map(|(gpu, why)| {
            Diagnostic::new(format!("GPU {gpu}: its instances cannot be seen: {why}"))
        });
        let forbidden = self.forbidden.iter().map(|(gpu, why)| {
            Diagnostic::new(format!("GPU {gpu}: this user may not change it: {why}"))
        });
        let problems: Vec<Diagnostic> =
            hidden.chain(forbidden).chain(self.refusals.iter().cloned()).collect();
        if problems.is_empty() {
            return Ok(());
        }
        let as_root = || "run it as root; nothing was changed".to_string();
        let hint = Some(self.hint.clone().unwrap_or_else(as_root));
        Err(Error { code: ExitCode::Refused, problems, hint })
    }
}

/// Plans the change of a node to what a configuration wants. `may_reset`: whether GPUs may be
/// reset for their mode.
pub fn plan(node: &ObservedNode, wanted: &[WantedGpu], may_reset: bool) -> NodeChange {
    let mut result = NodeChange::default();
    for want in wanted {
        let Some(gpu) = node.gpus.iter().find(|g| g.index == want.gpu) else {
            result.refuse(Diagnostic::new(format!("GPU {} is gone", want.gpu)), None);
            continue;
        };
        let Some(mode) = gpu.mode else {
            // Asked to be without MIG, and it is.
            result.unchanged.push(gpu.index);
            continue;
        };
        if let Instances::Hidden { why, .. } = &gpu.instances {
            result.hide(gpu, why);
            continue;
        }
        let board = &want.board;
        let present: Vec<ObservedInstance> = gpu.known_instances().to_vec();
        let planned: Vec<PresentInstance> = present.iter().map(PresentInstance::from).collect();
        let change = if want.mig {
            change::plan(board, &planned, &want.instances, false)
        } else {
            clear(&planned)
        };
        let mode = mode_change(board, mode, want.mig, want.mig);
        let change = match change {
            Ok(change) => change,
            Err(blocked) => {
                result.block(gpu, board, &blocked);
                continue;
            }
        };
        let Some(from) = GpuState::of(gpu) else {
            result.hide(gpu, "its instances cannot be read");
            continue;
        };
        let to = state_after(gpu, board, &present, &change, want.mig, want.mig);
        let (index, board) = (gpu.index, board.clone());
        let permitted = true;
        result.add(
            gpu,
            GpuChange { gpu: index, board, mode, present, change, from, to, permitted },
            may_reset,
        );
    }
    result
}

/// Plans the way back to saved states. As [`plan`]; a GPU is found by its UUID.
pub fn plan_restore(node: &ObservedNode, states: &[GpuState], may_reset: bool) -> NodeChange {
    let mut result = NodeChange::default();
    for state in states {
        let Some(gpu) = node.gpus.iter().find(|g| g.uuid == state.uuid) else {
            let text = format!("GPU {} ({}) is not on this node", state.gpu, state.uuid);
            result.refuse(Diagnostic::new(text), None);
            continue;
        };
        if let Instances::Hidden { why, .. } = &gpu.instances {
            result.hide(gpu, why);
            continue;
        }
        let (Some(mode), Some(board), Some(from)) = (gpu.mode, &gpu.board, GpuState::of(gpu))
        else {
            let text = format!("GPU {} ({}) cannot do MIG any more", gpu.index, gpu.product);
            result.refuse(Diagnostic::new(text), None);
            continue;
        };
        let target = match state.creates(board) {
            Ok(target) => target,
            Err(message) => {
                result.refuse(Diagnostic::new(format!("GPU {}: {message}", gpu.index)), None);
                continue;
            }
        };
        let present: Vec<ObservedInstance> = gpu.known_instances().to_vec();
        let planned: Vec<PresentInstance> = present.iter().map(PresentInstance::from).collect();
        let change = change::restore(&planned, &target);
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
        if !busy.is_empty() {
            result.block_busy(gpu, board, &busy);
            continue;
        }
        let mode = mode_change(board, mode, state.mig, state.mig_pending);
        let to = GpuState { gpu: gpu.index, ..state.clone() };
        let (index, board) = (gpu.index, board.clone());
        let permitted = true;
        result.add(
            gpu,
            GpuChange { gpu: index, board, mode, present, change, from, to, permitted },
            may_reset,
        );
    }
    result
}

fn mode_change(board: &Board, now: MigMode, on: bool, pending: bool) -> Option<ModeChange> {
    if now.current == on && now.pending == pending {
        return None;
    }
    let reset = now.current != on && board.mode_change_needs_reset;
    Some(ModeChange { on, pending, reset })
}

/// Everything goes, for MIG mode to be turned off.
fn clear(present: &[PresentInstance]) -> Result<Change, Blocked> {
    let in_the_way: Vec<usize> = (0..present.len()).filter(|&i| present[i].is_busy()).collect();
    if in_the_way.is_empty() {
        return Ok(Change { destroy: (0..present.len()).collect(), ..Change::default() });
    }
    Err(Blocked::Busy { in_the_way, nearest: Vec::new(), missing: Vec::new() })
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
    fn refuse(&mut self, problem: Diagnostic, hint: Option<String>) {
        self.refusals.push(problem);
        self.hint = self.hint.take().or(hint);
    }

    fn hide(&mut self, gpu: &ObservedGpu, why: &str) {
        self.hidden.push((gpu.index, why.to_string()));
    }

    fn add(&mut self, gpu: &ObservedGpu, mut change: GpuChange, may_reset: bool) {
        if change.mode.is_none() && change.change.is_empty() {
            self.unchanged.push(gpu.index);
            return;
        }
        if let Some(mode) = change.mode
            && mode.on != change.from.mig
        {
            let before = self.refusals.len();
            self.judge_mode(gpu, mode, may_reset);
            change.permitted = self.refusals.len() == before;
        }
        if let Some(why) = &gpu.forbidden {
            self.forbidden.push((gpu.index, why.clone()));
        }
        self.gpus.push(change);
    }

    fn judge_mode(&mut self, gpu: &ObservedGpu, mode: ModeChange, may_reset: bool) {
        if !gpu.processes.is_empty() {
            let processes: Vec<String> = gpu.processes.iter().map(Process::to_string).collect();
            self.refuse(
                Diagnostic::new(format!(
                    "GPU {}: its MIG mode cannot change while it is in use by {}",
                    gpu.index,
                    processes.join(", ")
                )),
                Some(
                    "end what runs there, or drain the node, and run it again; nothing was changed"
                        .to_string(),
                ),
            );
        }
        if mode.reset && !may_reset {
            let word = if mode.on { "on" } else { "off" };
            self.refuse(
                Diagnostic::new(format!(
                    "GPU {} ({}): turning MIG {word} needs a reset of the GPU",
                    gpu.index, gpu.product
                )),
                Some(format!(
                    "run it again with --reset (it runs nvidia-smi --gpu-reset -i {0}; nothing may use the GPU), or do it by hand: nvidia-smi -i {0} -mig {1} && nvidia-smi --gpu-reset -i {0}; in a virtual machine that cannot reset its GPU, reboot instead. Nothing was changed",
                    gpu.index,
                    u8::from(mode.on)
                )),
            );
        }
    }

    fn block_busy(&mut self, gpu: &ObservedGpu, board: &Board, in_the_way: &[usize]) {
        for &i in in_the_way {
            let instance = &gpu.known_instances()[i];
            self.refuse(
                Diagnostic::new(holders(gpu.index, board, instance)),
                Some("end what runs there and run it again; nothing was changed".to_string()),
            );
        }
    }

    fn block(&mut self, gpu: &ObservedGpu, board: &Board, blocked: &Blocked) {
        match blocked {
            Blocked::Impossible => {
                let text = format!("GPU {}: no layout holds what is wanted", gpu.index);
                self.refuse(Diagnostic::new(text), None);
            }
            Blocked::Busy { in_the_way, nearest, missing } => {
                self.block_busy(gpu, board, in_the_way);
                let lacking: Vec<String> = missing
                    .iter()
                    .zip(&board.profiles)
                    .filter(|(n, _)| **n > 0)
                    .map(|(n, p)| format!("{n} × {}", p.name))
                    .collect();
                if !lacking.is_empty() {
                    let layout: Vec<String> = nearest
                        .iter()
                        .map(|p| format!("{}@{}", board.profiles[p.profile].name, p.start))
                        .collect();
                    self.hint = Some(format!(
                        "end what runs there and run it again; without that, the nearest on GPU {} is {}, which lacks {}. Nothing was changed",
                        gpu.index,
                        layout.join(" "),
                        lacking.join(", ")
                    ));
                }
            }
        }
    }
}
