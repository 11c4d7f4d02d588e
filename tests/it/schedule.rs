//! Schedules of several configurations against every division and every pair of layouts.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};

use crate::common::tools::{have, skip};
use crate::common::{A30, Run, all_layouts, cases, gpus, migplan_with};
use crate::rehearsal::{Rehearsal, laid_out};
use migplan::demand::over_time::{Growth, Horizon, OverTime, Zone};
use migplan::demand::{Demand, Workload};
use migplan::fleet::Fleet;
use migplan::hardware::Board;
use migplan::mig_parted;
use migplan::optimise::{PlanOptions, Progress, SearchProgress};
use migplan::schedule::{Keeps, Schedule, ScheduleOptions, schedule};
use migplan::units::{Mebibytes, Weight};
use proptest::prelude::*;

const WEEK: usize = 168;

/// Hours that overlap in many ways.
const HOURS: [&str; 7] = [
    "",
    "Mon-Fri 08:00-19:00",
    "20:00-06:00",
    "Sat|Sun",
    "Mon-Fri 12:00-14:00",
    "09:00-17:00",
    "Sun 22:00-06:00",
];

fn workload() -> impl Strategy<Value = Workload> {
    // Of an A30: 1g has 5,952 MiB, 2g 12,032 and 4g 24,125.
    let memory = prop_oneof![1_000u64..5_900, 6_000u64..12_000, 12_100u64..24_000];
    (memory, 1u64..=3, 0i64..2, 1u64..3, 0..HOURS.len()).prop_map(
        |(memory, count, priority, weight, hours)| {
            let mut workload = Workload::new("t", "", Mebibytes(memory), count);
            workload.priority = priority;
            workload.weight = Weight(weight * Weight::SCALE);
            workload.hours = HOURS[hours].parse().unwrap();
            workload
        },
    )
}

fn demand_of(mut workloads: Vec<Workload>) -> OverTime {
    for (i, workload) in workloads.iter_mut().enumerate() {
        workload.name = format!("w{i}").into();
    }
    let demand = Demand::new(workloads);
    OverTime::new(&demand, Horizon::Week, &Zone::default(), &Growth::default()).unwrap()
}

/// Weight of priority 1, of priority 0, and MiB.
type Value = [u64; 3];

/// What serves: configuration 0 or 1, or what a change between them leaves (2).
type Serving = usize;

/// A stretch of time: what serves it, the period of the demand, and for each workload whether its
/// replicas must be in instances that the next change leaves.
type Key = (Serving, usize, Vec<bool>);

/// Minutes of each stretch of a week, if configuration 1 is active in the hours of `second`.
fn minutes(
    demand: &OverTime,
    second: &[bool; WEEK],
    change: u64,
    disruption: bool,
) -> BTreeMap<Key, u64> {
    let workloads = demand.peak().workloads();
    let runs = |w: usize, hour: usize| workloads[w].hours.contains(hour % WEEK);
    let mut minutes: BTreeMap<Key, u64> = BTreeMap::new();
    for hour in 0..WEEK {
        let next = (hour + 1..=hour + WEEK).find(|h| second[h % WEEK] != second[hour]);
        let stays =
            |w: usize| !disruption && next.is_some_and(|next| (hour..=next).all(|h| runs(w, h)));
        let staying: Vec<bool> = (0..workloads.len()).map(stays).collect();
        let period = demand.hours()[hour].period;
        let mut left = 60;
        if second[(hour + WEEK - 1) % WEEK] != second[hour] {
            let key = (2, period, vec![false; workloads.len()]);
            *minutes.entry(key).or_default() += change;
            left -= change;
        }
        *minutes.entry((usize::from(second[hour]), period, staying)).or_default() += left;
    }
    minutes.retain(|_, minutes| *minutes > 0);
    minutes
}

/// The most that replicas are served by so many instances of each profile, of which some are left by
/// the next change: each replica is tried in each kind.
struct Assign<'a> {
    board: &'a Board,
    /// Replicas of a workload, how many, and whether they must be in what is left.
    replicas: Vec<(&'a Workload, bool)>,
    best: Value,
}

impl Assign<'_> {
    fn run(&mut self, at: usize, free: &mut [u32], left: &mut [u32], value: Value) {
        self.best = self.best.max(value);
        let Some((workload, stays)) = self.replicas.get(at).copied() else { return };
        self.run(at + 1, free, left, value);
        for p in 0..free.len() {
            let fits = workload.memory.unwrap() <= self.board.profiles[p].memory;
            if !fits || free[p] == 0 || stays && left[p] == 0 {
                continue;
            }
            free[p] -= 1;
            left[p] -= u32::from(stays);
            let mut more = value;
            more[usize::from(workload.priority == 0)] += workload.weight.0 / Weight::SCALE;
            more[2] += workload.memory.unwrap().0;
            self.run(at + 1, free, left, more);
            free[p] += 1;
            left[p] += u32::from(stays);
        }
    }
}

