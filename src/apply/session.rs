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
use super::execute::{Patience, Step};
use super::guard::{self, NodeChange, Wait};
use super::history::{History, Run};
use super::interrupt::Interrupt;
use super::journal::{End, Header, Purpose, state_of};
use super::observe::{self, Observation};
use super::operator::{Event, Operator, Proposal};
use super::services::Services;
use super::state::GpuState;
use super::state_dir::{Saves, StateDir};
use super::way_back::{Target, find, foreign, states_to_go_back_to};
use crate::error::{Diagnostic, Error, ExitCode, Result};
use crate::fleet::observed::{ObservedGpu, ObservedNode};
use crate::hardware::Catalogue;
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
struct Task<'t> {
    purpose: Purpose,
    source: String,
    node: &'t ObservedNode,
    change: &'t NodeChange,
}

/// What a label wants of the node, and the change to it.
struct Planned {
    node: ObservedNode,
    resolved: Resolved,
    change: NodeChange,
}

/// Why a change failed, and what to do about it.
pub(super) struct Failure {
    pub(super) why: String,
    pub(super) hint: Option<String>,
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
        let mut planned = self.plan(config, label)?;
        if planned.change.is_empty() {
            return self.nothing_to_do(&planned);
        }
        let may_wait = !self.options.dry_run && !self.options.wait.is_zero();
        if may_wait && planned.change.waits_for_busy() {
            planned.change.wait = Wait::Now;
        }
        self.tell(Event::Changes(&planned.node, &planned.change));
        if self.options.dry_run {
            return self.dry_run(&planned);
        }
        if planned.change.wait == Wait::Now {
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
        change.permitted()?;
        let mut dir = self.lock(change)?;
        self.warn_of_open(&dir.history, node);
        dir.settle(node, &BTreeSet::new());
        self.operator.confirm(&Proposal { purpose: Purpose::Apply, change })?;
        let source = format!("{file}, label {}", resolved.label);
        let reached = as_wanted(node, change);
        self.carry_out(Task { purpose: Purpose::Apply, source, node, change }, &mut dir, &reached)?;
        Ok(Outcome::Changed(planned.change))
    }

    /// Brings GPUs back to the state that was saved before a run, each by itself.
    ///
    /// # Errors
    /// No such state (3); no GPU can be read (6); it is not permitted, not agreed to, or the node
    /// is not as it was (7, nothing touched); the state cannot be reached (9), with what is left.
    pub fn roll_back(&mut self, target: Target) -> Result<Outcome> {
        let (history, held) = self.saves.look()?;
        if held {
            return Err(busy_elsewhere());
        }
        let run = find(&history, target)?;
        let node = self.observe()?;
        let change = guard::plan_restore(&node, &run.header.before, self.options.reset);
        self.warn_of_open(&history, &node);
        for warning in change.missing.iter().map(guard::Missing::diagnostic) {
            self.tell(Event::Warning(&warning));
        }
        self.tell(Event::Changes(&node, &change));
        if !change.is_empty() {
            self.only_own(&node, &history, run)?;
            change.permitted()?;
        }
        if self.options.dry_run {
            return Ok(if change.is_empty() { Outcome::Unchanged } else { Outcome::Planned });
        }
        if change.is_empty() {
            return self.nothing_to_undo(&node, run, &change);
        }
        let mut dir = self.lock(&change)?;
        if dir.history.run(run.id).map(|now| &now.header) != Some(&run.header) {
            return Err(Error::new(ExitCode::Refused, "the saved states have just changed")
                .hint("run it again; nothing was changed"));
        }
        dir.settle(&node, &BTreeSet::new());
        self.operator.confirm(&Proposal { purpose: Purpose::Rollback, change: &change })?;
        let source = format!("state before run {} ({})", run.id, run.header.source);
        let reached = as_wanted(&node, &change);
        let task = Task { purpose: Purpose::Rollback, source, node: &node, change: &change };
        self.carry_out(task, &mut dir, &reached)?;
        self.undone(&mut dir, run, &change)?;
        Ok(Outcome::Changed(change))
    }

