//! `migplan suggest`: demand and fleet in, the proved best plan out.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::inputs::{CatalogueArgs, DemandArgs, FleetArgs, name_of, read_text};
use super::output::{Console, check_writable, write_result};
use super::planning::{PolicyArgs, checked};
use super::report::{self, Subject};
use super::summary;
use crate::compare;
use crate::demand::Demand;
use crate::emit::mig_parted;
use crate::error::{Diagnostic, Error, ExitCode, Result};
use crate::fleet::observed::{Instances, ObservedGpu};
use crate::fleet::{Fleet, Node};
use crate::hardware::Catalogue;
use crate::mig_parted::checkpoint::Checkpoint;
use crate::optimise::{PlanOptions, Spare};
use crate::plan::Plan;
use crate::plan::asked::PlanFile;
use crate::reconfigure::change::PresentInstance;
use crate::text::{plural, thousands};

/// Find the best cut of the GPUs for the teams' workloads and write it as a mig-parted file
///
/// The plan serves the most weight by priority, then the most memory, on the fewest GPUs, with the
/// least rounding loss, in the fewest kinds of instance, with the most compute slices handed out;
/// each proved before the next. The YAML goes to stdout, a summary for people to stderr.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  migplan suggest --workloads teams.csv --gpus 4xa100-80gb > config.yaml
  migplan suggest -w teams.csv --fleet fleet.csv --headroom 10% -o config.yaml --assignments nodes.csv
  migplan suggest -w teams.csv --gpus 8xh100-80gb --format json | jq .totals")]
pub struct Args {
    #[command(flatten)]
    demand: DemandArgs,
    #[command(flatten)]
    fleet: FleetArgs,
    #[command(flatten)]
    catalogue: CatalogueArgs,
    /// What to print: the mig-parted file, the plan as JSON, or the plan for people
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Write the result to this file instead of stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write the plan as JSON to this file too
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Write a page with pictures, tables and the mig-parted file to look at in a browser
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Write which node takes which config to this file (CSV: node,config)
    #[arg(long, value_name = "FILE")]
    assignments: Option<PathBuf>,
    /// Name of the config in the file; several distinct nodes get NAME-1, NAME-2, …
    #[arg(long, value_name = "NAME", default_value = mig_parted::DEFAULT_NAME)]
    name: String,
    /// Add all-disabled and the uniform all-PROFILE configs to the file
    #[arg(long)]
    with_presets: bool,
    /// What becomes of the slices that the demand leaves free on GPUs in use
    #[arg(long, value_enum, default_value_t)]
    spare: SpareChoice,
    #[command(flatten)]
    policy: PolicyArgs,
    /// Destroy as little as may be of what the GPUs of one node hold now: as NVML sees this node, or
    /// as a checkpoint file says (`migplan export -o checkpoint`)
    #[arg(long, value_name = "nvml|FILE", num_args = 0..=1, default_missing_value = "nvml")]
    current: Option<PathBuf>,
    /// Let --current move instances that are busy
    #[arg(long, requires = "current")]
    allow_disruption: bool,
    /// Stop proving after so many seconds and take the best plan so far
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    time_limit: Option<Duration>,
    /// Exit with 4 if some demand has no place (the plan is written all the same)
    #[arg(long)]
    strict: bool,
}

/// What `suggest` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// The mig-parted file.
    #[default]
    Yaml,
    /// The plan, schema migplan.plan/v1.
    Json,
    /// The plan for people.
    Text,
}

/// `--spare`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum SpareChoice {
    /// Further replicas in the demand's own proportions.
    #[default]
    Mix,
    /// The largest instances that fit.
    Largest,
    /// No instance that nobody has.
    None,
}

impl From<SpareChoice> for Spare {
    fn from(choice: SpareChoice) -> Spare {
        match choice {
            SpareChoice::Mix => Spare::Mix,
            SpareChoice::Largest => Spare::Largest,
            SpareChoice::None => Spare::None,
        }
    }
}

/// Reads a positive number of seconds.
pub(super) fn seconds(text: &str) -> std::result::Result<Duration, String> {
    text.parse::<f64>()
        .ok()
        .filter(|s| *s > 0.0)
        .and_then(|s| Duration::try_from_secs_f64(s).ok())
        .ok_or_else(|| "not a positive number of seconds".to_string())
}

