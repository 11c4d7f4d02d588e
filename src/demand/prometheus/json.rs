//! Answers of Prometheus' HTTP API as JSON, the bare `result` that promtool prints, and the JSON
//! lines of VictoriaMetrics' `/api/v1/export`.
//!
//! Read as a stream: every point is handed on as it is met, so that an answer of any size needs
//! no more memory than its longest label set. Keys may come in any order. What a metric or a label
//! means is not known here.

mod scan;

use std::io::Read;

use self::scan::{Fault, Scan, Scanner, wrong};
use super::{CUT_OFF, HINT, Labels, Sink, io_error, parse_value, quoted, seconds_to_ms};
use crate::error::{Diagnostic, Error, Result};
use crate::text::plural;

/// What an answer says beside its series.
#[derive(Default)]
struct Envelope {
    is_answer: bool,
    error_type: Option<String>,
    error: Option<String>,
    warnings: Vec<String>,
    /// VictoriaMetrics' cluster says so where some of its storage did not answer.
    is_partial: bool,
    histograms: u64,
}

pub(super) fn read<S: Sink>(
    input: impl Read,
    file: &str,
    sink: &mut S,
    unpacked: bool,
) -> Result<Vec<Diagnostic>> {
    let mut scanner = Scanner::new(input);
    let mut reader = Reader { sink, labels: Labels::default(), series: Series::default() };
    let mut warnings = Vec::new();
    let mut histograms = 0;
    // Answers may follow each other, as when a script appends them to one file; each line of an
    // export is one.
    loop {
        let mut envelope = Envelope::default();
        if let Err(fault) = reader.answer(&mut scanner, &mut envelope) {
            return Err(broken(fault, &scanner, file, unpacked));
        }
        if let Some(message) = envelope.error {
            let kind = envelope.error_type.map_or(String::new(), |kind| format!("{kind}: "));
            return Err(Error::input(
                Diagnostic::new(format!("the server answered with {kind}{message}")).in_file(file),
            )
            .hint("correct the query and ask again; try it on the server's /graph page first"));
        }
        if !envelope.is_answer {
            return Err(Error::input(
                Diagnostic::new("is JSON, but not an answer of a Prometheus server").in_file(file),
            )
            .hint(HINT));
        }
        warnings.extend(
            envelope
                .warnings
                .into_iter()
                .map(|text| Diagnostic::new(format!("the server warned: {text}")).in_file(file)),
        );
        if envelope.is_partial {
            let message = "the server warned: its answer is partial, since a part of its storage did not answer (isPartial); what is missing is no demand here";
            warnings.push(Diagnostic::new(message).in_file(file));
        }
        histograms += envelope.histograms;
        match scanner.is_at_end() {
            Ok(false) => {}
            Ok(true) => break,
            Err(fault) => return Err(broken(fault, &scanner, file, unpacked)),
        }
    }
    if histograms > 0 {
        let message = format!("{} not used: only gauges are read", plural(histograms, "histogram"));
        warnings.push(Diagnostic::new(message).in_file(file));
    }
    Ok(warnings)
}

fn broken<R: Read>(fault: Fault, scanner: &Scanner<R>, file: &str, unpacked: bool) -> Error {
    let (line, column) = scanner.place();
    let (problem, hint) = match fault {
        Fault::Read(error) => {
            return Error::input(io_error(&error, unpacked).in_file(file)).hint(CUT_OFF);
        }
        Fault::End => {
            (Diagnostic::new(format!("ends in the middle, after column {column}")), CUT_OFF)
        }
        Fault::Wrong(message) => (Diagnostic::new(format!("{message} (column {column})")), HINT),
    };
    Error::input(problem.in_file(file).at_line(line)).hint(hint)
}

const SCALAR: &str =
    "the answer is a single number or text without labels; query the metric itself, not scalar(…)";

/// One series as far as its object is read.
#[derive(Default)]
struct Series {
    /// Whether the samples are wanted, once the labels are known.
    wanted: Option<bool>,
    /// Points that came before their labels.
    early: Vec<(i64, f64)>,
    /// Whether those are of a range.
    early_range: bool,
    /// Values and times that stand apart, as in an export.
    values: Vec<f64>,
    times_ms: Vec<i64>,
}

impl Series {
    fn clear(&mut self) {
        self.wanted = None;
        self.early.clear();
        self.early_range = false;
        self.values.clear();
        self.times_ms.clear();
    }
}

struct Reader<'s, S> {
    sink: &'s mut S,
    labels: Labels,
    series: Series,
}

