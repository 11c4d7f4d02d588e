//! What keeps saved states and running work safe when something goes wrong around a change: runs
//! killed in a row, lost and replaced GPUs, signals, unsafe state folders, two runs at once, and
//! units that are stopped for a change. The real binary over the fake libnvidia-ml.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use crate::rehearsal::*;
use fake_nvml::{Node, Process};
use migplan::apply::{Event, Operator, Outcome, Proposal};
use migplan::mig_parted::Config;
use serde_json::Value;

const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

#[test]
fn a_saved_state_outlives_whatever_file_comes_next() {
    let (rehearsal, first) = killed(HALF_WAY);
    rehearsal.write("zero.yaml", &yaml(&[("[0]", "{2g.20gb: 2}")]));
    let nothing = rehearsal.migplan(&["apply", "-f", "zero.yaml", "--yes"]);
    assert_eq!(nothing.code, 0, "{}", nothing.stderr);
    assert!(nothing.stderr.contains("nothing to do"), "{}", nothing.stderr);
    assert!(nothing.stderr.contains("GPU 1 half-way"), "{}", nothing.stderr);
    let next = yaml(&[("[0]", "{1g.10gb: 7}"), ("[1]", "{4g.40gb: 1}")]);
    rehearsal.write("next.yaml", &next);
    let done = rehearsal.migplan(&["apply", "-f", "next.yaml", "--yes"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let back = rehearsal.migplan(&["rollback", "--yes"]);
    assert_eq!(back.code, 0, "{}", back.stderr);
    assert_eq!(rehearsal.load().essence(), first.essence());
}

#[test]
fn a_run_over_other_gpus_leaves_an_interrupted_one_open() {
    let (rehearsal, first) = killed(HALF_WAY);
    rehearsal.write("zero.yaml", &yaml(&[("[0]", "{1g.10gb: 7}")]));
    assert_eq!(rehearsal.migplan(&["apply", "-f", "zero.yaml", "--yes"]).code, 0);
    let status = json(&rehearsal.migplan(&["status", "--format", "json"]).stdout);
    assert_eq!(status["interrupted"][0]["run"], 1);
    assert_eq!(status["interrupted"][0]["half_way"], serde_json::json!([1]));
    let text = rehearsal.migplan(&["status"]).stdout;
    assert!(
        text.starts_with("interrupted: the apply of config.yaml, label test (run 1)"),
        "{text}"
    );
    let metrics = rehearsal.migplan(&["status", "--format", "prometheus"]).stdout;
    assert!(metrics.contains("\nmigplan_interrupted_runs 1\n"), "{metrics}");
    // Once GPU 1 is as a file wants it, nothing is half-way any more.
    rehearsal.write("one.yaml", &yaml(&[("[1]", "{4g.40gb: 1}")]));
    assert_eq!(rehearsal.migplan(&["apply", "-f", "one.yaml", "--yes"]).code, 0);
    let status = json(&rehearsal.migplan(&["status", "--format", "json"]).stdout);
    assert_eq!(status["interrupted"], serde_json::json!([]));
    let metrics = rehearsal.migplan(&["status", "--format", "prometheus"]).stdout;
    assert!(metrics.contains("\nmigplan_interrupted_runs 0\n"), "{metrics}");
    // The first state is still there to go back to.
    let back = rehearsal.migplan(&["rollback", "--to", "1", "--yes"]);
    assert_eq!(back.code, 0, "{}", back.stderr);
    assert_eq!(rehearsal.load().essence(), first.essence());
}

#[test]
fn every_earlier_state_can_be_reached_and_a_rollback_be_undone() {
    let first = two_gpus();
    let rehearsal = Rehearsal::new(&first);
    let mut states = vec![first.essence()];
    for profiles in ["{7g.80gb: 1}", "{2g.20gb: 3}", "{1g.10gb: 7}"] {
        rehearsal.config(&[("all", profiles)]);
        assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);
        states.push(rehearsal.load().essence());
    }
    let list = rehearsal.migplan(&["rollback", "--list"]);
    assert_eq!((list.code, list.stdout.matches("before the apply of").count()), (0, 3));
    assert!(list.stdout.contains("GPU 1: MIG on: 1g.10gb@0 3g.40gb@4"), "{}", list.stdout);
    for (run, state) in [(1, 0), (3, 2), (2, 1), (1, 0)] {
        let back = rehearsal.migplan(&["rollback", "--yes", "--to", &run.to_string()]);
        assert_eq!(back.code, 0, "{}", back.stderr);
        assert_eq!(rehearsal.load().essence(), states[state], "run {run}");
    }
    // The rollbacks saved the states that they found: run 4 found the last of all.
    let list = json(&rehearsal.migplan(&["rollback", "--list", "--json"]).stdout);
    assert_eq!(list["runs"][3]["purpose"], "rollback");
    assert_eq!(rehearsal.migplan(&["rollback", "--yes", "--to", "4"]).code, 0);
    assert_eq!(rehearsal.load().essence(), states[3]);
    let none = rehearsal.migplan(&["rollback", "--yes", "--to", "99"]);
    assert_eq!(none.code, 3, "{}", none.stderr);
    assert!(none.stderr.contains("--list"), "{}", none.stderr);
}

#[test]
fn a_rollback_that_was_killed_goes_on_and_loses_nothing() {
    for nth in 1..=12 {
        let first = two_gpus();
        let rehearsal = Rehearsal::new(&first);
        rehearsal.config(BOTH);
        assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);
        let second = rehearsal.load().essence();
        rehearsal.edit(|node| node.faults = vec![fault("change", nth, None, false, true)]);
        assert_eq!(rehearsal.migplan(&["rollback", "--yes"]).code, -1);
        rehearsal.edit(|node| node.faults.clear());
        let again = rehearsal.migplan(&["rollback", "--yes"]);
        assert_eq!(again.code, 0, "{nth}: {}", again.stderr);
        assert_eq!(rehearsal.load().essence(), first.essence(), "{nth}");
        let told = again.stderr.contains("warning: the rollback to the state before run 1");
        // After its last call nothing was left to be told of.
        assert_eq!(told, nth < 12, "{nth}: {}", again.stderr);
        // And the state before the rollback is still known.
        assert_eq!(rehearsal.migplan(&["rollback", "--yes", "--to", "2"]).code, 0);
        assert_eq!(rehearsal.load().essence(), second, "{nth}");
    }
}

