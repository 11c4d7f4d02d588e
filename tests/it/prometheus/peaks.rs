//! What was seen above the memory that is planned for, from outside.

use std::path::Path;

use super::{demand, migplan, rows, stderr, stdout};
use crate::common::written;

/// A history in which `train` needs 30 GiB, and 44.5 GiB in one of 200 samples.
fn history(folder: &Path) -> String {
    let file = folder.join("used.json").display().to_string();
    let series = |pod: &str, peak: u32| {
        let values: Vec<String> = (0..1_000)
            .map(|i| (1_795_000_000 + i * 60, if i % 200 == 7 { peak } else { 30 * 1024 }))
            .map(|(at, mib)| format!("[{at},\"{mib}\"]"))
            .collect();
        format!(
            "{{\"metric\":{{\"__name__\":\"DCGM_FI_DEV_FB_USED\",\"namespace\":\"nlp\",\"pod\":\"{pod}\",\"UUID\":\"{pod}\"}},\"values\":[{}]}}",
            values.join(",")
        )
    };
    let text = format!("[{},{}]", series("train-0", 45_568), series("steady-0", 30 * 1024));
    std::fs::write(&file, text).unwrap();
    file
}

/// stderr and the plan of `migplan suggest`.
fn suggest(arguments: &[&str]) -> (String, serde_json::Value) {
    let base = ["suggest", "--gpus", "4xa100-80gb", "--format", "json"];
    let output = migplan(&[&base, arguments].concat());
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    (stderr(&output), serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn no_workload_is_planned_below_what_was_seen() {
    let folder = tempfile::tempdir().unwrap();
    let history = history(folder.path());
    let (said, plan) = suggest(&["--prometheus", &history]);
    assert!(!said.contains("used more memory"), "{said}");
    let memory = |plan: &serde_json::Value, workload: &str| {
        let gpus = plan["gpus"].as_array().unwrap().iter();
        let instances = gpus.flat_map(|gpu| gpu["instances"].as_array().unwrap());
        let of = instances.filter(|i| i["workload"] == workload).map(|i| i["memory_mib"].as_u64());
        of.flatten().min().unwrap()
    };
    assert!(memory(&plan, "train") >= 45_568, "{plan}");

    let (said, plan) = suggest(&["--prometheus", &history, "--quantile", "0.99"]);
    let named = "1 workload used more memory than the instance planned for has";
    assert!(said.contains(named), "{said}");
    let often = "nlp/train: 5 of 1,000 samples (0.50 %), up to 44.5 GiB in 3g.40gb with 39.3 GiB";
    assert!(said.contains(often), "{said}");
    assert_eq!(memory(&plan, "train"), 40_192);
    let observed = &plan["demand"][1]["observed"];
    assert_eq!(observed["peak_mib"], 45_568);
    assert_eq!(observed["above_mib"], serde_json::json!([[45_568, 5]]));

    // A row of a file wins, and what was seen is still known.
    let csv = folder.path().join("teams.csv").display().to_string();
    std::fs::write(&csv, "team,workload,memory\nnlp,train,20GiB\n").unwrap();
    let (said, _) = suggest(&["--prometheus", &history, "--workloads", &csv]);
    assert!(said.contains("nlp/train: up to 44.5 GiB in"), "{said}");
    // -q is quiet about it, as about all.
    assert_eq!(suggest(&["-q", "--prometheus", &history, "--quantile", "0.99"]).0, "");
}

#[test]
fn readings_at_the_ceiling_name_the_next_size() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("scrape.prom").display().to_string();
    let line = |pod: &str, mib: u32| {
        format!(
            "DCGM_FI_DEV_FB_USED{{UUID=\"GPU-1\",GPU_I_ID=\"{mib}\",GPU_I_PROFILE=\"1g.10gb\",modelName=\"NVIDIA H100 80GB HBM3\",namespace=\"n\",pod=\"{pod}\"}} {mib}\n"
        )
    };
    std::fs::write(&file, [line("full-0", 9_980), line("half-0", 5_000)].concat()).unwrap();
    let output = migplan(&["demand", "--prometheus", &file]);
    let said = stderr(&output);
    assert!(said.contains("may need more than was seen"), "{said}");
    assert!(said.contains("n/full (9980 MiB of ") && !said.contains("n/half"), "{said}");
    let csv = stdout(&output);
    assert!(
        csv.contains("may need more: at the ceiling of 1g.10gb; the next size is 1g.20gb"),
        "{csv}"
    );
    let json = migplan(&["demand", "--prometheus", &file, "--format", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["workloads"][0]["origin"]["limited"]["next"]["name"], "1g.20gb");
    assert!(json["workloads"][1]["origin"]["limited"].is_null());
}

#[test]
fn demand_of_other_exporters() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| written(&folder, name, text);
    let hami = write(
        "hami.prom",
        "vGPU_device_memory_usage_in_bytes{ctrname=\"c\",deviceuuid=\"GPU-1\",podname=\"chat-0\",podnamespace=\"nlp\",vdeviceid=\"0\"} 1.073741824e+09\n",
    );
    assert_eq!(demand(&["-q", "--prometheus", &hami]), ["nlp,chat,1024,1"]);
    let slurm = write(
        "slurm.prom",
        "slurm_job_memory_usage_gpu{account=\"bio\",gpu=\"0\",slurmjobid=\"77\",user=\"eve\"} 2.147483648e+09\n",
    );
    assert_eq!(demand(&["-q", "--prometheus", &slurm]), ["bio,eve,2048,1"]);
    let requests = write(
        "requests.prom",
        "kube_pod_container_resource_requests{namespace=\"cv\",pod=\"ocr-7d9c5b6f4-x2x7k\",container=\"c\",resource=\"nvidia_com_mig_2g_20gb\",unit=\"integer\"} 1\nkube_pod_owner{namespace=\"cv\",pod=\"ocr-7d9c5b6f4-x2x7k\",owner_kind=\"ReplicaSet\",owner_name=\"ocr-7d9c5b6f4\"} 1\n",
    );
    assert_eq!(demand(&["-q", "--prometheus", &requests]), ["cv,ocr,19968,1"]);
    let export = write(
        "export.jsonl",
        "{\"metric\":{\"__name__\":\"DCGM_FI_DEV_FB_USED\",\"namespace\":\"a\",\"pod\":\"w-0\",\"UUID\":\"g\"},\"values\":[700,900.5],\"timestamps\":[1795344000000,1795344015000]}\n",
    );
    assert_eq!(demand(&["-q", "--prometheus", &export]), ["a,w,901,1"]);
    let all = [hami, slurm, requests, export];
    let flags: Vec<&str> = all.iter().flat_map(|file| ["--prometheus", file]).collect();
    assert_eq!(demand(&[&["-q"], &flags[..]].concat()).len(), 4);
}

#[test]
fn boards_of_a_workload_may_be_families() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("teams.csv").display().to_string();
    std::fs::write(&csv, "team,workload,memory,boards\na,w,9GiB,a30|H100\n").unwrap();
    let row = &rows(&["-q", "--workloads", &csv])[0];
    assert!(row.contains("a30-24gb|h100-nvl-94gb|h100-pcie-80gb|h100-sxm5-64gb"), "{row}");
}
