//! `migplan status`: what this node has, who holds it, and what could still be made.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::inputs::{CatalogueArgs, NvmlArgs};
use super::output::{Console, write_result};
use crate::error::{Error, Result};
use crate::fleet::observed::{Instances, MigMode, ObservedGpu, ObservedInstance, Process};
use crate::hardware::layout::Placement;
use crate::hardware::{Board, ProfileName};
use crate::reconfigure::creatable::{self, Room};
use crate::text::plural;
use crate::units::Mebibytes;

/// Schema key of the JSON.
pub const STATUS_SCHEMA: &str = "migplan.status/v1";

/// Show this node's MIG mode, instances, who holds them, and what could still be made
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  migplan status
  migplan status --format json | jq '.gpus[].creatable'
  migplan status --format prometheus > /var/lib/node_exporter/migplan.prom

Without root the driver hides placements; what it shows is shown.")]
pub struct Args {
    /// For people or for programs
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
    #[command(flatten)]
    nvml: NvmlArgs,
    #[command(flatten)]
    catalogue: CatalogueArgs,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    /// A picture and a table of each GPU
    Text,
    /// Everything, with a schema key
    Json,
    /// Metrics for node_exporter's textfile collector
    Prometheus,
}

#[derive(Debug, Serialize)]
struct StatusJson {
    schema: &'static str,
    driver: Option<String>,
    gpus: Vec<GpuJson>,
}

#[derive(Debug, Serialize)]
struct GpuJson {
    gpu: u32,
    uuid: String,
    product: String,
    pci_address: Option<String>,
    board: Option<String>,
    memory_mib: u64,
    /// `null` where the GPU cannot do MIG.
    mig_current: Option<bool>,
    mig_pending: Option<bool>,
    instances: Vec<InstanceJson>,
    /// Why placements are `null`, where the driver hides them.
    #[serde(skip_serializing_if = "Option::is_none")]
    hidden: Option<String>,
    /// On the GPU, outside of any instance.
    processes: Vec<ProcessJson>,
    free_memory_slices: Option<u32>,
    /// The instance with the most memory that could be made now.
    largest_creatable: Option<String>,
    creatable: Vec<CreatableJson>,
    blocked: Vec<BlockedJson>,
}

#[derive(Debug, Serialize)]
struct InstanceJson {
    profile: Option<String>,
    start: Option<u32>,
    size: Option<u32>,
    memory_mib: Option<u64>,
    gi: u32,
    /// `null` where the GPU instance has no compute instance, so that nothing can use it.
    ci: Option<u32>,
    uuid: Option<String>,
    processes: Vec<ProcessJson>,
}

#[derive(Debug, Serialize)]
struct ProcessJson {
    pid: u32,
    name: Option<String>,
    used_mib: Option<u64>,
}

#[derive(Debug, Serialize)]
struct CreatableJson {
    profile: String,
    starts: Vec<u32>,
}

#[derive(Debug, Serialize)]
struct BlockedJson {
    profile: String,
    /// The fewest instances that would have to go.
    by: Vec<BlockerJson>,
    /// The same for every place that it could have.
    starts: Vec<BlockedStartJson>,
}

#[derive(Debug, Serialize)]
struct BlockedStartJson {
    start: u32,
    by: Vec<BlockerJson>,
}

#[derive(Debug, Serialize)]
struct BlockerJson {
    profile: String,
    start: u32,
    gi: u32,
    busy: bool,
}

pub(super) fn run(args: &Args, console: &Console) -> Result<()> {
    let node = args.nvml.observe(&args.catalogue.read()?, console)?;
    let text = match args.format {
        Format::Text => {
            let mut text = String::new();
            for (i, gpu) in node.gpus.iter().enumerate() {
                if i > 0 {
                    text.push('\n');
                }
                describe(gpu, &mut text);
            }
            if node.gpus.is_empty() {
                text.push_str("this node has no GPU\n");
            }
            text
        }
        Format::Json => {
            let status = StatusJson {
                schema: STATUS_SCHEMA,
                driver: node.driver.clone(),
                gpus: node.gpus.iter().map(gpu_json).collect(),
            };
            serde_json::to_string_pretty(&status).map_err(|e| Error::internal(e.to_string()))?
                + "\n"
        }
        Format::Prometheus => metrics(&node.gpus),
    };
    write_result(None, |out| out.write_all(text.as_bytes()))
}

