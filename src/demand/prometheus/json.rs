//! Answers of Prometheus' HTTP API as JSON, and the bare `result` that promtool prints.
//!
//! Read as a stream: every point is handed on as it is met, so that an answer of any size needs
//! no more memory than its longest label set. Keys may come in any order.

use std::fmt;
use std::io::{self, BufReader, Read};

use serde::de::{
    self, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use super::{CUT_OFF, HINT, Labels, Sink, io_error, parse_value, quoted, seconds_to_ms};
use crate::error::{Diagnostic, Error, Result};

/// What an answer says beside its series.
#[derive(Default)]
struct Envelope {
    is_answer: bool,
    error_type: Option<String>,
    error: Option<String>,
    warnings: Vec<String>,
    histograms: u64,
}

pub(super) fn read<S: Sink>(
    input: impl Read,
    file: &str,
    sink: &mut S,
    unpacked: bool,
) -> Result<Vec<Diagnostic>> {
    let mut reader = Reader { sink, labels: Labels::default(), early: Vec::new() };
    let mut warnings = Vec::new();
    let mut json = serde_json::Deserializer::from_reader(BufReader::with_capacity(1 << 18, input));
    // Answers may follow each other, as when a script appends them to one file.
    loop {
        let mut envelope = Envelope::default();
        if let Err(e) =
            (Answer { reader: &mut reader, envelope: &mut envelope }).deserialize(&mut json)
        {
            return Err(broken(&e, file, unpacked));
        }
        if let Some(message) = envelope.error {
            let kind = envelope.error_type.map_or(String::new(), |kind| format!("{kind}: "));
            return Err(Error::input(
                Diagnostic::new(format!("the server answered with {kind}{message}")).in_file(file),
            )
            .hint("ask the server again with the query mended; try it on its /graph page first"));
        }
        if !envelope.is_answer {
            return Err(Error::input(
                Diagnostic::new("is JSON, but no answer of a Prometheus server").in_file(file),
            )
            .hint(HINT));
        }
        warnings.extend(
            envelope
                .warnings
                .into_iter()
                .map(|text| Diagnostic::new(format!("the server warned: {text}")).in_file(file)),
        );
        if envelope.histograms > 0 {
            warnings.push(
                Diagnostic::new(format!(
                    "{} histograms are no gauges and left out",
                    envelope.histograms
                ))
                .in_file(file),
            );
        }
        match json.end() {
            Ok(()) => return Ok(warnings),
            Err(e) if e.is_io() => return Err(broken(&e, file, unpacked)),
            Err(_) => {}
        }
    }
}

fn broken(error: &serde_json::Error, file: &str, unpacked: bool) -> Error {
    let line = u64::try_from(error.line()).unwrap_or(u64::MAX);
    let place = format!(" at line {} column {}", error.line(), error.column());
    let message = error.to_string();
    let message = message.strip_suffix(&place).unwrap_or(&message).to_string();
    let problem = if let Some(kind) = error.io_error_kind() {
        let problem = io_error(&io::Error::new(kind, message), unpacked).in_file(file);
        return Error::input(problem).hint(CUT_OFF);
    } else if error.is_eof() {
        Diagnostic::new(format!("ends in the middle, after column {}", error.column()))
    } else {
        Diagnostic::new(format!("{message} (column {})", error.column()))
    };
    Error::input(problem.in_file(file).at_line(line)).hint(if error.is_eof() {
        CUT_OFF
    } else {
        HINT
    })
}

struct Reader<'s, S> {
    sink: &'s mut S,
    labels: Labels,
    /// Points that came before their labels.
    early: Vec<(Option<i64>, f64)>,
}

/// The whole text: an envelope, or the result alone.
struct Answer<'r, 's, S> {
    reader: &'r mut Reader<'s, S>,
    envelope: &'r mut Envelope,
}

