//! `migplan emit KIND`: what the surroundings need from a plan.

use std::path::{Path, PathBuf};

use super::files::{name_of, open, read_text};
use super::inputs::{CatalogueArgs, read_pods};
use super::output::{Console, Format, check_outputs, write_beside, write_result};
use crate::demand::time::Span;
use crate::emit::output::Emitted;
use crate::emit::source::PlanSource;
use crate::emit::{
    airflow, capacity, checkpoint, configmap, device_plugin, dra, gke, grafana, jupyterhub, kueue,
    labels, mig_parted, nvidia_smi, pod, prometheus_rules, slurm, strategy, systemd,
};
use crate::error::{Error, Result};
use crate::fleet::{KubernetesNodes, nodes_json};
use crate::plan::{self, Strategy};
use crate::view::text::{self, Layout};

/// Write what Kubernetes, Slurm, JupyterHub, Airflow, Prometheus or systemd need from a plan
#[derive(Debug, clap::Args)]
#[command(subcommand_value_name = "KIND", subcommand_help_heading = "Kinds")]
#[command(after_help = include_str!("help/emit.txt").trim_ascii_end())]
#[command(mut_subcommands(usage_with_plan))]
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

/// Names `--plan` in the usage of a kind: it is needed, which clap cannot say of a flag that all kinds
/// have.
fn usage_with_plan(kind: clap::Command) -> clap::Command {
    let needed: String = kind
        .get_arguments()
        .filter(|flag| flag.is_required_set())
        .map(|flag| {
            let value = flag.get_value_names().and_then(|names| names.first());
            format!(" --{} <{}>", flag.get_long().unwrap_or_default(), value.map_or("VALUE", |v| v))
        })
        .collect();
    let usage = format!("migplan emit {} --plan <FILE>{needed} [OPTIONS]", kind.get_name());
    kind.override_usage(usage)
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
    Dra(DraArgs),
    Gke(GkeArgs),
    Slurm(SlurmArgs),
    Systemd(SystemdArgs),
    PrometheusRules(PrometheusRulesArgs),
    Grafana(GrafanaArgs),
    NvidiaSmi(NvidiaSmiArgs),
    Checkpoint(CheckpointArgs),
    MigParted(MigPartedArgs),
}

/// How instances become resources.
#[derive(Debug, clap::Args)]
struct StrategyArgs {
    /// The device plugin's MIG strategy, where the plan's file does not say it
    #[arg(long, value_enum, value_name = "STRATEGY")]
    strategy: Option<Strategy>,
}

/// The label of the plan's configuration.
#[derive(Debug, clap::Args)]
struct NameArgs {
    /// The configuration's label, where the plan's file does not say it; with several distinct nodes
    /// NAME-1, NAME-2 … [default: migplan]
    #[arg(long)]
    name: Option<String>,
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
    fn options(&self) -> pod::PodOptions {
        pod::PodOptions { image: self.image.clone(), namespace: self.namespace.clone() }
    }
}

/// The GPU Operator's custom MIG configurations as a ConfigMap, with all-disabled
#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/emit-configmap.txt").trim_ascii_end())]
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
    /// Add a uniform all-<profile> configuration for each profile of the boards
    #[arg(long)]
    with_presets: bool,
    /// The cluster's nodes now (kubectl get nodes -o json): carries along the presets that they are
    /// labelled with, since this ConfigMap replaces the one that has them
    #[arg(long, value_name = "FILE")]
    nodes: Option<PathBuf>,
    /// Write here which node takes which configuration, as CSV
    #[arg(long, value_name = "FILE")]
    assignments: Option<PathBuf>,
}

/// A kubectl script that labels the nodes in batches, with the least disruption
#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/emit-labels.txt").trim_ascii_end())]
struct LabelsArgs {
    #[command(flatten)]
    name: NameArgs,
    #[command(flatten)]
    strategy: StrategyArgs,
    /// How many nodes may be out of service at once: a number or a share
    #[arg(long, value_name = "N|N%", allow_hyphen_values = true, default_value = "1")]
    max_unavailable: labels::MaxUnavailable,
    /// How long one batch may take to drain, and to get its layouts, such as 90s or 1h30m
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, default_value = "20m")]
    timeout: Span,
    /// The cluster's nodes now (kubectl get nodes -o json): those with the plan's label, applied, are left
    /// alone where they advertise its layouts
    #[arg(long, value_name = "FILE")]
    nodes: Option<PathBuf>,
    /// The cluster's pods now (kubectl get pods -A -o json): idle nodes first, and not drained
    #[arg(long, value_name = "FILE", requires = "nodes")]
    pods: Option<PathBuf>,
    /// The GPU Operator's namespace
    #[arg(long, default_value = configmap::DEFAULT_NAMESPACE)]
    namespace: String,
}

