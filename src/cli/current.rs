//! `--current`: what the GPUs of a node hold now, so that a plan destroys little of it.

use std::path::{Path, PathBuf};

use super::files::{name_of, read_text};
use super::inputs::NvmlArgs;
use super::output::Console;
use crate::error::{Diagnostic, Result};
use crate::fleet::observed::kinds;
use crate::fleet::{Fleet, Node};
use crate::hardware::Catalogue;
use crate::mig_parted::checkpoint::Checkpoint;
use crate::reconfigure::change::PresentGpu;
use crate::reconfigure::present;

/// What to keep of the present state.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Rules of the site")]
pub(super) struct CurrentArgs {
    /// Destroy as few as possible of the instances that the GPUs of one node hold now: as NVML sees
    /// this node, or as a checkpoint file says (`migplan export -o checkpoint`)
    ///
    /// What is busy stays: an instance where it is, and a GPU that is in use with MIG off as a whole,
    /// for replicas that take whole GPUs (`stays_whole` in the plan JSON). Beside --gpus, NVML says which
    /// GPU is where; a checkpoint does not, so of several boards its GPUs are taken in the order of ids.
    #[arg(long, value_name = "nvml|FILE", num_args = 0..=1, default_missing_value = "nvml")]
    current: Option<PathBuf>,
    /// Let --current move instances that are busy, and turn MIG on for GPUs that are in use
    #[arg(long, requires = "current", hide_short_help = true)]
    pub(super) allow_disruption: bool,
}

impl CurrentArgs {
    /// The files that are read.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        self.current.iter().map(PathBuf::as_path).filter(|current| !is_nvml(current))
    }

    /// Whether the plan must keep what the GPUs hold.
    pub(super) fn is_given(&self) -> bool {
        self.current.is_some()
    }

    /// What each GPU of the fleet's one node holds, and the fleet with that node as it is: its GPUs
    /// in the order and with the indices of the machine that holds this.
    ///
    /// # Errors
    /// A fleet of several nodes, or of other GPUs than NVML has (exit 2); a checkpoint that does
    /// not fit the GPUs (exit 3); instances that this user may not see (exit 6).
    pub(super) fn read(
        &self,
        nvml: &NvmlArgs,
        fleet: Fleet,
        catalogue: &Catalogue,
        console: &Console,
    ) -> Result<(Fleet, Option<Vec<PresentGpu>>)> {
        let Some(current) = &self.current else { return Ok((fleet, None)) };
        let named = present::one_node(&fleet)?;
        if is_nvml(current) {
            let seen = nvml.observe(catalogue, console);
            let seen =
                seen.map_err(|e| e.or_without_driver("give a checkpoint: --current FILE"))?;
            let (node, present) = present::of_observed(&seen, named)?;
            return Ok((fleet.with_node(node), Some(present)));
        }
        let name = name_of(current);
        let checkpoint = Checkpoint::parse(&read_text(current)?, &name)?;
        console.warn(&assumed_order(named, &name).into_iter().collect::<Vec<_>>());
        let present = checkpoint.present_on(named, &name)?;
        Ok((fleet, Some(present)))
    }
}

/// The order in which a checkpoint's GPUs are taken, where they are of several boards: it has UUIDs
/// only, and the fleet numbers GPUs board by board, which the machine may not.
fn assumed_order(node: &Node, file: &str) -> Option<Diagnostic> {
    let runs: Vec<String> = node.gpus.chunk_by(|a, b| a.id == b.id).map(kinds).collect();
    (runs.len() > 1).then(|| {
        Diagnostic::new(format!(
            "does not say of which board each GPU is: its GPUs are taken for {}; where `nvidia-smi -L` shows another order, plan on the node, with --current alone",
            runs.join(", then ")
        ))
        .in_file(file)
    })
}

/// Whether this is no file, but the driver.
fn is_nvml(current: &Path) -> bool {
    current == Path::new("nvml")
}
