//! YAML as a tree that remembers lines and keeps duplicate keys, so that every problem of a file
//! can be reported at once, with its line. Knows YAML, nothing of MIG.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Spanned};

use crate::error::{Diagnostic, Error, Result};
use crate::table::shorten;

/// A value and the line on which it is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// From 1.
    pub(super) line: u64,
    pub(super) value: Value,
}

/// What YAML's core schema makes of a plain scalar, or a collection.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    /// In the order of the file, equal keys included.
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// The value as a message quotes it.
    pub(super) fn describe(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_string(),
            Value::Bool(b) => b.to_string(),
            Value::Integer(i) => i.to_string(),
            Value::Float(f) => f.to_string(),
            Value::Text(t) => format!("'{}'", shorten(t)),
            Value::List(_) => "a list".to_string(),
            Value::Map(_) => "a mapping".to_string(),
        }
    }
}

/// More nodes than a file for any real fleet has, and a bound on memory.
const MAX_NODES: usize = 20_000_000;

/// Deeper than any configuration is nested; each level takes stack, of which a thread has 2 MiB.
const MAX_DEPTH: usize = 20;

/// How the library's messages for programmers begin, and what they mean to whoever wrote the file.
const KNOWN_ERRORS: [(&str, &str); 4] = [
    ("budget breached", "is too large or too deeply nested for a configuration"),
    ("recursion limit", "is too large or too deeply nested for a configuration"),
    ("multiple YAML documents", "has several YAML documents; a configuration is one, without ---"),
    ("recursive references", "has an alias that stands for itself"),
];

/// Reads one YAML (or JSON) document; an empty text is null.
///
/// # Errors
/// Not YAML, or with several documents (exit 3), with the line.
pub(super) fn parse(text: &str, file: &str) -> Result<Node> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        budget: serde_saphyr::budget! {
            max_nodes: MAX_NODES,
            max_events: 2 * MAX_NODES,
            max_depth: MAX_DEPTH,
        },
    };
    match serde_saphyr::from_str_with_options::<Option<Spanned<Value>>>(text, options) {
        Ok(Some(root)) => Ok(node(root)),
        Ok(None) => Ok(Node { line: 1, value: Value::Null }),
        Err(e) => {
            let line = e.location().map(|l| l.line());
            let message = e.without_snippet().to_string();
            // The library repeats the place in its own words; ours is in front.
            let message = message.lines().next().unwrap_or_default();
            let message = message.split(" at line ").next().unwrap_or(message);
            let said = KNOWN_ERRORS.iter().find(|(of_library, _)| message.starts_with(of_library));
            let said = said.map(|(_, said)| said.to_string());
            let said = said.unwrap_or_else(|| format!("is not YAML: {}", shorten(message)));
            let mut problem = Diagnostic::new(said).in_file(file);
            if let Some(line) = line.filter(|l| *l > 0) {
                problem = problem.at_line(line);
            }
            Err(Error::input(problem))
        }
    }
}

fn node(spanned: Spanned<Value>) -> Node {
    Node { line: spanned.referenced.line().max(1), value: spanned.value }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: de::Deserializer<'de>>(
        deserializer: D,
    ) -> std::result::Result<Value, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: de::Error>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: de::Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> std::result::Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> std::result::Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> std::result::Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> std::result::Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> std::result::Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u128<E: de::Error>(self, value: u128) -> std::result::Result<Value, E> {
        Ok(Value::Integer(i128::try_from(value).unwrap_or(i128::MAX)))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> std::result::Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> std::result::Result<Value, E> {
        Ok(Value::Text(value.to_string()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = seq.next_element::<Spanned<Value>>()? {
            list.push(node(item));
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<Value>>()? {
            entries.push((node(key), node(map.next_value::<Spanned<Value>>()?)));
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_types_and_duplicates_survive() {
        let root = parse("a: 1\nb:\n  - \"0x20B010DE\"\n  - 0x20B010DE\na: yes\n", "f").unwrap();
        let Value::Map(entries) = root.value else { panic!("{root:?}") };
        assert_eq!(entries.len(), 3);
        assert_eq!(entries[2].0.line, 5);
        assert_eq!(entries[2].1.value, Value::Bool(true));
        let Value::List(list) = &entries[1].1.value else { panic!() };
        assert_eq!(list[0].value, Value::Text("0x20B010DE".into()));
        assert_eq!(list[0].line, 3);
        assert_eq!(list[1].value, Value::Integer(0x20B0_10DE));
    }

    #[test]
    fn what_is_not_yaml_is_told_with_its_line() {
        let error = parse("a: 1\nb: }\n", "f.yaml").unwrap_err();
        assert!(error.to_string().starts_with("f.yaml:2: is not YAML"), "{error}");
        assert!(parse("a: 1\n---\nb: 2\n", "f.yaml").is_err());
        for endless in ["[".repeat(100_000), "- ".repeat(100_000), "a".repeat(100_000_000)] {
            let error = parse(&endless, "f.yaml").unwrap_err().to_string();
            assert!(error.contains("too large or too deeply nested"), "{error:.200}");
        }
        assert_eq!(parse("", "f").unwrap().value, Value::Null);
        assert_eq!(parse("# only a comment\n", "f").unwrap().value, Value::Null);
    }
}
