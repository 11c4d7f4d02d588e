//! `migplan compare`: the plan beside what people do today.

use std::io::Write;
use std::path::PathBuf;

use comfy_table::CellAlignment;
use serde_json::{Value, json};

use super::output::{Console, check_writable, render, table, write_result};
use super::planning::{InputArgs, OptionArgs, checked};
use super::report::{self, Subject};
use super::suggest::notes;
use crate::compare::{self, Baseline, Comparison, LeftOut};
use crate::demand::Demand;
use crate::emit::mig_parted;
use crate::error::{Diagnostic, Result};
use crate::text::{plural, thousands};
use crate::units::{Mebibytes, Weight, millionths};

/// Schema key of the result.
const SCHEMA: &str = "migplan.compare/v1";

/// Compare the best plan with what people do today: uniform presets, whole GPUs, first fit
///
/// Every way serves the same demand with the same GPUs and is taken at its best: the presets
/// (all-PROFILE, all-balanced) and whole GPUs hand their instances out by exact assignment.
/// First-fit and best-fit decreasing place one replica after the other, as a scheduler does.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  migplan compare --workloads teams.csv --gpus 4xa100-80gb
  migplan compare -w teams.csv --fleet fleet.csv --format csv -o compare.csv
  migplan compare -w teams.csv --gpus 4xa100-80gb --report report.html")]
pub struct Args {
    #[command(flatten)]
    inputs: InputArgs,
    #[command(flatten)]
    options: OptionArgs,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Write the result to this file instead of stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write a page with pictures, tables and the mig-parted file to look at in a browser
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// What `compare` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// A table for people.
    #[default]
    Text,
    /// For programs.
    Json,
    /// For spreadsheets.
    Csv,
}

pub(super) fn run(args: &Args, console: &Console) -> Result<()> {
    for file in [&args.output, &args.report] {
        check_writable(file.as_deref())?;
    }
    let options = args.options.read()?;
    let (catalogue, demand, fleet) = args.inputs.read(console)?;
    let comparison = compare::compare(&demand, &fleet, &options)?;
    checked(&comparison.plan, &demand, &fleet, &options.policy)?;
    if let Some(file) = &args.report {
        let config = mig_parted::write(
            &comparison.plan,
            &catalogue,
            &mig_parted::Options { notes: notes(&comparison.plan), ..Default::default() },
        )?;
        let subject = Subject {
            comparison: &comparison,
            demand: &demand,
            fleet: &fleet,
            catalogue: &catalogue,
            options: &options,
            config: &config,
        };
        report::write(file, &subject)?;
    }
    console.warn(&warnings(&comparison, &demand));
    write_result(args.output.as_deref(), |out| match args.format {
        Format::Text => out.write_all(text(&comparison, &demand).as_bytes()),
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, &json(&comparison, &demand))?;
            writeln!(out)
        }
        Format::Csv => csv(&comparison, out),
    })
}

/// What counts in no row, said once.
fn warnings(comparison: &Comparison, demand: &Demand) -> Vec<Diagnostic> {
    let replicas = |whole: bool| -> u64 {
        let rows = comparison.out_of_reach.iter().filter(|(_, w)| *w == whole);
        rows.map(|(i, _)| demand.workloads().get(*i).map_or(0, |w| w.count)).sum()
    };
    let mut warnings = Vec::new();
    if replicas(true) > 0 {
        warnings.push(Diagnostic::new(format!(
            "{} need more than any instance has and count in no row; a whole GPU would serve each: set the column gpus to 1",
            plural(replicas(true), "replica")
        )));
    }
    if replicas(false) > 0 {
        warnings.push(Diagnostic::new(format!(
            "{} cannot be served by these GPUs at all and count in no row; `migplan suggest` says why",
            plural(replicas(false), "replica")
        )));
    }
    warnings
}

/// Whether the weights say more than the number of replicas does.
fn weights_matter(comparison: &Comparison, demand: &Demand) -> bool {
    comparison.priorities.len() > 1 || demand.workloads().iter().any(|w| w.weight != Weight::ONE)
}

