//! A plan as the file of nvidia-mig-parted, `version: v1`: what its `assert`, its `apply` and the
//! GPU Operator's MIG Manager take.
//!
//! The format has counts per GPU and nothing else: no placements, no owners. It refuses every
//! unknown key, so notes for people go into comments. Each distinct node becomes one label. See
//! `api/spec/v1/spec.go` of NVIDIA/mig-parted v0.15.0.

use std::collections::HashMap;
use std::fmt::Write;
use std::io;
use std::sync::Arc;

use super::mig_config::{self, Devices, Entry, GpuConfig, write_config};
use super::nodes::{NodeGpus, board_of, nodes};
use super::plan_view::PlanView;
use super::presets::{self, Presets, Which};
use super::yaml;
use crate::error::{Diagnostic, Error, Result};
use crate::fleet::WhyLeftOut;
use crate::hardware::{Board, Catalogue, ProfileName};
use crate::kubernetes::naming;
use crate::plan::{Checked, GpuPlan, InstanceProfile};
use crate::text::plural;

/// The label of a plan's configuration where no other is named.
pub const DEFAULT_NAME: &str = "migplan";

/// How a plan becomes a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigPartedOptions {
    /// The label, or with several distinct nodes the first part of `name-1`, `name-2` …
    pub name: String,
    /// Whether to add `all-disabled` and a uniform `all-<profile>` for each profile of the boards.
    pub with_presets: bool,
    /// Notes for people, a comment line each at the head of the file.
    pub notes: Vec<String>,
}

impl Default for MigPartedOptions {
    fn default() -> MigPartedOptions {
        MigPartedOptions { name: DEFAULT_NAME.to_string(), with_presets: false, notes: Vec::new() }
    }
}

/// A mig-parted file and which node takes which of its labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigPartedFile {
    /// The YAML.
    pub text: String,
    /// Every node, ordered by name, with its label.
    pub assignments: Vec<(Arc<str>, String)>,
    /// Presets that it lacks.
    pub warnings: Vec<Diagnostic>,
}

/// Writes a plan as a mig-parted file.
///
/// # Errors
/// A name that is not a Kubernetes label value or that a preset has already (exit 2); a plan
/// without GPUs, with one GPU twice, or with a board that the catalogue lacks (exit 3).
pub fn write(
    plan: &Checked,
    catalogue: &Catalogue,
    options: &MigPartedOptions,
) -> Result<MigPartedFile> {
    let nodes = nodes(plan);
    let which = if options.with_presets { Which::Uniform } else { Which::None };
    let presets = presets::of_nodes(&nodes, catalogue, which)?;
    write_with(&nodes, catalogue, &options.name, &presets, &options.notes)
}

/// Writes `node,config` rows: which node takes which label.
///
/// # Errors
/// What the writer reports.
pub fn write_assignments(
    assignments: &[(Arc<str>, String)],
    out: &mut dyn io::Write,
) -> io::Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record(["node", "config"])?;
    for (node, config) in assignments {
        csv.write_record([node.as_ref(), config.as_str()])?;
    }
    csv.flush()
}

/// The MIG configurations that a plan's nodes need, each once.
struct Configs<'n> {
    /// Each distinct configuration with its nodes, in the order of the first one.
    distinct: Vec<(Vec<Entry>, Vec<&'n Arc<str>>)>,
    /// For each node, which of them.
    of_node: Vec<usize>,
    name: &'n str,
}

impl<'n> Configs<'n> {
    fn new(nodes: &[NodeGpus<'n>], catalogue: &Catalogue, name: &'n str) -> Result<Configs<'n>> {
        check_name(name)?;
        if nodes.is_empty() {
            return Err(Error::input(Diagnostic::new("the plan has no GPUs")));
        }
        let mut configs = Configs { distinct: Vec::new(), of_node: Vec::new(), name };
        let mut known: HashMap<Vec<Entry>, usize> = HashMap::new();
        for node in nodes {
            let config = *known.entry(entries(node, catalogue)?).or_insert_with_key(|entries| {
                configs.distinct.push((entries.clone(), Vec::new()));
                configs.distinct.len() - 1
            });
            configs.distinct[config].1.push(node.name);
            configs.of_node.push(config);
        }
        check_name(&configs.label(configs.distinct.len() - 1))?;
        Ok(configs)
    }

