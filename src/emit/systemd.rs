//! `migplan emit systemd`: a unit that creates a node's instances again at boot, since MIG mode is
//! lost in a reboot on Hopper and later, and instances are lost on every board.

use super::nodes::pick_node;
use super::output::Emitted;
use super::plan_view::PlanView;
use super::{mig_parted, template, yaml};
use crate::error::{Error, Result};

/// What carries the plan out at boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum With {
    /// `migplan apply`.
    Migplan,
    /// `nvidia-mig-parted apply`.
    #[cfg_attr(feature = "cli", value(name = "nvidia-mig-parted"))]
    MigParted,
}

/// Which files the unit names.
#[derive(Debug, Clone)]
pub struct SystemdOptions {
    /// What carries the plan out.
    pub with: With,
    /// The program; its usual place where none is named.
    pub binary: Option<String>,
    /// The mig-parted YAML on the node.
    pub config: String,
    /// The label of the plan's configuration, as [`mig_parted::MigPartedOptions::name`].
    pub name: String,
    /// The node that the unit is for.
    pub node: Option<String>,
}

/// Writes the unit.
///
/// # Errors
/// A node that the plan lacks, or none where nodes differ (exit 2); a path that a unit cannot
/// carry (exit 2).
pub fn write(view: &PlanView<'_>, options: &SystemdOptions) -> Result<Emitted> {
    let labels = mig_parted::labels(view, &options.name)?;
    let all_alike = labels.windows(2).all(|pair| pair[0].1 == pair[1].1);
    let label = match (&options.node, labels.first()) {
        (None, Some((_, only))) if all_alike => only.as_str(),
        (name, _) => {
            let node = pick_node(&view.nodes, name.as_deref())?;
            let own = labels.iter().find(|(name, _)| name == node.name);
            own.map_or("", |(_, label)| label.as_str())
        }
    };
    let (program, binary) = match options.with {
        With::Migplan => ("migplan", INSTALLED),
        With::MigParted => ("nvidia-mig-parted", "/usr/bin/nvidia-mig-parted"),
    };
    let binary = program_word(options.binary.as_deref().unwrap_or(binary))?;
    let config = argument_word(&options.config)?;
    let command = match options.with {
        With::Migplan => format!("{binary} apply -f {config} -c {label} --yes"),
        With::MigParted => {
            format!("{binary} apply -f {config} -k /etc/nvidia-mig-manager/hooks.yaml -c {label}")
        }
    };
    let needs_reset = view
        .nodes
        .iter()
        .filter(|n| options.node.as_deref().is_none_or(|name| **n.name == *name))
        .flat_map(|n| &n.gpus)
        .filter_map(|gpu| view.catalogue.by_id(&gpu.board))
        .any(|board| board.mode_change_needs_reset);
    let reset = if options.with == With::Migplan && needs_reset { RESET } else { "" };
    // The hooks of nvidia-mig-parted stop and start whatever a site has: their rights are not ours to
    // choose.
    let confinement = if options.with == With::Migplan { CONFINEMENT } else { "" };
    let file = yaml::comment(&options.config);
    let environment = quoted(&format!("MIG_PARTED_CONFIG_FILE={}", options.config), &['%']);
    let node = yaml::comment(options.node.as_deref().unwrap_or("every node of the plan"));
    let values = [
        ("NODE", node.as_str()),
        ("LABEL", label),
        ("FILE", &file),
        ("ENVIRONMENT", &environment),
        ("RESET", reset),
        ("PROGRAM", program),
        ("ORDER", ORDER),
        ("COMMAND", &command),
        ("CONFINEMENT", confinement),
    ];
    Ok(template::fill(include_str!("snippets/migplan.service"), &values).into())
}

/// The least rights with which `migplan apply` works; the Debian package's unit has the same.
pub const CONFINEMENT: &str = include_str!("snippets/confinement.service");

/// What a unit that creates instances at boot comes after and before: the driver's services, and who
/// would hold the GPUs.
pub(super) const ORDER: &str = include_str!("snippets/order.service");

/// What to know of boards whose mode changes only in a reset.
const RESET: &str = "\
# On these boards a change of MIG mode needs a GPU reset: add --reset where nothing else may hold
# the GPUs at boot, with --stop nvidia-persistenced where that service runs, since it holds them, and
# ProtectKernelTunables=no, so that nvidia-smi may write to /sys. The mode survives reboots, so the
# first time is the only one.
";

/// Where the Debian package and the image have the program.
pub const INSTALLED: &str = "/usr/bin/migplan";

/// The path of a program as the first word of a command line, in which systemd replaces no variables.
fn program_word(path: &str) -> Result<String> {
    if path.contains(['"', '\'', '\\']) {
        return Err(Error::usage(format!("systemd runs no program with the path '{path}'"))
            .hint("give it a path without quotes and backslashes"));
    }
    word(path, &['%'])
}

/// A path as one of the words that follow.
fn argument_word(path: &str) -> Result<String> {
    word(path, &['%', '$'])
}

/// A path as one word, with the characters `doubled` that systemd would replace there.
fn word(path: &str, doubled: &[char]) -> Result<String> {
    let sound = path.starts_with('/') && !path.chars().any(char::is_control);
    if !sound {
        return Err(Error::usage(format!("'{path}' is not an absolute path"))
            .hint("a unit needs full paths, such as /etc/migplan/config.yaml"));
    }
    let plain = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-+@:,=".contains(&b));
    Ok(if plain { path.to_string() } else { quoted(path, doubled) })
}

/// A text in double quotes.
fn quoted(text: &str, doubled: &[char]) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        } else if doubled.contains(&c) {
            quoted.push(c);
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}
