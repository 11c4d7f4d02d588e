//! Draws fit versus idle memory: above, every way as a point under the frontier; below, where the
//! memory of all GPUs goes in each way, and which demand it leaves unplaced.

mod scatter;
pub(super) mod slide;

use super::font;
use super::marker::Marker;
use super::page::{BODY, MARGIN, SMALL, Swatch, WIDTH, hatched, heading, legend, number, ticks};
use super::palette::{BLUE, EDGE, FILLED, GRID, INK, ORANGE, PAGE, QUIET, tint};
use super::picture::{Anchor, Box, Picture};
use crate::view::figures::{FitIdle, FitUnit, Way, WayKind};

pub(super) fn draw(figure: &FitIdle, width: f64) -> Picture {
    let mut picture = Picture::new(width, &figure.title, &figure.subtitle);
    let top = heading(&mut picture, &figure.title, &figure.subtitle);
    let y = scatter::draw(&mut picture, figure, top);
    let y = point_legend(&mut picture, figure, y);
    picture.allow_break(y);
    let y = bars(&mut picture, figure, y + 18.0);
    picture.height = y + 16.0;
    picture
}

fn point_legend(picture: &mut Picture, figure: &FitIdle, top: f64) -> f64 {
    let mut entries = Vec::new();
    for (kind, text) in [
        (WayKind::Plan, "the plan"),
        (WayKind::Preset, "preset of mig-parted: the same layout on all GPUs"),
        (WayKind::WholeGpus, "whole GPUs, no MIG"),
        (WayKind::Heuristic, "heuristic: one replica after the other"),
    ] {
        if figure.ways.iter().any(|w| w.kind == kind) {
            entries.push((Swatch::Marker(Marker::Way(kind)), text.to_string()));
        }
    }
    if !figure.frontier.is_empty() {
        let some = match figure.frontier_complete {
            true => "frontier: the most that fits on 1, 2, 3 … GPUs".to_string(),
            false => format!(
                "frontier: the most that fits, at {} numbers of GPUs",
                figure.frontier.len()
            ),
        };
        entries.push((Swatch::Marker(Marker::Frontier), some));
    }
    legend(picture, top, &entries)
}

/// What the parts of a bar mean.
pub(super) fn parts() -> [(Swatch, String); 4] {
    [
        (Swatch::Fill(BLUE), "serves a workload".to_string()),
        (
            Swatch::Tint(tint(ORANGE, FILLED)),
            "internal fragmentation: allocated beyond the demand".to_string(),
        ),
        (Swatch::Spare, "free instances and GPUs".to_string()),
        (Swatch::Hatch, "unusable: in no instance".to_string()),
    ]
}

/// Where names, bars and results stand: side by side, or on a telephone one above the other.
struct Columns {
    left: f64,
    right: f64,
    stacked: bool,
}

impl Columns {
    fn of(picture: &Picture) -> Columns {
        let (margin, stacked) = (picture.margin(), picture.is_narrow());
        if stacked {
            Columns { left: margin, right: picture.width - margin, stacked }
        } else {
            Columns { left: 200.0, right: 690.0, stacked }
        }
    }

    /// The width that there is for what fits.
    fn space(&self) -> f64 {
        if self.stacked { 150.0 } else { WIDTH - MARGIN - self.right - 12.0 }
    }

    /// What fits, in the words for which there is space.
    fn fit_of<'w>(&self, way: &'w Way) -> &'w str {
        way.fit_within(|text| font::width(text, SMALL) <= self.space())
    }

    /// Height above a row's bar.
    fn above(&self) -> f64 {
        if self.stacked { 18.0 } else { 0.0 }
    }
}

