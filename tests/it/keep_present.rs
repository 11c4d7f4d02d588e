//! Stage 7: of all plans that are equal otherwise, the one that destroys least of what the GPUs
//! hold now, around what is busy, and keeps some whole where it must; against trying every way on
//! one and two GPUs.
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use crate::common::{
    A100_80GB, A100_80GB_MEDIA, Typed, all_layouts, cases, gpus, migplan, migplan_with, suggest,
};
use migplan::demand::{Demand, Workload};
use migplan::hardware::layout::Placement;
use migplan::hardware::{Board, Catalogue};
use migplan::optimise::{PlanOptions, Spare};
use migplan::plan::{Plan, Policy};
use migplan::reconfigure::change::PresentInstance;
use migplan::units::Mebibytes;
use proptest::prelude::*;

/// Layouts as (profile by index into the typed table, start).
type Layout = Vec<(usize, u32)>;

/// With the media profile, which no demand here asks for, so that it is kept or not, but never made.
static PROFILES: LazyLock<Vec<Typed>> =
    LazyLock::new(|| A100_80GB.iter().copied().chain([A100_80GB_MEDIA]).collect());
const MEDIA: usize = A100_80GB.len();

static LAYOUTS: LazyLock<Vec<Layout>> = LazyLock::new(|| all_layouts(&PROFILES));

fn board() -> Arc<Board> {
    Catalogue::built_in().by_id("a100-sxm4-80gb").unwrap().clone()
}

fn index(board: &Board, typed: usize) -> usize {
    board.profile(&PROFILES[typed].0.parse().unwrap()).unwrap().0
}

/// A GPU now: a layout and which of its instances are busy.
#[derive(Debug, Clone)]
struct Now {
    layout: Layout,
    busy: Vec<bool>,
}

impl Now {
    fn present(&self) -> Vec<PresentInstance> {
        let board = board();
        let mut sorted: Vec<_> = self.layout.iter().zip(&self.busy).collect();
        sorted.sort_by_key(|((_, start), _)| *start);
        let instance = |((profile, start), busy): (&(usize, u32), &bool)| {
            let placement = Placement { profile: index(&board, *profile), start: *start };
            PresentInstance::whole(&board, placement, *busy)
        };
        sorted.into_iter().map(instance).collect()
    }

    /// For each multiset in use, the fewest instances destroyed by a layout that holds it, keeps
    /// what is busy in place, and (where nothing spare may be) holds nothing else.
    fn prices(&self, exact: bool) -> BTreeMap<Vec<u32>, usize> {
        let mut prices = BTreeMap::new();
        for layout in LAYOUTS.iter() {
            let busy = self.layout.iter().zip(&self.busy).filter(|(_, b)| **b).map(|(p, _)| p);
            let mut counts = vec![0u32; PROFILES.len()];
            layout.iter().for_each(|(p, _)| counts[*p] += 1);
            let mut must = vec![0u32; PROFILES.len()];
            let mut stays = true;
            for placement in busy {
                stays &= layout.contains(placement);
                must[placement.0] += 1;
            }
            let is_made = counts[MEDIA] > 0 && !self.layout.iter().any(|(p, _)| *p == MEDIA);
            if !stays || is_made {
                continue;
            }
            let kept = self.layout.iter().filter(|p| layout.contains(p)).count();
            let destroyed = self.layout.len() - kept;
            // A replica may use any part of the layout; nothing spare means that only busy
            // instances may stay empty.
            let mut used = vec![vec![]];
            for (count, must) in counts.iter().zip(&must) {
                let least = if exact { count - must } else { 0 };
                used = used
                    .into_iter()
                    .flat_map(|u: Vec<u32>| {
                        (least..=*count).map(move |n| [u.as_slice(), &[n]].concat())
                    })
                    .collect();
            }
            for used in used {
                let price = prices.entry(used).or_insert(usize::MAX);
                *price = (*price).min(destroyed);
            }
        }
        // A GPU that serves nobody stays as it is; where nothing spare may be, only if it is busy.
        let idle = self.is_busy() || !exact;
        prices.insert(vec![0; PROFILES.len()], if idle { 0 } else { self.layout.len() });
        prices
    }

    fn is_busy(&self) -> bool {
        self.busy.iter().any(|b| *b)
    }
}

/// What must be destroyed on top so that enough GPUs are whole; `None` where too few can be.
fn price_of_whole(now: &[Now], used: &[Vec<u32>], exact: bool, keep_whole: usize) -> Option<usize> {
    let serves_none = |used: &Vec<u32>| used.iter().all(|n| *n == 0);
    let idle = now.iter().zip(used).filter(|(now, used)| serves_none(used) && !now.is_busy());
    let mut prices: Vec<usize> =
        idle.map(|(now, _)| if exact { 0 } else { now.layout.len() }).collect();
    prices.sort_unstable();
    (prices.len() >= keep_whole).then(|| prices[..keep_whole].iter().sum())
}

