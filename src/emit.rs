//! What the surroundings need from a plan, each kind in a file of its own: pure functions from a
//! [`Plan`](crate::plan::Plan) to text.
//!
//! This file holds what the kinds share: the plan by node and by workload, the resource names that
//! the device plugin gives to instances, names that Kubernetes takes. Nothing here prints, asks a
//! driver or knows how a plan was found. Nothing schedules either: each kind hands the engine that
//! does what it takes.

pub mod airflow;
pub mod capacity;
pub mod checkpoint;
pub mod configmap;
pub mod device_plugin;
pub mod jupyterhub;
pub mod kueue;
pub mod labels;
pub mod mig_parted;
pub mod nvidia_smi;
pub mod pod;
pub mod prometheus_rules;
pub mod slurm;
pub mod systemd;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::error::{Diagnostic, Error, ExitCode, Result};
use crate::hardware::{BoardRef, Catalogue};
pub use crate::plan::Strategy;
use crate::plan::{Assignment, Checked, GpuPlan, InstanceProfile};
use crate::text::plural;
use crate::units::Mebibytes;

/// A text for one of the surroundings, and what its user should know beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emitted {
    /// The text.
    pub text: String,
    /// What the text cannot express or what will surprise.
    pub warnings: Vec<Diagnostic>,
}

impl From<String> for Emitted {
    fn from(text: String) -> Emitted {
        Emitted { text, warnings: Vec::new() }
    }
}

/// One node of a plan with its GPUs, ordered by index.
#[derive(Debug, Clone)]
pub struct NodeGpus<'p> {
    /// The node's name.
    pub name: &'p Arc<str>,
    /// Its GPUs, ordered by index.
    pub gpus: Vec<&'p GpuPlan>,
}

/// The GPUs of a plan by node, ordered by node and index whatever the order of the plan.
pub fn nodes(plan: &Checked) -> Vec<NodeGpus<'_>> {
    let mut gpus: Vec<&GpuPlan> = plan.gpus.iter().collect();
    gpus.sort_by(|a, b| (&a.node, a.gpu).cmp(&(&b.node, b.gpu)));
    gpus.chunk_by(|a, b| a.node == b.node)
        .filter_map(|of_node| {
            of_node.first().map(|first| NodeGpus { name: &first.node, gpus: of_node.to_vec() })
        })
        .collect()
}

/// The resource name of a GPU without MIG, and under [`Strategy::Single`] of every instance.
pub const GPU_RESOURCE: &str = "nvidia.com/gpu";

/// How NVIDIA's device plugin advertises instances under a strategy.
impl Strategy {
    /// The strategy as the device plugin spells it.
    pub fn name(self) -> &'static str {
        match self {
            Strategy::Mixed => "mixed",
            Strategy::Single => "single",
        }
    }

    /// The resource that a pod asks for to get such an instance (device plugin,
    /// `internal/rm/rm.go`: a `+` becomes a `.`).
    pub fn resource(self, profile: &InstanceProfile) -> String {
        match (self, profile) {
            (Strategy::Mixed, InstanceProfile::Mig(name)) => {
                format!("nvidia.com/mig-{}", name.label())
            }
            _ => GPU_RESOURCE.to_string(),
        }
    }

    /// What a node advertises once it is cut, or why the device plugin refuses the node as a whole
    /// (`internal/rm/device_map.go`).
    ///
    /// # Errors
    /// The plugin's reason.
    pub fn allocatable(
        self,
        node: &NodeGpus<'_>,
    ) -> std::result::Result<BTreeMap<String, u64>, String> {
        let mut resources: BTreeMap<String, u64> = BTreeMap::new();
        let mut profiles: BTreeSet<&InstanceProfile> = BTreeSet::new();
        let (mut whole, mut cut) = (0u64, 0u64);
        for gpu in &node.gpus {
            if !gpu.mig {
                whole += 1;
                *resources.entry(GPU_RESOURCE.to_string()).or_default() += 1;
                continue;
            }
            cut += 1;
            if gpu.instances.is_empty() {
                return Err(format!("GPU {} has MIG on and no instance", gpu.gpu));
            }
            for instance in &gpu.instances {
                profiles.insert(&instance.profile);
                *resources.entry(self.resource(&instance.profile)).or_default() += 1;
            }
        }
        if self == Strategy::Single && cut > 0 {
            if whole > 0 {
                return Err(format!("MIG is on for {} and off for {whole}", plural(cut, "GPU")));
            }
            if profiles.len() > 1 {
                let names: Vec<String> = profiles.iter().map(ToString::to_string).collect();
                return Err(format!("it has several profiles: {}", names.join(", ")));
            }
        }
        Ok(resources)
    }
}

