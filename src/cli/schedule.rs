//! `migplan schedule`: at most K configurations over the week, and what carries out the changes.

use std::path::{Path, PathBuf};

use super::chart::{picture_file, write_picture};
use super::hours_args::HoursArgs;
use super::output::{Console, check_outputs, write_result};
use super::planning::{InputArgs, OptionArgs, hide_teams};
use super::suggest::Format;
use super::values::whole;
use super::watch::Watch;
use crate::emit::mig_parted;
use crate::emit::output::Emitted;
use crate::emit::strategy;
use crate::emit::systemd;
use crate::emit::weekly::{self, Weekly, WeeklyChange};
use crate::error::{Diagnostic, Error, Result};
use crate::optimise::{Keeps, PlanOptions};
use crate::plan::Checked;
use crate::schedule::{self, ScheduleOptions};
use crate::view::charts::{Chart, Theme};
use crate::view::figures::ScheduleFigure;
use crate::view::json::{self, schedule::ScheduleDocument};
use crate::view::text::schedule as text;

const HEADING: &str = "Schedule";

/// Find at most K MIG configurations over the week, when each is active, and what changes them
///
/// Demand over time is the history that Prometheus has, or the column hours of a workloads file. A
/// change costs the instances it destroys for some minutes, and never falls where a replica that
/// holds one of them runs through. The mig-parted file with a label for each configuration goes to
/// stdout, a summary to stderr.
#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/schedule.txt").trim_ascii_end())]
#[command(after_long_help = include_str!("help/schedule-long.txt").trim_ascii_end())]
#[command(mut_arg("timezone", |arg| arg.hide_short_help(false)))]
#[command(mut_args(hide_teams))]
pub struct Args {
    #[command(flatten)]
    inputs: InputArgs,
    #[command(flatten)]
    hours: HoursArgs,
    /// The most configurations
    #[arg(long, help_heading = HEADING, value_name = "K", default_value_t = 2, alias = "cuts")]
    #[arg(value_parser = whole(0..=usize::MAX), allow_hyphen_values = true)]
    configs: usize,
    /// Minutes of an hour that a change takes
    #[arg(long, help_heading = HEADING, value_name = "MINUTES", default_value_t = 10)]
    #[arg(value_parser = whole(i64::MIN..=i64::MAX), allow_hyphen_values = true)]
    #[arg(hide_short_help = true)]
    change_minutes: i64,
    /// What a change leaves alone: instances, as migplan apply does, or only GPUs whose layout
    /// stays, as mig-parted and the MIG Manager do [default: gpus with --cronjobs, else instances]
    #[arg(long, help_heading = HEADING, value_enum, hide_short_help = true)]
    keep: Option<Keeps>,
    /// Let changes end replicas that run through them
    #[arg(long, help_heading = HEADING, hide_short_help = true)]
    allow_disruption: bool,
    #[command(flatten)]
    options: OptionArgs,
    /// What to print: the mig-parted file, the schedule as JSON, or the schedule for people
    ///
    /// The JSON is of the schema migplan.schedule/v1.
    #[arg(help_heading = "Output", long, value_enum, default_value_t)]
    format: Format,
    /// Write the result to this file instead of stdout
    #[arg(help_heading = "Output", short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Label of the configurations: NAME-a, NAME-b, …
    #[arg(help_heading = "Output", long, value_name = "NAME", default_value = mig_parted::DEFAULT_NAME)]
    name: String,
    /// Draw which configuration is active when, and what it places (.svg or .png)
    #[arg(help_heading = "Output", long, value_name = "FILE", value_parser = picture_file)]
    chart: Option<PathBuf>,
    /// Write Kubernetes CronJobs that label the nodes, with the rights they need, to this file
    #[arg(help_heading = "Output", long, value_name = "FILE")]
    cronjobs: Option<PathBuf>,
    /// Write systemd units that run `migplan apply` at each change, and at boot, to this folder
    ///
    /// Where a change turns MIG on or off on boards that need a reset for it (A30, A100), the units
    /// refuse it until --reset is added to them: only the site knows whether nothing else holds the GPU.
    #[arg(help_heading = "Output", long, value_name = "DIR")]
    systemd: Option<PathBuf>,
    /// Where migplan is on the nodes, for --systemd [default: /usr/bin/migplan]
    #[arg(help_heading = "Output", long, value_name = "PATH", requires = "systemd")]
    #[arg(hide_short_help = true)]
    binary: Option<String>,
    /// Add all-disabled and the uniform all-PROFILE configurations to the file
    #[arg(help_heading = "Output", long, hide_short_help = true)]
    with_presets: bool,
}

