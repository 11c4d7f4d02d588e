//! The plan: a layout for every GPU, which replica is assigned to which instance, what is unplaced
//! and why, and the proof.
//!
//! These types are the plan JSON of the contract (`migplan.plan/v1`): keys may be added, never
//! renamed. A plan is a value; how it was found is not its business.

mod allocated;
pub mod asked;
pub mod check;
pub mod exceeded;
pub mod file;
pub mod goal;
pub mod mode_resets;
pub mod over_time;
pub mod quotas;
pub mod teams;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::demand::quota::Quotas;
use crate::demand::{Demand, Workload};
use crate::fleet::{Fleet, LeftOut, Node, WhyLeftOut};
use crate::hardware::layout::Counts;
use crate::hardware::{Board, ProfileName};

pub use allocated::Allocated;
pub use check::Checked;

/// Schema key of a plan.
pub const PLAN_SCHEMA: &str = "migplan.plan/v1";

/// What every GPU becomes and which replica is assigned to which instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Plan {
    /// Always [`PLAN_SCHEMA`].
    pub schema: String,
    /// One entry for each GPU of the fleet, ordered by node and index.
    pub gpus: Vec<GpuPlan>,
    /// GPUs of its nodes that cannot be planned for, ordered by node and index. Known where the node
    /// itself was asked; their indices are not those of others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOutGpu>,
    /// Workloads of which some replicas are unplaced, ordered by priority, team and name.
    pub unplaced: Vec<Unplaced>,
    /// Sums over the plan.
    pub totals: Totals,
    /// What was proved, stage by stage.
    pub proof: Proof,
}

impl Plan {
    /// For each workload of `demand`, how many of its replicas are unplaced.
    pub fn unplaced_of(&self, demand: &Demand) -> Vec<u64> {
        let mut rows: Vec<&Unplaced> = self.unplaced.iter().collect();
        // Within a priority they are in this order, which is that of the demand.
        rows.sort_by(|a, b| (&a.team, &a.workload).cmp(&(&b.team, &b.workload)));
        let mut rows = rows.into_iter().peekable();
        let unplaced = |workload: &Workload| {
            let at = |row: &Unplaced| {
                row.team.cmp(&workload.team).then_with(|| row.workload.cmp(&workload.name))
            };
            let mut replicas = 0u64;
            while let Some(row) = rows.next_if(|row| at(row).is_le()) {
                if at(row).is_eq() {
                    replicas = replicas.saturating_add(row.replicas);
                }
            }
            replicas
        };
        demand.workloads().iter().map(unplaced).collect()
    }
}

/// Rules of a site that a plan keeps beside the silicon's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Policy {
    /// How many profiles a node may have.
    pub strategy: Strategy,
    /// Whether a node's GPUs may differ in MIG mode.
    pub mig_mode: MigModePolicy,
    /// GPUs of each node that stay whole, MIG off.
    pub keep_whole: u32,
    /// Whether all replicas of a workload must be assigned to instances of one profile, as a pod
    /// template that asks for one resource needs.
    pub one_profile_per_workload: bool,
}

impl Policy {
    /// Whether the GPUs of a node agree on MIG: all of them have it on, or none.
    pub fn nodes_agree_on_mig(&self) -> bool {
        self.mig_mode == MigModePolicy::PerNode || self.strategy == Strategy::Single
    }

    /// Whether a replica of so many whole GPUs may have the instance that takes all of one instead:
    /// on a node whose GPUs all have MIG on there is no other.
    pub fn gives_instance_for(&self, whole_gpus: u32) -> bool {
        whole_gpus == 1 && self.mig_mode == MigModePolicy::PerNode
    }

    /// The flags that give these rules, without those that are the default.
    pub fn flags(&self) -> Vec<String> {
        let single = (self.strategy == Strategy::Single).then(|| "--strategy single".to_string());
        let per_node = self.mig_mode == MigModePolicy::PerNode;
        let per_node = per_node.then(|| "--mig-mode per-node".to_string());
        let kept = (self.keep_whole > 0).then(|| format!("--keep-whole {}", self.keep_whole));
        let one = self.one_profile_per_workload.then(|| "--one-profile-per-workload".to_string());
        [single, per_node, kept, one].into_iter().flatten().collect()
    }

    /// The rules for GPUs alone, which a preset breaks. One profile for a workload is a rule for
    /// demand, and holds whatever the layouts.
    #[must_use]
    pub fn of_gpus(&self) -> Policy {
        Policy { one_profile_per_workload: false, ..*self }
    }

    /// The flags of the rules for GPUs; empty where there are none.
    pub fn flags_of_gpus(&self) -> String {
        self.of_gpus().flags().join(" ")
    }
}

/// The rules that a plan was made with, as its file keeps them for those who use it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RecordedPolicy {
    /// Rules of the site.
    #[serde(flatten)]
    pub rules: Policy,
    /// What became of free slices.
    pub spare: Spare,
    /// Who came first among the replicas of one priority.
    #[serde(default, skip_serializing_if = "is_by_weight")]
    pub share: Share,
    /// The most that teams could be allocated.
    #[serde(default, skip_serializing_if = "Quotas::is_empty")]
    pub quota: Quotas,
}

