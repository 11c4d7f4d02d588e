//! `migplan emit configmap`: the GPU Operator's custom mig-parted config, which mig-manager reads
//! under the key `config.yaml` once the ClusterPolicy names the ConfigMap.

use std::fmt::Write;

use super::mig_parted::{self, Extra, MigPartedFile};
use super::{View, is_dns_label, is_object_name, yaml};
use crate::error::{Diagnostic, Error, Result};
use crate::text::{plural, thousands};

/// The name of the ConfigMap where nobody chooses another.
pub const DEFAULT_CONFIGMAP: &str = "migplan-mig-config";
/// The namespace of the GPU Operator as its documentation installs it.
pub const DEFAULT_NAMESPACE: &str = "gpu-operator";

/// The most that Kubernetes lets the data of a ConfigMap be (`MaxSecretSize` in its validation).
pub const MAX_BYTES: usize = 1 << 20;

/// How the ConfigMap is called and what is in it.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its `metadata.name`.
    pub configmap: String,
    /// Its `metadata.namespace`, that of the GPU Operator.
    pub namespace: String,
    /// The label of the plan's config, as [`mig_parted::Options::name`].
    pub name: String,
    /// Whether to add the uniform configs beside `all-disabled`.
    pub with_presets: bool,
}

/// Writes the ConfigMap, with which node takes which of its labels.
///
/// # Errors
/// Names that Kubernetes does not take (exit 2); more data than a ConfigMap may hold (exit 3).
pub fn write(view: &View<'_>, options: &Options) -> Result<MigPartedFile> {
    check_names(&options.configmap, &options.namespace)?;
    let extra = if options.with_presets { Extra::Presets } else { Extra::AllDisabled };
    let file = mig_parted::write_with(&view.nodes, view.catalogue, &options.name, extra, &[])?;
    if file.text.len() > MAX_BYTES {
        let mut labels: Vec<&str> = file.assignments.iter().map(|(_, l)| l.as_str()).collect();
        labels.sort_unstable();
        labels.dedup();
        return Err(Error::input(Diagnostic::new(format!(
            "the config has {} bytes, more than the {} that Kubernetes lets a ConfigMap hold: {} of {} differ",
            thousands(file.text.len() as u64),
            thousands(MAX_BYTES as u64),
            plural(labels.len() as u64, "node config"),
            plural(file.assignments.len() as u64, "node"),
        )))
        .hint("plan pools of nodes one by one, each with a ConfigMap of its own, or leave out --with-presets"));
    }
    let mut text = String::new();
    let _ = write!(
        text,
        "# Custom MIG configs for the GPU Operator's mig-manager. Once:\n\
         #   kubectl apply -f THIS-FILE\n\
         #   kubectl patch clusterpolicies.nvidia.com/cluster-policy --type merge \\\n\
         #     -p '{{\"spec\": {{\"mig\": {{\"strategy\": \"{}\"}}, \"migManager\": {{\"config\": {{\"name\": \"{}\"}}}}}}}}'\n\
         # Then label the nodes: migplan emit labels\n\
         apiVersion: v1\n\
         kind: ConfigMap\n\
         metadata:\n  name: {}\n  namespace: {}\n\
         data:\n  config.yaml: |\n",
        view.strategy.name(),
        options.configmap,
        yaml::scalar(&options.configmap),
        yaml::scalar(&options.namespace),
    );
    for line in file.text.lines() {
        let _ = writeln!(text, "{}", format!("    {line}").trim_end());
    }
    Ok(MigPartedFile { text, assignments: file.assignments })
}

/// Checks the names of an object and its namespace.
pub(super) fn check_names(object: &str, namespace: &str) -> Result<()> {
    if !is_object_name(object) {
        return Err(Error::usage(format!("'{object}' cannot name a Kubernetes object"))
            .hint("use lower-case letters, digits, '-' and '.'"));
    }
    if !is_dns_label(namespace) {
        return Err(Error::usage(format!("'{namespace}' cannot name a Kubernetes namespace"))
            .hint("use at most 63 lower-case letters, digits and '-'"));
    }
    Ok(())
}
