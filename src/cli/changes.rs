//! What `apply` and `rollback` share: flags, the question before a change, and how what happens is
//! told: to people with a progress bar, to programs as JSON lines.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use indicatif::ProgressBar;

use super::inputs::{CatalogueArgs, NvmlArgs};
use super::output::{Console, bar, write_result};
use crate::apply::{
    self, ApplyOptions, DEFAULT_STATE_DIR, Event, Interrupt, Operator, Outcome, Patience, Proposal,
    Reached, Session, Systemd, services,
};
use crate::demand::time::Span;
use crate::error::{Error, ExitCode, Result};
use crate::view::json::events::{self, EventJson, EventLine};
use crate::view::text::changes;

/// The environment variable that stands in for `--state-dir`.
pub(super) const STATE_DIR_VARIABLE: &str = "MIGPLAN_STATE_DIR";

/// How a command changes the node, asks and tells.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ChangeArgs {
    /// Show the changes and stop
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Reset GPUs whose MIG mode changes only by a reset (Ampere), with nvidia-smi or what
    /// MIGPLAN_NVIDIA_SMI names
    #[arg(long)]
    reset: bool,
    /// Stop this systemd unit before the change and start it after it, if it runs (repeatable);
    /// also after a failure, and after a kill by the next apply or rollback. What runs in it may be
    /// what is in the way
    #[arg(long, value_name = "UNIT", value_parser = unit)]
    stop: Vec<String>,
    /// Tell what happens as JSON, one event a line, on stdout
    #[arg(long)]
    pub json: bool,
    /// Where states are saved
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR, env = STATE_DIR_VARIABLE)]
    pub state_dir: PathBuf,
    #[command(flatten)]
    nvml: NvmlArgs,
    #[command(flatten)]
    catalogue: CatalogueArgs,
}

fn unit(name: &str) -> std::result::Result<String, String> {
    services::check_unit(name).map(|()| name.to_string())
}

impl ChangeArgs {
    /// Runs a session with these flags, and tells how it ended. `wait`: for busy instances;
    /// `force`: destroy what others have created. `read`s its input before it asks for NVML.
    pub(super) fn run<T>(
        &self,
        wait: Option<Span>,
        force: bool,
        console: &Console,
        read: impl FnOnce() -> Result<T>,
        work: impl FnOnce(&mut Session<'_>, T) -> Result<Outcome>,
    ) -> Result<()> {
        let mut terminal = Terminal {
            console: *console,
            json: self.json,
            yes: self.yes,
            dry_run: self.dry_run,
            bar: ProgressBar::hidden(),
            reached: None,
            lost: None,
        };
        let options = ApplyOptions {
            dry_run: self.dry_run,
            reset: self.reset,
            force,
            patience: Patience::default(),
            wait: wait.map_or(Duration::ZERO, |w| {
                Duration::from_millis(u64::try_from(w.ms()).unwrap_or(0))
            }),
            stop: self.stop.clone(),
            gpu_locks: apply::gpu_locks(),
        };
        let result = (|| {
            let input = read()?;
            let catalogue = self.catalogue.read()?;
            let mut session = Session {
                driver: &mut self.nvml.open()?,
                catalogue: &catalogue,
                options,
                saves: &mut self.state_dir.as_path(),
                services: &mut Systemd::default(),
                interrupts: &mut Interrupt::on_signals,
                operator: &mut terminal,
            };
            work(&mut session, input)
        })();
        terminal.finish(result)
    }
}

/// The terminal, or the program, that runs a session.
struct Terminal {
    console: Console,
    json: bool,
    yes: bool,
    dry_run: bool,
    bar: ProgressBar,
    /// Which state the GPUs are in at the end, once a session has come so far.
    reached: Option<Reached>,
    /// Why stdout does not have all that was to be told there.
    lost: Option<Error>,
}

impl Operator for Terminal {
    fn event(&mut self, event: &Event<'_>) {
        if let Event::Ended(reached) = event {
            self.reached = Some(*reached);
        }
        if self.json {
            if let Some(event) = events::event(event) {
                self.emit(event);
            }
            return;
        }
        let verbose = self.console.verbosity() > 0;
        match *event {
            Event::Warning(problem) => self.console.warn(std::slice::from_ref(problem)),
            Event::Difference(problem) if verbose => {
                self.console.warn(std::slice::from_ref(problem));
            }
            Event::Difference(_) => {}
            Event::Changes(node, change) => {
                let text = changes::describe(node, change);
                if self.dry_run {
                    let written = write_result(None, |out| out.write_all(text.as_bytes()));
                    self.lost = self.lost.take().or(written.err());
                } else if !change.gpus.is_empty() {
                    self.console.say(text.trim_end());
                }
                let steps: usize = change.gpus.iter().map(|gpu| gpu.steps().len()).sum();
                self.bar = self.new_bar(steps as u64);
            }
            Event::Begin(step, _) if !verbose => self.bar.set_message(step.to_string()),
            Event::Done(..) => self.bar.inc(1),
            Event::Failed(_) if !self.bar.is_hidden() => {
                changes::lines(event).iter().for_each(|line| self.bar.println(line));
            }
            _ => changes::lines(event).iter().for_each(|line| self.console.say(line)),
        }
    }

