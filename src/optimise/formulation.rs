//! The integer program of a [`Problem`]: the constraints put together, and the sum that each
//! objective of the goal optimises.
//!
//! What a column means is the business of the file in `constraints` that adds it. Knows no solver.

use super::constraints::assignment::Assignment;
use super::constraints::kinds_in_use::{KindRange, KindsInUse};
use super::constraints::memory::ServedMemory;
use super::constraints::node_flow::NodeFlows;
use super::constraints::node_mode::NodeModes;
use super::constraints::patterns::Patterns;
use super::constraints::present::PresentGroups;
use super::constraints::single_profile::SingleProfile;
use super::constraints::spare::{self, FurtherReplicas, MostAllocated};
use super::constraints::team_shares::TeamShares;
use super::constraints::{gpus, one_name, quota};
use super::model::{LinearObjective, Model, Terms, merge};
use super::problem::{DemandClass, Problem};
use crate::plan::goal::{Objective, Sense};

/// The model of a problem with the meaning of its columns.
#[derive(Debug, Clone)]
pub(crate) struct Formulation {
    /// The program.
    pub model: Model,
    /// GPUs of each pattern.
    pub patterns: Patterns,
    /// Replicas in each kind, and served.
    pub assignment: Assignment,
    /// Nodes with MIG on.
    pub modes: NodeModes,
    /// Replicas of several GPUs on the nodes.
    pub flows: NodeFlows,
    /// Nodes of each profile.
    pub single_profile: SingleProfile,
    /// GPUs of each present state.
    pub present: PresentGroups,
    /// The weight that each team is served, where shares count.
    pub shares: TeamShares,
    /// How many replicas each kind may have, as far as that is known.
    pub kind_ranges: Vec<KindRange>,
    kinds_in_use: KindsInUse,
    memory: ServedMemory,
    further: FurtherReplicas,
    most_allocated: MostAllocated,
}

impl Formulation {
    /// Formulates a problem without any stage.
    pub(crate) fn new(problem: &Problem) -> Formulation {
        let mut model = Model::default();
        let mut patterns = Patterns::add(&mut model, problem);
        let assignment = Assignment::add(&mut model, problem);
        assignment.balance(&mut model, problem);
        for kind in 0..problem.kinds.len() {
            PresentGroups::nothing_spare(&mut model, problem, kind, &patterns, &assignment);
            patterns.supply(&mut model, problem, kind, &assignment);
            patterns.outlive(&mut model, problem, kind, &assignment);
        }
        let modes = NodeModes::add(&mut model, problem);
        let mut flows = NodeFlows::default();
        let mut present = PresentGroups::default();
        for pool in 0..problem.pools.len() {
            let whole = assignment.whole_by_size(problem, pool);
            flows.add_pool(&mut model, problem, &modes, &whole);
            present.add_pool(&mut model, problem, pool, &patterns, &whole);
            // Where nodes have no flow, the sizes of replicas of whole GPUs simply add up.
            let single: Terms = whole
                .iter()
                .filter(|(size, _)| problem.knows_present || **size == 1)
                .flat_map(|(size, columns)| columns.iter().map(|c| (*c, *size as i64)))
                .collect();
            let partitioned = &patterns.gpus[pool];
            gpus::add(&mut model, problem, pool, partitioned, single, &modes, &flows);
        }
        let single_profile = SingleProfile::add(&mut model, problem, &modes, &patterns);
        one_name::add(&mut model, problem, &assignment);
        quota::add(&mut model, problem, &assignment);
        let memory = ServedMemory::add(&mut model, problem, &assignment.served);
        let kind_ranges = KindRange::all(&model, problem, &assignment);
        let mut formulation = Formulation {
            model,
            patterns,
            assignment,
            modes,
            flows,
            single_profile,
            present,
            shares: TeamShares::default(),
            kind_ranges,
            kinds_in_use: KindsInUse::default(),
            memory,
            further: FurtherReplicas::default(),
            most_allocated: MostAllocated::default(),
        };
        if let Some(most) = problem.most_gpus {
            let used = formulation.gpus_used(problem);
            formulation.model.at_most(used, most);
        }
        formulation
    }

