//! What is said to somebody who made a mistake: which flag, which file, which value, and what to do.

use crate::common::{migplan, migplan_with, written};
use crate::rehearsal::{Rehearsal, laid_out};

const TEAMS: &[u8] = b"team,workload,memory\nresearch,a,9GiB\ndata-platform,b,18GiB\n";
const LIBRARY: &str = "/gone/libnvidia-ml.so.1";

#[test]
fn without_a_driver_only_flags_that_the_command_has_are_named() {
    let rehearsal = Rehearsal::new(&laid_out("1xh100-80gb", "h100-80gb", &[]));
    rehearsal.config(&[("all", "off")]);
    let own = "hint: run this on the GPU node, or name its libnvidia-ml with --nvml-lib PATH";
    let elsewhere = "; or plan for GPUs elsewhere with --gpus 4xa100-80gb";
    let checkpoint = "; or give a checkpoint: --current FILE";
    rehearsal.write("teams.csv", std::str::from_utf8(TEAMS).unwrap());
    for (arguments, more) in [
        (&["status"][..], ""),
        (&["export"], ""),
        (&["rollback"], ""),
        (&["apply", "--yes"], ""),
        (&["check", "-f", "config.yaml", "--live"], ""),
        (&["check", "-f", "config.yaml"], elsewhere),
        (&["suggest", "-w", "teams.csv"], elsewhere),
        (&["suggest", "-w", "teams.csv", "--gpus", "1xh100-80gb", "--current"], checkpoint),
    ] {
        let run = rehearsal.migplan(&[arguments, &["--nvml-lib", LIBRARY]].concat());
        assert_eq!(run.code, 6, "{arguments:?}: {}", run.stderr);
        assert!(run.stderr.ends_with(&format!("{own}{more}\n")), "{arguments:?}: {}", run.stderr);
        assert_eq!(run.stderr.matches(LIBRARY).count(), 1, "{arguments:?}: {}", run.stderr);
    }
}

#[test]
fn no_flag_is_left_out_without_a_word() {
    for (arguments, first, second) in [
        (&["suggest", "--gpus", "1xh100-80gb", "--pool", "a=b"][..], "--pool", "--gpus"),
        (&["suggest", "--fleet", "f.csv", "--include-cordoned"], "--include-cordoned", "--fleet"),
        (&["check", "--gpus", "1xh100-80gb", "--pool", "a=b"], "--pool", "--gpus"),
        (&["check", "--live", "--pool", "a=b"], "--live", "--pool"),
        (&["check", "--live", "--gpus", "1xh100-80gb"], "--live", "--gpus"),
        (&["check", "--live", "--fleet", "f.csv"], "--live", "--fleet"),
        (&["chart", "-o", "x.svg", "--plan", "p.json", "-w", "w.csv"], "--plan", "--workloads"),
        (&["chart", "-o", "x.svg", "--plan", "p.json", "--gpus", "h200"], "--plan", "--gpus"),
        (&["chart", "-o", "x.svg", "--plan", "p.json", "--pool", "a=b"], "--plan", "--pool"),
        (&["chart", "-o", "x.svg", "--plan", "p.json", "--headroom", "5%"], "--plan", "--headroom"),
        (&["chart", "-o", "x.svg", "--plan", "p.json", "--metric", "m"], "--plan", "--metric"),
        (&["size", "--price", "h100-80gb=1", "--serve", "50%"], "--serve", "--price"),
        (&["demand", "--timezone", "UTC", "--utc-offset", "UTC"], "--timezone", "--utc-offset"),
    ] {
        let run = migplan(arguments);
        assert_eq!(run.code, 2, "{arguments:?}: {}", run.stderr);
        let told = run.stderr.lines().next().unwrap_or_default();
        assert!(told.contains("cannot be used with"), "{arguments:?}: {told}");
        assert!(run.stderr.contains(first) && run.stderr.contains(second), "{}", run.stderr);
    }
}