    /// Asks on a terminal; elsewhere `--yes` is needed.
    fn confirm(&mut self, proposal: &Proposal<'_>) -> Result<()> {
        if self.yes {
            return Ok(());
        }
        self.can_confirm()?;
        let question = changes::question(proposal);
        let mut stderr = anstream::stderr();
        let _ = write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush());
        let mut answer = String::new();
        let read = io::stdin().lock().read_line(&mut answer);
        match (read, answer.trim().to_ascii_lowercase().as_str()) {
            (Ok(_), "y" | "yes") => Ok(()),
            _ => Err(Error::new(ExitCode::Refused, "not confirmed; nothing was changed")),
        }
    }

    fn can_confirm(&mut self) -> Result<()> {
        let terminal = io::stdin().is_terminal() && io::stderr().is_terminal() && !self.json;
        if self.yes || terminal {
            return Ok(());
        }
        let why = "there is no terminal to ask on, and --yes was not given";
        Err(Error::new(ExitCode::Refused, why).hint(
            "look at the changes with --dry-run, then run it with --yes; nothing was changed",
        ))
    }
}

impl Terminal {
    fn new_bar(&self, steps: u64) -> ProgressBar {
        if self.dry_run || !self.console.is_interactive() || self.console.verbosity() > 0 {
            return ProgressBar::hidden();
        }
        bar(steps, "{bar:30} {pos}/{len} {msg}")
    }

    /// The last line, and the result for the exit code. What stdout could not take is an error only
    /// where it was all that was wanted; after a change it says nothing of the GPUs.
    fn finish(mut self, result: Result<Outcome>) -> Result<()> {
        self.bar.finish_and_clear();
        if self.json {
            self.emit(events::result(&result, self.reached));
        } else if let Some(line) = result.as_ref().ok().and_then(changes::outcome) {
            self.console.say(&line);
        }
        match (result, self.lost) {
            (Ok(_), Some(lost)) if self.dry_run => Err(lost),
            (result, lost) => {
                lost.iter().for_each(|lost| self.console.warn(&lost.problems));
                result.map(|_| ())
            }
        }
    }

    /// Writes an event. A reader that went away must not stop a change half-way.
    fn emit(&mut self, event: EventJson) {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64());
        let line = EventLine { event, time: (time * 1000.0).round() / 1000.0 };
        let written = write_result(None, |out| {
            serde_json::to_writer(&mut *out, &line)?;
            out.write_all(b"\n")
        });
        self.lost = self.lost.take().or(written.err());
    }
}
