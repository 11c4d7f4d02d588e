//! What is saved, and what it says of a node: the runs, how each ended, and whether one left a GPU
//! half-way.
//!
//! A run is *open* until each of its GPUs is at the state before it or at a wanted one: its own, or
//! that of a later run. That is judged by the node itself, so it does not matter how far a run came,
//! or whether its last line was written whole. A GPU that is gone may come back, so it keeps its run
//! open too; but nobody is told of such a run, and of the runs that are kept it goes as a closed one
//! does. Writes nothing.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::folder::{DiskFolder, Folder};
use super::journal::{End, Header, Journal, Purpose, state_of};
use super::lock;
use super::others;
use super::state::{GpuState, Presence};
use crate::error::{Diagnostic, Error, ExitCode, Result};
use crate::fleet::observed::{ObservedGpu, ObservedNode};

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
    /// Whether nothing but GPUs that were gone when it was judged last keeps it open.
    pub(super) waits_for_gone: bool,
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
        all.chain(&header.at_risk).filter(move |state| state.uuid == uuid)
    }

    /// The states to go back to: beside those of the GPUs that it changed, while it is open, of others
    /// that lack something since.
    pub(super) fn back_to(&self, node: &ObservedNode) -> Vec<GpuState> {
        let lacking = self.lacking(node).filter(|_| self.is_open());
        others::joined(&self.header.before, lacking)
    }

    /// Of these, what a later run has to go back to, where this one is open: unless a run in between
    /// has brought the GPU to a state that was wanted.
    pub(super) fn taken_over(&self, node: &ObservedNode) -> impl Iterator<Item = GpuState> {
        self.back_to(node).into_iter().filter(|state| !self.superseded.contains(&state.uuid))
    }

    /// The states of GPUs that it did not change and that lack something since.
    fn lacking<'r>(&'r self, node: &'r ObservedNode) -> impl Iterator<Item = &'r GpuState> {
        let lacking = others::lacking(&self.header.at_risk, node);
        lacking.filter(|state| !self.superseded.contains(&state.uuid))
    }

    /// The state that the run found of a GPU, where that is not the one to go back to: an
    /// interrupted run had changed the GPU, and the state before that one was taken over. The form
    /// of before does not tell.
    pub fn found_otherwise(&self, uuid: &str) -> Option<&GpuState> {
        if self.file == OLD_FILE {
            return None;
        }
        let found = state_of(&self.header.found, uuid)?;
        let before = state_of(&self.header.before, uuid);
        (!before.is_some_and(|before| before.same(found))).then_some(found)
    }

    /// Where a GPU of the run is now.
    fn place<'n>(&self, state: &GpuState, node: &'n ObservedNode) -> Place<'n> {
        let uuid = &state.uuid;
        if self.superseded.contains(uuid) {
            return Place::Elsewhere;
        }
        let gpu = match state.find(node) {
            Presence::Here(gpu) => gpu,
            Presence::Unreadable(_) => return Place::Unknown,
            Presence::Gone => return Place::Gone,
        };
        let is_at = |states: &[GpuState]| {
            states.iter().any(|state| state.uuid == *uuid && state.is_state_of(gpu))
        };
        if is_at(&self.header.wanted) {
            Place::Wanted
        } else if is_at(&self.header.before) || is_at(&self.header.found) {
            Place::Before
        } else {
            Place::HalfWay(gpu)
        }
    }

    /// How the GPUs that are on the node say that it ended, and whether others are gone; no end
    /// while one is half-way or cannot be read, or some are as before and others as wanted.
    fn seen(&self, node: &ObservedNode, reached: &BTreeSet<&str>) -> (Option<End>, bool) {
        let (mut before, mut wanted, mut elsewhere) = (0, 0, 0);
        let (mut unknown, mut gone) = (false, false);
        for state in &self.header.wanted {
            match self.place(state, node) {
                Place::Wanted => wanted += 1,
                Place::Before => before += 1,
                Place::HalfWay(_) if reached.contains(state.uuid.as_str()) => elsewhere += 1,
                Place::Elsewhere => elsewhere += 1,
                Place::HalfWay(_) | Place::Unknown => unknown = true,
                Place::Gone => gone = true,
            }
        }
        for state in self.lacking(node) {
            match state.find(node) {
                Presence::Gone => gone = true,
                Presence::Here(gpu) if reached.contains(gpu.uuid.as_str()) => {}
                Presence::Here(_) | Presence::Unreadable(_) => unknown = true,
            }
        }
        let end = match (before, wanted, elsewhere) {
            _ if unknown => None,
            (_, 0, 0) => Some(End::RolledBack),
            (0, _, 0) => Some(End::Applied),
            (0, ..) | (_, 0, _) => Some(End::Superseded),
            _ => None,
        };
        (end, gone)
    }

    /// How it has ended, judged by the node as it is; `None` while that cannot be said of each of
    /// its GPUs. The GPUs of `reached` are as a later command wants them.
    pub(super) fn judged(&self, node: &ObservedNode, reached: &BTreeSet<&str>) -> Option<End> {
        let (end, gone) = self.seen(node, reached);
        end.filter(|_| !gone)
    }

    /// Whether only GPUs that are gone keep it open.
    pub(super) fn waits_for_gone(&self, node: &ObservedNode) -> bool {
        matches!(self.seen(node, &BTreeSet::new()), (Some(_), true))
    }

    /// Whether the node shows that it was interrupted: a GPU is half-way or cannot be read, or some
    /// are changed and others are not. What is gone shows nothing.
    pub fn is_unfinished(&self, node: &ObservedNode) -> bool {
        self.is_open() && self.seen(node, &BTreeSet::new()).0.is_none()
    }

    /// The GPUs that it left half-way, by their index on this node.
    pub fn half_way(&self, node: &ObservedNode) -> Vec<u32> {
        let of_run = self.header.wanted.iter();
        let half = of_run.filter_map(|state| match self.place(state, node) {
            Place::HalfWay(gpu) => Some(gpu.index),
            _ => None,
        });
        let lacking = self.lacking(node).filter_map(|state| match state.find(node) {
            Presence::Here(gpu) => Some(gpu.index),
            Presence::Unreadable(_) | Presence::Gone => None,
        });
        half.chain(lacking).collect::<BTreeSet<u32>>().into_iter().collect()
    }

    /// `the apply of config.yaml, label test (run 3) was interrupted …`, for people.
    pub fn interrupted(&self, node: &ObservedNode) -> String {
        let id = self.id;
        let (what, back) = match self.header.purpose {
            Purpose::Apply => (
                "apply of",
                format!("`migplan rollback --to {id}` goes back to the state before it"),
            ),
            Purpose::Rollback => (
                "rollback to the",
                format!(
                    "`migplan rollback` goes back to the state before the last apply, `migplan rollback --to {id}` to the one before this rollback"
                ),
            ),
        };
        let half: Vec<String> = self.half_way(node).iter().map(u32::to_string).collect();
        let half = match half.is_empty() {
            true => String::new(),
            false => format!(", with GPU {} half-way", half.join(", ")),
        };
        format!(
            "the {what} {} (run {id}) was interrupted or could not be undone{half}; {back}",
            self.header.source
        )
    }
}

