//! Faults at every call, on the real binary: each NVML call with every error code, before and after
//! its effect; kills, signals and lost GPUs at every call; of `apply`, and of the `rollback` of an
//! apply that was killed. Deterministic. A test run takes a part; `tests/sweep.sh` takes all:
//!
//! - `MIGPLAN_SWEEP=K/N`: the K-th of N parts of every sweep; default `1/401`.
//! - `MIGPLAN_SOAK=SEED:STEPS`: the soak with this seed; default `1:40`. A failure names its own.

use std::collections::BTreeMap;
use std::process::Stdio;

use crate::common::split_mix::SplitMix;
use crate::rehearsal::*;
use fake_nvml::{Fault, Node};
use serde_json::Value;

/// Which part of a sweep to run, as (index from 0, of how many).
fn part() -> (u64, u64) {
    let text = std::env::var("MIGPLAN_SWEEP").unwrap_or_else(|_| "1/401".to_string());
    let (index, of) = text.split_once('/').expect("MIGPLAN_SWEEP is like 1/10");
    let (index, of): (u64, u64) = (index.parse().unwrap(), of.parse().unwrap());
    assert!((1..=of).contains(&index), "MIGPLAN_SWEEP={text}");
    (index - 1, of)
}

/// Every return code of NVML that is an error.
fn every_code() -> impl Iterator<Item = u32> {
    (1..=30).chain([999])
}

/// Three GPUs: one to be changed around a busy instance, one whose mode must come on, one whose
/// mode must go off.
fn case() -> (Node, String) {
    let mut node =
        laid_out("3xh100-80gb", "h100-80gb", &[("3g.40gb", 4), ("1g.10gb", 0), ("1g.10gb", 1)]);
    occupy(&mut node, 0, 0, 4711);
    lay_out(&mut node, 2, &board("h100-80gb"), &[]);
    put(&mut node, 2, "7g.80gb", 0);
    let config = yaml(&[
        ("[0]", "{1g.10gb: 1, 1g.20gb: 1, 2g.20gb: 2}"),
        ("[1]", "{4g.40gb: 1, 1c.3g.40gb: 2}"),
        ("[2]", "off"),
    ]);
    (node, config)
}

/// What a command does without a fault: its calls, and the node after it.
struct Clean {
    calls: Vec<(String, bool, u32)>,
    after: Node,
}

/// A node, a command on it, and what must come of it.
struct Sweep {
    rehearsal: Rehearsal,
    /// The node and the saved states before the command.
    start: Node,
    saved: Option<(String, Vec<u8>)>,
    arguments: &'static [&'static str],
    /// The state to which `rollback` must lead in the end.
    first: Node,
    clean: Clean,
}

impl Sweep {
    fn apply() -> Sweep {
        let (first, config) = case();
        let rehearsal = Rehearsal::new(&first);
        rehearsal.write("config.yaml", &config);
        Sweep::new(rehearsal, first.clone(), first, &["apply", "--yes"])
    }

