//! What the GPUs of a fleet are partitioned into, whoever chose it: instances by kind, whole GPUs
//! by node, and the resource name that each workload asks for.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::NameUse;
use crate::demand::Workload;
use crate::demand::over_time::OverTime;
use crate::error::{Diagnostic, Error, Result};
use crate::fleet::{Fleet, Node};
use crate::hardware::layout::{self, Counts};
use crate::hardware::{BoardRef, FULL_GPU, ProfileName};
use crate::mig_parted::assignments::Assignments;
use crate::mig_parted::fleet_check::FleetCheck;
use crate::mig_parted::{Config, NodeGpu, Resolved};
use crate::plan::file::PlanFile;
use crate::plan::over_time::{self, Names, OverTimePlan};
use crate::plan::{self, MigModePolicy, Plan, Policy, asked};
use crate::reconfigure::change::PresentGpu;

/// How to replay a file whose labels are for distinct nodes.
const NODE_BY_NODE: &str = "--assignments FILE says which node takes which (`migplan suggest --assignments` writes it), or replay the plan with --plan";

/// Instances that are alike, or the whole GPUs of a board.
#[derive(Debug, Clone)]
pub(super) struct Kind {
    /// The board.
    pub board: BoardRef,
    /// Index of the profile; `None` is the whole GPU with MIG off.
    pub profile: Option<usize>,
    /// How many there are.
    pub count: u64,
    /// Whether an instance of it is also a whole GPU to a workload that asks for one.
    pub is_whole_gpu: bool,
}

impl Kind {
    pub(super) fn memory_mib(&self) -> u64 {
        self.profile.map_or(self.board.memory.0, |p| self.board.profiles[p].memory.0)
    }

    /// What orders kinds from the smallest on.
    pub(super) fn size(&self) -> (u64, u32) {
        (self.memory_mib(), self.compute_slices())
    }

    fn compute_slices(&self) -> u32 {
        self.profile.map_or(self.board.compute_slices, |p| self.board.profiles[p].compute_slices)
    }

    pub(super) fn name(&self) -> String {
        self.profile.map_or(FULL_GPU.to_string(), |p| self.board.profiles[p].name.to_string())
    }

    /// Whether one of them suffices for a replica, or for one GPU of a replica of several.
    pub(super) fn suffices(&self, workload: &Workload) -> bool {
        let board = &self.board;
        let is_enough = || workload.memory.is_none_or(|m| m.0 <= self.memory_mib());
        workload.allows(board)
            && match (self.profile, workload.whole_gpus) {
                (Some(p), 0) => workload.suits(&board.profiles[p]),
                (Some(_), 1) => self.is_whole_gpu && workload.suits_whole(board) && is_enough(),
                (Some(_), _) => false,
                (None, gpus) => gpus > 0 && workload.suits_whole(board),
            }
    }
}

/// A configuration of all GPUs of a fleet.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// Its name in the result.
    pub name: String,
    /// Kinds, by board, the smallest first, whole GPUs last.
    pub(super) kinds: Vec<Kind>,
    /// For each node and board, the GPUs with MIG off.
    pub(super) whole: BTreeMap<(usize, String), u64>,
    /// The resource names that were chosen, by team and workload; the others get one by
    /// [`Configuration::with_names_for`].
    requests: BTreeMap<(Arc<str>, Arc<str>), String>,
    /// The rules of the site that it was planned under; none where nobody planned it.
    pub(super) planned_under: Policy,
}

