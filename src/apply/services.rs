//! Clients of the GPUs that are stopped around a change, as the GPU Operator's manager does it:
//! systemd units such as `nvidia-dcgm`, `nvidia-persistenced` or an exporter. Only those that the
//! user names, and only those that run.

use std::ffi::OsString;
use std::process::Command;

use super::program;

/// The environment variable that names another `systemctl`.
pub const SYSTEMCTL_VARIABLE: &str = "MIGPLAN_SYSTEMCTL";

/// What stops and starts units. Answers are sentences for people where something fails.
pub trait Services {
    /// Whether a unit runs, or is about to.
    ///
    /// # Errors
    /// It cannot be asked.
    fn is_active(&mut self, unit: &str) -> Result<bool, String>;
    /// The units that are stopped whenever this one is, and that its start does not start.
    ///
    /// # Errors
    /// It cannot be asked.
    fn stopped_with(&mut self, unit: &str) -> Result<Vec<String>, String>;
    /// Whether a unit cannot be started any more, because it was removed or masked.
    fn is_gone(&mut self, unit: &str) -> bool;
    /// Stops a unit and waits until it is stopped.
    ///
    /// # Errors
    /// Why it did not stop.
    fn stop(&mut self, unit: &str) -> Result<(), String>;
    /// Starts a unit.
    ///
    /// # Errors
    /// Why it did not start.
    fn start(&mut self, unit: &str) -> Result<(), String>;
    /// Whether a process is one of a unit, so that it ends with it.
    fn owns(&mut self, unit: &str, pid: u32) -> bool;
}

/// systemd, through `systemctl`.
#[derive(Debug, Clone)]
pub struct Systemd {
    program: OsString,
}

impl Default for Systemd {
    /// The `systemctl` that [`SYSTEMCTL_VARIABLE`] names, else that of the system.
    fn default() -> Systemd {
        let named = std::env::var_os(SYSTEMCTL_VARIABLE).filter(|name| !name.is_empty());
        Systemd { program: named.unwrap_or_else(|| "systemctl".into()) }
    }
}

impl Systemd {
    fn run(&self, verb: &[&str], unit: &str) -> Result<std::process::Output, String> {
        let mut command = Command::new(&self.program);
        command.args(verb).args(["--", unit]);
        program::apart_from_the_terminal(&mut command)
            .output()
            .map_err(|e| format!("{} cannot be run: {e}", self.program.display()))
    }

    fn change(&self, verb: &str, unit: &str) -> Result<(), String> {
        let output = self.run(&[verb], unit)?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("systemctl {verb} {unit}: {}", program::said(&output)))
    }

    /// The values of a unit's properties; those that this systemd does not know are left out.
    fn properties(&self, names: &str, unit: &str) -> Result<Vec<String>, String> {
        let output = self.run(&["show", &format!("--property={names}")], unit)?;
        if !output.status.success() {
            return Err(format!("systemctl show {unit}: {}", program::said(&output)));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let values = text.lines().filter_map(|line| line.split_once('='));
        Ok(values.flat_map(|(_, value)| value.split_whitespace().map(str::to_string)).collect())
    }
}

/// The properties that name what systemd stops together with a unit.
const STOPPED_WITH: &str = "RequiredBy,RequisiteOf,BoundBy,ConsistsOf,PropagatesStopTo";

impl Services for Systemd {
    fn is_active(&mut self, unit: &str) -> Result<bool, String> {
        let output = self.run(&["is-active"], unit)?;
        match output.status.code() {
            Some(0) => Ok(true),
            // Not running; but it may be restarting, and come up in the midst of a change.
            Some(3) => {
                let state = String::from_utf8_lossy(&output.stdout);
                Ok(!matches!(state.trim(), "inactive" | "failed" | "unknown" | ""))
            }
            // No such unit, which also is nothing to stop.
            Some(4) => Ok(false),
            _ => Err(format!("systemctl is-active {unit}: {}", program::said(&output))),
        }
    }

    fn stopped_with(&mut self, unit: &str) -> Result<Vec<String>, String> {
        self.properties(STOPPED_WITH, unit)
    }

    fn is_gone(&mut self, unit: &str) -> bool {
        let state = self.properties("LoadState", unit).unwrap_or_default();
        state == ["not-found"] || state == ["masked"]
    }

    fn stop(&mut self, unit: &str) -> Result<(), String> {
        self.change("stop", unit)
    }

    fn start(&mut self, unit: &str) -> Result<(), String> {
        self.change("start", unit)
    }

    fn owns(&mut self, unit: &str, pid: u32) -> bool {
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup"));
        groups.is_ok_and(|groups| is_within(&groups, unit))
    }
}

/// Whether a process is in the control group of a unit. `groups`: its file `cgroup` in /proc, with
/// lines such as `0::/system.slice/nvidia-dcgm.service`.
fn is_within(groups: &str, unit: &str) -> bool {
    let unit = full_name(unit);
    let paths = groups.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    paths.flat_map(|path| path.split('/')).any(|part| part == unit)
}

/// The name of a unit with its kind, which may be left out of a service's.
pub(super) fn full_name(unit: &str) -> String {
    let kinds = ["service", "scope", "slice", "socket", "target", "timer", "path", "mount"];
    match unit.rsplit_once('.').is_some_and(|(_, kind)| kinds.contains(&kind)) {
        true => unit.to_string(),
        false => format!("{unit}.service"),
    }
}

/// Checks the name of a unit.
///
/// # Errors
/// systemd cannot have such a unit; in a sentence.
pub fn check_unit(name: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    if name.is_empty() || name.starts_with('-') || name.len() > 255 || !name.chars().all(allowed) {
        return Err(format!("'{name}' is not the name of a systemd unit, such as nvidia-dcgm"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_of_the_unit_whose_control_group_it_is_in() {
        let second = "0::/system.slice/inference.service/worker\n";
        let first = "12:cpu,cpuacct:/\n1:name=systemd:/system.slice/inference.service\n";
        for groups in [first, second] {
            assert!(is_within(groups, "inference") && is_within(groups, "inference.service"));
            assert!(is_within(groups, "system.slice"));
            for other in ["infer", "inference.servic", "worker", "12", "cpu", "name=systemd"] {
                assert!(!is_within(groups, other), "{other}: {groups}");
            }
        }
        let name = std::process::id();
        assert!(!Systemd::default().owns("no-such-unit", name));
    }

    #[test]
    fn names_of_units() {
        for good in ["nvidia-dcgm", "nvidia-persistenced.service", "exporter@1.service"] {
            assert_eq!(check_unit(good), Ok(()));
        }
        for bad in ["", "--now", "a b", "a/b", "x;y"] {
            assert!(check_unit(bad).is_err(), "{bad}");
        }
    }
}
