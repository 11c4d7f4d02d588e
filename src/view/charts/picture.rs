//! A picture as a list of shapes: everything is measured before anything is drawn, so that a test
//! can ask whether texts overlap or leave the page.
//!
//! Knows colours by name only and no output format; [`super::svg`] and [`super::png`] write it.

use std::collections::BTreeSet;
use std::ops::Range;

use super::font;
use super::palette::Color;

/// A box: left, top, width, height.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Box {
    pub x: f64,
    pub y: f64,
    pub w: f64,
    pub h: f64,
}

impl Box {
    pub(super) fn new(x: f64, y: f64, w: f64, h: f64) -> Box {
        Box { x, y, w, h }
    }

    pub(super) fn right(&self) -> f64 {
        self.x + self.w
    }

    pub(super) fn bottom(&self) -> f64 {
        self.y + self.h
    }

    /// Whether the boxes share more than an edge.
    pub(super) fn overlaps(&self, other: &Box) -> bool {
        self.x < other.right()
            && other.x < self.right()
            && self.y < other.bottom()
            && other.y < self.bottom()
    }

    pub(super) fn inside(&self, other: &Box) -> bool {
        self.x >= other.x
            && self.y >= other.y
            && self.right() <= other.right()
            && self.bottom() <= other.bottom()
    }
}

/// Which point of a text stands at its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Left,
    Middle,
    Right,
}

/// A text on its baseline.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Text {
    pub x: f64,
    pub y: f64,
    pub anchor: Anchor,
    /// Its em in units.
    pub size: f64,
    pub color: Color,
    pub text: String,
    /// Whether it runs upwards.
    pub upright: bool,
}

impl Text {
    /// A text with its baseline at `y`.
    pub(super) fn new(x: f64, y: f64, anchor: Anchor, size: f64, color: Color, text: &str) -> Text {
        Text { x, y, anchor, size, color, text: font::clean(text), upright: false }
    }

    /// The box that the text takes.
    pub(super) fn bounds(&self) -> Box {
        let width = font::width(&self.text, self.size);
        let before = match self.anchor {
            Anchor::Left => 0.0,
            Anchor::Middle => width / 2.0,
            Anchor::Right => width,
        };
        let (above, height) = (0.78 * self.size, 1.0 * self.size);
        if self.upright {
            Box::new(self.x - above, self.y - (width - before), height, width)
        } else {
            Box::new(self.x - before, self.y - above, width, height)
        }
    }
}

/// One thing to draw.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    Fill(Box, Color),
    /// Box, colour, line width.
    Frame(Box, Color, f64),
    /// Points, colour, line width.
    Line(Vec<(f64, f64)>, Color, f64),
    /// Separate straight lines, colour, line width.
    Strokes(Vec<[(f64, f64); 2]>, Color, f64),
    Polygon(Vec<(f64, f64)>, Color),
    /// Centre, radius, colour.
    Disc((f64, f64), f64, Color),
    Text(Text),
}

/// Shapes that together stand for one thing, which a reader may ask about.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mark {
    /// The thing in a sentence: the tooltip, and what a screen reader says.
    pub tip: String,
    /// Numbers of the teams that it concerns.
    pub teams: Vec<u32>,
    /// Its shapes.
    pub shapes: Range<usize>,
}

/// A picture: its size in units, what it shows in words, and its shapes in drawing order.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) title: String,
    pub(super) description: String,
    pub(super) shapes: Vec<Shape>,
    /// In drawing order, without overlap.
    pub(super) marks: Vec<Mark>,
    /// Where a printed page may end: the number of shapes above, and the height.
    pub(super) breaks: Vec<(usize, f64)>,
}

impl Picture {
    /// An empty picture; the height may grow later.
    pub(super) fn new(width: f64, title: &str, description: &str) -> Picture {
        Picture {
            width,
            height: 0.0,
            title: font::clean(title),
            description: font::clean(description),
            shapes: Vec::new(),
            marks: Vec::new(),
            breaks: Vec::new(),
        }
    }

