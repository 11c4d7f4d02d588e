//! The layers of `src/`: what a module may import, and no circle between the files of a folder.
//!
//! Reads the tokens of the source, not its lines, so that a nested `use`, a path inside a macro and
//! a name that a module passes on by `pub use` all count. Code under `#[cfg(test)]` does not.
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// From the bottom up: a module may import those before it and no other.
const LAYERS: &[&str] = &[
    "error",
    "interrupt",
    "text",
    "units",
    "table",
    "hardware",
    "kubernetes",
    "fleet",
    "demand",
    "reconfigure",
    "plan",
    "mig_parted",
    "optimise",
    "compare",
    "schedule",
    "emit",
    "apply",
    "view",
    "cli",
];

/// What must not be known although it lies below, with the module that must not know it.
const NEVER: &[(&str, &str)] = &[
    // What exists and what is wanted are independent inputs.
    ("demand", "fleet"),
    ("reconfigure", "demand"),
    ("mig_parted", "demand"),
    // What carries a plan out works from the plan alone, however it was found.
    ("emit", "optimise"),
    ("emit", "compare"),
    ("emit", "schedule"),
    ("apply", "demand"),
    ("apply", "optimise"),
    ("apply", "compare"),
    ("apply", "schedule"),
    ("apply", "emit"),
];

/// A path that a file names, from the crate's root.
#[derive(Debug)]
struct Named {
    path: Vec<String>,
    line: usize,
}

/// A source file: the modules of its place, its text without tests, and the paths that it names.
#[derive(Debug, Default)]
struct Source {
    file: PathBuf,
    text: String,
    named: Vec<Named>,
    /// What it passes on by `pub use`: the name, and the path behind it.
    exports: BTreeMap<String, Vec<String>>,
}

type Sources = BTreeMap<Vec<String>, Source>;

/// Collects the paths of a token stream.
struct Reader<'a> {
    module: Vec<String>,
    into: &'a mut Source,
}

impl Reader<'_> {
    fn read(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            let name = ident(tokens.get(at)).unwrap_or_default();
            at = match (&tokens[at], name.as_str()) {
                (TokenTree::Punct(p), _) if p.as_char() == '#' && is_test(tokens.get(at + 1)) => {
                    after_item(&tokens, at + 2)
                }
                (_, "mod") if matches!(tokens.get(at + 2), Some(TokenTree::Group(_))) => {
                    self.module.push(ident(tokens.get(at + 1)).unwrap());
                    if let TokenTree::Group(body) = &tokens[at + 2] {
                        self.read(body.stream());
                    }
                    self.module.pop();
                    at + 3
                }
                (_, "use") => {
                    let before = at.checked_sub(1).map(|i| &tokens[i]);
                    let export = matches!(before, Some(TokenTree::Group(_)))
                        || ident(before).is_some_and(|word| word == "pub");
                    self.path(&tokens, at + 1, &[], export)
                }
                (_, "crate" | "super" | "self") if is_path(&tokens, at + 1) => {
                    self.path(&tokens, at, &[], false)
                }
                (TokenTree::Group(group), _) => {
                    self.read(group.stream());
                    at + 1
                }
                _ => at + 1,
            };
        }
    }

    /// Reads a path, or a tree of paths, that begins here; the place after it.
    fn path(&mut self, tokens: &[TokenTree], at: usize, before: &[String], export: bool) -> usize {
        let mut path = before.to_vec();
        let mut at = at;
        let line = tokens.get(at).map_or(0, |token| token.span().start().line);
        while let Some(word) = ident(tokens.get(at)) {
            match word.as_str() {
                "crate" => path = vec![],
                "super" if path.is_empty() => {
                    path = self.module[..self.module.len().saturating_sub(1)].to_vec();
                }
                "super" => drop(path.pop()),
                "self" if path.is_empty() => path = self.module.clone(),
                "self" => {}
                // A name without a root is a module below this one, or another crate.
                _ if path.is_empty() && before.is_empty() && !rooted(tokens, at) => {
                    path = self.module.clone();
                    path.push(word);
                }
                _ => path.push(word),
            }
            at += 1;
            if !is_path(tokens, at) {
                break;
            }
            at += 2;
        }
        if let Some(TokenTree::Group(group)) = tokens.get(at)
            && group.delimiter() == Delimiter::Brace
            && at > 0
            && is_path(tokens, at - 2)
        {
            let inner: Vec<TokenTree> = group.stream().into_iter().collect();
            let comma = |t: &TokenTree| matches!(t, TokenTree::Punct(p) if p.as_char() == ',');
            for branch in inner.split(comma).filter(|b| !b.is_empty()) {
                self.branch(branch, &path, export);
            }
            return at + 1;
        }
        if export && let Some(last) = path.last() {
            let renamed = ident(tokens.get(at)).filter(|word| word == "as");
            let name = renamed.and_then(|_| ident(tokens.get(at + 1)));
            self.into.exports.insert(name.unwrap_or_else(|| last.clone()), path.clone());
        }
        self.into.named.push(Named { path, line });
        at
    }

    /// One branch of a tree: below the root it is empty for, or below `crate`.
    fn branch(&mut self, tokens: &[TokenTree], before: &[String], export: bool) {
        // `{self, …}` and the names below a root that is `crate` itself.
        if before.is_empty() && ident(tokens.first()).is_some_and(|word| word != "self") {
            let mut rooted: Vec<TokenTree> =
                "crate::".parse::<TokenStream>().unwrap().into_iter().collect();
            rooted.extend(tokens.iter().cloned());
            self.path(&rooted, 0, &[], export);
        } else {
            self.path(tokens, 0, before, export);
        }
    }
}

