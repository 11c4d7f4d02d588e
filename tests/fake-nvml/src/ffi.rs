//! The C functions. A handle carries no pointer: it is the GPU's index and a serial number, so one
//! to something that is gone is recognised.

use std::ffi::{CStr, c_char, c_uint, c_ulonglong};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nvml_wrapper_sys::bindings as nvml;

use crate::node::{Answer, Fault, Node, Profile, code, compute_profiles};

type Device = nvml::nvmlDevice_t;
type GpuInstance = nvml::nvmlGpuInstance_t;
type ComputeInstance = nvml::nvmlComputeInstance_t;

/// What a process has of the library.
struct Session {
    node: Node,
    file: PathBuf,
    /// Which version of the file the node was read from or written to.
    version: Option<Version>,
    users: u32,
    /// Calls since init: all, those that change, and by name.
    calls: u64,
    changes: u64,
    by_name: std::collections::BTreeMap<&'static str, u64>,
}

/// The file is replaced at each change, so its inode and time tell one version from another.
type Version = (u64, std::time::SystemTime);

fn version(file: &Path) -> Option<Version> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(file).ok()?;
    Some((metadata.ino(), metadata.modified().ok()?))
}

static SESSION: Mutex<Option<Session>> = Mutex::new(None);

fn session() -> MutexGuard<'static, Option<Session>> {
    SESSION.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The file of the node: named by the environment, else beside this very library.
fn file() -> PathBuf {
    if let Some(file) = std::env::var_os("FAKE_NVML_STATE") {
        return file.into();
    }
    let mut info: libc::Dl_info = unsafe { std::mem::zeroed() };
    let here = nvmlInit_v2 as *const () as *const libc::c_void;
    let library = unsafe {
        if libc::dladdr(here, &mut info) == 0 || info.dli_fname.is_null() {
            return PathBuf::from("fake-nvml.json");
        }
        CStr::from_ptr(info.dli_fname).to_string_lossy().into_owned()
    };
    PathBuf::from(library).with_file_name("fake-nvml.json")
}

fn open() -> Answer<Session> {
    let file = file();
    let node = if file.exists() {
        Node::load(&file)
    } else {
        let gpus = std::env::var("FAKE_NVML_GPUS").unwrap_or_else(|_| "2xa100-80gb".to_string());
        Node::numbered(&gpus, 0).and_then(|node| node.save(&file).map(|()| node))
    };
    let node = node.map_err(|message| {
        eprintln!("fake-nvml: {message}");
        code::DRIVER_NOT_LOADED
    })?;
    let version = version(&file);
    Ok(Session { node, file, version, users: 0, calls: 0, changes: 0, by_name: Default::default() })
}

fn kill() -> ! {
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    // The signal may arrive a moment later.
    loop {
        std::thread::park();
    }
}

/// Held while a process changes the node, so that two do not undo each other's changes.
fn turn(file: &Path) -> Option<std::fs::File> {
    let lock = std::fs::File::create(file.with_extension("turn")).ok()?;
    lock.lock().ok()?;
    Some(lock)
}

fn keep(session: &mut Session) {
    session.node.save(&session.file).expect("the fake node's file can be written");
    session.version = version(&session.file);
}

/// What a fault does beside the call's own failure.
fn happen(session: &mut Session, fault: &Fault) {
    if let Some(gpu) = fault.lose.and_then(|gpu| session.node.gpus.get_mut(gpu)) {
        gpu.lost = true;
        keep(session);
    }
    if let Some(signal) = fault.signal {
        unsafe { libc::raise(signal) };
    }
}

