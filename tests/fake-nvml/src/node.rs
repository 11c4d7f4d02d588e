//! The pretended hardware: a node with GPUs that can be partitioned, and the rules by which it refuses.
//!
//! Plain data and plain functions; every refusal is an NVML error code. Geometry is read from
//! migplan's board files, but checked by code of its own, so that migplan and its rehearsal do not
//! share a mistake.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// NVML's return codes, as far as they occur here.
pub mod code {
    pub const UNINITIALIZED: u32 = 1;
    pub const INVALID_ARGUMENT: u32 = 2;
    pub const NOT_SUPPORTED: u32 = 3;
    pub const NO_PERMISSION: u32 = 4;
    pub const NOT_FOUND: u32 = 6;
    pub const INSUFFICIENT_SIZE: u32 = 7;
    pub const DRIVER_NOT_LOADED: u32 = 9;
    pub const GPU_IS_LOST: u32 = 15;
    pub const RESET_REQUIRED: u32 = 16;
    pub const IN_USE: u32 = 19;
    pub const INSUFFICIENT_RESOURCES: u32 = 23;
    pub const ARGUMENT_VERSION_MISMATCH: u32 = 25;
}

pub type Answer<T> = Result<T, u32>;

/// What a GPU is in: mode, pending mode, and instances as (profile, start, compute slices).
pub type Essence = (bool, bool, Vec<(String, u32, Vec<u32>)>);

/// Everything that survives a process: the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Whether the caller is root.
    #[serde(default = "yes")]
    pub root: bool,
    /// Whether the GPUs can be reset; a virtual machine cannot.
    #[serde(default = "yes")]
    pub can_reset: bool,
    /// Whether a reset of one GPU resets every GPU, as in servers that link them.
    #[serde(default)]
    pub resets_together: bool,
    /// Whether profiles can be listed while MIG is off; R535 cannot.
    #[serde(default = "yes")]
    pub lists_profiles_with_mig_off: bool,
    /// Functions that this driver is too old to have.
    #[serde(default)]
    pub missing: Vec<String>,
    /// Whether a compute instance may start at any compute slice, against NVIDIA's tables.
    #[serde(default)]
    pub compute_anywhere: bool,
    /// Calls that go wrong.
    #[serde(default)]
    pub faults: Vec<Fault>,
    /// A file to which each call appends a line: function, `change` or `read`, return code.
    #[serde(default)]
    pub log: Option<String>,
    /// Counts everything ever made, for handles that go stale and for UUIDs.
    #[serde(default)]
    pub serial: u64,
    pub gpus: Vec<Gpu>,
}

fn yes() -> bool {
    true
}