    /// The rollback of an apply that was killed in the midst.
    fn rollback() -> Sweep {
        let (first, config) = case();
        let rehearsal = Rehearsal::new(&first);
        rehearsal.write("config.yaml", &config);
        rehearsal.edit(|node| node.faults = vec![fault("change", 15, None, false, false)]);
        assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, -1);
        rehearsal.edit(|node| node.faults.clear());
        let start = rehearsal.load();
        Sweep::new(rehearsal, start, first, &["rollback", "--yes"])
    }

    fn new(
        rehearsal: Rehearsal,
        start: Node,
        first: Node,
        arguments: &'static [&'static str],
    ) -> Sweep {
        let file = rehearsal.state_dir().join("run-000001.jsonl");
        let saved = std::fs::read(&file).ok().map(|text| ("run-000001.jsonl".to_string(), text));
        let log = rehearsal.path("calls.log").display().to_string();
        rehearsal.edit(|node| node.log = Some(log));
        let ran = rehearsal.migplan(arguments);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        rehearsal.edit(|node| node.log = None);
        let clean = Clean { calls: rehearsal.calls(), after: rehearsal.load() };
        Sweep { rehearsal, start, saved, arguments, first, clean }
    }

    /// Puts the node and the saved states back to before the command, with these faults.
    fn reset(&self, faults: Vec<Fault>) -> Node {
        self.rehearsal.forget_saved_state();
        if let Some((name, content)) = &self.saved {
            std::fs::create_dir(self.rehearsal.state_dir()).unwrap();
            std::fs::write(self.rehearsal.state_dir().join(name), content).unwrap();
        }
        let node = Node { faults, ..self.start.clone() };
        self.rehearsal.save(&node);
        node
    }

    /// Runs the command with a fault; its exit code (-1 where a signal ended it).
    fn run(&self, fault: Fault, what: &str) -> i32 {
        let faulty = self.reset(vec![fault]);
        let ran = self.rehearsal.migplan(self.arguments);
        let after = self.rehearsal.load();
        let what = format!("{}, {what}: {}", self.arguments[0], ran.stderr);
        match ran.code {
            0 => assert_eq!(after.essence(), self.clean.after.essence(), "{what}"),
            // A profile that the driver says it does not offer cannot be what a file asks for: 3.
            3 | 6 | 7 => assert_eq!(after.essence(), faulty.essence(), "{what}"),
            8 => assert_eq!(after.essence(), faulty.essence(), "{what}"),
            -1 | 9 | 129 | 130 | 143 => {}
            _ => panic!("{what}: exit {}", ran.code),
        }
        self.rehearsal.edit(|node| {
            node.faults.clear();
            node.gpus.iter_mut().for_each(|gpu| gpu.lost = false);
        });
        // Whatever happened, the way back is known, or was never left.
        let back = self.rehearsal.migplan(&["rollback", "--yes"]);
        let back_is_fine = back.code == 0 || back.code == 3 && ran.code != 0;
        assert!(back_is_fine, "{what}, then {}: {}", back.code, back.stderr);
        let end = self.rehearsal.load();
        assert_eq!(end.essence(), self.first.essence(), "{what}, then {}", back.stderr);
        // What was busy was never touched.
        let busy = |node: &Node| node.gpus[0].instances.iter().find(|i| i.start == 0).cloned();
        assert_eq!(busy(&end), busy(&self.first), "{what}");
        ran.code
    }

    /// Runs this part of all faults, and counts the exit codes.
    fn all(&self, faults: impl Fn(u64, bool) -> Vec<(String, Fault)>) {
        let (index, of) = part();
        let mut cases = 0u64;
        let mut ends = BTreeMap::<i32, u32>::new();
        for (nth, (name, change, _)) in (1..).zip(&self.clean.calls) {
            for (what, fault) in faults(nth, *change) {
                cases += 1;
                if cases % of == index {
                    let end = self.run(fault, &format!("call {nth} ({name}) {what}"));
                    *ends.entry(end).or_default() += 1;
                }
            }
        }
        assert!(!ends.is_empty());
        let (command, calls) = (self.arguments[0], self.clean.calls.len());
        println!("{command}: {calls} calls, {cases} faults in all, exit codes here {ends:?}");
    }
}

/// Every code at a call; where it changes something, also after its effect.
fn codes(nth: u64, change: bool) -> Vec<(String, Fault)> {
    let moments = if change { &[false, true][..] } else { &[false] };
    every_code()
        .flat_map(|code| moments.iter().map(move |late| (code, *late)))
        .map(|(code, late)| {
            let what = format!("answers {code}{}", if late { " after its effect" } else { "" });
            (what, fault("any", nth, Some(code), false, late))
        })
        .collect()
}

fn kills(nth: u64, _: bool) -> Vec<(String, Fault)> {
    [false, true]
        .map(|late| (format!("kills ({late})"), fault("any", nth, None, false, late)))
        .into()
}

fn signals(nth: u64, _: bool) -> Vec<(String, Fault)> {
    let all = [1, 2, 15].into_iter().flat_map(|number| [(number, false), (number, true)]);
    all.map(|(number, late)| (format!("signal {number}"), signal("any", nth, number, late)))
        .collect()
}

fn losses(nth: u64, _: bool) -> Vec<(String, Fault)> {
    let all = [0, 1, 2].into_iter().flat_map(|gpu| [(gpu, false), (gpu, true)]);
    all.map(|(gpu, late)| (format!("loses GPU {gpu}"), lose("any", nth, gpu, late))).collect()
}

#[test]
fn every_code_at_every_call_of_apply() {
    Sweep::apply().all(codes);
}

#[test]
fn every_code_at_every_call_of_rollback() {
    Sweep::rollback().all(codes);
}

#[test]
fn a_kill_at_every_call() {
    Sweep::apply().all(kills);
    Sweep::rollback().all(kills);
}

#[test]
fn a_signal_at_every_call() {
    Sweep::apply().all(signals);
    Sweep::rollback().all(signals);
}

