//! How a change ends: what is told of the GPUs, of units that were stopped and of what holds a GPU,
//! and with which exit code. The real binary over the fake libnvidia-ml.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

use crate::rehearsal::*;
use fake_nvml::Node;

/// A node with a unit that runs and fails to do what it is told.
fn with_a_unit(verb: &str) -> (Rehearsal, Node) {
    let first = two_gpus();
    let rehearsal = Rehearsal::new(&first);
    rehearsal.config(BOTH);
    systemctl(&rehearsal, &["nvidia-dcgm"]);
    fails_to(&rehearsal, verb);
    (rehearsal, first)
}

const STOP: [&str; 4] = ["--yes", "--json", "--stop", "nvidia-dcgm"];

#[test]
fn a_unit_that_does_not_start_is_told_with_what_became_of_the_gpus() {
    let lose: fn(&mut Node) = |node| node.gpus[1].lost = true;
    let fail: fn(&mut Node) = |node| {
        node.faults =
            vec![fault("nvmlDeviceCreateGpuInstanceWithPlacement", 1, Some(23), false, false)];
    };
    for (edit, command, outcome, gpus, hint) in [
        (None, "apply", "units_not_started", "as_wanted", "; the GPUs are as wanted"),
        (Some(fail), "apply", "units_not_started", "as_before", "; the GPUs are as before"),
        (None, "rollback", "units_not_started", "as_wanted", "; the GPUs are as wanted"),
        (
            Some(lose),
            "rollback",
            "rollback_incomplete",
            "incomplete",
            "run it again. Start it by hand",
        ),
    ] {
        let what = format!("{command} {gpus}");
        let (rehearsal, first) = with_a_unit("start");
        if command == "rollback" {
            assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);
        }
        edit.into_iter().for_each(|edit| rehearsal.edit(edit));
        let ran = rehearsal.migplan(&[&[command][..], &STOP].concat());
        let ended = result(&ran);
        assert_eq!((ran.code, &ended["exit_code"]), (9, &9.into()), "{what}: {ended}");
        assert_eq!(ended["outcome"], outcome, "{what}: {ended}");
        assert_eq!(ended["gpus"], gpus, "{what}: {ended}");
        assert!(
            ended["errors"].to_string().contains("not started again: systemctl start"),
            "{ended}"
        );
        let told = ended["hint"].as_str().unwrap();
        assert!(told.contains(hint), "{what}: {told}");
        assert_eq!(gpus == "incomplete", !told.contains("the GPUs are"), "{what}: {told}");
        if gpus == "as_before" {
            assert!(ended["errors"].to_string().contains("insufficient resources"), "{ended}");
            assert_eq!(rehearsal.load().essence(), first.essence());
        }
        let status = rehearsal.migplan(&["status"]).stdout;
        assert!(status.contains("not started since: nvidia-dcgm"), "{what}: {status}");
    }
}

#[test]
fn a_unit_that_does_not_stop_leaves_the_gpus_alone() {
    for command in ["apply", "rollback"] {
        let (rehearsal, _) = with_a_unit("stop");
        if command == "rollback" {
            assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);
        }
        let before = rehearsal.load();
        rehearsal.log_calls();
        let ran = rehearsal.migplan(&[&[command][..], &STOP].concat());
        let ended = result(&ran);
        assert_eq!((ran.code, &ended["outcome"]), (7, &"refused".into()), "{command}: {ended}");
        assert_eq!(ended["gpus"], "as_before", "{command}");
        assert!(ended["hint"].as_str().unwrap().contains("no GPU was changed"), "{ended}");
        assert_eq!(rehearsal.changing_calls(), 0);
        assert_eq!(rehearsal.load().essence(), before.essence());
        // A run that has changed nothing is none to go back from.
        assert_eq!(runs(&rehearsal).len(), usize::from(command == "rollback"));
    }
}

