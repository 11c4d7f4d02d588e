//! Draws demand against instances: a bar for each workload, or where there are many, one curve
//! over all of them.

mod curve;

use super::font;
use super::page::{BODY, MARGIN, SMALL, Swatch, WIDTH, hatched, heading, legend, number, ticks};
use super::palette::{BLUE, FILLED, GRID, INK, ORANGE, QUIET, VERMILION, tint};
use super::picture::{Anchor, Box, Picture};
use crate::text::thousands;
use crate::view::figures::{DemandFigure, DemandRow};

/// Up to here every workload has a row.
const MOST_ROWS: usize = 40;
const ROW: f64 = 24.0;

pub(super) fn draw(figure: &DemandFigure, width: f64) -> Picture {
    let mut picture = Picture::new(width, &figure.title, &figure.subtitle);
    let top = heading(&mut picture, &figure.title, &figure.subtitle);
    if figure.rows.is_empty() {
        let margin = picture.margin();
        picture.text(margin, top + 12.0, Anchor::Left, BODY, INK, "The demand is empty.");
        picture.height = top + 12.0 + margin;
    } else if figure.rows.len() <= MOST_ROWS {
        bars(&mut picture, figure, top);
    } else {
        curve::draw(&mut picture, figure, top);
    }
    picture
}

fn entries(figure: &DemandFigure) -> Vec<(Swatch, String)> {
    let mut entries = vec![
        (Swatch::Fill(BLUE), "memory that a replica needs".to_string()),
        (Swatch::Tint(tint(ORANGE, FILLED)), "internal fragmentation".to_string()),
        (Swatch::Line(INK, 3.0), "usable memory of its instance".to_string()),
    ];
    if figure.rows.iter().any(|r| r.unplaced > 0) {
        entries.push((Swatch::Hatch, "unplaced".to_string()));
    }
    if figure.rows.iter().any(|r| r.above.is_some()) {
        let text = "highest sample, above the instance";
        entries.push((Swatch::Line(VERMILION, 3.0), text.to_string()));
    }
    entries
}

fn most_gib(figure: &DemandFigure) -> f64 {
    let given = figure.rows.iter().flat_map(|r| &r.given).map(|g| g.memory_gib);
    let seen = figure.rows.iter().filter_map(|r| r.above.as_ref()).map(|(peak, _)| *peak);
    given.chain(figure.rows.iter().map(|r| r.memory_gib)).chain(seen).fold(0.0, f64::max).max(1.0)
}

/// Where the bars begin and end, and how high a row is.
struct Columns {
    left: f64,
    right: f64,
    row: f64,
    /// Height above the bar, for its name.
    above: f64,
}

impl Columns {
    fn of(picture: &Picture, figure: &DemandFigure) -> Columns {
        let margin = picture.margin();
        if picture.is_narrow() {
            let right = picture.width - margin;
            return Columns { left: margin, right, row: ROW + 34.0, above: 18.0 };
        }
        // Long names take what is free at the right of the outcomes.
        let longest = |widths: &mut dyn Iterator<Item = f64>| widths.fold(0.0, f64::max);
        let name = longest(&mut figure.rows.iter().map(|r| font::width(&r.label, BODY)));
        let outcome = longest(&mut figure.rows.iter().map(|r| font::width(&outcome(r), SMALL)));
        let free = (WIDTH - MARGIN - 640.0 - 10.0 - outcome).max(0.0);
        let more = (name + margin + 10.0 - 270.0).clamp(0.0, free);
        Columns { left: 270.0 + more, right: 640.0 + more, row: ROW, above: 0.0 }
    }
}

