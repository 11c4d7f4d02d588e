//! A real Prometheus with a history that the tests wrote: what is asked of it by default is all that
//! a file with the same data would give.

use std::fmt::Write;
use std::time::{Duration, Instant};

use super::server::{Guard, get, now, promtool, start_with};
use super::{demand, failure, migplan, stderr};
use crate::common::tools::have;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// A history in OpenMetrics.
#[derive(Default)]
struct History {
    text: String,
    metric: String,
}

impl History {
    /// Adds a series: `value` of each time from `from` on, until `to`, every `step` seconds.
    fn series(
        &mut self,
        metric: &str,
        labels: &str,
        (from, to, step): (u64, u64, u64),
        value: impl Fn(u64) -> u64,
    ) {
        if self.metric != metric {
            self.metric = metric.to_string();
            writeln!(self.text, "# TYPE {metric} gauge").unwrap();
        }
        for at in (from..to).step_by(step.try_into().unwrap()) {
            writeln!(self.text, "{metric}{{{labels}}} {} {at}", value(at)).unwrap();
        }
    }
}

/// A server that has the history, and its folder.
struct Served {
    url: String,
    _server: Guard,
    _folder: tempfile::TempDir,
}

impl Served {
    fn new(history: &History) -> Served {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("history.om");
        std::fs::write(&file, format!("{}# EOF\n", history.text)).expect("a temporary file");
        let tsdb = folder.path().join("tsdb");
        promtool(&[
            "tsdb",
            "create-blocks-from",
            "openmetrics",
            &file.display().to_string(),
            &tsdb.display().to_string(),
        ]);
        let (server, url) = start_with(folder.path(), "global:\n  scrape_interval: 15s\n");
        let deadline = Instant::now() + Duration::from_secs(60);
        while get(&format!("{url}/-/ready"), &[]).is_none() {
            assert!(Instant::now() < deadline, "prometheus is not ready");
            std::thread::sleep(Duration::from_millis(100));
        }
        Served { url, _server: server, _folder: folder }
    }

    /// The demand and stderr with these flags.
    fn asked(&self, flags: &[&str]) -> (Vec<String>, String) {
        let arguments = [&["--prometheus-url", &self.url, "--window", "1d"], flags].concat();
        let output = migplan(&[&["demand"], &arguments[..]].concat());
        (demand(&arguments), stderr(&output))
    }
}

fn tools() -> bool {
    have(&["prometheus", "promtool", "timeout", "kill"], "prometheus procps")
}

/// The labels of an instance of GPU-a.
fn instance(id: u32, profile: &str, of: &str) -> String {
    format!(
        "job=\"dcgm\",instance=\"10.0.0.1:9400\",UUID=\"GPU-a\",gpu=\"0\",GPU_I_ID=\"{id}\",GPU_I_PROFILE=\"{profile}\",modelName=\"NVIDIA A100-SXM4-80GB\",Hostname=\"n1\",{of}"
    )
}

/// What dcgm-exporter and kube-state-metrics tell of three hours; `ksm` gives the labels that name
/// namespace and pod as that server keeps them.
fn cluster(ksm: impl Fn(&str, &str) -> String) -> History {
    let mut history = History::default();
    let end = now() / (5 * MINUTE) * (5 * MINUTE);
    let all = (end - 3 * HOUR, end, MINUTE);
    let memory = "DCGM_FI_DEV_FB_USED";
    for (id, pod, mib) in [(7, "bert-worker-0", 5_000), (8, "bert-master-0", 3_000)] {
        let of = format!("namespace=\"nlp\",pod=\"{pod}\",container=\"c\"");
        history.series(memory, &instance(id, "1g.10gb", &of), all, |_| mib);
    }
    let requests = "kube_pod_container_resource_requests";
    for (pod, resource) in [
        ("rank-7d9c5b6f4-b2x7k", "nvidia_com_mig_3g_40gb"),
        ("rank-7d9c5b6f4-c2x7k", "nvidia_com_mig_3g_40gb"),
        ("done-0", "nvidia_com_mig_3g_40gb"),
        ("web-0", "cpu"),
    ] {
        let labels = format!("{},container=\"c\",resource=\"{resource}\"", ksm("search", pod));
        history.series(requests, &labels, all, |_| 1);
    }
    // It ended before, and its pod is kept.
    for (phase, is_so) in [("Running", 0), ("Succeeded", 1)] {
        let labels = format!("{},phase=\"{phase}\"", ksm("search", "done-0"));
        history.series("kube_pod_status_phase", &labels, all, |_| is_so);
    }
    for pod in ["bert-worker-0", "bert-master-0"] {
        let owner = "owner_kind=\"PyTorchJob\",owner_name=\"bert\",owner_is_controller=\"true\"";
        let labels = format!("{},{owner}", ksm("nlp", pod));
        history.series("kube_pod_owner", &labels, all, |_| 1);
    }
    // Born in the middle of the history, and in its last hour.
    for (job, pod, from) in [("a-1", "a-1-x2x7k", 2 * HOUR), ("b-1", "b-1-x2x7k", 20 * MINUTE)] {
        let owner = format!("owner_kind=\"Job\",owner_name=\"{job}\"");
        let labels = format!("{},{owner}", ksm("night", pod));
        history.series("kube_pod_owner", &labels, (end - from, end, MINUTE), |_| 1);
    }
    for (job, from) in [("a-1", 2 * HOUR), ("b-1", 20 * MINUTE)] {
        let labels = format!(
            "{},job_name=\"{job}\",owner_kind=\"CronJob\",owner_name=\"sweep\"",
            ksm("night", "ksm-0")
        );
        history.series("kube_job_owner", &labels, (end - from, end, MINUTE), |_| 1);
    }
    let labels = format!("{},container=\"c\",reason=\"OOMKilled\"", ksm("nlp", "bert-worker-0"));
    history.series("kube_pod_container_status_last_terminated_reason", &labels, all, |_| 1);
    for (id, pod, from) in [(9, "a-1-x2x7k", 2 * HOUR), (10, "b-1-x2x7k", 20 * MINUTE)] {
        let of = format!("namespace=\"night\",pod=\"{pod}\",container=\"c\"");
        let times = (end - from, end, MINUTE);
        history.series(&format!("{memory}_BYTES"), &instance(id, "1g.10gb", &of), times, |_| {
            4_000 << 20
        });
    }
    history
}

