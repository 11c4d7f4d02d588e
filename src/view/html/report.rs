//! The report: everything about a plan on one page, for people who were not there.

mod carry_out;

use std::collections::{BTreeMap, BTreeSet};

use super::{Content, Drawing, Page, Row, Section, Table, Value, html};
use crate::compare::{self, Baseline, Comparison};
use crate::demand::Demand;
use crate::emit::mig_parted;
use crate::error::Result;
use crate::fleet::Fleet;
use crate::hardware::Catalogue;
use crate::optimise::PlanOptions;
use crate::plan::teams::{self, TeamTotals};
use crate::plan::{GpuPlan, Plan, Status};
use crate::text::{grouped, plural, thousands};
use crate::units::{Mebibytes, Weight, amount};
use crate::view::charts::Chart;
use crate::view::figures::{ColorBy, DemandFigure, FitIdle, Question, SliceMap, TeamNumbers};
use crate::view::text::summary::layout_of;

/// Rows of a table; a browser sorts no more than that with pleasure.
const MOST_ROWS: usize = 2000;

/// What a report is about.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The plan beside other ways.
    pub comparison: &'a Comparison,
    /// What it was made for.
    pub demand: &'a Demand,
    /// The GPUs.
    pub fleet: &'a Fleet,
    /// The boards.
    pub catalogue: &'a Catalogue,
    /// How it was planned.
    pub options: &'a PlanOptions,
    /// The file that carries it out.
    pub config: &'a mig_parted::MigPartedFile,
}

/// The page as HTML.
///
/// # Errors
/// The frontier is not found within the time limit (exit 5).
pub fn report(subject: &Subject<'_>) -> Result<String> {
    Ok(html(&page(subject)?))
}

fn page(subject: &Subject<'_>) -> Result<Page> {
    let Subject { comparison, demand, fleet, catalogue, options, config } = *subject;
    let plan = &comparison.plan;
    let teams = teams::totals(plan, demand, fleet);
    let numbers = TeamNumbers::new(demand);
    let frontier = compare::frontier(plan, demand, fleet, options)?;
    let fit_idle = FitIdle::new(comparison, &frontier, demand);
    let section = |heading: &str, note: &str, content| Section {
        heading: heading.to_string(),
        note: note.to_string(),
        content,
    };
    let mut sections = vec![
        section("Summary", proof(plan), summary(plan)),
        section(
            "Fit versus idle memory",
            "The plan beside what people do today, each at its best on the same GPUs.",
            Content::Pictures(vec![drawing("", &fit_idle)]),
        ),
        section("The comparison in numbers", "", compared(comparison)),
        section(
            "The GPUs",
            "The memory slices of every GPU: what each instance is assigned to, and how full it is.",
            Content::Pictures(slice_maps(plan, demand, catalogue, &comparison.priorities)),
        ),
        section(
            "The demand",
            "The memory of each workload against the instances that it is assigned.",
            Content::Pictures(vec![drawing("", &DemandFigure::new(plan, demand))]),
        ),
        section("Teams", "", team_table(&teams, &numbers)),
    ];
    if !plan.unplaced.is_empty() {
        let note = first_of(plan.unplaced.len(), "workload");
        sections.push(section("Unplaced, and why", &note, unplaced(plan, &numbers)));
    }
    sections.push(section("GPU by GPU", &first_of(plan.gpus.len(), "GPU"), gpus(plan, &numbers)));
    sections.push(section(
        "The file for nvidia-mig-parted",
        "Save it as config.yaml.",
        Content::Code(config.text.clone()),
    ));
    sections.extend(carry_out::sections(config));
    sections.push(section(
        "The proof",
        "Stage by stage; a stage is proved where its bound equals its value.",
        stages(plan),
    ));
    Ok(Page {
        title: fit_idle.title.clone(),
        subtitle: format!(
            "A MIG plan for {}, in {}.",
            fit_idle.setting,
            plural(demand.workloads().len() as u64, "workload")
        ),
        teams: team_details(comparison, &fit_idle, &teams),
        sections,
    })
}

