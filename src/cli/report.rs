//! `--report`: everything about a plan on one page, for people who were not there.

use std::collections::BTreeMap;
use std::path::Path;

use super::chart::{Kind, fit_idle, of_plan};
use super::output::write_result;
use crate::compare::Comparison;
use crate::demand::Demand;
use crate::emit::mig_parted;
use crate::error::Result;
use crate::fleet::Fleet;
use crate::hardware::Catalogue;
use crate::optimise::PlanOptions;
use crate::plan::{Plan, Status};
use crate::text::{plural, thousands};
use crate::units::{Mebibytes, Weight, millionths};
use crate::view::html::{Content, Page, Section, Value, html};

/// Rows of a table; a browser sorts no more than that with pleasure.
const MOST_ROWS: usize = 2000;

/// What a report is about.
pub(super) struct Subject<'a> {
    pub comparison: &'a Comparison,
    pub demand: &'a Demand,
    pub fleet: &'a Fleet,
    pub catalogue: &'a Catalogue,
    pub options: &'a PlanOptions,
    pub config: &'a mig_parted::MigPartedFile,
}

/// Writes the page.
///
/// # Errors
/// The file cannot be written (exit 3); a picture cannot be drawn (exit 1).
pub(super) fn write(file: &Path, subject: &Subject<'_>) -> Result<()> {
    let text = html(&page(subject)?);
    write_result(Some(file), |out| out.write_all(text.as_bytes()))
}

fn page(subject: &Subject<'_>) -> Result<Page> {
    let Subject { comparison, demand, fleet, catalogue, options, config } = subject;
    let plan = &comparison.plan;
    let totals = &plan.totals;
    let proof = match plan.proof.status {
        Status::Optimal => "No plan is better: every stage of the goal is proved.",
        Status::TimeLimit => "The time limit ended the search, so a better plan may exist.",
        Status::Interrupted => "The search was interrupted, so a better plan may exist.",
        Status::SolverGap => {
            "The solver left a gap that it could not close, so a better plan may exist."
        }
    };
    let section = |heading: &str, note: &str, content| Section {
        heading: heading.to_string(),
        note: note.to_string(),
        content,
    };
    let mib = |mib: u64| Mebibytes(mib).human();
    let summary = vec![
        (
            format!("{} of {}", thousands(totals.placed), thousands(totals.replicas)),
            "replicas placed".to_string(),
        ),
        (mib(totals.placed_mib), format!("of {} asked for are served", mib(totals.demand_mib))),
        (
            format!("{} of {}", thousands(totals.gpus_used), thousands(totals.gpus)),
            "GPUs in use".to_string(),
        ),
        (mib(totals.idle_mib), format!("of {} lie idle", mib(totals.fleet_mib))),
        (mib(totals.rounding_mib), "of that: rounding (handed out, not asked for)".to_string()),
        (mib(totals.spare_mib), "of that: spare (nobody has it)".to_string()),
        (mib(totals.unusable_mib), "of that: unusable (no instance offers it)".to_string()),
    ];
    let mut sections = vec![
        section("Summary", proof, Content::Figures(summary)),
        section(
            "Fit versus idle memory",
            "The plan beside what people do today, each at its best on the same GPUs.",
            Content::Picture(fit_idle(comparison, demand, fleet, options)?.svg()?),
        ),
        section("The comparison in numbers", "", compared(comparison)),
        section(
            "The GPUs",
            "Every GPU's memory slices: who sits where, how full, what is unusable.",
            Content::Picture(of_plan(Kind::Slices, plan, demand, catalogue).svg()?),
        ),
        section(
            "The demand",
            "Each workload's memory against the instance that it got.",
            Content::Picture(of_plan(Kind::Demand, plan, demand, catalogue).svg()?),
        ),
        section("Teams", "", teams(plan, demand)),
    ];
    if !plan.unplaced.is_empty() {
        let note = cut(plan.unplaced.len(), "workload");
        sections.push(section("Without a place, and why", &note, unplaced(plan)));
    }
    sections.push(section("GPU by GPU", &cut(plan.gpus.len(), "GPU"), gpus(plan)));
    sections.push(section(
        "The file for nvidia-mig-parted",
        "Save it as config.yaml.",
        Content::Code(config.text.clone()),
    ));
    sections.push(section(
        "How to apply it",
        "Instances that must go are destroyed with whatever runs in them: look at the dry run first.",
        Content::Code(commands(config)),
    ));
    sections.push(section(
        "The proof",
        "Stage by stage; a stage is proved where its bound equals its value.",
        stages(plan),
    ));
    Ok(Page {
        title: "MIG plan".to_string(),
        subtitle: format!(
            "{} of {} on {} of {}.",
            plural(totals.replicas, "replica"),
            plural(demand.workloads().len() as u64, "workload"),
            plural(totals.gpus, "GPU"),
            fleet.boards().iter().map(|b| b.id.as_str()).collect::<Vec<_>>().join(", ")
        ),
        sections,
    })
}

/// Says where a table ends early.
fn cut(rows: usize, noun: &str) -> String {
    if rows > MOST_ROWS {
        format!("The first {} of {}.", thousands(MOST_ROWS as u64), plural(rows as u64, noun))
    } else {
        String::new()
    }
}

fn count(number: u64) -> Value {
    Value::Number(thousands(number), number as f64)
}

fn memory(mib: u64) -> Value {
    Value::Number(Mebibytes(mib).human(), mib as f64)
}

fn names(columns: &[&str]) -> Vec<String> {
    columns.iter().map(|c| (*c).to_string()).collect()
}

