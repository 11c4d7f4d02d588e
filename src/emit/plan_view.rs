//! A plan as the kinds look at it: by node and by workload, with the resource names that the device
//! plugin gives to instances and the names that Kubernetes accepts.
//!
//! It reads a plan and the catalogue, and writes nothing: formats are the kinds' own.

use std::collections::{BTreeMap, BTreeSet};

use super::held::{Periods, PlacedWorkload, Request, describe};
use super::nodes::{self, NodeGpus};
use crate::demand::Demand;
use crate::error::{Diagnostic, Error, ExitCode, Result};
use crate::hardware::Catalogue;
use crate::kubernetes::{PRODUCT_LABEL, list, naming};
use crate::plan::over_time::OverTimeFile;
use crate::plan::{Checked, GpuPlan, Instance, InstanceProfile, Strategy};
use crate::text::plural;

/// What stands where only the reader knows the name.
pub(super) const FILL_IN: &str = "FILL-IN";

/// The names of a request's boards as a program knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Products<'p> {
    /// The names, ordered.
    known: BTreeSet<String>,
    /// The boards of which none is known.
    unknown: Vec<&'p str>,
}

impl<'p> Products<'p> {
    /// The names of each of these boards.
    fn of(boards: &BTreeSet<&'p str>, names: impl Fn(&str) -> Vec<String>) -> Products<'p> {
        let mut products = Products { known: BTreeSet::new(), unknown: Vec::new() };
        for id in boards {
            let names = names(id);
            if names.is_empty() {
                products.unknown.push(id);
            }
            products.known.extend(names);
        }
        products
    }

    /// What to write: the names, and a gap where a board has none.
    pub(super) fn values(&self) -> Vec<&str> {
        let gap = (!self.unknown.is_empty()).then_some(FILL_IN);
        self.known.iter().map(String::as_str).chain(gap).collect()
    }

    /// A warning on what is to fill in for `subject`; `name` is whose name it is.
    pub(super) fn to_fill_in(&self, subject: &str, name: &str) -> Option<Diagnostic> {
        (!self.unknown.is_empty()).then(|| {
            Diagnostic::new(format!(
                "{subject} must run on {}, but {name} for it is not known: fill it in",
                self.unknown.join(" or ")
            ))
        })
    }
}

/// A plan as the kinds look at it.
#[derive(Debug)]
pub struct PlanView<'p> {
    /// The boards.
    pub catalogue: &'p Catalogue,
    /// How instances are advertised.
    pub strategy: Strategy,
    /// The GPUs by node, ordered.
    pub nodes: Vec<NodeGpus<'p>>,
    /// The workloads of which replicas are placed, ordered by team and name.
    pub workloads: Vec<PlacedWorkload<'p>>,
    /// Those of teams that are not kept: names must be distinct from theirs too.
    others: Vec<PlacedWorkload<'p>>,
    /// Teams of which nothing is placed in any hour.
    pub unplaced_teams: Vec<&'p str>,
    /// What all workloads hold, in each period.
    pub held: Periods<'p>,
    /// The hours of a plan over time.
    pub hours: Option<u64>,
    /// Which instances go by a resource name: profile and board.
    offers: BTreeMap<String, BTreeSet<(&'p InstanceProfile, &'p str)>>,
    /// The namespace of each team of the plan, whichever teams are kept.
    namespaces: BTreeMap<&'p str, String>,
}

