//! `migplan emit kueue`: the plan as quotas of Kueue (`kueue.x-k8s.io/v1beta2`): a ResourceFlavor
//! for each board, a ClusterQueue for each team with exactly the instances that the plan hands it,
//! a LocalQueue in the team's namespace, and one ClusterQueue that lends the spare ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::{Emitted, Strategy, View, configmap, dns_label, pod, yaml};
use crate::error::{Diagnostic, Result};
use crate::plan::InstanceProfile;

/// How the objects are called.
#[derive(Debug, Clone)]
pub struct Options {
    /// The cohort in which teams borrow spare instances; also the first part of names.
    pub cohort: String,
}

/// The cohort where nobody chooses another.
pub const DEFAULT_COHORT: &str = "migplan";

/// Instances by flavor and resource name.
type Quota = BTreeMap<(String, String), u64>;

/// Writes the objects.
///
/// # Errors
/// A plan that the strategy does not advertise (exit 3); a bad cohort name (exit 2).
pub fn write(view: &View<'_>, options: &Options) -> Result<Emitted> {
    view.require_advertised()?;
    configmap::check_names(&options.cohort, configmap::DEFAULT_NAMESPACE)?;
    let mut flavors: BTreeMap<String, Option<String>> = BTreeMap::new();
    let mut quotas: BTreeMap<&str, Quota> = BTreeMap::new();
    let mut spare = Quota::new();
    for gpu in view.nodes.iter().flat_map(|node| &node.gpus) {
        let whole =
            (!gpu.mig && gpu.instances.is_empty()).then_some((&InstanceProfile::Full, None));
        let instances = gpu.instances.iter().map(|i| (&i.profile, i.assignment.as_ref()));
        for (profile, assignment) in instances.chain(whole) {
            let flavor = flavor_name(view.strategy, &gpu.board, profile);
            if !flavors.contains_key(&flavor) {
                let mut products = view.board_products(&gpu.board, profile);
                // Old drivers left the maker's name out.
                if products.iter().any(|p| p.starts_with("NVIDIA-")) {
                    products.retain(|p| p.starts_with("NVIDIA-"));
                }
                // A flavor's label has one value; several product names need a choice.
                let product = (products.len() == 1).then(|| products.remove(0));
                flavors.insert(flavor.clone(), product);
            }
            let quota = match assignment {
                Some(assignment) => quotas.entry(&assignment.team).or_default(),
                None => &mut spare,
            };
            *quota.entry((flavor, view.strategy.resource(profile))).or_default() += 1;
        }
    }
    let mut warnings = Vec::new();
    let mut text = String::from(
        "# Kueue quotas: what the plan hands to each team is its own and never lent; what nobody has\n\
         # can be borrowed within the cohort. cpu and memory are covered without a real limit, since\n\
         # Kueue admits nothing that asks for a resource without a quota.\n",
    );
    let one_board = flavors.len() == 1;
    for (flavor, product) in &flavors {
        let _ = write!(
            text,
            "apiVersion: {API}\nkind: ResourceFlavor\nmetadata:\n  name: {}\nspec:\n",
            yaml::scalar(flavor)
        );
        match product {
            Some(product) => {
                let _ = write!(
                    text,
                    "  nodeLabels:\n    {}: {}\n",
                    pod::PRODUCT_LABEL,
                    yaml::quoted(product)
                );
            }
            None if one_board => {}
            None => warnings.push(Diagnostic::new(format!(
                "the flavor '{flavor}' has no nodeLabels, since its nodes carry no single known {}: add the label that tells them apart",
                pod::PRODUCT_LABEL
            ))),
        }
        text.push_str(
            "  tolerations:\n    - key: nvidia.com/gpu\n      operator: Exists\n      effect: NoSchedule\n---\n",
        );
    }
    let any = format!("{}-any-node", options.cohort);
    let _ = write!(
        text,
        "apiVersion: {API}\nkind: ResourceFlavor\nmetadata:\n  name: {}\n---\n",
        yaml::scalar(&any)
    );
    let spare_queue = format!("{}-spare", options.cohort);
    let names = view.namespaces();
    warnings.extend(view.renamed_teams());
    warnings.extend(view.mixed_nodes(&view.boards()));
    for (team, quota) in &quotas {
        let Some(name) = names.get(team) else { continue };
        let mut queue = name.clone();
        while queue == spare_queue || (queue != *name && names.values().any(|n| *n == queue)) {
            queue.push_str("-team");
        }
        let _ = writeln!(text, "# {}", yaml::comment(team));
        cluster_queue(&mut text, &queue, options, quota, Some((name, &any)));
        let _ = write!(
            text,
            "---\napiVersion: {API}\nkind: LocalQueue\nmetadata:\n  name: {}\n  namespace: {}\nspec:\n  clusterQueue: {}\n---\n",
            yaml::scalar(&options.cohort),
            yaml::scalar(name),
            yaml::scalar(&queue)
        );
    }
    if spare.is_empty() {
        let trimmed = text.trim_end_matches("---\n").len();
        text.truncate(trimmed);
    } else {
        text.push_str("# instances that the plan hands to nobody; it only lends\n");
        cluster_queue(&mut text, &spare_queue, options, &spare, None);
    }
    for team in &view.teams_without_seats {
        warnings
            .push(Diagnostic::new(format!("{team} has no place in the plan and gets no queue")));
    }
    Ok(Emitted { text, warnings })
}