/// Its GPUs are as it wanted them, so that is the state that the next run saves, and not the one
/// before.
#[test]
fn a_run_that_died_after_its_last_change_is_done() {
    for next in ["apply", "rollback"] {
        let rehearsal = Rehearsal::new(&two_gpus());
        rehearsal.config(BOTH);
        rehearsal.edit(|node| node.faults = vec![fault("change", CALLS, None, false, true)]);
        assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, -1);
        rehearsal.edit(|node| node.faults.clear());
        let second = rehearsal.load().essence();
        // A dry run sees that there is nothing to do, and writes nothing down.
        let saved = || std::fs::read(rehearsal.state_dir().join("run-000001.jsonl")).unwrap();
        let before = saved();
        assert_eq!(rehearsal.migplan(&["apply", "--dry-run"]).code, 0);
        assert_eq!(saved(), before);
        rehearsal.config(&[("all", "{1g.10gb: 7}")]);
        assert_eq!(rehearsal.migplan(&[next, "--yes"]).code, 0);
        assert_ne!(rehearsal.load().essence(), second);
        let back = rehearsal.migplan(&["rollback", "--yes", "--to", "2"]);
        assert_eq!(back.code, 0, "{}", back.stderr);
        assert_eq!(rehearsal.load().essence(), second, "{next}");
    }
}

#[test]
fn a_journal_of_the_first_form_is_still_a_way_back() {
    let (rehearsal, first) = killed(HALF_WAY);
    let state = rehearsal.state_dir();
    let new = std::fs::read_to_string(state.join("run-000001.jsonl")).unwrap();
    let new = json(new.lines().next().unwrap());
    let old = serde_json::json!({
        "schema": "migplan.journal/v1", "source": new["source"], "started": new["started"],
        "before": new["before"], "others": new["wanted"],
    });
    std::fs::remove_file(state.join("run-000001.jsonl")).unwrap();
    std::fs::write(state.join("journal.jsonl"), format!("{old}\n{{\"doing\":\"x\"}}\n")).unwrap();
    let back = rehearsal.migplan(&["rollback", "--yes"]);
    assert_eq!(back.code, 0, "{}", back.stderr);
    assert_eq!(rehearsal.load().essence(), first.essence());
}

#[test]
fn one_lost_gpu_fails_only_what_needs_it() {
    let first = two_gpus();
    let rehearsal = Rehearsal::new(&first);
    rehearsal.config(BOTH);
    assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);
    rehearsal.edit(|node| node.gpus[1].lost = true);

    let status = rehearsal.migplan(&["status"]);
    assert_eq!(status.code, 0, "{}", status.stderr);
    assert!(status.stdout.contains("GPU 0  NVIDIA H100"), "{}", status.stdout);
    assert!(status.stdout.contains("GPU 1: cannot be read: "), "{}", status.stdout);
    assert!(status.stdout.contains("GPU is lost (NVML 15)"), "{}", status.stdout);
    let status = json(&rehearsal.migplan(&["status", "--format", "json"]).stdout);
    assert_eq!(
        (&status["unreadable"][0]["gpu"], &status["gpus"][0]["gpu"]),
        (&1.into(), &0.into())
    );
    let export = rehearsal.migplan(&["export"]);
    assert_eq!(export.code, 0, "{}", export.stderr);
    assert!(export.stdout.contains("devices: [0]"), "{}", export.stdout);
    assert!(export.stdout.starts_with("# GPU 1 cannot be read: "), "{}", export.stdout);
    // A checkpoint has no place for that, and would pass for the whole node.
    let checkpoint = rehearsal.migplan(&["export", "-o", "checkpoint"]);
    assert_eq!((checkpoint.code, checkpoint.stdout.as_str()), (7, ""), "{}", checkpoint.stderr);
    assert!(checkpoint.stderr.contains("GPU 1 cannot be read"), "{}", checkpoint.stderr);

    rehearsal.write("zero.yaml", &yaml(&[("[0]", "{1g.10gb: 7}")]));
    let zero = rehearsal.migplan(&["apply", "-f", "zero.yaml", "--yes"]);
    assert_eq!(zero.code, 0, "{}", zero.stderr);
    rehearsal.write("all.yaml", &yaml(&[("all", "{4g.40gb: 1}")]));
    let all = rehearsal.migplan(&["apply", "-f", "all.yaml", "--yes"]);
    assert_eq!(all.code, 7, "{}", all.stderr);
    assert!(all.stderr.contains("GPU 1 cannot be read"), "{}", all.stderr);

    // GPU 0 goes back; GPU 1 is named as what is left.
    let back = rehearsal.migplan(&["rollback", "--to", "1", "--yes"]);
    assert_eq!(back.code, 9, "{}", back.stderr);
    assert!(back.stderr.contains("GPU 1 (GPU-"), "{}", back.stderr);
    assert_eq!(rehearsal.load().essence()[0], first.essence()[0]);
    rehearsal.edit(|node| node.gpus[1].lost = false);
    assert_eq!(rehearsal.migplan(&["rollback", "--to", "1", "--yes"]).code, 0);
    assert_eq!(rehearsal.load().essence(), first.essence());
    // Where every GPU is lost there is nothing to do for anybody.
    rehearsal.edit(|node| node.gpus.iter_mut().for_each(|gpu| gpu.lost = true));
    assert_eq!(rehearsal.migplan(&["status"]).code, 6);
}

#[test]
fn a_gpu_that_cannot_be_read_keeps_its_interrupted_run_open() {
    let (rehearsal, first) = killed(HALF_WAY);
    rehearsal.edit(|node| node.gpus[1].lost = true);
    rehearsal.write("zero.yaml", &yaml(&[("[0]", "{1g.10gb: 7}")]));
    assert_eq!(rehearsal.migplan(&["apply", "-f", "zero.yaml", "--yes"]).code, 0);
    rehearsal.edit(|node| node.gpus[1].lost = false);
    let status = json(&rehearsal.migplan(&["status", "--format", "json"]).stdout);
    assert_eq!(status["interrupted"][0]["half_way"], serde_json::json!([1]));
    assert_eq!(rehearsal.migplan(&["rollback", "--to", "1", "--yes"]).code, 0);
    assert_eq!(rehearsal.load().essence(), first.essence());
}

