//! Each GPU by itself: its instances are where the board allows them, and what they are assigned to
//! may use them. What is counted on some of the GPUs adds up to what all have, so large plans are
//! read in parts, side by side.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::{At, Check, Label, add, allows, has_media, note};
use crate::fleet::{Fleet, Node};
use crate::hardware::{Board, Profile, ProfileName};
use crate::plan::{Assignment, GpuPlan, Instance, InstanceProfile, LeftOutGpu, Plan};

/// GPUs that are read at once.
const PART: usize = 4096;

/// An instance that a replica was found in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found<'a> {
    /// Index of its workload.
    pub workload: usize,
    /// The replica's number.
    pub replica: u64,
    pub node: &'a str,
    pub demand_mib: u64,
    pub memory_mib: u64,
}

/// What some of the GPUs have.
#[derive(Debug, Default)]
pub(super) struct Counted<'a> {
    /// What is wrong with them.
    violations: Vec<String>,
    /// The instances that replicas were found in, GPU by GPU.
    pub found: Vec<Found<'a>>,
    /// What the replicas are said to need.
    placed_mib: u64,
    /// Memory of the instances that they are in.
    pub allocated_mib: u64,
    pub compute_slices: u64,
    /// Memory of the other instances.
    spare_mib: u64,
    gpus_used: u64,
    /// Boards and profiles that serve a replica.
    pub kinds: Vec<(&'a str, &'a InstanceProfile)>,
    /// Free instances on GPUs in use, by board and profile.
    pub free: BTreeMap<(&'a str, &'a ProfileName), u64>,
    /// The same by memory.
    pub free_memory: BTreeMap<u64, u64>,
}

/// A GPU of the fleet: its node's name, its index there, its board.
type OfFleet<'a> = (&'a str, u32, &'a Board);

impl<'a> Check<'a> {
    /// Every GPU of the fleet is there once, and each layout is one that the board can hold.
    pub(super) fn gpus(&mut self, plan: &'a Plan, fleet: &'a Fleet) {
        let of_node = |node: &'a Node| {
            let gpus = node.indices().zip(&node.gpus);
            gpus.map(move |(index, board)| (node.name.as_str(), index, &**board))
        };
        let expected: Vec<OfFleet<'a>> = fleet.nodes().iter().flat_map(of_node).collect();
        let count = |(planned, expected): (&'a [GpuPlan], &[OfFleet<'a>])| {
            let mut counted = Counted::default();
            for (gpu, of_fleet) in planned.iter().zip(expected) {
                counted.read(self, gpu, of_fleet);
            }
            counted
        };
        let mut counted = match plan.gpus.len() > PART {
            false => count((&plan.gpus, &expected)),
            true => {
                let parts = plan.gpus.par_chunks(PART).zip(expected.par_chunks(PART));
                let parts: Vec<Counted<'a>> = parts.map(count).collect();
                parts.into_iter().fold(Counted::default(), Counted::and)
            }
        };
        counted.violations.drain(..).for_each(|what| self.fail(what));
        for (node, index, _) in expected.iter().skip(plan.gpus.len()) {
            self.fail(format!("GPU {index} of {node} is not in the plan"));
        }
        if plan.gpus.len() > expected.len() {
            self.fail("the plan has GPUs that the fleet does not have".to_string());
        }
        if plan.left_out != LeftOutGpu::of_fleet(fleet) {
            self.fail("the GPUs that the plan leaves out are not those of the fleet".to_string());
        }
        self.sums.fleet_mib = expected.iter().map(|(_, _, board)| board.memory.0).sum();
        self.sums.gpus = expected.len() as u64;
        self.sums.gpus_used = counted.gpus_used;
        self.sums.placed_mib = counted.placed_mib;
        self.sums.spare_mib = counted.spare_mib;
        self.counted = counted;
    }
}

impl<'a> Counted<'a> {
    fn fail(&mut self, what: String) {
        note(&mut self.violations, what);
    }

