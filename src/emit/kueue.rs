//! `migplan emit kueue`: the plan as quotas of Kueue (`kueue.x-k8s.io/v1beta2`): a ResourceFlavor
//! for each board, a ClusterQueue for each team with exactly the instances that the plan allocates
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
use crate::kubernetes::{PRODUCT_LABEL, naming};
use crate::plan::{InstanceProfile, Strategy};

/// How the objects are called.
#[derive(Debug, Clone)]
pub struct KueueOptions {
    /// The cohort in which teams borrow what is free; also the first part of names.
    pub cohort: String,
}

/// The cohort where no other is chosen.
pub const DEFAULT_COHORT: &str = "migplan";

/// The most flavors and the most resources that a resource group may list (validation of
/// `ResourceGroup` in Kueue's v1beta2).
const MOST_LISTED: usize = 64;

/// Instances by flavor and resource name.
type Quota = BTreeMap<(String, String), u64>;

/// A plan as quotas.
struct Quotas<'p> {
    /// Each flavor with the product label of its nodes, where there is a single known one.
    flavors: BTreeMap<String, Option<String>>,
    /// The resources of the plan.
    resources: BTreeSet<String>,
    /// What each team has.
    teams: BTreeMap<&'p str, Quota>,
    /// What is free.
    free: Quota,
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
    let mut text = String::from(
        "# Kueue quotas: what the plan allocates to each team is the team's nominal quota, and what is\n\
         # free belongs to the last queue. Every queue lists every profile, so a team borrows what others\n\
         # leave idle; the owner gets it back when it asks, by preempting the borrower.\n\
         # cpu and memory are covered without a real limit, since Kueue admits nothing that asks for a\n\
         # resource without a quota.\n",
    );
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
    for team in &view.unplaced_teams {
        warnings.push(Diagnostic::new(format!(
            "the plan places nothing of {team}: its queue has no quota of its own and only borrows"
        )));
    }
    Ok(Emitted { text, warnings, ..Emitted::default() })
}

/// Adds a plan up by team, flavor and resource.
fn quotas<'p>(view: &PlanView<'p>) -> Quotas<'p> {
    let mut quotas = Quotas {
        flavors: BTreeMap::new(),
        resources: BTreeSet::new(),
        teams: view.unplaced_teams.iter().map(|team| (*team, Quota::new())).collect(),
        free: Quota::new(),
    };
    for gpu in view.nodes.iter().flat_map(|node| &node.gpus) {
        let whole =
            (!gpu.mig && gpu.instances.is_empty()).then_some((&InstanceProfile::Full, None));
        let instances = gpu.instances.iter().map(|i| (&i.profile, i.assignment.as_ref()));
        for (profile, assignment) in instances.chain(whole) {
            let flavor = flavor_name(view.strategy, &gpu.board, profile);
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
            let resource = resource(view.strategy, profile);
            quotas.resources.insert(resource.clone());
            let quota = match assignment {
                Some(assignment) => quotas.teams.entry(&assignment.team).or_default(),
                None => &mut quotas.free,
            };
            *quota.entry((flavor, resource)).or_default() += 1;
        }
    }
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