    /// Whether an objective needs columns that [`Formulation::prepare`] adds.
    pub(crate) fn needs_more(&self, objective: Objective) -> bool {
        !matches!(objective, Objective::PlacedWeight(_) | Objective::PlacedMib)
    }

    /// Adds what only one objective needs, and returns the values of the new columns in the
    /// solution `values`.
    pub(crate) fn prepare(
        &mut self,
        problem: &Problem,
        objective: Objective,
        values: &[i64],
    ) -> Vec<i64> {
        match objective {
            Objective::TeamShare(priority) => {
                let (model, served) = (&mut self.model, &self.assignment.served);
                self.shares.add(model, problem, served, priority, values)
            }
            Objective::ProfileKinds => {
                let (switches, used) = KindsInUse::add(&mut self.model, &self.kind_ranges, values);
                self.kinds_in_use = switches;
                used
            }
            Objective::SpareMix => {
                self.further = FurtherReplicas::add(&mut self.model, problem, &self.patterns);
                vec![0; self.further.columns().len()]
            }
            Objective::SpareOfSize(_) => {
                let (model, assignment) = (&mut self.model, &self.assignment);
                self.most_allocated.add(model, problem, assignment, values)
            }
            _ => Vec::new(),
        }
    }

    /// The sum that an objective optimises; its value may differ by a constant.
    pub(crate) fn objective(&self, problem: &Problem, objective: Objective) -> LinearObjective {
        let terms = match objective {
            Objective::GuaranteedWeight(priority) => self.guaranteed_weight(problem, priority),
            // Shares are raised one after the other; together they are the weight.
            Objective::TeamShare(priority) | Objective::PlacedWeight(priority) => {
                self.placed_weight(problem, priority)
            }
            Objective::PlacedMib => self.placed_mib(problem),
            Objective::GpusUsed => self.gpus_used(problem),
            Objective::RoundingMib => self.allocated_mib(problem),
            Objective::ProfileKinds => self.kinds_in_use.terms(),
            Objective::ComputeSlices => {
                self.assignment.allocated(problem, |k| problem.kinds[k].compute_slices)
            }
            Objective::InstancesDestroyed => self.destroyed(problem).0,
            Objective::SpareMix => self.further.terms(),
            Objective::SpareOfSize(mib) => {
                let size = i64::try_from(mib).unwrap_or(i64::MAX);
                let (patterns, most) = (&self.patterns, &self.most_allocated);
                spare::free_of_size(problem, patterns, &self.assignment, most, size)
            }
        };
        LinearObjective { sense: objective.sense(), terms }
    }

    /// Present instances that are destroyed: a sum, and what must be added to it.
    pub(crate) fn destroyed(&self, problem: &Problem) -> (Terms, i64) {
        let (terms, constant) = self.present.destroyed(problem, &self.patterns, &self.modes);
        (merge(terms), constant)
    }

    /// The weight of the replicas of a priority that are served, in millionths, times their hours.
    pub(crate) fn placed_weight(&self, problem: &Problem, priority: i64) -> Terms {
        self.weight(problem, |class| class.priority == priority)
    }

    /// The same of the guaranteed replicas alone.
    pub(crate) fn guaranteed_weight(&self, problem: &Problem, priority: i64) -> Terms {
        self.weight(problem, |class| class.priority == priority && class.guaranteed)
    }

    /// The weight of the replicas served of some classes, in millionths, times their hours.
    fn weight(&self, problem: &Problem, of: impl Fn(&DemandClass) -> bool) -> Terms {
        let classes = problem.classes.iter().zip(&self.assignment.served);
        let weight = |class| problem.hours_of(class) * class.weight;
        classes.filter(|(c, _)| of(c)).map(|(class, column)| (*column, weight(class))).collect()
    }

    /// The number of replicas served, whatever their priority.
    pub(crate) fn placed(&self) -> LinearObjective {
        let terms = self.assignment.served.iter().map(|c| (*c, 1)).collect();
        LinearObjective { sense: Sense::Maximise, terms }
    }

