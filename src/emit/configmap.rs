//! `migplan emit configmap`: the GPU Operator's custom mig-parted configurations, which MIG Manager
//! reads under the key `config.yaml` once the ClusterPolicy names the ConfigMap.

use std::collections::{BTreeMap, BTreeSet};

use super::mig_parted::{self, MigPartedFile};
use super::plan_view::PlanView;
use super::presets::{self, Which};
use super::{template, yaml};
use crate::error::{Diagnostic, Error, Result};
use crate::fleet::{KubernetesNode, nodes_json};
use crate::hardware::{Board, BoardRef};
use crate::kubernetes::{list, naming};
use crate::text::{plural, thousands};

/// The name of the ConfigMap where no other is chosen.
pub const DEFAULT_CONFIGMAP: &str = "migplan-mig-config";
/// The namespace of the GPU Operator as its documentation installs it.
pub const DEFAULT_NAMESPACE: &str = "gpu-operator";

/// The most that Kubernetes lets the data of a ConfigMap be, in bytes (`MaxSecretSize` in its
/// validation).
pub const MAX_BYTES: usize = 1 << 20;

/// How the ConfigMap is called and what is in it.
#[derive(Debug, Clone)]
pub struct ConfigMapOptions {
    /// Its `metadata.name`.
    pub configmap: String,
    /// Its `metadata.namespace`, that of the GPU Operator.
    pub namespace: String,
    /// The label of the plan's configuration, as [`mig_parted::MigPartedOptions::name`].
    pub name: String,
    /// Whether to add the uniform configurations beside `all-disabled`.
    pub with_presets: bool,
    /// What the cluster says of all of its nodes, where it was asked: presets that they are
    /// labelled with are carried along.
    pub nodes: Option<BTreeMap<String, KubernetesNode>>,
}

/// The ConfigMap, which node takes which of its labels, and what to know beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigMapFile {
    /// The object, and every node with its label.
    pub file: MigPartedFile,
    /// Presets that were carried along, a sentence each.
    pub notes: Vec<String>,
    /// Configurations in use that the object lacks.
    pub warnings: Vec<Diagnostic>,
}

/// Writes the ConfigMap, with which node takes which of its labels.
///
/// # Errors
/// A plan that the strategy does not advertise (exit 3); names that Kubernetes does not accept
/// (exit 2); more data than a ConfigMap may hold (exit 3).
pub fn write(view: &PlanView<'_>, options: &ConfigMapOptions) -> Result<ConfigMapFile> {
    view.require_advertised()?;
    naming::check_object_name(&options.configmap)?;
    naming::check_namespace(&options.namespace)?;
    let which = if options.with_presets { Which::Uniform } else { Which::AllDisabled };
    let mut presets = presets::of_nodes(&view.nodes, view.catalogue, which)?;
    let (mut notes, mut warnings) = (Vec::new(), Vec::new());
    if let Some(nodes) = &options.nodes {
        let own: BTreeSet<String> =
            mig_parted::labels(view, &options.name)?.into_iter().map(|(_, label)| label).collect();
        let boards = boards(view, nodes);
        let boards: Vec<&Board> = boards.values().map(|board| &**board).collect();
        let mut known = presets::of_boards(&boards);
        if options.with_presets {
            // The other boards of the cluster have their own numbers of instances.
            presets = known.clone();
            presets.configs.retain(|label, _| which.has(label));
        }
        for (label, users) in in_use(view, nodes) {
            if own.contains(&label) || presets.configs.contains_key(&label) {
                continue;
            }
            let names = list::names(&users);
            match known.configs.remove(&label) {
                Some(entries) => {
                    notes.push(format!("carried along: {label}, in use by {names}"));
                    presets.configs.insert(label, entries);
                    presets.left_out.clone_from(&known.left_out);
                }
                None => warnings.push(Diagnostic::new(format!(
                    "{names} {} the MIG configuration '{label}', which this ConfigMap lacks: add it before you replace the present one",
                    if users.len() == 1 { "has" } else { "have" }
                ))),
            }
        }
    }
    let file = mig_parted::write_with(&view.nodes, view.catalogue, &options.name, &presets, &[])?;
    if file.text.len() > MAX_BYTES {
        return Err(too_large(&file));
    }
    let text = object(view, options, &file.text);
    warnings.extend(file.warnings.iter().cloned());
    Ok(ConfigMapFile { file: MigPartedFile { text, ..file }, notes, warnings })
}

/// The boards of the plan and of the cluster's nodes, by id.
fn boards(
    view: &PlanView<'_>,
    nodes: &BTreeMap<String, KubernetesNode>,
) -> BTreeMap<String, BoardRef> {
    let planned = view.boards().into_iter().filter_map(|id| view.catalogue.by_id(id).cloned());
    let present = nodes.values().filter_map(|node| nodes_json::board_of(node, view.catalogue));
    planned.chain(present).map(|board| (board.id.clone(), board)).collect()
}

/// The configurations that nodes of the cluster are labelled with, with these nodes. A node of the
/// plan gets a new label, so what it has now counts only as long as the file can have it: its
/// configurations of earlier plans are not named.
fn in_use(
    view: &PlanView<'_>,
    nodes: &BTreeMap<String, KubernetesNode>,
) -> BTreeMap<String, Vec<String>> {
    let planned: BTreeSet<&str> = view.nodes.iter().map(|node| node.name.as_ref()).collect();
    let mut in_use: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, node) in nodes {
        let Some(config) = &node.mig_config else { continue };
        if !planned.contains(name.as_str()) || presets::is_preset(config) {
            in_use.entry(config.clone()).or_default().push(name.clone());
        }
    }
    in_use
}

fn too_large(file: &MigPartedFile) -> Error {
    let labels: BTreeSet<&str> = file.assignments.iter().map(|(_, l)| l.as_str()).collect();
    Error::input(Diagnostic::new(format!(
        "the configuration has {} bytes, more than the {} that Kubernetes lets a ConfigMap hold: {} of {} differ",
        thousands(file.text.len() as u64),
        thousands(MAX_BYTES as u64),
        plural(labels.len() as u64, "node configuration"),
        plural(file.assignments.len() as u64, "node"),
    )))
    .hint("plan pools of nodes one by one, each with a ConfigMap of its own, or drop --with-presets")
}

/// The object around mig-parted's file.
fn object(view: &PlanView<'_>, options: &ConfigMapOptions, file: &str) -> String {
    let values = [
        ("STRATEGY", view.strategy.name()),
        ("CONFIGMAP", &options.configmap),
        ("NAME", &yaml::scalar(&options.configmap)),
        ("NAMESPACE", &yaml::scalar(&options.namespace)),
    ];
    let mut text = template::fill(include_str!("snippets/configmap.yaml"), &values);
    for line in file.lines() {
        text.push_str(format!("    {line}").trim_end());
        text.push('\n');
    }
    text
}
