//! From a label to the GPUs of one node: which entry is for which GPU, and which instances each gets.

use std::collections::BTreeMap;

use super::{Config, Devices, Entry, Filter, packing};
use crate::error::{Diagnostic, Error, Result};
use crate::fleet::observed::{InstanceSpec, ObservedGpu, ObservedNode, counts};
use crate::fleet::{Node, WhyLeftOut};
use crate::hardware::layout::{self, Counts};
use crate::hardware::{Board, BoardRef, Catalogue, compute};
use crate::text::plural;

/// Ways to share compute instances between GPU instances.
type Packings = Vec<Vec<InstanceSpec>>;

/// A GPU as the filters and indices of a configuration see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeGpu {
    /// What is known of its MIG.
    pub mig: Mig,
    /// Its product name, for messages.
    pub product: String,
    /// Its PCI device and vendor id; where unknown, any that its board may have.
    pub pci_id: Option<u32>,
    /// Its PCI subsystem id; where unknown, filters on it are taken to match.
    pub subsystem_id: Option<u32>,
}

/// What is known of a GPU's MIG.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mig {
    /// It can do what its board can.
    Known(BoardRef),
    /// It is off, and neither the driver nor the catalogue tells the profiles that it would have.
    Untold,
    /// It has MIG, of which this user, or this driver, shows no profiles.
    Hidden,
    /// Its kind can do MIG, though this one says that it cannot.
    Refused,
    /// It cannot do MIG.
    Absent,
    /// It is there, but cannot be read.
    Unreadable,
}

impl NodeGpu {
    /// Its board, where its profiles are known.
    pub fn board(&self) -> Option<&BoardRef> {
        match &self.mig {
            Mig::Known(board) => Some(board),
            _ => None,
        }
    }

    /// Whether it can do MIG.
    fn has_mig(&self) -> bool {
        matches!(self.mig, Mig::Known(_) | Mig::Untold | Mig::Hidden)
    }

    /// The GPUs of a node by index, those that cannot be read included.
    pub fn of_node(node: &ObservedNode) -> Vec<NodeGpu> {
        let readable = node.gpus.iter().map(|gpu| (gpu.index, NodeGpu::from(gpu)));
        let unreadable = node.unreadable.iter().map(|gpu| {
            let (mig, product) = (Mig::Unreadable, "cannot be read".to_string());
            (gpu.index, NodeGpu { mig, product, pci_id: None, subsystem_id: None })
        });
        let mut gpus: Vec<(u32, NodeGpu)> = readable.chain(unreadable).collect();
        gpus.sort_by_key(|(index, _)| *index);
        gpus.into_iter().map(|(_, gpu)| gpu).collect()
    }
}

impl NodeGpu {
    /// The GPUs of a node of the fleet by index, those left out included.
    pub fn of_fleet(node: &Node) -> Vec<NodeGpu> {
        let planned = node.indices().zip(node.gpus.iter().map(NodeGpu::from));
        let left_out = node.left_out.iter().map(|left_out| {
            let (mig, product) = match left_out.reason {
                WhyLeftOut::WithoutMig => (Mig::Absent, "a GPU without MIG"),
                WhyLeftOut::Unreadable => (Mig::Unreadable, "cannot be read"),
            };
            let product = product.to_string();
            (left_out.gpu, NodeGpu { mig, product, pci_id: None, subsystem_id: None })
        });
        let mut gpus: Vec<(u32, NodeGpu)> = planned.chain(left_out).collect();
        gpus.sort_by_key(|(index, _)| *index);
        gpus.into_iter().map(|(_, gpu)| gpu).collect()
    }
}

impl From<&BoardRef> for NodeGpu {
    fn from(board: &BoardRef) -> NodeGpu {
        NodeGpu {
            mig: Mig::Known(board.clone()),
            product: board.id.clone(),
            pci_id: None,
            subsystem_id: None,
        }
    }
}

impl From<&ObservedGpu> for NodeGpu {
    fn from(gpu: &ObservedGpu) -> NodeGpu {
        let mig = match (gpu.mode, &gpu.board) {
            (Some(_), Some(board)) => Mig::Known(board.clone()),
            (Some(mode), None) if !mode.current && gpu.forbidden.is_none() => Mig::Untold,
            (Some(_), None) => Mig::Hidden,
            (None, Some(_)) => Mig::Refused,
            (None, None) => Mig::Absent,
        };
        let product = gpu.product.clone();
        NodeGpu { mig, product, pci_id: gpu.pci_id, subsystem_id: gpu.subsystem_id }
    }
}

