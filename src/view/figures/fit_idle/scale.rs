//! What fits as one number, also where a higher priority comes first.

use std::fmt;
use std::iter::Sum;

use super::FitUnit;
use crate::compare::{Comparison, Frontier};
use crate::demand::{Demand, Workload};
use crate::units::{self, Weight};

/// An amount of what fits, in millionths of a replica or of weight, so that sums are exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Amount(pub u128);

impl Amount {
    /// A weight that is placed.
    pub(super) fn of(weight: &i64) -> Amount {
        Amount(u128::try_from(*weight).unwrap_or(0))
    }

    /// The number, to draw it.
    pub fn value(self) -> f64 {
        self.0 as f64 / Weight::SCALE as f64
    }
}

impl Sum for Amount {
    fn sum<I: Iterator<Item = Amount>>(amounts: I) -> Amount {
        Amount(amounts.map(|amount| amount.0).sum())
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&units::amount(self.0))
    }
}

/// How the weights of a row become one number.
pub(super) struct Scale {
    pub(super) unit: FitUnit,
    /// What is asked for of each priority, highest first.
    pub(super) all: Vec<Amount>,
    /// The same without what no instance can hold.
    pub(super) reachable: Vec<Amount>,
    pub(super) in_bands: bool,
}

impl Scale {
    pub(super) fn new(comparison: &Comparison, frontier: &Frontier, demand: &Demand) -> Scale {
        let reachable = |index: usize| {
            comparison.out_of_reach.binary_search_by_key(&index, |row| row.workload).is_err()
        };
        let unit = if demand.is_weighted() { FitUnit::Weight } else { FitUnit::Replicas };
        let weight_of = |w: &Workload| Amount(u128::from(w.count) * u128::from(w.weight.0));
        let of = |priority: i64, counts: &dyn Fn(usize) -> bool| -> Amount {
            let rows = demand.workloads().iter().enumerate();
            let rows = rows.filter(|(index, w)| w.priority == priority && counts(*index));
            rows.map(|(_, w)| weight_of(w)).sum()
        };
        let sums = |counts: &dyn Fn(usize) -> bool| -> Vec<Amount> {
            comparison.priorities.iter().map(|priority| of(*priority, counts)).collect()
        };
        Scale {
            unit,
            all: sums(&|_| true),
            reachable: sums(&reachable),
            in_bands: !adds_up(comparison, frontier),
        }
    }

    /// What fits, of the weights of each priority.
    pub(super) fn fit(&self, weights: &[i64]) -> Amount {
        if self.in_bands { in_order(weights, &self.reachable) } else { sum(weights) }
    }
}

fn sum(weights: &[i64]) -> Amount {
    weights.iter().map(Amount::of).sum()
}

/// Whether sums over all priorities rank the ways as the goal does: none is above the frontier,
/// and more GPUs never serve less.
fn adds_up(comparison: &Comparison, frontier: &Frontier) -> bool {
    let rises =
        frontier.points.windows(2).all(|w| sum(&w[0].placed_weight) <= sum(&w[1].placed_weight));
    rises
        && comparison.rows.iter().all(|row| {
            let most = frontier
                .points
                .iter()
                .find(|p| p.gpus >= row.gpus_used)
                .or(frontier.points.last())
                .map_or(Amount::default(), |p| sum(&p.placed_weight));
            sum(&row.placed_weight) <= most
        })
}

/// What is served up to the first priority that is not served in full, that one included.
fn in_order(weights: &[i64], all: &[Amount]) -> Amount {
    let weights = || weights.iter().map(Amount::of);
    let full = weights().zip(all).take_while(|(weight, all)| weight >= *all).count();
    weights().take(all.len()).take(full + 1).sum()
}

/// Up to which fit all of each priority and of those above it is served.
pub(super) fn bands(priorities: &[i64], all: &[Amount]) -> Vec<(i64, Amount)> {
    let mut end = Amount::default();
    let band = |(priority, all): (&i64, &Amount)| {
        end = [end, *all].into_iter().sum();
        (*priority, end)
    };
    // A priority of which these GPUs can serve nothing has no band.
    priorities.iter().zip(all).filter(|(_, all)| **all > Amount::default()).map(band).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: i64 = Weight::SCALE as i64;

    #[test]
    fn a_fit_in_bands_ends_in_the_first_priority_that_is_not_full() {
        let of = |n: u128| Amount(n * 1_000_000);
        let all = [10, 20, 30].map(of);
        assert_eq!(in_order(&[10 * ONE, 5 * ONE, 30 * ONE], &all), of(15));
        assert_eq!(in_order(&[9 * ONE, 20 * ONE, 30 * ONE], &all), of(9));
        assert_eq!(in_order(&[10 * ONE, 20 * ONE, 30 * ONE], &all), of(60));
        assert_eq!(bands(&[9, 5, 0], &all), [(9, of(10)), (5, of(30)), (0, of(60))]);
    }

    #[test]
    fn an_amount_has_all_its_digits() {
        for (millionths, text) in
            [(1_234_000_000, "1,234"), (2_550_000, "2.55"), (2_999_000, "2.999"), (3_000, "0.003")]
        {
            assert_eq!(Amount(millionths).to_string(), text);
        }
    }
}
