//! The plan for demand over time is really the best: against trying every layout of every GPU and,
//! in every period, every assignment, at every stage of the goal.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::common::{A30, A30_MEDIA, A100_80GB, A100_80GB_MEDIA, Typed, all_layouts, cases};
use migplan::demand::over_time::{Growth, Horizon, OverTime, Zone};
use migplan::demand::{Demand, Workload};
use migplan::fleet::{Fleet, Node};
use migplan::hardware::layout::Placement;
use migplan::hardware::{BoardRef, Catalogue};
use migplan::optimise::{self, PlanOptions, Spare};
use migplan::plan::Plan;
use migplan::reconfigure::change::{PresentGpu, PresentInstance};
use migplan::units::{Mebibytes, Weight};
use proptest::prelude::*;

/// A board as NVIDIA's guide has it: its profiles, compute slices and memory of the whole GPU.
struct Guide {
    id: &'static str,
    profiles: Vec<Typed>,
    compute: u32,
    memory: u64,
}

fn typed(board: usize) -> Guide {
    match board {
        0 => Guide {
            id: "a30-24gb",
            profiles: [A30, A30_MEDIA].concat(),
            compute: 4,
            memory: 24_576,
        },
        _ => Guide {
            id: "a100-sxm4-80gb",
            profiles: [A100_80GB, &[A100_80GB_MEDIA]].concat(),
            compute: 7,
            memory: 81_920,
        },
    }
}

/// A kind of instance of one board.
#[derive(Debug)]
struct Kind {
    board: &'static str,
    name: &'static str,
    compute: u32,
    memory: u64,
    whole: bool,
}

impl Kind {
    fn suffices(&self, workload: &Workload) -> bool {
        let allowed = workload.boards.is_empty() || workload.boards.iter().any(|b| b == self.board);
        allowed
            && self.whole == (workload.whole_gpus > 0)
            && self.compute >= workload.compute_slices
            && workload.memory.is_none_or(|m| m.0 <= self.memory)
            && (!workload.media || self.name.ends_with("+me"))
    }
}

/// A GPU as it is before the plan.
#[derive(Debug, Clone, Default)]
struct Now {
    board: usize,
    /// Its instances (profile, start), and whether each is busy; `None` where nothing is known.
    present: Option<Vec<((usize, u32), bool)>>,
}

/// What a GPU may become: the instances of each kind, whether it is in use, and the present
/// instances that this destroys.
type State = (Vec<u32>, bool, u64);

/// A number of each kind of instance.
type Counts = Vec<u32>;

/// What replicas are worth in the first stages: for each priority, the highest first, the weight of
/// guaranteed replicas and of all; then the memory.
type Worth = (Vec<(u64, u64)>, u64);

/// A case with everything that brute force needs to know of it.
struct Case<'a> {
    demand: &'a OverTime,
    kinds: Vec<Kind>,
    /// Priorities of what could be served at all, the highest first, and whether any is guaranteed.
    priorities: Vec<(i64, bool)>,
    spare: Spare,
    knows_present: bool,
}

