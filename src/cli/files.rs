//! Reading the files that flags name; `-` is stdin.

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Diagnostic, Error, Result};
use crate::text::not_plain;

/// The name of a file for messages; `-` is stdin.
pub fn name_of(file: &Path) -> String {
    if file == Path::new("-") { "<stdin>".to_string() } else { file.display().to_string() }
}

/// Whether an input was stdin already: the second one would find it empty.
static STDIN_IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// Opens a file of text, or stdin for `-`. A byte order mark, as Windows writes it, is left out.
///
/// # Errors
/// It is not there or may not be read, or it is packed or UTF-16 (exit 3); stdin is another input
/// already (exit 2).
pub fn open(file: &Path) -> Result<Box<dyn Read + Send>> {
    const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
    const LONGEST_MAGIC: u64 = 8;
    let mut input = open_any(file)?;
    let fail = |message: String| Error::input(Diagnostic::new(message).in_file(name_of(file)));
    let mut head = Vec::new();
    let read = input.by_ref().take(LONGEST_MAGIC).read_to_end(&mut head);
    read.map_err(|e| fail(format!("cannot be read: {e}")))?;
    if let Some(what) = not_plain(&head) {
        return Err(fail(what.to_string()));
    }
    if head.starts_with(BYTE_ORDER_MARK) {
        head.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(Box::new(io::Cursor::new(head).chain(input)))
}

/// Opens a file whatever is in it, or stdin for `-`.
///
/// # Errors
/// As [`open`], but for what is in it.
pub fn open_any(file: &Path) -> Result<Box<dyn Read + Send>> {
    if file == Path::new("-") {
        if STDIN_IS_TAKEN.swap(true, Ordering::Relaxed) {
            return Err(Error::usage("several inputs are standard input (-)")
                .hint("one of them can be; name files for the others"));
        }
        return Ok(Box::new(io::stdin()));
    }
    let fail = |message: String| Error::input(Diagnostic::new(message).in_file(name_of(file)));
    match fs::metadata(file) {
        Ok(m) if m.is_dir() => return Err(fail("is a folder, not a file".into())),
        Ok(_) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(fail("no such file".into()).hint(format!(
                "you are in {}",
                std::env::current_dir().map(|d| d.display().to_string()).unwrap_or_default()
            )));
        }
        Err(e) => return Err(fail(format!("cannot be read: {e}"))),
    }
    let file = fs::File::open(file).map_err(|e| fail(format!("cannot be read: {e}")))?;
    Ok(Box::new(file))
}

/// Reads a whole text file, or stdin for `-`.
///
/// # Errors
/// As [`open`]; also a text that is not UTF-8.
pub fn read_text(file: &Path) -> Result<String> {
    let mut text = String::new();
    open(file)?.read_to_string(&mut text).map_err(|e| {
        let message = if e.kind() == io::ErrorKind::InvalidData {
            "is not UTF-8 text".to_string()
        } else {
            format!("cannot be read: {e}")
        };
        Error::input(Diagnostic::new(message).in_file(name_of(file)))
    })?;
    Ok(text)
}
