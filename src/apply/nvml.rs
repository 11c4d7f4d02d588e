//! The real driver: NVML's functions behind [`MigDriver`]. The only `unsafe` code of migplan.
//!
//! Symbols are looked up at run time (nvml-wrapper loads the library), so one that this driver is
//! too old to have is an error value. nvml-wrapper's own calls cannot create or destroy instances,
//! and its list of placements is always empty, so the plain C functions are called here; layouts of
//! structs come from nvml-wrapper-sys, which is made from NVIDIA's header.
//!
//! Safety, for every call below: the library outlives the call since `self` holds it; handles are
//! obtained within the same method, from the same initialisation; pointers are to locals that live
//! until the call returns; buffers are as long as the count that is passed, and never shorter than
//! any GPU needs.
#![allow(unsafe_code)]

mod needed;

use std::ffi::{CStr, c_char, c_uint};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper_sys::bindings as sys;

use super::driver::{
    Answer, Code, DriverCompute, DriverError, DriverInstance, DriverMigDevice, DriverProcess,
    DriverProfile, Identity, InstanceId, MigDriver, Span,
};
use super::{holders, program};
use crate::error::{Error, ExitCode, Result};
use crate::fleet::observed::MigMode;
use crate::hardware::Architecture;

/// The environment variable that stands in for `--nvml-lib`.
pub const LIBRARY_VARIABLE: &str = "MIGPLAN_NVML_LIB";
/// The environment variable that names another `nvidia-smi`.
pub const NVIDIA_SMI_VARIABLE: &str = "MIGPLAN_NVIDIA_SMI";

/// Where drivers install the library. The plain `.so` comes with development packages only.
const LIBRARIES: &[&str] = &["libnvidia-ml.so.1", "libnvidia-ml.so"];
/// More instances, placements and MIG devices than any GPU has: today 8, 7 and 7.
const MOST: usize = 64;
/// How long to wait before NVML is started again, try by try: after a reset the driver may need a
/// moment. Five seconds in all.
const START_PAUSES: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_millis(800),
    Duration::from_millis(1500),
    Duration::from_millis(2300),
];
/// NVML's way to say that a process is in no instance, or uses memory that it does not tell.
const NONE_32: u32 = u32::MAX;
const NONE_64: u64 = u64::MAX;

type SysDevice = sys::nvmlDevice_t;
type SysInstance = sys::nvmlGpuInstance_t;
type SysCompute = sys::nvmlComputeInstance_t;
type OldInfo = unsafe extern "C" fn(SysCompute, *mut sys::nvmlComputeInstanceInfo_t) -> u32;

/// NVML, loaded and initialised.
#[derive(Debug)]
pub struct NvmlDriver {
    /// `None` only while a GPU is reset, which needs every client gone, us included, and where NVML
    /// has not started since.
    nvml: Option<Nvml>,
    library: PathBuf,
    nvidia_smi: PathBuf,
}

impl NvmlDriver {
    /// Loads NVML from `library`, or from where drivers install it.
    ///
    /// # Errors
    /// No library, no driver, or one that does not answer (exit 6).
    pub fn load(library: Option<&Path>) -> Result<NvmlDriver> {
        let named = library.filter(|path| !path.as_os_str().is_empty());
        let candidates: Vec<PathBuf> = match named {
            Some(library) => vec![library.to_path_buf()],
            None => LIBRARIES.iter().map(PathBuf::from).collect(),
        };
        let mut first = None;
        for library in candidates {
            match Nvml::builder().lib_path(library.as_os_str()).init() {
                Ok(nvml) => {
                    let nvidia_smi = std::env::var_os(NVIDIA_SMI_VARIABLE)
                        .filter(|name| !name.is_empty())
                        .map_or_else(|| PathBuf::from("nvidia-smi"), PathBuf::from);
                    return Ok(NvmlDriver { nvml: Some(nvml), library, nvidia_smi });
                }
                // The first name is the one to complain about, unless a later one got further.
                Err(e @ NvmlError::LibloadingError(_)) => {
                    first.get_or_insert((library, e));
                }
                Err(e) => {
                    first = Some((library, e));
                    break;
                }
            }
        }
        let message = match first {
            Some((library, NvmlError::LibloadingError(e))) => {
                // The loader names the library in most of its messages, but not in all.
                let (name, why) = (library.display().to_string(), e.to_string());
                if why.starts_with(&name) {
                    format!("cannot load {why}")
                } else {
                    format!("cannot load {name}: {why}")
                }
            }
            Some((library, e)) => format!("{} does not start: {e}", library.display()),
            None => "there is no NVML here".to_string(),
        };
        Err(Error::new(ExitCode::NoDriver, message)
            .hint("run this on the GPU node, or name its libnvidia-ml with --nvml-lib PATH"))
    }

