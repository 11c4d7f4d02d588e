//! JSON as a stream: one token after the other, out of one buffer of fixed size.
//!
//! Knows JSON, nothing of Prometheus, but for one shortcut: a point `[time,"value"]` that lies in
//! the buffer as a whole is read in one go, which is most of a large answer. Written by hand because
//! serde_json takes three times as long from a stream as from a slice, and a slice would be the
//! whole answer in memory (`benches/ingest.rs` has the figures).

use std::io::{self, Read};

use super::{parse_value, quoted, seconds_to_ms};

/// More than any token but a string, so that a token in the buffer is there as a whole.
const TOKEN_BYTES: usize = 128;
const BUFFER_BYTES: usize = 1 << 18;
/// No answer is nested deeper.
const MAX_DEPTH: usize = 128;
/// No label is longer.
const MAX_STRING_BYTES: usize = 16 << 20;

/// Why a stream is no JSON that can be read.
#[derive(Debug)]
pub(super) enum Fault {
    /// The input failed.
    Read(io::Error),
    /// It ends too early.
    End,
    /// Something else than what has to be here; a sentence.
    Wrong(String),
}

pub(super) type Scan<T> = std::result::Result<T, Fault>;

/// A sentence as a fault.
pub(super) fn wrong<T>(message: impl Into<String>) -> Scan<T> {
    Err(Fault::Wrong(message.into()))
}

/// The input with the place up to which it is read.
pub(super) struct Scanner<R> {
    input: R,
    buffer: Vec<u8>,
    at: usize,
    end: usize,
    ended: bool,
    /// Lines that end before the buffer, and bytes of the line that the buffer starts in.
    lines: u64,
    columns: u64,
    /// A string with escapes, or one that does not fit the buffer.
    text: Vec<u8>,
}

impl<R: Read> Scanner<R> {
    pub(super) fn new(input: R) -> Scanner<R> {
        Scanner {
            input,
            buffer: vec![0; BUFFER_BYTES],
            at: 0,
            end: 0,
            ended: false,
            lines: 0,
            columns: 0,
            text: Vec::new(),
        }
    }

    /// Line and column, from 1, of the next byte.
    pub(super) fn place(&self) -> (u64, u64) {
        let (lines, columns) = self.place_after(&self.buffer[..self.at]);
        (lines + 1, columns + 1)
    }

    fn place_after(&self, bytes: &[u8]) -> (u64, u64) {
        match bytes.iter().rposition(|b| *b == b'\n') {
            None => (self.lines, self.columns + bytes.len() as u64),
            Some(last) => {
                let lines = bytes.iter().filter(|b| **b == b'\n').count();
                (self.lines + lines as u64, (bytes.len() - last - 1) as u64)
            }
        }
    }

    /// Reads on, keeping what is not taken yet.
    fn fill(&mut self) -> Scan<()> {
        (self.lines, self.columns) = self.place_after(&self.buffer[..self.at]);
        self.buffer.copy_within(self.at..self.end, 0);
        self.end -= self.at;
        self.at = 0;
        while self.end < self.buffer.len() {
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(read) => {
                    self.end += read;
                    // A server's answer comes in small parts: go on with what is here.
                    if self.end >= TOKEN_BYTES {
                        break;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Fault::Read(e)),
            }
        }
        Ok(())
    }

    /// Makes sure that the next token is in the buffer as a whole, or all that is left.
    fn look_ahead(&mut self) -> Scan<&[u8]> {
        if self.end - self.at < TOKEN_BYTES && !self.ended {
            self.fill()?;
        }
        Ok(&self.buffer[self.at..self.end])
    }

    /// The next byte that is no blank, not taken; `None` at the end of the input.
    pub(super) fn peek(&mut self) -> Scan<Option<u8>> {
        loop {
            let ahead = self.look_ahead()?;
            let blanks = ahead.iter().take_while(|b| b" \t\r\n".contains(b)).count();
            let found = ahead.get(blanks).copied();
            let all_blank = blanks > 0 && found.is_none();
            self.at += blanks;
            if !all_blank {
                return Ok(found);
            }
        }
    }

    /// The same, where something has to follow.
    pub(super) fn peek_some(&mut self) -> Scan<u8> {
        self.peek()?.ok_or(Fault::End)
    }

    /// Takes `byte` if it is the next.
    pub(super) fn eat(&mut self, byte: u8) -> Scan<bool> {
        let found = self.peek_some()? == byte;
        self.at += usize::from(found);
        Ok(found)
    }

    /// Takes `byte`, which has to be the next.
    pub(super) fn expect(&mut self, byte: u8) -> Scan<()> {
        if self.eat(byte)? {
            return Ok(());
        }
        let found = char::from(self.peek_some()?);
        wrong(format!("expected '{}', but found '{}'", char::from(byte), found.escape_default()))
    }