impl Args {
    /// What each GPU of the one node holds now, if that shall be kept where possible.
    fn present(
        &self,
        fleet: &Fleet,
        catalogue: &Catalogue,
        console: &Console,
    ) -> Result<Option<Vec<Vec<PresentInstance>>>> {
        let Some(current) = &self.current else { return Ok(None) };
        let [node] = fleet.nodes() else {
            return Err(Error::usage("--current speaks of one node, but the fleet has several")
                .hint("plan that node alone, with --gpus"));
        };
        if *current != std::path::Path::new("nvml") {
            let file = name_of(current);
            let checkpoint = Checkpoint::parse(&read_text(current)?, &file)?;
            let mut problems = Vec::new();
            if checkpoint.gpu_count() != node.gpus.len() {
                problems.push(format!(
                    "tells of {} GPUs, but the fleet has {}",
                    checkpoint.gpu_count(),
                    node.gpus.len()
                ));
            }
            let mut present = Vec::new();
            for (gpu, board) in node.gpus.iter().enumerate().take(checkpoint.gpu_count()) {
                match checkpoint.present(gpu, board) {
                    Ok((_, instances)) => present.push(instances),
                    Err(problem) => problems.push(problem),
                }
            }
            if problems.is_empty() {
                return Ok(Some(present));
            }
            let problem = |p: String| Diagnostic::new(p).in_file(&file);
            return Err(Error::inputs(problems.into_iter().map(problem).collect())
                .hint("name the GPUs that the checkpoint was taken from, in the same order"));
        }
        let observed = self.fleet.nvml.observe(catalogue, console)?;
        let boards = |n: &Node| n.gpus.iter().map(|b| b.id.clone()).collect::<Vec<_>>();
        let here: Vec<String> =
            observed.gpus.iter().filter_map(|g| g.board.as_ref()).map(|b| b.id.clone()).collect();
        if here != boards(node) {
            return Err(Error::usage(
                "--current asks the GPUs of this node, but the fleet names others",
            )
            .hint("leave out --gpus and --fleet, or give --current a checkpoint file"));
        }
        let hidden = observed.gpus.iter().find(|g| matches!(g.instances, Instances::Hidden { .. }));
        if let Some(gpu) = hidden {
            return Err(Error::new(
                ExitCode::NoDriver,
                format!("GPU {}: this user may not list the instances", gpu.index),
            )
            .hint("run as root, or give --current a checkpoint file"));
        }
        let of =
            |gpu: &ObservedGpu| gpu.known_instances().iter().map(PresentInstance::from).collect();
        Ok(Some(observed.gpus.iter().map(of).collect()))
    }
}

pub(super) fn run(args: &Args, console: &Console) -> Result<()> {
    let policy = args.policy.read(args.current.is_some())?;
    for file in [&args.output, &args.plan, &args.assignments, &args.report] {
        check_writable(file.as_deref())?;
    }
    mig_parted::check_name(&args.name)?;
    args.demand.check_named()?;
    let catalogue = args.catalogue.read()?;
    let fleet = args.fleet.read(&catalogue, console)?;
    let demand = args.demand.read_for(&catalogue, Some(&fleet), console)?;
    let options = PlanOptions {
        spare: args.spare.into(),
        time_limit: args.time_limit,
        policy,
        present: args.present(&fleet, &catalogue, console)?.map(Arc::new),
        allow_disruption: args.allow_disruption,
        ..PlanOptions::default()
    };
    let suggestion = compare::suggest_with_presets(&demand, &fleet, &options)?;
    let plan = &suggestion.plan;
    checked(plan, &demand, &fleet, &policy)?;
    let file = mig_parted::write(
        plan,
        &catalogue,
        &mig_parted::Options {
            name: args.name.clone(),
            with_presets: args.with_presets,
            notes: notes(plan),
        },
    )?;
    if args.plan.is_some() {
        write_result(args.plan.as_deref(), |out| json(plan, &demand, out))?;
    }
    if args.assignments.is_some() {
        write_result(args.assignments.as_deref(), |out| {
            mig_parted::write_assignments(&file.assignments, out)
        })?;
    }
    if let Some(report_file) = &args.report {
        let comparison = compare::compare_plan(plan.clone(), &demand, &fleet, &options)?;
        let subject = Subject {
            comparison: &comparison,
            demand: &demand,
            fleet: &fleet,
            catalogue: &catalogue,
            options: &options,
            config: &file,
        };
        report::write(report_file, &subject)?;
    }
    let output = args.output.as_deref();
    match args.format {
        Format::Yaml => write_result(output, |out| out.write_all(file.text.as_bytes()))?,
        Format::Json => write_result(output, |out| json(plan, &demand, out))?,
        Format::Text => {
            let text = summary::text(&suggestion, &demand, console.verbosity());
            write_result(output, |out| {
                write!(out, "{text}\n{}", summary::cards(plan, console.verbosity()))
            })?;
        }
    }
    if args.format != Format::Text || args.output.is_some() {
        console.say(&summary::text(&suggestion, &demand, console.verbosity()));
    }
    let unplaced = plan.totals.replicas - plan.totals.placed;
    if args.strict && unplaced > 0 {
        let message = format!("{} without a place", plural(unplaced, "replica"));
        return Err(Error::new(ExitCode::Unplaced, message)
            .hint("the summary says why and what would help; --strict makes this an error"));
    }
    Ok(())
}

fn json(plan: &Plan, demand: &Demand, out: &mut dyn Write) -> std::io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, &PlanFile::new(plan, demand))?;
    writeln!(out)
}

/// What stands at the head of the file; nothing here may differ between equal runs.
pub(super) fn notes(plan: &Plan) -> Vec<String> {
    let totals = &plan.totals;
    let proof = match plan.proof.status {
        crate::plan::Status::Optimal => "proved the best plan",
        crate::plan::Status::TimeLimit => "the best plan found within the time limit",
    };
    vec![
        format!("Made by migplan {}: {proof}.", env!("CARGO_PKG_VERSION")),
        format!(
            "{} of {} placed on {} of {}.",
            thousands(totals.placed),
            plural(totals.replicas, "replica"),
            thousands(totals.gpus_used),
            plural(totals.gpus, "GPU")
        ),
    ]
}
