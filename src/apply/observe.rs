//! Reading a node: from the driver's answers to an [`ObservedNode`].
//!
//! What the driver says of profiles, placements and memory wins over the catalogue; a difference
//! is a warning. Changes nothing.

use std::collections::BTreeMap;

use super::driver::{Answer, Code, DriverMigDevice, InstanceId, MigDriver};
use super::guard::{GpuChange, NodeChange};
use super::tables::{MOST_SLICES, catalogue_board, effective_board};
use crate::error::{Diagnostic, Error, ExitCode, Result};
use crate::fleet::observed::{
    ComputeInstance, Instances, MigDevice, MigMode, ObservedGpu, ObservedInstance, ObservedNode,
    Process, UnreadableGpu,
};
use crate::hardware::{Board, BoardRef, Catalogue};
use crate::units::Mebibytes;

use super::state::GpuState;

/// A node as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// Its GPUs.
    pub node: ObservedNode,
    /// GPUs that cannot be read.
    pub warnings: Vec<Diagnostic>,
    /// Where the driver differs from the catalogue, and is followed: the same on every reading.
    pub differences: Vec<Diagnostic>,
}

/// Reads every GPU of the node, each by itself.
///
/// # Errors
/// The driver does not tell how many GPUs there are, or none of them can be read (exit 6).
pub fn observe(driver: &mut dyn MigDriver, catalogue: &Catalogue) -> Result<Observation> {
    let (node, differences) = read(driver, catalogue).map_err(|e| {
        no_driver(vec![format!("the node cannot be read: {e}")], e.code == Code::NO_PERMISSION)
    })?;
    let told = node.unreadable.iter().map(UnreadableGpu::to_string);
    if node.gpus.is_empty() && !node.unreadable.is_empty() {
        let forbidden = node.unreadable.iter().all(|gpu| gpu.forbidden);
        return Err(no_driver(told.collect(), forbidden));
    }
    let warnings = told.map(Diagnostic::new).collect();
    Ok(Observation { node, warnings, differences })
}

fn no_driver(problems: Vec<String>, forbidden: bool) -> Error {
    Error {
        code: ExitCode::NoDriver,
        problems: problems.into_iter().map(Diagnostic::new).collect(),
        hint: Some(if forbidden {
            "run it as root".to_string()
        } else {
            "`nvidia-smi` and the kernel log may say more; nothing was changed".to_string()
        }),
    }
}

/// As [`observe`], with the driver's own error, and without a judgement of GPUs that cannot be
/// read; and where the driver differs from the catalogue.
pub(super) fn read(
    driver: &mut dyn MigDriver,
    catalogue: &Catalogue,
) -> Answer<(ObservedNode, Vec<Diagnostic>)> {
    let mut node = ObservedNode { driver: driver.version(), ..ObservedNode::default() };
    let mut differences: Vec<Diagnostic> = Vec::new();
    for index in 0..driver.gpu_count()? {
        match read_gpu(driver, catalogue, index, &mut differences) {
            Ok(gpu) => node.gpus.push(gpu),
            Err(e) => node.unreadable.push(UnreadableGpu {
                index,
                uuid: driver.identity(index).ok().map(|identity| identity.uuid),
                forbidden: e.code == Code::NO_PERMISSION,
                why: e.to_string(),
            }),
        }
    }
    // GPUs of one kind share one table, and are known as equal by it.
    let mut boards: Vec<BoardRef> = Vec::new();
    for gpu in &mut node.gpus {
        if let Some(board) = &gpu.board {
            match boards.iter().find(|b| *b == board) {
                Some(known) => gpu.board = Some(known.clone()),
                None => boards.push(board.clone()),
            }
        }
    }
    differences.dedup();
    Ok((node, differences))
}

/// Reads the node again and refuses where one of these GPUs is not as it was when `planned` was
/// read: somebody has changed it, or one of the readings was not true. Gives the new reading.
///
/// # Errors
/// It differs (exit 7), or cannot be read (exit 6); nothing has been changed.
pub fn agree(
    driver: &mut dyn MigDriver,
    catalogue: &Catalogue,
    planned: &ObservedNode,
    concerned: impl Fn(&ObservedGpu) -> bool,
) -> Result<ObservedNode> {
    let now = observe(driver, catalogue)?.node;
    let problems = planned.gpus.iter().filter(|gpu| concerned(gpu)).filter_map(|gpu| {
        let other = now.gpus.iter().find(|g| g.uuid == gpu.uuid);
        match other {
            None => Some(match now.unreadable.iter().find(|u| u.index == gpu.index) {
                Some(unreadable) => unreadable.to_string(),
                None => format!("GPU {} is gone", gpu.index),
            }),
            Some(other) if GpuState::of(gpu) != GpuState::of(other) => {
                Some(format!("GPU {} is not as it was a moment ago", gpu.index))
            }
            Some(_) => None,
        }
    });
    refuse(problems.collect())?;
    Ok(now)
}

