//! Draws a schedule: a band that says which configuration is active, and below it the replicas placed
//! against those asked for.

use super::font;
use super::hours::{areas, axes, day_names, frame, left_of, runs, steps};
use super::page::{MARGIN, SMALL, Swatch, WIDTH, heading, legend};
use super::palette::{
    BLUE, Color, EDGE, FILLED, GREEN, INK, ORANGE, PURPLE, SKY, VERMILION, YELLOW, tint,
};
use super::picture::{Anchor, Box, Picture};
use crate::text::letter;
use crate::view::figures::ScheduleFigure;

const BAND: f64 = 26.0;
const PANEL: f64 = 230.0;
/// Colours of the configurations; a seventh has that of the first, and its label.
const COLORS: [Color; 6] = [SKY, YELLOW, GREEN, PURPLE, VERMILION, BLUE];

fn color(configuration: usize) -> Color {
    tint(COLORS[configuration % COLORS.len()], FILLED)
}

pub(super) fn draw(figure: &ScheduleFigure) -> Picture {
    let mut picture = Picture::new(WIDTH, &figure.title, &figure.subtitle);
    let top = heading(&mut picture, &figure.title, &figure.subtitle);
    let labels = figure.labels.iter().enumerate();
    let entries: Vec<(Swatch, String)> =
        labels.map(|(at, label)| (Swatch::Fill(color(at)), label.clone())).collect();
    let mut y = legend(&mut picture, top + 2.0, &entries);
    let most = figure.asked.iter().copied().max().unwrap_or(0).max(1) as f64 * 1.08;
    let left = left_of(most);
    let band = Box::new(left, y, WIDTH - MARGIN - left, BAND);
    draw_band(&mut picture, figure, band);
    let entries = [
        (Swatch::Fill(tint(BLUE, FILLED)), "replicas that have an instance".to_string()),
        (Swatch::Fill(ORANGE), "replicas without one".to_string()),
        (Swatch::Line(INK, 1.6), "placed by the best single configuration".to_string()),
    ];
    y = legend(&mut picture, band.bottom() + 26.0, &entries);
    let plot = Box::new(left, y, band.w, PANEL);
    axes(&mut picture, &figure.axis, plot, most, "replicas");
    let hours = || figure.placed.iter().zip(&figure.asked);
    let placed: Vec<(f64, f64)> = hours().map(|(placed, _)| (0.0, *placed)).collect();
    let missed: Vec<(f64, f64)> = hours().map(|(placed, asked)| (*placed, *asked as f64)).collect();
    areas(&mut picture, plot, most, &placed, tint(BLUE, FILLED));
    areas(&mut picture, plot, most, &missed, ORANGE);
    picture.line(steps(&figure.one, plot, most), INK, 1.6);
    frame(&mut picture, plot);
    day_names(&mut picture, &figure.axis, plot);
    picture.height = plot.bottom() + 36.0;
    picture
}

/// Which configuration is active, with its label, or its letter, where that fits.
fn draw_band(picture: &mut Picture, figure: &ScheduleFigure, band: Box) {
    for (&active, at) in runs(&figure.active, band) {
        picture.fill(at, color(active));
        let label = figure.labels.get(active).map_or("", String::as_str);
        let letter = letter(active).to_string();
        let fits = [label, &letter].into_iter().find(|text| font::width(text, SMALL) + 4.0 <= at.w);
        if let Some(text) = fits {
            let middle = (at.x + at.w / 2.0, at.y + at.h / 2.0 + 3.5);
            picture.text(middle.0, middle.1, Anchor::Middle, SMALL, INK, text);
        }
    }
    picture.frame(band, EDGE, 1.0);
}
