//! The two halves of a change that touch GPUs: making it, and going back, each GPU as far as it can
//! whatever happens to the others, and without what somebody else has created. GPU by GPU, but around
//! resets: see [`super::resets`].

use super::execute::{Executor, Moment, Part};
use super::guard::{self, GpuChange, NodeChange};
use super::observe;
use super::operator::{Event, Phase};
use super::others;
use super::session::{Failure, Leftover, Session};
use super::state::GpuState;
use super::state_dir::StateDir;
use super::steps::Step;
use super::trail::{Targets, Trail};
use crate::error::Diagnostic;
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
        let mut journal = Journal { dir, id, interrupt, trail };
        if change.gpus.iter().any(GpuChange::resets) {
            for gpu in change.gpus.iter().filter(|gpu| gpu.is_before_resets()) {
                if !journal.trail.begun.is_empty() {
                    observe::check_again(self.driver, self.catalogue, gpu)?;
                }
                self.make_part(&mut journal, gpu, Part::BeforeResets, false)?;
            }
            for gpu in change.gpus.iter().filter(|gpu| gpu.resets()) {
                self.make_part(&mut journal, gpu, Part::Reset, false)?;
            }
            for gpu in &change.gpus {
                let left = observe::after_resets(self.driver, self.catalogue, gpu)?;
                if left.change.stays() < gpu.change.stays() {
                    let told = "what the reset of another GPU took along is created again";
                    let told = format!("{told}: GPU {} shall be {}", gpu.gpu, gpu.to);
                    self.tell(Event::Warning(&Diagnostic::new(told)));
                }
                self.make_part(&mut journal, &left, Part::Whole, gpu.switches_mode())?;
            }
        } else {
            for (i, gpu) in change.gpus.iter().enumerate() {
                if i > 0 {
                    observe::check_again(self.driver, self.catalogue, gpu)?;
                }
                self.make_part(&mut journal, gpu, Part::Whole, gpu.switches_mode())?;
            }
        }
        let wanted = change.wanted();
        self.verify(|node| guard::differences(node, &wanted))
            .map_err(|wrong| Failure::from(wrong.join("; ")))
    }

    /// Makes a part of the change of one GPU; each step is written down before it is made.
    fn make_part(
        &mut self,
        journal: &mut Journal<'_>,
        gpu: &GpuChange,
        part: Part,
        check_names: bool,
    ) -> Result<(), Failure> {
        let Journal { dir, id, interrupt, trail } = journal;
        let operator = &mut self.operator;
        let mut hook = |moment, step: &Step| match moment {
            Moment::Before => {
                dir.doing(*id, &step.to_string()).map_err(|e| format!("the journal: {e}"))?;
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
        Executor { driver: &mut *self.driver, patience, interrupt, check_names }
            .run(gpu, part, &mut hook)
            .map_err(Failure::from)
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
        let mut back = Back { announce, left: Leftover::default(), begun: 0, forbidden: 0 };
        let mut found = None;
        for attempt in 1..=ATTEMPTS {
            back.left = Leftover::default();
            let Ok((node, _)) = observe::read(self.driver, self.catalogue) else { continue };
            found.get_or_insert_with(|| states_of(&node));
            let plan = |node: &ObservedNode, reset| {
                let goal = others::joined(states, others::lacking(at_risk, node));
                let targets = trail.targets(&goal, node);
                let anew = attempt == ATTEMPTS;
                (guard::plan_restore(node, &targets.states, reset, anew), targets)
            };
            let (mut change, targets) = plan(&node, self.options.reset);
            if guard::differences(&node, &targets.states).is_empty() {
                if targets.in_the_way.is_empty() {
                    return Ok(targets.kept);
                }
                break;
            }
            back.left.left.extend(change.against().iter().map(ToString::to_string));
            if change.gpus.iter().any(|gpu| gpu.permitted() && gpu.resets()) {
                self.go_back_by_resets(&change, &mut back);
                let Ok((node, _)) = observe::read(self.driver, self.catalogue) else { continue };
                // One that has not been reset now is the next attempt's.
                (change, _) = plan(&node, false);
            }
            for gpu in change.gpus.iter().filter(|gpu| gpu.permitted()) {
                self.go_back_by(gpu, Part::Whole, &mut back);
            }
        }
        let Back { left: mut why, begun, forbidden, .. } = back;
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

    /// What goes and the modes, and then the resets, each GPU as far as it can.
    fn go_back_by_resets(&mut self, change: &NodeChange, back: &mut Back<'_>) {
        let permitted = change.gpus.iter().filter(|gpu| gpu.permitted() && gpu.is_before_resets());
        let mut ready: Vec<&GpuChange> = Vec::new();
        for gpu in permitted {
            if self.go_back_by(gpu, Part::BeforeResets, back) && gpu.resets() {
                ready.push(gpu);
            }
        }
        for gpu in ready {
            self.go_back_by(gpu, Part::Reset, back);
        }
    }

    /// Makes a part of the way back of one GPU; whether that went well.
    fn go_back_by(&mut self, gpu: &GpuChange, part: Part, back: &mut Back<'_>) -> bool {
        if part != Part::Reset
            && let Err(moved) = observe::check_again(self.driver, self.catalogue, gpu)
        {
            back.left.left.push(moved);
            return false;
        }
        let operator = &mut self.operator;
        let mut hook = |moment, step: &Step| {
            operator.event(&match moment {
                Moment::Before => {
                    back.begun += 1;
                    (back.announce)(step);
                    Event::Begin(step, Phase::Rollback)
                }
                Moment::After => Event::Done(step, Phase::Rollback),
            });
            Ok(())
        };
        let patience = &self.options.patience;
        let (driver, interrupt) = (&mut *self.driver, &Interrupt::default());
        let done =
            Executor { driver, patience, interrupt, check_names: false }.run(gpu, part, &mut hook);
        let Err(failed) = done else { return true };
        back.forbidden += usize::from(failed.forbidden);
        back.left.left.push(failed.to_string());
        back.left.hint = back.left.hint.take().or(failed.hint);
        false
    }
}

/// Where a change that is made is written down, and what stops it.
struct Journal<'a> {
    dir: &'a mut StateDir,
    id: u64,
    interrupt: &'a Interrupt,
    trail: &'a mut Trail,
}

/// How far the way back has come.
struct Back<'a> {
    announce: &'a mut dyn FnMut(&Step),
    /// What the present attempt has left.
    left: Leftover,
    /// Steps of all attempts, and those that the driver did not permit.
    begun: usize,
    forbidden: usize,
}

/// What every GPU is in, where that can be read.
fn states_of(node: &ObservedNode) -> Vec<GpuState> {
    node.gpus.iter().filter_map(GpuState::of).collect()
}
