//! What is written keeps what was set up for it, and no output may overwrite what the command reads,
//! whichever flag names it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::common::{Run, migplan, root, tools};

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
                "--nodes" if matches!(command[0], "demand" | "size") => {
                    args.extend(["--pods", &other]);
                }
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

/// Writes the demand of the example to a file.
fn write_to(file: &Path) -> Run {
    let example = root("examples/teams.csv");
    migplan(&["demand", "-q", "-w", example.to_str().unwrap(), "-o", file.to_str().unwrap()])
}

/// The text that [`write_to`] writes.
fn written() -> String {
    migplan(&["demand", "-q", "-w", root("examples/teams.csv").to_str().unwrap()]).stdout
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_file_is_written_where_its_links_lead() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("there")).unwrap();
    fs::write(at("there/real.csv"), "old").unwrap();
    symlink("there/real.csv", at("first")).unwrap();
    symlink(at("first"), at("second")).unwrap();
    let ran = write_to(&at("second"));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(fs::read_to_string(at("there/real.csv")).unwrap(), written());
    assert!(at("first").is_symlink() && at("second").is_symlink());
    // One that leads to a file which is not there yet makes it, as a shell would.
    symlink("there/new.csv", at("ahead")).unwrap();
    let ran = write_to(&at("ahead"));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(at("ahead").is_symlink());
    assert_eq!(fs::read_to_string(at("there/new.csv")).unwrap(), written());
    assert_eq!(names(&at("there")), ["new.csv", "real.csv"]);
    // Two names of one new file are one output.
    symlink("there/both.csv", at("both")).unwrap();
    let (plan, example) = (at("there/both.csv"), root("examples/teams.csv"));
    let both = at("both");
    let [both, plan, example] = [&both, &plan, &example].map(|p| p.to_str().unwrap());
    let ran = migplan(&["suggest", "-w", example, "--gpus", "1xa30", "-o", both, "--plan", plan]);
    assert!(ran.code == 2 && ran.stderr.contains("two outputs go to"), "{}", ran.stderr);
}

#[test]
fn links_that_lead_nowhere_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    symlink("two", at("one")).unwrap();
    symlink("one", at("two")).unwrap();
    let ran = write_to(&at("one"));
    assert_eq!(ran.code, 3);
    assert!(ran.stderr.contains("one: cannot be written: its symbolic links lead in a circle"));
    symlink("missing/x.csv", at("astray")).unwrap();
    let ran = write_to(&at("astray"));
    assert_eq!(ran.code, 3);
    let target = at("missing/x.csv");
    let said = format!("it is a symbolic link to {}, and there is no folder", target.display());
    assert!(ran.stderr.contains(&said), "{}", ran.stderr);
    assert_eq!(names(folder.path()), ["astray", "one", "two"]);
}

#[test]
fn an_old_file_keeps_its_mode_and_owner() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("demand.csv");
    for mode in [0o600, 0o640, 0o666] {
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        // Root alone may give a file away.
        let owner = std::os::unix::fs::chown(&file, Some(4321), Some(4322)).is_ok();
        let before = fs::metadata(&file).unwrap();
        assert_eq!(write_to(&file).code, 0);
        let after = fs::metadata(&file).unwrap();
        assert_eq!(after.mode() & 0o777, mode);
        assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()));
        assert_ne!(after.ino(), before.ino(), "a new file takes the old one's place");
        assert_eq!(after.uid() == 4321, owner);
        assert_eq!(fs::read_to_string(&file).unwrap(), written());
    }
    assert_eq!(names(folder.path()), ["demand.csv"]);
}

#[test]
fn attributes_stay() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("demand.csv");
    fs::write(&file, "old and longer than the result: ".repeat(99)).unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    if rustix::fs::setxattr(&file, "user.note", b"of the site", flags).is_err() {
        return tools::note("the disk of temporary files knows no attributes");
    }
    assert_eq!(write_to(&file).code, 0);
    let mut note = [0; 11];
    assert_eq!(rustix::fs::getxattr(&file, "user.note", &mut note), Ok(11));
    assert_eq!(&note, b"of the site");
    assert_eq!(fs::read_to_string(&file).unwrap(), written());
    assert_eq!(names(folder.path()), ["demand.csv"]);
}

