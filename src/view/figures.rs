//! Figures: what a picture shows, as plain numbers, computed from a plan and what stands beside it.
//!
//! A figure knows nothing of shapes or colours; `view::charts` draws it as it is. Numbers are
//! floats here, in the units that their names say, since nothing is decided by them any more.

mod demand;
mod fit_idle;
mod slices;
mod usage;

pub use demand::{DemandFigure, DemandRow, Given};
pub use fit_idle::{FitIdle, FitUnit, FrontierDot, Way, WayKind};
pub use slices::{Cell, CellUse, Share, SliceMap, SliceRow, TeamKey};
pub use usage::{Usage, UsagePanel};

use crate::units::Mebibytes;

/// MiB as GiB.
fn gib(mib: u64) -> f64 {
    Mebibytes(mib).as_gib()
}
