//! Results for programs: each JSON document as a struct, whose keys are the contract.
//!
//! Keys may be added, never renamed. Every document names its schema and version under `schema`.
//! The plan's own document is in `plan::file`, since a plan is read back.

pub mod catalogue;
pub mod check;
pub mod comparison;
pub mod demand;
pub mod events;
pub mod replay;
pub mod runs;
pub mod schedule;
#[cfg(test)]
mod schemas;
pub mod size;
pub mod status;

use std::io::{self, Write};

use serde::Serialize;

/// Writes a document, indented, with a newline at its end.
///
/// # Errors
/// What the writer reports.
pub fn write(document: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, document)?;
    writeln!(out)
}
