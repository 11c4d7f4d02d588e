//! Inputs that several commands share: catalogue, fleet and workloads.

use std::path::{Path, PathBuf};

use super::files::{name_of, open, read_text};
use super::output::Console;
use super::prometheus_args::PrometheusArgs;
use crate::apply::nvml::LIBRARY_VARIABLE;
use crate::apply::{NvmlDriver, observe};
use crate::demand::gather::{Gathering, Seen};
use crate::demand::pods::GpuResource;
use crate::demand::sizing::Quantile;
use crate::demand::{self, Demand};
use crate::error::{Diagnostic, Error, Result};
use crate::fleet::observed::ObservedNode;
use crate::fleet::{self, Fleet, KubernetesNodes};
use crate::hardware::Catalogue;
use crate::units::Headroom;

/// The environment variable that stands in for `--gpus`.
pub const GPUS_VARIABLE: &str = "MIGPLAN_GPUS";

/// Which boards exist.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct CatalogueArgs {
    /// Add or replace boards from this file (JSON, as `migplan catalogue BOARD --format json`)
    #[arg(long, help_heading = "GPUs", value_name = "FILE", hide_short_help = true)]
    pub catalogue: Option<PathBuf>,
}

impl CatalogueArgs {
    /// The files that are read.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.catalogue.iter().map(PathBuf::as_path)
    }

    /// The built-in boards and those of `--catalogue`.
    ///
    /// # Errors
    /// The file cannot be read or contradicts itself (exit 3).
    pub fn read(&self) -> Result<Catalogue> {
        let catalogue = Catalogue::built_in();
        match &self.catalogue {
            None => Ok(catalogue),
            Some(file) => catalogue.with_file(&file.display().to_string(), &read_text(file)?),
        }
    }
}

/// Which NVML to ask.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct NvmlArgs {
    /// Load this libnvidia-ml instead of the driver's
    #[arg(long, value_name = "PATH", env = LIBRARY_VARIABLE, hide_short_help = true)]
    pub nvml_lib: Option<PathBuf>,
}

impl NvmlArgs {
    /// NVML, loaded and initialised.
    ///
    /// # Errors
    /// No library or no driver (exit 6).
    pub fn open(&self) -> Result<NvmlDriver> {
        NvmlDriver::load(self.nvml_lib.as_deref())
    }

    /// What this node has, with warnings printed; where the driver differs from the catalogue, which
    /// is the same on every run, only with --verbose.
    ///
    /// # Errors
    /// As [`Self::open`]; also a driver that does not answer (exit 6).
    pub fn observe(&self, catalogue: &Catalogue, console: &Console) -> Result<ObservedNode> {
        self.observe_and_tell(catalogue, console, console.verbosity() > 0)
    }

    /// As [`Self::observe`], with those differences where `differences` asks for them.
    ///
    /// # Errors
    /// As [`Self::observe`].
    pub fn observe_and_tell(
        &self,
        catalogue: &Catalogue,
        console: &Console,
        differences: bool,
    ) -> Result<ObservedNode> {
        let observation = observe::observe(&mut self.open()?, catalogue)?;
        console.warn(&observation.warnings);
        if differences {
            console.warn(&observation.differences);
        }
        Ok(observation.node)
    }
}

/// Which GPUs to plan for.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "GPUs")]
pub struct FleetArgs {
    /// GPUs of one node, such as 4xa100-80gb,8xh100-80gb [env: MIGPLAN_GPUS]
    #[arg(long, value_name = "GPUS", allow_hyphen_values = true, conflicts_with = "fleet")]
    pub gpus: Option<String>,
    /// GPUs of many nodes: a CSV with the columns node,board,gpus (- is stdin)
    #[arg(long, value_name = "FILE")]
    pub fleet: Option<PathBuf>,
    /// GPUs of a Kubernetes cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Without either: the GPUs of this node
    #[command(flatten)]
    pub nvml: NvmlArgs,
}

impl FleetArgs {
    /// The files that are read.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.fleet.iter().chain(&self.cluster.nodes).map(PathBuf::as_path)
    }
}

