//! Colours by what they are for, and the themes that turn them into red, green and blue.
//!
//! The hues are those of Okabe and Ito, which the colour-blind can tell apart. None of them carries
//! a meaning alone: texts, shapes or hatching say the same, so a grey print can be read too. On a dark
//! page vermilion, sky and yellow are moved away from their neighbours, since all must be dark under
//! light ink and what told them apart, their lightness, is gone. A
//! picture names its colours; only a theme knows what they look like, so the same picture is drawn
//! on a light page, on a dark one, and on a page of HTML that changes with the reader's settings.

/// Red, green, blue.
pub(super) type Rgb = (u8, u8, u8);

/// A colour of a picture: a hue, mixed with the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Color {
    hue: Hue,
    /// Percent of the page in it: 0 is the hue, 100 the page.
    page: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Hue {
    Page,
    Ink,
    Quiet,
    Grid,
    Edge,
    Soft,
    Hatch,
    Blue,
    Orange,
    Green,
    Vermilion,
    Purple,
    Sky,
    Yellow,
    Other,
}

const fn full(hue: Hue) -> Color {
    Color { hue, page: 0 }
}

pub(super) const PAGE: Color = full(Hue::Page);
pub(super) const INK: Color = full(Hue::Ink);
/// Texts of less weight.
pub(super) const QUIET: Color = full(Hue::Quiet);
pub(super) const GRID: Color = full(Hue::Grid);
pub(super) const EDGE: Color = full(Hue::Edge);
/// An area that stands back.
pub(super) const SOFT: Color = full(Hue::Soft);
/// The lines of a hatched area.
pub(super) const HATCH: Color = full(Hue::Hatch);

pub(super) const BLUE: Color = full(Hue::Blue);
pub(super) const ORANGE: Color = full(Hue::Orange);
pub(super) const GREEN: Color = full(Hue::Green);
pub(super) const VERMILION: Color = full(Hue::Vermilion);
pub(super) const PURPLE: Color = full(Hue::Purple);
pub(super) const SKY: Color = full(Hue::Sky);
pub(super) const YELLOW: Color = full(Hue::Yellow);
/// What has no colour of its own.
pub(super) const OTHER: Color = full(Hue::Other);

/// Colours of things that have no order, such as teams.
pub(super) const DISTINCT: [Color; 7] = [BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION, YELLOW];

/// How far a colour is mixed with the page so that text in ink reads on it.
pub(super) const FILLED: f64 = 0.42;
/// The same for what belongs to it, but is of less weight.
pub(super) const LIGHT: f64 = 0.86;

/// A colour mixed with the page; 0 is the colour, 1 is the page.
pub(super) fn tint(color: Color, page: f64) -> Color {
    Color { hue: color.hue, page: (page.clamp(0.0, 1.0) * 100.0).round() as u8 }
}

/// What a picture lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Theme {
    /// Dark ink on a white page.
    #[default]
    Light,
    /// Light ink on a dark page.
    Dark,
}

impl Theme {
    /// What a colour looks like.
    pub(super) fn rgb(self, color: Color) -> Rgb {
        let (hue, page) = (self.hue(color.hue), self.hue(Hue::Page));
        let mix = |part: f64| {
            let mix = |c: u8, p: u8| f64::from(c) * (1.0 - part) + f64::from(p) * part;
            let channel = |c, p| mix(c, p).round() as u8;
            (channel(hue.0, page.0), channel(hue.1, page.1), channel(hue.2, page.2))
        };
        let part = f64::from(color.page) / 100.0;
        if self == Theme::Light || color.page == 0 {
            return mix(part);
        }
        // On a dark page a mixed colour takes more of the page, until light ink reads on it.
        let reads = |part: &f64| contrast(self.hue(Hue::Ink), mix(*part)) >= READS + 0.5;
        let parts = (0..=20).map(|i| part + (1.0 - part) * f64::from(i) / 20.0);
        mix(parts.into_iter().find(reads).unwrap_or(1.0))
    }