/// One call, or every one from it on, goes wrong.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// The function's name; `any` for every call, `change` for those that change something.
    pub on: String,
    /// Which of those calls since nvmlInit, from 1.
    pub nth: u64,
    /// The return code; without one the process is killed.
    #[serde(default)]
    pub code: Option<u32>,
    /// Also every later one.
    #[serde(default)]
    pub sticky: bool,
    /// The call takes effect nonetheless, before it fails or kills.
    #[serde(default)]
    pub late: bool,
    /// In place of a failure: this signal is sent to the process, and the call goes on.
    #[serde(default)]
    pub signal: Option<i32>,
    /// In place of a failure: this GPU is lost from now on, and the call goes on.
    #[serde(default)]
    pub lose: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gpu {
    pub board: String,
    pub uuid: String,
    pub product: String,
    pub memory_mib: u64,
    /// NVML's number of it; 0 is none.
    #[serde(default)]
    pub architecture: u32,
    pub pci_id: u32,
    pub subsystem_id: u32,
    pub bus: u32,
    /// A mode change waits for a reset.
    pub needs_reset: bool,
    pub memory_slices: u32,
    pub profiles: Vec<Profile>,
    pub mode: bool,
    pub pending: bool,
    /// Fallen off the bus: every call that needs it answers so, until a reboot.
    #[serde(default)]
    pub lost: bool,
    /// Clients that block a reset and a change of mode, such as `dcgm`.
    #[serde(default)]
    pub clients: Vec<String>,
    /// Processes on the whole GPU.
    #[serde(default)]
    pub processes: Vec<Process>,
    #[serde(default)]
    pub instances: Vec<Instance>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    pub name: String,
    /// The id that creates it.
    pub id: u32,
    /// The number that asks for it.
    pub index: u32,
    pub compute: u32,
    pub size: u32,
    pub starts: Vec<u32>,
    pub max: u32,
    pub memory_mib: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    pub id: u32,
    pub serial: u64,
    pub profile: String,
    pub start: u32,
    /// A client that no process list shows answers IN_USE this many times (-1: always).
    #[serde(default)]
    pub watched: i64,
    #[serde(default)]
    pub compute: Vec<Compute>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Compute {
    pub id: u32,
    pub serial: u64,
    pub slices: u32,
    pub start: u32,
    pub uuid: String,
    #[serde(default)]
    pub processes: Vec<Process>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    pub pid: u32,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub used_mib: u64,
}

/// A board file of `data/gpus`, as far as it is needed here.
#[derive(Deserialize)]
struct BoardFile {
    id: String,
    aliases: Vec<String>,
    products: Vec<String>,
    pci_ids: Vec<String>,
    architecture: String,
    memory_mib: u64,
    memory_slices: u32,
    mig_mode: ModeFile,
    profiles: Vec<ProfileFile>,
}

#[derive(Deserialize)]
struct ModeFile {
    enable_needs_gpu_reset: bool,
}

#[derive(Deserialize)]
struct ProfileFile {
    name: String,
    profile_id: Option<u32>,
    nvml_index: u32,
    compute_slices: u32,
    memory_slices: u32,
    starts: Vec<u32>,
    max_instances: u32,
    memory_mib: u64,
}

/// The compute instances of a GPU instance: (list position, id, slices, most).
pub fn compute_profiles(gpu_slices: u32) -> Vec<(u32, u32, u32, u32)> {
    [(0, 0, 1), (1, 1, 2), (2, 2, 3), (3, 3, 4), (4, 4, 7)]
        .into_iter()
        .filter(|&(_, _, slices)| {
            slices == gpu_slices
                || slices == 1
                || slices == 2 && gpu_slices > 2
                || slices < gpu_slices && gpu_slices == 7
        })
        .map(|(index, id, slices)| (index, id, slices, gpu_slices / slices))
        .collect()
}

/// Where a compute instance may start (go-nvml's tables of H100, B200 and A30).
fn compute_starts(gpu_slices: u32, slices: u32) -> &'static [u32] {
    match (gpu_slices, slices) {
        (gpu, all) if gpu == all => &[0],
        (7, 1) => &[0, 1, 2, 3, 4, 5, 6],
        (7, 2) => &[0, 2, 4],
        (7, 3) => &[0, 4],
        (4, 1) => &[0, 1, 2, 3],
        (4, 2) => &[0, 2],
        (3, 1) => &[0, 1, 2],
        (2, 1) => &[0, 1],
        _ => &[0],
    }
}

impl Node {
    /// A node of `4xa100-80gb,1xh100-80gb`, every GPU with MIG off. The UUIDs of its GPUs are those
    /// of no other node of this machine, since migplan locks GPUs by them.
    pub fn new(spec: &str) -> Result<Node, String> {
        static NODES: AtomicU64 = AtomicU64::new(1);
        let number = NODES.fetch_add(1, Ordering::Relaxed);
        Node::numbered(spec, (u64::from(std::process::id()) << 24) | number)
    }

    /// The same, with UUIDs that follow from a number.
    pub fn numbered(spec: &str, number: u64) -> Result<Node, String> {
        let mut gpus = Vec::new();
        for part in spec.split(',') {
            let (count, name) = part.split_once('x').unwrap_or(("1", part));
            let (count, name) = count.parse::<u32>().map_or((1, part), |count| (count, name));
            let file = board(name)?;
            for _ in 0..count {
                gpus.push(Gpu::new(&file, u32::try_from(gpus.len()).unwrap_or(0), number));
            }
        }
        Ok(Node {
            root: true,
            can_reset: true,
            resets_together: false,
            lists_profiles_with_mig_off: true,
            missing: Vec::new(),
            compute_anywhere: false,
            faults: Vec::new(),
            log: None,
            serial: 0,
            gpus,
        })
    }

