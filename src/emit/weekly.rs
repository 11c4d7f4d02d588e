//! What carries a schedule out: the same changes of MIG configuration week after week, as
//! Kubernetes CronJobs that label the nodes, or as systemd timers that run `migplan apply`.
//!
//! Works from labels and hours alone; what the configurations are and why is not its business.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

use super::configmap::DEFAULT_NAMESPACE;
use super::output::Emitted;
use super::systemd::{CONFINEMENT, INSTALLED, ORDER};
use super::{nodes, template, yaml};
use crate::demand::hours::{DAYS, WEEK};
use crate::error::{Diagnostic, Error, Result};
use crate::kubernetes::{MIG_CONFIG_LABEL, naming};
use crate::plan::mode_resets::{self, NodeResets};
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

/// What applies a configuration on a node.
const APPLY: &str = "apply -f /etc/migplan/config.yaml";

/// The changes of a week and the labels of the configurations.
#[derive(Debug, Clone, Copy)]
pub struct Weekly<'w> {
    /// The changes.
    pub changes: &'w [WeeklyChange],
    /// The zone of their hours, an IANA name.
    pub timezone: &'w str,
    /// For each configuration every node with its label.
    pub labels: &'w [Vec<(Arc<str>, String)>],
    /// GPUs that must be reset at changes, since their MIG mode is another one then.
    pub resets: &'w [NodeResets],
    /// What objects are called.
    pub name: &'w str,
    /// Where migplan is on the nodes.
    pub binary: &'w str,
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
    let names: Vec<&str> = days.iter().filter_map(|d| DAYS.get(*d).copied()).collect();
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

    /// The nodes by their labels, one for each configuration.
    fn nodes_by_labels(&self) -> BTreeMap<Vec<&str>, Vec<&str>> {
        let mut labels: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (node, label) in self.labels.iter().flatten() {
            labels.entry(node).or_default().push(label);
        }
        let mut nodes: BTreeMap<Vec<&str>, Vec<&str>> = BTreeMap::new();
        for (node, labels) in labels {
            nodes.entry(labels).or_default().push(node);
        }
        nodes
    }

    /// The line of a service that applies the configuration which is active now; `labels` has a label
    /// for each.
    fn command(&self, labels: &[&str], flags: &str) -> String {
        let of = |configuration: usize| labels.get(configuration).copied().unwrap_or_default();
        let binary = self.binary;
        let mut changes = self.changes.to_vec();
        changes.sort_by_key(|change| change.hour % WEEK);
        // Before the first change of a week the last one's configuration is still active.
        let label = of(changes.last().map_or(0, |change| change.to));
        if changes.is_empty() {
            return format!("ExecStart={binary} {APPLY} -c {label} {flags}");
        }
        // `%u%H` is 100 on Monday from midnight on, 723 on Sunday from 23:00 on. systemd expands % and
        // $ itself unless they are doubled.
        let mut text = format!(
            "ExecStart=/bin/sh -c '\\\n  now=$$(TZ={} date +%%u%%H); \\\n  label={label}; \\\n",
            self.timezone
        );
        for WeeklyChange { hour, to } in changes {
            let (day, hour) = (hour / 24 % 7 + 1, hour % 24);
            let _ = writeln!(text, "  [ $$now -lt {day}{hour:02} ] || label={}; \\", of(to));
        }
        let _ = write!(text, "  exec {binary} {APPLY} -c $$label {flags}'");
        text
    }

    /// The lines of a timer, at all changes.
    fn calendar(&self) -> String {
        let mut days: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for change in self.changes {
            days.entry(change.hour % 24).or_default().insert(change.hour / 24 % 7);
        }
        let line = |(hour, days): (usize, BTreeSet<usize>)| {
            let days = calendar_days(&days);
            format!("OnCalendar={days} *-*-* {hour:02}:00:00 {}\n", self.timezone)
        };
        days.into_iter().map(line).collect()
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
    // A Job's name is the CronJob's with eleven more characters, and a label's value.
    let name = naming::dns_label(weekly.name, 40, "migplan");
    let earlier = template::fill(
        include_str!("snippets/weekly-earlier.yaml"),
        &[("NAME", &name), ("NAMESPACE", DEFAULT_NAMESPACE)],
    );
    if weekly.changes.is_empty() {
        // No job, so no rights either.
        let text = "# One MIG configuration for all hours: no change to carry out.\n";
        return Ok(format!("{text}{earlier}").into());
    }
    let account = format!("{name}-schedule");
    naming::check_object_name(&account)?;
    let nodes: BTreeSet<&str> = weekly.labels.iter().flatten().map(|(node, _)| &**node).collect();
    let warnings = nodes::unnamed(nodes.iter().copied(), "kubectl", "the file");
    let nodes: Vec<String> = nodes.into_iter().map(yaml::quoted).collect();
    let mut text = template::fill(
        include_str!("snippets/weekly-rights.yaml"),
        &[
            ("ACCOUNT", &account),
            ("EARLIER", &earlier),
            ("NAME", &name),
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
                ("OF", &name),
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

/// Checks that units can name this path of migplan, before any work is done for them.
///
/// # Errors
/// A path that is not absolute, or that a shell or systemd would read as something else (exit 2).
pub fn check_binary(path: &str) -> Result<()> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+@".contains(&b);
    if path.starts_with('/') && path.bytes().all(is_plain) {
        return Ok(());
    }
    Err(Error::usage(format!("'{path}' is no path for --binary")).hint(format!(
        "give the full path of migplan on the nodes, of letters, digits and '/._-+@', such as {INSTALLED}"
    )))
}

/// Writes, for the nodes that have the same labels, a service that applies the configuration which is
/// active now, a timer that starts it at every change, and a service that does the same at boot: a
/// reboot destroys all instances. Without a change that is all there is to do.
pub fn units(weekly: &Weekly<'_>) -> Vec<NamedFile> {
    let mut files = Vec::new();
    let groups = weekly.nodes_by_labels();
    for (at, (labels, nodes)) in groups.iter().enumerate() {
        let unit = match groups.len() {
            1 => unit_stem(weekly.name),
            _ => format!("{}-{}", unit_stem(weekly.name), at + 1),
        };
        let of_nodes: Vec<&NodeResets> =
            weekly.resets.iter().filter(|of| nodes.contains(&&*of.node)).collect();
        let reset = reset_comment(&of_nodes);
        let nodes = yaml::comment(&nodes.join(" "));
        let mut write = |ending: &str, text: &str, command: &str| {
            let values = [
                ("UNIT", unit.as_str()),
                ("NODES", &nodes),
                ("RESET", &reset),
                ("ORDER", ORDER),
                ("COMMAND", command),
                ("CALENDAR", &weekly.calendar()),
                ("CONFINEMENT", CONFINEMENT.trim_end()),
            ];
            let name = format!("{unit}{ending}");
            files.push(NamedFile { name, text: template::fill(text, &values) });
        };
        let boot = weekly.command(labels, "--yes");
        write("-boot.service", include_str!("snippets/weekly-boot.service"), &boot);
        if !weekly.changes.is_empty() {
            let change = weekly.command(labels, "--wait 30m --yes");
            write(".service", include_str!("snippets/weekly.service"), &change);
            write(".timer", include_str!("snippets/weekly.timer"), "");
        }
    }
    files
}

/// What to know of units whose GPUs must be reset, as comments. Whether they may be, only the site
/// knows: whatever else holds such a GPU must be gone, and the unit needs another right for it.
fn reset_comment(resets: &[&NodeResets]) -> String {
    if resets.is_empty() {
        return String::new();
    }
    format!(
        "#\n# Between these configurations MIG is turned on and off, each time in a reset of the GPU, on\n# {}.\n# Without --reset the command refuses that (exit 7). Where nothing else holds these GPUs then,\n# {WITH_RESET}.\n",
        yaml::comment(&mode_resets::in_words(resets.iter().copied()))
    )
}

/// How a unit gets to reset GPUs.
pub const WITH_RESET: &str = "add --reset to ExecStart, with --stop nvidia-persistenced where that service runs, and ProtectKernelTunables=no, so that nvidia-smi may write to /sys";

/// A warning on units that refuse changes, since these reset GPUs.
pub fn refused(weekly: &Weekly<'_>) -> Option<Diagnostic> {
    (!weekly.resets.is_empty()).then(|| {
        Diagnostic::new(format!(
            "as they are written, the units refuse the changes that turn MIG on or off on {} (exit 7), since each needs a reset of the GPU",
            mode_resets::in_words(weekly.resets)
        ))
    })
}

/// What the names of a schedule's units begin with.
fn unit_stem(name: &str) -> String {
    format!("{name}-week")
}

/// A warning on units of another schedule of the same name, of those `present` in a folder: where they
/// are enabled, they go on changing nodes.
pub fn left_over(
    name: &str,
    written: &[NamedFile],
    present: impl IntoIterator<Item = String>,
) -> Option<Diagnostic> {
    let stem = unit_stem(name);
    let is_left = |file: &String| {
        let unit = file.strip_suffix(".service").or_else(|| file.strip_suffix(".timer"));
        let Some(rest) = unit.and_then(|unit| unit.strip_prefix(&stem)) else { return false };
        let number = rest.strip_suffix("-boot").unwrap_or(rest);
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let is_unit = number.is_empty() || number.strip_prefix('-').is_some_and(is_number);
        is_unit && written.iter().all(|unit| unit.name != *file)
    };
    let left: BTreeSet<String> = present.into_iter().filter(is_left).collect();
    (!left.is_empty()).then(|| {
        let left: Vec<String> = left.into_iter().collect();
        Diagnostic::new(format!(
            "has units of another schedule, which go on changing nodes where they are enabled: disable and remove {}",
            left.join(", ")
        ))
    })
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

    #[test]
    fn units_of_another_schedule_are_seen() {
        let written = [NamedFile { name: "a-week.timer".into(), text: String::new() }];
        let seen = |files: &[&str]| {
            let files = files.iter().map(|file| (*file).to_string());
            left_over("a", &written, files).map(|warning| warning.message)
        };
        let others = ["a-week.timer", "a-week", "a-weekly.timer", "a-week-x.timer", "b-week.timer"];
        assert_eq!(seen(&others), None);
        assert_eq!(seen(&["a-week-.timer", "a-week7.timer", "a-week-boot-1.timer"]), None);
        let left = seen(&[
            "a-week.timer",
            "a-week-2.timer",
            "a-week-boot.service",
            "a-week-12-boot.service",
        ]);
        let left = left.unwrap();
        assert!(
            left.ends_with("a-week-12-boot.service, a-week-2.timer, a-week-boot.service"),
            "{left}"
        );
    }
}