#[test]
fn a_gpu_lost_in_the_midst_does_not_keep_the_others_from_going_back() {
    let first = two_gpus();
    for (nth, gpu) in (1..=CALLS).flat_map(|nth| [(nth, 0), (nth, 1)]) {
        let what = format!("GPU {gpu} lost at change {nth}");
        let rehearsal = Rehearsal::new(&first);
        rehearsal.config(BOTH);
        rehearsal.edit(|node| node.faults = vec![lose("change", nth, gpu, false)]);
        let ran = rehearsal.migplan(&["apply", "--yes"]);
        let healthy = 1 - gpu;
        // That the lost one is as before cannot be said.
        assert_eq!(ran.code, 9, "{what}: {}", ran.stderr);
        assert_eq!(rehearsal.load().essence()[healthy], first.essence()[healthy], "{what}");
        assert!(ran.stderr.contains("GPU is lost"), "{what}: {}", ran.stderr);
        // And which one is left, whatever failed first.
        let left = format!("GPU {gpu} ({}) cannot be read", first.gpus[gpu].uuid);
        assert!(ran.stderr.contains(&left), "{what}: {}", ran.stderr);
        rehearsal.edit(|node| {
            node.faults.clear();
            node.gpus[gpu].lost = false;
        });
        assert_eq!(rehearsal.migplan(&["rollback", "--yes"]).code, 0, "{what}");
        assert_eq!(rehearsal.load().essence(), first.essence(), "{what}");
    }
}

#[test]
fn a_replaced_gpu_does_not_block_the_rollback_of_the_others() {
    let first = two_gpus();
    let rehearsal = Rehearsal::new(&first);
    rehearsal.config(BOTH);
    assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);
    rehearsal.edit(|node| node.gpus[1].uuid = "GPU-new".into());
    let replaced = rehearsal.load().essence()[1].clone();
    let back = rehearsal.migplan(&["rollback", "--yes"]);
    assert_eq!(back.code, 0, "{}", back.stderr);
    assert!(back.stderr.contains("is not on this node any more"), "{}", back.stderr);
    assert_eq!(rehearsal.load().essence(), [first.essence()[0].clone(), replaced]);
}

#[test]
fn a_signal_leads_back_and_so_do_two_of_one_event() {
    for (nth, name) in
        (1..=CALLS).zip([(15, "SIGTERM"), (2, "SIGINT"), (1, "SIGHUP")].iter().cycle())
    {
        let first = two_gpus();
        let rehearsal = Rehearsal::new(&first);
        rehearsal.config(BOTH);
        let (number, name) = *name;
        rehearsal.edit(|node| node.faults = vec![signal("change", nth, number, false)]);
        let ran = rehearsal.migplan(&["apply", "--yes", "--json"]);
        if nth == CALLS {
            // The call that was under way was the last: all is done.
            assert_eq!(ran.code, 0, "{}", ran.stdout);
            continue;
        }
        assert_eq!(ran.code, 8, "{nth}: {}", ran.stdout);
        let last = json(ran.stdout.lines().last().unwrap());
        assert_eq!(last["outcome"], "rolled_back");
        assert!(last["errors"][0].as_str().unwrap().contains(name), "{last}");
        assert_eq!(rehearsal.load().essence(), first.essence(), "{nth}");

        let rehearsal = Rehearsal::new(&first);
        rehearsal.config(BOTH);
        // Such as SIGHUP after SIGTERM, or both of them twice.
        let other = [SIGTERM, SIGHUP, SIGINT][nth as usize % 3];
        let more = [(nth, number), (nth + 1, other), (nth + 2, number), (nth + 3, other)];
        rehearsal.edit(|node| {
            node.faults = more.map(|(nth, number)| signal("change", nth, number, false)).to_vec();
        });
        let ran = rehearsal.migplan(&["apply", "--yes"]);
        assert_eq!(ran.code, 8, "{nth}: {}", ran.stderr);
        assert_eq!(rehearsal.load().essence(), first.essence(), "{nth}");
    }
}

/// And not a second signal of another kind, whenever it comes.
#[test]
fn only_a_second_ctrl_c_leaves_at_once_and_only_well_after_the_first() {
    let first = Node::new("1xa100-80gb").unwrap();
    for (second, code) in [("INT", 130), ("TERM", 8), ("HUP", 8)] {
        let rehearsal = Rehearsal::new(&first);
        rehearsal.config(&[("all", "{7g.80gb: 1}")]);
        let signals = format!("kill -INT $PPID; sleep 1.5; kill -{second} $PPID; sleep 0.2");
        let once = format!("[ -e seen ] || {{ touch seen; {signals}; }}");
        around_a_reset(&rehearsal, &once, "");
        let ran = rehearsal.migplan(&["apply", "--yes", "--reset"]);
        assert_eq!(ran.code, code, "{second}: {}", ran.stderr);
        if code != 8 {
            // The tool goes on without us.
            std::thread::sleep(Duration::from_secs(1));
            let back = rehearsal.migplan(&["rollback", "--yes", "--reset"]);
            assert_eq!(back.code, 0, "{second}: {}", back.stderr);
        }
        assert_eq!(rehearsal.load().essence(), first.essence(), "{second}");
    }
}

#[test]
fn the_state_folder_is_nobody_elses() {
    let node = laid_out("1xh100-80gb", "h100-80gb", &[]);
    let rehearsal = Rehearsal::new(&node);
    rehearsal.config(&[("all", "{7g.80gb: 1}")]);
    rehearsal.write("victim", "precious");
    let state = rehearsal.state_dir();
    std::fs::create_dir(&state).unwrap();
    for link in ["lock", "run-000001.jsonl.tmp"] {
        symlink(rehearsal.path("victim"), state.join(link)).unwrap();
    }
    let ran = rehearsal.migplan(&["apply", "--yes"]);
    assert_eq!(ran.code, 7, "{}", ran.stderr);
    assert!(ran.stderr.contains("lock is a symbolic link"), "{}", ran.stderr);
    std::fs::remove_file(state.join("lock")).unwrap();
    // A link in the place of the new file is removed, not followed.
    assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);
    assert_eq!(std::fs::read_to_string(rehearsal.path("victim")).unwrap(), "precious");
    for entry in std::fs::read_dir(&state).unwrap().flatten() {
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.path());
    }
    // Others could write a state of their own choice there.
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o777)).unwrap();
    rehearsal.config(&[("all", "{3g.40gb: 2}")]);
    let ran = rehearsal.migplan(&["apply", "--yes"]);
    assert_eq!(ran.code, 7, "{}", ran.stderr);
    assert!(ran.stderr.contains("others may write to it"), "{}", ran.stderr);
    // A new one is made for its owner only, whatever the umask.
    let ran = rehearsal.migplan(&["apply", "--yes", "--state-dir", "new/state"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let mode =
        |path: &str| std::fs::metadata(rehearsal.path(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("new/state"), 0o700);
    let binary = env!("CARGO_BIN_EXE_migplan");
    let script = format!("umask 0; exec '{binary}' apply --yes --state-dir a/b/state");
    rehearsal.config(&[("all", "{2g.20gb: 1}")]);
    let command = rehearsal.command();
    let environment = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &script]).envs(environment).current_dir(rehearsal.folder.path());
    assert!(shell.status().unwrap().success());
    assert_eq!(["a", "a/b", "a/b/state"].map(mode), [0o755, 0o755, 0o700]);
}

