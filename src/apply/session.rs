//! The one sequence that changes a node, for `apply` and `rollback`: observe → resolve and plan →
//! permitted → lock → confirm → observe again → journal → execute → verify → roll back. The command
//! line and every test drive this; nothing else changes a GPU.
//!
//! Knows the driver, saved states and services by their traits, and asks and tells by
//! [`Operator`]: no flags, no terminal, no text formats.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use super::driver::MigDriver;
use super::execute::{Failed, Patience};
use super::guard::{self, Left, NodeChange, Wait, Why};
use super::history::{History, Run};
use super::journal::{End, Header, Purpose, state_of};
use super::observe::{self, Observation};
use super::operator::{Event, Operator, Proposal, Reached};
use super::others::{self, Others};
use super::services::Services;
use super::state::GpuState;
use super::state_dir::{Saves, StateDir};
use super::steps::Step;
use super::trail::Trail;
use super::way_back::{Target, find, foreign, states_to_go_back_to};
use crate::error::{Diagnostic, Error, ExitCode, Result};
use crate::fleet::observed::{ObservedGpu, ObservedNode};
use crate::hardware::Catalogue;
use crate::interrupt::Interrupt;
use crate::mig_parted::{Config, NodeGpu, Resolved};

/// How to change a node.
#[derive(Debug, Clone, Default)]
pub struct ApplyOptions {
    /// Show the changes and stop.
    pub dry_run: bool,
    /// Whether GPUs may be reset for their mode.
    pub reset: bool,
    /// Whether a rollback may destroy idle instances that somebody else has created.
    pub force: bool,
    /// How long to wait for clients that hold an instance for moments.
    pub patience: Patience,
    /// How long to wait for busy instances that must go.
    pub wait: Duration,
    /// Systemd units to stop before the change and to start after it, where they run.
    pub stop: Vec<String>,
    /// Where GPUs are locked, against a run that saves its states elsewhere.
    pub gpu_locks: Option<PathBuf>,
}

/// How a session ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The node was changed and is as wanted.
    Changed(NodeChange),
    /// There was nothing to do.
    Unchanged,
    /// There was nothing to do on the GPUs that can be gone back with; others were left.
    UnchangedButLeft,
    /// A dry run.
    Planned,
}

/// All that is needed to change a node.
pub struct Session<'a> {
    /// The node's driver.
    pub driver: &'a mut dyn MigDriver,
    /// The boards.
    pub catalogue: &'a Catalogue,
    /// How to change it.
    pub options: ApplyOptions,
    /// Where states are saved.
    pub saves: &'a mut dyn Saves,
    /// What stops and starts units.
    pub services: &'a mut dyn Services,
    /// Called before the first change: from then on signals are noted.
    pub interrupts: &'a mut dyn FnMut() -> io::Result<Interrupt>,
    /// Who is told and asked.
    pub operator: &'a mut dyn Operator,
}

/// A change that is about to be made.
pub(super) struct Task<'t> {
    purpose: Purpose,
    source: String,
    pub(super) node: &'t ObservedNode,
    pub(super) change: &'t NodeChange,
    /// The run that it undoes.
    undoes: Option<u64>,
}

/// What a label wants of the node, and the change to it.
struct Planned {
    node: ObservedNode,
    resolved: Resolved,
    change: NodeChange,
}

/// Why a change failed, and what to do about it.
pub(super) struct Failure {
    why: String,
    hint: Option<String>,
    /// Whether the driver answered that this user may not.
    forbidden: bool,
}

impl From<String> for Failure {
    fn from(why: String) -> Failure {
        Failure { why, hint: None, forbidden: false }
    }
}

impl From<Failed> for Failure {
    fn from(failed: Failed) -> Failure {
        let (why, forbidden) = (failed.to_string(), failed.forbidden);
        Failure { why, hint: failed.hint, forbidden }
    }
}

