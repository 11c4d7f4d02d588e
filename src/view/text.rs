//! Results in words, for people: a value in, a text out.
//!
//! One file for each command whose result is text. Nothing here reads a file or prints; a text is
//! told how wide the terminal is and how much to say.

pub mod capacity;
pub mod catalogue;
pub mod changes;
pub mod comparison;
pub mod demand;
pub mod exceeded;
pub mod metrics;
pub mod over_time;
pub mod replay;
pub mod runs;
pub mod schedule;
pub mod size;
pub mod status;
pub mod summary;
mod table;

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::Number;

use crate::compare::Baseline;
use crate::demand::Demand;
use crate::optimise::{SearchProgress, StageProgress};
use crate::plan::goal::{Objective, Sense, Unit};
use crate::plan::{Status, Unplaced};
use crate::text::{grouped, plural, thousands};
use crate::units::{Mebibytes, amount, millionths};

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

/// A line, broken between words where the terminal is narrower; what follows the first line is
/// indented.
fn wrapped(line: &str, indent: &str, layout: Layout) -> String {
    let Some(width) = layout.width.map(usize::from) else { return format!("{line}\n") };
    let mut text = String::new();
    let mut used = 0;
    for (i, word) in line.split(' ').enumerate() {
        let length = word.chars().count();
        if used > indent.chars().count() && used + 1 + length > width {
            text.push('\n');
            text += indent;
            text += word;
            used = indent.chars().count() + length;
        } else {
            // What a line begins with are empty words: its own indent.
            if i > 0 {
                text.push(' ');
                used += 1;
            }
            text += word;
            used += length;
        }
    }
    text + "\n"
}

/// A text of which the lines fit: what is wider breaks between words, and goes on a little further in
/// than it begins. Rows of tables, which have their width already, stay.
fn fitted(text: &str, layout: Layout) -> String {
    let Some(width) = layout.width.map(usize::from) else { return text.to_string() };
    let lines = text.split('\n').map(|line| {
        let inner = line.trim_start_matches(' ');
        if line.chars().count() <= width || inner.contains("  ") {
            return line.to_string();
        }
        let begin = line.len() - inner.len();
        let indent = " ".repeat(if begin == 0 { 0 } else { begin + 2 });
        wrapped(line, &indent, layout).trim_end_matches('\n').to_string()
    });
    lines.collect::<Vec<String>>().join("\n")
}

/// Says how many rows of a list are not shown.
fn and_more(text: &mut String, count: usize, rows: usize, noun: &str) {
    if count > rows {
        let _ = writeln!(text, "… and {} (-v shows all)", plural((count - rows) as u64, noun));
    }
}

/// What no GPU of a fleet could serve in any hour, with what would help.
fn out_of_reach(text: &mut String, unserved: &[Unplaced], layout: Layout) {
    if unserved.is_empty() {
        return;
    }
    let replicas = unserved.iter().map(|row| row.replicas).sum();
    let _ = writeln!(
        text,
        "Served in no hour, since no GPU of the fleet could serve them: {}.",
        plural(replicas, "replica")
    );
    unplaced_rows(text, unserved, layout.rows());
}

/// The workloads that are unplaced, a line each, with the reason and what would help. A list of
/// boards that is the same for all of them is said once, at the end.
fn unplaced_rows(text: &mut String, unplaced: &[Unplaced], rows: usize) {
    let shown = || unplaced.iter().take(rows);
    let helps = || shown().filter_map(|row| row.help.as_deref());
    let boards: BTreeSet<&str> = helps().filter_map(boards_of_more).collect();
    let lists = helps().filter(|help| boards_of_more(help).is_some()).count();
    let common = match boards.first() {
        Some(list) if boards.len() == 1 && lists > 1 && list.contains(" or ") => Some(*list),
        _ => None,
    };
    for row in shown() {
        let replicas = thousands(row.replicas);
        let _ = write!(text, "  {replicas} × {}/{}: {}", row.team, row.workload, row.detail);
        if let Some(help) = row.help.as_deref() {
            let help = match common {
                Some(_) if boards_of_more(help).is_some() => {
                    help.split_once(" of ").map_or(help, |(gpus, _)| gpus)
                }
                _ => help,
            };
            let _ = write!(text, "; would help: {help}");
        }
        text.push('\n');
    }
    and_more(text, unplaced.len(), rows, "workload");
    if let Some(list) = common {
        let _ = writeln!(text, "(More GPUs: of {list}.)");
    }
}

/// The boards of `2 more GPUs of a100-sxm4-80gb or h200-sxm-141gb`.
fn boards_of_more(help: &str) -> Option<&str> {
    let (gpus, boards) = help.split_once(" of ")?;
    (gpus.ends_with(" more GPU") || gpus.ends_with(" more GPUs")).then_some(boards)
}

/// Why a result is not proved, in a few words; `None` where it is.
pub(in crate::view) fn not_proved(status: Status) -> Option<&'static str> {
    match status {
        Status::Optimal => None,
        Status::TimeLimit => Some("the time limit ended the search"),
        Status::Interrupted => Some("the search was interrupted"),
        Status::SolverGap => Some("the solver left a gap"),
    }
}

/// How far the search is: `placed_mib: 256 GiB, at most 260 GiB`.
pub fn progress(progress: &SearchProgress) -> String {
    match progress {
        SearchProgress::Stage(stage) => stage_progress(stage),
        SearchProgress::Divisions { open, of } => format!(
            "schedule: {} of {} of the week may still be better",
            thousands(*open as u64),
            plural(*of as u64, "division")
        ),
    }
}

