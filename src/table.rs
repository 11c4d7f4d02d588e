//! Tables that people make: CSV with a header, in any column order, from any spreadsheet.
//!
//! Finds the delimiter, skips comments and a byte-order mark, knows the line of every row, and
//! collects problems instead of stopping at the first. It does not know what a column means.

use std::io::{self, BufReader, Cursor, Read};
use std::mem;

use rayon::prelude::*;

use crate::error::{Diagnostic, Error, Result};
use crate::text::{not_plain, plural};

/// The header must be within this many bytes of the start.
const HEADER_BYTES: u64 = 64 * 1024;
/// A record longer than this is not a row of a table.
const RECORD_BYTES: u64 = 1024 * 1024;
/// Reading stops after this many problems: more helps nobody, and a wrong file has millions.
pub const MAX_PROBLEMS: usize = 200;
/// So many rows are taken from the input at once, where several threads read them.
const BATCH_ROWS: usize = 8_192;
/// Or as many as have so many bytes, since a record may be of [`RECORD_BYTES`].
const BATCH_BYTES: usize = 4 << 20;
/// A record keeps its memory for the next one up to this size.
const KEPT_BYTES: usize = 4 << 10;

/// A column that a table may have.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// The name in the header, lower case.
    pub name: &'static str,
    /// Whether a table without it is refused.
    pub required: bool,
}

/// A table that is being read, with the problems and warnings found so far.
pub struct Table<'a> {
    file: String,
    reader: csv::Reader<Box<dyn Read + 'a>>,
    header: Header,
    /// What is wrong so far.
    pub problems: Vec<Diagnostic>,
    /// What is odd but usable.
    pub warnings: Vec<Diagnostic>,
}

/// What the first line says, and what was asked for.
struct Header {
    /// For each column asked for, where it is.
    positions: Vec<Option<usize>>,
    names: Vec<&'static str>,
    width: usize,
    /// Its line in the file, from 1.
    line: u64,
}

/// One row: its line and its cells by the order of the columns asked for.
pub struct Row<'t> {
    record: &'t csv::StringRecord,
    header: &'t Header,
    /// Line in the file, from 1.
    pub line: u64,
}

/// A record as the reader gives it: with its line, or with what is wrong with it.
#[derive(Default)]
struct Record {
    cells: csv::StringRecord,
    line: u64,
    problem: Option<Diagnostic>,
}

/// The rows of a table, read by several threads.
pub struct Rows<W, T> {
    /// What each row gave, in their order.
    pub given: Vec<T>,
    /// Rows in all, those that gave nothing too.
    pub count: u64,
    /// What the readers remember, in no particular order.
    pub readers: Vec<W>,
}

impl Row<'_> {
    /// The trimmed cell of column `index` (in the order asked for), `None` where the table has no
    /// such column or the cell is empty.
    pub fn get(&self, index: usize) -> Option<&str> {
        let cell = self.record.get(self.header.positions[index]?)?.trim();
        (!cell.is_empty()).then_some(cell)
    }

    /// A problem with the cell of column `index`: `column 'count': '-1' is negative`.
    pub fn problem(&self, index: usize, message: impl std::fmt::Display) -> Diagnostic {
        let value = self.get(index).unwrap_or("");
        let column = self.header.names[index];
        Diagnostic::new(format!("column '{column}': '{}' {message}", shorten(value)))
            .at_line(self.line)
    }
}

/// A value short enough to print, without control characters.
pub fn shorten(value: &str) -> String {
    let mut short: String =
        value.chars().take(60).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if value.chars().nth(60).is_some() {
        short.push('…');
    }
    short
}

