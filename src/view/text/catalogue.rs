//! The boards in words: `migplan catalogue`, `migplan catalogue BOARD`.

use std::fmt::Write;

use super::Layout;
use super::table::table;
use crate::hardware::{Board, Catalogue};

/// Every board, a line each.
pub fn boards(catalogue: &Catalogue, layout: Layout) -> String {
    let header = ["board", "also called", "product", "memory", "profiles", "tables"];
    let mut rows = table(&header, |column| column == 3);
    for board in catalogue.boards() {
        let plain = board.profiles.iter().filter(|p| p.name.is_plain());
        let profiles: Vec<String> = plain.map(|p| p.name.to_string()).collect();
        rows.add_row([
            board.id.clone(),
            board.aliases.join(", "),
            board.products.first().cloned().unwrap_or_default(),
            board.memory.to_string(),
            profiles.join(" "),
            board.confidence.clone(),
        ]);
    }
    rows.render(layout.width)
}

/// One board with its profiles, their placements and where each number comes from.
pub fn board(board: &Board, layout: Layout) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{} ({}, {})", board.id, board.chip, board.products.join(", "));
    if !board.aliases.is_empty() {
        let _ = writeln!(text, "also called: {}", board.aliases.join(", "));
    }
    let _ = writeln!(
        text,
        "{} in all ({}), {} compute slices, {} memory slices, PCI ids {}",
        board.memory,
        board.memory_provenance.confidence,
        board.compute_slices,
        board.memory_slices,
        board.pci_ids.join(", ")
    );
    let _ = writeln!(
        text,
        "MIG mode: {}, {} a reboot; first driver {}\n",
        if board.mode_change_needs_reset { "changes with a GPU reset" } else { "changes at once" },
        if board.mode_survives_reboot { "survives" } else { "does not survive" },
        board.min_driver.as_deref().unwrap_or("unknown")
    );
    let header = [
        "profile",
        "id",
        "compute",
        "memory",
        "usable",
        "starts",
        "most",
        "memory from",
        "placement from",
    ];
    let mut rows = table(&header, |column| [1, 2, 3, 4, 6].contains(&column));
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
    text += &rows.render(layout.width);
    for note in &board.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text
}
