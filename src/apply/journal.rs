//! The form of the file that a run leaves: JSON lines, of which the first says all that is needed
//! to undo the run and the others what came of it. Knows no folder and no GPU.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::state::GpuState;

/// Schema key of the journal.
pub const JOURNAL_SCHEMA: &str = "migplan.journal/v2";
/// The form of before: one file, the last run only.
const OLD_SCHEMA: &str = "migplan.journal/v1";

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
    /// The states of other GPUs that lose their instances where a reset takes them along.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub at_risk: Vec<GpuState>,
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
pub(super) enum Line {
    /// A step that is about to be made.
    Doing(String),
    /// A GPU, by UUID, that has reached a state that a later run wanted.
    Superseded(String),
    /// A unit that has been started again.
    Started(String),
    /// How the run ended.
    Ended(End),
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
            at_risk: Vec::new(),
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
            at_risk: Vec::new(),
            stopped: Vec::new(),
        }
    }
}

/// The state that `states` have of a GPU.
pub(super) fn state_of<'s>(states: &'s [GpuState], uuid: &str) -> Option<&'s GpuState> {
    states.iter().find(|state| state.uuid == uuid)
}

impl Header {
    /// The first line, as it is written.
    pub(super) fn text(&self) -> serde_json::Result<Vec<u8>> {
        let mut text = serde_json::to_vec(self)?;
        text.push(b'\n');
        Ok(text)
    }
}

impl Line {
    /// As it is written. It begins with a line end, since the line before may have been torn.
    pub(super) fn text(&self) -> serde_json::Result<Vec<u8>> {
        let mut text = vec![b'\n'];
        serde_json::to_writer(&mut text, self)?;
        text.push(b'\n');
        Ok(text)
    }
}

/// What a file holds.
pub(super) struct Journal {
    pub(super) header: Header,
    pub(super) end: Option<End>,
    pub(super) units: Vec<String>,
    pub(super) superseded: BTreeSet<String>,
}

impl Journal {
    /// Reads a file. A later line that cannot be read is left out; the error says why the first
    /// cannot.
    pub(super) fn parse(content: &[u8]) -> Result<Journal, String> {
        #[derive(Deserialize)]
        struct Schema {
            schema: String,
        }
        // A run that was killed may have left half a line at the end, in the midst of a letter.
        let text = String::from_utf8_lossy(content);
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        let first = lines.next().unwrap_or_default();
        let is_none = |e: serde_json::Error| format!("is not a journal of migplan: {e}");
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
        Ok(Journal { header, end, units, superseded })
    }
}
