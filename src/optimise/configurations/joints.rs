//! What each GPU can be in all configurations together: a pattern of the integer program for each
//! choice of one layout for each configuration, without those that another one is as good as.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::layouts::{GpuLayout, Keeps, destroyed, kept, layouts_of};
use crate::demand::over_time::OverTime;
use crate::hardware::layout::{self, Counts, Placement};
use crate::hardware::{Board, BoardRef};
use crate::optimise::problem::{Part, Problem};
use crate::optimise::stages::Solution;
use crate::optimise::supply::{GpuGroup, InstanceKind, Pattern, Pool};

/// The layouts of one GPU, one for each configuration.
#[derive(Debug, Clone)]
pub(crate) struct Joint {
    /// Of which group of its pool such a GPU is.
    group: usize,
    /// One for each configuration.
    pub layouts: Vec<GpuLayout>,
    /// For each supply, how often each profile, and at its end the whole GPU.
    counts: Counts,
}

/// What the GPUs of one board can be.
#[derive(Debug, Clone)]
struct JointPool {
    board: BoardRef,
    /// GPUs of each group.
    groups: Vec<i64>,
    joints: Vec<Joint>,
}

/// What the GPUs of a fleet can be in several configurations.
#[derive(Debug, Clone)]
pub(crate) struct Joints {
    configurations: usize,
    keeps: Keeps,
    pools: Vec<JointPool>,
}

/// For each pool, the layouts of its GPUs with the number of those that have them.
pub(crate) type Chosen = Vec<Vec<(Vec<GpuLayout>, i64)>>;

/// The supply that is what a change between two configurations keeps.
pub(crate) fn kept_supply(configurations: usize, a: usize, b: usize) -> usize {
    let (low, high) = (a.min(b), a.max(b));
    let before: usize = (0..low).map(|i| configurations - 1 - i).sum();
    configurations + before + (high - low - 1)
}

/// What each supply offers on a GPU with these layouts.
fn counts(board: &Board, layouts: &[&GpuLayout], keeps: Keeps) -> Counts {
    let of = |instances: &[Placement], whole: bool| {
        let mut counts = layout::counts(board, instances);
        counts.push(u32::from(whole));
        counts
    };
    let mut all: Counts =
        layouts.iter().flat_map(|l| of(l.as_deref().unwrap_or_default(), l.is_none())).collect();
    for (i, a) in layouts.iter().enumerate() {
        for b in &layouts[i + 1..] {
            let (instances, whole) = kept(a, b, keeps);
            all.extend(of(&instances, whole));
        }
    }
    all
}

/// Leaves out what another one is at least as good as in every supply, with no more instances
/// destroyed in any change.
fn without_dominated(joints: Vec<Joint>, keeps: Keeps) -> Vec<Joint> {
    /// Comparing more of them with each other costs more than it saves.
    const MOST_COMPARED: usize = 6_000;
    let mut distinct: Vec<Joint> = Vec::new();
    let mut known: HashMap<(usize, Counts), ()> = HashMap::new();
    for joint in joints {
        if known.insert((joint.group, joint.counts.clone()), ()).is_none() {
            distinct.push(joint);
        }
    }
    if distinct.len() > MOST_COMPARED {
        return distinct;
    }
    let prices: Vec<Vec<u64>> = distinct
        .iter()
        .map(|j| {
            let pairs = j.layouts.iter().flat_map(|a| j.layouts.iter().map(move |b| (a, b)));
            pairs.map(|(a, b)| destroyed(a, b, keeps)).collect()
        })
        .collect();
    let within = |a: usize, b: usize| {
        let (of_a, of_b) = (&distinct[a], &distinct[b]);
        a != b
            && of_a.group == of_b.group
            && of_a.counts.iter().zip(&of_b.counts).all(|(x, y)| x <= y)
            && prices[a].iter().zip(&prices[b]).all(|(x, y)| x >= y)
    };
    let all = 0..distinct.len();
    let best: Vec<bool> = all.clone().map(|a| !all.clone().any(|b| within(a, b))).collect();
    distinct.into_iter().zip(best).filter(|(_, best)| *best).map(|(joint, _)| joint).collect()
}

/// What the instances of a layout are worth to what is served, where kinds differ by the item types
/// that they suffice for: one layout is no better than another in whose stead it stands if each of
/// its instances has one there that suffices for the same, and one that outlives a change has one
/// that does too. By Hall's theorem that is so where, for each upper set of kinds, there are no fewer.
#[derive(Debug)]
struct Sufficiency {
    /// Every set of kinds that has with a kind all that suffice for at least the same item types: a
    /// bit for each place in the counts of a layout.
    upper_sets: Vec<u64>,
}

