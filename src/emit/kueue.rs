//! `migplan emit kueue`: the plan as quotas of Kueue (`kueue.x-k8s.io/v1beta2`): a ResourceFlavor
//! for each board, a ClusterQueue for each team with the instances that the plan allocates
//! to it, a LocalQueue in the team's namespace, and one ClusterQueue that lends the free ones.
//!
//! Only pairs of flavor and resource that a ClusterQueue lists can be borrowed (Kueue issue 4848), so
//! every queue lists them all, with a quota of 0 where the team has none of its own. What a team
//! does not use others borrow, until it asks for it again (`reclaimWithinCohort`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::nodes::resource;
use super::output::Emitted;
use super::plan_view::PlanView;
use super::{pod, yaml};
use crate::error::{Diagnostic, Error, Result};
use crate::kubernetes::{PRODUCT_LABEL, list, naming};
use crate::plan::{InstanceProfile, Strategy};

/// How the objects are called.
#[derive(Debug, Clone)]
pub struct KueueOptions {
    /// The cohort in which teams borrow what is free; also the first part of names.
    pub cohort: String,
}

/// The cohort where no other is chosen.
pub const DEFAULT_COHORT: &str = "migplan";

const HEAD: &str = "\
# Kueue quotas: what the plan allocates to each team is the team's nominal quota, and what is
# free belongs to the last queue. Every queue lists every profile, so a team borrows what others
# leave idle; the owner gets it back when it asks, by preempting the borrower.
# cpu and memory are covered without a real limit, since Kueue admits nothing that asks for a
# resource without a quota.
";

const HEAD_OVER_TIME: &str = "\
# Allocated to a team is the most that the plan has for it in any hour.
";

/// Where the quotas of all teams would add up to more than exists.
const HEAD_SHARED: &str = "\
# Some instances are for several teams, each at its hours. Kueue knows no hours and admits until the
# quotas of all queues are used up, so these add up to what exists: of such instances a team's quota is
# what it has in every hour. The others are the last queue's, and whoever comes first borrows them.
";

/// The most flavors and the most resources that a resource group may list (validation of
/// `ResourceGroup` in Kueue's v1beta2).
const MOST_LISTED: usize = 64;

/// Flavor and resource name.
type Cell = (String, String);

/// Instances of each.
type Quota = BTreeMap<Cell, u64>;

/// A plan as quotas.
struct Quotas<'p> {
    /// Each flavor with the product label of its nodes, where there is a single known one.
    flavors: BTreeMap<String, Option<String>>,
    /// The resources of the plan.
    resources: BTreeSet<String>,
    /// What each team has.
    teams: BTreeMap<&'p str, Quota>,
    /// What is no team's own.
    free: Quota,
    /// What teams have at different hours, more of it together than exists.
    shared: BTreeSet<Cell>,
}

