//! Every sample of `data/prometheus` gives what reading it by eye gives.

use std::io::Write;

use super::{demand, failure, migplan, rows, sample, stderr, stdout};

fn of(name: &str) -> Vec<String> {
    demand(&["-q", "--prometheus", &sample(name)])
}

#[test]
fn a_real_dgx_has_29_pods_in_4_namespaces() {
    let file = sample("dgx_a100_mig_mixed_fb.prom");
    let output = migplan(&["demand", "--prometheus", &file]);
    let said = stderr(&output);
    assert!(said.contains("4 workloads from 29 samples of 29 pods"), "{said}");
    assert!(said.contains("not used: 18 idle instances of 1g.10gb: no pod holds them"), "{said}");
    assert!(said.contains("not used: 1 idle GPU: no pod holds it"), "{said}");
    assert_eq!(
        of("dgx_a100_mig_mixed_fb.prom"),
        ["ns-0,pod,3250,9", "ns-1,pod,3250,9", "ns-2,pod,3250,10", "ns-3,pod,36634,1"]
    );
    let pods = demand(&["-q", "--prometheus", &file, "--group-by", "pod"]);
    assert_eq!(pods.len(), 29);
    assert!(pods.contains(&"ns-0,pod-0,1842,1".to_string()));
    assert!(pods.contains(&"ns-3,pod-9,36634,1".to_string()));
}

#[test]
fn one_instant_in_every_form() {
    let expected = [
        "llm,vllm-13b,60527,1",
        "nlp,embed-api,6938,1",
        "nlp,rerank,3066,1",
        "research,jupyter,27375,1",
        "vision,ocr-worker,12835,1",
        "vision,train-seg,35001,1",
    ];
    for name in
        ["api_query_vector.json", "promtool_query_instant.json", "e2e_federate_with_ts.prom"]
    {
        assert_eq!(of(name), expected, "{name}");
    }
    assert_eq!(
        of("e2e_scrape_text.prom"),
        [
            "llm,vllm-13b,59944,1",
            "nlp,embed-api,6887,1",
            "nlp,rerank,3018,1",
            "research,jupyter,27026,1",
            "vision,ocr-worker,12771,1",
            "vision,train-seg,34919,1",
        ]
    );
}

#[test]
fn ranges_give_the_quantile_of_all_samples() {
    // With labels honoured and not, each pod twice: the larger at each time counts.
    assert_eq!(
        of("api_query_range_matrix.json"),
        [
            "llm,vllm-13b,66214,1",
            "nlp,embed-api,7019,1",
            "nlp,rerank,3407,1",
            "research,jupyter,30788,1",
            "vision,ocr-worker,15698,1",
            "vision,train-seg,35797,1",
        ]
    );
    assert_eq!(of("promtool_query_range.json")[1], "nlp,embed-api,7017,1");
    assert_eq!(of("e2e_tsdb_dump.txt")[5], "vision,train-seg,35784,1");
    assert_eq!(of("api_query_max_over_time.json")[5], "vision,train-seg,35799,1");
    // Eight samples of embed-api; the fourth from below.
    let half = ["-q", "--prometheus", &sample("promtool_query_range.json"), "--quantile", "0.5"];
    assert_eq!(demand(&half)[1], "nlp,embed-api,6449,1");
}

#[test]
fn labels_in_all_their_spellings() {
    assert_eq!(of("synthetic_4.8.3_lowercase_hostname.prom"), ["nlp,embed,6711,1"]);
    assert_eq!(
        of("fgo_pre2.9_fraction_metrics_1_workload.prom"),
        ["runai-reservation,runai-reservation-gpu-qa-mig-worker-gpu,128,1"]
    );
    // A recording rule without a pod: the label names the workload.
    let adversarial = sample("adversarial_label_values.prom");
    assert_eq!(
        demand(&[
            "-q",
            "--prometheus",
            &adversarial,
            "--metric",
            "namespace:dcgm_fb_used:max",
            "--group-by",
            "namespace"
        ]),
        ["nlp,nlp,7,1"]
    );
    let hard = demand(&["-q", "--prometheus", &adversarial, "--metric", "m", "--group-by", "a"]);
    assert!(hard.contains(&"default,close } brace,1,1".to_string()), "{hard:?}");
    assert!(hard.contains(&"default,back\\slash,4,1".to_string()), "{hard:?}");
}

