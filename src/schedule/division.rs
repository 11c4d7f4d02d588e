//! Which configuration is active in which hour of the week: the divisions that a schedule is
//! searched among. Knows no GPUs and no replicas.

use std::collections::{BTreeMap, BTreeSet};

use crate::demand::hours::{DAYS, WEEK, hour_name};

/// Hours of a day.
const DAY: usize = 24;

/// Most changes on one day.
const MOST_CHANGES_A_DAY: usize = 2;

/// For each hour of the week the configuration that is active, by index. A configuration becomes
/// active at the beginning of an hour.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Division(Vec<u8>);

/// A change of configuration at the beginning of an hour of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChangeAt {
    /// The hour of the week; 0 is Monday 00:00.
    pub hour: usize,
    /// The configuration before.
    pub from: usize,
    /// The configuration from then on.
    pub to: usize,
}

impl ChangeAt {
    /// When, for people: `Mon 08:00`.
    pub fn name(&self) -> String {
        hour_name(self.hour)
    }
}

/// The days that a window is on, by number; 0 is Monday.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Days {
    All,
    Workdays,
    Weekend,
}

impl Days {
    fn range(self) -> std::ops::Range<usize> {
        match self {
            Days::All => 0..DAYS.len(),
            Days::Workdays => 0..5,
            Days::Weekend => 5..DAYS.len(),
        }
    }
}

impl Division {
    /// One configuration in all hours.
    pub fn constant() -> Division {
        Division(vec![0; WEEK])
    }

    /// The division that has these configurations in the hours of the week.
    pub fn new(active: impl Fn(usize) -> usize) -> Division {
        Division((0..WEEK).map(|hour| u8::try_from(active(hour)).unwrap_or(u8::MAX)).collect())
    }

    /// The configuration that is active in an hour of the week.
    pub fn at(&self, hour: usize) -> usize {
        self.0.get(hour % WEEK).copied().map_or(0, usize::from)
    }

    /// How many configurations.
    pub fn configurations(&self) -> usize {
        self.0.iter().collect::<BTreeSet<_>>().len()
    }

    /// The changes of a week, by hour.
    pub fn changes(&self) -> Vec<ChangeAt> {
        let change =
            |hour: usize| ChangeAt { hour, from: self.at(hour + WEEK - 1), to: self.at(hour) };
        (0..WEEK).map(change).filter(|c| c.from != c.to).collect()
    }

    /// Whether no day has more changes than a schedule may have.
    fn is_calm(&self) -> bool {
        let mut of_day: BTreeMap<usize, usize> = BTreeMap::new();
        self.changes().iter().for_each(|c| *of_day.entry(c.hour / DAY).or_default() += 1);
        of_day.values().all(|changes| *changes <= MOST_CHANGES_A_DAY)
    }

    /// The same, with the configurations numbered in the order of their first hour.
    fn in_order(self) -> Division {
        let mut numbers: BTreeMap<u8, u8> = BTreeMap::new();
        let renumbered = self.0.into_iter().map(|c| {
            let next = u8::try_from(numbers.len()).unwrap_or(u8::MAX);
            *numbers.entry(c).or_insert(next)
        });
        Division(renumbered.collect())
    }

    /// The same with another configuration in a window: on each of the days from one hour to
    /// another, into the next day where it ends no later than it begins.
    fn with_window(&self, days: Days, from: usize, to: usize, configuration: usize) -> Division {
        let mut hours = self.0.clone();
        let end = if to > from { to } else { to + DAY };
        for day in days.range() {
            for hour in day * DAY + from..day * DAY + end {
                hours[hour % WEEK] = u8::try_from(configuration).unwrap_or(u8::MAX);
            }
        }
        Division(hours)
    }

    /// Every division that a daily window of a further configuration makes of this one, on all
    /// days, from Monday to Friday, or on Saturday and Sunday, with edges at these hours of the day
    /// (0 to 24). Each once, those with the fewest changes first.
    pub(super) fn windows(&self, edges: &BTreeSet<usize>) -> Vec<Division> {
        let next = self.configurations();
        let mut found: BTreeSet<(usize, Division)> = BTreeSet::new();
        for days in [Days::All, Days::Workdays, Days::Weekend] {
            for from in edges.iter().filter(|h| **h < DAY) {
                for to in edges.iter().filter(|h| **h > 0) {
                    let division = self.with_window(days, *from, *to, next);
                    // Where all is one, the configurations only change their numbers.
                    let division = if next == 1 { division.in_order() } else { division };
                    if division.configurations() == next + 1 && division.is_calm() {
                        found.insert((division.changes().len(), division));
                    }
                }
            }
        }
        found.into_iter().map(|(_, division)| division).collect()
    }
}

/// Every hour of the day at which a window can begin or end.
pub(super) fn all_edges() -> BTreeSet<usize> {
    (0..=DAY).collect()
}

/// The edges that are enough where demand is a week whose hours have these periods. Within hours of
/// equal demand what is served is linear in the place of an edge, so the first and the last of them
/// are as good as any other.
pub(super) fn edges(periods: &[usize]) -> BTreeSet<usize> {
    let mut edges = BTreeSet::from([0, 1, DAY - 1, DAY]);
    for hour in 0..periods.len() {
        let before = (hour + periods.len() - 1) % periods.len();
        if periods[hour] != periods[before] {
            let of_day = hour % DAY;
            edges.insert(of_day);
            edges.insert(if of_day == 0 { DAY - 1 } else { of_day - 1 });
        }
    }
    edges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_of_the_workdays() {
        let day = Division::constant().with_window(Days::Workdays, 8, 19, 1);
        assert_eq!((day.at(7), day.at(8), day.at(18), day.at(19)), (0, 1, 1, 0));
        assert_eq!((day.at(5 * 24 + 10), day.configurations()), (0, 2));
        let changes = day.changes();
        assert_eq!(changes.len(), 10);
        assert_eq!((changes[0].name(), changes[0].from, changes[0].to), ("Mon 08:00".into(), 0, 1));
        let night = Division::constant().with_window(Days::Workdays, 22, 6, 1);
        assert_eq!((night.at(5), night.at(22), night.at(24 + 5)), (0, 1, 1));
        assert_eq!((night.at(5 * 24 + 5), night.at(5 * 24 + 6)), (1, 0));
        let weekend = Division::constant().with_window(Days::Weekend, 0, 24, 1);
        assert_eq!(weekend.changes().len(), 2);
    }

    #[test]
    fn every_window_is_there_once() {
        let all = Division::constant().windows(&all_edges());
        // Of 24 × 24 windows on all days 24 leave nothing, and each other one is the complement of
        // another. On the weekend the 24 of whole days are the complements of those on workdays.
        assert_eq!(all.len(), (24 * 24 - 24) / 2 + 24 * 24 + (24 * 24 - 24));
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        assert!(all.iter().all(|d| d.configurations() == 2 && d.at(0) == 0));
        assert!(all.is_sorted_by_key(|d| d.changes().len()));
        let of_three = all[0].windows(&BTreeSet::from([0, 8, 19, 24]));
        assert!(of_three.iter().all(|d| d.configurations() == 3));
    }

    #[test]
    fn edges_are_where_demand_changes() {
        let mut periods = vec![0; WEEK];
        periods[8..19].fill(1);
        let edges: Vec<usize> = edges(&periods).into_iter().collect();
        assert_eq!(edges, [0, 1, 7, 8, 18, 19, 23, 24]);
    }
}