#[test]
fn values_that_are_no_numbers_are_told_in_plain_words() {
    for (arguments, told) in [
        (&["suggest", "--keep-whole", "two"][..], "'two' is not a whole number"),
        (&["suggest", "--keep-whole", "-1"], "'-1' is less than 0"),
        (&["rollback", "--to", "abc"], "'abc' is not a whole number"),
        (&["suggest", "--headroom", "-10%"], "'-10%' for '--headroom <PERCENT>'"),
        (&["suggest", "--time-limit", "-1"], "not a positive number of seconds"),
        (&["schedule", "--configs", "-1"], "'-1' is less than 0"),
        (&["schedule", "--week", "2026-13-01"], "'2026-13-01' is not a date; write 2026-06-01"),
        (&["size", "-b", "h100-80gb", "--gpus-per-node", "0"], "'0' is less than 1"),
        (&["apply", "--wait", "-5m"], "'-5m'"),
    ] {
        let run = migplan(arguments);
        assert_eq!(run.code, 2, "{arguments:?}: {}", run.stderr);
        assert!(run.stderr.contains(told), "{arguments:?}: {}", run.stderr);
        assert!(!run.stderr.contains("unexpected argument"), "{}", run.stderr);
    }
}

#[test]
fn a_drifted_node_is_told_of_with_its_own_file_and_profiles() {
    let held = [("1g.10gb", 0), ("1g.10gb", 1), ("3g.40gb", 4)];
    let rehearsal = Rehearsal::new(&laid_out("1xh100-80gb", "h100-80gb", &held));
    let wanted = "version: v1\nmig-configs:\n  one:\n  - {devices: all, mig-enabled: true, mig-devices: {7g.80gb: 1}}\n";
    rehearsal.write("one.yaml", wanted);
    let run = rehearsal.migplan(&["check", "-f", "one.yaml", "-c", "one", "--live"]);
    assert_eq!(run.code, 7, "{}", run.stderr);
    let told = "2 × 1g.10gb + 1 × 3g.40gb too many; 1 × 7g.80gb missing";
    assert!(run.stderr.contains(told), "{}", run.stderr);
    let command = ["apply", "-f", "one.yaml", "-c", "one", "--dry-run"];
    assert!(run.stderr.contains(&format!("`migplan {}`", command.join(" "))), "{}", run.stderr);
    let shown = rehearsal.migplan(&command);
    assert!(shown.stdout.contains("create   7g.80gb"), "{}{}", shown.stdout, shown.stderr);
}

#[test]
fn a_team_is_suggested_only_where_its_name_is_like_the_given_one() {
    let of = |more: &[&str]| {
        let arguments = ["suggest", "-w", "-", "--gpus", "1xa100-80gb"];
        migplan_with(&[&arguments[..], more].concat(), TEAMS).stderr
    };
    for (team, told) in
        [("resarch", "did you mean 'research'?"), ("nlp", "the teams are data-platform, research")]
    {
        let stderr = of(&["--team", team]);
        assert!(stderr.contains(told), "{stderr}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("quota.csv");
        std::fs::write(&file, format!("team,gpus,memory_gib\n{team},1,\n")).unwrap();
        let stderr = of(&["--quota", file.to_str().unwrap()]);
        assert!(
            stderr.contains(&format!("no workload is of the team '{team}'; {told}")),
            "{stderr}"
        );
        let growth = format!("{team}=50%");
        let stderr = of(&["--over-time", "--growth", &growth]);
        assert!(stderr.contains(&format!("hint: {told}")), "{stderr}");
    }
}

#[test]
fn missing_columns_are_named_together() {
    let arguments = ["suggest", "-w", "-", "--gpus", "1xa100-80gb"];
    let run = migplan_with(&arguments, b"team,mem\na,9GiB\n");
    assert_eq!(run.code, 3, "{}", run.stderr);
    for column in ["workload", "memory"] {
        assert!(run.stderr.contains(&format!("has no column '{column}'")), "{}", run.stderr);
    }
}

#[test]
fn a_place_that_cannot_be_written_is_told_with_what_helps() {
    let arguments = ["suggest", "-w", "-", "--gpus", "1xa100-80gb", "-q"];
    let full = migplan_with(&[&arguments[..], &["-o", "/dev/full"]].concat(), TEAMS);
    assert_eq!(full.code, 3, "{}", full.stderr);
    let hint = "hint: free some space, or name a file on another disk\n";
    assert!(full.stderr.ends_with(hint), "{}", full.stderr);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("teams.csv");
    std::fs::write(&file, "team,workload,memory,hours\na,b,9GiB,Mon\n").unwrap();
    let file = file.to_str().unwrap();
    let run = migplan(&["schedule", "-w", file, "--gpus", "1xa100-80gb", "--systemd", file]);
    assert_eq!(run.code, 3, "{}", run.stderr);
    assert!(run.stderr.contains("teams.csv: is a file, not a folder"), "{}", run.stderr);
}

#[test]
fn standard_input_has_one_name() {
    let yaml = b"version: v1\nmig-configs:\n  one:\n  - {devices: all, mig-enabled: false}\n";
    let run = migplan_with(&["check", "-f", "-", "--gpus", "1xa100-80gb"], yaml);
    assert!(run.stdout.starts_with("<stdin>: one: valid"), "{}{}", run.stdout, run.stderr);
}

#[test]
fn an_unknown_column_is_named_beside_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| written(&folder, name, text);
    let teams = write("w.csv", "team,workload,memory\nnlp,a,9GiB\n");
    let quota = write("q.csv", "# most\nteam,gpus,memory\nnlp,,40GiB\n");
    let run = migplan(&["suggest", "-w", &teams, "--gpus", "a100-80gb", "--quota", &quota]);
    assert_eq!(run.code, 3);
    assert!(run.stderr.contains("q.csv:2: column 'memory' is not known"), "{}", run.stderr);
    assert!(run.stderr.contains("q.csv:3: column 'team': 'nlp' has neither"), "{}", run.stderr);
    let unit = write("u.csv", "team,workload,memory (GiB)\nnlp,a,38\n");
    let run = migplan(&["demand", "-w", &unit]);
    assert_eq!(run.code, 3);
    assert!(run.stderr.contains("u.csv:1: column 'memory (gib)' is not known"), "{}", run.stderr);
    assert!(run.stderr.contains("u.csv:1: has no column 'memory'"), "{}", run.stderr);
    let fleet = write("f.csv", "node,bord,gpus\nn1,a100-80gb,2\n");
    let run = migplan(&["suggest", "-w", &teams, "--fleet", &fleet]);
    assert!(run.stderr.contains("f.csv:1: column 'bord' is not known"), "{}", run.stderr);
    let comma = write("c.csv", "team;gpus;memory_gib\nnlp;2,5;\n");
    let run = migplan(&["suggest", "-w", &teams, "--gpus", "a100-80gb", "--quota", &comma]);
    let advice = "c.csv:2: column 'gpus': '2,5' is not a number; write a decimal point";
    assert!(run.stderr.contains(advice), "{}", run.stderr);
}

