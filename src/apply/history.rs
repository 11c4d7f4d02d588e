//! What is saved, and what it says of a node: the runs, how each ended, and whether one left a GPU
//! half-way.
//!
//! A run is *open* until each of its GPUs is at the state before it or at a wanted one: its own, or
//! that of a later run. That is judged by the node itself, so it does not matter how far a run came,
//! or whether its last line was written whole. Writes nothing.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::folder::{DiskFolder, Folder};
use super::journal::{End, Header, Journal, Purpose, state_of};
use super::lock;
use super::state::GpuState;
use crate::error::{Diagnostic, Error, Result};
use crate::fleet::observed::ObservedNode;

/// The file of the form before: one, of the last run only.
const OLD_FILE: &str = "journal.jsonl";

/// A run that was saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its number, from 1.
    pub id: u64,
    /// What was saved before its first change.
    pub header: Header,
    /// How it ended; `None` while it is open.
    pub end: Option<End>,
    /// Units that it stopped and that nothing has started since.
    pub units: Vec<String>,
    /// GPUs, by UUID, that a later run has brought to a state that it wanted.
    pub(super) superseded: BTreeSet<String>,
    pub(super) file: String,
}

/// A file that should hold a run, and does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// The number in its name.
    pub id: u64,
    /// What is wrong.
    pub problem: Diagnostic,
}

/// All runs that are kept in a folder, by number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct History {
    /// The runs.
    pub runs: Vec<Run>,
    /// What should be a run, but cannot be read.
    pub damaged: Vec<Damaged>,
}

impl Run {
    /// Whether some GPU may still be half-way.
    pub fn is_open(&self) -> bool {
        self.end.is_none()
    }

    /// Every state that it knows of a GPU.
    pub(super) fn states<'r>(&'r self, uuid: &'r str) -> impl Iterator<Item = &'r GpuState> {
        let header = &self.header;
        let all = header.before.iter().chain(&header.found).chain(&header.wanted);
        all.filter(move |state| state.uuid == uuid)
    }

    /// The state of a GPU that a later run has to go back to, where this one is open: unless a run
    /// in between has brought the GPU to a state that was wanted.
    pub(super) fn taken_over(&self) -> impl Iterator<Item = &GpuState> {
        self.header.before.iter().filter(|state| !self.superseded.contains(&state.uuid))
    }

    /// The state that the run found of a GPU, where that is not the one to go back to: an
    /// interrupted run had changed the GPU, and the state before that one was taken over. The form
    /// of before does not tell.
    pub fn found_otherwise(&self, uuid: &str) -> Option<&GpuState> {
        if self.file == OLD_FILE {
            return None;
        }
        let found = state_of(&self.header.found, uuid)?;
        (state_of(&self.header.before, uuid) != Some(found)).then_some(found)
    }

    /// Where a GPU of the run is now.
    fn place(&self, uuid: &str, node: &ObservedNode) -> Place {
        if self.superseded.contains(uuid) {
            return Place::Elsewhere;
        }
        let Some(gpu) = node.gpus.iter().find(|gpu| gpu.uuid == *uuid) else {
            // One that is gone for good is nothing to wait for; one that cannot be read may be it.
            let gone = node.unreadable.is_empty();
            return if gone { Place::Elsewhere } else { Place::HalfWay };
        };
        let is_at = |states: &[GpuState]| {
            states.iter().any(|state| state.uuid == uuid && state.is_state_of(gpu))
        };
        if is_at(&self.header.wanted) {
            Place::Wanted
        } else if is_at(&self.header.before) || is_at(&self.header.found) {
            Place::Before
        } else {
            Place::HalfWay
        }
    }

    /// How it has ended, judged by the node as it is; `None` while a GPU is half-way, or some are
    /// as before and others as wanted. The GPUs of `reached` are as a later command wants them.
    pub(super) fn judged(&self, node: &ObservedNode, reached: &BTreeSet<&str>) -> Option<End> {
        let (mut before, mut wanted, mut elsewhere) = (0, 0, 0);
        for GpuState { uuid, .. } in &self.header.wanted {
            match self.place(uuid, node) {
                Place::Wanted => wanted += 1,
                Place::Before => before += 1,
                Place::HalfWay if !reached.contains(uuid.as_str()) => return None,
                Place::HalfWay | Place::Elsewhere => elsewhere += 1,
            }
        }
        match (before, wanted, elsewhere) {
            (_, 0, 0) => Some(End::RolledBack),
            (0, _, 0) => Some(End::Applied),
            (0, ..) | (_, 0, _) => Some(End::Superseded),
            _ => None,
        }
    }

