//! A fleet from a table: `node,board,gpus`, one row for each board of a node.

use std::collections::BTreeMap;
use std::io::Read;

use super::{Fleet, MAX_GPUS, Node, counted_board};
use crate::error::{Diagnostic, Result};
use crate::hardware::{BoardRef, Catalogue};
use crate::table::{Column, Table};
use crate::units::Decimal;

const COLUMNS: &[Column] = &[
    Column { name: "node", required: true },
    Column { name: "board", required: true },
    Column { name: "gpus", required: true },
];
const NODE: usize = 0;
const BOARD: usize = 1;
const GPUS: usize = 2;

const HINT: &str =
    "a fleet file has the columns node,board,gpus, such as 'gpu-01,a100-sxm4-80gb,8'";

/// Reads a fleet file. The order of its rows is of no consequence; the GPUs of a node that has
/// several boards are numbered by board id. Returns the fleet and warnings.
///
/// # Errors
/// All problems at once (exit 3), each with line, column and value.
pub fn read(
    input: impl Read,
    file: &str,
    catalogue: &Catalogue,
) -> Result<(Fleet, Vec<Diagnostic>)> {
    let mut table = Table::open(input, file, COLUMNS, HINT)?;
    let mut nodes: BTreeMap<String, BTreeMap<String, (BoardRef, u64, u64)>> = BTreeMap::new();
    let mut boards: BTreeMap<String, BoardRef> = BTreeMap::new();
    let mut total: u64 = 0;
    let rows = table.for_each_row(|row, problems| {
        let node = row.get(NODE).filter(|n| !n.chars().any(char::is_control));
        if node.is_none() {
            problems.push(row.problem(NODE, "is not a node name"));
        }
        if node.is_some_and(|name| name.contains(['[', ']'])) {
            problems.push(row.problem(
                NODE,
                "is a list of nodes; each needs a row of its own (`scontrol show hostnames` lists them)",
            ));
        }
        let board = match row.get(BOARD) {
            None => {
                problems.push(row.problem(BOARD, "is empty"));
                None
            }
            Some(name) => match boards.get(name) {
                Some(board) => Some(board.clone()),
                None => match counted_board(name, catalogue) {
                    Ok(board) => {
                        Some(boards.entry(name.to_string()).or_insert(board.clone()).clone())
                    }
                    Err(e) => {
                        problems.push(
                            Diagnostic::new(format!("column 'board': {e}")).at_line(row.line),
                        );
                        None
                    }
                },
            },
        };
        let gpus = gpu_count(row.get(GPUS).unwrap_or(""));
        if let Err(message) = &gpus {
            problems.push(row.problem(GPUS, message));
        }
        if let (Some(node), Some(board), Ok(gpus)) = (node, board, gpus) {
            total = total.saturating_add(gpus);
            let of_node = nodes.entry(node.to_string()).or_default();
            if let Some((_, _, line)) = of_node.get(&board.id) {
                problems.push(
                    row.problem(NODE, format_args!("has {} already on line {line}", board.id)),
                );
            } else {
                of_node.insert(board.id.clone(), (board, gpus, row.line));
            }
        }
    });
    if table.problems.is_empty() && rows == 0 {
        table.problems.push(Diagnostic::new("has a header, but no nodes").in_file(file));
    }
    if table.problems.is_empty() && total > MAX_GPUS {
        table.problems.push(
            Diagnostic::new(format!(
                "{total} GPUs are more than the {MAX_GPUS} that one plan may have"
            ))
            .in_file(file),
        );
    }
    let table = table.without_problems(HINT)?;
    let nodes = nodes
        .into_iter()
        .map(|(name, boards)| {
            let of_board =
                |(board, gpus, _)| std::iter::repeat_n(board, usize::try_from(gpus).unwrap_or(0));
            Node::new(name, boards.into_values().flat_map(of_board).collect())
        })
        .collect();
    Ok((Fleet::new(nodes), table.warnings))
}

/// How many GPUs a row names, or what is wrong with that.
fn gpu_count(text: &str) -> std::result::Result<u64, String> {
    let number = Decimal::parse(text).map_err(|e| e.to_string())?;
    if number.is_zero() {
        return Err("is zero; leave the row out".to_string());
    }
    let whole = number.whole().ok_or("is not a whole number")?;
    u64::try_from(whole)
        .ok()
        .filter(|n| *n <= MAX_GPUS)
        .ok_or_else(|| format!("is more than {MAX_GPUS}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet(text: &str) -> Result<(Fleet, Vec<Diagnostic>)> {
        read(text.as_bytes(), "fleet.csv", &Catalogue::built_in())
    }

    #[test]
    fn rows_in_any_order_make_the_same_fleet() {
        let (a, _) = fleet("node,board,gpus\nn2,h100-80gb,8\nn1,a100-80gb,4\nn2,a30,1\n").unwrap();
        let (b, _) =
            fleet("gpus,node,board\n1,n2,NVIDIA A30\n4,n1,A100-80GB\n8,n2,h100-80gb\n").unwrap();
        assert_eq!(a, b);
        assert_eq!(a.nodes()[0].name, "n1");
        assert_eq!(a.nodes()[1].gpus.len(), 9);
        assert_eq!(a.nodes()[1].gpus[0].id, "a30-24gb");
    }

    #[test]
    fn every_problem_is_named() {
        let error = fleet("node,board,gpus\nn1,t4,4\n,a30,0\nn2,a30,1.5\nn3,a30,2\nn3,A30,2\n")
            .unwrap_err();
        let text = error.to_string();
        assert_eq!(error.problems.len(), 5, "{text}");
        assert!(text.contains("fleet.csv:2: column 'board': 't4' cannot do MIG"), "{text}");
        assert!(
            text.contains("fleet.csv:6: column 'node': 'n3' has a30-24gb already on line 5"),
            "{text}"
        );
        for (row, problem) in [
            ("n1,NVIDIA-A100-SXM4-80GB-MIG-1g.10gb,28", "counts instances: write a100-sxm4-80gb"),
            ("n1,NVIDIA-A100-SXM4-80GB-MIG-INVALID,8", "counts instances: write a100-sxm4-80gb"),
            ("gpu[001-004],a100-80gb,4", "'gpu[001-004]' is a list of nodes"),
        ] {
            let error = fleet(&format!("node,board,gpus\n{row}\n")).unwrap_err().to_string();
            assert!(error.starts_with("fleet.csv:2: column") && error.contains(problem), "{error}");
        }
        assert!(fleet("node,board,gpus\n").unwrap_err().to_string().contains("no nodes"));
    }
}