fn ident(token: Option<&TokenTree>) -> Option<String> {
    match token {
        Some(TokenTree::Ident(word)) => Some(word.to_string()),
        _ => None,
    }
}

/// Whether `::` stands here.
fn is_path(tokens: &[TokenTree], at: usize) -> bool {
    let colon = |i: usize| matches!(tokens.get(i), Some(TokenTree::Punct(p)) if p.as_char() == ':');
    colon(at) && colon(at + 1)
}

/// Whether the word here follows `crate::`.
fn rooted(tokens: &[TokenTree], at: usize) -> bool {
    at >= 3 && is_path(tokens, at - 2) && ident(tokens.get(at - 3)).is_some_and(|w| w == "crate")
}

fn is_test(attribute: Option<&TokenTree>) -> bool {
    attribute.is_some_and(|a| a.to_string().replace(' ', "").starts_with("[cfg(test"))
}

/// The place after the item that begins here: its body, or its semicolon.
fn after_item(tokens: &[TokenTree], at: usize) -> usize {
    let end = |t: &TokenTree| match t {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(p) => p.as_char() == ';',
        _ => false,
    };
    tokens[at..].iter().position(end).map_or(tokens.len(), |found| at + found + 1)
}

/// Reads one file into the sources.
fn add(sources: &mut Sources, file: &Path, text: &str) {
    let mut module: Vec<String> =
        file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if module == ["lib"] || module == ["main"] {
        module.clear();
    }
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap().to_string();
    let mut source = Source { file: file.to_path_buf(), text: code, ..Source::default() };
    let tokens = text.parse().unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    Reader { module: module.clone(), into: &mut source }.read(tokens);
    if file != Path::new("main.rs") {
        sources.insert(module, source);
    }
}

/// Everything below `src/` but the files of tests.
static SOURCES: LazyLock<Sources> = LazyLock::new(|| {
    fn visit(folder: &Path, root: &Path, found: &mut Sources) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(&path, root, found);
            } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
                let text = fs::read_to_string(&path).unwrap();
                add(found, path.strip_prefix(root).unwrap(), &text);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Sources::new();
    visit(&root, &root, &mut found);
    found
});

