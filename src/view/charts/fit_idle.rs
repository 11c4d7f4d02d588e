//! Draws fit versus idle memory: above, every way as a point under the frontier; below, what
//! becomes of the fleet's memory in each way, and whom it leaves out.

use super::font;
use super::picture::{Anchor, Box, Color, Picture};
use super::theme::{
    BLUE, BODY, EDGE, GREEN, GRID, INK, MARGIN, ORANGE, PAGE, PURPLE, QUIET, SMALL, Swatch, WIDTH,
    hatched, heading, legend, number, ticks, tint,
};
use crate::view::figures::{FitIdle, FitUnit, Way, WayKind};

const PLOT_HEIGHT: f64 = 330.0;
/// Names beside the bars end here.
const NAMES_END: f64 = 200.0;
/// The bars end here; what fits stands to the right.
const BARS_END: f64 = 690.0;
/// Dots of the frontier that are labelled.
const MOST_FRONTIER_LABELS: usize = 6;

/// The sign of a way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marker {
    Way(WayKind),
    Frontier,
}

impl Marker {
    pub(super) fn draw(self, picture: &mut Picture, at: (f64, f64)) {
        let (x, y) = at;
        let polygon = |r: f64, angles: &[f64]| -> Vec<(f64, f64)> {
            angles
                .iter()
                .map(|a| (x + r * a.to_radians().cos(), y + r * a.to_radians().sin()))
                .collect()
        };
        let mut outlined = |r: f64, angles: &[f64], color: Color| {
            picture.polygon(polygon(r + 1.6, angles), INK);
            picture.polygon(polygon(r, angles), color);
        };
        match self {
            Marker::Way(WayKind::Plan) => outlined(7.5, &[0.0, 90.0, 180.0, 270.0], BLUE),
            Marker::Way(WayKind::WholeGpus) => outlined(6.5, &[45.0, 135.0, 225.0, 315.0], PURPLE),
            Marker::Way(WayKind::Heuristic) => outlined(6.5, &[-90.0, 30.0, 150.0], GREEN),
            Marker::Way(WayKind::Preset) => {
                picture.disc(at, 5.8, INK);
                picture.disc(at, 4.8, ORANGE);
            }
            Marker::Frontier => picture.disc(at, 2.6, EDGE),
        }
    }
}

pub(super) fn draw(figure: &FitIdle) -> Picture {
    let description = figure.ways.first().map_or(String::new(), |plan| {
        format!("The plan serves {} on {} GPUs.", plan.fit_text, plan.gpus_used)
    });
    let mut picture = Picture::new(WIDTH, &figure.title, &description);
    let top = heading(&mut picture, &figure.title, &figure.subtitle);
    let plot = Box::new(78.0, top, WIDTH - MARGIN - 78.0, PLOT_HEIGHT);
    scatter(&mut picture, figure, plot);
    let y = point_legend(&mut picture, figure, plot.bottom() + 62.0);
    let y = bars(&mut picture, figure, y + 18.0);
    picture.height = y + MARGIN - 8.0;
    picture
}

