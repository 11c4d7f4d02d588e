//! Demand over time: the rules of a replay against brute force and against the plainest simulation.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::common::{cases, gpus, migplan, migplan_with, policy};
use migplan::compare::over_time;
use migplan::compare::replay::{Configuration, Row, Rule, replay};
use migplan::demand::over_time::{Growth, Horizon, OverTime, Zone};
use migplan::demand::time::HOUR_MS;
use migplan::demand::{Demand, Workload};
use migplan::fleet::{Fleet, Node};
use migplan::hardware::{Profile, layout};
use migplan::optimise::{self, PlanOptions, Spare};
use migplan::plan::{MigModePolicy, Plan, Policy, Status};
use migplan::units::{Mebibytes, Weight};
use proptest::prelude::*;

const HOUR: u128 = HOUR_MS as u128;

/// Hours of a week that differ from each other.
const HOURS: [&str; 6] =
    ["", "Mon 00:00-02:00", "Mon 01:00-04:00", "Mon-Wed 12:00-15:00", "Sat", "Sun 23:00-03:00"];

fn workload() -> impl Strategy<Value = Workload> {
    let memory =
        prop_oneof![1_000u64..9_728, 9_729u64..19_968, 19_000u64..40_192, 40_000u64..82_000,];
    let whole = prop_oneof![8 => Just(0u32), 1 => Just(1), 1 => Just(2)];
    let min = prop_oneof![2 => Just(0u64), 1 => 1u64..=2];
    (memory, 1u64..=2, 0i64..2, 1u64..4, 1u32..4, whole, 0..HOURS.len(), min).prop_map(
        |(memory, count, priority, weight, compute, whole, hours, min)| {
            let mut workload = Workload::new("t", "", Mebibytes(memory), count);
            workload.min = min.min(count);
            workload.priority = priority;
            workload.weight = Weight(weight * Weight::SCALE / 2);
            workload.compute_slices = compute;
            workload.whole_gpus = whole;
            workload.hours = HOURS[hours].parse().unwrap();
            workload
        },
    )
}

fn demand_of(mut workloads: Vec<Workload>) -> Demand {
    for (i, workload) in workloads.iter_mut().enumerate() {
        workload.name = format!("w{i}").into();
        workload.team = format!("t{}", i % 2).into();
    }
    Demand::new(workloads)
}

fn over(demand: &Demand) -> OverTime {
    OverTime::new(demand, Horizon::Week, &Zone::default(), &Growth::default()).unwrap()
}

/// The number of the layout of one instance that takes all slices.
const WHOLE: usize = usize::MAX;

/// A configuration of A100-80GB by the number of a layout for each GPU; one number is MIG off.
fn configuration(fleet: &Fleet, numbers: &[usize]) -> Configuration {
    let board = &fleet.nodes()[0].gpus[0];
    let layouts = layout::multisets(board, |p| board.profiles[p].name.is_plain());
    Configuration::new("some", fleet, |_, gpu, _| {
        if numbers[gpu] == WHOLE {
            let is_whole = |p: &Profile| u32::from(p.name.to_string() == "7g.80gb");
            return Some(board.profiles.iter().map(is_whole).collect());
        }
        let number = numbers[gpu] % (layouts.len() + 3);
        layouts.get(number).filter(|counts| counts.iter().any(|c| *c > 0)).cloned()
    })
}

/// What brute force tries: replicas one after the other, on every instance that suffices.
struct BruteForce<'a> {
    replicas: Vec<&'a Workload>,
    /// For each replica so far, whether it is placed.
    placed: Vec<bool>,
    priorities: [i64; 2],
    /// Instances: profile index, or none for a whole GPU.
    instances: Vec<Option<usize>>,
    board: &'a migplan::hardware::Board,
    /// Whether an instance of all slices is a whole GPU.
    per_node: bool,
    taken: Vec<bool>,
    best: Best,
}

/// For each priority the weight of guaranteed replicas and of all; MiB placed, MiB allocated.
type Best = (Vec<u64>, u64, Reverse<u64>);