impl<S: Sink> Reader<'_, S> {
    /// The whole text of one answer: an envelope, the result alone, or a line of an export.
    fn answer<R: Read>(&mut self, json: &mut Scanner<R>, envelope: &mut Envelope) -> Scan<()> {
        if json.peek_some()? == b'[' {
            return self.result(json, envelope);
        }
        self.series.clear();
        let mut is_export = false;
        json.object(|json, key| {
            match key {
                "data" => {
                    envelope.is_answer = true;
                    self.data(json, envelope)
                }
                // promtool's result, wrapped by hand; or the inside of the envelope alone.
                "result" => self.result(json, envelope),
                "errorType" => optional_text(json).map(|text| envelope.error_type = text),
                "error" => optional_text(json).map(|text| envelope.error = text),
                "isPartial" if matches!(json.peek_some()?, b't' | b'f') => {
                    json.scalar().map(|text| envelope.is_partial |= text == "true")
                }
                "warnings" => {
                    if json.peek_some()? != b'[' {
                        return json.skip();
                    }
                    json.list(|json| {
                        envelope.warnings.push(json.string()?.to_string());
                        Ok(())
                    })
                }
                _ => {
                    is_export |= key == "metric";
                    self.member(json, key, envelope)
                }
            }
        })?;
        if is_export {
            envelope.is_answer = true;
            self.end_of_series()?;
        }
        Ok(())
    }

    /// The value of `data`.
    fn data<R: Read>(&mut self, json: &mut Scanner<R>, envelope: &mut Envelope) -> Scan<()> {
        match json.peek_some()? {
            b'{' => {}
            b'[' => return wrong("is an answer about labels or series, not to a query"),
            // An error's answer may have "data": null.
            _ => return json.skip(),
        }
        let mut found = false;
        json.object(|json, key| {
            if key != "result" {
                return json.skip();
            }
            found = true;
            self.result(json, envelope)
        })?;
        if found { Ok(()) } else { wrong("has data, but not the answer to a query") }
    }

    /// The value of `result`: series, or the `[time, "value"]` of a scalar or string.
    fn result<R: Read>(&mut self, json: &mut Scanner<R>, envelope: &mut Envelope) -> Scan<()> {
        envelope.is_answer = true;
        self.sink.evaluated();
        if json.peek_some()? != b'[' {
            // An empty result in some servers.
            return match json.scalar()? {
                "null" => Ok(()),
                text => wrong(format!("expected a list of series, but found {}", quoted(text))),
            };
        }
        json.list(|json| {
            match json.peek_some()? {
                b'{' => {}
                b'-' | b'0'..=b'9' => return wrong(SCALAR),
                _ => return wrong("expected a series with metric and value"),
            }
            self.series.clear();
            json.object(|json, key| self.member(json, key, envelope))?;
            self.end_of_series()
        })
    }

    /// One member of `{"metric": …, "value": …}`.
    fn member<R: Read>(
        &mut self,
        json: &mut Scanner<R>,
        key: &str,
        envelope: &mut Envelope,
    ) -> Scan<()> {
        let Reader { sink, labels, series } = self;
        match key {
            "metric" => {
                labels.clear();
                json.object(|json, label| {
                    labels.push(label, json.string()?);
                    Ok(())
                })?;
                let wanted = sink.series(labels);
                series.wanted = Some(wanted);
                if wanted && series.early_range {
                    sink.range();
                }
                for (at_ms, value) in series.early.drain(..) {
                    if wanted {
                        sink.sample(Some(at_ms), value);
                    }
                }
                Ok(())
            }
            "value" | "values" | "timestamps" if series.wanted == Some(false) => json.skip(),
            "value" => {
                let (at_ms, value) = json.point()?;
                match series.wanted {
                    Some(_) => sink.sample(Some(at_ms), value),
                    None => series.early.push((at_ms, value)),
                }
                Ok(())
            }
            "values" if json.list_holds(b'[')? => match series.wanted {
                Some(_) => {
                    sink.range();
                    json.points(|at_ms, value| sink.sample(Some(at_ms), value))
                }
                None => {
                    series.early_range = true;
                    json.points(|at_ms, value| series.early.push((at_ms, value)))
                }
            },
            "values" => json.list(|json| {
                series.values.push(json.value()?);
                Ok(())
            }),
            "timestamps" => json.list(|json| {
                let text = json.scalar()?;
                let time = text.parse::<i64>().ok().filter(|ms| ms.unsigned_abs() < 1 << 50);
                let Some(ms) = time else {
                    return wrong(format!("the time {} is out of range", quoted(text)));
                };
                series.times_ms.push(ms);
                Ok(())
            }),
            "histogram" | "histograms" => {
                envelope.histograms += 1;
                json.skip()
            }
            _ => json.skip(),
        }
    }

    /// Hands on what had to wait for the end of a series.
    fn end_of_series(&mut self) -> Scan<()> {
        let Series { wanted, values, times_ms, .. } = &mut self.series;
        match wanted {
            None => wrong("a series has no 'metric'"),
            Some(false) => Ok(()),
            Some(true) if values.len() != times_ms.len() => wrong(format!(
                "a series has {} but {}",
                plural(values.len() as u64, "value"),
                plural(times_ms.len() as u64, "timestamp")
            )),
            Some(true) => {
                for (at_ms, value) in times_ms.drain(..).zip(values.drain(..)) {
                    self.sink.sample(Some(at_ms), value);
                }
                Ok(())
            }
        }
    }
}

/// A string, or nothing for `null`.
fn optional_text<R: Read>(json: &mut Scanner<R>) -> Scan<Option<String>> {
    if json.peek_some()? != b'"' {
        json.skip()?;
        return Ok(None);
    }
    Ok(Some(json.string()?.to_string()))
}
