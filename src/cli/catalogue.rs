//! `migplan catalogue`: the boards, their profiles, usable memory, placements and sources.

use super::inputs::CatalogueArgs;
use super::output::{Console, Format, write_result};
use crate::error::{Diagnostic, Error, Result};
use crate::view::json::{self, catalogue::CatalogueDocument};
use crate::view::text;

/// Show the boards that migplan knows, or one board's profiles with their sources
#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/catalogue.txt").trim_ascii_end())]
pub struct Args {
    /// A board by id, alias or product name; without it all boards are listed
    board: Option<String>,
    #[command(flatten)]
    catalogue: CatalogueArgs,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn run(args: &Args, console: &Console) -> Result<()> {
    let catalogue = args.catalogue.read()?;
    let board = match &args.board {
        None => None,
        Some(name) => Some(catalogue.find(name, None).map_err(|e| {
            Error::input(Diagnostic::new(e.to_string()))
                .hint("`migplan catalogue` lists every board; --catalogue adds one")
        })?),
    };
    let layout = console.layout(None);
    write_result(None, |out| match (args.format, board) {
        (Format::Json, Some(board)) => json::write(&catalogue.file(&board.id), out),
        (Format::Json, None) => json::write(&CatalogueDocument::new(&catalogue), out),
        (Format::Text, Some(board)) => {
            out.write_all(text::catalogue::board(board, layout).as_bytes())
        }
        (Format::Text, None) => {
            out.write_all(text::catalogue::boards(&catalogue, layout).as_bytes())
        }
    })
}