/// Runs a shell script in a mount namespace of its own, `$0` being migplan and `$1` the example.
fn mounted(folder: &Path, script: &str) -> Option<std::process::Output> {
    let unshared = |user: bool| {
        let mut command = Command::new("unshare");
        command.args(if user { &["-r", "-m"][..] } else { &["-m"] }).current_dir(folder);
        command
    };
    let able = |user: &bool| {
        let probe = "mount -t tmpfs none \"$PWD\"";
        unshared(*user).args(["sh", "-c", probe]).output().is_ok_and(|ran| ran.status.success())
    };
    let user = [false, true].into_iter().find(able)?;
    let mut command = unshared(user);
    command.args(["sh", "-ec", script, env!("CARGO_BIN_EXE_migplan")]);
    Some(command.arg(root("examples/teams.csv")).output().unwrap())
}

#[test]
fn a_file_that_is_mounted_alone_is_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let script = "
        printf 'old and far longer than the result is: %5000s' x > source; touch alone
        mount --bind source alone
        \"$0\" demand -q -w \"$1\" -o alone
        mkdir small; mount -t tmpfs -o size=8k none small
        echo old > small/source; touch full
        head -c 4096 /dev/zero > small/filler
        mount --bind small/source full
        ! \"$0\" suggest -q -w \"$1\" --gpus 4xa100-80gb -o full --format json
        cat full";
    let Some(ran) = mounted(folder.path(), script) else {
        return tools::note("a mount namespace cannot be made here");
    };
    let told = String::from_utf8(ran.stderr).unwrap();
    assert!(ran.status.success(), "{told}");
    assert_eq!(fs::read_to_string(folder.path().join("source")).unwrap(), written());
    // Where the disk has no space nothing is lost.
    assert!(told.contains("full: cannot be written: No space left on device"), "{told}");
    assert_eq!(String::from_utf8(ran.stdout).unwrap(), "old\n");
    assert_eq!(names(folder.path()), ["alone", "full", "small", "source"]);
}

#[test]
fn a_file_in_a_folder_that_is_closed_is_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let script = "
        mkdir closed; echo old > closed/open.csv
        mount --bind closed closed; mount -o remount,bind,ro closed
        mount --bind \"$PWD/closed/open.csv\" closed/open.csv
        mount -o remount,bind,rw closed/open.csv
        \"$0\" demand -q -w \"$1\" -o closed/open.csv
        ! \"$0\" demand -q -w \"$1\" -o closed/new.csv";
    let Some(ran) = mounted(folder.path(), script) else {
        return tools::note("a mount namespace cannot be made here");
    };
    let told = String::from_utf8(ran.stderr).unwrap();
    assert!(ran.status.success(), "{told}");
    assert!(told.contains("closed/new.csv: cannot be written: Read-only file system"), "{told}");
    assert_eq!(fs::read_to_string(folder.path().join("closed/open.csv")).unwrap(), written());
}

#[test]
fn what_is_standard_output_by_another_name_is_added_to() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["/dev/stdout", "/proc/self/fd/1", "/dev/fd/1"] {
        let log = folder.path().join("log");
        let script = "echo before; \"$0\" demand -q -w \"$1\" -o \"$2\"; echo after";
        let ran = Command::new("sh")
            .args(["-c", script, env!("CARGO_BIN_EXE_migplan")])
            .arg(root("examples/teams.csv"))
            .arg(name)
            .stdout(fs::File::create(&log).unwrap())
            .status()
            .unwrap();
        assert!(ran.success());
        let expected = format!("before\n{}after\n", written());
        assert_eq!(fs::read_to_string(&log).unwrap(), expected, "{name}");
    }
    assert!(Path::new("/dev/stdout").is_symlink());
    // Another open file is written to as it is.
    let script = "echo before >&3; \"$0\" demand -q -w \"$1\" -o /dev/fd/3";
    let log = folder.path().join("third");
    let script = format!("exec 3>\"$2\"; {script}");
    let ran = Command::new("sh")
        .args(["-c", &script, env!("CARGO_BIN_EXE_migplan")])
        .args([&root("examples/teams.csv"), &log])
        .status()
        .unwrap();
    assert!(ran.success());
    assert_eq!(fs::read_to_string(&log).unwrap(), format!("before\n{}", written()));
    // Two outputs to it are refused under any name.
    let example = root("examples/teams.csv");
    let args = ["suggest", "-w", example.to_str().unwrap(), "--gpus", "1xa30"];
    let ran = migplan(&[&args[..], &["--plan", "/dev/stdout"]].concat());
    assert!(ran.code == 2 && ran.stderr.contains("two outputs go to stdout"), "{}", ran.stderr);
}