    /// Whether the node shows that it was interrupted: a GPU is half-way, or some are changed and
    /// others are not.
    pub fn is_unfinished(&self, node: &ObservedNode) -> bool {
        self.is_open() && self.judged(node, &BTreeSet::new()).is_none()
    }

    /// The GPUs that it left half-way, by index.
    pub fn half_way(&self, node: &ObservedNode) -> Vec<u32> {
        let of_run = self.header.wanted.iter();
        let half = of_run.filter(|state| self.place(&state.uuid, node) == Place::HalfWay);
        half.map(|state| state.gpu).collect()
    }

    /// `the apply of config.yaml, label test (run 3) was interrupted …`, for people.
    pub fn interrupted(&self, node: &ObservedNode) -> String {
        let what = match self.header.purpose {
            Purpose::Apply => "apply of",
            Purpose::Rollback => "rollback to the",
        };
        let half: Vec<String> = self.half_way(node).iter().map(u32::to_string).collect();
        let half = match half.is_empty() {
            true => String::new(),
            false => format!(", with GPU {} half-way", half.join(", ")),
        };
        format!(
            "the {what} {} (run {}) was interrupted or could not be undone{half}; `migplan rollback` goes back to the state before it",
            self.header.source, self.id
        )
    }
}

/// Where a GPU of a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Before,
    Wanted,
    HalfWay,
    /// Where a later run wanted it, or gone.
    Elsewhere,
}

impl History {
    /// Reads what is saved in a folder; `place` is its name for messages.
    ///
    /// # Errors
    /// The folder cannot be read (exit 3). A file that cannot is one of [`Self::damaged`].
    pub fn read(folder: &mut dyn Folder, place: &Path) -> Result<History> {
        let mut history = History::default();
        let names = folder.names().map_err(|e| unreadable(place, &e))?;
        let mut files: Vec<(u64, String)> =
            names.into_iter().filter_map(|name| Some((number(&name)?, name))).collect();
        files.sort();
        for (id, name) in files {
            let read = folder.read(&name).map_err(|e| format!("cannot be read: {e}"));
            match read.and_then(|content| Journal::parse(&content)) {
                Ok(Journal { header, end, units, superseded }) => {
                    history.runs.push(Run { id, header, end, units, superseded, file: name });
                }
                Err(why) => {
                    let file = place.join(&name).display().to_string();
                    let problem = Diagnostic::new(why).in_file(file).at_line(1);
                    history.damaged.push(Damaged { id, problem });
                }
            }
        }
        Ok(history)
    }

    /// The saved runs of a folder that may not be there, without a lock; and whether another
    /// migplan is at work there right now.
    ///
    /// # Errors
    /// It may not be read (exit 3).
    pub fn look(path: &Path) -> Result<(History, bool)> {
        let folder = DiskFolder::open(path).map_err(|e| unreadable(path, &e))?;
        let Some(mut folder) = folder else { return Ok((History::default(), false)) };
        let held = lock::is_held(&folder);
        Ok((History::read(&mut folder, path)?, held))
    }

    /// The run that `rollback` undoes: the last apply.
    pub fn last_apply(&self) -> Option<&Run> {
        self.runs.iter().rev().find(|run| run.header.purpose == Purpose::Apply)
    }

    /// The run with this number.
    pub fn run(&self, id: u64) -> Option<&Run> {
        self.runs.iter().find(|run| run.id == id)
    }

    /// The runs of which some GPU may still be half-way.
    pub fn open(&self) -> impl DoubleEndedIterator<Item = &Run> {
        self.runs.iter().filter(|run| run.is_open())
    }

    /// Units that a run stopped and that have not been started since.
    pub fn units(&self) -> BTreeSet<&str> {
        self.runs.iter().flat_map(|run| &run.units).map(String::as_str).collect()
    }

    /// Refuses where a run cannot be read: it may be the only one that knows the way back.
    ///
    /// # Errors
    /// Some are damaged (exit 3).
    pub fn whole(&self) -> Result<()> {
        if self.damaged.is_empty() {
            return Ok(());
        }
        let problems: Vec<Diagnostic> = self.damaged.iter().map(|d| d.problem.clone()).collect();
        Err(Error::inputs(problems).hint(
            "this file may hold the way back from an interrupted run; move it elsewhere to go on without it. Nothing was changed",
        ))
    }
}

fn unreadable(folder: &Path, why: &io::Error) -> Error {
    let problem = Diagnostic::new(format!("the saved states cannot be read: {why}"));
    Error::input(problem.in_file(folder.display().to_string()))
        .hint("run it as root, or name another folder with --state-dir")
}

/// The number of the run in a file, by the file's name.
fn number(name: &str) -> Option<u64> {
    if name == OLD_FILE {
        return Some(0);
    }
    name.strip_prefix("run-")?.strip_suffix(".jsonl")?.parse().ok()
}
