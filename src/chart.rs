//! Pictures: draws prepared [figures](crate::figures) and computes none of their numbers.
//!
//! A figure becomes a [`Picture`], a list of shapes with measured texts, and the picture becomes
//! SVG or PNG through plotters' backends. Both look alike, since one embedded font measures every
//! text. Knows neither the optimiser nor files.

mod demand;
mod fit_idle;
mod font;
mod picture;
mod render;
mod slices;
mod theme;
mod usage;

pub use picture::Picture;

use crate::error::Result;
use crate::figures::{DemandFigure, FitIdle, SliceMap, Usage};

/// A figure that can be drawn.
pub trait Chart {
    /// Lays the figure out.
    fn picture(&self) -> Picture;
}

impl Chart for FitIdle {
    fn picture(&self) -> Picture {
        fit_idle::draw(self)
    }
}

impl Chart for SliceMap {
    fn picture(&self) -> Picture {
        slices::draw(self)
    }
}

impl Chart for DemandFigure {
    fn picture(&self) -> Picture {
        demand::draw(self)
    }
}

impl Chart for Usage {
    fn picture(&self) -> Picture {
        usage::draw(self)
    }
}

impl Picture {
    /// The picture as SVG: text stays text, in the fonts that the reader's machine has.
    ///
    /// # Errors
    /// An internal error where the backend fails.
    pub fn svg(&self) -> Result<String> {
        render::svg(self)
    }

    /// The picture as PNG at two pixels to a unit, in the embedded font.
    ///
    /// # Errors
    /// As [`Picture::svg`].
    pub fn png(&self) -> Result<Vec<u8>> {
        render::png(self)
    }
}