    fn lib(&self) -> Answer<&sys::NvmlLib> {
        let nvml = self.nvml.as_ref();
        nvml.map(Nvml::lib).ok_or(DriverError { call: "nvmlInit_v2", code: Code::UNINITIALIZED })
    }

    /// Starts NVML where a reset has left it stopped.
    fn start_again(&mut self) -> std::result::Result<(), NvmlError> {
        if self.nvml.is_some() {
            return Ok(());
        }
        let library = &self.library;
        let start = || Nvml::builder().lib_path(library.as_os_str()).init();
        let mut started = start();
        for pause in START_PAUSES {
            if started.is_ok() {
                break;
            }
            thread::sleep(pause);
            started = start();
        }
        self.nvml = Some(started?);
        Ok(())
    }

    fn device(&self, gpu: u32) -> Answer<SysDevice> {
        let mut device = std::ptr::null_mut();
        let f =
            symbol("nvmlDeviceGetHandleByIndex_v2", &self.lib()?.nvmlDeviceGetHandleByIndex_v2)?;
        check("nvmlDeviceGetHandleByIndex_v2", unsafe { f(gpu, &mut device) })?;
        Ok(device)
    }

    fn minor(&self, gpu: u32) -> Answer<u32> {
        const CALL: &str = "nvmlDeviceGetMinorNumber";
        let device = self.device(gpu)?;
        let f = symbol(CALL, &self.lib()?.nvmlDeviceGetMinorNumber)?;
        let mut minor = 0;
        check(CALL, unsafe { f(device, &mut minor) })?;
        Ok(minor)
    }

    fn text(
        &self,
        call: &'static str,
        fill: impl FnOnce(*mut c_char, c_uint) -> u32,
    ) -> Answer<String> {
        let mut buffer = [0 as c_char; 256];
        check(call, fill(buffer.as_mut_ptr(), 255))?;
        Ok(text_of(&buffer))
    }

    fn name_of(&self, device: SysDevice) -> Answer<String> {
        let f = symbol("nvmlDeviceGetName", &self.lib()?.nvmlDeviceGetName)?;
        self.text("nvmlDeviceGetName", |to, length| unsafe { f(device, to, length) })
    }

    fn uuid_of(&self, device: SysDevice) -> Answer<String> {
        let f = symbol("nvmlDeviceGetUUID", &self.lib()?.nvmlDeviceGetUUID)?;
        self.text("nvmlDeviceGetUUID", |to, length| unsafe { f(device, to, length) })
    }

    /// Whole memory. The newer form of the call leaves out what is reserved, so it comes second.
    fn memory_bytes(&self, device: SysDevice) -> Answer<u64> {
        const CALL: &str = "nvmlDeviceGetMemoryInfo";
        const NEW: &str = "nvmlDeviceGetMemoryInfo_v2";
        let lib = self.lib()?;
        if let Ok(f) = symbol(CALL, &lib.nvmlDeviceGetMemoryInfo) {
            let mut memory: sys::nvmlMemory_t = unsafe { std::mem::zeroed() };
            check(CALL, unsafe { f(device, &mut memory) })?;
            return Ok(memory.total);
        }
        let f = symbol(NEW, &lib.nvmlDeviceGetMemoryInfo_v2)?;
        let mut memory: sys::nvmlMemory_v2_t = unsafe { std::mem::zeroed() };
        memory.version = size_of::<sys::nvmlMemory_v2_t>() as c_uint | (2 << 24);
        check(NEW, unsafe { f(device, &mut memory) })?;
        Ok(memory.total)
    }

