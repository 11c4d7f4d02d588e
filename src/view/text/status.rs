//! The present state of a node for people: a picture and a table of each GPU, and what could still
//! be created.

use std::fmt::Write as _;

use crate::apply::History;
use crate::fleet::observed::{
    Instances, MigMode, ObservedGpu, ObservedInstance, ObservedNode, Process,
};
use crate::hardware::Board;
use crate::hardware::layout::Placement;
use crate::reconfigure::creatable::{self, Creatable, Reason};
use crate::text::plural;
use crate::units::Mebibytes;
use crate::view::json::status::instance_json;

/// The whole node. `saved`: what is saved in its state folder, where that may be read.
pub fn text(node: &ObservedNode, saved: Option<&History>) -> String {
    let mut text = String::new();
    for run in saved.iter().flat_map(|history| &history.runs) {
        if run.is_unfinished(node) {
            let _ = writeln!(text, "interrupted: {}\n", run.interrupted(node));
        }
        if !run.units.is_empty() {
            let units = run.units.join(", ");
            let _ = writeln!(text, "stopped by run {} and not started since: {units}\n", run.id);
        }
    }
    for (i, gpu) in node.gpus.iter().enumerate() {
        if i > 0 {
            text.push('\n');
        }
        describe(gpu, &mut text);
    }
    for gpu in &node.unreadable {
        let uuid = gpu.uuid.as_ref().map_or(String::new(), |uuid| format!(" ({uuid})"));
        let _ = writeln!(text, "\nGPU {}{uuid}: cannot be read: {}", gpu.index, gpu.why);
    }
    if node.gpus.is_empty() && node.unreadable.is_empty() {
        text.push_str("this node has no GPU\n");
    }
    text
}

fn describe(gpu: &ObservedGpu, text: &mut String) {
    let mode = match gpu.mode {
        None => "cannot do MIG".to_string(),
        Some(MigMode { current, pending }) => {
            let word = |on| if on { "on" } else { "off" };
            let needs_reset = gpu.board.as_ref().is_none_or(|b| b.mode_change_needs_reset);
            let waits = match (current == pending, needs_reset) {
                (true, _) => String::new(),
                (false, true) => format!(", {} after a reset", word(pending)),
                // A client held the GPU. Its end alone changes nothing.
                (false, false) => {
                    format!(", {} pending: set it again once nothing holds the GPU", word(pending))
                }
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
    let Some((board, creatable, free)) = creatable::of_gpu(gpu) else {
        return;
    };
    let instances = gpu.known_instances();
    picture(board, instances, text);
    table(board, instances, text);
    if free > 0 {
        describe_free(board, instances, &creatable, free, text);
    }
}

/// What could be created on the free slices, and what blocks the rest.
fn describe_free(
    board: &Board,
    instances: &[ObservedInstance],
    creatable: &[Creatable],
    free: usize,
    text: &mut String,
) {
    let name = |p: usize| board.profiles[p].name.to_string();
    let now = creatable::largest(board, |p| !creatable[p].starts.is_empty());
    let together = creatable::largest(board, |p| board.profiles[p].memory_slices as usize <= free);
    let _ = write!(text, "  {free} of {} free", plural(board.memory_slices.into(), "memory slice"));
    let size = |p: Option<usize>| p.map_or(0, |p| board.profiles[p].memory_slices);
    let _ = match (now, together) {
        (Some(now), together) if size(together) <= size(Some(now)) => {
            writeln!(text, "; the largest instance that could be created is {}", name(now))
        }
        (now, Some(together)) => {
            let could = match now {
                Some(now) => format!("the largest instance that could be created is {}", name(now)),
                None => "no instance could be created".to_string(),
            };
            let present: Vec<Placement> =
                instances.iter().map(ObservedInstance::placement).collect();
            let why = why_not(board, &present, together);
            writeln!(text, "; {could}: {why}")
        }
        (_, None) => writeln!(text),
    };
    for entry in creatable.iter().filter(|entry| !entry.starts.is_empty()) {
        let starts: Vec<String> = entry.starts.iter().map(ToString::to_string).collect();
        let profile = name(entry.profile);
        let _ = writeln!(text, "  can create     {profile:<12} at {}", starts.join(", "));
    }
    for entry in creatable.iter().filter(|entry| entry.starts.is_empty()) {
        let by: Vec<String> = entry
            .blockers()
            .iter()
            .map(|&i| format!("{}@{}", name(instances[i].profile), instances[i].start))
            .collect();
        let profile = name(entry.profile);
        let _ = writeln!(text, "  cannot create  {profile:<12} blocked by {}", by.join(", "));
    }
}

/// Why the largest profile that as many free slices could hold cannot be created.
fn why_not(board: &Board, present: &[Placement], profile: usize) -> String {
    let name = &board.profiles[profile].name;
    match creatable::why_not(board, present, profile) {
        Reason::Scattered => format!("there are slices for {name}, but not in one piece"),
        Reason::Engines => {
            format!("there are slices for {name}, but another instance has the media engines")
        }
        Reason::Misplaced(pieces) => {
            let piece = |(first, last)| {
                if first == last {
                    format!("slice {first}")
                } else {
                    format!("slices {first}-{last}")
                }
            };
            let pieces: Vec<String> = pieces.into_iter().map(piece).collect();
            format!("no placement of {name} lies within {}", pieces.join(" or "))
        }
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
