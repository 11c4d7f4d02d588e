//! Compute instances that share a GPU instance: every set of them is reached from every other one
//! and back, whatever the driver's rule for their places, or refused before anything is touched.

use crate::common::cases::cases;
use crate::rehearsal::*;
use fake_nvml::{Node, compute_profiles};
use migplan::apply::{Event, Operator, Outcome, Proposal};
use migplan::error::{ExitCode, Result};
use migplan::mig_parted::Config;
use migplan::view::text::changes;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::json;

/// Makes a GPU instance that compute instances of these sizes share.
fn share(node: &mut Node, profile: &str, start: u32, sizes: &[u32]) {
    let (id, room) = {
        let profile = node.gpus[0].profile(profile).unwrap();
        (profile.id, profile.compute)
    };
    let serial = node.create_instance(0, id, start).unwrap();
    for size in sizes {
        let of_size = |&(_, _, slices, _): &(u32, u32, u32, u32)| slices == *size;
        let (_, id, ..) = compute_profiles(room).into_iter().find(of_size).unwrap();
        node.create_compute(0, serial, id).unwrap();
    }
}

fn shared(instances: &[(&str, u32, &[u32])]) -> Node {
    let mut node = laid_out("1xh100-80gb", "h100-80gb", &[]);
    for (profile, start, sizes) in instances {
        share(&mut node, profile, *start, sizes);
    }
    node
}

/// The sizes in the GPU instance at `start`, in the order of their places.
fn sizes(rehearsal: &Rehearsal, start: u32) -> Vec<u32> {
    let mut compute = computes(&mut rehearsal.load(), 0, start).clone();
    compute.sort_by_key(|c| c.start);
    compute.iter().map(|c| c.slices).collect()
}