impl Configuration {
    /// The configuration in which each GPU of a fleet has the layout that `counts` gives for its
    /// node, index and board: how often each profile, nothing for a GPU with MIG off.
    pub fn new(
        name: impl Into<String>,
        fleet: &Fleet,
        mut counts: impl FnMut(usize, usize, &BoardRef) -> Option<Counts>,
    ) -> Configuration {
        let mut kinds: BTreeMap<(String, usize), Kind> = BTreeMap::new();
        let mut whole = BTreeMap::new();
        for (n, node) in fleet.nodes().iter().enumerate() {
            for (g, board) in node.gpus.iter().enumerate() {
                let mut add = |profile: Option<usize>, count: u64| {
                    let at = profile.unwrap_or(board.profiles.len());
                    let kind = kinds.entry((board.id.clone(), at)).or_insert_with(|| Kind {
                        board: board.clone(),
                        profile,
                        count: 0,
                        is_whole_gpu: false,
                    });
                    kind.count += count;
                };
                match counts(n, g, board) {
                    None => {
                        add(None, 1);
                        *whole.entry((n, board.id.clone())).or_insert(0) += 1;
                    }
                    Some(counts) => {
                        let made = counts.iter().enumerate().filter(|(_, count)| **count > 0);
                        made.for_each(|(p, count)| add(Some(p), u64::from(*count)));
                    }
                }
            }
        }
        let mut kinds: Vec<Kind> = kinds.into_values().collect();
        kinds.sort_by(|a, b| {
            let key = |k: &Kind| (k.profile.is_none(), k.size());
            (&a.board.id, key(a), a.name()).cmp(&(&b.board.id, key(b), b.name()))
        });
        Configuration {
            name: name.into(),
            kinds,
            whole,
            requests: BTreeMap::new(),
            planned_under: Policy::default(),
        }
    }

    /// The same under the rules of a site: where nodes have MIG on as a whole, the instance that
    /// takes all slices is a whole GPU.
    #[must_use]
    pub fn under(mut self, policy: &Policy) -> Configuration {
        if policy.mig_mode == MigModePolicy::PerNode {
            for kind in &mut self.kinds {
                let whole = kind.board.whole_profile().map(|(profile, _)| profile);
                kind.is_whole_gpu |= kind.profile.is_some() && kind.profile == whole;
            }
        }
        self
    }

    /// Whether both have one name and the same layouts, as a preset and its copy in a file have.
    pub fn repeats(&self, other: &Configuration) -> bool {
        let kinds = |of: &Configuration| -> Vec<(String, String, u64)> {
            of.kinds.iter().map(|k| (k.board.id.clone(), k.name(), k.count)).collect()
        };
        self.name == other.name && self.whole == other.whole && kinds(self) == kinds(other)
    }

    /// The same, planned under these rules of a site.
    #[must_use]
    pub fn planned_under(mut self, policy: &Policy) -> Configuration {
        self.planned_under = *policy;
        self
    }

    /// The configuration that a plan for this fleet makes. Each workload asks for the name of the
    /// instances that most of its replicas are assigned to.
    pub fn of_plan(name: impl Into<String>, plan: &Plan, fleet: &Fleet) -> Configuration {
        let mut at = plan.gpus.iter();
        let mut configuration = Configuration::new(name, fleet, |_, _, board| {
            let gpu = at.next()?;
            gpu.mig.then(|| plan::counts(board, &gpu.instances))
        });
        let assigned = plan.gpus.iter().flat_map(|g| &g.instances).filter_map(|instance| {
            let a = instance.assignment.as_ref()?;
            let name = (instance.memory_mib, instance.profile.to_string());
            Some(((a.team.clone(), a.workload.clone()), name, 1))
        });
        configuration.choose(over_time::names(assigned));
        configuration
    }

    /// The configuration that a plan for demand over time makes. Each workload asks for the name of
    /// the instances in which most of its replica-hours are.
    pub fn of_over_time(
        name: impl Into<String>,
        plan: &OverTimePlan,
        demand: &OverTime,
        fleet: &Fleet,
    ) -> Configuration {
        let mut configuration = Configuration::of_plan(name, &plan.plan, fleet);
        let boards = fleet.boards();
        configuration.choose(plan.names(demand, |row| row.memory_mib(&boards)));
        configuration
    }