/// Writes the objects.
///
/// # Errors
/// A plan that the strategy does not advertise, or with more boards or profiles than Kueue takes
/// (exit 3); a bad cohort name (exit 2).
pub fn write(view: &PlanView<'_>, options: &KueueOptions) -> Result<Emitted> {
    view.require_advertised()?;
    naming::check_object_name(&options.cohort)?;
    let quotas = quotas(view);
    for (what, count) in [("flavors", quotas.flavors.len()), ("resources", quotas.resources.len())]
    {
        if count > MOST_LISTED {
            return Err(Error::input(Diagnostic::new(format!(
                "the plan has {count} {what}, more than the {MOST_LISTED} that a queue of Kueue may list"
            )))
            .hint("plan pools of nodes one by one, each with a cohort of its own"));
        }
    }
    let mut text = String::from(HEAD);
    if view.hours.is_some() {
        text.push_str(HEAD_OVER_TIME);
    }
    if !quotas.shared.is_empty() {
        text.push_str(HEAD_SHARED);
    }
    let mut warnings = Vec::new();
    write_flavors(&mut text, &quotas, options, &mut warnings);
    warnings.extend(view.renamed_teams());
    warnings.extend(view.mixed_nodes(&view.boards()));
    let free_queue = format!("{}-spare", options.cohort);
    let names: BTreeSet<&str> = quotas.teams.keys().map(|team| view.namespace(team)).collect();
    for (team, quota) in &quotas.teams {
        let namespace = view.namespace(team);
        let mut queue = namespace.to_string();
        while queue == free_queue || (queue != namespace && names.contains(queue.as_str())) {
            queue.push_str("-team");
        }
        let _ = writeln!(text, "# {}", yaml::comment(team));
        cluster_queue(&mut text, &queue, options, &quotas, quota, Some(namespace));
        let _ = write!(
            text,
            "---\napiVersion: {API}\nkind: LocalQueue\nmetadata:\n  name: {}\n  namespace: {}\nspec:\n  clusterQueue: {}\n---\n",
            yaml::scalar(&options.cohort),
            yaml::scalar(namespace),
            yaml::scalar(&queue)
        );
    }
    if quotas.free.is_empty() {
        let trimmed = text.trim_end_matches("---\n").len();
        text.truncate(trimmed);
    } else {
        text.push_str("# free instances; this queue only lends\n");
        cluster_queue(&mut text, &free_queue, options, &quotas, &quotas.free, None);
    }
    if !quotas.shared.is_empty() {
        let shared: Vec<String> =
            quotas.shared.iter().map(|(flavor, of)| format!("{of} on {flavor}")).collect();
        warnings.push(Diagnostic::new(format!(
            "teams have {} at different hours, of which Kueue knows nothing: their quota is what they have in every hour, and they borrow the rest as they come",
            list::names(&shared)
        )));
    }
    for team in &view.unplaced_teams {
        warnings.push(Diagnostic::new(format!(
            "the plan places nothing of {team}: its queue has no quota of its own and only borrows"
        )));
    }
    Ok(Emitted { text, warnings, ..Emitted::default() })
}

/// Adds a plan up by team, flavor and resource.
///
/// Kueue admits until the quotas of the whole cohort are used up, whatever the hour, so these add up to
/// what exists and never to more: a workload that is admitted beyond it waits for an instance while it
/// holds its quota. Where teams have instances of a kind at different hours, the most of each can
/// together be more than there are. Then a team's own are what it has in every hour, and the others
/// are lent to whoever comes first.
fn quotas<'p>(view: &PlanView<'p>) -> Quotas<'p> {
    let placed = view.workloads.iter().map(|workload| workload.team);
    let mut quotas = Quotas {
        flavors: BTreeMap::new(),
        resources: BTreeSet::new(),
        teams: placed
            .chain(view.unplaced_teams.iter().copied())
            .map(|t| (t, Quota::new()))
            .collect(),
        free: Quota::new(),
        shared: BTreeSet::new(),
    };
    let cell = |board: &str, profile: &InstanceProfile| {
        (flavor_name(view.strategy, board, profile), resource(view.strategy, profile))
    };
    for gpu in view.nodes.iter().flat_map(|node| &node.gpus) {
        let whole = (!gpu.mig && gpu.instances.is_empty()).then_some(&InstanceProfile::Full);
        for profile in gpu.instances.iter().map(|i| &i.profile).chain(whole) {
            let (flavor, resource) = cell(&gpu.board, profile);
            if !quotas.flavors.contains_key(&flavor) {
                let mut products = view.board_products(&gpu.board, profile);
                // Old drivers left the maker's name out.
                if products.iter().any(|p| p.starts_with("NVIDIA-")) {
                    products.retain(|p| p.starts_with("NVIDIA-"));
                }
                // A flavor's label has one value; several product names need a choice.
                let product = (products.len() == 1).then(|| products.remove(0));
                quotas.flavors.insert(flavor.clone(), product);
            }
            quotas.resources.insert(resource.clone());
            *quotas.free.entry((flavor, resource)).or_default() += 1;
        }
    }
    let supply = quotas.free.clone();
    let held = view.held.at_once(|row, board| Some((cell(board, row.profile), row.team)));
    let mut most: BTreeMap<&Cell, u64> = BTreeMap::new();
    for ((cell, _), held) in &held {
        let sum = most.entry(cell).or_default();
        *sum = sum.saturating_add(held.most);
    }
    for ((cell, team), held) in &held {
        let Some(free) = quotas.free.get_mut(cell) else { continue };
        let is_shared = most.get(cell).copied() > supply.get(cell).copied();
        let own = if is_shared { held.least } else { held.most }.min(*free);
        *free -= own;
        if is_shared {
            quotas.shared.insert(cell.clone());
        }
        quotas.teams.entry(team).or_default().insert(cell.clone(), own);
    }
    quotas.free.retain(|_, count| *count > 0);
    quotas
}

