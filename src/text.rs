//! Numbers and nouns as English writes them. Knows nothing of what they count.

/// `1 GPU`, `2 GPUs`: a count with its noun, the plural by an added `s`.
pub fn plural(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", thousands(count), if count == 1 { "" } else { "s" })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(plural(1, "GPU"), "1 GPU");
        assert_eq!(plural(12_500, "node"), "12,500 nodes");
        assert_eq!(thousands(1_234_567), "1,234,567");
    }
}
