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
use crate::plan::{MigModePolicy, Strategy};

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
    /// For each pool, by node type: the flow of replicas of several GPUs.
    pub flows: Vec<BTreeMap<usize, NodeFlow>>,
    /// For each node type, where all GPUs of a node agree: nodes with MIG on.
    pub nodes_on: Vec<Option<Column>>,
    /// By node type and pool, where a node has one profile: nodes of each pattern.
    pub uniform: BTreeMap<(usize, usize), Vec<Column>>,
    /// By pool, where the present state is known: for each group the GPUs that go whole.
    pub went_whole: BTreeMap<usize, Vec<Column>>,
    /// Each choice of a name with the seats that it opens.
    pub name_choices: Vec<(Column, Vec<Column>)>,
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
            nodes_on: Vec::new(),
            uniform: BTreeMap::new(),
            went_whole: BTreeMap::new(),
            name_choices: Vec::new(),
            switches: Vec::new(),
            tangents: vec![BTreeSet::new(); problem.classes.len()],
            supply_rows: Vec::new(),
        };
        formulation.add_balance(problem);
        formulation.add_supply(problem);
        formulation.add_nodes(problem);
        formulation.add_one_name(problem);
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

    /// For each profile of a pool: instances made ≥ replicas in them; and where nothing spare may
    /// be made beside what is there, instances made less those that are busy anyway ≤ replicas.
    fn add_supply(&mut self, problem: &Problem) {
        for (k, kind) in problem.kinds.iter().enumerate() {
            let Some(profile) = kind.profile else {
                self.supply_rows.push(None);
                continue;
            };
            let seats: Terms =
                self.seats_in(problem, k).into_iter().map(|(c, _)| (c, -1)).collect();
            let mut terms = self.made(problem, kind.pool, profile);
            if problem.knows_present && problem.exact {
                let pool = &problem.pools[kind.pool];
                let mut exact = seats.clone();
                for (pattern, column) in pool.patterns.iter().zip(&self.patterns[kind.pool]) {
                    let idle = pattern.counts[profile] - pattern.busy[profile];
                    exact.push((*column, i64::from(idle)));
                }
                self.model.at_most(exact, 0);
            }
            terms.extend(seats);
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
            .filter(|(pattern, _)| pattern.counts[profile] > 0)
            .map(|(pattern, column)| (*column, i64::from(pattern.counts[profile])))
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

    /// GPUs of each pool: what may be cut, what goes whole, and on which nodes.
    fn add_nodes(&mut self, problem: &Problem) {
        self.add_modes(problem);
        for pool in 0..problem.pools.len() {
            let whole = self.whole_by_size(problem, pool);
            let several = whole.keys().any(|size| *size > 1);
            self.flows.push(BTreeMap::new());
            if several && !problem.knows_present {
                self.add_flows(problem, pool, &whole);
            }
            if problem.knows_present {
                self.add_groups(problem, pool, &whole);
            }
            self.add_capacity(problem, pool, &whole);
            if problem.policy.strategy == Strategy::Single {
                self.add_uniform(problem, pool);
            }
        }
    }

    /// For each node type the number of its nodes with MIG on, where all GPUs of a node agree.
    fn add_modes(&mut self, problem: &Problem) {
        let per_gpu = problem.policy.mig_mode == MigModePolicy::PerGpu
            && problem.policy.strategy == Strategy::Mixed;
        for node_type in &problem.node_types {
            self.nodes_on.push((!per_gpu).then(|| {
                let busy = problem.pools.iter().flat_map(|p| &p.groups).any(|g| g.busy_stays);
                // A node with GPUs of several boards cannot have one profile.
                let single = problem.policy.strategy == Strategy::Single;
                let most =
                    if single && node_type.only_pool().is_none() { 0 } else { node_type.nodes };
                self.model.integer(i64::from(busy && !single), most)
            }));
        }
    }

    /// The replicas that take whole GPUs of a pool with MIG off, by how many each takes.
    fn whole_by_size(&self, problem: &Problem, pool: usize) -> BTreeMap<usize, Vec<Column>> {
        let mut by_size: BTreeMap<usize, Vec<Column>> = BTreeMap::new();
        for (kind_set, seats) in problem.types.iter().zip(&self.seats) {
            for (k, column) in kind_set.kinds.iter().zip(seats) {
                let kind = &problem.kinds[*k];
                if kind.pool == pool && kind.profile.is_none() {
                    by_size.entry(kind_set.whole_gpus as usize).or_default().push(*column);
                }
            }
        }
        by_size
    }

    /// The flow of replicas of several GPUs through the nodes of a pool.
    fn add_flows(&mut self, problem: &Problem, pool: usize, whole: &BTreeMap<usize, Vec<Column>>) {
        let sizes: Vec<usize> = whole.keys().copied().filter(|size| *size > 1).collect();
        let mut arcs_of: BTreeMap<usize, Terms> = BTreeMap::new();
        for (t, node_type) in problem.node_types.iter().enumerate() {
            let gpus = node_type.of_pool[pool];
            if gpus == 0 {
                continue;
            }
            let flow = node_flow(&mut self.model, gpus, node_type.nodes, self.nodes_on[t], &sizes);
            for ((_, size), column) in &flow.replicas {
                arcs_of.entry(*size).or_default().push((*column, 1));
            }
            self.flows[pool].insert(t, flow);
        }
        for size in sizes {
            let mut terms = arcs_of.remove(&size).unwrap_or_default();
            terms.extend(whole[&size].iter().map(|c| (*c, -1)));
            self.model.equal(terms, 0);
        }
    }

    /// GPUs of a pool: those that are cut, and those with a single whole replica, within what the
    /// nodes leave.
    fn add_capacity(
        &mut self,
        problem: &Problem,
        pool: usize,
        whole: &BTreeMap<usize, Vec<Column>>,
    ) {
        let cut: Terms = self.patterns[pool].iter().map(|c| (*c, 1)).collect();
        // Known present states are of one node, where sizes of replicas simply add up.
        let count_all = problem.knows_present;
        let singles: Terms = whole
            .iter()
            .filter(|(size, _)| count_all || **size == 1)
            .flat_map(|(size, seats)| seats.iter().map(|c| (*c, *size as i64)))
            .collect();
        // What is left: a constant, less GPUs by column.
        let (mut may_be_cut, mut may_be_cut_by) = (0, Terms::new());
        let (mut may_be_whole, mut may_be_whole_by) = (0, Terms::new());
        for (t, node_type) in problem.node_types.iter().enumerate() {
            let gpus = node_type.of_pool[pool];
            let nodes = node_type.nodes;
            let flow = self.flows[pool].get(&t);
            match (self.nodes_on[t], flow) {
                (None, None) => {
                    may_be_cut += nodes * node_type.may_be_cut(pool) as i64;
                    may_be_whole += nodes * gpus as i64;
                }
                (None, Some(flow)) => {
                    for (at, column) in &flow.rest {
                        let left = gpus - at;
                        let cut = left.min(node_type.may_be_cut(pool));
                        may_be_cut_by.push((*column, -(cut as i64)));
                        may_be_whole_by.push((*column, -(left as i64)));
                    }
                }
                (Some(on), flow) => {
                    may_be_cut_by.push((on, -(gpus as i64)));
                    match flow {
                        None => {
                            may_be_whole += nodes * gpus as i64;
                            may_be_whole_by.push((on, gpus as i64));
                        }
                        Some(flow) => may_be_whole_by
                            .extend(flow.rest.iter().map(|(at, c)| (*c, -((gpus - at) as i64)))),
                    }
                }
            }
        }
        let by_mode = self.nodes_on.iter().any(Option::is_some);
        // With MIG on or off for all of a node, cut and whole GPUs never share one; else they do.
        let mut together = singles;
        if !by_mode {
            together.extend(cut.iter().copied());
        }
        together.extend(may_be_whole_by);
        self.model.at_most(merge(together), may_be_whole);
        if by_mode || problem.policy.keep_whole > 0 {
            let mut terms = cut;
            terms.extend(may_be_cut_by);
            self.model.at_most(merge(terms), may_be_cut);
        }
    }

    /// GPUs of each group of a pool; what is busy cannot go whole.
    fn add_groups(&mut self, problem: &Problem, pool: usize, whole: &BTreeMap<usize, Vec<Column>>) {
        let mut all_whole = Terms::new();
        for (g, group) in problem.pools[pool].groups.iter().enumerate() {
            let most = if group.busy_stays { 0 } else { group.gpus };
            let went_whole = self.model.integer(0, most);
            let mut terms: Terms = problem.pools[pool]
                .patterns
                .iter()
                .zip(&self.patterns[pool])
                .filter(|(pattern, _)| pattern.group == g)
                .map(|(_, column)| (*column, 1))
                .collect();
            terms.push((went_whole, 1));
            self.model.at_most(terms, group.gpus);
            self.went_whole.entry(pool).or_default().push(went_whole);
            all_whole.push((went_whole, 1));
        }
        for (size, seats) in whole {
            all_whole.extend(seats.iter().map(|c| (*c, -(*size as i64))));
        }
        self.model.equal(all_whole, 0);
    }

    /// Nodes of one profile: each node with MIG on has one of the pool's patterns on all its GPUs.
    fn add_uniform(&mut self, problem: &Problem, pool: usize) {
        let patterns = problem.pools[pool].patterns.len();
        let mut gpus_of: Vec<Terms> = vec![Terms::new(); patterns];
        for (t, node_type) in problem.node_types.iter().enumerate() {
            let Some(on) = self.nodes_on[t].filter(|_| node_type.only_pool() == Some(pool)) else {
                continue;
            };
            let columns: Vec<Column> =
                (0..patterns).map(|_| self.model.integer(0, node_type.nodes)).collect();
            let mut terms: Terms = columns.iter().map(|c| (*c, 1)).collect();
            terms.push((on, -1));
            self.model.equal(terms, 0);
            for (gpus, column) in gpus_of.iter_mut().zip(&columns) {
                gpus.push((*column, -(node_type.of_pool[pool] as i64)));
            }
            self.uniform.insert((t, pool), columns);
        }
        for (mut terms, column) in gpus_of.into_iter().zip(self.patterns[pool].clone()) {
            terms.push((column, 1));
            self.model.at_most(terms, 0);
        }
    }

    /// A workload whose replicas must share one name: the name is chosen, and only kinds of that
    /// name take them.
    fn add_one_name(&mut self, problem: &Problem) {
        for (t, kind_set) in problem.types.iter().enumerate().filter(|(_, t)| t.one_name.is_some())
        {
            let mut by_name: BTreeMap<String, Terms> = BTreeMap::new();
            for (k, column) in kind_set.kinds.iter().zip(&self.seats[t]) {
                by_name.entry(problem.kind_name(*k)).or_default().push((*column, 1));
            }
            let mut chosen = Terms::new();
            for (_, mut terms) in by_name {
                let choice = self.model.integer(0, 1);
                self.name_choices.push((choice, terms.iter().map(|(c, _)| *c).collect()));
                chosen.push((choice, 1));
                let most = self.model.columns[terms[0].0].upper;
                let wanted = problem.wanted_of(t);
                terms.push((choice, -most.min(wanted)));
                self.model.at_most(terms, 0);
            }
            self.model.at_most(chosen, 1);
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
        for pool in 0..problem.pools.len() {
            for (size, seats) in self.whole_by_size(problem, pool) {
                terms.extend(seats.into_iter().map(|c| (c, size as i64)));
            }
        }
        Objective { sense: Sense::Minimise, terms }
    }

    /// Stage 7: present instances that are destroyed, and what must be added to that sum.
    pub(crate) fn instances_destroyed(&self, problem: &Problem) -> (Objective, i64) {
        let (mut terms, mut constant) = (Terms::new(), 0);
        for (p, pool) in problem.pools.iter().enumerate() {
            for (pattern, column) in pool.patterns.iter().zip(&self.patterns[p]) {
                let otherwise = pool.groups[pattern.group].idle_destroyed;
                terms.push((*column, pattern.destroyed - otherwise));
            }
            let went_whole = self.went_whole.get(&p).map_or(&[][..], Vec::as_slice);
            for (group, column) in pool.groups.iter().zip(went_whole) {
                let all = group.present.len() as i64;
                terms.push((*column, all - group.idle_destroyed));
                constant += group.gpus * group.idle_destroyed;
            }
        }
        (Objective { sense: Sense::Minimise, terms: merge(terms) }, constant)
    }

    /// GPUs of one pool that are handed out whole, MIG off.
    pub(crate) fn whole_gpus_of_pool(&self, problem: &Problem, pool: usize) -> Terms {
        let mut terms = Terms::new();
        for (size, seats) in self.whole_by_size(problem, pool) {
            terms.extend(seats.into_iter().map(|c| (c, size as i64)));
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
    fn allocated(&self, problem: &Problem, of: impl Fn(usize) -> i64) -> Terms {
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
    pub(crate) fn allocated_mib(&self, problem: &Problem) -> Objective {
        let terms = self.allocated(problem, |k| problem.kinds[k].memory_mib);
        Objective { sense: Sense::Minimise, terms }
    }

    /// Stage 6: compute slices of the instances handed out.
    pub(crate) fn compute_slices(&self, problem: &Problem) -> Objective {
        let terms = self.allocated(problem, |k| problem.kinds[k].compute_slices);
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

/// The flow of `nodes` units, less those that column `on` takes out, through nodes of `gpus` GPUs,
/// by arcs of `sizes` (ascending).
fn node_flow(
    model: &mut Model,
    gpus: usize,
    nodes: i64,
    on: Option<Column>,
    sizes: &[usize],
) -> NodeFlow {
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
        if at == 0 {
            terms.extend(on.map(|on| (on, -1)));
        }
        model.equal(terms, if at == 0 { -nodes } else { 0 });
    }
    flow
}