impl<'de, S: Sink> DeserializeSeed<'de> for Answer<'_, '_, S> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> std::result::Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de, S: Sink> Visitor<'de> for Answer<'_, '_, S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an answer of Prometheus")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> std::result::Result<(), A::Error> {
        self.envelope.is_answer = true;
        Series { reader: self.reader, envelope: self.envelope }.visit_seq(seq)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "data" => {
                    self.envelope.is_answer = true;
                    map.next_value_seed(Data { reader: self.reader, envelope: self.envelope })?;
                }
                // promtool's result, wrapped by hand; or the inside of the envelope alone.
                "result" => {
                    self.envelope.is_answer = true;
                    map.next_value_seed(Series { reader: self.reader, envelope: self.envelope })?;
                }
                "errorType" => self.envelope.error_type = map.next_value()?,
                "error" => self.envelope.error = map.next_value()?,
                "warnings" => {
                    let warnings: Option<Vec<String>> = map.next_value()?;
                    self.envelope.warnings = warnings.unwrap_or_default();
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// The value of `data`.
struct Data<'r, 's, S> {
    reader: &'r mut Reader<'s, S>,
    envelope: &'r mut Envelope,
}

impl<'de, S: Sink> DeserializeSeed<'de> for Data<'_, '_, S> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> std::result::Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de, S: Sink> Visitor<'de> for Data<'_, '_, S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the data of an answer")
    }

    // An error's answer may have "data": null.
    fn visit_unit<E: de::Error>(self) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> std::result::Result<(), A::Error> {
        Err(A::Error::custom("is an answer about labels or series, no answer to a query"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        let mut found = false;
        while let Some(key) = map.next_key::<String>()? {
            if key == "result" {
                found = true;
                map.next_value_seed(Series { reader: self.reader, envelope: self.envelope })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        if found { Ok(()) } else { Err(A::Error::custom("has data, but no answer to a query")) }
    }
}

/// The value of `result`: series, or the `[time, "value"]` of a scalar or string.
struct Series<'r, 's, S> {
    reader: &'r mut Reader<'s, S>,
    envelope: &'r mut Envelope,
}

impl<'de, S: Sink> DeserializeSeed<'de> for Series<'_, '_, S> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> std::result::Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de, S: Sink> Visitor<'de> for Series<'_, '_, S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of series")
    }

    // An empty result in some servers.
    fn visit_unit<E: de::Error>(self) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<(), A::Error> {
        while let Some(()) =
            seq.next_element_seed(OneSeries { reader: self.reader, envelope: self.envelope })?
        {
        }
        Ok(())
    }
}

/// One `{"metric": …, "value": …}`.
struct OneSeries<'r, 's, S> {
    reader: &'r mut Reader<'s, S>,
    envelope: &'r mut Envelope,
}

impl<'de, S: Sink> DeserializeSeed<'de> for OneSeries<'_, '_, S> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> std::result::Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

const SCALAR: &str =
    "the answer is a single number or text without labels; query the metric itself, not scalar(…)";

impl<'de, S: Sink> Visitor<'de> for OneSeries<'_, '_, S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a series with metric and value")
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> std::result::Result<(), E> {
        Err(E::custom(SCALAR))
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> std::result::Result<(), E> {
        Err(E::custom(SCALAR))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        let reader = self.reader;
        // Whether the samples are wanted, once the labels are known.
        let mut wanted: Option<bool> = None;
        reader.early.clear();
        while let Some(key) = map.next_key_seed(Key)? {
            match key {
                SeriesKey::Metric => {
                    map.next_value_seed(Metric(&mut reader.labels))?;
                    let is_wanted = reader.sink.series(&reader.labels);
                    wanted = Some(is_wanted);
                    for (at_ms, value) in reader.early.drain(..) {
                        if is_wanted {
                            reader.sink.sample(at_ms, value);
                        }
                    }
                }
                SeriesKey::Value | SeriesKey::Values if wanted == Some(false) => {
                    map.next_value::<IgnoredAny>()?;
                }
                SeriesKey::Value => {
                    let (at_ms, value) = map.next_value_seed(Point)?;
                    match wanted {
                        Some(_) => reader.sink.sample(at_ms, value),
                        None => reader.early.push((at_ms, value)),
                    }
                }
                SeriesKey::Values if wanted.is_some() => {
                    map.next_value_seed(Points(|at_ms, value| reader.sink.sample(at_ms, value)))?;
                }
                SeriesKey::Values => {
                    map.next_value_seed(Points(|at_ms, value| reader.early.push((at_ms, value))))?;
                }
                SeriesKey::Histogram => {
                    self.envelope.histograms += 1;
                    map.next_value::<IgnoredAny>()?;
                }
                SeriesKey::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        if wanted.is_none() {
            return Err(A::Error::missing_field("metric"));
        }
        Ok(())
    }
}

enum SeriesKey {
    Metric,
    Value,
    Values,
    Histogram,
    Other,
}

struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = SeriesKey;
    fn deserialize<D: Deserializer<'de>>(
        self,
        json: D,
    ) -> std::result::Result<SeriesKey, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = SeriesKey;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> std::result::Result<SeriesKey, E> {
        Ok(match key {
            "metric" => SeriesKey::Metric,
            "value" => SeriesKey::Value,
            "values" => SeriesKey::Values,
            "histogram" | "histograms" => SeriesKey::Histogram,
            _ => SeriesKey::Other,
        })
    }
}

/// The labels, written straight into the buffer that is used again.
struct Metric<'l>(&'l mut Labels);

