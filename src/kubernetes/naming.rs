//! Names that the API server accepts, and how a name that it does not accept becomes one.
//!
//! It knows no object: whoever writes one says which of these its names must be.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, Result};

/// Whether a text can be the value of a Kubernetes label: 1 to 63 of `[A-Za-z0-9._-]`, a letter or
/// digit at both ends.
pub fn is_label_value(text: &str) -> bool {
    let alphanumeric = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && alphanumeric(bytes.first())
        && alphanumeric(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// Whether a text can name a Kubernetes object: a DNS subdomain of lower-case letters, digits, `-`
/// and `.`.
pub fn is_object_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_label)
}

/// Whether a text can name a namespace: a DNS label.
pub fn is_dns_label(text: &str) -> bool {
    let alphanumeric =
        |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && alphanumeric(bytes.first())
        && alphanumeric(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

/// Checks a name that a user gives to an object.
///
/// # Errors
/// A name that the API server does not accept (exit 2).
pub fn check_object_name(name: &str) -> Result<()> {
    if is_object_name(name) {
        return Ok(());
    }
    Err(Error::usage(format!("'{name}' is not a valid name of a Kubernetes object"))
        .hint("use lower-case letters, digits, '-' and '.'"))
}

/// Checks a namespace that a user names.
///
/// # Errors
/// A name that the API server does not accept (exit 2).
pub fn check_namespace(name: &str) -> Result<()> {
    if is_dns_label(name) {
        return Ok(());
    }
    Err(Error::usage(format!("'{name}' is not a valid Kubernetes namespace"))
        .hint("use at most 63 lower-case letters, digits and '-'"))
}

/// A text as a DNS label of at most `most` bytes: lower case, everything else a single `-`.
/// `fallback` stands in where nothing is left.
pub fn dns_label(text: &str, most: usize, fallback: &str) -> String {
    let mut label = String::new();
    for c in text.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_alphanumeric() {
            label.push(c);
        } else if !label.is_empty() && !label.ends_with('-') {
            label.push('-');
        }
    }
    label.truncate(most); // Only ASCII is in it.
    let label = label.trim_end_matches('-');
    if label.is_empty() { fallback.to_string() } else { label.to_string() }
}

/// A distinct DNS label for each distinct text. A text that is a label already keeps it; of texts
/// that come out alike the later ones get `-2`, `-3` …, in the order of the texts.
pub fn dns_labels<'t>(
    texts: impl IntoIterator<Item = &'t str>,
    fallback: &str,
) -> BTreeMap<&'t str, String> {
    const MOST: usize = 63;
    let texts: BTreeSet<&str> = texts.into_iter().collect();
    let mut taken: BTreeSet<String> =
        texts.iter().filter(|t| is_dns_label(t)).map(|t| (*t).to_string()).collect();
    let mut labels = BTreeMap::new();
    for text in texts {
        if is_dns_label(text) {
            labels.insert(text, text.to_string());
            continue;
        }
        let mut label = dns_label(text, MOST, fallback);
        let mut number = 1u64;
        while !taken.insert(label.clone()) {
            number += 1;
            let suffix = format!("-{number}");
            let stem = dns_label(text, MOST - suffix.len(), fallback);
            label = format!("{stem}{suffix}");
        }
        labels.insert(text, label);
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_labels_and_stay_distinct() {
        let labels = dns_labels(
            ["NLP & Search", "nlp-search", "nlp search", "団子", "餅", "a\"b: #c", "--x--"],
            "team",
        );
        let of = |text: &str| labels[text].as_str();
        assert_eq!(of("nlp-search"), "nlp-search");
        assert_eq!(of("NLP & Search"), "nlp-search-2");
        assert_eq!(of("nlp search"), "nlp-search-3");
        assert_eq!((of("団子"), of("餅")), ("team", "team-2"));
        assert_eq!((of("a\"b: #c"), of("--x--")), ("a-b-c", "x"));
        assert!(labels.values().all(|l| is_dns_label(l)));
        assert_eq!(labels.values().collect::<BTreeSet<_>>().len(), labels.len());
        let long = "x".repeat(70);
        let longer = "x".repeat(71);
        let labels = dns_labels([long.as_str(), longer.as_str()], "team");
        assert!(labels.values().all(|l| is_dns_label(l)), "{labels:?}");
        assert_eq!(labels[longer.as_str()].len(), 63);
    }
}