    /// What stays free at the edges.
    pub(super) fn margin(&self) -> f64 {
        if self.is_narrow() { 10.0 } else { 24.0 }
    }

    /// Whether it is laid out for a telephone.
    pub(super) fn is_narrow(&self) -> bool {
        self.width < 500.0
    }

    /// What the picture shows, in a few words.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Draws one thing that a reader may ask about: `tip` says what it is, `teams` whom it concerns.
    /// Marks do not nest.
    pub(super) fn mark<R>(
        &mut self,
        tip: impl Into<String>,
        teams: Vec<u32>,
        draw: impl FnOnce(&mut Picture) -> R,
    ) -> R {
        let from = self.shapes.len();
        let result = draw(self);
        if self.shapes.len() > from {
            let tip = font::clean(&tip.into());
            self.marks.push(Mark { tip, teams, shapes: from..self.shapes.len() });
        }
        result
    }

    /// Lets a printed page end at `y`: whatever was drawn lies above, whatever follows below.
    pub(super) fn allow_break(&mut self, y: f64) {
        self.breaks.push((self.shapes.len(), y));
    }

    pub(super) fn fill(&mut self, at: Box, color: Color) {
        if at.w > 0.0 && at.h > 0.0 {
            self.shapes.push(Shape::Fill(at, color));
        }
    }

    pub(super) fn frame(&mut self, at: Box, color: Color, width: f64) {
        self.shapes.push(Shape::Frame(at, color, width));
    }

    pub(super) fn line(&mut self, points: Vec<(f64, f64)>, color: Color, width: f64) {
        if points.len() > 1 {
            self.shapes.push(Shape::Line(points, color, width));
        }
    }

    pub(super) fn polygon(&mut self, points: Vec<(f64, f64)>, color: Color) {
        self.shapes.push(Shape::Polygon(points, color));
    }

    pub(super) fn disc(&mut self, center: (f64, f64), radius: f64, color: Color) {
        self.shapes.push(Shape::Disc(center, radius, color));
    }

    fn strokes(&mut self, strokes: Vec<[(f64, f64); 2]>, color: Color, width: f64) {
        if !strokes.is_empty() {
            self.shapes.push(Shape::Strokes(strokes, color, width));
        }
    }

    /// A line from one point to another in dashes of `dash`.
    pub(super) fn dashed(
        &mut self,
        from: (f64, f64),
        to: (f64, f64),
        dash: f64,
        color: Color,
        width: f64,
    ) {
        self.strokes(dashes(from, to, dash, 0.0), color, width);
    }

    /// A line through points in dashes of `dash`, which go on around its corners.
    pub(super) fn dashed_line(
        &mut self,
        points: &[(f64, f64)],
        dash: f64,
        color: Color,
        width: f64,
    ) {
        let mut before = 0.0;
        let mut strokes = Vec::new();
        for (from, to) in points.iter().zip(points.iter().skip(1)) {
            strokes.extend(dashes(*from, *to, dash, before));
            before += (to.0 - from.0).hypot(to.1 - from.1);
        }
        self.strokes(strokes, color, width);
    }

    /// A box with a dashed edge.
    pub(super) fn dashed_frame(&mut self, at: Box, color: Color, width: f64) {
        let corners =
            [(at.x, at.y), (at.right(), at.y), (at.right(), at.bottom()), (at.x, at.bottom())];
        let edge = |i: usize| dashes(corners[i], corners[(i + 1) % 4], 4.0, 0.0);
        self.strokes((0..4).flat_map(edge).collect(), color, width);
    }

    /// Fills a box with slanted lines, so that it also stands out without colour. The lines of
    /// neighbouring boxes meet.
    pub(super) fn hatch(&mut self, at: Box, color: Color, step: f64) {
        let mut strokes = Vec::new();
        let mut offset = step - (at.x + at.y).rem_euclid(step);
        while offset < at.w + at.h {
            // The part of the line x + y = offset that lies in the box.
            let (x0, y0) = (offset.min(at.w), (offset - at.w).max(0.0));
            let (x1, y1) = ((offset - at.h).max(0.0), offset.min(at.h));
            strokes.push([(at.x + x0, at.y + y0), (at.x + x1, at.y + y1)]);
            offset += step;
        }
        self.strokes(strokes, color, 1.0);
    }

