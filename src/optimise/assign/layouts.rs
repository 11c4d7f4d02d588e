//! Layouts of patterns, each worked out once.

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::fleet::observed::InstanceSpec;
use crate::hardware::Board;
use crate::hardware::layout::{self, Placement};
use crate::reconfigure::change::{self, PresentInstance};

/// Layouts that are known already, by group of GPUs and counts of profiles.
#[derive(Default)]
pub(super) struct Layouts {
    known: HashMap<(Option<usize>, Vec<u32>), Vec<Placement>>,
}

impl Layouts {
    /// A layout of `counts`, around what is present in a group of GPUs.
    pub(super) fn make(
        &mut self,
        board: &Board,
        counts: &[u32],
        present: Option<(usize, &[PresentInstance])>,
        allow_disruption: bool,
    ) -> Result<Vec<Placement>> {
        let key = (present.map(|(group, _)| group), counts.to_vec());
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        let found = match present {
            None => layout::place(board, counts, &[]),
            Some((_, present)) => around(board, counts, present, allow_disruption),
        };
        let found = found.ok_or_else(|| Error::internal("a pattern has no layout on its board"))?;
        self.known.insert(key, found.clone());
        Ok(found)
    }
}

/// The layout that the cheapest change leads to.
fn around(
    board: &Board,
    counts: &[u32],
    present: &[PresentInstance],
    allow_disruption: bool,
) -> Option<Vec<Placement>> {
    let wanted: Vec<InstanceSpec> = (0..board.profiles.len())
        .flat_map(|p| std::iter::repeat_n(InstanceSpec::whole(board, p), counts[p] as usize))
        .collect();
    let change = change::plan(board, present, &wanted, allow_disruption).ok()?;
    let stay = change.keep.iter().copied().chain(change.refit.iter().map(|r| r.instance));
    let mut layout: Vec<Placement> = stay.map(|i| present[i].placement).collect();
    layout.extend(change.create.iter().map(|c| c.placement));
    layout.sort_unstable();
    Some(layout)
}