#[test]
fn a_row_that_two_files_have_is_told_with_both_lines() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| written(&folder, name, text);
    let one = write("one.csv", "team,workload,memory\nz,z,1GiB\nnlp,a,9GiB\n");
    let two = write("two.csv", "team,workload,memory\n# more\nnlp,a,8GiB\nnlp,b,1GiB\n");
    let run = migplan(&["demand", "-w", &one, "-w", &two]);
    assert_eq!(run.code, 3);
    let told = "two.csv:3: columns 'team' and 'workload': 'nlp/a' is in ";
    assert!(run.stderr.contains(told), "{}", run.stderr);
    assert!(run.stderr.contains("one.csv:3 already"), "{}", run.stderr);
    assert_eq!(run.stderr.matches(" already").count(), 1, "{}", run.stderr);
}

#[test]
fn a_checkpoint_that_contradicts_itself_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| written(&folder, name, text);
    let teams = write("w.csv", "team,workload,memory\nnlp,a,9GiB\n");
    let checkpoint = |mode: u32, size: u32, compute: u32| {
        format!(
            r#"{{"Version":"v1","MigState":{{"Devices":[{{"UUID":"GPU-1","MigMode":{mode},"GpuInstances":[{{"ProfileID":2,"Placement":{{"Start":4,"Size":{size}}},"ComputeInstances":[{{"ProfileID":{compute},"EngProfileID":0}}]}}]}}]}}}}"#
        )
    };
    for (text, problem) in [
        (checkpoint(1, 4, 2), None),
        (checkpoint(0, 4, 2), Some("GPU 0: MigMode is 0, which is off, but it has 1 instance")),
        (checkpoint(1, 7, 2), Some("GPU 0: 3g.40gb at 4 has size 7")),
        (checkpoint(1, 4, 4), Some("GPU 0: compute instances of 7 slices in 3g.40gb at 4")),
    ] {
        let file = write("ck.json", &text);
        let run = migplan(&["suggest", "-w", &teams, "--gpus", "a100-80gb", "--current", &file]);
        match problem {
            None => assert_eq!(run.code, 0, "{}", run.stderr),
            Some(problem) => {
                assert_eq!(run.code, 3);
                assert!(run.stderr.contains(problem), "{}", run.stderr);
            }
        }
    }
}

