//! Changing a node: observe → guard → execute → verify, and back where anything goes wrong.
//!
//! Everything is written against [`MigDriver`]; only [`nvml`] knows the real library. This room
//! knows boards, observed nodes, wanted GPUs and changes; it knows nothing of demand, plans or the
//! optimiser, and prints nothing: it tells what happens by events.
//!
//! What keeps running work safe: [`guard`] refuses any change that would end a busy instance, the
//! node is read again right before the first change, what stays is never destroyed, and the driver
//! itself refuses to destroy what is in use. What keeps the node whole: [`journal`] saves the state
//! before the first change, the result is read back, and any failure leads back to that state.

pub mod driver;
pub mod execute;
pub mod guard;
mod holders;
pub mod journal;
#[cfg(feature = "nvml")]
pub mod nvml;
pub mod observe;
pub mod state;
mod tables;

use crate::error::{Diagnostic, Error, ExitCode, Result};
use crate::fleet::observed::{ObservedGpu, ObservedNode};
use crate::hardware::Catalogue;

pub use driver::MigDriver;
pub use execute::{Action, Patience, Step};
pub use guard::{GpuChange, NodeChange};
pub use journal::{DEFAULT_STATE_DIR, StateDir};
#[cfg(feature = "nvml")]
pub use nvml::NvmlDriver;
pub use state::GpuState;

use execute::Moment;
use journal::{End, Saved};
use state::InstanceState;

/// What happens while a node changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A step begins.
    Begin(&'a Step),
    /// A step is done.
    Done(&'a Step),
    /// Something went wrong; the way back begins.
    Failed(&'a str),
}

/// How to change a node.
#[derive(Debug, Clone, Default)]
pub struct ApplyOptions {
    /// Whether GPUs may be reset for their mode.
    pub reset: bool,
    /// How long to wait for clients to let go.
    pub patience: Patience,
}

/// All that is needed to change a node.
pub struct Changer<'a> {
    /// The node's driver.
    pub driver: &'a mut dyn MigDriver,
    /// The boards.
    pub catalogue: &'a Catalogue,
    /// How to change it.
    pub options: ApplyOptions,
    /// Is told what happens.
    pub tell: &'a mut dyn FnMut(Event<'_>),
}

impl Changer<'_> {
    /// Makes a planned change, reads it back, and undoes it where anything fails.
    ///
    /// `node` is what the change was planned from; `source` says for people what is applied.
    ///
    /// # Errors
    /// The change is not permitted, or the node is not as it was (7, nothing touched); the change
    /// failed and the state before is there again (8); the change failed, and so did the way back
    /// (9), with what is left.
    pub fn apply(
        &mut self,
        node: &ObservedNode,
        change: &NodeChange,
        state_dir: &StateDir,
        source: &str,
    ) -> Result<()> {
        change.permitted()?;
        let now = observe::agree(self.driver, self.catalogue, node)?;
        observe::still_idle(node, &now)?;
        let interrupted = state_dir.last()?.and_then(|saved| still_half_way(saved, &now));
        let from: Vec<GpuState> = change.gpus.iter().map(|c| c.from.clone()).collect();
        let to: Vec<GpuState> = change.gpus.iter().map(|c| c.to.clone()).collect();
        // What an interrupted run has left is no state to go back to; the one before it is.
        let (before, others) = match &interrupted {
            Some(saved) => (joined(&saved.before, &from), [&to[..], &from, &saved.others].concat()),
            None => (from.clone(), to.clone()),
        };
        let mut journal = state_dir.begin(source, &before, &others)?;
        let mut failure: Option<(String, Option<String>)> = None;
        for gpu in &change.gpus {
            let tell = &mut self.tell;
            let mut hook = |moment, step: &Step| match moment {
                Moment::Before => {
                    tell(Event::Begin(step));
                    journal.doing(&step.to_string()).map_err(|e| format!("the journal: {e}"))
                }
                Moment::After => {
                    tell(Event::Done(step));
                    Ok(())
                }
            };
            let patience = &self.options.patience;
            if let Err(failed) = execute::execute(self.driver, gpu, patience, &mut hook) {
                failure = Some((failed.to_string(), failed.hint));
                break;
            }
        }
        if failure.is_none() {
            failure = self.verify(&to).err().map(|why| (why, None));
        }
        let Some((why, hint)) = failure else {
            // The node is as wanted, whether or not this last line can be written.
            let _ = journal.end(End::Applied);
            return Ok(());
        };
        (self.tell)(Event::Failed(&why));
        match self.restore(&from) {
            Ok(()) => {
                // An interrupted run before this one is still not undone.
                if interrupted.is_none() {
                    let _ = journal.end(End::RolledBack);
                }
                let mut error = Error::new(ExitCode::RolledBack, why);
                error.problems.push(Diagnostic::new("the state before is there again"));
                error.hint = hint;
                Err(error)
            }
            Err(left) => Err(incomplete(why, left, hint)),
        }
    }

    /// Goes back to the state before the last run, as [`guard::plan_restore`] planned it.
    ///
    /// # Errors
    /// It is not permitted, or the node is not as it was when this was planned (7, nothing
    /// touched); the state cannot be reached (9), with what is left.
    pub fn roll_back(
        &mut self,
        node: &ObservedNode,
        change: &NodeChange,
        saved: &Saved,
        state_dir: &StateDir,
    ) -> Result<()> {
        change.permitted()?;
        let now = observe::agree(self.driver, self.catalogue, node)?;
        observe::still_idle(node, &now)?;
        match self.restore(&saved.before) {
            Ok(()) => {
                let _ = state_dir.note(End::RolledBack);
                Ok(())
            }
            Err(left) => Err(incomplete("the rollback failed".to_string(), left, None)),
        }
    }

    /// Reads the node back and compares. One failed reading is repeated: it changes nothing.
    fn verify(&mut self, wanted: &[GpuState]) -> std::result::Result<(), String> {
        let (node, _) = observe::read(self.driver, self.catalogue)
            .or_else(|_| observe::read(self.driver, self.catalogue))
            .map_err(|e| format!("the result cannot be read back: {e}"))?;
        let wrong = differences(&node, wanted);
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
    }

    /// Brings GPUs back to saved states, as far as that goes: each as far as possible, whatever
    /// happens to the others.
    fn restore(&mut self, states: &[GpuState]) -> std::result::Result<(), Vec<String>> {
        let mut left: Vec<String> = Vec::new();
        for _ in 0..ATTEMPTS {
            let node = match observe::read(self.driver, self.catalogue) {
                Ok((node, _)) => node,
                Err(e) => {
                    left = vec![format!("the node cannot be read: {e}")];
                    continue;
                }
            };
            left = differences(&node, states);
            if left.is_empty() {
                return Ok(());
            }
            let plan = guard::plan_restore(&node, states, self.options.reset);
            left.extend(plan.refusals.iter().map(ToString::to_string));
            for change in plan.gpus.iter().filter(|c| c.permitted) {
                let tell = &mut self.tell;
                let mut hook = |moment, step: &Step| {
                    tell(match moment {
                        Moment::Before => Event::Begin(step),
                        Moment::After => Event::Done(step),
                    });
                    Ok(())
                };
                let patience = &self.options.patience;
                if let Err(failed) = execute::execute(self.driver, change, patience, &mut hook) {
                    left.push(failed.to_string());
                }
            }
        }
        match observe::read(self.driver, self.catalogue) {
            Ok((node, _)) if differences(&node, states).is_empty() => Ok(()),
            _ => Err(left),
        }
    }
}

