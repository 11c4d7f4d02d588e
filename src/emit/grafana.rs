//! `migplan emit grafana`: a dashboard (Grafana's JSON model, schema version 39) that sets demand
//! against supply by profile, and shows what waits, what is idle and what is near its ceiling.
//!
//! It reads dcgm-exporter's metrics through the rules of `emit prometheus-rules`, which also say
//! what the plan has; requests and allocatable of kube-state-metrics; and what
//! `migplan status --format prometheus` writes for node_exporter. It holds no number of the plan, so
//! it stays right when the rules are replaced by those of the next plan.

use super::output::Emitted;
use super::{mig_parted, template};
use crate::error::Result;
use crate::kubernetes::naming;

/// The longest identifier of a dashboard that Grafana accepts.
const LONGEST_UID: usize = 40;

/// Writes the dashboard; `name` is the label of the plan's configuration and ends up in the title.
///
/// # Errors
/// A name that is not a Kubernetes label value (exit 2).
pub fn write(name: &str) -> Result<Emitted> {
    mig_parted::check_name(name)?;
    let uid = match naming::dns_label(name, LONGEST_UID, "migplan") {
        uid if uid.starts_with("mig") => uid,
        uid => naming::dns_label(&format!("migplan-{uid}"), LONGEST_UID, "migplan"),
    };
    // A label value has no character that JSON escapes.
    let values = [("UID", uid.as_str()), ("TITLE", &format!("MIG instances ({name})"))];
    Ok(template::fill(include_str!("snippets/dashboard.json"), &values).into())
}
