//! A plan for demand over time in words: the summary of `suggest --over-time`.

use std::fmt::Write;

use super::replay::{by_team, hours, rules, whole_hours, worst_hours};
use super::table::table;
use super::{Layout, fitted, summary, unplaced_rows, wrapped};
use crate::compare::over_time::{OverTimeSuggestion, PEAK_ROW};
use crate::compare::replay::{Row, Rule};
use crate::demand::over_time::OverTime;
use crate::text::{plural, share, thousands};

/// What the plan places of all hours, under all rules of the site; the bound is not held to all of
/// them.
fn headline(suggestion: &OverTimeSuggestion, demand: &OverTime) -> String {
    let (asked, placed) = suggestion.plan.replica_hours(demand);
    format!(
        "{} of {} replica-hours placed ({}), in {} ({} of them distinct)",
        thousands(placed),
        thousands(asked),
        share(placed.into(), asked.into()),
        plural(demand.hours().len() as u64, "hour"),
        thousands(demand.periods().len() as u64),
    )
}

fn row<'s>(suggestion: &'s OverTimeSuggestion, name: &str, rule: Rule) -> Option<&'s Row> {
    suggestion.replay.rows.iter().find(|r| r.name == name && r.rule == rule)
}

/// The summary that a person reads after `suggest --over-time`.
pub fn summary(suggestion: &OverTimeSuggestion, demand: &OverTime, layout: Layout) -> String {
    let plan = &suggestion.plan.plan;
    let mut text = format!("{}.\n", headline(suggestion, demand));
    by_team(&mut text, &suggestion.replay, demand, layout);
    text.push('\n');
    summary::layout_table(&mut text, plan, layout);
    let mut shown = table(&["", "bound", "share", "template", "share"], |column| column > 0);
    for bound in suggestion.replay.rows.iter().filter(|r| r.rule == Rule::Bound) {
        let total = bound.total();
        let template = row(suggestion, &bound.name, Rule::Template);
        let template = template.map(Row::total).unwrap_or_default();
        shown.add_row([
            bound.name.clone(),
            hours(total.served),
            share(total.served, total.asked),
            hours(template.served),
            share(template.served, template.asked),
        ]);
    }
    let line = format!(
        "Replica-hours: bound with any instance that suffices, template with one resource name for each workload, first come first served ('{PEAK_ROW}' takes all workloads at their highest at once):"
    );
    text += &wrapped(&line, "", layout);
    text += &shown.render(layout.width);
    whole_hours(&mut text, &suggestion.replay, layout);
    rules(&mut text, &suggestion.replay, layout);
    worst_hours(&mut text, &suggestion.replay, demand, layout);
    if !plan.unplaced.is_empty() {
        let hour = demand.hours().iter().position(|h| h.period == suggestion.plan.shown);
        let _ = writeln!(
            text,
            "\nUnplaced in the hour that falls shortest ({}):",
            hour.map_or(String::new(), |at| demand.name_of(at))
        );
        unplaced_rows(&mut text, &plan.unplaced, layout.rows());
    }
    text.push('\n');
    summary::proof(&mut text, &plan.proof);
    text.truncate(text.trim_end().len());
    fitted(&text, layout)
}

/// What heads the file of a plan over time; nothing here may differ between equal runs.
pub fn notes(suggestion: &OverTimeSuggestion, demand: &OverTime) -> Vec<String> {
    let mut notes = summary::notes(&suggestion.plan.plan);
    notes.truncate(1);
    notes.push(format!("{}.", headline(suggestion, demand)));
    notes
}