/// One NVML call: counts it, lets it go wrong if it shall, logs it, keeps what it changed.
fn call(
    name: &'static str,
    change: bool,
    work: impl FnOnce(&mut Node) -> Answer<()>,
) -> nvml::nvmlReturn_t {
    let mut guard = session();
    let Some(session) = guard.as_mut() else {
        return code::UNINITIALIZED;
    };
    // Other processes, and tests, change the node too.
    let _turn = change.then(|| turn(&session.file));
    let now = version(&session.file);
    if now != session.version
        && let Ok(node) = Node::load(&session.file)
    {
        (session.node, session.version) = (node, now);
    }
    session.calls += 1;
    session.changes += u64::from(change);
    let of_name = session.by_name.entry(name).or_default();
    *of_name += 1;
    let (calls, changes, of_name) = (session.calls, session.changes, *of_name);
    let fault = session
        .node
        .faults
        .iter()
        .find(|fault| {
            let n = match fault.on.as_str() {
                "any" => calls,
                "change" if change => changes,
                other if other == name => of_name,
                _ => return false,
            };
            n == fault.nth || fault.sticky && n > fault.nth
        })
        .cloned();
    let harmless = |f: &Fault| f.signal.is_some() || f.lose.is_some();
    let early = fault.as_ref().is_some_and(|f| !f.late);
    let passes = fault.as_ref().is_none_or(harmless);
    if early && let Some(fault) = &fault {
        happen(session, fault);
    }
    let result = if early && !passes {
        Ok(())
    } else {
        let result = work(&mut session.node);
        if change {
            keep(session);
        }
        result
    };
    if !early && let Some(fault) = &fault {
        happen(session, fault);
    }
    let result = match &fault {
        Some(fault) if !passes => fault.code.unwrap_or_else(|| kill()),
        _ => result.err().unwrap_or(0),
    };
    if let Some(log) = &session.node.log {
        let kind = if change { "change" } else { "read" };
        let line = format!("{name} {kind} {result}\n");
        let opened = std::fs::OpenOptions::new().create(true).append(true).open(log);
        let _ = opened.and_then(|mut log| log.write_all(line.as_bytes()));
    }
    result
}

const SERIAL_BITS: u32 = 48;

fn handle<T>(gpu: usize, serial: u64) -> *mut T {
    (((gpu as u64 + 1) << SERIAL_BITS) | serial) as usize as *mut T
}

/// The GPU and the serial of a handle; serial 0 is the GPU itself.
fn target<T>(handle: *mut T) -> (usize, u64) {
    let value = handle as usize as u64;
    ((value >> SERIAL_BITS).wrapping_sub(1) as usize, value & ((1 << SERIAL_BITS) - 1))
}

/// The GPU of a handle that means a whole one.
fn whole(node: &Node, device: Device) -> Answer<usize> {
    let (gpu, serial) = target(device);
    node.reach(gpu)?;
    if serial == 0 { Ok(gpu) } else { Err(code::INVALID_ARGUMENT) }
}

unsafe fn put<T>(to: *mut T, value: T) -> Answer<()> {
    if to.is_null() {
        return Err(code::INVALID_ARGUMENT);
    }
    unsafe { to.write(value) };
    Ok(())
}

unsafe fn put_text(to: *mut c_char, length: usize, text: &str) -> Answer<()> {
    if to.is_null() {
        return Err(code::INVALID_ARGUMENT);
    }
    if text.len() + 1 > length {
        return Err(code::INSUFFICIENT_SIZE);
    }
    for (i, byte) in text.bytes().chain([0]).enumerate() {
        unsafe { to.add(i).write(byte as c_char) };
    }
    Ok(())
}

