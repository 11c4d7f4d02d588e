//! A fleet from a flag: `4xa100-80gb,8xh100-80gb`, one anonymous node.

use super::{Fleet, LOCAL_NODE, MAX_GPUS, Node, counted_board};
use crate::error::{Diagnostic, Error, Result};
use crate::hardware::{BoardRef, Catalogue};

/// Reads `4xa100-80gb,8xh100-80gb`. The flag says nothing of indices, so GPUs are numbered board
/// by board, in the order of board ids, whatever the order of the text.
///
/// # Errors
/// All problems of the text at once (exit 3): no count, zero GPUs, an unknown board, a board
/// without MIG. `source` names the flag or variable that the text came from.
pub fn parse(text: &str, source: &str, catalogue: &Catalogue) -> Result<Fleet> {
    let mut problems = Vec::new();
    let mut gpus: Vec<(BoardRef, u64)> = Vec::new();
    for part in text.split(',').map(str::trim) {
        match parse_part(part, catalogue) {
            Ok(group) => gpus.push(group),
            Err(message) => problems.push(Diagnostic::new(message).in_file(source)),
        }
    }
    let total: u64 = gpus.iter().map(|(_, count)| *count).sum();
    if problems.is_empty() && total > MAX_GPUS {
        problems.push(
            Diagnostic::new(format!(
                "{total} GPUs are more than the {MAX_GPUS} that one plan may have"
            ))
            .in_file(source),
        );
    }
    if !problems.is_empty() {
        return Err(Error::inputs(problems)
            .hint("write counts and boards like 4xa100-80gb,8xh100-80gb; `migplan catalogue` lists the boards"));
    }
    let of_part = |(board, count)| std::iter::repeat_n(board, usize::try_from(count).unwrap_or(0));
    let mut gpus: Vec<BoardRef> = gpus.into_iter().flat_map(of_part).collect();
    gpus.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(Fleet::new(vec![Node::new(LOCAL_NODE, gpus)]))
}

/// Reads one `4xa100-80gb`; a board alone is one GPU.
fn parse_part(part: &str, catalogue: &Catalogue) -> std::result::Result<(BoardRef, u64), String> {
    if part.is_empty() {
        return Err("names no GPU".to_string());
    }
    let digits = part.bytes().take_while(u8::is_ascii_digit).count();
    let (count, rest) = part.split_at(digits);
    let rest = rest.trim_start();
    let times = rest.strip_prefix(['x', 'X', '*', '×']);
    let (count, name) = match (digits, times) {
        (0, _) => (1, part),
        (_, Some(name)) => (
            count.parse::<u64>().ok().filter(|c| *c <= MAX_GPUS).ok_or_else(|| {
                format!(
                    "'{part}': {count} GPUs are more than the {MAX_GPUS} that one plan may have"
                )
            })?,
            name.trim(),
        ),
        (_, None) => return Err(format!("'{part}' is not like 4xa100-80gb")),
    };
    if count == 0 {
        return Err(format!("'{part}' asks for zero GPUs"));
    }
    let board = counted_board(name, catalogue)?;
    Ok((board.clone(), count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_the_text_is_of_no_consequence() {
        let catalogue = Catalogue::built_in();
        let a = parse("4xa100-80gb,8xh100-80gb", "--gpus", &catalogue).unwrap();
        let b = parse(" 8 x H100-80GB , 2xa100-80gb,2xa100-80gb", "--gpus", &catalogue).unwrap();
        assert_eq!(a, b);
        assert_eq!(a.gpu_count(), 12);
        assert_eq!(a.boards().len(), 2);
        assert_eq!(parse("a30", "--gpus", &catalogue).unwrap().gpu_count(), 1);
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let catalogue = Catalogue::built_in();
        let error =
            parse("0xa100-80gb,4xt4,3xfoo,5,99999999999999999999xa30,", "--gpus", &catalogue)
                .unwrap_err();
        assert_eq!(error.problems.len(), 6, "{error}");
        assert!(error.to_string().contains("'t4' cannot do MIG"), "{error}");
        for name in ["a100-80gb-mig-1g.10gb", "NVIDIA A100-SXM4-80GB MIG 1g.10gb"] {
            let error = parse(&format!("28x{name}"), "--gpus", &catalogue).unwrap_err().to_string();
            assert!(error.contains("counts instances: write a100-sxm4-80gb"), "{error}");
        }
    }
}