fn is_by_weight(share: &Share) -> bool {
    *share == Share::Weight
}

/// The device plugin's `MIG_STRATEGY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Any profiles side by side; a resource name for each, such as nvidia.com/mig-1g.10gb.
    #[default]
    Mixed,
    /// All GPUs of a node have instances of one profile, or none has; every one is nvidia.com/gpu.
    Single,
}

impl Strategy {
    /// The strategy as the device plugin spells it.
    pub fn name(self) -> &'static str {
        match self {
            Strategy::Mixed => "mixed",
            Strategy::Single => "single",
        }
    }
}

/// Which MIG modes may be side by side on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum MigModePolicy {
    /// Each GPU has its own.
    #[default]
    PerGpu,
    /// All GPUs of a node or none; a whole GPU is then one instance of the largest profile.
    PerNode,
}

/// What becomes of the slices that the demand leaves free on GPUs in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Spare {
    /// As many further replicas in the demand's own proportions as fit.
    #[default]
    Mix,
    /// The largest instances that fit.
    Largest,
    /// No free instances.
    None,
}

/// Who comes first among the replicas of one priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Share {
    /// The most weight, whichever teams it is of.
    #[default]
    Weight,
    /// The team with the smallest share: weight placed of the weight that it asks for.
    Fair,
}

/// One GPU of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GpuPlan {
    /// Its node.
    pub node: Arc<str>,
    /// Its index on the node.
    pub gpu: u32,
    /// Its board's id.
    pub board: Arc<str>,
    /// Whether MIG is on.
    pub mig: bool,
    /// Whether something runs on it now with MIG off, so that it stays whole.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stays_whole: bool,
    /// Its instances, ordered by start. With MIG off at most one, the whole GPU.
    pub instances: Vec<Instance>,
}

/// A GPU of a node of the plan that cannot be planned for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LeftOutGpu {
    /// Its node.
    pub node: Arc<str>,
    /// Its index on the node.
    pub gpu: u32,
    /// Why.
    pub reason: WhyLeftOut,
}

impl LeftOutGpu {
    /// Those of a fleet.
    pub fn of_fleet(fleet: &Fleet) -> Vec<LeftOutGpu> {
        let of_node = |node: &'_ Node| -> Vec<LeftOutGpu> {
            let of = |LeftOut { gpu, reason }: &LeftOut| LeftOutGpu {
                node: node.name.as_str().into(),
                gpu: *gpu,
                reason: *reason,
            };
            node.left_out.iter().map(of).collect()
        };
        fleet.nodes().iter().flat_map(of_node).collect()
    }
}

/// One instance of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "file::InstanceFile")]
pub struct Instance {
    /// Which profile.
    pub profile: InstanceProfile,
    /// First memory slice.
    pub start: u32,
    /// Memory slices.
    pub size: u32,
    /// Usable memory in MiB.
    pub memory_mib: u64,
    /// The replica that it is assigned to; none in a free instance.
    #[serde(flatten)]
    pub assignment: Option<Assignment>,
}

/// How often each profile of `board` is among these instances; a whole GPU with MIG off has none.
pub fn counts<'i>(board: &Board, instances: impl IntoIterator<Item = &'i Instance>) -> Counts {
    let mut counts = vec![0; board.profiles.len()];
    for instance in instances {
        if let InstanceProfile::Mig(name) = &instance.profile
            && let Some((profile, _)) = board.profile(name)
        {
            counts[profile] += 1;
        }
    }
    counts
}

/// The replica that an instance is assigned to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Assignment {
    /// The team.
    pub team: Arc<str>,
    /// The workload.
    pub workload: Arc<str>,
    /// Which of its replicas, from 1.
    pub replica: u64,
    /// What the replica needs here in MiB; of several whole GPUs, this GPU's share.
    pub demand_mib: u64,
}

/// The profile of an instance, or a GPU that is allocated whole with MIG off.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InstanceProfile {
    /// A MIG profile.
    Mig(ProfileName),
    /// The whole GPU, MIG off; `full` in JSON.
    Full,
}

impl std::fmt::Display for InstanceProfile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            InstanceProfile::Mig(name) => name.fmt(f),
            InstanceProfile::Full => f.write_str(crate::hardware::FULL_GPU),
        }
    }
}

impl Serialize for InstanceProfile {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for InstanceProfile {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == crate::hardware::FULL_GPU {
            return Ok(InstanceProfile::Full);
        }
        text.parse().map(InstanceProfile::Mig).map_err(serde::de::Error::custom)
    }
}

/// Replicas of a workload that are unplaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Unplaced {
    /// The team.
    pub team: Arc<str>,
    /// The workload.
    pub workload: Arc<str>,
    /// How many of its replicas.
    pub replicas: u64,
    /// Why.
    pub reason: Reason,
    /// Why, in a sentence with numbers.
    pub detail: String,
    /// The cheapest thing that would help, where one is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub help: Option<String>,
}

