//! The claim of `spare`: so many further replicas, in the proportions of the demand, fit the free
//! instances, and one more does not. Decided by a flow from the shares through the instances.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hashbrown::HashMap;
use serde_json::Number;

use super::{Check, Conditions, allows, suffices};
use crate::fleet::Fleet;
use crate::hardware::{BoardRef, Profile};
use crate::plan::goal;

/// A kind of instance: index of the board, index of the profile.
type Kind = (usize, usize);

impl Check<'_> {
    /// Free instances of a memory size on GPUs in use.
    pub(super) fn free_of_size(&self, memory_mib: u64) -> u64 {
        self.counted.free_memory.get(&memory_mib).copied().unwrap_or(0)
    }

    /// The claimed number of further replicas fits, and one more does not.
    pub(super) fn spare_mix(&mut self, value: &Number, fleet: &Fleet, conditions: &Conditions) {
        let Some(claimed) = value.as_u64() else {
            self.fail(format!("stage spare claims {value}"));
            return;
        };
        let boards = fleet.boards();
        let free: BTreeMap<Kind, u64> = self.free_by_kind(&boards);
        let groups = self.groups(fleet, conditions, &free);
        let shares = goal::shares(&groups.iter().map(|g| g.wanted).collect::<Vec<_>>());
        // A whole GPU is no free instance, so replicas of whole GPUs have no share in them.
        let takers: Vec<(&BTreeSet<Kind>, u128)> = groups
            .iter()
            .zip(&shares)
            .filter(|(g, _)| g.whole_gpus == 0)
            .map(|(g, share)| (&g.kinds, *share as u128))
            .collect();
        if !fits(&takers, &free, claimed) {
            self.fail(format!(
                "stage spare claims {claimed}, which the free instances do not hold"
            ));
        }
        if fits(&takers, &free, claimed.saturating_add(1)) {
            self.fail(format!("stage spare claims {claimed}, but one more fits"));
        }
    }

    fn free_by_kind(&self, boards: &[BoardRef]) -> BTreeMap<Kind, u64> {
        let mut free = BTreeMap::new();
        for ((board, name), count) in &self.counted.free {
            let Some(b) = boards.iter().position(|other| other.id == **board) else { continue };
            if let Some(p) = boards[b].profiles.iter().position(|other| other.name == **name) {
                free.insert((b, p), *count);
            }
        }
        free
    }

    /// Workloads by what suffices for them.
    fn groups(
        &self,
        fleet: &Fleet,
        conditions: &Conditions,
        free: &BTreeMap<Kind, u64>,
    ) -> Vec<Group> {
        let boards = fleet.boards();
        let media = self.workloads.iter().any(|w| w.media && w.count > 0);
        // What nobody asks for is not made, but may have been there and be kept.
        let useful = |kind: Kind, p: &Profile| {
            let mut attributes = p.name.plus.iter().chain(&p.name.minus);
            attributes.all(|a| media && (a == "me" || a == "me.all")) || free.contains_key(&kind)
        };
        // Memories between the same two profiles are alike, so few workloads are looked at closely.
        let sizes: BTreeSet<u64> =
            boards.iter().flat_map(|b| &b.profiles).map(|p| p.memory.0).collect();
        let sizes: Vec<u64> = sizes.into_iter().collect();
        let mut kinds_of: HashMap<(&[String], u32, bool, usize), usize> = HashMap::new();
        let mut sets: Vec<BTreeSet<Kind>> = Vec::new();
        let mut groups: BTreeMap<(u32, usize, bool, Option<usize>), u128> = BTreeMap::new();
        for (index, workload) in self.workloads.iter().enumerate().filter(|(_, w)| w.count > 0) {
            let memory = workload.memory.map_or(0, |m| m.0);
            let larger = sizes.partition_point(|size| *size < memory);
            let need = (&workload.boards[..], workload.compute_slices, workload.media, larger);
            let set = *kinds_of.entry(need).or_insert_with(|| {
                let usable = |kind: Kind, board: &BoardRef, p: &Profile| {
                    allows(workload, board) && useful(kind, p) && suffices(p, workload)
                };
                let mut kinds = BTreeSet::new();
                for (b, board) in boards.iter().enumerate() {
                    let profiles = board.profiles.iter().enumerate();
                    let kinds_of = profiles.map(|(p, profile)| ((b, p), profile));
                    let usable = kinds_of.filter(|(kind, p)| usable(*kind, board, p));
                    kinds.extend(usable.map(|(kind, _)| kind));
                }
                let known = sets.iter().position(|set| *set == kinds);
                known.unwrap_or_else(|| {
                    sets.push(kinds);
                    sets.len() - 1
                })
            });
            let servable = match workload.whole_gpus {
                0 => !sets[set].is_empty(),
                _ => boards.iter().any(|b| allows(workload, b) && self.could_serve(b, workload)),
            };
            if !servable {
                continue;
            }
            let by_itself = conditions.policy.one_profile_per_workload && workload.count > 1;
            let key =
                (workload.whole_gpus, set, workload.memory.is_none(), by_itself.then_some(index));
            *groups.entry(key).or_default() += u128::from(workload.count);
        }
        groups
            .into_iter()
            .map(|((whole_gpus, set, ..), wanted)| Group {
                whole_gpus,
                kinds: sets[set].clone(),
                wanted,
            })
            .collect()
    }
}

