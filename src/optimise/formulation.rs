//! The integer program over a [`Problem`]: columns, rows, and the sum that each stage optimises.
//!
//! **Columns.** For each pool and maximal pattern the number of GPUs cut so; for each type and
//! kind the replicas of the type that sit in the kind; for each class the replicas served. Where
//! replicas take several whole GPUs of a node, a flow through the nodes (below).
//!
//! **Supply.** For each profile of a pool: instances that the patterns make ≥ replicas in them
//! (≥, since an instance may stay spare). For each pool: patterns + single whole GPUs ≤ GPUs that
//! the node flow leaves.
//!
//! **Memory.** What the `n` largest replicas of a class need is concave in `n`. A class of several
//! memory values has a column for it, held under tangents that are added where a solution needs
//! them, so the size of the model does not grow with the number of distinct values.
//!
//! **Node flow** (arc-flow, Valério de Carvalho 1999). A node of `n` GPUs is a path from 0 to `n`
//! by arcs of the replicas' sizes and one last arc that leaves the rest as single GPUs; all nodes
//! of one size share one flow, so the model does not grow with the number of nodes.

use std::collections::{BTreeMap, BTreeSet};

use super::model::{Column, ColumnBounds, Model, Objective, Sense, Terms};
use super::problem::Problem;

/// Tangents that a class starts with, spread over its distinct values.
const FIRST_TANGENTS: usize = 8;

/// The solver sees memory in GiB.
const MEMORY_UNIT: i64 = 1024;

/// Arcs of the flow through the nodes of one size.
#[derive(Debug, Clone, Default)]
pub(crate) struct NodeFlow {
    /// Replicas of several whole GPUs: (first GPU, GPUs) → column.
    pub replicas: BTreeMap<(usize, usize), Column>,
    /// From this GPU on, all are single: first GPU → column.
    pub rest: BTreeMap<usize, Column>,
}

/// The model of a problem with the meaning of its columns.
#[derive(Debug, Clone)]
pub(crate) struct Formulation {
    /// The program.
    pub model: Model,
    /// For each pool, for each of its patterns: GPUs cut so.
    pub patterns: Vec<Vec<Column>>,
    /// For each type, for each of its kinds (by position): replicas there.
    pub seats: Vec<Vec<Column>>,
    /// For each class: replicas served.
    pub served: Vec<Column>,
    /// For each class whose replicas differ in memory: the memory served.
    pub memory: Vec<Option<Column>>,
    /// For each pool, for each size of its nodes: the flow of replicas of several GPUs.
    pub flows: Vec<BTreeMap<usize, NodeFlow>>,
    /// For each kind, once [`Formulation::add_kind_switches`] was called: whether it is in use.
    pub switches: Vec<Column>,
    /// For each class: the runs that have a tangent.
    tangents: Vec<BTreeSet<usize>>,
    /// For each kind with a profile: the row that says supply ≥ use.
    supply_rows: Vec<Option<usize>>,
}

impl Formulation {
    /// Formulates a problem without any stage.
    pub(crate) fn new(problem: &Problem) -> Formulation {
        let mut model = Model::default();
        let patterns: Vec<Vec<Column>> = problem
            .pools
            .iter()
            .map(|pool| pool.patterns.iter().map(|_| model.integer(0, pool.gpus)).collect())
            .collect();
        let seats: Vec<Vec<Column>> = problem
            .types
            .iter()
            .map(|t| {
                let most = problem.capacity(t);
                t.kinds.iter().map(|_| model.integer(0, most)).collect()
            })
            .collect();
        let served: Vec<Column> = problem
            .classes
            .iter()
            .map(|c| {
                model.integer(0, c.curve.count.min(problem.capacity(&problem.types[c.kind_set])))
            })
            .collect();
        let mut formulation = Formulation {
            model,
            patterns,
            seats,
            served,
            memory: Vec::new(),
            flows: Vec::new(),
            switches: Vec::new(),
            tangents: vec![BTreeSet::new(); problem.classes.len()],
            supply_rows: Vec::new(),
        };
        formulation.add_balance(problem);
        formulation.add_supply(problem);
        formulation.add_nodes(problem);
        formulation.add_memory(problem);
        if let Some(most) = problem.most_gpus {
            let used = formulation.gpus_used(problem);
            formulation.model.at_most(used.terms, most);
        }
        formulation
    }

    /// Replicas of a type in all its kinds = replicas served of all its classes.
    fn add_balance(&mut self, problem: &Problem) {
        for (t, seats) in self.seats.iter().enumerate() {
            let mut terms: Terms = seats.iter().map(|c| (*c, 1)).collect();
            for (class, column) in problem.classes.iter().zip(&self.served) {
                if class.kind_set == t {
                    terms.push((*column, -1));
                }
            }
            self.model.equal(terms, 0);
        }
    }

