//! What pods ask for beside what samples show: each pod once, in each cluster, at the same moments.

use serde_json::{Value, json};

use super::{demand, failure, migplan, stderr, stdout};

const REQUESTS: &str = "kube_pod_container_resource_requests";
const PHASE: &str = "kube_pod_status_phase";
const USED: &str = "DCGM_FI_DEV_FB_USED";

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

/// A pod on an instance of its own.
fn running(pod: &str, mib: u32, minutes: (i64, i64)) -> Value {
    let labels = json!({"UUID": format!("GPU-{pod}"), "GPU_I_ID": "7", "GPU_I_PROFILE": "1g.10gb"});
    series(USED, pod, &labels, mib, minutes)
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
    // A pod that is measured in one cluster asks in the other.
    let mut there = running("train-0", 5_000, DAY);
    there["metric"]["cluster"] = "eu".into();
    assert_eq!(found(&[of("eu"), there.clone()]), ["nlp,train,5000,1"]);
    assert_eq!(found(&[of("eu"), of("us"), there.clone()]), ["nlp,train,5000,2"]);
    // Where no label tells the cluster of what it asks for, it is this pod.
    assert_eq!(found(&[of(""), there]), ["nlp,train,5000,1"]);
}

#[test]
fn pods_that_wait_count_beside_those_that_run() {
    let ask = |pod: &str, minutes| request(pod, MIG, json!({}), minutes);
    let serve = ["serve-7d9c5b6f4-x2x7k", "serve-7d9c5b6f4-b2x7k", "serve-7d9c5b6f4-c2x7k"];
    let mut all: Vec<Value> = serve.iter().map(|pod| ask(pod, DAY)).collect();
    assert_eq!(found(&all), ["nlp,serve,9728,3"]);
    // One runs all day: the memory is what it uses, and it counts once.
    all.push(running(serve[0], 5_000, DAY));
    assert_eq!(found(&all), ["nlp,serve,5000,3"]);
    let file = File::of(&all);
    let output = migplan(&["demand", "--prometheus", &file.path()]);
    let said = stderr(&output);
    assert!(
        said.contains("while no sample shows them, such as those that wait: nlp/serve (2 pods)"),
        "{said}"
    );
    assert!(stdout(&output).contains("of 1 pod, at most 5000 MiB"), "{}", stdout(&output));
    assert!(
        stdout(&output).contains("; asked for by 2 pods while no sample shows them"),
        "{}",
        stdout(&output)
    );
    let file = File::of(&all);
    let json = migplan(&["demand", "--prometheus", &file.path(), "--format", "json"]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["workloads"][0]["origin"]["asking_pods"], 2);
    // In a share of the time only.
    let part = [ask(serve[0], DAY), running(serve[0], 5_000, DAY), ask(serve[1], (0, 60))];
    assert_eq!(found(&part), ["nlp,serve,5000,2"]);
    let file = File::of(&part);
    let most = ["-q", "--prometheus", &file.path(), "--count-quantile", "0.9"];
    assert_eq!(demand(&most), ["nlp,serve,5000,1"]);
}

#[test]
fn a_queue_is_asked_for_at_once_and_each_pod_of_it_counts_once() {
    // Three Jobs that were made at midnight, of which one runs after the other.
    let jobs = ["etl-1-x2x7k", "etl-2-x2x7k", "etl-3-x2x7k"];
    let mut all = Vec::new();
    for (at, pod) in (0..).zip(jobs) {
        all.push(request(pod, MIG, json!({}), (0, (at + 1) * 60)));
        all.push(running(pod, 5_000, (at * 60, (at + 1) * 60)));
    }
    let groups = |all: &[Value]| -> Vec<String> {
        let file = File::of(all);
        demand(&["-q", "--prometheus", &file.path(), "--group-by", "container"])
    };
    let mut by_container = all.clone();
    for series in &mut by_container {
        series["metric"]["container"] = "etl".into();
    }
    assert_eq!(groups(&by_container), ["nlp,etl,5000,3"]);
    // Each made as the one before it ends: it has its GPU within minutes, and waits for nothing.
    let mut hops = Vec::new();
    for (at, pod) in (0..).zip(["cron-29384720-x2x7k", "cron-29384721-x2x7k"]) {
        // Prometheus shows the one before for its five minutes, and what it asks for for hours.
        hops.push(request(pod, MIG, json!({}), (at * 60 - 5, 24 * 60)));
        hops.push(running(pod, 5_000, (at * 60, (at + 1) * 60)));
    }
    assert_eq!(found(&hops), ["nlp,cron,5000,1"]);
}

