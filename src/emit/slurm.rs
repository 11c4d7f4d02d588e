//! `migplan emit slurm`: the lines of `gres.conf` and `slurm.conf` for the nodes of a plan.
//!
//! Slurm finds instances itself (`AutoDetect=nvml`), but only counts those whose type in `slurm.conf`
//! is part of the name that it derives: the device's name up to the first `-`, then slices and the
//! usable memory in GiB, rounded (`src/plugins/gpu/nvml/gpu_nvml.c`). So a 3g.40gb of an A100 with
//! 40,192 MiB is `nvidia_a100_3g.39gb`, and media engines do not show at all. Where the device's name is
//! not known, the type of an instance does without it, and that of a whole GPU is left to fill in.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::nodes::{self, NodeGpus, board_of};
use super::output::Emitted;
use super::plan_view::{FILL_IN, PlanView};
use super::yaml;
use crate::error::{Diagnostic, Error, Result};
use crate::hardware::Board;
use crate::plan::InstanceProfile;

/// Which file's lines to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Part {
    /// What the devices of each node are, for `gres.conf`.
    #[cfg_attr(feature = "cli", value(name = "gres.conf"))]
    Gres,
    /// How many of each type a node has, for `slurm.conf`.
    #[cfg_attr(feature = "cli", value(name = "slurm.conf"))]
    Nodes,
}

/// Writes the lines, of both files where no `part` is named.
///
/// # Errors
/// Node names that Slurm does not accept (exit 3).
pub fn write(view: &PlanView<'_>, part: Option<Part>) -> Result<Emitted> {
    let bad: Vec<Diagnostic> = view
        .nodes
        .iter()
        .filter(|node| !is_node_name(node.name))
        .map(|node| Diagnostic::new(format!("'{}' is not a valid node name of Slurm", node.name)))
        .take(10)
        .collect();
    if !bad.is_empty() {
        return Err(Error::inputs(bad)
            .hint("Slurm accepts letters, digits, '-', '_' and '.' in node names"));
    }
    // Nodes that offer the same, in the order of their first one.
    let mut groups: Vec<Group<'_>> = Vec::new();
    for node in &view.nodes {
        let offers = offers(view, node)?;
        match groups.iter_mut().find(|(known, _)| *known == offers) {
            Some((_, nodes)) => nodes.push(node.name),
            None => groups.push((offers, vec![node.name])),
        }
    }
    let mut text = String::new();
    let names = view.nodes.iter().map(|n| n.name.as_ref());
    let mut warnings: Vec<Diagnostic> =
        nodes::unnamed(names, "Slurm", "the lines").into_iter().collect();
    if part != Some(Part::Nodes) {
        text.push_str("# ---- gres.conf\n");
        let all: Vec<&str> = view.nodes.iter().map(|n| n.name.as_ref()).collect();
        let _ = writeln!(text, "NodeName={} AutoDetect=nvml", host_list(&all));
    }
    if part.is_none() {
        text.push('\n');
    }
    if part != Some(Part::Gres) {
        text.push_str(
            "# ---- slurm.conf\n\
             # Gres= belongs in the NodeName lines that are there already. Create the instances first,\n\
             # with the node drained, then restart slurmctld and slurmd; `slurmd -G` on a node shows what it\n\
             # finds.\n\
             GresTypes=gpu\n",
        );
        warnings.extend(unnamed_boards(view, &groups));
        for (offers, nodes) in &groups {
            write_offers(&mut text, offers, &mut warnings);
            let gres: Vec<String> =
                offers.iter().map(|(gres, offer)| format!("gpu:{gres}:{}", offer.count)).collect();
            let _ = writeln!(text, "NodeName={} Gres={}", host_list(nodes), gres.join(","));
        }
    }
    Ok(Emitted { text, warnings, ..Emitted::default() })
}

/// What nodes offer, by type, and the nodes that offer it.
type Group<'p> = (BTreeMap<String, Offer>, Vec<&'p str>);

