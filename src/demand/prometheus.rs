//! Prometheus data in every form that it is exported in, handed on sample by sample.
//!
//! The form is recognised by content, never by a file's name: HTTP API JSON, promtool's bare
//! array, text exposition, `/federate`, OpenMetrics, `promtool tsdb dump`, each plain or gzip.
//! Nothing is kept: a reader calls its [`Sink`] as it goes. What a metric or a label means is not
//! known here.

mod json;
mod labels;
mod text;

use std::io::{self, BufRead, BufReader, Cursor, Read};

use flate2::read::MultiGzDecoder;

pub use labels::Labels;

use crate::error::{Diagnostic, Error, Result};
use crate::table::shorten;
use crate::text::not_plain;

/// Takes what a reader finds.
pub trait Sink {
    /// A series starts, or goes on after others; the samples that follow are its own. `false`: its
    /// samples are not wanted.
    fn series(&mut self, labels: &Labels) -> bool;

    /// A sample of the present series: milliseconds since 1970, if the form has them, and the value.
    fn sample(&mut self, at_ms: Option<i64>, value: f64);

    /// What follows was evaluated by the server, so all series have the same times; else each has
    /// those of its own scrapes.
    fn evaluated(&mut self) {}

    /// The samples that follow, of the present series, are of a range: evaluated at each step, and
    /// the step is the same for all series of the answer.
    fn range(&mut self) {}

    /// What a `# HELP`, `# TYPE` or `# UNIT` line says of a metric.
    fn about(&mut self, _metric: &str, _kind: About, _text: &str) {}
}

/// Which line of metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// `# HELP`: a sentence.
    Help,
    /// `# TYPE`: gauge, counter …
    Type,
    /// `# UNIT` of OpenMetrics.
    Unit,
}

/// How much of the start is looked at to recognise a form.
const HEAD_BYTES: u64 = 8 * 1024;

const HINT: &str = "give what /api/v1/query or /api/v1/query_range answers, 'promtool query … -o json' prints, a scrape of dcgm-exporter or /federate, or 'promtool tsdb dump'; plain or gzip";

/// Reads one input to its end. Returns the warnings that the server added to its answer.
///
/// # Errors
/// Not Prometheus data, broken, cut off, or a server's error message (exit 3). `file` is
/// the name for messages.
pub fn read<S: Sink>(input: impl Read, file: &str, sink: &mut S) -> Result<Vec<Diagnostic>> {
    read_layer(Box::new(input), file, sink, false)
}

fn read_layer<S: Sink>(
    mut input: Box<dyn Read + '_>,
    file: &str,
    sink: &mut S,
    unpacked: bool,
) -> Result<Vec<Diagnostic>> {
    let mut head = Vec::new();
    if let Err(e) = input.by_ref().take(HEAD_BYTES).read_to_end(&mut head) {
        return Err(Error::input(io_error(&e, unpacked).in_file(file)).hint(CUT_OFF));
    }
    if head.starts_with(b"\xEF\xBB\xBF") {
        head.drain(..3);
    }
    let form = recognise(&head);
    let whole = Cursor::new(head).chain(input);
    let problem = match form {
        Form::Gzip if !unpacked => {
            return read_layer(Box::new(MultiGzDecoder::new(whole)), file, sink, true);
        }
        Form::Json => return json::read(whole, file, sink, unpacked),
        Form::Text => {
            return text::read(BufReader::with_capacity(1 << 18, whole), file, sink, unpacked);
        }
        Form::Gzip => Diagnostic::new("is packed by gzip twice"),
        Form::Other(what) => Diagnostic::new(what),
    };
    Err(Error::input(problem.in_file(file)).hint(match form {
        Form::Other(HTML) => {
            "the server wants a login first, or the address is not Prometheus' own: query it with a token, or through 'kubectl port-forward'"
        }
        Form::Other(EMPTY) => "check the command that made it; curl -f fails instead of writing nothing",
        _ => HINT,
    }))
}

const CUT_OFF: &str = "the input is broken or cut off; fetch it again, for example with curl -f";

enum Form {
    Gzip,
    Json,
    Text,
    Other(&'static str),
}

const HTML: &str = "is an HTML page, not Prometheus data";
const EMPTY: &str = "is empty";

fn recognise(head: &[u8]) -> Form {
    if head.starts_with(b"\x1F\x8B") {
        return Form::Gzip;
    }
    if let Some(what) = not_plain(head) {
        return Form::Other(what);
    }
    let text = head.trim_ascii_start();
    match text.first() {
        None => Form::Other(EMPTY),
        Some(b'<') => Form::Other(HTML),
        Some(b'[') => Form::Json,
        Some(b'{') if starts_json_object(text) => Form::Json,
        _ if text.contains(&0) => Form::Other("is a binary file, not Prometheus data"),
        _ => Form::Text,
    }
}

/// Whether a text that starts with `{` goes on as JSON (`{"status":`) or as the labels of a
/// sample (`{A="x", …} 1`, `{"a.b", …} 1`).
fn starts_json_object(text: &[u8]) -> bool {
    let inner = text[1..].trim_ascii_start();
    match inner.first() {
        None => true,
        Some(b'}') => inner[1..].trim_ascii_start().is_empty(),
        Some(b'"') => {
            let mut escaped = false;
            let end = inner[1..].iter().position(|byte| {
                let ends = *byte == b'"' && !escaped;
                escaped = *byte == b'\\' && !escaped;
                ends
            });
            match end {
                Some(end) => {
                    matches!(inner[end + 2..].trim_ascii_start().first(), None | Some(b':'))
                }
                // A short text that ends within its first key is cut off; a long one is neither.
                None => (text.len() as u64) < HEAD_BYTES / 2,
            }
        }
        Some(_) => false,
    }
}

/// A failure to read, in words.
fn io_error(error: &io::Error, unpacked: bool) -> Diagnostic {
    Diagnostic::new(match error.kind() {
        io::ErrorKind::UnexpectedEof if unpacked => {
            "ends in the middle of its gzip data; was the download cut off?".to_string()
        }
        _ if unpacked => format!("cannot be unpacked: {error}"),
        io::ErrorKind::TimedOut => "the answer did not end in time".to_string(),
        _ => format!("cannot be read: {error}"),
    })
}

/// A value as Prometheus writes it: Go's `%g`, `NaN`, `+Inf`.
fn parse_value(text: &str) -> Option<f64> {
    // Most values are short whole numbers.
    if (1..=15).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()) {
        let digits = text.bytes().fold(0u64, |n, b| n * 10 + u64::from(b - b'0'));
        return Some(digits as f64);
    }
    text.parse().ok()
}