/// Placed, MiB, GPUs, rounding, kinds, compute slices, destroyed: the greatest is best.
type Goal = (u64, u64, Reverse<usize>, Reverse<u64>, Reverse<usize>, u32, Reverse<usize>);

fn brute_force(now: &[Now], replicas: &[u64], exact: bool, keep_whole: usize) -> Goal {
    fn place(
        replicas: &[u64],
        whole: &dyn Fn(&[Vec<u32>]) -> Option<usize>,
        prices: &[BTreeMap<Vec<u32>, usize>],
        used: &mut Vec<Vec<u32>>,
        served: u64,
        best: &mut Option<Goal>,
    ) {
        let Some((memory, rest)) = replicas.split_first() else {
            let Some(mut destroyed) = whole(used) else { return };
            for (price, used) in prices.iter().zip(&*used) {
                match price.get(used) {
                    Some(price) => destroyed += price,
                    None => return,
                }
            }
            let sum = |of: &dyn Fn(usize) -> u64| -> u64 {
                used.iter()
                    .flat_map(|u| u.iter().enumerate())
                    .map(|(p, n)| of(p) * u64::from(*n))
                    .sum()
            };
            let kinds: BTreeSet<usize> = used
                .iter()
                .flat_map(|u| u.iter().enumerate().filter(|(_, n)| **n > 0).map(|(p, _)| p))
                .collect();
            let goal = (
                sum(&|_| 1),
                served,
                Reverse(used.iter().filter(|u| u.iter().any(|n| *n > 0)).count()),
                Reverse(sum(&|p| PROFILES[p].4) - served),
                Reverse(kinds.len()),
                sum(&|p| u64::from(PROFILES[p].1)) as u32,
                Reverse(destroyed),
            );
            if best.is_none_or(|b| goal > b) {
                *best = Some(goal);
            }
            return;
        };
        place(rest, whole, prices, used, served, best);
        for gpu in 0..prices.len() {
            for p in 0..PROFILES.len() {
                if PROFILES[p].4 >= *memory {
                    used[gpu][p] += 1;
                    let possible = prices[gpu]
                        .keys()
                        .any(|k| k.iter().zip(&used[gpu]).all(|(most, n)| n <= most));
                    if possible {
                        place(rest, whole, prices, used, served + memory, best);
                    }
                    used[gpu][p] -= 1;
                }
            }
        }
    }
    let prices: Vec<_> = now.iter().map(|n| n.prices(exact)).collect();
    let mut used = vec![vec![0; PROFILES.len()]; now.len()];
    let mut best = None;
    let whole = |used: &[Vec<u32>]| price_of_whole(now, used, exact, keep_whole);
    place(replicas, &whole, &prices, &mut used, 0, &mut best);
    best.unwrap()
}

fn goal_of(plan: &Plan) -> Goal {
    let value = |name: &str| {
        let stage = plan.proof.stages.iter().find(|s| s.objective == name);
        stage.map_or(0.0, |s| s.value.as_f64().unwrap())
    };
    (
        plan.totals.placed,
        value("placed_mib") as u64,
        Reverse(value("gpus_used") as usize),
        Reverse(value("rounding_mib") as u64),
        Reverse(value("profile_kinds") as usize),
        value("compute_slices") as u32,
        Reverse(value("instances_destroyed") as usize),
    )
}

/// Instances of `now` that the plan's layouts lack.
fn really_destroyed(plan: &Plan, now: &[Now]) -> (usize, bool) {
    let (mut destroyed, mut busy_lost) = (0, false);
    for (gpu, now) in plan.gpus.iter().zip(now) {
        for ((profile, start), busy) in now.layout.iter().zip(&now.busy) {
            let stays = gpu
                .instances
                .iter()
                .any(|i| i.start == *start && i.profile.to_string() == PROFILES[*profile].0);
            destroyed += usize::from(!stays);
            busy_lost |= !stays && *busy;
        }
    }
    (destroyed, busy_lost)
}

