//! Where text goes: results to stdout or a file, everything else to stderr.

use std::fs;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};

use super::write::{Failure, folder_of, is_stdout, target_of};
use crate::error::{Diagnostic, Error, ExitCode, Result, is_full};
use crate::view::text::Layout;

/// The terminal, as far as the flags let us use it.
#[derive(Debug, Clone, Copy)]
pub struct Console {
    quiet: bool,
    verbose: u8,
}

const ERROR: anstyle::Style = anstyle::AnsiColor::Red.on_default().bold();
const WARNING: anstyle::Style = anstyle::AnsiColor::Yellow.on_default().bold();
const HINT: anstyle::Style = anstyle::AnsiColor::Cyan.on_default().bold();

impl Console {
    /// A console that prints no summary (`quiet`) or more than usual (`verbose`).
    pub fn new(quiet: bool, verbose: u8) -> Console {
        Console { quiet, verbose }
    }

    /// How much more than usual to print: 0, 1, 2 …
    pub fn verbosity(&self) -> u8 {
        self.verbose
    }

    /// Whether nothing is printed for people.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether a progress bar makes sense: stderr is a terminal and --quiet was not given.
    pub fn is_interactive(&self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }

    /// How a result is laid out on stdout, or in `file` where one is named.
    pub fn layout(&self, file: Option<&Path>) -> Layout {
        let stdout = file.is_none_or(is_stdout);
        let width = if stdout { columns(io::stdout()) } else { None };
        Layout { width, all_rows: self.verbose > 0 }
    }

    /// How a text on stderr is laid out.
    pub fn stderr_layout(&self) -> Layout {
        Layout { width: columns(io::stderr()), all_rows: self.verbose > 0 }
    }

    /// Prints a text for people on stderr, unless quiet.
    pub fn say(&self, text: &str) {
        if !self.quiet {
            // A closed stderr is no error.
            let _ = writeln!(anstream::stderr(), "{text}");
        }
    }

    /// Prints warnings on stderr, unless quiet.
    pub fn warn(&self, warnings: &[Diagnostic]) {
        for warning in warnings {
            self.say(&format!("{WARNING}warning{WARNING:#}: {warning}"));
        }
    }

    /// Prints advice on stderr, unless quiet.
    pub fn hint(&self, hint: &str) {
        self.say(&format!("{HINT}hint{HINT:#}: {hint}"));
    }

    /// Prints an error and its hint on stderr, quiet or not.
    pub fn error(&self, error: &Error) {
        let mut stderr = anstream::stderr().lock();
        for problem in &error.problems {
            let _ = writeln!(stderr, "{ERROR}error{ERROR:#}: {problem}");
        }
        if let Some(hint) = &error.hint {
            let _ = writeln!(stderr, "{HINT}hint{HINT:#}: {hint}");
        }
    }
}

/// A progress bar for so much work that looks as indicatif's `template` says.
pub fn bar(length: u64, template: &str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// The width of a terminal that does not know its size, such as a serial line.
const COLUMNS: u16 = 80;

/// The width of a terminal; `COLUMNS` decides where it is set, as in other commands.
fn columns(stream: impl std::os::fd::AsFd + IsTerminal) -> Option<u16> {
    let set = std::env::var("COLUMNS").ok().and_then(|text| text.trim().parse().ok());
    set.filter(|columns| *columns > 0).or_else(|| {
        let known = terminal_size::terminal_size_of(&stream).map(|(width, _)| width.0);
        known.or_else(|| stream.is_terminal().then_some(COLUMNS))
    })
}

/// How a result to read is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Checks that a result can be written to `file` (stdout where none is named) and more beside it,
/// before the work that makes them: each to a place of its own, and over nothing that is read.
///
/// # Errors
/// Two outputs to one file or to stdout, or an output over one of `inputs` (exit 2); an output that
/// is a folder, or in a folder that is not there (exit 3).
pub fn check_outputs<'a>(
    result: Option<&Path>,
    beside: &[&Option<PathBuf>],
    inputs: impl IntoIterator<Item = &'a Path>,
) -> Result<()> {
    let inputs = inputs.into_iter().filter(|input| *input != Path::new("-"));
    let read: Vec<Place> = inputs.filter_map(place_of).collect();
    let result = result.unwrap_or(Path::new("-"));
    let outputs = [result].into_iter().chain(beside.iter().filter_map(|file| file.as_deref()));
    let mut taken: Vec<Place> = Vec::new();
    for file in outputs {
        check_writable(file)?;
        let Some(place) = place_of(file) else { continue };
        let name = if is_stdout(file) { "stdout".into() } else { file.display().to_string() };
        if taken.contains(&place) {
            return Err(Error::usage(format!("two outputs go to {name}"))
                .hint("name another file for each output; without -o the result goes to stdout"));
        }
        if read.contains(&place) {
            return Err(Error::usage(format!("{name} is read, and would be overwritten"))
                .hint("name another file for the output"));
        }
        taken.push(place);
    }
    Ok(())
}

