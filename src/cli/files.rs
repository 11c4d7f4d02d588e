//! Reading the files that flags name; `-` is stdin.

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Diagnostic, Error, Result};

/// The name of a file for messages; `-` is stdin.
pub fn name_of(file: &Path) -> String {
    if file == Path::new("-") { "<stdin>".to_string() } else { file.display().to_string() }
}

/// Whether an input was stdin already: the second one would find it empty.
static STDIN_IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// Opens a file, or stdin for `-`.
///
/// # Errors
/// It is not there or may not be read (exit 3); stdin is another input already (exit 2).
pub fn open(file: &Path) -> Result<Box<dyn Read + Send>> {
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