/// The table for people.
pub(super) fn text(comparison: &Comparison, demand: &Demand) -> String {
    let weights = weights_matter(comparison, demand);
    let mut header = vec!["".to_string(), "placed".to_string()];
    if weights {
        let weight = |p: &i64| format!("weight at priority {p}");
        header.extend(comparison.priorities.iter().map(weight));
    }
    for name in ["memory placed", "idle", "= rounding", "+ spare", "+ unusable", "GPUs used"] {
        header.push(name.to_string());
    }
    let names: Vec<&str> = header.iter().map(String::as_str).collect();
    let mut shown = table(&names);
    for column in shown.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for row in &comparison.rows {
        let mut cells = vec![row.name.clone(), thousands(row.placed)];
        if weights {
            cells.extend(row.placed_weight.iter().map(|w| weight(*w)));
        }
        let memory = [row.placed_mib, row.idle_mib, row.rounding_mib, row.spare_mib];
        cells.extend(memory.into_iter().map(|m| Mebibytes(m).human()));
        cells.push(Mebibytes(row.unusable_mib).human());
        cells.push(thousands(row.gpus_used));
        shown.add_row(cells);
    }
    let totals = &comparison.plan.totals;
    format!(
        "{} on {}, {} of memory.\n\n{}",
        plural(totals.replicas, "replica"),
        plural(totals.gpus, "GPU"),
        Mebibytes(totals.fleet_mib).human(),
        render(&shown)
    )
}

fn weight(value: i64) -> String {
    millionths(u128::try_from(value).unwrap_or(0))
}

/// A weight in millionths as a JSON number, whole where it is whole.
fn weight_number(value: i64) -> Value {
    if value % Weight::SCALE as i64 == 0 {
        json!(value / Weight::SCALE as i64)
    } else {
        json!(value as f64 / Weight::SCALE as f64)
    }
}

fn json(comparison: &Comparison, demand: &Demand) -> Value {
    let left_out = |l: &LeftOut| {
        demand.workloads().get(l.workload).map(|w| {
            json!({"team": w.team, "workload": w.name, "replicas": l.replicas, "too_large": l.too_large})
        })
    };
    let row = |row: &Baseline| {
        let weights: Vec<Value> = comparison
            .priorities
            .iter()
            .zip(&row.placed_weight)
            .map(|(p, w)| json!({"priority": p, "weight": weight_number(*w)}))
            .collect();
        json!({
            "name": row.name,
            "placed": row.placed,
            "placed_weight": weights,
            "placed_mib": row.placed_mib,
            "idle_mib": row.idle_mib,
            "rounding_mib": row.rounding_mib,
            "spare_mib": row.spare_mib,
            "unusable_mib": row.unusable_mib,
            "gpus_used": row.gpus_used,
            "workloads_left_out": row.workloads_left_out,
            "left_out": row.left_out.iter().filter_map(left_out).collect::<Vec<_>>(),
        })
    };
    let out_of_reach = |(index, whole): &(usize, bool)| {
        demand.workloads().get(*index).map(|w| {
            json!({"team": w.team, "workload": w.name, "replicas": w.count, "fits_a_whole_gpu": whole})
        })
    };
    let totals = &comparison.plan.totals;
    json!({
        "schema": SCHEMA,
        "replicas": totals.replicas,
        "fleet_mib": totals.fleet_mib,
        "gpus": totals.gpus,
        "rows": comparison.rows.iter().map(row).collect::<Vec<_>>(),
        "out_of_reach": comparison.out_of_reach.iter().filter_map(out_of_reach).collect::<Vec<_>>(),
    })
}

fn csv(comparison: &Comparison, out: &mut dyn Write) -> std::io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    let mut header = vec!["name".to_string(), "placed".to_string()];
    header.extend(comparison.priorities.iter().map(|p| format!("placed_weight[priority={p}]")));
    for name in ["placed_mib", "idle_mib", "rounding_mib", "spare_mib", "unusable_mib", "gpus_used"]
    {
        header.push(name.to_string());
    }
    writer.write_record(&header)?;
    for row in &comparison.rows {
        let mut record = vec![row.name.clone(), row.placed.to_string()];
        record.extend(row.placed_weight.iter().map(|w| weight(*w)));
        for value in [
            row.placed_mib,
            row.idle_mib,
            row.rounding_mib,
            row.spare_mib,
            row.unusable_mib,
            row.gpus_used,
        ] {
            record.push(value.to_string());
        }
        writer.write_record(&record)?;
    }
    writer.flush()
}
