//! Demand as CSV, so that a person can read it, edit it and feed it back.

use std::io::{self, Write};

use super::{COLUMNS, MEMORY};
use crate::demand::{Demand, Workload};

/// Writes `demand` as a workloads CSV with every column, memory in MiB. `head` becomes comments at
/// the top, `note` a comment above its workload. To read it gives the same demand again. `out` is
/// not flushed.
///
/// # Errors
/// Those of `out`.
pub fn write(
    demand: &Demand,
    head: &[String],
    note: impl Fn(&Workload) -> Option<String>,
    out: &mut dyn Write,
) -> io::Result<()> {
    for line in head {
        comment(line, out)?;
    }
    let columns: Vec<&str> = COLUMNS
        .iter()
        .map(|column| column.name)
        .filter(|name| {
            *name == "memory_mib" || !MEMORY.iter().any(|(at, _)| COLUMNS[*at].name == *name)
        })
        .collect();
    let mut rows = rows(out);
    rows.write_record(&columns)?;
    for workload in demand.workloads() {
        if let Some(note) = note(workload) {
            rows = with_comment(&note, rows)?;
        }
        rows.write_record(fields(workload))?;
    }
    rows.flush()
}

/// What a writer of rows writes to: it gives its rows to the output before each comment, which is no
/// reason for the output to hand them on.
struct Unflushed<'o>(&'o mut dyn Write);

impl Write for Unflushed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn rows(out: &mut dyn Write) -> csv::Writer<Unflushed<'_>> {
    // The comment character has to be quoted, or a team called '#1' is a comment.
    csv::WriterBuilder::new().comment(Some(b'#')).from_writer(Unflushed(out))
}

/// A comment below the rows written so far.
fn with_comment<'o>(
    text: &str,
    rows_so_far: csv::Writer<Unflushed<'o>>,
) -> io::Result<csv::Writer<Unflushed<'o>>> {
    let Unflushed(out) = rows_so_far.into_inner().map_err(csv::IntoInnerError::into_error)?;
    comment(text, out)?;
    Ok(rows(out))
}

/// The cells in the order of the columns.
fn fields(workload: &Workload) -> [String; 12] {
    [
        workload.team.to_string(),
        workload.name.to_string(),
        workload.memory.map_or(String::new(), |memory| memory.0.to_string()),
        workload.count.to_string(),
        workload.priority.to_string(),
        workload.weight.to_string(),
        workload.compute_slices.to_string(),
        workload.media.to_string(),
        workload.boards.join("|"),
        if workload.whole_gpus == 0 { String::new() } else { workload.whole_gpus.to_string() },
        workload.hours.to_string(),
        workload.min.to_string(),
    ]
}

fn comment(text: &str, out: &mut dyn Write) -> io::Result<()> {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    writeln!(out, "# {text}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hardware::Catalogue;
    use crate::units::{Mebibytes, Weight};

    fn name() -> impl Strategy<Value = String> {
        prop_oneof!["[a-z0-9-]{1,12}", "[ -~é日\u{feff}]{1,12}", Just("#1".to_string())]
            .prop_map(|name: String| name.trim().to_string())
            .prop_filter("no name", |name| !name.is_empty())
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_the_same(
            rows in prop::collection::vec((name(), name(), 1u64..1 << 40, 0u64..1_000_000_000, -9i64..9, 1u64..1_000_000_000_000, 1u32..8, any::<bool>(), 0u32..9, any::<bool>(), 0usize..4, 0u64..9), 1..8),
            note in ".*",
        ) {
            let mut workloads = std::collections::BTreeMap::new();
            for (team, name, mib, count, priority, weight, compute, media, gpus, boards, hours, min) in rows {
                let mut workload = Workload::new(&team, &name, Mebibytes(mib), count);
                workload.min = min.min(count);
                workload.priority = priority;
                workload.weight = Weight(weight);
                workload.compute_slices = compute;
                workload.media = media;
                workload.whole_gpus = gpus;
                let texts = ["", "Mon-Fri 08:00-19:00", "22:00-06:00", "Sat 00:00-24:00|Sun 10:00-12:00"];
                workload.hours = texts[hours].parse().unwrap();
                if gpus > 0 && media {
                    workload.memory = None;
                }
                if boards {
                    workload.boards = ["a100-sxm4-80gb".to_string(), "h100-sxm5-80gb".to_string()].into();
                }
                workloads.insert((team, name), workload);
            }
            let demand = Demand::new(workloads.into_values().collect());
            let mut text = Vec::new();
            write(&demand, std::slice::from_ref(&note), |_| Some(note.clone()), &mut text).unwrap();
            let (read, _) = super::super::read(&text[..], "f", &Catalogue::built_in())
                .map_err(|e| TestCaseError::fail(format!("{e}\n{}", String::from_utf8_lossy(&text))))?;
            prop_assert_eq!(read, demand);
        }
    }
}