impl<'p> PlanView<'p> {
    /// Looks at a plan, in all its hours. `asked` is what it was made for, where its file says.
    pub fn new(
        plan: &'p Checked,
        over_time: Option<&'p OverTimeFile>,
        asked: Option<&'p Demand>,
        catalogue: &'p Catalogue,
        strategy: Strategy,
    ) -> PlanView<'p> {
        let mut offers: BTreeMap<String, BTreeSet<_>> = BTreeMap::new();
        for gpu in &plan.gpus {
            let whole = (!gpu.mig).then_some(&InstanceProfile::Full);
            for profile in gpu.instances.iter().map(|i| &i.profile).chain(whole) {
                let resource = nodes::resource(strategy, profile);
                offers.entry(resource).or_default().insert((profile, &*gpu.board));
            }
        }
        let held = Periods::new(plan, over_time);
        let workloads = held.workloads(plan, asked);
        let placed: BTreeSet<&str> = workloads.iter().map(|w| w.team).collect();
        // What a plan over time says is unplaced is so in one hour.
        let asked = asked.map_or(&[][..], Demand::workloads).iter().filter(|w| w.count > 0);
        let unplaced = plan.unplaced.iter().map(|u| &*u.team).chain(asked.map(|w| &*w.team));
        let unplaced_teams: BTreeSet<&str> = unplaced.filter(|t| !placed.contains(t)).collect();
        let namespaces = naming::dns_labels(placed.iter().chain(&unplaced_teams).copied(), "team");
        PlanView {
            catalogue,
            strategy,
            nodes: nodes::nodes(plan),
            workloads,
            others: Vec::new(),
            unplaced_teams: unplaced_teams.into_iter().collect(),
            held,
            hours: over_time.map(OverTimeFile::hours),
            offers,
            namespaces,
        }
    }

    /// Keeps the workloads of these teams; none named is all.
    ///
    /// # Errors
    /// A team of which the plan places nothing (exit 2).
    pub fn keep_teams(&mut self, teams: &[String]) -> Result<()> {
        if let Some(unknown) = teams.iter().find(|t| !self.workloads.iter().any(|w| w.team == **t))
        {
            let mut known: Vec<&str> = self.workloads.iter().map(|w| w.team).collect();
            known.dedup();
            return Err(Error::usage(format!("the plan places nothing of the team '{unknown}'"))
                .hint(format!("teams with placed workloads: {}", known.join(", "))));
        }
        if !teams.is_empty() {
            let is_kept = |w: &PlacedWorkload<'_>| teams.iter().any(|t| t == w.team);
            let (kept, others) = std::mem::take(&mut self.workloads).into_iter().partition(is_kept);
            self.workloads = kept;
            self.others.extend::<Vec<_>>(others);
            self.unplaced_teams.clear();
        }
        Ok(())
    }

    /// Checks that the device plugin will advertise every node under the strategy.
    ///
    /// # Errors
    /// The nodes where it does not, with its reason (exit 3).
    pub fn require_advertised(&self) -> Result<()> {
        const SHOWN: usize = 10;
        let refused: Vec<String> = self
            .nodes
            .iter()
            .filter_map(|node| {
                let reason = nodes::allocatable(self.strategy, node).err()?;
                Some(format!("node '{}' would advertise nothing: {reason}", node.name))
            })
            .collect();
        if refused.is_empty() {
            return Ok(());
        }
        let count = refused.len() as u64;
        let mut problems: Vec<Diagnostic> =
            refused.into_iter().take(SHOWN).map(Diagnostic::new).collect();
        if count > SHOWN as u64 {
            problems.push(Diagnostic::new(format!(
                "the same holds for {} in all",
                plural(count, "node")
            )));
        }
        Err(Error { code: ExitCode::BadInput, problems, hint: None }.hint(match self.strategy {
            Strategy::Single => {
                "MIG strategy 'single' needs one profile on all GPUs of a node: use --strategy mixed, or plan with `migplan suggest --strategy single`"
            }
            Strategy::Mixed => "a GPU with MIG on needs at least one instance",
        }))
    }

    /// The resource name that a request asks for.
    pub fn resource(&self, request: &Request<'_>) -> String {
        nodes::resource(self.strategy, request.profile)
    }

    /// Whether a pod must be kept to the request's boards, since other boards of the plan offer a
    /// resource of the same name.
    pub fn needs_its_boards(&self, request: &Request<'_>) -> bool {
        let wanted = |(profile, board): &(&InstanceProfile, &str)| {
            *profile == request.profile && request.boards.contains(board)
        };
        self.offers.get(&self.resource(request)).is_some_and(|offers| !offers.iter().all(wanted))
    }

    /// The values of the label `nvidia.com/gpu.product` that a pod must be kept to, since other
    /// boards of the plan offer a resource of the same name; `None` where no other does.
    pub(super) fn products(&self, request: &Request<'p>) -> Option<Products<'p>> {
        let names = |id: &str| self.board_products(id, request.profile);
        self.needs_its_boards(request).then(|| Products::of(&request.boards, names))
    }

    /// As [`PlanView::products`], the names that NVML has.
    pub(super) fn nvml_products(&self, request: &Request<'p>) -> Option<Products<'p>> {
        let names = |id: &str| self.catalogue.by_id(id).map_or(Vec::new(), |b| b.products.clone());
        self.needs_its_boards(request).then(|| Products::of(&request.boards, names))
    }

    /// The values of the label `nvidia.com/gpu.product` on nodes with this board and, under MIG
    /// strategy `single`, this profile.
    pub(super) fn board_products(&self, board: &str, profile: &InstanceProfile) -> Vec<String> {
        let Some(board) = self.catalogue.by_id(board) else {
            return Vec::new();
        };
        board
            .gfd_products
            .iter()
            .map(|product| match (self.strategy, profile) {
                (Strategy::Single, InstanceProfile::Mig(name)) => {
                    format!("{product}-MIG-{}", name.label())
                }
                _ => product.clone(),
            })
            .collect()
    }

    /// Warnings on workloads that one pod template cannot ask for.
    pub fn template_warnings(&self) -> Vec<Diagnostic> {
        let mut warnings = Vec::new();
        for workload in &self.workloads {
            let label = format!("{}/{}", workload.team, workload.workload);
            let kinds: Vec<String> =
                workload.at_once().map(|r| format!("{} × {}", r.replicas, describe(r))).collect();
            if kinds.len() > 1 {
                warnings.push(Diagnostic::new(format!(
                    "{label} is assigned to several kinds of instance ({}); one pod template asks for one of them, so it appears once for each",
                    kinds.join(", ")
                )));
            }
            let others = workload.requests.iter().filter(|r| r.replicas == 0);
            let others: Vec<String> = others.map(describe).collect();
            if !others.is_empty() {
                warnings.push(Diagnostic::new(format!(
                    "{label} is assigned to other kinds of instance at other hours ({}); a pod template knows no hours, so it asks for what the hour with most replicas has: plan with --one-profile-per-workload to fix that",
                    others.join(", ")
                )));
            }
        }
        warnings
    }

    /// Instances of a node that are allocated. Over time a plan does not say which of several equal
    /// ones are, so those count of which some are in any hour.
    pub(super) fn allocated(&self, node: &NodeGpus<'_>) -> u64 {
        let kinds = || self.held.rows().flat_map(|r| r.boards.keys().map(|b| (r.profile, *b)));
        let kinds: BTreeSet<(&InstanceProfile, &str)> =
            if self.hours.is_some() { kinds().collect() } else { BTreeSet::new() };
        let of_gpu = |gpu: &&GpuPlan| {
            let held = |i: &&Instance| {
                i.assignment.is_some() || kinds.contains(&(&i.profile, &*gpu.board))
            };
            gpu.instances.iter().filter(held).count() as u64
        };
        node.gpus.iter().map(of_gpu).sum()
    }

    /// The boards of the plan.
    pub(super) fn boards(&self) -> BTreeSet<&'p str> {
        self.offers.values().flatten().map(|(_, board)| *board).collect()
    }

    /// The name of an object for each of the texts that are made of a workload. Names are distinct in
    /// the whole plan, and the same whichever teams are kept.
    pub(super) fn object_names(
        &self,
        texts: impl Fn(&PlacedWorkload<'p>) -> Vec<String>,
    ) -> BTreeMap<String, String> {
        let texts: Vec<String> =
            self.workloads.iter().chain(&self.others).flat_map(texts).collect();
        let names = naming::dns_labels(texts.iter().map(String::as_str), "workload");
        names.into_iter().map(|(text, name)| (text.to_string(), name)).collect()
    }

    /// The namespace of a team of the plan.
    pub(super) fn namespace(&self, team: &str) -> &str {
        self.namespaces.get(team).map_or("", String::as_str)
    }

    /// A warning on teams whose names Kubernetes does not accept as they are.
    pub(super) fn renamed_teams(&self) -> Option<Diagnostic> {
        let kept = |team: &str| self.workloads.iter().any(|w| w.team == team);
        let renamed: Vec<String> = self
            .namespaces
            .iter()
            .filter(|(team, name)| *team != name && kept(team))
            .map(|(team, name)| format!("'{team}' is {name}"))
            .collect();
        (!renamed.is_empty()).then(|| {
            Diagnostic::new(format!(
                "names that Kubernetes does not accept were changed: {}",
                list::names(&renamed)
            ))
        })
    }

    /// A warning where pods are kept to one of these boards by the product label, but a node has
    /// several: feature discovery labels it with one of them.
    pub(super) fn mixed_nodes(&self, kept_to: &BTreeSet<&str>) -> Option<Diagnostic> {
        let mixed: Vec<&str> = self
            .nodes
            .iter()
            .filter(|node| {
                let boards: BTreeSet<&str> = node.gpus.iter().map(|g| g.board.as_ref()).collect();
                boards.len() > 1 && !boards.is_disjoint(kept_to)
            })
            .map(|node| node.name.as_ref())
            .collect();
        let first = mixed.first()?;
        let others = match mixed.len() {
            1 => String::new(),
            n => format!(" and {} more", n - 1),
        };
        Some(Diagnostic::new(format!(
            "node {first}{others} has several boards, but feature discovery's {PRODUCT_LABEL} names one of them: pods that are kept to the other find no node"
        )))
    }
}
