//! `migplan emit KIND`: what the surroundings need from a plan.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::files::{name_of, open, read_text};
use super::inputs::{CatalogueArgs, read_pods};
use super::output::{Console, write_result};
use crate::demand::pods::Pods;
use crate::emit::{
    self, Emitted, Strategy, View, airflow, capacity, checkpoint, configmap, device_plugin,
    jupyterhub, kueue, labels, mig_parted, nvidia_smi, pod, prometheus_rules, slurm, systemd,
};
use crate::error::{Error, Result};
use crate::fleet::nodes_json;
use crate::hardware::Catalogue;
use crate::plan::{self, file::PlanFile};

/// Write what Kubernetes, Slurm, JupyterHub, Airflow, Prometheus or systemd need from a plan
#[derive(Debug, clap::Args)]
#[command(subcommand_value_name = "KIND", subcommand_help_heading = "Kinds")]
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

#[derive(Debug, clap::Subcommand)]
enum Kind {
    Configmap(ConfigmapArgs),
    Labels(LabelsArgs),
    DevicePlugin(DevicePluginArgs),
    Capacity(CapacityArgs),
    Pod(PodArgs),
    Kueue(KueueArgs),
    Jupyterhub(JupyterhubArgs),
    Airflow(AirflowArgs),
    Slurm(SlurmArgs),
    Systemd(SystemdArgs),
    PrometheusRules(PrometheusRulesArgs),
    NvidiaSmi(NvidiaSmiArgs),
    Checkpoint(CheckpointArgs),
    MigParted(MigPartedArgs),
}

/// How instances become resources.
#[derive(Debug, clap::Args)]
struct StrategyArgs {
    /// The device plugin's MIG strategy: a resource name for each profile, or nvidia.com/gpu for all
    #[arg(long, value_enum, value_name = "STRATEGY", default_value_t)]
    strategy: Strategy,
}

/// The label of the plan's config.
#[derive(Debug, clap::Args)]
struct NameArgs {
    /// The config's label; with several distinct nodes NAME-1, NAME-2 …
    #[arg(long, default_value = mig_parted::DEFAULT_NAME)]
    name: String,
}

/// Workloads as templates.
#[derive(Debug, clap::Args)]
struct TemplateArgs {
    /// Only this team's workloads (repeatable)
    #[arg(long, value_name = "TEAM")]
    team: Vec<String>,
    /// One namespace for all; without it each team's own
    #[arg(long)]
    namespace: Option<String>,
    /// The image that they run
    #[arg(long, default_value = pod::DEFAULT_IMAGE)]
    image: String,
}

impl TemplateArgs {
    fn options(&self) -> pod::Options {
        pod::Options { image: self.image.clone(), namespace: self.namespace.clone() }
    }
}

/// The GPU Operator's custom MIG config as a ConfigMap, with all-disabled
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  migplan emit configmap --plan plan.json | kubectl apply -f -")]
struct ConfigmapArgs {
    #[command(flatten)]
    name: NameArgs,
    #[command(flatten)]
    strategy: StrategyArgs,
    /// The ConfigMap's name
    #[arg(long, value_name = "NAME", default_value = configmap::DEFAULT_CONFIGMAP)]
    configmap_name: String,
    /// The GPU Operator's namespace
    #[arg(long, default_value = configmap::DEFAULT_NAMESPACE)]
    namespace: String,
    /// Add a uniform all-<profile> config for each profile of the boards
    #[arg(long)]
    with_presets: bool,
    /// Write here which node takes which config, as CSV
    #[arg(long, value_name = "FILE")]
    assignments: Option<PathBuf>,
}

/// A script of kubectl commands that labels the nodes, a few at a time, the idle ones first
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  kubectl get nodes -o json > nodes.json && kubectl get pods -A -o json > pods.json
  migplan emit labels --plan plan.json --nodes nodes.json --pods pods.json --max-unavailable 10% -o roll.sh
  bash roll.sh")]
