//! Which processes hold a GPU open: the answer to "in use by another client", with the remedy.
//! Looks at /proc only.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// nvidia-persistenced, as the system shortens it.
const PERSISTENCE: &str = "nvidia-persiste";
/// Programs that are known to hold GPUs, and what to do about them.
const REMEDIES: &[(&str, &str)] = &[
    ("nv-hostengine", "systemctl stop nvidia-dcgm"),
    ("dcgm-exporter", "stop dcgm-exporter, or its pod on this node"),
    (PERSISTENCE, "systemctl stop nvidia-persistenced"),
    ("nvsm", "systemctl stop nvsm"),
    ("nvidia-fabricma", "systemctl stop nvidia-fabricmanager"),
    ("Xorg", "stop the display manager"),
    ("Xwayland", "stop the display manager"),
    ("gnome-shell", "stop the display manager"),
    ("nvidia-device-p", "stop the device plugin's pod on this node"),
    ("nvidia-cuda-mps", "echo quit | nvidia-cuda-mps-control"),
];

fn remedy(name: &str) -> Option<&'static str> {
    REMEDIES.iter().find(|(program, _)| name.starts_with(program)).map(|(_, remedy)| *remedy)
}

/// The processes that have a device file open, as far as they can be seen from here; none where the
/// file is not known.
#[cfg(any(feature = "nvml", test))]
pub(super) fn of_device(device: Option<&Path>) -> Vec<String> {
    processes(|_, process| has_open(process, device))
}

/// Those of them that keep MIG mode from changing: not the daemon that runs nearly everywhere to keep
/// the driver loaded, and lets go of the GPU for it.
pub(super) fn against_a_mode(device: Option<&Path>) -> Vec<String> {
    processes(|name, process| !name.starts_with(PERSISTENCE) && has_open(process, device))
}

/// What may hold `gpu`, and how to make it let go. `device`: its device file.
pub(super) fn hint(gpu: u32, device: Option<&Path>) -> String {
    let mut found = processes(|name, process| remedy(name).is_some() || has_open(process, device));
    let modules = fs::read_to_string("/proc/modules").unwrap_or_default();
    if modules.lines().any(|line| line.starts_with("nvidia_drm ")) {
        found.push("the kernel module nvidia_drm, for a display (modprobe -r nvidia_drm)".into());
    }
    if found.is_empty() {
        return "no process that holds the GPU can be seen from here; it may be in a container, or be monitoring such as DCGM: --stop nvidia-dcgm".to_string();
    }
    format!("these may hold GPU {gpu}: {}", found.join("; "))
}

/// `nv-hostengine (pid 12: systemctl stop nvidia-dcgm)` for every process but this one that is
/// meant, judged by its name and its folder in /proc.
fn processes(is_meant: impl Fn(&str, &Path) -> bool) -> Vec<String> {
    let own = std::process::id().to_string();
    let mut found = BTreeSet::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = process.file_name().to_string_lossy().into_owned();
        if pid == own || !pid.bytes().all(|b| b.is_ascii_digit()) {
            continue;
        }
        let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        let name = name.trim();
        if is_meant(name, &process.path()) {
            found.insert(match remedy(name) {
                Some(remedy) => format!("{name} (pid {pid}: {remedy})"),
                None => format!("{name} (pid {pid})"),
            });
        }
    }
    found.into_iter().collect()
}

fn has_open(process: &Path, device: Option<&Path>) -> bool {
    let Some(device) = device else { return false };
    let Ok(files) = fs::read_dir(process.join("fd")) else {
        return false;
    };
    files.flatten().any(|f| fs::read_link(f.path()).is_ok_and(|to| to == device))
}

/// Whether the processor says that this is a virtual machine.
pub(super) fn in_virtual_machine() -> bool {
    fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| {
        text.lines()
            .find(|line| line.starts_with("flags"))
            .is_some_and(|line| line.split_whitespace().any(|flag| flag == "hypervisor"))
    })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_that_has_a_device_open_is_named() {
        let device = tempfile::NamedTempFile::new().unwrap();
        let path = fs::canonicalize(device.path()).unwrap();
        assert_eq!(of_device(Some(&path)), [] as [String; 0]);
        let held = device.reopen().unwrap();
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::from(held)).spawn().unwrap();
        // Until the child has become `sleep`, it bears the name of this thread.
        let sleeping = |found: &Vec<String>| found.iter().any(|name| name.starts_with("sleep"));
        let mut tries = (0..500).map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            of_device(Some(&path))
        });
        let found = tries.find(sleeping).unwrap_or_default();
        assert_eq!(against_a_mode(Some(&path)), found);
        // Another GPU's file, or none that is known, is no reason to name anybody.
        assert_eq!(of_device(Some(Path::new("/dev/nvidia0"))), [] as [String; 0]);
        assert_eq!(of_device(None), [] as [String; 0]);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(found, [format!("sleep (pid {})", child.id())]);
    }
}
