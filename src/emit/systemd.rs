//! `migplan emit systemd`: a unit that gives a node its cut again at boot, since MIG mode is gone
//! after a reboot on Hopper and later, and instances are gone on every board.

use std::fmt::Write;

use super::mig_parted::{self, Extra};
use super::{Emitted, View, pick_node, yaml};
use crate::error::{Error, Result};

/// What carries the plan out at boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum With {
    /// `migplan apply`.
    Migplan,
    /// `nvidia-mig-parted apply`.
    MigParted,
}

/// Which files the unit names.
#[derive(Debug, Clone)]
pub struct Options {
    /// What carries the plan out.
    pub with: With,
    /// The program; its usual place where none is named.
    pub binary: Option<String>,
    /// The mig-parted YAML on the node.
    pub config: String,
    /// The label of the plan's config, as [`mig_parted::Options::name`].
    pub name: String,
    /// The node that the unit is for.
    pub node: Option<String>,
}

/// Writes the unit.
///
/// # Errors
/// A node that the plan lacks, or none where nodes differ (exit 2); a path that a unit cannot
/// carry (exit 2).
pub fn write(view: &View<'_>, options: &Options) -> Result<Emitted> {
    let file =
        mig_parted::write_with(&view.nodes, view.catalogue, &options.name, Extra::Nothing, &[])?;
    let mut labels: Vec<&str> = file.assignments.iter().map(|(_, l)| l.as_str()).collect();
    labels.sort_unstable();
    labels.dedup();
    let label = match (&options.node, &labels[..]) {
        (None, [only]) => *only,
        (name, _) => {
            let node = pick_node(&view.nodes, name.as_deref())?;
            file.assignments
                .iter()
                .find(|(name, _)| name == node.name)
                .map_or("", |(_, label)| label.as_str())
        }
    };
    let (program, binary) = match options.with {
        With::Migplan => ("migplan", "/usr/local/bin/migplan"),
        With::MigParted => ("nvidia-mig-parted", "/usr/bin/nvidia-mig-parted"),
    };
    let binary = word(options.binary.as_deref().unwrap_or(binary))?;
    let config = word(&options.config)?;
    let command = match options.with {
        With::Migplan => format!("{binary} apply -f {config} -c {label} --yes"),
        With::MigParted => {
            format!("{binary} apply -f {config} -k /etc/nvidia-mig-manager/hooks.yaml -c {label}")
        }
    };
    let mut text = format!(
        "# /etc/systemd/system/migplan.service: `systemctl enable --now migplan.service`\n\
         # Node: {}; config '{label}' of {}\n\
         #\n\
         # nvidia-mig-manager.service, where installed, applies a config of its own at boot: disable it\n\
         # (systemctl disable nvidia-mig-manager.service), or let it apply this one instead of this unit.\n\
         # It writes /etc/nvidia-mig-manager/config.yaml anew at every boot, so the file needs another\n\
         # name; in /etc/systemd/system/nvidia-mig-manager.service.d/override.conf:\n\
         #   [Service]\n\
         #   Environment=\"MIG_PARTED_CONFIG_FILE={}\"\n\
         #   Environment=\"MIG_PARTED_SELECTED_CONFIG={label}\"\n",
        yaml::comment(options.node.as_deref().unwrap_or("every node of the plan")),
        yaml::comment(&options.config),
        yaml::comment(&options.config),
    );
    let needs_reset = view
        .nodes
        .iter()
        .filter(|n| options.node.as_deref().is_none_or(|name| **n.name == *name))
        .flat_map(|n| &n.gpus)
        .filter_map(|gpu| view.catalogue.by_id(&gpu.board))
        .any(|board| board.mode_change_needs_reset);
    if options.with == With::Migplan && needs_reset {
        text.push_str(
            "# On these boards a change of MIG mode needs a GPU reset: add --reset where nothing else may hold\n\
             # the GPUs at boot. The mode survives reboots, so the first time is the only one.\n",
        );
    }
    let _ = write!(
        text,
        "\n[Unit]\n\
         Description=Cut this node's GPUs into MIG instances ({program})\n\
         Documentation=https://docs.nvidia.com/datacenter/tesla/mig-user-guide/\n\
         After=nvidia-persistenced.service nvidia-fabricmanager.service\n\
         Before=kubelet.service k3s.service k3s-agent.service slurmd.service docker.service containerd.service nvidia-dcgm.service dcgm.service nvsm.service\n\
         \n[Service]\n\
         Type=oneshot\n\
         RemainAfterExit=yes\n\
         ExecStart={command}\n\
         TimeoutStartSec=480\n\
         \n[Install]\n\
         WantedBy=multi-user.target\n"
    );
    Ok(text.into())
}

/// A path as one word of a unit's command line.
fn word(path: &str) -> Result<String> {
    let sound = path.starts_with('/') && !path.chars().any(char::is_control);
    if !sound {
        return Err(Error::usage(format!("'{path}' is no absolute path"))
            .hint("a unit needs full paths, such as /etc/migplan/config.yaml"));
    }
    let plain = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-+@:,=".contains(&b));
    if plain {
        return Ok(path.to_string());
    }
    let mut quoted = String::from("\"");
    for c in path.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            // systemd expands both.
            '%' | '$' => quoted.extend([c, c]),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    Ok(quoted)
}
