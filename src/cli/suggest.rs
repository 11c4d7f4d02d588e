//! `migplan suggest`: demand and fleet in, the proved best plan out.

mod over_time;

use std::io::{self, Write};
use std::mem;
use std::path::{Path, PathBuf};

use super::current::CurrentArgs;
use super::hours_args::HoursArgs;
use super::output::{Console, check_outputs, write_beside, write_result};
use super::planning::{InputArgs, OptionArgs};
use super::watch::Watch;
use crate::compare;
use crate::demand::Demand;
use crate::emit::mig_parted::{self, MigPartedFile};
use crate::emit::strategy;
use crate::error::{Error, ExitCode, Result};
use crate::fleet::Fleet;
use crate::hardware::Catalogue;
use crate::optimise::PlanOptions;
use crate::plan::Share;
use crate::plan::exceeded::exceeded;
use crate::plan::file::PlanDocument;
use crate::reconfigure::present;
use crate::text::plural;
use crate::view::html::report::{Subject, report};
use crate::view::json;
use crate::view::text::{self, Layout, summary};

/// Find the best MIG layout of the GPUs for the teams' workloads and write it as a mig-parted file
///
/// The plan serves the most weight by priority, then the most memory, on the fewest GPUs, with the
/// least internal fragmentation, in the fewest kinds of instance, with the most compute slices
/// allocated; each proved before the next. The YAML goes to stdout, a summary for people to stderr.
#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/suggest.txt").trim_ascii_end())]
#[command(after_long_help = include_str!("help/suggest-long.txt").trim_ascii_end())]
pub struct Args {
    #[command(flatten)]
    inputs: InputArgs,
    /// What to print: the mig-parted file, the plan as JSON, or the plan for people
    ///
    /// The JSON is of the schema migplan.plan/v1.
    #[arg(help_heading = "Output", long, value_enum, default_value_t)]
    format: Format,
    /// Write the result to this file instead of stdout
    #[arg(help_heading = "Output", short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write the plan as JSON to this file too
    #[arg(help_heading = "Output", long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Write a page with pictures, tables and the mig-parted file for a browser
    #[arg(help_heading = "Output", long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Write which node takes which MIG configuration to this file (CSV: node,config)
    #[arg(help_heading = "Output", long, value_name = "FILE", hide_short_help = true)]
    assignments: Option<PathBuf>,
    /// Label of the MIG configuration; several distinct nodes get NAME-1, NAME-2, …
    #[arg(help_heading = "Output", long, value_name = "NAME", default_value = mig_parted::DEFAULT_NAME)]
    name: String,
    /// Add all-disabled and the uniform all-PROFILE configurations to the file
    #[arg(help_heading = "Output", long, hide_short_help = true)]
    with_presets: bool,
    #[command(flatten)]
    options: OptionArgs,
    #[command(flatten)]
    current: CurrentArgs,
    /// Find the plan that serves the most of all hours, not of the peak alone
    ///
    /// The hours are those of the column hours, or of the history that Prometheus has.
    #[arg(long, help_heading = "Demand over time")]
    over_time: bool,
    #[command(flatten)]
    hours: HoursArgs,
    /// Exit with 4 if some demand is unplaced (the plan is written all the same)
    #[arg(help_heading = "Output", long)]
    strict: bool,
}

/// What `suggest` and `schedule` print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// The mig-parted file
    #[default]
    Yaml,
    /// For programs
    Json,
    /// For people
    Text,
}

impl Format {
    /// Prints a result in this form to stdout or `output`; and where people do not see its summary
    /// there, the summary on stderr. `details` follow the summary in the form for people.
    ///
    /// # Errors
    /// As [`write_result`].
    pub(super) fn print(
        self,
        output: Option<&Path>,
        console: &Console,
        yaml: &str,
        json: impl FnOnce(&mut dyn Write) -> io::Result<()>,
        summary: impl Fn(Layout) -> String,
        details: impl FnOnce(Layout) -> String,
    ) -> Result<()> {
        match self {
            Format::Yaml => write_result(output, |out| out.write_all(yaml.as_bytes()))?,
            Format::Json => write_result(output, json)?,
            Format::Text => {
                let layout = console.layout(output);
                let (summary, details) = (summary(layout), details(layout));
                write_result(output, |out| write!(out, "{summary}\n{details}"))?;
            }
        }
        if !console.is_quiet() && (self != Format::Text || output.is_some()) {
            console.say(&summary(console.stderr_layout()));
        }
        Ok(())
    }
}