#[test]
fn scrapes_without_pods_say_so() {
    for (name, part) in [
        (
            "fgo_pre2.9_mig_metrics_4_Active_Workloads.prom",
            "1 instance of 1g.5gb in use, up to 4384 MiB",
        ),
        ("fgo_pre2.9_mig_metrics_Empty_mig_disabled.prom", "1 idle GPU: no pod holds it"),
        ("fgo_pre2.9_mig_metrics_Idle_1g.5gb_allocated.prom", "1 idle instance of 1g.5gb"),
        ("nvidia_docs_mig_a100_2.4.0rc2.prom", "1 GPU in use, up to 4845 MiB"),
    ] {
        let (code, text) = failure(&["--prometheus", &sample(name)]);
        assert_eq!(code, 3, "{name}");
        assert!(text.contains(part), "{name}: {text}");
    }
}

#[test]
fn what_cannot_be_used_is_one_clear_message() {
    for (name, part) in [
        ("api_query_empty.json", "the query found nothing"),
        ("promtool_query_instant_empty.json", "the query found nothing"),
        ("api_query_error_bad_data.json", "bad_data: invalid parameter"),
        ("api_query_scalar.json", "a single number"),
        ("api_query_range_nan.json", "12 samples: not a number"),
        (
            "nvidia_docs_readme_space_after_comma.prom",
            "has no series of DCGM_FI_DEV_FB_USED; it has DCGM_FI_DEV_MEMORY_TEMP",
        ),
        ("adversarial_label_values.prom", "it has namespace:dcgm_fb_used:max, m"),
        ("no such file", "no such file"),
    ] {
        let (code, text) = failure(&["--prometheus", &sample(name)]);
        assert_eq!(code, 3, "{name}");
        assert!(text.contains(part), "{name}: {text}");
    }
    let (code, text) = failure(&[
        "--prometheus",
        &sample("e2e_scrape_text.prom"),
        "--metric",
        "node_cpu_seconds_total",
    ]);
    assert_eq!((code, text.contains("is not a metric of GPUs")), (3, true), "{text}");
    let blank = [
        "--prometheus",
        &sample("nvidia_docs_readme_space_after_comma.prom"),
        "--metric",
        "DCGM_FI_DEV_MEMORY_TEMP",
    ];
    assert_eq!(failure(&blank).0, 3);
}

#[test]
fn broken_and_foreign_files_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(sample("api_query_range_matrix.json")).unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::File::create(&path).unwrap().write_all(content).unwrap();
        path.display().to_string()
    };
    for (content, part) in [
        (&whole[..whole.len() / 2], "ends in the middle"),
        (b"<!doctype html><html><title>Sign in</title>", "HTML page"),
        (b"", "is empty"),
        (b"team,workload,memory\nnlp,a,1GiB\n", "not a Prometheus sample"),
        (b"[{\"metric\":{\"cpu\":\"0\",\"mode\":\"idle\"},\"value\":[1,\"0.3\"]}]", "not those of GPUs"),
        (b"[{\"metric\":{\"__name__\":\"node_cpu_seconds_total\",\"cpu\":\"0\"},\"value\":[1,\"0.3\"]}]", "it has node_cpu_seconds_total"),
        (b"[{\"metric\":{},\"value\":[1,\"35000\"]}]", "1 series without pod and GPU"),
        (b"[{\"metric\":{\"pod\":\"a\",\"UUID\":\"g\"},\"value\":[1,\"36700160000\"]}]", "wrong --unit?"),
    ] {
        let name = file("f", content);
        let (code, text) = failure(&["--prometheus", &name]);
        assert_eq!(code, 3, "{text}");
        assert!(text.contains(part), "{part}: {text}");
    }
    // All bad files at once, CSV ones too.
    let (a, b) = (file("a", b"<html>"), file("b", b"x,y\n1,2\n"));
    let (_, text) =
        failure(&["--prometheus", &a, "--prometheus", &sample("gone"), "--workloads", &b]);
    assert_eq!(text.matches("error: ").count(), 3, "{text}");
}

