//! A schedule in words: the summary of `migplan schedule`.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;

use super::replay::hours;
use super::table::table;
use super::{Layout, and_more, summary};
use crate::demand::over_time::OverTime;
use crate::demand::time::MINUTE_MS;
use crate::schedule::{SEARCHED_WINDOWS, Schedule};
use crate::text::{letter, plural, share, thousands};

/// For each configuration every node with its label.
pub type Labels = [Vec<(Arc<str>, String)>];

/// The label of a configuration; where nodes differ the first, and how many others there are.
pub fn label(labels: &Labels, configuration: usize) -> String {
    let nodes = labels.get(configuration).map_or(&[][..], Vec::as_slice);
    let distinct: BTreeSet<&str> = nodes.iter().map(|(_, label)| label.as_str()).collect();
    let first = nodes.first().map_or("", |(_, label)| label.as_str());
    match distinct.len() {
        0 | 1 => first.to_string(),
        several => format!("{first} and {} more", thousands(several as u64 - 1)),
    }
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
    let (divisions, solved) = (schedule.searched.divisions, schedule.searched.solved);
    let end = match schedule.searched.proved {
        true if solved < divisions => ", the rest ruled out by bounds; no other serves more",
        true => "; no other serves more",
        false => "; not proved: others may serve more",
    };
    format!(
        "Searched: {SEARCHED_WINDOWS}: {} of the week, {} solved exactly{end}.",
        plural(divisions as u64, "division"),
        thousands(solved as u64),
    )
}

/// The summary that a person reads after `schedule`.
pub fn summary(schedule: &Schedule, demand: &OverTime, labels: &Labels, layout: Layout) -> String {
    let mut text = format!("{}\n", headline(schedule));
    if schedule.changes.is_empty() {
        text.push_str(match schedule.searched.proved {
            true => "One configuration is best: no change is worth its cost.\n",
            false => {
                "No change was found that is worth its cost; with more time there may be one.\n"
            }
        });
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
                label(labels, change.at.from),
                label(labels, change.at.to),
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
///
/// `name`: what the labels of the configurations begin with.
pub fn notes(schedule: &Schedule, demand: &OverTime, name: &str) -> Vec<String> {
    let mut notes = vec![headline(schedule)];
    for change in &schedule.changes {
        notes.push(format!(
            "{} ({}): from {name}-{} to {name}-{}, {} destroyed, {} created",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_tells_of_nodes_that_have_others() {
        let node = |name: &str, label: &str| (Arc::from(name), label.to_string());
        let same = vec![node("a", "migplan-a"), node("b", "migplan-a")];
        let others =
            vec![node("a", "migplan-a-1"), node("b", "migplan-a-2"), node("c", "migplan-a-2")];
        let labels = [same, others, Vec::new()];
        let shown = [0, 1, 2, 3].map(|configuration| label(&labels, configuration));
        assert_eq!(shown, ["migplan-a", "migplan-a-1 and 1 more", "", ""]);
    }
}
