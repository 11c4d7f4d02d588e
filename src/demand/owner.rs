//! The owner of a pod, read from its name: a Deployment, StatefulSet, Job … as one workload.
//!
//! Metrics carry no owner, but Kubernetes builds a pod's name from it. What it adds is known
//! exactly, so names that people give are mostly left alone.

/// The letters and digits of generated suffixes: no vowels, so that no words arise, and no 0, 1, 3
/// (`rand.String` and `rand.SafeEncodeString` of k8s.io/apimachinery).
const ALPHABET: &str = "bcdfghjklmnpqrstvwxz2456789";
/// What the ten digits of a ReplicaSet's hash become in that alphabet.
const HASH_ALPHABET: &str = "456789bcdf";

/// The owner's name: `embed-api-7d9c5b6f4-x2x7k` is `embed-api`, `rerank-0` is `rerank`,
/// `jupyter-alice` is `jupyter`, `nightly-29384720-x2x7k` is `nightly`.
pub fn of_pod(pod: &str) -> &str {
    if pod.starts_with("jupyter-") {
        // JupyterHub names its servers after their users.
        return "jupyter";
    }
    let owner = strip(pod).trim_end();
    if owner.is_empty() { pod } else { owner }
}

fn strip(pod: &str) -> &str {
    let Some((rest, last)) = pod.rsplit_once('-') else {
        return pod;
    };
    if let Some(owner) = strip_uuid(pod) {
        return owner;
    }
    // StatefulSet: an ordinal. Longer numbers are dates or ids that someone chose; five digits may
    // also be a random suffix, which the rules below know better.
    if is_number(last, 1, 5) && !is_random(last) {
        return rest;
    }
    let five =
        last.len() == 5 && last.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if let Some((owner, hash)) = rest.rsplit_once('-').filter(|_| five) {
        // Deployment: the ReplicaSet's hash and the pod's own suffix.
        let is_hash = (5..=10).contains(&hash.len())
            && made_of(hash, HASH_ALPHABET)
            && hash.bytes().any(|b| b.is_ascii_digit());
        let like_hash = (8..=10).contains(&hash.len())
            && made_of(hash, ALPHABET)
            && hash.bytes().any(|b| b.is_ascii_digit());
        if is_hash || (like_hash && is_random(last)) {
            return owner;
        }
        // CronJob: the time in minutes (before 1.21 in seconds). Indexed Job: the index.
        if is_random(last) && (is_number(hash, 8, 10) || is_number(hash, 1, 4)) {
            return owner;
        }
    }
    if is_random(last) {
        // Job, DaemonSet, bare ReplicaSet.
        return rest;
    }
    pod
}

/// The owner behind a controller of pods, by what Kubernetes adds to names: a ReplicaSet's hash, the
/// minute for which a CronJob's Job runs.
pub fn of_controller<'n>(kind: &str, name: &'n str) -> &'n str {
    let Some((owner, last)) = name.rsplit_once('-') else {
        return name;
    };
    let generated = match kind {
        "ReplicaSet" => (5..=10).contains(&last.len()) && made_of(last, ALPHABET),
        "Job" => last.len() >= 8 && last.bytes().all(|b| b.is_ascii_digit()),
        _ => false,
    };
    let owner = owner.trim_end();
    if generated && !owner.is_empty() { owner } else { name }
}

/// The suffix of `generateName`.
fn is_random(part: &str) -> bool {
    part.len() == 5 && made_of(part, ALPHABET)
}

fn is_number(part: &str, least: usize, most: usize) -> bool {
    (least..=most).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit())
}

fn made_of(part: &str, alphabet: &str) -> bool {
    part.chars().all(|c| alphabet.contains(c))
}

/// Takes off a UUID, with hyphens or without, as workflow engines append it.
fn strip_uuid(pod: &str) -> Option<&str> {
    let hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let (rest, last) = pod.rsplit_once('-')?;
    if last.len() == 32 && hex(last) {
        return Some(rest);
    }
    let mut rest = pod;
    for length in [12, 4, 4, 4, 8] {
        let (before, part) = rest.rsplit_once('-')?;
        if part.len() != length || !hex(part) {
            return None;
        }
        rest = before;
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::{of_controller, of_pod};

    #[test]
    fn owners_behind_controllers() {
        for (kind, name, owner) in [
            ("ReplicaSet", "serve-7c9d8b6f5", "serve"),
            ("ReplicaSet", "serve-main", "serve-main"),
            ("Job", "nightly-28901234", "nightly"),
            ("Job", "nightly-2", "nightly-2"),
            ("Job", "nightly -28901234", "nightly"),
            ("StatefulSet", "db-28901234", "db-28901234"),
        ] {
            assert_eq!(of_controller(kind, name), owner);
        }
    }

    #[test]
    fn generated_suffixes_are_taken_off() {
        for (pod, owner) in [
            // Deployments
            ("embed-api-7d9c5b6f4-x2x7k", "embed-api"),
            ("ocr-worker-6b8f9-9k2lp", "ocr-worker"),
            ("vllm-13b-5f6c7d8b9-qwert", "vllm-13b"),
            ("llama-70-7d9c5b6f4-x2x7k", "llama-70"),
            ("coredns-5d78c9869d-abcde", "coredns"),
            // StatefulSets
            ("rerank-0", "rerank"),
            ("train-seg-0", "train-seg"),
            ("shard-12", "shard"),
            // Not a name of Kubernetes; a CSV would lose the blank.
            ("shard -12", "shard"),
            ("web-42567", "web"),
            // Jobs, DaemonSets
            ("etl-x2x7k", "etl"),
            (
                "runai-reservation-gpu-qa-mig-worker-gpu-1-kvltw",
                "runai-reservation-gpu-qa-mig-worker-gpu",
            ),
            // CronJobs
            ("nightly-29384720-x2x7k", "nightly"),
            ("nightly-1795344000-x2x7k", "nightly"),
            // Notebooks
            ("jupyter-alice", "jupyter"),
            ("jupyter-bob-2esmith--gpu", "jupyter"),
            // Workflow engines
            ("train-0123456789abcdef0123456789abcdef", "train"),
            ("train-01234567-89ab-cdef-0123-456789abcdef", "train"),
        ] {
            assert_eq!(of_pod(pod), owner, "{pod}");
        }
    }

    #[test]
    fn names_that_people_give_stay() {
        for pod in [
            "trainer",
            "gpu-burn",
            "web-proxy",
            "bert-large",
            "resnet50",
            "exp-20261122",
            "a-model-v2",
            "-0",
            "vllm-13b",
            "",
        ] {
            assert_eq!(of_pod(pod), pod);
        }
    }
}
