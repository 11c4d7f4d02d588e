//! No output may overwrite what the command reads, whichever flag names it.

use std::fs;

use crate::common::migplan;

/// The commands that write files, beside the kinds of `emit`.
const COMMANDS: [&str; 7] = ["suggest", "compare", "size", "chart", "demand", "replay", "schedule"];

/// The flags of a command that name a file which it reads, from its help.
fn inputs(command: &[&str]) -> Vec<String> {
    /// Of `suggest` and `emit`; the plan that the others have is read.
    const OUTPUTS: [&str; 5] = ["output", "report", "assignments", "chart", "cronjobs"];
    let help = migplan(&[command, &["--help"]].concat()).stdout;
    let flag = |line: &str| {
        let (_, line) = line.trim_start().starts_with('-').then(|| line.split_once("--"))??;
        let (name, value) = line.split_once([' ', '='])?;
        let value = value.trim_start_matches('[').strip_prefix('<')?.split_once('>')?.0;
        // A part of what is written has the name of a file too.
        let is_output =
            name == "part" || OUTPUTS.contains(&name) || command == ["suggest"] && name == "plan";
        (value.split('|').any(|kind| kind == "FILE") && !is_output).then(|| format!("--{name}"))
    };
    help.lines().filter_map(flag).collect()
}

/// The kinds of `emit`, from its help.
fn kinds() -> Vec<String> {
    let help = migplan(&["emit", "--help"]).stdout;
    let list = help.split_once("Kinds:\n").unwrap().1.split_once("\n\n").unwrap().0;
    let kinds = list.lines().filter_map(|line| line.split_whitespace().next());
    kinds.filter(|kind| *kind != "help").map(String::from).collect()
}

#[test]
fn no_output_overwrites_what_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let (read, other) = (file("read.svg"), file("other"));
    fs::write(&read, "as it was").unwrap();
    let kinds = kinds();
    let commands = COMMANDS.iter().map(|command| vec![*command]);
    let commands = commands.chain(kinds.iter().map(|kind| vec!["emit", kind]));
    let mut tried = 0;
    for command in commands {
        for flag in inputs(&command) {
            let mut args = command.clone();
            if command[0] == "emit" && flag != "--plan" {
                args.extend(["--plan", &other]);
            }
            if command == ["size"] {
                args.extend(["--board", "a30"]);
            }
            if command == ["emit", "checkpoint"] && flag != "--uuids" {
                args.extend(["--uuids", "GPU-0"]);
            }
            match &*flag {
                "--bearer-token-file" | "--ca-file" => {
                    args.extend(["--prometheus-url", "http://127.0.0.1:9"]);
                }
                "--password-file" => {
                    args.extend(["--prometheus-url", "http://127.0.0.1:9", "--username", "u"]);
                }
                "--pods" if command[0] == "emit" => args.extend(["--nodes", &other]),
                _ => {}
            }
            args.extend([&*flag, &read, "-o", &read]);
            let ran = migplan(&args);
            let said = "read.svg is read, and would be overwritten";
            assert!(ran.code == 2 && ran.stderr.contains(said), "{args:?}: {}", ran.stderr);
            assert_eq!(fs::read_to_string(&read).unwrap(), "as it was", "{args:?}");
            tried += 1;
        }
    }
    assert!(tried > 100, "{tried}");
    for kind in ["configmap", "mig-parted"] {
        let ran = migplan(&["emit", kind, "--plan", &read, "--assignments", &read]);
        assert!(ran.code == 2 && ran.stderr.contains("would be overwritten"), "{}", ran.stderr);
    }
}
