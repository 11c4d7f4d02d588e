//! What `migplan check --format json` prints, also with `--live`.

use serde::Serialize;

use crate::error::Diagnostic;

/// Schema key of [`CheckDocument`].
pub const CHECK_SCHEMA: &str = "migplan.check/v1";

/// Whether a mig-parted file is valid and fits the GPUs.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CheckDocument {
    /// Always [`CHECK_SCHEMA`].
    pub schema: &'static str,
    /// Whether there is no problem.
    pub ok: bool,
    /// The labels that were checked.
    pub labels: Vec<String>,
    /// Everything that is wrong, each with file and line where it has one.
    pub problems: Vec<String>,
    /// What is odd but works.
    pub warnings: Vec<String>,
}

impl CheckDocument {
    /// The document of a check of `labels`.
    pub fn new(labels: &[&str], problems: &[Diagnostic], warnings: &[Diagnostic]) -> CheckDocument {
        let texts = |found: &[Diagnostic]| found.iter().map(ToString::to_string).collect();
        CheckDocument {
            schema: CHECK_SCHEMA,
            ok: problems.is_empty(),
            labels: labels.iter().map(ToString::to_string).collect(),
            problems: texts(problems),
            warnings: texts(warnings),
        }
    }
}

/// Schema key of [`LiveCheckDocument`].
pub const LIVE_CHECK_SCHEMA: &str = "migplan.check-live/v1";

/// Whether a node is as a mig-parted file says.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LiveCheckDocument {
    /// Always [`LIVE_CHECK_SCHEMA`].
    pub schema: &'static str,
    /// Whether it is.
    pub ok: bool,
    /// The label that was checked.
    pub label: String,
    /// How each GPU that differs does so.
    pub drifted: Vec<String>,
}

impl LiveCheckDocument {
    /// The document of a check of `label`.
    pub fn new(label: &str, drifted: &[Diagnostic]) -> LiveCheckDocument {
        LiveCheckDocument {
            schema: LIVE_CHECK_SCHEMA,
            ok: drifted.is_empty(),
            label: label.to_string(),
            drifted: drifted.iter().map(ToString::to_string).collect(),
        }
    }
}