#[test]
fn a_rollback_starts_what_a_killed_rollback_has_stopped() {
    let rehearsal = Rehearsal::new(&two_gpus());
    rehearsal.config(BOTH);
    assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);
    assert_eq!(rehearsal.migplan(&["rollback", "--yes"]).code, 0);
    // Somebody has destroyed an instance since; the way back is taken once more, and dies at its end.
    rehearsal.edit(|node| node.gpus[0].instances.clear());
    systemctl(&rehearsal, &["nvidia-dcgm"]);
    let script = std::fs::read_to_string(rehearsal.path("systemctl")).unwrap();
    rehearsal
        .write("systemctl", &(script.clone() + "[ \"$1\" = start ] && kill -9 $PPID\nexit 0\n"));
    let stop = ["rollback", "--yes", "--stop", "nvidia-dcgm"];
    assert_eq!(rehearsal.migplan(&stop).code, -1);
    rehearsal.write("systemctl", &script);
    units(&rehearsal);
    let back = rehearsal.migplan(&["rollback", "--yes"]);
    assert_eq!(back.code, 0, "{}", back.stderr);
    assert_eq!(units(&rehearsal), ["start nvidia-dcgm"]);
}

#[test]
fn what_is_left_is_what_is_there_in_the_end() {
    let rehearsal = Rehearsal::new(&two_gpus());
    rehearsal.config(&[("[0]", "{1g.10gb: 4}")]);
    assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);
    // Each of the three attempts gets one instance further.
    let call = "nvmlGpuInstanceDestroy";
    rehearsal.edit(|node| {
        node.faults = [2, 4, 6].map(|nth| fault(call, nth, Some(99), false, false)).to_vec();
    });
    let back = rehearsal.migplan(&["rollback", "--yes"]);
    assert_eq!(back.code, 9, "{}", back.stderr);
    let [left] = &rehearsal.load().gpus[0].instances[..] else { panic!("{}", back.stderr) };
    let told = format!("GPU 0 is MIG on: 1g.10gb@{}[], where it should be", left.start);
    assert!(back.stderr.contains(&told), "{told}: {}", back.stderr);
    assert!(back.stderr.contains(call), "{}", back.stderr);
}

#[test]
fn a_rollback_says_what_to_do_about_what_stopped_it() {
    let rehearsal = Rehearsal::new(&two_gpus());
    rehearsal.config(BOTH);
    assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);
    for (nth, code, hint) in [
        (1, 7, "hint: run it as root; nothing was changed\n"),
        (2, 9, "hint: run it as root. Remove the cause, then run it again\n"),
    ] {
        let refusal = fault("nvmlComputeInstanceDestroy", nth, Some(4), true, false);
        rehearsal.edit(|node| node.faults = vec![refusal]);
        let back = rehearsal.migplan(&["rollback", "--yes"]);
        assert_eq!(back.code, code, "{}", back.stderr);
        assert!(back.stderr.contains(hint), "{}", back.stderr);
    }
}

#[test]
fn a_signal_that_is_ignored_stays_ignored() {
    let rehearsal = Rehearsal::new(&two_gpus());
    rehearsal.config(BOTH);
    rehearsal.edit(|node| node.faults = vec![signal("change", 3, 1, false)]);
    // As nohup does it, so that a logout ends nothing.
    let mut shell = std::process::Command::new("sh");
    let script = format!("trap '' HUP; exec '{}' apply --yes", env!("CARGO_BIN_EXE_migplan"));
    let command = rehearsal.command();
    let environment = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    shell.args(["-c", &script]).envs(environment).current_dir(rehearsal.folder.path());
    let output = shell.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.contains("done: "), "{stderr}");
}