/// What a workload's replicas ask for: one kind of instance, once or several times each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'p> {
    /// The profile.
    pub profile: &'p InstanceProfile,
    /// Instances (or whole GPUs) of each replica.
    pub per_replica: u64,
    /// How many replicas sit in such instances.
    pub replicas: u64,
    /// The boards that these are on.
    pub boards: BTreeSet<&'p str>,
    /// The usable memory of the smallest of them.
    pub memory: Mebibytes,
}

/// A workload that has places, with what its pods ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seats<'p> {
    /// The team.
    pub team: &'p str,
    /// The workload.
    pub workload: &'p str,
    /// Its requests; more than one where its replicas sit in different kinds of instance.
    pub requests: Vec<Request<'p>>,
}

/// A plan as the kinds look at it.
#[derive(Debug)]
pub struct View<'p> {
    /// The boards.
    pub catalogue: &'p Catalogue,
    /// How instances are advertised.
    pub strategy: Strategy,
    /// The GPUs by node, ordered.
    pub nodes: Vec<NodeGpus<'p>>,
    /// The workloads that have places, ordered by team and name.
    pub seats: Vec<Seats<'p>>,
    /// Teams of which nothing has a place.
    pub teams_without_seats: Vec<&'p str>,
    /// Which instances go by a resource name: profile and board.
    offers: BTreeMap<String, BTreeSet<(&'p InstanceProfile, &'p str)>>,
}

