//! What people look at: a value in, a text or a picture out.
//!
//! Pure functions: nothing here reads a file, prints, or asks the optimiser anything. [`figures`]
//! computes what a picture shows as plain numbers, `charts` draws figures as they are, `html`
//! is the page that holds them.

#[cfg(feature = "charts")]
pub mod charts;
pub mod figures;
#[cfg(feature = "charts")]
pub mod html;
pub mod json;
pub mod text;
