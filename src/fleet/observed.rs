//! What a node has right now: GPUs with MIG mode, instances, and the processes in them.
//!
//! Plain values, whoever observed them: NVML, a checkpoint file, a test. This file knows boards,
//! but nothing of drivers, plans or changes.

use std::collections::BTreeMap;

use super::{Fleet, LOCAL_NODE, LeftOut, Node, WhyLeftOut};
use crate::error::{Diagnostic, Error, ExitCode, Result};
use crate::hardware::layout::{Counts, Placement};
use crate::hardware::{Architecture, Board, BoardRef, ProfileName};
use crate::units::Mebibytes;

/// All GPUs of one node, in NVML's order (that of their PCI addresses).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObservedNode {
    /// The driver's version, where it tells.
    pub driver: Option<String>,
    /// GPU 0, 1, 2 …, without those of [`Self::unreadable`].
    pub gpus: Vec<ObservedGpu>,
    /// GPUs that the driver lists, but does not tell of: lost ones, mostly.
    pub unreadable: Vec<UnreadableGpu>,
}

/// A GPU that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableGpu {
    /// Its index on the node.
    pub index: u32,
    /// `GPU-…`, where the driver still tells.
    pub uuid: Option<String>,
    /// The call that failed, and how.
    pub why: String,
    /// Whether the driver says that we may not.
    pub forbidden: bool,
}

impl std::fmt::Display for UnreadableGpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GPU {} cannot be read: {}", self.index, self.why)
    }
}

/// One GPU as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedGpu {
    /// Its index on the node.
    pub index: u32,
    /// `GPU-…`; stays the same when indices move.
    pub uuid: String,
    /// The product name.
    pub product: String,
    /// PCI device and vendor id as mig-parted's `device-filter` writes them (`0x20B210DE`).
    pub pci_id: Option<u32>,
    /// PCI subsystem device and vendor id, likewise.
    pub subsystem_id: Option<u32>,
    /// The PCI address, such as `00000000:07:00.0`.
    pub pci_address: Option<String>,
    /// Its board with the tables as the driver reports them; `None` where its profiles are
    /// unknown. A board beside a mode of `None` is one that should be able to do MIG.
    pub board: Option<BoardRef>,
    /// Whether the driver itself tells the board's profiles: with MIG off, older ones do not.
    pub profiles_told: bool,
    /// Its architecture, where the driver tells one that can do MIG.
    pub architecture: Option<Architecture>,
    /// Whole memory.
    pub memory: Mebibytes,
    /// MIG mode; `None` where the GPU cannot do MIG.
    pub mode: Option<MigMode>,
    /// Its instances.
    pub instances: Instances,
    /// Processes on the GPU outside of any instance (with MIG off, all of them).
    pub processes: Vec<Process>,
    /// Whether the driver told of processes at all; without root it may not.
    pub processes_known: bool,
    /// The call to which the driver answered that we may not, where it did.
    pub forbidden: Option<String>,
}

/// MIG mode now, and the one that a reset of the GPU will bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MigMode {
    /// On now.
    pub current: bool,
    /// On after the next reset.
    pub pending: bool,
}

impl MigMode {
    /// A mode that nothing will change.
    pub fn settled(on: bool) -> MigMode {
        MigMode { current: on, pending: on }
    }
}

/// The instances of a GPU, as far as the driver told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instances {
    /// All of them with their placements, ordered by start.
    Known(Vec<ObservedInstance>),
    /// The driver keeps placements to itself, mostly because we are not root; what every user may
    /// see instead.
    Hidden {
        /// Why.
        why: String,
        /// The MIG devices that can be seen.
        devices: Vec<MigDevice>,
    },
}

/// One GPU instance with its compute instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedInstance {
    /// Index into the board's profiles.
    pub profile: usize,
    /// The id that NVML knows the profile by.
    pub profile_id: u32,
    /// First memory slice.
    pub start: u32,
    /// Memory slices.
    pub size: u32,
    /// NVML's id of the instance; it does not follow from the placement.
    pub id: u32,
    /// Its compute instances, ordered by id. Without any, nothing can use the instance.
    pub compute: Vec<ComputeInstance>,
}

/// One compute instance: what CUDA sees as a MIG device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComputeInstance {
    /// NVML's id within the GPU instance.
    pub id: u32,
    /// Compute slices.
    pub slices: u32,
    /// Its first compute slice within the GPU instance, where the driver tells.
    pub start: Option<u32>,
    /// `MIG-…`, where the driver tells.
    pub uuid: Option<String>,
    /// Processes that run in it.
    pub processes: Vec<Process>,
}

/// A MIG device as a user without root sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigDevice {
    /// The profile, where it can be told.
    pub profile: Option<ProfileName>,
    /// NVML's id of the GPU instance.
    pub gpu_instance: u32,
    /// NVML's id of the compute instance.
    pub compute_instance: u32,
    /// `MIG-…`.
    pub uuid: Option<String>,
}

/// A process on a GPU.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its id on the host, also when it runs in a container.
    pub pid: u32,
    /// Its program, where the driver or the system tells.
    pub name: Option<String>,
    /// GPU memory that it holds, where the driver tells.
    pub used: Option<Mebibytes>,
}

impl std::fmt::Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} (pid {})", self.pid),
            None => write!(f, "pid {}", self.pid),
        }
    }
}

/// What an instance is, apart from its place: a GPU instance and how it is shared between compute
/// instances.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct InstanceSpec {
    /// Index into the board's profiles.
    pub profile: usize,
    /// Compute slices of each compute instance, largest first; mostly one that takes all.
    pub compute: Vec<u32>,
}