fn bars(picture: &mut Picture, figure: &DemandFigure, top: f64) {
    let columns = Columns::of(picture, figure);
    let mut y = legend(picture, top + 2.0, &entries(figure)) + 4.0;
    let most = most_gib(figure) * 1.04;
    let scale = (columns.right - columns.left) / most;
    let bottom = y + columns.row * figure.rows.len() as f64 + 4.0;
    for tick in ticks(most, if picture.is_narrow() { 4 } else { 7 }) {
        let x = columns.left + tick * scale;
        if !picture.is_narrow() {
            picture.line(vec![(x, y), (x, bottom)], GRID, 1.0);
        }
        let text = number(tick);
        let half = font::width(&text, SMALL) / 2.0 + 2.0;
        let x = x.clamp(half, picture.width - half);
        picture.text(x, bottom + 15.0, Anchor::Middle, SMALL, QUIET, text);
    }
    let middle = (columns.left + columns.right) / 2.0;
    picture.text(middle, bottom + 33.0, Anchor::Middle, BODY, INK, "memory of one replica (GiB)");
    y += 4.0;
    for row in &figure.rows {
        picture.mark(row.sentence(), row.team.into_iter().collect(), |p| {
            bar(p, row, y, scale, &columns)
        });
        y += columns.row;
    }
    picture.height = bottom + 33.0 + picture.margin().max(16.0);
}

fn bar(picture: &mut Picture, row: &DemandRow, y: f64, scale: f64, columns: &Columns) {
    let margin = picture.margin();
    let outcome = outcome(row);
    if picture.is_narrow() {
        let space = picture.width - 2.0 * margin;
        let name = font::fit_label(&row.label, &row.workload, BODY, space);
        picture.text(margin, y + 12.0, Anchor::Left, BODY, INK, name);
        let text = font::fit(&outcome, SMALL, space);
        picture.text(margin, y + columns.above + 30.0, Anchor::Left, SMALL, QUIET, text);
    } else {
        let space = columns.left - margin - 10.0;
        let name = font::fit_label(&row.label, &row.workload, BODY, space);
        picture.text(columns.left - 8.0, y + 13.0, Anchor::Right, BODY, INK, name);
        let text = font::fit(&outcome, SMALL, WIDTH - MARGIN - columns.right - 10.0);
        picture.text(columns.right + 10.0, y + 13.0, Anchor::Left, SMALL, INK, text);
    }
    let y = y + columns.above;
    let need = Box::new(columns.left, y + 2.0, row.memory_gib * scale, 15.0);
    let largest = row.given.iter().map(|g| g.memory_gib).fold(0.0, f64::max);
    let reach = Box { w: (largest * scale).max(need.w), ..need };
    if row.given.is_empty() {
        hatched(picture, need);
    } else {
        picture.fill(reach, tint(ORANGE, FILLED));
        picture.fill(need, BLUE);
    }
    if let Some((peak, _)) = &row.above {
        let x = columns.left + peak * scale;
        picture.dashed((reach.right(), y + 9.5), (x, y + 9.5), 4.0, VERMILION, 1.5);
        picture.line(vec![(x, y - 1.0), (x, y + 20.0)], VERMILION, 3.0);
    }
    for given in &row.given {
        let x = columns.left + given.memory_gib * scale;
        picture.line(vec![(x, y - 1.0), (x, y + 20.0)], INK, 3.0);
    }
}

/// `6 × 2g.20gb, 2 × 3g.40gb, 1 unplaced: the GPUs are full`. Boards may have profiles of one name.
fn outcome(row: &DemandRow) -> String {
    let mut of_names: Vec<(&str, u64)> = Vec::new();
    for given in &row.given {
        match of_names.iter_mut().find(|(name, _)| *name == given.profile) {
            Some((_, replicas)) => *replicas += given.replicas,
            None => of_names.push((&given.profile, given.replicas)),
        }
    }
    let mut text: Vec<String> =
        of_names.iter().map(|(name, n)| format!("{} × {name}", thousands(*n))).collect();
    if row.unplaced > 0 {
        text.push(format!("{} unplaced: {}", thousands(row.unplaced), row.reason));
    }
    text.join(", ")
}
