//! The hours of a demand as the axis of a figure.

use crate::demand::hours::{DAYS, WEEK};
use crate::demand::over_time::OverTime;

/// Hours from left to right.
#[derive(Debug, Clone, PartialEq)]
pub struct HourAxis {
    /// How many.
    pub hours: usize,
    /// Where days begin: the hour, and the day's name.
    pub days: Vec<(usize, String)>,
}

impl HourAxis {
    /// The hours of a demand.
    pub fn new(demand: &OverTime) -> HourAxis {
        let day = |of_week: usize| of_week % WEEK / 24;
        let mut days = Vec::new();
        let mut before = None;
        for (at, hour) in demand.hours().iter().enumerate() {
            let now = day(hour.of_week);
            if before != Some(now) {
                days.push((at, DAYS[now].to_string()));
            }
            before = Some(now);
        }
        HourAxis { hours: demand.hours().len(), days }
    }
}