/// What a label asks of one GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedGpu {
    /// The GPU's index on the node.
    pub gpu: u32,
    /// Its board.
    pub board: BoardRef,
    /// Whether MIG shall be on.
    pub mig: bool,
    /// The ways to share its compute instances between GPU instances: those with the fewest GPU
    /// instances first, each sorted. At least one; a layout that holds it exists.
    pub packings: Vec<Vec<InstanceSpec>>,
    /// The line of the entry that says so.
    pub line: u64,
}

impl WantedGpu {
    /// The instances that it gets where it has none yet.
    pub fn instances(&self) -> &[InstanceSpec] {
        self.packings.first().map_or(&[], Vec::as_slice)
    }

    /// How often each profile is made where there is none yet, by index into the board's profiles.
    pub fn counts(&self) -> Counts {
        counts(&self.board, self.instances())
    }

    /// The names of its MIG devices as the file lists them, sorted.
    pub fn names(&self) -> Vec<String> {
        let names = self.instances().iter().flat_map(|spec| spec.names(&self.board));
        let mut names: Vec<String> = names.map(|name| name.to_string()).collect();
        names.sort();
        names
    }
}

/// What a label asks of a GPU whose profiles are not known: it can only be compared by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedUnknown {
    /// The GPU's index on the node.
    pub gpu: u32,
    /// Whether MIG shall be on.
    pub mig: bool,
    /// How many MIG devices of each name it shall have.
    pub names: BTreeMap<String, u64>,
}

/// What a label asks of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The label.
    pub label: String,
    /// One for each GPU that an entry is for, by index.
    pub gpus: Vec<WantedGpu>,
    /// The same for those whose profiles are not known.
    pub unknown: Vec<WantedUnknown>,
    /// GPUs that an entry is for, but that cannot be read.
    pub unreadable: Vec<u32>,
    /// What is odd, but can be carried out.
    pub warnings: Vec<Diagnostic>,
}

impl Config {
    /// What `label` (or the only label) asks of a node whose GPU 0, 1, … are of these boards.
    ///
    /// # Errors
    /// As [`Config::resolve_node`].
    pub fn resolve(&self, label: Option<&str>, boards: &[BoardRef]) -> Result<Resolved> {
        self.resolve_node(label, &boards.iter().map(NodeGpu::from).collect::<Vec<_>>())
    }

    /// What `label` (or the only label) asks of a node with these GPUs.
    ///
    /// # Errors
    /// Every reason why it cannot be carried out there (exit 3): no such label, an index or a
    /// filter that names no GPU, entries that contradict each other, a profile that the board does
    /// not have, counts that no layout holds.
    pub fn resolve_node(&self, label: Option<&str>, gpus: &[NodeGpu]) -> Result<Resolved> {
        let label = self.select(label)?;
        let entries: &[Entry] = self.labels.get(label).map_or(&[], Vec::as_slice);
        let mut resolver = Resolver {
            gpus,
            chosen: BTreeMap::new(),
            beside: Vec::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
        };
        let mut idle_filters: Vec<&Entry> = Vec::new();
        for entry in entries {
            if !resolver.entry(entry) {
                idle_filters.push(entry);
            }
        }
        resolver.judge_idle_filters(&idle_filters);
        resolver.judge_indices_beside_filters();
        let mut wanted: Vec<WantedGpu> = Vec::new();
        let mut unknown: Vec<WantedUnknown> = Vec::new();
        // GPUs of one entry and board get the same answer, so it is worked out once.
        let mut known: Vec<(&Entry, BoardRef, Option<Packings>)> = Vec::new();
        for (&gpu, &entry) in &resolver.chosen.clone() {
            let board = match gpus.get(gpu as usize).map(|g| &g.mig) {
                Some(Mig::Known(board)) => board.clone(),
                Some(Mig::Untold | Mig::Hidden) => {
                    unknown.push(WantedUnknown { gpu, mig: entry.mig, names: entry.counts() });
                    continue;
                }
                _ => continue,
            };
            let found = known.iter().find(|(e, b, _)| std::ptr::eq(*e, entry) && **b == *board);
            let packings = match found {
                Some((_, _, packings)) => packings.clone(),
                None => {
                    let result = packings_of(entry, &board);
                    let packings = result.as_ref().ok().cloned();
                    resolver.problems.extend(result.err().unwrap_or_default());
                    known.push((entry, board.clone(), packings.clone()));
                    packings
                }
            };
            if let Some(packings) = packings {
                wanted.push(WantedGpu { gpu, board, mig: entry.mig, packings, line: entry.line });
            }
        }
        let in_file = |problems: Vec<Diagnostic>| -> Vec<Diagnostic> {
            problems.into_iter().map(|p| p.in_file(&self.file)).collect()
        };
        if !resolver.problems.is_empty() {
            let mut problems = in_file(resolver.problems);
            problems.sort_by_key(|p| p.line);
            return Err(Error::inputs(problems)
                .hint(format!("label '{label}' must fit {}", describe(gpus))));
        }
        let uncovered: Vec<String> = (0u32..)
            .zip(gpus)
            .filter(|(i, g)| g.has_mig() && !resolver.chosen.contains_key(i))
            .map(|(i, _)| i.to_string())
            .collect();
        if !uncovered.is_empty() {
            resolver.warnings.push(Diagnostic::new(format!(
                "'{label}' has no entry for GPU {}, which stays as it is",
                uncovered.join(", ")
            )));
        }
        let unreadable = (0u32..).zip(gpus).filter(|(_, gpu)| gpu.mig == Mig::Unreadable);
        let unreadable = unreadable.map(|(index, _)| index);
        let unreadable = unreadable.filter(|index| resolver.chosen.contains_key(index)).collect();
        let warnings = in_file(resolver.warnings);
        Ok(Resolved { label: label.to_string(), gpus: wanted, unknown, unreadable, warnings })
    }
}

