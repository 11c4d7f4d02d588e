//! Prometheus ends a series by a NaN of its own, the staleness marker, where its target or the pod
//! goes away. The files that people export spell it as any NaN.

/// The samples of one series, as far as they tell a staleness marker from data that is no number.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Staleness {
    /// When the last number was, unless a NaN came after it.
    last_ms: Option<i64>,
    /// A NaN after a number, and how far apart both are.
    marker: Option<(i64, i64)>,
}

impl Staleness {
    /// Takes the next sample of the series, in order of time; how many NaNs, of this one and the one
    /// before, are no staleness markers.
    ///
    /// A marker follows a number, and is the last sample, or the last before a gap: in the next
    /// scrape the series is gone.
    pub(super) fn next(&mut self, at_ms: i64, is_nan: bool) -> u64 {
        let goes_on = |(marked, step): (i64, i64)| {
            let gap = at_ms.saturating_sub(marked);
            gap > 0 && gap <= step.saturating_add(step / 2)
        };
        let mut wrong = u64::from(self.marker.take().is_some_and(goes_on));
        if !is_nan {
            self.last_ms = Some(at_ms);
            return wrong;
        }
        match self.last_ms.take().map(|last| at_ms.saturating_sub(last)) {
            Some(step) if step > 0 => self.marker = Some((at_ms, step)),
            _ => wrong += 1,
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nan_that_ends_a_series_is_a_marker() {
        let wrong = |samples: &[(i64, bool)]| {
            let mut staleness = Staleness::default();
            samples.iter().map(|(at, is_nan)| staleness.next(*at, *is_nan)).sum::<u64>()
        };
        assert_eq!(wrong(&[(0, false), (15, false), (30, true)]), 0, "at the end");
        assert_eq!(wrong(&[(0, false), (15, true), (60, false), (75, true)]), 0, "before a gap");
        assert_eq!(wrong(&[(0, false), (15, true), (30, false), (45, false)]), 1, "in between");
        assert_eq!(wrong(&[(0, false), (15, true), (30, true), (45, true)]), 3, "several in a row");
        assert_eq!(wrong(&[(0, true)]), 1, "alone");
        assert_eq!(wrong(&[(0, false), (15, true), (0, false), (15, true)]), 0, "read twice");
        assert_eq!(
            wrong(&[(i64::MIN, false), (i64::MAX, true), (i64::MAX, false)]),
            0,
            "far apart"
        );
    }
}
