//! From the layouts that a search chose to the GPUs of the fleet, and to the plan of each
//! configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::joints::Chosen;
use super::layouts::GpuLayout;
use crate::demand::over_time::OverTime;
use crate::error::Result;
use crate::fleet::Fleet;
use crate::hardware::BoardRef;
use crate::optimise::PlanOptions;
use crate::optimise::assign::{self, Placed};
use crate::optimise::over_time::{self, Found};
use crate::optimise::problem::Problem;
use crate::plan::over_time::OverTimePlan;
use crate::plan::{Allocated, GpuPlan, Instance, InstanceProfile, Proof};

/// For each node and GPU of the fleet, its layouts; `None` for a GPU that no configuration uses.
/// GPUs with the same layouts lie side by side, so that few nodes differ.
pub(crate) fn on_gpus(
    fleet: &Fleet,
    base: &Problem,
    chosen: &Chosen,
) -> Vec<Vec<Option<Vec<GpuLayout>>>> {
    let mut left: Vec<Vec<(&Vec<GpuLayout>, i64)>> = chosen
        .iter()
        .map(|of_pool| of_pool.iter().rev().map(|(layouts, gpus)| (layouts, *gpus)).collect())
        .collect();
    let mut next = |board: &BoardRef| {
        let pool = base.pools.iter().position(|p| p.board.id == board.id)?;
        let (layouts, gpus) = left[pool].last_mut()?;
        let layouts = layouts.clone();
        *gpus -= 1;
        if *gpus == 0 {
            left[pool].pop();
        }
        Some(layouts)
    };
    fleet.nodes().iter().map(|node| node.gpus.iter().map(&mut next).collect()).collect()
}

/// The plan of one configuration: the layouts of all GPUs, and for each period of `demand`, which
/// has the hours of this configuration alone, what is allocated.
///
/// # Errors
/// A contradiction inside (exit 1).
pub(crate) fn plan(
    demand: &OverTime,
    fleet: &Fleet,
    layouts: &[Vec<Option<&GpuLayout>>],
    periods: Vec<Vec<Allocated>>,
    proof: Proof,
) -> Result<OverTimePlan> {
    let shown = over_time::shown(demand, fleet, &periods);
    let options = PlanOptions::default();
    let problem = Problem::over_time(demand, fleet, &options);
    let rows = periods.get(shown).map_or(&[][..], Vec::as_slice);
    let placed = place(demand, fleet, layouts, rows);
    over_time::finish(demand, fleet, &problem, &options, Found { placed, shown, periods, proof })
}

/// By board and kind of instance, the workloads with the replicas that wait for one.
type Waiting = BTreeMap<(Arc<str>, InstanceProfile), Vec<(usize, u64)>>;

/// Makes the instances of the layouts and assigns the replicas of `rows` to them.
fn place(
    demand: &OverTime,
    fleet: &Fleet,
    layouts: &[Vec<Option<&GpuLayout>>],
    rows: &[Allocated],
) -> Placed {
    let workloads = demand.peak().workloads();
    let mut waiting = Waiting::new();
    for row in rows.iter().rev() {
        let of = waiting.entry((row.board.clone(), row.profile.clone())).or_default();
        of.push((row.workload, row.replicas));
    }
    let mut replicas = vec![0u64; workloads.len()];
    let mut assign = |board: &Arc<str>, instance: &mut Instance| {
        let key = (board.clone(), instance.profile.clone());
        let Some(queue) = waiting.get_mut(&key) else { return };
        let Some((workload, left)) = queue.last_mut() else { return };
        let of = &workloads[*workload];
        replicas[*workload] += 1;
        let demand_mib = of.memory.map_or(instance.memory_mib, |m| m.0);
        instance.assignment = Some(assign::assignment(of, replicas[*workload], demand_mib));
        *left -= 1;
        if *left == 0 {
            queue.pop();
        }
    };
    let mut gpus = Vec::new();
    for (node, of_node) in fleet.nodes().iter().zip(layouts) {
        let name: Arc<str> = node.name.as_str().into();
        for (index, (board, layout)) in node.gpus.iter().zip(of_node).enumerate() {
            let id: Arc<str> = board.id.as_str().into();
            let instances = match layout {
                Some(Some(placements)) => {
                    placements.iter().map(|p| assign::free_instance(board, *p)).collect()
                }
                _ => vec![assign::full_instance(board, None)],
            };
            let mut gpu = GpuPlan {
                node: name.clone(),
                gpu: node.index(index),
                board: id.clone(),
                mig: matches!(layout, Some(Some(_))),
                stays_whole: false,
                instances,
            };
            gpu.instances.sort_by_key(|i| i.start);
            gpu.instances.iter_mut().for_each(|i| assign(&id, i));
            gpus.push(gpu);
        }
    }
    Placed { gpus, replicas }
}
