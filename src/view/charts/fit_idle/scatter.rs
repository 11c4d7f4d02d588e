//! Every way as a point: what fits over what lies idle, under the frontier that none can pass.

use super::super::font;
use super::super::marker::Marker;
use super::super::page::{BODY, SMALL, number, plot_left, tick, ticks_between};
use super::super::palette::{Color, EDGE, GRID, INK, QUIET};
use super::super::picture::{Anchor, Box, Picture};
use crate::text::plural;
use crate::view::figures::{FitIdle, FitUnit, Way};

/// Where the demand is more than so many times what any way places, the axis ends before it.
const FAR_BEYOND: f64 = 2.0;
/// Between the numbers of the vertical axis and the plane.
const TICK_GAP: f64 = 12.0;
/// Dots of the frontier that are labelled.
const MOST_FRONTIER_LABELS: usize = 6;

/// The plane: which idle memory and fit stand where.
struct Plane {
    plot: Box,
    idle: (f64, f64),
    most_fit: f64,
}

impl Plane {
    fn of(figure: &FitIdle, plot: Box) -> Plane {
        let idle = || {
            figure.ways.iter().map(|w| w.idle_gib).chain(figure.frontier.iter().map(|d| d.idle_gib))
        };
        let most = idle().fold(1.0, f64::max);
        let least = idle().fold(most, f64::min);
        // Where the ways differ by a small part of what idles, an axis from 0 would hide it; where
        // they do not differ, it hides nothing.
        let differ = most - least;
        let from_zero = least < 0.6 * most || differ <= 0.0;
        let from = if from_zero { 0.0 } else { (least - 0.3 * differ).max(0.0) };
        let span = (most - from).max(1.0);
        Plane { plot, idle: (from, from + 1.12 * span), most_fit: most_fit(figure) }
    }

    fn at(&self, idle: f64, fit: f64) -> (f64, f64) {
        let (from, to) = self.idle;
        let plot = &self.plot;
        let along = ((idle - from) / (to - from)).clamp(0.0, 1.0);
        (plot.x + plot.w * along, plot.bottom() - plot.h * fit / self.most_fit)
    }
}

/// Where the axis of what fits ends.
fn most_fit(figure: &FitIdle) -> f64 {
    let fits = figure.ways.iter().map(|w| w.fit).chain(figure.frontier.iter().map(|d| d.fit));
    let best = fits.max().unwrap_or_default().value();
    let all = figure.most_fit.value();
    // An axis up to a demand that is far away would press all points together at its foot.
    let far = best > 0.0 && all > FAR_BEYOND * best;
    match if far { 1.3 * best } else { 1.12 * all } {
        // Weights may be far below 1, replicas are not.
        most if most > 0.0 => most,
        _ => 1.0,
    }
}

/// The numbers of that axis. There is no part of a replica.
fn fit_ticks(figure: &FitIdle) -> Vec<f64> {
    let ticks = ticks_between((0.0, most_fit(figure)), 7).into_iter();
    ticks.filter(|tick| figure.unit == FitUnit::Weight || tick.fract() == 0.0).collect()
}

/// What labels must not cover, nor the lines that lead to them cross: signs and texts never, lines if
/// it can be had.
#[derive(Default)]
struct Taken {
    signs: Vec<Box>,
    lines: Vec<Box>,
}

/// Draws the plane below `top`; returns where the rest may begin.
pub(super) fn draw(picture: &mut Picture, figure: &FitIdle, top: f64) -> f64 {
    let (title, left, height) =
        if picture.is_narrow() { (12.0, 54.0, 260.0) } else { (26.0, 78.0, 330.0) };
    let numbers: Vec<String> = fit_ticks(figure).into_iter().map(tick).collect();
    let left = plot_left(&numbers, title, TICK_GAP, left);
    let plot = Box::new(left, top, picture.width - picture.margin() - left, height);
    let plane = Plane::of(figure, plot);
    axes(picture, figure, &plane, title);
    let mut taken = Taken::default();
    limits(picture, figure, &plane, &mut taken);
    picture.line(
        vec![(plot.x, plot.y), (plot.x, plot.bottom()), (plot.right(), plot.bottom())],
        EDGE,
        1.2,
    );
    frontier(picture, figure, &plane, &mut taken);
    let mut labels: Vec<((f64, f64), String, Color)> = Vec::new();
    for (point, names) in clusters(figure, &plane) {
        taken.signs.push(around(point, 8.0));
        labels.push((point, names, INK));
    }
    for way in figure.ways.iter().rev() {
        let at = plane.at(way.idle_gib, way.fit.value());
        picture.mark(way.sentence(), Vec::new(), |p| Marker::Way(way.kind).draw(p, at));
    }
    let every = figure.frontier.len().div_ceil(MOST_FRONTIER_LABELS).max(1);
    for (i, dot) in figure.frontier.iter().enumerate() {
        if (i + 1) % every == 0 && i + 1 < figure.frontier.len() {
            labels.push((plane.at(dot.idle_gib, dot.fit.value()), plural(dot.gpus, "GPU"), QUIET));
        }
    }
    for (point, label, color) in labels {
        place_label(picture, plot, &mut taken, point, &label, color);
    }
    plot.bottom() + 62.0
}

