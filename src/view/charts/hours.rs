//! What pictures over hours share: the axes, the names of the days, steps and areas.

use super::font;
use super::page::{SMALL, number, plot_left, ticks};
use super::palette::{Color, EDGE, GRID, INK, QUIET};
use super::picture::{Anchor, Box, Picture};
use crate::view::figures::HourAxis;

/// Where the plots begin at least, and where the title of an axis stands.
const LEFT: f64 = 84.0;
const TITLE: f64 = 34.0;
/// Between the numbers of an axis and its plot.
const TICK_GAP: f64 = 8.0;

fn whole_ticks(most: f64) -> impl Iterator<Item = f64> {
    ticks(most, 4).into_iter().filter(|tick| tick.fract() == 0.0)
}

/// Where the plots of a picture begin, of which the highest axis goes up to `most`.
pub(super) fn left_of(most: f64) -> f64 {
    let numbers: Vec<String> = whole_ticks(most).map(number).collect();
    plot_left(&numbers, TITLE, TICK_GAP, LEFT)
}

/// The scale at the left, with what it counts, and a line where a day begins.
pub(super) fn axes(picture: &mut Picture, axis: &HourAxis, plot: Box, most: f64, label: &str) {
    for tick in whole_ticks(most) {
        let y = plot.bottom() - plot.h * tick / most;
        picture.line(vec![(plot.x, y), (plot.right(), y)], GRID, 1.0);
        picture.text(plot.x - TICK_GAP, y + 3.5, Anchor::Right, SMALL, QUIET, number(tick));
    }
    for (hour, _) in &axis.days {
        let x = plot.x + plot.w * *hour as f64 / axis.hours.max(1) as f64;
        picture.line(vec![(x, plot.y), (x, plot.bottom())], GRID, 1.0);
    }
    let label = font::fit(label, SMALL, plot.h);
    picture.upright(TITLE, plot.y + plot.h / 2.0, SMALL, INK, &label);
}

/// The edges at the left and below.
pub(super) fn frame(picture: &mut Picture, plot: Box) {
    let corner = (plot.x, plot.bottom());
    picture.line(vec![(plot.x, plot.y), corner, (plot.right(), plot.bottom())], EDGE, 1.2);
}

/// The names of the days, as many as there is room for.
pub(super) fn day_names(picture: &mut Picture, axis: &HourAxis, plot: Box) {
    let mut free_from = f64::NEG_INFINITY;
    for (hour, name) in &axis.days {
        let x = plot.x + plot.w * *hour as f64 / axis.hours.max(1) as f64;
        let width = font::width(name, SMALL);
        if x < free_from || x + width > plot.right() {
            continue;
        }
        picture.text(x, plot.bottom() + 14.0, Anchor::Left, SMALL, QUIET, name.as_str());
        free_from = x + width + 6.0;
    }
}

/// A line that keeps its value for each hour.
pub(super) fn steps(values: &[f64], plot: Box, most: f64) -> Vec<(f64, f64)> {
    let width = plot.w / values.len().max(1) as f64;
    let mut points: Vec<(f64, f64)> = Vec::new();
    for (hour, value) in values.iter().enumerate() {
        let y = plot.bottom() - plot.h * (value / most).clamp(0.0, 1.0);
        let (from, to) = (plot.x + width * hour as f64, plot.x + width * (hour + 1) as f64);
        match points.as_mut_slice() {
            [.., last] if last.1 == y => last.0 = to,
            _ => points.extend([(from, y), (to, y)]),
        }
    }
    points
}

/// Equal values of hours side by side, as one box of the height of `plot`: a picture of weeks stays
/// small.
pub(super) fn runs<T: PartialEq>(hours: &[T], plot: Box) -> impl Iterator<Item = (&T, Box)> {
    let width = plot.w / hours.len().max(1) as f64;
    let mut hour = 0;
    hours.chunk_by(|a, b| a == b).map(move |same| {
        let x = plot.x + width * hour as f64;
        hour += same.len();
        (&same[0], Box::new(x, plot.y, width * same.len() as f64, plot.h))
    })
}

/// Boxes that fill from one value to another for each hour.
pub(super) fn areas(
    picture: &mut Picture,
    plot: Box,
    most: f64,
    ranges: &[(f64, f64)],
    color: Color,
) {
    for ((from, to), at) in runs(ranges, plot).filter(|((from, to), _)| to > from) {
        let height = plot.h * (to - from) / most;
        let bottom = plot.bottom() - plot.h * from / most;
        picture.fill(Box::new(at.x, bottom - height, at.w, height), color);
    }
}
