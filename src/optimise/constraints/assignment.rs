//! Which replicas are assigned to which kind of instance: for each item type and kind the replicas
//! of the type in the kind, for each demand class the replicas served.
//!
//! Replicas of a type in all its kinds = replicas served of all its classes.
//!
//! Over time the item types of a period, of which there are many copies, are taken together as far as
//! the kinds of each are among those of the one before: a *chain*. Its replicas in a kind are one
//! column, and by Hall's theorem they find their instances where, for each type, the kinds of the
//! type hold the replicas of it and of the narrower types. The relaxation is as strong, with a few
//! columns for a period instead of types × kinds, and integral by itself where the instances are.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

use crate::optimise::model::{Column, Model, Terms};
use crate::optimise::problem::{ItemType, Problem};

/// The columns.
#[derive(Debug, Clone)]
pub(crate) struct Assignment {
    /// For each item type, for each of its kinds (by position): replicas of its chain there; none
    /// for a type that is not the widest of its chain.
    pub assigned: Vec<Vec<Column>>,
    /// The chains: item types, the widest first. Each type is in one.
    chains: Vec<Vec<usize>>,
    /// For each item type the widest of its chain.
    widest: Vec<usize>,
    /// For each demand class: replicas served.
    pub served: Vec<Column>,
    /// By pool, where demand changes from hour to hour: GPUs that are allocated whole, MIG off, in
    /// any of the periods.
    reserved: BTreeMap<usize, Column>,
}

/// Some replicas of one workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Index into the demand.
    pub workload: usize,
    /// Memory of one replica, in MiB.
    pub memory_mib: i64,
    /// Replicas.
    pub count: i64,
}

/// The replicas assigned to each kind, by the number of GPUs that a replica takes (0 for an
/// instance), in the order in which they get instances.
#[derive(Debug, Clone, Default)]
pub(crate) struct Queues(BTreeMap<(usize, u32), VecDeque<Batch>>);

impl Assignment {
    /// Adds the columns and the balance of each type.
    pub(crate) fn add(model: &mut Model, problem: &Problem) -> Assignment {
        let chains = chains(problem);
        let mut widest = vec![0; problem.item_types.len()];
        chains.iter().for_each(|chain| chain.iter().for_each(|t| widest[*t] = chain[0]));
        let assigned: Vec<Vec<Column>> = problem
            .item_types
            .iter()
            .enumerate()
            .map(|(t, of)| {
                let most = problem.capacity(of);
                let kinds = of.kinds.iter().filter(|_| widest[t] == t);
                kinds.map(|_| model.integer(0, most)).collect()
            })
            .collect();
        let served = problem
            .classes
            .iter()
            .map(|c| {
                let most = problem.capacity(&problem.item_types[c.item_type]);
                model.integer(0, c.curve.count.min(most))
            })
            .collect();
        let reserved = BTreeMap::new();
        let mut assignment = Assignment { assigned, chains, widest, served, reserved };
        assignment.reserve(model, problem);
        assignment
    }

    /// Over time, keeps the GPUs of each pool that replicas take whole in some period: in none are
    /// there more of them. No replica takes several then.
    fn reserve(&mut self, model: &mut Model, problem: &Problem) {
        if !problem.is_over_time() {
            return;
        }
        for (k, kind) in problem.kinds.iter().enumerate().filter(|(_, k)| k.made_at.is_none()) {
            let mut reserved = None;
            for period in 0..problem.hours.len() {
                let whole = self.in_kind(problem, k, period);
                if whole.is_empty() {
                    continue;
                }
                let gpus = problem.pools[kind.pool].gpus;
                let column = *reserved.get_or_insert_with(|| model.integer(0, gpus));
                let mut terms: Terms = whole.into_iter().map(|c| (c, 1)).collect();
                terms.push((column, -1));
                model.at_most(terms, 0);
            }
            if let Some(column) = reserved {
                self.reserved.insert(kind.pool, column);
            }
        }
    }

