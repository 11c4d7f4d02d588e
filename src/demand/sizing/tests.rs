use super::*;
use crate::demand::SizeOf;
use crate::demand::prometheus;
use crate::demand::usage::{GroupBy, REQUESTS, Reading};
use crate::hardware::Catalogue;

/// Reads texts as files, one after the other, and sizes them.
fn sized(files: &[&str], reading: Reading, rules: Rules) -> Sizing {
    let mut usage = Usage::new(reading);
    for (i, file) in files.iter().enumerate() {
        let name = format!("file {i}");
        usage.begin(&name);
        prometheus::read(file.as_bytes(), &name, &mut usage).unwrap();
    }
    size(&mut usage, rules, &Catalogue::built_in())
}

/// `team/name memory×count` of each workload; `gpus` instead of memory for whole GPUs.
fn rows(sizing: &Sizing) -> Vec<String> {
    let row = |w: &Workload| match w.memory {
        Some(memory) => format!("{} {}x{}", w.label(), memory.0, w.count),
        None => format!("{} {}gpus x{}", w.label(), w.whole_gpus, w.count),
    };
    sizing.demand.workloads().iter().map(row).collect()
}

fn plain(files: &[&str]) -> Vec<String> {
    rows(&sized(files, Reading::default(), Rules::default()))
}

/// One series of query_range; labels as JSON members, points as (minute, MiB).
fn series(labels: &str, points: &[(i64, u32)]) -> String {
    let points: Vec<String> = points
        .iter()
        .map(|(minute, mib)| format!("[{},\"{mib}\"]", 1_795_000_000 + minute * 60))
        .collect();
    format!(
        "{{\"metric\":{{\"__name__\":\"DCGM_FI_DEV_FB_USED\",\"namespace\":\"n\",{labels}}},\"values\":[{}]}}",
        points.join(",")
    )
}

fn pod(pod: &str, device: &str, points: &[(i64, u32)]) -> String {
    series(&format!("\"pod\":\"{pod}\",\"UUID\":\"{device}\",\"GPU_I_ID\":\"1\""), points)
}

fn answer(all: &[String]) -> String {
    format!("[{}]", all.join(","))
}

#[test]
fn count_is_the_most_at_once() {
    let at = |minutes: std::ops::Range<i64>| minutes.map(|m| (m, 100)).collect::<Vec<_>>();
    // Two at once, a third after the first has gone: 2, whatever the order of the series.
    let mut all = vec![
        pod("a-x2x7k", "g1", &at(0..10)),
        pod("a-b4c5d", "g2", &at(5..20)),
        pod("a-d7f8g", "g1", &at(10..20)),
    ];
    assert_eq!(plain(&[&answer(&all)]), ["n/a 100x2"]);
    all.reverse();
    assert_eq!(plain(&[&answer(&all)]), ["n/a 100x2"]);
    // Each seen once, one after the other.
    let all_once = [pod("a-x2x7k", "g1", &[(0, 5)]), pod("a-b4c5d", "g2", &[(1, 5)])];
    assert_eq!(plain(&[&answer(&all_once)]), ["n/a 5x1"]);
    // Spread over files, and one of them twice.
    let files: Vec<String> = all.iter().map(|s| answer(std::slice::from_ref(s))).collect();
    assert_eq!(plain(&[&files[0], &files[1], &files[2], &files[0]]), ["n/a 100x2"]);
}

#[test]
fn the_count_can_cover_a_share_of_the_time() {
    let at = |minutes: std::ops::Range<i64>| minutes.map(|m| (m, 100)).collect::<Vec<_>>();
    let all = answer(&[pod("a-x2x7k", "g1", &at(0..100)), pod("a-b4c5d", "g2", &at(40..45))]);
    let rules = |share: &str| Rules { count: share.parse().unwrap(), ..Rules::default() };
    assert_eq!(rows(&sized(&[&all], Reading::default(), rules("1"))), ["n/a 100x2"]);
    assert_eq!(rows(&sized(&[&all], Reading::default(), rules("0.96"))), ["n/a 100x2"]);
    assert_eq!(rows(&sized(&[&all], Reading::default(), rules("95%"))), ["n/a 100x1"]);
}

#[test]
fn memory_is_a_value_that_was_seen() {
    let points: Vec<(i64, u32)> = (1..=200).map(|i| (i, i as u32)).collect();
    let all = answer(&[pod("a-0", "g", &points)]);
    for (share, mib) in
        [("0.99", 198), ("0.5", 100), ("1", 200), ("0", 1), ("0.001", 1), ("0.991", 199)]
    {
        let rules = Rules { memory: share.parse().unwrap(), ..Rules::default() };
        assert_eq!(rows(&sized(&[&all], Reading::default(), rules)), [format!("n/a {mib}x1")]);
    }
    // Many samples are counted instead of kept.
    let many: Vec<(i64, u32)> = (0..100_000).map(|i| (i, 1 + (i % 1000) as u32)).collect();
    let many = answer(&[pod("a-0", "g", &many)]);
    let most = Rules { memory: "99%".parse().unwrap(), ..Rules::default() };
    assert_eq!(rows(&sized(&[&many], Reading::default(), most)), ["n/a 990x1"]);
    assert_eq!(plain(&[&many]), ["n/a 1000x1"]);
    assert!("1.1".parse::<Quantile>().is_err() && "-0.1".parse::<Quantile>().is_err());
}

#[test]
fn pairs_of_servers_count_once() {
    let with = |replica: &str, points: &[(i64, u32)]| {
        series(&format!("\"pod\":\"a-0\",\"UUID\":\"g\",\"replica\":\"{replica}\""), points)
    };
    let all = answer(&[with("1", &[(0, 5), (1, 9), (2, 5)]), with("2", &[(0, 6), (1, 7), (3, 1)])]);
    let half = Rules { memory: "0.5".parse().unwrap(), ..Rules::default() };
    let sizing = sized(&[&all], Reading::default(), half);
    // 6, 9, 5, 1
    assert_eq!(rows(&sizing), ["n/a 5x1"]);
    assert_eq!(sizing.origins.values().next().unwrap().observed.samples, 4);
}

#[test]
fn idle_devices_of_a_server_that_does_not_honour_labels_have_no_pod() {
    let exporter = "\"job\":\"j\",\"pod\":\"metrics-k8f9t\",\"container\":\"exporter\"";
    let busy = series(
        &format!(
            "{exporter},\"UUID\":\"g1\",\"exported_pod\":\"a-0\",\"exported_namespace\":\"t\""
        ),
        &[(0, 7)],
    );
    // The idle series comes first, when nothing tells yet that the pod is the exporter's.
    let idle = series(&format!("{exporter},\"UUID\":\"g2\""), &[(0, 12)]);
    let sizing = sized(&[&answer(&[idle, busy])], Reading::default(), Rules::default());
    assert_eq!(rows(&sizing), ["t/a 7x1"]);
    assert_eq!(sizing.unused[0].text, "1 idle GPU: no pod holds it");
    // The old spelling beside the exporter's own labels.
    let old = "DCGM_FI_DEV_FB_USED{gpu=\"0\",uuid=\"g\",pod=\"metrics-1\",namespace=\"mon\",pod_name=\"b-0\",pod_namespace=\"t\",container_name=\"c\"} 5\nDCGM_FI_DEV_FB_USED{gpu=\"1\",uuid=\"h\",pod=\"metrics-1\",namespace=\"mon\"} 5\n";
    assert_eq!(plain(&[old]), ["t/b 5x1"]);
}

#[test]
fn pods_that_share_a_device_are_flagged_not_summed() {
    let all = answer(&[
        pod("a-0", "g", &[(0, 15_866), (1, 15_866)]),
        pod("b-0", "g", &[(0, 15_866), (1, 15_866)]),
    ]);
    let sizing = sized(&[&all], Reading::default(), Rules::default());
    assert_eq!(rows(&sizing), ["n/a 15866x1", "n/b 15866x1"]);
    assert!(sizing.origins.values().all(|origin| origin.shares_device));
    assert!(sizing.warnings[0].message.ends_with("n/a, n/b"), "{:?}", sizing.warnings);
    // One after the other is no sharing.
    let all = answer(&[pod("a-0", "g", &[(0, 5), (1, 5)]), pod("b-0", "g", &[(2, 5), (3, 5)])]);
    let sizing = sized(&[&all], Reading::default(), Rules::default());
    assert!(sizing.origins.values().all(|origin| !origin.shares_device));
    let [short] = &sizing.warnings[..] else { panic!("{:?}", sizing.warnings) };
    assert!(short.message.starts_with("the samples span"), "{short}");
}