#[test]
fn two_state_folders_are_still_one_node() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener};
    let node = laid_out("2xh100-80gb", "h100-80gb", &[]);
    let rehearsal = Rehearsal::new(&node);
    rehearsal.config(&[("[0]", "{7g.80gb: 1}")]);
    // What a migplan that saves its states elsewhere holds while it changes GPU 0.
    let locks = rehearsal.path("locks");
    std::fs::create_dir(&locks).unwrap();
    let held = std::fs::File::create(locks.join(&node.gpus[0].uuid)).unwrap();
    held.lock().unwrap();
    let ran = rehearsal.migplan(&["apply", "--yes"]);
    assert_eq!(ran.code, 7, "{}", ran.stderr);
    assert!(ran.stderr.contains("another migplan is changing this node"), "{}", ran.stderr);
    assert_eq!(rehearsal.load(), node);
    // GPU 1 is not concerned.
    rehearsal.write("one.yaml", &yaml(&[("[1]", "{7g.80gb: 1}")]));
    assert_eq!(rehearsal.migplan(&["apply", "-f", "one.yaml", "--yes"]).code, 0);
    drop(held);
    // Only the owner may write there; a name that every user may take holds nobody up.
    let name = SocketAddr::from_abstract_name(format!("migplan/{}", node.gpus[0].uuid)).unwrap();
    let _taken = UnixListener::bind_addr(&name).unwrap();
    std::fs::set_permissions(&locks, std::fs::Permissions::from_mode(0o777)).unwrap();
    let ran = rehearsal.migplan(&["apply", "--yes"]);
    assert_eq!(ran.code, 7, "{}", ran.stderr);
    assert!(ran.stderr.contains("the GPUs cannot be locked: others may write"), "{}", ran.stderr);
    assert!(ran.stderr.contains("MIGPLAN_LOCK_DIR"), "{}", ran.stderr);
    std::fs::set_permissions(&locks, std::fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);
}

#[test]
fn another_migplan_at_work_is_not_called_interrupted() {
    let (rehearsal, _) = killed(HALF_WAY);
    let lock = std::fs::File::open(rehearsal.state_dir().join("lock")).unwrap();
    lock.lock().unwrap();
    for arguments in [&["apply", "--yes"][..], &["rollback", "--yes"]] {
        let ran = rehearsal.migplan(arguments);
        assert_eq!(ran.code, 7, "{}", ran.stderr);
        assert!(ran.stderr.contains("another migplan is changing this node"), "{}", ran.stderr);
        assert!(!ran.stderr.contains("interrupted"), "{}", ran.stderr);
    }
    let dry = rehearsal.migplan(&["apply", "--dry-run"]);
    assert!(dry.stderr.contains("right now") && !dry.stderr.contains("interrupted"));
    // Programs can tell that from a folder that they may not read.
    let status = || json(&rehearsal.migplan(&["status", "--format", "json"]).stdout);
    let now = status();
    assert_eq!((&now["in_progress"], &now["interrupted"]), (&true.into(), &Value::Null));
    drop(lock);
    let then = status();
    assert_eq!((&then["in_progress"], &then["interrupted"][0]["run"]), (&false.into(), &1.into()));
}

#[test]
fn a_damaged_journal_is_found_before_anybody_is_asked() {
    let (rehearsal, first) = killed(HALF_WAY);
    let file = rehearsal.state_dir().join("run-000001.jsonl");
    let good = std::fs::read(&file).unwrap();
    for bad in [&good[..good.len() / 3], b"", b"\0\0\0\0", b"{\"schema\":\"x\"}\n"] {
        std::fs::write(&file, bad).unwrap();
        // Without --yes there is nobody to ask, which would be exit 7.
        for arguments in [&["apply"][..], &["rollback"]] {
            let ran = rehearsal.migplan(arguments);
            assert_eq!(ran.code, 3, "{}", ran.stderr);
            assert!(ran.stderr.contains("run-000001.jsonl:1: "), "{}", ran.stderr);
            assert!(ran.stderr.contains("hint: "), "{}", ran.stderr);
        }
        let list = rehearsal.migplan(&["rollback", "--list"]);
        assert!(list.stdout.contains("   1  cannot be read"), "{}", list.stdout);
    }
    // Torn later lines cost nothing.
    let torn = [&good[..], b"{\"doi"].concat();
    std::fs::write(&file, torn).unwrap();
    assert_eq!(rehearsal.migplan(&["rollback", "--yes"]).code, 0);
    assert_eq!(rehearsal.load().essence(), first.essence());
}

#[test]
fn what_is_saved_is_told_also_where_nothing_is_changed() {
    let (rehearsal, _) = killed(HALF_WAY);
    let dry = rehearsal.migplan(&["apply", "--dry-run"]);
    assert_eq!(dry.code, 0, "{}", dry.stderr);
    assert!(dry.stderr.contains("(run 1) was interrupted"), "{}", dry.stderr);
    std::fs::write(rehearsal.state_dir().join("run-000001.jsonl"), "{").unwrap();
    let dry = rehearsal.migplan(&["apply", "--dry-run"]);
    assert_eq!(dry.code, 0, "{}", dry.stderr);
    assert!(dry.stderr.contains("run-000001.jsonl:1: "), "{}", dry.stderr);
    // The same where the node is as wanted.
    let other = ["apply", "--yes", "--state-dir", "other"];
    assert_eq!(rehearsal.migplan(&other).code, 0);
    let nothing = rehearsal.migplan(&["apply", "--yes"]);
    assert_eq!(nothing.code, 0, "{}", nothing.stderr);
    assert!(nothing.stderr.contains("nothing to do"), "{}", nothing.stderr);
    assert!(nothing.stderr.contains("run-000001.jsonl:1: "), "{}", nothing.stderr);
}