    /// The configuration that the plan of a file makes, which must be for this fleet.
    ///
    /// # Errors
    /// A plan for other GPUs (exit 3).
    pub fn of_plan_file(
        name: impl Into<String>,
        file: &PlanFile,
        fleet: &Fleet,
    ) -> Result<Configuration> {
        let boards = |fleet: &Fleet| -> Vec<(String, Vec<String>)> {
            let of = |n: &Node| n.gpus.iter().map(|b| b.id.clone()).collect();
            fleet.nodes().iter().map(|n| (n.name.clone(), of(n))).collect()
        };
        if boards(&asked::fleet(&file.plan, &file.catalogue)?) != boards(fleet) {
            let problem = "the plan is for other nodes or GPUs than those named";
            return Err(Error::input(Diagnostic::new(problem))
                .hint("name the fleet that the plan was made for, with --gpus or --fleet"));
        }
        let mut configuration = Configuration::of_plan(name, &file.plan, fleet);
        if let Some(periods) = &file.over_time {
            configuration.choose(periods.names());
        }
        let policy = file.policy.as_ref().map(|policy| policy.rules).unwrap_or_default();
        Ok(configuration.under(&policy).planned_under(&policy))
    }

    /// The configurations of a mig-parted file, or the one of `label`, each on every node. Of
    /// several those that the nodes cannot hold are passed over, with a warning for each.
    ///
    /// # Errors
    /// No such label, or none that the nodes can hold (exit 3).
    pub fn of_config(
        config: &Config,
        label: Option<&str>,
        fleet: &Fleet,
    ) -> Result<(Vec<Configuration>, Vec<Diagnostic>)> {
        let labels: Vec<&str> = match label {
            Some(label) => vec![config.select(Some(label))?],
            None => config.labels().collect(),
        };
        let (mut configurations, mut warnings) = (Vec::new(), Vec::new());
        for label in &labels {
            let nodes: Result<Vec<_>> =
                fleet.nodes().iter().map(|n| resolved(config, Some(label), n)).collect();
            match nodes {
                Ok(nodes) => configurations.push(Configuration::of_nodes(*label, &nodes, fleet)),
                Err(e) if labels.len() == 1 => return Err(e),
                Err(e) => {
                    let problem = e.problems.into_iter().next().unwrap_or_default();
                    let message = format!("'{label}' is not replayed: {}", problem.message);
                    warnings.push(Diagnostic { message, ..problem });
                }
            }
        }
        if configurations.is_empty() {
            let problem = "no configuration of the file fits all of these nodes";
            return Err(Error::input(Diagnostic::new(problem))
                .hint(format!("{NODE_BY_NODE}; `migplan check -f` says what does not fit")));
        }
        // Presets are for any node; of others a plan of several nodes has one for each kind of node.
        let planned = labels.iter().filter(|label| !label.starts_with("all-")).count();
        if fleet.nodes().len() > 1 && planned > 1 {
            let problem = "each label is replayed as if every node had it";
            warnings.push(Diagnostic::new(format!("{problem}; {NODE_BY_NODE}")));
        }
        Ok((configurations, warnings))
    }

    /// The configuration in which each node has the label of a mig-parted file that it is assigned.
    ///
    /// # Errors
    /// A node without a label, or that cannot hold it (exit 3).
    pub fn of_assignments(
        name: impl Into<String>,
        config: &Config,
        assignments: Assignments<'_>,
        fleet: &Fleet,
    ) -> Result<Configuration> {
        let assignments = assignments.without_problems()?;
        let problems = FleetCheck::of_assignments(config, &assignments, fleet).problems;
        if !problems.is_empty() {
            return Err(Error::inputs(problems)
                .hint("`migplan check -f FILE --assignments FILE` checks them"));
        }
        let label = |node: &Node| assignments.labels.get(node.name.as_str()).copied();
        let nodes = fleet.nodes().iter().map(|node| resolved(config, label(node), node));
        Ok(Configuration::of_nodes(name, &nodes.collect::<Result<Vec<_>>>()?, fleet))
    }

    /// The configuration in which each node has what is resolved for it.
    fn of_nodes(name: impl Into<String>, nodes: &[Resolved], fleet: &Fleet) -> Configuration {
        Configuration::new(name, fleet, |n, gpu, _| {
            let index = fleet.nodes()[n].index(gpu);
            let wanted = nodes[n].gpus.iter().find(|w| w.gpu == index)?;
            wanted.mig.then(|| wanted.counts())
        })
    }

