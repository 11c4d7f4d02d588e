//! What is saved before anything is changed, so that a run that dies can be undone, and any earlier
//! state be reached again: one file of JSON lines per run, numbered, in the state folder.
//!
//! The first line of a file holds the states of every GPU that the run is about: as it was found,
//! as it is to become, and the one to go back to. Recovery compares those with the node itself, so
//! it does not matter how far a run came, or whether its last line was written whole.
//!
//! A run is *open* until each of its GPUs is at the state before it or at a wanted one: its own, or
//! that of a later run. A run that finds an open one takes over the states to go back to, since
//! what an interrupted run left half-way is no state to go back to.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::folder::{DiskFolder, Folder};
use super::lock::{self, Lock, NotLocked};
use super::state::GpuState;
use crate::error::{Diagnostic, Error, ExitCode, Result};
use crate::fleet::observed::ObservedNode;

/// Schema key of the journal.
pub const JOURNAL_SCHEMA: &str = "migplan.journal/v2";
/// The form of before: one file, the last run only.
const OLD_SCHEMA: &str = "migplan.journal/v1";
const OLD_FILE: &str = "journal.jsonl";
/// Where states are saved if nothing else is said.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/migplan";
/// How many runs are kept; open ones always are.
pub const RUNS_KEPT: usize = 1000;

/// What a run was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// `apply`.
    Apply,
    /// `rollback`.
    Rollback,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Its GPUs are as it wanted them.
    Applied,
    /// Its GPUs are as before.
    RolledBack,
    /// Each of its GPUs is as before or as it, or a later run, wanted it.
    Superseded,
}

/// The first line of a run: everything that recovery needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    schema: String,
    /// What it is for.
    pub purpose: Purpose,
    /// What was applied, or which run was undone, for people.
    pub source: String,
    /// Seconds since 1970.
    pub started: u64,
    /// The states to go back to. Beside the GPUs that the run changes, those of interrupted runs
    /// that it takes over from.
    pub before: Vec<GpuState>,
    /// The states of the same GPUs as the run found them.
    pub found: Vec<GpuState>,
    /// What it makes of those that it changes.
    pub wanted: Vec<GpuState>,
    /// The systemd units that are stopped for the run and started after it.
    #[serde(default)]
    pub stopped: Vec<String>,
}

/// The first line of [`OLD_SCHEMA`].
#[derive(Debug, Deserialize)]
struct OldHeader {
    source: String,
    started: u64,
    before: Vec<GpuState>,
    /// For each GPU the wanted state first.
    others: Vec<GpuState>,
}

/// A later line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// A step that is about to be made.
    Doing(String),
    /// A GPU, by UUID, that has reached a state that a later run wanted, or is gone for good.
    Superseded(String),
    /// A unit that has been started again.
    Started(String),
    Ended(End),
}

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
    superseded: BTreeSet<String>,
    file: String,
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

impl Header {
    /// The first line of a run that starts now.
    pub fn new(purpose: Purpose, source: &str) -> Header {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Header {
            schema: JOURNAL_SCHEMA.to_string(),
            purpose,
            source: source.to_string(),
            started: now.map_or(0, |d| d.as_secs()),
            before: Vec::new(),
            found: Vec::new(),
            wanted: Vec::new(),
            stopped: Vec::new(),
        }
    }
}

impl From<OldHeader> for Header {
    fn from(old: OldHeader) -> Header {
        let mut wanted: Vec<GpuState> = Vec::new();
        for state in &old.others {
            if wanted.iter().all(|w| w.uuid != state.uuid) {
                wanted.push(state.clone());
            }
        }
        Header {
            schema: JOURNAL_SCHEMA.to_string(),
            purpose: Purpose::Apply,
            source: old.source,
            started: old.started,
            before: old.before,
            found: old.others,
            wanted,
            stopped: Vec::new(),
        }
    }
}