impl<'p> View<'p> {
    /// Looks at a plan.
    pub fn new(plan: &'p Checked, catalogue: &'p Catalogue, strategy: Strategy) -> View<'p> {
        let nodes = nodes(plan);
        let mut kinds: BTreeSet<(&InstanceProfile, &str)> = BTreeSet::new();
        let mut places: Vec<(&Assignment, &InstanceProfile, &str, u64)> = Vec::new();
        for gpu in &plan.gpus {
            if !gpu.mig {
                kinds.insert((&InstanceProfile::Full, &gpu.board));
            }
            for instance in &gpu.instances {
                kinds.insert((&instance.profile, &gpu.board));
                if let Some(assignment) = &instance.assignment {
                    places.push((assignment, &instance.profile, &gpu.board, instance.memory_mib));
                }
            }
        }
        let mut offers: BTreeMap<String, BTreeSet<_>> = BTreeMap::new();
        for (profile, board) in kinds {
            offers.entry(strategy.resource(profile)).or_default().insert((profile, board));
        }
        let seats = seats(places);
        let with_seats: BTreeSet<&str> = seats.iter().map(|s| s.team).collect();
        let teams_without_seats: BTreeSet<&str> = plan
            .unplaced
            .iter()
            .map(|u| u.team.as_ref())
            .filter(|t| !with_seats.contains(t))
            .collect();
        View {
            catalogue,
            strategy,
            nodes,
            seats,
            teams_without_seats: teams_without_seats.into_iter().collect(),
            offers,
        }
    }

    /// Keeps the workloads of these teams; none named is all.
    ///
    /// # Errors
    /// A team that has no place in the plan (exit 2).
    pub fn keep_teams(&mut self, teams: &[String]) -> Result<()> {
        if let Some(unknown) = teams.iter().find(|t| !self.seats.iter().any(|s| s.team == **t)) {
            let mut known: Vec<&str> = self.seats.iter().map(|s| s.team).collect();
            known.dedup();
            return Err(Error::usage(format!("the team '{unknown}' has no place in the plan"))
                .hint(format!("teams with places: {}", known.join(", "))));
        }
        if !teams.is_empty() {
            self.seats.retain(|s| teams.iter().any(|t| t == s.team));
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
                let reason = self.strategy.allocatable(node).err()?;
                Some(format!("node '{}' would advertise nothing: {reason}", node.name))
            })
            .collect();
        if refused.is_empty() {
            return Ok(());
        }
        let count = u64::try_from(refused.len()).unwrap_or(0);
        let mut problems: Vec<Diagnostic> =
            refused.into_iter().take(SHOWN).map(Diagnostic::new).collect();
        if count > SHOWN as u64 {
            problems.push(Diagnostic::new(format!("so would {} in all", plural(count, "node"))));
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
        self.strategy.resource(request.profile)
    }

    /// The values of the label `nvidia.com/gpu.product` that a pod must be kept to, since other
    /// boards of the plan offer a resource of the same name; `None` where no other does.
    pub fn products(&self, request: &Request<'_>) -> Option<Vec<String>> {
        let offers = self.offers.get(&self.resource(request))?;
        let wanted = |(profile, board): &(&InstanceProfile, &str)| {
            *profile == request.profile && request.boards.contains(board)
        };
        if offers.iter().all(wanted) {
            return None;
        }
        let products: BTreeSet<String> =
            request.boards.iter().flat_map(|id| self.board_products(id, request.profile)).collect();
        Some(products.into_iter().collect())
    }

    /// The values of the label `nvidia.com/gpu.product` on nodes with this board, cut so.
    fn board_products(&self, board: &str, profile: &InstanceProfile) -> Vec<String> {
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
        self.seats
            .iter()
            .filter(|seats| seats.requests.len() > 1)
            .map(|seats| {
                let kinds: Vec<String> = seats
                    .requests
                    .iter()
                    .map(|r| format!("{} × {}", r.replicas, self.describe(r)))
                    .collect();
                Diagnostic::new(format!(
                    "{}/{} sits in several kinds of instance ({}); one pod template asks for one of them, so it appears once for each",
                    seats.team,
                    seats.workload,
                    kinds.join(", ")
                ))
            })
            .collect()
    }

    /// The boards of the plan.
    fn boards(&self) -> BTreeSet<&'p str> {
        self.offers.values().flatten().map(|(_, board)| *board).collect()
    }

    /// The namespace of each team that has places.
    fn namespaces(&self) -> BTreeMap<&'p str, String> {
        dns_labels(self.seats.iter().map(|s| s.team), "team")
    }

    /// A warning on teams whose names Kubernetes does not take as they are.
    fn renamed_teams(&self) -> Option<Diagnostic> {
        const SHOWN: usize = 20;
        let names = self.namespaces();
        let renamed: Vec<String> = names
            .iter()
            .filter(|(team, name)| team != name)
            .map(|(team, name)| format!("'{team}' is {name}"))
            .collect();
        let more = renamed.len().saturating_sub(SHOWN);
        let shown = renamed.get(..SHOWN).unwrap_or(&renamed).join(", ");
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        (!renamed.is_empty()).then(|| {
            Diagnostic::new(format!(
                "names that Kubernetes does not take were changed: {shown}{more}"
            ))
        })
    }

    /// A warning where pods are kept to one of these boards by the product label, but a node has
    /// several: feature discovery labels it with one of them.
    fn mixed_nodes(&self, kept_to: &BTreeSet<&str>) -> Option<Diagnostic> {
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
            "node {first}{others} has several boards, but feature discovery's {} names one of them: pods that are kept to the other find no node",
            pod::PRODUCT_LABEL
        )))
    }

    /// `2g.20gb`, `4 whole GPUs`.
    fn describe(&self, request: &Request<'_>) -> String {
        match (request.profile, request.per_replica) {
            (InstanceProfile::Full, n) => plural(n, "whole GPU"),
            (profile, 1) => profile.to_string(),
            (profile, n) => format!("{n} of {profile}"),
        }
    }
}