fn write_flavors(
    text: &mut String,
    quotas: &Quotas<'_>,
    options: &KueueOptions,
    warnings: &mut Vec<Diagnostic>,
) {
    for (flavor, product) in &quotas.flavors {
        let _ = write!(
            text,
            "apiVersion: {API}\nkind: ResourceFlavor\nmetadata:\n  name: {}\nspec:\n",
            yaml::scalar(flavor)
        );
        match product {
            Some(product) => {
                let _ = write!(
                    text,
                    "  nodeLabels:\n    {PRODUCT_LABEL}: {}\n",
                    yaml::quoted(product)
                );
            }
            None if quotas.flavors.len() == 1 => {}
            None => warnings.push(Diagnostic::new(format!(
                "the flavor '{flavor}' has no nodeLabels, since its nodes carry no single known {PRODUCT_LABEL}: add the label that tells them apart"
            ))),
        }
        text.push_str(&pod::tolerations("  "));
        text.push_str("---\n");
    }
    let _ = write!(
        text,
        "apiVersion: {API}\nkind: ResourceFlavor\nmetadata:\n  name: {}\n---\n",
        yaml::scalar(&any_node(&options.cohort))
    );
}

const API: &str = "kueue.x-k8s.io/v1beta2";

/// The flavor for what is not a GPU.
fn any_node(cohort: &str) -> String {
    format!("{cohort}-any-node")
}

/// Under `mixed` nodes differ by board; under `single` also by the profile of the board's GPUs.
fn flavor_name(strategy: Strategy, board: &str, profile: &InstanceProfile) -> String {
    let name = match (strategy, profile) {
        (Strategy::Single, InstanceProfile::Mig(profile)) => format!("{board}-{}", profile.label()),
        _ => board.to_string(),
    };
    naming::dns_label(&name, 63, "gpu")
}

/// A ClusterQueue for the workloads of a namespace; without one, nothing can be submitted to it.
fn cluster_queue(
    text: &mut String,
    name: &str,
    options: &KueueOptions,
    all: &Quotas<'_>,
    quota: &Quota,
    namespace: Option<&str>,
) {
    let _ = write!(
        text,
        "apiVersion: {API}\nkind: ClusterQueue\nmetadata:\n  name: {}\nspec:\n  cohortName: {}\n",
        yaml::scalar(name),
        yaml::scalar(&options.cohort)
    );
    if let Some(namespace) = namespace {
        // Without TryNextFlavor a workload would borrow from the first flavor although the team has
        // quota of its own in the next.
        let _ = write!(
            text,
            "  namespaceSelector:\n    matchLabels:\n      kubernetes.io/metadata.name: {}\n  flavorFungibility:\n    whenCanBorrow: TryNextFlavor\n  preemption:\n    reclaimWithinCohort: Any\n",
            yaml::scalar(namespace)
        );
    }
    let covered: Vec<String> = all.resources.iter().map(|r| yaml::quoted(r)).collect();
    let _ = write!(
        text,
        "  resourceGroups:\n    - coveredResources: [{}]\n      flavors:\n",
        covered.join(", ")
    );
    // Every flavor of a group lists every covered resource, in that order.
    for flavor in all.flavors.keys() {
        let _ = write!(text, "        - name: {}\n          resources:\n", yaml::scalar(flavor));
        for resource in &all.resources {
            let count = quota.get(&(flavor.clone(), resource.clone())).copied().unwrap_or(0);
            let _ = write!(
                text,
                "            - name: {resource}\n              nominalQuota: {count}\n"
            );
        }
    }
    if namespace.is_some() {
        let _ = write!(
            text,
            "    - coveredResources: [\"cpu\", \"memory\"]\n      flavors:\n        - name: {}\n          resources:\n            - name: cpu\n              nominalQuota: 1000000\n            - name: memory\n              nominalQuota: 1000000Gi\n",
            yaml::scalar(&any_node(&options.cohort))
        );
    }
}
