//! The goal of a plan: its objectives, in the order in which they are optimised.
//!
//! One table for everybody: the optimiser asks it what comes next, the checker recomputes every
//! entry, summaries and the documentation read names and meanings from it. An objective is a
//! variant of [`Objective`], and both the optimiser and the checker match on all variants, so that
//! a new one does not compile before it is formulated and checked. Knows no plan and no solver.

use std::collections::BTreeSet;

use serde_json::Number;

use super::{Share, Spare};
use crate::units::Weight;

/// Which way an objective goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sense {
    /// The greatest value is best.
    Maximise,
    /// The least value is best.
    Minimise,
}

impl Sense {
    /// What a value is multiplied by so that greater is better: 1 or -1.
    pub(crate) fn sign(self) -> i128 {
        match self {
            Sense::Maximise => 1,
            Sense::Minimise => -1,
        }
    }

    /// Whether `value` is better than `other`.
    pub(crate) fn prefers(self, value: i128, other: i128) -> bool {
        match self {
            Sense::Maximise => value > other,
            Sense::Minimise => value < other,
        }
    }

    /// The worse of two values: of two bounds that both hold, the tighter one.
    pub(crate) fn worse(self, value: i128, other: i128) -> i128 {
        if self.prefers(value, other) { other } else { value }
    }

    /// What no value is better than.
    pub(crate) fn unlimited(self) -> i128 {
        match self {
            Sense::Maximise => i128::MAX,
            Sense::Minimise => i128::MIN,
        }
    }
}

/// Where the stages end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Until {
    /// After `placed_mib`: enough to know how much of a demand is served.
    PlacedMib,
    /// After `gpus_used`: enough to know how many GPUs a demand needs.
    GpusUsed,
    /// After `rounding_mib`: enough to compare one partition of the GPUs with another.
    RoundingMib,
    /// The whole goal.
    #[default]
    Everything,
}

/// One objective of the goal. The variants stand in the order of the goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Objective {
    /// The weight of the replicas of one priority that are placed, of each workload up to its
    /// guaranteed number; before the weight of all replicas of that priority.
    GuaranteedWeight(i64),
    /// The shares of the teams in one priority, the smallest first: weight placed of the weight that
    /// the team asks for and that this fleet could serve at all. One value for each distinct share.
    TeamShare(i64),
    /// The weight of the replicas of one priority that are placed; the highest priority first.
    PlacedWeight(i64),
    /// The memory placed.
    PlacedMib,
    /// GPUs that serve a replica.
    GpusUsed,
    /// Internal fragmentation: memory of allocated instances beyond the demand in them.
    RoundingMib,
    /// Kinds of instance allocated, counted for each board.
    ProfileKinds,
    /// Compute slices of the allocated instances.
    ComputeSlices,
    /// Present instances that the plan destroys.
    InstancesDestroyed,
    /// Further replicas, in the proportions of the demand, that fit the free instances.
    SpareMix,
    /// Free instances of one memory size, in MiB; the largest size first.
    SpareOfSize(u64),
}

/// What the value of an objective counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Weight, held in millionths and written as a decimal number.
    Weight,
    /// MiB.
    Mebibytes,
    /// Millionths of a whole, rounded down.
    Millionths,
    /// Things of which `noun` is one.
    Count {
        /// One of them, such as `GPU`.
        noun: &'static str,
    },
}

/// A row of the table of objectives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Description {
    /// The name in the proof; what stands in brackets differs from stage to stage.
    pub name: &'static str,
    /// Which way it goes.
    pub sense: Sense,
    /// What its value counts.
    pub unit: Unit,
    /// What it is good for, for people.
    pub meaning: &'static str,
    /// When it is a stage of the goal.
    pub applies: &'static str,
}

/// What decides which objectives apply.
#[derive(Debug, Clone)]
pub struct Scope {
    /// The priorities of the demand that the fleet could serve at all.
    pub priorities: BTreeSet<i64>,
    /// Of those, the priorities with guaranteed replicas.
    pub guaranteed: BTreeSet<i64>,
    /// Whether the shares of the teams come before the weight of all.
    pub share: Share,
    /// Where the stages end.
    pub until: Until,
    /// Whether the present state of the GPUs is known.
    pub knows_present: bool,
    /// What becomes of free slices.
    pub spare: Spare,
    /// The memory sizes that an instance can have, in MiB.
    pub sizes_mib: BTreeSet<u64>,
}

