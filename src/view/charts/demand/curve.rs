//! Replicas by falling need along the page: what each needs, and the step of its instance.

use super::super::font;
use super::super::page::{BODY, SMALL, legend, number, plot_left, ticks};
use super::super::palette::{
    BLUE, EDGE, FILLED, GRID, HATCH, INK, ORANGE, QUIET, SOFT, VERMILION, tint,
};
use super::super::picture::{Anchor, Box, Picture};
use super::{entries, most_gib};
use crate::text::{plural, thousands};
use crate::view::figures::DemandFigure;

const PLOT_HEIGHT: f64 = 400.0;
/// Between the numbers of the vertical axis and the plot.
const TICK_GAP: f64 = 8.0;
/// Columns of the curve, so that a file stays small whatever the demand.
const MOST_COLUMNS: usize = 1500;

/// Replicas of one workload with the same instance.
struct Run {
    replicas: f64,
    need_gib: f64,
    instance_gib: Option<f64>,
    above_gib: Option<f64>,
    tip: String,
    team: Option<u32>,
}

/// Columns of one run, from the first to before the last.
struct Stretch {
    run: usize,
    from: usize,
    to: usize,
}

struct Scale {
    plot: Box,
    most_gib: f64,
    columns: usize,
}

impl Scale {
    fn x(&self, column: usize) -> f64 {
        self.plot.x + self.plot.w * column as f64 / self.columns.max(1) as f64
    }

    fn y(&self, gib: f64) -> f64 {
        self.plot.bottom() - self.plot.h * gib / self.most_gib
    }

    /// The columns of a stretch between two values. A little wider than it is, so that no seam
    /// shows between neighbours.
    fn column(&self, stretch: &Stretch, from_gib: f64, to_gib: f64) -> Box {
        let (x, top) = (self.x(stretch.from), self.y(to_gib));
        Box::new(x, top, self.x(stretch.to) - x + 0.25, self.y(from_gib) - top)
    }
}

pub(super) fn draw(picture: &mut Picture, figure: &DemandFigure, top: f64) {
    let y = legend(picture, top + 2.0, &entries(figure)) + 8.0;
    let most_gib = most_gib(figure) * 1.06;
    let numbers: Vec<String> = ticks(most_gib, 8).into_iter().map(number).collect();
    let left = if picture.is_narrow() { 54.0 } else { 78.0 };
    let left = plot_left(&numbers, title_of_axis(picture), TICK_GAP, left);
    let plot = Box::new(left, y, picture.width - picture.margin() - left, PLOT_HEIGHT);
    let runs = runs(figure);
    let all: f64 = runs.iter().map(|r| r.replicas).sum::<f64>().max(1.0);
    let columns = (all as usize).clamp(1, MOST_COLUMNS);
    let scale = Scale { plot, most_gib, columns };
    axes(picture, figure, &scale, all);
    for stretch in stretches(&runs, all, columns) {
        let run = &runs[stretch.run];
        picture.mark(run.tip.as_str(), run.team.into_iter().collect(), |p| {
            draw_run(p, &scale, &stretch, run)
        });
    }
    picture.line(
        vec![(plot.x, plot.y), (plot.x, plot.bottom()), (plot.right(), plot.bottom())],
        EDGE,
        1.2,
    );
    picture.height = unplaced(picture, figure, plot.bottom() + 60.0) + 4.0;
}

/// Where the title of the vertical axis stands.
fn title_of_axis(picture: &Picture) -> f64 {
    if picture.is_narrow() { 12.0 } else { 28.0 }
}

fn axes(picture: &mut Picture, figure: &DemandFigure, scale: &Scale, all: f64) {
    let plot = &scale.plot;
    for tick in ticks(scale.most_gib, 8) {
        let y = scale.y(tick);
        picture.line(vec![(plot.x, y), (plot.right(), y)], GRID, 1.0);
        picture.text(plot.x - TICK_GAP, y + 3.5, Anchor::Right, SMALL, QUIET, number(tick));
    }
    let count = if picture.is_narrow() { 4 } else { 8 };
    for tick in ticks(all, count).into_iter().filter(|t| t.fract() == 0.0) {
        let text = number(tick);
        let most = picture.width - 4.0 - font::width(&text, SMALL) / 2.0;
        let x = (plot.x + plot.w * tick / all).min(most);
        picture.text(x, plot.bottom() + 17.0, Anchor::Middle, SMALL, QUIET, text);
    }
    let axis =
        format!("replicas of {}, the largest first", plural(figure.rows.len() as u64, "workload"));
    let middle = plot.x + plot.w / 2.0;
    picture.text(middle, plot.bottom() + 37.0, Anchor::Middle, BODY, INK, axis);
    picture.upright(
        title_of_axis(picture),
        plot.y + plot.h / 2.0,
        BODY,
        INK,
        "memory of one replica (GiB)",
    );
}