impl<'a> Table<'a> {
    /// Opens a table. `file` is the name for messages; `columns` are those that the caller knows.
    ///
    /// # Errors
    /// As [`Table::read_header`]; a header without a required column, or with one twice (exit 3).
    pub fn open(
        input: impl Read + 'a,
        file: &str,
        columns: &[Column],
        hint: &str,
    ) -> Result<Table<'a>> {
        Table::read_header(input, file, columns, hint)?.without_problems(hint)
    }

    /// Opens a table; what is wrong with its header is among its problems, to which the caller may
    /// add before [`Table::without_problems`].
    ///
    /// # Errors
    /// An empty input, no text, or a first line that is not a header; with `hint` (exit 3).
    pub fn read_header(
        input: impl Read + 'a,
        file: &str,
        columns: &[Column],
        hint: &str,
    ) -> Result<Table<'a>> {
        let fail = |problem: Diagnostic| Error::input(problem.in_file(file)).hint(hint);
        let mut input = BufReader::with_capacity(1 << 16, input);
        let mut head = Vec::new();
        input
            .by_ref()
            .take(HEADER_BYTES)
            .read_to_end(&mut head)
            .map_err(|e| fail(Diagnostic::new(format!("cannot be read: {e}"))))?;
        let named = take_separator(&mut head);
        let (header_line, header) = header(&head).map_err(fail)?;
        let delimiter = named.unwrap_or_else(|| best_delimiter(header, columns));
        let skip = if head.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        let lines = Lines {
            inner: Cursor::new(head[skip..].to_vec()).chain(input),
            delimiter,
            record_bytes: 0,
            place: Place::LineStart,
            line: 1,
            opened: 1,
            previous: b'\n',
        };
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .comment(Some(b'#'))
            .flexible(true)
            .from_reader(Box::new(lines) as Box<dyn Read + 'a>);
        let names: Vec<String> = match reader.headers() {
            Ok(record) => record.iter().map(|n| n.trim().to_lowercase()).collect(),
            Err(e) => return Err(fail(csv_problem(&e))),
        };
        if !names.iter().any(|name| columns.iter().any(|c| c.name == name)) {
            let required: Vec<&str> =
                columns.iter().filter(|c| c.required).map(|c| c.name).collect();
            let message = format!(
                "the first line must be a header with the columns {}, but it is '{}'",
                required.join(", "),
                shorten(header.trim())
            );
            return Err(fail(Diagnostic::new(message).at_line(header_line)));
        }
        let mut table = Table {
            file: file.to_string(),
            reader,
            header: Header {
                positions: Vec::new(),
                names: columns.iter().map(|c| c.name).collect(),
                width: names.len(),
                line: header_line,
            },
            problems: Vec::new(),
            warnings: Vec::new(),
        };
        table.find_columns(&names, columns);
        Ok(table)
    }

    /// The same table, if nothing is wrong with it so far.
    ///
    /// # Errors
    /// All its problems at once, and its unknown columns, since what is missing may stand in one of
    /// them (exit 3).
    pub fn without_problems(self, hint: &str) -> Result<Table<'a>> {
        if self.problems.is_empty() {
            return Ok(self);
        }
        let told = self.warnings.into_iter().chain(self.problems);
        Err(Error::inputs(told.collect()).hint(hint))
    }

    /// Adds a problem of the header.
    pub fn header_problem(&mut self, message: impl Into<String>) {
        let problem = Diagnostic::new(message).in_file(&*self.file).at_line(self.header.line);
        self.problems.push(problem);
    }

    /// Finds where the columns are; duplicate and missing ones are problems, unknown ones warnings.
    fn find_columns(&mut self, names: &[String], columns: &[Column]) {
        for (i, name) in names.iter().enumerate() {
            if name.is_empty() {
                continue;
            }
            if names[..i].contains(name) {
                self.header_problem(format!("duplicate column '{}'", shorten(name)));
            } else if !columns.iter().any(|c| c.name == name) {
                let message = format!("column '{}' is not known and ignored", shorten(name));
                let warning = Diagnostic::new(message).in_file(&*self.file);
                self.warnings.push(warning.at_line(self.header.line));
            }
        }
        for column in columns {
            let position = names.iter().position(|n| n == column.name);
            if position.is_none() && column.required {
                self.header_problem(format!("has no column '{}'", column.name));
            }
            self.header.positions.push(position);
        }
    }

    /// Whether the header has column `index`.
    pub fn has(&self, index: usize) -> bool {
        self.header.positions[index].is_some()
    }

    /// Hands every row to `visit`, which returns the row's problems; their file is filled in.
    /// Returns the number of rows read.
    pub fn for_each_row(&mut self, mut visit: impl FnMut(&Row<'_>, &mut Vec<Diagnostic>)) -> u64 {
        let mut record = Record::default();
        let (mut rows, mut found) = (0, Vec::new());
        while record.next(&mut self.reader) {
            if let Some(row) = self.header.row(&mut record, &mut rows, &mut found) {
                visit(&row, &mut found);
            }
            if take(&mut self.problems, &mut found, &self.file) {
                break;
            }
        }
        rows
    }

    /// Reads every row with `read`, by several threads where there are many: each has a reader of its
    /// own, made by `reader`, and meets the rows in their order, but not all of them. Problems are
    /// those of the rows in their order; their file is filled in.
    pub fn read_rows<W: Send + Sync, T: Send>(
        &mut self,
        reader: impl Fn() -> W,
        read: impl Fn(&mut W, &Row<'_>, &mut Vec<Diagnostic>) -> Option<T> + Sync,
    ) -> Rows<W, T> {
        let mut rows = Rows { given: Vec::new(), count: 0, readers: vec![reader()] };
        let header = &self.header;
        let (mut batch, mut next) = (Batch::default(), Batch::default());
        batch.fill(&mut self.reader);
        loop {
            if batch.is_last {
                rows.add(&mut batch, header, &read);
            } else {
                rows.readers.resize_with(rayon::current_num_threads(), &reader);
                // The next rows are taken from the input meanwhile.
                rayon::in_place_scope(|scope| {
                    scope.spawn(|_| rows.add(&mut batch, header, &read));
                    next.fill(&mut self.reader);
                });
            }
            let too_many = take(&mut self.problems, &mut batch.problems, &self.file);
            if too_many || batch.is_last {
                return rows;
            }
            mem::swap(&mut batch, &mut next);
        }
    }

    /// Adds problems that were found after all rows were read, among the others by their lines.
    pub fn add_problems(&mut self, found: Vec<Diagnostic>) {
        if found.is_empty() {
            return;
        }
        // What stands without a line at the end says that reading stopped.
        let stopped = self.problems.pop_if(|problem| problem.line.is_none());
        self.problems.extend(found.into_iter().map(|p| p.in_file(self.file.clone())));
        self.problems.sort_by_key(|problem| problem.line);
        let more = self.problems.len() > MAX_PROBLEMS;
        self.problems.truncate(MAX_PROBLEMS);
        if more || stopped.is_some() {
            self.problems.push(reading_stopped(&self.file));
        }
    }
}

/// Keeps the problems that were found in a file. Returns whether they are too many to go on.
fn take(problems: &mut Vec<Diagnostic>, found: &mut Vec<Diagnostic>, file: &str) -> bool {
    problems.extend(found.drain(..).map(|problem| problem.in_file(file)));
    let too_many = problems.len() >= MAX_PROBLEMS;
    if too_many {
        problems.truncate(MAX_PROBLEMS);
        problems.push(reading_stopped(file));
    }
    too_many
}

fn reading_stopped(file: &str) -> Diagnostic {
    Diagnostic::new("has more problems; reading stopped here").in_file(file)
}

impl Header {
    /// The row of a record that has content, which counts it, and as many cells as the header; what
    /// is wrong with it otherwise is `found`.
    fn row<'t>(
        &'t self,
        record: &'t mut Record,
        count: &mut u64,
        found: &mut Vec<Diagnostic>,
    ) -> Option<Row<'t>> {
        if let Some(problem) = record.problem.take() {
            found.push(problem);
            return None;
        }
        if record.is_blank() {
            return None;
        }
        *count += 1;
        let (cells, line) = (&record.cells, record.line);
        let surplus = cells.iter().skip(self.width).any(|cell| !cell.trim().is_empty());
        if cells.len() < self.width || surplus {
            let fields = plural(cells.len() as u64, "field");
            let message = format!("has {fields}, but the header has {}", self.width);
            found.push(Diagnostic::new(message).at_line(line));
            return None;
        }
        Some(Row { record: cells, header: self, line })
    }
}