/// `GPU 0-3 (a100-sxm4-80gb)`: what the node has, for the hint.
fn describe(gpus: &[NodeGpu]) -> String {
    let mut groups: Vec<(usize, usize, &str)> = Vec::new();
    for (i, gpu) in gpus.iter().enumerate() {
        let name = gpu.board().map_or(gpu.product.as_str(), |b| b.id.as_str());
        match groups.last_mut() {
            Some((_, last, n)) if *n == name => *last = i,
            _ => groups.push((i, i, name)),
        }
    }
    if groups.is_empty() {
        return "a node without GPUs".to_string();
    }
    let texts: Vec<String> = groups
        .into_iter()
        .map(
            |(a, b, name)| {
                if a == b { format!("GPU {a} ({name})") } else { format!("GPU {a}-{b} ({name})") }
            },
        )
        .collect();
    texts.join(", ")
}

struct Resolver<'a> {
    gpus: &'a [NodeGpu],
    /// The entry for each GPU.
    chosen: BTreeMap<u32, &'a Entry>,
    /// Indices of entries whose filter names other GPUs of the node.
    beside: Vec<(&'a Entry, u32)>,
    problems: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
}

impl<'a> Resolver<'a> {
    /// Assigns the entry its GPUs; false where its filter matches none.
    fn entry(&mut self, entry: &'a Entry) -> bool {
        let matches = |gpu: &NodeGpu| {
            entry.filters.is_empty() || entry.filters.iter().any(|f| f.matches(gpu))
        };
        let total = u32::try_from(self.gpus.len()).unwrap_or(u32::MAX);
        let mut found = false;
        match &entry.devices {
            Devices::All => {
                // Beside others, one without MIG is no reason against changing them.
                let for_others = self.gpus.iter().any(|gpu| matches(gpu) && gpu.mig != Mig::Absent);
                for (index, gpu) in (0u32..).zip(self.gpus) {
                    if !matches(gpu) {
                        continue;
                    }
                    found = true;
                    if entry.mig && gpu.mig == Mig::Absent && for_others {
                        self.warnings.push(
                            Diagnostic::new(format!(
                                "devices: GPU {index} ({}) cannot do MIG and is not changed; nvidia-mig-parted assert will fail here unless a device-filter excludes it",
                                gpu.product
                            ))
                            .at_line(entry.devices_line),
                        );
                    } else {
                        self.choose_able(index, gpu, entry);
                    }
                }
            }
            Devices::Indices(indices) => {
                for &index in indices {
                    let Some(gpu) = self.gpus.get(index as usize) else {
                        let range = match total {
                            0 => "this node has no GPU".to_string(),
                            1 => "this node has only GPU 0".to_string(),
                            n => format!("this node has GPU 0 to {}", n - 1),
                        };
                        self.problem(
                            entry.devices_line,
                            format!("devices: no GPU {index}; {range}"),
                        );
                        found = true;
                        continue;
                    };
                    if !matches(gpu) {
                        // Judged later, as is a filter that matches nowhere.
                        if self.gpus.iter().any(matches) {
                            found = true;
                            self.beside.push((entry, index));
                        }
                        continue;
                    }
                    found = true;
                    self.choose_able(index, gpu, entry);
                }
            }
        }
        found
    }