#[test]
fn a_rollback_asks_before_it_changes_anything() {
    let rehearsal = Rehearsal::new(&two_gpus());
    rehearsal.config(&[("all", "{7g.80gb: 1}")]);
    assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);
    let applied = rehearsal.load().essence();
    // There is no terminal to ask at.
    let back = rehearsal.migplan(&["rollback"]);
    assert_eq!(back.code, 7, "{}", back.stderr);
    assert!(back.stderr.contains("--yes"), "{}", back.stderr);
    assert_eq!(rehearsal.load().essence(), applied);
}

#[test]
fn a_node_that_is_as_wanted_needs_no_rights() {
    let (rehearsal, _) = killed(HALF_WAY);
    // It is brought to what was wanted, but the folder of the run that was killed does not know.
    let other = ["apply", "--yes", "--state-dir", "other"];
    assert_eq!(rehearsal.migplan(&other).code, 0);
    // A folder that cannot be locked matters only where there is something to save.
    let state = rehearsal.state_dir();
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o777)).unwrap();
    let ran = rehearsal.migplan(&["apply", "--yes"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("nothing to do"), "{}", ran.stderr);
    // Nor is root needed to see that nothing is to be done.
    rehearsal.edit(|node| node.root = false);
    for arguments in [&["apply", "--yes"][..], &["check", "-f", "config.yaml", "--live"]] {
        let ran = rehearsal.migplan(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.stderr);
    }
    rehearsal.config(&[("all", "{1g.10gb: 1}")]);
    assert_eq!(rehearsal.migplan(&["check", "-f", "config.yaml", "--live"]).code, 7);
}

#[test]
fn who_is_in_the_way_is_told_by_what_is_seen() {
    // The driver lists a process on this GPU, so DCGM is not to blame.
    let mut node = laid_out("1xh100-80gb", "h100-80gb", &[("3g.40gb", 4), ("3g.40gb", 0)]);
    occupy(&mut node, 0, 0, 4711);
    node.faults = vec![fault("nvmlComputeInstanceDestroy", 1, Some(19), true, false)];
    let rehearsal = Rehearsal::new(&node);
    rehearsal.config(&[("all", "{3g.40gb: 1, 2g.20gb: 1}")]);
    let ran = rehearsal.migplan(&["apply", "--yes"]);
    assert_eq!(ran.code, 8, "{}", ran.stderr);
    assert!(ran.stderr.contains("train.py (pid 4711)"), "{}", ran.stderr);
    assert!(!ran.stderr.to_lowercase().contains("dcgm"), "{}", ran.stderr);
}

