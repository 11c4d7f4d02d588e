//! Draws demand against instances: a bar for each workload, or where there are many, one curve
//! over all of them.

use super::font;
use super::picture::{Anchor, Box, Picture};
use super::theme::{
    BLUE, BODY, EDGE, GRID, INK, MARGIN, ORANGE, QUIET, SMALL, Swatch, WIDTH, hatched, heading,
    legend, number, ticks, tint,
};
use crate::text::{plural, thousands};
use crate::view::figures::{DemandFigure, DemandRow};

/// Up to here every workload has a row.
const MOST_ROWS: usize = 40;
const NAMES_END: f64 = 270.0;
const BARS_END: f64 = 640.0;
const ROW: f64 = 24.0;
const PLOT_HEIGHT: f64 = 400.0;
/// Needs that differ by less than this part of the axis are drawn as one.
const SAME_NEED: f64 = 0.015;
/// Points of a curve, so that a file stays small whatever the demand.
const MOST_POINTS: usize = 1500;

pub(super) fn draw(figure: &DemandFigure) -> Picture {
    let mut picture = Picture::new(WIDTH, &figure.title, &figure.subtitle);
    let top = heading(&mut picture, &figure.title, &figure.subtitle);
    if figure.rows.is_empty() {
        picture.text(MARGIN, top + 12.0, Anchor::Left, BODY, INK, "Nobody asks for anything.");
        picture.height = top + 12.0 + MARGIN;
    } else if figure.rows.len() <= MOST_ROWS {
        bars(&mut picture, figure, top);
    } else {
        curve(&mut picture, figure, top);
    }
    picture
}

fn entries(figure: &DemandFigure) -> Vec<(Swatch, String)> {
    let mut entries = vec![
        (Swatch::Fill(BLUE), "memory that a replica needs".to_string()),
        (Swatch::Tint(tint(ORANGE, 0.45)), "rounding".to_string()),
        (Swatch::Line(INK, 3.0), "usable memory of the instance that it got".to_string()),
    ];
    if figure.rows.iter().any(|r| r.unplaced > 0) {
        entries.push((Swatch::Hatch, "no place".to_string()));
    }
    entries
}

fn most_gib(figure: &DemandFigure) -> f64 {
    let given = figure.rows.iter().flat_map(|r| &r.given).map(|g| g.memory_gib);
    given.chain(figure.rows.iter().map(|r| r.memory_gib)).fold(0.0, f64::max).max(1.0)
}

fn bars(picture: &mut Picture, figure: &DemandFigure, top: f64) {
    let mut y = legend(picture, top + 2.0, &entries(figure)) + 4.0;
    let most = most_gib(figure) * 1.04;
    let scale = (BARS_END - NAMES_END) / most;
    let bottom = y + ROW * figure.rows.len() as f64 + 4.0;
    for tick in ticks(most, 7) {
        let x = NAMES_END + tick * scale;
        picture.line(vec![(x, y), (x, bottom)], GRID, 1.0);
        picture.text(x, bottom + 15.0, Anchor::Middle, SMALL, QUIET, number(tick));
    }
    let middle = (NAMES_END + BARS_END) / 2.0;
    picture.text(middle, bottom + 33.0, Anchor::Middle, BODY, INK, "memory of one replica (GiB)");
    y += 4.0;
    for row in &figure.rows {
        let name = font::fit(&row.label, BODY, NAMES_END - MARGIN - 10.0);
        picture.text(NAMES_END - 8.0, y + 13.0, Anchor::Right, BODY, INK, name);
        let need = Box::new(NAMES_END, y + 2.0, row.memory_gib * scale, 15.0);
        let largest = row.given.iter().map(|g| g.memory_gib).fold(0.0, f64::max);
        let reach = Box { w: (largest * scale).max(need.w), ..need };
        if row.given.is_empty() {
            hatched(picture, need);
        } else {
            picture.fill(reach, tint(ORANGE, 0.45));
            picture.fill(need, BLUE);
        }
        for given in &row.given {
            let x = NAMES_END + given.memory_gib * scale;
            picture.line(vec![(x, y - 1.0), (x, y + 20.0)], INK, 3.0);
        }
        let text = font::fit(&outcome(row), SMALL, WIDTH - MARGIN - BARS_END - 10.0);
        picture.text(BARS_END + 10.0, y + 13.0, Anchor::Left, SMALL, INK, text);
        y += ROW;
    }
    picture.height = bottom + 33.0 + MARGIN;
}

/// `6 × 2g.20gb, 2 × 3g.40gb; 1 without a place: no room left`.
fn outcome(row: &DemandRow) -> String {
    let mut text: Vec<String> =
        row.given.iter().map(|g| format!("{} × {}", thousands(g.replicas), g.profile)).collect();
    if row.unplaced > 0 {
        text.push(format!("{} without a place: {}", thousands(row.unplaced), row.reason));
    }
    text.join(", ")
}

/// One run of replicas of equal need and instance.
struct Run {
    replicas: f64,
    need_gib: f64,
    got_gib: Option<f64>,
}

fn runs(figure: &DemandFigure) -> Vec<Run> {
    let mut runs = Vec::new();
    for row in &figure.rows {
        let mut given: Vec<_> = row.given.iter().collect();
        given.sort_by(|a, b| b.memory_gib.total_cmp(&a.memory_gib));
        runs.extend(given.into_iter().map(|g| Run {
            replicas: g.replicas as f64,
            need_gib: row.memory_gib,
            got_gib: Some(g.memory_gib),
        }));
        if row.unplaced > 0 {
            let replicas = row.unplaced as f64;
            runs.push(Run { replicas, need_gib: row.memory_gib, got_gib: None });
        }
    }
    runs
}

