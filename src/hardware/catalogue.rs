//! The boards that migplan knows: embedded from `data/gpus/`, overridden by a user's file, checked
//! when they are loaded, found by the names that people and tools use.
//!
//! A table that contradicts itself is refused here, so every other module may rely on it.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use rayon::prelude::*;
use serde::Deserialize;

use super::board_file::{BoardFile, ProfileFile};
use super::{Board, BoardRef, MediaEngines, Profile, Provenance, layout};
use crate::error::{Diagnostic, Error, Result};
use crate::table::shorten;
use crate::text::likeness;
use crate::units::Mebibytes;

macro_rules! embedded {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../data/gpus/", $name, ".json")))),*]
    };
}

/// The embedded files by name. A test compares this list with the folder.
const EMBEDDED: &[(&str, &str)] = embedded![
    "a100-pcie-40gb",
    "a100-pcie-80gb",
    "a100-pg506-96gb",
    "a100-sxm-64gb",
    "a100-sxm4-40gb",
    "a100-sxm4-80gb",
    "a30-24gb",
    "b200-180gb",
    "b300-269gb",
    "gb200-186gb",
    "gb200-189gb",
    "gb300-278gb",
    "gb300-station-251gb",
    "gh200-144gb",
    "gh200-96gb",
    "h100-nvl-94gb",
    "h100-pcie-80gb",
    "h100-sxm5-64gb",
    "h100-sxm5-80gb",
    "h100-sxm5-94gb",
    "h100-sxm5-96gb",
    "h20-141gb",
    "h20-96gb",
    "h200-nvl-141gb",
    "h200-sxm-141gb",
    "rtx-pro-4500-blackwell-32gb",
    "rtx-pro-5000-blackwell-48gb",
    "rtx-pro-6000-blackwell-maxq-96gb",
    "rtx-pro-6000-blackwell-server-96gb",
    "rtx-pro-6000-blackwell-workstation-96gb",
];

/// The boards of NVIDIA's own DGX and HGX systems and of most clouds: what a name without a form
/// factor most likely means.
const COMMON: &[&str] = &["a100-sxm4-80gb", "a100-sxm4-40gb", "h100-sxm5-80gb", "h200-sxm-141gb"];

const WITHOUT_MIG: &str = include_str!("../../data/boards-without-mig.json");

/// The most memory of a GPU, some fifty times what any has: a bound on all sums.
const MAX_BOARD_MIB: u64 = 1 << 24;

/// Schema key of a board file.
pub const BOARD_SCHEMA: &str = "migplan.board/v1";

/// What to do about a file of boards that is none.
fn hint() -> String {
    format!(
        "a board file looks like those that `migplan catalogue BOARD --format json` prints (schema {BOARD_SCHEMA})"
    )
}

/// A `--catalogue` file: one board, or several under `boards`.
#[derive(Deserialize)]
struct BoardsFile {
    boards: Vec<serde_json::Value>,
}

/// Every board that plans may use, ordered by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalogue {
    boards: Vec<BoardRef>,
    /// The files of boards that a user added or replaced, by id.
    user_files: BTreeMap<String, serde_json::Value>,
}

static BUILT_IN: LazyLock<Catalogue> = LazyLock::new(|| {
    let boards: Vec<BoardRef> = EMBEDDED
        .par_iter()
        .map(|(name, text)| {
            let file: BoardFile = serde_json::from_str(text)
                .unwrap_or_else(|e| panic!("embedded board {name} cannot be read: {e}"));
            let board = check(file).unwrap_or_else(|e| panic!("embedded board {name}: {e:?}"));
            Arc::new(board)
        })
        .collect();
    let catalogue = Catalogue::sorted(boards);
    let problems = catalogue.cross_check();
    assert!(problems.is_empty(), "embedded boards: {problems:?}");
    catalogue
});

impl Catalogue {
    /// The boards that come with migplan. Loading checks every table; a test loads it, so a
    /// contradiction in the embedded data never reaches a user.
    pub fn built_in() -> Catalogue {
        BUILT_IN.clone()
    }

    fn sorted(mut boards: Vec<BoardRef>) -> Catalogue {
        boards.sort_by(|a, b| a.id.cmp(&b.id));
        Catalogue { boards, user_files: BTreeMap::new() }
    }

