//! Text as a POSIX shell takes it: what a user named goes through here before it stands in a
//! script.

/// A text as one word of a POSIX shell.
pub(crate) fn word(text: &str) -> String {
    let plain = !text.is_empty()
        && text.bytes().all(|b| {
            b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/' | b':' | b',' | b'=')
        });
    if plain { text.to_string() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_shell() {
        assert_eq!(word("gpu-1.a"), "gpu-1.a");
        assert_eq!(word("a b'c$(x)"), "'a b'\\''c$(x)'");
        assert_eq!(word(""), "''");
    }
}