    fn tell(&mut self, event: Event<'_>) {
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
        let resolved = config.resolve_node(label, &NodeGpu::of_node(&node))?;
        for warning in &resolved.warnings {
            self.tell(Event::Warning(warning));
        }
        let mut change = guard::plan(&node, &resolved, self.options.reset);
        self.refuse_hopeless_resets(&mut change);
        for warning in processes_unknown(&node, &change) {
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
        let resets = change.gpus.iter().filter(|gpu| gpu.resets() && gpu.in_use_by.is_empty());
        for gpu in resets.map(|gpu| gpu.gpu).collect::<Vec<_>>() {
            if let Err(why) = self.driver.ready_to_reset(gpu) {
                change.refuse_reset(gpu, &why);
            }
        }
    }

    /// Plans again and again until nothing busy is in the way, or the time is up.
    fn wait(
        &mut self,
        config: &Config,
        label: Option<&str>,
        mut planned: Planned,
    ) -> Result<Planned> {
        let until = Instant::now() + self.options.wait;
        self.tell(Event::Waiting(&planned.change.refusals));
        while planned.change.waits_for_busy() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            thread::sleep(left.min(WAIT_STEP));
            let node = observe::observe(self.driver, self.catalogue)?.node;
            let resolved = config.resolve_node(label, &NodeGpu::of_node(&node))?;
            let change = guard::plan(&node, &resolved, self.options.reset);
            planned = Planned { node, resolved, change };
        }
        planned.change.wait = Wait::Over;
        self.refuse_hopeless_resets(&mut planned.change);
        Ok(planned)
    }

    /// Locks the folder and the GPUs of a change, and makes sure that every saved run is readable.
    fn lock(&mut self, change: &NodeChange) -> Result<StateDir> {
        let mut dir = self.saves.lock()?;
        if let Some(folder) = &self.options.gpu_locks {
            dir.lock_gpus(folder, change.gpus.iter().map(|gpu| gpu.from.uuid.as_str()))?;
        }
        dir.history.whole()?;
        Ok(dir)
    }

    /// Tells of runs that were interrupted.
    fn warn_of_open(&mut self, history: &History, node: &ObservedNode) {
        for run in history.open() {
            self.tell(Event::Warning(&Diagnostic::new(run.interrupted(node))));
        }
    }