    /// Hands every member of an object to `member`, which has to take the value.
    pub(super) fn object(
        &mut self,
        mut member: impl FnMut(&mut Scanner<R>, &str) -> Scan<()>,
    ) -> Scan<()> {
        self.expect(b'{')?;
        if self.eat(b'}')? {
            return Ok(());
        }
        loop {
            let key = self.string()?.to_string();
            self.expect(b':')?;
            member(self, &key)?;
            if !self.eat(b',')? {
                return self.expect(b'}');
            }
            self.peek_some()?;
        }
    }

    /// Calls `element` for every element of a list, which has to take it.
    pub(super) fn list(
        &mut self,
        mut element: impl FnMut(&mut Scanner<R>) -> Scan<()>,
    ) -> Scan<()> {
        self.expect(b'[')?;
        if self.eat(b']')? {
            return Ok(());
        }
        loop {
            element(self)?;
            if !self.eat(b',')? {
                return self.expect(b']');
            }
        }
    }

    /// Whether a list follows whose first element starts with `byte`; an empty one counts too.
    pub(super) fn list_holds(&mut self, byte: u8) -> Scan<bool> {
        self.peek_some()?;
        let mut ahead = self.look_ahead()?.iter().filter(|b| !b" \t\r\n".contains(b));
        Ok(ahead.next() == Some(&b'[') && ahead.next().is_some_and(|b| *b == byte || *b == b']'))
    }

    /// A string without its quotes and escapes.
    pub(super) fn string(&mut self) -> Scan<&str> {
        self.expect(b'"')?;
        self.text.clear();
        loop {
            let here = &self.buffer[self.at..self.end];
            let Some(stop) = here.iter().position(|b| matches!(b, b'"' | b'\\')) else {
                self.text.extend_from_slice(here);
                self.at = self.end;
                if self.ended {
                    return Err(Fault::End);
                }
                if self.text.len() > MAX_STRING_BYTES {
                    return wrong("a string is longer than 16 MiB");
                }
                self.fill()?;
                continue;
            };
            let closes = here[stop] == b'"';
            let from = self.at;
            self.at += stop + 1;
            if closes && self.text.is_empty() {
                return utf8(&self.buffer[from..from + stop]);
            }
            self.text.extend_from_slice(&self.buffer[from..from + stop]);
            if closes {
                return utf8(&self.text);
            }
            let character = self.escape()?;
            self.text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }

    /// What follows a backslash.
    fn escape(&mut self) -> Scan<char> {
        self.look_ahead()?;
        let Some(&byte) = self.buffer[self.at..self.end].first() else {
            return Err(Fault::End);
        };
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.hex()?;
                // Characters beyond 16 bits are written as a pair.
                if (0xD800..0xDC00).contains(&first)
                    && self.buffer[self.at..self.end].starts_with(b"\\u")
                {
                    self.at += 2;
                    let second = self.hex()?;
                    let low = second.wrapping_sub(0xDC00) & 0x3FF;
                    char::from_u32(0x10000 + ((first - 0xD800) << 10) + low)
                } else {
                    char::from_u32(first)
                }
                .unwrap_or('\u{fffd}')
            }
            other => return wrong(format!("has the unknown escape '\\{}'", char::from(other))),
        })
    }

    fn hex(&mut self) -> Scan<u32> {
        let digits = self.look_ahead()?.get(..4).ok_or(Fault::End)?;
        let code = std::str::from_utf8(digits).ok().and_then(|d| u32::from_str_radix(d, 16).ok());
        self.at += 4;
        code.map_or_else(|| wrong("has a wrong escape '\\u'"), Ok)
    }

    /// Skips one value of any kind.
    pub(super) fn skip(&mut self) -> Scan<()> {
        let mut open: Vec<u8> = Vec::new();
        loop {
            match self.peek_some()? {
                b'"' => {
                    self.string()?;
                }
                b'{' => {
                    self.at += 1;
                    open.push(b'}');
                }
                b'[' => {
                    self.at += 1;
                    open.push(b']');
                }
                byte @ (b'}' | b']') => {
                    if open.pop() != Some(byte) {
                        return wrong(format!("found '{}' without its opening", char::from(byte)));
                    }
                    self.at += 1;
                }
                b',' | b':' if !open.is_empty() => self.at += 1,
                _ => {
                    self.scalar()?;
                }
            }
            if open.is_empty() {
                return Ok(());
            }
            if open.len() > MAX_DEPTH {
                return wrong("is nested too deeply");
            }
        }
    }

    /// A number, `true`, `false` or `null`, as it is written.
    pub(super) fn scalar(&mut self) -> Scan<&str> {
        self.peek_some()?;
        let ahead = self.look_ahead()?;
        let length = ahead.iter().take_while(|b| !b" \t\r\n,:]}[{\"".contains(b)).count();
        let whole = ahead.len() > length;
        let from = self.at;
        let plain = matches!(self.buffer[from], b'-' | b'0'..=b'9' | b't' | b'f' | b'n');
        if length == 0 || !plain || (!whole && !self.ended) {
            let text = String::from_utf8_lossy(&self.buffer[from..self.end.min(from + 20)]);
            return wrong(format!("expected a value at '{}'", text.escape_default()));
        }
        if !whole {
            return Err(Fault::End);
        }
        self.at += length;
        utf8(&self.buffer[from..from + length])
    }

    /// A list of points `[seconds, "value"]`: times in milliseconds, and values.
    pub(super) fn points(&mut self, mut each: impl FnMut(i64, f64)) -> Scan<()> {
        self.expect(b'[')?;
        if self.eat(b']')? {
            return Ok(());
        }
        loop {
            self.plain_points(&mut each)?;
            let (at_ms, value) = self.point()?;
            each(at_ms, value);
            if !self.eat(b',')? {
                return self.expect(b']');
            }
        }
    }

    /// Takes the points that are written as Prometheus writes them, as long as each lies in the
    /// buffer with the comma behind it.
    fn plain_points(&mut self, each: &mut impl FnMut(i64, f64)) -> Scan<()> {
        loop {
            let ahead = self.look_ahead()?;
            let mut from = 0;
            while let Some((length, at_ms, value)) = plain_point(&ahead[from..]) {
                each(at_ms, value);
                from += length;
            }
            self.at += from;
            if from == 0 {
                return Ok(());
            }
        }
    }

    /// `[seconds, "value"]`, however it is written.
    pub(super) fn point(&mut self) -> Scan<(i64, f64)> {
        if self.peek_some()? != b'[' {
            return wrong(NO_POINT);
        }
        self.at += 1;
        if !matches!(self.peek_some()?, b'-' | b'0'..=b'9') {
            return wrong(NO_POINT);
        }
        let at_ms = self.seconds()?;
        if !self.eat(b',')? {
            return wrong(NO_POINT);
        }
        let value = self.value()?;
        if !self.eat(b']')? {
            return wrong(NO_POINT);
        }
        Ok((at_ms, value))
    }

    /// Seconds, whole or with decimals, in milliseconds.
    fn seconds(&mut self) -> Scan<i64> {
        let text = self.scalar()?;
        let found = text.parse::<f64>().ok().and_then(seconds_to_ms);
        found.map_or_else(|| wrong(format!("the time {text} is out of range")), Ok)
    }

    /// A number, in quotes as Prometheus writes it or bare; `null` is not a number.
    pub(super) fn value(&mut self) -> Scan<f64> {
        let text = if self.peek_some()? == b'"' { self.string()? } else { self.scalar()? };
        if text == "null" {
            return Ok(f64::NAN);
        }
        parse_value(text)
            .map_or_else(|| wrong(format!("the value {} is not a number", quoted(text))), Ok)
    }

    /// Whether nothing but blanks is left.
    pub(super) fn is_at_end(&mut self) -> Scan<bool> {
        Ok(self.peek()?.is_none())
    }
}