#[test]
fn requests_owners_and_ends_are_asked_for_as_well() {
    if !tools() {
        return;
    }
    let honoured =
        |namespace: &str, pod: &str| format!("job=\"ksm\",namespace=\"{namespace}\",pod=\"{pod}\"");
    let not_honoured = |namespace: &str, pod: &str| {
        format!(
            "job=\"ksm\",namespace=\"monitoring\",pod=\"ksm-0\",exported_namespace=\"{namespace}\",exported_pod=\"{pod}\""
        )
    };
    let histories = [cluster(honoured), cluster(not_honoured)];
    for (history, is_honoured) in histories.iter().zip([true, false]) {
        let server = Served::new(history);
        let (rows, said) = server.asked(&[]);
        let expected = ["night,sweep,4000,2", "nlp,bert,5000,2", "search,rank,40192,2"];
        assert_eq!(rows, expected, "{is_honoured}: {said}");
        assert!(said.contains("OOMKilled") && said.contains("nlp/bert"), "{said}");
        assert!(said.contains("1 pod that had ended"), "{said}");
        let everything = ["--query", "{__name__=~\"DCGM_FI_DEV_FB_USED.*|kube_.*\"}"];
        assert_eq!(server.asked(&everything).0, rows, "{is_honoured}");
        // Of another metric, what the pods ask for is not meant.
        let (rows, _) = server.asked(&["--metric", "DCGM_FI_DEV_FB_USED"]);
        assert_eq!(rows, ["nlp,bert,5000,2"], "{is_honoured}");
    }
}

#[test]
fn peaks_between_the_steps_and_no_other_counts() {
    if !tools() {
        return;
    }
    let end = now() / (5 * MINUTE) * (5 * MINUTE);
    let of = |pod: &str| format!("namespace=\"nlp\",pod=\"{pod}\",container=\"c\"");
    let mut history = History::default();
    let memory = "DCGM_FI_DEV_FB_USED";
    // One minute of each hour, between two steps.
    let labels = instance(1, "3g.40gb", &of("train-0"));
    history.series(memory, &labels, (end - 3 * HOUR, end, 15), |at| {
        if (1_875..1_935).contains(&(at % HOUR)) { 38_000 } else { 5_000 }
    });
    // Its memory rises after the last whole hour at which it is there, and the next one follows on
    // the same instance.
    let hour = now() / HOUR * HOUR - HOUR;
    for (pod, from, to) in [
        ("serve-7d9c5b6f4-b2x7k", end - 3 * HOUR, hour + 2 * MINUTE),
        ("serve-7d9c5b6f4-c2x7k", hour + 9 * MINUTE, end),
    ] {
        let labels = instance(2, "3g.40gb", &of(pod));
        history.series(memory, &labels, (from, to, 15), |at| {
            if (hour + MINUTE..hour + 2 * MINUTE).contains(&at) { 30_000 } else { 6_000 }
        });
    }
    let server = Served::new(&history);
    let highest = ["nlp,serve,30000,1", "nlp,train,38000,1"];
    let at_hours = ["nlp,serve,6000,1", "nlp,train,5000,1"];
    for (flags, expected) in [
        (&[][..], highest),
        (&["--step", "1h"], highest),
        (&["--step", "11s"], highest),
        (&["--step", "1h", "--quantile", "0.99"], at_hours),
        (&["--step", "1h", "--query", memory], at_hours),
    ] {
        let (rows, said) = server.asked(flags);
        assert_eq!(rows, expected, "{flags:?}: {said}");
    }
}

#[test]
fn what_a_server_had_before_is_told_as_that() {
    if !tools() {
        return;
    }
    let end = now() - 2 * HOUR;
    let mut history = History::default();
    let labels = instance(1, "3g.40gb", "namespace=\"nlp\",pod=\"train-0\"");
    history.series("DCGM_FI_DEV_FB_USED", &labels, (end - HOUR, end, MINUTE), |_| 5_000);
    let server = Served::new(&history);
    for metric in [&[][..], &["--metric", "DCGM_FI_DEV_FB_USED"]] {
        let window = ["--prometheus-url", &server.url, "--window", "1h"];
        let (code, text) = failure(&[&window, metric].concat());
        assert_eq!(code, 3);
        let hint = "hint: it has DCGM_FI_DEV_FB_USED of another time: make --window longer";
        assert!(text.contains(hint), "{text}");
    }
}
