//! Text files with gaps, `@NAME@`, that are filled once: what goes into a gap is not read again.

/// Fills the gaps of a template. A gap that `values` lacks stays as it is.
pub(super) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(start) = rest.find('@') {
        let (before, from) = rest.split_at(start);
        text.push_str(before);
        let gap = from[1..].find('@').map(|end| &from[1..=end]);
        match gap.and_then(|name| values.iter().find(|(key, _)| *key == name)) {
            Some((key, value)) => {
                text.push_str(value);
                rest = &from[key.len() + 2..];
            }
            None => {
                text.push('@');
                rest = &from[1..];
            }
        }
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_filled_once() {
        let values = [("A", "1"), ("B", "@A@")];
        assert_eq!(fill("x @A@@B@ @C@ a@b @A@", &values), "x 1@A@ @C@ a@b 1");
        assert_eq!(fill("@", &values), "@");
        assert_eq!(fill("", &values), "");
    }
}
