//! Which replicas are assigned to which kind of instance: for each item type and kind the replicas
//! of the type in the kind, for each demand class the replicas served.
//!
//! Replicas of a type in all its kinds = replicas served of all its classes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

use crate::optimise::model::{Column, Model, Terms};
use crate::optimise::problem::Problem;

/// The columns.
#[derive(Debug, Clone)]
pub(crate) struct Assignment {
    /// For each item type, for each of its kinds (by position): replicas there.
    pub assigned: Vec<Vec<Column>>,
    /// For each demand class: replicas served.
    pub served: Vec<Column>,
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
        let assigned: Vec<Vec<Column>> = problem
            .item_types
            .iter()
            .map(|t| {
                let most = problem.capacity(t);
                t.kinds.iter().map(|_| model.integer(0, most)).collect()
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
        Assignment { assigned, served }
    }

    /// Adds the balance of each type.
    pub(crate) fn balance(&self, model: &mut Model, problem: &Problem) {
        for (t, columns) in self.assigned.iter().enumerate() {
            let mut terms: Terms = columns.iter().map(|c| (*c, 1)).collect();
            for (class, column) in problem.classes.iter().zip(&self.served) {
                if class.item_type == t {
                    terms.push((*column, -1));
                }
            }
            model.equal(terms, 0);
        }
    }

    /// Lets no kind take more replicas of a type than its classes may be served.
    pub(crate) fn narrow(&self, model: &mut Model, problem: &Problem) {
        let mut most = vec![0; problem.item_types.len()];
        for (class, column) in problem.classes.iter().zip(&self.served) {
            most[class.item_type] += model.columns[*column].upper;
        }
        for (columns, most) in self.assigned.iter().zip(most) {
            for column in columns {
                let upper = &mut model.columns[*column].upper;
                *upper = most.min(*upper);
            }
        }
    }

    /// The columns of the replicas in one kind.
    pub(crate) fn in_kind(&self, problem: &Problem, kind: usize) -> Vec<Column> {
        let mut columns = Vec::new();
        for (of_type, t) in self.assigned.iter().zip(&problem.item_types) {
            if let Ok(at) = t.kinds.binary_search(&kind) {
                columns.push(of_type[at]);
            }
        }
        columns
    }

    /// The replicas that take whole GPUs of a pool with MIG off, by how many each takes.
    pub(crate) fn whole_by_size(
        &self,
        problem: &Problem,
        pool: usize,
    ) -> BTreeMap<usize, Vec<Column>> {
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

    /// Sums an attribute of the kinds over the allocated instances.
    pub(crate) fn allocated(&self, problem: &Problem, of: impl Fn(usize) -> i64) -> Terms {
        let mut terms = Terms::new();
        for (item_type, columns) in problem.item_types.iter().zip(&self.assigned) {
            let gpus = i64::from(item_type.whole_gpus.max(1));
            for (k, column) in item_type.kinds.iter().zip(columns) {
                terms.push((*column, of(*k) * gpus));
            }
        }
        terms
    }

    /// Decides which replicas are served and in which kind each is placed: the largest demands
    /// first, the largest in the largest instances, so that a workload is split over kinds as
    /// little as may be.
    pub(crate) fn decode(&self, problem: &Problem, values: &[i64]) -> Queues {
        let mut queues = Queues::default();
        for (t, item_type) in problem.item_types.iter().enumerate() {
            let mut served = self.served_of(problem, values, t);
            let mut kinds: Vec<(usize, i64)> = item_type
                .kinds
                .iter()
                .zip(&self.assigned[t])
                .map(|(k, column)| (*k, values[*column]))
                .collect();
            kinds.sort_by_key(|(k, _)| {
                let kind = &problem.kinds[*k];
                (Reverse((kind.memory_mib, kind.compute_slices)), *k)
            });
            for (kind, mut open) in kinds {
                let queue = queues.0.entry((kind, item_type.whole_gpus)).or_default();
                while open > 0 {
                    let Some(front) = served.front_mut() else { break };
                    let count = front.count.min(open);
                    queue.push_back(Batch { count, ..*front });
                    open -= count;
                    front.count -= count;
                    if front.count == 0 {
                        served.pop_front();
                    }
                }
            }
        }
        for queue in queues.0.values_mut() {
            // By team and name, so that a team's replicas come to lie side by side.
            queue.make_contiguous().sort_by_key(|b| (b.workload, Reverse(b.memory_mib)));
        }
        queues
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

    /// Whether every replica has got its instance.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.values().all(VecDeque::is_empty)
    }
}
