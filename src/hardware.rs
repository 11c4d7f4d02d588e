//! Boards, profiles and placements: what the silicon allows, as plain data.
//!
//! A *board* is a kind of GPU. Its *profiles* say which instances it can have, each with
//! the slices it takes, the starts it may have and the memory that is really usable. Every number
//! comes from `data/gpus/`, where it has its source and how sure it is. This module
//! knows nothing of demand, fleets or plans, and never asks a driver.

pub(crate) mod board_file;
pub mod catalogue;
pub mod compute;
pub mod layout;
mod profile_name;

use std::sync::Arc;

pub use catalogue::Catalogue;
pub use profile_name::{MediaEngines, ProfileName, ProfileNameError};

use crate::units::Mebibytes;

/// The generation of a board, which decides how its MIG mode changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Architecture {
    /// A30, A100: a mode change is pending until the GPU is reset, and survives a reboot.
    Ampere,
    /// H100, H200, GH200, H20: a mode change acts at once and is gone after a reboot.
    Hopper,
    /// B200, GB200, B300, RTX PRO: as Hopper.
    Blackwell,
}

impl Architecture {
    /// That of a product, by its name alone; a new one where that says nothing.
    pub fn of_product(name: &str) -> Architecture {
        match ["A100", "A30", "A800"].iter().any(|ampere| name.contains(ampere)) {
            true => Architecture::Ampere,
            false => Architecture::Blackwell,
        }
    }
}

/// Where a number comes from and how sure it is, as the data file states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// The source in words, with its address where it has one.
    pub source: String,
    /// `seen` in real tool output, `documented` by NVIDIA, `analogy` with a sibling, `estimate`.
    pub confidence: String,
}

/// One profile of a board: an instance that the board can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// The canonical name, as mig-parted spells it.
    pub name: ProfileName,
    /// The id that NVML creates it by; `None` where it is not published.
    pub profile_id: Option<u32>,
    /// Its `NVML_GPU_INSTANCE_PROFILE_*` number, which asks NVML for its description.
    pub nvml_index: u32,
    /// Compute slices (SM groups) that it owns.
    pub compute_slices: u32,
    /// Memory slices that its placement covers.
    pub memory_slices: u32,
    /// The memory slices at which it may start, ascending.
    pub starts: Vec<u32>,
    /// The most instances of it on one GPU.
    pub max_instances: u32,
    /// Usable memory as a driver reports it; the smallest value seen, so safe to plan with.
    pub memory: Mebibytes,
    /// Every usable memory that some driver was seen to report.
    pub memory_seen: Vec<Mebibytes>,
    /// Streaming multiprocessors, where known.
    pub sm_count: Option<u32>,
    /// Where the usable memory comes from.
    pub memory_provenance: Provenance,
    /// Where the placements come from.
    pub placement_provenance: Provenance,
}

impl Profile {
    /// Whether an instance of it has the media engines that a workload with `media` needs.
    pub fn has_media(&self) -> bool {
        self.name.media_engines() != MediaEngines::Default
            && self.name.media_engines() != MediaEngines::None
    }

    /// The compute slices of compute instances in an instance of it, as worth telling: none where one
    /// takes all of the instance.
    pub fn parts<'c>(&self, compute: &'c [u32]) -> &'c [u32] {
        if compute == [self.compute_slices] { &[] } else { compute }
    }
}

/// A kind of GPU with its tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Board {
    /// The id that plans and messages use, such as `a100-sxm4-80gb`.
    pub id: String,
    /// Shorter names that users write.
    pub aliases: Vec<String>,
    /// Product names as NVML reports them.
    pub products: Vec<String>,
    /// Product names as GPU feature discovery labels them.
    pub gfd_products: Vec<String>,
    /// The generation.
    pub architecture: Architecture,
    /// The chip, such as `GA100`.
    pub chip: String,
    /// PCI device and vendor ids as mig-parted's `device-filter` writes them (`0x20B210DE`).
    pub pci_ids: Vec<String>,
    /// Total memory as NVML reports it.
    pub memory: Mebibytes,
    /// Where the total memory comes from.
    pub memory_provenance: Provenance,
    /// Compute slices of the whole board.
    pub compute_slices: u32,
    /// Memory slices of the whole board: the units of placements.
    pub memory_slices: u32,
    /// Whether a change of MIG mode stays pending until the GPU is reset.
    pub mode_change_needs_reset: bool,
    /// Whether MIG mode survives a reboot.
    pub mode_survives_reboot: bool,
    /// The first driver that offers MIG on this board, where known.
    pub min_driver: Option<String>,
    /// How sure the board's tables are as a whole.
    pub confidence: String,
    /// Remarks for people.
    pub notes: Vec<String>,
    /// The profiles, in the order of the data file.
    pub profiles: Vec<Profile>,
}

impl Board {
    /// The profile of this name and its index, if the board has it.
    pub fn profile(&self, name: &ProfileName) -> Option<(usize, &Profile)> {
        self.profiles.iter().enumerate().find(|(_, profile)| profile.name == *name)
    }

    /// The profile that takes the whole board (`7g.80gb`), plain, and its index.
    pub fn whole_profile(&self) -> Option<(usize, &Profile)> {
        self.profiles
            .iter()
            .enumerate()
            .find(|(_, p)| p.memory_slices == self.memory_slices && p.name.is_plain())
    }
}

/// A board shared between modules.
pub type BoardRef = Arc<Board>;

/// Profile name of a GPU that has MIG off and is allocated whole.
pub const FULL_GPU: &str = "full";