#[test]
fn a_rollback_that_cannot_reset_costs_no_instance() {
    let mut node = Node::new("2xa100-80gb").unwrap();
    lay_out(&mut node, 0, &board("a100-80gb"), &[]);
    put(&mut node, 0, "3g.40gb", 0);
    let rehearsal = Rehearsal::new(&node);
    let smi = nvidia_smi(&rehearsal);
    rehearsal.config(&[("[0]", "off"), ("[1]", "{7g.80gb: 1}")]);
    assert_eq!(rehearsal.migplan(&["apply", "--yes", "--reset"]).code, 0);
    std::fs::remove_file(smi).unwrap();
    rehearsal.log_calls();
    let before = rehearsal.load();
    for arguments in [&["rollback", "--yes", "--reset"][..], &["rollback", "--dry-run", "--reset"]]
    {
        let back = rehearsal.migplan(arguments);
        assert_eq!(back.code, 7, "{}", back.stderr);
        let told = "GPU 1 cannot be reset for its MIG mode: a reset needs";
        assert!(back.stderr.contains(told), "{}", back.stderr);
    }
    assert_eq!(rehearsal.changing_calls(), 0);
    assert_eq!(rehearsal.load(), before);
}

#[test]
fn states_that_this_user_may_not_read_are_a_refusal() {
    let rehearsal = Rehearsal::new(&two_gpus());
    rehearsal.config(BOTH);
    assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);
    let all_may = |path: &std::path::Path| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    let program = rehearsal.path("migplan");
    std::fs::copy(env!("CARGO_BIN_EXE_migplan"), &program).unwrap();
    all_may(rehearsal.folder.path());
    for entry in std::fs::read_dir(rehearsal.folder.path()).unwrap().flatten() {
        if entry.path().is_file() {
            all_may(&entry.path());
        }
    }
    let command = rehearsal.command();
    let environment = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let mut nobody = std::process::Command::new(program);
    nobody.args(["rollback", "--yes"]).envs(environment).current_dir(rehearsal.folder.path());
    if rustix::process::geteuid().is_root() {
        nobody.uid(65534).gid(65534);
    } else {
        let none = std::fs::Permissions::from_mode(0o000);
        std::fs::set_permissions(rehearsal.state_dir(), none).unwrap();
    }
    let output = nobody.output().unwrap();
    std::fs::set_permissions(rehearsal.state_dir(), std::fs::Permissions::from_mode(0o700))
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(7), "{stderr}");
    assert!(stderr.contains("cannot be read: Permission denied"), "{stderr}");
}

#[test]
fn an_interrupted_rollback_says_where_each_way_leads() {
    let rehearsal = Rehearsal::new(&two_gpus());
    rehearsal.config(BOTH);
    assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);
    rehearsal.edit(|node| node.faults = vec![fault("change", HALF_WAY, None, false, false)]);
    assert_eq!(rehearsal.migplan(&["rollback", "--yes"]).code, -1);
    rehearsal.edit(|node| node.faults.clear());
    let status = rehearsal.migplan(&["status"]).stdout;
    let told = "`migplan rollback` goes back to the state before the last apply, `migplan rollback --to 2` to the one before this rollback";
    assert!(status.contains(told), "{status}");
}

/// Lets `systemctl` answer before anything else: `answer` is a shell line.
fn systemctl_says(rehearsal: &Rehearsal, answer: &str) {
    let script = std::fs::read_to_string(rehearsal.path("systemctl")).unwrap();
    rehearsal.write("systemctl", &script.replace("#!/bin/sh\n", &format!("#!/bin/sh\n{answer}\n")));
}