    /// Writes each under its label.
    fn write(&self, text: &mut String) {
        for (config, (entries, of_nodes)) in self.distinct.iter().enumerate() {
            if self.distinct.len() > 1 {
                let _ = writeln!(text, "  # {}", yaml::comment(&summary(of_nodes)));
            }
            write_config(text, &self.label(config), entries);
        }
    }

    /// Refuses labels that presets of the file have.
    fn refuse_presets(&self, presets: &Presets) -> Result<()> {
        let mut labels = (0..self.distinct.len()).map(|config| self.label(config));
        match labels.find(|label| presets.configs.contains_key(label)) {
            None => Ok(()),
            Some(taken) => {
                let problem = format!("the configuration name '{taken}' belongs to a preset");
                Err(Error::usage(problem)
                    .hint("give the plan's configuration another name with --name"))
            }
        }
    }

    fn label(&self, config: usize) -> String {
        match self.distinct.len() {
            1 => self.name.to_string(),
            _ => format!("{}-{}", self.name, config + 1),
        }
    }
}

impl Presets {
    /// Writes each under its label.
    fn write(&self, text: &mut String) {
        for (label, entries) in &self.configs {
            write_config(text, label, entries);
        }
    }
}

/// Every node of a plan, ordered by name, with the label of its configuration.
///
/// # Errors
/// As [`write()`].
pub(super) fn labels(view: &PlanView<'_>, name: &str) -> Result<Vec<(Arc<str>, String)>> {
    let configs = Configs::new(&view.nodes, view.catalogue, name)?;
    Ok(assignments(&view.nodes, &configs))
}

