//! `migplan emit slurm`: the lines, read by a real controller.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::support::{emit_from, example, planned};
use crate::common::tools::skip;

/// Writes the files of a Slurm controller on this machine with the plan's nodes, and returns the
/// path of its `slurm.conf`.
fn slurm_files(plan: &Path, folder: &Path) -> String {
    let at = |name: &str| folder.join(name).display().to_string();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let user = Command::new("id").arg("-un").output().unwrap().stdout;
    let user = String::from_utf8(user).unwrap();
    fs::create_dir(folder.join("state")).unwrap();
    let lines = emit_from(plan, &["slurm", "--part", "slurm.conf"]).0;
    // The plan's nodes do not exist, so their addresses are this machine's.
    let here = |line: &str| match line.starts_with("NodeName=") {
        true => format!("{line} NodeAddr=127.0.0.1"),
        false => line.to_string(),
    };
    let lines: Vec<String> = lines.lines().map(here).collect();
    let conf = format!(
        "ClusterName=t\nSlurmctldHost=localhost(127.0.0.1)\nSlurmUser={}\nSlurmctldPort={port}\nAuthType=auth/none\nCredType=cred/none\nStateSaveLocation={}\nSlurmctldPidFile={}\nProctrackType=proctrack/pgid\nTaskPlugin=task/none\nSelectType=select/cons_tres\nSlurmdSpoolDir={}\n{}\nPartitionName=all Nodes=ALL Default=YES\n",
        user.trim(),
        at("state"),
        at("pid"),
        at("spool"),
        lines.join("\n")
    );
    fs::write(folder.join("slurm.conf"), conf).unwrap();
    fs::write(folder.join("gres.conf"), emit_from(plan, &["slurm", "--part", "gres.conf"]).0)
        .unwrap();
    at("slurm.conf")
}

/// What `scontrol show nodes` prints once the controller answers; empty where it does not.
fn nodes_of_slurm(conf: &str, server: &mut std::process::Child) -> String {
    for _ in 0..60 {
        std::thread::sleep(std::time::Duration::from_millis(500));
        let output =
            Command::new("scontrol").args(["show", "nodes", "-o"]).env("SLURM_CONF", conf).output();
        if let Ok(output) = output
            && output.status.success()
        {
            return String::from_utf8_lossy(&output.stdout).into_owned();
        }
        if server.try_wait().unwrap().is_some() {
            break;
        }
    }
    String::new()
}

/// What a controller with the plan's lines says that each node has, and its log; `None` where there is
/// no controller.
fn counted(plan: &Path, folder: &Path) -> Option<(BTreeMap<String, String>, String, String)> {
    if !Path::new("/usr/sbin/slurmctld").exists() {
        skip("slurmctld is not installed (Debian: apt-get install slurmctld)");
        return None;
    }
    let conf = slurm_files(plan, folder);
    let log = fs::File::create(folder.join("log")).unwrap();
    let Ok(mut server) = Command::new("/usr/sbin/slurmctld")
        .args(["-D", "-c", "-f", &conf])
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
    else {
        skip("slurmctld does not start");
        return None;
    };
    let nodes = nodes_of_slurm(&conf, &mut server);
    let _ = server.kill();
    let _ = server.wait();
    let log = fs::read_to_string(folder.join("log")).unwrap();
    let seen = nodes
        .lines()
        .filter_map(|line| {
            let field = |key: &str| line.split(' ').find_map(|word| word.strip_prefix(key));
            Some((field("NodeName=")?.to_string(), field("Gres=")?.to_string()))
        })
        .collect();
    Some((seen, log, conf))
}

#[test]
fn slurmctld_counts_what_the_plan_has() {
    let folder = tempfile::tempdir().unwrap();
    let Some((seen, log, conf)) = counted(&example(), folder.path()) else { return };
    let alike = "gpu:a100-sxm4-80gb:1,gpu:a100_1g.10gb:11,gpu:a100_2g.20gb:2,gpu:a100_3g.39gb:2";
    assert_eq!(
        seen,
        [
            ("gpu-1", alike),
            ("gpu-2", "gpu:a100-sxm4-80gb:4"),
            ("gpu-3", "gpu:a30_1g.6gb:4,gpu:a30_2g.12gb:2"),
            ("gpu-4", alike),
            ("gpu-5", "gpu:a100_1g.10gb:2,gpu:a100_3g.20gb:1,gpu:h100_80gb_hbm3_7g.79gb:1"),
        ]
        .map(|(node, gres)| (node.to_string(), gres.to_string()))
        .into(),
        "{log}"
    );
    if fs::read_dir("/sys/fs/cgroup").map_or(0, Iterator::count) == 0 {
        skip(
            "nothing is mounted at /sys/fs/cgroup, and without control groups slurmd does not start",
        );
    } else if Path::new("/usr/sbin/slurmd").exists() {
        // Debian's slurmd has no NVML, so it finds no GPU, but it reads the file.
        let output = Command::new("/usr/sbin/slurmd")
            .args(["-G", "-N", "gpu-1", "-f", &conf])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() || said.contains("nvml"), "{said}");
        assert!(!said.contains("Parse error"), "{said}");
    }
}

/// The type of an instance is part of what Slurm derives without the device's name; that of a whole GPU
/// is nothing but that name.
#[test]
fn a_device_whose_name_is_not_known_is_left_to_fill_in() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = folder.path().join("fleet.csv");
    fs::write(&fleet, "node,board,gpus\ngpu-1,h100-sxm5-94gb,2\n").unwrap();
    let csv = "team,workload,memory,count,gpus\na,b,9GiB,2,\na,c,,1,1\n";
    let plan = planned(folder.path(), csv, &["--fleet", fleet.to_str().unwrap()]);
    let (text, said) = emit_from(&plan, &["slurm"]);
    assert!(said.contains("the device name of h100-sxm5-94gb is not known: fill in"), "{said}");
    assert!(text.contains("# FILL-IN-h100-sxm5-94gb: whole GPU on h100-sxm5-94gb\n"), "{text}");
    let lines = text.lines().find_map(|l| l.strip_prefix("NodeName=gpu-1 Gres=")).unwrap();
    assert!(lines.starts_with("gpu:1g.11gb:"), "{text}");
    assert!(!lines.contains("h100_") && lines.ends_with(",gpu:FILL-IN-h100-sxm5-94gb:1"), "{text}");
    // The lines of gres.conf have no types, and of a known board nothing is left out.
    assert_eq!(emit_from(&plan, &["slurm", "--part", "gres.conf"]).1, "");
    assert!(!emit_from(&example(), &["slurm"]).0.contains("FILL-IN"));
    let Some((seen, log, _)) = counted(&plan, folder.path()) else { return };
    assert_eq!(seen.get("gpu-1").map(String::as_str), Some(lines), "{log}");
}
