//! The memory of the largest replicas of a class as a function of their number: concave, since the
//! largest come first. Pure arithmetic in MiB.

/// A workload of a class.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member {
    /// Index into the demand.
    pub workload: usize,
    /// Memory of one replica in MiB; 0 where the type wants all memory.
    pub memory_mib: i64,
    /// Replicas.
    pub count: i64,
}

/// A concave step sum: the memory of the `n` largest replicas of a class, as runs of equal ones.
#[derive(Debug, Clone, Default)]
pub(crate) struct Curve {
    /// Each run: replicas before it, memory before it, memory of one of its replicas.
    runs: Vec<Run>,
    /// Replicas in all.
    pub count: i64,
}

/// Replicas of equal memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    /// Larger replicas that come before.
    pub before: i64,
    /// Their memory in MiB.
    pub before_mib: i64,
    /// Memory of one replica of this run, in MiB.
    pub slope_mib: i64,
}

impl Curve {
    /// The curve over members that are sorted by falling memory.
    pub(crate) fn new(members: &[Member]) -> Curve {
        let mut curve = Curve::default();
        let mut sum = 0;
        for member in members {
            if curve.runs.last().is_none_or(|r| r.slope_mib != member.memory_mib) {
                curve.runs.push(Run {
                    before: curve.count,
                    before_mib: sum,
                    slope_mib: member.memory_mib,
                });
            }
            curve.count += member.count;
            sum += member.count * member.memory_mib;
        }
        curve
    }

    /// Runs of equal memory, the largest first.
    pub(crate) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Index of the run that replica number `n` (from 1) belongs to.
    pub(crate) fn run_of(&self, n: i64) -> usize {
        self.runs.partition_point(|r| r.before < n).saturating_sub(1)
    }

    /// Memory of the `n` largest replicas, in MiB.
    pub(crate) fn at(&self, n: i64) -> i64 {
        match self.runs.get(self.run_of(n)) {
            Some(run) => run.before_mib + (n - run.before) * run.slope_mib,
            None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(members: &[(i64, i64)]) -> Curve {
        let member = |(workload, (memory_mib, count)): (usize, &(i64, i64))| Member {
            workload,
            memory_mib: *memory_mib,
            count: *count,
        };
        Curve::new(&members.iter().enumerate().map(member).collect::<Vec<_>>())
    }

    #[test]
    fn the_largest_come_first() {
        let curve = curve(&[(50, 2), (30, 1), (30, 1), (10, 3)]);
        assert_eq!(curve.count, 7);
        assert_eq!(curve.runs().len(), 3);
        let sums: Vec<i64> = (0..=7).map(|n| curve.at(n)).collect();
        assert_eq!(sums, [0, 50, 100, 130, 160, 170, 180, 190]);
        let runs: Vec<usize> = (1..=7).map(|n| curve.run_of(n)).collect();
        assert_eq!(runs, [0, 0, 1, 1, 2, 2, 2]);
    }

    #[test]
    fn every_run_is_a_tangent() {
        let curve = curve(&[(50, 2), (30, 4), (7, 3)]);
        for run in curve.runs() {
            let line = |n: i64| run.before_mib + (n - run.before) * run.slope_mib;
            assert!((0..=curve.count).all(|n| line(n) >= curve.at(n)));
            assert_eq!(line(run.before), curve.at(run.before));
        }
        assert_eq!(Curve::default().at(0), 0);
    }
}