/// A warning on whole GPUs whose type is left to fill in.
fn unnamed_boards(view: &PlanView<'_>, groups: &[Group<'_>]) -> Option<Diagnostic> {
    let unnamed =
        |board: &&str| view.catalogue.by_id(board).is_some_and(|board| board.products.is_empty());
    let whole = groups.iter().flat_map(|(offers, _)| offers.values());
    let whole = whole.filter(|offer| offer.profiles.contains(&InstanceProfile::Full));
    let boards: BTreeSet<&str> = whole.map(|offer| offer.board.as_str()).filter(unnamed).collect();
    let boards: Vec<&str> = boards.into_iter().collect();
    (!boards.is_empty()).then(|| {
        Diagnostic::new(format!(
            "the device name of {} is not known: fill in the type of its whole GPUs, `slurmd -G` shows it",
            boards.join(" and ")
        ))
    })
}

/// Comments that say which profiles stand behind the types.
fn write_offers(
    text: &mut String,
    offers: &BTreeMap<String, Offer>,
    warnings: &mut Vec<Diagnostic>,
) {
    for (gres, offer) in offers {
        let name = |profile: &InstanceProfile| match profile {
            InstanceProfile::Full => "whole GPU".to_string(),
            InstanceProfile::Mig(name) => name.to_string(),
        };
        let profiles: Vec<String> = offer.profiles.iter().map(name).collect();
        let _ = writeln!(
            text,
            "# {gres}: {} on {}",
            yaml::comment(&profiles.join(" and ")),
            offer.board
        );
        if offer.profiles.len() > 1 {
            let warning = Diagnostic::new(format!(
                "Slurm cannot tell {} apart: both are gpu:{gres}",
                profiles.join(" and ")
            ));
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
        if let Some(other) = &offer.other_driver {
            let _ = writeln!(text, "#   (with some drivers it is {other})");
        }
    }
}

/// What goes by one type on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Offer {
    count: u64,
    board: String,
    profiles: Vec<InstanceProfile>,
    /// The type that other drivers' memory would make of it.
    other_driver: Option<String>,
}

/// What a node offers, by type.
fn offers(view: &PlanView<'_>, node: &NodeGpus<'_>) -> Result<BTreeMap<String, Offer>> {
    let mut offers: BTreeMap<String, Offer> = BTreeMap::new();
    for gpu in &node.gpus {
        let board = board_of(view.catalogue, &gpu.board)?;
        let mut add = |gres: String, profile: &InstanceProfile, other_driver: Option<String>| {
            let offer = offers.entry(gres).or_insert_with(|| Offer {
                count: 0,
                board: board.id.clone(),
                profiles: Vec::new(),
                other_driver,
            });
            offer.count += 1;
            if !offer.profiles.contains(profile) {
                offer.profiles.push(profile.clone());
                offer.profiles.sort();
            }
        };
        if !gpu.mig {
            add(device_type(board), &InstanceProfile::Full, None);
            continue;
        }
        for instance in &gpu.instances {
            let InstanceProfile::Mig(name) = &instance.profile else { continue };
            let of = |mib: u64| mig_type(board, name.gpu_slices, mib);
            let gres = of(instance.memory_mib);
            let other = board
                .profile(name)
                .and_then(|(_, p)| p.memory_seen.iter().map(|m| of(m.0)).find(|t| *t != gres));
            add(gres, &instance.profile, other);
        }
    }
    Ok(offers)
}

/// The device's name as Slurm spells it, without the maker's; `None` where it is not known.
fn device_name(board: &Board) -> Option<String> {
    let name = board.products.first()?.to_lowercase().replace(' ', "_");
    Some(name.strip_prefix("nvidia_").unwrap_or(&name).to_string())
}

/// The type of a whole GPU.
fn device_type(board: &Board) -> String {
    // A node may have several such boards.
    device_name(board).unwrap_or_else(|| format!("{FILL_IN}-{}", board.id))
}

