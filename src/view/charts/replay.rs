//! Draws a replay: shortage by hour as steps, and a panel for each resource name with demand as an
//! area under or over the line of its supply.

use super::font;
use super::hours::{areas, axes, day_names, frame, left_of, steps};
use super::page::{BODY, MARGIN, Swatch, WIDTH, heading, legend, number};
use super::palette::{BLUE, Color, FILLED, GREEN, INK, ORANGE, PURPLE, QUIET, VERMILION, tint};
use super::picture::{Anchor, Box, Picture};
use crate::text::plural;
use crate::view::figures::{MissedLine, NamePanel, ReplayFigure};

const TOP_PANEL: f64 = 170.0;
const PANEL: f64 = 78.0;
/// Resource names that are drawn.
const MOST_PANELS: usize = 10;
const LINES: [Color; 4] = [BLUE, VERMILION, GREEN, PURPLE];
const THICK: f64 = 3.0;
const THIN: f64 = 1.4;

/// How a line is drawn, so that lines of equal values are all seen; in drawing order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Look {
    Thick,
    Thin,
    /// Over all others, which show in its gaps.
    Dashed,
}

/// The first configuration is what the picture is about: its bound lies under all other lines, what
/// its pods get over them.
fn look(line: usize) -> Look {
    match line {
        0 => Look::Thick,
        1 => Look::Dashed,
        _ => Look::Thin,
    }
}

pub(super) fn draw(figure: &ReplayFigure) -> Picture {
    let mut picture = Picture::new(WIDTH, &figure.title, &figure.subtitle);
    let top = heading(&mut picture, &figure.title, &figure.subtitle);
    let entries: Vec<(Swatch, String)> = figure
        .missed
        .iter()
        .zip(LINES)
        .enumerate()
        .map(|(i, (line, color))| {
            let swatch = match look(i) {
                Look::Thick => Swatch::Line(color, THICK),
                Look::Dashed => Swatch::Dashed(color),
                Look::Thin => Swatch::Line(color, THIN),
            };
            (swatch, line.label.clone())
        })
        .collect();
    let mut y = legend(&mut picture, top + 2.0, &entries) + 6.0;
    let panels = || figure.names.iter().take(MOST_PANELS);
    let ends = panels().map(most_of).chain([most_missed(figure)]);
    let left = left_of(ends.fold(0.0, f64::max));
    y = shortage(&mut picture, figure, left, y);
    let entries = [
        (Swatch::Fill(tint(BLUE, FILLED)), "replicas that ask for the name".to_string()),
        (Swatch::Fill(ORANGE), "more than there are instances".to_string()),
        (Swatch::Line(INK, 2.0), "instances".to_string()),
    ];
    y = legend(&mut picture, y + 8.0, &entries) + 2.0;
    for panel in panels() {
        y = name_panel(&mut picture, figure, panel, left, y);
    }
    let mut notes = Vec::new();
    let names = figure.names.len().saturating_sub(MOST_PANELS);
    if names > 0 {
        notes.push(plural(names as u64, "further resource name"));
    }
    if figure.more > 0 {
        notes.push(plural(figure.more as u64, "further configuration"));
    }
    if !notes.is_empty() {
        let text = format!("Not drawn: {}.", notes.join(", "));
        picture.text(MARGIN, y + 6.0, Anchor::Left, BODY, QUIET, text);
        y += 18.0;
    }
    picture.height = y + 8.0;
    picture
}

/// The panel of replicas without an instance.
fn shortage(picture: &mut Picture, figure: &ReplayFigure, left: f64, top: f64) -> f64 {
    let plot = Box::new(left, top, WIDTH - MARGIN - left, TOP_PANEL);
    let most = most_missed(figure);
    axes(picture, &figure.axis, plot, most, "replicas without an instance");
    let mut lines: Vec<(usize, (&MissedLine, Color))> =
        figure.missed.iter().zip(LINES).enumerate().collect();
    lines.sort_by_key(|(i, _)| (look(*i), std::cmp::Reverse(*i)));
    for (i, (line, color)) in lines {
        let points = steps(&line.replicas, plot, most);
        match look(i) {
            Look::Thick => picture.line(points, color, THICK),
            Look::Thin => picture.line(points, color, THIN),
            Look::Dashed => picture.dashed_line(&points, 4.0, color, 2.0),
        }
    }
    frame(picture, plot);
    day_names(picture, &figure.axis, plot);
    plot.bottom() + 30.0
}