/// What going back has left, and what may be done about it.
#[derive(Debug, Default)]
pub(super) struct Leftover {
    /// How GPUs differ from what they should be, and why; each a sentence.
    pub(super) left: Vec<String>,
    pub(super) hint: Option<String>,
    /// Whether nothing was changed, since the driver answered to each step that this user may not.
    pub(super) forbidden: bool,
}

impl Session<'_> {
    /// Changes the node to what `label` (or the only label) of a configuration wants. `file` is
    /// the configuration's name, for people.
    ///
    /// # Errors
    /// The configuration does not fit these GPUs (3); no GPU can be read (6); it is not permitted,
    /// not agreed to, or the node is not as it was (7, nothing touched); the change failed, and the
    /// state before is there again (8), or is not, with what is left (9).
    pub fn apply(&mut self, config: &Config, label: Option<&str>, file: &str) -> Result<Outcome> {
        let ended = self.apply_config(config, label, file);
        ended.map_err(|error| self.start_left_units(error))
    }

    fn apply_config(
        &mut self,
        config: &Config,
        label: Option<&str>,
        file: &str,
    ) -> Result<Outcome> {
        let mut planned = self.plan(config, label)?;
        if planned.change.is_empty() {
            return self.nothing_to_do(&planned);
        }
        let may_wait = !self.options.dry_run && !self.options.wait.is_zero();
        if may_wait && planned.change.waits_for_busy() {
            planned.change.wait = Wait::Now;
        }
        self.tell(Event::Changes(&planned.node, &planned.change));
        self.able_to_change()?;
        if self.options.dry_run {
            return self.dry_run(&planned);
        }
        if planned.change.wait == Wait::Now {
            // What would be in the way after the wait is told before it.
            self.operator.can_confirm()?;
            self.saves.ready()?;
            let shown = planned.change.gpus.clone();
            planned = self.wait(config, label, planned)?;
            if planned.change.is_empty() {
                return self.nothing_to_do(&planned);
            }
            // What is agreed to must be what was shown last.
            if planned.change.gpus != shown {
                self.tell(Event::Changes(&planned.node, &planned.change));
            }
        }
        let Planned { node, resolved, change } = &planned;
        if let Err(refusal) = self.permitted(change) {
            if let Ok((history, false)) = self.saves.look() {
                self.warn_of_open(&history, node);
            }
            return Err(refusal);
        }
        let mut dir = self.lock(node, change)?;
        self.warn_of_open(&dir.history, node);
        let interrupted = dir.history.open().any(|run| run.is_unfinished(node));
        self.operator.confirm(&Proposal { purpose: Purpose::Apply, change, interrupted })?;
        let source = format!("{file}, label {}", resolved.label);
        let task = Task { purpose: Purpose::Apply, source, node, change, undoes: None };
        self.carry_out(&task, &mut dir)?;
        Ok(Outcome::Changed(planned.change))
    }

    /// Brings GPUs back to the state that was saved before a run, each by itself.
    ///
    /// # Errors
    /// No such state (3); no GPU can be read (6); it is not permitted, not agreed to, or the node
    /// is not as it was (7, nothing touched); the state cannot be reached (9), with what is left.
    pub fn roll_back(&mut self, target: Target) -> Result<Outcome> {
        let ended = self.roll_back_to(target);
        ended.map_err(|error| self.start_left_units(error))
    }

    fn roll_back_to(&mut self, target: Target) -> Result<Outcome> {
        let (history, held) = self.saves.look()?;
        if held {
            return Err(busy_elsewhere());
        }
        let run = find(&history, target)?;
        let node = self.observe()?;
        let change = self.plan_back(&node, &history, run);
        self.warn_of_open(&history, &node);
        if self.options.dry_run {
            self.warn_of_units(&history);
        }
        for warning in change.left.iter().map(Left::diagnostic) {
            self.tell(Event::Warning(&warning));
        }
        self.tell(Event::Changes(&node, &change));
        if change.is_empty() {
            return self.nothing_to_change(&node, &change, &history, Some(run));
        }
        self.able_to_change()?;
        self.permitted(&change)?;
        if self.options.dry_run {
            return complete(&change).map(|()| Outcome::Planned);
        }
        let mut dir = self.lock(&node, &change)?;
        if dir.history.run(run.id).map(|now| &now.header) != Some(&run.header) {
            return Err(Error::new(ExitCode::Refused, "the saved states have just changed")
                .hint("run it again; nothing was changed"));
        }
        let (purpose, interrupted) = (Purpose::Rollback, false);
        self.operator.confirm(&Proposal { purpose, change: &change, interrupted })?;
        let source = format!("state before run {} ({})", run.id, run.header.source);
        let undoes = Some(run.id);
        let task = Task { purpose, source, node: &node, change: &change, undoes };
        self.carry_out(&task, &mut dir)?;
        Ok(Outcome::Changed(change))
    }

    /// Refuses where the driver lacks what a change, or the way back from it, may need.
    fn able_to_change(&mut self) -> Result<()> {
        let lacking = self.driver.lacks();
        if lacking.is_empty() {
            return Ok(());
        }
        let driver = match self.driver.version() {
            Some(version) => format!("driver {version}"),
            None => "this driver".to_string(),
        };
        let why = format!(
            "{driver} cannot be told to make this change: its library has no {}",
            lacking.join(", no ")
        );
        Err(Error::new(ExitCode::NoDriver, why)
            .hint("drivers of R470 and later have all that is needed; nothing was changed"))
    }

    /// What leads back to the state before a run. All of it is refused where a GPU is in use, or has
    /// what somebody else has created; but where a GPU is half-way, which nothing else repairs, such
    /// GPUs are left and the others go back.
    fn plan_back(&mut self, node: &ObservedNode, history: &History, run: &Run) -> NodeChange {
        let (reset, states) = (self.options.reset, run.back_to(node));
        let (mut change, ends) =
            self.plan_with_units(node, |node| guard::plan_restore(node, &states, reset, false));
        ends.iter().for_each(|told| self.tell(Event::Warning(told)));
        if !self.options.force {
            for (gpu, problem) in foreign(node, history, run) {
                let hint = "--force destroys it, if it is idle; nothing was changed";
                change.refuse_gpu(gpu, problem, hint);
            }
        }
        self.refuse_hopeless_resets(&mut change);
        let half_way: Vec<u32> = history.open().flat_map(|run| run.half_way(node)).collect();
        if change.gpus.iter().any(|gpu| gpu.permitted() && half_way.contains(&gpu.gpu)) {
            change.leave_refused();
        }
        change
    }

    pub(super) fn tell(&mut self, event: Event<'_>) {
        self.operator.event(&event);
    }

    fn observe(&mut self) -> Result<ObservedNode> {
        let Observation { node, warnings, differences } =
            observe::observe(self.driver, self.catalogue)?;
        for warning in &warnings {
            self.tell(Event::Warning(warning));
        }
        for difference in &differences {
            self.tell(Event::Difference(difference));
        }
        Ok(node)
    }

    fn plan(&mut self, config: &Config, label: Option<&str>) -> Result<Planned> {
        let node = self.observe()?;
        let resolved = config.resolve_node(label, &NodeGpu::of_node(&node)).map_err(untouched)?;
        for warning in &resolved.warnings {
            self.tell(Event::Warning(warning));
        }
        let reset = self.options.reset;
        let (mut change, ends) =
            self.plan_with_units(&node, |node| guard::plan(node, &resolved, reset));
        self.refuse_hopeless_resets(&mut change);
        for warning in processes_unknown(&node, &change).into_iter().chain(ends) {
            self.tell(Event::Warning(&warning));
        }
        Ok(Planned { node, resolved, change })
    }

    /// A reset that cannot work is refused before anything is destroyed for it. What --stop will
    /// stop may hold the GPU now; then it is looked at once that is done.
    fn refuse_hopeless_resets(&mut self, change: &mut NodeChange) {
        if !self.options.reset || !self.options.stop.is_empty() {
            return;
        }
        // What is in use is refused already, and looked at once it has been waited for.
        let resets = change.gpus.iter().filter(|gpu| gpu.resets() && gpu.permitted());
        for gpu in resets.map(|gpu| gpu.gpu).collect::<Vec<_>>() {
            if let Err(why) = self.driver.ready_to_reset(gpu) {
                change.refuse_reset(gpu, &why);
            }
        }
    }

    /// Plans again and again until nothing busy is in the way, or the time is up. A reading that fails
    /// or that shows another reason to refuse ends it only where the next ones agree: one alone may not
    /// be true.
    fn wait(
        &mut self,
        config: &Config,
        label: Option<&str>,
        mut planned: Planned,
    ) -> Result<Planned> {
        let until = Instant::now() + self.options.wait;
        self.tell(Event::Waiting(&planned.change.against()));
        let mut odd = 0;
        while planned.change.waits_for_busy() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            thread::sleep(left.min(WAIT_STEP));
            let next = self.plan_quietly(config, label);
            let expected = next.as_ref().is_ok_and(|Planned { change, .. }| {
                change.waits_for_busy() || change.permitted().is_ok()
            });
            odd = if expected { 0 } else { odd + 1 };
            if expected || odd == ODD_READINGS {
                planned = next?;
            }
        }
        planned.change.wait = Wait::Over;
        self.refuse_hopeless_resets(&mut planned.change);
        Ok(planned)
    }

    fn plan_quietly(&mut self, config: &Config, label: Option<&str>) -> Result<Planned> {
        let node = observe::observe(self.driver, self.catalogue)?.node;
        let resolved = config.resolve_node(label, &NodeGpu::of_node(&node)).map_err(untouched)?;
        let reset = self.options.reset;
        let (change, _) = self.plan_with_units(&node, |node| guard::plan(node, &resolved, reset));
        Ok(Planned { node, resolved, change })
    }

    /// Locks the folder and the GPUs that a change may touch, and makes sure that every saved run is
    /// readable.
    fn lock(&mut self, node: &ObservedNode, change: &NodeChange) -> Result<StateDir> {
        let mut dir = self.saves.lock()?;
        if let Some(folder) = &self.options.gpu_locks {
            let of_change = change.gpus.iter().map(|gpu| gpu.from.uuid.as_str());
            let at_risk = others::at_risk(node, change).map(|gpu| gpu.uuid.as_str());
            dir.lock_gpus(folder, of_change.chain(at_risk))?;
        }
        dir.history.whole()?;
        Ok(dir)
    }

    /// Tells of runs that were interrupted, as `status` does.
    fn warn_of_open(&mut self, history: &History, node: &ObservedNode) {
        for run in history.open().filter(|run| run.is_unfinished(node)) {
            self.tell(Event::Warning(&Diagnostic::new(run.interrupted(node))));
        }
    }

    /// The GPUs are as a file wants them: tells of what is saved, and closes what that ends.
    fn nothing_to_do(&mut self, planned: &Planned) -> Result<Outcome> {
        let Planned { node, change, .. } = planned;
        let (history, held) = match self.saves.look() {
            Ok(found) => found,
            // There may be no right to look where there is no need to.
            Err(e) => {
                e.problems.iter().for_each(|problem| self.tell(Event::Warning(problem)));
                Default::default()
            }
        };
        if held {
            return Err(busy_elsewhere());
        }
        history.damaged.iter().for_each(|d| self.tell(Event::Warning(&d.problem)));
        self.warn_of_open(&history, node);
        self.tell(Event::Changes(node, change));
        self.nothing_to_change(node, change, &history, None)
    }

    /// The GPUs are as wanted: closes what was open because of them, and starts units that were left
    /// stopped. `undone`: the run that they are gone back from.
    fn nothing_to_change(
        &mut self,
        node: &ObservedNode,
        change: &NodeChange,
        history: &History,
        undone: Option<&Run>,
    ) -> Result<Outcome> {
        let unfinished = history.open().next().is_some()
            || !history.units().is_empty()
            || undone.is_some_and(|run| run.end != Some(End::RolledBack));
        let mut dir = None;
        if unfinished && !self.options.dry_run {
            match self.saves.lock() {
                Ok(locked) => dir = Some(locked),
                Err(e) => e.problems.iter().for_each(|p| self.tell(Event::Warning(p))),
            }
        }
        // Believed only if the node says so twice, the second time under the lock.
        observe::agree(self.driver, self.catalogue, node, concerned_by(node, change))?;
        let outcome = match change.left.is_empty() {
            true => Outcome::Unchanged,
            false => Outcome::UnchangedButLeft,
        };
        let done = complete(change);
        if self.options.dry_run {
            return done.map(|()| outcome);
        }
        if let Some(dir) = &mut dir {
            self.settle(dir, &as_wanted(node, change));
            if let Some(run) = undone.filter(|_| change.left.is_empty()) {
                dir.undone(run.id);
            }
            return self.finish(dir, done, &[]).map(|()| outcome);
        }
        done.map(|()| outcome)
    }

    /// Closes open runs by what the node shows now; the folder is locked.
    fn settle(&mut self, dir: &mut StateDir, reached: &BTreeSet<&str>) {
        if dir.history.open().next().is_none() {
            return;
        }
        let mut read = || observe::read(self.driver, self.catalogue);
        if let (Ok((first, _)), Ok((second, _))) = (read(), read()) {
            dir.settle([&first, &second], reached);
        }
    }

    /// Ends a dry run: refusals count, but what only root may see or do does not.
    fn dry_run(&mut self, planned: &Planned) -> Result<Outcome> {
        let Planned { node, resolved, change } = planned;
        match self.saves.look() {
            Ok((_, true)) => self.tell(Event::Warning(&Diagnostic::new(
                "another migplan is changing this node right now",
            ))),
            Ok((history, false)) => {
                history.damaged.iter().for_each(|d| self.tell(Event::Warning(&d.problem)));
                self.warn_of_open(&history, node);
                self.warn_of_units(&history);
            }
            Err(e) => e.problems.iter().for_each(|p| self.tell(Event::Warning(p))),
        }
        for warning in change.not_seen(node, resolved) {
            self.tell(Event::Warning(&warning));
        }
        change.permitted_to_root()?;
        Ok(Outcome::Planned)
    }

    /// Saves, changes, verifies, and undoes where anything fails.
    fn carry_out(&mut self, task: &Task<'_>, dir: &mut StateDir) -> Result<()> {
        let (header, others) = self.prepare(task, dir)?;
        let wanted = header.wanted.clone();
        let interrupt = (self.interrupts)()
            .map_err(|e| Error::new(ExitCode::Internal, format!("signals cannot be noted: {e}")))?;
        let units = header.stopped.clone();
        let id = match task.purpose {
            Purpose::Apply => Some(dir.begin(header)?),
            Purpose::Rollback => dir.begin_rollback(header)?,
        };
        if id.is_none() {
            let told = "the disk of the saved states is full, so this rollback will not be listed";
            self.tell(Event::Warning(&Diagnostic::new(told)));
        }
        let ready = self.stop_units(&units).and_then(|()| self.look_again(task));
        let done = ready.and_then(|()| match id {
            Some(id) if task.purpose == Purpose::Apply => {
                self.change(dir, id, task.change, &others, &interrupt)
            }
            _ => self.go_back(dir, id, task.change, &others),
        });
        let untouched = done.as_ref().is_err_and(|error| error.code == ExitCode::Refused);
        match &done {
            Ok(()) => self.close(task, dir, id, &wanted),
            Err(_) if untouched => end(dir, id, End::RolledBack),
            Err(_) => {}
        }
        let ended = self.finish(dir, done.and_then(|()| complete(task.change)), &units);
        if untouched {
            id.into_iter().for_each(|id| dir.forget(id));
        }
        ended
    }

    /// Reads the node once more, under the lock, and makes what is saved of a run before it begins.
    fn prepare(&mut self, task: &Task<'_>, dir: &mut StateDir) -> Result<(Header, Others)> {
        let Task { purpose, source, node, change, .. } = task;
        let now = observe::agree(self.driver, self.catalogue, node, concerned_by(node, change))?;
        observe::still_as_planned(change, &self.without_units(&now).0)?;
        self.settle(dir, &BTreeSet::new());
        let mut header = Header::new(*purpose, source);
        let found: Vec<GpuState> = change.gpus.iter().map(|c| c.from.clone()).collect();
        header.before = states_to_go_back_to(&dir.history, &now, &found);
        // What is there now is known, also on GPUs that only an interrupted run has changed.
        let covered = |gpu: &&ObservedGpu| state_of(&header.before, &gpu.uuid).is_some();
        header.found = now.gpus.iter().filter(covered).filter_map(GpuState::of).collect();
        header.wanted = change.wanted();
        header.stopped = self.units_to_stop()?;
        let others = Others::of(&now, change);
        header.at_risk.clone_from(&others.at_risk);
        Ok((header, others))
    }

    /// Closes a run that has succeeded, and those before it that it ends. The node is as wanted,
    /// whether or not these lines can be written.
    fn close(&mut self, task: &Task<'_>, dir: &mut StateDir, id: Option<u64>, wanted: &[GpuState]) {
        end(dir, id, End::Applied);
        let mut uuids = as_wanted(task.node, task.change);
        uuids.extend(wanted.iter().map(|state| state.uuid.as_str()));
        dir.supersede(&uuids);
        self.settle(dir, &uuids);
        if let Some(run) = task.undoes.filter(|_| task.change.left.is_empty()) {
            dir.undone(run);
        }
    }

    /// Starts what was stopped, and says how everything ended: `done` is what became of the GPUs.
    /// `own`: the units of this run.
    fn finish(&mut self, dir: &mut StateDir, done: Result<()>, own: &[String]) -> Result<()> {
        let reached = match &done {
            Ok(()) => Reached::AsWanted,
            Err(e) if e.code == ExitCode::RollbackIncomplete => Reached::Incomplete,
            Err(_) => Reached::AsBefore,
        };
        self.tell(Event::Ended(reached));
        match (done, self.start_units(dir, reached, own)) {
            (Err(error), Err(units)) => Err(and_units(error, units)),
            (done, started) => done.and(started),
        }
    }

    /// Makes a planned change, and undoes it where anything fails. A refusal where the driver does not
    /// permit the first call: some drivers tell no sooner that this user may not.
    fn change(
        &mut self,
        dir: &mut StateDir,
        id: u64,
        change: &NodeChange,
        others: &Others,
        interrupt: &Interrupt,
    ) -> Result<()> {
        let mut trail = Trail::new(change, others);
        let Failure { why, hint, forbidden } =
            match self.make(dir, id, change, interrupt, &mut trail) {
                Ok(node) => return self.keep_others(&node, change, others, &trail),
                Err(failure) => failure,
            };
        let first = forbidden && trail.begun.len() == 1;
        if !first {
            self.tell(Event::Failed(&why));
        }
        // A reset may also have taken from GPUs whose own change had not begun.
        let before = change.gpus.iter().map(|gpu| &gpu.from);
        let at_risk = match trail.has_reset() {
            true => others::joined(&others.at_risk, before),
            false => Vec::new(),
        };
        let mut undone = 0;
        let back = self.restore(&trail.touched(), &at_risk, &trail, &mut |_| undone += 1);
        let lost = |node: &ObservedNode| others.lost(node);
        let back = back.and_then(|kept| match self.verify(lost) {
            Ok(_) => Ok(kept),
            Err(left) => Err(Leftover { left: [left, kept].concat(), ..Leftover::default() }),
        });
        match back {
            Ok(_) if first && undone == 0 => Err(not_permitted(vec![why])),
            Ok(kept) => {
                let _ = dir.end(id, End::RolledBack);
                let mut error = Error::new(ExitCode::RolledBack, why);
                error.problems.push(Diagnostic::new("the state before is there again"));
                error.problems.extend(kept.into_iter().map(Diagnostic::new));
                error.hint = hint;
                Err(error)
            }
            Err(Leftover { left, hint: of_restore, .. }) => {
                let again =
                    "remove the cause, then `migplan rollback` goes back to the saved state";
                Err(incomplete(why, left, [hint, of_restore, Some(again.to_string())]))
            }
        }
    }

    /// After a change: the GPUs that it was not for must be as they were. What a reset has taken from
    /// them comes back. `node`: as it is after the change.
    fn keep_others(
        &mut self,
        node: &ObservedNode,
        change: &NodeChange,
        others: &Others,
        trail: &Trail,
    ) -> Result<()> {
        let wanted = change.wanted();
        let covered = others::joined(&wanted, others.as_wanted.iter());
        let wrong = |node: &ObservedNode| {
            [others.differences(node), others::moved(&covered, node)].concat()
        };
        if wrong(node).is_empty() {
            return Ok(());
        }
        // Once more, since one reading alone may not be true.
        let Err(mut left) = self.verify(wrong) else { return Ok(()) };
        let mut hint = None;
        if others.lacking(node).next().is_some() {
            let told = "what the reset of another GPU took along is created again";
            let told = format!("{told}: {}", left.join("; "));
            self.tell(Event::Warning(&Diagnostic::new(told)));
            let back = self.restore(&wanted, &others.at_risk, trail, &mut |_| {});
            let Err(now) = self.verify(wrong) else { return Ok(()) };
            left = now;
            if let Err(Leftover { left: more, hint: of_restore, .. }) = back {
                hint = of_restore;
                left.extend(more.into_iter().filter(|why| !left.contains(why)).collect::<Vec<_>>());
            }
        }
        let why = "the change was made, but a GPU that it was not for is not as it should be";
        let back = "`migplan rollback` goes back to the saved state".to_string();
        let back = (!others.at_risk.is_empty()).then_some(back);
        Err(incomplete(why.to_string(), left, [hint, again(), back]))
    }

    fn go_back(
        &mut self,
        dir: &mut StateDir,
        id: Option<u64>,
        change: &NodeChange,
        others: &Others,
    ) -> Result<()> {
        // It is undone already whatever the journal takes down.
        let mut announce = |step: &Step| {
            if let Some(id) = id {
                let _ = dir.doing(id, &step.to_string());
            }
        };
        let trail = Trail::new(change, others);
        let states = others::joined(&change.wanted(), others.as_wanted.iter());
        match self.restore(&states, &others.at_risk, &trail, &mut announce) {
            Ok(kept) if kept.is_empty() => Ok(()),
            Ok(left) => {
                let hint = "`migplan rollback --force` destroys it, if it is idle";
                Err(incomplete(
                    "not everything was rolled back".to_string(),
                    left,
                    [Some(hint.to_string())],
                ))
            }
            Err(Leftover { left, forbidden: true, .. }) => Err(not_permitted(left)),
            Err(Leftover { left, hint, .. }) => {
                Err(incomplete("the rollback failed".to_string(), left, [hint, again()]))
            }
        }
    }
}