fn text_field<const N: usize>(text: &str) -> [c_char; N] {
    let mut field = [0; N];
    for (to, byte) in field.iter_mut().take(N - 1).zip(text.bytes()) {
        *to = byte as c_char;
    }
    field
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlInit_v2() -> nvml::nvmlReturn_t {
    let mut guard = session();
    if guard.as_ref().is_none_or(|s| s.users == 0) {
        match open() {
            Ok(session) => *guard = Some(session),
            Err(code) => return code,
        }
    }
    if let Some(session) = guard.as_mut() {
        session.users += 1;
    }
    drop(guard);
    call("nvmlInit_v2", false, |_| Ok(()))
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlShutdown() -> nvml::nvmlReturn_t {
    let result = call("nvmlShutdown", false, |_| Ok(()));
    if let Some(session) = session().as_mut() {
        session.users = session.users.saturating_sub(1);
    }
    result
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlSystemGetDriverVersion(
    to: *mut c_char,
    length: c_uint,
) -> nvml::nvmlReturn_t {
    call("nvmlSystemGetDriverVersion", false, |_| unsafe {
        put_text(to, length as usize, "580.95.05")
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlSystemGetProcessName(
    pid: c_uint,
    to: *mut c_char,
    length: c_uint,
) -> nvml::nvmlReturn_t {
    call("nvmlSystemGetProcessName", false, |node| {
        let processes = node.gpus.iter().flat_map(|gpu| {
            let inside = gpu.instances.iter().flat_map(|i| &i.compute).flat_map(|c| &c.processes);
            gpu.processes.iter().chain(inside)
        });
        let name = processes.filter(|p| p.pid == pid).find_map(|p| p.name.clone());
        unsafe { put_text(to, length as usize, &name.ok_or(code::NOT_FOUND)?) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetCount_v2(to: *mut c_uint) -> nvml::nvmlReturn_t {
    call("nvmlDeviceGetCount_v2", false, |node| unsafe { put(to, node.gpus.len() as c_uint) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetHandleByIndex_v2(
    index: c_uint,
    to: *mut Device,
) -> nvml::nvmlReturn_t {
    call("nvmlDeviceGetHandleByIndex_v2", false, |node| {
        node.reach(index as usize)?;
        unsafe { put(to, handle(index as usize, 0)) }
    })
}

/// No device file of any machine has this number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMinorNumber(
    device: Device,
    to: *mut c_uint,
) -> nvml::nvmlReturn_t {
    call("nvmlDeviceGetMinorNumber", false, |node| {
        let gpu = whole(node, device)?;
        unsafe { put(to, 1000 + gpu as c_uint) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetName(
    device: Device,
    to: *mut c_char,
    length: c_uint,
) -> nvml::nvmlReturn_t {
    call("nvmlDeviceGetName", false, |node| {
        let (gpu, serial) = target(device);
        let gpu = node.reach(gpu)?;
        let instance = gpu.instances.iter().find(|i| i.compute.iter().any(|c| c.serial == serial));
        let name = match (serial, instance) {
            (0, _) => gpu.product.clone(),
            (_, None) => return Err(code::INVALID_ARGUMENT),
            (_, Some(instance)) => {
                let all = gpu.profile(&instance.profile)?.compute;
                let slices =
                    instance.compute.iter().find(|c| c.serial == serial).map_or(0, |c| c.slices);
                let part = if slices == all { String::new() } else { format!("{slices}c.") };
                format!("{} MIG {part}{}", gpu.product, instance.profile)
            }
        };
        unsafe { put_text(to, length as usize, &name) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetUUID(
    device: Device,
    to: *mut c_char,
    length: c_uint,
) -> nvml::nvmlReturn_t {
    call("nvmlDeviceGetUUID", false, |node| {
        let (gpu, serial) = target(device);
        let gpu = node.reach(gpu)?;
        let inside = gpu.instances.iter().flat_map(|i| &i.compute).find(|c| c.serial == serial);
        let uuid = match (serial, inside) {
            (0, _) => &gpu.uuid,
            (_, Some(compute)) => &compute.uuid,
            (_, None) => return Err(code::INVALID_ARGUMENT),
        };
        unsafe { put_text(to, length as usize, uuid) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetPciInfo_v3(
    device: Device,
    to: *mut nvml::nvmlPciInfo_t,
) -> nvml::nvmlReturn_t {
    call("nvmlDeviceGetPciInfo_v3", false, |node| {
        let gpu = &node.gpus[whole(node, device)?];
        let info = nvml::nvmlPciInfo_t {
            busIdLegacy: text_field(&format!("0000:{:02X}:00.0", gpu.bus)),
            domain: 0,
            bus: gpu.bus,
            device: 0,
            pciDeviceId: gpu.pci_id,
            pciSubSystemId: gpu.subsystem_id,
            busId: text_field(&format!("00000000:{:02X}:00.0", gpu.bus)),
        };
        unsafe { put(to, info) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetArchitecture(
    device: Device,
    to: *mut nvml::nvmlDeviceArchitecture_t,
) -> nvml::nvmlReturn_t {
    call("nvmlDeviceGetArchitecture", false, |node| {
        let architecture = node.gpus[whole(node, device)?].architecture;
        unsafe { put(to, architecture) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMemoryInfo(
    device: Device,
    to: *mut nvml::nvmlMemory_t,
) -> nvml::nvmlReturn_t {
    call("nvmlDeviceGetMemoryInfo", false, |node| {
        let total = node.gpus[whole(node, device)?].memory_mib << 20;
        unsafe { put(to, nvml::nvmlMemory_t { total, free: total, used: 0 }) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMigMode(
    device: Device,
    current: *mut c_uint,
    pending: *mut c_uint,
) -> nvml::nvmlReturn_t {
    call("nvmlDeviceGetMigMode", false, |node| {
        let gpu = &node.gpus[whole(node, device)?];
        if gpu.profiles.is_empty() {
            return Err(code::NOT_SUPPORTED);
        }
        unsafe {
            put(current, gpu.mode.into())?;
            put(pending, gpu.pending.into())
        }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceSetMigMode(
    device: Device,
    mode: c_uint,
    status: *mut nvml::nvmlReturn_t,
) -> nvml::nvmlReturn_t {
    call("nvmlDeviceSetMigMode", true, |node| {
        let gpu = whole(node, device)?;
        let activation = node.set_mode(gpu, mode == 1)?;
        unsafe { put(status, activation) }
    })
}

/// The profile at a list position, if the driver tells of it in the present mode.
fn profile_at(node: &Node, device: Device, index: c_uint) -> Answer<&Profile> {
    let gpu = &node.gpus[whole(node, device)?];
    if !gpu.mode && !node.lists_profiles_with_mig_off {
        return Err(code::NOT_SUPPORTED);
    }
    if index >= nvml::NVML_GPU_INSTANCE_PROFILE_COUNT {
        return Err(code::INVALID_ARGUMENT);
    }
    gpu.profiles.iter().find(|p| p.index == index).ok_or(code::NOT_SUPPORTED)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetGpuInstanceProfileInfo(
    device: Device,
    index: c_uint,
    to: *mut nvml::nvmlGpuInstanceProfileInfo_t,
) -> nvml::nvmlReturn_t {
    call("nvmlDeviceGetGpuInstanceProfileInfo", false, |node| {
        let profile = profile_at(node, device, index)?;
        let info = nvml::nvmlGpuInstanceProfileInfo_t {
            id: profile.id,
            isP2pSupported: 0,
            sliceCount: profile.compute,
            instanceCount: profile.max,
            multiprocessorCount: 14 * profile.compute,
            copyEngineCount: profile.compute,
            decoderCount: 0,
            encoderCount: 0,
            jpegCount: 0,
            ofaCount: 0,
            memorySizeMB: profile.memory_mib,
        };
        unsafe { put(to, info) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetGpuInstanceProfileInfoV(
    device: Device,
    index: c_uint,
    to: *mut nvml::nvmlGpuInstanceProfileInfo_v2_t,
) -> nvml::nvmlReturn_t {
    const VERSION: c_uint =
        size_of::<nvml::nvmlGpuInstanceProfileInfo_v2_t>() as c_uint | (2 << 24);
    call("nvmlDeviceGetGpuInstanceProfileInfoV", false, |node| {
        let old = "nvmlDeviceGetGpuInstanceProfileInfoV";
        if node.missing.iter().any(|name| name == old) {
            return Err(13);
        }
        if to.is_null() || unsafe { (*to).version } != VERSION {
            return Err(code::ARGUMENT_VERSION_MISMATCH);
        }
        let profile = profile_at(node, device, index)?;
        let info = nvml::nvmlGpuInstanceProfileInfo_v2_t {
            version: VERSION,
            id: profile.id,
            isP2pSupported: 0,
            sliceCount: profile.compute,
            instanceCount: profile.max,
            multiprocessorCount: 14 * profile.compute,
            copyEngineCount: profile.compute,
            decoderCount: 0,
            encoderCount: 0,
            jpegCount: 0,
            ofaCount: 0,
            memorySizeMB: profile.memory_mib,
            name: text_field(&format!("MIG {}", profile.name)),
        };
        unsafe { put(to, info) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetGpuInstancePossiblePlacements_v2(
    device: Device,
    profile: c_uint,
    to: *mut nvml::nvmlGpuInstancePlacement_t,
    count: *mut c_uint,
) -> nvml::nvmlReturn_t {
    call("nvmlDeviceGetGpuInstancePossiblePlacements_v2", false, |node| {
        if !node.root {
            return Err(code::NO_PERMISSION);
        }
        let gpu = &node.gpus[whole(node, device)?];
        let profile =
            gpu.profiles.iter().find(|p| p.id == profile).ok_or(code::INVALID_ARGUMENT)?;
        unsafe {
            put(count, profile.starts.len() as c_uint)?;
            if !to.is_null() {
                for (i, &start) in profile.starts.iter().enumerate() {
                    let placement = nvml::nvmlGpuInstancePlacement_t { start, size: profile.size };
                    to.add(i).write(placement);
                }
            }
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceCreateGpuInstanceWithPlacement(
    device: Device,
    profile: c_uint,
    placement: *const nvml::nvmlGpuInstancePlacement_t,
    to: *mut GpuInstance,
) -> nvml::nvmlReturn_t {
    call("nvmlDeviceCreateGpuInstanceWithPlacement", true, |node| {
        if placement.is_null() {
            return Err(code::INVALID_ARGUMENT);
        }
        let gpu = whole(node, device)?;
        let placement = unsafe { *placement };
        let size = node.gpus[gpu].profiles.iter().find(|p| p.id == profile).map(|p| p.size);
        if size.is_some_and(|size| size != placement.size) {
            return Err(code::INVALID_ARGUMENT);
        }
        let serial = node.create_instance(gpu, profile, placement.start)?;
        unsafe { put(to, handle(gpu, serial)) }
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlGpuInstanceDestroy(instance: GpuInstance) -> nvml::nvmlReturn_t {
    call("nvmlGpuInstanceDestroy", true, |node| {
        let (gpu, serial) = target(instance);
        node.destroy_instance(gpu, serial)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetGpuInstances(
    device: Device,
    profile: c_uint,
    to: *mut GpuInstance,
    count: *mut c_uint,
) -> nvml::nvmlReturn_t {
    call("nvmlDeviceGetGpuInstances", false, |node| {
        if !node.root {
            return Err(code::NO_PERMISSION);
        }
        let index = whole(node, device)?;
        let gpu = &node.gpus[index];
        if !gpu.mode {
            return Err(code::NOT_SUPPORTED);
        }
        let profile =
            gpu.profiles.iter().find(|p| p.id == profile).ok_or(code::INVALID_ARGUMENT)?;
        let found: Vec<u64> =
            gpu.instances.iter().filter(|i| i.profile == profile.name).map(|i| i.serial).collect();
        unsafe {
            put(count, found.len() as c_uint)?;
            for (i, &serial) in found.iter().enumerate() {
                put(to.wrapping_add(i), handle(index, serial))?;
            }
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlGpuInstanceGetInfo(
    instance: GpuInstance,
    to: *mut nvml::nvmlGpuInstanceInfo_t,
) -> nvml::nvmlReturn_t {
    call("nvmlGpuInstanceGetInfo", false, |node| {
        let (index, serial) = target(instance);
        let gpu = node.reach(index)?;
        let found = &gpu.instances[gpu.at(serial)?];
        let profile = gpu.profile(&found.profile)?;
        let info = nvml::nvmlGpuInstanceInfo_t {
            device: handle(index, 0),
            id: found.id,
            profileId: profile.id,
            placement: nvml::nvmlGpuInstancePlacement_t { start: found.start, size: profile.size },
        };
        unsafe { put(to, info) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlGpuInstanceGetComputeInstanceProfileInfo(
    instance: GpuInstance,
    index: c_uint,
    engine: c_uint,
    to: *mut nvml::nvmlComputeInstanceProfileInfo_t,
) -> nvml::nvmlReturn_t {
    call("nvmlGpuInstanceGetComputeInstanceProfileInfo", false, |node| {
        let (gpu, serial) = target(instance);
        let gpu = node.reach(gpu)?;
        let all = gpu.profile(&gpu.instances[gpu.at(serial)?].profile)?.compute;
        if engine != 0 {
            return Err(code::NOT_SUPPORTED);
        }
        let (_, id, slices, most) = compute_profiles(all)
            .into_iter()
            .find(|&(i, ..)| i == index)
            .ok_or(code::NOT_SUPPORTED)?;
        let info = nvml::nvmlComputeInstanceProfileInfo_t {
            id,
            sliceCount: slices,
            instanceCount: most,
            multiprocessorCount: 14 * slices,
            sharedCopyEngineCount: all,
            sharedDecoderCount: 0,
            sharedEncoderCount: 0,
            sharedJpegCount: 0,
            sharedOfaCount: 0,
        };
        unsafe { put(to, info) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlGpuInstanceCreateComputeInstance(
    instance: GpuInstance,
    profile: c_uint,
    to: *mut ComputeInstance,
) -> nvml::nvmlReturn_t {
    call("nvmlGpuInstanceCreateComputeInstance", true, |node| {
        let (gpu, serial) = target(instance);
        let made = node.create_compute(gpu, serial, profile)?;
        unsafe { put(to, handle(gpu, made)) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlGpuInstanceCreateComputeInstanceWithPlacement(
    instance: GpuInstance,
    profile: c_uint,
    placement: *const nvml::nvmlComputeInstancePlacement_t,
    to: *mut ComputeInstance,
) -> nvml::nvmlReturn_t {
    const NAME: &str = "nvmlGpuInstanceCreateComputeInstanceWithPlacement";
    call(NAME, true, |node| {
        if node.missing.iter().any(|name| name == NAME) {
            return Err(13);
        }
        if placement.is_null() {
            return Err(code::INVALID_ARGUMENT);
        }
        let (gpu, serial) = target(instance);
        let place = unsafe { *placement };
        let place = Some((place.start, place.size));
        let made = node.create_compute_at(gpu, serial, profile, place)?;
        unsafe { put(to, handle(gpu, made)) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlGpuInstanceGetComputeInstances(
    instance: GpuInstance,
    profile: c_uint,
    to: *mut ComputeInstance,
    count: *mut c_uint,
) -> nvml::nvmlReturn_t {
    call("nvmlGpuInstanceGetComputeInstances", false, |node| {
        let (index, serial) = target(instance);
        let gpu = node.reach(index)?;
        if !node.root {
            return Err(code::NO_PERMISSION);
        }
        let found = &gpu.instances[gpu.at(serial)?];
        let all = gpu.profile(&found.profile)?.compute;
        let (_, _, slices, _) = compute_profiles(all)
            .into_iter()
            .find(|&(_, id, ..)| id == profile)
            .ok_or(code::INVALID_ARGUMENT)?;
        let of_profile: Vec<u64> =
            found.compute.iter().filter(|c| c.slices == slices).map(|c| c.serial).collect();
        unsafe {
            put(count, of_profile.len() as c_uint)?;
            for (i, &serial) in of_profile.iter().enumerate() {
                put(to.wrapping_add(i), handle(index, serial))?;
            }
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlComputeInstanceGetInfo_v2(
    compute: ComputeInstance,
    to: *mut nvml::nvmlComputeInstanceInfo_t,
) -> nvml::nvmlReturn_t {
    call("nvmlComputeInstanceGetInfo_v2", false, |node| {
        let (index, serial) = target(compute);
        let gpu = node.reach(index)?;
        let (instance, found) = gpu
            .instances
            .iter()
            .flat_map(|i| i.compute.iter().map(move |c| (i, c)))
            .find(|(_, c)| c.serial == serial)
            .ok_or(code::INVALID_ARGUMENT)?;
        let all = gpu.profile(&instance.profile)?.compute;
        let profile = compute_profiles(all).into_iter().find(|&(_, _, s, _)| s == found.slices);
        let info = nvml::nvmlComputeInstanceInfo_t {
            device: handle(index, 0),
            gpuInstance: handle(index, instance.serial),
            id: found.id,
            profileId: profile.map_or(0, |(_, id, ..)| id),
            placement: nvml::nvmlComputeInstancePlacement_t {
                start: found.start,
                size: found.slices,
            },
        };
        unsafe { put(to, info) }
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlComputeInstanceDestroy(compute: ComputeInstance) -> nvml::nvmlReturn_t {
    call("nvmlComputeInstanceDestroy", true, |node| {
        let (gpu, serial) = target(compute);
        node.destroy_compute(gpu, serial)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMaxMigDeviceCount(
    device: Device,
    to: *mut c_uint,
) -> nvml::nvmlReturn_t {
    call("nvmlDeviceGetMaxMigDeviceCount", false, |node| {
        let gpu = &node.gpus[whole(node, device)?];
        let most = gpu.profiles.iter().map(|p| p.compute).max().unwrap_or(0);
        unsafe { put(to, most) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMigDeviceHandleByIndex(
    device: Device,
    index: c_uint,
    to: *mut Device,
) -> nvml::nvmlReturn_t {
    call("nvmlDeviceGetMigDeviceHandleByIndex", false, |node| {
        let gpu = whole(node, device)?;
        if !node.gpus[gpu].mode {
            return Err(code::NOT_SUPPORTED);
        }
        let serial = node.gpus[gpu]
            .instances
            .iter()
            .flat_map(|i| &i.compute)
            .nth(index as usize)
            .ok_or(code::NOT_FOUND)?
            .serial;
        unsafe { put(to, handle(gpu, serial)) }
    })
}

/// The ids of a MIG device.
fn ids(node: &Node, device: Device) -> Answer<(u32, u32)> {
    let (gpu, serial) = target(device);
    let gpu = node.reach(gpu)?;
    gpu.instances
        .iter()
        .flat_map(|i| i.compute.iter().map(move |c| (i, c)))
        .find(|(_, c)| c.serial == serial)
        .map(|(i, c)| (i.id, c.id))
        .ok_or(code::NOT_SUPPORTED)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetGpuInstanceId(
    device: Device,
    to: *mut c_uint,
) -> nvml::nvmlReturn_t {
    call("nvmlDeviceGetGpuInstanceId", false, |node| unsafe { put(to, ids(node, device)?.0) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetComputeInstanceId(
    device: Device,
    to: *mut c_uint,
) -> nvml::nvmlReturn_t {
    call("nvmlDeviceGetComputeInstanceId", false, |node| unsafe { put(to, ids(node, device)?.1) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetComputeRunningProcesses_v3(
    device: Device,
    count: *mut c_uint,
    to: *mut nvml::nvmlProcessInfo_t,
) -> nvml::nvmlReturn_t {
    call("nvmlDeviceGetComputeRunningProcesses_v3", false, |node| {
        let (index, serial) = target(device);
        let gpu = node.reach(index)?;
        if serial == 0 && gpu.mode && !node.root {
            return Err(code::NO_PERMISSION);
        }
        let mut found = Vec::new();
        let mut add = |process: &crate::Process, instance: u32, compute: u32| {
            found.push(nvml::nvmlProcessInfo_t {
                pid: process.pid,
                usedGpuMemory: (process.used_mib << 20) as c_ulonglong,
                gpuInstanceId: instance,
                computeInstanceId: compute,
            });
        };
        if serial == 0 {
            gpu.processes.iter().for_each(|p| add(p, u32::MAX, u32::MAX));
        }
        for instance in &gpu.instances {
            for compute in instance.compute.iter().filter(|c| serial == 0 || c.serial == serial) {
                compute.processes.iter().for_each(|p| add(p, instance.id, compute.id));
            }
        }
        if count.is_null() {
            return Err(code::INVALID_ARGUMENT);
        }
        unsafe {
            let room = count.read() as usize;
            count.write(found.len() as c_uint);
            if found.len() > room {
                return Err(code::INSUFFICIENT_SIZE);
            }
            for (i, info) in found.into_iter().enumerate() {
                to.add(i).write(info);
            }
        }
        Ok(())
    })
}
