//! A node of the fake libnvidia-ml for one test: its own copy of the library, its own state file
//! beside it, its own folder for saved states.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fake_nvml::{Compute, Essence, Fault, Instance, Node, Process};
use migplan::apply::{
    ApplyOptions, Event, Interrupt, NodeChange, NvmlDriver, Operator, Outcome, Patience, Proposal,
    Saves, Session, Systemd, Target,
};
use migplan::error::Result;
use migplan::hardware::layout::Placement;
use migplan::hardware::{Board, BoardRef, Catalogue};
use migplan::mig_parted::Config;
use rustix::fs::{StatVfsMountFlags, statvfs};
use serde_json::Value;

/// Somebody who agrees to everything.
pub struct Yes;

impl Operator for Yes {
    fn event(&mut self, _: &Event<'_>) {}

    fn confirm(&mut self, _: &Proposal<'_>) -> Result<()> {
        Ok(())
    }
}

pub struct Rehearsal {
    pub folder: tempfile::TempDir,
}

/// A folder in memory where there is one that libraries may be loaded from: thousands of runs sync
/// every step, and on a disk most of their time is waiting for it.
fn folder_in_memory() -> tempfile::TempDir {
    const MEMORY: &str = "/dev/shm";
    let loads = statvfs(MEMORY).is_ok_and(|of| !of.f_flag.contains(StatVfsMountFlags::NOEXEC));
    let in_memory = loads.then(|| tempfile::tempdir_in(MEMORY).ok()).flatten();
    in_memory.unwrap_or_else(|| tempfile::tempdir().unwrap())
}

/// Where cargo puts the library that this test depends on.
pub fn library() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let built = test.parent().unwrap().join("libfake_nvml.so");
    assert!(built.exists(), "{built:?} is built together with the tests");
    built
}