impl<'a> Case<'a> {
    fn new(demand: &'a OverTime, gpus: &[Now], spare: Spare) -> Case<'a> {
        let boards: BTreeSet<usize> = gpus.iter().map(|gpu| gpu.board).collect();
        let mut kinds = Vec::new();
        for board in boards.into_iter().map(typed) {
            let id = board.id;
            kinds.extend(board.profiles.iter().map(|(name, compute, _, _, memory)| Kind {
                board: id,
                name,
                compute: *compute,
                memory: *memory,
                whole: false,
            }));
            let (compute, memory) = (board.compute, board.memory);
            kinds.push(Kind { board: id, name: "full", compute, memory, whole: true });
        }
        let workloads = demand.peak().workloads().iter();
        let served = workloads.filter(|w| w.count > 0 && kinds.iter().any(|k| k.suffices(w)));
        let mut priorities: BTreeMap<Reverse<i64>, bool> = BTreeMap::new();
        for workload in served {
            *priorities.entry(Reverse(workload.priority)).or_default() |= workload.min > 0;
        }
        Case {
            demand,
            kinds,
            priorities: priorities.into_iter().map(|(p, min)| (p.0, min)).collect(),
            spare,
            knows_present: gpus.iter().any(|gpu| gpu.present.is_some()),
        }
    }

    /// Everything that one GPU may become.
    fn states(&self, gpu: &Now) -> BTreeSet<State> {
        let board = typed(gpu.board);
        let of_kind = |name: &str| {
            self.kinds.iter().position(|k| k.board == board.id && k.name == name).unwrap()
        };
        let present = gpu.present.as_deref().unwrap_or_default();
        let busy = present.iter().any(|(_, busy)| *busy);
        let nothing = vec![0; self.kinds.len()];
        let mut states = BTreeSet::from([(nothing.clone(), false, 0)]);
        if !busy {
            let mut makes = nothing.clone();
            makes[of_kind("full")] = 1;
            states.insert((makes, true, present.len() as u64));
        }
        for layout in all_layouts(&board.profiles).iter().filter(|layout| !layout.is_empty()) {
            if present.iter().any(|(at, busy)| *busy && !layout.contains(at)) {
                continue;
            }
            let mut makes = nothing.clone();
            layout.iter().for_each(|(p, _)| makes[of_kind(board.profiles[*p].0)] += 1);
            let destroyed = present.iter().filter(|(at, _)| !layout.contains(at)).count();
            states.insert((makes, true, destroyed as u64));
        }
        states
    }

    /// Everything that the GPUs may become together.
    fn partitions(&self, gpus: &[Now]) -> BTreeSet<(Counts, u64, u64)> {
        let mut all = BTreeSet::from([(vec![0; self.kinds.len()], 0, 0)]);
        for gpu in gpus {
            let mut states = self.states(gpu);
            if states.len() > 50 && gpus.len() > 1 {
                // Too many to try: what makes more instances of the same GPU serves no less and
                // leaves no less free.
                let known = states.clone();
                states.retain(|(makes, used, destroyed)| {
                    let better = |(more, of, price): &State| {
                        more != makes
                            && of == used
                            && price <= destroyed
                            && makes.iter().zip(more).all(|(a, b)| a <= b)
                    };
                    !known.iter().any(better)
                });
            }
            let more = all.iter().flat_map(|(makes, used, destroyed)| {
                states.iter().map(move |(of, is_used, price)| {
                    let sum = makes.iter().zip(of).map(|(a, b)| a + b).collect();
                    (sum, used + u64::from(*is_used), destroyed + price)
                })
            });
            all = more.collect();
        }
        all
    }

    /// The memory of the instances that are taken.
    fn allocated(&self, used: &Counts) -> u64 {
        self.kinds.iter().zip(used).map(|(k, n)| k.memory * u64::from(*n)).sum()
    }

    fn compute(&self, used: &Counts) -> u64 {
        self.kinds.iter().zip(used).map(|(k, n)| u64::from(k.compute * n)).sum()
    }

    /// Every way to take instances in a period with the most that is worth, the best first.
    fn ways(&self, counts: &[u64], most: &Counts) -> Vec<(Worth, Reverse<u64>, Counts)> {
        let nothing: Worth = (vec![(0, 0); self.priorities.len()], 0);
        let mut ways = BTreeMap::from([(vec![0; self.kinds.len()], nothing)]);
        for (workload, count) in self.demand.peak().workloads().iter().zip(counts) {
            let kinds = (0..self.kinds.len()).filter(|k| self.kinds[*k].suffices(workload));
            let kinds: Vec<usize> = kinds.collect();
            let tier = self.priorities.iter().position(|(p, _)| *p == workload.priority);
            let (Some(tier), false) = (tier, kinds.is_empty()) else { continue };
            // How its replicas may be spread, from none to all.
            let mut spread: BTreeSet<Vec<usize>> = BTreeSet::from([vec![]]);
            for _ in 0..*count {
                let longer = spread.iter().flat_map(|chosen| {
                    let from = chosen.last().copied().unwrap_or(0);
                    let kinds = kinds.iter().filter(move |k| **k >= from);
                    kinds.map(|k| [chosen.as_slice(), &[*k]].concat())
                });
                let longer: Vec<Vec<usize>> = longer.collect();
                spread.extend(longer);
            }
            let mut next: BTreeMap<Counts, Worth> = BTreeMap::new();
            for (used, (weights, mib)) in &ways {
                for chosen in &spread {
                    let mut used = used.clone();
                    chosen.iter().for_each(|k| used[*k] += 1);
                    if used.iter().zip(most).any(|(n, most)| n > most) {
                        continue;
                    }
                    let placed = chosen.len() as u64;
                    let mut weights = weights.clone();
                    weights[tier].0 += workload.weight.0 * placed.min(workload.min);
                    weights[tier].1 += workload.weight.0 * placed;
                    let each = |k: &usize| workload.memory.map_or(self.kinds[*k].memory, |m| m.0);
                    let worth = (weights, mib + chosen.iter().map(each).sum::<u64>());
                    let known = next.entry(used).or_insert_with(|| worth.clone());
                    *known = std::cmp::max(known.clone(), worth);
                }
            }
            ways = next;
        }
        let ways = ways.into_iter();
        let mut ways: Vec<_> =
            ways.map(|(used, worth)| (worth, Reverse(self.allocated(&used)), used)).collect();
        ways.sort_by(|a, b| b.cmp(a));
        ways
    }

    /// The best value of every stage, in the order of the goal.
    fn best(&self, gpus: &[Now]) -> Stages {
        let partitions = self.partitions(gpus);
        let mut most = vec![0; self.kinds.len()];
        for (makes, _, _) in &partitions {
            most.iter_mut().zip(makes).for_each(|(most, n)| *most = std::cmp::max(*most, *n));
        }
        let periods = self.demand.periods();
        let ways: Vec<_> = periods.iter().map(|p| self.ways(&p.counts, &most)).collect();
        let mut best: Option<Stages> = None;
        for (makes, used, destroyed) in &partitions {
            let within = |of: &Counts| of.iter().zip(makes).all(|(n, most)| n <= most);
            // In each period all ways that are as good as any up to the memory allocated.
            let equal: Vec<Vec<&Counts>> = ways
                .iter()
                .map(|ways| {
                    let first = ways.iter().position(|(_, _, used)| within(used)).unwrap();
                    let same = |way: &&(Worth, Reverse<u64>, Counts)| {
                        (&way.0, way.1) == (&ways[first].0, ways[first].1)
                    };
                    let equal = ways[first..].iter().take_while(same);
                    equal.map(|(_, _, used)| used).filter(|used| within(used)).collect()
                })
                .collect();
            let worth: Vec<&Worth> = ways
                .iter()
                .map(|ways| &ways.iter().find(|(_, _, used)| within(used)).unwrap().0)
                .collect();
            let mut goal = self.first_stages(&worth, *used, &equal);
            // The rest is seldom needed.
            if best.as_ref().is_some_and(|best| is_worse(&goal, &best[..goal.len()])) {
                continue;
            }
            goal.extend(self.last_stages(makes, *destroyed, &equal));
            if best.as_ref().is_none_or(|best| is_worse(best, &goal)) {
                best = Some(goal);
            }
        }
        best.unwrap()
    }

    /// Sums something over the hours.
    fn over_hours(&self, of: impl Fn(usize) -> u64) -> i128 {
        let periods = self.demand.periods().iter().enumerate();
        periods.map(|(p, period)| i128::from(of(p)) * i128::from(period.hours)).sum()
    }

    fn first_stages(&self, worth: &[&Worth], used: u64, equal: &[Vec<&Counts>]) -> Stages {
        let mut goal = Vec::new();
        for (at, (priority, guaranteed)) in self.priorities.iter().enumerate() {
            if *guaranteed {
                let name = format!("guaranteed_weight_hours[priority={priority}]");
                goal.push((name, self.over_hours(|p| worth[p].0[at].0)));
            }
            let name = format!("placed_weight_hours[priority={priority}]");
            goal.push((name, self.over_hours(|p| worth[p].0[at].1)));
        }
        let mib = self.over_hours(|p| worth[p].1);
        let allocated = self.over_hours(|p| self.allocated(equal[p][0]));
        goal.push(("placed_mib_hours".to_string(), mib));
        goal.push(("gpus_used".to_string(), used.into()));
        goal.push(("rounding_mib_hours".to_string(), allocated - mib));
        goal
    }

    /// From the kinds in use on, over everything that is equal before.
    fn last_stages(&self, makes: &Counts, destroyed: u64, equal: &[Vec<&Counts>]) -> Stages {
        let within =
            |used: &Counts, set: u32| (0..used.len()).all(|k| used[k] == 0 || set >> k & 1 == 1);
        let suffices =
            |set: u32| equal.iter().all(|ways| ways.iter().any(|used| within(used, set)));
        let mut sets: Vec<u32> = (0..1 << self.kinds.len()).collect();
        sets.sort_by_key(|set| set.count_ones());
        let kinds = sets.iter().find(|set| suffices(**set)).unwrap().count_ones();
        sets.retain(|set| set.count_ones() == kinds && suffices(*set));
        let mut best: Option<Stages> = None;
        for set in sets {
            let mut ways: Vec<Vec<&Counts>> = Vec::new();
            for of_period in equal {
                let allowed = of_period.iter().copied().filter(|used| within(used, set));
                let compute = allowed.clone().map(|used| self.compute(used)).max().unwrap();
                ways.push(allowed.filter(|used| self.compute(used) == compute).collect());
            }
            let mut goal = vec![
                ("profile_kinds".to_string(), kinds.into()),
                ("compute_slice_hours".to_string(), self.over_hours(|p| self.compute(ways[p][0]))),
            ];
            if self.knows_present {
                goal.push(("instances_destroyed".to_string(), destroyed.into()));
            }
            // What is free in all hours.
            let mut taken: BTreeSet<Counts> = BTreeSet::from([vec![0; self.kinds.len()]]);
            for of_period in &ways {
                let most = |of: &Counts, used: &Counts| {
                    of.iter().zip(used).map(|(a, b)| *a.max(b)).collect::<Counts>()
                };
                taken = taken
                    .iter()
                    .flat_map(|of| of_period.iter().map(move |used| most(of, used)))
                    .collect();
            }
            let free = taken.iter().map(|taken| -> Counts {
                makes.iter().zip(taken).map(|(makes, taken)| makes - taken).collect()
            });
            for free in free {
                let mut goal = goal.clone();
                goal.extend(self.spare_stages(&free));
                if best.as_ref().is_none_or(|best| is_worse(best, &goal)) {
                    best = Some(goal);
                }
            }
        }
        best.unwrap()
    }

    fn spare_stages(&self, free: &Counts) -> Stages {
        match self.spare {
            Spare::None => Vec::new(),
            Spare::Mix => vec![("spare".to_string(), self.further(free))],
            Spare::Largest => {
                let mut sizes: BTreeMap<Reverse<u64>, i128> = BTreeMap::new();
                for (kind, free) in self.kinds.iter().zip(free).filter(|(k, _)| !k.whole) {
                    *sizes.entry(Reverse(kind.memory)).or_default() += i128::from(*free);
                }
                let name = |Reverse(mib): Reverse<u64>| format!("spare[{mib}MiB]");
                sizes.into_iter().map(|(size, free)| (name(size), free)).collect()
            }
        }
    }

    /// The most further replicas, where those for which the same instances suffice stay less than
    /// one from their share.
    fn further(&self, free: &Counts) -> i128 {
        let mut wanted: BTreeMap<Vec<usize>, u64> = BTreeMap::new();
        for (w, workload) in self.demand.peak().workloads().iter().enumerate() {
            let kinds = (0..self.kinds.len()).filter(|k| self.kinds[*k].suffices(workload));
            let kinds: Vec<usize> = kinds.collect();
            let hours = self.over_hours(|p| self.demand.periods()[p].counts[w]);
            if workload.whole_gpus == 0 && !kinds.is_empty() && hours > 0 {
                *wanted.entry(kinds).or_default() += hours as u64;
            }
        }
        let wanted: Vec<(Vec<usize>, u64)> = wanted.into_iter().collect();
        let all: u64 = wanted.iter().map(|(_, hours)| hours).sum();
        let fits = |numbers: &[u64]| {
            // Hall's theorem: any of the types together have no more replicas than there are
            // instances that suffice for one of them.
            (0u32..1 << wanted.len()).all(|set| {
                let chosen: Vec<usize> = (0..wanted.len()).filter(|t| set >> t & 1 == 1).collect();
                let kinds: BTreeSet<usize> =
                    chosen.iter().flat_map(|t| wanted[*t].0.iter().copied()).collect();
                let offered: u64 = kinds.iter().map(|k| u64::from(free[*k])).sum();
                chosen.iter().map(|t| numbers[*t]).sum::<u64>() <= offered
            })
        };
        let total: u64 = free.iter().map(|n| u64::from(*n)).sum();
        let possible = |number: &u64| {
            (0u32..1 << wanted.len()).any(|up| {
                let of = |(t, (_, share)): (usize, &(Vec<usize>, u64))| {
                    let exact = share * number;
                    let whole = exact.is_multiple_of(all);
                    exact / all + u64::from(up >> t & 1 == 1 && !whole)
                };
                let numbers: Vec<u64> = wanted.iter().enumerate().map(of).collect();
                numbers.iter().sum::<u64>() == *number && fits(&numbers)
            })
        };
        if all == 0 { 0 } else { (0..=total).rev().find(possible).unwrap().into() }
    }
}

/// Whether the stages of one are worse than those of the other; both have the same.
fn is_worse(a: &[(String, i128)], b: &[(String, i128)]) -> bool {
    let fewest = ["gpus_used", "rounding_mib_hours", "profile_kinds", "instances_destroyed"];
    let differ = a.iter().zip(b).find(|(a, b)| a.1 != b.1);
    differ.is_some_and(|(a, b)| (a.1 < b.1) != fewest.contains(&a.0.as_str()))
}

/// The stages that a plan claims to have proved.
fn proved(plan: &Plan) -> Stages {
    let stage = |stage: &migplan::plan::Stage| {
        assert!(stage.proved(), "{stage:?}");
        let scale = if stage.objective.contains("weight") { Weight::SCALE as f64 } else { 1.0 };
        (stage.objective.clone(), (stage.value.as_f64().unwrap() * scale).round() as i128)
    };
    plan.proof.stages.iter().map(stage).collect()
}

/// Hours of a week, so that a case has up to six different ones.
const HOURS: [&str; 6] =
    ["", "Mon 00:00-02:00", "Mon 01:00-04:00", "Mon-Wed 12:00-15:00", "Sat", "Mon-Fri 09:00-17:00"];

fn workload() -> impl Strategy<Value = Workload> {
    let memory = prop_oneof![
        Just(5_952u64),
        500u64..5_953,
        5_000u64..12_000,
        9_000u64..20_000,
        18_000u64..42_000,
        40_000u64..83_000,
    ];
    let hours = prop_oneof![1 => Just(0usize), 4 => 1..HOURS.len()];
    let rules = (
        prop_oneof![4 => Just(1u32), 1 => 2u32..=4],
        prop_oneof![6 => Just(false), 1 => Just(true)],
        prop_oneof![7 => Just(""), 1 => Just("a100-sxm4-80gb"), 1 => Just("a30-24gb")],
        prop_oneof![7 => Just(0u32), 1 => Just(1)],
        any::<bool>(),
        prop_oneof![2 => Just(0u64), 1 => 1u64..=2],
    );
    (memory, 1u64..=2, prop_oneof![2 => Just(0i64), 1 => Just(5)], 1u64..=3, hours, rules).prop_map(
        |(memory, count, priority, weight, hours, (compute, media, board, whole, all, min))| {
            let mut workload = Workload::new("t", "", Mebibytes(memory), count);
            workload.min = min.min(count);
            workload.priority = priority;
            workload.weight = Weight(weight * Weight::SCALE / 2);
            workload.compute_slices = compute;
            workload.whole_gpus = whole;
            workload.media = media && whole == 0;
            workload.hours = HOURS[hours].parse().unwrap();
            if !board.is_empty() {
                workload.boards = vec![board.to_string()].into();
            }
            if whole > 0 && all {
                workload.memory = None;
            }
            workload
        },
    )
}

/// A week of at most six different hours, none of which asks for more than six replicas.
fn small_demand(mut workloads: Vec<Workload>) -> Option<OverTime> {
    for (i, workload) in workloads.iter_mut().enumerate() {
        workload.name = format!("w{i}").into();
    }
    let demand = Demand::new(workloads);
    let week = OverTime::new(&demand, Horizon::Week, &Zone::default(), &Growth::default()).unwrap();
    let periods = week.periods();
    let most = periods.iter().map(|p| p.counts.iter().sum::<u64>()).max()?;
    ((2..=6).contains(&periods.len()) && most <= 6).then_some(week)
}

fn board_of(gpu: &Now) -> BoardRef {
    Catalogue::built_in().by_id(typed(gpu.board).id).unwrap().clone()
}

/// One node with these GPUs, and what each holds where that is known.
fn fleet_of(gpus: &[Now]) -> (Fleet, Option<Arc<Vec<PresentGpu>>>) {
    let node = Node::new("a", gpus.iter().map(board_of).collect());
    let present = gpus.iter().map(|gpu| {
        let (of, board) = (typed(gpu.board), board_of(gpu));
        let instance = |((profile, start), busy): &((usize, u32), bool)| {
            let profile = board.profile(&of.profiles[*profile].0.parse().unwrap()).unwrap().0;
            PresentInstance::whole(&board, Placement { profile, start: *start }, *busy)
        };
        let mut instances = gpu.present.clone()?;
        instances.sort_by_key(|((_, start), _)| *start);
        Some(instances.iter().map(instance).collect::<Vec<_>>().into())
    });
    (Fleet::new(vec![node]), present.collect::<Option<Vec<PresentGpu>>>().map(Arc::new))
}

/// Stages with their values.
type Stages = Vec<(String, i128)>;

/// The stages of the plan, which is checked, beside the best there are.
fn compare(week: &OverTime, gpus: &[Now], spare: Spare) -> (Stages, Stages) {
    let (fleet, present) = fleet_of(gpus);
    let options = PlanOptions { spare, present, ..PlanOptions::default() };
    let found = optimise::over_time::suggest(week, &fleet, &options).unwrap();
    (proved(&found.plan), Case::new(week, gpus, spare).best(gpus))
}

fn spare() -> impl Strategy<Value = Spare> {
    prop_oneof![Just(Spare::Mix), Just(Spare::Largest), Just(Spare::None)]
}

proptest! {
    #![proptest_config(cases(40))]

    /// One to three GPUs of one or two boards.
    #[test]
    fn no_plan_over_time_is_better(
        workloads in prop::collection::vec(workload(), 2..=6),
        boards in prop_oneof![
            2 => prop::collection::vec(Just(0usize), 1..=3),
            2 => prop::collection::vec(Just(1usize), 1..=2),
            1 => prop::collection::vec(0usize..=1, 2..=3),
        ],
        spare in spare(),
    ) {
        let Some(week) = small_demand(workloads) else { return Err(TestCaseError::reject("size")) };
        let mut gpus: Vec<Now> = boards.iter().map(|b| Now { board: *b, present: None }).collect();
        gpus.sort_by_key(|gpu| typed(gpu.board).id);
        let (found, best) = compare(&week, &gpus, spare);
        prop_assert_eq!(found, best);
    }

    /// The same around what the GPUs hold now, some of it busy.
    #[test]
    fn no_plan_over_time_around_the_present_is_better(
        workloads in prop::collection::vec(workload(), 2..=5),
        now in prop::collection::vec((0usize..1_000, prop::collection::vec(0u8..4, 7)), 1..=3),
        spare in prop_oneof![Just(Spare::Mix), Just(Spare::Largest)],
    ) {
        let Some(week) = small_demand(workloads) else { return Err(TestCaseError::reject("size")) };
        let layouts = all_layouts(A30);
        let gpus: Vec<Now> = now
            .iter()
            .map(|(layout, busy)| {
                let of = layouts[layout % layouts.len()].iter().zip(busy);
                let present = of.map(|(at, busy)| (*at, *busy == 0)).collect();
                Now { board: 0, present: Some(present) }
            })
            .collect();
        let (found, best) = compare(&week, &gpus, spare);
        prop_assert_eq!(found, best);
    }
}
