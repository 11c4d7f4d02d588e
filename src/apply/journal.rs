//! What is saved before anything is changed, so that a run that dies can be undone: the state
//! before and the state wanted, and a line before each change. JSON lines in the state folder.
//!
//! Recovery looks at the node itself and at the saved states, so it does not matter how far a run
//! came, or whether its last line was written whole.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::state::GpuState;
use crate::error::{Diagnostic, Error, ExitCode, Result};

/// Schema key of the journal.
pub const JOURNAL_SCHEMA: &str = "migplan.journal/v1";
/// Where states are saved if nothing else is said.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/migplan";

const JOURNAL: &str = "journal.jsonl";
const LOCK: &str = "lock";

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The node is as wanted.
    Applied,
    /// The node is as before.
    RolledBack,
}

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    schema: String,
    /// What was applied, for people.
    source: String,
    /// Seconds since 1970.
    started: u64,
    before: Vec<GpuState>,
    /// Every other state that GPUs may be on the way from or to.
    others: Vec<GpuState>,
}

/// A later line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Doing(String),
    Ended(End),
}

/// A run that was saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// What was applied.
    pub source: String,
    /// When, in seconds since 1970.
    pub started: u64,
    /// The state before, of every GPU that the run was to touch.
    pub before: Vec<GpuState>,
    /// Every other state that GPUs may be on the way from or to: what it was to reach, and where
    /// it took over from a run that was interrupted.
    pub others: Vec<GpuState>,
    /// How it ended; `None` where it was interrupted or could not be undone.
    pub end: Option<End>,
}

/// The folder in which states are saved, locked for this process.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    /// Held until dropped; the system lets go of it when the process dies.
    _lock: File,
}

/// A journal that is being written.
#[derive(Debug)]
pub struct Journal {
    file: File,
}

impl StateDir {
    /// Opens the folder, makes it if needed, and locks it.
    ///
    /// # Errors
    /// Another migplan changes this node, or the folder cannot be written (exit 7).
    pub fn lock(path: &Path) -> Result<StateDir> {
        let fail = |e: io::Error| {
            Error {
                code: ExitCode::Refused,
                problems: vec![
                    Diagnostic::new(format!("the present state cannot be saved: {e}"))
                        .in_file(path.display().to_string()),
                ],
                hint: None,
            }
            .hint("run it as root, or name a folder that you may write to with --state-dir; nothing was changed")
        };
        fs::create_dir_all(path).map_err(fail)?;
        let mut options = fs::OpenOptions::new();
        let lock = options.create(true).truncate(false).write(true).open(path.join(LOCK));
        let lock = lock.map_err(fail)?;
        match lock.try_lock() {
            Ok(()) => Ok(StateDir { path: path.to_path_buf(), _lock: lock }),
            Err(fs::TryLockError::WouldBlock) => Err(Error::new(
                ExitCode::Refused,
                format!("another migplan is changing this node ({} is locked)", path.display()),
            )
            .hint("wait until it is done; nothing was changed")),
            Err(fs::TryLockError::Error(e)) => Err(fail(e)),
        }
    }

    /// The last run that was saved here.
    ///
    /// # Errors
    /// As [`last_run`].
    pub fn last(&self) -> Result<Option<Saved>> {
        last_run(&self.path)
    }

    /// Saves the state before a run; from now on each change is to be announced.
    ///
    /// # Errors
    /// It cannot be written (exit 7): nothing has been touched yet.
    pub fn begin(&self, source: &str, before: &[GpuState], others: &[GpuState]) -> Result<Journal> {
        let started = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let header = Header {
            schema: JOURNAL_SCHEMA.to_string(),
            source: source.to_string(),
            started: started.map_or(0, |d| d.as_secs()),
            before: before.to_vec(),
            others: others.to_vec(),
        };
        let path = self.path.join(JOURNAL);
        let write = || -> io::Result<File> {
            let temporary = self.path.join(format!("{JOURNAL}.tmp"));
            let mut file = File::create(&temporary)?;
            let mut line = serde_json::to_vec(&header)?;
            line.push(b'\n');
            file.write_all(&line)?;
            // Must outlive a power cut: MIG mode does, on Ampere.
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            Ok(file)
        };
        let file = write().map_err(|e| Error {
            code: ExitCode::Refused,
            problems: vec![
                Diagnostic::new(format!("the present state cannot be saved: {e}"))
                    .in_file(path.display().to_string()),
            ],
            hint: Some("name another folder with --state-dir; nothing was changed".to_string()),
        })?;
        Ok(Journal { file })
    }

    /// Notes that the last run is undone.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn note(&self, end: End) -> io::Result<()> {
        let file = fs::OpenOptions::new().append(true).open(self.path.join(JOURNAL))?;
        Journal { file }.end(end)
    }
}

/// The last run that was saved in `folder`, if any.
///
/// # Errors
/// The journal is there, but cannot be read (exit 3).
pub fn last_run(folder: &Path) -> Result<Option<Saved>> {
    let path = folder.join(JOURNAL);
    let bad = |message: String, line: u64| {
        let problem = Diagnostic::new(message).in_file(path.display().to_string()).at_line(line);
        Error::input(problem)
            .hint("put the file away if you do not need it; then there is nothing to roll back to")
    };
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(e) => return Err(bad(format!("cannot be read: {e}"), 1)),
    };
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default();
    let header: Header = serde_json::from_str(header)
        .map_err(|e| bad(format!("is no journal of migplan: {e}"), 1))?;
    if header.schema != JOURNAL_SCHEMA {
        return Err(bad(format!("schema is '{}', not {JOURNAL_SCHEMA}", header.schema), 1));
    }
    // A run that was killed may have left half a line at the end.
    let end = lines
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter_map(|line| match line {
            Line::Ended(end) => Some(end),
            Line::Doing(_) => None,
        })
        .next_back();
    let Header { source, started, before, others, .. } = header;
    Ok(Some(Saved { source, started, before, others, end }))
}

impl Journal {
    /// Announces a change.
    ///
    /// # Errors
    /// It cannot be written; then the change must not be made.
    pub fn doing(&mut self, what: &str) -> io::Result<()> {
        self.write(&Line::Doing(what.to_string()))
    }

    /// Notes how the run ended.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn end(&mut self, end: End) -> io::Result<()> {
        self.write(&Line::Ended(end))
    }

    fn write(&mut self, line: &Line) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.file.write_all(&text)
    }
}
