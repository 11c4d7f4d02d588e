//! One HTML page that needs no network: text, pictures, tables that sort, text to copy, and a
//! search over teams through all of it.
//!
//! The page is given as plain parts; every text in it is escaped here. [`report`] is the page about
//! a plan. Knows neither files nor how a number was found.

pub mod report;

use std::fmt::Write;

use super::charts::{self, Picture};
use crate::emit::html::escaped;

const STYLE: &str = include_str!("html/page.css");
const SCRIPT: &str = include_str!("html/page.js");

/// A table of more columns than this is set tighter, and may be wider than the text.
const MANY_COLUMNS: usize = 8;

/// A page.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Its title.
    pub title: String,
    /// What was asked, in a sentence.
    pub subtitle: String,
    /// The teams that a reader may search for, each with what is said of it, in the order of their
    /// numbers.
    pub teams: Vec<(String, String)>,
    /// Its parts, from top to bottom.
    pub sections: Vec<Section>,
}

/// A part of a page under a heading.
#[derive(Debug, Clone)]
pub struct Section {
    /// The heading.
    pub heading: String,
    /// What it means, in a sentence; may be empty.
    pub note: String,
    /// What it shows.
    pub content: Content,
}

/// What a section shows.
#[derive(Debug, Clone)]
pub enum Content {
    /// Numbers in large type, each with what it counts.
    Figures(Vec<(String, String)>),
    /// The same thing drawn in several ways, of which the reader sees one.
    Pictures(Vec<Drawing>),
    /// A table.
    Table(Table),
    /// Text to copy.
    Code(String),
}

/// A way to draw a thing.
#[derive(Debug, Clone)]
pub struct Drawing {
    /// What its colours tell apart.
    pub name: String,
    /// The picture for a page or a screen.
    pub wide: Picture,
    /// The picture for a telephone.
    pub narrow: Picture,
}

/// A table.
#[derive(Debug, Clone)]
pub struct Table {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<Row>,
}

/// A row of a table.
#[derive(Debug, Clone)]
pub struct Row {
    /// Numbers of the teams that it concerns; a search for others hides it. `None`: the table is
    /// not about teams.
    pub teams: Option<Vec<u32>>,
    /// Its cells.
    pub cells: Vec<Value>,
}

/// A cell of a table.
#[derive(Debug, Clone)]
pub enum Value {
    /// A text.
    Text(String),
    /// The name of a team, which picks it in the search.
    Team(String),
    /// A number as it is shown, and by which it sorts.
    Number(String, f64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_string())
    }
}

/// Writes the page.
pub fn html(page: &Page) -> String {
    let mut out = String::new();
    head(&mut out, page);
    if !page.teams.is_empty() {
        find(&mut out, &page.teams);
    }
    for (number, section) in page.sections.iter().enumerate() {
        let _ = writeln!(out, "<section>\n<h2>{}</h2>", escape(&section.heading));
        if !section.note.is_empty() {
            let _ = writeln!(out, "<p>{}</p>", escape(&section.note));
        }
        match &section.content {
            Content::Figures(figures) => large_numbers(&mut out, figures),
            Content::Pictures(drawings) => pictures(&mut out, number, drawings),
            Content::Table(shown) => table(&mut out, number, shown),
            Content::Code(text) => {
                let _ = writeln!(
                    out,
                    "<div class=\"code\"><button type=\"button\" class=\"copy\">Copy</button><pre tabindex=\"0\">{}</pre></div>",
                    escape(text)
                );
            }
        }
        out.push_str("</section>\n");
    }
    let _ = write!(out, "</main>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n");
    out
}

fn head(out: &mut String, page: &Page) {
    let drawings = page.sections.iter().flat_map(|section| match &section.content {
        Content::Pictures(drawings) => drawings.as_slice(),
        _ => &[],
    });
    let colors = charts::style(drawings.flat_map(|d| [&d.wide, &d.narrow]));
    let title = escape(&page.title);
    let _ = write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n\
         <title>{title}</title>\n<style>\n{colors}{STYLE}{}</style>\n</head>\n<body>\n<main>\n\
         <h1>{title}</h1>\n<p class=\"lead\">{}</p>\n",
        column_names(page),
        escape(&page.subtitle)
    );
}

/// On a telephone a row of a table is a block, and each cell has the name of its column before it.
fn column_names(page: &Page) -> String {
    let mut css = "@media screen and (max-width:640px){\n".to_string();
    for (number, section) in page.sections.iter().enumerate() {
        let Content::Table(table) = &section.content else { continue };
        for (column, name) in table.columns.iter().enumerate() {
            let name: String = name.chars().map(css_char).collect();
            let column = column + 1;
            let _ = writeln!(
                css,
                "#table-{number} td:nth-child({column})::before{{content:\"{name}\"}}"
            );
        }
    }
    css + "}\n"
}

/// A character inside a CSS string.
fn css_char(c: char) -> String {
    match c {
        c if c.is_ascii_alphanumeric() || c == ' ' => c.to_string(),
        c => format!("\\{:06x}", u32::from(c)),
    }
}

