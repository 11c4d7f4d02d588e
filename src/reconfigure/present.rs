//! What the GPUs of a node of the fleet hold now, from what was observed of that node.
//!
//! Knows no file and no driver; a checkpoint file is read by `mig_parted`.

use super::change::PresentGpu;
use crate::error::{Diagnostic, Error, ExitCode, Result};
use crate::fleet::observed::{Instances, ObservedNode, kinds};
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

/// The node that `named` describes as it was `observed` on this machine, and what each of its GPUs
/// holds: a fleet may say which GPUs there are, but only the machine says which is where.
///
/// # Errors
/// The node has other GPUs than were observed (exit 2); GPUs that no plan can be made for (exit 3);
/// instances that this user may not see (exit 6).
pub fn of_observed(observed: &ObservedNode, named: &Node) -> Result<(Node, Vec<PresentGpu>)> {
    let node = observed.node(&named.name)?;
    let (named, here) = (kinds(&named.gpus), kinds(&node.gpus));
    if named != here {
        return Err(Error::usage(format!(
            "--current asks the GPUs of this node, which are {here}, but the fleet names {named}"
        ))
        .hint("drop --gpus and --fleet, or give --current a checkpoint file"));
    }
    let gpus = || observed.gpus.iter().filter(|gpu| node.indices().any(|i| i == gpu.index));
    let hidden = gpus().find(|g| matches!(g.instances, Instances::Hidden { .. }));
    match hidden {
        Some(gpu) => Err(Error::new(
            ExitCode::NoDriver,
            format!("GPU {}: this user may not list the instances", gpu.index),
        )
        .hint("run as root, or give --current a checkpoint file")),
        None => {
            let present = gpus().map(PresentGpu::from).collect();
            Ok((node, present))
        }
    }
}

/// The GPUs of a node that stay whole since something runs on them with MIG off; `None` where there
/// are none.
pub fn kept_whole(node: &Node, present: &[PresentGpu]) -> Option<Diagnostic> {
    let kept: Vec<String> = node
        .indices()
        .zip(present)
        .filter(|(_, now)| now.in_use_whole)
        .map(|(gpu, _)| format!("GPU {gpu}"))
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
    use crate::fleet::{LeftOut, WhyLeftOut};
    use crate::hardware::Catalogue;

    #[test]
    fn gpus_in_use_with_mig_off_are_named() {
        let gpu = |in_use_whole| PresentGpu { in_use_whole, ..PresentGpu::default() };
        let board = Catalogue::built_in().boards()[0].clone();
        let mut node = Node::new("n", vec![board; 3]);
        assert_eq!(kept_whole(&node, &[gpu(false), gpu(false)]), None);
        let one = kept_whole(&node, &[gpu(false), gpu(true)]).unwrap();
        assert_eq!(
            one.to_string(),
            "GPU 1 is in use with MIG off: it stays as it is and serves only replicas that \
             take whole GPUs; --allow-disruption plans for MIG there too"
        );
        node.left_out = vec![LeftOut { gpu: 1, reason: WhyLeftOut::WithoutMig }];
        let two = kept_whole(&node, &[gpu(true), gpu(false), gpu(true)]).unwrap();
        assert!(two.to_string().starts_with("GPU 0, GPU 3 are in use with MIG off: they stay"));
    }
}
