//! `migplan suggest --over-time`: one plan for all hours of a week or a history.

use super::{Args, files_beside, run_once};
use crate::cli::output::Console;
use crate::cli::watch::Watch;
use crate::compare;
use crate::emit::{mig_parted, strategy};
use crate::error::{Error, ExitCode, Result};
use crate::optimise::PlanOptions;
use crate::plan::exceeded::exceeded_over_time;
use crate::plan::file::PlanDocument;
use crate::plan::over_time::OverTimeFile;
use crate::view::json;
use crate::view::text::{exceeded, over_time as text, summary};

pub(super) fn run(args: &Args, options: PlanOptions, console: &Console) -> Result<()> {
    if args.report.is_some() {
        return Err(Error::usage("--report shows one hour, so it cannot be used with --over-time")
            .hint("`migplan replay --chart FILE` draws the plan over all hours"));
    }
    let (catalogue, demand, fleet) = args.inputs.read_over_time(&args.hours, console)?;
    let (fleet, options) = args.with_present(options, fleet, &catalogue, console)?;
    let options = args.options.with_quota(options, demand.peak(), console)?;
    if let [_] = demand.periods() {
        // Demand that is the same in all hours is planned as ever.
        return run_once(args, &options, &catalogue, &demand.demand_in(0), &fleet, console);
    }
    let watch = Watch::new(console);
    let suggestion = compare::over_time::suggest(&demand, &fleet, &watch.options(&options))?;
    drop(watch);
    let plan = &suggestion.plan.plan;
    let file = mig_parted::write(
        plan,
        &catalogue,
        &mig_parted::MigPartedOptions {
            name: args.name.clone(),
            with_presets: args.with_presets,
            notes: text::notes(&suggestion, &demand),
        },
    )?;
    let boards = fleet.boards();
    let periods = OverTimeFile::new(&suggestion.plan, &demand, |row| row.memory_mib(&boards));
    let document =
        PlanDocument::new(plan, &args.name, options.recorded(), &catalogue, demand.peak())
            .with_periods(periods);
    console.warn(&file.warnings);
    console.warn(&strategy::warnings_for(options.policy.strategy, &[plan], &fleet));
    files_beside(args, &file, &document)?;
    args.format.print(
        args.output.as_deref(),
        console,
        &file.text,
        |out| json::write(&document, out),
        |layout| text::summary(&suggestion, &demand, layout),
        |layout| summary::gpus(plan, layout),
    )?;
    let found = exceeded_over_time(&suggestion.plan, &demand, &boards);
    console.warn(exceeded::warning(&found).as_slice());
    let (asked, placed) = suggestion.plan.replica_hours(&demand);
    if args.strict && placed < asked {
        return Err(Error::new(ExitCode::Unplaced, "some replica-hours are unplaced")
            .hint("the summary says which hours fall short; --strict makes this an error"));
    }
    Ok(())
}