impl Rehearsal {
    pub fn new(node: &Node) -> Rehearsal {
        let folder = folder_in_memory();
        // A copy, so that the system loads it afresh for each test, with state of its own.
        std::fs::copy(library(), folder.path().join("libfake_nvml.so")).unwrap();
        let rehearsal = Rehearsal { folder };
        rehearsal.save(node);
        rehearsal
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn save(&self, node: &Node) {
        node.save(&self.path("fake-nvml.json")).unwrap();
    }

    pub fn load(&self) -> Node {
        Node::load(&self.path("fake-nvml.json")).unwrap()
    }

    /// Changes the node behind the driver's back.
    pub fn edit(&self, edit: impl FnOnce(&mut Node)) {
        let mut node = self.load();
        edit(&mut node);
        self.save(&node);
    }

    pub fn driver(&self) -> Result<NvmlDriver> {
        NvmlDriver::load(Some(&self.path("libfake_nvml.so")))
    }

    pub fn state_dir(&self) -> PathBuf {
        self.path("state")
    }

    pub fn forget_saved_state(&self) {
        let _ = std::fs::remove_dir_all(self.state_dir());
    }

    /// The calls so far, as (function, whether it changes, code).
    pub fn calls(&self) -> Vec<(String, bool, u32)> {
        let log = std::fs::read_to_string(self.path("calls.log")).unwrap_or_default();
        log.lines()
            .map(|line| {
                let mut words = line.split(' ');
                let name = words.next().unwrap().to_string();
                let change = words.next() == Some("change");
                (name, change, words.next().unwrap().parse().unwrap())
            })
            .collect()
    }

    pub fn log_calls(&self) {
        let log = self.path("calls.log").display().to_string();
        let _ = std::fs::remove_file(&log);
        self.edit(|node| node.log = Some(log));
    }

    /// What `migplan apply --yes` does, without its waits: the change that was made.
    pub fn apply(&self, yaml: &str) -> Result<NodeChange> {
        self.apply_with(yaml, false)
    }

    pub fn apply_with(&self, yaml: &str, reset: bool) -> Result<NodeChange> {
        let outcome = self.session(reset, |session| {
            let config = Config::parse(yaml, "config.yaml")?;
            session.apply(&config, None, "config.yaml")
        })?;
        Ok(match outcome {
            Outcome::Changed(change) => change,
            _ => NodeChange::default(),
        })
    }

    /// What `migplan rollback --yes` does, without its waits.
    pub fn roll_back(&self, reset: bool) -> Result<Outcome> {
        self.session(reset, |session| session.roll_back(Target::LastApply))
    }

    /// A session of this node that asks and tells nobody.
    pub fn session<T>(
        &self,
        reset: bool,
        work: impl FnOnce(&mut Session<'_>) -> Result<T>,
    ) -> Result<T> {
        self.session_of(&mut self.state_dir().as_path(), &mut Yes, reset, work)
    }

    /// The same, with a place of its own for saved states, and somebody to ask.
    pub fn session_of<T>(
        &self,
        saves: &mut dyn Saves,
        operator: &mut dyn Operator,
        reset: bool,
        work: impl FnOnce(&mut Session<'_>) -> Result<T>,
    ) -> Result<T> {
        let patience = Patience(Vec::new());
        work(&mut Session {
            driver: &mut self.driver()?,
            catalogue: &Catalogue::built_in(),
            options: ApplyOptions { reset, patience, ..ApplyOptions::default() },
            saves,
            services: &mut Systemd::default(),
            interrupts: &mut || Ok(Interrupt::default()),
            operator,
        })
    }
}

/// What a run of the real binary gave; `code` is -1 where a signal ended it.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Rehearsal {
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_migplan"));
        command
            .env_remove("FAKE_NVML_STATE")
            .env("MIGPLAN_NVML_LIB", self.path("libfake_nvml.so"))
            .env("MIGPLAN_STATE_DIR", self.state_dir())
            .env("MIGPLAN_LOCK_DIR", self.path("locks"))
            .env("MIGPLAN_NVIDIA_SMI", self.path("nvidia-smi"))
            .env("MIGPLAN_SYSTEMCTL", self.path("systemctl"))
            .stdin(std::process::Stdio::null())
            .current_dir(self.folder.path());
        command
    }

    pub fn migplan(&self, arguments: &[&str]) -> Ran {
        let Output { status, stdout, stderr } = self.command().args(arguments).output().unwrap();
        Ran {
            code: status.code().unwrap_or(-1),
            stdout: String::from_utf8(stdout).unwrap(),
            stderr: String::from_utf8(stderr).unwrap(),
        }
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub fn config(&self, entries: &[(&str, &str)]) {
        self.write("config.yaml", &yaml(entries));
    }

    pub fn changing_calls(&self) -> usize {
        self.calls().iter().filter(|(_, change, _)| *change).count()
    }
}

/// Puts a layout on a GPU of the fake node, MIG on.
pub fn lay_out(node: &mut Node, gpu: usize, board: &Board, layout: &[Placement]) {
    node.gpus[gpu].mode = true;
    node.gpus[gpu].pending = true;
    for placement in layout {
        let name = board.profiles[placement.profile].name.to_string();
        put(node, gpu, &name, placement.start);
    }
}

/// Makes one ordinary instance on a GPU of the fake node; its serial.
pub fn put(node: &mut Node, gpu: usize, profile: &str, start: u32) -> u64 {
    let (id, slices) = {
        let profile = node.gpus[gpu].profile(profile).unwrap();
        (profile.id, profile.compute)
    };
    let serial = node.create_instance(gpu, id, start).unwrap();
    let (_, whole, ..) =
        fake_nvml::compute_profiles(slices).into_iter().find(|&(_, _, s, _)| s == slices).unwrap();
    node.create_compute(gpu, serial, whole).unwrap();
    serial
}

/// Lets a process run in every compute instance of the instance at `start`.
pub fn occupy(node: &mut Node, gpu: usize, start: u32, pid: u32) {
    for compute in computes(node, gpu, start) {
        compute.processes.push(Process { pid, name: Some("train.py".into()), used_mib: 1000 });
    }
}

pub fn computes(node: &mut Node, gpu: usize, start: u32) -> &mut Vec<Compute> {
    &mut at(node, gpu, start).compute
}

pub fn at(node: &mut Node, gpu: usize, start: u32) -> &mut Instance {
    node.gpus[gpu].instances.iter_mut().find(|i| i.start == start).unwrap()
}

pub fn fault(on: &str, nth: u64, code: Option<u32>, sticky: bool, late: bool) -> Fault {
    Fault { on: on.to_string(), nth, code, sticky, late, ..Fault::default() }
}

/// A node with MIG on and these instances on GPU 0.
pub fn laid_out(spec: &str, name: &str, instances: &[(&str, u32)]) -> Node {
    let mut node = Node::new(spec).unwrap();
    lay_out(&mut node, 0, &board(name), &[]);
    for (profile, start) in instances {
        put(&mut node, 0, profile, *start);
    }
    node
}

pub fn board(id: &str) -> BoardRef {
    Catalogue::built_in().find(id, None).unwrap().clone()
}

/// Sends a signal at a call, which goes on.
pub fn signal(on: &str, nth: u64, signal: i32, late: bool) -> Fault {
    Fault { on: on.to_string(), nth, signal: Some(signal), late, ..Fault::default() }
}

/// Loses a GPU at a call.
pub fn lose(on: &str, nth: u64, gpu: usize, late: bool) -> Fault {
    Fault { on: on.to_string(), nth, lose: Some(gpu), late, ..Fault::default() }
}

/// A configuration with one entry for each (devices, profiles).
pub fn yaml(entries: &[(&str, &str)]) -> String {
    let mut text = "version: v1\nmig-configs:\n  test:\n".to_string();
    for (devices, profiles) in entries {
        let mig = *profiles != "off";
        let profiles = if mig { profiles } else { "{}" };
        text += &format!(
            "  - devices: {devices}\n    mig-enabled: {mig}\n    mig-devices: {profiles}\n"
        );
    }
    text
}

/// `{1g.10gb: 2, 3g.40gb: 1}`.
pub fn profiles(board: &Board, counts: &[u32]) -> String {
    let parts: Vec<String> = counts
        .iter()
        .zip(&board.profiles)
        .filter(|(n, _)| **n > 0)
        .map(|(n, p)| format!("\"{}\": {n}", p.name))
        .collect();
    format!("{{{}}}", parts.join(", "))
}

/// Writes an executable shell script.
pub fn script(rehearsal: &Rehearsal, name: &str, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let script = rehearsal.path(name);
    std::fs::write(&script, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    script
}

/// Writes an executable `nvidia-smi` that resets the GPUs of this rehearsal.
pub fn nvidia_smi(rehearsal: &Rehearsal) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let text = format!(
        "FAKE_SMI_NODE='{}' FAKE_SMI_ARGS=\"$*\" exec '{}' --exact apply_cli::pretended_nvidia_smi --ignored --nocapture",
        rehearsal.path("fake-nvml.json").display(),
        test.display()
    );
    script(rehearsal, "nvidia-smi", &text)
}

/// A `nvidia-smi` that runs `first`, then resets, and then runs `also`.
pub fn around_a_reset(rehearsal: &Rehearsal, first: &str, also: &str) {
    let real = nvidia_smi(rehearsal);
    std::fs::rename(real, rehearsal.path("real-smi")).unwrap();
    script(rehearsal, "nvidia-smi", &format!("{first}\n./real-smi \"$@\" || exit\n{also}"));
}

/// A `nvidia-smi` that resets, and then runs `also`.
pub fn after_a_reset(rehearsal: &Rehearsal, also: &str) {
    around_a_reset(rehearsal, "", also);
}

/// The body of a test named `pretended_nvidia_smi`, which that script runs.
pub fn pretend_nvidia_smi() {
    let Some(node) = std::env::var_os("FAKE_SMI_NODE") else {
        return;
    };
    let arguments = std::env::var("FAKE_SMI_ARGS").unwrap();
    let arguments: Vec<String> = arguments.split(' ').map(str::to_string).collect();
    let (message, code) = fake_nvml::nvidia_smi(Path::new(&node), &arguments);
    println!("{message}");
    std::process::exit(code);
}

/// Two GPUs with MIG on: 3g.40gb on each, and 1g.10gb on GPU 1.
pub fn two_gpus() -> Node {
    let mut node = laid_out("2xh100-80gb", "h100-80gb", &[("3g.40gb", 4)]);
    lay_out(&mut node, 1, &board("h100-80gb"), &[]);
    put(&mut node, 1, "3g.40gb", 4);
    put(&mut node, 1, "1g.10gb", 0);
    node
}

/// What is wanted of both, which destroys and creates on both.
pub const BOTH: &[(&str, &str)] = &[("[0]", "{2g.20gb: 2}"), ("[1]", "{7g.80gb: 1}")];

/// Runs `apply` of [`BOTH`] on a fresh node, killed before the changing call `nth`.
pub fn killed(nth: u64) -> (Rehearsal, Node) {
    let node = two_gpus();
    let rehearsal = Rehearsal::new(&node);
    rehearsal.config(BOTH);
    rehearsal.edit(|node| node.faults = vec![fault("change", nth, None, false, false)]);
    assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, -1);
    rehearsal.edit(|node| node.faults.clear());
    (rehearsal, node)
}

/// The changing calls of [`BOTH`]: 2 to destroy and 4 to create on GPU 0, then 4 and 2 on GPU 1.
pub const CALLS: u64 = 12;
/// One in the midst of GPU 1, an instance of which has lost its compute instance.
pub const HALF_WAY: u64 = 8;

pub fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// A `systemctl` that logs what it is asked, and for which `units` run.
pub fn systemctl(rehearsal: &Rehearsal, running: &[&str]) {
    let cases: Vec<String> = running.iter().map(|u| format!("{u}) exit 0;;")).collect();
    let text = format!(
        "[ \"$1\" = show ] && exit 0\n[ \"$1\" = is-active ] && {{ case \"$3\" in {} esac; exit 3; }}\necho \"$1 $3\" >> '{}'",
        cases.join(" "),
        rehearsal.path("units.log").display()
    );
    script(rehearsal, "systemctl", &text);
}

/// What `systemctl` was asked since the last look.
pub fn units(rehearsal: &Rehearsal) -> Vec<String> {
    let file = rehearsal.path("units.log");
    let log = std::fs::read_to_string(&file).unwrap_or_default();
    let _ = std::fs::remove_file(file);
    log.lines().map(str::to_string).collect()
}

/// Lets `systemctl` fail at a verb.
pub fn fails_to(rehearsal: &Rehearsal, verb: &str) {
    let script = std::fs::read_to_string(rehearsal.path("systemctl")).unwrap();
    let failing =
        format!("[ \"$1\" = {verb} ] && {{ echo \"Job for $3 failed.\"; exit 1; }}\nexit 0\n");
    std::fs::write(rehearsal.path("systemctl"), script + &failing).unwrap();
}

/// The runs as `rollback --list` knows them.
pub fn runs(rehearsal: &Rehearsal) -> Vec<Value> {
    let list = json(&rehearsal.migplan(&["rollback", "--list", "--json"]).stdout);
    list["runs"].as_array().unwrap().clone()
}

/// The runs that `status` calls interrupted: number and half-way GPUs.
pub fn interrupted(rehearsal: &Rehearsal) -> Vec<(u64, Value)> {
    let status = json(&rehearsal.migplan(&["status", "--format", "json"]).stdout);
    let runs = status["interrupted"].as_array().unwrap().iter();
    runs.map(|run| (run["run"].as_u64().unwrap(), run["half_way"].clone())).collect()
}

/// What each GPU is in, by UUID.
pub fn by_uuid(node: &Node) -> BTreeMap<String, Essence> {
    node.gpus.iter().map(|gpu| gpu.uuid.clone()).zip(node.essence()).collect()
}

/// The last event of a command with `--json`.
pub fn result(ran: &Ran) -> Value {
    json(ran.stdout.lines().last().unwrap())
}