impl BruteForce<'_> {
    fn run(&mut self, at: usize, weights: Vec<u64>, mib: u64, allocated: u64) {
        let reached = (weights.clone(), mib, Reverse(allocated));
        self.best = std::cmp::max(self.best.clone(), reached);
        let Some(workload) = self.replicas.get(at).copied() else { return };
        self.placed.push(false);
        self.run(at + 1, weights.clone(), mib, allocated);
        self.placed.pop();
        let so_far = self.replicas.iter().zip(&self.placed);
        let equal = so_far.filter(|(w, placed)| **placed && std::ptr::eq(**w, workload)).count();
        let size = workload.whole_gpus.max(1) as usize;
        let memory = workload.memory.unwrap().0;
        let fits = |i: &Option<usize>| match i {
            None => {
                workload.whole_gpus > 0
                    && memory <= self.board.memory.0 * size as u64
                    && workload.compute_slices <= self.board.compute_slices
            }
            Some(p) => {
                let profile = &self.board.profiles[*p];
                let whole = self.per_node && profile.name.to_string() == "7g.80gb";
                (workload.whole_gpus == 0 || workload.whole_gpus == 1 && whole)
                    && memory <= profile.memory.0
                    && workload.compute_slices <= profile.compute_slices
            }
        };
        let free: Vec<usize> = (0..self.instances.len())
            .filter(|i| !self.taken[*i] && fits(&self.instances[*i]))
            .collect();
        // All GPUs are on one node, so any two of them serve a replica of two.
        for subset in 0u32..1 << free.len() {
            if subset.count_ones() as usize != size {
                continue;
            }
            let chosen: Vec<usize> =
                (0..free.len()).filter(|i| subset >> i & 1 == 1).map(|i| free[i]).collect();
            chosen.iter().for_each(|i| self.taken[*i] = true);
            let mut more = weights.clone();
            let at_priority = self.priorities.iter().position(|p| *p == workload.priority).unwrap();
            let guaranteed = (equal as u64) < workload.min;
            more[2 * at_priority] += workload.weight.0 * u64::from(guaranteed);
            more[2 * at_priority + 1] += workload.weight.0;
            let of = |i: &Option<usize>| {
                i.map_or(self.board.memory.0, |p| self.board.profiles[p].memory.0)
            };
            let taken: u64 = chosen.iter().map(|i| of(&self.instances[*i])).sum();
            self.placed.push(true);
            self.run(at + 1, more, mib + memory, allocated + taken);
            self.placed.pop();
            chosen.iter().for_each(|i| self.taken[*i] = false);
        }
    }
}

/// The rules of a site whose nodes have MIG on as a whole, or none.
fn policy_of(per_node: bool) -> Policy {
    let mig_mode = if per_node { MigModePolicy::PerNode } else { MigModePolicy::PerGpu };
    Policy { mig_mode, ..Policy::default() }
}

fn nothing() -> Best {
    (vec![0; 4], 0, Reverse(0))
}

/// The same rule as the template, hour by hour and pod by pod: replica-hours in a week that had two
/// such weeks before it.
fn plain_template(
    demand: &OverTime,
    configuration: &Configuration,
    supply: &BTreeMap<String, u64>,
) -> Vec<u64> {
    let workloads = demand.peak().workloads();
    let mut order: Vec<usize> = (0..workloads.len()).collect();
    order.sort_by_key(|w| {
        let of = &workloads[*w];
        Reverse((of.priority, of.weight, of.memory))
    });
    let runs = |w: usize, hour: usize| workloads[w].hours.contains(hour % 168);
    let mut free = supply.clone();
    // Each pod with its workload, and the name that it holds.
    let mut pods: Vec<(usize, Option<&str>)> = Vec::new();
    let mut served = vec![0; workloads.len()];
    for hour in 0..3 * 168 {
        for (w, name) in pods.iter().filter(|(w, _)| !runs(*w, hour)) {
            if let Some(name) = name {
                *free.get_mut(*name).unwrap() += u64::from(workloads[*w].whole_gpus.max(1));
            }
        }
        pods.retain(|(w, _)| runs(*w, hour));
        // Those that run at all times came before those that begin in this hour.
        for always in [true, false] {
            for w in order.iter().copied().filter(|w| workloads[*w].hours.is_always() == always) {
                let begins = runs(w, hour) && (hour == 0 || !runs(w, hour - 1));
                if begins {
                    pods.extend((0..workloads[w].count).map(|_| (w, None)));
                }
            }
        }
        for (w, holds) in &mut pods {
            let size = u64::from(workloads[*w].whole_gpus.max(1));
            if let (None, Some(name)) = (&holds, configuration.request(&workloads[*w]))
                && free[name] >= size
            {
                *free.get_mut(name).unwrap() -= size;
                *holds = Some(name);
            }
            served[*w] += u64::from(holds.is_some() && hour >= 2 * 168);
        }
    }
    served
}