/// The objectives that apply, in the order of the goal.
pub fn objectives(scope: &Scope) -> Vec<Objective> {
    let mut objectives = Vec::new();
    for priority in scope.priorities.iter().rev() {
        if scope.guaranteed.contains(priority) {
            objectives.push(Objective::GuaranteedWeight(*priority));
        }
        if scope.share == Share::Fair {
            objectives.push(Objective::TeamShare(*priority));
        }
        objectives.push(Objective::PlacedWeight(*priority));
    }
    objectives.push(Objective::PlacedMib);
    if scope.until >= Until::GpusUsed {
        objectives.push(Objective::GpusUsed);
    }
    if scope.until >= Until::RoundingMib {
        objectives.push(Objective::RoundingMib);
    }
    if scope.until < Until::Everything {
        return objectives;
    }
    objectives.extend([Objective::ProfileKinds, Objective::ComputeSlices]);
    if scope.knows_present {
        objectives.push(Objective::InstancesDestroyed);
    }
    match scope.spare {
        Spare::Mix => objectives.push(Objective::SpareMix),
        Spare::Largest => {
            let sizes = scope.sizes_mib.iter().rev();
            objectives.extend(sizes.map(|mib| Objective::SpareOfSize(*mib)));
        }
        Spare::None => {}
    }
    objectives
}

/// One objective of each row of the table, in the order of the goal: what documentation lists.
pub const TABLE: [Objective; 11] = [
    Objective::GuaranteedWeight(0),
    Objective::TeamShare(0),
    Objective::PlacedWeight(0),
    Objective::PlacedMib,
    Objective::GpusUsed,
    Objective::RoundingMib,
    Objective::ProfileKinds,
    Objective::ComputeSlices,
    Objective::InstancesDestroyed,
    Objective::SpareMix,
    Objective::SpareOfSize(0),
];

/// A row of the table.
fn row(
    name: &'static str,
    sense: Sense,
    unit: Unit,
    meaning: &'static str,
    applies: &'static str,
) -> Description {
    Description { name, sense, unit, meaning, applies }
}

impl Objective {
    /// The objective's row of the table.
    pub fn description(self) -> Description {
        use Sense::{Maximise, Minimise};
        use Unit::{Count, Mebibytes};
        let always = "always";
        match self {
            Objective::GuaranteedWeight(_) => row(
                "guaranteed_weight[priority=P]",
                Maximise,
                Unit::Weight,
                "the most weight placed of the replicas that the column min guarantees",
                "for each priority with a min, before its placed_weight",
            ),
            Objective::TeamShare(_) => row(
                "team_share[priority=P]",
                Maximise,
                Unit::Millionths,
                "the smallest share of a team raised, then the next smallest, and so on",
                "with --share fair, for each priority before its placed_weight",
            ),
            Objective::PlacedWeight(_) => row(
                "placed_weight[priority=P]",
                Maximise,
                Unit::Weight,
                "the most weight placed",
                "for each priority, the highest first",
            ),
            Objective::PlacedMib => {
                row("placed_mib", Maximise, Mebibytes, "the most memory placed", always)
            }
            Objective::GpusUsed => {
                row("gpus_used", Minimise, Count { noun: "GPU" }, "the fewest GPUs in use", always)
            }
            Objective::RoundingMib => row(
                "rounding_mib",
                Minimise,
                Mebibytes,
                "the least internal fragmentation: memory allocated beyond the demand",
                always,
            ),
            Objective::ProfileKinds => row(
                "profile_kinds",
                Minimise,
                Count { noun: "kind" },
                "the fewest kinds of instance, per board: resource names that teams ask for",
                always,
            ),
            Objective::ComputeSlices => row(
                "compute_slices",
                Maximise,
                Count { noun: "compute slice" },
                "the most compute slices allocated: an idle SM serves nobody",
                always,
            ),
            Objective::InstancesDestroyed => row(
                "instances_destroyed",
                Minimise,
                Count { noun: "instance" },
                "the fewest present instances destroyed",
                "where the present state is known",
            ),
            Objective::SpareMix => row(
                "spare",
                Maximise,
                Count { noun: "further replica" },
                "the most further replicas in the proportions of the demand",
                "with --spare mix",
            ),
            Objective::SpareOfSize(_) => row(
                "spare[SIZE]",
                Maximise,
                Count { noun: "free instance" },
                "the most free instances of the largest size, then of the next",
                "with --spare largest",
            ),
        }
    }

