//! `migplan catalogue`: the boards, their profiles, usable memory, placements and sources.

use std::io::{self, Write};

use comfy_table::{CellAlignment, Table};

use super::inputs::CatalogueArgs;
use super::output::{Console, Format, render, table, write_result};
use crate::error::{Diagnostic, Error, Result};
use crate::hardware::{Board, Catalogue};

/// Show the boards that migplan knows, or one board's profiles with their sources
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  migplan catalogue
  migplan catalogue a100-80gb
  migplan catalogue h200 --format json > my-board.json")]
pub struct Args {
    /// A board by id, alias or product name; without it all boards are listed
    board: Option<String>,
    #[command(flatten)]
    catalogue: CatalogueArgs,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn run(args: &Args, _console: &Console) -> Result<()> {
    let catalogue = args.catalogue.read()?;
    let board = match &args.board {
        None => None,
        Some(name) => Some(catalogue.find(name, None).map_err(|e| {
            Error::input(Diagnostic::new(e.to_string()))
                .hint("`migplan catalogue` lists every board; --catalogue adds one")
        })?),
    };
    write_result(None, |out| match (args.format, board) {
        (Format::Json, Some(board)) => {
            serde_json::to_writer_pretty(&mut *out, &catalogue.file(&board.id))?;
            writeln!(out)
        }
        (Format::Json, None) => {
            let boards: Vec<_> =
                catalogue.boards().iter().filter_map(|b| catalogue.file(&b.id)).collect();
            let all = serde_json::json!({"schema": "migplan.catalogue/v1", "boards": boards});
            serde_json::to_writer_pretty(&mut *out, &all)?;
            writeln!(out)
        }
        (Format::Text, Some(board)) => one(board, out),
        (Format::Text, None) => all(&catalogue, out),
    })
}

fn all(catalogue: &Catalogue, out: &mut dyn Write) -> io::Result<()> {
    let mut rows = table(&["board", "also called", "product", "memory", "profiles", "tables"]);
    for board in catalogue.boards() {
        let profiles: Vec<String> = board
            .profiles
            .iter()
            .filter(|p| p.name.is_plain())
            .map(|p| p.name.to_string())
            .collect();
        rows.add_row([
            board.id.clone(),
            board.aliases.join(", "),
            board.products.first().cloned().unwrap_or_default(),
            board.memory.to_string(),
            profiles.join(" "),
            board.confidence.clone(),
        ]);
    }
    right(&mut rows, &[3]);
    write!(out, "{}", render(&rows))
}

fn one(board: &Board, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{} ({}, {})", board.id, board.chip, board.products.join(", "))?;
    if !board.aliases.is_empty() {
        writeln!(out, "also called: {}", board.aliases.join(", "))?;
    }
    writeln!(
        out,
        "{} in all ({}), {} compute slices, {} memory slices, PCI ids {}",
        board.memory,
        board.memory_provenance.confidence,
        board.compute_slices,
        board.memory_slices,
        board.pci_ids.join(", ")
    )?;
    writeln!(
        out,
        "MIG mode: {}, {} a reboot; first driver {}",
        if board.mode_change_needs_reset { "changes with a GPU reset" } else { "changes at once" },
        if board.mode_survives_reboot { "survives" } else { "does not survive" },
        board.min_driver.as_deref().unwrap_or("unknown")
    )?;
    writeln!(out)?;
    let mut rows = table(&[
        "profile",
        "id",
        "compute",
        "memory",
        "usable",
        "starts",
        "most",
        "memory from",
        "placement from",
    ]);
    for p in &board.profiles {
        let starts: Vec<String> = p.starts.iter().map(u32::to_string).collect();
        rows.add_row([
            p.name.to_string(),
            p.profile_id.map_or("?".to_string(), |id| id.to_string()),
            p.compute_slices.to_string(),
            p.memory_slices.to_string(),
            p.memory.to_string(),
            starts.join(","),
            p.max_instances.to_string(),
            format!("{} [{}]", p.memory_provenance.source, p.memory_provenance.confidence),
            format!("{} [{}]", p.placement_provenance.source, p.placement_provenance.confidence),
        ]);
    }
    right(&mut rows, &[1, 2, 3, 4, 6]);
    write!(out, "{}", render(&rows))?;
    for note in &board.notes {
        writeln!(out, "note: {note}")?;
    }
    Ok(())
}

fn right(rows: &mut Table, columns: &[usize]) {
    for &column in columns {
        if let Some(column) = rows.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}
