//! `migplan emit pod`: what each workload's pod template asks for, as pods that run `nvidia-smi`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::{Emitted, Request, Seats, View, configmap, dns_labels, yaml};
use crate::error::{Diagnostic, Result};
use crate::text::plural;

/// An image that exists and shows the instance that the pod got.
pub const DEFAULT_IMAGE: &str = "nvcr.io/nvidia/cuda:12.8.1-base-ubuntu24.04";

/// The label of feature discovery that names a node's GPUs.
pub(super) const PRODUCT_LABEL: &str = "nvidia.com/gpu.product";

/// What the pods run and where.
#[derive(Debug, Clone)]
pub struct Options {
    /// The image.
    pub image: String,
    /// One namespace for all; without it each team's own.
    pub namespace: Option<String>,
}

/// A request with the names that its objects get.
pub(super) struct Template<'v, 'p> {
    pub(super) seats: &'v Seats<'p>,
    pub(super) request: &'v Request<'p>,
    pub(super) name: String,
    pub(super) namespace: String,
}

/// Every workload's requests with names that Kubernetes takes, all distinct.
pub(super) fn templates<'v, 'p>(
    view: &'v View<'p>,
    namespace: Option<&str>,
) -> Result<Vec<Template<'v, 'p>>> {
    if let Some(namespace) = namespace {
        configmap::check_names("x", namespace)?;
    }
    let namespaces = view.namespaces();
    let keys: Vec<(String, &Seats<'p>, &Request<'p>)> = view
        .seats
        .iter()
        .flat_map(|seats| seats.requests.iter().map(move |request| (seats, request)))
        .map(|(seats, request)| {
            // A blank cannot be in a name that a label keeps, so it separates without clashes.
            let mut key = format!("{} {}", seats.team, seats.workload);
            if seats.requests.len() > 1 {
                let _ = write!(key, " {}", request.profile);
                if request.per_replica > 1 {
                    let _ = write!(key, " {}", request.per_replica);
                }
            }
            (key, seats, request)
        })
        .collect();
    let names: BTreeMap<&str, String> =
        dns_labels(keys.iter().map(|(key, ..)| key.as_str()), "workload");
    Ok(keys
        .iter()
        .map(|(key, seats, request)| Template {
            seats,
            request,
            name: names.get(key.as_str()).cloned().unwrap_or_default(),
            namespace: namespace.map_or_else(
                || namespaces.get(seats.team).cloned().unwrap_or_default(),
                str::to_string,
            ),
        })
        .collect())
}

/// Writes one pod for each workload and kind of instance that it sits in.
///
/// # Errors
/// A plan that the strategy does not advertise (exit 3); a bad namespace (exit 2).
pub fn write(view: &View<'_>, options: &Options) -> Result<Emitted> {
    view.require_advertised()?;
    let mut text = String::new();
    for template in templates(view, options.namespace.as_deref())? {
        let Template { seats, request, name, namespace } = template;
        if !text.is_empty() {
            text.push_str("---\n");
        }
        let _ = write!(
            text,
            "# {}\n\
             apiVersion: v1\n\
             kind: Pod\n\
             metadata:\n  name: {}\n  namespace: {}\n  annotations:\n    migplan/team: {}\n    migplan/workload: {}\n    migplan/replicas: \"{}\"\n\
             spec:\n  restartPolicy: Never\n",
            yaml::comment(&headline(view, seats, request)),
            yaml::scalar(&name),
            yaml::scalar(&namespace),
            yaml::quoted(seats.team),
            yaml::quoted(seats.workload),
            request.replicas,
        );
        if let Some(products) = view.products(request) {
            text.push_str(
                "  affinity:\n    nodeAffinity:\n      requiredDuringSchedulingIgnoredDuringExecution:\n        nodeSelectorTerms:\n",
            );
            write_term(&mut text, "          ", &products);
        }
        let _ = write!(
            text,
            "  containers:\n    - name: main\n      image: {}\n      command: [\"nvidia-smi\", \"-L\"]\n      resources:\n        limits:\n          {}: \"{}\"\n",
            yaml::quoted(&options.image),
            view.resource(request),
            request.per_replica,
        );
    }
    if text.is_empty() {
        text.push_str("# No workload has a place in the plan.\n");
    }
    let mut warnings = warnings(view);
    if options.namespace.is_none() {
        warnings.extend(view.renamed_teams());
    }
    Ok(Emitted { text, warnings })
}

/// A node selector term that keeps a pod to nodes with one of these products.
pub(super) fn write_term(text: &mut String, indent: &str, products: &[String]) {
    let mut quoted: Vec<String> = products.iter().map(|p| yaml::quoted(p)).collect();
    if quoted.is_empty() {
        quoted.push("FILL-IN".to_string());
    }
    let _ = write!(
        text,
        "{indent}- matchExpressions:\n{indent}    - key: {PRODUCT_LABEL}\n{indent}      operator: In\n{indent}      values: [{}]\n",
        quoted.join(", ")
    );
}

/// `nlp/train: 6 replicas, each in 2g.20gb with 19.5 GiB`.
pub(super) fn headline(view: &View<'_>, seats: &Seats<'_>, request: &Request<'_>) -> String {
    format!(
        "{}/{}: {}{} {} with {}{}",
        seats.team,
        seats.workload,
        plural(request.replicas, "replica"),
        if request.replicas == 1 { " in" } else { ", each in" },
        view.describe(request),
        request.memory.human(),
        if request.per_replica == 1 { "" } else { " each" }
    )
}

/// What the templates of a view cannot express.
pub(super) fn warnings(view: &View<'_>) -> Vec<Diagnostic> {
    let mut warnings = view.template_warnings();
    let mut kept_to: BTreeSet<&str> = BTreeSet::new();
    for seats in &view.seats {
        for request in &seats.requests {
            let Some(products) = view.products(request) else { continue };
            kept_to.extend(&request.boards);
            if products.is_empty() {
                let boards: Vec<&str> = request.boards.iter().copied().collect();
                warnings.push(Diagnostic::new(format!(
                    "{}/{} must run on {}, but feature discovery's product name for it is not known: fill it in",
                    seats.team,
                    seats.workload,
                    boards.join(" or ")
                )));
            }
        }
    }
    warnings.extend(view.mixed_nodes(&kept_to));
    warnings
}
