//! What pods ask for beside what samples show: each pod once, in each cluster, at the same moments.

use serde_json::{Value, json};

use super::{demand, failure};

const REQUESTS: &str = "kube_pod_container_resource_requests";
const PHASE: &str = "kube_pod_status_phase";

/// 2026-06-01 00:00 UTC, a Monday.
const START: i64 = 1_780_272_000;

/// A series of a pod of namespace `nlp`: 1, or `value`, every five minutes from one minute to another.
fn series(metric: &str, pod: &str, labels: &Value, value: u32, minutes: (i64, i64)) -> Value {
    let mut metric = json!({"__name__": metric, "namespace": "nlp", "pod": pod});
    let more = labels.as_object().unwrap().clone();
    metric.as_object_mut().unwrap().extend(more);
    let at = |minute| json!([START + minute * 60, value.to_string()]);
    let values: Vec<Value> = (minutes.0..minutes.1).step_by(5).map(at).collect();
    json!({"metric": metric, "values": values})
}

fn request(pod: &str, resource: &str, labels: Value, minutes: (i64, i64)) -> Value {
    let mut all = json!({"container": "c", "resource": resource});
    all.as_object_mut().unwrap().extend(labels.as_object().unwrap().clone());
    series(REQUESTS, pod, &all, 1, minutes)
}

struct File(tempfile::TempDir);

impl File {
    fn of(all: &[Value]) -> File {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("f.json"), Value::from(all.to_vec()).to_string())
            .unwrap();
        File(folder)
    }

    fn path(&self) -> String {
        self.0.path().join("f.json").display().to_string()
    }
}

fn found(all: &[Value]) -> Vec<String> {
    demand(&["-q", "--prometheus", &File::of(all).path()])
}

const MIG: &str = "nvidia_com_mig_1g_10gb";
const DAY: (i64, i64) = (0, 24 * 60);

#[test]
fn a_pod_is_one_of_its_cluster() {
    let of = |cluster: &str| request("train-0", MIG, json!({"cluster": cluster}), DAY);
    let ended = |cluster: &str| {
        let labels = json!({"cluster": cluster, "phase": "Succeeded"});
        series(PHASE, "train-0", &labels, 1, DAY)
    };
    let owner = |cluster: &str, name: &str| {
        let labels = json!({"cluster": cluster, "owner_kind": "Job", "owner_name": name});
        series("kube_pod_owner", "train-0", &labels, 1, DAY)
    };
    assert_eq!(found(&[of("eu"), of("us")]), ["nlp,train,9728,2"]);
    // What is known of one says nothing of the other.
    assert_eq!(found(&[of("eu"), of("us"), ended("eu")]), ["nlp,train,9728,1"]);
    let owners = [of("eu"), of("us"), owner("eu", "bert"), owner("us", "gpt")];
    assert_eq!(found(&owners), ["nlp,bert,9728,1", "nlp,gpt,9728,1"]);
    // Without a cluster it is of the only one there is, or of any.
    for (asked, phase) in [("eu", ""), ("", "eu")] {
        let file = File::of(&[of(asked), ended(phase)]);
        let (code, said) = failure(&["--prometheus", &file.path()]);
        assert_eq!((code, said.contains("1 pod that had ended")), (3, true), "{said}");
    }
    assert_eq!(found(&[of("eu"), of("")]), ["nlp,train,9728,1"]);
    let owners = [of("eu"), of("us"), owner("", "bert")];
    assert_eq!(found(&owners), ["nlp,bert,9728,2"]);
}