    /// A text with its baseline at `y`.
    pub(super) fn text(
        &mut self,
        x: f64,
        y: f64,
        anchor: Anchor,
        size: f64,
        color: Color,
        text: impl Into<String>,
    ) {
        self.write(Text::new(x, y, anchor, size, color, &text.into()));
    }

    /// A text that is measured already.
    pub(super) fn write(&mut self, text: Text) {
        if !text.text.trim().is_empty() {
            self.shapes.push(Shape::Text(text));
        }
    }

    /// A text that runs upwards, centred on `y`.
    pub(super) fn upright(&mut self, x: f64, y: f64, size: f64, color: Color, text: &str) {
        self.write(Text { upright: true, ..Text::new(x, y, Anchor::Middle, size, color, text) });
    }

    /// The colours in use, each once.
    pub(super) fn colors(&self) -> BTreeSet<Color> {
        let color = |shape: &Shape| match shape {
            Shape::Fill(_, color)
            | Shape::Frame(_, color, _)
            | Shape::Line(_, color, _)
            | Shape::Strokes(_, color, _)
            | Shape::Polygon(_, color)
            | Shape::Disc(_, _, color) => *color,
            Shape::Text(text) => text.color,
        };
        self.shapes.iter().map(color).collect()
    }

    /// The characters of the texts that the embedded font lacks: a PNG shows a box for each, while an
    /// SVG is drawn in the fonts of the reader's machine.
    pub fn lacking(&self) -> BTreeSet<char> {
        self.texts().flat_map(|t| t.text.chars()).filter(|c| font::lacks(*c)).collect()
    }

    /// All texts.
    pub(super) fn texts(&self) -> impl Iterator<Item = &Text> {
        self.shapes.iter().filter_map(|s| match s {
            Shape::Text(text) => Some(text),
            _ => None,
        })
    }
}

/// The dashes of a line, `dash` long, with gaps a little shorter; `before` of them is drawn already.
fn dashes(from: (f64, f64), to: (f64, f64), dash: f64, before: f64) -> Vec<[(f64, f64); 2]> {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let length = dx.hypot(dy);
    let point = |d: f64| (from.0 + dx * d / length, from.1 + dy * d / length);
    let step = 1.8 * dash;
    let first = -before.rem_euclid(step);
    let count = ((length - first) / step).ceil() as usize;
    (0..count)
        .map(|i| first + step * i as f64)
        .map(|start| (start.max(0.0), (start + dash).min(length)))
        .filter(|(start, end)| start < end)
        .map(|(start, end)| [point(start), point(end)])
        .collect()
}

#[cfg(test)]
pub(super) mod checks {
    use super::super::palette::Color;
    use super::{Box, Picture, Shape, Text};

    /// How far the longest line of a colour leads to the right.
    pub(in crate::view::charts) fn longest_line(picture: &Picture, color: Color) -> f64 {
        let reach = |shape: &Shape| match shape {
            Shape::Line(points, of, _) if *of == color => {
                Some(points.last()?.0 - points.first()?.0)
            }
            _ => None,
        };
        picture.shapes.iter().filter_map(reach).fold(0.0, f64::max)
    }

    /// No text leaves the page, none lies over another.
    pub(in crate::view::charts) fn is_tidy(picture: &Picture) {
        let page = Box::new(0.0, 0.0, picture.width, picture.height);
        let texts: Vec<(&Text, Box)> = picture.texts().map(|t| (t, t.bounds())).collect();
        for (i, (a, bounds)) in texts.iter().enumerate() {
            assert!(bounds.inside(&page), "'{}' leaves the page: {bounds:?} in {page:?}", a.text);
            for (b, other) in &texts[..i] {
                assert!(!bounds.overlaps(other), "'{}' lies over '{}'", a.text, b.text);
            }
        }
    }
}
