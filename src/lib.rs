//! migplan plans the cut of NVIDIA GPUs into MIG instances: from what the teams need and what the
//! GPUs can hold to the proved best plan, the file that carries it out, and the change on the node.
//!
//! # The way of the data
//!
//! ```text
//! teams.csv, Prometheus ─► demand ─┐
//!                                  ├─► optimise ─► plan ─► check ─► emit (YAML, Kubernetes …)
//! --gpus, fleet.csv, NVML ─► fleet ┘                 │              chart (pictures)
//!          data/gpus ─► hardware                     └────────────► apply (NVML)
//! ```
//!
//! # The rooms
//!
//! | room | holds | must not know |
//! |---|---|---|
//! | [`error`] | problems with file and line, hints, exit codes | anything else |
//! | [`units`] | MiB, weights, headroom: exact integers | GPUs, files |
//! | [`table`] | CSV as people make it | what a column means |
//! | [`kubernetes`] | the JSON lists that kubectl prints | what becomes of them |
//! | [`hardware`] | boards, profiles, placements, layouts | demand, fleets, drivers |
//! | [`fleet`] | which GPUs exist, and what is on them now | demand, plans |
//! | [`demand`] | workloads and where they come from | fleets, plans |
//! | [`plan`] | the plan and its checker | how it was found |
//! | [`reconfigure`] | the cheapest change of a GPU's instances | demand, plans, NVML |
//! | [`mig_parted`] | reading nvidia-mig-parted's files | NVML, plans |
//! | [`optimise`] | the best plan and its proof | files, NVML, output formats |
//! | [`compare`] | the plan beside presets and heuristics, the fewest GPUs | files, output formats |
//! | [`emit`] | a plan in the formats of others | how it was found |
//! | [`view`] | texts, figures, pictures and pages for people | files, flags, how a number was found |
//! | [`apply`] | a configuration onto the GPUs, through NVML, and back | how a plan was found |
//! | [`cli`] | flags, files, printing | any computation |
//!
//! Imports run one way: units → hardware → fleet, demand → plan → optimise → compare → view,
//! emit, apply → cli. `tests/it/layering.rs` fails on a line that points back.
//!
//! # What always holds
//!
//! - Geometry is data: `data/gpus/` holds one file per board with sources; layouts are derived from
//!   placements and never listed. What fits is decided by usable MiB, never by a profile's name.
//! - A plan is checked by `plan::check`, which shares no code with the optimiser, before anybody
//!   sees it.
//! - Every stage of the goal is proved before the next begins, in integers; only `optimise/solve.rs`
//!   knows the solver, and floats.
//! - The same input gives the same bytes: inputs are sorted where they enter, and no hash order
//!   reaches an output.
//! - Nothing that a user gives causes a panic; all problems of a file are reported at once.
//! - Only `cli` prints.
//!
//! # Words
//!
//! **board** a kind of GPU with its tables · **GPU** one card, by node and index · **profile**
//! `2g.20gb`, `1g.10gb+me` · **placement** start and size in memory slices · **layout** the placed
//! profiles of one GPU · **workload** one row of demand: team and name, wanted `count` times ·
//! **replica** one of those · **demand** all rows · **plan** a layout per GPU, who sits where, who
//! is left out and why, and the proof · **change** one step from what a node has to what the plan
//! wants. Inside the optimiser: **pool** all GPUs of a board · **kind** what an instance can be ·
//! **type** replicas that may sit in the same kinds · **class** those of one priority and weight ·
//! **pattern** a maximal multiset of profiles on one GPU.

pub mod apply;
pub mod cli;
pub mod compare;
pub mod demand;
pub mod emit;
pub mod error;
pub mod fleet;
pub mod hardware;
pub mod kubernetes;
pub mod mig_parted;
pub mod optimise;
pub mod plan;
pub mod reconfigure;
pub mod table;
pub mod text;
pub mod units;
pub mod view;
