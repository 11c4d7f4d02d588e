//! What can go wrong, in one shape: problems with file, line and value, a hint, an exit code.
//!
//! Rooms collect every [`Diagnostic`] of an input before they give up, so that a person mends a file
//! once. The texts live where the problem is found; only `cli` prints them.

use std::fmt;
use std::io;

/// The exit codes of the contract. Scripts rely on them; never renumber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Done.
    Success = 0,
    /// A bug in migplan.
    Internal = 1,
    /// Wrong flags or arguments.
    Usage = 2,
    /// A file, row or field that cannot be used.
    BadInput = 3,
    /// `--strict`, and some demand is unplaced.
    Unplaced = 4,
    /// No plan within `--time-limit`.
    TimeLimit = 5,
    /// NVML or the driver is not available.
    NoDriver = 6,
    /// Busy, drifted or unsafe: nothing was touched.
    Refused = 7,
    /// A change failed and was rolled back.
    RolledBack = 8,
    /// A change failed and the rollback is incomplete.
    RollbackIncomplete = 9,
}

/// One thing that is wrong with an input.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diagnostic {
    /// The file as the user named it (`-` is stdin), or the flag.
    pub file: Option<String>,
    /// The line in that file, from 1.
    pub line: Option<u64>,
    /// What is wrong, with column name and value; a lower-case sentence without a full stop.
    pub message: String,
}

impl Diagnostic {
    /// A problem without file or line.
    pub fn new(message: impl Into<String>) -> Diagnostic {
        Diagnostic { message: message.into(), ..Diagnostic::default() }
    }

    /// The same problem, found in `file`.
    #[must_use]
    pub fn in_file(mut self, file: impl Into<String>) -> Diagnostic {
        self.file = Some(file.into());
        self
    }

    /// The same problem, found on `line` (from 1).
    #[must_use]
    pub fn at_line(mut self, line: u64) -> Diagnostic {
        self.line = Some(line);
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            let file = if file == "-" { "<stdin>" } else { file };
            write!(f, "{file}:")?;
        }
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        if self.file.is_some() || self.line.is_some() {
            f.write_str(" ")?;
        }
        f.write_str(&self.message)
    }
}

/// Why a command could not do its job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What the process exits with.
    pub code: ExitCode,
    /// Everything that is wrong; never empty.
    pub problems: Vec<Diagnostic>,
    /// What to do about it.
    pub hint: Option<String>,
}

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error with one problem.
    pub fn new(code: ExitCode, message: impl Into<String>) -> Error {
        Error { code, problems: vec![Diagnostic::new(message)], hint: None }
    }

    /// Wrong flags or arguments (exit 2).
    pub fn usage(message: impl Into<String>) -> Error {
        Error::new(ExitCode::Usage, message)
    }

    /// An input that cannot be used (exit 3).
    pub fn input(problem: Diagnostic) -> Error {
        Error { code: ExitCode::BadInput, problems: vec![problem], hint: None }
    }

    /// Several problems of the input, all at once (exit 3).
    pub fn inputs(problems: Vec<Diagnostic>) -> Error {
        Error { code: ExitCode::BadInput, problems, hint: None }
    }

    /// A bug in migplan (exit 1).
    pub fn internal(message: impl Into<String>) -> Error {
        Error::new(ExitCode::Internal, message)
    }

    /// The same error, where a problem that names no file is one of `file`.
    #[must_use]
    pub fn in_file(mut self, file: &str) -> Error {
        for problem in self.problems.iter_mut().filter(|p| p.file.is_none()) {
            problem.file = Some(file.to_string());
        }
        self
    }

    /// The same error with advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = Some(hint.into());
        self
    }

    /// The same error; where it says that there is no driver, with `other` as one more way out.
    #[must_use]
    pub fn or_without_driver(mut self, other: &str) -> Error {
        if self.code == ExitCode::NoDriver {
            self.hint = Some(match self.hint {
                Some(hint) => format!("{hint}; or {other}"),
                None => other.to_string(),
            });
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// Whether it is the disk, or this user's part of it, that has no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_its_place() {
        let problem =
            Diagnostic::new("column 'count': '-1' is negative").in_file("teams.csv").at_line(3);
        assert_eq!(problem.to_string(), "teams.csv:3: column 'count': '-1' is negative");
        assert_eq!(Diagnostic::new("x").in_file("-").to_string(), "<stdin>: x");
    }
}
