//! `apply` over the real FFI path and the fake libnvidia-ml: every pair of layouts, busy subsets,
//! and a fault at every single call.

use crate::common::random::Random;
use crate::rehearsal::*;
use fake_nvml::Node;
use migplan::apply::{Event, Operator, Proposal};
use migplan::error::ExitCode;
use migplan::hardware::layout::{self, Counts};
use migplan::hardware::{BoardRef, Catalogue, MediaEngines};
use migplan::mig_parted::Config;

fn a100() -> BoardRef {
    Catalogue::built_in().by_id("a100-sxm4-80gb").unwrap().clone()
}

fn maximal(board: &BoardRef) -> Vec<Counts> {
    let plain = |p: usize| board.profiles[p].name.media_engines() == MediaEngines::Default;
    let all = layout::maximal_multisets(board, plain);
    assert_eq!(all.len(), 28);
    all
}

/// How many of each profile a fake GPU has.
fn counts_of(board: &BoardRef, node: &Node, gpu: usize) -> Counts {
    let mut counts = vec![0; board.profiles.len()];
    for instance in &node.gpus[gpu].instances {
        let (profile, info) = board.profile(&instance.profile.parse().unwrap()).unwrap();
        assert_eq!(instance.compute.len(), 1);
        assert_eq!(instance.compute[0].slices, info.compute_slices);
        counts[profile] += 1;
    }
    counts
}

#[test]
fn every_pair_of_maximal_layouts_is_reached_by_the_fewest_calls() {
    let board = a100();
    let maximal = maximal(&board);
    let empty = Node::new("1xa100-80gb").unwrap();
    let rehearsal = Rehearsal::new(&empty);
    let log = rehearsal.path("calls.log").display().to_string();
    let mut pairs = 0;
    for from in &maximal {
        for to in maximal.iter().filter(|to| *to != from) {
            pairs += 1;
            let mut node = empty.clone();
            lay_out(&mut node, 0, &board, &layout::place(&board, from, &[]).unwrap());
            node.log = Some(log.clone());
            rehearsal.save(&node);
            let _ = std::fs::remove_file(&log);

            let config = yaml(&[("all", &profiles(&board, to))]);
            let change = rehearsal.apply(&config).unwrap();
            let after = rehearsal.load();
            assert_eq!(counts_of(&board, &after, 0), *to);
            // What stays was not made anew: it has its serial from before.
            let kept: Vec<u64> = after.gpus[0]
                .instances
                .iter()
                .filter(|i| i.serial <= node.serial)
                .map(|i| i.serial)
                .collect();
            assert_eq!(kept.len(), change.gpus[0].change.keep.len());
            // Each destroy and each create is one call for the instance and one for its content.
            let change = &change.gpus[0].change;
            let calls = rehearsal.calls();
            let changing = calls.iter().filter(|(_, change, _)| *change).count();
            assert_eq!(changing, 2 * (change.destroy.len() + change.create.len()));
            assert!(calls.iter().all(|(_, change, code)| !change || *code == 0));

            // Again: nothing to do, no call that changes anything.
            rehearsal.apply(&config).unwrap();
            let again = rehearsal.calls();
            assert!(again.len() > calls.len());
            assert!(again[calls.len()..].iter().all(|(_, change, _)| !change));
        }
    }
    assert_eq!(pairs, 756);
}