    /// Chooses a GPU that an entry is for; a problem where MIG is wanted of it and it cannot be, or
    /// nobody can tell.
    fn choose_able(&mut self, index: u32, gpu: &NodeGpu, entry: &'a Entry) {
        let product = &gpu.product;
        let problem = match gpu.mig {
            Mig::Known(_) | Mig::Hidden | Mig::Unreadable => return self.choose(index, entry),
            Mig::Untold if !entry.mig => return self.choose(index, entry),
            _ if !entry.mig => return,
            Mig::Untold => format!(
                "devices: the profiles of GPU {index} ({product}) are not known while its MIG is off: turn it on by hand (nvidia-smi -i {index} -mig 1), or describe its board with --catalogue"
            ),
            Mig::Refused => format!(
                "devices: GPU {index} ({product}) says that it cannot do MIG, which its kind can: a virtual GPU, or a driver without MIG"
            ),
            Mig::Absent => format!("devices: GPU {index} ({product}) cannot do MIG"),
        };
        self.problem(entry.devices_line, problem);
    }

    fn unreadable(&self, gpu: u32) -> bool {
        self.gpus.get(gpu as usize).is_some_and(|gpu| gpu.mig == Mig::Unreadable)
    }

    fn choose(&mut self, gpu: u32, entry: &'a Entry) {
        match self.chosen.get(&gpu) {
            Some(other) if !self.unreadable(gpu) && !other.asks_the_same(entry) => {
                let line = other.line;
                self.problem(
                    entry.line,
                    format!(
                        "this entry and the one on line {line} contradict each other for GPU {gpu}"
                    ),
                );
            }
            Some(_) => {}
            None => {
                self.chosen.insert(gpu, entry);
            }
        }
    }

    /// A filter that matches nothing here is fine in a label written for many boards, such as the
    /// ones that mig-parted ships: then it names a board that exists, and other entries are for
    /// the GPUs of this node. Anything else is a typing mistake that mig-parted would report as
    /// success.
    fn judge_idle_filters(&mut self, idle: &[&Entry]) {
        let all_covered =
            (0u32..).zip(self.gpus).all(|(i, gpu)| !gpu.has_mig() || self.chosen.contains_key(&i));
        for entry in idle {
            let for_other_boards = entry.filters.iter().any(|f| f.names_a_board());
            if all_covered && for_other_boards && !self.chosen.is_empty() {
                continue;
            }
            if entry.filters.is_empty() {
                self.problem(entry.devices_line, "devices: there is no GPU here".to_string());
            } else {
                self.problem(
                    entry.filter_line,
                    format!("device-filter: no GPU of this node has {}", entry.filter_text()),
                );
            }
        }
    }

    /// An index and a filter must both name a GPU. One list of indices beside each of several filters
    /// is fine, where each entry is for some of them and each of them has its entry. Anything else is
    /// a mistake, which mig-parted would report as success.
    fn judge_indices_beside_filters(&mut self) {
        for (entry, index) in std::mem::take(&mut self.beside) {
            let is_for_some = self.chosen.values().any(|other| std::ptr::eq(*other, entry));
            if !is_for_some || !self.chosen.contains_key(&index) {
                let product = self.gpus.get(index as usize).map_or("", |gpu| gpu.product.as_str());
                self.problem(
                    entry.devices_line,
                    format!(
                        "devices: GPU {index} ({product}) is not one that the device-filter names"
                    ),
                );
            }
        }
    }

    fn problem(&mut self, line: u64, message: impl Into<String>) {
        self.problems.push(Diagnostic::new(message).at_line(line));
    }
}

impl Entry {
    fn asks_the_same(&self, other: &Entry) -> bool {
        self.mig == other.mig && self.counts() == other.counts()
    }

    /// How many MIG devices of each name it asks for.
    fn counts(&self) -> BTreeMap<String, u64> {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for wanted in &self.profiles {
            *counts.entry(wanted.name.to_string()).or_default() += u64::from(wanted.count);
        }
        counts
    }