#[test]
fn several_devices_of_one_pod() {
    // Instances: each is a replica. Whole GPUs: MIG cannot serve a pod that needs several.
    let instance = |id: &str| {
        series(&format!("\"pod\":\"a-0\",\"UUID\":\"g\",\"GPU_I_ID\":\"{id}\""), &[(0, 9)])
    };
    let sizing =
        sized(&[&answer(&[instance("1"), instance("2")])], Reading::default(), Rules::default());
    assert_eq!(rows(&sizing), ["n/a 9x2"]);
    assert!(sizing.warnings[0].message.contains("several instances"));
    let whole = |pod: &str, uuid: &str| {
        series(&format!("\"pod\":\"{pod}\",\"UUID\":\"{uuid}\""), &[(0, 9)])
    };
    let ddp = [whole("ddp-0", "1"), whole("ddp-0", "2"), whole("ddp-1", "3"), whole("ddp-1", "4")];
    assert_eq!(plain(&[&answer(&ddp)]), ["n/ddp 2gpus x2"]);
    let mixed = [whole("jupyter-al", "1"), whole("jupyter-al", "2"), whole("jupyter-bo", "3")];
    assert_eq!(plain(&[&answer(&mixed)]), ["n/jupyter 9x1", "n/jupyter-2gpus 2gpus x1"]);
}

#[test]
fn scrapes_without_times() {
    let scrape = |lines: &[(&str, &str, u32)]| {
        let lines: Vec<String> = lines
            .iter()
            .map(|(uuid, pod, mib)| {
                format!(
                    "DCGM_FI_DEV_FB_USED{{UUID=\"{uuid}\",namespace=\"n\",pod=\"{pod}\"}} {mib}\n"
                )
            })
            .collect();
        format!("# TYPE DCGM_FI_DEV_FB_USED gauge\n{}", lines.concat())
    };
    let early = scrape(&[("g1", "a-x2x7k", 5), ("g2", "a-b4c5d", 6)]);
    let late = scrape(&[("g1", "a-d7f8g", 7), ("g2", "", 0)]);
    let other = scrape(&[("g3", "a-f5h6j", 8)]);
    // The same devices again are a later look; other devices are another node's at the same time.
    assert_eq!(plain(&[&early, &late]), ["n/a 7x2"]);
    assert_eq!(plain(&[&early, &other]), ["n/a 8x3"]);
    // Appended to one file.
    assert_eq!(plain(&[&format!("{early}{late}{early}")]), ["n/a 7x2"]);
}

#[test]
fn federation_sees_targets_at_slightly_other_times() {
    let line = |pod: &str, uuid: &str, ms: i64| {
        format!("DCGM_FI_DEV_FB_USED{{UUID=\"{uuid}\",namespace=\"n\",pod=\"{pod}\"}} 5 {ms}\n")
    };
    let text = format!(
        "{}{}",
        line("a-x2x7k", "g1", 1_795_344_100_655),
        line("a-b4c5d", "g2", 1_795_344_103_794)
    );
    assert_eq!(plain(&[&text]), ["n/a 5x2"]);
}

#[test]
fn units_come_from_the_name_the_help_or_the_flag() {
    let bytes = "# HELP DCGM_FI_DEV_FB_USED Framebuffer memory used (in bytes).\nDCGM_FI_DEV_FB_USED{UUID=\"g\",namespace=\"n\",pod=\"a\"} 1.048576e+09\n";
    assert_eq!(plain(&[bytes]), ["n/a 1000x1"]);
    let named = "DCGM_FI_DEV_FB_USED_BYTES{UUID=\"g\",namespace=\"n\",pod=\"a\"} 1048576000\n";
    assert_eq!(plain(&[named]), ["n/a 1000x1"]);
    let bare = "[{\"metric\":{\"namespace\":\"n\",\"pod\":\"a\"},\"value\":[1,\"1048576000\"]}]";
    let reading = Reading { unit: Some("bytes".parse().unwrap()), ..Reading::default() };
    assert_eq!(rows(&sized(&[bare], reading, Rules::default())), ["n/a 1000x1"]);
    let error = {
        let mut usage = Usage::new(Reading::default());
        usage.begin("f");
        prometheus::read(bare.as_bytes(), "f", &mut usage).unwrap();
        size(&mut usage, Rules::default(), &Catalogue::built_in()).or_explain(&usage).unwrap_err()
    };
    assert_eq!(error.hint.as_deref(), Some("values in bytes need --unit bytes"));
}

#[test]
fn what_is_not_used_is_named() {
    let all = answer(&[
        pod("short-0", "g1", &[(0, 5)]),
        pod("long-0", "g2", &[(0, 5), (1, 6), (2, 5)]),
        pod("zero-0", "g3", &[(0, 0), (1, 0)]),
        series("\"UUID\":\"g4\"", &[(0, 3)]),
    ]);
    let text = all.replace("\"6\"", "\"NaN\"").replacen(
        "[1795000000,\"0\"]",
        "[1795000000,\"9223372036854775794\"]",
        1,
    );
    let rules = Rules { min_samples: 1, ..Rules::default() };
    let sizing = sized(&[&text], Reading::default(), rules);
    let causes: Vec<&str> = sizing.unused.iter().map(|unused| unused.cause).collect();
    assert_eq!(causes, ["idle", "not_a_number", "blank", "no_memory"]);
    assert_eq!(rows(&sizing), ["n/long 5x1", "n/short 5x1"]);
    let rules = Rules { min_samples: 2, ..Rules::default() };
    let sizing = sized(&[&all], Reading::default(), rules);
    assert_eq!(rows(&sizing), ["n/long 6x1"]);
    assert!(
        sizing
            .unused
            .iter()
            .any(|unused| unused.text == "1 workload with fewer than 2 samples: n/short (1)")
    );
}

#[test]
fn teams_and_workloads_by_other_labels() {
    let text = "DCGM_FI_DEV_FB_USED{UUID=\"g\",hpc_job=\"1234\",account=\"bio\"} 5\nDCGM_FI_DEV_FB_USED{UUID=\"h\",hpc_job=\"1234\"} 7\n";
    let reading = Reading {
        group_by: "hpc_job".parse().unwrap(),
        team_label: Some("account".into()),
        ..Reading::default()
    };
    assert_eq!(
        rows(&sized(&[text], reading, Rules::default())),
        ["bio/1234 5x1", "default/1234 7x1"]
    );
    let container =
        "DCGM_FI_DEV_FB_USED{UUID=\"g\",namespace=\"n\",pod=\"a\",container=\"main\"} 5\n";
    let reading = Reading { group_by: GroupBy::Container, ..Reading::default() };
    assert_eq!(rows(&sized(&[container], reading, Rules::default())), ["n/main 5x1"]);
}

/// `pod start-last<end memory` in minutes.
fn spans(sizing: &Sizing) -> Vec<String> {
    let minute = |ms: i64| ms / 60_000 - 1_795_000_000 / 60;
    let row = |s: &PodSpan| {
        let (start, last, end) = (minute(s.start_ms), minute(s.last_ms), minute(s.end_ms));
        format!("{}/{} {} {start}-{last}<{end} {}", s.team, s.workload, s.pod, s.memory.0)
    };
    sizing.spans.iter().map(row).collect()
}

#[test]
fn with_a_lower_quantile_what_is_above_it_is_kept() {
    let points: Vec<(i64, u32)> =
        (1..=100).map(|i: i64| (i, (i as u32).div_ceil(10) * 100)).collect();
    let all = answer(&[pod("a-0", "g", &points)]);
    let of = |share: &str| {
        let rules = Rules { memory: share.parse().unwrap(), ..Rules::default() };
        let sizing = sized(&[&all], Reading::default(), rules);
        sizing.demand.workloads()[0].observed.clone().unwrap()
    };
    let observed = of("80%");
    assert_eq!((observed.samples, observed.peak), (100, Mebibytes(1000)));
    assert_eq!(observed.above, [(Mebibytes(900), 10), (Mebibytes(1000), 10)]);
    assert_eq!(observed.samples_above(Mebibytes(799)), None);
    assert_eq!(observed.samples_above(Mebibytes(800)), Some(20));
    assert_eq!(observed.samples_above(Mebibytes(900)), Some(10));
    assert_eq!(observed.samples_above(Mebibytes(1000)), Some(0));
    assert!(of("1").above.is_empty());
}

