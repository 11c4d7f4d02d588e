//! The comments of the CSV that `migplan demand` prints: where each row comes from.

use crate::demand::Workload;
use crate::demand::quiet::Quiet;
use crate::demand::sizing::{Origin, Sizing};
use crate::demand::time::utc_range;
use crate::text::plural;
use crate::units::Headroom;

/// What the CSV says before its rows, a comment for each line. `sizing`: of a demand that was made
/// of samples, how.
pub fn head(sizing: Option<&Sizing>, quiet: Option<&Quiet>, headroom: Headroom) -> Vec<String> {
    let mut lines = Vec::new();
    if sizing.is_some() {
        lines.push(
            "From Prometheus. Edit it and give it to: migplan suggest --workloads FILE --gpus …"
                .into(),
        );
    }
    if headroom.0 > 0 {
        lines.push("Memory has its headroom already; do not add it again.".into());
    }
    if let Some(quiet) = quiet {
        let zone = quiet.zone.name();
        for (label, window) in [
            ("quiet", Some(quiet.daily)),
            ("quiet", quiet.weekly),
            ("busiest", Some(quiet.busiest)),
        ] {
            if let Some(window) = window {
                lines.push(format!("{label}: {} {zone}: {}", window.when(), window.busy()));
            }
        }
    }
    lines
}

/// Where a row comes from, in words.
pub fn note(workload: &Workload, origin: &Origin) -> String {
    let mut note = format!(
        "{}: {} of {}, at most {}",
        workload.label(),
        plural(origin.observed.samples, "sample"),
        plural(origin.pods, "pod"),
        origin.observed.peak
    );
    if origin.requested {
        note = format!("{}: asked for by {}", workload.label(), plural(origin.pods, "pod"));
    }
    if let Some((first, last)) = origin.seen_ms {
        note.push_str(&format!(", {}", utc_range(first, last)));
    }
    if origin.asking_pods > 0 {
        let pods = plural(origin.asking_pods, "pod");
        note.push_str(&format!("; asked for by {pods} while no sample shows them"));
    }
    if origin.shares_device {
        note.push_str("; shares a GPU, so this is the memory of all pods on it");
    }
    if let Some(limited) = &origin.observed.limited {
        note.push_str("; may need more: ");
        note.push_str(&match &limited.instance {
            Some(of) if limited.at_ceiling => format!("at the ceiling of {}", of.name),
            _ => format!("{} ended for lack of memory", plural(limited.killed_pods, "pod")),
        });
        if let Some(next) = &limited.next {
            note.push_str(&format!("; the next size is {} with {}", next.name, next.memory));
        }
    }
    if workload.whole_gpus == 0 && origin.instances_per_pod > 1 {
        note.push_str(&format!("; up to {} per pod", plural(origin.instances_per_pod, "instance")));
    }
    note
}

/// What became of the samples: a line for what was used, and one for each cause of what was not.
pub fn sources(sizing: &Sizing) -> Vec<String> {
    let samples = sizing.origins.values().map(|origin| origin.observed.samples).sum();
    let pods = sizing.origins.values().map(|origin| origin.pods).sum();
    let times = sizing.origins.values().filter_map(|origin| origin.seen_ms);
    let seen = times.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
    let when = seen.map_or(String::new(), |(first, last)| format!(", {}", utc_range(first, last)));
    let used = format!(
        "{} from {} of {}{when}",
        plural(sizing.demand.workloads().len() as u64, "workload"),
        plural(samples, "sample"),
        plural(pods, "pod"),
    );
    let unused = sizing.unused.iter().map(|unused| format!("not used: {}", unused.text));
    std::iter::once(used).chain(unused).collect()
}
