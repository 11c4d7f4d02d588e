//! `--report`: writes the page about a plan.

use std::path::Path;

use super::output::write_result;
use crate::error::Result;
use crate::view::html::report::report;

pub(super) use crate::view::html::report::Subject;

/// Writes the page.
///
/// # Errors
/// The file cannot be written (exit 3); the frontier is not found in time (exit 5).
pub(super) fn write(file: &Path, subject: &Subject<'_>) -> Result<()> {
    let text = report(subject)?;
    write_result(Some(file), |out| out.write_all(text.as_bytes()))
}