/// The file that a path leads to, names that are passed on followed to where they come from.
fn target<'a>(sources: &'a Sources, path: &[String]) -> &'a [String] {
    let mut path = path.to_vec();
    for _ in 0..8 {
        let depth = (0..=path.len()).rev().find(|n| sources.contains_key(&path[..*n])).unwrap_or(0);
        let (module, source) = sources.get_key_value(&path[..depth]).unwrap();
        match path.get(depth).and_then(|name| source.exports.get(name)) {
            Some(behind) if *behind != path => {
                path = [behind.as_slice(), &path[depth + 1..]].concat();
            }
            _ => return module,
        }
    }
    panic!("{path:?} is passed on in a circle");
}

/// For each folder, which of its files and folders names which other, and where.
type Edges = BTreeMap<Vec<String>, BTreeMap<String, BTreeMap<String, String>>>;

fn edges(sources: &Sources) -> Edges {
    let mut edges = Edges::new();
    for (module, source) in sources {
        for named in &source.named {
            let target = target(sources, &named.path);
            let common = module.iter().zip(target).take_while(|(a, b)| a == b).count();
            if let (Some(from), Some(to)) = (module.get(common), target.get(common)) {
                edges
                    .entry(module[..common].to_vec())
                    .or_default()
                    .entry(from.clone())
                    .or_default()
                    .entry(to.clone())
                    .or_insert_with(|| format!("{}:{}", source.file.display(), named.line));
            }
        }
    }
    edges
}

/// The circles between the files of each folder: sets of files that reach one another.
fn circles(edges: &Edges) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (folder, names) in edges {
        let reach = |from: &String| -> BTreeSet<String> {
            let mut seen = BTreeSet::new();
            let mut open = vec![from.clone()];
            while let Some(at) = open.pop() {
                for to in names.get(&at).into_iter().flatten().map(|(to, _)| to) {
                    if seen.insert(to.clone()) {
                        open.push(to.clone());
                    }
                }
            }
            seen
        };
        let reached: BTreeMap<&String, BTreeSet<String>> =
            names.keys().map(|name| (name, reach(name))).collect();
        for (name, to) in reached.iter().filter(|(name, to)| to.contains(**name)) {
            let members: Vec<String> = to
                .iter()
                .filter(|other| reached.get(other).is_some_and(|back| back.contains(*name)))
                .map(|other| [folder.as_slice(), std::slice::from_ref(other)].concat().join("/"))
                .collect();
            found.push(members);
        }
    }
    found.sort();
    found.dedup();
    found
}

/// The lines that make a circle.
fn explain(circle: &[String], edges: &Edges) -> String {
    let mut text = format!("a circle: {}", circle.join(", "));
    for (folder, names) in edges {
        let inside = |name: &String| {
            circle.contains(&[folder.as_slice(), std::slice::from_ref(name)].concat().join("/"))
        };
        for (from, to) in names.iter().filter(|(from, _)| inside(from)) {
            for (to, place) in to.iter().filter(|(to, _)| inside(to)) {
                text += &format!("\n  {place}: {from} uses {to}");
            }
        }
    }
    text
}

