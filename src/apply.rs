//! Changing a node: observe → guard → execute → verify, and back where anything goes wrong.
//!
//! [`session`] is the one sequence; everything in it is written against [`MigDriver`], and only
//! [`nvml`] knows the real library. This module knows boards, observed nodes, wanted GPUs and
//! changes; it knows nothing of demand, plans or the optimiser, and prints nothing: it tells what
//! happens by events.
//!
//! What keeps running work safe: [`guard`] refuses any change that would end a busy instance, the
//! node is read again right before the first change, what stays is never destroyed, and the driver
//! itself refuses to destroy what is in use. What keeps the node whole: [`state_dir`] saves the state
//! before the first change, the result is read back, and any failure leads back to that state, each
//! GPU by itself.

pub mod driver;
pub mod execute;
pub mod folder;
pub mod guard;
pub mod history;
mod holders;
pub mod journal;
mod lock;
#[cfg(feature = "nvml")]
pub mod nvml;
pub mod observe;
pub mod operator;
mod others;
mod program;
mod resets;
mod restore;
pub mod services;
pub mod session;
pub mod state;
pub mod state_dir;
pub mod steps;
mod stopped;
mod tables;
mod trail;
pub mod way_back;

pub use crate::interrupt::Interrupt;
pub use driver::MigDriver;
pub use execute::Patience;
pub use guard::{GpuChange, NodeChange};
pub use history::History;
pub use lock::{GPU_LOCKS_VARIABLE, gpu_locks};
#[cfg(feature = "nvml")]
pub use nvml::NvmlDriver;
pub use operator::{Event, Operator, Phase, Proposal, Reached};
pub use services::Systemd;
pub use session::{ApplyOptions, Outcome, Session};
pub use state::GpuState;
pub use state_dir::{DEFAULT_STATE_DIR, Saves, StateDir};
pub use steps::{Action, Step};
pub use way_back::Target;
