//! A plan against the boards that it names: what can be asked of a plan that comes from a file.
//!
//! What is wrong is said for people, all of it at once. Unlike the check of a fresh plan this one
//! uses the rules of layouts as everybody else does: it guards against files, not against bugs.

use std::collections::HashMap;

use crate::hardware::layout::{self, Placement};
use crate::hardware::{Board, Catalogue};
use crate::plan::{GpuPlan, InstanceProfile, Plan};
use crate::text::plural;

/// After so many violations the rest is not looked for.
const MOST_VIOLATIONS: usize = 100;

/// Everything that the boards of `catalogue` do not allow, each with its node and GPU.
pub(super) fn violations(plan: &Plan, catalogue: &Catalogue) -> Vec<String> {
    let mut problems = Vec::new();
    let mut seen: HashMap<(&str, u32), ()> = HashMap::with_capacity(plan.gpus.len());
    let mut homes: HashMap<(&str, &str, u64), &str> = HashMap::new();
    for gpu in &plan.gpus {
        let mut report = |message: String| {
            problems.push(format!("node '{}' GPU {}: {message}", printable(&gpu.node), gpu.gpu));
        };
        if gpu.node.is_empty() || gpu.node.chars().any(char::is_control) {
            report("the node's name is empty or has a control character".to_string());
        }
        if seen.insert((&gpu.node, gpu.gpu), ()).is_some() {
            report("is a duplicate".to_string());
        }
        match catalogue.by_id(&gpu.board) {
            None => report(format!("the board '{}' is not known", printable(&gpu.board))),
            Some(board) => check_gpu(gpu, board, &mut report),
        }
        for assignment in gpu.instances.iter().filter_map(|i| i.assignment.as_ref()) {
            for name in [&assignment.team, &assignment.workload] {
                if name.is_empty() || name.chars().any(char::is_control) {
                    report(format!(
                        "the name '{}' is empty or has a control character",
                        printable(name)
                    ));
                }
            }
            let replica = (&*assignment.team, &*assignment.workload, assignment.replica);
            let home = homes.entry(replica).or_insert(&gpu.node);
            if **home != *gpu.node {
                report(format!(
                    "replica {} of {}/{} is on node '{home}' too",
                    assignment.replica, assignment.team, assignment.workload
                ));
            }
        }
        if problems.len() > MOST_VIOLATIONS {
            break;
        }
    }
    for gpu in &plan.left_out {
        let at = format!("node '{}' GPU {}", printable(&gpu.node), gpu.gpu);
        if !plan.gpus.iter().any(|other| other.node == gpu.node) {
            problems.push(format!("{at}: is left out of a node that the plan does not have"));
        } else if seen.insert((&gpu.node, gpu.gpu), ()).is_some() {
            problems.push(format!("{at}: is left out, but is there already"));
        }
        if problems.len() > MOST_VIOLATIONS {
            break;
        }
    }
    if plan.gpus.is_empty() {
        problems.push("the plan has no GPUs".to_string());
    }
    problems
}

/// Everything about one GPU that its board does not allow.
fn check_gpu(gpu: &GpuPlan, board: &Board, report: &mut impl FnMut(String)) {
    let mut placements = Vec::with_capacity(gpu.instances.len());
    let mut complete = true;
    for instance in &gpu.instances {
        let what = format!("{}@{}", instance.profile, instance.start);
        let (size, memory) = match &instance.profile {
            InstanceProfile::Full => {
                if gpu.mig {
                    report("'full' is a GPU with MIG off, but here MIG is on".to_string());
                }
                if instance.start != 0 {
                    report(format!("{what}: a whole GPU starts at 0"));
                }
                (board.memory_slices, board.memory.0)
            }
            InstanceProfile::Mig(name) => {
                if !gpu.mig {
                    report(format!("{what}: an instance needs MIG, which is off here"));
                }
                let Some((profile, known)) = board.profile(name) else {
                    report(format!("{} has no profile {name}", board.id));
                    complete = false;
                    continue;
                };
                placements.push(Placement { start: instance.start, profile });
                (known.memory_slices, board.memory.0)
            }
        };
        if instance.size != size {
            report(format!("{what}: size is {}, but the profile takes {size}", instance.size));
        }
        if instance.memory_mib == 0 || instance.memory_mib > memory {
            report(format!(
                "{what}: memory_mib is {}, but the board has {memory}",
                instance.memory_mib
            ));
        }
        if let Some(assignment) = &instance.assignment
            && assignment.demand_mib > instance.memory_mib
        {
            report(format!(
                "{what}: {}/{} needs {} MiB, more than the instance's {}",
                assignment.team, assignment.workload, assignment.demand_mib, instance.memory_mib
            ));
        }
    }
    if gpu.mig && gpu.stays_whole {
        report("stays whole, but here MIG is on".to_string());
    }
    if !gpu.mig && gpu.instances.len() > 1 {
        report(format!(
            "has {} with MIG off",
            plural(u64::try_from(gpu.instances.len()).unwrap_or(0), "instance")
        ));
    }
    if complete
        && gpu.mig
        && let Err(e) = layout::check(board, &placements)
    {
        report(e.to_string());
    }
}

/// A text that cannot upset a terminal or fill a screen.
pub(in crate::plan) fn printable(text: &str) -> String {
    text.chars().take(80).map(|c| if c.is_control() { '?' } else { c }).collect()
}