fn now() -> impl Strategy<Value = Now> {
    (0..LAYOUTS.len(), any::<[u8; 8]>()).prop_map(|(at, dice)| {
        let layout = LAYOUTS[at].clone();
        let busy = (0..layout.len()).map(|i| dice[i] < 70).collect();
        Now { layout, busy }
    })
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn as_little_as_can_be_is_destroyed(
        now in prop::collection::vec(now(), 1..=2),
        replicas in prop::collection::vec(
            prop_oneof![1_000u64..9_000, 10_000u64..19_000, 20_000u64..40_000, 41_000u64..80_000],
            1..=4,
        ),
        exact in any::<bool>(),
        keep_whole in 0usize..=2,
    ) {
        let keep_whole = keep_whole.min(now.iter().filter(|now| !now.is_busy()).count());
        let workloads = replicas
            .iter()
            .enumerate()
            .map(|(i, mib)| Workload::new("t", &format!("w{i}"), Mebibytes(*mib), 1))
            .collect();
        let demand = Demand::new(workloads);
        let fleet = gpus(&format!("{}xa100-80gb", now.len()));
        let options = PlanOptions {
            spare: if exact { Spare::None } else { Spare::Mix },
            present: Some(Arc::new(now.iter().map(|now| now.present().into()).collect())),
            policy: Policy { keep_whole: keep_whole as u32, ..Policy::default() },
            ..PlanOptions::default()
        };
        let plan = suggest(&demand, &fleet, &options);
        let best = brute_force(&now, &replicas, exact, keep_whole);
        prop_assert_eq!(goal_of(&plan), best);
        let (destroyed, busy_lost) = really_destroyed(&plan, &now);
        prop_assert_eq!(destroyed, best.6.0);
        prop_assert!(!busy_lost);
        prop_assert!(plan.gpus.iter().filter(|gpu| !gpu.mig).count() >= keep_whole);
    }
}

#[test]
fn a_checkpoint_is_kept_by_the_command() {
    // 3g.40gb at 4 and 1g.10gb at 0 are there; the demand needs both and one more.
    let instance = |profile: u32, compute: u32, start: u32, size: u32| {
        serde_json::json!({
            "ProfileID": profile,
            "Placement": {"Start": start, "Size": size},
            "ComputeInstances": [{"ProfileID": compute, "EngProfileID": 0}]
        })
    };
    let checkpoint = serde_json::json!({"Version": "v1", "MigState": {"Devices": [{
        "UUID": "GPU-1", "MigMode": 1,
        "GpuInstances": [instance(2, 2, 4, 4), instance(0, 0, 0, 1)]
    }]}});
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, checkpoint.to_string().as_bytes()).unwrap();
    let file = file.path().to_str().unwrap();
    let args =
        ["suggest", "-w", "-", "--gpus", "1xa100-80gb", "--current", file, "--format", "json"];
    let run = migplan_with(
        &args,
        b"team,workload,memory\na,large,39GiB\na,small,9GiB\na,b,9GiB\na,c,9GiB\na,d,9GiB\n",
    );
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("instances_destroyed 0"), "{}", run.stderr);
    let plan: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let starts: Vec<(String, u64)> = plan["gpus"][0]["instances"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| (i["profile"].as_str().unwrap().to_string(), i["start"].as_u64().unwrap()))
        .collect();
    assert!(
        starts.contains(&("3g.40gb".to_string(), 4))
            && starts.contains(&("1g.10gb".to_string(), 0))
    );

    let wrong =
        migplan(&["suggest", "-w", "/dev/null", "--gpus", "2xa100-80gb", "--current", file]);
    assert_eq!(wrong.code, 3, "{}", wrong.stderr);
}

#[test]
fn an_instance_that_is_used_in_another_hour_may_count_as_destroyed() {
    // Two compute instances in one 7g.80gb, which serve nobody and stay where the GPU serves nobody.
    let checkpoint = serde_json::json!({"Version": "v1", "MigState": {"Devices": [
        {"UUID": "GPU-1", "MigMode": 1, "GpuInstances": [{
            "ProfileID": 4, "Placement": {"Start": 0, "Size": 8},
            "ComputeInstances": [{"ProfileID": 0, "EngProfileID": 0}, {"ProfileID": 0, "EngProfileID": 0}]
        }]},
        {"UUID": "GPU-2", "MigMode": 1, "GpuInstances": [
            {"ProfileID": 2, "Placement": {"Start": 0, "Size": 4},
             "ComputeInstances": [{"ProfileID": 2, "EngProfileID": 0}]},
            {"ProfileID": 2, "Placement": {"Start": 4, "Size": 4},
             "ComputeInstances": [{"ProfileID": 2, "EngProfileID": 0}]}
        ]}
    ]}});
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, checkpoint.to_string().as_bytes()).unwrap();
    let file = file.path().to_str().unwrap();
    let args = ["suggest", "--over-time", "-w", "-", "--gpus", "2xa100-80gb", "--current", file];
    let rows = b"team,workload,memory,count,hours\na,day,36000MiB,2,08:00-20:00\n\
                 a,night,60000MiB,1,20:00-08:00\n";
    let run = migplan_with(&args, rows);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("instances_destroyed 1"), "{}", run.stderr);
}