impl<'de> DeserializeSeed<'de> for Metric<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> std::result::Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Metric<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of labels")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        self.0.clear();
        while let Some((label, value)) = map.next_entry::<String, String>()? {
            self.0.push(&label, &value);
        }
        Ok(())
    }
}

/// `[[time, "value"], …]`.
struct Points<F>(F);

impl<'de, F: FnMut(Option<i64>, f64)> DeserializeSeed<'de> for Points<F> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> std::result::Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(Option<i64>, f64)> Visitor<'de> for Points<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of [time, \"value\"]")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> std::result::Result<(), A::Error> {
        while let Some((at_ms, value)) = seq.next_element_seed(Point)? {
            (self.0)(at_ms, value);
        }
        Ok(())
    }
}

/// `[time, "value"]`.
struct Point;

impl<'de> DeserializeSeed<'de> for Point {
    type Value = (Option<i64>, f64);
    fn deserialize<D: Deserializer<'de>>(
        self,
        json: D,
    ) -> std::result::Result<Self::Value, D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Point {
    type Value = (Option<i64>, f64);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[time, \"value\"]")
    }

    fn visit_seq<A: SeqAccess<'de>>(
        self,
        mut seq: A,
    ) -> std::result::Result<Self::Value, A::Error> {
        let missing = || A::Error::custom("a point is not [time, \"value\"]");
        let at_ms = seq.next_element_seed(Time)?.ok_or_else(missing)?;
        let value = seq.next_element_seed(Value)?.ok_or_else(missing)?;
        if seq.next_element::<IgnoredAny>()?.is_some() {
            return Err(missing());
        }
        Ok((Some(at_ms), value))
    }
}

/// Seconds, whole or with decimals.
struct Time;

impl<'de> DeserializeSeed<'de> for Time {
    type Value = i64;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> std::result::Result<i64, D::Error> {
        json.deserialize_any(self)
    }
}

impl Visitor<'_> for Time {
    type Value = i64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time in seconds")
    }

    fn visit_u64<E: de::Error>(self, seconds: u64) -> std::result::Result<i64, E> {
        i64::try_from(seconds)
            .ok()
            .filter(|seconds| *seconds < 1_000_000_000_000)
            .map(|seconds| seconds * 1000)
            .ok_or_else(|| E::custom(format_args!("the time {seconds} is out of range")))
    }

    fn visit_i64<E: de::Error>(self, seconds: i64) -> std::result::Result<i64, E> {
        self.visit_f64(seconds as f64)
    }

    fn visit_f64<E: de::Error>(self, seconds: f64) -> std::result::Result<i64, E> {
        seconds_to_ms(seconds)
            .ok_or_else(|| E::custom(format_args!("the time {seconds} is out of range")))
    }
}

/// A number in quotes; a bare one is read as well.
struct Value;

impl<'de> DeserializeSeed<'de> for Value {
    type Value = f64;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> std::result::Result<f64, D::Error> {
        json.deserialize_any(self)
    }
}

impl Visitor<'_> for Value {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value in quotes")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<f64, E> {
        parse_value(text)
            .ok_or_else(|| E::custom(format_args!("the value {} is not a number", quoted(text))))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> std::result::Result<f64, E> {
        Ok(value as f64)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> std::result::Result<f64, E> {
        Ok(value as f64)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> std::result::Result<f64, E> {
        Ok(value)
    }
}
