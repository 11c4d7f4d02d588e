//! What configurations would have done with demand over time, in words and as CSV: `migplan replay`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;

use super::table::table;
use super::{Layout, and_more, fitted, out_of_reach, wrapped};
use crate::compare::over_time::Replayed;
use crate::compare::replay::{Replay, Row, Served, Times};
use crate::demand::over_time::OverTime;
use crate::demand::time::HOUR_MS;
use crate::fleet::Fleet;
use crate::plan::Unplaced;
use crate::text::{plural, share, thousands};
use crate::units::Mebibytes;

/// What the columns and rules are.
const LEGEND: &str = "Asked, served, missed and waited are replica-hours. bound: any instance that suffices, assigned anew in each hour; LIMIT. template: each pod asks for the one resource name of its workload, first come first served, and keeps its instance to its end. peak plan: the plan for all workloads at their highest at once, as suggest makes it without --over-time.";

/// What the bound is, for LIMIT in [`LEGEND`].
const NO_MORE: &str = "no scheduler could serve more";

/// The same where replicas take several GPUs, so that one of them may be worth more than the several
/// others that its GPUs would serve.
const BY_PRIORITY: &str = "the most by priority, then by weight; a scheduler that serves replicas of fewer GPUs first may serve more of them";

/// Hours that are named one by one.
const WORST_HOURS: usize = 5;

const HOUR: Times = HOUR_MS.unsigned_abs() as Times;

/// A time as hours, with a decimal where it is not whole.
pub(super) fn hours(times: Times) -> String {
    let tenths = (times * 10 + HOUR / 2) / HOUR;
    let whole = thousands(u64::try_from(tenths / 10).unwrap_or(u64::MAX));
    match tenths % 10 {
        0 => whole,
        tenth => format!("{whole}.{tenth}"),
    }
}

/// A wait for people.
fn wait(ms: u64) -> String {
    if ms == 0 { "-".to_string() } else { format!("{} h", hours(ms.into())) }
}

/// The tables for people; with hours held out also those of the hours that the plans were made from.
/// `unserved` is what no GPU of the fleet could serve.
pub fn replayed(
    replayed: &Replayed,
    fleet: &Fleet,
    unserved: &[Unplaced],
    layout: Layout,
) -> String {
    let Replayed { planned_on, demand, result } = replayed;
    let tables = text(result, demand, fleet, layout);
    let mut shown = match planned_on {
        None => tables,
        Some((hours, known)) => format!(
            "The hours that the plans were made from:\n{}\nThe hours held out:\n{tables}",
            text(known, hours, fleet, layout)
        ),
    };
    let mut never = String::new();
    out_of_reach(&mut never, unserved, layout);
    if !never.is_empty() {
        let _ = write!(shown, "\n{}", fitted(&never, layout));
    }
    shown
}

/// The tables for people.
fn text(replay: &Replay, demand: &OverTime, fleet: &Fleet, layout: Layout) -> String {
    let mut text = String::new();
    let asked = replay.rows.first().map_or(0, |r| r.total().asked);
    let _ = writeln!(
        text,
        "{} of {} on {}, {} to {} ({}).\n",
        plural(u64::try_from(asked / HOUR).unwrap_or(u64::MAX), "replica-hour"),
        plural(demand.peak().workloads().len() as u64, "workload"),
        plural(fleet.gpu_count() as u64, "GPU"),
        demand.name_of(0),
        demand.end(),
        demand.zone().name(),
    );
    let header =
        ["", "rule", "asked", "served", "share", "missed", "waited", "longest wait", "idle memory"];
    let mut shown = table(&header, |column| column > 1).keys(2);
    for row in &replay.rows {
        let total = row.total();
        let idle = Mebibytes(u64::try_from(row.idle_mib / HOUR).unwrap_or(u64::MAX));
        shown.add_row([
            row.name.clone(),
            row.rule.name().to_string(),
            hours(total.asked),
            hours(total.served),
            share(total.served, total.asked),
            hours(total.asked - total.served),
            hours(total.waited),
            wait(total.longest_wait_ms),
            format!("{}·h", idle.human()),
        ]);
    }
    text += &shown.render(layout.width);
    text.push('\n');
    let several = demand.peak().workloads().iter().any(|w| w.whole_gpus > 1);
    let limit = if several { BY_PRIORITY } else { NO_MORE };
    text += &wrapped(&LEGEND.replace("LIMIT", limit), "", layout);
    whole_hours(&mut text, replay, layout);
    rules(&mut text, replay, layout);
    by_team(&mut text, replay, demand, layout);
    worst_hours(&mut text, replay, demand, layout);
    fitted(&text, layout)
}

/// Says why the rules do not ask for the same, where pods begin and end within an hour.
pub(super) fn whole_hours(text: &mut String, replay: &Replay, layout: Layout) {
    let mut asked = replay.rows.iter().map(|row| row.total().asked);
    let first = asked.next();
    if asked.any(|asked| Some(asked) != first) {
        *text += &wrapped(WHOLE_HOURS, "", layout);
    }
}

const WHOLE_HOURS: &str = "bound takes every hour whole, with the most pods of each workload at once in it, and template the time that pods ran: compare what they serve, not their shares.";

