//! Saving states, so that a run that dies can be undone, and any earlier state be reached again:
//! one file per run, numbered, in the state folder, which is locked while a run is at work.
//!
//! A run that finds an open one takes over the states to go back to, since what an interrupted run
//! left half-way is no state to go back to.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use super::folder::{DiskFolder, Folder};
use super::history::{History, Run};
use super::journal::{End, Header, Line};
use super::lock::{GPU_LOCKS_VARIABLE, Lock, NotLocked};
use crate::error::{Diagnostic, Error, ExitCode, Result, is_full};
use crate::fleet::observed::ObservedNode;

/// Where states are saved if nothing else is said.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/migplan";
/// How many runs are kept; beyond that, open ones are whose GPUs are on the node.
pub const RUNS_KEPT: usize = 1000;

/// Where states are saved.
pub trait Saves {
    /// Opens and locks it.
    ///
    /// # Errors
    /// As [`StateDir::lock`].
    fn lock(&mut self) -> Result<StateDir>;
    /// What is saved, without a lock, and whether another migplan has the lock.
    ///
    /// # Errors
    /// As [`History::look`].
    fn look(&mut self) -> Result<(History, bool)>;
    /// Whether states could be saved there, as far as that shows without a lock.
    ///
    /// # Errors
    /// As [`StateDir::lock`], but not for another migplan at work.
    fn ready(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Saves for &std::path::Path {
    fn lock(&mut self) -> Result<StateDir> {
        StateDir::lock(self)
    }

    fn look(&mut self) -> Result<(History, bool)> {
        History::look(self)
    }

    fn ready(&mut self) -> Result<()> {
        let mut folder = DiskFolder::open_to_write(self).map_err(|e| not_saved(self, &e))?;
        History::read(&mut folder, self)?.whole()
    }
}

/// The folder in which states are saved, locked for this process.
pub struct StateDir {
    path: PathBuf,
    folder: Box<dyn Folder>,
    lock: Option<Lock>,
    /// What is saved there.
    pub history: History,
}

impl std::fmt::Debug for StateDir {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateDir").field("path", &self.path).finish_non_exhaustive()
    }
}

impl StateDir {
    /// Opens the folder, makes it if needed, locks it and reads what is there.
    ///
    /// # Errors
    /// Another migplan changes this node, or the folder cannot be written or is not safe (exit 7);
    /// it cannot be read (exit 3).
    pub fn lock(path: &Path) -> Result<StateDir> {
        let folder = DiskFolder::open_to_write(path).map_err(|e| not_saved(path, &e))?;
        let lock = Lock::folder(&folder).map_err(|e| not_locked(path, e))?;
        StateDir::new(path, Box::new(folder), Some(lock))
    }

    /// A folder of this process alone, as a test has it.
    ///
    /// # Errors
    /// It cannot be read (exit 3).
    pub fn unshared(folder: Box<dyn Folder>) -> Result<StateDir> {
        StateDir::new(Path::new("state"), folder, None)
    }

    fn new(path: &Path, mut folder: Box<dyn Folder>, lock: Option<Lock>) -> Result<StateDir> {
        let history = History::read(&mut *folder, path)?;
        Ok(StateDir { path: path.to_path_buf(), folder, lock, history })
    }

    /// Locks GPUs too, in `folder`, against a run that saves its states elsewhere.
    ///
    /// # Errors
    /// Another migplan changes one of them, or the folder cannot be written or is not safe (exit 7).
    pub fn lock_gpus<'a>(
        &mut self,
        folder: &Path,
        uuids: impl Iterator<Item = &'a str>,
    ) -> Result<()> {
        let Some(lock) = &mut self.lock else { return Ok(()) };
        lock.gpus(folder, uuids).map_err(|e| match e {
            NotLocked::Failed(e) => {
                let problem = Diagnostic::new(format!("the GPUs cannot be locked: {e}"));
                let place = problem.in_file(folder.display().to_string());
                Error { code: ExitCode::Refused, ..Error::input(place) }.hint(format!(
                    "run it as root, or name a folder that only you may write to with {GPU_LOCKS_VARIABLE}; nothing was changed"
                ))
            }
            taken => not_locked(folder, taken),
        })
    }

    /// Closes the open runs of which no GPU is half-way any more, if two readings agree on it: one
    /// alone may not be true. Both must have been made under this lock, since before it another
    /// migplan may have been at work. `reached`: GPUs, by UUID, that are as the present command wants
    /// them. What cannot be written is found again next time.
    pub fn settle(&mut self, readings: [&ObservedNode; 2], reached: &BTreeSet<&str>) {
        for run in self.history.runs.iter_mut().filter(|run| run.is_open()) {
            let [first, second] = readings.map(|node| run.judged(node, reached));
            if let Some(end) = first.filter(|_| first == second) {
                let _ = append(&mut *self.folder, &run.file, &Line::Ended(end));
                run.end = Some(end);
            }
            run.waits_for_gone = readings.iter().all(|node| run.waits_for_gone(node));
        }
    }

    /// Notes in every open run that a later one has brought these GPUs to what it wanted.
    pub fn supersede(&mut self, uuids: &BTreeSet<&str>) {
        for run in self.history.runs.iter_mut().filter(|run| run.is_open()) {
            for state in run.header.before.iter().chain(&run.header.at_risk) {
                let uuid = &state.uuid;
                if uuids.contains(uuid.as_str()) && run.superseded.insert(uuid.clone()) {
                    let _ = append(&mut *self.folder, &run.file, &Line::Superseded(uuid.clone()));
                }
            }
        }
    }

    /// Saves the states of a run; from now on each change is to be announced.
    ///
    /// # Errors
    /// They cannot be written (exit 7): nothing has been touched yet.
    pub fn begin(&mut self, header: Header) -> Result<u64> {
        self.save(header).map_err(|e| not_saved(&self.path, &e))
    }