/// Workloads that the same kinds of instance suffice for.
struct Group {
    whole_gpus: u32,
    kinds: BTreeSet<Kind>,
    wanted: u128,
}

/// Whether `further` replicas fit the free instances, where each taker gets its share of them to
/// within less than one replica.
fn fits(takers: &[(&BTreeSet<Kind>, u128)], free: &BTreeMap<Kind, u64>, further: u64) -> bool {
    let all: u128 = takers.iter().map(|(_, share)| share).sum();
    let instances: u128 = free.values().map(|n| u128::from(*n)).sum();
    if further == 0 || all == 0 || u128::from(further) > instances {
        return further == 0;
    }
    let exact = |share: u128| share * u128::from(further);
    let least = |share: u128| exact(share).saturating_sub(all - 1).div_ceil(all) as u64;
    let most = |share: u128| exact(share).div_ceil(all) as u64;
    let mut flow = Flow::new(takers, free);
    let needed: u64 = takers.iter().map(|(_, share)| least(*share)).sum();
    if flow.raise(takers.iter().map(|(_, share)| least(*share)), needed) < needed {
        return false;
    }
    flow.raise(takers.iter().map(|(_, share)| most(*share)), further) >= further
}

/// A flow from takers to the kinds that suffice for them.
struct Flow<'a> {
    suits: Vec<Vec<usize>>,
    takers_of: Vec<Vec<usize>>,
    free: Vec<&'a u64>,
    /// From each taker to each kind.
    sent: BTreeMap<(usize, usize), u64>,
    out: Vec<u64>,
    into: Vec<u64>,
}