/// The layouts of an A30 in both configurations, with the counts of each and of what a change leaves.
fn pairs(board: &Board, only_maximal: bool, keeps: Keeps) -> Vec<[Vec<u32>; 3]> {
    type Placement = (usize, u32);
    let mut layouts: Vec<Vec<Placement>> = all_layouts(A30);
    let profile = |(typed, _): &Placement| {
        board.profiles.iter().position(|p| p.name.to_string() == A30[*typed].0).unwrap()
    };
    let counts = |layout: &Vec<Placement>| {
        let mut counts = vec![0; board.profiles.len()];
        layout.iter().for_each(|placement| counts[profile(placement)] += 1);
        counts
    };
    if only_maximal {
        let all = layouts.clone();
        let contains = |a: &[Placement], b: &[Placement]| b.iter().all(|p| a.contains(p));
        layouts.retain(|l| !all.iter().any(|m| m.len() > l.len() && contains(m, l)));
    }
    let mut pairs = Vec::new();
    for a in &layouts {
        for b in &layouts {
            let mut left: Vec<Placement> = a.iter().filter(|p| b.contains(p)).copied().collect();
            if keeps == Keeps::Gpus && a != b {
                left.clear();
            }
            pairs.push([a, b, &left].map(counts));
        }
    }
    pairs.sort();
    pairs.dedup();
    pairs
}

/// Instances, those that the next change leaves, the period, and which replicas stay.
type Supplied = (Vec<u32>, Vec<u32>, usize, Vec<bool>);

/// Every daily window on all days, on workdays and on weekends, each hour by hour.
fn divisions() -> Vec<[bool; WEEK]> {
    let mut all = vec![[false; WEEK]];
    for days in [0..7, 0..5, 5..7] {
        for from in 0..24 {
            for to in 0..=24 {
                let mut second = [false; WEEK];
                for day in days.clone() {
                    let end = if to > from { to } else { to + 24 };
                    (day * 24 + from..day * 24 + end).for_each(|h| second[h % WEEK] = true);
                }
                if second.iter().any(|s| !s) {
                    all.push(second);
                }
            }
        }
    }
    all
}

/// The best of all divisions and all pairs of layouts.
fn brute_force(
    demand: &OverTime,
    fleet: &Fleet,
    options: &ScheduleOptions,
    disruption: bool,
) -> Value {
    let board = &fleet.nodes()[0].gpus[0];
    let gpus = fleet.gpu_count();
    let pairs = pairs(board, gpus > 1, options.keeps);
    let mut fleets: Vec<Vec<usize>> = vec![vec![]];
    for _ in 0..gpus {
        let longer = |f: &Vec<usize>| {
            let from = f.last().copied().unwrap_or(0);
            (from..pairs.len()).map(|p| [f.as_slice(), &[p]].concat()).collect::<Vec<_>>()
        };
        fleets = fleets.iter().flat_map(longer).collect();
    }
    let mut supplies: Vec<[Vec<u32>; 3]> = fleets
        .iter()
        .map(|f| {
            [0, 1, 2].map(|s| {
                let mut sum = vec![0; board.profiles.len()];
                f.iter().for_each(|p| sum.iter_mut().zip(&pairs[*p][s]).for_each(|(a, b)| *a += b));
                sum
            })
        })
        .collect();
    supplies.sort();
    supplies.dedup();
    // More instances never serve less.
    let within = |a: &[Vec<u32>; 3], b: &[Vec<u32>; 3]| {
        a != b && a.iter().flatten().zip(b.iter().flatten()).all(|(x, y)| x <= y)
    };
    let all = supplies.clone();
    supplies.retain(|a| !all.iter().any(|b| within(a, b)));
    let change = u64::try_from(options.change_minutes).unwrap();
    let mut stretches: Vec<BTreeMap<Key, u64>> =
        divisions().iter().map(|d| minutes(demand, d, change, disruption)).collect();
    stretches.sort();
    stretches.dedup();
    let mut known: HashMap<Supplied, Value> = HashMap::new();
    let mut best = [0; 3];
    for supply in &supplies {
        let mut of_key: HashMap<&Key, Value> = HashMap::new();
        for stretch in &stretches {
            let mut sum = [0u64; 3];
            for (key, minutes) in stretch {
                let value = *of_key.entry(key).or_insert_with(|| {
                    let (serving, period, staying) = key;
                    let at =
                        (supply[*serving].clone(), supply[2].clone(), *period, staying.clone());
                    *known.entry(at).or_insert_with(|| {
                        let part = demand.demand_in(*period);
                        let mut assign = Assign { board, replicas: Vec::new(), best: [0; 3] };
                        for (w, stays) in part.workloads().iter().zip(staying) {
                            let of = std::iter::repeat_n((w, *stays), w.count as usize);
                            assign.replicas.extend(of);
                        }
                        let (mut free, mut left) = (supply[*serving].clone(), supply[2].clone());
                        assign.run(0, &mut free, &mut left, [0; 3]);
                        assign.best
                    })
                });
                sum.iter_mut().zip(value).for_each(|(s, v)| *s += v * minutes);
            }
            best = best.max(sum);
        }
    }
    best
}