/// Refuses where a change cannot be made to its GPUs as they are now.
///
/// # Errors
/// One is not as it was when the change was planned, or something runs in what must go (exit 7).
pub(super) fn still_as_planned(change: &NodeChange, now: &ObservedNode) -> Result<()> {
    let against = change.gpus.iter().filter_map(|change| {
        let gpu = now.gpus.iter().find(|gpu| gpu.uuid == change.from.uuid);
        gpu.and_then(|gpu| change.against(gpu))
    });
    refuse(against.collect())
}

/// Reads the GPU of a change again: others may have changed it since it was read, while a unit was
/// stopped or another GPU was changed. One reading that differs is repeated: it may not be true.
///
/// # Errors
/// Why the change cannot be made to it as it is now; a sentence.
pub(super) fn check_again(
    driver: &mut dyn MigDriver,
    catalogue: &Catalogue,
    change: &GpuChange,
) -> std::result::Result<(), String> {
    let mut why = Ok(());
    for _ in 0..2 {
        // One that cannot be read is left to the first step, which fails and tells of it.
        if let Ok(now) = read_gpu(driver, catalogue, change.gpu, &mut Vec::new()) {
            match change.against(&now) {
                None => return Ok(()),
                Some(reason) => why = Err(reason),
            }
        }
    }
    why
}

/// What is left to make of a change after resets, by a new reading of its GPU. One reading that shows
/// something else is repeated, as in [`check_again`].
///
/// # Errors
/// Why nothing can be made of it on the GPU as it is now; a sentence.
pub(super) fn after_resets(
    driver: &mut dyn MigDriver,
    catalogue: &Catalogue,
    change: &GpuChange,
) -> std::result::Result<GpuChange, String> {
    let mut why = String::new();
    for _ in 0..2 {
        why = match read_gpu(driver, catalogue, change.gpu, &mut Vec::new()) {
            Err(e) => format!("GPU {} cannot be read: {e}", change.gpu),
            Ok(now) => {
                let left = change.after_resets(&now);
                let Some(reason) = left.against(&now) else { return Ok(left) };
                reason
            }
        };
    }
    Err(why)
}

fn refuse(problems: Vec<String>) -> Result<()> {
    if problems.is_empty() {
        return Ok(());
    }
    Err(Error {
        code: ExitCode::Refused,
        problems: problems.into_iter().map(Diagnostic::new).collect(),
        hint: Some("run it again to see the changes from here; nothing was changed".to_string()),
    })
}

fn read_gpu(
    driver: &mut dyn MigDriver,
    catalogue: &Catalogue,
    index: u32,
    differences: &mut Vec<Diagnostic>,
) -> Answer<ObservedGpu> {
    let identity = driver.identity(index)?;
    let mode = driver.mode(index)?;
    let memory = Mebibytes(identity.memory_mib);
    let board;
    let mut forbidden = None;
    let mut instances = Instances::Known(Vec::new());
    let mut offered = Vec::new();
    let mut devices = Vec::new();
    let mut processes = Vec::new();
    let mut processes_known = true;
    let mut names: BTreeMap<u32, Option<String>> = BTreeMap::new();
    let known = catalogue_board(catalogue, &identity);
    if let Some(mode) = mode {
        offered = driver.profiles(index)?;
        let (found, refused) =
            effective_board(driver, index, &identity, known, &offered, differences)?;
        (board, forbidden) = (found, refused);
        if mode.current {
            devices = absent_is_empty(driver.mig_devices(index))?;
        }
    } else {
        board = known;
    }
    match driver.processes(index, &devices) {
        Ok(found) => {
            for process in found {
                let name =
                    names.entry(process.pid).or_insert_with(|| process_name(driver, process.pid));
                let used = process.used_mib.map(Mebibytes);
                let process_here = Process { pid: process.pid, name: name.clone(), used };
                processes.push((process.place, process_here));
            }
        }
        Err(e) if e.code.is_absence() || e.code == Code::NO_PERMISSION => processes_known = false,
        Err(e) => return Err(e),
    }
    if let (Some(board), Some(MigMode { current: true, .. })) = (&board, mode) {
        let listed = !offered.is_empty();
        instances = match read_instances(driver, index, board, listed, &devices, &mut processes) {
            Ok(Ok(instances)) => Instances::Known(instances),
            Ok(Err(why)) => hidden(why, &devices),
            Err(e) if e.code == Code::NO_PERMISSION => {
                forbidden.get_or_insert(e.to_string());
                let why = format!("{e}; only root may list instances");
                hidden(why, &devices)
            }
            Err(e) => return Err(e),
        };
    } else if board.is_none() && mode.is_some_and(|m| m.current) {
        let why = match &forbidden {
            Some(call) => format!("{call}; only root may list placements"),
            None => format!(
                "neither the driver nor the catalogue tells the profiles of {}",
                identity.product
            ),
        };
        instances = hidden(why, &devices);
    }
    Ok(ObservedGpu {
        index,
        uuid: identity.uuid,
        product: identity.product,
        pci_id: identity.pci_id,
        subsystem_id: identity.subsystem_id,
        pci_address: identity.pci_address,
        board,
        profiles_told: !offered.is_empty(),
        architecture: identity.architecture,
        memory,
        mode,
        instances,
        processes: processes.into_iter().map(|(_, process)| process).collect(),
        processes_known,
        forbidden,
    })
}

