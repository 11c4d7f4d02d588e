//! Draws use over time: a panel for each workload, its use as a thin line, what is planned for it as
//! a dashed one, the instance as a thick one.

use super::font;
use super::page::{BODY, MARGIN, SMALL, Swatch, WIDTH, heading, legend, number, ticks};
use super::palette::{BLUE, EDGE, GRID, INK, QUIET, VERMILION};
use super::picture::{Anchor, Box, Picture};
use crate::text::plural;
use crate::view::figures::{Usage, UsagePanel};

const PANEL: f64 = 150.0;
/// Panels that are drawn.
const MOST_PANELS: usize = 12;
/// Points of one line: more than that is less than a pixel.
const MOST_POINTS: usize = 400;
const DAY: f64 = 86_400.0;

pub(super) fn draw(figure: &Usage) -> Picture {
    let mut picture = Picture::new(WIDTH, &figure.title, &figure.subtitle);
    let top = heading(&mut picture, &figure.title, &figure.subtitle);
    let panels = || figure.panels.iter().take(MOST_PANELS);
    let mut entries = Vec::new();
    if panels().any(|panel| !panel.most.is_empty()) {
        entries.push((Swatch::Line(BLUE, 1.5), "the most that any replica used".to_string()));
    }
    entries.push((Swatch::Dashed(VERMILION), "planned for a replica".to_string()));
    if panels().any(|panel| panel.instance.is_some()) {
        entries.push((Swatch::Line(INK, 3.0), "usable memory of the instance".to_string()));
    }
    let mut y = legend(&mut picture, top + 2.0, &entries) + 6.0;
    for panel in panels() {
        y = draw_panel(&mut picture, panel, y);
    }
    let left = figure.panels.len().saturating_sub(MOST_PANELS);
    if left > 0 {
        let text = format!("Not drawn: {}.", plural(left as u64, "further workload"));
        picture.text(MARGIN, y + 4.0, Anchor::Left, BODY, QUIET, text);
        y += 16.0;
    }
    picture.height = y + 8.0;
    picture
}

fn draw_panel(picture: &mut Picture, panel: &UsagePanel, top: f64) -> f64 {
    let label = font::fit_label(&panel.label, &panel.workload, BODY, 400.0);
    picture.text(MARGIN, top + 10.0, Anchor::Left, BODY, INK, label);
    let plot = Box::new(78.0, top + 20.0, WIDTH - MARGIN - 78.0 - 190.0, PANEL);
    let points = || panel.most.iter().flatten();
    let instance_gib = panel.instance.as_ref().map_or(0.0, |(_, gib)| *gib);
    let most = points().map(|p| p.1).fold(panel.planned_gib.max(instance_gib), f64::max) * 1.1;
    let most = most.max(f64::MIN_POSITIVE);
    let from = points().map(|p| p.0).fold(f64::INFINITY, f64::min);
    let to = points().map(|p| p.0).fold(f64::NEG_INFINITY, f64::max);
    let span = (to - from).max(1.0);
    let at = |time: f64, gib: f64| {
        (
            plot.x + plot.w * (time - from) / span,
            plot.bottom() - plot.h * (gib / most).clamp(0.0, 1.0),
        )
    };
    for tick in ticks(most, 5) {
        let (_, y) = at(from, tick);
        picture.line(vec![(plot.x, y), (plot.right(), y)], GRID, 1.0);
        picture.text(plot.x - 8.0, y + 3.5, Anchor::Right, SMALL, QUIET, number(tick));
    }
    picture.upright(plot.x - 50.0, plot.y + plot.h / 2.0, SMALL, INK, "memory used (GiB)");
    if from.is_finite() && to.is_finite() {
        let when = format!("{} to {} UTC", date_time(from), date_time(to));
        let right = plot.right();
        picture.text(right, top + 10.0, Anchor::Right, SMALL, QUIET, when);
        for time in time_ticks(from, to) {
            let (x, _) = at(time, 0.0);
            let text = time_label(time, span);
            let half = font::width(&text, SMALL) / 2.0;
            if x - half > plot.x - 20.0 && x + half < plot.right() + 40.0 {
                picture.line(vec![(x, plot.bottom()), (x, plot.bottom() + 4.0)], EDGE, 1.0);
                picture.text(x, plot.bottom() + 16.0, Anchor::Middle, SMALL, QUIET, text);
            }
        }
    }
    draw_use(picture, panel, &plot, at);
    let mut label_ys: Vec<f64> = Vec::new();
    let mut label = |picture: &mut Picture, y: f64, text: String| {
        let mut y = y + 3.5;
        while label_ys.iter().any(|other| (other - y).abs() < 13.0) {
            y += 13.0;
        }
        label_ys.push(y);
        let text = font::fit(&text, SMALL, WIDTH - 6.0 - plot.right() - 8.0);
        picture.text(plot.right() + 8.0, y, Anchor::Left, SMALL, INK, text);
    };
    if let Some((profile, gib)) = &panel.instance {
        let (_, y) = at(from, *gib);
        picture.line(vec![(plot.x, y), (plot.right(), y)], INK, 3.0);
        label(picture, y, format!("{profile}: {} GiB", number(*gib)));
    }
    let (_, y) = at(from, panel.planned_gib);
    picture.dashed((plot.x, y), (plot.right(), y), 6.0, VERMILION, 2.0);
    label(picture, y, format!("planned: {} GiB", number(panel.planned_gib)));
    match (&panel.instance, panel.unplaced) {
        (_, 0) => {}
        (None, _) => label(picture, y, "unplaced".to_string()),
        (Some(_), some) => label(picture, y, format!("{} unplaced", plural(some, "replica"))),
    }
    picture.line(
        vec![(plot.x, plot.y), (plot.x, plot.bottom()), (plot.right(), plot.bottom())],
        EDGE,
        1.2,
    );
    plot.bottom() + 34.0
}