/// What a Kubernetes cluster says of its nodes.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "GPUs")]
pub struct ClusterArgs {
    /// Nodes of a Kubernetes cluster: `kubectl get nodes -o json` (- is stdin)
    ///
    /// The labels of GPU feature discovery say which GPUs a node has. Under MIG strategy single they
    /// count instances: unless the label all-PROFILE says that each GPU is full, the fewest GPUs that
    /// hold them are taken, with a warning.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["gpus", "fleet"])]
    pub nodes: Option<PathBuf>,
    /// Keep nodes of --nodes that are cordoned
    // clap asks for no --nodes beside a flag that --nodes conflicts with, so that is said here too.
    #[arg(long, requires = "nodes", conflicts_with_all = ["gpus", "fleet"], hide_short_help = true)]
    pub include_cordoned: bool,
    /// Plan only the nodes of --nodes that have this label
    #[arg(long, value_name = "LABEL=VALUE", requires = "nodes", value_parser = label)]
    #[arg(conflicts_with_all = ["gpus", "fleet"], hide_short_help = true)]
    pub pool: Option<(String, String)>,
}

/// Reads `label=value`.
fn label(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some((label, value)) if !label.is_empty() => Ok((label.to_string(), value.to_string())),
        _ => Err("not like LABEL=VALUE".to_string()),
    }
}

impl ClusterArgs {
    /// The cluster's GPUs, if a file with its nodes is named.
    ///
    /// # Errors
    /// A bad file (exit 3).
    pub fn read(&self, catalogue: &Catalogue, console: &Console) -> Result<Option<Fleet>> {
        let Some(file) = &self.nodes else {
            return Ok(None);
        };
        let name = name_of(file);
        let pool = self.pool.as_ref().map(|(label, value)| (label.as_str(), value.as_str()));
        let cordoned = self.include_cordoned;
        let (fleet, warnings) =
            fleet::nodes_json::read_pool(open(file)?, &name, catalogue, cordoned, pool)?;
        console.warn(&warnings);
        Ok(Some(fleet))
    }
}

/// What the pods of a Kubernetes cluster ask for and hold. `nodes` tells what each node advertises as
/// a GPU.
///
/// # Errors
/// A bad file (exit 3).
pub fn read_pods(
    file: &Path,
    catalogue: &Catalogue,
    nodes: &KubernetesNodes,
    console: &Console,
) -> Result<demand::pods::Pods> {
    let advertised = |name: &str| match nodes.get(name) {
        None => GpuResource::Unknown,
        Some(node) if node.is_invalid() => GpuResource::Unknown,
        Some(node) => node.single_profile.clone().map_or(GpuResource::Gpus, GpuResource::Instances),
    };
    let (pods, warnings) = demand::pods::read(open(file)?, &name_of(file), catalogue, advertised)?;
    console.warn(&warnings);
    Ok(pods)
}

/// The cluster's nodes, for commands that need no fleet.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct PodNodesArgs {
    /// Nodes of the cluster of --pods: `kubectl get nodes -o json` (- is stdin). They tell which
    /// pods hold instances as nvidia.com/gpu, which is what MIG strategy single calls them
    #[arg(long, help_heading = "Demand", value_name = "FILE", requires = "pods")]
    #[arg(hide_short_help = true)]
    nodes: Option<PathBuf>,
}

impl PodNodesArgs {
    /// The files that are read.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.nodes.iter().map(PathBuf::as_path)
    }

    /// What the cluster says of its nodes; nothing where no file is named.
    ///
    /// # Errors
    /// A bad file (exit 3).
    pub fn read(&self) -> Result<KubernetesNodes> {
        let nodes = self.nodes.as_deref();
        let nodes = nodes.map(|file| fleet::nodes_json::observe(open(file)?, &name_of(file)));
        Ok(nodes.transpose()?.unwrap_or_default())
    }
}

impl FleetArgs {
    /// The fleet that the flags, or else `MIGPLAN_GPUS`, name; else this node's, through NVML.
    ///
    /// # Errors
    /// Bad text or file (exit 3); no fleet named and no driver to ask (exit 6); a GPU here that
    /// cannot do MIG (exit 3).
    pub fn read(&self, catalogue: &Catalogue, console: &Console) -> Result<Fleet> {
        if let Some(text) = &self.gpus {
            return fleet::spec::parse(text, "--gpus", catalogue);
        }
        if let Some(file) = &self.fleet {
            let (fleet, warnings) = fleet::csv::read(open(file)?, &name_of(file), catalogue)?;
            console.warn(&warnings);
            return Ok(fleet);
        }
        if let Some(fleet) = self.cluster.read(catalogue, console)? {
            return Ok(fleet);
        }
        if let Ok(text) = std::env::var(GPUS_VARIABLE)
            && !text.trim().is_empty()
        {
            return fleet::spec::parse(&text, GPUS_VARIABLE, catalogue);
        }
        let elsewhere = "plan for GPUs elsewhere with --gpus 4xa100-80gb";
        let node = self.nvml.observe(catalogue, console);
        let node = node.map_err(|e| e.or_without_driver(elsewhere))?;
        let fleet = Fleet::of_node(&node)?;
        let without = node.without_mig().map(|gpu| {
            Diagnostic::new(format!(
                "GPU {} ({}) cannot do MIG and is left out",
                gpu.index, gpu.product
            ))
        });
        console.warn(&without.collect::<Vec<_>>());
        Ok(fleet)
    }
}