/// Why replicas are unplaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// No instance that its boards can make is large enough.
    TooLarge,
    /// The fleet has none of the boards that it may run on.
    NoBoard,
    /// What comes first leaves no GPU for it.
    FleetFull,
    /// No node has so many whole GPUs of one board.
    NeedsWholeGpus,
}

/// Sums over a plan. `idle_mib` = `fleet_mib` − `placed_mib` = `rounding_mib` + `spare_mib` +
/// `unusable_mib`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Totals {
    /// Replicas asked for.
    pub replicas: u64,
    /// Replicas placed.
    pub placed: u64,
    /// Memory asked for. A workload of whole GPUs that names no memory counts what it got, and
    /// where it got nothing, the least that its GPUs here would have.
    pub demand_mib: u64,
    /// Memory asked for by the replicas placed.
    pub placed_mib: u64,
    /// Whole memory of all GPUs.
    pub fleet_mib: u64,
    /// Memory of the fleet that serves no replica.
    pub idle_mib: u64,
    /// Of that: internal fragmentation, in allocated instances beyond the demand.
    pub rounding_mib: u64,
    /// Of that: in free instances and whole GPUs.
    pub spare_mib: u64,
    /// Of that: the rest, which no instance offers.
    pub unusable_mib: u64,
    /// GPUs of the fleet.
    pub gpus: u64,
    /// GPUs that serve a replica.
    pub gpus_used: u64,
}

/// What was proved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Proof {
    /// Whether every stage was proved.
    pub status: Status,
    /// The stages in order.
    pub stages: Vec<Stage>,
    /// Wall-clock seconds of solving; with the stages' seconds all that differs between equal runs.
    pub solve_seconds: f64,
}

impl Proof {
    /// Whether it is proved that no plan serves more: more of a priority, or then more memory. What
    /// comes after that in the goal may be unproved.
    pub fn serves_most(&self) -> bool {
        let serves = |stage: &&Stage| {
            ["guaranteed_weight", "placed_weight", "placed_mib"]
                .iter()
                .any(|name| stage.objective.starts_with(name))
        };
        self.stages.iter().filter(serves).all(|stage| stage.value == stage.bound)
    }
}

/// Whether a plan is proved to be the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Every stage's bound equals its value.
    Optimal,
    /// The time limit ended the search of a stage, which has a gap; the stages after it are the
    /// best beside what it reached.
    TimeLimit,
    /// Someone ended the search before it was done; as with the time limit.
    Interrupted,
    /// The solver's arithmetic left a gap in a stage that no other way of asking it has closed.
    SolverGap,
}

impl Status {
    /// The status of two searches together: the first that is not proved says why.
    pub fn and(self, other: Status) -> Status {
        if self == Status::Optimal { other } else { self }
    }
}

/// One stage of the goal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Stage {
    /// Its name, such as `placed_mib`.
    pub objective: String,
    /// What the plan reaches.
    pub value: serde_json::Number,
    /// What no plan can pass.
    pub bound: serde_json::Number,
    /// Wall-clock seconds; 0 where a file does not say.
    #[serde(default)]
    pub seconds: f64,
    /// What it took; not in files.
    #[serde(skip)]
    pub effort: Effort,
}

/// What a stage took to solve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effort {
    /// Calls of the solver for integers.
    pub solves: u64,
    /// Linear relaxations solved.
    pub relaxations: u64,
    /// Simplex iterations of the integer programs.
    pub iterations: u64,
    /// Rows of the integer program.
    pub rows: u64,
    /// Of those, tangents of the memory that classes of replicas are served.
    pub tangents: u64,
}

impl Proof {
    /// The same proof without what differs between equal runs: how long it took.
    #[must_use]
    pub fn without_times(mut self) -> Proof {
        self.solve_seconds = 0.0;
        self.stages.iter_mut().for_each(|stage| stage.seconds = 0.0);
        self
    }
}

impl Stage {
    /// Whether the stage is proved.
    pub fn proved(&self) -> bool {
        self.value == self.bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Mebibytes;

    #[test]
    fn unplaced_replicas_are_found_by_team_and_name_whatever_their_priority() {
        let row = |team: &str, workload: &str, replicas| Unplaced {
            team: team.into(),
            workload: workload.into(),
            replicas,
            reason: Reason::FleetFull,
            detail: String::new(),
            help: None,
        };
        let plan = Plan {
            schema: PLAN_SCHEMA.to_string(),
            gpus: Vec::new(),
            left_out: Vec::new(),
            unplaced: vec![
                row("b", "y", 7),
                row("a", "x", 2),
                row("a", "x", 1),
                row("b", "gone", 9),
                row("c", "z", 4),
            ],
            totals: Totals::default(),
            proof: Proof { status: Status::Optimal, stages: Vec::new(), solve_seconds: 0.0 },
        };
        let workload = |team, name| Workload::new(team, name, Mebibytes(1), 10);
        let demand = Demand::new(vec![
            workload("a", "w"),
            workload("a", "x"),
            workload("b", "y"),
            workload("b", "z"),
        ]);
        assert_eq!(plan.unplaced_of(&demand), [0, 3, 7, 0]);
    }
}