    /// The file of the board of this id, with every source, as `--catalogue` takes it.
    pub fn file(&self, id: &str) -> Option<serde_json::Value> {
        self.user_files.get(id).cloned().or_else(|| {
            let (_, text) = EMBEDDED.iter().find(|(name, _)| *name == id)?;
            serde_json::from_str(text).ok()
        })
    }

    /// The file of the board of this id where a user added or replaced it; `None` for the others.
    pub fn user_file(&self, id: &str) -> Option<&serde_json::Value> {
        self.user_files.get(id)
    }

    /// The boards, ordered by id.
    pub fn boards(&self) -> &[BoardRef] {
        &self.boards
    }

    /// This catalogue with the boards of a user's file added; an equal id replaces.
    ///
    /// # Errors
    /// Everything that is wrong with the file (exit 3): not JSON, a missing field, a placement
    /// outside the board, an instance maximum that placements contradict, a PCI id that two
    /// boards of the same memory claim.
    pub fn with_file(&self, file: &str, text: &str) -> Result<Catalogue> {
        let at = |message: String| Diagnostic::new(message).in_file(file);
        let broken = |e: serde_json::Error| {
            let line = u64::try_from(e.line()).unwrap_or(0);
            let problem = at(format!("is not a board file: {e}"));
            Error::input(if line > 0 { problem.at_line(line) } else { problem }).hint(hint())
        };
        let value: serde_json::Value = serde_json::from_str(text).map_err(broken)?;
        let values = if value.get("boards").is_some() {
            serde_json::from_value::<BoardsFile>(value).map_err(broken)?.boards
        } else {
            vec![value]
        };
        if values.is_empty() {
            return Err(Error::input(at("has no board".to_string())).hint(hint()));
        }
        self.with_boards(file, values)
    }

    /// This catalogue with boards added, each as its file; a board that is known by its id is
    /// replaced. `file` names where they come from.
    ///
    /// # Errors
    /// As [`Self::with_file`].
    pub fn with_boards(&self, file: &str, values: Vec<serde_json::Value>) -> Result<Catalogue> {
        let at = |message: String| Diagnostic::new(message).in_file(file);
        let mut boards = self.boards.clone();
        let mut user_files = self.user_files.clone();
        let mut added = BTreeSet::new();
        let mut problems = Vec::new();
        for value in values {
            if !value.is_object() {
                let text = shorten(&value.to_string());
                problems.push(at(format!("'{text}' is not a board: each is a JSON object")));
                continue;
            }
            let name = value.get("id").and_then(|id| id.as_str()).unwrap_or("?").to_string();
            let parsed: std::result::Result<BoardFile, _> = serde_json::from_value(value.clone());
            match parsed.map_err(|e| vec![e.to_string()]).and_then(check) {
                Ok(board) if !added.insert(board.id.clone()) => {
                    problems.push(at(format!("board '{}' is there twice", board.id)));
                }
                Ok(board) => {
                    boards.retain(|b| b.id != board.id);
                    user_files.insert(board.id.clone(), value);
                    boards.push(Arc::new(board));
                }
                Err(messages) => problems
                    .extend(messages.into_iter().map(|m| at(format!("board '{name}': {m}")))),
            }
        }
        let mut catalogue = Catalogue::sorted(boards);
        catalogue.user_files = user_files;
        problems.extend(catalogue.cross_check().into_iter().map(at));
        if problems.is_empty() { Ok(catalogue) } else { Err(Error::inputs(problems).hint(hint())) }
    }

    /// Contradictions between boards: a name or a PCI id that does not say which is meant.
    fn cross_check(&self) -> Vec<String> {
        let mut problems = self.products_check();
        let mut names: BTreeMap<String, &str> = BTreeMap::new();
        for board in &self.boards {
            for name in std::iter::once(&board.id).chain(&board.aliases) {
                if let Some(other) = names.insert(normalise(name), &board.id) {
                    problems.push(format!("the name '{name}' belongs to {other} and {}", board.id));
                }
            }
        }
        let mut ids: BTreeMap<(String, u64), &str> = BTreeMap::new();
        for board in &self.boards {
            for pci_id in &board.pci_ids {
                let key = (pci_id.to_ascii_lowercase(), board.memory.0);
                if let Some(other) = ids.insert(key, &board.id) {
                    problems.push(format!(
                        "PCI id {pci_id} is on {other} and {}, and both have {}",
                        board.id, board.memory
                    ));
                }
            }
        }
        problems
    }