/// The text exposition format: one family after the other, its samples in the order of the GPUs.
fn metrics(gpus: &[ObservedGpu]) -> String {
    let (mut enabled, mut pending, mut free) = (Vec::new(), Vec::new(), Vec::new());
    let (mut instances, mut busy) = (Vec::new(), Vec::new());
    for gpu in gpus {
        let board = gpu.board.as_ref().map_or("", |b| b.id.as_str());
        let of_gpu = format!(
            "gpu=\"{}\",uuid=\"{}\",board=\"{}\"",
            gpu.index,
            label_value(&gpu.uuid),
            label_value(board)
        );
        if let Some(mode) = gpu.mode {
            enabled.push((of_gpu.clone(), u64::from(mode.current)));
            pending.push((of_gpu.clone(), u64::from(mode.current != mode.pending)));
        }
        let Some((board, present, _)) = rooms(gpu) else { continue };
        free.push((of_gpu.clone(), creatable::free_slices(board, &present).len() as u64));
        let mut counts: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for instance in gpu.known_instances() {
            let name = board.profiles[instance.profile].name.to_string();
            let count = counts.entry(name).or_default();
            count.0 += 1;
            count.1 += u64::from(instance.is_busy());
        }
        for (profile, (all, of_them_busy)) in counts {
            let labels = format!("{of_gpu},profile=\"{}\"", label_value(&profile));
            instances.push((labels.clone(), all));
            busy.push((labels, of_them_busy));
        }
    }
    let mut text = String::new();
    for (name, help, samples) in [
        ("migplan_mig_enabled", "Whether MIG mode is on.", enabled),
        ("migplan_mig_mode_pending", "Whether a change of MIG mode waits for a reset.", pending),
        ("migplan_gpu_instances", "GPU instances by profile.", instances),
        ("migplan_gpu_instances_busy", "GPU instances in which a process runs.", busy),
        ("migplan_free_memory_slices", "Memory slices that no instance holds.", free),
    ] {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (labels, value) in samples {
            let _ = writeln!(text, "{name}{{{labels}}} {value}");
        }
    }
    text
}