/// What to plan.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Demand")]
pub struct DemandArgs {
    /// Workloads: CSV with team,workload,memory and more (repeatable; - is stdin)
    #[arg(short, long, value_name = "FILE")]
    pub workloads: Vec<PathBuf>,
    /// Pods of a Kubernetes cluster as demand: what `kubectl get pods -A -o json` prints (- is
    /// stdin); a row of --workloads for the same team and workload wins
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub pods: Option<PathBuf>,
    /// Plan only for this team (repeatable); with --pool, the team that is pinned to it
    #[arg(long, value_name = "TEAM", hide_short_help = true)]
    pub team: Vec<String>,
    /// Raise every memory demand by this share, such as 10%
    #[arg(long, value_name = "PERCENT", default_value = "0%", allow_hyphen_values = true)]
    pub headroom: Headroom,
    /// What Prometheus shows.
    #[command(flatten)]
    pub prometheus: PrometheusArgs,
}

impl DemandArgs {
    /// The files that are read.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let files = self.workloads.iter().chain(&self.pods).map(PathBuf::as_path);
        files.chain(self.prometheus.files())
    }

    /// Checks that some demand is named, before any work is done.
    ///
    /// # Errors
    /// None is (exit 2).
    pub fn check_named(&self) -> Result<()> {
        if self.workloads.is_empty() && self.pods.is_none() && !self.prometheus.is_given() {
            return Err(Error::usage("no demand given").hint(
                "give a CSV with --workloads teams.csv, what was seen with --prometheus FILE or --prometheus-url URL, or --pods FILE",
            ));
        }
        Ok(())
    }

    /// As [`Self::check_named`], for demand over time.
    ///
    /// # Errors
    /// No demand is named, or one count for all hours is asked for (exit 2).
    pub fn check_over_time(&self) -> Result<()> {
        self.check_named()?;
        if self.prometheus.count_quantile.is_some_and(|share| share != Quantile::MAX) {
            return Err(Error::usage(
                "--count-quantile makes one count for all time, and over time each hour has its own",
            )
            .hint("leave it out; `migplan size --over-time --serve 95%` says how many GPUs serve most of the hours"));
        }
        Ok(())
    }

    /// The demand of all sources together, with headroom; `nodes` are those of the cluster, as far as
    /// they are known: they tell what pods hold on nodes of MIG strategy `single`.
    ///
    /// # Errors
    /// Bad files (exit 3), the problems of all of them at once.
    pub fn read(
        &self,
        catalogue: &Catalogue,
        nodes: &KubernetesNodes,
        console: &Console,
    ) -> Result<Demand> {
        Ok(self.read_with_origins(catalogue, nodes, console)?.0)
    }

    /// The same, with what Prometheus saw: where each workload comes from, and the samples. What
    /// pods ask for wins over what was seen of a workload, and a row of a workloads file over both.
    ///
    /// # Errors
    /// As [`DemandArgs::read`]; a server that does not answer.
    pub fn read_with_origins(
        &self,
        catalogue: &Catalogue,
        nodes: &KubernetesNodes,
        console: &Console,
    ) -> Result<(Demand, Option<Seen>)> {
        self.check_named()?;
        let mut gathering = Gathering::new(self.workloads.len());
        let others = !self.workloads.is_empty() || self.pods.is_some();
        let pods = self.pods.as_deref();
        let pods = pods.map(|file| read_pods(file, catalogue, nodes, console)).transpose()?;
        let listed = pods.as_ref().map(|pods| pods.listed.clone());
        gathering.seen(self.prometheus.read(catalogue, listed, others, console))?;
        if let Some(pods) = pods {
            gathering.pods(pods.demand);
        }
        for file in &self.workloads {
            let name = name_of(file);
            let read = demand::csv::read_with_lines(open(file)?, &name, catalogue);
            let told = read.map(|(demand, lines, warnings)| {
                console.warn(&warnings);
                (demand, lines)
            });
            gathering.workloads(&name, told);
        }
        gathering.finish(&self.team, self.headroom)
    }
}
