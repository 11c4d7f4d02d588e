//! The two halves of a change that touch GPUs: making it, GPU by GPU, and going back, each GPU as
//! far as it can whatever happens to the others, and without what somebody else has created.

use super::execute::{Executor, Moment};
use super::guard::{self, NodeChange};
use super::observe;
use super::operator::{Event, Phase};
use super::others;
use super::session::{Failure, Leftover, Session};
use super::state::GpuState;
use super::state_dir::StateDir;
use super::steps::Step;
use super::trail::{Targets, Trail};
use crate::fleet::observed::ObservedNode;
use crate::interrupt::Interrupt;

/// How often the way back is tried: what failed once may have been a moment's trouble. The last time,
/// compute instances that stay are not trusted to leave room for others.
const ATTEMPTS: usize = 3;

impl Session<'_> {
    /// Makes a change and reads it back: the node as it is then. `trail` is told which steps began.
    pub(super) fn make(
        &mut self,
        dir: &mut StateDir,
        id: u64,
        change: &NodeChange,
        interrupt: &Interrupt,
        trail: &mut Trail,
    ) -> Result<ObservedNode, Failure> {
        for (i, gpu) in change.gpus.iter().enumerate() {
            if i > 0 {
                observe::check_again(self.driver, self.catalogue, gpu).map_err(Failure::from)?;
            }
            let operator = &mut self.operator;
            let mut hook = |moment, step: &Step| match moment {
                Moment::Before => {
                    dir.doing(id, &step.to_string()).map_err(|e| format!("the journal: {e}"))?;
                    trail.begun.push(step.clone());
                    operator.event(&Event::Begin(step, Phase::Apply));
                    Ok(())
                }
                Moment::After => {
                    operator.event(&Event::Done(step, Phase::Apply));
                    Ok(())
                }
            };
            let patience = &self.options.patience;
            Executor { driver: &mut *self.driver, patience, interrupt, by_name: true }
                .run(gpu, &mut hook)
                .map_err(Failure::from)?;
        }
        let wanted = change.wanted();
        self.verify(|node| guard::differences(node, &wanted))
            .map_err(|wrong| Failure::from(wrong.join("; ")))
    }

    /// Reads the node back and compares: `differences` says what is wrong with it. One failed reading
    /// is repeated: it changes nothing.
    pub(super) fn verify(
        &mut self,
        differences: impl Fn(&ObservedNode) -> Vec<String>,
    ) -> Result<ObservedNode, Vec<String>> {
        let mut wrong = Vec::new();
        for _ in 0..2 {
            match observe::read(self.driver, self.catalogue) {
                Ok((node, _)) => {
                    wrong = differences(&node);
                    if wrong.is_empty() {
                        return Ok(node);
                    }
                }
                Err(e) => wrong = vec![format!("the result cannot be read back: {e}")],
            }
        }
        Err(wrong)
    }

    /// Brings GPUs back to saved states: each as far as possible, whatever happens to the others.
    /// What is left in the end is the error; what somebody else has created since stays, and is told.
    /// A signal does not stop it. `at_risk`: GPUs that get back what they lack, and
    /// are left alone where they lack nothing.
    pub(super) fn restore(
        &mut self,
        states: &[GpuState],
        at_risk: &[GpuState],
        trail: &Trail,
        announce: &mut dyn FnMut(&Step),
    ) -> Result<Vec<String>, Leftover> {
        let mut why = Leftover::default();
        let (mut begun, mut forbidden) = (0, 0);
        let mut found = None;
        let uninterrupted = Interrupt::default();
        for attempt in 1..=ATTEMPTS {
            why = Leftover::default();
            let Ok((node, _)) = observe::read(self.driver, self.catalogue) else { continue };
            found.get_or_insert_with(|| states_of(&node));
            let goal = others::joined(states, others::lacking(at_risk, &node));
            let targets = trail.targets(&goal, &node);
            if guard::differences(&node, &targets.states).is_empty() {
                if targets.in_the_way.is_empty() {
                    return Ok(targets.kept);
                }
                break;
            }
            let anew = attempt == ATTEMPTS;
            let plan = guard::plan_restore(&node, &targets.states, self.options.reset, anew);
            why.left.extend(plan.against().iter().map(ToString::to_string));
            for change in plan.gpus.iter().filter(|gpu| gpu.permitted()) {
                if let Err(moved) = observe::check_again(self.driver, self.catalogue, change) {
                    why.left.push(moved);
                    continue;
                }
                let operator = &mut self.operator;
                let mut hook = |moment, step: &Step| {
                    operator.event(&match moment {
                        Moment::Before => {
                            begun += 1;
                            announce(step);
                            Event::Begin(step, Phase::Rollback)
                        }
                        Moment::After => Event::Done(step, Phase::Rollback),
                    });
                    Ok(())
                };
                let patience = &self.options.patience;
                let (driver, interrupt) = (&mut *self.driver, &uninterrupted);
                let mut executor = Executor { driver, patience, interrupt, by_name: false };
                let done = executor.run(change, &mut hook);
                if let Err(failed) = done {
                    forbidden += usize::from(failed.forbidden);
                    why.left.push(failed.to_string());
                    why.hint = why.hint.take().or(failed.hint);
                }
            }
        }
        // What is told is what is there now, not what was there before the last attempt.
        let mut left = match observe::read(self.driver, self.catalogue) {
            Ok((node, _)) => {
                let goal = others::joined(states, others::lacking(at_risk, &node));
                let Targets { states, kept, in_the_way } = trail.targets(&goal, &node);
                let left = [in_the_way, guard::differences(&node, &states)].concat();
                if left.is_empty() {
                    return Ok(kept);
                }
                let only_forbidden = begun > 0 && begun == forbidden;
                why.forbidden = only_forbidden && found == Some(states_of(&node));
                [left, kept].concat()
            }
            Err(e) => vec![format!("the node cannot be read: {e}")],
        };
        left.append(&mut why.left);
        Err(Leftover { left, ..why })
    }
}

/// What every GPU is in, where that can be read.
fn states_of(node: &ObservedNode) -> Vec<GpuState> {
    node.gpus.iter().filter_map(GpuState::of).collect()
}