    /// As [`Self::begin`], for a rollback: `None` where the disk is full, but every state to go back
    /// to is one that an earlier run has saved and no unit is to be stopped, so that nothing is lost
    /// without a file.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub fn begin_rollback(&mut self, header: Header) -> Result<Option<u64>> {
        let saved = |state| self.history.runs.iter().any(|run| run.header.before.contains(state));
        let dispensable = header.stopped.is_empty() && header.before.iter().all(saved);
        match self.save(header) {
            Ok(id) => Ok(Some(id)),
            Err(e) if is_full(&e) && dispensable => Ok(None),
            Err(e) => Err(not_saved(&self.path, &e)),
        }
    }

    fn save(&mut self, header: Header) -> io::Result<u64> {
        let damaged = self.history.damaged.iter().map(|d| d.id);
        let id = self.history.runs.iter().map(|run| run.id).chain(damaged).max().unwrap_or(0) + 1;
        let file = format!("run-{id:06}.jsonl");
        self.write(&file, &header)?;
        let units = header.stopped.clone();
        let superseded = BTreeSet::new();
        let waits_for_gone = false;
        self.history.runs.push(Run {
            id,
            header,
            end: None,
            units,
            superseded,
            waits_for_gone,
            file,
        });
        self.forget_the_oldest();
        Ok(id)
    }

    fn write(&mut self, file: &str, header: &Header) -> io::Result<()> {
        let temporary = format!("{file}.tmp");
        let line = header.text()?;
        let folder = &mut *self.folder;
        // One that a run left that died here.
        if folder.names()?.contains(&temporary) {
            folder.remove(&temporary)?;
        }
        let written = (|| {
            folder.create(&temporary)?;
            folder.append(&temporary, &line)?;
            // Must outlast a power failure: MIG mode does, on Ampere.
            folder.sync(&temporary)?;
            folder.rename(&temporary, file)?;
            folder.sync_names()
        })();
        if written.is_err() {
            // Without its first change, a run is nothing that must be undone.
            let _ = folder.remove(&temporary);
            let _ = folder.remove(file);
        }
        written
    }

    /// Removes the oldest runs beyond those that are kept, unless they are open for a GPU that is
    /// there or have stopped a unit.
    fn forget_the_oldest(&mut self) {
        let mut extra = self.history.runs.len().saturating_sub(RUNS_KEPT);
        let folder = &mut *self.folder;
        self.history.runs.retain(|run| {
            let over = !run.is_open() || run.waits_for_gone;
            let goes = extra > 0 && over && run.units.is_empty();
            extra -= usize::from(goes);
            !(goes && folder.remove(&run.file).is_ok())
        });
    }

    /// Removes a run that has ended without a change, so that it is not taken for the last one; not
    /// while a unit that it stopped has not been started.
    pub fn forget(&mut self, id: u64) {
        let folder = &mut *self.folder;
        self.history.runs.retain(|run| {
            let goes = run.id == id && run.units.is_empty();
            !(goes && folder.remove(&run.file).is_ok())
        });
        // Where a power failure brings it back, it has ended all the same.
        let _ = folder.sync_names();
    }

    /// Announces a change.
    ///
    /// # Errors
    /// It cannot be written; then the change must not be made.
    pub fn doing(&mut self, id: u64, what: &str) -> io::Result<()> {
        self.note(id, &Line::Doing(what.to_string()))
    }

    /// Notes how a run ended.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn end(&mut self, id: u64, end: End) -> io::Result<()> {
        if let Some(run) = self.history.runs.iter_mut().find(|run| run.id == id) {
            run.end = Some(end);
        }
        self.note(id, &Line::Ended(end))
    }

    /// Notes that a run has been undone: the last apply, since one before it says nothing of the
    /// node as it is.
    pub fn undone(&mut self, id: u64) {
        let last = self.history.last_apply();
        if last.is_some_and(|last| last.id == id && last.end != Some(End::RolledBack)) {
            let _ = self.end(id, End::RolledBack);
        }
    }

    /// Notes that a unit has been started again, for every run that stopped it.
    pub fn started(&mut self, unit: &str) {
        for run in self.history.runs.iter_mut().filter(|run| run.units.iter().any(|u| u == unit)) {
            run.units.retain(|u| u != unit);
            let _ = append(&mut *self.folder, &run.file, &Line::Started(unit.to_string()));
        }
    }

    fn note(&mut self, id: u64, line: &Line) -> io::Result<()> {
        match self.history.run(id) {
            Some(run) => append(&mut *self.folder, &run.file, line),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

fn append(folder: &mut dyn Folder, file: &str, line: &Line) -> io::Result<()> {
    folder.append(file, &line.text()?)
}

fn not_saved(path: &Path, error: &io::Error) -> Error {
    let problem = Diagnostic::new(format!("the present state cannot be saved: {error}"));
    let hint = match is_full(error) {
        // Another folder would not know the states that are saved in this one.
        true => "make room on its disk, then run it again; nothing was changed",
        false => {
            "run it as root, or name a folder that only you may write to with --state-dir; nothing was changed"
        }
    };
    Error {
        code: ExitCode::Refused,
        problems: vec![problem.in_file(path.display().to_string())],
        hint: Some(hint.to_string()),
    }
}

fn not_locked(path: &Path, why: NotLocked) -> Error {
    match why {
        NotLocked::Taken(what) => Error::new(
            ExitCode::Refused,
            format!("another migplan is changing this node ({what} is locked)"),
        )
        .hint("wait until it is done; nothing was changed"),
        NotLocked::Failed(e) => not_saved(path, &e),
    }
}
