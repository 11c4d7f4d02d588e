//! What carries a schedule out: the same changes of MIG configuration week after week, as
//! Kubernetes CronJobs that label the nodes, or as systemd timers that run `migplan apply`.
//!
//! Works from labels and hours alone; what the configurations are and why is not its business.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

use super::configmap::DEFAULT_NAMESPACE;
use super::output::Emitted;
use super::systemd::CONFINEMENT;
use super::{nodes, template, yaml};
use crate::error::Result;
use crate::kubernetes::{MIG_CONFIG_LABEL, naming};
use crate::text::letter;

/// The image whose kubectl labels the nodes; any version within one minor release of the cluster's
/// API server will do.
const KUBECTL_IMAGE: &str = "registry.k8s.io/kubectl:v1.34.1";

/// Every week at this hour another configuration is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeeklyChange {
    /// The hour of the week; 0 is Monday 00:00.
    pub hour: usize,
    /// The configuration from then on, by index.
    pub to: usize,
}

/// The changes of a week and the labels of the configurations.
#[derive(Debug, Clone, Copy)]
pub struct Weekly<'w> {
    /// The changes.
    pub changes: &'w [WeeklyChange],
    /// The zone of their hours, an IANA name.
    pub timezone: &'w str,
    /// For each configuration every node with its label.
    pub labels: &'w [Vec<(Arc<str>, String)>],
    /// What objects are called.
    pub name: &'w str,
}

/// A file with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFile {
    /// Its name, without a folder.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// Days of a week on which a configuration becomes active at one hour of the day.
type Times = BTreeMap<(usize, usize), BTreeSet<usize>>;

/// Whole days as cron counts them, where Sunday is 0.
fn cron_days(days: &BTreeSet<usize>) -> String {
    if days.len() == 7 {
        return "*".to_string();
    }
    let numbers: Vec<usize> = days.iter().map(|d| (d + 1) % 7).collect();
    let is_run = numbers.windows(2).all(|w| w[0] + 1 == w[1]);
    match numbers[..] {
        [first, .., last] if is_run && numbers.len() > 2 => format!("{first}-{last}"),
        _ => numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
    }
}

/// The same as systemd writes them.
fn calendar_days(days: &BTreeSet<usize>) -> String {
    let names: Vec<&str> =
        days.iter().filter_map(|d| crate::demand::hours::DAYS.get(*d).copied()).collect();
    names.join(",")
}

impl Weekly<'_> {
    fn times(&self) -> Times {
        let mut times = Times::new();
        for change in self.changes {
            times.entry((change.to, change.hour % 24)).or_default().insert(change.hour / 24 % 7);
        }
        times
    }

    /// For one configuration the nodes of each label.
    fn nodes_by_label(&self, configuration: usize) -> BTreeMap<&str, Vec<&str>> {
        let mut nodes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (node, label) in self.labels.get(configuration).map_or(&[][..], Vec::as_slice) {
            nodes.entry(label).or_default().push(node);
        }
        nodes
    }
}

/// Writes a CronJob for each hour of the day at which a configuration becomes active, and the
/// rights that it needs: to read and label these nodes and nothing else.
///
/// # Errors
/// Names that Kubernetes does not accept (exit 2).
pub fn cron_jobs(weekly: &Weekly<'_>) -> Result<Emitted> {
    if weekly.changes.is_empty() {
        // No job, so no rights either.
        let text = "# One MIG configuration for all hours: no change to carry out.\n";
        return Ok(text.to_string().into());
    }
    // A Job's name is the CronJob's with eleven more characters, and a label's value.
    let name = naming::dns_label(weekly.name, 40, "migplan");
    let account = format!("{name}-schedule");
    naming::check_object_name(&account)?;
    let nodes: BTreeSet<&str> = weekly.labels.iter().flatten().map(|(node, _)| &**node).collect();
    let warnings = nodes::unnamed(nodes.iter().copied(), "kubectl", "the file");
    let nodes: Vec<String> = nodes.into_iter().map(yaml::quoted).collect();
    let mut text = template::fill(
        include_str!("snippets/weekly-rights.yaml"),
        &[
            ("ACCOUNT", &account),
            ("NAMESPACE", DEFAULT_NAMESPACE),
            ("NODES", &nodes.join(", ")),
            ("ZONE", &yaml::comment(weekly.timezone)),
        ],
    );
    for ((configuration, hour), days) in weekly.times() {
        let mut containers = String::new();
        for (at, (label, nodes)) in weekly.nodes_by_label(configuration).into_iter().enumerate() {
            let mut words = vec!["label".to_string(), "nodes".to_string()];
            words.extend(nodes.into_iter().map(yaml::quoted));
            words.push("--overwrite".to_string());
            words.push(yaml::quoted(&format!("{MIG_CONFIG_LABEL}={label}")));
            let _ = write!(
                containers,
                "{}",
                template::fill(
                    include_str!("snippets/weekly-container.yaml"),
                    &[
                        ("AT", &(at + 1).to_string()),
                        ("IMAGE", KUBECTL_IMAGE),
                        ("WORDS", &words.join(", ")),
                    ],
                )
            );
        }
        let letter = letter(configuration);
        text += &template::fill(
            include_str!("snippets/weekly-cronjob.yaml"),
            &[
                ("NAME", &format!("{name}-{letter}-{hour:02}")),
                ("ACCOUNT", &account),
                ("NAMESPACE", DEFAULT_NAMESPACE),
                ("SCHEDULE", &format!("0 {hour} * * {}", cron_days(&days))),
                ("ZONE", &yaml::quoted(weekly.timezone)),
                ("CONTAINERS", containers.trim_end()),
            ],
        );
    }
    Ok(Emitted { text, warnings: warnings.into_iter().collect(), ..Emitted::default() })
}

/// Writes a service and a timer for each label: the service applies the label's configuration, the
/// timer starts it at the hours at which that becomes active.
pub fn timers(weekly: &Weekly<'_>) -> Vec<NamedFile> {
    let mut hours: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for ((configuration, hour), days) in weekly.times() {
        let line = format!(
            "OnCalendar={} *-*-* {hour:02}:00:00 {}\n",
            calendar_days(&days),
            weekly.timezone
        );
        hours.entry(configuration).or_default().push(line);
    }
    let mut files = Vec::new();
    for (configuration, lines) in hours {
        for (label, nodes) in weekly.nodes_by_label(configuration) {
            let nodes = yaml::comment(&nodes.join(" "));
            let calendar = lines.concat();
            let values = [
                ("LABEL", label),
                ("NODES", &nodes),
                ("CALENDAR", &calendar),
                ("CONFINEMENT", CONFINEMENT.trim_end()),
            ];
            for (ending, text) in [
                ("service", include_str!("snippets/weekly.service")),
                ("timer", include_str!("snippets/weekly.timer")),
            ] {
                let name = format!("{label}.{ending}");
                files.push(NamedFile { name, text: template::fill(text, &values) });
            }
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_of_cron_and_of_systemd() {
        let of = |days: &[usize]| days.iter().copied().collect::<BTreeSet<_>>();
        assert_eq!(cron_days(&of(&[0, 1, 2, 3, 4])), "1-5");
        assert_eq!(cron_days(&of(&[5, 6])), "6,0");
        assert_eq!(cron_days(&of(&[0, 2])), "1,3");
        assert_eq!(cron_days(&of(&[0, 1, 2, 3, 4, 5, 6])), "*");
        assert_eq!(calendar_days(&of(&[0, 6])), "Mon,Sun");
    }
}
