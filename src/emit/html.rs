//! Text as HTML takes it. Knows nothing of what is written.

/// A text, character by character, for elements and for quoted attributes.
pub(crate) fn escaped(text: impl IntoIterator<Item = char>) -> String {
    let mut escaped = String::new();
    for c in text {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}