impl Record {
    /// Becomes the next record of `input`; `false` at its end.
    fn next<R: Read>(&mut self, input: &mut csv::Reader<R>) -> bool {
        match input.read_record(&mut self.cells) {
            Ok(more) => {
                // Where the reader stands now is one line behind the record's last; a record's own
                // position is before the comments and blank lines that precede it.
                let inside = self.cells.as_slice().bytes().filter(|b| *b == b'\n').count();
                self.line = input.position().line().saturating_sub(1 + inside as u64);
                self.problem = None;
                more
            }
            Err(e) => {
                let mut problem = csv_problem(&e);
                if matches!(e.kind(), csv::ErrorKind::Utf8 { .. }) {
                    // The record was read whole, and is lost.
                    problem.line = Some(input.position().line().saturating_sub(1));
                }
                self.problem = Some(problem);
                true
            }
        }
    }

    fn is_blank(&self) -> bool {
        self.cells.iter().all(|cell| cell.trim().is_empty())
    }
}

/// Records that were taken from the input together.
#[derive(Default)]
struct Batch {
    /// The first `filled` of these; the others are kept for their memory.
    records: Vec<Record>,
    filled: usize,
    /// What was wrong with them.
    problems: Vec<Diagnostic>,
    /// Whether the input ended.
    is_last: bool,
}