/// Helm values that make the device plugin advertise the instances
#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/emit-device-plugin.txt").trim_ascii_end())]
struct DevicePluginArgs {
    #[command(flatten)]
    strategy: StrategyArgs,
    /// Whose chart
    #[arg(long, value_enum, default_value = "device-plugin")]
    chart: device_plugin::Chart,
    /// The ConfigMap of `migplan emit configmap`, for the GPU Operator
    #[arg(long, value_name = "NAME", default_value = configmap::DEFAULT_CONFIGMAP)]
    configmap_name: String,
}

/// The numbers to expect under Allocatable, per node and in all, before and after
#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/emit-capacity.txt").trim_ascii_end())]
struct CapacityArgs {
    #[command(flatten)]
    strategy: StrategyArgs,
    /// The cluster's nodes now (kubectl get nodes -o json); without it all GPUs count as whole
    #[arg(long, value_name = "FILE")]
    nodes: Option<PathBuf>,
    /// A table for people or JSON
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// A pod for each workload that asks for the instance that it is assigned to
#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/emit-pod.txt").trim_ascii_end())]
struct PodArgs {
    #[command(flatten)]
    strategy: StrategyArgs,
    #[command(flatten)]
    template: TemplateArgs,
}

/// Kueue flavors and queues with the plan's quota for each team
#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/emit-kueue.txt").trim_ascii_end())]
struct KueueArgs {
    #[command(flatten)]
    strategy: StrategyArgs,
    /// The cohort in which teams borrow what is free; also the name of the local queues
    #[arg(long, value_name = "NAME", default_value = kueue::DEFAULT_COHORT)]
    cohort: String,
}

/// Helm values with the instances as JupyterHub's menu of profiles
#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/emit-jupyterhub.txt").trim_ascii_end())]
struct JupyterhubArgs {
    #[command(flatten)]
    strategy: StrategyArgs,
    /// Only what this team has (repeatable)
    #[arg(long, value_name = "TEAM")]
    team: Vec<String>,
}

/// A Python module with an Airflow operator for each workload
#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/emit-airflow.txt").trim_ascii_end())]
struct AirflowArgs {
    #[command(flatten)]
    strategy: StrategyArgs,
    #[command(flatten)]
    template: TemplateArgs,
}

/// Claim templates and pods for NVIDIA's DRA driver, instead of the device plugin
#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/emit-dra.txt").trim_ascii_end())]
struct DraArgs {
    #[command(flatten)]
    template: TemplateArgs,
}

/// Node pools of Google Kubernetes Engine, for a plan of one profile per node
#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/emit-gke.txt").trim_ascii_end())]
struct GkeArgs {
    #[command(flatten)]
    name: NameArgs,
}

/// The lines of gres.conf and slurm.conf
#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/emit-slurm.txt").trim_ascii_end())]
struct SlurmArgs {
    /// Only the lines of this file
    #[arg(long, value_enum, value_name = "FILE")]
    part: Option<slurm::Part>,
}

/// A systemd unit that creates a node's instances again at boot
#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/emit-systemd.txt").trim_ascii_end())]
struct SystemdArgs {
    #[command(flatten)]
    name: NameArgs,
    /// The node that the unit is for, where nodes differ
    #[arg(long)]
    node: Option<String>,
    /// What carries the plan out
    #[arg(long, value_enum, value_name = "PROGRAM", default_value = "migplan")]
    with: systemd::With,
    /// Where that program is
    #[arg(long, value_name = "PATH")]
    binary: Option<String>,
    /// Where the mig-parted YAML is on the node
    #[arg(long, value_name = "PATH", default_value = "/etc/migplan/config.yaml")]
    config: String,
}

/// Prometheus rules: instances missing, workloads near their memory, idle instances
#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/emit-prometheus-rules.txt").trim_ascii_end())]
struct PrometheusRulesArgs {
    /// As a PrometheusRule object of the Prometheus operator
    #[arg(long)]
    object: bool,
    /// The namespace of that object
    #[arg(long, default_value = "monitoring", requires = "object")]
    namespace: String,
}

/// A Grafana dashboard: demand and supply by profile, what waits, idles or fills up
#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/emit-grafana.txt").trim_ascii_end())]
struct GrafanaArgs {
    #[command(flatten)]
    name: NameArgs,
}

/// nvidia-smi commands with explicit placements, for a node without migplan
#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/emit-nvidia-smi.txt").trim_ascii_end())]
struct NvidiaSmiArgs {
    /// Only this node
    #[arg(long)]
    node: Option<String>,
}

/// One node's exact placements as a checkpoint of nvidia-mig-parted
#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/emit-checkpoint.txt").trim_ascii_end())]
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
#[command(after_help = include_str!("help/emit-mig-parted.txt").trim_ascii_end())]
struct MigPartedArgs {
    #[command(flatten)]
    name: NameArgs,
    /// Add all-disabled and a uniform all-<profile> configuration for each profile of the boards
    #[arg(long)]
    with_presets: bool,
    /// Write here which node takes which configuration, as CSV
    #[arg(long, value_name = "FILE")]
    assignments: Option<PathBuf>,
}

pub(super) fn run(args: &Args, console: &Console) -> Result<()> {
    let Some(file) = &args.plan else {
        return Err(Error::usage("no plan given").hint(
            "make one with `migplan suggest … --plan plan.json`, then give --plan plan.json",
        ));
    };
    let inputs = [file].into_iter().chain(&args.catalogue).map(PathBuf::as_path);
    let (beside, of_kind) = (args.kind.beside(), args.kind.files());
    check_outputs(args.output.as_deref(), &[beside], inputs.chain(of_kind))?;
    let catalogue = CatalogueArgs { catalogue: args.catalogue.clone() }.read()?;
    let plan = plan::file::read(open(file)?, &name_of(file), &catalogue)?;
    let layout = console.layout(args.output.as_deref());
    let emitted = args.kind.emit(&PlanSource::from(&plan), console, layout)?;
    for note in &emitted.notes {
        console.say(note);
    }
    console.warn(&emitted.warnings);
    write_result(args.output.as_deref(), |out| out.write_all(emitted.text.as_bytes()))
}

impl Kind {
    /// The files that are read, beside the plan.
    fn files(&self) -> Vec<&Path> {
        match self {
            Kind::Configmap(args) => args.nodes.iter().map(PathBuf::as_path).collect(),
            Kind::Labels(args) => {
                args.nodes.iter().chain(&args.pods).map(PathBuf::as_path).collect()
            }
            Kind::Capacity(args) => args.nodes.iter().map(PathBuf::as_path).collect(),
            Kind::Checkpoint(args) => args.uuid_file().into_iter().collect(),
            _ => Vec::new(),
        }
    }