/// Groups places into workloads and what their replicas ask for.
fn seats<'p>(
    mut places: Vec<(&'p Assignment, &'p InstanceProfile, &'p str, u64)>,
) -> Vec<Seats<'p>> {
    let replica = |o: &'p Assignment| (o.team.as_ref(), o.workload.as_ref(), o.replica);
    places.sort_by(|a, b| (replica(a.0), a.1, a.2).cmp(&(replica(b.0), b.1, b.2)));
    let mut all: Vec<Seats<'p>> = Vec::new();
    for of_replica in places.chunk_by(|a, b| replica(a.0) == replica(b.0)) {
        let Some((assignment, profile, ..)) = of_replica.first() else { continue };
        let (team, workload) = (assignment.team.as_ref(), assignment.workload.as_ref());
        if all.last().is_none_or(|last| (last.team, last.workload) != (team, workload)) {
            all.push(Seats { team, workload, requests: Vec::new() });
        }
        let Some(seats) = all.last_mut() else { continue };
        let per_replica = of_replica.len() as u64;
        let memory = Mebibytes(of_replica.iter().map(|(.., memory)| *memory).min().unwrap_or(0));
        let at = seats
            .requests
            .iter()
            .position(|r| r.profile == *profile && r.per_replica == per_replica);
        let request = match at {
            Some(at) => &mut seats.requests[at],
            None => {
                seats.requests.push(Request {
                    profile,
                    per_replica,
                    replicas: 0,
                    boards: BTreeSet::new(),
                    memory,
                });
                let last = seats.requests.len() - 1;
                &mut seats.requests[last]
            }
        };
        request.replicas += 1;
        request.boards.extend(of_replica.iter().map(|(_, _, board, _)| *board));
        request.memory = request.memory.min(memory);
    }
    for seats in &mut all {
        seats.requests.sort_by(|a, b| (a.profile, a.per_replica).cmp(&(b.profile, b.per_replica)));
    }
    all
}

/// Finds the node that a per-node kind is for: the one named, or the only one.
///
/// # Errors
/// A name that the plan lacks, or none where there are several (exit 2).
pub fn pick_node<'v, 'p>(
    nodes: &'v [NodeGpus<'p>],
    name: Option<&str>,
) -> Result<&'v NodeGpus<'p>> {
    let list = || {
        const SHOWN: usize = 8;
        let names: Vec<&str> = nodes.iter().take(SHOWN).map(|n| n.name.as_ref()).collect();
        let more = if nodes.len() > SHOWN { ", …" } else { "" };
        format!("nodes of the plan: {}{more}", names.join(", "))
    };
    match (name, nodes) {
        (Some(name), _) => nodes
            .iter()
            .find(|n| &**n.name == name)
            .ok_or_else(|| Error::usage(format!("the plan has no node '{name}'")).hint(list())),
        (None, [only]) => Ok(only),
        (None, _) => {
            Err(Error::usage("the plan has several nodes; name one with --node").hint(list()))
        }
    }
}

/// The board of a GPU of the plan.
fn board_of<'c>(catalogue: &'c Catalogue, id: &str) -> Result<&'c BoardRef> {
    catalogue.by_id(id).ok_or_else(|| {
        Error::input(Diagnostic::new(format!("the plan has the board '{id}', which is not known")))
            .hint("`migplan catalogue` lists the boards; --catalogue FILE adds yours")
    })
}