impl Batch {
    fn fill<R: Read>(&mut self, input: &mut csv::Reader<R>) {
        self.filled = 0;
        let mut bytes = 0;
        while self.filled < BATCH_ROWS && bytes < BATCH_BYTES {
            if self.filled == self.records.len() {
                self.records.push(Record::default());
            }
            let record = &mut self.records[self.filled];
            if record.cells.as_slice().len() > KEPT_BYTES {
                *record = Record::default();
            }
            if !record.next(input) {
                self.is_last = true;
                return;
            }
            bytes += record.cells.as_slice().len();
            self.filled += 1;
        }
    }
}

impl<W: Send, T: Send> Rows<W, T> {
    /// Adds the rows of a batch, of which each reader reads a part.
    fn add<F>(&mut self, batch: &mut Batch, header: &Header, read: &F)
    where
        F: Fn(&mut W, &Row<'_>, &mut Vec<Diagnostic>) -> Option<T> + Sync,
    {
        let records = &mut batch.records[..batch.filled];
        let part = records.len().div_ceil(self.readers.len()).max(1);
        let read_part = |(reader, records): (&mut W, &mut [Record])| {
            let mut rows = (Vec::with_capacity(records.len()), 0, Vec::new());
            let (given, count, problems) = &mut rows;
            for record in records {
                if let Some(row) = header.row(record, count, problems) {
                    given.extend(read(reader, &row, problems));
                }
            }
            rows
        };
        let parts: Vec<_> = match &mut self.readers[..] {
            // A small table is read sooner than threads are started.
            [reader] => vec![read_part((reader, records))],
            readers => {
                readers.par_iter_mut().zip(records.par_chunks_mut(part)).map(read_part).collect()
            }
        };
        for (given, count, problems) in parts {
            self.given.extend(given);
            self.count += count;
            batch.problems.extend(problems);
        }
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The delimiter that a first line `sep=;` names, which Excel reads and some programs write for it.
/// The line becomes a comment, so that the lines after it keep their numbers.
fn take_separator(head: &mut [u8]) -> Option<u8> {
    let start = if head.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
    let line = head[start..].split(|b| matches!(b, b'\n' | b'\r')).next()?;
    let (before, separator) = line.split_at_checked(b"sep=".len())?;
    let [separator] = separator else { return None };
    let separates = !separator.is_ascii_alphanumeric() && !b"\"# ".contains(separator);
    if !before.eq_ignore_ascii_case(b"sep=") || !separator.is_ascii() || !separates {
        return None;
    }
    let separator = *separator;
    head[start] = b'#';
    Some(separator)
}

/// The header at the start of a file, and its line.
///
/// # Errors
/// There is none, or the file is not text in UTF-8.
fn header(head: &[u8]) -> std::result::Result<(u64, &str), Diagnostic> {
    if let Some(what) = not_plain(head) {
        return Err(Diagnostic::new(what));
    }
    let head = head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(head);
    let Some((line, header)) = find_header(head) else {
        return Err(Diagnostic::new(if head.iter().all(u8::is_ascii_whitespace) {
            "is empty"
        } else {
            "has only comments"
        }));
    };
    let Ok(header) = std::str::from_utf8(header) else {
        return Err(Diagnostic::new("is not UTF-8; save it as CSV in UTF-8").at_line(line));
    };
    if header.contains('\0') {
        return Err(Diagnostic::new("is a binary file, not a CSV").at_line(line));
    }
    Ok((line, header))
}

/// The first line with content that is no comment, and its number. Lines end as [`Lines`] takes
/// them: by `\n`, `\r\n` or `\r`.
fn find_header(head: &[u8]) -> Option<(u64, &[u8])> {
    let mut rest = head;
    let mut number = 1;
    loop {
        let end = rest.iter().position(|b| matches!(b, b'\n' | b'\r')).unwrap_or(rest.len());
        let (line, after) = rest.split_at(end);
        if !line.starts_with(b"#") && !line.iter().all(u8::is_ascii_whitespace) {
            return Some((number, line));
        }
        rest = after.strip_prefix(b"\r\n").or_else(|| after.get(1..))?;
        number += 1;
    }
}

/// The delimiter that makes the most known column names of a header line; a comma if none does.
fn best_delimiter(header: &str, columns: &[Column]) -> u8 {
    let known = |delimiter: char| {
        header
            .split(delimiter)
            .map(|name| name.trim().trim_matches('"').to_lowercase())
            .filter(|name| columns.iter().any(|c| c.name == name))
            .count()
    };
    [b',', b';', b'\t'].into_iter().rev().max_by_key(|d| known(char::from(*d))).unwrap_or(b',')
}

fn csv_problem(error: &csv::Error) -> Diagnostic {
    let line = error.position().map(csv::Position::line);
    let message = match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "is not UTF-8; save the file as CSV in UTF-8".to_string(),
        csv::ErrorKind::Io(e) => format!("cannot be read: {e}"),
        _ => error.to_string(),
    };
    let problem = Diagnostic::new(message);
    match line {
        Some(line) => problem.at_line(line),
        None => problem,
    }
}

/// Where in a table the next byte stands, as the csv crate sees it: a quote opens only at the start of
/// a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    LineStart,
    Comment,
    FieldStart,
    Field,
    Quoted,
    /// After a quote in a quoted field, which closes it unless another follows.
    Quote,
}

impl Place {
    fn after(self, byte: u8, delimiter: u8) -> Place {
        match (self, byte) {
            (Place::Quoted, b'"') => Place::Quote,
            (Place::Quoted, _) | (Place::Quote, b'"') => Place::Quoted,
            (_, b'\n') => Place::LineStart,
            (Place::Comment, _) | (Place::LineStart, b'#') => Place::Comment,
            (Place::LineStart | Place::FieldStart, b'"') => Place::Quoted,
            (_, byte) if byte == delimiter => Place::FieldStart,
            _ => Place::Field,
        }
    }
}

/// Hands on the input with every line ended by one `\n`, the last one too, so that lines can be
/// counted; and stops where one record grows beyond reason, as binary files and lost quotes make it,
/// and where a quote is still open at the end.
struct Lines<R> {
    inner: R,
    delimiter: u8,
    record_bytes: u64,
    place: Place,
    /// The line of the next byte, and of the last quote that opened a field.
    line: u64,
    opened: u64,
    previous: u8,
}

impl<R> Lines<R> {
    /// Takes note of bytes that need no change, and are no reason to look at each: no quotes and
    /// no other ends of lines, as in almost all files. Returns whether they are such.
    fn pass(&mut self, bytes: &[u8]) -> bool {
        let first_end = bytes.iter().position(|b| *b == b'\n').unwrap_or(bytes.len()) as u64;
        let plain = self.place != Place::Quoted
            && self.previous != b'\r'
            && self.record_bytes + first_end <= RECORD_BYTES
            && bytes.len() as u64 <= RECORD_BYTES
            && !bytes.contains(&b'\r')
            && !bytes.contains(&b'"');
        if plain && let Some(last) = bytes.last() {
            let mut rest = bytes;
            if let Some(end) = bytes.iter().rposition(|b| *b == b'\n') {
                rest = &bytes[end + 1..];
                (self.record_bytes, self.place) = (0, Place::LineStart);
                self.line += bytes.iter().filter(|b| **b == b'\n').count() as u64;
            }
            self.record_bytes += rest.len() as u64;
            // Where a comment begins, the first byte says; everything else, the last one.
            for byte in rest.first().into_iter().chain(rest.last()) {
                self.place = self.place.after(*byte, self.delimiter);
            }
            self.previous = *last;
        }
        plain
    }

