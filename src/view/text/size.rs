//! How many GPUs a demand needs, in words: `migplan size`.

use super::table::table;
use super::{Layout, fitted, not_proved, unplaced_rows};
use crate::compare::{Sizing, SizingMix};
use crate::error::Diagnostic;
use crate::fleet::price::Price;
use crate::plan::{Status, Unplaced};
use crate::text::{plural, thousands};
use crate::units::{Mebibytes, amount};

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
    fitted(&text, layout)
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

/// `proved: …`, or why it is not.
fn proof(status: Status, claim: &str) -> String {
    match not_proved(status) {
        None => format!("proved: {claim}"),
        Some(why) => format!("not proved: {why}"),
    }
}

/// Why no GPU at all is needed: nothing is asked for, or there is nothing that they could serve.
fn no_gpu(unserved: &[Unplaced], they: &str) -> String {
    match unserved.is_empty() {
        true => "since no replica is asked for".to_string(),
        false => format!("since {they} can serve no replica of this demand"),
    }
}

fn board(sizing: &Sizing, price: Option<&Price>, per_node: usize, layout: Layout) -> String {
    let mut text = format!("{}: {}", sizing.board.id, plural(sizing.gpus, "GPU"));
    if sizing.gpus == 0 {
        text += &format!(", {}", no_gpu(&sizing.unserved, "it"));
        return format!("{text}\n{}\n", unserved(&sizing.unserved, layout));
    }
    if let Some(nodes) = sizing.nodes {
        text += &format!(" on {} of {per_node}", plural(nodes, "node"));
    }
    if let Some(price) = price {
        text += &format!(", cost {}", amount(price.of_gpus(sizing.gpus)));
    }
    text += &format!(" ({})\n", proof(sizing.status, "fewer are not enough"));
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
    let line = match used.is_empty() {
        true => format!("cheapest mix: no GPU, {}", no_gpu(&mix.unserved, "these boards")),
        false => format!(
            "cheapest mix: {}, cost {} ({})",
            used.join(" + "),
            amount(mix.cost),
            proof(mix.status, "nothing cheaper is enough")
        ),
    };
    format!("{line}\n{}", unserved(&mix.unserved, layout))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Frontier;
    use crate::hardware::Catalogue;

    #[test]
    fn why_a_number_is_not_proved_is_said() {
        let board = Catalogue::built_in().by_id("a30-24gb").unwrap().clone();
        for (status, says) in [
            (Status::Optimal, "(proved: fewer are not enough)"),
            (Status::TimeLimit, "(not proved: the time limit ended the search)"),
            (Status::Interrupted, "(not proved: the search was interrupted)"),
            (Status::SolverGap, "(not proved: the solver left a gap)"),
        ] {
            let steps = Frontier { points: Vec::new(), complete: true };
            let (board, unserved) = (board.clone(), Vec::new());
            let sizing = Sizing { board, gpus: 3, nodes: None, status, unserved, steps };
            let shown = text(&[sizing], None, &[], 8, Layout::default());
            assert_eq!(shown, format!("a30-24gb: 3 GPUs {says}\n\n"));
        }
        assert_eq!(Status::Optimal.and(Status::Interrupted), Status::Interrupted);
        assert_eq!(Status::TimeLimit.and(Status::Optimal), Status::TimeLimit);
    }
}
