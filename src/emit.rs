//! What the surroundings need from a plan, each kind in a file of its own: pure functions from a
//! plan to text.
//!
//! Nothing here prints, asks a driver or knows how a plan was found. Nothing schedules either: each
//! kind writes what the program that does so reads. What the kinds share: `plan_view` (the plan by
//! node and by workload), `held` (what workloads hold in each hour), `nodes` (what a node advertises),
//! `strategy` (whether a cluster's device plugin will), `output` (a text with notes and warnings),
//! `yaml` and `shell` (quoting), `template` and `snippets/` (text files with gaps). A new kind is a file here, a subcommand in `cli/emit.rs`, and a test that reads it back with a reader
//! that is not ours in `tests/it/emit`.

pub mod airflow;
pub mod capacity;
pub mod checkpoint;
pub mod configmap;
pub mod device_plugin;
pub mod dra;
pub mod gke;
pub mod grafana;
pub mod held;
pub(crate) mod html;
pub mod jupyterhub;
pub mod kueue;
pub mod labels;
mod mig_config;
pub mod mig_parted;
pub mod nodes;
pub mod nvidia_smi;
pub mod output;
pub mod plan_view;
pub mod pod;
mod presets;
pub mod prometheus_rules;
pub(crate) mod shell;
pub mod slurm;
pub mod source;
pub mod strategy;
pub mod systemd;
mod template;
pub mod weekly;
mod yaml;
