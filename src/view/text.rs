//! Results in words, for people: a value in, a text out.
//!
//! One file for each command whose result is text. Nothing here reads a file or prints; a text is
//! told how wide the terminal is and how much to say.

pub mod catalogue;
pub mod comparison;
pub mod size;
pub mod summary;
mod table;

use std::fmt::Write;

use crate::compare::Baseline;
use crate::plan::{Plan, Unplaced};
use crate::text::{plural, thousands};

/// How a text is laid out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Layout {
    /// Columns of the terminal; `None` for a file or a pipe, where lines may be of any length.
    pub width: Option<u16>,
    /// Whether long lists are shown whole.
    pub all_rows: bool,
}

/// Rows of a list before the rest is only counted.
const MOST_ROWS: usize = 12;

impl Layout {
    /// How many rows of a list are shown.
    fn rows(self) -> usize {
        if self.all_rows { usize::MAX } else { MOST_ROWS }
    }
}

/// Says how many rows of a list are not shown.
fn and_more(text: &mut String, count: usize, rows: usize, noun: &str) {
    if count > rows {
        let _ = writeln!(text, "… and {} (-v shows all)", plural((count - rows) as u64, noun));
    }
}

/// The workloads that are unplaced, a line each, with the reason and what would help.
fn unplaced_rows(text: &mut String, unplaced: &[Unplaced], rows: usize) {
    for row in unplaced.iter().take(rows) {
        let replicas = thousands(row.replicas);
        let _ = write!(text, "  {replicas} × {}/{}: {}", row.team, row.workload, row.detail);
        if let Some(help) = &row.help {
            let _ = write!(text, "; would help: {help}");
        }
        text.push('\n');
    }
    and_more(text, unplaced.len(), rows, "workload");
}

/// `Best preset: all-balanced places 16 of 17 (0 of priority 10, the plan 2).`
fn best_preset_text(best: &Baseline, own: &Baseline, priorities: &[i64], plan: &Plan) -> String {
    let mut text = format!(
        "Best preset: {} places {} of {}",
        best.name,
        thousands(best.placed),
        thousands(plan.totals.replicas)
    );
    // What it places of the highest priority says whether its total is worth anything.
    if priorities.len() > 1
        && let (Some(priority), Some(placed), Some(of_plan)) =
            (priorities.first(), best.placed_by_priority.first(), own.placed_by_priority.first())
    {
        text += &format!(
            " ({} of priority {priority}, the plan {})",
            thousands(*placed),
            thousands(*of_plan)
        );
    }
    text + "."
}