    /// The architecture, where it is one that can do MIG and this driver tells it.
    fn architecture_of(&self, device: SysDevice) -> Option<Architecture> {
        let f = symbol("", &self.lib().ok()?.nvmlDeviceGetArchitecture).ok()?;
        let mut architecture = 0;
        check("", unsafe { f(device, &mut architecture) }).ok()?;
        match architecture {
            sys::NVML_DEVICE_ARCH_AMPERE => Some(Architecture::Ampere),
            sys::NVML_DEVICE_ARCH_HOPPER => Some(Architecture::Hopper),
            sys::NVML_DEVICE_ARCH_BLACKWELL => Some(Architecture::Blackwell),
            _ => None,
        }
    }

    fn mig_device(&self, gpu: u32, index: u32) -> Answer<SysDevice> {
        const CALL: &str = "nvmlDeviceGetMigDeviceHandleByIndex";
        let device = self.device(gpu)?;
        let f = symbol(CALL, &self.lib()?.nvmlDeviceGetMigDeviceHandleByIndex)?;
        let mut handle = std::ptr::null_mut();
        check(CALL, unsafe { f(device, index, &mut handle) })?;
        Ok(handle)
    }

    /// The handles of the GPU instances of a profile.
    fn instance_handles(&self, gpu: u32, profile_id: u32) -> Answer<Vec<SysInstance>> {
        const CALL: &str = "nvmlDeviceGetGpuInstances";
        let device = self.device(gpu)?;
        let f = symbol(CALL, &self.lib()?.nvmlDeviceGetGpuInstances)?;
        let mut handles = [std::ptr::null_mut(); MOST];
        let mut count = MOST as c_uint;
        check(CALL, unsafe { f(device, profile_id, handles.as_mut_ptr(), &mut count) })?;
        Ok(handles[..MOST.min(count as usize)].to_vec())
    }

    fn instance_info(&self, handle: SysInstance) -> Answer<sys::nvmlGpuInstanceInfo_t> {
        let f = symbol("nvmlGpuInstanceGetInfo", &self.lib()?.nvmlGpuInstanceGetInfo)?;
        let mut info: sys::nvmlGpuInstanceInfo_t = unsafe { std::mem::zeroed() };
        check("nvmlGpuInstanceGetInfo", unsafe { f(handle, &mut info) })?;
        Ok(info)
    }

    fn instance_handle(&self, instance: InstanceId) -> Answer<SysInstance> {
        for handle in self.instance_handles(instance.gpu, instance.profile_id)? {
            let info = self.instance_info(handle)?;
            if (info.id, info.placement.start) == (instance.id, instance.start) {
                return Ok(handle);
            }
        }
        Err(DriverError { call: "nvmlDeviceGetGpuInstances", code: Code::NOT_FOUND })
    }