/// Which rules of the site hold for some rows only: another configuration may serve more where it
/// is not held to them, and the bound is not held to one profile for a workload.
pub(super) fn rules(text: &mut String, replay: &Replay, layout: Layout) {
    let mut of_names: Vec<(Vec<&str>, Vec<String>)> = Vec::new();
    let mut names_of: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (name, rules) in &replay.rules {
        for flag in rules.of_gpus().flags() {
            names_of.entry(flag).or_default().push(name);
        }
    }
    for (flag, names) in names_of {
        match of_names.iter_mut().find(|(of, _)| *of == names) {
            Some((_, flags)) => flags.push(flag),
            None => of_names.push((names, vec![flag])),
        }
    }
    for (names, flags) in of_names {
        let names: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
        let are = if names.len() == 1 { "is" } else { "are" };
        let line = format!("Only {} {are} held to {}.", names.join(" and "), flags.join(" and "));
        *text += &wrapped(&line, "", layout);
    }
    if replay.rules.iter().any(|(_, rules)| rules.one_profile_per_workload) {
        *text += &wrapped("bound is not held to --one-profile-per-workload.", "", layout);
    }
}

/// What each team got of the first configuration.
pub(super) fn by_team(text: &mut String, replay: &Replay, demand: &OverTime, layout: Layout) {
    let Some(first) = replay.rows.first() else { return };
    let of_first: Vec<&Row> = replay.rows.iter().filter(|r| r.name == first.name).collect();
    let mut header = vec!["team".to_string(), "asked".to_string()];
    for row in &of_first {
        header.push(row.rule.name().to_string());
        header.push("share".to_string());
    }
    header.push("longest wait".to_string());
    let sums: Vec<BTreeMap<&str, Served>> =
        of_first.iter().map(|row| row.by_team(demand)).collect();
    let teams: Vec<&str> = sums.first().map(|s| s.keys().copied().collect()).unwrap_or_default();
    let mut shown = table(&header, |column| column > 0);
    for team in teams.iter().take(layout.rows()) {
        let of = |sums: &BTreeMap<&str, Served>| sums.get(team).copied().unwrap_or_default();
        let mut cells = vec![team.to_string(), hours(sums.first().map_or(0, |s| of(s).asked))];
        for sums in &sums {
            cells.push(hours(of(sums).served));
            cells.push(share(of(sums).served, of(sums).asked));
        }
        cells.push(wait(sums.iter().map(|s| of(s).longest_wait_ms).max().unwrap_or(0)));
        shown.add_row(cells);
    }
    let _ = write!(text, "\nServed by {}:\n{}", first.name, shown.render(layout.width));
    and_more(text, teams.len(), layout.rows(), "team");
}

/// The hours in which the first configuration missed most.
pub(super) fn worst_hours(text: &mut String, replay: &Replay, demand: &OverTime, layout: Layout) {
    let first = replay.rows.first().map(|r| r.name.as_str()).unwrap_or_default();
    for row in replay.rows.iter().filter(|r| r.name == first) {
        let mut order: Vec<usize> = (0..row.missed.len()).filter(|h| row.missed[*h] > 0).collect();
        order.sort_by_key(|h| (std::cmp::Reverse(row.missed[*h]), *h));
        if order.is_empty() {
            let _ = writeln!(text, "\nNo hour falls short ({}).", row.rule.name());
            continue;
        }
        let worst: Vec<String> = order
            .iter()
            .take(WORST_HOURS)
            .map(|h| format!("{} ({})", demand.name_of(*h), hours(row.missed[*h])))
            .collect();
        let line = format!(
            "{} of {} fall short ({}); the worst, with the replica-hours missed: {}.",
            thousands(order.len() as u64),
            plural(row.missed.len() as u64, "hour"),
            row.rule.name(),
            worst.join(", ")
        );
        text.push('\n');
        text.push_str(&wrapped(&line, "", layout));
    }
}

/// A line for each configuration, rule and workload; with hours held out, first those on the hours
/// that the plans were made from.
///
/// # Errors
/// Those of `out`.
pub fn csv(replayed: &Replayed, out: &mut dyn io::Write) -> io::Result<()> {
    let Replayed { planned_on, demand, result } = replayed;
    let (known, hours) = match planned_on {
        Some((demand, replay)) => (Some((replay, demand, "planned_on")), "held_out"),
        None => (None, "all"),
    };
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record([
        "name",
        "rule",
        "team",
        "workload",
        "asked_replica_hours",
        "served_replica_hours",
        "waiting_hours",
        "longest_wait_hours",
        "waiting_pods",
        "unserved_pods",
        "hours",
    ])?;
    for (replay, demand, hours) in known.into_iter().chain([(result, demand, hours)]) {
        for row in &replay.rows {
            for (workload, served) in demand.peak().workloads().iter().zip(&row.workloads) {
                let number = |times| crate::view::json::replay::hours_number(times).to_string();
                writer.write_record([
                    row.name.as_str(),
                    row.rule.name(),
                    &workload.team,
                    &workload.name,
                    &number(served.asked),
                    &number(served.served),
                    &number(served.waited),
                    &number(u128::from(served.longest_wait_ms)),
                    &served.waiting_pods.to_string(),
                    &served.unserved_pods.to_string(),
                    hours,
                ])?;
            }
        }
    }
    writer.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_and_shares_for_people() {
        assert_eq!(hours(HOUR * 3 / 2), "1.5");
        assert_eq!(hours(HOUR * 12_345), "12,345");
        assert_eq!(hours(HOUR * 1_161 + HOUR * 2 / 3), "1,161.7");
        assert_eq!(hours(HOUR * 100 - 1), "100");
        assert_eq!(share(999_999, 1_000_000), "99.9 %");
        assert_eq!(share(5, 5), "100 %");
        assert_eq!(share(1, 1_000_000), "< 0.1 %");
        assert_eq!(share(0, 0), "-");
    }
}
