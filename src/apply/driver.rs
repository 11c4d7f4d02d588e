//! What `apply` needs of a driver, as values: no handles, no C, no `unsafe`.
//!
//! [`super::nvml`] is the real one. Instances are named by NVML's ids, which hold as long as the
//! instance does; an implementation looks handles up afresh for each call, since they go stale.

use std::fmt;
use std::path::PathBuf;

use crate::fleet::observed::MigMode;
use crate::hardware::Architecture;

/// The answer to a call.
pub type Answer<T> = Result<T, DriverError>;

/// A call that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverError {
    /// The function, as NVML spells it.
    pub call: &'static str,
    /// NVML's return code.
    pub code: Code,
}

/// NVML's return code (`nvmlReturn_t`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Code(pub u32);

impl Code {
    /// `NVML_ERROR_UNINITIALIZED`.
    pub const UNINITIALIZED: Code = Code(1);
    /// `NVML_ERROR_INVALID_ARGUMENT`.
    pub const INVALID_ARGUMENT: Code = Code(2);
    /// `NVML_ERROR_NOT_SUPPORTED`: the GPU, its mode or this driver cannot.
    pub const NOT_SUPPORTED: Code = Code(3);
    /// `NVML_ERROR_NO_PERMISSION`.
    pub const NO_PERMISSION: Code = Code(4);
    /// `NVML_ERROR_NOT_FOUND`.
    pub const NOT_FOUND: Code = Code(6);
    /// `NVML_ERROR_INSUFFICIENT_SIZE`: the buffer is too small.
    pub const INSUFFICIENT_SIZE: Code = Code(7);
    /// `NVML_ERROR_DRIVER_NOT_LOADED`.
    pub const DRIVER_NOT_LOADED: Code = Code(9);
    /// `NVML_ERROR_FUNCTION_NOT_FOUND`: also what a missing symbol becomes.
    pub const FUNCTION_NOT_FOUND: Code = Code(13);
    /// `NVML_ERROR_GPU_IS_LOST`: it has fallen off the bus, or is otherwise out of reach.
    pub const GPU_IS_LOST: Code = Code(15);
    /// `NVML_ERROR_RESET_REQUIRED`.
    pub const RESET_REQUIRED: Code = Code(16);
    /// `NVML_ERROR_IN_USE`.
    pub const IN_USE: Code = Code(19);
    /// `NVML_ERROR_INSUFFICIENT_RESOURCES`.
    pub const INSUFFICIENT_RESOURCES: Code = Code(23);
    /// `NVML_ERROR_ARGUMENT_VERSION_MISMATCH`.
    pub const VERSION_MISMATCH: Code = Code(25);

    /// Whether the driver lacks what was asked for, rather than having failed at it.
    pub fn is_absence(self) -> bool {
        matches!(self, Code::NOT_SUPPORTED | Code::FUNCTION_NOT_FOUND | Code::NOT_FOUND)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            1 => "not initialised",
            2 => "invalid argument",
            3 => "not supported",
            4 => "no permission",
            6 => "not found",
            7 => "insufficient size",
            8 => "a power cable is missing",
            9 => "driver not loaded",
            10 => "timeout",
            11 => "interrupt request issue",
            12 => "library not found",
            13 => "function not found in this driver",
            14 => "corrupted InfoROM",
            15 => "GPU is lost",
            16 => "reset required",
            17 => "blocked by the operating system",
            18 => "driver and library versions do not match",
            19 => "in use by another client",
            20 => "out of memory",
            21 => "no data",
            23 => "insufficient resources",
            25 => "argument version mismatch",
            26 => "deprecated",
            27 => "not ready",
            28 => "GPU not found",
            29 => "invalid state",
            30 => "reset type not supported",
            _ => "unknown error",
        };
        write!(f, "{name} (NVML {})", self.0)
    }
}

impl fmt::Display for DriverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call, self.code)
    }
}

/// What a GPU is, as the driver says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `GPU-…`.
    pub uuid: String,
    /// The product name.
    pub product: String,
    /// Device and vendor id as mig-parted writes them (`0x20B210DE`), where it tells.
    pub pci_id: Option<u32>,
    /// The same of the subsystem.
    pub subsystem_id: Option<u32>,
    /// The PCI address.
    pub pci_address: Option<String>,
    /// Whole memory in MiB.
    pub memory_mib: u64,
    /// The architecture, where it tells one that can do MIG.
    pub architecture: Option<Architecture>,
}

/// A GPU instance profile as the driver describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverProfile {
    /// `NVML_GPU_INSTANCE_PROFILE_*`, the list position.
    pub index: u32,
    /// The id that creates it.
    pub id: u32,
    /// Its name, where the driver is new enough to tell.
    pub name: Option<String>,
    /// Compute slices.
    pub slices: u32,
    /// The most of them on one GPU.
    pub max_instances: u32,
    /// Usable memory in MiB.
    pub memory_mib: u64,
    /// Streaming multiprocessors.
    pub sm_count: u32,
}

/// Where an instance may be or is, in memory slices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The first slice.
    pub start: u32,
    /// How many.
    pub size: u32,
}

/// A GPU instance, named by what NVML needs to find it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstanceId {
    /// The GPU's index.
    pub gpu: u32,
    /// The profile's id, not its list position.
    pub profile_id: u32,
    /// The instance's id.
    pub id: u32,
    /// Its first memory slice: once an instance is gone, its id may be that of another one.
    pub start: u32,
}

