//! Workloads that were seen to use more than the instance that a plan gives them.

use crate::error::Diagnostic;
use crate::plan::exceeded::Exceeded;
use crate::text::{plural, thousands};

/// `nlp/train: 12 of 2,304 samples (0.52 %), up to 44.5 GiB in 3g.40gb with 39.3 GiB`.
pub fn row(exceeded: &Exceeded) -> String {
    let often = match exceeded.samples_above {
        Some(above) => {
            let share = above as f64 * 100.0 / exceeded.samples.max(1) as f64;
            let samples = plural(exceeded.samples, "sample");
            format!("{} of {samples} ({share:.2} %), ", thousands(above))
        }
        None => String::new(),
    };
    format!(
        "{}/{}: {often}up to {} in {} with {}",
        exceeded.team,
        exceeded.workload,
        exceeded.peak.human(),
        exceeded.profile,
        exceeded.memory.human()
    )
}

/// The warning that names every such workload; none where there is none.
pub fn warning(exceeded: &[Exceeded]) -> Option<Diagnostic> {
    if exceeded.is_empty() {
        return None;
    }
    let workloads = plural(exceeded.len() as u64, "workload");
    let texts: Vec<String> = exceeded.iter().map(row).collect();
    Some(Diagnostic::new(format!(
        "{workloads} used more memory than the instance planned for has, and would run out of memory there (--quantile 1 plans for the highest sample):\n  {}",
        texts.join("\n  ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::InstanceProfile;
    use crate::units::Mebibytes;

    #[test]
    fn a_workload_that_exceeds_its_instance_is_named() {
        let exceeded = |samples_above| Exceeded {
            team: "b".into(),
            workload: "y".into(),
            profile: InstanceProfile::Mig("3g.40gb".parse().unwrap()),
            memory: Mebibytes(40_192),
            peak: Mebibytes(45_568),
            samples_above,
            samples: 100,
        };
        let known = row(&exceeded(Some(3)));
        assert_eq!(
            known,
            "b/y: 3 of 100 samples (3.00 %), up to 44.5 GiB in 3g.40gb with 39.3 GiB"
        );
        assert_eq!(row(&exceeded(None)), "b/y: up to 44.5 GiB in 3g.40gb with 39.3 GiB");
        assert_eq!(warning(&[]), None);
        let warning = warning(&[exceeded(None), exceeded(Some(3))]).unwrap();
        assert!(warning.message.starts_with("2 workloads used more memory"));
    }
}
