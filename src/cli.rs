//! The command line: flags, files, exit codes and everything that is printed.
//!
//! Each command has a short file of its own; `inputs` and `planning` hold the flags that several
//! share, `files` reads what they name, and `output` is the one place that writes to stdout, stderr
//! and files. No other module prints, and this one computes nothing.

#![allow(unreachable_pub, reason = "`pub` says here what the files of the command share")]

mod apply;
mod catalogue;
mod changes;
mod chart;
mod check;
mod compare;
mod completions;
mod current;
mod demand;
mod emit;
mod export;
mod files;
mod hours_args;
mod inputs;
mod output;
mod planning;
mod prometheus_args;
mod replay;
mod rollback;
mod schedule;
mod size;
mod status;
mod suggest;
mod values;
mod watch;
mod write;

use std::process::ExitCode as ProcessExit;

use clap::{Parser, Subcommand};

use crate::error::ExitCode;
use output::Console;

/// Plans the MIG layouts of NVIDIA GPUs from what the teams need, proves that none are better, and
/// writes them as a file that nvidia-mig-parted and the GPU Operator take.
#[derive(Debug, Parser)]
#[command(name = "migplan", version, max_term_width = 100, propagate_version = true)]
#[command(after_help = include_str!("cli/help/migplan.txt").trim_ascii_end())]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print no summary and no warnings
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Show more: long lists whole, and the effort of each stage
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    Suggest(Box<suggest::Args>),
    Check(check::Args),
    Compare(compare::Args),
    Size(size::Args),
    Replay(Box<replay::Args>),
    Schedule(Box<schedule::Args>),
    Chart(chart::Args),
    Catalogue(catalogue::Args),
    Emit(emit::Args),
    Demand(Box<demand::Args>),
    Apply(apply::Args),
    Status(status::Args),
    Export(export::Args),
    Rollback(rollback::Args),
    Completions(completions::Args),
    #[command(hide = true)]
    ManPages(completions::ManPagesArgs),
}