proptest! {
    #![proptest_config(cases(60))]

    /// The bound is what trying every assignment in every hour finds; the template is what the
    /// plainest loop does, and never more than the bound.
    #[test]
    fn a_replay_is_what_its_rules_say(
        rows in prop::collection::vec(workload(), 1..5),
        numbers in prop::collection::vec(prop_oneof![4 => 0usize..200, 1 => Just(WHOLE)], 3),
        per_node in any::<bool>(),
    ) {
        let demand = over(&demand_of(rows));
        let fleet = gpus("3xa100-80gb");
        let policy = policy_of(per_node);
        let configuration =
            configuration(&fleet, &numbers).under(&policy).with_names_for(&demand);
        let result = replay(&demand, &fleet, std::slice::from_ref(&configuration)).unwrap();
        let [bound, template] = &result.rows[..] else { panic!() };
        prop_assert_eq!((bound.rule, template.rule), (Rule::Bound, Rule::Template));

        let board = &*fleet.nodes()[0].gpus[0];
        let supply: BTreeMap<String, u64> =
            result.names.iter().map(|n| (n.name.clone(), n.supply)).collect();
        let mut instances = Vec::new();
        for (name, count) in &supply {
            let profile = board.profiles.iter().position(|p| p.name.to_string() == *name);
            instances.extend((0..*count).map(|_| profile));
        }
        let priorities = [1, 0];
        let (mut weights, mut mib) = (vec![0u128; 2], 0u128);
        for (p, period) in demand.periods().iter().enumerate() {
            let part = demand.demand_in(p);
            let replicas = part.workloads().iter().flat_map(|w| std::iter::repeat_n(w, w.count as usize));
            let mut search = BruteForce {
                replicas: replicas.collect(),
                placed: Vec::new(),
                priorities,
                taken: vec![false; instances.len()],
                instances: instances.clone(),
                board,
                per_node,
                best: nothing(),
            };
            search.run(0, vec![0; 4], 0, 0);
            for (sum, best) in weights.iter_mut().zip(search.best.0.iter().skip(1).step_by(2)) {
                *sum += u128::from(*best) * u128::from(period.hours);
            }
            mib += u128::from(search.best.1) * u128::from(period.hours);
        }
        let found: Vec<u128> = priorities.iter().map(|p| bound.served_weight(&demand, *p) / HOUR).collect();
        prop_assert_eq!((found, bound.served_mib / HOUR), (weights, mib));

        let served: Vec<u64> =
            template.workloads.iter().map(|s| (s.served / HOUR) as u64).collect();
        prop_assert_eq!(&served, &plain_template(&demand, &configuration, &supply));
        let of = |row: &migplan::compare::replay::Row| -> Vec<u128> {
            priorities.iter().map(|p| row.served_weight(&demand, *p)).collect()
        };
        let workloads = demand.peak().workloads();
        // A guaranteed replica comes before others of more weight.
        if workloads.iter().all(|w| w.min == 0) {
            prop_assert!(of(template) <= of(bound));
        }
        if workloads.iter().all(|w| w.whole_gpus <= 1) {
            prop_assert!(template.total().served <= bound.total().served);
        }
        for row in [bound, template] {
            let total = row.total();
            prop_assert_eq!(row.missed.iter().sum::<u128>(), total.asked - total.served);
            let fleet_mib = u128::from(3 * board.memory.0) * 168 * HOUR;
            prop_assert_eq!(row.idle_mib, fleet_mib - row.served_mib);
        }
        prop_assert_eq!(bound.total().asked, template.total().asked);
    }
}

#[test]
fn a_pod_waits_keeps_its_instance_and_ends_on_time() {
    let row = |name: &str, hours: &str| {
        let mut workload = Workload::new("a", name, Mebibytes(40_000), 1);
        workload.hours = hours.parse().unwrap();
        workload
    };
    // One 3g instance and one 4g: the first two pods have both until 04:00 and 06:00.
    let demand = over(&Demand::new(vec![
        row("first", "Mon 00:00-04:00"),
        row("second", "Mon 01:00-06:00"),
        row("third", "Mon 02:00-05:00"),
        row("fourth", "Mon 03:00-04:00"),
    ]));
    let fleet = gpus("1xa100-80gb");
    let two = Configuration::new("two 3g", &fleet, |_, _, board| {
        Some(
            board
                .profiles
                .iter()
                .map(|p| if p.name.to_string() == "3g.40gb" { 2 } else { 0 })
                .collect(),
        )
    });
    let result = replay(&demand, &fleet, &[two]).unwrap();
    let template = &result.rows[1];
    let by_name: BTreeMap<&str, _> =
        demand.peak().workloads().iter().map(|w| &*w.name).zip(&template.workloads).collect();
    let hours = |t: u128| t / HOUR;
    assert_eq!(hours(by_name["first"].served), 4);
    assert_eq!(hours(by_name["second"].served), 5);
    // Waits from 02:00 to 04:00 and then has an hour left.
    let third = by_name["third"];
    assert_eq!((hours(third.served), hours(third.waited), third.waiting_pods), (1, 2, 1));
    assert_eq!(third.longest_wait_ms, 2 * HOUR_MS as u64);
    let fourth = by_name["fourth"];
    assert_eq!((hours(fourth.served), fourth.unserved_pods), (0, 1));
    let missed: Vec<u128> = template.missed.iter().take(6).map(|m| hours(*m)).collect();
    assert_eq!(missed, [0, 0, 1, 2, 0, 0]);
    // The bound misses as much here, since nothing could be moved.
    assert_eq!(hours(result.rows[0].total().served), 10);
    let worst = (0..168).max_by_key(|h| (template.missed[*h], Reverse(*h))).unwrap();
    assert_eq!(demand.name_of(worst), "Mon 03:00");
}