/// The type of an instance.
fn mig_type(board: &Board, slices: u32, memory_mib: u64) -> String {
    let profile = format!("{slices}g.{}gb", (memory_mib + 512) / 1024);
    match device_name(board) {
        // Part of the name that Slurm derives, whatever the device is called.
        None => profile,
        Some(device) => {
            let device = device.split('-').next().unwrap_or(&device);
            format!("{device}_{profile}")
        }
    }
}

fn is_node_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// Names as Slurm's host list: `gpu[01-04,07],login`. The names are ordered.
fn host_list(names: &[&str]) -> String {
    // Prefix and width of the number → the numbers.
    let mut numbered: BTreeMap<(&str, usize), Vec<u64>> = BTreeMap::new();
    let mut plain: Vec<&str> = Vec::new();
    for &name in names {
        let digits = name.bytes().rev().take_while(u8::is_ascii_digit).count();
        let (prefix, number) = name.split_at(name.len() - digits);
        match number.parse() {
            Ok(n) if !prefix.is_empty() && digits <= 9 => {
                numbered.entry((prefix, digits)).or_default().push(n);
            }
            _ => plain.push(name),
        }
    }
    let mut parts: Vec<String> = Vec::new();
    for ((prefix, width), mut numbers) in numbered {
        numbers.sort_unstable();
        numbers.dedup();
        let ranges: Vec<(u64, u64)> = numbers.iter().fold(Vec::new(), |mut ranges, &n| {
            match ranges.last_mut() {
                Some((_, end)) if *end + 1 == n => *end = n,
                _ => ranges.push((n, n)),
            }
            ranges
        });
        parts.push(match ranges[..] {
            [(only, end)] if only == end => format!("{prefix}{only:0width$}"),
            _ => {
                let ranges: Vec<String> = ranges
                    .iter()
                    .map(|(a, b)| {
                        if a == b {
                            format!("{a:0width$}")
                        } else {
                            format!("{a:0width$}-{b:0width$}")
                        }
                    })
                    .collect();
                format!("{prefix}[{}]", ranges.join(","))
            }
        });
    }
    parts.extend(plain.iter().map(|name| (*name).to_string()));
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_lists_are_short() {
        assert_eq!(host_list(&["gpu01", "gpu02", "gpu03", "gpu07"]), "gpu[01-03,07]");
        assert_eq!(host_list(&["gpu9", "gpu10", "gpu11"]), "gpu9,gpu[10-11]");
        assert_eq!(host_list(&["a-1", "login"]), "a-1,login");
        assert_eq!(host_list(&["7"]), "7");
    }

    #[test]
    fn types_are_what_slurmd_logs() {
        let catalogue = crate::hardware::Catalogue::built_in();
        let of = |board: &str, slices, mib| mig_type(catalogue.by_id(board).unwrap(), slices, mib);
        // Seen on real clusters: nvidia_a100_3g.39gb, and 1g.16gb and 1g.33gb on an H200.
        assert_eq!(of("a100-sxm4-80gb", 3, 40_192), "a100_3g.39gb");
        assert_eq!(of("a100-sxm4-80gb", 1, 9_728), "a100_1g.10gb");
        assert_eq!(of("h200-sxm-141gb", 1, 16_384), "h200_1g.16gb");
        assert_eq!(of("h200-sxm-141gb", 1, 33_280), "h200_1g.33gb");
        let whole = |board: &str| device_type(catalogue.by_id(board).unwrap());
        assert_eq!(whole("a100-sxm4-80gb"), "a100-sxm4-80gb");
        assert_eq!(whole("h100-sxm5-80gb"), "h100_80gb_hbm3");
        // What this board is called is not known.
        assert_eq!(of("h100-sxm5-94gb", 1, 11_264), "1g.11gb");
        assert_eq!(whole("h100-sxm5-94gb"), "FILL-IN-h100-sxm5-94gb");
    }
}