pub(super) fn run(args: &Args, console: &Console) -> Result<()> {
    let beside = [&args.cronjobs, &args.chart];
    check_outputs(args.output.as_deref(), &beside, args.inputs.files())?;
    mig_parted::check_name(&args.name)?;
    weekly::check_binary(args.binary())?;
    args.options.refuse_teams("schedule")?;
    let options =
        PlanOptions { allow_disruption: args.allow_disruption, ..args.options.read(false)? };
    let wanted = ScheduleOptions {
        configurations: args.configs,
        change_minutes: args.change_minutes,
        keeps: args.keeps(console),
    };
    wanted.check(&options)?;
    let (catalogue, demand, fleet) = args.inputs.read_over_time(&args.hours, console)?;
    schedule::check_demand(&demand)?;
    let watch = Watch::new(console);
    let found = schedule::schedule(&demand, &fleet, &watch.options(&options), &wanted)?;
    drop(watch);
    let plans: Vec<&Checked> = found.configurations.iter().map(|c| &c.plan.plan).collect();
    console.warn(&strategy::warnings_for(options.policy.strategy, &plans, &fleet));
    let notes = |labels: &text::Labels| text::notes(&found, &demand, labels);
    let file = mig_parted::write_several(&plans, &catalogue, &args.name, args.with_presets, notes)?;
    console.warn(&file.warnings);
    let changes: Vec<WeeklyChange> =
        found.changes.iter().map(|c| WeeklyChange { hour: c.at.hour, to: c.at.to }).collect();
    let weekly = Weekly {
        changes: &changes,
        timezone: demand.zone().name(),
        labels: &file.assignments,
        resets: &found.resets,
        name: &args.name,
        binary: args.binary(),
    };
    write_engines(args, &weekly, console)?;
    if let Some(chart) = &args.chart {
        let labels = (0..plans.len()).map(|c| text::label(&file.assignments, c));
        let figure = ScheduleFigure::new(&found, &demand, labels.collect());
        write_picture(&figure.picture(), Theme::Light, chart, console)?;
    }
    args.format.print(
        args.output.as_deref(),
        console,
        &file.text,
        |out| {
            let labels = &file.assignments;
            json::write(&ScheduleDocument::new(&found, &demand, labels, wanted.change_minutes), out)
        },
        |layout| text::summary(&found, &demand, &file.assignments, layout),
        |_| String::new(),
    )
}

impl Args {
    fn binary(&self) -> &str {
        self.binary.as_deref().unwrap_or(systemd::INSTALLED)
    }

    /// What a change leaves alone. The CronJobs label nodes, and then the MIG Manager changes them.
    fn keeps(&self, console: &Console) -> Keeps {
        let by_manager = self.cronjobs.is_some();
        if by_manager && self.keep == Some(Keeps::Instances) {
            let message = "the MIG Manager clears each GPU whose layout changes, and ends what runs there: --keep instances does not hold for --cronjobs";
            console.warn(&[Diagnostic::new(message)]);
        }
        self.keep.unwrap_or(if by_manager { Keeps::Gpus } else { Keeps::Instances })
    }
}

/// The names of the files of a folder; those that cannot be read are none.
fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Writes what carries the changes out.
fn write_engines(args: &Args, weekly: &Weekly<'_>, console: &Console) -> Result<()> {
    if let Some(file) = &args.cronjobs {
        let Emitted { text, warnings, .. } = weekly::cron_jobs(weekly)?;
        console.warn(&warnings);
        write_result(Some(file), |out| out.write_all(text.as_bytes()))?;
    }
    if let Some(folder) = &args.systemd {
        std::fs::create_dir_all(folder).map_err(|e| {
            let problem = match folder.exists() {
                true => "is a file, not a folder".to_string(),
                false => format!("cannot be made: {e}"),
            };
            Error::input(Diagnostic::new(problem).in_file(folder.display().to_string()))
        })?;
        let units = weekly::units(weekly);
        if let Some(refused) = weekly::refused(weekly) {
            console.warn(&[refused]);
            console.hint(&format!(
                "where nothing else holds these GPUs at the changes, {}",
                weekly::WITH_RESET
            ));
        }
        for unit in &units {
            let file = folder.join(&unit.name);
            write_result(Some(&file), |out| out.write_all(unit.text.as_bytes()))?;
        }
        if let Some(left) = weekly::left_over(weekly.name, &units, names_in(folder)) {
            console.warn(&[left.in_file(folder.display().to_string())]);
        }
    }
    Ok(())
}
