//! Which node takes which label of a mig-parted file: CSV with the columns `node,config`, as
//! `migplan suggest --assignments` writes it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use super::Config;
use crate::error::{Diagnostic, Error, Result};
use crate::fleet::Fleet;
use crate::table::{Column, Table};
use crate::text;

const COLUMNS: &[Column] =
    &[Column { name: "node", required: true }, Column { name: "config", required: true }];

const HINT: &str =
    "an assignments file has the columns node,config, as `migplan suggest --assignments` writes it";

/// The labels that the nodes of a fleet take.
#[derive(Debug, Clone, Default)]
pub struct Assignments<'f> {
    /// For each node its label.
    pub labels: BTreeMap<&'f str, &'f str>,
    /// Rows that cannot be used, and nodes without a row.
    pub problems: Vec<Diagnostic>,
    /// What the file could name, where there are problems.
    pub hint: Option<String>,
}

/// Reads an assignments file.
///
/// # Errors
/// The file is no table with these columns (exit 3).
pub fn read<'f>(
    config: &'f Config,
    input: impl Read,
    file: &str,
    fleet: &'f Fleet,
) -> Result<Assignments<'f>> {
    let mut table = Table::open(input, file, COLUMNS, HINT)?;
    let mut labels: BTreeMap<&str, &str> = BTreeMap::new();
    let mut open_nodes: BTreeSet<&str> = fleet.nodes().iter().map(|n| n.name.as_str()).collect();
    let mut line_of: BTreeMap<&str, u64> = BTreeMap::new();
    table.for_each_row(|row, found| {
        let label = row.get(1).and_then(|label| config.labels().find(|l| *l == label));
        let node = row.get(0).and_then(|node| open_nodes.take(node));
        if label.is_none() {
            found.push(row.problem(1, "is not a label of the file"));
        }
        match (node, label) {
            (None, _) => found.push(match row.get(0).and_then(|node| line_of.get(node)) {
                Some(first) => row.problem(0, format!("is on line {first} already")),
                None => row.problem(0, "is not a node of the fleet"),
            }),
            (Some(node), label) => {
                line_of.insert(node, row.line);
                labels.extend(label.map(|label| (node, label)));
            }
        }
    });
    let mut problems = table.problems;
    for node in &open_nodes {
        problems.push(
            Diagnostic::new(format!("node '{node}' of the fleet has no config")).in_file(file),
        );
    }
    let hint = (!problems.is_empty()).then(|| {
        let nodes: Vec<String> = fleet.nodes().iter().map(|n| n.name.clone()).collect();
        let labels: Vec<String> = config.labels().map(str::to_string).collect();
        format!("{HINT}; nodes here: {}; labels: {}", text::some(&nodes), text::some(&labels))
    });
    Ok(Assignments { labels, problems, hint })
}

impl Assignments<'_> {
    /// The same, where every node has a label.
    ///
    /// # Errors
    /// The problems, if there are any (exit 3).
    pub fn without_problems(self) -> Result<Self> {
        if self.problems.is_empty() {
            return Ok(self);
        }
        let error = Error::inputs(self.problems);
        Err(self.hint.into_iter().fold(error, Error::hint))
    }
}