/// The most that any replica used; `at` is where a time and memory (GiB) are.
fn draw_use(
    picture: &mut Picture,
    panel: &UsagePanel,
    plot: &Box,
    at: impl Fn(f64, f64) -> (f64, f64),
) {
    let (middle, centre) = (plot.x + plot.w / 2.0, plot.y + plot.h / 2.0);
    match panel.most.as_slice() {
        [] => {
            picture.text(middle, centre, Anchor::Middle, SMALL, QUIET, "no samples with a time");
        }
        [only] if only.len() == 1 => {
            let (_, y) = at(only[0].0, only[0].1);
            picture.disc((middle, y), 2.5, BLUE);
        }
        stretches => {
            for stretch in thin(stretches) {
                match stretch.as_slice() {
                    [one] => picture.disc(at(one.0, one.1), 1.0, BLUE),
                    _ => picture.line(stretch.iter().map(|p| at(p.0, p.1)).collect(), BLUE, 1.2),
                }
            }
        }
    }
}

/// About [`MOST_POINTS`] of the stretches of a line: of neighbours the highest, since peaks decide.
fn thin(stretches: &[Vec<(f64, f64)>]) -> Vec<Vec<(f64, f64)>> {
    let count: usize = stretches.iter().map(Vec::len).sum();
    let neighbours = count.div_ceil(MOST_POINTS).max(1);
    let highest = |chunk: &[(f64, f64)]| chunk.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1));
    stretches
        .iter()
        .map(|stretch| stretch.chunks(neighbours).filter_map(highest).collect())
        .collect()
}

/// Round times between two: minutes, hours or days apart.
fn time_ticks(from: f64, to: f64) -> Vec<f64> {
    let steps = [60.0, 300.0, 900.0, 3600.0, 3.0 * 3600.0, 6.0 * 3600.0, 12.0 * 3600.0, DAY];
    let mut step = steps.iter().copied().find(|s| (to - from) / s <= 7.0).unwrap_or(DAY);
    while (to - from) / step > 7.0 {
        step *= 2.0;
    }
    let first = (from / step).ceil() * step;
    (0..8).map(|i| first + step * f64::from(i)).filter(|t| *t <= to).collect()
}

/// Day, and hours and minutes, of a time in UTC.
fn day_and_clock(time: f64) -> (String, String) {
    let days = (time / DAY).floor();
    let (year, month, day) = civil(days as i64);
    let seconds = (time - days * DAY) as u32;
    let clock = format!("{:02}:{:02}", seconds / 3600, seconds / 60 % 60);
    (format!("{year}-{month:02}-{day:02}"), clock)
}

/// A time in UTC, to the minute.
fn date_time(time: f64) -> String {
    let (day, clock) = day_and_clock(time);
    format!("{day} {clock}")
}

/// What stands at a tick: the day at midnight and where ticks are days apart, else the clock.
fn time_label(time: f64, span: f64) -> String {
    let (day, clock) = day_and_clock(time);
    if span > 5.0 * DAY || clock == "00:00" { day } else { clock }
}

/// Year, month and day of a number of days since 1970-01-01 (proleptic Gregorian calendar; the
/// method of Howard Hinnant's `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(19_782), (2024, 2, 29));
        assert_eq!(civil(20_453), (2025, 12, 31));
        assert_eq!(date_time(1_709_208_000.0), "2024-02-29 12:00");
    }
}