#[test]
fn a_reset_that_cannot_work_costs_no_instance() {
    let mut node = Node::new("1xa100-80gb").unwrap();
    lay_out(&mut node, 0, &board("a100-80gb"), &[]);
    put(&mut node, 0, "7g.80gb", 0);
    let rehearsal = Rehearsal::new(&node);
    rehearsal.log_calls();
    rehearsal.config(&[("all", "off")]);
    // No nvidia-smi: seen before anything is touched.
    let ran = rehearsal.migplan(&["apply", "--yes", "--reset"]);
    assert_eq!(ran.code, 7, "{}", ran.stderr);
    assert!(ran.stderr.contains("MIGPLAN_NVIDIA_SMI"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("virtual machine often"), "{}", ran.stderr);
    assert_eq!(rehearsal.changing_calls(), 0);
    // One that is killed: the reason says so.
    let script = rehearsal.path("nvidia-smi");
    for (body, expected) in [
        ("kill -9 $$", "the GPU was not reset: ended by signal 9"),
        ("exit 3", "the GPU was not reset: exit code 3, and said nothing"),
        ("echo 'Some other trouble'; exit 1", "the GPU was not reset: Some other trouble"),
    ] {
        std::fs::write(&script, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        let ran = rehearsal.migplan(&["apply", "--yes", "--reset"]);
        assert_eq!(ran.code, 8, "{}", ran.stderr);
        assert!(ran.stderr.contains(expected), "{expected}: {}", ran.stderr);
        assert!(!ran.stderr.contains("virtual machine"), "{}", ran.stderr);
        assert_eq!(rehearsal.load().essence(), node.essence());
    }
}

#[test]
fn check_live_names_the_instance_that_lacks_its_compute_instance() {
    let mut node = laid_out("1xh100-80gb", "h100-80gb", &[("3g.40gb", 4), ("3g.40gb", 0)]);
    computes(&mut node, 0, 4).clear();
    let rehearsal = Rehearsal::new(&node);
    rehearsal.config(&[("all", "{3g.40gb: 2}")]);
    let live = rehearsal.migplan(&["check", "-f", "config.yaml", "--live"]);
    assert_eq!(live.code, 7);
    assert!(
        live.stderr.contains("3g.40gb at memory slice 4 lacks 1 compute instance"),
        "{}",
        live.stderr
    );
}

#[test]
fn check_live_tells_differences_and_nothing_else() {
    let rehearsal = Rehearsal::new(&Node::new("1xa100-80gb").unwrap());
    let drifted = || {
        let arguments = ["check", "-f", "config.yaml", "--live", "--format", "json"];
        let ran = rehearsal.migplan(&arguments);
        assert_eq!(ran.code, 7, "{}", ran.stderr);
        json(&ran.stdout)["drifted"].clone()
    };
    for (mode, wanted, then) in [(true, "{}", "off"), (false, "off", "on")] {
        rehearsal.edit(|node| (node.gpus[0].mode, node.gpus[0].pending) = (mode, !mode));
        rehearsal.config(&[("all", wanted)]);
        let told = format!("GPU 0 is not what config.yaml says: MIG will be {then} after a reset");
        assert_eq!(drifted(), serde_json::json!([told]));
    }
    // What runs there is no difference.
    let mut node = laid_out("1xh100-80gb", "h100-80gb", &[("3g.40gb", 4)]);
    occupy(&mut node, 0, 4, 4711);
    rehearsal.save(&node);
    rehearsal.config(&[("all", "{7g.80gb: 1}")]);
    let told = "GPU 0 is not what config.yaml says: 1 × 3g.40gb too many; 1 × 7g.80gb missing";
    assert_eq!(drifted(), serde_json::json!([told]));
}

#[test]
fn events_have_a_time_and_a_phase() {
    let rehearsal = Rehearsal::new(&two_gpus());
    rehearsal.config(BOTH);
    rehearsal.edit(|node| node.faults = vec![fault("change", 4, Some(999), false, false)]);
    let ran = rehearsal.migplan(&["apply", "--yes", "--json"]);
    assert_eq!(ran.code, 8);
    let events: Vec<Value> = ran.stdout.lines().map(json).collect();
    assert!(events.iter().all(|e| e["time"].as_f64().is_some_and(|t| t > 1.6e9)), "{events:?}");
    let failed = events.iter().position(|e| e["event"] == "failed").unwrap();
    for (i, event) in events.iter().enumerate().filter(|(_, e)| !e["step"].is_null()) {
        assert_eq!(event["phase"], if i < failed { "apply" } else { "rollback" }, "{event}");
    }
}

#[test]
fn a_driver_that_differs_is_told_where_one_looks_and_not_on_every_command() {
    let mut node = laid_out("1xh100-80gb", "h100-80gb", &[]);
    node.gpus[0].profiles.retain(|p| p.name != "1g.20gb");
    let rehearsal = Rehearsal::new(&node);
    rehearsal.config(&[("all", "{7g.80gb: 1}")]);
    assert!(rehearsal.migplan(&["status"]).stderr.contains("differs from the catalogue"));
    for arguments in [&["apply", "--yes"][..], &["export"], &["rollback", "--yes"]] {
        let ran = rehearsal.migplan(arguments);
        assert_eq!((ran.code, ran.stderr.contains("differs")), (0, false), "{}", ran.stderr);
    }
    assert!(rehearsal.migplan(&["export", "-v"]).stderr.contains("differs from the catalogue"));
}

#[test]
fn units_are_stopped_around_a_change_and_started_again_whatever_happens() {
    let first = two_gpus();
    let rehearsal = Rehearsal::new(&first);
    rehearsal.config(BOTH);
    systemctl(&rehearsal, &["nvidia-dcgm", "exporter"]);
    let stop = ["--stop", "nvidia-dcgm", "--stop", "exporter", "--stop", "absent"];
    let apply = [&["apply", "--yes"][..], &stop].concat();
    let around = ["stop nvidia-dcgm", "stop exporter", "start nvidia-dcgm", "start exporter"];
    assert_eq!(rehearsal.migplan(&apply).code, 0);
    assert_eq!(units(&rehearsal), around);
    // Nothing to do: nothing is stopped. Never without being told.
    assert_eq!(rehearsal.migplan(&apply).code, 0);
    assert_eq!(rehearsal.migplan(&["rollback", "--yes"]).code, 0);
    assert_eq!(units(&rehearsal), [] as [String; 0]);
    // A failure, and a signal.
    for fault in [fault("change", 5, Some(999), false, false), signal("change", 5, SIGTERM, false)]
    {
        rehearsal.edit(|node| node.faults = vec![fault]);
        assert_eq!(rehearsal.migplan(&apply).code, 8);
        assert_eq!(units(&rehearsal), around);
    }
    // A kill: the next run starts them, also one that has nothing to do, and a rollback.
    for next in [&["rollback", "--yes"][..], &["apply", "--yes"]] {
        rehearsal.edit(|node| node.faults = vec![fault("change", 5, None, false, false)]);
        assert_eq!(rehearsal.migplan(&apply).code, -1);
        rehearsal.edit(|node| node.faults.clear());
        assert_eq!(units(&rehearsal), around[..2]);
        let status = rehearsal.migplan(&["status"]);
        assert!(status.stdout.contains("stopped by run"), "{}", status.stdout);
        assert_eq!(rehearsal.migplan(next).code, 0);
        assert_eq!(units(&rehearsal), around[2..]);
        let status = rehearsal.migplan(&["status"]);
        assert!(!status.stdout.contains("stopped by run"), "{}", status.stdout);
    }
    // One that does not start again is no success.
    rehearsal.config(&[("all", "{1g.10gb: 3}")]);
    fails_to(&rehearsal, "start");
    let ran = rehearsal.migplan(&apply);
    assert_eq!(ran.code, 9, "{}", ran.stderr);
    assert!(ran.stderr.contains("not started again: systemctl start"), "{}", ran.stderr);
    // A name that is no unit's is a wrong flag.
    assert_eq!(rehearsal.migplan(&["apply", "--yes", "--stop", "--now"]).code, 2);
}

#[test]
fn what_stands_in_the_way_of_a_reset_may_be_what_is_stopped_for_it() {
    let rehearsal = Rehearsal::new(&Node::new("1xa100-80gb").unwrap());
    rehearsal.config(&[("all", "{7g.80gb: 1}")]);
    let smi = nvidia_smi(&rehearsal);
    std::fs::rename(&smi, rehearsal.path("away")).unwrap();
    systemctl(&rehearsal, &["nvidia-dcgm"]);
    // Stands for a client that holds the GPU until its unit is stopped: only then a reset can work.
    let script = std::fs::read_to_string(rehearsal.path("systemctl")).unwrap();
    std::fs::write(
        rehearsal.path("systemctl"),
        script + "[ \"$1\" = stop ] && mv away nvidia-smi\nexit 0\n",
    )
    .unwrap();
    let apply = ["apply", "--yes", "--reset", "--stop", "nvidia-dcgm"];
    assert_eq!(rehearsal.migplan(&apply[..3]).code, 7);
    let ran = rehearsal.migplan(&apply);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(units(&rehearsal), ["stop nvidia-dcgm", "start nvidia-dcgm"]);
}

/// Runs a command; meanwhile the process in the instance at memory slice 4 of GPU 0 ends.
fn ends_meanwhile(rehearsal: &Rehearsal, args: &[&str]) -> std::process::Output {
    let mut command = rehearsal.command();
    let child = command.args(args).stderr(std::process::Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    rehearsal.edit(|node| computes(node, 0, 4)[0].processes.clear());
    child.wait_with_output().unwrap()
}

#[test]
fn a_busy_instance_is_waited_for() {
    let mut node = laid_out("1xh100-80gb", "h100-80gb", &[("3g.40gb", 4)]);
    occupy(&mut node, 0, 4, 4711);
    let rehearsal = Rehearsal::new(&node);
    rehearsal.config(&[("all", "{7g.80gb: 1}")]);
    let ran = rehearsal.migplan(&["apply", "--yes", "--wait", "1s"]);
    assert_eq!(ran.code, 7, "{}", ran.stderr);
    assert!(ran.stderr.contains("waiting: GPU 0: 3g.40gb at memory slice 4"), "{}", ran.stderr);
    let output = ends_meanwhile(&rehearsal, &["apply", "--yes", "--wait", "5m"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(rehearsal.load().gpus[0].instances.len(), 1);
    assert_eq!(rehearsal.migplan(&["apply", "--wait", "soon"]).code, 2);
}

#[test]
fn a_busy_gpu_is_in_the_list_with_who_holds_it() {
    let mut node = two_gpus();
    occupy(&mut node, 0, 4, 4711);
    let rehearsal = Rehearsal::new(&node);
    rehearsal.config(&[("all", "{7g.80gb: 1}")]);
    let listed = |text: &str, note: &str| {
        for line in [
            note,
            "destroy  3g.40gb        slices 4-7   in use by train.py (pid 4711)",
            "0 instances kept, 3 destroyed, 2 created",
        ] {
            assert_eq!(text.matches(line).count(), 1, "{line}\n{text}");
        }
        assert_eq!(text.matches("  create   7g.80gb").count(), 2, "{text}");
    };
    let refused = ": refused: in use by train.py (pid 4711)\n";
    let dry = rehearsal.migplan(&["apply", "--dry-run"]);
    assert_eq!(dry.code, 7, "{}", dry.stderr);
    listed(&dry.stdout, refused);
    let ran = rehearsal.migplan(&["apply", "--yes"]);
    assert_eq!(ran.code, 7, "{}", ran.stderr);
    listed(&ran.stderr, refused);
    assert!(ran.stderr.contains("or let --wait wait for it"), "{}", ran.stderr);
    // Once it has been waited in vain, the hint is another.
    let ran = rehearsal.migplan(&["apply", "--yes", "--wait", "1s"]);
    assert_eq!(ran.code, 7, "{}", ran.stderr);
    listed(&ran.stderr, ": waits for train.py (pid 4711)\n");
    assert!(ran.stderr.contains("or wait longer with --wait"), "{}", ran.stderr);

    let ran = rehearsal.migplan(&["apply", "--yes", "--json"]);
    let changes = json(ran.stdout.lines().next().unwrap());
    let of =
        |key: &str| changes["gpus"].as_array().unwrap().iter().map(|g| g[key].clone()).collect();
    let (permitted, in_use_by): (Vec<Value>, Vec<Value>) = (of("permitted"), of("in_use_by"));
    assert_eq!(permitted, [false, true]);
    assert_eq!(in_use_by, [serde_json::json!([4711]), serde_json::json!([])]);
    assert_eq!(changes["unchanged"], serde_json::json!([]));
    assert_eq!(rehearsal.load(), node);
}

#[test]
fn a_rollback_lists_a_busy_gpu_and_offers_no_wait() {
    let rehearsal = Rehearsal::new(&two_gpus());
    rehearsal.config(BOTH);
    assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);
    rehearsal.edit(|node| occupy(node, 1, 0, 4711));
    let before = rehearsal.load();
    let ran = rehearsal.migplan(&["rollback", "--yes"]);
    assert_eq!(ran.code, 7, "{}", ran.stderr);
    for line in [
        ": refused: in use by train.py (pid 4711)\n",
        "destroy  7g.80gb        slices 0-7   in use by train.py (pid 4711)",
        "hint: end what runs there, or drain the node; nothing was changed",
    ] {
        assert!(ran.stderr.contains(line), "{line}\n{}", ran.stderr);
    }
    assert_eq!(rehearsal.load(), before);
}

/// Changes the node when told that something is waited for, and keeps what it is shown.
struct Watcher<'r> {
    rehearsal: &'r Rehearsal,
    edit: fn(&mut Node),
    /// Of each list of changes: the GPUs, whether all are permitted, and the steps.
    lists: Vec<(usize, bool, usize)>,
    done: usize,
}

impl Operator for Watcher<'_> {
    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Waiting(_) => self.rehearsal.edit(self.edit),
            Event::Changes(_, change) => {
                let gpus = &change.gpus;
                let steps = gpus.iter().map(|gpu| gpu.steps().len()).sum();
                self.lists.push((gpus.len(), gpus.iter().all(|gpu| gpu.permitted()), steps));
            }
            Event::Done(..) => self.done += 1,
            _ => {}
        }
    }

    fn confirm(&mut self, _: &Proposal<'_>) -> migplan::error::Result<()> {
        assert_eq!(self.lists.len(), 2, "asked before the list is shown again");
        Ok(())
    }
}

