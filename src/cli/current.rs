//! `--current`: what the GPUs of a node hold now, so that a plan destroys little of it.

use std::path::{Path, PathBuf};

use super::files::{name_of, read_text};
use super::inputs::NvmlArgs;
use super::output::Console;
use crate::error::{Diagnostic, Error, ExitCode, Result};
use crate::fleet::observed::Instances;
use crate::fleet::{Fleet, Node};
use crate::hardware::Catalogue;
use crate::mig_parted::checkpoint::Checkpoint;
use crate::plan::{MigModePolicy, Policy};
use crate::reconfigure::change::{PresentGpu, PresentInstance};

/// What to keep of the present state.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Rules of the site")]
pub(super) struct CurrentArgs {
    /// Destroy as few as possible of the instances that the GPUs of one node hold now: as NVML sees
    /// this node, or as a checkpoint file says (`migplan export -o checkpoint`)
    #[arg(long, value_name = "nvml|FILE", num_args = 0..=1, default_missing_value = "nvml")]
    current: Option<PathBuf>,
    /// Let --current move instances that are busy
    #[arg(long, requires = "current", hide_short_help = true)]
    pub(super) allow_disruption: bool,
}

impl CurrentArgs {
    /// Whether the plan must keep what the GPUs hold.
    pub(super) fn is_given(&self) -> bool {
        self.current.is_some()
    }

    /// The instances of each GPU of the one node, by index.
    ///
    /// # Errors
    /// A fleet of several nodes, or of other GPUs than NVML has (exit 2); a checkpoint that does
    /// not fit the GPUs (exit 3); instances that this user may not see (exit 6).
    pub(super) fn read(
        &self,
        nvml: &NvmlArgs,
        fleet: &Fleet,
        catalogue: &Catalogue,
        policy: &Policy,
        console: &Console,
    ) -> Result<Option<Vec<PresentGpu>>> {
        let Some(current) = &self.current else { return Ok(None) };
        let [node] = fleet.nodes() else {
            return Err(Error::usage("--current is about one node, but the fleet has several")
                .hint("plan that node alone, with --gpus"));
        };
        let present = if current == Path::new("nvml") {
            observed(nvml, node, catalogue, console)?
        } else {
            of_checkpoint(current, node)?
        };
        let busy = |gpu: &PresentGpu| gpu.instances.iter().any(PresentInstance::is_busy);
        let both = present.iter().any(busy) && present.iter().any(|gpu| gpu.in_use_whole);
        if policy.mig_mode == MigModePolicy::PerNode && both && !self.allow_disruption {
            let message = "--mig-mode per-node: something runs in an instance, and something on a whole GPU, so neither mode of the node keeps both";
            return Err(Error::new(ExitCode::Refused, message)
                .hint("plan with --mig-mode per-gpu, or give --allow-disruption"));
        }
        Ok(Some(present))
    }
}

/// As a checkpoint file says.
fn of_checkpoint(file: &Path, node: &Node) -> Result<Vec<PresentGpu>> {
    let name = name_of(file);
    let checkpoint = Checkpoint::parse(&read_text(file)?, &name)?;
    let mut problems = Vec::new();
    if checkpoint.gpu_count() != node.gpus.len() {
        problems.push(format!(
            "has {} GPUs, but the fleet has {}",
            checkpoint.gpu_count(),
            node.gpus.len()
        ));
    }
    let mut present = Vec::new();
    for (gpu, board) in node.gpus.iter().enumerate().take(checkpoint.gpu_count()) {
        match checkpoint.present(gpu, board) {
            Ok((_, instances)) => present.push(instances.into()),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() {
        return Ok(present);
    }
    let problem = |p: String| Diagnostic::new(p).in_file(&name);
    Err(Error::inputs(problems.into_iter().map(problem).collect())
        .hint("name the GPUs that the checkpoint was taken from, in the same order"))
}

/// As NVML sees this node.
fn observed(
    nvml: &NvmlArgs,
    node: &Node,
    catalogue: &Catalogue,
    console: &Console,
) -> Result<Vec<PresentGpu>> {
    let observed = nvml.observe(catalogue, console)?;
    let named = node.gpus.iter().map(|board| board.id.as_str());
    let here = observed.gpus.iter().filter_map(|gpu| gpu.board.as_ref()).map(|b| b.id.as_str());
    if !here.eq(named) {
        return Err(Error::usage(
            "--current asks the GPUs of this node, but the fleet names others",
        )
        .hint("drop --gpus and --fleet, or give --current a checkpoint file"));
    }
    let hidden = observed.gpus.iter().find(|g| matches!(g.instances, Instances::Hidden { .. }));
    if let Some(gpu) = hidden {
        return Err(Error::new(
            ExitCode::NoDriver,
            format!("GPU {}: this user may not list the instances", gpu.index),
        )
        .hint("run as root, or give --current a checkpoint file"));
    }
    Ok(observed.gpus.iter().map(PresentGpu::from).collect())
}