    /// Takes note of one byte.
    fn step(&mut self, byte: u8) {
        let before = self.place;
        self.place = before.after(byte, self.delimiter);
        if self.place == Place::Quoted && !matches!(before, Place::Quoted | Place::Quote) {
            self.opened = self.line;
        }
        self.line += u64::from(byte == b'\n');
        self.record_bytes = if self.place == Place::LineStart { 0 } else { self.record_bytes + 1 };
    }
}

impl<R: Read> Read for Lines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.inner.read(buffer)?;
            if read == 0 {
                if self.place == Place::Quoted && !buffer.is_empty() {
                    let opened = self.opened;
                    let message = format!("a quote that opens on line {opened} is not closed");
                    return Err(io::Error::other(message));
                }
                let unfinished = !matches!(self.previous, b'\n' | b'\r') && !buffer.is_empty();
                if unfinished {
                    self.previous = b'\n';
                    buffer[0] = b'\n';
                }
                return Ok(usize::from(unfinished));
            }
            if self.pass(&buffer[..read]) {
                return Ok(read);
            }
            let mut kept = 0;
            for at in 0..read {
                let byte = buffer[at];
                let second_half = byte == b'\n' && self.previous == b'\r';
                self.previous = byte;
                if second_half {
                    continue;
                }
                buffer[kept] = if byte == b'\r' { b'\n' } else { byte };
                self.step(buffer[kept]);
                kept += 1;
                if self.record_bytes > RECORD_BYTES {
                    return Err(io::Error::other(match self.place {
                        Place::Quoted => format!(
                            "a quoted field is longer than 1 MiB; is a closing quote missing, of the one that opens on line {}?",
                            self.opened
                        ),
                        _ => "a line is longer than 1 MiB; this is not a table".to_string(),
                    }));
                }
            }
            if kept > 0 {
                return Ok(kept);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] =
        &[Column { name: "a", required: true }, Column { name: "b", required: false }];

