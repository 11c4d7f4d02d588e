//! Draws the slice map: one row for each GPU or group, its memory slices from left to right.

use super::font;
use super::page::{BODY, SMALL, Swatch, hatched, heading, legend, number};
use super::palette::{
    BLUE, Color, DISTINCT, EDGE, FILLED, INK, LIGHT, OTHER, PAGE, QUIET, SKY, SOFT, VERMILION,
    YELLOW, tint,
};
use super::picture::{Anchor, Box, Picture};
use crate::view::figures::{Allocated, Cell, CellUse, ColorBy, SliceMap, SliceRow};

const ROW: f64 = 48.0;
const GAP: f64 = 9.0;
/// A label above its row on a telephone.
const LABEL: f64 = 18.0;
/// Colours of the shares of an instance that are needed, the fullest first.
const NEED: [Color; 4] = [BLUE, SKY, YELLOW, VERMILION];

pub(super) fn draw(figure: &SliceMap, width: f64) -> Picture {
    let mut picture = Picture::new(width, &figure.title, &figure.subtitle);
    let top = heading(&mut picture, &figure.title, &figure.subtitle);
    let mut y = legend(&mut picture, top + 2.0, &entries(figure)) + 8.0;
    let mut shown_slices = 0;
    for (i, row) in figure.rows.iter().enumerate() {
        if i > 0 {
            picture.allow_break(y - GAP / 2.0);
        }
        if picture.is_narrow() {
            y = narrow_label(&mut picture, row, y);
        } else if row.slices != shown_slices {
            y = slice_axis(&mut picture, y, row.slices);
            shown_slices = row.slices;
        }
        draw_row(&mut picture, figure, row, y);
        y += ROW + GAP;
    }
    let (margin, width) = (picture.margin(), picture.width);
    if let Some(omitted) = &figure.omitted {
        for line in font::wrap(omitted, BODY, width - 2.0 * margin, 2) {
            picture.text(margin, y + 12.0, Anchor::Left, BODY, QUIET, line);
            y += 18.0;
        }
    }
    picture.height = y + margin.max(GAP) - GAP;
    picture
}

fn entries(figure: &SliceMap) -> Vec<(Swatch, String)> {
    let fill = |key: Option<usize>| Swatch::Fill(tint(color(figure, key), FILLED));
    let mut entries: Vec<(Swatch, String)> = figure
        .keys
        .iter()
        .enumerate()
        .filter(|(_, key)| key.placed_gib > 0.0)
        .map(|(i, key)| {
            let name = font::fit(&key.name, SMALL, 240.0);
            (fill(Some(i)), format!("{name} ({} GiB)", number(key.placed_gib)))
        })
        .collect();
    if let Some(others) = &figure.others {
        entries.push((fill(None), others.clone()));
    }
    let has =
        |of: fn(&CellUse) -> bool| figure.rows.iter().flat_map(|r| &r.cells).any(|c| of(&c.holds));
    if has(|c| matches!(c, CellUse::Allocated(_))) {
        let light = if figure.grouped { SOFT } else { tint(color(figure, Some(0)), LIGHT) };
        entries.push((Swatch::Tint(light), "light: allocated beyond the demand".to_string()));
    }
    if has(|c| matches!(c, CellUse::Free { .. })) {
        entries.push((Swatch::Spare, "free".to_string()));
    }
    if has(|c| matches!(c, CellUse::StaysWhole { .. })) {
        entries.push((Swatch::Tint(PAGE), "in use with MIG off".to_string()));
    }
    if has(|c| matches!(c, CellUse::Unusable)) {
        entries.push((Swatch::Hatch, "in no instance".to_string()));
    }
    entries
}

fn color(figure: &SliceMap, key: Option<usize>) -> Color {
    let colors: &[Color] = if figure.color_by == ColorBy::Need { &NEED } else { &DISTINCT };
    key.and_then(|k| colors.get(k)).copied().unwrap_or(OTHER)
}

/// Labels of the GPUs end here.
fn labels_end(picture: &Picture) -> f64 {
    if picture.is_narrow() { picture.margin() } else { 178.0 }
}

fn slice_width(picture: &Picture, slices: u32) -> f64 {
    (picture.width - picture.margin() - labels_end(picture)) / f64::from(slices.max(1))
}

