//! `migplan compare`: the plan beside what people do today.

use std::path::PathBuf;

use super::output::{Console, check_outputs, write_result};
use super::planning::{InputArgs, OptionArgs};
use super::watch::Watch;
use crate::compare;
use crate::emit::mig_parted;
use crate::error::Result;
use crate::view::html::report::{Subject, report};
use crate::view::json::{self, comparison::ComparisonDocument};
use crate::view::text::{comparison as text, summary};

/// Compare the best plan with what people do today: uniform presets, whole GPUs, first fit
///
/// Every way serves the same demand with the same GPUs and is taken at its best: the presets
/// (all-PROFILE, all-balanced) and whole GPUs assign their instances exactly. First-fit and
/// best-fit decreasing place one replica after the other, as a scheduler does.
#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/compare.txt").trim_ascii_end())]
#[command(after_long_help = include_str!("help/compare-long.txt").trim_ascii_end())]
pub struct Args {
    #[command(flatten)]
    inputs: InputArgs,
    #[command(flatten)]
    options: OptionArgs,
    /// How to print
    #[arg(long, help_heading = "Output", value_enum, default_value_t)]
    format: Format,
    /// Write the result to this file instead of stdout
    #[arg(short, long, help_heading = "Output", value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write a page with pictures, tables and the mig-parted file for a browser
    #[arg(long, help_heading = "Output", value_name = "FILE")]
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
    let inputs = args.inputs.files().chain(args.options.files());
    check_outputs(args.output.as_deref(), &[&args.report], inputs)?;
    let options = args.options.read(false)?;
    let (catalogue, demand, fleet) = args.inputs.read(console)?;
    let options = args.options.with_quota(options, &demand, console)?;
    let watch = Watch::new(console);
    let comparison = compare::compare(&demand, &fleet, &watch.options(&options))?;
    drop(watch);
    if let Some(file) = &args.report {
        let config = mig_parted::write(
            &comparison.plan,
            &catalogue,
            &mig_parted::MigPartedOptions {
                notes: summary::notes(&comparison.plan),
                ..Default::default()
            },
        )?;
        let subject = Subject {
            comparison: &comparison,
            demand: &demand,
            fleet: &fleet,
            catalogue: &catalogue,
            options: &options,
            config: &config,
        };
        let page = report(&subject)?;
        write_result(Some(file), |out| out.write_all(page.as_bytes()))?;
    }
    console.warn(&text::warnings(&comparison, &demand, &options.policy));
    let output = args.output.as_deref();
    let layout = console.layout(output);
    write_result(output, |out| match args.format {
        Format::Text => out.write_all(text::text(&comparison, &demand, layout).as_bytes()),
        Format::Json => json::write(&ComparisonDocument::new(&comparison, &demand), out),
        Format::Csv => text::csv(&comparison, out),
    })
}
