//! The present state of a node as `status --format json` prints it, schema `migplan.status/v1`.

use serde::Serialize;

use crate::apply::history::{Damaged, History};
use crate::apply::journal::Purpose;
use crate::fleet::observed::{
    Instances, ObservedGpu, ObservedInstance, ObservedNode, Process, UnreadableGpu,
};
use crate::hardware::{Board, ProfileName};
use crate::reconfigure::creatable::{self, Creatable};

/// Schema key of the JSON.
pub const STATUS_SCHEMA: &str = "migplan.status/v1";

/// A node.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StatusJson {
    schema: &'static str,
    driver: Option<String>,
    gpus: Vec<GpuJson>,
    /// GPUs that the driver lists, but does not tell of.
    unreadable: Vec<UnreadableJson>,
    /// Runs that were interrupted or could not be undone; `null` where this user may not read the
    /// saved states, and while another migplan is at work.
    interrupted: Option<Vec<InterruptedJson>>,
    /// Saved runs whose file cannot be read, so that any of them may be interrupted; `null` as above.
    unreadable_runs: Option<Vec<UnreadableRunJson>>,
    /// Whether another migplan is changing this node right now; `null` where this user may not read
    /// the saved states.
    in_progress: Option<bool>,
}

#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct UnreadableJson {
    gpu: u32,
    uuid: Option<String>,
    why: String,
}

#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct InterruptedJson {
    run: u64,
    purpose: Purpose,
    source: String,
    /// Seconds since 1970.
    started: u64,
    /// The GPUs that are neither at their state before nor at the wanted one.
    half_way: Vec<u32>,
    /// Systemd units that it stopped and that have not been started since.
    units: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct UnreadableRunJson {
    run: u64,
    why: String,
}

#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
    /// The instance with the most memory that could be created now.
    largest_creatable: Option<String>,
    creatable: Vec<CreatableJson>,
    blocked: Vec<BlockedJson>,
}

/// One MIG device, or a GPU instance without any.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(in crate::view) struct InstanceJson {
    pub(in crate::view) profile: Option<String>,
    start: Option<u32>,
    size: Option<u32>,
    memory_mib: Option<u64>,
    gi: u32,
    /// `null` where the GPU instance has no compute instance, so that nothing can use it.
    pub(in crate::view) ci: Option<u32>,
    pub(in crate::view) uuid: Option<String>,
    processes: Vec<ProcessJson>,
}

#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(in crate::view) struct ProcessJson {
    pid: u32,
    name: Option<String>,
    used_mib: Option<u64>,
}

#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct CreatableJson {
    profile: String,
    starts: Vec<u32>,
}

#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct BlockedJson {
    profile: String,
    /// The fewest instances that would have to go.
    by: Vec<BlockerJson>,
    /// The same for every place that it could have.
    starts: Vec<BlockedStartJson>,
}

#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct BlockedStartJson {
    start: u32,
    by: Vec<BlockerJson>,
}

#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct BlockerJson {
    profile: String,
    start: u32,
    gi: u32,
    busy: bool,
}

impl StatusJson {
    /// The state of a node. `saved`: what is saved in its state folder, where that may be read, and
    /// whether another migplan is at work there, so that it says nothing yet.
    pub fn new(node: &ObservedNode, saved: Option<&(History, bool)>) -> StatusJson {
        let unreadable = |gpu: &UnreadableGpu| UnreadableJson {
            gpu: gpu.index,
            uuid: gpu.uuid.clone(),
            why: gpu.why.clone(),
        };
        let at_rest = saved.filter(|(_, at_work)| !at_work).map(|(history, _)| history);
        let unreadable_run =
            |run: &Damaged| UnreadableRunJson { run: run.id, why: run.problem.to_string() };
        StatusJson {
            schema: STATUS_SCHEMA,
            driver: node.driver.clone(),
            gpus: node.gpus.iter().map(gpu_json).collect(),
            unreadable: node.unreadable.iter().map(unreadable).collect(),
            interrupted: at_rest.map(|history| interrupted(history, node)),
            unreadable_runs: at_rest
                .map(|history| history.damaged.iter().map(unreadable_run).collect()),
            in_progress: saved.map(|(_, at_work)| *at_work),
        }
    }
}

fn interrupted(history: &History, node: &ObservedNode) -> Vec<InterruptedJson> {
    let runs = history.runs.iter();
    runs.filter(|run| run.is_unfinished(node) || !run.units.is_empty())
        .map(|run| InterruptedJson {
            run: run.id,
            purpose: run.header.purpose,
            source: run.header.source.clone(),
            started: run.header.started,
            half_way: run.half_way(node),
            units: run.units.clone(),
        })
        .collect()
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
    let Some((board, creatable, free)) = creatable::of_gpu(gpu) else {
        return json;
    };
    let instances = gpu.known_instances();
    json.instances = instances.iter().flat_map(|i| instance_json(board, i)).collect();
    json.free_memory_slices = u32::try_from(free).ok();
    json.largest_creatable =
        creatable::largest(board, |p| !creatable[p].starts.is_empty()).map(|p| name_of(board, p));
    for entry in &creatable {
        if entry.starts.is_empty() {
            json.blocked.push(blocked_json(board, instances, entry));
        } else {
            let profile = name_of(board, entry.profile);
            json.creatable.push(CreatableJson { profile, starts: entry.starts.clone() });
        }
    }
    json
}

fn name_of(board: &Board, profile: usize) -> String {
    board.profiles[profile].name.to_string()
}

fn blocked_json(board: &Board, instances: &[ObservedInstance], entry: &Creatable) -> BlockedJson {
    let blockers = |by: &[usize]| -> Vec<BlockerJson> {
        by.iter()
            .map(|&i| BlockerJson {
                profile: name_of(board, instances[i].profile),
                start: instances[i].start,
                gi: instances[i].id,
                busy: instances[i].is_busy(),
            })
            .collect()
    };
    let starts = entry.blocked.iter();
    BlockedJson {
        profile: name_of(board, entry.profile),
        by: blockers(entry.blockers()),
        starts: starts
            .map(|(start, by)| BlockedStartJson { start: *start, by: blockers(by) })
            .collect(),
    }
}

/// One entry for each MIG device, and one for a GPU instance that has none.
pub(in crate::view) fn instance_json(
    board: &Board,
    instance: &ObservedInstance,
) -> Vec<InstanceJson> {
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
