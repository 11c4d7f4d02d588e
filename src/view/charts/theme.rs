//! Colours and sizes that all pictures share.
//!
//! Colours are those of Okabe and Ito, which the colour-blind can tell apart. None of them carries
//! a meaning alone: texts, shapes or hatching say the same, so a grey print can be read too. Every
//! picture brings its own white page, so it reads the same on light and dark.

use super::font;
use super::picture::{Anchor, Box, Color, Picture};

pub(super) const PAGE: Color = (255, 255, 255);
pub(super) const INK: Color = (26, 26, 26);
/// Texts of less weight; 4.5 to 1 on white and more.
pub(super) const QUIET: Color = (89, 89, 89);
pub(super) const GRID: Color = (225, 225, 225);
pub(super) const EDGE: Color = (120, 120, 120);

pub(super) const BLUE: Color = (0, 114, 178);
pub(super) const ORANGE: Color = (230, 159, 0);
pub(super) const GREEN: Color = (0, 158, 115);
pub(super) const VERMILION: Color = (213, 94, 0);
pub(super) const PURPLE: Color = (204, 121, 167);
pub(super) const SKY: Color = (86, 180, 233);
pub(super) const YELLOW: Color = (240, 228, 66);

/// One colour for each of the first teams.
pub(super) const TEAMS: [Color; 7] = [BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION, YELLOW];
/// The colour of all further teams.
pub(super) const OTHER: Color = (150, 150, 150);

pub(super) const TITLE: f64 = 17.0;
pub(super) const BODY: f64 = 11.5;
pub(super) const SMALL: f64 = 10.0;

/// Width of a picture in units.
pub(super) const WIDTH: f64 = 960.0;
/// Room at the edges of a picture.
pub(super) const MARGIN: f64 = 24.0;

/// A colour mixed with white; 0 is the colour, 1 is white.
pub(super) fn tint(color: Color, white: f64) -> Color {
    let mix = |c: u8| (f64::from(c) * (1.0 - white) + 255.0 * white).round() as u8;
    (mix(color.0), mix(color.1), mix(color.2))
}

/// Writes title and subtitle; returns where the rest may begin.
pub(super) fn heading(picture: &mut Picture, title: &str, subtitle: &str) -> f64 {
    let room = picture.width - 2.0 * MARGIN;
    let mut y = MARGIN + TITLE * 0.8;
    picture.text(MARGIN, y, Anchor::Left, TITLE, INK, font::fit(title, TITLE, room));
    for line in font::wrap(subtitle, BODY, room, 3) {
        y += BODY * font::LINE + 4.0;
        picture.text(MARGIN, y, Anchor::Left, BODY, QUIET, line);
    }
    y + 16.0
}

/// What stands beside an entry of a legend.
pub(super) enum Swatch {
    /// A filled box.
    Fill(Color),
    /// A light box with an edge.
    Tint(Color),
    /// A white box with a dashed edge.
    Spare,
    /// A hatched box.
    Hatch,
    /// A short line of this width.
    Line(Color, f64),
    /// A short dashed line.
    Dashed(Color),
    /// A marker.
    Marker(super::fit_idle::Marker),
}

/// Writes a legend in rows of entries; returns where the rest may begin.
pub(super) fn legend(picture: &mut Picture, top: f64, entries: &[(Swatch, String)]) -> f64 {
    let right = picture.width - MARGIN;
    let (mut x, mut y) = (MARGIN, top);
    for (swatch, text) in entries {
        let text = font::fit(text, SMALL, right - MARGIN - 24.0);
        let width = 22.0 + font::width(&text, SMALL);
        if x > MARGIN && x + width > right {
            x = MARGIN;
            y += 18.0;
        }
        let at = Box::new(x, y - 9.0, 15.0, 11.0);
        let middle = at.y + at.h / 2.0;
        match swatch {
            Swatch::Fill(color) => {
                picture.fill(at, *color);
                picture.frame(at, EDGE, 1.0);
            }
            Swatch::Tint(color) => {
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
        picture.text(x + 21.0, y, Anchor::Left, SMALL, INK, text);
        x += width + 22.0;
    }
    y + 16.0
}

/// Memory that no instance offers.
pub(super) fn hatched(picture: &mut Picture, at: Box) {
    picture.fill(at, (235, 235, 235));
    picture.hatch(at, (165, 165, 165), 6.0);
    picture.frame(at, EDGE, 1.0);
}

/// Round numbers from 0 to `most` for an axis, about `count` of them.
pub(super) fn ticks(most: f64, count: usize) -> Vec<f64> {
    use plotters::coord::ranged1d::Ranged;
    if most.is_nan() || most <= 0.0 {
        return vec![0.0];
    }
    plotters::coord::types::RangedCoordf64::from(0.0..most).key_points(count)
}

/// A number for people: no decimals where it has none or is large, else one.
pub(super) fn number(value: f64) -> String {
    let tenths = (value * 10.0).round() / 10.0;
    if tenths.fract() == 0.0 || value >= 1000.0 {
        crate::text::thousands(value.round().max(0.0) as u64)
    } else {
        format!("{tenths:.1}")
    }
}