#[test]
fn units_that_systemd_stops_with_another_one_are_started_again() {
    let rehearsal = Rehearsal::new(&two_gpus());
    rehearsal.config(BOTH);
    systemctl(&rehearsal, &["nvidia-dcgm", "exporter.service", "a-report.timer", "on.target"]);
    // The last is not there at all; a target would start everything that it wants.
    systemctl_says(
        &rehearsal,
        r#"[ "$1" = show ] && case "$2 $4" in
            *RequiredBy*\ nvidia-dcgm) echo RequiredBy=idle.service on.target; echo BoundBy=;;
            *BoundBy*\ idle.service) printf 'BoundBy=exporter.service\nConsistsOf=nvidia-dcgm.service\n';;
            *ConsistsOf*\ on.target) echo ConsistsOf=a-report.timer absent.service;;
        esac"#,
    );
    let ran = rehearsal.migplan(&["apply", "--yes", "--stop", "nvidia-dcgm"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let of = |verb: &str| {
        ["nvidia-dcgm", "exporter.service", "a-report.timer"].map(|unit| format!("{verb} {unit}"))
    };
    assert_eq!(units(&rehearsal), [of("stop"), of("start")].concat());
    assert!(ran.stderr.contains("stopping exporter.service"), "{}", ran.stderr);
    // Where that cannot be asked, nothing is stopped.
    systemctl_says(&rehearsal, "[ \"$1\" = show ] && { echo no bus; exit 1; }");
    let ran = rehearsal.migplan(&["rollback", "--yes", "--stop", "nvidia-dcgm"]);
    assert_eq!(ran.code, 7, "{}", ran.stderr);
    assert!(ran.stderr.contains("systemctl show nvidia-dcgm: no bus"), "{}", ran.stderr);
    assert_eq!(units(&rehearsal), [] as [String; 0]);
}

#[test]
fn a_unit_that_is_about_to_run_is_stopped_too() {
    for (state, runs) in [
        ("activating", true),
        ("deactivating", true),
        ("reloading", true),
        ("inactive", false),
        ("failed", false),
    ] {
        let rehearsal = Rehearsal::new(&two_gpus());
        rehearsal.config(BOTH);
        systemctl(&rehearsal, &[]);
        systemctl_says(
            &rehearsal,
            &format!("[ \"$1\" = is-active ] && {{ echo {state}; exit 3; }}"),
        );
        let ran = rehearsal.migplan(&["apply", "--yes", "--stop", "nvidia-dcgm"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let around: &[&str] = if runs { &["stop nvidia-dcgm", "start nvidia-dcgm"] } else { &[] };
        assert_eq!(units(&rehearsal), around, "{state}");
    }
}

#[test]
fn a_unit_that_is_gone_is_told_once() {
    let never = "[ \"$1\" = start ] && { echo \"Unit $3.service not found.\"; exit 5; }";
    let gone = |state: &str| format!("[ \"$1\" = show ] && echo LoadState={state}\n{never}");
    let told =
        "not started again: systemctl start nvidia-dcgm: Unit nvidia-dcgm.service not found.";
    for state in ["not-found", "masked", "loaded"] {
        // Gone after a run that died; where it is there, each run tries again.
        let rehearsal = Rehearsal::new(&two_gpus());
        rehearsal.config(BOTH);
        systemctl(&rehearsal, &["nvidia-dcgm"]);
        rehearsal.edit(|node| node.faults = vec![fault("change", 1, None, false, false)]);
        let stop = ["apply", "--yes", "--stop", "nvidia-dcgm"];
        assert_eq!(rehearsal.migplan(&stop).code, -1);
        rehearsal.edit(|node| node.faults.clear());
        systemctl_says(&rehearsal, &gone(state));
        let code = if state == "loaded" { 9 } else { 0 };
        for told_again in [true, state == "loaded"] {
            let ran = rehearsal.migplan(&["apply", "--yes"]);
            assert_eq!(ran.code, if told_again { code } else { 0 }, "{state}: {}", ran.stderr);
            assert_eq!(ran.stderr.contains(told), told_again, "{state}: {}", ran.stderr);
        }
    }
    // A run that has stopped it itself says so by its exit code, once.
    let rehearsal = Rehearsal::new(&two_gpus());
    rehearsal.config(BOTH);
    systemctl(&rehearsal, &["nvidia-dcgm"]);
    systemctl_says(&rehearsal, &gone("not-found"));
    let ran = rehearsal.migplan(&["apply", "--yes", "--stop", "nvidia-dcgm"]);
    assert_eq!(ran.code, 9, "{}", ran.stderr);
    assert!(ran.stderr.contains(told), "{}", ran.stderr);
    let ran = rehearsal.migplan(&["apply", "--yes"]);
    assert_eq!((ran.code, ran.stderr.contains("not started")), (0, false), "{}", ran.stderr);
}

/// A driver without a function that the change, or its way back, needs.
#[test]
fn a_driver_that_lacks_a_function_is_told_before_anything_is_touched() {
    let first = two_gpus();
    let rehearsal = Rehearsal::new(&first);
    rehearsal.config(BOTH);
    assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);
    let second = rehearsal.load().essence();
    // The name is looked up in the library, so another one of its length hides it.
    let library = rehearsal.path("libfake_nvml.so");
    let name = b"nvmlDeviceCreateGpuInstanceWithPlacement\0";
    let mut bytes = std::fs::read(&library).unwrap();
    let places: Vec<usize> = (0..bytes.len() - name.len())
        .filter(|&at| bytes[at] == name[0] && bytes[at..].starts_with(name))
        .collect();
    assert!(!places.is_empty());
    places.iter().for_each(|&at| bytes[at] = b'x');
    std::fs::remove_file(&library).unwrap();
    std::fs::write(&library, bytes).unwrap();
    rehearsal.config(&[("all", "{1g.10gb: 7}")]);
    for arguments in [
        &["apply", "--yes"][..],
        &["apply", "--dry-run"],
        &["apply", "--yes", "--wait", "5m"],
        &["rollback", "--yes"],
        &["rollback", "--dry-run"],
    ] {
        let ran = rehearsal.migplan(arguments);
        assert_eq!(ran.code, 6, "{arguments:?}: {}", ran.stderr);
        let told = "its library has no nvmlDeviceCreateGpuInstanceWithPlacement";
        assert!(ran.stderr.contains(told) && ran.stderr.contains("R470"), "{}", ran.stderr);
    }
    assert_eq!(rehearsal.load().essence(), second);
    // Where there is nothing to do, nothing is needed.
    rehearsal.config(BOTH);
    assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);
}

#[test]
fn a_dry_run_that_nobody_can_read_is_no_success() {
    let rehearsal = Rehearsal::new(&two_gpus());
    rehearsal.config(BOTH);
    let run = |arguments: &[&str]| {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = rehearsal.command().args(arguments).stdout(full).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for arguments in [&["apply", "--dry-run"][..], &["apply", "--dry-run", "--json"]] {
        let (code, stderr) = run(arguments);
        assert_eq!(code, Some(3), "{arguments:?}: {stderr}");
        assert!(stderr.contains("error: cannot write to stdout"), "{stderr}");
    }
    // After a change it says nothing of the GPUs.
    let (code, stderr) = run(&["apply", "--yes", "--json"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("warning: cannot write to stdout"), "{stderr}");
}

#[test]
fn a_run_that_cannot_be_read_is_seen_by_monitoring() {
    let (rehearsal, _) = killed(HALF_WAY);
    let file = rehearsal.state_dir().join("run-000001.jsonl");
    let whole = std::fs::read_to_string(&file).unwrap();
    let metrics = || rehearsal.migplan(&["status", "--format", "prometheus"]).stdout;
    let status = || json(&rehearsal.migplan(&["status", "--format", "json"]).stdout);
    assert!(metrics().contains("\nmigplan_unreadable_runs 0\n"), "{}", metrics());
    assert_eq!(status()["unreadable_runs"], serde_json::json!([]));
    for damaged in [&whole[..whole.len() / 3], &whole.replace("journal/v2", "journal/v9")] {
        std::fs::write(&file, damaged).unwrap();
        assert!(metrics().contains("\nmigplan_unreadable_runs 1\n"), "{}", metrics());
        let runs = status()["unreadable_runs"].clone();
        assert_eq!((&runs[0]["run"], &runs[1]), (&1.into(), &().into()));
        assert!(runs[0]["why"].as_str().unwrap().contains("run-000001.jsonl"), "{runs}");
    }
}