/// Where a GPU of a run is.
#[derive(Debug, Clone, Copy)]
enum Place<'n> {
    Before,
    Wanted,
    HalfWay(&'n ObservedGpu),
    /// It cannot be read, so it may be half-way.
    Unknown,
    /// Where a later run wanted it.
    Elsewhere,
    Gone,
}

impl History {
    /// Reads what is saved in a folder; `place` is its name for messages.
    ///
    /// # Errors
    /// The folder cannot be read (exit 3), or this user may not (exit 7). A file that cannot be read is
    /// one of [`Self::damaged`].
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
                    let waits_for_gone = false;
                    let file = name;
                    history.runs.push(Run {
                        id,
                        header,
                        end,
                        units,
                        superseded,
                        waits_for_gone,
                        file,
                    });
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
    /// As [`Self::read`].
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

    /// Units that a run stopped and that have not been started since, each once, in the order in which
    /// they were stopped: one that needs another one comes after it.
    pub fn units(&self) -> Vec<&str> {
        let mut units: Vec<&str> = Vec::new();
        for unit in self.runs.iter().flat_map(|run| &run.units) {
            if !units.contains(&unit.as_str()) {
                units.push(unit);
            }
        }
        units
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
    let error = Error::input(problem.in_file(folder.display().to_string()))
        .hint("run it as root, or name another folder with --state-dir");
    match why.kind() {
        io::ErrorKind::PermissionDenied => Error { code: ExitCode::Refused, ..error },
        _ => error,
    }
}

/// The number of the run in a file, by the file's name.
fn number(name: &str) -> Option<u64> {
    if name == OLD_FILE {
        return Some(0);
    }
    name.strip_prefix("run-")?.strip_suffix(".jsonl")?.parse().ok()
}