impl Sufficiency {
    /// Of the kinds of a pool; `None` where there are too many sets to compare.
    fn new(base: &Problem, pool: usize) -> Option<Sufficiency> {
        /// With more sets than this, comparing costs more than it saves.
        const MOST_SETS: usize = 64;
        let profiles = base.pools[pool].board.profiles.len();
        let mut serves: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for (t, of) in base.item_types.iter().enumerate() {
            for kind in of.kinds.iter().map(|k| &base.kinds[*k]).filter(|k| k.pool == pool) {
                serves.entry(kind.profile.unwrap_or(profiles)).or_default().insert(t);
            }
        }
        let bit = |place: &usize| u32::try_from(*place).ok().and_then(|p| 1u64.checked_shl(p));
        let mut sets = BTreeSet::from([0]);
        for types in serves.values() {
            let suffice = serves.iter().filter(|(_, of)| types.is_subset(of));
            let above = suffice.map(|(place, _)| bit(place)).sum::<Option<u64>>()?;
            let more: Vec<u64> = sets.iter().map(|set| set | above).collect();
            sets.extend(more);
            if sets.len() > MOST_SETS {
                return None;
            }
        }
        Some(Sufficiency { upper_sets: sets.into_iter().collect() })
    }

    /// One layout of each configuration is no better than another where no number here is greater:
    /// for two upper sets, one within the other, the instances of the larger that outlive a change
    /// and those of the smaller that do not.
    fn of(&self, joint: &Joint, configurations: usize) -> Vec<u32> {
        let supplies = configurations * (configurations + 1) / 2;
        let places = joint.counts.len() / supplies;
        let supply = |at: usize| &joint.counts[at * places..(at + 1) * places];
        let sums = |counts: &dyn Fn(usize) -> u32| -> Vec<u32> {
            let of = |set: &u64| (0..places).filter(|p| set >> p & 1 == 1).map(counts).sum();
            self.upper_sets.iter().map(of).collect()
        };
        let mut numbers = Vec::new();
        for own in 0..configurations {
            for other in (0..configurations).filter(|other| *other != own) {
                let all = supply(own);
                let kept = supply(kept_supply(configurations, own, other));
                let outlive = sums(&|p| kept[p]);
                let end = sums(&|p| all[p].saturating_sub(kept[p]));
                for (large, outliving) in self.upper_sets.iter().zip(&outlive) {
                    let within =
                        self.upper_sets.iter().zip(&end).filter(|(s, _)| **s & !large == 0);
                    numbers.extend(within.map(|(_, ending)| outliving + ending));
                }
            }
        }
        numbers
    }
}

impl Joints {
    /// The same with less to choose from: without what serves the demand of `base` no better than
    /// another one in every configuration and through every change. What is left free and what a
    /// change destroys is not compared, so this is only for the most that can be served.
    pub(crate) fn serving(&self, base: &Problem) -> Joints {
        let pools = self.pools.iter().enumerate().map(|(p, pool)| {
            let Some(sufficiency) = Sufficiency::new(base, p) else { return pool.clone() };
            let of = |joint| (sufficiency.of(joint, self.configurations), joint);
            let mut joints: Vec<(Vec<u32>, &Joint)> = pool.joints.iter().map(of).collect();
            // What is better than another one has the larger sum, so it comes first.
            joints.sort_by_key(|(numbers, _)| Reverse(numbers.iter().sum::<u32>()));
            let mut best: Vec<(Vec<u32>, &Joint)> = Vec::new();
            for (numbers, joint) in joints {
                let is_within = |(other, of): &(Vec<u32>, &Joint)| {
                    of.group == joint.group && numbers.iter().zip(other).all(|(x, y)| x <= y)
                };
                if !best.iter().any(is_within) {
                    best.push((numbers, joint));
                }
            }
            JointPool { joints: best.into_iter().map(|(_, j)| j.clone()).collect(), ..pool.clone() }
        });
        Joints { pools: pools.collect(), ..self.clone() }
    }

    /// Every pair of layouts, for two configurations. Whole GPUs are among them where the demand
    /// asks for some.
    pub(crate) fn pairs(base: &Problem, media: bool, whole: bool, keeps: Keeps) -> Joints {
        let pools = base.pools.iter().map(|pool| {
            let board = &pool.board;
            let layouts = layouts_of(board, media, whole);
            let pairs = layouts.iter().flat_map(|a| layouts.iter().map(move |b| [a, b]));
            let joint = |pair: [&GpuLayout; 2]| Joint {
                group: 0,
                counts: counts(board, &pair, keeps),
                layouts: pair.into_iter().cloned().collect(),
            };
            JointPool {
                board: board.clone(),
                groups: vec![pool.gpus],
                joints: without_dominated(pairs.map(joint).collect(), keeps),
            }
        });
        Joints { configurations: 2, keeps, pools: pools.collect() }
    }

