//! Boards to buy and what one GPU of each costs, as flags name them: `a100-80gb`, `a100-80gb=1.2`.

use crate::error::{Diagnostic, Error, Result};
use crate::hardware::{BoardRef, Catalogue};
use crate::units::Weight;

/// A board and what one GPU of it costs.
#[derive(Debug, Clone)]
pub struct Price {
    /// The board.
    pub board: BoardRef,
    /// The price of one GPU, in millionths of whatever unit the user counts in.
    pub price: i64,
}

/// The boards that names mean, in the order given, each once; `source` is where they stand.
///
/// # Errors
/// Names that are no board's, all at once (exit 3).
pub fn boards(names: &[String], source: &str, catalogue: &Catalogue) -> Result<Vec<BoardRef>> {
    let mut boards: Vec<BoardRef> = Vec::new();
    let mut problems = Vec::new();
    for name in names.iter().map(|n| n.trim()).filter(|n| !n.is_empty()) {
        match catalogue.find(name, None) {
            Ok(board) if boards.iter().any(|b| b.id == board.id) => {}
            Ok(board) => boards.push(board.clone()),
            Err(e) => problems.push(Diagnostic::new(e.to_string()).in_file(source)),
        }
    }
    if boards.is_empty() && problems.is_empty() && !names.is_empty() {
        problems.push(Diagnostic::new("names no board").in_file(source));
    }
    if problems.is_empty() {
        return Ok(boards);
    }
    Err(Error::inputs(problems).hint("`migplan catalogue` lists every board; --catalogue adds one"))
}

impl Price {
    /// Reads prices such as `a100-80gb=1.2`; `source` is where they stand.
    ///
    /// # Errors
    /// Texts that are no price, unknown boards, and boards with two prices, all at once (exit 3).
    pub fn parse(texts: &[String], source: &str, catalogue: &Catalogue) -> Result<Vec<Price>> {
        let mut prices: Vec<Price> = Vec::new();
        let mut problems = Vec::new();
        for text in texts.iter().map(|t| t.trim()).filter(|t| !t.is_empty()) {
            let known = |board: &BoardRef| prices.iter().any(|p| p.board.id == board.id);
            match Price::parse_one(text, catalogue) {
                Ok(price) if known(&price.board) => {
                    problems.push(format!("'{text}': {} has a price already", price.board.id));
                }
                Ok(price) => prices.push(price),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() {
            return Ok(prices);
        }
        let problems = problems.into_iter().map(|p| Diagnostic::new(p).in_file(source));
        Err(Error::inputs(problems.collect())
            .hint("write for example --price a100-80gb=1.2,h100-80gb=2.9"))
    }

    fn parse_one(text: &str, catalogue: &Catalogue) -> std::result::Result<Price, String> {
        let (name, number) =
            text.split_once('=').ok_or_else(|| format!("'{text}' is not BOARD=PRICE"))?;
        let board = catalogue.find(name.trim(), None).map_err(|e| e.to_string())?.clone();
        let price = Weight::parse(number)
            .map_err(|e| format!("'{text}': the price '{}' {e}", number.trim()))?;
        Ok(Price { board, price: i64::try_from(price.0).unwrap_or(i64::MAX) })
    }

    /// The price of a board, where there is one.
    pub fn of<'p>(prices: &'p [Price], board: &BoardRef) -> Option<&'p Price> {
        prices.iter().find(|price| price.board.id == board.id)
    }

    /// The price of so many GPUs, in millionths.
    pub fn of_gpus(&self, gpus: u64) -> u128 {
        cost(gpus, self.price)
    }
}

/// The price of so many GPUs, in millionths, where one has this price.
pub(crate) fn cost(gpus: u64, price: i64) -> u128 {
    u128::from(gpus) * u128::try_from(price).unwrap_or(0)
}
