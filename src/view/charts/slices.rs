//! Draws the slice map: one row for each GPU or group, its memory slices from left to right.

use super::font;
use super::page::{BODY, SMALL, Swatch, hatched, heading, legend, number};
use super::palette::{
    BLUE, Color, DISTINCT, EDGE, FILLED, INK, LIGHT, OTHER, PAGE, QUIET, SKY, SOFT, VERMILION,
    YELLOW, tint,
};
use super::picture::{Anchor, Box, Picture, Text};
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
    // Two names in a row, however long they are.
    let most = (picture.width - 2.0 * picture.margin()) / 2.0 - 110.0;
    let mut y = legend(&mut picture, top + 2.0, &entries(figure, most.max(190.0))) + 8.0;
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

/// The legend; a name in it takes at most `most`.
fn entries(figure: &SliceMap, most: f64) -> Vec<(Swatch, String)> {
    let fill = |key: Option<usize>| Swatch::Fill(tint(color(figure, key), FILLED));
    let mut entries: Vec<(Swatch, String)> = figure
        .keys
        .iter()
        .enumerate()
        .filter(|(_, key)| key.placed_gib > 0.0)
        .map(|(i, key)| {
            let name = font::fit_name(&key.name, SMALL, most);
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
    let text = format!("{}, {}", row.label, row.detail);
    let text = font::fit_name(&text, BODY, picture.width - 2.0 * margin);
    picture.text(margin, y + 12.0, Anchor::Left, BODY, INK, text);
    y + LABEL
}

fn draw_row(picture: &mut Picture, figure: &SliceMap, row: &SliceRow, y: f64) {
    if !picture.is_narrow() {
        let margin = picture.margin();
        let space = labels_end(picture) - margin - 10.0;
        let label = font::fit_name(&row.label, BODY, space);
        picture.text(margin, y + 20.0, Anchor::Left, BODY, INK, label);
        let detail = font::fit_name(&row.detail, SMALL, space);
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
    let space = at.w - 6.0;
    // Where what is needed of the instance ends.
    let mut needed_to = None;
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
        CellUse::Allocated(allocated) => {
            needed_to = Some(fill_cell(picture, figure, allocated, at));
            written(allocated, space)
        }
    };
    let height = 14.0;
    let first = at.y + (at.h - height * lines.len() as f64) / 2.0 + 10.5;
    let texts: Vec<Text> = lines
        .iter()
        .enumerate()
        .map(|(i, line)| {
            let (middle, y) = (at.x + at.w / 2.0, first + height * i as f64);
            Text::new(middle, y, Anchor::Middle, SMALL, INK, &font::fit(line, SMALL, space))
        })
        .collect();
    if let Some(x) = needed_to {
        boundary(picture, at, x, &texts);
        picture.frame(at, INK, 1.0);
    }
    texts.into_iter().for_each(|text| picture.write(text));
}

/// An upright line through a box, which ends where a text begins.
fn boundary(picture: &mut Picture, at: Box, x: f64, texts: &[Text]) {
    let crossed =
        || texts.iter().map(Text::bounds).filter(|b| b.x - 1.0 < x && x < b.right() + 1.0);
    let top = crossed().map(|b| b.y - 1.0).reduce(f64::min).unwrap_or(at.bottom());
    let bottom = crossed().map(|b| b.bottom() + 1.0).reduce(f64::max).unwrap_or(at.bottom());
    for (from, to) in [(at.y, top), (bottom, at.bottom())].into_iter().filter(|(a, b)| a < b) {
        picture.line(vec![(x, from), (x, to)], EDGE, 1.0);
    }
}

/// What is written on an instance, in `space`: names keep their end.
fn written(allocated: &Allocated, space: f64) -> Vec<String> {
    let used: f64 = allocated.shares.iter().map(|share| share.gib).sum();
    let full = format!("{} of {} GiB", number(used), number(allocated.memory_gib));
    let names = allocated.lines.iter().take(2);
    let mut all: Vec<String> = names.map(|line| font::fit_name(line, SMALL, space)).collect();
    let last = format!("{}, {full}", allocated.profile);
    let fits = font::width(&last, SMALL) <= space - 2.0;
    all.push(if fits { last } else { full });
    all
}

/// Fills an instance with what is needed of it; returns where that ends.
fn fill_cell(picture: &mut Picture, figure: &SliceMap, allocated: &Allocated, at: Box) -> f64 {
    picture.fill(at, PAGE);
    // What is allocated stretches over the GPUs on which the instance is assigned.
    let part = allocated.gpus as f64 / allocated.of_gpus.max(1) as f64;
    let whole = Box { w: at.w * part, ..at };
    let first = allocated.shares.first().and_then(|s| s.key);
    picture.fill(whole, if figure.grouped { SOFT } else { tint(color(figure, first), LIGHT) });
    let mut x = at.x;
    for share in &allocated.shares {
        let width = at.w * share.gib / allocated.memory_gib.max(f64::MIN_POSITIVE);
        picture.fill(Box { x, w: width, ..at }, tint(color(figure, share.key), FILLED));
        x += width;
    }
    x
}

#[cfg(test)]
mod tests {
    use super::super::picture::Shape;
    use super::*;

    #[test]
    fn a_boundary_leaves_texts_alone() {
        let at = Box::new(0.0, 0.0, 100.0, ROW);
        let texts = [Text::new(50.0, 27.0, Anchor::Middle, SMALL, INK, "7 of 9.6 GiB")];
        let lines = |x: f64| {
            let mut picture = Picture::new(100.0, "", "");
            boundary(&mut picture, at, x, &texts);
            let of = |shape: &Shape| match shape {
                Shape::Line(points, ..) => (points[0].1, points[1].1),
                _ => panic!("{shape:?}"),
            };
            picture.shapes.iter().map(of).collect::<Vec<(f64, f64)>>()
        };
        assert_eq!(lines(5.0), [(0.0, ROW)], "beside the text");
        let text = texts[0].bounds();
        let through = lines(60.0);
        assert_eq!(through.len(), 2, "{through:?}");
        assert!(through[0].1 < text.y && text.bottom() < through[1].0, "{through:?}");
        assert_eq!((through[0].0, through[1].1), (0.0, ROW));
    }
}
