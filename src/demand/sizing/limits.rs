//! Samples that may be lower than the need: a reading at the ceiling of its instance, and pods that
//! were ended for lack of memory. Knows boards and their usable memory, no plan.

use crate::demand::usage::Device;
use crate::demand::{Limited, SizeOf};
use crate::hardware::{BoardRef, Catalogue, ProfileName};
use crate::units::Mebibytes;

/// A reading of at least this share of the usable memory is at the ceiling, in percent. A process
/// that asks for more than is left fails before its memory is quite full; allocators ask for
/// megabytes at a time, which is well below a fiftieth of the smallest instance (4,864 MiB).
const CEILING_PERCENT: u64 = 98;

/// Whether the need may be higher than the highest sample `peak`, which a pod on `device` showed.
/// `device` is `None` where pods share it, so that readings say nothing of one of them.
pub(super) fn limited(
    peak: Mebibytes,
    device: Option<&Device>,
    killed_pods: u64,
    catalogue: &Catalogue,
) -> Option<Limited> {
    let found = device.and_then(|device| instance(device, catalogue));
    let at_ceiling = found
        .as_ref()
        .is_some_and(|(instance, _)| peak.0 * 100 >= instance.memory.0 * CEILING_PERCENT);
    if !at_ceiling && killed_pods == 0 {
        return None;
    }
    let (instance, next) = match found {
        Some((instance, next)) => (Some(instance), next),
        None => (None, None),
    };
    Some(Limited { at_ceiling, killed_pods, instance, next })
}

/// The usable memory of a device, the lowest that any driver reports, and the next larger instance
/// of its board. `None` where its labels do not tell its size.
fn instance(device: &Device, catalogue: &Catalogue) -> Option<(SizeOf, Option<SizeOf>)> {
    let board = device.product.as_deref().and_then(|product| catalogue.find(product, None).ok());
    let Some(profile) = device.profile.as_deref() else {
        let board = board?;
        return Some((SizeOf { name: board.id.clone(), memory: board.memory }, None));
    };
    let name: ProfileName = profile.parse().ok()?;
    let memory_of = |board: &BoardRef| board.profile(&name).map(|(_, profile)| profile.memory);
    let boards = match board {
        Some(board) => std::slice::from_ref(board),
        None => catalogue.boards(),
    };
    let (memory, board) = boards
        .iter()
        .filter_map(|board| Some((memory_of(board)?, board)))
        .min_by_key(|(memory, board)| (*memory, board.id.clone()))?;
    let next = board
        .profiles
        .iter()
        .filter(|profile| profile.name.is_plain() && profile.memory > memory)
        .min_by_key(|profile| (profile.memory, profile.compute_slices))
        .map(|profile| SizeOf { name: profile.name.to_string(), memory: profile.memory });
    Some((SizeOf { name: name.to_string(), memory }, next))
}