fn runs(figure: &DemandFigure) -> Vec<Run> {
    let mut runs = Vec::new();
    for row in &figure.rows {
        let mut given: Vec<_> = row.given.iter().collect();
        given.sort_by(|a, b| b.memory_gib.total_cmp(&a.memory_gib));
        let run = |replicas: u64, instance_gib: Option<f64>| Run {
            replicas: replicas as f64,
            need_gib: row.memory_gib,
            instance_gib,
            above_gib: row.above.as_ref().map(|(peak, _)| *peak),
            tip: row.sentence(),
            team: row.team,
        };
        runs.extend(given.into_iter().map(|g| run(g.replicas, Some(g.memory_gib))));
        if row.unplaced > 0 {
            runs.push(run(row.unplaced, None));
        }
    }
    runs
}

/// Which columns each run takes: the replica in a column's middle stands for those under it.
fn stretches(runs: &[Run], all: f64, columns: usize) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = Vec::new();
    let (mut run, mut end) = (0, runs.first().map_or(0.0, |r| r.replicas));
    for column in 0..columns {
        let replica = (column as f64 + 0.5) * all / columns as f64;
        while end <= replica && run + 1 < runs.len() {
            run += 1;
            end += runs[run].replicas;
        }
        match stretches.last_mut() {
            Some(last) if last.run == run => last.to = column + 1,
            _ if run < runs.len() => stretches.push(Stretch { run, from: column, to: column + 1 }),
            _ => {}
        }
    }
    stretches
}

fn draw_run(picture: &mut Picture, scale: &Scale, stretch: &Stretch, run: &Run) {
    match run.instance_gib {
        Some(instance) => {
            picture.fill(scale.column(stretch, run.need_gib, instance), tint(ORANGE, FILLED));
            picture.fill(scale.column(stretch, 0.0, run.need_gib), BLUE);
            let y = scale.y(instance);
            let line = vec![(scale.x(stretch.from), y), (scale.x(stretch.to), y)];
            picture.line(line, INK, 2.5);
            if let Some(above) = run.above_gib.filter(|above| *above > instance) {
                let y = scale.y(above);
                let line = vec![(scale.x(stretch.from), y), (scale.x(stretch.to), y)];
                picture.line(line, VERMILION, 2.5);
            }
        }
        None => {
            let at = scale.column(stretch, 0.0, run.need_gib);
            picture.fill(at, SOFT);
            picture.hatch(at, HATCH, 6.0);
            picture.line(vec![(at.x, at.y), (at.right(), at.y)], EDGE, 1.0);
        }
    }
}

/// Names what is unplaced; returns where the rest may begin.
fn unplaced(picture: &mut Picture, figure: &DemandFigure, top: f64) -> f64 {
    let rows: Vec<_> = figure.rows.iter().filter(|r| r.unplaced > 0).collect();
    if rows.is_empty() {
        return top;
    }
    let named: Vec<String> = rows
        .iter()
        .take(3)
        .map(|r| format!("{} × {} ({})", thousands(r.unplaced), r.label, r.reason))
        .collect();
    let further = match rows.len() - named.len() {
        0 => String::new(),
        n => format!(" and {}", plural(n as u64, "further workload")),
    };
    let text = format!("Unplaced: {}{further}.", named.join(", "));
    let margin = picture.margin();
    let mut y = top;
    let lines = if picture.is_narrow() { 6 } else { 3 };
    for line in font::wrap(&text, SMALL, picture.width - 2.0 * margin, lines) {
        picture.text(margin, y, Anchor::Left, SMALL, QUIET, line);
        y += 14.0;
    }
    y
}