#[test]
fn any_input_may_have_a_byte_order_mark_and_what_is_no_text_is_named() {
    let folder = tempfile::TempDir::new().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let file = folder.path().join(name).display().to_string();
        std::fs::write(&file, bytes).unwrap();
        file
    };
    let teams = write("teams.csv", TEAMS);
    let nodes = r#"{"kind": "Node", "metadata": {"name": "n", "labels": {
        "nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB", "nvidia.com/gpu.count": "1"}}}"#;
    let checkpoint = r#"{"Version": "v1", "MigState": {"Devices": [
        {"UUID": "GPU-1", "MigMode": 0, "GpuInstances": null}]}}"#;
    let run = |input: &str, bytes: &[u8]| {
        let file = write("input", bytes);
        match input {
            "nodes" => migplan(&["suggest", "-w", &teams, "--nodes", &file]),
            "fleet" => migplan(&["suggest", "-w", &teams, "--fleet", &file]),
            "checkpoint" => {
                let gpus = ["--gpus", "1xa100-80gb", "--current", &file];
                migplan(&[&["suggest", "-w", &teams][..], &gpus].concat())
            }
            "stdin" => migplan_with(&["suggest", "-w", &teams, "--nodes", "-"], bytes),
            _ => unreachable!(),
        }
    };
    for (input, text) in [
        ("nodes", nodes),
        ("stdin", nodes),
        ("fleet", "node,board,gpus\nn,a100-80gb,1\n"),
        ("checkpoint", checkpoint),
    ] {
        let marked = run(input, &[b"\xEF\xBB\xBF", text.as_bytes()].concat());
        assert_eq!(marked.code, 0, "{input}: {}", marked.stderr);
        let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (bytes, what) in [
            ([b"\xFF\xFE", &wide[..]].concat(), "is UTF-16"),
            (b"\x1F\x8B\x08\0\0\0\0\0\0\x03".to_vec(), "is packed by gzip; unpack it first"),
        ] {
            let refused = run(input, &bytes);
            assert_eq!(refused.code, 3, "{input}: {}", refused.stderr);
            assert!(refused.stderr.contains(what), "{input}: {}", refused.stderr);
        }
    }
}

#[test]
fn assignments_are_of_the_nodes_that_a_file_names() {
    let folder = tempfile::TempDir::new().unwrap();
    let config = "version: v1\nmig-configs:\n  a:\n  - devices: all\n    mig-enabled: false\n";
    let config = written(&folder, "config.yaml", config);
    let assigned = written(&folder, "assigned.csv", "node,config\nn,a\n");
    let args = ["check", "-f", &config, "--assignments", &assigned];
    let run = migplan(&args);
    assert_eq!(run.code, 2, "{}", run.stderr);
    assert!(run.stderr.contains("--fleet <FILE>|--nodes <FILE>"), "{}", run.stderr);
    let fleet = written(&folder, "fleet.csv", "node,board,gpus\nn,a30,1\n");
    assert_eq!(migplan(&[&args[..], &["--fleet", &fleet]].concat()).code, 0);
    let nodes = r#"{"kind": "Node", "metadata": {"name": "n", "labels": {
        "nvidia.com/gpu.product": "NVIDIA-A30", "nvidia.com/gpu.count": "1"}}}"#;
    let nodes = written(&folder, "nodes.json", nodes);
    let run = migplan(&[&args[..], &["--nodes", &nodes]].concat());
    assert_eq!(run.code, 0, "{}", run.stderr);
}

#[test]
fn a_board_of_ones_own_with_too_much_memory_is_no_bug() {
    let folder = tempfile::TempDir::new().unwrap();
    let shown = migplan(&["catalogue", "a30", "--format", "json"]).stdout;
    let mut board: serde_json::Value = serde_json::from_str(&shown).unwrap();
    board["memory_mib"] = (1_u64 << 63).into();
    let file = written(&folder, "boards.json", &board.to_string());
    let args = ["suggest", "-w", "-", "--gpus", "2xa30", "--catalogue", &file];
    let run = migplan_with(&args, TEAMS);
    assert_eq!(run.code, 3, "{}", run.stderr);
    assert!(run.stderr.contains("boards.json: board 'a30-24gb': memory_mib is 92233720368"));
}