    /// GPUs of a pool that are whole, MIG off, in some period; `None` without demand over time.
    pub(crate) fn reserved(&self, problem: &Problem, pool: usize, values: &[i64]) -> Option<i64> {
        let column = self.reserved.get(&pool);
        problem.is_over_time().then(|| column.map_or(0, |c| values[*c]))
    }

    /// The kinds of an item type, each with the column of the replicas there.
    pub(crate) fn columns_of(&self, problem: &Problem, item_type: usize) -> Vec<(usize, Column)> {
        let widest = self.widest[item_type];
        let kinds = problem.item_types[widest].kinds.iter().zip(&self.assigned[widest]);
        let own = &problem.item_types[item_type].kinds;
        kinds
            .filter(|(k, _)| own.binary_search(k).is_ok())
            .map(|(k, column)| (*k, *column))
            .collect()
    }

    /// Adds the balance of each type.
    pub(crate) fn balance(&self, model: &mut Model, problem: &Problem) {
        let mut served: Vec<Terms> = vec![Terms::new(); problem.item_types.len()];
        for (class, column) in problem.classes.iter().zip(&self.served) {
            served[class.item_type].push((*column, -1));
        }
        for chain in &self.chains {
            let columns: BTreeMap<usize, Column> =
                self.columns_of(problem, chain[0]).into_iter().collect();
            for (at, t) in chain.iter().enumerate() {
                let kinds = problem.item_types[*t].kinds.iter();
                let mut terms: Terms =
                    kinds.filter_map(|k| columns.get(k)).map(|column| (*column, 1)).collect();
                terms.extend(chain[at..].iter().flat_map(|narrower| &served[*narrower]));
                match at {
                    0 => model.equal(terms, 0),
                    _ => model.at_least(terms, 0),
                }
            }
        }
    }

    /// Lets no kind take more replicas than may be served of the types that it suffices for.
    pub(crate) fn narrow(&self, model: &mut Model, problem: &Problem) {
        let mut most = vec![0; problem.item_types.len()];
        for (class, column) in problem.classes.iter().zip(&self.served) {
            most[class.item_type] += model.columns[*column].upper;
        }
        for chain in &self.chains {
            for (kind, column) in self.columns_of(problem, chain[0]) {
                let suffices =
                    |t: &&usize| problem.item_types[**t].kinds.binary_search(&kind).is_ok();
                let most: i64 = chain.iter().filter(suffices).map(|t| most[*t]).sum();
                let upper = &mut model.columns[column].upper;
                *upper = most.min(*upper);
            }
        }
    }

    /// The columns of the replicas in one kind in one period.
    pub(crate) fn in_kind(&self, problem: &Problem, kind: usize, period: usize) -> Vec<Column> {
        let mut columns = Vec::new();
        let types = self.assigned.iter().zip(&problem.item_types);
        for (of_type, t) in types.filter(|(_, t)| t.period == period) {
            let at = t.kinds.binary_search(&kind).ok();
            columns.extend(at.and_then(|at| of_type.get(at)));
        }
        columns
    }

    /// The columns of the replicas in one kind, or in the same instances of other supplies, in all
    /// periods.
    pub(crate) fn in_kind_of_any_period(&self, problem: &Problem, kind: usize) -> Vec<Column> {
        let of_supply = |supply| problem.in_supply(kind, supply);
        let kinds: BTreeMap<usize, usize> =
            problem.supplies.iter().filter_map(|s| Some((*s, of_supply(*s)?))).collect();
        let periods = problem.supplies.iter().enumerate();
        periods
            .filter_map(|(period, supply)| Some((period, *kinds.get(supply)?)))
            .flat_map(|(period, kind)| self.in_kind(problem, kind, period))
            .collect()
    }

    /// The columns of the replicas in one kind whose instances must outlive a change, by period and
    /// by the supply that must hold them too.
    pub(crate) fn staying(
        &self,
        problem: &Problem,
        kind: usize,
    ) -> BTreeMap<(usize, usize), Vec<Column>> {
        let mut staying: BTreeMap<(usize, usize), Vec<Column>> = BTreeMap::new();
        for (of_type, t) in self.assigned.iter().zip(&problem.item_types) {
            let at = t.kinds.binary_search(&kind).ok();
            if let (Some(supply), Some(column)) = (t.stays_in, at.and_then(|at| of_type.get(at))) {
                staying.entry((t.period, supply)).or_default().push(*column);
            }
        }
        staying
    }

