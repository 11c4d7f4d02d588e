//! One HTML page that needs no network: text, pictures, tables that sort, text to copy.
//!
//! The page is given as plain parts; every text in it is escaped here. Pictures come as SVG that
//! is trusted, since this program drew it.

use std::fmt::Write;

/// A page.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Its title.
    pub title: String,
    /// What was asked, in a sentence.
    pub subtitle: String,
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
    /// A picture, as SVG.
    Picture(String),
    /// A table: names of the columns, rows.
    Table(Vec<String>, Vec<Vec<Value>>),
    /// Text to copy.
    Code(String),
}

/// A cell of a table.
#[derive(Debug, Clone)]
pub enum Value {
    /// A text.
    Text(String),
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
    let title = escape(&page.title);
    let _ = write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>{title}</h1>\n<p class=\"lead\">{}</p>\n",
        escape(&page.subtitle)
    );
    for section in &page.sections {
        let _ = writeln!(out, "<section>\n<h2>{}</h2>", escape(&section.heading));
        if !section.note.is_empty() {
            let _ = writeln!(out, "<p>{}</p>", escape(&section.note));
        }
        match &section.content {
            Content::Figures(figures) => {
                out.push_str("<dl class=\"figures\">\n");
                for (number, what) in figures {
                    let (number, what) = (escape(number), escape(what));
                    let _ = writeln!(out, "<div><dt>{what}</dt><dd>{number}</dd></div>");
                }
                out.push_str("</dl>\n");
            }
            Content::Picture(svg) => {
                let _ = writeln!(out, "<figure>\n{svg}</figure>");
            }
            Content::Table(columns, rows) => table(&mut out, columns, rows),
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
    let _ = write!(out, "</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n");
    out
}

fn table(out: &mut String, columns: &[String], rows: &[Vec<Value>]) {
    let numeric = |column: usize| {
        rows.first().and_then(|r| r.get(column)).is_some_and(|v| matches!(v, Value::Number(..)))
    };
    out.push_str("<div class=\"scroll\"><table>\n<thead><tr>");
    for (i, name) in columns.iter().enumerate() {
        let class = if numeric(i) { " class=\"number\"" } else { "" };
        let _ = write!(
            out,
            "<th scope=\"col\"{class}><button type=\"button\">{}</button></th>",
            escape(name)
        );
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        out.push_str("<tr>");
        for value in row {
            let _ = match value {
                Value::Text(text) => write!(out, "<td>{}</td>", escape(text)),
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
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(c),
            c if c.is_control() => {}
            c => escaped.push(c),
        }
    }
    escaped
}

const STYLE: &str = "
:root{color-scheme:light dark;--ink:#1a1a1a;--quiet:#555;--page:#fff;--line:#d0d0d0;--soft:#f4f4f4;--link:#005a8e}
@media (prefers-color-scheme:dark){:root{--ink:#eaeaea;--quiet:#b0b0b0;--page:#16181b;--line:#44484d;--soft:#22252a;--link:#7cc4ee}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}
main{max-width:1010px;margin:0 auto;padding:24px 20px 60px}
h1{font-size:26px;margin:8px 0 4px}h2{font-size:19px;margin:36px 0 8px}
p{margin:4px 0 12px;color:var(--quiet)}.lead{font-size:16px}
.figures{display:flex;flex-wrap:wrap;gap:12px;margin:0}
.figures div{background:var(--soft);border:1px solid var(--line);border-radius:6px;padding:10px 16px;display:flex;flex-direction:column-reverse}
.figures dd{margin:0;font-size:24px;font-weight:600}.figures dt{color:var(--quiet);font-size:13px}
figure{margin:0;background:#fff;border:1px solid var(--line);border-radius:6px;overflow:auto}
figure svg{display:block;width:100%;height:auto;min-width:700px}
.scroll{overflow:auto;border:1px solid var(--line);border-radius:6px;max-height:560px}
table{border-collapse:collapse;width:100%;font-size:14px}
th{position:sticky;top:0;background:var(--soft);text-align:left;padding:0;border-bottom:1px solid var(--line)}
th button{all:unset;cursor:pointer;padding:6px 10px;width:100%;box-sizing:border-box}
th button:focus-visible{outline:2px solid var(--link);outline-offset:-2px}
th[aria-sort=ascending] button::after{content:' \\25B2'}th[aria-sort=descending] button::after{content:' \\25BC'}
td{padding:5px 10px;border-top:1px solid var(--line);vertical-align:top;overflow-wrap:break-word}
td:first-child{min-width:11em}
th.number,td.number{text-align:right}td.number{white-space:nowrap;font-variant-numeric:tabular-nums}
.code{position:relative}
pre{background:var(--soft);border:1px solid var(--line);border-radius:6px;padding:12px;overflow:auto;max-height:480px;font:13px/1.45 ui-monospace,'DejaVu Sans Mono',monospace;margin:0}
.copy{position:absolute;top:8px;right:8px;font:inherit;font-size:13px;padding:3px 10px;border:1px solid var(--line);border-radius:5px;background:var(--page);color:var(--ink);cursor:pointer}
@media print{.copy{display:none}.scroll,pre{max-height:none;overflow:visible}section{break-inside:avoid-page}}
";

const SCRIPT: &str = "
'use strict';
document.querySelectorAll('table').forEach(function(table){
  var heads=table.querySelectorAll('th');
  heads.forEach(function(head,column){
    head.querySelector('button').addEventListener('click',function(){
      var up=head.getAttribute('aria-sort')!=='ascending';
      heads.forEach(function(h){h.removeAttribute('aria-sort');});
      head.setAttribute('aria-sort',up?'ascending':'descending');
      var body=table.tBodies[0],rows=Array.prototype.slice.call(body.rows);
      rows.sort(function(a,b){
        var x=a.cells[column],y=b.cells[column],d;
        if(x.dataset.v!==undefined&&y.dataset.v!==undefined){d=Number(x.dataset.v)-Number(y.dataset.v);}
        else{d=x.textContent.localeCompare(y.textContent,undefined,{numeric:true});}
        return up?d:-d;
      });
      rows.forEach(function(row){body.appendChild(row);});
    });
  });
});
document.querySelectorAll('.copy').forEach(function(button){
  button.addEventListener('click',function(){
    var pre=button.parentNode.querySelector('pre'),range=document.createRange();
    range.selectNodeContents(pre);
    var selection=window.getSelection();selection.removeAllRanges();selection.addRange(range);
    var done=function(){button.textContent='Copied';setTimeout(function(){button.textContent='Copy';},1500);};
    if(navigator.clipboard){navigator.clipboard.writeText(pre.textContent).then(done,function(){document.execCommand('copy');done();});}
    else{document.execCommand('copy');done();}
  });
});
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_escaped() {
        let evil = "<script>alert(\"1\")</script>&'\u{7}";
        let page = Page {
            title: evil.to_string(),
            subtitle: evil.to_string(),
            sections: vec![
                Section {
                    heading: evil.to_string(),
                    note: evil.to_string(),
                    content: Content::Table(vec![evil.to_string()], vec![vec![evil.into()]]),
                },
                Section {
                    heading: String::new(),
                    note: String::new(),
                    content: Content::Figures(vec![(evil.to_string(), evil.to_string())]),
                },
                Section {
                    heading: String::new(),
                    note: String::new(),
                    content: Content::Code(evil.to_string()),
                },
            ],
        };
        let text = html(&page);
        assert!(!text.contains("<script>alert"));
        assert!(!text.contains('\u{7}'));
        assert_eq!(
            text.matches("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;&#39;").count(),
            10
        );
        // Nothing is fetched from anywhere.
        assert!(!text.contains("http:") && !text.contains("https:") && !text.contains("src="));
    }
}