#[test]
fn a_lost_gpu_at_every_call() {
    Sweep::apply().all(losses);
    Sweep::rollback().all(losses);
}

#[test]
fn runs_at_once_do_not_mix() {
    let first = laid_out("2xh100-80gb", "h100-80gb", &[("3g.40gb", 4)]);
    let rehearsal = Rehearsal::new(&first);
    let wanted = ["{7g.80gb: 1}", "{2g.20gb: 3}", "{1g.10gb: 7}"];
    let mut states = vec![first.essence()];
    for (i, profiles) in wanted.iter().enumerate() {
        rehearsal.write(&format!("{i}.yaml"), &yaml(&[("all", profiles)]));
        rehearsal.save(&first);
        assert_eq!(rehearsal.migplan(&["apply", "--yes", "-f", &format!("{i}.yaml")]).code, 0);
        states.push(rehearsal.load().essence());
    }
    let (_, of) = part();
    let rounds = (600 / of).max(6);
    let mut ends = BTreeMap::<i32, u32>::new();
    for round in 0..rounds {
        rehearsal.save(&first);
        // In one state folder, or each in its own.
        let folder = |i: usize| if round % 2 == 0 { "state".into() } else { format!("state{i}") };
        let children: Vec<_> = (0..2 + round as usize % 2)
            .map(|i| {
                rehearsal
                    .command()
                    .args(["apply", "--yes", "-f", &format!("{i}.yaml")])
                    .args(["--state-dir", &folder(i)])
                    .stdout(Stdio::null())
                    .stderr(Stdio::piped())
                    .spawn()
                    .unwrap()
            })
            .collect();
        let mut done = 0;
        for child in children {
            let output = child.wait_with_output().unwrap();
            let code = output.status.code().unwrap_or(-1);
            *ends.entry(code).or_default() += 1;
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(code == 0 || code == 7, "round {round}: {code} {stderr}");
            done += usize::from(code == 0);
        }
        let now = rehearsal.load().essence();
        let at = states.iter().position(|state| *state == now);
        assert!(
            at.is_some_and(|at| (at == 0) == (done == 0)),
            "round {round}: {done} done, {now:?}"
        );
    }
    println!("{rounds} rounds, exit codes {ends:?}");
}

/// What the soak knows: nothing that was ever saved may be lost or changed.
struct Soak {
    rehearsal: Rehearsal,
    dice: SplitMix,
    /// The states of every run that was ever listed.
    saved: BTreeMap<u64, Value>,
    /// What the newest run found where that is not the state that it saved.
    found: Value,
    /// Which GPUs no interrupted run has left half-way, so that their state is one to go back to.
    at_rest: [bool; 3],
    /// How many such states a step changed, each of which must be listed from then on.
    left: u32,
    counts: BTreeMap<String, u32>,
}

const LAYOUTS: [&str; 10] = [
    "{7g.80gb: 1}",
    "{1g.10gb: 7}",
    "{2g.20gb: 3, 1g.10gb: 1}",
    "{4g.40gb: 1, 3g.40gb: 1}",
    "{3g.40gb: 1, 1c.3g.40gb: 2}",
    "{4c.7g.80gb: 1, 2c.7g.80gb: 1, 1c.7g.80gb: 1}",
    "{3c.7g.80gb: 1, 1c.7g.80gb: 3}",
    "{1g.20gb: 2, 2g.20gb: 1}",
    "{1g.10gb: 2}",
    "off",
];

impl Soak {
    fn new(seed: u64) -> Soak {
        let mut node = laid_out("3xh100-80gb", "h100-80gb", &[("3g.40gb", 4), ("1g.10gb", 0)]);
        lay_out(&mut node, 1, &board("h100-80gb"), &[]);
        put(&mut node, 1, "7g.80gb", 0);
        let rehearsal = Rehearsal::new(&node);
        Soak {
            rehearsal,
            dice: SplitMix(seed),
            saved: BTreeMap::new(),
            found: serde_json::json!([]),
            at_rest: [true; 3],
            left: 0,
            counts: BTreeMap::new(),
        }
    }

