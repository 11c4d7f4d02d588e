//! `migplan catalogue`: the boards, their profiles, usable memory, placements and sources.

use super::inputs::CatalogueArgs;
use super::output::{Console, write_result};
use crate::error::Result;

/// Show the boards that migplan knows, or one board's profiles with their sources
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  migplan catalogue
  migplan catalogue a100-80gb
  migplan catalogue h200 --format json")]
pub struct Args {
    /// A board by id, alias or product name; without it all boards are listed
    board: Option<String>,
    #[command(flatten)]
    catalogue: CatalogueArgs,
}

pub(super) fn run(args: &Args, _console: &Console) -> Result<()> {
    let catalogue = args.catalogue.read()?;
    write_result(None, |out| {
        for board in catalogue.boards() {
            writeln!(out, "{}", board.id)?;
        }
        Ok(())
    })
}
