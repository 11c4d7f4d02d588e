//! What every kind hands back: a text, and what its user should know beside it.

use crate::error::Diagnostic;

/// A text for one of the surroundings, and what its user should know beside it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Emitted {
    /// The text.
    pub text: String,
    /// What the text does that its user may not expect, a sentence each: nodes that it skips,
    /// presets that it carries along.
    pub notes: Vec<String>,
    /// What the text cannot express or what needs attention.
    pub warnings: Vec<Diagnostic>,
}

impl From<String> for Emitted {
    fn from(text: String) -> Emitted {
        Emitted { text, ..Emitted::default() }
    }
}