/// What a file asks of the GPU: for each profile the sizes of its compute instances.
type Wanted = Vec<(&'static str, u32, Vec<u32>)>;

/// One GPU instance of all slices, or two; what of the sizes fits in goes in.
fn wanted() -> impl Strategy<Value = Wanted> {
    let sizes = || prop::collection::vec(prop::sample::select(vec![1u32, 1, 2, 2, 3, 4, 7]), 1..9);
    (any::<bool>(), sizes(), sizes()).prop_map(|(one, first, second)| {
        let fill = |profile, room: u32, sizes: Vec<u32>| {
            let mut filled: Vec<u32> = Vec::new();
            for size in sizes {
                let of_size = |&(_, _, slices, _): &(u32, u32, u32, u32)| slices == size;
                let most = compute_profiles(room).into_iter().find(of_size).map_or(0, |p| p.3);
                let have = filled.iter().filter(|s| **s == size).count();
                if have < most as usize && filled.iter().sum::<u32>() + size <= room {
                    filled.push(size);
                }
            }
            (profile, room, filled)
        };
        match one {
            true => vec![fill("7g.80gb", 7, first)],
            false => vec![fill("4g.40gb", 4, first), fill("3g.40gb", 3, second)],
        }
    })
}

fn file(wanted: &Wanted) -> String {
    let mut devices: Vec<String> = Vec::new();
    for (profile, _, sizes) in wanted {
        for size in 1..=7 {
            let count = sizes.iter().filter(|s| **s == size).count();
            if count > 0 {
                devices.push(format!("{size}c.{profile}: {count}"));
            }
        }
    }
    yaml(&[("all", &format!("{{{}}}", devices.join(", ")))])
}

/// The MIG devices of a file, and of a node, as (profile, compute slices).
fn asked(wanted: &Wanted) -> Vec<(String, u32)> {
    let all = wanted.iter().flat_map(|(profile, _, sizes)| {
        sizes.iter().map(move |size| ((*profile).to_string(), *size))
    });
    let mut all: Vec<(String, u32)> = all.collect();
    all.sort();
    all
}

fn held(node: &Node) -> Vec<(String, u32)> {
    let all = node.gpus[0].instances.iter();
    let all = all.flat_map(|i| i.compute.iter().map(|c| (i.profile.clone(), c.slices)));
    let mut all: Vec<(String, u32)> = all.collect();
    all.sort();
    all
}

/// The serials of the compute instances that something runs in.
fn busy(node: &Node) -> Vec<u64> {
    let all = node.gpus[0].instances.iter().flat_map(|i| &i.compute);
    all.filter(|c| !c.processes.is_empty()).map(|c| c.serial).collect()
}

/// What happens between two files.
#[derive(Debug, Clone)]
struct Turn {
    wanted: Wanted,
    /// Which compute instance is busy, if one is.
    busy: Option<Index>,
    /// Which call that changes something fails.
    fails: Option<u64>,
    rolls_back: bool,
}

fn turn() -> impl Strategy<Value = Turn> {
    let busy = prop::option::weighted(0.3, any::<Index>());
    let fails = prop::option::weighted(0.2, 1u64..8);
    (wanted(), busy, fails, any::<bool>()).prop_map(|(wanted, busy, fails, rolls_back)| Turn {
        wanted,
        busy,
        fails,
        rolls_back,
    })
}

proptest! {
    #![proptest_config(cases(60))]
    #[test]
    fn every_set_is_reached_and_left_again(
        turns in prop::collection::vec(turn(), 1..8),
        by_place in any::<bool>(),
        anywhere in any::<bool>(),
    ) {
        let mut node = laid_out("1xa100-80gb", "a100-80gb", &[]);
        node.compute_anywhere = anywhere;
        if !by_place {
            node.missing.push("nvmlGpuInstanceCreateComputeInstanceWithPlacement".into());
        }
        let rehearsal = Rehearsal::new(&node);
        rehearsal.log_calls();
        for Turn { wanted, busy: occupied, fails, rolls_back } in turns {
            // Places that the tables do not know may be lost by a failure beside what is busy.
            let fails = fails.filter(|_| !anywhere);
            rehearsal.edit(|node| {
                let all = node.gpus[0].instances.iter_mut().flat_map(|i| &mut i.compute);
                let mut all: Vec<_> = all.collect();
                all.iter_mut().for_each(|c| c.processes.clear());
                if let (Some(index), false) = (&occupied, all.is_empty()) {
                    let process = fake_nvml::Process { pid: 7, name: None, used_mib: 1 };
                    index.get_mut(&mut all).processes.push(process);
                }
                let fails = fails.map(|nth| fault("change", nth, Some(23), false, false));
                node.faults = fails.into_iter().collect();
            });
            let before = rehearsal.load();
            let yaml = file(&wanted);
            let applied = rehearsal.apply(&yaml);
            rehearsal.edit(|node| node.faults.clear());
            let after = rehearsal.load();
            // What is busy is never touched.
            prop_assert_eq!(busy(&after), busy(&before));
            match applied {
                Ok(_) => prop_assert_eq!(held(&after), asked(&wanted)),
                Err(error) if error.code == ExitCode::RolledBack => {
                    prop_assert!(fails.is_some(), "{}", error);
                    prop_assert_eq!(after.essence(), before.essence());
                    continue;
                }
                Err(error) => {
                    prop_assert_eq!(error.code, ExitCode::Refused, "{}", &error);
                    prop_assert!(!busy(&before).is_empty(), "{}", error);
                    prop_assert_eq!(&after.gpus, &before.gpus);
                    continue;
                }
            }
            let calls = rehearsal.changing_calls();
            rehearsal.apply(&yaml).unwrap();
            prop_assert_eq!(rehearsal.changing_calls(), calls);
            if rolls_back && after.gpus != before.gpus {
                match rehearsal.roll_back(false) {
                    Ok(_) => prop_assert_eq!(rehearsal.load().essence(), before.essence()),
                    Err(error) => {
                        prop_assert_eq!(error.code, ExitCode::Refused, "{}", &error);
                        prop_assert!(!busy(&after).is_empty(), "{}", error);
                        prop_assert_eq!(&rehearsal.load().gpus, &after.gpus);
                    }
                }
                prop_assert_eq!(busy(&rehearsal.load()), busy(&after));
            }
        }
    }
}

#[test]
fn what_stays_leaves_room_for_what_comes() {
    let rehearsal = Rehearsal::new(&shared(&[("7g.80gb", 0, &[2, 1])]));
    for (profiles, expected) in [
        ("{4c.7g.80gb: 1, 2c.7g.80gb: 1}", vec![4, 2]),
        ("{3c.7g.80gb: 1, 2c.7g.80gb: 2}", vec![2, 2, 3]),
        ("{2c.7g.80gb: 3, 1c.7g.80gb: 1}", vec![2, 2, 2, 1]),
        ("{3c.7g.80gb: 2, 1c.7g.80gb: 1}", vec![3, 1, 3]),
    ] {
        rehearsal.config(&[("all", profiles)]);
        let before = rehearsal.load();
        for _ in 0..2 {
            let ran = rehearsal.migplan(&["apply", "--yes"]);
            assert_eq!(ran.code, 0, "{}", ran.stderr);
            assert_eq!(sizes(&rehearsal, 0), expected);
        }
        let back = rehearsal.migplan(&["rollback", "--yes"]);
        assert_eq!(back.code, 0, "{}", back.stderr);
        assert_eq!(rehearsal.load().essence(), before.essence());
        assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);
    }
    // The one in the midst is in use, so no two of three slices fit beside it.
    let mut node = shared(&[("7g.80gb", 0, &[1, 1, 1])]);
    computes(&mut node, 0, 0).remove(0);
    computes(&mut node, 0, 0).remove(1);
    occupy(&mut node, 0, 0, 4711);
    let rehearsal = Rehearsal::new(&node);
    rehearsal.config(&[("all", "{3c.7g.80gb: 2, 1c.7g.80gb: 1}")]);
    let refused = rehearsal.migplan(&["apply", "--yes"]);
    assert_eq!(refused.code, 7, "{}", refused.stderr);
    assert!(refused.stderr.contains("in use by train.py (pid 4711)"), "{}", refused.stderr);
    assert_eq!(rehearsal.load(), node);
}

