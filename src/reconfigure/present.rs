//! What the GPUs of a node of the fleet hold now, from what was observed of that node.
//!
//! Knows no file and no driver; a checkpoint file is read by `mig_parted`.

use super::change::PresentGpu;
use crate::error::{Diagnostic, Error, ExitCode, Result};
use crate::fleet::observed::{Instances, ObservedNode};
use crate::fleet::{Fleet, Node};

/// The one node of `fleet`, whose present state is asked for.
///
/// # Errors
/// Several nodes (exit 2).
pub fn one_node(fleet: &Fleet) -> Result<&Node> {
    match fleet.nodes() {
        [node] => Ok(node),
        _ => Err(Error::usage("--current is about one node, but the fleet has several")
            .hint("plan that node alone, with --gpus")),
    }
}

/// What each GPU of `node` holds, by index, as it was `observed` on this machine.
///
/// # Errors
/// The node has other GPUs than were observed (exit 2); instances that this user may not see
/// (exit 6).
pub fn of_observed(observed: &ObservedNode, node: &Node) -> Result<Vec<PresentGpu>> {
    let named = node.gpus.iter().map(|board| board.id.as_str());
    let here = observed.gpus.iter().filter_map(|gpu| gpu.board.as_ref()).map(|b| b.id.as_str());
    if !here.eq(named) {
        return Err(Error::usage(
            "--current asks the GPUs of this node, but the fleet names others",
        )
        .hint("drop --gpus and --fleet, or give --current a checkpoint file"));
    }
    let hidden = observed.gpus.iter().find(|g| matches!(g.instances, Instances::Hidden { .. }));
    match hidden {
        Some(gpu) => Err(Error::new(
            ExitCode::NoDriver,
            format!("GPU {}: this user may not list the instances", gpu.index),
        )
        .hint("run as root, or give --current a checkpoint file")),
        None => Ok(observed.gpus.iter().map(PresentGpu::from).collect()),
    }
}

/// The GPUs that stay whole since something runs on them with MIG off; `None` where there are none.
pub fn kept_whole(present: &[PresentGpu]) -> Option<Diagnostic> {
    let kept: Vec<String> = (0..present.len())
        .filter(|&gpu| present[gpu].in_use_whole)
        .map(|gpu| format!("GPU {gpu}"))
        .collect();
    let message = match kept.as_slice() {
        [] => return None,
        [gpu] => format!("{gpu} is in use with MIG off: it stays as it is and serves"),
        gpus => {
            format!("{} are in use with MIG off: they stay as they are and serve", gpus.join(", "))
        }
    };
    Some(Diagnostic::new(format!(
        "{message} only replicas that take whole GPUs; --allow-disruption plans for MIG there too"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_in_use_with_mig_off_are_named() {
        let gpu = |in_use_whole| PresentGpu { in_use_whole, ..PresentGpu::default() };
        assert_eq!(kept_whole(&[gpu(false), gpu(false)]), None);
        let one = kept_whole(&[gpu(false), gpu(true)]).unwrap();
        assert_eq!(
            one.to_string(),
            "GPU 1 is in use with MIG off: it stays as it is and serves only replicas that \
             take whole GPUs; --allow-disruption plans for MIG there too"
        );
        let two = kept_whole(&[gpu(true), gpu(false), gpu(true)]).unwrap();
        assert!(two.to_string().starts_with("GPU 0, GPU 2 are in use with MIG off: they stay"));
    }
}
