//! The embedded font: how wide a text is, and texts shortened to a width.
//!
//! DejaVu Sans 2.37 (see `data/fonts/`) has Latin, Greek, Cyrillic, Arabic, Hebrew and more. What
//! it lacks is counted as wide as the widest letters of the scripts that it lacks, so that a layout
//! also holds where a browser draws the text in another font.

use std::sync::LazyLock;

use ab_glyph::{Font, FontRef};

/// The font's file.
const BYTES: &[u8] = include_bytes!("../../../data/fonts/DejaVuSans.ttf");

/// The font; `None` cannot be, as a test loads it.
pub(super) static FONT: LazyLock<Option<FontRef<'static>>> =
    LazyLock::new(|| FontRef::try_from_slice(BYTES).ok());

/// What an SVG asks for: the embedded font, then fonts of the same widths.
pub(super) const FAMILY: &str = "DejaVu Sans, Bitstream Vera Sans, Verdana, Arial, sans-serif";

/// Height of a line of text of one unit.
pub(super) const LINE: f64 = 1.3;

/// Width of a text of `size` (its em in units).
pub(super) fn width(text: &str, size: f64) -> f64 {
    text.chars().map(advance).sum::<f64>() * size
}

/// Advance of a character in em.
fn advance(c: char) -> f64 {
    let Some(font) = FONT.as_ref() else { return 1.0 };
    let id = font.glyph_id(c);
    if id.0 == 0 {
        return 1.0;
    }
    let per_em = font.units_per_em().unwrap_or(2048.0);
    f64::from(font.h_advance_unscaled(id) / per_em)
}

/// The text as it may be drawn: control characters, which XML forbids, become spaces.
pub(super) fn clean(text: &str) -> String {
    let forbidden = |c: char| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}');
    text.chars().map(|c| if forbidden(c) { ' ' } else { c }).collect()
}

/// The text, or as much of its beginning as fits `space` with an ellipsis; empty where not even
/// two letters would.
pub(super) fn fit(text: &str, size: f64, space: f64) -> String {
    let text = clean(text);
    if width(&text, size) <= space {
        return text;
    }
    let mut left = space - width("…", size);
    let mut kept = String::new();
    for c in text.chars() {
        left -= advance(c) * size;
        if left < 0.0 {
            break;
        }
        kept.push(c);
    }
    let kept = kept.trim_end();
    if kept.chars().count() < 2 { String::new() } else { format!("{kept}…") }
}

/// `team/workload` in `space`: where it is too long the team is shortened, so that the workloads of
/// one team stay apart. `workload` is what the label ends with.
pub(super) fn fit_label(label: &str, workload: &str, size: f64, space: f64) -> String {
    if width(&clean(label), size) <= space {
        return clean(label);
    }
    let end = format!("/{}", clean(workload));
    let team = label.strip_suffix(workload).unwrap_or_default().trim_end_matches('/');
    match fit(team, size, space - width(&end, size)) {
        team if team.is_empty() => fit(workload, size, space),
        team => team + &end,
    }
}

/// Breaks a text into at most `most` lines of `space`; what does not fit ends in an ellipsis.
pub(super) fn wrap(text: &str, size: f64, space: f64, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let text = clean(text);
    let mut words = text.split(' ').filter(|w| !w.is_empty()).peekable();
    while words.peek().is_some() && lines.len() < most {
        let mut line = String::new();
        let last = lines.len() + 1 == most;
        while let Some(word) = words.peek() {
            let longer =
                if line.is_empty() { (*word).to_string() } else { format!("{line} {word}") };
            if !last && !line.is_empty() && width(&longer, size) > space {
                break;
            }
            line = longer;
            words.next();
        }
        lines.push(fit(&line, size, space));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_font_is_there_and_measures() {
        assert!(FONT.is_some());
        let latin = width("Platform", 10.0);
        assert!((40.0..60.0).contains(&latin), "{latin}");
        for text in ["Ωμέγα", "команда", "équipe"] {
            assert!(width(text, 10.0) < 10.0 * text.chars().count() as f64, "{text}");
        }
        assert_eq!(width("研究", 10.0), 20.0);
    }

    #[test]
    fn texts_are_shortened_to_their_space() {
        assert_eq!(fit("short", 10.0, 100.0), "short");
        let short = fit("a-very-long-workload-name-indeed", 10.0, 80.0);
        assert!(short.ends_with('…') && width(&short, 10.0) <= 80.0, "{short}");
        assert_eq!(fit("anything", 10.0, 5.0), "");
        assert_eq!(fit("a\u{7}b", 10.0, 99.0), "a b");
    }

    #[test]
    fn a_label_keeps_the_name_of_the_workload() {
        let team = "Recommendation and Personalisation";
        let label =
            |workload: &str| fit_label(&format!("{team}/{workload}"), workload, 10.0, 180.0);
        assert_eq!(fit_label("a/b", "b", 10.0, 180.0), "a/b");
        for workload in ["train", "serve"] {
            let shown = label(workload);
            assert!(
                shown.starts_with("Recommendation") && shown.ends_with(&format!("…/{workload}"))
            );
            assert!(width(&shown, 10.0) <= 180.0, "{shown}");
        }
        let long = label("a-workload-with-a-name-that-is-long-by-itself");
        assert!(long.starts_with("a-workload") && width(&long, 10.0) <= 180.0, "{long}");
    }

    #[test]
    fn long_texts_wrap() {
        let lines = wrap("one two three four five six", 10.0, 60.0, 2);
        assert_eq!(lines.len(), 2);
        assert!(lines[1].ends_with('…'), "{lines:?}");
        assert!(lines.iter().all(|l| width(l, 10.0) <= 60.0));
        assert!(wrap("", 10.0, 60.0, 3).is_empty());
    }
}