#[test]
fn what_nothing_like_it_shows_keeps_the_size_that_is_asked_for() {
    let gpu = |pod: &str, count: u32| {
        let labels = json!({"container": "c", "resource": "nvidia_com_gpu"});
        series(REQUESTS, pod, &labels, count, DAY)
    };
    // A launcher that runs, and workers of four GPUs each that wait.
    let all = [running("bert-0", 5_000, DAY), gpu("bert-1", 4), gpu("bert-2", 4)];
    assert_eq!(found(&all), ["nlp,bert,5000,1", "nlp,bert (4 GPUs),,2"]);
    // Another size of the same kind says no more of the memory in use.
    let all =
        [running("a-0", 5_000, DAY), request("a-1", "nvidia_com_mig_3g_40gb", json!({}), DAY)];
    assert_eq!(found(&all), ["nlp,a,5000,2"]);
    // Instances that nodes name as GPUs.
    let two = |id: &str| {
        let mut one = running("b-0", 5_000, DAY);
        one["metric"]["GPU_I_ID"] = id.into();
        one
    };
    assert_eq!(found(&[two("7"), two("8"), gpu("b-0", 2), gpu("b-1", 2)]), ["nlp,b,5000,4"]);
    // GPUs of one pod are one replica.
    let whole = |pod: &str, uuid: &str| series(USED, pod, &json!({"UUID": uuid}), 9_000, DAY);
    let all = [whole("c-0", "a"), whole("c-0", "b"), gpu("c-0", 2), gpu("c-1", 2)];
    assert_eq!(found(&all), ["nlp,c,,2"]);
    // Nothing of a workload that is left out says what its pods need.
    let file = File::of(&[running("d-0", 5_000, (0, 5)), request("d-1", MIG, json!({}), DAY)]);
    let few = ["-q", "--prometheus", &file.path(), "--min-samples", "2"];
    assert_eq!(demand(&few), ["nlp,d,9728,1"]);
}

#[test]
fn scrapes_without_times_count_pods_that_wait_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.prom").display().to_string();
    let scrape = |running: &str, waiting: &str| {
        format!(
            "# TYPE {REQUESTS} gauge
{REQUESTS}{{namespace=\"n\",pod=\"a-0\",container=\"c\",resource=\"{MIG}\"}} 1
{REQUESTS}{{namespace=\"n\",pod=\"a-1\",container=\"c\",resource=\"{MIG}\"}} 1
# TYPE {USED} gauge
{USED}{{namespace=\"n\",pod=\"{running}\",UUID=\"g\"}} 5000
{waiting}"
        )
    };
    std::fs::write(&file, scrape("a-0", "")).unwrap();
    assert_eq!(demand(&["-q", "--prometheus", &file]), ["n,a,5000,2"]);
    // First the one, then the other.
    std::fs::write(&file, scrape("a-0", "") + &scrape("a-1", "")).unwrap();
    assert_eq!(demand(&["-q", "--prometheus", &file]), ["n,a,5000,2"]);
    // Both run on two GPUs, one after the other scrape.
    let second = format!("{USED}{{namespace=\"n\",pod=\"a-0\",UUID=\"h\"}} 6000\n");
    std::fs::write(&file, scrape("a-0", "") + &scrape("a-1", &second)).unwrap();
    assert_eq!(demand(&["-q", "--prometheus", &file]), ["n,a,6000,2"]);
}

#[test]
fn pods_that_are_known_by_what_they_ask_for_are_not_idle() {
    // One pod is measured by day; six hold an instance each by night.
    let mut all = Vec::new();
    for day in 0..3 {
        let hour = |hour: i64| day * 24 * 60 + hour * 60;
        all.push(running("serve-0", 5_000, (hour(8), hour(20))));
        for pod in 0..6 {
            let name = format!("night-{pod}");
            all.push(request(&name, MIG, json!({}), (hour(0), hour(8))));
            all.push(request(&name, MIG, json!({}), (hour(20), hour(24))));
        }
    }
    let quiet = |all: &[Value]| {
        let file = File::of(all);
        let output = migplan(&["demand", "--prometheus", &file.path(), "--quiet-window", "2h"]);
        stdout(&output)
    };
    let said = quiet(&all);
    assert!(said.contains("# quiet: every day 08:00-10:00 UTC: 1.0 in use on average"), "{said}");
    // All of those that it would disturb.
    assert!(said.contains("# busiest: every day 06:15-08:15 UTC: 7.0 in use on average"), "{said}");
    assert!(said.contains("nlp,night,9728,6"), "{said}");
    // While they wait they hold nothing, and what has ended is no gap in the history.
    let days = (0, 3 * 24 * 60);
    for (phase, busy) in [("Pending", "1.0"), ("Running", "2.0")] {
        let mut all = vec![running("serve-0", 5_000, days), request("b-0", MIG, json!({}), days)];
        all.push(series(PHASE, "b-0", &json!({"phase": phase}), 1, days));
        let said = quiet(&all);
        let expected = format!("# busiest: every day 00:00-02:00 UTC: {busy} in use on average");
        assert!(said.contains(&expected), "{phase}: {said}");
    }
    let half = 36 * 60;
    let ended = [
        series(REQUESTS, "c-0", &json!({"container": "c", "resource": "nvidia_com_gpu"}), 4, days),
        series(PHASE, "c-0", &json!({"phase": "Succeeded"}), 1, (half, days.1)),
    ];
    let said = quiet(&ended);
    assert!(
        said.contains(
            "# busiest: every day 00:00-02:00 UTC: 2.7 in use on average, 4 at most, seen on 3 days"
        ),
        "{said}"
    );
}
