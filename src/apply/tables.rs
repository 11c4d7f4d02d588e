//! The tables of a GPU: the catalogue's, with everything that this driver says in its place.

use std::sync::Arc;

use super::driver::{Answer, Code, DriverProfile, Identity, MigDriver, Span};
use super::state::GpuState;
use crate::error::Diagnostic;
use crate::fleet::observed::ObservedGpu;
use crate::hardware::layout::most_disjoint;
use crate::hardware::{
    Architecture, Board, BoardRef, Catalogue, MediaEngines, Profile, ProfileName, Provenance,
};
use crate::units::Mebibytes;

/// Memory slices that a board may have: today's have 8 or 12.
pub(super) const MOST_SLICES: u32 = 32;

/// The board that the catalogue knows this GPU as: by product name, else by PCI id; memory
/// decides between several.
pub(super) fn catalogue_board(catalogue: &Catalogue, identity: &Identity) -> Option<BoardRef> {
    let memory = Mebibytes(identity.memory_mib);
    if let Ok(board) = catalogue.find(&identity.product, Some(memory)) {
        return Some(board.clone());
    }
    let id = format!("0x{:08X}", identity.pci_id?);
    catalogue
        .boards()
        .iter()
        .filter(|b| b.pci_ids.iter().any(|known| known.eq_ignore_ascii_case(&id)))
        .min_by_key(|b| b.memory.0.abs_diff(identity.memory_mib))
        .cloned()
}

/// The board with the driver's own tables, as far as it tells them; and the call that it did not
/// permit.
pub(super) fn effective_board(
    driver: &mut dyn MigDriver,
    gpu: u32,
    identity: &Identity,
    known: Option<BoardRef>,
    offered: &[DriverProfile],
    told: &mut Vec<Diagnostic>,
) -> Answer<(Option<BoardRef>, Option<String>)> {
    let mut forbidden = None;
    if offered.is_empty() {
        return Ok((known, forbidden));
    }
    let mut profiles: Vec<Profile> = Vec::new();
    let mut differences: Vec<String> = Vec::new();
    for profile in offered {
        let Some((name, table)) = name_of(profile, known.as_deref(), identity) else {
            continue;
        };
        let spans = match driver.placements(gpu, profile.id) {
            Ok(spans) => spans,
            Err(e) if e.code == Code::NO_PERMISSION => {
                forbidden.get_or_insert(e.to_string());
                Vec::new()
            }
            Err(e) if e.code.is_absence() => Vec::new(),
            Err(e) => return Err(e),
        };
        let Some((starts, size)) = starts_and_size(&spans, table) else { continue };
        compare(profile, &name, (&starts, size), table, &mut differences);
        // Placements are searched as bit masks; a table beyond them is not one of MIG's.
        if size == 0 || starts.iter().any(|s| s.saturating_add(size) > MOST_SLICES) {
            continue;
        }
        profiles.push(profile_of(profile, name, starts, size, table));
    }
    if profiles.is_empty() {
        return Ok((known, forbidden));
    }
    let mut board = known.as_deref().cloned().unwrap_or_else(|| {
        let memory = Mebibytes(identity.memory_mib);
        unknown_board(&identity.product, memory, identity.architecture, &profiles)
    });
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
            told.push(Diagnostic::new(format!(
                "{}: this driver differs from the catalogue, and is followed: {}",
                known.id,
                differences.join(", ")
            )));
        }
    } else {
        told.push(Diagnostic::new(format!(
            "{} is not in the catalogue; its profiles are taken from the driver",
            identity.product
        )));
    }
    board.profiles = profiles;
    board.memory = Mebibytes(identity.memory_mib);
    if let Some(id) = identity.pci_id {
        board.pci_ids = vec![format!("0x{id:08X}")];
    }
    Ok((Some(Arc::new(board)), forbidden))
}

/// Where a profile can start, ascending, and its memory slices: as the driver says, or else as the
/// catalogue does.
fn starts_and_size(spans: &[Span], table: Option<&Profile>) -> Option<(Vec<u32>, u32)> {
    let Some(Span { size, .. }) = spans.first() else {
        return table.map(|table| (table.starts.clone(), table.memory_slices));
    };
    let mut starts: Vec<u32> = spans.iter().map(|s| s.start).collect();
    starts.sort_unstable();
    starts.dedup();
    Some((starts, *size))
}

/// The name of an offered profile, where the driver tells one that can be read.
pub(super) fn told_name(profile: &DriverProfile) -> Option<ProfileName> {
    profile.name.as_ref().and_then(|name| name.trim_start_matches("MIG ").parse().ok())
}