const NO_POINT: &str = "a point is not [time, \"value\"]";

fn utf8(bytes: &[u8]) -> Scan<&str> {
    std::str::from_utf8(bytes).or_else(|_| wrong("is not UTF-8"))
}

/// A point `[1795344000,"35001"],` at the start of `text`, with the comma: how long it is, its time
/// in milliseconds and its value. `None` where it is written otherwise or ends elsewhere.
fn plain_point(text: &[u8]) -> Option<(usize, i64, f64)> {
    let rest = text.strip_prefix(b"[")?;
    let (seconds, digits) = digits(rest)?;
    let mut at_ms = i64::try_from(seconds).ok().filter(|_| digits <= 12)? * 1000;
    let mut rest = &rest[digits..];
    if let Some(decimals) = rest.strip_prefix(b".") {
        let (number, digits) = self::digits(decimals)?;
        let scale = [100, 10, 1].get(digits.checked_sub(1)?)?;
        at_ms += i64::try_from(number).ok()? * scale;
        rest = &decimals[digits..];
    }
    let rest = rest.strip_prefix(b",\"")?;
    let (value, rest) = match self::digits(rest) {
        Some((number, digits)) if digits <= 15 && rest.get(digits) == Some(&b'"') => {
            (number as f64, &rest[digits..])
        }
        _ => {
            let end = rest.iter().take(40).position(|b| *b == b'"')?;
            (parse_value(std::str::from_utf8(&rest[..end]).ok()?)?, &rest[end..])
        }
    };
    let rest = rest.strip_prefix(b"\"],")?;
    Some((text.len() - rest.len(), at_ms, value))
}

/// The whole number at the start of `text` and its number of digits, 1 to 18.
fn digits(text: &[u8]) -> Option<(u64, usize)> {
    let mut number = 0u64;
    let mut length = 0;
    while let Some(digit) = text.get(length).map(|b| b.wrapping_sub(b'0')).filter(|d| *d < 10) {
        if length == 18 {
            return None;
        }
        number = number * 10 + u64::from(digit);
        length += 1;
    }
    (length > 0).then_some((number, length))
}
