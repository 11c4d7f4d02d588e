//! `migplan check`: is this YAML valid for mig-parted, and can these GPUs really hold it?

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::inputs::{CatalogueArgs, FleetArgs, name_of, open, read_text};
use super::output::{Console, Format, write_result};
use crate::apply::guard;
use crate::error::{Diagnostic, Error, ExitCode, Result};
use crate::fleet::{Fleet, Node};
use crate::hardware::{BoardRef, Catalogue};
use crate::mig_parted::{Config, NodeGpu};
use crate::table::{Column, Table};
use crate::text::plural;

/// Check that a mig-parted file is valid and that these GPUs can hold it, or say every reason why not
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  migplan check -f config.yaml --gpus 4xa100-80gb
  migplan check -f config.yaml --fleet fleet.csv --assignments nodes.csv
  migplan check -f config.yaml --live
  migplan suggest -w teams.csv --gpus 8xh100-80gb | migplan check -f - --gpus 8xh100-80gb")]
pub struct Args {
    /// The mig-parted file (- is stdin)
    #[arg(short, long, value_name = "FILE", default_value = "config.yaml")]
    file: PathBuf,
    /// The label to check; without it, every label of the file
    #[arg(short = 'c', long, value_name = "LABEL", conflicts_with = "assignments")]
    config: Option<String>,
    /// Which node takes which label (CSV: node,config); without it every node must hold every label
    #[arg(long, value_name = "FILE", requires = "fleet")]
    assignments: Option<PathBuf>,
    /// Ask whether this node still is what the file says; exit 7 if it drifted
    #[arg(long, conflicts_with_all = ["gpus", "fleet", "nodes", "assignments"])]
    live: bool,
    #[command(flatten)]
    fleet: FleetArgs,
    #[command(flatten)]
    catalogue: CatalogueArgs,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Nodes of the same boards, which give the same answers.
struct Alike<'f> {
    boards: &'f [BoardRef],
    nodes: Vec<&'f str>,
}

