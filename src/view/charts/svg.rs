//! A picture as SVG: text stays text, and every mark says what it is.
//!
//! Stand-alone, the colours are those of a theme. For a page of HTML they are variables of the
//! page's style, marks can be reached with the keyboard and know their teams, and a tall picture
//! comes in parts, between which a printed page may end.

use std::fmt::Write;
use std::ops::Range;

use super::font;
use super::palette::{Color, PAGE, Theme, hex};
use super::picture::{Anchor, Box, Mark, Picture, Shape, Text};

/// How colours are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Paint {
    Fixed(Theme),
    Variables,
}

impl Paint {
    fn of(self, color: Color) -> String {
        match self {
            Paint::Fixed(theme) => hex(theme.rgb(color)),
            Paint::Variables => format!("var({})", color.variable()),
        }
    }
}

/// The picture as a file of its own.
pub(super) fn file(picture: &Picture, theme: Theme) -> String {
    let mut out = String::new();
    let paint = Paint::Fixed(theme);
    let page = Box::new(0.0, 0.0, picture.width, picture.height);
    head(&mut out, picture, &page, " xmlns=\"http://www.w3.org/2000/svg\"");
    let _ = writeln!(
        out,
        "<desc>{}</desc>\n<rect width=\"{}\" height=\"{}\" fill=\"{}\"/>",
        escape(&picture.description),
        number(page.w),
        number(page.h),
        paint.of(PAGE)
    );
    body(&mut out, picture, 0..picture.shapes.len(), paint);
    out.push_str("</svg>\n");
    out
}

/// The picture for a page of HTML, in parts from top to bottom.
pub(super) fn parts(picture: &Picture) -> Vec<String> {
    let ends = picture.breaks.iter().copied().chain([(picture.shapes.len(), picture.height)]);
    let (mut from, mut top) = (0, 0.0);
    let mut parts = Vec::new();
    for (to, bottom) in ends {
        if to > from {
            let mut out = String::new();
            head(&mut out, picture, &Box::new(0.0, top, picture.width, bottom - top), "");
            body(&mut out, picture, from..to, Paint::Variables);
            out.push_str("</svg>\n");
            parts.push(out);
            (from, top) = (to, bottom);
        }
    }
    parts
}

fn head(out: &mut String, picture: &Picture, view: &Box, namespace: &str) {
    let _ = writeln!(
        out,
        "<svg{namespace} width=\"{w}\" height=\"{h}\" viewBox=\"0 {} {w} {h}\" role=\"graphics-document\" aria-label=\"{}\" font-family=\"{}\">",
        number(view.y),
        escape(&picture.title),
        font::FAMILY,
        w = number(view.w),
        h = number(view.h),
    );
    if !namespace.is_empty() {
        let _ = writeln!(out, "<title>{}</title>", escape(&picture.title));
    }
}

/// Shapes, those of a mark in a group with its title.
fn body(out: &mut String, picture: &Picture, range: Range<usize>, paint: Paint) {
    let first = range.start;
    let mut marks = picture.marks.iter().filter(|m| m.shapes.start >= first).peekable();
    for index in range {
        if let Some(mark) = marks.peek().filter(|m| m.shapes.start == index) {
            open(out, mark, paint);
        }
        shape(out, &picture.shapes[index], paint);
        if marks.next_if(|m| m.shapes.end == index + 1).is_some() {
            out.push_str("</g>\n");
        }
    }
}

fn open(out: &mut String, mark: &Mark, paint: Paint) {
    out.push_str("<g");
    if paint == Paint::Variables {
        out.push_str(" tabindex=\"0\" role=\"graphics-symbol\"");
        if !mark.teams.is_empty() {
            let teams: Vec<String> = mark.teams.iter().map(u32::to_string).collect();
            let _ = write!(out, " data-teams=\"{}\"", teams.join(" "));
        }
    }
    let _ = writeln!(out, "><title>{}</title>", escape(&mark.tip));
}