    /// The GPUs are as wanted: closes what was open because of them.
    fn nothing_to_do(&mut self, planned: &Planned) -> Result<Outcome> {
        let Planned { node, change, .. } = planned;
        // Believed only if the node says so twice.
        observe::agree(self.driver, self.catalogue, node, concerned_by(change))?;
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
        let unfinished = history.open().next().is_some() || !history.units().is_empty();
        if unfinished && !self.options.dry_run {
            match self.saves.lock() {
                Ok(mut dir) => {
                    dir.settle(node, &as_wanted(node, change));
                    self.start_units(&mut dir)?;
                }
                Err(e) => e.problems.iter().for_each(|p| self.tell(Event::Warning(p))),
            }
        }
        Ok(Outcome::Unchanged)
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
            }
            Err(e) => e.problems.iter().for_each(|p| self.tell(Event::Warning(p))),
        }
        for warning in change.not_seen(node, resolved) {
            self.tell(Event::Warning(&warning));
        }
        change.permitted_to_root()?;
        Ok(Outcome::Planned)
    }

    /// Refuses where somebody else has created what going back would destroy.
    fn only_own(&self, node: &ObservedNode, history: &History, run: &Run) -> Result<()> {
        let problems = foreign(node, history, run);
        if problems.is_empty() || self.options.force {
            return Ok(());
        }
        Err(Error {
            code: ExitCode::Refused,
            problems,
            hint: Some("--force destroys it, if it is idle; nothing was changed".to_string()),
        })
    }

    fn nothing_to_undo(
        &mut self,
        node: &ObservedNode,
        run: &Run,
        change: &NodeChange,
    ) -> Result<Outcome> {
        observe::agree(self.driver, self.catalogue, node, concerned_by(change))?;
        if run.end != Some(End::RolledBack) || !run.units.is_empty() {
            match self.saves.lock() {
                Ok(mut dir) => {
                    dir.settle(node, &as_wanted(node, change));
                    self.start_units(&mut dir)?;
                    self.undone(&mut dir, run, change)?;
                }
                Err(e) => e.problems.iter().for_each(|p| self.tell(Event::Warning(p))),
            }
        }
        match left_unreadable(change) {
            left if left.is_empty() => Ok(Outcome::Unchanged),
            left => Err(incomplete("not every GPU could be rolled back".into(), left, None)),
        }
    }

    /// Notes that a run is undone, where that is true of each of its GPUs.
    fn undone(&mut self, dir: &mut StateDir, run: &Run, change: &NodeChange) -> Result<()> {
        let left = left_unreadable(change);
        if !left.is_empty() {
            return Err(incomplete("not every GPU could be rolled back".into(), left, None));
        }
        let last = dir.history.last_apply().map(|last| last.id);
        if last == Some(run.id) && run.end != Some(End::RolledBack) {
            let _ = dir.end(run.id, End::RolledBack);
        }
        Ok(())
    }

    /// Saves, changes, verifies, and undoes where anything fails. `reached`: GPUs, by UUID, that
    /// are as wanted without a change.
    fn carry_out(
        &mut self,
        task: Task<'_>,
        dir: &mut StateDir,
        reached: &BTreeSet<&str>,
    ) -> Result<()> {
        let change = task.change;
        let changes = |gpu: &ObservedGpu| change.gpus.iter().any(|c| c.from.uuid == gpu.uuid);
        let now = observe::agree(self.driver, self.catalogue, task.node, concerned_by(change))?;
        observe::still_idle(task.node, &now, changes)?;
        let mut header = Header::new(task.purpose, &task.source);
        let found: Vec<GpuState> = change.gpus.iter().map(|c| c.from.clone()).collect();
        header.before = states_to_go_back_to(&dir.history, &now, &found);
        // What is there now is known, also on GPUs that only an interrupted run has changed.
        let covered = |gpu: &&ObservedGpu| state_of(&header.before, &gpu.uuid).is_some();
        header.found = now.gpus.iter().filter(covered).filter_map(GpuState::of).collect();
        header.wanted = change.gpus.iter().map(|c| c.to.clone()).collect();
        header.stopped = self.units_to_stop()?;
        let mut interrupt = (self.interrupts)()
            .map_err(|e| Error::new(ExitCode::Internal, format!("signals cannot be noted: {e}")))?;
        let wanted = header.wanted.clone();
        let id = dir.begin(header)?;
        let result = match task.purpose {
            Purpose::Apply => self.change(dir, id, task.change, &mut interrupt),
            Purpose::Rollback => self.go_back(dir, id, &wanted),
        };
        if result.is_ok() {
            // The node is as wanted, whether or not these lines can be written.
            let _ = dir.end(id, End::Applied);
            let mut uuids: BTreeSet<&str> =
                wanted.iter().map(|state| state.uuid.as_str()).collect();
            uuids.extend(reached);
            dir.supersede(&uuids);
            if let Ok((node, _)) = observe::read(self.driver, self.catalogue) {
                dir.settle(&node, &uuids);
            }
        }
        let started = self.start_units(dir);
        result.and(started)
    }

    /// The units of `--stop` that run.
    fn units_to_stop(&mut self) -> Result<Vec<String>> {
        let mut running = Vec::new();
        for unit in &self.options.stop {
            match self.services.is_active(unit) {
                Ok(true) => running.push(unit.clone()),
                Ok(false) => {}
                Err(why) => {
                    return Err(Error::new(ExitCode::Refused, why)
                        .hint("leave out --stop, or stop it by hand; nothing was changed"));
                }
            }
        }
        Ok(running)
    }

    /// Starts what this run, or one that was interrupted, has stopped.
    fn start_units(&mut self, dir: &mut StateDir) -> Result<()> {
        let units: Vec<String> = dir.history.units().into_iter().map(str::to_string).collect();
        let mut problems = Vec::new();
        for unit in units {
            self.tell(Event::Start(&unit));
            match self.services.start(&unit) {
                Ok(()) => dir.started(&unit),
                Err(why) => problems.push(Diagnostic::new(format!("not started again: {why}"))),
            }
        }
        if problems.is_empty() {
            return Ok(());
        }
        Err(Error {
            code: ExitCode::RollbackIncomplete,
            problems,
            hint: Some(
                "start it by hand with systemctl start; the GPUs are as they should be".to_string(),
            ),
        })
    }

    /// Makes a planned change, and undoes it where anything fails.
    fn change(
        &mut self,
        dir: &mut StateDir,
        id: u64,
        change: &NodeChange,
        interrupt: &mut Interrupt,
    ) -> Result<()> {
        let units = dir.history.run(id).map(|run| run.units.clone()).unwrap_or_default();
        let mut touched = BTreeSet::new();
        let done = self.make(dir, id, change, &units, interrupt, &mut touched);
        let Err(Failure { why, hint }) = done else { return Ok(()) };
        self.tell(Event::Failed(&why));
        let found: Vec<GpuState> = change
            .gpus
            .iter()
            .filter(|gpu| touched.contains(&gpu.gpu))
            .map(|gpu| gpu.from.clone())
            .collect();
        match self.restore(&found, &mut |_| {}) {
            Ok(()) => {
                let _ = dir.end(id, End::RolledBack);
                let mut error = Error::new(ExitCode::RolledBack, why);
                error.problems.push(Diagnostic::new("the state before is there again"));
                error.hint = hint;
                Err(error)
            }
            Err(left) => Err(incomplete(why, left, hint)),
        }
    }

    fn go_back(&mut self, dir: &mut StateDir, id: u64, wanted: &[GpuState]) -> Result<()> {
        let units = dir.history.run(id).map(|run| run.units.clone()).unwrap_or_default();
        self.stop_units(&units).map_err(|f| Error::new(ExitCode::RolledBack, f.why))?;
        // It is undone already whatever the journal takes down.
        let mut announce = |step: &Step| {
            let _ = dir.doing(id, &step.to_string());
        };
        self.restore(wanted, &mut announce)
            .map_err(|left| incomplete("the rollback failed".to_string(), left, None))
    }

    pub(super) fn stop_units(&mut self, units: &[String]) -> std::result::Result<(), Failure> {
        for unit in units {
            self.tell(Event::Stop(unit));
            self.services.stop(unit).map_err(|why| Failure { why, hint: None })?;
        }
        Ok(())
    }
}

