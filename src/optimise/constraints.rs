//! The constraints of the integer program, one file each: a file adds its columns and rows, and
//! says what their values mean. A further rule of a site is a further file, called by
//! `formulation`. No file here knows the solver, the goal or the plan.

pub(crate) mod assignment;
pub(crate) mod gpus;
pub(crate) mod kinds_in_use;
pub(crate) mod memory;
pub(crate) mod node_flow;
pub(crate) mod node_mode;
pub(crate) mod one_name;
pub(crate) mod patterns;
pub(crate) mod present;
pub(crate) mod quota;
pub(crate) mod single_profile;
pub(crate) mod spare;
pub(crate) mod team_shares;
