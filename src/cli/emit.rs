//! `migplan emit KIND`: what the surroundings need from a plan.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::inputs::{CatalogueArgs, name_of, open, read_text};
use super::output::{Console, write_result};
use crate::emit::{
    self, Emitted, Strategy, View, airflow, capacity, checkpoint, configmap, device_plugin,
    jupyterhub, kueue, labels, mig_parted, nvidia_smi, pod, prometheus_rules, slurm, systemd,
};
use crate::error::{Error, Result};
use crate::plan;

/// Write what Kubernetes, Slurm, JupyterHub, Airflow, Prometheus or systemd need from a plan
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  migplan suggest --workloads teams.csv --nodes nodes.json --plan plan.json > config.yaml
  migplan emit configmap --plan plan.json | kubectl apply -f -
  migplan emit labels --plan plan.json --nodes nodes.json --pods pods.json -o roll.sh
  migplan emit jupyterhub --plan plan.json --team research -o values.yaml")]
pub struct Args {
    #[command(subcommand)]
    kind: Kind,
    /// The plan, from `migplan suggest --plan FILE` (- is stdin)
    #[arg(long, value_name = "FILE", global = true)]
    plan: Option<PathBuf>,
    /// Write here instead of to stdout
    #[arg(short, long, value_name = "FILE", global = true)]
    output: Option<PathBuf>,
    /// Add or replace boards from this file, as for the plan
    #[arg(long, value_name = "FILE", global = true)]
    catalogue: Option<PathBuf>,
}
