//! Replicas in a kind of instance, as counts: what a plan over time has for each of its periods.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::InstanceProfile;
use crate::hardware::BoardRef;

/// Replicas of one workload in instances of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allocated {
    /// Index of the workload in the demand.
    pub workload: usize,
    /// The board's id.
    pub board: Arc<str>,
    /// The kind of instance.
    pub profile: InstanceProfile,
    /// How many replicas.
    pub replicas: u64,
}

impl Allocated {
    /// Rows of so many replicas by workload, board and kind of instance.
    pub(crate) fn rows(
        replicas: BTreeMap<(usize, Arc<str>, InstanceProfile), u64>,
    ) -> Vec<Allocated> {
        let row = |((workload, board, profile), replicas)| Allocated {
            workload,
            board,
            profile,
            replicas,
        };
        replicas.into_iter().map(row).collect()
    }

    /// Memory of one instance, in MiB; 0 for a kind that these boards do not have.
    pub fn memory_mib(&self, boards: &[BoardRef]) -> u64 {
        let Some(board) = boards.iter().find(|b| *b.id == *self.board) else { return 0 };
        match &self.profile {
            InstanceProfile::Full => board.memory.0,
            InstanceProfile::Mig(name) => board.profile(name).map_or(0, |(_, p)| p.memory.0),
        }
    }
}
