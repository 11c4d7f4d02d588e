//! The rooms of the house: which may import which. A line that points back fails here.
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// For each room, the rooms that it may import beside itself.
fn allowed() -> BTreeMap<&'static str, Vec<&'static str>> {
    let base = vec!["error"];
    let with = |rooms: &[&'static str]| [base.as_slice(), rooms].concat();
    let up_to_plan = [
        "units",
        "table",
        "hardware",
        "fleet",
        "demand",
        "plan",
        "reconfigure",
        "mig_parted",
        "kubernetes",
    ];
    BTreeMap::from([
        ("error", vec![]),
        ("units", with(&[])),
        ("table", with(&["units"])),
        ("hardware", with(&["units"])),
        ("kubernetes", with(&["units", "hardware"])),
        ("fleet", with(&["units", "table", "kubernetes", "hardware"])),
        ("demand", with(&["units", "table", "kubernetes", "hardware"])),
        ("plan", with(&["units", "hardware", "fleet", "demand"])),
        ("mig_parted", with(&["units", "table", "hardware", "fleet", "plan", "reconfigure"])),
        ("reconfigure", with(&["units", "hardware", "fleet"])),
        ("optimise", with(&["units", "hardware", "fleet", "demand", "plan", "reconfigure"])),
        (
            "compare",
            with(&["units", "hardware", "fleet", "demand", "plan", "reconfigure", "optimise"]),
        ),
        ("emit", with(&up_to_plan)),
        ("view", with(&[&up_to_plan[..], &["optimise", "compare"]].concat())),
        ("apply", with(&up_to_plan)),
        (
            "cli",
            with(&[&up_to_plan[..], &["optimise", "compare", "view", "emit", "apply"]].concat()),
        ),
    ])
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
}

/// The source files with their room and their text without the tests at the end.
fn rooms() -> Vec<(String, PathBuf, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let relative = path.strip_prefix(&src).unwrap().to_path_buf();
            let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap().to_string();
            (first.trim_end_matches(".rs").to_string(), relative, code)
        })
        .collect()
}

#[test]
fn imports_run_one_way() {
    let allowed = allowed();
    let mut wrong = Vec::new();
    for (room, path, text) in rooms() {
        if room == "main" || room == "lib" {
            continue;
        }
        let may = allowed.get(room.as_str()).unwrap_or_else(|| {
            panic!("{} opens a room that this test does not know", path.display())
        });
        for (number, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("//") {
                continue;
            }
            for used in line.split("crate::").skip(1) {
                let used = used.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
                if used != room && !may.contains(&used) {
                    wrong.push(format!("{}:{}: {room} uses {used}", path.display(), number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_checker_shares_nothing_with_the_optimiser() {
    for (_, path, text) in rooms() {
        if path == Path::new("plan/check.rs") {
            assert!(!text.contains("optimise::"), "plan/check.rs knows the optimiser");
            assert!(!text.contains("layout::"), "plan/check.rs borrows the rules it should check");
            return;
        }
    }
    panic!("plan/check.rs is gone");
}

#[test]
fn only_the_command_line_prints_and_one_file_is_unsafe() {
    for (room, path, text) in rooms() {
        let name = path.display();
        if room != "cli" && room != "main" {
            for call in ["println!", "eprintln!", "print!(", "eprint!(", "stdout()", "stderr()"] {
                assert!(!text.contains(call), "{name} prints");
            }
        }
        if path != Path::new("apply/nvml.rs") {
            assert!(!text.contains("unsafe {"), "{name} is unsafe");
        }
        assert!(text.starts_with("//!"), "{name} does not say what it is for");
    }
}