    /// The compute instance profiles of a GPU instance: (id, slices).
    fn compute_profiles(&self, instance: SysInstance) -> Answer<Vec<(u32, u32)>> {
        const CALL: &str = "nvmlGpuInstanceGetComputeInstanceProfileInfo";
        let f = symbol(CALL, &self.lib()?.nvmlGpuInstanceGetComputeInstanceProfileInfo)?;
        let mut profiles: Vec<(u32, u32)> = Vec::new();
        for index in 0..sys::NVML_COMPUTE_INSTANCE_PROFILE_COUNT {
            let mut info: sys::nvmlComputeInstanceProfileInfo_t = unsafe { std::mem::zeroed() };
            let shared = sys::NVML_COMPUTE_INSTANCE_ENGINE_PROFILE_SHARED;
            let answer = check(CALL, unsafe { f(instance, index, shared, &mut info) });
            match answer {
                Ok(()) if profiles.iter().all(|(id, _)| *id != info.id) => {
                    profiles.push((info.id, info.sliceCount));
                }
                Ok(()) => {}
                Err(e) if not_offered(e.code) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(profiles)
    }

    /// The compute instances of a GPU instance with their handles. Where the driver does not tell
    /// their ids, they are numbered in its order, and their places are unknown.
    fn computes(&self, instance: SysInstance) -> Answer<Vec<(SysCompute, DriverCompute)>> {
        const CALL: &str = "nvmlGpuInstanceGetComputeInstances";
        let f = symbol(CALL, &self.lib()?.nvmlGpuInstanceGetComputeInstances)?;
        let mut found: Vec<(SysCompute, DriverCompute)> = Vec::new();
        for (profile_id, slices) in self.compute_profiles(instance)? {
            let mut handles = [std::ptr::null_mut(); MOST];
            let mut count = MOST as c_uint;
            match check(CALL, unsafe { f(instance, profile_id, handles.as_mut_ptr(), &mut count) })
            {
                Ok(()) => {}
                Err(e) if not_offered(e.code) => continue,
                Err(e) => return Err(e),
            }
            for &handle in &handles[..MOST.min(count as usize)] {
                let compute = match self.compute_info(handle) {
                    Ok(info) => {
                        // The older form of the call knows no places, and leaves zeros.
                        let start = (info.placement.size > 0).then_some(info.placement.start);
                        DriverCompute { id: info.id, slices, start }
                    }
                    Err(e) if e.code == Code::FUNCTION_NOT_FOUND => {
                        let id = u32::try_from(found.len()).unwrap_or(0);
                        DriverCompute { id, slices, start: None }
                    }
                    Err(e) => return Err(e),
                };
                found.push((handle, compute));
            }
        }
        Ok(found)
    }

    fn compute_info(&self, handle: SysCompute) -> Answer<sys::nvmlComputeInstanceInfo_t> {
        const CALL: &str = "nvmlComputeInstanceGetInfo_v2";
        const OLD: &str = "nvmlComputeInstanceGetInfo";
        let lib = self.lib()?;
        let mut info: sys::nvmlComputeInstanceInfo_t = unsafe { std::mem::zeroed() };
        match symbol(CALL, &lib.nvmlComputeInstanceGetInfo_v2) {
            Ok(f) => check(CALL, unsafe { f(handle, &mut info) })?,
            Err(_) => {
                let name = b"nvmlComputeInstanceGetInfo\0";
                let f = symbol(OLD, &unsafe { lib.__library.get::<OldInfo>(name) }.map(|f| *f))?;
                check(OLD, unsafe { f(handle, &mut info) })?;
            }
        }
        Ok(info)
    }

    /// Creates a compute instance at a place.
    fn create_compute_at(
        &self,
        instance: SysInstance,
        profile_id: u32,
        placement: sys::nvmlComputeInstancePlacement_t,
    ) -> Answer<()> {
        const CALL: &str = "nvmlGpuInstanceCreateComputeInstanceWithPlacement";
        let f = symbol(CALL, &self.lib()?.nvmlGpuInstanceCreateComputeInstanceWithPlacement)?;
        let mut compute = std::ptr::null_mut();
        check(CALL, unsafe { f(instance, profile_id, &placement, &mut compute) })
    }

    /// One profile by its list position; `None` where the GPU does not offer it.
    fn profile(&self, device: SysDevice, index: u32) -> Answer<Option<DriverProfile>> {
        const NEW: &str = "nvmlDeviceGetGpuInstanceProfileInfoV";
        const OLD: &str = "nvmlDeviceGetGpuInstanceProfileInfo";
        let lib = self.lib()?;
        if let Ok(f) = symbol(NEW, &lib.nvmlDeviceGetGpuInstanceProfileInfoV) {
            let mut info: sys::nvmlGpuInstanceProfileInfo_v2_t = unsafe { std::mem::zeroed() };
            let size = size_of::<sys::nvmlGpuInstanceProfileInfo_v2_t>();
            info.version = size as c_uint | (2 << 24);
            match check(NEW, unsafe { f(device, index, &mut info) }) {
                Ok(()) => {
                    return Ok(Some(DriverProfile {
                        index,
                        id: info.id,
                        name: Some(text_of(&info.name)).filter(|n| !n.is_empty()),
                        slices: info.sliceCount,
                        max_instances: info.instanceCount,
                        memory_mib: info.memorySizeMB,
                        sm_count: info.multiprocessorCount,
                    }));
                }
                Err(e) if not_offered(e.code) => return Ok(None),
                Err(e) if matches!(e.code, Code::VERSION_MISMATCH | Code::FUNCTION_NOT_FOUND) => {}
                Err(e) => return Err(e),
            }
        }
        let f = symbol(OLD, &lib.nvmlDeviceGetGpuInstanceProfileInfo)?;
        let mut info: sys::nvmlGpuInstanceProfileInfo_t = unsafe { std::mem::zeroed() };
        match check(OLD, unsafe { f(device, index, &mut info) }) {
            Ok(()) => Ok(Some(DriverProfile {
                index,
                id: info.id,
                name: None,
                slices: info.sliceCount,
                max_instances: info.instanceCount,
                memory_mib: info.memorySizeMB,
                sm_count: info.multiprocessorCount,
            })),
            Err(e) if not_offered(e.code) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The compute processes of a GPU or a MIG device, newest form of the call first.
    fn processes_of(&self, device: SysDevice) -> Answer<Vec<DriverProcess>> {
        type WithPlace =
            unsafe extern "C" fn(SysDevice, *mut c_uint, *mut sys::nvmlProcessInfo_t) -> u32;
        const NEW: &str = "nvmlDeviceGetComputeRunningProcesses_v3";
        const OLD: &str = "nvmlDeviceGetComputeRunningProcesses_v2";
        let lib = self.lib()?;
        let (call, f): (_, WithPlace) =
            match symbol(NEW, &lib.nvmlDeviceGetComputeRunningProcesses_v3) {
                Ok(f) => (NEW, f),
                // The second form has the same struct; the first one does not know instances.
                Err(_) => {
                    let name = b"nvmlDeviceGetComputeRunningProcesses_v2\0";
                    let f = unsafe { lib.__library.get::<WithPlace>(name) };
                    (OLD, symbol(OLD, &f.map(|f| *f))?)
                }
            };
        let mut room = 64;
        loop {
            let empty: sys::nvmlProcessInfo_t = unsafe { std::mem::zeroed() };
            let mut buffer = vec![empty; room];
            let mut count = room as c_uint;
            match check(call, unsafe { f(device, &mut count, buffer.as_mut_ptr()) }) {
                Ok(()) => {
                    buffer.truncate(count as usize);
                    return Ok(buffer.iter().map(process_of).collect());
                }
                // The list may have grown since it was counted; ask for twice the room.
                Err(e) if e.code == Code::INSUFFICIENT_SIZE && room < 1 << 20 => {
                    room = 2 * room.max(count as usize);
                }
                Err(e) => return Err(e),
            }
        }
    }
}

impl MigDriver for NvmlDriver {
    fn version(&mut self) -> Option<String> {
        let f = symbol("", &self.lib().ok()?.nvmlSystemGetDriverVersion).ok()?;
        self.text("nvmlSystemGetDriverVersion", |to, length| unsafe { f(to, length) }).ok()
    }

    fn lacks(&mut self) -> Vec<&'static str> {
        // Where NVML does not start, the first call says so.
        self.lib().map(needed::missing).unwrap_or_default()
    }

    fn gpu_count(&mut self) -> Answer<u32> {
        // Every reading of a node begins here. Where it fails, the next line says so.
        let _ = self.start_again();
        let f = symbol("nvmlDeviceGetCount_v2", &self.lib()?.nvmlDeviceGetCount_v2)?;
        let mut count = 0;
        check("nvmlDeviceGetCount_v2", unsafe { f(&mut count) })?;
        Ok(count)
    }

    fn identity(&mut self, gpu: u32) -> Answer<Identity> {
        let device = self.device(gpu)?;
        let lib = self.lib()?;
        let mut pci = None;
        if let Ok(f) = symbol("nvmlDeviceGetPciInfo_v3", &lib.nvmlDeviceGetPciInfo_v3) {
            let mut info: sys::nvmlPciInfo_t = unsafe { std::mem::zeroed() };
            match check("nvmlDeviceGetPciInfo_v3", unsafe { f(device, &mut info) }) {
                Ok(()) => pci = Some(info),
                Err(e) if e.code.is_absence() => {}
                Err(e) => return Err(e),
            }
        }
        Ok(Identity {
            uuid: self.uuid_of(device)?,
            product: self.name_of(device)?,
            pci_id: pci.map(|p| p.pciDeviceId),
            subsystem_id: pci.map(|p| p.pciSubSystemId),
            pci_address: pci.map(|p| text_of(&p.busId)),
            memory_mib: self.memory_bytes(device)? >> 20,
            architecture: self.architecture_of(device),
        })
    }

    fn mode(&mut self, gpu: u32) -> Answer<Option<MigMode>> {
        let device = self.device(gpu)?;
        let f = symbol("nvmlDeviceGetMigMode", &self.lib()?.nvmlDeviceGetMigMode)?;
        let (mut current, mut pending) = (0, 0);
        match check("nvmlDeviceGetMigMode", unsafe { f(device, &mut current, &mut pending) }) {
            Ok(()) => Ok(Some(MigMode { current: current == 1, pending: pending == 1 })),
            Err(e) if e.code == Code::NOT_SUPPORTED => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn profiles(&mut self, gpu: u32) -> Answer<Vec<DriverProfile>> {
        let device = self.device(gpu)?;
        let mut profiles: Vec<DriverProfile> = Vec::new();
        for index in 0..sys::NVML_GPU_INSTANCE_PROFILE_COUNT {
            if let Some(profile) = self.profile(device, index)?
                && profiles.iter().all(|p| p.id != profile.id)
            {
                profiles.push(profile);
            }
        }
        Ok(profiles)
    }

    fn placements(&mut self, gpu: u32, profile_id: u32) -> Answer<Vec<Span>> {
        type Old = unsafe extern "C" fn(
            SysDevice,
            c_uint,
            *mut sys::nvmlGpuInstancePlacement_t,
            *mut c_uint,
        ) -> u32;
        const NEW: &str = "nvmlDeviceGetGpuInstancePossiblePlacements_v2";
        const OLD: &str = "nvmlDeviceGetGpuInstancePossiblePlacements";
        let device = self.device(gpu)?;
        let lib = self.lib()?;
        let (call, f): (_, Old) =
            match symbol(NEW, &lib.nvmlDeviceGetGpuInstancePossiblePlacements_v2) {
                Ok(f) => (NEW, f),
                Err(_) => {
                    let name = b"nvmlDeviceGetGpuInstancePossiblePlacements\0";
                    let f = unsafe { lib.__library.get::<Old>(name) };
                    (OLD, symbol(OLD, &f.map(|f| *f))?)
                }
            };
        let mut buffer = [sys::nvmlGpuInstancePlacement_t { start: 0, size: 0 }; MOST];
        let mut count = MOST as c_uint;
        check(call, unsafe { f(device, profile_id, buffer.as_mut_ptr(), &mut count) })?;
        let found = &buffer[..MOST.min(count as usize)];
        Ok(found.iter().map(|p| Span { start: p.start, size: p.size }).collect())
    }

    fn uuid(&mut self, gpu: u32) -> Answer<String> {
        self.uuid_of(self.device(gpu)?)
    }

    fn device_file(&mut self, gpu: u32) -> Option<PathBuf> {
        self.minor(gpu).ok().map(|minor| PathBuf::from(format!("/dev/nvidia{minor}")))
    }

    fn instances(&mut self, gpu: u32, profile_id: u32) -> Answer<Vec<DriverInstance>> {
        let mut instances = Vec::new();
        for handle in self.instance_handles(gpu, profile_id)? {
            let info = self.instance_info(handle)?;
            let span = Span { start: info.placement.start, size: info.placement.size };
            instances.push(DriverInstance { id: info.id, span });
        }
        Ok(instances)
    }

    fn compute_instances(&mut self, instance: InstanceId) -> Answer<Vec<DriverCompute>> {
        let handle = self.instance_handle(instance)?;
        Ok(self.computes(handle)?.into_iter().map(|(_, compute)| compute).collect())
    }

    fn mig_devices(&mut self, gpu: u32) -> Answer<Vec<DriverMigDevice>> {
        const COUNT: &str = "nvmlDeviceGetMaxMigDeviceCount";
        let device = self.device(gpu)?;
        let f = symbol(COUNT, &self.lib()?.nvmlDeviceGetMaxMigDeviceCount)?;
        let mut most = 0;
        check(COUNT, unsafe { f(device, &mut most) })?;
        let lib = self.lib()?;
        let instance_id = symbol("nvmlDeviceGetGpuInstanceId", &lib.nvmlDeviceGetGpuInstanceId)?;
        let compute_id =
            symbol("nvmlDeviceGetComputeInstanceId", &lib.nvmlDeviceGetComputeInstanceId)?;
        let mut devices = Vec::new();
        for index in 0..most {
            let handle = match self.mig_device(gpu, index) {
                Ok(handle) => handle,
                Err(e) if not_offered(e.code) || e.code == Code::NOT_FOUND => continue,
                Err(e) => return Err(e),
            };
            let (mut instance, mut compute) = (0, 0);
            check("nvmlDeviceGetGpuInstanceId", unsafe { instance_id(handle, &mut instance) })?;
            check("nvmlDeviceGetComputeInstanceId", unsafe { compute_id(handle, &mut compute) })?;
            devices.push(DriverMigDevice {
                index,
                instance,
                compute,
                uuid: self.uuid_of(handle).ok(),
                name: self.name_of(handle).ok(),
            });
        }
        Ok(devices)
    }

    fn processes(&mut self, gpu: u32, devices: &[DriverMigDevice]) -> Answer<Vec<DriverProcess>> {
        let mut all = self.processes_of(self.device(gpu)?);
        if let Err(e) = &all
            && !e.code.is_absence()
            && e.code != Code::NO_PERMISSION
        {
            return all;
        }
        // Some drivers list the processes of instances only on the MIG devices.
        for device in devices {
            let handle = self.mig_device(gpu, device.index)?;
            match self.processes_of(handle) {
                Ok(processes) => {
                    let place = Some((device.instance, device.compute));
                    let here = processes.into_iter().map(|p| DriverProcess { place, ..p });
                    match &mut all {
                        Ok(all) => all.extend(here),
                        Err(_) => all = Ok(here.collect()),
                    }
                }
                Err(e) if e.code.is_absence() || e.code == Code::NO_PERMISSION => {}
                Err(e) => return Err(e),
            }
        }
        let mut all = all?;
        all.sort();
        all.dedup_by_key(|p| (p.place, p.pid));
        // One that is known to be in an instance is not on the whole GPU beside.
        let inside: Vec<u32> = all.iter().filter(|p| p.place.is_some()).map(|p| p.pid).collect();
        all.retain(|p| p.place.is_some() || !inside.contains(&p.pid));
        Ok(all)
    }

    fn process_name(&mut self, pid: u32) -> Option<String> {
        let f = symbol("", &self.lib().ok()?.nvmlSystemGetProcessName).ok()?;
        let name =
            self.text("nvmlSystemGetProcessName", |to, length| unsafe { f(pid, to, length) });
        name.ok().filter(|name| !name.is_empty())
    }

    fn set_mode(&mut self, gpu: u32, on: bool) -> Answer<Code> {
        let device = self.device(gpu)?;
        let f = symbol("nvmlDeviceSetMigMode", &self.lib()?.nvmlDeviceSetMigMode)?;
        let mut activation = 0;
        check("nvmlDeviceSetMigMode", unsafe { f(device, on.into(), &mut activation) })?;
        Ok(Code(activation))
    }

    fn create_instance(&mut self, gpu: u32, profile_id: u32, span: Span) -> Answer<u32> {
        const CALL: &str = "nvmlDeviceCreateGpuInstanceWithPlacement";
        let device = self.device(gpu)?;
        let f = symbol(CALL, &self.lib()?.nvmlDeviceCreateGpuInstanceWithPlacement)?;
        let placement = sys::nvmlGpuInstancePlacement_t { start: span.start, size: span.size };
        let mut handle = std::ptr::null_mut();
        check(CALL, unsafe { f(device, profile_id, &placement, &mut handle) })?;
        Ok(self.instance_info(handle)?.id)
    }

    fn destroy_instance(&mut self, instance: InstanceId) -> Answer<()> {
        let handle = self.instance_handle(instance)?;
        let f = symbol("nvmlGpuInstanceDestroy", &self.lib()?.nvmlGpuInstanceDestroy)?;
        check("nvmlGpuInstanceDestroy", unsafe { f(handle) })
    }

    fn create_compute(
        &mut self,
        instance: InstanceId,
        slices: u32,
        start: Option<u32>,
    ) -> Answer<()> {
        const CALL: &str = "nvmlGpuInstanceCreateComputeInstance";
        const OTHER_PLACES: [Code; 2] = [Code::INVALID_ARGUMENT, Code::INSUFFICIENT_RESOURCES];
        let handle = self.instance_handle(instance)?;
        let f = symbol(CALL, &self.lib()?.nvmlGpuInstanceCreateComputeInstance)?;
        let profiles = self.compute_profiles(handle)?;
        let Some((id, _)) = profiles.into_iter().find(|(_, s)| *s == slices) else {
            return Err(DriverError { call: CALL, code: Code::NOT_SUPPORTED });
        };
        if let Some(start) = start {
            let placement = sys::nvmlComputeInstancePlacement_t { start, size: slices };
            match self.create_compute_at(handle, id, placement) {
                // A driver that lacks the call, or has other places than the tables say.
                Err(e) if e.code.is_absence() || OTHER_PLACES.contains(&e.code) => {}
                done => return done,
            }
        }
        let mut compute = std::ptr::null_mut();
        check(CALL, unsafe { f(handle, id, &mut compute) })
    }

    fn destroy_compute(&mut self, instance: InstanceId, compute: u32) -> Answer<()> {
        const CALL: &str = "nvmlComputeInstanceDestroy";
        let handle = self.instance_handle(instance)?;
        let f = symbol(CALL, &self.lib()?.nvmlComputeInstanceDestroy)?;
        let found = self.computes(handle)?.into_iter().find(|(_, c)| c.id == compute);
        let Some((handle, _)) = found else {
            return Err(DriverError { call: CALL, code: Code::NOT_FOUND });
        };
        check(CALL, unsafe { f(handle) })
    }

    fn ready_to_reset(&mut self, gpu: u32) -> std::result::Result<(), String> {
        let program = &self.nvidia_smi;
        let found = if program.components().count() > 1 {
            is_executable(program)
        } else {
            let folders = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&folders).any(|folder| is_executable(&folder.join(program)))
        };
        if !found {
            return Err(format!(
                "a reset needs {}, which is not here; {NVIDIA_SMI_VARIABLE} names another one",
                program.display()
            ));
        }
        match holders::of_device(self.device_file(gpu).as_deref()) {
            holders if holders.is_empty() => Ok(()),
            holders => Err(format!("it is held open by {}", holders.join("; "))),
        }
    }

    fn reset(&mut self, gpu: u32) -> std::result::Result<(), String> {
        // By its UUID, since nvidia-smi may count the GPUs otherwise than we do.
        let uuid = self.uuid(gpu).map_err(|e| e.to_string())?;
        // A client that holds the GPU blocks its reset, and NVML makes us one.
        self.nvml = None;
        let mut command = Command::new(&self.nvidia_smi);
        command.args(["--gpu-reset", "-i", &uuid]);
        let output = program::apart_from_the_terminal(&mut command).output();
        // Whether the GPU was reset, only the tool says. Where NVML does not start, the next call does.
        let _ = self.start_again();
        let output =
            output.map_err(|e| format!("{} cannot be run: {e}", self.nvidia_smi.display()))?;
        if output.status.success() { Ok(()) } else { Err(program::said(&output)) }
    }
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(file).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// A function of the library, or the error that this driver does not have it.
fn symbol<F: Copy, E>(call: &'static str, symbol: &std::result::Result<F, E>) -> Answer<F> {
    symbol.as_ref().map(|f| *f).map_err(|_| DriverError { call, code: Code::FUNCTION_NOT_FOUND })
}

fn check(call: &'static str, code: u32) -> Answer<()> {
    if code == 0 { Ok(()) } else { Err(DriverError { call, code: Code(code) }) }
}

/// How NVML says that a profile or position is not there.
fn not_offered(code: Code) -> bool {
    matches!(code, Code::NOT_SUPPORTED | Code::INVALID_ARGUMENT)
}

fn process_of(info: &sys::nvmlProcessInfo_t) -> DriverProcess {
    let inside = info.gpuInstanceId != NONE_32;
    let compute = if info.computeInstanceId == NONE_32 { 0 } else { info.computeInstanceId };
    DriverProcess {
        place: inside.then_some((info.gpuInstanceId, compute)),
        pid: info.pid,
        used_mib: (info.usedGpuMemory != NONE_64).then_some(info.usedGpuMemory >> 20),
    }
}

/// The text in a C buffer, up to its zero.
fn text_of(buffer: &[c_char]) -> String {
    let bytes: Vec<u8> = buffer.iter().map(|c| *c as u8).collect();
    CStr::from_bytes_until_nul(&bytes)
        .map(|text| text.to_string_lossy().trim().to_string())
        .unwrap_or_default()
}