fn proof(plan: &Plan) -> &'static str {
    match plan.proof.status {
        Status::Optimal => "No plan is better: every stage of the goal is proved.",
        Status::TimeLimit => "The time limit ended the search, so a better plan may exist.",
        Status::Interrupted => "The search was interrupted, so a better plan may exist.",
        Status::SolverGap => {
            "The solver left a gap that it could not close, so a better plan may exist."
        }
    }
}

fn summary(plan: &Plan) -> Content {
    let totals = &plan.totals;
    let mib = |mib: u64| Mebibytes(mib).human();
    let number = |number: String, what: &str| (number, what.to_string());
    let of = |part: u64, all: u64| format!("{} of {}", thousands(part), thousands(all));
    Content::Figures(vec![
        number(of(totals.placed, totals.replicas), "replicas placed"),
        number(mib(totals.placed_mib), &format!("serve the demand of {}", mib(totals.demand_mib))),
        number(of(totals.gpus_used, totals.gpus), "GPUs in use"),
        number(mib(totals.idle_mib), &format!("of {} are idle", mib(totals.fleet_mib))),
        number(
            mib(totals.rounding_mib),
            "of that: internal fragmentation (allocated beyond the demand)",
        ),
        number(mib(totals.spare_mib), "of that: free instances and GPUs"),
        number(mib(totals.unusable_mib), "of that: unusable (in no instance)"),
    ])
}

fn drawing(name: &str, figure: &impl Chart) -> Drawing {
    Drawing { name: name.to_string(), wide: figure.picture(), narrow: figure.narrow() }
}

/// The slice map in the colours that fit the plan, then in the others that say something.
fn slice_maps(
    plan: &Plan,
    demand: &Demand,
    catalogue: &Catalogue,
    priorities: &[i64],
) -> Vec<Drawing> {
    let first = SliceMap::new(plan, demand, catalogue, Question::Any);
    let name = |by: ColorBy| match by {
        ColorBy::Team => "team",
        ColorBy::Priority => "priority",
        ColorBy::Need => "how much of the instance is needed",
    };
    let mut drawings = vec![drawing(name(first.color_by), &first)];
    for by in [ColorBy::Team, ColorBy::Priority, ColorBy::Need] {
        let says_nothing = by == ColorBy::Priority && priorities.len() < 2;
        if by != first.color_by && !says_nothing {
            let map = SliceMap::new(plan, demand, catalogue, Question::By(by));
            drawings.push(drawing(name(by), &map));
        }
    }
    drawings
}

/// Says where a table ends early.
fn first_of(rows: usize, noun: &str) -> String {
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
    columns.extend(names(&[
        "memory placed",
        "idle",
        "internal fragmentation",
        "free",
        "unusable",
        "GPUs used",
    ]));
    let rows = comparison
        .rows
        .iter()
        .map(|row| {
            let mut cells = vec![Value::from(row.name.as_str()), count(row.placed)];
            cells.extend(row.placed_weight.iter().map(|w| {
                let shown = amount(u128::try_from(*w).unwrap_or(0));
                Value::Number(shown, *w as f64 / Weight::SCALE as f64)
            }));
            let sums = [row.placed_mib, row.idle_mib, row.rounding_mib, row.spare_mib];
            cells.extend(sums.map(memory));
            cells.extend([memory(row.unusable_mib), count(row.gpus_used)]);
            Row { teams: None, cells }
        })
        .collect();
    Content::Table(Table { columns, rows })
}

