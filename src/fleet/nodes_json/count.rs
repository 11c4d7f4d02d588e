//! How many GPUs a node has: what GPU feature discovery counts, held against what the device plugin
//! advertises.

use crate::fleet::KubernetesNode;
use crate::hardware::{Board, ProfileName};
use crate::kubernetes::{COUNT_LABEL, GPU_RESOURCE, MIG_RESOURCE_PREFIX, profile_of_label};
use crate::text::plural;

/// The GPUs of a node with these labels, or why it is skipped. What is taken for granted is a remark.
pub(super) fn gpus(
    node: &KubernetesNode,
    board: &Board,
    product: &str,
    remark: &mut impl FnMut(String),
) -> Result<u64, String> {
    let count = match node.labels.get(COUNT_LABEL).and_then(|count| count.parse().ok()) {
        Some(0) => return Err(format!("has {COUNT_LABEL}=0 and is skipped")),
        Some(count) => count,
        None => return Err(format!("has no number in the label {COUNT_LABEL} and is skipped")),
    };
    if let Some(profile) = &node.single_profile {
        return of_instances(node, board, profile, count, remark).ok_or_else(|| {
            format!("has {product}, a profile that {} lacks, and is skipped", board.id)
        });
    }
    let least = least(node, board);
    if least > count {
        return Err(format!(
            "has {COUNT_LABEL}={count}, but advertises what at least {least} GPUs have: some are of another product, which the labels do not show, or are shared in a way that they do not say; it is skipped (--fleet FILE names its GPUs)"
        ));
    }
    Ok(count)
}

/// The GPUs behind so many instances, which is all that the labels count under MIG strategy `single`.
/// `None` where the board lacks the profile.
fn of_instances(
    node: &KubernetesNode,
    board: &Board,
    name: &ProfileName,
    count: u64,
    remark: &mut impl FnMut(String),
) -> Option<u64> {
    let (_, profile) = board.profile(name)?;
    let per_gpu = u64::from(profile.max_instances);
    let gpus = count.div_ceil(per_gpu);
    // A GPU without an instance would make the node invalid; and the preset fills each GPU.
    let preset = format!("all-{}", name.label());
    let is_preset = node.mig_config.as_ref() == Some(&preset)
        && node.mig_config_state.as_deref() == Some("success");
    let known = per_gpu == 1 || is_preset && count.is_multiple_of(per_gpu);
    if !known {
        remark(format!(
            "shows {count} instances of {name}, up to {per_gpu} to a GPU, and no label says on how many GPUs: taken for {}, the fewest (--fleet FILE names the GPUs)",
            plural(gpus, "GPU")
        ));
    }
    Some(gpus)
}

/// The fewest GPUs of the board that have what the node advertises.
fn least(node: &KubernetesNode, board: &Board) -> u64 {
    let (mut whole, mut slices, mut of_one) = (0, 0u64, 0);
    for (resource, devices) in node.devices().iter().filter(|(_, devices)| devices.advertised) {
        if resource == GPU_RESOURCE {
            whole = devices.count;
        }
        let profile = resource.strip_prefix(MIG_RESOURCE_PREFIX).and_then(profile_of_label);
        let Some((_, profile)) = profile.and_then(|name| board.profile(&name)) else { continue };
        slices = slices.saturating_add(devices.count.saturating_mul(profile.compute_slices.into()));
        of_one = devices.count.div_ceil(profile.max_instances.into()).max(of_one);
    }
    slices.div_ceil(board.compute_slices.into()).max(of_one).saturating_add(whole)
}
