//! The two commands of README: the first is run here as it stands, the second runs this.
use std::process::Command;

#[test]
fn the_first_command_makes_a_config() {
    let out = tempfile::tempdir().unwrap();
    let output = Command::new("sh")
        .arg(crate::common::root("examples/quickstart.sh"))
        .env("OUT", out.path())
        // What the test was built with serves; another build would take minutes more.
        .env("MIGPLAN", env!("CARGO_BIN_EXE_migplan"))
        .env_remove("MIGPLAN_GPUS")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{log}");
    let golden =
        std::fs::read_to_string(crate::common::root("tests/golden/suggest/one-node/config.yaml"));
    let config = std::fs::read_to_string(out.path().join("config.yaml")).unwrap();
    assert_eq!(config, golden.unwrap());
    assert!(text.contains("valid for mig-parted"), "{text}");
    assert!(log.contains("17 of 17 replicas placed"), "{log}");
}

#[test]
fn readme_shows_what_is_printed() {
    let readme = std::fs::read_to_string(crate::common::root("README.md")).unwrap();
    for command in ["sh examples/quickstart.sh", "sh tests/run.sh"] {
        assert!(readme.contains(command), "README does not name `{command}`");
    }
    let folder = crate::common::root("tests/golden/suggest/one-node");
    let config = std::fs::read_to_string(folder.join("config.yaml")).unwrap();
    assert!(readme.contains(&config), "README's YAML is not the example's:\n{config}");
    // The transcript is the summary but for the seconds.
    let summary = std::fs::read_to_string(folder.join("summary.txt")).unwrap();
    for line in summary.lines().filter(|l| !l.starts_with("Proved")) {
        assert!(readme.contains(line), "README's transcript lacks: {line}");
    }
}

#[test]
fn the_walk_through_walks() {
    let out = tempfile::tempdir().unwrap();
    let output = Command::new("bash")
        .arg(crate::common::root("examples/walk-through.sh"))
        .arg(out.path())
        .env("MIGPLAN", env!("CARGO_BIN_EXE_migplan"))
        .env_remove("MIGPLAN_GPUS")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{log}");
    assert!(log.contains("17 of 17 replicas placed"), "{log}");
    for file in ["configmap.yaml", "roll.sh", "jupyterhub.yaml", "gpu_tasks.py", "slices.svg"] {
        assert!(out.path().join(file).metadata().unwrap().len() > 100, "{file}");
    }
}

/// A recipe that names a file which has moved sends its reader astray.
#[test]
fn the_recipes_name_files_that_exist() {
    let mut named = 0;
    for document in ["CONTRIBUTING.md", "SECURITY.md", "README.md"] {
        let text = std::fs::read_to_string(crate::common::root(document)).unwrap();
        for path in text.split(['`', '(', ')', ' ', '\n']) {
            let ours = ["src/", "tests/", "data/", "examples/", "packaging/", "fuzz/", "benches/"];
            let placeholder = path.contains("NAME") || path.contains("TARGET");
            if !ours.iter().any(|folder| path.starts_with(folder)) || placeholder {
                continue;
            }
            // A file may be followed by what stands in it, or by a full stop.
            let file = path.trim_end_matches(['.', ',', ':', ';']);
            // Of what runs leave behind.
            let made = ["fuzz/artifacts", "fuzz/corpus", "tests/proptest-regressions"];
            if made.iter().any(|folder| file.starts_with(folder)) {
                continue;
            }
            assert!(crate::common::root(file).exists(), "{document} names {file}");
            named += 1;
        }
    }
    assert!(named > 30, "{named}");
}
