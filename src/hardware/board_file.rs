//! A board file as it is written, in JSON: those of `data/gpus` and those of `--catalogue`. What its
//! numbers must be to be a board is `catalogue`'s business.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Architecture, ProfileName};

/// A board and its MIG profiles, as `migplan catalogue BOARD --format json` prints it and `--catalogue`
/// takes it.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct BoardFile {
    /// Always `migplan.board/v1`.
    pub schema: String,
    /// What plans and flags call it: lower case, with `-` between its parts.
    pub id: String,
    /// Other names that flags take.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// What NVML and nvidia-smi call it.
    #[serde(default)]
    pub products: Vec<String>,
    /// What GPU feature discovery calls it in `nvidia.com/gpu.product`.
    #[serde(default)]
    pub gfd_products: Vec<String>,
    /// The generation.
    pub architecture: Architecture,
    /// The silicon, such as `GA100`.
    #[serde(default)]
    pub chip: String,
    /// PCI device and vendor ids, as mig-parted's `device-filter` has them: `0x20B210DE`.
    #[serde(default)]
    pub pci_ids: Vec<String>,
    /// All of its memory, in MiB.
    pub memory_mib: u64,
    /// Where that number is from.
    pub memory_source: SourceFile,
    /// Compute slices of the GPU.
    pub compute_slices: u32,
    /// Memory slices of the GPU, which placements start at.
    pub memory_slices: u32,
    /// How MIG mode changes.
    pub mig_mode: ModeFile,
    /// The oldest driver with MIG on it.
    #[serde(default)]
    pub min_driver: Option<String>,
    /// How sure the numbers are, in words.
    #[serde(default)]
    pub confidence: String,
    /// What else is to be known.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Its MIG profiles.
    pub profiles: Vec<ProfileFile>,
    /// Sources by the short names that other keys use.
    #[serde(default)]
    pub sources: BTreeMap<String, String>,
}

/// Where a number is from.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct SourceFile {
    /// The source, or its short name in `sources`.
    pub source: String,
    /// `seen` in real tool output, `documented` by NVIDIA, `analogy` with a sibling, `estimate`.
    pub confidence: String,
}

/// How MIG mode changes.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ModeFile {
    /// Whether a change waits for a reset of the GPU.
    pub enable_needs_gpu_reset: bool,
    /// Whether the mode is still on after a reboot.
    pub mode_persists_across_reboot: bool,
}

/// A MIG profile of the board.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ProfileFile {
    /// Its name.
    pub name: ProfileName,
    /// The id that NVML creates it by, if it is known.
    #[serde(default)]
    pub profile_id: Option<u32>,
    /// Its `NVML_GPU_INSTANCE_PROFILE_*` number.
    pub nvml_index: u32,
    /// Compute slices of an instance.
    pub compute_slices: u32,
    /// Memory slices of an instance.
    pub memory_slices: u32,
    /// The memory slices at which one may start.
    pub starts: Vec<u32>,
    /// The most instances that a GPU can have.
    pub max_instances: u32,
    /// Memory of an instance, in MiB: the least that was seen.
    pub memory_mib: u64,
    /// All values that were seen, in MiB.
    #[serde(default)]
    pub memory_mib_seen: Vec<u64>,
    /// Streaming multiprocessors of an instance.
    #[serde(default)]
    pub sm_count: Option<u32>,
    /// Where memory and placements are from.
    pub source: MemoryAndPlacement,
    /// How sure they are, in the words of a source's `confidence`.
    pub confidence: MemoryAndPlacement,
}

/// Something said of a profile's memory and of its placements.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct MemoryAndPlacement {
    /// Of its memory.
    pub memory: String,
    /// Of its placements.
    pub placement: String,
}
