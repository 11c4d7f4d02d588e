//! Tables without lines, which also survive a copy into a mail, as wide as the terminal at most.

use comfy_table::{
    Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets,
};

/// Blanks between two columns.
const GAP: u16 = 2;
/// The same where the terminal is too narrow for the table as it is.
const NARROW_GAP: u16 = 1;

/// A table that is being filled.
#[derive(Debug, Clone)]
pub(super) struct TextTable {
    table: Table,
    /// Which columns hold numbers.
    numbers: Vec<bool>,
}

/// An empty table; `is_number` says which columns hold numbers, by index.
pub(super) fn table(header: &[impl AsRef<str>], is_number: impl Fn(usize) -> bool) -> TextTable {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(header.iter().map(AsRef::as_ref).collect::<Vec<_>>());
    let numbers: Vec<bool> = (0..header.len()).map(is_number).collect();
    for (column, is_number) in table.column_iter_mut().zip(&numbers) {
        column.set_padding((0, GAP));
        if *is_number {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    TextTable { table, numbers }
}

impl TextTable {
    /// Adds a row with a cell for each column.
    pub(super) fn add_row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.table.add_row(cells);
    }

    /// Whether its widest line fits.
    pub(super) fn fits(&self, width: Option<u16>) -> bool {
        let fits = |width| lines(&self.table).lines().all(|line| line.chars().count() <= width);
        width.is_none_or(|width| fits(usize::from(width)))
    }

    /// The table as text without blanks at the end of its lines. In a table that is wider than
    /// `width` the headings and the words wrap; a number never does.
    pub(super) fn render(mut self, width: Option<u16>) -> String {
        let Some(width) = width.filter(|width| !self.fits(Some(*width))) else {
            return lines(&self.table);
        };
        let least: Vec<u16> = (0..self.numbers.len()).map(|column| self.least(column)).collect();
        for ((column, is_number), least) in
            self.table.column_iter_mut().zip(&self.numbers).zip(least)
        {
            column.set_padding((0, NARROW_GAP));
            if *is_number {
                let fixed = Width::Fixed(least.saturating_add(NARROW_GAP));
                column.set_constraint(ColumnConstraint::Absolute(fixed));
            }
        }
        self.table.set_content_arrangement(ContentArrangement::Dynamic);
        self.table.set_width(width);
        lines(&self.table)
    }

    /// The width that a column of numbers needs: of its longest cell, or of the longest word of
    /// its heading.
    fn least(&self, column: usize) -> u16 {
        let cells = self.table.column_cells_iter(column).flatten();
        let cells = cells.map(|cell| cell.content().chars().count());
        let heading = self.table.header().and_then(|header| header.cell_iter().nth(column));
        let words = heading.map(Cell::content).unwrap_or_default();
        let words = words.split(' ').map(|word| word.chars().count());
        u16::try_from(cells.chain(words).max().unwrap_or(0)).unwrap_or(u16::MAX)
    }
}

fn lines(table: &Table) -> String {
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_table_wraps_words_and_keeps_numbers() {
        let mut shown = table(&["name", "memory placed", "what it is for"], |c| c == 1);
        let words = "one two three four five six seven eight";
        shown.add_row(["all-1g.10gb", "1,250 GiB", words].map(str::to_string));
        let wide = shown.clone().render(None);
        assert!(wide.lines().any(|l| l.chars().count() > 60), "{wide}");
        let narrow = shown.render(Some(40));
        assert!(narrow.lines().all(|l| l.chars().count() <= 40), "{narrow}");
        assert!(narrow.contains("1,250 GiB"), "{narrow}");
    }
}