    /// What the GPUs of a fleet of one node hold now: `present`, in the order of their indices.
    pub fn of_present(present: &[PresentGpu], fleet: &Fleet) -> Configuration {
        Configuration::new("present", fleet, |_, gpu, board| {
            let held = &present.get(gpu)?.instances;
            if held.is_empty() {
                return None;
            }
            let mut counts = vec![0; board.profiles.len()];
            held.iter().for_each(|i| counts[i.placement.profile] += 1);
            Some(counts)
        })
    }

    /// A mig-parted preset: as many instances of one profile on each GPU as it takes; a GPU that
    /// does not have the profile stays whole.
    fn preset(profile: &ProfileName, fleet: &Fleet) -> Configuration {
        let name = format!("all-{}", profile.label());
        Configuration::new(name, fleet, |_, _, board| {
            let counts = layout::uniform_counts(board, profile);
            counts.iter().any(|c| *c > 0).then_some(counts)
        })
    }

    /// mig-parted's `all-balanced`.
    fn balanced(fleet: &Fleet) -> Configuration {
        Configuration::new("all-balanced", fleet, |_, _, board| {
            let counts = layout::balanced_counts(board);
            counts.iter().any(|c| *c > 0).then_some(counts)
        })
    }

    /// Every preset of the fleet's boards, `all-balanced` last.
    pub fn presets(fleet: &Fleet) -> Vec<Configuration> {
        let boards = fleet.boards();
        let mut names: Vec<&ProfileName> = Vec::new();
        for profile in boards.iter().flat_map(|b| &b.profiles).filter(|p| p.name.is_plain()) {
            if !names.contains(&&profile.name) {
                names.push(&profile.name);
            }
        }
        names.sort();
        let mut presets: Vec<Configuration> =
            names.into_iter().map(|name| Configuration::preset(name, fleet)).collect();
        presets.push(Configuration::balanced(fleet));
        presets
    }

    /// Sets the names that workloads ask for: of each the one that most replica-hours go to, of
    /// several the smallest.
    fn choose(&mut self, names: Names) {
        for (workload, of) in names {
            let most = of.into_iter().rev().max_by_key(|(_, hours)| *hours);
            if let Some(((_, name), _)) = most {
                self.requests.insert(workload, name);
            }
        }
    }

    /// The resource name that the pods of a workload ask for: the one that was chosen. `None` where
    /// none was, or where no instance of that name suffices.
    pub fn request(&self, workload: &Workload) -> Option<&str> {
        let name = self.requests.get(&(workload.team.clone(), workload.name.clone()))?;
        let suits = |kind: &Kind| kind.suffices(workload) && kind.name() == *name;
        self.kinds.iter().any(suits).then_some(name)
    }

    /// Sets the name that a workload asks for.
    pub(super) fn give(&mut self, workload: &Workload, name: String) {
        self.requests.insert((workload.team.clone(), workload.name.clone()), name);
    }

    /// Instances by resource name, the largest first; whole GPUs last.
    pub(super) fn supply_by_name(&self) -> Vec<NameUse> {
        let mut kinds: Vec<&Kind> = self.kinds.iter().collect();
        kinds.sort_by_key(|k| (k.profile.is_none(), std::cmp::Reverse(k.memory_mib())));
        let mut names: Vec<NameUse> = Vec::new();
        for kind in kinds {
            match names.iter_mut().find(|n| n.name == kind.name()) {
                Some(name) => name.supply += kind.count,
                None => names.push(NameUse {
                    name: kind.name(),
                    supply: kind.count,
                    demand: Vec::new(),
                }),
            }
        }
        names
    }
}

/// What a label of a file asks of the GPUs of a node.
fn resolved(config: &Config, label: Option<&str>, node: &Node) -> Result<Resolved> {
    config.resolve_node(label, &NodeGpu::of_fleet(node))
}