/// Replicas by falling need along the page: what each needs, and the step of what it got.
fn curve(picture: &mut Picture, figure: &DemandFigure, top: f64) {
    let y = legend(picture, top + 2.0, &entries(figure)) + 8.0;
    let plot = Box::new(78.0, y, WIDTH - MARGIN - 78.0, PLOT_HEIGHT);
    let runs = runs(figure);
    let all: f64 = runs.iter().map(|r| r.replicas).sum::<f64>().max(1.0);
    let most = most_gib(figure) * 1.06;
    let x_of = |replica: f64| plot.x + plot.w * replica / all;
    let y_of = |gib: f64| plot.bottom() - plot.h * gib / most;
    for tick in ticks(most, 8) {
        let y = y_of(tick);
        picture.line(vec![(plot.x, y), (plot.right(), y)], GRID, 1.0);
        picture.text(plot.x - 8.0, y + 3.5, Anchor::Right, SMALL, QUIET, number(tick));
    }
    for tick in ticks(all, 8).into_iter().filter(|t| t.fract() == 0.0) {
        let text = number(tick);
        let half = font::width(&text, SMALL) / 2.0;
        let x = x_of(tick).min(WIDTH - 4.0 - half);
        picture.text(x, plot.bottom() + 17.0, Anchor::Middle, SMALL, QUIET, text);
    }
    let columns = columns(&runs, all);
    let width = plot.w / columns.len().max(1) as f64;
    let mut marks: Vec<Vec<(f64, f64)>> = Vec::new();
    // Bands of replicas without a place, each with its need; a band ends where the need has fallen.
    let mut unplaced: Vec<(Box, f64)> = Vec::new();
    let bar = |i: usize, from: f64, to: f64| {
        Box::new(plot.x + width * i as f64, y_of(to), width + 0.25, y_of(from) - y_of(to))
    };
    let mut areas = vec![(plot.x, plot.bottom())];
    for (i, column) in columns.iter().enumerate() {
        let x = plot.x + width * i as f64;
        match column.got_gib {
            Some(got) => {
                picture.fill(bar(i, column.need_gib, got), tint(ORANGE, 0.45));
                let y = y_of(got);
                match marks.last_mut() {
                    Some(line)
                        if line
                            .last()
                            .is_some_and(|l| (l.0 - x).abs() < 0.01 && (l.1 - y).abs() < 0.01) =>
                    {
                        line.push((x + width, y));
                    }
                    _ => marks.push(vec![(x, y), (x + width, y)]),
                }
            }
            None => match unplaced.last_mut() {
                Some((last, need))
                    if (last.right() - x).abs() < 0.3
                        && *need - column.need_gib < most * SAME_NEED =>
                {
                    last.w += width;
                }
                _ => unplaced.push((bar(i, 0.0, column.need_gib), column.need_gib)),
            },
        }
        areas.push((x, y_of(column.need_gib)));
        areas.push((x + width, y_of(column.need_gib)));
    }
    areas.push((plot.right(), plot.bottom()));
    picture.polygon(areas, BLUE);
    for (at, _) in unplaced {
        picture.fill(at, (235, 235, 235));
        picture.hatch(at, (165, 165, 165), 6.0);
        picture.line(vec![(at.x, at.y), (at.right(), at.y)], EDGE, 1.0);
    }
    for line in marks {
        let ends = line.first().copied().into_iter().chain(line.last().copied()).collect();
        picture.line(ends, INK, 2.5);
    }
    picture.line(
        vec![(plot.x, plot.y), (plot.x, plot.bottom()), (plot.right(), plot.bottom())],
        EDGE,
        1.2,
    );
    let middle = plot.x + plot.w / 2.0;
    let axis =
        format!("replicas of {}, the largest first", plural(figure.rows.len() as u64, "workload"));
    picture.text(middle, plot.bottom() + 37.0, Anchor::Middle, BODY, INK, axis);
    let axis = "memory of one replica (GiB)";
    picture.upright(plot.x - 50.0, plot.y + plot.h / 2.0, BODY, INK, axis);
    let mut y = plot.bottom() + 60.0;
    let unplaced: u64 = figure.rows.iter().map(|r| r.unplaced).sum();
    if unplaced > 0 {
        let worst: Vec<String> = figure
            .rows
            .iter()
            .filter(|r| r.unplaced > 0)
            .take(3)
            .map(|r| format!("{} × {} ({})", thousands(r.unplaced), r.label, r.reason))
            .collect();
        let workloads = figure.rows.iter().filter(|r| r.unplaced > 0).count();
        let more = workloads.saturating_sub(worst.len());
        let further = match more {
            0 => String::new(),
            n => format!(" and {}", plural(n as u64, "further workload")),
        };
        let text = format!("Without a place: {}{further}.", worst.join(", "));
        for line in font::wrap(&text, SMALL, WIDTH - 2.0 * MARGIN, 3) {
            picture.text(MARGIN, y, Anchor::Left, SMALL, QUIET, line);
            y += 14.0;
        }
    }
    picture.height = y + 4.0;
}

/// One column of the curve: the replica in its middle stands for those under it.
struct Column {
    need_gib: f64,
    got_gib: Option<f64>,
}

fn columns(runs: &[Run], all: f64) -> Vec<Column> {
    let count = (all as usize).clamp(1, MOST_POINTS);
    let mut columns = Vec::with_capacity(count);
    let (mut run, mut end) = (0, runs.first().map_or(0.0, |r| r.replicas));
    for i in 0..count {
        let replica = (i as f64 + 0.5) * all / count as f64;
        while end <= replica && run + 1 < runs.len() {
            run += 1;
            end += runs[run].replicas;
        }
        if let Some(run) = runs.get(run) {
            columns.push(Column { need_gib: run.need_gib, got_gib: run.got_gib });
        }
    }
    columns
}