    /// For each profile of a pool: instances made ≥ replicas in them.
    fn add_supply(&mut self, problem: &Problem) {
        for (k, kind) in problem.kinds.iter().enumerate() {
            let Some(profile) = kind.profile else {
                self.supply_rows.push(None);
                continue;
            };
            let mut terms = self.made(problem, kind.pool, profile);
            terms.extend(self.seats_in(problem, k).into_iter().map(|(c, _)| (c, -1)));
            self.supply_rows.push(Some(self.model.rows.len()));
            self.model.at_least(terms, 0);
        }
    }

    /// The instances of a profile that the patterns of its pool make.
    fn made(&self, problem: &Problem, pool: usize, profile: usize) -> Terms {
        problem.pools[pool]
            .patterns
            .iter()
            .zip(&self.patterns[pool])
            .filter(|(counts, _)| counts[profile] > 0)
            .map(|(counts, column)| (*column, i64::from(counts[profile])))
            .collect()
    }

    /// The replicas in a kind: columns with the type of each.
    fn seats_in(&self, problem: &Problem, kind: usize) -> Vec<(Column, usize)> {
        let mut seats = Vec::new();
        for (t, columns) in self.seats.iter().enumerate() {
            if let Ok(at) = problem.types[t].kinds.binary_search(&kind) {
                seats.push((columns[at], t));
            }
        }
        seats
    }

    /// GPUs of each pool, and the flow of replicas of several whole GPUs through its nodes.
    fn add_nodes(&mut self, problem: &Problem) {
        for (p, pool) in problem.pools.iter().enumerate() {
            let mut by_size: BTreeMap<usize, Vec<Column>> = BTreeMap::new();
            for (t, kind_set) in problem.types.iter().enumerate() {
                for (k, column) in kind_set.kinds.iter().zip(&self.seats[t]) {
                    let kind = &problem.kinds[*k];
                    if kind.pool == p && kind.profile.is_none() {
                        by_size.entry(kind_set.whole_gpus as usize).or_default().push(*column);
                    }
                }
            }
            let mut used: Terms = self.patterns[p].iter().map(|c| (*c, 1)).collect();
            used.extend(by_size.remove(&1).into_iter().flatten().map(|c| (c, 1)));
            let mut flows = BTreeMap::new();
            if by_size.is_empty() {
                self.model.at_most(used, pool.gpus);
            } else {
                let sizes: Vec<usize> = by_size.keys().copied().collect();
                let mut arcs_of: BTreeMap<usize, Terms> = BTreeMap::new();
                for (&gpus, &nodes) in &pool.node_sizes {
                    let flow = node_flow(&mut self.model, gpus, nodes, &sizes);
                    used.extend(flow.rest.iter().map(|(at, c)| (*c, -((gpus - at) as i64))));
                    for ((_, size), column) in &flow.replicas {
                        arcs_of.entry(*size).or_default().push((*column, 1));
                    }
                    flows.insert(gpus, flow);
                }
                self.model.at_most(used, 0);
                for (size, seats) in by_size {
                    let mut terms = arcs_of.remove(&size).unwrap_or_default();
                    terms.extend(seats.into_iter().map(|c| (c, -1)));
                    self.model.equal(terms, 0);
                }
            }
            self.flows.push(flows);
        }
    }

    /// A column for the memory of each class whose replicas differ, under its first tangents.
    fn add_memory(&mut self, problem: &Problem) {
        for (c, class) in problem.classes.iter().enumerate() {
            let runs = class.curve.runs().len();
            if runs <= 1 {
                self.memory.push(None);
                continue;
            }
            let upper = class.curve.at(self.model.columns[self.served[c]].upper);
            let column = self.model.column(ColumnBounds {
                lower: 0,
                upper,
                integer: false,
                unit: MEMORY_UNIT,
            });
            self.memory.push(Some(column));
            let first = FIRST_TANGENTS.min(runs);
            for i in 0..first {
                self.add_tangent(problem, c, i * (runs - 1) / (first - 1));
            }
        }
    }

    /// Holds the memory of a class under the line through one of its runs. Returns whether the
    /// line is new.
    fn add_tangent(&mut self, problem: &Problem, class: usize, run: usize) -> bool {
        let Some(memory) = self.memory[class] else { return false };
        if !self.tangents[class].insert(run) {
            return false;
        }
        let line = problem.classes[class].curve.runs()[run];
        self.model.at_most(
            vec![(memory, 1), (self.served[class], -line.slope_mib)],
            line.before_mib - line.slope_mib * line.before,
        );
        true
    }

