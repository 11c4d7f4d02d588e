//! Numbers and nouns as English writes them. Knows nothing of what they count.

/// `1 GPU`, `2 GPUs`: a count with its noun, the plural by an added `s`.
pub fn plural(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", thousands(count), if count == 1 { "" } else { "s" })
}

/// The letter of a configuration of a schedule in labels, notes and pictures, by its place.
pub fn letter(configuration: usize) -> char {
    char::from(b'a' + u8::try_from(configuration % 26).unwrap_or(0))
}

/// A whole number with commas between thousands.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A plain decimal number with commas between its thousands: `2000001.5` is `2,000,001.5`.
pub fn grouped(decimal: &str) -> String {
    let (whole, part) = decimal.split_once('.').unwrap_or((decimal, ""));
    match whole.parse() {
        Ok(number) if part.is_empty() => thousands(number),
        Ok(number) => format!("{}.{part}", thousands(number)),
        Err(_) => decimal.to_string(),
    }
}

/// The first few of many names, and how many more there are.
pub fn some(names: &[String]) -> String {
    first(names, 5)
}

/// What a file is that is no plain text in UTF-8, as its first bytes tell: a clause to follow the
/// file's name, with what to do.
pub fn not_plain(head: &[u8]) -> Option<&'static str> {
    const MAGIC: [(&[u8], &str); 7] = [
        (b"\xFF\xFE", "is UTF-16, as PowerShell's > writes it; save it in UTF-8"),
        (b"\xFE\xFF", "is UTF-16; save it in UTF-8"),
        (b"\x1F\x8B", "is packed by gzip; unpack it first (gunzip)"),
        (b"\x28\xB5\x2F\xFD", "is packed by zstd; unpack it first (zstd -d)"),
        (b"BZh", "is packed by bzip2; unpack it first (bunzip2)"),
        (b"\xFD7zXZ", "is packed by xz; unpack it first (unxz)"),
        (b"PK\x03\x04", "is a zip archive; unpack it first (unzip)"),
    ];
    MAGIC.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, what)| *what)
}

/// The first of many names, `most` at most, and how many more there are.
pub fn first(names: &[String], most: usize) -> String {
    let shown: Vec<&str> = names.iter().take(most).map(String::as_str).collect();
    match names.len().saturating_sub(most) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// `88.1 %`, rounded down; `100 %` only where nothing is missing.
pub fn share(part: u128, whole: u128) -> String {
    if whole == 0 {
        return "-".to_string();
    }
    let tenths = part * 1000 / whole;
    match tenths {
        1000 => "100 %".to_string(),
        0 if part > 0 => "< 0.1 %".to_string(),
        _ => format!("{}.{} %", tenths / 10, tenths % 10),
    }
}

/// `40 %`, rounded; `100 %` only where nothing is missing, `0 %` only where nothing is there.
pub fn percent(part: u64, whole: u64) -> String {
    let (part, whole) = (u128::from(part.min(whole)), u128::from(whole.max(1)));
    match (200 * part + whole) / (2 * whole) {
        0 if part > 0 => "< 1 %".to_string(),
        100 if part < whole => "> 99 %".to_string(),
        percent => format!("{percent} %"),
    }
}

/// From which likeness on a name may be meant by another, as the Jaro-Winkler similarity.
const MEANT: f64 = 0.8;

/// From which length on one wrong letter, or two letters in the wrong order, leave a name known.
const KNOWN_LENGTH: usize = 3;

/// How much `name` is like `known`, at most 1; `None` where it is not meant by it.
pub fn likeness(known: &str, name: &str) -> Option<f64> {
    let likeness = strsim::jaro_winkler(known, name);
    // Of short names that measure says little.
    let slip = || known.chars().count() >= KNOWN_LENGTH && strsim::osa_distance(known, name) <= 1;
    (likeness > MEANT || slip()).then_some(likeness)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(plural(1, "GPU"), "1 GPU");
        assert_eq!(plural(12_500, "node"), "12,500 nodes");
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(grouped("2000001.5001"), "2,000,001.5001");
        assert_eq!((grouped("1234"), grouped("0.000001")), ("1,234".into(), "0.000001".into()));
        assert_eq!(share(1_037, 1_041), "99.6 %");
        assert_eq!(
            (share(7, 7), share(1, 5_000), share(0, 0)),
            ("100 %".into(), "< 0.1 %".into(), "-".into())
        );
        for (part, whole, text) in [
            (2, 5, "40 %"),
            (1, 3, "33 %"),
            (2, 3, "67 %"),
            (7, 7, "100 %"),
            (999, 1_000, "> 99 %"),
            (1, 1_000, "< 1 %"),
            (0, 3, "0 %"),
            (0, 0, "0 %"),
        ] {
            assert_eq!(percent(part, whole), text, "{part} of {whole}");
        }
    }

    #[test]
    fn a_name_is_meant_by_one_that_is_like_it() {
        assert!(likeness("research", "resaerch").is_some());
        assert!(likeness("nlp", "npl").is_some());
        assert!(likeness("hr", "pr").is_none());
        assert!(likeness("research", "zzzzz").is_none());
        assert!(likeness("data-platform", "nlp").is_none());
    }
}