    /// Something that goes wrong at some call, or nothing.
    fn trouble(&mut self) -> Vec<Fault> {
        let nth = 1 + self.dice.below(40);
        let late = self.dice.index(2) == 0;
        let code = 1 + self.dice.below(30) as u32;
        match self.dice.index(8) {
            0 | 1 => vec![fault("change", nth.min(14), None, false, late)],
            2 => vec![fault("change", nth.min(14), Some(code), false, late)],
            3 => vec![fault("any", nth * 10, Some(code), false, late)],
            4 => vec![signal("change", nth.min(14), 15, late)],
            5 => vec![lose("change", nth.min(14), self.dice.index(3), late)],
            _ => Vec::new(),
        }
    }

    /// Makes one step and looks whether everything that was saved is still there.
    fn step(&mut self, name: &str) {
        let ids: Vec<u64> = self.saved.keys().copied().collect();
        let (what, arguments): (String, Vec<String>) = match self.dice.index(6) {
            0 if !ids.is_empty() => {
                let id = ids[self.dice.index(ids.len())].to_string();
                let arguments = ["rollback", "--yes", "--force", "--to", &id].map(String::from);
                (format!("rollback to {id}"), arguments.into())
            }
            1 => ("rollback".into(), ["rollback", "--yes", "--force"].map(String::from).into()),
            _ => {
                let mut entries = Vec::new();
                for gpu in ["[0]", "[1]", "[2]"] {
                    if self.dice.index(3) > 0 {
                        entries.push((gpu, LAYOUTS[self.dice.index(LAYOUTS.len())]));
                    }
                }
                if entries.is_empty() {
                    entries.push(("all", LAYOUTS[0]));
                }
                self.rehearsal.config(&entries);
                (format!("apply {entries:?}"), ["apply", "--yes"].map(String::from).into())
            }
        };
        // Now and then somebody else does something, or something runs.
        let meddles = self.dice.index(10);
        let at = self.dice.index(3);
        self.rehearsal.edit(|node| meddle(node, meddles, at));
        let faults = self.trouble();
        let before = self.rehearsal.load();
        self.rehearsal.edit(|node| node.faults = faults.clone());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let ran = self.rehearsal.migplan(&arguments);
        let after = self.rehearsal.load();
        self.rehearsal.edit(|node| node.faults.clear());
        let what = format!("{what} with {faults:?}: exit {}: {}", ran.code, ran.stderr);
        *self.counts.entry(format!("{} {}", arguments[0], ran.code)).or_default() += 1;
        if [6, 7, 8].contains(&ran.code) {
            assert_eq!(after.essence(), before.essence(), "{what}");
        }
        assert!([-1, 0, 3, 6, 7, 8, 9].contains(&ran.code), "{what}");
        assert_eq!(busy(&after), busy(&before), "{what}");
        let what = format!("{name}: {what}");
        self.check(&what);
        self.check_first_states(&before, &after, ran.code == 0, &what);
    }

    /// Looks whether the states that a step has changed can be gone back to: those of GPUs that
    /// were at rest before it.
    fn check_first_states(&mut self, before: &Node, after: &Node, done: bool, what: &str) {
        for (index, (old, new)) in before.gpus.iter().zip(&after.gpus).enumerate() {
            if layout(old) == layout(new) {
                continue;
            }
            if self.at_rest[index] {
                // Of what somebody has created as an interrupted run would have, nobody can tell: then
                // the state before that run stays the one to go back to, and this one is found.
                let found = self.found.as_array().unwrap();
                let mut states =
                    self.saved.values().flat_map(|s| s.as_array().unwrap()).chain(found);
                let listed =
                    states.any(|s| s["uuid"] == old.uuid && saved_layout(s) == layout(old));
                assert!(listed, "GPU {index} was {:?}, which no run lists: {what}", layout(old));
                self.left += 1;
            }
            self.at_rest[index] = done;
        }
    }