    /// One configuration more beside those of `chosen`, which stay as they are.
    pub(crate) fn one_more(
        base: &Problem,
        chosen: &Chosen,
        media: bool,
        whole: bool,
        keeps: Keeps,
    ) -> Joints {
        let mut configurations = 1;
        let pools = base.pools.iter().zip(chosen).map(|(pool, of_pool)| {
            let board = &pool.board;
            let layouts = layouts_of(board, media, whole);
            let mut joints = Vec::new();
            for (group, (known, _)) in of_pool.iter().enumerate() {
                configurations = known.len() + 1;
                // What a GPU has already may have fewer instances than fit, and costs no change.
                for more in known.iter().chain(&layouts) {
                    let all: Vec<&GpuLayout> = known.iter().chain([more]).collect();
                    joints.push(Joint {
                        group,
                        counts: counts(board, &all, keeps),
                        layouts: all.into_iter().cloned().collect(),
                    });
                }
            }
            JointPool {
                board: board.clone(),
                groups: of_pool.iter().map(|(_, gpus)| *gpus).collect(),
                joints: without_dominated(joints, keeps),
            }
        });
        let pools = pools.collect();
        Joints { configurations, keeps, pools }
    }

    /// The problem of serving `parts`, where each supply is a configuration or what a change keeps.
    /// `changes` is how often GPUs change from one configuration to another.
    pub(crate) fn problem(
        &self,
        base: &Problem,
        demand: &OverTime,
        parts: &[Part],
        changes: &BTreeMap<(usize, usize), i64>,
    ) -> Problem {
        let price = |joint: &Joint| -> i64 {
            let of = |((from, to), times): (&(usize, usize), &i64)| {
                destroyed(&joint.layouts[*from], &joint.layouts[*to], self.keeps) as i64 * times
            };
            changes.iter().map(of).sum()
        };
        let pools = self.pools.iter().map(|pool| Pool {
            board: pool.board.clone(),
            gpus: pool.groups.iter().sum(),
            groups: pool
                .groups
                .iter()
                .map(|gpus| GpuGroup { gpus: *gpus, ..GpuGroup::default() })
                .collect(),
            patterns: pool
                .joints
                .iter()
                .map(|joint| Pattern {
                    busy: vec![0; joint.counts.len()],
                    counts: joint.counts.clone(),
                    group: joint.group,
                    destroyed: price(joint),
                })
                .collect(),
        });
        let supplies = self.configurations * (self.configurations + 1) / 2;
        let of_supply = |supply: usize| {
            base.kinds.iter().map(move |kind| {
                let profiles = base.pools[kind.pool].board.profiles.len();
                InstanceKind {
                    supply,
                    made_at: Some(supply * (profiles + 1) + kind.profile.unwrap_or(profiles)),
                    ..kind.clone()
                }
            })
        };
        let kinds = (0..supplies).flat_map(of_supply).collect();
        base.with_supplies(demand.peak(), parts, pools.collect(), kinds)
    }

    /// The most that is paid for what the GPUs can be, where `worth` is what one more of each kind
    /// is worth in each supply, less what a GPU with each of the layouts costs.
    pub(crate) fn most_paid(
        &self,
        base: &Problem,
        worth: &BTreeMap<usize, Vec<i128>>,
        costs: &[i128],
    ) -> i128 {
        let mut costs = costs.iter();
        let of_pool = |(p, pool): (usize, &JointPool)| -> i128 {
            let profiles = pool.board.profiles.len();
            let mut places: Vec<(usize, i128)> = Vec::new();
            for (supply, of_supply) in worth {
                let kinds = base.kinds.iter().zip(of_supply);
                for (kind, paid) in kinds.filter(|(k, paid)| k.pool == p && **paid > 0) {
                    let at = kind.profile.unwrap_or(profiles);
                    places.push((supply * (profiles + 1) + at, *paid));
                }
            }
            let mut best = vec![0i128; pool.groups.len()];
            for joint in &pool.joints {
                let of = |(at, paid): &(usize, i128)| i128::from(joint.counts[*at]) * paid;
                let sum = places.iter().map(of).sum::<i128>() - costs.next().unwrap_or(&0);
                best[joint.group] = best[joint.group].max(sum);
            }
            best.iter().zip(&pool.groups).map(|(best, gpus)| best * i128::from(*gpus)).sum()
        };
        self.pools.iter().enumerate().map(of_pool).sum()
    }