#[test]
fn busy_instances_survive_or_nothing_is_touched() {
    let board = a100();
    let maximal = maximal(&board);
    let rehearsal = Rehearsal::new(&Node::new("1xa100-80gb").unwrap());
    let mut random = Random::new(42);
    let mut roll = |sides: u64| random.below(sides) as usize;
    let (mut done, mut refused) = (0, 0);
    for _ in 0..400 {
        let from = &maximal[roll(28)];
        let to = &maximal[roll(28)];
        let mut node = Node::new("1xa100-80gb").unwrap();
        lay_out(&mut node, 0, &board, &layout::place(&board, from, &[]).unwrap());
        let starts: Vec<u32> = node.gpus[0].instances.iter().map(|i| i.start).collect();
        for start in starts {
            if roll(4) == 0 {
                occupy(&mut node, 0, start, 4711);
            }
        }
        rehearsal.save(&node);
        let busy = |node: &Node| -> Vec<_> {
            let all = &node.gpus[0].instances;
            all.iter().filter(|i| !i.compute[0].processes.is_empty()).cloned().collect()
        };
        match rehearsal.apply(&yaml(&[("all", &profiles(&board, to))])) {
            Ok(_) => {
                done += 1;
                let after = rehearsal.load();
                assert_eq!(counts_of(&board, &after, 0), *to);
                assert_eq!(busy(&after), busy(&node));
            }
            Err(error) => {
                refused += 1;
                assert_eq!(error.code, ExitCode::Refused, "{error}");
                assert!(error.to_string().contains("train.py (pid 4711)"), "{error}");
                assert_eq!(rehearsal.load(), node);
            }
        }
    }
    assert!(done > 50 && refused > 50, "{done} done, {refused} refused");
}

/// Somebody who changes the node while being asked.
struct Meddler<'r>(&'r Rehearsal, bool);

impl Operator for Meddler<'_> {
    fn event(&mut self, _: &Event<'_>) {}

    fn confirm(&mut self, _: &Proposal<'_>) -> migplan::error::Result<()> {
        self.0.edit(|node| {
            if self.1 {
                occupy(node, 0, 4, 12);
            } else {
                put(node, 0, "1g.10gb", 0);
            }
        });
        Ok(())
    }
}

#[test]
fn a_node_that_changes_while_the_change_is_planned_is_left_alone() {
    let mut start = Node::new("1xh100-80gb").unwrap();
    lay_out(&mut start, 0, &Catalogue::built_in().by_id("h100-sxm5-80gb").unwrap().clone(), &[]);
    put(&mut start, 0, "3g.40gb", 4);
    for (expected, busy) in
        [("GPU 0: train.py (pid 12) runs in what must go", true), ("GPU 0 is not as it was", false)]
    {
        let rehearsal = Rehearsal::new(&start);
        let config = Config::parse(&yaml(&[("all", "{7g.80gb: 1}")]), "c.yaml").unwrap();
        let mut saves = &*rehearsal.state_dir();
        let error = rehearsal
            .session_of(&mut saves, &mut Meddler(&rehearsal, busy), false, |session| {
                session.apply(&config, None, "c.yaml")
            })
            .unwrap_err();
        assert_eq!(error.code, ExitCode::Refused);
        assert!(error.to_string().contains(expected), "{error}");
        let mut expected = start.clone();
        if busy {
            occupy(&mut expected, 0, 4, 12);
        } else {
            put(&mut expected, 0, "1g.10gb", 0);
        }
        assert_eq!(rehearsal.load(), expected);
    }
}

#[test]
fn what_starts_in_an_instance_that_stays_is_no_reason_to_refuse() {
    let rehearsal = Rehearsal::new(&laid_out("1xh100-80gb", "h100-80gb", &[("3g.40gb", 4)]));
    let config = Config::parse(&yaml(&[("all", "{3g.40gb: 1, 1g.10gb: 1}")]), "c.yaml").unwrap();
    let mut saves = &*rehearsal.state_dir();
    let done = rehearsal.session_of(&mut saves, &mut Meddler(&rehearsal, true), false, |session| {
        session.apply(&config, None, "c.yaml")
    });
    assert!(done.is_ok(), "{done:?}");
    let after = rehearsal.load();
    let process = &after.gpus[0].instances[0].compute[0].processes[0];
    assert_eq!((after.gpus[0].instances.len(), process.pid), (2, 12));
}

