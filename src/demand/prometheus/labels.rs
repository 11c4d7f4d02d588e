//! The name and labels of one series, in one buffer that is used again for the next.

use std::fmt;
use std::ops::Range;

/// A series' name and labels. Prometheus holds an empty label and none for the same, so
/// [`Labels::get`] does too.
#[derive(Debug, Clone, Default)]
pub struct Labels {
    text: String,
    name: Range<usize>,
    pairs: Vec<(Range<usize>, Range<usize>)>,
}

impl Labels {
    /// Forgets everything, keeps the buffer.
    pub fn clear(&mut self) {
        self.text.clear();
        self.name = 0..0;
        self.pairs.clear();
    }

    /// Adds a label; `__name__` is the name.
    pub fn push(&mut self, label: &str, value: &str) {
        if label == "__name__" {
            return self.set_name(value);
        }
        let label = self.add(label);
        let value = self.add(value);
        self.pairs.push((label, value));
    }

    /// Sets the metric's name.
    pub fn set_name(&mut self, name: &str) {
        self.name = self.add(name);
    }

    fn add(&mut self, text: &str) -> Range<usize> {
        let start = self.text.len();
        self.text.push_str(text);
        start..self.text.len()
    }

    /// The metric's name; `None` after a function or an aggregation.
    pub fn name(&self) -> Option<&str> {
        Some(&self.text[self.name.clone()]).filter(|name| !name.is_empty())
    }

    /// The value of a label; `None` where it is absent or empty.
    pub fn get(&self, label: &str) -> Option<&str> {
        self.pairs
            .iter()
            .find(|(name, value)| !value.is_empty() && &self.text[name.clone()] == label)
            .map(|(_, value)| &self.text[value.clone()])
    }

    /// The first of these labels that has a value.
    pub fn first_of(&self, labels: &[&str]) -> Option<&str> {
        labels.iter().find_map(|label| self.get(label))
    }

    /// The labels that have a value, in the order read.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.pairs().map(|(label, _)| label)
    }

    /// The labels that have a value, with it, in the order read.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let given = self.pairs.iter().filter(|(_, value)| !value.is_empty());
        given.map(|(label, value)| (&self.text[label.clone()], &self.text[value.clone()]))
    }

    /// Name, labels and values in one text: equal for the lines of one series in a row.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether any of these labels has a value.
    pub fn has_any(&self, labels: &[&str]) -> bool {
        self.first_of(labels).is_some()
    }
}

impl fmt::Display for Labels {
    /// As in an exposition, in the order read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text[self.name.clone()])?;
        f.write_str("{")?;
        for (i, (label, value)) in self.pairs.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            write!(f, "{comma}{}={:?}", &self.text[label.clone()], &self.text[value.clone()])?;
        }
        f.write_str("}")
    }
}
