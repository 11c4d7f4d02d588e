//! `migplan demand`: the demand as understood, to be read, edited and fed back.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::inputs::{CatalogueArgs, DemandArgs};
use super::output::{Console, write_result};
use super::prometheus_args::{Seen, period};
use crate::demand::quiet::{self, Quiet, Window};
use crate::demand::sizing::Origin;
use crate::demand::time::Span;
use crate::demand::{Demand, Workload, csv};
use crate::error::{Error, Result};
use crate::text::plural;
use crate::units::Headroom;

/// Print the demand as understood, from Prometheus or a workloads file, as a CSV to edit
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  migplan demand --prometheus-url http://localhost:9090 --window 14d > teams.csv
  curl -s http://node:9400/metrics | migplan demand --prometheus -
  promtool query range -o json http://localhost:9090 DCGM_FI_DEV_FB_USED > used.json
  migplan demand --prometheus used.json --quantile 0.95 --quiet-window 2h
  migplan demand --workloads teams.csv --headroom 10%

Comments in the CSV say from how many samples and pods each row came. Edit it and give it to
suggest: migplan suggest --workloads teams.csv --gpus 4xa100-80gb")]
pub struct Args {
    #[command(flatten)]
    demand: DemandArgs,
    #[command(flatten)]
    catalogue: CatalogueArgs,
    /// Also name the hours in which a reconfiguration that takes this long disturbs the fewest
    #[arg(long, value_name = "DURATION")]
    quiet_window: Option<Span>,
    /// Tell times of day by this offset from UTC, such as +02:00
    #[arg(long, value_name = "OFFSET", default_value = "UTC", allow_hyphen_values = true)]
    #[arg(value_parser = quiet::parse_offset)]
    utc_offset: i64,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
    /// Write to this file instead of stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Csv,
    Json,
}

pub(super) fn run(args: &Args, console: &Console) -> Result<()> {
    let catalogue = args.catalogue.read()?;
    let (demand, mut seen) = args.demand.read_with_origins(&catalogue, None, console)?;
    let quiet = match (args.quiet_window, &mut seen) {
        (None, _) => None,
        (Some(window), Some(seen)) => {
            Some(quiet::windows(&mut seen.usage, window, args.utc_offset)?)
        }
        (Some(_), None) => {
            return Err(Error::usage("--quiet-window needs samples over time")
                .hint("give --prometheus FILE or --prometheus-url URL"));
        }
    };
    write_result(args.output.as_deref(), |out| match args.format {
        Format::Csv => {
            let head = head(seen.as_ref(), quiet.as_ref(), args.demand.headroom);
            csv::write(&demand, &head, |workload| note(workload, seen.as_ref()), out)
        }
        Format::Json => {
            let text = as_json(&demand, seen.as_ref(), quiet.as_ref());
            serde_json::to_writer_pretty(&mut *out, &text)?;
            writeln!(out)
        }
    })
}

fn head(seen: Option<&Seen>, quiet: Option<&Quiet>, headroom: Headroom) -> Vec<String> {
    let mut lines = Vec::new();
    if seen.is_some() {
        lines.push(
            "From Prometheus. Edit it and give it to: migplan suggest --workloads FILE --gpus …"
                .into(),
        );
    }
    if headroom.0 > 0 {
        lines.push("Memory has its headroom already; do not add it again.".into());
    }
    if let Some(quiet) = quiet {
        let zone = quiet::zone(quiet.offset_minutes);
        for (label, window) in [
            ("quiet", Some(quiet.daily)),
            ("quiet", quiet.weekly),
            ("busiest", Some(quiet.busiest)),
        ] {
            if let Some(window) = window {
                lines.push(format!("{label}: {} {zone}: {}", window.when(), window.busy()));
            }
        }
    }
    lines
}

fn origin<'s>(workload: &Workload, seen: Option<&'s Seen>) -> Option<&'s Origin> {
    seen?.sizing.origins.get(&(workload.team.clone(), workload.name.clone()))
}

/// Where a row comes from, in words.
fn note(workload: &Workload, seen: Option<&Seen>) -> Option<String> {
    let origin = origin(workload, seen)?;
    let mut note = format!(
        "{}: {} of {}, at most {}",
        workload.label(),
        plural(origin.observed.samples, "sample"),
        plural(origin.pods, "pod"),
        origin.observed.peak
    );
    if origin.requested {
        note = format!("{}: asked for by {}", workload.label(), plural(origin.pods, "pod"));
    }
    if let Some((first, last)) = origin.seen_ms {
        note.push_str(&format!(", {}", period(first, last)));
    }
    if origin.shares_device {
        note.push_str("; shares a GPU, so this is the memory of all pods on it");
    }
    if let Some(limited) = &origin.observed.limited {
        note.push_str("; may need more: ");
        note.push_str(&match &limited.instance {
            Some(of) if limited.at_ceiling => format!("at the ceiling of {}", of.name),
            _ => format!("{} ended for lack of memory", plural(limited.killed_pods, "pod")),
        });
        if let Some(next) = &limited.next {
            note.push_str(&format!("; the next size is {} with {}", next.name, next.memory));
        }
    }
    if workload.whole_gpus == 0 && origin.instances_per_pod > 1 {
        note.push_str(&format!("; up to {} per pod", plural(origin.instances_per_pod, "instance")));
    }
    Some(note)
}

fn as_json(demand: &Demand, seen: Option<&Seen>, quiet: Option<&Quiet>) -> Value {
    let workloads: Vec<Value> = demand
        .workloads()
        .iter()
        .map(|workload| {
            let mut row = json!({
                "team": &*workload.team,
                "workload": &*workload.name,
                "memory_mib": workload.memory,
                "count": workload.count,
                "priority": workload.priority,
                "weight": workload.weight.0 as f64 / 1e6,
                "compute": workload.compute_slices,
                "media": workload.media,
                "boards": workload.boards.to_vec(),
                "gpus": workload.whole_gpus,
            });
            if let Some(origin) = origin(workload, seen) {
                row["origin"] = json!({
                    "samples": origin.observed.samples,
                    "pods": origin.pods,
                    "first_ms": origin.seen_ms.map(|(first, _)| first),
                    "last_ms": origin.seen_ms.map(|(_, last)| last),
                    "peak_mib": origin.observed.peak,
                    "requested": origin.requested,
                    "limited": origin.observed.limited,
                    "shares_device": origin.shares_device,
                    "instances_per_pod": origin.instances_per_pod,
                });
            }
            row
        })
        .collect();
    let mut text = json!({ "schema": "migplan.demand/v1", "workloads": workloads });
    if let Some(seen) = seen {
        let unused = seen.sizing.unused.iter();
        text["left_out"] =
            unused.map(|u| json!({"cause": u.cause, "count": u.count, "detail": u.text})).collect();
    }
    if let Some(quiet) = quiet {
        let window = |window: &Window| {
            json!({
                "when": window.when(),
                "weekday": window.weekday,
                "start_minute": window.start_minute,
                "minutes": window.minutes,
                "busy_mean": window.mean_tenths() as f64 / 10.0,
                "busy_most": window.busy_most,
                "days": window.days,
            })
        };
        text["quiet"] = json!({
            "utc_offset_minutes": quiet.offset_minutes,
            "daily": window(&quiet.daily),
            "weekly": quiet.weekly.as_ref().map(window),
            "busiest": window(&quiet.busiest),
        });
    }
    text
}
