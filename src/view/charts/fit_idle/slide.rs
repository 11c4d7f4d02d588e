//! The same for a slide: 16 by 9, the finding as the title, and the plan beside the few ways that
//! it is worth comparing with, each with its numbers written on it.

use super::super::font;
use super::super::marker::Marker;
use super::super::page::{Swatch, number};
use super::super::palette::{BLUE, Color, FILLED, INK, OTHER, PAGE, QUIET, SOFT, tint};
use super::super::picture::{Anchor, Box, Picture};
use super::{parts, stack};
use crate::view::figures::{FitIdle, FitUnit, Way, WayKind};

const WIDTH: f64 = 1280.0;
const HEIGHT: f64 = 720.0;
const MARGIN: f64 = 56.0;
const TITLE: f64 = 34.0;
const LARGE: f64 = 20.0;
const TEXT: f64 = 14.0;
/// The rows of the ways.
const TOP: f64 = 236.0;
const BOTTOM: f64 = 646.0;
const MOST_PITCH: f64 = 92.0;
const BAR: f64 = 30.0;
/// From left to right: names, the bars of what fits with their numbers, the bars of memory.
const FIT: f64 = 330.0;
const FIT_WIDTH: f64 = 210.0;
const MEMORY: f64 = 740.0;
/// Width of the numbers of what is placed.
const PLACED: f64 = MEMORY - FIT - FIT_WIDTH - 32.0;

/// Draws the figure; `title` stands for the finding where it is given.
pub(in crate::view::charts) fn draw(figure: &FitIdle, title: Option<&str>) -> Picture {
    let title = title.unwrap_or(&figure.title);
    let mut picture = Picture::new(WIDTH, title, &figure.setting);
    picture.height = HEIGHT;
    head(&mut picture, title, &figure.setting);
    let ways: Vec<&Way> = figure.headline.iter().filter_map(|i| figure.ways.get(*i)).collect();
    picture.text(FIT, TOP - 22.0, Anchor::Left, TEXT, QUIET, "replicas placed");
    let memory = format!("memory of all GPUs: {} GiB", number(figure.fleet_gib.round()));
    picture.text(MEMORY, TOP - 22.0, Anchor::Left, TEXT, QUIET, memory);
    // One size for all numbers: the large one, where the longest has space.
    let fits = |way: &&Way| font::width(&way.placed, LARGE) <= PLACED;
    let size = if ways.iter().all(fits) { LARGE } else { 16.0 };
    let pitch = ((BOTTOM - TOP) / ways.len().max(1) as f64).min(MOST_PITCH);
    for (i, way) in ways.into_iter().enumerate() {
        let y = TOP + pitch * i as f64;
        picture.mark(way.sentence(), Vec::new(), |p| row(p, figure, way, y, size));
    }
    legend(&mut picture);
    picture
}

fn head(picture: &mut Picture, title: &str, setting: &str) {
    let space = WIDTH - 2.0 * MARGIN;
    // A long title of somebody's own is made smaller before it is shortened.
    let size =
        [TITLE, 28.0, 23.0].into_iter().find(|size| fits(title, *size, space)).unwrap_or(19.0);
    let mut y = MARGIN + TITLE * 0.6;
    for line in font::wrap(title, size, space, 2) {
        picture.text(MARGIN, y, Anchor::Left, size, INK, line);
        y += size * font::LINE;
    }
    let setting = font::wrap(setting, 17.0, space, 2);
    for line in setting {
        picture.text(MARGIN, y, Anchor::Left, 17.0, QUIET, line);
        y += 23.0;
    }
}

/// Whether a text fits two lines.
fn fits(text: &str, size: f64, space: f64) -> bool {
    font::wrap(text, size, space, 3).len() <= 2
}

fn row(picture: &mut Picture, figure: &FitIdle, way: &Way, y: f64, size: f64) {
    let is_plan = way.kind == WayKind::Plan;
    Marker::Way(way.kind).draw(picture, (MARGIN + 8.0, y + 11.0));
    let space = FIT - MARGIN - 44.0;
    let name = font::fit_name(&way.name, LARGE, space);
    picture.text(MARGIN + 28.0, y + 18.0, Anchor::Left, LARGE, INK, name);
    let role = font::fit(&way.role, TEXT, space);
    picture.text(MARGIN + 28.0, y + 40.0, Anchor::Left, TEXT, QUIET, role);

    let color: Color = if is_plan { BLUE } else { tint(OTHER, FILLED) };
    picture.fill(Box::new(FIT, y, FIT_WIDTH, BAR), SOFT);
    picture.fill(Box::new(FIT, y, FIT_WIDTH * way.placed_part.clamp(0.0, 1.0), BAR), color);
    let placed = font::fit(&way.placed, size, PLACED);
    picture.text(FIT + FIT_WIDTH + 12.0, y + 22.0, Anchor::Left, size, INK, placed);
    let space = MEMORY - FIT - 20.0;
    let weight = |text: &str| format!("weight {text}");
    let fits = |detail: &str| font::width(detail, TEXT) <= space;
    let detail = match figure.unit {
        FitUnit::Replicas => way.by_priority.clone(),
        FitUnit::Weight => weight(way.fit_within(|text| fits(&weight(text)))),
    };
    if fits(&detail) {
        picture.text(FIT, y + BAR + 18.0, Anchor::Left, TEXT, QUIET, detail);
    }

    let width = WIDTH - MARGIN - MEMORY;
    let scale = width / figure.fleet_gib.max(f64::MIN_POSITIVE);
    let served = stack(picture, way, Box::new(MEMORY, y, scale, BAR));
    let value = format!("{} GiB", number(way.placed_gib.round()));
    if served.w > font::width(&value, 16.0) + 12.0 {
        picture.text(served.x + 6.0, y + 21.0, Anchor::Left, 16.0, PAGE, value);
    }
    let idle = format!("{} GiB idle", number(way.idle_gib.round()));
    let end = WIDTH - MARGIN;
    picture.text(end, y + BAR + 19.0, Anchor::Right, 16.0, INK, idle);
}

/// What the parts of the memory are, in one line at the foot.
fn legend(picture: &mut Picture) {
    let y = HEIGHT - 34.0;
    let mut entries = parts()
        .into_iter()
        .map(|(swatch, text)| {
            let width = 26.0 + font::width(&text, TEXT) + 28.0;
            (swatch, text, width)
        })
        .collect::<Vec<(Swatch, String, f64)>>();
    let whole: f64 = entries.iter().map(|(_, _, width)| width).sum();
    // From the right edge, so that it stands under the bars of memory.
    let mut x = WIDTH - MARGIN - whole + 28.0;
    for (swatch, text, width) in entries.drain(..) {
        swatch.draw(picture, Box::new(x, y - 12.0, 18.0, 14.0));
        picture.text(x + 26.0, y, Anchor::Left, TEXT, QUIET, text);
        x += width;
    }
}