fn scatter(picture: &mut Picture, figure: &FitIdle, plot: Box) {
    let idle =
        figure.ways.iter().map(|w| w.idle_gib).chain(figure.frontier.iter().map(|d| d.idle_gib));
    let most_idle = (idle.fold(0.0, f64::max) * 1.12).max(1.0);
    let most_fit = (figure.most_fit * 1.12).max(1.0);
    let at = |idle: f64, fit: f64| {
        (plot.x + plot.w * idle / most_idle, plot.bottom() - plot.h * fit / most_fit)
    };
    for tick in ticks(most_idle, 9) {
        let (x, _) = at(tick, 0.0);
        picture.line(vec![(x, plot.y), (x, plot.bottom())], GRID, 1.0);
        picture.text(x, plot.bottom() + 17.0, Anchor::Middle, SMALL, QUIET, number(tick));
    }
    for tick in ticks(most_fit, 7).into_iter().filter(|t| most_fit > 12.0 || t.fract() == 0.0) {
        let (_, y) = at(0.0, tick);
        picture.line(vec![(plot.x, y), (plot.right(), y)], GRID, 1.0);
        picture.text(plot.x - 12.0, y + 3.5, Anchor::Right, SMALL, QUIET, number(tick));
    }
    let fit = match (figure.unit, figure.bands.is_empty()) {
        (FitUnit::Replicas, true) => "replicas placed",
        (FitUnit::Weight, true) => "weight placed",
        (FitUnit::Replicas, false) => "replicas placed, highest priority first",
        (FitUnit::Weight, false) => "weight placed, highest priority first",
    };
    picture.upright(plot.x - 52.0, plot.y + plot.h / 2.0, BODY, INK, fit);
    let middle = plot.x + plot.w / 2.0;
    let axis = "memory of the GPUs in use that lies idle (GiB)";
    picture.text(middle, plot.bottom() + 37.0, Anchor::Middle, BODY, INK, axis);

    let mut taken: Vec<Box> = Vec::new();
    let mut lines: Vec<Box> = Vec::new();
    let mut limits: Vec<(f64, String)> = figure
        .bands
        .iter()
        .filter(|(_, end)| *end < figure.most_fit)
        .map(|(priority, end)| (*end, format!("all of priority {priority}: {}", number(*end))))
        .collect();
    if figure.most_fit > 0.0 {
        let all = format!("all that is asked for: {}", number(figure.most_fit));
        limits.push((figure.most_fit, all));
    }
    for (fit, label) in limits.into_iter().rev() {
        let (_, y) = at(0.0, fit);
        picture.dashed((plot.x, y), (plot.right(), y), 6.0, QUIET, 1.2);
        lines.push(Box::new(plot.x, y - 1.5, plot.w, 3.0));
        let width = font::width(&label, SMALL);
        let label_box = Box::new(plot.right() - width - 6.0, y - 15.0, width, 12.0);
        if !taken.iter().any(|t| t.overlaps(&label_box)) {
            picture.text(plot.right() - 6.0, y - 5.0, Anchor::Right, SMALL, QUIET, label);
            taken.push(label_box);
        }
    }
    picture.line(
        vec![(plot.x, plot.y), (plot.x, plot.bottom()), (plot.right(), plot.bottom())],
        EDGE,
        1.2,
    );
    let dots: Vec<(f64, f64)> = figure.frontier.iter().map(|d| at(d.idle_gib, d.fit)).collect();
    let start = figure.frontier.first().filter(|d| d.gpus == 1).map(|_| at(0.0, 0.0));
    let line: Vec<(f64, f64)> = start.into_iter().chain(dots.iter().copied()).collect();
    for (from, to) in line.iter().zip(line.iter().skip(1)) {
        let steps = ((to.0 - from.0).hypot(to.1 - from.1) / 6.0).ceil().max(1.0);
        for i in 0..=steps as u32 {
            let part = f64::from(i) / steps;
            let (x, y) = (from.0 + (to.0 - from.0) * part, from.1 + (to.1 - from.1) * part);
            lines.push(Box::new(x - 1.5, y - 1.5, 3.0, 3.0));
        }
    }
    picture.line(line, EDGE, 1.6);
    let around = |p: &(f64, f64), r: f64| Box::new(p.0 - r, p.1 - r, 2.0 * r, 2.0 * r);
    for dot in &dots {
        Marker::Frontier.draw(picture, *dot);
        taken.push(around(dot, 2.5));
    }
    let mut labels: Vec<((f64, f64), String, Color)> = Vec::new();
    for (point, names) in clusters(figure, at) {
        taken.push(around(&point, 8.0));
        labels.push((point, names, INK));
    }
    for way in figure.ways.iter().rev() {
        Marker::Way(way.kind).draw(picture, at(way.idle_gib, way.fit));
    }
    let every = figure.frontier.len().div_ceil(MOST_FRONTIER_LABELS).max(1);
    for (i, dot) in figure.frontier.iter().enumerate() {
        if (i + 1) % every == 0 && i + 1 < figure.frontier.len() {
            let label = crate::text::plural(dot.gpus, "GPU");
            labels.push((at(dot.idle_gib, dot.fit), label, QUIET));
        }
    }
    for (point, label, color) in labels {
        place_label(picture, plot, (&mut taken, &lines), point, &label, color);
    }
}

