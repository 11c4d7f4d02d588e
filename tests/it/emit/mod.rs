//! `migplan emit`: everything that it writes is read back by a reader that is not ours: typed
//! Kubernetes objects, promtool, systemd, Slurm, bash with stand-ins for kubectl and nvidia-smi,
//! Python. Readers that a machine lacks are skipped with a word.

mod advertised;
mod boards;
mod dra;
mod gke;
mod golden;
mod grafana;
mod kubernetes;
mod over_time;
mod programs;
mod rollout;
mod scale;
mod slurm;
mod support;
mod usage;