fn stage_progress(progress: &StageProgress) -> String {
    let name = progress.objective.name();
    let shown = |number| stage_value(&name, number);
    let value = progress.value.as_ref().map_or("no plan yet".to_string(), shown);
    let limit = match progress.objective.sense() {
        Sense::Maximise => "at most",
        Sense::Minimise => "at least",
    };
    match progress.bound.as_ref().map(shown) {
        Some(bound) if bound == value => format!("{name}: {value}, proved"),
        Some(bound) => format!("{name}: {value}, {limit} {bound}"),
        None => format!("{name}: {value}"),
    }
}

/// The value of a stage for people: memory in GiB, the rest as it is.
fn stage_value(objective: &str, number: &Number) -> String {
    // Over time a stage is a sum over hours or minutes.
    let times = [("_hours", "·h"), ("_minutes", "·min")];
    let times = times.iter().find_map(|(end, times)| Some((objective.strip_suffix(end)?, *times)));
    let (objective, times) = times.unwrap_or((objective, ""));
    let unit = Objective::from_name(objective).map(|objective| objective.description().unit);
    match (unit, number.as_u64()) {
        (Some(Unit::Mebibytes), Some(mib)) => Mebibytes(mib).human() + times,
        (Some(Unit::Millionths), Some(n)) => format!("{} %", millionths(u128::from(n) * 100)),
        _ => grouped(&number.to_string()),
    }
}

/// `Best preset: all-balanced places 16 of 17 (0 of priority 10, the plan 2).` Where workloads have
/// weights, `all-3g.40gb places 2 of 9 (weight 20 of 27, the plan 20).`
fn best_preset_text(
    best: &Baseline,
    plan: &Baseline,
    priorities: &[i64],
    demand: &Demand,
) -> String {
    let mut text = format!(
        "Best preset: {} places {} of {}",
        best.name,
        thousands(best.placed),
        thousands(demand.replicas())
    );
    let mut beside = Vec::new();
    if demand.is_weighted() {
        let [best, plan, all] = [best.weight(), plan.weight(), demand.weight()].map(amount);
        beside.push(format!("weight {best} of {all}, the plan {plan}"));
    }
    // What it places of the priority that it gives up says whether its total is worth anything.
    let at = best.falls_behind(plan).unwrap_or(0);
    if let (true, Some(priority)) = (priorities.len() > 1, priorities.get(at)) {
        let [best, plan] = [best, plan].map(|row| of_priority(row, at, demand));
        beside.push(format!("{best} of priority {priority}, the plan {plan}"));
    }
    if !beside.is_empty() {
        text += &format!(" ({})", beside.join("; "));
    }
    text + "."
}

/// The replicas that a way places: `7`, or `7 (weight 12.5)` where workloads have weights.
pub(in crate::view) fn placed_by(row: &Baseline, demand: &Demand) -> String {
    let placed = thousands(row.placed);
    match demand.is_weighted() {
        true => format!("{placed} (weight {})", amount(row.weight())),
        false => placed,
    }
}

/// What a way places of the priority with this index: `2`, or `weight 20` where workloads have
/// weights.
pub(in crate::view) fn of_priority(row: &Baseline, index: usize, demand: &Demand) -> String {
    if demand.is_weighted() {
        let weight = row.placed_weight.get(index).copied().unwrap_or(0);
        return format!("weight {}", amount(u128::try_from(weight).unwrap_or(0)));
    }
    thousands(row.placed_by_priority.get(index).copied().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Reason;

    #[test]
    fn lines_break_between_words() {
        let layout = Layout { width: Some(12), ..Layout::default() };
        assert_eq!(wrapped("note: one two three", "  ", layout), "note: one\n  two three\n");
        assert_eq!(wrapped(" 1  x", "    ", layout), " 1  x\n");
        assert_eq!(wrapped("a-word-that-is-long and", "", layout), "a-word-that-is-long\nand\n");
        assert_eq!(
            wrapped("note: one two three", "  ", Layout::default()),
            "note: one two three\n"
        );
    }

    #[test]
    fn lines_of_prose_fit_and_rows_of_tables_stay() {
        let layout = Layout { width: Some(12), ..Layout::default() };
        let text = "one two three four\n  5 x six seven\nname  1,000  2,000\n";
        let fits = "one two\nthree four\n  5 x six\n    seven\nname  1,000  2,000\n";
        assert_eq!(fitted(text, layout), fits);
        assert_eq!(fitted(text, Layout::default()), text);
    }

    #[test]
    fn the_same_boards_are_named_once() {
        let row = |workload: &str, help: &str| Unplaced {
            team: "t".into(),
            workload: workload.into(),
            replicas: 1,
            reason: Reason::FleetFull,
            detail: "is full".to_string(),
            help: Some(help.to_string()),
        };
        let alike =
            [row("a", "1 more GPU of x or y"), row("b", "2 more GPUs of x or y"), row("c", "less")];
        let mut text = String::new();
        unplaced_rows(&mut text, &alike, 9);
        assert_eq!(text.matches("x or y").count(), 1, "{text}");
        assert!(text.contains("would help: 2 more GPUs\n"), "{text}");
        let mut text = String::new();
        unplaced_rows(
            &mut text,
            &[row("a", "1 more GPU of x or y"), row("b", "1 more GPU of x")],
            9,
        );
        assert!(text.contains("GPU of x or y\n") && text.contains("GPU of x\n"), "{text}");
    }

    #[test]
    fn memory_over_time_has_its_unit() {
        let of = |name| stage_value(name, &Number::from(262_144));
        assert_eq!(of("placed_mib"), "256 GiB");
        assert_eq!(of("placed_mib_hours"), "256 GiB·h");
        assert_eq!(of("rounding_mib_minutes"), "256 GiB·min");
        assert_eq!(of("compute_slice_hours"), "262,144");
    }
}