    /// The file that is written, beside the result.
    fn beside(&self) -> &Option<PathBuf> {
        match self {
            Kind::Configmap(args) => &args.assignments,
            Kind::MigParted(args) => &args.assignments,
            _ => &None,
        }
    }

    fn emit(&self, source: &PlanSource<'_>, console: &Console, layout: Layout) -> Result<Emitted> {
        match self {
            Kind::Configmap(args) => args.emit(source),
            Kind::Labels(args) => args.emit(source, console),
            Kind::DevicePlugin(args) => {
                let view = source.view(args.strategy.strategy)?;
                device_plugin::write(&view, args.chart, &args.configmap_name)
            }
            Kind::Capacity(args) => args.emit(source, layout),
            Kind::Pod(PodArgs { strategy, template }) => {
                let view = source.view_of(&template.team, strategy.strategy)?;
                pod::write(&view, &template.options())
            }
            Kind::Kueue(args) => {
                let options = kueue::KueueOptions { cohort: args.cohort.clone() };
                kueue::write(&source.view(args.strategy.strategy)?, &options)
            }
            Kind::Jupyterhub(args) => {
                let view = source.view_of(&args.team, args.strategy.strategy)?;
                jupyterhub::write(&view, !args.team.is_empty())
            }
            Kind::Airflow(AirflowArgs { strategy, template }) => {
                let view = source.view_of(&template.team, strategy.strategy)?;
                airflow::write(&view, &template.options())
            }
            Kind::Dra(DraArgs { template }) => {
                // Device classes tell profiles apart, whatever the device plugin's strategy is.
                let mut view = source.view_as(Strategy::Mixed);
                view.keep_teams(&template.team)?;
                dra::write(&view, &template.options())
            }
            Kind::Gke(args) => {
                let name = source.name(args.name.name.as_deref())?;
                gke::write(&source.view_as(Strategy::Single), &name)
            }
            Kind::Grafana(args) => grafana::write(&source.name(args.name.name.as_deref())?),
            Kind::Slurm(args) => slurm::write(&source.view(None)?, args.part),
            Kind::Systemd(args) => args.emit(source),
            Kind::PrometheusRules(args) => {
                let options = prometheus_rules::PrometheusRulesOptions {
                    object: args.object,
                    namespace: args.namespace.clone(),
                };
                prometheus_rules::write(&source.view(None)?, &options)
            }
            Kind::NvidiaSmi(args) => nvidia_smi::write(&source.view(None)?, args.node.as_deref()),
            Kind::Checkpoint(args) => args.emit(source),
            Kind::MigParted(args) => args.emit(source),
        }
    }
}

impl ConfigmapArgs {
    fn emit(&self, source: &PlanSource<'_>) -> Result<Emitted> {
        let options = configmap::ConfigMapOptions {
            configmap: self.configmap_name.clone(),
            namespace: self.namespace.clone(),
            name: source.name(self.name.name.as_deref())?,
            with_presets: self.with_presets,
            nodes: observe(self.nodes.as_ref())?,
        };
        let made = configmap::write(&source.view(self.strategy.strategy)?, &options)?;
        write_beside(self.assignments.as_deref(), |out| {
            mig_parted::write_assignments(&made.file.assignments, out)
        })?;
        Ok(Emitted { text: made.file.text, notes: made.notes, warnings: made.warnings })
    }
}

impl LabelsArgs {
    fn emit(&self, source: &PlanSource<'_>, console: &Console) -> Result<Emitted> {
        let present = match observe(self.nodes.as_ref())? {
            None => None,
            Some(nodes) => {
                let pods = match &self.pods {
                    Some(file) => Some(read_pods(file, source.catalogue, &nodes, console)?),
                    None => None,
                };
                Some(labels::present(nodes, pods.as_ref()))
            }
        };
        let options = labels::RolloutOptions {
            name: source.name(self.name.name.as_deref())?,
            max_unavailable: self.max_unavailable,
            timeout: self.timeout,
            namespace: self.namespace.clone(),
            present,
        };
        labels::write(&source.view(self.strategy.strategy)?, &options)
    }
}

impl CapacityArgs {
    fn emit(&self, source: &PlanSource<'_>, layout: Layout) -> Result<Emitted> {
        let present = observe(self.nodes.as_ref())?;
        let view = source.view(self.strategy.strategy)?;
        let capacity = capacity::capacity(&view, present.as_ref());
        let mut warnings = capacity::warnings(&capacity);
        if let Some(nodes) = &present {
            warnings.extend(strategy::warnings(view.strategy, &view.nodes, |name| nodes.get(name)));
        }
        match self.format {
            Format::Text => Ok(Emitted {
                text: text::capacity::text(&capacity, layout),
                warnings,
                ..Emitted::default()
            }),
            Format::Json => Ok(Emitted { warnings, ..capacity::json(&capacity)? }),
        }
    }
}

impl SystemdArgs {
    fn emit(&self, source: &PlanSource<'_>) -> Result<Emitted> {
        let options = systemd::SystemdOptions {
            with: self.with,
            binary: self.binary.clone(),
            config: self.config.clone(),
            name: source.name(self.name.name.as_deref())?,
            node: self.node.clone(),
        };
        systemd::write(&source.view(None)?, &options)
    }
}

impl CheckpointArgs {
    /// The file with the UUIDs, where they are not listed.
    fn uuid_file(&self) -> Option<&Path> {
        (!self.uuids.starts_with("GPU-")).then(|| Path::new(&self.uuids))
    }

    fn emit(&self, source: &PlanSource<'_>) -> Result<Emitted> {
        let uuids = match self.uuid_file() {
            None => checkpoint::parse_uuids(&self.uuids, "--uuids")?,
            Some(file) => checkpoint::parse_uuids(&read_text(file)?, &name_of(file))?,
        };
        checkpoint::write(&source.view(None)?, self.node.as_deref(), &uuids)
    }
}

impl MigPartedArgs {
    fn emit(&self, source: &PlanSource<'_>) -> Result<Emitted> {
        let options = mig_parted::MigPartedOptions {
            name: source.name(self.name.name.as_deref())?,
            with_presets: self.with_presets,
            notes: Vec::new(),
        };
        let file = mig_parted::write(source.plan, source.catalogue, &options)?;
        write_beside(self.assignments.as_deref(), |out| {
            mig_parted::write_assignments(&file.assignments, out)
        })?;
        Ok(Emitted { text: file.text, warnings: file.warnings, ..Emitted::default() })
    }
}

/// What the cluster says of its nodes, where a file is named.
fn observe(file: Option<&PathBuf>) -> Result<Option<KubernetesNodes>> {
    file.map(|file| nodes_json::observe(open(file)?, &name_of(file))).transpose()
}