struct LabelsArgs {
    #[command(flatten)]
    name: NameArgs,
    /// How many nodes may be out of service at once: a number or a share
    #[arg(long, value_name = "N|N%", default_value = "1")]
    max_unavailable: labels::MaxUnavailable,
    /// How long one batch may take to drain and to be cut
    #[arg(long, value_name = "DURATION", default_value = "20m")]
    timeout: String,
    /// The cluster's nodes now (kubectl get nodes -o json): skips those that are as planned
    #[arg(long, value_name = "FILE")]
    nodes: Option<PathBuf>,
    /// The cluster's pods now (kubectl get pods -A -o json): idle nodes first, and not drained
    #[arg(long, value_name = "FILE", requires = "nodes")]
    pods: Option<PathBuf>,
}

/// Helm values that make the device plugin advertise the instances
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  migplan emit device-plugin --plan plan.json --chart gpu-operator -o values.yaml")]
struct DevicePluginArgs {
    #[command(flatten)]
    strategy: StrategyArgs,
    /// Whose chart
    #[arg(long, value_enum, default_value = "device-plugin")]
    chart: ChartValue,
    /// The ConfigMap of `migplan emit configmap`, for the GPU Operator
    #[arg(long, value_name = "NAME", default_value = configmap::DEFAULT_CONFIGMAP)]
    configmap_name: String,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum ChartValue {
    DevicePlugin,
    GpuOperator,
}

/// The numbers to expect under Allocatable, per node and in all, before and after
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  migplan emit capacity --plan plan.json --nodes nodes.json --format json")]
struct CapacityArgs {
    #[command(flatten)]
    strategy: StrategyArgs,
    /// The cluster's nodes now (kubectl get nodes -o json); without it all GPUs count as whole
    #[arg(long, value_name = "FILE")]
    nodes: Option<PathBuf>,
    /// A table for people or JSON
    #[arg(long, value_enum, default_value = "text")]
    format: FormatValue,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum FormatValue {
    Text,
    Json,
}

/// A pod for each workload that asks for the instance that it has
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  migplan emit pod --plan plan.json --team research")]
struct PodArgs {
    #[command(flatten)]
    strategy: StrategyArgs,
    #[command(flatten)]
    template: TemplateArgs,
}

/// Kueue flavors and queues with the plan's quota for each team
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  migplan emit kueue --plan plan.json | kubectl apply -f -")]
struct KueueArgs {
    #[command(flatten)]
    strategy: StrategyArgs,
    /// The cohort in which teams borrow what nobody has; also the name of the local queues
    #[arg(long, value_name = "NAME", default_value = kueue::DEFAULT_COHORT)]
    cohort: String,
}

/// Helm values with the instances as JupyterHub's menu of profiles
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  migplan emit jupyterhub --plan plan.json --team research -o values.yaml")]
struct JupyterhubArgs {
    #[command(flatten)]
    strategy: StrategyArgs,
    /// Only what this team has (repeatable)
    #[arg(long, value_name = "TEAM")]
    team: Vec<String>,
}

/// A Python module with an Airflow operator for each workload
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  migplan emit airflow --plan plan.json --namespace airflow -o gpu_tasks.py")]
struct AirflowArgs {
    #[command(flatten)]
    strategy: StrategyArgs,
    #[command(flatten)]
    template: TemplateArgs,
}

/// The lines of gres.conf and slurm.conf
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  migplan emit slurm --plan plan.json --part gres.conf >> /etc/slurm/gres.conf")]
struct SlurmArgs {
    /// Only the lines of this file
    #[arg(long, value_enum, value_name = "FILE")]
    part: Option<PartValue>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum PartValue {
    #[value(name = "gres.conf")]
    Gres,
    #[value(name = "slurm.conf")]
    Nodes,
}

/// A systemd unit that cuts a node's GPUs again at boot
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  migplan emit systemd --plan plan.json --node gpu-1 -o /etc/systemd/system/migplan.service")]
struct SystemdArgs {
    #[command(flatten)]
    name: NameArgs,
    /// The node that the unit is for, where nodes differ
    #[arg(long)]
    node: Option<String>,
    /// What carries the plan out
    #[arg(long, value_enum, value_name = "PROGRAM", default_value = "migplan")]
    with: WithValue,
    /// Where that program is
    #[arg(long, value_name = "PATH")]
    binary: Option<String>,
    /// Where the mig-parted YAML is on the node
    #[arg(long, value_name = "PATH", default_value = "/etc/migplan/config.yaml")]
    config: String,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum WithValue {
    Migplan,
    NvidiaMigParted,
}

/// Prometheus rules: instances missing, workloads near their memory, idle instances
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  migplan emit prometheus-rules --plan plan.json -o migplan.rules.yaml
  promtool check rules migplan.rules.yaml")]
struct PrometheusRulesArgs {
    /// As a PrometheusRule object of the Prometheus operator
    #[arg(long)]
    object: bool,
    /// The namespace of that object
    #[arg(long, default_value = "monitoring", requires = "object")]
    namespace: String,
}

/// nvidia-smi commands with explicit placements, for a node without migplan
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  migplan emit nvidia-smi --plan plan.json --node gpu-1")]
struct NvidiaSmiArgs {
    /// Only this node
    #[arg(long)]
    node: Option<String>,
}

/// One node's exact placements as a checkpoint of nvidia-mig-parted
#[derive(Debug, clap::Args)]
#[command(after_help = "Example, on the node:
  nvidia-smi --query-gpu=index,uuid --format=csv,noheader > uuids.csv
  migplan emit checkpoint --plan plan.json --node gpu-1 --uuids uuids.csv -o checkpoint.json
  nvidia-mig-parted restore -f checkpoint.json")]
struct CheckpointArgs {
    /// The node, where the plan has several
    #[arg(long)]
    node: Option<String>,
    /// The node's GPU UUIDs: a file (CSV index,uuid, or nvidia-smi -L), or a list GPU-…,GPU-…
    #[arg(long, value_name = "FILE|LIST")]
    uuids: String,
}

/// The mig-parted YAML once more, as `migplan suggest` prints it
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  migplan emit mig-parted --plan plan.json --with-presets -o config.yaml")]
struct MigPartedArgs {
    #[command(flatten)]
    name: NameArgs,
    /// Add all-disabled and a uniform all-<profile> config for each profile of the boards
    #[arg(long)]
    with_presets: bool,
    /// Write here which node takes which config, as CSV
    #[arg(long, value_name = "FILE")]
    assignments: Option<PathBuf>,
}

pub(super) fn run(args: &Args, console: &Console) -> Result<()> {
    let Some(file) = &args.plan else {
        return Err(Error::usage("no plan named").hint(
            "make one with `migplan suggest … --plan plan.json`, then give --plan plan.json",
        ));
    };
    let catalogue = CatalogueArgs { catalogue: args.catalogue.clone() }.read()?;
    let PlanFile { plan, catalogue, .. } =
        plan::file::read(open(file)?, &name_of(file), &catalogue)?;
    let view = |strategy: Strategy| View::new(&plan, &catalogue, strategy);
    let mixed = || view(Strategy::Mixed);
    let of_teams = |strategy: &StrategyArgs, teams: &[String]| {
        let mut view = view(strategy.strategy);
        view.keep_teams(teams).map(|()| view)
    };
    let emitted: Emitted = match &args.kind {
        Kind::Configmap(kind) => {
            let options = configmap::Options {
                configmap: kind.configmap_name.clone(),
                namespace: kind.namespace.clone(),
                name: kind.name.name.clone(),
                with_presets: kind.with_presets,
            };
            let view = view(kind.strategy.strategy);
            view.require_advertised()?;
            let file = configmap::write(&view, &options)?;
            write_assignments(kind.assignments.as_ref(), &file.assignments)?;
            file.text.into()
        }
        Kind::Labels(kind) => {
            let options = labels::Options {
                name: kind.name.name.clone(),
                max_unavailable: kind.max_unavailable,
                timeout: kind.timeout.clone(),
                present: present(kind, &catalogue, console)?,
            };
            labels::write(&mixed(), &options)?
        }
        Kind::DevicePlugin(kind) => {
            let chart = match kind.chart {
                ChartValue::DevicePlugin => device_plugin::Chart::DevicePlugin,
                ChartValue::GpuOperator => device_plugin::Chart::GpuOperator,
            };
            device_plugin::write(&view(kind.strategy.strategy), chart, &kind.configmap_name)?.into()
        }
        Kind::Capacity(kind) => {
            let present = match &kind.nodes {
                None => None,
                Some(file) => {
                    let nodes = nodes_json::observe(open(file)?, &name_of(file))?;
                    let advertised = nodes.into_iter().map(|(name, seen)| (name, seen.allocatable));
                    Some(advertised.collect::<BTreeMap<_, _>>())
                }
            };
            let capacity = capacity::capacity(&view(kind.strategy.strategy), present.as_ref());
            match kind.format {
                FormatValue::Text => capacity::text(&capacity),
                FormatValue::Json => capacity::json(&capacity)?,
            }
        }
        Kind::Pod(kind) => {
            pod::write(&of_teams(&kind.strategy, &kind.template.team)?, &kind.template.options())?
        }
        Kind::Kueue(kind) => {
            let options = kueue::Options { cohort: kind.cohort.clone() };
            kueue::write(&view(kind.strategy.strategy), &options)?
        }
        Kind::Jupyterhub(kind) => {
            jupyterhub::write(&of_teams(&kind.strategy, &kind.team)?, !kind.team.is_empty())?
        }
        Kind::Airflow(kind) => {
            let view = of_teams(&kind.strategy, &kind.template.team)?;
            airflow::write(&view, &kind.template.options())?
        }
        Kind::Slurm(kind) => {
            let part = kind.part.map(|part| match part {
                PartValue::Gres => slurm::Part::Gres,
                PartValue::Nodes => slurm::Part::Nodes,
            });
            slurm::write(&mixed(), part)?
        }
        Kind::Systemd(kind) => {
            let options = systemd::Options {
                with: match kind.with {
                    WithValue::Migplan => systemd::With::Migplan,
                    WithValue::NvidiaMigParted => systemd::With::MigParted,
                },
                binary: kind.binary.clone(),
                config: kind.config.clone(),
                name: kind.name.name.clone(),
                node: kind.node.clone(),
            };
            systemd::write(&mixed(), &options)?
        }
        Kind::PrometheusRules(kind) => {
            let options = prometheus_rules::Options {
                object: kind.object,
                namespace: kind.namespace.clone(),
            };
            prometheus_rules::write(&mixed(), &options)?
        }
        Kind::NvidiaSmi(kind) => nvidia_smi::write(&mixed(), kind.node.as_deref())?,
        Kind::Checkpoint(kind) => {
            let uuids = if kind.uuids.starts_with("GPU-") {
                checkpoint::parse_uuids(&kind.uuids, "--uuids")?
            } else {
                let file = PathBuf::from(&kind.uuids);
                checkpoint::parse_uuids(&read_text(&file)?, &name_of(&file))?
            };
            checkpoint::write(&mixed(), kind.node.as_deref(), &uuids)?
        }
        Kind::MigParted(kind) => {
            let options = mig_parted::Options {
                name: kind.name.name.clone(),
                with_presets: kind.with_presets,
                notes: Vec::new(),
            };
            let file = mig_parted::write(&plan, &catalogue, &options)?;
            write_assignments(kind.assignments.as_ref(), &file.assignments)?;
            file.text.into()
        }
    };
    console.warn(&emitted.warnings);
    write_result(args.output.as_deref(), |out| out.write_all(emitted.text.as_bytes()))
}

fn write_assignments(
    file: Option<&PathBuf>,
    assignments: &[(std::sync::Arc<str>, String)],
) -> Result<()> {
    match file {
        None => Ok(()),
        Some(file) => {
            write_result(Some(file), |out| emit::mig_parted::write_assignments(assignments, out))
        }
    }
}

/// What the cluster says of its nodes, for the order of the change.
fn present(
    kind: &LabelsArgs,
    catalogue: &Catalogue,
    console: &Console,
) -> Result<Option<BTreeMap<String, labels::Present>>> {
    let Some(file) = &kind.nodes else {
        return Ok(None);
    };
    let nodes = nodes_json::observe(open(file)?, &name_of(file))?;
    let single = |node: &str| nodes.get(node)?.single_profile.clone();
    let pods = match &kind.pods {
        Some(file) => Some(read_pods(file, catalogue, single, console)?),
        None => None,
    };
    let present = nodes.iter().map(|(name, seen)| {
        let of_node = |pods: &Pods| pods.busy.get(name).map_or(0, |b| b.pods.len() as u64);
        let present = labels::Present {
            config: seen.mig_config.clone(),
            applied: seen.mig_config_state.as_deref() == Some("success"),
            cordoned: seen.cordoned,
            busy_pods: pods.as_ref().map(of_node),
        };
        (name.clone(), present)
    });
    Ok(Some(present.collect()))
}
