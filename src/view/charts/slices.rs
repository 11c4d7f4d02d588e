//! Draws the slice map: one row for each GPU or group, its memory slices from left to right.

use super::font;
use super::picture::{Anchor, Box, Color, Picture};
use super::theme::{
    BODY, EDGE, INK, MARGIN, OTHER, PAGE, QUIET, SMALL, Swatch, TEAMS, WIDTH, hatched, heading,
    legend, number, tint,
};
use crate::view::figures::{Cell, CellUse, SliceMap, SliceRow};

/// Labels of the GPUs end here.
const LABELS_END: f64 = 178.0;
const ROW: f64 = 48.0;
const GAP: f64 = 9.0;
/// How far a team's colour is lightened, so that ink reads on it.
const FILLED: f64 = 0.42;
/// The same for memory that the team has, but did not ask for.
const ROUNDING: f64 = 0.86;
/// The same where several teams share a bar.
const NOBODY: Color = (243, 243, 243);

pub(super) fn draw(figure: &SliceMap) -> Picture {
    let mut picture = Picture::new(WIDTH, &figure.title, &figure.subtitle);
    let top = heading(&mut picture, &figure.title, &figure.subtitle);
    let mut entries: Vec<(Swatch, String)> = figure
        .teams
        .iter()
        .enumerate()
        .map(|(i, team)| {
            let name = font::fit(&team.name, SMALL, 240.0);
            let text = format!("{name} ({} GiB)", number(team.placed_gib.round()));
            (Swatch::Fill(tint(color(Some(i)), FILLED)), text)
        })
        .collect();
    if figure.further_teams > 0 {
        let text = crate::text::plural(figure.further_teams as u64, "further team");
        entries.push((Swatch::Fill(tint(color(None), FILLED)), text));
    }
    let has =
        |of: fn(&CellUse) -> bool| figure.rows.iter().flat_map(|r| &r.cells).any(|c| of(&c.holds));
    if has(|c| matches!(c, CellUse::Handed { .. })) {
        let text = "light: handed out, not asked for".to_string();
        let light = if figure.grouped { NOBODY } else { tint(color(Some(0)), ROUNDING) };
        entries.push((Swatch::Tint(light), text));
    }
    if has(|c| matches!(c, CellUse::Spare { .. })) {
        entries.push((Swatch::Spare, "spare: nobody has it".to_string()));
    }
    if has(|c| matches!(c, CellUse::Unusable)) {
        entries.push((Swatch::Hatch, "no instance covers it".to_string()));
    }
    let mut y = legend(&mut picture, top + 2.0, &entries) + 8.0;
    let mut shown_slices = 0;
    for row in &figure.rows {
        if row.slices != shown_slices {
            y = slice_axis(&mut picture, y, row.slices);
            shown_slices = row.slices;
        }
        draw_row(&mut picture, row, figure.grouped, y);
        y += ROW + GAP;
    }
    if let Some(omitted) = &figure.omitted {
        let text = font::fit(omitted, BODY, WIDTH - 2.0 * MARGIN);
        picture.text(MARGIN, y + 12.0, Anchor::Left, BODY, QUIET, text);
        y += 22.0;
    }
    picture.height = y + MARGIN - GAP;
    picture
}

fn color(team: Option<usize>) -> Color {
    team.and_then(|t| TEAMS.get(t)).copied().unwrap_or(OTHER)
}

/// The numbers of the memory slices over the rows that follow.
fn slice_axis(picture: &mut Picture, y: f64, slices: u32) -> f64 {
    let unit = (WIDTH - MARGIN - LABELS_END) / f64::from(slices.max(1));
    picture.text(MARGIN, y + 10.0, Anchor::Left, SMALL, QUIET, "memory slice");
    for slice in 0..slices {
        let x = LABELS_END + unit * (f64::from(slice) + 0.5);
        picture.text(x, y + 10.0, Anchor::Middle, SMALL, QUIET, slice.to_string());
    }
    y + 18.0
}

fn draw_row(picture: &mut Picture, row: &SliceRow, grouped: bool, y: f64) {
    let room = LABELS_END - MARGIN - 10.0;
    let label = font::fit(&row.label, BODY, room);
    picture.text(MARGIN, y + 20.0, Anchor::Left, BODY, INK, label);
    let detail = font::fit(&row.detail, SMALL, room);
    picture.text(MARGIN, y + 35.0, Anchor::Left, SMALL, QUIET, detail);
    let unit = (WIDTH - MARGIN - LABELS_END) / f64::from(row.slices.max(1));
    for cell in &row.cells {
        let x = LABELS_END + unit * f64::from(cell.start);
        let at = Box::new(x + 1.0, y, unit * f64::from(cell.size) - 2.0, ROW);
        draw_cell(picture, cell, grouped, at);
    }
}

fn draw_cell(picture: &mut Picture, cell: &Cell, grouped: bool, at: Box) {
    let lines = match &cell.holds {
        CellUse::Unusable => {
            hatched(picture, at);
            return;
        }
        CellUse::Spare { profile, memory_gib } => {
            picture.dashed_frame(at, EDGE, 1.0);
            let what = if profile == "whole GPU" { "free" } else { "spare" };
            vec![what.to_string(), profile.clone(), format!("{} GiB", number(*memory_gib))]
        }
        CellUse::Handed { profile, memory_gib, shares, lines, occupied } => {
            picture.fill(at, PAGE);
            // What is had stretches over the GPUs on which somebody has the instance.
            let first = shares.first().and_then(|s| s.team);
            let had = Box { w: at.w * occupied, ..at };
            let light = if grouped { NOBODY } else { tint(color(first), ROUNDING) };
            picture.fill(had, light);
            let mut x = at.x;
            let mut used = 0.0;
            for share in shares {
                let width = at.w * share.gib / memory_gib.max(f64::MIN_POSITIVE);
                picture.fill(Box { x, w: width, ..at }, tint(color(share.team), FILLED));
                x += width;
                used += share.gib;
            }
            picture.line(vec![(x, at.y), (x, at.bottom())], EDGE, 1.0);
            picture.frame(at, INK, 1.0);
            let full = format!("{} of {} GiB", number(used), number(*memory_gib));
            let mut all: Vec<String> = lines.iter().take(2).cloned().collect();
            let last = format!("{profile}, {full}");
            let fits = font::width(&last, SMALL) <= at.w - 8.0;
            all.push(if fits { last } else { full });
            all
        }
    };
    let height = 14.0;
    let mut y = at.y + (at.h - height * lines.len() as f64) / 2.0 + 10.5;
    for line in lines {
        let text = font::fit(&line, SMALL, at.w - 6.0);
        picture.text(at.x + at.w / 2.0, y, Anchor::Middle, SMALL, INK, text);
        y += height;
    }
}