fn assignments(nodes: &[NodeGpus<'_>], configs: &Configs<'_>) -> Vec<(Arc<str>, String)> {
    let labels = configs.of_node.iter().map(|config| configs.label(*config));
    nodes.iter().map(|node| node.name.clone()).zip(labels).collect()
}

/// As [`write()`], with these configurations beside the plan's own.
pub(super) fn write_with(
    nodes: &[NodeGpus<'_>],
    catalogue: &Catalogue,
    name: &str,
    presets: &Presets,
    notes: &[String],
) -> Result<MigPartedFile> {
    let configs = Configs::new(nodes, catalogue, name)?;
    configs.refuse_presets(presets)?;
    let mut text = String::new();
    write_notes(&mut text, notes);
    text.push_str(HEAD);
    configs.write(&mut text);
    presets.write(&mut text);
    let warnings = presets.warning().into_iter().collect();
    Ok(MigPartedFile { text, assignments: assignments(nodes, &configs), warnings })
}

/// Several plans for the same GPUs in one file, and for each of them which node takes which label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeveralFile {
    /// The YAML.
    pub text: String,
    /// For each plan every node, ordered by name, with its label.
    pub assignments: Vec<Vec<(Arc<str>, String)>>,
    /// Presets that it lacks.
    pub warnings: Vec<Diagnostic>,
}

/// Writes several plans for the same GPUs as one file: the first is labelled `name-a`, the next
/// `name-b`, and so on; of one plan `name`. `notes` makes the comments at its head from the labels of
/// the nodes in each plan; `with_presets` is as in [`MigPartedOptions`].
///
/// # Errors
/// As [`write()`].
pub fn write_several(
    plans: &[&Checked],
    catalogue: &Catalogue,
    name: &str,
    with_presets: bool,
    notes: impl FnOnce(&[Vec<(Arc<str>, String)>]) -> Vec<String>,
) -> Result<SeveralFile> {
    let mut of_all = String::new();
    let mut of_plans = Vec::with_capacity(plans.len());
    let which = if with_presets { Which::Uniform } else { Which::None };
    let first = plans.first().map(|plan| nodes(plan)).unwrap_or_default();
    let presets = presets::of_nodes(&first, catalogue, which)?;
    for (plan, letter) in plans.iter().zip('a'..='z') {
        let name = if plans.len() == 1 { name.to_string() } else { format!("{name}-{letter}") };
        let nodes = nodes(plan);
        let configs = Configs::new(&nodes, catalogue, &name)?;
        configs.refuse_presets(&presets)?;
        configs.write(&mut of_all);
        of_plans.push(assignments(&nodes, &configs));
    }
    presets.write(&mut of_all);
    let mut text = String::new();
    write_notes(&mut text, &notes(&of_plans));
    text += HEAD;
    text += &of_all;
    let warnings = presets.warning().into_iter().collect();
    Ok(SeveralFile { text, assignments: of_plans, warnings })
}

/// What stands before the configurations.
const HEAD: &str = "version: v1\nmig-configs:\n";

fn write_notes(text: &mut String, notes: &[String]) {
    for line in notes.iter().flat_map(|note| note.lines()) {
        let _ = writeln!(text, "{}", format!("# {}", yaml::comment(line)).trim_end());
    }
}

/// Checks that a configuration can go by this name before any work is done for it.
///
/// # Errors
/// A name that is not a Kubernetes label value (exit 2).
pub fn check_name(name: &str) -> Result<()> {
    if naming::is_label_value(name) {
        return Ok(());
    }
    Err(Error::usage(format!(
        "the configuration name '{name}' cannot be the value of a Kubernetes label"
    ))
    .hint("use at most 63 letters, digits, '.', '_' and '-', with a letter or digit at both ends"))
}

/// The first few of a configuration's nodes, for a comment.
fn summary(nodes: &[&Arc<str>]) -> String {
    const SHOWN: usize = 3;
    const LENGTH: usize = 40;
    let mut text = format!("{}: ", plural(u64::try_from(nodes.len()).unwrap_or(0), "node"));
    for (i, node) in nodes.iter().take(SHOWN).enumerate() {
        if i > 0 {
            text.push_str(", ");
        }
        text.extend(node.chars().take(LENGTH));
        if node.chars().nth(LENGTH).is_some() {
            text.push('…');
        }
    }
    if nodes.len() > SHOWN {
        text.push_str(", …");
    }
    text
}

/// The entries of one node, every GPU in exactly one of them.
fn entries(node: &NodeGpus<'_>, catalogue: &Catalogue) -> Result<Vec<Entry>> {
    if let Some(twice) = node.gpus.chunk_by(|a, b| a.gpu == b.gpu).find(|same| same.len() > 1) {
        let index = twice.first().map_or(0, |gpu| gpu.gpu);
        return Err(Error::input(Diagnostic::new(format!(
            "the plan has GPU {index} of node '{}' twice",
            node.name
        ))));
    }
    // GPUs that are alike, in the order of their first index.
    let mut groups: Vec<(&str, GpuConfig, Vec<u32>)> = Vec::new();
    let mut known: HashMap<(&str, GpuConfig), usize> = HashMap::new();
    for gpu in &node.gpus {
        let key = (gpu.board.as_ref(), gpu_config(gpu));
        let group = *known.entry(key).or_insert_with_key(|(board, config)| {
            groups.push((board, config.clone(), Vec::new()));
            groups.len() - 1
        });
        groups[group].2.push(gpu.gpu);
    }
    let mut boards: Vec<&str> = groups.iter().map(|(board, ..)| *board).collect();
    boards.sort_unstable();
    boards.dedup();
    let boards = boards.into_iter().map(|id| board_of(catalogue, id).map(|board| &**board));
    let boards: Vec<&Board> = boards.collect::<Result<_>>()?;
    // With a filter for some boards only, a GPU whose index is another could be covered twice.
    let filters = mig_config::filters(&boards);
    let filters = (boards.len() > 1 && filters.len() == boards.len()).then_some(filters);
    let is_lost = node.left_out.iter().any(|gpu| gpu.reason == WhyLeftOut::Unreadable);
    let mut entries: Vec<Entry> = groups
        .iter()
        .map(|(board, config, indices)| {
            let filter = filters.as_ref().and_then(|f| f.get(board)).cloned().unwrap_or_default();
            // Indices of a fleet that was only described may differ on the machine; a filter does
            // not, so it does without them wherever it can.
            let alone = groups.iter().filter(|(other, ..)| other == board).count() == 1;
            // A GPU that cannot be read may be one that the filter lets through.
            let by_filter = !filter.is_empty() && alone && !is_lost;
            let all_alike = groups.len() == 1 && node.left_out.is_empty();
            let devices = if all_alike || by_filter {
                Devices::All
            } else {
                Devices::Indices(indices.clone())
            };
            Entry { filter, devices, gpu: config.clone() }
        })
        .collect();
    entries.extend(mig_config::without_mig(node.without_mig()));
    Ok(entries)
}

/// What becomes of a GPU of the plan.
fn gpu_config(gpu: &GpuPlan) -> GpuConfig {
    if !gpu.mig {
        return GpuConfig::MigOff;
    }
    let mut profiles: Vec<&ProfileName> = gpu
        .instances
        .iter()
        .filter_map(|instance| match &instance.profile {
            InstanceProfile::Mig(name) => Some(name),
            InstanceProfile::Full => None,
        })
        .collect();
    profiles.sort_unstable();
    let mut counts: Vec<(ProfileName, u32)> = Vec::new();
    for profile in profiles {
        match counts.last_mut() {
            Some((last, count)) if last == profile => *count += 1,
            _ => counts.push((profile.clone(), 1)),
        }
    }
    GpuConfig::Instances(counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Instance, LeftOutGpu, PLAN_SCHEMA, Plan, Proof, Status, Totals};

    /// A plan from `node gpu board profiles…`, a line for each GPU; `off` is MIG off.
    fn plan(text: &str) -> Plan {
        let gpus = text
            .lines()
            .map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                let [node, gpu, board, profiles @ ..] = &words[..] else { panic!("{line}") };
                let instances = profiles
                    .iter()
                    .filter(|p| **p != "off")
                    .map(|p| Instance {
                        profile: InstanceProfile::Mig(p.parse().unwrap()),
                        start: 0,
                        size: 1,
                        memory_mib: 1,
                        assignment: None,
                    })
                    .collect();
                GpuPlan {
                    node: (*node).into(),
                    gpu: gpu.parse().unwrap(),
                    board: (*board).into(),
                    mig: !profiles.contains(&"off"),
                    stays_whole: false,
                    instances,
                }
            })
            .collect();
        Plan {
            schema: PLAN_SCHEMA.to_string(),
            gpus,
            left_out: Vec::new(),
            unplaced: Vec::new(),
            totals: Totals::default(),
            proof: Proof { status: Status::Optimal, stages: Vec::new(), solve_seconds: 0.0 },
        }
    }

    fn file(text: &str, options: &MigPartedOptions) -> Result<MigPartedFile> {
        write(&Checked::for_test(plan(text)), &Catalogue::built_in(), options)
    }

    #[test]
    fn alike_gpus_need_no_list() {
        let file = file(
            "n 0 a100-sxm4-80gb 3g.40gb 1g.10gb 1g.10gb+me\nn 1 a100-sxm4-80gb 1g.10gb+me 3g.40gb 1g.10gb",
            &MigPartedOptions { notes: vec!["two\nlines: #1".to_string()], ..MigPartedOptions::default() },
        )
        .unwrap();
        assert_eq!(
            file.text,
            "# two\n# lines: #1\nversion: v1\nmig-configs:\n  migplan:\n    - devices: all\n      mig-enabled: true\n      mig-devices:\n        \"1g.10gb\": 1\n        \"1g.10gb+me\": 1\n        \"3g.40gb\": 1\n"
        );
        assert_eq!(file.assignments, [("n".into(), "migplan".to_string())]);
    }

    #[test]
    fn gpus_that_are_left_out_keep_their_indices() {
        let body = |text: &str, left_out: &[(u32, WhyLeftOut)], with_presets| {
            let mut plan = plan(text);
            let of = |(gpu, reason): &(u32, WhyLeftOut)| LeftOutGpu {
                node: "n".into(),
                gpu: *gpu,
                reason: *reason,
            };
            plan.left_out = left_out.iter().map(of).collect();
            let options = MigPartedOptions { with_presets, ..MigPartedOptions::default() };
            let file = write(&Checked::for_test(plan), &Catalogue::built_in(), &options).unwrap();
            file.text.replace("      mig-enabled: true\n      mig-devices:\n  ", "")
        };
        let alike = "n 0 a100-sxm4-80gb 7g.80gb\nn 1 a100-sxm4-80gb 7g.80gb";
        let off = "    - devices: [2]\n      mig-enabled: false\n";
        let display = body(alike, &[(2, WhyLeftOut::WithoutMig)], true);
        let planned = "    - devices: [0, 1]\n      \"7g.80gb\": 1\n";
        assert!(display.contains(&format!("migplan:\n{planned}{off}")), "{display}");
        assert!(display.contains(&format!("all-7g.80gb:\n{planned}{off}")), "{display}");
        assert!(display.contains("all-disabled:\n    - devices: all\n"), "{display}");
        let lost = body(alike, &[(2, WhyLeftOut::Unreadable)], false);
        assert!(lost.ends_with(&format!("migplan:\n{planned}")), "{lost}");
        let kinds = "n 0 h100-sxm5-80gb 7g.80gb\nn 1 a30-24gb 4g.24gb";
        let by_filter = body(kinds, &[(2, WhyLeftOut::WithoutMig)], false);
        assert_eq!(by_filter.matches("devices: all").count(), 2, "{by_filter}");
        assert!(by_filter.ends_with(off), "{by_filter}");
        let listed = body(kinds, &[(2, WhyLeftOut::Unreadable)], false);
        assert!(listed.contains("devices: [0]") && listed.contains("devices: [1]"), "{listed}");
    }

    #[test]
    fn several_boards_are_told_apart_by_filter() {
        let file = file(
            "n 2 a30-24gb off\nn 0 h100-sxm5-80gb 7g.80gb\nn 1 h100-sxm5-80gb off",
            &MigPartedOptions::default(),
        )
        .unwrap();
        let body = file.text.split_once("migplan:\n").unwrap().1;
        assert_eq!(
            body,
            concat!(
                "    - device-filter: [\"0x233010DE\", \"0x232410DE\"]\n      devices: [0]\n",
                "      mig-enabled: true\n      mig-devices:\n        \"7g.80gb\": 1\n",
                "    - device-filter: [\"0x233010DE\", \"0x232410DE\"]\n      devices: [1]\n",
                "      mig-enabled: false\n",
                "    - device-filter: \"0x20B710DE\"\n      devices: all\n",
                "      mig-enabled: false\n",
            )
        );
    }

    #[test]
    fn boards_under_one_pci_id_are_told_apart_by_index() {
        let file =
            file("n 0 gb200-186gb 7g.186gb\nn 1 gb200-189gb off", &MigPartedOptions::default())
                .unwrap();
        assert!(!file.text.contains("device-filter"), "{}", file.text);
        assert!(file.text.contains("devices: [0]") && file.text.contains("devices: [1]"));
    }

    #[test]
    fn distinct_nodes_get_labels_of_their_own() {
        let file = file(
            "b 0 a30-24gb off\nc 0 a30-24gb 4g.24gb\na 0 a30-24gb 4g.24gb\nc 1 a30-24gb 4g.24gb",
            &MigPartedOptions { name: "layout".to_string(), ..MigPartedOptions::default() },
        )
        .unwrap();
        let labels: Vec<(&str, &str)> =
            file.assignments.iter().map(|(n, l)| (n.as_ref(), l.as_str())).collect();
        assert_eq!(labels, [("a", "layout-1"), ("b", "layout-2"), ("c", "layout-1")]);
        assert!(file.text.contains("  # 2 nodes: a, c\n  layout-1:\n"), "{}", file.text);
        let mut csv = Vec::new();
        write_assignments(&file.assignments, &mut csv).unwrap();
        assert_eq!(
            String::from_utf8(csv).unwrap(),
            "node,config\na,layout-1\nb,layout-2\nc,layout-1\n"
        );
    }

    #[test]
    fn presets_are_those_of_the_boards() {
        let options = MigPartedOptions { with_presets: true, ..MigPartedOptions::default() };
        let one = file("n 0 a30-24gb off", &options).unwrap().text;
        assert!(one.contains("  all-1g.6gb.me:\n    - devices: all\n      mig-enabled: true\n      mig-devices:\n        \"1g.6gb+me\": 1\n"), "{one}");
        assert!(one.contains("  all-disabled:\n    - devices: all\n      mig-enabled: false\n"));
        let two = file("n 0 a100-sxm4-40gb off\nn 1 a100-sxm4-80gb off", &options).unwrap().text;
        let ten = two.split_once("  all-1g.10gb:\n").unwrap().1;
        assert!(ten.starts_with("    - device-filter: [\"0x20B010DE\", \"0x20BD10DE\"]\n      devices: all\n      mig-enabled: true\n      mig-devices:\n        \"1g.10gb\": 4\n    - device-filter: [\"0x20B210DE\", \"0x20F310DE\"]\n"), "{ten}");
        for taken in ["all-disabled", "all-1g.6gb"] {
            let options = MigPartedOptions { name: taken.to_string(), ..options.clone() };
            let error = file("n 0 a30-24gb off", &options).unwrap_err();
            assert_eq!(error.code, crate::error::ExitCode::Usage);
        }
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        let long = "x".repeat(63);
        for name in ["", "-a", "a b", "a/b", "ü", "a.", &"x".repeat(64)] {
            let options =
                MigPartedOptions { name: name.to_string(), ..MigPartedOptions::default() };
            let error = file("n 0 a30-24gb off", &options).unwrap_err();
            assert_eq!(error.code, crate::error::ExitCode::Usage, "{name}");
        }
        let options = MigPartedOptions { name: long, ..MigPartedOptions::default() };
        assert!(file("n 0 a30-24gb off", &options).is_ok());
        assert!(file("n 0 a30-24gb off\nm 0 a30-24gb 4g.24gb", &options).is_err());
        assert!(file("", &MigPartedOptions::default()).is_err());
        assert!(file("n 0 a30-24gb off\nn 0 a30-24gb off", &MigPartedOptions::default()).is_err());
        assert!(file("n 0 x off\nn 1 a30-24gb off", &MigPartedOptions::default()).is_err());
    }

    #[test]
    fn one_node_may_have_very_many_gpus() {
        let mut one: Plan = plan("n 0 a100-sxm4-80gb 7g.80gb");
        let gpu = one.gpus.pop().unwrap();
        for index in 0..100_000 {
            one.gpus.push(GpuPlan { gpu: index, mig: index % 2 == 0, ..gpu.clone() });
        }
        let file =
            write(&Checked::for_test(one), &Catalogue::built_in(), &MigPartedOptions::default())
                .unwrap();
        assert_eq!(file.text.matches("devices: [").count(), 2);
    }
}
