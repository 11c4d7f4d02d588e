//! `migplan emit jupyterhub`: the instances as a menu for users of Zero to JupyterHub: Helm values
//! with KubeSpawner's `profileList`.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::{Emitted, Request, View, pod, yaml};
use crate::error::{Diagnostic, Result};
use crate::plan::InstanceProfile;
use crate::text::plural;
use crate::units::Mebibytes;

/// One line of the menu.
struct Choice<'p> {
    request: Request<'p>,
    instances: u64,
    teams: BTreeSet<&'p str>,
}

/// Writes the menu: one entry for each kind of instance of the plan, the smallest first and the
/// default. `named_teams` is whether the view keeps only some teams; the menu then has only what
/// these have.
///
/// # Errors
/// A plan that the strategy does not advertise (exit 3).
pub fn write(view: &View<'_>, named_teams: bool) -> Result<Emitted> {
    view.require_advertised()?;
    let mut choices: Vec<Choice<'_>> = Vec::new();
    let kept: BTreeSet<&str> = view.seats.iter().map(|s| s.team).collect();
    for gpu in view.nodes.iter().flat_map(|node| &node.gpus) {
        for instance in &gpu.instances {
            let team = instance.assignment.as_ref().map(|o| o.team.as_ref());
            if named_teams && !team.is_some_and(|t| kept.contains(t)) {
                continue;
            }
            let at = choices.iter().position(|c| *c.request.profile == instance.profile);
            let choice = match at {
                Some(at) => &mut choices[at],
                None => {
                    choices.push(Choice {
                        request: Request {
                            profile: &instance.profile,
                            per_replica: 1,
                            replicas: 0,
                            boards: BTreeSet::new(),
                            memory: Mebibytes(instance.memory_mib),
                        },
                        instances: 0,
                        teams: BTreeSet::new(),
                    });
                    let last = choices.len() - 1;
                    &mut choices[last]
                }
            };
            choice.instances += 1;
            choice.teams.extend(team);
            choice.request.boards.insert(&gpu.board);
            choice.request.memory = choice.request.memory.min(Mebibytes(instance.memory_mib));
        }
    }
    choices.sort_by(|a, b| {
        (a.request.memory, a.request.profile).cmp(&(b.request.memory, b.request.profile))
    });
    let mut text = String::from(
        "# helm upgrade jupyterhub jupyterhub/jupyterhub --reuse-values -f THIS-FILE\n\
         singleuser:\n  profileList:",
    );
    text.push_str(if choices.is_empty() { " []\n" } else { "\n" });
    let mut warnings = Vec::new();
    for (i, Choice { request, instances, teams }) in choices.iter().enumerate() {
        let (title, slug) = match request.profile {
            InstanceProfile::Mig(name) => (
                format!("GPU slice {name}, {}", request.memory.human()),
                name.label().replace('.', "-"),
            ),
            InstanceProfile::Full => {
                (format!("Whole GPU, {}", request.memory.human()), "whole-gpu".to_string())
            }
        };
        let planned = match teams.len() {
            0 => "for everybody".to_string(),
            1..=4 => {
                format!("planned for {}", teams.iter().copied().collect::<Vec<_>>().join(", "))
            }
            n => format!("planned for {n} teams"),
        };
        let _ = write!(
            text,
            "    - display_name: {}\n      slug: {}\n      description: {}\n",
            yaml::quoted(&title),
            yaml::quoted(&slug),
            yaml::quoted(&format!("{} in all, {planned}", plural(*instances, "instance"))),
        );
        if i == 0 {
            text.push_str("      default: true\n");
        }
        let _ = write!(
            text,
            "      kubespawner_override:\n        extra_resource_limits:\n          {}: \"1\"\n",
            view.resource(request)
        );
        if let Some(products) = view.products(request) {
            text.push_str("        node_affinity_required:\n");
            pod::write_term(&mut text, "          ", &products);
            if products.is_empty() {
                warnings.push(Diagnostic::new(format!(
                    "'{title}': feature discovery's product name of its board is not known: fill it in"
                )));
            }
        }
    }
    Ok(Emitted { text, warnings })
}