    /// Which way it goes.
    pub fn sense(self) -> Sense {
        self.description().sense
    }

    /// The name in the proof, such as `placed_weight[priority=10]`.
    pub fn name(self) -> String {
        match self {
            Objective::GuaranteedWeight(priority) => {
                format!("guaranteed_weight[priority={priority}]")
            }
            Objective::TeamShare(priority) => format!("team_share[priority={priority}]"),
            Objective::PlacedWeight(priority) => format!("placed_weight[priority={priority}]"),
            Objective::SpareOfSize(mib) => format!("spare[{mib}MiB]"),
            other => other.description().name.to_string(),
        }
    }

    /// The name in the proof of a plan for demand over time, where sums over the periods are
    /// weighted with their hours.
    pub fn name_over_time(self) -> String {
        match self {
            Objective::GuaranteedWeight(priority) => {
                format!("guaranteed_weight_hours[priority={priority}]")
            }
            Objective::PlacedWeight(priority) => {
                format!("placed_weight_hours[priority={priority}]")
            }
            Objective::PlacedMib => "placed_mib_hours".to_string(),
            Objective::RoundingMib => "rounding_mib_hours".to_string(),
            Objective::ComputeSlices => "compute_slice_hours".to_string(),
            Objective::TeamShare(_)
            | Objective::GpusUsed
            | Objective::ProfileKinds
            | Objective::InstancesDestroyed
            | Objective::SpareMix
            | Objective::SpareOfSize(_) => self.name(),
        }
    }

    /// The objective of that name; `None` where there is none.
    pub fn from_name(name: &str) -> Option<Objective> {
        let between = |prefix, suffix| name.strip_prefix(prefix)?.strip_suffix(suffix);
        let priority = |prefix| between(prefix, "]").and_then(|p| p.parse().ok());
        let guaranteed = priority("guaranteed_weight[priority=").map(Objective::GuaranteedWeight);
        let share = || priority("team_share[priority=").map(Objective::TeamShare);
        let placed = || priority("placed_weight[priority=").map(Objective::PlacedWeight);
        let size = || between("spare[", "MiB]").and_then(|mib| mib.parse().ok());
        let found = guaranteed
            .or_else(share)
            .or_else(placed)
            .or_else(|| size().map(Objective::SpareOfSize));
        let mut plain = TABLE.into_iter().filter(|o| !o.description().name.contains('['));
        // Only the spelling that `name` has: `+5` and `05` are no priorities.
        found.filter(|o| o.name() == name).or_else(|| plain.find(|o| o.description().name == name))
    }

    /// The JSON number of a value: weights are held in millionths.
    pub fn number(self, value: i128) -> Number {
        let whole = |v: i128| {
            let within = v.clamp(i64::MIN.into(), i64::MAX.into());
            Number::from(i64::try_from(within).unwrap_or_default())
        };
        let scale = i128::from(Weight::SCALE);
        match self.description().unit {
            Unit::Weight if value % scale == 0 => whole(value / scale),
            Unit::Weight => {
                Number::from_f64(value as f64 / scale as f64).unwrap_or_else(|| Number::from(0))
            }
            Unit::Mebibytes | Unit::Millionths | Unit::Count { .. } => whole(value),
        }
    }
}