/// A configuration of one A100-80GB with so many instances of each profile.
fn instances(fleet: &Fleet, wanted: &[(&str, u32)]) -> Configuration {
    let count_of = |name: String| wanted.iter().find(|(n, _)| *n == name).map_or(0, |(_, n)| *n);
    Configuration::new("some", fleet, |_, _, board| {
        Some(board.profiles.iter().map(|p| count_of(p.name.to_string())).collect())
    })
}

#[test]
fn names_are_chosen_for_what_they_serve() {
    let fleet = gpus("1xa100-80gb");
    let row = |name: &str, memory: u64, count: u64, priority: i64| {
        let mut workload = Workload::new("t", name, Mebibytes(memory), count);
        workload.priority = priority;
        workload
    };
    let named = |wanted: &[(&str, u32)], rows: &[Workload]| -> Vec<String> {
        let demand = over(&Demand::new(rows.to_vec()));
        let configuration = instances(&fleet, wanted).with_names_for(&demand);
        let request = |w: &Workload| configuration.request(w).unwrap_or_default().to_string();
        demand.peak().workloads().iter().map(request).collect()
    };
    let layout = [("1g.20gb", 1), ("2g.20gb", 2), ("1g.10gb", 1)];
    // Two are more than one, though the smallest that suffices has one.
    assert_eq!(named(&layout, &[row("a", 17_000, 3, 0)]), ["2g.20gb"]);
    assert_eq!(named(&layout, &[row("a", 17_000, 1, 0)]), ["1g.20gb"]);
    // Of equal priority the largest chooses first, and the others see what it leaves.
    let (small, large) = (row("small", 9_000, 3, 0), row("large", 17_000, 2, 0));
    assert_eq!(named(&layout, &[small.clone(), large.clone()]), ["2g.20gb", "1g.10gb"]);
    let first = row("small", 9_000, 3, 1);
    assert_eq!(named(&layout, &[first, large]), ["1g.20gb", "2g.20gb"]);
    // In hours in which nobody else wants them they are free.
    let mut night = row("night", 17_000, 2, 0);
    night.hours = "19:00-08:00".parse().unwrap();
    let mut day = row("day", 17_000, 2, 0);
    day.hours = "08:00-19:00".parse().unwrap();
    assert_eq!(named(&layout, &[night, day]), ["2g.20gb", "2g.20gb"]);
    assert_eq!(named(&layout, &[row("a", 40_000, 1, 0)]), [""]);
}

/// A file with more instances serves no less.
#[test]
fn a_larger_file_serves_no_less_with_fixed_names() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("both.yaml");
    let config = "version: v1
mig-configs:
  one20:
  - devices: all
    mig-enabled: true
    mig-devices: {1g.20gb: 1, 2g.20gb: 2, 1g.10gb: 1}
  only2g:
  - devices: all
    mig-enabled: true
    mig-devices: {2g.20gb: 2}
";
    std::fs::write(&file, config).unwrap();
    let csv = b"team,workload,memory,count,hours\nsearch,serving,17000MiB,3,Mon-Fri 08:00-19:00\n";
    let arguments = ["replay", "-w", "-", "--gpus", "1xa100-80gb", "--format", "json", "-f"];
    let run = migplan_with(&[&arguments[..], &[file.to_str().unwrap()]].concat(), csv);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let replayed: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let rows = replayed["rows"].as_array().unwrap().iter();
    let of_file = rows.filter(|row| row["rule"] == "template").take(2);
    let served: Vec<_> = of_file.map(|row| (&row["name"], &row["served_replica_hours"])).collect();
    assert_eq!(served, [(&"one20".into(), &110.into()), (&"only2g".into(), &110.into())]);
}

/// The value of a stage, in units of the proof.
fn stage_of(plan: &Plan, name: &str) -> f64 {
    plan.proof
        .stages
        .iter()
        .find(|s| s.objective == name)
        .map_or(0.0, |s| s.value.as_f64().unwrap())
}

proptest! {
    #![proptest_config(cases(60))]

    /// Whatever the rules of a site are, the plan passes the checker and is proved.
    #[test]
    fn a_plan_over_time_is_proved_under_the_rules_of_a_site(
        mut rows in prop::collection::vec(workload(), 1..6),
        nodes in prop::collection::vec(
            prop_oneof![Just("1xa100-80gb"), Just("3xa100-80gb"), Just("2xa30"), Just("1xa100-80gb,2xa30")],
            1..=2,
        ),
        policy in policy(),
        spare in prop_oneof![Just(Spare::Mix), Just(Spare::Largest), Just(Spare::None)],
    ) {
        rows.iter_mut().for_each(|row| row.whole_gpus = row.whole_gpus.min(1));
        let node = |(n, spec): (usize, &&str)| {
            Node::new(format!("n{n}"), gpus(spec).nodes()[0].gpus.clone())
        };
        let fleet = Fleet::new(nodes.iter().enumerate().map(node).collect());
        let options = PlanOptions { policy, spare, ..PlanOptions::default() };
        let found = optimise::over_time::suggest(&over(&demand_of(rows)), &fleet, &options);
        let found = found.map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(found.plan.proof.status, Status::Optimal);
    }
}