    /// What the hardware is in, without counters, faults and ids: for comparisons.
    pub fn essence(&self) -> Vec<Essence> {
        self.gpus
            .iter()
            .map(|gpu| {
                let mut instances: Vec<(String, u32, Vec<u32>)> = gpu
                    .instances
                    .iter()
                    .map(|i| {
                        let mut slices: Vec<u32> = i.compute.iter().map(|c| c.slices).collect();
                        slices.sort_unstable();
                        (i.profile.clone(), i.start, slices)
                    })
                    .collect();
                instances.sort();
                (gpu.mode, gpu.pending, instances)
            })
            .collect()
    }

    fn permit(&self) -> Answer<()> {
        if self.root { Ok(()) } else { Err(code::NO_PERMISSION) }
    }

    /// The GPU, if it is there and not lost.
    pub fn reach(&self, gpu: usize) -> Answer<&Gpu> {
        let gpu = self.gpus.get(gpu).ok_or(code::INVALID_ARGUMENT)?;
        if gpu.lost { Err(code::GPU_IS_LOST) } else { Ok(gpu) }
    }

    /// The GPU, if MIG calls are allowed on it and its mode is on.
    fn with_mig(&mut self, gpu: usize) -> Answer<&mut Gpu> {
        self.permit()?;
        self.reach(gpu)?;
        let gpu = self.gpus.get_mut(gpu).ok_or(code::INVALID_ARGUMENT)?;
        if gpu.mode { Ok(gpu) } else { Err(code::NOT_SUPPORTED) }
    }

    /// Creates a GPU instance; its serial.
    pub fn create_instance(&mut self, gpu: usize, profile_id: u32, start: u32) -> Answer<u64> {
        let serial = self.serial + 1;
        let gpu = self.with_mig(gpu)?;
        let profile =
            gpu.profiles.iter().find(|p| p.id == profile_id).ok_or(code::INVALID_ARGUMENT)?;
        if !profile.starts.contains(&start) {
            return Err(code::INVALID_ARGUMENT);
        }
        let name = profile.name.clone();
        let span = start..start + profile.size;
        let mut of_kind = 0;
        for other in &gpu.instances {
            let kind = gpu.profile(&other.profile)?;
            of_kind += u32::from(other.profile == name);
            let apart = other.start >= span.end || other.start + kind.size <= span.start;
            if !apart || !engines_agree(&name, &other.profile) {
                return Err(code::INSUFFICIENT_RESOURCES);
            }
        }
        if of_kind >= profile.max {
            return Err(code::INSUFFICIENT_RESOURCES);
        }
        // The driver takes the lowest free id, whatever the placement.
        let id = (1..).find(|id| gpu.instances.iter().all(|i| i.id != *id)).unwrap_or(0);
        gpu.instances.push(Instance {
            id,
            serial,
            profile: name,
            start,
            watched: 0,
            compute: Vec::new(),
        });
        self.serial = serial;
        Ok(serial)
    }

    /// Destroys a GPU instance.
    pub fn destroy_instance(&mut self, gpu: usize, serial: u64) -> Answer<()> {
        let gpu = self.with_mig(gpu)?;
        let at = gpu.at(serial)?;
        if !gpu.instances[at].compute.is_empty() || gpu.instances[at].is_watched() {
            return Err(code::IN_USE);
        }
        gpu.instances.remove(at);
        Ok(())
    }

    /// Creates a compute instance where there is room for it first; its serial.
    pub fn create_compute(&mut self, gpu: usize, instance: u64, profile: u32) -> Answer<u64> {
        self.create_compute_at(gpu, instance, profile, None)
    }