/// What is on the node that neither the last run nor the state before it knows, so that somebody
/// else must have made it: going back would destroy it.
pub fn foreign(node: &ObservedNode, saved: &Saved) -> Vec<Diagnostic> {
    let of_saved = |gpu: &&ObservedGpu| saved.before.iter().any(|state| state.uuid == gpu.uuid);
    let mut problems = Vec::new();
    for gpu in node.gpus.iter().filter(of_saved) {
        for instance in unknown_instances(gpu, saved) {
            problems.push(Diagnostic::new(format!(
                "GPU {}: {} at memory slice {} was made by somebody else since",
                gpu.index, instance.profile, instance.start
            )));
        }
    }
    problems
}

/// The instances of a GPU that no state of a saved run knows.
fn unknown_instances(gpu: &ObservedGpu, saved: &Saved) -> Vec<InstanceState> {
    let states = saved.before.iter().chain(&saved.others).filter(|s| s.uuid == gpu.uuid);
    let known: Vec<&InstanceState> = states.flat_map(|state| &state.instances).collect();
    let now = GpuState::of(gpu).map(|state| state.instances).unwrap_or_default();
    now.into_iter().filter(|i| !known.iter().any(|k| k.same_place(i))).collect()
}

/// What is left of an interrupted run: the GPUs that are here and still somewhere between its
/// states. Where somebody else has gone on since, its state before is history.
fn still_half_way(mut saved: Saved, now: &ObservedNode) -> Option<Saved> {
    let whole = saved.clone();
    saved.before.retain(|state| {
        let gpu = now.gpus.iter().find(|gpu| gpu.uuid == state.uuid);
        gpu.is_some_and(|gpu| unknown_instances(gpu, &whole).is_empty())
    });
    (saved.end.is_none() && !saved.before.is_empty()).then_some(saved)
}

fn incomplete(why: String, left: Vec<String>, hint: Option<String>) -> Error {
    let mut error = Error::new(ExitCode::RollbackIncomplete, why);
    error.problems.extend(left.into_iter().map(Diagnostic::new));
    let again = "remove the cause, then `migplan rollback` goes back to the saved state";
    error.hint(match hint {
        Some(hint) => format!("{hint}. {again}"),
        None => again.to_string(),
    })
}

/// The states of `first`, and those of GPUs that only `second` knows.
fn joined(first: &[GpuState], second: &[GpuState]) -> Vec<GpuState> {
    let mut all = first.to_vec();
    all.extend(second.iter().filter(|s| !first.iter().any(|f| f.uuid == s.uuid)).cloned());
    all.sort_by_key(|s| s.gpu);
    all
}

/// How GPUs differ from the states that they should be in.
fn differences(node: &ObservedNode, wanted: &[GpuState]) -> Vec<String> {
    let mut wrong = Vec::new();
    for state in wanted {
        match node.gpus.iter().find(|g| g.uuid == state.uuid) {
            None => wrong.push(format!("GPU {} is gone", state.gpu)),
            Some(gpu) if state.is_state_of(gpu) => {}
            Some(gpu) => {
                let is = GpuState::of(gpu)
                    .map_or_else(|| "cannot be seen".to_string(), |s| format!("is {s}"));
                wrong.push(format!("GPU {} {is}, where it should be {state}", gpu.index));
            }
        }
    }
    wrong
}

/// How often the way back is tried: what failed once may have been a moment's trouble.
const ATTEMPTS: usize = 3;