#[test]
fn what_has_all_that_a_file_asks_for_is_as_wanted() {
    let same: &[&[(&str, u32, &[u32])]] = &[
        &[("3g.40gb", 0, &[1]), ("3g.40gb", 4, &[1])],
        &[("3g.40gb", 0, &[1, 1]), ("3g.40gb", 4, &[1, 1])],
        &[("3g.40gb", 0, &[2, 1]), ("3g.40gb", 4, &[2, 1])],
        &[("3g.40gb", 0, &[1]), ("3g.40gb", 4, &[3])],
        &[("2g.20gb", 0, &[1]), ("2g.20gb", 2, &[1, 1]), ("2g.20gb", 4, &[1])],
    ];
    for instances in same {
        for busy in [false, true] {
            let mut node = shared(instances);
            if busy {
                instances.iter().for_each(|(_, start, _)| occupy(&mut node, 0, *start, 4711));
            }
            let rehearsal = Rehearsal::new(&node);
            rehearsal.log_calls();
            let export = rehearsal.migplan(&["export"]).stdout;
            rehearsal.write("config.yaml", &export);
            let live = rehearsal.migplan(&["check", "-f", "config.yaml", "--live"]);
            assert_eq!(live.code, 0, "{export}{}", live.stderr);
            let ran = rehearsal.migplan(&["apply", "--yes"]);
            assert_eq!(ran.code, 0, "{export}{}", ran.stderr);
            assert!(ran.stderr.contains("nothing to do"), "{}", ran.stderr);
            assert_eq!(rehearsal.changing_calls(), 0);
        }
    }
}