/// What a schedule claims, in minutes.
fn claimed(schedule: &Schedule) -> Value {
    let mut value = [0; 3];
    for stage in &schedule.proof.stages {
        let times = match &stage.objective {
            name if name.contains("_minutes") => 1,
            name if name.contains("_hours") => 60,
            _ => 60 * WEEK as u64,
        };
        let at = match stage.objective.split(['[', '_']).collect::<Vec<_>>()[..] {
            ["placed", "weight", .., "priority=1]"] => 0,
            ["placed", "weight", .., "priority=0]"] => 1,
            ["placed", "mib", ..] => 2,
            _ => continue,
        };
        value[at] = stage.value.as_u64().unwrap() * times;
    }
    value
}

fn options(change_minutes: i64, keeps: Keeps) -> ScheduleOptions {
    ScheduleOptions { configurations: 2, change_minutes, keeps }
}

proptest! {
    #![proptest_config(cases(40))]

    /// Two configurations are the best of every division and every pair of layouts.
    #[test]
    fn no_schedule_of_two_is_better(
        rows in prop::collection::vec(workload(), 1..5),
        gpus_of in prop_oneof![8 => Just(1usize), 4 => Just(2), 1 => Just(3)],
        change in prop_oneof![Just(0i64), Just(10), Just(60)],
        disruption in any::<bool>(),
        whole_gpus in any::<bool>(),
    ) {
        prop_assume!(rows.iter().map(|w| w.count).sum::<u64>() <= 7);
        let keeps = if whole_gpus { Keeps::Gpus } else { Keeps::Instances };
        let demand = demand_of(rows);
        let fleet = gpus(&format!("{gpus_of}xa30"));
        let plan = PlanOptions { allow_disruption: disruption, ..PlanOptions::default() };
        let found = schedule(&demand, &fleet, &plan, &options(change, keeps)).unwrap();
        prop_assert!(found.searched.proved);
        let best = brute_force(&demand, &fleet, &options(change, keeps), disruption);
        prop_assert_eq!(claimed(&found), best);
        // Hour by hour, which is what the picture shows, it is as much.
        for (sum, hours) in [
            (found.served.served, &found.served_by_hour),
            (found.one.served.served, &found.one.served_by_hour),
        ] {
            prop_assert_eq!(hours.iter().map(|minutes| u128::from(*minutes)).sum::<u128>(), sum);
        }
        // One configuration is a schedule too, and the changes are those of the division.
        prop_assert!(found.configurations.len() == 1 || !found.changes.is_empty());
        let one = options(change, keeps);
        let one = schedule(&demand, &fleet, &plan, &ScheduleOptions { configurations: 1, ..one });
        prop_assert!(claimed(&found) >= claimed(&one.unwrap()));
    }
}

#[test]
fn equal_hours_need_one_configuration() {
    let rows = vec![Workload::new("a", "w", Mebibytes(5_000), 20)];
    let demand = demand_of(rows);
    let fleet = gpus("1xa30");
    let found =
        schedule(&demand, &fleet, &PlanOptions::default(), &options(0, Keeps::Instances)).unwrap();
    assert_eq!((found.configurations.len(), found.changes.len()), (1, 0));
    assert!(found.searched.proved);
}

#[test]
fn day_and_night_have_a_configuration_each() {
    let row = |name: &str, memory, count, hours: &str| {
        let mut workload = Workload::new("a", name, Mebibytes(memory), count);
        workload.hours = hours.parse().unwrap();
        workload
    };
    let demand = demand_of(vec![
        row("notebooks", 9_000, 14, "Mon-Fri 08:00-19:00"),
        row("training", 70_000, 2, "Mon-Fri 20:00-06:00|Sat|Sun"),
    ]);
    let fleet = gpus("2xa100-80gb");
    let plan = PlanOptions::default();
    let found = schedule(&demand, &fleet, &plan, &options(10, Keeps::Instances)).unwrap();
    assert_eq!(found.configurations.len(), 2);
    assert!(found.searched.proved);
    // Nothing runs from 19 to 20 and from 6 to 8: no change costs anything.
    assert_eq!(found.served.served, found.served.asked);
    assert!(found.one.served.served < found.one.served.asked);
    let worst = found.changes.iter().max_by_key(|c| Reverse(c.destroyed)).unwrap();
    assert!(worst.destroyed > 0 && worst.created > 0);
    // A pod that never ends keeps its instance through every change.
    let mut rows = demand.peak().workloads().to_vec();
    rows.push(row("serving", 9_000, 2, ""));
    let demand = demand_of(rows);
    let told = Arc::new(Mutex::new(Vec::new()));
    let progress = {
        let told = told.clone();
        Progress::new(move |progress| {
            if let SearchProgress::Divisions { open, of } = progress {
                told.lock().unwrap().push((open, of));
            }
        })
    };
    let plan = PlanOptions { progress: Some(progress), ..plan };
    let found = schedule(&demand, &fleet, &plan, &options(10, Keeps::Instances)).unwrap();
    // The search tells how many divisions are left, until none is.
    let told = told.lock().unwrap();
    let (first, last) = (told.first().unwrap(), told.last().unwrap());
    assert!(first.0 > last.0 && first.1 == last.1, "{told:?}");
    assert!(told.windows(2).all(|next| next[0].0 >= next[1].0), "{told:?}");
    for configuration in &found.configurations {
        let allocated = configuration.plan.periods.iter().flatten();
        let of_serving = allocated.filter(|row| row.workload == 2).map(|row| row.replicas);
        assert!(of_serving.sum::<u64>() > 0);
    }
}