/// One sample of a pod on an instance of an A100.
fn on_instance(pod: &str, profile: &str, mib: u32) -> String {
    let device = "\"UUID\":\"g\",\"GPU_I_ID\":\"7\",\"modelName\":\"NVIDIA A100-SXM4-80GB\"";
    series(&format!("\"pod\":\"{pod}\",{device},\"GPU_I_PROFILE\":\"{profile}\""), &[(0, mib)])
}

#[test]
fn readings_at_the_ceiling_and_ends_for_lack_of_memory_are_no_peak() {
    let limited = |all: &[String]| {
        let sizing = sized(&[&answer(all)], Reading::default(), Rules::default());
        let of = sizing.demand.workloads()[0].observed.clone().unwrap().limited.clone();
        (of, sizing.warnings)
    };
    let size = |name: &str, mib| Some(SizeOf { name: name.into(), memory: Mebibytes(mib) });
    let (found, warnings) = limited(&[on_instance("a-0", "1g.10gb", 9_700)]);
    let expected = Limited {
        at_ceiling: true,
        killed_pods: 0,
        instance: size("1g.10gb", 9_728),
        next: size("1g.20gb", 19_968),
    };
    assert_eq!(found, Some(expected.clone()));
    assert_eq!(
        warnings[0].message,
        "workloads that reached the memory of their instance may need more than was seen; raise their memory, or measure again on the next size: n/a (9700 MiB of 9728 MiB of its 1g.10gb; next is 1g.20gb with 19968 MiB)"
    );
    assert_eq!(limited(&[on_instance("a-0", "1g.10gb", 9_000)]).0, None);
    // Another pod of the workload shows that it needs no more than that.
    let (found, _) =
        limited(&[on_instance("a-0", "1g.10gb", 9_700), on_instance("a-1", "3g.40gb", 12_000)]);
    assert_eq!(found, None);
    let killed = |reason: &str, value: u32| {
        series(&format!("\"pod\":\"a-0\",\"reason\":\"{reason}\""), &[(0, value)])
            .replace("DCGM_FI_DEV_FB_USED", "kube_pod_container_status_last_terminated_reason")
    };
    let (found, warnings) =
        limited(&[on_instance("a-0", "1g.10gb", 5_000), killed("OOMKilled", 1)]);
    assert_eq!(found, Some(Limited { at_ceiling: false, killed_pods: 1, ..expected }));
    assert!(
        warnings[0].message.contains("n/a (1 pod, 5000 MiB seen; next is 1g.20gb"),
        "{warnings:?}"
    );
    for other in [killed("OOMKilled", 0), killed("Error", 1)] {
        assert_eq!(limited(&[other, on_instance("a-0", "1g.10gb", 5_000)]).0, None);
    }
}

#[test]
fn owners_that_are_known_are_not_guessed() {
    let owner = |metric: &str, labels: &str| {
        series(labels, &[(0, 1)]).replace("DCGM_FI_DEV_FB_USED", metric)
    };
    let pod_owner = |pod: &str, kind: &str, name: &str| {
        owner(
            "kube_pod_owner",
            &format!(
                "\"pod\":\"{pod}\",\"owner_kind\":\"{kind}\",\"owner_name\":\"{name}\",\"owner_is_controller\":\"true\""
            ),
        )
    };
    let all = answer(&[
        pod("train-llama-70", "g1", &[(0, 5)]),
        pod("web-42567", "g2", &[(0, 6)]),
        pod("odd-name", "g3", &[(0, 7)]),
        pod("by-hand-0", "g4", &[(0, 8)]),
        pod_owner("train-llama-70", "Pod", "train-llama-70"),
        pod_owner("web-42567", "ReplicaSet", "web-7c9d8b6f5"),
        pod_owner("odd-name", "ReplicaSet", "blue-7c9d8b6f5"),
        pod_owner("by-hand-0", "<none>", "<none>"),
        owner(
            "kube_replicaset_owner",
            "\"replicaset\":\"blue-7c9d8b6f5\",\"owner_kind\":\"Rollout\",\"owner_name\":\"green\"",
        ),
    ]);
    assert_eq!(
        plain(&[&all]),
        ["n/by-hand 8x1", "n/green 7x1", "n/train-llama-70 5x1", "n/web 6x1"]
    );
}

#[test]
fn names_are_those_that_a_csv_can_hold() {
    // JSON escapes: a control character in a name, and names of nothing else.
    let all = answer(&[
        pod("embe\\u0008-0", "g1", &[(0, 5)]),
        pod("\\u0001", "g2", &[(0, 6)]),
        pod(" odd -12", "g3", &[(0, 7)]),
        pod("owned-0", "g4", &[(0, 8)]),
        series("\"pod\":\"owned-0\",\"owner_kind\":\"Job\",\"owner_name\":\"\\u0001\"", &[(0, 1)])
            .replace("DCGM_FI_DEV_FB_USED", "kube_pod_owner"),
    ]);
    assert_eq!(plain(&[&all]), ["n/embe 5x1", "n/odd 7x1", "n/owned 8x1"]);
    let by_label = |group: &str, team: Option<&str>| {
        let reading = Reading {
            group_by: GroupBy::Label(group.to_string()),
            team_label: team.map(str::to_string),
            ..Reading::default()
        };
        let labels = "\"job_user\":\"\\u0001 eve\",\"account\":\"\\u0001\",\"UUID\":\"g1\"";
        rows(&sized(&[&answer(&[series(labels, &[(0, 5)])])], reading, Rules::default()))
    };
    assert_eq!(by_label("job_user", Some("account")), ["default/eve 5x1"]);
    assert_eq!(by_label("account", None), [""; 0]);
}

