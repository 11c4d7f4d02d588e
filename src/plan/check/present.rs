//! What the plan destroys of what the GPUs hold now, and that nothing busy goes.

use super::{At, Check, Conditions, HeldInstance};
use crate::fleet::Fleet;
use crate::hardware::Board;
use crate::plan::{GpuPlan, InstanceProfile, Plan};

impl Check<'_> {
    /// Counts present instances that the plan destroys, and refuses to see a busy one go.
    pub(super) fn present(&mut self, plan: &Plan, fleet: &Fleet, conditions: &Conditions) {
        let (Some(present), [node]) = (&conditions.present, fleet.nodes()) else {
            if let Some(gpu) = plan.gpus.iter().find(|gpu| gpu.stays_whole) {
                self.fail(format!("{}: it stays whole, and nothing is known of it", At(gpu)));
            }
            return;
        };
        for ((gpu, board), now) in plan.gpus.iter().zip(&node.gpus).zip(present) {
            let stays_whole = now.in_use_whole && !conditions.allow_disruption;
            if stays_whole && gpu.mig {
                self.fail(format!("{}: MIG is turned on under what runs there", At(gpu)));
            }
            if stays_whole != gpu.stays_whole {
                self.fail(format!("{}: whether it stays whole is said wrongly", At(gpu)));
            }
            let held = &now.instances[..];
            for instance in held {
                match stays(gpu, board, held, instance) {
                    Stays::Yes => continue,
                    Stays::WhileUnused => {
                        self.perhaps_destroyed += 1;
                        continue;
                    }
                    Stays::No => self.destroyed += 1,
                }
                if instance.busy && !conditions.allow_disruption {
                    self.fail(format!(
                        "{}: the busy {} at {} is destroyed",
                        At(gpu),
                        instance.profile,
                        instance.start
                    ));
                }
            }
        }
    }
}

/// Whether an instance and what is in it stay where they are.
enum Stays {
    Yes,
    /// Only because the GPU serves no replica and is left as it is.
    WhileUnused,
    No,
}

fn stays(gpu: &GpuPlan, board: &Board, held: &[HeldInstance], instance: &HeldInstance) -> Stays {
    let same = |h: &HeldInstance| {
        gpu.instances.iter().any(|i| {
            i.start == h.start
                && matches!(&i.profile, InstanceProfile::Mig(name) if *name == h.profile)
        })
    };
    if !gpu.mig || !same(instance) {
        return Stays::No;
    }
    let untouched = gpu.instances.len() == held.len()
        && gpu.instances.iter().all(|i| i.assignment.is_none())
        && held.iter().all(same);
    // A plan's instance has one compute instance that takes all of it; others in it must go,
    // unless the GPU is left as it is.
    let full = board.profiles.iter().find(|p| p.name == instance.profile);
    let fits = |slices: &u32| full.is_some_and(|p| p.compute_slices == *slices);
    match (instance.compute.len() <= 1 && instance.compute.iter().all(fits), untouched) {
        (true, _) => Stays::Yes,
        (false, true) => Stays::WhileUnused,
        (false, false) => Stays::No,
    }
}
