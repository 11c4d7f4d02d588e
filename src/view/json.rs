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
use serde_json::ser::{Formatter, Serializer};

/// Documents are handed to their file in pieces of about this size.
const CHUNK_BYTES: usize = 1 << 16;

/// Writes a document, indented, with a newline at its end.
///
/// # Errors
/// What the writer reports.
pub fn write(document: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    // The serialiser writes a few bytes at a time, which should not be a call through `dyn` each.
    let mut out = BufWriter::with_capacity(CHUNK_BYTES, out);
    document.serialize(&mut Serializer::with_formatter(&mut out, Indented::default()))?;
    writeln!(out)?;
    out.flush()
}

/// As `serde_json`'s `PrettyFormatter`, which writes an indentation level by level; it is a third of
/// the bytes of a large plan.
#[derive(Default)]
struct Indented {
    depth: usize,
    has_value: bool,
}

impl Indented {
    /// Begins a line at the present depth; `first` ends the one before.
    fn line<W: Write + ?Sized>(&self, out: &mut W, first: &[u8]) -> io::Result<()> {
        const SPACES: &[u8; 64] = &[b' '; 64];
        out.write_all(first)?;
        let mut left = 2 * self.depth;
        while left > 0 {
            let now = left.min(SPACES.len());
            out.write_all(&SPACES[..now])?;
            left -= now;
        }
        Ok(())
    }

    fn begin<W: Write + ?Sized>(&mut self, out: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth += 1;
        self.has_value = false;
        out.write_all(bracket)
    }

    fn end<W: Write + ?Sized>(&mut self, out: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth -= 1;
        if self.has_value {
            self.line(out, b"\n")?;
        }
        out.write_all(bracket)
    }

    fn entry<W: Write + ?Sized>(&self, out: &mut W, first: bool) -> io::Result<()> {
        self.line(out, if first { b"\n" } else { b",\n" })
    }
}

impl Formatter for Indented {
    fn begin_array<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.begin(out, b"[")
    }

    fn end_array<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.end(out, b"]")
    }

    fn begin_array_value<W: Write + ?Sized>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.entry(out, first)
    }

    fn end_array_value<W: Write + ?Sized>(&mut self, _: &mut W) -> io::Result<()> {
        self.has_value = true;
        Ok(())
    }

    fn begin_object<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.begin(out, b"{")
    }

    fn end_object<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.end(out, b"}")
    }

    fn begin_object_key<W: Write + ?Sized>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.entry(out, first)
    }

    fn begin_object_value<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }

    fn end_object_value<W: Write + ?Sized>(&mut self, _: &mut W) -> io::Result<()> {
        self.has_value = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_indented_as_serde_json_does_it() {
        let mut deep = serde_json::json!({"a": [], "b": {}, "c": [1, [2, {"d": null}], "x\n"]});
        for _ in 0..40 {
            deep = serde_json::json!({"in": [deep, {}]});
        }
        let mut written = Vec::new();
        write(&deep, &mut written).unwrap();
        let expected = format!("{}\n", serde_json::to_string_pretty(&deep).unwrap());
        assert_eq!(String::from_utf8(written).unwrap(), expected);
    }
}
