use proptest::prelude::*;

use super::growth::grown;
use super::*;
use crate::units::Mebibytes;

fn workload(team: &str, name: &str, count: u64, hours: &str) -> Workload {
    let mut workload = Workload::new(team, name, Mebibytes(9_000), count);
    workload.hours = hours.parse().unwrap();
    workload
}

fn week(workloads: Vec<Workload>) -> OverTime {
    let demand = Demand::new(workloads);
    OverTime::new(&demand, Horizon::Week, &Zone::default(), &Growth::default()).unwrap()
}

fn berlin() -> Zone {
    "Europe/Berlin".parse().unwrap()
}

fn history(spans: &[(&str, i64, i64)], observed: &[(i64, i64)]) -> (Demand, History) {
    let mut history = History { observed: observed.to_vec(), ..History::default() };
    let mut workloads = BTreeMap::new();
    for (team, start_ms, end_ms) in spans {
        let key: (Arc<str>, Arc<str>) = ((*team).into(), "w".into());
        workloads.insert(key.clone(), workload(team, "w", 1, ""));
        let span = ReplicaSpan { start_ms: *start_ms, end_ms: *end_ms, count: 1 };
        history.spans.entry(key).or_default().push(span);
    }
    (Demand::new(workloads.into_values().collect()), history)
}

fn of_history(demand: &Demand, history: &History, zone: &Zone) -> OverTime {
    OverTime::new(demand, Horizon::History(history), zone, &Growth::default()).unwrap()
}

#[test]
fn equal_hours_are_one_period() {
    let demand = week(vec![
        workload("a", "notebooks", 4, "Mon-Fri 08:00-19:00"),
        workload("b", "training", 2, "19:00-08:00|Sat-Sun"),
        workload("c", "serving", 1, ""),
    ]);
    assert_eq!(demand.hours().len(), 168);
    let periods: Vec<(u64, &[u64])> =
        demand.periods().iter().map(|p| (p.hours, &*p.counts)).collect();
    assert_eq!(periods, [(113, &[0, 2, 1][..]), (55, &[4, 0, 1])]);
    let counts: Vec<u64> = demand.peak().workloads().iter().map(|w| w.count).collect();
    assert_eq!(counts, [4, 2, 1]);
    assert_eq!(demand.demand_in(1).replicas(), 5);
    assert_eq!(demand.name_of(8), "Mon 08:00");
    assert_eq!(demand.end(), "Sun 24:00");
    assert_eq!(demand.spans()[0].len(), 5);
    // Always the same: one period.
    assert_eq!(week(vec![workload("a", "b", 3, "")]).periods().len(), 1);
}

#[test]
fn clocks_change() {
    let demand = Demand::new(vec![workload("a", "night", 1, "Sun 02:00-03:00")]);
    let in_week = |date: Date| {
        let horizon = Horizon::WeekOf(date);
        OverTime::new(&demand, horizon, &berlin(), &Growth::default()).unwrap()
    };
    let running = |over_time: &OverTime| {
        over_time.periods().iter().map(|p| p.hours * p.counts[0]).sum::<u64>()
    };
    // 2026-03-29: 02:00 does not exist; 2026-10-25: it comes twice.
    let spring = in_week(jiff::civil::date(2026, 3, 25));
    assert_eq!((spring.hours().len(), running(&spring)), (167, 0));
    let autumn = in_week(jiff::civil::date(2026, 10, 25));
    assert_eq!((autumn.hours().len(), running(&autumn)), (169, 2));
    assert_eq!(autumn.name_of(146), "Sun 2026-10-25 02:00 +02:00");
    assert_eq!(autumn.name_of(147), "Sun 2026-10-25 02:00 +01:00");
    assert_eq!(autumn.time_of(147).unwrap(), "2026-10-25T02:00:00+01:00");
    let plain = in_week(jiff::civil::date(2026, 6, 3));
    assert_eq!((plain.hours().len(), running(&plain)), (168, 1));
    assert_eq!(plain.name_of(0), "Mon 2026-06-01 00:00");
    assert_eq!(spring.name_of(166), "Sun 2026-03-29 23:00");
    assert_eq!(spring.end(), "Mon 2026-03-30 00:00");
}

#[test]
fn a_history_has_hours_of_its_zone() {
    // 2026-06-01 06:30 UTC is Monday 08:30 in Berlin, and noon in Kolkata, half an hour apart.
    let start = 1_780_295_400_000;
    let (demand, seen) = history(&[("a", start, start + HOUR_MS)], &[(start, start + 3 * HOUR_MS)]);
    let in_berlin = of_history(&demand, &seen, &berlin());
    assert_eq!(in_berlin.name_of(0), "Mon 2026-06-01 08:00");
    assert_eq!(in_berlin.hours().len(), 4);
    let counts: Vec<u64> =
        in_berlin.hours().iter().map(|h| in_berlin.periods()[h.period].counts[0]).collect();
    assert_eq!(counts, [1, 1, 0, 0]);
    let in_kolkata = of_history(&demand, &seen, &"Asia/Kolkata".parse().unwrap());
    assert_eq!(in_kolkata.name_of(0), "Mon 2026-06-01 12:00");
    assert_eq!(in_kolkata.hours().len(), 4);
    assert!("Mars/Olympus".parse::<Zone>().unwrap_err().contains("is not a time zone"));
}