/// What the search says of each team: what it gets, and what the other ways at a glance would
/// place of it.
fn team_details(
    comparison: &Comparison,
    figure: &FitIdle,
    teams: &[TeamTotals],
) -> Vec<(String, String)> {
    let ways: Vec<&Baseline> = figure
        .headline
        .iter()
        .skip(1)
        .filter_map(|at| comparison.rows.iter().find(|row| row.name == figure.ways[*at].name))
        .collect();
    let detail = |t: &TeamTotals| {
        let of_way = |row: &&Baseline| {
            let placed = row.placed_by_team.get(&t.team).copied().unwrap_or(0);
            format!("{} {}", row.name, thousands(placed))
        };
        let others: Vec<String> = ways.iter().map(of_way).collect();
        format!(
            "{} of {} placed, {} of memory; placed by {}",
            thousands(t.placed),
            plural(t.replicas, "replica"),
            Mebibytes(t.placed_mib).human(),
            others.join(", ")
        )
    };
    teams.iter().map(|t| (t.team.to_string(), detail(t))).collect()
}

fn team_table(teams: &[TeamTotals], numbers: &TeamNumbers<'_>) -> Content {
    let row = |t: &TeamTotals| Row {
        teams: Some(numbers.of(&t.team).into_iter().collect()),
        cells: vec![
            Value::Team(t.team.to_string()),
            count(t.replicas),
            count(t.placed),
            count(t.unplaced()),
            memory(t.placed_mib),
            memory(t.demand_mib),
        ],
    };
    Content::Table(Table {
        columns: names(&["team", "replicas", "placed", "unplaced", "memory placed", "of"]),
        rows: teams.iter().map(row).collect(),
    })
}

fn unplaced(plan: &Plan, numbers: &TeamNumbers<'_>) -> Content {
    let rows = plan.unplaced.iter().take(MOST_ROWS).map(|row| Row {
        teams: Some(numbers.of(&row.team).into_iter().collect()),
        cells: vec![
            Value::Team(row.team.to_string()),
            Value::from(&*row.workload),
            count(row.replicas),
            Value::from(row.detail.as_str()),
            Value::from(row.help.as_deref().unwrap_or("")),
        ],
    });
    Content::Table(Table {
        columns: names(&["team", "workload", "replicas", "why", "what would help"]),
        rows: rows.collect(),
    })
}

fn gpus(plan: &Plan, numbers: &TeamNumbers<'_>) -> Content {
    Content::Table(Table {
        columns: names(&["node", "GPU", "board", "layout", "assigned to", "memory placed"]),
        rows: plan.gpus.iter().take(MOST_ROWS).map(|gpu| gpu_row(gpu, numbers)).collect(),
    })
}

fn gpu_row(gpu: &GpuPlan, numbers: &TeamNumbers<'_>) -> Row {
    let assignments = || gpu.instances.iter().filter_map(|i| i.assignment.as_ref());
    let mut assigned: BTreeMap<String, u64> = BTreeMap::new();
    for assignment in assignments() {
        let workload = format!("{}/{}", assignment.team, assignment.workload);
        *assigned.entry(workload).or_default() += 1;
    }
    let assigned: Vec<String> = assigned
        .into_iter()
        .map(|(who, n)| if n > 1 { format!("{n} × {who}") } else { who })
        .collect();
    let of: BTreeSet<u32> = assignments().filter_map(|a| numbers.of(&a.team)).collect();
    Row {
        teams: Some(of.into_iter().collect()),
        cells: vec![
            Value::from(&*gpu.node),
            Value::Number(gpu.gpu.to_string(), f64::from(gpu.gpu)),
            Value::from(&*gpu.board),
            Value::from(layout_of(gpu).as_str()),
            Value::from(assigned.join(", ").as_str()),
            memory(assignments().map(|a| a.demand_mib).sum()),
        ],
    }
}

fn stages(plan: &Plan) -> Content {
    let number =
        |n: &serde_json::Number| Value::Number(grouped(&n.to_string()), n.as_f64().unwrap_or(0.0));
    let rows = plan.proof.stages.iter().map(|s| Row {
        teams: None,
        cells: vec![
            Value::from(s.objective.as_str()),
            number(&s.value),
            number(&s.bound),
            if s.proved() { "proved" } else { "not proved" }.into(),
        ],
    });
    Content::Table(Table {
        columns: names(&["stage", "value", "bound", "proof"]),
        rows: rows.collect(),
    })
}