    /// The memory served, in MiB.
    pub(crate) fn placed_mib(&self, problem: &Problem) -> Terms {
        let mut terms = self.memory.terms(problem, &self.assignment.served);
        // A replica that wants all memory of its GPUs is worth what the board that it gets has.
        let all_memory = problem.item_types.iter().zip(&self.assignment.assigned);
        for (item_type, columns) in all_memory.filter(|(t, _)| t.all_memory) {
            for (k, column) in item_type.kinds.iter().zip(columns) {
                let gpus = i64::from(item_type.whole_gpus) * problem.hours[item_type.period];
                terms.push((*column, gpus * problem.kinds[*k].memory_mib));
            }
        }
        terms
    }

    /// GPUs in use.
    pub(crate) fn gpus_used(&self, problem: &Problem) -> Terms {
        let mut terms: Terms = self.patterns.gpus.iter().flatten().map(|c| (*c, 1)).collect();
        for pool in 0..problem.pools.len() {
            terms.extend(self.assignment.whole_gpus(problem, pool));
        }
        terms
    }

    /// GPUs of one pool in use.
    pub(crate) fn gpus_of_pool(&self, problem: &Problem, pool: usize) -> Terms {
        let mut terms: Terms = self.patterns.gpus[pool].iter().map(|c| (*c, 1)).collect();
        terms.extend(self.assignment.whole_gpus(problem, pool));
        terms
    }

    /// The steps by which more GPUs of a pool get a pattern: how many GPUs, and the columns. Where
    /// the GPUs of a node agree, also that MIG goes on for a node of each type.
    pub(crate) fn steps_of_pattern(
        &self,
        problem: &Problem,
        pool: usize,
        pattern: usize,
    ) -> Vec<(i64, Terms)> {
        let column = self.patterns.gpus[pool][pattern];
        let mut steps = vec![(1, vec![(column, 1)])];
        for (t, node_type) in problem.node_types.iter().enumerate() {
            let gpus = node_type.partitionable(pool) as i64;
            let Some(on) = self.modes.column(t).filter(|_| gpus > 0) else { continue };
            let mut step = vec![(column, gpus), (on, 1)];
            step.extend(self.single_profile.column(t, pool, pattern).map(|nodes| (nodes, 1)));
            steps.push((gpus, step));
        }
        steps
    }

    /// Memory of the allocated instances.
    pub(crate) fn allocated_mib(&self, problem: &Problem) -> Terms {
        self.assignment.allocated(problem, |k| problem.kinds[k].memory_mib)
    }

    /// Memory of all instances made, allocated or free.
    pub(crate) fn made_mib(&self, problem: &Problem) -> LinearObjective {
        let terms = spare::made_mib(problem, &self.patterns);
        LinearObjective { sense: Sense::Maximise, terms }
    }

    /// Leaves every replica and further replica of a solution in the kinds in which it is; what the
    /// instances and patterns are is still open.
    pub(crate) fn fix_replicas(&mut self, values: &[i64]) {
        let assigned = self.assignment.assigned.iter().flatten();
        let columns = assigned.chain(&self.assignment.served).chain(self.further.columns());
        let fixed: Vec<_> = columns.map(|c| (*c, values[*c], values[*c])).collect();
        self.model.narrow(fixed);
    }

    /// Where a solution promises more memory than its replicas need, adds the rows that forbid it,
    /// and returns whether there were any.
    pub(crate) fn tighten(&mut self, problem: &Problem, values: &[i64]) -> bool {
        self.memory.tighten(&mut self.model, problem, &self.assignment.served, values)
    }

    /// As [`Formulation::tighten`] for a solution of the relaxation, in thousandths.
    pub(crate) fn tighten_relaxed(&mut self, problem: &Problem, thousandths: &[i64]) -> bool {
        let served = &self.assignment.served;
        self.memory.tighten_relaxed(&mut self.model, problem, served, thousandths)
    }

