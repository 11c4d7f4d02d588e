//! Demand: workloads with their memory, counts and conditions.
//!
//! Readers for each source live below; this file holds what they all produce. It knows board ids
//! (a workload may name boards), but no fleet and no plan.

pub mod csv;
#[cfg(feature = "http")]
pub mod live;
pub mod owner;
pub mod pods;
pub mod prometheus;
pub mod quiet;
pub mod sizing;
pub mod time;
pub mod usage;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::hardware::Board;
use crate::units::{Headroom, Mebibytes, Weight};

/// One row of demand: `team` runs `name`, `count` replicas at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Who asks.
    pub team: Arc<str>,
    /// What runs; together with the team unique.
    pub name: Arc<str>,
    /// GPU memory that one replica needs at its peak; `None` is all memory of its whole GPUs.
    pub memory: Option<Mebibytes>,
    /// Replicas at the same time.
    pub count: u64,
    /// A higher one is served strictly first.
    pub priority: i64,
    /// Worth of a replica among its equals in priority.
    pub weight: Weight,
    /// Fewest compute slices of its instance.
    pub compute_slices: u32,
    /// Whether it needs a `+me` profile.
    pub media: bool,
    /// Ids of the boards that it may run on, sorted; empty is any.
    pub boards: Arc<[String]>,
    /// Whole GPUs of one node; 0 is one instance.
    pub whole_gpus: u32,
}

/// The most replicas that one workload may ask for, far above what any fleet holds.
pub const MAX_COUNT: u64 = 1_000_000_000;

impl Workload {
    /// A workload of `count` replicas of `memory`, everything else as a CSV without the optional
    /// columns would have it.
    pub fn new(team: &str, name: &str, memory: Mebibytes, count: u64) -> Workload {
        Workload {
            team: team.into(),
            name: name.into(),
            memory: Some(memory),
            count,
            priority: 0,
            weight: Weight::ONE,
            compute_slices: 1,
            media: false,
            boards: Arc::new([]),
            whole_gpus: 0,
        }
    }

    /// Whether the workload may run on `board` at all.
    pub fn allows(&self, board: &Board) -> bool {
        self.boards.is_empty() || self.boards.contains(&board.id)
    }

    /// `team/workload`, as messages name it.
    pub fn label(&self) -> String {
        format!("{}/{}", self.team, self.name)
    }
}

/// All rows of demand, ordered by team and name, so that the order of an input is of no
/// consequence.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Demand {
    workloads: Vec<Workload>,
}

impl Demand {
    /// A demand of these workloads. Team and name must be unique together.
    pub fn new(mut workloads: Vec<Workload>) -> Demand {
        workloads.sort_by(|a, b| (&a.team, &a.name).cmp(&(&b.team, &b.name)));
        Demand { workloads }
    }

    /// The workloads, ordered by team and name.
    pub fn workloads(&self) -> &[Workload] {
        &self.workloads
    }

    /// Replicas in all.
    pub fn replicas(&self) -> u64 {
        self.workloads.iter().map(|w| w.count).sum()
    }

    /// The same demand with every memory raised by `headroom`.
    #[must_use]
    pub fn with_headroom(mut self, headroom: Headroom) -> Demand {
        for workload in &mut self.workloads {
            workload.memory = workload.memory.map(|m| headroom.raise(m));
        }
        self
    }

    /// The rows of these teams only.
    #[must_use]
    pub fn of_teams(mut self, teams: &[String]) -> Demand {
        self.workloads.retain(|w| teams.iter().any(|t| **t == *w.team));
        self
    }

    /// Joins two demands; where both have a row for the same team and name, `other`'s wins.
    #[must_use]
    pub fn overridden_by(self, other: Demand) -> Demand {
        let mut rows: BTreeMap<(Arc<str>, Arc<str>), Workload> = BTreeMap::new();
        for workload in self.workloads.into_iter().chain(other.workloads) {
            rows.insert((workload.team.clone(), workload.name.clone()), workload);
        }
        Demand { workloads: rows.into_values().collect() }
    }
}