    /// Creates a compute instance, at a place or at the first free one; its serial.
    pub fn create_compute_at(
        &mut self,
        gpu: usize,
        instance: u64,
        profile: u32,
        place: Option<(u32, u32)>,
    ) -> Answer<u64> {
        let serial = self.serial + 1;
        let anywhere = self.compute_anywhere;
        let index = gpu;
        let gpu = self.with_mig(gpu)?;
        let at = gpu.at(instance)?;
        let room = gpu.profile(&gpu.instances[at].profile)?.compute;
        let (_, _, slices, most) = compute_profiles(room)
            .into_iter()
            .find(|&(_, id, ..)| id == profile)
            .ok_or(code::INVALID_ARGUMENT)?;
        let compute = &mut gpu.instances[at].compute;
        let of_kind = compute.iter().filter(|c| c.slices == slices).count();
        let free = |from: u32| {
            compute.iter().all(|c| c.start >= from + slices || c.start + c.slices <= from)
        };
        let mut starts: Vec<u32> = match anywhere {
            true => (0..=room - slices).collect(),
            false => compute_starts(room, slices).to_vec(),
        };
        if let Some((start, size)) = place {
            if size != slices || !starts.contains(&start) {
                return Err(code::INVALID_ARGUMENT);
            }
            starts = vec![start];
        }
        let start = starts.into_iter().find(|&from| free(from));
        let (Some(start), true) = (start, of_kind < most as usize) else {
            return Err(code::INSUFFICIENT_RESOURCES);
        };
        let id = (0..).find(|id| compute.iter().all(|c| c.id != *id)).unwrap_or(0);
        compute.push(Compute {
            id,
            serial,
            slices,
            start,
            uuid: format!("MIG-{index:08x}-fake-5000-8000-{serial:012x}"),
            processes: Vec::new(),
        });
        self.serial = serial;
        Ok(serial)
    }

    /// Destroys a compute instance.
    pub fn destroy_compute(&mut self, gpu: usize, serial: u64) -> Answer<()> {
        let gpu = self.with_mig(gpu)?;
        for instance in &mut gpu.instances {
            if let Some(at) = instance.compute.iter().position(|c| c.serial == serial) {
                if !instance.compute[at].processes.is_empty() || instance.is_watched() {
                    return Err(code::IN_USE);
                }
                instance.compute.remove(at);
                return Ok(());
            }
        }
        Err(code::INVALID_ARGUMENT)
    }

    /// Asks for a mode; what NVML calls the activation status.
    pub fn set_mode(&mut self, gpu: usize, on: bool) -> Answer<u32> {
        self.permit()?;
        self.reach(gpu)?;
        let gpu = self.gpus.get_mut(gpu).ok_or(code::INVALID_ARGUMENT)?;
        if gpu.profiles.is_empty() {
            return Err(code::NOT_SUPPORTED);
        }
        gpu.pending = on;
        if gpu.mode == on {
            return Ok(0);
        }
        if gpu.needs_reset {
            return Ok(code::RESET_REQUIRED);
        }
        if gpu.is_held() || !gpu.instances.is_empty() {
            return Ok(code::IN_USE);
        }
        gpu.mode = on;
        Ok(0)
    }

    /// What `nvidia-smi --gpu-reset` does.
    pub fn reset(&mut self, gpu: usize) -> Result<(), String> {
        if !self.can_reset {
            return Err("Resetting GPU is not supported in this virtual machine.".to_string());
        }
        if !self.root {
            return Err("Insufficient permissions to reset GPU".to_string());
        }
        self.reach(gpu).map_err(|_| "GPU is lost. Reboot the system to recover this GPU")?;
        let together = self.resets_together;
        let reset = |index: &usize| *index == gpu || together;
        let indices: Vec<usize> = (0..self.gpus.len()).filter(reset).collect();
        if !indices.contains(&gpu) {
            return Err("No such GPU".to_string());
        }
        if indices.iter().any(|&index| self.gpus[index].is_held()) {
            return Err("GPU Reset couldn't run because the GPU is currently in use by another client: In use by another client".to_string());
        }
        for index in indices {
            let gpu = &mut self.gpus[index];
            gpu.mode = gpu.pending;
            gpu.instances.clear();
        }
        Ok(())
    }