/// The numbers of the memory slices over the rows that follow.
fn slice_axis(picture: &mut Picture, y: f64, slices: u32) -> f64 {
    let unit = slice_width(picture, slices);
    picture.text(picture.margin(), y + 10.0, Anchor::Left, SMALL, QUIET, "memory slice");
    for slice in 0..slices {
        let x = labels_end(picture) + unit * (f64::from(slice) + 0.5);
        picture.text(x, y + 10.0, Anchor::Middle, SMALL, QUIET, slice.to_string());
    }
    y + 18.0
}

fn narrow_label(picture: &mut Picture, row: &SliceRow, y: f64) -> f64 {
    let margin = picture.margin();
    let text =
        font::fit(&format!("{}, {}", row.label, row.detail), BODY, picture.width - 2.0 * margin);
    picture.text(margin, y + 12.0, Anchor::Left, BODY, INK, text);
    y + LABEL
}

fn draw_row(picture: &mut Picture, figure: &SliceMap, row: &SliceRow, y: f64) {
    if !picture.is_narrow() {
        let margin = picture.margin();
        let space = labels_end(picture) - margin - 10.0;
        let label = font::fit(&row.label, BODY, space);
        picture.text(margin, y + 20.0, Anchor::Left, BODY, INK, label);
        let detail = font::fit(&row.detail, SMALL, space);
        picture.text(margin, y + 35.0, Anchor::Left, SMALL, QUIET, detail);
    }
    let unit = slice_width(picture, row.slices);
    for cell in &row.cells {
        let x = labels_end(picture) + unit * f64::from(cell.start);
        let at = Box::new(x + 1.0, y, unit * f64::from(cell.size) - 2.0, ROW);
        let tip = format!("{}: {}", row.label, cell.sentence());
        picture.mark(tip, cell.teams.clone(), |p| draw_cell(p, figure, cell, at));
    }
}

fn draw_cell(picture: &mut Picture, figure: &SliceMap, cell: &Cell, at: Box) {
    let lines = match &cell.holds {
        CellUse::Unusable => {
            hatched(picture, at);
            return;
        }
        CellUse::StaysWhole { memory_gib } => {
            picture.frame(at, EDGE, 1.0);
            vec!["in use, MIG off".to_string(), format!("{} GiB", number(*memory_gib))]
        }
        CellUse::Free { profile, memory_gib } => {
            picture.dashed_frame(at, EDGE, 1.0);
            vec!["free".to_string(), profile.clone(), format!("{} GiB", number(*memory_gib))]
        }
        CellUse::Allocated(allocated) => fill_cell(picture, figure, allocated, at),
    };
    let height = 14.0;
    let mut y = at.y + (at.h - height * lines.len() as f64) / 2.0 + 10.5;
    for line in lines {
        let text = font::fit(&line, SMALL, at.w - 6.0);
        picture.text(at.x + at.w / 2.0, y, Anchor::Middle, SMALL, INK, text);
        y += height;
    }
}

/// Fills an instance with what is needed of it; returns what is to be written on it.
fn fill_cell(
    picture: &mut Picture,
    figure: &SliceMap,
    allocated: &Allocated,
    at: Box,
) -> Vec<String> {
    picture.fill(at, PAGE);
    // What is allocated stretches over the GPUs on which the instance is assigned.
    let whole = Box { w: at.w * allocated.part, ..at };
    let first = allocated.shares.first().and_then(|s| s.key);
    picture.fill(whole, if figure.grouped { SOFT } else { tint(color(figure, first), LIGHT) });
    let mut x = at.x;
    let mut used = 0.0;
    for share in &allocated.shares {
        let width = at.w * share.gib / allocated.memory_gib.max(f64::MIN_POSITIVE);
        picture.fill(Box { x, w: width, ..at }, tint(color(figure, share.key), FILLED));
        x += width;
        used += share.gib;
    }
    picture.line(vec![(x, at.y), (x, at.bottom())], EDGE, 1.0);
    picture.frame(at, INK, 1.0);
    let full = format!("{} of {} GiB", number(used), number(allocated.memory_gib));
    let mut all: Vec<String> = allocated.lines.iter().take(2).cloned().collect();
    let last = format!("{}, {full}", allocated.profile);
    let fits = font::width(&last, SMALL) <= at.w - 8.0;
    all.push(if fits { last } else { full });
    all
}