#[test]
fn what_is_printed_reads_back_as_the_same_demand() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("teams.csv").display().to_string();
    let from = sample("api_query_range_matrix.json");
    let output = migplan(&["demand", "--prometheus", &from, "-o", &file]);
    assert!(output.status.success() && output.stdout.is_empty());
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("# nlp/embed-api: 8 samples of 1 pod, at most 7019 MiB"), "{text}");
    assert_eq!(rows(&["-q", "--workloads", &file]), rows(&["-q", "--prometheus", &from]));
}

#[test]
fn the_row_of_a_workloads_file_wins() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("teams.csv").display().to_string();
    std::fs::write(&file, "team,workload,memory,count\nnlp,rerank,4GiB,3\nnlp,new,1GiB,1\n")
        .unwrap();
    let both =
        demand(&["-q", "--prometheus", &sample("e2e_scrape_text.prom"), "--workloads", &file]);
    assert_eq!(both.len(), 7);
    assert!(both.contains(&"nlp,rerank,4096,3".to_string()), "{both:?}");
    assert!(both.contains(&"nlp,embed-api,6887,1".to_string()));
    // Where Prometheus knows nothing, the file is enough.
    let empty = demand(&["--prometheus", &sample("api_query_empty.json"), "--workloads", &file]);
    assert_eq!(empty.len(), 2);
}

/// A series of `DCGM_FI_DEV_FB_USED` over two hours on a GPU of its own.
fn series(pod: &str, uuid: &str, mib: u32) -> String {
    let values: Vec<String> =
        (0..24).map(|i| format!("[{},\"{mib}\"]", 1_795_000_000 + i * 300)).collect();
    format!(
        r#"{{"metric":{{"__name__":"DCGM_FI_DEV_FB_USED","UUID":"{uuid}","namespace":"ml","pod":"{pod}","account":"bio"}},"values":[{}]}}"#,
        values.join(",")
    )
}

#[test]
fn pods_of_a_list_count_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: String| {
        let path = folder.path().join(name).display().to_string();
        std::fs::write(&path, text).unwrap();
        path
    };
    let pod = |name: &str, owner: &str, gpus: u32| {
        let owner = match owner {
            "" => String::new(),
            owner => format!(
                r#","ownerReferences":[{{"kind":"PyTorchJob","name":"{owner}","controller":true}}]"#
            ),
        };
        format!(
            r#"{{"kind":"Pod","metadata":{{"name":"{name}","namespace":"ml"{owner}}},"spec":{{"nodeName":"n1","containers":[{{"resources":{{"limits":{{"nvidia.com/gpu":"{gpus}"}}}}}}]}},"status":{{"phase":"Running"}}}}"#
        )
    };
    let list = [
        pod("bert-worker-0", "bert", 1),
        pod("bert-worker-1", "bert", 1),
        pod("bench-1", "", 1),
        pod("train-0", "train", 1),
        pod("train-1", "train", 2),
    ];
    let pods = file("pods.json", format!(r#"{{"kind":"List","items":[{}]}}"#, list.join(",")));
    let samples = [
        series("bert-worker-0", "a", 9_000),
        series("bert-worker-1", "b", 9_000),
        // Of the same owner, but gone.
        series("bert-worker-2", "c", 9_000),
        series("bench-1", "d", 5_000),
        series("train-0", "e", 5_000),
        series("train-1", "f", 5_000),
        series("train-1", "g", 5_000),
        series("other-0", "h", 5_000),
    ];
    let samples = file("samples.json", format!("[{}]", samples.join(",")));
    let expected = ["ml,bench-1,,1", "ml,bert,,2", "ml,train (1 GPU),,1", "ml,train (2 GPUs),,1"];
    let both = ["-q", "--prometheus", &samples, "--pods", &pods];
    let (listed, other): (Vec<String>, _) =
        demand(&both).into_iter().partition(|row| !row.contains("other"));
    assert_eq!(
        (listed, other),
        (expected.map(String::from).to_vec(), vec!["ml,other,5000,1".to_string()])
    );
    // However else samples would be named.
    for flags in [&["--group-by", "pod"][..], &["--team-label", "account"]] {
        let found = demand(&[&both[..], flags].concat());
        let listed: Vec<&String> =
            found.iter().filter(|row| expected.contains(&row.as_str())).collect();
        assert_eq!(listed.len(), 4, "{flags:?}: {found:?}");
        let others: Vec<&String> =
            found.iter().filter(|row| !expected.contains(&row.as_str())).collect();
        assert!(
            others.iter().all(|row| row.contains("other") || row.contains("worker-2")),
            "{flags:?}: {found:?}"
        );
    }
}

#[test]
fn a_name_that_is_made_collides_with_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (samples, table) = (path("samples.json"), path("teams.csv"));
    let all = [
        series("train-0", "a", 9_000),
        series("train-1", "b", 9_000),
        series("train-1", "c", 9_000),
        series("train-2gpus-0", "d", 7_000),
    ];
    std::fs::write(&samples, format!("[{}]", all.join(","))).unwrap();
    let expected = ["ml,train,9000,1", "ml,train-2gpus,7000,1", "ml,train-2gpus-2,,1"];
    assert_eq!(demand(&["-q", "--prometheus", &samples]), expected);
    assert!(migplan(&["demand", "-q", "--prometheus", &samples, "-o", &table]).status.success());
    assert_eq!(demand(&["-q", "--workloads", &table]), expected);
    let plan = migplan(&["suggest", "-q", "--prometheus", &samples, "--gpus", "8xa100-80gb"]);
    assert!(plan.status.success(), "{}", stderr(&plan));
}

