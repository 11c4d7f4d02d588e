//! Who holds a GPU: the answer to "in use by another client", with the remedy. Looks at /proc
//! only, and only after something has failed.

use std::collections::BTreeSet;
use std::fs;

/// Programs that are known to hold GPUs, and what to do about them.
const REMEDIES: &[(&str, &str)] = &[
    ("nv-hostengine", "systemctl stop nvidia-dcgm"),
    ("dcgm-exporter", "stop dcgm-exporter, or its pod on this node"),
    ("nvidia-persiste", "systemctl stop nvidia-persistenced"),
    ("nvsm", "systemctl stop nvsm"),
    ("nvidia-fabricma", "systemctl stop nvidia-fabricmanager"),
    ("Xorg", "stop the display manager"),
    ("Xwayland", "stop the display manager"),
    ("gnome-shell", "stop the display manager"),
    ("nvidia-device-p", "stop the device plugin's pod on this node"),
    ("nvidia-cuda-mps", "echo quit | nvidia-cuda-mps-control"),
];

/// What may hold `gpu`, and how to make it let go; `None` where nothing is found.
pub(super) fn hint(gpu: u32) -> Option<String> {
    let mut found: BTreeSet<String> = BTreeSet::new();
    let own = std::process::id().to_string();
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let pid = process.file_name().to_string_lossy().into_owned();
        if pid == own || !pid.bytes().all(|b| b.is_ascii_digit()) {
            continue;
        }
        let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        let name = name.trim();
        let remedy = REMEDIES.iter().find(|(program, _)| name.starts_with(program));
        if remedy.is_none() && !has_open(&process.path(), gpu) {
            continue;
        }
        found.insert(match remedy {
            Some((_, remedy)) => format!("{name} (pid {pid}: {remedy})"),
            None => format!("{name} (pid {pid})"),
        });
    }
    let modules = fs::read_to_string("/proc/modules").unwrap_or_default();
    if modules.lines().any(|line| line.starts_with("nvidia_drm ")) {
        found.insert("the kernel module nvidia_drm, for a display (modprobe -r nvidia_drm)".into());
    }
    if found.is_empty() {
        return Some(
            "no holder was found from here; it may sit outside of this container, or be monitoring such as DCGM: systemctl stop nvidia-dcgm".to_string(),
        );
    }
    let found: Vec<String> = found.into_iter().collect();
    Some(format!("these may hold GPU {gpu}: {}", found.join("; ")))
}

/// Whether a process has the GPU's device file open.
fn has_open(process: &std::path::Path, gpu: u32) -> bool {
    let device = format!("/dev/nvidia{gpu}");
    let Ok(files) = fs::read_dir(process.join("fd")) else {
        return false;
    };
    files
        .flatten()
        .any(|f| fs::read_link(f.path()).is_ok_and(|to| to.as_os_str() == device.as_str()))
}

/// Whether the processor says that this is a virtual machine.
pub(super) fn in_virtual_machine() -> bool {
    fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| {
        text.lines()
            .find(|line| line.starts_with("flags"))
            .is_some_and(|line| line.split_whitespace().any(|flag| flag == "hypervisor"))
    })
}