    fn filter_text(&self) -> String {
        let texts: Vec<String> = self
            .filters
            .iter()
            .map(|f| match f.subsystem {
                None => format!("0x{:08X}", f.device),
                Some(s) => format!("0x{:08X}:0x{s:08X}", f.device),
            })
            .collect();
        texts.join(" or ")
    }
}

impl Filter {
    fn matches(self, gpu: &NodeGpu) -> bool {
        // It may be the GPU that is meant, and then the file cannot be carried out.
        if gpu.mig == Mig::Unreadable {
            return true;
        }
        let device = match gpu.pci_id {
            Some(id) => id == self.device,
            None => gpu.board().is_some_and(|b| self.is_of(b)),
        };
        let subsystem = match (self.subsystem, gpu.subsystem_id) {
            (Some(wanted), Some(id)) => wanted == id,
            _ => true,
        };
        device && subsystem
    }

    fn is_of(self, board: &Board) -> bool {
        board
            .pci_ids
            .iter()
            .filter_map(|id| u32::from_str_radix(id.trim_start_matches("0x"), 16).ok())
            .any(|id| id == self.device)
    }

    fn names_a_board(self) -> bool {
        Catalogue::built_in().boards().iter().any(|b| self.is_of(b))
    }
}

/// The instances that an entry may make on a board. As in mig-parted, compute instances of one GPU
/// profile share GPU instances, in whatever way: a file says no more than how many there are.
fn packings_of(entry: &Entry, board: &Board) -> std::result::Result<Packings, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let mut wanted_of: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    for wanted in &entry.profiles {
        let mut wrong = |message: String| {
            problems.push(Diagnostic::new(format!("mig-devices: {message}")).at_line(wanted.line));
        };
        let name = &wanted.name;
        let Some((profile, info)) = board.profile(&name.gpu_instance()) else {
            let known: Vec<String> = board.profiles.iter().map(|p| p.name.to_string()).collect();
            wrong(format!("{} has no profile {name}; it has {}", board.id, known.join(", ")));
            continue;
        };
        let slices = name.compute_instance_slices;
        if compute::starts(info.compute_slices, slices).is_empty() {
            wrong(format!("{name}: a {} has no compute instance of {slices} slices", info.name));
            continue;
        }
        let most = info.max_instances.saturating_mul(info.compute_slices / slices);
        if wanted.count > most {
            wrong(format!(
                "{name}: {} asked for, but {} holds at most {most}",
                wanted.count, board.id
            ));
            continue;
        }
        wanted_of
            .entry(profile)
            .or_default()
            .extend(std::iter::repeat_n(slices, wanted.count as usize));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut packings: Vec<Vec<InstanceSpec>> = vec![Vec::new()];
    // What they cover at least, for the case that they do not fit.
    let mut slices = 0;
    for (profile, sizes) in wanted_of {
        let info = &board.profiles[profile];
        slices += sizes.iter().sum::<u32>().div_ceil(info.compute_slices) * info.memory_slices;
        let ways = packing::packings(info.compute_slices, &sizes, info.max_instances);
        packings = packings
            .iter()
            .flat_map(|before| ways.iter().map(move |way| (before, way)))
            .map(|(before, way)| {
                let made = way.iter().map(|c| InstanceSpec { profile, compute: c.clone() });
                before.iter().cloned().chain(made).collect()
            })
            .collect();
    }
    packings.iter_mut().for_each(|packing| packing.sort());
    packings.sort_by_key(Vec::len);
    packings.retain(|packing| layout::place(board, &counts(board, packing), &[]).is_some());
    if packings.is_empty() {
        let asked: Vec<String> =
            entry.profiles.iter().map(|p| format!("{} × {}", p.count, p.name)).collect();
        let reason = if slices > board.memory_slices {
            format!(
                "they cover {slices} memory slices, and it has {}",
                plural(board.memory_slices.into(), "memory slice")
            )
        } else {
            "no placement holds them together".to_string()
        };
        let line = entry.profiles.first().map_or(entry.line, |p| p.line);
        return Err(vec![
            Diagnostic::new(format!(
                "mig-devices: {} do not fit on {}: {reason}",
                asked.join(", "),
                board.id
            ))
            .at_line(line),
        ]);
    }
    Ok(packings)
}