fn shape(out: &mut String, shape: &Shape, paint: Paint) {
    let _ = match shape {
        Shape::Fill(b, color) => {
            writeln!(out, "<rect {} fill=\"{}\"/>", rect(b), paint.of(*color))
        }
        Shape::Frame(b, color, width) => {
            writeln!(out, "<rect {} fill=\"none\" {}/>", rect(b), stroke(*color, *width, paint))
        }
        Shape::Line(points, color, width) => writeln!(
            out,
            "<path d=\"{}\" fill=\"none\" {}/>",
            path(points),
            stroke(*color, *width, paint)
        ),
        Shape::Strokes(strokes, color, width) => {
            let all: String = strokes.iter().map(|s| path(s)).collect();
            writeln!(out, "<path d=\"{all}\" fill=\"none\" {}/>", stroke(*color, *width, paint))
        }
        Shape::Polygon(points, color) => {
            writeln!(out, "<path d=\"{}Z\" fill=\"{}\"/>", path(points), paint.of(*color))
        }
        Shape::Disc((x, y), radius, color) => writeln!(
            out,
            "<circle cx=\"{}\" cy=\"{}\" r=\"{}\" fill=\"{}\"/>",
            number(*x),
            number(*y),
            number(*radius),
            paint.of(*color)
        ),
        Shape::Text(t) => text(out, t, paint),
    };
}

fn text(out: &mut String, text: &Text, paint: Paint) -> std::fmt::Result {
    let (x, y) = (number(text.x), number(text.y));
    write!(out, "<text x=\"{x}\" y=\"{y}\" font-size=\"{}\"", number(text.size))?;
    match text.anchor {
        Anchor::Left => {}
        Anchor::Middle => out.push_str(" text-anchor=\"middle\""),
        Anchor::Right => out.push_str(" text-anchor=\"end\""),
    }
    if text.upright {
        write!(out, " transform=\"rotate(-90 {x} {y})\"")?;
    }
    writeln!(out, " fill=\"{}\">{}</text>", paint.of(text.color), escape(&text.text))
}

fn rect(b: &Box) -> String {
    format!(
        "x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"",
        number(b.x),
        number(b.y),
        number(b.w),
        number(b.h)
    )
}

fn stroke(color: Color, width: f64, paint: Paint) -> String {
    format!("stroke=\"{}\" stroke-width=\"{}\"", paint.of(color), number(width))
}

fn path(points: &[(f64, f64)]) -> String {
    let mut path = String::new();
    for (i, (x, y)) in points.iter().enumerate() {
        let _ = write!(path, "{}{} {}", if i == 0 { 'M' } else { 'L' }, number(*x), number(*y));
    }
    path
}

/// A coordinate to a hundredth of a unit.
fn number(value: f64) -> String {
    let hundredths = (value * 100.0).round() as i64;
    let (sign, size) = (if hundredths < 0 { "-" } else { "" }, hundredths.unsigned_abs());
    match size % 100 {
        0 => format!("{sign}{}", size / 100),
        part if part % 10 == 0 => format!("{sign}{}.{}", size / 100, part / 10),
        part => format!("{sign}{}.{part:02}", size / 100),
    }
}

/// Text as XML takes it, in elements and in quoted attributes.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&apos;")
}

#[cfg(test)]
mod tests {
    use super::super::palette::INK;
    use super::*;

    #[test]
    fn coordinates_are_short() {
        for (value, text) in [(0.0, "0"), (12.5, "12.5"), (-0.254, "-0.25"), (3.05, "3.05")] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_picture_comes_in_parts_for_a_page() {
        let mut picture = Picture::new(100.0, "a & b", "");
        picture.text(1.0, 9.0, Anchor::Left, 8.0, INK, "above");
        picture.allow_break(10.0);
        picture.mark("one <thing>", vec![3, 7], |p| {
            p.fill(Box::new(0.0, 10.0, 5.0, 5.0), INK);
            p.fill(Box::new(9.0, 10.0, 5.0, 5.0), INK);
        });
        picture.height = 20.0;
        let parts = parts(&picture);
        assert_eq!(parts.len(), 2);
        assert!(parts[0].contains("viewBox=\"0 0 100 10\"") && parts[0].contains("above"));
        assert!(parts[1].contains("viewBox=\"0 10 100 10\""));
        let group = "<g tabindex=\"0\" role=\"graphics-symbol\" data-teams=\"3 7\"><title>one &lt;thing&gt;</title>";
        assert!(parts[1].contains(group), "{}", parts[1]);
        assert_eq!(parts[1].matches("var(--ink)").count(), 2);
        let file = file(&picture, Theme::Dark);
        assert!(file.contains("aria-label=\"a &amp; b\"") && !file.contains("var("), "{file}");
        assert_eq!(file.matches("<g").count(), file.matches("</g>").count());
    }
}
