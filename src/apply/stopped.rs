//! The systemd units of `--stop`: which run and are stopped for a change, what ends with them, and
//! that each is started again, those too that a run that died has left stopped.

use std::thread;

use super::guard::NodeChange;
use super::history::History;
use super::observe;
use super::operator::{Event, Reached};
use super::services::full_name;
use super::session::{Session, Task, and_units, concerned_by, joined};
use super::state_dir::StateDir;
use crate::error::{Diagnostic, Error, ExitCode, Result};
use crate::fleet::observed::{Instances, ObservedNode, Process};

impl Session<'_> {
    /// Plans a change. Where something runs in the way that ends with a unit of --stop, it is no
    /// refusal: the change is planned as if it had ended, and looked at again once the unit is stopped.
    /// The sentences tell what ends.
    pub(super) fn plan_with_units(
        &mut self,
        node: &ObservedNode,
        plan: impl Fn(&ObservedNode) -> NodeChange,
    ) -> (NodeChange, Vec<Diagnostic>) {
        let change = plan(node);
        if change.busy() == 0 || self.options.stop.is_empty() {
            return (change, Vec::new());
        }
        let (quiet, ends) = self.without_units(node);
        let after = plan(&quiet);
        match after.busy() < change.busy() {
            true => (after, ends),
            false => (change, Vec::new()),
        }
    }

    /// The node without what runs in the units of --stop, and what that is, each a sentence.
    pub(super) fn without_units(&mut self, node: &ObservedNode) -> (ObservedNode, Vec<Diagnostic>) {
        let mut quiet = node.clone();
        let mut ends: Vec<Diagnostic> = Vec::new();
        let Session { services, options, .. } = self;
        for gpu in &mut quiet.gpus {
            let index = gpu.index;
            let mut stays = |process: &Process| {
                let unit = options.stop.iter().find(|unit| services.owns(unit, process.pid));
                let Some(unit) = unit else { return true };
                let told =
                    format!("GPU {index}: {process} ends with {unit}, which is stopped first");
                let told = Diagnostic::new(told);
                if !ends.contains(&told) {
                    ends.push(told);
                }
                false
            };
            gpu.processes.retain(&mut stays);
            if let Instances::Known(instances) = &mut gpu.instances {
                for compute in instances.iter_mut().flat_map(|instance| &mut instance.compute) {
                    compute.processes.retain(&mut stays);
                }
            }
        }
        (quiet, ends)
    }

    /// The refusal of a change (exit 7), if there is one.
    pub(super) fn permitted(&self, change: &NodeChange) -> Result<()> {
        let of_no_unit = change.busy() > 0 && !self.options.stop.is_empty();
        change.permitted().map_err(|mut refusal| {
            if of_no_unit {
                let why =
                    "what runs there is in no unit of --stop, as far as its control group tells";
                refusal.hint = joined([Some(why.to_string()), refusal.hint]);
            }
            refusal
        })
    }

    /// Tells of units that a run has left stopped, where this one starts none.
    pub(super) fn warn_of_units(&mut self, history: &History) {
        for run in history.runs.iter().filter(|run| !run.units.is_empty()) {
            let told = format!("run {} has stopped {}", run.id, run.units.join(", "));
            let told = told + ", and nothing has started it since";
            self.tell(Event::Warning(&Diagnostic::new(told)));
        }
    }

    /// Starts what a run that died has left stopped, where this one ends before its first change.
    pub(super) fn start_left_units(&mut self, error: Error) -> Error {
        use ExitCode::{BadInput, NoDriver, Refused};
        if self.options.dry_run || !matches!(error.code, Refused | NoDriver | BadInput) {
            return error;
        }
        let history = match self.saves.look() {
            Ok((history, false)) if !history.units().is_empty() => history,
            _ => return error,
        };
        let mut dir = match self.saves.lock() {
            Ok(dir) => dir,
            Err(e) => {
                self.warn_of_units(&history);
                e.problems.iter().for_each(|problem| self.tell(Event::Warning(problem)));
                return error;
            }
        };
        let reached = Reached::AsBefore;
        self.tell(Event::Ended(reached));
        match self.start_units(&mut dir, reached, &[]) {
            Ok(()) => error,
            Err(units) => and_units(error, units),
        }
    }

    /// The units of `--stop` that run, and then those that systemd stops together with them, each
    /// after one that it is stopped with.
    pub(super) fn units_to_stop(&mut self) -> Result<Vec<String>> {
        self.find_units_to_stop().map_err(|why| {
            Error::new(ExitCode::Refused, why)
                .hint("leave out --stop, or stop it by hand; nothing was changed")
        })
    }

    fn find_units_to_stop(&mut self) -> std::result::Result<Vec<String>, String> {
        let Session { services, options, .. } = self;
        let mut running: Vec<String> = Vec::new();
        for unit in &options.stop {
            if services.is_active(unit)? {
                running.push(unit.clone());
            }
        }
        // One that does not run has others stopped all the same.
        let mut stopped = running.clone();
        let mut next = 0;
        while let Some(unit) = stopped.get(next) {
            for unit in services.stopped_with(unit)? {
                if stopped.iter().any(|known| full_name(known) == full_name(&unit)) {
                    continue;
                }
                // A target holds no GPU, and would start everything that it wants.
                if !unit.ends_with(".target") && services.is_active(&unit)? {
                    running.push(unit.clone());
                }
                stopped.push(unit);
            }
            next += 1;
        }
        Ok(running)
    }

    /// Starts what this run, or one that was interrupted, has stopped. `own`: the units of this run.
    /// One that is not there any more is told once, and is an error only for the run that stopped it.
    pub(super) fn start_units(
        &mut self,
        dir: &mut StateDir,
        reached: Reached,
        own: &[String],
    ) -> Result<()> {
        let units: Vec<String> = dir.history.units().into_iter().map(str::to_string).collect();
        let mut problems = Vec::new();
        for unit in units {
            self.tell(Event::Start(&unit));
            let Err(why) = self.services.start(&unit) else {
                dir.started(&unit);
                continue;
            };
            let problem = Diagnostic::new(format!("not started again: {why}"));
            let gone = self.services.is_gone(&unit);
            if gone {
                dir.started(&unit);
            }
            match gone && !own.contains(&unit) {
                true => self.tell(Event::Warning(&problem)),
                false => problems.push(problem),
            }
        }
        if problems.is_empty() {
            return Ok(());
        }
        let gpus = match reached {
            Reached::AsWanted => "; the GPUs are as wanted",
            Reached::AsBefore => "; the GPUs are as before",
            Reached::Incomplete => "",
        };
        let hint = Some(format!("start it by hand with systemctl start{gpus}"));
        Err(Error { code: ExitCode::RollbackIncomplete, problems, hint })
    }

    /// Reads the GPUs once more after units were stopped: others may have changed them meanwhile, and
    /// what runs in the units must have ended.
    pub(super) fn look_again(&mut self, task: &Task<'_>) -> Result<()> {
        if self.options.stop.is_empty() {
            return Ok(());
        }
        let Task { node, change, .. } = task;
        let mut pauses = self.options.patience.0.clone().into_iter();
        loop {
            let now =
                observe::agree(self.driver, self.catalogue, node, concerned_by(node, change))?;
            match (observe::still_as_planned(change, &now), pauses.next()) {
                (Ok(()), _) => return Ok(()),
                // What has ended may be listed for a moment.
                (Err(_), Some(pause)) => thread::sleep(pause),
                (Err(refusal), None) => {
                    return Err(refusal.hint(
                        "it has not ended with the units of --stop; end it, or drain the node; no GPU was changed",
                    ));
                }
            }
        }
    }

    /// Stops the units of a run.
    pub(super) fn stop_units(&mut self, units: &[String]) -> Result<()> {
        for unit in units {
            self.tell(Event::Stop(unit));
            if let Err(why) = self.services.stop(unit) {
                return Err(Error::new(ExitCode::Refused, why)
                    .hint("leave out --stop, or stop it by hand; no GPU was changed"));
            }
        }
        Ok(())
    }
}