    /// Adds tangents beside those that a solution of the relaxation, in thousandths, lies on: an
    /// integer solution is near.
    pub(crate) fn surround(&mut self, problem: &Problem, thousandths: &[i64]) {
        let served = &self.assignment.served;
        self.memory.surround(&mut self.model, problem, served, thousandths);
    }

    /// Lets no kind take more replicas of a type than may be served at all.
    pub(crate) fn narrow_assigned(&mut self, problem: &Problem) {
        self.assignment.narrow(&mut self.model, problem);
    }

    /// No solution has fewer replicas in a kind than `limit`, or, with [`Sense::Maximise`], more.
    pub(crate) fn limit_kind(&mut self, kind: usize, sense: Sense, limit: i64) {
        let range = &mut self.kind_ranges[kind];
        match sense {
            Sense::Minimise => range.least = range.least.max(limit),
            Sense::Maximise => range.most = range.most.min(limit),
        }
        for column in &range.replicas {
            let upper = &mut self.model.columns[*column].upper;
            *upper = range.most.min(*upper);
        }
    }

    /// Tangents that the memory of the classes has so far.
    pub(crate) fn tangents(&self) -> usize {
        self.memory.tangents()
    }

    /// Counts replicas that are served beyond the `min` of workloads as guaranteed ones, while their
    /// likes are not all served: the same replicas in the same instances. Only a search that ended
    /// early leaves such.
    pub(crate) fn guarantee_first(&self, problem: &Problem, values: &mut [i64]) {
        let served = &self.assignment.served;
        for (rest, class) in problem.classes.iter().enumerate().filter(|(_, c)| !c.guaranteed) {
            let is_like = |of: &DemandClass| {
                of.guaranteed
                    && (of.item_type, of.priority, of.weight, of.team)
                        == (class.item_type, class.priority, class.weight, class.team)
            };
            let Some(first) = problem.classes.iter().position(is_like) else { continue };
            let room = self.model.columns[served[first]].upper - values[served[first]];
            let moved = room.min(values[served[rest]]).max(0);
            values[served[first]] += moved;
            values[served[rest]] -= moved;
        }
        self.settle(problem, values);
    }

    /// Sets the memory of a solution to what its replicas need, the weight of the teams to what
    /// theirs weigh, and the kinds in use to those that have replicas.
    pub(crate) fn settle(&self, problem: &Problem, values: &mut [i64]) {
        self.shares.settle(values);
        self.kinds_in_use.settle(values);
        self.memory.settle(problem, &self.assignment.served, values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demand::{Demand, Workload};
    use crate::fleet::{Fleet, Node};
    use crate::hardware::Catalogue;
    use crate::optimise::PlanOptions;
    use crate::units::Mebibytes;

    #[test]
    fn what_is_served_counts_as_guaranteed_first() {
        let mut workload = Workload::new("t", "w", Mebibytes(9_000), 5);
        workload.min = 3;
        let other = Workload::new("t", "other", Mebibytes(30_000), 2);
        let demand = Demand::new(vec![other, workload]);
        let board = Catalogue::built_in().by_id("a100-sxm4-80gb").unwrap().clone();
        let fleet = Fleet::new(vec![Node::new("n", vec![board])]);
        let problem = Problem::new(&demand, &fleet, &PlanOptions::default());
        let formulation = Formulation::new(&problem);
        let of = |memory_mib: i64, guaranteed: bool| {
            let is = |c: &DemandClass| {
                c.guaranteed == guaranteed && c.members.iter().all(|m| m.memory_mib == memory_mib)
            };
            formulation.assignment.served[problem.classes.iter().position(is).unwrap()]
        };
        let (first, rest, other) = (of(9_000, true), of(9_000, false), of(30_000, false));
        for (served, expected) in [([1, 1], [2, 0]), ([2, 2], [3, 1]), ([3, 0], [3, 0])] {
            let mut values = vec![0; formulation.model.columns.len()];
            (values[first], values[rest], values[other]) = (served[0], served[1], 1);
            formulation.guarantee_first(&problem, &mut values);
            assert_eq!(([values[first], values[rest]], values[other]), (expected, 1));
        }
    }
}
