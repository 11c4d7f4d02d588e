//! Tables without lines, which also survive a copy into a mail, as wide as the terminal at most.

use comfy_table::{
    Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets,
};

/// Blanks between two columns.
const GAP: u16 = 2;
/// The same where the terminal is too narrow for the table as it is.
const NARROW_GAP: u16 = 1;

/// No word needs more columns than this; a longer one may be broken.
const LONG_WORD: u16 = 20;
/// No column of words becomes narrower than this.
const NARROW_WORDS: u16 = 10;

/// A table that is being filled.
#[derive(Debug, Clone)]
pub(super) struct TextTable {
    table: Table,
    /// Which columns hold numbers.
    numbers: Vec<bool>,
    /// How many columns at the left say what a row is about.
    keys: usize,
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
    TextTable { table, numbers, keys: 1 }
}

impl TextTable {
    /// The same table, of which so many columns say what a row is about.
    pub(super) fn keys(self, keys: usize) -> TextTable {
        TextTable { keys, ..self }
    }

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
    /// `width` the headings and the words wrap; a number never does. Columns that are too many even so
    /// follow in tables below, each with the keys of its rows.
    pub(super) fn render(self, width: Option<u16>) -> String {
        let Some(width) = width.filter(|width| !self.fits(Some(*width))) else {
            return lines(&self.table);
        };
        let parts: Vec<String> = self
            .groups(width)
            .into_iter()
            .map(|columns| self.part(&columns).wrapped(width))
            .collect();
        parts.join("\n")
    }

    /// Which columns stand in which of the tables, keys first.
    fn groups(&self, width: u16) -> Vec<Vec<usize>> {
        let of = |columns: &[usize]| -> u16 {
            let widths = columns.iter().map(|column| self.least(*column));
            widths.fold(0, |sum: u16, least| sum.saturating_add(least + NARROW_GAP))
        };
        let keys: Vec<usize> = (0..self.keys).collect();
        let mut groups = vec![keys.clone()];
        for column in self.keys..self.numbers.len() {
            let Some(last) = groups.last_mut() else { break };
            last.push(column);
            if last.len() > keys.len() + 1 && of(last) > width + NARROW_GAP {
                last.pop();
                groups.push([keys.as_slice(), &[column]].concat());
            }
        }
        groups
    }

    /// These columns alone.
    fn part(&self, columns: &[usize]) -> TextTable {
        let cells = |row: &comfy_table::Row| -> Vec<String> {
            let cell = |column: &usize| row.cell_iter().nth(*column).map(Cell::content);
            columns.iter().map(|column| cell(column).unwrap_or_default()).collect()
        };
        let header = self.table.header().map(&cells).unwrap_or_default();
        let is_number = |at: usize| columns.get(at).is_some_and(|column| self.numbers[*column]);
        let mut part = table(&header, is_number);
        for row in self.table.row_iter() {
            part.add_row(cells(row));
        }
        part
    }

    /// As text of a width that it does not have by itself.
    fn wrapped(mut self, width: u16) -> String {
        let least: Vec<u16> = (0..self.numbers.len()).map(|column| self.least(column)).collect();
        for ((column, is_number), least) in
            self.table.column_iter_mut().zip(&self.numbers).zip(least)
        {
            column.set_padding((0, NARROW_GAP));
            column.set_constraint(match is_number {
                true => ColumnConstraint::Absolute(Width::Fixed(least + NARROW_GAP)),
                false => {
                    let least = least.min(NARROW_WORDS);
                    ColumnConstraint::LowerBoundary(Width::Fixed(least + NARROW_GAP))
                }
            });
        }
        self.table.set_content_arrangement(ContentArrangement::Dynamic);
        // The last column's gap is at the end of its lines, where it is cut off.
        self.table.set_width(width + NARROW_GAP);
        lines(&self.table)
    }

    /// The width that a column needs: of its longest word, or in a column of numbers of its longest
    /// cell.
    fn least(&self, column: usize) -> u16 {
        let length = |text: &str| u16::try_from(text.chars().count()).unwrap_or(u16::MAX / 4);
        let longest = |text: &str| text.split(' ').map(length).max().unwrap_or(0);
        let heading = self.table.header().and_then(|header| header.cell_iter().nth(column));
        let heading = longest(&heading.map(Cell::content).unwrap_or_default());
        let cells = self.table.column_cells_iter(column).flatten().map(Cell::content);
        match self.numbers.get(column) {
            Some(true) => cells.map(|cell| length(&cell)).max().unwrap_or(0).max(heading),
            _ => cells.map(|cell| longest(&cell)).max().unwrap_or(0).max(heading).min(LONG_WORD),
        }
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

    #[test]
    fn columns_that_are_too_many_follow_below() {
        let header = ["way", "rule", "placed", "memory placed", "internal fragmentation", "free"];
        let mut shown = table(&header, |column| column > 1).keys(2);
        shown.add_row(
            ["best-fit-decreasing", "bound", "1,200", "1,250 GiB", "72.5 GiB", "8 GiB"]
                .map(str::to_string),
        );
        for width in 30..90 {
            let text = shown.clone().render(Some(width));
            let fits = |line: &str| line.chars().count() <= usize::from(width);
            assert!(text.lines().all(fits), "{width}:\n{text}");
            let words = header.iter().flat_map(|heading| heading.split(' '));
            for word in words.chain(["1,200", "1,250 GiB", "72.5 GiB", "8 GiB", "bound"]) {
                assert!(text.contains(word), "{word} of {width}:\n{text}");
            }
            assert!(width < 42 || text.contains("best-fit-decreasing"), "{width}:\n{text}");
        }
    }
}