    type Read = (Vec<(u64, String, String)>, Vec<Diagnostic>, Vec<Diagnostic>);

    fn rows(text: &[u8]) -> Result<Read> {
        let mut table = Table::open(text, "t.csv", COLUMNS, "hint")?;
        let mut rows = Vec::new();
        table.for_each_row(|row, _| {
            rows.push((
                row.line,
                row.get(0).unwrap_or("").to_string(),
                row.get(1).unwrap_or("").to_string(),
            ));
        });
        Ok((rows, table.problems, table.warnings))
    }

    #[test]
    fn spreadsheets_of_all_kinds_read_alike() {
        let expected = vec![(2, "1".to_string(), "x y".to_string())];
        for text in [
            "a,b\n1,x y\n",
            "\u{feff}a,b\r\n1,x y\r\n",
            "A;B\n1;x y",
            "b\ta\nx y\t1\n",
            "\"a\",\"b\"\n\"1\",\"x y\"\n",
        ] {
            assert_eq!(rows(text.as_bytes()).unwrap().0, expected, "{text:?}");
        }
        let (found, _, _) = rows(b"# made by hand\na,b\n\n# more\n1,x\n").unwrap();
        assert_eq!(found, vec![(5, "1".to_string(), "x".to_string())]);
    }

    #[test]
    fn lines_that_end_as_on_old_macs_are_lines() {
        for text in ["a,b\r1,x\r", "# made by hand\ra,b\r1,x", "\u{feff}# x\r\ra,b\r1,x\r"] {
            let line = text.split('\r').position(|line| line == "1,x").unwrap() as u64 + 1;
            let expected = vec![(line, "1".to_string(), "x".to_string())];
            assert_eq!(rows(text.as_bytes()).unwrap().0, expected, "{text:?}");
        }
        let error = rows(b"# x\rc,d\r1,2\r").err().unwrap().to_string();
        assert!(error.starts_with("t.csv:2: the first line must be a header"), "{error}");
        assert!(error.ends_with("but it is 'c,d'"), "{error}");
    }

