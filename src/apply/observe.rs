//! Reading a node: from the driver's answers to an [`ObservedNode`].
//!
//! What the driver says of profiles, placements and memory wins over the catalogue; a difference
//! is a warning. Changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::driver::{
    Answer, Card, Code, DriverError, DriverMigDevice, DriverProfile, InstanceId, MigDriver, Span,
};
use crate::error::{Error, ExitCode, Problem, Result};
use crate::fleet::observed::{
    ComputeInstance, Instances, MigDevice, MigMode, ObservedGpu, ObservedInstance, ObservedNode,
    Process,
};
use crate::hardware::{Architecture, Board, BoardRef, Catalogue, Profile, ProfileName, Provenance};
use crate::units::Mebibytes;

use super::state::GpuState;

/// Memory slices that a board may have: today's have 8 or 12.
const MOST_SLICES: u32 = 32;

/// A node and what is odd about it.
pub type Observation = (ObservedNode, Vec<Problem>);

/// Reads every GPU of the node.
///
/// # Errors
/// The driver failed at something that cannot be done without (exit 6).
pub fn observe(driver: &mut dyn MigDriver, catalogue: &Catalogue) -> Result<Observation> {
    read(driver, catalogue).map_err(|e| {
        let error = Error::new(ExitCode::NoDriver, format!("the node cannot be read: {e}"));
        match e.code {
            Code::NO_PERMISSION => error.hint("run it as root"),
            _ => error.hint("`nvidia-smi` and the kernel log may say more; nothing was changed"),
        }
    })
}