/// Parses the arguments, runs the command, prints the one error, gives the exit code.
pub fn main() -> ProcessExit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let code = if e.use_stderr() { ExitCode::Usage } else { ExitCode::Success };
            // Printing can only fail where the reader has gone.
            let _ = e.print();
            return ProcessExit::from(code as u8);
        }
    };
    let console = Console::new(cli.quiet, cli.verbose);
    let result = match cli.command {
        Command::Suggest(args) => suggest::run(&args, &console),
        Command::Check(args) => check::run(&args, &console),
        Command::Compare(args) => compare::run(&args, &console),
        Command::Size(args) => size::run(&args, &console),
        Command::Replay(args) => replay::run(&args, &console),
        Command::Schedule(args) => schedule::run(&args, &console),
        Command::Chart(args) => chart::run(&args, &console),
        Command::Catalogue(args) => catalogue::run(&args, &console),
        Command::Emit(args) => emit::run(&args, &console),
        Command::Demand(args) => demand::run(&args, &console),
        Command::Apply(args) => apply::run(&args, &console),
        Command::Status(args) => status::run(&args, &console),
        Command::Export(args) => export::run(&args, &console),
        Command::Rollback(args) => rollback::run(&args, &console),
        Command::Completions(args) => completions::run(&args, &console),
        Command::ManPages(args) => completions::man_pages(&args, &console),
    };
    let code = match result {
        Ok(()) => ExitCode::Success,
        Err(error) => {
            console.error(&error);
            error.code
        }
    };
    ProcessExit::from(code as u8)
}

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory, Parser};

    use super::Cli;

    /// The commands of the examples in a help text, in which a command may go on after a backslash at
    /// the end of a line: from `migplan` to what the shell does next.
    fn examples(help: &str) -> Vec<Vec<&str>> {
        let line = |line: &'_ str| line.starts_with("  ") && line.contains("migplan ");
        let command = |text: &str| text.find("migplan ").filter(|at| text[..*at].trim().is_empty());
        help.lines()
            .filter(|text| line(text))
            .flat_map(|text| text.split(['|', '>', '(']))
            .flat_map(|text| text.split("&&"))
            .filter_map(|text| Some(&text[command(text)?..]))
            .map(|text| text.split_whitespace().map(|word| word.trim_matches('\'')).collect())
            .collect()
    }

    fn check(command: &Command, checked: &mut usize) {
        for help in [command.get_after_help(), command.get_after_long_help()].into_iter().flatten()
        {
            let help = help.to_string();
            // Sentences are broken where the terminal ends, not in the file too.
            let lines: Vec<&str> = help.lines().collect();
            let prose =
                |line: &str| !line.is_empty() && !line.starts_with(' ') && !line.ends_with(':');
            let broken = lines.windows(2).find(|pair| pair.iter().all(|line| prose(line)));
            assert_eq!(broken, None, "{}", command.get_name());
            // A terminal of 80 columns breaks a longer line, and what is pasted then fails.
            for line in help.lines().filter(|line| line.starts_with("  ")) {
                assert!(line.chars().count() <= 80, "{}: {line}", command.get_name());
            }
            for example in examples(&help.replace("\\\n", " ")) {
                let outcome = Cli::try_parse_from(&example);
                assert!(outcome.is_ok(), "{}: {}", example.join(" "), outcome.unwrap_err());
                *checked += 1;
            }
        }
        command.get_subcommands().for_each(|c| check(c, checked));
    }

    /// The help of a command: the short one, and the long one.
    fn help_of(name: &str) -> [String; 2] {
        let mut cli = Cli::command();
        cli.build();
        let command = cli.find_subcommand_mut(name).unwrap();
        [command.render_help().to_string(), command.render_long_help().to_string()]
    }

    #[test]
    fn help_says_what_a_flag_does_in_its_own_command() {
        for name in ["schedule", "replay"] {
            let [short, long] = help_of(name);
            assert!(short.contains("--timezone"), "{short}");
            assert!(!long.contains("migplan.plan/v1") && !long.contains("--quota"), "{long}");
        }
        assert!(help_of("schedule")[1].contains("migplan.schedule/v1"));
        for help in help_of("replay") {
            assert!(help.contains("Replay what the GPUs of one node hold now"), "{help}");
            assert!(!help.contains("--allow-disruption"), "{help}");
        }
        for help in help_of("size") {
            assert!(help.contains("<--board <BOARD>|--price <BOARD=PRICE>>"), "{help}");
        }
    }

    /// The part of a help text below a heading.
    fn below<'h>(help: &'h str, heading: &str) -> &'h str {
        let (_, rest) = help.split_once(&format!("\n{heading}:\n")).unwrap();
        rest.split("\n\n").next().unwrap()
    }

    #[test]
    fn flags_stand_below_their_heading() {
        let [short, long] = help_of("schedule");
        let flags = ["--configs", "--change-minutes", "--keep", "--allow-disruption"];
        for flag in flags {
            assert!(
                long.contains(flag) && !below(&short, "GPUs").contains(flag),
                "{flag}\n{short}"
            );
        }
        assert!(
            below(&short, "Schedule").contains("--configs") && !long.contains("cuts"),
            "{long}"
        );
        for command in ["size", "demand"] {
            let [_, long] = help_of(command);
            assert!(long.split("\nGPUs:\n").nth(1).unwrap().contains("--catalogue"), "{long}");
            assert!(!long.contains("--utc-offset") && long.contains("--timezone"), "{long}");
        }
        assert!(below(&help_of("suggest")[0], "Options").contains("effort of each stage"));
    }

    #[test]
    fn the_short_help_is_one_screen() {
        let cli = Cli::command();
        for command in cli.get_subcommands().filter(|c| !c.is_hide_set()) {
            let [short, _] = help_of(command.get_name());
            let lines = short.lines().count();
            assert!(lines <= 50, "{} -h has {lines} lines", command.get_name());
        }
    }

    /// All commands, also those of commands.
    fn commands(command: &Command) -> Vec<&Command> {
        let below = command.get_subcommands().flat_map(commands);
        std::iter::once(command).chain(below).collect()
    }

    #[test]
    fn a_negative_number_reaches_the_reader_of_its_flag() {
        const NUMBERS: [&str; 14] = [
            "N",
            "K",
            "ID",
            "MINUTES",
            "SECONDS",
            "PERCENT",
            "[TEAM=]PERCENT",
            "SHARE",
            "DURATION",
            "N|N%",
            "OFFSET",
            "DATE",
            "BOARD=PRICE",
            "GPUS",
        ];
        let cli = Cli::command();
        let (mut checked, all) = (0, commands(&cli));
        for arg in all.iter().flat_map(|command| command.get_arguments()) {
            let names = arg.get_value_names().unwrap_or_default();
            let chosen = !arg.get_possible_values().is_empty();
            if !chosen && names.iter().any(|name| NUMBERS.contains(&name.as_str())) {
                assert!(arg.is_allow_hyphen_values_set(), "--{}", arg.get_id());
                checked += 1;
            }
        }
        assert!(checked > 40, "only {checked} flags take numbers");
    }

    #[test]
    fn the_usage_of_an_emitter_names_the_plan() {
        let mut cli = Cli::command();
        cli.build();
        let emit = cli.find_subcommand_mut("emit").unwrap();
        for kind in emit.get_subcommands_mut().filter(|kind| kind.get_name() != "help") {
            let usage = kind.render_usage().to_string();
            assert!(usage.contains(" --plan <FILE>"), "{usage}");
        }
        let kind = emit.find_subcommand_mut("checkpoint").unwrap();
        let usage = kind.render_usage().to_string();
        assert!(usage.contains("emit checkpoint --plan <FILE> --uuids <FILE|LIST>"), "{usage}");
    }

    #[test]
    fn every_example_of_the_help_can_be_run() {
        let mut checked = 0;
        check(&Cli::command(), &mut checked);
        assert!(checked > 50, "only {checked} examples are there");
    }
}