proptest! {
    #![proptest_config(cases(40))]

    /// Replayed, the plan over time serves what it says, at least as much as any other partition,
    /// and no pod gets what the bound does not have.
    #[test]
    fn the_plan_over_time_serves_the_most(
        rows in prop::collection::vec(workload(), 2..8),
        fleet in prop_oneof![
            Just("1xa100-80gb"), Just("2xa100-80gb"), Just("4xa100-80gb"), Just("3xa30"),
            Just("1xa100-80gb,2xa30"), Just("1xa100-40gb,2xh200"),
        ],
        guaranteed in any::<bool>(),
        per_node in any::<bool>(),
    ) {
        let mut rows = rows;
        rows.iter_mut().for_each(|w| w.whole_gpus = w.whole_gpus.min(1));
        if !guaranteed {
            rows.iter_mut().for_each(|w| w.min = 0);
        }
        let demand = over(&demand_of(rows));
        prop_assume!(demand.periods().len() > 1);
        let fleet = gpus(fleet);
        let options = PlanOptions { policy: policy_of(per_node), ..PlanOptions::default() };
        let found = over_time::suggest(&demand, &fleet, &options).unwrap();
        let weights = |row: &Row| -> Vec<u128> {
            [1, 0].iter().map(|p| row.served_weight(&demand, *p) / HOUR).collect()
        };
        let plan = &found.replay.rows[0];
        prop_assert_eq!((plan.name.as_str(), plan.rule), (over_time::PLAN_ROW, Rule::Bound));
        for (priority, weight) in [1, 0].into_iter().zip(weights(plan)) {
            let value = stage_of(&found.plan.plan, &format!("placed_weight_hours[priority={priority}]"));
            prop_assert_eq!((value * 1e6).round() as u128, weight);
        }
        prop_assert_eq!(stage_of(&found.plan.plan, "placed_mib_hours") as u128, plan.served_mib / HOUR);
        for pair in found.replay.rows.chunks(2) {
            prop_assert!(pair[1].total().served <= pair[0].total().served, "{}", pair[0].name);
        }
        // A guaranteed replica comes before others of more weight.
        if demand.peak().workloads().iter().any(|w| w.min > 0) {
            return Ok(());
        }
        // Where the boards of a node differ, a preset may leave some of its GPUs with MIG off.
        for row in found.replay.rows.iter().filter(|_| !per_node) {
            prop_assert!(weights(row) <= weights(plan), "{} {:?}", row.name, row.rule);
        }
        for pair in found.replay.rows.chunks(2) {
            prop_assert!(weights(&pair[1]) <= weights(&pair[0]), "{}", pair[0].name);
        }
    }

    /// Demand that never changes is planned as ever, to the last byte.
    #[test]
    fn one_period_is_the_plan_as_ever(rows in prop::collection::vec(workload(), 1..6)) {
        let mut rows = rows;
        rows.iter_mut().for_each(|w| w.hours = "".parse().unwrap());
        let demand = demand_of(rows);
        let fleet = gpus("2xa100-80gb");
        let text = |mut plan: Plan| {
            plan.proof.solve_seconds = 0.0;
            plan.proof.stages.iter_mut().for_each(|s| s.seconds = 0.0);
            serde_json::to_string(&plan).unwrap()
        };
        let options = PlanOptions::default();
        let once = optimise::suggest(&demand, &fleet, &options).unwrap();
        let found = optimise::over_time::suggest(&over(&demand), &fleet, &options).unwrap();
        prop_assert_eq!(text(found.plan.into_inner()), text(once.into_inner()));
    }
}

