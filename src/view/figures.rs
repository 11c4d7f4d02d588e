//! Figures: what a picture shows, as plain numbers, computed from a plan and what stands beside it.
//!
//! A figure knows nothing of shapes or colours; `view::charts` draws it as it is. Numbers are
//! floats here, in the units that their names say, since nothing is decided by them any more.

mod demand;
mod fit_idle;
mod hours;
mod replay;
mod schedule;
mod slices;
mod usage;

pub use demand::{DemandFigure, DemandRow, Given};
pub use fit_idle::{Amount, FitIdle, FitUnit, FrontierDot, Way, WayKind};
pub use hours::HourAxis;
pub use replay::{MissedLine, NamePanel, ReplayFigure};
pub use schedule::ScheduleFigure;
pub use slices::{Allocated, Cell, CellUse, ColorBy, Key, Question, Share, SliceMap, SliceRow};
pub use usage::{Usage, UsagePanel};

use crate::demand::Demand;
use crate::units::Mebibytes;

/// MiB as GiB.
fn gib(mib: u64) -> f64 {
    Mebibytes(mib).as_gib()
}

/// What is said of a plan, after the hour that it shows where it is one over time.
fn in_hour(hour: Option<&str>, said: String) -> String {
    match hour {
        Some(hour) => format!(
            "One hour of a plan over time, {hour}; no other leaves more replicas unplaced. {said}"
        ),
        None => said,
    }
}

/// The teams of a demand, numbered by name: how the pictures and tables of one page refer to the
/// same team.
#[derive(Debug, Clone)]
pub struct TeamNumbers<'d>(Vec<&'d str>);

impl<'d> TeamNumbers<'d> {
    /// Numbers the teams.
    pub fn new(demand: &'d Demand) -> TeamNumbers<'d> {
        let mut names: Vec<&str> = demand.workloads().iter().map(|w| &*w.team).collect();
        names.sort_unstable();
        names.dedup();
        TeamNumbers(names)
    }

    /// The number of a team.
    pub fn of(&self, team: &str) -> Option<u32> {
        self.0.binary_search(&team).ok().and_then(|at| u32::try_from(at).ok())
    }

    /// The names in the order of their numbers.
    pub fn names(&self) -> &[&'d str] {
        &self.0
    }
}
