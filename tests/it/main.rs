//! The integration tests: one program, so that the solver is linked once.
//!
//! Each module below is a subject; `common` and `rehearsal` hold what several need.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    unreachable_pub,
    reason = "a test that cannot go on has failed, and may say why"
)]

mod apply_changes;
mod apply_cli;
mod apply_compute;
mod apply_ends;
mod apply_gpus;
mod apply_history;
mod apply_meanwhile;
mod apply_modes;
mod apply_others;
mod apply_power;
mod apply_profiles;
mod apply_safety;
mod apply_sweep;
mod broken_plans;
mod cluster;
mod common;
mod compare;
mod emit;
mod geometry;
mod histories;
mod hunt;
mod keep_present;
mod known_plans;
mod layering;
mod left_out;
mod library;
mod messages;
mod optimal;
mod outputs;
mod over_time;
mod over_time_optimal;
mod pictures;
mod prometheus;
mod quickstart;
mod real_gpu;
mod rehearsal;
mod replay;
mod schedule;
mod schedule_says;
mod schemas;
mod seeds;
mod size_over_time;
mod suggest;
mod teams;
mod terminal;
mod time_limit;