/// What tells a file from all others, whatever it is called.
#[derive(PartialEq)]
enum Place {
    Stdout,
    /// Device and inode of what is there.
    There(u64, u64),
    /// Where it will be.
    New(PathBuf),
}

/// Where a file lies; `None` for what takes any number of outputs, such as `/dev/null`.
fn place_of(file: &Path) -> Option<Place> {
    if is_stdout(file) {
        return Some(Place::Stdout);
    }
    if let Ok(there) = fs::metadata(file) {
        return there.is_file().then_some(Place::There(there.dev(), there.ino()));
    }
    let target = target_of(file).unwrap_or_else(|_| file.into());
    let folder = folder_of(&target);
    let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.into());
    Some(Place::New(folder.join(target.file_name()?)))
}

/// Checks that a result can be written to `file`, before the work that makes it.
fn check_writable(file: &Path) -> Result<()> {
    if is_stdout(file) {
        return Ok(());
    }
    let problem = match target_of(file) {
        Err(e) => format!("cannot be written: {e}"),
        Ok(target) if target.is_dir() => "is a folder, not a file".to_string(),
        Ok(target) if !folder_of(&target).is_dir() => {
            let folder = folder_of(&target).display();
            match target == file {
                true => format!("cannot be written: there is no folder {folder}"),
                false => format!(
                    "cannot be written: it is a symbolic link to {}, and there is no folder {folder}",
                    target.display()
                ),
            }
        }
        // To open a pipe would wait for its reader.
        Ok(target) if target.is_file() => match fs::OpenOptions::new().write(true).open(target) {
            Err(e) => format!("cannot be written: {e}"),
            Ok(_) => return Ok(()),
        },
        Ok(_) => return Ok(()),
    };
    Err(Error::input(Diagnostic::new(problem).in_file(file.display().to_string())).hint(WRITABLE))
}

const WRITABLE: &str = "name a file in a folder that exists and that you may write to";

/// Writes a result to stdout, or to `file` where one is named (`-` is stdout). A file appears
/// whole or not at all, where that can be, and keeps its owner and mode.
///
/// # Errors
/// The file cannot be written (exit 3). A reader that closed the pipe is no error.
pub fn write_result(
    file: Option<&Path>,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    let Some(file) = file.filter(|f| !is_stdout(f)) else {
        let mut stdout = BufWriter::with_capacity(1 << 16, io::stdout().lock());
        return match write(&mut stdout).and_then(|()| stdout.flush()) {
            Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
                Err(Error::new(ExitCode::BadInput, format!("cannot write to stdout: {e}")))
            }
            _ => Ok(()),
        };
    };
    let Err(Failure { cause, partly }) = super::write::write(file, write) else { return Ok(()) };
    if cause.kind() == io::ErrorKind::BrokenPipe {
        return Ok(());
    }
    let problem = match partly {
        true => format!("is written in part only, and its old content is lost: {cause}"),
        false => format!("cannot be written: {cause}"),
    };
    let problem = Diagnostic::new(problem).in_file(file.display().to_string());
    Err(Error::input(problem).hint(match is_full(&cause) {
        true => "free some space, or name a file on another disk",
        false => WRITABLE,
    }))
}

/// Writes a second result to `file`, where one is named.
///
/// # Errors
/// As [`write_result`].
pub fn write_beside(
    file: Option<&Path>,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    file.map_or(Ok(()), |file| write_result(Some(file), write))
}