/// Whether a text can be the value of a Kubernetes label: 1 to 63 of `[A-Za-z0-9._-]`, a letter or
/// digit at both ends.
pub fn is_label_value(text: &str) -> bool {
    let alphanumeric = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && alphanumeric(bytes.first())
        && alphanumeric(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// Whether a text can name a Kubernetes object: a DNS subdomain of lower-case letters, digits, `-`
/// and `.`.
pub fn is_object_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_label)
}

/// Whether a text can name a namespace: a DNS label.
pub fn is_dns_label(text: &str) -> bool {
    let alphanumeric =
        |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && alphanumeric(bytes.first())
        && alphanumeric(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

/// A text as a DNS label of at most `most` bytes: lower case, everything else a single `-`.
/// `fallback` stands in where nothing is left.
fn dns_label(text: &str, most: usize, fallback: &str) -> String {
    let mut label = String::new();
    for c in text.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_alphanumeric() {
            label.push(c);
        } else if !label.is_empty() && !label.ends_with('-') {
            label.push('-');
        }
    }
    label.truncate(most); // Only ASCII is in it.
    let label = label.trim_end_matches('-');
    if label.is_empty() { fallback.to_string() } else { label.to_string() }
}

/// A distinct DNS label for each distinct text. A text that is a label already keeps it; of texts
/// that come out alike the later ones get `-2`, `-3` …, in the order of the texts.
fn dns_labels<'t>(
    texts: impl IntoIterator<Item = &'t str>,
    fallback: &str,
) -> BTreeMap<&'t str, String> {
    const MOST: usize = 63;
    let texts: BTreeSet<&str> = texts.into_iter().collect();
    let mut taken: BTreeSet<String> =
        texts.iter().filter(|t| is_dns_label(t)).map(|t| (*t).to_string()).collect();
    let mut labels = BTreeMap::new();
    for text in texts {
        if is_dns_label(text) {
            labels.insert(text, text.to_string());
            continue;
        }
        let mut label = dns_label(text, MOST, fallback);
        let mut number = 1u64;
        while !taken.insert(label.clone()) {
            number += 1;
            let suffix = format!("-{number}");
            let stem = dns_label(text, MOST - suffix.len(), fallback);
            label = format!("{stem}{suffix}");
        }
        labels.insert(text, label);
    }
    labels
}

/// A text as one word of a POSIX shell.
pub(crate) fn shell_word(text: &str) -> String {
    let plain = !text.is_empty()
        && text.bytes().all(|b| {
            b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/' | b':' | b',' | b'=')
        });
    if plain { text.to_string() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_labels_and_stay_distinct() {
        let labels = dns_labels(
            ["NLP & Search", "nlp-search", "nlp search", "団子", "餅", "a\"b: #c", "--x--"],
            "team",
        );
        let of = |text: &str| labels[text].as_str();
        assert_eq!(of("nlp-search"), "nlp-search");
        assert_eq!(of("NLP & Search"), "nlp-search-2");
        assert_eq!(of("nlp search"), "nlp-search-3");
        assert_eq!((of("団子"), of("餅")), ("team", "team-2"));
        assert_eq!((of("a\"b: #c"), of("--x--")), ("a-b-c", "x"));
        assert!(labels.values().all(|l| is_dns_label(l)));
        assert_eq!(labels.values().collect::<BTreeSet<_>>().len(), labels.len());
        let long = "x".repeat(70);
        let longer = "x".repeat(71);
        let labels = dns_labels([long.as_str(), longer.as_str()], "team");
        assert!(labels.values().all(|l| is_dns_label(l)), "{labels:?}");
        assert_eq!(labels[longer.as_str()].len(), 63);
    }

    #[test]
    fn words_of_a_shell() {
        assert_eq!(shell_word("gpu-1.a"), "gpu-1.a");
        assert_eq!(shell_word("a b'c$(x)"), "'a b'\\''c$(x)'");
        assert_eq!(shell_word(""), "''");
    }
}
