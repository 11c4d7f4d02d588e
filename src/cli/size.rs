//! `migplan size`: how many GPUs a demand needs.

use std::path::PathBuf;
use std::time::Duration;

use comfy_table::CellAlignment;
use serde_json::{Value, json};

use super::inputs::{CatalogueArgs, DemandArgs};
use super::output::{Console, Format, check_writable, render, table, write_result};
use super::suggest::seconds;
use crate::compare::{self, FrontierPoint, Price, Sizing, SizingMix};
use crate::error::{Diagnostic, Error, ExitCode, Result};
use crate::hardware::{BoardRef, Catalogue};
use crate::optimise::PlanOptions;
use crate::plan::Unplaced;
use crate::text::{plural, thousands};
use crate::units::{Mebibytes, Weight, millionths};

/// Schema key of the result.
const SCHEMA: &str = "migplan.size/v1";
/// Workloads that are listed before the rest is only counted.
const MOST_ROWS: usize = 12;

/// Find the fewest GPUs of a board that serve the whole demand, or the cheapest mix of boards
///
/// The number is proved: one GPU fewer cannot serve the demand. What no GPU of a board could ever
/// serve is listed and left out of its number; with --strict that is exit 4. Beside the number
/// stands what fewer GPUs would serve, so that one sees what each further GPU adds.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  migplan size --workloads teams.csv --board a100-80gb
  migplan size -w teams.csv --board a100-80gb,h100-80gb,h200
  migplan size -w teams.csv --price a100-80gb=1.2,h100-80gb=2.9 --format json")]
pub struct Args {
    #[command(flatten)]
    demand: DemandArgs,
    #[command(flatten)]
    catalogue: CatalogueArgs,
    /// Boards to count, one by one (repeatable, or a list with commas)
    #[arg(
        short,
        long,
        value_name = "BOARD",
        value_delimiter = ',',
        required_unless_present = "price"
    )]
    board: Vec<String>,
    /// What one GPU of each board costs, in any unit; asks for the cheapest mix of these boards
    #[arg(long, value_name = "BOARD=PRICE", value_delimiter = ',')]
    price: Vec<String>,
    /// GPUs of one server, for workloads that need several whole GPUs of one
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    gpus_per_node: u16,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Write the result to this file instead of stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Stop proving after so many seconds and take the best answer so far
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    time_limit: Option<Duration>,
    /// Exit with 4 if some demand cannot be served by a board (the result is written all the same)
    #[arg(long)]
    strict: bool,
}

pub(super) fn run(args: &Args, console: &Console) -> Result<()> {
    check_writable(args.output.as_deref())?;
    let catalogue = args.catalogue.read()?;
    let prices = prices(&args.price, &catalogue)?;
    let mut boards = boards(&args.board, &catalogue)?;
    if boards.is_empty() {
        boards = prices.iter().map(|p| p.board.clone()).collect();
    }
    let demand = args.demand.read(&catalogue, console)?;
    let options = PlanOptions { time_limit: args.time_limit, ..PlanOptions::default() };
    let per_node = usize::from(args.gpus_per_node);
    let sizings = compare::size(&demand, &boards, per_node, &options)?;
    let mix = match prices.as_slice() {
        [] => None,
        prices => Some(compare::size_mix(&demand, prices, per_node, &options)?),
    };
    let price_of = |board: &BoardRef| prices.iter().find(|p| p.board.id == board.id);
    write_result(args.output.as_deref(), |out| match args.format {
        Format::Json => {
            let boards: Vec<Value> =
                sizings.iter().map(|s| sizing_json(s, price_of(&s.board))).collect();
            let mut result = json!({"schema": SCHEMA, "boards": boards});
            if let Some(mix) = &mix {
                result["mix"] = mix_json(mix);
            }
            serde_json::to_writer_pretty(&mut *out, &result)?;
            writeln!(out)
        }
        Format::Text => {
            let mut text = String::new();
            for sizing in &sizings {
                text += &sizing_text(sizing, price_of(&sizing.board), per_node);
            }
            if let Some(mix) = &mix {
                text += &mix_text(mix);
            }
            out.write_all(text.as_bytes())
        }
    })?;
    if args.format == Format::Json {
        console.warn(&warnings(&sizings));
    }
    let unserved = sizings.iter().any(|s| !s.unserved.is_empty())
        || mix.is_some_and(|m| !m.unserved.is_empty());
    if args.strict && unserved {
        return Err(Error::new(ExitCode::Unplaced, "some demand cannot be served by these boards")
            .hint("the result lists it with what would help; --strict makes this an error"));
    }
    Ok(())
}

