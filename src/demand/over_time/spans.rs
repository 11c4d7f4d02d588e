//! Lives of pods: when replicas begin and end, and how many of them there are at the same time.

use super::growth::grown;
use crate::demand::Workload;
use crate::demand::hours::WEEK;
use crate::demand::time::HOUR_MS;

/// `count` replicas of one workload that begin and end together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReplicaSpan {
    /// When they begin, in milliseconds since 1970, or after Monday 00:00 in a week without a date;
    /// the least of all where they were always there.
    pub start_ms: i64,
    /// When they end; later than the start. The greatest of all where they never end.
    pub end_ms: i64,
    /// How many.
    pub count: u64,
}

impl ReplicaSpan {
    /// Whether they were always there and never end.
    pub fn is_endless(&self) -> bool {
        self.start_ms == i64::MIN && self.end_ms == i64::MAX
    }
}

/// The replicas of a workload that runs in the hours of its row, each as long as it really lasts:
/// those that run when the hours begin began before, by the clock of the week, and so on. In a week
/// that `repeats`, one that runs over its end is there twice, at its beginning as that of the week
/// before.
pub(super) fn of_calendar(
    workload: &Workload,
    hours: &[(i64, usize)],
    repeats: bool,
) -> Vec<ReplicaSpan> {
    let mut spans: Vec<ReplicaSpan> = Vec::new();
    let (Some((begin, first)), Some((last_ms, last))) = (hours.first(), hours.last()) else {
        return spans;
    };
    if workload.count == 0 {
        return spans;
    }
    let end = last_ms + HOUR_MS;
    for (start_ms, _) in hours.iter().filter(|(_, of_week)| workload.hours.contains(*of_week)) {
        let end_ms = start_ms + HOUR_MS;
        match spans.last_mut() {
            Some(last) if last.end_ms == *start_ms => last.end_ms = end_ms,
            _ => spans.push(ReplicaSpan { start_ms: *start_ms, end_ms, count: workload.count }),
        }
    }
    // How many hours it ran before an hour, or will run after it; `None` where it always does.
    let rests = |of_week: &dyn Fn(usize) -> usize| {
        (1..=WEEK).find(|n| !workload.hours.contains(of_week(*n) % WEEK)).map(|n| n as i64 - 1)
    };
    let before = rests(&|n| first + WEEK - n);
    let after = rests(&|n| last + n);
    for span in &mut spans {
        let (at_begin, at_end) = (span.start_ms == *begin, span.end_ms == end);
        // A week without the one hour of the clock in which it does not run.
        let always = repeats && at_begin && at_end;
        if at_begin {
            let began = before.filter(|_| !always).map(|n| begin - n * HOUR_MS);
            span.start_ms = began.unwrap_or(i64::MIN);
        }
        if at_end {
            let ends = after.filter(|_| !always).map(|n| end + n * HOUR_MS);
            span.end_ms = ends.unwrap_or(i64::MAX);
        }
    }
    spans
}

/// Spans that are seen in the hours from the first to the last, by start.
pub(super) fn within(spans: &[ReplicaSpan], hours: &[(i64, usize)]) -> Vec<ReplicaSpan> {
    let (Some((first, _)), Some((last, _))) = (hours.first(), hours.last()) else {
        return Vec::new();
    };
    let end = last + HOUR_MS;
    let is_seen = |s: &&ReplicaSpan| s.start_ms.max(*first) < s.end_ms.min(end) && s.count > 0;
    let mut seen: Vec<ReplicaSpan> = spans.iter().filter(is_seen).copied().collect();
    seen.sort_unstable();
    seen
}

/// Where the number of replicas changes, by time; at the same time those that end come first.
fn changes(spans: &[ReplicaSpan]) -> Vec<(i64, i128)> {
    let mut changes: Vec<(i64, i128)> = Vec::with_capacity(2 * spans.len());
    for span in spans {
        changes.push((span.start_ms, i128::from(span.count)));
        changes.push((span.end_ms, -i128::from(span.count)));
    }
    changes.sort_unstable();
    changes
}

/// For each hour the most replicas at the same time.
pub(super) fn most_by_hour(spans: &[ReplicaSpan], starts: &[i64]) -> Vec<u64> {
    let mut changes = changes(spans).into_iter().peekable();
    let mut level: i128 = 0;
    let mut most_of = |start: &i64| {
        while let Some((_, change)) = changes.next_if(|(at, _)| at <= start) {
            level += change;
        }
        let mut most = level;
        while let Some((_, change)) = changes.next_if(|(at, _)| *at < start + HOUR_MS) {
            level += change;
            most = most.max(level);
        }
        u64::try_from(most).unwrap_or(0)
    };
    starts.iter().map(&mut most_of).collect()
}

/// Adds the replicas that growth makes of those that are there: at any time the number is raised
/// and rounded up.
pub(super) fn add_growth(spans: &mut Vec<ReplicaSpan>, growth: u64) {
    if growth == 0 {
        return;
    }
    let mut level: i128 = 0;
    // Further replicas that run now: when they began and how many.
    let mut running: Vec<(i64, u64)> = Vec::new();
    let (mut now, mut more): (u64, Vec<ReplicaSpan>) = (0, Vec::new());
    let changes = changes(spans);
    for (i, (at, change)) in changes.iter().enumerate() {
        level += change;
        if changes.get(i + 1).is_some_and(|next| next.0 == *at) {
            continue;
        }
        let count = u64::try_from(level).unwrap_or(0);
        let wanted = grown(count, growth) - count;
        if wanted > now {
            running.push((*at, wanted - now));
        }
        let mut too_many = now.saturating_sub(wanted);
        while too_many > 0 {
            let Some((start_ms, count)) = running.pop() else { break };
            let ends = count.min(too_many);
            more.push(ReplicaSpan { start_ms, end_ms: *at, count: ends });
            if count > ends {
                running.push((start_ms, count - ends));
            }
            too_many -= ends;
        }
        now = wanted;
    }
    spans.extend(more);
    spans.sort_unstable();
}