/// As [`observe`], with the driver's own error.
pub(super) fn read(driver: &mut dyn MigDriver, catalogue: &Catalogue) -> Answer<Observation> {
    let mut node = ObservedNode { driver: driver.version(), gpus: Vec::new() };
    let mut warnings: Vec<Problem> = Vec::new();
    for index in 0..driver.gpu_count()? {
        let gpu = read_gpu(driver, catalogue, index, &mut warnings)?;
        node.gpus.push(gpu);
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
    warnings.dedup();
    Ok((node, warnings))
}

/// Reads the node again and refuses where a GPU is not as it was when `planned` was read: somebody
/// has changed it, or one of the readings was not true. Gives the new reading.
///
/// # Errors
/// It differs (exit 7), or cannot be read (exit 6); nothing has been changed.
pub fn agree(
    driver: &mut dyn MigDriver,
    catalogue: &Catalogue,
    planned: &ObservedNode,
) -> Result<ObservedNode> {
    let (now, _) = observe(driver, catalogue)?;
    let problems = planned.gpus.iter().filter_map(|gpu| {
        let other = now.gpus.iter().find(|g| g.uuid == gpu.uuid);
        match other {
            None => Some(format!("GPU {} is gone", gpu.index)),
            Some(other) if GpuState::of(gpu) != GpuState::of(other) => {
                Some(format!("GPU {} is not as it was a moment ago", gpu.index))
            }
            Some(_) => None,
        }
    });
    refuse(problems.collect())?;
    Ok(now)
}

/// Refuses where something has started since `planned` was read.
pub(super) fn still_idle(planned: &ObservedNode, now: &ObservedNode) -> Result<()> {
    let mut problems = Vec::new();
    for gpu in &planned.gpus {
        let Some(other) = now.gpus.iter().find(|g| g.uuid == gpu.uuid) else {
            continue;
        };
        let in_instance = other.known_instances().iter().any(|i| {
            let before = gpu.known_instances().iter().find(|b| b.id == i.id);
            i.is_busy() && before.is_none_or(|b| !b.is_busy())
        });
        if in_instance || (gpu.processes.is_empty() && !other.processes.is_empty()) {
            problems.push(format!("GPU {}: something has started on it", gpu.index));
        }
    }
    refuse(problems)
}

fn refuse(problems: Vec<String>) -> Result<()> {
    if problems.is_empty() {
        return Ok(());
    }
    Err(Error {
        code: ExitCode::Refused,
        problems: problems.into_iter().map(Problem::new).collect(),
        hint: Some("run it again to see the changes from here; nothing was changed".to_string()),
    })
}

fn read_gpu(
    driver: &mut dyn MigDriver,
    catalogue: &Catalogue,
    index: u32,
    warnings: &mut Vec<Problem>,
) -> Answer<ObservedGpu> {
    let card = driver.card(index)?;
    let mode = driver.mode(index)?;
    let memory = Mebibytes(card.memory_mib);
    let board;
    let mut forbidden = None;
    let mut instances = Instances::Known(Vec::new());
    let mut offered = Vec::new();
    let mut devices = Vec::new();
    let mut processes = Vec::new();
    let mut processes_known = true;
    let mut names: BTreeMap<u32, Option<String>> = BTreeMap::new();
    let known = catalogue_board(catalogue, &card);
    if let Some(mode) = mode {
        offered = driver.profiles(index)?;
        let (found, refused) = effective_board(driver, index, &card, known, &offered, warnings)?;
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
                let why = format!("{e}; only root may list instances");
                hidden(why, &devices)
            }
            Err(e) => return Err(e),
        };
    } else if board.is_none() && mode.is_some_and(|m| m.current) {
        let why =
            format!("neither the driver nor the catalogue tells the profiles of {}", card.product);
        instances = hidden(why, &devices);
    }
    Ok(ObservedGpu {
        index,
        uuid: card.uuid,
        product: card.product,
        pci_id: card.pci_id,
        subsystem_id: card.subsystem_id,
        pci_address: card.pci_address,
        board,
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
            let id = InstanceId { gpu, profile_id, id: instance.id };
            let mut compute: Vec<ComputeInstance> = driver
                .compute_instances(id)?
                .into_iter()
                .map(|c| ComputeInstance {
                    id: c.id,
                    slices: c.slices,
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
    let is_listed = |device: &DriverMigDevice| {
        instances
            .iter()
            .any(|i| i.id == device.instance && i.compute.iter().any(|c| c.id == device.compute))
    };
    if let Some(device) = devices.iter().find(|d| !is_listed(d)) {
        return Ok(Err(format!(
            "the driver names a MIG device of GPU instance {}, which it does not list",
            device.instance
        )));
    }
    // What is left over runs on the GPU itself.
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
    Ok(Ok(instances))
}

fn absent_is_empty<T>(answer: Answer<Vec<T>>) -> Answer<Vec<T>> {
    match answer {
        Err(e) if e.code.is_absence() || e.code == Code::NO_PERMISSION => Ok(Vec::new()),
        other => other,
    }
}

/// The program of a process: from the driver, else from the system.
fn process_name(driver: &mut dyn MigDriver, pid: u32) -> Option<String> {
    driver.process_name(pid).or_else(|| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        Some(name.trim().to_string()).filter(|n| !n.is_empty())
    })
}

/// The board that the catalogue knows this card as: by product name, else by PCI id; memory
/// decides between several.
fn catalogue_board(catalogue: &Catalogue, card: &Card) -> Option<BoardRef> {
    let memory = Mebibytes(card.memory_mib);
    if let Ok(board) = catalogue.find(&card.product, Some(memory)) {
        return Some(board.clone());
    }
    let id = format!("0x{:08X}", card.pci_id?);
    catalogue
        .boards()
        .iter()
        .filter(|b| b.pci_ids.iter().any(|known| known.eq_ignore_ascii_case(&id)))
        .min_by_key(|b| b.memory.0.abs_diff(card.memory_mib))
        .cloned()
}

/// The board with the driver's own tables, as far as it tells them; and the call that it did not
/// permit.
fn effective_board(
    driver: &mut dyn MigDriver,
    gpu: u32,
    card: &Card,
    known: Option<BoardRef>,
    offered: &[DriverProfile],
    warnings: &mut Vec<Problem>,
) -> Answer<(Option<BoardRef>, Option<String>)> {
    let mut forbidden = None;
    if offered.is_empty() {
        return Ok((known, forbidden));
    }
    let mut profiles: Vec<Profile> = Vec::new();
    let mut differences: Vec<String> = Vec::new();
    for profile in offered {
        let of_index =
            known.as_ref().and_then(|b| b.profiles.iter().find(|p| p.nvml_index == profile.index));
        let named = profile.name.as_ref().and_then(|n| n.trim_start_matches("MIG ").parse().ok());
        let Some(name) = named
            .or_else(|| of_index.map(|p| p.name.clone()))
            .or_else(|| computed_name(profile, card.memory_mib))
        else {
            continue;
        };
        let table = of_index
            .or_else(|| known.as_ref().and_then(|b| b.profiles.iter().find(|p| p.name == name)));
        let spans = match driver.placements(gpu, profile.id) {
            Ok(spans) => spans,
            Err(e) if e.code == Code::NO_PERMISSION => {
                forbidden.get_or_insert(e.to_string());
                Vec::new()
            }
            Err(e) if e.code.is_absence() => Vec::new(),
            Err(e) => return Err(e),
        };
        let (starts, size) = match (spans.first(), table) {
            (Some(Span { size, .. }), _) => {
                let mut starts: Vec<u32> = spans.iter().map(|s| s.start).collect();
                starts.sort_unstable();
                starts.dedup();
                (starts, *size)
            }
            (None, Some(table)) => (table.starts.clone(), table.memory_slices),
            (None, None) => continue,
        };
        match table {
            None => differences.push(format!("{name} is new")),
            Some(table) => {
                if table.name != name {
                    differences.push(format!("{name} is {} in the catalogue", table.name));
                }
                if (&table.starts, table.memory_slices) != (&starts, size) {
                    differences.push(format!("{name} has other placements"));
                }
                if table.memory.0 != profile.memory_mib
                    && !table.memory_seen.contains(&Mebibytes(profile.memory_mib))
                {
                    differences.push(format!(
                        "{name} has {} MiB, not {}",
                        profile.memory_mib, table.memory.0
                    ));
                }
            }
        }
        // Placements are searched as bit masks; a table beyond them is not one of MIG's.
        if size == 0 || starts.iter().any(|s| s.saturating_add(size) > MOST_SLICES) {
            continue;
        }
        profiles.push(profile_of(profile, name, starts, size, table));
    }
    if profiles.is_empty() {
        return Ok((known, forbidden));
    }
    let mut board = known.as_deref().cloned().unwrap_or_else(|| unknown_board(card, &profiles));
    if let Some(known) = &known {
        for profile in &known.profiles {
            if !profiles
                .iter()
                .any(|p| p.nvml_index == profile.nvml_index || p.name == profile.name)
            {
                differences.push(format!("{} is not offered", profile.name));
            }
        }
        // The order of the catalogue, so that the same layout gets the same text everywhere.
        profiles.sort_by_key(|p| {
            known.profiles.iter().position(|k| k.name == p.name).unwrap_or(usize::MAX)
        });
        if !differences.is_empty() {
            warnings.push(Problem::new(format!(
                "{}: this driver differs from the catalogue, and is followed: {}",
                known.id,
                differences.join(", ")
            )));
        }
    } else {
        warnings.push(Problem::new(format!(
            "{} is not in the catalogue; its profiles are taken from the driver",
            card.product
        )));
    }
    board.profiles = profiles;
    board.memory = Mebibytes(card.memory_mib);
    if let Some(id) = card.pci_id {
        board.pci_ids = vec![format!("0x{id:08X}")];
    }
    Ok((Some(Arc::new(board)), forbidden))
}

fn profile_of(
    profile: &DriverProfile,
    name: ProfileName,
    starts: Vec<u32>,
    size: u32,
    table: Option<&Profile>,
) -> Profile {
    let told = Provenance { source: "this driver".to_string(), confidence: "seen".to_string() };
    // Some drivers count the instances of an A30 wrongly; placements do not lie.
    let disjoint = crate::hardware::layout::most_disjoint(&starts, size);
    let most = match name.media_engines() {
        crate::hardware::MediaEngines::One | crate::hardware::MediaEngines::All => 1,
        _ => disjoint,
    };
    let max_instances = table.map_or(most, |t| t.max_instances.min(disjoint));
    Profile {
        compute_slices: if profile.slices > 0 { profile.slices } else { name.gpu_slices },
        name,
        profile_id: Some(profile.id),
        nvml_index: profile.index,
        memory_slices: size,
        starts,
        max_instances,
        memory: Mebibytes(profile.memory_mib),
        memory_seen: vec![Mebibytes(profile.memory_mib)],
        sm_count: Some(profile.sm_count).filter(|n| *n > 0),
        memory_provenance: told.clone(),
        placement_provenance: told,
    }
}

/// The name that mig-parted computes (go-nvlib `mig_profile.go`): eighths of the GPU's memory,
/// rounded, with the attribute that the list position means.
fn computed_name(profile: &DriverProfile, total_mib: u64) -> Option<ProfileName> {
    if total_mib == 0 {
        return None;
    }
    let eighths = (8 * profile.memory_mib).div_ceil(total_mib);
    let total_gib = total_mib.div_ceil(1024);
    let gigabytes = u32::try_from((eighths * total_gib + 4) / 8).ok()?;
    let (plus, minus): (&[&str], &[&str]) = match profile.index {
        7 | 8 => (&["me"], &[]),
        10..=12 => (&["gfx"], &[]),
        13 | 14 => (&[], &["me"]),
        15 | 16 => (&["me.all"], &[]),
        _ => (&[], &[]),
    };
    let own = |list: &[&str]| list.iter().map(ToString::to_string).collect();
    Some(ProfileName {
        gpu_slices: profile.slices,
        gigabytes,
        compute_instance_slices: profile.slices,
        plus: own(plus),
        minus: own(minus),
    })
}

/// A board that only the driver knows.
fn unknown_board(card: &Card, profiles: &[Profile]) -> Board {
    let ampere = ["A100", "A30", "A800"].iter().any(|name| card.product.contains(name));
    let told = Provenance { source: "this driver".to_string(), confidence: "seen".to_string() };
    let id = card.product.to_lowercase().replace(' ', "-");
    Board {
        id: id.trim_start_matches("nvidia-").to_string(),
        aliases: Vec::new(),
        products: vec![card.product.clone()],
        gfd_products: Vec::new(),
        architecture: if ampere { Architecture::Ampere } else { Architecture::Blackwell },
        chip: String::new(),
        pci_ids: Vec::new(),
        memory: Mebibytes(card.memory_mib),
        memory_provenance: told,
        compute_slices: profiles.iter().map(|p| p.compute_slices).max().unwrap_or(0),
        memory_slices: profiles
            .iter()
            .filter_map(|p| p.starts.last().map(|s| s + p.memory_slices))
            .max()
            .unwrap_or(0),
        mode_change_needs_reset: ampere,
        mode_survives_reboot: ampere,
        min_driver: None,
        confidence: "seen".to_string(),
        notes: Vec::new(),
        profiles: Vec::new(),
    }
}

impl From<DriverError> for Problem {
    fn from(error: DriverError) -> Problem {
        Problem::new(error.to_string())
    }
}
