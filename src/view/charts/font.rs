//! The embedded font: how wide a text is, and texts shortened to a width.
//!
//! DejaVu Sans 2.37 (see `data/fonts/`) has Latin, Greek, Cyrillic, Arabic, Hebrew and more. What
//! it lacks is counted as wide as the widest letters of the scripts that it lacks, so that a layout
//! also holds where a browser draws the text in another font.

use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, GlyphId};

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

/// Whether the font has no glyph for a character, so that a PNG shows a box in its place.
pub(super) fn lacks(c: char) -> bool {
    FONT.as_ref().is_none_or(|font| font.glyph_id(c) == GlyphId(0))
}

/// Advance of a character in em.
fn advance(c: char) -> f64 {
    let Some(font) = FONT.as_ref().filter(|_| !lacks(c)) else { return 1.0 };
    let id = font.glyph_id(c);
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

/// The name, or as much of its beginning and its end as fits `space` around an ellipsis: names that
/// begin alike often differ at their end. Empty where not even two letters would fit.
pub(super) fn fit_name(name: &str, size: f64, space: f64) -> String {
    let name = clean(name);
    if width(&name, size) <= space {
        return name;
    }
    let chars: Vec<char> = name.chars().collect();
    let mut left = space - width("…", size);
    // The name without the characters from `head` to before `tail`.
    let (mut head, mut tail) = (0, chars.len());
    while head < tail {
        let from_start = head <= chars.len() - tail;
        left -= advance(chars[if from_start { head } else { tail - 1 }]) * size;
        if left < 0.0 {
            break;
        }
        if from_start { head += 1 } else { tail -= 1 }
    }
    if head < 1 || tail == chars.len() {
        return String::new();
    }
    let part = |chars: &[char]| chars.iter().collect::<String>();
    format!("{}…{}", part(&chars[..head]).trim_end(), part(&chars[tail..]).trim_start())
}

/// The part of a label that its workload may take where neither name fits as a whole.
const OF_WORKLOAD: f64 = 0.6;

/// `team/workload` in `space`: where it is too long both are shortened, the workload less, so that
/// workloads of one team stay apart and so do those of one name. `workload` is what the label ends
/// with.
pub(super) fn fit_label(label: &str, workload: &str, size: f64, space: f64) -> String {
    if width(&clean(label), size) <= space {
        return clean(label);
    }
    let team = clean(label.strip_suffix(workload).unwrap_or_default().trim_end_matches('/'));
    let beside = space - width("/", size);
    let workload =
        fit_name(workload, size, (OF_WORKLOAD * beside).max(beside - width(&team, size)));
    match fit_name(&team, size, beside - width(&workload, size)) {
        team if team.is_empty() => workload,
        team => format!("{team}/{workload}"),
    }
}

/// Whether a line may not end between two words: a number stays with its unit, and a count with
/// what it counts.
fn belong_together(before: &str, word: &str) -> bool {
    const UNITS: [&str; 6] = ["MiB", "GiB", "TiB", "PiB", "%", "×"];
    before.ends_with('×')
        || before.ends_with(|c: char| c.is_ascii_digit())
            && UNITS.contains(&word.trim_end_matches(['.', ',', ';', ':', ')']))
}

/// The parts of a text after each of which a line may end.
fn parts(text: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for word in text.split(' ').filter(|w| !w.is_empty()) {
        match parts.last_mut().filter(|before| belong_together(before, word)) {
            Some(before) => *before = format!("{before} {word}"),
            None => parts.push(word.to_string()),
        }
    }
    parts
}

/// Breaks a text into at most `most` lines of `space`; what does not fit ends in an ellipsis.
pub(super) fn wrap(text: &str, size: f64, space: f64, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let parts = parts(&clean(text));
    let mut words = parts.iter().peekable();
    while words.peek().is_some() && lines.len() < most {
        let mut line = String::new();
        let last = lines.len() + 1 == most;
        while let Some(word) = words.peek() {
            let longer = if line.is_empty() { (*word).clone() } else { format!("{line} {word}") };
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
    fn a_shortened_name_keeps_its_beginning_and_its_end() {
        assert_eq!(fit_name("short", 10.0, 100.0), "short");
        assert_eq!(fit_name("anything", 10.0, 5.0), "");
        for last in ["one", "two"] {
            let name = fit_name(&format!("a-very-long-workload-name-{last}"), 10.0, 80.0);
            assert!(name.starts_with("a-very") && name.ends_with(last), "{name}");
            assert!(name.contains('…') && width(&name, 10.0) <= 80.0, "{name}");
        }
    }

    #[test]
    fn a_label_keeps_both_names() {
        let team = "Recommendation and Personalisation";
        let label =
            |workload: &str| fit_label(&format!("{team}/{workload}"), workload, 10.0, 180.0);
        assert_eq!(fit_label("a/b", "b", 10.0, 180.0), "a/b");
        for workload in ["train", "serve"] {
            let shown = label(workload);
            assert!(shown.starts_with("Recommend"), "{shown}");
            assert!(shown.contains('…') && shown.ends_with(&format!("tion/{workload}")), "{shown}");
            assert!(width(&shown, 10.0) <= 180.0, "{shown}");
        }
        let long = label("a-workload-with-a-name-that-is-long-by-itself");
        assert!(long.starts_with("Reco") && long.contains("/a-work"), "{long}");
        assert!(long.ends_with("itself") && width(&long, 10.0) <= 180.0, "{long}");
        // A short team leaves the workload all else.
        let long = "a-workload-with-a-name-that-is-long-by-itself";
        let shown = fit_label(&format!("ops/{long}"), long, 10.0, 180.0);
        assert!(shown.starts_with("ops/a-work") && width(&shown, 10.0) > 160.0, "{shown}");
    }

    #[test]
    fn long_texts_wrap() {
        let lines = wrap("one two three four five six", 10.0, 60.0, 2);
        assert_eq!(lines.len(), 2);
        assert!(lines[1].ends_with('…'), "{lines:?}");
        assert!(lines.iter().all(|l| width(l, 10.0) <= 60.0));
        assert!(wrap("", 10.0, 60.0, 3).is_empty());
        for space in 20..300 {
            let lines = wrap("on 1 × a30, (326.9 GiB) or 7 %.", 10.0, f64::from(space), 9);
            for whole in ["1 × a30,", "(326.9 GiB)", "7 %."] {
                let fits = width(whole, 10.0) <= f64::from(space);
                assert!(!fits || lines.iter().any(|l| l.contains(whole)), "{lines:?}");
            }
        }
    }
}