    fn hue(self, hue: Hue) -> Rgb {
        let (light, dark) = match hue {
            Hue::Page => ((255, 255, 255), (22, 24, 27)),
            Hue::Ink => ((26, 26, 26), (236, 236, 236)),
            Hue::Quiet => ((89, 89, 89), (176, 176, 176)),
            Hue::Grid => ((225, 225, 225), (52, 56, 61)),
            Hue::Edge => ((120, 120, 120), (140, 146, 152)),
            Hue::Soft => ((235, 235, 235), (40, 44, 48)),
            Hue::Hatch => ((165, 165, 165), (92, 98, 104)),
            Hue::Blue => ((0, 114, 178), (66, 160, 224)),
            Hue::Orange => ((230, 159, 0), (236, 170, 32)),
            Hue::Green => ((0, 158, 115), (38, 184, 140)),
            Hue::Vermilion => ((213, 94, 0), (238, 86, 66)),
            Hue::Purple => ((204, 121, 167), (214, 138, 180)),
            Hue::Sky => ((86, 180, 233), (110, 110, 245)),
            Hue::Yellow => ((240, 228, 66), (150, 190, 40)),
            Hue::Other => ((150, 150, 150), (130, 134, 138)),
        };
        match self {
            Theme::Light => light,
            Theme::Dark => dark,
        }
    }
}

impl Color {
    /// The name of the page's variable that holds this colour.
    pub(super) fn variable(self) -> String {
        let name = format!("{:?}", self.hue).to_lowercase();
        if self.page == 0 { format!("--{name}") } else { format!("--{name}-{}", self.page) }
    }
}

/// The least contrast of a text and what lies under it (WCAG 2.2, 1.4.3).
const READS: f64 = 4.5;

/// The contrast of two colours as WCAG 2.2 defines it, 1 to 21.
fn contrast(a: Rgb, b: Rgb) -> f64 {
    let linear = |c: u8| {
        let c = f64::from(c) / 255.0;
        if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
    };
    let light = |c: Rgb| 0.2126 * linear(c.0) + 0.7152 * linear(c.1) + 0.0722 * linear(c.2);
    let (a, b) = (light(a) + 0.05, light(b) + 0.05);
    a.max(b) / a.min(b)
}

/// A colour as CSS and SVG write it.
pub(super) fn hex((r, g, b): Rgb) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_read_on_everything_that_lies_under_them() {
        for theme in [Theme::Light, Theme::Dark] {
            let mut pairs = vec![(INK, PAGE), (QUIET, PAGE), (INK, SOFT), (PAGE, BLUE)];
            for color in DISTINCT.into_iter().chain([OTHER]) {
                pairs.push((INK, tint(color, FILLED)));
                pairs.push((INK, tint(color, LIGHT)));
            }
            for (text, under) in pairs {
                let found = contrast(theme.rgb(text), theme.rgb(under));
                assert!(found >= READS, "{theme:?}: {text:?} on {under:?} has {found:.2}");
            }
        }
    }

    #[test]
    fn colours_of_different_things_look_different() {
        let apart = |a: Rgb, b: Rgb| {
            let square = |a: u8, b: u8| (f64::from(a) - f64::from(b)).powi(2);
            (square(a.0, b.0) + square(a.1, b.1) + square(a.2, b.2)).sqrt()
        };
        for theme in [Theme::Light, Theme::Dark] {
            let filled = DISTINCT.map(|color| (color, theme.rgb(tint(color, FILLED))));
            for (i, (one, a)) in filled.iter().enumerate() {
                for (other, b) in &filled[..i] {
                    let found = apart(*a, *b);
                    assert!(found >= 38.0, "{theme:?}: {one:?} and {other:?}: {found:.0}");
                }
            }
        }
    }

    #[test]
    fn variables_have_names_of_their_own() {
        assert_eq!(INK.variable(), "--ink");
        assert_eq!(tint(ORANGE, 0.45).variable(), "--orange-45");
        assert_eq!(hex(Theme::Light.rgb(tint(BLUE, 1.0))), "#ffffff");
    }
}
