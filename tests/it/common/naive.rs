//! The model that everybody writes first: a 0/1 column for each GPU and placement, and one for
//! each workload, GPU and profile. Right, and hopeless beyond a dozen GPUs; kept to check the
//! product's answers at the sizes that it still solves, and as the bench's yardstick.

use good_lp::{
    Expression, ProblemVariables, Solution, SolverModel, Variable, constraint, variable, variables,
};

use super::boards::Typed;

/// One board's identical GPUs, one replica for each entry of `memory_mib`: the most replicas that
/// fit, and among those plans the most MiB.
pub(crate) fn solve(
    profiles: &[Typed],
    slices: u32,
    gpus: usize,
    memory_mib: &[u64],
) -> (u64, u64) {
    let count = stage(profiles, slices, gpus, memory_mib, None);
    let mib = stage(profiles, slices, gpus, memory_mib, Some(count));
    (count, mib)
}

fn stage(
    profiles: &[Typed],
    slices: u32,
    gpus: usize,
    memory_mib: &[u64],
    at_least: Option<u64>,
) -> u64 {
    let mut columns: ProblemVariables = variables!();
    let mut binary = || columns.add(variable().binary());
    let placed: Vec<Vec<Vec<Variable>>> = (0..gpus)
        .map(|_| profiles.iter().map(|p| p.3.iter().map(|_| binary()).collect()).collect())
        .collect();
    let assigned: Vec<Vec<Vec<Option<Variable>>>> = memory_mib
        .iter()
        .map(|memory| {
            (0..gpus)
                .map(|_| profiles.iter().map(|p| (p.4 >= *memory).then(&mut binary)).collect())
                .collect()
        })
        .collect();
    let all = || {
        assigned.iter().zip(memory_mib).flat_map(|(of, memory)| {
            of.iter().flatten().flatten().map(move |column| (*column, *memory))
        })
    };
    let replicas: Expression = all().map(|(column, _)| column).sum();
    let memory: Expression = all().map(|(column, memory)| column * (memory as f64 / 1024.0)).sum();
    let goal = if at_least.is_some() { memory } else { replicas.clone() };
    let mut model = columns.maximise(goal).using(good_lp::highs).set_mip_rel_gap(0.0).unwrap();
    if let Some(count) = at_least {
        model.add_constraint(constraint!(replicas >= count as f64));
    }
    for of_gpu in &placed {
        for slice in 0..slices {
            let covering: Expression = profiles
                .iter()
                .zip(of_gpu)
                .flat_map(|(p, columns)| p.3.iter().zip(columns).map(move |(at, c)| (p, at, c)))
                .filter(|(p, at, _)| **at <= slice && slice < **at + p.2)
                .map(|(_, _, column)| *column)
                .sum();
            model.add_constraint(constraint!(covering <= 1));
        }
    }
    for (g, of_gpu) in placed.iter().enumerate() {
        for (p, columns) in of_gpu.iter().enumerate() {
            let made: Expression = columns.iter().copied().sum();
            let used: Expression = assigned.iter().filter_map(|w| w[g][p]).sum();
            model.add_constraint(constraint!(used <= made));
        }
    }
    for of_workload in &assigned {
        let once: Expression = of_workload.iter().flatten().flatten().copied().sum();
        model.add_constraint(constraint!(once <= 1));
    }
    let solution = model.solve().unwrap();
    all()
        .filter(|(column, _)| solution.value(*column) > 0.5)
        .map(|(_, memory)| if at_least.is_some() { memory } else { 1 })
        .sum()
}