impl<'a> Flow<'a> {
    fn new(takers: &[(&BTreeSet<Kind>, u128)], free: &'a BTreeMap<Kind, u64>) -> Flow<'a> {
        let suits: Vec<Vec<usize>> = takers
            .iter()
            .map(|(kinds, _)| {
                let suiting = free.keys().enumerate().filter(|(_, kind)| kinds.contains(kind));
                suiting.map(|(k, _)| k).collect()
            })
            .collect();
        let mut takers_of = vec![Vec::new(); free.len()];
        for (taker, kinds) in suits.iter().enumerate() {
            kinds.iter().for_each(|k| takers_of[*k].push(taker));
        }
        Flow {
            out: vec![0; suits.len()],
            into: vec![0; free.len()],
            suits,
            takers_of,
            free: free.values().collect(),
            sent: BTreeMap::new(),
        }
    }

    /// Sends more while some taker is under its limit and less than `total` is sent; what a taker
    /// sends never falls. Returns what is sent in all.
    fn raise(&mut self, limits: impl Iterator<Item = u64>, total: u64) -> u64 {
        let limits: Vec<u64> = limits.collect();
        let mut sum: u64 = self.out.iter().sum();
        while sum < total {
            let more = self.augment(&limits, total - sum);
            if more == 0 {
                break;
            }
            sum += more;
        }
        sum
    }

    /// Sends up to `most` along one shortest path that still has room.
    fn augment(&mut self, limits: &[u64], most: u64) -> u64 {
        let (mut from_taker, mut from_kind) =
            (vec![None; self.free.len()], vec![None; self.out.len()]);
        let starts: Vec<usize> =
            (0..self.out.len()).filter(|t| self.out[*t] < limits[*t]).collect();
        let mut seen = vec![false; self.out.len()];
        starts.iter().for_each(|t| seen[*t] = true);
        let mut queue: VecDeque<usize> = starts.into();
        while let Some(taker) = queue.pop_front() {
            for &kind in &self.suits[taker] {
                if from_taker[kind].is_some() {
                    continue;
                }
                from_taker[kind] = Some(taker);
                if self.into[kind] < *self.free[kind] {
                    return self.send(kind, &from_taker, &from_kind, limits, most);
                }
                for &other in &self.takers_of[kind] {
                    let sends = self.sent.get(&(other, kind)).is_some_and(|n| *n > 0);
                    if sends && !seen[other] {
                        seen[other] = true;
                        from_kind[other] = Some(kind);
                        queue.push_back(other);
                    }
                }
            }
        }
        0
    }

    /// Sends along the path that was found to end at `last`.
    fn send(
        &mut self,
        last: usize,
        from_taker: &[Option<usize>],
        from_kind: &[Option<usize>],
        limits: &[u64],
        most: u64,
    ) -> u64 {
        let mut amount = most.min(self.free[last] - self.into[last]);
        let mut steps: Vec<(usize, usize, Option<usize>)> = Vec::new();
        let mut kind = last;
        while let Some(taker) = from_taker[kind] {
            let before = from_kind[taker];
            steps.push((taker, kind, before));
            match before {
                Some(before) => {
                    amount = amount.min(self.sent.get(&(taker, before)).copied().unwrap_or(0));
                    kind = before;
                }
                None => {
                    amount = amount.min(limits[taker] - self.out[taker]);
                    self.out[taker] += amount;
                    break;
                }
            }
        }
        for (taker, kind, before) in steps {
            *self.sent.entry((taker, kind)).or_default() += amount;
            if let Some(before) = before {
                *self.sent.entry((taker, before)).or_default() -= amount;
            }
        }
        self.into[last] += amount;
        amount
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_decide_what_fits() {
        let (small, large) = (BTreeSet::from([(0, 0), (0, 1)]), BTreeSet::from([(0, 1)]));
        let free = BTreeMap::from([((0, 0), 3), ((0, 1), 2)]);
        // Three to one: of four, three small ones and a large one.
        let takers = [(&small, 3), (&large, 1)];
        assert!(fits(&takers, &free, 4));
        // Of five, four small ones (one in a large instance) and a large one.
        assert!(fits(&takers, &free, 5));
        assert!(!fits(&takers, &free, 6));
        // One to three: of four, at least two of the three that are due must be large.
        assert!(fits(&[(&small, 1), (&large, 3)], &free, 3));
        assert!(!fits(&[(&small, 1), (&large, 3)], &free, 5));
        assert!(fits(&[], &free, 0) && !fits(&[], &free, 1));
    }

    #[test]
    fn a_taker_makes_room_for_another() {
        let (both, first) = (BTreeSet::from([(0, 0), (0, 1)]), BTreeSet::from([(0, 0)]));
        let free = BTreeMap::from([((0, 0), 1), ((0, 1), 1)]);
        assert!(fits(&[(&both, 1), (&first, 1)], &free, 2));
        assert!(!fits(&[(&first, 2), (&both, 1)], &free, 3));
    }
}
