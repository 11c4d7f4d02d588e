//! migplan plans the cut of NVIDIA GPUs into MIG instances: from what the teams need and what the
//! GPUs can hold to the proved best plan, the file that carries it out, and the change on the node.
//!
//! The way of the data, which is also the order in which rooms may import each other:
//! `units` → `hardware` → `fleet`, `demand` → `plan` → `optimise` → `emit`, `chart`, `apply` →
//! `cli`. `error` (what went wrong, exit codes) and `table` (CSV as people make it) serve them all.

pub mod apply;
pub mod cli;
pub mod demand;
pub mod error;
pub mod fleet;
pub mod hardware;
pub mod mig_parted;
pub mod plan;
pub mod table;
pub mod units;