/// Where the axis of replicas without an instance ends.
fn most_missed(figure: &ReplayFigure) -> f64 {
    let values = figure.missed.iter().flat_map(|m| &m.replicas);
    values.copied().fold(0.0, f64::max).max(1.0) * 1.08
}

/// The most replicas that ask for a resource name.
fn peak_of(panel: &NamePanel) -> f64 {
    panel.demand.iter().copied().fold(0.0, f64::max)
}

/// Where the axis of a resource name ends.
fn most_of(panel: &NamePanel) -> f64 {
    peak_of(panel).max(panel.supply).max(1.0) * 1.08
}

/// The panel of one resource name.
fn name_panel(
    picture: &mut Picture,
    figure: &ReplayFigure,
    panel: &NamePanel,
    left: f64,
    top: f64,
) -> f64 {
    let text = format!(
        "{}: {}, at most {} asked for",
        panel.name,
        plural(panel.supply as u64, "instance"),
        number(peak_of(panel))
    );
    picture.text(MARGIN, top + 10.0, Anchor::Left, BODY, INK, font::fit(&text, BODY, 600.0));
    let plot = Box::new(left, top + 18.0, WIDTH - MARGIN - left, PANEL);
    let most = most_of(panel);
    axes(picture, &figure.axis, plot, most, "replicas");
    let within: Vec<(f64, f64)> =
        panel.demand.iter().map(|demand| (0.0, demand.min(panel.supply))).collect();
    areas(picture, plot, most, &within, tint(BLUE, FILLED));
    let beyond: Vec<(f64, f64)> =
        panel.demand.iter().map(|demand| (panel.supply, demand.max(panel.supply))).collect();
    areas(picture, plot, most, &beyond, ORANGE);
    let y = plot.bottom() - plot.h * panel.supply / most;
    picture.line(vec![(plot.x, y), (plot.right(), y)], INK, 2.0);
    frame(picture, plot);
    day_names(picture, &figure.axis, plot);
    plot.bottom() + 28.0
}

#[cfg(test)]
mod tests {
    use super::super::picture::Shape;
    use super::*;
    use crate::view::figures::HourAxis;

    #[test]
    fn lines_of_equal_values_are_all_seen() {
        let line = |label: &str| MissedLine { label: label.to_string(), replicas: vec![2.0; 24] };
        let figure = ReplayFigure {
            title: String::new(),
            subtitle: String::new(),
            axis: HourAxis { hours: 24, days: Vec::new() },
            missed: ["plan, bound", "plan, template", "b", "c"].map(line).to_vec(),
            more: 0,
            names: Vec::new(),
        };
        let picture = draw(&figure);
        // A line of the plot, not of the legend: colour, width, and the part of its way that it
        // covers.
        let long = |shape: &Shape| match shape {
            Shape::Line(points, color, width) => {
                let way = points.last()?.0 - points.first()?.0;
                (way > 200.0).then_some((*color, *width, 1.0))
            }
            Shape::Strokes(strokes, color, width) => {
                let way = strokes.last()?[1].0 - strokes.first()?[0].0;
                let drawn: f64 = strokes.iter().map(|[from, to]| to.0 - from.0).sum();
                (way > 200.0).then_some((*color, *width, drawn / way))
            }
            _ => None,
        };
        let drawn: Vec<(Color, f64, f64)> = picture.shapes.iter().filter_map(long).collect();
        let at = |color: Color| drawn.iter().position(|(of, ..)| *of == color).unwrap();
        let (bound, template, best) = (at(BLUE), at(VERMILION), at(GREEN));
        assert!(bound < best && best < template, "{drawn:?}");
        assert!(drawn[bound].1 > drawn[best].1, "the bound shows beside the best preset");
        assert!(drawn[template].2 < 0.7, "others show in the gaps of the plan's line");
    }
}