#[test]
fn imports_run_one_way() {
    let unknown: Vec<&String> = SOURCES
        .keys()
        .filter_map(|module| module.first())
        .filter(|first| !LAYERS.contains(&first.as_str()))
        .collect();
    assert!(unknown.is_empty(), "not in the layers of this test: {unknown:?}");
    let rank = |name: &str| LAYERS.iter().position(|layer| *layer == name).unwrap();
    let mut wrong = Vec::new();
    for (from, to) in edges(&SOURCES).remove(&vec![]).unwrap_or_default() {
        for (to, place) in to {
            if rank(&to) > rank(&from) || NEVER.contains(&(from.as_str(), to.as_str())) {
                wrong.push(format!("{place}: {from} uses {to}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_the_solvers_folder_knows_the_solver() {
    let knows = |source: &Source| ["highs::", "good_lp::"].iter().any(|c| source.text.contains(c));
    let of_solver = |file: &Path| file.to_string_lossy().contains("optimise/solver/");
    let files: Vec<&Path> =
        SOURCES.values().filter(|source| knows(source)).map(|source| &*source.file).collect();
    assert!(files.iter().any(|file| of_solver(file)), "{files:?}");
    assert!(files.iter().all(|file| of_solver(file)), "{files:?}");
}

#[test]
fn the_files_of_a_folder_do_not_import_in_a_circle() {
    let edges = edges(&SOURCES);
    let found: Vec<String> = circles(&edges).iter().map(|circle| explain(circle, &edges)).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_reader_sees_through_trees_macros_and_names_passed_on() {
    let mut files = Sources::new();
    add(&mut files, Path::new("lib.rs"), "pub mod a; pub mod b;");
    add(
        &mut files,
        Path::new("a.rs"),
        "mod x; mod y; pub use x::Thing; pub use self::y::{Other as Named};",
    );
    // To y by way of the name that a.rs passes on, inside a macro.
    add(&mut files, Path::new("a/x.rs"), "fn f() { println!(\"{}\", super::Named::new()); }");
    add(
        &mut files,
        Path::new("a/y.rs"),
        "#[cfg(test)]\nuse crate::b::z::Tested;\nuse crate::{\n    a::{Thing},\n    b::{self, w},\n};",
    );
    add(&mut files, Path::new("b.rs"), "pub mod w; pub mod z;");
    add(&mut files, Path::new("b/w.rs"), "mod inner { use super::super::z; }");
    add(
        &mut files,
        Path::new("b/z.rs"),
        "#[cfg(test)] mod tests { use crate::b::w; } use std::fmt;",
    );
    let edges = edges(&files);
    assert_eq!(edges[&vec![]]["a"].keys().collect::<Vec<_>>(), ["b"]);
    assert_eq!(edges[&vec![]]["a"]["b"], "a/y.rs:5");
    assert_eq!(edges[&vec!["b".to_string()]]["w"].keys().collect::<Vec<_>>(), ["z"]);
    assert!(!edges[&vec!["b".to_string()]].contains_key("z"), "a test's import counts");
    assert_eq!(circles(&edges), [["a/x", "a/y"]]);
    let text = explain(&circles(&edges)[0], &edges);
    assert!(text.contains("a/x.rs:1: x uses y") && text.contains("a/y.rs:4: y uses x"), "{text}");
}

#[test]
fn the_checker_shares_nothing_with_the_optimiser() {
    let checkers: Vec<&Source> = SOURCES
        .iter()
        .filter(|(module, _)| module.starts_with(&["plan".to_string(), "check".to_string()]))
        .map(|(_, source)| source)
        .collect();
    assert!(!checkers.is_empty(), "plan/check.rs is gone");
    for Source { file, text, .. } in checkers {
        let name = file.display();
        assert!(!text.contains("optimise::"), "{name} knows the optimiser");
        // It guards against files, not against bugs, and says so.
        if file != Path::new("plan/check/boards.rs") {
            assert!(!text.contains("layout::"), "{name} borrows the rules that it should check");
        }
    }
}

#[test]
fn only_the_command_line_prints_and_one_file_is_unsafe() {
    for (module, Source { file, text, .. }) in &*SOURCES {
        let name = file.display();
        if module.first().is_some_and(|first| first != "cli") {
            for call in ["println!", "eprintln!", "print!(", "eprint!(", "stdout()", "stderr()"] {
                assert!(!text.contains(call), "{name} prints");
            }
        }
        if file.as_path() != Path::new("apply/nvml.rs") {
            assert!(!text.contains("unsafe {"), "{name} is unsafe");
        }
        assert!(text.starts_with("//!"), "{name} does not say what it is for");
    }
}
