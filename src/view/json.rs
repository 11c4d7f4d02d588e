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

use std::io::{self, BufWriter, Write};

use serde::Serialize;

/// Documents are handed to their file in pieces of about this size.
const CHUNK_BYTES: usize = 1 << 16;

/// Writes a document, indented, with a newline at its end.
///
/// # Errors
/// What the writer reports.
pub fn write(document: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    // The serialiser writes a few bytes at a time, which should not be a call through `dyn` each.
    let mut out = BufWriter::with_capacity(CHUNK_BYTES, out);
    serde_json::to_writer_pretty(&mut out, document)?;
    writeln!(out)?;
    out.flush()
}
