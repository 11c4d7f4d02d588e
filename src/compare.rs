//! A plan beside what people do today, and how many GPUs a demand needs.
//!
//! `baselines` are the uniform presets and the heuristics of schedulers, `comparison` puts a
//! plan beside them and finds the frontier, `size` the fewest GPUs, `fairness` what fair shares cost. This uses the optimiser
//! and knows no files, no NVML and no output format.

mod baselines;
mod comparison;
mod fairness;
pub mod over_time;
pub mod replay;
mod size;

pub use baselines::{
    Baseline, LeftOut, MoreGpus, PLAN_ROW, Presets, Suggestion, best_preset, suggest_alone,
    suggest_with_presets,
};
pub use comparison::{
    Comparison, Frontier, FrontierPoint, OutOfReach, compare, compare_plan, frontier,
};
pub use fairness::{FairnessCost, TeamReplicas, cost_of_fairness};
pub use size::{MixBoard, Sizing, SizingMix, size, size_mix, size_over_time};