#[test]
fn compute_instances_in_use_stay_in_whichever_instance_they_are() {
    let mut node = shared(&[("3g.40gb", 0, &[1]), ("3g.40gb", 4, &[1])]);
    occupy(&mut node, 0, 0, 1);
    occupy(&mut node, 0, 4, 2);
    let rehearsal = Rehearsal::new(&node);
    for (count, expected) in [(3, 3), (5, 5), (2, 2)] {
        rehearsal.config(&[("all", &format!("{{1c.3g.40gb: {count}}}"))]);
        let ran = rehearsal.migplan(&["apply", "--yes"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert_eq!(sizes(&rehearsal, 0).len() + sizes(&rehearsal, 4).len(), expected);
        assert_eq!(busy(&rehearsal.load()), busy(&node));
    }
    // One instance for both is what a GPU that has neither gets.
    rehearsal.save(&shared(&[]));
    rehearsal.config(&[("all", "{1c.3g.40gb: 2}")]);
    assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);
    assert_eq!(rehearsal.load().gpus[0].instances.len(), 1);
}

#[test]
fn compute_instances_are_packed_into_the_fewest_instances() {
    let rehearsal = Rehearsal::new(&shared(&[]));
    rehearsal.config(&[("all", "{2c.3g.40gb: 2, 1c.3g.40gb: 2}")]);
    let check = rehearsal.migplan(&["check", "-f", "config.yaml", "--gpus", "1xh100-80gb"]);
    assert_eq!(check.code, 0, "{}", check.stderr);
    let ran = rehearsal.migplan(&["apply", "--yes"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!((sizes(&rehearsal, 0), sizes(&rehearsal, 4)), (vec![2, 1], vec![2, 1]));
}

#[test]
fn what_somebody_else_made_within_an_instance_is_not_rolled_away() {
    let rehearsal = Rehearsal::new(&laid_out("1xh100-80gb", "h100-80gb", &[("3g.40gb", 0)]));
    rehearsal.config(&[("all", "{1c.3g.40gb: 1}")]);
    assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);
    rehearsal.edit(|node| {
        let serial = at(node, 0, 0).serial;
        for _ in 0..2 {
            node.create_compute(0, serial, 0).unwrap();
        }
    });
    let there = rehearsal.load();
    let ran = rehearsal.migplan(&["rollback", "--yes"]);
    assert_eq!(ran.code, 7, "{}", ran.stderr);
    let told = "3g.40gb at memory slice 0 has compute instances that somebody else has created";
    assert!(ran.stderr.contains(told) && ran.stderr.contains("--force"), "{}", ran.stderr);
    assert_eq!(rehearsal.load().essence(), there.essence());
    assert_eq!(rehearsal.migplan(&["rollback", "--yes", "--force"]).code, 0);
    assert_eq!(sizes(&rehearsal, 0), [3]);
}

#[test]
fn what_a_kill_leaves_within_an_instance_is_nobody_elses() {
    let first = shared(&[("7g.80gb", 0, &[4, 2, 1])]);
    // Two go, two come.
    for nth in 1..=4 {
        for late in [false, true] {
            let rehearsal = Rehearsal::new(&first);
            rehearsal.config(&[("all", "{3c.7g.80gb: 1, 1c.7g.80gb: 2}")]);
            rehearsal.edit(|node| node.faults = vec![fault("change", nth, None, false, late)]);
            assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, -1);
            rehearsal.edit(|node| node.faults.clear());
            let back = rehearsal.migplan(&["rollback", "--yes"]);
            assert_eq!(back.code, 0, "{nth} {late}: {}", back.stderr);
            assert_eq!(rehearsal.load().essence(), first.essence());
        }
    }
}

/// Keeps what would be asked.
#[derive(Default)]
struct Asked(String);

impl Operator for Asked {
    fn event(&mut self, _: &Event<'_>) {}

    fn confirm(&mut self, proposal: &Proposal<'_>) -> Result<()> {
        self.0 = changes::question(proposal);
        Ok(())
    }
}

#[test]
fn what_becomes_of_compute_instances_is_told() {
    let node = shared(&[("4g.40gb", 0, &[2, 1, 1]), ("3g.40gb", 4, &[1, 1])]);
    let rehearsal = Rehearsal::new(&node);
    rehearsal.config(&[("all", "{1c.4g.40gb: 3, 2c.2g.20gb: 1}")]);
    let live = rehearsal.migplan(&["check", "-f", "config.yaml", "--live"]);
    assert_eq!(live.code, 7);
    let told = "1 × 3g.40gb too many; 1 × 2g.20gb missing; 4g.40gb at memory slice 0 has compute instances 2c 1c 1c, of which 2c must go";
    assert!(live.stderr.contains(told), "{}", live.stderr);
    let dry = rehearsal.migplan(&["apply", "--dry-run"]).stdout;
    for line in [
        "keep     4g.40gb        slices 0-3   compute instances: 2c destroyed, 1c created",
        "destroy  3g.40gb        slices 4-7   with compute instances 1c 1c",
        "1 instance kept, 1 destroyed, 1 created, 1 compute instance destroyed and 1 created in those kept",
    ] {
        assert!(dry.contains(line), "{line}\n{dry}");
    }
    let mut asked = Asked::default();
    let config =
        Config::parse(&std::fs::read_to_string(rehearsal.path("config.yaml")).unwrap(), "f");
    let applied =
        rehearsal.session_of(&mut rehearsal.state_dir().as_path(), &mut asked, false, |session| {
            session.apply(&config.unwrap(), None, "f")
        });
    assert!(matches!(applied, Ok(Outcome::Changed(_))));
    let text = "1 idle instance destroyed, 1 created, 1 compute instance destroyed and 1 created in those kept";
    assert!(asked.0.contains(text), "{}", asked.0);

    rehearsal.save(&node);
    let ran = rehearsal.migplan(&["apply", "--yes", "--json"]);
    let events: Vec<serde_json::Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let change = &events[0]["gpus"][0];
    let refit = &change["refit"][0];
    assert_eq!(refit["compute"], json!([2, 1, 1]));
    assert_eq!(
        (&refit["compute_destroyed"], &refit["compute_created"]),
        (&json!([2]), &json!([1]))
    );
    assert_eq!(change["destroy"][0]["compute"], json!([1, 1]));
    let begins = |action: &str| {
        let begun = |e: &&serde_json::Value| e["event"] == "begin" && e["step"]["action"] == action;
        events.iter().find(begun).unwrap()["step"].clone()
    };
    let refit = begins("refit");
    assert_eq!(
        (&refit["compute_destroyed"], &refit["compute_created"]),
        (&json!([2]), &json!([1]))
    );
    assert_eq!(begins("destroy")["compute_destroyed"], json!([1, 1]));
    rehearsal.save(&node);
    let verbose = rehearsal.migplan(&["apply", "--yes", "-v"]).stderr;
    let step = "GPU 0: refit 4g.40gb@0 (2c destroyed, 1c created)";
    assert!(verbose.contains(step), "{verbose}");
}
