//! What a plan allocates to each team that has a quota, and whether the quota stops more.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{GpuPlan, Plan, Policy, Reason};
use crate::demand::quota::{Quota, Quotas};
use crate::demand::{Demand, Workload};
use crate::hardware::{Board, BoardRef, Profile};
use crate::units::{Mebibytes, Ratio, Weight, lcm};

/// What a team is allocated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allocation {
    /// Usable memory of its instances, in MiB.
    pub memory_mib: u64,
    /// Memory slices of its instances, by the memory slices of their GPUs.
    slices: BTreeMap<u32, u64>,
}

/// A team with a quota, and what it is allocated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaUse {
    /// The quota.
    pub quota: Quota,
    /// What the team is allocated.
    pub allocation: Allocation,
    /// Whether the quota leaves nothing for a replica that is unplaced.
    pub reached: bool,
}

impl Allocation {
    fn add(&mut self, memory_mib: u64, slices: u32, of_gpu: u32, times: u64) {
        self.memory_mib = self.memory_mib.saturating_add(memory_mib.saturating_mul(times));
        let of_board = self.slices.entry(of_gpu.max(1)).or_default();
        *of_board = of_board.saturating_add(u64::from(slices).saturating_mul(times));
    }

    /// Whether it is within a quota with so many more instances of a profile.
    pub fn has_room(&self, quota: &Quota, board: &Board, profile: &Profile, times: u64) -> bool {
        let part = (profile.memory.0, profile.memory_slices, board.memory_slices);
        self.has_room_for(quota, part, times)
    }

    /// The same with so many more whole GPUs.
    pub fn has_whole_gpus(&self, quota: &Quota, board: &Board, gpus: u64) -> bool {
        let all = board.memory_slices;
        self.has_room_for(quota, (board.memory.0, all, all), gpus)
    }

    fn has_room_for(&self, quota: &Quota, part: (u64, u32, u32), times: u64) -> bool {
        let (memory_mib, slices, of_gpu) = part;
        let mut more = self.clone();
        more.add(memory_mib, slices, of_gpu, times);
        more.within(quota)
    }

    /// GPUs, as a sum of their parts.
    pub fn gpus(&self) -> Ratio {
        let common: u128 = self.slices.keys().fold(1, |all, of| lcm(all, u128::from(*of)));
        let parts = self.slices.iter().map(|(of, n)| u128::from(*n) * (common / u128::from(*of)));
        Ratio::new(parts.sum(), common)
    }

    /// What it is of the limits that a quota has: `2.5 GPUs and 38 GiB`.
    pub fn of(&self, quota: &Quota) -> String {
        let rounded = u64::try_from(self.gpus().millionths()).unwrap_or(u64::MAX);
        Quota {
            team: quota.team.clone(),
            gpus: quota.gpus.map(|_| rounded),
            memory: quota.memory.map(|_| Mebibytes(self.memory_mib)),
        }
        .to_string()
    }

    /// Whether it is within a quota.
    pub fn within(&self, quota: &Quota) -> bool {
        quota.memory.is_none_or(|most| Mebibytes(self.memory_mib) <= most)
            && quota.gpus.is_none_or(|most| {
                self.gpus() <= Ratio::new(u128::from(most), u128::from(Weight::SCALE))
            })
    }

    /// Whether no instance that suffices for one more replica of `workload` is within the quota,
    /// under the rules of the site.
    pub fn leaves_nothing(
        &self,
        quota: &Quota,
        workload: &Workload,
        boards: &[BoardRef],
        policy: &Policy,
    ) -> bool {
        self.most_within(quota, workload, boards, policy, 1) == 0
    }

    /// How many of `wanted` more replicas of `workload` are within the quota, all in instances of
    /// one kind that suffices under the rules of the site.
    pub fn most_within(
        &self,
        quota: &Quota,
        workload: &Workload,
        boards: &[BoardRef],
        policy: &Policy,
        wanted: u64,
    ) -> u64 {
        let memory = workload.memory.unwrap_or_default();
        let as_instance = policy.gives_instance_for(workload.whole_gpus);
        let gpus = u64::from(workload.whole_gpus);
        let most = |has_room: &dyn Fn(u64) -> bool| {
            let (mut most, mut too_many) = (0, wanted.saturating_add(1));
            while too_many - most > 1 {
                let middle = most + (too_many - most) / 2;
                if has_room(middle) { most = middle } else { too_many = middle }
            }
            most
        };
        let of_board = |board: &BoardRef| {
            let suits = |p: &&Profile| match gpus {
                0 => workload.suits(p),
                _ => as_instance && p.memory_slices == board.memory_slices && p.memory >= memory,
            };
            let instances = board.profiles.iter().filter(suits);
            let of_instances = instances.map(|p| most(&|n| self.has_room(quota, board, p, n)));
            let whole = |n: u64| self.has_whole_gpus(quota, board, n.saturating_mul(gpus));
            of_instances.chain((gpus > 0).then(|| most(&whole))).max()
        };
        boards.iter().filter(|b| workload.allows(b)).filter_map(of_board).max().unwrap_or(0)
    }
}

/// What each team with a quota is allocated on these GPUs.
pub fn allocations(
    gpus: &[GpuPlan],
    boards: &[BoardRef],
    quotas: &Quotas,
) -> BTreeMap<Arc<str>, Allocation> {
    let mut found: BTreeMap<Arc<str>, Allocation> =
        quotas.iter().map(|quota| (quota.team.clone(), Allocation::default())).collect();
    if found.is_empty() {
        return found;
    }
    for gpu in gpus {
        let Some(board) = boards.iter().find(|b| *b.id == *gpu.board) else { continue };
        for instance in &gpu.instances {
            let team = instance.assignment.as_ref().and_then(|a| found.get_mut(&a.team));
            if let Some(allocation) = team {
                allocation.add(instance.memory_mib, instance.size, board.memory_slices, 1);
            }
        }
    }
    found
}

/// The quotas of the teams that ask for anything, with what a plan allocates.
pub fn in_use(
    plan: &Plan,
    demand: &Demand,
    boards: &[BoardRef],
    quotas: &Quotas,
    policy: &Policy,
) -> Vec<QuotaUse> {
    let unplaced = |quota: &Quota, allocation: &Allocation| {
        let full = plan.unplaced.iter().filter(|row| row.reason == Reason::FleetFull);
        let mut of_team = full.filter(|row| row.team == quota.team);
        of_team.any(|row| {
            let workload =
                demand.position(&row.team, &row.workload).map(|at| &demand.workloads()[at]);
            workload.is_some_and(|w| allocation.leaves_nothing(quota, w, boards, policy))
        })
    };
    let found = allocations(&plan.gpus, boards, quotas);
    let asks = |quota: &&Quota| demand.workloads().iter().any(|w| w.team == quota.team);
    quotas
        .iter()
        .filter(asks)
        .map(|quota| {
            let allocation = found.get(&quota.team).cloned().unwrap_or_default();
            QuotaUse { reached: unplaced(quota, &allocation), quota: quota.clone(), allocation }
        })
        .collect()
}
