//! migplan plans and applies MIG layouts of NVIDIA GPUs: from what the teams need and what the GPUs
//! can hold to the proved best plan, the file that carries it out, and the change on the node.
//!
//! From a demand to the file that nvidia-mig-parted takes:
//!
//! ```
//! use migplan::emit::mig_parted;
//! use migplan::hardware::Catalogue;
//! use migplan::optimise::{self, PlanOptions};
//! use migplan::{demand, fleet};
//!
//! let catalogue = Catalogue::built_in();
//! let teams = "team,workload,memory,count\nsearch,train,38GiB,1\nresearch,notebook,8GiB,4\n";
//! let (demand, _warnings) = demand::csv::read(teams.as_bytes(), "teams.csv", &catalogue)?;
//! let fleet = fleet::spec::parse("1xa100-80gb", "--gpus", &catalogue)?;
//!
//! let plan = optimise::suggest(&demand, &fleet, &PlanOptions::default())?;
//! assert_eq!(plan.totals.placed, 5);
//! assert!(plan.proof.stages.iter().all(|stage| stage.proved()));
//!
//! let file = mig_parted::write(&plan, &catalogue, &mig_parted::MigPartedOptions::default())?;
//! assert!(file.text.contains(r#""3g.40gb": 1"#), "{}", file.text);
//! # Ok::<(), migplan::error::Error>(())
//! ```
//!
//! `examples/plan.rs` does it with files, `examples/what_if.rs` asks what more GPUs would serve.
//! Without default features this is the planner alone; `http` adds Prometheus servers, `charts`
//! pictures and pages, `nvml` the GPUs of a node, `cli` the command with all of them.
//!
//! # The way of the data
//!
//! ```text
//! teams.csv, Prometheus ─► demand ─┐
//!                                  ├─► optimise ─► plan ─► check ─┬─► emit (YAML, Kubernetes …)
//! --gpus, fleet.csv, NVML ─► fleet ┘       │                      ├─► view (texts, JSON, pictures)
//!          data/gpus ─► hardware           └─► compare (presets)  └─► apply (NVML)
//! ```
//!
//! # The modules
//!
//! | module | holds | must not know |
//! |---|---|---|
//! | [`error`] | diagnostics with file and line, hints, exit codes | anything else |
//! | [`interrupt`] | signals that ask for an end | what is ended |
//! | [`text`] | numbers and nouns as English writes them | what they count |
//! | [`units`] | MiB, weights, headroom: exact integers | GPUs, files |
//! | [`table`] | CSV as people make it | what a column means |
//! | [`hardware`] | boards, profiles, placements, layouts | demand, fleets, drivers |
//! | [`kubernetes`] | the JSON lists that kubectl prints | what becomes of them |
//! | [`fleet`] | which GPUs exist, and what is on them now | demand, plans |
//! | [`demand`] | workloads and where they come from | fleets, plans |
//! | [`plan`] | the plan, its file, its goal and its checker | how it was found |
//! | [`reconfigure`] | the cheapest change of a GPU's instances | demand, plans, NVML |
//! | [`mig_parted`] | reading nvidia-mig-parted's files | NVML, plans |
//! | [`optimise`] | the best plan and its proof | files, NVML, output formats |
//! | [`compare`] | the plan beside presets and heuristics, the fewest GPUs | files, output formats |
//! | [`schedule`] | which MIG configuration is active when | files, output formats |
//! | [`emit`] | a plan in the formats of others | how it was found |
//! | [`apply`] | a MIG configuration onto the GPUs, through NVML, and back | how a plan was found |
//! | [`view`] | texts, JSON documents, figures, pictures and pages | files, flags, how a number was found |
//! | `cli` | flags, files, prompts, progress | any computation |
//!
//! Imports run one way, from the lower rows to the upper; `tests/it/layering.rs` fails on a line
//! that points back, and on a circle between the files of a module.
//!
//! `CONTRIBUTING.md` says where a new board, stage, rule, emitter, reader or document goes.
//!
//! # What always holds
//!
//! - Geometry is data: `data/gpus/` holds one file for each board with sources; layouts are derived
//!   from placements and never listed. What fits is decided by usable MiB, never by a profile's
//!   name.
//! - A plan is checked by `plan::check`, which shares no code with the optimiser, before anyone
//!   sees it.
//! - Every stage of the goal is proved before the next begins, in integers; only
//!   `optimise/solver/` knows the solver and its floating-point numbers.
//! - The same input gives the same bytes: inputs are sorted where they enter, and no hash order
//!   reaches an output.
//! - Nothing that a user gives causes a panic; all problems of a file are reported at once.
//! - Only `cli` prints.
//!
//! # Words
//!
//! **board** a kind of GPU with its tables · **GPU** one device, by node and index · **profile**
//! `2g.20gb`, `1g.10gb+me` · **placement** start and size in memory slices · **instance** a placed
//! profile · **layout** the instances of one GPU · **MIG configuration** the layouts of a node, a
//! label in mig-parted's file · **workload** one row of demand: team and name, wanted `count`
//! times · **replica** one of those · **demand** all rows · **plan** a layout for each GPU, which
//! replica is assigned to which instance, what is unplaced and why, and the proof · **change** one
//! step from what a node has to what the plan wants · **allocated** memory of an instance with a
//! replica · **free** instances and GPUs without one · **internal fragmentation** memory allocated
//! beyond the demand (JSON key `rounding_mib`).

pub mod apply;
#[cfg(feature = "cli")]
pub mod cli;
pub mod compare;
pub mod demand;
pub mod emit;
pub mod error;
pub mod fleet;
pub mod hardware;
pub mod interrupt;
pub mod kubernetes;
pub mod mig_parted;
pub mod optimise;
pub mod plan;
pub mod reconfigure;
pub mod schedule;
pub mod table;
pub mod text;
pub mod units;
pub mod view;