    /// Where the memory columns of a solution promise more than its replicas need, adds the
    /// tangents that forbid it, and returns whether there were any.
    pub(crate) fn tighten(&mut self, problem: &Problem, values: &[i64]) -> bool {
        let mut added = false;
        for (c, class) in problem.classes.iter().enumerate() {
            let Some(memory) = self.memory[c] else { continue };
            let served = values[self.served[c]];
            if values[memory] > class.curve.at(served) {
                added |= self.add_tangent(problem, c, class.curve.run_of(served));
                added |= self.add_tangent(problem, c, class.curve.run_of(served + 1));
            }
        }
        added
    }

    /// Sets the memory columns of a solution to what its replicas need.
    pub(crate) fn settle(&self, problem: &Problem, values: &mut [i64]) {
        for (c, class) in problem.classes.iter().enumerate() {
            if let Some(memory) = self.memory[c] {
                values[memory] = class.curve.at(values[self.served[c]]);
            }
        }
    }

    /// Stage 1: the weight of the replicas of a priority that are served, in millionths.
    pub(crate) fn placed_weight(&self, problem: &Problem, priority: i64) -> Objective {
        let terms = problem
            .classes
            .iter()
            .zip(&self.served)
            .filter(|(class, _)| class.priority == priority)
            .map(|(class, column)| (*column, class.weight))
            .collect();
        Objective { sense: Sense::Maximise, terms }
    }

    /// The number of replicas served, whatever their priority.
    pub(crate) fn placed(&self) -> Objective {
        Objective { sense: Sense::Maximise, terms: self.served.iter().map(|c| (*c, 1)).collect() }
    }

    /// Stage 2: the memory served, in MiB.
    pub(crate) fn placed_mib(&self, problem: &Problem) -> Objective {
        let mut terms = Terms::new();
        for (c, class) in problem.classes.iter().enumerate() {
            match (self.memory[c], class.curve.runs().first()) {
                (Some(memory), _) => terms.push((memory, 1)),
                (None, Some(run)) if run.slope_mib > 0 => {
                    terms.push((self.served[c], run.slope_mib));
                }
                _ => {}
            }
        }
        // A replica that wants all memory of its GPUs is worth what the board that it gets has.
        for (t, kind_set) in problem.types.iter().enumerate().filter(|(_, t)| t.all_memory) {
            for (k, column) in kind_set.kinds.iter().zip(&self.seats[t]) {
                let gpus = i64::from(kind_set.whole_gpus);
                terms.push((*column, gpus * problem.kinds[*k].memory_mib));
            }
        }
        Objective { sense: Sense::Maximise, terms }
    }

    /// Stage 3: GPUs in use.
    pub(crate) fn gpus_used(&self, problem: &Problem) -> Objective {
        let mut terms: Terms = self.patterns.iter().flatten().map(|c| (*c, 1)).collect();
        for (t, kind_set) in problem.types.iter().enumerate().filter(|(_, t)| t.whole_gpus > 0) {
            terms.extend(self.seats[t].iter().map(|c| (*c, i64::from(kind_set.whole_gpus))));
        }
        Objective { sense: Sense::Minimise, terms }
    }

    /// GPUs of one pool that are handed out whole.
    pub(crate) fn whole_gpus_of_pool(&self, problem: &Problem, pool: usize) -> Terms {
        let mut terms = Terms::new();
        for (kind_set, seats) in problem.types.iter().zip(&self.seats) {
            for (k, column) in kind_set.kinds.iter().zip(seats) {
                if problem.kinds[*k].pool == pool && kind_set.whole_gpus > 0 {
                    terms.push((*column, i64::from(kind_set.whole_gpus)));
                }
            }
        }
        terms
    }

    /// GPUs of one pool in use.
    pub(crate) fn gpus_of_pool(&self, problem: &Problem, pool: usize) -> Objective {
        let mut terms: Terms = self.patterns[pool].iter().map(|c| (*c, 1)).collect();
        terms.extend(self.whole_gpus_of_pool(problem, pool));
        Objective { sense: Sense::Minimise, terms }
    }

    /// Sums an attribute of the instances handed out.
    fn handed_out(&self, problem: &Problem, of: impl Fn(usize) -> i64) -> Terms {
        let mut terms = Terms::new();
        for (t, kind_set) in problem.types.iter().enumerate() {
            for (k, column) in kind_set.kinds.iter().zip(&self.seats[t]) {
                terms.push((*column, of(*k) * i64::from(kind_set.whole_gpus.max(1))));
            }
        }
        terms
    }

    /// Stage 4: memory of the instances handed out. With the memory placed held fixed, the least
    /// of it is the least rounding loss.
    pub(crate) fn handed_out_mib(&self, problem: &Problem) -> Objective {
        let terms = self.handed_out(problem, |k| problem.kinds[k].memory_mib);
        Objective { sense: Sense::Minimise, terms }
    }

