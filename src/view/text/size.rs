//! How many GPUs a demand needs, in words: `migplan size`.

use super::table::table;
use super::{Layout, unplaced_rows};
use crate::compare::{Sizing, SizingMix};
use crate::error::Diagnostic;
use crate::fleet::price::Price;
use crate::plan::Unplaced;
use crate::text::{plural, thousands};
use crate::units::{Mebibytes, millionths};

/// Each board alone, then the mix. `per_node` is the number of GPUs of a server.
pub fn text(
    sizings: &[Sizing],
    mix: Option<&SizingMix>,
    prices: &[Price],
    per_node: usize,
    layout: Layout,
) -> String {
    let mut text = String::new();
    for sizing in sizings {
        text += &board(sizing, Price::of(prices, &sizing.board), per_node, layout);
    }
    if let Some(found) = mix {
        text += &cheapest(found, layout);
    }
    text
}

/// What the numbers leave out, for those who read the JSON.
pub fn warnings(sizings: &[Sizing]) -> Vec<Diagnostic> {
    let warning = |sizing: &Sizing| {
        let replicas: u64 = sizing.unserved.iter().map(|u| u.replicas).sum();
        Diagnostic::new(format!(
            "{} cannot be served by {} and are not in its number",
            plural(replicas, "replica"),
            sizing.board.id
        ))
    };
    sizings.iter().filter(|s| !s.unserved.is_empty()).map(warning).collect()
}

/// `proved: …`, or that it is not.
fn proof(proved: bool, claim: &str) -> String {
    if proved { format!("proved: {claim}") } else { "not proved within the time limit".to_string() }
}

fn board(sizing: &Sizing, price: Option<&Price>, per_node: usize, layout: Layout) -> String {
    let mut text = format!("{}: {}", sizing.board.id, plural(sizing.gpus, "GPU"));
    if let Some(nodes) = sizing.nodes {
        text += &format!(" on {} of {per_node}", plural(nodes, "node"));
    }
    if let Some(price) = price {
        text += &format!(", cost {}", millionths(price.of_gpus(sizing.gpus)));
    }
    text += &format!(" ({})\n", proof(sizing.proved, "one fewer is not enough"));
    text += &unserved(&sizing.unserved, layout);
    if !sizing.steps.points.is_empty() {
        text += &steps(sizing, layout);
    }
    text.push('\n');
    text
}

fn steps(sizing: &Sizing, layout: Layout) -> String {
    let points = &sizing.steps.points;
    let numbers = match sizing.steps.complete {
        true => " on each number of GPUs".to_string(),
        false => format!(", at {} numbers of GPUs", points.len()),
    };
    let mut shown = table(&["GPUs", "placed", "further", "memory placed", "idle"], |_| true);
    let mut before = 0;
    for step in points {
        shown.add_row([
            thousands(step.gpus),
            thousands(step.placed),
            // One large replica of higher priority may displace several small ones.
            match step.placed.checked_sub(before) {
                Some(more) => format!("+{}", thousands(more)),
                None => format!("-{}", thousands(before - step.placed)),
            },
            Mebibytes(step.placed_mib).human(),
            Mebibytes(sizing.idle_mib(step)).human(),
        ]);
        before = step.placed;
    }
    format!("\nWhat fits{numbers}:\n{}", shown.render(layout.width))
}

fn cheapest(mix: &SizingMix, layout: Layout) -> String {
    let used: Vec<String> = mix
        .boards
        .iter()
        .filter(|b| b.gpus > 0)
        .map(|b| format!("{} × {}", thousands(b.gpus), b.board.id))
        .collect();
    let used = if used.is_empty() { "no GPU".to_string() } else { used.join(" + ") };
    format!(
        "cheapest mix: {used}, cost {} ({})\n{}",
        millionths(mix.cost),
        proof(mix.proved, "nothing cheaper is enough"),
        unserved(&mix.unserved, layout)
    )
}

fn unserved(unserved: &[Unplaced], layout: Layout) -> String {
    if unserved.is_empty() {
        return String::new();
    }
    let replicas = unserved.iter().map(|u| u.replicas).sum();
    let mut text = format!(
        "Not in that number, since no GPU of it could serve them: {}.\n",
        plural(replicas, "replica")
    );
    unplaced_rows(&mut text, unserved, layout.rows());
    text
}
