//! `migplan emit jupyterhub`: the instances as a menu for users of Zero to JupyterHub: Helm values
//! with KubeSpawner's `profileList`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::held::Request;
use super::output::Emitted;
use super::plan_view::PlanView;
use super::{html, pod, yaml};
use crate::error::{Diagnostic, Result};
use crate::plan::InstanceProfile;
use crate::text::{plural, thousands};
use crate::units::Mebibytes;

/// One line of the menu.
struct Choice<'p> {
    request: Request<'p>,
    /// Its instances for users of the menu.
    instances: u64,
    /// Its instances in the whole plan.
    of: u64,
    teams: BTreeSet<&'p str>,
}

/// Writes the menu: one entry for each kind of instance of the plan, the smallest first and the
/// default. `named_teams` is whether the view keeps only some teams; the menu then has only what
/// these have in any hour, as many as in the hour with the most.
///
/// # Errors
/// A plan that the strategy does not advertise (exit 3).
pub fn write(view: &PlanView<'_>, named_teams: bool) -> Result<Emitted> {
    view.require_advertised()?;
    let choices = choices(view, named_teams);
    let mut text = String::from(
        "# helm upgrade jupyterhub jupyterhub/jupyterhub --reuse-values -f THIS-FILE\n\
         # An entry's tolerations replace the chart's own, so these are listed as well.\n\
         singleuser:\n  profileList:",
    );
    text.push_str(if choices.is_empty() { " []\n" } else { "\n" });
    let mut warnings = Vec::new();
    for (i, choice) in choices.iter().enumerate() {
        write_choice(&mut text, view, choice, i == 0, &mut warnings);
    }
    Ok(Emitted { text, warnings, ..Emitted::default() })
}

/// The kinds of instance to choose from, the smallest first.
fn choices<'p>(view: &PlanView<'p>, named_teams: bool) -> Vec<Choice<'p>> {
    let mut choices: BTreeMap<&InstanceProfile, Choice<'p>> = BTreeMap::new();
    let kept: BTreeSet<&str> = view.workloads.iter().map(|w| w.team).collect();
    let is_kept = |team: &str| !named_teams || kept.contains(team);
    // Which kinds, on which boards, users of the menu have in some hour.
    let mut own: BTreeSet<(&InstanceProfile, &str)> = BTreeSet::new();
    for row in view.held.rows().filter(|row| is_kept(row.team)) {
        own.extend(row.boards.keys().map(|board| (row.profile, *board)));
    }
    for gpu in view.nodes.iter().flat_map(|node| &node.gpus) {
        for instance in &gpu.instances {
            let memory = Mebibytes(instance.memory_mib);
            let choice = choices.entry(&instance.profile).or_insert_with(|| Choice {
                request: Request {
                    profile: &instance.profile,
                    per_replica: 1,
                    replicas: 0,
                    boards: BTreeSet::new(),
                    memory: Mebibytes(u64::MAX),
                    demand: Mebibytes(0),
                },
                instances: 0,
                of: 0,
                teams: BTreeSet::new(),
            });
            choice.of += 1;
            if !named_teams || own.contains(&(&instance.profile, &*gpu.board)) {
                choice.request.memory = choice.request.memory.min(memory);
                choice.request.boards.insert(&gpu.board);
            }
        }
    }
    let at_once = view.held.at_once(|row, _| is_kept(row.team).then_some(row.profile));
    for row in view.held.rows().filter(|row| is_kept(row.team)) {
        if let Some(choice) = choices.get_mut(row.profile) {
            choice.teams.insert(row.team);
        }
    }
    for (profile, choice) in &mut choices {
        let held = at_once.get(profile).map_or(0, |held| held.most);
        choice.instances = if named_teams { held.min(choice.of) } else { choice.of };
    }
    let mut choices: Vec<Choice<'_>> =
        choices.into_values().filter(|choice| choice.instances > 0).collect();
    choices.sort_by(|a, b| {
        (a.request.memory, a.request.profile).cmp(&(b.request.memory, b.request.profile))
    });
    choices
}

fn write_choice(
    text: &mut String,
    view: &PlanView<'_>,
    Choice { request, instances, of, teams }: &Choice<'_>,
    default: bool,
    warnings: &mut Vec<Diagnostic>,
) {
    let (title, slug) = match request.profile {
        InstanceProfile::Mig(name) => {
            (format!("MIG {name}, {}", request.memory.human()), name.label().replace('.', "-"))
        }
        InstanceProfile::Full => {
            (format!("Whole GPU, {}", request.memory.human()), "whole-gpu".to_string())
        }
    };
    let planned = match teams.len() {
        0 => "for everybody".to_string(),
        1..=4 => format!("planned for {}", teams.iter().copied().collect::<Vec<_>>().join(", ")),
        n => format!("planned for {n} teams"),
    };
    let planned = match instances == of {
        true => format!("{} in all, {planned}", plural(*of, "instance")),
        // Others have them at other hours.
        false if view.hours.is_some() => {
            format!("up to {} of {}, {planned}", thousands(*instances), plural(*of, "instance"))
        }
        false => format!("{} of {}, {planned}", thousands(*instances), plural(*of, "instance")),
    };
    let _ = write!(
        text,
        "    - display_name: {}\n      slug: {}\n      description: {}\n",
        yaml::quoted(&title),
        yaml::quoted(&slug),
        // The hub's page has a description as it is (`templates/form.html` of KubeSpawner, which is
        // rendered without escaping).
        yaml::quoted(&html::escaped(planned.chars())),
    );
    if default {
        text.push_str("      default: true\n");
    }
    let _ = write!(
        text,
        "      kubespawner_override:\n        extra_resource_limits:\n          {}: \"1\"\n        tolerations:\n",
        view.resource(request)
    );
    for toleration in TOLERATIONS {
        let _ = writeln!(text, "          - {toleration}");
    }
    if let Some(products) = view.products(request) {
        text.push_str("        node_affinity_required:\n");
        pod::write_term(text, "          ", &products);
        warnings.extend(products.to_fill_in(&format!("'{title}'"), pod::PRODUCT_NAME));
    }
}

/// What a user's pod tolerates: tainted GPU nodes, and the two spellings of the taint of nodes for
/// users' pods that the chart tolerates itself (`scheduling.userPods.tolerations` of Zero to
/// JupyterHub).
const TOLERATIONS: [&str; 3] = [
    "{key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}",
    "{key: hub.jupyter.org/dedicated, operator: Equal, value: user, effect: NoSchedule}",
    "{key: hub.jupyter.org_dedicated, operator: Equal, value: user, effect: NoSchedule}",
];