    /// Stage 6: compute slices of the instances handed out.
    pub(crate) fn compute_slices(&self, problem: &Problem) -> Objective {
        let terms = self.handed_out(problem, |k| problem.kinds[k].compute_slices);
        Objective { sense: Sense::Maximise, terms }
    }

    /// Adds a switch for each kind: a replica may sit in the kind only where the switch is on.
    pub(crate) fn add_kind_switches(&mut self, problem: &Problem) {
        for k in 0..problem.kinds.len() {
            let seats = self.seats_in(problem, k);
            let most: i64 = seats.iter().map(|(c, _)| self.model.columns[*c].upper).sum();
            let switch = self.model.integer(0, i64::from(!seats.is_empty()));
            let mut terms: Terms = seats.iter().map(|(c, _)| (*c, 1)).collect();
            terms.push((switch, -most.min(self.most_of_kind(problem, k))));
            self.model.at_most(terms, 0);
            self.switches.push(switch);
        }
    }

    /// The most replicas that can ever sit in one kind.
    fn most_of_kind(&self, problem: &Problem, k: usize) -> i64 {
        let kind = &problem.kinds[k];
        let pool = &problem.pools[kind.pool];
        kind.profile
            .map_or(pool.gpus, |p| i64::from(pool.board.profiles[p].max_instances) * pool.gpus)
    }

    /// Stage 5: kinds of instance in use, for each board.
    pub(crate) fn profile_kinds(&self) -> Objective {
        Objective { sense: Sense::Minimise, terms: self.switches.iter().map(|c| (*c, 1)).collect() }
    }

    /// Adds further replicas to what the supply must carry: one column for each pair of type and
    /// kind, returned with the type of each.
    pub(crate) fn add_further_replicas(&mut self, problem: &Problem) -> Vec<(Column, usize)> {
        let mut further = Vec::new();
        for (t, kind_set) in problem.types.iter().enumerate() {
            for &k in &kind_set.kinds {
                let Some(row) = self.supply_rows[k] else { continue };
                let column = self.model.integer(0, self.most_of_kind(problem, k));
                self.model.rows[row].terms.push((column, -1));
                further.push((column, t));
            }
        }
        further
    }

    /// Spare instances of one memory size: made, but not handed out.
    pub(crate) fn spare_of_size(&self, problem: &Problem, memory_mib: i64) -> Terms {
        let mut terms = Terms::new();
        for (k, kind) in problem.kinds.iter().enumerate() {
            if let (Some(profile), true) = (kind.profile, kind.memory_mib == memory_mib) {
                terms.extend(self.made(problem, kind.pool, profile));
                terms.extend(self.seats_in(problem, k).into_iter().map(|(c, _)| (c, -1)));
            }
        }
        merge(terms)
    }

    /// Memory of all instances made, handed out or not.
    pub(crate) fn made_mib(&self, problem: &Problem) -> Objective {
        let mut terms = Terms::new();
        for kind in &problem.kinds {
            if let Some(profile) = kind.profile {
                let made = self.made(problem, kind.pool, profile);
                terms.extend(made.into_iter().map(|(c, a)| (c, a * kind.memory_mib)));
            }
        }
        Objective { sense: Sense::Maximise, terms: merge(terms) }
    }
}

/// Adds up the coefficients of equal columns.
fn merge(terms: Terms) -> Terms {
    let mut sums: BTreeMap<Column, i64> = BTreeMap::new();
    for (column, coefficient) in terms {
        *sums.entry(column).or_default() += coefficient;
    }
    sums.into_iter().filter(|(_, coefficient)| *coefficient != 0).collect()
}

/// The flow of `nodes` units through nodes of `gpus` GPUs, by arcs of `sizes` (ascending).
fn node_flow(model: &mut Model, gpus: usize, nodes: i64, sizes: &[usize]) -> NodeFlow {
    let mut flow = NodeFlow::default();
    let mut reachable = BTreeSet::from([0]);
    for at in 0..=gpus {
        if !reachable.contains(&at) {
            continue;
        }
        flow.rest.insert(at, model.integer(0, nodes));
        for &size in sizes.iter().filter(|size| at + **size <= gpus) {
            flow.replicas.insert((at, size), model.integer(0, nodes));
            reachable.insert(at + size);
        }
    }
    for &at in &reachable {
        let mut terms = Terms::new();
        for ((from, size), column) in &flow.replicas {
            if from + size == at {
                terms.push((*column, 1));
            }
            if *from == at {
                terms.push((*column, -1));
            }
        }
        if let Some(rest) = flow.rest.get(&at) {
            terms.push((*rest, -1));
        }
        model.equal(terms, if at == 0 { -nodes } else { 0 });
    }
    flow
}