/// How long to wait between two looks at what is busy.
const WAIT_STEP: Duration = Duration::from_secs(1);

fn busy_elsewhere() -> Error {
    Error::new(ExitCode::Refused, "another migplan is changing this node")
        .hint("wait until it is done; nothing was changed")
}

/// Which GPUs must read the same twice: those of a change, those that are as wanted, and those that
/// seem not to be able to do MIG, which one wrong answer is enough for.
fn concerned_by(change: &NodeChange) -> impl Fn(&ObservedGpu) -> bool {
    let of_change = change.gpus.iter().map(|gpu| gpu.gpu).chain(change.unchanged.iter().copied());
    let indices: BTreeSet<u32> = of_change.collect();
    move |gpu| gpu.mode.is_none() || indices.contains(&gpu.index)
}

/// GPUs, by UUID, that are as wanted without a change.
fn as_wanted<'n>(node: &'n ObservedNode, change: &NodeChange) -> BTreeSet<&'n str> {
    let gpus = node.gpus.iter().filter(|gpu| change.unchanged.contains(&gpu.index));
    gpus.map(|gpu| gpu.uuid.as_str()).collect()
}

/// GPUs that could not be rolled back because they cannot be read.
fn left_unreadable(change: &NodeChange) -> Vec<String> {
    let unreadable = change.missing.iter().filter(|missing| missing.unreadable.is_some());
    unreadable.map(|missing| missing.diagnostic().message).collect()
}

pub(super) fn incomplete(why: String, left: Vec<String>, hint: Option<String>) -> Error {
    let mut error = Error::new(ExitCode::RollbackIncomplete, why);
    error.problems.extend(left.into_iter().map(Diagnostic::new));
    let again = "remove the cause, then `migplan rollback` goes back to the saved state";
    error.hint(match hint {
        Some(hint) => format!("{hint}. {again}"),
        None => again.to_string(),
    })
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