/// The boards that `--board` names, in the order given, each once.
fn boards(names: &[String], catalogue: &Catalogue) -> Result<Vec<BoardRef>> {
    let mut boards: Vec<BoardRef> = Vec::new();
    let mut problems = Vec::new();
    for name in names.iter().map(|n| n.trim()).filter(|n| !n.is_empty()) {
        match catalogue.find(name, None) {
            Ok(board) if boards.iter().any(|b| b.id == board.id) => {}
            Ok(board) => boards.push(board.clone()),
            Err(e) => problems.push(Diagnostic::new(e.to_string()).in_file("--board")),
        }
    }
    if boards.is_empty() && problems.is_empty() && !names.is_empty() {
        problems.push(Diagnostic::new("names no board").in_file("--board"));
    }
    if problems.is_empty() {
        return Ok(boards);
    }
    Err(Error::inputs(problems).hint("`migplan catalogue` lists every board; --catalogue adds one"))
}

/// The prices that `--price` names.
fn prices(texts: &[String], catalogue: &Catalogue) -> Result<Vec<Price>> {
    let mut prices: Vec<Price> = Vec::new();
    let mut problems = Vec::new();
    let mut report = |message: String| problems.push(Diagnostic::new(message).in_file("--price"));
    for text in texts.iter().map(|t| t.trim()).filter(|t| !t.is_empty()) {
        let Some((name, number)) = text.split_once('=') else {
            report(format!("'{text}' is no BOARD=PRICE"));
            continue;
        };
        let board = match catalogue.find(name.trim(), None) {
            Ok(board) => board.clone(),
            Err(e) => {
                report(e.to_string());
                continue;
            }
        };
        if prices.iter().any(|p| p.board.id == board.id) {
            report(format!("'{text}': {} has a price already", board.id));
            continue;
        }
        match Weight::parse(number) {
            Ok(price) => {
                let price = i64::try_from(price.0).unwrap_or(i64::MAX);
                prices.push(Price { board, price });
            }
            Err(e) => report(format!("'{text}': the price '{}' {e}", number.trim())),
        }
    }
    if problems.is_empty() {
        return Ok(prices);
    }
    Err(Error::inputs(problems).hint("write for example --price a100-80gb=1.2,h100-80gb=2.9"))
}

fn cost(gpus: u64, price: i64) -> u128 {
    u128::from(gpus) * u128::try_from(price).unwrap_or(0)
}

fn warnings(sizings: &[Sizing]) -> Vec<Diagnostic> {
    let warning = |s: &Sizing| {
        let replicas: u64 = s.unserved.iter().map(|u| u.replicas).sum();
        Diagnostic::new(format!(
            "{} cannot be served by {} and are not in its number",
            plural(replicas, "replica"),
            s.board.id
        ))
    };
    sizings.iter().filter(|s| !s.unserved.is_empty()).map(warning).collect()
}

fn step_idle_mib(sizing: &Sizing, step: &FrontierPoint) -> u64 {
    (step.gpus * sizing.board.memory.0).saturating_sub(step.placed_mib)
}

fn sizing_json(sizing: &Sizing, price: Option<&Price>) -> Value {
    let steps: Vec<Value> = sizing
        .steps
        .points
        .iter()
        .map(|step| {
            json!({
                "gpus": step.gpus,
                "placed": step.placed,
                "placed_mib": step.placed_mib,
                "idle_mib": step_idle_mib(sizing, step),
                "proved": step.proved,
            })
        })
        .collect();
    let mut result = json!({
        "board": sizing.board.id,
        "gpus": sizing.gpus,
        "proved": sizing.proved,
        "serves_all": sizing.unserved.is_empty(),
        "unserved": sizing.unserved,
        "steps": steps,
        "steps_complete": sizing.steps.complete,
    });
    if let Some(nodes) = sizing.nodes {
        result["nodes"] = json!(nodes);
    }
    if let Some(price) = price {
        result["cost"] = json!(millionths(cost(sizing.gpus, price.price)));
    }
    result
}