    /// The replicas that take whole GPUs of a pool with MIG off, by how many each takes.
    pub(crate) fn whole_by_size(
        &self,
        problem: &Problem,
        pool: usize,
    ) -> BTreeMap<usize, Vec<Column>> {
        if problem.is_over_time() {
            return self.reserved.get(&pool).map(|column| (1, vec![*column])).into_iter().collect();
        }
        let mut by_size: BTreeMap<usize, Vec<Column>> = BTreeMap::new();
        for (item_type, columns) in problem.item_types.iter().zip(&self.assigned) {
            for (k, column) in item_type.kinds.iter().zip(columns) {
                let kind = &problem.kinds[*k];
                if kind.pool == pool && kind.profile.is_none() {
                    by_size.entry(item_type.whole_gpus as usize).or_default().push(*column);
                }
            }
        }
        by_size
    }

    /// GPUs of a pool that are allocated whole, MIG off.
    pub(crate) fn whole_gpus(&self, problem: &Problem, pool: usize) -> Terms {
        let mut terms = Terms::new();
        for (size, columns) in self.whole_by_size(problem, pool) {
            terms.extend(columns.into_iter().map(|c| (c, size as i64)));
        }
        terms
    }

    /// Instances of a kind that are allocated in the period that needs most of them.
    pub(crate) fn most_allocated(&self, problem: &Problem, kind: usize, values: &[i64]) -> i64 {
        let in_period =
            |p| self.in_kind(problem, kind, p).into_iter().map(|c| values[c]).sum::<i64>();
        (0..problem.hours.len()).map(in_period).max().unwrap_or(0)
    }

    /// Sums an attribute of the kinds over the allocated instances and their hours.
    pub(crate) fn allocated(&self, problem: &Problem, of: impl Fn(usize) -> i64) -> Terms {
        let mut terms = Terms::new();
        for (item_type, columns) in problem.item_types.iter().zip(&self.assigned) {
            let gpus = i64::from(item_type.whole_gpus.max(1));
            let times = gpus * problem.hours[item_type.period];
            for (k, column) in item_type.kinds.iter().zip(columns) {
                terms.push((*column, of(*k) * times));
            }
        }
        terms
    }

    /// Decides which replicas are served and in which kind each is placed: the largest demands
    /// first, the largest in the largest instances, so that a workload is split over kinds as
    /// little as may be. Of one period.
    pub(crate) fn decode(&self, problem: &Problem, values: &[i64], period: usize) -> Queues {
        let mut queues = Queues::default();
        let of_period = |chain: &&Vec<usize>| problem.item_types[chain[0]].period == period;
        for chain in self.chains.iter().filter(of_period) {
            let mut open: BTreeMap<usize, i64> = self
                .columns_of(problem, chain[0])
                .into_iter()
                .map(|(kind, column)| (kind, values[column]))
                .collect();
            // The narrowest first: what they leave suffices for the wider ones.
            for t in chain.iter().rev() {
                self.decode_type(problem, values, *t, &mut open, &mut queues);
            }
        }
        for queue in queues.0.values_mut() {
            // By team and name, so that a team's replicas come to lie side by side.
            queue.make_contiguous().sort_by_key(|b| (b.workload, Reverse(b.memory_mib)));
        }
        queues
    }