fn find(out: &mut String, teams: &[(String, String)]) {
    out.push_str(
        "<div class=\"find\"><label for=\"team\">Team</label>\
         <input id=\"team\" type=\"search\" list=\"teams\" placeholder=\"all\" autocomplete=\"off\">\
         <datalist id=\"teams\">\n",
    );
    for (name, detail) in teams {
        let (name, detail) = (escape(name), escape(detail));
        let _ = writeln!(out, "<option value=\"{name}\" data-detail=\"{detail}\"></option>");
    }
    out.push_str("</datalist><output id=\"found\" for=\"team\"></output></div>\n");
}

fn large_numbers(out: &mut String, figures: &[(String, String)]) {
    out.push_str("<dl class=\"figures\">\n");
    for (number, what) in figures {
        let (number, what) = (escape(number), escape(what));
        let _ = writeln!(out, "<div><dt>{what}</dt><dd>{number}</dd></div>");
    }
    out.push_str("</dl>\n");
}

fn pictures(out: &mut String, section: usize, drawings: &[Drawing]) {
    out.push_str("<figure>\n");
    if drawings.len() > 1 {
        out.push_str("<fieldset class=\"views\"><legend>Colour by</legend>\n");
        for (i, drawing) in drawings.iter().enumerate() {
            let checked = if i == 0 { " checked" } else { "" };
            let _ = writeln!(
                out,
                "<label><input type=\"radio\" name=\"views-{section}\" value=\"{i}\"{checked}> {}</label>",
                escape(&drawing.name)
            );
        }
        out.push_str("</fieldset>\n");
    }
    for (i, drawing) in drawings.iter().enumerate() {
        let shown = if i == 0 { " shown" } else { "" };
        let _ = writeln!(out, "<div class=\"view{shown}\">");
        for (class, picture) in [("wide", &drawing.wide), ("narrow", &drawing.narrow)] {
            let parts = picture.svg_parts().concat();
            let _ = writeln!(out, "<div class=\"{class}\">\n{parts}</div>");
        }
        out.push_str("</div>\n");
    }
    out.push_str("</figure>\n");
}

fn table(out: &mut String, section: usize, table: &Table) {
    let numeric = |column: usize| {
        let first = table.rows.first().and_then(|r| r.cells.get(column));
        first.is_some_and(|v| matches!(v, Value::Number(..)))
    };
    let class = if table.columns.len() > MANY_COLUMNS { "scroll many" } else { "scroll" };
    let _ = writeln!(out, "<div class=\"{class}\"><table id=\"table-{section}\">\n<thead><tr>");
    for (i, name) in table.columns.iter().enumerate() {
        let class = if numeric(i) { " class=\"number\"" } else { "" };
        let _ = write!(
            out,
            "<th scope=\"col\"{class} data-name=\"{name}\"><button type=\"button\">{name}</button></th>",
            name = escape(name)
        );
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        match &row.teams {
            None => out.push_str("<tr>"),
            Some(teams) => {
                let teams: Vec<String> = teams.iter().map(u32::to_string).collect();
                let _ = write!(out, "<tr data-teams=\"{}\">", teams.join(" "));
            }
        }
        for value in &row.cells {
            let _ = match value {
                Value::Text(text) => write!(out, "<td>{}</td>", escape(text)),
                Value::Team(name) => write!(
                    out,
                    "<td><button type=\"button\" class=\"team\">{}</button></td>",
                    escape(name)
                ),
                Value::Number(shown, value) => {
                    write!(out, "<td class=\"number\" data-v=\"{value}\">{}</td>", escape(shown))
                }
            };
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table></div>\n");
}

/// Text as HTML takes it, in elements and in quoted attributes. Control characters, which no
/// browser shows, are dropped, except for the end of a line and the tabulator.
fn escape(text: &str) -> String {
    escaped(text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_escaped() {
        let evil = "<script>alert(\"1\")</script>&'\u{7}";
        let section =
            |content| Section { heading: evil.to_string(), note: evil.to_string(), content };
        let cells = vec![evil.into(), Value::Team(evil.to_string())];
        let page = Page {
            title: evil.to_string(),
            subtitle: evil.to_string(),
            teams: vec![(evil.to_string(), evil.to_string())],
            sections: vec![
                section(Content::Table(Table {
                    columns: vec![evil.to_string()],
                    rows: vec![Row { teams: Some(vec![0]), cells }],
                })),
                section(Content::Figures(vec![(evil.to_string(), evil.to_string())])),
                section(Content::Code(evil.to_string())),
            ],
        };
        let text = html(&page);
        assert!(!text.contains("<script>alert") && !text.contains("content:\"<"));
        assert!(!text.contains('\u{7}'));
        let escaped = "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;&#39;";
        // Title twice, subtitle, team twice, three headings with notes, head twice, two cells, a
        // number with its name, code.
        assert_eq!(text.matches(escaped).count(), 2 + 1 + 2 + 6 + 2 + 2 + 2 + 1);
        // Nothing is fetched from anywhere.
        assert!(!text.contains("http:") && !text.contains("https:") && !text.contains("src="));
    }
}