pub(super) fn run(args: &Args, console: &Console) -> Result<()> {
    let options = args.options.read(args.current.is_given())?;
    let beside = [&args.plan, &args.assignments, &args.report];
    let inputs = args.inputs.files().chain(args.options.files()).chain(args.current.files());
    check_outputs(args.output.as_deref(), &beside, inputs)?;
    mig_parted::check_name(&args.name)?;
    if args.over_time {
        return over_time::run(args, options, console);
    }
    if let Some(flag) = args.hours.given() {
        return Err(Error::usage(format!("{flag} needs --over-time"))
            .hint("add --over-time to plan for all hours"));
    }
    let (catalogue, demand, fleet) = args.inputs.read(console)?;
    let (fleet, options) = args.with_present(options, fleet, &catalogue, console)?;
    let options = args.options.with_quota(options, &demand, console)?;
    let result = run_once(args, &options, &catalogue, &demand, &fleet, console);
    // Here the process ends, and taking the parts of a large fleet down would only delay that.
    mem::forget((demand, fleet));
    result
}

impl Args {
    /// The options with what the GPUs hold now, where that is to be kept, and the fleet with the GPUs
    /// where they are.
    fn with_present(
        &self,
        options: PlanOptions,
        fleet: Fleet,
        catalogue: &Catalogue,
        console: &Console,
    ) -> Result<(Fleet, PlanOptions)> {
        let (fleet, present) =
            self.current.read(&self.inputs.fleet.nvml, fleet, catalogue, console)?;
        let allow_disruption = self.current.allow_disruption;
        if let (Some(present), false, [node]) = (&present, allow_disruption, fleet.nodes()) {
            console.warn(present::kept_whole(node, present).as_slice());
        }
        Ok((fleet, options.with_present(present, allow_disruption)?))
    }
}

/// Writes the plan and the assignments beside the result, where they are asked for.
fn files_beside(args: &Args, file: &MigPartedFile, document: &PlanDocument<'_>) -> Result<()> {
    write_beside(args.plan.as_deref(), |out| json::write(document, out))?;
    write_beside(args.assignments.as_deref(), |out| {
        mig_parted::write_assignments(&file.assignments, out)
    })
}

/// The plan for demand that is the same at all times.
fn run_once(
    args: &Args,
    options: &PlanOptions,
    catalogue: &Catalogue,
    demand: &Demand,
    fleet: &Fleet,
    console: &Console,
) -> Result<()> {
    let watch = Watch::new(console);
    // What nobody reads need not be found.
    let for_people = args.format == Format::Text || !console.is_quiet();
    let suggest = if for_people { compare::suggest_with_presets } else { compare::suggest_alone };
    let watched = watch.options(options);
    let suggestion = suggest(demand, fleet, &watched)?;
    let plan = &suggestion.plan;
    let cost = match options.share {
        Share::Fair if !console.is_quiet() => {
            compare::cost_of_fairness(plan, demand, fleet, &watched)?
        }
        _ => None,
    };
    drop(watch);
    let file = mig_parted::write(
        plan,
        catalogue,
        &mig_parted::MigPartedOptions {
            name: args.name.clone(),
            with_presets: args.with_presets,
            notes: summary::notes(plan),
        },
    )?;
    let document = PlanDocument::new(plan, &args.name, options.recorded(), catalogue, demand);
    console.warn(&file.warnings);
    console.warn(&strategy::warnings_for(options.policy.strategy, &[plan], fleet));
    files_beside(args, &file, &document)?;
    if let Some(report_file) = &args.report {
        let comparison = compare::compare_plan(plan.clone(), demand, fleet, options)?;
        let subject =
            Subject { comparison: &comparison, demand, fleet, catalogue, options, config: &file };
        let page = report(&subject)?;
        write_result(Some(report_file), |out| out.write_all(page.as_bytes()))?;
    }
    args.format.print(
        args.output.as_deref(),
        console,
        &file.text,
        |out| json::write(&document, out),
        |layout| summary::summary(&suggestion, demand, fleet, layout),
        |layout| summary::gpus(plan, layout),
    )?;
    if let Some(cost) = &cost {
        console.say(&summary::fairness(cost, console.stderr_layout()));
    }
    console.warn(text::exceeded::warning(&exceeded(plan, demand)).as_slice());
    let unplaced = plan.totals.replicas - plan.totals.placed;
    if args.strict && unplaced > 0 {
        let message = format!("{} unplaced", plural(unplaced, "replica"));
        return Err(Error::new(ExitCode::Unplaced, message)
            .hint("the summary says why and what would help; --strict makes this an error"));
    }
    // As the caller does with the demand.
    mem::forget(suggestion);
    Ok(())
}