    fn check(&mut self, what: &str) {
        let list = self.rehearsal.migplan(&["rollback", "--list", "--json"]);
        assert_eq!(list.code, 0, "{what}: {}", list.stderr);
        let list: Value = serde_json::from_str(&list.stdout).unwrap();
        assert_eq!(list["damaged"], serde_json::json!([]), "{what}");
        let runs: BTreeMap<u64, Value> = list["runs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|run| (run["id"].as_u64().unwrap(), run["before"].clone()))
            .collect();
        let kept = runs.keys().next_back().copied().unwrap_or(0).saturating_sub(1000);
        for (id, before) in self.saved.iter().filter(|(id, _)| **id > kept) {
            assert_eq!(runs.get(id), Some(before), "run {id} after {what}");
        }
        self.saved = runs;
        let last = list["runs"].as_array().unwrap().last();
        self.found = last.map_or_else(|| serde_json::json!([]), |run| run["found"].clone());
    }

    /// With every GPU back and idle, any saved state can be reached.
    fn reach(&mut self) {
        self.rehearsal.edit(|node| {
            for gpu in &mut node.gpus {
                gpu.lost = false;
                gpu.processes.clear();
                let instances = gpu.instances.iter_mut();
                instances.flat_map(|i| &mut i.compute).for_each(|c| c.processes.clear());
            }
        });
        let ids: Vec<u64> = self.saved.keys().copied().collect();
        if ids.is_empty() {
            return;
        }
        let id = ids[self.dice.index(ids.len())];
        let to = id.to_string();
        let back = self.rehearsal.migplan(&["rollback", "--yes", "--force", "--to", &to]);
        assert_eq!(back.code, 0, "to {id}: {}", back.stderr);
        let node = self.rehearsal.load();
        for state in self.saved[&id].as_array().unwrap() {
            let gpu = node.gpus.iter().find(|gpu| state["uuid"] == gpu.uuid.as_str()).unwrap();
            assert_eq!(layout(gpu), saved_layout(state), "run {id}");
            self.at_rest[node.gpus.iter().position(|g| g.uuid == gpu.uuid).unwrap()] = true;
        }
    }
}

/// Whether MIG is on, and each instance's start and profile.
type Layout = (bool, Vec<(u64, String)>);

fn layout(gpu: &fake_nvml::Gpu) -> Layout {
    let mut has: Vec<(u64, String)> =
        gpu.instances.iter().map(|i| (i.start.into(), i.profile.clone())).collect();
    has.sort();
    (gpu.mode, has)
}

/// The same of a state in `rollback --list --json`.
fn saved_layout(state: &Value) -> Layout {
    let instances = state["instances"].as_array().unwrap().iter();
    let instances =
        instances.map(|i| (i["start"].as_u64().unwrap(), profile_name(&i["profile"]))).collect();
    (state["mig"].as_bool().unwrap(), instances)
}

/// A profile in a saved state, which is its name.
fn profile_name(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}

/// What others do to a node between two runs.
fn meddle(node: &mut Node, what: usize, gpu: usize) {
    let instances = &mut node.gpus[gpu].instances;
    match what {
        0 => {
            // A job starts in the first instance, if it can be used.
            if let Some(compute) = instances.first_mut().and_then(|i| i.compute.first_mut()) {
                let name = Some("train.py".into());
                compute.processes = vec![fake_nvml::Process { pid: 7, name, used_mib: 1 }];
            }
        }
        1 | 2 => instances
            .iter_mut()
            .flat_map(|i| &mut i.compute)
            .for_each(|compute| compute.processes.clear()),
        3 => {
            // Somebody creates an instance by hand.
            let id = node.gpus[gpu].profile("1g.10gb").map(|p| p.id);
            if let (true, Ok(id)) = (node.gpus[gpu].mode, id)
                && let Some(start) =
                    (0..7).find(|start| node.clone().create_instance(gpu, id, *start).is_ok())
            {
                put(node, gpu, "1g.10gb", start);
            }
        }
        4 => node.gpus.iter_mut().for_each(|gpu| gpu.lost = false),
        _ => {}
    }
}

/// What runs, by UUID of its MIG device.
fn busy(node: &Node) -> Vec<String> {
    let computes = node.gpus.iter().flat_map(|gpu| &gpu.instances).flat_map(|i| &i.compute);
    let mut uuids: Vec<String> =
        computes.filter(|c| !c.processes.is_empty()).map(|c| c.uuid.clone()).collect();
    uuids.sort();
    uuids
}

#[test]
fn a_soak_of_random_steps_loses_nothing() {
    let text = std::env::var("MIGPLAN_SOAK").unwrap_or_else(|_| "1:40".to_string());
    let (seed, steps) = text.split_once(':').expect("MIGPLAN_SOAK is like SEED:STEPS");
    let (seed, steps): (u64, u32) = (seed.parse().unwrap(), steps.parse().unwrap());
    println!("MIGPLAN_SOAK={seed}:{steps}");
    let mut soak = Soak::new(seed);
    for step in 1..=steps {
        soak.step(&format!("MIGPLAN_SOAK={seed}:{step}"));
        if step % 20 == 0 {
            soak.reach();
            soak.check("reaching a saved state");
        }
    }
    let Soak { saved, left, counts, .. } = soak;
    println!("{steps} steps, {} runs kept, {left} states left and listed, {counts:?}", saved.len());
}