    /// The values that a solution with fewer layouts to choose from has with these. `None` where its
    /// layouts are not among these.
    pub(crate) fn values_of(&self, fewer: &Joints, solution: &Solution) -> Option<Vec<i64>> {
        let layouts = |joints: &Joints| joints.pools.iter().map(|p| p.joints.len()).sum::<usize>();
        let mut values = vec![0; layouts(self)];
        let gpus = &solution.formulation.patterns.gpus;
        let mut first = 0;
        for ((pool, of_fewer), columns) in self.pools.iter().zip(&fewer.pools).zip(gpus) {
            let places = pool.joints.iter().enumerate();
            let places: HashMap<_, usize> =
                places.map(|(at, j)| ((j.group, &j.layouts), at)).collect();
            for (joint, column) in of_fewer.joints.iter().zip(columns) {
                let at = places.get(&(joint.group, &joint.layouts))?;
                values[first + at] = solution.values[*column];
            }
            first += pool.joints.len();
        }
        // The columns of the layouts are the first.
        values.extend(solution.values.get(layouts(fewer)..)?);
        Some(values)
    }

    /// The layouts that a solution chose.
    pub(crate) fn chosen(&self, solution: &Solution) -> Chosen {
        let of_pool = |(p, pool): (usize, &JointPool)| {
            let gpus = solution.formulation.patterns.decode(p, &solution.values, |_| true);
            let used = gpus.into_iter().filter(|(_, gpus)| *gpus > 0);
            used.map(|(joint, gpus)| (pool.joints[joint].layouts.clone(), gpus)).collect()
        };
        self.pools.iter().enumerate().map(of_pool).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demand::over_time::{Growth, Horizon, Zone};
    use crate::demand::{Demand, Workload};
    use crate::hardware::Catalogue;
    use crate::optimise::PlanOptions;
    use crate::units::Mebibytes;

    /// Two configurations with the same instances of three kinds, of which the change keeps some.
    fn joint(all: [u32; 3], kept: [u32; 3]) -> Joint {
        Joint { group: 0, layouts: Vec::new(), counts: [all, all, kept].concat() }
    }

    #[test]
    fn a_layout_serves_as_well_only_if_its_kept_instances_do_too() {
        // The second kind suffices for what the first does, the third for everything.
        let kinds = Sufficiency { upper_sets: vec![0, 0b100, 0b110, 0b111] };
        let within = |a: &Joint, b: &Joint| {
            let (a, b) = (kinds.of(a, 2), kinds.of(b, 2));
            a.iter().zip(&b).all(|(x, y)| x <= y)
        };
        let small = joint([1, 1, 0], [1, 0, 0]);
        assert!(within(&small, &joint([0, 1, 1], [0, 1, 0])));
        assert!(within(&small, &joint([1, 1, 0], [1, 1, 0])));
        // All instances have a better one there, and the one that is kept too, but it is the same.
        assert!(!within(&small, &joint([1, 0, 1], [0, 0, 1])));
        assert!(!within(&small, &joint([2, 0, 0], [2, 0, 0])));
        assert!(!within(&joint([1, 1, 0], [1, 1, 0]), &small));
    }

    #[test]
    fn few_layouts_matter_to_what_is_served() {
        let catalogue = Catalogue::built_in();
        let fleet = crate::fleet::spec::parse("2xa100-80gb", "--gpus", &catalogue).unwrap();
        let workload = |name: &str, mib, hours: &str| {
            let mut workload = Workload::new("a", name, Mebibytes(mib), 3);
            workload.hours = hours.parse().unwrap();
            workload
        };
        let rows =
            vec![workload("day", 9_000, "08:00-19:00"), workload("night", 70_000, "20:00-06:00")];
        let demand = Demand::new(rows);
        let demand =
            OverTime::new(&demand, Horizon::Week, &Zone::default(), &Growth::default()).unwrap();
        let base = Problem::over_time(&demand, &fleet, &PlanOptions::default());
        let pairs = Joints::pairs(&base, false, false, Keeps::Instances);
        let serving = pairs.serving(&base);
        // Seven small instances or one large one, in each of the two.
        assert!(pairs.pools[0].joints.len() > 1_000);
        assert_eq!(serving.pools[0].joints.len(), 4);
    }
}