/// The share of each of several groups in all replicas asked for, as whole numbers: exact in a
/// small demand, in a large one rounded up to parts of 10,000, so that a solver can tell them
/// apart. What [`Objective::SpareMix`] calls the proportions of the demand.
pub fn shares(wanted: &[u128]) -> Vec<i64> {
    const PARTS: u128 = 10_000;
    let all: u128 = wanted.iter().sum();
    let share = |w: u128| if all <= PARTS { w } else { (w * PARTS).div_ceil(all) };
    wanted.iter().map(|w| share(*w) as i64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(until: Until, spare: Spare) -> Scope {
        Scope {
            priorities: BTreeSet::from([-3, 0, 10]),
            guaranteed: BTreeSet::from([0]),
            share: Share::Weight,
            until,
            knows_present: true,
            spare,
            sizes_mib: BTreeSet::from([9_728, 19_968]),
        }
    }

    #[test]
    fn the_order_of_the_goal() {
        let names = |until, spare| -> Vec<String> {
            objectives(&scope(until, spare)).into_iter().map(Objective::name).collect()
        };
        assert_eq!(
            names(Until::Everything, Spare::Mix),
            [
                "placed_weight[priority=10]",
                "guaranteed_weight[priority=0]",
                "placed_weight[priority=0]",
                "placed_weight[priority=-3]",
                "placed_mib",
                "gpus_used",
                "rounding_mib",
                "profile_kinds",
                "compute_slices",
                "instances_destroyed",
                "spare"
            ]
        );
        assert_eq!(names(Until::PlacedMib, Spare::Mix).last().unwrap(), "placed_mib");
        assert_eq!(names(Until::GpusUsed, Spare::Mix).last().unwrap(), "gpus_used");
        assert_eq!(names(Until::RoundingMib, Spare::Mix).last().unwrap(), "rounding_mib");
        let fair = Scope { share: Share::Fair, ..scope(Until::GpusUsed, Spare::Mix) };
        let fair: Vec<String> = objectives(&fair).into_iter().map(Objective::name).collect();
        assert_eq!(
            fair[2..5],
            [
                "guaranteed_weight[priority=0]",
                "team_share[priority=0]",
                "placed_weight[priority=0]"
            ]
        );
        let largest = names(Until::Everything, Spare::Largest);
        assert_eq!(largest[10..], ["spare[19968MiB]", "spare[9728MiB]"]);
        assert_eq!(names(Until::Everything, Spare::None).last().unwrap(), "instances_destroyed");
    }

    #[test]
    fn the_table_has_every_objective_in_order() {
        let rank = |o: &Objective| {
            TABLE.iter().position(|t| std::mem::discriminant(t) == std::mem::discriminant(o))
        };
        for spare in [Spare::Mix, Spare::Largest, Spare::None] {
            // Of one priority: those of the next one begin the row anew.
            let priorities = BTreeSet::from([0]);
            let scope = Scope { priorities, ..scope(Until::Everything, spare) };
            let ranks: Vec<_> = objectives(&scope).iter().map(rank).collect();
            assert!(ranks.iter().all(Option::is_some) && ranks.is_sorted(), "{ranks:?}");
        }
    }

    #[test]
    fn a_name_leads_back_to_its_objective() {
        for objective in TABLE.into_iter().chain([
            Objective::PlacedWeight(i64::MIN),
            Objective::GuaranteedWeight(-7),
            Objective::TeamShare(3),
            Objective::PlacedWeight(7),
            Objective::SpareOfSize(9_728),
        ]) {
            assert_eq!(Objective::from_name(&objective.name()), Some(objective));
        }
        for name in
            ["", "placed", "placed_weight[priority=P]", "placed_weight[priority=+5]", "spare[SIZE]"]
        {
            assert_eq!(Objective::from_name(name), None, "{name}");
        }
    }

    #[test]
    fn weights_are_decimals_and_the_rest_is_whole() {
        assert_eq!(Objective::PlacedWeight(0).number(26_000_000).to_string(), "26");
        assert_eq!(Objective::PlacedWeight(0).number(1_500_000).to_string(), "1.5");
        assert_eq!(Objective::PlacedMib.number(26_000_000).to_string(), "26000000");
    }

    #[test]
    fn shares_of_a_large_demand_stay_small() {
        assert_eq!(shares(&[3, 7]), [3, 7]);
        // Up to 10,000 replicas exactly.
        assert_eq!(shares(&[1, 9_999]), [1, 9_999]);
        // From there on parts of 10,000, rounded up: nobody has none.
        assert_eq!(shares(&[1, 1_000_000]), [1, 10_000]);
        assert_eq!(shares(&[300_001, 0, 700_000]), [3_001, 0, 7_000]);
        assert_eq!(shares(&[]), [0; 0]);
    }
}
