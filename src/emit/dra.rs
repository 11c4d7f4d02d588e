//! `migplan emit dra`: what each workload's pods claim on a cluster with NVIDIA's driver for Dynamic
//! Resource Allocation (`resource.k8s.io/v1`, Kubernetes 1.34): a ResourceClaimTemplate for each
//! workload, and a pod that claims by it.
//!
//! The device classes are those of the driver's Helm chart, and the attributes and capacities those
//! that it publishes for static MIG devices (NVIDIA/k8s-dra-driver-gpu): `profile` and `productName`
//! as NVML spells them, `memory` in bytes from NVML's MiB. Memory alone would let a small workload
//! take a large instance, so each claim names the profile of the plan as well.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::held::{PlacedWorkload, Request};
use super::output::Emitted;
use super::plan_view::PlanView;
use super::pod::{self, PodOptions};
use super::{template, yaml};
use crate::error::{Diagnostic, Result};
use crate::kubernetes::naming;
use crate::plan::InstanceProfile;
use crate::units::Mebibytes;

/// The driver's class of instances that exist.
const MIG_CLASS: &str = "mig.nvidia.com";

/// The driver's class of whole GPUs.
const GPU_CLASS: &str = "gpu.nvidia.com";

/// The most alternatives that a request may list (`FirstAvailableDeviceRequestMaxSize` of the API).
const MOST_ALTERNATIVES: usize = 8;

/// Writes a claim template and a pod for each workload.
///
/// # Errors
/// A bad namespace (exit 2).
pub fn write(view: &PlanView<'_>, options: &PodOptions) -> Result<Emitted> {
    if let Some(namespace) = &options.namespace {
        naming::check_namespace(namespace)?;
    }
    let names = view.object_names(|workload| vec![pod::text_of(workload, None)]);
    let mut text = String::from(include_str!("snippets/dra.yaml"));
    let mut warnings = Vec::new();
    for workload in &view.workloads {
        let Some(name) = names.get(&pod::text_of(workload, None)) else { continue };
        let namespace = match &options.namespace {
            Some(namespace) => namespace,
            None => view.namespace(workload.team),
        };
        text.push_str("---\n");
        for request in &workload.requests {
            let _ = writeln!(text, "# {}", yaml::comment(&pod::headline(workload, request)));
        }
        for products in workload.requests.iter().filter_map(|r| view.nvml_products(r)) {
            let label = format!("{}/{}", workload.team, workload.workload);
            warnings.extend(products.to_fill_in(&label, "NVML's product name"));
        }
        let replicas: u64 = workload.requests.iter().map(|r| r.replicas).sum();
        let values = [
            ("NAME", yaml::scalar(name)),
            ("NAMESPACE", yaml::scalar(namespace)),
            ("REQUEST", request(view, workload, &mut warnings)),
            ("TEAM", yaml::quoted(workload.team)),
            ("WORKLOAD", yaml::quoted(workload.workload)),
            ("REPLICAS", replicas.to_string()),
            ("TOLERATIONS", pod::tolerations("  ")),
            ("IMAGE", yaml::quoted(&options.image)),
        ];
        let values: Vec<(&str, &str)> = values.iter().map(|(k, v)| (*k, v.as_str())).collect();
        text.push_str(&template::fill(include_str!("snippets/dra-workload.yaml"), &values));
    }
    if view.workloads.is_empty() {
        text.push_str("# The plan places no workload.\n");
    }
    if options.namespace.is_none() {
        warnings.extend(view.renamed_teams());
    }
    Ok(Emitted { text, warnings, ..Emitted::default() })
}

/// The body of a workload's one request: exactly its kind of instance, or the first available of
/// several, the smallest first.
fn request(
    view: &PlanView<'_>,
    workload: &PlacedWorkload<'_>,
    warnings: &mut Vec<Diagnostic>,
) -> String {
    let mut requests: Vec<&Request<'_>> = workload.requests.iter().collect();
    requests.sort_by_key(|r| (r.memory, r.profile, r.per_replica));
    if let [only] = requests[..] {
        return format!("          exactly:\n{}", device(view, only, "            "));
    }
    let label = format!("{}/{}", workload.team, workload.workload);
    if requests.len() > MOST_ALTERNATIVES {
        warnings.push(Diagnostic::new(format!(
            "{label} is assigned to {} kinds of instance, but a claim may list {MOST_ALTERNATIVES}: the largest are not claimed",
            requests.len()
        )));
        requests.truncate(MOST_ALTERNATIVES);
    }
    warnings.push(Diagnostic::new(format!(
        "{label} claims the first available of {} kinds of instance, the smallest first, and not so many of each as the plan has: plan with --one-profile-per-workload to fix that",
        requests.len()
    )));
    let mut text = String::from("          firstAvailable:\n");
    let mut used = BTreeSet::new();
    for request in requests {
        let mut name = naming::dns_label(&request.profile.to_string(), 32, "gpu");
        if !used.insert(name.clone()) {
            let _ = write!(name, "-x{}", request.per_replica);
        }
        let _ = writeln!(text, "            - name: {}", yaml::quoted(&name));
        text.push_str(&device(view, request, "              "));
    }
    text
}

/// The class, number and selectors of one kind of device.
fn device(view: &PlanView<'_>, request: &Request<'_>, indent: &str) -> String {
    let class = match request.profile {
        InstanceProfile::Mig(_) => MIG_CLASS,
        InstanceProfile::Full => GPU_CLASS,
    };
    let mut text = format!("{indent}deviceClassName: {class}\n");
    if request.per_replica > 1 {
        let _ = writeln!(text, "{indent}count: {}", request.per_replica);
    }
    let conditions = conditions(view, request);
    if !conditions.is_empty() {
        let _ =
            write!(text, "{indent}selectors:\n{indent}  - cel:\n{indent}      expression: >-\n");
        for (i, condition) in conditions.iter().enumerate() {
            let and = if i + 1 < conditions.len() { " &&" } else { "" };
            let _ = writeln!(text, "{indent}        {condition}{and}");
        }
    }
    text
}

/// What a device must satisfy, as CEL.
fn conditions(view: &PlanView<'_>, request: &Request<'_>) -> Vec<String> {
    let mut conditions = Vec::new();
    if let InstanceProfile::Mig(name) = request.profile {
        conditions.push(format!(
            "device.attributes['gpu.nvidia.com'].profile == {}",
            cel(&name.to_string())
        ));
    }
    if request.demand > Mebibytes(0) {
        conditions.push(format!(
            "device.capacity['gpu.nvidia.com'].memory.compareTo(quantity('{}Mi')) >= 0",
            request.demand.0
        ));
    }
    if let Some(products) = view.nvml_products(request) {
        let products: Vec<String> = products.values().into_iter().map(cel).collect();
        conditions.push(format!(
            "device.attributes['gpu.nvidia.com'].productName in [{}]",
            products.join(", ")
        ));
    }
    conditions
}

/// A text as a CEL string.
fn cel(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
