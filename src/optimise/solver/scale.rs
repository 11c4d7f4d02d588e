//! How exact sums become floats that a solver can tell apart, and its floats exact bounds.

use crate::optimise::model::{ColumnBounds, Model, Terms};
use crate::plan::goal::Sense;
use crate::units::gcd;

/// HiGHS works to 1e-6, so the coefficients it sees are kept below this.
const LARGEST_COEFFICIENT: i64 = 1024;

/// What HiGHS does not tell apart: an integer program ends where no more than `mip_feasibility_tolerance`
/// is to be gained, and a relaxation where no reduced cost is above `dual_feasibility_tolerance`.
const MIP_TOLERANCE: f64 = 1e-6;
const LP_TOLERANCE: f64 = 1e-7;
/// The tolerances of an integer program that is solved with care.
pub(super) const TIGHT: f64 = 1e-9;

/// How far a bound that the solver states may be off.
#[derive(Debug, Clone, Copy)]
pub(super) struct Margin {
    /// In what the solver sees.
    tolerance: f64,
    /// As a part of the bound: what sums in floats may be off.
    rounding: f64,
    /// In units of the sum, where the solver sees the sum itself.
    units: f64,
}

impl Margin {
    /// Of an integer program, which ends where less than that is left.
    pub(super) const MIP: Margin =
        Margin { tolerance: MIP_TOLERANCE, rounding: 0.0, units: FORGIVEN };
    /// Of one with tolerances of [`TIGHT`], ten times as much; then rounding is no longer far below.
    pub(super) const MIP_TIGHT: Margin =
        Margin { tolerance: 10.0 * TIGHT, rounding: 1e-14, units: FORGIVEN };
    /// Of a relaxation.
    pub(super) const LP: Margin =
        Margin { tolerance: LP_TOLERANCE, rounding: 0.0, units: FORGIVEN };
    /// Of a relaxation whose tolerance is accepted.
    pub(super) const LP_AS_STATED: Margin =
        Margin { tolerance: 0.0, rounding: 0.0, units: FORGIVEN };
    /// Of a relaxation with all that its reduced costs leave to be gained added: 3,562.875 replicas
    /// are 3,562, not 3,563.
    pub(super) const LP_BY_PRICES: Margin =
        Margin { tolerance: LP_TOLERANCE, rounding: 0.0, units: 0.02 };
}

/// So much of a unit the solver is forgiven where a unit is far above its tolerance.
const FORGIVEN: f64 = 0.4;

/// The least and the greatest value of a column, in the units that HiGHS sees.
pub(super) fn range(column: &ColumnBounds) -> (f64, f64) {
    let unit = column.unit as f64;
    (column.lower as f64 / unit, column.upper as f64 / unit)
}

/// By what a sum is divided before HiGHS sees it: what its coefficients have in common, times a
/// power of two that keeps them small. Both are exact. Where coefficients have so many digits that
/// one unit is below the solver's tolerance, its bounds are widened by that.
pub(super) struct Scale {
    common: i64,
    pub(super) power: i64,
}

impl Scale {
    pub(super) fn of(terms: &Terms, model: &Model) -> Scale {
        let common = terms.iter().map(|(_, a)| a.abs()).fold(0, gcd).max(1);
        let mut scale = Scale { common, power: 1 };
        let largest = scale.most_steps(terms, model);
        while largest / scale.power > LARGEST_COEFFICIENT {
            scale.power *= 2;
        }
        scale
    }

    /// A coefficient, which is a multiple of what is common.
    pub(super) fn down(&self, value: i64) -> f64 {
        (value / self.common) as f64 / self.power as f64
    }

    /// A lower limit, raised to the next value that the sum can take.
    pub(super) fn lower(&self, limit: i64) -> f64 {
        -self.upper(-limit)
    }

    /// An upper limit, lowered to the next value that the sum can take.
    pub(super) fn upper(&self, limit: i64) -> f64 {
        limit.div_euclid(self.common) as f64 / self.power as f64
    }
}

impl Scale {
    /// How many units of the sum one of the solver's is.
    pub(super) fn unit(&self) -> f64 {
        self.common as f64 * self.power as f64
    }

    /// What the sum changes by at least.
    pub(super) fn step(&self) -> i128 {
        self.common.into()
    }