pub(super) fn run(args: &Args, console: &Console) -> Result<()> {
    let catalogue = args.catalogue.read()?;
    if args.live {
        return live(args, &catalogue, console);
    }
    let fleet = args.fleet.read(&catalogue, console)?;
    let file = name_of(&args.file);
    let config = Config::parse(&read_text(&args.file)?, &file)?;
    let labels: Vec<&str> = match &args.config {
        Some(label) => vec![config.select(Some(label))?],
        None => config.labels().collect(),
    };
    let mut problems: Vec<Diagnostic> = Vec::new();
    let cases: Vec<(&str, Alike<'_>)> = match &args.assignments {
        Some(assignments) => assigned(assignments, &config, &fleet, &mut problems)?,
        None => labels
            .iter()
            .flat_map(|label| alike(fleet.nodes().iter()).into_iter().map(|a| (*label, a)))
            .collect(),
    };
    let mut warnings = Vec::new();
    let mut checked = BTreeMap::new();
    for (label, alike) in &cases {
        let several = cases.len() > 1;
        let place = |problem: Diagnostic| match several {
            true => Diagnostic {
                message: format!("{} ({})", problem.message, whom(label, alike)),
                ..problem
            },
            false => problem,
        };
        match config.resolve(Some(label), alike.boards) {
            Err(error) => problems.extend(error.problems.into_iter().map(place)),
            Ok(resolved) => {
                warnings.extend(resolved.warnings.into_iter().map(place));
                *checked.entry(*label).or_insert(0u64) += alike.nodes.len() as u64;
            }
        }
    }
    // A label that nobody chose may well be for other GPUs than all of these.
    if args.config.is_some() || args.assignments.is_some() || labels.len() == 1 {
        console.warn(&warnings);
    }
    if args.format == Format::Json {
        let text = |problems: &[Diagnostic]| {
            problems.iter().map(Diagnostic::to_string).collect::<Vec<_>>()
        };
        let result = serde_json::json!({
            "schema": "migplan.check/v1",
            "ok": problems.is_empty(),
            "labels": labels,
            "problems": text(&problems),
            "warnings": text(&warnings),
        });
        write_result(None, |out| {
            serde_json::to_writer_pretty(&mut *out, &result)?;
            writeln!(out)
        })?;
    }
    if !problems.is_empty() {
        return Err(Error { code: ExitCode::BadInput, problems, hint: None }
            .hint("`migplan catalogue BOARD` shows what a board can hold; `migplan suggest` writes a file that fits"));
    }
    if args.format == Format::Text {
        let gpus = fleet.gpu_count() as u64;
        write_result(None, |out| {
            for (label, nodes) in &checked {
                writeln!(
                    out,
                    "{file}: {label}: valid for mig-parted, and {} of {} can hold it",
                    plural(*nodes, "node"),
                    plural(gpus, "GPU")
                )?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Compares this node with what the file wants of it.
fn live(args: &Args, catalogue: &Catalogue, console: &Console) -> Result<()> {
    let file = name_of(&args.file);
    let config = Config::parse(&read_text(&args.file)?, &file)?;
    config.select(args.config.as_deref())?;
    let node = args.fleet.nvml.observe(catalogue, console)?;
    let gpus: Vec<NodeGpu> = node.gpus.iter().map(NodeGpu::from).collect();
    let wanted = config.resolve_node(args.config.as_deref(), &gpus)?;
    console.warn(&wanted.warnings);
    let change = guard::plan(&node, &wanted.gpus, true);
    let drifted: Vec<Diagnostic> = change
        .gpus
        .iter()
        .map(|gpu| {
            let mode = match &gpu.mode {
                Some(mode) => format!("MIG is not {}; ", if mode.on { "on" } else { "off" }),
                None => String::new(),
            };
            let (more, less) = (gpu.change.destroyed(), gpu.change.create.len());
            let (more, less) = (plural(more as u64, "instance"), plural(less as u64, "instance"));
            Diagnostic::new(format!(
                "GPU {} is not what {file} says: {mode}{more} too many, {less} missing",
                gpu.gpu
            ))
        })
        .chain(change.refusals.iter().cloned())
        .chain(change.hidden.iter().map(|(gpu, why)| {
            Diagnostic::new(format!("GPU {gpu}: its instances cannot be seen: {why}"))
        }))
        .collect();
    if args.format == Format::Json {
        let result = serde_json::json!({
            "schema": "migplan.check-live/v1",
            "ok": drifted.is_empty(),
            "label": wanted.label,
            "drifted": drifted.iter().map(Diagnostic::to_string).collect::<Vec<_>>(),
        });
        write_result(None, |out| {
            serde_json::to_writer_pretty(&mut *out, &result)?;
            writeln!(out)
        })?;
    }
    if !drifted.is_empty() {
        return Err(Error { code: ExitCode::Refused, problems: drifted, hint: None }.hint(
            "`migplan apply --dry-run` shows what it would change back; nothing was touched",
        ));
    }
    if args.format == Format::Text {
        let text = format!("{file}: {}: this node is what it says", wanted.label);
        write_result(None, |out| writeln!(out, "{text}"))?;
    }
    Ok(())
}

/// `label 'migplan' on gpu-01 and 3 more nodes`.
fn whom(label: &str, alike: &Alike<'_>) -> String {
    let first = alike.nodes.first().copied().unwrap_or_default();
    match alike.nodes.len() {
        0 | 1 => format!("label '{label}' on {first}"),
        n => format!("label '{label}' on {first} and {}", plural(n as u64 - 1, "more node")),
    }
}

/// Groups nodes that have the same boards at the same indices.
fn alike<'f>(nodes: impl Iterator<Item = &'f Node>) -> Vec<Alike<'f>> {
    let mut groups: BTreeMap<Vec<&str>, Alike<'f>> = BTreeMap::new();
    for node in nodes {
        let boards = node.gpus.iter().map(|b| b.id.as_str()).collect();
        let group =
            groups.entry(boards).or_insert_with(|| Alike { boards: &node.gpus, nodes: Vec::new() });
        group.nodes.push(&node.name);
    }
    groups.into_values().collect()
}

const COLUMNS: &[Column] =
    &[Column { name: "node", required: true }, Column { name: "config", required: true }];

/// The nodes of each label as `--assignments` says.
fn assigned<'f>(
    file: &std::path::Path,
    config: &'f Config,
    fleet: &'f Fleet,
    problems: &mut Vec<Diagnostic>,
) -> Result<Vec<(&'f str, Alike<'f>)>> {
    let hint = "an assignments file has the columns node,config, as `migplan suggest --assignments` writes it";
    let mut table = Table::open(open(file)?, &name_of(file), COLUMNS, hint)?;
    let mut nodes_of: BTreeMap<&str, BTreeMap<&str, &Node>> = BTreeMap::new();
    let mut open_nodes: BTreeMap<&str, &Node> =
        fleet.nodes().iter().map(|n| (n.name.as_str(), n)).collect();
    table.for_each_row(|row, found| {
        let label = row.get(1).and_then(|label| config.labels().find(|l| *l == label));
        let node = row.get(0).and_then(|node| open_nodes.remove(node));
        if label.is_none() {
            found.push(row.problem(1, "is no label of the file"));
        }
        match node {
            None => found.push(row.problem(0, "is no node of the fleet, or is here twice")),
            Some(node) => {
                if let Some(label) = label {
                    nodes_of.entry(label).or_default().insert(&node.name, node);
                }
            }
        }
    });
    problems.extend(table.problems);
    for node in open_nodes.keys() {
        problems.push(
            Diagnostic::new(format!("node '{node}' of the fleet has no config"))
                .in_file(name_of(file)),
        );
    }
    Ok(nodes_of
        .into_iter()
        .flat_map(|(label, nodes)| alike(nodes.into_values()).into_iter().map(move |a| (label, a)))
        .collect())
}