#[test]
fn a_history_is_doubted_where_it_is_thin() {
    let (demand, seen) = history(&[("a", 0, HOUR_MS)], &[(0, 5 * HOUR_MS - 1)]);
    let short = of_history(&demand, &seen, &Zone::default());
    assert_eq!(short.hours().len(), 5);
    assert!(short.warnings[0].message.contains("is of 5 hours only"), "{:?}", short.warnings);

    let observed = [(0, 30 * HOUR_MS - 1), (40 * HOUR_MS, 96 * HOUR_MS - 1)];
    let (demand, seen) =
        history(&[("a", 0, HOUR_MS), ("late", 90 * HOUR_MS, 95 * HOUR_MS)], &observed);
    let gap = of_history(&demand, &seen, &Zone::default());
    assert_eq!(gap.hours().len(), 86);
    let text: String = gap.warnings.iter().map(|w| format!("{w}\n")).collect();
    assert!(text.contains("10 hours of the history have no samples"), "{text}");
    assert!(text.contains("the longest gap from Fri 1970-01-02 06:00 for 10 h"), "{text}");
    assert!(text.contains("team 'late' appears on the last day only"), "{text}");
    assert!(!text.contains("'a'"), "{text}");

    let nothing = History::default();
    let error =
        OverTime::new(&demand, Horizon::History(&nothing), &Zone::default(), &Growth::default());
    assert!(error.unwrap_err().to_string().contains("no times"));
}

#[test]
fn growth_is_read() {
    let growth =
        |texts: &[&str]| Growth::parse(&texts.iter().map(ToString::to_string).collect::<Vec<_>>());
    let some = growth(&["20%", "nlp=50%"]).unwrap();
    assert_eq!((some.of("nlp"), some.of("other")), (500_000, 200_000));
    assert_eq!(some.unknown_team(&Demand::new(vec![workload("a", "b", 1, "")])), Some("nlp"));
    for wrong in ["20", "=20%", "a=b%", "-5%", ""] {
        assert!(growth(&[wrong]).unwrap_err().contains("write 20%"), "{wrong}");
    }
    // Which of two is meant nobody knows.
    let twice = growth(&["nlp=50%", "nlp=10%"]).unwrap_err();
    assert!(twice.contains("team 'nlp' is there twice"), "{twice}");
    let twice = growth(&["20%", "nlp=50%", "30%"]).unwrap_err();
    assert!(twice.contains("'30%' is a second share for all teams"), "{twice}");
}

proptest! {
    /// At any time growth raises the number of replicas and rounds up, never more.
    #[test]
    fn growth_raises_every_moment(
        spans in prop::collection::vec((0i64..50, 1i64..30, 1u64..4), 1..12),
        growth in 0u64..1_500_000,
    ) {
        let before: Vec<ReplicaSpan> = spans
            .iter()
            .map(|(start, length, count)| ReplicaSpan {
                start_ms: *start,
                end_ms: start + length,
                count: *count,
            })
            .collect();
        let mut after = before.clone();
        add_growth(&mut after, growth);
        let at = |spans: &[ReplicaSpan], t: i64| -> u64 {
            spans.iter().filter(|s| s.start_ms <= t && t < s.end_ms).map(|s| s.count).sum()
        };
        for t in 0..81 {
            prop_assert_eq!(at(&after, t), grown(at(&before, t), growth), "at {}", t);
        }
        prop_assert!(after.iter().all(|s| s.start_ms < s.end_ms && s.count > 0));
    }

    /// The most at the same time in an hour is what looking at every moment finds.
    #[test]
    fn hours_hold_their_highest_moment(
        spans in prop::collection::vec((0i64..40, 1i64..30, 1u64..4), 0..12),
    ) {
        let quarter = HOUR_MS / 4;
        let spans: Vec<ReplicaSpan> = spans
            .iter()
            .map(|(start, length, count)| ReplicaSpan {
                start_ms: start * quarter,
                end_ms: (start + length) * quarter,
                count: *count,
            })
            .collect();
        let starts: Vec<i64> = (0..18).map(|h| h * HOUR_MS).collect();
        let expected: Vec<u64> = starts
            .iter()
            .map(|start| {
                let moments = (0..4).map(|q| start + q * quarter);
                moments.map(|t| spans.iter().filter(|s| s.start_ms <= t && t < s.end_ms).map(|s| s.count).sum()).max().unwrap_or(0)
            })
            .collect();
        prop_assert_eq!(most_by_hour(&spans, &starts), expected);
    }

    /// Parts of a horizon have the hours of the whole.
    #[test]
    fn parts_add_up(cut in 0usize..168, counts in prop::collection::vec(1u64..5, 3)) {
        let whole = week(vec![
            workload("a", "x", counts[0], "Mon-Fri 08:00-19:00"),
            workload("b", "y", counts[1], "Sat 20:00-03:00"),
            workload("c", "z", counts[2], ""),
        ]);
        let sum = |o: &OverTime| -> u64 {
            o.periods().iter().map(|p| p.hours * p.counts.iter().sum::<u64>()).sum()
        };
        let time = |o: &OverTime| -> i64 {
            let begin = o.hours().first().map_or(0, |h| h.start_ms);
            let end = o.hours().last().map_or(0, |h| h.start_ms + HOUR_MS);
            let in_hours = |s: &ReplicaSpan| s.end_ms.min(end) - s.start_ms.max(begin);
            o.spans().iter().flatten().map(|s| in_hours(s) * s.count as i64).sum()
        };
        let parts = [whole.between(0, cut), whole.between(cut, 168)];
        prop_assert_eq!(parts.iter().map(sum).sum::<u64>(), sum(&whole));
        prop_assert_eq!(parts.iter().map(time).sum::<i64>(), time(&whole));
        prop_assert_eq!(time(&whole), sum(&whole) as i64 * HOUR_MS);
    }
}