/// Seconds as milliseconds; `None` where no calendar goes.
fn seconds_to_ms(seconds: f64) -> Option<i64> {
    let ms = (seconds * 1000.0).round();
    (ms.abs() < 1e15).then_some(ms as i64)
}

/// A value short enough for a message, in quotes.
fn quoted(text: &str) -> String {
    format!("'{}'", shorten(text))
}

/// Reads one line into `line`, with its end. `false` at the end of the input.
fn next_line(input: &mut impl BufRead, line: &mut Vec<u8>, limit: u64) -> io::Result<bool> {
    line.clear();
    input.by_ref().take(limit).read_until(b'\n', line)?;
    Ok(!line.is_empty())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// Keeps everything, as `name{label="value"}` → (milliseconds, value).
    #[derive(Default)]
    pub(super) struct Everything(pub(super) Vec<(String, Option<i64>, f64)>, String);

    impl Sink for Everything {
        fn series(&mut self, labels: &Labels) -> bool {
            self.1 = labels.to_string();
            true
        }
        fn sample(&mut self, at_ms: Option<i64>, value: f64) {
            self.0.push((self.1.clone(), at_ms, value));
        }
    }

    fn all(input: &[u8]) -> Result<Vec<(String, Option<i64>, f64)>> {
        let mut everything = Everything::default();
        read(input, "f", &mut everything)?;
        Ok(everything.0)
    }

    #[test]
    fn forms_are_recognised_by_content() {
        let expected = vec![("m{a=\"x\"}".to_string(), Some(1_795_344_105_000), 5.0)];
        for text in [
            r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"m","a":"x"},"value":[1795344105,"5"]}]}}"#,
            r#" {"data":{"result":[{"values":[[1795344105,"5"]],"metric":{"__name__":"m","a":"x"}}],"resultType":"matrix"},"status":"success","infos":[]}"#,
            r#"[{"metric":{"a":"x","__name__":"m"},"value":[1795344105.000,"5"]}]"#,
            "m{a=\"x\"} 5 1795344105000\n",
            "m { a = \"x\" , } 5 1795344105.0\n# EOF\n",
            "{a=\"x\", __name__=\"m\"} 5 1795344105000",
            "{\"m\", a=\"x\"} 5e0 1795344105000",
            "\u{feff}# TYPE m gauge\r\nm{a=\"x\"} 5 1795344105000\r\n",
        ] {
            assert_eq!(all(text.as_bytes()).unwrap(), expected, "{text}");
            let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packed.write_all(text.as_bytes()).unwrap();
            assert_eq!(all(&packed.finish().unwrap()).unwrap(), expected, "gzip: {text}");
        }
    }

    #[test]
    fn what_is_no_prometheus_data_is_told_so() {
        for (input, part) in [
            (&b""[..], "f: is empty"),
            (b" \n \n", "f: is empty"),
            (b"<!DOCTYPE html><title>Log in</title>", "HTML page"),
            (b"\xff\xfe{\0", "UTF-16"),
            (b"\x28\xB5\x2F\xFDxx", "zstd"),
            (b"\x7fELF\0\0", "binary"),
            (b"\x1f\x8b\x08\0\0\0\0\0", "cut off"),
            (b"{", "ends in the middle"),
            (b"{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[{\"met", "ends in the middle"),
            (b"{\"a\":1}", "not an answer of a Prometheus server"),
            (b"{\"status\":\"success\",\"data\":[\"up\"]}", "not to a query"),
            (b"[1795344105.252,\"290730\"]", "single number"),
            (b"{\"status\":\"success\",\"data\":{\"resultType\":\"string\",\"result\":[1,\"hello\"]}}", "single"),
            (b"[3]", "f:1: "),
            (b"team,workload,memory\n", "f:1: "),
            (b"m{a=\"x} 1\n", "f:1: "),
            (b"# HELP m x\nm 1\nm{a=\"x\"} one\n", "f:3: "),
            (b"m{a=\"x\"} => 35001 @[1795344105.514]\n", "for people"),
        ] {
            let error = all(input).unwrap_err();
            assert!(error.to_string().contains(part), "{part}: {error}");
            assert!(error.hint.is_some(), "{error}");
        }
    }

    #[test]
    fn a_servers_error_is_its_own_words() {
        let error = all(
            b"{\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":\"parse error: unclosed\"}\nHTTP 400\n",
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "f: the server answered with bad_data: parse error: unclosed"
        );
    }

    #[test]
    fn answers_one_after_another_are_all_read() {
        let one = r#"[{"metric":{"__name__":"m"},"value":[1795344105,"5"]}]"#;
        assert_eq!(all(format!("{one}\n{one}\n").as_bytes()).unwrap().len(), 2);
        assert!(all(b"[]").unwrap().is_empty());
    }
}