    /// Products that another board goes by: it would always be found in place of this one. Several
    /// boards may have one product name where their memory tells them apart.
    fn products_check(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let names: BTreeMap<String, &str> = self
            .boards
            .iter()
            .flat_map(|b| std::iter::once(&b.id).chain(&b.aliases).map(move |n| (b, n)))
            .map(|(board, name)| (normalise(name), board.id.as_str()))
            .collect();
        let mut products: BTreeMap<(String, u64), &str> = BTreeMap::new();
        for board in &self.boards {
            let mut own: Vec<&String> = board.products.iter().chain(&board.gfd_products).collect();
            own.sort_by_key(|product| normalise(product));
            own.dedup_by_key(|product| normalise(product));
            for product in own {
                let key = normalise(product);
                if let Some(other) = names.get(&key).filter(|other| **other != board.id) {
                    problems.push(format!(
                        "the product '{product}' of {} is a name of {other}: leave it out, or give the board the id {other} to replace that one",
                        board.id
                    ));
                } else if let Some(other) = products.insert((key, board.memory.0), &board.id) {
                    problems.push(format!(
                        "the product '{product}' is of {other} and {}, and both have {}",
                        board.id, board.memory
                    ));
                }
            }
        }
        problems
    }

    /// The board of exactly this id.
    pub fn by_id(&self, id: &str) -> Option<&BoardRef> {
        self.boards.binary_search_by(|b| b.id.as_str().cmp(id)).ok().map(|i| &self.boards[i])
    }

    /// Finds a board by id, alias or product name, whatever the case; `memory` decides between
    /// boards that share a product name.
    ///
    /// # Errors
    /// A sentence that says what is near, that the board has no MIG, or which boards it may be.
    pub fn find(
        &self,
        name: &str,
        memory: Option<Mebibytes>,
    ) -> std::result::Result<&BoardRef, BoardNotFound> {
        let wanted = normalise(name);
        let by_name = self.boards.iter().find(|b| {
            normalise(&b.id) == wanted || b.aliases.iter().any(|a| normalise(a) == wanted)
        });
        if let Some(board) = by_name {
            return Ok(board);
        }
        let mut of_product: Vec<&BoardRef> = self
            .boards
            .iter()
            .filter(|b| b.products.iter().chain(&b.gfd_products).any(|p| normalise(p) == wanted))
            .collect();
        if let Some(memory) = memory {
            of_product.sort_by_key(|b| b.memory.0.abs_diff(memory.0));
            of_product.truncate(1);
        }
        match of_product[..] {
            [board] => Ok(board),
            [] => Err(self.not_found(name, &wanted)),
            _ => Err(BoardNotFound::Ambiguous {
                name: name.to_string(),
                boards: of_product.iter().map(|b| b.id.clone()).collect(),
            }),
        }
    }

    /// Finds the boards that a name may mean: one by id, alias or product name as
    /// [`Catalogue::find`] does, else all of a family. Families are the generations (`ampere`,
    /// `hopper`, `blackwell`) and the models (`a100`, `h100`, `gb200`, `rtx-pro`): what the ids of
    /// their boards start with.
    ///
    /// # Errors
    /// As [`Catalogue::find`].
    pub fn find_all(&self, name: &str) -> std::result::Result<Vec<&BoardRef>, BoardNotFound> {
        let error = match self.find(name, None) {
            Ok(board) => return Ok(vec![board]),
            Err(BoardNotFound::Ambiguous { boards, .. }) => {
                return Ok(boards.iter().filter_map(|id| self.by_id(id)).collect());
            }
            Err(error) => error,
        };
        let family = normalise(name);
        let model = format!("{family}-");
        let of_family = |board: &&BoardRef| {
            normalise(&format!("{:?}", board.architecture)) == family
                || (!family.is_empty() && board.id.starts_with(&model))
        };
        let boards: Vec<&BoardRef> = self.boards.iter().filter(of_family).collect();
        if boards.is_empty() { Err(error) } else { Ok(boards) }
    }