    /// The same of one type, in the instances of its kinds that are open.
    fn decode_type(
        &self,
        problem: &Problem,
        values: &[i64],
        item_type: usize,
        open: &mut BTreeMap<usize, i64>,
        queues: &mut Queues,
    ) {
        let mut served = self.served_of(problem, values, item_type);
        let of = &problem.item_types[item_type];
        let mut kinds = of.kinds.clone();
        kinds.sort_by_key(|k| {
            let kind = &problem.kinds[*k];
            (Reverse((kind.memory_mib, kind.compute_slices)), *k)
        });
        for kind in kinds {
            let queue = queues.0.entry((kind, of.whole_gpus)).or_default();
            let Some(open) = open.get_mut(&kind) else { continue };
            while *open > 0 {
                let Some(front) = served.front_mut() else { break };
                let count = front.count.min(*open);
                queue.push_back(Batch { count, ..*front });
                *open -= count;
                front.count -= count;
                if front.count == 0 {
                    served.pop_front();
                }
            }
        }
    }

    /// The replicas of a type that are served, the largest first.
    fn served_of(&self, problem: &Problem, values: &[i64], item_type: usize) -> VecDeque<Batch> {
        let mut batches: Vec<Batch> = Vec::new();
        let of_type = problem.classes.iter().zip(&self.served);
        for (class, column) in of_type.filter(|(c, _)| c.item_type == item_type) {
            let mut left = values[*column];
            for member in class.members.iter() {
                let count = member.count.min(left);
                if count == 0 {
                    break;
                }
                left -= count;
                batches.push(Batch {
                    workload: member.workload,
                    memory_mib: member.memory_mib,
                    count,
                });
            }
        }
        batches.sort_by_key(|b| (Reverse(b.memory_mib), b.workload));
        batches.into()
    }
}

/// The chains of item types, the widest type first. Without demand over time each type is one.
fn chains(problem: &Problem) -> Vec<Vec<usize>> {
    let types = &problem.item_types;
    let mut by_width: Vec<usize> = (0..types.len()).collect();
    if problem.is_over_time() {
        by_width.sort_by_key(|t| (types[*t].period, Reverse(types[*t].kinds.len())));
    }
    let mut chains: Vec<Vec<usize>> = Vec::new();
    for t in by_width {
        let of = &types[t];
        let takes = |chain: &&mut Vec<usize>| {
            let last = &types[chain[chain.len() - 1]];
            let is_within = || of.kinds.iter().all(|k| last.kinds.binary_search(k).is_ok());
            let key = |t: &ItemType| (t.period, t.stays_in, t.quota);
            problem.is_over_time()
                && (of.whole_gpus, of.one_name) == (0, None)
                && (last.whole_gpus, last.one_name) == (0, None)
                && key(of) == key(last)
                && is_within()
        };
        match chains.iter_mut().rev().take_while(|c| types[c[0]].period == of.period).find(takes) {
            Some(chain) => chain.push(t),
            None => chains.push(vec![t]),
        }
    }
    chains
}

impl Queues {
    /// Takes the next replica of a kind that takes so many GPUs.
    pub(crate) fn take_one(&mut self, kind: usize, gpus: u32) -> Option<Batch> {
        let batches = self.0.get_mut(&(kind, gpus))?;
        let front = batches.front_mut()?;
        front.count -= 1;
        let taken = Batch { count: 1, ..*front };
        if front.count == 0 {
            batches.pop_front();
        }
        Some(taken)
    }

    /// Replicas that still wait for a kind, whatever number of GPUs each takes.
    pub(crate) fn waiting(&self, kind: usize) -> i64 {
        self.0.range((kind, 0)..=(kind, u32::MAX)).flat_map(|(_, b)| b).map(|b| b.count).sum()
    }

    /// Replicas that still wait for a kind, by the number of GPUs that each takes.
    pub(crate) fn waiting_by_gpus(&self, kind: usize) -> impl Iterator<Item = (u32, i64)> {
        let of_kind = self.0.range((kind, 0)..=(kind, u32::MAX));
        of_kind.map(|((_, gpus), batches)| (*gpus, batches.iter().map(|b| b.count).sum()))
    }

    /// The replicas of each kind: the kind, and batches of equal replicas.
    pub(crate) fn batches(&self) -> impl Iterator<Item = (usize, &Batch)> {
        self.0.iter().flat_map(|((kind, _), batches)| batches.iter().map(|b| (*kind, b)))
    }

    /// Whether every replica has got its instance.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.values().all(VecDeque::is_empty)
    }
}