/// On a node whose GPUs all have MIG on, a whole GPU is the instance that takes all slices.
#[test]
fn a_whole_gpu_is_an_instance_where_nodes_have_mig_on() {
    let csv = "team,workload,memory,count,gpus,media,hours\n\
        a,w,,1,1,yes,00:00-08:00\n\
        a,b,9GiB,6,,,08:00-19:00\n\
        a,c,9GiB,1,,,\n";
    let folder = tempfile::tempdir().unwrap();
    let plan = folder.path().join("plan.json").display().to_string();
    let inputs = ["-w", "-", "--gpus", "2xa100-80gb"];
    let run = |args: &[&str]| migplan_with(&[args, &inputs[..]].concat(), csv.as_bytes());
    let arguments = ["suggest", "--over-time", "--mig-mode", "per-node", "--strict"];
    let suggested = run(&[&arguments[..], &["--plan", &plan]].concat());
    assert_eq!(suggested.code, 0, "{}", suggested.stderr);
    assert!(suggested.stderr.contains("7g.80gb"), "{}", suggested.stderr);
    assert!(suggested.stderr.contains("of 686 replica-hours"), "{}", suggested.stderr);
    let served = |args: &[&str]| -> Vec<u64> {
        let replayed = run(&[&["replay", "--plan", &plan, "--format", "json"], args].concat());
        assert_eq!(replayed.code, 0, "{}", replayed.stderr);
        let json: serde_json::Value = serde_json::from_str(&replayed.stdout).unwrap();
        let rows = json["rows"].as_array().unwrap().iter().take(2);
        rows.map(|row| row["served_replica_hours"].as_u64().unwrap()).collect()
    };
    // Its file says by which rules it was made.
    assert_eq!(served(&[]), [686, 686]);
}

/// README's week.
pub(crate) const WEEK: &str = "team,workload,memory,count,priority,hours
nlp,notebooks,9GiB,9,0,Mon-Fri 08:00-19:00
nlp,train,38GiB,3,0,19:00-08:00|Sat-Sun
search,serving,18GiB,2,10,
";