fn mix_json(mix: &SizingMix) -> Value {
    let boards: Vec<Value> = mix
        .boards
        .iter()
        .map(|b| json!({"board": b.board.id, "gpus": b.gpus, "cost": millionths(cost(b.gpus, b.price))}))
        .collect();
    json!({
        "boards": boards,
        "cost": millionths(mix.cost),
        "proved": mix.proved,
        "serves_all": mix.unserved.is_empty(),
        "unserved": mix.unserved,
    })
}

/// `proved: …`, or that it is not.
fn proof(proved: bool, claim: &str) -> String {
    if proved { format!("proved: {claim}") } else { "not proved within the time limit".to_string() }
}

fn sizing_text(sizing: &Sizing, price: Option<&Price>, per_node: usize) -> String {
    let mut text = format!("{}: {}", sizing.board.id, plural(sizing.gpus, "GPU"));
    if let Some(nodes) = sizing.nodes {
        text += &format!(" on {} of {per_node}", plural(nodes, "node"));
    }
    if let Some(price) = price {
        text += &format!(", cost {}", millionths(cost(sizing.gpus, price.price)));
    }
    text += &format!(" ({})\n", proof(sizing.proved, "one fewer is not enough"));
    text += &unserved_text(&sizing.unserved);
    if !sizing.steps.points.is_empty() {
        text += &format!(
            "\nWhat fits on fewer{}:\n",
            if sizing.steps.complete {
                String::new()
            } else {
                format!(", at {} numbers of GPUs", sizing.steps.points.len())
            }
        );
        let mut shown = table(&["GPUs", "placed", "further", "memory placed", "idle"]);
        for column in shown.column_iter_mut() {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let mut before = 0;
        for step in &sizing.steps.points {
            shown.add_row([
                thousands(step.gpus),
                thousands(step.placed),
                // A larger replica of higher priority may take the place of several small ones.
                match step.placed.checked_sub(before) {
                    Some(more) => format!("+{}", thousands(more)),
                    None => format!("-{}", thousands(before - step.placed)),
                },
                Mebibytes(step.placed_mib).human(),
                Mebibytes(step_idle_mib(sizing, step)).human(),
            ]);
            before = step.placed;
        }
        text += &render(&shown);
    }
    text.push('\n');
    text
}

fn mix_text(mix: &SizingMix) -> String {
    let used: Vec<String> = mix
        .boards
        .iter()
        .filter(|b| b.gpus > 0)
        .map(|b| format!("{} × {}", thousands(b.gpus), b.board.id))
        .collect();
    let used = if used.is_empty() { "no GPU".to_string() } else { used.join(" + ") };
    format!(
        "cheapest mix: {used}, cost {} ({})\n{}",
        millionths(mix.cost),
        proof(mix.proved, "nothing cheaper is enough"),
        unserved_text(&mix.unserved)
    )
}

fn unserved_text(unserved: &[Unplaced]) -> String {
    let mut text = String::new();
    if unserved.is_empty() {
        return text;
    }
    let replicas = unserved.iter().map(|u| u.replicas).sum();
    text += &format!(
        "Not in that number, since no GPU of it could serve them: {}.\n",
        plural(replicas, "replica")
    );
    for row in unserved.iter().take(MOST_ROWS) {
        text += &format!(
            "  {} × {}/{}: {}",
            thousands(row.replicas),
            row.team,
            row.workload,
            row.detail
        );
        if let Some(help) = &row.help {
            text += &format!("; would help: {help}");
        }
        text.push('\n');
    }
    if unserved.len() > MOST_ROWS {
        text += &format!("… and {}\n", plural((unserved.len() - MOST_ROWS) as u64, "workload"));
    }
    text
}