fn bars(picture: &mut Picture, figure: &FitIdle, top: f64) -> f64 {
    let columns = Columns::of(picture);
    let margin = picture.margin();
    let mut y = top;
    let title = "Where the memory of all GPUs goes, and what is unplaced";
    for line in font::wrap(title, 13.0, picture.width - 2.0 * margin, 2) {
        picture.text(margin, y, Anchor::Left, 13.0, INK, line);
        y += 17.0;
    }
    y = legend(picture, y + 5.0, &parts()) + 14.0;
    let scale = (columns.right - columns.left) / figure.fleet_gib.max(f64::MIN_POSITIVE);
    let first = y;
    let note_width = picture.width - margin - columns.left;
    let mut rows: Vec<(f64, Vec<String>)> = Vec::new();
    y += 6.0;
    for way in &figure.ways {
        let lines = if columns.stacked { 3 } else { 2 };
        let note = font::wrap(&way.note, SMALL, note_width, lines);
        let height = columns.above() + 26.0 + 13.0 * note.len() as f64;
        rows.push((y + columns.above(), note));
        y += height;
    }
    let axis_ticks = ticks(figure.fleet_gib, if columns.stacked { 4 } else { 6 });
    if !columns.stacked {
        for tick in &axis_ticks {
            let x = columns.left + tick * scale;
            picture.line(vec![(x, first), (x, y + 2.0)], GRID, 1.0);
        }
        picture.text(
            columns.right + 12.0,
            first - 4.0,
            Anchor::Left,
            SMALL,
            QUIET,
            unit(figure, &columns),
        );
    }
    for (way, (y, note)) in figure.ways.iter().zip(rows) {
        picture.mark(way.sentence(), Vec::new(), |p| bar(p, way, y, scale, &columns, &note));
    }
    for tick in axis_ticks {
        let text = number(tick);
        let most = picture.width - 2.0 - font::width(&text, SMALL) / 2.0;
        let x = (columns.left + tick * scale).clamp(picture.width - most, most);
        picture.text(x, y + 16.0, Anchor::Middle, SMALL, QUIET, text);
    }
    let middle = (columns.left + columns.right) / 2.0;
    picture.text(middle, y + 34.0, Anchor::Middle, BODY, INK, "memory (GiB)");
    y + 40.0
}

fn unit(figure: &FitIdle, columns: &Columns) -> String {
    let unit = match figure.unit {
        FitUnit::Replicas => "replicas placed",
        FitUnit::Weight => "weight placed",
    };
    let by_priority = figure.ways.iter().any(|way| columns.fit_of(way).contains("(p"));
    format!("{unit}{}", if by_priority { " (p: priority)" } else { "" })
}

fn bar(picture: &mut Picture, way: &Way, y: f64, scale: f64, columns: &Columns, note: &[String]) {
    let margin = picture.margin();
    // What stands in a row of its own on a telephone, else in the columns beside the bar.
    let name_y = if columns.stacked { y - 6.0 } else { y + 12.0 };
    let (fit_x, anchor) = match columns.stacked {
        true => (columns.right, Anchor::Right),
        false => (columns.right + 12.0, Anchor::Left),
    };
    let name_space =
        if columns.stacked { columns.right - margin - 190.0 } else { columns.left - margin - 32.0 };
    Marker::Way(way.kind).draw(picture, (margin + 8.0, name_y - 4.0));
    let name = font::fit_name(&way.name, BODY, name_space);
    picture.text(margin + 22.0, name_y, Anchor::Left, BODY, INK, name);
    let fit = font::fit(columns.fit_of(way), SMALL, columns.space());
    picture.text(fit_x, name_y, anchor, SMALL, INK, fit);

    // The lines of the axis end where the row's own text begins.
    let lines = 13.0 * note.len() as f64;
    let whole = (columns.right - columns.left) + 4.0;
    picture.fill(Box::new(columns.left - 2.0, y + 17.0, whole, lines), PAGE);
    let placed = stack(picture, way, Box::new(columns.left, y, scale, 16.0));
    let value = format!("{} GiB", number(way.placed_gib.round()));
    if placed.w > font::width(&value, SMALL) + 10.0 {
        picture.text(placed.x + 5.0, y + 11.8, Anchor::Left, SMALL, PAGE, value);
    }
    for (i, line) in note.iter().enumerate() {
        let y = y + 28.0 + 13.0 * i as f64;
        picture.text(columns.left, y, Anchor::Left, SMALL, QUIET, line.as_str());
    }
}

/// The parts of the fleet's memory from left to right; the width of `at` is that of one GiB.
/// Returns the part that serves a workload.
pub(super) fn stack(picture: &mut Picture, way: &Way, at: Box) -> Box {
    let whole = (way.placed_gib + way.rounding_gib + way.spare_gib + way.unusable_gib) * at.w;
    picture.fill(Box { w: whole, ..at }, PAGE);
    let mut x = at.x;
    let mut next = |gib: f64| {
        let part = Box { x, w: gib * at.w, ..at };
        x += part.w;
        part
    };
    let (placed, rounding) = (next(way.placed_gib), next(way.rounding_gib));
    let (spare, unusable) = (next(way.spare_gib), next(way.unusable_gib));
    picture.fill(placed, BLUE);
    picture.fill(rounding, tint(ORANGE, FILLED));
    if unusable.w > 0.5 {
        hatched(picture, unusable);
    }
    if spare.w > 0.5 {
        picture.dashed_frame(spare, EDGE, 1.0);
    }
    for part in [placed, rounding] {
        if part.w > 0.5 {
            picture.frame(part, EDGE, 1.0);
        }
    }
    placed
}
