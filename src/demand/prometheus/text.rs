//! Samples written one per line: text exposition, `/federate`, OpenMetrics, `promtool tsdb dump`.
//!
//! The forms differ in where the name is, in the escapes of label values and in the unit of a
//! timestamp; every line tells these by itself, so mixed and joined files read as well. Written by
//! hand because the crates for it misread real files: labels with `,` or `}`, a space after the
//! comma, timestamps, label sets that differ within a metric, as every mixed MIG scrape has them.

use std::io::BufRead;

use super::{About, HINT, Labels, Sink, io_error, next_line, parse_value, quoted, seconds_to_ms};
use crate::error::{Diagnostic, Error, Result};

/// No sample is longer.
const LINE_BYTES: u64 = 1 << 20;
/// Reading stops after this many wrong lines: it is another kind of file.
const MAX_PROBLEMS: usize = 20;

pub(super) fn read<S: Sink>(
    mut input: impl BufRead,
    file: &str,
    sink: &mut S,
    unpacked: bool,
) -> Result<Vec<Diagnostic>> {
    let mut reader = Lines::default();
    let mut line = Vec::new();
    let mut problems: Vec<Diagnostic> = Vec::new();
    let mut hint = HINT;
    for number in 1.. {
        match next_line(&mut input, &mut line, LINE_BYTES) {
            Ok(false) => break,
            Err(e) => {
                problems.push(io_error(&e, unpacked).at_line(number));
                break;
            }
            Ok(true) if line.len() as u64 == LINE_BYTES => {
                problems.push(
                    Diagnostic::new("a line is longer than 1 MiB; this is not Prometheus data")
                        .at_line(number),
                );
                break;
            }
            Ok(true) => {}
        }
        let first = number == 1;
        let found = match std::str::from_utf8(&line) {
            Ok(text) => reader.line(text, sink),
            Err(_) => Err("is not UTF-8".into()),
        };
        if let Err(message) = found {
            if message.contains("=> ") {
                hint = "print it as JSON: promtool query range -o json …";
            } else if first && line.contains(&b',') && !line.contains(&b'{') {
                hint = "a table of workloads goes to --workloads; --prometheus reads what Prometheus and dcgm-exporter write";
            } else if !line.ends_with(b"\n") {
                hint = "the last line is cut off; was the download interrupted?";
            }
            problems.push(Diagnostic::new(message).at_line(number));
            if problems.len() == MAX_PROBLEMS {
                problems.push(Diagnostic::new("has more problems; reading stopped here"));
                break;
            }
        }
    }
    if problems.is_empty() {
        return Ok(Vec::new());
    }
    Err(Error::inputs(problems.into_iter().map(|p| p.in_file(file)).collect()).hint(hint))
}

/// What one line may use from the line before.
#[derive(Default)]
struct Lines {
    labels: Labels,
    value: String,
    /// The name and labels of the line before as they were written; a dump repeats them for every
    /// sample, and to compare is cheaper than to parse.
    before: String,
    wanted: bool,
}

impl Lines {
    fn line<S: Sink>(&mut self, line: &str, sink: &mut S) -> std::result::Result<(), String> {
        let line = line.trim();
        if line.is_empty() {
            return Ok(());
        }
        if let Some(comment) = line.strip_prefix('#') {
            about(comment, sink);
            return Ok(());
        }
        let known = line
            .strip_prefix(self.before.as_str())
            .filter(|rest| !self.before.is_empty() && rest.starts_with([' ', '\t']));
        let rest = match known {
            Some(rest) => rest,
            None => {
                self.before.clear();
                let mut cursor = Cursor { line, at: 0 };
                series(&mut cursor, &mut self.labels, &mut self.value)?;
                self.before.push_str(&line[..cursor.at]);
                self.wanted = sink.series(&self.labels);
                &line[cursor.at..]
            }
        };
        let (at_ms, value) = numbers(rest)?;
        if self.wanted {
            sink.sample(at_ms, value);
        }
        Ok(())
    }
}

fn about<S: Sink>(comment: &str, sink: &mut S) {
    let mut words = comment.trim_start().splitn(3, [' ', '\t']);
    let kind = match words.next() {
        Some("HELP") => About::Help,
        Some("TYPE") => About::Type,
        Some("UNIT") => About::Unit,
        _ => return,
    };
    if let Some(metric) = words.next() {
        sink.about(metric.trim_matches('"'), kind, words.next().unwrap_or("").trim());
    }
}

