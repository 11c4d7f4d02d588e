//! `migplan emit pod`: what each workload's pod template asks for, as pods that run `nvidia-smi`.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::held::{PlacedWorkload, Request, describe};
use super::output::Emitted;
use super::plan_view::{PlanView, Products};
use super::yaml;
use crate::error::{Diagnostic, Result};
use crate::kubernetes::{GPU_TAINT, PRODUCT_LABEL, naming};
use crate::text::plural;

/// An image that exists and shows the instance that the pod got.
pub const DEFAULT_IMAGE: &str = "nvcr.io/nvidia/cuda:12.8.1-base-ubuntu24.04";

/// What the pods run and where.
#[derive(Debug, Clone)]
pub struct PodOptions {
    /// The image.
    pub image: String,
    /// One namespace for all; without it each team's own.
    pub namespace: Option<String>,
}

/// Whose name of a board a pod is kept to.
pub(super) const PRODUCT_NAME: &str = "feature discovery's product name";

/// A request with the names that its objects get.
pub(super) struct Template<'v, 'p> {
    pub(super) workload: &'v PlacedWorkload<'p>,
    pub(super) request: &'v Request<'p>,
    pub(super) name: String,
    pub(super) namespace: String,
}

/// Every workload's requests with names that Kubernetes takes, all distinct.
pub(super) fn templates<'v, 'p>(
    view: &'v PlanView<'p>,
    namespace: Option<&str>,
) -> Result<Vec<Template<'v, 'p>>> {
    if let Some(namespace) = namespace {
        naming::check_namespace(namespace)?;
    }
    let names = view.object_names(|workload| {
        workload.at_once().map(|request| text_of(workload, Some(request))).collect()
    });
    let requests = view.workloads.iter().flat_map(|w| w.at_once().map(move |r| (w, r)));
    Ok(requests
        .map(|(workload, request)| Template {
            workload,
            request,
            name: names.get(&text_of(workload, Some(request))).cloned().unwrap_or_default(),
            namespace: namespace.unwrap_or_else(|| view.namespace(workload.team)).to_string(),
        })
        .collect())
}

/// What the objects of a workload are called after, or of one of its requests where it has several.
pub(super) fn text_of(workload: &PlacedWorkload<'_>, request: Option<&Request<'_>>) -> String {
    // No name has a NUL, so it separates without clashes; in a label it becomes '-'.
    let mut text = format!("{}\0{}", workload.team, workload.workload);
    if let Some(request) = request.filter(|_| workload.at_once().count() > 1) {
        let _ = write!(text, "\0{}", request.profile);
        if request.per_replica > 1 {
            let _ = write!(text, "\0{}", request.per_replica);
        }
    }
    text
}

/// Writes one pod for each workload and kind of instance that it is assigned to.
///
/// # Errors
/// A plan that the strategy does not advertise (exit 3); a bad namespace (exit 2).
pub fn write(view: &PlanView<'_>, options: &PodOptions) -> Result<Emitted> {
    view.require_advertised()?;
    let mut text = String::new();
    for template in templates(view, options.namespace.as_deref())? {
        let Template { workload, request, name, namespace } = template;
        if !text.is_empty() {
            text.push_str("---\n");
        }
        let _ = write!(
            text,
            "# {}\n\
             apiVersion: v1\n\
             kind: Pod\n\
             metadata:\n  name: {}\n  namespace: {}\n  annotations:\n    migplan/team: {}\n    migplan/workload: {}\n    migplan/replicas: \"{}\"\n\
             spec:\n  restartPolicy: Never\n{}",
            yaml::comment(&headline(workload, request)),
            yaml::scalar(&name),
            yaml::scalar(&namespace),
            yaml::quoted(workload.team),
            yaml::quoted(workload.workload),
            request.replicas,
            tolerations("  "),
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
        text.push_str("# The plan places no workload.\n");
    }
    let mut warnings = warnings(view);
    if options.namespace.is_none() {
        warnings.extend(view.renamed_teams());
    }
    Ok(Emitted { text, warnings, ..Emitted::default() })
}

/// The toleration without which a pod finds no node where GPU nodes are tainted. The admission
/// plugin ExtendedResourceToleration would add one for the resource's own name, if it is on.
pub(super) fn tolerations(indent: &str) -> String {
    format!(
        "{indent}tolerations:\n{indent}  - key: {GPU_TAINT}\n{indent}    operator: Exists\n{indent}    effect: NoSchedule\n"
    )
}

/// A node selector term that keeps a pod to nodes with one of these products.
pub(super) fn write_term(text: &mut String, indent: &str, products: &Products<'_>) {
    let quoted: Vec<String> = products.values().into_iter().map(yaml::quoted).collect();
    let _ = write!(
        text,
        "{indent}- matchExpressions:\n{indent}    - key: {PRODUCT_LABEL}\n{indent}      operator: In\n{indent}      values: [{}]\n",
        quoted.join(", ")
    );
}

/// `nlp/train: 6 replicas, each in 2g.20gb with 19.5 GiB`.
pub(super) fn headline(workload: &PlacedWorkload<'_>, request: &Request<'_>) -> String {
    let replicas = match request.replicas {
        0 => "at other hours in".to_string(),
        1 => "1 replica in".to_string(),
        n => format!("{}, each in", plural(n, "replica")),
    };
    format!(
        "{}/{}: {replicas} {} with {}{}",
        workload.team,
        workload.workload,
        describe(request),
        request.memory.human(),
        if request.per_replica == 1 { "" } else { " each" }
    )
}

/// What the templates of a view cannot express.
pub(super) fn warnings(view: &PlanView<'_>) -> Vec<Diagnostic> {
    let mut warnings = view.template_warnings();
    let mut kept_to: BTreeSet<&str> = BTreeSet::new();
    for workload in &view.workloads {
        for request in workload.at_once() {
            let Some(products) = view.products(request) else { continue };
            kept_to.extend(&request.boards);
            let label = format!("{}/{}", workload.team, workload.workload);
            warnings.extend(products.to_fill_in(&label, PRODUCT_NAME));
        }
    }
    warnings.extend(view.mixed_nodes(&kept_to));
    warnings
}