    #[test]
    fn what_is_no_utf8_is_told_with_its_line() {
        let text = b"a,b\n1,ok\n# c1\n# c2\n\n# c3\n2,caf\xe9\n\n\"3\n4\",x\n5,\xff";
        let (found, problems, _) = rows(text).unwrap();
        assert_eq!(found.iter().map(|(line, ..)| *line).collect::<Vec<_>>(), [2, 9]);
        assert_eq!(
            problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [7, 11]
                .map(|line| format!("t.csv:{line}: is not UTF-8; save the file as CSV in UTF-8"))
        );
    }

    #[test]
    fn the_first_line_may_name_the_separator() {
        let row = |line| vec![(line, "1".to_string(), "x,y".to_string())];
        for text in [
            "sep=;\na;b\n1;x,y\n",
            "\u{feff}sep=;\r\na;b\r\n1;x,y\r\n",
            "SEP=|\na|b\n1|x,y\n",
            "sep=\t\na\tb\n1\tx,y\n",
            "sep=,\na,b\n1,\"x,y\"\n",
        ] {
            assert_eq!(rows(text.as_bytes()).unwrap().0, row(3), "{text:?}");
        }
        let (_, problems, _) = rows(b"sep=;\na;b\n1;2\n1\n").unwrap();
        assert_eq!(problems[0].to_string(), "t.csv:4: has 1 field, but the header has 2");
        // Anywhere else, and without a separator, it is a line like any other.
        let (found, _, _) = rows(b"a;b\nsep=;\n").unwrap();
        assert_eq!(found, vec![(2, "sep=".to_string(), String::new())]);
        for text in ["sep=\na,b\n1,x\n", "sep=ab\na,b\n1,x\n", "# x\nsep=;\na;b\n1;x\n"] {
            let error = rows(text.as_bytes()).err().unwrap();
            assert!(error.to_string().contains("must be a header"), "{text:?}: {error}");
        }
        assert_eq!(rows(b"sep=;\n").err().unwrap().to_string(), "t.csv: has only comments");
    }

    #[test]
    fn odd_columns_warn_and_short_rows_are_problems() {
        let (found, problems, warnings) = rows(b"a,b,c\n1,2,3\n1\n1,2,3,\n1,2,3,4\n").unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(problems.len(), 2);
        assert_eq!(problems[0].to_string(), "t.csv:3: has 1 field, but the header has 3");
        assert_eq!(warnings.len(), 1);
    }

    #[test]
    fn what_is_not_a_table_is_told_so() {
        let message = |text: &[u8]| rows(text).err().unwrap().to_string();
        assert_eq!(message(b""), "t.csv: is empty");
        assert_eq!(message(b" \n\n"), "t.csv: is empty");
        assert_eq!(message(b"# x\n"), "t.csv: has only comments");
        assert!(message(b"1,2\n").contains("must be a header"));
        assert!(message(b"b\n1\n").contains("has no column 'a'"));
        assert!(message(b"a,a\n1,2\n").contains("duplicate column"));
        assert!(message(b"\xff\xfea\0,\0").contains("UTF-16"));
        assert!(message(b"\x1f\x8b\x08\0").contains("is packed by gzip"));
        assert!(message(b"\x89PNG\0\0").contains("UTF-8"));
        assert!(message(b"abc\0def").contains("binary"));
    }

