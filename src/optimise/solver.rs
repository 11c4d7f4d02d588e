//! The solver, HiGHS: integer programs by way of good_lp (`solve`), and linear relaxations that grow
//! with their model (`relaxation`). Only here are its numbers in floating point; what leaves is exact,
//! or is put into the model in integers by whoever asked. Knows models, and no goal.

mod processors;
pub(crate) mod relaxation;
mod scale;
pub(crate) mod solve;