/// At most two changes a day, and each between configurations that there are.
fn is_calm(schedule: &Schedule) -> bool {
    let mut of_day: BTreeMap<usize, usize> = BTreeMap::new();
    schedule.changes.iter().for_each(|c| *of_day.entry(c.at.hour / 24).or_default() += 1);
    let known = |c: &migplan::schedule::Change| {
        c.at.from.max(c.at.to) < schedule.configurations.len() && c.at.from != c.at.to
    };
    of_day.values().all(|changes| *changes <= 2) && schedule.changes.iter().all(known)
}

#[test]
fn a_third_configuration_serves_what_two_cannot() {
    let row = |name: &str, memory, count, hours: &str| {
        let mut workload = Workload::new("a", name, Mebibytes(memory), count);
        workload.hours = hours.parse().unwrap();
        workload
    };
    // Workdays, their nights, and weekends each want another layout of the one GPU.
    let demand = demand_of(vec![
        row("notebooks", 9_000, 7, "Mon-Fri 08:00-19:00"),
        row("training", 70_000, 1, "Mon-Fri 20:00-06:00"),
        row("batch", 30_000, 2, "Sat 08:00-24:00|Sun 00:00-22:00"),
    ]);
    let fleet = gpus("1xa100-80gb");
    let plan = PlanOptions::default();
    let of = |configurations| {
        let wanted = ScheduleOptions { configurations, ..options(10, Keeps::Instances) };
        schedule(&demand, &fleet, &plan, &wanted).unwrap()
    };
    let (two, three) = (of(2), of(3));
    assert_eq!((two.configurations.len(), three.configurations.len()), (2, 3));
    assert!(claimed(&three) > claimed(&two));
    assert_eq!(three.served.served, three.served.asked);
    assert!(is_calm(&two) && is_calm(&three));
    // Nothing serves more than all.
    assert!(two.searched.proved && three.searched.proved);
    // Further configurations are added to the best pair, so else nothing is proved of all triples.
    let mut rows = demand.peak().workloads().to_vec();
    rows[0].count += 1;
    let demand = demand_of(rows);
    let wanted = ScheduleOptions { configurations: 3, ..options(10, Keeps::Instances) };
    let lacking = schedule(&demand, &fleet, &plan, &wanted).unwrap();
    assert!(lacking.served.served < lacking.served.asked && lacking.configurations.len() == 3);
    assert!(!lacking.searched.proved);
}

#[test]
fn the_second_configuration_is_applied_on_the_node() {
    let gpus = ["schedule", "--workloads", "-", "--gpus", "3xh100-80gb"];
    let with = |more: &[&str]| migplan_with(&[&gpus, more].concat(), WEEK_CSV.as_bytes());
    let rehearsal = Rehearsal::new(&laid_out("3xh100-80gb", "h100-80gb", &[]));
    rehearsal.write("week.yaml", &with(&["-q"]).stdout);
    let apply = |more: &[&str]| {
        let run = rehearsal.migplan(&[&["apply", "-f", "week.yaml"], more].concat());
        assert_eq!(run.code, 0, "{}", run.stderr);
        run
    };
    apply(&["-c", "migplan-a", "--yes"]);
    let json = with(&["-q", "--format", "json"]).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let changes = json["changes"].as_array().unwrap();
    let change = changes.iter().find(|c| c["from"] == "migplan-a").unwrap();
    // What the schedule says of the change is what the node is told.
    let dry = apply(&["-c", "migplan-b", "--dry-run"]);
    let said = format!("{} destroyed, {} created", change["destroyed"], change["created"]);
    assert!(dry.stdout.contains(&said), "{said}\n{}", dry.stdout);
    apply(&["-c", "migplan-b", "--yes"]);
    assert!(apply(&["-c", "migplan-b", "--yes"]).stderr.contains("nothing to do"));
}