/// ` value [timestamp] [# exemplar]`.
fn numbers(text: &str) -> std::result::Result<(Option<i64>, f64), String> {
    let mut words = text.split_ascii_whitespace();
    let value = words.next().ok_or("has no value")?;
    if value == "=>" {
        return Err("is promtool's output for people ('=> value @[time]')".into());
    }
    let value =
        parse_value(value).ok_or_else(|| format!("the value {} is not a number", quoted(value)))?;
    let at_ms = match words.next() {
        None | Some("#") => return Ok((None, value)),
        Some(time) => {
            time_ms(time).ok_or_else(|| format!("the timestamp {} is not a time", quoted(time)))?
        }
    };
    match words.next() {
        None | Some("#") => Ok((Some(at_ms), value)),
        Some(more) => Err(format!("{} follows the timestamp", quoted(more))),
    }
}

/// OpenMetrics counts seconds, the other forms milliseconds. Whole milliseconds have twelve digits
/// since 1973 and whole seconds reach that in the year 5138, so the size tells them apart.
fn time_ms(text: &str) -> Option<i64> {
    if !text.contains(['.', 'e', 'E']) {
        let time: i64 = text.parse().ok()?;
        if time.unsigned_abs() >= 100_000_000_000 {
            return (time.unsigned_abs() < 1_000_000_000_000_000).then_some(time);
        }
    }
    seconds_to_ms(text.parse().ok()?)
}

struct Cursor<'l> {
    line: &'l str,
    at: usize,
}

impl<'l> Cursor<'l> {
    fn rest(&self) -> &'l str {
        &self.line[self.at..]
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t']).len();
    }

    fn eat(&mut self, c: char) -> bool {
        let found = self.rest().starts_with(c);
        if found {
            self.at += c.len_utf8();
        }
        found
    }

    /// A metric's or label's name: letters, digits, `_`, `:`, not starting with a digit.
    fn name(&mut self) -> Option<&'l str> {
        let rest = self.rest();
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))
            .unwrap_or(rest.len());
        if end == 0 || rest.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        self.at += end;
        Some(&rest[..end])
    }
}

/// Reads name and labels; the cursor is then before the value.
fn series(
    cursor: &mut Cursor<'_>,
    labels: &mut Labels,
    value: &mut String,
) -> std::result::Result<(), String> {
    labels.clear();
    // A dump has everything in braces and quotes as Go does; the name in quotes is Prometheus 3's.
    let go_escapes = cursor.rest().starts_with('{');
    if !go_escapes {
        let name = cursor.name().ok_or_else(|| no_sample(cursor.line))?;
        labels.set_name(name);
        cursor.skip_blanks();
    }
    if !cursor.eat('{') {
        let spaced = cursor.line[..cursor.at].ends_with([' ', '\t']);
        cursor.at = cursor.line[..cursor.at].trim_end().len();
        return if spaced { Ok(()) } else { Err(no_sample(cursor.line)) };
    }
    loop {
        cursor.skip_blanks();
        if cursor.eat('}') {
            break;
        }
        let quoted_name = cursor.rest().starts_with('"');
        let label = if quoted_name {
            string(cursor, value, go_escapes)?;
            value.clone()
        } else {
            cursor
                .name()
                .ok_or_else(|| format!("expected a label at {}", quoted(cursor.rest())))?
                .to_string()
        };
        cursor.skip_blanks();
        if cursor.eat('=') {
            cursor.skip_blanks();
            string(cursor, value, go_escapes)?;
            labels.push(&label, value);
        } else if quoted_name {
            labels.set_name(&label);
        } else {
            return Err(format!("label {} has no value", quoted(&label)));
        }
        cursor.skip_blanks();
        if !cursor.eat(',') && !cursor.rest().starts_with('}') {
            return Err(format!("expected ',' or '}}' at {}", quoted(cursor.rest())));
        }
    }
    Ok(())
}

fn no_sample(line: &str) -> String {
    format!("{} is not a Prometheus sample", quoted(line))
}

