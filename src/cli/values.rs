//! Values of flags that several commands read, with messages that say what is wrong.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::civil::Date;

/// A reader of whole numbers of this range.
pub(super) fn whole<T>(
    range: RangeInclusive<T>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: TryFrom<i128> + PartialOrd + Display + Clone + Send + Sync + 'static,
{
    move |text| {
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(format!("'{text}' is not a whole number"));
        }
        let number = text.parse::<i128>().ok().and_then(|number| T::try_from(number).ok());
        let less = number.as_ref().map_or(text.starts_with('-'), |n| n < range.start());
        number.filter(|number| range.contains(number)).ok_or_else(|| match less {
            true => format!("'{text}' is less than {}", range.start()),
            false => format!("'{text}' is more than {}", range.end()),
        })
    }
}

/// Reads a positive number of seconds.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    text.parse::<f64>()
        .ok()
        .filter(|s| *s > 0.0)
        .and_then(|s| Duration::try_from_secs_f64(s).ok())
        .ok_or_else(|| "not a positive number of seconds".to_string())
}

/// Reads a day.
pub(super) fn date(text: &str) -> Result<Date, String> {
    text.trim().parse().map_err(|_| format!("'{text}' is not a date; write 2026-06-01"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_and_wrong_ones_explained() {
        let read = whole(1..=1024_u16);
        assert_eq!((read("1"), read("1024")), (Ok(1), Ok(1024)));
        for (text, why) in [
            ("two", "'two' is not a whole number"),
            ("", "'' is not a whole number"),
            ("1.5", "'1.5' is not a whole number"),
            ("0", "'0' is less than 1"),
            ("-1", "'-1' is less than 1"),
            ("1025", "'1025' is more than 1024"),
            ("99999", "'99999' is more than 1024"),
        ] {
            assert_eq!(read(text), Err(why.to_string()));
        }
        let long = "9".repeat(60);
        assert!(whole(0..=u64::MAX)(&long).is_err_and(|why| why.contains("is more than")));
        assert!(date("2026-06-01").is_ok());
        let why = "'2026-13-01' is not a date; write 2026-06-01";
        assert_eq!(date("2026-13-01"), Err(why.to_string()));
    }
}