/// Three GPUs: one to be changed around a busy instance, one whose mode must come on, one whose
/// mode must go off.
fn faulty_case() -> (Node, String) {
    let board = Catalogue::built_in().by_id("h100-sxm5-80gb").unwrap().clone();
    let mut node = Node::new("3xh100-80gb").unwrap();
    lay_out(&mut node, 0, &board, &[]);
    put(&mut node, 0, "3g.40gb", 4);
    put(&mut node, 0, "1g.10gb", 0);
    put(&mut node, 0, "1g.10gb", 1);
    occupy(&mut node, 0, 0, 4711);
    lay_out(&mut node, 2, &board, &[]);
    put(&mut node, 2, "7g.80gb", 0);
    let config = yaml(&[
        ("[0]", "{1g.10gb: 1, 1g.20gb: 1, 2g.20gb: 2}"),
        ("[1]", "{4g.40gb: 1, 1c.3g.40gb: 2}"),
        ("[2]", "off"),
    ]);
    (node, config)
}

/// Runs `apply` with one fault, and checks that the state afterwards is the one before, the one
/// wanted, or one from which `rollback` reaches the one before.
fn sweep(codes: &[u32], sticky: bool, late: bool) {
    let (node, config) = faulty_case();
    let rehearsal = Rehearsal::new(&node);
    rehearsal.log_calls();
    rehearsal.apply(&config).unwrap();
    let wanted = rehearsal.load().essence();
    let calls = rehearsal.calls();
    assert_ne!(wanted, node.essence());
    let mut ends = std::collections::BTreeMap::<u8, u32>::new();
    for nth in 1..=calls.len() as u64 {
        if late && !calls[nth as usize - 1].1 {
            continue;
        }
        for &code in codes {
            let what = format!("call {nth} ({}) answers {code}", calls[nth as usize - 1].0);
            rehearsal.forget_saved_state();
            let mut faulty = node.clone();
            faulty.faults = vec![fault("any", nth, Some(code), sticky, late)];
            rehearsal.save(&faulty);
            let result = rehearsal.apply(&config);
            let after = rehearsal.load();
            let end = result.as_ref().map_or_else(|e| e.code as u8, |_| 0);
            *ends.entry(end).or_default() += 1;
            match end {
                0 => assert_eq!(after.essence(), wanted, "{what}: silent"),
                3 | 6 | 7 => assert_eq!(after, faulty, "{what}: {result:?}"),
                8 => assert_eq!(after.essence(), node.essence(), "{what}: {result:?}"),
                9 => {
                    rehearsal.edit(|node| node.faults.clear());
                    let back = rehearsal.roll_back(false);
                    assert!(back.is_ok(), "{what}: {result:?}, then {back:?}");
                    assert_eq!(rehearsal.load().essence(), node.essence(), "{what}");
                }
                _ => panic!("{what}: {result:?}"),
            }
            // The busy instance is what it was, whatever happened.
            let busy = |node: &Node| node.gpus[0].instances.iter().find(|i| i.start == 0).cloned();
            assert_eq!(busy(&rehearsal.load()), busy(&node), "{what}");
        }
    }
    eprintln!("{} calls, exit codes {ends:?}", calls.len());
    assert!(ends.contains_key(&8) || sticky);
}

/// Every return code of NVML that is an error.
fn every_code() -> Vec<u32> {
    (1..=30).chain([999]).collect()
}

#[test]
fn a_passing_fault_at_any_call_is_survived() {
    sweep(&[3, 19, 999], false, false);
}

#[test]
fn a_lasting_fault_from_any_call_on_is_survived() {
    sweep(&[4, 15], true, false);
}

#[test]
fn a_change_that_happens_and_still_fails_is_survived() {
    sweep(&every_code(), false, true);
}

#[test]
#[ignore = "minutes; run it with --ignored"]
fn every_code_at_every_call_is_survived() {
    sweep(&every_code(), false, false);
    sweep(&every_code(), true, false);
}
