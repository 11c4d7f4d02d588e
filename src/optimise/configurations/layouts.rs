//! The layouts that a GPU may have in a configuration, and what a change from one to another keeps.

use crate::hardware::Board;
use crate::hardware::layout::{self, Placement};
use crate::optimise::supply;

/// The instances of one GPU; `None` is MIG off.
pub(crate) type GpuLayout = Option<Vec<Placement>>;

/// What a change of configuration leaves alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Keeps {
    /// Every instance that both layouts of a GPU have: what `migplan apply` does.
    #[default]
    Instances,
    /// GPUs whose layout stays as it is; all others are cleared: what nvidia-mig-parted does.
    Gpus,
}

/// What a change from one layout of a GPU to the other keeps: instances, and whether the GPU stays
/// whole with MIG off.
pub(super) fn kept(a: &GpuLayout, b: &GpuLayout, keeps: Keeps) -> (Vec<Placement>, bool) {
    match (a, b) {
        (None, None) => (Vec::new(), true),
        (Some(a), Some(b)) if keeps == Keeps::Instances || a == b => {
            (a.iter().filter(|p| b.contains(p)).copied().collect(), false)
        }
        _ => (Vec::new(), false),
    }
}

/// Instances of one layout of a GPU that a change to another destroys; a GPU that no longer is
/// whole counts as one.
pub(crate) fn destroyed(from: &GpuLayout, to: &GpuLayout, keeps: Keeps) -> u64 {
    let (instances, whole) = kept(from, to, keeps);
    from.as_ref().map_or(u64::from(!whole), |of| (of.len() - instances.len()) as u64)
}

/// Layouts to which nothing can be added, first those that the driver's own order of placing makes.
fn maximal_layouts(board: &Board, media: bool) -> Vec<Vec<Placement>> {
    let useful = |p: usize| supply::is_useful(board, p, media);
    let profiles = board.profiles.iter().enumerate().filter(|(p, _)| useful(*p));
    let all: Vec<Placement> = profiles
        .flat_map(|(profile, of)| of.starts.iter().map(move |s| Placement { start: *s, profile }))
        .collect();
    let can_grow = |layout: &Vec<Placement>| {
        all.iter().any(|more| {
            let mut larger = layout.clone();
            larger.push(*more);
            layout::check(board, &larger).is_ok()
        })
    };
    let mut layouts = layout::placed_layouts(board, useful);
    layouts.retain(|layout| !can_grow(layout));
    layouts.iter_mut().for_each(|layout| layout.sort_unstable());
    layouts.sort();
    let usual = |l: &Vec<Placement>| {
        layout::place(board, &layout::counts(board, l), &[]).as_ref() == Some(l)
    };
    layouts.sort_by_key(|layout| !usual(layout));
    layouts
}

/// Every layout that is worth having, MIG off among them where `whole`.
pub(super) fn layouts_of(board: &Board, media: bool, whole: bool) -> Vec<GpuLayout> {
    let off = whole.then_some(None);
    maximal_layouts(board, media).into_iter().map(Some).chain(off).collect()
}
