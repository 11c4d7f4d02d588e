//! The plan beside what people do today, in words: `migplan compare`.

use std::io::{self, Write};

use super::table::table;
use super::{Layout, best_preset_text, fitted};
use crate::compare::{Baseline, Comparison, best_preset};
use crate::demand::Demand;
use crate::error::Diagnostic;
use crate::plan::{Policy, Status};
use crate::text::{plural, thousands};
use crate::units::{Mebibytes, amount, millionths};

/// What the parts of idle memory are.
const LEGEND: &str = "Idle memory is of the whole fleet: internal fragmentation (allocated beyond the demand), free (GPUs and instances without a replica) and unusable (offered by no instance).";

/// One column: its heading, and its cell for each row.
struct Column {
    heading: String,
    cell: Box<dyn Fn(&Baseline) -> String>,
}

impl Column {
    fn new(heading: impl Into<String>, cell: impl Fn(&Baseline) -> String + 'static) -> Column {
        Column { heading: heading.into(), cell: Box::new(cell) }
    }
}

/// The table for people; on a narrow terminal as two, what is placed and what lies idle.
pub fn text(comparison: &Comparison, demand: &Demand, layout: Layout) -> String {
    let mut counts = vec![Column::new("placed", |row| thousands(row.placed))];
    if weights_matter(comparison, demand) {
        counts.extend(comparison.priorities.iter().enumerate().map(|(index, priority)| {
            Column::new(format!("weight at priority {priority}"), move |row| {
                row.placed_weight.get(index).map_or(String::new(), |w| amount(weight(*w)))
            })
        }));
    }
    let memory = |heading: &str, mib: fn(&Baseline) -> u64| {
        Column::new(heading, move |row| Mebibytes(mib(row)).human())
    };
    let sums = vec![
        memory("memory placed", |row| row.placed_mib),
        memory("idle", |row| row.idle_mib),
        memory("= internal fragmentation", |row| row.rounding_mib),
        memory("+ free", |row| row.spare_mib),
        memory("+ unusable", |row| row.unusable_mib),
    ];
    let gpus = vec![Column::new("GPUs used", |row| thousands(row.gpus_used))];
    let filled = |columns: &[&[Column]]| {
        let columns = || columns.iter().copied().flatten();
        let header: Vec<&str> =
            std::iter::once("").chain(columns().map(|c| c.heading.as_str())).collect();
        let mut shown = table(&header, |column| column > 0);
        for row in &comparison.rows {
            let cells = columns().map(|column| (column.cell)(row));
            shown.add_row(std::iter::once(row.name.clone()).chain(cells));
        }
        shown
    };
    let one = filled(&[&counts, &sums, &gpus]);
    let tables = if one.fits(layout.width) {
        one.render(None)
    } else {
        let [counts, sums] = [filled(&[&counts, &gpus]), filled(&[&sums])];
        format!("{}\n{}", counts.render(layout.width), sums.render(layout.width))
    };
    let best = match (best_preset(&comparison.rows), comparison.rows.first()) {
        (Some(best), Some(own)) => {
            best_preset_text(best, own, &comparison.priorities, demand) + "\n"
        }
        _ => String::new(),
    };
    let totals = &comparison.plan.totals;
    let text = format!(
        "{} on {}, {} of memory.\n\n{tables}\n{best}{LEGEND}\n",
        plural(totals.replicas, "replica"),
        plural(totals.gpus, "GPU"),
        Mebibytes(totals.fleet_mib).human(),
    );
    fitted(&text, layout)
}

/// What no row says: rules that only some rows keep, a plan that is not proved, and what counts in no
/// row.
pub fn warnings(comparison: &Comparison, demand: &Demand, rules: &Policy) -> Vec<Diagnostic> {
    let replicas = |whole: bool| -> u64 {
        let rows = comparison.out_of_reach.iter().filter(|row| row.fits_a_whole_gpu == whole);
        rows.map(|row| demand.workloads().get(row.workload).map_or(0, |w| w.count)).sum()
    };
    let are =
        |count| format!("{} {}", plural(count, "replica"), if count == 1 { "is" } else { "are" });
    let mut warnings = Vec::new();
    let of_gpus = rules.flags_of_gpus();
    if !of_gpus.is_empty() {
        let message = format!(
            "only the plan is held to {of_gpus}: presets, whole GPUs, first-fit and best-fit decreasing are not"
        );
        warnings.push(Diagnostic::new(message));
    }
    if rules.one_profile_per_workload {
        let message =
            "first-fit and best-fit decreasing are not held to --one-profile-per-workload";
        warnings.push(Diagnostic::new(message));
    }
    if comparison.plan.proof.status != Status::Optimal {
        let message = "the plan is not proved the best; another row may place more, and `migplan suggest` says how far it came";
        warnings.push(Diagnostic::new(message));
    }
    if replicas(true) > 0 {
        warnings.push(Diagnostic::new(format!(
            "{} in no row: no instance is large enough; a whole GPU would serve each: set the column gpus to 1",
            are(replicas(true))
        )));
    }
    if replicas(false) > 0 {
        warnings.push(Diagnostic::new(format!(
            "{} in no row, since no GPU here can serve {}; `migplan suggest` says why",
            are(replicas(false)),
            if replicas(false) == 1 { "it" } else { "them" }
        )));
    }
    warnings
}

/// The rows for spreadsheets.
///
/// # Errors
/// What the writer reports.
pub fn csv(comparison: &Comparison, out: &mut dyn Write) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    let mut header = vec!["name".to_string(), "placed".to_string()];
    header.extend(comparison.priorities.iter().map(|p| format!("placed_weight[priority={p}]")));
    let sums = ["placed_mib", "idle_mib", "rounding_mib", "spare_mib", "unusable_mib"];
    header.extend(sums.map(str::to_string));
    header.push("gpus_used".to_string());
    writer.write_record(&header)?;
    for row in &comparison.rows {
        let mut record = vec![row.name.clone(), row.placed.to_string()];
        record.extend(row.placed_weight.iter().map(|w| millionths(weight(*w))));
        let memory =
            [row.placed_mib, row.idle_mib, row.rounding_mib, row.spare_mib, row.unusable_mib];
        record.extend(memory.map(|value| value.to_string()));
        record.push(row.gpus_used.to_string());
        writer.write_record(&record)?;
    }
    writer.flush()
}

/// Whether the weights say more than the number of replicas does.
fn weights_matter(comparison: &Comparison, demand: &Demand) -> bool {
    comparison.priorities.len() > 1 || demand.is_weighted()
}

fn weight(value: i64) -> u128 {
    u128::try_from(value).unwrap_or(0)
}
