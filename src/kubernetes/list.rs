//! The JSON that kubectl prints, item by item: a list may have hundreds of thousands of objects, so
//! none is kept longer than its reader needs it.
//!
//! It serves fleet and demand alike, and knows nothing of either.

use std::fmt;
use std::io::{BufReader, Read};
use std::marker::PhantomData;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::Value;

use crate::error::{Diagnostic, Error, Result};
use crate::text::{first, plural};

/// An object of a list that says of what kind it is.
pub trait Item: DeserializeOwned {
    /// The kind that is wanted: `Node`.
    const KIND: &'static str;
    /// The command that prints such a list, for hints.
    const COMMAND: &'static str;
    /// The object's own kind; lists of the API leave it out.
    fn kind(&self) -> Option<&str>;
}

/// Calls `visit` with every object of the kind, in the order of the file. Takes a `List`, a typed
/// list (`NodeList`) or one object; a list of several kinds is fine.
///
/// # Errors
/// What is no such JSON (exit 3), and a list without any object of the kind.
pub fn for_each_item<T: Item>(input: impl Read, file: &str, visit: impl FnMut(T)) -> Result<()> {
    let mut list = List { visit, found: 0, others: 0, kind: PhantomData::<T> };
    let mut json = serde_json::Deserializer::from_reader(BufReader::with_capacity(1 << 16, input));
    let read = json.deserialize_map(&mut list).and_then(|()| json.end());
    let fail = |problem: Diagnostic| {
        Err(Error::input(problem.in_file(file)).hint(format!("make the file with: {}", T::COMMAND)))
    };
    if let Err(e) = read {
        if e.is_io() {
            return Err(Error::input(
                Diagnostic::new(format!("cannot be read: {e}")).in_file(file),
            ));
        }
        if e.is_eof() && e.line() <= 1 && e.column() == 0 {
            return fail(Diagnostic::new("is empty"));
        }
        let message = e.to_string();
        let message = message.split(" at line ").next().unwrap_or(&message);
        let line = u64::try_from(e.line()).unwrap_or(0);
        return fail(
            Diagnostic::new(format!("is not the JSON that kubectl prints: {message}"))
                .at_line(line),
        );
    }
    match (list.found, list.others) {
        (0, 0) => fail(Diagnostic::new(format!("has no {} in it", T::KIND))),
        (0, others) => fail(Diagnostic::new(format!(
            "has no {} in it, but {} of other kinds",
            T::KIND,
            plural(others, "object")
        ))),
        _ => Ok(()),
    }
}

struct List<T, F> {
    visit: F,
    found: u64,
    others: u64,
    kind: PhantomData<T>,
}

impl<T: Item, F: FnMut(T)> List<T, F> {
    fn take(&mut self, item: T) {
        if item.kind().is_none_or(|kind| kind == T::KIND) {
            self.found += 1;
            (self.visit)(item);
        } else {
            self.others += 1;
        }
    }
}

impl<'de, T: Item, F: FnMut(T)> Visitor<'de> for &mut List<T, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        let mut object = serde_json::Map::new();
        let mut is_list = false;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "items" => {
                    is_list = true;
                    map.next_value_seed(Items(&mut *self))?;
                }
                "kind" | "metadata" | "spec" | "status" => {
                    object.insert(key, map.next_value::<Value>()?);
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        if !is_list && object.contains_key("metadata") {
            let item = serde_json::from_value(Value::Object(object));
            self.take(item.map_err(serde::de::Error::custom)?);
        }
        Ok(())
    }
}

struct Items<'l, T, F>(&'l mut List<T, F>);

impl<'de, T: Item, F: FnMut(T)> DeserializeSeed<'de> for Items<'_, T, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> std::result::Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de, T: Item, F: FnMut(T)> Visitor<'de> for Items<'_, T, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> std::result::Result<(), A::Error> {
        while let Some(item) = items.next_element::<T>()? {
            self.0.take(item);
        }
        Ok(())
    }
}

/// A number of an extended resource, which Kubernetes writes as a text or a number; `None` where it
/// is no whole number.
pub fn count(quantity: &Value) -> Option<u64> {
    match quantity {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// Up to twenty names with the number of the rest, for a message.
pub fn names(names: &[String]) -> String {
    first(names, 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Thing {
        kind: Option<String>,
        metadata: Meta,
    }
    #[derive(serde::Deserialize)]
    struct Meta {
        name: String,
    }
    impl Item for Thing {
        const KIND: &'static str = "Thing";
        const COMMAND: &'static str = "kubectl get things -o json";
        fn kind(&self) -> Option<&str> {
            self.kind.as_deref()
        }
    }

    fn read(text: &str) -> std::result::Result<String, String> {
        let mut all = Vec::new();
        for_each_item(text.as_bytes(), "things.json", |thing: Thing| all.push(thing.metadata.name))
            .map(|()| all.join(" "))
            .map_err(|e| e.to_string())
    }

    #[test]
    fn lists_and_single_objects() {
        let a = r#"{"kind": "Thing", "metadata": {"name": "a"}, "x": [1, {"y": 2}]}"#;
        let b = r#"{"metadata": {"name": "b"}}"#;
        let other = r#"{"kind": "Other", "metadata": {"name": "c"}}"#;
        assert_eq!(
            read(&format!(r#"{{"items": [{a}, {other}, {b}], "kind": "List"}}"#)).unwrap(),
            "a b"
        );
        assert_eq!(read(a).unwrap(), "a");
        assert!(read(other).unwrap_err().contains("1 object of other kinds"));
        assert!(read(r#"{"items": []}"#).unwrap_err().contains("no Thing"));
    }

    #[test]
    fn what_is_not_a_list_is_reported_with_its_line() {
        assert_eq!(read("").unwrap_err(), "things.json: is empty");
        assert!(read("NAME   STATUS\n").unwrap_err().starts_with("things.json:1: is not the JSON"));
        assert!(read("[]").unwrap_err().contains("is not the JSON"));
        assert!(read("{\"items\":\n [{\"metadata\": 3}]}").unwrap_err().contains(":2:"));
        assert!(read("{\"items\": [{\"metadata\"").is_err());
        assert!(read("{\"items\": [{\"metadata\": {\"name\": \"a\"}}]} {}").is_err());
    }

    #[test]
    fn numbers_of_resources() {
        assert_eq!(count(&serde_json::json!("8")), Some(8));
        assert_eq!(count(&serde_json::json!(8)), Some(8));
        assert_eq!(count(&serde_json::json!("500m")), None);
    }
}