fn compared(comparison: &Comparison) -> Content {
    let mut columns = names(&["way", "placed"]);
    columns.extend(comparison.priorities.iter().map(|p| format!("weight at priority {p}")));
    columns.extend(names(&["memory placed", "idle", "rounding", "spare", "unusable", "GPUs used"]));
    let rows = comparison
        .rows
        .iter()
        .map(|row| {
            let mut cells = vec![Value::from(row.name.as_str()), count(row.placed)];
            cells.extend(row.placed_weight.iter().map(|w| {
                let shown = millionths(u128::try_from(*w).unwrap_or(0));
                Value::Number(shown, *w as f64 / Weight::SCALE as f64)
            }));
            let sums = [row.placed_mib, row.idle_mib, row.rounding_mib, row.spare_mib];
            cells.extend(sums.map(memory));
            cells.extend([memory(row.unusable_mib), count(row.gpus_used)]);
            cells
        })
        .collect();
    Content::Table(columns, rows)
}

fn teams(plan: &Plan, demand: &Demand) -> Content {
    let mut teams: BTreeMap<&str, (u64, u64, u64)> = BTreeMap::new();
    for workload in demand.workloads() {
        teams.entry(&workload.team).or_default().0 += workload.count;
    }
    for row in &plan.unplaced {
        teams.entry(&row.team).or_default().1 += row.replicas;
    }
    for assignment in
        plan.gpus.iter().flat_map(|g| &g.instances).filter_map(|i| i.assignment.as_ref())
    {
        teams.entry(&assignment.team).or_default().2 += assignment.demand_mib;
    }
    let rows = teams
        .into_iter()
        .map(|(team, (asked, missing, mib))| {
            let placed = asked.saturating_sub(missing);
            vec![team.into(), count(asked), count(placed), count(missing), memory(mib)]
        })
        .collect();
    Content::Table(names(&["team", "replicas", "placed", "without a place", "memory served"]), rows)
}

fn unplaced(plan: &Plan) -> Content {
    let rows = plan
        .unplaced
        .iter()
        .take(MOST_ROWS)
        .map(|row| {
            let help = row.help.as_deref().unwrap_or("");
            vec![
                Value::from(&*row.team),
                Value::from(&*row.workload),
                count(row.replicas),
                Value::from(row.detail.as_str()),
                Value::from(help),
            ]
        })
        .collect();
    Content::Table(names(&["team", "workload", "replicas", "why", "what would help"]), rows)
}

fn gpus(plan: &Plan) -> Content {
    let rows = plan
        .gpus
        .iter()
        .take(MOST_ROWS)
        .map(|gpu| {
            let layout: Vec<String> = gpu.instances.iter().map(|i| i.profile.to_string()).collect();
            let mut tenants: BTreeMap<String, u64> = BTreeMap::new();
            for assignment in gpu.instances.iter().filter_map(|i| i.assignment.as_ref()) {
                *tenants
                    .entry(format!("{}/{}", assignment.team, assignment.workload))
                    .or_default() += 1;
            }
            let tenants: Vec<String> = tenants
                .into_iter()
                .map(|(who, n)| if n > 1 { format!("{n} × {who}") } else { who })
                .collect();
            let used = gpu
                .instances
                .iter()
                .filter_map(|i| i.assignment.as_ref())
                .map(|o| o.demand_mib)
                .sum();
            vec![
                Value::from(&*gpu.node),
                Value::Number(gpu.gpu.to_string(), f64::from(gpu.gpu)),
                Value::from(&*gpu.board),
                Value::from(
                    if gpu.mig { layout.join(" + ") } else { "whole, MIG off".to_string() }
                        .as_str(),
                ),
                Value::from(tenants.join(", ").as_str()),
                memory(used),
            ]
        })
        .collect();
    Content::Table(
        names(&["node", "GPU", "board", "cut into", "who sits there", "memory served"]),
        rows,
    )
}

fn stages(plan: &Plan) -> Content {
    let rows = plan
        .proof
        .stages
        .iter()
        .map(|s| {
            let number =
                |n: &serde_json::Number| Value::Number(n.to_string(), n.as_f64().unwrap_or(0.0));
            let proved = if s.proved() { "proved" } else { "not proved" };
            vec![
                Value::from(s.objective.as_str()),
                number(&s.value),
                number(&s.bound),
                proved.into(),
            ]
        })
        .collect();
    Content::Table(names(&["stage", "value", "bound", ""]), rows)
}

fn commands(config: &mig_parted::MigPartedFile) -> String {
    let mut labels: Vec<&str> =
        config.assignments.iter().map(|(_, label)| label.as_str()).collect();
    labels.sort_unstable();
    labels.dedup();
    let first = labels.first().copied().unwrap_or(mig_parted::DEFAULT_NAME);
    let mut text = format!(
        "# On the node, with migplan: first what would change, then the change.\n\
         migplan apply -f config.yaml -c {first} --dry-run\n\
         migplan apply -f config.yaml -c {first}\n\n\
         # Or with nvidia-mig-parted:\n\
         nvidia-mig-parted assert --valid-config -f config.yaml -c {first}\n\
         nvidia-mig-parted apply -f config.yaml -c {first}\n"
    );
    let nodes: Vec<_> =
        config.assignments.iter().filter(|(node, _)| **node != *crate::fleet::LOCAL_NODE).collect();
    if !nodes.is_empty() {
        text += "\n# Or, under the GPU Operator with config.yaml as its mig-parted ConfigMap, node by node:\n";
        for (node, label) in nodes.iter().take(MOST_ROWS) {
            text += &format!(
                "kubectl label node {} nvidia.com/mig.config={} --overwrite\n",
                quoted(node),
                label
            );
        }
        if nodes.len() > MOST_ROWS {
            text += "# … and the other nodes, as `migplan suggest --assignments nodes.csv` lists them.\n";
        }
    }
    text
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '/');
    if !word.is_empty() && word.chars().all(plain) {
        word.to_string()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