    fn not_found(&self, name: &str, wanted: &str) -> BoardNotFound {
        if boards_without_mig().iter().any(|n| is_model(wanted, &normalise(n))) {
            return BoardNotFound::WithoutMig { name: name.to_string() };
        }
        let mut near: Vec<(bool, f64, &str)> = self
            .boards
            .iter()
            .flat_map(|b| std::iter::once(&b.id).chain(&b.aliases).map(move |n| (b, n)))
            .map(|(b, n)| {
                let contains = !wanted.is_empty() && n.starts_with(wanted);
                (contains, likeness(&normalise(n), wanted), b.id.as_str())
            })
            .filter(|(contains, score, _)| *contains || score.is_some())
            .map(|(contains, score, id)| (contains, score.unwrap_or(0.0), id))
            .collect();
        let common = |id: &str| COMMON.iter().position(|c| *c == id).unwrap_or(COMMON.len());
        near.sort_by(|a, b| {
            let contained = b.0.cmp(&a.0);
            // Of many boards with the same beginning, most people mean a common one.
            let common = if a.0 && b.0 { common(a.2).cmp(&common(b.2)) } else { Ordering::Equal };
            contained.then(common).then(b.1.total_cmp(&a.1)).then(a.2.cmp(b.2))
        });
        let mut ids: Vec<String> = Vec::new();
        for (_, _, id) in near {
            if !ids.iter().any(|known| known == id) && ids.len() < 4 {
                ids.push(id.to_string());
            }
        }
        BoardNotFound::Unknown { name: name.to_string(), near: ids }
    }
}

/// Why no board goes by a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BoardNotFound {
    /// It is not known.
    #[error("unknown board '{name}'{}", near_text(near))]
    Unknown {
        /// The name as given.
        name: String,
        /// Ids that look alike, best first.
        near: Vec<String>,
    },
    /// A real GPU without MIG.
    #[error(
        "'{name}' cannot do MIG: NVIDIA offers it on A30, A100, H100 and later data-centre boards and on RTX PRO Blackwell"
    )]
    WithoutMig {
        /// The name as given.
        name: String,
    },
    /// A product name that several boards share.
    #[error("'{name}' may be {}", boards.join(" or "))]
    Ambiguous {
        /// The name as given.
        name: String,
        /// The boards that it may be.
        boards: Vec<String>,
    },
}

fn near_text(near: &[String]) -> String {
    if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(" or ")) }
}

fn boards_without_mig() -> Vec<String> {
    #[derive(Deserialize)]
    struct File {
        names: Vec<String>,
    }
    serde_json::from_str::<File>(WITHOUT_MIG).map(|f| f.names).unwrap_or_default()
}

/// Whether `wanted` is the model `name`, perhaps with a memory size or form factor behind it
/// (`tesla-v100-sxm2-16gb` is a `v100`).
fn is_model(wanted: &str, name: &str) -> bool {
    let wanted = wanted.strip_prefix("tesla-").unwrap_or(wanted);
    wanted == name || wanted.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'))
}

/// What feature discovery puts between a product and the profile of its instances, as normalised.
const MIG_SUFFIX: &str = "-mig-";

/// Whether a name is that of instances, as feature discovery labels nodes of MIG strategy `single`:
/// `NVIDIA-A100-SXM4-80GB-MIG-1g.10gb`. [`Catalogue::find`] finds their board, but a number beside such
/// a name is not one of GPUs.
pub fn names_instances(name: &str) -> bool {
    words(name).contains(MIG_SUFFIX)
}

/// Lower case, words joined by `-`.
fn words(name: &str) -> String {
    let joined = |c: char| if c.is_whitespace() || c == '_' { '-' } else { c };
    name.trim().to_lowercase().chars().map(joined).collect()
}

/// Lower case, words joined by `-`, NVIDIA's name and feature discovery's MIG suffix taken off.
fn normalise(name: &str) -> String {
    let mut text = words(name);
    if let Some(at) = text.find(MIG_SUFFIX) {
        text.truncate(at);
    }
    let text = text.strip_suffix("-shared").unwrap_or(&text);
    text.strip_prefix("nvidia-").unwrap_or(text).to_string()
}

/// Turns a file into a board, or says everything that contradicts itself.
fn check(file: BoardFile) -> std::result::Result<Board, Vec<String>> {
    let mut problems = board_problems(&file);
    // 32 memory slices is four times today's largest 8-slice board; it bounds every search.
    if !(1..=32).contains(&file.memory_slices) || !(1..=32).contains(&file.compute_slices) {
        problems.push("compute_slices and memory_slices must be 1 to 32".to_string());
        return Err(problems);
    }
    for (at, profile) in file.profiles.iter().enumerate() {
        if file.profiles[..at].iter().any(|other| other.name == profile.name) {
            problems.push(format!("duplicate profile {}", profile.name));
        }
        problems.extend(profile_problems(profile, &file));
    }
    if problems.is_empty() { Ok(board(file)) } else { Err(problems) }
}