/// How long to wait between two looks at what is busy.
const WAIT_STEP: Duration = Duration::from_secs(1);
/// How many looks in a row must fail, or show another reason to refuse, before that is believed.
const ODD_READINGS: u32 = 3;

/// Notes how a run ended, where it has a file. What is not written is judged by the node next time.
fn end(dir: &mut StateDir, id: Option<u64>, how: End) {
    if let Some(id) = id {
        let _ = dir.end(id, how);
    }
}

/// An error, and units that did not start after it.
pub(super) fn and_units(mut error: Error, units: Error) -> Error {
    error.code = units.code;
    error.problems.extend(units.problems);
    error.hint = joined([error.hint, units.hint]);
    error
}

fn busy_elsewhere() -> Error {
    Error::new(ExitCode::Refused, "another migplan is changing this node")
        .hint("wait until it is done; nothing was changed")
}

/// Which GPUs must read the same twice: those of a change, those that are as wanted, those that a
/// reset may take from, and those that seem not to be able to do MIG, which one wrong answer is enough
/// for.
pub(super) fn concerned_by(
    node: &ObservedNode,
    change: &NodeChange,
) -> impl Fn(&ObservedGpu) -> bool {
    let of_change = change.gpus.iter().map(|gpu| gpu.gpu).chain(change.unchanged.iter().copied());
    let at_risk = others::at_risk(node, change).map(|gpu| gpu.index);
    let indices: BTreeSet<u32> = of_change.chain(at_risk).collect();
    move |gpu| gpu.mode.is_none() || indices.contains(&gpu.index)
}