fn hidden(why: String, devices: &[DriverMigDevice]) -> Instances {
    let devices = devices
        .iter()
        .map(|device| MigDevice {
            profile: device
                .name
                .as_ref()
                .and_then(|name| name.rsplit_once("MIG "))
                .and_then(|(_, profile)| profile.trim().parse().ok()),
            gpu_instance: device.instance,
            compute_instance: device.compute,
            uuid: device.uuid.clone(),
        })
        .collect();
    Instances::Hidden { why, devices }
}

/// The instances of a GPU whose MIG mode is on. The inner error says why they cannot be
/// understood. Takes the processes that run in them out of the list. `listed`: whether the driver
/// itself offered the board's profiles, and so must be able to list their instances.
fn read_instances(
    driver: &mut dyn MigDriver,
    gpu: u32,
    board: &Board,
    listed: bool,
    devices: &[DriverMigDevice],
    processes: &mut Vec<(Option<(u32, u32)>, Process)>,
) -> Answer<std::result::Result<Vec<ObservedInstance>, String>> {
    let mut instances: Vec<ObservedInstance> = Vec::new();
    for (profile, info) in board.profiles.iter().enumerate() {
        let Some(profile_id) = info.profile_id else {
            continue;
        };
        let found = match driver.instances(gpu, profile_id) {
            Err(e) if !listed && matches!(e.code, Code::NOT_SUPPORTED | Code::INVALID_ARGUMENT) => {
                continue;
            }
            other => other?,
        };
        for instance in found {
            let id = InstanceId { gpu, profile_id, id: instance.id, start: instance.span.start };
            let mut compute: Vec<ComputeInstance> = driver
                .compute_instances(id)?
                .into_iter()
                .map(|c| ComputeInstance {
                    id: c.id,
                    slices: c.slices,
                    start: c.start,
                    uuid: devices
                        .iter()
                        .find(|d| d.instance == instance.id && d.compute == c.id)
                        .and_then(|d| d.uuid.clone()),
                    processes: Vec::new(),
                })
                .collect();
            compute.sort_by_key(|c| c.id);
            if instance.span.size != info.memory_slices {
                return Ok(Err(format!(
                    "{} at memory slice {} covers {} slices, where the tables say {}",
                    info.name, instance.span.start, instance.span.size, info.memory_slices
                )));
            }
            if instance.span.start.saturating_add(instance.span.size) > MOST_SLICES {
                return Ok(Err(format!(
                    "{} is said to start at memory slice {}, which no board has",
                    info.name, instance.span.start
                )));
            }
            instances.push(ObservedInstance {
                profile,
                profile_id,
                start: instance.span.start,
                size: instance.span.size,
                id: instance.id,
                compute,
            });
        }
    }
    instances.sort_by_key(|i| (i.start, i.id));
    // Two lists of one thing: what only one of them knows has been left out by the other, and
    // nothing may be planned on half of the truth.
    let too_many = |device: &&DriverMigDevice| {
        let of_instance = devices.iter().filter(|d| d.instance == device.instance).count();
        let listed = instances.iter().find(|i| i.id == device.instance);
        listed.is_none_or(|i| i.compute.len() < of_instance)
    };
    if let Some(device) = devices.iter().find(too_many) {
        return Ok(Err(format!(
            "the driver has more MIG devices in GPU instance {} than it lists",
            device.instance
        )));
    }
    assign_processes(&mut instances, processes);
    Ok(Ok(instances))
}

/// Moves processes into the compute instances that they run in; what is left over runs on the GPU
/// itself.
fn assign_processes(
    instances: &mut [ObservedInstance],
    processes: &mut Vec<(Option<(u32, u32)>, Process)>,
) {
    processes.retain(|(place, process)| {
        let Some((instance, compute)) = *place else {
            return true;
        };
        let Some(instance) = instances.iter_mut().find(|i| i.id == instance) else {
            return true;
        };
        let at = instance.compute.iter().position(|c| c.id == compute).unwrap_or(0);
        let Some(compute) = instance.compute.get_mut(at) else {
            return true;
        };
        compute.processes.push(process.clone());
        false
    });
}

fn absent_is_empty<T>(answer: Answer<Vec<T>>) -> Answer<Vec<T>> {
    match answer {
        Err(e) if e.code.is_absence() || e.code == Code::NO_PERMISSION => Ok(Vec::new()),
        other => other,
    }
}

/// The program of a process: from the driver, else from the system.
pub(super) fn process_name(driver: &mut dyn MigDriver, pid: u32) -> Option<String> {
    driver.process_name(pid).or_else(|| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        Some(name.trim().to_string()).filter(|n| !n.is_empty())
    })
}
