//! What the nodes will advertise, as a table: `migplan emit capacity`.

use std::collections::BTreeSet;

use super::Layout;
use super::table::table;
use crate::emit::capacity::Capacity;
use crate::emit::nodes::Resources;

/// A resource of a node with its numbers.
type Row = [String; 3];

/// A line for each node and resource, then the sums; on a narrow terminal the node has a line of its
/// own.
pub fn text(capacity: &Capacity, layout: Layout) -> String {
    let mut nodes: Vec<(&str, Vec<Row>)> = Vec::new();
    for node in &capacity.nodes {
        let mut rows = rows(&node.before, &node.after);
        if let Some(why) = &node.refused {
            rows.push([format!("({why})"), String::new(), "0".to_string()]);
        }
        nodes.push((&node.node, rows));
    }
    nodes.push(("TOTAL", rows(&capacity.totals.before, &capacity.totals.after)));
    let mut wide = table(&["NODE", "RESOURCE", "BEFORE", "AFTER"], |column| column > 1);
    let mut narrow = table(&["RESOURCE", "BEFORE", "AFTER"], |column| column > 0);
    for (node, rows) in nodes {
        narrow.add_row([node.to_string(), String::new(), String::new()]);
        for [resource, before, after] in rows {
            narrow.add_row([format!("  {resource}"), before.clone(), after.clone()]);
            wide.add_row([node.to_string(), resource, before, after]);
        }
    }
    if wide.fits(layout.width) { wide.render(None) } else { narrow.render(layout.width) }
}

fn rows(before: &Resources, after: &Resources) -> Vec<Row> {
    let resources: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let row = |resource: &String| {
        let count = |of: &Resources| of.get(resource).copied().unwrap_or(0).to_string();
        [resource.clone(), count(before), count(after)]
    };
    resources.into_iter().map(row).collect()
}