    /// What these GPUs and others have.
    fn and(mut self, other: Counted<'a>) -> Counted<'a> {
        other.violations.into_iter().for_each(|what| self.fail(what));
        self.found.extend(other.found);
        add(&mut self.placed_mib, other.placed_mib);
        add(&mut self.allocated_mib, other.allocated_mib);
        add(&mut self.compute_slices, other.compute_slices);
        add(&mut self.spare_mib, other.spare_mib);
        self.gpus_used += other.gpus_used;
        other.kinds.into_iter().for_each(|(board, profile)| self.serves(board, profile));
        for (kind, count) in other.free {
            *self.free.entry(kind).or_default() += count;
        }
        for (memory_mib, count) in other.free_memory {
            *self.free_memory.entry(memory_mib).or_default() += count;
        }
        self
    }

    /// A replica was found in an instance of this kind.
    fn serves(&mut self, board: &'a str, profile: &'a InstanceProfile) {
        if !self.kinds.iter().any(|(b, p)| *p == profile && *b == board) {
            self.kinds.push((board, profile));
        }
    }

    /// Reads one GPU of the plan, which must be this one of the fleet.
    fn read(&mut self, check: &Check<'a>, gpu: &'a GpuPlan, of_fleet: &OfFleet<'a>) {
        let (node, index, board) = *of_fleet;
        if *gpu.node == *node && gpu.gpu == index && *gpu.board == *board.id {
            self.gpu(check, gpu, board);
        } else {
            self.fail(format!(
                "the plan has {}/{} ({}) where the fleet has {node}/{index} ({})",
                gpu.node, gpu.gpu, gpu.board, board.id
            ));
        }
    }

    /// One GPU: its instances are where the board allows them, and its sums.
    fn gpu(&mut self, check: &Check<'a>, gpu: &'a GpuPlan, board: &'a Board) {
        let at = At(gpu);
        let mut slices = vec![false; board.memory_slices as usize];
        let mut engines = Engines::default();
        let in_use = gpu.instances.iter().any(|i| i.assignment.is_some());
        for instance in &gpu.instances {
            let profile = self.instance(gpu, board, instance);
            profile.into_iter().for_each(|profile| engines.count(profile));
            for slice in instance.start..instance.start.saturating_add(instance.size) {
                match slices.get_mut(slice as usize) {
                    Some(taken) if !*taken => *taken = true,
                    _ => {
                        self.fail(format!("{at}: memory slice {slice} is used twice or missing"));
                        break;
                    }
                }
            }
            if let Some(assignment) = &instance.assignment {
                add(&mut self.allocated_mib, instance.memory_mib);
                add(&mut self.placed_mib, assignment.demand_mib);
                let compute = profile.map_or(board.compute_slices, |p| p.compute_slices);
                add(&mut self.compute_slices, u64::from(compute));
                self.serves(&board.id, &instance.profile);
                self.assignment(check, gpu, board, profile, instance, assignment);
            } else {
                add(&mut self.spare_mib, instance.memory_mib);
                if let (Some(profile), true) = (profile, in_use) {
                    *self.free.entry((&board.id, &profile.name)).or_default() += 1;
                    *self.free_memory.entry(profile.memory.0).or_default() += 1;
                }
            }
        }
        if engines.are_shared() {
            self.fail(format!("{at}: the media engines are allocated more than once"));
        }
        if gpu.mig && gpu.instances.is_empty() {
            self.fail(format!("{at}: MIG is on, but there is no instance"));
        }
        self.gpus_used += u64::from(in_use);
    }

    /// One instance is what the board can make; returns its profile where it is a MIG instance.
    fn instance<'b>(
        &mut self,
        gpu: &GpuPlan,
        board: &'b Board,
        instance: &Instance,
    ) -> Option<&'b Profile> {
        let at = At(gpu);
        match (&instance.profile, gpu.mig) {
            (InstanceProfile::Full, false) => {
                if (instance.start, instance.size) != (0, board.memory_slices)
                    || instance.memory_mib != board.memory.0
                {
                    self.fail(format!("{at}: the whole GPU is not described as such"));
                }
                None
            }
            (InstanceProfile::Mig(name), true) => {
                let Some(p) = board.profiles.iter().find(|p| p.name == *name) else {
                    self.fail(format!("{at}: {} has no profile {name}", board.id));
                    return None;
                };
                if !p.starts.contains(&instance.start)
                    || p.memory_slices != instance.size
                    || p.memory.0 != instance.memory_mib
                {
                    self.fail(format!(
                        "{at}: {name} cannot be at {}+{} with {} MiB",
                        instance.start, instance.size, instance.memory_mib
                    ));
                }
                Some(p)
            }
            (profile, mig) => {
                self.fail(format!("{at}: {profile} with MIG {}", if mig { "on" } else { "off" }));
                None
            }
        }
    }

    /// The replica may use the instance that it is assigned to.
    fn assignment(
        &mut self,
        check: &Check<'a>,
        gpu: &'a GpuPlan,
        board: &Board,
        profile: Option<&Profile>,
        instance: &Instance,
        assignment: &Assignment,
    ) {
        let at = At(gpu);
        let Assignment { team, workload: name, .. } = assignment;
        let Some(index) = check.index.of(team, name) else {
            self.fail(format!("{at}: {team}/{name} is not in the demand"));
            return;
        };
        let workload = &check.workloads[index];
        let name = Label(workload);
        if !allows(workload, board) {
            self.fail(format!("{at}: {name} may not run on {}", board.id));
        }
        if assignment.demand_mib > instance.memory_mib {
            self.fail(format!("{at}: {name} does not fit its instance"));
        }
        let compute = profile.map_or(board.compute_slices, |p| p.compute_slices);
        if compute < workload.compute_slices {
            self.fail(format!("{at}: {name} has too few compute slices"));
        }
        match (workload.whole_gpus, profile) {
            (0, Some(profile)) => {
                if workload.media && !has_media(profile) {
                    self.fail(format!("{at}: {name} has no media engines"));
                }
            }
            (0, None) => self.fail(format!("{at}: {name} did not ask for a whole GPU")),
            // On a node whose GPUs all have MIG on, a whole GPU is one instance of all of it.
            (1, Some(p)) if p.memory_slices == board.memory_slices => {}
            (_, Some(_)) => self.fail(format!("{at}: {name} asked for whole GPUs")),
            (_, None) => {}
        }
        self.found.push(Found {
            workload: index,
            replica: assignment.replica,
            node: &gpu.node,
            demand_mib: assignment.demand_mib,
            memory_mib: instance.memory_mib,
        });
    }
}

/// The instances of one GPU by their media engines.
#[derive(Default)]
struct Engines {
    one_set: u32,
    all: u32,
    /// Those that are not without any.
    not_without: u32,
}

impl Engines {
    fn count(&mut self, profile: &Profile) {
        let has = |attributes: &[String], name: &str| attributes.iter().any(|a| a == name);
        let ProfileName { plus, minus, .. } = &profile.name;
        self.one_set += u32::from(has(plus, "me"));
        self.all += u32::from(has(plus, "me.all"));
        self.not_without += u32::from(!has(minus, "me"));
    }

    /// Whether instances would have to share engines that only one can have.
    fn are_shared(&self) -> bool {
        self.one_set > 1 || self.all > 1 || self.all == 1 && self.not_without > 1
    }
}