/// A label's value in quotes. The exposition escapes `\\`, `\"` and `\n` and nothing else; a dump
/// is written by Go's `strconv.Quote`.
fn string(
    cursor: &mut Cursor<'_>,
    value: &mut String,
    go_escapes: bool,
) -> std::result::Result<(), String> {
    value.clear();
    if !cursor.eat('"') {
        return Err(format!("expected a label's value in quotes at {}", quoted(cursor.rest())));
    }
    loop {
        let rest = cursor.rest();
        let Some(end) = rest.find(['"', '\\']) else {
            return Err("a quote is not closed".into());
        };
        value.push_str(&rest[..end]);
        cursor.at += end + 1;
        if rest[end..].starts_with('"') {
            return Ok(());
        }
        let Some(escape) = cursor.rest().chars().next() else {
            return Err("a quote is not closed".into());
        };
        cursor.at += escape.len_utf8();
        let mut hex = |digits: usize| {
            let code = cursor.rest().get(..digits)?;
            cursor.at += digits;
            u32::from_str_radix(code, 16).ok()
        };
        let character = match escape {
            'n' => '\n',
            '\\' => '\\',
            '"' => '"',
            'a' if go_escapes => '\u{7}',
            'b' if go_escapes => '\u{8}',
            'f' if go_escapes => '\u{c}',
            'r' if go_escapes => '\r',
            't' if go_escapes => '\t',
            'v' if go_escapes => '\u{b}',
            'x' | 'u' | 'U' if go_escapes => {
                let digits = match escape {
                    'x' => 2,
                    'u' => 4,
                    _ => 8,
                };
                hex(digits)
                    .and_then(char::from_u32)
                    .ok_or_else(|| format!("a wrong escape '\\{escape}' in a label's value"))?
            }
            // As Prometheus' own parser: what is not an escape is taken as it is.
            other => {
                value.push('\\');
                other
            }
        };
        value.push(character);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Everything;
    use super::*;

    fn one(line: &str) -> (String, Option<i64>, f64) {
        let mut sink = Everything::default();
        read(line.as_bytes(), "f", &mut sink, false).unwrap();
        assert_eq!(sink.0.len(), 1, "{line}");
        sink.0.remove(0)
    }

    #[test]
    fn label_values_hold_anything() {
        for (line, labels) in [
            (r#"m{a="close } brace",b="x"} 1"#, r#"m{a="close } brace",b="x"}"#),
            (r#"m{a="comma, =inside"} 1"#, r#"m{a="comma, =inside"}"#),
            (r#"m{a="q\"uote",b="b\\s"} 1"#, r#"m{a="q\"uote",b="b\\s"}"#),
            (r#"m{a="l\nf",b="\d"} 1"#, r#"m{a="l\nf",b="\\d"}"#),
            (r#"{a="t\tab\x01\u00e9", __name__="m"} 1"#, "m{a=\"t\\tab\\u{1}é\"}"),
            (r#"{"m.x", "l b"="日本"} 1"#, r#"m.x{l b="日本"}"#),
            ("m{} 1", "m{}"),
            ("m 1", "m{}"),
            ("m{a=\"\"} 1", "m{a=\"\"}"),
            ("a:b:c { x = \"1\" , } \t 1", r#"a:b:c{x="1"}"#),
        ] {
            assert_eq!(one(line), (labels.to_string(), None, 1.0), "{line}");
        }
    }

    #[test]
    fn values_and_times_in_every_spelling() {
        for (text, value) in [
            ("7.3354182656e+10", 73_354_182_656.0),
            ("9223372036854775794", 9_223_372_036_854_775_794.0),
            ("-1.5", -1.5),
            ("+Inf", f64::INFINITY),
            ("0.000001", 0.000_001),
        ] {
            assert_eq!(one(&format!("m {text}")).2, value);
        }
        assert!(one("m NaN").2.is_nan());
        for (text, ms) in [
            ("1795344100655", 1_795_344_100_655),
            ("1795344100.655", 1_795_344_100_655),
            ("1795344100", 1_795_344_100_000),
            ("1.795344100655e+09", 1_795_344_100_655),
            ("1795344100.655 # {trace=\"a b\"} 1 2", 1_795_344_100_655),
        ] {
            assert_eq!(one(&format!("m 1 {text}")).1, Some(ms), "{text}");
        }
        assert_eq!(one("m 1 # {trace=\"a\"} 1").1, None);
    }

    #[test]
    fn wrong_lines_are_all_named() {
        let text = "m 1\nm{a} 1\nm{a=x} 1\nm{a=\"x\"\nm\nm{a=\"x\"}\nm 1 2 3\n1m 1\nm 1 x\nm{a=\"x\" b=\"y\"} 1\n";
        let error = read(text.as_bytes(), "f", &mut Everything::default(), false).unwrap_err();
        let lines: Vec<u64> = error.problems.iter().filter_map(|p| p.line).collect();
        assert_eq!(lines, [2, 3, 4, 5, 6, 7, 8, 9, 10], "{error}");
        let other = "no metrics here\n".repeat(1000);
        let error = read(other.as_bytes(), "f", &mut Everything::default(), false).unwrap_err();
        assert_eq!(error.problems.len(), MAX_PROBLEMS + 1);
        let endless = vec![b'x'; 3 << 20];
        let error = read(&endless[..], "f", &mut Everything::default(), false).unwrap_err();
        assert!(error.to_string().contains("1 MiB"));
    }
}