#[test]
fn a_label_that_no_series_has_is_named() {
    let from = sample("e2e_scrape_text.prom");
    let (code, text) = failure(&["--prometheus", &from, "--group-by", "nolabel"]);
    assert_eq!(code, 3);
    assert!(
        text.contains("has no series with the label 'nolabel', which --group-by names"),
        "{text}"
    );
    assert!(text.contains("hint: the series have ") && text.contains("Hostname, UUID"), "{text}");
    let said = stderr(&migplan(&["demand", "--prometheus", &from, "--team-label", "nolabel"]));
    assert!(said.contains("warning: no series has the label 'nolabel', which --team-label names, so every workload is of team 'default'; the series have "), "{said}");
    let said = stderr(&migplan(&["demand", "--prometheus", &from, "--team-label", "Hostname"]));
    assert!(!said.contains("--team-label"), "{said}");
}

#[test]
fn files_together_count_what_they_share_once() {
    let range = sample("promtool_query_range.json");
    let once = migplan(&["demand", "--prometheus", &range]);
    let twice = migplan(&["demand", "--prometheus", &range, "--prometheus", &range]);
    assert_eq!(stdout(&once), stdout(&twice));
    // Scrapes of two nodes are of one instant, in either order.
    let nodes = [sample("e2e_scrape_text.prom"), sample("synthetic_4.8.3_lowercase_hostname.prom")];
    let a = rows(&["-q", "--prometheus", &nodes[0], "--prometheus", &nodes[1]]);
    let b = rows(&["-q", "--prometheus", &nodes[1], "--prometheus", &nodes[0]]);
    assert_eq!(a, b);
    assert_eq!(a.len(), 7);
}

#[test]
fn headroom_format_and_stdin() {
    let raised = demand(&[
        "-q",
        "--prometheus",
        &sample("synthetic_4.8.3_lowercase_hostname.prom"),
        "--headroom",
        "10%",
    ]);
    assert_eq!(raised, ["nlp,embed,7383,1"]);
    let output = migplan(&[
        "demand",
        "--prometheus",
        &sample("dgx_a100_mig_mixed_fb.prom"),
        "--format",
        "json",
    ]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["schema"], "migplan.demand/v1");
    assert_eq!(json["workloads"][3]["memory_mib"], 36634);
    assert_eq!(json["workloads"][3]["origin"]["pods"], 1);
    assert_eq!(json["left_out"][1]["count"], 18);
    let mut command = assert_cmd::Command::cargo_bin("migplan").unwrap();
    let text = std::fs::read(sample("synthetic_4.8.3_lowercase_hostname.prom")).unwrap();
    let run = command.args(["demand", "--prometheus", "-"]).write_stdin(text).assert().success();
    assert!(String::from_utf8_lossy(&run.get_output().stdout).contains("nlp,embed,6711,1"));
}