    /// What a reboot leaves.
    pub fn reboot(&mut self) {
        for gpu in &mut self.gpus {
            gpu.instances.clear();
            gpu.processes.clear();
            gpu.lost = false;
            gpu.mode = gpu.needs_reset && gpu.pending;
            gpu.pending = gpu.mode;
        }
    }
}

impl Gpu {
    fn new(file: &BoardFile, index: u32, node: u64) -> Gpu {
        let pci_id = file
            .pci_ids
            .first()
            .and_then(|id| u32::from_str_radix(id.trim_start_matches("0x"), 16).ok());
        Gpu {
            board: file.id.clone(),
            uuid: format!("GPU-{index:08x}-fake-4000-8000-{node:012x}"),
            product: file.products.first().cloned().unwrap_or_else(|| file.id.clone()),
            memory_mib: file.memory_mib,
            architecture: match file.architecture.as_str() {
                "Ampere" => 7,
                "Hopper" => 9,
                "Blackwell" => 10,
                _ => 0,
            },
            pci_id: pci_id.unwrap_or(0x10DE),
            subsystem_id: 0x1234_10DE,
            bus: index + 7,
            needs_reset: file.mig_mode.enable_needs_gpu_reset,
            memory_slices: file.memory_slices,
            // Ids that nobody has published still need to be some.
            profiles: file
                .profiles
                .iter()
                .map(|p| Profile {
                    name: p.name.clone(),
                    id: p.profile_id.unwrap_or(100 + p.nvml_index),
                    index: p.nvml_index,
                    compute: p.compute_slices,
                    size: p.memory_slices,
                    starts: p.starts.clone(),
                    max: p.max_instances,
                    memory_mib: p.memory_mib,
                })
                .collect(),
            mode: false,
            pending: false,
            lost: false,
            clients: Vec::new(),
            processes: Vec::new(),
            instances: Vec::new(),
        }
    }

    /// The profile of this name.
    pub fn profile(&self, name: &str) -> Answer<&Profile> {
        self.profiles.iter().find(|p| p.name == name).ok_or(code::INVALID_ARGUMENT)
    }

    /// Where the instance with this serial stands; handles to what is gone are invalid.
    pub fn at(&self, serial: u64) -> Answer<usize> {
        self.instances.iter().position(|i| i.serial == serial).ok_or(code::INVALID_ARGUMENT)
    }

    fn is_held(&self) -> bool {
        let busy = self.instances.iter().flat_map(|i| &i.compute).any(|c| !c.processes.is_empty());
        busy || !self.processes.is_empty() || !self.clients.is_empty()
    }
}

impl Instance {
    fn is_watched(&mut self) -> bool {
        if self.watched > 0 {
            self.watched -= 1;
            return true;
        }
        self.watched < 0
    }
}

/// One `+me` on a GPU; beside `+me.all` only `-me`.
fn engines_agree(a: &str, b: &str) -> bool {
    let all = |n: &str| n.ends_with("+me.all");
    let one = |n: &str| n.ends_with("+me");
    let none = |n: &str| n.ends_with("-me");
    !(one(a) && one(b)) && (!all(a) || none(b)) && (!all(b) || none(a))
}

fn board(name: &str) -> Result<BoardFile, String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/gpus");
    let files = std::fs::read_dir(folder).map_err(|e| format!("{folder}: {e}"))?;
    for entry in files.flatten() {
        let text = std::fs::read_to_string(entry.path()).map_err(|e| e.to_string())?;
        let file: BoardFile =
            serde_json::from_str(&text).map_err(|e| format!("{:?}: {e}", entry.path()))?;
        if file.id == name || file.aliases.iter().any(|a| a == name) {
            return Ok(file);
        }
    }
    Err(format!("no board '{name}' in {folder}"))
}