#[test]
fn the_picture_shows_which_configuration_is_active() {
    let folder = tempfile::tempdir().unwrap();
    let (svg, png) = (folder.path().join("week.svg"), folder.path().join("week.png"));
    for file in [&svg, &png] {
        let ran = run(&["--timezone", "Europe/Berlin", "--chart", file.to_str().unwrap()]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
    let text = std::fs::read_to_string(&svg).unwrap();
    for part in ["2 MIG configurations over the week", "migplan-a", "migplan-b", "Europe/Berlin"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    // A label each for the five days, beside the one of the legend.
    assert_eq!(text.matches("migplan-b").count(), 6, "{text}");
    assert!(std::fs::read(&png).unwrap().starts_with(b"\x89PNG"));
    let wrong = run(&["--chart", "week.gif"]);
    assert_eq!(wrong.code, 2, "{}", wrong.stderr);
}

/// A day and a night that want different layouts, and a workload that never ends.
const WEEK_CSV: &str = include_str!("../../examples/week/week.csv");

fn run(args: &[&str]) -> Run {
    let base = ["schedule", "--workloads", "-", "--gpus", "3xa100-80gb"];
    migplan_with(&[&base, args].concat(), WEEK_CSV.as_bytes())
}

#[test]
fn the_command_writes_a_file_with_a_label_for_each_configuration() {
    let ran = run(&["--timezone", "Europe/Berlin"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let file = mig_parted::Config::parse(&ran.stdout, "stdout").unwrap();
    assert_eq!(file.labels().collect::<Vec<_>>(), ["migplan-a", "migplan-b"]);
    for change in ["from migplan-a to migplan-b", "from migplan-b to migplan-a"] {
        assert!(ran.stdout.contains(change), "{}", ran.stdout);
    }
    assert!(ran.stderr.contains("Changes of a week (Europe/Berlin)"), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("the rest ruled out by bounds; no other serves more"),
        "{}",
        ran.stderr
    );
    // Parts of an hour are not rounded away.
    let placed = ran.stderr.split(" replica-hours placed").next().unwrap();
    assert!(placed.contains('.'), "{placed}");
    let board = &gpus("3xa100-80gb").nodes()[0].gpus.clone();
    for label in ["migplan-a", "migplan-b"] {
        assert_eq!(file.resolve(Some(label), board).unwrap().gpus.len(), 3);
    }
    let json = run(&["--timezone", "Europe/Berlin", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["schema"], "migplan.schedule/v1");
    assert_eq!(json["proved"], true);
    let number = |key: &str| json[key].as_f64().unwrap();
    assert!(number("served_replica_hours") > number("one_config_replica_hours"));
    assert!(number("served_replica_hours") <= number("asked_replica_hours"));
    let changes = json["changes"].as_array().unwrap();
    assert!(changes.iter().all(|c| c["destroyed"].as_u64() > Some(0)), "{changes:?}");
    assert!(changes.iter().any(|c| c["at"] == "Mon 08:00"), "{changes:?}");
    // What a change destroys and creates follows from the placements of the two configurations.
    let placed = |config: usize| -> BTreeSet<String> {
        let gpus = json["configs"][config]["gpus"].as_array().unwrap();
        let of = |gpu: &serde_json::Value| -> Vec<String> {
            let instances = gpu["instances"].as_array().unwrap();
            let place =
                |i: &serde_json::Value| format!("{} {} {}", gpu["gpu"], i["profile"], i["start"]);
            instances.iter().map(place).collect()
        };
        gpus.iter().flat_map(of).collect()
    };
    let (a, b) = (placed(0), placed(1));
    for change in changes {
        let (from, to) = if change["from"] == "migplan-a" { (&a, &b) } else { (&b, &a) };
        assert_eq!(change["destroyed"], from.difference(to).count());
        assert_eq!(change["created"], to.difference(from).count());
    }
    // Equal runs give equal bytes.
    assert_eq!(run(&["--timezone", "Europe/Berlin"]).stdout, ran.stdout);
}

#[test]
fn cron_jobs_are_what_kubernetes_reads() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jobs.yaml");
    let ran = run(&["--cronjobs", file.to_str().unwrap(), "--timezone", "Europe/Berlin"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let unnamed = "the plan calls its node 'local', but kubectl knows it by another name";
    assert!(ran.stderr.contains(unnamed), "{}", ran.stderr);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("delete cronjob -l migplan/schedule=migplan\n"), "{text}");
    let documents: Vec<&str> = text.split("\n---\n").collect();
    let account: ServiceAccount = serde_saphyr::from_str(documents[0]).unwrap();
    let role: ClusterRole = serde_saphyr::from_str(documents[1]).unwrap();
    let binding: ClusterRoleBinding = serde_saphyr::from_str(documents[2]).unwrap();
    let rules = role.rules.unwrap();
    assert_eq!(rules.len(), 1);
    assert_eq!(rules[0].verbs, ["get", "patch"]);
    assert_eq!(rules[0].resource_names.as_deref(), Some(&["local".to_string()][..]));
    assert_eq!(binding.role_ref.name, role.metadata.name.unwrap());
    assert_eq!(binding.subjects.unwrap()[0].name, account.metadata.name.clone().unwrap());
    let jobs: Vec<CronJob> =
        documents[3..].iter().map(|d| serde_saphyr::from_str(d).unwrap()).collect();
    assert!(jobs.len() >= 2);
    let mut times = BTreeMap::new();
    for job in jobs {
        // By this the jobs of an earlier schedule are found.
        assert_eq!(job.metadata.labels.unwrap()["migplan/schedule"], "migplan");
        let spec = job.spec.unwrap();
        assert_eq!(spec.time_zone.as_deref(), Some("Europe/Berlin"));
        assert_eq!(spec.concurrency_policy.as_deref(), Some("Forbid"));
        assert_eq!(spec.suspend, Some(false));
        let pod = spec.job_template.spec.unwrap().template.spec.unwrap();
        assert_eq!(pod.service_account_name, account.metadata.name);
        let words = pod.containers[0].args.clone().unwrap();
        let label = words.last().unwrap().clone();
        assert_eq!(words[..3], ["label", "nodes", "local"]);
        times.insert(spec.schedule, label);
    }
    assert_eq!(times["0 8 * * 1-5"], "nvidia.com/mig.config=migplan-b", "{times:?}");
    assert_eq!(times["0 19 * * 1-5"], "nvidia.com/mig.config=migplan-a", "{times:?}");
}

#[test]
fn the_file_may_carry_the_presets_of_other_nodes() {
    let ran = run(&["--with-presets"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    for label in ["migplan-a", "migplan-b", "all-disabled", "all-1g.10gb"] {
        assert!(ran.stdout.contains(&format!("  {label}:\n")), "{label} in {}", ran.stdout);
    }
    let ran = run(&["--with-presets", "--configs", "1", "--name", "all-disabled"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
}

/// Writes the units of a schedule to `folder`; what it says, and the schedule as JSON.
fn units(folder: &Path, more: &[&str]) -> (String, serde_json::Value) {
    let args = ["--systemd", folder.to_str().unwrap(), "--format", "json"];
    let ran = run(&[&args, more].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    (ran.stderr, serde_json::from_str(&ran.stdout).unwrap())
}

#[test]
fn systemd_takes_the_units() {
    let folder = tempfile::tempdir().unwrap();
    units(folder.path(), &["--timezone", "Europe/Berlin"]);
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let timer = read("migplan-week.timer");
    let calendar = "Mon,Tue,Wed,Thu,Fri *-*-* 08:00:00 Europe/Berlin";
    assert!(timer.contains(&format!("OnCalendar={calendar}\n")), "{timer}");
    assert!(timer.contains("OnCalendar=Mon,Tue,Wed,Thu,Fri *-*-* 19:00:00 Europe/Berlin\n"));
    // A reboot destroys the instances: what is active then is created before anybody wants it.
    let boot = read("migplan-week-boot.service");
    assert!(boot.contains("\nWantedBy=multi-user.target\n"), "{boot}");
    assert!(boot.contains("\nBefore=kubelet.service "), "{boot}");
    if !have(&["systemd-analyze"], "systemd") {
        return;
    }
    let analyze = |args: &[&str]| Command::new("systemd-analyze").args(args).output().unwrap();
    let output = analyze(&["calendar", calendar]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = ["migplan-week.timer", "migplan-week.service", "migplan-week-boot.service"];
    for name in names {
        // The program is not installed here.
        let text = read(name).replace("/usr/bin/migplan", "/bin/true");
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    for name in names {
        let unit = folder.path().join(name);
        let output = analyze(&["verify", unit.to_str().unwrap()]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if said.contains("Failed to initialize manager") {
            skip(&format!("systemd-analyze does not run here: {said}"));
            return;
        }
        assert!(output.status.success() && !said.contains("migplan-"), "{said}");
    }
}

/// The script of a unit as the shell gets it from systemd.
fn script(unit: &str) -> String {
    let (_, from) = unit.split_once("ExecStart=/bin/sh -c '").unwrap();
    let (script, _) = from.split_once('\'').unwrap();
    script.replace("\\\n", " ").replace("%%", "%").replace("$$", "$")
}

#[test]
fn at_boot_and_at_changes_the_configuration_of_the_hour_is_applied() {
    let folder = tempfile::tempdir().unwrap();
    let (_, json) = units(folder.path(), &["--timezone", "Europe/Berlin"]);
    let changes: Vec<(&str, &str)> = json["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| (change["at"].as_str().unwrap(), change["to"].as_str().unwrap()))
        .collect();
    assert!(!changes.is_empty());
    let days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    for (name, wait) in [("migplan-week-boot.service", ""), ("migplan-week.service", " --wait 30m")]
    {
        let script = script(&std::fs::read_to_string(folder.path().join(name)).unwrap());
        assert!(script.contains("$(TZ=Europe/Berlin date +%u%H)"), "{script}");
        // All hours of a week in one shell, with a clock that stands still and nothing applied.
        let script = script.replace("exec /usr/bin/migplan", "echo");
        let week = format!(
            "date() {{ echo $d$h; }}\nfor d in 1 2 3 4 5 6 7; do for h in $(seq -w 0 23); do\n{script}\ndone; done\n"
        );
        let output = Command::new("sh").args(["-ec", &week]).output().unwrap();
        assert!(output.status.success(), "{}\n{week}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stdout).unwrap();
        let mut active = changes.last().unwrap().1;
        let mut lines = said.lines();
        for hour in 0..WEEK {
            let at = format!("{} {:02}:00", days[hour / 24], hour % 24);
            active = changes.iter().find(|(when, _)| *when == at).map_or(active, |(_, to)| to);
            let wanted = format!("apply -f /etc/migplan/config.yaml -c {active}{wait} --yes");
            assert_eq!(lines.next(), Some(wanted.as_str()), "{at}");
        }
        assert_eq!(lines.next(), None);
    }
}

#[test]
fn units_of_an_earlier_schedule_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let (said, _) = units(folder.path(), &[]);
    assert!(!said.contains("another schedule"), "{said}");
    // One configuration needs no timer, but a reboot destroys its instances too.
    let (said, _) = units(folder.path(), &["--configs", "1"]);
    let left = "disable and remove migplan-week.service, migplan-week.timer";
    assert!(said.contains(left), "{said}");
    // Where migplan is is the site's choice, in a path that no shell reads otherwise.
    let elsewhere = tempfile::tempdir().unwrap();
    units(elsewhere.path(), &["--binary", "/opt/mig/bin/migplan"]);
    let at = elsewhere.path().join("migplan-week.service");
    let service = std::fs::read_to_string(at).unwrap();
    assert!(service.contains("  exec /opt/mig/bin/migplan apply -f "), "{service}");
    let folder_of = elsewhere.path().to_str().unwrap();
    for path in ["migplan", "/opt/$(date)/migplan", "/opt/a b/migplan"] {
        let ran = run(&["--systemd", folder_of, "--binary", path]);
        assert_eq!(ran.code, 2, "{}", ran.stderr);
        assert!(ran.stderr.contains("is no path for --binary"), "{}", ran.stderr);
    }
    let boot = std::fs::read_to_string(folder.path().join("migplan-week-boot.service")).unwrap();
    let command =
        "\nExecStart=/usr/bin/migplan apply -f /etc/migplan/config.yaml -c migplan --yes\n";
    assert!(boot.contains(command), "{boot}");
}

#[test]
fn changes_that_were_not_looked_for_are_not_called_searched() {
    let said = |csv: &str, args: &[&str]| {
        let base = ["schedule", "-w", "-", "--gpus", "3xa100-80gb"];
        let run = |format| {
            let ran = migplan_with(&[&base, args, &["--format", format]].concat(), csv.as_bytes());
            assert_eq!(ran.code, 0, "{}", ran.stderr);
            ran.stdout
        };
        let json: serde_json::Value = serde_json::from_str(&run("json")).unwrap();
        let searched = &json["searched"];
        assert_eq!((&searched["divisions"], &searched["solved"]), (&1.into(), &1.into()));
        (run("text"), searched["windows"].as_str().unwrap().to_string())
    };
    let (text, windows) = said(WEEK_CSV, &["--configs", "1"]);
    assert!(
        text.contains(
            "by 1 configuration.\nOne configuration, as asked; no change was looked for.\n"
        )
    );
    assert!(!text.contains("Searched:") && !text.contains("is best"), "{text}");
    assert_eq!(windows, "none: one configuration was asked for");
    let (text, windows) = said("team,workload,memory,hours\na,b,9GiB,08:00-19:00\n", &[]);
    assert!(text.contains("One configuration serves all that is asked for"), "{text}");
    assert!(!text.contains("Searched:"), "{text}");
    assert_eq!(windows, "none: one configuration serves all that is asked for");
}

#[test]
fn what_comes_first_is_said_where_replica_hours_alone_mislead() {
    let rows = "t,w0,11000MiB,1,0,1,\nt,w1,11000MiB,3,5,1,Mon-Fri 00:00-24:00\n\
        t,w2,12000MiB,3,5,1,Mon-Fri 12:00-08:00\nt,w3,20000MiB,3,0,1,Mon-Sun 06:00-12:00\n";
    let rows = format!("team,workload,memory,count,priority,weight,hours\n{rows}");
    let said = |rows: &str| {
        let ran = migplan_with(&["schedule", "-w", "-", "--gpus", "1xa30"], rows.as_bytes());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let first = ran.stderr.lines().next().unwrap().to_string();
        assert!(ran.stdout.contains(&format!("# {first}\n")), "{}", ran.stdout);
        first
    };
    let by_priority = said(&rows);
    let expected = "257.8 of 954 replica-hours placed (27.0 %) by 2 configurations; the best single \
        configuration places 288 (30.1 %; 240 of priority 5, the schedule 247.8).";
    assert_eq!(by_priority, expected);
    // The same with weights instead of priorities.
    let weighted = rows.replace(",5,1,Mon", ",0,1000,Mon");
    let by_weight = said(&weighted);
    assert!(by_weight.contains("; weight-hours 240,048, the schedule 247,843.3)"), "{by_weight}");
}

#[test]
fn what_cannot_be_scheduled_is_said() {
    for (args, code, said) in [
        (&["--configs", "0"][..], 2, "not between 1 and 12"),
        (&["--cuts", "13"], 2, "not between 1 and 12"),
        (&["--change-minutes", "61"], 2, "not between 0 and 60"),
        (&["--keep-whole", "1"], 2, "drop the flag"),
        (&["--timezone", "Mars"], 2, "is not a time zone"),
    ] {
        let ran = run(args);
        assert_eq!(ran.code, code, "{}", ran.stderr);
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
    }
    let always = b"team,workload,memory\na,b,9GiB\n";
    let ran = migplan_with(&["schedule", "-w", "-", "--gpus", "1xa100-80gb"], always);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("column hours"), "{}", ran.stderr);
}

#[test]
fn time_that_ends_the_search_never_costs_what_one_configuration_serves() {
    let rows = (0..40).map(|i| {
        let (memory, count) = (2_000 + i * 7_919 % 68_000, 1 + i * 5 % 9);
        format!("t{},w{i},{memory},{count},{}\n", i % 5, HOURS[i % HOURS.len()])
    });
    let csv = format!("team,workload,memory_mib,count,hours\n{}", rows.collect::<String>());
    let fleet = "16xa100-80gb,16xh100-sxm5-80gb,10xa30";
    for seconds in ["1", "2", "3"] {
        let base = ["schedule", "-w", "-", "--gpus", fleet, "--format", "json", "--time-limit"];
        let ran = migplan_with(&[&base[..], &[seconds]].concat(), csv.as_bytes());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        let number = |key: &str| json[key].as_f64().unwrap();
        let (served, one) = (number("served_replica_hours"), number("one_config_replica_hours"));
        assert!(served >= one, "{served} of {one} with {seconds} s");
    }
}

#[test]
fn cron_jobs_are_planned_for_what_the_mig_manager_keeps() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jobs.yaml");
    let jobs = ["--cronjobs", file.to_str().unwrap()];
    // Serving never ends, so a GPU that it is on cannot change unless instances are kept.
    let week = "team,workload,memory,count,priority,hours\n\
                nlp,notebooks,9GiB,9,0,Mon-Fri 08:00-19:00\n\
                nlp,train,38GiB,3,0,19:00-08:00|Sat-Sun\nsearch,serving,18GiB,2,10,\n";
    let run = |args: &[&str]| {
        let base = ["schedule", "--workloads", "-", "--gpus", "2xa100-80gb"];
        migplan_with(&[&base, args].concat(), week.as_bytes())
    };
    let [gpus, instances] = ["gpus", "instances"].map(|keep| run(&["--keep", keep]));
    assert_ne!(gpus.stdout, instances.stdout);
    assert_eq!(run(&jobs).stdout, gpus.stdout);
    let against = run(&[&jobs[..], &["--keep", "instances"]].concat());
    assert_eq!(against.stdout, instances.stdout);
    assert!(against.stderr.contains("the MIG Manager clears each GPU"), "{}", against.stderr);
}

#[test]
fn weights_of_many_digits_rule_nothing_out_wrongly() {
    let rows = "a,day,9000MiB,14,1,08:00-19:00\na,evening,36000MiB,4,W,17:00-23:00\n\
                a,night,70000MiB,2,W,20:00-06:00\n";
    for weight in ["314", "314.159", "31.415927", "314.15927", "999999.999999"] {
        let rows = rows.replace('W', weight);
        let csv = format!("team,workload,memory,count,weight,hours\n{rows}");
        let args = ["schedule", "-w", "-", "--gpus", "2xa100-80gb", "--format", "json"];
        let ran = migplan_with(&args, csv.as_bytes());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        // The same layouts are the best whatever the digits.
        let served = json["served_replica_hours"].as_f64().unwrap();
        assert!((served - 515.67).abs() < 0.01, "{weight}: {served}");
    }
}

#[test]
fn a_search_that_was_ended_does_not_call_one_configuration_the_best() {
    let ran = run(&["--time-limit", "0.0001"]);
    assert!(!ran.stderr.contains("One configuration is best"), "{}", ran.stderr);
    assert!(ran.stderr.contains("with more time there may be one"), "{}", ran.stderr);
}
