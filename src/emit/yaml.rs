//! Text as YAML takes it. The kinds write their own lines, since people read and edit them; what
//! a user named goes through here.

use std::fmt::Write;

/// A text as a YAML scalar: plain where no reader can take it for anything but this string,
/// double-quoted otherwise.
pub(super) fn scalar(text: &str) -> String {
    if is_plain(text) { text.to_string() } else { quoted(text) }
}

/// A text in double quotes.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if is_unprintable(c) => {
                // Every such character lies in the basic plane.
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A text as one comment line without the `#`: what would end the line or upset a reader becomes
/// a space.
pub(super) fn comment(text: &str) -> String {
    text.chars().map(|c| if is_unprintable(c) { ' ' } else { c }).collect()
}

/// Characters that YAML does not allow raw, and those that some versions of it take for a line
/// break.
fn is_unprintable(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

fn is_plain(text: &str) -> bool {
    // Words that YAML 1.1 reads as truth values or nothing.
    const WORDS: [&str; 10] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "none"];
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/'))
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_be_misread_stays_plain() {
        assert_eq!(scalar("all-1g.10gb"), "all-1g.10gb");
        for text in ["yes", "No", "1", "1e3", "0x10", "~", "", "-a", "a: b", "a #b", "ü", "null"] {
            assert_eq!(scalar(text), format!("\"{text}\""));
        }
        assert_eq!(scalar("a\"\\\u{2028}\u{7f}"), "\"a\\\"\\\\\\u2028\\u007F\"");
        assert_eq!(comment("a\nb\u{85}c\u{2028}d"), "a b c d");
    }

    #[test]
    fn a_second_reader_gets_the_same_text() {
        for text in [
            "yes",
            "- a",
            "a: b # c",
            "'",
            "\"\\\t",
            "団子 🍡",
            "a\u{2028}b\u{feff}",
            "",
            " x ",
            "1.0",
        ] {
            let read: String = serde_saphyr::from_str(&format!("{}\n", scalar(text))).unwrap();
            assert_eq!(read, text);
        }
    }
}