    #[test]
    fn a_lost_quote_and_an_endless_line_end() {
        let endless = [b"a,b\n".to_vec(), vec![b'x'; 3 << 20]].concat();
        assert!(rows(&endless).unwrap().1[0].message.contains("not a table"));
        let lost = [b"a,b\n\"1,2\n".to_vec(), b"1,2\n".repeat(1 << 19)].concat();
        assert!(rows(&lost).unwrap().1[0].message.contains("closing quote"));
        let (found, problems, _) = rows(b"a,b\n\xff,1\n2,3\n").unwrap();
        assert_eq!((found.len(), problems.len()), (1, 1));
    }

    #[test]
    fn a_quote_that_is_not_closed_is_told_with_its_line() {
        for (text, line) in [
            ("a,b\n1,2\n3,\"4\n5,6\n", 3),
            ("a,b\n1,\"2", 2),
            ("a,b\r\n# \"\r\n\"1\r\n\"\"\",\"\r\n", 4),
            ("a,b\n1,\"2\"\n\"\"\"\n", 3),
        ] {
            let (_, problems, _) = rows(text.as_bytes()).unwrap();
            let told =
                format!("t.csv: cannot be read: a quote that opens on line {line} is not closed");
            assert_eq!(
                problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
                [told],
                "{text:?}"
            );
        }
        // Elsewhere than at the start of a field a quote is a character like any other.
        for text in
            ["a,b\n1,2\"\n", "a,b\n# \"\n1,2\n", "a,b\n\"1\"\"\",\"2\"\"\"\n", "a,b\n\"1\" \",2"]
        {
            let (found, problems, _) = rows(text.as_bytes()).unwrap();
            assert_eq!((found.len(), problems.len()), (1, 0), "{text:?}: {problems:?}");
        }
        let (found, problems, _) = rows(b"a,b\n\xff,1\n2,3\n").unwrap();
        assert_eq!((found.len(), problems.len()), (1, 1));
    }

    #[test]
    fn several_threads_read_what_one_does() {
        // Several batches, with rows that are blank, short, long, over several lines, no UTF-8 or
        // comments.
        let row = |i: usize| match i % 1_009 {
            0 => b"1\n".to_vec(),
            1 => b"\xff,1\n\n".to_vec(),
            2 => b" , \n".to_vec(),
            3 => b"\"1\n2\",x\r\n# more\n".to_vec(),
            4 => [&vec![b'y'; RECORD_BYTES as usize / 4][..], b",x\n"].concat(),
            _ => format!("{i},x\n").into_bytes(),
        };
        let text = [b"a,b\n".to_vec(), (0..20_000).flat_map(row).collect()].concat();
        let cells = |row: &Row<'_>| (row.line, row.get(0).map(str::to_string));
        let refuse = |row: &Row<'_>, problems: &mut Vec<Diagnostic>| {
            let odd = row.get(0).is_some_and(|cell| cell.ends_with("777"));
            problems.extend(odd.then(|| row.problem(0, "is odd")));
            !odd
        };
        let mut one = Table::open(&text[..], "t.csv", COLUMNS, "hint").unwrap();
        let mut expected = Vec::new();
        let count = one.for_each_row(|row, problems| {
            expected.extend(refuse(row, problems).then(|| cells(row)));
        });
        let mut several = Table::open(&text[..], "t.csv", COLUMNS, "hint").unwrap();
        let rows = several.read_rows(Vec::new, |lines, row, problems| {
            lines.push(row.line);
            refuse(row, problems).then(|| cells(row))
        });
        assert_eq!((rows.count, &rows.given), (count, &expected));
        assert_eq!(several.problems, one.problems);
        assert!(several.problems.len() > 50 && rows.given.len() > 2 * BATCH_ROWS);
        assert!(rows.readers.iter().all(|lines| lines.is_sorted()));
        assert_eq!(rows.readers.len(), rayon::current_num_threads());
    }

    #[test]
    fn reading_stops_after_many_problems() {
        let bad = [b"a,b\n".to_vec(), b"1\n".repeat(100_000)].concat();
        let expected = rows(&bad).unwrap().1;
        assert_eq!(expected.len(), MAX_PROBLEMS + 1);
        let mut table = Table::open(&bad[..], "t.csv", COLUMNS, "hint").unwrap();
        table.read_rows(|| (), |_, _, _| Some(()));
        assert_eq!(table.problems, expected);
    }
}
