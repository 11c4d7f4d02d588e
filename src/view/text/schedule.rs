//! A schedule in words: the summary of `migplan schedule`.

use std::fmt::Write;
use std::sync::Arc;

use super::replay::hours;
use super::table::table;
use super::{Layout, and_more, summary};
use crate::demand::over_time::OverTime;
use crate::demand::time::MINUTE_MS;
use crate::schedule::{SEARCHED_WINDOWS, Schedule};
use crate::text::{plural, share, thousands};

/// For each configuration every node with its label.
pub type Labels = [Vec<(Arc<str>, String)>];

/// The label of a configuration; the first node's, where nodes differ.
pub fn label(labels: &Labels, configuration: usize) -> &str {
    let first = labels.get(configuration).and_then(|nodes| nodes.first());
    first.map_or("", |(_, label)| label.as_str())
}

/// What the schedule serves, and one configuration.
fn headline(schedule: &Schedule) -> String {
    let minute = u128::from(MINUTE_MS.unsigned_abs());
    let (own, one) = (schedule.served, schedule.one.served);
    let of = |minutes: u128| hours(minutes * minute);
    format!(
        "{} of {} replica-hours placed ({}) by {}; the best single configuration places {} ({}).",
        of(own.served),
        of(own.asked),
        share(own.served, own.asked),
        plural(schedule.configurations.len() as u64, "configuration"),
        of(one.served),
        share(one.served, one.asked),
    )
}

/// What was searched, and whether it was proved.
fn searched(schedule: &Schedule) -> String {
    let end = if schedule.searched.proved {
        "no other of them serves more"
    } else {
        "not proved: others may serve more"
    };
    format!(
        "Searched: {SEARCHED_WINDOWS}: {} of the week, {} of them solved after bounds; {end}.",
        plural(schedule.searched.divisions as u64, "division"),
        thousands(schedule.searched.solved as u64),
    )
}

/// The summary that a person reads after `schedule`.
pub fn summary(schedule: &Schedule, demand: &OverTime, labels: &Labels, layout: Layout) -> String {
    let mut text = format!("{}\n", headline(schedule));
    if schedule.changes.is_empty() {
        text.push_str("One configuration is best: no change is worth its cost.\n");
    }
    text.push('\n');
    for (at, configuration) in schedule.configurations.iter().enumerate() {
        let _ = writeln!(
            text,
            "{}, active in {} of {}:",
            label(labels, at),
            thousands(configuration.demand.hours().len() as u64),
            plural(demand.hours().len() as u64, "hour"),
        );
        summary::layout_table(&mut text, &configuration.plan.plan, layout);
    }
    if !schedule.changes.is_empty() {
        let mut shown = table(&["at", "from", "to", "destroyed", "created"], |column| column > 2);
        for change in schedule.changes.iter().take(layout.rows()) {
            shown.add_row([
                change.at.name(),
                label(labels, change.at.from).to_string(),
                label(labels, change.at.to).to_string(),
                thousands(change.destroyed),
                thousands(change.created),
            ]);
        }
        let zone = demand.zone().name();
        let _ = write!(text, "Changes of a week ({zone}):\n{}", shown.render(layout.width));
        and_more(&mut text, schedule.changes.len(), layout.rows(), "change");
        text.push('\n');
    }
    text += &super::wrapped(&searched(schedule), "", layout);
    // The proof is that of the layouts, whatever other divisions serve.
    if !schedule.changes.is_empty() {
        text.push_str("With these changes: ");
    }
    summary::proof(&mut text, &schedule.proof);
    text.truncate(text.trim_end().len());
    text
}

/// What heads the file of a schedule; nothing here may differ between equal runs.
pub fn notes(schedule: &Schedule, demand: &OverTime) -> Vec<String> {
    let mut notes = vec![headline(schedule)];
    let letter = |configuration: usize| char::from(b'a' + u8::try_from(configuration).unwrap_or(0));
    for change in &schedule.changes {
        notes.push(format!(
            "{} ({}): from configuration {} to {}, {} destroyed, {} created",
            change.at.name(),
            demand.zone().name(),
            letter(change.at.from),
            letter(change.at.to),
            change.destroyed,
            change.created,
        ));
    }
    notes
}