/// GPUs, by UUID, that are as wanted without a change.
fn as_wanted<'n>(node: &'n ObservedNode, change: &NodeChange) -> BTreeSet<&'n str> {
    let gpus = node.gpus.iter().filter(|gpu| change.unchanged.contains(&gpu.index));
    gpus.map(|gpu| gpu.uuid.as_str()).collect()
}

/// Whether every GPU of a saved state that is on the node is gone back with.
fn complete(change: &NodeChange) -> Result<()> {
    let there = change.left.iter().filter(|left| left.why != Why::Gone);
    let left: Vec<String> = there.map(|left| left.diagnostic().message).collect();
    match left.is_empty() {
        true => Ok(()),
        false => Err(incomplete("not every GPU could be rolled back".to_string(), left, [again()])),
    }
}

/// What to do about a rollback that left something.
fn again() -> Option<String> {
    Some("remove the cause, then run it again".to_string())
}

fn incomplete<const N: usize>(why: String, left: Vec<String>, hints: [Option<String>; N]) -> Error {
    let mut error = Error::new(ExitCode::RollbackIncomplete, why);
    error.problems.extend(left.into_iter().map(Diagnostic::new));
    error.hint = joined(hints);
    error
}

fn not_permitted(problems: Vec<String>) -> Error {
    Error {
        code: ExitCode::Refused,
        problems: problems.into_iter().map(Diagnostic::new).collect(),
        hint: Some("run it as root; nothing was changed".to_string()),
    }
}

/// An error from before anything was touched.
fn untouched(mut error: Error) -> Error {
    error.hint = joined([error.hint, Some("Nothing was changed".to_string())]);
    error
}

/// Hints as one, each once: a sentence after the other.
pub(super) fn joined<const N: usize>(hints: [Option<String>; N]) -> Option<String> {
    let mut all: Vec<String> = Vec::new();
    for hint in hints.into_iter().flatten() {
        if !all.contains(&hint) {
            all.push(hint);
        }
    }
    for next in all.iter_mut().skip(1) {
        next.get_mut(..1).into_iter().for_each(str::make_ascii_uppercase);
    }
    (!all.is_empty()).then(|| all.join(". "))
}

/// Where the driver does not tell of processes, only its own refusal protects them.
fn processes_unknown(node: &ObservedNode, change: &NodeChange) -> Vec<Diagnostic> {
    let silent = node.gpus.iter().filter(|gpu| !gpu.processes_known);
    silent
        .filter(|gpu| change.gpus.iter().any(|c| c.gpu == gpu.index))
        .map(|gpu| {
            Diagnostic::new(format!(
                "GPU {}: the driver does not tell which processes run there; it will itself refuse to destroy what is in use",
                gpu.index
            ))
        })
        .collect()
}