#[test]
fn the_command_plans_and_replays_a_week() {
    let week = ["--workloads", "-", "--gpus", "2xa100-80gb", "--timezone", "Europe/Berlin"];
    let with = |more: &[&str]| migplan_with(&[more, &week[..]].concat(), WEEK.as_bytes());
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (plan, config) = (file("plan.json"), file("config.yaml"));
    let run = with(&["suggest", "--over-time", "--plan", &plan, "-o", &config]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    for part in [
        "replica-hours placed",
        "168 hours (2 of them distinct)",
        "peak plan",
        "placed_weight_hours[priority=10]",
        "Proved",
    ] {
        assert!(run.stderr.contains(part), "{part} in {}", run.stderr);
    }
    let json: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&plan).unwrap()).unwrap();
    assert_eq!(json["over_time"]["hours"], 168);
    assert_eq!(json["over_time"]["periods"].as_array().unwrap().len(), 2);
    assert_eq!(json["demand"][0]["hours"], "Mon-Fri 08:00-19:00");
    let check = migplan(&["check", "-f", &config, "--gpus", "2xa100-80gb"]);
    assert_eq!(check.code, 0, "{}", check.stderr);

    // Templates for the workloads of all hours, not only of the one that the plan shows.
    let pods = migplan(&["emit", "pod", "--plan", &plan]);
    assert_eq!(pods.code, 0, "{}", pods.stderr);
    for workload in ["notebooks", "train", "serving"] {
        let line = format!("migplan/workload: \"{workload}\"");
        assert!(pods.stdout.contains(&line), "{line} in {}", pods.stdout);
    }

    let picture = file("replay.svg");
    let run =
        with(&["replay", "--plan", &plan, "-f", &config, "--format", "json", "--chart", &picture]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let replayed: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(replayed["schema"], "migplan.replay/v1");
    let served = |at: usize| replayed["rows"][at]["served_replica_hours"].as_f64().unwrap();
    assert_eq!(replayed["rows"][0]["asked_replica_hours"], 9 * 55 + 3 * 113 + 2 * 168);
    // The file is the plan's, so both serve the same.
    assert_eq!((served(0), replayed["rows"][2]["name"].as_str()), (served(2), Some("migplan")));
    assert!(served(1) <= served(0));
    assert_eq!(replayed["hours"][8]["start"], "Mon 08:00");
    assert!(std::fs::read_to_string(&picture).unwrap().contains("replicas without an instance"));

    let run = with(&["replay"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    for part in [
        "peak plan: the plan for all workloads",
        "all-balanced",
        "template",
        "Served by plan",
        "fall short",
    ] {
        assert!(run.stdout.contains(part), "{part} in {}", run.stdout);
    }
    // Rows run for whole hours, so both rules ask for the same.
    assert!(!run.stdout.contains("every hour whole"), "{}", run.stdout);
    let run = with(&["replay", "--hold-out", "25%", "--format", "json"]);
    let held: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(held["hours"].as_array().unwrap().len(), 42);
    assert!(held["planned_on"].as_array().unwrap().len() > 4);
    // Nothing changes: the plan is the one without --over-time.
    let same = WEEK.replace("Mon-Fri 08:00-19:00", "").replace("19:00-08:00|Sat-Sun", "");
    let plain = migplan_with(&["suggest", "-w", "-", "--gpus", "2xa100-80gb"], same.as_bytes());
    let run = migplan_with(
        &["suggest", "--over-time", "-w", "-", "--gpus", "2xa100-80gb"],
        same.as_bytes(),
    );
    assert_eq!(run.stdout, plain.stdout);
}

/// The bound of a replay is not held to one profile for a workload, so it is not what the plan places.
#[test]
fn what_is_told_of_a_plan_is_what_it_places_under_its_rules() {
    let week = ["suggest", "-w", "-", "--gpus", "3xa100-80gb", "--over-time", "--strict"];
    let with = |more: &[&str]| migplan_with(&[&week[..], more].concat(), WEEK.as_bytes());
    let run = with(&["--one-profile-per-workload"]);
    assert_eq!(run.code, 4, "{}", run.stderr);
    let placed = "1,115 of 1,170 replica-hours placed (95.2 %)";
    assert!(run.stderr.starts_with(placed), "{}", run.stderr);
    assert!(run.stdout.contains(&format!("\n# {placed}")), "{}", run.stdout);
    for part in [
        "placed_weight_hours[priority=10] 336, placed_weight_hours[priority=0] 779,",
        "\nbound is not held to --one-profile-per-workload.\n",
    ] {
        assert!(run.stderr.contains(part), "{part} in {}", run.stderr);
    }
    let run = with(&[]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(
        run.stderr.starts_with("1,170 of 1,170 replica-hours placed (100 %)"),
        "{}",
        run.stderr
    );
    assert!(!run.stderr.contains("held to"), "{}", run.stderr);
}

#[test]
fn rules_that_hold_for_some_configurations_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let [single, kept, free] = ["single", "kept", "free"].map(|name| file(&format!("{name}.json")));
    let with = |args: &[&str]| {
        let run =
            migplan_with(&[args, &["-w", "-", "--gpus", "2xa100-80gb"]].concat(), WEEK.as_bytes());
        assert_eq!(run.code, 0, "{}", run.stderr);
        let text = run.stdout + &run.stderr;
        text.lines().filter(|line| line.contains(" held to ")).collect::<Vec<_>>().join("\n")
    };
    let suggest = ["suggest", "--over-time", "-o", "/dev/null", "--plan"];
    let rules = ["--strategy", "single", "--mig-mode", "per-node"];
    let of_plan =
        "Only 'plan' and 'peak plan' are held to --mig-mode per-node and --strategy single.";
    assert_eq!(with(&[&suggest[..], &[&single], &rules].concat()), of_plan);
    assert_eq!(with(&[&suggest[..], &[&free]].concat()), "");
    assert_eq!(with(&[&["replay"], &rules[..]].concat()), of_plan);
    assert_eq!(with(&[&["replay", "--hold-out", "25%"], &rules[..]].concat()).lines().count(), 2);
    // A plan's file keeps its rules.
    let of_file = "Only 'single' is held to --mig-mode per-node and --strategy single.";
    assert_eq!(with(&["replay", "--plan", &single, "--plan", &free]), of_file);
    assert_eq!(with(&[&suggest[..], &[&kept, "--keep-whole", "1"]].concat()).lines().count(), 1);
    let of_both = format!("Only 'kept' is held to --keep-whole 1.\n{of_file}");
    assert_eq!(with(&["replay", "--plan", &single, "--plan", &kept]), of_both);
    assert_eq!(with(&["replay"]), "");
}

#[test]
fn what_is_wrong_with_hours_is_told() {
    let run = |csv: &str, args: &[&str]| {
        let args = [&["suggest", "-w", "-", "--gpus", "1xa100-80gb"], args].concat();
        migplan_with(&args, csv.as_bytes())
    };
    let wrong = run("team,workload,memory,hours\na,b,1GiB,Mon 08:30-12:00\n", &["--over-time"]);
    assert_eq!(wrong.code, 3);
    assert!(
        wrong.stderr.contains(
            ":2: column 'hours': 'Mon 08:30-12:00' has '08:30', which is not a whole hour"
        ),
        "{}",
        wrong.stderr
    );
    assert!(wrong.stderr.contains("hint: "), "{}", wrong.stderr);
    let zone = run(WEEK, &["--over-time", "--timezone", "Mars/Olympus"]);
    assert_eq!(zone.code, 2);
    assert!(zone.stderr.contains("is not a time zone"), "{}", zone.stderr);
    let growth = run(WEEK, &["--over-time", "--growth", "vision=10%"]);
    assert_eq!(growth.code, 2);
    assert!(growth.stderr.contains("no workload is of team 'vision'"), "{}", growth.stderr);
    let alone = run(WEEK, &["--growth", "10%"]);
    assert_eq!(alone.code, 2);
    assert!(alone.stderr.contains("--growth needs --over-time"), "{}", alone.stderr);
    let several =
        run("team,workload,memory,gpus,hours\na,b,,2,Mon\na,c,1GiB,,\n", &["--over-time"]);
    assert_eq!(several.code, 2, "{}", several.stderr);
    assert!(several.stderr.contains("a/b takes several whole GPUs"), "{}", several.stderr);
    let grown = run(WEEK, &["--over-time", "--growth", "nlp=100%", "--format", "json"]);
    let plan: serde_json::Value = serde_json::from_str(&grown.stdout).unwrap();
    let counts: Vec<u64> =
        plan["demand"].as_array().unwrap().iter().map(|d| d["count"].as_u64().unwrap()).collect();
    assert_eq!(counts, [18, 6, 2]);
}

#[test]
fn the_walk_through_of_a_week() {
    let folder = tempfile::tempdir().unwrap();
    let run = std::process::Command::new("bash")
        .arg(crate::common::root("examples/week/walk-through.sh"))
        .arg("made/by-it")
        .current_dir(folder.path())
        .env("MIGPLAN", env!("CARGO_BIN_EXE_migplan"))
        .env_remove("MIGPLAN_GPUS")
        .output()
        .unwrap();
    let (stdout, stderr) =
        (String::from_utf8(run.stdout).unwrap(), String::from_utf8(run.stderr).unwrap());
    assert!(run.status.success(), "{stdout}\n{stderr}");
    let hours = "bound takes every hour whole";
    for part in ["peak plan", hours, "Served by plan", "valid for mig-parted"] {
        assert!(stdout.contains(part), "{part} in {stdout}");
    }
    assert!(stderr.contains("team 'audio' appears on the last day only"), "{stderr}");
    assert!(stderr.contains("Changes of a week (Europe/Berlin)"), "{stderr}");
    assert!(folder.path().join("made/by-it/units/migplan-week.timer").exists());
    let replay: serde_json::Value = serde_json::from_str(
        &std::fs::read_to_string(folder.path().join("made/by-it/replay.json")).unwrap(),
    )
    .unwrap();
    let rows = replay["rows"].as_array().unwrap();
    let served = |name: &str, rule: &str| {
        let of = |r: &&serde_json::Value| r["name"] == name && r["rule"] == rule;
        rows.iter().find(of).unwrap()["served_replica_hours"].as_f64().unwrap()
    };
    assert!(served("plan", "template") <= served("plan", "bound"));
    // With fixed resource names, which the plan was made for, no preset serves as much.
    for row in rows.iter().filter(|r| r["rule"] == "template") {
        let other = row["served_replica_hours"].as_f64().unwrap();
        assert!(other <= served("plan", "template"), "{row}");
    }
    assert_eq!(replay["hours"].as_array().unwrap().len(), 14 * 24);
    assert_eq!(replay["hours"][0]["start"], "Mon 2026-06-01 02:00");
}

#[test]
fn no_more_replicas_are_guaranteed_than_run() {
    let mut workload = Workload::new("a", "c", Mebibytes(9_000), 3);
    (workload.min, workload.hours) = (2, "Sat 10:00-16:00".parse().unwrap());
    let over = over(&demand_of(vec![workload]));
    let guaranteed = |demand: &Demand| {
        let workload = &demand.workloads()[0];
        (workload.min, workload.count)
    };
    let periods = (0..over.periods().len()).map(|period| guaranteed(&over.demand_in(period)));
    assert_eq!(periods.collect::<Vec<_>>(), [(0, 0), (2, 3)]);
    assert_eq!(guaranteed(over.peak()), (2, 3));
    let tuesday = over.only(|hour| (24..48).contains(&hour));
    assert_eq!(guaranteed(tuesday.peak()), (0, 0));
}

/// One replica is in one instance in any hour, and its pod template asks for one resource name in all.
#[test]
fn a_single_replica_keeps_its_profile_from_hour_to_hour() {
    let csv = "team,workload,memory,count,compute,hours\n\
        a,steady,9GiB,1,1,\nb,morning,9GiB,1,3,06:00-08:00\nc,day,9GiB,2,2,08:00-20:00\n";
    let args = ["suggest", "-w", "-", "--gpus", "1xa100-80gb", "--over-time", "--format", "json"];
    let served = |rule: &[&str]| {
        let run = migplan_with(&[&args[..], rule].concat(), csv.as_bytes());
        assert_eq!(run.code, 0, "{}", run.stderr);
        let plan: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
        let mut profiles: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for period in plan["over_time"]["periods"].as_array().unwrap() {
            for row in period["allocated"].as_array().unwrap() {
                let of = profiles.entry(row["workload"].to_string()).or_default();
                of.push(row["profile"].to_string());
            }
        }
        profiles.values_mut().for_each(|of| {
            of.sort();
            of.dedup();
        });
        let hours = plan["proof"]["stages"][0]["value"].as_u64().unwrap();
        (hours, profiles.values().map(Vec::len).max().unwrap())
    };
    assert_eq!(served(&[]), (350, 2));
    assert_eq!(served(&["--one-profile-per-workload"]), (336, 1));
}