/// The name of an offered profile, and the catalogue's table of it: the driver's own name, else the
/// catalogue's, else the one that mig-parted computes.
fn name_of<'b>(
    profile: &DriverProfile,
    known: Option<&'b Board>,
    identity: &Identity,
) -> Option<(ProfileName, Option<&'b Profile>)> {
    let of_index = known.and_then(|b| b.profiles.iter().find(|p| p.nvml_index == profile.index));
    let name = told_name(profile)
        .or_else(|| of_index.map(|p| p.name.clone()))
        .or_else(|| computed_name(profile, identity.memory_mib))?;
    let of_name = || known.and_then(|b| b.profiles.iter().find(|p| p.name == name));
    let table = of_index.or_else(of_name);
    Some((name, table))
}

/// Notes where an offered profile, with its starts and size in memory slices, is not as the
/// catalogue has it.
fn compare(
    profile: &DriverProfile,
    name: &ProfileName,
    (starts, size): (&Vec<u32>, u32),
    table: Option<&Profile>,
    differences: &mut Vec<String>,
) {
    let Some(table) = table else {
        differences.push(format!("{name} is new"));
        return;
    };
    if table.name != *name {
        differences.push(format!("{name} is {} in the catalogue", table.name));
    }
    if (&table.starts, table.memory_slices) != (starts, size) {
        differences.push(format!("{name} has other placements"));
    }
    let seen = table.memory_seen.contains(&Mebibytes(profile.memory_mib));
    if table.memory.0 != profile.memory_mib && !seen {
        differences.push(format!("{name} has {} MiB, not {}", profile.memory_mib, table.memory.0));
    }
}

fn profile_of(
    profile: &DriverProfile,
    name: ProfileName,
    starts: Vec<u32>,
    size: u32,
    table: Option<&Profile>,
) -> Profile {
    let told = told_by_driver();
    // Some drivers count the instances of an A30 wrongly; placements do not lie.
    let disjoint = most_disjoint(&starts, size);
    let most = match name.media_engines() {
        MediaEngines::One | MediaEngines::All => 1,
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

fn told_by_driver() -> Provenance {
    Provenance { source: "this driver".to_string(), confidence: "seen".to_string() }
}

/// The board of a GPU with the profiles that a saved state of it has. A driver that tells none with
/// MIG off has them once it is on; of one that tells, the profiles are all that there are.
pub(super) fn with_saved(gpu: &ObservedGpu, state: &GpuState) -> BoardRef {
    let empty = || Arc::new(unknown_board(&gpu.product, gpu.memory, gpu.architecture, &[]));
    let known = gpu.board.clone().unwrap_or_else(empty);
    if gpu.profiles_told {
        return known;
    }
    let mut board = Board::clone(&known);
    for instance in &state.instances {
        let Some(nvml_index) = instance.nvml_index else { continue };
        if board.profiles.iter().any(|profile| instance.is_of(profile)) {
            continue;
        }
        let told = told_by_driver();
        let name = instance.profile.clone();
        board.profiles.push(Profile {
            compute_slices: name.gpu_slices,
            name,
            profile_id: None,
            nvml_index,
            memory_slices: instance.size,
            starts: vec![instance.start],
            max_instances: 1,
            memory: Mebibytes(0),
            memory_seen: Vec::new(),
            sm_count: None,
            memory_provenance: told.clone(),
            placement_provenance: told,
        });
    }
    Arc::new(board)
}

/// A board that only the driver knows.
fn unknown_board(
    product: &str,
    memory: Mebibytes,
    architecture: Option<Architecture>,
    profiles: &[Profile],
) -> Board {
    let architecture = architecture.unwrap_or_else(|| Architecture::of_product(product));
    let ampere = architecture == Architecture::Ampere;
    let told = told_by_driver();
    let id = product.to_lowercase().replace(' ', "-");
    Board {
        id: id.trim_start_matches("nvidia-").to_string(),
        aliases: Vec::new(),
        products: vec![product.to_string()],
        gfd_products: Vec::new(),
        architecture,
        chip: String::new(),
        pci_ids: Vec::new(),
        memory,
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A driver that tells no names still yields those of the catalogue, as far as the total
    /// memory that the names are computed from is known.
    #[test]
    fn names_are_computed_as_mig_parted_does() {
        let mut others = Vec::new();
        let catalogue = Catalogue::built_in();
        let known = |b: &&BoardRef| b.memory_provenance.confidence != "estimate";
        for board in catalogue.boards().iter().filter(known) {
            for profile in &board.profiles {
                let told = DriverProfile {
                    index: profile.nvml_index,
                    id: 0,
                    name: None,
                    slices: profile.compute_slices,
                    max_instances: profile.max_instances,
                    memory_mib: profile.memory.0,
                    sm_count: 0,
                };
                let computed = computed_name(&told, board.memory.0).unwrap();
                if computed != profile.name {
                    others.push(format!("{} {} {computed}", board.id, profile.name));
                }
            }
        }
        assert_eq!(others, [] as [String; 0]);
    }
}