#[test]
fn known_metrics_bring_their_labels_and_unit() {
    // HAMi before and since 2.9: two pods on one GPU, each with its own memory.
    let hami = "vGPU_device_memory_usage_in_bytes{ctrname=\"c\",deviceuuid=\"GPU-1\",podname=\"a-x2x7k\",podnamespace=\"n\",vdeviceid=\"0\",zone=\"vGPU\",pod=\"hami-monitor-1\",namespace=\"kube-system\"} 1.048576e+09
vGPU_device_memory_usage_in_bytes{ctrname=\"c\",deviceuuid=\"GPU-1\",podname=\"b-0\",podnamespace=\"n\",vdeviceid=\"0\",zone=\"vGPU\",pod=\"hami-monitor-1\",namespace=\"kube-system\"} 2.097152e+09
hami_vgpu_memory_used_bytes{namespace=\"n\",pod=\"c-0\",container=\"c\",vdevice_index=\"0\",device_uuid=\"GPU-1\"} 3145728
DCGM_FI_DEV_FB_USED{UUID=\"GPU-1\",namespace=\"n\",pod=\"c-0\"} 40000
";
    let sizing = sized(&[hami], Reading::default(), Rules::default());
    assert_eq!(rows(&sizing), ["n/a 1000x1", "n/b 2000x1", "n/c 3x1"]);
    assert!(sizing.warnings.is_empty() && sizing.unused.is_empty(), "{:?}", sizing.unused);
    // Slurm: the team is the account, the workload the user, a replica a job.
    let job = |job: &str, user: &str, gpu: u32, node: &str| {
        format!(
            "slurm_job_memory_usage_gpu{{account=\"bio\",gpu=\"{gpu}\",gpu_type=\"NVIDIA A100-SXM4-80GB\",instance=\"{node}\",job=\"slurm\",slurmjobid=\"{job}\",user=\"{user}\"}} 5.36870912e+08\n"
        )
    };
    let slurm = [
        job("1", "eve", 0, "n1"),
        job("2", "eve", 0, "n1"),
        job("3", "bob", 0, "n2"),
        job("3", "bob", 1, "n2"),
    ]
    .concat();
    assert_eq!(plain(&[&slurm]), ["bio/bob 2gpus x1", "bio/eve 512x2"]);
}

#[test]
fn requests_are_demand_where_no_sample_shows_the_memory() {
    let request = |pod: &str, resource: &str, points: &[(i64, u32)]| {
        let labels = format!(
            "\"pod\":\"{pod}\",\"container\":\"c\",\"resource\":\"{resource}\",\"unit\":\"integer\""
        );
        series(&labels, points).replace("DCGM_FI_DEV_FB_USED", REQUESTS)
    };
    let mig = "nvidia_com_mig_1g_10gb";
    let all = answer(&[
        request("serve-7d9c5b6f4-x2x7k", mig, &[(0, 1), (1, 1)]),
        request("serve-7d9c5b6f4-b4c5d", mig, &[(1, 2), (2, 2)]),
        request("ddp-0", "nvidia_com_gpu", &[(0, 4)]),
        request("media-0", "nvidia_com_mig_1g_10gb_me", &[(0, 1)]),
        request("web-0", "cpu", &[(0, 4)]),
        request("sliced-0", "nvidia_com_gpu_shared", &[(0, 1)]),
        request("seen-0", mig, &[(0, 1)]),
        pod("seen-0", "g", &[(0, 5)]),
    ]);
    let sizing = sized(&[&all], Reading::default(), Rules::default());
    assert_eq!(rows(&sizing), ["n/ddp 4gpus x1", "n/media 9728x1", "n/seen 5x1", "n/serve 9728x3"]);
    assert!(sizing.demand.workloads()[1].media);
    assert_eq!(sizing.unused.len(), 1, "{:?}", sizing.unused);
    assert!(sizing.unused[0].text.contains("nvidia.com/gpu.shared"), "{:?}", sizing.unused);
    assert!(sizing.warnings[0].message.starts_with("3 workloads sized by what the pods ask for"));
    let serve: Vec<String> = spans(&sizing).into_iter().filter(|s| s.contains("serve")).collect();
    assert_eq!(serve.len(), 3);
    assert!(serve[0].ends_with("1-2<3 9728"), "{serve:?}");
}

/// A series of kube-state-metrics; labels without `namespace` as JSON members.
fn kube(metric: &str, labels: &str, points: &[(i64, u32)]) -> String {
    series(labels, points).replace("DCGM_FI_DEV_FB_USED", metric)
}

#[test]
fn a_pods_request_counts_once_whoever_tells_it() {
    let request = |container: &str, resource: &str, instance: &str, count: u32| {
        let labels = format!(
            "\"pod\":\"p-0\",\"container\":\"{container}\",\"resource\":\"{resource}\",\"instance\":\"{instance}\",\"node\":\"n1\""
        );
        kube(REQUESTS, &labels, &[(0, count), (5, count)])
    };
    let (mig, gpu) = ("nvidia_com_mig_1g_10gb", "nvidia_com_gpu");
    // Two kube-state-metrics tell the same.
    let twice = [request("c", mig, "a:8080", 1), request("c", mig, "b:8080", 1)];
    assert_eq!(plain(&[&answer(&twice)]), ["n/p 9728x1"]);
    // The containers of a pod ask together.
    let two = |resource: &str| {
        let of = |container: &str, instance: &str| request(container, resource, instance, 1);
        answer(&[of("c", "a:8080"), of("d", "a:8080"), of("c", "b:8080"), of("d", "b:8080")])
    };
    assert_eq!(plain(&[&two(gpu)]), ["n/p 2gpus x1"]);
    assert_eq!(plain(&[&two(mig)]), ["n/p 9728x2"]);
    let scrape = |container: &str| {
        format!(
            "{REQUESTS}{{namespace=\"n\",pod=\"p-0\",container=\"{container}\",resource=\"{gpu}\"}} 1\n"
        )
    };
    let scrape = scrape("c") + &scrape("d");
    assert_eq!(plain(&[&scrape, &scrape]), ["n/p 2gpus x1"]);
    // A container that took the place of another.
    let renamed = answer(&[
        request("c", gpu, "a:8080", 2),
        kube(
            REQUESTS,
            &format!("\"pod\":\"p-0\",\"container\":\"d\",\"resource\":\"{gpu}\""),
            &[(10, 2), (15, 2)],
        ),
    ]);
    assert_eq!(plain(&[&renamed]), ["n/p 2gpus x1"]);
}

#[test]
fn pods_that_have_ended_ask_for_nothing() {
    let request = |pod: &str, points: &[(i64, u32)]| {
        let resource = "\"container\":\"c\",\"resource\":\"nvidia_com_mig_1g_10gb\"";
        kube(REQUESTS, &format!("\"pod\":\"{pod}\",{resource}"), points)
    };
    let phase = |pod: &str, phase: &str, points: &[(i64, u32)]| {
        let labels = format!("\"pod\":\"{pod}\",\"phase\":\"{phase}\"");
        kube("kube_pod_status_phase", &labels, points)
    };
    let always = [(0, 1), (5, 1), (10, 1), (15, 1)];
    let all = [
        request("a-x2x7k", &always),
        request("a-b4c5d", &always),
        request("b-x2x7k", &always),
        request("c-0", &always),
        request("e-0", &always),
        // One after the other, each kept after its end.
        phase("a-x2x7k", "Running", &[(0, 1), (5, 1), (10, 0), (15, 0)]),
        phase("a-x2x7k", "Succeeded", &[(0, 0), (5, 0), (10, 1), (15, 1)]),
        phase("a-b4c5d", "Succeeded", &[(0, 1), (5, 1), (10, 0), (15, 0)]),
        phase("a-b4c5d", "Failed", &[(0, 0), (5, 0), (10, 0), (15, 0)]),
        phase("b-x2x7k", "Failed", &always),
        phase("c-0", "Pending", &always),
        // A query that leaves out zeros: a pod of the same name runs again.
        phase("e-0", "Succeeded", &[(0, 1), (5, 1)]),
        phase("c-0", "Failed", &[(0, 0), (5, 0), (10, 0), (15, 0)]),
    ];
    let expected = ["n/a 9728x1", "n/c 9728x1", "n/e 9728x1"];
    let sizing = sized(&[&answer(&all)], Reading::default(), Rules::default());
    assert_eq!(rows(&sizing), expected);
    let told: Vec<&str> = sizing.unused.iter().map(|unused| &*unused.text).collect();
    assert_eq!(told, ["1 pod that had ended: what they asked for is free"]);
    let backwards: Vec<String> = all.iter().rev().cloned().collect();
    assert_eq!(plain(&[&answer(&backwards)]), expected);
    let e: Vec<String> = spans(&sizing).into_iter().filter(|s| s.contains("n/e")).collect();
    assert_eq!(e.len(), 1, "{e:?}");
    assert!(e[0].contains(" 15-15<"), "{e:?}");
    assert_eq!(plain(&[&answer(&all[..5])])[0], "n/a 9728x2", "no phase is known");
    // A scrape without times.
    let scrape = |ended: u8| {
        format!(
            "{REQUESTS}{{namespace=\"n\",pod=\"d-0\",container=\"c\",resource=\"nvidia_com_gpu\"}} 1\nkube_pod_status_phase{{namespace=\"n\",pod=\"d-0\",phase=\"Succeeded\"}} {ended}\n"
        )
    };
    assert_eq!(plain(&[&scrape(0)]), ["n/d 1gpus x1"]);
    assert_eq!(plain(&[&scrape(1)]), [""; 0]);
}

#[test]
fn owners_are_found_where_labels_are_not_honoured() {
    let exported = "\"exported_namespace\":\"ml\"";
    let pod = format!("{exported},\"pod\":\"ksm-1\",\"exported_pod\":\"js-worker-0-0-x2x7k\"");
    let all = answer(&[
        kube(
            "kube_pod_owner",
            &format!("{pod},\"owner_kind\":\"Job\",\"owner_name\":\"js-worker-0\""),
            &[(0, 1)],
        ),
        kube(
            "kube_job_owner",
            &format!(
                "{exported},\"job_name\":\"js-worker-0\",\"owner_kind\":\"JobSet\",\"owner_name\":\"js\""
            ),
            &[(0, 1)],
        ),
        series(
            "\"exported_namespace\":\"ml\",\"exported_pod\":\"js-worker-0-0-x2x7k\",\"UUID\":\"g\"",
            &[(0, 5)],
        ),
    ]);
    assert_eq!(plain(&[&all]), ["ml/js 5x1"]);
}

#[test]
fn a_target_may_have_some_of_a_pods_labels_and_lack_others() {
    let gpu = |labels: &str, uuid: &str, mib: u32| {
        format!(
            "DCGM_FI_DEV_FB_USED{{UUID=\"{uuid}\",job=\"endpoints\",service=\"metrics\",{labels}}} {mib}\n"
        )
    };
    // Its namespace alone, as of an endpoint.
    let text = gpu(
        "namespace=\"ops\",exported_namespace=\"nlp\",pod=\"serve-7d9c5b6f4-x2x7k\",container=\"main\"",
        "a",
        5_000,
    ) + &gpu(
        "namespace=\"ops\",exported_namespace=\"search\",pod=\"serve-6b8f9c7d4-k2lpz\",container=\"main\"",
        "b",
        7_000,
    ) + &gpu("namespace=\"ops\"", "c", 12);
    let expected = ["nlp/serve 5000x1", "search/serve 7000x1"];
    assert_eq!(plain(&[&text]), expected);
    // Its pod alone.
    let exported_pod = |namespace: &str, pod: &str| {
        format!("namespace=\"{namespace}\",pod=\"m-0\",exported_pod=\"{pod}\",container=\"main\"")
    };
    let text = gpu(&exported_pod("nlp", "serve-7d9c5b6f4-x2x7k"), "a", 5_000)
        + &gpu(&exported_pod("search", "serve-6b8f9c7d4-k2lpz"), "b", 7_000);
    assert_eq!(plain(&[&text]), expected);
    let reading = Reading { group_by: GroupBy::Container, ..Reading::default() };
    let by_container = rows(&sized(&[&text], reading, Rules::default()));
    assert_eq!(by_container, ["nlp/main 5000x1", "search/main 7000x1"]);
    // What is known of pods is read the same way: this one asks for an instance, and has ended.
    let of = "namespace=\"kube-system\",exported_namespace=\"nlp\",pod=\"train-7d9c5b6f4-x2x7k\"";
    let request =
        format!("{REQUESTS}{{{of},container=\"c\",resource=\"nvidia_com_mig_3g_40gb\"}} 1\n");
    assert_eq!(plain(&[&request]), ["nlp/train 40192x1"]);
    let owner = format!("kube_pod_owner{{{of},owner_kind=\"PyTorchJob\",owner_name=\"bert\"}} 1\n");
    assert_eq!(plain(&[&(owner + &request)]), ["nlp/bert 40192x1"]);
    let ended = format!("kube_pod_status_phase{{{of},phase=\"Succeeded\"}} 1\n");
    assert_eq!(plain(&[&(ended + &request)]), [""; 0]);
}

#[test]
fn a_job_that_comes_to_honour_labels_keeps_its_pods() {
    let exporter = "\"job\":\"j\",\"pod\":\"metrics-k8f9t\",\"container\":\"exporter\"";
    let elsewhere = "\"job\":\"j\",\"pod\":\"gpu-metrics\",\"container\":\"exporter\"";
    let all = answer(&[
        series(
            &format!(
                "{exporter},\"UUID\":\"g1\",\"exported_pod\":\"old-0\",\"exported_namespace\":\"t\",\"exported_container\":\"c\""
            ),
            &[(0, 7), (5, 7)],
        ),
        // Idle devices of this exporter, of another of its DaemonSet, and of one with its container.
        series(&format!("{exporter},\"UUID\":\"g2\""), &[(0, 12)]),
        series(&format!("{},\"UUID\":\"g3\"", exporter.replace("k8f9t", "x2x7k")), &[(0, 12)]),
        series(&format!("{elsewhere},\"UUID\":\"g4\""), &[(0, 12)]),
        // Later, and in another cluster at the same time, labels are honoured.
        series("\"job\":\"j\",\"pod\":\"new-0\",\"container\":\"c\",\"UUID\":\"g1\"", &[(10, 9)]),
        series("\"job\":\"j\",\"pod\":\"far-0\",\"container\":\"c\",\"UUID\":\"g9\"", &[(0, 8)]),
    ]);
    let sizing = sized(&[&all], Reading::default(), Rules::default());
    assert_eq!(rows(&sizing), ["n/far 8x1", "n/new 9x1", "t/old 7x1"]);
    assert_eq!(sizing.unused[0].text, "3 idle GPUs: no pod holds them");
}

#[test]
fn names_that_are_made_are_nobody_elses() {
    let gpu = |pod: &str, uuid: &str| {
        series(&format!("\"pod\":\"{pod}\",\"UUID\":\"{uuid}\""), &[(0, 9), (5, 9)])
    };
    let request = |pod: &str| {
        let labels =
            format!("\"pod\":\"{pod}\",\"container\":\"c\",\"resource\":\"nvidia_com_gpu\"");
        kube(REQUESTS, &labels, &[(0, 1), (5, 1)])
    };
    let train = [gpu("train-0", "a"), gpu("train-1", "b"), gpu("train-1", "c")];
    for other in [gpu("train-2gpus-0", "d"), request("train-2gpus-0")] {
        let all = [&train[..], &[other]].concat();
        let sizing = sized(&[&answer(&all)], Reading::default(), Rules::default());
        let names: Vec<&str> = sizing.demand.workloads().iter().map(|w| &*w.name).collect();
        assert_eq!(names, ["train", "train-2gpus", "train-2gpus-2"]);
        assert_eq!(sizing.demand.workloads()[2].whole_gpus, 2);
        assert_eq!(sizing.origins.len(), 3);
    }
}

#[test]
fn a_staleness_marker_is_no_problem() {
    let line = |labels: &str, value: &str, second: i64| {
        format!(
            "{{__name__=\"DCGM_FI_DEV_FB_USED\", namespace=\"n\", {labels}}} {value} {}\n",
            1_795_000_000_000 + second * 1_000
        )
    };
    let of = |labels: &str, values: &[&str]| -> String {
        values.iter().zip(0..).map(|(value, i)| line(labels, value, i * 15)).collect()
    };
    let (a, b) = ("pod=\"a-0\", UUID=\"g\"", "pod=\"b-0\", UUID=\"h\"");
    let told = |text: &str| {
        let sizing = sized(&[text], Reading::default(), Rules::default());
        assert!(!sizing.demand.workloads().is_empty());
        sizing.unused.first().map(|unused| unused.text.clone())
    };
    let ended = of(a, &["5", "6", "NaN"]) + &of(b, &["5", "NaN"]);
    assert_eq!(told(&ended), None, "the last samples of two series");
    assert_eq!(told(&(of(a, &["5", "6", "NaN"]) + &line(a, "7", 300))), None, "before a gap");
    let wrong = "1 sample: not a number (NaN or infinite)";
    assert_eq!(told(&of(a, &["5", "NaN", "6"])).as_deref(), Some(wrong), "in between");
    assert_eq!(told(&(of(a, &["5"]) + &of(b, &["NaN"]))).as_deref(), Some(wrong), "alone");
    assert_eq!(told(&of(a, &["5", "+Inf"])).as_deref(), Some(wrong), "infinite");
}

#[test]
fn lines_of_an_export_are_scrapes() {
    let line = |pod: &str, start: i64, values: &str| {
        let times: Vec<String> =
            (0..2).map(|i| (1_795_000_000_000 + start + i * 15_000i64).to_string()).collect();
        format!(
            "{{\"metric\":{{\"__name__\":\"DCGM_FI_DEV_FB_USED\",\"namespace\":\"n\",\"pod\":\"{pod}\",\"UUID\":\"{pod}\"}},\"values\":[{values}],\"timestamps\":[{}]}}\n",
            times.join(",")
        )
    };
    let text = [line("a-x2x7k", 0, "5,7"), line("a-b4c5d", 700, "6.5,null")].concat();
    let sizing = sized(&[&text], Reading::default(), Rules::default());
    assert_eq!(rows(&sizing), ["n/a 7x2"]);
    assert_eq!(sizing.unused, [], "null is a staleness marker");
}

#[test]
fn the_time_line_has_a_span_for_each_replica() {
    let whole = |pod: &str, uuid: &str| {
        let points: Vec<(i64, u32)> = (0..4).map(|i| (i * 5, 9)).collect();
        series(&format!("\"pod\":\"{pod}\",\"UUID\":\"{uuid}\""), &points)
    };
    let all = answer(&[
        // Two instances, and a gap that is longer than a missed sample.
        pod("a-0", "g1", &[(0, 5), (1, 7), (2, 6), (30, 3), (31, 2)]),
        pod("a-0", "g2", &[(1, 8)]),
        pod("a-1", "g1", &[(3, 1)]),
        whole("ddp-0", "w1"),
        whole("ddp-0", "w2"),
    ]);
    let sizing = sized(&[&all], Reading::default(), Rules::default());
    assert_eq!(rows(&sizing), ["n/a 8x2", "n/ddp 2gpus x1"]);
    assert_eq!(
        spans(&sizing),
        [
            "n/a a-0 0-2<3 7",
            "n/a a-0 1-1<2 8",
            "n/a a-0 30-31<32 3",
            "n/a a-1 3-3<4 1",
            "n/ddp ddp-0 0-15<16 9",
        ]
    );
    // What is not sized has no span either, nor has a scrape without a time.
    let rules = Rules { min_samples: 8, ..Rules::default() };
    assert_eq!(spans(&sized(&[&all], Reading::default(), rules)).len(), 1);
    let scrape = "DCGM_FI_DEV_FB_USED{UUID=\"g\",namespace=\"n\",pod=\"a\"} 5\n";
    assert!(spans(&sized(&[scrape], Reading::default(), Rules::default())).is_empty());
}

#[test]
fn use_over_time_is_kept_for_charts() {
    let mut usage = Usage::new(Reading::default());
    usage.begin("f");
    let all = answer(&[
        pod("a-0", "g", &[(0, 5), (1, 6), (30, 4), (31, 3)]),
        pod("a-1", "h", &[(1, 9), (2, 2)]),
    ]);
    prometheus::read(all.as_bytes(), "f", &mut usage).unwrap();
    usage.settle();
    let values: Vec<Vec<u64>> = over_time(&usage, "n", "a")
        .iter()
        .map(|stretch| stretch.iter().map(|(_, mib)| mib.0).collect())
        .collect();
    assert_eq!(values, [vec![5, 9, 2], vec![4, 3]], "no pod is seen from minute 2 to 30");
}

/// A whole GPU of a pod; `labels` as JSON members.
fn whole(pod: &str, uuid: &str, labels: &str, points: &[(i64, u32)]) -> String {
    series(&format!("\"pod\":\"{pod}\",\"UUID\":\"{uuid}\",{labels}"), points)
}

fn every(minutes: i64, from: i64, to: i64) -> Vec<(i64, u32)> {
    (from..to).step_by(minutes as usize).map(|minute| (minute, 9)).collect()
}

#[test]
fn pods_that_move_between_nodes_keep_their_gpus() {
    let node = |name: &str| format!("\"Hostname\":\"{name}\"");
    let pair = |pod: &str, on: &str, points: &[(i64, u32)]| {
        let gpu = |number: u32| whole(pod, &format!("{on}-{number}"), &node(on), points);
        [gpu(0), gpu(1)]
    };
    let (early, late) = (every(5, 0, 60), every(5, 60, 120));
    let all = [
        pair("train-0", "n1", &early),
        pair("train-1", "n2", &late),
        pair("train-0", "n3", &late),
        pair("train-1", "n4", &early),
    ];
    let sizing = sized(&[&answer(&all.concat())], Reading::default(), Rules::default());
    assert_eq!(rows(&sizing), ["n/train 2gpus x2"]);
    assert_eq!(sizing.origins.values().next().unwrap().pods, 2);
    let expected = [
        "n/train train-0 0-55<60 9",
        "n/train train-0 60-115<120 9",
        "n/train train-1 0-55<60 9",
        "n/train train-1 60-115<120 9",
    ];
    assert_eq!(spans(&sizing), expected);
    // On the same node its next two GPUs go on with the time of the first two.
    let gpu = |number: u32, points: &[(i64, u32)]| {
        whole("a-0", &format!("g{number}"), &node("n"), points)
    };
    let all = [gpu(0, &early), gpu(1, &early), gpu(2, &late), gpu(3, &late)];
    let sizing = sized(&[&answer(&all)], Reading::default(), Rules::default());
    assert_eq!(
        (rows(&sizing), spans(&sizing)),
        (vec!["n/a 2gpus x1".into()], vec!["n/a a-0 0-115<120 9".into()])
    );
}

#[test]
fn gpus_of_two_nodes_are_two_replicas() {
    let gpu = |uuid: &str, labels: &str| whole("llm-0", uuid, labels, &every(5, 0, 60));
    let count = |all: &[String]| plain(&[&answer(all)]);
    let (one, two) = ("\"Hostname\":\"n1\"", "\"Hostname\":\"n2\"");
    assert_eq!(count(&[gpu("a", one), gpu("b", one)]), ["n/llm 2gpus x1"]);
    assert_eq!(count(&[gpu("a", one), gpu("b", two)]), ["n/llm 9x2"]);
    let cluster = |name: &str, more: &str| format!("\"cluster\":\"{name}\"{more}");
    let more = format!(",{one}");
    assert_eq!(
        count(&[gpu("a", &cluster("x", &more)), gpu("b", &cluster("y", &more))]),
        ["n/llm 9x2"]
    );
    assert_eq!(count(&[gpu("a", &cluster("x", "")), gpu("b", &cluster("y", ""))]), ["n/llm 9x2"]);
    // The exporter started again and has another name: GPUs that were seen under both say so.
    let named = |uuid: &str, exporter: &str, from: i64, to: i64| {
        whole("llm-0", uuid, &format!("\"instance\":\"{exporter}\""), &every(5, from, to))
    };
    let all =
        [named("a", "x:9400", 0, 60), named("a", "y:9400", 60, 120), named("b", "y:9400", 60, 120)];
    assert_eq!(count(&all), ["n/llm 2gpus x1"]);
    // A job of Slurm on two nodes, four GPUs each.
    let slurm = |node: &str, gpu: u32| {
        let labels = format!(
            "\"account\":\"n\",\"user\":\"ann\",\"slurmjobid\":\"7\",\"gpu\":\"{gpu}\",\"instance\":\"{node}\""
        );
        series(&labels, &[(0, 1 << 30)])
            .replace("DCGM_FI_DEV_FB_USED", "slurm_job_memory_usage_gpu")
    };
    let all: Vec<String> = (0..8).map(|i| slurm(["n1", "n2"][i / 4], i as u32 % 4)).collect();
    assert_eq!(count(&all), ["n/ann 4gpus x2"]);
}

#[test]
fn a_hand_over_is_no_sharing() {
    let shares = |all: &[String], as_range: bool| {
        let text = answer(all);
        // Scrapes, each with its own time, have no pod that is gone.
        let text = if as_range { text } else { scrapes(all) };
        let sizing = sized(&[&text], Reading::default(), Rules::default());
        (rows(&sizing), sizing.origins.values().any(|origin| origin.shares_device))
    };
    let web = |late: i64| {
        [pod("web-x2x7k", "g", &every(1, 0, 60 + late)), pod("web-b4c5d", "g", &every(1, 60, 120))]
    };
    let (one, two) = (vec!["n/web 9x1".to_string()], vec!["n/web 9x2".to_string()]);
    for late in [0, 1, 6] {
        assert_eq!(shares(&web(late), true), (one.clone(), false), "{late}");
    }
    assert_eq!(shares(&web(8), true), (two.clone(), true));
    assert_eq!(shares(&web(6), false), (two, true));
    // The last minutes of a range.
    let ends = [pod("web-x2x7k", "g", &every(1, 0, 60)), pod("web-b4c5d", "g", &every(1, 57, 60))];
    assert_eq!(shares(&ends, true), (one, false));
    // A pod on its next GPU, and its successor on the one before.
    let gpu = |uuid: &str, from: i64, to: i64| {
        whole("db-0", uuid, &format!("\"node\":\"{uuid}\""), &every(5, from, to))
    };
    let sizing = sized(
        &[&answer(&[gpu("a", 0, 120), gpu("b", 115, 240)])],
        Reading::default(),
        Rules::default(),
    );
    assert_eq!(rows(&sizing), ["n/db 9x1"]);
    assert_eq!(spans(&sizing), ["n/db db-0 0-115<115 9", "n/db db-0 115-235<240 9"]);
    assert_eq!(plain(&[&answer(&[gpu("a", 0, 120), gpu("b", 60, 240)])]), ["n/db 9x2"]);
}

/// The same as lines of an exposition with times.
fn scrapes(all: &[String]) -> String {
    let mut lines = String::new();
    for text in all {
        let series: serde_json::Value = serde_json::from_str(text).unwrap();
        let labels: Vec<String> = series["metric"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(label, value)| format!("{label}={value}"))
            .collect();
        for point in series["values"].as_array().unwrap() {
            let (seconds, value) = (&point[0], point[1].as_str().unwrap());
            lines.push_str(&format!("{{{}}} {value} {seconds}000\n", labels.join(",")));
        }
    }
    lines
}

#[test]
fn what_the_query_left_out_is_told_and_shared_by_nobody() {
    let without = |text: String, label: &str| text.replace(label, "\"other\"");
    let of = |number: u32| {
        let labels = format!(
            "\"pod\":\"web-{number}\",\"UUID\":\"g\",\"gpu\":\"0\",\"modelName\":\"A100\",\"GPU_I_PROFILE\":\"1g.10gb\",\"GPU_I_ID\":\"{number}\""
        );
        series(&labels, &every(5, 0, 60))
    };
    let found = |left_out: &[&str]| {
        let all = [0, 1].map(|i| left_out.iter().fold(of(i), |text, label| without(text, label)));
        let sizing = sized(&[&answer(&all)], Reading::default(), Rules::default());
        let origin = sizing.origins.values().next().unwrap();
        assert_eq!(rows(&sizing), ["n/web 9x2"], "{left_out:?}");
        let told = sizing.warnings.iter().any(|w| w.message.contains("left out which GPU"));
        assert_eq!(told, origin.any_device, "{left_out:?}");
        (origin.shares_device, origin.any_device)
    };
    let all = ["\"UUID\"", "\"gpu\"", "\"modelName\"", "\"GPU_I_PROFILE\"", "\"GPU_I_ID\""];
    assert_eq!(found(&[]), (false, false));
    assert_eq!(found(&all), (false, true));
    assert_eq!(found(&[all[0], all[1], all[3], all[4]]), (false, true), "modelName");
    assert_eq!(found(&[all[0], all[2], all[3], all[4]]), (false, true), "gpu");
    assert_eq!(found(&[all[4]]), (false, true), "GPU_I_ID");
    assert_eq!(found(&[all[3], all[4]]), (true, false), "a whole GPU");
    // Two jobs, one after the other on one GPU, as a function at one instant shows them.
    let nameless = |pod: &str| {
        whole(pod, "g", "\"Hostname\":\"n\"", &[(0, 9)])
            .replace("\"__name__\":\"DCGM_FI_DEV_FB_USED\",", "")
            .replace("\"values\":[", "\"value\":")
            .replace("]]", "]")
    };
    let all = answer(&[nameless("a"), nameless("b")]);
    let sizing = sized(&[&all], Reading::default(), Rules::default());
    assert_eq!(rows(&sizing), ["n/a 9x1", "n/b 9x1"]);
    assert!(sizing.origins.values().all(|origin| !origin.shares_device));
    assert!(sizing.warnings[0].message.contains("a function at one instant"));
}

#[test]
fn an_instance_after_a_repartition_is_another() {
    let after = on_instance("b-0", "3g.40gb", 9_700).replace("1795000000", "1795900000");
    let all = [on_instance("a-0", "1g.10gb", 4_000), after];
    let sizing = sized(&[&answer(&all)], Reading::default(), Rules::default());
    assert_eq!(rows(&sizing), ["n/a 4000x1", "n/b 9700x1"]);
    assert!(sizing.warnings.is_empty(), "{:?}", sizing.warnings);
    // A ceiling that the first profile would hide.
    let after = on_instance("b-0", "1g.10gb", 9_700).replace("1795000000", "1795900000");
    let all = [on_instance("a-0", "3g.40gb", 4_000), after];
    let sizing = sized(&[&answer(&all)], Reading::default(), Rules::default());
    assert!(sizing.warnings[0].message.contains("n/b (9700 MiB of 9728 MiB of its 1g.10gb"));
    // A series without the profile is of the same instance, whichever comes first.
    let named = on_instance("a-0", "1g.10gb", 4_000);
    let unnamed = named.replace("GPU_I_PROFILE", "other");
    for all in [[named.clone(), unnamed.clone()], [unnamed, named]] {
        assert_eq!(plain(&[&answer(&all)]), ["n/a 4000x1"]);
    }
}

#[test]
fn answers_in_one_file_have_steps_of_their_own() {
    let hourly = |from: i64, to: i64| answer(&[pod("a-0", "g", &every(60, from, to))]);
    let (early, late) = (hourly(0, 600), hourly(542, 1_200));
    let of = |files: &[&str]| spans(&sized(files, Reading::default(), Rules::default()));
    let expected = ["n/a a-0 0-1142<1202 9"];
    assert_eq!(of(&[&early, &late]), expected);
    assert_eq!(of(&[&late, &early]), expected);
    assert_eq!(of(&[&format!("{early}\n{late}")]), expected);
    // Keys in another order.
    let turned = |text: &str| {
        let (metric, values) =
            text.trim_matches(['[', ']', '{', '}']).split_once(",\"values\":").unwrap();
        format!("[{{\"values\":{values}]],{metric}}}]")
    };
    assert_eq!(of(&[&turned(&early), &turned(&late)]), expected);
}

#[test]
fn the_parts_of_one_query_have_one_step() {
    let mut usage = Usage::new(Reading::default());
    usage.begin_parts("server");
    for points in [every(60, 0, 240), vec![(240, 9), (360, 9)]] {
        let part = answer(&[pod("a-0", "g", &points)]);
        prometheus::read(part.as_bytes(), "server", &mut usage).unwrap();
    }
    let sizing = size(&mut usage, Rules::default(), &Catalogue::built_in());
    assert_eq!(spans(&sizing), ["n/a a-0 0-240<300 9", "n/a a-0 360-360<420 9"]);
}

mod the_same_history_in_any_files {
    //! Pods that run from one minute to another are the truth; files show it at their steps.

    use proptest::prelude::*;

    use super::*;

    const HOUR: i64 = 60;
    const END: i64 = 6 * 24 * HOUR;

    /// A pod: its memory, whether each replica has two GPUs, and from when to when it ran. Every
    /// time it ran on other GPUs of another node.
    #[derive(Debug, Clone)]
    struct Pod {
        mib: u32,
        two_gpus: bool,
        lives: Vec<(i64, i64)>,
    }

    /// Several lives of two hours or more, three or more apart: no missed sample is as long.
    fn pod() -> impl Strategy<Value = Pod> {
        let lives = prop::collection::vec((3 * HOUR..30 * HOUR, 2 * HOUR..40 * HOUR), 1..5);
        (1u32..9, any::<bool>(), lives).prop_map(|(mib, two_gpus, lengths)| {
            let mut at = -2 * HOUR;
            let lives = lengths.iter().map(|(pause, length)| {
                let start = at + pause;
                at = start + length;
                (start, at)
            });
            let lives = lives.filter(|(_, end)| *end < END).collect();
            Pod { mib, two_gpus, lives }
        })
    }

    /// A file: from when to when, and how many minutes from one sample to the next. Each has two
    /// samples at least, or nothing tells its step.
    type File = (i64, i64, i64);

    fn files() -> impl Strategy<Value = Vec<File>> {
        let one = prop_oneof![Just(5), Just(15), Just(60)].prop_map(|step| vec![(0, END, step)]);
        let two =
            (2 * HOUR..END - 2 * HOUR, 0..12 * HOUR, 0..HOUR).prop_map(|(middle, more, odd)| {
                vec![(0, (middle + more).min(END), HOUR), (middle / HOUR * HOUR + odd, END, HOUR)]
            });
        let within = (HOUR..END - HOUR, HOUR..48 * HOUR)
            .prop_map(|(from, length)| vec![(0, END, HOUR), (from, (from + length).min(END), 5)]);
        let after = (2..END / HOUR, prop_oneof![Just(5i64), Just(30)])
            .prop_map(|(hour, step)| vec![(0, hour * HOUR, HOUR), (hour * HOUR, END, step)]);
        let many = prop::collection::vec(0..HOUR, 12).prop_map(|odd| {
            let half_days = odd.into_iter().enumerate();
            half_days
                .map(|(i, odd)| {
                    let from = i as i64 * 12 * HOUR;
                    (from + odd, (from + 14 * HOUR).min(END), HOUR)
                })
                .collect()
        });
        prop_oneof![one, two, within, after, many]
    }

    fn text(pods: &[Pod], (from, to, step): File) -> String {
        // One that always runs tells the step of every file.
        let always = whole("always-0", "g", "\"node\":\"n\"", &every(step, from, to));
        let mut all = vec![always];
        for (number, pod) in pods.iter().enumerate() {
            let owner = if pod.two_gpus { "ddp" } else { "one" };
            for (life, (start, end)) in pod.lives.iter().enumerate() {
                let seen: Vec<(i64, u32)> = (from..to)
                    .step_by(step as usize)
                    .filter(|minute| (start..end).contains(&minute))
                    .map(|minute| (minute, pod.mib))
                    .collect();
                for gpu in 0..1 + u32::from(pod.two_gpus) {
                    if !seen.is_empty() {
                        let (on, name) = (format!("n{number}-{life}"), format!("{owner}-{number}"));
                        let labels = format!("\"node\":\"{on}\"");
                        all.push(whole(&name, &format!("{on}-{gpu}"), &labels, &seen));
                    }
                }
            }
        }
        answer(&all)
    }

    proptest! {
        #[test]
        fn shows_the_same_demand(pods in prop::collection::vec(pod(), 1..6), files in files()) {
            let texts: Vec<String> = files.iter().map(|file| text(&pods, *file)).collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let sizing = sized(&texts, Reading::default(), Rules::default());
            let minute = |ms: i64| ms / 60_000 - 1_795_000_000 / 60;
            let always: Vec<&PodSpan> = sizing.spans.iter().filter(|s| &*s.pod == "always-0").collect();
            prop_assert_eq!(always.len(), 1, "{:?}", always);
            for (owner, two_gpus) in [("ddp", true), ("one", false)] {
                let of_owner = pods.iter().zip(0..).filter(|(pod, _)| pod.two_gpus == two_gpus);
                let lives: Vec<(usize, u32, i64, i64)> = of_owner
                    .flat_map(|(pod, number)| pod.lives.iter().map(move |life| (number, pod.mib, life.0, life.1)))
                    .collect();
                let mut seen: Vec<&PodSpan> = sizing.spans.iter().filter(|s| &*s.workload == owner).collect();
                prop_assert_eq!(seen.len(), lives.len());
                if lives.is_empty() {
                    continue;
                }
                // Each life is one span, from its first sample to a step after its last: nowhere
                // within it does a pod seem to end.
                for (number, mib, start, end) in &lives {
                    let name = format!("{owner}-{number}");
                    let at = seen.iter().position(|s| {
                        *s.pod == *name && (*start..start + HOUR).contains(&minute(s.start_ms))
                    });
                    let Some(at) = at else {
                        return Err(TestCaseError::fail(format!("{name} from {start}: {:?}", spans(&sizing))));
                    };
                    let span = seen.swap_remove(at);
                    prop_assert!((end - HOUR..*end).contains(&minute(span.last_ms)), "{name} to {end}: {span:?}");
                    prop_assert!((*end..end + HOUR).contains(&minute(span.end_ms)), "{name} to {end}: {span:?}");
                    prop_assert_eq!(span.memory.0, u64::from(*mib));
                }
                // The most at once lies between that of lives an hour shorter and an hour longer.
                let most = |shorter: i64| {
                    let at = |minute: i64| lives.iter().filter(|(_, _, start, end)| {
                        (start + shorter..end - shorter).contains(&minute)
                    }).count() as u64;
                    (0..END).step_by(5).map(at).max().unwrap_or(0)
                };
                let workload = sizing.demand.workloads().iter().find(|w| &*w.name == owner).unwrap();
                prop_assert!((most(HOUR)..=most(-HOUR)).contains(&workload.count), "{:?}", workload);
                prop_assert_eq!(workload.whole_gpus, if two_gpus { 2 } else { 0 });
                let memory = lives.iter().map(|(_, mib, ..)| u64::from(*mib)).max();
                prop_assert_eq!(workload.memory.map(|m| m.0), memory.filter(|_| !two_gpus));
            }
        }
    }
}

mod against_a_naive_count {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    /// Pods: owner, device, first minute, minutes, memory at each; whether a second server saw it.
    type Pods = Vec<(u8, u8, i64, Vec<u32>, bool)>;

    fn pods() -> impl Strategy<Value = Pods> {
        let one = (0u8..3, 0u8..4, 0i64..30, prop::collection::vec(1u32..9, 1..20), any::<bool>());
        prop::collection::vec(one, 1..8)
    }

    proptest! {
        #[test]
        fn samples_in_any_order_and_split(
            pods in pods(), share in 0u32..=100, split in 1usize..4, rotate in 0usize..8,
        ) {
            let quantile: Quantile = format!("{share}%").parse().unwrap();
            let mut all = Vec::new();
            let mut values: BTreeMap<u8, Vec<u32>> = BTreeMap::new();
            let mut seen: BTreeMap<u8, BTreeMap<i64, BTreeSet<usize>>> = BTreeMap::new();
            for (number, (owner, device, start, memory, twice)) in pods.iter().enumerate() {
                let points: Vec<(i64, u32)> =
                    memory.iter().enumerate().map(|(i, mib)| (start + i as i64, *mib)).collect();
                let name = format!("w{owner}-xxxx{}", ['b', 'c', 'd', 'f', 'g', 'h', 'j', 'k'][number]);
                let labels = format!("\"pod\":\"{name}\",\"UUID\":\"{device}\",\"GPU_I_ID\":\"{number}\"");
                all.push(series(&labels, &points));
                if *twice {
                    let less: Vec<(i64, u32)> = points.iter().map(|(at, mib)| (*at, mib - 1)).collect();
                    all.push(series(&format!("{labels},\"replica\":\"2\""), &less));
                }
                values.entry(*owner).or_default().extend(memory);
                for (at, _) in points {
                    seen.entry(*owner).or_default().entry(at).or_default().insert(number);
                }
            }
            let expected: Vec<String> = values
                .iter_mut()
                .map(|(owner, values)| {
                    values.sort_unstable();
                    let rank = (values.len() * share as usize).div_ceil(100).max(1);
                    let count = seen[owner].values().map(BTreeSet::len).max().unwrap_or(0);
                    format!("n/w{owner} {}x{count}", values[rank - 1])
                })
                .collect();
            let middle = rotate % all.len();
            all.rotate_left(middle);
            let files: Vec<String> = all.chunks(split).map(answer).collect();
            let files: Vec<&str> = files.iter().map(String::as_str).collect();
            let rules = Rules { memory: quantile, ..Rules::default() };
            let sizing = sized(&files, Reading::default(), rules);
            prop_assert_eq!(rows(&sizing), expected);
            // The most spans of a workload at once are its count.
            for workload in sizing.demand.workloads() {
                let of: Vec<&PodSpan> =
                    sizing.spans.iter().filter(|s| s.workload == workload.name).collect();
                let at = |ms: i64| of.iter().filter(|s| (s.start_ms..=s.last_ms).contains(&ms)).count();
                let most = of.iter().map(|span| at(span.start_ms)).max().unwrap_or(0);
                prop_assert_eq!(most as u64, workload.count);
                let highest = of.iter().map(|span| span.memory).max();
                prop_assert_eq!(highest, Some(sizing.origins[&(workload.team.clone(), workload.name.clone())].observed.peak));
            }
        }
    }
}