/// Ways at one point share a label: the plan's comes first.
fn clusters(figure: &FitIdle, at: impl Fn(f64, f64) -> (f64, f64)) -> Vec<((f64, f64), String)> {
    let mut found: Vec<((f64, f64), Vec<&Way>)> = Vec::new();
    for way in &figure.ways {
        let point = at(way.idle_gib, way.fit);
        let near = |p: &(f64, f64)| (p.0 - point.0).hypot(p.1 - point.1) < 5.0;
        match found.iter_mut().find(|(p, _)| near(p)) {
            Some((_, ways)) => ways.push(way),
            None => found.push((point, vec![way])),
        }
    }
    let label = |ways: Vec<&Way>| match ways.as_slice() {
        [one] => one.name.clone(),
        [a, b] => format!("{}, {}", a.name, b.name),
        [a, b, c] => format!("{}, {}, {}", a.name, b.name, c.name),
        [a, b, rest @ ..] => format!("{}, {} and {} more", a.name, b.name, rest.len()),
        [] => String::new(),
    };
    found.into_iter().map(|(point, ways)| (point, label(ways))).collect()
}

/// Writes a label near its point where it covers no sign and no other label, and if possible no
/// line; further away with a line to it. Where no place is free it is left out: the bars below
/// name every way.
fn place_label(
    picture: &mut Picture,
    plot: Box,
    (taken, lines): (&mut Vec<Box>, &[Box]),
    point: (f64, f64),
    label: &str,
    color: Color,
) {
    let label = font::fit(label, SMALL, plot.w / 2.0);
    let (w, h) = (font::width(&label, SMALL) + 2.0, SMALL + 2.0);
    let places = [lines, &[]].into_iter().flat_map(|lines| {
        [11.0, 20.0, 32.0, 48.0, 68.0, 92.0].into_iter().flat_map(move |distance| {
            let angles = [0, 180, -30, 30, 210, 150, -60, 60, 240, 120, -90, 90];
            angles.into_iter().map(move |angle| (lines, distance, f64::from(angle).to_radians()))
        })
    });
    for (lines, distance, angle) in places {
        let (dx, dy) = (angle.cos(), angle.sin());
        let near = (point.0 + dx * distance, point.1 + dy * distance);
        let at = Box::new(near.0 + (dx - 1.0) * w / 2.0, near.1 + (dy - 1.0) * h / 2.0, w, h);
        if !at.inside(&plot) || taken.iter().chain(lines).any(|t| t.overlaps(&at)) {
            continue;
        }
        if distance > 12.0 {
            let start = (point.0 + dx * 8.0, point.1 + dy * 8.0);
            picture.line(vec![start, near], EDGE, 0.8);
        }
        picture.text(at.x + 1.0, at.y + SMALL * 0.78 + 1.0, Anchor::Left, SMALL, color, label);
        taken.push(at);
        return;
    }
}

