//! What all pictures share: sizes, the heading, the legend, the numbers of an axis.

use super::font;
use super::marker::Marker;
use super::palette::{Color, EDGE, HATCH, INK, QUIET, SOFT};
use super::picture::{Anchor, Box, Picture};
use crate::text::thousands;

pub(super) const TITLE: f64 = 17.0;
pub(super) const BODY: f64 = 11.5;
pub(super) const SMALL: f64 = 10.0;

/// Width of a picture in units.
pub(super) const WIDTH: f64 = 960.0;
/// The same for a telephone.
pub(super) const NARROW: f64 = 360.0;
/// What an upright title has below the line on which its letters stand, which is to its right.
const BELOW_TITLE: f64 = 7.0;
/// What stays free at the edges of a picture of [`WIDTH`].
pub(super) const MARGIN: f64 = 24.0;

/// Writes title and subtitle; returns where the rest may begin.
pub(super) fn heading(picture: &mut Picture, title: &str, subtitle: &str) -> f64 {
    let margin = picture.margin();
    let width = picture.width - 2.0 * margin;
    let (title_lines, lines) = if picture.is_narrow() { (4, 9) } else { (2, 3) };
    let mut y = margin - TITLE * 0.5;
    for line in font::wrap(title, TITLE, width, title_lines) {
        y += TITLE * font::LINE;
        picture.text(margin, y, Anchor::Left, TITLE, INK, line);
    }
    for line in font::wrap(subtitle, BODY, width, lines) {
        y += BODY * font::LINE + 4.0;
        picture.text(margin, y, Anchor::Left, BODY, QUIET, line);
    }
    y + 16.0
}

/// What stands beside an entry of a legend.
pub(super) enum Swatch {
    /// A filled box.
    Fill(Color),
    /// A light box with an edge.
    Tint(Color),
    /// A box with a dashed edge.
    Spare,
    /// A hatched box.
    Hatch,
    /// A short line of this width.
    Line(Color, f64),
    /// A short dashed line.
    Dashed(Color),
    /// A marker.
    Marker(Marker),
}

impl Swatch {
    /// Draws it in a box.
    pub(super) fn draw(&self, picture: &mut Picture, at: Box) {
        let middle = at.y + at.h / 2.0;
        match self {
            Swatch::Fill(color) | Swatch::Tint(color) => {
                picture.fill(at, *color);
                picture.frame(at, EDGE, 1.0);
            }
            Swatch::Spare => picture.dashed_frame(at, EDGE, 1.0),
            Swatch::Hatch => hatched(picture, at),
            Swatch::Line(color, width) => {
                picture.line(vec![(at.x, middle), (at.right(), middle)], *color, *width);
            }
            Swatch::Dashed(color) => {
                picture.dashed((at.x, middle), (at.right(), middle), 4.0, *color, 2.0);
            }
            Swatch::Marker(marker) => marker.draw(picture, (at.x + 8.0, middle)),
        }
    }
}

/// Writes a legend in rows of entries; returns where the rest may begin.
pub(super) fn legend(picture: &mut Picture, top: f64, entries: &[(Swatch, String)]) -> f64 {
    let margin = picture.margin();
    let right = picture.width - margin;
    let (mut x, mut y) = (margin, top);
    for (swatch, text) in entries {
        // An entry begins with a name, and may end with a number.
        let text = font::fit_name(text, SMALL, right - margin - 24.0);
        let width = 22.0 + font::width(&text, SMALL);
        if x > margin && x + width > right {
            x = margin;
            y += 18.0;
        }
        swatch.draw(picture, Box::new(x, y - 9.0, 15.0, 11.0));
        picture.text(x + 21.0, y, Anchor::Left, SMALL, INK, text);
        x += width + 22.0;
    }
    y + 16.0
}

/// Memory that no instance offers.
pub(super) fn hatched(picture: &mut Picture, at: Box) {
    picture.fill(at, SOFT);
    picture.hatch(at, HATCH, 6.0);
    picture.frame(at, EDGE, 1.0);
}

/// Round numbers from 0 to `most` for an axis, about `count` of them.
pub(super) fn ticks(most: f64, count: usize) -> Vec<f64> {
    ticks_between((0.0, most), count)
}

/// Round numbers between two for an axis, about `count` of them.
pub(super) fn ticks_between((from, to): (f64, f64), count: usize) -> Vec<f64> {
    use plotters::coord::ranged1d::Ranged;
    if !(from < to && from.is_finite() && to.is_finite()) {
        return vec![from.max(0.0)];
    }
    plotters::coord::types::RangedCoordf64::from(from..to).key_points(count)
}

/// Where a plot begins beside a vertical axis whose title stands at `title` and whose numbers end `gap`
/// before the plot: at `least`, or further right where the widest number would lie under the title.
pub(super) fn plot_left(numbers: &[String], title: f64, gap: f64, least: f64) -> f64 {
    let widest = numbers.iter().map(|number| font::width(number, SMALL)).fold(0.0, f64::max);
    least.max(title + BELOW_TITLE + widest + gap)
}

/// A number beside an axis of any scale, with the decimals that it has.
pub(super) fn tick(value: f64) -> String {
    if value >= 1000.0 {
        return number(value);
    }
    // Beyond these decimals is what the arithmetic of a tick adds to it.
    let decimals = format!("{value:.9}");
    let text = decimals.trim_end_matches('0').trim_end_matches('.');
    if text.is_empty() { "0".to_string() } else { text.to_string() }
}

/// A number for people: no decimals where it has none or is large, else one.
pub(super) fn number(value: f64) -> String {
    let tenths = (value * 10.0).round() / 10.0;
    if tenths.fract() == 0.0 || value >= 1000.0 {
        thousands(value.round().max(0.0) as u64)
    } else {
        format!("{tenths:.1}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_title_of_an_axis_is_clear_of_its_numbers() {
        for number in ["10", "1,000", "1,000,000", "0.000002"] {
            let numbers = [number.to_string()];
            let left = plot_left(&numbers, 26.0, 12.0, 78.0);
            let begin = left - 12.0 - font::width(number, SMALL);
            assert!(begin >= 26.0 + BELOW_TITLE - 1e-9, "{number}: {begin}");
        }
        assert_eq!(plot_left(&["10".to_string()], 26.0, 12.0, 78.0), 78.0);
    }

    #[test]
    fn numbers_beside_an_axis_have_their_decimals() {
        for (value, text) in [
            (0.0, "0"),
            (0.1 + 0.2, "0.3"),
            (3.0 * 0.001, "0.003"),
            (2e-7, "0.0000002"),
            (12.5, "12.5"),
            (100.0, "100"),
            (1_500_000.0, "1,500,000"),
        ] {
            assert_eq!(tick(value), text);
        }
    }
}
