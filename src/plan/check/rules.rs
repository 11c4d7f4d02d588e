//! The rules of a site, looked at node by node.

use std::collections::{BTreeMap, BTreeSet};

use super::{Check, Conditions};
use crate::plan::Spare;
use crate::plan::{GpuPlan, MigModePolicy, Plan, Strategy};

impl Check<'_> {
    /// Every rule of the site that the plan breaks.
    pub(super) fn rules(&mut self, plan: &Plan, conditions: &Conditions) {
        let policy = &conditions.policy;
        let mut nodes: BTreeMap<&str, Vec<&GpuPlan>> = BTreeMap::new();
        let mut names: BTreeMap<(&str, &str), BTreeSet<String>> = BTreeMap::new();
        for gpu in &plan.gpus {
            nodes.entry(&gpu.node).or_default().push(gpu);
            for instance in gpu.instances.iter().filter(|_| policy.one_profile_per_workload) {
                if let Some(a) = &instance.assignment {
                    let of = names.entry((&a.team, &a.workload)).or_default();
                    of.insert(instance.profile.to_string());
                }
            }
        }
        for (node, gpus) in nodes {
            let off = gpus.iter().filter(|g| !g.mig).count();
            let agree = off == 0 || off == gpus.len();
            if policy.mig_mode == MigModePolicy::PerNode && !agree {
                self.fail(format!("{node}: GPUs differ in MIG mode"));
            }
            if policy.strategy == Strategy::Single {
                let with_mig = gpus.iter().filter(|g| g.mig).flat_map(|g| &g.instances);
                let profiles: BTreeSet<String> = with_mig.map(|i| i.profile.to_string()).collect();
                if !agree || profiles.len() > 1 {
                    self.fail(format!("{node}: has more than one profile"));
                }
            }
            if off < gpus.len().min(policy.keep_whole as usize) {
                self.fail(format!("{node}: only {off} GPUs are kept whole"));
            }
        }
        for ((team, name), profiles) in names {
            if profiles.len() > 1 {
                self.fail(format!("{team}/{name} is assigned to several profiles"));
            }
        }
        if conditions.spare == Spare::None {
            self.nothing_spare(plan, conditions);
        }
    }

    /// With `--spare none` a GPU in use has no free instance, unless something runs in it now.
    fn nothing_spare(&mut self, plan: &Plan, conditions: &Conditions) {
        if conditions.policy.strategy == Strategy::Single {
            // All GPUs of a node have its one profile, needed or not.
            return;
        }
        for (at, gpu) in plan.gpus.iter().enumerate() {
            let held = conditions.present.iter().find_map(|present| present.get(at));
            let busy = |start: u32| {
                held.is_some_and(|held| held.instances.iter().any(|h| h.start == start && h.busy))
            };
            let in_use = gpu.instances.iter().any(|i| i.assignment.is_some());
            for free in gpu.instances.iter().filter(|i| in_use && i.assignment.is_none()) {
                if !busy(free.start) {
                    self.fail(format!(
                        "{}/{}: {} at {} is free, but nothing spare was asked for",
                        gpu.node, gpu.gpu, free.profile, free.start
                    ));
                }
            }
        }
    }
}
