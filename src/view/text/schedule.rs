//! A schedule in words: the summary of `migplan schedule`.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;

use super::replay::hours;
use super::table::table;
use super::{Layout, and_more, fitted, out_of_reach, summary};
use crate::demand::over_time::OverTime;
use crate::demand::time::MINUTE_MS;
use crate::plan::{Status, mode_resets};
use crate::schedule::{NoChanges, Schedule, ServedOfPriority};
use crate::text::{plural, share, thousands};
use crate::units::Weight;

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

/// Minutes as hours.
fn of_minutes(minutes: u128) -> String {
    hours(minutes * u128::from(MINUTE_MS.unsigned_abs()))
}

/// What the schedule serves, and beside several configurations one.
fn headline(schedule: &Schedule, demand: &OverTime) -> String {
    let (own, one) = (&schedule.served, &schedule.one.served);
    let placed = format!(
        "{} of {} replica-hours placed ({}) by {}",
        of_minutes(own.served),
        of_minutes(own.asked),
        share(own.served, own.asked),
        plural(schedule.configurations.len() as u64, "configuration"),
    );
    if schedule.changes.is_empty() {
        return placed + ".";
    }
    let best = match schedule.one.plan.plan.proof.status {
        Status::Optimal => "the best single configuration",
        _ => "the best single configuration found",
    };
    format!(
        "{placed}; {best} places {} ({}{}).",
        of_minutes(one.served),
        share(one.served, one.asked),
        deciding(schedule, demand)
    )
}

/// What one configuration serves of what comes first, and what the schedule does, where replica-hours
/// alone do not say which is better.
fn deciding(schedule: &Schedule, demand: &OverTime) -> String {
    let (own, one) = (&schedule.served.of_priority, &schedule.one.served.of_priority);
    let is_weighted = demand.peak().is_weighted();
    let Some(priority) = schedule.deciding_priority() else { return String::new() };
    let shown = |of: Option<&ServedOfPriority>| match of {
        Some(of) if is_weighted => of_minutes(of.weight / u128::from(Weight::SCALE)),
        of => of_minutes(of.map_or(0, |of| of.served)),
    };
    let [own_of, one_of] = [own, one].map(|of| shown(of.get(&priority)));
    let unit = if is_weighted { "weight-hours " } else { "" };
    match own.len() {
        1 if !is_weighted => String::new(),
        1 => format!("; {unit}{one_of}, the schedule {own_of}"),
        _ => format!("; {unit}{one_of} of priority {priority}, the schedule {own_of}"),
    }
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
        "Searched: {}: {} of the week, {} solved exactly{end}.",
        schedule.searched.windows(),
        plural(divisions as u64, "division"),
        thousands(solved as u64),
    )
}

/// Which GPUs the changes reset, where they do.
fn resets(schedule: &Schedule) -> Option<String> {
    (!schedule.resets.is_empty()).then(|| {
        format!(
            "MIG is turned on and off on {}, each time in a reset of the GPU, which nothing may use then: migplan apply refuses that without --reset.",
            mode_resets::in_words(&schedule.resets)
        )
    })
}

/// The summary that a person reads after `schedule`.
pub fn summary(schedule: &Schedule, demand: &OverTime, labels: &Labels, layout: Layout) -> String {
    let mut text = format!("{}\n", headline(schedule, demand));
    if schedule.changes.is_empty() {
        text.push_str(match (schedule.searched.no_changes, schedule.searched.proved) {
            (Some(NoChanges::OneAsked), _) => {
                "One configuration, as asked; no change was looked for.\n"
            }
            (Some(NoChanges::AllServed), _) => {
                "One configuration serves all that is asked for; no change was looked for.\n"
            }
            (Some(NoChanges::SameDemand), _) => {
                "Demand is the same in all hours; no change was looked for.\n"
            }
            (None, true) => "One configuration is best: no change is worth its cost.\n",
            (None, false) => {
                "No change was found that is worth its cost; with more time there may be one.\n"
            }
        });
    }
    out_of_reach(&mut text, &schedule.unserved, layout);
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
        if let Some(line) = resets(schedule) {
            text += &super::wrapped(&line, "", layout);
        }
        text.push('\n');
    }
    if schedule.searched.no_changes.is_none() {
        text += &super::wrapped(&searched(schedule), "", layout);
    }
    // The proof is that of the layouts, whatever other divisions serve.
    if !schedule.changes.is_empty() {
        text.push_str("With these changes: ");
    }
    summary::proof(&mut text, &schedule.proof);
    text.truncate(text.trim_end().len());
    fitted(&text, layout)
}

/// What heads the file of a schedule; nothing here may differ between equal runs.
pub fn notes(schedule: &Schedule, demand: &OverTime, labels: &Labels) -> Vec<String> {
    let mut notes = vec![headline(schedule, demand)];
    for change in &schedule.changes {
        notes.push(format!(
            "{} ({}): from {} to {}, {} destroyed, {} created",
            change.at.name(),
            demand.zone().name(),
            label(labels, change.at.from),
            label(labels, change.at.to),
            change.destroyed,
            change.created,
        ));
    }
    notes.extend(resets(schedule));
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