impl InstanceSpec {
    /// The ordinary instance: one compute instance that takes all of it.
    pub fn whole(board: &Board, profile: usize) -> InstanceSpec {
        InstanceSpec { profile, compute: vec![board.profiles[profile].compute_slices] }
    }

    /// The names of its MIG devices, as mig-parted writes them (`1c.3g.40gb` twice).
    pub fn names(&self, board: &Board) -> Vec<ProfileName> {
        let name = &board.profiles[self.profile].name;
        self.compute
            .iter()
            .map(|&slices| ProfileName { compute_instance_slices: slices, ..name.clone() })
            .collect()
    }
}

/// How often each profile occurs among `shapes`, by index into [`Board::profiles`].
pub fn counts(board: &Board, shapes: &[InstanceSpec]) -> Counts {
    let mut counts = vec![0; board.profiles.len()];
    for shape in shapes {
        counts[shape.profile] += 1;
    }
    counts
}

impl ObservedInstance {
    /// Where it is.
    pub fn placement(&self) -> Placement {
        Placement { start: self.start, profile: self.profile }
    }

    /// What it is.
    pub fn shape(&self) -> InstanceSpec {
        let mut compute: Vec<u32> = self.compute.iter().map(|c| c.slices).collect();
        compute.sort_unstable_by(|a, b| b.cmp(a));
        InstanceSpec { profile: self.profile, compute }
    }

    /// The processes in it.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        self.compute.iter().flat_map(|c| &c.processes)
    }

    /// Whether something runs in it.
    pub fn is_busy(&self) -> bool {
        self.processes().next().is_some()
    }
}

impl ObservedGpu {
    /// Whether a change of its MIG mode stays pending until it is reset.
    pub fn mode_needs_reset(&self) -> bool {
        let told = || self.architecture.unwrap_or_else(|| Architecture::of_product(&self.product));
        match &self.board {
            Some(board) => board.mode_change_needs_reset,
            None => told() == Architecture::Ampere,
        }
    }

    /// Its instances, where they are known; an empty list where they are hidden.
    pub fn known_instances(&self) -> &[ObservedInstance] {
        match &self.instances {
            Instances::Known(instances) => instances,
            Instances::Hidden { .. } => &[],
        }
    }
}

impl ObservedNode {
    /// GPUs whose kind cannot do MIG, as the display GPU of a workstation: a plan leaves them out.
    pub fn without_mig(&self) -> impl Iterator<Item = &ObservedGpu> {
        self.gpus.iter().filter(|gpu| gpu.mode.is_none() && gpu.board.is_none())
    }

    /// What a plan may use of it, as a node of this name: the GPUs with MIG, at the indices that they
    /// have here. GPUs that cannot be read are left out as those without MIG are.
    ///
    /// # Errors
    /// A GPU of an unknown board, or one that refuses MIG though its kind can do it (exit 3); no GPU
    /// with MIG (exit 3), or none at all (exit 6).
    pub fn node(&self, name: &str) -> Result<Node> {
        let hint = "name the GPUs to plan for: --gpus 4xa100-80gb, or --fleet fleet.csv with node,board,gpus";
        let mut gpus = Vec::new();
        let mut problems = Vec::new();
        let problem = |gpu: &ObservedGpu, what: &str| {
            Diagnostic::new(format!("GPU {}: '{}' {what}", gpu.index, gpu.product))
        };
        for gpu in &self.gpus {
            match (&gpu.mode, &gpu.board) {
                (Some(_), Some(board)) => gpus.push(board.clone()),
                (Some(_), None) => problems.push(problem(gpu, "is not in the catalogue")),
                (None, Some(_)) => problems.push(problem(gpu, "cannot do MIG")),
                (None, None) => {}
            }
        }
        if gpus.is_empty() && problems.is_empty() {
            problems.extend(self.without_mig().map(|gpu| problem(gpu, "cannot do MIG")));
        }
        if !problems.is_empty() {
            return Err(Error::inputs(problems).hint(hint));
        }
        if gpus.is_empty() {
            return Err(Error::new(ExitCode::NoDriver, "this node has no GPU").hint(hint));
        }
        let left_out = |gpu, reason| LeftOut { gpu, reason };
        let without = self.without_mig().map(|gpu| left_out(gpu.index, WhyLeftOut::WithoutMig));
        let unreadable =
            self.unreadable.iter().map(|gpu| left_out(gpu.index, WhyLeftOut::Unreadable));
        let mut left_out: Vec<LeftOut> = without.chain(unreadable).collect();
        left_out.sort();
        Ok(Node { left_out, ..Node::new(name, gpus) })
    }
}

impl Fleet {
    /// The fleet that consists of an observed node alone, without its GPUs that cannot do MIG.
    ///
    /// # Errors
    /// As [`ObservedNode::node`]; a GPU that cannot be read (exit 3).
    pub fn of_node(node: &ObservedNode) -> Result<Fleet> {
        let planned = node.node(LOCAL_NODE)?;
        if node.unreadable.is_empty() {
            return Ok(Fleet::new(vec![planned]));
        }
        // It may be back tomorrow, so whoever wants a plan without it has to say so.
        let lost = node.unreadable.iter().map(|gpu| Diagnostic::new(gpu.to_string()));
        let gpus = kinds(&planned.gpus);
        Err(Error::inputs(lost.collect())
            .hint(format!("to plan for the others alone: --gpus {gpus} --current")))
    }
}

/// These GPUs as `--gpus` takes them: `4xa100-sxm4-80gb,1xa30-24gb`.
pub fn kinds(gpus: &[BoardRef]) -> String {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    gpus.iter().for_each(|board| *counts.entry(&board.id).or_default() += 1);
    let kinds: Vec<String> = counts.iter().map(|(board, n)| format!("{n}x{board}")).collect();
    kinds.join(",")
}