/// A GPU instance as the driver lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DriverInstance {
    /// Its id.
    pub id: u32,
    /// Its place.
    pub span: Span,
}

/// A compute instance as the driver lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DriverCompute {
    /// Its id within the GPU instance.
    pub id: u32,
    /// Its compute slices.
    pub slices: u32,
    /// Its first compute slice within the GPU instance, where the driver tells.
    pub start: Option<u32>,
}

/// A MIG device as every user may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverMigDevice {
    /// Its position among the GPU's MIG devices.
    pub index: u32,
    /// NVML's id of its GPU instance.
    pub instance: u32,
    /// NVML's id of its compute instance.
    pub compute: u32,
    /// `MIG-…`.
    pub uuid: Option<String>,
    /// The name, such as `NVIDIA A100-SXM4-80GB MIG 3g.40gb`.
    pub name: Option<String>,
}

/// A process as the driver lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DriverProcess {
    /// NVML's ids of the GPU instance and the compute instance that it runs in, if in one.
    pub place: Option<(u32, u32)>,
    /// Its id on the host.
    pub pid: u32,
    /// GPU memory in MiB, where told.
    pub used_mib: Option<u64>,
}

/// A driver that can tell of MIG and change it. GPUs are named by their index.
pub trait MigDriver {
    /// The driver's version, where it tells.
    fn version(&mut self) -> Option<String>;
    /// The functions that changes, and the way back from them, may need and this driver does not have.
    fn lacks(&mut self) -> Vec<&'static str>;
    /// How many GPUs there are.
    ///
    /// # Errors
    /// As every call here: what NVML answered.
    fn gpu_count(&mut self) -> Answer<u32>;
    /// What a GPU is.
    ///
    /// # Errors
    /// What NVML answered.
    fn identity(&mut self, gpu: u32) -> Answer<Identity>;
    /// Who a GPU is: its index may mean another one after a reset.
    ///
    /// # Errors
    /// What NVML answered.
    fn uuid(&mut self, gpu: u32) -> Answer<String>;
    /// A GPU's device file, by which one sees who holds it; `None` where the driver does not tell.
    fn device_file(&mut self, gpu: u32) -> Option<PathBuf>;
    /// A GPU's MIG mode, `None` where it cannot do MIG.
    ///
    /// # Errors
    /// What NVML answered.
    fn mode(&mut self, gpu: u32) -> Answer<Option<MigMode>>;
    /// The GPU instance profiles that it offers; empty where it does not tell in this mode.
    ///
    /// # Errors
    /// What NVML answered.
    fn profiles(&mut self, gpu: u32) -> Answer<Vec<DriverProfile>>;
    /// The placements that a profile may have on an empty GPU.
    ///
    /// # Errors
    /// What NVML answered.
    fn placements(&mut self, gpu: u32, profile_id: u32) -> Answer<Vec<Span>>;
    /// The GPU instances of a profile.
    ///
    /// # Errors
    /// What NVML answered.
    fn instances(&mut self, gpu: u32, profile_id: u32) -> Answer<Vec<DriverInstance>>;
    /// The compute instances in a GPU instance.
    ///
    /// # Errors
    /// What NVML answered.
    fn compute_instances(&mut self, instance: InstanceId) -> Answer<Vec<DriverCompute>>;
    /// The MIG devices of a GPU.
    ///
    /// # Errors
    /// What NVML answered.
    fn mig_devices(&mut self, gpu: u32) -> Answer<Vec<DriverMigDevice>>;
    /// The processes on a GPU and on its MIG devices.
    ///
    /// # Errors
    /// What NVML answered.
    fn processes(&mut self, gpu: u32, devices: &[DriverMigDevice]) -> Answer<Vec<DriverProcess>>;
    /// The program of a process, where the driver tells.
    fn process_name(&mut self, pid: u32) -> Option<String>;

    /// Asks for a MIG mode. Success does not mean that the mode has changed: read it again. The code
    /// (NVML's activation status) says why it is only pending.
    ///
    /// # Errors
    /// What NVML answered.
    fn set_mode(&mut self, gpu: u32, on: bool) -> Answer<Code>;
    /// Creates a GPU instance at a place; its id.
    ///
    /// # Errors
    /// What NVML answered.
    fn create_instance(&mut self, gpu: u32, profile_id: u32, span: Span) -> Answer<u32>;
    /// Destroys a GPU instance that has no compute instances.
    ///
    /// # Errors
    /// What NVML answered.
    fn destroy_instance(&mut self, instance: InstanceId) -> Answer<()>;
    /// Creates a compute instance of so many slices: at `start` within the GPU instance where the
    /// driver can be told the place, else where it chooses.
    ///
    /// # Errors
    /// What NVML answered.
    fn create_compute(
        &mut self,
        instance: InstanceId,
        slices: u32,
        start: Option<u32>,
    ) -> Answer<()>;
    /// Destroys a compute instance.
    ///
    /// # Errors
    /// What NVML answered.
    fn destroy_compute(&mut self, instance: InstanceId, compute: u32) -> Answer<()>;
    /// Whether a GPU could be reset, as far as that shows before it is tried.
    ///
    /// # Errors
    /// Why it could not, for people.
    fn ready_to_reset(&mut self, gpu: u32) -> Result<(), String>;
    /// Resets a GPU, which makes a pending mode current and ends everything on it. The driver lists
    /// the GPUs anew after it: an index may mean another one.
    ///
    /// # Errors
    /// Why it was not reset, in the words of the tool that does it.
    fn reset(&mut self, gpu: u32) -> Result<(), String>;
}