/// Applies 7g.80gb everywhere with a wait during which the node changes.
fn waited<'r>(rehearsal: &'r Rehearsal, edit: fn(&mut Node)) -> (Outcome, Watcher<'r>) {
    let config = Config::parse(&yaml(&[("all", "{7g.80gb: 1}")]), "c.yaml").unwrap();
    let mut watcher = Watcher { rehearsal, edit, lists: Vec::new(), done: 0 };
    let mut saves = &*rehearsal.state_dir();
    let outcome = rehearsal.session_of(&mut saves, &mut watcher, false, |session| {
        session.options.wait = Duration::from_secs(60);
        session.apply(&config, None, "c.yaml")
    });
    (outcome.unwrap(), watcher)
}

#[test]
fn what_waiting_has_changed_is_shown_before_the_question() {
    let mut node = two_gpus();
    occupy(&mut node, 0, 4, 4711);
    let rehearsal = Rehearsal::new(&node);
    let (outcome, watcher) = waited(&rehearsal, |node| computes(node, 0, 4)[0].processes.clear());
    assert!(matches!(outcome, Outcome::Changed(_)), "{outcome:?}");
    // Three instances go and two come, GPU 0 included from the start.
    assert_eq!(watcher.lists, [(2, false, 5), (2, true, 5)]);
    assert_eq!(watcher.done, 5);

    // Somebody else has done it meanwhile.
    rehearsal.save(&node);
    let (outcome, watcher) = waited(&rehearsal, |node| {
        for gpu in 0..2 {
            node.gpus[gpu].instances.clear();
            put(node, gpu, "7g.80gb", 0);
        }
    });
    assert_eq!(outcome, Outcome::Unchanged);
    assert_eq!((watcher.lists.last(), watcher.done), (Some(&(0, true, 0)), 0));
}