/// What is wrong with a board beside its profiles.
fn board_problems(file: &BoardFile) -> Vec<String> {
    let mut problems = Vec::new();
    if file.schema != BOARD_SCHEMA {
        problems.push(format!("schema is '{}', not {BOARD_SCHEMA}", file.schema));
    }
    if file.id.is_empty() || file.id != normalise(&file.id) {
        problems.push("id must be lower case, with '-' between its parts".to_string());
    }
    if file.profiles.is_empty() {
        problems.push("has no profiles".to_string());
    }
    if !(1..=MAX_BOARD_MIB).contains(&file.memory_mib) {
        problems.push(format!("memory_mib is {}, not 1 to {MAX_BOARD_MIB}", file.memory_mib));
    }
    for pci_id in &file.pci_ids {
        let hex = pci_id.strip_prefix("0x").unwrap_or("");
        if hex.len() != 8 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            problems.push(format!("PCI id '{pci_id}' is not like 0x20B210DE"));
        }
    }
    problems
}

/// Where a profile contradicts itself or its board.
fn profile_problems(profile: &ProfileFile, board: &BoardFile) -> Vec<String> {
    let p = profile;
    let name = &p.name;
    let mut problems = Vec::new();
    if p.memory_slices == 0 || p.starts.is_empty() || !p.starts.is_sorted_by(|a, b| a < b) {
        return vec![format!("{name}: needs a size and ascending starts")];
    }
    if p.starts.iter().any(|s| s.saturating_add(p.memory_slices) > board.memory_slices) {
        problems.push(format!(
            "{name}: a placement exceeds the board's {} memory slices",
            board.memory_slices
        ));
    }
    let slices = p.compute_slices;
    if slices == 0 || slices > board.compute_slices || slices != name.gpu_slices {
        problems.push(format!("{name}: {slices} compute slices contradict the name or the board"));
    }
    if p.memory_mib == 0 || p.memory_mib > board.memory_mib {
        problems.push(format!(
            "{name}: {} MiB is not within the board's {} MiB",
            p.memory_mib, board.memory_mib
        ));
    }
    let exclusive = matches!(name.media_engines(), MediaEngines::One | MediaEngines::All);
    let possible = if exclusive { 1 } else { layout::most_disjoint(&p.starts, p.memory_slices) };
    if p.max_instances != possible {
        problems.push(format!(
            "{name}: max_instances is {}, but its placements allow {possible}",
            p.max_instances
        ));
    }
    problems
}

