//! `migplan emit airflow`: a Python module with one KubernetesPodOperator for each workload, which
//! asks for the instance that the plan has for it.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::output::Emitted;
use super::plan_view::{PlanView, Products};
use super::pod::{self, PodOptions, Template};
use super::yaml;
use crate::error::Result;
use crate::kubernetes::{GPU_TAINT, PRODUCT_LABEL};

/// Writes the module.
///
/// # Errors
/// A plan that the strategy does not advertise (exit 3); a bad namespace (exit 2).
pub fn write(view: &PlanView<'_>, options: &PodOptions) -> Result<Emitted> {
    view.require_advertised()?;
    let templates = pod::templates(view, options.namespace.as_deref())?;
    let mut text = String::from(include_str!("snippets/airflow.py"));
    let functions = function_names(&templates);
    for (template, function) in templates.iter().zip(functions) {
        let Template { workload, request, name, namespace } = template;
        let mut arguments = vec![
            ("task_id", python(&function)),
            ("name", python(name)),
            ("namespace", python(namespace)),
            ("image", python(&options.image)),
            ("cmds", "[\"nvidia-smi\", \"-L\"]".to_string()),
            ("max_active_tis_per_dag", request.replicas.to_string()),
            (
                "container_resources",
                format!(
                    "{CLIENT}.V1ResourceRequirements(limits={{{}: \"{}\"}})",
                    python(&view.resource(request)),
                    request.per_replica
                ),
            ),
        ];
        arguments.push((
            "tolerations",
            format!(
                "[{CLIENT}.V1Toleration(key={}, operator=\"Exists\", effect=\"NoSchedule\")]",
                python(GPU_TAINT)
            ),
        ));
        if let Some(products) = view.products(request) {
            arguments.push(("affinity", affinity(&products)));
        }
        let _ = write!(
            text,
            "\n\ndef {function}(**overrides):\n    # {}\n    return KubernetesPodOperator(**{{\n",
            yaml::comment(&pod::headline(workload, request))
        );
        for (key, value) in arguments {
            let _ = writeln!(text, "        \"{key}\": {value},");
        }
        text.push_str("        **overrides,\n    })\n");
    }
    let mut warnings = pod::warnings(view);
    if options.namespace.is_none() {
        warnings.extend(view.renamed_teams());
    }
    Ok(Emitted { text, warnings, ..Emitted::default() })
}

/// A Python name for each template, distinct: `nlp_train`.
fn function_names(templates: &[Template<'_, '_>]) -> Vec<String> {
    let mut used: BTreeMap<String, u64> = BTreeMap::new();
    templates
        .iter()
        .map(|template| {
            // Pod names are distinct and have only [a-z0-9-], so this keeps them distinct. A
            // function cannot be called by a keyword or begin with a digit, and one that is called
            // as an import of the module would replace it.
            let plain = template.name.replace('-', "_");
            let taken = KEYWORDS.contains(&plain.as_str()) || plain == CLIENT;
            let digit = plain.starts_with(|c: char| c.is_ascii_digit());
            let mut name = if taken || digit { format!("gpu_{plain}") } else { plain };
            let times = used.entry(name.clone()).or_default();
            *times += 1;
            if *times > 1 {
                let _ = write!(name, "__{times}");
            }
            name
        })
        .collect()
}

/// Lower-case words that Python keeps for itself.
const KEYWORDS: [&str; 32] = [
    "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif",
    "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda",
    "nonlocal", "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
];

/// What the module imports the client's models as; its other import has capitals, and functions have
/// none.
const CLIENT: &str = "k8s";

/// A text as a Python string.
fn python(text: &str) -> String {
    // YAML's double-quoted escapes (\" \\ \n \t \uXXXX) are Python's as well.
    yaml::quoted(text)
}

fn affinity(products: &Products<'_>) -> String {
    let values: Vec<String> = products.values().into_iter().map(python).collect();
    format!(
        "{CLIENT}.V1Affinity(node_affinity={CLIENT}.V1NodeAffinity(\n            required_during_scheduling_ignored_during_execution={CLIENT}.V1NodeSelector(node_selector_terms=[\n                {CLIENT}.V1NodeSelectorTerm(match_expressions=[{CLIENT}.V1NodeSelectorRequirement(\n                    key=\"{}\", operator=\"In\", values=[{}])])])))",
        PRODUCT_LABEL,
        values.join(", ")
    )
}