fn axes(picture: &mut Picture, figure: &FitIdle, plane: &Plane, title: f64) {
    let plot = &plane.plot;
    for tick in ticks_between(plane.idle, if picture.is_narrow() { 5 } else { 9 }) {
        let (x, _) = plane.at(tick, 0.0);
        picture.line(vec![(x, plot.y), (x, plot.bottom())], GRID, 1.0);
        let text = number(tick);
        let most = picture.width - 4.0 - font::width(&text, SMALL) / 2.0;
        picture.text(x.min(most), plot.bottom() + 17.0, Anchor::Middle, SMALL, QUIET, text);
    }
    for fit in fit_ticks(figure) {
        let (_, y) = plane.at(plane.idle.0, fit);
        picture.line(vec![(plot.x, y), (plot.right(), y)], GRID, 1.0);
        picture.text(plot.x - TICK_GAP, y + 3.5, Anchor::Right, SMALL, QUIET, tick(fit));
    }
    let fit = match (figure.unit, figure.bands.is_empty()) {
        (FitUnit::Replicas, true) => "replicas placed",
        (FitUnit::Weight, true) => "weight placed",
        (FitUnit::Replicas, false) => "replicas placed, highest priority first",
        (FitUnit::Weight, false) => "weight placed, highest priority first",
    };
    let middle = plot.y + plot.h / 2.0;
    picture.upright(title, middle, BODY, INK, fit);
    let middle = plot.x + plot.w / 2.0;
    let axis = "idle memory of all GPUs (GiB)";
    picture.text(middle, plot.bottom() + 37.0, Anchor::Middle, BODY, INK, axis);
}

/// The dashed lines of what is asked for, in all and by priority.
fn limits(picture: &mut Picture, figure: &FitIdle, plane: &Plane, taken: &mut Taken) {
    let plot = &plane.plot;
    let mut limits: Vec<(f64, String)> = figure
        .bands
        .iter()
        .filter(|(_, end)| *end < figure.most_fit)
        .map(|(priority, end)| {
            let all = if figure.out_of_reach { "all that fits an instance" } else { "all" };
            (end.value(), format!("{all} of priority {priority}: {end}"))
        })
        .collect();
    let all = figure.most_fit.value();
    if all > 0.0 {
        limits.push((all, format!("the whole demand: {}", figure.most_fit)));
    }
    let shown = limits.partition_point(|(fit, _)| *fit <= plane.most_fit);
    beyond(picture, plot, limits.split_off(shown), taken);
    for (fit, label) in limits.into_iter().rev() {
        let (_, y) = plane.at(plane.idle.0, fit);
        picture.dashed((plot.x, y), (plot.right(), y), 6.0, QUIET, 1.2);
        taken.lines.push(Box::new(plot.x, y - 1.5, plot.w, 3.0));
        let width = font::width(&label, SMALL);
        let label_box = Box::new(plot.right() - width - 6.0, y - 15.0, width, 12.0);
        if !taken.signs.iter().any(|t| t.overlaps(&label_box)) {
            picture.text(plot.right() - 6.0, y - 5.0, Anchor::Right, SMALL, QUIET, label);
            taken.signs.push(label_box);
        }
    }
}

/// Names what the axis does not reach, the highest first.
fn beyond(picture: &mut Picture, plot: &Box, limits: Vec<(f64, String)>, taken: &mut Taken) {
    if limits.is_empty() {
        return;
    }
    let labels: Vec<String> = limits.into_iter().rev().map(|(_, label)| label).collect();
    let text = format!("↑ above this axis: {}", labels.join(", "));
    for (i, line) in font::wrap(&text, SMALL, plot.w - 12.0, 3).into_iter().enumerate() {
        let (width, y) = (font::width(&line, SMALL), plot.y + 12.0 + 14.0 * i as f64);
        taken.signs.push(Box::new(plot.right() - width - 6.0, y - 9.0, width, 12.0));
        picture.text(plot.right() - 6.0, y, Anchor::Right, SMALL, QUIET, line);
    }
}

fn frontier(picture: &mut Picture, figure: &FitIdle, plane: &Plane, taken: &mut Taken) {
    let dots: Vec<(f64, f64)> =
        figure.frontier.iter().map(|d| plane.at(d.idle_gib, d.fit.value())).collect();
    for (from, to) in dots.iter().zip(dots.iter().skip(1)) {
        taken.lines.extend(along(*from, *to, 1.5));
    }
    picture.line(dots.clone(), EDGE, 1.6);
    for (dot, at) in figure.frontier.iter().zip(dots) {
        picture.mark(dot.sentence(figure.unit), Vec::new(), |p| Marker::Frontier.draw(p, at));
        taken.signs.push(around(at, 2.5));
    }
}

