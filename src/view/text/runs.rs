//! The saved states as a table for people.

use crate::apply::History;
use crate::apply::history::Run;
use crate::apply::journal::{End, Purpose};
use crate::demand::time::utc;

/// One line per run: number, when, what, how it ended; and of each GPU the state to go back to, with
/// the state that the run found where that is another.
pub fn list(history: &History) -> String {
    if history.runs.is_empty() && history.damaged.is_empty() {
        return "no state has been saved here\n".to_string();
    }
    let mut text = String::new();
    for run in &history.runs {
        text.push_str(&describe(run));
    }
    for damaged in &history.damaged {
        text.push_str(&format!("{:>4}  cannot be read: {}\n", damaged.id, damaged.problem));
    }
    text
}

fn describe(run: &Run) -> String {
    let started = utc(i64::try_from(run.header.started).unwrap_or(0).saturating_mul(1000));
    let what = match run.header.purpose {
        Purpose::Apply => format!("before the apply of {}", run.header.source),
        Purpose::Rollback => format!("before the rollback to the {}", run.header.source),
    };
    let end = match run.end {
        None => "not finished",
        Some(End::Applied) => "done",
        Some(End::RolledBack) => "rolled back",
        Some(End::Superseded) => "superseded",
    };
    let mut text = format!("{:>4}  {started}  {what}: {end}\n", run.id);
    for state in &run.header.before {
        text.push_str(&format!("      GPU {}: {state}\n", state.gpu));
        if let Some(found) = run.found_otherwise(&state.uuid) {
            text.push_str(&format!(
                "             the state before an interrupted run; this run found {found}\n"
            ));
        }
    }
    text
}