fn point_legend(picture: &mut Picture, figure: &FitIdle, top: f64) -> f64 {
    let mut entries = Vec::new();
    for (kind, text) in [
        (WayKind::Plan, "the plan"),
        (WayKind::Preset, "preset of mig-parted: all GPUs cut alike"),
        (WayKind::WholeGpus, "whole GPUs, no MIG"),
        (WayKind::Heuristic, "one replica after the other"),
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

fn bars(picture: &mut Picture, figure: &FitIdle, top: f64) -> f64 {
    let mut y = top;
    let title = "What becomes of the memory of all GPUs, and who is left out";
    picture.text(MARGIN, y, Anchor::Left, 13.0, INK, title);
    y = legend(
        picture,
        y + 22.0,
        &[
            (Swatch::Fill(BLUE), "serves a workload".to_string()),
            (Swatch::Tint(tint(ORANGE, 0.45)), "rounding: handed out, not asked for".to_string()),
            (Swatch::Spare, "spare: instances and GPUs that nobody has".to_string()),
            (Swatch::Hatch, "unusable: no instance offers it".to_string()),
        ],
    );
    y += 14.0;
    let scale = (BARS_END - NAMES_END) / figure.fleet_gib.max(f64::MIN_POSITIVE);
    let first = y;
    let axis = |picture: &mut Picture, from: f64, to: f64| {
        for tick in ticks(figure.fleet_gib, 6) {
            let x = NAMES_END + tick * scale;
            picture.line(vec![(x, from), (x, to)], GRID, 1.0);
        }
    };
    let mut rows: Vec<(f64, Vec<String>)> = Vec::new();
    y += 6.0;
    for way in &figure.ways {
        let note = font::wrap(&way.note, SMALL, WIDTH - MARGIN - NAMES_END, 2);
        let height = 26.0 + 13.0 * note.len() as f64;
        rows.push((y, note));
        y += height;
    }
    axis(picture, first, y + 2.0);
    for (way, (y, note)) in figure.ways.iter().zip(rows) {
        let lines = 13.0 * note.len() as f64;
        picture.fill(Box::new(NAMES_END - 2.0, y + 17.0, BARS_END - NAMES_END + 4.0, lines), PAGE);
        bar(picture, way, y, scale, &note);
    }
    for tick in ticks(figure.fleet_gib, 6) {
        let x = NAMES_END + tick * scale;
        picture.text(x, y + 16.0, Anchor::Middle, SMALL, QUIET, number(tick));
    }
    let middle = (NAMES_END + BARS_END) / 2.0;
    picture.text(middle, y + 34.0, Anchor::Middle, BODY, INK, "memory (GiB)");
    let unit = match figure.unit {
        FitUnit::Replicas => "replicas placed",
        FitUnit::Weight => "weight placed",
    };
    let by_priority = figure.ways.iter().any(|w| w.fit_text.contains("(p"));
    let unit = format!("{unit}{}", if by_priority { " (p: priority)" } else { "" });
    picture.text(BARS_END + 12.0, first - 4.0, Anchor::Left, SMALL, QUIET, unit);
    y + 40.0
}

fn bar(picture: &mut Picture, way: &Way, y: f64, scale: f64, note: &[String]) {
    Marker::Way(way.kind).draw(picture, (MARGIN + 8.0, y + 8.0));
    let name = font::fit(&way.name, BODY, NAMES_END - MARGIN - 32.0);
    picture.text(MARGIN + 22.0, y + 12.0, Anchor::Left, BODY, INK, name);
    let whole = (way.placed_gib + way.rounding_gib + way.spare_gib + way.unusable_gib) * scale;
    picture.fill(Box::new(NAMES_END, y, whole, 16.0), PAGE);
    let mut x = NAMES_END;
    let mut next = |gib: f64| {
        let at = Box::new(x, y, gib * scale, 16.0);
        x += at.w;
        at
    };
    let (placed, rounding) = (next(way.placed_gib), next(way.rounding_gib));
    let (spare, unusable) = (next(way.spare_gib), next(way.unusable_gib));
    picture.fill(placed, BLUE);
    picture.fill(rounding, tint(ORANGE, 0.45));
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
    let value = format!("{} GiB", number(way.placed_gib.round()));
    if placed.w > font::width(&value, SMALL) + 10.0 {
        picture.text(placed.x + 5.0, y + 11.8, Anchor::Left, SMALL, PAGE, value);
    }
    let room = WIDTH - MARGIN - BARS_END - 12.0;
    let fits = font::width(&way.fit_text, SMALL) <= room;
    let fit = font::fit(if fits { &way.fit_text } else { &way.fit_short }, SMALL, room);
    picture.text(BARS_END + 12.0, y + 12.0, Anchor::Left, SMALL, INK, fit);
    for (i, line) in note.iter().enumerate() {
        let y = y + 28.0 + 13.0 * i as f64;
        picture.text(NAMES_END, y, Anchor::Left, SMALL, QUIET, line.as_str());
    }
}