#[test]
fn a_range_of_minutes_is_told() {
    let said = |file: &str| stderr(&migplan(&["demand", "--prometheus", file]));
    let warning = "warning: the samples span 1m45s only, and peaks outside are not seen";
    let short = said(&sample("promtool_query_range.json"));
    assert_eq!(short.matches(warning).count(), 1, "{short}");
    // One scrape or one instant is meant as such.
    for name in [
        "e2e_federate_with_ts.prom",
        "e2e_scrape_text.prom",
        "api_query_vector.json",
        "promtool_query_instant.json",
    ] {
        let said = said(&sample(name));
        assert!(!said.contains("the samples span"), "{name}: {said}");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hours.json").display().to_string();
    let of = |last: i64| {
        let labels = r#""__name__":"DCGM_FI_DEV_FB_USED","UUID":"g","pod":"a","namespace":"n""#;
        format!(r#"[{{"metric":{{{labels}}},"values":[[0,"900"],[{last},"900"]]}}]"#)
    };
    for (last, is_short) in [(3_599, true), (3_600, false)] {
        std::fs::write(&file, of(last)).unwrap();
        let said = said(&file);
        assert_eq!(said.contains("the samples span 59m59s only"), is_short, "{said}");
    }
}

#[test]
fn quiet_hours_need_history() {
    let (code, text) =
        failure(&["--prometheus", &sample("promtool_query_range.json"), "--quiet-window", "2h"]);
    assert_eq!(code, 3);
    assert!(text.contains("the samples span 1m45s; quiet hours take at least a day"), "{text}");
    let (code, _) = failure(&["--workloads", &sample("gone.csv"), "--quiet-window", "2h"]);
    assert_eq!(code, 3);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("used.json").display().to_string();
    let values: Vec<String> = (0..96 * 15)
        .filter(|quarter| (6..22).contains(&(quarter / 4 % 24)))
        .map(|quarter| format!("[{},\"900\"]", 1_795_305_600 + quarter * 900))
        .collect();
    let idle: Vec<String> =
        (0..96 * 15).map(|quarter| format!("[{},\"12\"]", 1_795_305_600 + quarter * 900)).collect();
    let series = |labels: &str, values: &[String]| {
        format!(
            "{{\"metric\":{{{labels}\"UUID\":\"g\",\"__name__\":\"DCGM_FI_DEV_FB_USED\"}},\"values\":[{}]}}",
            values.join(",")
        )
    };
    let text = format!(
        "[{},{}]",
        series("\"pod\":\"a\",\"namespace\":\"n\",", &values),
        series("\"gpu\":\"1\",", &idle)
    );
    std::fs::write(&file, text).unwrap();
    let output = migplan(&["demand", "--prometheus", &file, "--quiet-window", "2h"]);
    assert!(
        stdout(&output).contains(
            "# quiet: every day 00:00-02:00 UTC: 0.0 in use on average, 0 at most, seen on 15 days"
        ),
        "{}{}",
        stdout(&output),
        stderr(&output)
    );
    let shifted = migplan(&[
        "demand",
        "--prometheus",
        &file,
        "--quiet-window",
        "2h",
        "--utc-offset",
        "-03:00",
    ]);
    assert!(
        stdout(&shifted).contains("busiest: every day 03:00-05:00 UTC-03:00"),
        "{}",
        stdout(&shifted)
    );
}

/// A file with this text.
fn written(folder: &tempfile::TempDir, name: &str, text: &str) -> String {
    let file = folder.path().join(name).display().to_string();
    std::fs::write(&file, text).unwrap();
    file
}

#[test]
fn a_partial_answer_in_a_file_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"{"status":"success","isPartial":true,"data":{"resultType":"matrix","result":[{"metric":{"__name__":"DCGM_FI_DEV_FB_USED","UUID":"GPU-a","namespace":"nlp","pod":"a-0"},"values":[[1795344000,"5000"]]}]}}"#;
    for (text, times) in [(text, 1), (&text.replacen("true", "false", 1), 0)] {
        let output = migplan(&["demand", "--prometheus", &written(&folder, "f.json", text)]);
        assert!(output.status.success(), "{}", stderr(&output));
        assert_eq!(stderr(&output).matches("answer is partial").count(), times);
    }
}

#[test]
fn where_only_kube_state_metrics_tells_the_hint_is_about_that() {
    let folder = tempfile::tempdir().unwrap();
    let series = |name: &str, labels: &str| {
        format!(
            "{{\"metric\":{{\"__name__\":\"{name}\",\"namespace\":\"nlp\",\"pod\":\"train-0\",{labels}}},\"values\":[[1795344000,\"1\"],[1795347600,\"1\"]]}}"
        )
    };
    let request = |resource: &str| {
        series("kube_pod_container_resource_requests", &format!("\"resource\":\"{resource}\""))
    };
    let ended = series("kube_pod_status_phase", "\"phase\":\"Succeeded\"");
    for (text, problem, hint) in [
        (
            format!("[{},{ended}]", request("nvidia_com_mig_3g_40gb")),
            "1 pod that had ended",
            "hint: take a time in which pods run",
        ),
        (
            format!("[{}]", request("nvidia_com_mig_9g_90gb")),
            "which no board has",
            "hint: `migplan catalogue` lists the profiles",
        ),
        (
            format!("[{ended}]"),
            "tells of owners and ends of pods, but neither of memory",
            "hint: query the memory as well",
        ),
    ] {
        let (code, said) = failure(&["--prometheus", &written(&folder, "f.json", &text)]);
        assert_eq!(code, 3);
        assert!(said.contains(problem) && said.contains(hint), "{said}");
    }
}

/// Two idle GPUs and, with `used`, a busy one, as a server names them that does not honour labels.
fn of_exporter(pod: &str, job: &str, used: &str) -> String {
    let exporter =
        format!("namespace=\"monitoring\",pod=\"{pod}\",container=\"exporter\",job=\"{job}\"");
    let line = |gpu: u32, mib: u32, more: &str| {
        format!(
            "DCGM_FI_DEV_FB_USED{{gpu=\"{gpu}\",UUID=\"GPU-{gpu}\",Hostname=\"n1\",{exporter}{more}}} {mib} 1795344000000\n"
        )
    };
    let busy = if used.is_empty() { String::new() } else { line(2, 9_000, used) };
    [line(0, 4, ""), line(1, 4, ""), busy].concat()
}

#[test]
fn an_exporter_of_any_name_is_no_workload() {
    let folder = tempfile::tempdir().unwrap();
    // Nothing is busy, and the job is called as the exporter is.
    for job in ["gpu-metrics", "monitoring/gpu-metrics"] {
        let file = written(&folder, "f.prom", &of_exporter("gpu-metrics-x2x7k", job, ""));
        let (code, said) = failure(&["--prometheus", &file]);
        assert_eq!(code, 3);
        assert!(said.contains("2 idle GPUs: no pod holds them"), "{said}");
    }
    // Called otherwise, it may be a pod that holds the GPUs.
    let file = written(&folder, "f.prom", &of_exporter("gpu-metrics-x2x7k", "gpus", ""));
    let output = migplan(&["demand", "--prometheus", &file]);
    let said = stderr(&output);
    assert!(said.contains("no more memory of it than an idle one does"), "{said}");
    assert!(said.contains("honor_labels") && said.contains("monitoring/gpu-metrics"), "{said}");
    let busy = ",exported_namespace=\"nlp\",exported_pod=\"serve-0\"";
    let file = written(&folder, "f.prom", &of_exporter("gpu-metrics-x2x7k", "gpus", busy));
    assert_eq!(demand(&["-q", "--prometheus", &file]), ["nlp,serve,9000,1"]);
    // A workload that is called as the job is, and uses memory.
    let text = of_exporter("gpu-metrics-x2x7k", "gpu-metrics", "").replace("} 4 ", "} 9000 ");
    let file = written(&folder, "f.prom", &text);
    assert_eq!(rows(&["-q", "--prometheus", &file]).len(), 1);
}