    /// The most steps that one unit of a column changes the sum by.
    pub(super) fn most_steps(&self, terms: &Terms, model: &Model) -> i64 {
        let seen = |(c, a): &(usize, i64)| a.saturating_mul(model.columns[*c].unit).abs();
        terms.iter().map(seen).max().unwrap_or(0) / self.common
    }

    /// A value of the objective as the solver sees it.
    pub(super) fn value(&self, value: i128) -> f64 {
        value as f64 / self.common as f64 / self.power as f64
    }

    /// A tenth of what the objective changes by at least, or what a relaxation does not tell apart.
    pub(super) fn value_of_a_tenth(&self) -> f64 {
        (0.1 / self.power as f64).max(LP_TOLERANCE)
    }

    /// What a bound that the solver states for the scaled objective means for the objective.
    pub(super) fn bound(&self, stated: f64, margin: Margin, sense: Sense) -> i128 {
        let power = self.power as f64;
        let units = if self.power == 1 { margin.units } else { FORGIVEN };
        let tolerance = margin.tolerance + margin.rounding * stated.abs();
        let forgiven = (tolerance * power).max(units);
        integer_bound(stated * power, forgiven, sense) * i128::from(self.common)
    }
}

/// The best integer that a bound allows, forgiving the solver a little.
fn integer_bound(bound: f64, forgiven: f64, sense: Sense) -> i128 {
    match sense {
        Sense::Maximise if bound.is_finite() => (bound + forgiven).floor() as i128,
        Sense::Minimise if bound.is_finite() => (bound - forgiven).ceil() as i128,
        // Small enough that what the coefficients have in common can be multiplied back in.
        Sense::Maximise => i128::MAX / (1 << 64),
        Sense::Minimise => i128::MIN / (1 << 64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Model {
        let mut model = Model::default();
        model.integer(0, 1_000_000);
        model.integer(0, 1_000_000);
        model
    }

    #[test]
    fn a_scale_is_exact_and_small() {
        let model = model();
        let scale = Scale::of(&vec![(0, 3_000_000), (1, 6_000_000)], &model);
        assert_eq!((scale.common, scale.power), (3_000_000, 1));
        let scale = Scale::of(&vec![(0, 40_192), (1, 9_729)], &model);
        assert_eq!((scale.common, scale.power), (1, 64));
        assert_eq!(scale.down(40_192), 628.0);
        assert_eq!(scale.down(9_729) * 64.0, 9_729.0);
    }

    #[test]
    fn limits_move_to_values_that_the_sum_can_take() {
        let scale = Scale { common: 10, power: 1 };
        assert_eq!((scale.upper(29), scale.upper(-21)), (2.0, -3.0));
        assert_eq!((scale.lower(21), scale.lower(-29)), (3.0, -2.0));
    }

    #[test]
    fn a_bound_is_rounded_to_the_next_value() {
        let scale = Scale { common: 5, power: 2 };
        assert_eq!(scale.bound(3.49, Margin::MIP, Sense::Maximise), 35);
        assert_eq!(scale.bound(3.51, Margin::MIP, Sense::Minimise), 35);
        assert!(scale.bound(f64::NAN, Margin::MIP, Sense::Maximise) > i128::from(i64::MAX) / 2);
        let counts = Scale { common: 1, power: 1 };
        assert_eq!(counts.bound(3562.875, Margin::LP, Sense::Maximise), 3563);
        assert_eq!(counts.bound(3562.875, Margin::LP_BY_PRICES, Sense::Maximise), 3562);
        assert_eq!(counts.bound(3562.999, Margin::LP_BY_PRICES, Sense::Maximise), 3563);
        assert_eq!(counts.bound(17.125, Margin::LP_BY_PRICES, Sense::Minimise), 18);
    }

    #[test]
    fn a_unit_below_the_tolerance_is_not_told_apart() {
        let model = model();
        let scale = Scale::of(&vec![(0, 1_000_000_000_000), (1, 999_999_999_999)], &model);
        let value = 1_999_999_999_999;
        let stated = scale.value(value);
        for (margin, sense) in
            [(Margin::MIP, Sense::Maximise), (Margin::LP_BY_PRICES, Sense::Minimise)]
        {
            let apart = (scale.bound(stated, margin, sense) - value).abs();
            assert!(apart >= (margin.tolerance * scale.power as f64) as i128 - 1, "{apart}");
            assert!(apart > 1 && apart < 2_000, "{apart}");
        }
    }
}