const API: &str = "kueue.x-k8s.io/v1beta2";

/// Under `mixed` nodes differ by board; under `single` also by what the board is cut into.
fn flavor_name(strategy: Strategy, board: &str, profile: &InstanceProfile) -> String {
    let name = match (strategy, profile) {
        (Strategy::Single, InstanceProfile::Mig(profile)) => format!("{board}-{}", profile.label()),
        _ => board.to_string(),
    };
    dns_label(&name, 63, "gpu")
}

/// A ClusterQueue. A team's (`own`: its namespace, and the flavor for what is not a GPU) lends
/// nothing; without `own` it is the one that nobody can submit to.
fn cluster_queue(
    text: &mut String,
    name: &str,
    options: &Options,
    quota: &Quota,
    own: Option<(&str, &str)>,
) {
    let _ = write!(
        text,
        "apiVersion: {API}\nkind: ClusterQueue\nmetadata:\n  name: {}\nspec:\n  cohortName: {}\n",
        yaml::scalar(name),
        yaml::scalar(&options.cohort)
    );
    if let Some((namespace, _)) = own {
        let _ = write!(
            text,
            "  namespaceSelector:\n    matchLabels:\n      kubernetes.io/metadata.name: {}\n",
            yaml::scalar(namespace)
        );
    }
    let resources: BTreeSet<&str> = quota.keys().map(|(_, resource)| resource.as_str()).collect();
    let flavors: BTreeSet<&str> = quota.keys().map(|(flavor, _)| flavor.as_str()).collect();
    let covered: Vec<String> = resources.iter().map(|r| yaml::quoted(r)).collect();
    let _ = write!(
        text,
        "  resourceGroups:\n    - coveredResources: [{}]\n      flavors:\n",
        covered.join(", ")
    );
    // Every flavor of a group lists every covered resource, in that order.
    for flavor in flavors {
        let _ = write!(text, "        - name: {}\n          resources:\n", yaml::scalar(flavor));
        for resource in &resources {
            let count =
                quota.get(&(flavor.to_string(), (*resource).to_string())).copied().unwrap_or(0);
            let _ = write!(
                text,
                "            - name: {resource}\n              nominalQuota: {count}\n"
            );
            if own.is_some() {
                text.push_str("              lendingLimit: 0\n");
            }
        }
    }
    if let Some((_, any)) = own {
        let _ = write!(
            text,
            "    - coveredResources: [\"cpu\", \"memory\"]\n      flavors:\n        - name: {}\n          resources:\n            - name: cpu\n              nominalQuota: 1000000\n            - name: memory\n              nominalQuota: 1000000Gi\n",
            yaml::scalar(any)
        );
    }
}
