//! The boards in words: `migplan catalogue`, `migplan catalogue BOARD`.

use super::table::table;
use super::{Layout, wrapped};
use crate::hardware::{Board, Catalogue, Provenance};

/// Every board, a line each; on a narrow terminal without its other names.
pub fn boards(catalogue: &Catalogue, layout: Layout) -> String {
    let profiles = |board: &Board| {
        let plain = board.profiles.iter().filter(|p| p.name.is_plain());
        plain.map(|p| p.name.to_string()).collect::<Vec<_>>().join(" ")
    };
    let header = ["board", "also called", "product", "memory", "profiles", "evidence"];
    let mut rows = table(&header, |column| column == 3);
    for board in catalogue.boards() {
        rows.add_row([
            board.id.clone(),
            board.aliases.join(", "),
            board.products.first().cloned().unwrap_or_default(),
            board.memory.to_string(),
            profiles(board),
            board.confidence.clone(),
        ]);
    }
    if rows.fits(layout.width) {
        return rows.render(None);
    }
    let mut rows = table(&["board", "memory", "profiles"], |column| column == 1);
    for board in catalogue.boards() {
        rows.add_row([board.id.clone(), board.memory.to_string(), profiles(board)]);
    }
    rows.render(layout.width) + "\n`migplan catalogue BOARD` shows the rest.\n"
}

/// One board with its profiles, their placements and where each number comes from.
pub fn board(board: &Board, layout: Layout) -> String {
    let mut lines = vec![format!("{} ({}, {})", board.id, board.chip, board.products.join(", "))];
    if !board.aliases.is_empty() {
        lines.push(format!("also called: {}", board.aliases.join(", ")));
    }
    lines.push(format!(
        "{} in all ({}), {} compute slices, {} memory slices, PCI ids {}",
        board.memory,
        board.memory_provenance.confidence,
        board.compute_slices,
        board.memory_slices,
        board.pci_ids.join(", ")
    ));
    lines.push(format!(
        "MIG mode: {}, {} a reboot; first driver {}",
        if board.mode_change_needs_reset { "changes with a GPU reset" } else { "changes at once" },
        if board.mode_survives_reboot { "survives" } else { "does not survive" },
        board.min_driver.as_deref().unwrap_or("unknown")
    ));
    let mut text: String = lines.iter().map(|line| wrapped(line, "", layout)).collect();
    text.push('\n');
    let mut sources: Vec<String> = Vec::new();
    text += &profiles(board, &mut sources, layout);
    text += "\nSources:\n";
    for (index, source) in sources.iter().enumerate() {
        text += &wrapped(&format!("{:>2}  {source}", index + 1), "    ", layout);
    }
    for note in &board.notes {
        text += &wrapped(&format!("note: {note}"), "      ", layout);
    }
    text
}

/// The profiles of a board; where a number comes from is added to `sources` and named by number.
fn profiles(board: &Board, sources: &mut Vec<String>, layout: Layout) -> String {
    let mut number = |provenance: &Provenance| {
        let source = format!("{} [{}]", provenance.source, provenance.confidence);
        let known = sources.iter().position(|s| *s == source);
        known.unwrap_or_else(|| {
            sources.push(source);
            sources.len() - 1
        }) + 1
    };
    let header = [
        "profile",
        "id",
        "compute",
        "memory",
        "usable",
        "starts",
        "most",
        "memory, placement from",
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
            format!("{}, {}", number(&p.memory_provenance), number(&p.placement_provenance)),
        ]);
    }
    rows.render(layout.width)
}