/// A label value as the text format escapes it.
fn label_value(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// The board, the placements and the room of a GPU that is cut, and whose cut can be seen.
fn rooms(gpu: &ObservedGpu) -> Option<(&Board, Vec<Placement>, Vec<Room>)> {
    let board = gpu.board.as_deref()?;
    let Instances::Known(instances) = &gpu.instances else {
        return None;
    };
    if !gpu.mode?.current {
        return None;
    }
    let present: Vec<Placement> = instances.iter().map(ObservedInstance::placement).collect();
    let rooms = creatable::room(board, &present);
    Some((board, present, rooms))
}

/// The profile with the most memory slices, and then compute slices, that `may` be taken.
fn largest(board: &Board, may: impl Fn(usize) -> bool) -> Option<usize> {
    (0..board.profiles.len()).filter(|p| may(*p)).max_by_key(|&p| {
        let profile = &board.profiles[p];
        (profile.memory_slices, profile.compute_slices, std::cmp::Reverse(p))
    })
}

fn gpu_json(gpu: &ObservedGpu) -> GpuJson {
    let mut json = GpuJson {
        gpu: gpu.index,
        uuid: gpu.uuid.clone(),
        product: gpu.product.clone(),
        pci_address: gpu.pci_address.clone(),
        board: gpu.board.as_ref().map(|b| b.id.clone()),
        memory_mib: gpu.memory.0,
        mig_current: gpu.mode.map(|m| m.current),
        mig_pending: gpu.mode.map(|m| m.pending),
        instances: Vec::new(),
        hidden: None,
        processes: gpu.processes.iter().map(process_json).collect(),
        free_memory_slices: None,
        largest_creatable: None,
        creatable: Vec::new(),
        blocked: Vec::new(),
    };
    if let Instances::Hidden { why, devices } = &gpu.instances {
        json.hidden = Some(why.clone());
        json.instances = devices
            .iter()
            .map(|d| InstanceJson {
                profile: d.profile.as_ref().map(ToString::to_string),
                start: None,
                size: None,
                memory_mib: None,
                gi: d.gpu_instance,
                ci: Some(d.compute_instance),
                uuid: d.uuid.clone(),
                processes: Vec::new(),
            })
            .collect();
    }
    let Some((board, present, rooms)) = rooms(gpu) else {
        return json;
    };
    let instances = gpu.known_instances();
    json.instances = instances.iter().flat_map(|i| instance_json(board, i)).collect();
    let free = creatable::free_slices(board, &present).len();
    json.free_memory_slices = u32::try_from(free).ok();
    let name = |p: usize| board.profiles[p].name.to_string();
    json.largest_creatable = largest(board, |p| !rooms[p].starts.is_empty()).map(name);
    let blockers = |by: &[usize]| -> Vec<BlockerJson> {
        by.iter()
            .map(|&i| BlockerJson {
                profile: name(instances[i].profile),
                start: instances[i].start,
                gi: instances[i].id,
                busy: instances[i].is_busy(),
            })
            .collect()
    };
    for room in &rooms {
        let profile = name(room.profile);
        if room.starts.is_empty() {
            let starts = room
                .blocked
                .iter()
                .map(|(start, by)| BlockedStartJson { start: *start, by: blockers(by) })
                .collect();
            json.blocked.push(BlockedJson { profile, by: blockers(room.blockers()), starts });
        } else {
            json.creatable.push(CreatableJson { profile, starts: room.starts.clone() });
        }
    }
    json
}

/// One entry for each MIG device, and one for a GPU instance that has none.
fn instance_json(board: &Board, instance: &ObservedInstance) -> Vec<InstanceJson> {
    let profile = &board.profiles[instance.profile];
    let entry = |ci, name: &ProfileName, uuid, processes| InstanceJson {
        profile: Some(name.to_string()),
        start: Some(instance.start),
        size: Some(instance.size),
        memory_mib: Some(profile.memory.0),
        gi: instance.id,
        ci,
        uuid,
        processes,
    };
    if instance.compute.is_empty() {
        return vec![entry(None, &profile.name, None, Vec::new())];
    }
    instance
        .compute
        .iter()
        .map(|c| {
            let name = ProfileName { compute_instance_slices: c.slices, ..profile.name.clone() };
            let processes = c.processes.iter().map(process_json).collect();
            entry(Some(c.id), &name, c.uuid.clone(), processes)
        })
        .collect()
}

fn process_json(process: &Process) -> ProcessJson {
    ProcessJson {
        pid: process.pid,
        name: process.name.clone(),
        used_mib: process.used.map(|m| m.0),
    }
}

fn describe(gpu: &ObservedGpu, text: &mut String) {
    let mode = match gpu.mode {
        None => "cannot do MIG".to_string(),
        Some(MigMode { current, pending }) => {
            let word = |on| if on { "on" } else { "off" };
            let waits = if current == pending {
                String::new()
            } else {
                format!(", {} after a reset", word(pending))
            };
            format!("MIG {}{waits}", word(current))
        }
    };
    let board = gpu.board.as_ref().map_or(String::new(), |b| format!(" ({})", b.id));
    let memory = gpu.memory.human();
    let _ = writeln!(text, "GPU {}  {}{board}, {memory}: {mode}", gpu.index, gpu.product);
    if !gpu.processes.is_empty() {
        let names: Vec<String> = gpu.processes.iter().map(process_text).collect();
        let _ = writeln!(text, "  in use by {}", names.join(", "));
    }
    if let Instances::Hidden { why, devices } = &gpu.instances {
        let _ = writeln!(text, "  placements are hidden: {why}");
        for device in devices {
            let profile = device.profile.as_ref().map_or("?".to_string(), ToString::to_string);
            let uuid = device.uuid.as_deref().unwrap_or("");
            let _ = writeln!(
                text,
                "  {profile:<14} GI {} CI {} {uuid}",
                device.gpu_instance, device.compute_instance
            );
        }
    }
    let Some((board, present, rooms)) = rooms(gpu) else {
        return;
    };
    let instances = gpu.known_instances();
    picture(board, instances, text);
    table(board, instances, text);
    let free = creatable::free_slices(board, &present).len();
    if free == 0 {
        return;
    }
    let name = |p: usize| board.profiles[p].name.to_string();
    let now = largest(board, |p| !rooms[p].starts.is_empty());
    let together = largest(board, |p| board.profiles[p].memory_slices as usize <= free);
    let _ = write!(text, "  {free} of {} free", plural(board.memory_slices.into(), "memory slice"));
    let size = |p: Option<usize>| p.map_or(0, |p| board.profiles[p].memory_slices);
    let _ = match (now, together) {
        (Some(now), together) if size(together) <= size(Some(now)) => {
            writeln!(text, "; the largest instance that could be made is {}", name(now))
        }
        (now, Some(together)) => {
            let largest = now.map_or("nothing".to_string(), name);
            writeln!(
                text,
                "; the largest instance that could be made is {largest}, though slices for {} are free: they lie apart",
                name(together)
            )
        }
        (_, None) => writeln!(text),
    };
    for room in rooms.iter().filter(|r| !r.starts.is_empty()) {
        let starts: Vec<String> = room.starts.iter().map(ToString::to_string).collect();
        let _ =
            writeln!(text, "  can make     {:<12} at {}", name(room.profile), starts.join(", "));
    }
    for room in rooms.iter().filter(|r| r.starts.is_empty()) {
        let by: Vec<String> = room
            .blockers()
            .iter()
            .map(|&i| format!("{}@{}", name(instances[i].profile), instances[i].start))
            .collect();
        let _ = writeln!(
            text,
            "  cannot make  {:<12} blocked by {}",
            name(room.profile),
            by.join(", ")
        );
    }
}

fn process_text(process: &Process) -> String {
    match process.used {
        Some(used) if used > Mebibytes::ZERO => format!("{process} with {}", used.human()),
        _ => process.to_string(),
    }
}

/// The memory slices from left to right; a busy instance has a star.
fn picture(board: &Board, instances: &[ObservedInstance], text: &mut String) {
    let label = |i: &ObservedInstance| {
        let star = if i.is_busy() { "*" } else { "" };
        format!("{}{star}", board.profiles[i.profile].name)
    };
    // Every slice as wide as the longest name on the fewest slices needs.
    let widths = instances.iter().map(|i| label(i).len().div_ceil(i.size.max(1) as usize) + 1);
    let width = widths.max().unwrap_or(0).max(6);
    let mut slice = 0;
    let (mut rule, mut line) = (String::from("  "), String::from("  "));
    while slice < board.memory_slices {
        let here = instances.iter().find(|i| i.start == slice);
        let (size, name) = match here {
            Some(i) => (i.size.max(1), label(i)),
            None => (1, "-".to_string()),
        };
        let room = width * size as usize - 1;
        let _ = write!(rule, " {slice:<room$}");
        let _ = write!(line, "|{name:^room$}");
        slice += size;
    }
    let _ = writeln!(text, "{}", rule.trim_end());
    let _ = writeln!(text, "{line}|");
}

fn table(board: &Board, instances: &[ObservedInstance], text: &mut String) {
    if instances.is_empty() {
        text.push_str("  no instances\n");
        return;
    }
    for instance in instances {
        for entry in instance_json(board, instance) {
            let ci = entry.ci.map_or("-".to_string(), |ci| ci.to_string());
            let processes: Vec<String> = instance
                .compute
                .iter()
                .filter(|c| Some(c.id) == entry.ci)
                .flat_map(|c| &c.processes)
                .map(process_text)
                .collect();
            let state = match (entry.ci, processes.is_empty()) {
                (None, _) => "no compute instance: nothing can use it".to_string(),
                (_, true) => "idle".to_string(),
                (_, false) => processes.join(", "),
            };
            let memory = board.profiles[instance.profile].memory.human();
            let _ = writeln!(
                text,
                "  {:<14} at {:<2} {memory:>9}  GI {:<2} CI {ci:<2} {}  {state}",
                entry.profile.unwrap_or_default(),
                instance.start,
                instance.id,
                entry.uuid.unwrap_or_default(),
            );
        }
    }
}