/// The board of a file without contradictions.
fn board(file: BoardFile) -> Board {
    let source = |key: &str| file.sources.get(key).cloned().unwrap_or_else(|| key.to_string());
    let profiles = file
        .profiles
        .iter()
        .map(|p| Profile {
            name: p.name.clone(),
            profile_id: p.profile_id,
            nvml_index: p.nvml_index,
            compute_slices: p.compute_slices,
            memory_slices: p.memory_slices,
            starts: p.starts.clone(),
            max_instances: p.max_instances,
            memory: Mebibytes(p.memory_mib),
            memory_seen: p.memory_mib_seen.iter().copied().map(Mebibytes).collect(),
            sm_count: p.sm_count,
            memory_provenance: Provenance {
                source: source(&p.source.memory),
                confidence: p.confidence.memory.clone(),
            },
            placement_provenance: Provenance {
                source: source(&p.source.placement),
                confidence: p.confidence.placement.clone(),
            },
        })
        .collect();
    let memory_provenance = Provenance {
        source: source(&file.memory_source.source),
        confidence: file.memory_source.confidence.clone(),
    };
    Board {
        id: file.id,
        aliases: file.aliases,
        products: file.products,
        gfd_products: file.gfd_products,
        architecture: file.architecture,
        chip: file.chip,
        pci_ids: file.pci_ids,
        memory: Mebibytes(file.memory_mib),
        memory_provenance,
        compute_slices: file.compute_slices,
        memory_slices: file.memory_slices,
        mode_change_needs_reset: file.mig_mode.enable_needs_gpu_reset,
        mode_survives_reboot: file.mig_mode.mode_persists_across_reboot,
        min_driver: file.min_driver,
        confidence: file.confidence,
        notes: file.notes,
        profiles,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_embedded() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/data/gpus");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .map(|name| name.trim_end_matches(".json").to_string())
            .collect();
        files.sort();
        let embedded: Vec<&str> = EMBEDDED.iter().map(|(name, _)| *name).collect();
        assert_eq!(files, embedded);
        let ids: Vec<String> =
            Catalogue::built_in().boards().iter().map(|b| b.id.clone()).collect();
        assert_eq!(ids, embedded);
    }

    #[test]
    fn boards_are_found_by_the_names_people_use() {
        let catalogue = Catalogue::built_in();
        for (name, id) in [
            ("a100-80gb", "a100-sxm4-80gb"),
            ("A100-80GB", "a100-sxm4-80gb"),
            ("a100-40gb", "a100-sxm4-40gb"),
            ("h100-80gb", "h100-sxm5-80gb"),
            ("h200", "h200-sxm-141gb"),
            ("NVIDIA A100-SXM4-80GB", "a100-sxm4-80gb"),
            ("NVIDIA-A100-SXM4-80GB", "a100-sxm4-80gb"),
            ("NVIDIA-H100-80GB-HBM3-MIG-1g.10gb", "h100-sxm5-80gb"),
            ("nvidia a100 80gb pcie", "a100-pcie-80gb"),
            ("A30", "a30-24gb"),
        ] {
            assert_eq!(catalogue.find(name, None).unwrap().id, id, "{name}");
        }
        assert_eq!(
            catalogue.find("NVIDIA GB200", Some(Mebibytes(192_600))).unwrap().id,
            "gb200-189gb"
        );
        assert!(matches!(
            catalogue.find("NVIDIA GB200", None),
            Err(BoardNotFound::Ambiguous { .. })
        ));
    }

    #[test]
    fn families_are_all_their_boards() {
        let catalogue = Catalogue::built_in();
        let ids = |name: &str| -> Vec<&str> {
            catalogue.find_all(name).unwrap().iter().map(|b| b.id.as_str()).collect()
        };
        assert_eq!(ids("a100-80gb"), ["a100-sxm4-80gb"]);
        assert_eq!(ids("GB200"), ["gb200-186gb", "gb200-189gb"]);
        assert_eq!(ids("nvidia gb200"), ["gb200-186gb", "gb200-189gb"]);
        assert_eq!(ids("A100").len(), 6);
        assert!(ids("h100").iter().all(|id| id.starts_with("h100-")) && ids("h100").len() > 3);
        assert_eq!(ids("Ampere").len(), 7);
        assert!(ids("hopper").contains(&"gh200-96gb") && !ids("hopper").contains(&"b200-180gb"));
        assert_eq!(ids("rtx-pro").len(), 5);
        // The name of one board stays that board.
        assert_eq!(ids("h200"), ["h200-sxm-141gb"]);
        for name in ["", "-", "a", "t4", "volta"] {
            assert!(catalogue.find_all(name).is_err(), "{name}");
        }
    }

    #[test]
    fn boards_that_are_not_there_are_told_apart() {
        let catalogue = Catalogue::built_in();
        for name in ["T4", "Tesla T4", "NVIDIA A40", "Tesla-V100-SXM2-16GB", "l40s"] {
            assert!(
                matches!(catalogue.find(name, None), Err(BoardNotFound::WithoutMig { .. })),
                "{name}"
            );
        }
        let Err(BoardNotFound::Unknown { near, .. }) = catalogue.find("a100-80", None) else {
            panic!()
        };
        assert!(near.contains(&"a100-sxm4-80gb".to_string()), "{near:?}");
        assert!(matches!(catalogue.find("", None), Err(BoardNotFound::Unknown { .. })));
    }

    #[test]
    fn an_override_is_checked_and_replaces() {
        let text = EMBEDDED.iter().find(|(n, _)| *n == "a30-24gb").unwrap().1;
        let catalogue = Catalogue::built_in();
        let changed = catalogue.with_file("my.json", &text.replace("5952", "5900")).unwrap();
        assert_eq!(changed.by_id("a30-24gb").unwrap().profiles[0].memory, Mebibytes(5900));
        assert_eq!(changed.boards().len(), catalogue.boards().len());
        let bad = text
            .replace("\"max_instances\": 4", "\"max_instances\": 5")
            .replace("\"starts\": [0, 2]", "\"starts\": [0, 3]");
        let error = catalogue.with_file("my.json", &bad).unwrap_err();
        assert!(error.problems.len() >= 2, "{error}");
        assert!(
            catalogue.with_file("my.json", "{").unwrap_err().to_string().contains("my.json:1:")
        );
        // What is no object is not told which field it lacks.
        for text in ["[]", "7", "{\"boards\": [[]]}"] {
            let error = catalogue.with_file("my.json", text).unwrap_err();
            let hint = error.hint.as_deref().unwrap_or_default();
            assert!(
                error.to_string().ends_with("is not a board: each is a JSON object"),
                "{error}"
            );
            assert!(hint.contains(BOARD_SCHEMA), "{hint}");
        }
        let twice = format!("{{\"boards\": [{text}, {text}]}}");
        let error = catalogue.with_file("my.json", &twice).unwrap_err();
        assert_eq!(error.to_string(), "my.json: board 'a30-24gb' is there twice");
        let error = catalogue.with_file("my.json", "{\"boards\": []}").unwrap_err();
        assert_eq!(error.to_string(), "my.json: has no board");
        let huge = text.replace("\"memory_mib\": 24576", "\"memory_mib\": 9223372036854775808");
        let error = catalogue.with_file("my.json", &huge).unwrap_err().to_string();
        assert!(error.contains("board 'a30-24gb': memory_mib is 9223372036854775808"), "{error}");
        let twin = text.replace("a30-24gb", "a30-other").replace("[\"a30\"]", "[]");
        assert!(catalogue.with_file("my.json", &twin).unwrap_err().to_string().contains("PCI id"));
    }

    #[test]
    fn a_product_that_would_never_be_found_is_refused() {
        let catalogue = Catalogue::built_in();
        let mut own = catalogue.file("a100-sxm4-80gb").unwrap();
        own["id"] = "my-a100".into();
        for key in ["aliases", "products", "pci_ids", "gfd_products"] {
            own[key] = serde_json::Value::Array(Vec::new());
        }
        let with = |products: &[&str], memory: Option<u64>| {
            let mut own = own.clone();
            own["gfd_products"] = products.iter().copied().collect();
            if let Some(memory) = memory {
                own["memory_mib"] = memory.into();
            }
            catalogue.with_boards("my.json", vec![own])
        };
        let error = with(&["NVIDIA-A100-SXM4-80GB"], None).unwrap_err().to_string();
        assert!(error.contains("of my-a100 is a name of a100-sxm4-80gb: leave it out"), "{error}");
        let gb200 = catalogue.by_id("gb200-186gb").unwrap().memory.0;
        let error = with(&["NVIDIA-GB200"], Some(gb200)).unwrap_err().to_string();
        assert!(error.contains("is of gb200-186gb and my-a100, and both have"), "{error}");
        // What memory tells apart is fine, and so is a product of its own, also in both spellings.
        let ok = with(&["NVIDIA-GB200"], Some(100_000)).unwrap();
        assert_eq!(ok.find("NVIDIA GB200", Some(Mebibytes(99_000))).unwrap().id, "my-a100");
        assert!(with(&["NVIDIA-X1000", "NVIDIA X1000"], None).is_ok());
    }

    #[test]
    fn what_is_said_of_a_board_is_what_its_rows_say() {
        for board in Catalogue::built_in().boards() {
            let rows = board.profiles.iter().flat_map(|p| {
                [&p.memory_provenance, &p.placement_provenance].map(|from| (&p.name, from))
            });
            for (name, from) in rows {
                let seen = board.confidence == "seen";
                assert!(!seen || from.confidence == "seen", "{} {name}: {from:?}", board.id);
                let other = from.source.strip_prefix("by analogy with ");
                let own = other.is_none() || from.confidence != "seen";
                assert!(own, "{} {name}: {from:?}", board.id);
            }
        }
    }

    #[test]
    fn no_source_is_named_by_its_key() {
        // As a word, such as s04 or mp120.
        let is_key = |word: &str| {
            let letters = word.trim_end_matches(|c: char| c.is_ascii_digit());
            ["s", "mp", "op"].contains(&letters) && letters != word
        };
        for board in Catalogue::built_in().boards() {
            let rows = board.profiles.iter().flat_map(|p| {
                [&p.memory_provenance, &p.placement_provenance].map(|from| &from.source)
            });
            let told = rows.chain(&board.notes).chain([&board.confidence]);
            for text in told {
                let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
                assert_eq!(words.find(|word| is_key(word)), None, "{}: {text}", board.id);
            }
        }
    }
}