/// The state that `states` have of a GPU.
pub(super) fn state_of<'s>(states: &'s [GpuState], uuid: &str) -> Option<&'s GpuState> {
    states.iter().find(|state| state.uuid == uuid)
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
    fn judged(&self, node: &ObservedNode, reached: &BTreeSet<&str>) -> Option<End> {
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
        let names = folder.names().map_err(|e| {
            let problem = Diagnostic::new(format!("the saved states cannot be read: {e}"));
            Error::input(problem.in_file(place.display().to_string()))
                .hint("run it as root, or name another folder with --state-dir")
        })?;
        let mut files: Vec<(u64, String)> =
            names.into_iter().filter_map(|name| Some((number(&name)?, name))).collect();
        files.sort();
        for (id, name) in files {
            let read = folder.read(&name).map_err(|e| format!("cannot be read: {e}"));
            match read.and_then(|content| parse(id, &name, &content)) {
                Ok(run) => history.runs.push(run),
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
        let folder = DiskFolder::open(path).map_err(|e| {
            let problem = Diagnostic::new(format!("the saved states cannot be read: {e}"));
            Error::input(problem.in_file(path.display().to_string()))
                .hint("run it as root, or name another folder with --state-dir")
        })?;
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

/// The number of the run in a file, by the file's name.
fn number(name: &str) -> Option<u64> {
    if name == OLD_FILE {
        return Some(0);
    }
    name.strip_prefix("run-")?.strip_suffix(".jsonl")?.parse().ok()
}

fn parse(id: u64, name: &str, content: &[u8]) -> std::result::Result<Run, String> {
    #[derive(Deserialize)]
    struct Schema {
        schema: String,
    }
    // A run that was killed may have left half a line at the end, in the midst of a letter.
    let text = String::from_utf8_lossy(content);
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let first = lines.next().unwrap_or_default();
    let is_none = |e: serde_json::Error| format!("is no journal of migplan: {e}");
    let Schema { schema } = serde_json::from_str(first).map_err(is_none)?;
    let header: Header = match schema.as_str() {
        JOURNAL_SCHEMA => serde_json::from_str(first).map_err(is_none)?,
        OLD_SCHEMA => serde_json::from_str::<OldHeader>(first).map_err(is_none)?.into(),
        other => return Err(format!("schema is '{other}', not {JOURNAL_SCHEMA}")),
    };
    let (mut end, mut superseded) = (None, BTreeSet::new());
    let mut units = header.stopped.clone();
    for line in lines.filter_map(|line| serde_json::from_str(line).ok()) {
        match line {
            Line::Ended(how) => end = Some(how),
            Line::Superseded(uuid) => {
                superseded.insert(uuid);
            }
            Line::Started(unit) => units.retain(|u| *u != unit),
            Line::Doing(_) => {}
        }
    }
    Ok(Run { id, header, end, units, superseded, file: name.to_string() })
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

    /// Locks GPUs too, against a run that saves its states elsewhere.
    ///
    /// # Errors
    /// Another migplan changes one of them (exit 7).
    pub fn lock_gpus<'a>(&mut self, uuids: impl Iterator<Item = &'a str>) -> Result<()> {
        match &mut self.lock {
            Some(lock) => lock.gpus(uuids).map_err(|e| not_locked(&self.path, e)),
            None => Ok(()),
        }
    }

    /// Closes the open runs of which no GPU is half-way any more. `reached`: GPUs, by UUID, that
    /// are as the present command wants them. What cannot be written is found again next time.
    pub fn settle(&mut self, node: &ObservedNode, reached: &BTreeSet<&str>) {
        for run in self.history.runs.iter_mut().filter(|run| run.is_open()) {
            if let Some(end) = run.judged(node, reached) {
                let _ = append(&mut *self.folder, &run.file, &Line::Ended(end));
                run.end = Some(end);
            }
        }
    }

    /// Notes in every open run that a later one has brought these GPUs to what it wanted.
    pub fn supersede(&mut self, uuids: &BTreeSet<&str>) {
        for run in self.history.runs.iter_mut().filter(|run| run.is_open()) {
            for state in &run.header.before {
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
        let damaged = self.history.damaged.iter().map(|d| d.id);
        let id = self.history.runs.iter().map(|run| run.id).chain(damaged).max().unwrap_or(0) + 1;
        let file = format!("run-{id:06}.jsonl");
        self.write(&file, &header).map_err(|e| not_saved(&self.path, &e))?;
        let units = header.stopped.clone();
        let superseded = BTreeSet::new();
        self.history.runs.push(Run { id, header, end: None, units, superseded, file });
        self.forget_the_oldest();
        Ok(id)
    }

    fn write(&mut self, file: &str, header: &Header) -> io::Result<()> {
        let temporary = format!("{file}.tmp");
        let mut line = serde_json::to_vec(header)?;
        line.push(b'\n');
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

    /// Removes the oldest closed runs beyond those that are kept.
    fn forget_the_oldest(&mut self) {
        let mut extra = self.history.runs.len().saturating_sub(RUNS_KEPT);
        let folder = &mut *self.folder;
        self.history.runs.retain(|run| {
            let goes = extra > 0 && !run.is_open() && run.units.is_empty();
            extra -= usize::from(goes);
            !(goes && folder.remove(&run.file).is_ok())
        });
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

/// Adds a line. It begins with a line end, since the line before may have been torn.
fn append(folder: &mut dyn Folder, file: &str, line: &Line) -> io::Result<()> {
    let mut text = vec![b'\n'];
    serde_json::to_writer(&mut text, line)?;
    text.push(b'\n');
    folder.append(file, &text)
}

fn not_saved(path: &Path, error: &io::Error) -> Error {
    let problem = Diagnostic::new(format!("the present state cannot be saved: {error}"));
    Error {
        code: ExitCode::Refused,
        problems: vec![problem.in_file(path.display().to_string())],
        hint: Some(
            "run it as root, or name a folder that only you may write to with --state-dir; nothing was changed"
                .to_string(),
        ),
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