#[test]
fn a_reset_that_cannot_work_is_refused_after_a_wait_too() {
    let mut node = laid_out("1xa100-80gb", "a100-80gb", &[("3g.40gb", 4)]);
    occupy(&mut node, 0, 4, 4711);
    // There is no nvidia-smi.
    let rehearsal = Rehearsal::new(&node);
    rehearsal.config(&[("all", "off")]);
    let output = ends_meanwhile(&rehearsal, &["apply", "--yes", "--reset", "--wait", "5m"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(7), "{stderr}");
    assert!(stderr.contains("waiting: ") && stderr.contains("cannot be reset"), "{stderr}");
    assert_eq!(rehearsal.load().essence(), node.essence());
}

#[test]
fn a_process_on_a_whole_gpu_is_not_moved_by_a_plan() {
    let mut node = Node::new("2xh100-80gb").unwrap();
    node.gpus[0].processes.push(Process { pid: 9, name: Some("train".into()), used_mib: 70_000 });
    let rehearsal = Rehearsal::new(&node);
    rehearsal.write("teams.csv", "team,workload,memory,count\nt,a,9GiB,3\n");
    let plan = |more: &[&str]| {
        let args = ["suggest", "-w", "teams.csv", "--current", "--format", "json"];
        let ran = rehearsal.migplan(&[&args[..], more].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        json(&ran.stdout)
    };
    let kept = plan(&[]);
    assert_eq!(kept["gpus"][0]["mig"], false, "{kept}");
    assert_eq!(kept["gpus"][0]["stays_whole"], true, "{kept}");
    assert_eq!(kept["gpus"][1].get("stays_whole"), None, "{kept}");
    assert_eq!((&kept["gpus"][1]["mig"], &kept["totals"]["placed"]), (&true.into(), &3.into()));
    // Both are needed: what does not fit beside the training is unplaced.
    rehearsal.write("teams.csv", "team,workload,memory,count\nt,a,70GiB,2\n");
    let kept = plan(&[]);
    assert_eq!((&kept["gpus"][0]["mig"], &kept["totals"]["placed"]), (&false.into(), &1.into()));
    assert_eq!(plan(&["--allow-disruption"])["totals"]["placed"], 2);
    // It may be what a replica of a whole GPU asks for.
    rehearsal.write("teams.csv", "team,workload,memory,count,gpus\nt,a,9GiB,3,\nt,b,,1,1\n");
    let kept = plan(&[]);
    assert_eq!(
        (&kept["gpus"][0]["stays_whole"], &kept["totals"]["placed"]),
        (&true.into(), &4.into())
    );
}

#[test]
fn gpus_are_kept_whole_beside_what_they_hold() {
    let mut node = laid_out("2xh100-80gb,1xh200", "h100-80gb", &[("3g.40gb", 4)]);
    lay_out(&mut node, 1, &board("h100-80gb"), &[]);
    put(&mut node, 1, "1g.10gb", 0);
    let rehearsal = Rehearsal::new(&node);
    rehearsal.write("teams.csv", "team,workload,memory,count\nt,a,9GiB,1\n");
    let run = |more: &[&str]| {
        let args = ["suggest", "-w", "teams.csv", "--current", "--format", "json"];
        rehearsal.migplan(&[&args[..], more].concat())
    };
    let mig = |more: &[&str]| -> Vec<bool> {
        let ran = run(more);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let plan = json(&ran.stdout);
        plan["gpus"].as_array().unwrap().iter().map(|g| g["mig"].as_bool().unwrap()).collect()
    };
    // Of the board that the node has most of, the GPU that serves nobody goes off.
    assert_eq!(mig(&[]), [true, true, false]);
    assert_eq!(mig(&["--keep-whole", "1"]), [false, true, false]);
    assert_eq!(mig(&["--keep-whole", "2"]), [false, false, true]);
    // What is busy stays, and another GPU is whole.
    rehearsal.edit(|node| occupy(node, 0, 4, 4711));
    assert_eq!(mig(&["--keep-whole", "1"]), [true, false, false]);
    assert_eq!(mig(&["--keep-whole", "2"]), [true, false, false]);
    let ran = run(&["--keep-whole", "3"]);
    assert_eq!(ran.code, 7, "{}", ran.stderr);
    assert!(
        ran.stderr
            .contains("something runs in instances of 1 GPU, so no more than 2 of 3 can be whole")
            && ran.stderr.contains("hint: --keep-whole 2, or give --allow-disruption"),
        "{}",
        ran.stderr
    );
    assert_eq!(mig(&["--keep-whole", "3", "--allow-disruption"]), [false; 3]);
    // A GPU in use with MIG off is one of those that are kept whole.
    rehearsal.edit(|node| {
        computes(node, 0, 4)[0].processes.clear();
        let process = Process { pid: 9, name: Some("train".into()), used_mib: 70_000 };
        node.gpus[2].processes.push(process);
    });
    assert_eq!(mig(&["--keep-whole", "1"]), [true, true, false]);
}

#[test]
fn a_gpu_in_use_with_mig_off_is_not_called_free() {
    let mut node = Node::new("2xh100-80gb").unwrap();
    node.gpus[0].processes.push(Process { pid: 9, name: Some("train".into()), used_mib: 70_000 });
    let rehearsal = Rehearsal::new(&node);
    rehearsal.write("teams.csv", "team,workload,memory,count\nt,a,70GiB,2\n");
    let ran = rehearsal.migplan(&[
        "suggest",
        "-w",
        "teams.csv",
        "--current",
        "--format",
        "text",
        "--plan",
        "plan.json",
    ]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("whole GPU, MIG off, in use"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("MIG off, free"), "{}", ran.stdout);
    let warning = "GPU 0 is in use with MIG off: it stays as it is and serves only replicas that take \
                   whole GPUs";
    assert!(ran.stderr.contains(warning), "{}", ran.stderr);
    rehearsal.write("hours.csv", "team,workload,memory,hours\nt,a,70GiB,09:00-17:00\nt,b,9GiB,\n");
    let over_time = ["suggest", "-w", "hours.csv", "--current", "--over-time", "--format", "text"];
    let ran = rehearsal.migplan(&over_time);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("whole GPU, MIG off, in use"), "{}", ran.stdout);
    let drawn = rehearsal.migplan(&[
        "chart",
        "--kind",
        "slices",
        "--plan",
        "plan.json",
        "-o",
        "slices.svg",
    ]);
    assert_eq!(drawn.code, 0, "{}", drawn.stderr);
    let svg = std::fs::read_to_string(rehearsal.path("slices.svg")).unwrap();
    assert!(svg.contains("in use, MIG off") && svg.contains("in use with MIG off"), "{svg}");
    assert!(!svg.contains(">free<"), "{svg}");
}
