//! How to carry the plan out: which node takes which label, and the commands.

use std::collections::HashMap;

use super::{Content, MOST_ROWS, Row, Section, Table, Value, count, names};
use crate::emit::mig_parted::{DEFAULT_NAME, MigPartedFile};
use crate::emit::shell;
use crate::fleet::LOCAL_NODE;
use crate::text::{self, plural};

/// So many nodes of a label are named.
const MOST_NAMES: usize = 8;
/// For so many nodes a command is written out.
const MOST_COMMANDS: usize = 50;
/// What stands for a label where nodes have several, so that no line can be run as it is on a node of
/// another label.
const LABEL: &str = "LABEL";

/// The sections about it.
pub(super) fn sections(config: &MigPartedFile) -> Vec<Section> {
    let labels = labels(config);
    let mut note =
        "Instances that must go are destroyed with whatever runs in them: look at the dry run first."
            .to_string();
    let mut sections = Vec::new();
    let label = match labels.as_slice() {
        [] => Some(DEFAULT_NAME),
        [(label, _)] => Some(*label),
        several => {
            note = format!(
                "Each node has its own label, as above: write it in place of {LABEL}. With another one it \
                 would get the layouts of other nodes. {note}"
            );
            sections.push(Section {
                heading: "Which node takes which label".to_string(),
                note: note_of(several),
                content: table(several),
            });
            None
        }
    };
    sections.push(Section {
        heading: "How to apply it".to_string(),
        note,
        content: Content::Code(commands(config, label)),
    });
    sections
}

/// The labels in the order of their numbers, each with its nodes.
fn labels(config: &MigPartedFile) -> Vec<(&str, Vec<String>)> {
    let mut labels: Vec<(&str, Vec<String>)> = Vec::new();
    let mut at: HashMap<&str, usize> = HashMap::new();
    for (node, label) in &config.assignments {
        let at = *at.entry(label).or_insert_with(|| {
            labels.push((label, Vec::new()));
            labels.len() - 1
        });
        if let Some((_, nodes)) = labels.get_mut(at) {
            nodes.push(node.to_string());
        }
    }
    labels
}

/// Says where the whole list is, where the table is not.
fn note_of(labels: &[(&str, Vec<String>)]) -> String {
    let cut = labels.len() > MOST_ROWS || labels.iter().any(|(_, n)| n.len() > MOST_NAMES);
    let nodes: usize = labels.iter().map(|(_, nodes)| nodes.len()).sum();
    let all = plural(nodes as u64, "node");
    if cut { format!("migplan suggest --assignments FILE lists all {all}.") } else { String::new() }
}

fn table(labels: &[(&str, Vec<String>)]) -> Content {
    let row = |(label, nodes): &(&str, Vec<String>)| Row {
        teams: None,
        cells: vec![
            Value::from(*label),
            count(nodes.len() as u64),
            Value::from(text::first(nodes, MOST_NAMES).as_str()),
        ],
    };
    Content::Table(Table {
        columns: names(&["label", "nodes", "which"]),
        rows: labels.iter().take(MOST_ROWS).map(row).collect(),
    })
}

/// The commands, for the one label of all nodes if there is one.
fn commands(config: &MigPartedFile, label: Option<&str>) -> String {
    let with = if label.is_none() { " with its label" } else { "" };
    let label = label.unwrap_or(LABEL);
    let mut text = format!(
        "# With migplan, on the node{with}: first what would change, then the change.\n\
         migplan apply -f config.yaml -c {label} --dry-run\n\
         migplan apply -f config.yaml -c {label}\n\n\
         # Or with nvidia-mig-parted:\n\
         nvidia-mig-parted assert --valid-config -f config.yaml -c {label}\n\
         nvidia-mig-parted apply -f config.yaml -c {label}\n"
    );
    let nodes: Vec<_> =
        config.assignments.iter().filter(|(node, _)| **node != *LOCAL_NODE).collect();
    if !nodes.is_empty() {
        text += "\n# Or, under the GPU Operator with config.yaml as its mig-parted ConfigMap, node by node:\n";
    }
    for (node, label) in nodes.iter().take(MOST_COMMANDS) {
        let node = shell::word(node);
        text += &format!("kubectl label node {node} nvidia.com/mig.config={label} --overwrite\n");
    }
    if nodes.len() > MOST_COMMANDS {
        let further = plural((nodes.len() - MOST_COMMANDS) as u64, "further node");
        text += &format!("# … and {further}: `migplan emit labels` labels all of them.\n");
    }
    text
}