/// Boxes along a straight line, `r` to each side of it.
fn along(from: (f64, f64), to: (f64, f64), r: f64) -> Vec<Box> {
    let steps = ((to.0 - from.0).hypot(to.1 - from.1) / (4.0 * r)).ceil().max(1.0);
    let point = |i: u32| {
        let part = f64::from(i) / steps;
        (from.0 + (to.0 - from.0) * part, from.1 + (to.1 - from.1) * part)
    };
    (0..=steps as u32).map(|i| around(point(i), r)).collect()
}

fn around(point: (f64, f64), r: f64) -> Box {
    Box::new(point.0 - r, point.1 - r, 2.0 * r, 2.0 * r)
}

/// Ways at one point share a label: the plan's comes first.
fn clusters(figure: &FitIdle, plane: &Plane) -> Vec<((f64, f64), String)> {
    let mut found: Vec<((f64, f64), Vec<&Way>)> = Vec::new();
    for way in &figure.ways {
        let point = plane.at(way.idle_gib, way.fit.value());
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
/// line; further away with a line to it, which crosses none of them either. Where no place is free it
/// is left out: the bars below name every way.
fn place_label(
    picture: &mut Picture,
    plot: Box,
    taken: &mut Taken,
    point: (f64, f64),
    label: &str,
    color: Color,
) {
    let label = font::fit(label, SMALL, plot.w / 2.0);
    let (w, h) = (font::width(&label, SMALL) + 2.0, SMALL + 2.0);
    let places = [true, false].into_iter().flat_map(|off_lines| {
        [11.0, 20.0, 32.0, 48.0, 68.0, 92.0].into_iter().flat_map(move |distance| {
            let angles = [0, 180, -30, 30, 210, 150, -60, 60, 240, 120, -90, 90];
            angles
                .into_iter()
                .map(move |angle| (off_lines, distance, f64::from(angle).to_radians()))
        })
    });
    for (off_lines, distance, angle) in places {
        let (dx, dy) = (angle.cos(), angle.sin());
        let near = (point.0 + dx * distance, point.1 + dy * distance);
        let at = Box::new(near.0 + (dx - 1.0) * w / 2.0, near.1 + (dy - 1.0) * h / 2.0, w, h);
        // With air around it, so that two labels are not read as one.
        let airy = Box::new(at.x - 4.0, at.y - 1.0, at.w + 8.0, at.h + 2.0);
        let lies_over = |boxes: &[Box]| boxes.iter().any(|t| t.overlaps(&airy));
        if !at.inside(&plot) || lies_over(&taken.signs) || (off_lines && lies_over(&taken.lines)) {
            continue;
        }
        if distance > 12.0 {
            let start = (point.0 + dx * 8.0, point.1 + dy * 8.0);
            // The box of the point's own sign reaches as far as this.
            let clear = (point.0 + dx * 12.0, point.1 + dy * 12.0);
            let leader = along(clear, near, 0.5);
            if taken.signs.iter().any(|sign| leader.iter().any(|part| part.overlaps(sign))) {
                continue;
            }
            picture.line(vec![start, near], EDGE, 0.8);
            taken.signs.extend(leader);
        }
        picture.text(at.x + 1.0, at.y + SMALL * 0.78 + 1.0, Anchor::Left, SMALL, color, label);
        taken.signs.push(at);
        return;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_to_a_label_crosses_a_text() {
        let point = (200.0, 200.0);
        let drawn = |signs: Vec<Box>| {
            let plot = Box::new(0.0, 0.0, 400.0, 400.0);
            let mut picture = Picture::new(400.0, "", "");
            let mut taken = Taken { signs, ..Taken::default() };
            place_label(&mut picture, plot, &mut taken, point, "all-1g.10gb", INK);
            picture.shapes.len()
        };
        assert_eq!(drawn(vec![around(point, 8.0)]), 1, "the label beside its point");
        // Texts on all sides, beyond which there is room.
        let wall = |x: f64, y: f64, w: f64, h: f64| Box::new(200.0 + x, 200.0 + y, w, h);
        let walls = vec![
            wall(-16.0, -16.0, 32.0, 2.0),
            wall(-16.0, 14.0, 32.0, 2.0),
            wall(-16.0, -16.0, 2.0, 32.0),
            wall(14.0, -16.0, 2.0, 32.0),
        ];
        assert_eq!(drawn(walls), 0);
        let one_side_open = vec![wall(-16.0, -16.0, 32.0, 2.0), wall(14.0, -16.0, 2.0, 32.0)];
        assert!(drawn(one_side_open) > 0);
    }
}
